//! What the tools take: strict shapes, and the rules of their values. Pure; each refusal names the input and the limit.

use actors::domain::{Channel, Decision, IntegrationEvent, Notification, Priority, Secret};
use actors::messages::integrations::EmitWebhookEvent;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ToolFault, known};

/// Rows of a page unless the caller asks for fewer or more.
const PAGE: usize = 50;
/// Rows of a page at most.
const PAGE_LIMIT: usize = 200;

/// Nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Input of `integration_webhook_register`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// Where to deliver: an http or https URL, at most 2,048 characters. One that is registered already is updated.
    pub(crate) url: String,
    /// Names of events (session.start, session.end, task.created, task.completed, roadmap.exported, task.sync, error). Empty, or with `*`: all.
    #[serde(default)]
    pub(crate) events: Option<Vec<String>>,
    /// Signs the deliveries; at most 1,024 bytes. Omitted: as it is; empty: no signature from now on.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

/// Input of `integration_webhook_delete`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delete {
    /// The webhook's id, as the list shows it.
    #[serde(rename = "webhookId", alias = "webhook_id")]
    pub(crate) webhook_id: String,
}

/// Input of a rotation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// The new secret; omitted: one is drawn.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

/// Input of `integration_git_auto_commit_set`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GitSet {
    /// Whether anything is committed. Omitted: as it is.
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
    /// On which events. Omitted: as it is.
    #[serde(default)]
    pub(crate) on_events: Option<Vec<String>>,
}

/// Input of `integration_notify`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notify {
    /// slack, discord, email or webhook.
    #[schemars(extend("enum" = names(Channel::ALL)))]
    pub(crate) channel: String,
    /// The text, 1 to 10,000 characters.
    pub(crate) message: String,
    /// low, normal (the default), high or critical.
    #[serde(default)]
    #[schemars(extend("enum" = names_or_null(Priority::ALL)))]
    pub(crate) priority: Option<String>,
    /// Where to post it (slack, discord, webhook). Omitted: stored only, or sent to the endpoint of the settings.
    #[serde(default)]
    pub(crate) webhook_url: Option<String>,
    /// Handed on as they are: `attachments` for slack and webhook, `embeds` for discord. At most 100.
    #[serde(default)]
    pub(crate) attachments: Option<Vec<Value>>,
    /// Milliseconds for one attempt, 100 to 30000; 5000 if omitted.
    #[serde(default)]
    #[schemars(with = "Option<i64>", range(min = 100, max = 30_000))]
    pub(crate) timeout_ms: Option<Value>,
    /// Attempts after the first, 0 to 10; 3 if omitted.
    #[serde(default)]
    #[schemars(with = "Option<i64>", range(min = 0, max = 10))]
    pub(crate) retry_count: Option<Value>,
}

/// Input of `integration_emit_event`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Emit {
    /// session.start, session.end, task.created, task.completed, roadmap.exported, task.sync or error.
    #[serde(rename = "eventName", alias = "event_name")]
    #[schemars(extend("enum" = names(IntegrationEvent::ALL)))]
    pub(crate) event_name: String,
    /// A JSON object; empty if omitted.
    #[serde(default)]
    pub(crate) payload: Option<Map<String, Value>>,
}

/// A call of another tool.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCall {
    /// Name of the tool.
    pub(crate) tool: String,
    /// What it was called with.
    #[serde(default)]
    pub(crate) args: Value,
    /// What it answered.
    #[serde(default)]
    pub(crate) result: Value,
}

/// An id.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Id {
    /// The id, as the list shows it.
    pub(crate) id: String,
}

/// Input of `runs_list`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Runs {
    /// Only of this workflow.
    pub(crate) workflow: Option<String>,
    /// Only about this repository, owner/name.
    pub(crate) repo: Option<String>,
    /// queued, running, paused, succeeded, failed or cancelled.
    pub(crate) status: Option<String>,
    /// The `next` of the page before.
    pub(crate) before: Option<i64>,
    /// Rows, 1 to 200; 50 if omitted.
    #[schemars(range(min = 1, max = 200))]
    pub(crate) limit: Option<i64>,
}

