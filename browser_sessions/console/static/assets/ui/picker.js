// The pop-up of a page's form control. Chromium draws it outside the page, so the console shows its own over the picture.
import { useLayoutEffect, useRef } from "../vendor/preact-hooks.js";
import { html } from "./base.js";
import { clip } from "../pure/format.js";
import { patchLive } from "../store.js";

/** Options in sight; the others are scrolled to. */
const ROWS = 12;

export function Picker({ of, view, canvas, pad }) {
  const box = useRef();
  const done = (choice) => {
    view.current.send({ type: "choose", choice });
    patchLive({ picker: null });
    pad.current?.focus({ preventScroll: true });
  };
  useLayoutEffect(() => {
    const form = box.current;
    const picture = canvas.current.getBoundingClientRect();
    const stage = form.offsetParent.getBoundingClientRect();
    const scale = picture.width / view.current.header.css_width;
    const top = picture.top - stage.top + (of.y + of.height) * scale;
    const left = picture.left - stage.left + of.x * scale;
    form.style.left = `${Math.max(0, Math.min(left, stage.width - form.offsetWidth))}px`;
    form.style.top = `${Math.max(0, Math.min(top, stage.height - form.offsetHeight))}px`;
    form.elements[0].focus();
    if (of.element !== "select") form.elements[0].showPicker();
  }, [of]);
  const key = (event) => {
    event.stopPropagation();
    if (event.key === "Escape" || (event.key === "Tab" && of.element === "select")) done(null);
    else if (event.key === "Enter" && of.element === "select") done(event.target.selectedIndex);
    else return;
    event.preventDefault();
  };
  const submit = (event) => {
    event.preventDefault();
    done(event.target.elements[0].value);
  };
  const leave = (event) => box.current && !box.current.contains(event.relatedTarget) && done(null);
  return html`<form class="picker" ref=${box} onSubmit=${submit} onKeyDown=${key} onFocusOut=${leave}>
    ${of.element === "select"
      ? html`<select aria-label="Options of the page" size=${Math.max(2, Math.min(ROWS, of.options.length))} onClick=${(event) => event.target.localName === "option" && !event.target.disabled && done(event.target.index)}>
          ${of.options.map((option, n) => html`<option key=${n} disabled=${option.disabled} selected=${n === of.selected}>${option.group ? `${clip(option.group, 60)}: ` : ""}${clip(option.label, 200)}</option>`)}</select>`
      : html`<input aria-label="Value for the page" type=${of.element} defaultValue=${of.value} min=${of.min || null} max=${of.max || null} step=${of.step || null} /><button>Set</button>`}
  </form>`;
}
