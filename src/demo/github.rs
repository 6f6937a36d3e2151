//! A GitHub of our own on loopback: threads, comments, reactions, labels and App tokens, with scripted mishaps. Knows no actor and no store.
//!
//! It remembers what it was told and refuses what GitHub refuses, so that the demonstration and the tests speak with it through the
//! same client as with the real one. Its App's key lies beside this file for everyone to read: it opens nothing but this.

mod hooks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, DATE, LINK, USER_AGENT};
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actors::clock::SharedClock;
use actors::domain::{Reaction, Secret};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Its App's private key: a PKCS#1 key of 2,048 bits made for this stand-in alone, in base64. It guards nothing.
const KEY: &str = include_str!("github_key.txt");
/// The id of its App.
pub const APP_ID: &str = "4711";
/// The login under which the App's comments appear.
const BOT: &str = "last-light[bot]";
const PERSONAL_TOKEN: &str = "stand-in-personal-token";
/// Installation tokens live an hour, as the real ones do.
const TOKEN_LIFE: TimeDelta = TimeDelta::hours(1);
const BUDGET: u64 = 5_000;
const LONGEST_COMMENT: usize = 65_536;
/// Calls that are remembered; a demonstration may run for days.
const MOST_CALLS: usize = 10_000;

/// A running stand-in. Stops when it is dropped.
pub struct GithubStandIn {
    url: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

/// What the stand-in does instead of, or after, answering one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers so, and does nothing of what was asked.
    Status {
        /// HTTP status.
        status: u16,
        /// Headers, as name and value.
        headers: Vec<(String, String)>,
        /// GitHub's `message`.
        message: String,
    },
    /// Never answers, and does nothing.
    Hang,
    /// Does what was asked, sends half of the answer and closes the connection.
    CutOff,
    /// Does what was asked and closes the connection without a word.
    Swallow,
}

/// A call that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When, on the stand-in's clock.
    pub at: DateTime<Utc>,
    /// HTTP method.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Query, without the question mark.
    pub query: String,
    /// The status that was answered; 0 where nothing was.
    pub status: u16,
}

/// A comment that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: u64,
    /// Login of its author.
    pub author: String,
    /// Its text, with the hidden marker if it has one.
    pub body: String,
    /// Where a browser shows it.
    pub html_url: String,
    /// When it was posted.
    pub at: DateTime<Utc>,
    /// Reactions to it.
    pub reactions: Vec<String>,
}

#[derive(Default)]
struct Thread {
    title: String,
    body: String,
    labels: Vec<String>,
    locked: bool,
    /// Head branch and SHA, for a pull request.
    head: Option<(String, String)>,
    comments: Vec<Comment>,
    reactions: Vec<String>,
}

#[derive(Default)]
struct Repo {
    full_name: String,
    threads: BTreeMap<u64, Thread>,
}

struct Scripted {
    method: &'static str,
    path_holds: String,
    fault: Fault,
}

struct Shared {
    url: String,
    clock: SharedClock,
    state: Mutex<State>,
    comments: watch::Sender<usize>,
    calls: watch::Sender<usize>,
}

/// An installation token.
#[derive(Debug, Clone)]
struct Token {
    installation: u64,
    end: DateTime<Utc>,
    minted: Minted,
}

/// What a token was asked to be good for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Minted {
    /// The token.
    pub token: String,
    /// Names of repositories; absent: all that the installation reaches.
    pub repositories: Option<Vec<String>>,
    /// Permissions, `contents` → `read`; absent: all that the App has.
    pub permissions: Option<BTreeMap<String, String>>,
}

impl Minted {
    /// Whether it is good for this, in a repository of this name.
    fn allows(&self, repo: &str, permission: &str, level: &str) -> bool {
        let reaches = self
            .repositories
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name.eq_ignore_ascii_case(repo)));
        let may = self.permissions.as_ref().is_none_or(|all| {
            all.get(permission)
                .is_some_and(|given| given == "write" || given == level)
        });
        reaches && may
    }
}

use hooks::{Hooks, OF_THE_APP, Order};

/// What the App was given when it was installed.
const GRANTED: &[&str] = &["metadata", "contents", "issues", "pull_requests"];

#[derive(Default)]
struct State {
    /// By lower-case full name, because GitHub ignores case.
    repos: BTreeMap<String, Repo>,
    /// By lower-case owner.
    installations: BTreeMap<String, u64>,
    /// Each token that was given out.
    tokens: HashMap<String, Token>,
    /// What each of them was asked to be good for, in order.
    minted: Vec<Minted>,
    /// Folders of bare repositories that git is served from, by lower-case full name.
    served: BTreeMap<String, PathBuf>,
    faults: VecDeque<Scripted>,
    calls: VecDeque<Call>,
    calls_ever: usize,
    /// Every comment that came through the API, in order.
    posted: Vec<Comment>,
    last_id: u64,
    budget: Option<(u64, DateTime<Utc>)>,
    hooks: Hooks,
    /// Deliveries that somebody asked for and that have not begun.
    to_deliver: Vec<Order>,
    /// What the App's page says; absent: whatever it needs.
    granted: Option<Value>,
    /// What it subscribed to; absent: everything.
    subscribed: Option<Value>,
    /// Owners whose installation is suspended, in lower case.
    suspended: BTreeSet<String>,
}

