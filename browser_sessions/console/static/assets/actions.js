// Actions of the console: load, follow events, sign in and out, end sessions. All state is changed through the store.
import { batch } from "./vendor/signals.js";
import { call, sessionPath, whenSignedOut } from "./api.js";
import { EMPTY_LOG, addEvents, isAfter } from "./pure/log.js";
import { FINAL, fromOverview } from "./pure/rows.js";
import { go, route, safeNext } from "./router.js";
import * as store from "./store.js";
import { EventStream } from "./stream.js";
import { nudge } from "./thumbnails.js";

/** Concurrent ends: a hundred sessions take seconds, without flooding the service. */
const AT_ONCE = 6;

/** Milliseconds between two loads of the overview: at least, while events name unknown sessions; at most, at rest. */
const RELOAD_MS = 2000;
const REFRESH_MS = 60000;

let stream = null;
let turn = 0;
let loading = null;
let loadedAt = 0;

/** Loads what a route shows; called whenever the route changes. */
export async function open({ name, id }) {
  const mine = (turn += 1);
  stream?.close();
  stream = null;
  store.trouble.value = null;
  store.session.value = name === "session" ? { id, details: null, log: EMPTY_LOG, hasFrame: false } : null;
  if (name === "sign-in") return;
  try {
    store.you.value ??= await call("GET", "/v1/auth/session");
    if (mine !== turn) return;
    if (name === "overview") await openOverview(mine);
    if (name === "session") await openSession(id, mine);
  } catch (problem) {
    if (mine === turn) refused(problem, () => open({ name, id }));
  }
}

async function openOverview(mine) {
  const position = await loadOverview();
  if (mine !== turn) return;
  follow("/v1/browser/events", { lastId: position });
  const again = setInterval(() => {
    if (mine !== turn) clearInterval(again);
    else if (!document.hidden) loadOverview().catch(() => {});
  }, REFRESH_MS);
}

/** Events that arrive while the response is on its way are newer than it, and are applied again after it. */
async function loadOverview() {
  const since = (loading = []);
  try {
    const answer = await call("GET", "/v1/browser/overview");
    loadedAt = Date.now();
    batch(() => {
      store.rows.value = fromOverview(answer.sessions);
      store.pool.value = answer.pool;
      store.history.value = answer.history;
      store.you.value = answer.you ?? store.you.value;
      store.loaded.value = true;
      store.heard();
      store.take(since.filter((event) => isAfter(event.id, answer.position)));
    });
    return answer.position;
  } finally {
    if (loading === since) loading = null;
  }
}

async function openSession(id, mine) {
  const known = store.rows.value.has(id);
  const [details, story] = await Promise.all([
    call("GET", `${sessionPath(id)}/details`), call("GET", `${sessionPath(id)}/history`), known || loadOverview(),
  ]);
  if (mine !== turn) return;
  const log = addEvents(EMPTY_LOG, story.events);
  setDetails(id, details, { log, hasFrame: story.has_frame });
  store.heard();
  if (!FINAL.has(details.status)) follow(`${sessionPath(id)}/events`, { lastId: log.lastId, since: "start" });
}

/** The details of a session also update its row, so that its facts tick like those of the overview. */
function setDetails(id, details, more = {}) {
  const old = store.rows.value.get(id);
  const last = (more.log ?? store.session.value.log).page;
  const row = { ...old, ...details, title: old?.title || last?.title, url: old?.url || last?.url, page_count: details.pages };
  batch(() => {
    store.rows.value = new Map(store.rows.value).set(id, row);
    store.session.value = { ...store.session.value, details, ...more };
  });
}

export async function refreshSession(id) {
  try {
    const details = await call("GET", `${sessionPath(id)}/details`);
    const story = await call("GET", `${sessionPath(id)}/history`);
    if (store.session.value?.id === id) setDetails(id, details, { hasFrame: story.has_frame, log: addEvents(EMPTY_LOG, story.events) });
  } catch (problem) {
    if (store.session.value?.id === id && problem.status) refused(problem);
  }
}

function follow(path, { lastId = null, since = null }) {
  let asked = 0;
  stream = new EventStream(path, {
    lastId,
    since,
    onHeard: () => store.heard(),
    onState: (state) => {
      if (typeof state === "string") return state === "open" ? store.heard(state) : (store.link.value = { ...store.link.value, state });
      refused({ status: state, message: "" });
    },
    onEvents: (events) => {
      loading?.push(...events);
      const { missing, touched } = store.take(events);
      touched.forEach(nudge);
      const { name, id } = route.value;
      const over = events.some((event) => event.type === "session.ended");
      if (name === "session" && over) {
        stream?.close();
        store.announce("The session has ended.");
      }
      if (name === "session" && (over || missing)) refreshSession(id);
      if (missing && name === "overview" && !asked) {
        asked = setTimeout(() => {
          asked = 0;
          loadOverview().catch(() => {});
        }, Math.max(300, loadedAt + RELOAD_MS - Date.now()));
      }
    },
  });
}

