// The address holds the state: which page, and its filters.
import { signal } from "./vendor/signals.js";

/** The route of a path. */
export function readRoute(path, search) {
  const params = new URLSearchParams(search);
  const session = /^\/sessions\/([^/]+)\/?$/.exec(path);
  if (session) return { name: "session", id: decodeURIComponent(session[1]), params };
  if (path === "/") return { name: "overview", params };
  return { name: path === "/sign-in" ? "sign-in" : "unknown", params };
}

/** The path to go to after sign-in, never another site. */
export const safeNext = (next) => (/^\/(?![/\\])[^\\]*$/.test(next ?? "") ? next : "/");

/** The overview as it was shown last, with its filters. */
export let overviewAddress = "/";

export const route = signal(here());

function here() {
  if (globalThis.location?.pathname === "/") overviewAddress = `/${location.search}`;
  return globalThis.location ? readRoute(location.pathname, location.search) : readRoute("/", "");
}

export function go(address, replace = false) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route.value = here();
}

/** Internal links change the route without a reload, unless clicked with a modifier key. */
export function startRouter() {
  addEventListener("popstate", () => (route.value = here()));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-route]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}
