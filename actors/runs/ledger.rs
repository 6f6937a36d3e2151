//! Steps and effects of one run on their way to the store: together, in order, and for sure. Knows no phase.

use std::time::Duration;

use tokio::sync::watch;

use super::process::Stop;
use super::runner::House;
use super::say;
use crate::domain::{NewEffect, RunRecord, RunStatus, RunSummary, Step};
use crate::messages::outbound::EffectsQueued;
use crate::messages::store::{RecordStep, StepTaken, StoreError};

/// How many steps are written together at most, so that a workflow of thousands of phases without a process stays small in memory.
const MOST_STEPS: usize = 64;

/// Why a story stops before its workflow is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The run has come to rest, durably.
    Settled(RunStatus),
    /// It is put down as it is, to be taken up again.
    PutDown,
    /// Somebody cancelled it.
    Aborted(String),
}

/// What waits to be written together.
pub(crate) struct Ledger {
    about: RunSummary,
    house: House,
    stop: watch::Receiver<Stop>,
    steps: Vec<Step>,
    effects: Vec<NewEffect>,
}

impl Ledger {
    /// An empty ledger of a run.
    pub(crate) fn new(about: RunSummary, house: House, stop: watch::Receiver<Stop>) -> Self {
        Self {
            about,
            house,
            stop,
            steps: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Takes a step down. It is durable after the next [`Ledger::write`].
    pub(crate) fn note(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Takes down what is said with the steps.
    pub(crate) fn say(&mut self, effects: Vec<NewEffect>) {
        self.effects.extend(effects);
    }

    /// Whether so much waits that it should be written before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.steps.len() >= MOST_STEPS
    }

    /// Writes what waits and the end of the run, with what a chat is told of it.
    pub(crate) async fn end(
        &mut self,
        record: &RunRecord,
        status: RunStatus,
        error: Option<String>,
    ) -> Result<RunStatus, Halt> {
        self.say(say::ending(record, status, error.as_deref()));
        self.note(Step::Ended { status, error });
        self.write().await?;
        Ok(status)
    }

    /// Whether nobody told the run to stop.
    pub(crate) fn may_go_on(&self) -> Result<(), Halt> {
        match &*self.stop.borrow() {
            Stop::No => Ok(()),
            Stop::PutDown => Err(Halt::PutDown),
            Stop::Abort(reason) => Err(Halt::Aborted(reason.clone())),
        }
    }

    /// Makes what waits durable, and does not return before it is. A store that fails is asked again, with longer and
    /// longer pauses; only a stop ends that, and what waits goes on waiting then.
    pub(crate) async fn write(&mut self) -> Result<(), Halt> {
        let (steps, mut effects) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.effects));
        if steps.is_empty() && effects.is_empty() {
            return Ok(());
        }
        effects.extend(say::of_its_life(&self.about, &steps, self.house.config.events));
        let order = RecordStep {
            run: self.about.id,
            steps,
            effects,
            at: self.house.clock.now(),
        };
        let mut failures = 0;
        loop {
            // Never wrapped in a timeout: an answer that nobody waits for may be a step that nobody knows of.
            let error = match self.house.doors.record.send(order.clone()).await {
                Ok(Ok(StepTaken::Taken { effects })) => {
                    self.nudge(effects);
                    return Ok(());
                }
                Ok(Ok(StepTaken::RunIsOver(status))) => return Err(Halt::Settled(status)),
                Ok(Err(StoreError::Closed)) | Err(_) => return Err(Halt::PutDown),
                Ok(Err(error)) => error,
            };
            failures += 1;
            let pause = pause_after(failures, self.house.clock.chance());
            tracing::warn!(run.id = %order.run, %error, retry_in = ?pause, "a step of a run could not be written down");
            let mut stop = self.stop.clone();
            tokio::select! {
                () = self.house.clock.sleep(pause) => {}
                // Told to stop: whoever told us looks after the run from here on.
                _ = stop.wait_for(|stop| *stop != Stop::No) => {
                    (self.steps, self.effects) = (order.steps, order.effects);
                    self.may_go_on()?;
                    return Err(Halt::PutDown);
                }
            }
        }
    }

    fn nudge(&self, effects: usize) {
        if effects > 0 {
            self.house.doors.effects.nudge(EffectsQueued);
        }
    }
}

/// How long to wait before the store is asked again: 100 ms, doubled each time up to 10 s, and up to a quarter less by chance.
pub(crate) fn pause_after(failures: u32, chance: f64) -> Duration {
    let longest = Duration::from_secs(10);
    let pause = Duration::from_millis(100)
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(longest);
    pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_asked_again_with_longer_pauses_up_to_a_limit() {
        let pauses: Vec<u128> = [1, 2, 3, 8, 100]
            .iter()
            .map(|n| pause_after(*n, 0.0).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 10_000, 10_000]);
        assert_eq!(pause_after(1, 1.0).as_millis(), 75);
    }
}
