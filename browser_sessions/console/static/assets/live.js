// The live view of one session: frames in, drawn newest first; the operator's input out.
import { copy } from "./actions.js";
import { sessionPath } from "./api.js";
import { closeMeaning, parseFrame } from "./pure/frame.js";
import { plural } from "./pure/format.js";
import { backoff } from "./pure/sse.js";
import { NO_LIVE, live, notice, patchLive, say, you } from "./store.js";

const MAX_FPS = 30;

/** Milliseconds between two beats. Each sends a ping, unless one is unanswered. */
const BEAT_MS = 300;
/** Milliseconds without a message, after a ping, until the picture says so. */
const SILENT_MS = 1400;
/** And until the connection is given up: what is typed meanwhile arrives late if it recovers. */
const LOST_MS = 5000;

/** What a person does: moves and releases belong to something else. */
const isInput = ({ type, action }) => !["ack", "view", "ping"].includes(type) && (!action || action === "down" || action === "start");

export class LiveView {
  header = null;
  #next = null;
  #drawing = false;
  #frames = 0;
  #tries = 0;
  #greeted = false;
  #heard = 0;
  /** When the unanswered ping was sent, and how many inputs had been sent before it: they have arrived when it is answered. */
  #asked = 0;
  #before = 0;
  #inputs = 0;

  /** `onEnded()`: the session has ended; load its record. */
  constructor(id, canvas, width, onEnded) {
    Object.assign(this, { id, canvas, width, onEnded, pageId: null, problem: null });
    live.value = NO_LIVE;
    this.paint = canvas.getContext("2d", { alpha: false });
    this.rate = setInterval(() => {
      if (live.value.fps !== this.#frames) patchLive({ fps: this.#frames });
      this.#frames = 0;
    }, 1000);
    this.beats = setInterval(() => this.#beat(), BEAT_MS);
    this.#connect();
  }

  close() {
    this.closed = true;
    live.value = NO_LIVE;
    if (notice.value === this.problem) notice.value = null; // it was about a page that is no longer shown
    clearInterval(this.rate);
    clearInterval(this.beats);
    clearTimeout(this.again);
    this.socket?.close(1000);
  }

  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (isInput(message)) this.#inputs += 1;
    this.socket.send(JSON.stringify(message));
  }

  /** Requests another page, or another width of the picture (device px). */
  view(change) {
    Object.assign(this, change);
    this.send({ type: "view", page_id: this.pageId, max_width: this.width, max_fps: MAX_FPS });
  }

  #connect() {
    const query = new URLSearchParams({ max_width: this.width, max_fps: MAX_FPS });
    if (this.pageId) query.set("page_id", this.pageId);
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${sessionPath(this.id)}/live?${query}`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.#heard = performance.now();
      if (live.value.silent) patchLive({ silent: false });
      if (typeof data === "string") this.#received(data);
      else this.#offer(data);
    };
    socket.onclose = ({ code, reason }) => socket === this.socket && this.#lost(code, reason);
    this.#asked = performance.now();
    this.#inputs = this.#before = 0;
  }

  #beat() {
    const { socket } = this;
    if (!socket) return;
    const now = performance.now();
    if (!this.#asked) {
      this.#asked = now;
      this.#before = this.#inputs;
      return this.send({ type: "ping" });
    }
    const silence = now - Math.max(this.#asked, this.#heard);
    if (silence > LOST_MS) {
      socket.close();
      this.#lost(1006, "");
    } else if (silence > SILENT_MS && this.#greeted && !live.value.silent) patchLive({ silent: true });
  }

  #received(data) {
    if (this.closed) return;
    const { type, ...message } = JSON.parse(data);
    const by = message.controlled_by ?? null;
    switch (type) {
      case "hello":
        this.#tries = 0;
        this.#greeted = true;
        this.#asked = 0;
        if (live.value.lost) say(`Connected again. ${plural(live.value.lost, "input")} may not have reached the page.`, true);
        patchLive({ phase: "open", text: "", lost: null, canControl: message.can_control, viewers: message.viewers, pageId: message.page_id });
        break;
      case "pong":
        this.#asked = 0;
        this.#inputs -= this.#before;
        this.#before = 0;
        break;
      case "copied":
        if (message.text) copy(message.text, "Selection");
        else say("Nothing is selected on the page.");
        break;
      case "pages":
        this.pageId = message.page_id;
        patchLive({ pages: message.pages, pageId: message.page_id });
        if (!message.pages.some((page) => page.page_id === live.value.chooser?.page_id)) patchLive({ chooser: null });
        if (!message.page_id) {
          this.header = null;
          patchLive({ drawn: false, url: "", title: "" });
        }
        break;
      case "url":
        if (message.url !== live.value.url && !this.#failed() && notice.value === this.problem) notice.value = null; // it was about another address
        patchLive({ url: message.url, title: message.title });
        break;
      case "picker":
        if (!live.value.picker) patchLive({ picker: message });
        break;
      case "file_chooser":
        patchLive({ chooser: message });
        break;
      case "file_chooser_closed":
        if (live.value.chooser?.page_id === message.page_id) patchLive({ chooser: null });
        break;
      case "download":
        say("The address is a file. It is downloaded into the session; the page stays.");
        break;
      case "problem":
        say(message.detail, true);
        this.problem = notice.value;
        break;
    }
    if (type === "hello" || type === "control") {
      const mine = message.yours ?? (by !== null && by === you.value?.name);
      patchLive({ controlledBy: by, mine, waiting: message.waiting ?? 0, chooser: mine ? live.value.chooser : null });
    }
    if (message.viewers != null) patchLive({ viewers: message.viewers });
  }

  #failed() {
    return live.value.pages.find((page) => page.page_id === this.pageId)?.failed;
  }

  #lost(code, reason) {
    if (this.closed) return;
    const meaning = closeMeaning(code, reason);
    if (!this.#greeted) this.pageId = null; // the page may have been closed meanwhile
    this.#greeted = false;
    const text = reason && !meaning.again ? reason : meaning.text;
    const lost = !meaning.again ? null : live.value.mine ? this.#inputs : live.value.lost;
    this.socket = this.header = null;
    patchLive({ ...NO_LIVE, lost, phase: meaning.ended ? "ended" : meaning.again ? "lost" : "refused", text });
    if (meaning.again) this.again = setTimeout(() => this.#connect(), backoff(this.#tries++) * 1000);
    this.onEnded();
  }

  /** Draws the newest frame; those that arrive while one is being drawn are dropped, but for the last. */
  #offer(buffer) {
    this.#next = parseFrame(buffer) ?? this.#next;
    if (!this.#drawing) this.#draw();
  }

  async #draw() {
    this.#drawing = true;
    while (this.#next && !this.closed) {
      const { header, jpeg } = this.#next;
      this.#next = null;
      try {
        const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
        await new Promise(requestAnimationFrame);
        this.#put(header, picture);
      } catch {
        continue; // a broken picture: the next one follows
      }
      this.#frames += 1;
      this.send({ type: "ack", seq: header.seq });
    }
    this.#drawing = false;
  }

  #put(header, picture) {
    const { canvas } = this;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    this.paint.drawImage(picture, 0, 0);
    picture.close();
    const old = this.header;
    this.header = header;
    if (!live.value.drawn) patchLive({ drawn: true });
    if (old?.css_width !== header.css_width || old?.css_height !== header.css_height) {
      const viewport = [header.css_width, header.css_height].map((side) => Math.round(side * (header.scale || 1)));
      patchLive({ width: header.css_width, height: header.css_height, viewport });
    }
    canvas.dataset.seq = header.seq;
  }
}
