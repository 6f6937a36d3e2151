//! Which workflow an event deserves, and whether it may start. Knows the workflows; never a connector or the store.

mod admission;
mod chat;
mod commands;
mod dispatcher;
mod retry;
mod router;

pub use admission::{Ask, House, admit};
pub use chat::COMMANDS as CHAT_COMMANDS;
pub use commands::{Command, Heard, hear};
pub use dispatcher::{Dispatcher, DispatcherDoors, DispatcherRules};
pub use router::{Gates, GithubRoutes, Route, Routes, SlackRoutes, Target, route};
