//! How long things are kept: the sweeper has the store remove what is over and old, and removes logs that nobody needs. Knows no run and no event.

mod round;
mod sweeper;

pub use round::{RetentionRules, SweeperDoors, Swept, sweep};
pub use sweeper::Sweeper;
