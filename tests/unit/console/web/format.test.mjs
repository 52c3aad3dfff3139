import assert from "node:assert/strict";
import test from "node:test";
import { bytes, clip, clock, countdown, duration, hostOf, maskTicket, moment, placeOf, statusIn } from "../../../../browser_sessions/console/static/assets/pure/format.js";

test("bytes use the unit that keeps them short", () => {
  const facts = [[null, "–"], [0, "0 B"], [999, "999 B"], [1536, "1.5 kB"], [182_400_000, "182 MB"], [999_700_000, "1.0 GB"], [6.54e9, "6.5 GB"], [5e15, "5000 TB"]];
  for (const [n, text] of facts) assert.equal(bytes(n), text, n);
});

test("durations have the two largest units", () => {
  const facts = [[-3, "0s"], [59.9, "59s"], [60, "1m"], [3599, "59m"], [3600, "1h"], [11100, "3h 5m"], [187200, "2d 4h"], [NaN, "–"], [null, "–"]];
  for (const [n, text] of facts) assert.equal(duration(n), text, n);
});

test("a countdown below ten minutes shows its seconds", () => {
  for (const [n, text] of [[5, "5s"], [245, "4m 05s"], [599, "9m 59s"], [600, "10m"]]) assert.equal(countdown(n), text, n);
});

test("an invalid time is null", () => {
  for (const text of [null, undefined, "soon"]) assert.equal(moment(text), null);
  assert.equal(clock("never"), "–");
});

test("a look-alike host shows as punycode", () => {
  assert.equal(hostOf("https://аpple.com/login"), "xn--pple-43d.com");
  assert.equal(hostOf("https://user:pw@shop.example:8443/x"), "shop.example:8443");
  assert.equal(hostOf("data:text/html,<script>1</script>"), "data:");
  assert.equal(hostOf("about:blank"), "about:blank");
  assert.equal(hostOf("not an address"), "not an address");
  assert.equal(hostOf(null), "");
});

test("control and direction characters in text of a page are replaced", () => {
  assert.equal(clip("safe\u202Egpj.exe"), "safe\ufffdgpj.exe");
  assert.equal(clip("a\u0000b\u001bc"), "a\ufffdb\ufffdc");
  assert.equal(clip("two\nlines\tand a tab"), "two\nlines\tand a tab");
  assert.equal(clip("x".repeat(400)).length, 301);
  assert.equal(clip(undefined), "");
});

test("the place of a log line is its file and line", () => {
  assert.equal(placeOf("https://a.example/js/app.js?v=1", 41), "app.js:41");
  assert.equal(placeOf("https://a.example/", null), "a.example");
  assert.equal(placeOf("", 3), ":3");
});

test("a ticket is masked", () => {
  assert.equal(maskTicket("ws://h/cdp?a=1&ticket=abc.def&b=2"), "ws://h/cdp?a=1&ticket=•••&b=2");
});

test("an error response has its status, a failed request has none", () => {
  assert.equal(statusIn("the server responded with a status of 404 (Not Found)"), "404");
  assert.equal(statusIn("net::ERR_FAILED"), null);
  assert.equal(statusIn(null), null);
});
