//! `Idempotency-Key`: the same request under the same key is acted on once and answered alike. Knows no route.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// Keys whose requests are being acted on in this process. The store cannot tell them from those that a crash has left
/// without an answer, which are to be acted on again.
#[derive(Debug, Default)]
pub(crate) struct AtWork(Mutex<HashSet<String>>);

impl AtWork {
    fn keys(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a key, until what is answered goes; nothing, while somebody has it.
    fn take(&self, key: &str) -> Option<Taken<'_>> {
        let free = self.keys().insert(key.to_owned());
        free.then(|| Taken {
            among: self,
            key: key.to_owned(),
        })
    }
}

/// A key that is being acted on; free again when this goes.
struct Taken<'a> {
    among: &'a AtWork,
    key: String,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.among.keys().remove(&self.key);
    }
}

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
    let Some(_taken) = shared.at_work.take(&key) else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "a request under this Idempotency-Key is still at work; ask again in a moment for its answer",
        ));
    };
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
        Claimed::Act { since } => {
            // What a key made outlives the key: one that is used again on another day is another wish.
            let claimed = format!("{key}\n{}", since.timestamp_millis());
            let (status, answer) = act(Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, claimed.as_bytes()))).await?;
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
