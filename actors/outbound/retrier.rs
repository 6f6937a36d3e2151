//! Works the outbox off for the integrations: events become deliveries, deliveries are attempted until they are through or dead.
//! Knows domain, messages and clock; never who keeps the webhooks or who stores.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::deliverer::{self, CLAIM, Deliverer, Ended, Job, Kept, STORE_PAUSE, Settler, Stop, TEST_EVENT, Target};
use super::guard::{Guard, Resolver};
use super::mail::Mail;
use super::notifier::{self, LARGEST_PAYLOAD, RETRIES, TIMEOUT};
use super::places::{InHand, Places};
use super::post::Wire;
use super::schedule;
use super::seal::Seal;
use crate::clock::SharedClock;
use crate::diagnostics::emit_metric;
use crate::domain::{
    AttemptOutcome, Channel, DeliveryReport, DeliveryStatus, DueDelivery, Effect, EffectKey, EffectSeq, Emitted,
    IntegrationEvent, NewEffect, Notification, Notified, Priority, Secret, StoredEffect, WebhookMessage,
};
use crate::house::Bell;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::integrations::{
    AutoCommit, EmitWebhookEvent, Endpoint, GetGitAutoCommitConfig, IntegrationFault, IntegrationResult,
    KeepNotification, PingWebhook, ReadEndpoints, SendNotification, SwitchWebhook,
};
use crate::messages::outbound::EffectsQueued;
use crate::messages::store::{
    ClaimDelivery, ClaimEffect, QueueDeliveries, ReadDueDeliveries, ReadDueEffects, RecoverDeliveries, SetWebhook,
    SettleDeliveries, SettleEffect, StoreResult,
};

/// The kinds of effects that become deliveries here.
const KINDS: &str = "integration.";
/// Effects and deliveries read at once.
const BATCH: usize = 64;
/// Callers wait for quick attempts, so their number is what bounds the work; nudges carry nothing.
const MAILBOX: usize = 256;
/// The outbox is looked at this often even when nothing calls for it: a clock that was set, or a nudge that went missing, costs minutes.
const LONGEST_NAP: TimeDelta = TimeDelta::minutes(10);

/// To whom the retrier speaks.
#[derive(Clone)]
pub struct DeliveryDoors {
    /// The state writer: whom events go to.
    pub endpoints: Recipient<ReadEndpoints>,
    /// The state writer: the history of notifications.
    pub keep: Recipient<KeepNotification>,
    /// The state writer: whether events are committed.
    pub git: Recipient<GetGitAutoCommitConfig>,
    /// The git committer; absent where no repository is set.
    pub commit: Option<Recipient<AutoCommit>>,
    /// The store: effects that are due.
    pub due: Recipient<ReadDueEffects>,
    /// The store: an effect is about to be worked on.
    pub claim: Recipient<ClaimEffect>,
    /// The store: what became of an effect.
    pub settle: Recipient<SettleEffect>,
    /// The store: new deliveries.
    pub queue: Recipient<QueueDeliveries>,
    /// The store: deliveries that are due.
    pub due_deliveries: Recipient<ReadDueDeliveries>,
    /// The store: an attempt is about to be made.
    pub claim_delivery: Recipient<ClaimDelivery>,
    /// The store: what became of attempts.
    pub settle_deliveries: Recipient<SettleDeliveries>,
    /// The store: what an earlier process left under way.
    pub recover: Recipient<RecoverDeliveries>,
    /// The store: webhooks switched on and off.
    pub set_webhook: Recipient<SetWebhook>,
}

/// Where notifications go that name no endpoint of their own: those of workflows, and notices.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// An incoming webhook of Slack.
    pub slack: Option<Secret>,
    /// A webhook of Discord.
    pub discord: Option<Secret>,
    /// Any endpoint that takes JSON.
    pub webhook: Option<Secret>,
}

/// What the retrier goes by.
#[derive(Clone)]
pub struct DeliveryConfig {
    /// Which addresses may be dialled.
    pub guard: Guard,
    /// How names become addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Seals credentials in the outbox; 256 bits or more.
    pub seal: Secret,
    /// Endpoints of the settings.
    pub defaults: Defaults,
    /// Mailboxes of the settings.
    pub mail: Option<Mail>,
    /// Attempts at one endpoint at the same time.
    pub per_endpoint: usize,
    /// Attempts at the same time in all.
    pub most: usize,
}

impl fmt::Debug for DeliveryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryConfig")
            .field("guard", &self.guard)
            .field("mail", &self.mail)
            .finish_non_exhaustive()
    }
}

impl DeliveryConfig {
    /// The usual numbers: 4 attempts at one endpoint, 256 in all.
    #[must_use]
    pub fn new(guard: Guard, resolver: Arc<dyn Resolver>, seal: Secret) -> Self {
        Self {
            guard,
            resolver,
            seal,
            defaults: Defaults::default(),
            mail: None,
            per_endpoint: 4,
            most: 256,
        }
    }
}

