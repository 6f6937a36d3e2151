//! What settings must be together: pairs, files that are named, doors that would stand open. Looks at files, changes none.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use actors::domain::{Mistake, Secret};
use actors::outbound::{Mail, MailServer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{HttpUrl, Places, Settings};

/// The shortest key that may sign tokens, in bytes.
const SHORTEST_SECRET: usize = 16;
/// What Last Light signed with when nobody set anything; everybody knows it.
const KNOWN_SECRET: &str = "lastlight-dev-secret";
/// An App's key of 4,096 bits has 3.2 kB.
const LONGEST_KEY: u64 = 64 * 1024;

/// Adds every mistake that only shows when settings are seen together. Nothing is said of what depends on a broken key.
pub(super) fn all(settings: &Settings, places: &Places, broken: &BTreeSet<String>, mistakes: &mut Vec<Mistake>) {
    let mut check = Check {
        settings,
        places,
        broken,
        mistakes,
    };
    check.server();
    check.public_url();
    check.github();
    check.slack();
    check.admin();
    check.folders();
    check.mail();
    check.runtimes();
    check.limits();
    check.retention();
    check.telemetry();
}

struct Check<'a> {
    settings: &'a Settings,
    places: &'a Places,
    broken: &'a BTreeSet<String>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Check<'_> {
    /// Notes a mistake at `key`, unless it or a key that it depends on could not be read.
    fn say(&mut self, key: &str, depends_on: &[&str], problem: impl Into<String>) {
        let known = |key: &str| !self.broken.contains(key);
        if known(key) && depends_on.iter().all(|key| known(key)) {
            self.mistakes.push(self.places.mistake(key, problem));
        }
    }

    fn server(&mut self) {
        let Settings { server, github, .. } = self.settings;
        if self.settings.webhooks_unsigned() && !github.allow_unsigned && !server.listen.is_loopback() {
            self.say(
                "server.listen",
                &["github.enabled", "github.webhook_secret", "github.allow_unsigned"],
                format!(
                    "{} can be reached from the network, and without github.webhook_secret anybody could start work; \
                     set WEBHOOK_SECRET, listen on 127.0.0.1, or set github.allow_unsigned: true if something in front checks",
                    server.listen
                ),
            );
        }
    }

    /// A base path that is one of our own first words could not be told from them.
    fn public_url(&mut self) {
        const OURS: &[&str] = &["admin", "api", "health", "mcp", "metrics", "ready", "webhooks"];
        let url = self.settings.server.public_url.as_ref().map(HttpUrl::url);
        let first = url.and_then(|url| url.path_segments()?.next());
        if let Some(first) = first.filter(|first| OURS.contains(first)) {
            let problem = format!(
                "its path begins with /{first}, where this service has addresses of its own; choose another, as in /firstlight"
            );
            self.say("server.public_url", &[], problem);
        }
    }

    fn github(&mut self) {
        let github = &self.settings.github;
        match (&github.app_id, &github.app_private_key_path) {
            (Some(_), None) => self.say(
                "github.app_id",
                &["github.app_private_key_path"],
                "needs the App's key beside it; set github.app_private_key_path (GITHUB_APP_PRIVATE_KEY_PATH) to its PEM file",
            ),
            (None, Some(_)) => self.say(
                "github.app_private_key_path",
                &["github.app_id"],
                "needs the App's number beside it; set github.app_id (GITHUB_APP_ID)",
            ),
            _ => {}
        }
        if github.app_installation_id.is_some() && github.app_id.is_none() {
            self.say(
                "github.app_installation_id",
                &["github.app_id"],
                "belongs to an App; set github.app_id (GITHUB_APP_ID) too, or remove it",
            );
        }
        let odd = |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-' && c != '_';
        if github.app_id.as_ref().is_some_and(|id| id.contains(odd)) {
            self.say(
                "github.app_id",
                &[],
                "is neither an App's number nor its client id; copy one from the App's page on GitHub",
            );
        }
        if let Some(path) = &github.app_private_key_path
            && let Err(problem) = private_key(path)
        {
            self.say("github.app_private_key_path", &[], problem);
        }
        if github.token_for_phases && github.token.is_none() {
            self.say(
                "github.token_for_phases",
                &["github.token"],
                "hands github.token (GITHUB_TOKEN) on, and there is none; set it, or remove this",
            );
        }
        for (index, secret) in github.webhook_secret.iter().enumerate() {
            if secret.is_empty() {
                self.say(
                    &format!("github.webhook_secret[{index}]"),
                    &["github.webhook_secret"],
                    "is empty, and everybody can sign with an empty secret; remove it",
                );
            }
        }
        if github.bot_name.as_str().starts_with('@') {
            self.say("github.bot_name", &[], "begins with @; write the name alone");
        }
    }

    fn slack(&mut self) {
        let slack = &self.settings.slack;
        match (&slack.bot_token, &slack.app_token) {
            (Some(_), None) => self.say(
                "slack.bot_token",
                &["slack.app_token"],
                "needs the app token beside it; set slack.app_token (SLACK_APP_TOKEN), the one that begins with xapp-",
            ),
            (None, Some(_)) => self.say(
                "slack.app_token",
                &["slack.bot_token"],
                "needs the bot token beside it; set slack.bot_token (SLACK_BOT_TOKEN), the one that begins with xoxb-",
            ),
            _ => {}
        }
        let begins =
            |token: &Option<Secret>, with: &str| token.as_ref().is_some_and(|token| token.expose().starts_with(with));
        if begins(&slack.bot_token, "xapp-") {
            self.say(
                "slack.bot_token",
                &[],
                "is an app token; the bot token begins with xoxb-",
            );
        }
        if begins(&slack.app_token, "xoxb-") {
            self.say(
                "slack.app_token",
                &[],
                "is a bot token; the app token begins with xapp-",
            );
        }
    }

    fn admin(&mut self) {
        let admin = &self.settings.admin;
        if let Some(secret) = &admin.secret {
            if secret.expose() == KNOWN_SECRET {
                self.say(
                    "admin.secret",
                    &[],
                    "is the development secret that everybody knows; choose another, or remove it to have one generated",
                );
            } else if secret.expose().len() < SHORTEST_SECRET {
                self.say(
                    "admin.secret",
                    &[],
                    format!("is shorter than {SHORTEST_SECRET} characters; choose a longer one, or remove it to have one generated"),
                );
            }
        }
        self.oauth(
            "slack",
            admin.slack_oauth_client_id.is_some(),
            admin.slack_oauth_client_secret.is_some(),
            admin.slack_oauth_redirect_uri.is_some(),
            ("slack_allowed_workspace", admin.slack_allowed_workspace.is_some()),
            "the id of the workspace",
        );
        self.oauth(
            "github",
            admin.github_oauth_client_id.is_some(),
            admin.github_oauth_client_secret.is_some(),
            admin.github_oauth_redirect_uri.is_some(),
            ("github_allowed_org", admin.github_allowed_org.is_some()),
            "the organisation, or * for everybody on GitHub",
        );
    }

    fn oauth(&mut self, at: &str, id: bool, secret: bool, redirect: bool, (gate, gated): (&str, bool), gate_is: &str) {
        let key = |rest: &str| format!("admin.{at}_oauth_{rest}");
        let (id_key, secret_key, redirect_key) = (key("client_id"), key("client_secret"), key("redirect_uri"));
        let gate_key = format!("admin.{gate}");
        match (id, secret) {
            (true, false) => self.say(&id_key, &[&secret_key], format!("needs {secret_key} beside it")),
            (false, true) => self.say(&secret_key, &[&id_key], format!("needs {id_key} beside it")),
            (false, false) if redirect => {
                self.say(
                    &redirect_key,
                    &[&id_key, &secret_key],
                    format!("is of no use without {id_key} and {secret_key}"),
                );
            }
            (false, false) => {}
            (true, true) => {
                if !gated {
                    self.say(
                        &id_key,
                        &[&gate_key],
                        format!("would let everybody in; say who may sign in with {gate_key}: {gate_is}"),
                    );
                }
                if !redirect && self.settings.server.public_url.is_none() {
                    self.say(
                        &id_key,
                        &[&redirect_key, "server.public_url"],
                        format!("needs a way back; set server.public_url (PUBLIC_URL) or {redirect_key}"),
                    );
                }
            }
        }
    }

    fn folders(&mut self) {
        let settings = self.settings;
        if settings.state_dir.exists() && !settings.state_dir.is_dir() {
            let problem = format!("{} is a file; name a folder", settings.state_dir.display());
            self.say("state_dir", &[], problem);
        }
        if let Some(overlay) = &settings.workflows.overlay
            && let Err(problem) = folder(overlay)
        {
            self.say("workflows.overlay", &[], problem);
        }
        let commit = &settings.git_auto_commit;
        if let Some(repository) = &commit.repository {
            if let Err(problem) = folder(repository) {
                self.say("git_auto_commit.repository", &[], problem);
            }
        } else if !commit.paths.is_empty() {
            self.say(
                "git_auto_commit.paths",
                &["git_auto_commit.repository"],
                "says what to commit but not where; set git_auto_commit.repository",
            );
        }
    }

    fn mail(&mut self) {
        let Settings {
            smtp_url,
            notifications,
            ..
        } = self.settings;
        for (key, url) in [
            ("notifications.slack_url", &notifications.slack_url),
            ("notifications.discord_url", &notifications.discord_url),
            ("notifications.webhook_url", &notifications.webhook_url),
        ] {
            // Neither the URL nor the parser's words about it: both may show a credential.
            let sound = |url: &Secret| {
                url::Url::parse(url.expose())
                    .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
            };
            if url.as_ref().is_some_and(|url| !sound(url)) {
                self.say(
                    key,
                    &[],
                    "is no http or https URL; write it as in https://hooks.example.com/path",
                );
            }
        }
        let Some(smtp) = smtp_url else { return };
        match MailServer::parse(smtp) {
            Err(problem) => self.say("smtp_url", &[], problem),
            Ok(server) => {
                let Some(from) = &notifications.email_from else {
                    if !notifications.email_to.is_empty() {
                        self.say(
                            "notifications.email_to",
                            &["notifications.email_from"],
                            "names who gets mails but not who sends them; set notifications.email_from",
                        );
                    }
                    return;
                };
                if !notifications.email_to.is_empty()
                    && let Err(problem) = Mail::new(server, from, &notifications.email_to)
                {
                    self.say("notifications.email_to", &["notifications.email_from"], problem);
                }
            }
        }
    }

    fn runtimes(&mut self) {
        for (name, runtime) in &self.settings.runtimes {
            let key = format!("runtimes.{name}");
            if runtime.command.first().is_none_or(|program| program.trim().is_empty()) {
                self.say(
                    &key,
                    &[&format!("{key}.command")],
                    "names no program; set command to a list that begins with one",
                );
            }
            if runtime.timeout.is_some_and(|timeout| timeout.duration().is_zero()) {
                self.say(&format!("{key}.timeout"), &[], ZERO);
            }
            if runtime.output_limit.is_some_and(|limit| limit.bytes() == 0) {
                self.say(&format!("{key}.output_limit"), &[], ZERO);
            }
            if runtime.memory_limit.is_some_and(|limit| limit.bytes() == 0) {
                self.say(&format!("{key}.memory_limit"), &[], ZERO);
            }
            if runtime.wrapper.first().is_some_and(|program| program.trim().is_empty()) {
                self.say(
                    &format!("{key}.wrapper"),
                    &[],
                    "begins with no program; begin it with one, or remove it",
                );
            }
        }
    }

    fn telemetry(&mut self) {
        let otlp = &self.settings.telemetry.otlp;
        for (index, header) in otlp.headers.iter().enumerate() {
            if crate::settings::header(header).is_none() {
                self.say(
                    &format!("telemetry.otlp.headers[{index}]"),
                    &["telemetry.otlp.headers"],
                    "is no header; write its name, =, and its value, percent-encoded where it holds a comma, as in authorization=Bearer%20…",
                );
            }
        }
    }

    fn retention(&mut self) {
        let kept = &self.settings.retention;
        if kept.events.is_some_and(|period| period.duration() < REDELIVERED) {
            let problem = "is shorter than 3d, for which GitHub may send a delivery again: one that is forgotten would be taken for a new one; write 3d or more";
            self.say("retention.events", &[], problem);
        }
        for (key, period) in [("retention.runs", kept.runs), ("retention.deliveries", kept.deliveries)] {
            if period.is_some_and(|period| period.duration() < REPEATED) {
                let problem = "is shorter than 1d, for which a call may be repeated under its Idempotency-Key: what is forgotten would be done again; write 1d or more";
                self.say(key, &[], problem);
            }
        }
        for (key, period) in [("retention.payloads", kept.payloads), ("retention.logs", kept.logs)] {
            if period.is_some_and(|period| period.duration() < SHORTEST) {
                self.say(
                    key,
                    &[],
                    "is shorter than 1h, so that nobody could look at anything; write a longer time",
                );
            }
        }
        if kept.max_size.is_some_and(|size| size.bytes() < SMALLEST) {
            self.say(
                "retention.max_size",
                &[],
                "is less than 16MiB, which an idle service may need; write more",
            );
        }
    }

    fn limits(&mut self) {
        let Settings {
            server,
            runs,
            telemetry,
            ..
        } = self.settings;
        let sizes = [
            ("server.body_budget", server.body_budget),
            ("runs.log_limit", runs.log_limit),
            ("runs.output_limit", runs.output_limit),
        ];
        let periods = [
            ("runs.phase_timeout", runs.phase_timeout),
            ("runs.deadline", runs.deadline),
            ("telemetry.otlp.timeout", telemetry.otlp.timeout),
        ];
        let none = sizes
            .into_iter()
            .filter(|(_, size)| size.bytes() == 0)
            .map(|(key, _)| key)
            .chain(
                periods
                    .into_iter()
                    .filter(|(_, period)| period.duration().is_zero())
                    .map(|(key, _)| key),
            );
        for key in none.collect::<Vec<_>>() {
            self.say(key, &[], ZERO);
        }
    }
}

/// How long GitHub may send a delivery again.
const REDELIVERED: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// How long an idempotency key is remembered.
const REPEATED: Duration = Duration::from_secs(24 * 60 * 60);

/// Nothing is removed before somebody could look at it.
const SHORTEST: Duration = Duration::from_secs(60 * 60);

/// Bytes of a database that holds little.
const SMALLEST: u64 = 16 * 1024 * 1024;

const ZERO: &str = "is zero, so that nothing would ever pass; write a limit above it";

/// A folder that is there and not empty: an overlay that was not mounted is the empty one.
fn folder(path: &Path) -> Result<(), String> {
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Err(format!(
            "folder {} is empty; is it mounted? remove the setting if it is not meant to be used",
            path.display()
        )),
        Ok(false) => Ok(()),
        Err(error) => Err(unreadable("folder", path, &error)),
    }
}

