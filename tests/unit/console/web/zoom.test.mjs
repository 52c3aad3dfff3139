import assert from "node:assert/strict";
import test from "node:test";
import { clampZoom, distance, middle, percent, stepZoom } from "../../../../browser_sessions/console/static/assets/pure/zoom.js";

test("scales are limited, and what is no larger than the fitted picture is fitted", () => {
  assert.equal(clampZoom(0.5, 0.66), 0);
  assert.equal(clampZoom(0.67, 0.66), 0);
  assert.equal(clampZoom(0.7, 0.66), 0.7);
  assert.equal(clampZoom(9, 0.66), 4);
  assert.equal(clampZoom(0.05, 0.01), 0.1);
});

test("steps go from what is shown to the next scale of the list", () => {
  const up = [0.75, 1, 1.5, 2, 4, 4];
  let zoom = 0;
  for (const next of up) assert.equal((zoom = stepZoom(zoom, 0.66, 1)), next);
  for (const next of [2, 1.5, 1, 0.75, 0, 0]) assert.equal((zoom = stepZoom(zoom, 0.66, -1)), next);
});

test("two fingers have a distance and a middle", () => {
  const fingers = [{ clientX: 0, clientY: 0 }, { clientX: 30, clientY: 40 }];
  assert.equal(distance(fingers), 50);
  assert.deepEqual(middle(fingers), { clientX: 15, clientY: 20 });
  assert.equal(percent(2 / 3), "67 %");
});
