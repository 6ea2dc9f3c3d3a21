/** The pages by path, and the paths of things. Pure. */

/** @typedef {{page: string, id: string}} Place */

/** @type {[RegExp, string][]} */
const PATHS = [
    [/^\/(?:live)?$/, "live"],
    [/^\/search$/, "search"],
    [/^\/machines$/, "machines"],
    [/^\/machines\/(.+)$/, "machine"],
    [/^\/crashes$/, "crashes"],
    [/^\/crashes\/([^/]+)$/, "crash"],
    [/^\/patterns$/, "patterns"],
    [/^\/receiver$/, "receiver"],
    [/^\/m\/(.+)$/, "message"],
    [/^\/login$/, "login"],
];

/**
 * Return the page of a path, and the id in it; the page is "unknown" for others.
 * @param {string} path
 * @returns {Place}
 */
export function place(path) {
    for (const [expression, page] of PATHS) {
        const match = expression.exec(path.length > 1 ? path.replace(/\/$/, "") : path);
        if (!match) continue;
        try {
            return { page, id: decodeURIComponent(match[1] ?? "") };
        } catch {
            break;
        }
    }
    return { page: "unknown", id: "" };
}

/**
 * An id in a path: its slashes stay.
 * @param {string} id
 */
export function inPath(id) {
    return encodeURIComponent(id).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%40", "@");
}

/** @param {string} id */
export const messagePath = (id) => `/m/${inPath(id)}`;
/** @param {string} address */
export const machinePath = (address) => `/machines/${inPath(address)}`;
/** @param {string} id */
export const crashPath = (id) => `/crashes/${encodeURIComponent(id)}`;

/**
 * A path with a query behind it.
 * @param {string} path
 * @param {URLSearchParams | Record<string, string>} query
 */
export function withQuery(path, query) {
    const words = new URLSearchParams(query).toString();
    return words ? `${path}?${words}` : path;
}

/**
 * Where to go after a login: a path of the console, and nothing else. A link to another place must not be followed.
 * @param {string | null} wanted
 */
export function afterLogin(wanted) {
    return wanted && /^\/(?![/\\])[^\\\p{C}]*$/u.test(wanted) && place(wanted.split(/[?#]/)[0]).page !== "unknown" ? wanted : "/";
}
