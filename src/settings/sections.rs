//! One struct per section of the settings. Says what there is; knows neither files nor environment, and decides nothing.
//!
//! What a key is for, and its unit, is written in `config/default.yaml`; a test holds the two together. No field has a
//! default here: that file alone says what the defaults are.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use actors::dispatch::Routes;
use actors::domain::{IntegrationEvent, OutputBy, PromptBy, Secret};
use serde::{Deserialize, Serialize};

use super::units::{HttpUrl, Listen, Network, Period, Ratio, Reachable, RepoPatterns, Size, VariableName, Word};

/// All settings, checked. Paths are absolute. Printing it in any way shows no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// Folder for everything that is kept.
    pub state_dir: PathBuf,
    /// The GitHub connector.
    pub github: Github,
    /// Repositories that may start work.
    pub managed_repos: RepoPatterns,
    /// The Slack connector.
    pub slack: Slack,
    /// Who may sign in.
    pub admin: Admin,
    /// Where workflow definitions come from.
    pub workflows: Workflows,
    /// What leaves towards addresses that others chose.
    pub outbound: Outbound,
    /// Questions to a person.
    pub approvals: Approvals,
    /// How much happens at the same time.
    pub concurrency: Concurrency,
    /// Commands for agent phases, by name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Which workflow an event starts.
    pub routes: Routes,
    /// Where automatic commits go.
    pub git_auto_commit: GitAutoCommit,
    /// Numbers for a monitoring system.
    pub metrics: Metrics,
    /// Traces for a collector.
    pub telemetry: Telemetry,
    /// Mail server with its account.
    pub smtp_url: Option<Secret>,
    /// Where notifications go that name no endpoint.
    pub notifications: Notifications,
    /// What webhooks hear of this service's own life.
    pub integrations: Integrations,
    /// What is written to standard error.
    pub log: Log,
    /// Limits of runs.
    pub runs: Runs,
    /// How long things are kept.
    pub retention: Retention,
    /// What the commands that talk to a running server use.
    pub client: Client,
}

impl Settings {
    /// Whether there is an HTTP server at all.
    #[must_use]
    pub fn serves_http(&self) -> bool {
        self.github.enabled || self.server.always
    }

    /// Whether webhooks are taken without a signature: worth a warning wherever an operator looks.
    #[must_use]
    pub fn webhooks_unsigned(&self) -> bool {
        self.github.enabled && self.github.webhook_secret.is_empty()
    }

    /// Where commands find the server: `client.url`, else this machine at the port of `server.listen`. No final slash.
    #[must_use]
    pub fn client_url(&self) -> String {
        if let Some(url) = &self.client.url {
            return url.to_string();
        }
        let mut addr = self.server.listen.address();
        if addr.ip().is_unspecified() {
            // Every address of this machine: loopback is one of them.
            addr.set_ip(match addr {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{addr}")
    }
}

/// `server`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: Listen,
    /// Open it without the GitHub connector too.
    pub always: bool,
    /// How it is reached from outside.
    pub public_url: Option<HttpUrl>,
    /// Proxies whose forwarded headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Which header they write.
    pub forwarded_header: ForwardedHeader,
    /// Bytes of webhook bodies in flight.
    pub body_budget: Size,
    /// Threads; absent: one per core.
    pub workers: Option<NonZeroUsize>,
}

/// `server.forwarded_header`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `-Proto` and `-Host`.
    XForwardedFor,
    /// `Forwarded` as in RFC 7239.
    Forwarded,
}

/// `github`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Github {
    /// Whether webhooks are received.
    pub enabled: bool,
    /// Each one is valid; empty: signatures are not checked.
    pub webhook_secret: Vec<Secret>,
    /// No signature on a public address either.
    pub allow_unsigned: bool,
    /// Number or client id of the App.
    pub app_id: Option<String>,
    /// PEM file.
    pub app_private_key_path: Option<PathBuf>,
    /// Number of the installation; absent: discovered.
    pub app_installation_id: Option<u64>,
    /// Used where there is no App.
    pub token: Option<Secret>,
    /// Whether phases that ask for a token may get it.
    pub token_for_phases: bool,
    /// REST API.
    pub api_url: HttpUrl,
    /// Login of our own comments.
    pub bot_login: Word,
    /// Mention handle, without `@`.
    pub bot_name: Word,
}

/// `slack`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// `xoxb-…`.
    pub bot_token: Option<Secret>,
    /// `xapp-…`.
    pub app_token: Option<Secret>,
    /// Web API.
    pub api_url: HttpUrl,
    /// User ids; empty: everybody.
    pub allowed_users: Vec<Word>,
    /// Channel for reports.
    pub delivery_channel: Option<Word>,
}

