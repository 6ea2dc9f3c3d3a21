/** What a viewer chose, kept in the browser: theme, zone of times, shortcuts of one key. */
import { signal } from "../vendor/signals-core.js";

/** @typedef {{theme: "auto" | "light" | "dark", utc: boolean, shortcuts: boolean, silent: number}} Settings */

const KEY = "netconsd";
/** @type {Settings} */
const DEFAULTS = { theme: "auto", utc: false, shortcuts: true, silent: 86_400 };

/** @returns {Settings} */
function load() {
    try {
        return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
    } catch {
        // No storage, or not ours: the defaults.
        return { ...DEFAULTS };
    }
}

export const settings = signal(load());

/** @param {Partial<Settings>} changes */
export function choose(changes) {
    settings.value = { ...settings.value, ...changes };
    try {
        localStorage.setItem(KEY, JSON.stringify(settings.value));
    } catch {
        // A browser that stores nothing: the choice lasts until the page is closed.
    }
    showTheme();
}

export function showTheme() {
    const { theme } = settings.value;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
}
