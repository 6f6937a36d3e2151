//! Works the outbox off for one platform: reads what is due, writes the attempt down, has it performed, writes down what became of it.
//! Knows domain, messages and clock; never who performs or who stores.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use tokio::sync::{Notify, oneshot};

use super::backoff::Backoff;
use crate::clock::SharedClock;
use crate::domain::{AttemptOutcome, Effect, EffectSeq, StoredEffect};
use crate::house::Bell;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::outbound::{EffectsQueued, OutboundFault, Perform, Performed};
use crate::messages::store::{ClaimEffect, DueEffects, ReadDueEffects, ResultOf, SettleEffect, StoreResult};

/// So many lanes of one pace are at work at once: enough to keep its client busy, too few to take the room of other paces.
const LANES_PER_PACE: usize = 4;
/// Effects read at once. Several may be of one lane, of which one starts.
const BATCH: usize = 64;
/// Nudges carry nothing, so a mailbox that is full of them loses nothing.
const MAILBOX: usize = 64;
/// The outbox is looked at this often even when nothing calls for it: a clock that was set, or a nudge that went missing, costs minutes.
const LONGEST_NAP: TimeDelta = TimeDelta::minutes(10);
/// Waits after the store failed, growing from the first to the second.
const STORE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// For whom a replier works.
#[derive(Debug, Clone, Copy)]
pub struct Platform {
    /// Its name, for words: `GitHub`.
    pub name: &'static str,
    /// What the kinds of its effects start with: `github.`.
    pub kinds: &'static str,
    /// When what failed is tried again.
    pub backoff: Backoff,
    /// On so many lanes it works at the same time (at least one).
    pub most_lanes: usize,
}

/// To whom the replier speaks.
#[derive(Clone)]
pub struct ReplierDoors {
    /// The store: what is due.
    pub due: Recipient<ReadDueEffects>,
    /// The store: what came of the act that another builds on.
    pub result_of: Recipient<ResultOf>,
    /// The store: an attempt is about to be made.
    pub claim: Recipient<ClaimEffect>,
    /// The store: what became of it.
    pub settle: Recipient<SettleEffect>,
    /// The client of the platform.
    pub perform: Recipient<Perform>,
}

/// Delivers what the house says at one platform. Handles [`EffectsQueued`], [`AwaitQuiet`] and [`Finish`].
///
/// Effects of one lane leave in order, one at a time; lanes do not wait for one another. An attempt is on disk before it is made,
/// and a claimed attempt is always carried to its end: there is no timeout here, the client has its own.
pub struct Replier {
    doors: ReplierDoors,
    clock: SharedClock,
    platform: Platform,
    lanes: HashMap<String, Lane>,
    /// Paces whose platform asked for patience, until when.
    held: HashMap<String, DateTime<Utc>>,
    /// Answers to [`OutboundFault::Wait`] per effect: an attempt that was only told to wait is no failed try.
    waits: HashMap<EffectSeq, u32>,
    looking: bool,
    look_again: bool,
    /// Reads of the outbox that failed in a row.
    store_failures: u32,
    /// Pieces of work that were put down in a row.
    stumbles: u32,
    timer: Option<SpawnHandle>,
    finished: u64,
    stop: Rc<Stop>,
    quiet: Vec<oneshot::Sender<u64>>,
    ended: Vec<oneshot::Sender<()>>,
    _bell: Bell,
}

/// Why a lane starts nothing.
enum Lane {
    AtWork,
    /// Its first effect waits for its next try.
    Until(DateTime<Utc>),
}

#[derive(Default)]
struct Stop {
    asked: Cell<bool>,
    bell: Notify,
}

/// How the work on one effect ended.
enum Carried {
    /// It is final.
    Final,
    /// It will be tried again.
    Again { at: DateTime<Utc>, waited: bool },
    /// The store did not play along; nothing was tried, or what was tried is not written down.
    Stumbled(String),
}

impl Replier {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A replier for this platform.
    #[must_use]
    pub fn new(doors: ReplierDoors, clock: SharedClock, platform: Platform, bell: Bell) -> Self {
        Self {
            doors,
            clock,
            platform: Platform {
                most_lanes: platform.most_lanes.max(1),
                ..platform
            },
            lanes: HashMap::new(),
            held: HashMap::new(),
            waits: HashMap::new(),
            looking: false,
            look_again: false,
            store_failures: 0,
            stumbles: 0,
            timer: None,
            finished: 0,
            stop: Rc::default(),
            quiet: Vec::new(),
            ended: Vec::new(),
            _bell: bell,
        }
    }

    fn at_work(&self) -> usize {
        self.lanes.values().filter(|lane| matches!(lane, Lane::AtWork)).count()
    }

