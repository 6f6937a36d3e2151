//! Settings as an operator meets them: files, variables, flags, mistakes and what is printed. Starts no server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use actors::domain::{Mistake, OutputBy, PromptBy};
use actors::yaml::{self, Node, Value};
use firstlight::cli::config::{OutputArgs, check, print};
use firstlight::settings::{DEFAULTS, DEFAULTS_NAME, Flags, Loaded, Origin, Settings, Sources, environment_names};
use proptest::prelude::*;
use tempfile::TempDir;

const CANARY: &str = "canary-7f3a91d2c4";

/// Every key that holds a secret.
const SECRETS: &[&str] = &[
    "github.webhook_secret",
    "github.token",
    "slack.bot_token",
    "slack.app_token",
    "admin.password",
    "admin.secret",
    "admin.slack_oauth_client_secret",
    "admin.github_oauth_client_secret",
    "smtp_url",
    "notifications.slack_url",
    "notifications.discord_url",
    "notifications.webhook_url",
    "telemetry.otlp.headers",
    "client.token",
];

/// A folder with what an operator may have put there.
struct Place {
    folder: TempDir,
    sources: Sources,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let sources = Sources {
            cwd: folder.path().to_owned(),
            ..Sources::default()
        };
        Self { folder, sources }
    }

    fn file(self, text: &str) -> Self {
        self.write("firstlight.yaml", text)
    }

    fn write(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).expect("written");
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flags(mut self, flags: Flags) -> Self {
        self.sources.flags = flags;
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self) -> Loaded {
        Settings::load(&self.sources).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)))
    }

    fn mistakes(&self) -> Vec<String> {
        match Settings::load(&self.sources) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        }
    }
}

fn told(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}

fn value(loaded: &Loaded, key: &str) -> serde_json::Value {
    let shown = loaded.shown().into_iter().find(|shown| shown.key == key);
    shown.unwrap_or_else(|| panic!("no key {key}")).value
}

/// Every key of the defaults that is no section, with its line.
fn keys_of_defaults() -> BTreeMap<String, usize> {
    fn walk(node: &Node, path: &str, keys: &mut BTreeMap<String, usize>) {
        let Value::Map(entries) = &node.value else {
            panic!("{path} is no section")
        };
        for (key, child) in entries {
            let full = if path.is_empty() {
                key.text.clone()
            } else {
                format!("{path}.{}", key.text)
            };
            match &child.value {
                Value::Map(inner) if !inner.is_empty() => walk(child, &full, keys),
                _ => {
                    keys.insert(full, key.line);
                }
            }
        }
    }
    let tree = yaml::parse(DEFAULTS_NAME, DEFAULTS).expect("yaml").expect("not empty");
    let mut keys = BTreeMap::new();
    walk(&tree, "", &mut keys);
    keys
}

#[test]
fn every_setting_stands_in_the_defaults_with_its_reason_and_nothing_else_does() {
    let documented = keys_of_defaults();
    let known: BTreeSet<String> = Place::new().load().shown().into_iter().map(|shown| shown.key).collect();
    assert!(known.len() > 70, "only {} settings were seen", known.len());
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), known);

    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for (key, line) in &documented {
        let indent = lines[line - 1].len() - lines[line - 1].trim_start().len();
        let above = lines[line - 2];
        let comment = above.trim_start();
        assert!(
            comment.starts_with("# ") && above.len() - comment.len() == indent,
            "{key} (line {line}) has no comment of its own above it"
        );
    }
    // Sections too say what they are.
    for (number, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.ends_with(':') && !line.contains('#'))
    {
        assert!(
            lines[number - 1].trim_start().starts_with("# "),
            "{line} has no comment above it"
        );
    }
}

#[test]
fn every_key_of_a_runtime_is_documented_and_taken() {
    let text = "runtimes:\n  default:\n    command: [cat]\n    env: [PATH]\n    timeout: 5m\n    output_limit: 1KiB\n";
    let loaded = Place::new().file(text).load();
    let keys: Vec<String> = loaded.shown().into_iter().map(|shown| shown.key).collect();
    let mut seen = 0;
    for key in keys.iter().filter_map(|key| key.strip_prefix("runtimes.default.")) {
        assert!(DEFAULTS.contains(&format!("#   {key}: ")), "{key}");
        seen += 1;
    }
    assert_eq!(seen, 8);
    let runtime = &loaded.settings.runtimes["default"];
    assert_eq!(runtime.timeout.map(|t| t.duration().as_secs()), Some(300));
    assert_eq!(runtime.output_limit.map(|l| l.bytes()), Some(1024));
    let text = "runtimes:\n  default: {command: [cat], memory_limit: 1GiB, wrapper: [bwrap, --], prompt: file, output: file}\n";
    let loaded = Place::new().file(text).load();
    let runtime = &loaded.settings.runtimes["default"];
    assert_eq!(runtime.memory_limit.map(|l| l.bytes()), Some(1 << 30));
    assert_eq!(runtime.wrapper, ["bwrap", "--"]);
    assert_eq!((runtime.prompt, runtime.output), (PromptBy::File, OutputBy::File));
}

#[test]
fn every_variable_is_named_beside_the_key_it_sets() {
    let documented = keys_of_defaults();
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    let mut seen = 0;
    for (name, key) in environment_names() {
        let Some(key) = key else {
            assert!(DEFAULTS.contains(name));
            continue;
        };
        let above: Vec<&str> = lines[..documented[key] - 1]
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with('#'))
            .copied()
            .collect();
        assert!(
            above.iter().any(|line| line.contains(name)),
            "{name} is not named above {key}"
        );
        seen += 1;
    }
    assert!(seen >= 35, "only {seen} variables were seen");
}

