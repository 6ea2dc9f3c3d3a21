/** The filter bar: the filter of `netconsd log`. What is typed is the URL's once it is sent with Enter or the button. */
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { LEVELS, stamp } from "./format.js";
import { changed, FIELDS, filterOf, hostWords, isEmpty, zoned } from "./filter.js";
import { useKeys } from "./keys.js";
import { settings } from "./settings.js";
import { change, go, route, useSignal } from "./state.js";
import { withQuery } from "./routes.js";
import { printable } from "./text.js";

const MORE = /** @type {const} */ (["exclude", "release", "caller", "boot", "seq", "case"]);
const HINTS = {
    host: "web*, 192.0.2.0/24, role=web", grep: "words or a regular expression", exclude: "regular expression", release: "6.12*",
    caller: "T417 or C1", boot: "-1, or a boot's number", seq: "number", since: "2h, 07:00, yesterday", until: "now",
};

/**
 * @param {object} props
 * @param {URLSearchParams} props.query
 * @param {boolean} [props.times] whether there are fields for a range of time
 * @param {{message: string, field?: string} | null} [props.error] of the API, shown at its field
 * @param {boolean} [props.highlights] whether there is a field for words to highlight
 * @param {any} [props.children] more buttons
 */
export function FilterBar({ query, times = false, highlights = true, error = null, children }) {
    const filter = filterOf(query);
    const words = query.toString();
    /** @type {Record<string, string>} */
    const now = {};
    for (const field of FIELDS) now[field] = field === "host" ? filter.host.join(" ") : /** @type {string} */ (filter[field]);
    const [draft, setDraft] = useState(now);
    const [more, setMore] = useState(MORE.some((field) => now[field]));
    const first = useRef(/** @type {HTMLInputElement | null} */ (null));
    const { utc } = useSignal(settings);
    useEffect(() => setDraft(now), [words]);
    useEffect(() => {
        if (error?.field && /** @type {readonly string[]} */ (MORE).includes(error.field)) setMore(true);
    }, [error]);
    useKeys({ "/": () => first.current?.select() });

    /** @param {Record<string, string>} values */
    const send = (values) => {
        /** @type {Record<string, string | string[]>} */
        const changes = { ...values, host: hostWords(values.host), since: zoned(values.since, utc), until: zoned(values.until, utc), at: "" };
        // The same filter once more asks for what is new.
        go(withQuery(route.value.path, changed(route.value.query, changes)), { again: true });
    };
    /** @param {string} name */
    const set = (name) => (/** @type {Event} */ event) => {
        const target = /** @type {HTMLInputElement} */ (event.target);
        setDraft((old) => ({ ...old, [name]: target.value }));
    };
    /** @param {string} name @param {string} title @param {object} [extra] */
    const field = (name, title, extra = {}) => html`<label class=${`field f-${name}`}>
        <span>${title}</span>
        <input name=${name} value=${/^\d{9,}(\.\d+)?$/.test(draft[name]) && (name === "since" || name === "until") ? stamp(Number(draft[name]), utc) : draft[name]}
            onInput=${set(name)} placeholder=${HINTS[/** @type {keyof typeof HINTS} */ (name)]} autocomplete="off" spellcheck=${false}
            autocapitalize="off" aria-invalid=${error?.field === name ? "true" : undefined}
            aria-describedby=${error?.field === name ? "filter-error" : undefined} ...${extra} />
    </label>`;
    return html`<form class=${`bar filter${more || now.host || now.level || now.since || now.until ? " more" : ""}`} role="search" aria-label="Filter" onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        send(draft);
    }}>
        ${field("grep", "Text", { ref: first, type: "search", "aria-keyshortcuts": "/" })}
        ${field("host", "Machines")}
        <label class="field f-level"><span>Level</span>
            <select name="level" value=${draft.level} onChange=${(/** @type {Event} */ event) => {
                const level = /** @type {HTMLSelectElement} */ (event.target).value;
                send({ ...draft, level });
            }}>
                <option value="">all</option>
                ${LEVELS.slice(0, 7).map((name) => html`<option key=${name} value=${name}>${name}${name === "emerg" ? "" : " and worse"}</option>`)}
            </select>
        </label>
        ${times ? html`${field("since", "Since")}${field("until", "Until")}` : null}
        ${more ? html`${field("exclude", "Without")}${field("release", "Release")}${field("caller", "Caller")}${field("boot", "Boot")}
            ${field("seq", "Number (seq)")}
            <label class="field f-case"><span>Capitals</span><select name="case" value=${draft.case} onChange=${set("case")}>
                <option value="">if any are typed</option><option value="match">matter</option><option value="ignore">do not matter</option>
            </select></label>` : null}
        ${highlights ? html`<label class="field f-mark"><span>Highlight</span>
            <input type="search" value=${query.get("mark") ?? ""} placeholder="words to mark" autocomplete="off" spellcheck=${false}
                onInput=${(/** @type {Event} */ event) => change({ mark: /** @type {HTMLInputElement} */ (event.target).value }, { replace: true })} />
        </label>` : null}
        <div class="buttons">
            <button class="primary" type="submit">Filter</button>
            <button type="button" aria-expanded=${more ? "true" : "false"} onClick=${() => setMore(!more)}>${more ? "Fewer fields" : "More fields"}</button>
            ${isEmpty(filter) ? null : html`<button type="button" onClick=${() => send(Object.fromEntries(FIELDS.map((name) => [name, ""])))}>Clear</button>`}
            ${children}
        </div>
        ${error ? html`<p class="failure" id="filter-error" role="alert">${printable(error.message)}</p>` : null}
    </form>`;
}

/**
 * The forms that are hidden, each with a way back.
 * @param {{query: URLSearchParams}} props
 */
export function Hidden({ query }) {
    const hidden = query.getAll("hide");
    if (!hidden.length) return null;
    return html`<div class="marks">
        ${hidden.map((form) => html`<button key=${form} type="button" class="chip" title="Show these messages again"
            onClick=${() => change({ hide: hidden.filter((one) => one !== form) })}>
            <span class="sr">Show again: </span>hidden: <code>${printable(form)}</code> <span aria-hidden="true">×</span></button>`)}
    </div>`;
}