    fn at_work_of(&self, pace: &str) -> usize {
        let of_pace = |(lane, state): &(&String, &Lane)| matches!(state, Lane::AtWork) && Effect::pace(lane) == pace;
        self.lanes.iter().filter(of_pace).count()
    }

    fn pace_is_busy(&self, pace: &str) -> bool {
        self.held.contains_key(pace) || self.at_work_of(pace) >= LANES_PER_PACE
    }

    fn busy_paces(&self) -> Vec<String> {
        let at_work = self.lanes.iter().filter(|(_, state)| matches!(state, Lane::AtWork));
        let paces: HashSet<&str> = at_work.map(|(lane, _)| Effect::pace(lane)).collect();
        let full = paces.into_iter().filter(|pace| self.at_work_of(pace) >= LANES_PER_PACE);
        full.map(str::to_owned).chain(self.held.keys().cloned()).collect()
    }

    /// Reads what is due, unless a look is on its way: then another follows it, so that no nudge is lost.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.stop.asked.get() {
            return;
        }
        if self.looking || self.at_work() >= self.platform.most_lanes {
            self.look_again = true;
            return;
        }
        self.looking = true;
        self.look_again = false;
        let now = self.clock.now();
        self.lanes
            .retain(|_, lane| !matches!(lane, Lane::Until(at) if *at <= now));
        self.held.retain(|_, until| *until > now);
        let order = ReadDueEffects {
            kinds: self.platform.kinds,
            busy_lanes: self.lanes.keys().cloned().collect(),
            busy_paces: self.busy_paces(),
            now,
            limit: BATCH,
        };
        let answer = self.doors.due.send(order).into_actor(self);
        ctx.spawn(answer.map(move |answer, replier, ctx| {
            replier.looking = false;
            match answer
                .map_err(|gone| gone.to_string())
                .and_then(|read| read.map_err(|error| error.to_string()))
            {
                Ok(due) => replier.begin(due, now, ctx),
                Err(error) => replier.pause(&error, ctx),
            }
        }));
    }

    fn begin(&mut self, read: DueEffects, now: DateTime<Utc>, ctx: &mut Context<Self>) {
        self.store_failures = 0;
        let full = read.due.len() >= BATCH;
        let mut begun = 0;
        let mut due = read.due;
        due.sort_by_key(|effect| !Effect::goes_first(effect.effect.kind()));
        for effect in due {
            if self.stop.asked.get() || self.at_work() >= self.platform.most_lanes {
                break;
            }
            let lane = effect.effect.lane();
            // The first of a lane in the order of the outbox starts; the others wait behind it.
            if self.lanes.contains_key(&lane) || self.pace_is_busy(Effect::pace(&lane)) {
                continue;
            }
            self.lanes.insert(lane.clone(), Lane::AtWork);
            begun += 1;
            self.carry(lane, effect, ctx);
        }
        self.nap(read.next.filter(|next| *next > now), now, ctx);
        // A full batch may hide other lanes behind it.
        if self.look_again || (full && begun > 0) {
            self.look(ctx);
        }
        self.tell_if_quiet();
    }

    fn carry(&mut self, lane: String, effect: StoredEffect, ctx: &mut Context<Self>) {
        let seq = effect.seq;
        let waits = self.waits.get(&seq).copied().unwrap_or(0);
        let work = carry(
            effect,
            waits,
            self.platform,
            self.doors.clone(),
            self.clock.clone(),
            self.stop.clone(),
        );
        let work = AssertUnwindSafe(work)
            .catch_unwind()
            .map(|end| end.unwrap_or_else(|_| Carried::Stumbled("a panic; the log has it".to_owned())));
        ctx.spawn(work.into_actor(self).map(move |end, replier, ctx| {
            replier.lanes.remove(&lane);
            match end {
                Carried::Final => {
                    replier.stumbles = 0;
                    replier.finished += 1;
                    replier.waits.remove(&seq);
                    replier.look(ctx);
                }
                Carried::Again { at, waited } => {
                    replier.stumbles = 0;
                    if waited {
                        *replier.waits.entry(seq).or_insert(0) += 1;
                        // A limit belongs to the pace: nobody of it need ask before that.
                        let until = replier.held.entry(Effect::pace(&lane).to_owned()).or_insert(at);
                        *until = at.max(*until);
                    }
                    // Its followers wait with it, as they do in the store: who answers a thread out of order says nonsense.
                    replier.lanes.insert(lane, Lane::Until(at));
                    replier.look(ctx);
                }
                Carried::Stumbled(error) => {
                    let pause = growing(replier.stumbles);
                    replier.stumbles = replier.stumbles.saturating_add(1);
                    tracing::warn!(effect = %seq, error, pause_s = pause.as_secs(), "a reply was put down, it is taken up again");
                    replier.lanes.insert(lane, Lane::Until(replier.clock.now() + pause));
                    replier.look(ctx);
                }
            }
            replier.tell_if_quiet();
        }));
    }

    /// Goes on by itself after the store failed: nothing else may come to wake us.
    fn pause(&mut self, error: &str, ctx: &mut Context<Self>) {
        let pause = growing(self.store_failures);
        self.store_failures = self.store_failures.saturating_add(1);
        tracing::warn!(
            error,
            pause_s = pause.as_secs(),
            "the outbox cannot be read, trying again"
        );
        self.wake_in(pause, ctx);
        self.tell_if_quiet();
    }

    /// Sets the one timer to the next instant at which something is due.
    fn nap(&mut self, next: Option<DateTime<Utc>>, now: DateTime<Utc>, ctx: &mut Context<Self>) {
        if self.stop.asked.get() {
            return;
        }
        let lanes = self.lanes.values().filter_map(|lane| match lane {
            Lane::Until(at) => Some(*at),
            Lane::AtWork => None,
        });
        let at = lanes
            .chain(self.held.values().copied())
            .chain(next)
            .fold(now + LONGEST_NAP, DateTime::min);
        self.wake_in((at - now).to_std().unwrap_or_default(), ctx);
    }

    fn wake_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let alarm = self.clock.sleep(wait).into_actor(self);
        self.timer = Some(ctx.spawn(alarm.map(|(), replier, ctx| {
            replier.timer = None;
            replier.look(ctx);
        })));
    }

    fn tell_if_quiet(&mut self) {
        if self.at_work() > 0 {
            return;
        }
        if self.stop.asked.get() {
            for asker in self.ended.drain(..) {
                // One who asked and gave up is no failure.
                let _ = asker.send(());
            }
        } else if self.looking || self.look_again || self.store_failures > 0 {
            return;
        }
        for asker in self.quiet.drain(..) {
            let _ = asker.send(self.finished);
        }
    }
}

