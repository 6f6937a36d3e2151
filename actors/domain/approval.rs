//! A question that a paused run asks of a person, and its answer. Knows no runner.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::envelope::closed_enum;
use super::{ApprovalId, PhaseName, RunId, Subject, WorkflowName};

closed_enum! {
    /// Where a question stands.
    ApprovalStatus {
        /// Nobody has answered.
        Pending => "pending",
        /// Somebody said yes.
        Approved => "approved",
        /// Somebody said no.
        Rejected => "rejected",
        /// The run ended before anybody answered.
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
}

/// A question as the store has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
}

/// What became of an answer: compare-and-set, so exactly one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// This answer counts. An approved run is queued again, a rejected one has failed; `run` says which.
    Counted {
        /// The run.
        run: RunId,
    },
    /// Somebody was faster.
    Already(ApprovalStatus),
    /// No such question.
    Unknown,
}
