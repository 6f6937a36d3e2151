//! `/admin/api/events`: what was accepted, what became of it, and once more.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{DeliveryId, EventFilter, EventState, EventType, Replayed, Source, TraceId};
use actors::messages::dispatch::EventArrived;
use actors::messages::store::{EffectsOf, ListEvents, LoadRun, ReadEvent, ReplayEvent};
use chrono::SubsecRound;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{PAGE, audit, cursor, instant, one_of, page_size, words};
use crate::http::auth::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    source: Option<String>,
    repo: Option<String>,
    r#type: Option<String>,
    state: Option<String>,
    sender: Option<String>,
    outcome: Option<String>,
    title: Option<String>,
    since: Option<String>,
    until: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

/// `?source&repo&type&state&sender&outcome&title&since&until&before&limit` → `{events, next}`, newest first, without raw
/// payloads. `outcome` and `title` are words that are looked for in any case of ASCII letters; `since` and `until` are
/// instants. A page may be shorter than `limit`, or empty, where few events match: as long as there is a `next`, there is more.
#[utoipa::path(
    get,
    path = "/admin/api/events",
    tag = "events",
    params(("source" = Option<String>, Query), ("repo" = Option<String>, Query), ("type" = Option<String>, Query), ("state" = Option<String>, Query), ("sender" = Option<String>, Query), ("outcome" = Option<String>, Query), ("title" = Option<String>, Query), ("since" = Option<String>, Query), ("until" = Option<String>, Query), ("before" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let filter = EventFilter {
        source: one_of(
            "source",
            query.source.as_ref(),
            Source::ALL,
            Source::from_text,
            Source::as_str,
        )?,
        kind: one_of(
            "type",
            query.r#type.as_ref(),
            EventType::ALL,
            EventType::from_text,
            EventType::as_str,
        )?,
        state: one_of(
            "state",
            query.state.as_ref(),
            EventState::ALL,
            EventState::from_text,
            EventState::as_str,
        )?,
        repo: words("repo", query.repo.as_ref())?,
        sender: words("sender", query.sender.as_ref())?,
        outcome: words("outcome", query.outcome.as_ref())?,
        title: words("title", query.title.as_ref())?,
        since: instant("since", query.since.as_ref())?,
        until: instant("until", query.until.as_ref())?,
        before: cursor(query.before.as_ref())?,
        limit: page_size(query.limit.as_ref(), PAGE)?,
    };
    let page = doors.list_events.send(ListEvents(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "events": page.items, "next": page.next })))
}

#[derive(Serialize)]
struct Detail<E, F, R> {
    event: WithRaw<E>,
    effects: F,
    run: R,
}

#[derive(Serialize)]
struct WithRaw<E> {
    #[serde(flatten)]
    event: E,
    raw: Option<Box<RawValue>>,
    #[serde(rename = "traceId")]
    trace_id: TraceId,
}

/// `{event, effects, run}`: the envelope with its raw payload (null once that is not kept any more) and why it was routed as it was (`outcome`), what was said, and
/// the run that it started or joined, if there is one. An event that repeats another names it (`replayOf`).
/// `traceId` is the name of its trace at the collector, where traces are kept (`telemetry.otlp`).
#[utoipa::path(
    get,
    path = "/admin/api/events/{id}",
    tag = "events",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn one(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let found = doors.read_event.send(ReadEvent { id: id.clone() }).await??;
    let Some((event, raw)) = found else {
        return Err(unknown());
    };
    let effects = doors
        .effects_of
        .send(EffectsOf {
            run: event.run,
            event: Some(id.clone()),
        })
        .await??;
    let run = match event.run {
        Some(run) => doors.load_run.send(LoadRun(run)).await??.map(|run| run.summary),
        None => None,
    };
    let raw = raw.and_then(|raw| {
        raw.payload()
            .inspect_err(|error| tracing::error!(delivery.id = id, %error, "a stored payload cannot be shown"))
            .ok()
    });
    let trace_id = TraceId::of_event(&event.envelope.id);
    Ok(HttpResponse::Ok().json(Detail {
        event: WithRaw { event, raw, trace_id },
        effects,
        run,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    r#as: String,
}

/// `{"as": "same" | "new"}` → 202 `{accepted, id, as, replayOf?}`. As the same: it is routed again as at the start of the
/// service, where that did not come to an end; 409 where it did. As new: an event with the same content and a fresh id.
#[utoipa::path(
    post,
    path = "/admin/api/events/{id}/replay",
    tag = "events",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 202, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn replay(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let wish: Replay = wish::typed(&body)?;
    let as_new = match wish.r#as.as_str() {
        "new" => true,
        "same" => false,
        _ => return Err(Problem::bad_request("as must be \"same\" or \"new\"")),
    };
    idempotency::once(&request, &body, &caller, &shared, &doors, async |seed| {
        let fresh = as_new.then(|| {
            let id = seed.unwrap_or_else(|| shared.clock.fresh_id());
            id.to_string().parse::<DeliveryId>().expect("a UUID is visible text")
        });
        let order = ReplayEvent {
            id: id.clone(),
            as_new: fresh.clone(),
            at: shared.clock.now().trunc_subsecs(3),
        };
        let replayed = doors.desk.replay.send(order).await??;
        let refused = match &replayed {
            Replayed::Unknown => Some(unknown()),
            Replayed::Settled(_) => Some(Problem::new(StatusCode::CONFLICT, "already settled; replay it as new")),
            _ => None,
        };
        let words = refused.as_ref().map(ToString::to_string);
        let line = audit::line(&request, &shared, &caller, "replay", &id, words.as_deref());
        doors.audit.send(line).await??;
        if let Some(refused) = refused {
            return Err(refused);
        }
        if let Replayed::TakenUp(seq) | Replayed::Waits(seq) | Replayed::Fresh(seq) = replayed {
            // A full mailbox means that the dispatcher is at work and looks for more when done.
            let _ = doors.desk.arrived.try_send(EventArrived { seq });
        }
        tracing::info!(delivery.id = id, as_new, who = %caller.who, "an event was replayed");
        let mut answer = json!({ "accepted": true, "id": id, "as": wish.r#as });
        if let Some(fresh) = fresh {
            answer["id"] = json!(fresh);
            answer["replayOf"] = id.clone().into();
        }
        Ok((StatusCode::ACCEPTED, answer))
    })
    .await
}

pub(super) fn unknown() -> Problem {
    Problem::not_found("event not found")
}
