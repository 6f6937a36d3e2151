//! Runs: the list, and one with its picture, its phases, its log, and what may be done with it. Reads only; the API acts.

use std::collections::BTreeMap;

use actix_web::web::{Path, Query};
use actors::domain::{
    Approval, ApprovalFilter, DiagramNode, PhaseName, PhaseRecord, PhaseStatus, RunFilter, RunId, RunRecord, RunStatus,
    RunSummary, Workflow,
};
use actors::messages::library::ReadWorkflows;
use actors::messages::store::{EffectsOf, ListApprovals, ListRuns, LoadRun};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::events::{cut, effect_table, path_part, reply_to};
use super::frame::{Section, Sheet, Visit};
use super::graph::{self, Look};
use super::parts::{self, Act, Row, Standing as _, Tone};
use super::{assets, tint};
use crate::http::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;

/// Bytes of a phase's output that the page shows.
const SHOWN: usize = 48 * 1024;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    workflow: Option<String>,
    status: Option<String>,
    repo: Option<String>,
    before: Option<i64>,
}

/// `/admin/runs?workflow&status&repo&before`; `status=active` for those that are not over.
pub(crate) async fn list(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let asked = asked.into_inner();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let filter = RunFilter {
        workflow: given(&asked.workflow),
        statuses: statuses(asked.status.as_deref()),
        repo: given(&asked.repo),
        before: asked.before,
        limit: PAGE,
        ..RunFilter::default()
    };
    let narrowed = filter.workflow.is_some() || filter.repo.is_some() || !filter.statuses.is_empty();
    let (page, total) = visit.doors.list_runs.send(ListRuns(filter)).await??;
    let shelf = visit.doors.workflows.send(ReadWorkflows).await?;
    let names = shelf
        .workflows
        .iter()
        .map(|workflow| (workflow.name.as_str(), workflow.name.as_str()));
    let states = [("active", "not over yet")]
        .into_iter()
        .chain(RunStatus::ALL.iter().map(|status| (status.as_str(), status.words())));
    let content = html! {
        (parts::heading("Runs", html! { "Every run of every workflow, newest first." }, html! {
            a.button href=(visit.url("/admin/workflows")) { "Start one" }
        }))
        (parts::filters(&visit.url("/admin/runs"), html! {
            (parts::filter("repo", "Repository", "owner/name", asked.repo.as_deref()))
            (parts::choice("workflow", "Workflow", "any workflow", names, asked.workflow.as_deref()))
            (parts::choice("status", "State", "any state", states, asked.status.as_deref()))
        }))
        (parts::live("runs", "run", html! {
            @if page.items.is_empty() {
                @if narrowed {
                    (parts::empty("No such run", html! { a href=(visit.url("/admin/runs")) { "Show all runs" } "." }))
                } @else {
                    (parts::empty("No run yet", html! {
                        "An event that a route knows starts one, and so can you: "
                        a href=(visit.url("/admin/workflows")) { "choose a workflow" } "."
                    }))
                }
            } @else {
                (table(&visit, "Runs", &page.items))
                p.quiet.small { (parts::number(total)) (if total == 1 { " run" } else { " runs" }) @if narrowed { " like this" } }
                (parts::pager(&visit, page.next))
            }
        }))
    };
    Ok(visit.sheet(Section::Runs, "Runs", content))
}

fn statuses(asked: Option<&str>) -> Vec<RunStatus> {
    match asked {
        Some("active") => vec![RunStatus::Queued, RunStatus::Running, RunStatus::Paused],
        Some(text) => text.split(',').filter_map(RunStatus::from_text).collect(),
        None => Vec::new(),
    }
}

/// Runs as rows.
pub(super) fn table(visit: &Visit, caption: &str, runs: &[RunSummary]) -> Markup {
    let rows = runs.iter().map(|run| Row {
        href: Some(visit.url(&format!("/admin/runs/{}", run.id))),
        cells: vec![
            html! { (run.workflow) },
            html! { (subject(run)) span.under { (run.cause.trigger) " · " (parts::foreign(&run.cause.who)) } },
            html! {
                (parts::state(&run.status))
                @match (&run.error, &run.current_phase) {
                    (Some(error), _) => span.under { (parts::shortened(error, 90)) },
                    (None, Some(phase)) if !run.status.is_final() => span.under { "in " (phase) },
                    _ => {}
                }
            },
            parts::took(run.started_at, run.ended_at, visit.now),
            parts::time(run.created_at),
        ],
    });
    parts::table(caption, &["Workflow", "About", "State", "Took", "Started"], rows)
}

