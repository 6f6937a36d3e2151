// What stands in for GitHub and Slack, and a real nginx: as much of each as a browser meets. Ends what it started and nothing else.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./service.mjs";

const CLIENT = ["client-of-the-browser-tests", "secret-of-the-client"];
const SLACK_TOKENS = { bot: "xoxb-browser-tests", app: "xapp-browser-tests" };
const ANN = {
    "/user": { login: "ann", id: 1 },
    "/api/openid.connect.userInfo": {
        ok: true, sub: "U1", "https://slack.com/user_id": "U1", "https://slack.com/team_id": "TACME", "https://slack.com/team_domain": "acme", name: "ann",
    },
};

// The platforms: their pages of consent, what they answer to our service, and Slack's socket. Ann is a member everywhere.
export class Platforms {
    static async start() {
        const platforms = new Platforms();
        platforms.sockets = new Set();
        platforms.acked = new Set();
        platforms.codes = new Map();
        platforms.made = 0;
        platforms.server = createServer((incoming, outgoing) => platforms.answer(incoming, outgoing));
        platforms.server.on("upgrade", (incoming, socket) => platforms.hold(incoming, socket));
        await new Promise((done) => platforms.server.listen(0, "127.0.0.1", done));
        platforms.url = `http://127.0.0.1:${platforms.server.address().port}`;
        return platforms;
    }

    // The environment of a service that talks to them.
    get env() {
        return {
            GITHUB_API_URL: this.url, GITHUB_OAUTH_CLIENT_ID: CLIENT[0], GITHUB_OAUTH_CLIENT_SECRET: CLIENT[1], GITHUB_ALLOWED_ORG: "acme",
            SLACK_API_URL: `${this.url}/api`, SLACK_OAUTH_CLIENT_ID: CLIENT[0], SLACK_OAUTH_CLIENT_SECRET: CLIENT[1], SLACK_ALLOWED_WORKSPACE: "TACME",
            SLACK_BOT_TOKEN: SLACK_TOKENS.bot, SLACK_APP_TOKEN: SLACK_TOKENS.app,
        };
    }

