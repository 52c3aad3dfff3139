import assert from "node:assert/strict";
import test from "node:test";
import { addPoint, paths, refusals, pointAt, POINTS, pointOf, spanOf } from "../../../../browser_sessions/console/static/assets/pure/plots.js";

const at = (seconds) => new Date(Date.UTC(2031, 0, 1) + seconds * 1000).toISOString();
const point = (seconds, active) => ({ at: at(seconds), active });
const history = (...points) => ({ step_seconds: 10, points });
const end = Date.parse(at(3600));

test("a point within the step updates the last one, a later one is appended", () => {
  const near = addPoint(history(point(0, 1)), point(4, 2));
  assert.deepEqual(near.points, [{ at: at(0), active: 2 }]);
  assert.equal(addPoint(near, point(10, 3)).points.length, 2);
});

test("values missing in an update are kept", () => {
  const kept = addPoint(history({ at: at(0), loop_lag_ms: 3 }), pointOf({ taken: 1, queue: 0, browsers: [] }, at(2)));
  assert.equal(kept.points[0].loop_lag_ms, 3);
});

test("an hour is kept", () => {
  let now = history();
  for (let n = 0; n < POINTS + 5; n += 1) now = addPoint(now, point(n * 10, n));
  assert.equal(now.points.length, POINTS);
  assert.equal(now.points.at(-1).active, POINTS + 4);
});

test("lines start at zero and have gaps where points are missing", () => {
  const { line } = paths(history(point(0, 0), point(10, 10), point(1800, 10), point(1810, 10)), "active", end);
  assert.equal(line.match(/M/g).length, 2);
  assert.ok(line.startsWith("M0 31L1 "));
  assert.deepEqual(paths(history(), "active", end), { line: "", area: "" });
  assert.equal(paths(history(point(0, null)), "active", end).line, "");
});

test("a plot of zeros is the base line", () => {
  assert.equal(paths(history(point(0, 0), point(10, 0)), "active", end).line, "M0 31L1 31");
});

test("refusals are shown per step, and a counter reset counts none", () => {
  const counted = history(...[3, 3, 5, 1, 2].map((refused, n) => ({ at: at(n * 10), refused })));
  assert.deepEqual(refusals(counted).points.map((p) => p.refused), [0, 0, 2, 0, 1]);
});

test("the pointer finds the nearest point", () => {
  const now = history(point(0, 1), point(1800, 2), point(3600, 3));
  assert.deepEqual([0, 0.6, 1].map((part) => pointAt(now, part, end).active), [1, 2, 3]);
});

test("a plot spans the known time, from a minute to an hour", () => {
  const from = (...seconds) => spanOf(history(...seconds.map((at) => point(at, 1))), end);
  assert.deepEqual([from(3590), from(3300), from(0), from(-900, 3600), from()], [60, 300, 3600, 3600, 60]);
  assert.ok(paths(history(point(3000, 1), point(3010, 1)), "active", end).line.startsWith("M0 "));
});
