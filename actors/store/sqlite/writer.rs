//! The one thread that writes. It commits in groups: what queues behind a commit joins the next one, so that one flush of
//! the disk serves everybody who waits. Knows no table.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};

use futures_util::FutureExt;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::Fault;
use super::fold::{self, Folder};
use super::noted::Noted;
use crate::changes::Board;
use crate::clock::SharedClock;
use crate::messages::store::{StoreError, StoreResult};
use crate::store::Pending;

/// What the writer is told.
pub(super) enum Told {
    /// Carry this out.
    Order(Box<dyn Order>),
    /// What came before is to be finished, what comes after is not wanted.
    Stop,
}

/// An order with the place that waits for its answer.
pub(super) trait Order: Send {
    /// Does it, within the writer's transaction.
    fn perform(&mut self, db: &Connection) -> Result<(), Fault>;

    /// Answers, when it is known what became of the transaction.
    fn answer(self: Box<Self>, verdict: StoreResult<()>);
}

struct Typed<T, W> {
    work: Option<W>,
    done: Option<T>,
    to: oneshot::Sender<StoreResult<T>>,
}

impl<T, W> Order for Typed<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, Fault> + Send,
{
    fn perform(&mut self, db: &Connection) -> Result<(), Fault> {
        if let Some(work) = self.work.take() {
            self.done = Some(unwound(|| work(db))?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, verdict: StoreResult<()>) {
        let Self { done, to, .. } = *self;
        // Nobody waits any more: what was ordered is done all the same.
        let _ = to.send(verdict.and_then(|()| done.ok_or(StoreError::Closed)));
    }
}

/// Does something that must not take the thread down with it.
pub(super) fn unwound<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // The connection is whole after an unwinding: its statements are reset as they are dropped, and what was written is
    // rolled back by whoever called.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic_words(panic.as_ref());
        tracing::error!(panic = words, "an order to the store panicked; it alone failed");
        Err(Fault::wrong(format!("the order panicked: {words}")))
    })
}

fn panic_words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

/// How the writer wrote since it started.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Orders that changed something and were committed.
    pub(super) written: AtomicU64,
    /// Commits that held them.
    pub(super) commits: AtomicU64,
}

/// Queues an order. Never waits.
pub(super) fn submit<T, W>(queue: &SyncSender<Told>, work: W) -> Pending<T>
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
{
    let (to, answer) = oneshot::channel();
    let order = Typed {
        work: Some(work),
        done: None,
        to,
    };
    match queue.try_send(Told::Order(Box::new(order))) {
        Ok(()) => answer.map(|answer| answer.unwrap_or(Err(StoreError::Closed))).boxed(),
        Err(TrySendError::Full(_)) => futures_util::future::ready(Err(StoreError::Busy)).boxed(),
        Err(TrySendError::Disconnected(_)) => futures_util::future::ready(Err(StoreError::Closed)).boxed(),
    }
}

/// The thread's own things.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) queue: Receiver<Told>,
    /// At most so many orders in one commit.
    pub(super) most: usize,
    /// Where the database lies.
    pub(super) folder: PathBuf,
    pub(super) tally: Arc<Tally>,
    /// Whether the last commit failed: an episode is told once, and its end, too.
    pub(super) in_trouble: bool,
    pub(super) folder_of_log: Folder,
    /// What the orders of this commit change.
    pub(super) noted: Noted,
    /// Where it is told when it is committed.
    pub(super) changes: Board,
    /// How long commits take.
    pub(super) clock: SharedClock,
}

