import assert from "node:assert/strict";
import test from "node:test";
import { arrange, COLUMNS, DEFAULT_VIEW, matches, parseQuery, readView, sortedBy, step, writeView } from "../../../../browser_sessions/console/static/assets/pure/view.js";

const row = (id, more = {}) => ({
  session_id: id, status: "active", owner: "p1", owner_name: "anna", title: "Kettles", url: "https://nordlys.example/k", metadata: { team: "search" },
  created_at: "2031-01-01T00:00:00Z", last_activity: "2031-01-01T00:00:00Z", expires_at: "2031-01-01T00:05:00Z", memory_bytes: 1, ...more,
});
const view = (more = {}) => ({ ...DEFAULT_VIEW, ...more });
const rows = (...list) => new Map(list.map((r) => [r.session_id, r]));

test("a view round-trips through the URL", () => {
  const wanted = view({ text: "kettle team=search a&b=c", status: ["active", "crashed"], owner: "p1", sort: "memory", down: true, layout: "table" });
  assert.deepEqual(readView(new URLSearchParams(writeView(wanted))), wanted);
  assert.equal(writeView(view()), "");
});

test("invalid parts of a URL are ignored", () => {
  const read = readView(new URLSearchParams("?status=active,nonsense&sort=-__proto__&view=cube"));
  assert.deepEqual(read, view({ status: ["active"] }));
});

test("filters by words, pairs, status and owner", () => {
  const facts = [
    ["kettle", true], ["KETTLES nordlys", true], ["kettle pot", false], ["team=search", true], ["team=sea", false], ["team=Search", false], ["team=checkout", false], ["team=", true], ["nobody=", false],
    ["https://nordlys.example/k?x=1", false], ["https://nordlys.example/k", true],
  ];
  for (const [text, yes] of facts) assert.equal(matches(row("a"), view({ text })), yes, text);
  assert.equal(matches(row("a"), view({ status: ["queued"] })), false);
  assert.equal(matches(row("a"), view({ owner: "anna" })), true);
  assert.equal(matches(row("a"), view({ owner: "p2" })), false);
  assert.deepEqual(parseQuery(" a=b  c "), { words: ["c"], pairs: [["a", "b"]] });
  assert.deepEqual(parseQuery('a="B c" "d e" "f'), { words: ["d e", "f"], pairs: [["a", "B c"]] });
});

test("unresponsive pages have a filter and are also active", () => {
  const hung = row("h", { responsive: false });
  const both = rows(hung, row("a", { responsive: true }), row("x", { status: "crashed", responsive: false }));
  assert.deepEqual(arrange(both, view({ status: ["unresponsive"] })), ["h"]);
  assert.deepEqual(arrange(both, view({ status: ["active"] })), ["a", "h"]);
  assert.deepEqual(readView(new URLSearchParams("?status=unresponsive")).status, ["unresponsive"]);
});

test("live sessions come before ended ones in any order", () => {
  const list = rows(row("x", { status: "closed", memory_bytes: 99 }), row("a", { memory_bytes: 1 }), row("b", { memory_bytes: 2 }));
  assert.deepEqual(arrange(list, view({ sort: "memory", down: true })), ["b", "a", "x"]);
  assert.deepEqual(arrange(list, view({ sort: "memory" })), ["a", "b", "x"]);
});

test("every column sorts, also with missing values", () => {
  const bare = { session_id: "z", status: "queued", created_at: "2031-01-01T00:00:01Z" };
  for (const { name } of COLUMNS) {
    for (const down of [false, true]) assert.equal(arrange(rows(row("a"), bare, row("b", { title: "A" })), view({ sort: name, down })).length, 3, name);
  }
});

test("changing values do not reorder rows until the order is refreshed", () => {
  const held = new Map();
  const by = view({ sort: "memory", down: true });
  assert.deepEqual(arrange(rows(row("a", { memory_bytes: 2 }), row("b", { memory_bytes: 1 })), by, held), ["a", "b"]);
  const later = rows(row("a", { memory_bytes: 2 }), row("b", { memory_bytes: 9 }), row("c", { memory_bytes: 1.5 }));
  assert.deepEqual(arrange(later, by, held), ["a", "c", "b"]);
  assert.deepEqual(arrange(later, by, new Map()), ["b", "a", "c"]);
});

test("a second click on a column reverses the order", () => {
  const once = sortedBy(view(), "memory");
  assert.deepEqual([once.sort, once.down], ["memory", true]);
  assert.equal(sortedBy(once, "memory").down, false);
});

test("arrow keys move in the grid and stop at its edges", () => {
  const facts = [[-1, "ArrowDown", 0], [0, "ArrowRight", 1], [0, "ArrowLeft", 0], [1, "ArrowDown", 4], [6, "ArrowDown", 6], [4, "ArrowUp", 1], [6, "ArrowRight", 6], [5, "Home", 0], [0, "End", 6]];
  for (const [from, key, to] of facts) assert.equal(step(from, key, 7, 3), to, `${from} ${key}`);
  assert.equal(step(-1, "ArrowDown", 0, 3), -1);
});
