//! Slack: events in over Socket Mode, messages out through the Web API. Knows domain, messages, messaging and clock; no other connector.

mod connector;
mod hear;
mod manifest;
mod missed;
mod names;
mod sender;
mod socket;
mod web;

pub use connector::{SlackConnector, SlackDoors};
pub use manifest::{SCOPES, manifest};
pub use sender::SlackSender;
pub use web::{Identity, SlackFault, SlackWeb, SlackWebConfig};

/// What our buttons are called on the way back.
const APPROVE: &str = "approval_approve";
const REJECT: &str = "approval_reject";
