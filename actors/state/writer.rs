//! The one writer of the state: a thread that changes the file in groups, behind an actor. Knows the rules by name; decides none.
//!
//! The seed's promise queue and its `updateState`: mutations are carried out in the order in which they arrive. What arrives while
//! one write is on its way to the disk shares the next one, and everybody is answered after the write that holds their change.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
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

use super::file::{self, Found, Stamp};
use super::lock::{LOCK_TIMEOUT, LockFault, with_state_file_lock};
use super::registry;
use super::shape::State;
use crate::clock::SharedClock;
use crate::diagnostics::{emit_error, emit_event, emit_metric};
use crate::domain::{GitAutoCommitConfig, Secret, WebhookRegistered, WebhookRemoved, WebhookSummary};
use crate::house::Bell;
use crate::messages::house::{AwaitQuiet, Finish};
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
}

impl StateConfig {
    /// The state of this state folder, with the seed's patience of 5,000 ms.
    #[must_use]
    pub fn of(state_dir: &std::path::Path) -> Self {
        Self {
            path: state_dir.join("state").join("integrations.json"),
            lock_timeout: LOCK_TIMEOUT,
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
    finished: Arc<AtomicU64>,
    clock: SharedClock,
    _bell: Bell,
}

impl StateWriter {
    /// A writer of this file; it and its folder need not be there.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn new(config: StateConfig, clock: SharedClock, bell: Bell) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let finished = Arc::<AtomicU64>::default();
        let mut lock = config.path.clone().into_os_string();
        lock.push(".lock");
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
            finished,
            clock,
            _bell: bell,
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> T + Send + 'static,
    ) -> LocalBoxFuture<'static, IntegrationResult<T>> {
        self.queue(false, Box::new(move |state| Ok((work(state), false))))
    }

    fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> IntegrationResult<(T, bool)> + Send + 'static,
    ) -> LocalBoxFuture<'static, IntegrationResult<T>> {
        self.queue(true, Box::new(work))
    }

    fn queue<T: Send + 'static>(&self, changes: bool, work: Deed<T>) -> LocalBoxFuture<'static, IntegrationResult<T>> {
        let (to, answer) = oneshot::channel();
        let order = Order {
            changes,
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
        self.ask(get_integration_state)
    }
}

