//! Parse, call, exit code. Nothing else lives here.

use std::process::ExitCode;

fn main() -> ExitCode {
    firstlight::cli::main()
}
