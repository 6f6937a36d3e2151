//! The desk of a chat connector: decides whether a message is for us and makes it durable with its conversation, so that the
//! platform can be told that it arrived. Knows the doors of the store and the sink; never a platform's wire.

use actix::prelude::*;
use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::allowlist::AllowedUsers;
use super::mention;
use crate::clock::SharedClock;
use crate::connectors::EnvelopeSink;
use crate::domain::{
    BodyFormat, ChatPlace, ChatSession, DeliveryId, EventEnvelope, EventType, LiveSession, MessageRecorded, NewEvent,
    RawBody, Recorded, ReplyTo, SessionId, Source,
};
use crate::messages::store::{RecordMessage, SessionsIn, StoreError, StoreResult};

/// A conversation in which nothing was said for so long is over.
pub const IDLE: TimeDelta = ChatSession::IDLE;
/// Another message of the same person may open the conversation first; then this one joins it.
const TRIES: usize = 4;

/// What a desk may say, and to whom it does not know.
pub struct DeskDoors {
    /// The store.
    pub record: Recipient<RecordMessage>,
    /// The store.
    pub sessions: Recipient<SessionsIn>,
    /// The way of everything that is no message of a conversation, and how the dispatcher hears of what is.
    pub sink: EnvelopeSink,
}

/// What a desk goes by.
#[derive(Debug, Clone)]
pub struct DeskRules {
    /// The platform.
    pub platform: Source,
    /// Who may talk to us.
    pub allowed: AllowedUsers,
    /// Our own user id at the platform.
    pub bot_id: String,
}

/// A message as a connector received it: a person's text, neither a bot's nor a notice of the platform.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Channel id.
    pub channel: String,
    /// Whether the channel is a conversation with us alone.
    pub direct: bool,
    /// Whether the platform says that we are named; our name in the text is found here anyway.
    pub mentioned: bool,
    /// The message's id in its channel (Slack: its timestamp).
    pub message: String,
    /// Id of its thread; absent: it stands alone, and begins one.
    pub thread: Option<String>,
    /// The author's id.
    pub user: String,
    /// What was written, as plain text; our name may stand in it as `@<id>`.
    pub text: String,
    /// The platform's event, kept with it.
    pub raw: Map<String, Value>,
}

/// An order by slash command or button: always for us, part of no conversation, answered to its author alone.
#[derive(Debug, Clone)]
pub struct Ordered {
    /// The platform's id of this one interaction.
    pub id: String,
    /// Channel id.
    pub channel: String,
    /// The author's id.
    pub user: String,
    /// The order in words: `approve 1a2b3c4d`.
    pub words: String,
    /// The platform's event, kept with it.
    pub raw: Map<String, Value>,
}

/// What became of a message. Whatever it is, the platform may be told that it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is on disk; or it was before.
    Taken(Recorded),
    /// It is not for us; nothing of it was kept.
    Dropped(Unheard),
}

/// Why a message is not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// Its author is not on the list of those who may talk to us.
    NotAllowed,
    /// Nobody named us, and no conversation goes on there.
    NotAddressed,
    /// Nothing but our name.
    Empty,
    /// Its ids are none.
    BadId,
}

/// Hears for one connector. Lives in the connector's thread.
pub struct Desk {
    doors: DeskDoors,
    rules: DeskRules,
    clock: SharedClock,
}

impl Desk {
    /// A desk.
    #[must_use]
    pub fn new(doors: DeskDoors, rules: DeskRules, clock: SharedClock) -> Self {
        Self { doors, rules, clock }
    }

    /// Hears a message. `name` looks the author's name up, by id; it is asked for once it is clear that the message is for us.
    ///
    /// # Errors
    /// When the store could not take it. Nothing was accepted then; the platform should deliver it again.
    pub async fn hear(&self, inbound: Inbound, name: impl AsyncFnOnce(&str) -> String) -> StoreResult<Heard> {
        let rules = &self.rules;
        if !rules.allowed.admits(&inbound.user) {
            tracing::info!(user = %inbound.user, "a message of somebody who is not on the list is not heard");
            return Ok(Heard::Dropped(Unheard::NotAllowed));
        }
        let thread = inbound.thread.clone().unwrap_or_else(|| inbound.message.clone());
        let addressed = inbound.direct || inbound.mentioned || mention::names(&inbound.text, &rules.bot_id);
        if !addressed && inbound.thread.is_none() {
            return Ok(Heard::Dropped(Unheard::NotAddressed));
        }
        let live = self.live_in(&inbound.channel, &thread).await?;
        if !addressed && live.is_empty() {
            return Ok(Heard::Dropped(Unheard::NotAddressed));
        }
        let words = mention::strip(&inbound.text, &rules.bot_id);
        if words.is_empty() {
            return Ok(Heard::Dropped(Unheard::Empty));
        }
        let id = format!("{}-{}-{}", rules.platform, inbound.channel, inbound.message);
        let Ok(id) = id.parse::<DeliveryId>() else {
            return Ok(Heard::Dropped(Unheard::BadId));
        };
        let own = live.into_iter().find(|session| session.user == inbound.user);
        let session = own.map_or_else(|| SessionId::new(self.clock.fresh_id()), |session| session.id);
        let reply_to = ReplyTo::SlackThread {
            channel: inbound.channel.clone(),
            thread: thread.clone(),
            message: Some(inbound.message.clone()),
        };
        let sender = (name(&inbound.user).await, inbound.user.clone());
        let place = ChatPlace {
            platform: rules.platform,
            channel: inbound.channel,
            thread,
            user: inbound.user,
        };
        let envelope = self.envelope(id, sender, words, reply_to);
        self.record(envelope, inbound.raw, place, session).await
    }

