/** The frame of all pages: navigation, settings, help; and which page the URL means. */
import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from "../vendor/htm-preact.js";
import { loadStatus, post, useGet } from "./api.js";
import { pressed, useKeys } from "./keys.js";
import { choose, settings, showTheme } from "./settings.js";
import { follow, go, notice, problem, route, status, useSignal } from "./state.js";
import { ago, plural, short } from "./format.js";
import { printable } from "./text.js";
import { Empty } from "./parts.js";
import { LivePage } from "./page-live.js";
import { SearchPage } from "./page-search.js";
import { MachinesPage } from "./page-machines.js";
import { MachinePage } from "./page-machine.js";
import { CrashesPage } from "./page-crashes.js";
import { CrashPage } from "./page-crash.js";
import { PatternsPage } from "./page-patterns.js";
import { ReceiverPage } from "./page-receiver.js";
import { MessagePage } from "./page-message.js";
import { LoginPage } from "./page-login.js";

/** @type {Record<string, [string, any]>} */
const PAGES = {
    live: ["Live", LivePage], search: ["Search", SearchPage], machines: ["Machines", MachinesPage], machine: ["Machine", MachinePage],
    crashes: ["Crashes", CrashesPage], crash: ["Crash", CrashPage], patterns: ["Patterns", PatternsPage],
    receiver: ["Receiver", ReceiverPage], message: ["Message", MessagePage], login: ["Log in", LoginPage],
};
/** @type {[string, string, string, string[]][]} key, path, name, pages */
const NAVIGATION = [
    ["l", "/", "Live", ["live"]], ["s", "/search", "Search", ["search", "message"]], ["m", "/machines", "Machines", ["machines", "machine"]],
    ["c", "/crashes", "Crashes", ["crashes", "crash"]], ["p", "/patterns", "Patterns", ["patterns"]], ["r", "/receiver", "Receiver", ["receiver"]],
];
const SHORTCUTS = [
    ["/", "to the filter"], ["j  k", "next, previous row"], ["Space", "pause and resume (Live)"], ["c", "context of the chosen message"],
    ["x", "hide messages like the chosen one"], ["Esc", "close, cancel"], ["g l", "Live"], ["g s", "Search"], ["g m", "Machines"], ["g c", "Crashes"],
    ["g p", "Patterns"], ["g r", "Receiver"], ["?", "this help"],
];
// The letter after g has to follow within this time.
const CHORD_MS = 1500;

function App() {
    const { page, id, query, path } = useSignal(route);
    const daemon = useSignal(status);
    const said = useSignal(notice);
    const [help, setHelp] = useState(false);
    const trouble = useSignal(problem);
    const chord = useRef(0);
    useEffect(() => {
        const load = () => {
            // The page shows why it failed.
            if (route.value.page !== "login" && !document.hidden) loadStatus().catch(() => {});
        };
        load();
        const timer = setInterval(load, trouble ? 2_000 : 15_000);
        document.addEventListener("visibilitychange", load);
        return () => {
            clearInterval(timer);
            document.removeEventListener("visibilitychange", load);
        };
    }, [Boolean(trouble)]);
    const [title, Page] = PAGES[page] ?? ["Nothing here", Unknown];
    // Before the effect of a page that knows a better one.
    useLayoutEffect(() => {
        document.title = `${title}${id ? ` ${printable(id)}` : ""} · netconsd`;
    }, [title, id]);
    // A new page is announced, and the next tab key begins in it.
    const main = useRef(/** @type {HTMLElement | null} */ (null));
    const first = useRef(true);
    useEffect(() => {
        if (first.current) first.current = false;
        else if (page !== "login") main.current?.focus({ preventScroll: true });
    }, [path]);
    /** @type {import("./keys.js").Keys} */
    const keys = { "?": () => setHelp(true), g: () => (chord.current = Date.now()) };
    if (page !== "login") useKeys(keys);
    else useKeys({});
    useEffect(() => {
        /** @param {KeyboardEvent} event */
        const second = (event) => {
            if (Date.now() - chord.current > CHORD_MS || event.ctrlKey || event.metaKey || event.altKey) return;
            const target = event.target instanceof Element ? event.target : null;
            chord.current = 0;
            const place = NAVIGATION.find(([key]) => key === event.key);
            if (!place || target?.closest("input, textarea, select")) return;
            event.preventDefault();
            event.stopPropagation();
            go(place[1]);
        };
        addEventListener("keydown", second, true);
        return () => removeEventListener("keydown", second, true);
    }, []);
    if (page === "login") return html`<main id="main"><${LoginPage} query=${query} /></main>`;
    return html`<a class="skip" href="#main">To the page</a>
        <header class="top">
            <a class="brand" href="/">netconsd</a>
            <nav aria-label="Pages">${NAVIGATION.map(([key, to, name, pages]) => html`<a key=${key} href=${to} aria-current=${pages.includes(page) ? "page" : undefined}>${name}${key === "c" ? html`<${OpenCrashes} />` : null}</a>`)}</nav>
            <div class="tools"><${Receiving} daemon=${daemon} trouble=${trouble} />
                <button type="button" class="icon" aria-label="Settings and shortcuts" title="Settings and shortcuts (?)" onClick=${() => setHelp(true)}>?</button></div>
        </header>
        ${trouble ? html`<p class="failure wide" role="alert">${printable(trouble)}</p>` : null}
        <main id="main" ref=${main} tabindex="-1"><${Guard} key=${page + id}><${Page} id=${id} query=${query} /><//></main>
        <div class=${`toast${said ? " on" : ""}`} role="status" aria-live="polite">${said}</div>
        ${help ? html`<${Help} onClose=${() => setHelp(false)} daemon=${daemon} />` : null}`;
}

