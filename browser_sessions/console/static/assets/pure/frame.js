// A binary message of the live socket: 4 bytes big-endian N, N bytes JSON, then a JPEG. Pure.

const text = new TextDecoder();

/** `{header, jpeg}`; null if the message is not a frame. */
export function parseFrame(buffer) {
  if (buffer.byteLength < 4) return null;
  const length = new DataView(buffer).getUint32(0);
  if (length === 0 || 4 + length >= buffer.byteLength) return null;
  try {
    return { header: JSON.parse(text.decode(new Uint8Array(buffer, 4, length))), jpeg: new Uint8Array(buffer, 4 + length) };
  } catch {
    return null;
  }
}

const LOST = { again: true, text: "Connection lost." };

/** Reasons of 1011 that end the session; others, such as a ping without a response, end the connection alone. */
const ENDED = /crashed|killed|session ended/;

/** The meaning of a close code of the live socket (docs/api.md) with its reason. `again`: reconnect. */
export function closeMeaning(code, reason = "") {
  switch (code) {
    case 1000: return { ended: true, text: "The session has ended." };
    case 1008: return { text: "You have no access to this session." };
    case 1011: return ENDED.test(reason) ? { ended: true, text: reason } : LOST;
    case 4000: return { ended: true, text: "The session expired." };
    case 4001: return { ended: true, text: "An operator ended the session." };
    case 1001: return { again: true, text: "The server is restarting." };
    default: return LOST;
  }
}
