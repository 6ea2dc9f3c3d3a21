/** Messages over time by level, as stacked bars; dragging chooses a range of time. */
import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import { count, short, stamp } from "./format.js";
import { settings } from "./settings.js";
import { useSignal } from "./state.js";

/** From the bottom of a bar to its top: the worst at the bottom, where bars can be compared. */
export const BANDS = [
    { name: "emerg–crit", levels: [0, 1, 2], style: "--bar-crit" },
    { name: "err", levels: [3], style: "--bar-err" },
    { name: "warn", levels: [4], style: "--bar-warn" },
    { name: "notice, info", levels: [5, 6], style: "--bar-info" },
    { name: "debug, none", levels: [7, 8], style: "--bar-debug" },
];
const HEIGHT = 96;

/**
 * The columns of the chart: times, and for each band the sum of it and those below, the largest sum first: the smaller
 * ones are painted over it.
 * @param {number[][]} buckets each a time and nine counts: levels 0 to 7, and none
 * @returns {number[][]}
 */
export function columns(buckets) {
    const out = [buckets.map((bucket) => bucket[0])];
    let below = buckets.map(() => 0);
    for (const { levels } of BANDS) {
        below = buckets.map((bucket, index) => below[index] + levels.reduce((sum, level) => sum + (bucket[level + 1] ?? 0), 0));
        out.splice(1, 0, below);
    }
    return out;
}

/**
 * The chart in words.
 * @param {number[][]} buckets
 * @param {number} step
 * @param {boolean} utc
 */
export function summary(buckets, step, utc) {
    if (!buckets.length) return "no messages";
    const totals = buckets.map((bucket) => bucket.slice(1).reduce((sum, one) => sum + one, 0));
    const bad = buckets.reduce((sum, bucket) => sum + bucket.slice(1, 5).reduce((one, two) => one + two, 0), 0);
    const most = Math.max(...totals);
    return (
        `${count(totals.reduce((sum, one) => sum + one, 0))} messages from ${stamp(buckets[0][0], utc)} to ` +
        `${stamp(buckets[buckets.length - 1][0] + step, utc)}, ${count(bad)} of them err or worse; ` +
        `at most ${count(most)} in ${step} s, at ${stamp(buckets[totals.indexOf(most)][0], utc)}`
    );
}

/**
 * A whole number of seconds for a bucket, so that a range has at most some hundred buckets.
 * @param {number} seconds the range
 */
export function stepFor(seconds) {
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800];
    return steps.find((step) => seconds / step <= 160) ?? 2592000;
}

/**
 * Buckets without holes: a time without messages is a bar of none.
 * @param {number[][]} buckets
 * @param {number} step
 */
export function filled(buckets, step) {
    if (buckets.length < 2) return buckets;
    const last = buckets[buckets.length - 1][0];
    const wanted = Math.round((last - buckets[0][0]) / step) + 1;
    if (wanted === buckets.length || wanted > 2000) return buckets;
    const known = new Map(buckets.map((bucket) => [Math.round((bucket[0] - buckets[0][0]) / step), bucket]));
    return Array.from({ length: wanted }, (_, index) => known.get(index) ?? [buckets[0][0] + index * step, ...Array(9).fill(0)]);
}

/**
 * The buckets of the last seconds, one a second, whose first is at the begin of this time whether or not something was
 * received in it: the axis stays.
 * @param {number[][]} buckets
 * @param {number} now the second of the new bucket
 * @param {number} seconds
 * @param {number[]} [counts] of its levels
 */
export function lastSeconds(buckets, now, seconds, counts = []) {
    /** @param {number} at @param {number[]} numbers */
    const bucket = (at, numbers) => [at, ...Array.from({ length: 9 }, (_, level) => numbers[level] ?? 0)];
    const kept = buckets.filter(([at]) => at > now - seconds && at < now);
    return [bucket(now - seconds, []), ...kept, bucket(now, counts)];
}

/**
 * @param {object} props
 * @param {number[][]} props.buckets
 * @param {number} props.step seconds
 * @param {(since: number, until: number) => void} [props.onRange]
 * @param {string} props.label
 */
