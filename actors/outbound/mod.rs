//! What leaves the house: the outbox worked off, lane by lane, endpoint by endpoint. Knows domain, messages and clock; never a platform room.

mod absent;
pub mod backoff;
mod deliverer;
mod git;
pub mod guard;
mod mail;
mod notifier;
mod places;
mod post;
pub mod replier;
pub mod retrier;
mod schedule;
mod seal;
mod sign;
mod unsaid;

pub use absent::AbsentClient;
pub use backoff::Backoff;
pub use git::{GitCommitter, GitConfig};
pub use guard::{Guard, Resolver, SystemResolver};
pub use mail::{Mail, MailServer, Unwelcome};
pub use replier::{Platform, Replier, ReplierDoors};
pub use retrier::{Defaults, DeliveryConfig, DeliveryDoors, DeliveryRetrier};
