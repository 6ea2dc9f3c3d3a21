/** Receiver: what came in, what went out, and what was lost where. */
import { html } from "../vendor/htm-preact.js";
import { useGet } from "./api.js";
import { bytes, count, duration } from "./format.js";
import { Ago, Failure } from "./parts.js";
import { machinePath } from "./routes.js";
import { status, useSignal } from "./state.js";
import { printable } from "./text.js";

/** @typedef {{name: string, value: number | null, kind: "step" | "lost" | "out", help?: string}} Flow */

/**
 * The rows of the ledger from the network, or a processor's broker, to the modules: what went on, and below each what
 * was lost there.
 * @param {any} data the answer of `receiver`
 * @returns {Flow[]}
 */
export function flowOf(data) {
    const { counters = {}, help = {}, ledger = {} } = data;
    /** @type {Flow[]} */
    const out = data.broker ? brokerFlow(data.broker, data.copies) : [{ name: "Datagrams received", value: ledger.received ?? null, kind: "step" }];
    // Every place of a loss has a row: one that is not there could be forgotten.
    const lost = Object.keys(counters).filter((name) => name.startsWith("dropped") && !name.endsWith("_bytes")).sort((one, two) => (counters[two] ?? 0) - (counters[one] ?? 0));
    for (const name of lost) out.push({ name: wordsOf(name), value: counters[name], kind: "lost", help: help[name] });
    out.push({ name: "Messages", value: ledger.messages ?? null, kind: "step", help: help.messages });
    for (const name of ["lost", "likely_lost", "incomplete", "duplicates"]) {
        if (counters[name]) out.push({ name: `of these, ${wordsOf(name)}`, value: counters[name], kind: "lost", help: help[name] });
    }
    const others = new Set((data.modules ?? []).filter((/** @type {any} */ one) => one.takes_messages === false).map((/** @type {any} */ one) => one.name));
    for (const [name, one] of /** @type {[string, any][]} */ (Object.entries(ledger.modules ?? {}))) {
        // One for crash reports and events alone has no messages, and loses none.
        if (others.has(name)) continue;
        out.push({ name: `To ${name}`, value: one.messages, kind: "out" });
        if (one.dropped_queue_full) out.push({ name: `dropped: queue of ${name} full`, value: one.dropped_queue_full, kind: "lost" });
        if (one.lost) out.push({ name: `not written by ${name}`, value: one.lost, kind: "lost" });
    }
    return out;
}

/**
 * What a processor took out of its broker.
 * @param {any} broker @param {any} copies
 * @returns {Flow[]}
 */
function brokerFlow({ numbers = {}, help = {} }, copies) {
    /** @type {Flow[]} */
    const out = [
        { name: "Messages of the broker", value: numbers.deliveries ?? null, kind: "step", help: help.deliveries },
        { name: "dropped: cannot be read", value: numbers.damaged ?? 0, kind: "lost", help: help.damaged },
        { name: "deleted by the broker before", value: numbers.deleted ?? 0, kind: "lost", help: help.deleted },
        { name: "Kernel messages in them", value: numbers.kernel_messages ?? null, kind: "step", help: help.kernel_messages },
    ];
    const second = (copies?.receivers ?? []).reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.copies, 0);
    if (second) out.push({ name: "Second copies, dropped", value: second, kind: "out" });
    if (numbers.repeated_kernel_messages) out.push({ name: "Possibly processed before", value: numbers.repeated_kernel_messages, kind: "out", help: help.repeated_kernel_messages });
    return out;
}

/** @param {string} counter */
const wordsOf = (counter) => counter.replace(/^dropped_/, "dropped: ").replaceAll("_", " ");

