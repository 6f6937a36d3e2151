//! Stands in for the client of a platform that is not configured: what is meant for it is kept, with the words what to
//! configure. Knows the messages only.

use actix::prelude::*;

use crate::messages::outbound::{OutboundFault, Perform, Performed};

/// Performs nothing. Handles [`Perform`].
pub struct AbsentClient {
    missing: &'static str,
}

impl AbsentClient {
    /// `missing` says what is missing and what to set.
    #[must_use]
    pub fn new(missing: &'static str) -> Self {
        Self { missing }
    }
}

impl Actor for AbsentClient {
    type Context = Context<Self>;
}

impl Handler<Perform> for AbsentClient {
    type Result = Result<Performed, OutboundFault>;

    fn handle(&mut self, _: Perform, _: &mut Context<Self>) -> Self::Result {
        Err(OutboundFault::NoCredentials(self.missing.to_owned()))
    }
}
