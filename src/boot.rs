//! Settings → store → actors → doors, strictly in that order, and the reverse on exit. Listens to the exit bells; holds no rule.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use actors::changes::Board;
use actors::clock::SharedClock;
use actors::connectors::ConnectorRegistry;
use actors::cron::{self, CronConfig, CronDefinition};
use actors::dispatch::DispatcherRules;
use actors::domain::{Mistake, Secret};
use actors::github::{AppCredentials, Credentials, GithubClientConfig, GithubRules, SignatureKeys};
use actors::house::{Belfry, Bells};
use actors::library::LibraryRules;
use actors::messages::store::RevokedTokens;
use actors::messaging::AllowedUsers;
use actors::outbound::{Defaults, DeliveryConfig, GitConfig, Guard, Mail, MailServer, SystemResolver};
use actors::retention::{self, RetentionRules, SweeperDoors, Swept};
use actors::runs::{LifeEvents, RunsConfig, Runtime};
use actors::slack::{SlackConnector, SlackDoors, SlackSender, SlackWeb, SlackWebConfig};
use actors::state::StateConfig;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::store::{Store, StoreDoor};
use actors::system::{Integrations, StateAlone, System, SystemConfig};
use actors::workflows::{self, Catalog, SharedCatalog};
use anyhow::{Context, anyhow};
use url::Url;

use crate::doors;
use crate::http::{
    Admin, BodyBudget, Claims, ForwardedIn, HttpDoor, HttpShared, OAuthApp, SignIn, Tokens, TrustedProxies,
    collect_metrics,
};
use crate::secrets::{self, SecretsFolder};
use crate::settings::{self, ForwardedHeader, HttpUrl, Loaded, Network, OAuthScope, Settings, Word};
use crate::telemetry::{self, Telemetry};
use crate::tools::{Scope, ToolDoors};

/// Why the house did not open.
#[derive(Debug)]
pub enum BootError {
    /// What a person wrote is wrong: every mistake. Exit status 78.
    Configuration(Vec<Mistake>),
    /// Something else failed. Exit status 1.
    Runtime(anyhow::Error),
}

