//! `firstlight doctor` before set-ups that are broken in one way each: the real binary, stand-ins of GitHub and Slack, and a real service.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use actors::clock::SystemClock;
use chrono::TimeDelta;
use firstlight::demo::github::{APP_ID, GithubStandIn};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::app::{Delivery, SECRET, TestApp};
use crate::support::clock::AheadClock;
use crate::support::process::{Served, firstlight};
use crate::support::receiver::{Does, Receiver};
use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};

/// Variables that are set.
type Env = Vec<(&'static str, &'static str)>;

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// What the doctor said.
struct Examined {
    code: i32,
    report: Value,
    shown: String,
}

impl Examined {
    /// The check of this name whose words hold this text.
    fn check(&self, name: &str, holds: &str) -> &Value {
        let all = self.report["checks"].as_array().expect("a list");
        all.iter()
            .find(|check| check["name"] == name && check.to_string().contains(holds))
            .unwrap_or_else(|| panic!("no check {name} holds {holds:?}:\n{}", self.shown))
    }

    /// The check of this name is such, for this cause, and names this setting.
    fn says(&self, name: &str, verdict: &str, cause: &str, set: &str) {
        let check = self.check(name, cause);
        assert_eq!(check["verdict"], verdict, "{name}: {}", self.shown);
        let named = check["fix"].as_str().unwrap_or_default();
        assert!(named.contains(set), "{name} should name {set}: {}", self.shown);
    }

    fn all_well(&self, name: &str) {
        let all = self.report["checks"].as_array().expect("a list");
        let mut of_name = all.iter().filter(|check| check["name"] == name).peekable();
        assert!(of_name.peek().is_some(), "no check {name}:\n{}", self.shown);
        assert!(of_name.all(|check| check["verdict"] == "ok"), "{name}: {}", self.shown);
    }
}

/// Runs it in this folder. What is set as a secret never shows.
async fn examined(folder: &Path, env: &[(&str, &str)], args: &[&str]) -> Examined {
    let mut command = firstlight();
    command
        .args(["doctor", "--json", "--state-dir"])
        .arg(folder.join("state"))
        .args(args)
        .current_dir(folder)
        .env("GITHUB_API_URL", NOBODY)
        .env("FIRSTLIGHT_URL", NOBODY)
        .envs(env.iter().copied());
    let done = tokio::task::spawn_blocking(move || command.output().expect("it ran"));
    let done = done.await.expect("no panic");
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    for (name, value) in env {
        let secret = ["SECRET", "PASSWORD", "TOKEN", "SMTP_URL"]
            .iter()
            .any(|word| name.contains(word));
        assert!(
            !secret || value.len() < 8 || !shown.contains(value),
            "{name} shows: {shown}"
        );
    }
    assert!(!shown.contains("hunter2") && !shown.contains("Bearer"), "{shown}");
    Examined {
        code: done.status.code().expect("no signal"),
        report: serde_json::from_str(&shown).unwrap_or_else(|_| panic!("no JSON: {shown} {error}")),
        shown,
    }
}

