//! The outbox: what leaves, each once by its key, in the order of its lane. Knows no client and no run.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::chats;
use super::columns::{from_json, get, json, maybe_text, millis, rows, text, time, word};
use super::fault::Fault;
use crate::domain::{
    ApprovalId, AttemptOutcome, Effect, EffectKey, EffectSeq, EffectState, NewEffect, RunId, StoredEffect,
};
use crate::messages::store::{ClaimEffect, DueEffects, EffectsOf, ReadDueEffects, SettleEffect};

pub(super) const COLUMNS: &str =
    "seq, key, effect, run_id, event_id, state, attempts, due_at, result, last_error, created_at, kind, lane";

/// How many effects of one run or event are shown.
const SHOWN: usize = 1_000;

/// Puts effects into the outbox, due at once; those whose key is there already stay as they are. Says how many were new.
/// `instead` names a run and the one that stands for it.
pub(super) fn queue(
    db: &Connection,
    effects: &[NewEffect],
    at: DateTime<Utc>,
    instead: Option<(RunId, RunId)>,
) -> Result<usize, Fault> {
    let mut queued = 0;
    for effect in effects {
        let run = match (effect.run, instead) {
            (Some(named), Some((asked, stands))) if named == asked => Some(stands),
            (named, _) => named,
        };
        let new = put(db, effect, run, at, None)?.is_some();
        queued += usize::from(new);
        if let (true, Effect::SlackMessage { said: Some(words), .. }, Some(event)) =
            (new, &effect.effect, &effect.event)
        {
            chats::answered(db, event, effect.key.as_str(), words, at)?;
        }
    }
    Ok(queued)
}

/// Puts one effect into the outbox. Nothing when its key is there already. A delivery is never the head of a lane: its endpoint sets the pace.
pub(super) fn put(
    db: &Connection,
    effect: &NewEffect,
    run: Option<RunId>,
    at: DateTime<Utc>,
    claimed_until: Option<DateTime<Utc>>,
) -> Result<Option<EffectSeq>, Fault> {
    let post = effect.effect.post();
    let put = db
        .prepare_cached(
            "INSERT INTO effects (key, kind, lane, effect, run_id, event_id, head, created_at,
                                  due_at, state, attempts,
                                  delivery, endpoint, topic, webhook, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                     ?8 IS NULL AND NOT EXISTS (SELECT 1 FROM effects INDEXED BY effects_open
                                                WHERE lane = ?3 AND settled_at IS NULL),
                     ?7, coalesce(?13, ?7), iif(?13 IS NULL, 'pending', 'in_flight'), ?13 IS NOT NULL,
                     ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (key) DO NOTHING RETURNING seq",
        )?
        .query_row(
            params![
                effect.key.as_str(),
                effect.effect.kind(),
                effect.effect.lane(),
                json(&effect.effect)?,
                run.map(|run| run.to_string()),
                effect.event.as_ref().map(|event| event.as_str()),
                millis(at),
                post.map(|post| post.delivery),
                post.map(|post| post.endpoint),
                post.map(|post| post.topic),
                post.and_then(|post| post.webhook),
                post.and_then(|post| post.message),
                claimed_until.map(millis),
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(put.map(EffectSeq))
}

/// What came of an effect, once it is done.
pub(super) fn result_of(db: &Connection, key: &EffectKey) -> Result<Option<String>, Fault> {
    Ok(db
        .prepare_cached("SELECT result FROM effects WHERE key = ?1 AND state = 'done'")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?
        .flatten())
}

/// The prompt of a question, where one was posted with buttons: its key and what it says.
pub(super) fn prompt_of(
    db: &Connection,
    run: &str,
    question: ApprovalId,
) -> Result<Option<(EffectKey, Effect)>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT key, effect FROM effects INDEXED BY effects_of_run
         WHERE run_id = ?1 AND kind = 'slack.approval' ORDER BY seq DESC",
    )?;
    let mut found = statement.query([run])?;
    while let Some(row) = found.next()? {
        let effect: Effect = from_json("effect", text(row, "effect")?)?;
        if matches!(&effect, Effect::SlackApproval { approval, .. } if *approval == question) {
            return Ok(Some((text(row, "key")?.parse()?, effect)));
        }
    }
    Ok(None)
}

/// What is at work already.
struct Busy<'a> {
    lanes: HashSet<&'a str>,
    paces: HashSet<&'a str>,
}

impl Busy<'_> {
    fn with(&self, lane: &str) -> bool {
        self.lanes.contains(lane) || self.paces.contains(Effect::pace(lane))
    }
}

/// The head of a lane.
struct Head {
    /// Comes after those that go first.
    second: bool,
    due_at: i64,
    seq: i64,
    lane: String,
}

