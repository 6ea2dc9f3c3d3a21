/** The password. */
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { get, loadStatus, post } from "./api.js";
import { Failure } from "./parts.js";
import { afterLogin } from "./routes.js";
import { go } from "./state.js";

/** @param {{query: URLSearchParams}} props */
export function LoginPage({ query }) {
    const [error, setError] = useState(/** @type {Error | null} */ (null));
    const [busy, setBusy] = useState(false);
    const [names, setNames] = useState(false);
    const form = useRef(/** @type {HTMLFormElement | null} */ (null));
    const field = useRef(/** @type {HTMLInputElement | null} */ (null));
    useEffect(() => form.current?.querySelector("input")?.focus(), [names]);
    useEffect(() => {
        // The refusal says whether a login needs a name.
        get("status").catch((failure) => {
            if (failure.code !== 401) setError(failure);
            setNames(failure.field === "user");
        });
    }, []);
    /** @param {SubmitEvent} event */
    const submit = async (event) => {
        event.preventDefault();
        setBusy(true);
        setError(null);
        try {
            await post("login", Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (form.current))));
            await loadStatus();
            go(afterLogin(query.get("next")), { replace: true });
        } catch (failure) {
            setError(/** @type {Error} */ (failure));
            setBusy(false);
            field.current?.select();
        }
    };
    return html`<div class="page login"><h1>netconsd</h1>
        <form ref=${form} onSubmit=${submit}>
            ${names ? html`<label class="stack">Name<input name="user" autocomplete="username" autocapitalize="off" spellcheck=${false} required /></label>` : null}
            <label class="stack">Password<input ref=${field} type="password" name="password" autocomplete="current-password" required /></label>
            <${Failure} error=${error} />
            <button class="primary" type="submit" disabled=${busy}>Log in</button>
        </form></div>`;
}
