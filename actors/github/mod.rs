//! GitHub: what comes in through the webhook and what goes out through the API. Knows domain, messages and clock; never another connector.

mod app_auth;
pub mod client;
mod connector;
mod diagnose;
#[cfg(test)]
mod diagnose_tests;
mod limits;
mod marker;
mod normalize;
mod probe;
mod rewrite;
mod verify;
mod wire;

pub use app_auth::{AppCredentials, Credentials, KeyFault, permissions};
pub use client::{GithubClient, GithubClientConfig};
pub use connector::{GithubConnector, GithubRules};
pub use diagnose::{Cause, HeaderFault, Refused, SecretFault, diagnose};
pub use normalize::{NotTaken, Taken, normalize};
pub use probe::{GithubProbe, Said};
pub use verify::{SignatureKeys, sign};
