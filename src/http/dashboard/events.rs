//! Events as they were accepted: the list, and one with its envelope, its raw payload and what it led to. Reads only.

use actix_web::web::{Path, Query};
use actors::domain::{
    EffectState, EventFilter, EventState, EventType, ReplyTo, RuleCheck, Ruling, Source, StoredEffect, StoredEvent,
};
use actors::messages::dispatch::{Rehearsed, TryRoute};
use actors::messages::store::{EffectsOf, ListEvents, ReadEvent};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Act, Row, Standing as _, Tone};
use super::tint;
use crate::http::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;

/// Bytes of a raw payload that a page shows; the API gives out the whole of it.
const SHOWN: usize = 128 * 1024;

/// Bytes of what was written that a page shows.
const BODY: usize = 64 * 1024;

/// Bytes of it that the envelope shows.
const LINE: usize = 2 * 1024;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    repo: Option<String>,
    r#type: Option<String>,
    state: Option<String>,
    sender: Option<String>,
    before: Option<i64>,
}

/// `/admin/events?repo&type&state&sender&before`.
pub(crate) async fn list(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let asked = asked.into_inner();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let filter = EventFilter {
        repo: given(&asked.repo),
        kind: given(&asked.r#type).and_then(|kind| EventType::from_text(&kind)),
        state: given(&asked.state).and_then(|state| EventState::from_text(&state)),
        sender: given(&asked.sender),
        before: asked.before,
        limit: PAGE,
        ..EventFilter::default()
    };
    let narrowed = filter.repo.is_some() || filter.kind.is_some() || filter.state.is_some() || filter.sender.is_some();
    let page = visit.doors.list_events.send(ListEvents(filter)).await??;
    let kinds = EventType::ALL.iter().map(|kind| (kind.as_str(), kind.as_str()));
    let states = EventState::ALL.iter().map(|state| (state.as_str(), state.words()));
    let content = html! {
        (parts::heading("Events", html! { "Everything that was accepted, newest first, and what became of it." }, html! {}))
        (parts::filters(&visit.url("/admin/events"), html! {
            (parts::filter("repo", "Repository", "owner/name", asked.repo.as_deref()))
            (parts::choice("type", "Type", "any type", kinds, asked.r#type.as_deref()))
            (parts::choice("state", "State", "any state", states, asked.state.as_deref()))
            (parts::filter("sender", "Sender", "login", asked.sender.as_deref()))
        }))
        (parts::live("events", "event", html! {
            @if page.items.is_empty() {
                @if narrowed {
                    (parts::empty("No such event", html! { a href=(visit.url("/admin/events")) { "Show all events" } "." }))
                } @else {
                    (parts::empty("No event yet", html! {
                        "Point a webhook of GitHub at " code { "/webhooks/github" } ", or send one from here: "
                        code { "firstlight send issues.opened --repo acme/site" }
                    }))
                }
            } @else {
                (table(&visit, &page.items))
                (parts::pager(&visit, page.next))
            }
        }))
    };
    Ok(visit.sheet(Section::Events, "Events", content))
}

fn table(visit: &Visit, events: &[StoredEvent]) -> Markup {
    let rows = events.iter().map(|event| Row {
        href: Some(visit.url(&format!("/admin/events/{}", path_part(event.envelope.id.as_str())))),
        cells: vec![
            html! { (event.envelope.kind) span.under { (parts::shortened(event.envelope.title.as_deref().unwrap_or(&event.envelope.body), 70)) } },
            about(event),
            html! { (parts::foreign(&event.envelope.sender)) },
            html! {
                (parts::state(&event.state))
                @if let Some(outcome) = &event.outcome { span.under { (parts::shortened(outcome, 90)) } }
            },
            parts::time(event.envelope.timestamp),
        ],
    });
    parts::table(
        "Events",
        &["Event", "About", "From", "What became of it", "Received"],
        rows,
    )
}

fn about(event: &StoredEvent) -> Markup {
    match event.envelope.thread() {
        Some(_) if event.envelope.source == Source::Slack => html! { "a conversation" span.under { "in Slack" } },
        Some(subject) => parts::foreign(subject.as_str()),
        None => html! { span.quiet { "–" } },
    }
}

/// A text as one part of a path.
pub(super) fn path_part(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// `/admin/events/{id}`.
pub(crate) async fn one(visit: Visit, id: Path<String>) -> Result<Sheet, Problem> {
    let id = id.into_inner();
    let found = visit.doors.read_event.send(ReadEvent { id: id.clone() }).await??;
    let Some((event, raw)) = found else {
        return Err(Problem::not_found("there is no such event"));
    };
    let order = EffectsOf {
        run: event.run,
        event: Some(id.clone()),
    };
    let effects = visit.doors.effects_of.send(order).await??;
    let kept = raw.is_some();
    let raw = raw.and_then(|raw| raw.payload().ok()).map(|raw| {
        let value: Value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
        parts::json(&without_long_texts(value))
    });
    // A body may be a megabyte long, and is shown once.
    let mut short = event.envelope.clone();
    let body = cut(&event.envelope.body, BODY);
    if short.body.len() > LINE {
        short.body = format!(
            "{}… ({} in all)",
            cut(&short.body, LINE),
            parts::size(short.body.len() as u64)
        );
    }
    let envelope = parts::json(&short);
    // The dispatcher may have a lot to do; the page does without its word then.
    let order = TryRoute {
        envelope: Box::new(event.envelope.clone()),
    };
    let rehearsed = visit.doors.desk.rehearse.send(order).await?.ok();
    let api = visit.url(&format!("/admin/api/events/{}", path_part(&id)));
    let mut about_it = format!("event:{id}");
    if let Some(run) = event.run {
        about_it.push_str(&format!(" run:{run}"));
    }
    let title = format!("{} · {}", event.envelope.kind, event.envelope.sender);
    let replay = html! {
        a.button href=(visit.url(&format!("/admin/playground?id={}#verdict", path_part(&id)))) { "Try it in the playground" }
        @if visit.may_change() {
            @if event.state == EventState::Quarantined {
                (parts::act(&Act {
                    label: "Route it again",
                    url: format!("{api}/replay"),
                    body: json!({ "as": "same" }),
                    confirm: "",
                    done: "The event is routed again.",
                    then: String::new(),
                    class: "primary",
                }))
            }
            (parts::act(&Act {
                label: "Replay as new",
                url: format!("{api}/replay"),
                body: json!({ "as": "new" }),
                confirm: "A copy of the event comes in as if it had just happened. It may start a run and write comments, a second time.",
                done: "A copy of the event came in.",
                then: visit.url("/admin/events/{id}"),
                class: "",
            }))
        }
    };
    let content = html! {
        (parts::heading(html! { (event.envelope.kind) }, html! {
            @if let Some(title) = &event.envelope.title { (parts::foreign(title)) }
        }, replay))
        (parts::live("event", &about_it, html! { (summary(&visit, &event)) }))
        @if let Some(rehearsed) = &rehearsed { (parts::card("Why", html! { span.quiet.small { "what each rule would say to it now" } }, rules(rehearsed))) }
        @if !event.envelope.body.is_empty() {
            (parts::card("What was written", html! {}, html! {
                div.wrapped { (parts::code("What was written", body)) }
                @if body.len() < event.envelope.body.len() {
                    p.quiet.small { "The first " (parts::size(body.len() as u64)) " of " (parts::size(event.envelope.body.len() as u64)) "." }
                }
            }))
        }
        div.grid {
            (parts::card("Envelope", html! { span.quiet.small { "as the router sees it" } },
                parts::code_of("Envelope", &envelope, tint::json(&envelope))))
            (parts::card("Raw payload", html! { a.small href=(api) { "whole, as JSON" } }, html! {
                @match &raw {
                    Some(raw) => {
                        @let shown = cut(raw, SHOWN);
                        (parts::code_of("Raw payload", shown, tint::json(shown)))
                        @if shown.len() < raw.len() {
                            p.quiet.small { "The first " (parts::size(shown.len() as u64)) " of " (parts::size(raw.len() as u64)) "." }
                        }
                    }
                    None => @if kept {
                        p.quiet { "The stored payload cannot be shown; the log of the service says why." }
                    } @else {
                        p.quiet { "It is not kept any more: what comes in is removed after a time (retention.payloads)." }
                    }
                }
            }))
        }
        (parts::live("event-effects", &about_it, html! {
            (parts::card("What was said and done because of it", html! {}, effect_table(&effects)))
        }))
    };
    Ok(visit.sheet(Section::Events, title, content))
}

fn summary(visit: &Visit, event: &StoredEvent) -> Markup {
    let envelope = &event.envelope;
    html! {
        div.grid {
            (parts::card("What became of it", parts::state(&event.state), parts::facts([
                ("Decision", html! {
                    @match &event.outcome {
                        Some(outcome) => (parts::foreign(outcome)),
                        None => span.quiet { "It is on disk and waits to be routed." },
                    }
                }),
                ("Run", html! {
                    @match event.run {
                        Some(run) => a href=(visit.url(&format!("/admin/runs/{run}"))) { "the run that it started or joined" },
                        None => span.quiet { "none" },
                    }
                }),
                ("Received", parts::time(envelope.timestamp)),
                ("Routed", event.settled_at.map_or_else(|| html! { span.quiet { "not yet" } }, parts::time)),
            ])))
            (parts::card("Where it came from", html! {}, parts::facts([
                ("Source", html! { (envelope.source) }),
                ("About", about(event)),
                ("Sender", html! {
                    (parts::foreign(&envelope.sender))
                    @if let Some(standing) = &envelope.author_association { " " span.quiet { (standing.to_lowercase()) } }
                }),
                ("Labels", html! {
                    @match envelope.labels.as_deref() {
                        Some(labels) if !labels.is_empty() => @for label in labels { (parts::badge(parts::Tone::Quiet, label)) " " },
                        _ => span.quiet { "none" },
                    }
                }),
                ("Answers go", html! { (reply_to(&envelope.reply_to)) }),
                ("Repeats", html! {
                    @match &event.replay_of {
                        Some(first) => a href=(visit.url(&format!("/admin/events/{}", path_part(first.as_str())))) { "an earlier event, replayed as new" },
                        None => span.quiet { "nothing" },
                    }
                }),
                ("Id", html! { code { (envelope.id) } (parts::copy(envelope.id.as_str())) }),
            ])))
        }
    }
}

fn rules(rehearsed: &Rehearsed) -> Markup {
    html! {
        (rulings(rehearsed.routing.iter().chain(&rehearsed.admission)))
        p.quiet.small { "It would come to: " (parts::foreign(&rehearsed.outcome)) }
    }
}

/// What rules say to a case, one after the other.
pub(super) fn rulings<'a>(said: impl IntoIterator<Item = &'a RuleCheck>) -> Markup {
    let rows = said.into_iter().map(|check| {
        let tone = match check.verdict {
            Ruling::Passed => Tone::Good,
            Ruling::Decided => Tone::Busy,
            Ruling::Stopped => Tone::Waiting,
            Ruling::Skipped => Tone::Quiet,
        };
        Row {
            href: None,
            cells: vec![
                html! { (check.rule) },
                html! { span.badge.still data-tone=(tone) { (check.verdict) } },
                parts::foreign(&check.said),
            ],
        }
    });
    parts::table("Rules", &["Rule", "Verdict", "Because"], rows)
}

/// JSON in which texts of more than [`LINE`] bytes are cut: browsers take seconds for a line of a megabyte.
fn without_long_texts(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > LINE => Value::String(format!(
            "{}… ({} in all)",
            cut(&text, LINE),
            parts::size(text.len() as u64)
        )),
        Value::Array(items) => items.into_iter().map(without_long_texts).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, without_long_texts(value)))
            .collect(),
        other => other,
    }
}