/// The names of the contract with the outside, a text for each and what it does.
const VARIABLES: &[(&str, &str, &str, &str)] = &[
    ("WEBHOOK_PORT", "9001", "server.listen", "\"127.0.0.1:9001\""),
    ("PORT", "9002", "server.listen", "\"127.0.0.1:9002\""),
    ("HOST", "127.0.0.9", "server.listen", "\"127.0.0.9:8644\""),
    (
        "PUBLIC_URL",
        "https://x.example/b/",
        "server.public_url",
        "\"https://x.example/b\"",
    ),
    ("STATE_DIR", "/srv/light", "state_dir", "\"/srv/light\""),
    (
        "WEBHOOK_SECRET",
        "one, two",
        "github.webhook_secret",
        "[\"[redacted]\",\"[redacted]\"]",
    ),
    ("GITHUB_APP_ID", "0123", "github.app_id", "\"0123\""),
    (
        "GITHUB_APP_PRIVATE_KEY_PATH",
        "app.pem",
        "github.app_private_key_path",
        "<cwd>/app.pem",
    ),
    ("GITHUB_APP_INSTALLATION_ID", "77", "github.app_installation_id", "77"),
    ("GITHUB_TOKEN", "12345", "github.token", "\"[redacted]\""),
    (
        "GITHUB_API_URL",
        "http://127.0.0.1:1/api/v3",
        "github.api_url",
        "\"http://127.0.0.1:1/api/v3\"",
    ),
    ("BOT_LOGIN", "acme[bot]", "github.bot_login", "\"acme[bot]\""),
    ("BOT_NAME", "acme", "github.bot_name", "\"acme\""),
    (
        "MANAGED_REPOS",
        "acme/site, other/*",
        "managed_repos",
        "[\"acme/site\",\"other/*\"]",
    ),
    ("SLACK_BOT_TOKEN", "xoxb-1", "slack.bot_token", "\"[redacted]\""),
    ("SLACK_APP_TOKEN", "xapp-1", "slack.app_token", "\"[redacted]\""),
    (
        "SLACK_API_URL",
        "http://127.0.0.1:2/api",
        "slack.api_url",
        "\"http://127.0.0.1:2/api\"",
    ),
    ("SLACK_ALLOWED_USERS", "U1,U2", "slack.allowed_users", "[\"U1\",\"U2\"]"),
    ("SLACK_DELIVERY_CHANNEL", "C1", "slack.delivery_channel", "\"C1\""),
    ("ADMIN_PASSWORD", "null", "admin.password", "\"[redacted]\""),
    ("ADMIN_SECRET", "0123456789abcdef", "admin.secret", "\"[redacted]\""),
    ("SLACK_OAUTH_CLIENT_ID", "1.2", "admin.slack_oauth_client_id", "\"1.2\""),
    (
        "SLACK_OAUTH_CLIENT_SECRET",
        "s",
        "admin.slack_oauth_client_secret",
        "\"[redacted]\"",
    ),
    (
        "SLACK_OAUTH_REDIRECT_URI",
        "https://x/cb",
        "admin.slack_oauth_redirect_uri",
        "\"https://x/cb\"",
    ),
    (
        "SLACK_ALLOWED_WORKSPACE",
        "T1",
        "admin.slack_allowed_workspace",
        "\"T1\"",
    ),
    (
        "GITHUB_OAUTH_CLIENT_ID",
        "Iv1",
        "admin.github_oauth_client_id",
        "\"Iv1\"",
    ),
    (
        "GITHUB_OAUTH_CLIENT_SECRET",
        "s",
        "admin.github_oauth_client_secret",
        "\"[redacted]\"",
    ),
    (
        "GITHUB_OAUTH_REDIRECT_URI",
        "https://x/cb",
        "admin.github_oauth_redirect_uri",
        "\"https://x/cb\"",
    ),
    ("GITHUB_ALLOWED_ORG", "acme", "admin.github_allowed_org", "\"acme\""),
    (
        "APPROVAL_GATES",
        "build,deploy",
        "approvals.gates",
        "[\"build\",\"deploy\"]",
    ),
    ("SMTP_URL", "smtps://u:p@mail.example", "smtp_url", "\"[redacted]\""),
    ("OTEL_SERVICE_NAME", "bot", "telemetry.service_name", "\"bot\""),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://h:4318/",
        "telemetry.otlp.endpoint",
        "\"http://h:4318\"",
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "x-key=k,authorization=Bearer%20t",
        "telemetry.otlp.headers",
        "[\"[redacted]\",\"[redacted]\"]",
    ),
    ("OTEL_TRACES_SAMPLER_ARG", "0.25", "telemetry.otlp.sample_ratio", "0.25"),
    ("FIRSTLIGHT_URL", "http://h:1", "client.url", "\"http://h:1\""),
    ("LASTLIGHT_URL", "http://h:2", "client.url", "\"http://h:2\""),
    ("FIRSTLIGHT_TOKEN", "t", "client.token", "\"[redacted]\""),
    ("LASTLIGHT_TOKEN", "t", "client.token", "\"[redacted]\""),
];

/// A key in the form that GitHub hands out; its content is of no matter here.
const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----\n";

/// A place where every variable is set, so that none lacks its other half.
fn all_set() -> Place {
    VARIABLES
        .iter()
        .fold(Place::new().write("app.pem", PEM), |place, (name, text, _, _)| {
            place.env(name, text)
        })
}