/// Input of `events_list`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Events {
    /// Only of this repository, owner/name.
    pub(crate) repo: Option<String>,
    /// The `next` of the page before.
    pub(crate) before: Option<i64>,
    /// Rows, 1 to 200; 50 if omitted.
    #[schemars(range(min = 1, max = 200))]
    pub(crate) limit: Option<i64>,
}

/// Input of `approvals_list`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Approvals {
    /// pending (the default), approved, rejected, lapsed or all.
    pub(crate) status: Option<String>,
    /// The `next` of the page before.
    pub(crate) before: Option<i64>,
    /// Rows, 1 to 200; 50 if omitted.
    #[schemars(range(min = 1, max = 200))]
    pub(crate) limit: Option<i64>,
}

/// Input of `deliveries_list`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deliveries {
    /// pending, in_flight, done, dead or undeliverable.
    pub(crate) state: Option<String>,
    /// Only to this webhook.
    #[serde(rename = "webhookId", alias = "webhook_id", alias = "webhook")]
    pub(crate) webhook_id: Option<String>,
    /// Only of this event.
    pub(crate) event: Option<String>,
    /// The `next` of the page before.
    pub(crate) before: Option<i64>,
    /// Rows, 1 to 200; 50 if omitted.
    #[schemars(range(min = 1, max = 200))]
    pub(crate) limit: Option<i64>,
}

/// Input of `approval_respond`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Respond {
    /// The question's id, as the list shows it.
    #[serde(rename = "approvalId", alias = "approval_id")]
    pub(crate) approval_id: String,
    /// approved or rejected.
    #[schemars(extend("enum" = names(Decision::ALL)))]
    pub(crate) decision: String,
    /// Why, or the answer in words.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// Input of `workflow_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowRun {
    /// Name of the workflow.
    pub(crate) workflow: String,
    /// What the run starts with: `repo`, `issueNumber`, … With `repos`, one run for each of them.
    #[serde(default)]
    pub(crate) context: Option<Map<String, Value>>,
}

/// Input of `cron_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CronRun {
    /// Name of the schedule, as `crons_list` shows it.
    pub(crate) cron: String,
}

/// The values of a closed list, for a schema.
fn names<T: std::fmt::Display>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// The same for an input that may be left out.
fn names_or_null<T: std::fmt::Display>(all: &[T]) -> Vec<Option<String>> {
    names(all).into_iter().map(Some).chain([None]).collect()
}

/// Reads an input strictly. What is wrong is named by its path.
pub(crate) fn parsed<T: DeserializeOwned>(args: Value) -> Result<T, ToolFault> {
    let args = match args {
        Value::Null => Value::Object(Map::new()),
        // A list would be taken as the values of a shape in their order.
        args @ Value::Object(_) => args,
        _ => return Err(ToolFault::Invalid("the input must be a JSON object".to_owned())),
    };
    serde_path_to_error::deserialize(args).map_err(|error| {
        let path = error.path().to_string();
        // A number or a text of others may be long; the rule that it breaks is not.
        let words = cut(&error.inner().to_string());
        let field = if path == "." {
            String::new()
        } else {
            format!("{path}: ")
        };
        ToolFault::Invalid(format!("{field}{words}"))
    })
}

/// The notification that this input stands for.
pub(crate) fn notification(input: Notify) -> Result<Notification, ToolFault> {
    let channel = known("channel", &input.channel, Channel::ALL, Channel::from_text)?;
    let priority = match &input.priority {
        None => Priority::Normal,
        Some(text) => known("priority", text, Priority::ALL, Priority::from_text)?,
    };
    let within = |field: &str, value: Option<Value>, least: i64, most: i64, usual: i64| match value {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => value
            .as_i64()
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| {
                let words = cut(&value.to_string());
                ToolFault::Invalid(format!("{field}: must be {least} to {most}, not {words}"))
            }),
    };
    let timeout_ms = within("timeout_ms", input.timeout_ms, 100, 30_000, 5_000)?;
    let retry_count = within("retry_count", input.retry_count, 0, 10, 3)?;
    Ok(Notification {
        channel,
        message: input.message,
        priority,
        webhook_url: input.webhook_url.filter(|url| !url.is_empty()).map(Secret::new),
        attachments: input.attachments.unwrap_or_default(),
        timeout_ms: timeout_ms.unsigned_abs(),
        retry_count: u32::try_from(retry_count).unwrap_or(0),
    })
}

