// The dialogs: end sessions, keyboard shortcuts.
import { useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { html, Foreign } from "./base.js";
import { endSessions } from "../actions.js";
import { nameOf } from "../pure/rows.js";
import { clip, plural } from "../pure/format.js";
import { dialog, endable, rows, say, selected } from "../store.js";

/** Ending more sessions than this requires typing their number. */
const TYPE_ABOVE = 10;

const close = () => (dialog.value = null);

function Box({ label, children }) {
  const box = useRef();
  useLayoutEffect(() => {
    box.current.showModal();
  }, []);
  return html`<dialog ref=${box} aria-label=${label} onCancel=${close} onClose=${close} onClick=${(event) => event.target === box.current && close()}>${children}</dialog>`;
}

export function Dialogs() {
  const open = dialog.value;
  if (open?.name === "help") return html`<${Help} />`;
  if (open?.name === "end") return html`<${End} ids=${open.ids} />`;
  return null;
}

function End({ ids }) {
  const [typed, setTyped] = useState("");
  const [done, setDone] = useState(null);
  const live = done === null ? endable(ids) : ids;
  const byOwner = new Map();
  for (const id of live) {
    const { owner, owner_name: name } = rows.value.get(id);
    byOwner.set(name || owner, (byOwner.get(name || owner) ?? 0) + 1);
  }
  const sure = live.length <= TYPE_ABOVE || typed.trim() === String(live.length);
  const end = async (event) => {
    event.preventDefault();
    if (!sure || done !== null || !live.length) return;
    let n = 0;
    setDone(0);
    const failed = await endSessions(live, () => setDone((n += 1)));
    selected.value = new Set(failed.map(([id]) => id));
    if (failed.length) say(`${failed.length} of ${live.length} could not be ended: ${failed[0][1]}`, true);
    else say(`${plural(live.length, "session")} ended`);
    close();
  };
  const title = live.length === 1 ? "End this session?" : `End ${live.length} sessions?`;
  return html`<${Box} label=${title}><form onSubmit=${end}>
    <h2>${title}</h2>
    ${live.length === 1 && html`<p><${Foreign} text=${nameOf(rows.value.get(live[0]))} max=${120} /></p>`}
    <p>${[...byOwner].map(([name, n]) => (byOwner.size === 1 && live.length === 1 ? `Owner: ${clip(name, 40)}` : `${clip(name, 40)}: ${n}`)).join(" · ")}</p>
    <p class="dim">${live.length === 1 ? "Its pages close and its" : "Their pages close and their"} clients are disconnected. This cannot be undone.</p>
    ${live.length > TYPE_ABOVE && html`<label><span>Type <b>${live.length}</b> to confirm</span><input inputmode="numeric" autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /></label>`}
    <div class="actions"><button type="button" autofocus=${live.length <= TYPE_ABOVE} onClick=${close}>Cancel</button>
      <button class="danger" disabled=${!sure || done !== null || !live.length}>${done === null ? (live.length === 1 ? "End session" : `End ${live.length} sessions`) : `${done} of ${live.length}…`}</button></div>
  </form><//>`;
}

const KEYS = [
  ["/", "Filter"], ["← ↑ ↓ →", "Move between sessions"], ["Enter", "Open"], ["x", "Select"], ["g", "Grid or table"],
  ["e", "End the selected sessions, or the focused one"], ["t", "Take or release control"], ["+ − 0", "Zoom the live view, or fit it"], ["d", "Show or hide the details"], ["Esc Esc", "Release control"],
  ["u", "Back to all sessions"], ["?", "Show this list"],
];

const Help = () => html`<${Box} label="Keyboard shortcuts"><h2>Keyboard shortcuts</h2>
  <dl class="keys">${KEYS.map(([key, what]) => html`<dt key=${key}><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
  <div class="actions"><button type="button" onClick=${close}>Close</button></div><//>`;
