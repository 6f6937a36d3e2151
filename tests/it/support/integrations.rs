//! The delivery retrier on a real store, before a registry and a receiver of the tests. Knows no HTTP route.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, Context, Handler};
use actors::domain::{
    Channel, DeliveryDetail, DeliveryFilter, DeliveryRow, Effect, Emitted, GitAutoCommitConfig, IntegrationEvent,
    NewEffect, Notification, Priority, Secret, WebhookHealth,
};
use actors::house::{Belfry, Bells};
use actors::messages::house::AwaitQuiet;
use actors::messages::integrations::{
    AutoCommit, AutoCommitted, EmitWebhookEvent, Endpoint, GetGitAutoCommitConfig, IntegrationResult, KeepNotification,
    ReadEndpoints, SendNotification,
};
use actors::messages::outbound::EffectsQueued;
use actors::messages::store::{ListDeliveries, QueueDeliveries, ReadDelivery, WebhookStats};
use actors::outbound::{DeliveryConfig, DeliveryDoors, DeliveryRetrier, Guard, Resolver, SystemResolver};
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::store::{Store, StoreDoor};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::clock::ManualClock;
use super::receiver::Receiver;
use actors::clock::{Clock, SharedClock};

/// The state writer and the git committer, in memory; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    endpoints: Vec<Endpoint>,
    notifications: Vec<KeepNotification>,
    git: Option<GitAutoCommitConfig>,
    commits: Vec<AutoCommit>,
}

impl Registry {
    /// Registers a webhook for all events; its id is the number of its registration.
    pub(crate) fn add(&self, url: impl Into<String>, secrets: &[&str]) -> String {
        self.add_for(url, secrets, &[])
    }

    pub(crate) fn add_for(&self, url: impl Into<String>, secrets: &[&str], events: &[IntegrationEvent]) -> String {
        let mut kept = self.0.lock().expect("not poisoned");
        let id = format!("w-{:04}", kept.endpoints.len() + 1);
        kept.endpoints.push(Endpoint {
            id: id.clone(),
            url: url.into(),
            events: events.to_vec(),
            secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
        });
        id
    }

    pub(crate) fn remove(&self, id: &str) {
        self.0
            .lock()
            .expect("not poisoned")
            .endpoints
            .retain(|endpoint| endpoint.id != id);
    }

    pub(crate) fn commits_on(&self, events: &[IntegrationEvent]) {
        self.0.lock().expect("not poisoned").git = Some(GitAutoCommitConfig {
            enabled: true,
            on_events: events.to_vec(),
        });
    }

    pub(crate) fn commits(&self) -> Vec<(IntegrationEvent, String)> {
        let kept = self.0.lock().expect("not poisoned");
        kept.commits
            .iter()
            .map(|order| (order.event, order.id.clone()))
            .collect()
    }

