/** Crashes: the bugs of the fleet, each once. */
import { html, useMemo, useRef } from "../vendor/htm-preact.js";
import { useGet } from "./api.js";
import { count, plural } from "./format.js";
import { useKeys, useLinkKeys } from "./keys.js";
import { Ago, Damaged, Empty, Failure, Sparkline } from "./parts.js";
import { crashPath, machinePath, withQuery } from "./routes.js";
import { change } from "./state.js";
import { printable } from "./text.js";

/** @typedef {import("./types.js").Group} Group */

const STATES = /** @type {const} */ (["new", "regressed", "known", "resolved"]);
export const SEVERITIES = ["dead", "hung", "corrupt", "degraded", "notice"];
/** What a state means, for hints. */
export const MEANING = {
    new: "first seen recently", known: "seen before", resolved: "somebody said that it is resolved", regressed: "came again after it was resolved",
};

/** The order of releases: 6.9 before 6.12. @param {string} one @param {string} two */
export const byRelease = (one, two) => one.localeCompare(two, "en", { numeric: true });

/** The numbers of a release, at most so many. @param {string} release @param {number} most */
const numbers = (release, most) => (/^\d+(?:\.\d+)*/.exec(release)?.[0] ?? "").split(".").slice(0, most).join(".");

/**
 * Releases, each series (7.3) before its own, for a choice.
 * @param {string[]} releases
 */
export function withSeries(releases) {
    const names = new Set(releases);
    for (const name of releases) if (numbers(name, 2).includes(".")) names.add(numbers(name, 2));
    return [...names].sort(byRelease);
}

/** Whether a release is another one, or is of a series. @param {string | null | undefined} release @param {string} wanted */
const isOf = (release, wanted) => release === wanted || (release != null && numbers(wanted, 2) === wanted && numbers(release, 2) === wanted);

/**
 * The groups that a query shows, in its order.
 * @param {Group[]} groups
 * @param {URLSearchParams} query
 */
export function chosenGroups(groups, query) {
    const states = query.getAll("state");
    const words = (query.get("q") ?? "").toLowerCase();
    const host = query.get("host");
    const release = query.get("release");
    const severity = query.get("severity");
    const muted = query.get("muted") === "1";
    const order = query.get("sort") ?? "last";
    return groups
        .filter((group) =>
            // Resolved and muted ones are left out until asked for.
            (states.length ? states.includes(group.state) : group.state !== "resolved") &&
            (muted || !group.muted) &&
            (!words || group.title.toLowerCase().includes(words)) &&
            (!host || host in group.machines) &&
            (!release || isOf(group.new_in, release)) &&
            (!severity || group.severity === severity))
        .sort((one, two) =>
            (order === "count" ? two.count - one.count
                : order === "spread" ? Object.keys(two.machines).length - Object.keys(one.machines).length
                    : order === "severity" ? SEVERITIES.indexOf(one.severity) - SEVERITIES.indexOf(two.severity)
                        : order === "first" ? two.first - one.first : 0) || two.last - one.last);
}

/** @type {Group[]} */
const NONE = [];

