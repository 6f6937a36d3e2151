//! The store on SQLite, embedded: one file, one thread that writes, a few that read. Alone names the database crate.

mod approvals;
mod audit;
mod chats;
mod columns;
mod counts;
mod crons;
mod deliveries;
mod effects;
mod events;
mod fault;
mod fold;
mod health;
mod keep;
mod keys;
mod migrate;
mod noted;
mod prune;
mod readers;
mod runs;
mod sessions;
mod steps;
mod tokens;
mod writer;

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use self::columns::json;
use self::fault::Fault;
pub use self::keep::{KeepError, Looked, Proof, check, compact, copy, look, prunable, room, verify_audit};
use self::migrate::{MIGRATIONS, Migration};
use self::readers::Asked;
use self::writer::{Tally, Told, Writer};
use super::{Pending, Store};
use crate::changes::Board;
use crate::clock::SharedClock;
use crate::domain::{
    Approval, AuditLine, ChatMessage, ChatSession, ChatThread, CronFiring, CronState, Decided, DeliveryDetail,
    DeliveryRow, EffectSeq, Execution, FiringSeq, HourCount, IssuedToken, LiveSession, MessageRecorded, Opened, Page,
    Pruned, RawBody, Recorded, Redelivered, Replayed, RunId, RunRecord, RunStatus, RunSummary, Space, StoredEffect,
    StoredEvent, Totals, WebhookHealth, WholeFiring,
};
use crate::messages::store::{
    BeginFiring, ClaimDelivery, ClaimEffect, ClaimKey, Claimed, CloseGate, CountStore, CronStates, Decide,
    DueDeliveries, DueEffects, DueGates, EffectsOf, EndFiring, EndRun, EndSessions, EndedTarget, EndedTargets,
    EscalateGate, GatesDue, GatesHere, GiveBack, KeepAnswer, KeepDefinitions, KeepToken, LatestFirings, LatestThreads,
    ListApprovals, ListAudit, ListDeliveries, ListEvents, ListExecutions, ListFirings, ListRuns, ListSessions,
    ListTokens, LiveRunOf, LoadRun, NoteTokenUse, OpenFirings, OpenGates, OpenRetry, OpenRuns, OverrideCron, Prune,
    QueueDeliveries, ReadApproval, ReadDelivery, ReadDueDeliveries, ReadDueEffects, ReadEvent, ReadFiring, ReadHours,
    ReadLines, ReadSession, ReadTotals, ReadUnsettled, RecordAudit, RecordEvent, RecordFirings, RecordMessage,
    RecordStep, RecoverDeliveries, RecoverRuns, Redeliver, ReplayEvent, ResultOf, RevokeToken, RevokedTokens,
    RunWorkflows, SessionsIn, SetWebhook, SettleDeliveries, SettleEffect, SettleEvents, SettleTargets, Settled,
    StepTaken, StoreCounts, StoreError, SwitchWorkflow, SwitchedOff, TakeQueuedRuns, TellEnds, UntoldEnds,
    WebhookStats,
};

/// How long a statement waits for another process that holds the file (a backup tool, a curious shell).
const PATIENCE: Duration = Duration::from_secs(5);

/// How many statements a connection keeps prepared; more than there are.
const STATEMENTS: usize = 256;

/// Bytes of a database that is written anew in a moment.
const QUICKLY_WRITTEN: u64 = 64 * 1024 * 1024;

/// Questions that may wait for a reader.
const QUESTIONS: usize = 1_024;

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; it and its folder are made if they are not there, for their owner alone.
    pub path: PathBuf,
    /// How many orders may wait for the writer; one more is told `Busy`. At 4 kB for an event, 4,096 are 16 MB.
    pub queue: usize,
    /// At most so many orders share one commit.
    pub group: usize,
    /// How many threads read.
    pub readers: usize,
    /// The file never grows over so many pages of 4,096 bytes; what does not fit is told `Full`. Absent: the disk decides.
    pub max_pages: Option<u32>,
    /// Where it is noted, after each commit, what has changed.
    pub changes: Board,
}

impl SqliteOptions {
    /// The usual way to open the store in this file.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            queue: 4_096,
            group: 512,
            readers: 2,
            max_pages: None,
            changes: Board::default(),
        }
    }
}

