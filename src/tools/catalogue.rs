//! The list of tools: name, words, inputs, and what a call may change. Pure.

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{inputs, outputs};

/// What a token may do. Later ones include the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Start, stop, answer, send, register.
    Operate,
    /// Everything.
    Admin,
}

impl Scope {
    /// As it is written in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Read, Self::Operate, Self::Admin]
            .into_iter()
            .find(|scope| scope.as_str() == text)
    }
}

/// A tool.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// What it is called by; never changes.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// What it does and answers, for whoever has to choose.
    pub description: &'static str,
    /// What a caller's token must allow.
    pub scope: Scope,
    /// Whether a call may take something away.
    pub destructive: bool,
    /// Whether a second call with the same input changes nothing more.
    pub idempotent: bool,
    /// Whether it reaches beyond this service.
    pub open_world: bool,
    /// Whether it needs the store or the outbox, and not only the state of the integrations.
    pub needs_house: bool,
    input: fn(&mut SchemaGenerator) -> schemars::Schema,
    output: fn() -> Value,
}

impl Tool {
    /// JSON Schema of its input.
    #[must_use]
    pub fn input_schema(&self) -> Value {
        let mut generator = schemars::generate::SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let mut schema = (self.input)(&mut generator).to_value();
        if let Some(schema) = schema.as_object_mut() {
            // An agent that knows no inputs still needs to be told that there are none.
            schema
                .entry("properties")
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        schema
    }

    /// JSON Schema of its answer.
    #[must_use]
    pub fn output_schema(&self) -> Value {
        (self.output)()
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    T::json_schema(generator)
}

/// Every tool: the eight of the seed document first, unchanged in name and input.
pub const CATALOGUE: &[Tool] = &[
    Tool {
        name: "integrations_state",
        title: "State of the integrations",
        description: "Get full integrations state: webhooks (without secrets), git auto-commit and the last notifications.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: false,
        input: of::<inputs::Nothing>,
        output: outputs::state,
    },
    Tool {
        name: "integration_webhook_list",
        title: "List webhooks",
        description: "List webhooks: id, url, events, has_secret, created_at, updated_at. Secrets are never shown.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: false,
        input: of::<inputs::Nothing>,
        output: outputs::webhooks,
    },
    Tool {
        name: "integration_webhook_register",
        title: "Register a webhook",
        description: "Register or update a webhook. One with the same URL is updated, never doubled. Answers { created, webhook }.",
        scope: Scope::Operate,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: false,
        input: of::<inputs::Register>,
        output: outputs::registered,
    },
    Tool {
        name: "integration_webhook_delete",
        title: "Delete a webhook",
        description: "Delete a webhook. Answers { removed, webhook_id }; removed is false where there was none.",
        scope: Scope::Operate,
        destructive: true,
        idempotent: true,
        open_world: false,
        needs_house: false,
        input: of::<inputs::Delete>,
        output: outputs::removed,
    },
    Tool {
        name: "integration_git_auto_commit_get",
        title: "Git auto-commit settings",
        description: "Get git auto-commit config: { enabled, on_events }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: false,
        input: of::<inputs::Nothing>,
        output: outputs::git,
    },
    Tool {
        name: "integration_git_auto_commit_set",
        title: "Change git auto-commit",
        description: "Update git auto-commit config. What is omitted stays. Answers { enabled, on_events }.",
        scope: Scope::Operate,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: false,
        input: of::<inputs::GitSet>,
        output: outputs::git,
    },
    Tool {
        name: "integration_notify",
        title: "Send a notification",
        description: "Send a notification to slack, discord, email or a webhook and keep it in the history. \
                      Answers { success, notification_id, delivered, channel, priority, delivery }.",
        scope: Scope::Operate,
        destructive: false,
        idempotent: false,
        open_world: true,
        needs_house: true,
        input: of::<inputs::Notify>,
        output: outputs::notified,
    },
    Tool {
        name: "integration_emit_event",
        title: "Emit an event",
        description: "Fire webhooks for an event. Answers { sent, failed, skipped, deliveries[] } after the first attempts; \
                      what failed and may succeed later is tried again for days.",
        scope: Scope::Operate,
        destructive: false,
        idempotent: false,
        open_world: true,
        needs_house: true,
        input: of::<inputs::Emit>,
        output: outputs::emitted,
    },
    Tool {
        name: "runs_list",
        title: "List runs",
        description: "List workflow runs, newest first: { runs, next, total }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Runs>,
        output: outputs::runs,
    },
    Tool {
        name: "run_get",
        title: "One run",
        description: "Show one workflow run with its context and phases: { run, context, phases }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Id>,
        output: outputs::run,
    },
    Tool {
        name: "events_list",
        title: "List events",
        description: "List accepted events, newest first: { events, next }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Events>,
        output: outputs::events,
    },
    Tool {
        name: "approvals_list",
        title: "List approvals",
        description: "List questions that wait for a person (or others by status), newest first: { approvals, next }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Approvals>,
        output: outputs::approvals,
    },
    Tool {
        name: "deliveries_list",
        title: "List deliveries",
        description: "List deliveries to webhooks and notification endpoints, newest first: { deliveries, next }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Deliveries>,
        output: outputs::deliveries,
    },
    Tool {
        name: "delivery_get",
        title: "One delivery",
        description: "Show one delivery with its body and every attempt: { delivery }.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Id>,
        output: outputs::delivery,
    },
    Tool {
        name: "approval_respond",
        title: "Answer a question",
        description: "Approve or reject what waits for a person. The first answer counts; a second one is told so.",
        scope: Scope::Operate,
        destructive: true,
        idempotent: false,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Respond>,
        output: outputs::responded,
    },
    Tool {
        name: "workflow_run",
        title: "Start a workflow",
        description: "Start a workflow: { workflow, executionIds, joined }. A run of the same workflow about the same subject is joined.",
        scope: Scope::Operate,
        destructive: false,
        idempotent: false,
        open_world: true,
        needs_house: true,
        input: of::<inputs::WorkflowRun>,
        output: outputs::started,
    },
    Tool {
        name: "crons_list",
        title: "Schedules",
        description: "List what fires by the clock: { crons }, each with when it fires next, how it went last, and why it does not fire.",
        scope: Scope::Read,
        destructive: false,
        idempotent: true,
        open_world: false,
        needs_house: true,
        input: of::<inputs::Nothing>,
        output: outputs::crons,
    },
    Tool {
        name: "cron_run",
        title: "Fire a schedule now",
        description: "Fire a schedule now, beside its times: { cron, firing }, the firing's number in its history.",
        scope: Scope::Operate,
        destructive: false,
        idempotent: false,
        open_world: true,
        needs_house: true,
        input: of::<inputs::CronRun>,
        output: outputs::fired,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_eight_come_first_with_their_inputs() {
        let seed: [(&str, &[&str]); 8] = [
            ("integrations_state", &[]),
            ("integration_webhook_list", &[]),
            ("integration_webhook_register", &["url", "events", "secret"]),
            ("integration_webhook_delete", &["webhookId"]),
            ("integration_git_auto_commit_get", &[]),
            ("integration_git_auto_commit_set", &["enabled", "on_events"]),
            (
                "integration_notify",
                &[
                    "channel",
                    "message",
                    "priority",
                    "webhook_url",
                    "attachments",
                    "timeout_ms",
                    "retry_count",
                ],
            ),
            ("integration_emit_event", &["eventName", "payload"]),
        ];
        for (tool, (name, keys)) in CATALOGUE.iter().zip(seed) {
            assert_eq!(tool.name, name);
            let schema = tool.input_schema();
            assert_eq!(schema["type"], "object", "{schema}");
            assert_eq!(schema["additionalProperties"], false, "{name}: {schema}");
            let properties = schema["properties"].as_object().expect("an object");
            assert_eq!(properties.keys().collect::<Vec<_>>(), keys, "{name}");
        }
    }

    #[test]
    fn every_input_is_described_and_every_name_is_unique() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|tool| tool.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        for tool in CATALOGUE {
            let schema = tool.input_schema();
            for (key, property) in schema["properties"].as_object().expect("an object") {
                assert!(property["description"].is_string(), "{}.{key}: {property}", tool.name);
            }
            assert!(
                !schema.to_string().contains("$ref"),
                "{}: an agent would have to look it up",
                tool.name
            );
            assert!(tool.scope == Scope::Read || !tool.description.is_empty());
        }
    }
}
