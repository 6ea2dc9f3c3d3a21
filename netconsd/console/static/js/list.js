/**
 * A list of rows of which only the visible ones are drawn, for lists of any length. One stop of the tab key; arrows, page
 * keys and j, k move the chosen row.
 */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { clock, day, levelName, uptime } from "./format.js";
import { useKeys } from "./keys.js";
import { settings } from "./settings.js";
import { useSignal } from "./state.js";
import { parts, printable } from "./text.js";
import { reveal, visible } from "./virtual.js";

/** @typedef {import("./types.js").Row} Row */

const WIDE_ROW = 21;
const NARROW_ROW = 58;
const NARROW = matchMedia("(max-width: 700px)");
const NAMES = { gap: "lost", boot: "boot", event: "event", crash: "crash", day: "", message: "" };

/**
 * @param {object} props
 * @param {{length: number, first?: number, at: (index: number) => Row}} props.rows
 * @param {unknown} props.version changes with the rows
 * @param {unknown} [props.fresh] another value: other rows, shown from their beginning
 * @param {string} props.label for screen readers
 * @param {number} props.chosen the index of the chosen row, or -1
 * @param {(index: number) => void} props.onChoose
 * @param {(index: number) => void} [props.onOpen] Enter
 * @param {boolean} [props.follow] keep the newest row, the last one, in view
 * @param {(follow: boolean) => void} [props.onFollow]
 * @param {() => void} [props.onEnd] the last rows came into view
 * @param {RegExp | null} [props.find]
 * @param {boolean} [props.host] whether rows say the machine
 * @param {boolean} [props.up] whether rows have the time since boot
 * @param {any} [props.children] behind the list
 */
export function List({
    rows, version, fresh, label, chosen, onChoose, onOpen, follow = false, onFollow, onEnd, find = null, host = true, up = false,
    children,
}) {
    const box = useRef(/** @type {HTMLDivElement | null} */ (null));
    const [view, setView] = useState({ scroll: 0, height: 600 });
    const [narrow, setNarrow] = useState(NARROW.matches);
    const { utc } = useSignal(settings);
    const row = narrow ? NARROW_ROW : WIDE_ROW;
    const count = rows.length;
    const base = rows.first ?? 0;
    const shown = visible({ ...view, row, count });
    const last = useRef({ base, scroll: 0 });
    // Whether the row was chosen with a key, which goes on at the edge of the view; a link's is shown in the middle.
    const moved = useRef(false);

    useEffect(() => {
        const element = /** @type {HTMLDivElement} */ (box.current);
        let frame = 0;
        const measure = () => {
            frame = 0;
            setView({ scroll: element.scrollTop, height: element.clientHeight });
        };
        const soon = () => (frame ||= requestAnimationFrame(measure));
        const resized = new ResizeObserver(soon);
        const narrowed = () => setNarrow(NARROW.matches);
        resized.observe(element);
        element.addEventListener("scroll", soon, { passive: true });
        NARROW.addEventListener("change", narrowed);
        return () => {
            cancelAnimationFrame(frame);
            resized.disconnect();
            element.removeEventListener("scroll", soon);
            NARROW.removeEventListener("change", narrowed);
        };
    }, []);

    const begun = useRef(fresh);
    useLayoutEffect(() => {
        if (begun.current === fresh) return;
        begun.current = fresh;
        // A result that is there within a frame: the list was never empty in between, which would do the same.
        /** @type {HTMLDivElement} */ (box.current).scrollTop = 0;
    }, [fresh]);

    useLayoutEffect(() => {
        const element = /** @type {HTMLDivElement} */ (box.current);
        // Older rows were forgotten: what the viewer reads stays where it is.
        const forgotten = base - last.current.base;
        last.current.base = base;
        if (follow) element.scrollTop = element.scrollHeight;
        else if (forgotten > 0 && element.scrollTop > 0) element.scrollTop -= forgotten * row;
    }, [version, count, follow, row, base]);

    // Also after a page of which all rows are hidden: the version changes, and the number of rows does not.
    useEffect(() => {
        if (onEnd && shown.end >= count) onEnd();
    }, [shown.end, count, version]);

    useLayoutEffect(() => {
        const element = /** @type {HTMLDivElement} */ (box.current);
        if (chosen < 0 || chosen >= count) return;
        const wanted = reveal({ scroll: element.scrollTop, height: element.clientHeight, row, count }, chosen, !moved.current);
        moved.current = false;
        if (wanted !== element.scrollTop) element.scrollTop = wanted;
    }, [chosen + base, row]);

    // The chosen row may be drawn after the next key: keys that repeat are faster than frames.
    const cursor = useRef(chosen);
    cursor.current = chosen;
    /** @param {number} index */
    const move = (index) => {
        if (!count) return;
        moved.current = true;
        cursor.current = Math.max(0, Math.min(count - 1, index));
        onFollow?.(false);
        onChoose(cursor.current);
    };
    const page = Math.max(1, Math.floor(view.height / row) - 1);
    // The first press chooses the row at the edge of the view.
    const down = () => move(cursor.current < 0 ? (shown.first ? Math.ceil(view.scroll / row) : 0) : cursor.current + 1);
    const upward = () => move(cursor.current < 0 ? Math.floor((view.scroll + view.height) / row) - 1 : cursor.current - 1);
    useKeys({ j: down, k: upward, ...(onOpen && chosen >= 0 ? { o: () => onOpen(chosen) } : {}) });
    /** @param {KeyboardEvent} event */
    const key = (event) => {
        /** @type {Record<string, () => void>} */
        const actions = {
            ArrowDown: down, ArrowUp: upward, PageDown: () => move(cursor.current + page), PageUp: () => move(cursor.current - page),
            Home: () => move(0), End: () => move(count - 1), Enter: () => cursor.current >= 0 && onOpen?.(cursor.current),
        };
        const action = actions[event.key];
        if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        action();
    };
    /** @param {Event} event */
    const scrolled = (event) => {
        const element = /** @type {HTMLDivElement} */ (event.currentTarget);
        const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - row;
        // Scrolling up holds the page; scrolling down to the end follows again.
        if (follow && element.scrollTop < last.current.scroll - 2 && !atEnd) onFollow?.(false);
        else if (!follow && atEnd && element.scrollTop > last.current.scroll + 2) onFollow?.(true);
        last.current.scroll = element.scrollTop;
    };

    const drawn = [];
    for (let index = shown.first; index < shown.end; index++) {
        const one = rows.at(index);
        if (one) drawn.push(Row(one, index, base, count, index === chosen, find, host, up, utc, onChoose, onFollow));
    }
    const active = chosen >= shown.first && chosen < shown.end ? `row-${base + chosen}` : undefined;
    return html`<div class="list" ref=${box} tabindex="0" role="listbox" aria-label=${label} aria-activedescendant=${active}
        onKeyDown=${key} onScroll=${scrolled}>
        <div class="all" role="presentation" style=${{ height: `${shown.total}px` }}>
            <div class="some" role="presentation" style=${{ transform: `translateY(${shown.top}px)` }}>${drawn}</div>
        </div>
        ${children}
    </div>`;
}