/// Why the store could not be opened. Each says what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be made.
    #[error("cannot make {}: check that the state folder may be written by this user", path.display())]
    Place {
        /// What was to be made.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file cannot be used as a database.
    #[error(
        "cannot use {} as the database: if it is damaged, move it aside and put a copy back; if it lies on a network volume, choose a local state folder",
        path.display()
    )]
    Database {
        /// The file.
        path: PathBuf,
        /// The database's words.
        source: rusqlite::Error,
    },
    /// The file's volume does not let the database write ahead.
    #[error("{} cannot keep a write-ahead log there (journal mode stays {mode:?}): choose a local state folder", path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
        /// What the database offers instead.
        mode: String,
    },
    /// Another program's database.
    #[error("{} is another program's database: choose another state folder, or move the file away", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version of this program.
    #[error(
        "{} is of version {found}, this program knows up to {known}: start the newer program, or put the copy {}.before-v{}-… back",
        path.display(), path.display(), known + 1
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The last version that this program knows.
        known: i32,
    },
    /// The copy that is taken before a migration failed, so nothing was changed.
    #[error("cannot copy the database to {} before bringing it up to date: make room for it beside the database; nothing was changed", copy.display())]
    Copy {
        /// The copy's place.
        copy: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A migration failed, so it was rolled back.
    #[error("cannot bring {} to version {version} ({name}): it is as it was; start the older program and report this", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Which version.
        version: i32,
        /// Its name.
        name: &'static str,
        /// The database's words.
        source: rusqlite::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the store's threads: raise the limit of processes for this user")]
    Thread(#[source] std::io::Error),
}

/// The store in one SQLite file.
///
/// Durable: write-ahead log with `synchronous=FULL`, so an answered order survives `kill -9` and power loss.
/// Dropped, it finishes what waits and blocks until it has; [`Store::close`] does the same without blocking a reactor.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
    clock: SharedClock,
}

#[derive(Debug)]
struct Inner {
    writer: SyncSender<Told>,
    readers: SyncSender<Asked>,
    threads: Mutex<Threads>,
    closing: AtomicBool,
    folder: Arc<PathBuf>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the file, brings it up to date (after taking a copy) and starts the threads. Blocks for the disk: call it
    /// before the reactors start.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is as it was then.
    pub fn open(options: SqliteOptions, clock: SharedClock) -> Result<Self, OpenError> {
        Self::open_with(options, clock, MIGRATIONS)
    }

    fn open_with(options: SqliteOptions, clock: SharedClock, migrations: &[Migration]) -> Result<Self, OpenError> {
        let path = options.path;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        std::fs::create_dir_all(&folder).map_err(|source| OpenError::Place {
            path: folder.clone(),
            source,
        })?;
        create_private(&path).map_err(|source| OpenError::Place {
            path: path.clone(),
            source,
        })?;
        let database = |source| OpenError::Database {
            path: path.clone(),
            source,
        };
        let mut db = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(database)?;
        for_writing(&db, options.max_pages).map_err(database)?;
        // Counts for a file that is empty still, and only before it gets its log.
        db.pragma_update(None, "auto_vacuum", "incremental").map_err(database)?;
        let mode: String = db
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .map_err(database)?;
        if mode != "wal" {
            return Err(OpenError::NoLog { path, mode });
        }
        migrate::bring_up(&mut db, &path, migrations, clock.now())?;
        learn_to_shrink(&db, &path);
        let noted = noted::Noted::on(&db).map_err(database)?;

        let folder = Arc::new(folder);
        let tally = Arc::new(Tally::default());
        let (writer, orders) = sync_channel(options.queue.max(1));
        let (readers, questions) = sync_channel(QUESTIONS);
        let mut threads = Threads::default();
        let questions = Arc::new(Mutex::new(questions));
        for n in 1..=options.readers.max(1) {
            let db = Connection::open_with_flags(
                &path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )
            .map_err(database)?;
            for_reading(&db).map_err(database)?;
            let questions = Arc::clone(&questions);
            threads.readers.push(thread(format!("store-read-{n}"), move || {
                readers::run(&db, &questions)
            })?);
        }
        let beside = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(database)?;
        for_writing(&beside, None).map_err(database)?;
        let thread_of_writer = Writer {
            db,
            queue: orders,
            most: options.group.max(1),
            folder: folder.as_ref().clone(),
            tally: Arc::clone(&tally),
            in_trouble: false,
            folder_of_log: fold::Folder::start(beside)?,
            noted,
            changes: options.changes,
        };
        threads.writer = Some(thread("store-write".to_owned(), move || thread_of_writer.run())?);
        Ok(Self {
            inner: Arc::new(Inner {
                writer,
                readers,
                threads: Mutex::new(threads),
                closing: AtomicBool::new(false),
                folder,
                tally,
            }),
            clock,
        })
    }

