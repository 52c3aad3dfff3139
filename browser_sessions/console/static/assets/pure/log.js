// One session's story from its events: timeline, console, network, errors. Pure and bounded.

/** Lines of each kind that are kept: enough to read back through, small enough for a phone. */
export const KEEP = 500;

export const EMPTY_LOG = Object.freeze({
  timeline: [], console: [], network: [], errors: [], dialog: null, waiting: 0, page: null, lastId: null, seen: 0,
});

/** Order of two event ids `<boot>-<seq>` of one boot; of two boots nothing can be said, so the event counts as new. */
export function isAfter(id, last) {
  if (!last || !id) return true;
  const [boot, seq] = split(id);
  const [lastBoot, lastSeq] = split(last);
  return boot !== lastBoot || seq > lastSeq;
}

function split(id) {
  const cut = String(id).lastIndexOf("-");
  return [id.slice(0, cut), Number(id.slice(cut + 1))];
}

const WATCHES = "Somebody watches";
const WATCHED = "Somebody watched";

const LINES = {
  "session.queued": () => ["○", "Waiting for a place"],
  "session.active": () => ["●", "Ready"],
  "session.extended": (d) => ["●", "Extended", `by ${Math.round(d.seconds ?? 0)} s`],
  "session.ended": (d) => ["■", `Ended: ${d.status ?? "closed"}`, d.reason, d.status === "closed" ? "" : "bad"],
  "client.connected": (d) => (d.kind === "live" ? ["→", WATCHES] : ["→", "Client connected", d.kind]),
  "client.disconnected": (d) => (d.kind === "live" ? ["←", "Watcher left"] : ["←", "Client left", d.kind]),
  "control.taken": (d) => ["◆", "Wheel taken", d.by, "drive"],
  "control.released": (d) => ["◇", "Wheel given back", d.by, "drive"],
  "page.opened": (d) => ["+", "Page opened", d.url],
  "page.closed": (d) => ["−", "Page closed", d.url],
  "page.crashed": (d) => ["▲", "Page crashed", d.url, "bad"],
  "page.navigated": (d) => ["↗", d.title || "Navigated", d.url],
  "download.started": (d) => ["↓", "Download started", d.filename],
  "download.finished": (d) => ["↓", "Download finished", d.filename],
  "dialog.opened": (d) => ["?", `Dialog: ${d.type ?? "alert"}`, d.message],
  "dialog.closed": () => ["?", "Dialog closed"],
  gap: () => ["…", "Some events were missed"],
};

function push(list, item) {
  const next = list.length >= KEEP ? list.slice(list.length - KEEP + 1) : list.slice();
  next.push(item);
  return next;
}

/** A watcher who came and left, while nothing else happened, is one line, however often. */
function pushStep(list, item) {
  const last = list.at(-1);
  if (item.text === "Watcher left" && last?.text === WATCHES) {
    const before = list.at(-2)?.text === WATCHED ? list.slice(0, -2) : list.slice(0, -1);
    return push(before, { ...last, text: WATCHED });
  }
  return push(list, item);
}

/** The log after one event. Events that came before (a replay) change nothing. */
export function addEvent(log, event) {
  if (event.id && !isAfter(event.id, log.lastId)) return log;
  const next = { ...log, lastId: event.id ?? log.lastId, seen: log.seen + 1 };
  const data = event.data ?? {};
  const line = LINES[event.type];
  if (line) {
    const [sign, text, detail, tone] = line(data);
    next.timeline = pushStep(log.timeline, { key: next.seen, at: event.at, sign, text, detail: detail ?? "", tone: tone ?? "" });
  }
  switch (event.type) {
    case "console":
      next.console = push(log.console, { key: next.seen, at: event.at, ...data });
      if (data.level === "error") next.errors = push(log.errors, { key: next.seen, at: event.at, ...data });
      break;
    case "page.error":
      next.errors = push(log.errors, { key: next.seen, at: event.at, level: "error", ...data });
      break;
    case "page.crashed":
      next.errors = push(log.errors, { key: next.seen, at: event.at, level: "crash", text: "The page crashed", ...data });
      break;
    case "network.request":
    case "network.response":
    case "network.failed":
      next.network = addRequest(log.network, next.seen, event);
      break;
    case "page.navigated":
      next.page = data;
      break;
    case "dialog.opened":
      next.dialog = data;
      break;
    case "dialog.closed":
      next.dialog = null;
      break;
    case "control.waiting":
      next.waiting = data.count ?? 0;
      break;
    case "control.released":
      next.waiting = 0;
      break;
    case "session.ended":
      next.dialog = null;
      next.waiting = 0;
      break;
  }
  return next;
}

/** An answer takes the line of its request where that is still open; else it gets a line of its own. */
function addRequest(list, key, event) {
  const data = event.data ?? {};
  const line = { key, at: event.at, ...data, open: event.type === "network.request" };
  if (!line.open) {
    for (let i = list.length - 1; i >= 0; i -= 1) {
      const old = list[i];
      if (old.open && old.url === data.url && old.method === data.method && old.page_id === data.page_id) {
        const next = list.slice();
        next[i] = { ...old, ...line, key: old.key, at: old.at };
        return next;
      }
    }
  }
  return push(list, line);
}

export const addEvents = (log, events) => events.reduce(addEvent, log);
