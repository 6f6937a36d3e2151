//! What leaves the house: outward acts as data, in the outbox until done. Knows no client.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::envelope::closed_enum;
use super::{ApprovalId, Channel, DeliveryId, EffectKey, EffectSeq, IntegrationEvent, Priority, RepoName, RunId};

closed_enum! {
    /// GitHub's reactions that we use.
    Reaction {
        /// 👀: seen, at work.
        Eyes => "eyes",
        /// 🚀: started.
        Rocket => "rocket",
        /// 👍: done as asked.
        ThumbsUp => "+1",
        /// 😕: not understood.
        Confused => "confused",
    }
}

/// An outward act. The variant and its words are stored; nothing in it refers to a running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Effect {
    /// A comment on an issue or a pull request.
    #[serde(rename = "github.comment")]
    GithubComment {
        /// The repository.
        repo: RepoName,
        /// Number of the issue or the pull request.
        number: u64,
        /// Markdown, without the hidden marker.
        body: String,
    },
    /// A reaction to a comment, or to the issue itself.
    #[serde(rename = "github.reaction")]
    GithubReaction {
        /// The repository.
        repo: RepoName,
        /// Number of the issue or the pull request.
        number: u64,
        /// The comment; absent: the issue itself.
        #[serde(default, rename = "commentId", skip_serializing_if = "Option::is_none")]
        comment_id: Option<u64>,
        /// Which.
        content: Reaction,
    },
    /// Labels added to an issue or a pull request.
    #[serde(rename = "github.labels")]
    GithubLabels {
        /// The repository.
        repo: RepoName,
        /// Number of the issue or the pull request.
        number: u64,
        /// Their names; those it already has stay.
        labels: Vec<String>,
    },
    /// A message in a Slack thread or channel.
    #[serde(rename = "slack.message")]
    SlackMessage {
        /// Channel id.
        channel: String,
        /// Timestamp of the thread's root message; empty: a message of its own.
        thread: String,
        /// mrkdwn, escaped, at most 3,000 characters.
        text: String,
        /// Our words as they were written, for the transcript of the conversation; with the first piece of them. The
        /// outbox keeps it apart.
        #[serde(skip)]
        said: Option<String>,
    },
    /// A question with an Approve and a Reject button.
    #[serde(rename = "slack.approval")]
    SlackApproval {
        /// Channel id.
        channel: String,
        /// Timestamp of the thread's root message; empty: a message of its own.
        thread: String,
        /// mrkdwn, escaped, at most 3,000 characters.
        text: String,
        /// The question, which the buttons name.
        approval: ApprovalId,
    },
    /// A question that is answered: its message loses the buttons.
    #[serde(rename = "slack.approval_closed")]
    SlackApprovalClosed {
        /// Channel id.
        channel: String,
        /// Timestamp of the thread's root message; empty: a message of its own.
        thread: String,
        /// mrkdwn that takes the place of the message's text.
        text: String,
        /// Key of the effect that posted the message. Where that one never succeeded, this is a message of its own.
        message: EffectKey,
    },
    /// Another text for a message that is there already, such as the progress of a run.
    #[serde(rename = "slack.edit")]
    SlackEdit {
        /// Channel id.
        channel: String,
        /// Timestamp of the thread's root message; empty: a message of its own.
        thread: String,
        /// mrkdwn that takes the place of the message's text.
        text: String,
        /// Key of the effect that posted the message. Where that one never succeeded, this is a message of its own.
        message: EffectKey,
    },
    /// An answer that only one person sees.
    #[serde(rename = "slack.ephemeral")]
    SlackEphemeral {
        /// Channel id.
        channel: String,
        /// User id.
        user: String,
        /// mrkdwn, escaped, at most 3,000 characters.
        text: String,
    },
    /// A sign that we are at work on a message, or that we no longer are. It is worth one try and never a second.
    #[serde(rename = "slack.typing")]
    SlackTyping {
        /// Channel id.
        channel: String,
        /// Timestamp of the thread's root message.
        thread: String,
        /// Timestamp of the message that asked.
        message: String,
        /// Begins, or ends.
        on: bool,
    },
    /// An integration event, on its way to every webhook that subscribed when it is worked off. Each of them gets a
    /// [`Effect::WebhookDelivery`] of its own.
    #[serde(rename = "integration.event")]
    IntegrationEvent {
        /// Which.
        name: IntegrationEvent,
        /// Its payload: a JSON object.
        payload: serde_json::Value,
    },
    /// A notification, as a workflow wants it. A URL in it would be stored, so there is none: the channel's own
    /// endpoint in the settings is used, and without one the notification is stored only.
    #[serde(rename = "integration.notification")]
    Notification {
        /// Where to.
        channel: Channel,
        /// The text.
        message: String,
        /// How urgent.
        priority: Priority,
    },
    /// Something the operators should know: kept as a notification and posted to the delivery channel, where there is one.
    #[serde(rename = "integration.notice")]
    Notice {
        /// What it is about, for the order of notices: `cron:nightly`. One about the same thing waits for the one before.
        about: String,
        /// The text: what happened, where, what to do.
        text: String,
        /// How urgent.
        priority: Priority,
    },
    /// One POST to one webhook. The same bytes and the same id go out on every attempt; signatures are made for each
    /// attempt with the secrets of the moment and are not stored.
    #[serde(rename = "webhook.delivery")]
    WebhookDelivery {
        /// The id in its headers and its body, a UUID.
        delivery: String,
        /// The webhook's id in the registry.
        #[serde(rename = "webhookId")]
        webhook: String,
        /// Name of the event.
        event: IntegrationEvent,
        /// The [`WebhookMessage`](super::WebhookMessage) that the exact body ends in.
        message: String,
    },
    /// One notification on its way to one endpoint or mailbox. Its address is a credential, so it is here only under seal.
    #[serde(rename = "webhook.notification")]
    NotificationDelivery {
        /// The id in its headers, a UUID.
        delivery: String,
        /// The notification's id in the history.
        #[serde(rename = "notificationId")]
        notification: String,
        /// Whose shape it has.
        channel: Channel,
        /// The text.
        message: String,
        /// How urgent.
        priority: Priority,
        /// Handed on as they are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<serde_json::Value>,
        /// Time for one attempt in ms.
        #[serde(rename = "timeoutMs")]
        timeout_ms: u64,
        /// The endpoint, sealed with the key in the folder of secrets; absent: the channel's own of the settings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// What tells endpoints apart without naming them.
        endpoint: String,
    },
}

