//! What would become of a payload: pasted, invented or stored. Everything is a look; nothing is kept and nothing is done.

use actix_web::web::{Bytes, Query};
use actors::domain::{EventFilter, Source, StoredEvent};
use actors::messages::dispatch::Rehearsed;
use actors::messages::store::{ListEvents, ReadEvent};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::events::{cut, path_part, rulings};
use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Tone};
use super::tint;
use crate::fixtures::{self, Details};
use crate::http::admin::rehearsal::{self, Verdict};
use crate::http::problem::Problem;

/// Bytes of a form: a payload of GitHub's size, as browsers send it.
pub(crate) const BODY_CAP: usize = 4 * 1024 * 1024;

/// Stored events that are offered.
const OFFERED: usize = 30;

/// Bytes of a stored payload that is put into the form; a longer one would make a slow page.
const EDITED: usize = 256 * 1024;

/// Bytes of an envelope and of a text that would be said, on the page.
const SHOWN: usize = 16 * 1024;

/// What `X-GitHub-Event` says of the events that start anything.
const EVENTS: [&str; 5] = [
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
];

/// Invented deliveries to begin with, and what they are called.
const SAMPLES: [(&str, &str); 7] = [
    ("issues.opened", "an issue is opened"),
    ("issue_comment.created", "a comment on an issue"),
    ("pull_request.opened", "a pull request is opened"),
    ("issue_comment.created_on_pr", "a comment on a pull request"),
    ("pull_request_review.submitted", "a review"),
    ("pull_request.merged", "a pull request is merged"),
    ("issues.labeled", "an issue gets a label"),
];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    id: Option<String>,
    sample: Option<String>,
}

/// What stands in the form, and what came of it.
#[derive(Default)]
struct Case {
    event: String,
    payload: String,
    /// The stored event that is looked at.
    stored: Option<String>,
    trouble: Option<Trouble>,
    verdict: Option<Verdict>,
    /// The payload is too long to be edited here.
    too_long: bool,
}

/// `/admin/playground?id&sample`: an empty form, one with an invented payload, or a stored event with its verdict.
pub(crate) async fn show(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let asked = asked.into_inner();
    let mut case = Case::default();
    match (asked.id.filter(|id| !id.is_empty()), asked.sample) {
        (Some(id), _) => {
            case.verdict = Some(rehearsal::of_stored(&id, &visit.doors).await?);
            let found = visit.doors.read_event.send(ReadEvent { id: id.clone() }).await??;
            if let Some((event, raw)) = found
                && event.envelope.source == Source::Github
            {
                case.event = rehearsal::header_of(event.envelope.kind).to_owned();
                let payload = raw.and_then(|raw| raw.payload().ok());
                let payload = payload.map(|raw| pretty(raw.get())).unwrap_or_default();
                case.too_long = payload.len() > EDITED;
                if !case.too_long {
                    case.payload = payload;
                }
            }
            case.stored = Some(id);
        }
        (None, Some(sample)) => {
            let details = Details {
                repo: a_managed_repo(&visit),
                ..Details::default()
            };
            let made = fixtures::payload(&sample, &details);
            let (event, payload) = made.map_err(|unknown| Problem::not_found(unknown.to_string()))?;
            case.event = event.to_owned();
            case.payload = parts::json(&payload);
        }
        (None, None) => {}
    }
    page(&visit, &case).await
}

/// `POST /admin/playground` with the form's fields `event` and `payload`: the same page with the verdict.
pub(crate) async fn look(visit: Visit, body: Bytes) -> Result<Sheet, Problem> {
    let mut case = Case::default();
    for (name, value) in url::form_urlencoded::parse(&body) {
        match name.as_ref() {
            "event" => case.event = value.trim().to_owned(),
            "payload" => case.payload = value.into_owned(),
            _ => {}
        }
    }
    match serde_json::from_str::<Value>(&case.payload) {
        Err(error) => case.trouble = Some(Trouble::of(&case.payload, &error)),
        Ok(Value::Object(_)) => {
            let verdict = rehearsal::of_payload(&case.event, case.payload.clone(), &visit.shared, &visit.doors).await?;
            case.verdict = Some(verdict);
        }
        Ok(_) => {
            case.trouble = Some(Trouble {
                words: "It is JSON, but no object: a payload begins with a brace.".to_owned(),
                ..Trouble::default()
            });
        }
    }
    page(&visit, &case).await
}

/// Indented, if it is JSON.
fn pretty(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| parts::json(&value))
}

/// A repository that lets an invented payload pass, where the settings name one.
fn a_managed_repo(visit: &Visit) -> String {
    let managed = visit.shared.config["merged"]["managed_repos"].as_array();
    let first = managed.into_iter().flatten().filter_map(Value::as_str).next();
    match first.map(|name| name.split_once('/').unwrap_or((name, "*"))) {
        Some(("*", _)) | None => Details::default().repo,
        Some((owner, "*")) => format!("{owner}/site"),
        Some((owner, name)) => format!("{owner}/{name}"),
    }
}

