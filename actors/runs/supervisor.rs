//! Holds the places for live runs: takes from the persisted queue, starts one runner per run, looks after those that fall. Knows no phase.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::census;
use super::config::{RunDoors, RunsConfig};
use super::facts::task_of;
use super::ledger::pause_after;
use super::runner::{House, Runner};
use super::say;
use crate::clock::SharedClock;
use crate::domain::{NewEffect, ProcessGroup, RunFilter, RunId, RunRecord, RunStatus};
use crate::folders;
use crate::house::Bell;
use crate::messages::cron::RunsRested;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::outbound::EffectsQueued;
use crate::messages::runs::{
    Abort, CancelRun, KillProcess, NotCancelled, ReadProcesses, RunEnded, RunEnding, StartRun,
};
use crate::messages::store::{
    EndRun, ListRuns, LoadRun, RecoverRuns, StoreError, StoreResult, TakeQueuedRuns, TellEnds, UntoldEnds,
};

/// How many messages may wait for the supervisor.
const MAILBOX: usize = 1_024;

/// How often a run that the service's end left running is taken up again, and how often one whose runner panicked.
const MOST_RESTARTS: u32 = 3;

/// The queue is looked at this often even if nobody says that something waits there.
const SWEEP: Duration = Duration::from_secs(15);

/// How often old work folders are looked for.
const TIDY: Duration = Duration::from_secs(60 * 60);

/// How many ends that no runner saw are told of at a time.
const ENDS_AT_ONCE: usize = 50;

/// How many live runs are read at a time.
const LIVE_PAGE: usize = 200;

/// Keeps at most `max_runs` runs live, and none of them forgotten.
///
/// - **Queue.** It is in the store; [`StartRun`] is only a nudge. A nudge that comes while the queue is being read makes it
///   be read once more, and a sweep every 15 s finds what nobody nudged for.
/// - **Store errors** are logged and the order is repeated on the clock: after 100 ms, doubled each time up to 10 s.
/// - **A runner that panics** leaves its run `running` in the store. It is loaded and begun anew where its records say, twice;
///   the third panic fails it. A phase that was cut off counts its own interruptions beside that, and a restart of the
///   service forgets the panics but counts a restart, so that no bad run lives for ever.
/// - **Cancel** of a live run kills its processes at once and is answered when the end is on disk.
pub struct RunSupervisor {
    house: House,
    /// What a crash left running is back in the queue. Nothing is taken before.
    recovered: bool,
    live: BTreeMap<RunId, Live>,
    /// Runs whose store order could not be carried out yet, with the order.
    debts: BTreeMap<RunId, Debt>,
    panics: BTreeMap<RunId, u32>,
    /// An order to the store that belongs to [`RunSupervisor::advance`] is under way, or a pause after a failed one.
    busy: bool,
    /// The queue is to be looked at.
    look: bool,
    /// Ends that no runner saw are to be looked for.
    look_for_ends: bool,
    failures: u32,
    /// The first debt could not be paid; it rests for a while, so that it does not hold up the queue.
    debts_rest: bool,
    debt_failures: u32,
    finished: u64,
    finishing: bool,
    /// Who waits for quiet, and whether the queue has been read since they asked.
    quiet: Vec<(oneshot::Sender<u64>, bool)>,
    put_down: Vec<oneshot::Sender<()>>,
    _bell: Bell,
}

/// A run that is being worked at.
struct Live {
    runner: Addr<Runner>,
    cancels: Vec<oneshot::Sender<RunEnding>>,
}

/// What the supervisor owes a run.
#[derive(Debug, Clone)]
enum Debt {
    /// To be begun anew, after its runner panicked.
    Restart,
    /// To be ended with this status and for this reason.
    End(RunStatus, String),
}

/// The next order to the store, out of [`RunSupervisor::advance`].
enum Errand {
    Recover,
    Pay(RunId, Debt),
    Tell,
    Take(usize),
}

