// From the operator's pointer and keys to the page's. Pure.

/** A point of the window as a point of the page, both in CSS px; the picture may be scaled. */
export function toPage(clientX, clientY, rect, cssWidth, cssHeight) {
  const x = ((clientX - rect.left) / rect.width) * cssWidth;
  const y = ((clientY - rect.top) / rect.height) * cssHeight;
  return {
    x: Math.min(Math.max(round(x), 0), Math.max(0, cssWidth - 1)),
    y: Math.min(Math.max(round(y), 0), Math.max(0, cssHeight - 1)),
    inside: x >= 0 && y >= 0 && x < cssWidth && y < cssHeight,
  };
}

const round = (n) => Math.round(n * 100) / 100;

/** CDP's bit field: Alt 1, Ctrl 2, Meta 4, Shift 8 (Input.dispatchKeyEvent). `swap`: Cmd counts as Ctrl. */
export function modifiers(event, swap = false) {
  const meta = event.metaKey ? (swap ? 2 : 4) : 0;
  return (event.altKey ? 1 : 0) | (event.ctrlKey ? 2 : 0) | meta | (event.shiftKey ? 8 : 0);
}

/** Whether Alt or Ctrl belong to the character: AltGr, which Windows reports as Ctrl+Alt, and Option on a Mac. */
function isThirdLevel(event, mac) {
  if ([...event.key].length !== 1 || event.metaKey) return false;
  if (event.getModifierState?.("AltGraph")) return true;
  if (mac) return event.altKey && !event.ctrlKey;
  return event.altKey && event.ctrlKey && !/[a-z0-9 ]/i.test(event.key);
}

/** Key, code, text and modifiers of a key message. `mac`: the operator's keyboard has Cmd and Option; `swap` as above. */
export function keyFields(event, { mac = false, swap = false } = {}) {
  const { key, code } = event;
  if (isThirdLevel(event, mac)) return { key, code, text: key, modifiers: event.shiftKey ? 8 : 0 };
  if (swap && key === "Meta") return { key: "Control", code: code.replace("Meta", "Control"), text: "", modifiers: modifiers(event, swap) };
  return { key, code, text: keyText(event), modifiers: modifiers(event, swap) };
}

export const button = (event) => ["left", "middle", "right"][event.button] ?? "none";

/** The button that is held during a move. */
export const heldButton = (buttons) => (buttons & 1 ? "left" : buttons & 2 ? "right" : buttons & 4 ? "middle" : "none");

/** The text of a key: the key itself if it is one character without a command modifier; Enter is a carriage return. */
export function keyText(event) {
  if (event.key === "Enter") return "\r";
  const command = (event.ctrlKey || event.metaKey) && !event.getModifierState?.("AltGraph");
  return [...event.key].length === 1 && !command ? event.key : "";
}

export const isPaste = (event) =>
  Boolean((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "v") ||
  Boolean(event.shiftKey && event.key === "Insert");

export const isCopy = (event) => Boolean((event.ctrlKey || event.metaKey) && !event.altKey && /^[cx]$/i.test(event.key));

/** An input method is composing: it handles the keys, and the text follows when it is done. */
export const isComposing = (event) =>
  event.isComposing || event.key === "Process" || event.key === "Unidentified" || event.key === "Dead" || event.keyCode === 229;

/** Wheel steps in px: a line is 100/3 px, as in Chromium, a page is the height of the viewport. */
export function wheelPixels(event, cssHeight) {
  const unit = event.deltaMode === 1 ? 100 / 3 : event.deltaMode === 2 ? cssHeight : 1;
  return { dx: event.deltaX * unit, dy: event.deltaY * unit };
}

/** Bits of `buttons` by `button`. A second button that is pressed or released while one is held is a move. */
const BITS = [1, 4, 2];

/** "down" or "up" if a move presses or releases a button, else null. */
export const chord = (event) => (event.button in BITS ? (event.buttons & BITS[event.button] ? "down" : "up") : null);

/** Characters of one paste: the service accepts no more (docs/limits.md). */
export const PASTE_CHARACTERS = 100_000;

/** Milliseconds and px within which the next press counts as a double click: the usual ones of desktops. */
const DOUBLE_MS = 500;
const DOUBLE_PX = 4;

/** The click count of a press, from the press before it. */
export function clickCount(last, press) {
  const again =
    last && last.button === press.button && press.at - last.at <= DOUBLE_MS &&
    Math.abs(press.x - last.x) <= DOUBLE_PX && Math.abs(press.y - last.y) <= DOUBLE_PX;
  return again ? last.count + 1 : 1;
}

/** Milliseconds between two Escapes that release control. */
const ESCAPE_MS = 1500;

export const isDoubleEscape = (lastAt, at) => lastAt != null && at - lastAt <= ESCAPE_MS;

const LOOPBACK = /^(localhost|[^/?#]*\.localhost|127(\.\d+){3}|\[::1\])(:\d+)?([/?#]|$)/i;

/** A typed address: https is added if it has no scheme, http for a loopback host. */
export function typedAddress(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  if (/^[a-z][a-z0-9+.-]*:(?!\d)/i.test(trimmed)) return trimmed;
  return `${LOOPBACK.test(trimmed) ? "http" : "https"}://${trimmed}`;
}

/** The width of picture to request: the device px that it covers, in steps of 64, so that resizing requests few. */
export function wantedWidth(boxWidth, devicePixelRatio) {
  return Math.min(3840, Math.max(320, Math.ceil((boxWidth * devicePixelRatio) / 64) * 64));
}
