/** A machine's time as a picture: its boots as bands, crashes and losses on them. */
import { html } from "../vendor/htm-preact.js";
import { duration, plural, stamp } from "./format.js";
import { printable } from "./text.js";

const WIDTH = 1000;

/**
 * The place of a time on the line, from 0 to 1000.
 * @param {number} time
 * @param {number} first
 * @param {number} last
 */
export function along(time, first, last) {
    if (last <= first) return 0;
    return Math.max(0, Math.min(WIDTH, ((time - first) / (last - first)) * WIDTH));
}

/**
 * @param {object} props
 * @param {import("./types.js").Boot[]} props.boots
 * @param {{time: number, kind: "crash" | "loss" | "silent", text: string}[]} props.marks
 * @param {boolean} props.utc
 */
export function Timeline({ boots, marks, utc }) {
    if (!boots.length) return null;
    const first = Math.min(...boots.map((boot) => boot.first));
    const last = Math.max(...boots.map((boot) => boot.last), first + 1);
    const crashes = marks.filter((mark) => mark.kind === "crash").length;
    const label = `${plural(boots.length, "boot")}, ${plural(crashes, "crash", "crashes")} and ${plural(marks.length - crashes, "loss or silence", "losses and silences")} ` +
        `from ${stamp(first, utc)} to ${stamp(last, utc)}`;
    return html`<figure class="timeline">
        <svg viewBox=${`0 0 ${WIDTH} 46`} preserveAspectRatio="none" role="img" aria-label=${label}>
            <line x1="0" x2=${WIDTH} y1="28" y2="28" class="axis" />
            ${boots.map((boot, index) => {
                const x = along(boot.first, first, last);
                return html`<rect key=${boot.boot} class=${`boot b${index % 2}`} x=${x} y="20" height="16" width=${Math.max(3, along(boot.last, first, last) - x)}>
                    <title>boot of ${stamp(boot.first, utc)}, ${duration(boot.last - boot.first)}, ${plural(boot.messages, "message")}</title></rect>`;
            })}
            ${marks.map((mark, index) => {
                const x = along(mark.time, first, last);
                const title = html`<title>${stamp(mark.time, utc)} ${printable(mark.text)}</title>`;
                return mark.kind === "crash"
                    ? html`<rect key=${index} class="crash" x=${Math.max(0, x - 2)} y="4" width="4" height="32">${title}</rect>`
                    : html`<rect key=${index} class=${mark.kind} x=${Math.max(0, x - 1.5)} y="36" width="3" height="9">${title}</rect>`;
            })}
        </svg>
        <figcaption><span>${stamp(first, utc)}</span>
            <span class="key t-boot">boots</span><span class="key t-crash">crashes</span><span class="key t-loss">losses</span><span class="key t-silent">silence</span>
            <span>${stamp(last, utc)}</span></figcaption>
    </figure>`;
}
