//! Tokens that were handed out. Knows neither the tokens themselves nor who asks.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::columns::{get, maybe_time, millis, rows, time};
use super::fault::Fault;
use crate::domain::{IssuedToken, NewToken, Page, TokenFilter};
use crate::messages::store::{NoteTokenUse, RevokeToken, RevokedTokens};

/// How long one that ran out is remembered.
const KEPT_DAYS: i64 = 30;

const ROW: &str = "seq, id, who, method, label, scope, created_at, expires_at, used_at, revoked_at, revoked_by";

/// Keeps a token, and forgets those that ran out long ago. One of this id that is there already stays as it is.
pub(super) fn keep(db: &Connection, token: &NewToken) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM tokens WHERE expires_at < ?1")?
        .execute([millis(token.created_at - TimeDelta::days(KEPT_DAYS))])?;
    db.prepare_cached(
        "INSERT INTO tokens (id, who, method, label, scope, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        token.id,
        token.who,
        token.method,
        token.label,
        token.scope,
        millis(token.created_at),
        millis(token.expires_at),
    ])?;
    Ok(())
}

/// Tokens, the latest first.
pub(super) fn list(db: &Connection, filter: &TokenFilter) -> Result<Page<IssuedToken>, Fault> {
    let mut sql = format!("SELECT {ROW} FROM tokens WHERE TRUE");
    let mut values: Vec<Value> = Vec::new();
    let mut only = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(at) = filter.live_at {
        only("revoked_at IS NULL AND expires_at >", millis(at).into());
    }
    if let Some(method) = &filter.method {
        only("method =", method.clone().into());
    }
    if let Some(before) = filter.before {
        only("seq <", before.into());
    }
    values.push(rows(filter.limit.saturating_add(1)).into());
    sql.push_str(&format!(" ORDER BY seq DESC LIMIT ?{}", values.len()));
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = found.next()? {
        items.push(issued(row)?);
    }
    Ok(Page::cut(items, filter.limit, |token| token.seq))
}

/// Takes a token back. One that was taken back before stays so, by whoever did it first.
pub(super) fn revoke(db: &Connection, order: &RevokeToken) -> Result<Option<IssuedToken>, Fault> {
    db.prepare_cached("UPDATE tokens SET revoked_at = ?2, revoked_by = ?3 WHERE id = ?1 AND revoked_at IS NULL")?
        .execute(params![order.id, millis(order.at), order.by])?;
    let mut statement = db.prepare_cached(&format!("SELECT {ROW} FROM tokens WHERE id = ?1"))?;
    let mut found = statement.query([&order.id])?;
    found.next()?.map(issued).transpose()
}

/// Notes when a token was last seen.
pub(super) fn note_use(db: &Connection, order: &NoteTokenUse) -> Result<(), Fault> {
    db.prepare_cached("UPDATE tokens SET used_at = max(coalesce(used_at, 0), ?2) WHERE id = ?1")?
        .execute(params![order.id, millis(order.at)])?;
    Ok(())
}

/// Ids of tokens that were taken back and have not run out, with the instant when they do.
pub(super) fn revoked(db: &Connection, order: RevokedTokens) -> Result<Vec<(String, DateTime<Utc>)>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT id, expires_at FROM tokens WHERE expires_at > ?1 AND revoked_at IS NOT NULL")?;
    let mut found = statement.query([millis(order.at)])?;
    let mut revoked = Vec::new();
    while let Some(row) = found.next()? {
        revoked.push((get(row, "id")?, time(get(row, "expires_at")?)?));
    }
    Ok(revoked)
}

fn issued(row: &Row<'_>) -> Result<IssuedToken, Fault> {
    Ok(IssuedToken {
        seq: get(row, "seq")?,
        id: get(row, "id")?,
        who: get(row, "who")?,
        method: get(row, "method")?,
        label: get(row, "label")?,
        scope: get(row, "scope")?,
        created_at: time(get(row, "created_at")?)?,
        expires_at: time(get(row, "expires_at")?)?,
        last_used_at: maybe_time(get(row, "used_at")?)?,
        revoked_at: maybe_time(get(row, "revoked_at")?)?,
        revoked_by: get(row, "revoked_by")?,
    })
}
