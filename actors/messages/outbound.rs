//! What the outbound room is told, and what it tells the client of a platform. Knows the domain only.

use actix::prelude::*;
use chrono::{DateTime, Utc};

use crate::domain::{Effect, EffectKey};

/// Effects wait in the outbox. A nudge: its listeners read what is due for them from the store.
///
/// Sender: the dispatcher, the runner and the gate keeper, after their commit. Handler: the replier of each platform, the delivery retrier.
/// Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct EffectsQueued;

/// Perform one act at a platform.
///
/// Sender: the replier of that platform, after the attempt was written down. Handler: the platform's client, the GitHub client or
/// the Slack sender; for a platform that is not configured the absent client.
/// Answer: the platform's word for what now exists, or why not and whether to try again.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Performed, OutboundFault>")]
pub struct Perform {
    /// The key; what is posted carries it where nobody sees it (a marker in a comment, the metadata of a message).
    pub key: EffectKey,
    /// The act. Its kind starts with the platform's name.
    pub effect: Effect,
    /// An attempt may have reached the platform before: look for the key first.
    pub look_first: bool,
    /// What came of the act that this one [builds on](Effect::builds_on); nothing if that one never succeeded: then there is
    /// nothing to change, and the act stands for itself.
    pub base: Option<String>,
    /// When the act was put into the outbox: nothing of it can be at the platform before.
    pub since: DateTime<Utc>,
}

/// What now exists at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// Its address there (of the comment, `<channel>/<ts>` of the message), or a word for what was done.
    pub result: String,
    /// True when it was there already, from an attempt whose answer was lost.
    pub found: bool,
}

/// Why a platform did not do it. The words name the platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundFault {
    /// There is nobody to do it as; the words say what to configure. It is kept and not tried again.
    #[error("{0}")]
    NoCredentials(String),
    /// The platform asked for patience. That is no failed try; everything that shares its [pace](Effect::pace) waits.
    #[error("{why}")]
    Wait {
        /// Not before this instant.
        until: DateTime<Utc>,
        /// Who asks, and which limit.
        why: String,
    },
    /// It may succeed later: no connection, a timeout, a failure over there, credentials that are refused.
    #[error("{0}")]
    Retryable(String),
    /// It will never succeed.
    #[error("{0}")]
    Never(String),
}