/// What makes an effect a delivery: it has an endpoint whose pace is its own, instead of a lane with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Post<'a> {
    /// Its id.
    pub delivery: &'a str,
    /// Deliveries of one endpoint share its places.
    pub endpoint: &'a str,
    /// Name of the event, or the channel.
    pub topic: &'a str,
    /// The shared part of its body.
    pub message: Option<&'a str>,
    /// The webhook, where it is one.
    pub webhook: Option<&'a str>,
}

impl Effect {
    /// The name of its kind, as stored.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::GithubComment { .. } => "github.comment",
            Self::GithubReaction { .. } => "github.reaction",
            Self::GithubLabels { .. } => "github.labels",
            Self::SlackMessage { .. } => "slack.message",
            Self::SlackApproval { .. } => "slack.approval",
            Self::SlackApprovalClosed { .. } => "slack.approval_closed",
            Self::SlackEdit { .. } => "slack.edit",
            Self::SlackEphemeral { .. } => "slack.ephemeral",
            Self::SlackTyping { .. } => "slack.typing",
            Self::IntegrationEvent { .. } => "integration.event",
            Self::Notification { .. } => "integration.notification",
            Self::Notice { .. } => "integration.notice",
            Self::WebhookDelivery { .. } => "webhook.delivery",
            Self::NotificationDelivery { .. } => "webhook.notification",
        }
    }

    /// The same with `words` where its text has `place`; acts without a text of ours stay as they are. A chat's text is
    /// escaped, and so are the words that it gets.
    #[must_use]
    pub fn with_words(mut self, place: &str, words: &str) -> Self {
        let put = |text: &mut String, words: &str| {
            if text.contains(place) {
                *text = text.replace(place, words);
            }
        };
        match &mut self {
            Self::GithubComment { body, .. } => put(body, words),
            Self::SlackMessage { text, said, .. } => {
                put(text, &escaped(words));
                if let Some(said) = said {
                    put(said, words);
                }
            }
            Self::SlackApproval { text, .. }
            | Self::SlackApprovalClosed { text, .. }
            | Self::SlackEdit { text, .. }
            | Self::SlackEphemeral { text, .. } => put(text, &escaped(words)),
            Self::GithubReaction { .. }
            | Self::GithubLabels { .. }
            | Self::SlackTyping { .. }
            | Self::IntegrationEvent { .. }
            | Self::Notification { .. }
            | Self::Notice { .. }
            | Self::WebhookDelivery { .. }
            | Self::NotificationDelivery { .. } => {}
        }
        self
    }

    /// Effects of one lane leave in order, one after the other; lanes do not wait for one another. For GitHub it is the
    /// thread: who answers a thread out of order says nonsense, and one stubborn thread must not silence the others.
    #[must_use]
    pub fn lane(&self) -> String {
        match self {
            Self::GithubComment { repo, number, .. }
            | Self::GithubReaction { repo, number, .. }
            | Self::GithubLabels { repo, number, .. } => {
                format!("github:{}#{number}", repo.as_str().to_ascii_lowercase())
            }
            Self::SlackMessage { channel, thread, .. }
            | Self::SlackEdit { channel, thread, .. }
            | Self::SlackTyping { channel, thread, .. } => format!("slack:{channel}/{thread}"),
            // Somebody waits for the question: it does not stand in line behind chatter.
            Self::SlackApproval { channel, thread, .. } | Self::SlackApprovalClosed { channel, thread, .. } => {
                format!("slack:{channel}/{thread}/approvals")
            }
            Self::SlackEphemeral { channel, user, .. } => format!("slack:{channel}/@{user}"),
            Self::IntegrationEvent { name, .. } => format!("integration:{name}"),
            Self::Notification { channel, .. } => format!("integration:{channel}"),
            Self::Notice { about, .. } => format!("integration:notice:{about}"),
            // Deliveries of one endpoint do not wait for one another: an earlier one may be retried for days.
            Self::WebhookDelivery { webhook, delivery, .. } => format!("webhook:{webhook}:{delivery}"),
            Self::NotificationDelivery { delivery, .. } => format!("notification:{delivery}"),
        }
    }

    /// What the lanes that share a platform's limit have in common: the part of the lane before the first slash. For
    /// GitHub it is the owner, because an installation and its limits belong to an owner; for Slack the channel.
    #[must_use]
    pub fn pace(lane: &str) -> &str {
        lane.split_once('/').map_or(lane, |(pace, _)| pace)
    }

    /// Where it goes, for people: `acme/site#7`.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::GithubComment { repo, number, .. }
            | Self::GithubReaction { repo, number, .. }
            | Self::GithubLabels { repo, number, .. } => format!("{repo}#{number}"),
            Self::SlackMessage { channel, thread, .. }
            | Self::SlackApproval { channel, thread, .. }
            | Self::SlackApprovalClosed { channel, thread, .. }
            | Self::SlackEdit { channel, thread, .. }
            | Self::SlackTyping { channel, thread, .. } => {
                if thread.is_empty() {
                    channel.clone()
                } else {
                    format!("{channel}/{thread}")
                }
            }
            Self::SlackEphemeral { channel, user, .. } => format!("{channel}/@{user}"),
            Self::IntegrationEvent { name, .. } => name.to_string(),
            Self::Notification { channel, .. } => channel.to_string(),
            Self::Notice { about, .. } => about.clone(),
            Self::WebhookDelivery { webhook, .. } => format!("webhook {webhook}"),
            Self::NotificationDelivery { channel, .. } => format!("notification by {channel}"),
        }
    }

    /// What it is as a delivery, if it is one.
    #[must_use]
    pub fn post(&self) -> Option<Post<'_>> {
        match self {
            Self::WebhookDelivery {
                delivery,
                webhook,
                event,
                message,
            } => Some(Post {
                delivery,
                endpoint: webhook,
                topic: event.as_str(),
                message: Some(message),
                webhook: Some(webhook),
            }),
            Self::NotificationDelivery {
                delivery,
                channel,
                endpoint,
                ..
            } => Some(Post {
                delivery,
                endpoint,
                topic: channel.as_str(),
                message: None,
                webhook: None,
            }),
            Self::GithubComment { .. }
            | Self::SlackMessage { .. }
            | Self::SlackApproval { .. }
            | Self::SlackApprovalClosed { .. }
            | Self::SlackEdit { .. }
            | Self::SlackEphemeral { .. }
            | Self::SlackTyping { .. }
            | Self::GithubReaction { .. }
            | Self::GithubLabels { .. }
            | Self::IntegrationEvent { .. }
            | Self::Notification { .. }
            | Self::Notice { .. } => None,
        }
    }
}

