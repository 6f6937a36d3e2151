//! Workflow runs: one actor per live run, started by the supervisor. Knows the workflows; never a connector or the store.

mod checkout;
mod command;
mod config;
mod environment;
mod exchange;
mod facts;
mod gate;
mod gatekeeper;
mod leftovers;
mod log;
mod phase;
mod process;
mod resume;
mod runner;
mod say;
mod supervisor;
mod veil;
mod workbench;

pub use config::{RunDoors, RunsConfig, Runtime};
pub use gatekeeper::{GateDoors, GateKeeper};
pub use supervisor::RunSupervisor;