/// A handle on the connection of a request, to close it under the server.
struct Line(TcpStream);

impl GithubStandIn {
    /// Listens on a free port of loopback. `clock` decides when tokens expire.
    ///
    /// # Errors
    /// When no port can be opened.
    pub fn start(clock: SharedClock) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            url: url.clone(),
            clock,
            state: Mutex::default(),
            comments: watch::Sender::new(0),
            calls: watch::Sender::new(0),
        });
        let data = Data::from(shared.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(PayloadConfig::new(2 * 1024 * 1024))
                .default_service(web::to(serve))
        })
        .on_connect(|connection, extensions| {
            let stream = connection.downcast_ref::<actix_web::rt::net::TcpStream>();
            if let Some(line) = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok()) {
                extensions.insert(Line(TcpStream::from(line)));
            }
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)?
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(Self {
            url,
            shared,
            server: handle,
        })
    }

    /// What `GITHUB_API_URL` has to be.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The private key of its App, as the PEM file that GitHub would hand out (PKCS#1).
    #[must_use]
    pub fn private_key(&self) -> Secret {
        Secret::new(format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{KEY}-----END RSA PRIVATE KEY-----\n"
        ))
    }

    /// A personal access token that reaches everything.
    #[must_use]
    pub fn token(&self) -> Secret {
        Secret::new(PERSONAL_TOKEN)
    }

    /// Opens an issue, and its repository with the App installed where it does not exist yet. Answers its number.
    pub fn opens_issue(&self, repo: &str, title: &str, body: &str) -> u64 {
        self.opens(
            repo,
            Thread {
                title: title.to_owned(),
                body: body.to_owned(),
                ..Thread::default()
            },
        )
    }

    /// Opens a pull request from `branch` at commit `sha`. Answers its number.
    pub fn opens_pull(&self, repo: &str, title: &str, body: &str, branch: &str, sha: &str) -> u64 {
        let head = Some((branch.to_owned(), sha.to_owned()));
        self.opens(
            repo,
            Thread {
                title: title.to_owned(),
                body: body.to_owned(),
                head,
                ..Thread::default()
            },
        )
    }

    fn opens(&self, full_name: &str, thread: Thread) -> u64 {
        let mut state = self.shared.lock();
        let owner = full_name.split('/').next().unwrap_or_default().to_ascii_lowercase();
        state.install(owner, false);
        let repo = state.repos.entry(full_name.to_ascii_lowercase()).or_default();
        if repo.full_name.is_empty() {
            full_name.clone_into(&mut repo.full_name);
        }
        let number = repo.threads.keys().next_back().map_or(1, |last| last + 1);
        repo.threads.insert(number, thread);
        number
    }

    /// Somebody comments, not through the API. Answers the comment's id.
    ///
    /// # Panics
    /// When there is no such thread.
    pub fn person_comments(&self, repo: &str, number: u64, author: &str, body: &str) -> u64 {
        let mut state = self.shared.lock();
        let now = self.shared.clock.now();
        let comment = state
            .comment(&self.url, &repo.to_ascii_lowercase(), number, author, body, now)
            .expect("the thread was opened before somebody comments on it");
        comment.id
    }

    /// Locks a thread: comments on it are refused from now on.
    pub fn locks(&self, repo: &str, number: u64) {
        if let Some(thread) = self.shared.lock().thread(&repo.to_ascii_lowercase(), number) {
            thread.locked = true;
        }
    }

    /// Removes the App from an owner and installs it again: a new installation, and the old tokens are void.
    pub fn reinstalls(&self, owner: &str) {
        self.shared.lock().install(owner.to_ascii_lowercase(), true);
    }

    /// Voids every installation token before its time.
    pub fn voids_tokens(&self) {
        self.shared.lock().tokens.clear();
    }

    /// Leaves so many requests in the hourly budget.
    pub fn leaves_budget(&self, requests: u64) {
        self.shared.lock().budget = Some((requests, self.shared.clock.now() + TimeDelta::hours(1)));
    }

    /// The comments of a thread, oldest first; none for an unknown thread.
    #[must_use]
    pub fn comments(&self, repo: &str, number: u64) -> Vec<Comment> {
        let mut state = self.shared.lock();
        state
            .thread(&repo.to_ascii_lowercase(), number)
            .map(|thread| thread.comments.clone())
            .unwrap_or_default()
    }

    /// The reactions to a thread itself.
    #[must_use]
    pub fn reactions(&self, repo: &str, number: u64) -> Vec<String> {
        let mut state = self.shared.lock();
        state
            .thread(&repo.to_ascii_lowercase(), number)
            .map(|thread| thread.reactions.clone())
            .unwrap_or_default()
    }

    /// The labels of a thread.
    #[must_use]
    pub fn labels(&self, repo: &str, number: u64) -> Vec<String> {
        let mut state = self.shared.lock();
        state
            .thread(&repo.to_ascii_lowercase(), number)
            .map(|thread| thread.labels.clone())
            .unwrap_or_default()
    }

    /// Every call so far, oldest first (the last 10,000).
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.iter().cloned().collect()
    }

    /// What each installation token was asked to be good for, oldest first.
    #[must_use]
    pub fn minted(&self) -> Vec<Minted> {
        self.shared.lock().minted.clone()
    }

    /// Serves git from a bare repository: `git clone <url>/<repo>.git`, for tokens that may read its contents.
    pub fn serves_git(&self, repo: &str, bare: &std::path::Path) {
        let folder = bare.to_path_buf();
        self.shared.lock().served.insert(repo.to_ascii_lowercase(), folder);
    }

    /// New commits are pushed to a pull request.
    pub fn pushes(&self, repo: &str, number: u64, sha: &str) {
        if let Some(Thread { head: Some(head), .. }) = self.shared.lock().thread(&repo.to_ascii_lowercase(), number) {
            sha.clone_into(&mut head.1);
        }
    }

    /// The App's webhook leads there from now on, signed with this secret, or unsigned.
    pub fn app_delivers_to(&self, url: &str, secret: Option<&str>) {
        self.shared.lock().hooks.set(OF_THE_APP, url, secret);
    }

    /// A webhook of this repository leads there from now on.
    pub fn repo_delivers_to(&self, repo: &str, url: &str, secret: Option<&str>) {
        self.shared.lock().hooks.set(&repo.to_ascii_lowercase(), url, secret);
    }

    /// Delivers an event to the App's webhook, for real, and remembers how it was answered: its status, 0 for no answer.
    ///
    /// # Panics
    /// When the App has no webhook.
    pub async fn delivers(&self, event: &str, payload: Value) -> u16 {
        let order = self.shared.lock().hooks.fresh(OF_THE_APP, event, payload);
        deliver(&self.shared, &order.expect("the App has a webhook")).await
    }

    /// Remembers a delivery that was answered so elsewhere.
    ///
    /// # Panics
    /// When the App has no webhook.
    pub fn remembers_delivery(&self, event: &str, code: u16, status: &str) {
        let mut state = self.shared.lock();
        let order = state.hooks.fresh(OF_THE_APP, event, json!({ "action": "opened" }));
        let at = iso(self.shared.clock.now());
        state
            .hooks
            .answered(&order.expect("the App has a webhook"), code, status, &at);
    }

    /// The App's page grants this from now on, as `{"issues": "write", …}`, and it hears of these events alone.
    pub fn grants(&self, permissions: &Value, events: &Value) {
        let mut state = self.shared.lock();
        state.granted = Some(permissions.clone());
        state.subscribed = Some(events.clone());
    }

    /// Suspends the installation at an owner.
    pub fn suspends(&self, owner: &str) {
        self.shared.lock().suspended.insert(owner.to_ascii_lowercase());
    }

    /// Waits for the `nth` comment (from 1) that came through the API.
    pub async fn comment_number(&self, nth: usize) -> Comment {
        let mut seen = self.shared.comments.subscribe();
        loop {
            let posted = self.shared.lock().posted.get(nth.saturating_sub(1)).cloned();
            if let Some(comment) = posted {
                return comment;
            }
            if seen.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until so many calls have arrived in all.
    pub async fn calls_reach(&self, count: usize) {
        let mut seen = self.shared.calls.subscribe();
        if seen.wait_for(|calls| *calls >= count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The next call that writes to a repository meets this. Faults are met in the order in which they were scripted.
    pub fn script(&self, fault: Fault) {
        self.script_on("POST", "/repos/", fault);
    }

    /// The next call of this method whose path holds this text meets the fault.
    pub fn script_on(&self, method: &'static str, path_holds: &str, fault: Fault) {
        let scripted = Scripted {
            method,
            path_holds: path_holds.to_owned(),
            fault,
        };
        self.shared.lock().faults.push_back(scripted);
    }

    /// How many scripted faults nobody met yet.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.shared.lock().faults.len()
    }

    /// Stops listening and closes what is open.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Drop for GithubStandIn {
    fn drop(&mut self) {
        // The order to stop is given at once; the future only waits for it.
        drop(self.server.stop(false));
    }
}

impl Fault {
    /// A plain refusal.
    #[must_use]
    pub fn status(status: u16, message: &str) -> Self {
        Self::Status {
            status,
            headers: Vec::new(),
            message: message.to_owned(),
        }
    }

    /// A refusal for a secondary limit, with `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(status: u16, wait: Duration) -> Self {
        Self::Status {
            status,
            headers: vec![("Retry-After".to_owned(), wait.as_secs().to_string())],
            message: "You have exceeded a secondary rate limit".to_owned(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As whom a call comes.
#[derive(PartialEq, Eq)]
enum Caller {
    App,
    Installation(u64, Minted),
    Person,
}

/// Status and body, or the same for a refusal.
type Said = Result<(u16, Value), (u16, String)>;

fn refuse<T>(status: u16, message: &str) -> Result<T, (u16, String)> {
    Err((status, message.to_owned()))
}

async fn serve(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let fault = {
        let mut state = shared.lock();
        let met = state.faults.iter().position(|scripted| {
            scripted.method == request.method().as_str() && request.path().contains(&scripted.path_holds)
        });
        met.and_then(|at| state.faults.remove(at))
            .map(|scripted| scripted.fault)
    };
    match fault {
        None if request.path().contains(".git/") => git(&request, &body, &shared).await,
        None => {
            let said = answer(&request, &body, &shared);
            for order in std::mem::take(&mut shared.lock().to_deliver) {
                let shared = shared.clone();
                actix_web::rt::spawn(async move { deliver(&shared, &order).await });
            }
            said
        }
        Some(Fault::Status {
            status,
            headers,
            message,
        }) => {
            shared.remember(&request, status);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = HttpResponse::build(status);
            for header in headers {
                response.insert_header(header);
            }
            response.json(json!({ "message": message }))
        }
        Some(Fault::Hang) => {
            shared.remember(&request, 0);
            std::future::pending().await
        }
        Some(Fault::CutOff) => {
            let whole = answer(&request, &body, &shared);
            let status = whole.status();
            let bytes = actix_web::body::to_bytes(whole.into_body()).await.unwrap_or_default();
            let half = bytes.slice(..bytes.len() / 2);
            let pieces = futures_util::stream::iter([Ok(half), Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
            HttpResponse::build(status).body(SizedStream::new(bytes.len() as u64, pieces))
        }
        Some(Fault::Swallow) => {
            let unheard = answer(&request, &body, &shared);
            if let Some(Line(line)) = request.conn_data::<Line>() {
                // An error means that the other side hung up first, which comes to the same.
                let _ = line.shutdown(Shutdown::Both);
            }
            unheard
        }
    }
}

/// Makes a delivery and remembers how it was answered.
async fn deliver(shared: &Shared, order: &Order) -> u16 {
    let (code, status) = hooks::post(order).await;
    let at = iso(shared.clock.now());
    shared.lock().hooks.answered(order, code, &status, &at);
    code
}

/// The two calls of a clone ("Git HTTP transport", smart, protocol version 0), answered by git itself.
async fn git(request: &HttpRequest, body: &[u8], shared: &Shared) -> HttpResponse {
    let said = served(request, body, shared).await;
    shared.remember(request, said.as_ref().map_or_else(|(status, _)| *status, |_| 200));
    match said {
        Ok((kind, bytes)) => HttpResponse::Ok().content_type(kind).body(bytes),
        Err((401, message)) => HttpResponse::Unauthorized()
            .insert_header(("WWW-Authenticate", "Basic realm=\"GitHub\""))
            .body(message),
        Err((status, message)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            HttpResponse::build(status).body(message)
        }
    }
}

async fn served(request: &HttpRequest, body: &[u8], shared: &Shared) -> Result<(&'static str, Vec<u8>), (u16, String)> {
    let not_found = || (404, "Repository not found.".to_owned());
    let (repo, rest) = request
        .path()
        .trim_start_matches('/')
        .split_once(".git/")
        .ok_or_else(not_found)?;
    let repo = repo.to_ascii_lowercase();
    let folder = {
        let state = shared.lock();
        let folder = state.served.get(&repo).cloned().ok_or_else(not_found)?;
        let name = repo.split('/').nth(1).unwrap_or_default();
        let given = basic(request).ok_or((401, "Authentication required".to_owned()))?;
        let lets_in = given == PERSONAL_TOKEN
            || state
                .tokens
                .get(&given)
                .is_some_and(|token| token.end > shared.clock.now() && token.minted.allows(name, "contents", "read"));
        if !lets_in {
            return refuse(403, "Write access to repository not granted.");
        }
        folder
    };
    match rest {
        "info/refs" => {
            let mut bytes = b"001e# service=git-upload-pack\n0000".to_vec();
            bytes.extend(upload_pack(&["--advertise-refs"], &folder, &[]).await?);
            Ok(("application/x-git-upload-pack-advertisement", bytes))
        }
        "git-upload-pack" => {
            let bytes = upload_pack(&[], &folder, body).await?;
            Ok(("application/x-git-upload-pack-result", bytes))
        }
        _ => Err(not_found()),
    }
}

async fn upload_pack(flags: &[&str], folder: &std::path::Path, input: &[u8]) -> Result<Vec<u8>, (u16, String)> {
    use tokio::io::AsyncWriteExt;
    let broken = |error: io::Error| (500, error.to_string());
    let mut child = tokio::process::Command::new("git")
        .args(["upload-pack", "--stateless-rpc"])
        .args(flags)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).await.map_err(broken)?;
    }
    Ok(child.wait_with_output().await.map_err(broken)?.stdout)
}

/// The password of a Basic authorization whose user is `x-access-token`.
fn basic(request: &HttpRequest) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    (user == "x-access-token").then(|| password.to_owned())
}

/// What a token is asked to be good for: GitHub refuses permissions that the App does not have.
fn wanted_token(token: &str, body: &[u8]) -> Result<Minted, (u16, String)> {
    let given = parse(body)?;
    let repositories = given["repositories"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    let permissions: Option<BTreeMap<String, String>> = given["permissions"].as_object().map(|all| {
        let pairs = all
            .iter()
            .filter_map(|(name, level)| Some((name.clone(), level.as_str()?.to_owned())));
        pairs.collect()
    });
    if permissions
        .iter()
        .flatten()
        .any(|(name, _)| !GRANTED.contains(&name.as_str()))
    {
        return refuse(422, "The permissions requested are not granted to this installation.");
    }
    Ok(Minted {
        token: token.to_owned(),
        repositories,
        permissions,
    })
}

fn answer(request: &HttpRequest, body: &[u8], shared: &Shared) -> HttpResponse {
    if let Some(page) = shared.page(request) {
        return HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(page);
    }
    let mut next_page = None;
    let (status, body) = match shared.say(request, body, &mut next_page) {
        Ok(said) => said,
        Err((status, message)) => (status, json!({ "message": message })),
    };
    shared.remember(request, status);
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    let (remaining, reset) = shared
        .lock()
        .budget
        .unwrap_or((BUDGET, shared.clock.now() + TimeDelta::hours(1)));
    let date = shared.clock.now().format("%a, %d %b %Y %H:%M:%S GMT");
    response.insert_header((DATE, date.to_string()));
    response.insert_header(("X-RateLimit-Limit", BUDGET.to_string()));
    response.insert_header(("X-RateLimit-Remaining", remaining.to_string()));
    response.insert_header(("X-RateLimit-Reset", reset.timestamp().to_string()));
    if let Some(next) = next_page {
        response.insert_header((LINK, format!("<{next}>; rel=\"next\"")));
    }
    response.json(body)
}

impl Shared {
    fn remember(&self, request: &HttpRequest, status: u16) {
        let mut state = self.lock();
        if state.calls.len() >= MOST_CALLS {
            state.calls.pop_front();
        }
        state.calls.push_back(Call {
            at: self.clock.now(),
            method: request.method().to_string(),
            path: request.path().to_owned(),
            query: request.query_string().to_owned(),
            status,
        });
        state.calls_ever += 1;
        let (calls, comments) = (state.calls_ever, state.posted.len());
        drop(state);
        self.calls.send_replace(calls);
        self.comments.send_replace(comments);
    }

    /// The conversation as a browser shows it: where `html_url` leads.
    fn page(&self, request: &HttpRequest) -> Option<String> {
        let path: Vec<_> = request.path().trim_matches('/').split('/').collect();
        let [owner, name, "issues" | "pull", number] = path.as_slice() else {
            return None;
        };
        let mut state = self.lock();
        let thread = state.thread(&format!("{owner}/{name}").to_ascii_lowercase(), number.parse().ok()?)?;
        let mut page = format!("{}\n\n{}\n", thread.title, thread.body);
        for comment in &thread.comments {
            page.push_str(&format!(
                "\n--- {} at {}\n{}\n",
                comment.author,
                comment.at.to_rfc3339(),
                comment.body
            ));
        }
        Some(page)
    }

    fn say(&self, request: &HttpRequest, body: &[u8], next_page: &mut Option<String>) -> Said {
        if !request.headers().contains_key(USER_AGENT) {
            return refuse(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            );
        }
        let now = self.clock.now();
        let mut state = self.lock();
        let caller = self.caller(&state, request, now)?;
        let path: Vec<_> = request.path().trim_matches('/').split('/').collect();
        let method = request.method().as_str();
        if caller != Caller::App && path != ["rate_limit"] {
            state.spend(now)?;
        }
        match (method, path.as_slice()) {
            ("GET", ["rate_limit"]) => {
                let (remaining, reset) = state.budget.unwrap_or((BUDGET, now + TimeDelta::hours(1)));
                let core = json!({ "limit": BUDGET, "remaining": remaining, "reset": reset.timestamp() });
                Ok((200, json!({ "resources": { "core": core }, "rate": core })))
            }
            ("GET", ["repos", owner, name, "installation"]) => {
                only_app(&caller)?;
                let known = state
                    .repos
                    .contains_key(&format!("{owner}/{name}").to_ascii_lowercase());
                match state.installations.get(&owner.to_ascii_lowercase()) {
                    Some(id) if known => Ok((200, json!({ "id": id, "account": { "login": owner } }))),
                    _ => refuse(404, "Not Found"),
                }
            }
            ("GET", ["user"]) if caller == Caller::Person => {
                Ok((200, json!({ "login": "maintainer", "type": "User" })))
            }
            ("GET", ["app"]) => {
                only_app(&caller)?;
                Ok((200, state.app()))
            }
            ("GET", ["app", "installations"]) => {
                only_app(&caller)?;
                Ok((200, state.installed()))
            }
            ("GET", ["app", "hook", "config"]) => {
                only_app(&caller)?;
                found(state.hooks.config(OF_THE_APP))
            }
            (_, ["app", "hook", "deliveries", rest @ ..]) => {
                only_app(&caller)?;
                state.of_hook(method, OF_THE_APP, rest)
            }
            ("POST", ["app", "installations", id, "access_tokens"]) => {
                only_app(&caller)?;
                let id = id
                    .parse()
                    .ok()
                    .filter(|id| state.installations.values().any(|known| known == id));
                let Some(id) = id else {
                    return refuse(404, "Not Found");
                };
                let token = format!("ghs_{}", state.fresh_id());
                let minted = wanted_token(&token, body)?;
                let expires = now + TOKEN_LIFE;
                state.tokens.retain(|_, token| token.end > now);
                let (installation, end) = (id, expires);
                let kept = minted.clone();
                state.tokens.insert(
                    token.clone(),
                    Token {
                        installation,
                        end,
                        minted,
                    },
                );
                let mut answer = json!({ "token": token, "expires_at": iso(expires) });
                if let Some(permissions) = &kept.permissions {
                    answer["permissions"] = json!(permissions);
                }
                state.minted.push(kept);
                Ok((201, answer))
            }
            (method, ["repos", owner, name, rest @ ..]) => {
                let repo = format!("{owner}/{name}").to_ascii_lowercase();
                let reaches = match caller {
                    Caller::App => return refuse(403, "Resource not accessible by integration"),
                    Caller::Person => true,
                    Caller::Installation(id, ref minted) => {
                        let (permission, level) = match (method, rest) {
                            ("GET", ["pulls", ..]) => ("pull_requests", "read"),
                            ("GET", _) => ("issues", "read"),
                            _ => ("issues", "write"),
                        };
                        if !minted.allows(name, "metadata", "read") && minted.permissions.is_some() {
                            return refuse(404, "Not Found");
                        }
                        // A conversation of a pull request is open to whoever may write to either.
                        if !minted.allows(name, permission, level) && !minted.allows(name, "pull_requests", level) {
                            return refuse(403, "Resource not accessible by integration");
                        }
                        state.installations.get(&owner.to_ascii_lowercase()) == Some(&id)
                    }
                };
                if !reaches || !state.repos.contains_key(&repo) {
                    return refuse(404, "Not Found");
                }
                let author = if caller == Caller::Person { "maintainer" } else { BOT };
                self.in_repo(&mut state, method, &repo, rest, request, body, author, next_page)
            }
            _ => refuse(404, "Not Found"),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call of the API, taken apart")]
    fn in_repo(
        &self,
        state: &mut State,
        method: &str,
        repo: &str,
        rest: &[&str],
        request: &HttpRequest,
        body: &[u8],
        author: &str,
        next_page: &mut Option<String>,
    ) -> Said {
        let not_found = || (404, "Not Found".to_owned());
        match (method, rest) {
            ("GET", []) => Ok((
                200,
                json!({ "full_name": repo, "permissions": { "admin": false, "push": true, "triage": true, "pull": true } }),
            )),
            ("GET", ["hooks"]) => Ok((200, state.hooks.listed(repo))),
            (_, ["hooks", _, "deliveries", rest @ ..]) => state.of_hook(method, repo, rest),
            ("POST", ["hooks", _, "pings"]) => {
                let order = state.hooks.fresh(
                    repo,
                    "ping",
                    json!({ "zen": "Keep it logically awesome.", "hook_id": 7 }),
                );
                state.to_deliver.push(order.ok_or_else(not_found)?);
                Ok((204, Value::Null))
            }
            ("GET", ["issues", number]) => {
                let number = number.parse().map_err(|_| not_found())?;
                let thread = state.thread(repo, number).ok_or_else(not_found)?;
                let labels: Vec<_> = thread.labels.iter().map(|name| json!({ "name": name })).collect();
                let mut issue = json!({ "number": number, "title": thread.title, "body": thread.body, "labels": labels,
                    "locked": thread.locked, "state": "open", "comments": thread.comments.len() });
                if thread.head.is_some() {
                    issue["pull_request"] = json!({ "url": format!("{}/repos/{repo}/pulls/{number}", self.url) });
                }
                Ok((200, issue))
            }
            ("GET", ["pulls", number]) => {
                let number = number.parse().map_err(|_| not_found())?;
                let thread = state.thread(repo, number).ok_or_else(not_found)?;
                let (branch, sha) = thread.head.as_ref().ok_or_else(not_found)?;
                Ok((
                    200,
                    json!({ "number": number, "title": thread.title, "body": thread.body,
                    "head": { "ref": branch, "sha": sha } }),
                ))
            }
            ("GET", ["issues", number, "comments"]) => {
                let number = number.parse().map_err(|_| not_found())?;
                let thread = state.thread(repo, number).ok_or_else(not_found)?;
                let query: HashMap<_, _> = url::form_urlencoded::parse(request.query_string().as_bytes()).collect();
                let count = |name: &str, otherwise: usize| {
                    query.get(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
                };
                let (page, per_page) = (count("page", 1).max(1), count("per_page", 30).clamp(1, 100));
                let since = query
                    .get("since")
                    .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
                let listed: Vec<_> = thread
                    .comments
                    .iter()
                    .filter(|comment| since.is_none_or(|since| comment.at >= since))
                    .collect();
                if listed.len() > page * per_page {
                    *next_page = Some(format!(
                        "{}{}?page={}&per_page={per_page}",
                        self.url,
                        request.path(),
                        page + 1
                    ));
                }
                let shown = listed
                    .iter()
                    .skip((page - 1) * per_page)
                    .take(per_page)
                    .map(|comment| shown(comment));
                Ok((200, Value::Array(shown.collect())))
            }
            ("POST", ["issues", number, "comments"]) => {
                let number = number.parse().map_err(|_| not_found())?;
                let thread = state.thread(repo, number).ok_or_else(not_found)?;
                let given = parse(body)?;
                let text = given["body"].as_str().unwrap_or_default().to_owned();
                if text.trim().is_empty() {
                    return refuse(422, "Validation Failed: body can't be blank");
                }
                if text.chars().count() > LONGEST_COMMENT {
                    return refuse(422, "Validation Failed: body is too long (maximum is 65536 characters)");
                }
                if thread.locked {
                    return refuse(403, "Unable to create comment because issue is locked.");
                }
                let comment = state
                    .comment(&self.url, repo, number, author, &text, self.clock.now())
                    .ok_or_else(not_found)?;
                state.posted.push(comment.clone());
                Ok((201, shown(&comment)))
            }
            ("POST", ["issues", number, "labels"]) => {
                let number = number.parse().map_err(|_| not_found())?;
                let thread = state.thread(repo, number).ok_or_else(not_found)?;
                let given = parse(body)?;
                let names = given["labels"]
                    .as_array()
                    .filter(|names| !names.is_empty() && names.iter().all(Value::is_string));
                let Some(names) = names else {
                    return refuse(422, "Validation Failed: labels must be an array of names");
                };
                for name in names.iter().filter_map(Value::as_str) {
                    if !thread.labels.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                        thread.labels.push(name.to_owned());
                    }
                }
                Ok((200, thread.labels.iter().map(|name| json!({ "name": name })).collect()))
            }
            ("POST", ["issues", "comments", id, "reactions"]) => {
                let id = id.parse::<u64>().map_err(|_| not_found())?;
                let threads = state.repos.get_mut(repo).map(|repo| repo.threads.values_mut());
                let mut comments = threads
                    .into_iter()
                    .flatten()
                    .flat_map(|thread| thread.comments.iter_mut());
                let comment = comments.find(|comment| comment.id == id).ok_or_else(not_found)?;
                react(&mut comment.reactions, body)
            }
            ("POST", ["issues", number, "reactions"]) => {
                let number = number.parse().map_err(|_| not_found())?;
                let thread = state.thread(repo, number).ok_or_else(not_found)?;
                react(&mut thread.reactions, body)
            }
            _ => Err(not_found()),
        }
    }

    fn caller(&self, state: &State, request: &HttpRequest, now: DateTime<Utc>) -> Result<Caller, (u16, String)> {
        let header = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some(header) = header else {
            return refuse(401, "Requires authentication");
        };
        let given = header
            .strip_prefix("Bearer ")
            .or_else(|| header.strip_prefix("token "))
            .unwrap_or_default();
        if given.split('.').count() == 3 {
            check_jwt(given, now)
                .map(|()| Caller::App)
                .map_err(|message| (401, message.to_owned()))
        } else if given == PERSONAL_TOKEN {
            Ok(Caller::Person)
        } else {
            match state.tokens.get(given) {
                Some(token) if token.end > now => Ok(Caller::Installation(token.installation, token.minted.clone())),
                _ => refuse(401, "Bad credentials"),
            }
        }
    }
}

impl State {
    /// As the App's own page has it.
    fn app(&self) -> Value {
        let all: BTreeMap<&str, &str> = GRANTED.iter().map(|name| (*name, "write")).collect();
        let events = [
            "issues",
            "issue_comment",
            "pull_request",
            "pull_request_review",
            "pull_request_review_comment",
        ];
        json!({
            "id": APP_ID.parse::<u64>().unwrap_or_default(), "slug": "last-light", "name": "Last Light",
            "permissions": self.granted.clone().unwrap_or_else(|| json!(all)),
            "events": self.subscribed.clone().unwrap_or_else(|| json!(events)),
        })
    }

    fn installed(&self) -> Value {
        let permissions = self.app()["permissions"].clone();
        let listed = self.installations.iter().map(|(owner, id)| {
            let suspended = self.suspended.contains(owner).then_some("2026-01-02T03:04:05Z");
            json!({ "id": id, "account": { "login": owner }, "suspended_at": suspended, "permissions": permissions })
        });
        listed.collect()
    }

    /// What lies below `…/deliveries` of a webhook.
    fn of_hook(&mut self, method: &str, whose: &str, rest: &[&str]) -> Said {
        match (method, rest) {
            ("GET", []) => found(self.hooks.deliveries(whose)),
            ("GET", [id]) => found(self.hooks.delivery(whose, id)),
            ("POST", [id, "attempts"]) => {
                let Some(order) = self.hooks.again(whose, id) else {
                    return refuse(404, "Not Found");
                };
                self.to_deliver.push(order);
                Ok((202, json!({})))
            }
            _ => refuse(404, "Not Found"),
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        1_000 + self.last_id
    }

    fn install(&mut self, owner: String, again: bool) {
        if again || !self.installations.contains_key(&owner) {
            let id = self.fresh_id();
            if let Some(old) = self.installations.insert(owner, id) {
                self.tokens.retain(|_, token| token.installation != old);
            }
        }
    }

    fn thread(&mut self, repo: &str, number: u64) -> Option<&mut Thread> {
        self.repos.get_mut(repo)?.threads.get_mut(&number)
    }

    fn comment(
        &mut self,
        url: &str,
        repo: &str,
        number: u64,
        author: &str,
        body: &str,
        at: DateTime<Utc>,
    ) -> Option<Comment> {
        let id = self.fresh_id();
        let repo = self.repos.get_mut(repo)?;
        let thread = repo.threads.get_mut(&number)?;
        let kind = if thread.head.is_some() { "pull" } else { "issues" };
        let comment = Comment {
            id,
            author: author.to_owned(),
            body: body.to_owned(),
            html_url: format!("{url}/{}/{kind}/{number}#issuecomment-{id}", repo.full_name),
            at,
            reactions: Vec::new(),
        };
        thread.comments.push(comment.clone());
        Some(comment)
    }

    fn spend(&mut self, now: DateTime<Utc>) -> Result<(), (u16, String)> {
        let (remaining, reset) = self
            .budget
            .filter(|(_, reset)| *reset > now)
            .unwrap_or((BUDGET, now + TimeDelta::hours(1)));
        self.budget = Some((remaining.saturating_sub(1), reset));
        if remaining == 0 {
            refuse(403, "API rate limit exceeded for installation")
        } else {
            Ok(())
        }
    }
}

fn found(value: Option<Value>) -> Said {
    value.map_or_else(|| refuse(404, "Not Found"), |value| Ok((200, value)))
}

fn only_app(caller: &Caller) -> Result<(), (u16, String)> {
    match caller {
        Caller::App => Ok(()),
        _ => refuse(401, "A JSON web token could not be decoded"),
    }
}

fn parse(body: &[u8]) -> Result<Value, (u16, String)> {
    serde_json::from_slice(body).or_else(|_| refuse(400, "Problems parsing JSON"))
}

fn react(reactions: &mut Vec<String>, body: &[u8]) -> Said {
    let given = parse(body)?;
    let content = given["content"]
        .as_str()
        .filter(|content| Reaction::from_text(content).is_some());
    let Some(content) = content else {
        return refuse(422, "Validation Failed: content is not a reaction");
    };
    let fresh = !reactions.iter().any(|known| known == content);
    if fresh {
        reactions.push(content.to_owned());
    }
    Ok((if fresh { 201 } else { 200 }, json!({ "content": content })))
}

fn shown(comment: &Comment) -> Value {
    json!({ "id": comment.id, "body": comment.body, "html_url": comment.html_url, "user": { "login": comment.author },
        "created_at": iso(comment.at), "updated_at": iso(comment.at) })
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Checks a JWT as GitHub does, with its words.
fn check_jwt(jwt: &str, now: DateTime<Utc>) -> Result<(), &'static str> {
    const UNREADABLE: &str = "A JSON web token could not be decoded";
    let (signed, signature) = jwt.rsplit_once('.').ok_or(UNREADABLE)?;
    let (head, claims) = signed.split_once('.').ok_or(UNREADABLE)?;
    let part = |text: &str| -> Result<Value, &'static str> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UNREADABLE)?;
        serde_json::from_slice(&bytes).map_err(|_| UNREADABLE)
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| UNREADABLE)?;
    let der = STANDARD.decode(KEY.replace('\n', "")).map_err(|_| UNREADABLE)?;
    let key = RsaKeyPair::from_der(&der).map_err(|_| UNREADABLE)?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref());
    if part(head)?["alg"] != "RS256" || public.verify(signed.as_bytes(), &signature).is_err() {
        return Err(UNREADABLE);
    }
    let claims = part(claims)?;
    let (issued, expires) = (
        claims["iat"].as_i64().ok_or(UNREADABLE)?,
        claims["exp"].as_i64().ok_or(UNREADABLE)?,
    );
    let now = now.timestamp();
    if issued > now {
        return Err("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
    }
    if expires <= now {
        return Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    }
    if expires > now + 600 {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    let issuer = claims["iss"]
        .as_str()
        .map_or_else(|| claims["iss"].to_string(), str::to_owned);
    if issuer == APP_ID {
        Ok(())
    } else {
        Err("Integration not found")
    }
}
