//! The GitHub client: comments, reactions, labels and threads, within GitHub's limits. Knows domain, messages and clock; never the outbox.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

pub use super::app_auth::{AppCredentials, Credentials, KeyFault};
use super::app_auth::{Pass, permissions};
use super::limits::{self, Patience};
use super::marker;
use super::wire::{Answer, Ask, Wire};
use crate::clock::SharedClock;
use crate::domain::{Effect, Reaction, RepoName, Secret};
use crate::house::Bell;
use crate::messages::github::{GithubFault, MintToken, PhaseToken, ReadThread, Thread};
use crate::messages::outbound::{OutboundFault, Perform, Performed};

/// GitHub asks for a second between writes (REST API, "Best practices", secondary limits).
const BETWEEN_WRITES: TimeDelta = TimeDelta::seconds(1);
/// Our clock and GitHub's may differ: comments are looked for from so long before the effect was queued.
const LOOK_BACK: TimeDelta = TimeDelta::hours(24);
/// Comments per page. GitHub gives up to 100; half of it keeps a page of the longest comments within the bound of an answer.
const PAGE: usize = 50;
/// GitHub holds at most 2,500 comments per thread; more pages than these do not exist.
const MOST_PAGES: usize = 60;
/// So many owners are remembered; beyond that, those with nothing to remember are forgotten.
const MOST_LANES: usize = 1_000;

type Outcome<T> = Result<T, GithubFault>;

/// Where GitHub is, as whom we speak, and how long we wait.
#[derive(Debug, Clone)]
pub struct GithubClientConfig {
    /// `GITHUB_API_URL`: `https://api.github.com`, `https://<host>/api/v3`, or a stand-in.
    pub api_url: Url,
    /// As whom.
    pub credentials: Credentials,
    /// `User-Agent`; GitHub refuses requests without one.
    pub user_agent: String,
    /// How long a connection, and then its TLS handshake, may take.
    pub connect_timeout: Duration,
    /// How long one exchange may take, from the first byte sent to the last one read.
    pub exchange_timeout: Duration,
}

impl GithubClientConfig {
    /// The usual patience: 10 s to connect, 30 s for an exchange.
    #[must_use]
    pub fn new(api_url: Url, credentials: Credentials) -> Self {
        Self {
            api_url,
            credentials,
            user_agent: concat!("firstlight/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            exchange_timeout: Duration::from_secs(30),
        }
    }
}

/// Speaks with GitHub. Handles [`Perform`], [`ReadThread`] and [`MintToken`].
///
/// Writes of one installation leave in the order in which they were asked for, at least a second apart; installations do not
/// wait for one another. Each act ends by itself (every exchange has its deadline), so nobody need give up waiting for one.
pub struct GithubClient {
    room: Rc<Room>,
    _bell: Bell,
}

impl GithubClient {
    /// Call it inside the arbiter where the client will live: its connections are bound to it.
    #[must_use]
    pub fn new(config: GithubClientConfig, clock: SharedClock, bell: Bell) -> Self {
        let wire = Wire::new(
            config.api_url,
            &config.user_agent,
            config.connect_timeout,
            config.exchange_timeout,
            clock.clone(),
        );
        let room = Room {
            wire,
            credentials: config.credentials,
            clock,
            lanes: RefCell::default(),
        };
        Self {
            room: Rc::new(room),
            _bell: bell,
        }
    }
}

impl Actor for GithubClient {
    type Context = Context<Self>;
}

impl Handler<Perform> for GithubClient {
    type Result = ResponseFuture<Result<Performed, OutboundFault>>;

    fn handle(&mut self, order: Perform, _: &mut Context<Self>) -> Self::Result {
        let room = self.room.clone();
        Box::pin(async move { survived(room.perform(&order)).await.map_err(OutboundFault::from) })
    }
}

impl Handler<ReadThread> for GithubClient {
    type Result = ResponseFuture<Outcome<Thread>>;

    fn handle(&mut self, order: ReadThread, _: &mut Context<Self>) -> Self::Result {
        let room = self.room.clone();
        Box::pin(async move { survived(room.read_thread(&order)).await })
    }
}

impl Handler<MintToken> for GithubClient {
    type Result = ResponseFuture<Outcome<PhaseToken>>;

