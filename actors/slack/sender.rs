//! Says at Slack what the outbox wants said: once, in order, at the pace of a channel. Knows the Web API and the effects; never who asks or who stores.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use actix::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::web::{Nothing, Outcome, SlackFault, SlackWeb, marked};
use super::{APPROVE, REJECT};
use crate::clock::SharedClock;
use crate::domain::{ApprovalId, Effect};
use crate::house::Bell;
use crate::messages::outbound::{OutboundFault, Perform, Performed};

/// The replier works on 32 lanes at most; each asks for one act at a time.
const MAILBOX: usize = 64;
/// Slack takes about one message a second per channel.
const BETWEEN_MESSAGES: TimeDelta = TimeDelta::seconds(1);
/// A message may be older at Slack than the effect is here by as much as two clocks differ.
const LOOK_BACK: TimeDelta = TimeDelta::minutes(10);
/// Pages of 200 messages that are looked through for one of ours.
const LOOK_PAGES: usize = 10;
/// So many channels are remembered; beyond that, those with nothing to remember are forgotten.
const MOST_CHANNELS: usize = 1_000;
/// So many messages that bear our reaction are remembered.
const MOST_REACTIONS: usize = 1_000;
/// What is shown under a thread while we are at work.
const STATUS: &str = "is working on it …";
/// The reaction that says so where a status cannot be shown.
const EYES: &str = "eyes";
/// Slack's codes for "that person is not where you want to whisper".
const NOT_THERE: &[&str] = &["channel_not_found", "not_in_channel", "user_not_in_channel"];

/// Speaks at Slack. Handles [`Perform`].
///
/// Messages of one channel leave in the order in which they were asked for, at least a second apart; channels do not wait for
/// one another. Each act ends by itself, because every call has its deadline.
pub struct SlackSender {
    room: Rc<Room>,
    _bell: Bell,
}

impl SlackSender {
    /// A sender over this API.
    #[must_use]
    pub fn new(web: SlackWeb, clock: SharedClock, bell: Bell) -> Self {
        let room = Room {
            web,
            clock,
            channels: RefCell::default(),
            reacted: RefCell::default(),
        };
        Self {
            room: Rc::new(room),
            _bell: bell,
        }
    }
}

impl Actor for SlackSender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Perform> for SlackSender {
    type Result = ResponseFuture<Result<Performed, OutboundFault>>;

    fn handle(&mut self, order: Perform, _: &mut Context<Self>) -> Self::Result {
        let room = self.room.clone();
        Box::pin(async move {
            // One bad act must not take the sender along.
            let act = AssertUnwindSafe(room.perform(&order)).catch_unwind().await;
            act.unwrap_or_else(|_| {
                Err(SlackFault::Retryable(
                    "the Slack sender stumbled over this act; the log has the panic".to_owned(),
                ))
            })
            .map_err(OutboundFault::from)
        })
    }
}

struct Room {
    web: SlackWeb,
    clock: SharedClock,
    channels: RefCell<HashMap<String, Rc<Mutex<Turn>>>>,
    /// Messages that got a reaction because a status could not be shown: channel and ts.
    reacted: RefCell<BTreeSet<(String, String)>>,
}

/// What is remembered about a channel. Its mutex is fair, so messages keep their order.
#[derive(Default)]
struct Turn {
    /// When the last message ended.
    last: Option<DateTime<Utc>>,
    /// Slack asked for patience until then.
    hold: Option<DateTime<Utc>>,
}

/// A message to be posted.
struct Letter<'a> {
    channel: &'a str,
    thread: &'a str,
    text: &'a str,
    blocks: Option<Value>,
}

#[derive(Deserialize)]
struct Posted {
    channel: String,
    ts: String,
}

