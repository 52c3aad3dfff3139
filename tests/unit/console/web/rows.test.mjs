import assert from "node:assert/strict";
import test from "node:test";
import { applyEvents, counts, fromOverview, nextRow, owners, stateOf } from "../../../../browser_sessions/console/static/assets/pure/rows.js";

const row = (id, more = {}) => ({ session_id: id, status: "active", owner: "p1", owner_name: "anna", page_count: 1, title: "T", url: "https://a.example/", ...more });
const event = (type, id, data = {}) => ({ type, session_id: id, at: "2031-01-01T00:00:00Z", data });

test("an update changes its own row and no other", () => {
  const before = fromOverview([row("a"), row("b")]);
  const { rows, missing } = applyEvents(before, [event("session.updated", "a", { memory_bytes: 5 })]);
  assert.equal(rows.get("a").memory_bytes, 5);
  assert.equal(rows.get("b"), before.get("b"));
  assert.equal(before.get("a").memory_bytes, undefined);
  assert.equal(missing, false);
});

test("an event without a change keeps the same rows object", () => {
  const before = fromOverview([row("a", { metadata: { k: "v" } })]);
  const { rows } = applyEvents(before, [event("session.updated", "a", { title: "T", metadata: { k: "v" } }), event("console", "a", { text: "x" })]);
  assert.equal(rows, before);
});

test("an ended session stays, with its reason", () => {
  const { rows } = applyEvents(fromOverview([row("a", { connections: 2 })]), [event("session.ended", "a", { status: "crashed", reason: "browser_crashed" })]);
  const { status, end_reason, ended_at, connections } = rows.get("a");
  assert.deepEqual([status, end_reason, ended_at, connections], ["crashed", "browser_crashed", "2031-01-01T00:00:00Z", 0]);
});

test("late events do not change a final status", () => {
  const ended = row("a", { status: "expired" });
  assert.equal(nextRow(ended, event("session.active", "a")), ended);
  assert.equal(nextRow(ended, event("session.updated", "a", { status: "active" })), ended);
});

test("an unknown session and a gap request a new overview", () => {
  assert.equal(applyEvents(new Map(), [event("session.active", "new")]).missing, true);
  assert.equal(applyEvents(new Map(), [event("gap", null)]).missing, true);
  assert.equal(applyEvents(new Map(), [event("console", "new", { text: "hi" })]).missing, false);
});

test("an event with its row needs no new overview", () => {
  const { rows, missing } = applyEvents(new Map(), [event("session.queued", "new", { row: row("new", { status: "queued" }) })]);
  assert.equal(missing, false);
  assert.equal(rows.get("new").status, "queued");
});

test("sessions whose thumbnail may have changed are touched", () => {
  const { touched } = applyEvents(fromOverview([row("a"), row("b")]), [
    event("session.updated", "a", { last_activity: "2031-01-01T00:00:01Z" }), event("session.updated", "b", { memory_bytes: 9 }),
  ]);
  assert.deepEqual([...touched], ["a"]);
});

test("the holder of control is shown", () => {
  const { rows } = applyEvents(fromOverview([row("a")]), [event("control.taken", "a", { by: "olga" })]);
  assert.equal(rows.get("a").controlled_by, "olga");
});

test("counts and owners", () => {
  const rows = fromOverview([row("a"), row("b", { owner: "p2", owner_name: "bo" }), row("c", { status: "lost" })]);
  assert.equal(counts(rows).active, 2);
  assert.equal(counts(rows).lost, 1);
  assert.deepEqual(owners(rows), [["p1", "anna", 2], ["p2", "bo", 1]]);
});

test("an unresponsive session is counted as such and as active, until it responds", () => {
  const hung = row("a", { responsive: false });
  const found = counts(fromOverview([hung, row("b"), row("c", { status: "closed", responsive: false })]));
  assert.deepEqual([found.active, found.unresponsive, found.closed], [2, 1, 1]);
  assert.equal(stateOf(hung), "unresponsive");
  assert.equal(stateOf(nextRow(hung, event("session.updated", "a", { responsive: true }))), "active");
  assert.equal(stateOf(row("c", { status: "closed", responsive: false })), "closed");
});
