//! What fires by the clock: next and past firings, and a form to change when. Reads only; the API changes and previews.

use actix_web::web::Path;
use actors::cron::Schedule;
use actors::domain::{CronAlarm, CronFiring, CronView, FiringState};
use actors::messages::cron::ListCrons;
use actors::messages::store::ListFirings;
use chrono::DateTime;
use maud::{Markup, html};
use serde_json::json;

use super::assets;
use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Act, Row, Standing, Tone};
use crate::http::problem::Problem;

/// Firings of the future on the page of a schedule.
const AHEAD: usize = 10;
/// Firings of the ledger there.
const BACK: usize = 30;

impl Standing for FiringState {
    fn words(&self) -> &'static str {
        match self {
            Self::Working => "at work",
            other => other.as_str(),
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Waiting | Self::Working => Tone::Busy,
            Self::Done => Tone::Good,
            Self::Failed | Self::Missed => Tone::Bad,
            Self::Skipped => Tone::Quiet,
        }
    }
}

/// `/admin/crons`.
pub(crate) async fn list(visit: Visit) -> Result<Sheet, Problem> {
    let list = visit.doors.crons.list.send(ListCrons).await??;
    let rows = list.crons.iter().map(|cron| Row {
        href: Some(visit.url(&format!("/admin/crons/{}", cron.name))),
        cells: vec![
            html! { (cron.name) span.under { (cron.workflow) } },
            html! { code { (cron.schedule) } span.under { (cron.timezone) } },
            state(cron),
            next(cron),
            last(cron),
        ],
    });
    let content = html! {
        (parts::heading("Schedules", html! { "What starts by itself, and when." }, html! {}))
        (parts::live("crons", "cron", html! {
            @for mistake in &list.refused {
                (parts::note(Tone::Bad, html! { p { strong { "A changed file is refused. " } (parts::foreign(mistake.to_string())) } }))
            }
            @if list.crons.is_empty() {
                (parts::empty("No schedule", html! {
                    "Write one into " code { "<overlay>/workflows/cron-<name>.yaml" } "; it is taken up without a restart."
                }))
            } @else {
                (parts::table("Schedules", &["Name", "Schedule", "State", "Next", "Last"], rows))
            }
        }))
    };
    Ok(visit.sheet(Section::Crons, "Schedules", content))
}

fn state(cron: &CronView) -> Markup {
    html! {
        @for alarm in &cron.alarms { (parts::badge(Tone::Bad, alarmed(*alarm))) " " }
        @match &cron.reason {
            Some(reason) => { (parts::badge(Tone::Quiet, "off")) span.under { (reason) } },
            None if cron.working > 0 => (parts::badge(Tone::Busy, "at work")),
            None => (parts::badge(Tone::Good, "on")),
        }
    }
}

fn alarmed(alarm: CronAlarm) -> &'static str {
    match alarm {
        CronAlarm::Failing => "keeps failing",
        CronAlarm::Idle => "found nothing to do",
        CronAlarm::Missed => "a time was missed",
    }
}

fn next(cron: &CronView) -> Markup {
    html! {
        @match cron.next_run {
            Some(at) => {
                (parts::time(at))
                @if let Some(local) = &cron.next_local { span.under { (wall(local)) " in " (cron.timezone) } }
            },
            None => span.quiet { "–" },
        }
    }
}

fn last(cron: &CronView) -> Markup {
    html! {
        @match (cron.last_run, cron.last_status) {
            (Some(at), Some(status)) => {
                (parts::state(&status)) " " (parts::time(at))
                @if cron.recent_failures > 1 { span.under { (cron.recent_failures) " failures in a row" } }
            },
            _ => span.quiet { "never" },
        }
    }
}

/// `/admin/crons/{name}`.
pub(crate) async fn one(visit: Visit, name: Path<String>) -> Result<Sheet, Problem> {
    let list = visit.doors.crons.list.send(ListCrons).await??;
    let found = list.crons.into_iter().find(|cron| cron.name == *name);
    let Some(cron) = found else {
        return Err(Problem::not_found("there is no such schedule"));
    };
    let ledger = ListFirings {
        cron: Some(cron.name.clone()),
        before: None,
        limit: BACK,
    };
    let ledger = visit.doors.list_firings.send(ledger).await??.items;
    let api = |what: &str| visit.url(&format!("/admin/api/crons/{}{what}", cron.name));
    let act = |label, what, body, confirm, done, class| {
        parts::act(&Act {
            label,
            url: api(what),
            body,
            confirm,
            done,
            then: String::new(),
            class,
        })
    };
    let actions = html! {
        @if visit.may_change() {
            (act("Run now", "/run", json!({}), "", "It is fired.", "primary"))
            @if cron.enabled {
                (act("Switch off", "/toggle", json!({ "enabled": false }), "It does not fire until it is switched on again.", "It is off.", ""))
            } @else {
                (act("Switch on", "/toggle", json!({ "enabled": true }), "", "It is on.", ""))
            }
        }
    };
    let lead = match cron.description.is_empty() {
        true => html! { "Starts " (cron.workflow) "." },
        false => parts::foreign(parts::sentence(&cron.description)),
    };
    let content = html! {
        (parts::live("actions", "cron", parts::heading(&cron.name, lead, actions)))
        (parts::live("cron", "cron", html! {
            (strip(&ledger))
            div.split {
                (parts::card("Ledger", html! {}, history(&ledger)))
                div.stack {
                    (parts::card("Next", html! {}, ahead(&visit, &cron)))
                    (parts::card("As it counts", html! {}, facts(&visit, &cron)))
                }
            }
        }))
        @if visit.may_change() { (edit(&visit, &cron)) }
    };
    let title = cron.name.clone();
    Ok(visit.sheet(Section::Crons, title, content))
}