impl Room {
    async fn perform(&self, order: &Perform) -> Outcome<Performed> {
        let letter = |channel, thread, text| Letter {
            channel,
            thread,
            text,
            blocks: None,
        };
        match &order.effect {
            Effect::SlackMessage {
                channel, thread, text, ..
            } => self.post(order, letter(channel, thread, text)).await,
            Effect::SlackApproval {
                channel,
                thread,
                text,
                approval,
            } => {
                let asked = Letter {
                    blocks: Some(question(text, *approval)),
                    ..letter(channel, thread, text)
                };
                self.post(order, asked).await
            }
            Effect::SlackApprovalClosed {
                channel, thread, text, ..
            }
            | Effect::SlackEdit {
                channel, thread, text, ..
            } => match order.base.as_deref().and_then(|base| base.split_once('/')) {
                Some((posted_in, ts)) => self.change(posted_in, ts, text).await,
                None => self.post(order, letter(channel, thread, text)).await,
            },
            Effect::SlackEphemeral { channel, user, text } => self.whisper(order, channel, user, text).await,
            Effect::SlackTyping {
                channel,
                thread,
                message,
                on,
            } => Ok(self.sign(channel, thread, message, *on).await),
            Effect::GithubComment { .. }
            | Effect::GithubReaction { .. }
            | Effect::GithubLabels { .. }
            | Effect::IntegrationEvent { .. }
            | Effect::Notification { .. }
            | Effect::Notice { .. }
            | Effect::WebhookDelivery { .. }
            | Effect::NotificationDelivery { .. } => Err(SlackFault::Never {
                method: order.effect.kind().to_owned(),
                code: "this is nothing that Slack can be asked for".to_owned(),
            }),
        }
    }

    async fn post(&self, order: &Perform, letter: Letter<'_>) -> Outcome<Performed> {
        let channel = self.channel(letter.channel);
        let mut turn = channel.lock().await;
        if order.look_first
            && let Some(ts) = self.find(order, &letter).await?
        {
            return Ok(Performed {
                result: format!("{}/{ts}", letter.channel),
                found: true,
            });
        }
        let mut input = Map::new();
        input.insert("channel".into(), json!(letter.channel));
        input.insert("text".into(), json!(letter.text));
        input.insert("unfurl_links".into(), json!(false));
        input.insert("unfurl_media".into(), json!(false));
        input.insert("metadata".into(), marked(order.key.as_str()));
        if !letter.thread.is_empty() {
            input.insert("thread_ts".into(), json!(letter.thread));
        }
        if let Some(blocks) = letter.blocks {
            input.insert("blocks".into(), blocks);
        }
        let posted: Posted = self.write(&mut turn, "chat.postMessage", &Value::Object(input)).await?;
        Ok(Performed {
            result: format!("{}/{}", posted.channel, posted.ts),
            found: false,
        })
    }

    /// Looks for the message that bears the key, among those said since the effect was queued.
    async fn find(&self, order: &Perform, letter: &Letter<'_>) -> Outcome<Option<String>> {
        let oldest = format!("{}.000000", (order.since - LOOK_BACK).timestamp().max(0));
        let thread = Some(letter.thread).filter(|thread| !thread.is_empty());
        let (past, all) = self.web.history(letter.channel, thread, &oldest, LOOK_PAGES).await?;
        let ours = past.iter().find(|past| past.effect_key() == Some(order.key.as_str()));
        match ours {
            Some(ours) => Ok(Some(ours.ts.clone())),
            None if all => Ok(None),
            // Posting now could be the second time.
            None => Err(SlackFault::Retryable(format!(
                "{} has more new messages than can be looked through",
                letter.channel
            ))),
        }
    }

    /// Gives a message another text and takes its buttons away. It may be repeated freely.
    async fn change(&self, channel: &str, ts: &str, text: &str) -> Outcome<Performed> {
        let turn = self.channel(channel);
        let mut turn = turn.lock().await;
        let input = json!({ "channel": channel, "ts": ts, "text": text, "blocks": [] });
        let changed: Outcome<Nothing> = self.write(&mut turn, "chat.update", &input).await;
        match changed {
            // A person removed it, and does not want to see it again.
            Err(SlackFault::Never { code, .. }) if code == "message_not_found" => Ok(Performed {
                result: "the message is not there any more".to_owned(),
                found: true,
            }),
            Err(fault) => Err(fault),
            Ok(_) => Ok(Performed {
                result: format!("{channel}/{ts}"),
                found: false,
            }),
        }
    }

    /// Says it so that only one person sees it; where that is not possible, in our conversation with that person.
    async fn whisper(&self, order: &Perform, channel: &str, user: &str, text: &str) -> Outcome<Performed> {
        let input = json!({ "channel": channel, "user": user, "text": text });
        let turn = self.channel(channel);
        let mut turn = turn.lock().await;
        let whispered: Outcome<Nothing> = self.write(&mut turn, "chat.postEphemeral", &input).await;
        drop(turn);
        match whispered {
            Err(SlackFault::Never { code, .. }) if NOT_THERE.contains(&code.as_str()) => {
                let letter = Letter {
                    channel: user,
                    thread: "",
                    text,
                    blocks: None,
                };
                let order = Perform {
                    // A person's id opens the conversation, but its history has an id of its own.
                    look_first: false,
                    ..order.clone()
                };
                self.post(&order, letter).await
            }
            Err(fault) => Err(fault),
            Ok(_) => Ok(Performed {
                result: format!("{channel}/@{user}"),
                found: false,
            }),
        }
    }

