/** A message's permalink: the message among those before and after it. */
import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { useGet } from "./api.js";
import { Detail } from "./detail.js";
import { plural } from "./format.js";
import { List, useChosen } from "./list.js";
import { Copy, Empty, Failure } from "./parts.js";
import { machinePath, messagePath, withQuery } from "./routes.js";
import { rowText, rowsOf, withDays } from "./rows.js";
import { settings } from "./settings.js";
import { change, go, useSignal } from "./state.js";
import { printable } from "./text.js";

const STEP = 50;
const MOST = 500;

/** @param {{id: string, query: URLSearchParams}} props */
export function MessagePage({ id, query }) {
    const around = Math.min(MOST, Number(query.get("around")) || STEP);
    const all = query.get("all_hosts") === "1";
    const { data, error, loading } = useGet("context", { id, before: String(around), after: String(around), all_hosts: all ? "1" : "0" });
    const [open, setOpen] = useState(true);
    const { utc } = useSignal(settings);
    const rows = useMemo(() => withDays((data?.messages ?? []).flatMap(rowsOf), utc), [data, utc]);
    const [chosen, setChosen] = useChosen(rows, id);
    const row = chosen >= 0 && rows[chosen]?.kind !== "day" ? rows[chosen] : null;
    if (error) return html`<div class="page"><h1>Message</h1><${Failure} error=${error} />
        <p><a href=${withQuery("/search", { host: id.split("/")[0] })}>The messages of ${printable(id.split("/")[0])}</a></p></div>`;
    if (!data) return html`<div class="page" aria-busy=${loading ? "true" : "false"}><h1>Message</h1><p class="dim">Loading …</p></div>`;
    const message = rows.find((one) => one.message?.id === id)?.message;
    return html`<div class="page fill">
        <h1>What <a href=${machinePath(message?.address ?? "")}>${printable(message?.name || message?.address || "")}</a> said around it</h1>
        <p class="buttons">
            <button type="button" aria-pressed=${all ? "true" : "false"} onClick=${() => change({ all_hosts: all ? null : "1" })}>All machines</button>
            ${around < MOST ? html`<button type="button" onClick=${() => change({ around: String(around * 3) })}>More before and after</button>` : null}
            <${Copy} get=${() => `${rows.filter((one) => one.kind !== "day").map((one) => rowText(one, utc)).join("\n")}\n`}>Copy as text<//>
            <span class="dim">${plural(data.messages.length, "message")}</span>
        </p>
        <div class=${`split${row && open ? " open" : ""}`}>
            <${List} rows=${{ length: rows.length, at: (/** @type {number} */ index) => rows[index] }} version=${data} label="Messages, the oldest first"
                chosen=${chosen} host=${all} up=${!all}
                onChoose=${(/** @type {number} */ index) => {
                    const next = rows[index].message?.id;
                    setOpen(true);
                    setChosen(index);
                    // The same messages stay while they are walked through: the URL says which one, as a page of its own.
                    if (next && next !== id) go(withQuery(messagePath(next), query), { replace: true });
                }}>
                ${rows.length ? null : html`<${Empty}><p>The store does not have this message: it is too old, or was never received.</p><//>`}
            <//>
            ${row && open ? html`<${Detail} row=${row} context=${false} onClose=${() => setOpen(false)} />` : null}
        </div>
    </div>`;
}
