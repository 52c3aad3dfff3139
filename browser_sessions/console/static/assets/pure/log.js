// One session's logs from its events: timeline, console, network, errors. Pure and bounded.

/** Lines of each log that are kept. */
export const KEEP = 500;

export const EMPTY_LOG = Object.freeze({
  timeline: [], console: [], network: [], errors: [], downloads: 0, dialog: null, waiting: 0, page: null, lastId: null, seen: 0,
});

/** Whether event id `<boot>-<seq>` comes after another one. Ids of two boots cannot be compared: then it does. */
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

const WATCHES = "Viewer connected";
const LEFT = "Viewer disconnected";
const REFUSED = "Connection refused";
const FAILED = "Connection failed";
const WATCHED = "Viewer connected and left";

const LINES = {
  "session.queued": () => ["○", "Waiting for a slot"],
  "session.active": () => ["●", "Ready"],
  "session.extended": (d) => ["●", "Extended", `by ${Math.round(d.seconds ?? 0)} s`],
  "session.ended": (d) => ["■", `Ended: ${d.status ?? "closed"}`, d.reason, d.status === "closed" ? "" : "bad"],
  "client.connected": (d) => (d.kind === "live" ? ["→", WATCHES] : ["→", "Client connected", d.kind]),
  "client.disconnected": (d) => (d.kind === "live" ? ["←", LEFT] : ["←", "Client disconnected", d.kind]),
  "control.taken": (d) => ["◆", "Control taken", d.by, "control"],
  "control.released": (d) => ["◇", "Control released", d.by, "control"],
  "page.opened": (d) => ["+", "Page opened", d.url],
  "page.closed": (d) => ["−", "Page closed", d.url],
  "page.crashed": (d) => ["▲", "Page crashed", d.url, "bad"],
  "page.navigated": (d) => (d.error ? ["▲", `Not loaded: ${d.error}`, d.url, "bad"] : ["↗", d.title || "Navigated", d.url]),
  "download.started": (d) => ["↓", "Download started", d.filename],
  "download.finished": (d) => ["↓", "Download finished", d.filename],
  "upload.added": (d) => ["↑", "Uploaded", d.name],
  "upload.removed": (d) => ["↑", "Upload removed", d.name],
  "egress.refused": (d) => ["⊘", REFUSED, `${d.host}:${d.port} (${d.rule})`],
  "egress.failed": (d) => ["⊘", FAILED, `${d.host}:${d.port} (${d.reason})`],
  "egress.traffic_limit": () => ["⊘", "Traffic limit reached", "", "bad"],
  "dialog.opened": (d) => ["?", `Dialog: ${d.type ?? "alert"}`, d.message],
  "dialog.closed": () => ["?", "Dialog closed"],
  gap: () => ["…", "Some events are missing"],
};

function push(list, item) {
  const next = list.length >= KEEP ? list.slice(list.length - KEEP + 1) : list.slice();
  next.push(item);
  return next;
}

/** A viewer who came and left while nothing else happened is one line, however often. So are refused
 * connections, and failed ones: the last one. */
function pushStep(list, item) {
  const last = list.at(-1);
  if ((item.text === REFUSED || item.text === FAILED) && last?.text === item.text) return push(list.slice(0, -1), item);
  if (item.text === LEFT && last?.text === WATCHES) {
    const before = list.at(-2)?.text === WATCHED ? list.slice(0, -2) : list.slice(0, -1);
    return push(before, { ...last, text: WATCHED });
  }
  return push(list, item);
}

/** The logs after one event. A replayed event changes nothing. */
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
    case "download.started":
    case "download.finished":
      next.downloads = log.downloads + 1;
      break;
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

/** Chromium reports a response of 400 and more twice, as a response and as a failure without a method: one line. */
function addRequest(list, key, event) {
  const { error, ...data } = event.data ?? {};
  const line = error == null ? data : { ...data, error };
  const from = Math.max(0, list.length - RECENT);
  for (let i = list.length - 1; i >= from; i -= 1) {
    const old = list[i];
    if (old.url !== line.url || old.page_id !== line.page_id || !isOtherHalf(old, line)) continue;
    const next = list.slice();
    next[i] = { ...old, ...line, method: line.method ?? old.method };
    return next;
  }
  return push(list, { key, at: event.at, ...line });
}

/** Lines in which the other half of a failed request is looked for. */
const RECENT = 20;

const isOtherHalf = (one, other) => {
  const [response, failure] = one.status == null ? [other, one] : [one, other];
  return response.status >= 400 && response.error == null && failure.error != null && failure.status == null;
};

export const addEvents = (log, events) => events.reduce(addEvent, log);
