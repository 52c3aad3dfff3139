// playwright-core, connected with connectOverCDP.
import { basename } from "node:path";
import { chromium } from "playwright-core";
import { both, FACTS, summary } from "./both.mjs";

await both(async ({ who, url, other, step, page: at, together }) => {
  let browser = await chromium.connectOverCDP(url);
  let context = browser.contexts()[0];
  let page = context.pages()[0];

  await step("options", () => page.evaluate(FACTS));
  await step("goto", async () => {
    await page.goto(at("/"));
    return page.title();
  });
  await step("click", async () => {
    await page.click("#button");
    return page.textContent("#out");
  });
  await step("evaluate", () => page.evaluate(() => 6 * 7));
  await step("screenshot", async () => summary(await page.screenshot()));
  await step("pdf", async () => summary(await page.pdf()));
  await context.addInitScript("window.marker = 'init'");
  await step("new_page", async () => {
    const opened = await context.newPage();
    await opened.goto(at("/popup"));
    const facts = { ...(await opened.evaluate(FACTS)), first: await opened.evaluate("window.first") };
    await opened.close();
    return facts;
  });
  await step("popup", async () => {
    const expected = page.waitForEvent("popup");
    await page.click("#open");
    const popup = await expected;
    await popup.waitForLoadState();
    const facts = await popup.evaluate(FACTS);
    const first = await popup.evaluate("window.first");
    await popup.close();
    return { ...facts, first };
  });
  await step("frame", async () => {
    await page.goto(`${at("/frames")}&inner=${encodeURIComponent(`${other}/inner?who=${who}`)}`);
    const frame = page.frameLocator("[name=inner]");
    await frame.locator("#button").click();
    return frame.locator("#out").textContent();
  });
  await step("worker", async () => {
    const expected = page.waitForEvent("worker");
    await page.goto(at("/worker"));
    return (await expected).evaluate("self.answer");
  });
  await step("service_worker", async () => {
    const expected = context.waitForEvent("serviceworker");
    await page.goto(at("/sw"));
    await page.evaluate("window.ready.then(() => 1)");
    return (await expected).evaluate("self.answer");
  });
  await step("cookies", async () => {
    await context.addCookies([{ name: "who", value: who, url: at("/") }]);
    await page.goto(at("/cookies"));
    return [await page.textContent("body"), (await context.cookies()).map((c) => `${c.name}=${c.value}`)];
  });
  await step("route", async () => {
    await context.route("**/data*", (route) => route.fulfill({ body: "from the client" }));
    await page.goto(at("/fetch"));
    const text = await page.evaluate("fetch('/data').then(response => response.text())");
    await context.unroute("**/data*");
    return [text, await page.evaluate("fetch('/data').then(response => response.text())")];
  });
  await step("dialog", async () => {
    page.once("dialog", (dialog) => dialog.accept("yes"));
    await page.goto(at("/"));
    await page.click("#ask");
    return page.textContent("#out");
  });
  await step("download", async () => {
    const expected = page.waitForEvent("download");
    await page.click("#report");
    const download = await expected;
    return [download.suggestedFilename(), await download.failure(), basename(await download.path())];
  });
  await step("nested", async () => {
    const nested = await browser.newContext({ viewport: { width: 500, height: 400 }, userAgent: "nested/1.0" });
    const inside = await nested.newPage();
    await inside.goto(at("/"));
    const found = [await inside.evaluate(FACTS), (await nested.cookies()).length, browser.contexts().length];
    await nested.close();
    return [...found, browser.contexts().length];
  });
  await together();
  await step("targets", async () => {
    const session = await context.newCDPSession(page);
    const { targetInfos } = await session.send("Target.getTargets");
    await session.detach();
    return [...browser.contexts().flatMap((c) => c.pages()).map((p) => p.url()), ...targetInfos.map((t) => t.url)];
  });
  await together();
  await page.evaluate("window.kept = 'kept'");
  await page.setViewportSize({ width: 400, height: 300 });
  await step("close", async () => {
    const gone = new Promise((done) => browser.once("disconnected", done));
    await browser.close();
    await gone;
    return browser.isConnected();
  });
  await step("reconnect", async () => {
    browser = await chromium.connectOverCDP(url);
    context = browser.contexts()[0];
    page = context.pages()[0];
    const found = [context.pages().length, page.url(), await page.evaluate("window.kept")];
    await browser.close();
    return found;
  });
});
