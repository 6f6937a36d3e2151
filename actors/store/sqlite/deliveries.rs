//! Deliveries: effects of the outbox that go to an endpoint at its own pace. Knows no client and no schedule.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::columns::{count, get, maybe_text, maybe_time, millis, number, rows, text, time, word};
use super::effects::{self, COLUMNS};
use super::fault::Fault;
use super::health;
use crate::domain::{
    AttemptOutcome, DeliveryAttempt, DeliveryDetail, DeliveryFilter, DeliveryRow, DeliverySettled, DueDelivery,
    EffectSeq, EffectState, Page, Redelivered, WebhookMessage,
};
use crate::messages::store::{
    ClaimDelivery, DueDeliveries, QueueDeliveries, ReadDueDeliveries, RecoverDeliveries, Redeliver, SettleDeliveries,
};

/// How many attempts of one delivery are shown.
const SHOWN: usize = 1_000;

/// Puts effects into the outbox with what their bodies share, and with their first attempts where they are claimed.
pub(super) fn queue(db: &Connection, order: &QueueDeliveries) -> Result<Vec<Option<EffectSeq>>, Fault> {
    if let Some(WebhookMessage { id, rest }) = &order.message {
        db.prepare_cached("INSERT INTO webhook_messages (id, rest) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING")?
            .execute(params![id, rest])?;
    }
    let mut queued = Vec::with_capacity(order.effects.len());
    for effect in &order.effects {
        let webhook = effect.effect.post().and_then(|post| post.webhook);
        if let Some(webhook) = webhook
            && !health::is_on(db, webhook)?
        {
            queued.push(None);
            continue;
        }
        let seq = effects::put(db, effect, effect.run, order.at, order.claimed_until)?;
        if let (Some(seq), Some(_)) = (seq, order.claimed_until) {
            attempt(db, seq, 1, order.at)?;
        }
        queued.push(seq);
    }
    if let (Some(message), true) = (&order.message, queued.iter().all(Option::is_none)) {
        // Nobody is to get it, and it would go with nobody's delivery.
        db.prepare_cached(
            "DELETE FROM webhook_messages WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM effects WHERE message = ?1)",
        )?
        .execute([&message.id])?;
    }
    Ok(queued)
}

/// Writes an attempt down before it is made. An attempt before it that has no end was cut off.
pub(super) fn claim(db: &Connection, order: ClaimDelivery) -> Result<Option<u32>, Fault> {
    let Some((state, attempts)) = effects::standing(db, order.effect)? else {
        return Err(effects::unknown(order.effect));
    };
    if state.is_final() {
        return Ok(None);
    }
    effects::interrupt(db, order.effect, order.at)?;
    begin(db, order.effect, attempts + 1, order.at, order.until)?;
    Ok(Some(attempts + 1))
}

fn begin(
    db: &Connection,
    effect: EffectSeq,
    attempt: u32,
    at: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), Fault> {
    self::attempt(db, effect, attempt, at)?;
    db.prepare_cached("UPDATE effects SET state = 'in_flight', attempts = ?2, due_at = ?3 WHERE seq = ?1")?
        .execute(params![effect.0, attempt, millis(until)])?;
    Ok(())
}

fn attempt(db: &Connection, effect: EffectSeq, number: u32, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached("INSERT INTO attempts (effect_seq, attempt, started_at) VALUES (?1, ?2, ?3)")?
        .execute(params![effect.0, number, millis(at)])?;
    Ok(())
}

/// Writes down what became of attempts and counts them for their endpoints.
pub(super) fn settle(db: &Connection, order: &SettleDeliveries) -> Result<(), Fault> {
    for settled in &order.settled {
        settle_one(db, settled, order)?;
    }
    Ok(())
}

