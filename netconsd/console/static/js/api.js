/** Requests to the daemon's API. A failure is an `ApiError` with a text for people. */
import { readLines } from "./lines.js";
import { inPath, withQuery } from "./routes.js";
import { go, problem, route, status } from "./state.js";
import { useEffect, useState } from "../vendor/htm-preact.js";

const BASE = "/api/v1/";

export class ApiError extends Error {
    /** @param {string} text @param {number} code the HTTP status, 0 for none @param {string} [field] of the filter */
    constructor(text, code, field) {
        super(text);
        this.code = code;
        this.field = field;
    }
}

/**
 * @param {string} path
 * @param {URLSearchParams | Record<string, string>} [query]
 */
export const apiUrl = (path, query = {}) => withQuery(BASE + path, query);

/**
 * @param {string} url
 * @param {RequestInit} [options]
 */
async function request(url, options = {}) {
    let response;
    try {
        response = await fetch(url, { credentials: "same-origin", ...options });
    } catch (error) {
        if (options.signal?.aborted) throw error;
        throw new ApiError("netconsd does not answer. Is it running?", 0);
    }
    if (response.ok) return response;
    let text = `${response.status} ${response.statusText}`;
    let field;
    try {
        const body = await response.json();
        text = body.error ?? text;
        field = body.field ?? undefined;
    } catch {
        // Not of the API, as from a proxy between: the status is all there is.
    }
    const { page, path: here, query } = route.value;
    if (response.status === 401 && page !== "login") {
        go(withQuery("/login", { next: withQuery(here, query) }), { replace: true });
    }
    throw new ApiError(text, response.status, field);
}

/**
 * @param {string} path
 * @param {URLSearchParams | Record<string, string>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, query = {}, signal) {
    return (await request(apiUrl(path, query), { signal })).json();
}

/**
 * @param {string} path
 * @param {URLSearchParams | Record<string, string>} [query]
 * @returns {Promise<string>}
 */
export async function getText(path, query = {}) {
    return (await request(apiUrl(path, query))).text();
}

/**
 * Ask whether a stream would be answered, and end it: an EventSource does not say why it was refused.
 * @param {string} path
 * @param {URLSearchParams} query
 * @throws {ApiError} the reason
 */
export async function probe(path, query) {
    const stop = new AbortController();
    try {
        await request(apiUrl(path, query), { signal: stop.signal });
    } finally {
        stop.abort();
    }
}

/**
 * Read a stream of JSON lines. Aborting cancels the query in the daemon.
 * @param {string} path
 * @param {URLSearchParams} query
 * @param {(line: any) => void} each
 * @param {AbortSignal} signal
 */
export async function stream(path, query, each, signal) {
    const response = await request(apiUrl(path, query), { signal });
    if (response.body) await readLines(response.body, each);
}

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export async function post(path, body) {
    // The page offers its buttons before the daemon's status is there, which has the token. Before a login there is none.
    if (!status.value && path !== "login") await loadStatus();
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": status.value?.csrf ?? "" };
    const response = await request(BASE + path, { method: "POST", headers, body: JSON.stringify(body) });
    const text = await response.text();
    return text ? JSON.parse(text) : null;
}

/** The path of a message in the API. @param {string} id */
export const messageApi = (id) => `messages/${inPath(id)}`;

// Answers that are kept for back and forward: of the last pages, some MB of a fleet of thousands.
const KEPT = 8;
/** @type {Map<string, any>} */
const kept = new Map();
// A daemon that does not answer, or has too much to do, is asked again after this time.
const RETRY_SECONDS = 5;

/** @param {string} url @param {any} data */
function keep(url, data) {
    kept.delete(url);
    kept.set(url, data);
    if (kept.size > KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
    return data;
}

/**
 * The answer to a request, and again each `every` seconds and after a change of `query`. After back and forward it is at
 * first the answer of before, so that the page has its height, and with it its place.
 * @template T
 * @param {string | null} path null for none yet
 * @param {URLSearchParams | Record<string, string>} [query]
 * @param {{every?: number, version?: unknown}} [options] another version: the request again
 * @returns {{data: T | null, error: ApiError | null, loading: boolean}}
 */
export function useGet(path, query = {}, { every = 0, version = null } = {}) {
    const url = path == null ? null : apiUrl(path, query);
    const [state, set] = useState(
        /** @type {{url: string | null, data: any, error: ApiError | null}} */ ({ url, data: url && route.value.back ? kept.get(url) ?? null : null, error: null }),
    );
    useEffect(() => {
        if (path == null) return undefined;
        const stop = new AbortController();
        let timer = 0;
        const load = async () => {
            try {
                const data = await get(path, query, stop.signal);
                set({ url, data: keep(/** @type {string} */ (url), data), error: null });
                if (every) timer = setTimeout(load, every * 1000);
            } catch (error) {
                if (stop.signal.aborted) return;
                const failure = /** @type {ApiError} */ (error);
                set((old) => ({ url, data: old.url === url ? old.data : null, error: failure }));
                if (every || isPassing(failure)) timer = setTimeout(load, (every || RETRY_SECONDS) * 1000);
            }
        };
        load();
        return () => {
            stop.abort();
            clearTimeout(timer);
        };
    }, [url, every, version]);
    const current = state.url === url && (state.data != null || state.error != null);
    // The same page with another filter shows the old answer until the new one is there.
    return { data: state.data, error: current ? state.error : null, loading: !current };
}

/** Whether a failure can be over soon: no answer, too many requests, a restart. @param {ApiError} error */
export const isPassing = ({ code }) => code === 0 || code === 429 || code >= 502;

/** Read the status of the daemon. */
export async function loadStatus() {
    try {
        status.value = await get("status");
        problem.value = "";
    } catch (error) {
        const { code, message } = /** @type {ApiError} */ (error);
        if (code !== 401) problem.value = message;
        throw error;
    }
}
