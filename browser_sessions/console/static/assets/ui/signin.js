// Sign-in with an API key, or with user and password. Neither is stored; the server sets a cookie.
import { useState } from "../vendor/preact-hooks.js";
import { html } from "./base.js";
import { signIn } from "../actions.js";

export function SignIn() {
  const [way, setWay] = useState("key");
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    setBusy(true);
    try {
      await signIn(given);
    } catch (problem) {
      setSaid(problem.status === 401 ? (way === "key" ? "Unknown API key. Check it, or ask an admin for a new one." : "Wrong user or password.") : problem.message);
      setBusy(false);
      event.target.querySelector("input").focus();
    }
  };
  return html`<main class="signin"><form onSubmit=${submit} aria-labelledby="signin">
    <h1 id="signin">Sign in</h1>
    <div class="pair" role="group" aria-label="Sign in with">
      <button type="button" aria-pressed=${way === "key"} onClick=${() => setWay("key")}>API key</button>
      <button type="button" aria-pressed=${way === "user"} onClick=${() => setWay("user")}>User and password</button>
    </div>
    ${way === "key"
      ? html`<label key="key">API key<input name="api_key" type="password" required autofocus autocomplete="current-password" spellcheck=${false} /></label>`
      : html`<label key="user">User<input name="username" required autofocus autocomplete="username" spellcheck=${false} autocapitalize="off" /></label>
          <label key="password">Password<input name="password" type="password" required autocomplete="current-password" /></label>`}
    <p class="bad" role="alert">${said}</p>
    <button class="primary" disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
    <p class="dim">The admin key is in the data folder, in <code>secrets/admin_api_key</code>. Create more with <code>browser-sessions keys create</code>.</p>
  </form></main>`;
}