/// Delivers what the integrations say. Handles [`EmitWebhookEvent`], [`SendNotification`], [`PingWebhook`], [`SwitchWebhook`],
/// [`EffectsQueued`], [`AwaitQuiet`] and [`Finish`].
///
/// Work that was begun goes on when its caller goes away. Each endpoint has places of its own, so that a slow one delays nobody else. An attempt
/// is on disk before it is made.
pub struct DeliveryRetrier {
    made_of: Option<(DeliveryDoors, DeliveryConfig, SharedClock)>,
    desk: Option<Rc<Desk>>,
    _bell: Bell,
}

impl DeliveryRetrier {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A retrier; its client is made when it starts, in the arbiter where it lives.
    #[must_use]
    pub fn new(doors: DeliveryDoors, config: DeliveryConfig, clock: SharedClock, bell: Bell) -> Self {
        Self {
            made_of: Some((doors, config, clock)),
            desk: None,
            _bell: bell,
        }
    }

    fn desk(&self) -> Rc<Desk> {
        Rc::clone(self.desk.as_ref().expect("a started actor has its desk"))
    }

    /// Works apart from the caller, who may go away.
    fn apart<T: 'static>(
        &self,
        work: impl AsyncFnOnce(Rc<Desk>) -> IntegrationResult<T> + 'static,
    ) -> ResponseFuture<IntegrationResult<T>> {
        let desk = self.desk();
        if desk.stop.asked.get() {
            return Box::pin(std::future::ready(Err(IntegrationFault::GoingDown)));
        }
        let done = actix_rt::spawn(async move {
            let _busy = desk.busy();
            work(Rc::clone(&desk)).await
        });
        Box::pin(async move {
            done.await.unwrap_or_else(|panicked| {
                tracing::error!(error = %panicked, "an order to the retrier panicked; it alone failed");
                Err(IntegrationFault::GoingDown)
            })
        })
    }
}

/// Everything that the work shares. Lives in one arbiter.
struct Desk {
    doors: DeliveryDoors,
    clock: SharedClock,
    defaults: Defaults,
    seal: Seal,
    places: Rc<Places>,
    deliverer: Deliverer,
    stop: Rc<Stop>,
    /// Lanes of effects that are at work.
    lanes: RefCell<HashSet<String>>,
    /// Pieces of work beside deliveries in hand.
    busy: Cell<usize>,
    recovered: Cell<bool>,
    looking: Cell<bool>,
    look_again: Cell<bool>,
    /// Something due was left where it is, because there was no place for it.
    hungry: Cell<bool>,
    store_failures: Cell<u32>,
    timer: RefCell<Option<(DateTime<Utc>, JoinHandle<()>)>>,
    finished: Cell<u64>,
    quiet: RefCell<Vec<oneshot::Sender<u64>>>,
    ended: RefCell<Vec<oneshot::Sender<()>>>,
}

/// A piece of work that counts until it is dropped.
struct Busy(Rc<Desk>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.finished.set(self.0.finished.get() + 1);
        self.0.tell_if_quiet();
    }
}

/// All webhooks by their ids.
type Endpoints = HashMap<String, Rc<Endpoint>>;

// ---- looking at the outbox ----

impl Desk {
    fn new(doors: DeliveryDoors, config: DeliveryConfig, clock: SharedClock) -> Rc<Self> {
        let stop: Rc<Stop> = Rc::default();
        let agent = concat!("firstlight/", env!("CARGO_PKG_VERSION"));
        Rc::new(Self {
            deliverer: Deliverer {
                clock: clock.clone(),
                wire: Wire::new(config.guard, config.resolver, agent, clock.clone()),
                mail: config.mail,
                claim: doors.claim_delivery.clone(),
                keep: doors.keep.clone(),
                settler: Settler::new(doors.settle_deliveries.clone(), clock.clone(), Rc::clone(&stop)),
                stop: Rc::clone(&stop),
            },
            doors,
            clock,
            defaults: config.defaults,
            seal: Seal::new(&config.seal),
            places: Places::new(config.per_endpoint, config.most),
            stop,
            lanes: RefCell::default(),
            busy: Cell::new(0),
            recovered: Cell::new(false),
            looking: Cell::new(false),
            look_again: Cell::new(false),
            hungry: Cell::new(false),
            store_failures: Cell::new(0),
            timer: RefCell::default(),
            finished: Cell::new(0),
            quiet: RefCell::default(),
            ended: RefCell::default(),
        })
    }