fn empty() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[actix::test]
async fn a_fresh_clone_without_settings_is_told_what_to_set_and_left_as_it_is() {
    let folder = empty();
    let found = examined(folder.path(), &[], &[]).await;
    assert_eq!(found.code, 0, "{}", found.shown);
    found.says("settings", "warning", "every delivery is filtered", "MANAGED_REPOS");
    found.says(
        "settings",
        "warning",
        "anybody who reaches the server",
        "WEBHOOK_SECRET",
    );
    for (name, set) in [
        ("github", "GITHUB_APP_ID"),
        ("slack", "SLACK_BOT_TOKEN"),
        ("mail", "SMTP_URL"),
        ("public url", "PUBLIC_URL"),
        ("service", "firstlight serve"),
    ] {
        found.says(name, "skipped", "", set);
    }
    for name in ["workflows", "state folder", "disk", "secrets"] {
        found.all_well(name);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[actix::test]
async fn for_people_it_is_a_table_without_colours_where_there_is_no_terminal() {
    let folder = empty();
    let mut command = firstlight();
    command
        .arg("doctor")
        .current_dir(folder.path())
        .env("GITHUB_API_URL", NOBODY);
    let done = tokio::task::spawn_blocking(move || command.output().expect("it ran"));
    let done = done.await.expect("no panic");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(
        text.contains("skipped  mail          no mail server is set\n"),
        "{text}"
    );
    assert!(text.contains("fix: SMTP_URL (smtp_url)\n"), "{text}");
    assert!(text.trim_end().ends_with("skipped"), "{text}");
}

#[actix::test]
async fn mistakes_of_the_configuration_end_with_78_and_are_all_told() {
    let folder = empty();
    std::fs::write(
        folder.path().join("firstlight.yaml"),
        "server: {lissten: x}\nslack: {bot_token: xoxb-1}\n",
    )
    .expect("written");
    let found = examined(folder.path(), &[], &[]).await;
    assert_eq!(found.code, 78, "{}", found.shown);
    found.says("settings", "failed", "unknown key", "lissten");
    found.says("settings", "failed", "needs the app token", "slack.bot_token");
    found.says("everything else", "skipped", "", "");

    let routes = "routes: {github: {issue_opened: isue-triage}}\napprovals: {gates: [paln]}\n";
    std::fs::write(folder.path().join("firstlight.yaml"), routes).expect("written");
    let found = examined(folder.path(), &[], &[]).await;
    assert_eq!(found.code, 78, "{}", found.shown);
    found.says("workflows", "failed", "isue-triage", "routes.github.issue_opened");
}

#[actix::test]
async fn what_is_wrong_on_this_machine_is_named() {
    type Prepare = fn(&Path);
    fn state(folder: &Path, file: &str, text: &str) -> std::path::PathBuf {
        let path = folder.join("state").join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("narrowed");
        path
    }
    let nothing: Prepare = |_| {};
    let long = "a long secret of this test";
    let table: Vec<(Prepare, Env, [&str; 4], i32)> = vec![
        (
            nothing,
            vec![("WEBHOOK_SECERT", long)],
            ["settings", "warning", "WEBHOOK_SECERT", "WEBHOOK_SECRET instead"],
            0,
        ),
        (
            nothing,
            vec![("APPROVAL_GATES", "paln")],
            ["workflows", "warning", "paln", "\"plan\" instead"],
            0,
        ),
        (
            nothing,
            vec![("WEBHOOK_SECRET", "abc")],
            ["secrets", "warning", "3 characters", "WEBHOOK_SECRET"],
            0,
        ),
        (
            nothing,
            vec![("WEBHOOK_SECRET", "\"quoted-secret-of-tests\"")],
            ["secrets", "warning", "quotes around", "WEBHOOK_SECRET"],
            0,
        ),
        (
            nothing,
            vec![("ADMIN_PASSWORD", "changeme")],
            ["secrets", "warning", "one of the first", "ADMIN_PASSWORD"],
            0,
        ),
        (
            nothing,
            vec![
                ("ADMIN_PASSWORD", "changeme"),
                ("HOST", "0.0.0.0"),
                ("WEBHOOK_SECRET", long),
            ],
            ["secrets", "failed", "one of the first", "ADMIN_PASSWORD"],
            1,
        ),
        (
            |folder| drop(state(folder, "state/integrations.json", "{\"version\": 1,")),
            vec![],
            ["integrations", "failed", "does not parse", "mend"],
            1,
        ),
        (
            |folder| drop(state(folder, "state/integrations.json.corrupt-2026", "x")),
            vec![],
            ["integrations", "warning", "set aside", "corrupt-2026"],
            0,
        ),
        (
            |folder| {
                let path = state(folder, "secrets/admin_secret", "hunter2-hunter2-hunter2");
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("widened");
                let secrets = folder.join("state/secrets");
                std::fs::set_permissions(secrets, std::fs::Permissions::from_mode(0o700)).expect("narrowed");
            },
            vec![],
            ["secrets", "failed", "mode 644", "chmod 600"],
            1,
        ),
        (
            |folder| {
                drop(state(
                    folder,
                    "firstlight.db",
                    "not a database, but long enough to be taken for the head of one by somebody",
                ))
            },
            vec![],
            ["store", "failed", "damaged", "firstlight restore"],
            1,
        ),
        (
            |folder| {
                std::fs::write(folder.join("state"), "").expect("written");
            },
            vec![],
            ["settings", "failed", "is a file", "state_dir"],
            78,
        ),
        (
            nothing,
            vec![("SMTP_URL", "smtp://127.0.0.1:9")],
            ["mail", "failed", "no mail server answers", "host and port"],
            1,
        ),
        (
            nothing,
            vec![("GITHUB_TOKEN", "ghp_of_the_tests")],
            ["github", "failed", "cannot be reached", "GITHUB_API_URL"],
            1,
        ),
        (
            nothing,
            vec![
                ("SLACK_BOT_TOKEN", "xoxb-nobody-listens"),
                ("SLACK_APP_TOKEN", "xapp-nobody-listens"),
                ("SLACK_API_URL", "http://127.0.0.1:9/api"),
            ],
            ["slack bot", "failed", "no connection to Slack", "SLACK_API_URL"],
            1,
        ),
        (
            nothing,
            vec![("PUBLIC_URL", NOBODY)],
            ["public url", "failed", "cannot be reached", "PUBLIC_URL"],
            1,
        ),
    ];
    for (prepare, env, [name, verdict, cause, set], code) in table {
        let folder = empty();
        prepare(folder.path());
        let found = examined(folder.path(), &env, &[]).await;
        found.says(name, verdict, cause, set);
        assert_eq!(found.code, code, "{cause}: {}", found.shown);
    }
}

/// A GitHub with an App that is installed at acme and delivers to `url`.
struct Github {
    stand_in: GithubStandIn,
    clock: Arc<AheadClock>,
    folder: TempDir,
}

impl Github {
    fn start(url: &str, secret: Option<&str>) -> Self {
        let clock = Arc::new(AheadClock::default());
        let stand_in = GithubStandIn::start(clock.clone()).expect("a port is free");
        stand_in.opens_issue("acme/site", "It broke", "");
        stand_in.app_delivers_to(url, secret);
        let folder = empty();
        let key = folder.path().join("app.pem");
        std::fs::write(&key, stand_in.private_key().expose()).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("narrowed");
        Self {
            stand_in,
            clock,
            folder,
        }
    }

    fn key(&self) -> String {
        self.folder.path().join("app.pem").display().to_string()
    }

    /// Examined as the App, with this over the usual environment.
    async fn examined(&self, env: &[(&str, &str)], args: &[&str]) -> Examined {
        let key = self.key();
        let mut all: BTreeMap<&str, &str> = [
            ("GITHUB_API_URL", self.stand_in.url()),
            ("GITHUB_APP_ID", APP_ID),
            ("GITHUB_APP_PRIVATE_KEY_PATH", &key),
            ("MANAGED_REPOS", "acme/site"),
            ("WEBHOOK_SECRET", SECRET),
        ]
        .into();
        all.extend(env.iter().copied());
        let all: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        examined(self.folder.path(), &all, args).await
    }
}

const HOOK: &str = "https://bot.example.com/webhooks/github";

#[actix::test]
async fn an_app_that_is_set_up_well_is_told_so() {
    let github = Github::start(HOOK, Some(SECRET));
    github.stand_in.remembers_delivery("issues", 202, "OK");
    let found = github.examined(&[], &[]).await;
    for name in [
        "github",
        "clock",
        "github permissions",
        "github events",
        "github installations",
        "github webhook",
        "github deliveries",
    ] {
        found.all_well(name);
    }
    assert_eq!(found.code, 0, "{}", found.shown);
}

#[actix::test]
async fn what_is_wrong_with_the_app_is_named() {
    type Break = fn(&Github);
    let nothing: Break = |_| {};
    let table: Vec<(Break, Env, [&str; 4])> = vec![
        (
            nothing,
            vec![("GITHUB_APP_ID", "4712")],
            ["github", "failed", "no App of this number", "GITHUB_APP_ID"],
        ),
        (
            |github| {
                let other = include_str!("support/other_key.txt");
                let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{other}-----END RSA PRIVATE KEY-----\n");
                std::fs::write(github.folder.path().join("app.pem"), pem).expect("written");
            },
            vec![],
            ["github", "failed", "another App's", "GITHUB_APP_PRIVATE_KEY_PATH"],
        ),
        (
            |github| github.clock.passes(TimeDelta::minutes(15)),
            vec![],
            ["github", "failed", "clock is wrong", "the clock of this machine"],
        ),
        (
            |github| github.clock.passes(TimeDelta::minutes(-15)),
            vec![],
            ["clock", "failed", "ahead of GitHub's", "the clock of this machine"],
        ),
        (
            |github| github.clock.passes(TimeDelta::minutes(2)),
            vec![],
            ["clock", "warning", "behind GitHub's", "the clock of this machine"],
        ),
        (
            |github| {
                let permissions = json!({ "metadata": "read", "issues": "read", "pull_requests": "write" });
                github
                    .stand_in
                    .grants(&permissions, &json!(["issues", "issue_comment", "pull_request"]));
            },
            vec![],
            [
                "github permissions",
                "failed",
                "issues: read, and write is needed",
                "issues: write",
            ],
        ),
        (
            |github| {
                let permissions = json!({ "metadata": "read", "issues": "write", "pull_requests": "write" });
                github.stand_in.grants(&permissions, &json!(["issues", "pull_request"]));
            },
            vec![],
            ["github events", "failed", "issue_comment", "issue_comment"],
        ),
        (
            nothing,
            vec![("MANAGED_REPOS", "globex/*")],
            [
                "github installations",
                "failed",
                "not installed at globex",
                "Install App",
            ],
        ),
        (
            |github| github.stand_in.suspends("acme"),
            vec![],
            ["github installations", "failed", "suspended", "Unsuspend"],
        ),
        (
            nothing,
            vec![("GITHUB_APP_INSTALLATION_ID", "77")],
            [
                "github installations",
                "failed",
                "no installation 77",
                "GITHUB_APP_INSTALLATION_ID",
            ],
        ),
        (
            |github| {
                github
                    .stand_in
                    .app_delivers_to("https://bot.example.com/github", Some(SECRET))
            },
            vec![],
            [
                "github webhook",
                "failed",
                "leads to https://bot.example.com/github",
                "the webhook's URL on GitHub",
            ],
        ),
        (
            nothing,
            vec![("PUBLIC_URL", "http://127.0.0.1:9/lights")],
            [
                "github webhook",
                "failed",
                "should lead to http://127.0.0.1:9/lights/webhooks/github",
                "the webhook's URL on GitHub",
            ],
        ),
        (
            |github| github.stand_in.app_delivers_to(HOOK, None),
            vec![],
            ["github webhook", "failed", "has no secret", "secret on GitHub"],
        ),
        (
            nothing,
            vec![("WEBHOOK_SECRET", "")],
            ["github webhook", "warning", "none is set here", "WEBHOOK_SECRET"],
        ),
        (
            |github| {
                github
                    .stand_in
                    .remembers_delivery("issues", 404, "Invalid HTTP Response: 404")
            },
            vec![],
            [
                "github deliveries",
                "failed",
                "the path is /webhooks/github",
                "URL on GitHub",
            ],
        ),
        (
            |github| github.stand_in.remembers_delivery("issues", 0, "timed out"),
            vec![],
            ["github deliveries", "failed", "waited for 10 s", "firewall"],
        ),
        (
            |github| {
                github
                    .stand_in
                    .app_delivers_to(HOOK, Some("the secret of somebody else"));
                github
                    .stand_in
                    .remembers_delivery("issues", 401, "Invalid HTTP Response: 401");
            },
            vec![],
            [
                "github deliveries",
                "failed",
                "signed with another secret",
                "WEBHOOK_SECRET",
            ],
        ),
        (
            |github| {
                github.stand_in.app_delivers_to(HOOK, Some(&format!("{SECRET}\n")));
                github
                    .stand_in
                    .remembers_delivery("issues", 401, "Invalid HTTP Response: 401");
            },
            vec![],
            [
                "github deliveries",
                "failed",
                "ends in a blank or a line end",
                "WEBHOOK_SECRET",
            ],
        ),
        (
            |github| {
                github
                    .stand_in
                    .remembers_delivery("issues", 401, "Invalid HTTP Response: 401")
            },
            vec![],
            [
                "github deliveries",
                "failed",
                "goes by another one",
                "start the service again",
            ],
        ),
        (
            nothing,
            vec![],
            ["github deliveries", "skipped", "delivered nothing", ""],
        ),
    ];
    for (break_it, env, [name, verdict, cause, set]) in table {
        let github = Github::start(HOOK, Some(SECRET));
        break_it(&github);
        let found = github.examined(&env, &[]).await;
        found.says(name, verdict, cause, set);
        let failed = found.report["failed"].as_u64().expect("a number");
        assert_eq!(found.code, i32::from(failed > 0), "{}", found.shown);
        github.stand_in.stop().await;
    }
}

#[actix::test]
async fn a_token_is_tried_on_the_repositories_that_are_managed() {
    let github = Github::start(HOOK, Some(SECRET));
    let token = github.stand_in.token();
    let by_token = [
        ("GITHUB_APP_ID", ""),
        ("GITHUB_APP_PRIVATE_KEY_PATH", ""),
        ("GITHUB_TOKEN", token.expose()),
    ];
    let with = |more: &[(&'static str, &'static str)]| {
        let mut env: Vec<(&str, &str)> = by_token.to_vec();
        env.extend(more);
        env
    };
    let found = github.examined(&with(&[]), &[]).await;
    found.all_well("github");
    found.all_well("github repositories");
    found.says(
        "github webhook",
        "warning",
        "no webhook of acme/site leads here",
        "Add webhook",
    );
    let found = github.examined(&with(&[("MANAGED_REPOS", "acme/sites")]), &[]).await;
    found.says(
        "github repositories",
        "failed",
        "does not reach acme/sites",
        "GITHUB_TOKEN",
    );
    let found = github
        .examined(&with(&[("GITHUB_TOKEN", "ghp_of_somebody_else")]), &[])
        .await;
    found.says("github", "failed", "refuses the token", "GITHUB_TOKEN");
    github.stand_in.repo_delivers_to("acme/site", HOOK, None);
    let found = github.examined(&with(&[]), &[]).await;
    found.says("github webhook", "failed", "has no secret", "secret on GitHub");
}

#[actix::test]
async fn what_is_wrong_with_slack_is_named() {
    let folder = empty();
    let slack = FakeSlack::start();
    let url = slack.api_url();
    let env = |bot: &'static str, app: &'static str| {
        vec![
            ("SLACK_API_URL", url.clone()),
            ("SLACK_BOT_TOKEN", bot.to_owned()),
            ("SLACK_APP_TOKEN", app.to_owned()),
            ("SLACK_ALLOWED_USERS", "U1".to_owned()),
        ]
    };
    let look = async |env: Vec<(&'static str, String)>| {
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        examined(folder.path(), &env, &[]).await
    };
    let found = look(env(BOT_TOKEN, APP_TOKEN)).await;
    for name in ["slack bot", "slack app", "slack scopes"] {
        found.all_well(name);
    }
    assert_eq!(slack.sockets_ever(), 0, "no socket is opened");
    let found = look(env("xoxb-of-somebody-else", APP_TOKEN)).await;
    found.says("slack bot", "failed", "invalid_auth", "SLACK_BOT_TOKEN");
    found.all_well("slack app");
    let found = look(env(BOT_TOKEN, "xapp-of-somebody-else")).await;
    found.says("slack app", "failed", "invalid_auth", "SLACK_APP_TOKEN");
    slack.gives_scopes(
        "chat:write,app_mentions:read,assistant:write,channels:history,commands,groups:history,im:history,mpim:history",
    );
    let found = look(env(BOT_TOKEN, APP_TOKEN)).await;
    found.says(
        "slack scopes",
        "failed",
        "the bot may not: reactions:write, users:read",
        "firstlight slack manifest",
    );
    assert_eq!(found.code, 1);
}

/// A mail server without TLS that answers AUTH with this. The port.
async fn mail_server(auth: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("bound").port();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let mut answer = "220 mail of the tests\r\n";
            while write.write_all(answer.as_bytes()).await.is_ok() {
                let Ok(Some(line)) = lines.next_line().await else { break };
                answer = match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => "250-mail\r\n250 AUTH PLAIN LOGIN\r\n",
                    "AUTH" => auth,
                    "MAIL" => panic!("the doctor sends no mail"),
                    "QUIT" => "221 bye\r\n",
                    _ => "250 fine\r\n",
                };
            }
        }
    });
    port
}

