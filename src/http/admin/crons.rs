//! `/admin/api/crons`: the schedules, what an operator says over their files, and the ledger of their firings. Decides on no instant.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::cron::{Firing, Schedule, Zone};
use actors::domain::CronView;
use actors::messages::cron::{ChangeCron, CronChange, FireCron, ListCrons, NotChanged, NotFired};
use actors::messages::store::{ListFirings, ReadFiring};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PAGE, audit, cursor, page_size};
use crate::http::auth::{self, Caller};
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

/// Firings of the future that are shown.
const AHEAD: usize = 10;

impl From<NotChanged> for Problem {
    fn from(refused: NotChanged) -> Self {
        match refused {
            NotChanged::Unknown { .. } => Self::not_found(refused.to_string()),
            NotChanged::BadSchedule(_) => Self::bad_request(refused.to_string()),
            NotChanged::Store(error) => error.into(),
        }
    }
}

impl From<NotFired> for Problem {
    fn from(refused: NotFired) -> Self {
        match refused {
            NotFired::Unknown { .. } => Self::not_found(refused.to_string()),
            NotFired::TooMany(_) => Self::new(StatusCode::CONFLICT, refused.to_string()),
            NotFired::Stopping => Self::gone(),
            NotFired::Store(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct CronsQuery {
    timezone: Option<String>,
}

/// `?timezone` → `{crons, mistakes}`: by name; `mistakes` are those of every changed file that was refused. `nextLocal` is by the
/// clock of the schedule's own zone, or of the one that is asked for: a name of the IANA database, or `local` for the server's.
#[utoipa::path(
    get,
    path = "/admin/api/crons",
    tag = "crons",
    params(("timezone" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(
    query: Result<Query<CronsQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let zone = query
        .timezone
        .as_deref()
        .filter(|zone| !zone.is_empty())
        .map(Zone::parse)
        .transpose();
    let zone = zone.map_err(|error| Problem::bad_request(format!("timezone: {error}")))?;
    let mut list = doors.crons.list.send(ListCrons).await??;
    if let Some(zone) = zone {
        for cron in &mut list.crons {
            cron.next_local = cron.next_run.map(|next| zone.show(next));
        }
    }
    let mistakes: Vec<Value> = list.refused.iter().map(super::workflows::told).collect();
    Ok(HttpResponse::Ok().json(json!({ "crons": list.crons, "mistakes": mistakes })))
}

/// `{cron, next, history}`: the next ten firings, each with the clock of its zone and why it is not at its written time, and
/// the last ten of the ledger.
#[utoipa::path(
    get,
    path = "/admin/api/crons/{name}",
    tag = "crons",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn one(
    name: Path<String>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let cron = find(&doors, &name).await?;
    let schedule = Schedule::parse(&cron.schedule, Some(&cron.timezone))
        .map_err(|error| Problem::bad_request(format!("invalid schedule: {error}")))?;
    let from = cron
        .pause_until
        .map_or(shared.clock.now(), |until| until.max(shared.clock.now()));
    let next = match cron.reason.is_some() && cron.next_run.is_none() {
        true => Vec::new(),
        false => schedule.next(from, AHEAD).iter().map(shown).collect(),
    };
    let history = ListFirings {
        cron: Some(cron.name.clone()),
        before: None,
        limit: AHEAD,
    };
    let history = doors.list_firings.send(history).await??;
    Ok(HttpResponse::Ok().json(json!({ "cron": cron, "next": next, "history": history.items })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct HistoryQuery {
    before: Option<String>,
    limit: Option<String>,
}

/// `?before&limit` → `{firings, next}`, newest first.
#[utoipa::path(
    get,
    path = "/admin/api/crons/{name}/history",
    tag = "crons",
    params(("name" = String, Path), ("before" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn history(
    name: Path<String>,
    query: Result<Query<HistoryQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let cron = find(&doors, &name).await?;
    let order = ListFirings {
        cron: Some(cron.name),
        before: cursor(query.before.as_ref())?,
        limit: page_size(query.limit.as_ref(), PAGE)?,
    };
    let page = doors.list_firings.send(order).await??;
    Ok(HttpResponse::Ok().json(json!({ "firings": page.items, "next": page.next })))
}

/// `{firing}` with what it dispatched.
#[utoipa::path(
    get,
    path = "/admin/api/crons/{name}/history/{firing}",
    tag = "crons",
    params(("name" = String, Path), ("firing" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn firing(path: Path<(String, String)>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let (name, seq) = path.into_inner();
    let seq = seq.parse().map_err(|_| Problem::not_found("firing not found"))?;
    let found = doors
        .read_firing
        .send(ReadFiring(actors::domain::FiringSeq(seq)))
        .await??;
    match found.filter(|found| found.firing.cron == name) {
        Some(firing) => Ok(HttpResponse::Ok().json(json!({ "firing": firing }))),
        None => Err(Problem::not_found("firing not found")),
    }
}

/// `{enabled?}` → `{name, enabled}`. Without a wish it is the other way than before.
#[utoipa::path(
    post,
    path = "/admin/crons/{name}/toggle",
    tag = "house",
    params(("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn toggle(
    request: HttpRequest,
    name: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let wish = wish::maybe(&["enabled"], &body)?;
    let enabled = match wish.get("enabled") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(enabled)) => Some(*enabled),
        Some(_) => return Err(Problem::bad_request("enabled must be true or false")),
    };
    let change = CronChange::Enabled(enabled);
    let acts = Acts {
        request,
        body,
        caller,
        shared,
        doors,
    };
    acts.change(
        "cron toggle",
        &name,
        change,
        |cron| json!({ "name": cron.name, "enabled": cron.enabled }),
    )
    .await
}

/// `{schedule}` → `{name, schedule}`; live at once.
#[utoipa::path(
    post,
    path = "/admin/api/crons/{name}/schedule",
    tag = "crons",
    params(("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn reschedule(
    request: HttpRequest,
    name: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let wish = wish::of(&["schedule"], &body)?;
    let schedule = wish::text(&wish, "schedule")?.map(str::trim);
    let schedule = schedule
        .filter(|schedule| !schedule.is_empty())
        .ok_or_else(|| Problem::bad_request("schedule is required"))?
        .to_owned();
    let acts = Acts {
        request,
        body,
        caller,
        shared,
        doors,
    };
    acts.change(
        "cron schedule",
        &name,
        CronChange::Schedule(schedule),
        |cron| json!({ "name": cron.name, "schedule": cron.schedule, "nextRun": cron.next_run }),
    )
    .await
}

/// `{name, schedule, enabled}`: the file counts again.
#[utoipa::path(
    delete,
    path = "/admin/api/crons/{name}/override",
    tag = "crons",
    params(("name" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn reset(
    request: HttpRequest,
    name: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    wish::nothing(&body)?;
    let acts = Acts {
        request,
        body,
        caller,
        shared,
        doors,
    };
    acts.change(
        "cron reset",
        &name,
        CronChange::Reset,
        |cron| json!({ "name": cron.name, "schedule": cron.schedule, "enabled": cron.enabled }),
    )
    .await
}

/// 202 `{accepted, name, firing}`: fired now, in the ledger like any other.
#[utoipa::path(
    post,
    path = "/admin/api/crons/{name}/run",
    tag = "crons",
    params(("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 202, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn run(
    request: HttpRequest,
    name: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    wish::nothing(&body)?;
    idempotency::once(&request, &body, &caller, &shared, &doors, async |seed| {
        let order = FireCron {
            cron: name.to_string(),
            who: caller.who.clone(),
            seed,
        };
        let fired = doors.crons.fire.send(order).await?;
        let refused = fired.as_ref().err().map(ToString::to_string);
        let line = audit::line(&request, &shared, &caller, "cron run", &name, refused.as_deref());
        doors.audit.send(line).await??;
        let firing = fired?;
        tracing::info!(cron = name.as_str(), firing = firing.0, who = %caller.who, "schedule fired by hand");
        Ok((
            StatusCode::ACCEPTED,
            json!({ "accepted": true, "name": name.as_str(), "firing": firing }),
        ))
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preview {
    schedule: String,
    timezone: Option<String>,
}

/// `{schedule, timezone?}` → `{next}`: when that would fire, or 400 with what is wrong with it. Changes nothing.
#[utoipa::path(
    post,
    path = "/admin/api/crons/preview",
    tag = "crons",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn preview(
    request: HttpRequest,
    body: Bytes,
    shared: Data<HttpShared>,
) -> Result<HttpResponse, Problem> {
    // Arithmetic that changes nothing, asked for with every key that is pressed: no matter for the audit log.
    auth::told(&request);
    let wish: Preview = wish::typed(&body)?;
    let timezone = wish.timezone.as_deref().filter(|zone| !zone.is_empty());
    let schedule = Schedule::parse(&wish.schedule, timezone)
        .map_err(|error| Problem::bad_request(format!("invalid schedule: {error}")))?;
    let next: Vec<Value> = schedule.next(shared.clock.now(), AHEAD).iter().map(shown).collect();
    Ok(HttpResponse::Ok().json(json!({
        "schedule": schedule.expression(),
        "timezone": schedule.timezone(),
        "next": next,
    })))
}

fn shown(firing: &Firing) -> Value {
    json!({ "at": firing.at, "local": firing.local, "shifted": firing.shifted })
}

async fn find(doors: &HttpDoors, name: &str) -> Result<CronView, Problem> {
    let list = doors.crons.list.send(ListCrons).await??;
    let known: Vec<String> = list.crons.iter().map(|cron| cron.name.clone()).collect();
    let found = list.crons.into_iter().find(|cron| cron.name == name);
    found.ok_or_else(|| {
        NotChanged::Unknown {
            name: name.to_owned(),
            known,
        }
        .into()
    })
}

/// What a change is made of.
struct Acts {
    request: HttpRequest,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
}

impl Acts {
    async fn change(
        &self,
        action: &str,
        name: &str,
        change: CronChange,
        answer: impl Fn(&CronView) -> Value,
    ) -> Result<HttpResponse, Problem> {
        let (caller, doors) = (&self.caller, &self.doors);
        idempotency::once(&self.request, &self.body, caller, &self.shared, doors, async |_| {
            let order = ChangeCron {
                cron: name.to_owned(),
                change: change.clone(),
                who: caller.who.clone(),
            };
            let changed = doors.crons.change.send(order).await?;
            let refused = changed.as_ref().err().map(ToString::to_string);
            let line = audit::line(&self.request, &self.shared, caller, action, name, refused.as_deref());
            doors.audit.send(line).await??;
            let cron = changed?;
            tracing::info!(cron = cron.name, schedule = cron.schedule, enabled = cron.enabled, who = %caller.who, action, "schedule changed");
            Ok((StatusCode::OK, answer(&cron)))
        })
        .await
    }
}
