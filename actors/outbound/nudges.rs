//! Passes a nudge on to all who work the outbox off. Knows neither what waits nor who it is for.

use actix::prelude::*;

use crate::house::Bell;
use crate::messages::outbound::EffectsQueued;

/// Nudges carry nothing, so a mailbox that is full of them loses nothing.
const MAILBOX: usize = 64;

/// Tells several what one was told. Handles [`EffectsQueued`].
pub struct Nudges {
    listeners: Vec<Recipient<EffectsQueued>>,
    _bell: Bell,
}

impl Nudges {
    /// Passes on to each of these.
    #[must_use]
    pub fn new(listeners: Vec<Recipient<EffectsQueued>>, bell: Bell) -> Self {
        Self { listeners, _bell: bell }
    }
}

impl Actor for Nudges {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<EffectsQueued> for Nudges {
    type Result = ();

    fn handle(&mut self, nudge: EffectsQueued, _: &mut Context<Self>) {
        for listener in &self.listeners {
            // A full mailbox means that nudges wait there already.
            let _ = listener.try_send(nudge);
        }
    }
}
