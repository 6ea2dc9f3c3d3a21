// The modules that need no browser. tests/console/test_modules.py runs this file beside a copy of them.
import assert from "node:assert/strict";
import { test } from "node:test";

// CI copies the modules to where Node.js takes them as such.
const base = new URL("js/", import.meta.url);
const load = (name) => import(new URL(name, base));
const { printable, printableLines, parts, highlight, quoted } = await load("text.js");
const { form, formRegex } = await load("forms.js");
const { Ring } = await load("ring.js");
const { visible, reveal, HEIGHT_LIMIT } = await load("virtual.js");
const { filterOf, queryOf, changed, hostWords, words, zoned, roughly } = await load("filter.js");
const { place, messagePath, machinePath, afterLogin, withQuery } = await load("routes.js");
const { duration, ago, count, short, bytes, plural, uptime, stamp, clock, levelName } = await load("format.js");
const { rowsOf, findingRow, rowText, rowForm } = await load("rows.js");
const { readLines } = await load("lines.js");

const message = (fields) => ({
    id: "192.0.2.1/1795849100/7", received_at: 1795849200.25, address: "192.0.2.1", name: null, level: 6, ts_usec: 12345678, text: "hello",
    caller: null, release: "7.3.4", new: false, boot: false, lost: 0, likely_lost: 0, limited: 0, ...fields,
});

test("hidden characters are shown as escapes, by the rule of netconsd/rendering.py", () => {
    assert.equal(printable("plain <b>&amp; ü 日本 €"), "plain <b>&amp; ü 日本 €");
    assert.equal(printable("\x1b[2J\x00\x7f\x9b"), "\\x1b[2J\\x00\\x7f\\x9b");
    assert.equal(printable("a\u202eb\u2066c\u200bd\ufeff"), "a\\u202eb\\u2066c\\u200bd\\ufeff");
    assert.equal(printable("\u00a0\u2028\u2029\u3000"), "\\xa0\\u2028\\u2029\\u3000");
    assert.equal(printable("\ud800x\u{e0041}\ue000"), "\\ud800x\\U000e0041\\ue000");
    assert.equal(printable("a\tb\n\tc"), "a       b\\x0a        c");
    assert.equal(printable("\\x1b"), "\\x1b");
    assert.equal(printable(null), "");
    assert.equal(printable(7), "7");
    assert.deepEqual(printableLines("one\ntwo\r"), ["one", "two\\x0d"]);
});

test("every character of the basic plane that is a control, a format or a separator is shown as an escape", () => {
    for (let code = 0; code < 0x10000; code++) {
        const character = String.fromCharCode(code);
        if (character === " " || character === "\t" || !/[\p{C}\p{Z}]/u.test(character)) continue;
        assert.match(printable(character), /^\\[xu][0-9a-f]+$/, `U+${code.toString(16)}`);
    }
});

test("parts of a text that match are found, and the parts joined are the text", () => {
    const joined = (text, find) => parts(text, find).map((part) => part.text).join("");
    assert.deepEqual(parts("link is down", highlight("IS")), [{ text: "link is down", found: false }]);
    assert.deepEqual(parts("link is down", highlight("is")), [{ text: "link ", found: false }, { text: "is", found: true }, { text: " down", found: false }]);
    assert.deepEqual(parts("a.b", highlight(".")).map((part) => part.found), [false, true, false]);
    assert.equal(joined("aaa".repeat(9000), highlight("a")).length, 27000);
    assert.ok(parts("a".repeat(9000), highlight("a")).length < 100);
    assert.equal(joined("xyz", /(?:)/g), "xyz");
    assert.equal(parts("eth0: up", highlight("/eth\\d/"))[0].text, "eth0");
    assert.equal(highlight("/(/"), null);
    assert.equal(highlight("  "), null);
    assert.ok(new RegExp(`^${quoted("a.b*c(d)[e]{f}^$|\\/")}$`).test("a.b*c(d)[e]{f}^$|\\/"));
});

