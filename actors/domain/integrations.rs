//! What the integrations say to the world: event names, channels, priorities and the shapes of tool answers. Knows no client and no file.
//!
//! Names and shapes are those of the seed document "Domain: Integrations".

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Secret;
use super::envelope::closed_enum;

closed_enum! {
    /// The seed's `INTEGRATION_EVENTS`: all events that a webhook can subscribe to.
    IntegrationEvent {
        /// A session began.
        SessionStart => "session.start",
        /// A session ended.
        SessionEnd => "session.end",
        /// A task was created.
        TaskCreated => "task.created",
        /// A task was completed.
        TaskCompleted => "task.completed",
        /// A roadmap was exported.
        RoadmapExported => "roadmap.exported",
        /// Tasks were synchronised.
        TaskSync => "task.sync",
        /// Something failed.
        Error => "error",
    }
}

/// The seed's `AUTO_COMMIT_DEFAULT_EVENTS`.
pub const AUTO_COMMIT_DEFAULT_EVENTS: &[IntegrationEvent] = &[
    IntegrationEvent::SessionEnd,
    IntegrationEvent::RoadmapExported,
    IntegrationEvent::TaskSync,
];

/// The seed's limit of the notification history; the oldest go first.
pub const MOST_NOTIFICATIONS: usize = 200;

closed_enum! {
    /// Where a notification goes.
    Channel {
        /// An incoming webhook of Slack.
        Slack => "slack",
        /// A webhook of Discord.
        Discord => "discord",
        /// Mail, where a mail server is configured.
        Email => "email",
        /// Any endpoint that takes JSON.
        Webhook => "webhook",
    }
}

closed_enum! {
    /// How urgent a notification is.
    Priority {
        /// Can wait.
        Low => "low",
        /// As usual; what a notification has that names none.
        Normal => "normal",
        /// Should be seen soon.
        High => "high",
        /// Should be seen now.
        Critical => "critical",
    }
}

/// What is to be told, and where to. Its URL is a credential as often as not, so it is kept like one.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Where it goes.
    pub channel: Channel,
    /// The text, at least one character; Markdown is not interpreted.
    pub message: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The endpoint of slack, discord and webhook. Absent: stored only.
    pub webhook_url: Option<Secret>,
    /// The seed's `attachments` (`embeds` for discord), handed on as they are.
    pub attachments: Vec<Value>,
    /// Time for one attempt in ms, 100 to 30,000; 5,000 where nothing is said.
    pub timeout_ms: u64,
    /// Quick attempts after the first, 0 to 10; 3 where nothing is said.
    pub retry_count: u32,
}

/// What the list of webhooks shows: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSummary {
    /// Its id, a UUID.
    pub id: String,
    /// Where it is delivered to.
    pub url: String,
    /// Names of events; `*`: all.
    pub events: Vec<String>,
    /// Whether its deliveries are signed.
    pub has_secret: bool,
    /// RFC 3339 time.
    pub created_at: String,
    /// RFC 3339 time.
    pub updated_at: String,
}

/// Answer of `integration_webhook_register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRegistered {
    /// False: one of this URL was there and was updated.
    pub created: bool,
    /// As it is now.
    pub webhook: WebhookSummary,
}

/// Answer of `integration_webhook_delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRemoved {
    /// False: there was none of this id.
    pub removed: bool,
    /// The id asked for.
    pub webhook_id: String,
}

/// Answer of `integration_git_auto_commit_get` and `_set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitAutoCommitConfig {
    /// Whether anything is committed at all.
    pub enabled: bool,
    /// On which events.
    pub on_events: Vec<IntegrationEvent>,
}

closed_enum! {
    /// How a delivery to one endpoint stands when the tool answers.
    DeliveryStatus {
        /// The endpoint answered 2xx.
        Delivered => "delivered",
        /// The quick attempts failed; it stays in the outbox and is tried again.
        Retrying => "retrying",
        /// It failed for good.
        Failed => "failed",
    }
}

/// How one POST went: a row of `integration_emit_event`'s `deliveries`, and `delivery` of `integration_notify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// The webhook; absent for a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<String>,
    /// Where to; of a notification, whose path is a credential, scheme and host only.
    pub url: String,
    /// How it stands.
    pub status: DeliveryStatus,
    /// The last HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Time over all attempts and the waits between them, in ms.
    pub duration_ms: u64,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The id in `X-Firstlight-Delivery` and `webhook-id`; the same on every attempt.
    pub delivery_id: String,
}

/// Answer of `integration_emit_event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// Endpoints that have it.
    pub sent: usize,
    /// Endpoints that do not have it (yet).
    pub failed: usize,
    /// Webhooks that did not subscribe, or are switched off.
    pub skipped: usize,
    /// One row per endpoint tried.
    pub deliveries: Vec<DeliveryReport>,
}

