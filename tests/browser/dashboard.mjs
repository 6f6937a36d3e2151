// The dashboard in a real browser: `node tests/browser/dashboard.mjs BINARY`, after `npm ci` in target/browser.
// Screenshots of every page go to target/screenshots.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request, createServer } from "node:http";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PASSWORD, Service, until } from "./service.mjs";
import { Nginx, Platforms } from "./stand-ins.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const require = createRequire(`${root}target/browser/package.json`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const binary = resolve(process.argv[2] ?? `${root}target/release/firstlight`);
const shots = `${root}target/screenshots`;
const MODES = {
    light: { colorScheme: "light", viewport: { width: 1280, height: 850 } },
    dark: { colorScheme: "dark", viewport: { width: 1280, height: 850 } },
    phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

let platforms, service, runs, browser;

before(async () => {
    mkdirSync(shots, { recursive: true });
    platforms = await Platforms.start();
    service = await Service.start(binary, { env: (url) => ({ ...platforms.env, PUBLIC_URL: url }), settings: "outbound: {allow: [127.0.0.1]}\n" });
    runs = await service.fill();
    const thread = await platforms.writes("Hello! Does the <b>parser</b> know tabs by now?");
    await platforms.writes("status", thread);
    await platforms.writes("\u05e9\u05dc\u05d5\u05dd <script>document.title='taken'</script> \u202eabc", thread);
    await until("the conversation", async () => (await service.api("/admin/api/sessions")).sessions[0]?.messageCount > 4);
    browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
        args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
});

after(async () => {
    await browser?.close();
    await service?.stop();
    platforms?.stop();
});

// A page of somebody signed in; what the browser complains about is a fault.
async function visit(path = "/admin/", { mode = "light", url = service.url } = {}) {
    const context = await browser.newContext(MODES[mode]);
    const page = await context.newPage();
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (line) => {
        // A page that is not there, and a service that is away, are what some tests are about.
        const expected = /404 \(Not Found\)|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|40[13] \(|50[23] \(/.test(line.text());
        if (["error", "warning"].includes(line.type()) && !expected) complaints.push(line.text());
    });
    page.on("dialog", (dialog) => { complaints.push(`a dialog of the browser: ${dialog.message()}`); dialog.dismiss(); });
    page.complaints = complaints;
    await page.goto(`${url}/admin/login?next=${encodeURIComponent(path)}`);
    await page.fill("#password", PASSWORD);
    await page.click("button[type=submit]");
    await page.waitForURL((at) => !at.pathname.endsWith("/login"));
    return page;
}

async function leave(page) {
    assert.deepEqual(page.complaints, []);
    await page.context().close();
}

const state = (page) => page.locator("#run .strip .badge").first().textContent();

test("a wrong password is told, and the right one leads to where one wanted to go", async () => {
    const context = await browser.newContext(MODES.light);
    const page = await context.newPage();
    await page.goto(`${service.url}/admin/runs?status=failed`);
    assert.equal(new URL(page.url()).pathname, "/admin/login");
    await page.fill("#password", "wrong");
    await page.click("button[type=submit]");
    await page.getByText("invalid password").waitFor();
    await page.fill("#password", PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/admin/runs?status=failed");
    await page.getByRole("link", { name: "broken" }).waitFor();
    await context.close();
});

for (const name of ["GitHub", "Slack"]) {
    test(`one signs in with ${name}, and comes to where one wanted to go`, async () => {
        const context = await browser.newContext(MODES.light);
        const page = await context.newPage();
        await page.goto(`${service.url}/admin/events?repo=acme%2Fsite`);
        await page.getByRole("link", { name: `Sign in with ${name}` }).click();
        await page.getByRole("link", { name: "Allow" }).click();
        await page.waitForURL("**/admin/events?repo=acme%2Fsite");
        await page.getByRole("button", { name: "Account" }).click();
        await page.getByText("Signed in as").getByText(/^(ann|slack:U1)$/).waitFor();
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.waitForURL("**/admin/login");
        await context.close();
    });
}

// Opens a page, finds no fault with it, and takes its picture.
async function faultless(page, mode, name, path) {
    await page.goto(service.url + path);
    await page.waitForFunction(() => document.documentElement.hasAttribute("data-scripted"));
    if (name.startsWith("run-")) await page.waitForFunction(() => document.querySelector("[data-lines]").textContent !== "");
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const faults = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
    assert.deepEqual(faults, [], `${path} (${mode})`);
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(beyond <= 0, `${path} (${mode}) is ${beyond} pixels too wide`);
    // A column into which nothing fits is filled letter by letter.
    const narrow = await page.evaluate(() => [...document.querySelectorAll("main td .cell")]
        .filter((cell) => cell.innerText.trim().length > 12 && cell.clientWidth > 0 && cell.clientWidth < 56)
        .map((cell) => cell.innerText.trim().slice(0, 40)));
    assert.deepEqual(narrow, [], `${path} (${mode}) has no room for its words`);
    await page.screenshot({ path: `${shots}/${name}-${mode}.png`, fullPage: true });
}

test("no page has a fault that axe finds, is too wide, or makes the browser complain", async () => {
    const { approvals } = await service.api("/admin/api/approvals");
    const { sessions } = await service.api("/admin/api/sessions");
    const pages = {
        overview: "/admin/", runs: "/admin/runs", run: `/admin/runs/${runs.release}`, "run-failed": `/admin/runs/${runs.broken}`,
        "run-noisy": `/admin/runs/${runs.noisy}`, events: "/admin/events", event: "/admin/events/d-hostile", approvals: "/admin/approvals",
        chats: "/admin/chats", chat: `/admin/chats/${sessions[0].id}`, playground: "/admin/playground", "playground-verdict": "/admin/playground?id=d-issue",
        actors: "/admin/actors", settings: "/admin/settings", tokens: "/admin/settings/tokens",
        crons: "/admin/crons", cron: "/admin/crons/weekly-health-report", audit: "/admin/audit", deliveries: "/admin/deliveries",
        webhooks: "/admin/webhooks", notifications: "/admin/notifications",
        approval: `/admin/approvals/${approvals[0].id}`, workflows: "/admin/workflows", workflow: "/admin/workflows/build",
        "workflow-graph": "/admin/workflows/release", "nothing-here": "/admin/nowhere", "none-like-this": "/admin/runs?repo=nobody/nothing",
    };
    for (const mode of Object.keys(MODES)) {
        const page = await visit("/admin/", { mode });
        for (const [name, path] of Object.entries(pages)) await faultless(page, mode, name, path);
        await leave(page);
        const context = await browser.newContext(MODES[mode]);
        const outside = await context.newPage();
        await outside.goto(`${service.url}/admin/login`);
        await outside.screenshot({ path: `${shots}/sign-in-${mode}.png` });
        await context.close();
    }
});

test("what somebody wrote is text, whatever is in it", async () => {
    const page = await visit("/admin/events/d-hostile");
    assert.doesNotMatch(await page.title(), /taken/);
    await page.getByText("<script>document.title='taken'</script>").first().waitFor();
    assert.equal(await page.locator("main img, main script").count(), 0);
    await page.goto(`${service.url}/admin/runs/${runs.noisy}`);
    await page.click("[data-to=start]");
    await page.locator("[data-lines]", { hasText: '<script>document.title = "taken"</script>' }).waitFor();
    assert.equal(await page.locator(".log .a1").first().textContent(), "red");
    assert.doesNotMatch(await page.title(), /taken/);
    await leave(page);
});

test("an approved run goes on before one's eyes", async () => {
    const id = await service.run("release", { repo: "acme/site", issueNumber: 41, labels: ["docs"] }, ["paused"]);
    const watching = await visit(`/admin/runs/${id}`);
    const page = await visit(`/admin/runs/${id}`);
    await page.getByRole("link", { name: "Read and answer" }).click();
    await page.fill("#words", "looks good");
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByText("looks good").waitFor();
    await watching.locator("#run .strip .badge", { hasText: "succeeded" }).waitFor({ timeout: 10000 });
    assert.match(await watching.locator(".graph").textContent(), /Ship/);
    assert.equal(await watching.locator('.node[data-tone="good"]').count(), 8);
    await leave(page);
    await leave(watching);
});

test("a rejection is asked for once more, in words", async () => {
    const id = await service.run("release", { repo: "acme/site", issueNumber: 42 }, ["paused"]);
    const { approvals } = await service.api(`/admin/api/approvals?run=${id}`);
    const page = await visit(`/admin/approvals/${approvals[0].id}`);
    await page.fill("#words", "not today");
    await page.getByRole("button", { name: "Reject" }).click();
    await page.locator("#confirm").getByRole("button", { name: "Keep it as it is" }).click();
    assert.equal((await service.api(`/admin/api/approvals/${approvals[0].id}`)).approval.status, "pending");
    assert.equal(await page.inputValue("#words"), "not today");
    await page.getByRole("button", { name: "Reject" }).click();
    await page.locator("#confirm-yes").click();
    await page.locator("#answer").getByText("rejected").waitFor();
    await leave(page);
});

test("a workflow is started from its form, and its log grows while one looks", async () => {
    const page = await visit("/admin/workflows/slow");
    await page.fill("#run-repo", "acme/site");
    await page.getByRole("button", { name: "Start" }).click();
    await page.waitForURL("**/admin/runs/*");
    await page.locator("[data-lines]", { hasText: "tick 1" }).waitFor({ timeout: 10000 });
    await page.locator("[data-lines]", { hasText: "tick 8" }).waitFor({ timeout: 10000 });
    await page.locator("#run .strip .badge", { hasText: "succeeded" }).waitFor({ timeout: 10000 });
    await leave(page);
});

test("who comes before a run has printed anything sees its log when there is one", async () => {
    const id = await service.run("later", { repo: "acme/site", issueNumber: 43 }, ["paused"]);
    const { approvals } = await service.api(`/admin/api/approvals?run=${id}`);
    const page = await visit(`/admin/runs/${id}`);
    await page.locator("#live[data-state=live]").waitFor();
    assert.equal(await page.locator("[data-lines]").count(), 0);
    await service.api(`/admin/api/approvals/${approvals[0].id}/respond`, { decision: "approved" });
    await page.locator("[data-lines]", { hasText: "said after the answer" }).waitFor({ timeout: 10000 });
    await leave(page);
});

test("a run that may not be started says why where it was asked for", async () => {
    const page = await visit("/admin/workflows/slow");
    await page.fill("#run-repo", "strangers/site");
    await page.getByRole("button", { name: "Start" }).click();
    await page.locator(".trouble", { hasText: "Repo not managed" }).waitFor();
    assert.equal(await page.inputValue("#run-repo"), "strangers/site");
    await leave(page);
});

test("a run is done again from one of its phases, and cancelled", async () => {
    const page = await visit(`/admin/runs/${runs.broken}`);
    await page.selectOption("#retry-from", "second");
    await page.getByRole("button", { name: "Run again from there" }).click();
    await page.waitForURL((url) => url.pathname.includes("/runs/") && !url.pathname.endsWith(runs.broken));
    await page.locator("#run .strip .badge", { hasText: "failed" }).waitFor({ timeout: 10000 });
    const { executionId } = await service.api("/api/run", { workflow: "slow", context: { repo: "acme/other" } });
    await page.goto(`${service.url}/admin/runs/${executionId}`);
    await page.getByRole("button", { name: "Cancel the run" }).click();
    await page.locator("#confirm-yes").click();
    await page.locator("#run .strip .badge", { hasText: "cancelled" }).waitFor({ timeout: 10000 });
    await leave(page);
});

test("an event is replayed as a new one, after a question", async () => {
    const page = await visit("/admin/events/d-comment");
    await page.getByText("what each rule would say to it now").waitFor();
    await page.getByRole("button", { name: "Replay as new" }).click();
    await page.locator("#confirm-yes").click();
    await page.waitForURL((url) => url.pathname.includes("/events/") && !url.pathname.endsWith("/d-comment"));
    await page.getByRole("link", { name: "an earlier event, replayed as new" }).waitFor();
    await leave(page);
});

test("a body of a megabyte is a page like any other", async () => {
    const body = `<b>words</b> \u05d0 \ud83d\ude00 `.repeat(50_000);
    await service.deliver("issues", "d-longest", {
        action: "opened", issue: { number: 78, title: "The longest story", body, labels: [] }, repository: { full_name: "acme/site" }, sender: { login: "ann", type: "User" },
    });
    const page = await visit("/admin/events/d-longest");
    const began = Date.now();
    await page.goto(`${service.url}/admin/events/d-longest`);
    await page.getByText("words").first().waitFor();
    assert.ok(Date.now() - began < 5000, "it takes no long time");
    assert.equal(await page.locator("main .code b").count(), 0);
    assert.ok((await page.content()).length < 900_000);
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(beyond <= 0, `${beyond} pixels too wide`);
    await leave(page);
});

test("a dead delivery is shown with what was answered, and is sent again", async () => {
    let answer = 400;
    const receiver = createServer((incoming, outgoing) => { incoming.resume(); incoming.on("end", () => outgoing.writeHead(answer).end("<b>no</b>")); });
    await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
    const page = await visit("/admin/webhooks");
    try {
        await page.fill("#url", `http://127.0.0.1:${receiver.address().port}/hook`);
        await page.getByRole("button", { name: "Register" }).click();
        await page.getByRole("button", { name: "Send a ping" }).click();
        await page.getByText("The ping was failed").waitFor();
        await service.api("/api/integrations/emit", { eventName: "error", payload: { said: "<b>no</b>" } });
        await page.goto(`${service.url}/admin/deliveries`);
        await page.locator("#deliveries a.row").first().click();
        await page.waitForURL("**/admin/deliveries/*");
        await page.getByText("Given up.").waitFor();
        await page.getByText("400").first().waitFor();
        assert.equal(await page.locator("main .code b").count(), 0);
        answer = 204;
        await page.getByRole("button", { name: "Deliver again" }).click();
        await page.locator("#delivery .badge", { hasText: "done" }).first().waitFor({ timeout: 10000 });
        await leave(page);
    } finally {
        receiver.closeAllConnections();
        receiver.close();
    }
});

test("pages that are full of what happened have no fault either", async () => {
    await service.api("/admin/api/crons/weekly-health-report/run", {});
    await service.api("/api/integrations/notify", { channel: "slack", message: "The nightly build is <b>red</b>", priority: "high" });
    await until("the firing", async () => (await service.api("/admin/api/crons/weekly-health-report")).history[0]?.endedAt);
    const { deliveries } = await service.api("/admin/api/deliveries");
    const pages = {
        "deliveries-full": "/admin/deliveries", delivery: `/admin/deliveries/${deliveries.at(-1).id}`, "webhooks-full": "/admin/webhooks",
        "notifications-full": "/admin/notifications", "crons-full": "/admin/crons", "cron-full": "/admin/crons/weekly-health-report",
    };
    for (const mode of Object.keys(MODES)) {
        const page = await visit("/admin/", { mode });
        for (const [name, path] of Object.entries(pages)) await faultless(page, mode, name, path);
        await leave(page);
    }
});

test("a payload is tried in the playground, wrong and right, and nothing happens", async () => {
    const page = await visit("/admin/playground");
    const before = (await service.api("/admin/api/events")).events.length;
    await page.fill("#event", "issues");
    await page.fill("#payload", '{\n  "action": opened\n}');
    await page.getByRole("button", { name: "See what would happen", exact: true }).click();
    await page.getByText("in line 2, column 13.").waitFor();
    await page.screenshot({ path: `${shots}/playground-wrong-light.png`, fullPage: true });
    assert.match(await page.inputValue("#payload"), /"action": opened/);
    await page.getByRole("link", { name: "an issue is opened" }).click();
    await page.getByRole("button", { name: "See what would happen", exact: true }).click();
    await page.getByText("It would start issue-triage.").waitFor();
    await page.locator("#verdict").getByText("acme/site is managed").first().waitFor();
    assert.equal((await service.api("/admin/api/events")).events.length, before);
    await leave(page);
});

test("the playground works without the module", async () => {
    const page = await visit("/admin/playground");
    const context = await browser.newContext({ ...MODES.light, javaScriptEnabled: false, storageState: await page.context().storageState() });
    const plain = await context.newPage();
    await plain.goto(`${service.url}/admin/playground?sample=issues.labeled`);
    await plain.getByRole("button", { name: "See what would happen", exact: true }).click();
    await plain.getByText("It would not be taken in: action=labeled.").waitFor();
    await context.close();
    await leave(page);
});

test("a token is shown once, works, and is taken back after a question", async () => {
    const page = await visit("/admin/settings/tokens");
    await page.fill("#label", "the nightly report");
    await page.getByRole("button", { name: "Make it" }).click();
    const dialog = page.getByRole("dialog", { name: "The new token" });
    const token = await dialog.locator("code").textContent();
    await page.screenshot({ path: `${shots}/token-once-light.png` });
    await dialog.getByRole("button", { name: "I have it" }).click();
    const asks = () => fetch(`${service.url}/admin/api/stats`, { headers: { Authorization: `Bearer ${token}` } }).then((answer) => answer.status);
    assert.equal(await asks(), 200);
    const row = page.locator("#tokens tr", { hasText: "the nightly report" });
    await row.waitFor();
    assert.ok(!(await page.content()).includes(token), "it is nowhere on the page");
    await row.getByRole("button", { name: "Revoke" }).click();
    await page.locator("#confirm-yes").click();
    await row.waitFor({ state: "detached" });
    assert.equal(await asks(), 401);
    await leave(page);
});

test("the map of the actors counts while one looks", async () => {
    const page = await visit("/admin/actors");
    await page.locator("#live[data-state=live]").waitFor();
    const done = () => page.locator("#actors tr", { hasText: "Dispatcher" }).locator("td").nth(4).textContent();
    const before = await done();
    await service.send("issues.opened", "--number", "120");
    await until("the dispatcher to count", async () => (await done()) !== before);
    await page.locator('.node[data-node="dispatcher"]').hover();
    await page.locator('.arrow[data-near][data-from="dispatcher"]').first().waitFor({ state: "attached" });
    await page.screenshot({ path: `${shots}/actors-chosen-light.png` });
    await leave(page);
});

test("a word is found in a long log, wherever it is", async () => {
    const page = await visit(`/admin/runs/${runs.noisy}`);
    await page.locator("[data-lines]", { hasText: "needle at the end" }).waitFor();
    for (const [word, seen] of [["line 12345 ", "line 12345 of"], ["NEEDLE", "needle at the end"], ["<script>", "red <script>"]]) {
        await page.fill("#log-search", word);
        await page.press("#log-search", "Enter");
        await page.locator("[data-lines]", { hasText: seen }).waitFor();
        await page.waitForFunction((found) => getSelection().toString().toLowerCase() === found.toLowerCase(), word);
    }
    await page.fill("#log-search", "no such word");
    await page.press("#log-search", "Enter");
    await page.getByText("not found").waitFor();
    await leave(page);
});

test("a hundred megabytes of log open at once", async () => {
    const id = await service.run("broken", { repo: "acme/logs" });
    const line = "a line of a long log, with some words in it and no meaning at all\n";
    writeFileSync(`${service.folder}/data/runs/${id}/second.log`, Buffer.concat([Buffer.alloc(100_000_000, line), Buffer.from("the very last line\n")]));
    const page = await visit("/admin/runs");
    await page.goto(`${service.url}/admin/runs/${id}`);
    await page.locator("[data-lines]", { hasText: "a line of a long log" }).waitFor();
    await page.click("[data-to=end]");
    await page.locator("[data-lines]", { hasText: "the very last line" }).waitFor();
    // From the page's beginning until the first lines stand there; once more, with everything warm.
    await page.goto(`${service.url}/admin/runs/${id}`);
    const ms = await page.evaluate(() => new Promise((done) => {
        const lines = document.querySelector("[data-lines]");
        const look = () => (lines.textContent === "" ? requestAnimationFrame(look) : done(performance.now()));
        look();
    }));
    console.log(`a log of 100 MB stands there after ${Math.round(ms)} ms`);
    assert.ok(ms < 1000, `${ms} ms`);
    await leave(page);
});

test("new events appear by themselves, and what one has opened stays open", async () => {
    const page = await visit("/admin/events");
    await page.locator("#live[data-state=live]").waitFor();
    await service.send("issues.opened", "--number", "99", "--title", "Arrived while watching");
    await page.getByText("Arrived while watching").waitFor({ timeout: 5000 });
    await leave(page);
});

test("a lost connection is told, and nothing is missing when it is back", async () => {
    const page = await visit("/admin/events");
    await page.locator("#live[data-state=live]").waitFor();
    await service.close();
    await page.locator("#live[data-state=reconnecting], #live[data-state=stale]").waitFor({ timeout: 10000 });
    await service.open();
    await service.send("issues.opened", "--number", "100", "--title", "Arrived while away");
    await page.locator("#live[data-state=live]").waitFor({ timeout: 30000 });
    await page.getByText("Arrived while away").waitFor({ timeout: 5000 });
    await leave(page);
});

test("a session that has ended asks to sign in, and comes back to the page", async () => {
    const page = await visit("/admin/workflows/slow");
    await page.fill("#run-repo", "acme/site");
    await page.context().clearCookies();
    // By its form: the page may have found out by itself, and then the dialog stands before the button.
    await page.evaluate(() => document.querySelector("form[data-api$='/api/run']").requestSubmit());
    await page.getByText("Your session has ended").waitFor();
    assert.equal(await page.inputValue("#run-repo"), "acme/site");
    await page.locator("#ended").getByRole("link", { name: "Sign in" }).click();
    await page.fill("#password", PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/admin/workflows/slow");
    await leave(page);
});

test("the keyboard goes everywhere", async () => {
    const page = await visit("/admin/");
    await page.keyboard.press("g");
    await page.keyboard.press("r");
    await page.waitForURL("**/admin/runs");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.name), "repo");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/admin/runs/*");
    await leave(page);
});

test("the chosen theme stays, and is there at the first paint", async () => {
    const page = await visit("/admin/");
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const before = await ground();
    await page.getByRole("button", { name: "Light or dark" }).click();
    const after = await ground();
    assert.notEqual(before, after);
    await page.reload();
    assert.equal(await page.getAttribute("html", "data-theme"), "dark");
    assert.equal(await ground(), after);
    await leave(page);
});

test("a schedule is edited with a wrong, then a right expression", async () => {
    const page = await visit("/admin/crons/weekly-health-report");
    await page.fill("#schedule", "61 * * * *");
    await page.waitForSelector("#schedule[aria-invalid=true]");
    await page.click("form button.primary");
    await page.waitForFunction(() => document.querySelector("form .trouble").textContent.includes("invalid schedule"));
    await page.fill("#schedule", "30 9 * * MON-FRI");
    await page.waitForFunction(() => document.querySelector("#schedule-preview").textContent.includes("T09:30:00"));
    await page.click("form button.primary");
    await page.waitForFunction(() => document.querySelector("#cron").textContent.includes("30 9 * * MON-FRI"));
    const { cron } = await service.api("/admin/api/crons/weekly-health-report");
    assert.equal(cron.schedule, "30 9 * * MON-FRI");
});

test("on a phone the pages are behind a button", async () => {
    const page = await visit("/admin/", { mode: "phone" });
    assert.equal(await page.locator("#nav").isVisible(), false);
    await page.getByRole("button", { name: "Pages" }).tap();
    await page.screenshot({ path: `${shots}/menu-phone.png` });
    await page.getByRole("link", { name: "Events" }).tap();
    await page.waitForURL("**/admin/events");
    await leave(page);
});

test("everything works below a base path", async () => {
    const inner = await Service.start(binary, { settings: "", env: { PUBLIC_URL: "http://127.0.0.1:9/light" } });
    // A reverse proxy that takes the prefix away, as one with a final slash in its address does.
    const proxy = createServer((incoming, outgoing) => {
        if (!incoming.url.startsWith("/light/")) { outgoing.writeHead(418).end(); return; }
        const target = request(inner.url + incoming.url.slice("/light".length), { method: incoming.method, headers: incoming.headers }, (answer) => {
            outgoing.writeHead(answer.statusCode, answer.headers);
            answer.pipe(outgoing);
        });
        outgoing.on("close", () => target.destroy());
        target.on("error", () => outgoing.destroy());
        incoming.pipe(target);
    });
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
    try {
        const page = await visit("/admin/", { url: `http://127.0.0.1:${proxy.address().port}/light` });
        await page.locator("#live[data-state=live]").waitFor();
        await page.getByRole("link", { name: "Workflows" }).click();
        await page.getByRole("link", { name: "slow" }).click();
        await page.fill("#run-repo", "acme/site");
        await page.getByRole("button", { name: "Start" }).click();
        await page.waitForURL("**/light/admin/runs/*");
        await page.locator("[data-lines]", { hasText: "tick 1" }).waitFor({ timeout: 10000 });
        await leave(page);
    } finally {
        proxy.closeAllConnections();
        proxy.close();
        await inner.stop();
    }
});

test("everything works below a base path behind nginx, with the file that is shown as an example", async (t) => {
    // Held until nginx takes it: the browser's own connections take free ports, too.
    const held = createServer();
    await new Promise((done) => held.listen(0, "127.0.0.1", done));
    const { port } = held.address();
    const inner = await Service.start(binary, { settings: "server: {trusted_proxies: [127.0.0.1]}\n", env: { PUBLIC_URL: `http://127.0.0.1:${port}/ops/light` } });
    await new Promise((done) => held.close(done));
    let nginx;
    try {
        nginx = await Nginx.before(inner, port, "/ops/light");
        if (!nginx) return t.skip("nginx is not installed here");
        const page = await visit("/admin/events", { url: nginx.url });
        await page.locator("#live[data-state=live]").waitFor();
        await inner.send("issues.opened", "--number", "9", "--title", "Through nginx");
        await page.getByText("Through nginx").waitFor({ timeout: 5000 });
        await page.getByRole("link", { name: "Playground" }).click();
        await page.getByRole("link", { name: "an issue is opened" }).click();
        await page.getByRole("button", { name: "See what would happen", exact: true }).click();
        await page.getByText("It would start issue-triage.").waitFor();
        assert.match(page.url(), /\/ops\/light\/admin\/playground/);
        await leave(page);
    } finally {
        await nginx?.stop();
        await inner.stop();
    }
});

test("the first page is small and quick", async () => {
    const page = await visit("/admin/");
    await page.context().clearCookies();
    const fresh = await visit("/admin/login");
    await fresh.goto(`${service.url}/admin/`);
    await fresh.evaluate(() => new Promise((done) => (document.readyState === "complete" ? done() : addEventListener("load", done))));
    const { bytes, ms } = await fresh.evaluate(() => {
        const [navigation] = performance.getEntriesByType("navigation");
        const parts = performance.getEntriesByType("resource").filter((one) => !one.name.includes("/stream"));
        return { bytes: navigation.encodedBodySize + parts.reduce((sum, one) => sum + one.encodedBodySize, 0), ms: navigation.loadEventEnd };
    });
    console.log(`the first page: ${bytes} bytes, complete after ${Math.round(ms)} ms`);
    assert.ok(bytes < 60_000, `${bytes} bytes`);
    await leave(fresh);
    await page.context().close();
});
