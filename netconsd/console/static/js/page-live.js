/** Live: new messages as they arrive. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { get, isPassing, loadStatus } from "./api.js";
import { FilterBar, Hidden } from "./bar.js";
import { Chart, lastSeconds } from "./chart.js";
import { Detail } from "./detail.js";
import { filterOf, queryOf } from "./filter.js";
import { count, plural } from "./format.js";
import { useKeys } from "./keys.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { Copy, Empty } from "./parts.js";
import { Ring } from "./ring.js";
import { dayRow, findingRow, isSame, mergedRows, pastRows, rowForm, rowText, rowsOf } from "./rows.js";
import { settings } from "./settings.js";
import { change, go, route, status, useNow, useSignal } from "./state.js";
import { highlight, printable } from "./text.js";
import { withQuery } from "./routes.js";

/** @typedef {import("./types.js").Row} Row */

// Rows kept, about 100 MB of a busy fleet's; the search has the older ones.
export const ROWS_LIMIT = 100_000;
// Seconds of the rate chart.
const SECONDS = 120;
const FORMS_SHOWN = 30;
// Stored messages that a new page begins with, and the time from which on it has the crashes among them.
const LAST = 200;
const PAST = "7d";
// A report is found up to some seconds after its first line, whose time it has.
const REPORT_SECONDS = 60;

