//! Questions that wait for a person: the list, and one with all that an answer is about. Reads only; the API takes the answer.

use actix_web::web::{Path, Query};
use actors::domain::{Approval, ApprovalFilter, ApprovalId, ApprovalKind, ApprovalStatus, Decision};
use actors::messages::store::{ListApprovals, LoadRun, ReadApproval};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Row, Standing as _, Tone};
use super::runs::output_of;
use super::tint;
use crate::http::problem::Problem;

/// Rows of a page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    status: Option<String>,
    before: Option<i64>,
}

/// `/admin/approvals?status&before`; those that wait unless another status, or `all`, is asked for.
pub(crate) async fn list(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let asked = asked.into_inner();
    let chosen = asked
        .status
        .as_deref()
        .filter(|status| !status.is_empty())
        .unwrap_or("pending");
    let filter = ApprovalFilter {
        status: ApprovalStatus::from_text(chosen),
        before: asked.before,
        limit: PAGE,
        ..ApprovalFilter::default()
    };
    let page = visit.doors.list_approvals.send(ListApprovals(filter)).await??;
    let tabs = ApprovalStatus::ALL
        .iter()
        .map(|status| {
            (
                status.as_str(),
                if *status == ApprovalStatus::Pending {
                    "waiting"
                } else {
                    status.as_str()
                },
            )
        })
        .chain([("all", "all")]);
    let content = html! {
        (parts::heading("Approvals", html! { "Runs that wait for somebody's word. The first answer counts." }, html! {}))
        nav.tabs aria-label="Which" {
            @for (value, words) in tabs {
                a href=(visit.url(&format!("/admin/approvals?status={value}"))) aria-current=[(value == chosen).then_some("page")] { (words) }
            }
        }
        (parts::live("approvals", "approval run", html! {
            @if page.items.is_empty() {
                @if chosen == "pending" {
                    (parts::empty("Nothing waits for you", html! {
                        "A run asks here where its workflow has a gate that is switched on (" code { "approvals.gates" } " in the settings)."
                    }))
                } @else {
                    (parts::empty("None", html! { "No question has come to this." }))
                }
            } @else {
                (table(&visit, &page.items))
                (parts::pager(&visit, page.next))
            }
        }))
    };
    Ok(visit.sheet(Section::Approvals, "Approvals", content))
}

fn table(visit: &Visit, approvals: &[Approval]) -> Markup {
    let rows = approvals.iter().map(|approval| Row {
        href: Some(visit.url(&format!("/admin/approvals/{}", approval.id))),
        cells: vec![
            parts::shortened(&approval.summary, 110),
            html! { (approval.workflow) span.under { (parts::foreign(approval.subject.as_str())) } },
            html! {
                (parts::state(&approval.status))
                @if approval.rules.needed() > 1 { span.under { (approval.votes.len()) " of " (approval.rules.needed()) " have approved" } }
                @if let Some(by) = &approval.responded_by { span.under { "by " (parts::foreign(by)) } }
            },
            html! {
                @match approval.rules.deadline {
                    Some(deadline) if approval.status == ApprovalStatus::Pending => (parts::time(deadline)),
                    _ => span.quiet { "–" },
                }
            },
            parts::time(approval.created_at),
        ],
    });
    parts::table("Questions", &["Question", "Run", "State", "Deadline", "Asked"], rows)
}

/// `/admin/approvals/{id}`.
pub(crate) async fn one(visit: Visit, id: Path<String>) -> Result<Sheet, Problem> {
    let unknown = || Problem::not_found("there is no such question");
    let id: ApprovalId = id.parse().map_err(|_| unknown())?;
    let approval = visit
        .doors
        .read_approval
        .send(ReadApproval(id))
        .await??
        .ok_or_else(unknown)?;
    let run = visit.doors.load_run.send(LoadRun(approval.run)).await??;
    let output = run.and_then(|run| {
        let latest = run.phases.into_iter().rev().find(|phase| phase.phase == approval.phase);
        latest.and_then(|phase| phase.output)
    });
    let waits = approval.status == ApprovalStatus::Pending;
    let title = if waits { "Waits for an answer" } else { "Question" };
    let content = html! {
        (parts::heading(html! { (approval.workflow) " asks" }, html! {
            "At the gate " strong { (approval.gate) } " of " (parts::foreign(approval.subject.as_str())) ", " (parts::time(approval.created_at))
        }, html! { a.button href=(visit.url(&format!("/admin/runs/{}", approval.run))) { "The run" } }))
        div.split {
            div.stack {
                (parts::card("The question", html! {}, question(&approval.summary)))
                @if let Some(output) = output.as_deref().filter(|output| !output.trim().is_empty() && !approval.summary.contains(output.trim())) {
                    (parts::card("What the phase brought about", html! {}, html! { div.inside { (output_of(output)) } }))
                }
            }
            div.stack {
                (parts::live("answer", &format!("approval:{id}"), html! {
                    @if waits { (answer(&visit, &approval)) } @else { (answered(&approval)) }
                }))
                (parts::card("Its rules", html! {}, rules(&approval)))
            }
        }
    };
    Ok(visit.sheet(Section::Approvals, title, content))
}

