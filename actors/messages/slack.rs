//! What the Slack listener is told by the sockets. Knows the domain only.

use actix::prelude::*;

use super::store::StoreError;
use crate::domain::Secret;

/// A person's words, as Slack says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Id of the workspace.
    pub team: String,
    /// Id of the channel.
    pub channel: String,
    /// The message's own timestamp, which is its id within the channel.
    pub ts: String,
    /// Timestamp of the thread's root, for an answer in a thread.
    pub thread: Option<String>,
    /// Id of whoever wrote it.
    pub user: String,
    /// The words, with Slack's own markup.
    pub text: String,
    /// Whether this is a direct message.
    pub direct: bool,
    /// Whether the bot is mentioned in it.
    pub mentioned: bool,
}

/// A slash command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardCommand {
    /// Id of the workspace.
    pub team: String,
    /// Id of the channel where it was typed.
    pub channel: String,
    /// Id of whoever typed it.
    pub user: String,
    /// Its name, without the slash.
    pub command: String,
    /// What stands after the name.
    pub text: String,
    /// Unique per use of a command.
    pub trigger: String,
}

/// A pressed button.
#[derive(Debug, Clone)]
pub struct Pressed {
    /// Id of the workspace.
    pub team: String,
    /// Unique per press.
    pub trigger: String,
    /// Id of the channel of the message with the button.
    pub channel: String,
    /// That message.
    pub ts: String,
    /// Id of whoever pressed it.
    pub user: String,
    /// Which button.
    pub action: String,
    /// What the button carries.
    pub value: String,
    /// Where an answer that only this person sees can be posted for half an hour.
    pub response_url: Option<Secret>,
}

/// Take a message in: make it durable, or pass it over by the rules.
///
/// Sender: the sockets, and the look at what was missed. Handler: the Slack listener. Answer: done; the socket acknowledges then.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct HearMessage {
    /// What was said.
    pub heard: Heard,
    /// The words could not be read and have to be fetched first.
    pub read_again: bool,
}

/// Carry a slash command out.
///
/// Sender: the sockets. Handler: the Slack listener. Answer: words that only whoever typed it sees.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<String, StoreError>")]
pub struct HearCommand(pub HeardCommand);

/// Carry out what a button stands for.
///
/// Sender: the sockets. Handler: the Slack listener. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct HearPress(pub Pressed);

/// A socket was opened. There may have been a gap before it.
///
/// Sender: the sockets. Handler: the Slack listener. Answer: nothing; it looks for what was missed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SocketOpened;
