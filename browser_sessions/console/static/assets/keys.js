// Keyboard shortcuts, outside of text fields and of a controlled page.
import { control } from "./actions.js";
import { isFinal } from "./pure/rows.js";
import { step } from "./pure/view.js";
import { stepZoom } from "./pure/zoom.js";
import { go, overviewAddress, route } from "./router.js";
import { announce, dialog, endable, fit, folded, live, rows, selected, session, view, zoom } from "./store.js";
import { setView, toggle } from "./ui/overview.js";

const focused = () => document.activeElement?.closest?.(".card, tr")?.querySelector(".open")?.dataset.id;

function move(key) {
  const links = [...document.querySelectorAll(".sessions .open")];
  const index = links.indexOf(document.activeElement?.closest?.(".card, tr")?.querySelector(".open"));
  const top = links[0]?.getBoundingClientRect().top;
  const columns = view.value.layout === "table" ? 1 : links.filter((a) => a.getBoundingClientRect().top === top).length;
  const next = links[step(index, key, links.length, columns || 1)];
  next?.focus();
  next?.closest(".card, tr").scrollIntoView({ block: "nearest" });
  return Boolean(next);
}

function overview(key) {
  if (key.startsWith("Arrow") || ((key === "Home" || key === "End") && focused())) return move(key);
  if (key === "g") {
    const layout = view.value.layout === "grid" ? "table" : "grid";
    setView({ layout });
    return announce(`Shown as a ${layout}`), true;
  }
  if (key === "x" && focused()) return toggle(focused()), true;
  if (key === "Escape" && selected.value.size) return (selected.value = new Set()), true;
  if (key === "/") return document.getElementById("filter")?.select(), true;
  if (key === "e") {
    const ids = endable(selected.value.size ? [...selected.value] : [focused()]);
    if (ids.length) dialog.value = { name: "end", ids };
    return ids.length > 0;
  }
  return false;
}

const ZOOM_KEYS = { "+": 1, "-": -1, 0: 0 };

function one(key) {
  const { id } = session.value;
  const row = rows.value.get(id);
  if (live.value.lost !== null) return false; // it may be meant for the page, whose control was lost a moment ago
  if (key === "u") return go(overviewAddress), true;
  if (!row || isFinal(row)) return false;
  if (key === "e") return (dialog.value = { name: "end", ids: [id] }), true;
  if (key === "d") return (folded.value = !folded.value), true;
  if (key in ZOOM_KEYS) return (zoom.value = ZOOM_KEYS[key] && stepZoom(zoom.value, fit.value, ZOOM_KEYS[key])), true;
  if (key !== "t" || live.value.phase !== "open" || !live.value.canControl) return false;
  return control(id, live.value.mine ? "release" : "take"), true;
}

const FIELDS = "input:not([type=checkbox]), select, textarea, [contenteditable]";
/** Keys that a control in focus needs itself. */
const CONTROL_KEYS = /^(Tab|Enter| |Arrow.*|Home|End|PageUp|PageDown)$/;

/** While the operator has control, keys are the page's wherever the focus is, except for those of a control in focus. */
function toPage(event) {
  const { key, target } = event;
  const pad = document.querySelector(".pad");
  const copies = (event.ctrlKey || event.metaKey) && !getSelection().isCollapsed;
  if (target.closest?.(FIELDS)) return key === "Escape" && pad?.focus();
  if (copies || (CONTROL_KEYS.test(key) && target.closest?.("button, a, [tabindex='0']"))) return;
  (pad ?? document.querySelector(".ask input, .ask button"))?.focus({ preventScroll: true });
  if (pad && !pad.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
}

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (live.value.mine && session.value && !dialog.value && !event.defaultPrevented) return toPage(event);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || dialog.value) return;
    const { key, target } = event;
    if (target.matches?.(FIELDS)) {
      if (key === "Escape") target.blur();
      return;
    }
    if (target.closest?.("[role=tablist], .panel, pre") && key.startsWith("Arrow")) return;
    let done = key === "?" && Boolean((dialog.value = { name: "help" }));
    if (!done && route.value.name === "overview") done = overview(key);
    if (!done && session.value) done = one(key);
    if (done) event.preventDefault();
  });
}