/// Words as words; where they hold a diff, every line in its place.
fn question(summary: &str) -> Markup {
    if tint::is_diff(summary) {
        parts::code_of("The question", summary, tint::diff(summary))
    } else {
        html! { p.text { (parts::foreign(summary)) } }
    }
}

fn answer(visit: &Visit, approval: &Approval) -> Markup {
    if !visit.may_change() {
        return parts::card(
            "Your answer",
            html! {},
            html! { p.quiet { "This session may only look. Sign in with more rights to answer." } },
        );
    }
    let url = visit.url(&format!("/admin/api/approvals/{}/respond", approval.id));
    let words = approval.kind == ApprovalKind::Reply;
    parts::card(
        "Your answer",
        parts::state(&approval.status),
        html! {
            (parts::form(&url, "Your answer counts.", "", html! {
                @if let Some(shown) = &approval.shown { input type="hidden" name="shown" value=(shown); }
                @if words {
                    (parts::field("words", "Your answer, in words", "It becomes the output of the phase that asks.", html! {
                        textarea #words name="response" rows="5" {}
                    }))
                } @else {
                    (parts::field("words", "Why", "Not needed; whoever reads the run later will be glad of it.", html! {
                        textarea #words name="reason" rows="3" {}
                    }))
                }
                div.buttons {
                    button.primary type="submit" name="decision" value="approved" { (if words { "Send" } else { "Approve" }) }
                    button.danger type="submit" name="decision" value="rejected"
                        data-confirm="The run fails, and what comes after this point is not done." { "Reject" }
                }
            }))
        },
    )
}

fn answered(approval: &Approval) -> Markup {
    parts::card(
        "The answer",
        parts::state(&approval.status),
        parts::facts([
            (
                "By",
                approval
                    .responded_by
                    .as_ref()
                    .map_or_else(|| html! { span.quiet { "nobody" } }, parts::foreign),
            ),
            (
                "When",
                approval
                    .responded_at
                    .map_or_else(|| html! { span.quiet { "–" } }, parts::time),
            ),
            (
                "Words",
                approval
                    .response
                    .as_ref()
                    .map_or_else(|| html! { span.quiet { "none" } }, parts::foreign),
            ),
        ]),
    )
}

fn rules(approval: &Approval) -> Markup {
    let rules = &approval.rules;
    let late = match rules.by_default {
        Some(Decision::Approved) => "it counts as approved then",
        Some(Decision::Rejected) | None => "it counts as rejected then",
    };
    html! {
        (parts::facts([
            ("Who may", html! {
                (parts::foreign(rules.who()))
                @if rules.not_requester { ", but not " (parts::foreign(&approval.requested_by)) ", who asked for the run" }
            }),
            ("How many", html! { (rules.needed()) @if rules.needed() > 1 { " different people; one no is enough" } }),
            ("Votes", html! {
                @if approval.votes.is_empty() { span.quiet { "none yet" } }
                @for vote in &approval.votes { (parts::badge(Tone::Good, &vote.by.name)) " " }
            }),
            ("Until", html! {
                @match rules.deadline {
                    Some(deadline) => { (parts::time(deadline)) "; " (late) }
                    None => "no deadline",
                }
            }),
            ("Holds for", html! {
                @match &approval.head_sha {
                    Some(sha) => { "commit " code { (sha.get(..12).unwrap_or(sha)) } "; new commits make the question lapse" }
                    None => "what is shown here",
                }
            }),
            ("Asked by", html! { (parts::foreign(&approval.requested_by)) }),
            ("State", html! { (approval.status.words()) }),
        ]))
    }
}
