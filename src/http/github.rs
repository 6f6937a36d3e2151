//! `POST /webhooks/github`: raw bytes become a message, its verdict becomes a status. Holds no check of its own but those about the bytes.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actors::messages::github::{Deliver, ExplainRefusal, Verdict};
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use super::body::{self, BodyRefused};
use super::server::{HttpDoors, HttpShared};

/// GitHub's own cap on payloads.
const BODY_CAP: usize = 25 * 1024 * 1024;

/// How many deliveries of one worker may be on their way to the disk; one more is answered 503.
const IN_FLIGHT: usize = 1024;

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const EVENT: HeaderName = HeaderName::from_static("x-github-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");

/// What one worker's route keeps between requests.
pub(crate) struct Intake {
    in_flight: Semaphore,
    refusals: RefusalLog,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            in_flight: Semaphore::new(IN_FLIGHT),
            refusals: RefusalLog::default(),
        }
    }
}

#[utoipa::path(
    post,
    path = "/webhooks/github",
    tag = "house",
    request_body = serde_json::Value,
    responses((status = 202, description = "accepted, and on disk", body = serde_json::Value), (status = 200, description = "filtered, with the reason", body = serde_json::Value), (status = 400, description = "no JSON object, or no event name"), (status = 401, description = "the signature does not fit"), (status = 408, description = "the body stalled"), (status = 413, description = "over 25 MiB"), (status = 503, description = "not accepted; try again")),
)]
pub(crate) async fn receive(
    request: HttpRequest,
    payload: Payload,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
    intake: Data<Intake>,
) -> HttpResponse {
    // Judged on the headers alone where that is enough: what is refused here is never read.
    if body::announced(&request).is_some_and(|length| length > BODY_CAP) {
        return intake.refuse(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large");
    }
    let signature = only_header(&request, &SIGNATURE);
    if shared.signed && signature.is_none() {
        explain(&request, &shared, &doors, None);
        return intake.refuse(StatusCode::UNAUTHORIZED, "Invalid signature");
    }
    let Ok(_place) = intake.in_flight.try_acquire() else {
        return intake.refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many deliveries at once; try again in a moment",
        );
    };
    let body = match body::read(&request, payload, BODY_CAP, &shared.body_budget).await {
        Ok(body) => body,
        Err(BodyRefused::TooLarge) => return intake.refuse(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
        Err(BodyRefused::NoRoom) => {
            return intake.refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many large bodies at once; try again in a moment",
            );
        }
        Err(BodyRefused::Stalled) => {
            return intake.refuse(StatusCode::REQUEST_TIMEOUT, "the body stood still for 15 s");
        }
        Err(BodyRefused::Broken) => return intake.refuse(StatusCode::BAD_REQUEST, "the body could not be read"),
    };
    let deliver = Deliver {
        signature,
        event: only_header(&request, &EVENT),
        delivery: only_header(&request, &DELIVERY),
        form: is_form(&request),
        body: body.bytes.clone(),
    };
    match doors.deliver.send(deliver).await {
        Ok(verdict) => {
            if matches!(verdict, Verdict::Unsigned) {
                explain(&request, &shared, &doors, Some(&body.bytes));
            }
            intake.answer(verdict)
        }
        Err(_) => intake.refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the service is stopping; try again in a moment",
        ),
    }
}

/// Seldom enough that nobody can buy our time with bad signatures.
#[derive(Debug)]
pub(crate) struct Seldom(AtomicI64);

impl Default for Seldom {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Seldom {
    /// Milliseconds between two explanations.
    const PAUSE: i64 = 10_000;

