//! Who is told of events: webhooks with their health, and the automatic commits. Reads only; the API changes.

use actors::domain::{IntegrationEvent, WebhookHealth, WebhookSummary};
use actors::messages::integrations::{GetGitAutoCommitConfig, ListWebhooks};
use actors::messages::store::WebhookStats;
use maud::{Markup, html};
use serde_json::json;

use super::assets;
use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Act, Tone};
use crate::http::problem::Problem;

/// `/admin/webhooks`.
pub(crate) async fn list(visit: Visit) -> Result<Sheet, Problem> {
    let state = &visit.doors.tools.state;
    let webhooks = state.webhooks.send(ListWebhooks).await?;
    let git = state.git_auto_commit.send(GetGitAutoCommitConfig).await?;
    let health = visit.doors.webhook_stats.send(WebhookStats).await??;
    let content = html! {
        (parts::heading("Webhooks", html! { "Endpoints that are told of events with a signed request, and how each of them does." }, html! {
            a.button href=(visit.url("/admin/deliveries")) { "Deliveries" }
        }))
        div.stack data-module=(visit.url(&assets::path("once.js"))) {
            (parts::live("webhooks", "webhook", html! {
                @match &webhooks {
                    Err(error) => (parts::note(Tone::Bad, html! { p { (parts::foreign(parts::sentence(&error.to_string()))) } })),
                    Ok(webhooks) if webhooks.is_empty() => (parts::empty("Nobody is told yet", html! {
                        "Register an endpoint below. It gets a POST with a signature for each event that it wants."
                    })),
                    Ok(webhooks) => @for webhook in webhooks { (endpoint(&visit, webhook, &health)) },
                }
            }))
            @if visit.may_change() { (register(&visit)) }
            @if let Ok(git) = git { (commits(&visit, git.enabled, &git.on_events)) }
        }
    };
    Ok(visit.sheet(Section::Webhooks, "Webhooks", content))
}

fn endpoint(visit: &Visit, webhook: &WebhookSummary, health: &[WebhookHealth]) -> Markup {
    let health = health.iter().find(|one| one.webhook_id == webhook.id);
    let enabled = health.is_none_or(|health| health.enabled);
    let failing = health.and_then(|health| health.failing_since);
    let api = |what: &str| visit.url(&format!("/api/integrations/webhooks/{}{what}", webhook.id));
    let act = |label, what, confirm, done, class| {
        parts::act(&Act {
            label,
            url: api(what),
            body: json!({}),
            confirm,
            done,
            then: String::new(),
            class,
        })
    };
    html! {
        section.card id={ "webhook-" (webhook.id) } {
            header {
                h2 { (parts::shortened(&webhook.url, 90)) }
                @match (enabled, failing) {
                    (false, _) => (parts::badge(Tone::Bad, "switched off")),
                    (true, Some(_)) => (parts::badge(Tone::Waiting, "failing")),
                    (true, None) => (parts::badge(Tone::Good, "on")),
                }
            }
            div.inside.stack {
                @if let Some(reason) = health.and_then(|health| health.disabled_reason.as_ref()) {
                    (parts::note(Tone::Bad, html! { p { (parts::foreign(parts::sentence(reason))) } }))
                }
                @if let Some(error) = health.and_then(|health| health.last_error.as_ref()) {
                    (parts::note(Tone::Waiting, html! { p { "The last attempt: " (parts::shortened(error, 300)) } }))
                }
                (parts::facts([
                    ("Events", html! { @if webhook.events.iter().any(|event| event == "*") { "all" } @else { (webhook.events.join(", ")) } }),
                    ("Signed", html! { @if webhook.has_secret { "yes" } @else { "no; give it a secret" } }),
                    ("Taken", html! { (parts::number(health.map_or(0, |health| health.delivered))) }),
                    ("Failed", html! { (parts::number(health.map_or(0, |health| health.failed))) }),
                    ("Last taken", match health.and_then(|health| health.last_ok_at) {
                        Some(at) => parts::time(at),
                        None => html! { span.quiet { "never" } },
                    }),
                    ("Id", html! { code { (webhook.id) } " " (parts::copy(&webhook.id)) }),
                ]))
                div.buttons {
                    a.button href=(visit.url(&format!("/admin/deliveries?webhook={}", webhook.id))) { "Deliveries" }
                    @if visit.may_change() {
                        (act("Send a ping", "/ping", "", "The ping was {status} after {duration_ms} ms. {error}", ""))
                        form data-api=(api("/rotate")) data-reveal="secret" data-done="The secret was changed."
                            data-confirm="Deliveries are signed with the new secret and, for a day, with the old one as well. Give the new one to the receiver." {
                            button type="submit" { "New secret" }
                            p.trouble role="alert" {}
                        }
                        @if enabled {
                            (act("Switch off", "/disable", "It is told of nothing until it is switched on again.", "It is switched off.", ""))
                        } @else {
                            (act("Switch on", "/enable", "", "It is switched on.", ""))
                        }
                        button.danger type="button" data-api=(api("")) data-method="DELETE"
                            data-confirm={ "Nothing is sent to " (webhook.url) " any more. Its deliveries stay in the list." }
                            data-done="It is gone." { "Delete" }
                    }
                }
            }
        }
    }
}

fn register(visit: &Visit) -> Markup {
    parts::card(
        "Register a webhook",
        html! {},
        html! {
            form.form data-api=(visit.url("/api/integrations/webhooks")) data-done="The webhook is registered." data-reset="" {
                (parts::field("url", "URL", "http or https. Addresses inside your network are refused unless outbound.allow names them.", html! {
                    input #url type="url" name="url" required placeholder="https://example.com/hooks/firstlight" aria-describedby="url-help" data-search="";
                }))
                fieldset {
                    legend { "Events" }
                    p.help { "None chosen means all of them." }
                    @for event in IntegrationEvent::ALL {
                        label.check { input type="checkbox" name="events" value=(event.as_str()) data-as="member"; (event.as_str()) }
                    }
                }
                (parts::field("secret", "Secret", "Signs each request, so that the receiver knows it is from here. It is not shown again.", html! {
                    div.actions {
                        input.grow #secret type="text" name="secret" autocomplete="off" spellcheck="false" aria-describedby="secret-help";
                        button type="button" data-generate="secret" { "Make one up" }
                    }
                }))
                div.buttons { button.primary type="submit" { "Register" } }
                p.trouble role="alert" {}
            }
        },
    )
}

fn commits(visit: &Visit, enabled: bool, on_events: &[IntegrationEvent]) -> Markup {
    let content = html! {
        form.form data-api=(visit.url("/api/integrations/git-auto-commit")) data-method="PUT" data-done="Saved." {
            p.quiet {
                "After these events, what changed in the paths of " code { "git_auto_commit.paths" } " is committed to "
                code { "git_auto_commit.repository" } "."
            }
            label.check {
                input type="checkbox" name="enabled" data-as="flag" checked[enabled] disabled[!visit.may_change()];
                "Commit automatically"
            }
            fieldset disabled[!visit.may_change()] {
                legend { "After" }
                @for event in IntegrationEvent::ALL {
                    label.check {
                        input type="checkbox" name="on_events" value=(event.as_str()) data-as="member" checked[on_events.contains(event)];
                        (event.as_str())
                    }
                }
            }
            @if visit.may_change() { div.buttons { button type="submit" { "Save" } } }
            p.trouble role="alert" {}
        }
    };
    parts::live(
        "commits",
        "webhook",
        parts::card("Automatic commits", html! {}, content),
    )
}