test("texts of one kind have one form, and the expression of a form finds them", () => {
    const kinds = [
        ["e1000: eth0 NIC Link is Up 1000 Mbps", "e1000: eth1 NIC Link is Up 100 Mbps"],
        ["sd 2:0:0:0: [sda] 500118192 512-byte logical blocks", "sd 3:0:0:0: [sdb] 1953525168 512-byte logical blocks"],
        ["IPv4: host 192.0.2.1 from 00:11:22:33:44:55", "IPv4: host 198.51.100.77 from aa:bb:cc:dd:ee:ff"],
        ["Killed process 123 (chrome)", "Killed process 99999 (chrome)"],
        ["Code: 48 8b 0f 0b 90 90", "Code: 00 11 22 33 44 55"],
        ["pci 0000:00:1f.2: BAR 4", "pci 0000:03:00.0: BAR 5"],
        ["loaded 'abc.bin'", "loaded 'x y z.bin'"],
    ];
    for (const [one, two] of kinds) {
        assert.equal(form(one), form(two));
        assert.notEqual(form(one), one);
        // \s+ and .+? mean the same in Python.
        for (const text of [one, two]) assert.match(text, new RegExp(formRegex(form(one))));
    }
    assert.notEqual(form("link is up"), form("link is down"));
    assert.equal(form("ext4 r8169 sha256"), "ext4 r8169 sha256");
    assert.ok(form("word ".repeat(1000)).endsWith("…"));
    assert.match("x".repeat(600), new RegExp(formRegex(form("x".repeat(600)))));
});

test("a form takes time in proportion to the text", () => {
    for (const unit of ["a:", "0:", "'", "<00> ", "0.", "::", "00:", "x0"]) {
        const begin = performance.now();
        form(unit.repeat(4000));
        assert.ok(performance.now() - begin < 500, unit);
    }
});

test("a ring keeps the newest entries, and their numbers", () => {
    const ring = new Ring(3);
    for (const entry of "abcde") ring.push(entry);
    assert.deepEqual([ring.length, ring.first, ring.end], [3, 2, 5]);
    assert.deepEqual([0, 1, 2].map((index) => ring.at(index)), ["c", "d", "e"]);
    assert.equal(ring.slots.length, 3);
    ring.clear();
    assert.equal(ring.length, 0);
});

test("a list draws the rows in view and few more, wherever it is scrolled to", () => {
    const view = { height: 600, row: 20, count: 100_000 };
    for (const scroll of [0, 1, 999, 1_000_000, 100_000 * 20 - 600]) {
        const { first, end, top, total } = visible({ ...view, scroll });
        assert.equal(total, 2_000_000);
        assert.ok(first * 20 <= scroll && end * 20 >= Math.min(total, scroll + 600));
        assert.ok(end - first <= 600 / 20 + 26);
        assert.equal(top, first * 20);
    }
    assert.deepEqual(visible({ scroll: 0, height: 600, row: 20, count: 0 }), { first: 0, end: 0, top: 0, total: 0 });
});

test("a list that is higher than browsers allow reaches its first and last row", () => {
    const view = { height: 600, row: 20, count: 5_000_000 };
    const last = visible({ ...view, scroll: HEIGHT_LIMIT - 600 });
    assert.equal(last.total, HEIGHT_LIMIT);
    assert.equal(last.end, view.count);
    // The last row ends where the view ends.
    assert.ok(Math.abs(last.top + (last.end - last.first) * 20 - HEIGHT_LIMIT) < 1);
    assert.equal(visible({ ...view, scroll: 0 }).first, 0);
    const scroll = reveal({ ...view, scroll: 0 }, 4_000_000);
    const { first, end } = visible({ ...view, scroll });
    assert.ok(first <= 4_000_000 && end > 4_000_000);
});

test("a row is scrolled into view by the shortest way, and not if it is there", () => {
    const view = { scroll: 1000, height: 600, row: 20, count: 1000 };
    assert.equal(reveal(view, 60), 1000);
    assert.equal(reveal(view, 49), 980);
    assert.equal(reveal(view, 80), 1020);
    // In the middle, unless it is in view.
    assert.deepEqual([reveal(view, 60, true), reveal(view, 500, true), reveal(view, 0, true), reveal(view, 999, true)], [1000, 9710, 0, 19400]);
});

