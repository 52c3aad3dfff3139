// The address is the state: which page, and what is filtered there.
import { signal } from "./vendor/signals.js";

/** The page that a path names. */
export function readRoute(path, search) {
  const params = new URLSearchParams(search);
  const session = /^\/sessions\/([^/]+)\/?$/.exec(path);
  if (session) return { name: "session", id: decodeURIComponent(session[1]), params };
  if (path === "/") return { name: "overview", params };
  return { name: path === "/sign-in" ? "sign-in" : "unknown", params };
}

/** Where a sign-in leads back to: a path of this console, never another site. */
export const safeNext = (next) => (/^\/(?![/\\])[^\\]*$/.test(next ?? "") ? next : "/");

export const route = signal(here());

function here() {
  return globalThis.location ? readRoute(location.pathname, location.search) : readRoute("/", "");
}

export function go(address, replace = false) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route.value = here();
}

/** Links of ours change the page without a reload; a click with a modifier opens a tab as everywhere. */
export function startRouter() {
  addEventListener("popstate", () => (route.value = here()));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-route]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}
