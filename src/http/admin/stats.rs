//! `GET /admin/api/stats`: how much the store holds and how it writes. Reads only.

use actix_web::HttpResponse;
use actix_web::web::Data;
use actors::messages::store::CountStore;
use serde_json::json;

use crate::http::problem::Problem;
use crate::http::server::HttpDoors;

/// `{store: {unsettledEvents, liveRuns, openEffects, written, commits}}`; the last two count since the process started.
pub(crate) async fn show(doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    let store = doors.count.send(CountStore).await??;
    Ok(HttpResponse::Ok().json(json!({ "store": store })))
}
