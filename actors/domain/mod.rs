//! Plain values that every room may know. No actor, no I/O, no clock.

mod approval;
mod change;
mod chat;
mod delivery;
mod diagram;
mod effect;
mod envelope;
mod event;
mod ids;
mod integrations;
mod managed;
mod paging;
mod policy;
mod run;
mod runtime;
mod secret;
mod workflow;

pub use approval::*;
pub use change::*;
pub use chat::*;
pub use delivery::*;
pub use diagram::*;
pub use effect::*;
pub use envelope::*;
pub use event::*;
pub use ids::*;
pub use integrations::*;
pub use managed::*;
pub use paging::*;
pub use policy::*;
pub use run::*;
pub use runtime::*;
pub use secret::*;
pub use workflow::*;
