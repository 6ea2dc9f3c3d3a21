/**
 * The filter of `netconsd log` as the part of a URL behind the question mark. All state of a page is in its URL: the
 * filter's fields by the names of the API, and what the page adds.
 */

/** Fields of the filter, as the API names them. `host` can be there many times. */
export const FIELDS = /** @type {const} */ ([
    "host", "level", "grep", "exclude", "case", "since", "until", "boot", "release", "caller", "seq",
]);

/** @typedef {{host: string[], [field: string]: string | string[]}} Filter */

/**
 * Return the filter of a query; fields that are missing are "".
 * @param {URLSearchParams} query
 * @returns {Filter}
 */
export function filterOf(query) {
    /** @type {Filter} */
    const filter = { host: query.getAll("host").filter(Boolean) };
    for (const field of FIELDS) if (field !== "host") filter[field] = query.get(field) ?? "";
    return filter;
}

/**
 * Return the query of the API for a filter: its fields that are set, in a fixed order.
 * @param {Filter} filter
 * @returns {URLSearchParams}
 */
export function queryOf(filter) {
    const query = new URLSearchParams();
    for (const host of filter.host) query.append("host", host);
    for (const field of FIELDS) {
        const value = filter[field];
        if (field !== "host" && typeof value === "string" && value) query.set(field, value);
    }
    return query;
}

/**
 * Return a query with some of its fields replaced; null and "" remove a field, an array sets it many times.
 * @param {URLSearchParams} query
 * @param {Record<string, string | string[] | null | undefined>} changes
 */
export function changed(query, changes) {
    const out = new URLSearchParams(query);
    for (const [name, value] of Object.entries(changes)) {
        out.delete(name);
        for (const one of Array.isArray(value) ? value : [value]) if (one) out.append(name, one);
    }
    return out;
}

/**
 * The words of a field for hosts: separated by spaces or commas.
 * @param {string} text
 */
export function hostWords(text) {
    return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}

/** @param {Filter} filter */
export function isEmpty(filter) {
    return queryOf(filter).size === 0;
}

/**
 * The filter in words, for titles and screen readers.
 * @param {Filter} filter
 */
export function words(filter) {
    /** @type {Record<string, string>} */
    const labels = { grep: "text", host: "machine", exclude: "without", seq: "number" };
    const out = [];
    for (const [name, value] of queryOf(filter)) out.push(`${labels[name] ?? name} ${value}`);
    return out.join(", ") || "all messages";
}

const STAMP = /^(?:[a-z]{3,9} )?(?:(?:\d{4}-)?\d\d?-\d\d?|today|yesterday|tomorrow)?[t ]?(?:\d\d?:\d\d(?::\d\d(?:\.\d{1,9})?)?)?$/i;

/**
 * A time that a viewer typed, with the zone in which the page shows times: without one the daemon takes its own.
 * @param {string} typed
 * @param {boolean} utc
 * @param {(date: Date) => number} [offset] minutes that UTC is ahead of the zone of the browser
 */
export function zoned(typed, utc, offset = (date) => date.getTimezoneOffset()) {
    const wanted = typed.trim();
    if (!wanted || !STAMP.test(wanted)) return wanted;
    if (utc) return `${wanted} UTC`;
    const date = new Date(wanted.replace(" ", "T"));
    const minutes = -offset(Number.isNaN(date.getTime()) ? new Date() : date);
    const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60].map((one) => String(one).padStart(2, "0"));
    return `${wanted} ${minutes < 0 ? "-" : "+"}${hours}:${rest}`;
}

/** @type {[RegExp, number][]} */
const UNITS = [[/^mo/, 2629800], [/^m/, 60], [/^s/, 1], [/^h/, 3600], [/^d/, 86400], [/^w/, 604800], [/^y/, 31557600]];

/**
 * About the time that words mean, for the step of a chart; the daemon knows it exactly.
 * @param {string} typed
 * @param {number} now
 */
export function roughly(typed, now) {
    if (/^\d{5,}(?:\.\d+)?$/.test(typed)) return Number(typed);
    const date = Date.parse(typed.replace(/ UTC$/, "Z").replace(/ ([+-]\d\d:\d\d)$/, "$1").replace(" ", "T"));
    if (/^\d{4}-/.test(typed) && !Number.isNaN(date)) return date / 1000;
    let span = 0;
    for (const [, number, unit] of typed.toLowerCase().matchAll(/(\d+(?:\.\d+)?) ?([a-z]+)/g)) {
        span += Number(number) * (UNITS.find(([name]) => name.test(unit))?.[1] ?? 0);
    }
    // A time of day, or yesterday.
    return now - (span || 2 * 86400);
}