/// Why a text is no JSON, and where.
#[derive(Debug, Default)]
struct Trouble {
    words: String,
    /// The line, cut around the place, and a mark below it.
    excerpt: Option<(String, String)>,
}

impl Trouble {
    fn of(text: &str, error: &serde_json::Error) -> Self {
        if text.trim().is_empty() {
            return Self {
                words: "There is no payload. Paste one, or begin with an example.".to_owned(),
                excerpt: None,
            };
        }
        /// Characters on each side of the place.
        const AROUND: usize = 50;
        // What breaks off at the end of a line is found before the first column of the next one.
        let (line, byte) = match (error.line(), error.column()) {
            (line @ 2.., 0) => (line - 1, usize::MAX),
            place => place,
        };
        let whole = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        // The parser counts bytes; people count characters.
        let before = whole[..whole.floor_char_boundary(byte.saturating_sub(1))]
            .chars()
            .count();
        let from = before.saturating_sub(AROUND);
        let shown: String = whole.chars().skip(from).take(2 * AROUND).collect();
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        Self {
            words: format!("No JSON: {said}, in line {line}, column {}.", before + 1),
            excerpt: Some((shown.replace('\t', " "), format!("{}^", " ".repeat(before - from)))),
        }
    }
}

async fn page(visit: &Visit, case: &Case) -> Result<Sheet, Problem> {
    let latest = EventFilter {
        limit: OFFERED,
        ..EventFilter::default()
    };
    let latest = visit.doors.list_events.send(ListEvents(latest)).await??.items;
    let content = html! {
        (parts::heading("Playground", html! { "What would happen to a payload, rule by rule. It is only looked at: nothing is recorded, started or said." }, html! {}))
        @if let Some(verdict) = &case.verdict { (told(visit, case, verdict)) }
        div.split {
            (paste(visit, case))
            div.stack {
                (parts::card("An event that came in", html! {}, choose(visit, case, &latest)))
                (parts::card("An invented one", html! {}, html! {
                    ul.links-list {
                        @for (name, words) in SAMPLES {
                            li { a href=(visit.url(&format!("/admin/playground?sample={name}#event"))) { (words) } }
                        }
                    }
                }))
            }
        }
    };
    Ok(visit.sheet(Section::Playground, "Playground", content))
}

fn paste(visit: &Visit, case: &Case) -> Markup {
    let trouble = case.trouble.as_ref();
    // The browser sends this form by itself: the answer is a page. A look changes nothing, so it needs no proof of its origin.
    let form = html! {
        form.form method="post" action=(visit.url("/admin/playground#verdict")) {
            (parts::field("event", "Event", "What the header X-GitHub-Event says.", html! {
                input.mono #event name="event" list="events" value=(case.event) required placeholder="issues" autocomplete="off"
                    spellcheck="false" data-search="" aria-describedby="event-help";
                datalist #events { @for event in EVENTS { option value=(event) {} } }
            }))
            (parts::field("payload", "Payload", "The body of the delivery: a JSON object. GitHub shows it under Settings, Webhooks, Recent deliveries.", html! {
                textarea.mono.tall #payload name="payload" required spellcheck="false" autocomplete="off" wrap="off"
                    placeholder="Paste one here, or begin with an event that came in or with an invented one."
                    aria-invalid=[trouble.map(|_| "true")] aria-describedby={ "payload-help" @if trouble.is_some() { " payload-trouble" } } {
                    // A parser of HTML drops the first line break behind the tag.
                    "\n" (case.payload)
                }
            }))
            @if let Some(trouble) = trouble {
                div #payload-trouble role="alert" {
                    p.trouble { (trouble.words) }
                    @if let Some((line, mark)) = &trouble.excerpt {
                        div.code { pre tabindex="0" role="region" aria-label="The place" { code { (line) "\n" span.mark { (mark) } } } }
                    }
                }
            }
            @if case.too_long { p.quiet.small { "The stored payload is too long to be edited here; the event's page shows its beginning." } }
            div.buttons { button.primary type="submit" { "See what would happen" } }
        }
    };
    parts::card("A payload", html! {}, form)
}

fn choose(visit: &Visit, case: &Case, latest: &[StoredEvent]) -> Markup {
    if latest.is_empty() {
        return html! { p.quiet { "No event came in yet. " code { "firstlight send issues.opened" } " sends one from here." } };
    }
    let named = |id: &str| latest.iter().any(|event| event.envelope.id.as_str() == id);
    html! {
        form.form method="get" action=(visit.url("/admin/playground#verdict")) {
            (parts::field("id", "Event", "The latest of them; the page of any other has a button that leads here.", html! {
                select #id name="id" aria-describedby="id-help" {
                    @if let Some(id) = case.stored.as_deref().filter(|id| !named(id)) { option value=(id) selected { (id) } }
                    @for event in latest {
                        @let id = event.envelope.id.as_str();
                        option value=(id) selected[case.stored.as_deref() == Some(id)] { (label(event)) }
                    }
                }
            }))
            div.buttons { button type="submit" { "See what would happen now" } }
        }
    }
}

