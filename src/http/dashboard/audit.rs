//! Who did what, from where, and what came of it. Reads only.

use actix_web::web::Query;
use actors::domain::AuditFilter;
use actors::messages::store::ListAudit;
use maud::html;
use serde::Deserialize;

use super::frame::{Section, Sheet, Visit};
use super::parts::{self, Row, Tone};
use crate::http::problem::Problem;

/// Rows of one page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    who: Option<String>,
    action: Option<String>,
    target: Option<String>,
    before: Option<i64>,
}

/// `/admin/audit?who&action&target&before`.
pub(crate) async fn list(visit: Visit, asked: Query<Asked>) -> Result<Sheet, Problem> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let filter = AuditFilter {
        who: given(&asked.who),
        action: given(&asked.action),
        target: given(&asked.target),
        since: None,
        until: None,
        before: asked.before,
        limit: PAGE,
    };
    let page = visit.doors.list_audit.send(ListAudit(filter)).await??;
    let rows = page.items.iter().map(|line| Row {
        href: None,
        cells: vec![
            parts::time(line.at),
            html! { (parts::foreign(&line.who)) span.under { (parts::foreign(&line.from)) } },
            html! { (line.action) },
            parts::shortened(&line.target, 80),
            html! {
                @if line.result == "ok" { (parts::badge(Tone::Good, "ok")) } @else { (parts::shortened(&line.result, 120)) }
            },
        ],
    });
    let content = html! {
        (parts::heading("Audit", html! { "Who did what, from where, and what came of it. Each line carries the digest of the one before." }, html! {}))
        (parts::filters(&visit.url("/admin/audit"), html! {
            (parts::filter("who", "Who", "admin", asked.who.as_deref()))
            (parts::filter("action", "What", "login", asked.action.as_deref()))
            (parts::filter("target", "To what", "", asked.target.as_deref()))
        }))
        (parts::live("audit", "audit", html! {
            @if page.items.is_empty() {
                (parts::empty("Nothing fits", html! { a href=(visit.url("/admin/audit")) { "Show everything" } }))
            } @else {
                (parts::table("The audit log, newest first", &["When", "Who", "What", "To what", "Result"], rows))
                (parts::pager(&visit, page.next))
            }
        }))
    };
    Ok(visit.sheet(Section::Audit, "Audit", content))
}