    fn write<T, W>(&self, work: W) -> Pending<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        if self.inner.closing.load(Ordering::Acquire) {
            return closed();
        }
        writer::submit(&self.inner.writer, work)
    }

    fn read<T, W>(&self, work: W) -> Pending<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        if self.inner.closing.load(Ordering::Acquire) {
            return closed();
        }
        readers::ask(&self.inner.readers, &self.inner.folder, work)
    }
}

impl Inner {
    /// Ends the threads, each after what waits for it. Blocks.
    fn shut(&self) {
        self.closing.store(true, Ordering::Release);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // Readers first: the last connection that goes folds the log into the file, and that is to be the writer's.
        for _ in &threads.readers {
            // A reader that is gone already needs no telling.
            let _ = self.readers.send(Asked::Stop);
        }
        for reader in threads.readers.drain(..) {
            if reader.join().is_err() {
                tracing::error!("a reader of the store had panicked");
            }
        }
        if let Some(writer) = threads.writer.take() {
            // A writer that is gone already needs no telling.
            let _ = self.writer.send(Told::Stop);
            if writer.join().is_err() {
                tracing::error!("the store's writer had panicked");
            }
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.inner.shut();
    }
}

/// Makes an empty file for its owner alone, if there is none. The log beside it takes over its permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

fn thread(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(OpenError::Thread)
}

fn closed<T: Send + 'static>() -> Pending<T> {
    futures_util::future::ready(Err(StoreError::Closed)).boxed()
}

fn for_writing(db: &Connection, max_pages: Option<u32>) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // Kibibytes. Enough for the hot ends of all trees and the inner pages of the index of ids; it is used as it is needed.
    db.pragma_update(None, "cache_size", -16_384)?;
    // What a savepoint would put aside stays in memory.
    db.pragma_update(None, "temp_store", "memory")?;
    // The log is folded by a thread of its own, see `fold`.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Bytes. After a burst the log gives its room back; well over its usual length, because growing it again costs more than
    // writing over it.
    db.pragma_update(None, "journal_size_limit", 128 * 1024 * 1024)?;
    if let Some(pages) = max_pages {
        db.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(())
}

/// Makes a file of an old version one that can give room back, which means writing it anew: only where that takes no time.
fn learn_to_shrink(db: &Connection, path: &Path) {
    match prune::space(db) {
        Ok(space) if space.shrinks => {}
        Ok(space) if space.used + space.free <= QUICKLY_WRITTEN => {
            if let Err(error) = db.execute_batch("VACUUM") {
                tracing::warn!(%error, "the database was not written anew; it is used as it is");
            }
        }
        Ok(_) => tracing::info!(
            database = %path.display(),
            "the database cannot give room back to the disk; `firstlight prune --compact` mends that while the service is stopped"
        ),
        Err(error) => tracing::warn!(%error, "the database does not say how large it is"),
    }
}

fn for_reading(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.pragma_update(None, "query_only", true)?;
    // Kibibytes. The system's own cache holds the rest; a mapping of the file would count as this process's memory.
    db.pragma_update(None, "cache_size", -4_096)?;
    db.pragma_update(None, "temp_store", "memory")?;
    Ok(())
}

impl Store for SqliteStore {
    fn record_event(&self, order: RecordEvent) -> Pending<Recorded> {
        // Written as JSON on the caller's thread: the writer is the one that everybody waits for.
        let envelope = match json(&order.0.envelope) {
            Ok(envelope) => envelope,
            Err(fault) => return futures_util::future::ready(Err(fault.heard(&self.inner.folder))).boxed(),
        };
        self.write(move |db| events::record(db, &order.0, &envelope))
    }

