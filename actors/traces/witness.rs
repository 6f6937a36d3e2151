//! The watch on the store: notes what was committed, and hands it to the scribe. Never waits, never looks at what anybody wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::fact::{EffectFacts, Fact, PhaseFacts, Received, Routed, RunFacts, StepFacts, Tried, cut_off};
use crate::clock::SharedClock;
use crate::domain::{
    Decided, EffectSeq, MessageRecorded, NewRun, Opened, Recorded, Replayed, RunRecord, RunStatus, Step, StoredEvent,
};
use crate::messages::store::{
    ClaimDelivery, ClaimEffect, CloseGate, Decide, DueDeliveries, DueEffects, EndRun, OpenRetry, OpenRuns,
    QueueDeliveries, ReadDueDeliveries, ReadDueEffects, ReadUnsettled, RecordEvent, RecordMessage, RecordStep,
    RecoverRuns, ReplayEvent, SettleDeliveries, SettleEffect, SettleEvents, Settled, StepTaken, TakeQueuedRuns,
};
use crate::store::{After, Watch};

/// Sees the orders that move work on.
pub(super) struct Witness {
    told: Told,
    clock: SharedClock,
}

/// Where facts go.
#[derive(Clone)]
struct Told {
    facts: mpsc::Sender<Fact>,
    missed: Arc<AtomicU64>,
}

