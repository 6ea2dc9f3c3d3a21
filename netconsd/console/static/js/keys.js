/** Shortcuts. A page adds its own while it is shown; keys typed into a field are the field's. */
import { useLayoutEffect, useRef } from "../vendor/htm-preact.js";
import { settings } from "./settings.js";

/** @typedef {Record<string, (event: KeyboardEvent) => void>} Keys */

/** @type {Set<Keys>} */
const layers = new Set();

/** @param {KeyboardEvent} event */
export function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    const target = event.target instanceof Element ? event.target : document.body;
    const typing = target.closest("input, textarea, select, [contenteditable]");
    const open = document.querySelector("dialog[open]");
    if (event.key === "Escape" && typing && !open) {
        if (typing instanceof HTMLElement) typing.blur();
        return;
    }
    if (typing || open) return;
    // A button or link takes these itself.
    if ((event.key === "Enter" || event.key === " ") && target.closest("button, a, summary")) return;
    if (!settings.value.shortcuts && event.key.length === 1) return;
    for (const keys of [...layers].reverse()) {
        const action = keys[event.key];
        if (!action) continue;
        event.preventDefault();
        action(event);
        return;
    }
}

/** @param {Keys} keys */
export function useKeys(keys) {
    useLayoutEffect(() => {
        layers.add(keys);
        return () => void layers.delete(keys);
    });
}

/**
 * The keys j and k for a page of links: each goes to the next or the previous one. Returns a ref for the element around
 * them.
 * @param {string} links the selector of a link
 */
export function useLinkKeys(links) {
    const box = useRef(/** @type {HTMLElement | null} */ (null));
    /** @param {number} by */
    const step = (by) => {
        const all = /** @type {HTMLElement[]} */ ([...(box.current?.querySelectorAll(links) ?? [])]);
        const now = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
        all[Math.max(0, Math.min(all.length - 1, now + by))]?.focus();
    };
    useKeys({ j: () => step(1), k: () => step(-1) });
    return box;
}
