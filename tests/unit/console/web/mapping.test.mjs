import assert from "node:assert/strict";
import test from "node:test";
import * as map from "../../../../browser_sessions/console/static/assets/pure/mapping.js";

test("a point in the scaled picture is mapped to the page", () => {
  const rect = { left: 100, top: 50, width: 640, height: 360 };
  assert.deepEqual(map.toPage(100, 50, rect, 1280, 720), { x: 0, y: 0, inside: true });
  assert.deepEqual(map.toPage(420, 230, rect, 1280, 720), { x: 640, y: 360, inside: true });
  assert.deepEqual(map.toPage(10, 900, rect, 1280, 720), { x: 0, y: 719, inside: false });
});

test("modifiers and buttons as CDP counts them", () => {
  assert.equal(map.modifiers({ altKey: true, shiftKey: true }), 9);
  assert.equal(map.modifiers({ ctrlKey: true, metaKey: true }), 6);
  assert.deepEqual([0, 1, 2, 4].map((button) => map.button({ button })), ["left", "middle", "right", "none"]);
  assert.deepEqual([0, 1, 2, 4].map(map.heldButton), ["none", "left", "right", "middle"]);
});

test("text keys have their text, shortcuts have none", () => {
  const facts = [[{ key: "a" }, "a"], [{ key: "É" }, "É"], [{ key: "😀" }, "😀"], [{ key: "Enter" }, "\r"], [{ key: "Tab" }, ""], [{ key: "a", ctrlKey: true }, ""], [{ key: "c", metaKey: true }, ""]];
  for (const [event, text] of facts) assert.equal(map.keyText(event), text, JSON.stringify(event));
  assert.equal(map.keyText({ key: "@", ctrlKey: true, altKey: true, getModifierState: (name) => name === "AltGraph" }), "@");
});

test("AltGr and Option enter characters, and a Mac's Cmd is Ctrl", () => {
  const fields = (event, keyboard) => map.keyFields({ code: "KeyQ", ...event }, keyboard);
  const control = { ctrlKey: true, altKey: true };
  const typed = (key, modifiers = 0) => ({ key, code: "KeyQ", text: key, modifiers });
  assert.deepEqual(fields({ key: "@", ...control }), typed("@"), "AltGr as Windows reports it");
  assert.deepEqual(fields({ key: "q", ...control, getModifierState: (name) => name === "AltGraph" }), typed("q"));
  assert.deepEqual(fields({ key: "q", ...control }), { key: "q", code: "KeyQ", text: "", modifiers: 3 }, "a shortcut");
  assert.deepEqual(fields({ key: "Ω", altKey: true, shiftKey: true }, { mac: true }), typed("Ω", 8), "Option on a Mac");
  assert.deepEqual(fields({ key: "q", altKey: true }), { key: "q", code: "KeyQ", text: "q", modifiers: 1 });
  assert.deepEqual(fields({ key: "ArrowLeft", altKey: true }, { mac: true }), { key: "ArrowLeft", code: "KeyQ", text: "", modifiers: 1 });
  const cmd = { metaKey: true };
  assert.deepEqual(fields({ key: "a", ...cmd }, { mac: true, swap: true }), { key: "a", code: "KeyQ", text: "", modifiers: 2 });
  assert.deepEqual(fields({ key: "a", ...cmd }, { mac: true }), { key: "a", code: "KeyQ", text: "", modifiers: 4 }, "a session that is a Mac");
  assert.deepEqual(fields({ key: "Meta", code: "MetaRight", ...cmd }, { mac: true, swap: true }), { key: "Control", code: "ControlRight", text: "", modifiers: 2 });
});

test("paste and input methods are left to the browser", () => {
  assert.equal(map.isPaste({ ctrlKey: true, key: "V" }), true);
  assert.equal(map.isPaste({ shiftKey: true, key: "Insert" }), true);
  assert.equal(map.isPaste({ key: "v" }), false);
  for (const event of [{ isComposing: true, key: "a" }, { key: "Process" }, { key: "Dead" }, { key: "Unidentified" }]) assert.equal(map.isComposing(event), true);
  assert.equal(map.isComposing({ key: "a", keyCode: 65 }), false);
});

test("wheel lines and pages are converted to px", () => {
  assert.deepEqual(map.wheelPixels({ deltaX: 0, deltaY: 3, deltaMode: 1 }, 720), { dx: 0, dy: 100 });
  assert.deepEqual(map.wheelPixels({ deltaX: 0, deltaY: -1, deltaMode: 2 }, 720), { dx: 0, dy: -720 });
  assert.deepEqual(map.wheelPixels({ deltaX: 4, deltaY: 8, deltaMode: 0 }, 720), { dx: 4, dy: 8 });
});

test("a button that is pressed or released while another is held is a move", () => {
  assert.equal(map.chord({ button: -1, buttons: 1 }), null);
  assert.equal(map.chord({ button: 2, buttons: 3 }), "down");
  assert.equal(map.chord({ button: 2, buttons: 1 }), "up");
  assert.equal(map.chord({ button: 0, buttons: 2 }), "up");
});

test("copying and cutting ask for the selection", () => {
  assert.equal(map.isCopy({ ctrlKey: true, key: "c" }), true);
  assert.equal(map.isCopy({ metaKey: true, key: "X" }), true);
  assert.equal(map.isCopy({ ctrlKey: true, altKey: true, key: "c" }), false);
  assert.equal(map.isCopy({ key: "c" }), false);
});

test("presses near in time and place count up", () => {
  const press = (at, x = 0, button = "left") => ({ at, x, y: 0, button });
  const first = { ...press(0), count: 1 };
  assert.equal(map.clickCount(null, press(0)), 1);
  assert.equal(map.clickCount(first, press(300)), 2);
  assert.equal(map.clickCount({ ...press(300), count: 2 }, press(600)), 3);
  assert.equal(map.clickCount(first, press(501)), 1);
  assert.equal(map.clickCount(first, press(100, 9)), 1);
  assert.equal(map.clickCount(first, press(100, 0, "right")), 1);
});

test("two quick Escapes release control", () => {
  assert.equal(map.isDoubleEscape(null, 100), false);
  assert.equal(map.isDoubleEscape(100, 1600), true);
  assert.equal(map.isDoubleEscape(100, 1601), false);
});

test("a typed address is completed", () => {
  const facts = [["example.com", "https://example.com"], [" http://a/ ", "http://a/"], ["about:blank", "about:blank"], ["", ""],
    ["localhost:8080/x", "http://localhost:8080/x"], ["127.0.0.1:8214/second", "http://127.0.0.1:8214/second"], ["127.1.2.3", "http://127.1.2.3"],
    ["a.localhost?q", "http://a.localhost?q"], ["[::1]:80#x", "http://[::1]:80#x"], ["https://localhost/", "https://localhost/"],
    ["shop.example:8443/localhost", "https://shop.example:8443/localhost"], ["127.0.0.1.example", "https://127.0.0.1.example"], ["x/a.localhost", "https://x/a.localhost"]];
  for (const [text, url] of facts) assert.equal(map.typedAddress(text), url, text);
});

test("the requested width is the displayed width in device px", () => {
  assert.equal(map.wantedWidth(1000, 1), 1024);
  assert.equal(map.wantedWidth(1000, 2), 2048);
  assert.equal(map.wantedWidth(10, 1), 320);
  assert.equal(map.wantedWidth(9000, 2), 3840);
});