/// What a run is about, for people.
pub(super) fn subject(run: &RunSummary) -> Markup {
    match (&run.repo, run.number) {
        (Some(repo), Some(number)) => parts::foreign(format!("{repo}#{number}")),
        (Some(repo), None) => parts::foreign(repo.as_str()),
        (None, _) => html! { span.quiet { "no repository" } },
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct OneAsked {
    log: Option<String>,
}

/// `/admin/runs/{id}?log`: `log` names the phase whose log is shown.
pub(crate) async fn one(visit: Visit, id: Path<String>, asked: Query<OneAsked>) -> Result<Sheet, Problem> {
    let unknown = || Problem::not_found("there is no such run");
    let id: RunId = id.parse().map_err(|_| unknown())?;
    let run = visit.doors.load_run.send(LoadRun(id)).await??.ok_or_else(unknown)?;
    let order = EffectsOf {
        run: Some(id),
        event: None,
    };
    let effects = visit.doors.effects_of.send(order).await??;
    let filter = ApprovalFilter {
        run: Some(id),
        limit: 50,
        ..ApprovalFilter::default()
    };
    let approvals = visit.doors.list_approvals.send(ListApprovals(filter)).await??.items;
    let workflow = Workflow::from_bundle(&run.definition).ok();
    let summary = &run.summary;
    let log = asked
        .log
        .as_deref()
        .and_then(|log| log.parse().ok())
        .or_else(|| talkative(&run));
    let context = parts::json(&run.context);
    let shown = cut(&context, SHOWN);
    let title = html! { (summary.workflow) " " span.quiet { (subject(summary)) } };
    let content = html! {
        (parts::heading(title, html! {
            "Asked for by " (parts::foreign(&summary.cause.who)) ", " (parts::time(summary.created_at))
        }, html! {}))
        (parts::live("run", &format!("run:{id} phase:{id} approval"), html! {
            (state_of(&visit, &run, &approvals, workflow.as_ref()))
            @if let Some(workflow) = &workflow {
                (parts::card("The way", html! { a.small href=(visit.url(&format!("/admin/workflows/{}", workflow.name))) { "the workflow" } },
                    graph::draw(&format!("Phases of {}", workflow.name), &workflow.diagram(), |node| look(&run, node))))
            }
            (parts::card("Phases", html! {}, phases(&visit, &run)))
        }))
        // Whoever comes before the first phase has begun gets the log when there is one; from then on the module looks after it.
        div #log-place data-live=(format!("run:{id} phase:{id}")) data-once { @if let Some(phase) = &log { (viewer(&visit, &run, phase)) } }
        (parts::live("effects", &format!("run:{id}"), html! { (parts::card("What was said and done", html! {}, effect_table(&effects))) }))
        div.grid {
            (parts::card("What it started with", html! {}, html! {
                (parts::code_of("Context", shown, tint::json(shown)))
                @if shown.len() < context.len() {
                    p.quiet.small { "The first " (parts::size(shown.len() as u64)) " of " (parts::size(context.len() as u64)) "." }
                }
            }))
            (parts::card("About this run", html! {}, about(&visit, &run)))
        }
    };
    Ok(visit.sheet(
        Section::Runs,
        format!("{} · {}", summary.workflow, summary.subject),
        content,
    ))
}

/// The phase whose log is worth looking at first: the one that runs, else the last that had a process.
fn talkative(run: &RunRecord) -> Option<PhaseName> {
    let prints = |phase: &&PhaseRecord| {
        matches!(phase.kind.as_str(), "agent" | "script") && phase.status != PhaseStatus::Skipped
    };
    let mut printing = run.phases.iter().filter(prints);
    let running = run
        .phases
        .iter()
        .find(|phase| prints(phase) && phase.status == PhaseStatus::Running);
    let failed = run
        .phases
        .iter()
        .find(|phase| prints(phase) && phase.status == PhaseStatus::Failed);
    running
        .or(failed)
        .or(printing.next_back())
        .map(|phase| phase.phase.clone())
}

fn state_of(visit: &Visit, run: &RunRecord, approvals: &[Approval], workflow: Option<&Workflow>) -> Markup {
    let summary = &run.summary;
    html! {
        div.strip {
            (parts::state(&summary.status))
            span { span.quiet { "took " } (parts::took(summary.started_at, summary.ended_at, visit.now)) }
            @if let Some(phase) = &summary.current_phase {
                @if !summary.status.is_final() { span { span.quiet { "in " } (phase) } }
            }
            @if summary.restart_count > 0 { span.quiet { "taken up again " (summary.restart_count) "×" } }
            span.grow {}
            div.actions { (acts(visit, run, workflow)) }
        }
        @if let Some(error) = &summary.error {
            (parts::note(if summary.status == RunStatus::Cancelled { Tone::Quiet } else { Tone::Bad }, html! { p { (parts::foreign(error)) } }))
        }
        @for approval in approvals.iter().filter(|approval| approval.status == actors::domain::ApprovalStatus::Pending) {
            (parts::note(Tone::Waiting, html! {
                p {
                    strong { "It waits for an answer. " }
                    (parts::shortened(&approval.summary, 200)) " "
                    a href=(visit.url(&format!("/admin/approvals/{}", approval.id))) { "Read and answer" }
                }
            }))
        }
    }
}

fn acts(visit: &Visit, run: &RunRecord, workflow: Option<&Workflow>) -> Markup {
    if !visit.may_change() {
        return html! {};
    }
    let api = visit.url(&format!("/admin/api/workflow-runs/{}", run.summary.id));
    let new_run = visit.url("/admin/runs/{executionId}");
    if !run.summary.status.is_final() {
        return parts::act(&Act {
            label: "Cancel the run",
            url: format!("{api}/cancel"),
            body: json!({}),
            confirm: "What is running is stopped, and nothing more of this run is done. What it has said and done stays.",
            done: "The run is cancelled.",
            then: String::new(),
            class: "danger",
        });
    }
    let again = parts::act(&Act {
        label: "Run again",
        url: format!("{api}/retry"),
        body: json!({}),
        confirm: "",
        done: "A new run has begun.",
        then: new_run.clone(),
        class: "",
    });
    let ended = |name: &PhaseName| run.phases.iter().any(|phase| phase.phase == *name);
    let from: Vec<&PhaseName> = workflow
        .iter()
        .flat_map(|workflow| workflow.phases.iter().skip(1))
        .map(|phase| &phase.name)
        .filter(|name| ended(name))
        .collect();
    html! {
        (again)
        @if !from.is_empty() {
            form.inline data-api={ (api) "/retry" } data-done="A new run has begun." data-then=(new_run) {
                label.unseen for="retry-from" { "Phase to go on from" }
                select #retry-from name="from" {
                    @for name in &from { option value=(name) selected[run.summary.current_phase.as_ref() == Some(*name)] { (name) } }
                }
                button type="submit" { "Run again from there" }
                p.trouble role="alert" {}
            }
        }
    }
}

/// How a box of the picture looks: as the latest execution of its phase, rounds of a loop included.
fn look(run: &RunRecord, node: &DiagramNode) -> Look {
    let rounds = format!("{}_", node.id);
    let of_it = |phase: &&PhaseRecord| {
        phase.phase == node.id || (node.goes_round.is_some() && phase.phase.as_str().starts_with(&rounds))
    };
    let Some(phase) = run.phases.iter().rev().find(of_it) else {
        return Look {
            tone: Tone::Quiet,
            words: "not begun".to_owned(),
            href: None,
        };
    };
    Look {
        tone: phase.status.tone(),
        words: phase.status.words().to_owned(),
        href: Some(format!("#{}", anchor(phase))),
    }
}

fn anchor(phase: &PhaseRecord) -> String {
    format!("phase-{}-{}", phase.phase, phase.attempt)
}

fn phases(visit: &Visit, run: &RunRecord) -> Markup {
    if run.phases.is_empty() {
        return html! { p.quiet { "No phase has begun." } };
    }
    let from = run
        .phases
        .iter()
        .map(|phase| phase.started_at)
        .min()
        .unwrap_or(visit.now);
    let to = run.summary.ended_at.unwrap_or(visit.now);
    let mut tries: BTreeMap<&PhaseName, u32> = BTreeMap::new();
    for phase in &run.phases {
        *tries.entry(&phase.phase).or_default() += 1;
    }
    html! {
        ol.phases {
            @for phase in &run.phases {
                li id=(anchor(phase)) tabindex="-1" {
                    div.line {
                        strong { (phase.phase) }
                        span.quiet.small {
                            (phase.kind) @if tries.get(&phase.phase).is_some_and(|tries| *tries > 1) { ", try " (phase.attempt) }
                        }
                        (parts::state(&phase.status))
                        (bar(phase, from, to, visit.now))
                        span.small { (parts::took(Some(phase.started_at), phase.ended_at, visit.now)) }
                        @if matches!(phase.kind.as_str(), "agent" | "script") && phase.status != PhaseStatus::Skipped {
                            a.small href={ (visit.url(&format!("/admin/runs/{}", run.summary.id))) "?log=" (phase.phase) "#log" } { "log" }
                        }
                    }
                    @if let Some(reason) = &phase.reason { p.quiet.small { (parts::foreign(reason)) } }
                    @if let Some(output) = phase.output.as_deref().filter(|output| !output.trim().is_empty()) {
                        details id={ "output-" (anchor(phase)) } open[phase.status == PhaseStatus::WaitingApproval] {
                            summary { "Output, " (parts::size(output.len() as u64)) }
                            (output_of(output))
                        }
                    }
                }
            }
        }
    }
}

/// A phase's output: a diff as one, everything else as text that wraps.
pub(super) fn output_of(output: &str) -> Markup {
    let shown = tint::plain(cut(output, SHOWN));
    let shown = shown.as_str();
    html! {
        @if tint::is_diff(shown) {
            (parts::code_of("Output", shown, tint::diff(shown)))
        } @else {
            div.wrapped { (parts::code("Output", shown)) }
        }
        @if output.len() > SHOWN {
            p.quiet.small { "The first " (parts::size(SHOWN as u64)) " of " (parts::size(output.len() as u64)) "; the log has all of it." }
        }
    }
}

/// When a phase ran, as a bar between the beginning and the end of its run.
fn bar(phase: &PhaseRecord, from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    const WIDE: i64 = 1_000;
    let all = (to - from).num_milliseconds().max(1);
    let at = |instant: DateTime<Utc>| ((instant - from).num_milliseconds() * WIDE / all).clamp(0, WIDE);
    let begins = at(phase.started_at).min(WIDE - 8);
    let wide = (at(phase.ended_at.unwrap_or(now)) - begins).max(8);
    html! {
        svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" data-tone=(phase.status.tone()) {
            rect.track width="1000" height="10" rx="5" {}
            rect.span x=(begins) width=(wide) height="10" rx="5" {}
        }
    }
}

