//! The ledger of schedules: where each stands, its firings and what they dispatched. Knows no clock and no expression.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{count, from_json, get, json, maybe_text, maybe_time, millis, number, rows, text, time, word};
use super::effects;
use super::fault::Fault;
use crate::domain::{
    CronFiring, CronOverride, CronState, CronTarget, FiringKind, FiringSeq, FiringState, Page, RunStatus, TargetState,
    WholeFiring,
};
use crate::messages::store::{
    BeginFiring, EndFiring, EndedTarget, ListFirings, OverrideCron, RecordFirings, SettleTargets,
};

const COLUMNS: &str =
    "seq, cron, kind, state, scheduled_at, due_at, who, instants, total, dispatched, failed, note, seed,
    context, started_at, ended_at";

/// Where every schedule stands that anything is known of.
pub(super) fn states(db: &Connection) -> Result<BTreeMap<String, CronState>, Fault> {
    let mut states: BTreeMap<String, CronState> = BTreeMap::new();
    let mut statement = db.prepare_cached("SELECT name, cursor, expression, failures, alarms FROM cron_states")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let state = states.entry(text(row, "name")?.to_owned()).or_default();
        state.cursor = maybe_time(get(row, "cursor")?)?;
        text(row, "expression")?.clone_into(&mut state.expression);
        state.failures = get(row, "failures")?;
        state.alarms = from_json("alarms of a schedule", text(row, "alarms")?)?;
    }
    let mut statement =
        db.prepare_cached("SELECT name, enabled, schedule, updated_at, updated_by FROM cron_overrides")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        states.entry(text(row, "name")?.to_owned()).or_default().over = Some(CronOverride {
            enabled: get(row, "enabled")?,
            schedule: maybe_text(row, "schedule")?.map(str::to_owned),
            updated_at: time(get(row, "updated_at")?)?,
            updated_by: text(row, "updated_by")?.to_owned(),
        });
    }
    Ok(states)
}

/// Sets or forgets what an operator says over a file.
pub(super) fn put_over(db: &Connection, order: &OverrideCron) -> Result<(), Fault> {
    let Some(over) = &order.over else {
        db.prepare_cached("DELETE FROM cron_overrides WHERE name = ?1")?
            .execute([&order.cron])?;
        return Ok(());
    };
    db.prepare_cached(
        "INSERT INTO cron_overrides (name, enabled, schedule, updated_at, updated_by) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET enabled = ?2, schedule = ?3, updated_at = ?4, updated_by = ?5",
    )?
    .execute(params![
        order.cron,
        over.enabled,
        over.schedule,
        millis(over.updated_at),
        over.updated_by,
    ])?;
    Ok(())
}

fn put_state(db: &Connection, cron: &str, state: &CronState) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO cron_states (name, cursor, expression, failures, alarms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET cursor = coalesce(?2, cursor), expression = ?3, failures = ?4, alarms = ?5",
    )?
    .execute(params![
        cron,
        state.cursor.map(millis),
        state.expression,
        state.failures,
        json(&state.alarms)?,
    ])?;
    Ok(())
}

/// Writes firings down with the instant up to which all is decided. One that is there already is not written again.
pub(super) fn record(db: &Connection, order: &RecordFirings) -> Result<Vec<Option<FiringSeq>>, Fault> {
    put_state(db, &order.cron, &order.state)?;
    let mut insert = db.prepare_cached(
        "INSERT INTO cron_firings (cron, scheduled_at, kind, state, due_at, who, instants, note, seed, created_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (cron, scheduled_at) DO NOTHING RETURNING seq",
    )?;
    let mut written = Vec::with_capacity(order.firings.len());
    for firing in &order.firings {
        let ended = firing.state.is_final().then(|| millis(order.at));
        let seq: Option<i64> = insert
            .query_row(
                params![
                    firing.cron,
                    millis(firing.scheduled_at),
                    firing.kind.as_str(),
                    firing.state.as_str(),
                    millis(firing.due_at),
                    firing.who,
                    number(firing.count),
                    firing.note,
                    firing.seed.to_string(),
                    millis(order.at),
                    ended,
                ],
                |row| row.get(0),
            )
            .optional()?;
        written.push(seq.map(FiringSeq));
    }
    effects::queue(db, &order.effects, order.at, None)?;
    Ok(written)
}

