// Puppeteer changes all that it can of a page, waits for a line on standard input, and leaves.
// First line: {url}. Standard output: "ready" once all is changed.
import { createInterface } from "node:readline";
import { connect } from "puppeteer-core";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { url } = JSON.parse((await lines.next()).value);
const browser = await connect({ browserWSEndpoint: url, defaultViewport: null });
const [page] = await browser.pages();
await page.setViewport({ width: 420, height: 640, deviceScaleFactor: 2, isMobile: false, hasTouch: true });
await page.setUserAgent({ userAgent: "client/2.0" });
await page.setExtraHTTPHeaders({ "x-client": "client" });
await page.setGeolocation({ latitude: 10, longitude: 20 });
await page.emulateTimezone("America/New_York");
await page.emulateMediaFeatures([
  { name: "prefers-color-scheme", value: "light" },
  { name: "prefers-reduced-motion", value: "reduce" },
]);
console.log("ready");
await lines.next();
await browser.disconnect();
process.exit(0);
