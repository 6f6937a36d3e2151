//! `firstlight notify` and `firstlight emit`: tell people, tell webhooks. Asks the server; holds no rule.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::api::{Output, run as ask};
use super::exit;
use super::webhooks::report_line;
use crate::settings::Sources;

/// `firstlight notify`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NotifyArgs {
    /// slack, discord, email or webhook
    channel: String,
    /// The text
    message: String,
    /// low, normal, high or critical
    #[arg(long)]
    priority: Option<String>,
    /// Where to post it [default: the endpoint in the settings; without one it is stored only]
    #[arg(long, env = "FIRSTLIGHT_NOTIFY_URL", hide_env_values = true)]
    webhook_url: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// `firstlight emit`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct EmitArgs {
    /// session.start, session.end, task.created, task.completed, roadmap.exported, task.sync or error
    event: String,
    /// Its payload, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    payload: String,
    #[command(flatten)]
    output: Output,
}

pub(super) fn notify(args: &NotifyArgs, sources: &Sources) -> ExitCode {
    let mut wish = Map::new();
    wish.insert("channel".into(), json!(args.channel));
    wish.insert("message".into(), json!(args.message));
    for (key, value) in [("priority", &args.priority), ("webhook_url", &args.webhook_url)] {
        if let Some(value) = value {
            wish.insert(key.into(), json!(value));
        }
    }
    let wish = Value::Object(wish);
    ask(
        sources,
        args.output,
        async |api| api.post("/api/integrations/notify", &wish).await,
        |answer| {
            let id = answer["notification_id"].as_str().unwrap_or_default();
            match (&answer["delivery"], answer["delivered"] == true) {
                (Value::Null, false) => format!("stored as {id}; there is nowhere to send it"),
                (Value::Null, true) => format!("sent as {id}"),
                (delivery, _) => format!("{id}: {}", report_line(delivery)),
            }
        },
    )
}

pub(super) fn emit(args: &EmitArgs, sources: &Sources) -> ExitCode {
    let payload: Value = match serde_json::from_str(&args.payload) {
        Ok(payload) => payload,
        Err(error) => {
            eprintln!("firstlight: --payload is no JSON: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    let wish = json!({ "eventName": args.event, "payload": payload });
    ask(
        sources,
        args.output,
        async |api| api.post("/api/integrations/emit", &wish).await,
        |answer| {
            let mut lines = vec![format!(
                "{} sent, {} failed, {} skipped",
                answer["sent"], answer["failed"], answer["skipped"]
            )];
            lines.extend(answer["deliveries"].as_array().into_iter().flatten().map(report_line));
            lines.join("\n")
        },
    )
}
