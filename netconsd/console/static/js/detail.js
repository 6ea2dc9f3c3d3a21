/** One message in full, and what can be done with it. */
import { html, useLayoutEffect, useRef } from "../vendor/htm-preact.js";
import { changed } from "./filter.js";
import { fullStamp, levelName, uptime } from "./format.js";
import { formRegex } from "./forms.js";
import { useKeys } from "./keys.js";
import { Copy, Level } from "./parts.js";
import { machinePath, messagePath, withQuery } from "./routes.js";
import { marks, rowForm, rowText } from "./rows.js";
import { settings } from "./settings.js";
import { change, go, route, useSignal } from "./state.js";
import { printable, printableLines } from "./text.js";

/** @typedef {import("./types.js").Row} Row */

/** What the kernel adds to the userdata, and the fields that have it. @type {Record<string, "cpu" | "taskname" | "release" | "msgid">} */
const SYSDATA = { cpu: "cpu", taskname: "taskname", release: "release", msgid: "msgid" };

/**
 * @param {object} props
 * @param {Row} props.row
 * @param {() => void} props.onClose
 * @param {boolean} [props.context] whether to offer the messages around it, and to hide those like it
 */
export function Detail({ row, onClose, context = true }) {
    const { utc } = useSignal(settings);
    const { message, finding } = row;
    // On a narrow screen it is below the list.
    const box = useRef(/** @type {HTMLElement | null} */ (null));
    useLayoutEffect(() => box.current?.scrollIntoView({ block: "nearest" }), [row]);
    const hide = () => {
        const query = route.value.query;
        change({ hide: [...new Set([...query.getAll("hide"), rowForm(row)])], at: null });
    };
    useKeys({
        Escape: onClose,
        ...(message && context ? { x: hide, c: () => go(messagePath(message.id)) } : {}),
    });
    if (!message) {
        const where = finding?.group ? `/crashes/${encodeURIComponent(finding.group)}` : withQuery("/crashes", { q: finding?.title ?? "" });
        return html`<aside ref=${box} class="detail" aria-label="The chosen row">
            <header><h2>${printable(row.text)}</h2>${closer(onClose)}</header>
            <dl class="facts">
                <dt>Machine</dt><dd><a href=${machinePath(row.address)}>${printable(row.name ? `${row.name} (${row.address})` : row.address)}</a></dd>
                <dt>Time</dt><dd>${fullStamp(row.time, utc)}</dd>
                ${Object.entries(finding?.details ?? {}).map(([name, value]) => html`<dt key=${name}>${printable(name)}</dt><dd>${printable(value)}</dd>`)}
                ${finding?.severity ? html`<dt>Severity</dt><dd>${finding.severity}</dd>` : null}
            </dl>
            <p class="buttons">${row.kind === "crash" ? html`<a class="button primary" href=${where}>The crash and what came before</a>` : null}</p>
        </aside>`;
    }
    const around = new URLSearchParams({ since: String(message.received_at - 60), until: String(message.received_at + 60) });
    const query = new URLSearchParams(route.value.query);
    /** @param {string} name @param {unknown} value @param {string | null} [link] */
    const fact = (name, value, link = null) =>
        value == null || value === "" ? null
            : html`<dt>${name}</dt><dd>${link ? html`<a href=${link}>${printable(value)}</a>` : printable(value)}</dd>`;
    const { page: here, path } = route.value;
    const page = here === "live" || here === "search" ? path : "/search";
    const only = (/** @type {Record<string, string>} */ changes) => withQuery(page, changed(query, { at: null, ...changes }));
    return html`<aside ref=${box} class="detail" aria-label="The chosen message">
        <header><h2><${Level} level=${message.level} /> <span>${printable(message.name || message.address)}</span></h2>${closer(onClose)}</header>
        <pre tabindex="0" aria-label="Text of the message">${printableLines(message.text).join("\n")}</pre>
        <p class="buttons">
            ${context ? html`<a class="button primary" href=${messagePath(message.id)}>Context</a>` : null}
            <${Copy} get=${() => rowText(row, utc)}>Copy<//>
            <${Copy} get=${() => location.origin + messagePath(message.id)} said="The link is copied">Copy link<//>
            ${context ? html`<button type="button" onClick=${hide} title=${printable(rowForm(row))}>Hide messages like this</button>` : null}
            <a class="button" href=${withQuery("/search", { grep: formRegex(rowForm(row)), case: "match" })}>Find messages like this</a>
        </p>
        <dl class="facts">
            ${fact("Machine", message.name ? `${message.name} (${message.address})` : message.address, machinePath(message.address))}
            ${fact("Received", fullStamp(message.received_at, utc), withQuery("/search", around))}
            ${fact("Since boot", message.ts_usec == null ? null : uptime(message.ts_usec))}
            ${fact("Level", `${levelName(message.level)}${message.facility ? `, facility ${message.facility}` : ""}`)}
            ${fact("Release", message.release, message.release ? only({ release: message.release }) : null)}
            ${fact("Number (seq)", message.seq)}
            ${fact("Caller", message.caller, message.caller ? only({ caller: message.caller }) : null)}
            ${fact("Task", message.taskname)} ${fact("CPU", message.cpu)}
            ${fact("Port", message.port)} ${fact("msgid", message.msgid)}
            ${fact("Marks", marks(message).join(", "))}
            ${Object.entries(message.dictionary ?? {}).map(([name, value]) => fact(printable(name), value))}
            ${Object.entries(message.userdata ?? {}).filter(([name]) => !(name in SYSDATA && message[SYSDATA[name]] != null)).map(([name, value]) => fact(printable(name), value, only({ host: `${name}=${value}` })))}
            ${fact("Form", rowForm(row))}
        </dl>
    </aside>`;
}

/** @param {() => void} onClose */
function closer(onClose) {
    return html`<button type="button" class="icon" onClick=${onClose} aria-label="Close" aria-keyshortcuts="Escape">×</button>`;
}