    fn record_message(&self, order: RecordMessage) -> Pending<MessageRecorded> {
        let envelope = match json(&order.event.envelope) {
            Ok(envelope) => envelope,
            Err(fault) => return futures_util::future::ready(Err(fault.heard(&self.inner.folder))).boxed(),
        };
        self.write(move |db| chats::record(db, &order, &envelope))
    }

    fn sessions_in(&self, order: SessionsIn) -> Pending<Vec<LiveSession>> {
        self.read(move |db| chats::live_in(db, &order))
    }

    fn latest_threads(&self, order: LatestThreads) -> Pending<Vec<ChatThread>> {
        self.read(move |db| chats::latest(db, &order))
    }

    fn end_sessions(&self, order: EndSessions) -> Pending<usize> {
        self.write(move |db| chats::end(db, &order.0))
    }

    fn read_unsettled(&self, order: ReadUnsettled) -> Pending<Vec<StoredEvent>> {
        self.read(move |db| events::read_unsettled(db, order))
    }

    fn settle_events(&self, order: SettleEvents) -> Pending<Vec<Settled>> {
        self.write(move |db| events::settle_all(db, &order.0))
    }

    fn decide(&self, order: Decide) -> Pending<Decided> {
        self.write(move |db| approvals::decide(db, &order.0))
    }

    fn read_event(&self, order: ReadEvent) -> Pending<Option<(StoredEvent, Option<RawBody>)>> {
        self.read(move |db| events::read(db, &order.id))
    }

    fn list_events(&self, order: ListEvents) -> Pending<Page<StoredEvent>> {
        self.read(move |db| events::list(db, &order.0))
    }

    fn keep_definitions(&self, order: KeepDefinitions) -> Pending<()> {
        self.write(move |db| runs::keep_definitions(db, &order.0))
    }

    fn open_runs(&self, order: OpenRuns) -> Pending<Vec<Opened>> {
        self.write(move |db| order.0.iter().map(|run| runs::open(db, run, None)).collect())
    }

    fn open_retry(&self, order: OpenRetry) -> Pending<Opened> {
        self.write(move |db| runs::open_retry(db, &order))
    }

    fn take_queued_runs(&self, order: TakeQueuedRuns) -> Pending<Vec<RunRecord>> {
        self.write(move |db| runs::take_queued(db, order))
    }

    fn recover_runs(&self, order: RecoverRuns) -> Pending<(usize, usize)> {
        self.write(move |db| runs::recover(db, order))
    }

    fn load_run(&self, order: LoadRun) -> Pending<Option<RunRecord>> {
        self.read(move |db| runs::load(db, order.0))
    }

    fn list_runs(&self, order: ListRuns) -> Pending<(Page<RunSummary>, u64)> {
        self.read(move |db| Ok((runs::list(db, &order.0)?, runs::total(db, &order.0)?)))
    }

    fn record_step(&self, order: RecordStep) -> Pending<StepTaken> {
        self.write(move |db| steps::record(db, &order))
    }

    fn end_run(&self, order: EndRun) -> Pending<Option<RunStatus>> {
        self.write(move |db| runs::end_from_outside(db, &order))
    }

    fn untold_ends(&self, order: UntoldEnds) -> Pending<Vec<RunRecord>> {
        self.read(move |db| runs::untold(db, order.most))
    }

    fn tell_ends(&self, order: TellEnds) -> Pending<()> {
        self.write(move |db| runs::tell_ends(db, &order))
    }

    fn open_gates(&self, order: OpenGates) -> Pending<Vec<Approval>> {
        self.read(move |db| approvals::open_gates(db, order.subject.as_ref()))
    }

    fn gates_here(&self, order: GatesHere) -> Pending<Vec<Approval>> {
        self.read(move |db| approvals::asked_in(db, &order))
    }

    fn list_approvals(&self, order: ListApprovals) -> Pending<Page<Approval>> {
        self.read(move |db| approvals::list(db, &order.0))
    }

    fn read_approval(&self, order: ReadApproval) -> Pending<Option<Approval>> {
        self.read(move |db| approvals::read(db, order.0))
    }

    fn due_gates(&self, order: DueGates) -> Pending<GatesDue> {
        self.read(move |db| approvals::due(db, order))
    }

    fn close_gate(&self, order: CloseGate) -> Pending<Decided> {
        self.write(move |db| approvals::close(db, &order))
    }

    fn escalate_gate(&self, order: EscalateGate) -> Pending<bool> {
        self.write(move |db| approvals::escalate(db, &order))
    }

