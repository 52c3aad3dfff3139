// HTTP API calls, authenticated by the cookie. An error response becomes a Problem.

export class Problem extends Error {
  /** `status` 0: the server could not be reached. */
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** Offset of the server's clock in ms: ages and countdowns follow the server. */
export let clockSkew = 0;

export const sessionPath = (id) => `/v1/browser/sessions/${encodeURIComponent(id)}`;

let onSignedOut = () => {};
/** `listener` is called when a request is refused because the sign-in has ended. */
export const whenSignedOut = (listener) => (onSignedOut = listener);

/** The decoded response, null if it is empty. `body` is sent as JSON, a File as it is. Throws Problem. */
export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  const file = body instanceof File;
  if (body !== undefined) headers["Content-Type"] = file ? "application/octet-stream" : "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: file || body === undefined ? body : JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Problem(0, "Unreachable", "The server does not respond.");
  }
  readClock(answer);
  if (answer.status === 204) return null;
  const decoded = await answer.json().catch(() => null);
  if (answer.ok) return decoded;
  if (answer.status === 401 && !(method === "POST" && path === "/v1/auth/session")) onSignedOut();
  const detail = typeof decoded?.detail === "string" ? decoded.detail : `The server responded with status ${answer.status}.`;
  throw new Problem(answer.status, decoded?.title ?? answer.statusText, detail);
}

function readClock(answer) {
  const at = Date.parse(answer.headers.get("Date") ?? "");
  const skew = at + 500 - Date.now(); // the header has whole seconds
  if (!Number.isNaN(at)) clockSkew = Math.abs(skew) > 2000 ? skew : 0;
}
