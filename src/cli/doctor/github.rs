//! GitHub: who we are there, what we may do, where its webhook points and how its deliveries were answered. Asks; `--ping` asks for one delivery.

use std::collections::BTreeSet;
use std::time::Duration;

use actors::clock::SharedClock;
use actors::domain::{PhaseKind, Secret};
use actors::github::{Cause, Credentials, GithubProbe, Refused, Said, diagnose, permissions};
use actors::messages::github::GithubFault;
use actors::workflows::Catalog;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use url::Url;

use super::PATIENCE;
use super::report::Check;
use crate::boot;
use crate::settings::Settings;

const WHO: &str = "github";
const CLOCK: &str = "clock";
const PERMISSIONS: &str = "github permissions";
const EVENTS: &str = "github events";
const INSTALLATIONS: &str = "github installations";
const REPOS: &str = "github repositories";
const WEBHOOK: &str = "github webhook";
const DELIVERIES: &str = "github deliveries";
const PING: &str = "github ping";

const KEY: &str = "GITHUB_APP_PRIVATE_KEY_PATH (github.app_private_key_path)";
const APP_ID: &str = "GITHUB_APP_ID (github.app_id)";
const TOKEN: &str = "GITHUB_TOKEN (github.token)";
const API: &str = "GITHUB_API_URL (github.api_url)";
const SECRET: &str = "WEBHOOK_SECRET (github.webhook_secret)";
const PATH: &str = "/webhooks/github";

/// From so far apart on, it is worth mending; from so far apart on, nothing that is signed with the time is believed.
const OFF: TimeDelta = TimeDelta::seconds(60);
const FAR_OFF: TimeDelta = TimeDelta::minutes(10);
/// Repositories that a token is tried on.
const MOST_REPOS: usize = 5;
/// How long a delivery that was asked for is waited for, and how often it is looked for.
const LOOKS: u32 = 30;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(super) async fn examine(
    settings: &Settings,
    catalog: Option<&Catalog>,
    ping: bool,
    clock: &SharedClock,
) -> Vec<Check> {
    let mut config = match boot::github_client(settings) {
        Ok(config) => config,
        Err(error) => {
            return vec![Check::failed(
                WHO,
                format!("{error:#}"),
                "the App cannot sign with it",
                KEY,
            )];
        }
    };
    config.connect_timeout = PATIENCE;
    config.exchange_timeout = PATIENCE;
    let room = Room {
        probe: GithubProbe::new(config, clock.clone()),
        settings,
        clock,
    };
    match room.probe.credentials() {
        Credentials::App(_) => room.as_app(catalog, ping).await,
        Credentials::Token(_) => room.with_token(ping).await,
        Credentials::None => room.as_nobody().await,
    }
}

struct Room<'a> {
    probe: GithubProbe,
    settings: &'a Settings,
    clock: &'a SharedClock,
}

/// A webhook on GitHub: the App's own, or one of a repository.
struct Hook {
    /// `/app/hook`, `/repos/acme/site/hooks/7`.
    at: String,
    /// Whose it is, for people.
    whose: String,
}

