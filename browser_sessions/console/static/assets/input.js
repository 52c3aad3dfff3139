// Input for the page while the operator has control: pointer and keys become messages in the page's CSS px.
import * as map from "./pure/mapping.js";
import { say, session } from "./store.js";

const mac = navigator.userAgent.includes("Mac OS X");

/**
 * Listens on the picture and on `pad`, an invisible text field over it, which receives keys, pastes and input methods,
 * and opens a phone's keyboard. Returns a function that stops.
 */
export function attach(view, canvas, pad, release, hasTouch = false) {
  const off = new AbortController();
  const on = (target, type, listen, more) => target.addEventListener(type, listen, { signal: off.signal, ...more });
  const at = (event) => {
    const { css_width: width, css_height: height } = view.header;
    const { x, y } = map.toPage(event.clientX, event.clientY, canvas.getBoundingClientRect(), width, height);
    return { x, y };
  };
  const swap = mac && !session.peek()?.details?.user_agent?.includes("Mac OS X");
  const modifiers = (event) => map.modifiers(event, swap);
  const held = new Map();
  const touches = new Map();
  let press = null;
  let queued = null;
  let escapedAt = null;

  /** Moves and wheel steps are sent once a frame of the screen; anything else sends those first, to keep the order. */
  const flush = () => {
    if (queued) view.send(queued);
    queued = null;
  };
  const later = (message) => {
    if (queued && queued.type === "wheel" && message.type === "wheel") {
      message.dx += queued.dx;
      message.dy += queued.dy;
    } else if (queued && (queued.type !== message.type || queued.action !== message.action)) flush();
    if (!queued) requestAnimationFrame(flush);
    queued = message;
  };
  const now = (message) => {
    flush();
    view.send(message);
  };
  const mouse = (action, event, more) =>
    ({ type: "mouse", action, ...at(event), buttons: event.buttons, modifiers: modifiers(event), click_count: 0, ...more });
  const touch = (action, event) => {
    if (action === "start" || action === "move") touches.set(event.pointerId, { ...at(event), id: event.pointerId });
    else touches.delete(event.pointerId);
    const message = { type: "touch", action, points: [...touches.values()] };
    if (action === "move") later(message);
    else now(message);
  };
  /** On a session with touch, the left mouse button is a finger. */
  const isTouch = (event) => event.pointerType === "touch" || (hasTouch && event.button <= 0);
  const down = (event) => {
    const button = map.button(event);
    const { clientX: x, clientY: y, timeStamp } = event;
    press = { button, x, y, at: timeStamp, count: map.clickCount(press, { button, x, y, at: timeStamp }) };
    now(mouse("down", event, { button, click_count: press.count }));
  };
  const up = (event) => {
    const button = map.button(event);
    now(mouse("up", event, { button, click_count: press?.button === button ? press.count : 1 }));
  };

  on(canvas, "pointerdown", (event) => {
    if (!view.header) return;
    event.preventDefault();
    pad.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    if (isTouch(event)) return touch("start", event);
    down(event);
  });
  on(canvas, "pointermove", (event) => {
    if (!view.header) return;
    const chord = map.chord(event);
    if (isTouch(event)) {
      if (chord) touch(chord === "down" ? "start" : "end", event);
      else if (touches.has(event.pointerId)) touch("move", event);
    } else if (chord) (chord === "down" ? down : up)(event);
    else later(mouse("move", event, { button: map.heldButton(event.buttons) }));
  });
  on(canvas, "pointerup", (event) => {
    if (!view.header) return;
    if (isTouch(event)) return touch("end", event);
    up(event);
  });
  on(canvas, "pointercancel", (event) => isTouch(event) && view.header && touch("cancel", event));
  on(canvas, "contextmenu", (event) => event.preventDefault());
  on(canvas, "wheel", (event) => {
    if (!view.header) return;
    event.preventDefault();
    later({ type: "wheel", ...at(event), ...map.wheelPixels(event, view.header.css_height), modifiers: modifiers(event) });
  }, { passive: false });

  const key = (action, event) => {
    const fields = map.keyFields(event, { mac, swap });
    now({ type: "key", action, ...fields, text: action === "down" ? fields.text : "", location: event.location, repeat: event.repeat });
  };
  on(pad, "keydown", (event) => {
    event.stopPropagation();
    if (map.isComposing(event) || map.isPaste(event)) return;
    event.preventDefault();
    if (event.key === "Escape" && !event.repeat) {
      if (map.isDoubleEscape(escapedAt, event.timeStamp)) return release();
      escapedAt = event.timeStamp;
    }
    if (map.isCopy(event) && !event.repeat) now({ type: "copy" });
    held.set(event.code, event);
    key("down", event);
  });
  on(pad, "keyup", (event) => {
    event.stopPropagation();
    if (held.delete(event.code)) key("up", event);
    if (mac && event.key === "Meta") letGo(); // while it is held, a Mac reports no other key's release
  });
  on(pad, "paste", (event) => {
    event.preventDefault();
    const text = event.clipboardData.getData("text/plain");
    if (text.length > map.PASTE_CHARACTERS) {
      say(`Not pasted: ${text.length.toLocaleString("en")} characters, and at most ${map.PASTE_CHARACTERS.toLocaleString("en")} can be pasted at once.`, true);
    } else if (text) now({ type: "text", text });
  });
  /** A phone's keyboard deletes only if there is text: the pad always has one space. */
  const clear = () => (pad.value = " ");
  const type = (text) => {
    if (text) now({ type: "text", text });
    clear();
  };
  const tap = (name) => {
    const event = { key: name, code: name, location: 0, repeat: false };
    key("down", event);
    key("up", event);
    clear();
  };
  on(pad, "compositionend", (event) => type(event.data));
  on(pad, "input", (event) => {
    if (event.isComposing) return;
    if (event.inputType === "deleteContentBackward") tap("Backspace");
    else if (event.inputType === "insertLineBreak") tap("Enter");
    else type(event.data);
  });
  const letGo = () => {
    for (const event of held.values()) key("up", event);
    held.clear();
  };
  on(pad, "blur", letGo);
  clear();
  pad.focus({ preventScroll: true });
  return () => {
    letGo();
    off.abort();
  };
}
