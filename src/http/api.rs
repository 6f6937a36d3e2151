//! `POST /api/run` and `POST /api/build`: the command line's way to start a workflow. Makes no envelope.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{Opened, RunContext, TriggerType};
use actors::messages::dispatch::{DispatchWorkflow, NotDispatched};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::auth::{self, Caller};
use super::idempotency;
use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};
use super::wish;

/// What `POST /api/build` takes.
const BUILD: &[&str] = &[
    "owner",
    "repo",
    "issueNumber",
    "issueTitle",
    "issueBody",
    "issueLabels",
    "sender",
];

/// `{workflow | skill, context?}` → 202 `{accepted, executionId, workflow}`; with `context.repos` one run per repository
/// and `executionIds` beside.
#[utoipa::path(
    post,
    path = "/api/run",
    tag = "runs",
    request_body = serde_json::Value,
    responses((status = 202, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn run(
    request: HttpRequest,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let wish = wish::of(&["workflow", "skill", "context"], &body)?;
    let name = ["workflow", "skill"]
        .iter()
        .find_map(|key| wish.get(*key).and_then(Value::as_str).filter(|name| !name.is_empty()))
        .ok_or_else(|| Problem::bad_request("Missing 'workflow' (or 'skill') field"))?
        .to_owned();
    let context = match wish.get("context") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(context)) => context.clone(),
        Some(_) => return Err(Problem::bad_request("'context' must be an object")),
    };
    auth::about(&request, "run", name.as_str());
    let several = context.contains_key("repos");
    idempotency::once(&request, &body, &caller, &shared, &doors, async |seed| {
        let opened = dispatch(&doors, &name, RunContext(context), &caller, seed).await?;
        let ids: Vec<String> = opened.iter().map(|opened| opened.run().to_string()).collect();
        auth::about(&request, "run", ids.join(" "));
        let mut answer = json!({ "accepted": true, "executionId": ids.first(), "workflow": name });
        if several {
            answer["executionIds"] = json!(ids);
        }
        if opened.iter().all(|opened| matches!(opened, Opened::Joined(..))) {
            answer["joined"] = json!(true);
        }
        Ok((StatusCode::ACCEPTED, answer))
    })
    .await
}

/// `{owner, repo, issueNumber, issueTitle?, issueBody?, issueLabels?, sender?}` → 202
/// `{accepted, owner, repo, issueNumber, executionId}`.
#[utoipa::path(
    post,
    path = "/api/build",
    tag = "runs",
    request_body = serde_json::Value,
    responses((status = 202, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn build(
    request: HttpRequest,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let wish = wish::of(BUILD, &body)?;
    let text = |key: &str| wish::text(&wish, key);
    let number = wish.get("issueNumber").and_then(|number| match number {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    });
    let (Some(owner), Some(repo), Some(number)) = (text("owner")?, text("repo")?, number) else {
        return Err(Problem::bad_request("Missing owner, repo, or issueNumber"));
    };
    let title = text("issueTitle")?.map_or_else(|| format!("Issue #{number}"), str::to_owned);
    let issue_body = text("issueBody")?.unwrap_or_default();
    let labels = match wish.get("issueLabels") {
        None | Some(Value::Null) => json!([]),
        Some(labels @ Value::Array(_)) => labels.clone(),
        Some(_) => return Err(Problem::bad_request("issueLabels must be a list")),
    };
    let context = json!({
        "repo": format!("{owner}/{repo}"),
        "issueNumber": number,
        "title": title,
        "issueTitle": title,
        "body": issue_body,
        "issueBody": issue_body,
        "labels": labels,
        "issueLabels": labels,
        "sender": text("sender")?.unwrap_or("cli"),
    });
    auth::about(&request, "run", shared.build_workflow.as_str());
    let Value::Object(context) = context else {
        return Err(Problem::bad_request("Invalid JSON"));
    };
    idempotency::once(&request, &body, &caller, &shared, &doors, async |seed| {
        let opened = dispatch(&doors, &shared.build_workflow, RunContext(context), &caller, seed).await?;
        let id = opened.first().map(|opened| opened.run().to_string());
        auth::about(&request, "run", id.clone().unwrap_or_default());
        let answer =
            json!({ "accepted": true, "owner": owner, "repo": repo, "issueNumber": number, "executionId": id });
        Ok((StatusCode::ACCEPTED, answer))
    })
    .await
}

async fn dispatch(
    doors: &HttpDoors,
    workflow: &str,
    context: RunContext,
    caller: &Caller,
    seed: Option<Uuid>,
) -> Result<Vec<Opened>, Problem> {
    let order = DispatchWorkflow {
        workflow: workflow.to_owned(),
        context,
        trigger: TriggerType::Api,
        who: caller.who.clone(),
        seed,
    };
    let opened = doors
        .dispatch
        .send(order)
        .await?
        // What was asked for is the caller's own text; the audit log has it, cut and once.
        .inspect_err(|_: &NotDispatched| tracing::info!("a run was asked for and refused; the audit log says which"))?;
    Ok(opened)
}
