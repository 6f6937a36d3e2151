//! Lines of the audit log as they are read. Pure.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Who did what from where to what, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    /// Its number, from 1.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who, with the label of their token in parentheses; `-` where nobody was recognised.
    pub who: String,
    /// Network address, or the platform through which it was said.
    pub from: String,
    /// What.
    pub action: String,
    /// Of what.
    pub target: String,
    /// `ok`, or why it was refused.
    pub result: String,
}

/// Which lines are listed. Texts are compared whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose.
    pub who: Option<String>,
    /// Of which action.
    pub action: Option<String>,
    /// Of which target.
    pub target: Option<String>,
    /// Written at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Written before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Only those before this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}
