//! `/health` and `/ready`: is the process there, and can it take work. Says nothing that a stranger may not know.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use actors::messages::store::CountStore;

use super::knocks;
use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};

#[utoipa::path(
    get,
    path = "/health",
    tag = "house",
    responses((status = 200, description = "alive", body = serde_json::Value)),
)]
pub(crate) async fn health(request: HttpRequest, shared: Data<HttpShared>) -> HttpResponse {
    knocks::listen(&request, &shared);
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok", "connector": "github" }))
}

/// 503 until every actor runs and the store answers.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "house",
    responses((status = 200, description = "every door is open", body = serde_json::Value), (status = 503, description = "not yet, or not any more")),
)]
pub(crate) async fn ready(shared: Data<HttpShared>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    if !shared.is_ready() {
        return Err(Problem::new(
            actix_web::http::StatusCode::SERVICE_UNAVAILABLE,
            "starting or stopping",
        ));
    }
    doors.count.send(CountStore).await??;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "status": "ready" })))
}
