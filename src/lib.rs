//! The outside of Firstlight: the binary's doors to people and machines. Holds no rule of the inside.

pub mod boot;
pub mod cli;
pub mod demo;
mod doors;
pub mod fixtures;
pub mod http;
pub mod logging;
pub mod mcp;
mod secrets;
pub mod settings;
mod telemetry;
pub mod tools;
