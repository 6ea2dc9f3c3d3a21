/**
 * The stream of new messages. Between two frames messages are collected, so that a page is drawn once for all of them.
 * While it is paused, messages are counted and kept up to a bound, and shown when it goes on.
 */
import { apiUrl } from "./api.js";

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").Finding} Finding */
/** @typedef {{message?: Message, finding?: Finding, dropped?: number}} Item */

// Messages that wait for a paused or hidden page; beyond, the oldest are dropped and counted.
const WAITING_LIMIT = 20_000;
// A report can arrive before its last messages, which the daemon holds for two ticks to put them in order; its row belongs
// behind them.
const FINDING_MS = 400;

export class Live {
    /**
     * @param {URLSearchParams} query
     * @param {(items: Item[]) => void} onItems for each frame with something new
     * @param {(rates: number[]) => void} onRate messages of the last second by level
     * @param {() => void} onState `state`, `waiting` or `dropped` changed
     * @param {{source?: typeof EventSource, schedule?: (draw: () => void) => void,
     *     later?: (call: () => void, milliseconds: number) => unknown}} [tools]
     */
    constructor(query, onItems, onRate, onState, { source = EventSource, schedule = soon, later = setTimeout } = {}) {
        this.onItems = onItems;
        this.onState = onState;
        this.schedule = schedule;
        /** @type {Item[]} */
        this.items = [];
        this.scheduled = false;
        this.paused = false;
        /** Messages received since the pause. */
        this.waiting = 0;
        /** Messages that the daemon or this page dropped. */
        this.dropped = 0;
        /** @type {"connecting" | "open" | "lost"} */
        this.state = "connecting";
        this.events = new source(apiUrl("live", query));
        this.events.onopen = () => this.become("open");
        // The browser connects again by itself, and says which message it had last.
        this.events.onerror = () => this.become(this.events.readyState === 2 ? "lost" : "connecting");
        this.events.addEventListener("message", (event) => this.take({ message: JSON.parse(event.data) }));
        this.events.addEventListener("finding", (event) => {
            const item = { finding: finding(JSON.parse(event.data)) };
            later(() => this.take(item), FINDING_MS);
        });
        this.events.addEventListener("dropped", (event) => {
            const { count } = JSON.parse(event.data);
            this.dropped += count;
            this.take({ dropped: count });
            this.onState();
        });
        this.events.addEventListener("rate", (event) => onRate(rates(JSON.parse(event.data))));
    }

    /** @param {"connecting" | "open" | "lost"} state */
    become(state) {
        this.state = state;
        this.onState();
    }

    /** @param {Item} item */
    take(item) {
        this.items.push(item);
        if (this.items.length > WAITING_LIMIT + WAITING_LIMIT / 4) {
            const gone = this.items.splice(0, this.items.length - WAITING_LIMIT);
            const count = gone.reduce((sum, one) => sum + (one.dropped ?? 1), 0);
            this.dropped += gone.filter((one) => one.message).length;
            this.items.unshift({ dropped: count });
        }
        if (this.paused && item.message) this.waiting += 1;
        if (!this.scheduled) {
            this.scheduled = true;
            this.schedule(() => this.draw());
        }
    }

    draw() {
        this.scheduled = false;
        if (this.paused) {
            this.onState();
            return;
        }
        const items = this.items;
        this.items = [];
        if (items.length) this.onItems(items);
    }

    /** @param {boolean} paused */
    pause(paused) {
        this.paused = paused;
        this.waiting = 0;
        if (!paused) this.draw();
        this.onState();
    }

    close() {
        this.events.close();
    }
}

/** A finding, with its format: report or event. @param {any} data @returns {Finding} */
function finding(data) {
    return data.finding ? { format: data.kind, ...data.finding } : data;
}

/** The numbers of a rate event, by level, none last. @param {any} data */
export function rates(data) {
    if (Array.isArray(data)) return data;
    return Array.isArray(data.levels) ? data.levels : Array.isArray(data.counts) ? data.counts : [];
}

/** @param {() => void} draw */
function soon(draw) {
    // A hidden page has no frames.
    if (document.hidden) setTimeout(draw, 1000);
    else requestAnimationFrame(draw);
}
