//! What the GitHub room is told. Knows the domain only.

use actix::prelude::*;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::outbound::OutboundFault;
use super::store::StoreError;
use crate::domain::{DeliveryId, EventEnvelope, RepoName, RuleCheck, Secret, TokenProfile};

/// One webhook request, body read, nothing checked yet.
///
/// Sender: `POST /webhooks/github`. Handler: the GitHub connector of the same HTTP worker.
/// Answer: the verdict, which the route turns into status and words.
#[derive(Debug, Message)]
#[rtype(result = "Verdict")]
pub struct Deliver {
    /// `X-Hub-Signature-256`, as it came.
    pub signature: Option<String>,
    /// `X-GitHub-Event`.
    pub event: Option<String>,
    /// `X-GitHub-Delivery`.
    pub delivery: Option<String>,
    /// Whether the content type is `application/x-www-form-urlencoded`.
    pub form: bool,
    /// The raw body, at most 25 MiB.
    pub body: Bytes,
}

/// Find out why the signature of a request did not fit, and tell the operator in one log line. The sender has been answered
/// or is about to be, and hears nothing of it.
///
/// Sender: `POST /webhooks/github`, seldom. Handler: the GitHub connector of the same HTTP worker.
/// Answer: nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ExplainRefusal {
    /// All headers, names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The raw body; absent where it was not read, or is longer than [`ExplainRefusal::LONGEST_BODY`].
    pub body: Option<Bytes>,
}

impl ExplainRefusal {
    /// The longest body that is looked into, in bytes: a look costs some fifty times its verification.
    pub const LONGEST_BODY: usize = 64 * 1024;
}

/// Judge a payload as if it had come in, without effect: every check from the event's name on, each by itself.
///
/// Sender: `POST /admin/api/route-test`. Handler: the GitHub connector of the same HTTP worker.
/// Answer: what each check says, and the envelope if all let it pass.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Judged")]
pub struct TryDelivery {
    /// What `X-GitHub-Event` would say; empty: it would be missing.
    pub event: String,
    /// The id that the delivery would have.
    pub delivery: DeliveryId,
    /// The payload, JSON text.
    pub json: String,
}

/// What the connector would say to a payload.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What each check says, in their order.
    pub checks: Vec<RuleCheck>,
    /// What would be recorded; nothing if a check stands against it.
    pub envelope: Option<EventEnvelope>,
    /// Why nothing would be recorded, in the words of the webhook's answer.
    pub filtered: Option<String>,
}

/// What became of a webhook request.
#[derive(Debug)]
pub enum Verdict {
    /// The signature is missing, malformed or does not match.
    Unsigned,
    /// `X-GitHub-Event` is missing.
    NoEventHeader,
    /// The body holds no JSON object.
    InvalidJson,
    /// Understood and deliberately not taken; the reason is part of the contract.
    Filtered(String),
    /// On disk.
    Accepted(DeliveryId),
    /// A delivery of this id was accepted before.
    Duplicate(DeliveryId),
    /// Nothing was accepted; the sender may try again.
    Refused(StoreError),
}

/// Why GitHub did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GithubFault {
    /// Neither an App nor a token is configured.
    #[error("no GitHub credentials: set GITHUB_APP_ID with GITHUB_APP_PRIVATE_KEY_PATH, or GITHUB_TOKEN")]
    NoCredentials,
    /// GitHub asked for patience (rate limit, secondary limit, `Retry-After`).
    #[error("GitHub asks to wait until {until}: {why}")]
    Wait {
        /// Not before this instant.
        until: DateTime<Utc>,
        /// Which limit.
        why: String,
    },
    /// It may succeed later: no connection, a timeout, a 5xx, credentials that are refused.
    #[error("{0}")]
    Retryable(String),
    /// It will never succeed: the issue is gone or locked, the repository forbids it.
    #[error("{0}")]
    Never(String),
}

impl From<GithubFault> for OutboundFault {
    fn from(fault: GithubFault) -> Self {
        let words = fault.to_string();
        match fault {
            GithubFault::NoCredentials => Self::NoCredentials(words),
            GithubFault::Wait { until, .. } => Self::Wait { until, why: words },
            GithubFault::Retryable(_) => Self::Retryable(words),
            GithubFault::Never(_) => Self::Never(words),
        }
    }
}

/// Read the open pull request or issue that a run is about, for its context, or for the commit that an answer holds for.
///
/// Sender: the runner, for a run that was started by its number alone and before it asks about a pull request. Handler: the GitHub client.
/// Answer: title, body, labels, head branch and head SHA where there are any.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Thread, GithubFault>")]
pub struct ReadThread {
    /// The repository.
    pub repo: RepoName,
    /// Number of the issue or pull request.
    pub number: u64,
}

/// An issue or pull request as GitHub has it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// For a pull request: name of its head branch.
    pub head_branch: Option<String>,
    /// For a pull request: SHA of its head commit.
    pub head_sha: Option<String>,
}

/// Make a token for one phase: good for one repository, for an hour, and for no more than its profile.
///
/// Sender: the runner, for a phase that asks for one. Handler: the GitHub client.
/// Answer: the token and where to clone from; no token where no credentials are configured.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<PhaseToken, GithubFault>")]
pub struct MintToken {
    /// The repository.
    pub repo: RepoName,
    /// What it may do.
    pub profile: TokenProfile,
}

/// What a phase is let in with.
#[derive(Debug, Clone)]
pub struct PhaseToken {
    /// The token; absent: nobody configured credentials.
    pub token: Option<Secret>,
    /// Whether it is good for the repository and the profile only. A personal token is good for whatever it is good for.
    pub narrowed: bool,
    /// `https://github.com/acme/site.git`.
    pub clone_url: String,
    /// `https://github.com`: the host that may be shown the token.
    pub host: String,
}