impl Writer {
    /// Works until it is told to stop, or everybody who could tell it anything is gone.
    pub(super) fn run(mut self) {
        let mut stopping = false;
        while !stopping {
            match self.queue.recv() {
                Ok(Told::Order(first)) => stopping = self.commit_group(first),
                Ok(Told::Stop) | Err(_) => stopping = true,
            }
        }
        self.folder_of_log.stop();
        // Leaves one file behind instead of three. Where it fails, the next start reads the log instead.
        if let Err(error) = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(error = %error, "the store's log could not be folded into its file; the next start will do it");
        }
        if let Err((_, error)) = self.db.close() {
            tracing::warn!(error = %error, "the store's file could not be closed cleanly");
        }
    }

    /// Carries out `first` and whatever has queued behind it, commits once, answers all. Says whether it was told to stop.
    fn commit_group(&mut self, first: Box<dyn Order>) -> bool {
        let began = self.clock.now();
        let mut group = Group {
            next: Some(first),
            ..Group::default()
        };
        if let Err(fault) = self.statement("BEGIN IMMEDIATE") {
            let stop = group.drain(&self.queue, self.most);
            self.trouble(&fault.heard(&self.folder));
            group.all_hear(&fault.heard(&self.folder));
            return stop;
        }
        let mut stop = false;
        let mut ruin = None;
        // No lingering for more: waiting a millisecond costs a third of the throughput, and a busy house queues anyway.
        while let Some(order) = group.next.take() {
            match self.perform(order, &mut group) {
                Ok(()) => stop = group.take_next(&self.queue, self.most),
                Err(error) => {
                    ruin = Some(error);
                    stop = group.drain(&self.queue, self.most);
                }
            }
        }
        match ruin.map_or_else(|| self.commit(), Err) {
            Ok(()) => {
                if group.changed > 0 {
                    self.tally.written.fetch_add(group.changed, Ordering::Relaxed);
                    self.tally.commits.fetch_add(1, Ordering::Relaxed);
                    let took = (self.clock.now() - began).as_seconds_f64().max(0.0);
                    metrics::histogram!("firstlight_store_commit_seconds").record(took);
                    #[expect(clippy::cast_precision_loss, reason = "a group holds a few thousand at most")]
                    metrics::histogram!("firstlight_store_commit_orders").record(group.changed as f64);
                }
                if std::mem::take(&mut self.in_trouble) {
                    tracing::info!("the store writes again");
                }
                let changed = group.changed > 0;
                // Before the answers: who has one finds its change on the board.
                self.changes.note(self.noted.take());
                group.each_hears_its_own();
                if changed {
                    self.folder_of_log.look(&self.db);
                }
            }
            Err(error) => {
                self.rollback();
                self.noted.forget_since(0);
                if error == StoreError::Full && !self.in_trouble {
                    // A log that is folded is written from its beginning again: that may be all the room that is needed.
                    fold::fold(&self.db);
                }
                self.trouble(&error);
                group.all_hear(&error);
            }
        }
        stop
    }

    /// One order under its own savepoint. An error means that the whole transaction is lost.
    fn perform(&self, mut order: Box<dyn Order>, group: &mut Group) -> Result<(), StoreError> {
        let before = self.db.total_changes();
        let mark = self.noted.mark();
        let done = self.statement("SAVEPOINT one").and_then(|()| order.perform(&self.db));
        let verdict = match done {
            Ok(()) => self.statement("RELEASE one"),
            Err(fault) => Err(fault),
        };
        let Err(fault) = verdict else {
            group.changed += u64::from(self.db.total_changes() != before);
            group.done.push((order, Ok(())));
            return Ok(());
        };
        self.noted.forget_since(mark);
        let heard = fault.heard(&self.folder);
        group.done.push((order, Err(heard.clone())));
        // Some errors end the transaction by themselves; what came before in it is gone, too.
        if fault.ruins_the_batch() || self.db.is_autocommit() {
            return Err(heard);
        }
        self.statement("ROLLBACK TO one")
            .and_then(|()| self.statement("RELEASE one"))
            .map_err(|fault| fault.heard(&self.folder))
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.statement("COMMIT").map_err(|fault| fault.heard(&self.folder))
    }

    fn rollback(&self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %error, "a failed group could not be rolled back");
        }
    }

    fn statement(&self, sql: &str) -> Result<(), Fault> {
        self.db.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn trouble(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.in_trouble, true) {
            tracing::error!(error = %error, "the store cannot write; orders are refused until it can");
        }
    }
}

/// Orders that share a commit.
#[derive(Default)]
struct Group {
    next: Option<Box<dyn Order>>,
    done: Vec<(Box<dyn Order>, StoreResult<()>)>,
    /// How many of the orders changed something.
    changed: u64,
}

impl Group {
    /// Takes one more order if one waits and there is room. Says whether it was told to stop instead.
    fn take_next(&mut self, queue: &Receiver<Told>, most: usize) -> bool {
        if self.done.len() >= most {
            return false;
        }
        match queue.try_recv() {
            Ok(Told::Order(order)) => {
                self.next = Some(order);
                false
            }
            Ok(Told::Stop) => true,
            Err(_) => false,
        }
    }

    /// Takes what waits without carrying it out, because the reason why it cannot be is known already.
    fn drain(&mut self, queue: &Receiver<Told>, most: usize) -> bool {
        loop {
            if let Some(order) = self.next.take() {
                self.done.push((order, Ok(())));
            }
            let stop = self.take_next(queue, most);
            if stop || self.next.is_none() {
                return stop;
            }
        }
    }

    fn each_hears_its_own(self) {
        for (order, verdict) in self.done {
            order.answer(verdict);
        }
    }

    /// The group is lost: everybody hears it, except those who failed for a reason of their own.
    fn all_hear(self, error: &StoreError) {
        for (order, verdict) in self.done {
            order.answer(verdict.and(Err(error.clone())));
        }
    }
}
