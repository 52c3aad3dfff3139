// chrome-remote-interface: the protocol itself, with flat sessions.
import CDP from "chrome-remote-interface";
import { both, eventually, FACTS, summary } from "./both.mjs";

// Connects and tracks attached targets; paused targets get the init script before they are resumed.
const open = async (url) => {
  const client = await CDP({ target: url, local: true });
  const attached = new Map();
  const ready = new Map();
  client.on("Target.attachedToTarget", ({ sessionId, targetInfo, waitingForDebugger }) => {
    attached.set(sessionId, targetInfo);
    const send = (method, params) => client.send(method, params, sessionId);
    const below = { autoAttach: true, waitForDebuggerOnStart: true, flatten: true };
    const commands = targetInfo.type.endsWith("worker")
      ? [send("Runtime.runIfWaitingForDebugger")]
      : [
          send("Page.enable"),
          send("Page.addScriptToEvaluateOnNewDocument", { source: "window.marker = 'init'" }),
          send("Target.setAutoAttach", below),
          send("Runtime.runIfWaitingForDebugger"),
        ];
    ready.set(targetInfo.targetId, { sessionId, waited: waitingForDebugger, done: Promise.all(commands) });
    ready.get(targetInfo.targetId).done.catch(() => {}); // the target may be gone before it responds
  });
  client.on("Target.detachedFromTarget", ({ sessionId }) => attached.delete(sessionId));
  await client.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: true, flatten: true });
  const find = (matches) => eventually(() => [...attached].find(([, info]) => matches(info))?.[0]);
  const settled = async (targetId) => {
    const found = await eventually(() => ready.get(targetId));
    await found.done;
    return found.sessionId;
  };
  return { client, attached, find, settled, ready };
};