/// What came back.
enum Brought {
    Recovered(usize, usize),
    Loaded(RunId, Option<Box<RunRecord>>),
    Ended(RunId),
    /// So many ends were told of.
    Told(usize),
    Taken(Vec<RunRecord>),
}

impl RunSupervisor {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A supervisor that begins, once it is started, with what a crash left running. `bell` rings when it is gone.
    #[must_use]
    pub fn new(config: RunsConfig, doors: RunDoors, clock: SharedClock, bell: Bell) -> Self {
        Self {
            house: House {
                config: Arc::new(config),
                doors,
                clock,
            },
            recovered: false,
            live: BTreeMap::new(),
            debts: BTreeMap::new(),
            panics: BTreeMap::new(),
            busy: false,
            look: true,
            look_for_ends: true,
            failures: 0,
            debts_rest: false,
            debt_failures: 0,
            finished: 0,
            finishing: false,
            quiet: Vec::new(),
            put_down: Vec::new(),
            _bell: bell,
        }
    }

    /// Does the next thing there is to do with the store: recover, pay a debt, take from the queue. One at a time, so that
    /// the number of free places cannot change under an order.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let Some(errand) = self.next_errand() else {
            self.answer_who_waits();
            return;
        };
        if matches!(errand, Errand::Tell) {
            self.look_for_ends = false;
        }
        if matches!(errand, Errand::Take(_)) {
            self.look = false;
            for (_, covered) in &mut self.quiet {
                *covered = true;
            }
        }
        self.busy = true;
        let is_debt = matches!(errand, Errand::Pay(..));
        let run = self
            .run_errand(errand)
            .into_actor(self)
            .map(move |brought, supervisor, ctx| {
                match brought {
                    Ok(brought) => {
                        supervisor.busy = false;
                        *(if is_debt {
                            &mut supervisor.debt_failures
                        } else {
                            &mut supervisor.failures
                        }) = 0;
                        supervisor.take_in(brought, ctx);
                        supervisor.advance(ctx);
                    }
                    Err(error) if is_debt => supervisor.rest_debts(&error, ctx),
                    Err(error) => supervisor.pause(&error, ctx),
                };
            });
        ctx.spawn(run);
    }

    fn next_errand(&self) -> Option<Errand> {
        if self.finishing {
            return None;
        }
        if !self.recovered {
            return Some(Errand::Recover);
        }
        if let Some((run, debt)) = self.debts.iter().next()
            && !self.debts_rest
        {
            return Some(Errand::Pay(*run, debt.clone()));
        }
        if self.look_for_ends {
            return Some(Errand::Tell);
        }
        let free = self.house.config.max_runs.max(1).saturating_sub(self.live.len());
        (self.look && free > 0).then_some(Errand::Take(free))
    }

    fn run_errand(&self, errand: Errand) -> BoxFuture<'static, StoreResult<Brought>> {
        let doors = self.house.doors.clone();
        let at = self.house.clock.now();
        Box::pin(async move {
            match errand {
                Errand::Recover => {
                    let most = MOST_RESTARTS;
                    let (back, given_up) = answered(doors.recover.send(RecoverRuns { most, at }).await)?;
                    Ok(Brought::Recovered(back, given_up))
                }
                Errand::Pay(run, Debt::Restart) => {
                    let record = answered(doors.load.send(LoadRun(run)).await)?;
                    Ok(Brought::Loaded(run, record.map(Box::new)))
                }
                Errand::Pay(run, Debt::End(status, error)) => {
                    let order = EndRun { run, status, error, at };
                    answered(doors.end.send(order).await)?;
                    Ok(Brought::Ended(run))
                }
                Errand::Tell => {
                    let most = ENDS_AT_ONCE;
                    let records = answered(doors.untold.send(UntoldEnds { most }).await)?;
                    let told = records.len();
                    if told > 0 {
                        let ends = records.iter().map(of_its_end).collect();
                        answered(doors.tell.send(TellEnds { ends, at }).await)?;
                        doors.effects.nudge(EffectsQueued);
                    }
                    Ok(Brought::Told(told))
                }
                Errand::Take(free) => Ok(Brought::Taken(answered(
                    doors.take.send(TakeQueuedRuns { free, at }).await,
                )?)),
            }
        })
    }

    fn take_in(&mut self, brought: Brought, ctx: &mut Context<Self>) {
        match brought {
            Brought::Recovered(back, given_up) => {
                self.recovered = true;
                if back + given_up > 0 {
                    tracing::info!(
                        back,
                        given_up,
                        "runs that the last stop of the service cut off are taken up again"
                    );
                }
            }
            Brought::Loaded(run, record) => {
                // Cancelled in the meantime, the debt has become another one.
                if matches!(self.debts.get(&run), Some(Debt::Restart)) {
                    self.debts.remove(&run);
                    match record {
                        Some(record) if record.summary.status == RunStatus::Running => self.start(*record, ctx),
                        _ => self.rests(run),
                    }
                }
            }
            Brought::Ended(run) => {
                self.look_for_ends = true;
                self.debts.remove(&run);
                self.rests(run);
            }
            // Others may have ended in the meantime; the next look finds them.
            Brought::Told(told) => self.look_for_ends |= told == ENDS_AT_ONCE,
            Brought::Taken(records) => {
                for record in records {
                    self.start(record, ctx);
                }
            }
        }
    }

    /// A run needs no place any more; another of its subject may go.
    fn rests(&mut self, run: RunId) {
        self.panics.remove(&run);
        self.finished += 1;
        self.look = true;
        self.tell_crons();
    }

    /// A schedule may wait for a run that came to rest. A full mailbox holds a nudge already.
    fn tell_crons(&self) {
        let _ = self.house.doors.crons.try_send(RunsRested);
    }

    /// Waits before the store is asked again; stays `busy` so that nothing else asks in the meantime.
    fn pause(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        self.failures = self.failures.saturating_add(1);
        self.look = true;
        self.look_for_ends = true;
        let pause = pause_after(self.failures, self.house.clock.chance());
        tracing::warn!(%error, retry_in = ?pause, "the queue of runs could not be served");
        let wait = self
            .house
            .clock
            .sleep(pause)
            .into_actor(self)
            .map(|(), supervisor, ctx| {
                supervisor.busy = false;
                supervisor.advance(ctx);
            });
        ctx.spawn(wait);
        if self.finishing {
            self.answer_who_waits();
        }
    }

    /// Lets debts rest before the store is asked again.
    fn rest_debts(&mut self, error: &StoreError, ctx: &mut Context<Self>) {
        self.busy = false;
        self.debts_rest = true;
        self.debt_failures = self.debt_failures.saturating_add(1);
        let pause = pause_after(self.debt_failures, self.house.clock.chance());
        tracing::warn!(%error, retry_in = ?pause, "a run that lost its runner could not be looked after");
        let wait = self
            .house
            .clock
            .sleep(pause)
            .into_actor(self)
            .map(|(), supervisor, ctx| {
                supervisor.debts_rest = false;
                supervisor.advance(ctx);
            });
        ctx.spawn(wait);
        self.advance(ctx);
    }

    fn start(&mut self, record: RunRecord, ctx: &mut Context<Self>) {
        if self.finishing {
            // The store has it as running; the next start takes it up.
            return;
        }
        let run = record.summary.id;
        let (bell, heard) = oneshot::channel();
        let runner = Runner::new(record, self.house.clone(), bell).start();
        self.live.insert(
            run,
            Live {
                runner,
                cancels: Vec::new(),
            },
        );
        // The bell is a channel and not a message, because a runner that panics can send none.
        let me = ctx.address();
        let told = async move {
            let ending = heard.await.unwrap_or(RunEnding::Panicked);
            // Fails only when this very actor is gone.
            let _ = me.send(RunEnded { run, ending }).await;
        };
        ctx.spawn(told.into_actor(self));
    }

    fn panicked(&mut self, run: RunId) {
        let times = self.panics.entry(run).or_insert(0);
        *times += 1;
        let debt = if *times < MOST_RESTARTS {
            Debt::Restart
        } else {
            let error =
                format!("the runner panicked {times} times; not tried again: the service's log has the details");
            Debt::End(RunStatus::Failed, error)
        };
        tracing::error!(run.id = %run, times, "the runner of a run panicked");
        self.debts.insert(run, debt);
    }

    fn answer_who_waits(&mut self) {
        if !self.live.is_empty() {
            return;
        }
        if self.finishing {
            for waiter in self.put_down.drain(..) {
                let _ = waiter.send(());
            }
        }
        let quiet = self.finishing || (!self.look && !self.busy && self.debts.is_empty());
        let finished = self.finished;
        for (waiter, covered) in std::mem::take(&mut self.quiet) {
            if quiet && (covered || self.finishing) {
                let _ = waiter.send(finished);
            } else {
                self.quiet.push((waiter, covered));
            }
        }
    }

    /// Looks for old work folders now, and again each hour.
    fn tidy_up(&self, ctx: &mut Context<Self>) {
        let house = self.house.clone();
        let tidied = async move {
            tidy(house.clone()).await;
            house.clock.sleep(TIDY).await;
        };
        ctx.spawn(
            tidied
                .into_actor(self)
                .map(|(), supervisor, ctx| supervisor.tidy_up(ctx)),
        );
    }

    fn sweep(&self, ctx: &mut Context<Self>) {
        let wait = self
            .house
            .clock
            .sleep(SWEEP)
            .into_actor(self)
            .map(|(), supervisor, ctx| {
                supervisor.look = true;
                supervisor.look_for_ends = true;
                supervisor.advance(ctx);
                supervisor.sweep(ctx);
            });
        ctx.spawn(wait);
    }
}

