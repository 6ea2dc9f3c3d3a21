/**
 * The stream of new messages. Between two frames messages are collected, so that a page is drawn once for all of them.
 * While it is paused, messages are counted and kept up to a bound, and shown when it goes on.
 */
import { apiUrl, isPassing, probe } from "./api.js";

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").Finding} Finding */
/** @typedef {{message?: Message, finding?: Finding, dropped?: number, why?: string, least?: boolean}} Item */

// Messages that wait for a paused or hidden page; beyond, the oldest are dropped and counted.
const WAITING_LIMIT = 20_000;
// A report can arrive before its last messages, which the daemon holds for two ticks to put them in order; its row belongs
// behind them.
const FINDING_MS = 400;
// After a refusal, as of a proxy whose daemon is restarted, which an EventSource takes as the end.
const RETRY_MS = 5_000;

export class Live {
    /**
     * @param {URLSearchParams} query
     * @param {(items: Item[]) => void} onItems for each frame with something new
     * @param {(rates: number[]) => void} onRate messages of the last second by level
     * @param {() => void} onState `state`, `error`, `waiting` or `dropped` changed
     * @param {{source?: typeof EventSource, schedule?: (draw: () => void) => void,
     *     later?: (call: () => void, milliseconds: number) => unknown, why?: typeof probe}} [tools]
     */
    constructor(query, onItems, onRate, onState, { source = EventSource, schedule = soon, later = setTimeout, why = probe } = {}) {
        this.query = query;
        this.source = source;
        // setTimeout is no method of this object.
        /** @type {typeof later} */
        this.later = (call, milliseconds) => later(call, milliseconds);
        this.why = why;
        this.onItems = onItems;
        this.onRate = onRate;
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
        /** @type {"connecting" | "open" | "again" | "refused"} again: it was open, and is being opened again */
        this.state = "connecting";
        /** Why it was refused. @type {import("./api.js").ApiError | null} */
        this.error = null;
        /** The id of the last message, from which it goes on. */
        this.last = "";
        this.closed = false;
        /** @type {EventSource | null} */
        this.events = null;
        /** Resolved with the first message. @type {Promise<void>} */
        this.begun = new Promise((resolve) => (this.begin = resolve));
        this.open();
    }

    open() {
        const query = new URLSearchParams(this.query);
        if (this.last) query.set("last_event_id", this.last);
        const events = new this.source(apiUrl("live", query));
        this.events = events;
        events.onopen = () => this.become("open");
        events.onerror = () => {
            // The browser connects again by itself, and says which message it had last; after a refusal it does not.
            if (events.readyState === 2) this.refused();
            else this.become(this.state === "open" ? "again" : this.state);
        };
        events.addEventListener("message", (event) => {
            this.last = event.lastEventId;
            this.take({ message: JSON.parse(event.data) });
        });
        events.addEventListener("finding", (event) => {
            const item = { finding: finding(JSON.parse(event.data)) };
            this.later(() => this.take(item), FINDING_MS);
        });
        events.addEventListener("dropped", (event) => {
            // The number is not known if the store could not be searched; there is a reason then.
            const { count, why, at_least: least } = JSON.parse(event.data);
            this.dropped += count ?? 0;
            this.take({ dropped: count ?? 0, why, least });
            this.onState();
        });
        events.addEventListener("rate", (event) => this.onRate(rates(JSON.parse(event.data))));
    }

    /** Find out why it was refused, and try again unless the request itself is wrong. */
    async refused() {
        let wrong = false;
        try {
            await this.why("live", this.query);
            this.error = null;
        } catch (error) {
            this.error = /** @type {import("./api.js").ApiError} */ (error);
            wrong = !isPassing(this.error);
        }
        if (this.closed) return;
        this.become("refused");
        if (!wrong) this.later(() => this.closed || this.open(), RETRY_MS);
    }

    /** @param {"connecting" | "open" | "again" | "refused"} state */
    become(state) {
        this.state = state;
        if (state === "open") this.error = null;
        this.onState();
    }

    /** @param {Item} item */
    take(item) {
        this.items.push(item);
        if (this.items.length > WAITING_LIMIT + WAITING_LIMIT / 4) {
            const gone = this.items.splice(0, this.items.length - WAITING_LIMIT);
            const count = gone.reduce((sum, one) => sum + (one.dropped ?? (one.message ? 1 : 0)), 0);
            this.dropped += gone.filter((one) => one.message).length;
            this.items.unshift({ dropped: count, why: gone.find((one) => one.why)?.why });
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
        const items = withOrder(this.items);
        this.items = [];
        if (items.length) this.onItems(items);
        if (items.some((one) => one.message)) this.begin?.();
    }

    /** @param {boolean} paused */
    pause(paused) {
        this.paused = paused;
        this.waiting = 0;
        if (!paused) this.draw();
        this.onState();
    }

    close() {
        this.closed = true;
        this.events?.close();
    }
}

/**
 * Items whose findings, where several follow each other, are in the order of time: a boot is before the crash after it.
 * @param {Item[]} items
 */
export function withOrder(items) {
    for (let begin = 0; begin < items.length; begin++) {
        let end = begin;
        while (items[end]?.finding) end += 1;
        if (end - begin > 1) {
            const sorted = items.slice(begin, end).sort((one, two) => (one.finding?.received_at ?? 0) - (two.finding?.received_at ?? 0));
            items.splice(begin, end - begin, ...sorted);
        }
        begin = Math.max(begin, end - 1);
    }
    return items;
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