test("a filter comes back from its URL as it went in", () => {
    const query = new URLSearchParams("host=web*&host=role%3Ddb&level=err&grep=a%26b%3Dc%20d&since=2h&boot=-1&case=match&mark=x");
    const filter = filterOf(query);
    assert.deepEqual(filter.host, ["web*", "role=db"]);
    assert.equal(filter.grep, "a&b=c d");
    const back = queryOf(filter);
    assert.equal(back.get("mark"), null);
    assert.deepEqual(filterOf(back), filter);
    assert.equal(queryOf(filterOf(new URLSearchParams())).size, 0);
    assert.equal(words(filterOf(new URLSearchParams())), "all messages");
});

test("a time without a zone is one of the zone that the page shows", () => {
    const berlin = () => -60;
    const texts = ["2026-11-28 07:00:01", "07:00", " yesterday ", "11-28", "2h", "1795849200", "07:00 UTC", "2026-11-28 07:00 Europe/Berlin", "@5", ""];
    assert.deepEqual(texts.map((text) => zoned(text, false, berlin)),
        ["2026-11-28 07:00:01 +01:00", "07:00 +01:00", "yesterday +01:00", "11-28 +01:00", "2h", "1795849200", "07:00 UTC", "2026-11-28 07:00 Europe/Berlin", "@5", ""]);
    assert.equal(zoned("07:00", true, berlin), "07:00 UTC");
    assert.equal(zoned("07:00", false, () => 210), "07:00 -03:30");
    // What was made is not changed again.
    for (const text of texts) assert.equal(zoned(zoned(text, false, berlin), true), zoned(text, false, berlin));
});

test("the time of words is known well enough for a chart", () => {
    const now = 1795849200;
    assert.deepEqual(["2h", "1h30m", "3 days ago", "-5min", "2 months"].map((text) => now - roughly(text, now)), [7200, 5400, 3 * 86400, 300, 5259600]);
    assert.deepEqual(["1795849200", "2026-11-28 07:00 UTC", "2026-11-28 08:00:00 +01:00"].map((text) => roughly(text, 0)), [now, now, now]);
    assert.equal(now - roughly("yesterday +01:00", now), 172800);
});

test("a change of the URL keeps the rest", () => {
    const query = new URLSearchParams("host=a&grep=x&hide=one&hide=two");
    assert.equal(changed(query, { grep: null, hide: ["two"], at: "1" }).toString(), "host=a&hide=two&at=1");
    assert.equal(query.toString(), "host=a&grep=x&hide=one&hide=two");
    assert.deepEqual(hostWords(" web1, web2 web1\n"), ["web1", "web2"]);
});

test("each page has a path, and ids of all kinds come back from theirs", () => {
    assert.deepEqual(place("/"), { page: "live", id: "" });
    assert.equal(place("/search/").page, "search");
    assert.deepEqual(place("/crashes/0123456789ab"), { page: "crash", id: "0123456789ab" });
    for (const id of ["192.0.2.1/1795849100/7", "fe80::1%eth0/17/8", "2001:db8::7/@1795849200250000/0"]) {
        assert.deepEqual(place(messagePath(id)), { page: "message", id });
    }
    assert.equal(place(machinePath("fe80::1%eth0")).id, "fe80::1%eth0");
    assert.equal(place("/m/%ff").page, "unknown");
    assert.equal(place("/nothing").page, "unknown");
    assert.equal(withQuery("/search", { grep: "a b" }), "/search?grep=a+b");
    assert.equal(withQuery("/search", {}), "/search");
});

