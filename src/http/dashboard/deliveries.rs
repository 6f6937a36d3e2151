//! What leaves: deliveries to webhooks and chat channels, each with every attempt. Reads only; the API delivers again.

use actix_web::web::{Path, Query};
use actors::domain::{
    DeliveryAttempt, DeliveryDetail, DeliveryFilter, DeliveryRow, EffectState, IntegrationEvent, WebhookSummary,
};
use actors::messages::integrations::ListWebhooks;
use actors::messages::store::{ListDeliveries, ReadDelivery};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Act, Row, Tone};
use crate::http::problem::Problem;

/// Rows of one page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    state: Option<String>,
    webhook: Option<String>,
    event: Option<String>,
    before: Option<i64>,
}

/// `/admin/deliveries`.
pub(crate) async fn list(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let Some(house) = visit.doors.tools.house.clone() else {
        return Err(Problem::gone());
    };
    let webhooks = visit.doors.tools.state.webhooks.send(ListWebhooks).await?;
    // A state file that cannot be read keeps nobody from looking at what was sent.
    let webhooks = webhooks.unwrap_or_default();
    let filter = DeliveryFilter {
        state: asked.state.as_deref().and_then(EffectState::from_text),
        webhook: asked.webhook.clone().filter(|id| !id.is_empty()),
        event: asked.event.as_deref().and_then(IntegrationEvent::from_text),
        before: asked.before,
        limit: PAGE,
    };
    let filtered = filter.state.is_some() || filter.webhook.is_some() || filter.event.is_some();
    let page = house.deliveries.send(ListDeliveries(filter)).await??;
    let content = html! {
        (parts::heading("Deliveries", html! { "What was sent to webhooks and chat channels, and how that went." }, html! {
            a.button href=(visit.url("/admin/webhooks")) { "Webhooks" }
        }))
        (parts::filters(&visit.url("/admin/deliveries"), html! {
            (parts::choice("state", "State", "Every state",
                EffectState::ALL.iter().map(|state| (state.as_str(), parts::Standing::words(state))), asked.state.as_deref()))
            (parts::choice("webhook", "Webhook", "Every webhook",
                webhooks.iter().map(|one| (one.id.as_str(), one.url.as_str())), asked.webhook.as_deref()))
            (parts::choice("event", "Event", "Every event",
                IntegrationEvent::ALL.iter().map(|event| (event.as_str(), event.as_str())), asked.event.as_deref()))
        }))
        (parts::live("deliveries", "delivery webhook", html! {
            @if page.items.is_empty() && filtered {
                (parts::empty("Nothing fits", html! {
                    a href=(visit.url("/admin/deliveries")) { "Show all deliveries" }
                }))
            } @else if page.items.is_empty() {
                (parts::empty("Nothing was sent yet", html! {
                    "Register a " a href=(visit.url("/admin/webhooks")) { "webhook" } " and it is told of each event that it wants, or send a "
                    a href=(visit.url("/admin/notifications")) { "notification" } "."
                }))
            } @else {
                (table(&visit, &page.items, &webhooks))
                (parts::pager(&visit, page.next))
            }
        }))
    };
    Ok(visit.sheet(Section::Deliveries, "Deliveries", content))
}

fn table(visit: &Visit, deliveries: &[DeliveryRow], webhooks: &[WebhookSummary]) -> Markup {
    let rows = deliveries.iter().map(|one| Row {
        href: Some(visit.url(&format!("/admin/deliveries/{}", one.id))),
        cells: vec![
            html! {
                (parts::foreign(&one.topic))
                @if let (false, Some(error)) = (one.state == EffectState::Done, &one.last_error) { span.under { (parts::shortened(error, 100)) } }
            },
            target(one, webhooks),
            parts::state(&one.state),
            html! { (one.attempts) @if let Some(status) = one.http_status { " · " (status) } },
            parts::time(one.created_at),
            match one.due_at {
                Some(due) => html! { "again " (parts::time(due)) },
                None => html! { span.quiet { "–" } },
            },
        ],
    });
    parts::table(
        "Deliveries",
        &["Event", "To", "State", "Attempts", "Recorded", "Next"],
        rows,
    )
}

fn target(one: &DeliveryRow, webhooks: &[WebhookSummary]) -> Markup {
    match &one.webhook_id {
        None => html! { span.quiet { "a notification" } },
        Some(id) => match webhooks.iter().find(|webhook| webhook.id == *id) {
            Some(webhook) => parts::shortened(&webhook.url, 60),
            None => html! { span.quiet { "a webhook that was deleted" } },
        },
    }
}