impl Told {
    fn tell(&self, fact: Fact) {
        if self.facts.try_send(fact).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Witness {
    pub(super) fn new(facts: mpsc::Sender<Fact>, missed: Arc<AtomicU64>, clock: SharedClock) -> Self {
        Self {
            told: Told { facts, missed },
            clock,
        }
    }

    /// What is made of a good answer.
    fn after<T>(&self, fact: impl FnOnce(&T, &SharedClock) -> Option<Fact> + Send + 'static) -> Option<After<T>> {
        let (told, clock) = (self.told.clone(), self.clock.clone());
        Some(Box::new(move |answer| {
            if let Some(fact) = fact(answer, &clock) {
                told.tell(fact);
            }
        }))
    }

    /// Runs that no event asked for.
    fn asked(&self, runs: Vec<&NewRun>) -> Vec<RunFacts> {
        runs.into_iter().map(RunFacts::of_new).collect()
    }
}

impl Watch for Witness {
    fn record_event(&self, order: &RecordEvent) -> Option<After<Recorded>> {
        let mut received = Received::of(&order.0.envelope, self.clock.now());
        self.after(move |answer, clock| match answer {
            Recorded::Fresh(_) => {
                received.at = clock.now();
                Some(Fact::Received(Box::new(received)))
            }
            Recorded::AlreadySeen => None,
        })
    }

    fn record_message(&self, order: &RecordMessage) -> Option<After<MessageRecorded>> {
        let mut received = Received::of(&order.event.envelope, self.clock.now());
        self.after(move |answer, clock| match answer {
            MessageRecorded::Fresh(_) => {
                received.at = clock.now();
                Some(Fact::Received(Box::new(received)))
            }
            MessageRecorded::AlreadySeen | MessageRecorded::OtherSession(_) => None,
        })
    }

    fn replay_event(&self, order: &ReplayEvent) -> Option<After<Replayed>> {
        let (event, of, ordered_at) = (order.as_new.clone()?, order.id.clone(), order.at);
        self.after(move |answer, clock| match answer {
            Replayed::Fresh(_) => Some(Fact::Replayed {
                event,
                of,
                ordered_at,
                at: clock.now(),
            }),
            _ => None,
        })
    }

    fn read_unsettled(&self, _: &ReadUnsettled) -> Option<After<Vec<StoredEvent>>> {
        self.after(|events: &Vec<StoredEvent>, clock| {
            let known = events.iter().map(|event| (event.seq, event.envelope.id.clone()));
            let events: Vec<_> = known.collect();
            (!events.is_empty()).then(|| Fact::Read {
                events,
                at: clock.now(),
            })
        })
    }

    fn settle_events(&self, order: &SettleEvents) -> Option<After<Vec<Settled>>> {
        let asked: Vec<_> = order
            .0
            .iter()
            .map(|one| Routed {
                event: one.event,
                workflow: one.open.as_ref().map(|run| run.workflow.clone()),
                opened: None,
                answered: one.decide.as_ref().map(|answer| answer.approval),
                quarantined: one.quarantined,
                lapsed: 0,
            })
            .collect();
        self.after(move |settled: &Vec<Settled>, clock| {
            let done = asked.into_iter().zip(settled).filter(|(_, settled)| settled.fresh);
            let events = done
                .map(|(routed, settled)| Routed {
                    opened: settled.opened,
                    answered: routed
                        .answered
                        .filter(|_| matches!(settled.decided, Some(Decided::Counted { .. }))),
                    lapsed: settled.lapsed,
                    ..routed
                })
                .collect();
            Some(Fact::Routed {
                events,
                at: clock.now(),
            })
        })
    }

    fn open_runs(&self, order: &OpenRuns) -> Option<After<Vec<Opened>>> {
        let (runs, ordered_at) = (self.asked(order.0.iter().collect()), self.clock.now());
        self.after(move |opened: &Vec<Opened>, clock| {
            Some(Fact::Asked {
                runs: runs.into_iter().zip(opened.iter().copied()).collect(),
                ordered_at,
                at: clock.now(),
            })
        })
    }

    fn open_retry(&self, order: &OpenRetry) -> Option<After<Opened>> {
        let (runs, ordered_at) = (self.asked(vec![&order.run]), self.clock.now());
        self.after(move |opened: &Opened, clock| {
            Some(Fact::Asked {
                runs: runs.into_iter().zip([*opened]).collect(),
                ordered_at,
                at: clock.now(),
            })
        })
    }

    fn take_queued_runs(&self, order: &TakeQueuedRuns) -> Option<After<Vec<RunRecord>>> {
        let at = order.at;
        self.after(move |runs: &Vec<RunRecord>, _| {
            let with_phases = |run: &RunRecord| {
                // Done phases were told of when they were done; those that a crash cut off were not.
                let phases = run
                    .phases
                    .iter()
                    .filter(|phase| phase.ended_at.is_none() || phase.reason.as_deref().is_some_and(interrupted));
                (RunFacts::of(run), phases.map(PhaseFacts::of).collect())
            };
            let runs: Vec<_> = runs.iter().map(with_phases).collect();
            (!runs.is_empty()).then_some(Fact::Taken { runs, at })
        })
    }

    fn recover_runs(&self, order: &RecoverRuns) -> Option<After<(usize, usize)>> {
        let at = order.at;
        self.after(move |(_, given_up), _| {
            Some(Fact::Recovered {
                given_up: *given_up > 0,
                at,
            })
        })
    }

    fn record_step(&self, order: &RecordStep) -> Option<After<StepTaken>> {
        let steps: Vec<_> = order.steps.iter().filter_map(seen).collect();
        if steps.is_empty() {
            return None;
        }
        let (run, at) = (order.run, order.at);
        self.after(move |taken, _| match taken {
            StepTaken::Taken { .. } => Some(Fact::Stepped { run, steps, at }),
            StepTaken::RunIsOver(_) => None,
        })
    }

    fn end_run(&self, order: &EndRun) -> Option<After<Option<RunStatus>>> {
        let (run, at) = (order.run, order.at);
        self.after(move |was: &Option<RunStatus>, _| {
            was.is_some_and(|was| !was.is_final())
                .then_some(Fact::Ended { run, at })
        })
    }

    fn decide(&self, order: &Decide) -> Option<After<Decided>> {
        let (approval, at) = (order.0.approval, order.0.at);
        self.after(move |decided, _| {
            matches!(decided, Decided::Counted { .. }).then_some(Fact::Answered { approval, at })
        })
    }

    fn close_gate(&self, order: &CloseGate) -> Option<After<Decided>> {
        let (approval, at) = (order.answer.approval, order.answer.at);
        self.after(move |decided, _| {
            matches!(decided, Decided::Counted { .. }).then_some(Fact::Answered { approval, at })
        })
    }

    fn read_due_effects(&self, _: &ReadDueEffects) -> Option<After<DueEffects>> {
        self.after(|due: &DueEffects, _| {
            let given: Vec<_> = due.due.iter().map(EffectFacts::of).collect();
            (!given.is_empty()).then_some(Fact::Given(given))
        })
    }

    fn read_due_deliveries(&self, _: &ReadDueDeliveries) -> Option<After<DueDeliveries>> {
        self.after(|due: &DueDeliveries, _| {
            let given: Vec<_> = due.due.iter().map(|due| EffectFacts::of(&due.effect)).collect();
            (!given.is_empty()).then_some(Fact::Given(given))
        })
    }

    fn queue_deliveries(&self, order: &QueueDeliveries) -> Option<After<Vec<Option<EffectSeq>>>> {
        let (claimed, at) = (order.claimed_until.is_some(), order.at);
        // The places are not known yet.
        let asked: Vec<_> = order
            .effects
            .iter()
            .map(|effect| EffectFacts::of_new(EffectSeq(0), effect, at))
            .collect();
        self.after(move |places: &Vec<Option<EffectSeq>>, _| {
            let placed = asked.into_iter().zip(places);
            let effects: Vec<_> = placed
                .filter_map(|(effect, seq)| seq.map(|seq| EffectFacts { seq, ..effect }))
                .collect();
            (!effects.is_empty()).then_some(Fact::Queued { effects, claimed, at })
        })
    }

    fn claim_effect(&self, order: &ClaimEffect) -> Option<After<Option<u32>>> {
        let (effect, at) = (order.effect, order.at);
        self.after(move |attempt: &Option<u32>, _| attempt.map(|attempt| Fact::Claimed { effect, attempt, at }))
    }

    fn claim_delivery(&self, order: &ClaimDelivery) -> Option<After<Option<u32>>> {
        let (effect, at) = (order.effect, order.at);
        self.after(move |attempt: &Option<u32>, _| attempt.map(|attempt| Fact::Claimed { effect, attempt, at }))
    }

    fn settle_effect(&self, order: &SettleEffect) -> Option<After<()>> {
        let at = order.at;
        let tried = Tried {
            effect: order.effect,
            attempt: order.attempt,
            outcome: Tried::word(&order.outcome),
            http_status: None,
            took_ms: None,
        };
        self.after(move |(), _| Some(Fact::Tried(vec![tried], at)))
    }

    fn settle_deliveries(&self, order: &SettleDeliveries) -> Option<After<()>> {
        let at = order.at;
        let tried = order.settled.iter().map(|settled| Tried {
            effect: settled.effect,
            attempt: settled.attempt,
            outcome: Tried::word(&settled.outcome),
            http_status: settled.http_status,
            took_ms: Some(settled.duration_ms),
        });
        let tried = tried.collect();
        self.after(move |(), _| Some(Fact::Tried(tried, at)))
    }
}

/// Whether this is the reason of a phase that a crash cut off.
fn interrupted(reason: &str) -> bool {
    cut_off(reason) == Some("interrupted")
}

/// Steps that spans tell of.
fn seen(step: &Step) -> Option<StepFacts> {
    match step {
        Step::PhaseStarted { phase, kind, attempt } => Some(StepFacts::Started {
            phase: phase.clone(),
            kind,
            attempt: *attempt,
        }),
        Step::PhaseEnded(end) => Some(StepFacts::ended(end)),
        Step::Ended { status, .. } => Some(StepFacts::RunEnded(*status)),
        // What a pause waits for is told when the wait is over.
        Step::Shown(_) | Step::Scratch { .. } | Step::Paused(_) | Step::PutDown => None,
    }
}