/// Removes the work folders of runs that are over and were not worked at for as long as the setting says. Logs stay.
async fn tidy(house: House) {
    let Some(keep) = house.config.keep_work else { return };
    let work = house.config.work_dir.clone();
    let old = folders::older_than(work.clone(), house.clock.now() - keep).await;
    if old.is_empty() {
        return;
    }
    let mut needed = BTreeSet::new();
    let mut before = None;
    loop {
        let live = RunFilter {
            statuses: vec![RunStatus::Queued, RunStatus::Running, RunStatus::Paused],
            before,
            limit: LIVE_PAGE,
            ..RunFilter::default()
        };
        let page = match answered(house.doors.list.send(ListRuns(live)).await) {
            Ok((page, _)) => page,
            Err(error) => {
                tracing::warn!(%error, "old work folders were not looked after: the live runs could not be read");
                return;
            }
        };
        for run in &page.items {
            // Whole, because one that goes on from another works in the other's folder.
            match answered(house.doors.load.send(LoadRun(run.id)).await) {
                Ok(record) => needed.extend(record.as_ref().map(task_of)),
                Err(_) => return,
            }
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let removed = folders::remove(work, old, needed).await;
    if removed > 0 {
        tracing::info!(removed, "work folders of runs that are over were removed");
    }
}

impl Actor for RunSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.advance(ctx);
        self.sweep(ctx);
        self.tidy_up(ctx);
    }
}

