//! The actor of one live run: hears that it is to stop, and tells how the run came to rest. Knows no phase and no other run.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};

use super::config::{RunDoors, RunsConfig};
use super::process::Stop;
use super::story;
use crate::clock::SharedClock;
use crate::domain::RunRecord;
use crate::messages::house::Finish;
use crate::messages::runs::{Abort, RunEnding};

/// How many messages may wait for a runner. It hears nothing but that it is to stop, and hears that at once; a cancel that
/// finds it full finds it told already.
const MAILBOX: usize = 4;

/// What every runner of a house shares.
#[derive(Debug, Clone)]
pub(crate) struct House {
    /// Limits, folders, runtimes.
    pub(crate) config: Arc<RunsConfig>,
    /// The store and the replier.
    pub(crate) doors: RunDoors,
    /// The time.
    pub(crate) clock: SharedClock,
}

/// Works through one run.
pub(crate) struct Runner {
    /// Taken when it starts.
    untold: Option<(RunRecord, House)>,
    stop: watch::Sender<Stop>,
    /// Rings when this actor is dropped, too: whoever holds the other end then knows that it panicked.
    bell: Option<oneshot::Sender<RunEnding>>,
}

impl Runner {
    /// A runner for a run that the store has marked running. `bell` hears how it went; when it is dropped unheard, the runner panicked.
    pub(crate) fn new(record: RunRecord, house: House, bell: oneshot::Sender<RunEnding>) -> Self {
        Self {
            untold: Some((record, house)),
            stop: watch::Sender::new(Stop::No),
            bell: Some(bell),
        }
    }
}

impl Actor for Runner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let Some((record, house)) = self.untold.take() else {
            ctx.stop();
            return;
        };
        let told = story::tell(record, house, self.stop.subscribe())
            .into_actor(self)
            .map(|ending, runner, ctx| {
                if let Some(bell) = runner.bell.take() {
                    // Nobody listens only when the supervisor itself is gone.
                    let _ = bell.send(ending);
                }
                ctx.stop();
            });
        ctx.spawn(told);
    }
}

impl Handler<Abort> for Runner {
    type Result = ();

    fn handle(&mut self, Abort { reason }: Abort, _: &mut Self::Context) {
        self.stop.send_replace(Stop::Abort(reason));
    }
}

impl Handler<Finish> for Runner {
    type Result = ();

    fn handle(&mut self, _: Finish, _: &mut Self::Context) {
        self.stop.send_if_modified(|stop| {
            let goes_on = *stop == Stop::No;
            if goes_on {
                *stop = Stop::PutDown;
            }
            goes_on
        });
    }
}
