//! How deliveries and their endpoints stand, as lists and pages show them. Knows no client and no store.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{AttemptOutcome, EffectSeq, EffectState, IntegrationEvent, NewEffect, StoredEffect};

/// What all deliveries of one event have in common, stored once. The exact body of a delivery is `{"id":"<delivery id>",`, then
/// `rest`: frozen when the event was recorded, the same bytes on every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// Its id: that of the event.
    pub id: String,
    /// `"event":…,"timestamp":…,"payload":…}`.
    pub rest: String,
}

/// A delivery whose time has come.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// As the outbox has it.
    pub effect: StoredEffect,
    /// Rounds that failed: 0 before the quick attempts are through, then one more for each step of the long schedule.
    pub round: u32,
    /// The shared part of its body, for a delivery to a webhook.
    pub rest: Option<String>,
    /// Its webhook was switched off since it was recorded.
    pub switched_off: bool,
}

/// What became of one attempt at a delivery.
#[derive(Debug, Clone)]
pub struct DeliverySettled {
    /// Which.
    pub effect: EffectSeq,
    /// Which attempt.
    pub attempt: u32,
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// Rounds that failed by now.
    pub round: u32,
    /// The HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// The beginning of the answer's body, at most 1,000 characters.
    pub excerpt: Option<String>,
    /// How long the attempt took, in ms.
    pub duration_ms: u64,
    /// The webhook whose health this counts for; absent for a notification.
    pub webhook: Option<String>,
    /// What the operators are told if this failure switches the webhook off.
    pub notice: Option<NewEffect>,
}

/// Which deliveries a list shows.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only in this state.
    pub state: Option<EffectState>,
    /// Only to this webhook.
    pub webhook: Option<String>,
    /// Only of this event.
    pub event: Option<IntegrationEvent>,
    /// Only before this position (the `next` of the page before).
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// A row of the list of deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryRow {
    /// Its id, as in `X-Firstlight-Delivery`.
    pub id: String,
    /// Place in the outbox.
    pub seq: EffectSeq,
    /// The webhook; absent for a notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<String>,
    /// Name of the event; for a notification, its channel.
    pub topic: String,
    /// Where it stands.
    pub state: EffectState,
    /// Attempts begun.
    pub attempts: u32,
    /// When it is tried (again), while it is not final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<DateTime<Utc>>,
    /// The last HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
    /// When it became final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<DateTime<Utc>>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
    /// When it ended; absent while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// `done`, `retry`, `dead`, `undeliverable`, or `interrupted` by a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The HTTP status, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The beginning of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// How long it took, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A delivery with every attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryDetail {
    /// As in the list.
    #[serde(flatten)]
    pub row: DeliveryRow,
    /// The exact body, for a delivery to a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its attempts, oldest first, at most 1,000.
    #[serde(rename = "attemptLog")]
    pub attempt_log: Vec<DeliveryAttempt>,
}

/// What became of an order to deliver again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivered {
    /// It is due now, as a new series of attempts under the same id.
    Queued,
    /// An attempt is under way; its outcome decides.
    UnderWay,
    /// There is no delivery of this id.
    NotFound,
}

/// How a webhook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookHealth {
    /// The webhook.
    pub webhook_id: String,
    /// Whether it is delivered to.
    pub enabled: bool,
    /// Why it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// Attempts that it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// When it last took one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ok_at: Option<DateTime<Utc>>,
    /// Since when nothing but failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the last attempt failed, while nothing but failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl WebhookMessage {
    /// The exact body of one delivery.
    #[must_use]
    pub fn body(delivery: &str, rest: &str) -> String {
        let mut body = Self::head(delivery);
        body.push_str(rest);
        body
    }

    /// The part of a body that is the delivery's own. An id is a UUID, so it needs no escaping.
    #[must_use]
    pub fn head(delivery: &str) -> String {
        format!("{{\"id\":\"{delivery}\",")
    }
}