/// What is due: heads of lanes first, longest waiting first, then, while there is room, those behind them.
pub(super) fn read_due(db: &Connection, order: &ReadDueEffects) -> Result<DueEffects, Fault> {
    let now = millis(order.now);
    let busy = Busy {
        lanes: order.busy_lanes.iter().map(String::as_str).collect(),
        paces: order.busy_paces.iter().map(String::as_str).collect(),
    };
    let mut heads = Vec::new();
    let mut next: Option<i64> = None;
    for kind in kinds(db, order.kinds)? {
        let later = due_heads(db, &kind, now, &busy, order.limit, &mut heads)?;
        next = earlier(next, later);
    }
    heads.sort_unstable_by_key(|head| (head.second, head.due_at, head.seq));
    if let Some(left_out) = heads.get(order.limit) {
        next = earlier(next, Some(left_out.due_at));
    }
    heads.truncate(order.limit);

    let mut due = Vec::new();
    let mut room = order.limit - heads.len();
    for head in heads {
        let given = lane_from(db, &head, order.kinds, now, room + 1)?;
        room -= given.len().saturating_sub(1);
        due.extend(given);
    }
    due.sort_unstable_by_key(|effect| effect.seq);
    Ok(DueEffects {
        due,
        next: next.map(time).transpose()?,
    })
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}

/// The kinds of all heads that start with `prefix`: one jump along the index for each.
fn kinds(db: &Connection, prefix: &str) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    let mut at_least = db.prepare_cached(
        "SELECT kind FROM effects INDEXED BY effects_heads WHERE head = 1 AND kind >= ?1 ORDER BY kind LIMIT 1",
    )?;
    let mut after = db.prepare_cached(
        "SELECT kind FROM effects INDEXED BY effects_heads WHERE head = 1 AND kind > ?1 ORDER BY kind LIMIT 1",
    )?;
    let mut next: Option<String> = at_least.query_row([prefix], |row| row.get(0)).optional()?;
    while let Some(kind) = next.filter(|kind| kind.starts_with(prefix)) {
        next = after.query_row([&kind], |row| row.get(0)).optional()?;
        found.push(kind);
    }
    Ok(found)
}

/// Heads of one kind that are due, longest waiting first: one more than the limit, so that what is left out shows.
/// Says when the first that is not due will be.
fn due_heads(
    db: &Connection,
    kind: &str,
    now: i64,
    busy: &Busy<'_>,
    limit: usize,
    heads: &mut Vec<Head>,
) -> Result<Option<i64>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT due_at, seq, lane FROM effects INDEXED BY effects_heads
         WHERE head = 1 AND kind = ?1 ORDER BY due_at, seq",
    )?;
    let mut found = statement.query([kind])?;
    let before = heads.len();
    while let Some(row) = found.next()? {
        if busy.with(text(row, "lane")?) {
            continue;
        }
        let due_at: i64 = get(row, "due_at")?;
        if due_at > now {
            return Ok(Some(due_at));
        }
        heads.push(Head {
            second: !Effect::goes_first(kind),
            due_at,
            seq: get(row, "seq")?,
            lane: get(row, "lane")?,
        });
        if heads.len() - before > limit {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The effects of a lane from its head on, up to the first that is not due or not asked for. One that cannot be read
/// stops its lane, is told of, and holds up no other.
fn lane_from(db: &Connection, head: &Head, prefix: &str, now: i64, most: usize) -> Result<Vec<StoredEffect>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM effects INDEXED BY effects_open
         WHERE lane = ?1 AND settled_at IS NULL AND seq >= ?2 ORDER BY seq LIMIT ?3"
    ))?;
    let mut found = statement.query(params![head.lane, head.seq, rows(most)])?;
    let mut given = Vec::new();
    while let Some(row) = found.next()? {
        if get::<i64>(row, "due_at")? > now || !text(row, "kind")?.starts_with(prefix) {
            break;
        }
        match stored(row) {
            Ok(effect) => given.push(effect),
            Err(Fault::Wrong(words)) => {
                tracing::error!(
                    lane = head.lane,
                    error = words,
                    "an effect cannot be read; its lane stands still"
                );
                break;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(given)
}

/// Writes an attempt down before it is made. An attempt before it that has no end was cut off.
pub(super) fn claim(db: &Connection, order: ClaimEffect) -> Result<Option<u32>, Fault> {
    let at = millis(order.at);
    let Some((state, attempts)) = standing(db, order.effect)? else {
        return Err(unknown(order.effect));
    };
    if state.is_final() {
        return Ok(None);
    }
    interrupt(db, order.effect, order.at)?;
    let attempt = attempts + 1;
    db.prepare_cached("INSERT INTO attempts (effect_seq, attempt, started_at) VALUES (?1, ?2, ?3)")?
        .execute(params![order.effect.0, attempt, at])?;
    // After a crash it is due at once, whatever its time said before.
    db.prepare_cached(
        "UPDATE effects SET state = 'in_flight', attempts = ?2, due_at = min(due_at, ?3) WHERE seq = ?1",
    )?
    .execute(params![order.effect.0, attempt, at])?;
    Ok(Some(attempt))
}

/// Marks an attempt that has no end: it was cut off.
pub(super) fn interrupt(db: &Connection, effect: EffectSeq, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE attempts SET ended_at = ?2, outcome = 'interrupted' WHERE effect_seq = ?1 AND ended_at IS NULL",
    )?
    .execute(params![effect.0, millis(at)])?;
    Ok(())
}

/// An outcome as columns: its word, the result, the error.
pub(super) fn words(outcome: &AttemptOutcome) -> (&'static str, Option<&String>, Option<&String>) {
    match outcome {
        AttemptOutcome::Done { result } => ("done", Some(result), None),
        AttemptOutcome::Retry { error, .. } => ("retry", None, Some(error)),
        AttemptOutcome::Dead { error } => ("dead", None, Some(error)),
        AttemptOutcome::Undeliverable { error } => ("undeliverable", None, Some(error)),
    }
}

/// Writes down what became of an attempt. What the far side has, it has, even if a later attempt is under way by now;
/// any other news of an attempt that is not the last one only completes its row.
pub(super) fn settle(db: &Connection, order: &SettleEffect) -> Result<(), Fault> {
    let Some((state, attempts)) = standing(db, order.effect)? else {
        return Err(unknown(order.effect));
    };
    let (word, result, error) = words(&order.outcome);
    db.prepare_cached(
        "UPDATE attempts SET ended_at = ?3, outcome = ?4, result = ?5, error = ?6
         WHERE effect_seq = ?1 AND attempt = ?2 AND (ended_at IS NULL OR outcome = 'interrupted')",
    )?
    .execute(params![
        order.effect.0,
        order.attempt,
        millis(order.at),
        word,
        result,
        error,
    ])?;
    let done = matches!(order.outcome, AttemptOutcome::Done { .. });
    if state.is_final() || (order.attempt != attempts && !done) {
        return Ok(());
    }
    if let AttemptOutcome::Retry { at, error } = &order.outcome {
        db.prepare_cached("UPDATE effects SET state = 'pending', due_at = ?2, last_error = ?3 WHERE seq = ?1")?
            .execute(params![order.effect.0, millis(*at), error])?;
        return Ok(());
    }
    let lane: String = db
        .prepare_cached(
            "UPDATE effects SET state = ?2, result = ?3, last_error = coalesce(?4, last_error), settled_at = ?5, head = 0
             WHERE seq = ?1 RETURNING lane",
        )?
        .query_row(
            params![order.effect.0, word, result, error, millis(order.at)],
            |row| row.get(0),
        )?;
    // The next of its lane moves up. Where the one that ended was not the head, the head stays what it is.
    db.prepare_cached(
        "UPDATE effects SET head = 1 WHERE head = 0 AND seq = (
             SELECT seq FROM effects INDEXED BY effects_open WHERE lane = ?1 AND settled_at IS NULL ORDER BY seq LIMIT 1)",
    )?
    .execute([lane])?;
    Ok(())
}

