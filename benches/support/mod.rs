//! What the benchmark stands on: load, processes, a filled store, a table. Knows the outside of the service only.

pub(crate) mod fill;
pub(crate) mod load;
pub(crate) mod processes;
pub(crate) mod table;
