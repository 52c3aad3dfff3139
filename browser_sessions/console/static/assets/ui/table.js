// The sessions as a table, sorted by any column.
import { Age, Foreign, html, Left, memo, reasonOf, Status } from "./base.js";
import { isFinal, nameOf, stateOf } from "../pure/rows.js";
import { COLUMNS, sortedBy } from "../pure/view.js";
import { bytes, clip, hostOf } from "../pure/format.js";
import { now, rows, selected, view } from "../store.js";
import { setView, toggle } from "./overview.js";

export function Table({ ids }) {
  const { sort, down } = view.value;
  const all = ids.length > 0 && ids.every((id) => selected.value.has(id));
  return html`<div class="scroll" tabindex="-1"><table class="sessions">
    <thead><tr>
      <th><input type="checkbox" checked=${all} aria-label="Select all shown" onChange=${() => (selected.value = new Set(all ? [] : ids))} /></th>
      ${COLUMNS.map(
        ({ name, label, number }) => html`<th key=${name} class=${number ? "n" : ""} aria-sort=${sort !== name ? null : down ? "descending" : "ascending"}>
          <button type="button" class="bare" onClick=${() => setView(sortedBy(view.value, name))}>${label}<i aria-hidden="true">${sort === name ? (down ? "↓" : "↑") : ""}</i></button></th>`,
      )}
    </tr></thead>
    <tbody>${ids.map((id) => html`<${Row} key=${id} row=${rows.value.get(id)} chosen=${selected.value.has(id)} minute=${Math.floor(now.value / 5000)} />`)}</tbody>
  </table></div>`;
}

const Row = memo(({ row, chosen }) => {
  const final = isFinal(row);
  const name = clip(nameOf(row), 120);
  return html`<tr class="${final ? "final" : ""} ${chosen ? "chosen" : ""}">
    <td><input type="checkbox" checked=${chosen} aria-label="Select ${name}" onChange=${() => toggle(row.session_id)} /></td>
    <td><${Status} of=${stateOf(row)} /></td>
    <td class="wide"><a class="open" data-route data-id=${row.session_id} href="/sessions/${row.session_id}"><${Foreign} text=${name} /></a></td>
    <td class="mid"><${Foreign} text=${hostOf(row.url)} max=${60} /></td>
    <td>${clip(row.owner_name || row.owner, 40)}</td>
    <td class="n"><${Age} of=${row.created_at} still /></td>
    <td class="n"><${Age} of=${row.last_activity} still /></td>
    <td class="n">${final ? reasonOf(row) : html`<${Left} of=${row.expires_at} still />`}</td>
    <td class="n">${row.page_count ?? 0}</td><td class="n">${row.connections ?? 0}</td><td class="n">${row.viewers ?? 0}</td>
    <td class="n">${bytes(row.memory_bytes)}</td>
    <td><code>${clip(row.browser_id ?? "–", 16)}</code></td><td><code>${row.session_id.slice(0, 12)}</code></td>
  </tr>`;
});