/// What the thread of an ended run is told.
fn of_its_end(record: &RunRecord) -> (RunId, Vec<NewEffect>) {
    let summary = &record.summary;
    (
        summary.id,
        say::ending(record, summary.status, summary.error.as_deref()),
    )
}

impl Handler<StartRun> for RunSupervisor {
    type Result = ();

    fn handle(&mut self, _: StartRun, ctx: &mut Self::Context) {
        // An answer to a question has closed its prompt as well; whoever gave it knows no replier.
        self.house.doors.effects.nudge(EffectsQueued);
        self.look = true;
        self.look_for_ends = true;
        // A rejection ends a run, too.
        self.tell_crons();
        self.advance(ctx);
    }
}

impl Handler<RunEnded> for RunSupervisor {
    type Result = ();

    fn handle(&mut self, RunEnded { run, ending }: RunEnded, ctx: &mut Self::Context) {
        let Some(live) = self.live.remove(&run) else { return };
        let cancelled = !live.cancels.is_empty();
        for cancel in live.cancels {
            let _ = cancel.send(ending);
        }
        match ending {
            RunEnding::Settled(status) => {
                tracing::info!(run.id = %run, %status, "a run came to rest");
                self.rests(run);
            }
            // Whoever cancels it ends it in the store, too.
            RunEnding::Panicked if !cancelled => self.panicked(run),
            RunEnding::PutDown | RunEnding::Panicked => self.look = true,
        }
        self.advance(ctx);
        if self.finishing {
            self.answer_who_waits();
        }
    }
}

