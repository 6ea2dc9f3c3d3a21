// The modules that touch the browser when they are loaded, with the little that they touch.
import assert from "node:assert/strict";
import { test } from "node:test";

Object.assign(globalThis, {
    location: { pathname: "/", search: "", origin: "http://localhost", hostname: "localhost" },
    history: { pushState() {}, replaceState() {} },
    addEventListener() {},
    matchMedia: () => ({ matches: false, addEventListener() {}, removeEventListener() {} }),
    document: { hidden: false, documentElement: { dataset: {} } },
});
globalThis.localStorage = { getItem: () => '{"theme": "dark"}', setItem() {} };
const base = new URL("js/", import.meta.url);
const load = (name) => import(new URL(name, base));
const { Live, rates, withOrder } = await load("live.js");
const { columns, filled, lastSeconds, stepFor, summary } = await load("chart.js");
const { sorted } = await load("page-machines.js");
const { chosenGroups, withSeries } = await load("page-crashes.js");
const { isQuestionable, releaseRows } = await load("page-crash.js");
const { marksOf } = await load("page-machine.js");
const { along } = await load("timeline.js");
const { flowOf } = await load("page-receiver.js");
const { settings } = await load("settings.js");
const { mergedRows, pastRows } = await load("rows.js");

/** An EventSource that a test feeds. */
class Source {
    constructor(url) {
        this.url = url;
        this.listeners = {};
        this.readyState = 0;
    }
    addEventListener(name, listener) {
        this.listeners[name] = listener;
    }
    send(name, data) {
        this.listeners[name]({ data: JSON.stringify(data) });
    }
    close() {
        this.closed = true;
    }
}

function live() {
    const seen = [];
    const draws = [];
    const one = new Live(new URLSearchParams("level=err"), (items) => seen.push(items), () => {}, () => {}, {
        source: Source, schedule: (draw) => draws.push(draw),
    });
    return { one, seen, draw: () => draws.splice(0).forEach((each) => each()) };
}

test("messages between two frames are shown at once, in order", () => {
    const { one, seen, draw } = live();
    assert.equal(one.events.url, "/api/v1/live?level=err");
    for (const id of ["a", "b", "c"]) one.events.send("message", { id });
    assert.equal(seen.length, 0);
    draw();
    assert.deepEqual(seen.map((items) => items.map((item) => item.message.id)), [["a", "b", "c"]]);
});

test("a pause shows nothing, counts, and loses nothing", () => {
    const { one, seen, draw } = live();
    one.pause(true);
    for (let id = 0; id < 5; id++) one.events.send("message", { id });
    draw();
    assert.deepEqual([seen.length, one.waiting], [0, 5]);
    one.pause(false);
    assert.deepEqual([seen[0].length, one.waiting], [5, 0]);
});

test("a long pause keeps a bounded number of messages, and says how many are missing", () => {
    const { one, seen, draw } = live();
    one.pause(true);
    for (let id = 0; id < 60_000; id++) one.events.send("message", { id });
    draw();
    assert.equal(one.waiting, 60_000);
    assert.ok(one.items.length <= 25_000);
    one.pause(false);
    const [items] = seen;
    const gone = items.reduce((sum, item) => sum + (item.dropped ?? 0), 0);
    assert.equal(items.filter((item) => item.message).length + gone, 60_000);
    assert.equal(one.dropped, gone);
});

test("a crash report is behind its messages, which can arrive after it", () => {
    const seen = [];
    const waiting = [];
    const one = new Live(new URLSearchParams(), (items) => seen.push(...items), () => {}, () => {}, {
        source: Source, schedule: (draw) => draw(), later: (call) => waiting.push(call),
    });
    one.events.send("finding", { kind: "report", finding: { title: "BUG" } });
    one.events.send("message", { id: "its last one" });
    waiting.forEach((call) => call());
    assert.deepEqual(seen.map((item) => item.message?.id ?? item.finding.title), ["its last one", "BUG"]);
});

test("findings that arrive together are in the order of time", () => {
    const finding = (received_at) => ({ finding: { received_at } });
    const items = [finding(3), { message: { id: "m" } }, finding(9), finding(8), finding(7), { dropped: 1 }, finding(1)];
    assert.deepEqual(withOrder(items).map((item) => item.finding?.received_at ?? null), [3, null, 7, 8, 9, null, 1]);
    assert.deepEqual(withOrder([]), []);
});

test("drops of the daemon are counted and shown as an item", () => {
    const { one, seen, draw } = live();
    one.events.send("dropped", { count: 7 });
    draw();
    assert.deepEqual([one.dropped, seen], [7, [[{ dropped: 7, why: undefined, least: undefined }]]]);
    // Of how many is not known if the store could not be searched: the reason is shown.
    one.events.send("dropped", { count: null, why: "too many queries" });
    draw();
    assert.deepEqual([one.dropped, seen[1]], [7, [{ dropped: 0, why: "too many queries", least: undefined }]]);
});