export function ReceiverPage() {
    const daemon = useSignal(status);
    const { data, error, loading } = useGet("receiver", {}, { every: 2 });
    if (error && !data) {
        return html`<div class="page"><h1>Receiver</h1>${daemon && !daemon.receiving
            ? html`<p class="notice">netconsd does not receive: this console shows a store alone.</p>` : html`<${Failure} error=${error} />`}</div>`;
    }
    if (!data) return html`<div class="page" aria-busy=${loading ? "true" : "false"}><h1>Receiver</h1><p class="dim">Loading …</p></div>`;
    const flow = flowOf(data);
    const most = Math.max(1, ...flow.map((row) => row.value ?? 0));
    const silent = [...(data.silent ?? [])].sort((one, two) => two.silent_for - one.silent_for);
    const lossless = flow.every((row) => row.kind !== "lost" || !row.value);
    const hidden = flow.filter((row) => row.kind === "lost" && !row.value).length;
    return html`<div class="page">
        <header class="head"><h1>Receiver</h1>${lossless ? html`<span class="badge ok">nothing lost here</span>` : html`<span class="badge warn">losses, see below</span>`}
            ${daemon ? html`<span class="dim">started <${Ago} unix=${daemon.started} /></span>` : null}</header>
        <${Failure} error=${error} />
        ${(data.broker?.faults ?? []).map((/** @type {string} */ fault) => html`<p class="notice" key=${fault}>${printable(fault)}</p>`)}
        <section><h2>${data.broker ? "From the broker to the modules" : "From the network to the modules"}</h2>
            <ul class="flow">${flow.filter((row) => row.kind !== "lost" || row.value).map((row) => html`<li key=${row.name} class=${row.kind} title=${row.help}>
                <span class=${row.kind === "lost" ? "bad" : "step"}>${printable(row.name)}</span>
                <span class="number">${count(row.value)}</span>
                <span class="track" aria-hidden="true"><svg viewBox="0 0 1000 14" preserveAspectRatio="none"><rect height="14" width=${row.value ? Math.max(2, ((row.value ?? 0) / most) * 1000) : 0} /></svg></span></li>`)}</ul>
            ${hidden && !data.broker ? html`<p class="dim">${hidden} other places can lose datagrams; none of them did.</p>` : null}
        </section>
        <div class="columns">
        <section><h2>Modules</h2><div class="scroll" tabindex="0" role="region" aria-label="Modules"><table class="grid">
            <thead><tr><th scope="col">Module</th><th scope="col" class="number">Worker</th><th scope="col" class="number">Messages</th><th scope="col" class="number">In queue</th><th scope="col" class="number">Dropped</th><th scope="col" class="number">Errors</th><th scope="col" class="number">Time a message</th></tr></thead>
            <tbody>${(data.modules ?? []).map((/** @type {any} */ one, /** @type {number} */ index) => html`<tr key=${index}><th scope="row">${printable(one.name)}</th>
                <td class="number">${one.worker ?? "–"}</td><td class="number">${count(one.messages)}</td><td class="number">${count(one.waiting)}</td>
                <td class="number">${bad((one.dropped_queue_full ?? 0) + (one.dropped_at_stop ?? 0))}</td><td class="number">${bad(one.errors)}</td>
                <td class="number">${one.messages ? `${((one.seconds / one.messages) * 1e6).toFixed(1)} µs` : "–"}</td></tr>`)}</tbody></table></div></section>
        <section><h2>Workers</h2><div class="scroll" tabindex="0" role="region" aria-label="Workers"><table class="grid">
            <thead><tr><th scope="col">Worker</th><th scope="col" class="number">In queue</th><th scope="col" class="number">Held for order</th><th scope="col" class="number">Senders</th><th scope="col" class="number">Open reports</th><th scope="col" class="number">Delay p50</th><th scope="col" class="number">p99</th></tr></thead>
            <tbody>${(data.workers ?? []).map((/** @type {any} */ one) => html`<tr key=${one.number}><th scope="row">${one.number}${one.alive === false ? html` <span class="badge s-dead">stopped</span>` : null}</th>
                <td class="number">${count(one.queued)}</td><td class="number">${count(one.held)}</td><td class="number">${count(one.senders)}</td><td class="number">${count(one.open_reports)}</td>
                <td class="number">${delay(one.delay?.p50)}</td><td class="number">${delay(one.delay?.p99)}</td></tr>`)}</tbody></table></div></section>
        ${data.broker ? null : html`<section><h2>Sockets</h2><div class="scroll" tabindex="0" role="region" aria-label="Sockets"><table class="grid">
            <thead><tr><th scope="col">Listener</th><th scope="col" class="number">Datagrams</th><th scope="col" class="number">Dropped by the kernel</th><th scope="col" class="number">Buffer in use</th><th scope="col">State</th></tr></thead>
            <tbody>${(data.listeners ?? []).map((/** @type {any} */ one) => html`<tr key=${one.number}><th scope="row">${one.number}</th>
                <td class="number">${count(one.counters?.datagrams ?? one.counters?.received)}</td><td class="number">${bad(one.counters?.dropped_by_kernel)}</td>
                <td class="number">${bytes(one.buffer_used)} of ${bytes(one.buffer_size)}</td>
                <td>${one.failing || one.problem ? html`<span class="bad">${printable(one.problem || "the last read failed")}</span>` : "receives"}</td></tr>`)}</tbody></table></div></section>`}
        ${data.copies ? html`<${Receivers} copies=${data.copies} help=${data.copies_help ?? {}} />` : null}
        ${data.broker ? null : html`<section><h2>Silent machines</h2>${silent.length
            ? html`<ul class="plainlist">${silent.map((one) => html`<li key=${one.address}><a href=${machinePath(one.address)}>${printable(one.address)}</a> <span class="dim">silent for ${duration(one.silent_for)}</span></li>`)}</ul>`
            : html`<p class="dim">No machine is silent for longer than usual.</p>`}</section>`}
        </div>
        <details><summary>All counters</summary><div class="scroll" tabindex="0" role="region" aria-label="All counters"><table class="grid">
            <thead><tr><th scope="col">Counter</th><th scope="col" class="number">Value</th><th scope="col">Meaning</th></tr></thead>
            <tbody>${Object.entries(data.counters ?? {}).map(([name, value]) => html`<tr key=${name}><th scope="row"><code>${name}</code></th>
                <td class="number">${count(/** @type {number | null} */ (value))}</td><td>${data.help?.[name] ?? ""}</td></tr>`)}</tbody></table></div></details>
    </div>`;
}

