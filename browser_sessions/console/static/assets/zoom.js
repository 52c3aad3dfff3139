// Zooming and moving the live view with pointer, wheel and fingers.
import { clampZoom, distance, middle } from "./pure/zoom.js";
import { fit, zoom } from "./store.js";

/** Pixels of the wheel that double the scale. */
const DOUBLE_PX = 300;

/**
 * Listens on `port`, the scrolling box around `canvas`. `forPage(touch)`: whether the page gets this pointer, or touch.
 * Returns a function that stops.
 */
export function attachZoom(port, canvas, pageWidth, forPage) {
  const off = new AbortController();
  const on = (type, listen) => port.addEventListener(type, listen, { signal: off.signal, capture: true, passive: false });
  const scale = () => canvas.clientWidth / pageWidth();
  let drag = null;
  let pinch = null;

  /** Scrolls so that the same point of the picture stays below the pointer. */
  const zoomTo = (wanted, { clientX, clientY }) => {
    const before = canvas.getBoundingClientRect();
    zoom.value = clampZoom(wanted, fit.value);
    requestAnimationFrame(() => {
      const after = canvas.getBoundingClientRect();
      port.scrollLeft += after.left + ((clientX - before.left) / before.width) * after.width - clientX;
      port.scrollTop += after.top + ((clientY - before.top) / before.height) * after.height - clientY;
    });
  };

  on("wheel", (event) => {
    if (!event.ctrlKey || forPage(false)) return;
    event.preventDefault();
    zoomTo(scale() * 2 ** (-event.deltaY / DOUBLE_PX), event);
  });
  for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
    on(type, (event) => event.pointerType === "touch" && !forPage(true) && event.stopPropagation());
  }
  on("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0 || !zoom.value || event.target !== canvas || forPage(false)) return;
    drag = event;
    canvas.setPointerCapture(event.pointerId);
  });
  on("pointermove", (event) => {
    if (!drag) return;
    port.scrollBy(drag.clientX - event.clientX, drag.clientY - event.clientY);
    drag = event;
  });
  on("lostpointercapture", () => (drag = null));
  on("touchmove", (event) => {
    if (event.touches.length !== 2 || forPage(true)) return (pinch = null);
    if (event.cancelable) event.preventDefault();
    const apart = distance(event.touches);
    if (pinch) zoomTo((pinch.scale * apart) / pinch.apart, middle(event.touches));
    else pinch = { apart, scale: scale() };
  });
  on("touchend", () => (pinch = null));
  return () => off.abort();
}
