//! Conversations in chats: the list, and one with what was said and the runs that came of it. Reads only.

use actix_web::web::{Path, Query};
use actors::domain::{ChatMessage, ChatRole, ChatSession, RunId, RunSummary, SessionId, Source};
use actors::messages::store::{ListSessions, LoadRun, ReadLines, ReadSession};
use maud::{Markup, html};
use serde::Deserialize;

use super::events::path_part;
use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Row, Tone};
use super::runs;
use crate::http::admin::sessions::live_since;
use crate::http::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;

/// Lines of a page.
const LINES: usize = 200;

/// Runs of a conversation that its page lists.
const RUNS: usize = 10;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    state: Option<String>,
    user: Option<String>,
    channel: Option<String>,
    before: Option<i64>,
}

/// `/admin/chats?state&user&channel&before`; `state=live` for those that go on.
pub(crate) async fn list(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let given = |text: &Option<String>| {
        let text = text.as_deref().map(str::trim).unwrap_or_default();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let order = ListSessions {
        live_only: asked.state.as_deref() == Some("live"),
        user: given(&asked.user),
        channel: given(&asked.channel),
        live_since: live_since(&visit.shared),
        before: asked.before,
        limit: PAGE,
    };
    let narrowed = order.live_only || order.user.is_some() || order.channel.is_some();
    let (page, live) = visit.doors.desk.sessions.send(order).await??;
    let content = html! {
        (parts::heading("Conversations", html! { "Who talks to the bot in chat, what was said, and what came of it." }, html! {}))
        (parts::filters(&visit.url("/admin/chats"), html! {
            (parts::choice("state", "State", "any state", [("live", "goes on")], asked.state.as_deref()))
            (parts::filter("user", "Person", "U0123ABCD", asked.user.as_deref()))
            (parts::filter("channel", "Channel", "C0123ABCD", asked.channel.as_deref()))
        }))
        (parts::live_every("chats", "session", 60, html! {
            @if page.items.is_empty() {
                @if narrowed {
                    (parts::empty("No such conversation", html! { a href=(visit.url("/admin/chats")) { "Show all conversations" } "." }))
                } @else {
                    (parts::empty("No conversation yet", nothing_yet(&visit)))
                }
            } @else {
                (table(&visit, &page.items))
                p.quiet.small { (parts::number(live)) (if live == 1 { " goes on" } else { " go on" }) " now; one in which nothing is said for " (ChatSession::IDLE.num_minutes()) " minutes is over." }
                (parts::pager(&visit, page.next))
            }
        }))
    };
    Ok(visit.sheet(Section::Chats, "Conversations", content))
}

fn nothing_yet(visit: &Visit) -> Markup {
    let slack = &visit.shared.config["merged"]["slack"]["bot_token"];
    html! {
        @if slack.is_null() || slack == "" {
            "Slack is not connected. Set " code { "SLACK_BOT_TOKEN" } " and " code { "SLACK_APP_TOKEN" }
            "; " code { "firstlight slack manifest" } " prints the app to create."
        } @else {
            "Write to the bot in a direct message, or mention it in a channel that it is in."
        }
    }
}

fn table(visit: &Visit, sessions: &[ChatSession]) -> Markup {
    let rows = sessions.iter().map(|session| Row {
        href: Some(visit.url(&format!("/admin/chats/{}", session.id))),
        cells: vec![
            html! { (person(session)) span.under { (parts::foreign(&session.user)) } },
            html! {
                @match &session.last_said {
                    Some(words) => (parts::shortened(words, 110)),
                    None => span.quiet { "nothing" },
                }
            },
            place(session),
            html! { (state(session)) span.under { (count(session.message_count)) } },
            parts::time(session.last_activity_at),
        ],
    });
    parts::table(
        "Conversations",
        &["With", "Said last", "Where", "State", "Last word"],
        rows,
    )
}

fn person(session: &ChatSession) -> Markup {
    parts::foreign(session.person.as_deref().unwrap_or(&session.user))
}

fn state(session: &ChatSession) -> Markup {
    match session.live {
        true => parts::badge(Tone::Busy, "goes on"),
        false => parts::badge(Tone::Quiet, "over"),
    }
}

fn count(lines: u64) -> String {
    match lines {
        1 => "1 message".to_owned(),
        lines => format!("{} messages", parts::number(lines)),
    }
}

/// Where it is held. A direct message has a channel of its own, whose id begins with D at Slack.
fn place(session: &ChatSession) -> Markup {
    html! {
        @if session.channel.starts_with('D') { "direct message" } @else { "channel " (parts::foreign(&session.channel)) }
        span.under { (platform(session)) }
    }
}

fn platform(session: &ChatSession) -> &'static str {
    match session.platform {
        Source::Github => "GitHub",
        Source::Slack => "Slack",
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct OneAsked {
    after: Option<i64>,
}

/// `/admin/chats/{id}?after`.
pub(crate) async fn one(visit: Visit, id: Path<String>, asked: Query<OneAsked>) -> Result<Sheet, Problem> {
    let unknown = || Problem::not_found("there is no such conversation");
    let id: SessionId = id.parse().map_err(|_| unknown())?;
    let order = ReadSession {
        id,
        live_since: live_since(&visit.shared),
    };
    let session = visit.doors.desk.session.send(order).await??.ok_or_else(unknown)?;
    let order = ReadLines {
        id,
        after: asked.after.unwrap_or(0),
        since: None,
        limit: LINES,
    };
    let lines = visit.doors.desk.lines.send(order).await??;
    let runs = runs_of(&visit, &lines).await?;
    let mut about = format!("session:{id}");
    for run in &runs {
        about.push_str(&format!(" run:{}", run.id));
    }
    let content = html! {
        (parts::heading(html! { "With " (person(&session)) }, html! {
            @if session.channel.starts_with('D') { "A direct message" } @else { "In channel " (parts::foreign(&session.channel)) }
            " in " (platform(&session)) "."
        }, html! { a.button href=(visit.url("/admin/chats")) { "All conversations" } }))
        (parts::live("chat", &about, html! {
            div.split {
                (parts::card("What was said", html! { (state(&session)) }, said(&visit, &session, &lines, asked.after.is_some())))
                div.stack {
                    (parts::card("What came of it", html! {}, html! {
                        @if runs.is_empty() {
                            p.quiet { "No run came of it: answers to commands and small talk need none." }
                        } @else {
                            ul.todo {
                                @for run in &runs {
                                    li {
                                        (parts::state(&run.status))
                                        span.grow {
                                            a href=(visit.url(&format!("/admin/runs/{}", run.id))) { (run.workflow) }
                                            " " span.quiet { (runs::subject(run)) }
                                        }
                                        (parts::time(run.created_at))
                                    }
                                }
                            }
                        }
                    }))
                    (parts::card("Where and when", html! {}, parts::facts([
                        ("Person", html! { (person(&session)) " " code { (session.user) } " " (parts::copy(&session.user)) }),
                        ("Channel", html! { code { (session.channel) } }),
                        ("Thread", html! { code { (session.thread) } }),
                        ("Began", parts::time(session.created_at)),
                        ("Last word", parts::time(session.last_activity_at)),
                        ("Messages", html! { (parts::number(session.message_count)) }),
                        ("Events", html! { a href=(visit.url(&format!("/admin/events?sender={}", path_part(session.person.as_deref().unwrap_or_default())))) { "all of this person" } }),
                    ])))
                }
            }
        }))
    };
    Ok(visit.sheet(Section::Chats, "Conversation", content))
}

/// The runs that the lines started or joined, in their order, each once.
async fn runs_of(visit: &Visit, lines: &[ChatMessage]) -> Result<Vec<RunSummary>, Problem> {
    let mut ids: Vec<RunId> = Vec::new();
    for run in lines.iter().rev().filter_map(|line| line.run) {
        if !ids.contains(&run) && ids.len() < RUNS {
            ids.push(run);
        }
    }
    let mut runs = Vec::new();
    for id in ids {
        runs.extend(visit.doors.load_run.send(LoadRun(id)).await??.map(|run| run.summary));
    }
    Ok(runs)
}

fn said(visit: &Visit, session: &ChatSession, lines: &[ChatMessage], later: bool) -> Markup {
    let here = format!("/admin/chats/{}", session.id);
    let next = (lines.len() == LINES)
        .then(|| lines.last().map(|last| last.seq))
        .flatten();
    html! {
        @if lines.is_empty() {
            p.quiet { "Nothing more was said." }
        } @else {
            ol.talk {
                @for message in lines {
                    @let ours = message.line.role == ChatRole::Assistant;
                    li data-role=(message.line.role) {
                        p.by {
                            strong { (parts::foreign(&message.line.author)) }
                            @if ours { " " span.quiet { "the bot" } }
                            " " (parts::time(message.line.at))
                        }
                        p.words dir="auto" { (message.line.text) }
                        @if message.event.is_some() || message.run.is_some() {
                            p.links {
                                @if let Some(event) = &message.event {
                                    a href=(visit.url(&format!("/admin/events/{}", path_part(event.as_str())))) { "its event" }
                                }
                                @if let Some(run) = message.run {
                                    a href=(visit.url(&format!("/admin/runs/{run}"))) { "its run" }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if later || next.is_some() {
            nav.pager.inside aria-label="Pages of the conversation" {
                @if later { a.button href=(visit.url(&here)) { "From the beginning" } }
                @if let Some(next) = next { a.button href=(visit.url(&format!("{here}?after={next}"))) rel="next" { "Go on" } }
            }
        }
    }
}
