//! How long lists are cut into pages. Knows no row and no query.

use serde::Serialize;

/// One page of a list, newest first, with the cursor of the page after it.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Give this back as `before` to read on; absent on the last page.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// Cuts `items`, read with one row too many, to `limit` rows; `position` is the row's place in the order.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> i64) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(position) } else { None };
        Self { items, next }
    }
}
