//! `firstlight audit …`: shows the audit log, asking the server; and proves that nobody changed it, from a database file alone.

use std::path::PathBuf;
use std::process::ExitCode;

use actors::store::sqlite::{Proof, verify_audit};
use clap::{Args, Subcommand};
use serde_json::json;

use super::api::{Output, run as ask, table};
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
    /// Show who did what, newest first
    #[command(
        after_help = "Examples:\n  firstlight audit list --who ann\n  firstlight audit list --action login --since 2026-01-31T00:00:00Z --json"
    )]
    List(ListArgs),
}

/// Which lines to show.
#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// Only what they did
    #[arg(long)]
    who: Option<String>,
    /// Only this: login, run, approval, …
    #[arg(long)]
    action: Option<String>,
    /// Only of this: a run id, a workflow, …
    #[arg(long)]
    target: Option<String>,
    /// Only from this time on, as in 2026-01-31T09:30:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Go on before this one: the `nextCursor` of the page before
    #[arg(long, value_name = "NUMBER")]
    cursor: Option<i64>,
    #[command(flatten)]
    output: Output,
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
    match command {
        AuditCommand::Verify(args) => verify(args, sources),
        AuditCommand::List(args) => list(args, sources),
    }
}

fn list(args: &ListArgs, sources: &Sources) -> ExitCode {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    let cursor = args.cursor.map(|cursor| cursor.to_string());
    for (key, value) in [
        ("who", &args.who),
        ("action", &args.action),
        ("target", &args.target),
        ("since", &args.since),
        ("until", &args.until),
        ("cursor", &cursor),
    ] {
        if let Some(value) = value {
            query.append_pair(key, value);
        }
    }
    let path = format!("/admin/api/audit?{}", query.finish());
    ask(
        sources,
        args.output,
        async |api| api.get(&path).await,
        |answer| {
            let columns = [
                ("no", "seq"),
                ("at", "at"),
                ("who", "who"),
                ("from", "from"),
                ("action", "action"),
                ("target", "target"),
                ("result", "result"),
            ];
            table(&answer["audit"], &columns, "there is no such line")
        },
    )
}

fn verify(args: &VerifyArgs, sources: &Sources) -> ExitCode {
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
