// Small parts used by every page.
import { Component, h } from "../vendor/preact.js";
import htm from "../vendor/htm.js";
import { FINAL } from "../pure/rows.js";
import { clip, countdown, duration, moment, words } from "../pure/format.js";
import { copy } from "../actions.js";
import { notice, now } from "../store.js";

export const html = htm.bind(h);

/** Renders again only when a property changes. */
export const memo = (view) =>
  class extends Component {
    shouldComponentUpdate(next, state) {
      if (state !== this.state) return true;
      for (const name in next) if (next[name] !== this.props[name]) return true;
      return false;
    }
    render(props) {
      return view(props);
    }
  };

const PATHS = {
  back: "M10 3 5 8l5 5", next: "m6 3 5 5-5 5", reload: "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3", grid: "M2.5 2.5h4v4h-4zm7 0h4v4h-4zm-7 7h4v4h-4zm7 0h4v4h-4z",
  table: "M2 4h12M2 8h12M2 12h12", copy: "M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1", out: "M7 3H3v10h10V9M9.5 2.5h4v4M13 3 7.5 8.5", plus: "M8 3v10M3 8h10",
  close: "m4 4 8 8m0-8-8 8", auto: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12", light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  dark: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z", search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.5 10.5 14 14", eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8ZM8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4",
  panel: "M2 3h12v10H2zM10 3v10", move: "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2",
  plug: "M5.5 2v3.5M10.5 2v3.5M4 5.5h8V8a4 4 0 0 1-8 0zM8 12v2.5", time: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 4.5V8l2.5 1.5",
};
export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

const SHAPES = {
  queued: "M4 1a3 3 0 1 0 0 6 3 3 0 0 0 0-6Zm0 1.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6Z", starting: "M4 1a3 3 0 1 0 0 6 3 3 0 0 0 0-6Zm0 1.2v3.6a1.8 1.8 0 0 1 0-3.6Z",
  active: "M4 1a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z", closing: "M1 3h6v2H1Z", closed: "M1.5 1.5h5v5h-5Z", expired: "M1 1h6L4 4l3 3H1l3-3Z",
  crashed: "M4 .6 7.6 7H.4Z", unresponsive: "M1.2 1h2v6h-2Zm3.6 0h2v6h-2Z", lost: "M1.6.8 4 3.2 6.4.8l.8.8L4.8 4l2.4 2.4-.8.8L4 4.8 1.6 7.2l-.8-.8L3.2 4 .8 1.6Z",
};
/** A status has a word and a shape besides its colour. */
export const Status = ({ of, quiet }) =>
  html`<span class="status s-${of}"><svg class="shape" viewBox="0 0 8 8" aria-hidden="true"><path d=${SHAPES[of]} fill-rule="evenodd" /></svg>${!quiet && of}</span>`;

/** Text of a page: a text node of its own direction, clipped. */
export const Foreign = ({ text, max, ...rest }) => html`<bdi ...${rest}>${clip(text, max)}</bdi>`;

export const Key = ({ children }) => html`<kbd aria-hidden="true">${children}</kbd>`;

export const Copy = ({ text, what }) =>
  html`<button class="bare" type="button" title="Copy ${what}" aria-label="Copy ${what}" onClick=${() => copy(text, what)}><${Icon} name="copy" /></button>`;

/** Time since a moment, in its largest unit only if `short`; does not tick while `still`. */
export function Age({ of, still, short }) {
  const at = moment(of);
  const age = at === null ? "–" : duration(((still ? now.peek() : now.value) - at) / 1000);
  return short ? age.split(" ")[0] : age;
}

/** Time until a moment. */
export function Left({ of, still }) {
  const at = moment(of);
  return at === null ? "no expiry" : countdown((at - (still ? now.peek() : now.value)) / 1000);
}

/** Milliseconds before expiry at which the bar starts to empty: the default idle timeout. One scale for all cards. */
const BAR_MS = 300_000;
export function ExpiryBar({ row, still }) {
  const at = moment(row.expires_at);
  if (FINAL.has(row.status) || at === null) return html`<i class="bar" />`;
  const part = Math.min(1, Math.max(0, (at - (still ? now.peek() : now.value)) / BAR_MS));
  return html`<i class="bar ${part < 0.1 ? "low" : ""}" style=${{ "--part": part.toFixed(3) }} />`;
}

export const reasonOf = (row) => words(row.end_reason ?? row.status);

/** Said to screen readers by the page's one live region. */
export const Notice = () => html`<div class="notice ${notice.value?.bad ? "bad" : ""}">${notice.value?.text}</div>`;

/** A section that says what happened and what to do next. */
export const Words = ({ title, children, role }) =>
  html`<section class="words" role=${role}><h1>${title}</h1>${children}</section>`;
