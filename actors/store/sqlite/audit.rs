//! The audit log: rows that are only added, each carrying the hash of the one before. Knows nothing else.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sha2::{Digest, Sha256};

use super::columns::{get, millis, rows, time};
use super::fault::Fault;
use crate::domain::{AuditFilter, AuditLine, Page};
use crate::messages::store::RecordAudit;

/// What stands before the first row.
pub(super) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Adds a row. The writer is the only one that does, so the row before is always the last one.
pub(super) fn record(db: &Connection, line: &RecordAudit) -> Result<(), Fault> {
    let before: Option<String> = db
        .prepare_cached("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let before = before.unwrap_or_else(|| BEGINNING.to_owned());
    let at = millis(line.at);
    let hash = link(
        &before,
        at,
        [&line.who, &line.from, &line.action, &line.target, &line.result],
    );
    db.prepare_cached(
        "INSERT INTO audit (at, who, from_addr, action, target, result, prev_hash, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        at,
        line.who,
        line.from,
        line.action,
        line.target,
        line.result,
        before,
        hash,
    ])?;
    Ok(())
}

/// How far the clock may have gone back between two lines, in ms, so that a list by time still finds each of them.
const DISORDER: i64 = 60 * 60 * 1_000;

/// Lines, newest first. A time is turned into a place in the order first, so that nothing is read that lies far off it.
pub(super) fn list(db: &Connection, filter: &AuditFilter) -> Result<Page<AuditLine>, Fault> {
    let mut sql = "SELECT seq, at, who, from_addr, action, target, result FROM audit WHERE TRUE".to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut only = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(
            " AND {}",
            condition.replace('?', &format!("?{}", values.len()))
        ));
    };
    for (condition, text) in [
        ("target = ?", &filter.target),
        ("who = ?", &filter.who),
        ("action = ?", &filter.action),
    ] {
        if let Some(text) = text {
            only(condition, text.clone().into());
        }
    }
    if let Some(since) = filter.since {
        only("at >= ?", millis(since).into());
        only(
            "seq >= (SELECT seq FROM audit INDEXED BY audit_by_time WHERE at >= ? ORDER BY at, seq LIMIT 1)",
            millis(since).saturating_sub(DISORDER).into(),
        );
    }
    if let Some(until) = filter.until {
        only("at < ?", millis(until).into());
        only(
            "seq <= (SELECT seq FROM audit INDEXED BY audit_by_time WHERE at < ? ORDER BY at DESC, seq DESC LIMIT 1)",
            millis(until).saturating_add(DISORDER).into(),
        );
    }
    if let Some(before) = filter.before {
        only("seq < ?", before.into());
    }
    values.push(rows(filter.limit.saturating_add(1)).into());
    sql.push_str(&format!(" ORDER BY seq DESC LIMIT ?{}", values.len()));
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = found.next()? {
        items.push(AuditLine {
            seq: get(row, "seq")?,
            at: time(get(row, "at")?)?,
            who: get(row, "who")?,
            from: get(row, "from_addr")?,
            action: get(row, "action")?,
            target: get(row, "target")?,
            result: get(row, "result")?,
        });
    }
    Ok(Page::cut(items, filter.limit, |line| line.seq))
}

/// SHA-256, hex, over the hash before, the time in milliseconds and the five texts. Each is preceded by its length in
/// bytes (eight, big-endian), so that no two rows can be written the same way.
pub(super) fn link(before: &str, at: i64, texts: [&str; 5]) -> String {
    let at = at.to_string();
    let mut hash = Sha256::new();
    for part in [before, &at].into_iter().chain(texts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}
