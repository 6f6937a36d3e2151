//! Workflow runs: one actor per live run, started by the supervisor. Knows the workflows; never a connector or the store.

mod census;
mod checkout;
mod command;
mod config;
mod environment;
mod exchange;
mod facts;
mod gate;
mod gatekeeper;
mod graph;
mod ledger;
mod leftovers;
mod log;
mod loops;
mod marks;
mod nodes;
mod phase;
mod process;
mod resume;
mod runner;
mod say;
mod story;
mod supervisor;
mod veil;
mod workbench;

pub use config::{LifeEvents, RunDoors, RunsConfig, Runtime};
pub use gatekeeper::{GateDoors, GateKeeper};
pub use supervisor::RunSupervisor;
