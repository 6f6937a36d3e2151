//! The actor that keeps the deadlines of questions: answers by default, and tells that nobody has answered. Knows no run at work.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};

use super::ledger::pause_after;
use crate::clock::SharedClock;
use crate::domain::{
    Approval, Decided, Decision, Effect, EffectKey, NewEffect, Priority, ReplyTo, Responder, RunRecord,
};
use crate::house::{Bell, Nudges};
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::outbound::EffectsQueued;
use crate::messages::runs::{GatesChanged, StartRun};
use crate::messages::store::{Answer, CloseGate, DueGates, EscalateGate, GatesDue, LoadRun, StoreError, StoreResult};
use crate::messaging::replies;

/// How many questions are looked after in one go.
const BATCH: usize = 100;

/// The store is looked at this often even if nothing is known to be due, should a nudge have found the mailbox full.
const SWEEP: Duration = Duration::from_secs(60);

/// How many messages may wait.
const MAILBOX: usize = 64;

/// Whom the gate keeper speaks to.
#[derive(Debug, Clone)]
pub struct GateDoors {
    /// The store.
    pub due: Recipient<DueGates>,
    /// The store.
    pub close: Recipient<CloseGate>,
    /// The store.
    pub escalate: Recipient<EscalateGate>,
    /// The store: where a run's answers go.
    pub load: Recipient<LoadRun>,
    /// The run supervisor.
    pub start_run: Recipient<StartRun>,
    /// The replier of each platform.
    pub effects: Nudges<EffectsQueued>,
}

/// Keeps the deadlines. They are in the store, so that they outlive the process: one that passed while the service was
/// down is kept as soon as it is up again.
pub struct GateKeeper {
    doors: GateDoors,
    /// The chat channel for runs without a thread of their own.
    delivery: Option<Rc<str>>,
    clock: SharedClock,
    at_work: bool,
    again: bool,
    finishing: bool,
    /// Ends the wait for the next deadline; each look begins a new one.
    wait: Option<watch::Sender<()>>,
    failures: u32,
    kept: u64,
    quiet: Vec<oneshot::Sender<u64>>,
    _bell: Bell,
}

/// What one look came to.
struct Looked {
    kept: u64,
    more: bool,
    next: Option<chrono::DateTime<chrono::Utc>>,
}

