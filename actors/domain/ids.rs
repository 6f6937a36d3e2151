//! Identifiers as types, parsed once at the door. No I/O.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not the identifier it was taken for. Names the text and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {rule}")]
pub struct InvalidId {
    /// Which kind of identifier was expected.
    pub what: &'static str,
    /// What was given, cut to 100 characters.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl InvalidId {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self {
            what,
            text: text.chars().take(100).collect(),
            rule,
        }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// A repository's full name, `owner/name`, as GitHub spells it.
    RepoName
}

impl RepoName {
    /// The account or organisation.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The repository without its owner.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl FromStr for RepoName {
    type Err = InvalidId;

    /// # Errors
    /// When the text is not two path-safe parts with one slash between them.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "must be owner/name, of letters, digits, '-', '_' and '.'";
        let safe = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part != "."
                && part != ".."
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, name)) if safe(owner) && safe(name) => Ok(Self(text.into())),
            _ => Err(InvalidId::new("repository", text, rule)),
        }
    }
}

text_id! {
    /// The id of an accepted event: GitHub's `X-GitHub-Delivery`, or `<platform>-<message id>`.
    DeliveryId
}

impl FromStr for DeliveryId {
    type Err = InvalidId;

    /// # Errors
    /// When the text is empty, over 200 bytes, or holds a control character or a space.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "must be 1 to 200 visible characters";
        let visible = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if text.is_empty() || text.len() > 200 || !visible {
            return Err(InvalidId::new("delivery id", text, rule));
        }
        Ok(Self(text.into()))
    }
}

text_id! {
    /// A workflow's name: what a route, a cron or a person calls it by.
    WorkflowName
}

impl FromStr for WorkflowName {
    type Err = InvalidId;

    /// # Errors
    /// When the text is not 1 to 64 letters, digits, `-`, `_` or `.`, starting with a letter or digit.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if slug_like(text) {
            return Ok(Self(text.into()));
        }
        Err(InvalidId::new("workflow name", text, SLUG_RULE))
    }
}

text_id! {
    /// The name of one phase of a workflow; also the stem of its log file.
    PhaseName
}

impl FromStr for PhaseName {
    type Err = InvalidId;

    /// # Errors
    /// When the text is not 1 to 64 letters, digits, `-`, `_` or `.`, starting with a letter or digit.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if slug_like(text) {
            return Ok(Self(text.into()));
        }
        Err(InvalidId::new("phase name", text, SLUG_RULE))
    }
}

const SLUG_RULE: &str = "must be 1 to 64 letters, digits, '-', '_' or '.', and start with a letter or a digit";

fn slug_like(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

text_id! {
    /// The key of one outward act (run, phase, turn, target). Claimed in the store before the act is tried, so that it happens once.
    EffectKey
}

impl FromStr for EffectKey {
    type Err = InvalidId;

    /// # Errors
    /// When the text is empty or over 300 bytes.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > 300 || text.chars().any(char::is_control) {
            return Err(InvalidId::new(
                "effect key",
                text,
                "must be 1 to 300 printable characters",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// What a run is about. At most one run of a workflow is live per subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// An issue or a pull request: `owner/repo#7`, in lower case because GitHub ignores case.
    #[must_use]
    pub fn thread(repo: &RepoName, number: u64) -> Self {
        Self(format!("{}#{number}", repo.as_str().to_ascii_lowercase()))
    }

    /// A whole repository: `owner/repo::workflow`.
    #[must_use]
    pub fn repo(repo: &RepoName, workflow: &WorkflowName) -> Self {
        Self(format!("{}::{workflow}", repo.as_str().to_ascii_lowercase()))
    }

    /// A chat thread: `slack:team:channel:thread`.
    #[must_use]
    pub fn chat(platform: &str, team: &str, channel: &str, thread: &str) -> Self {
        Self(format!("{platform}:{team}:{channel}:{thread}"))
    }

    /// A run about nothing but itself.
    #[must_use]
    pub fn alone(run: RunId) -> Self {
        Self(format!("run:{run}"))
    }

    /// A subject as it was stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the clock made, or that was derived from an idempotency key.
            #[must_use]
            pub fn new(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// # Errors
            /// When the text is not a UUID.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| InvalidId::new($what, text, "must be a UUID"))
            }
        }
    };
}

uuid_id! {
    /// A workflow run; what the API answers as `executionId`.
    RunId, "run id"
}

uuid_id! {
    /// A conversation with one person in one thread of a chat.
    SessionId, "session id"
}

uuid_id! {
    /// A question that a paused run asks of a person.
    ApprovalId, "approval id"
}

/// Position of an event in the order of acceptance; grows by one for each stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventSeq(pub i64);

/// Position of an effect in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectSeq(pub i64);

impl fmt::Display for EffectSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// SHA-256 of a workflow's bundle, hex; a run keeps the version that it started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DefinitionHash(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_two_safe_parts() {
        for good in ["acme/site", "a/b", "Acme-Inc/my.repo_2", "a/.github"] {
            assert!(good.parse::<RepoName>().is_ok(), "{good}");
        }
        for bad in [
            "", "acme", "acme/", "/site", "a/b/c", "a/..", "../b", "a b/c", "a/b\n", "é/b", "a/b;rm",
        ] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_subject_ignores_the_case_of_a_repository() {
        let upper: RepoName = "Acme/Site".parse().expect("valid");
        let lower: RepoName = "acme/site".parse().expect("valid");
        assert_eq!(Subject::thread(&upper, 7), Subject::thread(&lower, 7));
        assert_eq!(Subject::thread(&upper, 7).as_str(), "acme/site#7");
    }

    #[test]
    fn a_workflow_name_is_a_safe_file_stem() {
        for good in ["build", "issue-triage", "a", "x.y_z-1"] {
            assert!(good.parse::<WorkflowName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", "_x"] {
            assert!(bad.parse::<WorkflowName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_delivery_id_is_visible_text() {
        assert!("72d3162e-cc78-11e3-81ab-4c9367dc0958".parse::<DeliveryId>().is_ok());
        for bad in ["", "a b", "a\n", &"x".repeat(201)] {
            assert!(bad.parse::<DeliveryId>().is_err(), "{bad:?}");
        }
    }
}
