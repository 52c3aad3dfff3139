// The overview's rows, and how events change them. Pure; rows are never changed in place.

export const FINAL = new Set(["closed", "expired", "crashed", "lost"]);
export const STATUSES = ["queued", "starting", "active", "closing", "closed", "expired", "crashed", "lost"];

/** A filter beside the statuses: active, but its page does not respond. */
export const UNRESPONSIVE = "unresponsive";

export const isUnresponsive = (row) => row.status === "active" && row.responsive === false;

/** The status as it is shown. */
export const stateOf = (row) => (isUnresponsive(row) ? UNRESPONSIVE : row.status);

export const isFinal = (row) => FINAL.has(row.status);

/** The title of a row, else its address. */
export function nameOf(row) {
  return row.title || row.url || (isFinal(row) ? "no page" : "no page yet");
}

export function fromOverview(list) {
  return new Map(list.map((row) => [row.session_id, row]));
}

const STEPS = {
  "session.queued": () => ({ status: "queued" }),
  "session.active": (row, data) => ({ status: "active", browser_id: data.browser_id ?? row.browser_id }),
  "session.updated": (row, data) => data,
  "session.ended": (row, data, at) => ({
    status: data.status ?? "closed",
    end_reason: data.reason ?? null,
    ended_at: data.ended_at ?? at,
    connections: 0,
    viewers: 0,
    controlled_by: null,
  }),
  "control.taken": (row, data) => ({ controlled_by: data.by ?? "another user" }),
  "control.released": () => ({ controlled_by: null }),
};

/** One row after one event; the same object when nothing changed. A final status is never left again. */
export function nextRow(row, event) {
  const step = STEPS[event.type];
  if (!step) return row;
  const change = step(row, event.data ?? {}, event.at);
  if (isFinal(row) && "status" in change && !FINAL.has(change.status)) delete change.status;
  for (const name in change) if (!same(row[name], change[name])) return { ...row, ...change };
  return row;
}

function same(a, b) {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}

/**
 * The rows after a batch of events. `missing`: there were events of unknown sessions, or a gap, so the overview must be
 * loaded again. `touched`: sessions whose picture may have changed.
 */
export function applyEvents(rows, events) {
  let next = rows;
  let missing = false;
  const touched = new Set();
  for (const event of events) {
    if (event.type === "gap") missing = true;
    const id = event.session_id;
    if (!id) continue;
    const row = next.get(id) ?? (event.data?.row ?? null);
    if (!row) {
      if (event.type.startsWith("session.")) missing = true;
      continue;
    }
    const after = nextRow(row, event);
    if (after !== next.get(id)) {
      if (next === rows) next = new Map(rows);
      next.set(id, after);
      if (after.last_activity !== row.last_activity || after.url !== row.url || after.status !== row.status) touched.add(id);
    }
  }
  return { rows: next, missing, touched };
}

/** Number of sessions by status; unresponsive ones are counted as such and as active. */
export function counts(rows) {
  const found = Object.fromEntries([...STATUSES, UNRESPONSIVE].map((status) => [status, 0]));
  for (const row of rows.values()) {
    found[row.status] = (found[row.status] ?? 0) + 1;
    if (isUnresponsive(row)) found[UNRESPONSIVE] += 1;
  }
  return found;
}

/** Owners by name, for the filter: [[owner, name, count], ...]. */
export function owners(rows) {
  const found = new Map();
  for (const row of rows.values()) {
    const known = found.get(row.owner);
    if (known) known[2] += 1;
    else found.set(row.owner, [row.owner, row.owner_name || row.owner, 1]);
  }
  return [...found.values()].sort((a, b) => a[1].localeCompare(b[1]));
}
