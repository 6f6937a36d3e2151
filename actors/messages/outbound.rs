//! What the outbound room is told. Knows the domain only.

use actix::prelude::*;

/// Effects wait in the outbox. A nudge: the replier reads what is due from the store.
///
/// Sender: the dispatcher, the runner and the gate keeper, after their commit. Handler: the replier. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct EffectsQueued;
