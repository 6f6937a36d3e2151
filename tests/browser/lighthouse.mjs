// What Lighthouse says to the three pages that are looked at most: `node tests/browser/lighthouse.mjs BINARY`, after `npm ci` in
// target/browser. Fails below 95 of 100.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Service } from "./service.mjs";

const LEAST = 95;
const root = fileURLToPath(new URL("../..", import.meta.url));
const require = createRequire(`${root}target/browser/package.json`);
const named = (name) => import(pathToFileURL(require.resolve(name)));
const { default: lighthouse, desktopConfig } = await named("lighthouse");
const { launch } = await named("chrome-launcher");

const service = await Service.start(resolve(process.argv[2] ?? `${root}target/release/firstlight`));
const runs = await service.fill();
const chrome = await launch({
    chromePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    chromeFlags: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
let worst = 100;
for (const [name, path] of Object.entries({ Overview: "/admin/", Runs: "/admin/runs", "Run detail": `/admin/runs/${runs.release}` })) {
    for (const [form, config] of Object.entries({ desktop: desktopConfig, phone: undefined })) {
        const options = {
            port: chrome.port,
            logLevel: "error",
            onlyCategories: ["performance", "accessibility", "best-practices"],
            extraHeaders: { Authorization: `Bearer ${service.token}` },
        };
        const { lhr } = await lighthouse(service.url + path, options, config);
        const scores = Object.values(lhr.categories).map((one) => [one.title, Math.round(one.score * 100)]);
        console.log(`${name}, ${form}: ${scores.map((one) => one.join(" ")).join(", ")}`);
        worst = Math.min(worst, ...scores.map(([, score]) => score));
        const failed = Object.values(lhr.audits).filter((one) => one.score === 0 && one.scoreDisplayMode === "binary");
        for (const audit of failed) console.log(`    ${audit.id}: ${audit.title}`);
    }
}
chrome.kill();
await service.stop();
if (worst < LEAST) {
    console.error(`the worst score is ${worst}, and ${LEAST} is the least`);
    process.exitCode = 1;
}
