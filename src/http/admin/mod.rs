//! The admin API: what operators and dashboards read and decide. One file per kind of thing; holds no rule of the inside.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod containers;
pub(crate) mod crons;
mod doors;
pub(crate) mod events;
pub(crate) mod knocks;
pub(crate) mod logs;
pub(crate) mod rehearsal;
pub(crate) mod runs;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod workflows;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Utc};

pub(crate) use self::doors::{Desk, Station};
use super::problem::Problem;

/// Rows of a page unless the caller asks for fewer or more.
const PAGE: usize = 50;

/// Rows of a page at most.
pub(super) const PAGE_LIMIT: usize = 200;

/// Rows that a list with an offset skips at most; a cursor goes further, and does not slow down on its way.
const MOST_SKIPPED: usize = 100_000;

pub(super) fn page_size(asked: Option<&String>, default: usize) -> Result<usize, Problem> {
    Ok(whole("limit", asked, 1..=PAGE_LIMIT)?.unwrap_or(default))
}

/// A cursor out of a query: the `next` of the page before.
pub(super) fn cursor(asked: Option<&String>) -> Result<Option<i64>, Problem> {
    whole("before", asked, 0..=i64::MAX)
}

/// A whole number out of a query; empty is absent.
pub(super) fn whole<N>(name: &str, text: Option<&String>, range: RangeInclusive<N>) -> Result<Option<N>, Problem>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "{name} must be a whole number from {} to {}",
            range.start(),
            range.end()
        ))
    })
}

/// An instant out of a query; empty is absent.
fn instant(name: &str, text: Option<&String>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // A plus sign that was not escaped arrives as a space.
    let read = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    match read {
        Ok(at) => Ok(Some(at.to_utc())),
        Err(_) => Err(Problem::bad_request(format!(
            "{name} must be an instant as in RFC 3339, such as 2026-01-31T12:00:00Z"
        ))),
    }
}

/// Words out of a query; empty is absent.
fn words(name: &str, text: Option<&String>) -> Result<Option<String>, Problem> {
    const MOST: usize = 200;
    match text.filter(|text| !text.is_empty()) {
        Some(text) if text.chars().count() > MOST => Err(Problem::bad_request(format!(
            "{name} must be at most {MOST} characters"
        ))),
        words => Ok(words.cloned()),
    }
}

/// A value of a closed list, out of a query.
fn one_of<T: Copy>(
    name: &str,
    text: Option<&String>,
    all: &[T],
    read: impl Fn(&str) -> Option<T>,
    show: impl Fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    read(text).map(Some).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|one| show(*one)).collect();
        Problem::bad_request(format!("{name} must be one of: {}", known.join(", ")))
    })
}
