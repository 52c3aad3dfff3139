// One session: its live picture and the controls, or its record after the end.
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { html, Icon, Foreign, Key, Notice, Status, Words, reasonOf } from "./base.js";
import { Facts, Panels } from "./panels.js";
import { FileChooser } from "./files.js";
import { Picker } from "./picker.js";
import { attach } from "../input.js";
import { LiveView } from "../live.js";
import { control, openDevtools, refreshSession } from "../actions.js";
import { sessionPath } from "../api.js";
import { typedAddress, wantedWidth } from "../pure/mapping.js";
import { whyEnded } from "../pure/ends.js";
import { isFinal, isUnresponsive, nameOf } from "../pure/rows.js";
import { clip, plural, stamp } from "../pure/format.js";
import { percent, ZOOMS } from "../pure/zoom.js";
import { dialog, fit, folded, live, patchLive, rows, session, zoom } from "../store.js";
import { attachZoom } from "../zoom.js";

/** With control, a click on anything but a text field gives the keyboard back to the page. */
function backToPage({ target, detail }) {
  if (!live.value.mine || !getSelection().isCollapsed || target.closest("input, select, textarea, .ask, .picker")) return;
  if (detail || target.closest(".watch")) document.querySelector(".pad")?.focus({ preventScroll: true });
}

export function Session() {
  const { id, details } = session.value;
  if (!details) return html`<main class="session" aria-busy="true"><div class="watch"><div class="stage"><p class="picture none" role="status">Loading…</p></div></div><aside /></main>`;
  const row = rows.value.get(id);
  const final = isFinal(row);
  return html`<main class="session ${final ? "final" : ""} ${folded.value ? "folded" : ""}" onClick=${backToPage}>
    <div class="watch ${row.status in BEFORE ? "early" : ""}">
      ${final ? html`<${Ended} row=${row} />` : row.status in BEFORE ? html`<${Early} row=${row} />` : html`<${Watch} key=${id} id=${id} row=${row} />`}
    </div>
    ${folded.value
      ? html`<h1 class="unseen"><${Foreign} text=${nameOf(row)} max=${160} /></h1>`
      : html`<aside id="about" aria-label="About this session">
      <h1><${Foreign} text=${nameOf(row)} max=${160} /></h1>
      <${Facts} row=${row} />
      <${Panels} />
    </aside>`}
  </main>`;
}

const SILENT = { true: "The server does not respond. What you type or click may not arrive.", false: "The server does not respond." };

/** Why the streamed page shows Chromium's error page; "" if it does not. */
function whyFailed({ pages, pageId }) {
  const error = pages.find((page) => page.page_id === pageId)?.error;
  return error ? `The page did not load: ${clip(error, 100)}` : "";
}

/** What stands over the picture; "" if nothing has to be said. */
function noteOf(row, asked) {
  const { phase, text, mine, silent, lost, pageId, drawn } = live.value;
  if (phase === "connecting") return "Connecting…";
  if (phase === "lost") return `${text} Reconnecting…${lost ? ` ${plural(lost, "input")} may not have reached the page.` : ""}`;
  if (phase !== "open") return text;
  if (silent) return SILENT[mine];
  if (!pageId) return "";
  const failed = whyFailed(live.value);
  if (failed) return failed;
  if (isUnresponsive(row) && !asked) return "The page does not respond: a script keeps it busy.";
  return drawn ? "" : "Loading…";
}

const hasTouch = ({ options }) => Boolean(options?.has_touch);

const Fold = () => html`<button type="button" class="square fold" aria-label="Details" title="Details (d)" aria-expanded=${!folded.value} aria-controls="about" onClick=${() => (folded.value = !folded.value)}><${Icon} name="panel" /></button>`;

const ratio = (width, height) => ({ "--ratio": `${width / height}` });

/** Statuses in which there is no live view yet. */
const BEFORE = { queued: "Waiting for a free slot…", starting: "Starting…" };

