//! A workflow run: who asked, what it is about, how far it has come. Knows no process and no store.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::envelope::closed_enum;
use super::{DefinitionHash, DeliveryId, EventSeq, PhaseName, ReplyTo, RepoName, RunId, Subject, WorkflowName};

closed_enum! {
    /// Where a run stands.
    RunStatus {
        /// Waits for a free place, or for an earlier run of its subject.
        Queued => "queued",
        /// Its phases are being worked through.
        Running => "running",
        /// Waits for a person.
        Paused => "paused",
        /// Every phase came to a good end.
        Succeeded => "succeeded",
        /// A phase failed, or a person said no.
        Failed => "failed",
        /// A person stopped it.
        Cancelled => "cancelled",
    }
}

impl RunStatus {
    /// Whether nothing more will happen to the run.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

closed_enum! {
    /// Which door a run came through; `_triggerType` in its context.
    TriggerType {
        /// A GitHub event.
        Webhook => "webhook",
        /// A chat message.
        Chat => "chat",
        /// The command line or the API.
        Api => "api",
        /// A schedule.
        Cron => "cron",
        /// The dashboard.
        Admin => "admin",
        /// An answered gate.
        Approval => "approval",
    }
}

/// Who asked. Every run carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The door.
    pub trigger: TriggerType,
    /// Login, user name, token label or `cron:<name>`.
    pub who: String,
    /// The event, when one asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<DeliveryId>,
}

closed_enum! {
    /// What happens when a run of the same workflow and subject is live already.
    Overlap {
        /// The live one is answered; no second run.
        Join => "join",
        /// One more run may wait behind a running one; whoever comes after joins that.
        QueueOnce => "queue_once",
        /// Each waits its turn, because each asks something of its own. A run that waits for a person is joined.
        Queue => "queue",
    }
}

/// Facts that a run starts with: a JSON object with the keys that templates name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunContext(pub Map<String, Value>);

/// A run that admission let in.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id, known before it is stored so that a repetition is recognised.
    pub id: RunId,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version of its definition.
    pub definition: DefinitionHash,
    /// What it is about.
    pub subject: Subject,
    /// The repository, if it concerns one.
    pub repo: Option<RepoName>,
    /// The issue or pull request, if it concerns one.
    pub number: Option<u64>,
    /// What it starts with.
    pub context: RunContext,
    /// Where its answers go.
    pub reply_to: ReplyTo,
    /// Who asked.
    pub cause: Cause,
    /// What a live run of the same subject means for it.
    pub overlap: Overlap,
    /// When it was let in.
    pub created_at: DateTime<Utc>,
}

/// What became of an order to open a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A new run waits in the queue.
    Queued(RunId),
    /// A run of this workflow and subject is live; nothing new was stored.
    Joined(RunId, RunStatus),
    /// This very id was opened before (a repeated order).
    Repeated(RunId),
}

impl Opened {
    /// The run that the caller is answered with.
    #[must_use]
    pub fn run(self) -> RunId {
        match self {
            Self::Queued(run) | Self::Joined(run, _) | Self::Repeated(run) => run,
        }
    }
}

/// A run as the store has it, without its phases.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Place in the order of creation; the cursor of lists.
    pub seq: i64,
    /// The id.
    pub id: RunId,
    /// The workflow.
    pub workflow: WorkflowName,
    /// What it is about.
    pub subject: Subject,
    /// The repository, if it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoName>,
    /// The issue or pull request, if it concerns one.
    #[serde(rename = "issueNumber", skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Where it stands.
    pub status: RunStatus,
    /// The phase it is in, or ended in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_phase: Option<PhaseName>,
    /// Who asked.
    pub cause: Cause,
    /// Why it failed or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it was taken up again after a crash.
    pub restart_count: u32,
    /// When it was let in.
    pub created_at: DateTime<Utc>,
    /// When its first phase began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// A run with all that is needed to go on with it.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// The list part.
    pub summary: RunSummary,
    /// The bundle of the definition that it started with (see `Workflow::from_bundle`).
    pub definition: String,
    /// What it started with.
    pub context: RunContext,
    /// Where its answers go.
    pub reply_to: ReplyTo,
    /// The event that asked, by its place in the order of acceptance.
    pub event: Option<EventSeq>,
    /// Its phase executions, oldest first.
    pub phases: Vec<PhaseRecord>,
    /// State that phases leave for one another and for loops (`scratch.*` in templates).
    pub scratch: BTreeMap<String, Value>,
    /// What people answered in words, oldest first.
    pub answers: Vec<Answered>,
}

/// An answer in words to a question of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The phase execution that asked.
    pub phase: PhaseName,
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
    /// Login or user name.
    pub sender: String,
    /// When.
    pub at: DateTime<Utc>,
}

