// Opens windows in every way and reports, for each, when the client was notified and when it could use the window.
// Standard input: {client, key, page, patience, failures, jobs: [{url, downloads, nested, cells: [...]}]}; a cell is a
// `Cell` of tests/harness/scenarios/windows.py. Standard output: for each job a list of {id, clicked, event, usable, popup, error}; times
// in seconds since the epoch.
import { chromium } from "playwright-core";
import { connect } from "puppeteer-core";
import { eventually, read, within } from "./both.mjs";

const now = () => Date.now() / 1000;
const NESTED = { viewport: { width: 640, height: 480 }, userAgent: "nested/1.0", timezoneId: "Asia/Tokyo" };

const { client, key, page: from, patience, failures, jobs } = await read();

// A common interface of both clients: {page, opened(listener), aim(cell), click, usable(window, id), close(window), leave()}
const withPlaywright = async ({ url, nested }) => {
  const browser = await chromium.connectOverCDP(url);
  const context = nested ? await browser.newContext(NESTED) : browser.contexts()[0];
  await context.addInitScript("window.marker = 'init'");
  const page = nested ? await context.newPage() : context.pages()[0];
  return {
    page,
    opened: (listener) => context.on("page", listener),
    usable: (window, id) => window.waitForURL(new RegExp(id), { timeout: patience * 1000 }),
    others: () => context.pages().filter((each) => each !== page),
    leave: async () => {
      if (nested) await context.close();
      await browser.close();
    },
  };
};

const withPuppeteer = async ({ url, nested }) => {
  const browser = await connect({ browserWSEndpoint: url, defaultViewport: null });
  const context = nested ? await browser.createBrowserContext() : browser.defaultBrowserContext();
  const page = nested ? await context.newPage() : (await context.pages())[0];
  return {
    page,
    opened: (listener) =>
      context.on("targetcreated", async (target) => {
        const at = now();
        if (target.type() === "page") listener(await target.page().catch(() => null), at);
      }),
    usable: (window, id) =>
      window.waitForFunction(`location.href.includes("${id}") && document.readyState === "complete"`, {
        timeout: patience * 1000,
        polling: 5,
      }),
    others: async () => (await context.pages()).filter((each) => each !== page),
    leave: async () => {
      if (nested) await context.close();
      await browser.disconnect();
    },
  };
};

const downloaded = async (downloads, id) => {
  const response = await fetch(downloads, { headers: { "X-API-Key": key } });
  const files = (await response.json()).downloads;
  return files.some((file) => file.filename === `${id}.txt` && file.state === "completed");
};

const openOne = async (driver, cell, downloads, outcome) => {
  const { page } = driver;
  const { id, trigger, frame, base, attachment } = cell;
  const [x, y] = await page.evaluate((args) => aim(...args), [trigger, frame, base, id]);
  const arrived = new Promise((done) => {
    driver.listen((window, at) => {
      if (window) driver.usable(window, id).then(() => done([at, now()])).catch(() => {});
    });
  });
  driver.popups = 0;
  outcome.clicked = now();
  if (trigger === "control") await page.keyboard.down("Control");
  await page.mouse.click(x, y, { button: trigger === "middle" ? "middle" : "left" });
  if (trigger === "control") await page.keyboard.up("Control");
  if (attachment) {
    await eventually(() => downloaded(downloads, id), 20);
    outcome.event = outcome.usable = now();
  } else {
    [outcome.event, outcome.usable] = await arrived;
    outcome.popup = driver.popups > 0;
  }
};

const blank = ({ id }) => ({ id, clicked: null, event: null, usable: null, popup: false, error: null });

const run = async (job) => {
  const start = client === "playwright" ? withPlaywright : withPuppeteer;
  try {
    return await openAll(await within(start(job)), job);
  } catch (error) {
    return job.cells.map((cell) => ({ ...blank(cell), error: `the client could not start: ${error?.message}` }));
  }
};

const openAll = async (driver, job) => {
  let listener = () => {};
  driver.listen = (next) => (listener = next);
  driver.opened((window, at = now()) => listener(window, at));
  driver.page.on("popup", () => (driver.popups += 1));
  await within(driver.page.goto(from));
  const results = [];
  let failed = 0;
  for (const cell of job.cells) {
    const outcome = blank(cell);
    results.push(outcome);
    if (failed >= failures) {
      outcome.error = "not tried";
      continue;
    }
    try {
      await within(openOne(driver, cell, job.downloads, outcome), patience * 1000);
    } catch (error) {
      outcome.error = String(error?.message ?? error);
      failed += 1;
    }
    const others = await within(Promise.resolve(driver.others()), patience * 1000).catch(() => []);
    await Promise.all(others.map((each) => within(each.close(), patience * 1000).catch(() => {})));
  }
  await within(driver.leave()).catch(() => {});
  return results;
};

process.on("unhandledRejection", () => {}); // a window that closes while a call waits for it
const results = await Promise.all(jobs.map(run));
process.stdout.write(JSON.stringify(results), () => process.exit(0));
