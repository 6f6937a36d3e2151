//! `/admin/api/workflow-runs`: list, detail, phases, cancel, retry.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{Opened, RunFilter, RunId, RunRecord, RunStatus, TriggerType};
use actors::messages::dispatch::RetryRun;
use actors::messages::library::ReadWorkflows;
use actors::messages::runs::CancelRun;
use actors::messages::store::{EffectsOf, ListExecutions, ListRuns, LoadRun, RunWorkflows};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{MOST_SKIPPED, audit, cursor, instant, page_size, whole, words};
use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

/// Rows of a page of runs unless the caller says otherwise, as in the original.
const PAGE: usize = 20;

/// Rows of a page of phase executions unless the caller says otherwise, as in the original.
const EXECUTIONS: usize = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    workflow: Option<String>,
    status: Option<String>,
    since: Option<String>,
    repo: Option<String>,
    before: Option<String>,
    offset: Option<String>,
    limit: Option<String>,
}

/// `?limit(1..200,20)&offset&before&since&workflow&repo&status` (`active`, or a comma list) → `{workflowRuns, total, next}`.
#[utoipa::path(
    get,
    path = "/admin/api/workflow-runs",
    tag = "runs",
    params(("workflow" = Option<String>, Query), ("status" = Option<String>, Query), ("since" = Option<String>, Query), ("repo" = Option<String>, Query), ("before" = Option<String>, Query), ("offset" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let filter = RunFilter {
        workflow: words("workflow", query.workflow.as_ref())?,
        statuses: statuses(query.status.as_deref().unwrap_or_default())?,
        since: instant("since", query.since.as_ref())?,
        repo: words("repo", query.repo.as_ref())?,
        before: cursor(query.before.as_ref())?,
        offset: whole("offset", query.offset.as_ref(), 0..=MOST_SKIPPED)?.unwrap_or(0),
        limit: page_size(query.limit.as_ref(), PAGE)?,
    };
    let (page, total) = doors.list_runs.send(ListRuns(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "workflowRuns": page.items, "total": total, "next": page.next })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExecutionsQuery {
    before: Option<String>,
    offset: Option<String>,
    limit: Option<String>,
}

/// `?limit(1..200,100)&offset&before` → `{executions, next}`: the phase executions of all runs, newest first, without output.
#[utoipa::path(
    get,
    path = "/admin/api/executions",
    tag = "runs",
    params(("before" = Option<String>, Query), ("offset" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn all_executions(
    query: Result<Query<ExecutionsQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let order = ListExecutions {
        before: cursor(query.before.as_ref())?,
        offset: whole("offset", query.offset.as_ref(), 0..=MOST_SKIPPED)?.unwrap_or(0),
        limit: page_size(query.limit.as_ref(), EXECUTIONS)?,
    };
    let page = doors.desk.executions.send(order).await??;
    Ok(HttpResponse::Ok().json(json!({ "executions": page.items, "next": page.next })))
}

/// `{workflowNames}`: of all workflows that there are or that ever ran, sorted.
#[utoipa::path(
    get,
    path = "/admin/api/workflow-names",
    tag = "runs",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn workflow_names(doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let ran = doors.desk.run_workflows.send(RunWorkflows).await??;
    let shelf = doors.workflows.send(ReadWorkflows).await?;
    let there = shelf.workflows.iter().map(|workflow| workflow.name.to_string());
    let names: BTreeSet<String> = ran.into_iter().chain(there).collect();
    Ok(HttpResponse::Ok().json(json!({ "workflowNames": names })))
}

fn statuses(text: &str) -> Result<Vec<RunStatus>, Problem> {
    if text == "active" {
        return Ok(vec![RunStatus::Running, RunStatus::Paused]);
    }
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            RunStatus::from_text(word).ok_or_else(|| {
                let known: Vec<_> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
                Problem::bad_request(format!(
                    "status must be \"active\" or a comma list of: {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a, E> {
    #[serde(flatten)]
    summary: &'a actors::domain::RunSummary,
    context: &'a actors::domain::RunContext,
    reply_to: &'a actors::domain::ReplyTo,
    phases: &'a [actors::domain::PhaseRecord],
    effects: E,
    trace_id: actors::domain::TraceId,
}

/// `{workflowRun}`: the run with its context, phases and effects. `traceId` is the name of its trace at the collector, where
/// traces are kept (`telemetry.otlp`).
#[utoipa::path(
    get,
    path = "/admin/api/workflow-runs/{id}",
    tag = "runs",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn one(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let run = load(&id, &doors).await?;
    let effects = doors
        .effects_of
        .send(EffectsOf {
            run: Some(run.summary.id),
            event: None,
        })
        .await??;
    let detail = Detail {
        summary: &run.summary,
        context: &run.context,
        reply_to: &run.reply_to,
        phases: &run.phases,
        effects,
        trace_id: actors::domain::TraceId::of_run(run.summary.id, &run.summary.cause),
    };
    Ok(HttpResponse::Ok().json(json!({ "workflowRun": detail })))
}

/// `{executions}`: the run's phase executions, oldest first.
#[utoipa::path(
    get,
    path = "/admin/api/workflow-runs/{id}/executions",
    tag = "runs",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn executions(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let run = load(&id, &doors).await?;
    Ok(HttpResponse::Ok().json(json!({ "executions": run.phases })))
}

/// `{cancelled, killedContainers}`: the latter is always empty here; clients of the original expect it.
#[utoipa::path(
    post,
    path = "/admin/api/workflow-runs/{id}/cancel",
    tag = "runs",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn cancel(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let run = run_id(&id)?;
    wish::nothing(&body)?;
    idempotency::once(&request, &body, &caller, &shared, &doors, async |_| {
        let who = caller.who.clone();
        let cancelled = doors.cancel.send(CancelRun { run, who }).await?;
        let refused = cancelled.as_ref().err().map(ToString::to_string);
        let line = audit::line(
            &request,
            &shared,
            &caller,
            "cancel",
            &run.to_string(),
            refused.as_deref(),
        );
        doors.audit.send(line).await??;
        cancelled?;
        Ok((StatusCode::OK, json!({ "cancelled": run, "killedContainers": [] })))
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    from: Option<String>,
}

/// `{from?}` → 202 `{accepted, executionId, workflow, retryOf, from?}`: a new run of the same definition and context, from its
/// beginning or from the named phase on; what came before that phase is not done again. 400 while the run is live, 404 for
/// an unknown run, 409 where the workflow is switched off.
#[utoipa::path(
    post,
    path = "/admin/api/workflow-runs/{id}/retry",
    tag = "runs",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 202, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn retry(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let run = run_id(&id)?;
    let wish: Retry = match body.trim_ascii() {
        [] => Retry::default(),
        body => wish::typed(body)?,
    };
    idempotency::once(&request, &body, &caller, &shared, &doors, async |seed| {
        let order = RetryRun {
            run,
            from: wish.from.clone(),
            trigger: TriggerType::Api,
            who: caller.who.clone(),
            seed,
        };
        let retried = doors.retry.send(order).await?;
        let refused = retried.as_ref().err().map(ToString::to_string);
        let line = audit::line(
            &request,
            &shared,
            &caller,
            "retry",
            &run.to_string(),
            refused.as_deref(),
        );
        doors.audit.send(line).await??;
        let opened = retried?;
        let id = opened.run();
        let workflow = load(&id.to_string(), &doors).await?.summary.workflow;
        let mut answer = json!({ "accepted": true, "executionId": id, "workflow": workflow, "retryOf": run });
        if let Some(from) = wish.from {
            answer["from"] = from.into();
        }
        if matches!(opened, Opened::Joined(..)) {
            answer["joined"] = true.into();
        }
        Ok((StatusCode::ACCEPTED, answer))
    })
    .await
}

async fn load(id: &str, doors: &HttpDoors) -> Result<RunRecord, Problem> {
    doors.load_run.send(LoadRun(run_id(id)?)).await??.ok_or_else(not_found)
}

fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| not_found())
}

pub(super) fn not_found() -> Problem {
    Problem::not_found("workflow run not found")
}
