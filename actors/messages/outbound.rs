//! What the outbound room is told. Knows the domain only.

use actix::prelude::*;

/// Effects wait in the outbox. A nudge: its listeners read what is due from the store.
///
/// Sender: the dispatcher, the runner and the gate keeper, after their commit; the nudges, who pass it on. Handler: the nudges, replier, delivery retrier. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct EffectsQueued;