    fn busy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(Rc::clone(self))
    }

    /// Reads what is due, unless a look is on its way: then another follows it, so that no nudge is lost.
    fn look(self: &Rc<Self>) {
        if self.stop.asked.get() {
            return;
        }
        self.look_again.set(true);
        if self.looking.replace(true) {
            return;
        }
        let desk = Rc::clone(self);
        actix_rt::spawn(async move {
            while desk.look_again.replace(false) && !desk.stop.asked.get() {
                match desk.look_once().await {
                    Ok(()) => desk.store_failures.set(0),
                    // Put down meanwhile: whoever did that may have closed the store, too.
                    Err(_) if desk.stop.asked.get() => break,
                    Err(error) => {
                        let pause = growing(desk.store_failures.get());
                        desk.store_failures.set(desk.store_failures.get().saturating_add(1));
                        tracing::warn!(
                            error,
                            pause_s = pause.as_secs(),
                            "deliveries cannot be read, trying again"
                        );
                        let at = desk.clock.now() + pause;
                        desk.wake_by(at);
                        break;
                    }
                }
            }
            desk.looking.set(false);
            desk.tell_if_quiet();
        });
    }

    async fn look_once(self: &Rc<Self>) -> Result<(), String> {
        let now = self.clock.now();
        if !self.recovered.get() {
            let order = RecoverDeliveries { at: now };
            let found = flat(self.doors.recover.send(order).await)?;
            if found > 0 {
                tracing::info!(
                    found,
                    "deliveries were left under way by a stop; they are attempted again"
                );
            }
            self.recovered.set(true);
        }
        let mut next = now + LONGEST_NAP;

        let order = ReadDueEffects {
            kinds: KINDS,
            busy_lanes: self.lanes.borrow().iter().cloned().collect(),
            busy_paces: Vec::new(),
            now,
            limit: BATCH,
        };
        let read = flat(self.doors.due.send(order).await)?;
        next = read.next.into_iter().fold(next, DateTime::min);
        let full = read.due.len() >= BATCH;
        for effect in read.due {
            let lane = effect.effect.lane();
            // The first of a lane in the order of the outbox starts; the others wait behind it.
            if self.lanes.borrow_mut().insert(lane.clone()) {
                self.work_on(lane, effect);
            }
        }
        if full {
            self.look_again.set(true);
        }

        let full = self.places.full();
        let limit = self.places.free().min(BATCH);
        self.hungry.set(limit == 0 || !full.is_empty());
        if limit > 0 {
            let order = ReadDueDeliveries {
                full,
                per_endpoint: self.places.per_endpoint(),
                now,
                limit,
            };
            let read = flat(self.doors.due_deliveries.send(order).await)?;
            next = read.next.into_iter().fold(next, DateTime::min);
            let more = read.due.len() >= limit;
            let begun = self.begin(read.due).await?;
            if more {
                self.hungry.set(true);
                if begun > 0 {
                    self.look_again.set(true);
                }
            } else if begun > 0 {
                // An endpoint may have more due than was read of it.
                self.hungry.set(true);
            }
        }
        if next > now {
            self.wake_by(next);
        }
        Ok(())
    }

    /// Begins deliveries of the outbox. Says how many were in nobody's hand.
    async fn begin(self: &Rc<Self>, due: Vec<DueDelivery>) -> Result<usize, String> {
        if due.is_empty() {
            return Ok(0);
        }
        let endpoints = self.endpoints().await.map_err(|fault| fault.to_string())?;
        let mut begun = 0;
        for delivery in due {
            let Some(post) = delivery.effect.effect.post() else {
                continue;
            };
            let Some(hand) = self.places.take(post.delivery, post.endpoint) else {
                continue;
            };
            let job = self.job_of(&delivery, &endpoints);
            self.start(job, hand);
            begun += 1;
        }
        Ok(begun)
    }

    fn job_of(&self, delivery: &DueDelivery, endpoints: &Endpoints) -> Job {
        let stored = &delivery.effect;
        let (id, target, timeout_ms) = match &stored.effect {
            Effect::WebhookDelivery {
                delivery: id,
                webhook,
                event,
                ..
            } => {
                let gone = |error: &str| Target::Nobody {
                    outcome: AttemptOutcome::Dead {
                        error: error.to_owned(),
                    },
                    kept: None,
                };
                let target = match (endpoints.get(webhook), &delivery.rest) {
                    _ if delivery.switched_off => gone("the webhook is switched off"),
                    (Some(endpoint), Some(rest)) => Target::Webhook {
                        endpoint: Rc::clone(endpoint),
                        event: event.as_str(),
                        rest: Bytes::from(rest.clone()),
                    },
                    (None, _) => gone("the webhook is not registered any more"),
                    (_, None) => gone("its body is not in the store"),
                };
                (id.clone(), target, TIMEOUT)
            }
            Effect::NotificationDelivery {
                delivery: id,
                notification,
                channel,
                message,
                priority,
                attachments,
                timeout_ms,
                to,
                ..
            } => {
                let kept = Rc::new(Kept {
                    id: notification.clone(),
                    notification: Notification {
                        channel: *channel,
                        message: message.clone(),
                        priority: *priority,
                        webhook_url: None,
                        attachments: attachments.clone(),
                        timeout_ms: *timeout_ms,
                        retry_count: RETRIES,
                    },
                });
                (id.clone(), self.target_of(kept, id, to.as_deref()), *timeout_ms)
            }
            other => {
                let outcome = AttemptOutcome::Dead {
                    error: format!("an effect of the kind {} is no delivery", other.kind()),
                };
                (stored.key.to_string(), Target::Nobody { outcome, kept: None }, TIMEOUT)
            }
        };
        Job {
            seq: stored.seq,
            id,
            claimed: None,
            attempts: stored.attempts,
            round: delivery.round,
            // The quick attempts are through once the first round has failed.
            quick: if delivery.round == 0 { RETRIES } else { 0 },
            target,
            timeout: Duration::from_millis(timeout_ms),
        }
    }

    fn target_of(&self, kept: Rc<Kept>, delivery: &str, to: Option<&str>) -> Target {
        let channel = kept.notification.channel;
        if channel == Channel::Email {
            return Target::Mail { kept };
        }
        let url = match to {
            Some(sealed) => self.seal.open(sealed, delivery).ok_or_else(|| AttemptOutcome::Dead {
                error: "its address cannot be unsealed: the key in the folder of secrets is another one".to_owned(),
            }),
            None => self.default_of(channel).ok_or_else(|| AttemptOutcome::Undeliverable {
                error: format!("no endpoint is configured: set notifications.{channel}_url"),
            }),
        };
        match url {
            Ok(url) => Target::Notification {
                body: Bytes::from(notifier::shape(
                    channel,
                    &kept.notification.message,
                    &kept.notification.attachments,
                )),
                url,
                kept,
            },
            Err(outcome) => Target::Nobody {
                outcome,
                kept: Some(kept),
            },
        }
    }

    fn default_of(&self, channel: Channel) -> Option<Secret> {
        match channel {
            Channel::Slack => self.defaults.slack.clone(),
            Channel::Discord => self.defaults.discord.clone(),
            Channel::Webhook => self.defaults.webhook.clone(),
            Channel::Email => None,
        }
    }

    /// Whether a notification that names no endpoint has somebody to go to.
    fn has_default(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.deliverer.mail.is_some(),
            Channel::Slack | Channel::Discord | Channel::Webhook => self.default_of(channel).is_some(),
        }
    }

    /// Works on a delivery apart from everybody.
    fn start(self: &Rc<Self>, job: Job, hand: InHand) -> JoinHandle<Option<Ended>> {
        let desk = Rc::clone(self);
        let id = job.id.clone();
        actix_rt::spawn(async move {
            // A panic is the end of this attempt only; the claim runs out and it is taken up again.
            let work = AssertUnwindSafe(desk.deliverer.post_json_with_retry(job, &hand));
            let ended = work.catch_unwind().await;
            drop(hand);
            desk.finished.set(desk.finished.get() + 1);
            let ended = match ended {
                Ok(ended) => Some(ended),
                Err(_) => {
                    tracing::error!(delivery = id, "a delivery panicked; it is taken up again later");
                    None
                }
            };
            if let Some(at) = ended.as_ref().and_then(|ended| ended.next) {
                desk.wake_by(at);
            }
            if desk.hungry.get() {
                desk.look();
            }
            desk.tell_if_quiet();
            ended
        })
    }

    /// Sees to it that there is a look at this instant or before it.
    fn wake_by(self: &Rc<Self>, at: DateTime<Utc>) {
        if self.stop.asked.get() {
            return;
        }
        let mut timer = self.timer.borrow_mut();
        if let Some((earlier, alarm)) = timer.as_ref() {
            if *earlier <= at && !alarm.is_finished() {
                return;
            }
            alarm.abort();
        }
        let wait = (at - self.clock.now()).to_std().unwrap_or_default();
        let (alarm, desk) = (self.clock.sleep(wait), Rc::downgrade(self));
        let alarm = actix_rt::spawn(async move {
            alarm.await;
            if let Some(desk) = desk.upgrade() {
                desk.timer.borrow_mut().take();
                desk.look();
            }
        });
        *timer = Some((at, alarm));
    }

    fn tell_if_quiet(&self) {
        if self.busy.get() > 0 || self.places.in_hand() > 0 {
            return;
        }
        if self.stop.asked.get() {
            for asker in self.ended.take() {
                // One who asked and gave up is no failure.
                let _ = asker.send(());
            }
        } else if self.looking.get() || self.look_again.get() || self.store_failures.get() > 0 {
            return;
        }
        for asker in self.quiet.take() {
            let _ = asker.send(self.finished.get());
        }
    }

    async fn endpoints(&self) -> IntegrationResult<Endpoints> {
        let all = self.doors.endpoints.send(ReadEndpoints).await??;
        Ok(all
            .into_iter()
            .map(|endpoint| (endpoint.id.clone(), Rc::new(endpoint)))
            .collect())
    }
}

