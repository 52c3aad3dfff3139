// The console's entry: header, routes, start.
import { render } from "./vendor/preact.js";
import { effect } from "./vendor/signals.js";
import { open, signOut } from "./actions.js";
import { pageChanged, startFocus } from "./focus.js";
import { startKeys } from "./keys.js";
import { clip, clock } from "./pure/format.js";
import { isFinal, nameOf } from "./pure/rows.js";
import { route, startRouter } from "./router.js";
import { announced, dialog, link, rows, session, stale, theme, tick, trouble, you } from "./store.js";
import { html, Icon, Notice, Words } from "./ui/base.js";
import { Dialogs } from "./ui/dialogs.js";
import { Overview } from "./ui/overview.js";
import { Gone, Session } from "./ui/session.js";
import { SignIn } from "./ui/signin.js";

function Link() {
  const { state, heard } = link.value;
  if (state !== "lost") return html`<span class="link ${state}" role="status"><i class="dot" aria-hidden="true" />${state === "open" ? "live" : "connecting"}</span>`;
  return html`<span class="link lost" role="status">connection lost, reconnecting${stale.value && ` · stale since ${clock(heard)}`}</span>`;
}

const THEMES = { auto: "light", light: "dark", dark: "auto" };

function setTheme(next) {
  theme.value = next;
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // storage is disabled: the choice holds for this page
  }
}

/** Whether the page is updated by events: an ended session is not. */
function follows() {
  const row = session.value && rows.value.get(session.value.id);
  return route.value.name === "overview" || (row && !isFinal(row));
}

function Header() {
  const inside = you.value && route.value.name !== "sign-in";
  return html`<header class="top">
    <a class="home" data-route href="/"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1.5 3.5h13v9h-13zM1.5 6h13" /><circle cx="8" cy="9.3" r="1.3" /></svg><span>browser-sessions</span><span class="unseen">: all sessions</span></a>
    ${session.value && html`<span class="crumb" aria-hidden="true">/</span><code class="crumb">${clip(session.value.id, 12)}</code>`}
    <span class="space" />
    ${inside && !trouble.value && follows() && html`<${Link} />`}
    <button type="button" class="square" aria-label="Theme: ${theme.value}" title="Theme: ${theme.value}" onClick=${() => setTheme(THEMES[theme.value])}><${Icon} name=${theme.value} /></button>
    <button type="button" class="square" aria-label="Keyboard" title="Keyboard (?)" onClick=${() => (dialog.value = { name: "help" })}>?</button>
    ${inside && html`<span class="me"><b>${clip(you.value.name, 30)}</b> <small>${you.value.role}</small></span><button type="button" class="bare" onClick=${signOut}>Sign out</button>`}
  </header>`;
}

function Trouble() {
  const { status, message } = trouble.value;
  if (status === 404) return html`<${Gone} />`;
  if (status === 403) {
    return html`<${Words} title="Not allowed" role="alert"><p>${message || "You have no access to this."} Sign in with an account that has.</p>
      <button type="button" onClick=${signOut}>Switch account</button><//>`;
  }
  const title = status === 0 ? "The server does not respond" : "The server reported an error";
  return html`<${Words} title=${title} role="alert"><p>${status === 0 ? "Check that it is running and that this machine can reach it." : message} Retrying every three seconds.</p>
    <div class="code"><pre>curl ${location.origin}/readyz</pre></div><//>`;
}

const PAGES = { overview: Overview, session: Session, "sign-in": SignIn };

function App() {
  const { name, id } = route.value;
  const Page = PAGES[name];
  let page = null;
  if (!Page) page = html`<main><${Words} title="Page not found"><a class="button" data-route href="/">All sessions</a><//></main>`;
  else if (trouble.value) page = html`<main><${Trouble} /></main>`;
  else if (name !== "session" || session.value) page = html`<${Page} key=${id} />`;
  return html`<${Header} />${page}<${Dialogs} />
    ${name !== "session" && html`<${Notice} />`}<div class="unseen" id="announced" role="status">${announced.value}</div>`;
}

startRouter();
startFocus(document.getElementById("app"));
startKeys();
setInterval(tick, 1000);
let at = "";
effect(() => {
  const { name, id } = route.value;
  const place = `${name} ${id}`;
  if (place !== at) {
    if (at) pageChanged(session.peek()?.id);
    open(route.value);
  }
  at = place;
});
effect(() => {
  const row = session.value && rows.value.get(session.value.id);
  document.title = `${row ? `${clip(nameOf(row), 60)} · ` : ""}browser-sessions`;
});
render(html`<${App} />`, document.getElementById("app"));