    /// The history as it stands: text, channel, whether delivered, meta; one row for each id, in the order of its first.
    pub(crate) fn history(&self) -> Vec<(String, Channel, bool, Value)> {
        let kept = self.0.lock().expect("not poisoned");
        let mut rows: Vec<&KeepNotification> = Vec::new();
        for order in &kept.notifications {
            match rows.iter_mut().find(|row| row.id == order.id) {
                Some(row) => *row = order,
                None => rows.push(order),
            }
        }
        rows.into_iter()
            .map(|row| {
                let notification = &row.notification;
                (
                    notification.message.clone(),
                    notification.channel,
                    row.delivered,
                    Value::Object(row.meta.clone()),
                )
            })
            .collect()
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<ReadEndpoints> for Registry {
    type Result = IntegrationResult<Vec<Endpoint>>;

    fn handle(&mut self, _: ReadEndpoints, _: &mut Context<Self>) -> Self::Result {
        Ok(self.0.lock().expect("not poisoned").endpoints.clone())
    }
}

impl Handler<KeepNotification> for Registry {
    type Result = IntegrationResult<()>;

    fn handle(&mut self, order: KeepNotification, _: &mut Context<Self>) -> Self::Result {
        self.0.lock().expect("not poisoned").notifications.push(order);
        Ok(())
    }
}

impl Handler<GetGitAutoCommitConfig> for Registry {
    type Result = IntegrationResult<GitAutoCommitConfig>;

    fn handle(&mut self, _: GetGitAutoCommitConfig, _: &mut Context<Self>) -> Self::Result {
        let off = GitAutoCommitConfig {
            enabled: false,
            on_events: Vec::new(),
        };
        Ok(self.0.lock().expect("not poisoned").git.clone().unwrap_or(off))
    }
}

impl Handler<AutoCommit> for Registry {
    type Result = IntegrationResult<AutoCommitted>;

    fn handle(&mut self, order: AutoCommit, _: &mut Context<Self>) -> Self::Result {
        self.0.lock().expect("not poisoned").commits.push(order);
        Ok(AutoCommitted {
            commit: Some("c0ffee".to_owned()),
            paths: Vec::new(),
            reason: None,
        })
    }
}

/// Names lead to whatever the test says, one answer after the other; the last one stays.
#[derive(Debug, Default)]
pub(crate) struct Names(pub(crate) Mutex<Vec<Vec<IpAddr>>>);

impl Resolver for Names {
    fn lookup(&self, _: &str, port: u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let mut answers = self.0.lock().expect("not poisoned");
        let answer = match answers.len() {
            0 => Vec::new(),
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        let addresses = answer
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// Lets the tests' own receiver through.
pub(crate) fn lenient() -> Guard {
    Guard::new(Vec::new(), |_| true)
}

/// The retrier with everything around it.
pub(crate) struct Deliveries {
    pub(crate) clock: ManualClock,
    pub(crate) registry: Registry,
    pub(crate) receiver: Receiver,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) retrier: Addr<DeliveryRetrier>,
    pub(crate) folder: TempDir,
    belfry: Belfry,
}

impl Deliveries {
    pub(crate) async fn start() -> Self {
        Self::with(DeliveryConfig::new(lenient(), Arc::new(SystemResolver), key())).await
    }

    pub(crate) async fn with(config: DeliveryConfig) -> Self {
        let (store, folder, clock) = fresh_store();
        Self::on(
            store,
            folder,
            clock,
            Registry::default(),
            Receiver::start().await,
            config,
        )
    }

    /// A retrier on a store that holds something already.
    pub(crate) fn on(
        store: Arc<SqliteStore>,
        folder: TempDir,
        clock: ManualClock,
        registry: Registry,
        receiver: Receiver,
        config: DeliveryConfig,
    ) -> Self {
        let door = StoreDoor::new(store.clone()).start();
        let state = registry.clone().start();
        let (bells, belfry) = Bells::hang();
        let doors = DeliveryDoors {
            endpoints: state.clone().recipient(),
            keep: state.clone().recipient(),
            git: state.clone().recipient(),
            commit: Some(state.recipient()),
            due: door.clone().recipient(),
            claim: door.clone().recipient(),
            settle: door.clone().recipient(),
            queue: door.clone().recipient(),
            due_deliveries: door.clone().recipient(),
            claim_delivery: door.clone().recipient(),
            settle_deliveries: door.clone().recipient(),
            recover: door.clone().recipient(),
            set_webhook: door.recipient(),
        };
        let shared: SharedClock = Arc::new(clock.clone());
        let retrier = DeliveryRetrier::new(doors, config, shared, bells.bell("delivery retrier")).start();
        Self {
            clock,
            registry,
            receiver,
            store,
            retrier,
            folder,
            belfry,
        }
    }

    /// Emits `task.sync` with a small payload; the answer comes when it comes.
    pub(crate) fn emits(&self) -> tokio::task::JoinHandle<Emitted> {
        let asked = self.retrier.send(EmitWebhookEvent {
            name: IntegrationEvent::TaskSync,
            payload: json!({ "n": 1 }),
        });
        actix_rt::spawn(async move { asked.await.expect("answered").expect("emitted") })
    }

    pub(crate) fn notifies(
        &self,
        notification: Notification,
    ) -> tokio::task::JoinHandle<IntegrationResult<actors::domain::Notified>> {
        let asked = self.retrier.send(SendNotification(notification));
        actix_rt::spawn(async move { asked.await.expect("answered") })
    }

    /// Puts an effect into the outbox as a run does, and nudges.
    pub(crate) async fn puts(&self, key: &str, effect: Effect) {
        let order = QueueDeliveries {
            message: None,
            effects: vec![NewEffect {
                key: key.parse().expect("a key"),
                effect,
                run: None,
                event: None,
            }],
            claimed_until: None,
            at: self.clock.now(),
        };
        self.store.queue_deliveries(order).await.expect("queued");
        self.nudge().await;
    }

    pub(crate) async fn nudge(&self) {
        self.retrier.send(EffectsQueued).await.expect("it lives");
    }

    /// Waits until nothing is in hand.
    pub(crate) async fn settle(&self) {
        let mut before = None;
        loop {
            let now = Some(self.retrier.send(AwaitQuiet).await.expect("it lives"));
            if now == before {
                return;
            }
            before = now;
        }
    }

    pub(crate) async fn list(&self) -> Vec<DeliveryRow> {
        let all = DeliveryFilter {
            limit: 10_000,
            ..DeliveryFilter::default()
        };
        self.store
            .list_deliveries(ListDeliveries(all))
            .await
            .expect("listed")
            .items
    }

    pub(crate) async fn shows(&self, id: &str) -> DeliveryDetail {
        let order = ReadDelivery { id: id.to_owned() };
        self.store
            .read_delivery(order)
            .await
            .expect("read")
            .expect("it is there")
    }

    pub(crate) async fn health(&self) -> Vec<WebhookHealth> {
        self.store.webhook_stats(WebhookStats).await.expect("read")
    }

    /// The end of a test is a test: the retrier is alive and finishes, and the store closes.
    pub(crate) async fn finish(mut self) {
        use futures_util::FutureExt;
        self.retrier
            .send(actors::messages::house::Finish)
            .await
            .expect("it finishes");
        assert_eq!(self.belfry.hear().now_or_never(), None, "an actor is gone");
        self.store.close().await.expect("closed");
    }
}

pub(crate) fn key() -> Secret {
    Secret::new("a key of the tests, 256 bits or so")
}

pub(crate) fn fresh_store() -> (Arc<SqliteStore>, TempDir, ManualClock) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::new();
    let options = SqliteOptions::at(folder.path().join("firstlight.db"));
    let store = SqliteStore::open(options, Arc::new(clock.clone())).expect("it opens");
    (Arc::new(store), folder, clock)
}

/// A notification to this URL, with the usual limits.
pub(crate) fn notification(channel: Channel, url: Option<String>) -> Notification {
    Notification {
        channel,
        message: "it broke".to_owned(),
        priority: Priority::High,
        webhook_url: url.map(Secret::new),
        attachments: Vec::new(),
        timeout_ms: 5_000,
        retry_count: 3,
    }
}
