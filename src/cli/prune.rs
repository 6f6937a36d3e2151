//! `firstlight prune`: removes what is old enough while no service runs, which does it by itself, and says what would go.

use std::process::ExitCode;

use actors::clock::{Clock, SystemClock};
use actors::store::sqlite::{compact, prunable, room};
use clap::Args;
use serde_json::{Map, Value, json};

use super::exit;
use crate::boot;
use crate::settings::{Loaded, Settings, Sources};

/// `firstlight prune`.
#[derive(Debug, Clone, Args)]
pub(super) struct PruneArgs {
    /// Only say how much would go by age; a service may run meanwhile
    #[arg(long)]
    dry_run: bool,
    /// Also write the database anew, as small as it can be
    #[arg(long, conflicts_with = "dry_run")]
    compact: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PruneArgs, sources: &Sources) -> ExitCode {
    let loaded = match Settings::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return super::report(&mistakes),
    };
    let done = if args.dry_run {
        dry_run(&loaded)
    } else {
        sweep(&loaded, args.compact)
    };
    match done {
        Ok(told) => {
            if args.json {
                println!("{told}");
            } else {
                for (what, n) in told.as_object().into_iter().flatten() {
                    println!("{what:<14} {n}");
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("firstlight: {error:#}");
            ExitCode::from(exit::RUNTIME)
        }
    }
}

fn dry_run(loaded: &Loaded) -> anyhow::Result<Value> {
    let path = loaded.settings.state_dir.join("firstlight.db");
    let cutoffs = boot::retention_rules(&loaded.settings).cutoffs(SystemClock.now());
    let counted = prunable(&path, &cutoffs)?;
    let mut told: Map<_, _> = counted
        .into_iter()
        .map(|(what, n)| (what.to_string(), json!(n)))
        .collect();
    let room = room(&path)?;
    told.insert("used".into(), json!(room.used));
    told.insert("free".into(), json!(room.free));
    if !room.shrinks {
        eprintln!(
            "the database cannot give its free room back; `firstlight prune --compact` mends that while the service is stopped"
        );
    }
    Ok(told.into())
}

fn sweep(loaded: &Loaded, anew: bool) -> anyhow::Result<Value> {
    let clock = SystemClock::shared();
    let (swept, only_one) = actix_rt::System::new().block_on(boot::sweep(loaded, &clock))?;
    let rows = swept.rows.iter().map(|(what, n)| (what.to_string(), json!(n)));
    let mut told: Map<_, _> = rows.collect();
    told.insert("logs".into(), json!(swept.logs));
    told.insert("bytes".into(), json!(swept.given_back));
    if anew {
        let (before, after) = compact(&loaded.settings.state_dir.join("firstlight.db"))?;
        told.insert("bytes".into(), json!(swept.given_back + before.saturating_sub(after)));
    }
    drop(only_one);
    Ok(told.into())
}