await both(async ({ who, url, other, step, page: at, together }) => {
  let { client, attached, find, settled, ready } = await open(url);
  const [first] = [...attached].find(([, info]) => info.type === "page");
  const evaluate = async (expression, sessionId = first, contextId = undefined) => {
    const params = { expression, contextId, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await client.send("Runtime.evaluate", params, sessionId);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  const once = (name, sessionId, matches = () => true) =>
    new Promise((done) => {
      const listener = (params, from) => {
        if (from !== sessionId || !matches(params)) return;
        client.off(name, listener);
        done(params);
      };
      client.on(name, listener);
    });
  const goto = async (address, sessionId = first) => {
    const loaded = once("Page.loadEventFired", sessionId);
    const { errorText } = await client.send("Page.navigate", { url: address }, sessionId);
    if (errorText) throw new Error(errorText);
    await loaded;
  };
  const click = async (selector, sessionId = first) => {
    const { x, y } = await evaluate(
      `(({x, y, width, height}) => ({x: x + width / 2, y: y + height / 2}))(
         document.querySelector('${selector}').getBoundingClientRect())`,
      sessionId,
    );
    const at = { x, y, button: "left", clickCount: 1 };
    await client.send("Input.dispatchMouseEvent", { type: "mousePressed", ...at }, sessionId);
    await client.send("Input.dispatchMouseEvent", { type: "mouseReleased", ...at }, sessionId);
  };
  await settled(attached.get(first).targetId);

  await step("options", () => evaluate(FACTS));
  await step("goto", async () => {
    await goto(at("/"));
    return evaluate("document.title");
  });
  await step("click", async () => {
    await click("#button");
    return evaluate("out.textContent");
  });
  await step("evaluate", () => evaluate("6 * 7"));
  await step("screenshot", async () => {
    const { data } = await client.send("Page.captureScreenshot", { format: "png" }, first);
    return summary(Buffer.from(data, "base64"));
  });
  await step("pdf", async () => {
    const { stream } = await client.send("Page.printToPDF", { transferMode: "ReturnAsStream" }, first);
    const { data, base64Encoded } = await client.send("IO.read", { handle: stream, size: 1024 }, first);
    await client.send("IO.close", { handle: stream }, first);
    return summary(Buffer.from(data, base64Encoded ? "base64" : "utf8"));
  });
  await step("new_page", async () => {
    const { targetId } = await client.send("Target.createTarget", { url: at("/popup") });
    const sessionId = await settled(targetId);
    // During the navigation from about:blank, Chromium responds that the document is gone.
    const first = await eventually(() => evaluate("window.first", sessionId).catch(() => null));
    const facts = await evaluate(FACTS, sessionId);
    await client.send("Target.closeTarget", { targetId });
    return { ...facts, first };
  });
  await step("popup", async () => {
    await click("#open");
    const sessionId = await find((info) => info.type === "page" && info.openerId);
    const { targetId } = attached.get(sessionId);
    await settled(targetId);
    await eventually(() => evaluate("window.first", sessionId).catch(() => null));
    const facts = await evaluate(FACTS, sessionId);
    const loaded = once("Page.loadEventFired", sessionId);
    await client.send("Page.reload", {}, sessionId); // as in playwright.mjs
    await loaded;
    const seen = await evaluate("window.first", sessionId);
    await client.send("Target.closeTarget", { targetId });
    return { ...facts, first: seen };
  });
  await step("frame", async () => {
    await goto(`${at("/frames")}&inner=${encodeURIComponent(`${other}/inner?who=${who}`)}`);
    // With site isolation, a frame of another site is a separate target; the headless shell does not isolate sites.
    const [sessionId, contextId] = await eventually(async () => {
      const below = [...attached].find(([, info]) => info.type === "iframe");
      if (below) return [below[0]];
      const { frameTree } = await client.send("Page.getFrameTree", {}, first);
      const inner = frameTree.childFrames?.find(({ frame }) => frame.url.startsWith(other));
      if (!inner) return null;
      const world = await client.send("Page.createIsolatedWorld", { frameId: inner.frame.id }, first);
      return [first, world.executionContextId];
    });
    await eventually(() => evaluate("document.querySelector('#out') && true", sessionId, contextId));
    await evaluate("document.querySelector('#button').click()", sessionId, contextId);
    return eventually(() => evaluate("document.querySelector('#out').textContent", sessionId, contextId));
  });
  await step("worker", async () => {
    await goto(at("/worker"));
    const sessionId = await find((info) => info.type === "worker");
    return eventually(() => evaluate("self.answer", sessionId));
  });
  await step("service_worker", async () => {
    await goto(at("/sw"));
    await evaluate("window.ready.then(() => 1)");
    const sessionId = await find((info) => info.type === "service_worker");
    return eventually(() => evaluate("self.answer", sessionId));
  });
  await step("cookies", async () => {
    await client.send("Storage.setCookies", { cookies: [{ name: "who", value: who, url: at("/") }] });
    await goto(at("/cookies"));
    const { cookies } = await client.send("Storage.getCookies");
    return [await evaluate("document.body.textContent"), cookies.map((c) => `${c.name}=${c.value}`)];
  });
  await step("route", async () => {
    await goto(at("/fetch"));
    await client.send("Fetch.enable", { patterns: [{ urlPattern: "*/data*" }] }, first);
    const paused = once("Fetch.requestPaused", first);
    const fetched = evaluate("fetch('/data').then(response => response.text())");
    const { requestId } = await paused;
    const body = Buffer.from("from the client").toString("base64");
    await client.send("Fetch.fulfillRequest", { requestId, responseCode: 200, body }, first);
    const text = await fetched;
    await client.send("Fetch.disable", {}, first);
    return [text, await evaluate("fetch('/data').then(response => response.text())")];
  });
  await step("dialog", async () => {
    await goto(at("/"));
    const opening = once("Page.javascriptDialogOpening", first);
    const prompted = evaluate("prompt('What?')");
    await opening;
    await client.send("Page.handleJavaScriptDialog", { accept: true, promptText: "yes" }, first);
    return prompted;
  });
  await step("download", async () => {
    const wanted = { behavior: "allow", downloadPath: "/no", eventsEnabled: true };
    await client.send("Browser.setDownloadBehavior", wanted);
    const begun = once("Browser.downloadWillBegin", undefined);
    const ended = once("Browser.downloadProgress", undefined, ({ state }) => state !== "inProgress");
    await click("#report");
    const { suggestedFilename, guid } = await begun;
    return [suggestedFilename, (await ended).state, "filePath" in (await ended), guid];
  });
  await step("nested", async () => {
    const { browserContextId } = await client.send("Target.createBrowserContext");
    const { targetId } = await client.send("Target.createTarget", { url: "about:blank", browserContextId });
    const sessionId = await settled(targetId);
    await goto(at("/"), sessionId);
    const { cookies } = await client.send("Storage.getCookies", { browserContextId });
    const contexts = async () => (await client.send("Target.getBrowserContexts")).browserContextIds.length;
    const found = [await evaluate("document.title", sessionId), cookies.length, await contexts()];
    await client.send("Target.disposeBrowserContext", { browserContextId });
    return [...found, await contexts()];
  });
  await together();
  await step("targets", async () => {
    const { targetInfos } = await client.send("Target.getTargets");
    return [...[...attached.values()].map((info) => info.url), ...targetInfos.map((info) => info.url)];
  });
  await together();
  await evaluate("window.kept = 'kept'");
  const small = { width: 400, height: 300, deviceScaleFactor: 1, mobile: false };
  await client.send("Emulation.setDeviceMetricsOverride", small, first);
  await step("close", async () => {
    const gone = new Promise((done) => client.once("disconnect", done));
    await client.send("Browser.close");
    await gone;
    return false;
  });
  await step("reconnect", async () => {
    ({ client, attached } = await open(url));
    const pages = [...attached].filter(([, info]) => info.type === "page");
    const found = [pages.length, pages[0][1].url, await evaluate("window.kept", pages[0][0])];
    await client.close();
    return found;
  });
});