/// `admin`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Absent: generated.
    pub password: Option<Secret>,
    /// Signs tokens; absent: generated.
    pub secret: Option<Secret>,
    /// Client id at Slack.
    pub slack_oauth_client_id: Option<String>,
    /// Client secret at Slack.
    pub slack_oauth_client_secret: Option<Secret>,
    /// Where Slack sends people back to.
    pub slack_oauth_redirect_uri: Option<HttpUrl>,
    /// The workspace that is let in.
    pub slack_allowed_workspace: Option<Word>,
    /// Client id at GitHub.
    pub github_oauth_client_id: Option<String>,
    /// Client secret at GitHub.
    pub github_oauth_client_secret: Option<Secret>,
    /// Where GitHub sends people back to.
    pub github_oauth_redirect_uri: Option<HttpUrl>,
    /// The organisation that is let in; `*`: everybody.
    pub github_allowed_org: Option<Word>,
    /// Where GitHub's pages are; absent: derived from the REST API's address.
    pub github_oauth_web_url: Option<HttpUrl>,
    /// Where Slack's pages are; absent: derived from the Web API's address.
    pub slack_oauth_web_url: Option<HttpUrl>,
    /// What who signs in with GitHub or Slack may do.
    pub oauth_scope: OAuthScope,
}

/// `admin.oauth_scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OAuthScope {
    /// Look.
    Read,
    /// Start, stop, answer, send, register.
    Operate,
    /// Everything, tokens included.
    Admin,
}

/// `workflows`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflows {
    /// Folder that wins over what is built in.
    pub overlay: Option<PathBuf>,
}

/// `outbound`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// May be reached although private.
    pub allow: Vec<Reachable>,
}

/// `approvals`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Gates that ask.
    pub gates: Vec<Word>,
}

/// `concurrency`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// Runs at work at the same time.
    pub max_runs: NonZeroUsize,
    /// Processes of one run at work at the same time.
    pub max_phases: NonZeroUsize,
}

/// `runtimes.<name>`: the only section whose keys may be left out one by one, for it has no default to lie on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables that are handed on.
    pub env: Vec<VariableName>,
    /// Absent: `runs.phase_timeout`.
    pub timeout: Option<Period>,
    /// Absent: `runs.output_limit`.
    pub output_limit: Option<Size>,
    /// Absent: what the system allows.
    pub memory_limit: Option<Size>,
    /// Put before the command, to isolate it.
    pub wrapper: Vec<String>,
    /// How the prompt reaches it.
    pub prompt: PromptBy,
    /// Where its answer is taken from.
    pub output: OutputBy,
}

/// `git_auto_commit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitAutoCommit {
    /// Working folder of the repository.
    pub repository: Option<PathBuf>,
    /// Pathspecs; empty: the whole repository.
    pub paths: Vec<String>,
}

/// `metrics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Shown without a token.
    pub public: bool,
}

/// `telemetry`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// What the service is called there.
    pub service_name: Word,
    /// Where traces go.
    pub otlp: Otlp,
}

/// `telemetry.otlp`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Base URL of the collector; absent: nothing is traced.
    pub endpoint: Option<HttpUrl>,
    /// `name=value`, the value percent-encoded where needed.
    pub headers: Vec<Secret>,
    /// Which share of the traces is kept.
    pub sample_ratio: Ratio,
    /// Time for one request.
    pub timeout: Period,
}

/// `notifications`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notifications {
    /// Incoming webhook of Slack.
    pub slack_url: Option<Secret>,
    /// Webhook of Discord.
    pub discord_url: Option<Secret>,
    /// Any endpoint that takes JSON.
    pub webhook_url: Option<Secret>,
    /// Mailboxes.
    pub email_to: Vec<String>,
    /// Sender of mails.
    pub email_from: Option<String>,
}

/// `integrations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integrations {
    /// Event by turn of life.
    pub events: LifeEvents,
}

/// `integrations.events`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifeEvents {
    /// A run began.
    pub run_started: Option<IntegrationEvent>,
    /// A run succeeded.
    pub run_succeeded: Option<IntegrationEvent>,
    /// A run failed.
    pub run_failed: Option<IntegrationEvent>,
}

/// `log`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least important kind of line that is written.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may need an operator.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl LogLevel {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Text` on a terminal, `Json` elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `runs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// Ends a phase that names no timeout.
    pub phase_timeout: Period,
    /// Ends a run at work.
    pub deadline: Period,
    /// Bytes of a phase's log.
    pub log_limit: Size,
    /// Bytes of a phase's output that later phases see.
    pub output_limit: Size,
    /// How long the work folder of an ended run is kept; absent: as long as the run.
    pub keep_work: Option<Period>,
}

/// `retention`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Events and conversations; absent: for ever.
    pub events: Option<Period>,
    /// Payloads of events as they came in; absent: as long as the event.
    pub payloads: Option<Period>,
    /// Runs and firings; absent: for ever.
    pub runs: Option<Period>,
    /// Replies and deliveries; absent: for ever.
    pub deliveries: Option<Period>,
    /// Logs of runs; absent: as long as the run.
    pub logs: Option<Period>,
    /// Bytes of the database; absent: no limit.
    pub max_size: Option<Size>,
}

/// `client`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Where the server is; absent: [`Settings::client_url`] derives it.
    pub url: Option<HttpUrl>,
    /// Bearer token.
    pub token: Option<Secret>,
}
