/** Search: stored messages, the newest first, as they are found. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { apiUrl, messageApi, stream, useGet } from "./api.js";
import { FilterBar, Hidden } from "./bar.js";
import { Chart, filled, stepFor } from "./chart.js";
import { Detail } from "./detail.js";
import { filterOf, queryOf, roughly, words } from "./filter.js";
import { count, plural } from "./format.js";
import { useKeys } from "./keys.js";
import { List, useChosen } from "./list.js";
import { Copy, Empty, Failure, Time } from "./parts.js";
import { rowForm, rowText, rowsOf, withDays } from "./rows.js";
import { settings } from "./settings.js";
import { change, route, status, useSignal } from "./state.js";
import { highlight, printable } from "./text.js";

/** @typedef {import("./types.js").Row} Row */

const PAGE = 500;
// Rows of one list: beyond, a viewer narrows the filter, or downloads.
const ROWS_LIMIT = 100_000;

// Results that are kept for back and forward, and the most rows of one: some 30 MB in all.
const KEPT = 3;
const KEPT_ROWS = 10_000;
/** @type {Map<string, {rows: Row[], last: string, end: any}>} */
const kept = new Map();

/**
 * The messages of a filter: loaded page by page, while the viewer scrolls. After back and forward, those of before.
 * @param {string} filter
 * @param {"newest" | "oldest"} order
 */
