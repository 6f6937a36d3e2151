//! One delivery, from its first attempt to its last for now: each attempt is written down before it is made, and its outcome after it.
//! Knows how to deliver; not why, and not what else waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, oneshot};
use url::Url;

use super::mail::Mail;
use super::places::InHand;
use super::post::{self, Answered, Ask, PostFault, Wire};
use super::{schedule, sign, unsaid};
use crate::clock::SharedClock;
use crate::diagnostics::emit_metric;
use crate::domain::{
    AttemptOutcome, DeliveryReport, DeliverySettled, DeliveryStatus, Effect, EffectSeq, NewEffect, Notification,
    Priority, REDACTED, Secret, WebhookMessage,
};
use crate::messages::integrations::{Endpoint, KeepNotification};
use crate::messages::store::{ClaimDelivery, SettleDeliveries, StoreError};

/// A claimed delivery is nobody else's for so long. Longer than any attempt; if the one who claimed it is lost, it comes back.
pub(super) const CLAIM: TimeDelta = TimeDelta::minutes(10);
/// An endpoint with nothing but failures for so long is switched off.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(5);
/// Waits after the store failed, growing from the first to the second.
pub(super) const STORE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The event of a test delivery. Nobody subscribes to it.
pub(super) const TEST_EVENT: &str = "webhook.test";

/// Whether the house goes down.
#[derive(Default)]
pub(super) struct Stop {
    pub(super) asked: Cell<bool>,
    pub(super) bell: Notify,
}

/// What a series of attempts needs.
pub(super) struct Deliverer {
    pub(super) clock: SharedClock,
    pub(super) wire: Wire,
    pub(super) mail: Option<Mail>,
    pub(super) claim: Recipient<ClaimDelivery>,
    pub(super) keep: Recipient<KeepNotification>,
    pub(super) settler: Rc<Settler>,
    pub(super) stop: Rc<Stop>,
}

/// One delivery and what is known of it.
pub(super) struct Job {
    pub(super) seq: EffectSeq,
    /// Its id.
    pub(super) id: String,
    /// The attempt that is written down already.
    pub(super) claimed: Option<u32>,
    /// Attempts that were begun so far.
    pub(super) attempts: u32,
    /// Rounds that failed.
    pub(super) round: u32,
    /// Quick attempts after the first of this round.
    pub(super) quick: u32,
    pub(super) target: Target,
    pub(super) timeout: Duration,
}

/// Where it goes.
pub(super) enum Target {
    /// A registered webhook.
    Webhook {
        endpoint: Rc<Endpoint>,
        event: &'static str,
        rest: Bytes,
    },
    /// The endpoint of a notification.
    Notification { kept: Rc<Kept>, url: Secret, body: Bytes },
    /// The operators' mailboxes.
    Mail { kept: Rc<Kept> },
    /// Nowhere: there is nobody any more, and this is what it comes to.
    Nobody {
        outcome: AttemptOutcome,
        kept: Option<Rc<Kept>>,
    },
}

/// A notification with its id in the history.
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) notification: Notification,
}

/// How a series ended.
pub(super) struct Ended {
    pub(super) report: DeliveryReport,
    /// When it is tried again.
    pub(super) next: Option<DateTime<Utc>>,
}

/// What one attempt came to.
struct Attempted {
    done: Result<Answered, PostFault>,
    took: Duration,
}

impl Target {
    /// As reports show it: a webhook's URL is no secret, any other's path is.
    fn shown(&self) -> String {
        match self {
            Self::Webhook { endpoint, .. } => endpoint.url.clone(),
            Self::Notification { url, .. } => match Url::parse(url.expose()) {
                Ok(url) => format!("{}://{}", url.scheme(), post::host(&url)),
                Err(_) => REDACTED.to_owned(),
            },
            Self::Mail { .. } => "mail".to_owned(),
            Self::Nobody { .. } => "nobody".to_owned(),
        }
    }