test("the state follows the connection", () => {
    const { one } = live();
    one.events.onerror();
    assert.equal(one.state, "connecting");
    one.events.onopen();
    assert.equal(one.state, "open");
    one.events.onerror();
    assert.equal(one.state, "again");
    assert.deepEqual(rates({ levels: [1] }), [1]);
    assert.deepEqual(rates({}), []);
});

test("the bars of a chart are sums, the largest first, and holes are bars of none", () => {
    const bucket = [60, 1, 1, 1, 10, 100, 0, 1000, 0, 5];
    assert.deepEqual(columns([bucket]), [[60], [1118], [1113], [113], [13], [3]]);
    assert.deepEqual(filled([bucket, [240, ...Array(9).fill(1)]], 60).map((one) => one[0]), [60, 120, 180, 240]);
    assert.equal(filled([[0, 1], [1e12, 1]], 1).length, 2);
    assert.deepEqual([stepFor(100), stepFor(86400), stepFor(1e9)], [1, 600, 2592000]);
    assert.match(summary([bucket], 60, true), /^1\u2009118 messages from 1970-01-01 00:01:00Z .* 13 of them err or worse; at most 1\u2009118 in 60 s/);
    assert.equal(summary([], 60, true), "no messages");
});

/** A live tail whose request was refused after its first message. @param {number} code */
async function refused(code) {
    const later = [];
    const one = new Live(new URLSearchParams("level=err"), () => {}, () => {}, () => {}, {
        source: Source, schedule: () => {}, later: (call) => later.push(call),
        why: async () => {
            throw Object.assign(new Error("the reason"), { code });
        },
    });
    one.events.onopen();
    one.events.listeners.message({ data: "{}", lastEventId: "run-1~1~2~id" });
    one.events.readyState = 2;
    const first = one.events;
    one.events.onerror();
    await new Promise(setImmediate);
    later.forEach((call) => call());
    return { one, first };
}

test("after a refusal the reason is known, and the tail goes on behind its last message", async () => {
    for (const code of [0, 429, 502, 503]) {
        const { one, first } = await refused(code);
        assert.deepEqual([one.state, one.error.message], ["refused", "the reason"]);
        assert.notEqual(one.events, first);
        assert.equal(new URL(one.events.url, "http://localhost").searchParams.get("last_event_id"), "run-1~1~2~id");
        one.events.onopen();
        assert.deepEqual([one.state, one.error], ["open", null]);
    }
});

test("a request that is wrong is not repeated", async () => {
    const { one, first } = await refused(400);
    assert.equal(one.state, "refused");
    assert.equal(one.events, first);
});

test("the chart of the last seconds has them all, also after a silence", () => {
    let buckets = lastSeconds([], 1000, 120);
    assert.deepEqual(buckets.map(([at]) => at), [880, 1000]);
    for (let now = 1001; now < 1300; now++) buckets = lastSeconds(buckets, now, 120, [0, 0, 1]);
    assert.deepEqual([buckets[0][0], buckets.length, buckets.at(-1)], [1179, 121, [1299, 0, 0, 1, 0, 0, 0, 0, 0, 0]]);
    assert.equal(lastSeconds(buckets, 1299, 120, [5]).at(-1)[1], 5);
    assert.deepEqual(lastSeconds(buckets, 9000, 120).map(([at]) => at), [8880, 9000]);
});

const host = (fields) => ({ address: "192.0.2.1", port: 1, name: null, last: 0, release: null, boots: 1, messages: 0, levels: [], lost: 0, likely_lost: 0, crashes: 0, userdata: {}, ...fields });

test("machines are found by any of their words, and sorted by a column", () => {
    const hosts = [host({ address: "192.0.2.1", last: 5, userdata: { role: "web" } }), host({ address: "192.0.2.2", name: "db1", last: 9, crashes: 2 })];
    const names = (words, by) => sorted(hosts, words, by).map((one) => one.address);
    assert.deepEqual(names("", "last"), ["192.0.2.2", "192.0.2.1"]);
    assert.deepEqual(names("role=web", "last"), ["192.0.2.1"]);
    assert.deepEqual(names("DB", "name"), ["192.0.2.2"]);
    assert.deepEqual(names("", "crashes"), ["192.0.2.2", "192.0.2.1"]);
    assert.deepEqual(names("", "no such column").length, 2);
});

const group = (fields) => ({
    id: "1", title: "BUG in f", severity: "dead", state: "new", muted: false, count: 1, machines: { a: [1, 0, 0] }, releases: { "6.12": [1, 0, 0] },
    first: 0, last: 0, new_in: null, ...fields,
});

