// An event stream that reconnects. Read with fetch, because EventSource reports neither the status of an error response
// nor heartbeats.
import { backoff, sseParser } from "./pure/sse.js";

/** Silence after which the server is probed; its heartbeat comes every 15 s. */
const QUIET_MS = 5000;
/** A probe that takes longer counts as lost. */
const PROBE_MS = 3000;
/** Events are delivered in batches: 200 of them a second are five updates of the screen. */
const BATCH_MS = 200;
/** A hidden page closes its connection after this time: browsers allow six for a server. */
const HIDDEN_MS = 30000;

export class EventStream {
  #stop = null;
  #lastId;
  #batch = [];
  #timer = 0;

  /** `onState(state)`: "open", "lost", or the HTTP status of an error response. `onEvents(list)`. */
  constructor(path, { lastId = null, since = null, onEvents, onState, onHeard }) {
    Object.assign(this, { path, since, onEvents, onState, onHeard });
    this.#lastId = lastId;
    this.#run();
    document.addEventListener("visibilitychange", this.#visibility);
  }

  close() {
    document.removeEventListener("visibilitychange", this.#visibility);
    clearTimeout(this.hiding);
    clearTimeout(this.#timer);
    this.closed = true;
    this.#stop?.abort();
  }

  #visibility = () => {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.paused = true;
        this.#stop?.abort();
      }, HIDDEN_MS);
    } else if (this.paused) {
      this.paused = false;
      this.#run();
    }
  };

  async #run() {
    for (let tries = 0; !this.closed && !this.paused; tries += 1) {
      try {
        await this.#read(() => (tries = 0));
      } catch (problem) {
        if (problem.refused) return this.onState(problem.refused);
      }
      if (this.closed || this.paused) return;
      this.onState("lost");
      await new Promise((done) => setTimeout(done, backoff(tries) * 1000));
    }
  }

  async #read(onOpen) {
    const stop = (this.#stop = new AbortController());
    const query = new URLSearchParams();
    if (this.#lastId) query.set("last_event_id", this.#lastId);
    else if (this.since) query.set("since", this.since);
    let heard = performance.now();
    const watch = setInterval(async () => {
      if (document.hidden || performance.now() - heard < QUIET_MS) return;
      try {
        await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
        heard = performance.now();
        this.onHeard();
      } catch {
        stop.abort();
      }
    }, 1000);
    try {
      const answer = await fetch(query.size ? `${this.path}?${query}` : this.path, {
        headers: { Accept: "text/event-stream" }, cache: "no-store", signal: stop.signal,
      });
      if (!answer.ok) {
        throw Object.assign(new Error(), { refused: answer.status < 500 && answer.status !== 429 ? answer.status : 0 });
      }
      if (answer.status === 204) return this.close(); // the session has ended, and its last event is known
      onOpen();
      this.onState("open");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const feed = sseParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return this.#flush();
        heard = performance.now();
        this.onHeard();
        for (const event of feed(value)) this.#take(event);
      }
    } finally {
      clearInterval(watch);
    }
  }

  #take({ id, event, data }) {
    if (id) this.#lastId = id;
    let decoded;
    try {
      decoded = data ? JSON.parse(data) : {};
    } catch {
      return; // a malformed event is skipped
    }
    this.#batch.push({ id, type: event, ...decoded });
    this.#timer ||= setTimeout(() => this.#flush(), BATCH_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const events = this.#batch;
    this.#batch = [];
    if (events.length) this.onEvents(events);
  }
}
