//! The one shape every inbound event is normalized into. Knows no platform's JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{DeliveryId, RepoName, Subject};

macro_rules! closed_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in the order of its definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as it is written on the wire and in the store.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value with this text, if there is one.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use closed_enum;

closed_enum! {
    /// What happened. Closed: a connector that cannot name one of these produces no envelope.
    EventType {
        /// An issue was opened.
        IssueOpened => "issue.opened",
        /// A closed issue was opened again.
        IssueReopened => "issue.reopened",
        /// An issue was closed.
        IssueClosed => "issue.closed",
        /// A pull request was opened.
        PrOpened => "pr.opened",
        /// New commits were pushed to a pull request.
        PrSynchronize => "pr.synchronize",
        /// A closed pull request was opened again.
        PrReopened => "pr.reopened",
        /// A pull request was closed without a merge.
        PrClosed => "pr.closed",
        /// A pull request was merged.
        PrMerged => "pr.merged",
        /// A comment was written on an issue or a pull request.
        CommentCreated => "comment.created",
        /// A pull request was reviewed.
        PrReviewSubmitted => "pr_review.submitted",
        /// A line of a pull request was commented on.
        PrReviewCommentCreated => "pr_review_comment.created",
        /// A chat message.
        Message => "message",
    }
}

closed_enum! {
    /// Which connector an envelope came from.
    Source {
        /// The GitHub webhook.
        Github => "github",
        /// Slack over Socket Mode.
        Slack => "slack",
    }
}

/// Where an answer goes. Data, never a closure: an answer can still be sent after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReplyTo {
    /// The conversation of an issue or a pull request.
    IssueComment {
        /// The repository.
        repo: RepoName,
        /// Number of the issue or the pull request.
        number: u64,
        /// The comment that asked, for a reaction to it.
        #[serde(default, rename = "commentId", skip_serializing_if = "Option::is_none")]
        comment_id: Option<u64>,
    },
    /// A Slack thread.
    SlackThread {
        /// Channel id.
        channel: String,
        /// Timestamp of the thread's root message; empty: a message of its own in the channel.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        thread: String,
        /// Timestamp of the message that asked, for a sign of life at it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// One person in a Slack channel; nobody else sees it.
    SlackPerson {
        /// Channel id.
        channel: String,
        /// User id.
        user: String,
    },
    /// The channel named in slack.delivery_channel.
    DeliveryChannel,
    /// Nobody listens.
    Nobody,
}

/// A normalized event. Its raw payload travels beside it (see [`super::NewEvent`]), so that no rule can depend on a platform's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventEnvelope {
    /// Unique per accepted event; for GitHub the delivery id.
    pub id: DeliveryId,
    /// The connector.
    pub source: Source,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The repository, for events that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoName>,
    /// Number of the issue; for a pull request its number, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_number: Option<u64>,
    /// Number of the pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pr_number: Option<u64>,
    /// Login or user name of whoever caused it; `unknown` if the payload does not say.
    pub sender: String,
    /// Id of that one at a chat platform, where a name is freely chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<String>,
    /// Whether that is a bot.
    pub sender_is_bot: bool,
    /// What was written: the issue's, pull request's, comment's or review's text.
    pub body: String,
    /// Title of the issue or pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Names of its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// GitHub's word for the author's standing, such as `MEMBER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_association: Option<String>,
    /// Where an answer goes.
    pub reply_to: ReplyTo,
    /// When it was received.
    pub timestamp: DateTime<Utc>,
}

impl EventEnvelope {
    /// The thread this event belongs to, if it belongs to one.
    #[must_use]
    pub fn thread(&self) -> Option<Subject> {
        match (&self.repo, self.issue_number.or(self.pr_number)) {
            (Some(repo), Some(number)) => Some(Subject::thread(repo, number)),
            _ => match &self.reply_to {
                ReplyTo::SlackThread { channel, thread, .. } => {
                    Some(Subject::chat(self.source.as_str(), "slack", channel, thread))
                }
                ReplyTo::IssueComment { .. }
                | ReplyTo::SlackPerson { .. }
                | ReplyTo::DeliveryChannel
                | ReplyTo::Nobody => None,
            },
        }
    }

    /// Whether the author may give orders: GitHub's OWNER, MEMBER or COLLABORATOR.
    #[must_use]
    pub fn author_is_maintainer(&self) -> bool {
        matches!(
            self.author_association.as_deref(),
            Some("OWNER" | "MEMBER" | "COLLABORATOR")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_list_of_types_is_the_contracts() {
        let names: Vec<_> = EventType::ALL.iter().map(|t| t.as_str()).collect();
        assert_eq!(
            names,
            [
                "issue.opened",
                "issue.reopened",
                "issue.closed",
                "pr.opened",
                "pr.synchronize",
                "pr.reopened",
                "pr.closed",
                "pr.merged",
                "comment.created",
                "pr_review.submitted",
                "pr_review_comment.created",
                "message"
            ]
        );
        for kind in EventType::ALL {
            assert_eq!(EventType::from_text(kind.as_str()), Some(*kind));
        }
    }

    #[test]
    fn an_envelope_is_written_with_the_contracts_keys() {
        let envelope = EventEnvelope {
            id: "d-1".parse().expect("valid"),
            source: Source::Github,
            kind: EventType::CommentCreated,
            repo: Some("acme/site".parse().expect("valid")),
            issue_number: Some(7),
            pr_number: None,
            sender: "ann".into(),
            sender_id: None,
            sender_is_bot: false,
            body: "hi".into(),
            title: Some("It broke".into()),
            labels: Some(vec!["bug".into()]),
            author_association: Some("MEMBER".into()),
            reply_to: ReplyTo::IssueComment {
                repo: "acme/site".parse().expect("valid"),
                number: 7,
                comment_id: None,
            },
            timestamp: DateTime::from_timestamp(0, 0).expect("the epoch exists"),
        };
        let json = serde_json::to_value(&envelope).expect("plain data");
        let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(
            keys,
            [
                "id",
                "source",
                "type",
                "repo",
                "issueNumber",
                "sender",
                "senderIsBot",
                "body",
                "title",
                "labels",
                "authorAssociation",
                "replyTo",
                "timestamp"
            ]
        );
        let back: EventEnvelope = serde_json::from_value(json).expect("what was written is read");
        assert_eq!(back, envelope);
    }
}
