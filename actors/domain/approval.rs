//! A question that a paused run asks of a person, and its answer. Knows no runner.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::envelope::closed_enum;
use super::{AnswerRules, ApprovalId, PhaseName, RunId, Subject, Vote, WorkflowName};

closed_enum! {
    /// Where a question stands.
    ApprovalStatus {
        /// Nobody has answered.
        Pending => "pending",
        /// Somebody said yes.
        Approved => "approved",
        /// Somebody said no.
        Rejected => "rejected",
        /// The run ended before anybody answered, or what was asked about has changed.
        Lapsed => "lapsed",
    }
}

closed_enum! {
    /// What a person is asked for.
    ApprovalKind {
        /// Yes or no.
        Approve => "approve",
        /// An answer in words.
        Reply => "reply",
    }
}

closed_enum! {
    /// A person's decision.
    Decision {
        /// Go on.
        Approved => "approved",
        /// Stop.
        Rejected => "rejected",
    }
}

/// A question on its way into the store, together with the pause of its run.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// Its id.
    pub id: ApprovalId,
    /// The phase that waits.
    pub phase: PhaseName,
    /// Name of the gate.
    pub gate: String,
    /// What is asked, in words.
    pub summary: String,
    /// Yes or no, or an answer in words.
    pub kind: ApprovalKind,
    /// Who started the run.
    pub requested_by: String,
    /// Who may answer, how many must, and by when.
    pub rules: AnswerRules,
    /// SHA-256 of what is shown, hex; see [`shown_digest`].
    pub shown: Option<String>,
    /// The head commit of the pull request that the answer holds for. New commits make the question lapse.
    pub head_sha: Option<String>,
}

/// SHA-256 of what a person is shown before they answer, hex: the question, the phase's output, the head commit.
#[must_use]
pub fn shown_digest(question: &str, output: &str, head_sha: Option<&str>) -> String {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    for part in [question, output, head_sha.unwrap_or_default()] {
        // Lengths keep the parts apart: no two different ones run together to the same text.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    hex::encode(digest.finalize())
}

/// A question as the store has it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The run that waits.
    #[serde(rename = "workflowRunId")]
    pub run: RunId,
    /// The run's workflow.
    pub workflow: WorkflowName,
    /// What the run is about.
    pub subject: Subject,
    /// Name of the gate.
    pub gate: String,
    /// The phase that waits.
    pub phase: PhaseName,
    /// What is asked, in words.
    pub summary: String,
    /// Where it stands.
    pub status: ApprovalStatus,
    /// Yes or no, or an answer in words.
    pub kind: ApprovalKind,
    /// Who started the run.
    pub requested_by: String,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responded_by: Option<String>,
    /// The reason or the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responded_at: Option<DateTime<Utc>>,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
    /// Who may answer, how many must, and by when.
    pub rules: AnswerRules,
    /// Who has approved by now, oldest first.
    pub votes: Vec<Vote>,
    /// SHA-256 of what was shown, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// The head commit of the pull request that the answer holds for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_sha: Option<String>,
    /// Place in the order of asking; the cursor of lists.
    pub seq: i64,
}

/// Which questions a list shows. Empty: all, newest first.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// Only in this state.
    pub status: Option<ApprovalStatus>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only before this position (the `next` of the page before).
    pub before: Option<i64>,
    /// At most so many rows.
    pub limit: usize,
}

/// What became of an answer: compare-and-set, so exactly one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// This answer counts. An approved run is queued again, a rejected one has failed; `run` says which.
    Counted {
        /// The run.
        run: RunId,
    },
    /// It counts, and more people have to approve.
    Voted {
        /// How many have, with this one.
        have: u32,
        /// How many must.
        need: u32,
    },
    /// The rules of the question do not let it count, for this reason.
    Refused(String),
    /// Somebody was faster.
    Already(ApprovalStatus),
    /// No such question.
    Unknown,
}

impl Decided {
    /// Stands in a reply for [`Decided::words`], which only the store can say: whoever writes the reply does not know yet
    /// what becomes of the answer.
    pub const PLACE: &'static str = "{what became of the answer}";

    /// What became of an answer that did not settle its question, as a sentence; nothing where it did.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        match self {
            Self::Counted { .. } => None,
            Self::Voted { have, need } => Some(format!("Noted: {have} of {need} have approved.")),
            Self::Refused(reason) => Some(format!("That does not count: {reason}.")),
            Self::Already(ApprovalStatus::Lapsed) => Some("That question has lapsed.".into()),
            Self::Already(_) => Some("Somebody has answered already.".into()),
            Self::Unknown => Some("There is no such question.".into()),
        }
    }
}