#[actix::test]
async fn the_mail_server_is_greeted_and_gets_no_mail() {
    let folder = empty();
    let good = mail_server("235 welcome\r\n").await;
    let bad = mail_server("535 no\r\n").await;
    for (url, verdict, cause, set) in [
        (format!("smtp://127.0.0.1:{good}"), "ok", "answers (no protection)", ""),
        (format!("smtp://u:hunter2@127.0.0.1:{good}"), "ok", "signed in", ""),
        (
            format!("smtp://u:hunter2@127.0.0.1:{bad}"),
            "failed",
            "refuses the account",
            "user and password",
        ),
        (
            format!("smtps://u:hunter2@127.0.0.1:{good}"),
            "failed",
            "cannot be protected",
            "the scheme of SMTP_URL",
        ),
        (
            format!("smtp+starttls://u:hunter2@127.0.0.1:{good}"),
            "failed",
            "cannot be protected",
            "the scheme of SMTP_URL",
        ),
    ] {
        let found = examined(folder.path(), &[("SMTP_URL", &url)], &[]).await;
        found.says("mail", verdict, cause, set);
    }
}

#[actix::test]
async fn what_answers_at_the_public_address_is_told_apart() {
    let folder = empty();
    let receiver = Receiver::start().await;
    let answers = |status, headers, body: &str| Does::Answers(status, headers, body.to_owned());
    let table = [
        ("/a", answers(200, "", "<html>"), "not as Firstlight does", "PUBLIC_URL"),
        (
            "/b",
            answers(301, "Location: https://other.example/b/health\r\n", ""),
            "sends on to https://other.example/b",
            "https://other.example/b",
        ),
        ("/c", answers(401, "", ""), "a sign-in of its own", "/webhooks/github"),
        ("/d", answers(404, "", ""), "base path", "PUBLIC_URL"),
        (
            "/e",
            answers(502, "", ""),
            "does not reach the service",
            "server.listen",
        ),
        (
            "/f",
            answers(200, "", "{\"status\":\"ok\",\"connector\":\"github\"}"),
            "could not be told",
            "firstlight login",
        ),
    ];
    for (base, does, cause, set) in table {
        receiver.at(&format!("{base}/health"), vec![does]);
        let url = format!("http://127.0.0.1:{}{base}", receiver.port());
        let found = examined(folder.path(), &[("PUBLIC_URL", &url)], &[]).await;
        let verdict = if base == "/f" { "skipped" } else { "failed" };
        found.says("public url", verdict, cause, set);
    }
    // Another program where the service should be.
    receiver.at("/ready", vec![answers(200, "", "<html>")]);
    let url = format!("http://127.0.0.1:{}", receiver.port());
    let found = examined(folder.path(), &[("FIRSTLIGHT_URL", &url)], &[]).await;
    found.says("service", "failed", "is no Firstlight", "server.listen");
}