// ---- effects that become deliveries ----

impl Desk {
    fn work_on(self: &Rc<Self>, lane: String, effect: StoredEffect) {
        let (desk, busy) = (Rc::clone(self), self.busy());
        actix_rt::spawn(async move {
            let seq = effect.seq;
            if let Err(error) = AssertUnwindSafe(desk.carry(effect))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err("a panic; the log has it".to_owned()))
            {
                tracing::warn!(effect = %seq, error, "an effect was put down, it is taken up again");
                let at = desk.clock.now() + STORE_PAUSE.1;
                desk.wake_by(at);
            } else {
                desk.look();
            }
            desk.lanes.borrow_mut().remove(&lane);
            drop(busy);
        });
    }

    async fn carry(self: &Rc<Self>, effect: StoredEffect) -> Result<(), String> {
        let claim = ClaimEffect {
            effect: effect.seq,
            at: self.clock.now(),
        };
        let Some(attempt) = flat(self.doors.claim.send(claim).await)? else {
            return Ok(());
        };
        let outcome = match self.fan_out(&effect).await {
            Ok(result) => AttemptOutcome::Done { result },
            Err(fault) => {
                let (now, chance) = (self.clock.now(), self.clock.chance());
                let error = fault.to_string();
                match schedule::long_wait(attempt, None, now, chance) {
                    Some(at) => AttemptOutcome::Retry { at, error },
                    None => AttemptOutcome::Dead {
                        error: format!("given up after {attempt} attempts: {error}"),
                    },
                }
            }
        };
        if let AttemptOutcome::Retry { error, .. } | AttemptOutcome::Dead { error } = &outcome {
            tracing::warn!(effect = %effect.seq, kind = effect.effect.kind(), error, "an effect did not become deliveries");
        }
        let order = SettleEffect {
            effect: effect.seq,
            attempt,
            outcome,
            at: self.clock.now(),
        };
        flat(self.doors.settle.send(order).await)
    }

    /// Makes deliveries of an effect, each with a key made from the effect's: repeated, nothing is doubled.
    async fn fan_out(self: &Rc<Self>, effect: &StoredEffect) -> IntegrationResult<String> {
        match &effect.effect {
            Effect::IntegrationEvent { name, payload } => {
                let endpoints = self.endpoints().await?;
                let message = WebhookMessage {
                    id: effect.key.to_string(),
                    rest: deliverer::rest(name.as_str(), effect.created_at, payload),
                };
                let effects = subscribed(&endpoints, *name)
                    .map(|endpoint| NewEffect {
                        key: derived(&effect.key, &endpoint.id),
                        effect: Effect::WebhookDelivery {
                            delivery: self.clock.fresh_id().to_string(),
                            webhook: endpoint.id.clone(),
                            event: *name,
                            message: message.id.clone(),
                        },
                        run: effect.run,
                        event: effect.event.clone(),
                    })
                    .collect();
                let queued = self.queue(Some(message), effects, None).await?;
                self.auto_commit(*name, effect.key.as_str()).await?;
                Ok(format!("{} deliveries", queued.iter().flatten().count()))
            }
            Effect::Notification {
                channel,
                message,
                priority,
            } => {
                let notification = Notification {
                    channel: *channel,
                    message: message.clone(),
                    priority: *priority,
                    webhook_url: None,
                    attachments: Vec::new(),
                    timeout_ms: TIMEOUT,
                    retry_count: RETRIES,
                };
                let id = stable_id(&effect.key);
                let to_nobody = !self.has_default(*channel);
                let delivery = self.notification_delivery(&effect.key, &id, &notification, None);
                // Marked only once: the delivery marks it from now on.
                self.keep(&id, &notification).await?;
                if to_nobody {
                    return Ok("stored only".to_owned());
                }
                self.queue(None, vec![delivery], None).await?;
                Ok("queued".to_owned())
            }
            Effect::Notice { text, priority, .. } => {
                let channels = self.channels_of_notices();
                if channels.is_empty() {
                    let notification = Notification {
                        channel: Channel::Webhook,
                        message: text.clone(),
                        priority: *priority,
                        webhook_url: None,
                        attachments: Vec::new(),
                        timeout_ms: TIMEOUT,
                        retry_count: RETRIES,
                    };
                    self.keep(&stable_id(&effect.key), &notification).await?;
                    return Ok("stored only".to_owned());
                }
                let effects = channels
                    .iter()
                    .map(|channel| notice_to(&effect.key, *channel, text, *priority))
                    .collect();
                self.queue(None, effects, None).await?;
                Ok(format!("to {} channels", channels.len()))
            }
            other => Err(IntegrationFault::State(format!(
                "an effect of the kind {} does not become deliveries",
                other.kind()
            ))),
        }
    }

    /// Where a notice fans out to: every channel that the settings give an endpoint. A chat platform adds its own line here.
    fn channels_of_notices(&self) -> Vec<Channel> {
        Channel::ALL
            .iter()
            .copied()
            .filter(|channel| self.has_default(*channel))
            .collect()
    }

    fn notification_delivery(
        &self,
        key: &EffectKey,
        id: &str,
        notification: &Notification,
        to: Option<(String, &Secret)>,
    ) -> NewEffect {
        let channel = notification.channel;
        let (delivery, endpoint, to) = match to {
            Some((delivery, url)) => {
                // Tells endpoints apart and gives nothing away.
                let digest = hex::encode(&Sha256::digest(url.expose().as_bytes())[..8]);
                let sealed = self.seal.close(url, &delivery);
                (delivery, format!("notification:{channel}:{digest}"), sealed)
            }
            None => {
                let delivery = self.clock.fresh_id().to_string();
                (delivery, format!("notification:{channel}"), None)
            }
        };
        NewEffect {
            key: derived(key, "post"),
            effect: Effect::NotificationDelivery {
                delivery,
                notification: id.to_owned(),
                channel,
                message: notification.message.clone(),
                priority: notification.priority,
                attachments: notification.attachments.clone(),
                timeout_ms: notification.timeout_ms,
                to,
                endpoint,
            },
            run: None,
            event: None,
        }
    }

    async fn queue(
        &self,
        message: Option<WebhookMessage>,
        effects: Vec<NewEffect>,
        claimed_until: Option<DateTime<Utc>>,
    ) -> IntegrationResult<Vec<Option<EffectSeq>>> {
        if effects.is_empty() {
            return Ok(Vec::new());
        }
        let order = QueueDeliveries {
            message,
            effects,
            claimed_until,
            at: self.clock.now(),
        };
        Ok(self.doors.queue.send(order).await??)
    }

    async fn keep(&self, id: &str, notification: &Notification) -> IntegrationResult<()> {
        let order = KeepNotification {
            id: id.to_owned(),
            notification: notification.clone(),
            delivered: false,
            meta: deliverer::meta(notification),
        };
        self.doors.keep.send(order).await?
    }

    /// Commits, where that is on for this event.
    async fn auto_commit(&self, event: IntegrationEvent, id: &str) -> IntegrationResult<()> {
        let Some(commit) = &self.doors.commit else {
            return Ok(());
        };
        let config = self.doors.git.send(GetGitAutoCommitConfig).await??;
        if !config.enabled || !config.on_events.contains(&event) {
            return Ok(());
        }
        let order = AutoCommit {
            event,
            id: id.to_owned(),
            dry_run: false,
        };
        let committed = commit.send(order).await??;
        match (&committed.commit, &committed.reason) {
            (Some(commit), _) => tracing::info!(%event, id, commit, "an event was committed"),
            (None, reason) => tracing::info!(%event, id, reason, "an event was not committed"),
        }
        Ok(())
    }
}

