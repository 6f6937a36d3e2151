//! What needs a person now, what is under way, and how the last day and month went. Reads only.

use actors::domain::{
    Approval, ApprovalFilter, ApprovalStatus, CronView, DeliveryFilter, DeliveryRow, EffectState, EventFilter,
    EventState, HourCount, RunFilter, RunStatus, RunSummary, Source,
};
use actors::messages::cron::ListCrons;
use actors::messages::store::{ListApprovals, ListDeliveries, ListEvents, ListRuns, ReadHours};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Row, Tone};
use super::plots::{self, Series, Step};
use super::runs::{subject, table as runs};
use crate::http::problem::Problem;

/// Rows of a list on this page.
const SOME: usize = 6;

/// `/admin/`.
pub(crate) async fn show(visit: Visit) -> Result<Sheet, Problem> {
    let matters = Matters::read(&visit).await?;
    let content = html! {
        (parts::heading("Overview", html! { span #lead data-live="approval delivery event run webhook cron" { (matters.in_a_sentence()) } }, html! {}))
        (parts::live_every("needs", "approval delivery event run webhook cron", 30, needs(&visit, &matters)))
        (parts::live("now", "run", under_way(&visit, &matters)))
        (parts::live("steps", "run event", steps(&visit, &matters)))
        (parts::live("numbers", "run event", numbers(&visit, &matters)))
        (parts::live_every("connectors", "event", 30, connectors(&visit, &matters)))
    };
    Ok(visit.sheet(Section::Overview, "Overview", content))
}

/// What this page is about.
struct Matters {
    approvals: Vec<Approval>,
    dead: Vec<DeliveryRow>,
    set_aside: usize,
    crons: Vec<CronView>,
    failed: Vec<RunSummary>,
    failed_today: u64,
    live: Vec<RunSummary>,
    live_count: u64,
    latest: Vec<RunSummary>,
    ever: u64,
    unsigned: bool,
    hours: Vec<HourCount>,
    last_webhook: Option<DateTime<Utc>>,
    last_message: Option<DateTime<Utc>>,
}

/// How runs ended, as the numbers by the hour call it.
const OUTCOMES: [Series; 3] = [
    Series {
        name: "succeeded",
        tone: Tone::Good,
    },
    Series {
        name: "failed",
        tone: Tone::Bad,
    },
    Series {
        name: "cancelled",
        tone: Tone::Quiet,
    },
];

/// What came in.
const EVENTS: [Series; 1] = [Series {
    name: "events",
    tone: Tone::Busy,
}];

impl Matters {
    async fn read(visit: &Visit) -> Result<Self, Problem> {
        let doors = &visit.doors;
        let approvals = ApprovalFilter {
            status: Some(ApprovalStatus::Pending),
            limit: SOME,
            ..ApprovalFilter::default()
        };
        let dead = DeliveryFilter {
            state: Some(EffectState::Dead),
            limit: SOME,
            ..DeliveryFilter::default()
        };
        let set_aside = EventFilter {
            state: Some(EventState::Quarantined),
            limit: SOME,
            ..EventFilter::default()
        };
        let runs = |statuses: &[RunStatus], since| RunFilter {
            statuses: statuses.to_vec(),
            since,
            limit: SOME,
            ..RunFilter::default()
        };
        let a_day_ago = visit.now - TimeDelta::days(1);
        let (failed, failed_today) = doors
            .list_runs
            .send(ListRuns(runs(&[RunStatus::Failed], Some(a_day_ago))))
            .await??;
        let live = [RunStatus::Queued, RunStatus::Running, RunStatus::Paused];
        let (live, live_count) = doors.list_runs.send(ListRuns(runs(&live, None))).await??;
        let (latest, ever) = doors.list_runs.send(ListRuns(runs(&[], None))).await??;
        let dead = match &doors.tools.house {
            Some(house) => house.deliveries.send(ListDeliveries(dead)).await??.items,
            None => Vec::new(),
        };
        let latest_of = async |source| -> Result<Option<DateTime<Utc>>, Problem> {
            let filter = EventFilter {
                source: Some(source),
                limit: 1,
                ..EventFilter::default()
            };
            let page = doors.list_events.send(ListEvents(filter)).await??;
            Ok(page.items.first().map(|event| event.envelope.timestamp))
        };
        let since = visit.now - TimeDelta::days(30);
        // A ticker that has no answer now says so on its own page.
        let crons = doors.crons.list.send(ListCrons).await?.unwrap_or_default().crons;
        let failing = crons.into_iter().filter(|cron| cron.recent_failures > 0).collect();
        Ok(Self {
            hours: doors.desk.hours.send(ReadHours { since }).await??,
            last_webhook: latest_of(Source::Github).await?,
            last_message: latest_of(Source::Slack).await?,
            approvals: doors.list_approvals.send(ListApprovals(approvals)).await??.items,
            dead,
            crons: failing,
            set_aside: doors.list_events.send(ListEvents(set_aside)).await??.items.len(),
            failed: failed.items,
            failed_today,
            live: live.items,
            live_count,
            latest: latest.items,
            ever,
            unsigned: !visit.shared.signed,
        })
    }

    fn nothing_waits(&self) -> bool {
        self.approvals.is_empty()
            && self.dead.is_empty()
            && self.crons.is_empty()
            && self.set_aside == 0
            && self.failed.is_empty()
    }

    fn in_a_sentence(&self) -> &'static str {
        match () {
            () if !self.approvals.is_empty() => "Somebody's answer is waited for.",
            () if !self.nothing_waits() => "A few things did not go well and want a look.",
            () if self.live_count > 0 => "Nothing needs you; work is under way.",
            () => "Nothing needs you.",
        }
    }
}

fn needs(visit: &Visit, matters: &Matters) -> Markup {
    html! {
        @if matters.unsigned {
            (parts::note(Tone::Waiting, html! {
                p {
                    strong { "Webhooks are not verified. " }
                    "Anybody who can reach this service can make up events. Set " code { "WEBHOOK_SECRET" } " and use the same secret at GitHub."
                }
            }))
        }
        @if let Some(line) = visit.shared.lines.read("slack") && let Some(trouble) = &line.trouble {
            (parts::note(Tone::Bad, html! {
                p {
                    strong { "Slack is out of reach " } "since " (parts::time(line.since)) ": " (parts::shortened(trouble, 200))
                    ". It is tried again until it answers; what was written meanwhile is read then."
                }
            }))
        }
        @if !matters.nothing_waits() {
            (parts::card("Needs you", html! {}, html! {
                ul.todo {
                    @for approval in &matters.approvals {
                        li {
                            (parts::badge(Tone::Waiting, "approval"))
                            span.grow {
                                a href=(visit.url(&format!("/admin/approvals/{}", approval.id))) { (parts::shortened(&approval.summary, 140)) }
                                " " span.quiet { (approval.workflow) " · " (parts::foreign(approval.subject.as_str())) }
                            }
                            (parts::time(approval.created_at))
                        }
                    }
                    @for run in &matters.failed {
                        li {
                            (parts::badge(Tone::Bad, "failed run"))
                            span.grow {
                                a href=(visit.url(&format!("/admin/runs/{}", run.id))) { (run.workflow) " · " (subject(run)) }
                                @if let Some(error) = &run.error { " " span.quiet { (parts::shortened(error, 120)) } }
                            }
                            (parts::time(run.ended_at.unwrap_or(run.created_at)))
                        }
                    }
                    @for cron in &matters.crons {
                        li {
                            (parts::badge(Tone::Bad, "failing schedule"))
                            span.grow {
                                a href=(visit.url(&format!("/admin/crons/{}", cron.name))) { (parts::foreign(&cron.name)) }
                                " " span.quiet { "failed " (cron.recent_failures) "× in a row" }
                            }
                            @if let Some(at) = cron.last_run { (parts::time(at)) }
                        }
                    }
                    @for delivery in &matters.dead {
                        li {
                            (parts::badge(Tone::Bad, "dead delivery"))
                            span.grow {
                                a href=(visit.url(&format!("/admin/deliveries/{}", delivery.id))) { (parts::foreign(&delivery.topic)) }
                                @if let Some(error) = &delivery.last_error { " " span.quiet { (parts::shortened(error, 120)) } }
                            }
                            (parts::time(delivery.settled_at.unwrap_or(delivery.created_at)))
                        }
                    }
                    @if matters.set_aside > 0 {
                        li {
                            (parts::badge(Tone::Bad, "set aside"))
                            span.grow {
                                a href=(visit.url("/admin/events?state=quarantined")) { "Events that could not be routed" }
                            }
                        }
                    }
                }
            }))
        }
    }
}

fn under_way(visit: &Visit, matters: &Matters) -> Markup {
    html! {
        div.tiles {
            (tile(visit, "/admin/approvals", Tone::Waiting, visit.waiting() as u64, "waiting for a person"))
            (tile(visit, "/admin/runs?status=active", Tone::Busy, matters.live_count, "runs under way"))
            (tile(visit, "/admin/runs?status=failed", Tone::Bad, matters.failed_today, "failed in 24 hours"))
            (tile(visit, "/admin/runs", Tone::Quiet, matters.ever, "runs in all"))
        }
        @if matters.ever == 0 {
            (parts::empty("No run yet", html! {
                "An event that a route knows starts the first one. Send one from here: "
                code { "firstlight send issues.opened --repo acme/site" }
            }))
        } @else {
            @if !matters.live.is_empty() {
                (parts::card("Under way", html! {}, runs(visit, "Runs under way", &matters.live)))
            }
            (parts::card("Latest runs", html! { a href=(visit.url("/admin/runs")) { "All runs" } }, runs(visit, "Latest runs", &matters.latest)))
        }
    }
}

/// What makes more of a young house; nothing once it has worked for a while.
fn steps(visit: &Visit, matters: &Matters) -> Markup {
    /// So many runs, and nobody needs to be told how to begin.
    const YOUNG: u64 = 25;
    let settings = &visit.shared.config["merged"];
    let missing = |path: &str| {
        settings.pointer(path).is_none_or(|value| {
            value.is_null() || value == "" || value.as_object().is_some_and(serde_json::Map::is_empty)
        })
    };
    if matters.ever >= YOUNG {
        return html! {};
    }
    let link = |path: &str, words: &str| html! { a href=(visit.url(path)) { (words) } };
    html! {
        (parts::card("What next", html! {}, html! {
            ul.todo {
                @if let Some(run) = matters.latest.first() {
                    li { span.grow { (link(&format!("/admin/runs/{}", run.id), "See what the latest run did")) " " span.quiet { "who asked, each phase, and what was said" } } }
                }
                li { span.grow { (link("/admin/playground?sample=issues.opened#event", "Try a payload in the playground")) " " span.quiet { "what each rule would say to it; nothing happens" } } }
                @if missing("/github/app_id") && missing("/github/token") {
                    li { span.grow { (link("/admin/settings?q=github", "Let it answer at GitHub")) " " span.quiet { "set " code { "GITHUB_APP_ID" } " or " code { "GITHUB_TOKEN" } } } }
                }
                @if missing("/runtimes") {
                    li { span.grow { (link("/admin/settings?q=runtimes", "Give it an agent")) " " span.quiet { "set " code { "runtimes.default" } " to a command that reads a prompt and prints an answer" } } }
                }
                @if missing("/slack/bot_token") {
                    li { span.grow { (link("/admin/settings?q=slack", "Talk to it in Slack")) " " span.quiet { code { "firstlight slack manifest" } " prints the app to create" } } }
                }
                li { span.grow { (link("/admin/workflows", "Start a workflow by hand")) " " span.quiet { "or write one of your own" } } }
            }
        }))
    }
}

fn numbers(visit: &Visit, matters: &Matters) -> Markup {
    let counted = || {
        matters
            .hours
            .iter()
            .map(|count| (count.hour, count.what.as_str(), count.n))
    };
    let of = |step, many, series: &[Series]| plots::columns(step, many, visit.now, series, counted());
    html! {
        div.grid {
            (parts::card("Runs, 24 hours", html! {}, plots::draw("runs-day", "Runs of the last 24 hours by how they ended", Step::Hour, &OUTCOMES, &of(Step::Hour, 24, &OUTCOMES))))
            (parts::card("Runs, 30 days", html! {}, plots::draw("runs-month", "Runs of the last 30 days by how they ended", Step::Day, &OUTCOMES, &of(Step::Day, 30, &OUTCOMES))))
            (parts::card("Events, 24 hours", html! {}, plots::draw("events-day", "Events of the last 24 hours", Step::Hour, &EVENTS, &of(Step::Hour, 24, &EVENTS))))
            (parts::card("Events, 30 days", html! {}, plots::draw("events-month", "Events of the last 30 days", Step::Day, &EVENTS, &of(Step::Day, 30, &EVENTS))))
        }
    }
}

/// What the house is connected to, by its settings and by what came in.
fn connectors(visit: &Visit, matters: &Matters) -> Markup {
    let settings = &visit.shared.config["merged"];
    let set = |path: &str| {
        settings
            .pointer(path)
            .is_some_and(|value| !value.is_null() && value != "")
    };
    let seen = |at: Option<DateTime<Utc>>| {
        html! { @match at { Some(at) => { "last heard " (parts::time(at)) } None => "nothing heard yet" } }
    };
    let (app, token) = (set("/github/app_id"), set("/github/token"));
    let slack = set("/slack/bot_token") && set("/slack/app_token");
    let line = visit.shared.lines.read("slack");
    let trouble = line.as_ref().and_then(|line| line.trouble.as_deref());
    let runtimes = settings["runtimes"].as_object().map_or(0, serde_json::Map::len);
    let rows = [
        (
            "GitHub, in",
            if matters.unsigned {
                parts::badge(Tone::Waiting, "not verified")
            } else {
                parts::badge(Tone::Good, "verified")
            },
            seen(matters.last_webhook),
        ),
        (
            "GitHub, out",
            if app || token {
                parts::badge(Tone::Good, "connected")
            } else {
                parts::badge(Tone::Waiting, "no credentials")
            },
            match (app, token) {
                (true, _) => html! { "as an App" },
                (false, true) => html! { "with a token" },
                (false, false) => {
                    html! { "replies wait as undeliverable; set " code { "GITHUB_APP_ID" } " or " code { "GITHUB_TOKEN" } }
                }
            },
        ),
        (
            "Slack",
            match (slack, &line, trouble) {
                (false, ..) => parts::badge(Tone::Quiet, "off"),
                (true, _, Some(_)) => parts::badge(Tone::Bad, "out of reach"),
                (true, Some(_), None) => parts::badge(Tone::Good, "connected"),
                (true, None, None) => parts::badge(Tone::Busy, "connecting"),
            },
            match (slack, trouble) {
                (false, _) => html! { "set " code { "SLACK_BOT_TOKEN" } " and " code { "SLACK_APP_TOKEN" } },
                (true, Some(trouble)) => {
                    html! { (parts::shortened(trouble, 160)) "; it is tried again until it answers" }
                }
                (true, None) => seen(matters.last_message),
            },
        ),
        (
            "Agents",
            if runtimes > 0 {
                parts::badge(Tone::Good, "configured")
            } else {
                parts::badge(Tone::Quiet, "none")
            },
            if runtimes > 0 {
                html! { (runtimes) " in " code { "runtimes" } }
            } else {
                html! { "agent phases are skipped; set " code { "runtimes.default" } }
            },
        ),
        (
            "Mail",
            match (
                set("/smtp_url"),
                set("/notifications/email_from") && set("/notifications/email_to/0"),
            ) {
                (true, true) => parts::badge(Tone::Good, "configured"),
                (true, false) => parts::badge(Tone::Waiting, "no addresses"),
                (false, _) => parts::badge(Tone::Quiet, "off"),
            },
            html! {
                @if !set("/smtp_url") { "notifications by mail are stored only" }
                @else if !(set("/notifications/email_from") && set("/notifications/email_to/0")) {
                    "no mail is sent; set " code { "notifications.email_from" } " and " code { "email_to" }
                }
            },
        ),
    ];
    let rows = rows.into_iter().map(|(name, state, words)| Row {
        href: None,
        cells: vec![html! { strong { (name) } }, state, html! { span.quiet { (words) } }],
    });
    parts::card(
        "Connections",
        html! {},
        parts::table("Connections", &["What", "State", "More"], rows),
    )
}

fn tile(visit: &Visit, path: &str, tone: Tone, count: u64, words: &str) -> Markup {
    let tone = if count == 0 { Tone::Quiet } else { tone };
    html! { a.tile href=(visit.url(path)) data-tone=(tone) { strong { (parts::number(count)) } span { (words) } } }
}
