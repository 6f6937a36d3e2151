//! The one writer of the state: a thread that changes the file in groups, behind an actor. Knows the rules by name; decides none.
//!
//! The seed's promise queue and its `updateState`: mutations are carried out in the order in which they arrive. What arrives while
//! one write is on its way to the disk shares the next one, and everybody is answered after the write that holds their change.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use super::file::{self, Found, Seen};
use super::lock::{LOCK_TIMEOUT, LockFault, Locked, with_state_file_lock};
use super::registry;
use super::shape::State;
use crate::changes::Board;
use crate::clock::SharedClock;
use crate::diagnostics::{emit_error, emit_event, emit_metric};
use crate::domain::{
    Change, ChangeKind, GitAutoCommitConfig, Secret, WebhookRegistered, WebhookRemoved, WebhookSummary,
};
use crate::house::Bell;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::integrations::{
    DeleteWebhook, Endpoint, GetGitAutoCommitConfig, GetIntegrationState, IntegrationFault, IntegrationResult,
    KeepNotification, ListWebhooks, ReadEndpoints, RegisterWebhook, RotateWebhookSecret, SetGitAutoCommitConfig,
};
use crate::messages::store::StoreError;

/// Orders that may wait for the thread; one more is told that the store is busy.
const QUEUE: usize = 4_096;
/// Orders that share one write at most.
const GROUP: usize = 1_024;
/// Messages that may wait at the door; they are handed on at once.
const MAILBOX: usize = 1_024;

/// Where the state is.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// `<state>/state/integrations.json`.
    pub path: PathBuf,
    /// How long another process's lock is waited for.
    pub lock_timeout: Duration,
    /// Where it is noted which webhook or notification changed.
    pub changes: Board,
}

impl StateConfig {
    /// The state of this state folder, with the seed's patience of 5,000 ms.
    #[must_use]
    pub fn of(state_dir: &std::path::Path) -> Self {
        Self {
            path: state_dir.join("state").join("integrations.json"),
            lock_timeout: LOCK_TIMEOUT,
            changes: Board::default(),
        }
    }
}

/// Holds the state. Handles the orders about webhooks, settings and history of [`crate::messages::integrations`], and [`AwaitQuiet`]
/// and [`Finish`].
///
/// Every handler only queues, in the order of arrival; a thread of its own does the rest, because the disk makes it wait.
pub struct StateWriter {
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    path: Arc<Path>,
    finished: Arc<AtomicU64>,
    clock: SharedClock,
    changes: Board,
    _bell: Bell,
}

impl StateWriter {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A writer of this file; it and its folder need not be there.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn new(config: StateConfig, clock: SharedClock, bell: Bell) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let finished = Arc::<AtomicU64>::default();
        let mut lock = config.path.clone().into_os_string();
        lock.push(".lock");
        let path = config.path.as_path().into();
        let changes = config.changes.clone();
        let desk = Desk {
            config,
            lock: lock.into(),
            clock: clock.clone(),
            held: None,
            finished: Arc::clone(&finished),
        };
        let scribe = Scribe { orders, desk };
        let thread = std::thread::Builder::new()
            .name("state writer".to_owned())
            .spawn(move || scribe.run())?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            path,
            finished,
            clock,
            changes,
            _bell: bell,
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> T + Send + 'static,
    ) -> LocalBoxFuture<'static, IntegrationResult<T>> {
        self.queue(Kind::Look, Box::new(move |state| Ok((work(state), false))))
    }

    /// Answers when all that was queued before it is carried out.
    fn quiet(&self) -> LocalBoxFuture<'static, IntegrationResult<()>> {
        self.queue(Kind::Quiet, Box::new(|_| Ok(((), false))))
    }

    fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> IntegrationResult<(T, bool)> + Send + 'static,
    ) -> LocalBoxFuture<'static, IntegrationResult<T>> {
        self.queue(Kind::Change, Box::new(work))
    }

    fn queue<T: Send + 'static>(&self, kind: Kind, work: Deed<T>) -> LocalBoxFuture<'static, IntegrationResult<T>> {
        let (to, answer) = oneshot::channel();
        let order = Order {
            kind,
            work: Box::new(Typed {
                work: Some(work),
                done: None,
                to,
            }),
        };
        let refused = match self.queue.as_ref().map(|queue| queue.try_send(order)) {
            Some(Ok(())) => {
                return answer
                    .map(|answer| answer.unwrap_or(Err(IntegrationFault::GoingDown)))
                    .boxed_local();
            }
            Some(Err(TrySendError::Full(_))) => StoreError::Busy.into(),
            Some(Err(TrySendError::Disconnected(_))) | None => IntegrationFault::GoingDown,
        };
        std::future::ready(Err(refused)).boxed_local()
    }
}

