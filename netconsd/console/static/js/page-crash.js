/** A crash: the trace, what the machine said before, where else it happened, and what people decided. */
import { html, useEffect, useMemo, useState } from "../vendor/htm-preact.js";
import { apiUrl, getText, post, useGet } from "./api.js";
import { count, fullStamp, plural, stamp, uptime } from "./format.js";
import { Ago, Ask, Copy, Failure, Level, Time } from "./parts.js";
import { Badges, byRelease, MEANING } from "./page-crashes.js";
import { machinePath, withQuery } from "./routes.js";
import { settings } from "./settings.js";
import { route, say, status, useSignal, useTitle } from "./state.js";
import { printable, printableLines } from "./text.js";

/** @typedef {import("./types.js").Group} Group */
/** @typedef {import("./types.js").Message} Message */

/** @param {{id: string, query: URLSearchParams}} props */
export function CrashPage({ id, query }) {
    const [version, setVersion] = useState(0);
    const path = `crashes/${encodeURIComponent(id)}`;
    // A newer report must not change what somebody reads.
    const [held, setHeld] = useState("");
    const report = query.get("report") ?? held;
    const { data, error, loading } = useGet(path, report ? { report } : {}, { every: 10, version });
    useEffect(() => {
        // A split or the store's age can take it away.
        if (!loading && !query.get("report")) setHeld(error?.field === "report" ? "" : (data?.sample?.id ?? ""));
    }, [loading, data, error]);
    const hosts = useGet("hosts");
    const [asking, setAsking] = useState(/** @type {{action: string, report?: string, into?: string} | null} */ (null));
    const { utc } = useSignal(settings);
    const daemon = useSignal(status);
    useTitle(data?.title);
    if (error && !data) return html`<div class="page"><h1>Crash</h1><${Failure} error=${error} /><p><a href="/crashes">All crashes</a></p></div>`;
    if (!data) return html`<div class="page" aria-busy=${loading ? "true" : "false"}><h1>Crash</h1><p class="dim">Loading …</p></div>`;
    /** @type {Group} */
    const group = data.group ?? data;
    const sample = data.sample;
    /** @type {any[]} */
    const reports = data.reports ?? [];
    const before = data.before ?? [];
    const history = data.history ?? [];
    const first = sample?.messages?.[0] ?? null;
    const address = sample?.source?.address ?? Object.keys(group.machines)[0] ?? "";
    /** @type {Record<string, string>} */
    const around = first ? { host: address, since: String(first.received_at - 60), until: String(first.received_at + 60) } : {};
    /** @type {Record<string, string>} */
    const names = {};
    for (const host of hosts.data?.hosts ?? []) if (host.name) names[host.address] = host.name;
    Object.assign(names, Object.fromEntries(Object.entries(group.names_of ?? {}).filter(([, one]) => one)));
    const name = names[address] || address;
    /** @param {Record<string, string>} values */
    const act = async (values) => {
        const action = /** @type {{action: string, report?: string}} */ (asking);
        await post(path, { ...action, ...values });
        say(`Done: ${action.action}`);
        setVersion((old) => old + 1);
    };
    const changes = daemon?.read_only ? null : html`<p class="buttons" role="group" aria-label="Decide">
        ${group.state === "resolved" ? html`<button type="button" onClick=${() => setAsking({ action: "reopen" })}>Reopen</button>`
            : html`<button type="button" onClick=${() => setAsking({ action: "resolve" })}>Resolve</button>`}
        <button type="button" onClick=${() => setAsking({ action: group.muted ? "unmute" : "mute" })}>${group.muted ? "Unmute" : "Mute"}</button>
        <button type="button" onClick=${() => setAsking({ action: "merge" })}>Merge into another</button></p>`;
    return html`<div class="page crash">
        <header class="head"><p class="crumb"><a href="/crashes">Crashes</a></p>
            <h1>${printable(group.title)}</h1><p class="badges"><${Badges} group=${group} /></p>${changes}</header>
        <${Failure} error=${error} />
        ${group.state === "regressed" ? html`<p class="notice bad">It ${MEANING.regressed}.</p>` : null}
        ${sample?.incomplete ? html`<p class="notice">This report is incomplete: ${printable(sample.incomplete)}. The function in the title may be wrong.</p>` : null}
        ${sample?.consequence_of ? html`<p class="notice">It followed from <a href=${withQuery("/crashes", { q: sample.consequence_of })}>${printable(sample.consequence_of)}</a>. Look there first.</p>` : null}
        ${group.lone_machine ? html`<p class="notice">Almost only <a href=${machinePath(group.lone_machine)}>${printable(names[group.lone_machine] || group.lone_machine)}</a> has it: its hardware or set-up is a likely cause.</p>` : null}
        <dl class="tiles">
            <div><dt>Reports</dt><dd>${count(group.count)}</dd></div>
            <div><dt>Machines</dt><dd>${count(Object.keys(group.machines).length)}</dd></div>
            <div><dt>First</dt><dd><${Time} unix=${group.first} /></dd></div>
            <div><dt>Last</dt><dd><${Ago} unix=${group.last} /></dd></div>
            ${sample ? html`
                ${tile("Function", sample.function && `${sample.function}${sample.module ? ` [${sample.module}]` : ""}`)}
                ${tile("Task", sample.comm && `${sample.comm}${sample.pid == null ? "" : `, pid ${sample.pid}`}`)}
                ${tile("CPU", sample.cpu)} ${tile("Kernel", sample.release)} ${tile("Machine", sample.machine)}
                ${tile("Tainted by", (sample.taint ?? []).filter((/** @type {string} */ one) => one !== NO_TAINT).join(", "))}` : null}
        </dl>
        ${sample ? html`<div class="columns wide-left">
            <section><h2>The report <span class="dim">of <a href=${machinePath(address)}>${printable(name)}</a>, ${fullStamp(sample.received_at, utc)}</span></h2>
                <p class="buttons" role="group" aria-label="Take it elsewhere">
                    <${Copy} get=${() => getText(path, { format: "text", report: sample.id })} said="Copied: scripts/decode_stacktrace.sh vmlinux reads it">Copy for decode_stacktrace.sh<//>
                    <${Copy} get=${() => getText(path, { format: "mail", report: sample.id })} said="Copied as an e-mail">Copy for a mailing list<//>
                    <${Copy} get=${() => getText(path, { format: "json", report: sample.id })} said="Copied as JSON">Copy as JSON<//>
                    <a class="button" href=${apiUrl(path, { format: "json", report: sample.id })} download=${`crash-${id}.json`}>Download JSON</a>
                </p>
                <${Trace} messages=${sample.messages ?? []} frames=${sample.frames ?? []} /></section>
            <section><h2>${before.length ? "The minute before" : "Before"} ${first ? html`<a class="button" href=${withQuery("/search", around)}>All around it</a>` : null}</h2>
                <${Before} messages=${before} utc=${utc} /></section>
        </div>` : html`<p class="notice">No report of this bug has its messages any more.</p>`}
        <div class="columns">
            <section><h2>Machines</h2><${Machines} group=${group} names=${names} /></section>
            <section><h2>Releases</h2><${Releases} group=${group} hosts=${hosts.data?.hosts ?? []} /></section>
        </div>
        <section><h2>Reports</h2>${group.why?.length ? html`<p class="dim">Why these reports are one bug: ${group.why.map(printable).join("; ")}.</p>` : null}<${Reports} names=${names} reports=${reports} chosen=${sample?.id ?? ""} utc=${utc} onSplit=${daemon?.read_only || reports.length < 2 ? null : (/** @type {string} */ one) => setAsking({ action: "split", report: one })} /></section>
        <section><h2>History</h2>${history.length || group.merged_from?.length
            ? html`<ul class="plainlist">${history.map((/** @type {any} */ one, /** @type {number} */ index) => html`<li key=${index}>
                <span class="dim">${stamp(one.when, utc)}</span> <strong>${printable(one.who || "somebody")}</strong> ${printable(one.what)}${one.why ? html`: <q>${printable(one.why)}</q>` : null}</li>`)}
                ${(group.merged_from ?? []).map((one) => html`<li key=${one.id}>The reports of <q>${printable(one.title)}</q> are part of it.
                    ${daemon?.read_only ? null : html`<button type="button" class="plain" onClick=${() => setAsking({ action: "split", into: one.id })}>Take out again</button>`}</li>`)}</ul>`
            : html`<p class="dim">Nobody has decided anything yet.</p>`}</section>
        ${asking ? html`<${Ask} title=${TITLES[asking.action]} action=${WORDS[asking.action]} onDone=${act} onClose=${() => setAsking(null)}>
            ${asking.action === "merge" ? html`<${Into} id=${group.id} />` : null}<//>` : null}
    </div>`;
}

// The letter G of the kernel, which is shown among the taints and is none.
const NO_TAINT = "no proprietary module";
/** @type {Record<string, string>} */
const TITLES = {
    resolve: "Is this bug resolved?", reopen: "Reopen this bug?", mute: "Mute this bug?", unmute: "Unmute this bug?",
    merge: "Into which bug does this one belong?", split: "Take this report out, as a bug of its own?",
};
/** @type {Record<string, string>} */
const WORDS = { resolve: "Resolve", reopen: "Reopen", mute: "Mute", unmute: "Unmute", merge: "Merge", split: "Split" };

/** @param {string} name @param {unknown} value */
const tile = (name, value) => (value == null || value === "" ? null : html`<div><dt>${name}</dt><dd>${printable(value)}</dd></div>`);

/** @param {{id: string}} props */
function Into({ id }) {
    const { data, error } = useGet("crashes");
    const others = (data?.groups ?? []).filter((/** @type {Group} */ group) => group.id !== id);
    return html`<${Failure} error=${error} /><label class="stack">Bug
        <select name="into" required>${others.map((/** @type {Group} */ group) => html`<option key=${group.id} value=${group.id}>${printable(group.title)}</option>`)}</select></label>
        ${data && !others.length ? html`<p class="failure">There is no other bug.</p>` : null}`;
}

/**
 * Whether a line of a trace is a guess of the kernel: an address found on the stack.
 * @param {string} line
 */
export function isQuestionable(line) {
    return /^\s*(?:\[<[0-9a-f]+>\]\s+)?\? \S/i.test(line) || /\(unreliable\)\s*$/.test(line);
}

/** @param {{messages: any[], frames: any[]}} props */
function Trace({ messages, frames }) {
    const guilty = useMemo(() => new Set(frames.filter((frame) => !frame.questionable).map((frame) => frame.name)), [frames]);
    return html`<pre class="trace" tabindex="0" aria-label="Text of the report">${messages.flatMap((message, index) =>
        printableLines(message.text).map((line, at) => {
            const grey = isQuestionable(line);
            const name = /([A-Za-z_.][\w.]*)\+0x[0-9a-f]+\/0x/.exec(line);
            const frame = !grey && name && guilty.has(name[1]);
            return html`<span key=${`${index}.${at}`} class=${`l${message.level ?? "x"}${grey ? " guess" : ""}${frame ? " frame" : ""}`}
                title=${grey ? "a guess: an address found on the stack, perhaps no caller" : undefined}>${line}${"\n"}</span>`;
        }))}</pre>`;
}

/** @param {{messages: Message[], utc: boolean}} props */
function Before({ messages, utc }) {
    if (!messages.length) return html`<p class="dim">Nothing arrived from this machine in the minute before.</p>`;
    return html`<ol class="before">${messages.map((message, index) => html`<li key=${index} class=${`l${message.level ?? "x"}`}>
        <span class="dim" title=${fullStamp(message.received_at, utc)}>${uptime(message.ts_usec)}</span>${" "}
        ${printable(message.text)}
        ${(message.level ?? 6) <= 4 ? html` <${Level} level=${message.level} />` : null}</li>`)}</ol>`;
}

/** @param {{group: Group, names: Record<string, string>}} props */
function Machines({ group, names }) {
    const rows = Object.entries(group.machines).sort((one, two) => two[1][2] - one[1][2]);
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Machines with this bug"><table class="grid">
        <thead><tr><th scope="col">Machine</th><th scope="col" class="number">Reports</th><th scope="col">First</th><th scope="col">Last</th></tr></thead>
        <tbody>${rows.map(([address, [times, first, last]]) => html`<tr key=${address}><th scope="row"><a href=${machinePath(address)}>${printable(names[address] || address)}</a></th>
            <td class="number">${count(times)}</td><td><${Ago} unix=${first} /></td><td><${Ago} unix=${last} /></td></tr>`)}</tbody></table></div>`;
}

