/** Requests to the daemon's API. A failure is an `ApiError` with a text for people. */
import { readLines } from "./lines.js";
import { inPath, withQuery } from "./routes.js";
import { go, status } from "./state.js";
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
    if (response.status === 401 && location.pathname !== "/login") {
        go(withQuery("/login", { next: location.pathname + location.search }), { replace: true });
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
    // The page offers its buttons before the daemon's status is there, which has the token.
    if (!status.value) await loadStatus();
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": status.value?.csrf ?? "" };
    const response = await request(BASE + path, { method: "POST", headers, body: JSON.stringify(body) });
    const text = await response.text();
    return text ? JSON.parse(text) : null;
}

/** The path of a message in the API. @param {string} id */
export const messageApi = (id) => `messages/${inPath(id)}`;

/**
 * The answer to a request, and again each `every` seconds and after a change of `query`.
 * @template T
 * @param {string | null} path null for none yet
 * @param {URLSearchParams | Record<string, string>} [query]
 * @param {{every?: number, version?: unknown}} [options] another version: the request again
 * @returns {{data: T | null, error: ApiError | null, loading: boolean}}
 */
export function useGet(path, query = {}, { every = 0, version = null } = {}) {
    const url = path == null ? null : apiUrl(path, query);
    const [state, set] = useState(
        /** @type {{url: string | null, data: any, error: ApiError | null}} */ ({ url: null, data: null, error: null }),
    );
    useEffect(() => {
        if (path == null) return undefined;
        const stop = new AbortController();
        let timer = 0;
        const load = async () => {
            try {
                set({ url, data: await get(path, query, stop.signal), error: null });
            } catch (error) {
                if (stop.signal.aborted) return;
                set((old) => ({ url, data: old.url === url ? old.data : null, error: /** @type {ApiError} */ (error) }));
            }
            if (every && !stop.signal.aborted) timer = setTimeout(load, every * 1000);
        };
        load();
        return () => {
            stop.abort();
            clearTimeout(timer);
        };
    }, [url, every, version]);
    const current = state.url === url;
    // The same page with another filter shows the old answer until the new one is there.
    return { data: state.data, error: current ? state.error : null, loading: !current };
}

/** Read the status of the daemon. */
export async function loadStatus() {
    status.value = await get("status");
}