impl Room<'_> {
    async fn as_nobody(&self) -> Vec<Check> {
        let set = "GITHUB_APP_ID with GITHUB_APP_PRIVATE_KEY_PATH, or GITHUB_TOKEN";
        let nobody = Check::skipped(
            WHO,
            "no credentials are set, so nothing can be answered on GitHub",
            Some(set),
        );
        let before = self.clock.now();
        let clock = match self.probe.get("/rate_limit").await {
            Ok(said) => clock_check(&said, before, self.clock.now(), false),
            Err(_) => None,
        };
        vec![
            nobody,
            clock.unwrap_or_else(|| {
                Check::skipped(
                    CLOCK,
                    "GitHub cannot be reached, and there is nothing else to compare with",
                    None,
                )
            }),
        ]
    }

    async fn as_app(&self, catalog: Option<&Catalog>, ping: bool) -> Vec<Check> {
        let before = self.clock.now();
        let app = match self.probe.get("/app").await {
            Ok(said) => said,
            Err(fault) => return self.unreachable(&fault),
        };
        let clock = clock_check(&app, before, self.clock.now(), app.status == 401);
        let off = clock.as_ref().is_some_and(|check| check.cause.is_some());
        let mut checks: Vec<Check> = clock.into_iter().collect();
        if !app.is_success() {
            checks.push(app_refused(&app, off));
            return checks;
        }
        let slug = app.body["slug"].as_str().unwrap_or("?");
        checks.push(Check::ok(WHO, format!("we are the App {slug}")));
        let needs = Needs::of(self.settings, catalog);
        checks.extend(missing_permissions(&needs, &app.body["permissions"], "the App"));
        let hears = self.settings.github.enabled;
        if hears {
            checks.push(missing_events(&needs, &app.body["events"]));
        }
        let hook = Hook {
            at: "/app/hook".to_owned(),
            whose: "the App".to_owned(),
        };
        let (installed, config, deliveries) = futures_util::join!(
            self.probe.get("/app/installations?per_page=100"),
            self.probe.get("/app/hook/config"),
            self.deliveries(&hook),
        );
        match installed {
            Ok(said) if said.is_success() => checks.extend(installations(self.settings, &needs, &said.body)),
            other => checks.push(unanswered(INSTALLATIONS, &other)),
        }
        if !hears {
            checks.push(deaf());
            return checks;
        }
        match config {
            Ok(said) if said.is_success() => checks.extend(webhook(self.settings, &hook, &said.body)),
            Ok(said) if said.status == 404 => checks.push(Check::failed(
                WEBHOOK,
                "the App has no webhook",
                "GitHub tells nobody what happens",
                "on the App's page: Webhook, Active",
            )),
            other => checks.push(unanswered(WEBHOOK, &other)),
        }
        self.judge_deliveries(&hook, deliveries, ping, &mut checks).await;
        checks
    }

    async fn with_token(&self, ping: bool) -> Vec<Check> {
        let before = self.clock.now();
        let user = match self.probe.get("/user").await {
            Ok(said) => said,
            Err(fault) => return self.unreachable(&fault),
        };
        let mut checks: Vec<Check> = clock_check(&user, before, self.clock.now(), false)
            .into_iter()
            .collect();
        if user.status == 401 {
            checks.push(Check::failed(
                WHO,
                format!("GitHub refuses the token (401 {})", user.message),
                "it is not whole, was revoked or has expired",
                TOKEN,
            ));
            return checks;
        }
        if !user.is_success() && user.status != 403 {
            checks.push(Check::failed(
                WHO,
                format!("GitHub answers {} {}", user.status, user.message),
                "the address is not that of an API, or GitHub has a problem",
                API,
            ));
            return checks;
        }
        // An installation's token speaks for no user (403), and works all the same.
        let who = user.body["login"].as_str().unwrap_or("nobody by name");
        let scopes = user
            .scopes
            .map_or_else(String::new, |scopes| format!(", with the scopes {scopes}"));
        checks.push(Check::ok(WHO, format!("the token speaks for {who}{scopes}")));
        let named: Vec<&String> = self
            .settings
            .managed_repos
            .written()
            .iter()
            .filter(|repo| !repo.contains('*'))
            .take(MOST_REPOS)
            .collect();
        if named.is_empty() {
            checks.push(Check::skipped(
                REPOS,
                "no repository is managed by its full name, so there is none to try the token on",
                Some("MANAGED_REPOS (managed_repos)"),
            ));
        }
        for repo in named {
            let (at, hooks_at) = (format!("/repos/{repo}"), format!("/repos/{repo}/hooks?per_page=100"));
            let (about, hooks) = futures_util::join!(self.probe.get(&at), self.probe.get(&hooks_at));
            match about {
                Ok(said) if said.is_success() => checks.push(reach_of(repo, &said.body)),
                Ok(said) if matches!(said.status, 403 | 404) => {
                    checks.push(Check::failed(
                        REPOS,
                        format!("the token does not reach {repo} ({} {})", said.status, said.message),
                        "it was not given this repository, or the name is misspelt",
                        TOKEN,
                    ));
                    continue;
                }
                other => {
                    checks.push(unanswered(REPOS, &other));
                    continue;
                }
            }
            match hooks {
                Ok(said) if said.is_success() => self.judge_hooks(repo, &said.body, ping, &mut checks).await,
                Ok(said) if matches!(said.status, 403 | 404) => checks.push(Check::skipped(
                    WEBHOOK,
                    format!("the token may not look at the webhooks of {repo}"),
                    Some("the permission Webhooks: read of the token"),
                )),
                other => checks.push(unanswered(WEBHOOK, &other)),
            }
        }
        checks
    }

    async fn judge_hooks(&self, repo: &str, hooks: &Value, ping: bool, checks: &mut Vec<Check>) {
        if !self.settings.github.enabled {
            checks.push(deaf());
            return;
        }
        let ours = expected(self.settings);
        let leads_here = |hook: &&Value| {
            let url = hook["config"]["url"].as_str().unwrap_or_default();
            ours.as_ref()
                .map_or_else(|| url.ends_with(PATH), |ours| same_address(ours, url))
        };
        let all = hooks.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = all.iter().find(leads_here).or_else(|| {
            all.iter()
                .find(|hook| hook["config"]["url"].as_str().unwrap_or_default().ends_with(PATH))
        });
        let Some(found) = found else {
            checks.push(Check::warning(
                WEBHOOK,
                format!("no webhook of {repo} leads here"),
                "unless its organisation has one, GitHub tells nobody what happens there",
                match ours {
                    Some(ours) => format!("on the repository's page: Settings, Webhooks, Add webhook: {ours}"),
                    None => "on the repository's page: Settings, Webhooks, Add webhook".to_owned(),
                },
            ));
            return;
        };
        let hook = Hook {
            at: format!("/repos/{repo}/hooks/{}", found["id"]),
            whose: repo.to_owned(),
        };
        if found["active"] == false {
            checks.push(Check::failed(
                WEBHOOK,
                format!("the webhook of {repo} is switched off"),
                "GitHub tells nobody what happens there",
                "on the repository's page: Settings, Webhooks, Active",
            ));
        }
        checks.extend(webhook(self.settings, &hook, &found["config"]));
        checks.push(missing_events(&Needs::of(self.settings, None), &found["events"]));
        let deliveries = self.deliveries(&hook).await;
        self.judge_deliveries(&hook, deliveries, ping, checks).await;
    }

    async fn deliveries(&self, hook: &Hook) -> Result<Said, GithubFault> {
        self.probe.get(&format!("{}/deliveries?per_page=30", hook.at)).await
    }

    async fn judge_deliveries(
        &self,
        hook: &Hook,
        listed: Result<Said, GithubFault>,
        ping: bool,
        checks: &mut Vec<Check>,
    ) {
        let listed = match listed {
            Ok(said) if said.is_success() => said,
            other => return checks.push(unanswered(DELIVERIES, &other)),
        };
        let all = listed.body.as_array().cloned().unwrap_or_default();
        match all.first() {
            None => checks.push(Check::skipped(
                DELIVERIES,
                format!("GitHub has delivered nothing for {} in the last days", hook.whose),
                None,
            )),
            Some(latest) => {
                let looked = self.look_into(hook, latest).await;
                let before = all[1..].iter().filter(|delivery| !taken(delivery)).count();
                checks.push(judge(DELIVERIES, latest, before, all.len() - 1, looked));
            }
        }
        if ping {
            checks.push(self.ping(hook, &all).await);
        }
    }

    /// For a delivery whose signature was refused: whether it fits the secret that is set here.
    async fn look_into(&self, hook: &Hook, delivery: &Value) -> Option<Option<Cause>> {
        if delivery["status_code"] != 401 {
            return None;
        }
        let path = format!("{}/deliveries/{}", hook.at, delivery["id"]);
        let said = self.probe.get(&path).await.ok().filter(Said::is_success)?;
        fits(&said.body["request"], &self.settings.github.webhook_secret)
    }

    /// Asks for a delivery, waits for it and says how it was answered.
    async fn ping(&self, hook: &Hook, known: &[Value]) -> Check {
        let (path, guid) = if hook.at.starts_with("/repos/") {
            (format!("{}/pings", hook.at), None)
        } else {
            let Some(again) = harmless(known) else {
                return Check::skipped(PING, "there is no delivery that could be repeated", None);
            };
            (
                format!("{}/deliveries/{}/attempts", hook.at, again["id"]),
                again["guid"].as_str(),
            )
        };
        match self.probe.post(&path).await {
            Ok(said) if said.is_success() => {}
            other => return unanswered(PING, &other),
        }
        let old: BTreeSet<u64> = known.iter().filter_map(|delivery| delivery["id"].as_u64()).collect();
        for _ in 0..LOOKS {
            if let Ok(listed) = self.deliveries(hook).await {
                let fresh = listed.body.as_array().into_iter().flatten().find(|delivery| {
                    let is_new = delivery["id"].as_u64().is_some_and(|id| !old.contains(&id));
                    is_new && guid.is_none_or(|guid| delivery["guid"] == guid)
                });
                if let Some(fresh) = fresh {
                    let looked = self.look_into(hook, fresh).await;
                    return judge(PING, fresh, 0, 0, looked);
                }
            }
            self.clock.sleep(BETWEEN_LOOKS).await;
        }
        Check::warning(
            PING,
            "GitHub was asked to deliver, and shows no delivery yet",
            "it is slow today, or does not reach the address",
            "run this again in a minute",
        )
    }

    fn unreachable(&self, fault: &GithubFault) -> Vec<Check> {
        vec![
            Check::failed(
                WHO,
                fault.to_string(),
                "the network, or another address than GitHub's",
                API,
            ),
            Check::skipped(
                CLOCK,
                "GitHub cannot be reached, and there is nothing else to compare with",
                None,
            ),
        ]
    }
}

