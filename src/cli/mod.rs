//! The command line, one command per file. Asks the server over HTTP or boots it; holds no rule of its own.
pub mod config;