impl From<anyhow::Error> for BootError {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

/// The open house.
pub struct Running {
    system: System,
    registry: ConnectorRegistry,
    shared: Arc<HttpShared>,
    store: Arc<SqliteStore>,
    telemetry: Option<Telemetry>,
    belfry: Belfry,
    _only_one: File,
}

/// Why a running house was asked to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// A signal, by name.
    Signal(&'static str),
    /// An actor is gone, by name; the process must not go on without it.
    Bell(&'static str),
}

/// The workflows as shipped and overlaid, checked against the settings; and with them the schedules.
///
/// # Errors
/// Every mistake of every workflow file, of every schedule, and of every setting that names a workflow.
pub fn load_workflows(loaded: &Loaded) -> Result<(Catalog, Vec<CronDefinition>), Vec<Mistake>> {
    let rules = library_rules(loaded);
    let overlay = rules.overlay.as_deref();
    let setup = workflows::Setup {
        routes: &rules.routes,
        runtimes: &rules.runtimes,
    };
    let (catalog, crons) = match (workflows::load_for(overlay, &setup), cron::load(overlay)) {
        (Ok(catalog), Ok(crons)) => (catalog, crons),
        // What a schedule names may well be in a file with mistakes, so nothing is said of that yet.
        (catalog, crons) => {
            let mut mistakes = catalog.err().unwrap_or_default();
            mistakes.extend(crons.err().unwrap_or_default());
            mistakes.sort();
            mistakes.dedup();
            return Err(mistakes);
        }
    };
    let names: Vec<_> = catalog.names().map(|name| name.as_str()).collect();
    let exists = |name: &str| names.contains(&name);
    let mistakes = cron::check(&crons, &exists, &names, loaded.settings.managed_repos.rule());
    if mistakes.is_empty() {
        Ok((catalog, crons))
    } else {
        Err(mistakes)
    }
}

/// What workflows must fit, at boot and whenever a file changes.
fn library_rules(loaded: &Loaded) -> LibraryRules {
    let settings = &loaded.settings;
    let github = settings
        .routes
        .github
        .named()
        .map(|(key, workflow)| (format!("routes.github.{key}"), workflow));
    let slack = settings
        .routes
        .slack
        .named()
        .map(|(key, workflow)| (format!("routes.slack.{key}"), workflow));
    let routes = github.chain(slack).map(|(key, workflow)| {
        let place = loaded.mistake(&key, "");
        workflows::Route {
            key,
            workflow: workflow.to_string(),
            file: place.file,
            line: place.line,
            column: place.column,
        }
    });
    LibraryRules {
        overlay: settings.workflows.overlay.clone(),
        routes: routes.collect(),
        runtimes: settings.runtimes.keys().cloned().collect(),
        changes: Board::default(),
    }
}

/// Opens the house. Complete when every door is open.
///
/// # Errors
/// Configuration mistakes, all together; or the first thing that failed, with what to do about it.
pub async fn open(loaded: &Loaded, clock: SharedClock) -> Result<Running, BootError> {
    let settings = &loaded.settings;
    let (catalog, crons) = load_workflows(loaded).map_err(BootError::Configuration)?;
    let catalog = SharedCatalog::new(catalog);
    let managed = settings.managed_repos.rule();
    warn_about(settings);

    let state_dir = &settings.state_dir;
    make_state_dir(state_dir)?;
    let only_one = lock(state_dir)?;
    let secrets = SecretsFolder::open(state_dir)?;
    let password = secrets.obtain("admin_password", settings.admin.password.as_ref())?;
    let admin_secret = secrets.obtain("admin_secret", settings.admin.secret.as_ref())?;

    let boot = boot_id(&clock);
    let changes = Board::of(boot.clone());
    let options = SqliteOptions {
        changes: changes.clone(),
        ..SqliteOptions::at(state_dir.join("firstlight.db"))
    };
    let store = SqliteStore::open(options, clock.clone()).map_err(|error| anyhow!(error))?;
    let store = Arc::new(store);

    // What it brings is chosen once per process; a second choice, in a test, is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    actix_rt::spawn(collect_metrics(clock.clone()));
    let (bells, belfry) = Bells::hang();
    let slack = slack_web(settings, &clock)?;
    let config = SystemConfig {
        dispatcher: DispatcherRules {
            public_url: settings.server.public_url.as_ref().map(ToString::to_string),
            routes: settings.routes.clone(),
            managed: managed.clone(),
            catalog: catalog.clone(),
            bot_name: settings.github.bot_name.to_string(),
        },
        library: LibraryRules {
            changes: changes.clone(),
            ..library_rules(loaded)
        },
        runs: runs_config(settings),
        crons: CronConfig {
            overlay: settings.workflows.overlay.clone(),
            webhooks: settings.github.enabled,
            delivery_channel: settings.slack.delivery_channel.as_ref().map(ToString::to_string),
            ..CronConfig::new(crons, managed.clone(), catalog)
        },
        retention: retention_rules(settings),
        github: github_client(settings)?,
        state: StateConfig {
            changes: changes.clone(),
            ..StateConfig::of(state_dir)
        },
        deliveries: deliveries(settings, secrets.obtain("outbox_key", None)?)?,
        git: git(settings),
        slack: slack.clone().map(|web| {
            let sender = SlackSender::new(web, clock.clone(), bells.bell("slack sender"));
            sender.start().recipient()
        }),
    };
    let (watched, telemetry) = telemetry::start(&settings.telemetry, store.clone(), &clock, boot)?;
    let system = System::start(watched, config, &clock, &bells).await?;

    let revoked = store
        .revoked_tokens(RevokedTokens { at: clock.now() })
        .await
        .context("cannot read which tokens were revoked")?;
    let mut shared = HttpShared::new(
        !settings.github.webhook_secret.is_empty(),
        BodyBudget::new(usize::try_from(settings.server.body_budget.bytes()).unwrap_or(usize::MAX)),
        Admin::new(password, Tokens::new(&admin_secret)).without(revoked),
        settings
            .routes
            .github
            .comment_build
            .as_ref()
            .map_or("build", |workflow| workflow.as_str())
            .to_owned(),
        trusted_proxies(settings),
        state_dir.join("runs"),
        clock.clone(),
    );
    shared.metrics_public = settings.metrics.public;
    shared.changes = changes;
    shared.sign_in = sign_in(settings);
    shared.config = loaded.layers();
    shared.public_url = settings.server.public_url.as_ref().map(|url| url.url().clone());
    let shared = Arc::new(shared);
    let mut registry = ConnectorRegistry::default();
    if settings.serves_http() {
        registry.register(Box::new(http_door(settings, &system, &shared)))?;
    } else {
        tracing::info!("no HTTP listener: github.enabled is false (server.always: true opens it anyway)");
    }
    match slack {
        Some(web) => registry.register(Box::new(
            slack_connector(settings, web, &system, clock, bells).shown_on(shared.lines.clone()),
        ))?,
        None => tracing::info!("Slack is off: SLACK_BOT_TOKEN and SLACK_APP_TOKEN are not set"),
    }
    registry.start_all(&system.sink()).await?;
    shared.set_ready(true);
    Ok(Running {
        system,
        registry,
        shared,
        store,
        telemetry,
        belfry,
        _only_one: only_one,
    })
}

/// The state of the integrations alone, for a process beside the service.
pub(crate) struct StateBeside {
    /// Its tools; those that need more say so.
    pub(crate) tools: ToolDoors,
    alone: StateAlone,
    _belfry: Belfry,
}

/// Opens the state of the integrations without taking the state folder.
pub(crate) fn state_alone(config: StateConfig, clock: &SharedClock) -> anyhow::Result<StateBeside> {
    let (bells, belfry) = Bells::hang();
    let alone = StateAlone::start(config, clock, &bells)?;
    let tools = ToolDoors {
        state: doors::of_state(&alone.doors()),
        house: None,
        clock: clock.clone(),
    };
    Ok(StateBeside {
        tools,
        alone,
        _belfry: belfry,
    })
}

impl StateBeside {
    /// Completes when what it was told is done.
    pub(crate) async fn finish(&self) {
        self.alone.finish().await;
    }
}

/// Takes the state folder for one piece of work with the integrations, and gives it back. [`Taken`], if another process has it.
pub(crate) async fn with_integrations<T>(
    loaded: &Loaded,
    clock: &SharedClock,
    work: impl AsyncFnOnce(ToolDoors) -> T,
) -> anyhow::Result<T> {
    let settings = &loaded.settings;
    make_state_dir(&settings.state_dir)?;
    // Not waited for: beside a running service, which keeps it, every call comes this way.
    let _only_one = take(&settings.state_dir)?;
    let secrets = SecretsFolder::open(&settings.state_dir)?;
    let options = SqliteOptions::at(settings.state_dir.join("firstlight.db"));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options, clock.clone()).map_err(|error| anyhow!(error))?);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (bells, _belfry) = Bells::hang();
    let integrations = Integrations::start(
        &store,
        StateConfig::of(&settings.state_dir),
        deliveries(settings, secrets.obtain("outbox_key", None)?)?,
        git(settings),
        clock,
        &bells,
    )?;
    let (state, out, auto_commit, door) = integrations.doors();
    let tools = doors::of(&state, &out, &auto_commit, &door, None, clock);
    let done = work(tools).await;
    integrations.finish().await;
    store.close().await.context("the store did not close in order")?;
    Ok(done)
}