// ---- what callers ask for ----

impl Desk {
    /// The seed's `emitWebhookEvent`: one delivery to each webhook that subscribed, recorded together, then the quick attempts.
    async fn emit_webhook_event(self: Rc<Self>, event: EmitWebhookEvent) -> IntegrationResult<Emitted> {
        let payload = match event.payload {
            Value::Null => json!({}),
            payload @ Value::Object(_) => payload,
            _ => {
                return Err(IntegrationFault::Invalid {
                    field: "payload",
                    problem: "is no JSON object; write one as in {\"key\": \"value\"}".to_owned(),
                });
            }
        };
        let now = self.clock.now();
        let message = WebhookMessage {
            id: self.clock.fresh_id().to_string(),
            rest: deliverer::rest(event.name.as_str(), now, &payload),
        };
        if message.rest.len() > LARGEST_PAYLOAD {
            return Err(IntegrationFault::Invalid {
                field: "payload",
                problem: format!(
                    "has {} bytes as JSON; at most {LARGEST_PAYLOAD} are taken",
                    message.rest.len()
                ),
            });
        }
        let endpoints = self.endpoints().await?;
        let (event_id, rest) = (message.id.clone(), Bytes::from(message.rest.clone()));
        let mut effects = Vec::new();
        let mut jobs = Vec::new();
        for endpoint in subscribed(&endpoints, event.name) {
            let delivery = self.clock.fresh_id().to_string();
            effects.push(NewEffect {
                key: key_of(&delivery),
                effect: Effect::WebhookDelivery {
                    delivery: delivery.clone(),
                    webhook: endpoint.id.clone(),
                    event: event.name,
                    message: message.id.clone(),
                },
                run: None,
                event: None,
            });
            // In hand before they are on disk, so that a look that comes between does not take them.
            if let Some(hand) = self.places.take(&delivery, &endpoint.id) {
                jobs.push((delivery, Rc::clone(endpoint), hand));
            }
        }
        let queued = self.queue(Some(message), effects, Some(now + CLAIM)).await?;
        let mut started = Vec::new();
        for ((id, endpoint, hand), seq) in jobs.into_iter().zip(queued) {
            let Some(seq) = seq else { continue };
            let job = Job {
                seq,
                id: id.clone(),
                claimed: Some(1),
                attempts: 0,
                round: 0,
                quick: RETRIES,
                timeout: Duration::from_millis(TIMEOUT),
                target: Target::Webhook {
                    endpoint: Rc::clone(&endpoint),
                    event: event.name.as_str(),
                    rest: rest.clone(),
                },
            };
            started.push((id, endpoint, self.start(job, hand)));
        }
        let commits = {
            let (desk, busy) = (Rc::clone(&self), self.busy());
            actix_rt::spawn(async move {
                let done = desk.auto_commit(event.name, &event_id).await;
                drop(busy);
                done
            })
        };
        let mut deliveries = Vec::with_capacity(started.len());
        for (id, endpoint, work) in started {
            let ended = work.await.ok().flatten();
            deliveries.push(ended.map_or_else(
                || lost(id, Some(endpoint.id.clone()), endpoint.url.clone()),
                |ended| ended.report,
            ));
        }
        // The deliveries are what was asked for: a commit that failed is told in the log.
        if let Ok(Err(error)) = commits.await {
            tracing::warn!(%error, event = %event.name, "an event could not be committed");
        }
        let sent = delivered(&deliveries);
        emit_metric("integrations.event.emitted", 1.0, &[("event", event.name.as_str())]);
        Ok(Emitted {
            sent,
            failed: deliveries.len() - sent,
            skipped: endpoints.len() - deliveries.len(),
            deliveries,
        })
    }