/// Firings that are not over, oldest first.
pub(super) fn open(db: &Connection) -> Result<Vec<WholeFiring>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM cron_firings INDEXED BY cron_firings_open WHERE ended_at IS NULL ORDER BY seq"
    ))?;
    let mut found = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = found.next()? {
        open.push(whole(db, row)?);
    }
    Ok(open)
}

/// One firing with its targets.
pub(super) fn one(db: &Connection, seq: FiringSeq) -> Result<Option<WholeFiring>, Fault> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM cron_firings WHERE seq = ?1"))?;
    let mut found = statement.query([seq.0])?;
    found.next()?.map(|row| whole(db, row)).transpose()
}

/// Writes down what a firing dispatches, before it does.
pub(super) fn begin(db: &Connection, order: &BeginFiring) -> Result<(), Fault> {
    let begun = db
        .prepare_cached(
            "UPDATE cron_firings SET state = 'working', context = ?2, total = ?3, started_at = ?4
             WHERE seq = ?1 AND state = 'waiting'",
        )?
        .execute(params![
            order.firing.0,
            json(&order.context)?,
            rows(order.repos.len()),
            millis(order.at),
        ])?;
    if begun == 0 {
        return Ok(());
    }
    let mut insert =
        db.prepare_cached("INSERT INTO cron_targets (firing_seq, n, repo, state) VALUES (?1, ?2, ?3, 'waiting')")?;
    for (n, repo) in order.repos.iter().enumerate() {
        insert.execute(params![order.firing.0, rows(n), repo])?;
    }
    Ok(())
}

/// Writes down what became of targets.
pub(super) fn settle(db: &Connection, order: &SettleTargets) -> Result<(), Fault> {
    let mut update = db.prepare_cached(
        "UPDATE cron_targets SET state = ?3, run_id = coalesce(?4, run_id), note = ?5 WHERE firing_seq = ?1 AND n = ?2",
    )?;
    for target in &order.targets {
        update.execute(params![
            order.firing.0,
            target.n,
            target.state.as_str(),
            target.run.map(|run| run.to_string()),
            target.note,
        ])?;
    }
    db.prepare_cached(
        "UPDATE cron_firings SET
             dispatched = (SELECT count(*) FROM cron_targets WHERE firing_seq = seq AND run_id IS NOT NULL),
             failed = (SELECT count(*) FROM cron_targets WHERE firing_seq = seq AND state = 'failed')
         WHERE seq = ?1",
    )?
    .execute([order.firing.0])?;
    Ok(())
}

/// Ends a firing, and writes down where its schedule stands.
pub(super) fn end(db: &Connection, order: &EndFiring) -> Result<(), Fault> {
    let cron: Option<String> = db
        .prepare_cached(
            "UPDATE cron_firings SET state = ?2, note = ?3, ended_at = ?4, started_at = coalesce(started_at, ?4)
             WHERE seq = ?1 AND ended_at IS NULL RETURNING cron",
        )?
        .query_row(
            params![order.firing.0, order.state.as_str(), order.note, millis(order.at)],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(cron) = cron {
        put_state(db, &cron, &order.stands)?;
        effects::queue(db, &order.effects, order.at, None)?;
    }
    Ok(())
}

/// Targets whose run is over, or gone.
pub(super) fn ended(db: &Connection) -> Result<Vec<EndedTarget>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT t.firing_seq AS firing, t.n AS n, r.status AS status, r.error AS error
         FROM cron_targets t INDEXED BY cron_targets_live LEFT JOIN runs r ON r.id = t.run_id
         WHERE t.state = 'live' AND (r.id IS NULL OR r.ended_at IS NOT NULL)",
    )?;
    let mut found = statement.query([])?;
    let mut ended = Vec::new();
    while let Some(row) = found.next()? {
        let status = maybe_text(row, "status")?;
        ended.push(EndedTarget {
            firing: FiringSeq(get(row, "firing")?),
            n: get(row, "n")?,
            status: status
                .map(|status| word("run status", status, RunStatus::from_text))
                .transpose()?,
            error: maybe_text(row, "error")?.map(str::to_owned),
        });
    }
    Ok(ended)
}