    /// Hears a slash command or a button.
    ///
    /// # Errors
    /// When the store could not take it. Nothing was accepted then.
    pub async fn obey(&self, ordered: Ordered, name: impl AsyncFnOnce(&str) -> String) -> StoreResult<Heard> {
        if !self.rules.allowed.admits(&ordered.user) {
            tracing::info!(user = %ordered.user, "an order of somebody who is not on the list is not heard");
            return Ok(Heard::Dropped(Unheard::NotAllowed));
        }
        let words = ordered.words.trim().to_owned();
        if words.is_empty() {
            return Ok(Heard::Dropped(Unheard::Empty));
        }
        let id = format!("{}-order-{}", self.rules.platform, ordered.id);
        let Ok(id) = id.parse::<DeliveryId>() else {
            return Ok(Heard::Dropped(Unheard::BadId));
        };
        let sender = (name(&ordered.user).await, ordered.user.clone());
        let reply_to = ReplyTo::SlackPerson {
            channel: ordered.channel.clone(),
            user: ordered.user.clone(),
        };
        let mut raw = ordered.raw;
        raw.insert("platformUserId".into(), ordered.user.into());
        raw.insert("channelId".into(), ordered.channel.into());
        let event = NewEvent {
            envelope: self.envelope(id, sender, words, reply_to),
            raw: kept(raw),
        };
        Ok(Heard::Taken(self.doors.sink.take(event).await?))
    }

    /// Whether this person may talk to us at all.
    #[must_use]
    pub fn admits(&self, user: &str) -> bool {
        self.rules.allowed.admits(user)
    }

    async fn live_in(&self, channel: &str, thread: &str) -> StoreResult<Vec<LiveSession>> {
        let order = SessionsIn {
            platform: self.rules.platform,
            channel: channel.to_owned(),
            thread: thread.to_owned(),
            live_since: self.clock.now() - IDLE,
        };
        self.doors.sessions.send(order).await.map_err(gone)?
    }

    async fn record(
        &self,
        envelope: EventEnvelope,
        raw: Map<String, Value>,
        place: ChatPlace,
        mut session: SessionId,
    ) -> StoreResult<Heard> {
        for _ in 0..TRIES {
            let mut raw = raw.clone();
            for (key, value) in [
                ("sessionId", session.to_string()),
                ("platformUserId", place.user.clone()),
                ("channelId", place.channel.clone()),
                ("threadId", place.thread.clone()),
            ] {
                raw.insert(key.into(), value.into());
            }
            let order = RecordMessage {
                event: NewEvent {
                    envelope: envelope.clone(),
                    raw: kept(raw),
                },
                place: place.clone(),
                session,
                live_since: envelope.timestamp - IDLE,
            };
            match self.doors.record.send(order).await.map_err(gone)?? {
                MessageRecorded::Fresh(seq) => {
                    let recorded = Recorded::Fresh(seq);
                    self.doors.sink.announce(recorded);
                    return Ok(Heard::Taken(recorded));
                }
                MessageRecorded::AlreadySeen => return Ok(Heard::Taken(Recorded::AlreadySeen)),
                MessageRecorded::OtherSession(other) => session = other,
            }
        }
        // Each try lost against a conversation that began and ended in between; the platform asks again later.
        Err(StoreError::Busy)
    }

    fn envelope(
        &self,
        id: DeliveryId,
        (sender, user): (String, String),
        body: String,
        reply_to: ReplyTo,
    ) -> EventEnvelope {
        EventEnvelope {
            id,
            source: self.rules.platform,
            kind: EventType::Message,
            repo: None,
            issue_number: None,
            pr_number: None,
            sender,
            sender_id: Some(user),
            sender_is_bot: false,
            body,
            title: None,
            labels: None,
            author_association: None,
            reply_to,
            timestamp: self.clock.now(),
        }
    }
}

fn kept(raw: Map<String, Value>) -> RawBody {
    RawBody::keep(BodyFormat::Json, Value::Object(raw).to_string().as_bytes())
}

fn gone(mailbox: MailboxError) -> StoreError {
    match mailbox {
        MailboxError::Closed => StoreError::Closed,
        MailboxError::Timeout => StoreError::Busy,
    }
}
