/**
 * The form of a message's text: numbers, addresses, devices and names replaced, so that messages of one kind are equal.
 *
 * The rules, in the same order and with the same names, are those of the store's forms: netconsd/store/normalise.py
 * explains them, and tests/console/test_forms.py compares both. A pattern that is hidden on one page is therefore the
 * pattern of the others.
 */
import { quoted } from "./text.js";

// Bytes of a text that are looked at, and of a name in quotes.
const INPUT_LIMIT = 512;
const NAME_LIMIT = 255;

/** Names of devices, before their number. */
const DEVICES =
    "eth en eno ens enp enP enx wl wlan wlp wlo wls wwan wwp ib ibp bond team br virbr docker tun tap veth vnet vlan " +
    "vxlan gre sit wg ppp dummy ifb macvlan macvtap ipvlan usbnet phy can vcan hsr nlmon vif vmnet nvme mmcblk mmc mtd " +
    "mtdblock ubi ubiblock loop ram zram md dm nbd rbd drbd bcache pmem nd sr sg st nst fd cciss tty ttyS ttyUSB ttyACM " +
    "ttyAMA ttyO ttymxc hvc vport usb ata host scsi input event mouse js hidraw video card hwmon rtc spi gpiochip pci " +
    "mdio watchdog thermal uio vfio renderD fb mei tpm hidg";
/** Names of devices before random hexadecimal digits. */
const RANDOM = ["veth", "cali", "tap", "qvo", "qvb", "qbr", "lxc", "enx", "vif"];
/** Names of things that are counted and no devices. */
const NUMBERED =
    "cpu CPU vcpu core node Node irq IRQ rx tx queue ring port lane slot zone bank vf VF pf PF pid line chan ch channel " +
    "socket level TxRx";

