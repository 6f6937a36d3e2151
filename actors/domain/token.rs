//! Tokens as they are remembered: who has one, for what, until when. Never the token itself. Pure.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// A token that is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// As the token itself says.
    pub id: String,
    /// Who speaks with it.
    pub who: String,
    /// How they signed in, or `token` for one that was made by hand.
    pub method: String,
    /// What it is for, where somebody said so.
    pub label: Option<String>,
    /// `read`, `operate` or `admin`.
    pub scope: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it runs out.
    pub expires_at: DateTime<Utc>,
}

/// A token that was handed out. It is forgotten thirty days after it ran out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    /// Its place in the order of handing out.
    #[serde(skip)]
    pub seq: i64,
    /// As the token itself says.
    pub id: String,
    /// Who speaks with it.
    pub who: String,
    /// How they signed in, or `token` for one that was made by hand.
    pub method: String,
    /// What it is for, where somebody said so.
    pub label: Option<String>,
    /// `read`, `operate` or `admin`.
    pub scope: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it runs out.
    pub expires_at: DateTime<Utc>,
    /// When it was last seen, give or take ten minutes.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
    /// By whom.
    pub revoked_by: Option<String>,
}

/// Which tokens are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFilter {
    /// Only those that are worth something at this instant.
    pub live_at: Option<DateTime<Utc>>,
    /// Only those of this method.
    pub method: Option<String>,
    /// Only those handed out before this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}
