//! What the run supervisor is told. Knows the domain only.

use actix::prelude::*;

use super::store::StoreError;
use crate::domain::{ProcessGroup, RunId, RunStatus};

/// Runs wait in the queue. A nudge: the supervisor takes as many from the store as there are free places.
///
/// Sender: the dispatcher, and whoever answered an approval, the gate keeper too. Handler: the run supervisor. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StartRun;

/// A run's actor has come to an end: the run is paused or in a final state, or could not be written down.
///
/// Sender: a runner. Handler: the run supervisor. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RunEnded {
    /// Which.
    pub run: RunId,
    /// How its actor came to its end.
    pub ending: RunEnding,
}

/// How the actor of a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnding {
    /// The run rests in this state, paused or final, and that is on disk.
    Settled(RunStatus),
    /// It was put down where it stood; the store has it as `running`.
    PutDown,
    /// Its actor panicked; the store has it as `running`.
    Panicked,
}

/// Stop a run now: its process group is killed, its status becomes `cancelled`.
///
/// Sender: API, dashboard, CLI, MCP. Handler: the run supervisor.
/// Answer: done, or why it cannot be cancelled.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), NotCancelled>")]
pub struct CancelRun {
    /// Which.
    pub run: RunId,
    /// Who asked.
    pub who: String,
}

/// Why a run cannot be cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCancelled {
    /// No such run.
    #[error("workflow run not found")]
    Unknown,
    /// It is over already.
    #[error("cannot cancel a run with status '{0}'")]
    Over(RunStatus),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Look which processes runs have started and that are alive, by their groups.
///
/// Sender: API, dashboard. Handler: the run supervisor. Answer: the groups, by name.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ProcessGroup>")]
pub struct ReadProcesses;

/// Kill a process group that a run has started. Its phase has failed then.
///
/// Sender: API, dashboard. Handler: the run supervisor. Answer: whether there was one of this name.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct KillProcess {
    /// Its name, see [`ProcessGroup::name`].
    pub name: String,
}

/// A question was asked. A nudge: the gate keeper reads from the store when it has to look after which.
///
/// Sender: a runner, after its commit. Handler: the gate keeper. Answer: nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct GatesChanged;

/// Tells one runner to kill what it runs and to end its run as cancelled.
///
/// Sender: the run supervisor. Handler: the runner of that run. Answer: nothing.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Abort {
    /// Written into the run's error.
    pub reason: String,
}
