//! What leaves the house: the outbox worked off, lane by lane. Knows domain, messages and clock; never a platform room.

mod backoff;
pub mod guard;
pub mod replier;
mod schedule;
mod sign;

pub use replier::{Replier, ReplierDoors};