closed_enum! {
    /// Where a phase execution stands.
    PhaseStatus {
        /// At work, or interrupted by a crash.
        Running => "running",
        /// Done.
        Succeeded => "succeeded",
        /// It ended badly.
        Failed => "failed",
        /// Not done, with a reason.
        Skipped => "skipped",
        /// Its gate waits for a person.
        WaitingApproval => "waiting_approval",
    }
}

/// Begins the reason of a phase execution that a crash of the service cut off. Such a phase is begun anew, a few times.
pub const INTERRUPTED: &str = "interrupted: the service stopped";

/// Begins the reason of a phase execution that a planned stop of the service put down. Such a phase is begun anew, however
/// often that happens: it is no fault of the phase.
pub const PUT_DOWN: &str = "put down: the service was stopped";

/// One execution of one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRecord {
    /// Name of the phase in its workflow.
    pub phase: PhaseName,
    /// `context`, `script`, `agent`, …
    pub kind: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub status: PhaseStatus,
    /// Its standard output, cut to the limit that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Exit status of its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// One durable step of a run. The runner goes on only when it is on disk.
#[derive(Debug, Clone)]
pub enum Step {
    /// A phase begins.
    PhaseStarted {
        /// Which.
        phase: PhaseName,
        /// `context`, `script`, `agent`, …
        kind: &'static str,
        /// Which try this is, from 1.
        attempt: u32,
    },
    /// A phase has come to an end; repeated for the same (phase, attempt) it changes nothing.
    PhaseEnded(PhaseEnd),
    /// The run shows this as its current phase until the next one begins (`on_success.set_phase`).
    Shown(PhaseName),
    /// State that outlives the process: an entry of the run's scratch is set.
    Scratch {
        /// Its name, as in `scratch.<name>`.
        key: String,
        /// The whole entry.
        value: Value,
    },
    /// The run waits for a person.
    Paused(super::NewApproval),
    /// A planned stop: the run goes back to its place in the queue, and no restart is counted.
    PutDown,
    /// The run has come to its end.
    Ended {
        /// A final status.
        status: RunStatus,
        /// Why, unless it succeeded.
        error: Option<String>,
    },
}

/// How a phase ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseEnd {
    /// Which.
    pub phase: PhaseName,
    /// `context`, `script`, `agent`, …; a phase that is skipped has no `PhaseStarted` before it.
    pub kind: &'static str,
    /// Which try this was, from 1.
    pub attempt: u32,
    /// Succeeded, failed or skipped; or waiting for a person, when its question cannot be asked yet.
    pub status: PhaseStatus,
    /// Its standard output, cut to the limit that is kept.
    pub output: Option<String>,
    /// Why it failed or was skipped.
    pub reason: Option<String>,
    /// Exit status of its process.
    pub exit_code: Option<i32>,
}

/// One phase execution of any run, as the list of all of them shows it. Keys are written as columns are.
#[derive(Debug, Clone, Serialize)]
pub struct Execution {
    /// Place in the order of beginnings; the cursor of the list.
    pub id: i64,
    /// Its run.
    pub run_id: RunId,
    /// The run's workflow.
    pub workflow: WorkflowName,
    /// The run's repository.
    pub repo: Option<RepoName>,
    /// The run's issue or pull request.
    pub issue_number: Option<u64>,
    /// Through which door the run was asked for.
    pub trigger_type: super::TriggerType,
    /// Name of the phase.
    pub phase: PhaseName,
    /// `context`, `script`, `agent`, …
    pub kind: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub status: PhaseStatus,
    /// Exit status of its process.
    pub exit_code: Option<i32>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How long it took, in ms.
    pub duration_ms: Option<i64>,
}

/// Which runs a list shows. Empty: all, newest first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only in one of these states.
    pub statuses: Vec<RunStatus>,
    /// Only created at or after this instant.
    pub since: Option<DateTime<Utc>>,
    /// Only about this repository (any case).
    pub repo: Option<String>,
    /// Only before this position (the `next` of the page before).
    pub before: Option<i64>,
    /// Skip so many rows first.
    pub offset: usize,
    /// At most so many rows.
    pub limit: usize,
}

/// The processes of one phase that is at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessGroup {
    /// `firstlight-<run id>-<phase>-<pid>`.
    pub name: String,
    /// The group's leader, which gives the group its number.
    pub pid: i32,
    /// Its run.
    pub run: RunId,
    /// Its phase.
    pub phase: PhaseName,
    /// What the leader is called by the system.
    pub command: String,
    /// How many processes are in the group.
    pub processes: usize,
    /// Memory of all of them that is not paged out, in bytes; pages that they share count for each.
    pub memory_bytes: u64,
    /// Processor time that they have used, in ms.
    pub cpu_ms: u64,
}

impl ProcessGroup {
    /// How the name of a group begins.
    pub const PREFIX: &'static str = "firstlight-";
}
