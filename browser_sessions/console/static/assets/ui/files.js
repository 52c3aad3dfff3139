// Files of a session: those that its page asks for, and those that it has downloaded.
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-hooks.js";
import { Foreign, html } from "./base.js";
import { uploadFiles } from "../actions.js";
import { call, sessionPath } from "../api.js";
import { bytes, clock, words } from "../pure/format.js";
import { patchLive } from "../store.js";

/** The page asks for files: the operator's go to the session, and from there into the page's input. */
export function FileChooser({ of, id, view }) {
  const field = useRef();
  const [state, setState] = useState({ busy: false, text: "" });
  useLayoutEffect(() => field.current.focus(), [of]);
  const close = () => patchLive({ chooser: null });
  const what = of.directory ? "a folder" : of.multiple ? "files" : "a file";
  const submit = async (event) => {
    event.preventDefault();
    const files = [...field.current.files];
    if (state.busy) return;
    if (!files.length) return setState({ busy: false, text: `Choose ${what} first.` });
    try {
      const ids = await uploadFiles(id, files, (n) => setState({ busy: true, text: `Uploading ${n} of ${files.length}…` }));
      view.current.send({ type: "choose_files", upload_ids: ids });
      close();
    } catch (problem) {
      setState({ busy: false, text: problem.message });
    }
  };
  const key = (event) => {
    if (event.key === "Escape" && !state.busy) close();
  };
  return html`<div class="veil ask" role="dialog" aria-labelledby="asks-files"><form onSubmit=${submit} onKeyDown=${key}>
    <p id="asks-files">The page asks for ${what}.</p>
    <input type="file" ref=${field} aria-label="Your ${of.directory ? "folder" : "files"}" multiple=${of.multiple} webkitdirectory=${of.directory} accept=${of.accept || null} disabled=${state.busy} />
    <p role="status">${state.text}</p>
    <p><button disabled=${state.busy}>Upload</button> <button type="button" disabled=${state.busy} onClick=${close}>Cancel</button></p></form></div>`;
}

/** `changes`: another number whenever the list may have changed. */
export function Downloads({ id, final, changes }) {
  const [files, setFiles] = useState([]);
  const [text, setText] = useState("Loading…");
  useEffect(() => {
    if (final) return undefined;
    let shown = true;
    call("GET", `${sessionPath(id)}/downloads`).then(
      ({ downloads }) => shown && (setFiles(downloads), setText("Nothing yet.")),
      (problem) => shown && setText(problem.message),
    );
    return () => (shown = false);
  }, [id, final, changes]);
  if (final || !files.length) return html`<p class="dim none">${final ? "Downloads are removed with the session." : text}</p>`;
  return html`<ol>${files.map((file) => html`<${Line} key=${file.download_id} of=${file} id=${id} />`)}</ol>`;
}

const Line = ({ of, id }) => html`<li class="story"><time>${clock(of.started_at)}</time><i aria-hidden="true">↓</i><span>${
  of.state === "completed"
    ? html`<a href="${sessionPath(id)}/downloads/${encodeURIComponent(of.download_id)}" download><${Foreign} text=${of.filename} max=${200} /></a>`
    : html`<${Foreign} text=${of.filename} max=${200} />`
} <small class="dim">${words(of.state)} · ${bytes(of.received_bytes)}</small></span></li>`;