    /// The seed's `sendNotification`.
    async fn send_notification(self: Rc<Self>, notification: Notification) -> IntegrationResult<Notified> {
        notifier::check(&notification)?;
        let id = self.clock.fresh_id().to_string();
        let (channel, priority) = (notification.channel, notification.priority);
        self.keep(&id, &notification).await?;
        let to = match (channel, &notification.webhook_url) {
            (Channel::Email, _) => self.deliverer.mail.is_some().then_some(None),
            (Channel::Slack | Channel::Discord | Channel::Webhook, url) => url.clone().map(Some),
        };
        let stored = Notified {
            success: true,
            notification_id: id.clone(),
            delivered: false,
            channel,
            priority,
            delivery: None,
        };
        let Some(url) = to else { return Ok(stored) };
        let delivery = self.clock.fresh_id().to_string();
        let kept = Rc::new(Kept {
            id: id.clone(),
            notification: notification.clone(),
        });
        let mut effect = self.notification_delivery(
            &key_of(&id),
            &id,
            &notification,
            url.as_ref().map(|url| (delivery.clone(), url)),
        );
        let Effect::NotificationDelivery {
            delivery: named,
            endpoint,
            to,
            ..
        } = &mut effect.effect
        else {
            return Err(IntegrationFault::State("a notification is no delivery".to_owned()));
        };
        named.clone_from(&delivery);
        if url.is_some() && to.is_none() {
            return Err(IntegrationFault::State(
                "the system gives no randomness to seal the address with; try again".to_owned(),
            ));
        }
        let hand = self.places.take(&delivery, endpoint);
        let timeout_ms = notification.timeout_ms;
        let target = match url {
            None => Target::Mail { kept },
            Some(url) => Target::Notification {
                body: Bytes::from(notifier::shape(
                    channel,
                    &notification.message,
                    &notification.attachments,
                )),
                url,
                kept,
            },
        };
        let claimed_until = Some(self.clock.now() + CLAIM);
        let queued = self.queue(None, vec![effect], claimed_until).await?;
        let (Some(hand), Some(Some(seq))) = (hand, queued.first().copied()) else {
            return Ok(stored);
        };
        let job = Job {
            seq,
            id: delivery.clone(),
            claimed: Some(1),
            attempts: 0,
            round: 0,
            quick: notification.retry_count,
            timeout: Duration::from_millis(timeout_ms),
            target,
        };
        let ended = self.start(job, hand).await.ok().flatten();
        let report = ended.map_or_else(|| lost(delivery, None, channel.to_string()), |ended| ended.report);
        let delivered = report.status == DeliveryStatus::Delivered;
        Ok(Notified {
            success: delivered,
            delivered,
            delivery: Some(report),
            ..stored
        })
    }