/// The seed's `getIntegrationState`, for people: without secrets.
fn get_integration_state(state: &State) -> serde_json::Value {
    state.shown()
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
        async {
            let registered = done.await?;
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
        async {
            let removed = done.await?;
            if removed.removed {
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
        let clock = self.clock.clone();
        self.change(move |state| {
            let secret = order.secret.map_or_else(drawn, Ok)?;
            let webhook = registry::rotate_secret(state, &order.id, secret.clone(), clock.now())?;
            Ok(((webhook, secret), true))
        })
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
        self.change(move |state| Ok((registry::set_git_auto_commit_config(state, &order)?, true)))
    }
}

impl Handler<KeepNotification> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<()>>;

    fn handle(&mut self, order: KeepNotification, _: &mut Context<Self>) -> Self::Result {
        let clock = self.clock.clone();
        self.change(move |state| {
            registry::keep_notification(state, &order, clock.now());
            Ok(((), true))
        })
    }
}

impl Handler<ReadEndpoints> for StateWriter {
    type Result = ResponseFuture<IntegrationResult<Vec<Endpoint>>>;

    fn handle(&mut self, _: ReadEndpoints, _: &mut Context<Self>) -> Self::Result {
        let clock = self.clock.clone();
        self.ask(move |state| registry::endpoints(state, clock.now()))
    }
}

impl Handler<AwaitQuiet> for StateWriter {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Context<Self>) -> Self::Result {
        // Orders are carried out in turn: when this one is answered, all before it are.
        let quiet = self.ask(|_| ());
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
        let quiet = self.ask(|_| ());
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
    /// Whether it may change the state, and so needs the lock.
    changes: bool,
    work: Box<dyn Work>,
}

/// An order with the place that waits for its answer.
trait Work: Send {
    /// Does it. True: the state was changed.
    fn perform(&mut self, state: &mut State) -> bool;

    /// Answers, when it is known what became of the write.
    fn answer(self: Box<Self>, verdict: IntegrationResult<()>);
}

/// What is answered, and whether the state was changed.
type Deed<T> = Box<dyn FnOnce(&mut State) -> IntegrationResult<(T, bool)> + Send>;

struct Typed<T> {
    work: Option<Deed<T>>,
    done: Option<IntegrationResult<T>>,
    to: oneshot::Sender<IntegrationResult<T>>,
}

impl<T: Send> Work for Typed<T> {
    fn perform(&mut self, state: &mut State) -> bool {
        let Some(work) = self.work.take() else { return false };
        // The rules decide before they change, so one that fails has changed nothing.
        let (done, changed) = match work(state) {
            Ok((done, changed)) => (Ok(done), changed),
            Err(fault) => (Err(fault), false),
        };
        self.done = Some(done);
        changed
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
            while group.len() < GROUP
                && let Ok(order) = self.orders.try_recv()
            {
                group.push(order);
            }
            let verdict = if group.iter().all(|order| !order.changes) {
                self.desk.look(&mut group)
            } else {
                self.update_state(&mut group)
            };
            let carried = group.len() as u64;
            for order in group {
                order.work.answer(verdict.clone());
            }
            self.desk.finished.fetch_add(carried, Ordering::AcqRel);
        }
    }

    /// The seed's `updateState`, for a whole group under one lock and one write.
    fn update_state(&mut self, group: &mut Vec<Order>) -> IntegrationResult<()> {
        let began = self.desk.clock.now();
        // While another process has the lock, more orders may come: they join this group.
        let pause = |wait: Duration| {
            if group.len() >= QUEUE {
                std::thread::park_timeout(wait);
                return;
            }
            match self.orders.recv_timeout(wait) {
                Ok(order) => group.push(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(wait),
            }
        };
        let locked = with_state_file_lock(&self.desk.lock, self.desk.config.lock_timeout, pause).map_err(|fault| {
            emit_error("integrations.lock", &fault.to_string());
            match fault {
                LockFault::Held { .. } => IntegrationFault::Locked(fault.to_string()),
                LockFault::Broken { .. } => IntegrationFault::State(fault.to_string()),
            }
        })?;
        emit_metric("integrations.lock.wait_ms", millis(began, self.desk.clock.now()), &[]);
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
    /// The state as it is in the file of this stamp.
    held: Option<(State, Stamp)>,
    finished: Arc<AtomicU64>,
}

impl Desk {
    /// Looks need no lock: the file is replaced whole, so it is one state or the other.
    fn look(&mut self, group: &mut [Order]) -> IntegrationResult<()> {
        let mut state = self.read()?;
        for order in group {
            order.work.perform(&mut state.0);
        }
        self.keep(state);
        Ok(())
    }

    /// Carries a group out under the lock, with one write if anything changed.
    fn change(&mut self, group: &mut [Order]) -> IntegrationResult<()> {
        let (mut state, stamp) = self.read()?;
        let mut changed = false;
        for order in group {
            changed |= order.work.perform(&mut state);
        }
        if !changed {
            self.keep((state, stamp));
            return Ok(());
        }
        let began = self.clock.now();
        state.updated_at = registry::written(began);
        // A write that fails leaves nothing held: what was changed in memory alone is forgotten.
        let stamp =
            file::write_state(&self.config.path, &mut state, began).map_err(|error| self.fault("write", &error))?;
        emit_metric("integrations.state.write_ms", millis(began, self.clock.now()), &[]);
        self.keep((state, Some(stamp)));
        Ok(())
    }

    fn keep(&mut self, (state, stamp): (State, Option<Stamp>)) {
        if let Some(stamp) = stamp {
            self.held = Some((state, stamp));
        }
    }

    /// The state as the file has it now; the one that is held, if that is still the file's.
    fn read(&mut self) -> IntegrationResult<(State, Option<Stamp>)> {
        let path = self.config.path.clone();
        let now = file::stamp(&path).map_err(|error| self.fault("read", &error))?;
        if let Some((state, stamp)) = self.held.take()
            && now == Some(stamp)
        {
            return Ok((state, Some(stamp)));
        }
        match file::read_state(&path).map_err(|error| self.fault("read", &error))? {
            Found::Nothing => Ok((State::default(), None)),
            Found::State(state, stamp) => Ok((*state, Some(stamp))),
            Found::Corrupt(why) => {
                let aside =
                    file::set_aside(&path, self.clock.now()).map_err(|error| self.fault("move aside", &error))?;
                let words = format!(
                    "{} could not be read as a state ({why}); it was moved to {} and an empty state is used: mend it and put it back",
                    path.display(),
                    aside.display()
                );
                tracing::error!("{words}");
                emit_error("integrations.state.corrupt", &words);
                Ok((State::default(), None))
            }
        }
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
        assert_eq!(house.list().await.expect("an empty state"), []);
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
}
