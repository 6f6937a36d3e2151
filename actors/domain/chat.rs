//! Conversations in a chat: where they are held, with whom, and what was said. Knows no platform's JSON.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::envelope::closed_enum;
use super::{DeliveryId, RunId, SessionId, Source};

/// Where a person talks to us. A conversation belongs to one thread and one person in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChatPlace {
    /// The platform.
    pub platform: Source,
    /// Channel id.
    pub channel: String,
    /// Id of the thread: that of its first message.
    pub thread: String,
    /// The person's id at the platform.
    pub user: String,
}

closed_enum! {
    /// Who said it.
    ChatRole {
        /// A person.
        User => "user",
        /// We.
        Assistant => "assistant",
    }
}

/// One line of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatLine {
    /// Who said it.
    pub role: ChatRole,
    /// That one's name.
    pub author: String,
    /// What was said: a person's words without our name in them, our own as Markdown.
    pub text: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A conversation as lists show it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSession {
    /// Place in the order of beginnings; the cursor of lists.
    pub seq: i64,
    /// Its id.
    pub id: SessionId,
    /// The platform.
    pub platform: Source,
    /// Channel id.
    pub channel: String,
    /// Id of the thread.
    pub thread: String,
    /// Id of the person it is held with.
    pub user: String,
    /// That one's name, as it was when something was said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The beginning of what was said last, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_said: Option<String>,
    /// Whether it goes on: not ended by word, and not silent for too long.
    pub live: bool,
    /// How many lines it has.
    pub message_count: u64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When something was said last.
    pub last_activity_at: DateTime<Utc>,
}

impl ChatSession {
    /// A conversation in which nothing was said for so long is over.
    pub const IDLE: TimeDelta = TimeDelta::minutes(30);
}

/// One line of a conversation with its place in it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage {
    /// Place in the order of all lines; `since` goes on behind it.
    pub seq: i64,
    /// The line.
    #[serde(flatten)]
    pub line: ChatLine,
    /// The event that it came with; our own lines come with none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<DeliveryId>,
    /// The run that this event started or joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// A conversation that goes on in a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// The person it is held with.
    pub user: String,
}

/// A thread in which somebody talks to us, and how far we heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatThread {
    /// Channel id.
    pub channel: String,
    /// Id of the thread.
    pub thread: String,
    /// The last message of a person that was recorded there.
    pub last: DeliveryId,
}

/// What became of the order to record a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRecorded {
    /// The event, its line of the conversation and the conversation are on disk.
    Fresh(super::EventSeq),
    /// An event of this id was accepted before; nothing was written.
    AlreadySeen,
    /// Another conversation goes on at that place, this one; nothing was written.
    OtherSession(SessionId),
}

/// Which conversations come to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionsToEnd {
    /// The one that this message belongs to. If it only began with that message, all that its author has in the channel.
    OfMessage(DeliveryId),
    /// All that a person has in a channel.
    OfPerson {
        /// The platform.
        platform: Source,
        /// Channel id.
        channel: String,
        /// The person's id at the platform.
        user: String,
    },
}