/// Whether a file holds a private key in a form that can sign for an App. Never says what is in it.
fn private_key(path: &Path) -> Result<(), String> {
    let about = |problem: &str| Err(format!("file {} {problem}", path.display()));
    let unread = |error: std::io::Error| unreadable("file", path, &error);
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return about("is no file; name the PEM file itself");
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(LONGEST_KEY).read_to_end(&mut bytes).map_err(unread)?;
    let text = String::from_utf8_lossy(&bytes);
    for kind in ["RSA PRIVATE KEY", "PRIVATE KEY"] {
        let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
        let Some((_, rest)) = text.split_once(&begin) else {
            continue;
        };
        if rest.contains("Proc-Type: 4,ENCRYPTED") {
            return about("holds an encrypted key; store it without a passphrase, readable by this user alone");
        }
        let body = rest
            .split_once(&end)
            .map(|(body, _)| body.split_whitespace().collect::<String>());
        return match body.map(|body| STANDARD.decode(body)) {
            Some(Ok(key)) if !key.is_empty() => Ok(()),
            _ => about("holds a broken private key; download it from the App's page again"),
        };
    }
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return about("holds an encrypted key; store it without a passphrase, readable by this user alone");
    }
    about(
        "holds no private key of an App; download one from the App's page (it begins with -----BEGIN RSA PRIVATE KEY-----)",
    )
}

fn unreadable(what: &str, path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("{what} {path} does not exist; check the path"),
        std::io::ErrorKind::PermissionDenied => {
            format!("{what} {path} may not be read by this user; change its owner or mode")
        }
        std::io::ErrorKind::NotADirectory => format!("{path} is no {what}; check the path"),
        _ => format!("{what} {path} cannot be read: {error}"),
    }
}