    fn cron_states(&self, _: CronStates) -> Pending<BTreeMap<String, CronState>> {
        self.read(crons::states)
    }

    fn override_cron(&self, order: OverrideCron) -> Pending<()> {
        self.write(move |db| crons::put_over(db, &order))
    }

    fn record_firings(&self, order: RecordFirings) -> Pending<Vec<Option<FiringSeq>>> {
        self.write(move |db| crons::record(db, &order))
    }

    fn open_firings(&self, _: OpenFirings) -> Pending<Vec<WholeFiring>> {
        self.read(crons::open)
    }

    fn begin_firing(&self, order: BeginFiring) -> Pending<()> {
        self.write(move |db| crons::begin(db, &order))
    }

    fn settle_targets(&self, order: SettleTargets) -> Pending<()> {
        self.write(move |db| crons::settle(db, &order))
    }

    fn end_firing(&self, order: EndFiring) -> Pending<()> {
        self.write(move |db| crons::end(db, &order))
    }

    fn ended_targets(&self, _: EndedTargets) -> Pending<Vec<EndedTarget>> {
        self.read(crons::ended)
    }

    fn list_firings(&self, order: ListFirings) -> Pending<Page<CronFiring>> {
        self.read(move |db| crons::list(db, &order))
    }

    fn read_firing(&self, order: ReadFiring) -> Pending<Option<WholeFiring>> {
        self.read(move |db| crons::one(db, order.0))
    }

    fn latest_firings(&self, _: LatestFirings) -> Pending<Vec<CronFiring>> {
        self.read(crons::latest)
    }

    fn switched_off(&self, _: SwitchedOff) -> Pending<Vec<String>> {
        self.read(runs::switched_off)
    }

    fn switch_workflow(&self, order: SwitchWorkflow) -> Pending<()> {
        self.write(move |db| runs::switch(db, &order))
    }

    fn read_due_effects(&self, order: ReadDueEffects) -> Pending<DueEffects> {
        self.read(move |db| effects::read_due(db, &order))
    }

    fn claim_effect(&self, order: ClaimEffect) -> Pending<Option<u32>> {
        self.write(move |db| effects::claim(db, order))
    }

    fn result_of(&self, order: ResultOf) -> Pending<Option<String>> {
        self.read(move |db| effects::result_of(db, &order.0))
    }

    fn settle_effect(&self, order: SettleEffect) -> Pending<()> {
        self.write(move |db| effects::settle(db, &order))
    }

    fn effects_of(&self, order: EffectsOf) -> Pending<Vec<StoredEffect>> {
        self.read(move |db| effects::of(db, &order))
    }

    fn queue_deliveries(&self, order: QueueDeliveries) -> Pending<Vec<Option<EffectSeq>>> {
        self.write(move |db| deliveries::queue(db, &order))
    }

    fn read_due_deliveries(&self, order: ReadDueDeliveries) -> Pending<DueDeliveries> {
        self.read(move |db| deliveries::read_due(db, &order))
    }

    fn claim_delivery(&self, order: ClaimDelivery) -> Pending<Option<u32>> {
        self.write(move |db| deliveries::claim(db, order))
    }

    fn settle_deliveries(&self, order: SettleDeliveries) -> Pending<()> {
        self.write(move |db| deliveries::settle(db, &order))
    }

    fn recover_deliveries(&self, order: RecoverDeliveries) -> Pending<usize> {
        self.write(move |db| deliveries::recover(db, order))
    }

    fn list_deliveries(&self, order: ListDeliveries) -> Pending<Page<DeliveryRow>> {
        self.read(move |db| deliveries::list(db, &order.0))
    }

    fn read_delivery(&self, order: ReadDelivery) -> Pending<Option<DeliveryDetail>> {
        self.read(move |db| deliveries::read(db, &order.id))
    }

    fn redeliver(&self, order: Redeliver) -> Pending<Redelivered> {
        self.write(move |db| deliveries::redeliver(db, &order))
    }

    fn webhook_stats(&self, _: WebhookStats) -> Pending<Vec<WebhookHealth>> {
        self.read(health::all)
    }

    fn set_webhook(&self, order: SetWebhook) -> Pending<bool> {
        self.write(move |db| health::set(db, &order))
    }

