// Which sessions are shown, and in which order. Kept in the address, so that a view can be sent as a link. Pure.
import { FINAL, STATUSES, UNRESPONSIVE, isUnresponsive, nameOf } from "./rows.js";
import { hostOf, moment } from "./format.js";

export const DEFAULT_VIEW = Object.freeze({ text: "", status: [], owner: "", sort: "age", down: false, layout: "grid" });

/** Columns of the table, and what each sorts by. `down`: the first click sorts from the largest. */
export const COLUMNS = [
  { name: "status", label: "Status", by: (row) => STATUSES.indexOf(row.status) },
  { name: "title", label: "Page", by: (row) => nameOf(row).toLowerCase() },
  { name: "host", label: "Host", by: (row) => hostOf(row.url) },
  { name: "owner", label: "Owner", by: (row) => (row.owner_name || row.owner || "").toLowerCase() },
  { name: "age", label: "Age", number: true, by: (row) => -(moment(row.created_at) ?? 0) },
  { name: "quiet", label: "Idle", number: true, by: (row) => -(moment(row.last_activity) ?? 0) },
  { name: "expiry", label: "Expires", number: true, by: (row) => moment(row.ended_at ?? row.expires_at) ?? Infinity },
  { name: "pages", label: "Pages", number: true, down: true, by: (row) => row.page_count ?? 0 },
  { name: "connections", label: "Clients", number: true, down: true, by: (row) => row.connections ?? 0 },
  { name: "viewers", label: "Viewers", number: true, down: true, by: (row) => row.viewers ?? 0 },
  { name: "memory", label: "Memory", number: true, down: true, by: (row) => row.memory_bytes ?? -1 },
  { name: "browser", label: "Browser", by: (row) => row.browser_id ?? "" },
  { name: "id", label: "Session", by: (row) => row.session_id },
];
const BY_NAME = new Map(COLUMNS.map((column) => [column.name, column]));

/** Values of the status filter. */
export const FILTERS = STATUSES.flatMap((status) => (status === "active" ? [status, UNRESPONSIVE] : [status]));

/** The view that an address asks for; unknown values are ignored. */
export function readView(params) {
  const sort = params.get("sort") ?? "";
  const name = sort.replace(/^-/, "");
  return {
    text: params.get("q") ?? "",
    status: (params.get("status") ?? "").split(",").filter((s) => FILTERS.includes(s)),
    owner: params.get("owner") ?? "",
    sort: BY_NAME.has(name) ? name : DEFAULT_VIEW.sort,
    down: BY_NAME.has(name) && sort.startsWith("-"),
    layout: params.get("view") === "table" ? "table" : "grid",
  };
}

/** The shortest query string that `readView` reads back as this view; "" for the default one. */
export function writeView(view) {
  const params = new URLSearchParams();
  if (view.text) params.set("q", view.text);
  if (view.status.length) params.set("status", view.status.join(","));
  if (view.owner) params.set("owner", view.owner);
  if (view.sort !== DEFAULT_VIEW.sort || view.down) params.set("sort", (view.down ? "-" : "") + view.sort);
  if (view.layout !== "grid") params.set("view", view.layout);
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** After a click on a column's heading: reversed if it is sorted by that column already. */
export function sortedBy(view, name) {
  const column = BY_NAME.get(name);
  return { ...view, sort: name, down: view.sort === name ? !view.down : Boolean(column.down) };
}

/** All words must match somewhere; `key=value` matches this metadata (an empty value any); quotes keep spaces. */
export function parseQuery(text) {
  const query = { words: [], pairs: [] };
  for (const quoted of text.match(/(?:"[^"]*"|\S)+/g) ?? []) {
    const part = quoted.replaceAll('"', "");
    if (!part) continue;
    const cut = part.indexOf("=");
    if (cut > 0 && !part.includes("://")) query.pairs.push([part.slice(0, cut), part.slice(cut + 1)]);
    else query.words.push(part.toLowerCase());
  }
  return query;
}

export function matches(row, view, query = parseQuery(view.text)) {
  const { status } = view;
  if (status.length && !status.includes(row.status) && !(status.includes(UNRESPONSIVE) && isUnresponsive(row))) return false;
  if (view.owner && row.owner !== view.owner && row.owner_name !== view.owner) return false;
  for (const [key, value] of query.pairs) {
    const has = row.metadata?.[key];
    if (has === undefined || (value && String(has) !== value)) return false;
  }
  if (!query.words.length) return true;
  const { title, url, session_id: id, owner_name: name, owner, end_reason: reason, browser_id: browser } = row;
  const hay = [title, url, id, name, owner, reason, browser, ...Object.values(row.metadata ?? {})].join("\n").toLowerCase();
  return query.words.every((word) => hay.includes(word));
}

/**
 * Ids in the order of the screen: live ones first, then by the view's column, newest first among equals.
 * `held` keeps the sort key of each session, so that changing numbers do not move cards.
 */
export function arrange(rows, view, held = new Map()) {
  const { by } = BY_NAME.get(view.sort);
  const query = parseQuery(view.text);
  const turn = view.down ? -1 : 1;
  const found = [];
  for (const [id, row] of rows) {
    if (!matches(row, view, query)) continue;
    if (!held.has(id)) held.set(id, by(row));
    found.push({ id, final: FINAL.has(row.status), key: held.get(id), born: row.created_at });
  }
  found.sort(
    (a, b) =>
      a.final - b.final || turn * compare(a.key, b.key) || compare(b.born, a.born) || compare(a.id, b.id),
  );
  return found.map((item) => item.id);
}

function compare(a, b) {
  if (typeof a === "string" && typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** The index that an arrow key leads to, in a grid of `columns`. */
export function step(index, key, count, columns) {
  if (count === 0) return -1;
  if (index < 0) return 0;
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -index, End: count - 1 - index };
  const next = index + (moves[key] ?? 0);
  return next < 0 || next >= count ? index : next;
}