fn settle_one(db: &Connection, settled: &DeliverySettled, order: &SettleDeliveries) -> Result<(), Fault> {
    let Some((state, attempts)) = effects::standing(db, settled.effect)? else {
        return Err(effects::unknown(settled.effect));
    };
    let at = millis(order.at);
    let (word, result, error) = effects::words(&settled.outcome);
    let completed = db
        .prepare_cached(
            "UPDATE attempts SET ended_at = ?3, outcome = ?4, result = ?5, error = ?6, http_status = ?7, excerpt = ?8,
                 duration_ms = ?9
             WHERE effect_seq = ?1 AND attempt = ?2 AND (ended_at IS NULL OR outcome = 'interrupted')",
        )?
        .execute(params![
            settled.effect.0,
            settled.attempt,
            at,
            word,
            result,
            error,
            settled.http_status,
            settled.excerpt,
            number(settled.duration_ms),
        ])?;
    // An order that is repeated counts once.
    if completed > 0
        && let Some(webhook) = &settled.webhook
    {
        match error {
            None => health::took_it(db, webhook, order.at)?,
            Some(error) => {
                let off = health::failed(db, webhook, error, order.give_up_after, order.at)?;
                if let (Some(_), Some(notice)) = (off, &settled.notice) {
                    effects::queue(db, std::slice::from_ref(notice), order.at, None)?;
                }
            }
        }
    }
    let done = matches!(settled.outcome, AttemptOutcome::Done { .. });
    if state.is_final() || (settled.attempt != attempts && !done) {
        return Ok(());
    }
    if let AttemptOutcome::Retry { at, error } = &settled.outcome {
        db.prepare_cached(
            "UPDATE effects SET state = 'pending', due_at = ?2, last_error = ?3, round = ?4, http_status = ?5
             WHERE seq = ?1",
        )?
        .execute(params![
            settled.effect.0,
            millis(*at),
            error,
            settled.round,
            settled.http_status,
        ])?;
        return Ok(());
    }
    db.prepare_cached(
        "UPDATE effects SET state = ?2, result = ?3, last_error = coalesce(?4, last_error), settled_at = ?5, round = ?6,
             http_status = ?7
         WHERE seq = ?1",
    )?
    .execute(params![
        settled.effect.0,
        word,
        result,
        error,
        at,
        settled.round,
        settled.http_status,
    ])?;
    Ok(())
}

/// Makes due what a stop left under way, or between two quick attempts.
pub(super) fn recover(db: &Connection, order: RecoverDeliveries) -> Result<usize, Fault> {
    Ok(db
        .prepare_cached(
            "UPDATE effects INDEXED BY effects_deliveries_due SET due_at = ?1
             WHERE endpoint IS NOT NULL AND settled_at IS NULL AND due_at > ?1 AND (state = 'in_flight' OR round = 0)",
        )?
        .execute([millis(order.at)])?)
}