#[test]
fn every_variable_of_the_contract_has_its_effect() {
    let listed: BTreeSet<&str> = VARIABLES.iter().map(|(name, ..)| *name).collect();
    let known: BTreeSet<&str> = environment_names()
        .filter_map(|(name, key)| key.map(|_| name))
        .collect();
    assert_eq!(listed, known);
    for (name, _, key, expected) in VARIABLES {
        let mut place = all_set();
        // Those that set the same key stand aside.
        for (other, _, other_key, _) in VARIABLES {
            if other_key == key && other != name {
                place.sources.env.remove(*other);
            }
        }
        let loaded = place.load();
        let expected = expected.replace("<cwd>/app.pem", &format!("\"{}/app.pem\"", place.path().display()));
        assert_eq!(value(&loaded, key).to_string(), expected, "{name}");
        assert_eq!(
            loaded.provenance[*key],
            Origin::Env {
                name: (*name).to_owned()
            },
            "{name}"
        );

        place.sources.env.remove(*name);
        let unset = Place {
            sources: place.sources.clone(),
            folder: place.folder,
        };
        let place = unset.env(name, "");
        if *name != "WEBHOOK_SECRET" {
            let key_of = |loaded: &Loaded| loaded.provenance[*key].clone();
            // Without it its partner may be half a pair, which is a mistake of its own.
            if let Ok(loaded) = Settings::load(&place.sources) {
                assert_eq!(key_of(&loaded), Origin::Default, "empty {name} counts as unset");
            }
        }
    }
    let loaded = all_set().load();
    assert_eq!(loaded.settings.client_url(), "http://h:1", "the FIRSTLIGHT name wins");
    assert_eq!(
        value(&loaded, "server.listen"),
        "127.0.0.9:9001",
        "HOST and WEBHOOK_PORT each give their half"
    );
    assert_eq!(
        loaded.provenance["server.listen"],
        Origin::Env {
            name: "HOST, WEBHOOK_PORT".to_owned()
        }
    );
    let secrets: Vec<&str> = loaded
        .settings
        .github
        .webhook_secret
        .iter()
        .map(|s| s.expose())
        .collect();
    assert_eq!(secrets, ["one", "two"], "several secrets, all valid");
    assert_eq!(loaded.settings.github.token.as_ref().map(|s| s.expose()), Some("12345"));
    assert_eq!(
        loaded.settings.admin.password.as_ref().map(|s| s.expose()),
        Some("null")
    );
}

