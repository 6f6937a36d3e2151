//! How much there is, for `/ready`, the dashboard and tests. Knows indexes, not rows.

use rusqlite::Connection;

use super::columns::count as unsigned;
use super::fault::Fault;
use crate::messages::store::StoreCounts;

/// Counts what is open; how the writer wrote is added by whoever knows it.
pub(super) fn count(db: &Connection) -> Result<StoreCounts, Fault> {
    let one = |sql: &str| -> Result<u64, Fault> {
        let n: i64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(unsigned(n))
    };
    Ok(StoreCounts {
        unsettled_events: one("SELECT count(*) FROM events INDEXED BY events_recorded WHERE state = 'recorded'")?,
        live_runs: one("SELECT ifnull(sum(n), 0) FROM run_counts WHERE status IN ('queued', 'running')")?,
        open_effects: one("SELECT count(*) FROM effects INDEXED BY effects_open WHERE settled_at IS NULL")?,
        ..StoreCounts::default()
    })
}