impl Actor for StateWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<GetIntegrationState> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<serde_json::Value>>;

    fn handle(&mut self, _: GetIntegrationState, _: &mut Context<Self>) -> Self::Result {
        let path = Arc::clone(&self.path);
        self.ask(move |state| get_integration_state(state, &path))
    }
}

/// The seed's `getIntegrationState`, for people: without secrets. Where broken files were set aside and nobody has dealt with
/// them, `warnings` name them.
fn get_integration_state(state: &State, path: &Path) -> serde_json::Value {
    let mut shown = state.shown();
    let warnings: Vec<_> = file::lying_aside(path)
        .into_iter()
        .map(|name| {
            format!("{name} could not be read as a state and was set aside; mend it and put it back, or remove it")
        })
        .collect();
    if !warnings.is_empty() {
        shown["warnings"] = warnings.into();
    }
    shown
}

impl Handler<ListWebhooks> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<Vec<WebhookSummary>>>;

    fn handle(&mut self, _: ListWebhooks, _: &mut Context<Self>) -> Self::Result {
        self.ask(registry::list_webhooks)
    }
}

impl Handler<RegisterWebhook> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<WebhookRegistered>>;

    fn handle(&mut self, order: RegisterWebhook, _: &mut Context<Self>) -> Self::Result {
        let clock = self.clock.clone();
        let done = self.change(move |state| {
            let id = clock.fresh_id().to_string();
            Ok((registry::register_webhook(state, &order, &id, clock.now())?, true))
        });
        let changes = self.changes.clone();
        async move {
            let registered = done.await?;
            changes.note([Change::of(ChangeKind::Webhook, &registered.webhook.id)]);
            let name = if registered.created {
                "integrations.webhook.registered"
            } else {
                "integrations.webhook.updated"
            };
            emit_metric(name, 1.0, &[]);
            emit_event(name, &[("webhook.id", &registered.webhook.id)]);
            Ok(registered)
        }
        .boxed_local()
    }
}

impl Handler<DeleteWebhook> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<WebhookRemoved>>;

    fn handle(&mut self, order: DeleteWebhook, _: &mut Context<Self>) -> Self::Result {
        let done = self.change(move |state| {
            let removed = registry::delete_webhook(state, &order.id);
            let changed = removed.removed;
            Ok((removed, changed))
        });
        let changes = self.changes.clone();
        async move {
            let removed = done.await?;
            if removed.removed {
                changes.note([Change::of(ChangeKind::Webhook, &removed.webhook_id)]);
                emit_metric("integrations.webhook.deleted", 1.0, &[]);
                emit_event("integrations.webhook.deleted", &[("webhook.id", &removed.webhook_id)]);
            }
            Ok(removed)
        }
        .boxed_local()
    }
}

impl Handler<RotateWebhookSecret> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<(WebhookSummary, Secret)>>;

    fn handle(&mut self, order: RotateWebhookSecret, _: &mut Context<Self>) -> Self::Result {
        let (clock, changes) = (self.clock.clone(), self.changes.clone());
        let done = self.change(move |state| {
            let secret = order.secret.map_or_else(drawn, Ok)?;
            let webhook = registry::rotate_secret(state, &order.id, secret.clone(), clock.now())?;
            Ok(((webhook, secret), true))
        });
        async move {
            let rotated = done.await?;
            changes.note([Change::of(ChangeKind::Webhook, &rotated.0.id)]);
            Ok(rotated)
        }
        .boxed_local()
    }
}

/// A new secret of 256 bits, spelled as Standard Webhooks has it.
fn drawn() -> IntegrationResult<Secret> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| IntegrationFault::State("the system gives no random numbers for a secret".to_owned()))?;
    Ok(Secret::new(format!("whsec_{}", STANDARD.encode(bytes))))
}

impl Handler<GetGitAutoCommitConfig> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<GitAutoCommitConfig>>;

    fn handle(&mut self, _: GetGitAutoCommitConfig, _: &mut Context<Self>) -> Self::Result {
        self.ask(registry::get_git_auto_commit_config)
    }
}

impl Handler<SetGitAutoCommitConfig> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<GitAutoCommitConfig>>;

    fn handle(&mut self, order: SetGitAutoCommitConfig, _: &mut Context<Self>) -> Self::Result {
        self.change(move |state| registry::set_git_auto_commit_config(state, &order))
    }
}

impl Handler<KeepNotification> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<()>>;

    fn handle(&mut self, order: KeepNotification, _: &mut Context<Self>) -> Self::Result {
        let (clock, changes) = (self.clock.clone(), self.changes.clone());
        let kept = Change::of(ChangeKind::Notification, &order.id);
        let done = self.change(move |state| Ok(((), registry::keep_notification(state, &order, clock.now()))));
        async move {
            done.await?;
            changes.note([kept]);
            Ok(())
        }
        .boxed_local()
    }
}

