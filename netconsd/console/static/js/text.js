/**
 * Text from the network as characters that can be seen. A kernel's text is a stranger's: it gets into the page only as
 * text nodes, and only through `printable`.
 */

// Control, format, surrogate, private and unassigned characters, separators; not the space. As Python's isprintable.
const HIDDEN = /(?! )[\p{C}\p{Z}]/gu;
const TAB = 8;

/**
 * Return text as one line in which each character is visible: `\x1b`, `\u202e`. The same rule as `printable` of
 * netconsd/rendering.py: a tab becomes spaces up to the next eighth column, a backslash stays.
 * @param {unknown} value
 * @returns {string}
 */
export function printable(value) {
    const text = typeof value === "string" ? value : String(value ?? "");
    return (text.includes("\t") ? expandTabs(text) : text).replace(HIDDEN, escaped);
}

/**
 * The lines of a text, each printable; at least one.
 * @param {string} text
 * @returns {string[]}
 */
export function printableLines(text) {
    return text.split("\n").map(printable);
}

/** @param {string} character */
function escaped(character) {
    const code = /** @type {number} */ (character.codePointAt(0));
    const digits = code.toString(16);
    if (code <= 0xff) return `\\x${digits.padStart(2, "0")}`;
    return code <= 0xffff ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

/** @param {string} text */
function expandTabs(text) {
    let out = "";
    let column = 0;
    for (const character of text) {
        if (character === "\t") {
            const width = TAB - (column % TAB);
            out += " ".repeat(width);
            column += width;
        } else {
            out += character;
            column = character === "\n" || character === "\r" ? 0 : column + 1;
        }
    }
    return out;
}

/**
 * Cut a text in parts at the matches of an expression. The parts joined are the text.
 * @param {string} text
 * @param {RegExp | null} expression with the flag g
 * @returns {{text: string, found: boolean}[]}
 */
export function parts(text, expression) {
    if (!expression) return [{ text, found: false }];
    const out = [];
    let at = 0;
    for (const match of text.matchAll(expression)) {
        if (!match[0]) continue;
        if (match.index > at) out.push({ text: text.slice(at, match.index), found: false });
        out.push({ text: match[0], found: true });
        at = match.index + match[0].length;
        if (out.length > PARTS_LIMIT) break;
    }
    if (at < text.length || !out.length) out.push({ text: text.slice(at), found: false });
    return out;
}

// Nodes of a row: a text of 8 KiB in which each letter matches must not make 8,000.
const PARTS_LIMIT = 64;

/**
 * Return the expression of words to highlight: plain text, or /regex/ between slashes. Capital letters are respected if
 * there are any. Null for nothing, or for a regex that is not one.
 * @param {string} words
 * @returns {RegExp | null}
 */
export function highlight(words) {
    const wanted = words.trim();
    if (!wanted) return null;
    const flags = wanted === wanted.toLowerCase() ? "giu" : "gu";
    const regex = /^\/(.+)\/$/.exec(wanted);
    try {
        return new RegExp(regex ? regex[1] : quoted(wanted), flags);
    } catch {
        return null;
    }
}

/**
 * A text as a regular expression that matches it alone, for JavaScript and for Python.
 * @param {string} text
 */
export function quoted(text) {
    return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
