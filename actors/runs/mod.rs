//! Workflow runs: one actor per live run, started by the supervisor. Knows the workflows; never a connector or the store.

mod config;
mod environment;
mod facts;
mod gate;
mod leftovers;
mod log;
mod phase;
mod process;
mod resume;
mod runner;
mod say;
mod supervisor;

pub use config::{LifeEvents, RunDoors, RunsConfig, Runtime};
pub use supervisor::RunSupervisor;