/// Our clock against GitHub's, which says whole seconds. `refused`: GitHub did not believe what was signed with our time.
fn clock_check(said: &Said, before: DateTime<Utc>, after: DateTime<Utc>, refused: bool) -> Option<Check> {
    let theirs = said.date? + TimeDelta::milliseconds(500);
    let ours = before + (after - before) / 2;
    let off = ours - theirs;
    let way = if off > TimeDelta::zero() { "ahead of" } else { "behind" };
    let seconds = off.num_seconds().abs();
    let found = format!("{seconds} s {way} GitHub's");
    let set = "the clock of this machine (NTP: timedatectl set-ntp true)";
    let off = off.abs();
    Some(if off > FAR_OFF || (off > OFF && refused) {
        Check::failed(
            CLOCK,
            found,
            "GitHub refuses what an App signs with the wrong time",
            set,
        )
    } else if off > OFF {
        Check::warning(
            CLOCK,
            found,
            "what is signed with the time will be refused when it is off much more",
            set,
        )
    } else {
        Check::ok(CLOCK, format!("within {} s of GitHub's", seconds + 1))
    })
}

fn app_refused(said: &Said, clock_is_off: bool) -> Check {
    let found = format!("GitHub refuses the App ({} {})", said.status, said.message);
    let words = said.message.to_lowercase();
    match said.status {
        401 if clock_is_off => Check::failed(
            WHO,
            found,
            "this machine's clock is wrong",
            "the clock of this machine (NTP: timedatectl set-ntp true)",
        ),
        401 if words.contains("integration not found") || words.contains("issuer") => {
            Check::failed(WHO, found, "there is no App of this number", APP_ID)
        }
        401 => Check::failed(
            WHO,
            found,
            "the key is another App's, or was deleted on the App's page",
            KEY,
        ),
        404 => Check::failed(WHO, found, "the address is not that of GitHub's REST API", API),
        403 => Check::failed(
            WHO,
            found,
            "the App is suspended, or something on the way refuses us",
            "the App's page on GitHub",
        ),
        _ => Check::failed(
            WHO,
            found,
            "GitHub itself has a problem; see https://www.githubstatus.com",
            API,
        ),
    }
}