    /// One test delivery. It is not kept in the outbox: it says something about now only.
    async fn ping(self: Rc<Self>, id: String) -> IntegrationResult<DeliveryReport> {
        let endpoints = self.endpoints().await?;
        let endpoint = endpoints
            .get(&id)
            .ok_or_else(|| IntegrationFault::NotFound(no_webhook(&id)))?;
        let delivery = self.clock.fresh_id().to_string();
        let began = self.clock.now();
        let rest = Bytes::from(deliverer::rest(TEST_EVENT, began, &json!({ "webhook_id": id })));
        let hand = self.places.take(&delivery, &id);
        let place = match &hand {
            Some(hand) => Some(hand.place().await),
            None => None,
        };
        let timeout = Duration::from_millis(TIMEOUT);
        let done = self
            .deliverer
            .to_webhook(endpoint, &delivery, TEST_EVENT, rest, timeout)
            .await;
        drop(place);
        let probed = deliverer::probed(&done);
        let took = self.clock.now() - began;
        Ok(DeliveryReport {
            webhook_id: Some(id),
            url: endpoint.url.clone(),
            status: match probed {
                Ok(()) => DeliveryStatus::Delivered,
                Err(_) => DeliveryStatus::Failed,
            },
            http_status: done.ok().map(|answered| answered.status),
            attempts: 1,
            duration_ms: u64::try_from(took.num_milliseconds()).unwrap_or(0),
            error: probed.err(),
            delivery_id: delivery,
        })
    }

    /// Off at once; on when a test delivery was taken.
    async fn switch(self: Rc<Self>, id: String, enabled: bool) -> IntegrationResult<bool> {
        let (enabled, reason) = if enabled {
            let report = Rc::clone(&self).ping(id.clone()).await?;
            let taken = report.status == DeliveryStatus::Delivered;
            (taken.then_some(true), report.error)
        } else if self.endpoints().await?.contains_key(&id) {
            (Some(false), Some("switched off by hand".to_owned()))
        } else {
            return Err(IntegrationFault::NotFound(no_webhook(&id)));
        };
        let order = SetWebhook {
            webhook: id,
            enabled,
            reason,
            at: self.clock.now(),
        };
        Ok(self.doors.set_webhook.send(order).await??)
    }
}

