//! No secret gets out: known ones are planted wherever one can stand, everything is used, and everything that is said, answered,
//! sent or kept is searched for them. Runs the real binary with its log at its most talkative. Knows the outside of the house only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use actors::clock::SystemClock;
use actors::domain::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use firstlight::demo::github::{Fault, GithubStandIn};
use firstlight::settings::{Flags, Settings, Sources};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::oauth::{CLIENT, FakeSignIn, Person, visit};
use crate::support::payloads;
use crate::support::process::firstlight;
use crate::support::receiver::{Does, Receiver};
use crate::support::routes::{Door, routes};
use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, TICKET};

/// How long something may take that has to happen. In real time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a secret may be, besides where it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Nowhere.
    Nowhere,
    /// It is part of what people send or register, and stands where that is shown and kept; in no log and no number.
    BeShown,
    /// In the file of the integrations' state, which is its home, and in a copy of it.
    BeAtHome,
}

/// A secret that was planted.
#[derive(Debug, Clone)]
struct Planted {
    what: String,
    value: String,
    may: May,
}

/// All that were planted.
#[derive(Default)]
struct Canary(Vec<Planted>);

impl Canary {
    fn plants(&mut self, what: &str, value: impl Into<String>, may: May) -> String {
        let value = value.into();
        assert!(value.len() >= 5, "{what} is too short to be found for sure");
        self.0.push(Planted {
            what: what.to_owned(),
            value: value.clone(),
            may,
        });
        value
    }

    /// A fresh value, with characters that every way of writing writes differently.
    fn fresh(&mut self, what: &str, may: May) -> String {
        let number = self.0.len();
        self.plants(
            what,
            format!("cnry{number}-{}-Z9q", what.replace([' ', '.', '_'], "-")),
            may,
        )
    }
}

/// The ways in which a text may be written down.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut forms = vec![
        secret.to_owned(),
        hex::encode(bytes),
        hex::encode_upper(bytes),
        bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
        bytes.iter().map(|byte| format!("%{byte:02x}")).collect(),
        url::form_urlencoded::byte_serialize(bytes).collect(),
        secret.chars().rev().collect(),
        serde_json::to_string(secret)
            .expect("a text")
            .trim_matches('"')
            .to_owned(),
        format!("{bytes:?}").trim_matches(['[', ']']).to_owned(),
    ];
    // Base64 depends on what stands before: three ways, without the characters that neighbours have a part in.
    for before in 0..3_usize {
        let padded = [&b"::"[..before], bytes].concat();
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let (from, to) = ((before * 8).div_ceil(6), (padded.len() * 8) / 6);
            // What is shorter is in many a text by chance.
            if to - from >= 8 {
                forms.push(text[from..to].to_owned());
            }
        }
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// A place where a secret may have got to.
struct Surface {
    name: String,
    text: Vec<u8>,
    /// What people sent or registered may stand here.
    shows: bool,
    /// It is the file of the integrations' state, or a copy.
    home: bool,
}

/// What is searched in the end.
#[derive(Default)]
struct Surfaces(Vec<Surface>);

impl Surfaces {
    fn adds(&mut self, name: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push(Surface {
            name: name.into(),
            text: text.into(),
            shows: true,
            home: false,
        });
    }

    /// A place where nothing of what people sent is told either.
    fn adds_strict(&mut self, name: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.adds(name, text);
        self.0.last_mut().expect("just added").shows = false;
    }

    /// Every file of a folder, however deep, but for those that are homes of secrets.
    fn adds_folder(&mut self, name: &str, folder: &Path) -> usize {
        let mut files = 0;
        for entry in fs::read_dir(folder).expect("it can be read") {
            let path = entry.expect("an entry").path();
            let inner = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            if path.is_dir() {
                // A phase may write what it likes into its own folder; the service does not.
                if !inner.ends_with("/secrets") && !inner.ends_with("/work") {
                    files += self.adds_folder(&inner, &path);
                }
            } else if let Ok(bytes) = fs::read(&path) {
                self.adds(inner.clone(), bytes);
                self.0.last_mut().expect("just added").home = inner.ends_with("integrations.json");
                files += 1;
            }
        }
        files
    }

    /// What was found, and where: a line each.
    fn search(&self, canary: &Canary) -> Vec<String> {
        let mut found = BTreeSet::new();
        for surface in &self.0 {
            let text = String::from_utf8_lossy(&surface.text);
            for planted in &canary.0 {
                if (planted.may == May::BeShown && surface.shows) || (planted.may == May::BeAtHome && surface.home) {
                    continue;
                }
                let Some((form, at)) = forms(&planted.value).into_iter().find_map(|form| {
                    let at = text.find(&form)?;
                    Some((form, at))
                }) else {
                    continue;
                };
                let from = text.floor_char_boundary(at.saturating_sub(160));
                let to = text.ceil_char_boundary((at + form.len() + 40).min(text.len()));
                found.insert(format!(
                    "{} stands in {}, as {form:?}: …{}…",
                    planted.what,
                    surface.name,
                    text[from..to].replace('\n', "⏎")
                ));
            }
        }
        found.into_iter().collect()
    }
}

