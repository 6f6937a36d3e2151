//! `firstlight audit verify`: proves that nobody changed the audit log. Reads a database file; needs no server.

use std::path::PathBuf;
use std::process::ExitCode;

use actors::store::sqlite::{Proof, verify_audit};
use clap::{Args, Subcommand};
use serde_json::json;

use super::exit;
use crate::settings::{Settings, Sources};

/// `firstlight audit …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum AuditCommand {
    /// Follow the chain of hashes through the whole audit log; exit 1 where it is broken
    #[command(
        after_help = "Examples:\n  firstlight audit verify\n  firstlight audit verify --database backup/firstlight.db --json"
    )]
    Verify(VerifyArgs),
}

/// What to verify.
#[derive(Debug, Clone, Args)]
pub(super) struct VerifyArgs {
    /// The database, or a copy of it [default: the one in the state folder]
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &AuditCommand, sources: &Sources) -> ExitCode {
    let AuditCommand::Verify(args) = command;
    let path = match &args.database {
        Some(path) => path.clone(),
        None => match Settings::load(sources) {
            Ok(loaded) => loaded.settings.state_dir.join("firstlight.db"),
            Err(mistakes) => return super::report(&mistakes),
        },
    };
    let proof = match verify_audit(&path) {
        Ok(proof) => proof,
        Err(error) => {
            eprintln!("firstlight: {error}");
            return ExitCode::from(exit::RUNTIME);
        }
    };
    let file = path.display().to_string();
    match proof {
        Proof::Whole { rows, last } => {
            if args.json {
                println!("{}", json!({ "whole": true, "file": file, "rows": rows, "last": last }));
            } else {
                println!("the audit log of {file} is whole: {rows} rows, the last hash is {last}");
                println!("keep that hash elsewhere: rows that are cut off the end show only against it");
            }
            ExitCode::SUCCESS
        }
        Proof::Broken { row, why } => {
            if args.json {
                println!("{}", json!({ "whole": false, "file": file, "row": row, "why": why }));
            } else {
                println!("the audit log of {file} is broken at row {row}: {why}");
            }
            ExitCode::from(exit::RUNTIME)
        }
    }
}
