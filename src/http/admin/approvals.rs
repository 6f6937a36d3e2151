//! `/admin/api/approvals`: what waits for a person, with its rules and votes, and the answer.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{Approval, ApprovalFilter, ApprovalId, ApprovalStatus, Decided, Decision, Via};
use actors::messages::runs::StartRun;
use actors::messages::store::{Answer, Decide, ListApprovals, LoadRun, ReadApproval};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PAGE_LIMIT, audit, cursor, one_of, page_size};
use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    status: Option<String>,
    run: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

/// `?status&run&before&limit` → `{approvals, next}`, newest first. Without `status` and `run` those that are pending, `all`
/// for those of any status.
#[utoipa::path(
    get,
    path = "/admin/api/approvals",
    tag = "approvals",
    params(("status" = Option<String>, Query), ("run" = Option<String>, Query), ("before" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value), (status = 404, description = "there is no such run")),
)]
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let run = match &query.run {
        Some(run) => Some(run.parse().map_err(|_| super::runs::not_found())?),
        None => None,
    };
    let status = match query.status.as_deref() {
        Some("all") => None,
        None if run.is_none() => Some(ApprovalStatus::Pending),
        _ => one_of(
            "status",
            query.status.as_ref(),
            ApprovalStatus::ALL,
            ApprovalStatus::from_text,
            ApprovalStatus::as_str,
        )?,
    };
    let filter = ApprovalFilter {
        status,
        run,
        before: cursor(query.before.as_ref())?,
        limit: page_size(query.limit.as_ref(), PAGE_LIMIT)?,
    };
    let page = doors.list_approvals.send(ListApprovals(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "approvals": page.items, "next": page.next })))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(flatten)]
    approval: Approval,
    /// What the phase has brought about: what the answer is about, beside the question itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

/// `{approval}`: one of any status, with its rules, its votes, and what was shown (`summary`, `output`, `headSha`; `shown`
/// is the SHA-256 of them).
#[utoipa::path(
    get,
    path = "/admin/api/approvals/{id}",
    tag = "approvals",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn one(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let approval = read(&id, &doors).await?;
    let run = doors.load_run.send(LoadRun(approval.run)).await??;
    let output = run.and_then(|run| {
        let latest = run.phases.into_iter().rev().find(|phase| phase.phase == approval.phase);
        latest.and_then(|phase| phase.output)
    });
    Ok(HttpResponse::Ok().json(json!({ "approval": Detail { approval, output } })))
}

/// `{decision, reason?, response?, shown?}` → `{status}`; compare-and-set, so the second answer is 400 `already approved`.
///
/// `response` is the answer in words where words are asked for. `shown` is the digest of what the caller saw; when that has
/// changed the answer does not count. 403 with the reason where the rules of the question do not let it count; where more
/// people have to approve, `{status: "pending", approvals, needed}`.
#[utoipa::path(
    post,
    path = "/admin/api/approvals/{id}/respond",
    tag = "approvals",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn respond(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let approval: ApprovalId = id.parse().map_err(|_| unknown())?;
    let wish = wish::of(&["decision", "reason", "response", "shown"], &body)?;
    let decision = wish
        .get("decision")
        .and_then(Value::as_str)
        .and_then(Decision::from_text)
        .ok_or_else(|| Problem::bad_request("decision must be \"approved\" or \"rejected\""))?;
    let (response, reason) = (wish::text(&wish, "response")?, wish::text(&wish, "reason")?);
    let answer = Answer {
        approval,
        decision,
        by: caller.responder(Via::Api),
        response: response.or(reason).map(str::to_owned),
        saw: wish::text(&wish, "shown")?.map(str::to_owned),
        at: shared.clock.now(),
    };
    idempotency::once(&request, &body, &caller, &shared, &doors, async |_| {
        let decided = doors.decide.send(Decide(answer)).await??;
        if let Decided::Counted { run } = &decided {
            tracing::info!(run.id = %run, %decision, who = %caller.who, "approval answered");
            // A full mailbox means that the supervisor is at work and looks into the queue when done.
            let _ = doors.start_run.try_send(StartRun);
        }
        let result = decided.words();
        let line = audit::line(
            &request,
            &shared,
            &caller,
            "approval",
            &approval.to_string(),
            result.as_deref(),
        );
        doors.audit.send(line).await??;
        match decided {
            Decided::Counted { .. } => Ok((StatusCode::OK, json!({ "status": decision }))),
            Decided::Voted { have, need } => Ok((
                StatusCode::OK,
                json!({ "status": "pending", "approvals": have, "needed": need }),
            )),
            Decided::Refused(reason) => Err(Problem::new(StatusCode::FORBIDDEN, reason)),
            Decided::Already(status) => Err(Problem::bad_request(format!("already {status}"))),
            Decided::Unknown => Err(unknown()),
        }
    })
    .await
}

async fn read(id: &str, doors: &HttpDoors) -> Result<Approval, Problem> {
    let id = id.parse().map_err(|_| unknown())?;
    doors.read_approval.send(ReadApproval(id)).await??.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::not_found("approval not found")
}