/** Goes to sign-in for a 401; else shows the error instead of the page until the next attempt. */
function refused(problem, retry) {
  if (problem.status === 401) {
    store.you.value = null;
    if (route.value.name === "sign-in") return;
    const back = location.pathname + location.search;
    return go(`/sign-in${back === "/" ? "" : `?next=${encodeURIComponent(back)}`}`, true);
  }
  store.trouble.value = { status: problem.status, title: problem.title, message: problem.message };
  if (problem.status === 0 || problem.status >= 500) {
    const mine = turn;
    setTimeout(() => mine === turn && retry?.(), 3000);
  }
}

whenSignedOut(() => refused({ status: 401 }));

export async function signIn(credential) {
  store.you.value = await call("POST", "/v1/auth/session", credential);
  go(safeNext(route.value.params.get("next")), true);
}

export async function signOut() {
  await call("DELETE", "/v1/auth/session").catch(() => {});
  batch(() => {
    store.you.value = store.pool.value = store.history.value = null;
    store.rows.value = new Map();
    store.selected.value = new Set();
    store.loaded.value = false;
  });
  go("/sign-in");
}

/** Ends sessions, a few at a time; returns [[id, problem], ...] of those that could not be ended. */
export async function endSessions(ids, onDone) {
  const queue = [...ids];
  const failed = [];
  const worker = async () => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      try {
        await call("DELETE", sessionPath(id));
        nudge(id);
      } catch (problem) {
        failed.push([id, problem.message]);
      }
      onDone?.();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return failed;
}

/** Uploads files to a session, one after the other; returns the ids. A folder replaces an earlier one of its name. `onFile(n)` before the nth. */
export async function uploadFiles(id, files, onFile) {
  const uploads = `${sessionPath(id)}/uploads`;
  const remove = (each) => call("DELETE", `${uploads}/${each}`).catch(() => {});
  const [folder, ...more] = files[0].webkitRelativePath.split("/");
  if (more.length) {
    const { uploads: earlier } = await call("GET", uploads);
    await Promise.all(earlier.filter(({ name }) => name.startsWith(`${folder}/`)).map((each) => remove(each.upload_id)));
  }
  const ids = [];
  try {
    for (const file of files) {
      onFile(ids.length + 1);
      const name = file.webkitRelativePath || file.name;
      ids.push((await call("POST", `${uploads}?${new URLSearchParams({ name })}`, file)).upload_id);
    }
  } catch (problem) {
    ids.forEach(remove);
    throw problem;
  }
  return ids;
}

export async function control(id, action) {
  try {
    const answer = await call("POST", `${sessionPath(id)}/control`, { action });
    store.patchLive({ controlledBy: answer.controlled_by, mine: action === "take", waiting: answer.waiting ?? 0 });
  } catch (problem) {
    store.say(problem.message, true);
  }
}

/** The tab is opened within the click, so that no blocker stops it; it says so until DevTools takes its place. */
export async function openDevtools(id, pageId) {
  const tab = window.open("", "_blank");
  if (tab) {
    tab.document.title = tab.document.body.textContent = "Loading DevTools…";
    tab.document.documentElement.style.colorScheme = getComputedStyle(document.documentElement).colorScheme;
    tab.document.body.style.font = getComputedStyle(document.body).font;
  }
  try {
    const { url } = await call("POST", `${sessionPath(id)}/devtools`, { page_id: pageId });
    const target = new URL(url, location.href);
    if (target.origin !== location.origin) throw new Error("The service returned an address of another site.");
    if (!tab) throw new Error("Allow pop-ups for this page and try again.");
    tab.opener = null;
    tab.location.replace(target.href);
  } catch (problem) {
    tab?.close();
    store.say(problem.message, true);
  }
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    store.say(`${what} copied`);
  } catch {
    if (copyFromField(text)) store.say(`${what} copied`);
    else store.say("This browser does not allow copying here.", true);
  }
}

/** Without HTTPS there is no clipboard API. */
function copyFromField(text) {
  const focused = document.activeElement;
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return done;
}
