//! What the benchmark stands on: load, processes, a filled store, a table. Knows the outside of the service only.

pub(crate) mod fill;
pub(crate) mod load;
pub(crate) mod processes;
#[expect(dead_code, reason = "the tests ask more of the stand-in than the benchmark does")]
#[path = "../../tests/it/support/slack.rs"]
pub(crate) mod slack;
pub(crate) mod table;