/// `/admin/deliveries/{id}`.
pub(crate) async fn one(visit: Visit, id: Path<String>) -> Result<Sheet, Problem> {
    let Some(house) = visit.doors.tools.house.clone() else {
        return Err(Problem::gone());
    };
    let found = house.delivery.send(ReadDelivery { id: id.into_inner() }).await??;
    let Some(delivery) = found else {
        return Err(Problem::not_found("delivery not found"));
    };
    let webhooks = visit
        .doors
        .tools
        .state
        .webhooks
        .send(ListWebhooks)
        .await?
        .unwrap_or_default();
    let row = &delivery.row;
    let again = Act {
        label: "Deliver again",
        url: visit.url(&format!("/admin/api/deliveries/{}/redeliver", row.id)),
        body: json!({}),
        confirm: match row.state {
            EffectState::Done => "It was taken already. The receiver gets the same id again and may act on it twice.",
            _ => "",
        },
        done: "It is tried again now.",
        then: String::new(),
        class: "primary",
    };
    let content = html! {
        (parts::heading(html! { "Delivery of " (parts::foreign(&row.topic)) }, html! { "to " (target(row, &webhooks)) }, html! {
            @if visit.may_change() { (parts::act(&again)) }
        }))
        (parts::live("delivery", "delivery", html! {
            @if let (EffectState::Dead, Some(error)) = (row.state, &row.last_error) {
                (parts::note(Tone::Bad, html! { p { strong { "Given up. " } (parts::foreign(error)) } }))
            }
            @if row.state == EffectState::Undeliverable {
                (parts::note(Tone::Waiting, html! {
                    p { strong { "Nothing is configured that could send it. " } "Set that up and deliver it again." }
                }))
            }
            (parts::card("In short", html! {}, facts(&visit, &delivery)))
            (attempts(&delivery.attempt_log))
            @if let Some(body) = &delivery.body {
                (parts::card("Request body", html! { span.quiet.small { (parts::size(body.len() as u64)) } }, parts::code("Request body", &pretty(body))))
            }
        }))
    };
    Ok(visit.sheet(Section::Deliveries, format!("Delivery of {}", row.topic), content))
}

fn facts(visit: &Visit, delivery: &DeliveryDetail) -> Markup {
    let row = &delivery.row;
    let mut facts = vec![
        ("State", parts::state(&row.state)),
        ("Id", html! { code { (row.id) } " " (parts::copy(&row.id)) }),
        ("Attempts", html! { (row.attempts) }),
        ("Recorded", parts::time(row.created_at)),
    ];
    if let Some(due) = row.due_at {
        facts.push(("Tried again", parts::time(due)));
    }
    if let Some(at) = row.settled_at {
        facts.push(("Settled", parts::time(at)));
    }
    if let Some(id) = &row.webhook_id {
        facts.push((
            "Webhook",
            html! { a href=(visit.url(&format!("/admin/deliveries?webhook={id}"))) { "All deliveries to it" } },
        ));
    }
    parts::facts(facts)
}

fn attempts(log: &[DeliveryAttempt]) -> Markup {
    if log.is_empty() {
        return parts::empty("Not tried yet", html! { "It waits for its turn." });
    }
    let rows = log.iter().rev().map(|attempt| Row {
        href: None,
        cells: vec![
            html! { (attempt.attempt) },
            parts::time(attempt.started_at),
            outcome(attempt),
            html! { @match attempt.http_status { Some(status) => (status), None => span.quiet { "–" } } },
            html! { @match attempt.duration_ms { Some(ms) => { (ms) " ms" }, None => span.quiet { "–" } } },
            html! {
                @if let Some(error) = &attempt.error { (parts::shortened(error, 160)) }
                @if let Some(excerpt) = attempt.excerpt.as_ref().filter(|text| !text.is_empty()) {
                    details data-keep={ "answer-" (attempt.attempt) } {
                        summary { "What it answered" }
                        (parts::code("Answer", excerpt))
                    }
                }
            },
        ],
    });
    parts::card(
        "Attempts",
        html! {},
        parts::table(
            "Attempts, the latest first",
            &["No.", "Begun", "Outcome", "Status", "Took", "Answer"],
            rows,
        ),
    )
}

fn outcome(attempt: &DeliveryAttempt) -> Markup {
    match attempt.outcome.as_deref() {
        None => parts::badge(Tone::Busy, "under way"),
        Some("done") => parts::badge(Tone::Good, "taken"),
        Some("retry") => parts::badge(Tone::Waiting, "failed, tried again"),
        Some("dead") => parts::badge(Tone::Bad, "given up"),
        Some("interrupted") => parts::badge(Tone::Waiting, "cut off by a stop of the service"),
        Some("undeliverable") => parts::badge(Tone::Waiting, "nothing to send it with"),
        Some(_) => parts::badge(Tone::Quiet, "other"),
    }
}

/// Indented where it is JSON. What was signed are the bytes as they were sent; this is for reading.
fn pretty(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(value) => parts::json(&value),
        Err(_) => body.to_owned(),
    }
}