    /// Shows that we are at work, or that we no longer are. A sign is worth one try.
    async fn sign(&self, channel: &str, thread: &str, message: &str, on: bool) -> Performed {
        let input = json!({ "channel_id": channel, "thread_ts": thread, "status": if on { STATUS } else { "" } });
        let status: Outcome<Nothing> = self.web.post("assistant.threads.setStatus", &input).await;
        let place = (channel.to_owned(), message.to_owned());
        let reaction = json!({ "channel": channel, "timestamp": message, "name": EYES });
        let shown = match (on, status) {
            (true, Ok(_)) => Ok(()),
            (true, Err(_)) => {
                let added: Outcome<Nothing> = self.web.post("reactions.add", &reaction).await;
                let mut reacted = self.reacted.borrow_mut();
                while reacted.len() >= MOST_REACTIONS {
                    reacted.pop_first();
                }
                reacted.insert(place);
                added.map(|_| ())
            }
            (false, status) => {
                let reacted = self.reacted.borrow_mut().remove(&place);
                // After a restart it is not remembered; where a status is refused, there is a reaction.
                match status {
                    Ok(_) if !reacted => Ok(()),
                    _ => {
                        let removed: Outcome<Nothing> = self.web.post("reactions.remove", &reaction).await;
                        removed.map(|_| ())
                    }
                }
            }
        };
        let result = match shown {
            Ok(()) if on => "shown".to_owned(),
            Ok(()) => "cleared".to_owned(),
            Err(fault) => format!("not shown: {fault}"),
        };
        Performed { result, found: false }
    }

    fn channel(&self, id: &str) -> Rc<Mutex<Turn>> {
        let mut channels = self.channels.borrow_mut();
        if channels.len() >= MOST_CHANNELS && !channels.contains_key(id) {
            let now = self.clock.now();
            channels.retain(|_, turn| Rc::strong_count(turn) > 1 || remembers_something(turn, now));
        }
        channels.entry(id.to_owned()).or_default().clone()
    }

    /// A call that says something in a channel: at least a second after the one before it.
    async fn write<T: serde::de::DeserializeOwned + Send>(
        &self,
        turn: &mut Turn,
        method: &str,
        input: &Value,
    ) -> Outcome<T> {
        let now = self.clock.now();
        if let Some(until) = turn.hold.filter(|until| *until > now) {
            return Err(SlackFault::Wait { until });
        }
        if let Some(last) = turn.last {
            let wait = (last + BETWEEN_MESSAGES - now).clamp(TimeDelta::zero(), BETWEEN_MESSAGES);
            if let Ok(wait) = wait.to_std()
                && !wait.is_zero()
            {
                self.clock.sleep(wait).await;
            }
        }
        let answer = self.web.post(method, input).await;
        // Whatever became of it, Slack may have counted it.
        turn.last = Some(self.clock.now());
        turn.hold = match &answer {
            Err(SlackFault::Wait { until }) => Some(*until),
            _ => None,
        };
        answer
    }
}

fn remembers_something(turn: &Mutex<Turn>, now: DateTime<Utc>) -> bool {
    turn.try_lock().map_or(true, |turn| {
        turn.hold.is_some_and(|until| until > now) || turn.last.is_some_and(|last| now < last + BETWEEN_MESSAGES)
    })
}

/// A question with its two buttons.
fn question(text: &str, approval: ApprovalId) -> Value {
    let button = |action: &str, label: &str, style: &str| {
        json!({
            "type": "button", "action_id": action, "style": style, "value": approval.to_string(),
            "text": { "type": "plain_text", "text": label },
        })
    };
    json!([
        { "type": "section", "text": { "type": "mrkdwn", "text": text } },
        {
            "type": "actions", "block_id": "decision",
            "elements": [button(APPROVE, "Approve", "primary"), button(REJECT, "Reject", "danger")],
        },
    ])
}