/// Due deliveries: endpoints in the order of their longest waiting one, a few of each.
pub(super) fn read_due(db: &Connection, order: &ReadDueDeliveries) -> Result<DueDeliveries, Fault> {
    let now = millis(order.now);
    let full: HashSet<&str> = order.full.iter().map(String::as_str).collect();
    let mut next: Option<i64> = None;
    let mut due_first: Vec<(i64, String)> = Vec::new();
    // One jump along the index for each endpoint that has something open.
    let mut jump = db.prepare_cached(
        "SELECT endpoint, due_at FROM effects INDEXED BY effects_deliveries_due
         WHERE endpoint IS NOT NULL AND settled_at IS NULL AND endpoint > ?1 ORDER BY endpoint, due_at LIMIT 1",
    )?;
    let mut at = String::new();
    loop {
        let found: Option<(String, i64)> = jump.query_row([&at], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((endpoint, due_at)) = found else { break };
        at.clone_from(&endpoint);
        if full.contains(endpoint.as_str()) {
            continue;
        }
        if due_at > now {
            next = Some(next.map_or(due_at, |next| next.min(due_at)));
        } else {
            due_first.push((due_at, endpoint));
        }
    }
    due_first.sort_unstable();
    let mut of_endpoint = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, round, (SELECT rest FROM webhook_messages WHERE id = effects.message) AS rest,
                EXISTS (SELECT 1 FROM webhook_stats WHERE webhook = effects.webhook AND enabled = 0) AS switched_off
         FROM effects INDEXED BY effects_deliveries_due
         WHERE endpoint = ?1 AND settled_at IS NULL AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3"
    ))?;
    let mut due = Vec::new();
    for (_, endpoint) in due_first {
        let room = order.limit - due.len();
        if room == 0 {
            // What is left out is due already.
            next = Some(now);
            break;
        }
        let mut found = of_endpoint.query(params![endpoint, now, rows(room.min(order.per_endpoint.max(1)))])?;
        while let Some(row) = found.next()? {
            match effects::stored(row) {
                Ok(effect) => due.push(DueDelivery {
                    effect,
                    round: get(row, "round")?,
                    rest: get(row, "rest")?,
                    switched_off: get(row, "switched_off")?,
                }),
                Err(Fault::Wrong(words)) => {
                    tracing::error!(
                        endpoint,
                        error = words,
                        "a delivery cannot be read; it stays where it is"
                    );
                }
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(DueDeliveries {
        due,
        next: next.map(time).transpose()?,
    })
}

/// Begins a new series of attempts. The number of the attempt goes on, so that none is forgotten.
pub(super) fn redeliver(db: &Connection, order: &Redeliver) -> Result<Redelivered, Fault> {
    let state: Option<String> = db
        .prepare_cached("SELECT state FROM effects WHERE delivery = ?1")?
        .query_row([&order.id], |row| row.get(0))
        .optional()?;
    let Some(state) = state else {
        return Ok(Redelivered::NotFound);
    };
    if word("effect state", &state, EffectState::from_text)? == EffectState::InFlight {
        return Ok(Redelivered::UnderWay);
    }
    db.prepare_cached(
        "UPDATE effects SET state = 'pending', settled_at = NULL, result = NULL, round = 0, due_at = ?2 WHERE delivery = ?1",
    )?
    .execute(params![order.id, millis(order.at)])?;
    Ok(Redelivered::Queued)
}

const ROW: &str =
    "seq, delivery, webhook, topic, state, attempts, due_at, http_status, last_error, created_at, settled_at";

/// A page, newest first.
pub(super) fn list(db: &Connection, filter: &DeliveryFilter) -> Result<Page<DeliveryRow>, Fault> {
    let mut sql = format!("SELECT {ROW} FROM effects ");
    let mut values: Vec<Value> = Vec::new();
    let not_done = filter.state.filter(|state| *state != EffectState::Done);
    // The narrowest index that the filter has; the other conditions are looked up in the row.
    sql.push_str(match (&filter.webhook, not_done) {
        (Some(_), _) => "INDEXED BY effects_deliveries_webhook WHERE webhook = ?1",
        (None, Some(_)) => {
            "INDEXED BY effects_deliveries_not_done WHERE delivery IS NOT NULL AND state <> 'done' AND state = ?1"
        }
        (None, None) => "INDEXED BY effects_deliveries WHERE delivery IS NOT NULL",
    });
    if let Some(webhook) = &filter.webhook {
        values.push(webhook.clone().into());
    }
    if let Some(state) = filter.state {
        values.push(state.as_str().to_owned().into());
        if filter.webhook.is_some() || state == EffectState::Done {
            sql.push_str(&format!(" AND state = ?{}", values.len()));
        }
    }
    if let Some(event) = filter.event {
        values.push(event.as_str().to_owned().into());
        sql.push_str(&format!(" AND topic = ?{}", values.len()));
    }
    if let Some(before) = filter.before {
        values.push(before.into());
        sql.push_str(&format!(" AND seq < ?{}", values.len()));
    }
    values.push(rows(filter.limit.saturating_add(1)).into());
    sql.push_str(&format!(" ORDER BY seq DESC LIMIT ?{}", values.len()));
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = found.next()? {
        items.push(listed(row)?);
    }
    Ok(Page::cut(items, filter.limit, |row| row.seq.0))
}

fn listed(row: &Row<'_>) -> Result<DeliveryRow, Fault> {
    let state = word("effect state", text(row, "state")?, EffectState::from_text)?;
    Ok(DeliveryRow {
        id: get(row, "delivery")?,
        seq: EffectSeq(get(row, "seq")?),
        webhook_id: get(row, "webhook")?,
        topic: maybe_text(row, "topic")?.unwrap_or_default().to_owned(),
        state,
        attempts: get(row, "attempts")?,
        due_at: match state {
            EffectState::Pending => Some(time(get(row, "due_at")?)?),
            _ => None,
        },
        http_status: get(row, "http_status")?,
        last_error: get(row, "last_error")?,
        created_at: time(get(row, "created_at")?)?,
        settled_at: maybe_time(get(row, "settled_at")?)?,
    })
}

/// One delivery with its attempts.
pub(super) fn read(db: &Connection, id: &str) -> Result<Option<DeliveryDetail>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {ROW}, (SELECT rest FROM webhook_messages WHERE id = effects.message) AS rest FROM effects WHERE delivery = ?1"
    ))?;
    let mut found = statement.query([id])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let (listed, rest) = (listed(row)?, get::<Option<String>>(row, "rest")?);
    Ok(Some(DeliveryDetail {
        body: rest.map(|rest| WebhookMessage::body(&listed.id, &rest)),
        attempt_log: attempts(db, listed.seq)?,
        row: listed,
    }))
}

fn attempts(db: &Connection, effect: EffectSeq) -> Result<Vec<DeliveryAttempt>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT attempt, started_at, ended_at, outcome, http_status, excerpt, duration_ms, error
         FROM attempts WHERE effect_seq = ?1 ORDER BY attempt LIMIT ?2",
    )?;
    let mut found = statement.query(params![effect.0, rows(SHOWN)])?;
    let mut attempts = Vec::new();
    while let Some(row) = found.next()? {
        attempts.push(DeliveryAttempt {
            attempt: get(row, "attempt")?,
            started_at: time(get(row, "started_at")?)?,
            ended_at: maybe_time(get(row, "ended_at")?)?,
            outcome: get(row, "outcome")?,
            http_status: get(row, "http_status")?,
            excerpt: get(row, "excerpt")?,
            duration_ms: get::<Option<i64>>(row, "duration_ms")?.map(count),
            error: get(row, "error")?,
        });
    }
    Ok(attempts)
}
