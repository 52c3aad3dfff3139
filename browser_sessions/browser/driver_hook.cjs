// Loaded into Playwright's driver by browser/windows.py, which says why: a window that a page has opened is let run by
// the driver only when the service says so. Everything else passes untouched; without the service, nothing is held.
"use strict";

const childProcess = require("node:child_process");
const net = require("node:net");

const NUL = 0;
const ATTACHED = Buffer.from('{"method":"Target.attachedToTarget"');
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

// Calls `told` with each event that a target was attached to, out of a stream of messages that end with a NUL.
function attachments(told) {
  let pieces = []; // of a message that is one, or may be
  let size = 0;
  let other = false; // the message is none: skip to its end
  const whole = () => {
    if (!other && size > ATTACHED.length) told(JSON.parse(Buffer.concat(pieces).toString("utf8")));
    pieces = [];
    size = 0;
    other = false;
  };
  return (chunk) => {
    for (let start = 0; start < chunk.length; ) {
      const nul = chunk.indexOf(NUL, start);
      const end = nul < 0 ? chunk.length : nul;
      if (!other) {
        pieces.push(chunk.subarray(start, end));
        size += end - start;
        const first = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
        const known = Math.min(first.length, ATTACHED.length);
        if (first.compare(ATTACHED, 0, known, 0, known) !== 0) {
          other = true;
          pieces = [];
        }
      }
      if (nul < 0) return;
      whole();
      start = nul + 1;
    }
  };
}

function hold(browser) {
  const [, , , commands, messages] = browser.stdio;
  const windows = new Map(); // session id: target id, of windows that are paused
  messages.on(
    "data",
    attachments(({ params: { sessionId, targetInfo, waitingForDebugger } }) => {
      if (waitingForDebugger && targetInfo.type === "page" && targetInfo.openerId) {
        windows.set(sessionId, targetInfo.targetId);
      }
    }),
  );
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