/// A page of the ledger, newest first.
pub(super) fn list(db: &Connection, order: &ListFirings) -> Result<Page<CronFiring>, Fault> {
    let limit = order.limit.max(1);
    let before = order.before.unwrap_or(i64::MAX);
    let mut items = Vec::new();
    let mut take = |row: &Row<'_>| -> Result<(), Fault> {
        items.push(firing(row)?);
        Ok(())
    };
    match &order.cron {
        Some(cron) => {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM cron_firings INDEXED BY cron_firings_by_cron
                 WHERE cron = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
            ))?;
            let mut found = statement.query(params![cron, before, rows(limit + 1)])?;
            while let Some(row) = found.next()? {
                take(row)?;
            }
        }
        None => {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM cron_firings WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"
            ))?;
            let mut found = statement.query(params![before, rows(limit + 1)])?;
            while let Some(row) = found.next()? {
                take(row)?;
            }
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = more.then(|| items.last().map(|last| last.seq.0)).flatten();
    Ok(Page { items, next })
}

/// The latest firing of each schedule.
pub(super) fn latest(db: &Connection) -> Result<Vec<CronFiring>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM cron_firings JOIN
             (SELECT max(seq) AS last FROM cron_firings INDEXED BY cron_firings_by_cron GROUP BY cron) ON seq = last"
    ))?;
    let mut found = statement.query([])?;
    let mut latest = Vec::new();
    while let Some(row) = found.next()? {
        latest.push(firing(row)?);
    }
    Ok(latest)
}

fn whole(db: &Connection, row: &Row<'_>) -> Result<WholeFiring, Fault> {
    let firing = firing(row)?;
    let context = match maybe_text(row, "context")? {
        Some(context) => from_json("context of a firing", context)?,
        None => serde_json::Map::new(),
    };
    let mut statement =
        db.prepare_cached("SELECT n, repo, state, run_id, note FROM cron_targets WHERE firing_seq = ?1 ORDER BY n")?;
    let mut found = statement.query([firing.seq.0])?;
    let mut targets = Vec::new();
    while let Some(row) = found.next()? {
        targets.push(CronTarget {
            n: get(row, "n")?,
            repo: maybe_text(row, "repo")?.map(str::to_owned),
            state: word("state of a target", text(row, "state")?, TargetState::from_text)?,
            run: maybe_text(row, "run_id")?.map(str::parse).transpose()?,
            note: maybe_text(row, "note")?.map(str::to_owned),
        });
    }
    Ok(WholeFiring {
        firing,
        context,
        targets,
    })
}

fn firing(row: &Row<'_>) -> Result<CronFiring, Fault> {
    let seed = text(row, "seed")?;
    Ok(CronFiring {
        seq: FiringSeq(get(row, "seq")?),
        cron: text(row, "cron")?.to_owned(),
        kind: word("kind of a firing", text(row, "kind")?, FiringKind::from_text)?,
        state: word("state of a firing", text(row, "state")?, FiringState::from_text)?,
        scheduled_at: time(get(row, "scheduled_at")?)?,
        due_at: time(get(row, "due_at")?)?,
        who: text(row, "who")?.to_owned(),
        count: count(get(row, "instants")?),
        total: count(get(row, "total")?),
        dispatched: count(get(row, "dispatched")?),
        failed: count(get(row, "failed")?),
        note: maybe_text(row, "note")?.map(str::to_owned),
        started_at: maybe_time(get(row, "started_at")?)?,
        ended_at: maybe_time(get(row, "ended_at")?)?,
        seed: seed
            .parse()
            .map_err(|_| Fault::wrong(format!("a stored row is damaged: {seed:?} is no UUID")))?,
    })
}