test("a login leads to a page of the console, and nowhere else", () => {
    assert.equal(afterLogin("/crashes/1?x=2"), "/crashes/1?x=2");
    for (const evil of [null, "", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil.example", "/api/v1/status"]) {
        assert.equal(afterLogin(evil), "/");
    }
});

test("numbers and times are short, and null is unknown", () => {
    assert.deepEqual([0, 999, 1000, 1234567, null].map((one) => count(one)), ["0", "999", "1\u2009000", "1\u2009234\u2009567", "–"]);
    assert.deepEqual([0, 999, 1234, 9960, 99_999, 1_500_000].map((one) => short(one)), ["0", "999", "1.2k", "10k", "100k", "1.5M"]);
    assert.deepEqual([0.25, 59, 61, 3600, 90061, null].map((one) => duration(one)), ["0.3 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h", "–"]);
    assert.deepEqual([ago(100, 100.5), ago(100, 165), ago(100, 90), ago(null, 1)], ["now", "1 min ago", "in 10 s", "–"]);
    assert.deepEqual([bytes(500), bytes(2048), bytes(50 * 1024 * 1024)], ["500 B", "2.0 KiB", "50 MiB"]);
    assert.deepEqual([plural(1, "crash", "crashes"), plural(2, "crash", "crashes")], ["1 crash", "2 crashes"]);
    assert.deepEqual([uptime(12345678), uptime(null), uptime(0)], ["[   12.345678]", "[           -]", "[    0.000000]"]);
    assert.equal(stamp(1795849200, true), "2026-11-28 07:00:00Z");
    assert.equal(clock(1795849200.25, true), "07:00:00.250");
    assert.equal(stamp(Number.NaN, true), "–");
    assert.deepEqual([levelName(0), levelName(null), levelName(9)], ["emerg", "–", "9"]);
});

test("losses and boots are rows before their message", () => {
    const kinds = (fields) => rowsOf(message(fields)).map((row) => row.kind);
    assert.deepEqual(kinds({}), ["message"]);
    assert.deepEqual(kinds({ lost: 3 }), ["gap", "message"]);
    assert.deepEqual(kinds({ boot: true, limited: 2 }), ["boot", "gap", "message"]);
    assert.deepEqual(kinds({ new: true, ts_usec: 1 }), ["boot", "message"]);
    assert.deepEqual(kinds({ new: true, ts_usec: 9e9 }), ["message"]);
    assert.match(rowsOf(message({ lost: null, likely_lost: 2 }))[0].text, /2 messages probably lost/);
    assert.match(rowsOf(message({ lost: 1 }))[0].text, /^1 message lost/);
    // An unknown number of lost messages is no number.
    assert.deepEqual(kinds({ lost: null, likely_lost: 0 }), ["message"]);
});

test("a crash report is a row with its title, an event one with its sentence", () => {
    const crash = findingRow({ format: "report", title: "BUG: x", received_at: 1, source: { address: "192.0.2.9", port: 1 } });
    assert.deepEqual([crash.kind, crash.text, crash.address], ["crash", "BUG: x", "192.0.2.9"]);
    assert.equal(findingRow({ kind: "silent", text: "silent for 2 h", address: "192.0.2.9", received_at: 1 }).kind, "event");
});

test("a row as text has no character that a terminal obeys", () => {
    const [row] = rowsOf(message({ text: "one\x1b[2J\ntwo", name: "we\u202eb" }));
    assert.equal(rowText(row, true), "2026-11-28 07:00:00.250Z we\\u202eb info   [   12.345678] one\\x1b[2J\n2026-11-28 07:00:00.250Z we\\u202eb info   [   12.345678] two");
    assert.equal(rowForm(row), rowForm(row));
});

test("JSON lines are read whatever the pieces are", async () => {
    const bytes_ = new TextEncoder().encode('{"a":"ü"}\n\n{"b":2}\n{"c":3}');
    for (const size of [1, 2, 7, 100]) {
        const seen = [];
        const stream = new ReadableStream({
            start(controller) {
                for (let at = 0; at < bytes_.length; at += size) controller.enqueue(bytes_.slice(at, at + size));
                controller.close();
            },
        });
        await readLines(stream, (line) => seen.push(line));
        assert.deepEqual(seen, [{ a: "ü" }, { b: 2 }, { c: 3 }]);
    }
});
