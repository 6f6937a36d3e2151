//! `/admin/api/approvals`: what waits for a person, and the answer.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{ApprovalId, Decided, Decision};
use actors::messages::runs::StartRun;
use actors::messages::store::{Answer, Decide, OpenGates, ReadApproval};
use serde_json::{Value, json};

use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};

/// `{approvals}`: those that are pending, newest first.
pub(crate) async fn list(doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let approvals = doors.open_gates.send(OpenGates { subject: None }).await??;
    Ok(HttpResponse::Ok().json(json!({ "approvals": approvals })))
}

/// `{approval}`: one of any status.
pub(crate) async fn one(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::not_found("approval not found");
    let approval = doors
        .read_approval
        .send(ReadApproval(id.parse().map_err(|_| unknown())?))
        .await??;
    Ok(HttpResponse::Ok().json(json!({ "approval": approval.ok_or_else(unknown)? })))
}

/// `{decision, reason?}` → `{status}`; compare-and-set, so the second answer is 400 `already approved`.
pub(crate) async fn respond(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::not_found("approval not found");
    let approval: ApprovalId = id.parse().map_err(|_| unknown())?;
    let wish: Value =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(format!("Invalid JSON: {error}")))?;
    let decision = wish
        .get("decision")
        .and_then(Value::as_str)
        .and_then(Decision::from_text)
        .ok_or_else(|| Problem::bad_request("decision must be \"approved\" or \"rejected\""))?;
    let response = wish
        .get("reason")
        .and_then(Value::as_str)
        .filter(|reason| !reason.is_empty())
        .map(str::to_owned);
    let answer = Answer {
        approval,
        decision,
        by: caller.who.clone(),
        response,
        at: shared.clock.now(),
    };
    idempotency::once(&request, &body, &caller, &shared, &doors, async |_| {
        match doors.decide.send(Decide(answer)).await?? {
            Decided::Counted { run } => {
                tracing::info!(run.id = %run, %decision, who = %caller.who, "approval answered");
                // A full mailbox means that the supervisor is at work and looks into the queue when done.
                let _ = doors.start_run.try_send(StartRun);
                Ok((StatusCode::OK, json!({ "status": decision })))
            }
            Decided::Already(status) => Err(Problem::bad_request(format!("already {status}"))),
            Decided::Unknown => Err(unknown()),
        }
    })
    .await
}
