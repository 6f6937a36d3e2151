//! What people were told in chat and by mail, and a form to tell them something. Reads only; the API sends.

use actors::domain::{Channel, Priority};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::Value;

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Row, Tone};
use crate::http::problem::Problem;

/// `/admin/notifications`.
pub(crate) async fn list(visit: Visit) -> Result<Sheet, Problem> {
    let state = visit.doors.tools.state().await?;
    let all = state["notifications"].as_array().cloned().unwrap_or_default();
    let content = html! {
        (parts::heading("Notifications", html! { "What was told in chat, by mail or to a webhook: the last 200." }, html! {}))
        (parts::live("notifications", "notification", html! {
            @if all.is_empty() {
                (parts::empty("Nobody was told anything yet", html! {
                    "Workflows, failing crons and the form below send notifications. On the command line it is "
                    code { "firstlight notify slack 'The build is red'" } "."
                }))
            } @else {
                (table(&all))
            }
        }))
        @if visit.may_change() { (send(&visit)) }
    };
    Ok(visit.sheet(Section::Notifications, "Notifications", content))
}

fn table(all: &[Value]) -> Markup {
    let rows = all.iter().rev().map(|one| {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let at = text("created_at").parse::<DateTime<Utc>>();
        Row {
            href: None,
            cells: vec![
                html! { (parts::shortened(&text("message"), 160)) },
                html! { (parts::foreign(text("channel"))) },
                priority(&text("priority")),
                match one["delivered"].as_bool() {
                    Some(true) => parts::badge(Tone::Good, "delivered"),
                    _ => parts::badge(Tone::Quiet, "kept here only"),
                },
                match at {
                    Ok(at) => parts::time(at),
                    Err(_) => parts::foreign(text("created_at")),
                },
            ],
        }
    });
    parts::table(
        "Notifications",
        &["Message", "Channel", "Priority", "Delivered", "When"],
        rows,
    )
}

fn priority(of: &str) -> Markup {
    match Priority::from_text(of) {
        Some(Priority::Critical) => parts::badge(Tone::Bad, "critical"),
        Some(Priority::High) => parts::badge(Tone::Waiting, "high"),
        Some(Priority::Low) => parts::badge(Tone::Quiet, "low"),
        Some(Priority::Normal) => parts::badge(Tone::Quiet, "normal"),
        None => parts::foreign(of),
    }
}

fn send(visit: &Visit) -> Markup {
    let content = parts::form(
        &visit.url("/api/integrations/notify"),
        "It was handed over.",
        "",
        html! {
            (parts::field("message", "Message", "", html! {
                textarea #message name="message" required maxlength="10000" data-search="" {}
            }))
            (parts::field("channel", "Channel", "", html! {
                select #channel name="channel" {
                    @for channel in Channel::ALL { option value=(channel.as_str()) { (channel.as_str()) } }
                }
            }))
            (parts::field("priority", "Priority", "", html! {
                select #priority name="priority" {
                    @for one in Priority::ALL { option value=(one.as_str()) selected[*one == Priority::Normal] { (one.as_str()) } }
                }
            }))
            (parts::field("webhook_url", "URL", "For slack, discord and webhook. Without one it goes where the settings say, or is kept here only.", html! {
                input #webhook_url type="url" name="webhook_url" autocomplete="off" aria-describedby="webhook_url-help";
            }))
            div.buttons { button.primary type="submit" { "Send" } }
        },
    );
    parts::card("Tell somebody", html! {}, content)
}
