//! What needs a person now, what is under way, and how the last day and month went. Reads only.

use actors::domain::{
    Approval, ApprovalFilter, ApprovalStatus, DeliveryFilter, DeliveryRow, EffectState, EventFilter, EventState,
    RunFilter, RunStatus, RunSummary,
};
use actors::messages::store::{ListApprovals, ListDeliveries, ListEvents, ListRuns};
use chrono::TimeDelta;
use maud::{Markup, html};

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Tone};
use super::runs::table as runs;
use crate::http::problem::Problem;

/// Rows of a list on this page.
const SOME: usize = 6;

/// `/admin/`.
pub(crate) async fn show(visit: Visit) -> Result<Sheet, Problem> {
    let matters = Matters::read(&visit).await?;
    let content = html! {
        (parts::heading("Overview", html! { (matters.in_a_sentence()) }, html! {}))
        (parts::live("needs", "approval delivery event run webhook cron", needs(&visit, &matters)))
        (parts::live("now", "run", under_way(&visit, &matters)))
    };
    Ok(visit.sheet(Section::Overview, "Overview", content))
}

/// What this page is about.
struct Matters {
    approvals: Vec<Approval>,
    dead: Vec<DeliveryRow>,
    set_aside: usize,
    failed: Vec<RunSummary>,
    failed_today: u64,
    live: Vec<RunSummary>,
    live_count: u64,
    latest: Vec<RunSummary>,
    ever: u64,
    unsigned: bool,
}

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
        Ok(Self {
            approvals: doors.list_approvals.send(ListApprovals(approvals)).await??.items,
            dead,
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
        self.approvals.is_empty() && self.dead.is_empty() && self.set_aside == 0 && self.failed.is_empty()
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
                                a href=(visit.url(&format!("/admin/runs/{}", run.id))) { (run.workflow) " · " (parts::foreign(run.subject.as_str())) }
                                @if let Some(error) = &run.error { " " span.quiet { (parts::shortened(error, 120)) } }
                            }
                            (parts::time(run.ended_at.unwrap_or(run.created_at)))
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

fn tile(visit: &Visit, path: &str, tone: Tone, count: u64, words: &str) -> Markup {
    let tone = if count == 0 { Tone::Quiet } else { tone };
    html! { a.tile href=(visit.url(path)) data-tone=(tone) { strong { (parts::number(count)) } span { (words) } } }
}