test("resolved and muted bugs are shown if asked, and the others by the choices", () => {
    const groups = [group({ id: "a" }), group({ id: "b", state: "resolved" }), group({ id: "c", muted: true }), group({ id: "d", state: "regressed", last: 5, new_in: "7.3" })];
    const ids = (query) => chosenGroups(groups, new URLSearchParams(query)).map((one) => one.id).join("");
    assert.equal(ids(""), "da");
    assert.equal(ids("state=resolved"), "b");
    assert.equal(ids("muted=1"), "dac");
    assert.equal(ids("release=7.3"), "d");
    groups[0].new_in = "7.2.1-amd64";
    assert.equal(ids("release=7.2"), "a");
    assert.equal(ids("release=7"), "");
    assert.deepEqual(withSeries(["7.3.1", "7.3.2", "6.12.48+deb13", "next"]), ["6.12", "6.12.48+deb13", "7.3", "7.3.1", "7.3.2", "next"]);
    assert.equal(ids("q=in+F"), "da");
    assert.equal(ids("q=other"), "");
    assert.equal(ids("host=b"), "");
});

test("questionable frames are recognised, as crash reports have them", () => {
    for (const line of [" ? do_exit+0x1/0x2", "[<ffffffff81000000>] ? foo+0x1/0x2", "[c000] foo+0x1/0x2 (unreliable)"]) assert.ok(isQuestionable(line), line);
    for (const line of [" do_exit+0x1/0x2", "RIP: 0010:foo", "what?", " ?"]) assert.ok(!isQuestionable(line), line);
});

test("releases that run without the bug are named beside those that have it", () => {
    const rows = releaseRows(group({}), [host({ release: "6.12" }), host({ release: "6.1" }), host({ release: "6.1" }), host({})]);
    assert.deepEqual(rows.map((row) => [row.release, row.reports, row.running]), [["6.12", 1, 1], ["6.1", 0, 2]]);
});

test("a time line has crashes, losses and silences at their times", () => {
    const marks = marksOf([{ kind: "lost", received_at: 1, text: "" }, { kind: "silent", received_at: 2, text: "" }, { kind: "booted", received_at: 3 }], [{ at: 4, title: "BUG" }]);
    assert.deepEqual(marks.map((mark) => [mark.kind, mark.time]), [["loss", 1], ["silent", 2], ["crash", 4]]);
    assert.deepEqual([along(5, 0, 10), along(-1, 0, 10), along(11, 0, 10), along(1, 1, 1)], [500, 0, 1000, 0]);
});

test("each place of a loss is in the ledger, also one that nobody has thought of", () => {
    const flow = flowOf({ counters: { dropped_new_reason: 4, dropped_by_kernel: 0 }, ledger: { received: 10, messages: 6, modules: { store: { messages: 6, lost: 1 } } } });
    assert.deepEqual(flow.map((row) => [row.kind, row.value]), [["step", 10], ["lost", 4], ["lost", 0], ["step", 6], ["out", 6], ["lost", 1]]);
});

test("a processor's ledger begins with its broker", () => {
    const numbers = { deliveries: 5, damaged: 1, deleted: 0, kernel_messages: 90, repeated_kernel_messages: 7 };
    const copies = { receivers: [{ copies: 20 }, { copies: 3 }] };
    const flow = flowOf({ broker: { numbers, help: {} }, copies, counters: { dropped_by_kernel: 0 }, ledger: { received: 0, messages: 67 } });
    assert.deepEqual(flow.filter((row) => row.value).map((row) => [row.name, row.value]), [
        ["Messages of the broker", 5], ["dropped: cannot be read", 1], ["Kernel messages in them", 90],
        ["Second copies, dropped", 23], ["Possibly processed before", 7], ["Messages", 67],
    ]);
});

test("crashes and events of before are among the messages of their time, once", () => {
    const row = (time, fields) => ({ kind: "message", time, address: "a", text: `m${time}`, ...fields });
    const past = pastRows([group({ title: "BUG", last: 5, machines: { a: [1, 0, 5], b: [3, 0, 2] } }), group({ title: "old", last: 0.5 }), group({ title: "known", last: 8 })],
        [{ kind: "lost", text: "3 lost", address: "a", received_at: 2.5 }]);
    assert.deepEqual(past.map((one) => [one.kind, one.address, one.text]), [["crash", "a", "BUG"], ["crash", "a", "old"], ["crash", "a", "known"], ["event", "a", "3 lost"]]);
    const rows = [row(1), row(2), row(3), row(5), row(9, { kind: "crash", text: "known", finding: {} })];
    assert.deepEqual(mergedRows(rows, past).map((one) => one.text), ["m1", "m2", "3 lost", "m3", "m5", "BUG", "known"]);
    assert.deepEqual(mergedRows([], []), []);
});

test("settings survive from the last visit", () => {
    assert.equal(settings.value.theme, "dark");
    assert.equal(settings.value.utc, false);
});