fn growing(failures: u32) -> Duration {
    STORE_PAUSE
        .0
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(STORE_PAUSE.1)
}

/// One attempt at one effect, from the claim to the settled outcome.
async fn carry(
    effect: StoredEffect,
    waits: u32,
    platform: Platform,
    doors: ReplierDoors,
    clock: SharedClock,
    stop: Rc<Stop>,
) -> Carried {
    let claim = ClaimEffect {
        effect: effect.seq,
        at: clock.now(),
    };
    let attempt = match flat(doors.claim.send(claim).await) {
        Ok(Some(attempt)) => attempt,
        Ok(None) => return Carried::Final,
        Err(error) => return Carried::Stumbled(error),
    };
    let base = match effect.effect.builds_on() {
        None => None,
        Some(key) => match flat(doors.result_of.send(ResultOf(key.clone())).await) {
            Ok(base) => base,
            // The attempt is written down and was not made; it is taken up again like one that a crash cut off.
            Err(error) => return Carried::Stumbled(error),
        },
    };
    let order = Perform {
        base,
        key: effect.key.clone(),
        effect: effect.effect.clone(),
        look_first: attempt > 1,
        since: effect.created_at,
    };
    // A panic on the way counts as a failed try, so that one bad effect is given up like any other.
    let performed = match AssertUnwindSafe(doors.perform.send(order)).catch_unwind().await {
        Ok(Ok(performed)) => performed,
        Ok(Err(gone)) => Err(OutboundFault::Retryable(format!(
            "the {} client does not answer: {gone}",
            platform.name
        ))),
        Err(_) => Err(OutboundFault::Retryable(format!(
            "a panic on the way to the {} client; the log has it",
            platform.name
        ))),
    };
    let waited = matches!(performed, Err(OutboundFault::Wait { .. }));
    let tries = attempt.saturating_sub(waits);
    let outcome = judge(performed, tries, platform.backoff, clock.now(), clock.chance());
    say(&effect, attempt, &outcome);

    // What the platform has must be written down, or it would be done again. While the disk is full this waits, and only this lane with it.
    let mut pause = STORE_PAUSE.0;
    loop {
        let order = SettleEffect {
            effect: effect.seq,
            attempt,
            outcome: outcome.clone(),
            at: clock.now(),
        };
        let Err(error) = flat(doors.settle.send(order).await) else {
            break;
        };
        if stop.asked.get() {
            return Carried::Stumbled(error);
        }
        tracing::warn!(effect = %effect.seq, error, "what became of a reply cannot be written down, trying again");
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = stop.bell.notified() => {}
        }
        pause = pause.saturating_mul(2).min(STORE_PAUSE.1);
    }
    match outcome {
        AttemptOutcome::Retry { at, .. } => Carried::Again { at, waited },
        AttemptOutcome::Done { .. } | AttemptOutcome::Dead { .. } | AttemptOutcome::Undeliverable { .. } => {
            Carried::Final
        }
    }
}

