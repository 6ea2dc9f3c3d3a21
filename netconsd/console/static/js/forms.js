/**
 * The form of a message's text: numbers, addresses, devices and names replaced, so that messages of one kind are equal.
 * The same words as the store's forms (netconsd/store/normalise.py), found by simpler rules: they hide rows of a page,
 * and are never compared with the store's.
 */
import { quoted } from "./text.js";

const LIMIT = 512;
const DEVICES =
    "eth|en[osp]|enP|enx|wl|wlan|wlp|wwan|ib|bond|team|br|virbr|docker|tun|tap|veth|vnet|vlan|vxlan|nvme|mmcblk|mmc|mtd|" +
    "loop|ram|zram|md|dm-|nbd|rbd|sr|sg|ttyS|ttyUSB|ttyAMA|tty|usb|ata|host|scsi|input|event|card|hwmon|rtc|phy";
/** @type {[RegExp, string][]} */
const RULES = [
    [/(["'`])(?<![A-Za-z]')[^"'`]{1,255}?(["'])/g, "$1<NAME>$2"],
    [/\b(?:[0-9a-f]{2}:){5,19}[0-9a-f]{2}\b/gi, "<MAC>"],
    [/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, "<UUID>"],
    [/\b\d{1,3}(?:\.\d{1,3}){3}\b/g, "<IP>"],
    [/\b(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b/gi, "<DEV>"],
    [/(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\b|(?<![\w:])[0-9a-f]{1,4}:[0-9a-f:]*::?[0-9a-f:]*\d[0-9a-f:]*/gi, "<IP>"],
    [/\b(?:sd[a-z]{1,2}|x?vd[a-z]{1,2}|hd[a-z])\d*\b/g, "<DEV>"],
    [new RegExp(`\\b(?:${DEVICES})\\d[\\w.]*`, "g"), "<DEV>"],
    [/<?\b[0-9a-f]{2}\b>?(?: <?[0-9a-f]{2}\b>?){3,}/gi, "<N>"],
    [/\b(?:0x[0-9a-f]+|[0-9a-f]{8,}|\d[0-9a-f]*)(?:\.\d+)*\b/gi, "<N>"],
    [/\b\d+(?=[A-Za-z])/g, "<N>"],
    [/\b(v?cpu|core|node|irq|rx|tx|queue|ring|port|lane|slot|zone|bank|pid|line|channel)\d+\b/gi, "$1<N>"],
    [/\/u\d+\b/g, "/u<N>"],
    [/\s+/g, " "],
];

/**
 * Return the form of a text; its first 512 characters count.
 * @param {string} text
 * @returns {string}
 */
export function form(text) {
    let out = text.length > LIMIT ? text.slice(0, LIMIT) + "…" : text;
    for (const [expression, replacement] of RULES) out = out.replace(expression, replacement);
    return out.trim();
}

/**
 * Return a regular expression (of Python and RE2) that matches the texts of a form, for the filter `grep`.
 * @param {string} wanted a form, of here or of the store
 */
export function formRegex(wanted) {
    const cut = wanted.endsWith("…");
    const pieces = (cut ? wanted.slice(0, -1) : wanted).split(/<(?:N|MAC|IP|DEV|UUID|NAME)>/);
    // A name is of any characters, a number is a word. A run of blanks counts as one in a form.
    const expression = pieces.map((piece) => quoted(piece).replaceAll(" ", "\\s+")).join(".+?");
    return cut ? `^\\s*${expression}` : `^\\s*${expression}\\s*$`;
}