    fn webhook(&self) -> Option<&Endpoint> {
        match self {
            Self::Webhook { endpoint, .. } => Some(endpoint),
            Self::Notification { .. } | Self::Mail { .. } | Self::Nobody { .. } => None,
        }
    }

    fn kept(&self) -> Option<&Rc<Kept>> {
        match self {
            Self::Notification { kept, .. } | Self::Mail { kept } => Some(kept),
            Self::Nobody { kept, .. } => kept.as_ref(),
            Self::Webhook { .. } => None,
        }
    }
}

impl Deliverer {
    /// The seed's `postJsonWithRetry`, durable: quick attempts while the failure is worth another, then the long schedule, which is
    /// another series.
    pub(super) async fn post_json_with_retry(&self, mut job: Job, hand: &InHand) -> Ended {
        let began = self.clock.now();
        let mut report = DeliveryReport {
            webhook_id: job.target.webhook().map(|endpoint| endpoint.id.clone()),
            url: job.target.shown(),
            status: DeliveryStatus::Retrying,
            http_status: None,
            attempts: job.attempts,
            duration_ms: 0,
            error: None,
            delivery_id: job.id.clone(),
        };
        let mut quick = 0;
        let next = loop {
            if let Target::Nobody { outcome, .. } = &job.target {
                break self.nobody(&job, outcome.clone(), &mut report).await;
            }
            let place = hand.place().await;
            if self.stop.asked.get() {
                report.error = Some("the service is going down; it is tried again when it is back".to_owned());
                break None;
            }
            let attempt = match self.claimed(&mut job).await {
                Ok(Some(attempt)) => attempt,
                Ok(None) => {
                    report.status = DeliveryStatus::Failed;
                    report.error = Some("it came to its end elsewhere".to_owned());
                    break None;
                }
                Err(error) => {
                    report.error = Some(error);
                    break Some(self.clock.now() + STORE_PAUSE.1);
                }
            };
            let attempted = self.attempt(&job).await;
            drop(place);
            hand.was_slow(matches!(attempted.done, Err(PostFault::Retryable { slow: true, .. })));
            report.attempts = attempt;
            report.http_status = attempted.done.as_ref().ok().map(|answered| answered.status);

            let now = self.clock.now();
            let judged = judge(&attempted.done);
            let mut wait = None;
            let outcome = match judged {
                Judged::Done(result) => AttemptOutcome::Done { result },
                Judged::Never(error) => AttemptOutcome::Dead { error },
                Judged::Again { error, asked } => {
                    wait = (quick < job.quick)
                        .then(|| schedule::quick_wait(quick, asked, self.clock.chance()))
                        .flatten();
                    if wait.is_some() {
                        // It stays in this hand, so it is due for nobody else.
                        AttemptOutcome::Retry { at: now + CLAIM, error }
                    } else {
                        job.round += 1;
                        match schedule::long_wait(job.round, asked, now, self.clock.chance()) {
                            Some(at) => AttemptOutcome::Retry { at, error },
                            None => AttemptOutcome::Dead {
                                error: format!("given up after {attempt} attempts: {error}"),
                            },
                        }
                    }
                }
            };
            report.error = error_of(&outcome);
            report.status = status_of(&outcome);
            if wait.is_none() {
                self.keep(&job, &report).await;
            }
            say(&job, &report, &outcome, wait);
            let settled = self.settled(&job, attempt, outcome.clone(), attempted);
            if let Err(error) = self.settler.settle(settled).await {
                // It may be attempted again: what is not on disk did not happen.
                report.error.get_or_insert(error);
                break Some(self.clock.now() + STORE_PAUSE.1);
            }
            let Some(wait) = wait else {
                break match outcome {
                    AttemptOutcome::Retry { at, .. } => Some(at),
                    AttemptOutcome::Done { .. }
                    | AttemptOutcome::Dead { .. }
                    | AttemptOutcome::Undeliverable { .. } => None,
                };
            };
            quick += 1;
            if self.stop.asked.get() {
                continue;
            }
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = self.stop.bell.notified() => {}
            }
        };
        let took = self.clock.now() - began;
        report.duration_ms = u64::try_from(took.num_milliseconds()).unwrap_or(0);
        Ended { report, next }
    }

    async fn claimed(&self, job: &mut Job) -> Result<Option<u32>, String> {
        let attempt = match job.claimed.take() {
            Some(attempt) => Some(attempt),
            None => {
                let at = self.clock.now();
                let order = ClaimDelivery {
                    effect: job.seq,
                    at,
                    until: at + CLAIM,
                };
                match self.claim.send(order).await {
                    Ok(Ok(attempt)) => attempt,
                    Ok(Err(error)) => return Err(error.to_string()),
                    Err(gone) => return Err(format!("the store does not answer: {gone}")),
                }
            }
        };
        job.attempts = attempt.unwrap_or(job.attempts);
        Ok(attempt)
    }

    /// What has nobody to go to comes to its end without an attempt.
    async fn nobody(&self, job: &Job, outcome: AttemptOutcome, report: &mut DeliveryReport) -> Option<DateTime<Utc>> {
        report.error = error_of(&outcome);
        report.status = status_of(&outcome);
        self.keep(job, report).await;
        say(job, report, &outcome, None);
        let none = Attempted {
            done: Err(PostFault::Never(String::new())),
            took: Duration::ZERO,
        };
        let settled = self.settled(job, job.attempts, outcome, none);
        match self.settler.settle(settled).await {
            Ok(()) => None,
            Err(_) => Some(self.clock.now() + STORE_PAUSE.1),
        }
    }

    async fn attempt(&self, job: &Job) -> Attempted {
        let began = self.clock.now();
        let done = match &job.target {
            Target::Webhook { endpoint, event, rest } => {
                self.to_webhook(endpoint, &job.id, event, rest.clone(), job.timeout)
                    .await
            }
            Target::Notification { url, body, .. } => self.to_channel(url, &job.id, body.clone(), job.timeout).await,
            Target::Mail { kept } => self.by_mail(kept, &job.id, job.timeout).await,
            Target::Nobody { .. } => Err(PostFault::Never("there is nobody to give it to".to_owned())),
        };
        Attempted {
            done,
            took: (self.clock.now() - began).to_std().unwrap_or_default(),
        }
    }

    /// One POST to a webhook, signed with its secrets of the moment.
    pub(super) async fn to_webhook(
        &self,
        endpoint: &Endpoint,
        id: &str,
        event: &str,
        rest: Bytes,
        timeout: Duration,
    ) -> Result<Answered, PostFault> {
        let url =
            Url::parse(&endpoint.url).map_err(|error| PostFault::Never(format!("its URL cannot be used: {error}")))?;
        let head = Bytes::from(WebhookMessage::head(id));
        let at = self.clock.now();
        let mut headers = vec![
            ("x-firstlight-event", event.to_owned()),
            ("x-firstlight-delivery", id.to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.timestamp().to_string()),
        ];
        if let Some(signed) = sign::sign(&endpoint.secrets, id, at, &[&head, &rest]) {
            headers.push((sign::AMS_SIGNATURE, signed.ams));
            headers.push(("webhook-signature", signed.standard));
        }
        self.wire
            .fetch_with_timeout(Ask {
                url: &url,
                headers,
                head,
                rest,
                timeout,
            })
            .await
    }

    async fn to_channel(&self, url: &Secret, id: &str, body: Bytes, timeout: Duration) -> Result<Answered, PostFault> {
        // The parser's words could quote it.
        let parsed = Url::parse(url.expose()).map_err(|_| PostFault::Never("its URL cannot be used".to_owned()))?;
        let ask = Ask {
            url: &parsed,
            headers: vec![("x-firstlight-delivery", id.to_owned())],
            head: Bytes::new(),
            rest: body,
            timeout,
        };
        let mut answered = self.wire.fetch_with_timeout(ask).await?;
        answered.excerpt = answered
            .excerpt
            .map(|text| unsaid::without(&unsaid::of_address(url.expose()), &text));
        Ok(answered)
    }

    async fn by_mail(&self, kept: &Kept, id: &str, timeout: Duration) -> Result<Answered, PostFault> {
        let Some(mail) = &self.mail else {
            return Err(PostFault::Never(
                "no mail server is configured: set smtp_url".to_owned(),
            ));
        };
        let notification = &kept.notification;
        let send = mail.send(id, &notification.message, notification.priority, timeout);
        let slow = || PostFault::Retryable {
            error: format!("the mail server did not take it within {} ms", timeout.as_millis()),
            slow: true,
        };
        let excerpt = tokio::select! {
            sent = send => sent?,
            () = self.clock.sleep(timeout) => return Err(slow()),
        };
        Ok(Answered {
            status: 250,
            retry_after: None,
            excerpt: Some(excerpt),
        })
    }

    fn settled(&self, job: &Job, attempt: u32, outcome: AttemptOutcome, attempted: Attempted) -> DeliverySettled {
        let told = match &outcome {
            AttemptOutcome::Done { .. } => "integrations.delivery.ok",
            AttemptOutcome::Retry { .. } => "integrations.delivery.retry",
            AttemptOutcome::Dead { .. } | AttemptOutcome::Undeliverable { .. } => "integrations.delivery.failed",
        };
        emit_metric(told, 1.0, &[]);
        let webhook = job.target.webhook();
        let failed = error_of(&outcome);
        let answered = attempted.done.ok();
        DeliverySettled {
            effect: job.seq,
            attempt,
            round: job.round,
            http_status: answered.as_ref().map(|answered| answered.status),
            excerpt: answered.and_then(|answered| answered.excerpt),
            duration_ms: u64::try_from(attempted.took.as_millis()).unwrap_or(u64::MAX),
            webhook: webhook.map(|endpoint| endpoint.id.clone()),
            notice: webhook
                .zip(failed)
                .and_then(|(endpoint, error)| self.notice(endpoint, &job.id, &error)),
            outcome,
        }
    }

    /// What the operators are told if this failure switches the webhook off.
    fn notice(&self, endpoint: &Endpoint, delivery: &str, error: &str) -> Option<NewEffect> {
        let (id, days) = (&endpoint.id, GIVE_UP_AFTER.num_days());
        let host = Url::parse(&endpoint.url).map_or_else(|_| "an unreadable URL".to_owned(), |url| post::host(&url));
        Some(NewEffect {
            key: format!("webhook:{id}/off/{delivery}/{}", self.clock.now().timestamp())
                .parse()
                .ok()?,
            effect: Effect::Notice {
                about: format!("webhook:{id}"),
                text: format!(
                    "The webhook {id} at {host} is switched off: nothing but failures for {days} days. The last one: {error}. \
                     When it is well again, switch it on; a test delivery decides."
                ),
                priority: Priority::High,
            },
            run: None,
            event: None,
        })
    }

    /// Marks the notification in the history. What cannot be marked is told and goes on: the outbox is what counts.
    async fn keep(&self, job: &Job, report: &DeliveryReport) {
        let Some(kept) = job.target.kept() else { return };
        let mut meta = meta(&kept.notification);
        meta.insert("attempts".to_owned(), json!(report.attempts));
        meta.insert("delivery_id".to_owned(), json!(report.delivery_id));
        if let Some(status) = report.http_status {
            meta.insert("http_status".to_owned(), json!(status));
        }
        if let Some(error) = &report.error {
            meta.insert("error".to_owned(), json!(error));
        }
        let order = KeepNotification {
            id: kept.id.clone(),
            notification: kept.notification.clone(),
            delivered: report.status == DeliveryStatus::Delivered,
            meta,
        };
        let told = match report.status {
            DeliveryStatus::Delivered => Some("integrations.notification.sent"),
            DeliveryStatus::Failed => Some("integrations.notification.failed"),
            DeliveryStatus::Retrying => None,
        };
        if let Some(told) = told {
            emit_metric(told, 1.0, &[("channel", kept.notification.channel.as_str())]);
        }
        let kept = self.keep.send(order).await;
        let error = match kept {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(gone) => gone.to_string(),
        };
        tracing::warn!(
            delivery = job.id,
            error,
            "a notification could not be marked in the history"
        );
    }
}

