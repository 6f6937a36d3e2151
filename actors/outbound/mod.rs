//! What leaves the house: the outbox worked off, lane by lane, endpoint by endpoint. Knows domain, messages and clock; never a platform room.

mod backoff;
mod deliverer;
mod git;
pub mod guard;
mod mail;
mod notifier;
pub mod nudges;
mod places;
mod post;
pub mod replier;
pub mod retrier;
mod schedule;
mod seal;
mod sign;

pub use git::{GitCommitter, GitConfig};
pub use guard::{Guard, Resolver, SystemResolver};
pub use mail::{Mail, MailServer};
pub use nudges::Nudges;
pub use replier::{Replier, ReplierDoors};
pub use retrier::{Defaults, DeliveryConfig, DeliveryDoors, DeliveryRetrier};
