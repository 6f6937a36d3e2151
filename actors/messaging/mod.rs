//! What every chat connector shares: who may speak, what is said to us, conversations, and words that fit the platform.
//! Knows domain, messages, connectors' sink and the clock; never a platform's wire.

pub mod allowlist;
pub mod chunks;
pub mod desk;
pub mod mention;
pub mod mrkdwn;
pub mod replies;

pub use allowlist::AllowedUsers;
pub use desk::{Desk, DeskDoors, DeskRules, Heard, Inbound, Ordered, Unheard};
