//! Workflow files: read, checked, rendered. Pure but for reading folders; knows no actor.

mod check;
mod expression;
mod graph;
mod json_schema;
mod load;
mod not_yet;
mod pattern;
mod prompts;
mod reader;
mod schema;
pub mod template;

pub use check::{INTERNAL_TARGETS, Route, Setup, check};
pub use expression::{Expression, ExpressionError, MAX_EXPRESSION, Name};
pub use json_schema::json_schema;
pub use load::{Catalog, MAX_FILE, Reloaded, SharedCatalog, load, load_for, reload};
pub use pattern::{MAX_PATTERN, Pattern};
pub use prompts::prompts;
pub use reader::{MAX_DEADLINE, MAX_TIMEOUT};
// How files are read and tables of keys are walked, for schedules as well.
pub(crate) use json_schema::Shape;
pub(crate) use load::{ScheduleFile, schedule_files, whole_file};
pub(crate) use reader::{Asset, Assets, Reader};
pub(crate) use schema::{EVERY, Grammar, Key, key, names};
pub use schema::{KeyOfGrammar, MAX_PHASES, MAX_ROUNDS, keys};

#[cfg(test)]
mod grammar_tests;
#[cfg(test)]
mod tests;
