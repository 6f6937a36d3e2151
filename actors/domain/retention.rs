//! What may be removed once it is old, and how much room things take. Knows no store.

use serde::Serialize;

use super::RunId;
use super::envelope::closed_enum;

closed_enum! {
    /// A kind of rows that are removed when they are over and old enough. The audit log is of no such kind: it stays whole.
    Prunable {
        /// What was received, with its payload.
        Events => "events",
        /// Payloads as they came in; the events stay.
        Payloads => "payloads",
        /// Conversations with their lines.
        Conversations => "conversations",
        /// Runs with their phases and questions.
        Runs => "runs",
        /// Firings of schedules. The latest of each stays.
        Firings => "firings",
        /// Replies and deliveries with their attempts.
        Deliveries => "deliveries",
    }
}

/// What became of one step of pruning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many rows are gone; what hung on them not counted.
    pub removed: u64,
    /// Runs that are gone: their logs are of no use any more.
    pub runs: Vec<RunId>,
    /// Where the next step goes on; absent: nothing that is old enough comes after this.
    pub next: Option<i64>,
}

/// How much room the database takes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// What holds something.
    pub used: u64,
    /// What is free for the next rows, and could be given back to the disk.
    pub free: u64,
    /// Whether the file can become smaller a step at a time; one that an old version made cannot.
    pub shrinks: bool,
}
