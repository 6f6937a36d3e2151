//! `/health` and `/ready`: is the process there, and can it take work. Says nothing that a stranger may not know.

use actix_web::HttpResponse;
use actix_web::web::Data;
use actors::messages::store::CountStore;

use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};

pub(crate) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok", "connector": "github" }))
}

/// 503 until every actor runs and the store answers.
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
