//! The inside of Firstlight: everything after bytes became a message. Knows no HTTP route and no command line.

pub mod changes;
pub mod clock;
pub mod connectors;
pub mod cron;
pub mod diagnostics;
pub mod dispatch;
pub mod domain;
mod folders;
pub mod github;
pub mod house;
pub mod library;
pub mod messages;
pub mod messaging;
pub mod outbound;
pub mod retention;
pub mod runs;
pub mod slack;
pub mod state;
pub mod store;
pub mod system;
pub mod traces;
pub mod workflows;
pub mod yaml;