impl Effect {
    /// Whether lanes of this kind go before others where not all can: somebody waits for the question, or has answered it.
    #[must_use]
    pub fn goes_first(kind: &str) -> bool {
        matches!(kind, "slack.approval" | "slack.approval_closed")
    }

    /// The key of the act whose result this one builds on. That one is of the same lane and before it.
    #[must_use]
    pub fn builds_on(&self) -> Option<&EffectKey> {
        match self {
            Self::SlackApprovalClosed { message, .. } | Self::SlackEdit { message, .. } => Some(message),
            _ => None,
        }
    }
}

/// Plain words as Slack's mrkdwn has them.
fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

closed_enum! {
    /// Where an effect stands.
    EffectState {
        /// Waits for its time.
        Pending => "pending",
        /// An attempt was written down and may have been made.
        InFlight => "in_flight",
        /// The far side has it.
        Done => "done",
        /// Given up: the far side said never, or the tries are used up.
        Dead => "dead",
        /// There is nobody to give it to: no credentials are configured.
        Undeliverable => "undeliverable",
    }
}

impl EffectState {
    /// Whether nothing more will happen to it by itself.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Undeliverable)
    }
}

/// An effect on its way into the outbox. A second one of the same key is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEffect {
    /// Its key.
    pub key: EffectKey,
    /// What is to be done.
    pub effect: Effect,
    /// The run that wants it.
    pub run: Option<RunId>,
    /// The event that it answers.
    pub event: Option<DeliveryId>,
}

