//! The actor that sweeps now and then. Holds no rule of what may go; the store knows what is live.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::round::{RetentionRules, SweeperDoors, Swept, sweep};
use crate::clock::SharedClock;
use crate::house::Bell;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::store::StoreResult;

/// How many messages may wait for it.
const MAILBOX: usize = 16;

/// After the start there is other work to do first.
const FIRST: Duration = Duration::from_secs(2 * 60);

/// How long it rests between two rounds.
const REST: Duration = Duration::from_secs(30 * 60);

/// The actor.
pub struct Sweeper {
    rules: Arc<RetentionRules>,
    doors: SweeperDoors,
    clock: SharedClock,
    /// The round or the rest that goes on.
    going_on: Option<SpawnHandle>,
    sweeping: bool,
    rounds: u64,
    quiet: Vec<oneshot::Sender<u64>>,
    _bell: Bell,
}

impl Sweeper {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A sweeper that rests for two minutes once it is started. `bell` rings when it is gone.
    #[must_use]
    pub fn new(rules: RetentionRules, doors: SweeperDoors, clock: SharedClock, bell: Bell) -> Self {
        Self {
            rules: Arc::new(rules),
            doors,
            clock,
            going_on: None,
            sweeping: false,
            rounds: 0,
            quiet: Vec::new(),
            _bell: bell,
        }
    }

    fn rest(&mut self, rest: Duration, ctx: &mut Context<Self>) {
        let rest = self.clock.sleep(rest).into_actor(self);
        self.going_on = Some(ctx.spawn(rest.map(|(), sweeper, ctx| sweeper.round(ctx))));
    }

    fn round(&mut self, ctx: &mut Context<Self>) {
        self.sweeping = true;
        let (rules, doors, clock) = (Arc::clone(&self.rules), self.doors.clone(), self.clock.clone());
        let round = async move { sweep(&rules, &doors, &clock).await };
        let round = round.into_actor(self).map(|swept, sweeper, ctx| {
            tell(swept);
            sweeper.end_round();
            sweeper.rest(REST, ctx);
        });
        self.going_on = Some(ctx.spawn(round));
    }

    fn end_round(&mut self) {
        self.sweeping = false;
        self.rounds += 1;
        for waiting in self.quiet.drain(..) {
            let _ = waiting.send(self.rounds);
        }
    }
}

fn tell(swept: StoreResult<Swept>) {
    match swept {
        Ok(swept) if swept == Swept::default() => {}
        Ok(Swept { rows, logs, given_back }) => {
            for (what, removed) in &rows {
                metrics::counter!("firstlight_retention_removed_total", "what" => what.as_str()).increment(*removed);
            }
            tracing::info!(?rows, logs, given_back, "what was old enough is gone");
        }
        // The next round goes on where this one broke off.
        Err(error) => tracing::warn!(%error, "old rows could not be removed"),
    }
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.rest(FIRST, ctx);
    }
}

impl Handler<AwaitQuiet> for Sweeper {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Context<Self>) -> Self::Result {
        let (to, quiet) = oneshot::channel();
        if self.sweeping {
            self.quiet.push(to);
        } else {
            let _ = to.send(self.rounds);
        }
        // Gone with the actor: there is nobody left to be waited for.
        Box::pin(async { quiet.await.unwrap_or(0) })
    }
}

impl Handler<Ping> for Sweeper {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<Finish> for Sweeper {
    type Result = ();

    /// A step that the store has taken is done all the same; the round ends here.
    fn handle(&mut self, _: Finish, ctx: &mut Context<Self>) {
        if let Some(going_on) = self.going_on.take() {
            ctx.cancel_future(going_on);
        }
        if self.sweeping {
            self.end_round();
        }
    }
}