/// Answer of `integration_notify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// False only when there was an endpoint (or a mail server) and it did not take the message.
    pub success: bool,
    /// Its id in the history.
    pub notification_id: String,
    /// Whether somebody has it.
    pub delivered: bool,
    /// Where it went.
    pub channel: Channel,
    /// How urgent it is.
    pub priority: Priority,
    /// How it went; null where there was nobody to give it to.
    pub delivery: Option<DeliveryReport>,
}

/// The seed's `resolveEventName`: which event a call of another tool is, if it is one. A call that failed is none.
///
/// `task_update` counts only when the status is `done` (any case), read from the arguments, else from the result.
#[must_use]
pub fn resolve_event_name(tool: &str, args: &Value, result: &Value) -> Option<IntegrationEvent> {
    if failed(result) {
        return None;
    }
    match tool {
        "audit_session_start" => Some(IntegrationEvent::SessionStart),
        "audit_session_end" => Some(IntegrationEvent::SessionEnd),
        "task_create" | "task_create_batch" => Some(IntegrationEvent::TaskCreated),
        "task_update" => {
            let status = |from: &Value| from["status"].as_str().map(str::to_owned);
            let status = status(args)
                .or_else(|| status(result))
                .or_else(|| status(&result["task"]));
            status
                .is_some_and(|status| status.trim().eq_ignore_ascii_case("done"))
                .then_some(IntegrationEvent::TaskCompleted)
        }
        "task_sync_to_gsd" => Some(IntegrationEvent::TaskSync),
        "roadmap_export_to_gsd" => Some(IntegrationEvent::RoadmapExported),
        _ => None,
    }
}

/// Whether the result of a tool says that it failed, in one of the ways in which tools say that.
fn failed(result: &Value) -> bool {
    result["isError"] == true
        || result["success"] == false
        || result["ok"] == false
        || !matches!(result["error"], Value::Null | Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_events_and_defaults_are_the_seeds() {
        let names: Vec<_> = IntegrationEvent::ALL.iter().map(|event| event.as_str()).collect();
        assert_eq!(
            names,
            [
                "session.start",
                "session.end",
                "task.created",
                "task.completed",
                "roadmap.exported",
                "task.sync",
                "error"
            ]
        );
        let defaults: Vec<_> = AUTO_COMMIT_DEFAULT_EVENTS.iter().map(|event| event.as_str()).collect();
        assert_eq!(defaults, ["session.end", "roadmap.exported", "task.sync"]);
        let channels: Vec<_> = Channel::ALL.iter().map(|channel| channel.as_str()).collect();
        assert_eq!(channels, ["slack", "discord", "email", "webhook"]);
        assert_eq!(MOST_NOTIFICATIONS, 200);
    }

    #[test]
    fn tools_are_mapped_to_events_by_the_seeds_table() {
        use IntegrationEvent::*;
        let (nothing, fine) = (json!({}), json!({ "success": true }));
        let rows = [
            ("audit_session_start", json!({}), Some(SessionStart)),
            ("audit_session_end", json!({}), Some(SessionEnd)),
            ("task_create", json!({}), Some(TaskCreated)),
            ("task_create_batch", json!({}), Some(TaskCreated)),
            ("task_update", json!({ "status": "done" }), Some(TaskCompleted)),
            ("task_update", json!({ "status": "Done" }), Some(TaskCompleted)),
            ("task_update", json!({ "status": "open" }), None),
            ("task_update", json!({}), None),
            ("task_sync_to_gsd", json!({}), Some(TaskSync)),
            ("roadmap_export_to_gsd", json!({}), Some(RoadmapExported)),
            ("anything_else", json!({ "status": "done" }), None),
            ("", json!(null), None),
        ];
        for (tool, args, event) in rows {
            assert_eq!(resolve_event_name(tool, &args, &fine), event, "{tool} {args}");
        }
        assert_eq!(
            resolve_event_name("task_update", &nothing, &json!({ "status": "done" })),
            Some(TaskCompleted),
            "the result says it where the arguments do not"
        );
        assert_eq!(
            resolve_event_name(
                "task_update",
                &json!({ "status": "open" }),
                &json!({ "status": "done" })
            ),
            None,
            "what was asked for counts before what came back"
        );
        for failed in [
            json!({ "isError": true }),
            json!({ "success": false }),
            json!({ "ok": false }),
            json!({ "error": "no such task" }),
        ] {
            assert_eq!(resolve_event_name("task_create", &nothing, &failed), None, "{failed}");
        }
    }
}