/// An effect as the store has it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEffect {
    /// Place in the outbox.
    pub seq: EffectSeq,
    /// Its key.
    pub key: EffectKey,
    /// What is to be done.
    #[serde(flatten)]
    pub effect: Effect,
    /// The run that wants it.
    #[serde(rename = "runId", skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The event that it answers.
    #[serde(rename = "eventId", skip_serializing_if = "Option::is_none")]
    pub event: Option<DeliveryId>,
    /// Where it stands.
    pub state: EffectState,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due_at: DateTime<Utc>,
    /// What the far side answered, for a done one (the comment's address).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was put into the outbox.
    pub created_at: DateTime<Utc>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The far side has it.
    Done {
        /// What it answered (the comment's address).
        result: String,
    },
    /// It failed; there will be another attempt.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// Why it failed.
        error: String,
    },
    /// It failed for good.
    Dead {
        /// Why.
        error: String,
    },
    /// There is nobody to give it to.
    Undeliverable {
        /// What to configure.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_a_place_are_escaped_where_a_chat_shows_them() {
        let comment = Effect::GithubComment {
            repo: "acme/site".parse().expect("valid"),
            number: 7,
            body: "So: {x}".into(),
        };
        let message = Effect::SlackMessage {
            channel: "C1".into(),
            thread: "1.0".into(),
            text: "So: {x}".into(),
            said: Some("So: {x}".into()),
        };
        let whisper = Effect::SlackEphemeral {
            channel: "C1".into(),
            user: "U1".into(),
            text: "So: {x}".into(),
        };
        let put = |effect: Effect| effect.with_words("{x}", "a < b");
        assert!(matches!(put(comment), Effect::GithubComment { body, .. } if body == "So: a < b"));
        assert!(matches!(put(message), Effect::SlackMessage { text, said, .. }
            if text == "So: a &lt; b" && said.as_deref() == Some("So: a < b")));
        assert!(matches!(put(whisper), Effect::SlackEphemeral { text, .. } if text == "So: a &lt; b"));
    }
}
