//! What the dispatcher is told. Knows the domain only.

use actix::prelude::*;
use serde::Serialize;
use uuid::Uuid;

use super::store::StoreError;
use crate::domain::{
    Effect, EventEnvelope, EventSeq, Opened, PhaseName, RuleCheck, RunContext, RunId, RunStatus, TriggerType,
    WorkflowName, nearest,
};

/// An event is on disk and waits to be routed. Only a nudge: the dispatcher reads what waits from the store,
/// so that a nudge that finds the mailbox full loses nothing.
///
/// Sender: connectors, through their sink. Handler: the dispatcher. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct EventArrived {
    /// The newest position known to wait.
    pub seq: EventSeq,
}

/// Start a workflow without an event: the door of CLI, cron, admin and MCP.
///
/// Sender: API routes, the cron ticker, the dashboard, MCP tools. Handler: the dispatcher.
/// Answer: the stored run (one per repository where the context has `repos`), or which rule of admission said no;
/// then no run was opened at all.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<Opened>, NotDispatched>")]
pub struct DispatchWorkflow {
    /// Which workflow, as it was asked for; admission says whether it exists.
    pub workflow: String,
    /// What it starts with; `repo`, `issueNumber` and `prNumber` say what it is about, a list `repos` asks for one run each.
    pub context: RunContext,
    /// Through which door.
    pub trigger: TriggerType,
    /// Token label, `cron:<name>` or user.
    pub who: String,
    /// Derived from an idempotency key: a repeated order with the same seed opens no second run.
    pub seed: Option<Uuid>,
}

/// The known workflow that was probably meant, as a part of a sentence.
fn meant(name: &str, known: &[String]) -> String {
    nearest(name, known.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

/// Why no run was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDispatched {
    /// There is no such workflow.
    #[error("unknown workflow \"{name}\"{}; known: {}", meant(name, known), known.join(", "))]
    UnknownWorkflow {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The repository is not in the managed list.
    #[error("Repo not managed: {0}")]
    RepoNotManaged(String),
    /// The context is not of the form that the workflow can start with.
    #[error("{0}")]
    BadContext(String),
    /// The workflow is switched off.
    #[error("workflow \"{0}\" is switched off")]
    SwitchedOff(WorkflowName),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service is going down.
    #[error("the service is stopping; try again in a moment")]
    Stopping,
}

/// Say what would become of an event, without any effect: which rule would decide, and whether a run would be let in.
///
/// Sender: `POST /admin/api/route-test`, the dashboard. Handler: the dispatcher. Answer: what each rule says, and what would happen.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Rehearsed, StoreError>")]
pub struct TryRoute {
    /// The event as it would be recorded.
    pub envelope: Box<EventEnvelope>,
}

/// What would become of an event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsed {
    /// What the rules of routing say, in their order; the last of them decides.
    pub routing: Vec<RuleCheck>,
    /// What the rules of admission say, in their order; empty where no run is asked for.
    pub admission: Vec<RuleCheck>,
    /// What the event's outcome would be, in words.
    pub outcome: String,
    /// The workflow that would start, be joined, or be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Whether a run would be let in.
    pub starts: bool,
    /// The live run that it would join or wait behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_run: Option<RunId>,
    /// What would be said, each as the outbox would have it.
    pub says: Vec<Effect>,
}

/// Start a run that is over once more: a new run of the same definition and context, from its beginning or from a phase.
/// From a phase on, what came before it is not done again: the new run knows its outputs and works in the same folder.
///
/// Sender: API, dashboard, CLI, MCP. Handler: the dispatcher. Answer: the new run, or why there is none.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Opened, NotRetried>")]
pub struct RetryRun {
    /// The run that is over.
    pub run: RunId,
    /// The first phase that is done again; absent: all are.
    pub from: Option<String>,
    /// Through which door.
    pub trigger: TriggerType,
    /// Token label or user.
    pub who: String,
    /// Derived from an idempotency key: a repeated order with the same seed opens no second run.
    pub seed: Option<Uuid>,
}

/// Why a run is not started once more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRetried {
    /// No such run.
    #[error("workflow run not found")]
    Unknown,
    /// It is not over.
    #[error("cannot retry a run with status '{0}'")]
    Live(RunStatus),
    /// Its workflow has no such phase.
    #[error("the run's workflow has no phase \"{name}\"; it has: {}", known.iter().map(PhaseName::as_str).collect::<Vec<_>>().join(", "))]
    NoSuchPhase {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<PhaseName>,
    },
    /// Something before that phase was never done.
    #[error("phase \"{from}\" cannot be the first: phase \"{missing}\" before it did not come to a good end")]
    NotDoneBefore {
        /// As asked.
        from: PhaseName,
        /// What is missing.
        missing: PhaseName,
    },
    /// Its stored definition cannot be read.
    #[error("the run's stored definition cannot be read: {0}")]
    BadDefinition(String),
    /// Admission does not let it in.
    #[error(transparent)]
    NotDispatched(#[from] NotDispatched),
}

impl From<StoreError> for NotRetried {
    fn from(error: StoreError) -> Self {
        Self::NotDispatched(error.into())
    }
}
