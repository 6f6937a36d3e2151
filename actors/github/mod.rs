//! GitHub: what comes in through the webhook and what goes out through the API. Knows domain, messages and clock; never another connector.

mod connector;
mod normalize;
mod verify;

pub use connector::{GithubConnector, GithubRules};
pub use normalize::{NotTaken, Taken, normalize};
pub use verify::{SignatureKeys, sign};