// The classes of bytes.
const LETTER = 1;
const HEX = 2;
const DIGIT = 4;
const UNDERSCORE = 8;
const SPACE = 16;
const QUOTE = 32;
const WORD = LETTER | HEX | DIGIT | UNDERSCORE;
const HEXADECIMAL = HEX | DIGIT;
const ALPHA = LETTER | HEX;
const CLASSES = Uint8Array.from({ length: 256 }, (_, octet) => {
    const character = String.fromCharCode(octet);
    if (octet >= 0x80) return LETTER;
    if (/\d/.test(character)) return DIGIT;
    if (/[a-f]/i.test(character)) return HEX;
    if (/[a-z]/i.test(character)) return LETTER;
    if (character === "_") return UNDERSCORE;
    if (/["'`]/.test(character)) return QUOTE;
    return /[ \t\n]/.test(character) ? SPACE : 0;
});

const DEVICE = 1;
const COUNTED = 2;
const NAME_BYTES = 8;
/** @type {Map<string, number>} */
const KINDS = new Map([...NUMBERED.split(" ").map((name) => /** @type {const} */ ([name, COUNTED])),
    ...DEVICES.split(" ").map((name) => /** @type {const} */ ([name, DEVICE]))]);

const COLON = 0x3a;
const DOT = 0x2e;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
// The text that is looked at: bytes, of which those before `end` count.
let data = new Uint8Array();
let end = 0;
/** The class of a byte; 0 behind the end. @param {number} at */
const kind = (at) => (at < end ? CLASSES[data[at]] : 0);
/** @param {number} from @param {number} to */
const slice = (from, to) => decoder.decode(data.subarray(from, to));

/**
 * Return the form of a text.
 * @param {string} text
 * @returns {string}
 */
export function form(text) {
    // A character has one byte or more: what is behind as many characters does not count.
    data = encoder.encode(text.length > INPUT_LIMIT + 1 ? text.slice(0, INPUT_LIMIT + 1) : text);
    end = data.length;
    const cut = end > INPUT_LIMIT;
    if (cut) {
        end = INPUT_LIMIT;
        while (end > 0 && (data[end] & 0xc0) === 0x80) end -= 1;
    }
    const out = [];
    // What stays as it is, from here on.
    let kept = 0;
    let at = 0;
    /** @param {number} from @param {string} replacement @param {number} after */
    const put = (from, replacement, after) => {
        if (from > kept) out.push(slice(kept, from));
        out.push(replacement);
        kept = at = after;
    };
    while (at < end) {
        const begin = at;
        const first = CLASSES[data[at]];
        if (first & WORD) {
            let mask = 0;
            while (kind(at) & WORD) mask |= CLASSES[data[at++]];
            word(begin, at, mask, put);
        } else if (first & SPACE) {
            while (kind(at) & SPACE) at += 1;
            if (begin === 0 || at === end) put(begin, "", at);
            else if (at - begin > 1 || data[begin] !== 0x20) put(begin, " ", at);
        } else if (first & QUOTE) {
            at += 1;
            const after = closing(begin);
            if (after) {
                put(begin + 1, "<NAME>", after);
                at = after + 1;
            }
        } else {
            at += 1;
            if (data[begin] === COLON && begin + 1 < end && data[begin + 1] === COLON && !(begin > 0 && kind(begin - 1) & WORD)) {
                // "::1"
                const found = colons(begin);
                if (found) put(begin, found.form, found.end);
            }
        }
    }
    if (end > kept) out.push(slice(kept, end));
    return out.join("") + (cut ? "…" : "");
}

/**
 * Replace a word, or leave it.
 * @param {number} begin
 * @param {number} at its end
 * @param {number} mask the classes of its bytes
 * @param {(from: number, replacement: string, after: number) => void} put
 */
function word(begin, at, mask, put) {
    if (!(mask & DIGIT) && mask !== HEX) {
        // Most words.
        if (at - begin <= 5) {
            if (isDisk(begin, at)) put(begin, "<DEV>", at);
            else if (at - begin === 2 && at + 1 < end && data[at] === 0x2d && slice(begin, at) === "dm" && kind(at + 1) & DIGIT) {
                put(begin, "<DEV>", digits(at + 1));
            }
        } else if (isRandom(begin, at)) put(begin, "<DEV>", at);
        return;
    }
    if (!(mask & LETTER) && !(mask & UNDERSCORE)) {
        // Hexadecimal digits alone.
        if (at < end && data[at] === COLON && at - begin <= 8) {
            const found = colons(begin);
            if (found) return put(begin, found.form, found.end);
        }
        if (at - begin === 2 && at < end && data[at] === 0x20) {
            const after = dump(begin);
            if (after) return put(begin, "<N>", after);
        }
        if (at - begin === 8 && at < end && data[at] === 0x2d && isUuid(begin)) return put(begin, "<UUID>", begin + 36);
        if (mask === DIGIT) {
            let groups = 1;
            let longest = at - begin;
            while (at + 1 < end && data[at] === DOT && kind(at + 1) & DIGIT) {
                const size = at + 1;
                at = digits(size);
                groups += 1;
                longest = Math.max(longest, at - size);
            }
            put(begin, groups === 4 && longest <= 3 ? "<IP>" : "<N>", at);
        } else if (at - begin >= 8 || kind(begin) & DIGIT) put(begin, "<N>", at);
        return;
    }
    if (kind(begin) & DIGIT) {
        const text = slice(begin, at);
        put(begin, /^0[xX][0-9a-fA-F]+$/.test(text) ? "<N>" : text.replace(/\d+/g, "<N>"), at);
        return;
    }
    // A letter or an underscore, later a digit.
    const size = named(begin, at);
    if (size > 0) {
        let after = at;
        while (after + 1 < end && data[after] === DOT && kind(after + 1) & DIGIT) after = digits(after + 1);
        put(begin, "<DEV>", kind(after) & WORD ? at : after);
    } else if (size < 0) put(begin - size, "<N>", at);
    else if (isRandom(begin, at)) put(begin, "<DEV>", at);
    else if (begin > 0 && data[begin - 1] === 0x2f && data[begin] === 0x75 && at > begin + 1 && digits(begin + 1) === at) put(begin + 1, "<N>", at);
}

/** The position after decimal digits. @param {number} at */
function digits(at) {
    while (kind(at) & DIGIT) at += 1;
    return at;
}

/** Whether letters are a disk: sda to sddz (not sdhc, sdio and sdma), as much of vd and xvd, hda to hdh. @param {number} begin @param {number} at */
const isDisk = (begin, at) => at - begin >= 3 && at - begin <= 5 && /^(?:x?(?:sd|vd)(?:[a-z]|[a-d][a-z])|x?hd[a-h])$/.test(slice(begin, at));

/** Whether a word is a name of RANDOM and at least six hexadecimal digits. @param {number} begin @param {number} after */
function isRandom(begin, after) {
    if (after - begin < 9) return false;
    let at = after;
    while (at > begin && kind(at - 1) & HEXADECIMAL) at -= 1;
    const text = slice(begin, after);
    return RANDOM.some((name) => after - begin - name.length >= 6 && at - begin <= name.length && text.startsWith(name));
}

/**
 * Look at a word that begins with a letter or underscore and has digits: 1 for a device, minus the length of what stays
 * before a number at the end, or 0 for another word.
 * @param {number} begin
 * @param {number} after
 */
function named(begin, after) {
    let at = begin;
    while (kind(at) & ALPHA && at - begin < NAME_BYTES) at += 1;
    if (kind(at) & DIGIT) {
        const name = slice(begin, at);
        let known = KINDS.get(name) ?? 0;
        if (!known && isDisk(begin, at)) known = DEVICE;
        if (known === COUNTED) return digits(at) === after ? begin - at : 0;
        if (known === DEVICE && !(name === "md" && after === at + 1 && data[at] === 0x35)) {
            // Groups of digits with up to four letters between them. Not "md5", and not "md5sum".
            while (at < after) {
                at = digits(at);
                const letters = at;
                while (at < after && kind(at) & ALPHA && at - letters < 5) at += 1;
                if (at === letters) break;
                if (at - letters > 4 || at === after || !(kind(at) & DIGIT)) return 0;
            }
            return at === after ? 1 : 0;
        }
    }
    // The digits after the last underscore.
    at = after;
    while (kind(at - 1) & DIGIT && at > begin + 1) at -= 1;
    if (at < after && data[at - 1] === 0x5f && at - 1 > begin) return slice(begin, begin + 2) === "x8" ? 0 : begin - at;
    return 0;
}

/**
 * A structure with colons: its end and form, or null.
 * @param {number} at
 * @returns {{end: number, form: string} | null}
 */
function colons(at) {
    let groups = 0;
    let pairs = 0;
    let first = 0;
    let longest = 0;
    let doubled = false;
    let digit = false;
    let decimal = false;
    if (data[at] === COLON) {
        doubled = true;
        at += 2;
    }
    while (groups < 20) {
        const start = at;
        decimal = true;
        while (kind(at) & HEXADECIMAL) {
            if (kind(at) & DIGIT) digit = true;
            else decimal = false;
            at += 1;
        }
        const size = at - start;
        if (kind(at) & WORD) return null;
        if (!size) break;
        groups += 1;
        if (groups === 1) first = size;
        if (size === 2) pairs += 1;
        longest = Math.max(longest, size);
        if (at + 1 >= end || data[at] !== COLON) break;
        if (data[at + 1] === COLON && !doubled) {
            doubled = true;
            at += 2;
        } else if (kind(at + 1) & HEXADECIMAL) at += 1;
        else break;
    }
    if (!doubled && pairs === groups && [6, 8, 14, 20].includes(groups)) return { end: at, form: "<MAC>" };
    if (longest <= 4 && digit && (doubled ? groups >= 1 && groups <= 7 : groups === 8)) {
        return { end: decimal ? dotted(at) : at, form: "<IP>" };
    }
    if (!doubled && at + 1 < end && data[at] === DOT && data[at + 1] >= 0x30 && data[at + 1] <= 0x37) {
        if (kind(at + 2) & WORD) return null;
        if ((groups === 3 && first >= 4 && first <= 8 && pairs === 2) || (groups === 2 && pairs === 2)) return { end: at + 2, form: "<DEV>" };
    }
    return null;
}

/** The position after three more groups of an IPv4 address, or the same. @param {number} at */
function dotted(at) {
    let after = at;
    for (let group = 0; group < 3; group++) {
        if (after + 1 >= end || data[after] !== DOT || !(kind(after + 1) & DIGIT)) return at;
        after = digits(after + 1);
    }
    return after;
}

/** Whether the 36 bytes from here on are a UUID. @param {number} begin */
function isUuid(begin) {
    return end - begin >= 36 && !(kind(begin + 36) & WORD) && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(slice(begin, begin + 36));
}

/** The position after four or more bytes in hexadecimal with spaces between them; 0 for fewer. @param {number} at */
function dump(at) {
    let groups = 0;
    let after = at;
    for (;;) {
        const opened = at < end && (data[at] === 0x3c || data[at] === 0x28);
        if (opened) at += 1;
        if (!(kind(at) & HEXADECIMAL) || !(kind(at + 1) & HEXADECIMAL)) break;
        at += 2;
        if (opened) {
            if (at === end || (data[at] !== 0x3e && data[at] !== 0x29)) break;
            at += 1;
        }
        if (kind(at) & WORD) break;
        groups += 1;
        after = at;
        if (at === end || data[at] !== 0x20) break;
        at += 1;
    }
    return groups >= 4 ? after : 0;
}

/** The position of the quote that ends a name; 0 if there is none. @param {number} at */
function closing(at) {
    const quote = data[at] === 0x60 ? 0x27 : data[at];
    if (quote === 0x27 && at > 0 && kind(at - 1) & WORD) return 0;
    const last = Math.min(end, at + NAME_LIMIT + 2);
    for (let after = at + 1; after < last; after++) {
        if (data[after] !== quote) continue;
        if (quote === 0x27 && after + 1 < last && kind(after + 1) & WORD) continue;
        return after > at + 1 ? after : 0;
    }
    return 0;
}

/** What the places of a form stand for, as expressions. @type {Record<string, string>} */
const PLACES = {
    N: "(?:[0-9A-Fa-f]{2}(?: [<(]?[0-9A-Fa-f]{2}[>)]?){3,}|[0-9A-Fa-fxX.]+)", IP: "[0-9A-Fa-f:.]+", MAC: "[0-9A-Fa-f:]+",
    UUID: "[0-9A-Fa-f-]+", DEV: "\\S+?", NAME: ".+?",
};

/**
 * Return a regular expression (of Python and RE2) that matches the texts of a form, for the filter `grep`.
 * @param {string} wanted a form, of here or of the store
 */
export function formRegex(wanted) {
    const cut = wanted.endsWith("…");
    // A run of blanks counts as one in a form.
    const expression = (cut ? wanted.slice(0, -1) : wanted)
        .split(/<(N|MAC|IP|DEV|UUID|NAME)>/)
        .map((piece, index) => (index % 2 ? PLACES[piece] : quoted(piece).replaceAll(" ", "\\s+")))
        .join("");
    return cut ? `^\\s*${expression}` : `^\\s*${expression}\\s*$`;
}
