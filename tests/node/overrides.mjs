// Puppeteer sets every page override it has, waits for a line on standard input, and disconnects.
// First line: {url}. Standard output: "ready" once the overrides are set.
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
