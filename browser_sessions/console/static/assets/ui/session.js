// One session: its live picture and the controls, or its record after the end.
import { useEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { html, Icon, Foreign, Key, Status, Words, reasonOf } from "./base.js";
import { Facts, Panels } from "./panels.js";
import { Picker } from "./picker.js";
import { attach } from "../input.js";
import { LiveView } from "../live.js";
import { control, openDevtools, refreshSession } from "../actions.js";
import { sessionPath } from "../api.js";
import { typedAddress, wantedWidth } from "../pure/mapping.js";
import { whyEnded } from "../pure/ends.js";
import { isFinal, isUnresponsive, nameOf } from "../pure/rows.js";
import { failureOf } from "../pure/log.js";
import { clip, plural, stamp } from "../pure/format.js";
import { dialog, live, patchLive, rows, session } from "../store.js";

export function Session() {
  const { id, details } = session.value;
  if (!details) return html`<main class="session" aria-busy="true"><div class="watch"><div class="stage"><p class="picture none" role="status">Loading…</p></div></div><aside /></main>`;
  const row = rows.value.get(id);
  const final = isFinal(row);
  return html`<main class="session ${final ? "final" : ""}">
    <div class="watch ${row.status in BEFORE ? "early" : ""}">
      ${final ? html`<${Ended} row=${row} />` : row.status in BEFORE ? html`<${Early} row=${row} />` : html`<${Watch} key=${id} id=${id} row=${row} />`}
    </div>
    <aside aria-label="About this session">
      <h1><${Foreign} text=${nameOf(row)} max=${160} /></h1>
      <${Facts} row=${row} />
      <${Panels} />
    </aside>
  </main>`;
}

const SILENT = { true: "The server does not respond. What you type or click may not arrive.", false: "The server does not respond." };

/** Why the streamed page shows Chromium's error page; "" if it does not. */
function whyFailed({ pages, pageId, url }) {
  if (!pages.find((page) => page.page_id === pageId)?.failed) return "";
  const error = failureOf(session.value.log.network, pageId, url);
  return error ? `The page did not load: ${clip(error, 100)}` : "The page did not load.";
}

const hasTouch = ({ options }) => Boolean(options?.has_touch);

const ratio = (width, height) => ({ "--ratio": `${width / height}` });

/** Statuses in which there is no live view yet. */
const BEFORE = { queued: "Waiting for a free slot…", starting: "Starting…" };

const Early = ({ row }) => html`<div class="stage" style=${ratio(row.viewport_width, row.viewport_height)}><p class="picture none" role="status">${BEFORE[row.status]}</p></div>
  <div class="actions"><${Status} of=${row.status} /><span class="space" /><${EndButton} id=${row.session_id} /></div>`;

const EndButton = ({ id }) => html`<button type="button" class="danger" onClick=${() => (dialog.value = { name: "end", ids: [id] })}>End session…</button>`;

function Ended({ row }) {
  return html`<div class="stage" style=${ratio(row.viewport_width, row.viewport_height)}>
      ${session.value.hasFrame
        ? html`<img class="picture" src="${sessionPath(row.session_id)}/frame" alt="Last picture of the session" />`
        : html`<p class="picture none">No picture available.</p>`}
    </div>
    <div class="actions"><${Status} of=${row.status} /><b>${reasonOf(row)}</b><span class="dim why">${whyEnded(row.end_reason)}</span><span class="space" /><span class="dim">${stamp(row.ended_at)}</span></div>`;
}

function Watch({ id, row }) {
  const canvas = useRef();
  const stage = useRef();
  const pad = useRef();
  const view = useRef();
  const { phase, text, mine, silent, lost, width, height, canControl, controlledBy, waiting, drawn } = live.value;
  useEffect(() => {
    const picture = canvas.current;
    const wanted = () => wantedWidth(picture.clientWidth, devicePixelRatio);
    const opened = (view.current = new LiveView(id, picture, wanted(), () => refreshSession(id)));
    const sizes = new ResizeObserver(() => opened.width !== wanted() && opened.view({ width: wanted() }));
    sizes.observe(picture);
    return () => {
      sizes.disconnect();
      opened.close();
    };
  }, [id]);
  const release = () => control(id, "release");
  const [opening, setOpening] = useState(false);
  const devtools = async () => {
    setOpening(true);
    await openDevtools(id, live.value.pageId);
    setOpening(false);
  };
  useEffect(() => (mine ? attach(view.current, canvas.current, pad.current, release, hasTouch(session.value.details)) : undefined), [mine]);
  const holder = mine ? "You have control" : controlledBy ? `${clip(controlledBy, 40)} has control` : "View only";
  const note = phase === "connecting" ? "Connecting…" : phase === "lost" ? `${text} Reconnecting…${lost ? ` ${plural(lost, "input")} may not have reached the page.` : ""}` : phase !== "open" ? text : silent ? SILENT[mine] : whyFailed(live.value) || (isUnresponsive(row) && !session.value.log.dialog ? "The page does not respond: a script keeps it busy." : drawn ? "" : "Loading…");
  const held = waiting || session.value.log.waiting;
  return html`<${Bar} view=${view} mine=${mine} />
    <div class="stage ${mine ? "mine" : controlledBy ? "theirs" : ""}" ref=${stage} style=${ratio(width || row.viewport_width, height || row.viewport_height)}>
      <canvas class="picture" ref=${canvas} width=${row.viewport_width} height=${row.viewport_height} role="img" aria-label="Live picture of the page" />
      ${mine && html`<textarea class="pad" ref=${pad} aria-label="Keyboard input for the page; Escape twice releases control" autocapitalize="off" autocomplete="off" spellcheck="false" />`}
      ${mine && live.value.picker && html`<${Picker} of=${live.value.picker} view=${view} canvas=${canvas} pad=${pad} />`}
      ${note && html`<p class="veil" role="status">${note}</p>`}
      ${session.value.log.dialog && html`<${PageDialog} of=${session.value.log.dialog} mine=${mine} view=${view} />`}
    </div>
    <div class="actions">
      <b class="who" role="status">${holder}</b>
      ${held > 0 && html`<span class="waits">${plural(held, "client")} waiting</span>`}
      ${mine && html`<span class="dim hint"><${Key}>Esc<//> twice to release</span>`}
      <span class="space" />
      ${mine && html`<button type="button" title="Copy what is selected on the page" onClick=${() => view.current.send({ type: "copy" })}>Copy<${Icon} name="copy" /></button>`}
      ${mine
        ? html`<button type="button" class="primary" id="control" onClick=${release}>Release control</button>`
        : html`<button type="button" class="primary" id="control" disabled=${phase !== "open" || !canControl || Boolean(controlledBy)} onClick=${() => control(id, "take")}>Take control<${Key}>t<//></button>`}
      <button type="button" disabled=${!live.value.pageId || opening} onClick=${devtools}>${opening ? "Loading…" : "DevTools"}<${Icon} name="out" /></button>
      <${EndButton} id=${id} />
    </div>`;
}

/** Tabs and address bar: they show what is open; with control, they navigate. */
function Bar({ view, mine }) {
  const { pages, pageId, url, viewers, fps } = live.value;
  const [typed, setTyped] = useState(null);
  const send = (message) => view.current.send(message);
  const show = (page) => {
    view.current.view({ pageId: page.page_id });
    patchLive({ pageId: page.page_id, url: page.url, title: page.title });
  };
  const navigate = (event) => {
    event.preventDefault();
    const address = typedAddress(typed ?? url);
    if (address) send({ type: "navigate", url: address });
    setTyped(null);
  };
  const tool = (name, label, message) =>
    html`<button type="button" class="square" aria-label=${label} title=${label} disabled=${!mine} onClick=${() => send(message)}><${Icon} name=${name} /></button>`;
  return html`<div class="tabs" role="tablist" aria-label="Pages of the session">
      ${pages.map(
        (page) => html`<span class="tab" key=${page.page_id} aria-current=${page.page_id === pageId ? "page" : null}>
          <button type="button" role="tab" aria-selected=${page.page_id === pageId} title=${clip(page.url)} onClick=${() => show(page)}>
            <${Foreign} text=${page.title || page.url || "New page"} max=${60} />${page.crashed && html` <em>crashed</em>`}</button>
          ${mine && html`<button type="button" class="bare" aria-label="Close ${clip(page.title || page.url, 60)}" onClick=${() => send({ type: "close_page", page_id: page.page_id })}><${Icon} name="close" /></button>`}
        </span>`,
      )}
      ${mine && html`<button type="button" class="bare" aria-label="New page" title="New page" onClick=${() => send({ type: "new_page" })}><${Icon} name="plus" /></button>`}
    </div>
    <form class="address" onSubmit=${navigate}>
      ${tool("back", "Back", { type: "go", delta: -1 })}${tool("next", "Forward", { type: "go", delta: 1 })}${tool("reload", "Reload", { type: "reload" })}
      <input aria-label="Address of the page" readonly=${!mine} spellcheck="false" autocomplete="off" inputmode="url" dir="ltr" value=${typed ?? clip(url, 2000)} onMouseDown=${selectAll}
        onInput=${(event) => setTyped(event.target.value)} onBlur=${() => setTyped(null)} />
      <span class="seen" title="Viewers"><${Icon} name="eye" />${viewers}</span><span class="fps">${fps ? `${fps} fps` : "idle"}</span>
    </form>`;
}

/** A click into the address selects it all, as in browsers; the next one places the caret. */
function selectAll(event) {
  const field = event.target;
  if (document.activeElement === field) return;
  event.preventDefault();
  field.focus();
  field.select();
}

function PageDialog({ of, mine, view }) {
  const [text, setText] = useState(of.default_prompt ?? "");
  const answer = (accept) => view.current.send({ type: "dialog", accept, text });
  return html`<div class="veil ask" role="status"><p>The page shows a ${clip(of.type, 20)}: <${Foreign} text=${of.message} max=${500} /></p>
    ${mine && of.type === "prompt" && html`<input aria-label="Answer to the page" value=${text} onInput=${(event) => setText(event.target.value)} />`}
    ${mine
      ? html`<p><button type="button" onClick=${() => answer(true)}>Accept</button> <button type="button" onClick=${() => answer(false)}>Dismiss</button></p>`
      : html`<p class="dim">Take control to answer it.</p>`}</div>`;
}

export const Gone = () =>
  html`<${Words} title="No such session"><p>It does not exist, its record has been deleted, or it belongs to another owner.</p><a class="button" data-route href="/">All sessions</a><//>`;
