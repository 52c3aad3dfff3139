// puppeteer-core, connected by browserWSEndpoint. It has no init scripts for popups, so that part is skipped.
import { connect } from "puppeteer-core";
import { both, eventually, FACTS, summary } from "./both.mjs";

await both(async ({ who, url, other, step, page: at, together }) => {
  const options = {
    browserWSEndpoint: url,
    defaultViewport: null,
    downloadBehavior: { policy: "allow", downloadPath: "/nowhere" },
  };
  let browser = await connect(options);
  let [page] = await browser.pages();

  await step("options", () => page.evaluate(FACTS));
  await step("goto", async () => {
    await page.goto(at("/"));
    return page.title();
  });
  await step("click", async () => {
    await page.click("#button");
    return page.$eval("#out", (out) => out.textContent);
  });
  await step("evaluate", () => page.evaluate(() => 6 * 7));
  await step("screenshot", async () => summary(await page.screenshot()));
  await step("pdf", async () => summary(await page.pdf()));
  await step("new_page", async () => {
    const opened = await browser.newPage();
    await opened.evaluateOnNewDocument("window.marker = 'init'");
    await opened.goto(at("/popup"));
    const facts = { ...(await opened.evaluate(FACTS)), first: await opened.evaluate("window.first") };
    await opened.close();
    return facts;
  });
  await step("popup", async () => {
    const expected = new Promise((done) => page.once("popup", done));
    await page.click("#open");
    const popup = await expected;
    await popup.waitForFunction("document.title === 'Popup'");
    const facts = await popup.evaluate(FACTS);
    const first = await popup.evaluate("window.first");
    await popup.close();
    return { ...facts, first };
  });
  await step("frame", async () => {
    await page.goto(`${at("/frames")}&inner=${encodeURIComponent(`${other}/inner?who=${who}`)}`);
    const frame = await page.waitForFrame((each) => each.url().startsWith(other));
    await (await frame.waitForSelector("#button")).click();
    return frame.$eval("#out", (out) => out.textContent);
  });
  await step("worker", async () => {
    const expected = new Promise((done) => page.once("workercreated", done));
    await page.goto(at("/worker"));
    const worker = await expected;
    return eventually(() => worker.evaluate("self.answer"));
  });
  await step("service_worker", async () => {
    const expected = browser.waitForTarget((target) => target.type() === "service_worker");
    await page.goto(at("/sw"));
    await page.evaluate("window.ready.then(() => 1)");
    const worker = await (await expected).worker();
    return eventually(() => worker.evaluate("self.answer"));
  });
  await step("cookies", async () => {
    await browser.setCookie({ name: "who", value: who, url: at("/"), domain: "127.0.0.1" });
    await page.goto(at("/cookies"));
    const sent = await page.$eval("body", (body) => body.textContent);
    return [sent, (await browser.cookies()).map((c) => `${c.name}=${c.value}`)];
  });
  await step("route", async () => {
    const respond = (request) =>
      request.url().includes("/data") ? request.respond({ body: "from the client" }) : request.continue();
    await page.goto(at("/fetch"));
    await page.setRequestInterception(true);
    page.on("request", respond);
    const text = await page.evaluate("fetch('/data').then(response => response.text())");
    page.off("request", respond);
    await page.setRequestInterception(false);
    return [text, await page.evaluate("fetch('/data').then(response => response.text())")];
  });
  await step("dialog", async () => {
    page.once("dialog", (dialog) => dialog.accept("yes"));
    await page.goto(at("/"));
    await page.click("#ask");
    return page.$eval("#out", (out) => out.textContent);
  });
  await step("download", async () => {
    const session = await page.createCDPSession();
    await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: "/no", eventsEnabled: true });
    const begun = new Promise((done) => session.once("Browser.downloadWillBegin", done));
    const ended = new Promise((done) =>
      session.on("Browser.downloadProgress", (progress) => progress.state === "inProgress" || done(progress)),
    );
    await page.click("#report");
    const { suggestedFilename, guid } = await begun;
    const found = [suggestedFilename, (await ended).state, "filePath" in (await ended), guid];
    await session.detach();
    return found;
  });
  await step("nested", async () => {
    const nested = await browser.createBrowserContext();
    const inside = await nested.newPage();
    await inside.goto(at("/"));
    const found = [await inside.title(), (await nested.cookies()).length, browser.browserContexts().length];
    await nested.close();
    return [...found, browser.browserContexts().length];
  });
  await together();
  await step("targets", async () => {
    const session = await page.createCDPSession();
    const { targetInfos } = await session.send("Target.getTargets");
    await session.detach();
    return [...browser.targets().map((t) => t.url()), ...targetInfos.map((t) => t.url)];
  });
  await together();
  await page.evaluate("window.kept = 'kept'");
  await page.setViewport({ width: 400, height: 300 });
  await step("close", async () => {
    const gone = new Promise((done) => browser.once("disconnected", done));
    await browser.close();
    await gone;
    return browser.connected;
  });
  await step("reconnect", async () => {
    browser = await connect(options);
    const pages = await browser.pages();
    const found = [pages.length, pages[0].url(), await pages[0].evaluate("window.kept")];
    await browser.disconnect();
    return found;
  });
});
