//! What the cron ticker is told and asked. Knows the domain only.

use actix::prelude::*;
use uuid::Uuid;

use super::store::StoreError;
use crate::domain::{CronView, FiringSeq, Mistake, nearest};

/// A run came to rest; perhaps it was one that a schedule started. Only a nudge: the ticker reads from the store what ended.
///
/// Sender: the run supervisor. Handler: the cron ticker. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RunsRested;

/// Files of the overlay folder were read anew; those of schedules may have changed.
///
/// Sender: the librarian. Handler: the cron ticker. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CronFilesChanged;

/// List the schedules.
///
/// Sender: API, dashboard, MCP. Handler: the cron ticker. Answer: all of them, sorted by name, and why changed files were refused.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<CronList, StoreError>")]
pub struct ListCrons;

/// The schedules of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CronList {
    /// Sorted by name.
    pub crons: Vec<CronView>,
    /// Every mistake because of which a changed file was not taken up; empty when all were.
    pub refused: Vec<Mistake>,
}

/// Switch a schedule on or off, change when it fires, or go back to its file.
///
/// Sender: API, dashboard, CLI. Handler: the cron ticker. Answer: the schedule as it counts from now on, or why nothing was changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<CronView, NotChanged>")]
pub struct ChangeCron {
    /// Its name.
    pub cron: String,
    /// What is changed.
    pub change: CronChange,
    /// Who changes it.
    pub who: String,
}

/// What is changed at a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CronChange {
    /// Whether it fires; absent: the other way than now.
    Enabled(Option<bool>),
    /// When it fires.
    Schedule(String),
    /// What was said over its file is forgotten.
    Reset,
}

/// Why a schedule was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged {
    /// There is none of this name.
    #[error("{}", unknown(name, known))]
    Unknown {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The expression is none.
    #[error("invalid schedule: {0}")]
    BadSchedule(String),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fire a schedule now, beside its times.
///
/// Sender: API, dashboard, MCP. Handler: the cron ticker. Answer: the firing's place in the ledger, where it stands before anything
/// is dispatched; or why there is none.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<FiringSeq, NotFired>")]
pub struct FireCron {
    /// Its name.
    pub cron: String,
    /// Who asks.
    pub who: String,
    /// Derived from an idempotency key: a repeated order with the same seed fires once.
    pub seed: Option<Uuid>,
}

/// Why a schedule was not fired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFired {
    /// There is none of this name.
    #[error("{}", unknown(name, known))]
    Unknown {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Too many firings of it wait.
    #[error("{0} firings of this schedule wait already; wait until they are through")]
    TooMany(usize),
    /// The service is going down.
    #[error("the service is stopping; try again in a moment")]
    Stopping,
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn unknown(name: &str, known: &[String]) -> String {
    let name: String = name.chars().take(80).collect();
    if known.is_empty() {
        return format!("there is no schedule \"{name}\", nor any other");
    }
    let meant = nearest(&name, known.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    format!("there is no schedule \"{name}\"{meant}; known are {}", known.join(", "))
}
