//! `POST /admin/api/route-test`: what would become of a payload, or of a stored event. Nothing of it is stored, nothing is done.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use actors::domain::{DeliveryId, EventEnvelope, EventType, RuleCheck, Ruling, Source};
use actors::messages::dispatch::{Rehearsed, TryRoute};
use actors::messages::github::{Judged, TryDelivery};
use actors::messages::store::ReadEvent;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::events;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// A stored event.
    id: Option<String>,
    /// What `X-GitHub-Event` would say.
    event: Option<String>,
    /// Headers of the delivery; only the event and the delivery's id are looked at.
    #[serde(default)]
    headers: Map<String, Value>,
    payload: Option<Box<RawValue>>,
}

/// `{id}`, or `{event, payload, headers?}` → `{checks, filtered, envelope, routing, admission, outcome, workflow, starts,
/// liveRun, says}`: what each check of the webhook's contract and each rule of routing and admission says, and what would
/// happen. Nothing is done, and nothing of the payload is stored or traced; that somebody asked is in the audit log.
#[utoipa::path(
    post,
    path = "/admin/api/route-test",
    tag = "events",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn rehearse(
    body: Bytes,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let wish: Wish = wish::typed(&body)?;
    let verdict = match &wish.id {
        Some(_) if wish.payload.is_some() => {
            return Err(Problem::bad_request(
                "id and payload exclude each other; give one of them",
            ));
        }
        Some(id) => of_stored(id, &doors).await?,
        None => judge(pasted(&wish, &shared)?, &doors).await?,
    };
    let mut answer = json!({
        "checks": verdict.checks, "filtered": verdict.filtered, "envelope": verdict.envelope, "routing": [], "admission": [],
        "outcome": verdict.filtered.as_ref().map(|reason| format!("filtered: {reason}")), "workflow": null, "starts": false,
        "liveRun": null, "says": [],
    });
    if let Some(rehearsed) = verdict.rehearsed
        && let (Value::Object(answer), Value::Object(rehearsed)) = (&mut answer, json!(rehearsed))
    {
        answer.extend(rehearsed);
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// What would become of a payload or an event.
pub(crate) struct Verdict {
    /// What each check of the webhook's contract says.
    pub(crate) checks: Vec<RuleCheck>,
    /// Why nothing would be recorded.
    pub(crate) filtered: Option<String>,
    /// What would be recorded.
    pub(crate) envelope: Option<EventEnvelope>,
    /// What routing and admission would make of that.
    pub(crate) rehearsed: Option<Rehearsed>,
}

/// Looks at a payload as if GitHub had just sent it. `event` is what `X-GitHub-Event` would say.
pub(crate) async fn of_payload(
    event: &str,
    json: String,
    shared: &HttpShared,
    doors: &HttpDoors,
) -> Result<Verdict, Problem> {
    judge(delivered(event, fresh(shared), json), doors).await
}

/// Looks at a stored event as if it came in now.
pub(crate) async fn of_stored(id: &str, doors: &HttpDoors) -> Result<Verdict, Problem> {
    judge(stored(id, doors).await?, doors).await
}

async fn judge(case: Case, doors: &HttpDoors) -> Result<Verdict, Problem> {
    let mut checks = case.before;
    let (envelope, filtered) = match case.delivery {
        Some(delivery) => {
            let judged: Judged = doors.desk.try_delivery.send(delivery).await?;
            checks.extend(judged.checks);
            (judged.envelope, judged.filtered)
        }
        None => (case.envelope, None),
    };
    checks.push(match &case.seen {
        None => RuleCheck::new("duplicate", Ruling::Skipped, "it is the stored event itself"),
        Some(id) => {
            let seen = doors
                .read_event
                .send(ReadEvent { id: id.to_string() })
                .await??
                .is_some();
            let words = if seen {
                "an event of this id was accepted before"
            } else {
                "its id is new"
            };
            RuleCheck::on("duplicate", !seen, words)
        }
    });
    let rehearsed = match &envelope {
        Some(envelope) => {
            let order = TryRoute {
                envelope: Box::new(envelope.clone()),
            };
            Some(doors.desk.rehearse.send(order).await??)
        }
        None => None,
    };
    Ok(Verdict {
        checks,
        filtered,
        envelope,
        rehearsed,
    })
}

/// What is rehearsed.
struct Case {
    /// What is said of the checks that cannot be made here.
    before: Vec<RuleCheck>,
    /// What the connector judges; nothing for an event that did not come through the webhook.
    delivery: Option<TryDelivery>,
    /// What is routed where nothing is judged.
    envelope: Option<EventEnvelope>,
    /// The id that may have been accepted before.
    seen: Option<DeliveryId>,
}

fn unsigned(bytes: usize) -> Vec<RuleCheck> {
    const LIMIT: usize = 25 * 1024 * 1024;
    vec![
        RuleCheck::on("body size", bytes <= LIMIT, format!("{bytes} bytes of at most {LIMIT}")),
        RuleCheck::new("signature", Ruling::Skipped, "a rehearsal is not signed"),
    ]
}

fn pasted(wish: &Wish, shared: &HttpShared) -> Result<Case, Problem> {
    let payload = wish
        .payload
        .as_ref()
        .ok_or_else(|| Problem::bad_request("payload is missing; give one, or the id of a stored event"))?;
    // A payload may be pasted as the text that it came as.
    let json = match serde_json::from_str::<Value>(payload.get()) {
        Ok(Value::String(text)) => text,
        _ => payload.get().to_owned(),
    };
    let header = |name: &str| {
        let mut named = wish.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.find_map(|(_, value)| value.as_str())
    };
    let event = wish
        .event
        .as_deref()
        .or_else(|| header("x-github-event"))
        .unwrap_or_default();
    let delivery = match header("x-github-delivery").map(str::parse) {
        Some(Ok(id)) => id,
        _ => fresh(shared),
    };
    Ok(delivered(event, delivery, json))
}

fn fresh(shared: &HttpShared) -> DeliveryId {
    let id = shared.clock.fresh_id().to_string();
    id.parse().expect("a UUID is visible text")
}

fn delivered(event: &str, delivery: DeliveryId, json: String) -> Case {
    Case {
        before: unsigned(json.len()),
        delivery: Some(TryDelivery {
            event: event.to_owned(),
            delivery: delivery.clone(),
            json,
        }),
        envelope: None,
        seen: Some(delivery),
    }
}

async fn stored(id: &str, doors: &HttpDoors) -> Result<Case, Problem> {
    let found = doors.read_event.send(ReadEvent { id: id.to_owned() }).await??;
    let (event, raw) = found.ok_or_else(events::unknown)?;
    let envelope = event.envelope;
    if envelope.source != Source::Github {
        return Ok(Case {
            before: vec![RuleCheck::new(
                "webhook",
                Ruling::Skipped,
                format!("it came from {}, whose connector has taken it", envelope.source),
            )],
            delivery: None,
            envelope: Some(envelope),
            seen: None,
        });
    }
    let raw = raw.ok_or_else(|| {
        Problem::new(
            actix_web::http::StatusCode::CONFLICT,
            "the payload of this event is not kept any more (retention.payloads); paste one instead",
        )
    })?;
    let json = raw.payload().map_err(|error| {
        Problem::new(
            actix_web::http::StatusCode::CONFLICT,
            format!("the stored payload cannot be read: {error}"),
        )
    })?;
    Ok(Case {
        before: unsigned(json.get().len()),
        delivery: Some(TryDelivery {
            event: header_of(envelope.kind).to_owned(),
            delivery: envelope.id,
            json: json.get().to_owned(),
        }),
        envelope: None,
        seen: None,
    })
}

/// The event's name in the header that it came with; the header itself is not kept.
pub(crate) fn header_of(kind: EventType) -> &'static str {
    use EventType as T;
    match kind {
        T::IssueOpened | T::IssueReopened | T::IssueClosed => "issues",
        T::PrOpened | T::PrSynchronize | T::PrReopened | T::PrClosed | T::PrMerged => "pull_request",
        T::CommentCreated => "issue_comment",
        T::PrReviewSubmitted => "pull_request_review",
        T::PrReviewCommentCreated => "pull_request_review_comment",
        T::Message => "",
    }
}