export function useMessages(filter, order) {
    const { visit } = useSignal(route);
    const rows = useRef(/** @type {Row[]} */ ([]));
    const last = useRef("");
    const stop = useRef(/** @type {AbortController | null} */ (null));
    const [state, setState] = useState({
        version: 0, running: false, progress: /** @type {any} */ (null), end: /** @type {any} */ (null), error: /** @type {any} */ (null),
        cancelled: false, run: 0,
    });
    // Of a search that is complete so far; null while it runs and after a failure.
    const ended = useRef(/** @type {any} */ (null));
    ended.current = state.running || state.error || state.cancelled ? null : state.end;
    /** @param {boolean} first */
    const load = async (first) => {
        stop.current?.abort();
        const control = (stop.current = new AbortController());
        if (first) {
            rows.current = [];
            last.current = "";
        }
        const query = new URLSearchParams(filter);
        query.set("limit", String(PAGE));
        query.set("order", order);
        if (last.current) query.set(order === "newest" ? "before" : "after", last.current);
        let found = 0;
        let frame = 0;
        /** @type {any} */
        let progress = null;
        /** @type {any} */
        let end = null;
        const show = () => {
            frame = 0;
            setState((old) => ({ ...old, version: old.version + 1, progress }));
        };
        setState((old) => ({ version: old.version + 1, running: true, progress: null, end: first ? null : old.end, error: null, cancelled: false, run: old.run + Number(first) }));
        try {
            await stream("messages", query, (line) => {
                if (line.message) {
                    found += 1;
                    last.current = line.message.id;
                    const made = rowsOf(line.message);
                    if (order === "newest") made.reverse();
                    rows.current.push(...withDays(made, settings.value.utc, rows.current[rows.current.length - 1]));
                } else if (line.progress) progress = line.progress;
                else if (line.end) end = line.end;
                else if (line.error) throw new Error(line.error);
                frame ||= requestAnimationFrame(show);
            }, control.signal);
            cancelAnimationFrame(frame);
            setState((old) => ({ ...old, version: old.version + 1, running: false, progress, error: null, cancelled: false,
                end: { damaged: [], ...end, more: end?.complete === false && found > 0 && rows.current.length < ROWS_LIMIT } }));
        } catch (error) {
            cancelAnimationFrame(frame);
            if (stop.current !== control) return;
            setState((old) => ({ ...old, version: old.version + 1, running: false, cancelled: control.signal.aborted,
                error: control.signal.aborted ? null : error }));
        }
    };
    useEffect(() => {
        const name = `${order} ${filter}`;
        const found = route.value.back ? kept.get(name) : undefined;
        if (found) {
            rows.current = found.rows;
            last.current = found.last;
            setState((old) => ({ ...old, version: old.version + 1, running: false, progress: null, end: found.end, error: null, cancelled: false }));
        } else load(true);
        return () => {
            const control = stop.current;
            stop.current = null;
            control?.abort();
            kept.delete(name);
            if (ended.current && rows.current.length <= KEPT_ROWS) kept.set(name, { rows: rows.current, last: last.current, end: ended.current });
            if (kept.size > KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
        };
    }, [filter, order, visit]);
    return {
        rows: rows.current, ...state,
        cancel: () => stop.current?.abort(),
        more: () => {
            if (!state.running && !state.error && state.end?.more) load(false);
        },
        again: () => load(!last.current),
    };
}

/**
 * The rows without those of hidden forms.
 * @param {{rows: Row[], version: number}} found
 * @param {URLSearchParams} query
 */
export function useVisible(found, query) {
    const forms = query.getAll("hide").join("\n");
    return useMemo(() => {
        const hidden = new Set(query.getAll("hide"));
        return hidden.size ? found.rows.filter((row) => !row.message || !hidden.has(rowForm(row))) : found.rows;
    }, [found.version, forms]);
}

/** @param {{query: URLSearchParams}} props */
export function SearchPage({ query }) {
    const filter = queryOf(filterOf(query)).toString();
    const order = query.get("order") === "oldest" ? "oldest" : "newest";
    const found = useMessages(filter, order);
    const rows = useVisible(found, query);
    const hidden = query.getAll("hide");
    const grep = query.get("grep") ?? "";
    const find = useMemo(() => highlight(query.get("mark") || (grep ? asHighlight(grep) : "")), [query.get("mark"), grep]);
    const at = query.get("at");
    const [chosen, setChosen] = useChosen(rows, at);
    const close = () => {
        setChosen(-1);
        change({ at: null }, { replace: true });
    };
    const { utc } = useSignal(settings);
    const daemon = useSignal(status);
    /** @param {number} index */
    const choose = (index) => {
        setChosen(index);
        change({ at: rows[index]?.message?.id ?? null }, { replace: true });
    };
    useKeys({ Escape: () => (found.running ? found.cancel() : close()) });
    // A link can be to a message that is not among the first ones: it is shown beside them.
    const linked = useGet(at && chosen < 0 && !found.running ? messageApi(at) : null);
    const alone = at && chosen < 0 && linked.data?.id === at ? rowsOf(linked.data).at(-1) : null;
    const row = chosen >= 0 && rows[chosen]?.kind !== "day" ? rows[chosen] : alone;
    const messages = found.rows.reduce((sum, one) => sum + (one.message ? 1 : 0), 0);
    return html`<div class="page fill">
        <h1 class="sr">Search</h1>
        <${FilterBar} query=${query} times=${true} error=${found.error?.field ? found.error : null}>
            <button type="button" onClick=${() => change({ order: order === "newest" ? "oldest" : null })}>${order === "newest" ? "Newest first" : "Oldest first"}</button>
            <${Copy} get=${() => `${rows.filter((one) => one.kind !== "day").map((one) => rowText(one, utc)).join("\n")}\n`} said=${`${plural(rows.length, "row")} copied`}>Copy as text<//>
            <details class="menu"><summary class="button">Download</summary><ul>
                <li><a href=${apiUrl("download", inFormat(filter, "dmesg"))} download>as dmesg writes it</a></li>
                <li><a href=${apiUrl("download", inFormat(filter, "text"))} download>as text with machines</a></li>
                <li><a href=${apiUrl("download", inFormat(filter, "jsonl"))} download>as JSON lines</a></li>
            </ul></details>
        <//>
        <${Hidden} query=${query} />
        <${Counts} filter=${filter} store=${daemon?.store ?? null} />
        <div class="state" role="status">
            ${found.running
                ? html`<${Progress} progress=${found.progress} messages=${messages} /> <button type="button" onClick=${found.cancel}>Cancel</button>`
                : found.cancelled
                    ? html`Cancelled after ${plural(messages, "message")}. <button type="button" onClick=${found.again}>Go on</button>`
                    : found.error && !messages ? null : html`${plural(messages, "message")}${found.end?.more ? " so far; scroll for more" : ""}
                        ${hidden.length ? html` · ${plural(found.rows.length - rows.length, "row")} hidden` : ""}
                        ${found.end?.damaged?.length ? html` · <strong>Parts of the store cannot be read: ${found.end.damaged.map((/** @type {any} */ one) => printable(one.text)).join("; ")}</strong>` : ""}`}
        </div>
        ${found.error && !found.error.field ? html`<${Failure} error=${found.error} /><p class="buttons"><button type="button" onClick=${found.again}>Try again</button></p>` : null}
        <div class=${`split${row ? " open" : ""}`}>
            <${List} rows=${{ length: rows.length, at: (/** @type {number} */ index) => rows[index] }} version=${found.version} fresh=${found.run}
                label=${`Found messages, ${order} first`} chosen=${chosen} onChoose=${choose} find=${find} onEnd=${found.more}>
                ${rows.length || found.running || found.error ? null : found.rows.length ? html`<${Empty}><p>All of these messages are hidden.</p><//>` : html`<${Empty}><p>Nothing found for: ${printable(words(filterOf(query)))}.</p>
                    ${filter ? html`<p>Fewer words, a longer time or <a href="/search">no filter</a> find more.</p>` : null}<//>`}
            <//>
            ${row ? html`<${Detail} row=${row} onClose=${close} />` : null}
        </div>
    </div>`;
}

/** A filter's regular expression is highlighted, plain words as they are. @param {string} grep */
function asHighlight(grep) {
    return /[\\^$.*+?()[\]{}|]/.test(grep) ? `/${grep}/` : grep;
}

/** @param {string} filter @param {string} format */
function inFormat(filter, format) {
    const query = new URLSearchParams(filter);
    query.set("format", format);
    return query;
}

/** @param {{progress: {done: number, total: number, reached?: number | null} | null, messages: number}} props */
function Progress({ progress, messages }) {
    return html`<span class="searching">Searching …
        ${progress?.total ? html`<progress max=${progress.total} value=${progress.done} aria-label="Part of the store that was searched"></progress>` : ""}
        ${plural(messages, "message")} found${progress?.reached ? html`, back to <${Time} unix=${progress.reached} />` : ""}</span>`;
}

/** @param {{filter: string, store: {first: number | null, last: number | null} | null}} props */
function Counts({ filter, store }) {
    const query = new URLSearchParams(filter);
    const [since, until] = [query.get("since"), query.get("until")];
    const now = Date.now() / 1000;
    const to = until ? roughly(until, now) : store?.last ?? null;
    const from = since ? roughly(since, now) : store?.first ?? null;
    if (from != null && to != null) query.set("step", String(stepFor(Math.max(1, to - from))));
    const { data, error } = useGet(store ? "counts" : null, query);
    const step = data?.step ?? 60;
    const buckets = useMemo(() => filled(data?.buckets ?? [], step), [data]);
    // While the store is not known, the room of the chart is kept.
    if (error || (status.value && !store)) return null;
    return html`<${Chart} buckets=${buckets} step=${step} label="Messages over time"
        onRange=${(/** @type {number} */ begin, /** @type {number} */ end) => change({ since: String(begin), until: String(end), at: null })} />
        ${since || until ? html`<p class="buttons zoom"><button type="button" onClick=${() => wider(query, from, to)}>Twice the time</button>
            <button type="button" onClick=${() => change({ since: null, until: null, at: null })}>All of the time</button>
            <span class="dim">${data ? `${count(sum(buckets))} messages in this time` : ""}</span></p>` : null}`;
}

/** @param {number[][]} buckets */
const sum = (buckets) => buckets.reduce((all, bucket) => all + bucket.slice(1).reduce((one, two) => one + two, 0), 0);

/** @param {URLSearchParams} query @param {number | null} from @param {number | null} to */
function wider(query, from, to) {
    if (from == null || to == null) return change({ since: null, until: null });
    const half = Math.max(1, (to - from) / 2);
    return change({ since: String(Math.floor(from - half)), until: query.get("until") ? String(Math.ceil(to + half)) : null, at: null });
}