/// What the history says about a notification beside its text.
pub(super) fn meta(notification: &Notification) -> Map<String, Value> {
    let mut meta = Map::new();
    if !notification.attachments.is_empty() {
        meta.insert("attachments".to_owned(), json!(notification.attachments.len()));
    }
    meta
}

/// The rest of a body: everything but its id.
pub(super) fn rest(event: &str, at: DateTime<Utc>, payload: &Value) -> String {
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    format!("\"event\":\"{event}\",\"timestamp\":\"{at}\",\"payload\":{payload}}}")
}

/// What an attempt means.
enum Judged {
    Done(String),
    Never(String),
    Again { error: String, asked: Option<TimeDelta> },
}

fn judge(done: &Result<Answered, PostFault>) -> Judged {
    match done {
        Ok(answered) => match answered.status {
            status @ 200..=299 => Judged::Done(status.to_string()),
            status if schedule::worth_another_try(status) => Judged::Again {
                error: format!("the receiver answered {status}"),
                asked: answered.retry_after,
            },
            status @ 300..=399 => Judged::Never(format!(
                "the receiver answered {status}; redirects are not followed, register the address it leads to"
            )),
            status => Judged::Never(format!("the receiver answered {status}")),
        },
        Err(PostFault::Retryable { error, .. }) => Judged::Again {
            error: error.clone(),
            asked: None,
        },
        Err(PostFault::Never(error)) => Judged::Never(error.clone()),
    }
}

