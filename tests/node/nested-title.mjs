// The title of an address in a context that Puppeteer makes. Standard input: {url, address}.
import { connect } from "puppeteer-core";
import { read } from "./both.mjs";

const { url, address } = await read();
const browser = await connect({ browserWSEndpoint: url, defaultViewport: null });
const context = await browser.createBrowserContext();
const page = await context.newPage();
await page.goto(address);
console.log(JSON.stringify(await page.title()));
await context.close();
await browser.disconnect();
process.exit(0);