pub(super) fn standing(db: &Connection, effect: EffectSeq) -> Result<Option<(EffectState, u32)>, Fault> {
    let found: Option<(String, u32)> = db
        .prepare_cached("SELECT state, attempts FROM effects WHERE seq = ?1")?
        .query_row([effect.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found
        .map(|(state, attempts)| Ok((word("effect state", &state, EffectState::from_text)?, attempts)))
        .transpose()
}

pub(super) fn unknown(effect: EffectSeq) -> Fault {
    Fault::wrong(format!("there is no effect {effect} in the outbox"))
}

/// The effects of a run or an event, oldest first.
pub(super) fn of(db: &Connection, order: &EffectsOf) -> Result<Vec<StoredEffect>, Fault> {
    let mut effects: Vec<StoredEffect> = Vec::new();
    let wanted = [
        ("run_id", "effects_of_run", order.run.map(|run| run.to_string())),
        ("event_id", "effects_of_event", order.event.clone()),
    ];
    for (column, index, id) in wanted {
        let Some(id) = id else { continue };
        let mut statement = db.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM effects INDEXED BY {index} WHERE {column} = ?1 ORDER BY seq LIMIT ?2"
        ))?;
        let mut found = statement.query(params![id, rows(SHOWN)])?;
        while let Some(row) = found.next()? {
            effects.push(stored(row)?);
        }
    }
    effects.sort_by_key(|effect| effect.seq);
    effects.dedup_by_key(|effect| effect.seq);
    effects.truncate(SHOWN);
    Ok(effects)
}

pub(super) fn stored(row: &Row<'_>) -> Result<StoredEffect, Fault> {
    Ok(StoredEffect {
        seq: EffectSeq(get(row, "seq")?),
        key: text(row, "key")?.parse()?,
        effect: from_json("effect", text(row, "effect")?)?,
        run: maybe_text(row, "run_id")?.map(str::parse).transpose()?,
        event: maybe_text(row, "event_id")?.map(str::parse).transpose()?,
        state: word("effect state", text(row, "state")?, EffectState::from_text)?,
        attempts: get(row, "attempts")?,
        due_at: time(get(row, "due_at")?)?,
        result: get(row, "result")?,
        last_error: get(row, "last_error")?,
        created_at: time(get(row, "created_at")?)?,
    })
}
