//! The audit log: rows that are only added, each carrying the hash of the one before. Knows nothing else.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::columns::millis;
use super::fault::Fault;
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
