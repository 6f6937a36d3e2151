//! Parse, call, exit code. Nothing else lives here.
fn main() {}