/// Whether a probe was taken, in words if not.
pub(super) fn probed(done: &Result<Answered, PostFault>) -> Result<(), String> {
    match judge(done) {
        Judged::Done(_) => Ok(()),
        Judged::Never(error) | Judged::Again { error, .. } => Err(error),
    }
}

fn error_of(outcome: &AttemptOutcome) -> Option<String> {
    match outcome {
        AttemptOutcome::Done { .. } => None,
        AttemptOutcome::Retry { error, .. }
        | AttemptOutcome::Dead { error }
        | AttemptOutcome::Undeliverable { error } => Some(error.clone()),
    }
}

fn status_of(outcome: &AttemptOutcome) -> DeliveryStatus {
    match outcome {
        AttemptOutcome::Done { .. } => DeliveryStatus::Delivered,
        AttemptOutcome::Retry { .. } => DeliveryStatus::Retrying,
        AttemptOutcome::Dead { .. } | AttemptOutcome::Undeliverable { .. } => DeliveryStatus::Failed,
    }
}

fn say(job: &Job, report: &DeliveryReport, outcome: &AttemptOutcome, wait: Option<Duration>) {
    let (delivery, attempt) = (job.id.as_str(), report.attempts);
    let webhook = report.webhook_id.as_deref().unwrap_or("-");
    match outcome {
        AttemptOutcome::Done { .. } => tracing::debug!(delivery, webhook, attempt, "a delivery is out"),
        AttemptOutcome::Retry { error, .. } if wait.is_some() => {
            tracing::debug!(delivery, webhook, attempt, error, "a delivery is tried again at once");
        }
        AttemptOutcome::Retry { at, error } => {
            tracing::warn!(delivery, webhook, attempt, %at, error, "a delivery is tried again later");
        }
        AttemptOutcome::Dead { error } => {
            tracing::error!(delivery, webhook, attempt, error, "a delivery is given up");
        }
        AttemptOutcome::Undeliverable { error } => {
            tracing::warn!(
                delivery,
                webhook,
                attempt,
                error,
                "a delivery has nobody to go to, it is kept"
            );
        }
    }
}