/// What an answer of the client means for the outbox. `tries` counts this attempt and those that failed before it.
fn judge(
    performed: Result<Performed, OutboundFault>,
    tries: u32,
    backoff: Backoff,
    now: DateTime<Utc>,
    chance: f64,
) -> AttemptOutcome {
    match performed {
        Ok(done) => AttemptOutcome::Done { result: done.result },
        Err(OutboundFault::NoCredentials(error)) => AttemptOutcome::Undeliverable { error },
        Err(OutboundFault::Wait { until, why }) => AttemptOutcome::Retry { at: until, error: why },
        Err(OutboundFault::Retryable(error)) => match backoff.next_try(tries, now, chance) {
            Some(at) => AttemptOutcome::Retry { at, error },
            None => AttemptOutcome::Dead {
                error: format!("given up after {tries} tries: {error}"),
            },
        },
        Err(OutboundFault::Never(error)) => AttemptOutcome::Dead { error },
    }
}

fn say(effect: &StoredEffect, attempt: u32, outcome: &AttemptOutcome) {
    let (seq, kind, target) = (effect.seq, effect.effect.kind(), effect.effect.target());
    match outcome {
        AttemptOutcome::Done { result } => {
            tracing::info!(effect = %seq, kind, target, attempt, result, "a reply is out")
        }
        AttemptOutcome::Retry { at, error } => {
            tracing::warn!(effect = %seq, kind, target, attempt, %at, error, "a reply is tried again later");
        }
        AttemptOutcome::Dead { error } => {
            tracing::error!(effect = %seq, kind, target, attempt, error, "a reply is given up");
        }
        AttemptOutcome::Undeliverable { error } => {
            tracing::warn!(effect = %seq, kind, target, attempt, error, "a reply has nobody to go to, it is kept");
        }
    }
}

fn flat<T>(answer: Result<StoreResult<T>, MailboxError>) -> Result<T, String> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(gone) => Err(format!("the store does not answer: {gone}")),
    }
}

impl Actor for Replier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        // What an earlier process left in the outbox.
        self.look(ctx);
    }
}

impl Handler<EffectsQueued> for Replier {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, ctx: &mut Context<Self>) {
        self.look(ctx);
    }
}

impl Handler<Ping> for Replier {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for Replier {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, ctx: &mut Context<Self>) -> Self::Result {
        let (told, hears) = oneshot::channel();
        self.quiet.push(told);
        // What was queued before the question counts; an answer from before it does not.
        self.look(ctx);
        self.tell_if_quiet();
        let finished = self.finished;
        Box::pin(async move { hears.await.unwrap_or(finished) })
    }
}

impl Handler<Finish> for Replier {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, ctx: &mut Context<Self>) -> Self::Result {
        self.stop.asked.set(true);
        self.stop.bell.notify_waiters();
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let (told, hears) = oneshot::channel();
        self.ended.push(told);
        self.tell_if_quiet();
        Box::pin(async move {
            // An error means that the replier is gone, and it began nothing new.
            let _ = hears.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_decides_what_happens_next() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid instant");
        let later = now + TimeDelta::minutes(7);
        let wait = || {
            Err(OutboundFault::Wait {
                until: later,
                why: "GitHub asks to wait".to_owned(),
            })
        };
        let flaky = || Err(OutboundFault::Retryable("no connection".to_owned()));
        for (performed, tries, expected) in [
            (
                Ok(Performed {
                    result: "url".to_owned(),
                    found: true,
                }),
                3,
                "done url",
            ),
            (
                Err(OutboundFault::NoCredentials("no GitHub credentials".to_owned())),
                1,
                "undeliverable no GitHub credentials",
            ),
            (wait(), 1, "retry in 420 GitHub asks to wait"),
            (wait(), 10, "retry in 420 GitHub asks to wait"),
            (flaky(), 1, "retry in 1 no connection"),
            (flaky(), 4, "retry in 120 no connection"),
            (flaky(), 10, "dead given up after 10 tries: no connection"),
            (Err(OutboundFault::Never("gone".to_owned())), 1, "dead gone"),
        ] {
            let told = match judge(performed, tries, Backoff::DAYS, now, 0.0) {
                AttemptOutcome::Done { result } => format!("done {result}"),
                AttemptOutcome::Retry { at, error } => format!("retry in {} {error}", (at - now).num_seconds()),
                AttemptOutcome::Dead { error } => format!("dead {error}"),
                AttemptOutcome::Undeliverable { error } => format!("undeliverable {error}"),
            };
            assert!(told.starts_with(expected), "{told} / {expected}");
        }
    }
}