/// Takes the state folder, which is given back with the file, and sweeps it once. [`Taken`], if another process has it.
pub(crate) async fn sweep(loaded: &Loaded, clock: &SharedClock) -> anyhow::Result<(Swept, File)> {
    let settings = &loaded.settings;
    make_state_dir(&settings.state_dir)?;
    let only_one = take(&settings.state_dir)?;
    let options = SqliteOptions::at(settings.state_dir.join("firstlight.db"));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options, clock.clone()).map_err(|error| anyhow!(error))?);
    let door = StoreDoor::new(Arc::clone(&store)).start();
    let doors = SweeperDoors {
        prune: door.clone().recipient(),
        give_back: door.clone().recipient(),
        list: door.recipient(),
    };
    let swept = retention::sweep(&retention_rules(settings), &doors, clock).await?;
    store.close().await.context("the store did not close in order")?;
    Ok((swept, only_one))
}

fn git(settings: &Settings) -> GitConfig {
    GitConfig {
        repository: settings.git_auto_commit.repository.clone(),
        paths: settings.git_auto_commit.paths.clone(),
    }
}

impl Running {
    /// Where the HTTP server listens, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.address()
    }

    /// Completes when nothing is at work and nothing that could be done waits.
    pub async fn settle(&self) {
        self.system.settle().await;
    }

    /// Waits for SIGINT, SIGTERM or an exit bell.
    ///
    /// # Errors
    /// When the process cannot listen for signals.
    pub async fn until_called(&mut self) -> anyhow::Result<Called> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        Ok(tokio::select! {
            _ = interrupt.recv() => Called::Signal("SIGINT"),
            _ = terminate.recv() => Called::Signal("SIGTERM"),
            actor = self.belfry.hear() => Called::Bell(actor),
        })
    }

    /// Closes the house: nothing more comes in, what is in hand is done or put down, the store is flushed.
    pub async fn stop(mut self) {
        self.registry.stop_all().await;
        self.system.finish().await;
        if let Some(telemetry) = self.telemetry {
            telemetry.finish().await;
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store did not close in order; what it answered is on disk all the same");
        }
    }
}