impl Handler<CancelRun> for RunSupervisor {
    type Result = ResponseActFuture<Self, Result<(), NotCancelled>>;

    fn handle(&mut self, CancelRun { run, who }: CancelRun, _: &mut Self::Context) -> Self::Result {
        let reason = format!("cancelled by {who}");
        let ended = self.live.get_mut(&run).map(|live| {
            let (sender, ended) = oneshot::channel();
            live.cancels.push(sender);
            // A full mailbox means that the runner has been told to stop many times already.
            let _ = live.runner.try_send(Abort { reason: reason.clone() });
            ended
        });
        let (doors, clock) = (self.house.doors.clone(), self.house.clock.clone());
        let order = EndRun {
            run,
            status: RunStatus::Cancelled,
            error: reason.clone(),
            at: clock.now(),
        };
        let story = async move {
            if let Some(ended) = ended
                && let Ok(RunEnding::Settled(RunStatus::Cancelled)) = ended.await
            {
                return Ok(());
            }
            // Not live, or it came to rest by itself in the same moment, or its end could not be written down.
            match answered(doors.end.send(order).await)? {
                None => Err(NotCancelled::Unknown),
                Some(status) if status.is_final() => Err(NotCancelled::Over(status)),
                Some(_) => Ok(()),
            }
        };
        let done = story.into_actor(self).map(move |answer, supervisor, ctx| {
            match &answer {
                // Its process is dead and nobody works at it: the end is owed, whatever the caller was told.
                Err(NotCancelled::Store(_)) => {
                    supervisor.debts.insert(run, Debt::End(RunStatus::Cancelled, reason));
                }
                // Nor is it begun anew after a panic.
                _ => {
                    supervisor.debts.remove(&run);
                    supervisor.look = true;
                    supervisor.look_for_ends = true;
                    supervisor.tell_crons();
                }
            }
            supervisor.advance(ctx);
            answer
        });
        Box::pin(done)
    }
}

impl Handler<ReadProcesses> for RunSupervisor {
    type Result = ResponseFuture<Vec<ProcessGroup>>;

    fn handle(&mut self, _: ReadProcesses, _: &mut Self::Context) -> Self::Result {
        Box::pin(census::take())
    }
}

impl Handler<KillProcess> for RunSupervisor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, order: KillProcess, _: &mut Self::Context) -> Self::Result {
        Box::pin(census::kill(order.name))
    }
}

impl Handler<Ping> for RunSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for RunSupervisor {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, ctx: &mut Self::Context) -> Self::Result {
        let (sender, quiet) = oneshot::channel();
        let finished = self.finished;
        self.quiet.push((sender, false));
        // A nudge may be on its way still; the queue itself is asked.
        self.look = true;
        self.advance(ctx);
        Box::pin(async move { quiet.await.unwrap_or(finished) })
    }
}

impl Handler<Finish> for RunSupervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.finishing = true;
        for live in self.live.values() {
            // A full mailbox means that the runner has been told to stop already.
            let _ = live.runner.try_send(Finish);
        }
        let (sender, done) = oneshot::channel();
        self.put_down.push(sender);
        self.answer_who_waits();
        Box::pin(async move {
            let _ = done.await;
        })
    }
}

/// The store's answer; a store that is gone has closed.
fn answered<T>(answer: Result<StoreResult<T>, MailboxError>) -> StoreResult<T> {
    answer.unwrap_or(Err(StoreError::Closed))
}
