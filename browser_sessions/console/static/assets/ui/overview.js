// All sessions: filters, selection, and the sessions as cards or as a table.
import { useEffect, useRef } from "../vendor/preact-hooks.js";
import { Card } from "./card.js";
import { Table } from "./table.js";
import { Pool } from "./pool.js";
import { Copy, html, Icon, Key, Status, Words } from "./base.js";
import { counts, owners } from "../pure/rows.js";
import { COLUMNS, DEFAULT_VIEW, FILTERS, sortedBy, writeView } from "../pure/view.js";
import { plural } from "../pure/format.js";
import { go } from "../router.js";
import { dialog, endable, isOperator, loaded, rows, selected, shown, view } from "../store.js";

export const setView = (change) => go(`/${writeView({ ...view.value, ...change })}`, true);

export function toggle(id) {
  const next = new Set(selected.value);
  if (!next.delete(id)) next.add(id);
  selected.value = next;
}

export function Overview() {
  const { layout } = view.value;
  const ids = shown.value;
  let body;
  if (!loaded.value) body = html`<${Waiting} />`;
  else if (!rows.value.size) body = html`<${Empty} />`;
  else if (!ids.length) {
    body = html`<${Words} title="No matching sessions"><p>None of ${plural(rows.value.size, "session")} matches these filters.</p>
      <button type="button" onClick=${() => setView({ ...DEFAULT_VIEW, layout })}>Clear filters</button><//>`;
  } else if (layout === "table") body = html`<${Table} ids=${ids} />`;
  else {
    body = html`<ul class="sessions grid" aria-label="Sessions">
      ${ids.map((id) => html`<${Card} key=${id} row=${rows.value.get(id)} chosen=${selected.value.has(id)} owned=${isOperator.value} />`)}
    </ul>`;
  }
  return html`<main class="overview"><h1 class="unseen">Sessions</h1><${Pool} />${rows.value.size > 0 && html`<${Tools} count=${ids.length} />`}${body}${selected.value.size > 0 && html`<${Chosen} />`}</main>`;
}

function Tools({ count }) {
  const { text, status, owner, sort, down, layout } = view.value;
  const found = counts(rows.value);
  const known = owners(rows.value);
  const input = useRef();
  useEffect(() => {
    if (input.current.value !== text && document.activeElement !== input.current) input.current.value = text;
  }, [text]);
  const flip = (name) => setView({ status: status.includes(name) ? status.filter((s) => s !== name) : [...status, name] });
  return html`<div class="tools" role="search">
    <label class="field filter"><${Icon} name="search" /><span class="unseen">Filter by text or key=value</span>
      <input id="filter" ref=${input} type="search" placeholder="Filter" title="Words, or key=value of the metadata" spellcheck=${false} autocomplete="off" defaultValue=${text}
        onInput=${(event) => setView({ text: event.target.value })} /><${Key}>/<//></label>
    <div class="chips" role="group" aria-label="Status">
      ${FILTERS.filter((name) => found[name] || status.includes(name)).map(
        (name) => html`<button type="button" key=${name} class="chip" aria-pressed=${status.includes(name)} onClick=${() => flip(name)}>
          <${Status} of=${name} /><b>${found[name]}</b></button>`,
      )}
    </div>
    ${(isOperator.value || owner) &&
    html`<label class="field"><span class="unseen">Owner</span><select value=${owner} onChange=${(event) => setView({ owner: event.target.value })}>
      <option value="">All owners</option>
      ${known.map(([id, name, n]) => html`<option value=${id} key=${id}>${name} (${n})</option>`)}
      ${owner && !known.some(([id]) => id === owner) && html`<option value=${owner}>${owner}</option>`}</select></label>`}
    <span class="space" />
    <span class="total" aria-live="polite">${count === rows.value.size ? plural(count, "session") : `${count} of ${rows.value.size}`}</span>
    <label class="field"><span class="unseen">Order</span><select value=${sort} onChange=${(event) => setView(sortedBy({ ...view.value, sort: "" }, event.target.value))}>
      ${COLUMNS.map((column) => html`<option value=${column.name} key=${column.name}>${column.label}</option>`)}</select></label>
    <button type="button" class="square" aria-label=${down ? "Descending order" : "Ascending order"} title="Reverse order" onClick=${() => setView({ down: !down })}>${down ? "↓" : "↑"}</button>
    <div class="pair" role="group" aria-label="Layout">
      ${["grid", "table"].map(
        (name) => html`<button type="button" key=${name} class="square" aria-pressed=${layout === name} aria-label=${name} title="${name} (g)" onClick=${() => setView({ layout: name })}><${Icon} name=${name} /></button>`,
      )}
    </div>
  </div>`;
}

/** The selection and its actions: over the page, so that nothing moves when it appears. */
function Chosen() {
  const live = endable([...selected.value]);
  return html`<section class="chosenbar" aria-label="Selected sessions"><span><b>${selected.value.size}</b> selected</span>
    <button type="button" onClick=${() => (selected.value = new Set())}>Clear</button>
    <button type="button" class="danger" disabled=${!live.length} onClick=${() => (dialog.value = { name: "end", ids: live })}>End ${live.length}…</button></section>`;
}

/** As large as what replaces it. */
const Waiting = () =>
  html`${isOperator.value && html`<div class="pool ghost" />`}<div class="tools ghost" /><ul class="sessions grid" aria-label="Loading sessions" aria-busy="true">${Array.from({ length: 10 }, (_, i) => html`<li class="card ghost" key=${i}><div class="picture"><span class="dim">Loading…</span></div><p /><p /></li>`)}</ul>`;

function Empty() {
  const line = `curl -X POST ${location.origin}/v1/browser/sessions \\
  -H "X-API-Key: $BROWSER_SESSIONS_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"start_url": "https://example.com"}'`;
  return html`<${Words} title="No sessions yet">
    <p>Create the first one. It appears here without a reload.</p>
    <div class="code"><pre tabindex="0" aria-label="Command that creates a session">${line}</pre><${Copy} text=${line} what="command" /></div>
    <p class="dim">Set <code>BROWSER_SESSIONS_API_KEY</code> to your API key first.</p><//>`;
}
