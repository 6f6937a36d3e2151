//! The admin API: what operators and dashboards read and decide. One file per kind of thing; holds no rule of the inside.

pub(crate) mod approvals;
mod audit;
pub(crate) mod events;
pub(crate) mod logs;
pub(crate) mod runs;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod workflows;

use super::problem::Problem;

/// Rows of a page unless the caller asks for fewer or more.
const PAGE: usize = 50;

/// Rows of a page at most.
const PAGE_LIMIT: usize = 200;

fn page_size(asked: Option<usize>, default: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(default),
        Some(limit @ 1..=PAGE_LIMIT) => Ok(limit),
        Some(_) => Err(Problem::bad_request(format!(
            "limit must be a whole number from 1 to {PAGE_LIMIT}"
        ))),
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
