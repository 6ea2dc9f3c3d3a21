/** Machines: who sends, how long ago, and how it goes. */
import { html, useState, useRef } from "../vendor/htm-preact.js";
import { useGet } from "./api.js";
import { count, duration, plural, short } from "./format.js";
import { useKeys, useLinkKeys } from "./keys.js";
import { Ago, Damaged, Empty, Failure, Levels } from "./parts.js";
import { machinePath, withQuery } from "./routes.js";
import { change } from "./state.js";
import { printable } from "./text.js";

/** @typedef {import("./types.js").Host} Host */

/** @type {Record<string, [string, (host: Host) => string | number]>} */
const COLUMNS = {
    name: ["Machine", (host) => (host.name || host.address).toLowerCase()],
    last: ["Last heard", (host) => -host.last],
    release: ["Release", (host) => host.release ?? ""],
    boots: ["Boots", (host) => -host.boots],
    messages: ["Messages", (host) => -host.messages],
    bad: ["Errors", (host) => -host.levels.slice(0, 4).reduce((sum, one) => sum + one, 0)],
    lost: ["Lost", (host) => -((host.lost ?? 0) + host.likely_lost)],
    crashes: ["Crashes", (host) => -host.crashes],
};
const NUMBERS = ["boots", "messages", "lost", "crashes"];
const SILENT = /** @type {[string, string][]} */ ([["60", "1 min"], ["600", "10 min"], ["3600", "1 h"], ["86400", "1 d"]]);

/**
 * The machines that match words, in an order.
 * @param {Host[]} hosts
 * @param {string} words of name, address, release or userdata
 * @param {string} by
 */
export function sorted(hosts, words, by) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const value = (COLUMNS[by] ?? COLUMNS.crashes)[1];
    return hosts
        .filter((host) => {
            const text = [host.name, host.address, host.release, ...Object.entries(host.userdata ?? {}).map((pair) => pair.join("="))]
                .join(" ").toLowerCase();
            return wanted.every((word) => text.includes(word));
        })
        .map((host) => ({ host, key: value(host) }))
        .sort((one, two) => (one.key < two.key ? -1 : one.key > two.key ? 1 : one.host.address < two.host.address ? -1 : 1))
        .map(({ host }) => host);
}

/** The messages lost of a machine: an unknown number is not 0. @param {Host} host */
export function lost({ lost: sure, likely_lost: likely }) {
    if (sure) return count(sure + likely);
    if (likely) return `about ${count(likely)}`;
    return sure == null ? "unknown" : "–";
}

// Rows drawn at once: a fleet of thousands is narrowed by words.
const SHOWN = 300;

/** @param {{query: URLSearchParams}} props */
export function MachinesPage({ query }) {
    const silent = query.get("silent") ?? "86400";
    const by = query.get("sort") ?? "last";
    const words = query.get("q") ?? "";
    const { data, error, loading } = useGet("hosts", {}, { every: 5 });
    const [most, setMost] = useState(SHOWN);
    const field = useRef(/** @type {HTMLInputElement | null} */ (null));
    const links = useLinkKeys("th.c-name a");
    useKeys({ "/": () => field.current?.select() });
    /** @type {Host[]} */
    const hosts = data?.hosts ?? [];
    const limit = Number(silent);
    const quiet = hosts.filter((host) => host.silent_for > limit);
    const only = query.get("only") === "silent";
    const shown = sorted(only ? quiet : hosts, words, by);
    return html`<div class="page" aria-busy=${loading ? "true" : "false"}>
        <header class="head"><h1>Machines</h1>
            <p class="dim">${data ? html`${plural(hosts.length, "machine")}, ${count(quiet.length)} silent for over ${duration(limit)}` : "Loading …"}</p></header>
        <form class="bar" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
            <label class="field f-grep"><span>Machines</span><input ref=${field} type="search" value=${words} placeholder="name, address, release, userdata"
                onInput=${(/** @type {any} */ event) => change({ q: event.target.value }, { replace: true })} aria-keyshortcuts="/" /></label>
            <label class="field"><span>Silent means</span><select value=${silent} onChange=${(/** @type {any} */ event) => change({ silent: event.target.value === "86400" ? null : event.target.value })}>
                ${SILENT.map(([value, name]) => html`<option key=${value} value=${value}>for ${name}</option>`)}</select></label>
            <div class="buttons"><button type="button" aria-pressed=${only ? "true" : "false"} onClick=${() => change({ only: only ? null : "silent" })}>Silent only</button></div>
        </form>
        <${Failure} error=${error} />
        <${Damaged} parts=${data?.damaged} />
        ${data && !shown.length ? html`<${Empty}><p>${hosts.length ? "No machine matches." : html`No machine has been heard yet. The <a href="/">live page</a> says how to connect one.`}</p><//>` : null}
        ${shown.length ? html`<div class="scroll" ref=${links} tabindex="0" role="region" aria-label="Machines"><table class="grid">
            <thead><tr>${Object.entries(COLUMNS).map(([name, [title]]) => html`<th key=${name} scope="col" class=${`c-${name}${NUMBERS.includes(name) ? " number" : ""}`}
                aria-sort=${by === name ? (name === "name" || name === "release" ? "ascending" : "descending") : undefined}>
                <button type="button" class="plain" onClick=${() => change({ sort: name }, { replace: true })}>${title}${by === name ? " ↓" : ""}</button></th>`)}</tr></thead>
            <tbody>${shown.slice(0, most).map((host) => html`<tr key=${`${host.address} ${host.port}`}>
                <th scope="row" class="c-name"><a href=${machinePath(host.address)}>${printable(host.name || host.address)}</a>
                    ${host.name ? html` <span class="dim">${printable(host.address)}</span>` : null}</th>
                <td class="c-last">${host.silent_for > limit ? html`<span class="badge warn">silent</span> ` : null}<${Ago} unix=${host.last} /></td>
                <td class="c-release">${printable(host.release ?? "–")}</td>
                <td class="c-boots number">${count(host.boots)}</td>
                <td class="c-messages number"><a href=${withQuery("/search", { host: host.address })}>${count(host.messages)}</a></td>
                <td class="c-bad"><${Levels} levels=${host.levels} /></td>
                <td class="c-lost number">${lost(host)}</td>
                <td class="c-crashes number">${host.crashes ? html`<a class="bad" href=${withQuery("/crashes", { host: host.address })}>${count(host.crashes)}</a>` : "–"}</td>
            </tr>`)}</tbody></table></div>` : null}
        ${shown.length > most ? html`<p class="buttons"><button type="button" onClick=${() => setMost(most + SHOWN)}>Show more (${short(shown.length - most)} left)</button></p>` : null}
    </div>`;
}
