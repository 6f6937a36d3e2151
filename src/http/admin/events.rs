//! `GET /admin/api/events[/:id]`: what was accepted and what became of it. Reads only.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use actors::domain::{EventFilter, EventState, EventType};
use actors::messages::store::{EffectsOf, ListEvents, ReadEvent};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{PAGE, one_of, page_size};
use crate::http::problem::Problem;
use crate::http::server::HttpDoors;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    repo: Option<String>,
    r#type: Option<String>,
    state: Option<String>,
    sender: Option<String>,
    before: Option<i64>,
    limit: Option<usize>,
}

/// `?repo&type&state&sender&before&limit` → `{events, next}`, newest first, without raw payloads.
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let filter = EventFilter {
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
        repo: query.repo,
        sender: query.sender,
        before: query.before,
        limit: page_size(query.limit, PAGE)?,
    };
    let page = doors.list_events.send(ListEvents(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "events": page.items, "next": page.next })))
}

#[derive(Serialize)]
struct Detail<E, F> {
    event: WithRaw<E>,
    effects: F,
}

#[derive(Serialize)]
struct WithRaw<E> {
    #[serde(flatten)]
    event: E,
    raw: Option<Box<RawValue>>,
}

/// `{event, effects}`: the envelope with its raw payload, and what it led to.
pub(crate) async fn one(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let found = doors.read_event.send(ReadEvent { id: id.clone() }).await??;
    let Some((event, raw)) = found else {
        return Err(Problem::not_found("event not found"));
    };
    let effects = doors
        .effects_of
        .send(EffectsOf {
            run: event.run,
            event: Some(id.clone()),
        })
        .await??;
    let raw = raw
        .payload()
        .inspect_err(|error| tracing::error!(delivery.id = id, %error, "a stored payload cannot be shown"))
        .ok();
    Ok(HttpResponse::Ok().json(Detail {
        event: WithRaw { event, raw },
        effects,
    }))
}
