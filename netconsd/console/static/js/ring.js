/**
 * A list that keeps its newest entries: the rows of a live page. Numbers of entries grow for ever, so that a place in
 * the page stays with its entry while older ones are forgotten.
 * @template T
 */
export class Ring {
    /** @param {number} limit the most entries kept, at least 1 */
    constructor(limit) {
        this.limit = limit;
        /** @type {T[]} */
        this.slots = [];
        /** The number of the oldest entry. */
        this.first = 0;
        /** The number of the next entry. */
        this.end = 0;
    }

    /** Entries kept. */
    get length() {
        return this.end - this.first;
    }

    /** @param {T} entry */
    push(entry) {
        this.slots[this.end % this.limit] = entry;
        this.end += 1;
        if (this.end - this.first > this.limit) this.first += 1;
    }

    /**
     * @param {number} index 0 is the oldest entry
     * @returns {T}
     */
    at(index) {
        return this.slots[(this.first + index) % this.limit];
    }

    clear() {
        this.slots = [];
        this.first = 0;
        this.end = 0;
    }
}