impl Handler<ReadEndpoints> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<Vec<Endpoint>>>;

    fn handle(&mut self, _: ReadEndpoints, _: &mut Context<Self>) -> Self::Result {
        let clock = self.clock.clone();
        self.ask(move |state| registry::endpoints(state, clock.now()))
    }
}

impl Handler<Ping> for StateWriter {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for StateWriter {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Context<Self>) -> Self::Result {
        // Orders are carried out in turn: when this one is answered, all before it are.
        let quiet = self.quiet();
        let finished = Arc::clone(&self.finished);
        async move {
            let _ = quiet.await;
            finished.load(Ordering::Acquire)
        }
        .boxed_local()
    }
}

impl Handler<Finish> for StateWriter {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Context<Self>) -> Self::Result {
        let quiet = self.quiet();
        // Without the queue the thread ends when it has done what waits.
        self.queue = None;
        let thread = self.thread.take();
        async move {
            let _ = quiet.await;
            // Quiet was the last order, so this waits for nothing but the thread's own end.
            if let Some(thread) = thread
                && thread.join().is_err()
            {
                tracing::error!("the state writer's thread panicked; what it answered is on disk");
            }
        }
        .boxed_local()
    }
}

/// What the thread is told.
struct Order {
    kind: Kind,
    work: Box<dyn Work>,
}

/// What an order needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// May change the state: the lock, and a write where it did.
    Change,
    /// The state as the file has it.
    Look,
    /// Its turn, and nothing else.
    Quiet,
}

/// An order with the place that waits for its answer.
trait Work: Send {
    /// Does it, and says what became of the state.
    fn perform(&mut self, state: &mut State) -> After;

    /// Answers, when it is known what became of the write.
    fn answer(self: Box<Self>, verdict: IntegrationResult<()>);
}

/// The state after an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// As before.
    Same,
    /// Another one.
    Changed,
    /// Perhaps half changed; not to be written.
    Ruined,
}

/// What is answered, and whether the state was changed.
type Deed<T> = Box<dyn FnOnce(&mut State) -> IntegrationResult<(T, bool)> + Send>;

struct Typed<T> {
    work: Option<Deed<T>>,
    done: Option<IntegrationResult<T>>,
    to: oneshot::Sender<IntegrationResult<T>>,
}

impl<T: Send> Work for Typed<T> {
    fn perform(&mut self, state: &mut State) -> After {
        let Some(work) = self.work.take() else {
            return After::Same;
        };
        // What a panic left behind is thrown away by whoever is told that it is ruined.
        let (done, after) = match catch_unwind(AssertUnwindSafe(|| work(state))) {
            Ok(Ok((done, changed))) => (Ok(done), if changed { After::Changed } else { After::Same }),
            // The rules decide before they change, so one that fails has changed nothing.
            Ok(Err(fault)) => (Err(fault), After::Same),
            Err(_) => {
                let words = "the order panicked; nothing was changed".to_owned();
                emit_error("integrations.state", &words);
                (Err(IntegrationFault::State(words)), After::Ruined)
            }
        };
        self.done = Some(done);
        after
    }

    fn answer(self: Box<Self>, verdict: IntegrationResult<()>) {
        let answer = match (self.done, verdict) {
            // Its own fault is the more exact one.
            (Some(Err(own)), _) => Err(own),
            (_, Err(fault)) => Err(fault),
            (Some(done), Ok(())) => done,
            (None, Ok(())) => Err(IntegrationFault::GoingDown),
        };
        // Nobody waits any more: what was ordered is done all the same.
        let _ = self.to.send(answer);
    }
}

/// The thread: takes orders in groups.
struct Scribe {
    orders: Receiver<Order>,
    desk: Desk,
}

impl Scribe {
    fn run(mut self) {
        while let Ok(first) = self.orders.recv() {
            let mut group = vec![first];
            self.join(&mut group, GROUP);
            self.carry_out(group);
        }
    }

    /// Takes in what has queued meanwhile.
    fn join(&self, group: &mut Vec<Order>, most: usize) {
        while group.len() < most
            && let Ok(order) = self.orders.try_recv()
        {
            group.push(order);
        }
    }