    fn handle(&mut self, order: MintToken, _: &mut Context<Self>) -> Self::Result {
        let room = self.room.clone();
        Box::pin(async move { survived(room.mint(&order)).await })
    }
}

/// One bad act must not take the client along.
async fn survived<T>(act: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    AssertUnwindSafe(act).catch_unwind().await.unwrap_or_else(|_| {
        Err(GithubFault::Retryable(
            "the GitHub client stumbled over this act; the log has the panic".to_owned(),
        ))
    })
}

struct Room {
    wire: Wire,
    credentials: Credentials,
    clock: SharedClock,
    lanes: RefCell<HashMap<String, Rc<Lane>>>,
}

/// What is remembered about one installation, or about the one token.
#[derive(Default)]
struct Lane {
    /// Held for the whole of a write. The mutex is fair, so writes keep their order. Inside: when the last one ended.
    turn: Mutex<Option<DateTime<Utc>>>,
    /// Held while a token is fetched, so that there is one renewal at a time.
    pass: Mutex<Pass>,
    /// GitHub asked for quiet.
    hold: RefCell<Option<Patience>>,
    /// Refusals for a limit in a row.
    streak: Cell<u32>,
}

impl Lane {
    fn open(&self, now: DateTime<Utc>) -> Outcome<()> {
        let mut hold = self.hold.borrow_mut();
        match &*hold {
            Some(patience) if patience.until > now => Err(GithubFault::Wait {
                until: patience.until,
                why: patience.why.clone(),
            }),
            _ => {
                *hold = None;
                Ok(())
            }
        }
    }

    fn close(&self, patience: Patience) -> GithubFault {
        let fault = GithubFault::Wait {
            until: patience.until,
            why: patience.why.clone(),
        };
        *self.hold.borrow_mut() = Some(patience);
        fault
    }

    fn remembers_something(&self, now: DateTime<Utc>) -> bool {
        self.hold.borrow().as_ref().is_some_and(|patience| patience.until > now)
            || self
                .turn
                .try_lock()
                .map_or(true, |last| last.is_some_and(|last| now < last + BETWEEN_WRITES))
    }
}

#[derive(Deserialize)]
struct Comment {
    html_url: String,
    body: Option<String>,
}

impl Room {
    async fn perform(&self, order: &Perform) -> Outcome<Performed> {
        match &order.effect {
            Effect::GithubComment { repo, number, body } => self.comment(order, repo, *number, body).await,
            Effect::GithubReaction {
                repo,
                number,
                comment_id,
                content,
            } => self.react(repo, *number, *comment_id, *content).await,
            Effect::GithubLabels { repo, number, labels } => self.label(repo, *number, labels).await,
            Effect::SlackMessage { .. }
            | Effect::SlackApproval { .. }
            | Effect::SlackApprovalClosed { .. }
            | Effect::SlackEdit { .. }
            | Effect::SlackEphemeral { .. }
            | Effect::SlackTyping { .. }
            | Effect::IntegrationEvent { .. }
            | Effect::Notification { .. }
            | Effect::Notice { .. }
            | Effect::WebhookDelivery { .. }
            | Effect::NotificationDelivery { .. } => Err(GithubFault::Never(format!(
                "{} is nothing that GitHub can be asked for",
                order.effect.kind()
            ))),
        }
    }

    async fn comment(&self, order: &Perform, repo: &RepoName, number: u64, body: &str) -> Outcome<Performed> {
        let lane = self.lane(repo)?;
        if body.trim().is_empty() {
            return Err(GithubFault::Never(format!(
                "the comment for {repo}#{number} has no text; GitHub takes none"
            )));
        }
        let marker = marker::marker(&order.key);
        let mut turn = lane.turn.lock().await;
        if order.look_first
            && let Some(url) = self.find(&lane, repo, number, &marker, order.since).await?
        {
            return Ok(Performed {
                result: url,
                found: true,
            });
        }
        let path = format!("/repos/{repo}/issues/{number}/comments");
        let ask = Ask::post(path, &json!({ "body": marker::seal(body, &marker) }));
        let answer = self.write(&lane, &mut turn, repo, &ask).await?;
        let posted: Comment = self.judged(answer, repo)?.json()?;
        Ok(Performed {
            result: posted.html_url,
            found: false,
        })
    }

    /// Looks for the comment that bears the marker, among those written or edited since a day before the effect was queued.
    async fn find(
        &self,
        lane: &Lane,
        repo: &RepoName,
        number: u64,
        marker: &str,
        since: DateTime<Utc>,
    ) -> Outcome<Option<String>> {
        let since = (since - LOOK_BACK).to_rfc3339_opts(SecondsFormat::Secs, true);
        for page in 1..=MOST_PAGES {
            let path = format!("/repos/{repo}/issues/{number}/comments?per_page={PAGE}&since={since}&page={page}");
            let answer = self.read(lane, repo, path).await?;
            let comments: Vec<Comment> = answer.json()?;
            let full = comments.len() >= PAGE;
            let ours = comments
                .into_iter()
                .find(|c| marker::bears(c.body.as_deref().unwrap_or_default(), marker));
            if let Some(ours) = ours {
                return Ok(Some(ours.html_url));
            }
            if !full && !answer.more {
                return Ok(None);
            }
        }
        // Posting now could be the second time.
        Err(GithubFault::Retryable(format!(
            "{repo}#{number} has more comments than can be looked through"
        )))
    }

