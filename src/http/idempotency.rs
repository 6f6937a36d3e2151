//! `Idempotency-Key`: the same request under the same key is acted on once and answered alike. Knows no route.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse};
use actors::messages::store::{ClaimKey, Claimed, KeepAnswer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::auth::Caller;
use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_LIMIT: usize = 200;

/// Acts, unless the same request was answered under its key before. `act` is given a seed for the ids that it makes: with
/// it, a repetition after a crash between act and answer finds what the first one made.
pub(crate) async fn once(
    request: &HttpRequest,
    body: &[u8],
    caller: &Caller,
    shared: &HttpShared,
    doors: &HttpDoors,
    act: impl AsyncFnOnce(Option<Uuid>) -> Result<(StatusCode, Value), Problem>,
) -> Result<HttpResponse, Problem> {
    once_without(&[], request, body, caller, shared, doors, act).await
}

/// The same for an answer that holds a secret: what stands under these keys is told once, is not kept, and is `null` in a
/// repetition.
pub(crate) async fn once_without(
    secrets: &[&str],
    request: &HttpRequest,
    body: &[u8],
    caller: &Caller,
    shared: &HttpShared,
    doors: &HttpDoors,
    act: impl AsyncFnOnce(Option<Uuid>) -> Result<(StatusCode, Value), Problem>,
) -> Result<HttpResponse, Problem> {
    let Some(offered) = request.headers().get(KEY) else {
        let (status, answer) = act(None).await?;
        return Ok(HttpResponse::build(status).json(answer));
    };
    let offered = offered
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= KEY_LIMIT)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "Idempotency-Key must be 1 to {KEY_LIMIT} visible ASCII characters"
            ))
        })?;
    let key = format!("{}\n{}\n{}", caller.who, request.path(), offered);
    let claim = ClaimKey {
        key: key.clone(),
        request: hex::encode(Sha256::digest(body)),
        at: shared.clock.now(),
    };
    match doors.claim_key.send(claim).await?? {
        Claimed::Answered { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            Ok(HttpResponse::build(status).content_type("application/json").body(body))
        }
        Claimed::OtherRequest => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used with another request body; use a new key",
        )),
        Claimed::Act => {
            let (status, answer) = act(Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()))).await?;
            let mut kept = answer.clone();
            for secret in secrets {
                kept[*secret] = Value::Null;
            }
            let keep = KeepAnswer {
                key,
                status: status.as_u16(),
                body: kept.to_string(),
            };
            doors.keep_answer.send(keep).await??;
            Ok(HttpResponse::build(status).json(answer))
        }
    }
}