    /// First the changes of a group, in the order of their arrival; then its looks, which need no lock and so are not kept from
    /// their answer by somebody else's. Nobody was answered before, so nobody can tell that a look came earlier.
    fn carry_out(&mut self, mut group: Vec<Order>) {
        let mut changed = Ok(());
        if group.iter().any(|order| order.kind == Kind::Change) {
            changed = self.update_state(&mut group);
        }
        let mut looked = Ok(());
        if group.iter().any(|order| order.kind == Kind::Look) {
            looked = self.desk.look(&mut group);
        }
        // Before the answers: whoever has one may ask for the count.
        let carried = group.iter().filter(|order| order.kind != Kind::Quiet).count();
        self.desk.finished.fetch_add(carried as u64, Ordering::AcqRel);
        for order in group {
            let verdict = match order.kind {
                Kind::Change => changed.clone(),
                Kind::Look => looked.clone(),
                Kind::Quiet => Ok(()),
            };
            order.work.answer(verdict);
        }
    }

    /// The seed's `updateState`, for all changes of a group under one lock and with one write.
    fn update_state(&mut self, group: &mut Vec<Order>) -> IntegrationResult<()> {
        // While another process has the lock, more orders may come: they join this group. The pause is a whole one however many
        // come, because pauses are what the patience is counted in.
        let pause = |wait: Duration| {
            std::thread::park_timeout(wait);
            self.join(group, QUEUE);
        };
        let locked = self.desk.lock(pause)?;
        let verdict = self.desk.change(group);
        drop(locked);
        verdict
    }
}

/// The state and its file.
struct Desk {
    config: StateConfig,
    lock: PathBuf,
    clock: SharedClock,
    /// The state that was read or written last.
    held: Option<(Box<State>, Seen)>,
    finished: Arc<AtomicU64>,
}

/// What a look at the file gave.
enum Sight {
    /// The state, and the file that it is in, if there is one.
    State(Box<State>, Option<Seen>),
    /// The file is no state; why.
    Broken(String),
}

impl Desk {
    fn lock(&self, pause: impl FnMut(Duration)) -> IntegrationResult<Locked> {
        let began = self.clock.now();
        let locked = with_state_file_lock(&self.lock, self.config.lock_timeout, pause).map_err(|fault| {
            emit_error("integrations.lock", &fault.to_string());
            match fault {
                LockFault::Held { .. } => IntegrationFault::Locked(fault.to_string()),
                LockFault::Broken { .. } => IntegrationFault::State(fault.to_string()),
            }
        })?;
        emit_metric("integrations.lock.wait_ms", millis(began, self.clock.now()), &[]);
        Ok(locked)
    }

    /// Looks need no lock: the file is replaced whole, so it is one state or the other.
    fn look(&mut self, group: &mut [Order]) -> IntegrationResult<()> {
        let (mut state, seen) = match self.read()? {
            Sight::State(state, seen) => (state, seen),
            Sight::Broken(_) => {
                // Perhaps somebody is just copying over it. With the lock, it is known.
                let _locked = self.lock(std::thread::park_timeout)?;
                self.read_or_mend()?
            }
        };
        let mut ruined = false;
        for order in group.iter_mut().filter(|order| order.kind == Kind::Look) {
            ruined |= order.work.perform(&mut state) == After::Ruined;
        }
        if !ruined {
            self.keep(state, seen);
        }
        Ok(())
    }

    /// Carries the changes of a group out under the lock, with one write if there was any.
    fn change(&mut self, group: &mut [Order]) -> IntegrationResult<()> {
        let (mut state, seen) = self.read_or_mend()?;
        let mut changed = false;
        for order in group.iter_mut().filter(|order| order.kind == Kind::Change) {
            match order.work.perform(&mut state) {
                After::Same => {}
                After::Changed => changed = true,
                After::Ruined => {
                    return Err(IntegrationFault::State(
                        "another order of the same write failed, so nothing was changed; try again".to_owned(),
                    ));
                }
            }
        }
        if !changed {
            self.keep(state, seen);
            return Ok(());
        }
        // A write that fails leaves nothing held: what was changed in memory alone is forgotten.
        let seen = self.write(&mut state)?;
        self.keep(state, Some(seen));
        Ok(())
    }

    /// Writes the state. Only under the lock.
    fn write(&self, state: &mut State) -> IntegrationResult<Seen> {
        let began = self.clock.now();
        registry::forget_old_secrets(state, began);
        state.updated_at = registry::written(began);
        let seen = file::write_state(&self.config.path, state, began).map_err(|error| self.fault("write", &error))?;
        emit_metric("integrations.state.write_ms", millis(began, self.clock.now()), &[]);
        Ok(seen)
    }

    fn keep(&mut self, state: Box<State>, seen: Option<Seen>) {
        self.held = seen.map(|seen| (state, seen));
    }