const Early = ({ row }) => html`<div class="stage" style=${ratio(row.viewport_width, row.viewport_height)}><p class="picture none" role="status">${BEFORE[row.status]}</p></div>
  <div class="actions"><${Status} of=${row.status} /><span class="space" /><${EndButton} id=${row.session_id} /><${Fold} /><${Notice} /></div>`;

const EndButton = ({ id }) => html`<button type="button" class="danger" onClick=${() => (dialog.value = { name: "end", ids: [id] })}>End session…</button>`;

function Ended({ row }) {
  return html`<div class="stage" style=${ratio(row.viewport_width, row.viewport_height)}>
      ${session.value.hasFrame
        ? html`<img class="picture" src="${sessionPath(row.session_id)}/frame" alt="Last picture of the session" />`
        : html`<p class="picture none">No picture available.</p>`}
    </div>
    <div class="actions"><${Status} of=${row.status} /><b>${reasonOf(row)}</b><span class="dim why">${whyEnded(row.end_reason)}</span><span class="space" /><span class="dim">${stamp(row.ended_at)}</span><${Fold} /><${Notice} /></div>`;
}

/** Milliseconds without a change of size until a picture of that size is requested: a pinch has many. */
const RESIZE_MS = 150;

function Watch({ id, row }) {
  const canvas = useRef();
  const stage = useRef();
  const pad = useRef();
  const port = useRef();
  const view = useRef();
  const { phase, mine, picker, chooser, width, height, canControl, controlledBy, waiting, pageId } = live.value;
  const [touchMoves, setTouchMoves] = useState(false);
  useEffect(() => {
    const picture = canvas.current;
    const wanted = () => wantedWidth(picture.clientWidth, devicePixelRatio);
    const opened = (view.current = new LiveView(id, picture, wanted(), () => refreshSession(id)));
    let timer = 0;
    const resize = () => opened.width !== wanted() && opened.view({ width: wanted() });
    const sizes = new ResizeObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(resize, RESIZE_MS);
    });
    sizes.observe(picture);
    return () => {
      clearTimeout(timer);
      sizes.disconnect();
      zoom.value = 0;
      opened.close();
    };
  }, [id]);
  const release = () => control(id, "release");
  const [opening, setOpening] = useState(false);
  const devtools = async () => {
    if (opening) return;
    setOpening(true);
    await openDevtools(id, live.value.pageId);
    setOpening(false);
  };
  const { dialog: asked } = session.value.log;
  const ask = asked && (!asked.page_id || !pageId || asked.page_id === pageId);
  const none = phase === "open" && !pageId;
  const choosing = mine && !ask && chooser?.page_id === pageId;
  const driving = mine && !ask && !none && !choosing;
  useEffect(() => (driving ? attach(view.current, canvas.current, pad.current, release, hasTouch(session.value.details)) : undefined), [driving]);
  const pageWidth = width || row.viewport_width;
  const pageHeight = height || row.viewport_height;
  useEffect(() => {
    const box = stage.current;
    const sizes = new ResizeObserver(() => (fit.value = Math.min(box.clientWidth / pageWidth, box.clientHeight / pageHeight)));
    sizes.observe(box);
    return () => sizes.disconnect();
  }, [pageWidth, pageHeight]);
  useEffect(() => {
    const forPage = (touch) => driving && !(touch && touchMoves);
    return attachZoom(port.current, canvas.current, () => live.value.width || row.viewport_width, forPage);
  }, [driving, touchMoves]);
  const holder = mine ? "You have control" : controlledBy ? `${clip(controlledBy, 40)} has control` : "View only";
  const note = noteOf(row, asked);
  const held = waiting || session.value.log.waiting;
  return html`<${Bar} view=${view} mine=${mine} />
    <div class="stage ${mine ? "mine" : controlledBy ? "theirs" : ""} ${zoom.value ? "zoomed" : ""} ${none ? "blank" : ""}" ref=${stage} style=${ratio(pageWidth, pageHeight)}>
      <div class="port" ref=${port} tabindex=${zoom.value ? 0 : null} role=${zoom.value ? "group" : null} aria-label=${zoom.value ? "Enlarged live view" : null}>
        <canvas class="picture ${driving && !touchMoves ? "touchable" : ""}" ref=${canvas} width=${row.viewport_width} height=${row.viewport_height} role="img" aria-label="Live picture of the page"
          style=${zoom.value ? { width: `${pageWidth * zoom.value}px` } : { width: "" }} />
      </div>
      ${driving && html`<textarea class="pad" ref=${pad} aria-label="Keyboard input for the page; Escape twice releases control" autocapitalize="off" autocomplete="off" spellcheck=${false} />`}
      ${driving && picker && html`<${Picker} of=${picker} view=${view} canvas=${canvas} pad=${pad} />`}
      ${note && html`<p class="veil" role="status">${note}</p>`}
      ${none && html`<div class="veil ask" role="status"><p>No page is open.</p>${mine ? html`<p><button type="button" onClick=${() => view.current.send({ type: "new_page" })}>New page</button></p>` : html`<p class="dim">Take control to open one.</p>`}</div>`}
      ${choosing && html`<${FileChooser} of=${chooser} id=${id} view=${view} />`}
      ${ask && html`<${PageDialog} of=${asked} mine=${mine} view=${view} />`}
    </div>
    <div class="actions">
      <b class="who" role="status">${holder}</b>
      ${held > 0 && html`<span class="waits">${plural(held, "client")} waiting</span>`}
      ${mine && html`<span class="dim hint"><${Key}>Esc<//> twice to release</span>`}
      <span class="space" />
      ${driving && html`<button type="button" class="square touch" aria-label="Touch moves the picture" title="Touch moves the picture" aria-pressed=${touchMoves} onClick=${() => setTouchMoves(!touchMoves)}><${Icon} name="move" /></button>`}
      <select class="zoom" aria-label="Zoom" value=${ZOOMS.includes(zoom.value) ? zoom.value : -1} onChange=${(event) => {
        zoom.value = Number(event.target.value);
        pad.current?.focus({ preventScroll: true });
      }}>
        ${ZOOMS.map((each) => html`<option key=${each} value=${each}>${each ? percent(each) : `Fit (${percent(fit.value)})`}</option>`)}
        ${!ZOOMS.includes(zoom.value) && html`<option value="-1" disabled>${percent(zoom.value)}</option>`}
      </select><${Fold} /><span class="break" />
      ${mine
        ? html`<button type="button" class="primary" id="control" onClick=${release}>Release control</button>`
        : html`<button type="button" class="primary" id="control" disabled=${phase !== "open" || !canControl || Boolean(controlledBy)} onClick=${() => control(id, "take")}>Take control<${Key}>t<//></button>`}
      <button type="button" disabled=${!pageId} aria-disabled=${opening || null} onClick=${devtools}>${opening ? "Loading…" : "DevTools"}<${Icon} name="out" /></button>
      <${EndButton} id=${id} /><${Notice} />
    </div>`;
}

/** Tabs and address bar: they show what is open; with control, they navigate. */
function Bar({ view, mine }) {
  const { pages, pageId, url, viewers, fps } = live.value;
  const strip = useRef();
  const { dialog: asked } = session.value.log;
  useEffect(() => {
    const tab = strip.current.querySelector("[aria-current]")?.parentElement;
    if (tab) strip.current.scrollLeft = tab.offsetLeft - (strip.current.clientWidth - tab.offsetWidth) / 2;
  }, [pageId, pages.length, mine]);
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
    document.querySelector(".pad")?.focus({ preventScroll: true });
  };
  const tool = (name, label, message, title = label) =>
    html`<button type="button" class="square" aria-label=${label} title=${title} disabled=${!mine || !pageId} onClick=${() => send(message)}><${Icon} name=${name} /></button>`;
  return html`<div class="tabs"><ul ref=${strip} aria-label="Pages of the session">
      ${pages.map(
        (page) => html`<li class="tab" key=${page.page_id}>
          <button type="button" aria-current=${page.page_id === pageId ? "page" : null} title=${clip(page.url)} onClick=${() => show(page)}>
            <${Foreign} text=${page.title || page.url || "New page"} max=${60} />${page.crashed && html` <em>crashed</em>`}${asked?.page_id === page.page_id && html` <em>dialog</em>`}</button>
          ${mine && html`<button type="button" class="bare" aria-label="Close ${clip(page.title || page.url, 60)}" onClick=${() => send({ type: "close_page", page_id: page.page_id })}><${Icon} name="close" /></button>`}
        </li>`,
      )}</ul>
      ${mine && html`<button type="button" class="bare" aria-label="New page" title="New page" onClick=${() => send({ type: "new_page" })}><${Icon} name="plus" /></button>`}
    </div>
    <form class="address" onSubmit=${navigate}>
      ${tool("back", "Back", { type: "go", delta: -1 })}${tool("next", "Forward", { type: "go", delta: 1 })}${tool("reload", "Reload", { type: "reload" })}
      <input aria-label="Address of the page" readonly=${!mine || !pageId} spellcheck=${false} autocomplete="off" inputmode="url" dir="ltr" value=${typed ?? clip(url, 2000)} onMouseDown=${selectAll}
        onInput=${(event) => setTyped(event.target.value)} onBlur=${() => setTyped(null)} />
      ${tool("copy", "Copy", { type: "copy" }, "Copy what is selected on the page")}
      <span class="seen" title="Viewers"><${Icon} name="eye" />${viewers}</span><span class="fps">${fps ? `${fps} fps` : pageId && "idle"}</span>
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

