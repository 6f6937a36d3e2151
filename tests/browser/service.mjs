// A service of its own for the tests, on a fresh folder, with something in it to look at. Ends what it started and nothing else.
import { execFile, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url));
const run = promisify(execFile);
export const PASSWORD = "a password of the browser tests";
const SECRET = "a secret of the browser tests";

export function freePort() {
    return new Promise((done) => {
        const server = createServer().listen(0, "127.0.0.1", () => {
            const { port } = server.address();
            server.close(() => done(port));
        });
    });
}

// Asks again until the answer is there; the service works in the background.
export async function until(what, ask, patience = 20000) {
    const end = Date.now() + patience;
    for (;;) {
        const answer = await ask().catch(() => undefined);
        if (answer) return answer;
        if (Date.now() > end) throw new Error(`waited too long for ${what}`);
        await new Promise((done) => setTimeout(done, 50));
    }
}

export class Service {
    // `env` may be made of the address.
    static async start(binary, { env = {}, settings = "" } = {}) {
        const service = new Service();
        service.binary = binary;
        service.folder = mkdtempSync(join(tmpdir(), "firstlight-browser-"));
        service.port = await freePort();
        service.url = `http://127.0.0.1:${service.port}`;
        service.env = {
            ...process.env, ...(typeof env === "function" ? env(service.url) : env), ADMIN_PASSWORD: PASSWORD, WEBHOOK_SECRET: SECRET, FIRSTLIGHT_SEND_SECRET: SECRET,
            MANAGED_REPOS: "acme/*", WEBHOOK_PORT: String(service.port),
        };
        cpSync(join(here, "overlay"), join(service.folder, "overlay"), { recursive: true });
        writeFileSync(join(service.folder, "firstlight.yaml"), `workflows:\n  overlay: ./overlay\napprovals:\n  gates: [ship]\n${settings}`);
        await service.open();
        return service;
    }

    async open() {
        this.process = spawn(this.binary, ["serve"], { cwd: this.folder, env: this.env, stdio: ["ignore", "ignore", "pipe"] });
        this.log = "";
        this.process.stderr.on("data", (data) => { this.log += data; });
        this.process.once("exit", (code) => { if (code) console.error(`the service ended with ${code}:\n${this.log}`); });
        await until("the service", async () => (await fetch(`${this.url}/ready`)).ok);
        this.token = (await (await fetch(`${this.url}/admin/api/login`, { method: "POST", body: JSON.stringify({ password: PASSWORD }) })).json()).token;
    }

    async close() {
        const ended = new Promise((done) => this.process.once("exit", done));
        this.process.kill("SIGTERM");
        await ended;
    }

    async stop() {
        await this.close();
        rmSync(this.folder, { recursive: true, force: true });
    }

    async api(path, body) {
        const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
        const response = await fetch(this.url + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
        if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
        return response.json();
    }

    async run(workflow, context = {}, status = ["succeeded", "failed", "paused"]) {
        const { executionId } = await this.api("/api/run", { workflow, context });
        await until(`${workflow} to be ${status}`, async () => {
            const { workflowRun } = await this.api(`/admin/api/workflow-runs/${executionId}`);
            return status.includes(workflowRun.status);
        });
        return executionId;
    }

    async send(...args) {
        await run(this.binary, ["send", ...args, "--url", this.url], { cwd: this.folder, env: this.env });
    }

    // A delivery of any payload, signed.
    async deliver(event, id, payload) {
        const body = JSON.stringify(payload);
        const signature = `sha256=${createHmac("sha256", SECRET).update(body).digest("hex")}`;
        const headers = { "Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": id, "X-Hub-Signature-256": signature };
        const response = await fetch(`${this.url}/webhooks/github`, { method: "POST", headers, body });
        if (response.status !== 202) throw new Error(`${response.status} ${await response.text()}`);
    }

    // What a team of three would have after a morning.
    async fill() {
        await this.send("issues.opened", "--number", "7", "--title", "It broke after the update", "--delivery", "d-issue");
        await this.send("issues.opened", "--number", "8", "--delivery", "d-hostile",
            "--title", "<script>document.title='taken'</script> \u202ebackwards", "--body", "<img src=x onerror=alert(1)> ".repeat(20));
        await this.send("pull_request.opened", "--number", "12", "--title", "Teach the parser about tabs", "--delivery", "d-pr");
        await this.send("issue_comment.created", "--number", "7", "--association", "MEMBER", "--body", "@last-light status", "--delivery", "d-comment");
        const runs = {
            noisy: await this.run("noisy", { repo: "acme/site" }),
            broken: await this.run("broken", { repo: "acme/docs" }),
            release: await this.run("release", { repo: "acme/site", issueNumber: 40, labels: ["docs"] }, ["paused"]),
            health: await this.run("repo-health", { repo: "acme/site" }),
        };
        await until("quiet", async () => (await this.api("/admin/api/workflow-runs?status=queued,running")).total === 0);
        return runs;
    }
}