    /// The state as the file has it now; the one that is held, if that is still the file's.
    fn read(&mut self) -> IntegrationResult<Sight> {
        let path = &self.config.path;
        let now = file::stamp(path).map_err(|error| self.fault("read", &error))?;
        if let Some((state, seen)) = self.held.take_if(|(_, seen)| now == Some(seen.stamp)) {
            return Ok(Sight::State(state, Some(seen)));
        }
        match file::read_state(path).map_err(|error| self.fault("read", &error))? {
            Found::Nothing => Ok(Sight::State(Box::default(), None)),
            Found::State(state, seen) => Ok(Sight::State(state, Some(seen))),
            Found::Corrupt(why) => Ok(Sight::Broken(why)),
        }
    }

    /// The same, where a broken file is set aside. Only under the lock: nobody else is at the file then.
    ///
    /// Whoever broke it broke it for all processes; the state that this one saw last is put in its place. Where it saw none, that is
    /// an empty one, as if there were no file.
    fn read_or_mend(&mut self) -> IntegrationResult<(Box<State>, Option<Seen>)> {
        let why = match self.read()? {
            Sight::State(state, seen) => return Ok((state, seen)),
            Sight::Broken(why) => why,
        };
        let path = &self.config.path;
        let aside = file::set_aside(path, self.clock.now()).map_err(|error| self.fault("move aside", &error))?;
        let last = self.held.take();
        let instead = if last.is_some() {
            "the state that was read last took its place"
        } else {
            "an empty state is used"
        };
        let words = format!(
            "{} could not be read as a state ({why}); it was moved to {} and {instead}: mend it and put it back, or remove it",
            path.display(),
            aside.display()
        );
        tracing::error!("{words}");
        emit_error("integrations.state.corrupt", &words);
        let Some((mut state, _)) = last else {
            return Ok((Box::default(), None));
        };
        let seen = self.write(&mut state)?;
        Ok((state, Some(seen)))
    }

    fn fault(&self, what: &str, error: &std::io::Error) -> IntegrationFault {
        let words = format!(
            "cannot {what} {}: {error}; check the file, its folder and the space on the disk",
            self.config.path.display()
        );
        emit_error("integrations.state", &words);
        IntegrationFault::State(words)
    }
}

