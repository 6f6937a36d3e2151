//! The library: workflow files are read again when they change, and taken up where they are good. Knows messages and the
//! workflows' pure rules; never a run.

mod librarian;
mod watch;

pub use librarian::{Librarian, LibraryRules};
