//! `firstlight tokens …`: tokens for programs and agents. Asks the server; holds no rule.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::api::{Output, run as ask, table};
use super::client::Method;
use crate::settings::Sources;

const TOKENS: &str = "/admin/api/tokens";

/// `firstlight tokens …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum TokensCommand {
    /// Make one; it is shown this once
    #[command(after_help = "Example:\n  firstlight tokens create ci --scope operate --days 30")]
    Create {
        /// What it is for
        label: String,
        /// What it may do: read, operate or admin
        #[arg(long, default_value = "operate", value_parser = ["read", "operate", "admin"])]
        scope: String,
        /// How many days it is good for [default: 90]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=366))]
        days: Option<u16>,
        #[command(flatten)]
        output: Output,
    },
    /// List those that are worth something, sessions of browsers too
    #[command(after_help = "Example:\n  firstlight tokens list --all --json")]
    List {
        /// Show those that ran out or were revoked as well
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Take one back; whoever shows it from now on is refused
    #[command(after_help = "Example:\n  firstlight tokens revoke 01890a5d-ac96-774b-bcce-b302099a8057")]
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(command: &TokensCommand, sources: &Sources) -> ExitCode {
    match command {
        TokensCommand::Create {
            label,
            scope,
            days,
            output,
        } => {
            let wish = json!({ "label": label, "scope": scope, "days": days });
            ask(
                sources,
                *output,
                async |api| api.post(TOKENS, &wish).await,
                // The token alone, so that `TOKEN=$(firstlight tokens create …)` works.
                |answer| answer["token"].as_str().unwrap_or_default().to_owned(),
            )
        }
        TokensCommand::List { all, output } => {
            let path = format!("{TOKENS}?state={}", if *all { "all" } else { "live" });
            ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| {
                    let columns = [
                        ("id", "id"),
                        ("label", "label"),
                        ("who", "who"),
                        ("method", "method"),
                        ("scope", "scope"),
                        ("expires", "expiresAt"),
                        ("last used", "lastUsedAt"),
                        ("revoked", "revokedAt"),
                    ];
                    table(
                        &answer["tokens"],
                        &columns,
                        "no tokens; make one with: firstlight tokens create LABEL",
                    )
                },
            )
        }
        TokensCommand::Revoke { id, output } => {
            let path = format!("{TOKENS}/{id}");
            ask(
                sources,
                *output,
                async |api| api.ask(Method::DELETE, &path, None).await,
                |_| "revoked".into(),
            )
        }
    }
}
