// Calls of the HTTP API. The cookie goes along by itself; a refusal becomes a Problem that says what to do.

export class Problem extends Error {
  /** `status` 0: the server could not be reached at all. */
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** How far the server's clock is from ours, in ms: ages and countdowns follow the server's. */
export let clockSkew = 0;

export const sessionPath = (id) => `/v1/browser/sessions/${encodeURIComponent(id)}`;

/** The decoded answer, null for an empty one. Raises Problem. */
export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Problem(0, "Unreachable", "The server does not answer.");
  }
  readClock(answer);
  if (answer.status === 204) return null;
  const decoded = await answer.json().catch(() => null);
  if (answer.ok) return decoded;
  const detail = typeof decoded?.detail === "string" ? decoded.detail : `The server answered ${answer.status}.`;
  throw new Problem(answer.status, decoded?.title ?? answer.statusText, detail);
}

function readClock(answer) {
  const at = Date.parse(answer.headers.get("Date") ?? "");
  const skew = at + 500 - Date.now(); // the header has whole seconds
  if (!Number.isNaN(at)) clockSkew = Math.abs(skew) > 2000 ? skew : 0;
}
