//! `GET /admin/api/audit`: who did what; and a line of it for what an operator did through the API. Decides nothing.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::AuditFilter;
use actors::messages::store::{ListAudit, RecordAudit};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::{PAGE, page_size};
use crate::http::auth::{self, Caller};
use crate::http::problem::Problem;
use crate::http::proxies::client_address;
use crate::http::server::{HttpDoors, HttpShared};

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    who: Option<String>,
    action: Option<String>,
    target: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    cursor: Option<i64>,
}

/// `?who&action&target&since&until&limit&cursor` → `{audit: [{seq, at, who, from, action, target, result}], nextCursor}`, newest
/// first. Texts are compared whole; `since` and `until` are times as in RFC 3339, the first included, the second not.
#[utoipa::path(
    get,
    path = "/admin/api/audit",
    tag = "house",
    params(("who" = Option<String>, Query), ("action" = Option<String>, Query), ("target" = Option<String>, Query), ("since" = Option<String>, Query), ("until" = Option<String>, Query), ("limit" = Option<String>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let filter = AuditFilter {
        who: given(query.who),
        action: given(query.action),
        target: given(query.target),
        since: instant("since", given(query.since))?,
        until: instant("until", given(query.until))?,
        before: query.cursor,
        limit: page_size(query.limit.as_ref(), PAGE)?,
    };
    let page = doors.list_audit.send(ListAudit(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "audit": page.items, "nextCursor": page.next })))
}

fn instant(name: &str, text: Option<String>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match DateTime::parse_from_rfc3339(&text) {
        Ok(at) => Ok(Some(at.to_utc())),
        Err(_) => Err(Problem::bad_request(format!(
            "{name} must be a time as in 2026-01-31T09:30:00Z"
        ))),
    }
}

/// Who did what, from where; `refused` says why it came to nothing.
pub(super) fn line(
    request: &HttpRequest,
    shared: &HttpShared,
    caller: &Caller,
    action: &str,
    target: &str,
    refused: Option<&str>,
) -> RecordAudit {
    auth::told(request);
    RecordAudit {
        who: caller.signs(),
        from: client_address(request, &shared.trusted)
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        action: action.to_owned(),
        target: target.to_owned(),
        result: refused.unwrap_or("ok").to_owned(),
        at: shared.clock.now(),
    }
}