/** @param {{query: URLSearchParams}} props */
export function LivePage({ query }) {
    const filter = queryOf(filterOf(query)).toString();
    const words = query.getAll("hide").join("\n");
    const hidden = useMemo(() => new Set(query.getAll("hide")), [words]);
    const find = useMemo(() => highlight(query.get("mark") ?? ""), [query.get("mark")]);
    const all = useRef(/** @type {Ring<Row>} */ (/** @type {unknown} */ (null)));
    all.current ??= new Ring(ROWS_LIMIT);
    const rows = useRef(/** @type {Ring<Row>} */ (/** @type {unknown} */ (null)));
    rows.current ??= new Ring(ROWS_LIMIT);
    // The names of the machines of these messages: a finding has an address alone.
    const names = useRef(/** @type {Map<string, string>} */ (new Map()));
    const hiding = useRef(hidden);
    const live = useRef(/** @type {Live | null} */ (null));
    // The message of the URL, until it is there.
    const wanted = useRef(query.get("at") ?? "");
    const [version, setVersion] = useState(0);
    const [follow, setFollow] = useState(true);
    const [chosen, setChosen] = useState(/** @type {number} */ (-1));
    const [buckets, setBuckets] = useState(/** @type {number[][]} */ ([]));
    const patterns = query.get("patterns") === "1";
    const daemon = useSignal(status);
    const { utc } = useSignal(settings);

    /** @param {Row} row */
    const shows = (row) => row.kind !== "message" || !hiding.current.size || !hiding.current.has(rowForm(row));
    /** @param {Row} row */
    const add = (row) => {
        const kept = all.current;
        if (row.kind !== "day") dayRow(kept.length ? kept.at(kept.length - 1) : undefined, row, settings.value.utc).forEach(add);
        all.current.push(row);
        if (shows(row)) rows.current.push(row);
    };
    // Another set of hidden forms: the rows that are kept are chosen again.
    useEffect(() => {
        hiding.current = hidden;
        rows.current.clear();
        for (let index = 0; index < all.current.length; index++) {
            const row = all.current.at(index);
            if (shows(row)) rows.current.push(row);
        }
        setChosen(-1);
        setVersion((old) => old + 1);
    }, [hidden]);
    /** @param {number} number of a row; -1 for none */
    const choose = (number) => {
        wanted.current = "";
        setChosen(number);
        const kept = rows.current;
        change({ at: number < 0 ? null : kept.at(number - kept.first)?.message?.id ?? null }, { replace: true });
    };

    useEffect(() => {
        all.current.clear();
        rows.current.clear();
        setChosen(-1);
        setBuckets(lastSeconds([], Math.floor(Date.now() / 1000) - 1, SECONDS));
        setVersion((old) => old + 1);
        const asked = new URLSearchParams(filter);
        /** Crashes and events that came from the store, and may come from the live tail as well. @type {Row[]} */
        let stored = [];
        /** @param {import("./live.js").Item[]} items */
        const take = (items) => {
            for (const { message, finding, dropped, why, least } of items) {
                if (message) {
                    if (message.name) names.current.set(message.address, message.name);
                    for (const row of rowsOf(message)) add(row);
                    if (message.id === wanted.current) {
                        wanted.current = "";
                        setFollow(false);
                        setChosen(rows.current.end - 1);
                    }
                } else if (finding) {
                    const row = findingRow(finding, names.current.get(finding.address ?? finding.source?.address ?? ""));
                    // One that happened while the page asked for those of the store is among them already.
                    const known = stored.findIndex((one) => isSame(one, row));
                    if (known < 0) add(row);
                    else stored.splice(known, 1);
                }
                else if (dropped || why) {
                    const text = why ? `Messages are missing here: ${why}` : `${least ? "At least " : ""}${plural(dropped ?? 0, "message")} not shown here: too many at once. The search has them.`;
                    add({ kind: "gap", time: Date.now() / 1000, address: "", text });
                }
            }
            setVersion((old) => old + 1);
        };
        /** @param {number[]} levels */
        const rate = (levels) => {
            const now = Math.floor(Date.now() / 1000);
            setBuckets((old) => lastSeconds(old, now, SECONDS, levels));
        };
        // The last messages first, so that a quiet fleet's page is not empty.
        asked.set("last", String(LAST));
        let before = "";
        const stream = (live.current = new Live(asked, take, rate, () => {
            // Whether the daemon is gone, or the session, is known at once.
            if (stream.state !== before && stream.state === "again") loadStatus().catch(() => {});
            if (stream.state === "open" && ["again", "refused"].includes(before) && !filter) missed().catch(() => {});
            before = stream.state;
            setVersion((old) => old + 1);
        }));
        // The crashes and events among them, which a live tail has only as they happen. A page that is busy has others.
        const stop = new AbortController();
        const findings = async () => {
            const found = await Promise.all([get("crashes", { since: PAST, muted: "0" }, stop.signal), get("events", { since: PAST, limit: String(LAST) }, stop.signal)]);
            const earlier = pastRows(found[0].groups, found[1].events);
            for (const row of earlier) row.name ||= names.current.get(row.address);
            return earlier;
        };
        const keptRows = () => {
            const kept = [];
            for (let at = 0; at < all.current.length; at++) if (all.current.at(at).kind !== "day") kept.push(all.current.at(at));
            return kept;
        };
        // Those of the time without a connection, behind the rows that are there: the messages of that time follow.
        const missed = async () => {
            const since = (all.current.length ? all.current.at(all.current.length - 1).time : 0) - REPORT_SECONDS;
            const earlier = await findings();
            const known = keptRows().filter((row) => row.finding);
            const added = earlier.filter((row) => row.time > since && !known.some((one) => isSame(one, row)));
            added.sort((one, two) => one.time - two.time).forEach(add);
            stored.push(...added);
            setVersion((old) => old + 1);
        };
        const past = async () => {
            const earlier = await findings();
            const kept = keptRows();
            if (!kept.length || kept.length > 10 * LAST) return;
            all.current.clear();
            rows.current.clear();
            const merged = mergedRows(kept, earlier);
            const received = new Set(kept);
            stored = merged.filter((row) => row.finding && !received.has(row));
            merged.forEach(add);
            const named = route.value.query.get("at");
            const shown = Array.from({ length: rows.current.length }, (_, at) => rows.current.at(at).message?.id);
            setChosen(named && shown.includes(named) ? rows.current.first + shown.indexOf(named) : -1);
            setVersion((old) => old + 1);
        };
        // A filter is one of messages: findings have no text to compare.
        if (!filter) stream.begun.then(past).catch(() => {});
        // A second without messages is a bar of none: the chart ends now.
        const clock = setInterval(() => {
            const now = Math.floor(Date.now() / 1000) - 1;
            if (!document.hidden) setBuckets((old) => (old[old.length - 1][0] < now ? lastSeconds(old, now, SECONDS) : old));
        }, 1000);
        return () => {
            stop.abort();
            clearInterval(clock);
            stream.close();
        };
    }, [filter]);

    /** @param {number} since @param {number} until */
    const search = (since, until) => go(withQuery("/search", new URLSearchParams([...new URLSearchParams(filter), ["since", String(since)], ["until", String(until)]])));
    const paused = live.current?.paused ?? false;
    const pause = (/** @type {boolean} */ pausing) => {
        live.current?.pause(pausing);
        if (!pausing) setFollow(true);
        setVersion((old) => old + 1);
    };
    useKeys({
        " ": () => pause(!live.current?.paused),
        Escape: () => choose(-1),
    });
    const index = chosen < 0 ? -1 : chosen - rows.current.first;
    const row = index >= 0 && index < rows.current.length && rows.current.at(index).kind !== "day" ? rows.current.at(index) : null;
    const waiting = live.current?.waiting ?? 0;
    const state = live.current?.state ?? "connecting";
    const error = live.current?.error ?? null;
    return html`<div class="page fill">
        <h1 class="sr">Live messages</h1>
        <${FilterBar} query=${query} error=${error?.field ? error : null}>
            <button type="button" class=${paused ? "primary" : ""} aria-pressed=${paused ? "true" : "false"} aria-keyshortcuts="Space"
                onClick=${() => pause(!paused)}>${paused ? `Resume (${count(waiting)} new)` : "Pause"}</button>
            <button type="button" aria-expanded=${patterns ? "true" : "false"} onClick=${() => change({ patterns: patterns ? null : "1" }, { replace: true })}>Patterns</button>
            <${Copy} get=${() => allText(rows.current, utc)} said=${`${plural(rows.current.length, "row")} copied`}>Copy as text<//>
            <a class="button" href=${withQuery("/search", new URLSearchParams(filter))}>Search older</a>
        <//>
        <${Hidden} query=${query} />
        <${Chart} buckets=${buckets} step=${1} label="Messages per second" onRange=${search} />
        <p class="state" role="status">
            ${state === "connecting" ? "Connecting …" : ""}
            ${state === "again" ? "The connection was lost, and is being opened again. The messages of this time will follow." : ""}
            ${state === "refused" && !error?.field ? html`<span class="bad">The connection was refused${error ? `: ${printable(error.message)}` : ""}</span>${!error || isPassing(error) ? " Trying again …" : ""}` : ""}
            ${live.current?.dropped ? `${plural(live.current.dropped, "message")} not shown: too many at once.` : ""}
            ${paused ? `Paused, ${plural(waiting, "message")} since.` : ""}
        </p>
        <div class=${`split${row ? " open" : ""}${patterns ? " with-forms" : ""}`}>
            ${patterns ? html`<${Forms} rows=${all.current} hidden=${hidden} />` : null}
            <div class="pane"><${List} rows=${{ length: rows.current.length, first: rows.current.first, at: (/** @type {number} */ at) => rows.current.at(at) }}
                version=${version} label="Messages, the newest last" chosen=${index} find=${find} follow=${follow && !paused}
                onFollow=${setFollow} onChoose=${(/** @type {number} */ at) => choose(rows.current.first + at)}>
                ${rows.current.length ? null : html`<${Empty}><${Nothing} daemon=${daemon} filter=${filter} /><//>`}
            <//>
            ${!follow && !paused && rows.current.length ? html`<button type="button" class="float primary" onClick=${() => setFollow(true)}>↓ Newest</button>` : null}</div>
            ${row ? html`<${Detail} row=${row} onClose=${() => choose(-1)} />` : null}
        </div>
    </div>`;
}

// Of netconsd client, as of the daemon.
const DEFAULT_PORT = 1514;

/** @param {{daemon: any, filter: string}} props */
function Nothing({ daemon, filter }) {
    if (filter) return html`<p>No message that matches the filter yet.</p>`;
    if (!daemon) return html`<p>Loading …</p>`;
    if (daemon.store?.last) return html`<p>Waiting for the next message.</p>`;
    if (!daemon.receiving) return html`<p>netconsd does not receive: this is a store alone. <a href="/search">Search</a> it.</p>`;
    return html`<p>No machine has sent anything yet. This makes the kernel of a Linux machine send here:</p>
        <pre>netconsd client --server ADDRESS${daemon.port && daemon.port !== DEFAULT_PORT ? ` --port ${daemon.port}` : ""} --loglevel 8 | ssh MACHINE sudo sh</pre>
        <p>ADDRESS is that of the machine on which netconsd runs. With --loglevel 8 every level arrives; many machines send only errors otherwise.
            A first message, there: <code>echo hello | sudo tee /dev/kmsg</code></p>`;
}

/**
 * The forms of the rows that are kept, the most frequent first, each second anew; a click hides or shows one.
 * @param {{rows: Ring<Row>, hidden: Set<string>}} props
 */
function Forms({ rows, hidden }) {
    const now = useNow();
    const counted = useMemo(() => {
        /** @type {Map<string, number>} */
        const sums = new Map();
        // The newest are enough to choose from, and are counted in milliseconds.
        for (let index = Math.max(0, rows.length - 5000); index < rows.length; index++) {
            const row = rows.at(index);
            if (row.kind === "message") sums.set(rowForm(row), (sums.get(rowForm(row)) ?? 0) + 1);
        }
        for (const one of hidden) if (!sums.has(one)) sums.set(one, 0);
        return [...sums].sort((one, two) => two[1] - one[1]);
    }, [now, hidden]);
    return html`<section class="forms" aria-label="Patterns of these messages">
        <h2>Patterns <span class="dim">click to hide</span></h2>
        <ul>${counted.slice(0, FORMS_SHOWN).map(([one, sum]) => html`<li key=${one}>
            <button type="button" class="plain" aria-pressed=${hidden.has(one) ? "true" : "false"} title=${hidden.has(one) ? "Show" : "Hide"}
                onClick=${() => change({ hide: hidden.has(one) ? [...hidden].filter((other) => other !== one) : [...hidden, one] })}>
                <span class="number">${count(sum)}</span> <code>${printable(one) || "(empty)"}</code>
            </button></li>`)}</ul>
    </section>`;
}

/** @param {Ring<Row>} rows @param {boolean} utc */
function allText(rows, utc) {
    const out = [];
    for (let index = 0; index < rows.length; index++) if (rows.at(index).kind !== "day") out.push(rowText(rows.at(index), utc));
    return `${out.join("\n")}\n`;
}