    fn claim_key(&self, order: ClaimKey) -> Pending<Claimed> {
        self.write(move |db| keys::claim(db, &order))
    }

    fn keep_answer(&self, order: KeepAnswer) -> Pending<()> {
        let at = self.clock.now();
        self.write(move |db| keys::keep_answer(db, &order, at))
    }

    fn prune(&self, order: Prune) -> Pending<Pruned> {
        self.write(move |db| prune::prune(db, &order))
    }

    fn give_back(&self, order: GiveBack) -> Pending<Space> {
        self.write(move |db| prune::give_back(db, order))
    }

    fn record_audit(&self, order: RecordAudit) -> Pending<()> {
        self.write(move |db| audit::record(db, &order))
    }

    fn list_audit(&self, order: ListAudit) -> Pending<Page<AuditLine>> {
        self.read(move |db| audit::list(db, &order.0))
    }

    fn keep_token(&self, order: KeepToken) -> Pending<()> {
        self.write(move |db| tokens::keep(db, &order.0))
    }

    fn list_tokens(&self, order: ListTokens) -> Pending<Page<IssuedToken>> {
        self.read(move |db| tokens::list(db, &order.0))
    }

    fn revoke_token(&self, order: RevokeToken) -> Pending<Option<IssuedToken>> {
        self.write(move |db| tokens::revoke(db, &order))
    }

    fn note_token_use(&self, order: NoteTokenUse) -> Pending<()> {
        self.write(move |db| tokens::note_use(db, &order))
    }

    fn revoked_tokens(&self, order: RevokedTokens) -> Pending<Vec<(String, DateTime<Utc>)>> {
        self.read(move |db| tokens::revoked(db, order))
    }

    fn list_sessions(&self, order: ListSessions) -> Pending<(Page<ChatSession>, u64)> {
        self.read(move |db| sessions::list(db, &order))
    }

    fn read_session(&self, order: ReadSession) -> Pending<Option<ChatSession>> {
        self.read(move |db| sessions::one(db, &order))
    }

    fn read_lines(&self, order: ReadLines) -> Pending<Vec<ChatMessage>> {
        self.read(move |db| sessions::lines(db, &order))
    }

    fn replay_event(&self, order: ReplayEvent) -> Pending<Replayed> {
        self.write(move |db| events::replay(db, &order))
    }

    fn live_run_of(&self, order: LiveRunOf) -> Pending<Option<(RunId, RunStatus)>> {
        self.read(move |db| runs::live_of(db, &order))
    }

    fn run_workflows(&self, _: RunWorkflows) -> Pending<Vec<String>> {
        self.read(runs::workflows)
    }

    fn list_executions(&self, order: ListExecutions) -> Pending<Page<Execution>> {
        self.read(move |db| steps::list(db, order))
    }

    fn read_hours(&self, order: ReadHours) -> Pending<Vec<HourCount>> {
        self.read(move |db| counts::hours(db, order.since))
    }

    fn read_totals(&self, order: ReadTotals) -> Pending<Totals> {
        self.read(move |db| counts::totals(db, order.live_since))
    }

    fn count_store(&self, _: CountStore) -> Pending<StoreCounts> {
        // A writer that is stuck must not look healthy because readers still answer.
        let writer_lives = self.write(|_| Ok(()));
        let counted = self.read(counts::count);
        let tally = Arc::clone(&self.inner.tally);
        async move {
            writer_lives.await?;
            let counts: StoreCounts = counted.await?;
            Ok(StoreCounts {
                written: tally.written.load(Ordering::Relaxed),
                commits: tally.commits.load(Ordering::Relaxed),
                ..counts
            })
        }
        .boxed()
    }

    fn close(&self) -> Pending<()> {
        self.inner.closing.store(true, Ordering::Release);
        let inner = Arc::clone(&self.inner);
        let (to, done) = oneshot::channel();
        // Joining blocks, and this may be called on a reactor.
        let closer = std::thread::Builder::new()
            .name("store-close".to_owned())
            .spawn(move || {
                inner.shut();
                // Nobody waits any more: it is closed all the same.
                let _ = to.send(());
            });
        async move {
            closer.map_err(|error| StoreError::Failed(format!("no thread to close the store: {error}")))?;
            done.await.map_err(|_| StoreError::Closed)
        }
        .boxed()
    }
}
