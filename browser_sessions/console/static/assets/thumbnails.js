// Pictures of the cards on the screen.
import { sessionPath } from "./api.js";
import { link } from "./store.js";

/** At most one picture a second and card (docs/console.md), less often for a picture that does not change. */
const FASTEST_MS = 1000;
const SLOWEST_MS = 5000;
/** Concurrent requests: of a browser's six connections to a server, one has the events, one is for actions. */
const AT_ONCE = 4;
const TICK_MS = 200;

const cards = new Map();
let flying = 0;
let timer = 0;

const onScreen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const card = cards.get(entry.target);
      if (!card) continue;
      card.visible = entry.isIntersecting;
      card.onVisible(card.visible);
    }
  },
  { rootMargin: "80px" },
);

/** Keeps image `picture` inside `element` up to date while it is on the screen; returns a function that stops. */
export function watch(element, picture, id, onVisible) {
  const card = { id, picture, onVisible, visible: false, due: 0, last: 0, wait: FASTEST_MS, etag: null, live: true };
  cards.set(element, card);
  onScreen.observe(element);
  timer ||= setInterval(turn, TICK_MS);
  return () => {
    onScreen.unobserve(element);
    card.gone = true;
    URL.revokeObjectURL(picture.src);
    cards.delete(element);
    if (!cards.size) timer = void clearInterval(timer);
  };
}

/** The session's picture may have changed: refresh it soon. */
export function nudge(id) {
  for (const card of cards.values()) {
    if (card.id !== id) continue;
    card.wait = FASTEST_MS;
    card.due = Math.min(card.due, card.last + FASTEST_MS);
  }
}

/** Milliseconds until the next request. */
export const nextWait = (wait, changed) => (changed ? FASTEST_MS : Math.min(SLOWEST_MS, wait * 1.5));

/** An ended session's last picture is requested once. */
export function settle(element, live) {
  const card = cards.get(element);
  if (!card || card.live === live) return;
  card.live = live;
  card.due = card.last + FASTEST_MS;
}

function turn() {
  if (document.hidden || link.peek().state === "lost") return;
  const now = performance.now();
  const due = [...cards.values()].filter((card) => card.visible && !card.busy && card.due <= now);
  due.sort((a, b) => a.due - b.due);
  for (const card of due.slice(0, AT_ONCE - flying)) refresh(card, now);
}

async function refresh(card, now) {
  card.busy = true;
  card.last = now;
  flying += 1;
  let changed = false;
  let answered = false;
  try {
    const answer = await fetch(`${sessionPath(card.id)}/thumbnail?width=320`, { cache: "no-cache" });
    answered = answer.ok;
    if (answer.status === 204) card.picture.classList.add("none");
    const etag = answer.headers.get("ETag");
    if (answer.status === 200 && (!etag || etag !== card.etag)) {
      await show(card, await answer.blob());
      card.etag = etag;
      changed = true;
    }
  } catch {
    // no picture this time; the event stream reports a lost connection
  } finally {
    flying -= 1;
    card.busy = false;
    card.wait = nextWait(card.wait, changed);
    card.due = card.live || !answered ? now + card.wait : Infinity;
    turn();
  }
}

/** An image scrolls cheaper than a canvas; decoded first, it replaces the old one without a flash. */
async function show(card, blob) {
  const { picture } = card;
  const next = new Image();
  next.src = URL.createObjectURL(blob);
  await next.decode();
  if (card.gone) return URL.revokeObjectURL(next.src);
  URL.revokeObjectURL(picture.src);
  picture.src = next.src;
  picture.classList.replace("none", "drawn") || picture.classList.add("drawn");
}
