//! The GitHub connector: verify, filter, normalize, record, in that order. Lives once per HTTP worker; knows no route and no store.

use std::borrow::Cow;
use std::sync::Arc;

use actix::prelude::*;
use chrono::SubsecRound;

use super::diagnose::{Refused, diagnose};
use super::normalize::{NotTaken, Taken, checks, normalize};
use super::verify::SignatureKeys;
use crate::clock::SharedClock;
use crate::connectors::EnvelopeSink;
use crate::domain::{BodyFormat, DeliveryId, ManagedRepos, NewEvent, RawBody, Recorded};
use crate::messages::github::{Deliver, ExplainRefusal, Judged, TryDelivery, Verdict};

/// How many deliveries may wait for one worker's connector; one more is answered 503.
const MAILBOX: usize = 1024;

/// What every worker's connector goes by.
#[derive(Debug, Clone)]
pub struct GithubRules {
    /// The secrets, all of them valid.
    pub keys: SignatureKeys,
    /// Login of our own bot.
    pub bot_login: String,
    /// The managed list.
    pub managed: ManagedRepos,
}

/// Judges deliveries beside the socket that they came through; the first hop that leaves the thread is the store's.
pub struct GithubConnector {
    rules: Arc<GithubRules>,
    sink: EnvelopeSink,
    clock: SharedClock,
}

impl GithubConnector {
    /// A connector for this thread.
    #[must_use]
    pub fn new(rules: Arc<GithubRules>, sink: EnvelopeSink, clock: SharedClock) -> Self {
        Self { rules, sink, clock }
    }

    /// Everything up to the envelope; whoever returns early has left no trace.
    fn judge(&self, delivery: &Deliver) -> Result<NewEvent, Verdict> {
        if !self.rules.keys.verify(delivery.signature.as_deref(), &delivery.body) {
            return Err(Verdict::Unsigned);
        }
        let event = delivery
            .event
            .as_deref()
            .filter(|event| !event.is_empty())
            .ok_or(Verdict::NoEventHeader)?;
        let (json, format) = payload_text(delivery).ok_or(Verdict::InvalidJson)?;
        let envelope = normalize(&Taken {
            event,
            delivery: self.delivery_id(delivery),
            json: &json,
            bot_login: &self.rules.bot_login,
            managed: &self.rules.managed,
            // Milliseconds, as the store keeps every other instant.
            received_at: self.clock.now().trunc_subsecs(3),
        })
        .map_err(|not_taken| match not_taken {
            NotTaken::InvalidJson => Verdict::InvalidJson,
            NotTaken::Filtered(reason) => Verdict::Filtered(reason),
        })?;
        Ok(NewEvent {
            envelope,
            raw: RawBody::keep(format, &delivery.body),
        })
    }

    /// GitHub's id, or a fresh one where there is none that could be kept.
    fn delivery_id(&self, delivery: &Deliver) -> DeliveryId {
        delivery
            .delivery
            .as_deref()
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(|| {
                self.clock
                    .fresh_id()
                    .to_string()
                    .parse()
                    .expect("a UUID is visible text")
            })
    }
}

/// The JSON text, out of its form where it came in one.
fn payload_text(delivery: &Deliver) -> Option<(Cow<'_, str>, BodyFormat)> {
    if delivery.form {
        let payload = url::form_urlencoded::parse(&delivery.body)
            .find(|(name, _)| name == "payload")?
            .1;
        return Some((payload, BodyFormat::Form));
    }
    std::str::from_utf8(&delivery.body)
        .ok()
        .map(|text| (Cow::Borrowed(text), BodyFormat::Json))
}

impl Actor for GithubConnector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Deliver> for GithubConnector {
    type Result = ResponseFuture<Verdict>;

    fn handle(&mut self, delivery: Deliver, _: &mut Self::Context) -> Self::Result {
        let event = match self.judge(&delivery) {
            Ok(event) => event,
            Err(verdict) => return Box::pin(std::future::ready(verdict)),
        };
        // The body is in the event now, compressed; many may wait for the same commit.
        drop(delivery);
        let id = event.envelope.id.clone();
        let sink = self.sink.clone();
        Box::pin(async move {
            match sink.take(event).await {
                Ok(Recorded::Fresh(_)) => Verdict::Accepted(id),
                Ok(Recorded::AlreadySeen) => Verdict::Duplicate(id),
                Err(refused) => Verdict::Refused(refused),
            }
        })
    }
}

impl Handler<ExplainRefusal> for GithubConnector {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, refused: ExplainRefusal, _: &mut Self::Context) -> Self::Result {
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let delivery = refused
                .headers
                .iter()
                .find(|(name, _)| name == "x-github-delivery")
                .and_then(|(_, id)| id.parse::<DeliveryId>().ok());
            // Off the thread that answers requests: nobody shall learn from how long it takes.
            let looked = actix_rt::task::spawn_blocking(move || {
                let evidence = Refused {
                    headers: &refused.headers,
                    body: refused.body.as_deref(),
                };
                diagnose(&evidence, rules.keys.secrets())
            });
            if let Ok(Some(cause)) = looked.await {
                tracing::warn!(
                    delivery.id = delivery.as_ref().map(DeliveryId::as_str),
                    advice = cause.advice(),
                    "a delivery's signature does not fit: {cause}"
                );
            }
        })
    }
}

impl Handler<TryDelivery> for GithubConnector {
    type Result = MessageResult<TryDelivery>;

    fn handle(&mut self, order: TryDelivery, _: &mut Self::Context) -> Self::Result {
        let taken = Taken {
            event: &order.event,
            delivery: order.delivery,
            json: &order.json,
            bot_login: &self.rules.bot_login,
            managed: &self.rules.managed,
            received_at: self.clock.now().trunc_subsecs(3),
        };
        let (envelope, filtered) = match normalize(&taken) {
            _ if order.event.is_empty() => (None, Some("Missing X-GitHub-Event header".to_owned())),
            Ok(envelope) => (Some(envelope), None),
            Err(NotTaken::InvalidJson) => (None, Some("Invalid JSON".to_owned())),
            Err(NotTaken::Filtered(reason)) => (None, Some(reason)),
        };
        MessageResult(Judged {
            checks: checks(&taken),
            envelope,
            filtered,
        })
    }
}
