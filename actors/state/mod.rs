//! The integrations' state: `integrations.json`, its shape, its rules and its one writer. Alone writes that file; knows domain, messages, clock and diagnostics.

mod file;
mod lock;
mod look;
mod normalize;
mod registry;
mod shape;
mod writer;

pub use look::{Look, LookedAt, look};
pub use normalize::{normalize_state, normalize_url};
pub use shape::State;
pub use writer::{StateConfig, StateWriter};