/// Hands requests on and says from whom they came, as proxies do. Its address.
async fn proxy(to: std::net::SocketAddr, header: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("bound");
    actix_rt::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n") && client.read_exact(&mut byte).await.is_ok() {
                head.push(byte[0]);
            }
            head.extend_from_slice(header.as_bytes());
            let mut service = TcpStream::connect(to).await.expect("the service listens");
            service.write_all(&head).await.expect("written");
            let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
        }
    });
    format!("http://{address}")
}

/// The environment of a doctor beside this service.
fn beside(app: &TestApp) -> Vec<(&'static str, String)> {
    vec![
        ("FIRSTLIGHT_URL", format!("http://{}", app.address())),
        ("WEBHOOK_SECRET", SECRET.to_owned()),
        ("ADMIN_PASSWORD", crate::support::app::PASSWORD.to_owned()),
        ("MANAGED_REPOS", "acme/*".to_owned()),
    ]
}

async fn look(app: &TestApp, more: &[(&'static str, &str)]) -> Examined {
    let mut env = beside(app);
    env.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    env.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    examined(app.folder(), &env, &[]).await
}

#[actix::test]
async fn beside_a_running_service_the_public_address_is_proved_to_lead_to_it() {
    let app = TestApp::start().await;
    let own = format!("http://{}", app.address());
    let token = app.github.token().expose().to_owned();
    let github = app.github.url().to_owned();
    let here: &[(&'static str, &str)] = &[
        ("GITHUB_TOKEN", &token),
        ("GITHUB_API_URL", &github),
        ("PUBLIC_URL", &own),
    ];
    let found = look(&app, here).await;
    assert!(found.check("service", "ready at").is_object());
    for name in ["public url", "proxy", "store", "audit log", "state folder", "secrets"] {
        found.all_well(name);
    }
    // The public address is not among the settings that the service was started with.
    found.says("service", "warning", "server.public_url", "start the service again");
    assert_eq!(found.code, 0, "{}", found.shown);

    let proxied = proxy(app.address(), "X-Forwarded-For: 203.0.113.9\r\n").await;
    let found = look(&app, &[("PUBLIC_URL", &proxied)]).await;
    found.all_well("public url");
    found.says(
        "proxy",
        "warning",
        "not named as a proxy",
        "server.trusted_proxies: [127.0.0.1]",
    );

    let other = TestApp::start().await;
    let elsewhere = format!("http://{}", other.address());
    let found = look(&app, &[("PUBLIC_URL", &elsewhere)]).await;
    found.says("public url", "failed", "it is not this one", "PUBLIC_URL");
    assert_eq!(found.code, 1);
    other.finish().await;
    app.finish().await;
}

#[actix::test]
async fn a_proxy_that_is_named_is_believed_and_the_service_says_so() {
    let app = TestApp::start_with(&[], "server: {trusted_proxies: [127.0.0.1]}\n").await;
    let proxied = proxy(app.address(), "X-Forwarded-For: 203.0.113.9\r\n").await;
    let found = look(&app, &[("PUBLIC_URL", &proxied)]).await;
    assert!(found.check("proxy", "this request came from 203.0.113.9").is_object());
    found.all_well("proxy");
    let silent = proxy(app.address(), "X-Other: 1\r\n").await;
    let found = look(&app, &[("PUBLIC_URL", &silent)]).await;
    found.says(
        "proxy",
        "warning",
        "without X-Forwarded-For",
        "X-Forwarded-For of the proxy",
    );
    app.finish().await;
}

#[actix::test]
async fn a_service_at_another_address_and_one_that_does_not_know_us_are_told_apart() {
    let app = TestApp::start().await;
    let found = look(&app, &[("FIRSTLIGHT_URL", NOBODY)]).await;
    found.says(
        "service",
        "failed",
        "has the state folder, and nothing answers",
        "server.listen",
    );
    let found = look(&app, &[("ADMIN_SECRET", "another secret than the service's")]).await;
    found.says("service", "skipped", "does not know us", "firstlight login");
    app.finish().await;
}

#[actix::test]
async fn a_ping_says_whether_the_secret_on_github_is_the_one_that_the_service_has() {
    let app = TestApp::start().await;
    let hook = format!("http://{}/webhooks/github", app.address());
    let url = format!("http://{}", app.address());
    let ping = json!({ "zen": "Keep it logically awesome.", "hook_id": 7 });
    let github = Github::start(&hook, Some(SECRET));
    assert_eq!(github.stand_in.delivers("ping", ping.clone()).await, 200);
    let found = github.examined(&[("FIRSTLIGHT_URL", &url)], &["--ping"]).await;
    found.all_well("github deliveries");
    found.all_well("github ping");
    assert!(found.check("github ping", "ping, was answered 200").is_object());

    github
        .stand_in
        .app_delivers_to(&hook, Some("the secret that was there before"));
    let found = github.examined(&[("FIRSTLIGHT_URL", &url)], &["--ping"]).await;
    found.says("github ping", "failed", "signed with another secret", "WEBHOOK_SECRET");
    assert_eq!(found.code, 1);
    // Who examines has the same secret as GitHub, and the service has not.
    let found = github
        .examined(
            &[
                ("FIRSTLIGHT_URL", &url),
                ("WEBHOOK_SECRET", "the secret that was there before"),
            ],
            &[],
        )
        .await;
    found.says(
        "github deliveries",
        "failed",
        "goes by another one",
        "start the service again",
    );
    let redelivered = github.stand_in.calls();
    let asked = redelivered
        .iter()
        .filter(|call| call.path.ends_with("/attempts"))
        .count();
    assert_eq!(asked, 2, "only --ping asks for a delivery");
    app.finish().await;
}

#[actix::test]
async fn the_operators_log_names_why_a_signature_does_not_fit_and_the_sender_hears_the_same_as_ever() {
    let folder = empty();
    let env: BTreeMap<String, String> = [
        ("WEBHOOK_SECRET", SECRET),
        ("MANAGED_REPOS", "acme/*"),
        ("GITHUB_API_URL", NOBODY),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let mut service = Served::start(folder.path(), &env);
    let payload = crate::support::payloads::issue("opened", 7, "words that are nobody's business");
    let rewritten = serde_json::to_string_pretty(&payload).expect("text");
    let mut delivery = Delivery::signed("issues", "d-1", payload.to_string());
    delivery.body = rewritten.into_bytes();
    let client = awc::Client::default();
    let url = format!("http://{}/webhooks/github", service.address);
    for _ in 0..3 {
        let mut request = client.post(&url);
        for (name, value) in &delivery.headers {
            request = request.insert_header((name.as_str(), value.as_str()));
        }
        let mut answer = request.send_body(delivery.body.clone()).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 401);
        assert_eq!(
            answer.json::<Value>().await.expect("JSON"),
            json!({ "error": "Invalid signature" })
        );
    }
    let explains = |line: &Value| {
        line["message"]
            .as_str()
            .unwrap_or_default()
            .contains("signature does not fit")
    };
    let line = service.until(explains);
    assert_eq!(line["level"], "WARN");
    assert_eq!(
        line["message"],
        "a delivery's signature does not fit: its JSON was read and written anew on the way"
    );
    assert_eq!(line["delivery.id"], "d-1");
    let advice = line["advice"].as_str().expect("advice");
    assert!(advice.contains("byte for byte"), "{advice}");
    let (status, lines) = service.terminate();
    assert!(status.success());
    assert!(!lines.iter().any(explains), "one look in ten seconds: {lines:?}");
    for line in lines.iter().chain([&line]) {
        let text = line.to_string();
        assert!(!text.contains(SECRET) && !text.contains("nobody's business"), "{text}");
    }
}

#[actix::test]
async fn words_that_are_nearly_right_are_guessed() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let url = format!("http://{}", app.address());
    let cases: &[(&[&str], &str)] = &[
        (&["dcotor"], "did you mean \"doctor\"?"),
        (&["rnus"], "did you mean \"runs\"?"),
        (
            &["run", "isue-triage", "--repo", "acme/site"],
            "did you mean \"issue-triage\"?",
        ),
        (
            &["crons", "run", "weekly-helth-report"],
            "did you mean \"weekly-health-report\"?",
        ),
        (&["runs", "lsit"], "similar"),
    ];
    for (words, guess) in cases {
        let mut command = firstlight();
        command
            .args(*words)
            .current_dir(app.folder())
            .env("FIRSTLIGHT_URL", &url)
            .env("FIRSTLIGHT_TOKEN", &token);
        let done = tokio::task::spawn_blocking(move || command.output().expect("it ran"));
        let done = done.await.expect("no panic");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(guess), "{words:?}: {said}");
    }
    app.finish().await;
}

#[actix::test]
async fn a_clock_of_its_own_kind_is_no_reason_to_fail_without_an_app() {
    let github = GithubStandIn::start(SystemClock::shared()).expect("a port is free");
    let folder = empty();
    let found = examined(folder.path(), &[("GITHUB_API_URL", github.url())], &[]).await;
    found.all_well("clock");
    found.says("github", "skipped", "no credentials", "GITHUB_TOKEN");
    assert_eq!(found.code, 0);
    github.stop().await;
}