/// What was answered with neither success nor anything that we know of.
fn deaf() -> Check {
    Check::skipped(
        WEBHOOK,
        "GitHub's webhooks are not received",
        Some("github.enabled: true"),
    )
}

fn unanswered(name: &'static str, answer: &Result<Said, GithubFault>) -> Check {
    match answer {
        Ok(said) => Check::warning(
            name,
            format!("GitHub does not tell ({} {})", said.status, said.message),
            "it does not let these credentials look, or has a problem",
            "run this again, or look on GitHub's pages",
        ),
        Err(fault) => Check::warning(
            name,
            fault.to_string(),
            "the network, or GitHub itself",
            "run this again",
        ),
    }
}

/// What the routes and phases that are set need of GitHub.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Permission and level, the highest that is needed.
    permissions: Vec<(String, String)>,
    events: BTreeSet<&'static str>,
}

impl Needs {
    fn of(settings: &Settings, catalog: Option<&Catalog>) -> Self {
        let mut needs = Self::default();
        needs.permission("metadata", "read");
        // Who hears nothing from GitHub routes nothing of it.
        let routes = settings.github.enabled.then(|| settings.routes.github.named());
        for (route, _) in routes.into_iter().flatten() {
            let (events, permissions): (&[&str], &[&str]) = match route {
                "pr_review_submitted" => (&["pull_request_review"], &["pull_requests"]),
                "pr_review_comment" => (&["pull_request_review_comment"], &["pull_requests"]),
                "comment_pr" | "comment_pr_build" => (&["issue_comment"], &["issues", "pull_requests"]),
                route if route.starts_with("pr_") => (&["pull_request"], &["issues", "pull_requests"]),
                route if route.starts_with("comment_") => (&["issue_comment"], &["issues"]),
                _ => (&["issues"], &["issues"]),
            };
            needs.events.extend(events);
            permissions
                .iter()
                .for_each(|permission| needs.permission(permission, "write"));
        }
        let phases = catalog
            .into_iter()
            .flat_map(Catalog::iter)
            .flat_map(|workflow| &workflow.phases);
        for phase in phases {
            // Agents that nobody configured are skipped.
            let runs = phase.kind == PhaseKind::Script || !settings.runtimes.is_empty();
            if let Some(profile) = phase.profile.filter(|_| runs)
                && let Value::Object(wanted) = permissions(profile)
            {
                wanted
                    .iter()
                    .for_each(|(permission, level)| needs.permission(permission, level.as_str().unwrap_or("read")));
            }
        }
        needs
    }

