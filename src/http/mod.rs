//! The HTTP server: requests become messages, answers become bytes. Holds no rule of the inside.

mod admin;
mod api;
mod auth;
mod body;
mod dashboard;
mod doorway;
mod github;
mod health;
mod idempotency;
mod integrations;
mod knocks;
mod mcp;
mod metrics;
mod openapi;
mod problem;
mod proxies;
mod routes;
mod server;
mod span;
mod sse;
mod wish;

pub use auth::{Admin, Claims, OAuthApp, SignIn, Tokens};
pub use body::BodyBudget;
pub use metrics::collect as collect_metrics;
pub use proxies::{ForwardedIn, TrustedProxies};
pub use server::{HttpDoor, HttpDoors, HttpShared};