/// The latest firings as squares, the newest last; in words for those who do not see them.
fn strip(ledger: &[CronFiring]) -> Markup {
    let good = ledger.iter().filter(|firing| firing.state == FiringState::Done).count();
    let bad = ledger.iter().filter(|firing| firing.state.tone() == Tone::Bad).count();
    let words = format!(
        "The last {} firings: {good} done, {bad} failed or missed.",
        ledger.len()
    );
    html! {
        @if !ledger.is_empty() {
            p.firings role="img" aria-label=(words) {
                @for firing in ledger.iter().rev() {
                    span data-tone=(firing.state.tone()) title={ (firing.scheduled_at.format("%Y-%m-%d %H:%M UTC")) ": " (firing.state.words()) } {}
                }
            }
        }
    }
}

fn history(ledger: &[CronFiring]) -> Markup {
    if ledger.is_empty() {
        return parts::empty("It has not fired yet", html! { "Run it now to see what it does." });
    }
    let rows = ledger.iter().map(|firing| Row {
        href: None,
        cells: vec![
            parts::time(firing.scheduled_at),
            html! { (parts::state(&firing.state)) @if firing.count > 1 { " × " (parts::number(firing.count)) } },
            html! { (firing.kind) @if firing.who != "cron" { span.under { "by " (parts::foreign(&firing.who)) } } },
            html! { (firing.dispatched) @if firing.failed > 0 { ", " (firing.failed) " failed" } },
            parts::took(
                firing.started_at,
                firing.ended_at,
                firing.ended_at.unwrap_or(firing.due_at),
            ),
            html! { @if let Some(note) = &firing.note { (parts::shortened(note, 160)) } },
        ],
    });
    parts::table(
        "Firings, newest first",
        &["Instant", "State", "Why", "Runs", "Took", "Note"],
        rows,
    )
}

fn ahead(visit: &Visit, cron: &CronView) -> Markup {
    let schedule = Schedule::parse(&cron.schedule, Some(&cron.timezone));
    let from = cron.pause_until.map_or(visit.now, |until| until.max(visit.now));
    let next = match (&cron.next_run, schedule) {
        (Some(_), Ok(schedule)) => schedule.next(from, AHEAD),
        _ => Vec::new(),
    };
    if next.is_empty() {
        return html! { p.quiet { "It does not fire" @if let Some(reason) = &cron.reason { ": " (reason) } "." } };
    }
    let rows = next.into_iter().map(|firing| Row {
        href: None,
        cells: vec![
            parts::clock(firing.at),
            html! { (wall(&firing.local)) @if let Some(why) = firing.shifted { span.under { (why) } } },
        ],
    });
    parts::table(
        "Next firings",
        &["By your clock", &format!("In {}", cron.timezone)],
        rows,
    )
}

/// An instant as the clock on its wall shows it; what is none stays as it is.
fn wall(local: &str) -> String {
    match DateTime::parse_from_rfc3339(local) {
        Ok(at) => at.format("%a %-d %b, %H:%M").to_string(),
        Err(_) => local.to_owned(),
    }
}

fn facts(visit: &Visit, cron: &CronView) -> Markup {
    let mut facts = vec![
        ("State", state(cron)),
        (
            "Workflow",
            html! { a href=(visit.url(&format!("/admin/workflows/{}", cron.workflow))) { (cron.workflow) } },
        ),
        ("Schedule", html! { code { (cron.schedule) } " " (cron.timezone) }),
        ("Missed", html! { (cron.misfire) }),
        ("Overlap", html! { (cron.overlap) ", " (cron.concurrency) " at once" }),
        ("File", html! { code { (cron.file) } }),
    ];
    if let Some(over) = &cron.over {
        facts.push((
            "Changed",
            html! {
                "by " (parts::foreign(&over.updated_by)) " " (parts::time(over.updated_at))
                @if over.has_schedule_override { "; the file says " code { (cron.original_schedule) } }
            },
        ));
    }
    parts::facts(facts)
}

fn edit(visit: &Visit, cron: &CronView) -> Markup {
    let api = |what: &str| visit.url(&format!("/admin/api/crons/{}{what}", cron.name));
    let content = html! {
        form.form data-api=(api("/schedule")) data-done="It counts from now on."
            data-module=(visit.url(&assets::path("cron.js"))) data-preview=(visit.url("/admin/api/crons/preview")) data-zone=(cron.timezone) {
            (parts::field("schedule", "Schedule", "Minute, hour, day of month, month, day of week; or a word such as @daily.", html! {
                input.mono #schedule name="schedule" value=(cron.schedule) required autocomplete="off" spellcheck="false"
                    aria-describedby="schedule-help schedule-preview";
            }))
            div #schedule-preview role="status" aria-live="polite" {}
            div.buttons {
                button.primary type="submit" { "Save" }
                @if cron.over.is_some() {
                    button type="button" data-api=(api("/override")) data-method="DELETE"
                        data-confirm="The file counts again: its schedule, and whether it is on." data-done="The file counts again." { "Go by the file" }
                }
            }
            p.trouble role="alert" {}
        }
    };
    parts::card("Change when it fires", html! {}, content)
}