    fn permission(&mut self, name: &str, level: &str) {
        match self.permissions.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) if rank(known) < rank(level) => level.clone_into(known),
            Some(_) => {}
            None => self.permissions.push((name.to_owned(), level.to_owned())),
        }
    }
}

fn rank(level: &str) -> u8 {
    match level {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        _ => 0,
    }
}

fn missing_permissions(needs: &Needs, given: &Value, whose: &str) -> Vec<Check> {
    let lacks: Vec<Check> = needs
        .permissions
        .iter()
        .filter(|(name, level)| rank(given[name].as_str().unwrap_or("none")) < rank(level))
        .map(|(name, level)| {
            let has = given[name].as_str().unwrap_or("none");
            Check::failed(
                PERMISSIONS,
                format!("{whose} has {name}: {has}, and {level} is needed"),
                match (name.as_str(), level.as_str()) {
                    ("contents", "write") => "phases of workflows push branches",
                    ("contents", _) => "phases of workflows read the repository",
                    (_, "write") => "replies, labels and reactions fail without it",
                    _ => "what happened cannot be read without it",
                },
                format!("on the App's page: Permissions, {name}: {level}; then accept it where the App is installed"),
            )
        })
        .collect();
    if lacks.is_empty() {
        vec![Check::ok(PERMISSIONS, format!("{whose} may do what is needed"))]
    } else {
        lacks
    }
}

fn missing_events(needs: &Needs, given: &Value) -> Check {
    let given: Vec<&str> = given
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let lacks: Vec<&str> = needs
        .events
        .iter()
        .copied()
        .filter(|event| !given.contains(event) && !given.contains(&"*"))
        .collect();
    if lacks.is_empty() {
        return Check::ok(
            EVENTS,
            format!("subscribed to all {} that routes use", needs.events.len()),
        );
    }
    Check::failed(
        EVENTS,
        format!("GitHub does not tell of: {}", lacks.join(", ")),
        "routes are set for them, and they never come",
        format!("on GitHub, among the events to subscribe to: {}", lacks.join(", ")),
    )
}

fn installations(settings: &Settings, needs: &Needs, listed: &Value) -> Vec<Check> {
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let login = |one: &Value| one["account"]["login"].as_str().unwrap_or("?").to_owned();
    if listed.is_empty() {
        return vec![Check::failed(
            INSTALLATIONS,
            "the App is installed nowhere",
            "it hears of no repository and may write to none",
            "on the App's page: Install App",
        )];
    }
    let mut checks = Vec::new();
    if let Some(id) = settings.github.app_installation_id
        && !listed.iter().any(|one| one["id"] == id)
    {
        checks.push(Check::failed(
            INSTALLATIONS,
            format!("the App has no installation {id}"),
            "it was removed and installed again, or is another App's",
            "GITHUB_APP_INSTALLATION_ID (github.app_installation_id): remove it, and it is found by itself",
        ));
    }
    let owners: BTreeSet<String> = settings
        .managed_repos
        .written()
        .iter()
        .filter_map(|pattern| pattern.split_once('/'))
        .map(|(owner, _)| owner.to_ascii_lowercase())
        .filter(|owner| owner != "*")
        .collect();
    for owner in owners {
        match listed.iter().find(|one| login(one).eq_ignore_ascii_case(&owner)) {
            None => checks.push(Check::failed(
                INSTALLATIONS,
                format!("the App is not installed at {owner}"),
                "repositories of this owner are managed, and nothing is heard of them",
                format!("on the App's page: Install App, at {owner}"),
            )),
            Some(one) if !one["suspended_at"].is_null() => checks.push(Check::failed(
                INSTALLATIONS,
                format!("the installation at {owner} is suspended"),
                "GitHub tells nothing of it and lets nothing in",
                format!("in the settings of {owner}: GitHub Apps, Unsuspend"),
            )),
            Some(one) => {
                // What the App asks for counts only where somebody has accepted it.
                let given = &one["permissions"];
                if given.is_object() {
                    let lacks = missing_permissions(needs, given, &format!("the installation at {owner}"));
                    checks.extend(lacks.into_iter().filter(|check| check.cause.is_some()));
                }
            }
        }
    }
    if checks.is_empty() {
        let at: Vec<String> = listed.iter().map(login).collect();
        checks.push(Check::ok(INSTALLATIONS, format!("installed at {}", at.join(", "))));
    }
    checks
}

