/** The password. */
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { loadStatus, post } from "./api.js";
import { Failure } from "./parts.js";
import { afterLogin } from "./routes.js";
import { go } from "./state.js";

/** @param {{query: URLSearchParams}} props */
export function LoginPage({ query }) {
    const [error, setError] = useState(/** @type {Error | null} */ (null));
    const [busy, setBusy] = useState(false);
    const field = useRef(/** @type {HTMLInputElement | null} */ (null));
    useEffect(() => field.current?.focus(), []);
    /** @param {SubmitEvent} event */
    const submit = async (event) => {
        event.preventDefault();
        setBusy(true);
        setError(null);
        try {
            await post("login", { password: field.current?.value ?? "" });
            await loadStatus();
            go(afterLogin(query.get("next")), { replace: true });
        } catch (failure) {
            setError(/** @type {Error} */ (failure));
            setBusy(false);
            field.current?.select();
        }
    };
    return html`<div class="page login"><h1>netconsd</h1>
        <form onSubmit=${submit}>
            <label class="stack">Password<input ref=${field} type="password" name="password" autocomplete="current-password" required /></label>
            <${Failure} error=${error} />
            <button class="primary" type="submit" disabled=${busy}>Log in</button>
        </form></div>`;
}