#[test]
fn an_empty_webhook_secret_means_none_whatever_the_file_says() {
    let place = Place::new().file("github: {webhook_secret: [one]}\n");
    assert!(!place.load().settings.webhooks_unsigned());
    let place = place.env("WEBHOOK_SECRET", "");
    assert!(place.load().settings.webhooks_unsigned());
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_defaults() {
    let origin = |place: &Place| {
        let loaded = place.load();
        (
            value(&loaded, "server.listen").to_string(),
            loaded.provenance["server.listen"].to_string(),
        )
    };
    let place = Place::new();
    assert_eq!(origin(&place), ("\"127.0.0.1:8644\"".into(), "default".into()));
    let place = place.file("server:\n  listen: 127.0.0.2:1\n");
    assert_eq!(origin(&place), ("\"127.0.0.2:1\"".into(), "firstlight.yaml:2".into()));
    let place = place.env("PORT", "3");
    assert_eq!(origin(&place), ("\"127.0.0.2:3\"".into(), "environment PORT".into()));
    let place = place.flags(Flags {
        listen: Some("[::1]:4".into()),
        ..Flags::default()
    });
    assert_eq!(origin(&place), ("\"[::1]:4\"".into(), "--listen".into()));
    assert_eq!(
        place.load().read,
        ["built-in defaults", "firstlight.yaml", "environment (PORT)", "--listen"]
    );
}

#[test]
fn the_file_that_is_named_is_read_instead() {
    let place = Place::new()
        .file("server: {always: true}\n")
        .write("a.yaml", "log: {level: debug}\n")
        .write("b.yaml", "log: {level: warn}\n")
        .env("FIRSTLIGHT_CONFIG", "a.yaml");
    let loaded = place.load();
    assert_eq!(loaded.provenance["log.level"].to_string(), "a.yaml:1");
    assert!(!loaded.settings.server.always);
    let place = place.flags(Flags {
        config: Some("b.yaml".into()),
        state_dir: Some("elsewhere".into()),
        ..Flags::default()
    });
    let loaded = place.load();
    assert_eq!(loaded.provenance["log.level"].to_string(), "b.yaml:1");
    assert_eq!(loaded.settings.state_dir, place.path().join("elsewhere"));
    assert_eq!(loaded.provenance["state_dir"].to_string(), "--state-dir");

    let missing = Place::new().env("FIRSTLIGHT_CONFIG", "none.yaml");
    assert_eq!(
        missing.mistakes(),
        ["none.yaml: does not exist; it was named by FIRSTLIGHT_CONFIG"]
    );
    let folder = Place::new().flags(Flags {
        config: Some(".".into()),
        ..Flags::default()
    });
    assert!(
        folder.mistakes()[0].starts_with(".: cannot be read: "),
        "{:?}",
        folder.mistakes()
    );
}

#[test]
fn the_example_is_a_file_that_loads() {
    let example = include_str!("../../config/example.yaml");
    let loaded = Place::new().file(example).env("WEBHOOK_SECRET", "s").load();
    assert!(
        loaded
            .provenance
            .values()
            .filter(|origin| matches!(origin, Origin::File { .. }))
            .count()
            >= 12
    );
    assert_eq!(loaded.settings.routes.github.pr_synchronize, None);
    assert!(
        loaded
            .settings
            .managed_repos
            .rule()
            .admits(&"acme/site".parse().expect("a repository"))
    );
}

#[test]
fn a_base_path_that_is_an_address_of_ours_is_a_mistake() {
    let table = [
        ("https://ops.example.com/admin/light", 1),
        ("https://ops.example.com/api", 1),
        ("https://ops.example.com/light/admin", 0),
        ("https://ops.example.com/apis", 0),
        ("https://ops.example.com", 0),
    ];
    for (url, count) in table {
        let mistakes = Place::new().file(&format!("server:\n  public_url: {url}\n")).mistakes();
        assert_eq!(mistakes.len(), count, "{url}: {mistakes:?}");
        assert!(
            mistakes.iter().all(|one| one.contains("2: server.public_url")),
            "{mistakes:?}"
        );
    }
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_with_its_line() {
    let text = "\
server:
  listen: here
  always: maybe
  publicUrl: https://x.example
  trusted_proxies:
    - 10.0.0.0/8
    - nonsense
    - 10.0.0.0/99
  workers: 0
  body_budget: 12 parsecs
listen: 127.0.0.1:1
github: yes
managed_repos: [acme/site, acme, '*/x']
concurrency:
  max_runs: 1.5
runtimes:
  claude:
    comand: [claude]
  other: [a]
  third:
    command: [x]
    timeout: 30
    env: [KEY=value]
routes:
  github:
    issue_opened: 'not a name'
    issue_labeled: issue-triage
log:
  level: loud
  format: ''
metrics:
  public:
completely_new: 1
";
    assert_eq!(
        Place::new().file(text).mistakes(),
        [
            "firstlight.yaml:2: server.listen: \"here\" is no address to listen on; write address and port as in 127.0.0.1:8644",
            "firstlight.yaml:3: server.always: expected true or false, found a text",
            "firstlight.yaml:4:3: server.publicUrl: unknown key; did you mean public_url?",
            "firstlight.yaml:7: server.trusted_proxies[1]: \"nonsense\" is no address or network; write one as in 10.1.2.3 or 10.0.0.0/8",
            "firstlight.yaml:8: server.trusted_proxies[2]: \"10.0.0.0/99\" is no address or network; write one as in 10.1.2.3 or 10.0.0.0/8",
            "firstlight.yaml:9: server.workers: is out of range; expected a whole number from 1",
            "firstlight.yaml:10: server.body_budget: \"12 parsecs\" is no size; write bytes, or a whole number with a unit as in 64KiB, 16MiB or 1GB",
            "firstlight.yaml:11:1: listen: unknown key; did you mean server.listen?",
            "firstlight.yaml:12: github: expected a map with enabled, webhook_secret, allow_unsigned, app_id, app_private_key_path, app_installation_id, token, token_for_phases, api_url, bot_login, bot_name, found a text",
            "firstlight.yaml:13: managed_repos[1]: \"acme\" is no pattern for repositories; write owner/name, owner/* or *",
            "firstlight.yaml:13: managed_repos[2]: \"*/x\" is no pattern for repositories; write owner/name, owner/* or *",
            "firstlight.yaml:15: concurrency.max_runs: expected a whole number from 1",
            "firstlight.yaml:18:5: runtimes.claude.comand: unknown key; did you mean command?",
            "firstlight.yaml:19: runtimes.other: expected a map with command, env, timeout, output_limit, memory_limit, wrapper, prompt, output, found a list",
            "firstlight.yaml:22: runtimes.third.timeout: \"30\" is no length of time; write whole numbers with units as in 500ms, 30s, 10m or 1h30m",
            "firstlight.yaml:23: runtimes.third.env[0]: gives a value to a variable; write the name alone and set the value in Firstlight's own environment",
            "firstlight.yaml:26: routes.github.issue_opened: workflow name \"not a name\" must be 1 to 64 letters, digits, '-', '_' or '.', and start with a letter or a digit",
            "firstlight.yaml:27:5: routes.github.issue_labeled: unknown key; known here: issue_opened, issue_reopened, issue_closed, pr_opened, pr_synchronize, pr_reopened, pr_closed, pr_merged, pr_review_submitted, pr_review_comment, comment_build, comment_pr_build, comment_explore, comment_security_review, comment_security_feedback, comment_issue, comment_pr",
            "firstlight.yaml:29: log.level: expected one of error, warn, info, debug, trace",
            "firstlight.yaml:30: log.format: is empty; write a value, or remove it to keep the default",
            "firstlight.yaml:32: metrics.public: expected true or false, found nothing; remove it to keep the default",
            "firstlight.yaml:33:1: completely_new: unknown key; known here: server, state_dir, github, managed_repos, slack, admin, workflows, outbound, approvals, concurrency, runtimes, routes, git_auto_commit, metrics, telemetry, smtp_url, notifications, integrations, log, runs, retention, client",
        ]
    );
}

#[test]
fn a_file_that_is_no_yaml_is_told_by_its_line_and_nothing_else_is_guessed() {
    let table: &[(&[u8], &str)] = &[
        (b"server:\n\tlisten: x\n", "firstlight.yaml:2:"),
        (
            b"a: 1\nserver: {}\nserver: {}\n",
            "firstlight.yaml:3:1: server: stands here and on line 2; keep one of the two",
        ),
        (
            b"a: \xff\n",
            "firstlight.yaml: is not UTF-8 text (line 1); save it as UTF-8",
        ),
        (b"- a\n", "firstlight.yaml:1: expected a map with "),
    ];
    for (bytes, expected) in table {
        let place = Place::new().env("HOST", "0.0.0.0");
        fs::write(place.path().join("firstlight.yaml"), bytes).expect("written");
        let mistakes = place.mistakes();
        assert!(mistakes[0].starts_with(expected), "{mistakes:?}");
    }
    let long = Place::new().file(&" ".repeat((1 << 20) + 1));
    assert_eq!(
        long.mistakes(),
        ["firstlight.yaml: is longer than 1048576 bytes, which no settings file is"]
    );
    assert!(Place::new().file("").mistakes().is_empty());
    assert!(
        Place::new().file("server:\n").mistakes().is_empty(),
        "an empty section changes nothing"
    );
}

#[test]
fn mistakes_of_variables_and_flags_name_them() {
    let place = Place::new()
        .env("WEBHOOK_PORT", "80000")
        .env("HOST", "my-laptop")
        .env("PUBLIC_URL", "bot.example.com")
        .env("MANAGED_REPOS", "acme/site,acme")
        .env("GITHUB_APP_INSTALLATION_ID", "abc")
        .env("BOT_NAME", "b\u{fffd}t")
        .flags(Flags {
            listen: Some("8644".into()),
            ..Flags::default()
        });
    let mut mistakes = place.mistakes();
    mistakes.sort();
    assert_eq!(
        mistakes,
        [
            "--listen: server.listen: \"8644\" is no address to listen on; write address and port as in 127.0.0.1:8644",
            "environment BOT_NAME: github.bot_name: is not UTF-8 text; set it anew",
            "environment GITHUB_APP_INSTALLATION_ID: github.app_installation_id: expected a whole number from 0, found a text",
            "environment HOST: server.listen: \"my-laptop\" is no IP address; write one as in 127.0.0.1 or 0.0.0.0",
            "environment MANAGED_REPOS: managed_repos[1]: \"acme\" is no pattern for repositories; write owner/name, owner/* or *",
            "environment PUBLIC_URL: server.public_url: is no URL (relative URL without a base); write one as in https://bot.example.com",
            "environment WEBHOOK_PORT: server.listen: \"80000\" is no port; write a number from 0 to 65535",
        ]
    );
}

#[test]
fn settings_that_do_not_fit_together_are_told() {
    let table: &[(&str, &[&str])] = &[
        (
            "github: {app_id: 12}",
            &["firstlight.yaml:1: github.app_id: needs the App's key beside it"],
        ),
        (
            "github: {app_private_key_path: app.pem}",
            &["firstlight.yaml:1: github.app_private_key_path: needs the App's number"],
        ),
        (
            "github:\n  app_id: a b\n  app_private_key_path: app.pem",
            &["firstlight.yaml:2: github.app_id: is neither"],
        ),
        (
            "github: {app_installation_id: 1}",
            &["firstlight.yaml:1: github.app_installation_id: belongs to an App"],
        ),
        (
            "github:\n  app_id: 1\n  app_private_key_path: none.pem",
            &["firstlight.yaml:3: github.app_private_key_path: file <cwd>/none.pem does not exist"],
        ),
        (
            "github:\n  app_id: 1\n  app_private_key_path: .",
            &["firstlight.yaml:3: github.app_private_key_path: file <cwd> is no file"],
        ),
        (
            "github:\n  app_id: 1\n  app_private_key_path: firstlight.yaml",
            &["firstlight.yaml:3: github.app_private_key_path: file <cwd>/firstlight.yaml holds no private key"],
        ),
        (
            "github:\n  app_id: 1\n  app_private_key_path: broken.pem",
            &["firstlight.yaml:3: github.app_private_key_path: file <cwd>/broken.pem holds a broken private key"],
        ),
        (
            "github:\n  app_id: 1\n  app_private_key_path: locked.pem",
            &["firstlight.yaml:3: github.app_private_key_path: file <cwd>/locked.pem holds an encrypted key"],
        ),
        (
            "github:\n  webhook_secret:\n    - one\n    - ''",
            &["firstlight.yaml:4: github.webhook_secret[1]: is empty"],
        ),
        (
            "github: {bot_name: '@bot'}",
            &["firstlight.yaml:1: github.bot_name: begins with @"],
        ),
        (
            "server:\n  listen: 0.0.0.0:1",
            &["firstlight.yaml:2: server.listen: 0.0.0.0:1 can be reached from the network"],
        ),
        ("server:\n  listen: 0.0.0.0:1\ngithub: {allow_unsigned: true}", &[]),
        ("server:\n  listen: 0.0.0.0:1\ngithub: {webhook_secret: [s]}", &[]),
        ("server:\n  listen: 0.0.0.0:1\ngithub: {enabled: false}", &[]),
        (
            "slack: {bot_token: xoxb-1}",
            &["firstlight.yaml:1: slack.bot_token: needs the app token beside it"],
        ),
        (
            "slack: {app_token: xapp-1}",
            &["firstlight.yaml:1: slack.app_token: needs the bot token beside it"],
        ),
        (
            "slack:\n  bot_token: xapp-1\n  app_token: xoxb-1",
            &[
                "firstlight.yaml:2: slack.bot_token: is an app token",
                "firstlight.yaml:3: slack.app_token: is a bot token",
            ],
        ),
        (
            "retention: {events: 2d, payloads: 1m, runs: 23h, deliveries: 1h, logs: 30m, max_size: 1MiB}",
            &[
                "firstlight.yaml:1: retention.events: is shorter than 3d, for which GitHub may send a delivery again",
                "firstlight.yaml:1: retention.runs: is shorter than 1d, for which a call may be repeated under its Idempotency-Key",
                "firstlight.yaml:1: retention.deliveries: is shorter than 1d",
                "firstlight.yaml:1: retention.payloads: is shorter than 1h",
                "firstlight.yaml:1: retention.logs: is shorter than 1h",
                "firstlight.yaml:1: retention.max_size: is less than 16MiB",
            ],
        ),
        (
            "admin: {secret: short}",
            &["firstlight.yaml:1: admin.secret: is shorter than 16 characters"],
        ),
        (
            "admin: {secret: lastlight-dev-secret}",
            &["firstlight.yaml:1: admin.secret: is the development secret"],
        ),
        ("admin: {secret: ''}", &[]),
        (
            "admin: {github_oauth_client_id: a}",
            &["firstlight.yaml:1: admin.github_oauth_client_id: needs admin.github_oauth_client_secret"],
        ),
        (
            "admin: {slack_oauth_client_secret: a}",
            &["firstlight.yaml:1: admin.slack_oauth_client_secret: needs admin.slack_oauth_client_id"],
        ),
        (
            "admin: {slack_oauth_redirect_uri: https://x}",
            &["firstlight.yaml:1: admin.slack_oauth_redirect_uri: is of no use"],
        ),
        (
            "admin: {github_oauth_client_id: a, github_oauth_client_secret: b}",
            &[
                "firstlight.yaml:1: admin.github_oauth_client_id: would let everybody in",
                "firstlight.yaml:1: admin.github_oauth_client_id: needs a way back",
            ],
        ),
        (
            "admin: {github_oauth_client_id: a, github_oauth_client_secret: b, github_allowed_org: '*'}\nserver: {public_url: https://x}",
            &[],
        ),
        (
            "workflows: {overlay: none}",
            &["firstlight.yaml:1: workflows.overlay: folder <cwd>/none does not exist"],
        ),
        (
            "workflows: {overlay: empty}",
            &["firstlight.yaml:1: workflows.overlay: folder <cwd>/empty is empty"],
        ),
        (
            "workflows: {overlay: app.pem}",
            &["firstlight.yaml:1: workflows.overlay: <cwd>/app.pem is no folder"],
        ),
        ("workflows: {overlay: .}", &[]),
        (
            "state_dir: app.pem",
            &["firstlight.yaml:1: state_dir: <cwd>/app.pem is a file; name a folder"],
        ),
        (
            "git_auto_commit: {paths: [docs]}",
            &["firstlight.yaml:1: git_auto_commit.paths: says what to commit but not where"],
        ),
        (
            "git_auto_commit: {repository: none}",
            &["firstlight.yaml:1: git_auto_commit.repository: folder <cwd>/none does not exist"],
        ),
        (
            "smtp_url: mail.example.com",
            &["firstlight.yaml:1: smtp_url: is no address of a mail server"],
        ),
        (
            "runtimes: {default: {}}",
            &["firstlight.yaml:1: runtimes.default: names no program"],
        ),
        (
            "runtimes: {default: }",
            &["firstlight.yaml:1: runtimes.default: names no program"],
        ),
        (
            "runtimes: {a: {command: [x], memory_limit: 0}}",
            &["firstlight.yaml:1: runtimes.a.memory_limit: is zero"],
        ),
        (
            "runtimes: {a: {command: [x], wrapper: [\" \"]}}",
            &["firstlight.yaml:1: runtimes.a.wrapper: begins with no program"],
        ),
        (
            "github: {token_for_phases: true}",
            &["firstlight.yaml:1: github.token_for_phases: hands github.token (GITHUB_TOKEN) on"],
        ),
        (
            "runtimes: {a: {command: [x], timeout: 0s}}",
            &["firstlight.yaml:1: runtimes.a.timeout: is zero"],
        ),
        (
            "server: {body_budget: 0}",
            &["firstlight.yaml:1: server.body_budget: is zero"],
        ),
        ("runs: {deadline: 0s}", &["firstlight.yaml:1: runs.deadline: is zero"]),
        (
            "telemetry: {otlp: {timeout: 0s}}",
            &["firstlight.yaml:1: telemetry.otlp.timeout: is zero"],
        ),
        (
            "telemetry: {otlp: {headers: [x-key=k, no header]}}",
            &["firstlight.yaml:1: telemetry.otlp.headers[1]: is no header; write its name, =, and its value"],
        ),
        (
            "telemetry: {otlp: {headers: ['x-key=a%0Ab']}}",
            &["firstlight.yaml:1: telemetry.otlp.headers[0]: is no header"],
        ),
        (
            "telemetry: {otlp: {sample_ratio: 1.5}}",
            &[
                "firstlight.yaml:1: telemetry.otlp.sample_ratio: is no ratio; write a number from 0 (no traces) to 1 (all)",
            ],
        ),
        (
            "telemetry: {otlp: {sample_ratio: half}}",
            &["firstlight.yaml:1: telemetry.otlp.sample_ratio: expected a number from 0 to 1, found a text"],
        ),
        (
            "telemetry: {otlp: {endpoint: 'grpc://collector:4317'}}",
            &["firstlight.yaml:1: telemetry.otlp.endpoint: is no http URL"],
        ),
        // What follows from a mistake that has been told already is not told again.
        (
            "slack:\n  bot_token: xoxb-1\n  app_token: [a]",
            &["firstlight.yaml:3: slack.app_token: expected a text, found a list"],
        ),
        (
            "server:\n  listen: 0.0.0.0:1\ngithub: {webhook_secret: {a: b}}",
            &["firstlight.yaml:3: github.webhook_secret: expected a list, found a map"],
        ),
    ];
    for (text, expected) in table {
        let place = Place::new()
            .file(text)
            .write("app.pem", PEM)
            .write(
                "broken.pem",
                "-----BEGIN PRIVATE KEY-----\n????\n-----END PRIVATE KEY-----\n",
            )
            .write(
                "locked.pem",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIEow==\n-----END ENCRYPTED PRIVATE KEY-----\n",
            );
        fs::create_dir(place.path().join("empty")).expect("made");
        let cwd = place.path().display().to_string();
        let mistakes: Vec<String> = place.mistakes().iter().map(|m| m.replace(&cwd, "<cwd>")).collect();
        assert_eq!(mistakes.len(), expected.len(), "{text}\n{mistakes:#?}");
        for (mistake, expected) in mistakes.iter().zip(*expected) {
            assert!(mistake.starts_with(expected), "{text}\n{mistake}\n{expected}");
        }
    }
}

#[test]
fn a_mistake_of_another_room_is_placed_where_the_key_was_set() {
    let place = Place::new()
        .file("routes:\n  github:\n    pr_opened: mine\nmanaged_repos:\n  - a/b\n  - c/d\n")
        .env("APPROVAL_GATES", "x,y");
    let loaded = place.load();
    let at = |key: &str| loaded.mistake(key, "is odd").to_string();
    assert_eq!(
        at("routes.github.pr_opened"),
        "firstlight.yaml:3: routes.github.pr_opened: is odd"
    );
    assert_eq!(at("managed_repos[1]"), "firstlight.yaml:6: managed_repos[1]: is odd");
    assert_eq!(
        at("approvals.gates[0]"),
        "environment APPROVAL_GATES: approvals.gates[0]: is odd"
    );
    assert_eq!(
        at("routes.github.pr_closed"),
        "config/default.yaml: routes.github.pr_closed: is odd"
    );
}

/// Everything that is ever written about a place, in one text.
fn everything_written(place: &Place) -> String {
    let mut text = format!("{:?}\n", place.sources);
    match Settings::load(&place.sources) {
        Ok(loaded) => {
            text += &format!("{loaded:?}\n{:?}\n", loaded.shown());
            text += &serde_json::to_string(&loaded.settings).expect("json");
        }
        Err(mistakes) => text += &format!("{mistakes:?}\n{}", told(&mistakes)),
    }
    for json in [false, true] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        print(OutputArgs { json }, &place.sources, &mut out, &mut err).expect("written");
        check(OutputArgs { json }, &place.sources, |_| Vec::new(), &mut out).expect("written");
        text += &String::from_utf8(out).expect("text");
        text += &String::from_utf8(err).expect("text");
    }
    text
}

#[test]
fn a_secret_is_never_written_whether_it_is_right_or_wrong() {
    // The list of secrets is whole: exactly these keys show nothing of a text that is given to them.
    let mut secret = BTreeSet::new();
    for key in keys_of_defaults().keys() {
        let (sections, last) = key.rsplit_once('.').map_or((None, key.as_str()), |(s, l)| (Some(s), l));
        let value = if key == "github.webhook_secret" {
            "[abcdefghijklmnopqr]"
        } else if key == "telemetry.otlp.headers" {
            "[x-key=abcdefghijklmnopqr]"
        } else {
            let scheme = if key.starts_with("notifications.") {
                "https"
            } else {
                "smtps"
            };
            &format!("{scheme}://u:abcdefghijklmnopqr@h")
        };
        let sections: Vec<&str> = sections.into_iter().flat_map(|s| s.split('.')).collect();
        let mut text = String::new();
        for (depth, section) in sections.iter().enumerate() {
            text += &format!("{}{section}:\n", "  ".repeat(depth));
        }
        text += &format!("{}{last}: {value}\n", "  ".repeat(sections.len()));
        let written = everything_written(&Place::new().file(&text));
        if written.contains("[redacted]") && !written.contains("abcdefghijklmnopqr") {
            secret.insert(key.clone());
        }
    }
    // Half a pair is a mistake, which hides whether the value itself would have been shown.
    for key in [
        "slack.bot_token",
        "slack.app_token",
        "admin.slack_oauth_client_secret",
        "admin.github_oauth_client_secret",
    ] {
        secret.insert(key.to_owned());
    }
    assert_eq!(secret, SECRETS.iter().map(|key| (*key).to_owned()).collect());

    let forms = [
        CANARY.to_owned(),
        format!("[{CANARY}]"),
        format!("{{a: {CANARY}}}"),
        format!("[[{CANARY}]]"),
        format!("{{{CANARY}: {CANARY}}}"),
        format!("smtp://user:{CANARY}@mail.example"),
        format!("http://user:{CANARY}@mail.example"),
        format!("xapp-{CANARY}"),
        format!("xoxb-{CANARY}"),
        format!("!x {CANARY}"),
        format!("\"{CANARY}"),
    ];
    let mut tried = 0;
    for key in SECRETS {
        for form in &forms {
            let (sections, last) = key.rsplit_once('.').unwrap_or(("", key));
            let sections = sections.split('.').filter(|section| !section.is_empty());
            let mut text = String::new();
            let mut indent = String::new();
            for section in sections {
                text.push_str(&format!("{indent}{section}:\n"));
                indent.push_str("  ");
            }
            text.push_str(&format!("{indent}{last}: {form}\n"));
            let written = everything_written(&Place::new().file(&text));
            assert!(!written.contains(CANARY), "{key}: {form}\n{written}");
            tried += 1;
        }
    }
    for (name, _, key, _) in VARIABLES.iter().filter(|(_, _, key, _)| SECRETS.contains(key)) {
        for form in [
            CANARY.to_owned(),
            format!("smtp://u:{CANARY}@h"),
            format!("{CANARY},{CANARY}"),
            format!("{CANARY}\u{fffd}"),
        ] {
            let written = everything_written(&all_set().env(name, &form));
            assert!(!written.contains(CANARY), "{name} {key}: {form}\n{written}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
    // URLs that are no secrets refuse an account instead of showing it; a runtime's arguments hide it.
    let urls = format!("server: {{public_url: 'https://u:{CANARY}@x'}}\n");
    assert!(!everything_written(&Place::new().file(&urls)).contains(CANARY));
    let runtime = format!("runtimes: {{a: {{command: [x, 'https://u:{CANARY}@x']}}}}\n");
    let place = Place::new().file(&runtime);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    print(OutputArgs::default(), &place.sources, &mut out, &mut err).expect("written");
    assert!(!String::from_utf8_lossy(&out).contains(CANARY));
}

#[test]
fn print_shows_every_value_with_its_origin() {
    let place = Place::new()
        .file("server:\n  listen: 127.0.0.1:1\nlog: {level: debug}\n")
        .env("ADMIN_PASSWORD", "hunter2hunter2");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(
        print(OutputArgs::default(), &place.sources, &mut out, &mut err).expect("written"),
        0
    );
    let text = String::from_utf8(out).expect("text");
    assert_eq!(err, b"");
    for line in [
        "server.listen: 127.0.0.1:1  # from firstlight.yaml:2",
        "server.body_budget: 128MiB  # from default",
        "server.workers: null  # from default",
        "log.level: debug  # from firstlight.yaml:3",
        "admin.password: \"[redacted]\"  # from environment ADMIN_PASSWORD",
        "github.bot_login: last-light[bot]  # from default",
        "runtimes: {}  # from default",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let mut out = Vec::new();
    print(OutputArgs { json: true }, &place.sources, &mut out, &mut Vec::new()).expect("written");
    let json: serde_json::Value = serde_json::from_slice(&out).expect("json");
    assert_eq!(json["log.level"]["value"], "debug");
    assert_eq!(
        json["log.level"]["origin"],
        serde_json::json!({"layer": "file", "path": "firstlight.yaml", "line": 3})
    );
    assert_eq!(
        json["admin.password"]["origin"],
        serde_json::json!({"layer": "env", "name": "ADMIN_PASSWORD"})
    );

    let broken = Place::new().file("log: {level: 3}\n");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(
        print(OutputArgs::default(), &broken.sources, &mut out, &mut err).expect("written"),
        78
    );
    assert!(out.is_empty() && String::from_utf8_lossy(&err).contains("firstlight.yaml:1: log.level: "));
}

#[test]
fn check_tells_mistakes_with_78_and_success_with_what_was_read() {
    let run = |place: &Place, json, more: Vec<Mistake>| {
        let mut out = Vec::new();
        let code = check(OutputArgs { json }, &place.sources, |_| more, &mut out).expect("written");
        (code, String::from_utf8(out).expect("text"))
    };
    let sound = Place::new().file("log: {level: debug}\n").env("PORT", "1");
    assert_eq!(
        run(&sound, false, Vec::new()),
        (
            0,
            "no mistakes in built-in defaults < firstlight.yaml < environment (PORT)\n".to_owned()
        )
    );
    let workflow = Mistake {
        file: "workflows/x.yaml".into(),
        line: 3,
        column: 5,
        key: "phases[0].type".into(),
        problem: "is odd".into(),
    };
    let (code, text) = run(&sound, false, vec![workflow.clone()]);
    assert_eq!(
        (code, text.as_str()),
        (
            78,
            "workflows/x.yaml:3:5: phases[0].type: is odd\n1 mistake in the configuration\n"
        )
    );
    let (code, text) = run(&sound, true, vec![workflow]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(
        (code, &json["ok"], &json["mistakes"][0]["line"]),
        (78, &false.into(), &3.into())
    );
    let (code, text) = run(&Place::new().file("a: 1\nb: 2\n"), false, Vec::new());
    assert_eq!((code, text.lines().count()), (78, 3));
    assert!(text.ends_with("2 mistakes in the configuration\n"));
}

#[test]
fn commands_find_the_server_where_it_listens() {
    for (listen, url) in [
        ("127.0.0.1:8644", "http://127.0.0.1:8644"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
    ] {
        let place = Place::new().env("WEBHOOK_SECRET", "s").flags(Flags {
            listen: Some(listen.into()),
            ..Flags::default()
        });
        assert_eq!(place.load().settings.client_url(), url);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_makes_loading_panic(text in any::<String>()) {
        let place = Place::new().file(&text);
        let _ = everything_written(&place);
    }

    #[test]
    fn no_value_of_a_real_key_makes_loading_panic(
        values in prop::collection::vec(
            (
                prop::sample::select(keys_of_defaults().into_keys().chain(["runtimes.a.env".into(), "runtimes.a.timeout".into()]).collect::<Vec<_>>()),
                prop_oneof![
                    any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
                    any::<i64>().prop_map(|number| number.to_string()),
                    Just("[]".to_owned()), Just("{}".to_owned()), Just("null".to_owned()), Just("[[{a: b}], 1, null]".to_owned()), Just("1e400".to_owned()),
                ],
            ),
            1..4,
        ),
        env in prop::collection::btree_map(
            prop::sample::select(environment_names().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()),
            any::<String>(),
            0..4,
        ),
    ) {
        let text: String = values
            .iter()
            .map(|(key, value)| {
                let nested = key.rsplit('.').fold(value.clone(), |inner, key| format!("{{\"{key}\": {inner}}}"));
                format!("{}\n", &nested[1..nested.len() - 1])
            })
            .collect();
        let mut place = Place::new().file(&text);
        place.sources.env = env;
        let _ = everything_written(&place);
    }
}
