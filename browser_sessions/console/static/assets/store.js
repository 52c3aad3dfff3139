// All state of the page. Views read it; actions.js and events change it.
import { batch, computed, signal } from "./vendor/signals.js";
import { clockSkew } from "./api.js";
import { applyEvents } from "./pure/rows.js";
import { EMPTY_LOG, addEvents } from "./pure/log.js";
import { addPoint, pointOf } from "./pure/plots.js";
import { FINAL } from "./pure/rows.js";
import { arrange, readView } from "./pure/view.js";
import { route } from "./router.js";

/** Milliseconds without a connection after which the data is shown as stale (docs/console.md). */
const STALE_MS = 5000;
/** Milliseconds between two sorts by a changing number; never while the pointer is on the list. */
const RESORT_MS = 5000;

export const you = signal(null);
/** The error shown instead of the page: null, or {status, title, message}. */
export const trouble = signal(null);
export const now = signal(Date.now());

export const rows = signal(new Map());
export const loaded = signal(false);
export const pool = signal(null);
export const history = signal(null);
export const view = computed(() => readView(route.value.params));
export const selected = signal(new Set());
const resort = signal(0);

/** {state: "connecting" | "open" | "lost", heard: ms}. */
export const link = signal({ state: "connecting", heard: Date.now() });
export const stale = computed(() => link.value.state === "lost" && now.value - link.value.heard > STALE_MS);

/** The open session: {id, details, log, hasFrame, missing}. */
export const session = signal(null);
/** `silent`: the server does not respond; `lost`: after a lost connection, how many inputs may not have arrived. */
export const NO_LIVE = Object.freeze({
  phase: "connecting", text: "", canControl: false, controlledBy: null, mine: false, waiting: 0, viewers: 0, pages: [],
  drawn: false, pageId: null, url: "", title: "", width: 0, height: 0, viewport: null, fps: 0, silent: false, lost: null, picker: null, chooser: null,
});
export const live = signal(NO_LIVE);

/** The scale of the live view: 0 fits it into its place, 1 shows a CSS px of the page as one of the console. */
export const zoom = signal(0);
/** The scale at which it fits. */
export const fit = signal(1);
/** Whether the details beside the live view are folded away. */
export const folded = signal(false);

/** The open dialog: null, {name: "help"} or {name: "end", ids}. */
export const dialog = signal(null);
export const notice = signal(null);
/** Text for screen readers: a page that has changed, a notice, an end. */
export const announced = signal("");
export const announce = (text) => (announced.value = text);
export const theme = signal(document.documentElement.dataset.theme ?? "auto");

export const isOperator = computed(() => ["operator", "admin"].includes(you.value?.role));

let held = { sort: "", keys: new Map() };
export const shown = computed(() => {
  const { sort } = view.value;
  if (held.sort !== sort + resort.value) held = { sort: sort + resort.value, keys: new Map() };
  return arrange(rows.value, view.value, held.keys);
});

/** Called once a second: one clock for all numbers that tick. */
export function tick() {
  now.value = Date.now() + clockSkew;
  const turn = Math.floor(now.value / RESORT_MS);
  const touching = document.querySelector(".sessions:hover, .sessions :focus-visible");
  if (turn !== resort.value && !touching && !selected.value.size) resort.value = turn;
}

/** Applies a batch of events; returns what has to be loaded again. */
export function take(events) {
  const result = applyEvents(rows.value, events);
  batch(() => {
    rows.value = result.rows;
    for (const event of events) {
      if (event.type !== "pool.updated") continue;
      const { point, ...state } = event.data;
      pool.value = state;
      if (history.value) history.value = addPoint(history.value, point ?? pointOf(state, event.at));
    }
    const open = session.value;
    const mine = open ? events.filter((event) => event.session_id === open.id || event.type === "gap") : [];
    if (mine.length) session.value = { ...open, log: addEvents(open.log ?? EMPTY_LOG, mine) };
  });
  return result;
}

export const patchLive = (change) => (live.value = { ...live.value, ...change });

export function heard(state = link.value.state) {
  link.value = { state, heard: now.value };
}

/** Those of these ids whose sessions can be ended. */
export const endable = (ids) => ids.filter((id) => rows.value.has(id) && !FINAL.has(rows.value.get(id).status));

let hush = 0;
export function say(text, bad = false) {
  clearTimeout(hush);
  notice.value = { text, bad };
  announce(text);
  hush = setTimeout(() => (notice.value = null), bad ? 8000 : 3000);
}