/** @param {{children?: any}} props */
function Guard({ children }) {
    const [error] = useErrorBoundary((/** @type {unknown} */ failure) => console.error(failure));
    if (error) return html`<div class="page"><h1>This page failed</h1><p class="failure" role="alert">${String(error)}</p><p><a href="/" target="_self">Load the console again</a></p></div>`;
    return children;
}

function Unknown() {
    return html`<div class="page"><h1>Nothing here</h1><${Empty}><p>The console has no page at this address. <a href="/">Live messages</a></p><//></div>`;
}

// Crashes of the last day that nobody has decided about: who looks at another page sees that there are some.
const OPEN = new URLSearchParams([["state", "new"], ["state", "regressed"], ["muted", "0"], ["since", "1d"]]);

function OpenCrashes() {
    // The page itself is first.
    const [begun, setBegun] = useState(false);
    useEffect(() => {
        const timer = setTimeout(() => setBegun(true), 1000);
        return () => clearTimeout(timer);
    }, []);
    const { data } = useGet(begun ? "crashes" : null, OPEN, { every: 30 });
    const open = data?.groups?.length;
    return open ? html` <span class="count" title=${`${plural(open, "crash", "crashes")} of the last day, new or regressed`}>${short(open)}</span>` : null;
}

/** @param {{daemon: import("./types.js").Status | null, trouble: string}} props */
function Receiving({ daemon, trouble }) {
    if (trouble) return html`<span class="badge s-dead">no answer</span>`;
    if (!daemon) return null;
    if (daemon.receiving) return html`<span class="badge ok">receiving</span>`;
    return html`<span class="badge">${daemon.read_only ? "read only" : "not receiving"}</span>`;
}

/** @param {{onClose: () => void, daemon: import("./types.js").Status | null}} props */
function Help({ onClose, daemon }) {
    const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
    const { theme, utc, shortcuts } = useSignal(settings);
    useEffect(() => dialog.current?.showModal(), []);
    return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="help-title">
        <h2 id="help-title">Settings</h2>
        <p class="fields">
            <label class="field"><span>Theme</span><select value=${theme} onChange=${(/** @type {any} */ event) => choose({ theme: event.target.value })}>
                <option value="auto">as the system</option><option value="light">light</option><option value="dark">dark</option></select></label>
            <label class="field"><span>Times</span><select value=${utc ? "utc" : "local"} onChange=${(/** @type {any} */ event) => choose({ utc: event.target.value === "utc" })}>
                <option value="local">of this browser</option><option value="utc">UTC</option></select></label>
            <label class="field"><span>Shortcuts of one key</span><select value=${shortcuts ? "on" : "off"} onChange=${(/** @type {any} */ event) => choose({ shortcuts: event.target.value === "on" })}>
                <option value="on">on</option><option value="off">off</option></select></label>
        </p>
        <h2>Shortcuts</h2>
        <dl class="shortcuts">${SHORTCUTS.map(([key, meaning]) => html`<div key=${key}><dt>${key.split(/\s+/).map((one) => html`<kbd>${one}</kbd> `)}</dt><dd>${meaning}</dd></div>`)}</dl>
        ${daemon ? html`<p class="dim">netconsd ${daemon.version}${daemon.build ? ` (${daemon.build})` : ""}, started ${ago(daemon.started, Date.now() / 1000)}${daemon.store ? html`, store <code>${daemon.store.directory}</code>` : ""}</p>` : null}
        <p class="buttons"><button type="button" class="primary" onClick=${() => dialog.current?.close()}>Close</button>
            ${daemon?.login ? html`<button type="button" onClick=${async () => {
                await post("logout", {});
                location.assign("/login");
            }}>Log out</button>` : null}</p>
    </dialog>`;
}

showTheme();
addEventListener("keydown", pressed);
addEventListener("click", follow);
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.textContent = "";
render(html`<${App} />`, root);
