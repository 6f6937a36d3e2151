//! Workflow files: read, checked, rendered. Pure but for reading folders; knows no actor.

mod check;
mod expression;
mod load;
mod not_yet;
mod pattern;
mod schema;
pub mod template;

pub use check::{INTERNAL_TARGETS, Route, Setup, check};
pub use expression::{Expression, ExpressionError, MAX_EXPRESSION, Name};
pub use load::{Catalog, MAX_FILE, SharedCatalog, load};
pub use pattern::{MAX_PATTERN, Pattern};
pub use schema::{MAX_PHASES, MAX_TIMEOUT, keys, later_keys};

#[cfg(test)]
mod tests;