/** A receiver's name, and the first of the 32 digits of its id. @param {{receiver: string, name?: string}} one */
const receiverName = (one) => html`${one.name ? html`${printable(one.name)} ` : null}<span class="dim">${printable(one.receiver.slice(0, 8))}</span>`;

/** The receivers that a processor merges, and the machines of which one missed most. @param {any} props */
function Receivers({ copies, help }) {
    return html`<section><h2>Receivers</h2><div class="scroll" tabindex="0" role="region" aria-label="Receivers"><table class="grid">
            <thead><tr><th scope="col">Receiver</th><th scope="col" class="number" title=${help.messages}>Messages</th><th scope="col" class="number" title=${help.copies}>Second copies</th><th scope="col" class="number" title=${help.missed}>Missed</th><th scope="col">Last message</th></tr></thead>
            <tbody>${copies.receivers.map((/** @type {any} */ one) => html`<tr key=${one.receiver}><th scope="row" title=${printable(one.receiver)}>${receiverName(one)}</th>
                <td class="number">${count(one.messages)}</td><td class="number">${count(one.copies)}</td><td class="number">${bad(one.missed)}</td>
                <td>${one.last == null ? "–" : html`<${Ago} unix=${one.last} />`}</td></tr>`)}</tbody></table></div>
        ${copies.most_missed.length ? html`<h3>Missed by one, had by another</h3><ul class="plainlist">${copies.most_missed.map((/** @type {any} */ one) => html`<li key=${one.address + one.receiver}>
            <a href=${machinePath(one.address)}>${printable(one.address)}</a> <span class="dim">${count(one.missed)} missed by ${receiverName(one)}</span></li>`)}</ul>`
        : html`<p class="dim">No receiver missed a message that another one had.</p>`}</section>`;
}

/** @param {number | null | undefined} value */
const bad = (value) => (value ? html`<span class="bad">${count(value)}</span>` : count(value));

/** A delay is an upper bound. @param {number | null | undefined} seconds */
function delay(seconds) {
    if (seconds == null) return "–";
    return seconds < 1 ? `≤ ${Math.round(seconds * 10000) / 10} ms` : `≤ ${duration(seconds)}`;
}
