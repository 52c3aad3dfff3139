// Creates a session and connects to it with one call. Prints the width of its page.
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

let text = "";
for await (const part of process.stdin) text += part;
const { client, url } = JSON.parse(text);

if (client === "playwright") {
  const browser = await chromium.connectOverCDP(url);
  console.log(await browser.contexts()[0].pages()[0].evaluate("innerWidth"));
  await browser.close();
} else {
  const browser = await puppeteer.connect({ browserWSEndpoint: url, defaultViewport: null });
  const [page] = await browser.pages();
  console.log(await page.evaluate("innerWidth"));
  await browser.disconnect();
}