/// The event that this input stands for.
pub(crate) fn emit(input: Emit) -> Result<EmitWebhookEvent, ToolFault> {
    Ok(EmitWebhookEvent {
        name: known(
            "eventName",
            &input.event_name,
            IntegrationEvent::ALL,
            IntegrationEvent::from_text,
        )?,
        payload: Value::Object(input.payload.unwrap_or_default()),
    })
}

/// How many rows a page has.
pub(crate) fn page(asked: Option<i64>) -> Result<usize, ToolFault> {
    let Some(limit) = asked else { return Ok(PAGE) };
    usize::try_from(limit)
        .ok()
        .filter(|rows| (1..=PAGE_LIMIT).contains(rows))
        .ok_or_else(|| ToolFault::Invalid(format!("limit: must be 1 to {PAGE_LIMIT}, not {limit}")))
}

/// A text of others, short enough for an answer and a log.
pub(crate) fn cut(text: &str) -> String {
    if text.chars().count() <= 200 {
        return text.to_owned();
    }
    text.chars().take(200).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused<T: DeserializeOwned + std::fmt::Debug>(args: Value) -> String {
        parsed::<T>(args).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        assert_eq!(
            refused::<Register>(json!({ "url": "http://a", "events": ["error", 7] })),
            "events[1]: invalid type: integer `7`, expected a string"
        );
        assert_eq!(refused::<Delete>(json!({})), "missing field `webhookId`");
        assert!(refused::<Emit>(json!({ "eventName": "error", "colour": 1 })).contains("unknown field `colour`"));
        assert!(refused::<Emit>(json!({ "eventName": "error", "payload": [] })).starts_with("payload: "));
        assert!(refused::<Nothing>(json!({ "x": "y".repeat(10_000) })).len() < 400);
        for shapeless in [json!("text"), json!(["http://a", ["error"]]), json!(7)] {
            assert_eq!(refused::<Register>(shapeless), "the input must be a JSON object");
        }
    }

    #[test]
    fn a_page_has_its_limits() {
        assert_eq!((page(None), page(Some(1)), page(Some(200))), (Ok(50), Ok(1), Ok(200)));
        for bad in [0, -1, 201, i64::MIN, i64::MAX] {
            let words = page(Some(bad)).expect_err("refused").to_string();
            assert_eq!(words, format!("limit: must be 1 to 200, not {bad}"));
        }
    }

    #[test]
    fn notifications_have_the_contracts_defaults_and_limits() {
        let notify = |more: Value| {
            let mut args = json!({ "channel": "slack", "message": "hi" });
            args.as_object_mut()
                .expect("an object")
                .extend(more.as_object().expect("an object").clone());
            parsed::<Notify>(args).and_then(notification)
        };
        let usual = notify(json!({})).expect("taken");
        assert_eq!(
            (usual.timeout_ms, usual.retry_count, usual.priority),
            (5_000, 3, Priority::Normal)
        );
        for (more, words) in [
            (json!({ "retry_count": -1 }), "retry_count: must be 0 to 10, not -1"),
            (json!({ "retry_count": 11 }), "retry_count: must be 0 to 10, not 11"),
            (json!({ "timeout_ms": 99 }), "timeout_ms: must be 100 to 30000, not 99"),
            (
                json!({ "timeout_ms": 30_001 }),
                "timeout_ms: must be 100 to 30000, not 30001",
            ),
            (
                json!({ "timeout_ms": 1e30 }),
                "timeout_ms: must be 100 to 30000, not 1e+30",
            ),
            (
                json!({ "retry_count": "three" }),
                "retry_count: must be 0 to 10, not \"three\"",
            ),
            (
                json!({ "priority": "asap" }),
                "priority: \"asap\" is unknown; known are low, normal, high, critical",
            ),
            (
                json!({ "channel": "pager" }),
                "channel: \"pager\" is unknown; known are slack, discord, email, webhook",
            ),
        ] {
            assert_eq!(notify(more).expect_err("refused").to_string(), words);
        }
        let error = parsed::<Emit>(json!({ "eventName": "task.done" }))
            .and_then(emit)
            .expect_err("unknown");
        assert!(
            error.to_string().contains("session.start, session.end, task.created"),
            "{error}"
        );
    }
}