    async answer(incoming, outgoing) {
        const url = new URL(incoming.url, this.url);
        let body = "";
        for await (const piece of incoming) body += piece;
        const form = /^\s*\{/.test(body) ? JSON.parse(body) : Object.fromEntries(new URLSearchParams(body));
        const says = (value, status = 200) => outgoing.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
        if (["/login/oauth/authorize", "/openid/connect/authorize"].includes(url.pathname)) {
            const code = `code-${++this.made}`;
            this.codes.set(code, url.searchParams.get("code_challenge"));
            const back = new URL(url.searchParams.get("redirect_uri"));
            back.searchParams.set("code", code);
            back.searchParams.set("state", url.searchParams.get("state"));
            const page = `<!DOCTYPE html><title>Consent</title><a href="${back.href.replaceAll("&", "&amp;")}">Allow</a>`;
            return outgoing.writeHead(200, { "Content-Type": "text/html" }).end(page);
        }
        if (["/login/oauth/access_token", "/api/openid.connect.token"].includes(url.pathname)) {
            const wanted = this.codes.get(form.code);
            const offered = createHash("sha256").update(form.code_verifier ?? "").digest("base64url");
            this.codes.delete(form.code);
            const fits = wanted === offered && form.client_id === CLIENT[0] && form.client_secret === CLIENT[1];
            return says(fits ? { ok: true, access_token: `token-${++this.made}`, token_type: "bearer", scope: "" } : { ok: false, error: "bad_verifier" });
        }
        if (ANN[url.pathname]) return says(ANN[url.pathname]);
        if (url.pathname === "/orgs/acme/members/ann") return outgoing.writeHead(204).end();
        if (!url.pathname.startsWith("/api/")) return says({ message: "Not Found" }, 404);
        const ts = `${Math.floor(Date.now() / 1000)}.${String(++this.made).padStart(6, "0")}`;
        const answers = {
            "auth.test": { url: "https://acme.example/", team: "Acme", user: "light", team_id: "TACME", user_id: "UBOT", bot_id: "BBOT" },
            "apps.connections.open": { url: `${this.url.replace("http", "ws")}/socket` },
            "users.info": { user: { id: "U1", team_id: "TACME", name: "ann", real_name: "ann", deleted: false, is_bot: false } },
            "chat.postMessage": { channel: form.channel, ts, message_ts: ts, message: { type: "message", user: "UBOT", bot_id: "BBOT", text: form.text ?? "", ts } },
            "conversations.replies": { messages: [], has_more: false, response_metadata: { next_cursor: "" } },
            "conversations.history": { messages: [], has_more: false, response_metadata: { next_cursor: "" } },
        };
        return says({ ok: true, ...answers[url.pathname.slice("/api/".length)] });
    }

    // A socket as Slack opens it: texts out, acknowledgements in.
    hold(incoming, socket) {
        const key = createHash("sha1").update(`${incoming.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
        socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`);
        this.sockets.add(socket);
        let held = Buffer.alloc(0);
        socket.on("data", (data) => {
            held = Buffer.concat([held, data]);
            for (let frame = unframed(held); frame; frame = unframed(held)) {
                held = held.subarray(frame.length);
                if (frame.kind === 1) this.acked.add(JSON.parse(frame.body.toString()).envelope_id);
                if (frame.kind === 8) socket.end();
                if (frame.kind === 9) socket.write(framed(frame.body, 10));
            }
        });
        socket.on("error", () => socket.destroy());
        socket.on("close", () => this.sockets.delete(socket));
        socket.write(framed(Buffer.from(JSON.stringify({
            type: "hello", num_connections: 1, connection_info: { app_id: "AAPP" },
            debug_info: { host: "stand-in", started: "now", build_number: 1, approximate_connection_time: 3600 },
        }))));
    }

    // Ann writes to the bot; the id of the thread.
    async writes(text, thread) {
        await until("Slack's socket", async () => this.sockets.size > 0);
        const ts = `${Math.floor(Date.now() / 1000)}.${String(++this.made).padStart(6, "0")}`;
        const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
        const event = {
            type: "message", channel: "D1", user: "U1", text: escaped, ts, event_ts: ts, channel_type: "im", team: "TACME", ...(thread && { thread_ts: thread }),
        };
        const payload = { token: "unused", team_id: "TACME", api_app_id: "AAPP", event, type: "event_callback", event_id: `Ev${this.made}`, event_time: 1700000000 };
        const envelope = { type: "events_api", envelope_id: `envelope-${this.made}`, accepts_response_payload: false, payload };
        [...this.sockets].at(-1).write(framed(Buffer.from(JSON.stringify(envelope))));
        await until("Slack's message to be taken", async () => this.acked.has(envelope.envelope_id));
        return thread ?? ts;
    }

    stop() {
        for (const socket of this.sockets) socket.destroy();
        this.server.closeAllConnections();
        this.server.close();
    }
}

function framed(body, kind = 1) {
    const size = body.length < 126 ? [body.length] : [126, body.length >> 8, body.length & 255];
    return Buffer.concat([Buffer.from([128 | kind, ...size]), body]);
}

// The first whole frame of a client; they are masked, and short here.
function unframed(bytes) {
    if (bytes.length < 6) return undefined;
    const short = bytes[1] & 127;
    const [size, at] = short < 126 ? [short, 2] : [bytes.readUInt16BE(2), 4];
    const length = at + 4 + size;
    if (bytes.length < length) return undefined;
    const mask = bytes.subarray(at, at + 4);
    const body = Buffer.from(bytes.subarray(at + 4, length).map((byte, place) => byte ^ mask[place % 4]));
    return { kind: bytes[0] & 15, body, length };
}

// The nginx of this machine with the very file that is shown as an example: without TLS, on this port, below `prefix`.
export class Nginx {
    static async before(service, port, prefix) {
        const program = ["/usr/sbin/nginx", "/usr/bin/nginx"].find(existsSync);
        if (!program) return undefined;
        const nginx = new Nginx();
        nginx.folder = mkdtempSync(join(tmpdir(), "firstlight-nginx-"));
        const example = readFileSync(fileURLToPath(new URL("../../config/examples/nginx.conf", import.meta.url)), "utf8");
        // The second of its servers is the one below a path.
        const server = example.slice(example.lastIndexOf("\nserver {"))
            .replace("listen 443 ssl;", `listen 127.0.0.1:${port};`)
            .replaceAll("127.0.0.1:8644", `127.0.0.1:${service.port}`)
            .replaceAll("/firstlight", prefix)
            .replace(/^ *ssl_.*\n/gm, "");
        const temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${join(nginx.folder, kind)};`);
        const whole = `daemon off;\npid ${join(nginx.folder, "pid")};\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n${temps.join("\n")}\n${server}}\n`;
        writeFileSync(join(nginx.folder, "nginx.conf"), whole);
        nginx.process = spawn(program, ["-c", join(nginx.folder, "nginx.conf")], { stdio: "ignore" });
        nginx.url = `http://127.0.0.1:${port}${prefix}`;
        nginx.process.once("error", () => {});
        await until("nginx", () => new Promise((done, gone) => connect(port, "127.0.0.1", function () { this.destroy(); done(true); }).on("error", gone))).catch(async (error) => {
            await nginx.stop();
            throw error;
        });
        return nginx;
    }

    async stop() {
        if (this.process.exitCode === null) {
            const ended = new Promise((done) => this.process.once("exit", done));
            this.process.kill("SIGTERM");
            await ended;
        }
        rmSync(this.folder, { recursive: true, force: true });
    }
}
