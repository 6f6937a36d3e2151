//! What the tools answer, as JSON Schema: the keys that a caller may count on. Others may stand beside them. Pure.

use actors::domain::{
    ApprovalStatus, Channel, DeliveryStatus, EffectState, EventState, EventType, IntegrationEvent, Priority, RunStatus,
};
use serde_json::{Map, Value, json};

/// An object: keys that are always there, and keys that may be.
fn object(always: Value, sometimes: Value) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    if let Value::Object(always) = always {
        required.extend(always.keys().cloned());
        properties.extend(always);
    }
    if let Value::Object(sometimes) = sometimes {
        properties.extend(sometimes);
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn yes_or_no() -> Value {
    json!({ "type": "boolean" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn one_of<T: Copy + std::fmt::Display>(all: &[T]) -> Value {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    json!({ "type": "string", "enum": all })
}

/// A page of rows; `next` is null on the last one.
fn page(rows: &str, row: Value, more: Value) -> Value {
    let mut always = Map::new();
    always.insert(rows.to_owned(), list(row));
    always.insert("next".to_owned(), json!({ "type": ["integer", "null"] }));
    if let Value::Object(more) = more {
        always.extend(more);
    }
    object(Value::Object(always), json!({}))
}

pub(super) fn state() -> Value {
    let notification = object(
        json!({ "id": text(), "channel": one_of(Channel::ALL), "message": text(), "priority": one_of(Priority::ALL),
            "delivered": yes_or_no(), "created_at": text() }),
        json!({ "meta": { "type": "object" } }),
    );
    // As the file has it: what another version of the service wrote there is shown, too.
    let git = object(json!({ "enabled": yes_or_no(), "on_events": list(text()) }), json!({}));
    object(
        json!({ "version": { "type": "integer" }, "updated_at": text(), "webhooks": webhooks(), "git_auto_commit": git,
            "notifications": list(notification) }),
        json!({}),
    )
}

fn webhook() -> Value {
    object(
        json!({ "id": text(), "url": text(), "events": list(text()), "has_secret": yes_or_no(), "created_at": text(),
            "updated_at": text() }),
        json!({}),
    )
}

pub(super) fn webhooks() -> Value {
    list(webhook())
}

pub(super) fn registered() -> Value {
    object(json!({ "created": yes_or_no(), "webhook": webhook() }), json!({}))
}

pub(super) fn removed() -> Value {
    object(json!({ "removed": yes_or_no(), "webhook_id": text() }), json!({}))
}

pub(super) fn git() -> Value {
    object(
        json!({ "enabled": yes_or_no(), "on_events": list(one_of(IntegrationEvent::ALL)) }),
        json!({}),
    )
}

fn report() -> Value {
    object(
        json!({ "url": text(), "status": one_of(DeliveryStatus::ALL), "attempts": count(), "duration_ms": count(),
            "delivery_id": text() }),
        json!({ "webhook_id": text(), "http_status": count(), "error": text() }),
    )
}

pub(super) fn notified() -> Value {
    object(
        json!({ "success": yes_or_no(), "notification_id": text(), "delivered": yes_or_no(), "channel": one_of(Channel::ALL),
            "priority": one_of(Priority::ALL), "delivery": { "anyOf": [report(), { "type": "null" }] } }),
        json!({}),
    )
}

pub(super) fn emitted() -> Value {
    object(
        json!({ "sent": count(), "failed": count(), "skipped": count(), "deliveries": list(report()) }),
        json!({}),
    )
}

fn run_row() -> Value {
    object(
        json!({ "id": text(), "workflow": text(), "subject": text(), "status": one_of(RunStatus::ALL), "createdAt": text() }),
        json!({ "repo": text(), "issueNumber": count(), "currentPhase": text(), "error": text() }),
    )
}

pub(super) fn runs() -> Value {
    page("runs", run_row(), json!({ "total": count() }))
}

pub(super) fn run() -> Value {
    let phase = object(
        json!({ "phase": text(), "kind": text(), "attempt": count(), "status": text() }),
        json!({ "output": text(), "reason": text() }),
    );
    object(
        json!({ "run": run_row(), "context": { "type": "object" }, "phases": list(phase) }),
        json!({}),
    )
}

pub(super) fn events() -> Value {
    let event = object(
        json!({ "id": text(), "type": one_of(EventType::ALL), "state": one_of(EventState::ALL), "timestamp": text() }),
        json!({ "repo": text(), "outcome": text(), "runId": text() }),
    );
    page("events", event, json!({}))
}

pub(super) fn approvals() -> Value {
    let approval = object(
        json!({ "id": text(), "workflowRunId": text(), "workflow": text(), "subject": text(),
            "status": one_of(ApprovalStatus::ALL) }),
        json!({}),
    );
    page("approvals", approval, json!({}))
}

fn delivery_row() -> (Value, Value) {
    (
        json!({ "id": text(), "topic": text(), "state": one_of(EffectState::ALL), "attempts": count(), "createdAt": text() }),
        json!({ "webhookId": text(), "httpStatus": count(), "lastError": text(), "dueAt": text(), "settledAt": text() }),
    )
}

pub(super) fn deliveries() -> Value {
    let (always, sometimes) = delivery_row();
    page("deliveries", object(always, sometimes), json!({}))
}

pub(super) fn delivery() -> Value {
    let attempt = object(
        json!({ "attempt": count(), "startedAt": text() }),
        json!({ "outcome": text(), "httpStatus": count(), "error": text() }),
    );
    let (mut always, sometimes) = delivery_row();
    always["attemptLog"] = list(attempt);
    object(json!({ "delivery": object(always, sometimes) }), json!({}))
}

pub(super) fn responded() -> Value {
    object(
        json!({ "status": text() }),
        json!({ "run": text(), "approved": count(), "needed": count() }),
    )
}

pub(super) fn started() -> Value {
    object(
        json!({ "workflow": text(), "executionIds": list(text()), "joined": yes_or_no() }),
        json!({}),
    )
}

pub(super) fn crons() -> Value {
    let maybe = || json!({ "type": ["string", "null"] });
    let cron = object(
        json!({ "name": text(), "workflow": text(), "schedule": text(), "timezone": text(), "enabled": yes_or_no() }),
        json!({ "nextRun": maybe(), "lastRun": maybe(), "lastStatus": maybe(), "reason": maybe(), "recentFailures": count() }),
    );
    object(json!({ "crons": list(cron) }), json!({}))
}

pub(super) fn fired() -> Value {
    object(json!({ "cron": text(), "firing": count() }), json!({}))
}
