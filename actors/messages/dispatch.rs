//! What the dispatcher is told. Knows the domain only.

use actix::prelude::*;
use uuid::Uuid;

use super::store::StoreError;
use crate::domain::{EventSeq, Opened, RunContext, TriggerType, WorkflowName};

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

/// Why no run was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDispatched {
    /// There is no such workflow.
    #[error("unknown workflow \"{name}\"; known: {}", known.join(", "))]
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
