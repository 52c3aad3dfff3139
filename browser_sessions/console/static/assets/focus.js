// Where the keyboard focus goes when the page changes, or when what had it is gone.
import { announce } from "./store.js";

let last = null;
let arriving = null;

const focusable = (element) => element.isConnected && !element.disabled;

/** Moves the focus to the new page once it is there: to the session that was left, if it is listed, else to its heading. */
export function pageChanged(left) {
  last = null;
  arriving = { left };
}

export function startFocus(root) {
  root.addEventListener("focusin", ({ target }) => {
    if (!target.closest("dialog")) last = { element: target, session: target.closest(".card, tr")?.querySelector(".open")?.dataset.id };
  });
  root.addEventListener("focusout", ({ target, relatedTarget }) => {
    if (relatedTarget || target !== last?.element) return;
    setTimeout(() => {
      if (target === last?.element && focusable(target) && document.activeElement !== target) last = null; // left by the user
    });
  });
  new MutationObserver(settle).observe(root, { childList: true, subtree: true, attributeFilter: ["disabled"] });
}

function settle() {
  if (document.querySelector("dialog[open]")) return;
  if (arriving) return arrive();
  const { activeElement } = document;
  if (!last || (activeElement !== document.body && activeElement !== last.element) || (activeElement === last.element && focusable(activeElement))) return;
  const { element, session } = last;
  const places = [listed(session), ".pad", ".ask button", "#control:enabled", "h1"];
  focus(focusable(element) ? element : places.map((place) => place && document.querySelector(place)).find(Boolean));
}

const listed = (session) => session && `.open[data-id="${CSS.escape(session)}"]`;

function arrive() {
  const heading = document.querySelector("h1");
  if (!heading) return;
  const places = [listed(arriving.left), ".signin input"];
  focus(places.map((place) => place && document.querySelector(place)).find(Boolean) ?? heading);
  arriving = null;
  announce(heading.textContent);
}

function focus(element) {
  if (element?.tagName === "H1") element.tabIndex = -1;
  element?.focus();
}