fn reach_of(repo: &str, about: &Value) -> Check {
    let may = &about["permissions"];
    if may.is_object() && may["triage"] != true && may["push"] != true && may["admin"] != true {
        return Check::warning(
            REPOS,
            format!("the token may only read {repo}"),
            "comments may be refused, and labels are",
            TOKEN,
        );
    }
    Check::ok(REPOS, format!("the token reaches {repo}"))
}

/// Where GitHub should deliver.
fn expected(settings: &Settings) -> Option<String> {
    let public = settings.server.public_url.as_ref()?;
    Some(format!("{}{PATH}", public.url().as_str().trim_end_matches('/')))
}

fn same_address(one: &str, other: &str) -> bool {
    let read = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(url)
    };
    matches!((read(one), read(other)), (Some(one), Some(other)) if one == other)
}

fn webhook(settings: &Settings, hook: &Hook, config: &Value) -> Vec<Check> {
    let whose = &hook.whose;
    let url = config["url"].as_str().unwrap_or_default();
    let shown = without_account(url);
    let mut checks = Vec::new();
    match expected(settings) {
        Some(ours) if !same_address(&ours, url) => checks.push(Check::failed(
            WEBHOOK,
            format!("the webhook of {whose} leads to {shown}"),
            format!("by PUBLIC_URL it should lead to {ours}"),
            format!("the webhook's URL on GitHub: {ours}"),
        )),
        None if !Url::parse(url).is_ok_and(|url| url.path().trim_end_matches('/').ends_with(PATH)) => {
            checks.push(Check::failed(
                WEBHOOK,
                format!("the webhook of {whose} leads to {shown}"),
                format!("webhooks are taken at {PATH}"),
                "the webhook's URL on GitHub".to_owned(),
            ));
        }
        _ => {}
    }
    let there = config["secret"].as_str().is_some_and(|secret| !secret.is_empty());
    match (there, settings.github.webhook_secret.is_empty()) {
        (false, false) => checks.push(Check::failed(
            WEBHOOK,
            format!("the webhook of {whose} has no secret"),
            "GitHub signs nothing then, and every delivery is refused with 401",
            "the webhook's secret on GitHub, the same as in WEBHOOK_SECRET",
        )),
        (true, true) => checks.push(Check::warning(
            WEBHOOK,
            format!("the webhook of {whose} has a secret, and none is set here"),
            "signatures are not verified, so anybody can deliver",
            SECRET,
        )),
        _ => {}
    }
    if config["insecure_ssl"] == "1" || config["insecure_ssl"] == 1 {
        checks.push(Check::warning(
            WEBHOOK,
            format!("GitHub does not verify our certificate for {whose}"),
            "SSL verification is switched off for the webhook",
            "the webhook's SSL verification on GitHub",
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok(WEBHOOK, format!("the webhook of {whose} leads to {shown}")));
    }
    checks
}

/// An address without what may open it.
fn without_account(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "something that is no address".to_owned();
    };
    // What has no account needs none taken away.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn taken(delivery: &Value) -> bool {
    delivery["status_code"]
        .as_u64()
        .is_some_and(|code| (200..300).contains(&code))
}

/// The delivery whose repetition does the least: a ping, else one that was taken and is known by its id, else the latest.
fn harmless(known: &[Value]) -> Option<&Value> {
    let ping = known.iter().find(|delivery| delivery["event"] == "ping");
    ping.or_else(|| known.iter().find(|delivery| taken(delivery)))
        .or(known.first())
}

