/** The place in the console (the URL), the daemon's status, and hooks to read both. */
import { signal, effect } from "../vendor/signals-core.js";
import { useEffect, useState } from "../vendor/htm-preact.js";
import { place, withQuery } from "./routes.js";
import { changed } from "./filter.js";

const here = () => ({ ...place(location.pathname), path: location.pathname, query: new URLSearchParams(location.search) });

/** The page, the id in its path, and its query. */
export const route = signal(here());
/** @type {import("../vendor/signals-core.js").Signal<import("./types.js").Status | null>} */
export const status = signal(null);
/** The text that screen readers say, and that is shown for some seconds. */
export const notice = signal("");

addEventListener("popstate", () => (route.value = here()));

/**
 * Go to another URL of the console.
 * @param {string} url
 * @param {{replace?: boolean}} [options] replace: without a new entry in the history
 */
export function go(url, { replace = false } = {}) {
    if (url === location.pathname + location.search) return;
    const before = location.pathname;
    history[replace ? "replaceState" : "pushState"](null, "", url);
    route.value = here();
    if (!replace && before !== location.pathname) scrollTo(0, 0);
}

/**
 * Change fields of the URL's query.
 * @param {Record<string, string | string[] | null | undefined>} changes
 * @param {{replace?: boolean}} [options]
 */
export function change(changes, options) {
    go(withQuery(location.pathname, changed(new URLSearchParams(location.search), changes)), options);
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
