//! How much there is and how much happened, for people. Knows no store.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Space;

/// What happened in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourCount {
    /// When the hour began.
    pub hour: DateTime<Utc>,
    /// What is counted, see [`HourCount::KINDS`].
    pub what: String,
    /// How often.
    pub n: u64,
}

impl HourCount {
    /// What is counted by the hour: events received, runs let in, runs by how they ended, deliveries by how they ended.
    pub const KINDS: [&'static str; 7] = [
        "events",
        "runs",
        "succeeded",
        "failed",
        "cancelled",
        "delivered",
        "dead",
    ];
}

/// What an operator watches: what is late, what ever happened, and how much room is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// When the event was received that has been waiting the longest, if one waits.
    pub oldest_event_at: Option<DateTime<Utc>>,
    /// When the reply or delivery was due that is late the most; in the future where none is late.
    pub first_due_at: Option<DateTime<Utc>>,
    /// What was ever counted, by its kind in [`HourCount::KINDS`].
    pub ever: BTreeMap<String, u64>,
    /// Room of the database.
    pub space: Space,
    /// Bytes that are free on its disk; absent where the system does not say.
    pub disk_free: Option<u64>,
}

/// How much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Events that were ever accepted.
    pub events: u64,
    /// Events that were set aside.
    pub quarantined_events: u64,
    /// Runs by status; only statuses that occur.
    pub runs: BTreeMap<String, u64>,
    /// Questions that wait for an answer.
    pub pending_approvals: u64,
    /// Deliveries that are not done, by state; only states that occur.
    pub open_deliveries: BTreeMap<String, u64>,
    /// Conversations that go on.
    pub live_sessions: u64,
}
