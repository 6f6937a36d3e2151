//! Slack: events in over Socket Mode, messages out through the Web API. Knows domain, messages, messaging and clock; no other connector.

mod hear;
mod manifest;
mod socket;
mod web;

pub use manifest::manifest;
pub use web::{Identity, SlackFault, SlackWeb, SlackWebConfig};