fn millis(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use futures_util::future::join_all;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::{AUTO_COMMIT_DEFAULT_EVENTS, Channel, Notification, Priority};
    use crate::house::Bells;

    struct House {
        folder: tempfile::TempDir,
        writer: Addr<StateWriter>,
        _belfry: crate::house::Belfry,
    }

    impl House {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let (writer, belfry) = open(folder.path(), LOCK_TIMEOUT);
            Self {
                folder,
                writer,
                _belfry: belfry,
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("state/integrations.json")
        }

        fn file(&self) -> Value {
            serde_json::from_str(&fs::read_to_string(self.path()).expect("read")).expect("JSON")
        }

        async fn register(&self, url: &str) -> IntegrationResult<WebhookRegistered> {
            self.writer.send(registration(url)).await.expect("it lives")
        }

        async fn list(&self) -> IntegrationResult<Vec<WebhookSummary>> {
            self.writer.send(ListWebhooks).await.expect("it lives")
        }
    }

    fn open(state_dir: &Path, lock_timeout: Duration) -> (Addr<StateWriter>, crate::house::Belfry) {
        let (bells, belfry) = Bells::hang();
        let config = StateConfig {
            lock_timeout,
            ..StateConfig::of(state_dir)
        };
        let writer = StateWriter::new(config, SystemClock::shared(), bells.bell("state writer")).expect("a thread");
        (writer.start(), belfry)
    }

    fn registration(url: &str) -> RegisterWebhook {
        RegisterWebhook {
            url: url.into(),
            events: None,
            secret: Some(Secret::new("hush")),
        }
    }

    #[actix_rt::test]
    async fn what_is_answered_is_in_the_file() {
        let house = House::new();
        let registered = house.register("https://a.example/hook").await.expect("registered");
        assert!(registered.created);
        let file = house.file();
        assert_eq!(file["webhooks"][0]["id"], registered.webhook.id);
        assert_eq!(file["webhooks"][0]["secret"], "hush");
        assert_eq!(file["git_auto_commit"]["enabled"], false);
        assert_eq!(file["git_auto_commit"]["on_events"], json!(AUTO_COMMIT_DEFAULT_EVENTS));
        assert!(file["updated_at"].as_str().expect("a time").ends_with('Z'));
        let shown = house
            .writer
            .send(GetIntegrationState)
            .await
            .expect("it lives")
            .expect("read");
        assert!(!shown.to_string().contains("hush"), "{shown}");
        assert_eq!(house.list().await.expect("read")[0], registered.webhook);
    }

    #[actix_rt::test]
    async fn many_mutations_at_once_share_writes_and_a_failing_one_fails_alone() {
        let house = House::new();
        let orders = (0..200).map(|n| {
            let url = if n == 100 {
                "ftp://no".to_owned()
            } else {
                format!("http://a.example/{n}")
            };
            house.writer.send(registration(&url))
        });
        let answers = join_all(orders).await;
        for (n, answer) in answers.into_iter().enumerate() {
            let answer = answer.expect("it lives");
            assert_eq!(answer.is_err(), n == 100, "{n}: {answer:?}");
        }
        let urls: Vec<_> = house
            .list()
            .await
            .expect("read")
            .into_iter()
            .map(|webhook| webhook.url)
            .collect();
        let expected: Vec<_> = (0..200)
            .filter(|n| *n != 100)
            .map(|n| format!("http://a.example/{n}"))
            .collect();
        assert_eq!(urls, expected, "in the order of arrival");
    }

    #[actix_rt::test]
    async fn two_writers_of_one_file_lose_nothing_of_what_they_acknowledged() {
        let house = House::new();
        let (other, _belfry) = open(house.folder.path(), LOCK_TIMEOUT);
        let orders = (0..100).map(|n| {
            let writer = if n % 2 == 0 { &house.writer } else { &other };
            writer.send(registration(&format!("http://a.example/{n}")))
        });
        for answer in join_all(orders).await {
            assert!(answer.expect("it lives").expect("registered").created);
        }
        assert_eq!(house.list().await.expect("read").len(), 100);
        assert_eq!(house.file()["webhooks"].as_array().expect("a list").len(), 100);
    }

    #[actix_rt::test]
    async fn unknown_keys_of_the_file_survive_a_mutation() {
        let house = House::new();
        fs::create_dir_all(house.path().parent().expect("a folder")).expect("made");
        fs::write(
            house.path(),
            r#"{"mine":{"deep":[1]},"git_auto_commit":{"author":"me"}}"#,
        )
        .expect("written");
        house.register("http://a.example").await.expect("registered");
        let file = house.file();
        assert_eq!(file["mine"], json!({ "deep": [1] }));
        assert_eq!(file["git_auto_commit"]["author"], "me");
        assert_eq!(file["git_auto_commit"]["enabled"], false);
    }

    #[actix_rt::test]
    async fn a_file_that_is_no_state_is_set_aside_and_never_written_over() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        fs::write(house.path(), "{\"version\":1,\"webh").expect("truncated");
        let list = house.list().await.expect("the last state that was read");
        assert_eq!(list.len(), 1, "what was acknowledged is not lost with the file");
        assert_eq!(house.file()["webhooks"][0]["id"], list[0].id, "and it is on disk again");
        house.register("http://a.example/2").await.expect("registered");
        let aside: Vec<_> = fs::read_dir(house.path().parent().expect("a folder"))
            .expect("read")
            .map(|entry| entry.expect("read").path())
            .filter(|path| path.to_string_lossy().contains(".corrupt-"))
            .collect();
        let [aside] = &aside[..] else {
            panic!("one file is set aside: {aside:?}")
        };
        assert_eq!(fs::read_to_string(aside).expect("read"), "{\"version\":1,\"webh");
        let shown = house.writer.send(GetIntegrationState).await;
        let shown = shown.expect("it lives").expect("read");
        let name = aside.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert_eq!(shown["warnings"].as_array().map(Vec::len), Some(1));
        assert!(
            shown["warnings"][0].as_str().expect("words").starts_with(name),
            "{shown}"
        );
        fs::remove_file(aside).expect("removed");
        let shown = house.writer.send(GetIntegrationState).await;
        assert!(shown.expect("it lives").expect("read").get("warnings").is_none());
    }

    #[actix_rt::test]
    async fn a_file_that_is_broken_from_the_start_is_set_aside_for_an_empty_state() {
        let house = House::new();
        fs::create_dir_all(house.path().parent().expect("a folder")).expect("made");
        fs::write(house.path(), "no state").expect("written");
        assert_eq!(house.list().await.expect("an empty state"), []);
        assert!(!house.path().exists(), "nothing was changed, so nothing is written");
        house.register("http://a.example/1").await.expect("registered");
        assert_eq!(house.file()["webhooks"].as_array().map(Vec::len), Some(1));
    }

    #[actix_rt::test]
    async fn a_deleted_file_is_an_empty_state_and_is_made_again() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        fs::remove_file(house.path()).expect("removed");
        assert_eq!(house.list().await.expect("read"), []);
        house.register("http://a.example/2").await.expect("registered");
        assert_eq!(house.list().await.expect("read").len(), 1);
    }

    #[actix_rt::test]
    async fn a_state_of_a_later_version_is_neither_used_nor_moved() {
        let house = House::new();
        fs::create_dir_all(house.path().parent().expect("a folder")).expect("made");
        let later = r#"{"version":2,"webhooks":"elsewhere"}"#;
        fs::write(house.path(), later).expect("written");
        let answer = house.register("http://a.example/1").await;
        let Err(IntegrationFault::State(words)) = answer else {
            panic!("{answer:?}")
        };
        assert!(words.contains("version 2"), "{words}");
        assert_eq!(fs::read_to_string(house.path()).expect("read"), later);
    }

    #[actix_rt::test]
    async fn an_order_that_panics_fails_alone_and_the_queue_goes_on() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let (bells, _belfry) = Bells::hang();
        let config = StateConfig::of(house.folder.path());
        let writer = StateWriter::new(config, SystemClock::shared(), bells.bell("state writer")).expect("a thread");
        let order = writer.change::<()>(|state| {
            state.webhooks.clear();
            panic!("a rule that is wrong")
        });
        assert!(matches!(order.await, Err(IntegrationFault::State(_))));
        let left = writer.ask(|state| state.webhooks.len()).await.expect("it goes on");
        assert_eq!(left, 1, "what it had changed is forgotten");
    }

    #[actix_rt::test]
    async fn a_lock_that_another_process_holds_is_an_error_after_its_time_and_nothing_is_lost() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let (patient, _belfry) = open(house.folder.path(), Duration::from_millis(20));
        let lock = fs::File::open(house.path().with_extension("json.lock")).expect("the lock file stays");
        lock.lock().expect("locked");
        let answer = patient
            .send(registration("http://a.example/2"))
            .await
            .expect("it lives");
        let Err(IntegrationFault::Locked(words)) = answer else {
            panic!("{answer:?}")
        };
        assert!(words.contains("integrations.json.lock for 20 ms"), "{words}");
        let read = patient
            .send(ListWebhooks)
            .await
            .expect("it lives")
            .expect("looks need no lock");
        assert_eq!(read.len(), 1);
        lock.unlock().expect("unlocked");
        let again = patient
            .send(registration("http://a.example/2"))
            .await
            .expect("it lives");
        assert!(again.expect("registered").created);
    }

    #[actix_rt::test]
    async fn a_folder_in_the_files_place_is_an_error_until_it_is_gone() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let kept = fs::read(house.path()).expect("read");
        fs::remove_file(house.path()).expect("removed");
        fs::create_dir(house.path()).expect("made");
        for answer in [
            house.register("http://a.example/2").await.map(|_| ()),
            house.list().await.map(|_| ()),
        ] {
            let Err(IntegrationFault::State(words)) = answer else {
                panic!("{answer:?}")
            };
            assert!(words.contains("integrations.json"), "{words}");
        }
        fs::remove_dir(house.path()).expect("removed");
        fs::write(house.path(), kept).expect("put back");
        house.register("http://a.example/2").await.expect("registered");
        assert_eq!(house.list().await.expect("read").len(), 2);
    }

    #[actix_rt::test]
    async fn a_write_that_fails_is_told_and_leaves_no_trace_in_memory() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        // A folder that takes no new file; whoever is root may write all the same, so the folder is made unusable otherwise.
        let folder = house.path().parent().expect("a folder").to_owned();
        let aside = house.folder.path().join("aside");
        fs::rename(&folder, &aside).expect("moved");
        fs::write(&folder, "a file where the folder was").expect("written");
        let answer = house.register("http://a.example/2").await;
        assert!(matches!(answer, Err(IntegrationFault::State(_))), "{answer:?}");
        fs::remove_file(&folder).expect("removed");
        fs::rename(&aside, &folder).expect("moved back");
        assert_eq!(house.list().await.expect("read").len(), 1);
        assert_eq!(
            fs::metadata(house.path()).expect("there").permissions().mode() & 0o777,
            0o600
        );
    }

    #[actix_rt::test]
    async fn what_changes_nothing_writes_nothing() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let before = fs::metadata(house.path()).expect("there").modified().expect("a time");
        let order = DeleteWebhook { id: "nobody".into() };
        let removed = house.writer.send(order).await.expect("it lives").expect("carried out");
        assert!(!removed.removed);
        assert_eq!(
            fs::metadata(house.path()).expect("there").modified().expect("a time"),
            before
        );
    }

    #[actix_rt::test]
    async fn a_rotated_secret_is_drawn_and_shown_once() {
        let house = House::new();
        let id = house
            .register("http://a.example/1")
            .await
            .expect("registered")
            .webhook
            .id;
        let order = RotateWebhookSecret { id, secret: None };
        let (_, secret) = house.writer.send(order).await.expect("it lives").expect("rotated");
        let bytes = secret
            .expose()
            .strip_prefix("whsec_")
            .expect("spelled as Standard Webhooks has it");
        assert_eq!(STANDARD.decode(bytes).expect("base64").len(), 32);
        let endpoints = house.writer.send(ReadEndpoints).await.expect("it lives").expect("read");
        let secrets: Vec<_> = endpoints[0].secrets.iter().map(Secret::expose).collect();
        assert_eq!(secrets, [secret.expose(), "hush"]);
    }

    #[actix_rt::test]
    async fn a_finished_writer_has_done_what_it_was_told_and_takes_no_more() {
        let house = House::new();
        let keep = KeepNotification {
            id: "n".into(),
            notification: Notification {
                channel: Channel::Email,
                message: "hello".into(),
                priority: Priority::Low,
                webhook_url: None,
                attachments: Vec::new(),
                timeout_ms: 5_000,
                retry_count: 3,
            },
            delivered: false,
            meta: serde_json::Map::new(),
        };
        let kept = house.writer.send(keep);
        let finished = house.writer.send(Finish);
        kept.await.expect("it lives").expect("kept");
        finished.await.expect("it lives");
        assert_eq!(house.file()["notifications"][0]["message"], "hello");
        assert_eq!(house.list().await, Err(IntegrationFault::GoingDown));
    }

    #[actix_rt::test]
    async fn a_quiet_writer_answers_the_same_twice() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let first = house.writer.send(AwaitQuiet).await.expect("it lives");
        for _ in 0..20 {
            assert_eq!(house.writer.send(AwaitQuiet).await.expect("it lives"), first);
        }
    }

    #[actix_rt::test]
    async fn orders_that_come_while_the_lock_is_held_cost_the_first_no_patience() {
        let house = House::new();
        house.register("http://a.example/first").await.expect("registered");
        let lock = fs::File::open(house.path().with_extension("json.lock")).expect("the lock file stays");
        lock.lock().expect("locked");
        // More of them than the seed's 5,000 ms have pauses.
        let mut orders = Box::pin(join_all(
            (0..2_000).map(|n| house.writer.send(registration(&format!("http://a.example/{n}")))),
        ));
        // They are all given away, and the writer's thread has taken them; then the lock is free.
        let patience = tokio::time::timeout(Duration::from_millis(300), &mut orders).await;
        assert!(patience.is_err(), "answered under a foreign lock");
        lock.unlock().expect("unlocked");
        for answer in orders.await {
            assert!(answer.expect("it lives").expect("registered").created);
        }
    }

    #[actix_rt::test]
    async fn looks_are_answered_while_another_process_holds_the_lock() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let (patient, _belfry) = open(house.folder.path(), Duration::from_millis(20));
        let lock = fs::File::open(house.path().with_extension("json.lock")).expect("the lock file stays");
        lock.lock().expect("locked");
        let change = patient.send(registration("http://a.example/2"));
        let look = patient.send(ListWebhooks);
        let (change, look) = tokio::join!(change, look);
        assert!(matches!(change.expect("it lives"), Err(IntegrationFault::Locked(_))));
        assert_eq!(look.expect("it lives").expect("a look needs no lock").len(), 1);
    }

    #[actix_rt::test]
    async fn a_broken_file_is_moved_by_nobody_who_has_not_the_lock() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let (patient, _belfry) = open(house.folder.path(), Duration::from_millis(20));
        let lock = fs::File::open(house.path().with_extension("json.lock")).expect("the lock file stays");
        lock.lock().expect("locked");
        // What a copy over the file looks like from the outside while it is under way.
        let whole = fs::read(house.path()).expect("read");
        fs::write(house.path(), &whole[..10]).expect("half written");
        let look = patient.send(ListWebhooks).await.expect("it lives");
        assert!(matches!(look, Err(IntegrationFault::Locked(_))), "{look:?}");
        fs::write(house.path(), &whole).expect("written");
        lock.unlock().expect("unlocked");
        assert_eq!(
            patient.send(ListWebhooks).await.expect("it lives").expect("read").len(),
            1
        );
        assert_eq!(fs::read(house.path()).expect("read"), whole);
    }

    #[actix_rt::test]
    async fn settings_that_are_as_they_were_are_not_written() {
        let house = House::new();
        house.register("http://a.example/1").await.expect("registered");
        let before = fs::read(house.path()).expect("read");
        let order = SetGitAutoCommitConfig {
            enabled: Some(false),
            on_events: None,
        };
        house.writer.send(order).await.expect("it lives").expect("set");
        assert_eq!(fs::read(house.path()).expect("read"), before);
    }
}
