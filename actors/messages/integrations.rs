//! What the integrations are asked and told: one message for each tool of the seed, and what their own actors say to one another. Knows the domain only.

use actix::prelude::*;

use super::store::StoreError;
use crate::domain::{
    Emitted, GitAutoCommitConfig, IntegrationEvent, Notification, Notified, Secret, WebhookRegistered, WebhookRemoved,
    WebhookSummary,
};

/// Why an integration did not do it. Nothing was half done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntegrationFault {
    /// An input breaks a rule.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which input, by its name in the tool.
        field: &'static str,
        /// What is wrong, the limit, and what would be right.
        problem: String,
    },
    /// There is nothing of this id.
    #[error("{0}")]
    NotFound(String),
    /// Another process held the state file's lock for all of the 5,000 ms.
    #[error("{0}")]
    Locked(String),
    /// The state file cannot be read or written.
    #[error("{0}")]
    State(String),
    /// The outbox cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An actor is gone; the process is going down.
    #[error("the service is going down; try again in a moment")]
    GoingDown,
}

impl From<MailboxError> for IntegrationFault {
    fn from(_: MailboxError) -> Self {
        Self::GoingDown
    }
}

/// What the integrations answer.
pub type IntegrationResult<T> = Result<T, IntegrationFault>;

/// The seed's `getIntegrationState`: the whole state for people, secrets replaced by `has_secret`.
///
/// Sender: API, CLI, MCP. Handler: the state writer. Answer: the state as JSON, in the file's order of keys; `warnings` beside it as
/// long as broken state files that were set aside lie there.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "IntegrationResult<serde_json::Value>")]
pub struct GetIntegrationState;

/// The seed's `listWebhooks`.
///
/// Sender: API, CLI, MCP. Handler: the state writer. Answer: the webhooks without their secrets, in the order of registration.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "IntegrationResult<Vec<WebhookSummary>>")]
pub struct ListWebhooks;

/// The seed's `registerWebhook`: a new one, or an update of the one with the same normalised URL.
///
/// Sender: API, CLI, MCP. Handler: the state writer. Answer: whether it is new, and the webhook.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<WebhookRegistered>")]
pub struct RegisterWebhook {
    /// http or https.
    pub url: String,
    /// Names of events. Absent: all for a new one, as they are for one that is there. Empty or with `*`: all.
    pub events: Option<Vec<String>>,
    /// Absent: as it is. Empty: none from now on.
    pub secret: Option<Secret>,
}

/// The seed's `deleteWebhook`.
///
/// Sender: API, CLI, MCP. Handler: the state writer. Answer: whether there was one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<WebhookRemoved>")]
pub struct DeleteWebhook {
    /// Its id.
    pub id: String,
}

/// Give a webhook a new secret. For the grace period the old one signs, too.
///
/// Sender: API, CLI. Handler: the state writer. Answer: the webhook and the new secret, which is shown this once.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<(WebhookSummary, Secret)>")]
pub struct RotateWebhookSecret {
    /// Its id.
    pub id: String,
    /// The new secret; absent: one is drawn.
    pub secret: Option<Secret>,
}

/// The seed's `getGitAutoCommitConfig`.
///
/// Sender: API, CLI, MCP. Handler: the state writer. Answer: the settings.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "IntegrationResult<GitAutoCommitConfig>")]
pub struct GetGitAutoCommitConfig;

/// The seed's `setGitAutoCommitConfig`. What is absent stays.
///
/// Sender: API, CLI, MCP. Handler: the state writer. Answer: the settings from now on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<GitAutoCommitConfig>")]
pub struct SetGitAutoCommitConfig {
    /// Whether anything is committed.
    pub enabled: Option<bool>,
    /// Names of events.
    pub on_events: Option<Vec<String>>,
}

/// Keep a notification in the history, or mark the one of this id.
///
/// Sender: the delivery retrier, before and after it gives a notification away. Handler: the state writer. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<()>")]
pub struct KeepNotification {
    /// Its id, a UUID.
    pub id: String,
    /// What was told. Its URL is not kept.
    pub notification: Notification,
    /// Whether somebody has it.
    pub delivered: bool,
    /// What is worth knowing: `attempts`, `error`, `attachments` count; no URL and no secret.
    pub meta: serde_json::Map<String, serde_json::Value>,
}

/// Read whom an event goes to, with what signs for them.
///
/// Sender: the delivery retrier. Handler: the state writer. Answer: all webhooks with their secrets of the moment.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "IntegrationResult<Vec<Endpoint>>")]
pub struct ReadEndpoints;

/// A webhook as the delivery needs it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Where to.
    pub url: String,
    /// The events it subscribed to; empty: all.
    pub events: Vec<IntegrationEvent>,
    /// The secrets that sign now, newest first: none, one, or two within the grace period of a rotation.
    pub secrets: Vec<Secret>,
}

/// The seed's `sendNotification`.
///
/// Sender: API, CLI, MCP. Handler: the delivery retrier. Answer: how it went, after the quick attempts.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<Notified>")]
pub struct SendNotification(pub Notification);

/// The seed's `emitWebhookEvent`.
///
/// Sender: API, CLI, MCP. Handler: the delivery retrier. Answer: how it went for each endpoint, after the quick attempts.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<Emitted>")]
pub struct EmitWebhookEvent {
    /// Name of the event.
    pub name: IntegrationEvent,
    /// A JSON object.
    pub payload: serde_json::Value,
}

/// Send a test delivery to one webhook, whatever it subscribed to.
///
/// Sender: API, CLI. Handler: the delivery retrier. Answer: how it went; only one attempt is made.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<crate::domain::DeliveryReport>")]
pub struct PingWebhook {
    /// Its id.
    pub id: String,
}

/// Switch a webhook on or off; on means that a probe decides whether it is trusted again.
///
/// Sender: API, CLI. Handler: the delivery retrier. Answer: whether it is on now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<bool>")]
pub struct SwitchWebhook {
    /// Its id.
    pub id: String,
    /// On or off.
    pub enabled: bool,
}

/// Commit what changed, because of an event.
///
/// Sender: the delivery retrier, for an event that is in `on_events`; API and CLI, as a dry run. Handler: the git committer.
/// Answer: the commit, or why there is none.
#[derive(Debug, Clone, Message)]
#[rtype(result = "IntegrationResult<AutoCommitted>")]
pub struct AutoCommit {
    /// The event that asks; its name and id are in the commit's message.
    pub event: IntegrationEvent,
    /// The event's id.
    pub id: String,
    /// Only say what would be committed.
    pub dry_run: bool,
}

/// What became of an automatic commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AutoCommitted {
    /// The commit's id, if one was made.
    pub commit: Option<String>,
    /// The paths that were (or would be) committed.
    pub paths: Vec<String>,
    /// Why there is no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