/// Where answers go, in words.
pub(super) fn reply_to(to: &ReplyTo) -> String {
    match to {
        ReplyTo::IssueComment { repo, number, .. } => format!("to {repo}#{number} at GitHub"),
        ReplyTo::SlackThread { channel, .. } => format!("to a thread of {channel} in Slack"),
        ReplyTo::SlackPerson { channel, user } => format!("to {user} alone, in {channel} in Slack"),
        ReplyTo::DeliveryChannel => "to the delivery channel in Slack".to_owned(),
        ReplyTo::Nobody => "nowhere: nobody listens".to_owned(),
    }
}

/// The beginning of a text, at most so many bytes, never a part of a character.
pub(super) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What was said and done, each with its state.
pub(super) fn effect_table(effects: &[StoredEffect]) -> Markup {
    /// Rows of the table.
    const MOST: usize = 100;
    /// Bytes of what one of them says.
    const CONTENT: usize = 4 * 1024;
    if effects.is_empty() {
        return html! { p.quiet { "Nothing was said and nothing was done." } };
    }
    let rows = effects.iter().take(MOST).map(|effect| Row {
        href: None,
        cells: vec![
            html! { (effect.effect.kind()) },
            html! {
                (parts::foreign(effect.effect.target()))
                @match &effect.result {
                    Some(link) if link.starts_with("https://") => span.under { a href=(link) rel="noreferrer" { "see it there" } },
                    _ => {}
                }
            },
            html! {
                (parts::state(&effect.state))
                @if let (false, Some(error)) = (effect.state == EffectState::Done, &effect.last_error) {
                    span.under { (parts::shortened(error, 160)) }
                }
            },
            html! { (effect.attempts) @if !effect.state.is_final() { span.under { "next " (parts::time(effect.due_at)) } } },
            html! {
                details id={ "effect-" (effect.seq) } {
                    summary { "Show" }
                    div.wrapped { (parts::code("Content", cut(&parts::json(&effect.effect), CONTENT))) }
                }
            },
        ],
    });
    html! {
        (parts::table("Effects", &["Kind", "To", "State", "Tries", "Content"], rows))
        @if effects.len() > MOST { p.quiet.small { "The first " (MOST) " of " (effects.len()) "; the API gives out all of them." } }
    }
}
