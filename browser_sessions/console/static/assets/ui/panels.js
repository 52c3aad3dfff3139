// Beside the picture: the session's facts, timeline and logs.
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Age, Copy, Foreign, html, Left, memo, reasonOf, Status } from "./base.js";
import { Downloads } from "./files.js";
import { call, sessionPath } from "../api.js";
import { isFinal, stateOf } from "../pure/rows.js";
import { bytes, clip, clock, maskTicket, placeOf, plural, stamp, statusIn, words } from "../pure/format.js";
import { live, session } from "../store.js";

const Fact = ({ name, children }) => html`<dt>${name}</dt><dd>${children}</dd>`;

export function Facts({ row }) {
  const { details } = session.value;
  const final = isFinal(row);
  return html`<dl class="list">
    <${Fact} name="Status"><${Status} of=${stateOf(row)} />${final && ` · ${reasonOf(row)}`}<//>
    <${Fact} name="Session"><code>${row.session_id}</code><${Copy} text=${row.session_id} what="session id" /><//>
    <${Fact} name="Owner">${clip(row.owner_name || row.owner, 60)}<//>
    <${Fact} name="Created">${stamp(row.created_at)} · <${Age} of=${row.created_at} /> ago<//>
    ${final
      ? html`<${Fact} name="Ended">${stamp(row.ended_at)} · <${Age} of=${row.ended_at} /> ago<//>`
      : html`<${Fact} name="Last activity"><${Age} of=${row.last_activity} /> ago<//><${Fact} name="Expires"><${Left} of=${row.expires_at} />${row.expires_at && ` · ${clock(row.expires_at)}`}<//>`}
    <${Fact} name="Viewport">${(live.value.viewport ?? [row.viewport_width, row.viewport_height]).join(" × ")}<//>
    ${row.status === "active" && html`<${Fact} name="Clients">${row.connections ?? 0}<//><${Fact} name="Memory">${bytes(row.memory_bytes)}<//>`}
    ${row.bytes_up != null && html`<${Fact} name="Traffic">${bytes(row.bytes_up)} sent · ${bytes(row.bytes_down)} received<//>`}
    <${Fact} name="Isolation">${row.isolation}${row.browser_id && html` · <code>${clip(row.browser_id, 16)}</code>`}<//>
    ${Object.entries(row.metadata ?? {}).map(([key, value]) => html`<${Fact} key=${key} name=${clip(key, 64)}><${Foreign} text=${value} /><//>`)}
    ${details.connect_url && html`<${Fact} name="Connect"><code class="clipped">${maskTicket(details.connect_url)}</code><${Copy} text=${details.connect_url} what="connect URL" /><//>`}
    ${row.status === "active" && html`<${Fact} name="Health"><${Ask} label="Check" path="${sessionPath(row.session_id)}/health" say=${health} /><//>`}
  </dl>`;
}

/** A button that sends a request about the session, and the response as text beside it. */
function Ask({ label, title, path, say }) {
  const [said, setSaid] = useState("");
  const ask = async () => {
    setSaid("Loading…");
    try {
      setSaid(say(await call("GET", path)));
    } catch (problem) {
      setSaid(problem.message);
    }
  };
  return html`<span role="status">${clip(said, 160)}</span><button type="button" class="small" title=${title} onClick=${ask}>${label}</button>`;
}

const health = ({ healthy, latency_ms: ms, problem }) => (healthy ? `healthy · ${Math.round(ms)} ms` : (problem ?? "not healthy"));
const storage = ({ cookies, origins }) => `${plural(cookies.length, "cookie")} · ${plural(origins.length, "site")} with local storage`;

const PANELS = ["timeline", "console", "network", "errors", "files", "options"];

export function Panels() {
  const { log, details } = session.value;
  const [open, setOpen] = useState("timeline");
  const turn = (event) => {
    const at = PANELS.indexOf(open);
    const place = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
    if (place === undefined) return;
    event.stopPropagation();
    event.preventDefault(); // Home and End scroll
    const next = PANELS.at(place % PANELS.length);
    setOpen(next);
    event.currentTarget.querySelector(`#tab-${next}`).focus();
  };
  return html`<section class="panels">
    <div class="heads" role="tablist" aria-label="Timeline and logs" onKeyDown=${turn}>
      ${PANELS.map(
        (name) => html`<button type="button" role="tab" key=${name} id="tab-${name}" aria-controls="panel" aria-selected=${open === name} tabindex=${open === name ? 0 : -1} onClick=${() => setOpen(name)}>
          ${name}${log[name]?.length > 0 && name !== "timeline" && html`<b class=${name === "errors" ? "bad" : ""}>${log[name].length}</b>`}</button>`,
      )}
    </div>
    <div class="panel" id="panel" role="tabpanel" aria-labelledby="tab-${open}" tabindex="0" key=${open}>
      ${open === "network" && html`<p class="dim note">${live.value.phase === "open" ? "All requests while the session is watched; failed requests at any time." : "Failed requests, and all requests while the session was watched."}</p>`}
      ${open === "options" ? html`<${Options} of=${details} />` : open === "files" ? html`<${Downloads} id=${details.session_id} final=${isFinal(details)} changes=${log.downloads} />` : html`<${Lines} of=${log[open]} view=${VIEWS[open]} />`}
    </div>
  </section>`;
}

