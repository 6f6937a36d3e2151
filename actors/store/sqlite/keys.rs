//! Idempotency keys: what was answered under a key is answered again. Knows no route.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{millis, time};
use super::fault::Fault;
use crate::messages::store::{ClaimKey, Claimed, KeepAnswer};

/// How long a key is remembered.
const REMEMBERED: TimeDelta = TimeDelta::hours(24);

/// Claims a key. One without an answer may be acted on again: the act derives its ids from the key and the time of its claim, so
/// that a key that was forgotten and is used anew acts anew.
pub(super) fn claim(db: &Connection, order: &ClaimKey) -> Result<Claimed, Fault> {
    db.prepare_cached("DELETE FROM idempotency_keys WHERE claimed_at < ?1")?
        .execute([millis(order.at - REMEMBERED)])?;
    let fresh = db
        .prepare_cached(
            "INSERT INTO idempotency_keys (key, request, claimed_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
        )?
        .execute(params![order.key, order.request, millis(order.at)])?;
    if fresh > 0 {
        return Ok(Claimed::Act { since: order.at });
    }
    let kept: Option<(String, Option<u16>, Option<String>, i64)> = db
        .prepare_cached("SELECT request, status, body, claimed_at FROM idempotency_keys WHERE key = ?1")?
        .query_row([&order.key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    Ok(match kept {
        Some((request, ..)) if request != order.request => Claimed::OtherRequest,
        Some((_, Some(status), Some(body), _)) => Claimed::Answered { status, body },
        Some((.., since)) => Claimed::Act { since: time(since)? },
        None => Claimed::Act { since: order.at },
    })
}

/// Keeps an answer; the first one stays.
pub(super) fn keep_answer(db: &Connection, order: &KeepAnswer, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE idempotency_keys SET status = ?2, body = ?3, answered_at = ?4 WHERE key = ?1 AND answered_at IS NULL",
    )?
    .execute(params![order.key, order.status, order.body, millis(at)])?;
    Ok(())
}