fn warn_about(settings: &Settings) {
    if settings.serves_http() && settings.webhooks_unsigned() {
        tracing::warn!("webhook signatures are not verified: set WEBHOOK_SECRET (github.webhook_secret)");
    }
    if settings.managed_repos.rule().is_empty() {
        tracing::warn!("no repository is managed, so every delivery is filtered: set MANAGED_REPOS (managed_repos)");
    }
    if settings.slack.bot_token.is_some() && settings.slack.allowed_users.is_empty() {
        tracing::warn!(
            "everybody in the Slack workspace may give orders: set SLACK_ALLOWED_USERS (slack.allowed_users)"
        );
    }
}

/// Names this start of the service, so that places on the board of changes of another one are told apart.
fn boot_id(clock: &SharedClock) -> String {
    // The end of the id is chance; its beginning is the time, which a test may hold still.
    let id = clock.fresh_id().simple().to_string();
    id[id.len() - 12..].to_owned()
}

/// Makes the state folder where it is not there.
pub(crate) fn make_state_dir(state_dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(state_dir).with_context(|| format!("cannot make the state folder {}", state_dir.display()))
}

/// Another process has the state folder.
#[derive(Debug, thiserror::Error)]
#[error(
    "another firstlight (process {pid}) serves the state folder {folder}; stop it, or choose another with --state-dir"
)]
pub(crate) struct Taken {
    pid: String,
    folder: String,
}

/// Two services on one state folder would start each run twice. Held as long as the file is.
pub(crate) fn lock(state_dir: &Path) -> anyhow::Result<File> {
    // A process that was killed may leave a child behind that has not begun its program yet; it lets go in a moment.
    for _ in 0..20 {
        match take(state_dir) {
            Err(error) if error.is::<Taken>() => std::thread::park_timeout(Duration::from_millis(50)),
            taken => return taken,
        }
    }
    take(state_dir)
}

