/** Small pieces that many pages use. */
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ago, duration, fullStamp, levelName, short, stamp } from "./format.js";
import { settings } from "./settings.js";
import { say, useNow, useSignal } from "./state.js";
import { parts, printable } from "./text.js";

/** Text from the network, and where it matches. @param {{text: string, find?: RegExp | null}} props */
export function Text({ text, find = null }) {
    const shown = printable(text);
    if (!find) return shown;
    return parts(shown, find).map((part) => (part.found ? html`<mark>${part.text}</mark>` : part.text));
}

/** How long ago, with the time itself as a hint. @param {{unix: number | null | undefined}} props */
export function Ago({ unix }) {
    const now = useNow(5);
    const { utc } = useSignal(settings);
    if (unix == null) return "–";
    return html`<time datetime=${new Date(unix * 1000).toISOString()} title=${fullStamp(unix, utc)}>${ago(unix, now)}</time>`;
}

/** @param {{unix: number | null | undefined}} props */
export function Time({ unix }) {
    const { utc } = useSignal(settings);
    if (unix == null) return "–";
    return html`<time datetime=${new Date(unix * 1000).toISOString()} title=${fullStamp(unix, utc)}>${stamp(unix, utc)}</time>`;
}

/** @param {{error: {message: string} | null}} props */
export function Failure({ error }) {
    return error ? html`<p class="failure" role="alert">${printable(error.message)}</p>` : null;
}

/** The parts of the store that cannot be read. @param {{parts: {text: string}[] | undefined}} props */
export function Damaged({ parts: damaged = [] }) {
    return damaged.length ? html`<p class="notice">Parts of the store cannot be read, and are missing here: ${damaged.map((one) => printable(one.text)).join("; ")}.</p>` : null;
}

/** @param {{children?: any}} props */
export function Empty({ children }) {
    return html`<div class="empty">${children}</div>`;
}

/** @param {{level: number | null}} props */
export function Level({ level }) {
    return html`<span class=${`level l${level ?? "x"}`}>${levelName(level)}</span>`;
}

/** Counts of the levels as a bar. @param {{levels: number[] | undefined}} props */
export function Levels({ levels = [] }) {
    const bad = levels.slice(0, 4).reduce((sum, one) => sum + one, 0);
    const warn = levels[4] ?? 0;
    if (!bad && !warn) return html`<span class="dim">–</span>`;
    return html`${bad ? html`<span class="level l3" title="messages of level err and worse">${short(bad)} err</span>` : null}
        ${warn ? html` <span class="level l4" title="messages of level warn">${short(warn)} warn</span>` : null}`;
}

/** A button that copies a text. @param {{get: () => string | Promise<string>, children?: any, said?: string}} props */
export function Copy({ get, children, said = "Copied" }) {
    const copy = async () => {
        try {
            await copyText(await get());
            say(said);
        } catch (error) {
            say(`Not copied: ${error instanceof Error ? error.message : error}`);
        }
    };
    return html`<button type="button" onClick=${copy}>${children}</button>`;
}

/** @param {string} text */
export async function copyText(text) {
    // Without TLS, browsers have no clipboard beyond localhost: the old way.
    if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "offscreen";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("the browser does not allow it");
    return undefined;
}

/** 24 numbers as bars. @param {{values: number[] | undefined, label: string}} props */
export function Sparkline({ values = [], label }) {
    const most = Math.max(1, ...values);
    const width = 4;
    return html`<svg class="spark" viewBox=${`0 0 ${Math.max(1, values.length) * width} 20`} role="img" aria-label=${label}
        preserveAspectRatio="none">
        ${values.map((value, index) => {
            const height = value ? Math.max(2, (18 * value) / most) : 1;
            return html`<rect key=${index} x=${index * width} y=${20 - height} width=${width - 1} height=${height}
                class=${value ? "on" : "off"} />`;
        })}
    </svg>`;
}

/**
 * A question with a reason, as a dialog.
 * @param {{title: string, action: string, onDone: (values: Record<string, string>) => Promise<void>, onClose: () => void, children?: any}} props
 */
export function Ask({ title, action, onDone, onClose, children }) {
    const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
    const [error, setError] = useState(/** @type {Error | null} */ (null));
    useEffect(() => dialog.current?.showModal(), []);
    /** @param {SubmitEvent} event */
    const submit = async (event) => {
        event.preventDefault();
        const values = /** @type {Record<string, string>} */ (
            Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (event.target)))
        );
        try {
            await onDone(values);
            onClose();
        } catch (failure) {
            setError(/** @type {Error} */ (failure));
        }
    };
    return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="ask-title">
        <form onSubmit=${submit}>
            <h2 id="ask-title">${title}</h2>
            ${children}
            <label class="stack">Why? (kept with your name and the time)
                <textarea name="why" rows="3" maxlength="2000"></textarea>
            </label>
            <${Failure} error=${error} />
            <p class="buttons">
                <button class="primary" type="submit">${action}</button>
                <button type="button" onClick=${() => dialog.current?.close()}>Cancel</button>
            </p>
        </form>
    </dialog>`;
}

/** The span of two times. @param {number} first @param {number} last */
export const span = (first, last) => (last - first < 1 ? "once" : `over ${duration(last - first)}`);