#[test]
fn the_search_finds_a_secret_in_every_disguise() {
    let mut canary = Canary::default();
    let secret = canary.fresh("the secret", May::Nowhere);
    let pairs = [&b"user:"[..], secret.as_bytes()].concat();
    for disguise in [
        secret.clone(),
        hex::encode(&secret),
        base64::engine::general_purpose::STANDARD.encode(&secret),
        base64::engine::general_purpose::STANDARD.encode(&pairs),
        base64::engine::general_purpose::STANDARD.encode([b"\0a\0", secret.as_bytes(), b"\0"].concat()),
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([b"{\"a\":\"", secret.as_bytes(), b"\"}"].concat()),
        secret.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        format!("{:?}", secret.as_bytes()),
    ] {
        let mut surfaces = Surfaces::default();
        surfaces.adds("here", format!("before {disguise} after"));
        assert_eq!(surfaces.search(&canary).len(), 1, "{disguise}");
    }
    let mut surfaces = Surfaces::default();
    surfaces.adds("here", "nothing of it");
    assert!(surfaces.search(&canary).is_empty());
}

/// Keys of settings whose value is a secret, as the settings themselves declare them.
fn declared() -> usize {
    let source = include_str!("../../src/settings/sections.rs");
    source
        .lines()
        .filter(|line| line.trim_start().starts_with("pub ") && line.contains("Secret"))
        .count()
}

