//! `/admin/api/containers`: processes that runs have started and that are alive, and the end of one. Holds no rule.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::ProcessGroup;
use actors::messages::runs::{KillProcess, ReadProcesses};
use serde_json::json;

use super::audit;
use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

/// `{containers: [{name, pid, run, phase, command, processes, memoryBytes, cpuMs}]}`: the process groups of phases at work.
#[utoipa::path(
    get,
    path = "/admin/api/containers",
    tag = "runs",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let groups = doors.desk.processes.send(ReadProcesses).await?;
    Ok(HttpResponse::Ok().json(json!({ "containers": groups })))
}

/// `{stats: {count, processes, memoryBytes, cpuMs}}`: all of them together.
#[utoipa::path(
    get,
    path = "/admin/api/containers/stats",
    tag = "runs",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn stats(doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let groups = doors.desk.processes.send(ReadProcesses).await?;
    let sum = |of: fn(&ProcessGroup) -> u64| groups.iter().map(of).sum::<u64>();
    Ok(HttpResponse::Ok().json(json!({ "stats": {
        "count": groups.len(),
        "processes": sum(|group| group.processes as u64),
        "memoryBytes": sum(|group| group.memory_bytes),
        "cpuMs": sum(|group| group.cpu_ms),
    } })))
}

/// → `{killed}`: the whole group is killed, its phase has failed. 400 for a name that is none of ours, 404 where nobody has it.
#[utoipa::path(
    delete,
    path = "/admin/api/containers/{name}",
    tag = "runs",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn kill(
    request: HttpRequest,
    name: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let name = name.into_inner();
    wish::nothing(&body)?;
    idempotency::once(&request, &body, &caller, &shared, &doors, async |_| {
        let refused = if !name.starts_with(ProcessGroup::PREFIX) {
            Some(Problem::bad_request(format!(
                "only what a run has started can be killed; its name begins with {}",
                ProcessGroup::PREFIX
            )))
        } else {
            let killed = doors.desk.kill.send(KillProcess { name: name.clone() }).await?;
            (!killed).then(|| Problem::not_found("container not found"))
        };
        let words = refused.as_ref().map(ToString::to_string);
        let target: String = name.chars().take(200).collect();
        let line = audit::line(&request, &shared, &caller, "kill", &target, words.as_deref());
        doors.audit.send(line).await??;
        match refused {
            Some(refused) => Err(refused),
            None => Ok((StatusCode::OK, json!({ "killed": name }))),
        }
    })
    .await
}