impl GateKeeper {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A keeper that begins, once started, with what became due while nobody looked. `delivery_channel` is the id of the
    /// chat channel for runs that answer to no thread of their own. `bell` rings when it is gone.
    #[must_use]
    pub fn new(doors: GateDoors, delivery_channel: Option<&str>, clock: SharedClock, bell: Bell) -> Self {
        Self {
            doors,
            delivery: delivery_channel.map(Rc::from),
            clock,
            at_work: false,
            again: false,
            finishing: false,
            wait: None,
            failures: 0,
            kept: 0,
            quiet: Vec::new(),
            _bell: bell,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.at_work || self.finishing {
            self.again = true;
            return;
        }
        self.at_work = true;
        self.again = false;
        let look = look(self.doors.clone(), self.delivery.clone(), self.clock.clone());
        ctx.spawn(
            look.into_actor(self)
                .map(|looked, keeper, ctx| keeper.after(looked, ctx)),
        );
    }

    fn after(&mut self, looked: StoreResult<Looked>, ctx: &mut Context<Self>) {
        self.at_work = false;
        let pause = match looked {
            Ok(looked) => {
                self.failures = 0;
                self.kept += looked.kept;
                if (looked.more || self.again) && !self.finishing {
                    return self.look(ctx);
                }
                let until = looked
                    .next
                    .map(|next| (next - self.clock.now()).to_std().unwrap_or_default());
                until.unwrap_or(SWEEP).min(SWEEP)
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let pause = pause_after(self.failures, self.clock.chance());
                tracing::warn!(%error, retry_in = ?pause, "the deadlines of questions could not be looked after");
                pause
            }
        };
        for asked in self.quiet.drain(..) {
            let _ = asked.send(self.kept);
        }
        self.wait_for(pause, ctx);
    }

    /// One timer, to the earliest deadline: a new one ends the one before.
    fn wait_for(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        let (end, mut ended) = watch::channel(());
        self.wait = Some(end);
        let sleep = self.clock.sleep(pause);
        let wait = async move {
            tokio::select! {
                () = sleep => true,
                _ = ended.changed() => false,
            }
        };
        ctx.spawn(wait.into_actor(self).map(|due, keeper, ctx| {
            if due {
                keeper.look(ctx);
            }
        }));
    }

    fn when_quiet(&mut self) -> ResponseFuture<u64> {
        if !self.at_work {
            return Box::pin(std::future::ready(self.kept));
        }
        let (sender, receiver) = oneshot::channel();
        self.quiet.push(sender);
        let so_far = self.kept;
        Box::pin(async move { receiver.await.unwrap_or(so_far) })
    }
}

async fn look(doors: GateDoors, delivery: Option<Rc<str>>, clock: SharedClock) -> StoreResult<Looked> {
    let now = clock.now();
    let GatesDue {
        expired,
        escalate,
        next,
    } = ask(&doors.due, DueGates { now, limit: BATCH }).await?;
    let more = expired.len() >= BATCH || escalate.len() >= BATCH;
    let mut kept = 0;
    for question in &expired {
        let run = ask(&doors.load, LoadRun(question.run)).await?;
        let (answer, words) = by_default(question, now);
        let effects = say(question, run.as_ref(), "deadline", &words, delivery.as_deref());
        let decided = ask(&doors.close, CloseGate { answer, effects }).await?;
        if let Decided::Counted { run } = decided {
            tracing::info!(run.id = %run, gate = question.gate, "{words}");
            kept += 1;
            // A full mailbox means that both look into the store soon anyway.
            let _ = doors.start_run.try_send(StartRun);
            doors.effects.nudge(EffectsQueued);
        }
    }
    for question in escalate
        .iter()
        .filter(|question| !expired.iter().any(|over| over.id == question.id))
    {
        let run = ask(&doors.load, LoadRun(question.run)).await?;
        let order = EscalateGate {
            approval: question.id,
            effects: escalation(question, run.as_ref(), delivery.as_deref()),
            at: now,
        };
        if ask(&doors.escalate, order).await? {
            tracing::info!(run.id = %question.run, gate = question.gate, "nobody has answered; told so");
            kept += 1;
            doors.effects.nudge(EffectsQueued);
        }
    }
    Ok(Looked { kept, more, next })
}

/// The answer that counts when nobody gave one, and the words for it.
fn by_default(question: &Approval, now: chrono::DateTime<chrono::Utc>) -> (Answer, String) {
    let decision = question.rules.by_default.unwrap_or(Decision::Rejected);
    let until = question.rules.deadline.unwrap_or(now).format("%Y-%m-%d %H:%M UTC");
    let answer = Answer {
        approval: question.id,
        decision,
        by: Responder::deadline(),
        response: Some(format!("no answer by {until}")),
        saw: None,
        at: now,
    };
    let words = format!("No answer to \"{}\" by {until}: {decision} by default.", question.gate);
    (answer, words)
}

/// The notice that nobody has answered: where the question was asked, and to the operators.
fn escalation(question: &Approval, run: Option<&RunRecord>, delivery: Option<&str>) -> Vec<NewEffect> {
    let words = match &question.rules.escalate_message {
        Some(words) => words.clone(),
        None => format!("\"{}\" still waits for an answer.", question.gate),
    };
    let mut effects = say(question, run, "escalation", &words, delivery);
    let notice = Effect::Notice {
        about: format!("gate:{}", question.gate),
        text: format!(
            "{} ({}, run {}): {words}",
            question.subject, question.workflow, question.run
        ),
        priority: Priority::High,
    };
    effects.push(effect(question, run, "notice", notice));
    effects
}

/// Some words where the run answers.
fn say(
    question: &Approval,
    run: Option<&RunRecord>,
    what: &str,
    words: &str,
    delivery: Option<&str>,
) -> Vec<NewEffect> {
    match run.map(|run| &run.reply_to) {
        Some(ReplyTo::IssueComment { repo, number, .. }) => {
            let comment = Effect::GithubComment {
                repo: repo.clone(),
                number: *number,
                body: words.to_owned(),
            };
            vec![effect(question, run, what, comment)]
        }
        Some(chat) => replies::say(chat, words, delivery)
            .into_iter()
            .map(|(piece, said)| effect(question, run, &format!("{what}{piece}"), said))
            .collect(),
        None => Vec::new(),
    }
}

fn effect(question: &Approval, run: Option<&RunRecord>, what: &str, effect: Effect) -> NewEffect {
    let key: EffectKey = format!("gate:{}/{what}", question.id)
        .parse()
        .expect("an id and a short word");
    NewEffect {
        key,
        effect,
        run: Some(question.run),
        event: run.and_then(|run| run.summary.cause.event.clone()),
    }
}

/// Asks through a door; a closed mailbox is a closed store.
async fn ask<M, T>(door: &Recipient<M>, message: M) -> StoreResult<T>
where
    M: Message<Result = StoreResult<T>> + Send + 'static,
    T: Send + 'static,
{
    door.send(message)
        .map(|sent| sent.map_err(|_| StoreError::Closed)?)
        .await
}

impl Actor for GateKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.look(ctx);
    }
}

impl Handler<GatesChanged> for GateKeeper {
    type Result = ();

    fn handle(&mut self, _: GatesChanged, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<Ping> for GateKeeper {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for GateKeeper {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Self::Context) -> Self::Result {
        self.when_quiet()
    }
}

impl Handler<Finish> for GateKeeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.finishing = true;
        let quiet = self.when_quiet();
        Box::pin(async move {
            quiet.await;
        })
    }
}
