/** The place in the console (the URL), the daemon's status, and hooks to read both. */
import { signal, effect } from "../vendor/signals-core.js";
import { useEffect, useState } from "../vendor/htm-preact.js";
import { place, withQuery } from "./routes.js";
import { changed } from "./filter.js";
import { printable } from "./text.js";

/**
 * The place of a URL, and how the viewer got there.
 * @param {string} url
 * @param {boolean} back by back or forward: what was there is shown again, and not asked for anew
 * @param {number} visit another number: the same URL was asked for once more
 */
function placed(url, back, visit) {
    const { pathname, search } = new URL(url, "http://localhost");
    return { ...place(pathname), path: pathname, query: new URLSearchParams(search), back, visit };
}

/** The page, the id in its path, and its query. */
export const route = signal(placed(location.pathname + location.search, false, 0));
/** @type {import("../vendor/signals-core.js").Signal<import("./types.js").Status | null>} */
export const status = signal(null);
/** Why the daemon does not answer, for people; "" if it does. */
export const problem = signal("");
/** The text that screen readers say, and that is shown for some seconds. */
export const notice = signal("");

// Browsers refuse a page that changes its URL more often than a hundred times in 30 s, as a key that repeats does.
const WRITE_MS = 400;
let unwritten = "";
let writing = 0;

/** Put the URL of the last change in the place of the browser's. */
function write() {
    clearTimeout(writing);
    writing = 0;
    if (unwritten) history.replaceState(null, "", unwritten);
    unwritten = "";
}

/** The URL of the page. */
const current = () => withQuery(route.value.path, route.value.query);

addEventListener("popstate", () => {
    clearTimeout(writing);
    unwritten = "";
    writing = 0;
    route.value = placed(location.pathname + location.search, true, route.value.visit);
});
addEventListener("pagehide", write);

/**
 * Go to a URL of the console. The same URL once more asks for its contents again.
 * @param {string} url
 * @param {{replace?: boolean, again?: boolean}} [options] replace: without a new entry in the history; again: what is
 *     there is asked for again, also if the URL differs in nothing that is asked for
 */
export function go(url, { replace = false, again = false } = {}) {
    const { path, visit } = route.value;
    if (url === current()) {
        route.value = placed(url, false, visit + 1);
        return;
    }
    if (replace) {
        unwritten = url;
        writing ||= setTimeout(write, WRITE_MS);
    } else {
        write();
        history.pushState(null, "", url);
    }
    route.value = placed(url, false, visit + Number(again));
    if (!replace && path !== route.value.path) scrollTo(0, 0);
}

/**
 * Change fields of the URL's query.
 * @param {Record<string, string | string[] | null | undefined>} changes
 * @param {{replace?: boolean}} [options]
 */
export function change(changes, options) {
    const url = withQuery(route.value.path, changed(route.value.query, changes));
    if (url !== current()) go(url, options);
}

/**
 * The value of a signal; the component is drawn again when it changes.
 * @template T
 * @param {{value: T}} source
 * @returns {T}
 */
export function useSignal(source) {
    const [value, set] = useState(source.value);
    // The function form: a value that is a function is stored, not called.
    useEffect(() => effect(() => {
        const next = source.value;
        set(() => next);
    }), [source]);
    return value;
}

/** Name the page in the browser's tab and history. @param {string | null | undefined} title */
export function useTitle(title) {
    useEffect(() => {
        if (title) document.title = `${printable(title)} · netconsd`;
    }, [title]);
}

/** Unix time, again each `seconds`. @param {number} [seconds] */
export function useNow(seconds = 1) {
    const [now, set] = useState(Date.now() / 1000);
    useEffect(() => {
        const timer = setInterval(() => set(Date.now() / 1000), seconds * 1000);
        return () => clearInterval(timer);
    }, [seconds]);
    return now;
}

/** Follow links of the console without loading the page again. @param {MouseEvent} event */
export function follow(event) {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/") || link.pathname.startsWith("/static/") || link.hash) return;
    event.preventDefault();
    go(link.pathname + link.search);
}

let clearing = 0;
/** @param {string} text */
export function say(text) {
    notice.value = text;
    clearTimeout(clearing);
    clearing = setTimeout(() => (notice.value = ""), 4000);
}
