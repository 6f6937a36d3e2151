//! What fires by the clock: the files that say so and the arithmetic of instants. Starts no run itself.

mod definitions;
mod schedule;

pub use definitions::{
    Condition, CronDefinition, CronOverlap, DEFAULT_CONCURRENCY, DEFAULT_MAX_AGE, DEFAULT_MAX_FAILURES, KeyOfCron,
    MAX_JITTER, Misfire, check, keys, load,
};
pub use schedule::{BadSchedule, Firing, MAX_EXPRESSION, SHIFTED_BY_A_GAP, Schedule, Zone};

#[cfg(test)]
mod definition_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod schedule_tests;
