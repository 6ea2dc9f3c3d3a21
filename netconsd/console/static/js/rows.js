/**
 * Rows of a list of messages: each message, and before it what was lost, and a boot. Findings (crash reports and events)
 * are rows too. Pure.
 */
import { form } from "./forms.js";
import { day, fullStamp, levelName, plural, uptime } from "./format.js";
import { printable } from "./text.js";

/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").Row} Row */

/**
 * Return the rows of a message, the message last.
 * @param {Message} message
 * @returns {Row[]}
 */
export function rowsOf(message) {
    /** @type {Row[]} */
    const out = [];
    const { received_at: time, address, name } = message;
    if (message.boot || (message.new && message.ts_usec != null && message.ts_usec < BOOT_USEC)) {
        const release = message.release ? ` · ${message.release}` : "";
        out.push({ kind: "boot", time, address, name, text: `${message.boot ? "booted again" : "booted"}${release}` });
    }
    const lost = message.lost || (message.lost == null ? message.likely_lost : 0);
    if (lost) {
        const sure = message.lost ? "" : "probably ";
        out.push({ kind: "gap", time, address, name, text: `${plural(lost, "message")} ${sure}lost on the way` });
    }
    if (message.limited) {
        out.push({ kind: "gap", time, address, name, text: `${plural(message.limited, "datagram")} dropped over --rate` });
    }
    out.push({ kind: "message", time, address, name, text: message.text, message });
    return out;
}

// A first message within two minutes of the boot is of the boot, as in docs/events.
const BOOT_USEC = 120_000_000;

/**
 * The row that says the day, if it is another one than the row before has; else nothing.
 * @param {Row | undefined} before
 * @param {Row} row
 * @param {boolean} utc
 * @returns {Row[]}
 */
export function dayRow(before, row, utc) {
    const today = day(row.time, utc);
    return before && day(before.time, utc) === today ? [] : [{ kind: "day", time: row.time, address: "", text: today }];
}

/**
 * Rows with a row before each new day.
 * @param {Row[]} rows
 * @param {boolean} utc
 * @param {Row} [before] the last row so far
 * @returns {Row[]}
 */
export function withDays(rows, utc, before) {
    return rows.flatMap((row, index) => [...dayRow(index ? rows[index - 1] : before, row, utc), row]);
}

/**
 * The row of a finding: a crash report or an event.
 * @param {import("./types.js").Finding} finding
 * @param {string | null} [name] of the machine, if it is known
 * @returns {Row}
 */
export function findingRow(finding, name = null) {
    const address = finding.address ?? finding.source?.address ?? "";
    const time = finding.received_at;
    if (finding.format === "report" || finding.title) {
        return { kind: "crash", time, address, name, text: finding.title ?? "", finding };
    }
    return { kind: "event", time, address, name, text: finding.text ?? finding.kind ?? "", finding };
}

/**
 * The rows of crashes and events of before, for a page that begins with stored messages. A crash has a row for each bug,
 * at its last report.
 * @param {import("./types.js").Group[]} groups
 * @param {import("./types.js").Finding[]} events
 * @returns {Row[]}
 */
export function pastRows(groups, events) {
    const crashes = groups.map((group) => {
        const [address] = Object.entries(group.machines).sort((one, two) => two[1][2] - one[1][2])[0] ?? [""];
        return findingRow({ title: group.title, group: group.id, severity: group.severity, address, received_at: group.last }, group.names_of?.[address]);
    });
    return [...crashes, ...events.map((event) => findingRow(event))];
}

/**
 * Rows in the order of time, with those of before that are not among them. A finding is behind the messages of its time.
 * @param {Row[]} rows in their order, which stays
 * @param {Row[]} past
 * @returns {Row[]}
 */
export function mergedRows(rows, past) {
    const begin = rows.length ? rows[0].time : 0;
    const known = rows.filter((row) => row.finding);
    const added = past
        .filter((row) => row.time >= begin && !known.some((one) => isSame(one, row)))
        .sort((one, two) => one.time - two.time);
    const out = [];
    for (const row of rows) {
        while (added.length && added[0].time < row.time) out.push(/** @type {Row} */ (added.shift()));
        out.push(row);
    }
    return [...out, ...added];
}

/**
 * Whether two rows are one crash or event, which the page has from the live tail and from the store.
 * @param {Row} one
 * @param {Row} other
 */
export function isSame(one, other) {
    return one.kind === other.kind && one.address === other.address && one.text === other.text && Math.abs(one.time - other.time) < 2;
}

/**
 * The form of a row's message, remembered.
 * @param {Row} row
 */
export function rowForm(row) {
    return (row.form ??= form(row.text));
}

/**
 * A message as a line for a mail or a ticket. It has no characters that a terminal obeys.
 * @param {Row} row
 * @param {boolean} utc
 */
export function rowText(row, utc) {
    const who = printable(row.name || row.address);
    const head = `${fullStamp(row.time, utc)} ${who}`;
    if (!row.message) return `${head} -- ${printable(row.text)}`;
    const { level, ts_usec, caller } = row.message;
    const from = caller ? `[${printable(caller)}]` : "";
    return row.text
        .split("\n")
        .map((line) => `${head} ${levelName(level).padEnd(6)} ${uptime(ts_usec)}${from} ${printable(line)}`)
        .join("\n");
}

/** Marks of a message in words, as the printer shows them. @param {Message} message */
export function marks(message) {
    const out = [];
    if (message.replayed) out.push("again");
    if (message.out_of_order) out.push("late");
    if (message.incomplete) out.push("incomplete");
    if (message.continuation) out.push("cont");
    return out;
}