export function Chart({ buckets, step, onRange, label }) {
    const box = useRef(/** @type {HTMLDivElement | null} */ (null));
    const plot = useRef(/** @type {any} */ (null));
    const range = useRef(onRange);
    range.current = onRange;
    const latest = useRef(buckets);
    latest.current = buckets;
    // Bars that move would take the time away from under the mouse.
    const dragging = useRef(false);
    const { utc, theme } = useSignal(settings);
    useEffect(() => {
        const element = /** @type {HTMLDivElement} */ (box.current);
        const dark = matchMedia("(prefers-color-scheme: dark)");
        const pressed = () => (dragging.current = true);
        const released = () => {
            if (!dragging.current) return;
            dragging.current = false;
            // After uPlot's own listener, which reads the time.
            setTimeout(() => plot.current?.setData(columns(latest.current)));
        };
        element.addEventListener("mousedown", pressed);
        addEventListener("mouseup", released);
        const make = () => {
            plot.current?.destroy();
            plot.current = new uPlot(options(element, step, utc, (since, until) => range.current?.(since, until)),
                /** @type {any} */ (columns(latest.current)), element);
        };
        make();
        const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
        resized.observe(element);
        dark.addEventListener("change", make);
        return () => {
            resized.disconnect();
            element.removeEventListener("mousedown", pressed);
            removeEventListener("mouseup", released);
            dark.removeEventListener("change", make);
            plot.current?.destroy();
            plot.current = null;
        };
    }, [step, utc, theme]);
    useEffect(() => {
        if (!dragging.current) plot.current?.setData(columns(buckets));
    }, [buckets]);
    return html`<figure class="chart">
        <div class="plot" ref=${box} role="img" aria-label=${`${label}: ${summary(buckets, step, utc)}`}></div>
        <figcaption>
            ${BANDS.map((band) => html`<span key=${band.name} class=${`key ${band.style.slice(2)}`}>${band.name}</span>`)}
            ${onRange ? html`<span class="dim hint">drag to choose a time</span>` : null}
        </figcaption>
    </figure>`;
}

/**
 * @param {HTMLElement} element
 * @param {number} step
 * @param {boolean} utc
 * @param {(since: number, until: number) => void} onRange
 * @returns {any}
 */
function options(element, step, utc, onRange) {
    const style = getComputedStyle(element);
    // A custom property is a formula (light-dark()) until something has the colour.
    const probe = document.createElement("i");
    element.append(probe);
    /** @param {string} name */
    const colour = (name) => {
        probe.style.color = `var(${name})`;
        return getComputedStyle(probe).color;
    };
    const bars = uPlot.paths.bars?.({ size: [0.9, 40], align: 1 });
    const series = [...BANDS].reverse().map(({ name, style: property }) => {
        const fill = colour(property);
        return { label: name, fill, stroke: fill, width: 0, paths: bars, points: { show: false } };
    });
    const text = colour("--dim");
    const line = colour("--line");
    probe.remove();
    const axis = { stroke: text, font: `11px ${style.fontFamily}`, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    return {
        width: element.clientWidth || 300,
        height: HEIGHT,
        legend: { show: false },
        tzDate: utc ? (/** @type {number} */ unix) => uPlot.tzDate(new Date(unix * 1000), "Etc/UTC") : undefined,
        fmtDate: (/** @type {string} */ template) => uPlot.fmtDate(template.replace("{h}", "{HH}").replace("{aa}", "")),
        cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
        scales: {
            // Of one bucket uPlot would make a range of 86,400,000 seconds.
            x: { range: (/** @type {any} */ shown, /** @type {number} */ from, /** @type {number} */ to) => [from, (shown.data[0].length > 1 ? to : from) + step] },
            y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ most) => [0, Math.max(1, most * 1.05)] },
        },
        axes: [
            { ...axis, grid: { show: false }, size: 22, values: timeLabels(utc), space: 80 },
            { ...axis, size: 38, space: 24, values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map((one) => (Number.isInteger(one) ? short(one) : "")) },
        ],
        series: [{}, ...series],
        hooks: {
            setSelect: [
                (/** @type {any} */ chart) => {
                    const { left, width } = chart.select;
                    if (width < 3) return;
                    const since = chart.posToVal(left, "x");
                    const until = chart.posToVal(left + width, "x");
                    chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
                    onRange(Math.floor(since), Math.ceil(until));
                },
            ],
        },
        drawOrder: ["axes", "series"],
    };
}

/** The labels of the axis of time; parts of a second have none. @param {boolean} utc */
export function timeLabels(utc) {
    return (/** @type {any} */ _, /** @type {number[]} */ times) =>
        times.map((time, index) => {
            if (!Number.isInteger(time)) return "";
            const words = stamp(time, utc);
            const [date, clock] = [words.slice(5, 10), words.slice(11, 19)];
            const daily = times.length > 1 && times[1] - times[0] >= 86400;
            if (daily) return date;
            const day = index && words.slice(0, 10) !== stamp(times[index - 1], utc).slice(0, 10) ? `${date} ` : "";
            return day + (times.length > 1 && times[1] - times[0] < 60 ? clock : clock.slice(0, 5));
        });
}
