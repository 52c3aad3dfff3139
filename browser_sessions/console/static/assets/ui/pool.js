// The pool's state and its last hour, above the sessions.
import { useState } from "../vendor/preact-hooks.js";
import { html } from "./base.js";
import { bytes, clock, duration, moment, NONE, plural } from "../pure/format.js";
import { BOX, paths, pointAt, refusals, spanOf } from "../pure/plots.js";
import { history, pool } from "../store.js";

const newest = () => history.value?.points.at(-1);

export function Pool() {
  const state = pool.value;
  if (!state) return null;
  const odd = (name) => state.browsers.filter((browser) => browser.state === name).length;
  const note = ["retiring", "starting", "dead"].filter(odd).map((name) => `${odd(name)} ${name}`)[0];
  const memory = state.browsers.reduce((sum, browser) => sum + (browser.memory_bytes ?? 0), 0) || newest()?.memory_bytes || null; // 0 before the first measurement
  const queue = state.draining ? "draining" : "waiting";
  return html`<section class="pool" aria-label="Pool">
    <${Tile} name="active" label="Slots" value=${state.taken} of="of ${state.capacity}" />
    <${Tile} name="queue" label="Queue" value=${state.queue} of=${queue} alert=${state.queue > 0 || state.draining} />
    <${Tile} name="refused" label="Rejected" value=${state.refused_total} of="since start" />
    <${Tile} name="browsers" label="Browsers" value=${state.browsers.length} of=${note ?? plural(state.warm_spares, "warm spare")} />
    <${Tile} name="memory_bytes" label="Memory" value=${bytes(memory)} show=${bytes} />
    <${Tile} name="loop_lag_ms" label="Loop lag" value=${lag(history.value?.points.findLast((point) => point.loop_lag_ms != null)?.loop_lag_ms)} show=${lag} />
  </section>`;
}

const lag = (ms) => (ms == null ? NONE : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);

/** The current number; while the pointer is on the plot, the one at that time. */
function Tile({ name, label, value, of, alert, show = String }) {
  const [past, setPast] = useState(null);
  const hour = history.value && name === "refused" ? refusals(history.value) : history.value;
  const end = moment(newest()?.at);
  const look = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    setPast(pointAt(hour, (event.clientX - left) / width, end));
  };
  const plot = hour && paths(hour, name, end);
  return html`<div class="tile ${alert ? "alert" : ""}">
    <span class="label">${label}</span><b>${past ? show(past[name] ?? NONE) : value}</b><small>${past ? clock(past.at) : of}</small>
    ${plot &&
    html`<svg viewBox="0 0 ${BOX.width} ${BOX.height}" preserveAspectRatio="none" role="img" aria-label="${label}, the last ${duration(spanOf(hour, end))}" onPointerMove=${look} onPointerLeave=${() => setPast(null)}>
      <path class="area" d=${plot.area} /><path class="line" d=${plot.line} /></svg>`}
  </div>`;
}