/// Writes outcomes down, as many together as wait: what queues behind a commit joins the next one.
pub(super) struct Settler {
    door: Recipient<SettleDeliveries>,
    clock: SharedClock,
    stop: Rc<Stop>,
    waiting: RefCell<Vec<Waiting>>,
    at_work: Cell<bool>,
}

struct Waiting {
    settled: DeliverySettled,
    told: oneshot::Sender<Result<(), String>>,
}

impl Settler {
    pub(super) fn new(door: Recipient<SettleDeliveries>, clock: SharedClock, stop: Rc<Stop>) -> Rc<Self> {
        Rc::new(Self {
            door,
            clock,
            stop,
            waiting: RefCell::default(),
            at_work: Cell::new(false),
        })
    }

    /// Complete when the outcome is on disk. What an endpoint has must be written down, or it would get it again: while the
    /// disk is full this waits.
    ///
    /// # Errors
    /// When the store refuses it, or the house goes down before the store takes it.
    async fn settle(self: &Rc<Self>, settled: DeliverySettled) -> Result<(), String> {
        let (told, hears) = oneshot::channel();
        self.waiting.borrow_mut().push(Waiting { settled, told });
        if !self.at_work.replace(true) {
            let settler = Rc::clone(self);
            actix_rt::spawn(async move { settler.work().await });
        }
        hears
            .await
            .unwrap_or_else(|_| Err("the outcome was not written down".to_owned()))
    }

