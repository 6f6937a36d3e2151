//! How webhooks do: counts, since when one fails, whether it is on. Knows no client and no schedule.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{count, get, maybe_time, millis};
use super::fault::Fault;
use crate::domain::WebhookHealth;
use crate::messages::store::SetWebhook;

/// One failure at the beginning of a quiet week and one at its end are no proof: so many are asked for.
const ENOUGH_FAILURES: i64 = 5;

/// Whether a webhook is on.
pub(super) fn is_on(db: &Connection, webhook: &str) -> Result<bool, Fault> {
    let enabled: Option<bool> = db
        .prepare_cached("SELECT enabled FROM webhook_stats WHERE webhook = ?1")?
        .query_row([webhook], |row| row.get(0))
        .optional()?;
    Ok(enabled.unwrap_or(true))
}

/// Counts an attempt that the webhook took.
pub(super) fn took_it(db: &Connection, webhook: &str, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO webhook_stats (webhook, delivered, last_ok_at, updated_at) VALUES (?1, 1, ?2, ?2)
         ON CONFLICT (webhook) DO UPDATE SET delivered = delivered + 1, last_ok_at = ?2, failing_since = NULL, failures = 0,
             last_error = NULL, updated_at = ?2",
    )?
    .execute(params![webhook, millis(at)])?;
    Ok(())
}

/// Counts an attempt that failed. Says since when, if this one switched the webhook off.
pub(super) fn failed(
    db: &Connection,
    webhook: &str,
    error: &str,
    give_up_after: TimeDelta,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Fault> {
    let (enabled, since, failures): (bool, i64, i64) = db
        .prepare_cached(
            "INSERT INTO webhook_stats (webhook, failed, failing_since, failures, last_error, updated_at)
             VALUES (?1, 1, ?3, 1, ?2, ?3)
             ON CONFLICT (webhook) DO UPDATE SET failed = failed + 1, failures = failures + 1,
                 failing_since = coalesce(failing_since, ?3), last_error = ?2, updated_at = ?3
             RETURNING enabled, failing_since, failures",
        )?
        .query_row(params![webhook, error, millis(at)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let since = super::columns::time(since)?;
    if !enabled || failures < ENOUGH_FAILURES || at - since < give_up_after {
        return Ok(None);
    }
    let reason = format!("nothing but failures since {since}; the last one: {error}");
    db.prepare_cached("UPDATE webhook_stats SET enabled = 0, disabled_reason = ?2 WHERE webhook = ?1")?
        .execute(params![webhook, reason])?;
    Ok(Some(since))
}

/// Switches a webhook, or only notes what a probe found.
pub(super) fn set(db: &Connection, order: &SetWebhook) -> Result<bool, Fault> {
    let at = millis(order.at);
    db.prepare_cached("INSERT INTO webhook_stats (webhook, updated_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![order.webhook, at])?;
    match order.enabled {
        Some(true) => db
            .prepare_cached(
                "UPDATE webhook_stats SET enabled = 1, disabled_reason = NULL, failing_since = NULL, failures = 0,
                     last_error = NULL, updated_at = ?2 WHERE webhook = ?1",
            )?
            .execute(params![order.webhook, at])?,
        Some(false) => db
            .prepare_cached(
                "UPDATE webhook_stats SET enabled = 0, disabled_reason = ?3, updated_at = ?2 WHERE webhook = ?1",
            )?
            .execute(params![order.webhook, at, order.reason])?,
        None => db
            .prepare_cached("UPDATE webhook_stats SET last_error = ?3, updated_at = ?2 WHERE webhook = ?1")?
            .execute(params![order.webhook, at, order.reason])?,
    };
    is_on(db, &order.webhook)
}

/// All webhooks that were ever tried or switched.
pub(super) fn all(db: &Connection) -> Result<Vec<WebhookHealth>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT webhook, enabled, disabled_reason, delivered, failed, last_ok_at, failing_since, last_error
         FROM webhook_stats ORDER BY webhook",
    )?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(WebhookHealth {
            webhook_id: get(row, "webhook")?,
            enabled: get(row, "enabled")?,
            disabled_reason: get(row, "disabled_reason")?,
            delivered: count(get(row, "delivered")?),
            failed: count(get(row, "failed")?),
            last_ok_at: maybe_time(get(row, "last_ok_at")?)?,
            failing_since: maybe_time(get(row, "failing_since")?)?,
            last_error: get(row, "last_error")?,
        });
    }
    Ok(all)
}