    async fn react(&self, repo: &RepoName, number: u64, comment: Option<u64>, content: Reaction) -> Outcome<Performed> {
        let lane = self.lane(repo)?;
        let mut turn = lane.turn.lock().await;
        let body = json!({ "content": content.as_str() });
        // A reaction that is there already is answered with 200 instead of 201: it may be repeated freely.
        let path = match comment {
            Some(id) => format!("/repos/{repo}/issues/comments/{id}/reactions"),
            None => format!("/repos/{repo}/issues/{number}/reactions"),
        };
        let mut answer = self.write(&lane, &mut turn, repo, &Ask::post(path, &body)).await?;
        // Comments on the lines of a pull request have ids of their own kind, and an effect does not say which it means.
        if let Some(id) = comment
            && answer.told.status == 404
        {
            let path = format!("/repos/{repo}/pulls/comments/{id}/reactions");
            answer = self.write(&lane, &mut turn, repo, &Ask::post(path, &body)).await?;
        }
        self.judged(answer, repo)?;
        Ok(Performed {
            result: format!("reaction {}", content.as_str()),
            found: false,
        })
    }

    async fn label(&self, repo: &RepoName, number: u64, labels: &[String]) -> Outcome<Performed> {
        let lane = self.lane(repo)?;
        if labels.is_empty() {
            return Ok(Performed {
                result: "no labels".to_owned(),
                found: true,
            });
        }
        let mut turn = lane.turn.lock().await;
        let path = format!("/repos/{repo}/issues/{number}/labels");
        let answer = self
            .write(&lane, &mut turn, repo, &Ask::post(path, &json!({ "labels": labels })))
            .await?;
        self.judged(answer, repo)?;
        Ok(Performed {
            result: format!("labels {}", labels.join(", ")),
            found: false,
        })
    }

