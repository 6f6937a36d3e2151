//! The listener and its workers, brought by the GitHub connector. Hangs doors; holds no route and no rule.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Actor, Addr, Recipient};
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpServer};
use actors::changes::Board;
use actors::clock::SharedClock;
use actors::connectors::{Connector, Lines, SinkMaker};
use actors::github::{GithubConnector, GithubRules};
use actors::messages::dispatch::{DispatchWorkflow, RetryRun};
use actors::messages::github::{Deliver, ExplainRefusal};
use actors::messages::library::ReadWorkflows;
use actors::messages::outbound::EffectsQueued;
use actors::messages::runs::{CancelRun, StartRun};
use actors::messages::store::{
    ClaimKey, CountStore, Decide, EffectsOf, KeepAnswer, KeepToken, ListApprovals, ListAudit, ListEvents, ListFirings,
    ListRuns, ListTokens, LoadRun, NoteTokenUse, ReadApproval, ReadEvent, ReadFiring, RecordAudit, Redeliver,
    RevokeToken, SwitchWorkflow, SwitchedOff, WebhookStats,
};
use actors::store::StoreDoor;
use actors::system::{CronOrders, FrontDoors};
use anyhow::Context as _;
use futures_util::future::LocalBoxFuture;
use tokio_util::sync::CancellationToken;

use super::admin::config::Looks;
use super::admin::{Desk, Station};
use super::auth::{Abroad, Admin, Home, SignIn};
use super::body::BodyBudget;
use super::idempotency::AtWork;
use super::knocks::Knocks;
use super::proxies::{TrustedProxies, came_by_tls};
use super::{doorway, github, mcp, problem, routes};
use crate::doors;
use crate::mcp::McpServer;
use crate::tools::{Scope, ToolDoors, WorkTools};

/// Seconds that requests in flight have to finish when the server stops.
const DRAIN_SECONDS: u64 = 20;

/// How long a client may take to send its request head.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What all workers share.
pub struct HttpShared {
    /// Whether webhook secrets are configured.
    pub signed: bool,
    /// What bodies in flight share.
    pub body_budget: BodyBudget,
    /// Password, tokens and the throttle of logins.
    pub admin: Admin,
    /// Which workflow `POST /api/build` starts.
    pub build_workflow: String,
    /// Reverse proxies whose forwarded headers are believed.
    pub trusted: TrustedProxies,
    /// Where phase logs are: `<runs_dir>/<run id>/<phase>.log`.
    pub runs_dir: PathBuf,
    /// How people and services reach this server from outside.
    pub public_url: Option<url::Url>,
    /// How one may sign in besides the password.
    pub sign_in: SignIn,
    /// Whether `/metrics` needs no token.
    pub metrics_public: bool,
    /// What changes, for those who listen.
    pub changes: Board,
    /// The settings for eyes: `{default, overlay, merged, provenance}`, without secrets.
    pub config: serde_json::Value,
    /// How the lines of connectors to their platforms stand.
    pub lines: Lines,
    /// What actors had done when somebody looked.
    pub(crate) looks: Looks,
    /// Words that are waited for at `/health`.
    pub(crate) knocks: Knocks,
    /// When it was last looked why a signature does not fit.
    pub(crate) explanations: github::Seldom,
    /// The time.
    pub clock: SharedClock,
    /// Idempotency keys whose requests are being acted on.
    pub(crate) at_work: AtWork,
    ready: AtomicBool,
    address: OnceLock<SocketAddr>,
}

impl HttpShared {
    /// Not ready yet.
    #[must_use]
    pub fn new(
        signed: bool,
        body_budget: BodyBudget,
        admin: Admin,
        build_workflow: String,
        trusted: TrustedProxies,
        runs_dir: PathBuf,
        clock: SharedClock,
    ) -> Self {
        Self {
            signed,
            body_budget,
            admin,
            build_workflow,
            trusted,
            runs_dir,
            public_url: None,
            sign_in: SignIn {
                github: None,
                slack: None,
                scope: Scope::Read,
            },
            metrics_public: false,
            changes: Board::default(),
            config: serde_json::Value::Null,
            lines: Lines::default(),
            looks: Looks::new(clock.now()),
            knocks: Knocks::default(),
            explanations: github::Seldom::default(),
            clock,
            at_work: AtWork::default(),
            ready: AtomicBool::new(false),
            address: OnceLock::new(),
        }
    }

