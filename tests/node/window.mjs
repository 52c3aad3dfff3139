// Opens a window with its own size. Prints the size of its page as opened and after a navigation.
import puppeteer from "puppeteer-core";

let text = "";
for await (const part of process.stdin) text += part;
const { url, bounds } = JSON.parse(text);

const browser = await puppeteer.connect({ browserWSEndpoint: url, defaultViewport: null });
const [page] = await browser.pages();
const opened = await page.browserContext().newPage({ type: "window", windowBounds: bounds });
const size = "[innerWidth, innerHeight]";
const first = await opened.evaluate(size);
await opened.goto("data:text/html,<p>again");
console.log(JSON.stringify([first, await opened.evaluate(size)]));
await browser.disconnect();