/** Follows the newest line, unless scrolled up. */
function Lines({ of, view: Line }) {
  const list = useRef();
  const follow = useRef(true);
  useEffect(() => {
    const box = list.current?.parentElement;
    if (box && follow.current) box.scrollTop = box.scrollHeight;
  }, [of]);
  useEffect(() => {
    const box = list.current?.parentElement;
    const look = () => (follow.current = box.scrollHeight - box.scrollTop - box.clientHeight < 24);
    box?.addEventListener("scroll", look, { passive: true });
    return () => box?.removeEventListener("scroll", look);
  }, [of.length > 0]);
  if (!of.length) return html`<p class="dim none">Nothing yet.</p>`;
  return html`<ol ref=${list}>${of.map((line) => html`<${Line} key=${line.key} of=${line} />`)}</ol>`;
}

const VIEWS = {
  timeline: memo(({ of }) => html`<li class="story ${of.tone}"><time>${clock(of.at)}</time><i aria-hidden="true">${of.sign}</i><span>${clip(of.text, 200)} <${Foreign} class="dim" text=${words(of.detail)} /></span></li>`),
  console: memo(({ of }) => html`<li class="l-${of.level}"><time>${clock(of.at)}</time><i>${of.level === "warning" ? "warn" : clip(of.level, 6)}</i><span><${Foreign} text=${of.text} max=${2000} />${of.url && html` <small>${placeOf(of.url, of.line)}</small>`}</span></li>`),
  network: memo(({ of }) => html`<li class=${of.error || of.status >= 400 ? "l-error" : ""}><time>${clock(of.at)}</time><i>${of.status ?? statusIn(of.error) ?? "failed"}</i><span>${of.method && html`<b>${clip(of.method, 10)}</b> `}<${Foreign} text=${of.url} max=${500} /> <small>${requestFacts(of)}</small></span></li>`),
};
VIEWS.errors = VIEWS.console;

/** "document · 120 ms · 4.1 kB", as far as it is known. */
const requestFacts = ({ type, ms, size, error }) =>
  [clip(type ?? "", 20), ms == null ? "" : `${Math.round(ms)} ms`, size == null ? "" : bytes(size), clip(error ?? "", 100)].filter(Boolean).join(" · ");

function Options({ of }) {
  const all = { idle_timeout_seconds: of.idle_timeout_seconds, max_lifetime_seconds: of.max_lifetime_seconds, user_agent: of.user_agent, node: of.node, ...of.options };
  return html`<dl class="list">${Object.entries(all).filter(([, value]) => value != null && value !== "" && !(typeof value === "object" && !Object.keys(value).length)).map(
    ([name, value]) => html`<${Fact} key=${name} name=${words(name)}><${Foreign} text=${typeof value === "object" ? JSON.stringify(value) : value} max=${500} /><//>`,
  )}
    ${of.status === "active" && html`<${Fact} name="storage now"><${Ask} label="Count" title="Counts as activity. Only the numbers are shown; nothing is kept." path="${sessionPath(of.session_id)}/storage-state" say=${storage} /><//>`}</dl>`;
}
