import assert from "node:assert/strict";
import test from "node:test";
import { addEvents, EMPTY_LOG, isAfter, KEEP } from "../../../../browser_sessions/console/static/assets/pure/log.js";

let seq = 0;
const event = (type, data = {}) => ({ id: `boot-${(seq += 1)}`, type, at: "2031-01-01T00:00:00Z", session_id: "a", data });

test("events are added to their lists", () => {
  const log = addEvents(EMPTY_LOG, [
    event("session.active"), event("console", { level: "info", text: "hi" }), event("console", { level: "error", text: "oh" }), event("page.error", { text: "TypeError" }),
    event("page.crashed", { page_id: "p" }), event("network.failed", { url: "https://x/", method: "GET", error: "net::ERR" }), event("session.ended", { status: "crashed", reason: "browser_crashed" }),
  ]);
  assert.deepEqual(log.timeline.map((line) => line.text), ["Ready", "Page crashed", "Ended: crashed"]);
  assert.deepEqual(log.console.map((line) => line.text), ["hi", "oh"]);
  assert.deepEqual(log.errors.map((line) => line.text), ["oh", "TypeError", "The page crashed"]);
  assert.equal(log.network.length, 1);
});

test("refused connections in a row are one line, the last one", () => {
  const refused = (port) => event("egress.refused", { host: "10.0.0.1", port, address: "10.0.0.1", rule: "10.0.0.0/8" });
  const log = addEvents(EMPTY_LOG, [refused(1), refused(2), event("page.opened", { url: "https://x/" }), refused(3)]);
  assert.deepEqual(log.timeline.map((line) => line.detail), ["10.0.0.1:2 (10.0.0.0/8)", "https://x/", "10.0.0.1:3 (10.0.0.0/8)"]);
});

test("failed connections are lines with their reason, and in a row one line", () => {
  const failed = (port) => event("egress.failed", { host: "a.example", port, reason: "No." });
  const log = addEvents(EMPTY_LOG, [failed(1), failed(2), event("egress.refused", { host: "b.example", port: 3, rule: "b.example" })]);
  assert.deepEqual(log.timeline.map((line) => `${line.text}: ${line.detail}`), ["Connection failed: a.example:2 (No.)", "Connection refused: b.example:3 (b.example)"]);
});

test("replayed events are not added again", () => {
  const events = [event("console", { text: "1" }), event("console", { text: "2" })];
  const log = addEvents(EMPTY_LOG, events);
  assert.equal(addEvents(log, events), log);
});

test("ids are compared as numbers, within one boot", () => {
  assert.equal(isAfter("b-10", "b-9"), true);
  assert.equal(isAfter("b-9", "b-10"), false);
  assert.equal(isAfter("b-9", "b-9"), false);
  assert.equal(isAfter("b-with-dash-10", "b-with-dash-9"), true);
  assert.equal(isAfter("other-1", "b-10"), true);
});

test("a response of 400 and more and its failure are one line, in either order", () => {
  const response = { page_id: "p", url: "https://x/", method: "GET", status: 404, type: "fetch", ms: 12, size: 90 };
  const failure = { page_id: "p", url: "https://x/", method: null, error: "status of 404" };
  for (const pair of [[["network.response", response], ["network.failed", failure]], [["network.failed", failure], ["network.response", response]]]) {
    const { network } = addEvents(EMPTY_LOG, pair.map(([type, data]) => event(type, data)));
    assert.equal(network.length, 1);
    assert.deepEqual([network[0].method, network[0].status, network[0].error, network[0].size], ["GET", 404, "status of 404", 90]);
  }
});

test("repeated requests of a URL have one line each", () => {
  const answered = { page_id: "p", url: "https://x/", method: "GET", status: 200 };
  const failed = { page_id: "p", url: "https://x/", method: null, error: "net::ERR_FAILED" };
  const log = addEvents(EMPTY_LOG, [event("network.response", answered), event("network.response", answered), event("network.failed", failed), event("network.failed", failed)]);
  assert.equal(log.network.length, 4);
});

test("lists are bounded, and the newest stay", () => {
  const log = addEvents(EMPTY_LOG, Array.from({ length: KEEP + 20 }, (_, n) => event("console", { text: String(n) })));
  assert.equal(log.console.length, KEEP);
  assert.equal(log.console.at(-1).text, String(KEEP + 19));
  assert.equal(new Set(log.console.map((line) => line.key)).size, KEEP);
});

test("a dialog is kept until it is closed or the session ends; waiting commands until release", () => {
  const open = addEvents(EMPTY_LOG, [event("dialog.opened", { type: "confirm", message: "Sure?" }), event("control.waiting", { count: 3 })]);
  assert.deepEqual([open.dialog.message, open.waiting], ["Sure?", 3]);
  assert.equal(addEvents(open, [event("dialog.closed")]).dialog, null);
  assert.equal(addEvents(open, [event("session.ended", {})]).dialog, null);
  assert.equal(addEvents(open, [event("control.released", {})]).waiting, 0);
});

test("repeated connects and disconnects of viewers share one line, other lines are kept", () => {
  const came = () => event("client.connected", { kind: "live" });
  const left = () => event("client.disconnected", { kind: "live" });
  const log = addEvents(EMPTY_LOG, [event("session.active"), came(), left(), came(), left(), came()]);
  assert.deepEqual(log.timeline.map((line) => line.text), ["Ready", "Viewer connected and left", "Viewer connected"]);
  const two = addEvents(EMPTY_LOG, [came(), came(), left(), event("control.taken", { by: "olga" }), left()]);
  assert.deepEqual(two.timeline.map((line) => line.text), ["Viewer connected", "Viewer connected and left", "Control taken", "Viewer disconnected"]);
});

test("a page that did not load is not one that has navigated", () => {
  const { timeline } = addEvents(EMPTY_LOG, [event("page.navigated", { url: "https://a/", error: "net::ERR_A" }), event("page.navigated", { url: "https://b/", title: "" })]);
  assert.deepEqual(timeline.map(({ text, tone }) => [text, tone]), [["Not loaded: net::ERR_A", "bad"], ["Navigated", ""]]);
});