/// A mail server that listens to the end, refuses whoever signs in and repeats what they said.
async fn mocking_mail_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("bound").port();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(async move {
                let (from, mut to) = stream.into_split();
                let mut lines = BufReader::new(from).lines();
                let _ = to.write_all(b"220 mail.test\r\n").await;
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer = match line.split(' ').next().unwrap_or_default() {
                        "EHLO" => "250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
                        "AUTH" => format!("535 5.7.8 you said {line}\r\n"),
                        _ => format!("550 you said {line}\r\n"),
                    };
                    if to.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The service as a process, in a folder of its own, with everything around it.
struct House {
    canary: Canary,
    child: Child,
    address: String,
    folder: TempDir,
    github: GithubStandIn,
    slack: FakeSlack,
    sign_in: FakeSignIn,
    receiver: Receiver,
    /// What `firstlight` is started with.
    env: BTreeMap<String, String>,
    webhook_secret: String,
    password: String,
    client: awc::Client,
    next: std::cell::Cell<u32>,
    surfaces: std::cell::RefCell<Surfaces>,
}

/// An answer with everything that is in it.
struct Said {
    status: u16,
    whole: String,
    text: String,
    headers: BTreeMap<String, String>,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

const CHAT: &str = "\
name: chat
trigger: message
phases:
  - name: think
    type: script
    env: {MESSAGE: \"{{message}}\"}
    run: printf 'You said %s' \"$MESSAGE\"
  - name: answer
    type: reply
    message: \"${think.output}\"
";

const BUILD: &str = "\
name: build
phases:
  - name: plan
    type: script
    run: echo planned
    approval_gate: plan
    approval_gate_message: Is this plan good?
  - name: answer
    type: reply
    message: done
";

/// Does all that a workflow can, and prints all that it has.
const EVERYTHING: &str = "\
name: everything
phases:
  - name: think
    type: agent
    prompt: prompts/look.md
  - name: show
    type: script
    profile: read
    run: env; echo \"$GITHUB_TOKEN\"; echo \"$GITHUB_TOKEN\" >&2
  - name: tell
    type: notify
    channel: slack
    message: \"${show.output}\"
  - name: tell_all
    type: notify
    channel: email
    message: \"${think.output}\"
  - name: say
    type: emit
    event: task.sync
    payload: {log: [\"${show.output}\"]}
  - name: answer
    type: reply
    message: \"${think.output}\"
  - name: fail
    type: script
    profile: read
    run: echo \"$GITHUB_TOKEN\"; exit 3
";

impl House {
    async fn start() -> Self {
        let mut canary = Canary::default();
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let github = GithubStandIn::start(SystemClock::shared()).expect("a port is free");
        let slack = FakeSlack::start();
        slack.knows("U1", "ann");
        let sign_in = FakeSignIn::start();
        let receiver = Receiver::start().await;
        let mail = mocking_mail_server().await;
        let nowhere = May::Nowhere;

        // Where notifications go is a secret: whoever has the address can write there.
        let address = |path: &str, token: String| receiver.url(&format!("/{path}/{token}"));
        let slack_url = address("slack", canary.fresh("notifications.slack_url", nowhere));
        let discord_url = address("discord", canary.fresh("notifications.discord_url", nowhere));
        let webhook_url = address("any", canary.fresh("notifications.webhook_url", nowhere));
        for url in [&slack_url, &discord_url, &webhook_url] {
            let path = url
                .split_once("//")
                .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
            receiver.at(&path.expect("a path"), vec![Does::Echoes(500)]);
        }

        // A collector that takes nothing and repeats everything.
        receiver.at("/v1/traces", vec![Does::Echoes(400)]);

        // The private key: each line of it is a secret.
        let pem = github.private_key();
        for (number, line) in pem
            .expose()
            .lines()
            .filter(|line| line.len() > 60)
            .enumerate()
            .step_by(4)
        {
            canary.plants(&format!("line {number} of the App's key"), line, nowhere);
        }
        fs::write(at("key.pem"), pem.expose()).expect("written");

        let overlay = at("overlay/workflows");
        fs::create_dir_all(overlay.join("prompts")).expect("made");
        fs::write(overlay.join("prompts/look.md"), "Look at {{issueNumber}}.").expect("written");
        for (name, text) in [
            ("chat", CHAT.to_owned()),
            ("build", BUILD.to_owned()),
            ("everything", EVERYTHING.to_owned()),
        ] {
            fs::write(overlay.join(format!("{name}.yaml")), text).expect("written");
        }

        // A repository whose remote has a token in its address, and which cannot be committed to.
        let repository = at("repository");
        fs::create_dir_all(&repository).expect("made");
        let remote = format!(
            "https://x-access-token:{}@github.test/acme/site.git",
            canary.fresh("token of a git remote", nowhere)
        );
        for args in [
            vec!["init", "-q", "-b", "main"],
            vec!["remote", "add", "origin", &remote],
            vec!["config", &format!("url.{remote}.insteadOf"), "https://github.test/"],
        ] {
            let done = std::process::Command::new("git")
                .arg("-C")
                .arg(&repository)
                .args(args)
                .status();
            assert!(done.expect("git runs").success());
        }
        fs::write(repository.join("tasks.md"), "one").expect("written");
        fs::write(repository.join(".git/HEAD"), format!("ref: nonsense {remote}\n")).expect("written");

        let webhook_secret = canary.fresh("github.webhook_secret, the first", nowhere);
        let password = canary.plants("admin.password", "cnry pass/w+ord%&<\"é\">-Z9q", nowhere);
        for (what, value) in [
            ("slack.bot_token", BOT_TOKEN),
            ("slack.app_token", APP_TOKEN),
            ("the ticket of a socket", TICKET),
            ("the client secrets of sign-in", CLIENT.1),
        ] {
            canary.plants(what, value, nowhere);
        }
        let token = github.token();
        canary.plants("github.token", token.expose(), nowhere);
        let mail_password = canary.fresh("smtp_url", nowhere);
        let argument = canary.fresh("an account in a runtime's command", nowhere);
        let settings = json!({
            "server": { "always": true, "public_url": "http://bot.test/light" },
            "log": { "level": "trace", "format": "json" },
            "managed_repos": ["acme/*"],
            "github": {
                "webhook_secret": [webhook_secret, canary.fresh("github.webhook_secret, the second", nowhere)],
                "app_id": "4711",
                "app_private_key_path": "key.pem",
                "token": token.expose(),
                "api_url": github.url(),
            },
            "slack": {
                "bot_token": BOT_TOKEN, "app_token": APP_TOKEN, "api_url": slack.api_url(), "delivery_channel": "C2",
            },
            "admin": {
                "password": password,
                "secret": canary.fresh("admin.secret", nowhere),
                "slack_oauth_client_id": CLIENT.0,
                "slack_oauth_client_secret": CLIENT.1,
                "slack_allowed_workspace": "TACME",
                "github_oauth_client_id": CLIENT.0,
                "github_oauth_client_secret": CLIENT.1,
                "github_allowed_org": "acme",
                "github_oauth_web_url": sign_in.url,
                "slack_oauth_web_url": sign_in.url,
            },
            "workflows": { "overlay": at("overlay") },
            "outbound": { "allow": ["127.0.0.0/8"] },
            "approvals": { "gates": ["plan"] },
            "runtimes": { "default": {
                "command": ["sh", "-c", "cat; env; echo \"$CNRY_API_KEY\"", format!("https://bot:{argument}@models.test/")],
                "env": ["CNRY_API_KEY"],
            } },
            "git_auto_commit": { "repository": repository },
            "smtp_url": format!("smtp://bot:{mail_password}@127.0.0.1:{mail}"),
            "notifications": {
                "slack_url": slack_url, "discord_url": discord_url, "webhook_url": webhook_url,
                "email_to": ["ops@example.com"], "email_from": "bot@example.com",
            },
            "telemetry": { "otlp": {
                "endpoint": receiver.url(""),
                "headers": [format!("authorization=Bearer%20{}", canary.fresh("telemetry.otlp.headers", nowhere))],
            } },
            "client": { "token": canary.fresh("client.token", nowhere) },
        });
        // JSON is YAML.
        fs::write(at("firstlight.yaml"), settings.to_string()).expect("written");
        let env = BTreeMap::from([
            (
                "CNRY_API_KEY".to_owned(),
                canary.fresh("a variable that a runtime is handed", nowhere),
            ),
            (
                "CNRY_OTHER".to_owned(),
                canary.fresh("a variable that nobody is handed", nowhere),
            ),
        ]);

        Self::every_secret_setting_is_planted(folder.path(), &settings);
        let log = File::create(at("log")).expect("made");
        let child = firstlight()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg("--state-dir")
            .arg(at("state"))
            .current_dir(folder.path())
            .envs(&env)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut house = Self {
            canary,
            child,
            address: String::new(),
            folder,
            github,
            slack,
            sign_in,
            receiver,
            env,
            webhook_secret,
            password,
            client: awc::Client::builder().timeout(PATIENCE).disable_redirects().finish(),
            next: 0.into(),
            surfaces: Surfaces::default().into(),
        };
        house.address = house
            .until("the service to be ready", async |house| {
                let log = house.log();
                let ready = log.lines().find(|line| line.contains("\"message\":\"ready\""))?;
                let ready: Value = serde_json::from_str(ready).expect("a line of JSON");
                Some(ready["address"].as_str().expect("an address").to_owned())
            })
            .await;
        house.slack.connected(1).await;
        house
    }

    /// The settings say themselves which of them are secrets: each of those has a value here.
    fn every_secret_setting_is_planted(folder: &Path, settings: &Value) {
        let loaded = Settings::load(&Sources {
            flags: Flags::default(),
            env: BTreeMap::new(),
            cwd: folder.to_owned(),
        });
        let loaded = loaded.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let redacted = |value: &Value| {
            value == "[redacted]"
                || value
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one == "[redacted]"))
        };
        let shown: BTreeSet<String> = loaded
            .shown()
            .into_iter()
            .filter(|shown| redacted(&shown.value))
            .map(|shown| shown.key)
            .collect();
        assert_eq!(
            shown.len(),
            declared(),
            "a setting that holds a secret has no value in this test; plant one: {shown:?} of {settings:#}"
        );
        assert!(shown.len() >= 13, "{shown:?}");
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).expect("a log")).into_owned()
    }

    /// Asks again and again until it holds.
    async fn until<T>(&self, what: &str, holds: impl AsyncFn(&Self) -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(held) = holds(self).await {
                    return held;
                }
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(held) => held,
            Err(_) => {
                let log = self.log();
                let last: Vec<&str> = log.lines().rev().take(12).collect();
                panic!("waited in vain for {what}; the log ends in {last:#?}")
            }
        }
    }

    /// Asks, and keeps what is answered for the search.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Said {
        let said = self.ask_unseen(method, path, headers, body).await;
        let name = format!("the answer to {method} {path}");
        self.surfaces.borrow_mut().adds(name, said.whole.clone());
        said
    }

    /// The same where the answer is the one place in which a secret is shown.
    async fn ask_unseen(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Said {
        let method = method.parse().expect("a method");
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        let sent = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{path}: {error}"));
        let headers: BTreeMap<String, String> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let endless = headers
            .get("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        let text = match endless {
            // What is said at once; it says the rest when there is news.
            true => {
                use futures_util::StreamExt;
                let first = tokio::time::timeout(Duration::from_secs(1), answer.next()).await;
                first.ok().flatten().and_then(Result::ok).unwrap_or_default()
            }
            false => answer.body().limit(64 * 1024 * 1024).await.expect("a whole body"),
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        Said {
            status: answer.status().as_u16(),
            whole: format!("{headers:?}\n{text}"),
            text,
            headers,
        }
    }

    fn delivery_id(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("d-{}", self.next.get())
    }

    /// A delivery of GitHub's, with more headers over the usual ones.
    async fn deliver(&self, event: &str, payload: &Value, more: &[(&str, &str)]) -> Said {
        let body = payload.to_string();
        let signature = actors::github::sign(&Secret::new(self.webhook_secret.clone()), body.as_bytes());
        let id = self.delivery_id();
        let usual = [
            ("x-github-event", event),
            ("x-github-delivery", &id),
            ("x-hub-signature-256", &signature),
        ];
        let mut headers: Vec<(&str, &str)> = usual
            .into_iter()
            .filter(|(name, _)| more.iter().all(|(other, _)| name != other))
            .collect();
        headers.extend_from_slice(more);
        self.ask("POST", "/webhooks/github", &headers, Some(payload)).await
    }

    /// Runs a command and keeps what it said. Beside this thread, on which the stand-ins answer.
    async fn command(&self, token: &str, words: &[&str]) -> String {
        let mut command = firstlight();
        command
            .args(words)
            .arg("--state-dir")
            .arg(self.folder.path().join("state"))
            .current_dir(self.folder.path())
            .envs(&self.env)
            .env("FIRSTLIGHT_URL", format!("http://{}", self.address))
            .env("FIRSTLIGHT_TOKEN", token)
            .stdin(Stdio::null());
        let done = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
        let done = tokio::time::timeout(PATIENCE, done).await;
        let done = done
            .unwrap_or_else(|_| panic!("{words:?} does not end"))
            .expect("no panic");
        let said = [done.stdout, b"\n".to_vec(), done.stderr].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        self.surfaces
            .borrow_mut()
            .adds(format!("what `firstlight {}` says", words.join(" ")), said);
        text
    }
}

/// One call of the tools over streamable HTTP.
async fn mcp(house: &House, auth: (&str, &str), session: &mut String, method: &str, params: Value) -> Said {
    let message = match method.starts_with("notifications/") {
        true => json!({ "jsonrpc": "2.0", "method": method, "params": params }),
        false => json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }),
    };
    let mut headers = vec![
        auth,
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-06-18"),
    ];
    let known = session.clone();
    if !known.is_empty() {
        headers.push(("mcp-session-id", &known));
    }
    let mut request = house.client.post(format!("http://{}/mcp", house.address));
    for (name, value) in headers {
        request = request.append_header((name, value));
    }
    let mut answer = request.send_json(&message).await.expect("answered");
    if let Some(id) = answer.headers().get("mcp-session-id") {
        *session = id.to_str().expect("text").to_owned();
    }
    let text = String::from_utf8_lossy(&answer.body().limit(64 * 1024 * 1024).await.expect("a body")).into_owned();
    let name = format!("the answer to MCP {method} {}", params["name"]);
    house.surfaces.borrow_mut().adds(name, text.clone());
    Said {
        status: answer.status().as_u16(),
        whole: String::new(),
        text: text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim)
            .rfind(|data| !data.is_empty())
            .unwrap_or(&text)
            .to_owned(),
        headers: BTreeMap::new(),
    }
}