/** A dialog of the shown page. Whoever has control responds: Enter accepts, Escape dismisses. */
function PageDialog({ of, mine, view }) {
  const [text, setText] = useState("");
  const form = useRef();
  const answered = useRef();
  useLayoutEffect(() => { // before the next key
    setText(of.default_prompt ?? "");
    if (mine) form.current.querySelector("input, button").focus({ preventScroll: true }); // the text is read from its beginning
  }, [of, mine]);
  const answer = (accept) => {
    if (answered.current === of) return;
    answered.current = of;
    setTimeout(() => (answered.current = null), AGAIN_MS);
    view.current.send({ type: "dialog", accept, text });
  };
  const says = html`<p id="asks">The page shows a ${clip(of.type, 20)}: <${Foreign} text=${of.message} max=${500} /></p>`;
  if (!mine) return html`<div class="veil ask" role="status" tabindex="0">${says}<p class="dim">Take control to answer it.</p></div>`;
  const submit = (event) => {
    event.preventDefault();
    answer(true);
  };
  const key = (event) => {
    if (event.key === "Escape") answer(false);
    if (event.key === "Escape" || (event.key === "Enter" && event.repeat)) event.preventDefault();
  };
  return html`<div class="veil ask" role="alertdialog" aria-labelledby="asks"><form ref=${form} onSubmit=${submit} onKeyDown=${key}>${says}
    ${of.type === "prompt" && html`<input aria-label="Answer to the page" value=${text} onInput=${(event) => setText(event.target.value)} />`}
    <p><button>Accept</button> ${of.type !== "alert" && html`<button type="button" onClick=${() => answer(false)}>Dismiss</button>`}</p></form></div>`;
}

/** Milliseconds until a dialog that is still open can be answered again. */
const AGAIN_MS = 1000;

export const Gone = () =>
  html`<${Words} title="No such session"><p>It does not exist, its record has been deleted, or it belongs to another owner.</p><a class="button" data-route href="/">All sessions</a><//>`;
