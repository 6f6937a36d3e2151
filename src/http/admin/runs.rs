//! `/admin/api/workflow-runs`: list, detail, phases, cancel.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{RunFilter, RunId, RunRecord, RunStatus};
use actors::messages::runs::CancelRun;
use actors::messages::store::{EffectsOf, ListRuns, LoadRun};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::page_size;
use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};

/// Rows of a page of runs unless the caller says otherwise, as in the original.
const PAGE: usize = 20;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    workflow: Option<String>,
    status: Option<String>,
    since: Option<DateTime<Utc>>,
    repo: Option<String>,
    before: Option<i64>,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// `?limit(1..200,20)&offset&before&since&workflow&repo&status` (`active`, or a comma list) → `{workflowRuns, total, next}`.
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let filter = RunFilter {
        workflow: query.workflow,
        statuses: statuses(query.status.as_deref().unwrap_or_default())?,
        since: query.since,
        repo: query.repo,
        before: query.before,
        offset: query.offset.unwrap_or(0),
        limit: page_size(query.limit, PAGE)?,
    };
    let (page, total) = doors.list_runs.send(ListRuns(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "workflowRuns": page.items, "total": total, "next": page.next })))
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
}

/// `{workflowRun}`: the run with its context, phases and effects.
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
    };
    Ok(HttpResponse::Ok().json(json!({ "workflowRun": detail })))
}

/// `{executions}`: the run's phase executions, oldest first.
pub(crate) async fn executions(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let run = load(&id, &doors).await?;
    Ok(HttpResponse::Ok().json(json!({ "executions": run.phases })))
}

/// `{cancelled, killedContainers}`: the latter is always empty here; clients of the original expect it.
pub(crate) async fn cancel(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let run = run_id(&id)?;
    idempotency::once(&request, &body, &caller, &shared, &doors, async |_| {
        let who = caller.who.clone();
        doors.cancel.send(CancelRun { run, who }).await??;
        Ok((StatusCode::OK, json!({ "cancelled": run, "killedContainers": [] })))
    })
    .await
}

async fn load(id: &str, doors: &HttpDoors) -> Result<RunRecord, Problem> {
    doors.load_run.send(LoadRun(run_id(id)?)).await??.ok_or_else(not_found)
}

fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| not_found())
}

fn not_found() -> Problem {
    Problem::not_found("workflow run not found")
}
