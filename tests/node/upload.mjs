// puppeteer-core: files and folders of the session's uploads, into an input and into a file chooser.
import { connect } from "puppeteer-core";
import { readFileSync } from "node:fs";

const { url, file, folder } = JSON.parse(readFileSync(0, "utf8"));
const browser = await connect({ browserWSEndpoint: url, defaultViewport: null });
const [page] = await browser.pages();
await page.setContent("<input id=one type=file><input id=all type=file webkitdirectory>");
const one = await page.$("#one");
const all = await page.$("#all");
const content = () => page.$eval("#one", async (input) => [input.files[0].name, await input.files[0].text()]);

await one.uploadFile(file);
const uploaded = await content();
await one.evaluate((input) => (input.value = ""));
const [chooser] = await Promise.all([page.waitForFileChooser(), one.click()]);
await chooser.accept([file]);
const chosen = await content();
await all.uploadFile(folder);
await page.waitForFunction((input) => input.files.length > 0, {}, all); // Chromium lists a folder's files afterwards
const members = await all.evaluate((input) => [...input.files].map((each) => each.webkitRelativePath).sort());
const refused = await one.uploadFile("/etc/passwd").then(() => "", (error) => error.message);
await browser.disconnect();
console.log(JSON.stringify({ uploaded, chosen, members, refused }));
