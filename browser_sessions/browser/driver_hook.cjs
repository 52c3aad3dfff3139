// Loaded into Playwright's driver by browser/windows.py, which says why: a window that a page has opened is let run by
// the driver only when the service says so. And what a page says, throws, asks or sends does not reach the driver at a
// greater length than anybody reads: the driver would pass it on, and the service's one loop would be busy with it for
// a second.
// Everything else passes untouched; without the service, nothing is held.
"use strict";

const childProcess = require("node:child_process");
const net = require("node:net");

const NUL = 0;
const ATTACHED = Buffer.from('{"method":"Target.attachedToTarget"');
const starts = (...names) => names.map((name) => Buffer.from(`{"method":"${name}"`));
const SAID = starts("Runtime.exceptionThrown", "Runtime.consoleAPICalled"); // dropped when too long
// Here something follows from the event whatever it says: its words are cut.
const CUT = starts(
  "Page.javascriptDialogOpening",
  "Network.requestWillBeSent",
  "Network.webSocketFrameReceived",
  "Network.webSocketFrameSent",
);
const HEAD = Math.max(...[ATTACHED, ...SAID, ...CUT].map((start) => start.length));
const AT_MOST = 1 << 20; // bytes of an event; a thousand times what one of ours holds
const WORD_AT_MOST = 1 << 16; // characters of a string in one that is longer
const RESUME = '"Runtime.runIfWaitingForDebugger"';
// Milliseconds. The service lets go after five seconds whatever happens; this is for a service that does not answer.
const AT_MOST_MS = 8000;

const held = new Map(); // "<process group> <target id>": what lets it run
let service = null;

function letGo(name) {
  const resume = held.get(name);
  held.delete(name);
  resume?.();
}

function connect(name) {
  let rest = "";
  service = net.connect({ path: "\0" + name });
  service.setEncoding("utf8");
  service.unref();
  service.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    lines.forEach(letGo);
  });
  service.on("error", () => {}); // "close" follows
  service.on("close", () => {
    service = null;
    [...held.keys()].forEach(letGo);
  });
}

// `message` has at least HEAD bytes.
const begins = (message, start) => message.compare(start, 0, start.length, 0, start.length) === 0;

function cut(message) {
  const short = (_, value) =>
    typeof value === "string" && value.length > WORD_AT_MOST ? value.slice(0, WORD_AT_MOST) : value;
  return Buffer.from(JSON.stringify(JSON.parse(message.toString("utf8")), short));
}

// Passes a stream of messages that end with a NUL on to `pass`, in pieces as they come, but for what a page has said at
// too great a length. Calls `told` with each event that a target was attached to.
function sieve(pass, told) {
  let kept = []; // pieces of a message that may not be passed on yet, or that is to be read
  let size = 0;
  let kind = "new"; // then "any", "said", "words", "attached" or "dropped"
  const take = (piece) => {
    kept.push(piece);
    size += piece.length;
    if (kind === "new" && size >= HEAD) {
      const head = kept.length === 1 ? kept[0] : Buffer.concat(kept);
      kept = [head];
      const isOneOf = (names) => names.some((start) => begins(head, start));
      kind = isOneOf([ATTACHED]) ? "attached" : isOneOf(SAID) ? "said" : isOneOf(CUT) ? "words" : "any";
    }
    if (kind === "said" && size > AT_MOST) kind = "dropped";
    if (kind === "dropped") kept = [];
    if (kind === "any") flush();
  };
  const flush = () => {
    kept.forEach(pass);
    kept = [];
  };
  const end = () => {
    if (kind === "attached") told(JSON.parse(Buffer.concat(kept).toString("utf8")));
    if (kind === "words" && size > AT_MOST) kept = [cut(Buffer.concat(kept))];
    if (kind !== "dropped") {
      flush();
      pass(Buffer.from([NUL]));
    }
    size = 0;
    kind = "new";
  };
  return (chunk) => {
    for (let start = 0; start < chunk.length; ) {
      const nul = chunk.indexOf(NUL, start);
      take(chunk.subarray(start, nul < 0 ? chunk.length : nul));
      if (nul < 0) return;
      end();
      start = nul + 1;
    }
  };
}

function hold(browser) {
  const [, , , commands, messages] = browser.stdio;
  const windows = new Map(); // session id: target id, of windows that are paused
  const attached = ({ params: { sessionId, targetInfo, waitingForDebugger } }) => {
    if (waitingForDebugger && targetInfo.type === "page" && targetInfo.openerId) {
      windows.set(sessionId, targetInfo.targetId);
    }
  };
  const on = messages.on.bind(messages);
  messages.on = messages.addListener = (event, listener) =>
    on(event, event === "data" ? sieve((piece) => listener.call(messages, piece), attached) : listener);
  const write = commands.write.bind(commands);
  let endIsHeld = false; // Playwright writes a message and its NUL by two calls
  commands.write = (data, ...more) => {
    if (endIsHeld) {
      endIsHeld = false;
      if (data === "\0") return true;
    }
    if (windows.size && service && typeof data === "string" && data.includes(RESUME)) {
      const message = data.endsWith("\0") ? data.slice(0, -1) : data;
      const { method, sessionId } = JSON.parse(message);
      const targetId = method === "Runtime.runIfWaitingForDebugger" ? windows.get(sessionId) : undefined;
      if (targetId !== undefined) {
        windows.delete(sessionId);
        endIsHeld = message === data;
        const name = `${browser.pid} ${targetId}`;
        held.set(name, () => write(message + "\0"));
        service.write(name + "\n");
        setTimeout(letGo, AT_MOST_MS, name).unref();
        return true;
      }
    }
    return write(data, ...more);
  };
}

const name = process.env.BROWSER_SESSIONS_WINDOWS;
delete process.env.BROWSER_SESSIONS_WINDOWS;
delete process.env.NODE_OPTIONS;
if (name) {
  connect(name);
  const spawn = childProcess.spawn;
  childProcess.spawn = function (...given) {
    const child = spawn.apply(this, given);
    if (child.stdio?.[3] && child.stdio[4]) hold(child);
    return child;
  };
}
