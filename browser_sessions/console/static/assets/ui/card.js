// One session in the grid: its picture, and facts below.
import { useEffect, useRef } from "../vendor/preact-hooks.js";
import { useSignal } from "../vendor/signals.js";
import { Age, ExpiryBar, Foreign, html, Icon, Left, memo, reasonOf, Status } from "./base.js";
import { isFinal, nameOf, stateOf } from "../pure/rows.js";
import { bytes, clip, hostOf } from "../pure/format.js";
import { settle, watch } from "../thumbnails.js";
import { toggle } from "./overview.js";

export const Card = memo(({ row, chosen, owned }) => {
  const box = useRef();
  const picture = useRef();
  const seen = useSignal(false);
  const final = isFinal(row);
  useEffect(() => watch(box.current, picture.current, row.session_id, (visible) => (seen.value = visible)), []);
  useEffect(() => settle(box.current, !final), [final]);
  const name = clip(nameOf(row), 120);
  return html`<li class="card ${final ? "final" : ""} ${chosen ? "chosen" : ""}" ref=${box}>
    <a class="open" data-route data-id=${row.session_id} href="/sessions/${row.session_id}">
      <div class="picture"><img ref=${picture} alt="" /><span class="dim">${EMPTY[row.status] ?? (final ? "no picture" : "no picture yet")}</span>
        ${row.controlled_by && html`<span class="holder">${clip(row.controlled_by, 30)} has control</span>`}
      </div>
      <${Ticking} seen=${seen} show=${(still) => html`<${ExpiryBar} row=${row} still=${still} />`} />
      <div class="head"><strong><${Foreign} text=${nameOf(row)} max=${120} /></strong><${Status} of=${stateOf(row)} /></div>
      <div class="line"><${Foreign} text=${hostOf(row.url)} max=${80} />${owned && html`<span class="owner">${clip(row.owner_name || row.owner, 40)}</span>`}</div>
      <div class="facts">${final ? html`<${Ended} row=${row} />` : html`<${Facts} row=${row} seen=${seen} />`}</div>
    </a>
    <label class="tick"><input type="checkbox" checked=${chosen} onChange=${() => toggle(row.session_id)} aria-label="Select ${name}" /></label>
  </li>`;
});

/** Shown while there is no picture. */
const EMPTY = { queued: "waiting for a slot", starting: "starting" };

/** Ticks only while the card is on the screen. */
const Ticking = ({ seen, show }) => show(!seen.value);

const Facts = ({ row, seen }) => html`
  <span title="Age"><${Ticking} seen=${seen} show=${(still) => html`<${Age} of=${row.created_at} still=${still} short />`} /> old</span>
  <span title="Time to expiry"><${Ticking} seen=${seen} show=${(still) => html`<${Left} of=${row.expires_at} still=${still} />`} />${row.expires_at && " left"}</span>
  <span title="Connected clients"><${Icon} name="plug" />${row.connections ?? 0}<span class="unseen"> connected</span></span>
  <span title="Memory">${bytes(row.memory_bytes)}</span>`;

const Ended = ({ row }) => html`<span class="reason">${reasonOf(row)}</span><span><${Age} of=${row.ended_at} still /> ago</span>`;
