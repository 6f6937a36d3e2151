//! `GET /admin/api/audit`: who did what; and a line of it for what an operator did through the API. Decides nothing.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::AuditFilter;
use actors::messages::store::{ListAudit, RecordAudit};
use serde::Deserialize;
use serde_json::json;

use super::{PAGE, instant, page_size, whole};
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
    cursor: Option<String>,
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
        since: instant("since", query.since.as_ref())?,
        until: instant("until", query.until.as_ref())?,
        before: whole("cursor", query.cursor.as_ref(), 0..=i64::MAX)?,
        limit: page_size(query.limit.as_ref(), PAGE)?,
    };
    let page = doors.list_audit.send(ListAudit(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "audit": page.items, "nextCursor": page.next })))
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
        target: auth::plain(target),
        result: auth::plain(refused.unwrap_or("ok")),
        at: shared.clock.now(),
    }
}
