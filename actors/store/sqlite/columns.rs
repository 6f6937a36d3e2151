//! Values as columns and back: times, JSON, closed lists, ids. Knows no table.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// A time as it is stored: milliseconds since 1970 UTC.
pub(super) fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// A stored time.
pub(super) fn time(millis: i64) -> Result<DateTime<Utc>, Fault> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| Fault::wrong(format!("a stored row is damaged: {millis} is no time")))
}

/// A stored time that may be absent.
pub(super) fn maybe_time(millis: Option<i64>) -> Result<Option<DateTime<Utc>>, Fault> {
    millis.map(time).transpose()
}

/// A number of the domain as a column. What is beyond the column's range (no platform counts that far) becomes its end.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number that cannot be negative.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// How many rows are wanted, as a column.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Fault> {
    Ok(serde_json::to_string(value)?)
}

/// A value out of stored JSON text.
pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::wrong(format!("stored {what} cannot be read: {error}")))
}

/// A value of a closed list.
pub(super) fn word<T>(what: &str, text: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
    read(text).ok_or_else(|| {
        Fault::wrong(format!(
            "stored {what} {text:?} is not of the list; was it written by a newer version?"
        ))
    })
}

/// Shorter than `row.get(name)?` with two kinds of errors.
pub(super) fn get<T: FromSql>(row: &Row<'_>, column: &str) -> Result<T, Fault> {
    Ok(row.get(column)?)
}

/// A text column of a row, borrowed.
pub(super) fn text<'r>(row: &'r Row<'_>, column: &str) -> Result<&'r str, Fault> {
    row.get_ref(column)?
        .as_str()
        .map_err(|error| Fault::wrong(format!("a stored row is damaged: column {column}: {error}")))
}

/// A text column of a row that may be null, borrowed.
pub(super) fn maybe_text<'r>(row: &'r Row<'_>, column: &str) -> Result<Option<&'r str>, Fault> {
    row.get_ref(column)?
        .as_str_or_null()
        .map_err(|error| Fault::wrong(format!("a stored row is damaged: column {column}: {error}")))
}