    async fn work(&self) {
        loop {
            let together = self.waiting.take();
            if together.is_empty() {
                self.at_work.set(false);
                return;
            }
            let (settled, told): (Vec<_>, Vec<_>) = together.into_iter().map(|one| (one.settled, one.told)).unzip();
            match self.write(settled.clone()).await {
                Ok(()) => told.into_iter().for_each(|told| drop(told.send(Ok(())))),
                // One of them is refused: the others must not suffer for it.
                Err(_) => {
                    for (one, told) in settled.into_iter().zip(told) {
                        let written = self.write(vec![one]).await;
                        // Nobody waits any more: it is written all the same.
                        let _ = told.send(written);
                    }
                }
            }
        }
    }

    async fn write(&self, settled: Vec<DeliverySettled>) -> Result<(), String> {
        let mut pause = STORE_PAUSE.0;
        loop {
            let order = SettleDeliveries {
                settled: settled.clone(),
                give_up_after: GIVE_UP_AFTER,
                at: self.clock.now(),
            };
            let error = match self.door.send(order).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(StoreError::Failed(error))) => return Err(error),
                Ok(Err(error)) => error.to_string(),
                Err(gone) => return Err(gone.to_string()),
            };
            if self.stop.asked.get() {
                return Err(error);
            }
            tracing::warn!(error, "what became of deliveries cannot be written down, trying again");
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.stop.bell.notified() => {}
            }
            pause = pause.saturating_mul(2).min(STORE_PAUSE.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_means_what_the_seed_says() {
        let answered = |status| {
            Ok(Answered {
                status,
                retry_after: Some(TimeDelta::seconds(7)),
                excerpt: None,
            })
        };
        for (status, expected) in [
            (200, "done 200"),
            (204, "done 204"),
            (302, "never the receiver answered 302; redirects are not followed"),
            (400, "never the receiver answered 400"),
            (401, "never the receiver answered 401"),
            (408, "again in 7 the receiver answered 408"),
            (410, "never the receiver answered 410"),
            (429, "again in 7 the receiver answered 429"),
            (500, "again in 7 the receiver answered 500"),
            (503, "again in 7 the receiver answered 503"),
        ] {
            let told = match judge(&answered(status)) {
                Judged::Done(result) => format!("done {result}"),
                Judged::Never(error) => format!("never {error}"),
                Judged::Again { error, asked } => {
                    format!("again in {} {error}", asked.map_or(0, |asked| asked.num_seconds()))
                }
            };
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn a_body_has_the_contracts_keys_in_order() {
        let at = DateTime::from_timestamp(1_767_323_045, 0).expect("a valid instant");
        let rest = rest("task.sync", at, &json!({ "n": 1 }));
        assert_eq!(
            WebhookMessage::body("0199", &rest),
            r#"{"id":"0199","event":"task.sync","timestamp":"2026-01-02T03:04:05.000Z","payload":{"n":1}}"#
        );
    }
}
