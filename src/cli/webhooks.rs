//! `firstlight webhooks …`: the endpoints that hear of events. Asks the server; holds no rule.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::api::{Output, path, run as ask, table};
use super::client::Method;
use crate::settings::Sources;

const WEBHOOKS: &str = "/api/integrations/webhooks";

/// `firstlight webhooks …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum WebhooksCommand {
    /// List them, without their secrets
    #[command(after_help = "Example:\n  firstlight webhooks list --json")]
    List(Output),
    /// Register one, or update the one with the same URL
    #[command(
        after_help = "Example:\n  firstlight webhooks register https://example.com/hook --event task.completed --event error --secret \"$SECRET\""
    )]
    Register {
        /// An http or https URL
        url: String,
        /// An event that it hears of; several times for several [default: all]
        #[arg(long = "event", value_name = "NAME")]
        events: Vec<String>,
        /// Signs its deliveries; an empty one stops that
        #[arg(long, env = "FIRSTLIGHT_WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Delete one
    #[command(after_help = "Example:\n  firstlight webhooks delete 01890a5d-ac96-774b-bcce-b302099a8057")]
    Delete(One),
    /// Give one a new secret, which is shown this once; for a day the old one signs, too
    #[command(after_help = "Example:\n  firstlight webhooks rotate 01890a5d-ac96-774b-bcce-b302099a8057")]
    Rotate(One),
    /// Send one a test delivery
    #[command(after_help = "Example:\n  firstlight webhooks ping 01890a5d-ac96-774b-bcce-b302099a8057")]
    Ping(One),
    /// Switch one on; a test delivery decides
    #[command(after_help = "Example:\n  firstlight webhooks enable 01890a5d-ac96-774b-bcce-b302099a8057")]
    Enable(One),
    /// Switch one off
    #[command(after_help = "Example:\n  firstlight webhooks disable 01890a5d-ac96-774b-bcce-b302099a8057")]
    Disable(One),
    /// Show how each one does
    #[command(after_help = "Example:\n  firstlight webhooks health")]
    Health(Output),
}

/// One webhook.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct One {
    /// Its id
    id: String,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(command: &WebhooksCommand, sources: &Sources) -> ExitCode {
    match command {
        WebhooksCommand::List(output) => ask(
            sources,
            *output,
            async |api| api.get(WEBHOOKS).await,
            |list| {
                let columns = [
                    ("id", "id"),
                    ("url", "url"),
                    ("events", "events"),
                    ("signed", "has_secret"),
                ];
                table(
                    list,
                    &columns,
                    "no webhooks; register one with: firstlight webhooks register URL",
                )
            },
        ),
        WebhooksCommand::Health(output) => {
            let path = format!("{WEBHOOKS}/health");
            ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| {
                    let columns = [
                        ("webhook", "webhookId"),
                        ("on", "enabled"),
                        ("delivered", "delivered"),
                        ("failed", "failed"),
                        ("failing since", "failingSince"),
                        ("last error", "lastError"),
                    ];
                    table(&answer["webhooks"], &columns, "nothing was delivered yet")
                },
            )
        }
        WebhooksCommand::Register {
            url,
            events,
            secret,
            output,
        } => {
            let mut wish = Map::new();
            wish.insert("url".into(), json!(url));
            if !events.is_empty() {
                wish.insert("events".into(), json!(events));
            }
            if let Some(secret) = secret {
                wish.insert("secret".into(), json!(secret));
            }
            let wish = Value::Object(wish);
            ask(
                sources,
                *output,
                async |api| api.post(WEBHOOKS, &wish).await,
                |answer| {
                    let what = if answer["created"] == true {
                        "registered"
                    } else {
                        "updated"
                    };
                    let id = answer["webhook"]["id"].as_str().unwrap_or_default();
                    format!("{what} {id}")
                },
            )
        }
        WebhooksCommand::Delete(one) => {
            let path = path(WEBHOOKS, &one.id, "");
            ask(
                sources,
                one.output,
                async |api| api.ask(Method::DELETE, &path, None).await,
                |answer| {
                    if answer["removed"] == true {
                        "deleted".into()
                    } else {
                        "there was none of this id".into()
                    }
                },
            )
        }
        WebhooksCommand::Rotate(one) => act(sources, one, "rotate", |answer| {
            format!("the new secret: {}", answer["secret"].as_str().unwrap_or_default())
        }),
        WebhooksCommand::Ping(one) => act(sources, one, "ping", report_line),
        WebhooksCommand::Enable(one) => act(sources, one, "enable", switched),
        WebhooksCommand::Disable(one) => act(sources, one, "disable", switched),
    }
}

fn act(sources: &Sources, one: &One, what: &str, human: impl FnOnce(&Value) -> String) -> ExitCode {
    let path = path(WEBHOOKS, &one.id, &format!("/{what}"));
    ask(
        sources,
        one.output,
        async |api| api.post(&path, &json!({})).await,
        human,
    )
}

fn switched(answer: &Value) -> String {
    if answer["enabled"] == true {
        "it is on".into()
    } else {
        "it is off".into()
    }
}

/// One delivery in a line.
pub(super) fn report_line(report: &Value) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    let error = match text("error") {
        words if words.is_empty() => String::new(),
        words => format!(": {words}"),
    };
    format!(
        "{} {} after {} attempts in {} ms{error}",
        text("status"),
        text("url"),
        report["attempts"],
        report["duration_ms"]
    )
}