/// Whether the signature of a delivery, as GitHub keeps it, fits one of the secrets; if not, what is wrong. Nothing where
/// GitHub does not show enough.
fn fits(request: &Value, secrets: &[Secret]) -> Option<Option<Cause>> {
    let headers: Vec<(String, String)> = request["headers"]
        .as_object()?
        .iter()
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned())))
        .collect();
    let payload = request["payload"].to_string();
    let evidence = Refused {
        headers: &headers,
        body: Some(payload.as_bytes()),
    };
    Some(diagnose(&evidence, secrets))
}

/// How a delivery was answered, and what that means. `before` of the `others` before it failed as well.
fn judge(name: &'static str, delivery: &Value, before: usize, others: usize, looked: Option<Option<Cause>>) -> Check {
    let code = delivery["status_code"].as_u64().unwrap_or(0);
    let event = delivery["event"].as_str().unwrap_or("delivery");
    let status = delivery["status"].as_str().unwrap_or("no answer");
    let found = format!("the latest, {event}, was answered {code} ({status})");
    let failed = |cause: String, set: &str| Check::failed(name, found.clone(), cause, set);
    match code {
        200..=299 => {
            let mut check = Check::ok(name, found.clone());
            if before > 0 {
                check.found.push_str(&format!("; {before} of the {others} before it failed"));
            }
            check
        }
        401 => match looked {
            Some(Some(cause)) if !cause.clears_the_secret() => failed(cause.to_string(), secret_setting(&cause)),
            Some(_) => failed(
                "it fits the secret that is set here, so the service goes by another one, or the body is changed on its way there"
                    .to_owned(),
                "start the service again with this WEBHOOK_SECRET; if it stays so, its log names what changes the body",
            ),
            None => failed("the signature did not fit; the log of the service names the likely cause".to_owned(), SECRET),
        },
        404 | 405 | 410 => failed(
            format!("nothing takes webhooks at that address; the path is {PATH}"),
            "the webhook's URL on GitHub",
        ),
        403 => failed(
            "something in front of the service refuses GitHub".to_owned(),
            "the proxy or firewall in front: let POST /webhooks/github through",
        ),
        408 | 413 => failed(
            "something in front of the service takes no bodies of this size".to_owned(),
            "the proxy's limit for bodies: 25 MB (nginx: client_max_body_size)",
        ),
        300..=399 => failed(
            "GitHub follows no redirects".to_owned(),
            "the webhook's URL on GitHub: the one that it is sent on to",
        ),
        400 => failed(
            "the service could not read it".to_owned(),
            "the webhook's content type on GitHub: application/json",
        ),
        502 | 504 => failed(
            "the proxy does not reach the service".to_owned(),
            "where the proxy hands requests on to (server.listen)",
        ),
        503 => failed(
            "the service was not running behind its proxy, had a full disk, or was overloaded".to_owned(),
            "look at its log, then redeliver on GitHub",
        ),
        0 => failed(
            unreached(status).to_owned(),
            "what is between GitHub and the service: DNS, firewall, certificate",
        ),
        _ => failed("the service, or something in front of it, failed".to_owned(), "look at its log"),
    }
}

fn secret_setting(cause: &Cause) -> &'static str {
    match cause {
        Cause::NoSignature { .. } | Cause::OnlySha1 => "the webhook's secret on GitHub, the same as in WEBHOOK_SECRET",
        _ => SECRET,
    }
}