fn id_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no id: {value}")).to_owned()
}

#[actix::test]
async fn no_secret_gets_out_whatever_is_done() {
    let mut house = House::start().await;

    // ---- signing in ----
    let typed = house.canary.fresh("a password that was mistyped", May::Nowhere);
    house
        .ask("POST", "/admin/api/login", &[], Some(&json!({ "password": typed })))
        .await;
    let odd = json!({ "password": typed, "pasword": typed });
    house.ask("POST", "/admin/api/login", &[], Some(&odd)).await;
    let right = json!({ "password": house.password });
    let login = house.ask_unseen("POST", "/admin/api/login", &[], Some(&right)).await;
    let token = id_of(&login.json()["token"]);
    house.canary.plants("the admin's token", token.clone(), May::Nowhere);
    let bearer = format!("Bearer {token}");
    let auth = ("authorization", bearer.as_str());
    let right = json!({ "password": house.password, "session": true });
    let login = house.ask_unseen("POST", "/admin/api/login", &[], Some(&right)).await;
    let cookie = login.headers["set-cookie"]
        .split(';')
        .next()
        .expect("a pair")
        .to_owned();
    let value = cookie.split_once('=').expect("a value").1.to_owned();
    house.canary.plants("the cookie of a session", value, May::Nowhere);
    house
        .ask("GET", "/admin/api/session", &[("cookie", &cookie)], None)
        .await;
    let made = json!({ "label": "ci", "scope": "admin" });
    let made = house
        .ask_unseen(
            "POST",
            "/admin/api/tokens",
            &[auth, ("idempotency-key", "k")],
            Some(&made),
        )
        .await;
    let ci = id_of(&made.json()["token"]);
    house.canary.plants("a token that was made", ci.clone(), May::Nowhere);

    // ---- secrets in headers and in addresses, of people who are let in and who are not ----
    let stray = house.canary.fresh("a token that is none of ours", May::Nowhere);
    let basic = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("ann:{stray}"))
    );
    let (foreign, strange) = (
        format!("Bearer {stray}"),
        format!("firstlight_session={stray}; other={stray}"),
    );
    for path in [
        "/admin/api/stats",
        "/admin/",
        "/metrics",
        "/mcp",
        "/api/integrations/state",
        "/nothing",
        "/health",
    ] {
        for headers in [
            vec![("authorization", foreign.as_str())],
            vec![("authorization", basic.as_str())],
            vec![("cookie", strange.as_str())],
            vec![
                ("x-api-key", stray.as_str()),
                ("proxy-authorization", &basic),
                ("x-hub-signature-256", &stray),
            ],
        ] {
            house.ask("GET", path, &headers, None).await;
            house.ask("POST", path, &headers, Some(&json!({}))).await;
        }
    }
    let in_query = house.canary.fresh("a token in a query", May::Nowhere);
    for path in [
        "/admin/api/stats",
        "/admin/runs",
        "/metrics",
        "/mcp",
        "/webhooks/github",
        "/admin/api/oauth/github/callback",
        "/health",
    ] {
        let path = format!("{path}?token={in_query}&access_token={in_query}&code={in_query}&state={in_query}");
        for headers in [vec![], vec![auth]] {
            house.ask_unseen("GET", &path, &headers, None).await;
            house.ask_unseen("POST", &path, &headers, Some(&json!({}))).await;
        }
    }

    // ---- signing in elsewhere ----
    for (provider, scopes) in [("github", "read:org"), ("slack", "openid profile")] {
        let away = visit(
            &format!("http://{}/admin/api/oauth/{provider}/authorize", house.address),
            "",
        )
        .await;
        let way = away.cookie(&format!("firstlight_oauth_{provider}"));
        if let Some(way) = way.filter(|_| away.location.starts_with(&house.sign_in.url)) {
            let person = Person {
                profile: json!({ "login": "ann", "id": 1 }),
                membership: 204,
            };
            let back = house.sign_in.consents(&away.location, scopes, person);
            let code = back
                .query_pairs()
                .find(|(name, _)| name == "code")
                .map(|(_, code)| code.into_owned());
            assert!(code.is_some());
            let at = format!(
                "http://{}/admin/api/oauth/{provider}/callback?{}",
                house.address,
                back.query().unwrap_or_default()
            );
            let state = back
                .query_pairs()
                .find(|(name, _)| name == "state")
                .expect("a state")
                .1
                .into_owned();
            house
                .canary
                .plants(&format!("the state of a way to {provider}"), state, May::Nowhere);
            let came = visit(&at, &way).await;
            house
                .surfaces
                .borrow_mut()
                .adds(format!("the way back from {provider}"), format!("{came:?}"));
        }
    }

    // ---- deliveries of GitHub's ----
    let in_body = house.canary.fresh("a token in an issue", May::BeShown);
    let number = house.github.opens_issue("acme/site", "x", "");
    let mut opened = payloads::issue("opened", number, &format!("it broke: {in_body}"));
    opened["issue"]["body"] = json!(format!("my token is {in_body}"));
    assert_eq!(house.deliver("issues", &opened, &[]).await.status, 202);
    assert_eq!(
        house
            .deliver("issues", &payloads::issue("labeled", 1, &in_body), &[])
            .await
            .status,
        200
    );
    let wrong = house.canary.fresh("a signature that does not fit", May::Nowhere);
    let offered = format!("sha256={wrong}");
    let refused = house
        .canary
        .fresh("a token in a delivery that was refused", May::Nowhere);
    let mut stranger = payloads::issue("opened", 1, &refused);
    stranger["sender"]["login"] = json!(refused);
    assert_eq!(
        house
            .deliver("issues", &stranger, &[("x-hub-signature-256", &offered)])
            .await
            .status,
        401
    );
    assert_eq!(house.deliver("issues", &json!([refused]), &[]).await.status, 400);
    assert_eq!(
        house
            .deliver(&refused, &json!({ "a": refused }), &[("authorization", &foreign)])
            .await
            .status,
        200
    );
    let mut foreign_repo = opened.clone();
    foreign_repo["repository"]["full_name"] = json!("other/site");
    foreign_repo["issue"]["title"] = json!(refused);
    assert_eq!(house.deliver("issues", &foreign_repo, &[]).await.status, 200);

    // ---- runs: agents, scripts, notices, events, replies, and a GitHub that repeats what it was sent ----
    let minted = house
        .until("a token of the App", async |house| {
            let all = house.github.minted().into_iter();
            all.rev()
                .find(|minted| minted.permissions.is_none())
                .map(|minted| minted.token)
        })
        .await;
    house.github.script_on(
        "POST",
        "/comments",
        Fault::status(422, &format!("you said Bearer {minted}")),
    );
    let context = json!({ "repo": "acme/site", "issueNumber": number, "title": "x", "body": in_body });
    let wish = json!({ "workflow": "everything", "context": context });
    let run = house.ask("POST", "/api/run", &[auth], Some(&wish)).await;
    assert_eq!(run.status, 202, "{}", run.text);
    let run = id_of(&run.json()["executionId"]);
    let ended = async |house: &House, run: &str| {
        let path = format!("/admin/api/workflow-runs/{run}");
        house
            .until("a run to end", async |house| {
                let said = house.ask_unseen("GET", &path, &[auth], None).await.json();
                let status = said["workflowRun"]["status"].as_str().unwrap_or_default().to_owned();
                ["succeeded", "failed", "cancelled", "paused"]
                    .contains(&status.as_str())
                    .then_some(said)
            })
            .await
    };
    let seen = ended(&house, &run).await;
    assert_eq!(seen["workflowRun"]["status"], "failed", "{seen}");
    let phases = seen["workflowRun"]["phases"].to_string();
    assert!(
        phases.contains("[redacted]"),
        "the phases printed what they had: {phases}"
    );
    house
        .ask("POST", "/api/run", &[auth], Some(&json!({ "workflow": in_body })))
        .await;
    house
        .ask(
            "POST",
            &format!("/admin/api/workflow-runs/{run}/retry"),
            &[auth],
            Some(&json!({})),
        )
        .await;
    house
        .ask(
            "POST",
            &format!("/admin/api/workflow-runs/{run}/cancel"),
            &[auth],
            Some(&json!({})),
        )
        .await;

    // ---- questions, answered by a comment, through the API and with a button ----
    let asks = async |house: &House, at: u64| {
        let wish = json!({ "owner": "acme", "repo": "site", "issueNumber": at, "issueBody": in_body });
        let said = house.ask("POST", "/api/build", &[auth], Some(&wish)).await;
        let run = id_of(&said.json()["executionId"]);
        ended(house, &run).await;
        let asked = house
            .ask_unseen("GET", &format!("/admin/api/approvals?run={run}"), &[auth], None)
            .await;
        id_of(&asked.json()["approvals"][0]["id"])
    };
    let first = asks(&house, number).await;
    let answer = json!({ "decision": "approved", "reason": format!("because {in_body}") });
    house
        .ask(
            "POST",
            &format!("/admin/api/approvals/{first}/respond"),
            &[auth],
            Some(&answer),
        )
        .await;
    house
        .ask(
            "POST",
            &format!("/admin/approvals/{first}/respond"),
            &[auth],
            Some(&answer),
        )
        .await;
    let other = house.github.opens_issue("acme/site", "y", "");
    let approval = asks(&house, other).await;
    let comment = payloads::comment(other, "MEMBER", &format!("@last-light reject {in_body}"));
    assert_eq!(house.deliver("issue_comment", &comment, &[]).await.status, 202);
    let said = house
        .slack
        .says("D1", "U1", None, &format!("hello, my token is {in_body}"));
    house
        .slack
        .until("an answer", |slack| {
            slack
                .bot_says("D1")
                .into_iter()
                .find(|one| one.thread.as_deref() == Some(&said))
        })
        .await;
    let stranger = house.slack.says("D1", "U1", None, "build acme/site#1");
    house
        .slack
        .until("a word", |slack| {
            slack
                .bot_says("D1")
                .into_iter()
                .find(|one| one.thread.as_deref() == Some(&stranger))
        })
        .await;
    let asked = house.slack.bot_says("D1").pop().expect("it said something");
    house.slack.presses(&asked, "U1", "approval_approve", &approval);
    house
        .slack
        .sends_text(&format!("{{\"type\":\"nonsense\",\"text\":\"{refused}\"}}"));
    let slash = house.slack.slash("C1", "U1", "/status", &in_body);
    house.slack.acked(&slash).await;

    // ---- webhooks and notices to receivers that fail and repeat what they were told ----
    let hook_secret = house.canary.fresh("the secret of a webhook", May::BeAtHome);
    let query = house.canary.fresh("a token in the address of a webhook", May::BeShown);
    let path = format!("/hook?token={query}");
    house.receiver.at(&path, vec![Does::Echoes(500)]);
    let wish = json!({ "url": house.receiver.url(&path), "secret": hook_secret });
    let hook = house
        .ask("POST", "/api/integrations/webhooks", &[auth], Some(&wish))
        .await
        .json();
    let hook = id_of(&hook["webhook"]["id"]);
    let account = house
        .canary
        .fresh("an account in the address of a webhook", May::Nowhere);
    for url in [
        format!("https://bot:{account}@example.com/"),
        format!("ftp://{account}@example.com"),
        format!("http://[{account}"),
    ] {
        let refused = house
            .ask(
                "POST",
                "/api/integrations/webhooks",
                &[auth],
                Some(&json!({ "url": url })),
            )
            .await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let notice = json!({ "channel": "slack", "message": "x", "webhook_url": url });
        house
            .ask("POST", "/api/integrations/notify", &[auth], Some(&notice))
            .await;
    }
    let emit = json!({ "eventName": "task.created", "payload": { "token": in_body } });
    let emitted = house
        .ask("POST", "/api/integrations/emit", &[auth], Some(&emit))
        .await
        .json();
    let delivery = id_of(&emitted["deliveries"][0]["delivery_id"]);
    let at = |what: &str| format!("/api/integrations/webhooks/{hook}/{what}");
    house.ask("POST", &at("ping"), &[auth], Some(&json!({}))).await;
    let rotated = house
        .ask_unseen(
            "POST",
            &at("rotate"),
            &[auth, ("idempotency-key", "r")],
            Some(&json!({})),
        )
        .await;
    let rotated = id_of(&rotated.json()["secret"]);
    house
        .canary
        .plants("a secret that was drawn for a webhook", rotated, May::BeAtHome);
    house
        .ask(
            "POST",
            &at("rotate"),
            &[auth, ("idempotency-key", "r")],
            Some(&json!({})),
        )
        .await;
    house.ask("POST", &at("disable"), &[auth], Some(&json!({}))).await;
    house.ask("POST", &at("enable"), &[auth], Some(&json!({}))).await;
    house
        .ask(
            "POST",
            &format!("/admin/api/deliveries/{delivery}/redeliver"),
            &[auth],
            Some(&json!({})),
        )
        .await;
    let target = house.canary.fresh("the address of a notice", May::Nowhere);
    house.receiver.at(&format!("/notice/{target}"), vec![Does::Echoes(503)]);
    let closed = format!("http://127.0.0.1:1/{target}");
    for channel in ["slack", "discord", "webhook", "email"] {
        for url in [
            None,
            Some(house.receiver.url(&format!("/notice/{target}"))),
            Some(closed.clone()),
        ] {
            let mut notice = json!({ "channel": channel, "message": format!("mind {in_body}"), "retry_count": 1 });
            if let Some(url) = url {
                notice["webhook_url"] = json!(url);
            }
            let said = house
                .ask("POST", "/api/integrations/notify", &[auth], Some(&notice))
                .await;
            assert!(said.status < 500, "{}", said.text);
        }
    }

    // ---- git, schedules, the desk ----
    let on = json!({ "enabled": true, "on_events": ["task.sync", "session.end"] });
    house
        .ask("PUT", "/api/integrations/git-auto-commit", &[auth], Some(&on))
        .await;
    let call = json!({ "tool": "task_sync_to_gsd", "args": { "token": in_body }, "result": { "success": true } });
    house
        .ask("POST", "/api/integrations/tool-calls", &[auth], Some(&call))
        .await;
    house
        .ask(
            "POST",
            "/api/integrations/git-auto-commit/dry-run",
            &[auth],
            Some(&json!({})),
        )
        .await;
    let crons = house.ask("GET", "/admin/api/crons", &[auth], None).await.json();
    let cron = id_of(&crons["crons"][0]["name"]);
    for (what, body) in [
        ("toggle", json!({})),
        ("schedule", json!({ "schedule": "0 5 * * *" })),
        ("schedule", json!({ "schedule": in_body })),
        ("run", json!({})),
    ] {
        house
            .ask("POST", &format!("/admin/api/crons/{cron}/{what}"), &[auth], Some(&body))
            .await;
    }
    let rehearsal = json!({ "event": "issues", "payload": opened, "headers": { "authorization": foreign } });
    house
        .ask("POST", "/admin/api/route-test", &[auth], Some(&rehearsal))
        .await;
    house
        .ask(
            "POST",
            "/admin/api/events/d-1/replay",
            &[auth],
            Some(&json!({ "as": "new" })),
        )
        .await;
    house
        .ask(
            "POST",
            "/admin/api/workflows/chat/toggle",
            &[auth],
            Some(&json!({ "enabled": true })),
        )
        .await;

    // ---- every look: the API, the pages, the tools, the command line ----
    let ids: BTreeMap<&str, &str> = BTreeMap::from([
        ("events", "d-1"),
        ("workflow-runs", &run),
        ("runs", &run),
        ("deliveries", &delivery),
        ("workflows", "everything"),
        ("crons", &cron),
        ("approvals", &first),
    ]);
    let mut looked = 0;
    for route in routes()
        .into_iter()
        .filter(|route| !route.changes() && route.pattern != "/mcp")
    {
        let before = route
            .pattern
            .split("/{")
            .next()
            .and_then(|before| before.rsplit('/').next());
        let id = before.and_then(|kind| ids.get(kind)).copied().unwrap_or("x");
        for phase in ["think", "show", "fail"] {
            let path = route.pattern.replace("{phase}", phase).replace("{firing}", "1");
            let path: Vec<_> = path
                .split('/')
                .map(|part| if part.starts_with('{') { id } else { part })
                .collect();
            let path = path.join("/");
            house.ask("GET", &path, &[auth], None).await;
            if route.door == Door::Pages || route.door == Door::Open {
                house.ask("GET", &path, &[("cookie", &cookie)], None).await;
            }
            looked += 1;
            if !route.pattern.contains("{phase}") {
                break;
            }
        }
    }
    // Changes write lines of their own, within the span of their request.
    for (path, body) in [
        (format!("/admin/api/crons/{cron}/run"), json!({})),
        (format!("/admin/api/crons/{cron}/toggle"), json!({})),
        (
            "/api/run".to_owned(),
            json!({ "workflow": "chat", "context": { "repo": "acme/site" } }),
        ),
        (
            "/admin/api/workflows/chat/toggle".to_owned(),
            json!({ "enabled": true }),
        ),
        ("/admin/api/events/d-1/replay".to_owned(), json!({ "as": "new" })),
    ] {
        let headers = [
            auth,
            ("user-agent", stray.as_str()),
            ("referer", &foreign),
            ("x-forwarded-for", &stray),
        ];
        house
            .ask_unseen("POST", &format!("{path}?token={in_query}"), &headers, Some(&body))
            .await;
    }
    assert!(looked > 70, "{looked}");
    for path in [
        "/admin/api/events?limit=200",
        "/admin/api/audit?limit=200",
        "/admin/api/deliveries?limit=200",
    ] {
        house.ask("GET", path, &[auth], None).await;
    }
    let numbers = house.ask("GET", "/metrics", &[auth], None).await;
    assert_eq!(numbers.status, 200);
    house.surfaces.borrow_mut().adds_strict("the numbers", numbers.whole);

    let deliveries = house
        .ask("GET", "/admin/api/deliveries?limit=200", &[auth], None)
        .await
        .json();
    for row in deliveries["deliveries"].as_array().expect("a list") {
        let id = id_of(&row["id"]);
        for path in [format!("/admin/api/deliveries/{id}"), format!("/admin/deliveries/{id}")] {
            house.ask("GET", &path, &[auth], None).await;
        }
    }

    let mut session = String::new();
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "tests", "version": "1" } });
    mcp(&house, auth, &mut session, "initialize", hello).await;
    mcp(&house, auth, &mut session, "notifications/initialized", json!({})).await;
    let tools = mcp(&house, auth, &mut session, "tools/list", json!({})).await.json();
    let tools: Vec<String> = tools["result"]["tools"]
        .as_array()
        .expect("tools")
        .iter()
        .map(|tool| id_of(&tool["name"]))
        .collect();
    assert!(tools.len() > 15, "{tools:?}");
    for tool in &tools {
        let args = match tool.as_str() {
            "run_get" => json!({ "id": run }),
            "delivery_get" => json!({ "id": delivery }),
            "approval_respond" => json!({ "approvalId": approval, "decision": "approved", "reason": in_body }),
            "integration_webhook_register" => json!({ "url": "https://example.com/other", "secret": hook_secret }),
            "integration_webhook_delete" => json!({ "webhookId": "none" }),
            "integration_notify" => {
                json!({ "channel": "slack", "message": "x", "webhook_url": closed, "retry_count": 0 })
            }
            "integration_emit_event" => json!({ "eventName": "error", "payload": { "a": in_body } }),
            "workflow_run" => json!({ "workflow": "everything", "context": { "repo": "acme/site", "issueNumber": 1 } }),
            "cron_run" => json!({ "name": cron }),
            _ => json!({}),
        };
        mcp(
            &house,
            auth,
            &mut session,
            "tools/call",
            json!({ "name": tool, "arguments": args }),
        )
        .await;
        mcp(
            &house,
            auth,
            &mut session,
            "tools/call",
            json!({ "name": tool, "arguments": { "pasword": typed } }),
        )
        .await;
    }

    let words = house.command(&ci, &["config", "print"]).await;
    assert!(words.contains("[redacted]"), "{words}");
    for words in [
        "config print --json",
        "config check",
        "config check --json",
        "runs list",
        "runs list --json",
        "events list --json",
        "crons list",
        "webhooks list --json",
        "deliveries list --json",
        "approvals list --json",
        "tokens list --json",
        "audit list --json",
        "doctor",
        "doctor --json",
        "login",
    ] {
        house.command(&ci, &words.split(' ').collect::<Vec<_>>()).await;
    }
    house.command(&stray, &["runs", "list"]).await;
    let copy = house.folder.path().join("copy");
    let copied = house
        .command(
            &ci,
            &["backup", "--to", copy.to_str().expect("a path"), "--without-secrets"],
        )
        .await;
    assert!(copied.contains("files are in"), "{copied}");

    // ---- the end: nothing is at work any more, and everything is searched ----
    house
        .until("the runs to end", async |house| {
            let live = ["queued", "running"].map(|status| format!("/admin/api/workflow-runs?status={status}"));
            for path in live {
                let runs = house.ask_unseen("GET", &path, &[auth], None).await.json();
                if !runs["workflowRuns"].as_array().is_some_and(Vec::is_empty) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    let process = rustix::process::Pid::from_raw(i32::try_from(house.child.id()).expect("a process id"));
    rustix::process::kill_process(process.expect("not 0"), rustix::process::Signal::TERM).expect("it runs");
    assert!(house.child.wait().expect("it was ours").success());

    for minted in house.github.minted() {
        house
            .canary
            .plants("a token of an installation", minted.token, May::Nowhere);
    }
    let mut surfaces = house.surfaces.take();
    let log = house.log();
    assert!(
        log.lines().count() > 200 && log.contains("\"level\":\"TRACE\""),
        "the log was heard"
    );
    surfaces.adds_strict("the log", log);
    assert!(surfaces.adds_folder("the state folder", &house.folder.path().join("state")) > 3);
    assert!(surfaces.adds_folder("the backup", &copy) > 1);
    for got in house.receiver.got() {
        let to = PathBuf::from(&got.path)
            .iter()
            .nth(1)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        surfaces.adds(format!("the body that {to} was sent"), got.body);
        // The collector is the one whom its key is shown to.
        if got.path != "/v1/traces" {
            surfaces.adds(format!("the headers that {to} was sent"), format!("{:?}", got.headers));
        }
    }
    for channel in ["C1", "C2", "D1", "U1"] {
        for said in house.slack.bot_says(channel) {
            surfaces.adds(format!("a message in {channel}"), format!("{said:?}"));
        }
    }
    for number in [number, other] {
        for comment in house.github.comments("acme/site", number) {
            surfaces.adds("a comment", comment.body);
        }
    }
    assert!(house.canary.0.len() > 35, "{}", house.canary.0.len());
    assert!(surfaces.0.len() > 250, "{}", surfaces.0.len());
    let found = surfaces.search(&house.canary);
    assert!(
        found.is_empty(),
        "{} secrets got out:\n{}",
        found.len(),
        found.join("\n")
    );
    house.slack.stop().await;
    house.github.stop().await;
}
