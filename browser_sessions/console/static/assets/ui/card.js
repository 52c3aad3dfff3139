// One session as a picture with the truth about it below.
import { useEffect, useRef } from "../vendor/preact-hooks.js";
import { useSignal } from "../vendor/signals.js";
import { Age, ExpiryBar, Foreign, html, Icon, Left, memo, reasonOf, Status } from "./base.js";
import { isFinal, nameOf } from "../pure/rows.js";
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
    <a class="open" data-route data-id=${row.session_id} href="/sessions/${row.session_id}" aria-label="${name}, ${row.status}, ${row.owner_name || row.owner}">
      <div class="picture"><img ref=${picture} alt="" /><span class="dim">${EMPTY[row.status] ?? "no picture yet"}</span>
        ${["crashed", "lost"].includes(row.status) && html`<${Status} of=${row.status} />`}
        ${row.controlled_by && html`<span class="driver">${clip(row.controlled_by, 30)} drives</span>`}
      </div>
      <${Ticking} seen=${seen} show=${(still) => html`<${ExpiryBar} row=${row} still=${still} />`} />
      <strong><${Foreign} text=${nameOf(row)} max=${120} /></strong>
      <div class="line"><${Foreign} text=${hostOf(row.url)} max=${80} />${owned && html`<span class="owner">${clip(row.owner_name || row.owner, 40)}</span>`}</div>
      <div class="facts">${final ? html`<${Ended} row=${row} />` : html`<${Facts} row=${row} seen=${seen} />`}</div>
    </a>
    <label class="tick"><input type="checkbox" checked=${chosen} onChange=${() => toggle(row.session_id)} aria-label="Select ${name}" /></label>
  </li>`;
});

/** Under the picture, for as long as there is none. */
const EMPTY = { queued: "waiting for a place", starting: "starting" };

/** Ticks while the card is on the screen; off it, it costs nothing. */
const Ticking = ({ seen, show }) => show(!seen.value);

const Facts = ({ row, seen }) => html`
  <${Status} of=${row.status} />
  <span title="Age"><${Ticking} seen=${seen} show=${(still) => html`<${Age} of=${row.created_at} still=${still} />`} /> old</span>
  <span title="Time to expiry"><${Ticking} seen=${seen} show=${(still) => html`<${Left} of=${row.expires_at} still=${still} />`} />${row.expires_at && " left"}</span>
  <span title="Connected clients"><${Icon} name="plug" />${row.connections ?? 0}</span>
  <span title="Memory">${bytes(row.memory_bytes)}</span>`;

const Ended = ({ row }) => html`<${Status} of=${row.status} /><span class="reason">${reasonOf(row)}</span><span><${Age} of=${row.ended_at} still /> ago</span>`;
