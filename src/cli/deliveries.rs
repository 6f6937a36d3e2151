//! `firstlight deliveries …`: what went out to webhooks and notification endpoints, and how. Asks the server; holds no rule.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::api::{Output, run as ask, table};
use crate::settings::Sources;

/// `firstlight deliveries …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum DeliveriesCommand {
    /// List them, newest first
    #[command(after_help = "Example:\n  firstlight deliveries list --state dead")]
    List {
        /// pending, in_flight, done, dead or undeliverable
        #[arg(long)]
        state: Option<String>,
        /// Only to this webhook
        #[arg(long, value_name = "ID")]
        webhook: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        output: Output,
    },
    /// Show one with every attempt
    #[command(after_help = "Example:\n  firstlight deliveries show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Try one again, under the same id
    #[command(after_help = "Example:\n  firstlight deliveries redeliver 01890a5d-ac96-774b-bcce-b302099a8057")]
    Redeliver {
        /// Its id
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(command: &DeliveriesCommand, sources: &Sources) -> ExitCode {
    match command {
        DeliveriesCommand::List {
            state,
            webhook,
            limit,
            output,
        } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            for (key, value) in [("state", state), ("webhook", webhook)] {
                if let Some(value) = value {
                    query.append_pair(key, value);
                }
            }
            let path = format!("/admin/api/deliveries?{}", query.finish());
            ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| {
                    let columns = [
                        ("id", "id"),
                        ("what", "topic"),
                        ("state", "state"),
                        ("attempts", "attempts"),
                        ("http", "httpStatus"),
                        ("created", "createdAt"),
                        ("last error", "lastError"),
                    ];
                    table(&answer["deliveries"], &columns, "no deliveries")
                },
            )
        }
        DeliveriesCommand::Show { id, output } => {
            let path = format!("/admin/api/deliveries/{id}");
            ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| {
                    let delivery = &answer["delivery"];
                    let text = |key: &str| delivery[key].as_str().unwrap_or_default().to_owned();
                    let columns = [
                        ("attempt", "attempt"),
                        ("started", "startedAt"),
                        ("outcome", "outcome"),
                        ("http", "httpStatus"),
                        ("ms", "durationMs"),
                        ("error", "error"),
                    ];
                    format!(
                        "{} {} is {}\n\n{}\n\n{}",
                        text("topic"),
                        text("id"),
                        text("state"),
                        table(&delivery["attemptLog"], &columns, "no attempt was made yet"),
                        text("body")
                    )
                },
            )
        }
        DeliveriesCommand::Redeliver { id, output } => {
            let path = format!("/admin/api/deliveries/{id}/redeliver");
            ask(
                sources,
                *output,
                async |api| api.post(&path, &json!({})).await,
                |answer| format!("it is {}", answer["state"].as_str().unwrap_or_default()),
            )
        }
    }
}
