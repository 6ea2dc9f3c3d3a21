/** A machine: its boots, crashes and losses over time, and its log by boot. */
import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { useGet } from "./api.js";
import { Hidden } from "./bar.js";
import { Detail } from "./detail.js";
import { count, duration, plural, stamp } from "./format.js";
import { List, useChosen } from "./list.js";
import { Ago, Damaged, Empty, Failure, Levels, Time } from "./parts.js";
import { crashPath, inPath, withQuery } from "./routes.js";
import { settings } from "./settings.js";
import { change, route, useSignal, useTitle } from "./state.js";
import { printable } from "./text.js";
import { Timeline } from "./timeline.js";
import { useMessages, useVisible } from "./page-search.js";

// What the kernel adds to the userdata of its administrator, of the last message only.
const SYSDATA = ["cpu", "taskname", "release", "msgid"];

/** @param {{id: string, query: URLSearchParams}} props */
export function MachinePage({ id, query }) {
    const { data, error, loading } = useGet(`hosts/${inPath(id)}`, {}, { every: 10 });
    const crashes = useGet("crashes", { host: id });
    const { utc } = useSignal(settings);
    const host = data;
    /** @type {import("./types.js").Boot[]} */
    const boots = useMemo(() => [...(data?.boots ?? [])].sort((one, two) => two.first - one.first), [data]);
    const events = data?.events ?? [];
    const wanted = query.get("boot") ?? (boots.length ? String(boots[0].boot) : "");
    const marks = useMemo(() => marksOf(events, data?.reports ?? []), [data]);
    useTitle(host?.name);
    if (error && !host) return html`<div class="page"><h1>${printable(id)}</h1><${Failure} error=${error} /><p><a href="/machines">All machines</a></p></div>`;
    if (!host) return html`<div class="page" aria-busy=${loading ? "true" : "false"}><h1>${printable(id)}</h1><p class="dim">Loading …</p></div>`;
    const userdata = Object.entries(host.userdata ?? {}).filter(([name]) => !SYSDATA.includes(name));
    const groups = (crashes.data?.groups ?? []).filter((/** @type {any} */ group) => group.machines?.[id]);
    return html`<div class="page">
        <header class="head"><h1>${printable(host.name || host.address)}</h1>
            ${host.name ? html`<span class="dim">${printable(host.address)}</span>` : null}
            ${host.silent_for > settings.value.silent ? html`<span class="badge warn">silent for ${duration(host.silent_for)}</span>` : html`<span class="badge ok">heard <${Ago} unix=${host.last} /></span>`}
        </header>
        <${Damaged} parts=${host.damaged} />
        <dl class="tiles">
            <div><dt>Release</dt><dd>${printable(host.release ?? "–")}</dd></div>
            <div><dt>Messages</dt><dd><a href=${withQuery("/search", { host: id })}>${count(host.messages)}</a></dd></div>
            <div><dt>Errors</dt><dd><${Levels} levels=${host.levels} /></dd></div>
            <div><dt>Lost</dt><dd>${host.lost == null ? "unknown" : count(host.lost)}${host.likely_lost ? html` <span class="dim">and ${count(host.likely_lost)} probably</span>` : null}</dd></div>
            <div><dt>Over --rate</dt><dd>${count(host.limited)}</dd></div>
            <div><dt>Crashes</dt><dd>${host.crashes ? html`<a class="bad" href=${withQuery("/crashes", { host: id })}>${count(host.crashes)}</a>` : "none"}</dd></div>
            <div><dt>First heard</dt><dd><${Time} unix=${host.first} /></dd></div>
        </dl>
        <${Failure} error=${error} />
        <${Timeline} boots=${boots} marks=${marks} utc=${utc} />
        ${groups.length ? html`<section><h2>Crashes</h2><ul class="plainlist">${groups.map((/** @type {any} */ group) => html`<li key=${group.id}>
            <span class=${`badge s-${group.severity}`}>${group.severity}</span> <a href=${crashPath(group.id)}>${printable(group.title)}</a>
            <span class="dim"> ${plural(group.machines[id][0], "time")}, last <${Ago} unix=${group.machines[id][2]} /></span></li>`)}</ul></section>` : null}
        <div class="columns">
        <section><h2>Boots</h2>
            <div class="scroll" tabindex="0" role="region" aria-label="Boots"><table class="grid">
            <thead><tr><th scope="col">From</th><th scope="col">Up</th><th scope="col">Release</th><th scope="col" class="number">Messages</th><th scope="col" class="number">Lost</th><th scope="col" class="number">Crashes</th><th scope="col">Ended</th></tr></thead>
            <tbody>${boots.slice(0, 100).map((boot) => html`<tr key=${boot.boot} class=${String(boot.boot) === wanted ? "chosen" : ""}>
                <th scope="row" class="nowrap"><a aria-current=${String(boot.boot) === wanted ? "true" : undefined} href=${withQuery(route.value.path, { boot: String(boot.boot) })}>${stamp(boot.first, utc)}</a></th>
                <td class="nowrap">${duration(boot.last - boot.first)}</td><td class="nowrap">${printable(boot.release ?? "–")}</td><td class="number">${count(boot.messages)}</td>
                <td class="number">${boot.lost ? count(boot.lost) : "–"}</td><td class="number">${boot.crashes ? html`<span class="bad">${count(boot.crashes)}</span>` : "–"}</td>
                <td class="ended">${printable(boot.how_ended ?? "–")}</td></tr>`)}</tbody></table></div>
        </section>
        <section><h2>Userdata</h2>
            <${Userdata} key=${id} fields=${userdata} />
            <h2>Events</h2>
            ${events.length ? html`<ul class="plainlist events">${events.slice(-50).reverse().map((/** @type {any} */ event, /** @type {number} */ index) => html`<li key=${index}>
                <span class="dim">${stamp(event.received_at, utc)}</span> <span class="badge">${event.kind}</span> ${printable(event.text ?? "")}</li>`)}</ul>`
                : html`<p class="dim">None.</p>`}
        </section>
        </div>
        ${boots.length ? html`<${BootLog} address=${id} boot=${wanted} query=${query} utc=${utc} />` : html`<${Empty}><p>The store has no boot of this machine.</p><//>`}
    </div>`;
}

// Fields of userdata that are shown at first: netconsole takes 256, and the log is below.
const FIELDS = 12;

/** @param {{fields: [string, any][]}} props */
function Userdata({ fields }) {
    const [whole, setWhole] = useState(false);
    if (!fields.length) return html`<p class="dim">This machine sends none.</p>`;
    return html`<dl class="facts">${fields.slice(0, whole ? fields.length : FIELDS).map(([name, value]) => html`<dt key=${name}>${printable(name)}</dt>
            <dd><a href=${withQuery("/search", { host: `${name}=${value}` })}>${printable(value)}</a></dd>`)}</dl>
        ${fields.length > FIELDS && !whole ? html`<p class="buttons"><button type="button" class="plain" onClick=${() => setWhole(true)}>Show all ${count(fields.length)}</button></p>` : null}`;
}

/** @param {{address: string, boot: string, query: URLSearchParams, utc: boolean}} props */
function BootLog({ address, boot, query, utc }) {
    const filter = new URLSearchParams({ host: address, boot }).toString();
    const found = useMessages(filter, "newest");
    const [open, setOpen] = useState(true);
    const rows = useVisible(found, query);
    const [chosen, setChosen] = useChosen(rows, query.get("at"));
    const row = chosen >= 0 && rows[chosen]?.kind !== "day" ? rows[chosen] : null;
    const began = Number(boot) > 1e6 ? stamp(Number(boot), utc) : "";
    return html`<section class="bootlog"><h2>Log of the boot${began ? ` of ${began}` : ""} <span class="dim">newest first</span>
            <a class="button" href=${`/search?${filter}`}>Search in it</a></h2>
        <${Failure} error=${found.error} />
        <${Hidden} query=${query} />
        <div class=${`split${row && open ? " open" : ""}`}>
            <${List} rows=${{ length: rows.length, at: (/** @type {number} */ index) => rows[index] }} version=${found.version} fresh=${found.run} label="Messages of the boot"
                chosen=${chosen} host=${false} up=${true} onEnd=${found.more} onChoose=${(/** @type {number} */ index) => {
                    setOpen(true);
                    setChosen(index);
                    change({ at: rows[index].message?.id ?? null }, { replace: true });
                }} />
            ${row && open ? html`<${Detail} row=${row} onClose=${() => setOpen(false)} />` : null}
        </div></section>`;
}

/**
 * What is marked on the time line.
 * @param {any[]} events
 * @param {any[]} reports
 * @returns {{time: number, kind: "crash" | "loss" | "silent", text: string}[]}
 */
export function marksOf(events, reports) {
    /** @type {{time: number, kind: "crash" | "loss" | "silent", text: string}[]} */
    const out = [];
    for (const event of events) {
        if (event.kind === "lost") out.push({ time: event.received_at, kind: "loss", text: event.text });
        else if (event.kind === "silent") out.push({ time: event.received_at, kind: "silent", text: event.text });
    }
    for (const report of reports) out.push({ time: report.at, kind: "crash", text: report.title });
    return out;
}