    /// Says whether `/ready` may answer 200.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Where the server listens, once it is open.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// Where browsers meet us, by this request if no public URL says so.
    pub(crate) fn home(&self, request: &HttpRequest) -> Home<'_> {
        match &self.public_url {
            Some(url) => Home::at(url),
            None => Home::unnamed(came_by_tls(request, &self.trusted)),
        }
    }

    /// The path in front of all of ours, as browsers have it: empty at the root of a host. Never ends with a slash.
    pub(crate) fn base(&self) -> &str {
        self.public_url
            .as_ref()
            .map_or("", |url| url.path().trim_end_matches('/'))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// What the routes of one worker may say.
pub struct HttpDoors {
    pub(crate) deliver: Recipient<Deliver>,
    pub(crate) explain: Recipient<ExplainRefusal>,
    pub(crate) dispatch: Recipient<DispatchWorkflow>,
    pub(crate) retry: Recipient<RetryRun>,
    pub(crate) cancel: Recipient<CancelRun>,
    pub(crate) start_run: Recipient<StartRun>,
    pub(crate) tools: ToolDoors,
    pub(crate) queued: Recipient<EffectsQueued>,
    pub(crate) webhook_stats: Recipient<WebhookStats>,
    pub(crate) redeliver: Recipient<Redeliver>,
    pub(crate) workflows: Recipient<ReadWorkflows>,
    pub(crate) crons: CronOrders,
    pub(crate) list_firings: Recipient<ListFirings>,
    pub(crate) read_firing: Recipient<ReadFiring>,
    pub(crate) switched_off: Recipient<SwitchedOff>,
    pub(crate) switch_workflow: Recipient<SwitchWorkflow>,
    pub(crate) count: Recipient<CountStore>,
    pub(crate) list_events: Recipient<ListEvents>,
    pub(crate) read_event: Recipient<ReadEvent>,
    pub(crate) list_runs: Recipient<ListRuns>,
    pub(crate) load_run: Recipient<LoadRun>,
    pub(crate) effects_of: Recipient<EffectsOf>,
    pub(crate) list_approvals: Recipient<ListApprovals>,
    pub(crate) read_approval: Recipient<ReadApproval>,
    pub(crate) decide: Recipient<Decide>,
    pub(crate) claim_key: Recipient<ClaimKey>,
    pub(crate) keep_answer: Recipient<KeepAnswer>,
    pub(crate) audit: Recipient<RecordAudit>,
    /// What operators do besides.
    pub(crate) desk: Desk,
    /// Over when the server stops: streams end then.
    pub(crate) streams: CancellationToken,
    pub(crate) abroad: Abroad,
    pub(crate) list_audit: Recipient<ListAudit>,
    pub(crate) keep_token: Recipient<KeepToken>,
    pub(crate) list_tokens: Recipient<ListTokens>,
    pub(crate) revoke_token: Recipient<RevokeToken>,
    pub(crate) token_used: Recipient<NoteTokenUse>,
}

/// The one HTTP server. As the connector "github" it takes webhooks in; API and dashboard are its guests.
pub struct HttpDoor {
    name: &'static str,
    listen: SocketAddr,
    workers: usize,
    rules: Arc<GithubRules>,
    shared: Arc<HttpShared>,
    store: Arc<dyn Fn() -> Addr<StoreDoor> + Send + Sync>,
    front: FrontDoors,
    /// Ends the streams on which clients listen for as long as they are let.
    streams: CancellationToken,
    running: Option<ServerHandle>,
}

impl HttpDoor {
    /// A server that is not open yet. `store` opens a door to the store in the thread that calls it.
    #[must_use]
    pub fn new(
        name: &'static str,
        listen: SocketAddr,
        workers: usize,
        rules: Arc<GithubRules>,
        shared: Arc<HttpShared>,
        store: Arc<dyn Fn() -> Addr<StoreDoor> + Send + Sync>,
        front: FrontDoors,
    ) -> Self {
        Self {
            name,
            listen,
            workers,
            rules,
            shared,
            store,
            front,
            streams: CancellationToken::new(),
            running: None,
        }
    }

    fn open(&mut self, sink: SinkMaker) -> anyhow::Result<SocketAddr> {
        let (rules, shared, store) = (
            Arc::clone(&self.rules),
            Arc::clone(&self.shared),
            Arc::clone(&self.store),
        );
        let front = self.front.clone();
        // Once for all workers, in this thread: its doors are doors of this thread.
        let tools = tools_of(&front, &store(), &shared.clock);
        let mcp = mcp::service(
            McpServer::over_http(tools),
            self.listen,
            shared.public_url.as_ref(),
            self.streams.clone(),
        );
        let shared = Data::from(shared);
        let streams = self.streams.clone();
        let server = HttpServer::new(move || {
            // Once per worker, in its thread: connector and store door live beside the sockets.
            let clock = shared.clock.clone();
            let connector = GithubConnector::new(Arc::clone(&rules), sink.sink_here(), clock.clone()).start();
            let store = store();
            let doors = HttpDoors {
                deliver: connector.clone().recipient(),
                explain: connector.clone().recipient(),
                dispatch: front.dispatch.clone(),
                retry: front.retry.clone(),
                cancel: front.cancel.clone(),
                start_run: front.start_run.clone(),
                tools: tools_of(&front, &store, &clock),
                queued: front.deliveries.queued.clone(),
                webhook_stats: store.clone().recipient(),
                redeliver: store.clone().recipient(),
                workflows: front.workflows.clone(),
                crons: front.crons.clone(),
                list_firings: store.clone().recipient(),
                read_firing: store.clone().recipient(),
                switched_off: store.clone().recipient(),
                switch_workflow: store.clone().recipient(),
                count: store.clone().recipient(),
                list_events: store.clone().recipient(),
                read_event: store.clone().recipient(),
                list_runs: store.clone().recipient(),
                load_run: store.clone().recipient(),
                effects_of: store.clone().recipient(),
                list_approvals: store.clone().recipient(),
                read_approval: store.clone().recipient(),
                decide: store.clone().recipient(),
                claim_key: store.clone().recipient(),
                keep_answer: store.clone().recipient(),
                abroad: Abroad::new(),
                list_audit: store.clone().recipient(),
                keep_token: store.clone().recipient(),
                list_tokens: store.clone().recipient(),
                revoke_token: store.clone().recipient(),
                token_used: store.clone().recipient(),
                desk: desk_of(&front, &store, &connector),
                audit: store.recipient(),
                streams: streams.clone(),
            };
            App::new()
                .app_data(shared.clone())
                .app_data(Data::new(doors))
                .app_data(Data::new(github::Intake::new()))
                .configure(|config| routes::all(config, mcp.clone()))
                .wrap(from_fn(problem::in_our_words))
                .wrap(from_fn(doorway::pass))
        })
        .workers(self.workers)
        .client_request_timeout(HEAD_PATIENCE)
        .keep_alive(KEEP_ALIVE)
        // An answer that leaves in two pieces would otherwise wait 40 ms for somebody to acknowledge the first.
        .tcp_nodelay(true)
        .shutdown_timeout(DRAIN_SECONDS)
        .disable_signals()
        .bind(self.listen)
        .with_context(|| {
            format!(
                "cannot listen on {}; is another process there? (--listen, server.listen, WEBHOOK_PORT)",
                self.listen
            )
        })?;
        let address = server.addrs().first().copied().unwrap_or(self.listen);
        let server = server.run();
        self.running = Some(server.handle());
        let _ = self.shared.address.set(address);
        actix_rt::spawn(server);
        Ok(address)
    }
}

impl Connector for HttpDoor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(&mut self, sink: SinkMaker) -> LocalBoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move {
            let address = self.open(sink)?;
            tracing::info!(%address, "the HTTP server listens");
            Ok(())
        })
    }

    fn stop(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.set_ready(false);
            self.streams.cancel();
            if let Some(server) = self.running.take() {
                server.stop(true).await;
            }
        })
    }
}

