//! How much there is, for `/ready`, the dashboard and tests. Knows indexes, not rows.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::columns::{count as unsigned, maybe_time, millis, time};
use super::fault::Fault;
use super::{prune, sessions};
use crate::domain::{HourCount, Load, Totals};
use crate::messages::store::StoreCounts;

pub(super) const HOUR_MS: i64 = 3_600_000;

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

/// Counts so many events more in an hour, or less.
pub(super) fn count_events(db: &Connection, hour: i64, n: i64) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO hours VALUES (?1, 'events', max(?2, 0)) ON CONFLICT (hour, what) DO UPDATE SET n = max(n + ?2, 0)",
    )?
    .execute([hour, n])?;
    Ok(())
}

/// What happened, by the hour.
pub(super) fn hours(db: &Connection, since: DateTime<Utc>) -> Result<Vec<HourCount>, Fault> {
    let mut statement = db.prepare_cached("SELECT hour, what, n FROM hours WHERE hour >= ?1 ORDER BY hour, what")?;
    let mut found = statement.query([millis(since).div_euclid(HOUR_MS)])?;
    let mut hours = Vec::new();
    while let Some(row) = found.next()? {
        hours.push(HourCount {
            hour: time(row.get::<_, i64>(0)?.saturating_mul(HOUR_MS))?,
            what: row.get(1)?,
            n: unsigned(row.get(2)?),
        });
    }
    Ok(hours)
}

/// What is late, what ever happened, and how much room is left.
pub(super) fn load(db: &Connection, folder: &Path) -> Result<Load, Fault> {
    let instant = |sql: &str| -> Result<Option<DateTime<Utc>>, Fault> {
        let at: Option<i64> = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        maybe_time(at)
    };
    let mut statement = db.prepare_cached("SELECT what, sum(n) FROM hours GROUP BY what")?;
    let ever = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
    let disk = rustix::fs::statvfs(folder).ok();
    Ok(Load {
        oldest_event_at: instant(
            "SELECT min(received_at) FROM (SELECT received_at FROM events INDEXED BY events_recorded
                                           WHERE state = 'recorded' ORDER BY seq LIMIT 1)",
        )?,
        first_due_at: instant(
            "SELECT min(due_at) FROM (
                 SELECT due_at FROM effects INDEXED BY effects_heads WHERE head = 1
                 UNION ALL
                 SELECT due_at FROM effects INDEXED BY effects_deliveries_due
                     WHERE endpoint IS NOT NULL AND settled_at IS NULL)",
        )?,
        ever: ever.collect::<Result<_, _>>()?,
        space: prune::space(db)?,
        disk_free: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
    })
}

/// How much there is.
pub(super) fn totals(db: &Connection, live_since: DateTime<Utc>) -> Result<Totals, Fault> {
    let one = |sql: &str| -> Result<u64, Fault> {
        let n: i64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(unsigned(n))
    };
    let by_word = |sql: &str| -> Result<BTreeMap<String, u64>, Fault> {
        let mut statement = db.prepare_cached(sql)?;
        let found = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
        Ok(found.collect::<Result<_, _>>()?)
    };
    Ok(Totals {
        events: one("SELECT (SELECT ifnull(sum(n), 0) FROM hours WHERE what = 'events')
                  + (SELECT count(*) FROM events INDEXED BY events_recorded WHERE state = 'recorded')")?,
        quarantined_events: one(
            "SELECT count(*) FROM events INDEXED BY events_quarantined WHERE state = 'quarantined'",
        )?,
        runs: by_word("SELECT status, sum(n) FROM run_counts GROUP BY status HAVING sum(n) > 0")?,
        pending_approvals: one("SELECT count(*) FROM approvals INDEXED BY approvals_pending WHERE status = 'pending'")?,
        open_deliveries: by_word(
            "SELECT state, count(*) FROM effects INDEXED BY effects_deliveries_not_done
             WHERE delivery IS NOT NULL AND state <> 'done' GROUP BY state",
        )?,
        live_sessions: sessions::live(db, live_since)?,
    })
}