/**
 * The index of the chosen row: of the message that the URL names, or of another row that was chosen since.
 * @param {Row[]} rows
 * @param {string | null} at the id of a message
 * @returns {[number, (index: number) => void]}
 */
export function useChosen(rows, at) {
    const [picked, setPicked] = useState(/** @type {{index: number, row: Row | undefined}} */ ({ index: -1, row: undefined }));
    const { index, row } = picked;
    const stands = row && rows[index] === row && (!row.message || row.message.id === at);
    const found = useMemo(() => (stands || !at ? -1 : rows.findIndex((one) => one.message?.id === at)), [stands, at, rows, rows.length]);
    return [stands ? index : found, (wanted) => setPicked({ index: wanted, row: rows[wanted] })];
}

/** A row. A function and no component: a list draws it at each step of a scroll. */
/**
 * @param {Row} one
 * @param {number} index
 * @param {number} base
 * @param {number} count
 * @param {boolean} chosen
 * @param {RegExp | null} find
 * @param {boolean} host
 * @param {boolean} up
 * @param {boolean} utc
 * @param {(index: number) => void} onChoose
 * @param {((follow: boolean) => void) | undefined} onFollow
 */
function Row(one, index, base, count, chosen, find, host, up, utc, onChoose, onFollow) {
    const { message, kind } = one;
    const level = message ? (message.level ?? "x") : kind;
    const text = printable(one.text);
    const number = base + index;
    if (kind === "day") {
        return html`<div key=${number} class="row day" role="option" aria-selected="false" aria-setsize=${count}
            aria-posinset=${index + 1}>${day(one.time, utc)}</div>`;
    }
    return html`<div key=${number} id=${`row-${number}`} class=${`row ${kind} l${level}${chosen ? " chosen" : ""}`} role="option"
        aria-selected=${chosen ? "true" : "false"} aria-setsize=${count} aria-posinset=${index + 1}
        onClick=${() => {
            // A text that was marked is to be copied, and no row to be opened.
            if (String(getSelection())) return;
            onFollow?.(false);
            onChoose(index);
        }}>
        <span class="time">${clock(one.time, utc)}</span>
        ${up ? html`<span class="up">${uptime(message?.ts_usec)}</span>` : null}
        ${host ? html`<span class="host">${printable(one.name || one.address)}</span>` : null}
        <span class="lvl">${message ? levelName(message.level) : NAMES[kind]}</span>
        <span class="text">${find ? parts(text, find).map((part) => (part.found ? html`<mark>${part.text}</mark>` : part.text)) : text}</span>
    </div>`;
}