/// The log of one phase; the module fills it, a piece at a time.
fn viewer(visit: &Visit, run: &RunRecord, phase: &PhaseName) -> Markup {
    let api = visit.url(&format!(
        "/admin/api/workflow-runs/{}/phases/{}/log",
        run.summary.id,
        path_part(phase.as_str())
    ));
    let running = run.phases.iter().rev().find(|row| row.phase == *phase);
    let running = running.is_none_or(|row| row.status == PhaseStatus::Running) && !run.summary.status.is_final();
    let mut names: Vec<&PhaseName> = Vec::new();
    for row in run
        .phases
        .iter()
        .filter(|row| matches!(row.kind.as_str(), "agent" | "script") && row.status != PhaseStatus::Skipped)
    {
        if !names.contains(&&row.phase) {
            names.push(&row.phase);
        }
    }
    html! {
        section.card.log #log data-module=(visit.url(&assets::path("log.js"))) data-log=(api) data-running[running] {
            header {
                h2 { "Log of " (phase) }
                div.actions {
                    @if names.len() > 1 {
                        form.inline method="get" {
                            label.unseen for="log-of" { "Phase" }
                            select #log-of name="log" data-go {
                                @for name in names { option value=(name) selected[name == phase] { (name) } }
                            }
                            noscript { button { "Show" } }
                        }
                    }
                    label.unseen for="log-search" { "Search in the log" }
                    input #log-search type="search" placeholder="search" autocomplete="off" spellcheck="false";
                    span.quiet.small data-found="" role="status" {}
                    label.check.small { input #log-follow type="checkbox" checked[running]; "follow" }
                    button type="button" data-to="start" { "Start" }
                    button type="button" data-to="end" { "End" }
                    a.small href=(api) { "raw" }
                }
            }
            pre tabindex="0" role="region" aria-label={ "Log of " (phase) } data-lines="" {}
            p.quiet.small data-where="" { "The log is shown by the page's script; " a href=(api) { "here it is as text" } "." }
        }
    }
}

fn about(visit: &Visit, run: &RunRecord) -> Markup {
    let summary = &run.summary;
    parts::facts([
        (
            "Id",
            html! { code { (summary.id) } (parts::copy(&summary.id.to_string())) },
        ),
        ("Came through", html! { (summary.cause.trigger) }),
        (
            "Event",
            html! {
                @match &summary.cause.event {
                    Some(event) => a href=(visit.url(&format!("/admin/events/{}", path_part(event.as_str())))) { "the event that asked for it" },
                    None => span.quiet { "none" },
                }
            },
        ),
        ("Answers go", html! { (reply_to(&run.reply_to)) }),
        ("Let in", parts::time(summary.created_at)),
        (
            "Began",
            summary
                .started_at
                .map_or_else(|| html! { span.quiet { "not yet" } }, parts::time),
        ),
        (
            "Ended",
            summary
                .ended_at
                .map_or_else(|| html! { span.quiet { "not yet" } }, parts::time),
        ),
    ])
}
