// The live view of one session: frames in, drawn newest first; the operator's input out.
import { sessionPath } from "./api.js";
import { closeMeaning, parseFrame } from "./pure/frame.js";
import { backoff } from "./pure/sse.js";
import { NO_LIVE, live, patchLive, say, you } from "./store.js";

const MAX_FPS = 30;

export class LiveView {
  header = null;
  #next = null;
  #drawing = false;
  #frames = 0;
  #tries = 0;
  #greeted = false;

  /** `onEnded()`: the session has ended; load its record. */
  constructor(id, canvas, width, onEnded) {
    Object.assign(this, { id, canvas, width, onEnded, pageId: null });
    live.value = NO_LIVE;
    this.paint = canvas.getContext("2d", { alpha: false });
    this.rate = setInterval(() => {
      if (live.value.fps !== this.#frames) patchLive({ fps: this.#frames });
      this.#frames = 0;
    }, 1000);
    this.#connect();
  }

  close() {
    this.closed = true;
    clearInterval(this.rate);
    clearTimeout(this.again);
    this.socket?.close(1000);
  }

  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
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
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#received(data) : this.#offer(data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #received(data) {
    const { type, ...message } = JSON.parse(data);
    const by = message.controlled_by ?? null;
    switch (type) {
      case "hello":
        this.#tries = 0;
        this.#greeted = true;
        patchLive({ phase: "open", text: "", canControl: message.can_control, viewers: message.viewers, pageId: message.page_id });
        break;
      case "pages":
        patchLive({ pages: message.pages, pageId: message.page_id ?? live.value.pageId });
        break;
      case "url":
        patchLive({ url: message.url, title: message.title });
        break;
      case "problem":
        say(message.detail, true);
        break;
    }
    if (type === "hello" || type === "control") {
      patchLive({ controlledBy: by, mine: message.yours ?? (by !== null && by === you.value?.name), waiting: message.waiting ?? 0 });
    }
    if (message.viewers != null) patchLive({ viewers: message.viewers });
  }

  #lost(code, reason) {
    if (this.closed) return;
    const meaning = closeMeaning(code);
    if (!this.#greeted) this.pageId = null; // the page may have been closed meanwhile
    this.#greeted = false;
    const text = reason && !meaning.again ? reason : meaning.text;
    patchLive({ ...NO_LIVE, phase: meaning.ended ? "ended" : meaning.again ? "lost" : "refused", text });
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
      patchLive({ width: header.css_width, height: header.css_height });
    }
    canvas.dataset.seq = header.seq;
  }
}
