//! `/admin/api/knocks`: hands out words to show at `/health` and tells how they arrived. Changes nothing that lasts.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde_json::json;

use crate::http::problem::Problem;
use crate::http::server::HttpShared;

/// `{word, version}`: a word that is waited for a minute. Shown in the header `X-Firstlight-Knock` of a request for `/health` by way
/// of the public address, it proves that the address leads here.
#[utoipa::path(
    get,
    path = "/admin/api/knocks",
    tag = "house",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn word(shared: Data<HttpShared>) -> HttpResponse {
    let word = shared.clock.fresh_id().to_string();
    shared.knocks.expect(word.clone(), shared.clock.now());
    HttpResponse::Ok().json(json!({ "word": word, "version": env!("CARGO_PKG_VERSION") }))
}

/// `{heard: {peer, client, peerIsTrusted, host, forwardedFor, forwardedProto, forwarded}}`, null where the word has not come:
/// who connected, and whom the service takes for the caller by the headers of its trusted proxies.
#[utoipa::path(
    get,
    path = "/admin/api/knocks/{word}",
    tag = "house",
    params(("word" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value), (status = 404, description = "no such word is waited for")),
)]
pub(crate) async fn heard(word: Path<String>, shared: Data<HttpShared>) -> Result<HttpResponse, Problem> {
    match shared.knocks.heard(&word, shared.clock.now()) {
        Some(heard) => Ok(HttpResponse::Ok().json(json!({ "heard": heard }))),
        None => Err(Problem::not_found("no such word is waited for")),
    }
}
