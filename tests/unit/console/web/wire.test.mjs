import assert from "node:assert/strict";
import test from "node:test";
import { closeMeaning, parseFrame } from "../../../../browser_sessions/console/static/assets/pure/frame.js";
import { backoff, sseParser } from "../../../../browser_sessions/console/static/assets/pure/sse.js";

const STREAM = ': hello\n\nid: b-1\nevent: console\ndata: {"a":1}\n\nid: b-2\r\nevent: x\r\ndata: one\r\ndata:two\r\n\r\ndata: last\n\nid: never\ndata: cut';
const WHOLE = [{ id: "b-1", event: "console", data: '{"a":1}' }, { id: "b-2", event: "x", data: "one\ntwo" }, { id: "b-2", event: "message", data: "last" }];

test("a stream is parsed the same in any chunks", () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const feed = sseParser();
    const found = [];
    for (let i = 0; i < STREAM.length; i += size) found.push(...feed(STREAM.slice(i, i + size)));
    assert.deepEqual(found, WHOLE, `pieces of ${size}`);
  }
});

test("retries back off up to five seconds", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 99].map(backoff), [0.5, 1, 2, 4, 5, 5]);
});

function frame(header, jpeg) {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const out = new Uint8Array(4 + json.length + jpeg.length);
  new DataView(out.buffer).setUint32(0, json.length);
  out.set(json, 4);
  out.set(jpeg, 4 + json.length);
  return out.buffer;
}

test("a frame has a header and a JPEG", () => {
  const { header, jpeg } = parseFrame(frame({ seq: 7, page_id: "ä" }, [255, 216]));
  assert.deepEqual([header.seq, header.page_id, ...jpeg], [7, "ä", 255, 216]);
});

test("an invalid frame is null", () => {
  for (const bad of [new ArrayBuffer(0), new ArrayBuffer(3), new Uint8Array([0, 0, 0, 200, 1]).buffer, frame("{not json", [1]), frame({ seq: 1 }, [])]) {
    assert.equal(parseFrame(bad), null);
  }
});

test("close codes: final ends are not retried, others are", () => {
  for (const code of [1000, 4000, 4001]) assert.equal(closeMeaning(code).ended, true, code);
  for (const code of [1001, 1006, 1012]) assert.equal(closeMeaning(code).again, true, code);
  assert.equal(closeMeaning(1008).again, undefined);
  for (const reason of ["", "keepalive ping timeout"]) assert.equal(closeMeaning(1011, reason).text, "Connection lost.", reason);
  assert.equal(closeMeaning(1011, "keepalive ping timeout").again, true);
  for (const reason of ["the browser crashed", "the browser did not respond and was killed", "the session ended: node_lost"]) {
    assert.deepEqual(closeMeaning(1011, reason), { ended: true, text: reason });
  }
});
