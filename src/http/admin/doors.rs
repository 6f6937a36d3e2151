//! What the admin API may say besides what every route may. Doors only; holds no rule.

use actix::Recipient;
use actors::messages::dispatch::{EventArrived, TryRoute};
use actors::messages::github::TryDelivery;
use actors::messages::house::{AwaitQuiet, Ping};
use actors::messages::library::ReadPrompts;
use actors::messages::runs::{KillProcess, ReadProcesses};
use actors::messages::store::{
    ListExecutions, ListSessions, ReadHours, ReadLines, ReadSession, ReadTotals, ReplayEvent, RunWorkflows,
};

/// An actor, for whoever wants to know how it does.
pub(crate) struct Station {
    pub(crate) name: &'static str,
    /// How many messages may wait for it.
    pub(crate) capacity: usize,
    pub(crate) quiet: Recipient<AwaitQuiet>,
    pub(crate) ping: Recipient<Ping>,
}

/// The doors of the operators' desk.
pub(crate) struct Desk {
    pub(crate) try_delivery: Recipient<TryDelivery>,
    pub(crate) rehearse: Recipient<TryRoute>,
    pub(crate) arrived: Recipient<EventArrived>,
    pub(crate) prompts: Recipient<ReadPrompts>,
    pub(crate) processes: Recipient<ReadProcesses>,
    pub(crate) kill: Recipient<KillProcess>,
    /// Every actor that works for the whole house.
    pub(crate) stations: Vec<Station>,
    pub(crate) replay: Recipient<ReplayEvent>,
    pub(crate) executions: Recipient<ListExecutions>,
    pub(crate) run_workflows: Recipient<RunWorkflows>,
    pub(crate) sessions: Recipient<ListSessions>,
    pub(crate) session: Recipient<ReadSession>,
    pub(crate) lines: Recipient<ReadLines>,
    pub(crate) hours: Recipient<ReadHours>,
    pub(crate) totals: Recipient<ReadTotals>,
}