/// The process that serves this state folder, if one does. Takes nothing and makes nothing.
pub(crate) fn holder(state_dir: &Path) -> Option<String> {
    let mut file = File::open(state_dir.join("firstlight.lock")).ok()?;
    // Shared, and given back at once: whoever starts in this moment tries again.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok()?;
            Some(pid)
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// A token that may look at the service of this state folder for a minute, made with the key that the service signs with:
/// for whoever may read that key anyway. Nothing where there is none, or it may not be read.
pub(crate) fn token_to_look(settings: &Settings, clock: &SharedClock) -> Option<Secret> {
    let key = match &settings.admin.secret {
        Some(secret) if !secret.is_empty() => secret.clone(),
        _ => secrets::kept(&settings.state_dir, "admin_secret")?,
    };
    let claims = Claims {
        exp: clock.now().timestamp() + 60,
        id: String::new(),
        who: "doctor".to_owned(),
        method: "key".to_owned(),
        label: None,
        scope: Scope::Read,
    };
    Some(Secret::new(Tokens::new(&key).sign(&claims)))
}

/// The same without patience.
fn take(state_dir: &Path) -> anyhow::Result<File> {
    let path = state_dir.join("firstlight.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let folder = state_dir.display().to_string();
            Err(Taken { pid, folder }.into())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// How one may sign in besides the password: whatever has both halves of its account and says who is let in.
fn sign_in(settings: &Settings) -> SignIn {
    let admin = &settings.admin;
    let (github, slack) = (&settings.github.api_url, &settings.slack.api_url);
    let app = |provider,
               (id, secret),
               redirect: &Option<HttpUrl>,
               allowed: &Option<Word>,
               (web_url, api): (Url, &HttpUrl)| {
        let back = || {
            let home = settings.server.public_url.as_ref()?.url();
            let base = home.path().trim_end_matches('/');
            home.join(&format!("{base}/admin/api/oauth/{provider}/callback")).ok()
        };
        let (id, secret): (&Option<String>, &Option<Secret>) = (id, secret);
        Some(OAuthApp {
            client_id: id.clone()?,
            client_secret: secret.clone()?,
            redirect_uri: redirect.as_ref().map(|url| url.url().clone()).or_else(back)?,
            allowed: allowed.as_ref()?.to_string(),
            web_url,
            api_url: api.url().clone(),
        })
    };
    // An Enterprise server has its API at /api/v3, Slack at /api.
    let pages = |set: &Option<HttpUrl>, api: &HttpUrl, suffix| match set {
        Some(url) => url.url().clone(),
        None => pages_of(api.url(), suffix),
    };
    let sign_in = SignIn {
        github: app(
            "github",
            (&admin.github_oauth_client_id, &admin.github_oauth_client_secret),
            &admin.github_oauth_redirect_uri,
            &admin.github_allowed_org,
            (pages(&admin.github_oauth_web_url, github, "/api/v3"), github),
        ),
        slack: app(
            "slack",
            (&admin.slack_oauth_client_id, &admin.slack_oauth_client_secret),
            &admin.slack_oauth_redirect_uri,
            &admin.slack_allowed_workspace,
            (pages(&admin.slack_oauth_web_url, slack, "/api"), slack),
        ),
        scope: match admin.oauth_scope {
            OAuthScope::Read => Scope::Read,
            OAuthScope::Operate => Scope::Operate,
            OAuthScope::Admin => Scope::Admin,
        },
    };
    if sign_in.github.as_ref().is_some_and(|app| app.allowed == "*") {
        tracing::warn!(
            "everybody on GitHub may sign in: set GITHUB_ALLOWED_ORG (admin.github_allowed_org) to an organisation"
        );
    }
    sign_in
}

/// Where the pages are that belong to an API.
fn pages_of(api: &Url, suffix: &str) -> Url {
    let mut url = api.clone();
    if url.host_str() == Some("api.github.com") {
        // A plain name is always taken.
        let _ = url.set_host(Some("github.com"));
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix(suffix).unwrap_or(path).to_owned();
    url.set_path(&path);
    url
}

fn http_door(settings: &Settings, system: &System, shared: &Arc<HttpShared>) -> HttpDoor {
    let rules = GithubRules {
        keys: SignatureKeys::new(&settings.github.webhook_secret),
        bot_login: settings.github.bot_login.to_string(),
        managed: settings.managed_repos.rule().clone(),
    };
    let workers = settings
        .server
        .workers
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(2, usize::from);
    HttpDoor::new(
        if settings.github.enabled { "github" } else { "http" },
        settings.server.listen.address(),
        workers,
        Arc::new(rules),
        Arc::clone(shared),
        Arc::new(system.store_door()),
        system.front(),
    )
}

/// The Web API, where both tokens are set; one without the other is a mistake of the settings.
pub(crate) fn slack_web(settings: &Settings, clock: &SharedClock) -> anyhow::Result<Option<SlackWeb>> {
    let (Some(bot_token), Some(app_token)) = (&settings.slack.bot_token, &settings.slack.app_token) else {
        return Ok(None);
    };
    let config = SlackWebConfig {
        api_url: settings.slack.api_url.to_string(),
        bot_token: bot_token.clone(),
        app_token: app_token.clone(),
    };
    SlackWeb::new(&config, clock.clone()).map(Some)
}

fn slack_connector(
    settings: &Settings,
    web: SlackWeb,
    system: &System,
    clock: SharedClock,
    bells: Bells,
) -> SlackConnector {
    let allowed = AllowedUsers::new(settings.slack.allowed_users.iter().map(ToString::to_string));
    let door = system.store_door()();
    let doors = SlackDoors {
        record: door.clone().recipient(),
        sessions: door.clone().recipient(),
        latest: door.recipient(),
    };
    SlackConnector::new(web, allowed, doors, clock, bells)
}

fn trusted_proxies(settings: &Settings) -> TrustedProxies {
    let networks = settings.server.trusted_proxies.clone();
    let known = move |address| networks.iter().any(|network: &Network| network.contains(address));
    let written_in = match settings.server.forwarded_header {
        ForwardedHeader::XForwardedFor => ForwardedIn::XForwarded,
        ForwardedHeader::Forwarded => ForwardedIn::Standard,
    };
    TrustedProxies::new(known, written_in)
}

fn deliveries(settings: &Settings, seal: Secret) -> anyhow::Result<DeliveryConfig> {
    let (mut hosts, mut networks) = (Vec::new(), Vec::new());
    for reachable in &settings.outbound.allow {
        match reachable {
            settings::Reachable::Host(host) => hosts.push(host.clone()),
            settings::Reachable::Network(network) => networks.push(*network),
        }
    }
    let guard = Guard::new(hosts, move |address| {
        networks.iter().any(|network| network.contains(address))
    });
    let mut config = DeliveryConfig::new(guard, Arc::new(SystemResolver), seal);
    let told = &settings.notifications;
    config.defaults = Defaults {
        slack: told.slack_url.clone(),
        discord: told.discord_url.clone(),
        webhook: told.webhook_url.clone(),
    };
    config.mail = match (&settings.smtp_url, &told.email_from) {
        (Some(url), Some(from)) if !told.email_to.is_empty() => {
            let server = MailServer::parse(url).map_err(|problem| anyhow!("smtp_url {problem}"))?;
            Some(Mail::new(server, from, &told.email_to).map_err(|problem| anyhow!("notifications: {problem}"))?)
        }
        (Some(_), _) => {
            tracing::warn!(
                "smtp_url is set, but no mail is sent: set notifications.email_from and notifications.email_to"
            );
            None
        }
        (None, _) => None,
    };
    Ok(config)
}

fn runs_config(settings: &Settings) -> RunsConfig {
    let mut config = RunsConfig::new(settings.state_dir.join("runs"), settings.state_dir.join("work"));
    let events = &settings.integrations.events;
    config.events = LifeEvents {
        started: events.run_started,
        succeeded: events.run_succeeded,
        failed: events.run_failed,
    };
    config.max_runs = settings.concurrency.max_runs.get();
    config.phases_at_once = settings.concurrency.max_phases.get();
    // A work folder outlives its run in no case.
    config.keep_work = [settings.runs.keep_work, settings.retention.runs]
        .into_iter()
        .flatten()
        .map(settings::Period::duration)
        .min();
    config.bot_name = settings.github.bot_name.to_string();
    config.delivery_channel = settings.slack.delivery_channel.as_ref().map(ToString::to_string);
    config.gates = settings.approvals.gates.iter().map(ToString::to_string).collect();
    config.phase_timeout = settings.runs.phase_timeout.duration();
    config.run_deadline = settings.runs.deadline.duration();
    config.log_cap = settings.runs.log_limit.bytes();
    config.kept_output = settings.runs.output_limit.as_usize();
    config.plain_token = settings.github.token_for_phases;
    let otlp = &settings.telemetry.otlp;
    config.traces = otlp.endpoint.as_ref().map(|_| otlp.sample_ratio.of_traces());
    let runtime = |runtime: &settings::Runtime| Runtime {
        command: runtime.command.clone(),
        env: runtime.env.iter().map(ToString::to_string).collect(),
        timeout: runtime.timeout.map(settings::Period::duration),
        output_limit: runtime.output_limit.map(settings::Size::as_usize),
        memory_limit: runtime.memory_limit.map(settings::Size::bytes),
        wrapper: runtime.wrapper.clone(),
        prompt: runtime.prompt,
        output: runtime.output,
    };
    config.runtimes = settings
        .runtimes
        .iter()
        .map(|(name, one)| (name.clone(), runtime(one)))
        .collect();
    config
}

/// How long things are kept, by the settings.
pub(crate) fn retention_rules(settings: &Settings) -> RetentionRules {
    let kept = &settings.retention;
    RetentionRules {
        events: kept.events.map(settings::Period::duration),
        payloads: kept.payloads.map(settings::Period::duration),
        runs: kept.runs.map(settings::Period::duration),
        deliveries: kept.deliveries.map(settings::Period::duration),
        logs: kept.logs.map(settings::Period::duration),
        max_size: kept.max_size.map(settings::Size::bytes),
        runs_dir: settings.state_dir.join("runs"),
    }
}

/// Where GitHub is, and as whom we speak with it.
pub(crate) fn github_client(settings: &Settings) -> anyhow::Result<GithubClientConfig> {
    let github = &settings.github;
    let credentials = match (&github.app_id, &github.app_private_key_path, &github.token) {
        (Some(app_id), Some(path), _) => {
            let pem = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read github.app_private_key_path {}", path.display()))?;
            Credentials::App(AppCredentials::new(
                app_id,
                &Secret::new(pem),
                github.app_installation_id,
            )?)
        }
        (_, _, Some(token)) => Credentials::Token(token.clone()),
        _ => Credentials::None,
    };
    Ok(GithubClientConfig::new(github.api_url.url().clone(), credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_a_provider_are_where_its_api_says() {
        let table = [
            ("https://api.github.com", "/api/v3", "https://github.com/"),
            ("https://git.example.com/api/v3", "/api/v3", "https://git.example.com/"),
            ("https://example.com/git/api/v3", "/api/v3", "https://example.com/git"),
            ("https://slack.com/api", "/api", "https://slack.com/"),
            ("http://127.0.0.1:9", "/api/v3", "http://127.0.0.1:9/"),
        ];
        for (api, suffix, pages) in table {
            let api: Url = api.parse().expect("a URL");
            assert_eq!(pages_of(&api, suffix).as_str(), pages);
        }
    }
}