fn label(event: &StoredEvent) -> String {
    let mut label = event.envelope.kind.to_string();
    label = match event
        .envelope
        .thread()
        .filter(|_| event.envelope.source == Source::Github)
    {
        Some(thread) => format!("{label} · {thread}"),
        None => format!("{label} · {}", event.envelope.sender),
    };
    label.chars().take(60).collect()
}

/// The verdict from the top down: what would happen, why, the envelope, and what would be said.
fn told(visit: &Visit, case: &Case, verdict: &Verdict) -> Markup {
    let rehearsed = verdict.rehearsed.as_ref();
    let (tone, words) = in_a_sentence(verdict);
    html! {
        section.stack #verdict tabindex="-1" aria-label="What would happen" {
            (parts::note(tone, html! {
                p { strong { (words) } }
                @if let Some(rehearsed) = rehearsed {
                    p { "In the words of the event's page: " (parts::foreign(&rehearsed.outcome)) "." }
                    @if let Some(run) = rehearsed.live_run {
                        p { a href=(visit.url(&format!("/admin/runs/{run}"))) { "The run that is live there" } }
                    }
                }
                @if let Some(id) = &case.stored {
                    p { a href=(visit.url(&format!("/admin/events/{}", path_part(id)))) { "What became of this event when it came in" } }
                }
            }))
            div.grid {
                (parts::card("At the door", html! { span.quiet.small { "the checks of the webhook" } }, rulings(&verdict.checks)))
                @if let Some(rehearsed) = rehearsed {
                    (parts::card("Routing and admission", html! {
                        @if let Some(workflow) = &rehearsed.workflow {
                            a.small href=(visit.url(&format!("/admin/workflows/{}", path_part(workflow)))) { (workflow) }
                        }
                    }, rulings(rehearsed.routing.iter().chain(&rehearsed.admission))))
                }
            }
            @if let Some(envelope) = &verdict.envelope {
                div.grid {
                    (parts::card("Envelope", html! { span.quiet.small { "as the router sees it" } }, {
                        let mut envelope = envelope.clone();
                        if envelope.body.len() > SHOWN {
                            envelope.body = format!("{}…", cut(&envelope.body, SHOWN));
                        }
                        let text = parts::json(&envelope);
                        parts::code_of("Envelope", &text, tint::json(&text))
                    }))
                    @if let Some(rehearsed) = rehearsed { (parts::card("What would be said", html! {}, says(rehearsed))) }
                }
            }
        }
    }
}

fn in_a_sentence(verdict: &Verdict) -> (Tone, String) {
    match (&verdict.filtered, &verdict.rehearsed) {
        (Some(reason), _) => (Tone::Waiting, format!("It would not be taken in: {reason}.")),
        (None, Some(rehearsed)) => match (&rehearsed.workflow, rehearsed.starts) {
            (Some(workflow), true) if rehearsed.live_run.is_some() => (
                Tone::Busy,
                format!("It asks for {workflow}, and a run of that is live there: it would join it or wait behind it."),
            ),
            (Some(workflow), true) => (Tone::Good, format!("It would start {workflow}.")),
            (Some(workflow), false) => (Tone::Waiting, format!("It asks for {workflow}, which would not start.")),
            (None, _) => (Tone::Quiet, "It would be taken in and start nothing.".to_owned()),
        },
        (None, None) => (Tone::Waiting, "It would not be taken in.".to_owned()),
    }
}

fn says(rehearsed: &Rehearsed) -> Markup {
    html! {
        @if rehearsed.says.is_empty() {
            p.quiet {
                "Nothing at once."
                @if rehearsed.starts { " The run would speak for itself as it goes on." }
            }
        } @else {
            div.inside.stack {
                @for effect in &rehearsed.says {
                    div {
                        p { strong { (effect.kind()) } " to " (parts::foreign(effect.target())) }
                        div.wrapped { (parts::code("Content", cut(&parts::json(effect), SHOWN))) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_with_line_and_column_as_people_count() {
        for (text, line, column, mark) in [
            ("{\n  \"ä€\": tru\n}", 2, 12, 11),
            ("{\"a\":1,}", 1, 8, 7),
            ("nonsense", 1, 2, 1),
            ("{", 1, 1, 0),
        ] {
            let error = serde_json::from_str::<Value>(text).expect_err("no JSON");
            let trouble = Trouble::of(text, &error);
            let place = format!("in line {line}, column {column}.");
            assert!(trouble.words.ends_with(&place), "{text:?}: {}", trouble.words);
            let (_, shown) = trouble.excerpt.expect("a place");
            assert_eq!(shown.len(), mark + 1, "{text:?}");
        }
        let nothing = serde_json::from_str::<Value>(" ").expect_err("no JSON");
        assert!(Trouble::of(" ", &nothing).words.starts_with("There is no payload"));
    }

    #[test]
    fn every_example_is_an_invented_delivery() {
        for (name, _) in SAMPLES {
            assert!(fixtures::payload(name, &Details::default()).is_ok(), "{name}");
        }
    }
}
