/** Numbers and times for people. Times are Unix seconds; null is unknown. */

export const LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

/** @param {number | null | undefined} level */
export function levelName(level) {
    return level == null ? "–" : (LEVELS[level] ?? String(level));
}

/** @param {number} value @param {number} [width] */
const pad = (value, width = 2) => String(value).padStart(width, "0");

/**
 * The parts of a time in the zone of the browser, or in UTC.
 * @param {number} unix
 * @param {boolean} utc
 */
function fields(unix, utc) {
    const date = new Date(unix * 1000);
    return utc
        ? [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(),
              date.getUTCSeconds(), date.getUTCMilliseconds()]
        : [date.getFullYear(), date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds(),
              date.getMilliseconds()];
}

/**
 * `07:00:01.250`: the time of day.
 * @param {number} unix
 * @param {boolean} [utc]
 */
export function clock(unix, utc = false) {
    const [, , , hour, minute, second, milli] = fields(unix, utc);
    return `${pad(hour)}:${pad(minute)}:${pad(second)}.${pad(milli, 3)}`;
}

/**
 * `2026-11-28`.
 * @param {number} unix
 * @param {boolean} [utc]
 */
export function day(unix, utc = false) {
    const [year, month, date] = fields(unix, utc);
    return `${year}-${pad(month)}-${pad(date)}`;
}

/**
 * `2026-11-28 07:00:01`, a form that the filter's `since` takes; with a Z if UTC.
 * @param {number | null | undefined} unix
 * @param {boolean} [utc]
 */
export function stamp(unix, utc = false) {
    if (unix == null || !Number.isFinite(unix)) return "–";
    return `${day(unix, utc)} ${clock(unix, utc).slice(0, 8)}${utc ? "Z" : ""}`;
}

/**
 * The stamp with milliseconds.
 * @param {number} unix
 * @param {boolean} [utc]
 */
export function fullStamp(unix, utc = false) {
    return `${day(unix, utc)} ${clock(unix, utc)}${utc ? "Z" : ""}`;
}

/**
 * A length of time with its two largest units: `3 d 4 h`, `5 min 2 s`, `0.3 s`.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
    if (seconds == null || !Number.isFinite(seconds)) return "–";
    const length = Math.abs(seconds);
    if (length < 10) return `${Math.round(length * 10) / 10} s`;
    const sizes = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]);
    let left = Math.round(length);
    const out = [];
    for (const [size, name] of sizes) {
        const number = Math.floor(left / size);
        if (number) out.push(`${number} ${name}`);
        left -= number * size;
        if (out.length === 2 || (out.length && !number)) break;
    }
    return out.join(" ");
}

/**
 * How long ago: `12 s ago`, `now`; `in 3 s` for clocks that differ.
 * @param {number | null | undefined} unix
 * @param {number} now
 */
export function ago(unix, now) {
    if (unix == null || !Number.isFinite(unix)) return "–";
    const seconds = now - unix;
    if (Math.abs(seconds) < 1) return "now";
    return seconds < 0 ? `in ${duration(-seconds)}` : `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/**
 * A count in full, with thin spaces between thousands.
 * @param {number | null | undefined} value
 */
export function count(value) {
    if (value == null) return "–";
    return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
}

/**
 * A count in four characters or fewer: `987`, `12k`, `3.4M`.
 * @param {number | null | undefined} value
 */
export function short(value) {
    if (value == null) return "–";
    let left = value;
    for (const unit of ["", "k", "M", "G", "T"]) {
        if (left < 999.5 || unit === "T") {
            return `${unit && left < 9.95 ? Math.round(left * 10) / 10 : Math.round(left)}${unit}`;
        }
        left /= 1000;
    }
    return String(value);
}

/** @param {number | null | undefined} value */
export function bytes(value) {
    if (value == null) return "–";
    let left = value;
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
        if (left < 1024) return `${left < 10 && unit !== "B" ? left.toFixed(1) : Math.round(left)} ${unit}`;
        left /= 1024;
    }
    return `${left.toFixed(1)} TiB`;
}

/**
 * `1 message`, `2 messages`.
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function plural(value, one, many = `${one}s`) {
    return `${count(value)} ${value === 1 ? one : many}`;
}

/**
 * The kernel's own time of a message, as dmesg shows it: `[   12.345678]`.
 * @param {number | null | undefined} usec
 */
export function uptime(usec) {
    if (usec == null) return "[           -]";
    return `[${String(Math.floor(usec / 1e6)).padStart(5)}.${pad(usec % 1e6, 6)}]`;
}
