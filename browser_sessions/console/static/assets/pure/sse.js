// Server-Sent Events from chunks of text. WHATWG HTML, section 9.2.6; pure, no I/O.

/** Returns `feed(text)`: the events completed by this chunk, as `{id, event, data}`; data is text. */
export function sseParser() {
  let rest = "";
  let id = null;
  let event = "";
  let data = [];
  return function feed(text) {
    const found = [];
    rest += text;
    let start = 0;
    for (let end = lineEnd(rest, start); end !== null; end = lineEnd(rest, start)) {
      const line = rest.slice(start, end[0]);
      start = end[1];
      if (line === "") {
        if (data.length) found.push({ id, event: event || "message", data: data.join("\n") });
        event = "";
        data = [];
      } else if (line[0] !== ":") {
        const cut = line.indexOf(":");
        const name = cut < 0 ? line : line.slice(0, cut);
        const value = cut < 0 ? "" : line.slice(line[cut + 1] === " " ? cut + 2 : cut + 1);
        if (name === "data") data.push(value);
        else if (name === "event") event = value;
        else if (name === "id" && !value.includes("\0")) id = value;
      }
    }
    rest = rest.slice(start);
    return found;
  };
}

function lineEnd(text, from) {
  for (let i = from; i < text.length; i += 1) {
    const c = text[i];
    if (c === "\n") return [i, i + 1];
    if (c === "\r") {
      if (i + 1 === text.length) return null; // the \n may be in the next chunk
      return [i, text[i + 1] === "\n" ? i + 2 : i + 1];
    }
  }
  return null;
}

/** Seconds until the next attempt: doubles from half a second to five. */
export const backoff = (tries) => Math.min(5, 0.5 * 2 ** Math.min(tries, 10));