/// The webhooks that want an event, in a steady order.
fn subscribed(endpoints: &Endpoints, event: IntegrationEvent) -> impl Iterator<Item = &Rc<Endpoint>> {
    let mut wanted: Vec<_> = endpoints
        .values()
        .filter(|endpoint| endpoint.events.is_empty() || endpoint.events.contains(&event))
        .collect();
    wanted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    wanted.into_iter()
}

/// A notice as a notification of one channel.
fn notice_to(key: &EffectKey, channel: Channel, text: &str, priority: Priority) -> NewEffect {
    NewEffect {
        key: derived(key, channel.as_str()),
        effect: Effect::Notification {
            channel,
            message: text.to_owned(),
            priority,
        },
        run: None,
        event: None,
    }
}

/// The key of what follows from an effect: the same each time.
fn derived(key: &EffectKey, what: &str) -> EffectKey {
    format!("{key}/{what}").parse().unwrap_or_else(|_| {
        // A key that is too long is told apart by its digest.
        let digest = hex::encode(Sha256::digest(format!("{key}/{what}").as_bytes()));
        key_of(&digest)
    })
}

fn key_of(id: &str) -> EffectKey {
    format!("delivery:{id}")
        .parse()
        .expect("a short word and an id are a key")
}

/// An id in the history that is the same each time an effect is worked on.
fn stable_id(key: &EffectKey) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_str().as_bytes()).to_string()
}

fn delivered(reports: &[DeliveryReport]) -> usize {
    let taken = reports
        .iter()
        .filter(|report| report.status == DeliveryStatus::Delivered);
    taken.count()
}

/// What is said of a delivery whose work panicked: it is in the outbox and taken up again.
fn lost(id: String, webhook: Option<String>, url: String) -> DeliveryReport {
    DeliveryReport {
        webhook_id: webhook,
        url,
        status: DeliveryStatus::Retrying,
        http_status: None,
        attempts: 1,
        duration_ms: 0,
        error: Some("a panic; the log has it".to_owned()),
        delivery_id: id,
    }
}

fn growing(failures: u32) -> Duration {
    STORE_PAUSE
        .0
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(STORE_PAUSE.1)
}

fn flat<T>(answer: Result<StoreResult<T>, MailboxError>) -> Result<T, String> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(gone) => Err(format!("the store does not answer: {gone}")),
    }
}

impl Actor for DeliveryRetrier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Some((doors, config, clock)) = self.made_of.take() {
            let desk = Desk::new(doors, config, clock);
            // What an earlier process left in the outbox.
            desk.look();
            self.desk = Some(desk);
        }
    }
}

impl Handler<EmitWebhookEvent> for DeliveryRetrier {
    type Result = ResponseFuture<IntegrationResult<Emitted>>;

    fn handle(&mut self, event: EmitWebhookEvent, _: &mut Context<Self>) -> Self::Result {
        self.apart(async move |desk| desk.emit_webhook_event(event).await)
    }
}

impl Handler<SendNotification> for DeliveryRetrier {
    type Result = ResponseFuture<IntegrationResult<Notified>>;

    fn handle(&mut self, order: SendNotification, _: &mut Context<Self>) -> Self::Result {
        self.apart(async move |desk| desk.send_notification(order.0).await)
    }
}

impl Handler<PingWebhook> for DeliveryRetrier {
    type Result = ResponseFuture<IntegrationResult<DeliveryReport>>;

    fn handle(&mut self, order: PingWebhook, _: &mut Context<Self>) -> Self::Result {
        self.apart(async move |desk| desk.ping(order.id).await)
    }
}

impl Handler<SwitchWebhook> for DeliveryRetrier {
    type Result = ResponseFuture<IntegrationResult<bool>>;

    fn handle(&mut self, order: SwitchWebhook, _: &mut Context<Self>) -> Self::Result {
        self.apart(async move |desk| desk.switch(order.id, order.enabled).await)
    }
}

impl Handler<EffectsQueued> for DeliveryRetrier {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, _: &mut Context<Self>) {
        self.desk().look();
    }
}

impl Handler<Ping> for DeliveryRetrier {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for DeliveryRetrier {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Context<Self>) -> Self::Result {
        let desk = self.desk();
        let (told, hears) = oneshot::channel();
        desk.quiet.borrow_mut().push(told);
        // What was queued before the question counts; an answer from before it does not.
        desk.look();
        desk.tell_if_quiet();
        let finished = desk.finished.get();
        Box::pin(async move { hears.await.unwrap_or(finished) })
    }
}

impl Handler<Finish> for DeliveryRetrier {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Context<Self>) -> Self::Result {
        let desk = self.desk();
        let (told, hears) = oneshot::channel();
        desk.ended.borrow_mut().push(told);
        desk.stop.asked.set(true);
        desk.stop.bell.notify_waiters();
        if let Some((_, alarm)) = desk.timer.borrow_mut().take() {
            alarm.abort();
        }
        desk.tell_if_quiet();
        Box::pin(async move {
            // The actor is gone: then nothing is in its hands either.
            let _ = hears.await;
        })
    }
}

/// Says that there is no such webhook, in no more words than the id may have.
fn no_webhook(id: &str) -> String {
    format!("there is no webhook {:?}", id.chars().take(100).collect::<String>())
}