/// What GitHub says where it got no answer.
fn unreached(status: &str) -> &'static str {
    let words = status.to_lowercase();
    if words.contains("timed out") || words.contains("timeout") {
        "GitHub waited for 10 s and was not answered"
    } else if words.contains("certificate") || words.contains("ssl") || words.contains("tls") {
        "GitHub does not trust the certificate"
    } else if words.contains("resolve") || words.contains("dns") || words.contains("host") {
        "GitHub does not find or reach the host"
    } else {
        "GitHub did not reach the address"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn each_answer_to_a_delivery_has_its_cause_and_its_setting() {
        let delivery =
            |code: u64, status: &str| json!({ "id": 1, "event": "issues", "status_code": code, "status": status });
        let table = [
            (202, "Accepted", Verdict::Ok, "", ""),
            (
                401,
                "Invalid HTTP Response: 401",
                Verdict::Failed,
                "the signature did not fit",
                "WEBHOOK_SECRET",
            ),
            (
                404,
                "Invalid HTTP Response: 404",
                Verdict::Failed,
                "/webhooks/github",
                "URL on GitHub",
            ),
            (
                413,
                "Invalid HTTP Response: 413",
                Verdict::Failed,
                "of this size",
                "client_max_body_size",
            ),
            (
                301,
                "Invalid HTTP Response: 301",
                Verdict::Failed,
                "follows no redirects",
                "URL on GitHub",
            ),
            (
                502,
                "Invalid HTTP Response: 502",
                Verdict::Failed,
                "does not reach",
                "server.listen",
            ),
            (0, "timed out", Verdict::Failed, "waited for 10 s", "firewall"),
            (
                0,
                "failed to connect to host",
                Verdict::Failed,
                "does not find or reach",
                "DNS",
            ),
            (
                0,
                "Peer certificate cannot be authenticated",
                Verdict::Failed,
                "certificate",
                "certificate",
            ),
            (500, "Invalid HTTP Response: 500", Verdict::Failed, "failed", "log"),
        ];
        for (code, status, verdict, cause, set) in table {
            let check = judge(DELIVERIES, &delivery(code, status), 0, 0, None);
            assert_eq!(check.verdict, verdict, "{code}");
            assert!(check.cause.unwrap_or_default().contains(cause), "{code}");
            assert!(check.fix.unwrap_or_default().contains(set), "{code}");
        }
        let known = judge(
            DELIVERIES,
            &delivery(401, "x"),
            0,
            0,
            Some(Some(Cause::NoSignature { from_github: true })),
        );
        assert!(known.fix.expect("a setting").contains("on GitHub"));
        let right = judge(DELIVERIES, &delivery(401, "x"), 0, 0, Some(None));
        assert!(right.cause.expect("a cause").contains("goes by another one"));
        let shaky = judge(DELIVERIES, &delivery(202, "OK"), 2, 7, None);
        assert!(shaky.found.ends_with("2 of the 7 before it failed"), "{}", shaky.found);
    }

    #[test]
    fn the_clock_is_held_against_githubs() {
        let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time");
        let said = Said {
            status: 200,
            message: String::new(),
            date: Some(at(0)),
            scopes: None,
            body: Value::Null,
        };
        for (ours, refused, verdict) in [
            (0, false, Verdict::Ok),
            (-59, false, Verdict::Ok),
            (62, false, Verdict::Warning),
            (-62, false, Verdict::Warning),
            (62, true, Verdict::Failed),
            (602, false, Verdict::Failed),
            (-602, false, Verdict::Failed),
        ] {
            let check = clock_check(&said, at(ours), at(ours), refused).expect("a date");
            assert_eq!(check.verdict, verdict, "{ours}");
        }
        let silent = Said { date: None, ..said };
        assert_eq!(clock_check(&silent, at(0), at(0), false), None);
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        for (one, other, same) in [
            (
                "https://bot.example.com/webhooks/github",
                "https://bot.example.com:443/webhooks/github/",
                true,
            ),
            (
                "https://bot.example.com/webhooks/github",
                "https://BOT.example.com/webhooks/github",
                true,
            ),
            (
                "https://bot.example.com/webhooks/github",
                "http://bot.example.com/webhooks/github",
                false,
            ),
            (
                "https://bot.example.com/webhooks/github",
                "https://bot.example.com/github",
                false,
            ),
            ("https://bot.example.com/webhooks/github", "", false),
        ] {
            assert_eq!(same_address(one, other), same, "{other}");
        }
    }

    #[test]
    fn what_may_open_an_address_is_not_shown() {
        for (url, shown) in [
            (
                "https://u:p@bot.example.com/webhooks/github?key=k",
                "https://bot.example.com/webhooks/github",
            ),
            ("nonsense", "something that is no address"),
        ] {
            assert_eq!(without_account(url), shown);
        }
    }

    #[test]
    fn the_repetition_that_does_the_least_is_chosen() {
        let delivery = |id: u64, event: &str, code: u64| json!({ "id": id, "event": event, "status_code": code });
        let all = [
            delivery(3, "issues", 401),
            delivery(2, "issues", 202),
            delivery(1, "ping", 401),
        ];
        assert_eq!(harmless(&all).expect("one")["id"], 1);
        assert_eq!(harmless(&all[..2]).expect("one")["id"], 2);
        assert_eq!(harmless(&all[..1]).expect("one")["id"], 3);
        assert_eq!(harmless(&[]), None);
    }
}
