//! Failure becomes status and words: `{"error": "…"}` everywhere. Decides nothing else.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use actors::messages::dispatch::{NotDispatched, NotRetried};
use actors::messages::runs::NotCancelled;
use actors::messages::store::StoreError;

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
            words: words.into(),
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
