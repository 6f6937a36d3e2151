//! What leaves the house: the outbox worked off, lane by lane. Knows domain, messages and clock; never a platform room.

mod absent;
pub mod backoff;
pub mod replier;

pub use absent::AbsentClient;
pub use backoff::Backoff;
pub use replier::{Platform, Replier, ReplierDoors};
