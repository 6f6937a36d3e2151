//! `firstlight deliveries …`: what went out to webhooks and notification endpoints, and how. Asks the server; holds no rule.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::api::{Output, more, path, query, run as ask, table};
use super::desk::Paging;
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
        /// Only of this event or channel
        #[arg(long, value_name = "NAME")]
        event: Option<String>,
        #[command(flatten)]
        page: Paging,
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
            event,
            page,
            output,
        } => {
            let [limit, before] = page.pairs();
            let path = query(
                "/admin/api/deliveries",
                &[
                    ("state", state.clone()),
                    ("webhook", webhook.clone()),
                    ("event", event.clone()),
                    limit,
                    before,
                ],
            );
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
                    table(&answer["deliveries"], &columns, "no deliveries") + &more(answer)
                },
            )
        }
        DeliveriesCommand::Show { id, output } => {
            let path = path("/admin/api/deliveries", id, "");
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
            let path = path("/admin/api/deliveries", id, "/redeliver");
            ask(
                sources,
                *output,
                async |api| api.post(&path, &json!({})).await,
                |answer| format!("it is {}", answer["state"].as_str().unwrap_or_default()),
            )
        }
    }
}