    async fn read_thread(&self, order: &ReadThread) -> Outcome<Thread> {
        #[derive(Deserialize)]
        struct Issue {
            title: String,
            body: Option<String>,
            #[serde(default)]
            labels: Vec<Label>,
            pull_request: Option<serde::de::IgnoredAny>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Label {
            Named { name: String },
            Bare(String),
        }
        #[derive(Deserialize)]
        struct Pull {
            head: Head,
        }
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "ref")]
            branch: String,
            sha: String,
        }
        let ReadThread { repo, number } = order;
        let lane = self.lane(repo)?;
        let issue: Issue = self
            .read(&lane, repo, format!("/repos/{repo}/issues/{number}"))
            .await?
            .json()?;
        let head = match issue.pull_request {
            Some(_) => {
                let path = format!("/repos/{repo}/pulls/{number}");
                let pull: Pull = self.read(&lane, repo, path).await?.json()?;
                Some(pull.head)
            }
            None => None,
        };
        let name = |label| match label {
            Label::Named { name } | Label::Bare(name) => name,
        };
        let (head_branch, head_sha) = head.map(|head| (head.branch, head.sha)).unzip();
        Ok(Thread {
            title: issue.title,
            body: issue.body.unwrap_or_default(),
            labels: issue.labels.into_iter().map(name).collect(),
            head_branch,
            head_sha,
        })
    }

    /// The lane of a repository: its installation's where there is an App, the one token's otherwise.
    fn lane(&self, repo: &RepoName) -> Outcome<Rc<Lane>> {
        let key = match &self.credentials {
            Credentials::None => return Err(GithubFault::NoCredentials),
            Credentials::App(app) if app.installation.is_none() => repo.owner().to_ascii_lowercase(),
            Credentials::App(_) | Credentials::Token(_) => String::new(),
        };
        let mut lanes = self.lanes.borrow_mut();
        if lanes.len() >= MOST_LANES && !lanes.contains_key(&key) {
            let now = self.clock.now();
            lanes.retain(|_, lane| Rc::strong_count(lane) > 1 || lane.remembers_something(now));
        }
        Ok(lanes.entry(key).or_default().clone())
    }

    /// A call that changes nothing.
    async fn read(&self, lane: &Lane, repo: &RepoName, path: String) -> Outcome<Answer> {
        let answer = self.call(lane, repo, &Ask::get(path)).await?;
        self.judged(answer, repo)
    }

    /// A call that changes something: at least a second after the one before it in its lane.
    async fn write(
        &self,
        lane: &Lane,
        last: &mut Option<DateTime<Utc>>,
        repo: &RepoName,
        ask: &Ask,
    ) -> Outcome<Answer> {
        // Who must wait for the limit anyway does not wait for a turn first.
        lane.open(self.clock.now())?;
        if let Some(ended) = *last {
            let wait = (ended + BETWEEN_WRITES - self.clock.now()).clamp(TimeDelta::zero(), BETWEEN_WRITES);
            if let Ok(wait) = wait.to_std()
                && !wait.is_zero()
            {
                self.clock.sleep(wait).await;
            }
        }
        let answer = self.call(lane, repo, ask).await;
        // Whatever became of it, GitHub may have counted it.
        *last = Some(self.clock.now());
        answer
    }

    /// A call as the installation or with the token. A token that GitHub no longer accepts is replaced once.
    /// The answer may still be a refusal; limits and refused credentials have become faults.
    async fn call(&self, lane: &Lane, repo: &RepoName, ask: &Ask) -> Outcome<Answer> {
        lane.open(self.clock.now())?;
        let bearer = self.bearer(lane, repo).await?;
        let answer = self.heard(lane, self.wire.exchange(ask, &bearer).await?)?;
        if answer.told.status != 401 {
            return Ok(answer);
        }
        let Credentials::App(_) = &self.credentials else {
            return Err(GithubFault::Retryable(format!(
                "GitHub refuses the token (401 {}); check that GITHUB_TOKEN is whole and has not expired",
                answer.message
            )));
        };
        lane.pass.lock().await.drop_token(&bearer);
        let bearer = self.bearer(lane, repo).await?;
        let answer = self.heard(lane, self.wire.exchange(ask, &bearer).await?)?;
        if answer.told.status == 401 {
            return Err(GithubFault::Retryable(format!(
                "GitHub refuses a fresh installation token (401 {}); check that the App of GITHUB_APP_ID is still installed on {repo}",
                answer.message
            )));
        }
        Ok(answer)
    }

    /// Takes note of limits.
    fn heard(&self, lane: &Lane, answer: Answer) -> Outcome<Answer> {
        let now = self.clock.now();
        if let Some(patience) = limits::patience(&answer.told, &answer.message, lane.streak.get(), now) {
            lane.streak.set(lane.streak.get().saturating_add(1));
            return Err(lane.close(patience));
        }
        if answer.is_success() {
            lane.streak.set(0);
            if let Some(patience) = limits::spent(&answer.told, now) {
                lane.close(patience);
            }
        }
        Ok(answer)
    }

    fn judged(&self, answer: Answer, repo: &RepoName) -> Outcome<Answer> {
        let (status, message) = (answer.told.status, &answer.message);
        match status {
            200..=299 => Ok(answer),
            404 | 410 => Err(GithubFault::Never(format!(
                "GitHub does not find it in {repo} for us ({status} {message}); check that it still exists and that our credentials reach {repo}"
            ))),
            403 => Err(GithubFault::Never(format!(
                "GitHub forbids it in {repo} (403 {message}); check that the thread is not locked and that we may write to issues and pull requests there"
            ))),
            408 | 409 | 423 | 425 | 500.. => Err(GithubFault::Retryable(format!(
                "GitHub at {} failed ({status} {message}); see https://www.githubstatus.com",
                self.wire.host()
            ))),
            _ => Err(GithubFault::Never(format!(
                "GitHub does not take it for {repo} ({status} {message})"
            ))),
        }
    }

    /// What goes into `Authorization`.
    async fn bearer(&self, lane: &Lane, repo: &RepoName) -> Outcome<Secret> {
        let app = match &self.credentials {
            Credentials::None => return Err(GithubFault::NoCredentials),
            Credentials::Token(token) => return Ok(token.clone()),
            Credentials::App(app) => app,
        };
        let mut pass = lane.pass.lock().await;
        if let Some(token) = pass.token_at(self.clock.now()) {
            return Ok(token);
        }
        let (token, expires) = self.fresh_token(lane, app, repo, &mut pass, &json!({})).await?;
        pass.keep(token.clone(), expires);
        Ok(token)
    }

    /// A token that is given out once, to a phase, and never kept here.
    async fn mint(&self, MintToken { repo, profile }: &MintToken) -> Outcome<PhaseToken> {
        let host = self.wire.git_host();
        let phase_token = |token, narrowed| PhaseToken {
            token,
            narrowed,
            clone_url: format!("{host}/{repo}.git"),
            host: host.clone(),
        };
        let app = match &self.credentials {
            Credentials::None => return Ok(phase_token(None, false)),
            Credentials::Token(token) => return Ok(phase_token(Some(token.clone()), false)),
            Credentials::App(app) => app,
        };
        let lane = self.lane(repo)?;
        lane.open(self.clock.now())?;
        let wanted = json!({ "repositories": [repo.name()], "permissions": permissions(*profile) });
        let mut pass = lane.pass.lock().await;
        let (token, _) = self.fresh_token(&lane, app, repo, &mut pass, &wanted).await?;
        Ok(phase_token(Some(token), true))
    }

    /// A new token of the installation at `repo`, with its end; `wanted` narrows it down.
    async fn fresh_token(
        &self,
        lane: &Lane,
        app: &AppCredentials,
        repo: &RepoName,
        pass: &mut Pass,
        wanted: &serde_json::Value,
    ) -> Outcome<(Secret, DateTime<Utc>)> {
        let known = pass.installation.or(app.installation);
        let installation = match known {
            Some(installation) => installation,
            None => self.find_installation(lane, app, repo).await?,
        };
        let renewed = match self.renew(lane, app, installation, pass, wanted).await {
            // The App was removed and installed again: its installation has another number now.
            Err(GithubFault::Never(_)) if known.is_some() && app.installation.is_none() => {
                pass.installation = None;
                let installation = self.find_installation(lane, app, repo).await?;
                self.renew(lane, app, installation, pass, wanted).await
            }
            renewed => renewed,
        };
        renewed.map_err(|fault| match fault {
            GithubFault::Never(words) if app.installation.is_some() => GithubFault::Never(format!(
                "{words}; check GITHUB_APP_INSTALLATION_ID, or leave it out: it is found by itself"
            )),
            fault => fault,
        })
    }

    async fn find_installation(&self, lane: &Lane, app: &AppCredentials, repo: &RepoName) -> Outcome<u64> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        let answer = self
            .as_app(lane, app, &Ask::get(format!("/repos/{repo}/installation")))
            .await?;
        match answer.told.status {
            200 => Ok(answer.json::<Installation>()?.id),
            404 => Err(GithubFault::Never(format!(
                "the GitHub App is not installed on {repo} ({}); install it there, then deliver again",
                answer.message
            ))),
            _ => Err(self.app_refused(&answer)),
        }
    }

    async fn renew(
        &self,
        lane: &Lane,
        app: &AppCredentials,
        installation: u64,
        pass: &mut Pass,
        wanted: &serde_json::Value,
    ) -> Outcome<(Secret, DateTime<Utc>)> {
        #[derive(Deserialize)]
        struct Fresh {
            token: Secret,
            expires_at: DateTime<Utc>,
        }
        let path = format!("/app/installations/{installation}/access_tokens");
        let answer = self.as_app(lane, app, &Ask::post(path, wanted)).await?;
        if answer.told.status == 422 {
            return Err(GithubFault::Never(format!(
                "GitHub gives the App no such token (422 {}); the App's settings page says which permissions it has, and which repositories its installation reaches",
                answer.message
            )));
        }
        if !answer.is_success() {
            return Err(self.app_refused(&answer));
        }
        let fresh: Fresh = answer.json()?;
        pass.installation = Some(installation);
        Ok((fresh.token, fresh.expires_at))
    }

    async fn as_app(&self, lane: &Lane, app: &AppCredentials, ask: &Ask) -> Outcome<Answer> {
        let jwt = app.jwt(self.clock.now()).map_err(GithubFault::Retryable)?;
        let answer = self.wire.exchange(ask, &jwt).await?;
        // The App's own budget is not the installation's: only a refusal counts here.
        let refusal = limits::patience(&answer.told, &answer.message, lane.streak.get(), self.clock.now());
        match refusal {
            Some(patience) => {
                lane.streak.set(lane.streak.get().saturating_add(1));
                Err(lane.close(patience))
            }
            None => Ok(answer),
        }
    }

    fn app_refused(&self, answer: &Answer) -> GithubFault {
        let (status, message) = (answer.told.status, &answer.message);
        match status {
            401 => GithubFault::Retryable(format!(
                "GitHub refuses the App's signature (401 {message}); check that GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY_PATH belong together and that this machine's clock is right"
            )),
            408 | 409 | 425 | 500.. => {
                GithubFault::Retryable(format!("GitHub at {} failed ({status} {message})", self.wire.host()))
            }
            _ => GithubFault::Never(format!("GitHub gives the App no token ({status} {message})")),
        }
    }
}