    /// Whether it is time again; if so, the next one has to wait.
    fn due(&self, now: DateTime<Utc>) -> bool {
        let (last, now) = (self.0.load(Ordering::Relaxed), now.timestamp_millis());
        // A clock that was set back must not silence us until it has caught up.
        let rested = now < last || now.saturating_sub(last) >= Self::PAUSE;
        rested
            && self
                .0
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Has it found out why a signature does not fit, once in a while; the operator is told, never the sender.
fn explain(request: &HttpRequest, shared: &HttpShared, doors: &HttpDoors, body: Option<&Bytes>) {
    if !shared.explanations.due(shared.clock.now()) {
        return;
    }
    let headers = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let order = ExplainRefusal {
        headers: headers.collect(),
        body: body.filter(|body| body.len() <= ExplainRefusal::LONGEST_BODY).cloned(),
    };
    // A full mailbox loses this one: somebody is flooding us, and there will be others.
    let _ = doors.explain.try_send(order);
}

/// The header's value, if it is there exactly once: of two, nobody knows which one counts.
fn only_header(request: &HttpRequest, name: &HeaderName) -> Option<String> {
    let mut values = request.headers().get_all(name);
    let first = values.next()?;
    if values.next().is_some() {
        return None;
    }
    first.to_str().ok().map(str::to_owned)
}

fn is_form(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

impl Intake {
    fn answer(&self, verdict: Verdict) -> HttpResponse {
        match verdict {
            Verdict::Unsigned => self.refuse(StatusCode::UNAUTHORIZED, "Invalid signature"),
            Verdict::NoEventHeader => self.refuse(StatusCode::BAD_REQUEST, "Missing X-GitHub-Event header"),
            Verdict::InvalidJson => self.refuse(StatusCode::BAD_REQUEST, "Invalid JSON"),
            Verdict::Filtered(reason) => {
                tracing::debug!(reason, "delivery filtered");
                HttpResponse::Ok().json(Filtered { filtered: true, reason })
            }
            Verdict::Accepted(id) => HttpResponse::Accepted().json(Accepted {
                accepted: true,
                id: id.as_str(),
                duplicate: None,
            }),
            Verdict::Duplicate(id) => {
                tracing::debug!(delivery.id = %id, "delivery seen before");
                HttpResponse::Accepted().json(Accepted {
                    accepted: true,
                    id: id.as_str(),
                    duplicate: Some(true),
                })
            }
            Verdict::Refused(error) => self.refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }

    fn refuse(&self, status: StatusCode, words: &str) -> HttpResponse {
        self.refusals.note(status, words);
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, "1"));
        }
        response.json(serde_json::json!({ "error": words }))
    }
}

#[derive(serde::Serialize)]
struct Filtered {
    filtered: bool,
    reason: String,
}

#[derive(serde::Serialize)]
struct Accepted<'a> {
    accepted: bool,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

/// One short line per refused request, but no more than a few a second: a flood must not fill the disk.
#[derive(Default)]
struct RefusalLog {
    second: Cell<Option<Instant>>,
    lines: Cell<u32>,
    unsaid: Cell<u64>,
}

impl RefusalLog {
    const LINES_A_SECOND: u32 = 5;

    fn note(&self, status: StatusCode, words: &str) {
        let now = Instant::now();
        if self
            .second
            .get()
            .is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1))
        {
            self.second.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() >= Self::LINES_A_SECOND {
            self.unsaid.set(self.unsaid.get() + 1);
            return;
        }
        self.lines.set(self.lines.get() + 1);
        let unsaid = self.unsaid.take();
        tracing::warn!(status = status.as_u16(), why = words, unsaid, "delivery refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_signatures_is_explained_once_in_ten_seconds() {
        let at = |millis: i64| DateTime::from_timestamp_millis(1_700_000_000_000 + millis).expect("a time");
        let seldom = Seldom::default();
        let table = [
            (0, true),
            (1, false),
            (9_999, false),
            (10_000, true),
            (10_001, false),
            // The clock was set back.
            (-60_000, true),
            (-59_999, false),
        ];
        for (millis, due) in table {
            assert_eq!(seldom.due(at(millis)), due, "{millis}");
        }
    }
}