/** @param {{query: URLSearchParams}} props */
export function CrashesPage({ query }) {
    const { data, error, loading } = useGet("crashes", {}, { every: 1 });
    const field = useRef(/** @type {HTMLInputElement | null} */ (null));
    /** @type {Group[]} */
    const groups = data?.groups ?? NONE;
    const shown = useMemo(() => chosenGroups(groups, query), [data, query]);
    const releases = useMemo(() => withSeries(groups.flatMap((group) => Object.keys(group.releases))), [data]);
    const oldest = useMemo(() => groups.flatMap((group) => Object.keys(group.releases)).sort(byRelease)[0], [data]);
    const states = query.getAll("state");
    const links = useLinkKeys("h2 a");
    useKeys({ "/": () => field.current?.select() });
    const muted = query.get("muted") === "1";
    // What the other choices leave, and the default leaves out.
    const leftOut = useMemo(() => {
        const every = new URLSearchParams(query);
        for (const state of STATES) if (!states.length) every.append("state", state);
        every.set("muted", "1");
        const more = chosenGroups(groups, every).filter((group) => !shown.includes(group));
        const quiet = more.filter((group) => group.muted && !muted).length;
        return { resolved: more.length - quiet, muted: quiet };
    }, [shown, groups, query]);
    /** @param {string} name @param {string} title @param {[string, string][]} options */
    const select = (name, title, options) => html`<label class="field"><span>${title}</span>
        <select value=${query.get(name) ?? ""} onChange=${(/** @type {any} */ event) => change({ [name]: event.target.value })}>
            ${options.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></label>`;
    return html`<div class="page" aria-busy=${loading ? "true" : "false"}>
        <header class="head"><h1>Crashes</h1><p class="dim">${data ? `${plural(shown.length, "bug")}, ${plural(shown.reduce((sum, one) => sum + one.count, 0), "report")}` : "Loading …"}
            ${query.get("host") ? html` of ${printable(query.get("host"))}` : null}</p></header>
        <form class="bar" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
            <label class="field f-grep"><span>Title</span><input ref=${field} type="search" value=${query.get("q") ?? ""} placeholder="function, KASAN, soft lockup"
                aria-keyshortcuts="/" onInput=${(/** @type {any} */ event) => change({ q: event.target.value }, { replace: true })} /></label>
            ${select("severity", "Severity", [["", "all"], ...SEVERITIES.map((name) => /** @type {[string, string]} */ ([name, name]))])}
            ${select("release", "New in", [["", "any release"], ...releases.map((name) => /** @type {[string, string]} */ ([name, printable(name)]))])}
            ${select("sort", "Order", [["", "last seen"], ["severity", "severity"], ["spread", "machines"], ["count", "reports"], ["first", "first seen"]])}
            <div class="buttons" role="group" aria-label="States">${STATES.map((state) => html`<button key=${state} type="button" title=${MEANING[state]}
                aria-pressed=${states.includes(state) ? "true" : "false"}
                onClick=${() => change({ state: states.includes(state) ? states.filter((one) => one !== state) : [...states, state] })}>${state} <span class="dim">${data ? count(groups.filter((group) => group.state === state).length) : ""}</span></button>`)}
                <button type="button" aria-pressed=${muted ? "true" : "false"} onClick=${() => change({ muted: muted ? null : "1" })}>with muted</button>
                ${query.get("host") ? html`<button type="button" onClick=${() => change({ host: null })}>All machines</button>` : null}
            </div>
        </form>
        <${Failure} error=${error} />
        <${Damaged} parts=${data?.damaged} />
        ${data && !shown.length ? html`<${Empty}><p>${groups.length ? "No crash matches these choices." : "No kernel has crashed since this store began. A crash appears here by itself."}</p><//>` : null}
        <ul class="groups" ref=${links}>${shown.map((group) => html`<${GroupItem} key=${group.id} group=${group} oldest=${oldest} />`)}</ul>
        ${leftOut.resolved || leftOut.muted ? html`<p class="dim">Not shown: ${[leftOut.resolved && `${count(leftOut.resolved)} resolved`, leftOut.muted && `${count(leftOut.muted)} muted`].filter(Boolean).join(", ")}.
            ${" "}<button type="button" class="plain" onClick=${() => change({ muted: leftOut.muted ? "1" : query.get("muted"), state: leftOut.resolved ? [...STATES] : states })}>Show them</button></p>` : null}
    </div>`;
}

/** @param {{group: Group, oldest: string | undefined}} props */
function GroupItem({ group, oldest }) {
    const machines = Object.keys(group.machines);
    const releases = Object.keys(group.releases);
    return html`<li class=${`group${group.muted ? " muted" : ""}`}>
        <div class="what">
            <h2><a href=${crashPath(group.id)}>${printable(group.title)}</a></h2>
            <p class="badges"><${Badges} group=${group} />
                ${group.lone_machine ? html`<span class="hint">almost only on <a href=${machinePath(group.lone_machine)}>${printable(group.names_of?.[group.lone_machine] || group.lone_machine)}</a>: its hardware or set-up?</span>` : null}
                ${group.new_in && group.new_in !== oldest ? html`<span class="hint">new in ${printable(group.new_in)}</span>` : null}</p>
        </div>
        <${Sparkline} values=${group.sparkline} label=${`Reports over time, ${count(group.count)} in all`} />
        <dl class="numbers">
            <div><dt>reports</dt><dd>${count(group.count)}</dd></div>
            <div><dt>machines</dt><dd><a href=${withQuery(crashPath(group.id), {})} title=${machines.slice(0, 10).map((one) => printable(group.names_of?.[one] || one)).join(", ")}>${count(machines.length)}</a></dd></div>
            <div><dt>first</dt><dd><${Ago} unix=${group.first} /></dd></div>
            <div><dt>last</dt><dd><${Ago} unix=${group.last} /></dd></div>
            <div class="rel"><dt>releases</dt><dd>${releases.slice(0, 3).map(printable).join(", ")}${releases.length > 3 ? ` and ${releases.length - 3} more` : ""}${releases.length ? "" : "–"}</dd></div>
        </dl>
    </li>`;
}

/** @param {{group: Group}} props */
export function Badges({ group }) {
    return html`<span class=${`badge s-${group.severity}`}>${group.severity}</span>
        <span class=${`badge st-${group.state}`} title=${MEANING[group.state] ?? ""}>${group.state}</span>
        ${group.muted ? html`<span class="badge">muted</span>` : null}
        <span class="dim">${group.kind}</span>
        ${group.fatal ? html`<span class="dim">the machine went down${group.count > 1 ? ` in ${count(group.fatal)} of ${count(group.count)}` : ""}</span>` : null}
        ${group.incomplete ? html`<span class="badge warn">${group.incomplete === group.count ? "incomplete" : `${count(group.incomplete)} incomplete`}</span>` : null}`;
}
