// The axis of time of the charts.
import assert from "node:assert/strict";
import { test } from "node:test";

Object.assign(globalThis, {
    location: { pathname: "/", search: "" },
    addEventListener() {},
    matchMedia: () => ({ matches: false, addEventListener() {}, removeEventListener() {} }),
    document: { documentElement: { dataset: {} } },
    localStorage: { getItem: () => null, setItem() {} },
});
const { timeLabels } = await import(new URL("js/chart.js", import.meta.url));

test("an axis of seconds names each second once", () => {
    assert.deepEqual(timeLabels(true)(null, [1795849200, 1795849200.5, 1795849201]), ["07:00:00", "", "07:00:01"]);
});
