//! `/admin/api/config` and `/admin/api/actors`: what the service goes by, and how its actors do. Reads only.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use actors::messages::house::AwaitQuiet;
use futures_util::future::join_all;
use serde_json::json;

use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};

/// How long an actor may take to say that it has nothing in hand.
const PATIENCE: Duration = Duration::from_millis(100);

/// `{default, overlay, merged, provenance}`: what ships, what was set besides (null: nothing), what holds, and where each
/// value came from. Secrets are `[redacted]`.
#[utoipa::path(
    get,
    path = "/admin/api/config",
    tag = "house",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn show(shared: Data<HttpShared>) -> HttpResponse {
    HttpResponse::Ok().json(&shared.config)
}

/// `{actors: [{name, state, mailbox: {capacity}, handled}]}`. `state` is `idle`, `busy` (something is in hand) or `gone`;
/// `handled` counts what was finished since the service started, and is null while the actor is busy. An actor that falls
/// is not started again alone: the service stops, and its next start takes everything up.
#[utoipa::path(
    get,
    path = "/admin/api/actors",
    tag = "house",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn actors(shared: Data<HttpShared>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let asked = doors.desk.stations.iter().map(|(name, capacity, quiet)| {
        let patience = shared.clock.sleep(PATIENCE);
        async move {
            let (state, handled) = tokio::select! {
                answer = quiet.send(AwaitQuiet) => match answer {
                    Ok(handled) => ("idle", Some(handled)),
                    Err(_) => ("gone", None),
                },
                () = patience => ("busy", None),
            };
            json!({ "name": name, "state": state, "mailbox": { "capacity": capacity }, "handled": handled })
        }
    });
    Ok(HttpResponse::Ok().json(json!({ "actors": join_all(asked).await })))
}
