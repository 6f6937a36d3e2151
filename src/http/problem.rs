//! Failure becomes status and words: `{"error": "…"}` everywhere. Decides nothing else.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use actors::messages::dispatch::{NotDispatched, NotRetried};
use actors::messages::runs::NotCancelled;
use actors::messages::store::StoreError;

/// Characters of words at most. What a caller sent may stand in them.
const WORDS_LIMIT: usize = 2_000;

/// Seconds after which a refused sender may try again.
const RETRY_SECONDS: &str = "1";

/// What a caller hears. The words are for people: what was wrong, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub(crate) struct Problem {
    status: StatusCode,
    words: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: one_line(words.into()),
        }
    }

    pub(crate) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(crate) fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized")
    }

    /// The house is going down, or an actor is gone and the process is about to.
    pub(crate) fn gone() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the service is stopping; try again in a moment",
        )
    }
}

/// Words that a terminal or a log can show as they are: what a caller sent may do nothing there.
fn one_line(words: String) -> String {
    if words.len() <= WORDS_LIMIT && !words.contains(char::is_control) {
        return words;
    }
    let shown = |c: char| match c {
        '\n' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    words.chars().map(shown).take(WORDS_LIMIT).collect()
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            response.insert_header((RETRY_AFTER, RETRY_SECONDS));
        }
        response.json(serde_json::json!({ "error": self.words }))
    }
}

/// Bytes of a body at most, for the words of a refusal; the library's own setting cannot be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyCap(pub(super) usize);

/// A failure that the server library has put into words of its own, or into none, is told like every other one.
pub(super) async fn in_our_words(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let answer = next.call(request).await?;
    let Some(problem) = told_by_others(&answer) else {
        return Ok(answer.map_into_left_body());
    };
    let mut told = problem.error_response();
    for (name, value) in answer.headers() {
        if ![CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING].contains(name) {
            told.headers_mut().append(name.clone(), value.clone());
        }
    }
    Ok(answer.into_response(told).map_into_right_body())
}

/// What an answer says that is none of ours; nothing, if it is ours or no failure.
fn told_by_others(answer: &ServiceResponse<impl MessageBody>) -> Option<Problem> {
    let status = answer.status();
    let ours = match answer.response().error() {
        Some(error) => error.as_error::<Problem>().is_some(),
        None => answer.headers().contains_key(CONTENT_TYPE),
    };
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let words = match (status, answer.response().error()) {
        (StatusCode::PAYLOAD_TOO_LARGE, _) => {
            let most = answer.request().app_data::<BodyCap>().map_or(0, |cap| cap.0);
            format!("the body has more than {most} bytes, which is the most that is taken")
        }
        (StatusCode::METHOD_NOT_ALLOWED, _) => {
            "nothing here answers to this method; GET /api/openapi.json lists what there is".to_owned()
        }
        (_, Some(error)) if status.is_client_error() => error.to_string(),
        (_, Some(error)) => {
            tracing::error!(%error, "a request could not be answered");
            "this could not be answered; the log of the service says why".to_owned()
        }
        (_, None) => status.canonical_reason().unwrap_or("refused").to_lowercase(),
    };
    Some(Problem::new(status, words))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Full | StoreError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            StoreError::Failed(ref detail) => {
                // The caller hears no detail of the database; the operator does.
                tracing::error!(detail, "the store failed");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the store failed; the log of the service says why",
                )
            }
        }
    }
}

impl From<actix::MailboxError> for Problem {
    fn from(_: actix::MailboxError) -> Self {
        Self::gone()
    }
}

impl From<NotDispatched> for Problem {
    fn from(refusal: NotDispatched) -> Self {
        let words = refusal.to_string();
        match refusal {
            NotDispatched::UnknownWorkflow { .. } => Self::not_found(words),
            NotDispatched::RepoNotManaged(_) => Self::new(StatusCode::FORBIDDEN, words),
            NotDispatched::BadContext(_) => Self::bad_request(words),
            NotDispatched::SwitchedOff(_) => Self::new(StatusCode::CONFLICT, words),
            NotDispatched::Store(error) => error.into(),
            NotDispatched::Stopping => Self::gone(),
        }
    }
}

impl From<NotRetried> for Problem {
    fn from(refusal: NotRetried) -> Self {
        let words = refusal.to_string();
        match refusal {
            NotRetried::Unknown => Self::not_found(words),
            NotRetried::Live(_) | NotRetried::NoSuchPhase { .. } | NotRetried::NotDoneBefore { .. } => {
                Self::bad_request(words)
            }
            NotRetried::BadDefinition(_) => Self::new(StatusCode::CONFLICT, words),
            NotRetried::NotDispatched(refusal) => refusal.into(),
        }
    }
}

impl From<NotCancelled> for Problem {
    fn from(refusal: NotCancelled) -> Self {
        let words = refusal.to_string();
        match refusal {
            NotCancelled::Unknown => Self::not_found(words),
            NotCancelled::Over(_) => Self::bad_request(words),
            NotCancelled::Store(error) => error.into(),
        }
    }
}
