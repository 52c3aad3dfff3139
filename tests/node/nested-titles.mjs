// The titles of addresses, each in a context that Puppeteer makes for it. Standard input: {url, addresses}.
import { connect } from "puppeteer-core";
import { read } from "./both.mjs";

const { url, addresses } = await read();
const browser = await connect({ browserWSEndpoint: url, defaultViewport: null });
const titles = [];
for (const address of addresses) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.goto(address);
  titles.push(await page.title());
  await context.close();
}
console.log(JSON.stringify(titles));
await browser.disconnect();
process.exit(0);
