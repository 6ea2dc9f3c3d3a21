/** Patterns: which kinds of messages there are, what is new, and what rises. */
import { html, useMemo, useRef } from "../vendor/htm-preact.js";
import { useGet } from "./api.js";
import { count, plural } from "./format.js";
import { formRegex } from "./forms.js";
import { useKeys, useLinkKeys } from "./keys.js";
import { Ago, Damaged, Empty, Failure, Level } from "./parts.js";
import { withQuery } from "./routes.js";
import { change } from "./state.js";
import { withSeries } from "./page-crashes.js";
import { printable } from "./text.js";

const SINCE = /** @type {[string, string][]} */ ([["", "last day"], ["1h", "last hour"], ["7d", "last week"], ["30d", "last 30 days"], ["all", "all of the store"]]);
const SHOWN = 300;
// The store's name for the messages whose pattern found no place (netconsd/store/normalise.py).
const OTHERS = "(others)";

/** @param {{query: URLSearchParams}} props */
export function PatternsPage({ query }) {
    const since = query.get("since") || "1d";
    const rising = query.get("rising") === "1";
    const release = query.get("new_in") ?? "";
    const host = query.get("host") ?? "";
    const words = (query.get("q") ?? "").toLowerCase();
    const asked = new URLSearchParams();
    if (since !== "all") asked.set("since", since);
    if (rising) asked.set("rising", "1");
    if (release) asked.set("new_in", release);
    if (host) asked.set("host", host);
    const { data, error, loading } = useGet("patterns", asked);
    const machines = useGet("hosts");
    const releases = useMemo(() => withSeries((machines.data?.hosts ?? []).map((/** @type {any} */ one) => one.release).filter(Boolean)), [machines.data]);
    const field = useRef(/** @type {HTMLInputElement | null} */ (null));
    const links = useLinkKeys("th.form a");
    useKeys({ "/": () => field.current?.select() });
    const order = query.get("sort") ?? (rising ? "rise" : "count");
    /** @type {any[]} */
    const all = data?.patterns ?? [];
    const shown = useMemo(() => all
        .filter((one) => !words || one.form.toLowerCase().includes(words))
        .sort((one, two) => (order === "first" ? two.first - one.first : order === "rise" ? (two.rise ?? 0) - (one.rise ?? 0) : two.count - one.count)), [data, words, order]);
    const column = (/** @type {string} */ name, /** @type {string} */ title) => html`<th scope="col" class=${name === "first" ? "" : "number"} aria-sort=${order === name ? "descending" : undefined}>
        <button type="button" class="plain" onClick=${() => change({ sort: name }, { replace: true })}>${title}${order === name ? " ↓" : ""}</button></th>`;
    return html`<div class="page" aria-busy=${loading ? "true" : "false"}>
        <header class="head"><h1>Patterns</h1><p class="dim">${data ? `${plural(shown.length, "kind")} of messages` : "counting …"}</p></header>
        <form class="bar" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
            <label class="field f-grep"><span>Text</span><input ref=${field} type="search" value=${query.get("q") ?? ""} aria-keyshortcuts="/" placeholder="part of a pattern"
                onInput=${(/** @type {any} */ event) => change({ q: event.target.value }, { replace: true })} /></label>
            <label class="field"><span>Time</span><select value=${query.get("since") ?? ""} onChange=${(/** @type {any} */ event) => change({ since: event.target.value })}>
                ${SINCE.map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select></label>
            <label class="field"><span>New in</span><select value=${release} onChange=${(/** @type {any} */ event) => change({ new_in: event.target.value })}>
                <option value="">any release</option>${releases.map((name) => html`<option key=${name} value=${name}>${printable(name)}</option>`)}</select></label>
            <label class="field"><span>Machine</span><input value=${host} placeholder="all" autocomplete="off"
                onChange=${(/** @type {any} */ event) => change({ host: event.target.value.trim() })} /></label>
            <div class="buttons"><button type="button" aria-pressed=${rising ? "true" : "false"} onClick=${() => change({ rising: rising ? null : "1" })}>What rises</button></div>
        </form>
        <${Failure} error=${error} />
        <${Damaged} parts=${data?.damaged} />
        ${data && !shown.length ? html`<${Empty}><p>${rising ? "Nothing rises." : "No pattern in this time."}</p><//>` : null}
        ${shown.length ? html`<div class="scroll" ref=${links} tabindex="0" role="region" aria-label="Patterns"><table class="grid patterns">
            <thead><tr>${column("count", "Messages")}<th scope="col">Pattern</th>${column("rise", "Rise")}<th scope="col" class="number c-wide">Machines</th>
                <th scope="col" class="c-wide">Level</th>${column("first", "First")}<th scope="col" class="c-wide">Last</th><th scope="col" class="c-wide">Releases</th></tr></thead>
            <tbody>${shown.slice(0, SHOWN).map((one) => html`<tr key=${one.form}>
                <td class="number">${count(one.count)}</td>
                <th scope="row" class="form">${one.form === OTHERS ? html`<span class="dim" title="a store counts so many patterns of a machine, and the others together">all others</span>` : html`<a href=${withQuery("/search", search(one, since, host))}
                    title=${printable(one.example ?? "")}><code>${printable(one.form) || "(empty)"}</code></a>`}</th>
                <td class="number">${rise(one.rise)}</td><td class="number c-wide">${count(one.machines)}</td>
                <td class="c-wide"><${Level} level=${one.level} /></td><td><${Ago} unix=${one.first} /></td><td class="c-wide"><${Ago} unix=${one.last} /></td>
                <td class="c-wide nowrap" title=${names(one.releases).map(printable).join(", ")}>${printable(names(one.releases)[0] ?? "")}${names(one.releases).length > 1 ? ` and ${names(one.releases).length - 1} more` : ""}</td></tr>`)}</tbody></table></div>` : null}
        ${shown.length > SHOWN ? html`<p class="dim">The first ${SHOWN} of ${count(shown.length)} are shown; words in the field Text narrow them.</p>` : null}
    </div>`;
}

/** @param {unknown} releases @returns {string[]} */
const names = (releases) => (Array.isArray(releases) ? releases : Object.keys(/** @type {object} */ (releases ?? {})));

/** How many times as often as before, in words. @param {number | null | undefined} value */
export function rise(value) {
    if (value == null || value < 1.5) return html`<span class="dim">–</span>`;
    return html`<span class="bad">×${value < 10 ? value.toFixed(1) : count(value)}</span>`;
}

/** @param {any} pattern @param {string} since @param {string} host */
function search(pattern, since, host) {
    const query = new URLSearchParams({ grep: formRegex(pattern.form), case: "match" });
    if (since !== "all") query.set("since", since);
    if (host) query.set("host", host);
    return query;
}
