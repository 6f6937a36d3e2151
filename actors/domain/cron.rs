//! What the ledger of schedules is made of: firings, what each dispatched, and where a schedule stands. Plain values.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{RunId, closed_enum};

closed_enum! {
    /// Why there is a firing.
    FiringKind {
        /// Its time came.
        Scheduled => "scheduled",
        /// Its time was missed, and it is made up for.
        CatchUp => "catch_up",
        /// Somebody asked for it.
        Manual => "manual",
    }
}

closed_enum! {
    /// Where a firing stands.
    FiringState {
        /// It waits: for its jitter, or for the one before.
        Waiting => "waiting",
        /// Runs are being dispatched, or at work.
        Working => "working",
        /// All that it dispatched came to a good end, or was skipped because a workflow is switched off.
        Done => "done",
        /// Something that it dispatched failed, or nothing could be dispatched.
        Failed => "failed",
        /// Left out, because the one before was at work.
        Skipped => "skipped",
        /// Nobody was there at its time, and it is not made up for.
        Missed => "missed",
    }
}

impl FiringState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Working)
    }
}

closed_enum! {
    /// Where one target of a firing stands.
    TargetState {
        /// Not dispatched yet.
        Waiting => "waiting",
        /// Its run is live.
        Live => "live",
        /// Its run ended well.
        Succeeded => "succeeded",
        /// Its run failed or was cancelled, or there could be none.
        Failed => "failed",
        /// The workflow is switched off.
        Skipped => "skipped",
    }
}

impl TargetState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Live)
    }
}

closed_enum! {
    /// What somebody was told of a schedule, until it is over.
    CronAlarm {
        /// Too many firings in a row failed.
        Failing => "failing",
        /// A firing found nothing to do where work was expected.
        Idle => "idle",
        /// A firing was due, and nobody was there.
        Missed => "missed",
    }
}

/// Position of a firing in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FiringSeq(pub i64);

/// A firing as it is written down, before anything is dispatched. Unique by schedule and instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFiring {
    /// Name of the schedule.
    pub cron: String,
    /// Why.
    pub kind: FiringKind,
    /// `waiting`, or one of the final states for what is only accounted for.
    pub state: FiringState,
    /// The instant of the schedule; of several that are accounted for together, the last.
    pub scheduled_at: DateTime<Utc>,
    /// When it is dispatched: later than `scheduled_at` by its jitter.
    pub due_at: DateTime<Utc>,
    /// `cron`, or who asked for it.
    pub who: String,
    /// How many instants it accounts for, at least 1.
    pub count: u64,
    /// For people.
    pub note: Option<String>,
    /// The ids of its runs are made of it, so that no order opens two.
    pub seed: Uuid,
}

/// A firing of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CronFiring {
    /// Place in the ledger.
    pub seq: FiringSeq,
    /// Name of the schedule.
    pub cron: String,
    /// Why.
    pub kind: FiringKind,
    /// Where it stands.
    pub state: FiringState,
    /// The instant of the schedule.
    pub scheduled_at: DateTime<Utc>,
    /// When it is dispatched.
    pub due_at: DateTime<Utc>,
    /// `cron`, or who asked for it.
    pub who: String,
    /// How many instants it accounts for.
    pub count: u64,
    /// How many runs it stands for.
    pub total: u64,
    /// How many were dispatched.
    pub dispatched: u64,
    /// How many of them failed.
    pub failed: u64,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When its first run was dispatched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When all of it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// The ids of its runs are made of it.
    #[serde(skip)]
    pub seed: Uuid,
}

/// What one firing dispatches: one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CronTarget {
    /// Its number, from 0.
    pub n: u32,
    /// The repository; absent for a schedule that is about none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Where it stands.
    pub state: TargetState,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A firing with all that it dispatches.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WholeFiring {
    /// As in the list.
    #[serde(flatten)]
    pub firing: CronFiring,
    /// What its runs are told, but for the repository.
    #[serde(skip)]
    pub context: Map<String, Value>,
    /// Its targets, in order.
    pub targets: Vec<CronTarget>,
}

/// What became of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSettled {
    /// Which.
    pub n: u32,
    /// Where it stands now.
    pub state: TargetState,
    /// Its run, where there is one.
    pub run: Option<RunId>,
    /// Why it failed.
    pub note: Option<String>,
}

/// What an operator says over a schedule's file. Absent: as the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CronOverride {
    /// Whether it fires.
    pub enabled: Option<bool>,
    /// When it fires.
    pub schedule: Option<String>,
    /// Since when.
    pub updated_at: DateTime<Utc>,
    /// Who said it.
    pub updated_by: String,
}

/// Where a schedule stands, as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CronState {
    /// What an operator says over its file.
    pub over: Option<CronOverride>,
    /// Every instant up to this one has been decided on. Absent: it is new.
    pub cursor: Option<DateTime<Utc>>,
    /// By which expression it was decided; empty while it does not fire. Where another one counts, what lies before is not missed.
    pub expression: String,
    /// Firings that failed in a row.
    pub failures: u32,
    /// What somebody was told and is not over.
    pub alarms: BTreeSet<CronAlarm>,
}

/// A schedule, its file and what is said over it taken together, with where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CronView {
    /// What it is called by.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// What it starts.
    pub workflow: String,
    /// When it fires, as it counts now.
    pub schedule: String,
    /// When it fires by its file.
    pub original_schedule: String,
    /// The zone whose clock is meant.
    pub timezone: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it fires at all: not where its condition speaks against it.
    pub registered: bool,
    /// Why it does not fire, where it does not.
    pub reason: Option<String>,
    /// When it fires next.
    pub next_run: Option<DateTime<Utc>>,
    /// What the clock of its zone shows then, with its offset.
    pub next_local: Option<String>,
    /// Why the next firing is not at the written time, where it is not.
    pub next_shifted: Option<&'static str>,
    /// When it fired last.
    pub last_run: Option<DateTime<Utc>>,
    /// How that went.
    pub last_status: Option<FiringState>,
    /// Firings that failed in a row, up to now.
    pub recent_failures: u32,
    /// What somebody was told of and is not over.
    pub alarms: Vec<CronAlarm>,
    /// Firings that wait or are at work.
    pub working: usize,
    /// What its runs are told, `repos` among it.
    pub context: Map<String, Value>,
    /// Longest time by which a firing is put off at random, in ms.
    pub jitter_ms: u64,
    /// What becomes of firings that were missed: `skip`, `once`, `all`.
    pub misfire: &'static str,
    /// What becomes of a firing while the one before is at work: `skip`, `queue`.
    pub overlap: &'static str,
    /// How many runs of one firing are at work at once.
    pub concurrency: usize,
    /// After how many failed firings in a row somebody is told.
    pub max_failures: u32,
    /// Before this instant it does not fire.
    pub pause_until: Option<DateTime<Utc>>,
    /// The file, as mistakes name it.
    pub file: String,
    /// What an operator says over the file.
    #[serde(rename = "override")]
    pub over: Option<OverrideView>,
}

/// What an operator says over a file, for a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideView {
    /// Since when.
    pub updated_at: DateTime<Utc>,
    /// Who said it.
    pub updated_by: String,
    /// Whether it says when to fire.
    pub has_schedule_override: bool,
}