/// The doors of the operators' desk, by way of this thread's doors to the store and to the connector.
fn desk_of(front: &FrontDoors, store: &Addr<StoreDoor>, connector: &Addr<GithubConnector>) -> Desk {
    Desk {
        try_delivery: connector.clone().recipient(),
        rehearse: front.rehearse.clone(),
        arrived: front.arrived.clone(),
        prompts: front.prompts.clone(),
        processes: front.processes.clone(),
        kill: front.kill.clone(),
        stations: front
            .stations
            .iter()
            .map(|station| Station {
                name: station.name,
                capacity: station.capacity,
                quiet: station.quiet.clone(),
                ping: station.ping.clone(),
            })
            .collect(),
        replay: store.clone().recipient(),
        executions: store.clone().recipient(),
        run_workflows: store.clone().recipient(),
        sessions: store.clone().recipient(),
        session: store.clone().recipient(),
        lines: store.clone().recipient(),
        hours: store.clone().recipient(),
        totals: store.clone().recipient(),
    }
}

/// The doors of the tools, by way of this thread's door to the store.
fn tools_of(front: &FrontDoors, store: &Addr<StoreDoor>, clock: &SharedClock) -> ToolDoors {
    let work = WorkTools {
        dispatch: front.dispatch.clone(),
        start_run: front.start_run.clone(),
        decide: store.clone().recipient(),
        crons: front.crons.list.clone(),
        fire: front.crons.fire.clone(),
    };
    doors::of(
        &front.state,
        &front.deliveries,
        &front.auto_commit,
        store,
        Some(work),
        clock,
    )
}