/**
 * What the releases of the fleet have to do with a bug.
 * @param {Group} group
 * @param {import("./types.js").Host[]} hosts
 */
export function releaseRows(group, hosts) {
    /** @type {Map<string, {release: string, reports: number, first: number | null, last: number | null, running: number}>} */
    const rows = new Map();
    for (const [release, [reports, first, last]] of Object.entries(group.releases)) rows.set(release, { release, reports, first, last, running: 0 });
    for (const { release } of hosts) {
        if (!release) continue;
        const row = rows.get(release) ?? { release, reports: 0, first: null, last: null, running: 0 };
        row.running += 1;
        rows.set(release, row);
    }
    return [...rows.values()].sort((one, two) => (two.reports > 0 ? 1 : 0) - (one.reports > 0 ? 1 : 0) || byRelease(one.release, two.release));
}

/** @param {{group: Group, hosts: import("./types.js").Host[]}} props */
function Releases({ group, hosts }) {
    const rows = releaseRows(group, hosts);
    const clean = rows.filter((row) => !row.reports && row.running);
    if (!rows.length) return html`<p class="dim">The machines did not say their release.</p>`;
    return html`${group.new_in ? html`<p class="notice">It first came with ${printable(group.new_in)}.</p>` : null}
        <div class="scroll" tabindex="0" role="region" aria-label="Releases"><table class="grid">
        <thead><tr><th scope="col">Release</th><th scope="col" class="number">Reports</th><th scope="col">First</th><th scope="col">Last</th><th scope="col" class="number">Machines that run it</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${row.release}><th scope="row">${printable(row.release)}</th>
            <td class="number">${row.reports ? html`<span class="bad">${count(row.reports)}</span>` : "none"}</td>
            <td><${Ago} unix=${row.first} /></td><td><${Ago} unix=${row.last} /></td><td class="number">${count(row.running)}</td></tr>`)}</tbody></table></div>
        ${clean.length ? html`<p class="dim">Not seen with ${clean.map((row) => printable(row.release)).join(", ")}, which ${plural(clean.reduce((sum, row) => sum + row.running, 0), "machine runs", "machines run")}.</p>` : null}`;
}

/** @param {{names: Record<string, string>, reports: any[], chosen: string, utc: boolean, onSplit: ((report: string) => void) | null}} props */
function Reports({ names, reports, chosen, utc, onSplit }) {
    const [most, setMost] = useState(20);
    if (!reports.length) return html`<p class="dim">None is kept.</p>`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Reports of this bug"><table class="grid">
        <thead><tr><th scope="col">Time</th><th scope="col">Machine</th><th scope="col">Release</th><th scope="col">State</th>${onSplit ? html`<th scope="col">Another bug?</th>` : null}</tr></thead>
        <tbody>${reports.slice(0, most).map((report) => {
            return html`<tr key=${report.id} class=${report.id === chosen ? "chosen" : ""}>
            <th scope="row"><a aria-current=${report.id === chosen ? "true" : undefined} href=${withQuery(route.value.path, { report: report.id })}>${stamp(report.at, utc)}</a></th>
            <td><a href=${machinePath(report.host)}>${printable(names[report.host] || report.host)}</a></td><td>${printable(report.release ?? "–")}</td>
            <td>${report.fatal ? html`<span class="badge s-dead">went down</span>` : null}${report.incomplete ? html` <span class="badge warn" title=${printable(report.incomplete)}>incomplete</span>` : null}
                ${report.repeats ? html` <span class="dim">and ${plural(report.repeats, "repeat")}</span>` : null}</td>
            ${onSplit ? html`<td><button type="button" class="plain" onClick=${() => onSplit(report.id)}>Split off</button></td>` : null}</tr>`;
        })}</tbody></table></div>
        ${reports.length > most ? html`<p class="buttons"><button type="button" onClick=${() => setMost(most + 100)}>Show more</button></p>` : null}`;
}
