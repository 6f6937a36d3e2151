//! What fires by the clock: the files that say so, the arithmetic of instants, and the ticker with its ledger. Opens no run itself: it asks the dispatcher.

mod alarms;
mod book;
mod definitions;
mod plan;
mod schedule;
mod ticker;
mod work;

pub use definitions::{
    Condition, CronDefinition, CronOverlap, DEFAULT_CONCURRENCY, DEFAULT_MAX_AGE, DEFAULT_MAX_FAILURES, KeyOfCron,
    MAX_JITTER, Misfire, check, keys, load,
};
pub use schedule::{BadSchedule, Firing, MAX_EXPRESSION, SHIFTED_BY_A_GAP, Schedule, Zone};
pub use ticker::{CronConfig, CronDoors, CronTicker};

#[cfg(test)]
mod definition_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod schedule_tests;
