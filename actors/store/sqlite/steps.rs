//! Steps of a run: phases that begin and end, the pause, the end. Each is written once, however often it is ordered.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::columns::{get, maybe_time, millis, text, time, word};
use super::fault::Fault;
use super::{approvals, effects, runs};
use crate::domain::{INTERRUPTED, PhaseEnd, PhaseName, PhaseRecord, PhaseStatus, RunStatus, Step};
use crate::messages::store::{RecordStep, StepTaken};

/// Writes steps with what is said about them, unless the run is over.
pub(super) fn record(db: &Connection, order: &RecordStep) -> Result<StepTaken, Fault> {
    let (run, status) = runs::standing(db, order.run)?
        .ok_or_else(|| Fault::wrong(format!("there is no run {} to take a step", order.run)))?;
    if status.is_final() {
        return Ok(StepTaken::RunIsOver(status));
    }
    for step in &order.steps {
        match step {
            Step::PhaseStarted { phase, kind, attempt } => begin(db, run, phase, kind, *attempt, order.at)?,
            Step::PhaseEnded(end) => finish(db, run, end, order.at)?,
            Step::Shown(phase) => show(db, run, phase, order.at)?,
            Step::Scratch { key, value } => runs::keep_scratch(db, run, key, value, order.at)?,
            Step::PutDown => runs::set_status(db, run, RunStatus::Queued, order.at)?,
            Step::Paused(question) => approvals::ask(db, run, question, order.at)?,
            Step::Ended { status, error } => {
                runs::end(db, run, *status, error.as_deref(), order.at)?;
                // A run that is over takes no more steps, in the same order neither.
                break;
            }
        }
    }
    let effects = effects::queue(db, &order.effects, order.at, None)?;
    Ok(StepTaken::Taken { effects })
}

fn begin(
    db: &Connection,
    run: i64,
    phase: &PhaseName,
    kind: &str,
    attempt: u32,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    let fresh = db
        .prepare_cached(
            "INSERT INTO phase_executions (run_seq, phase, attempt, kind, status, started_at)
             VALUES (?1, ?2, ?3, ?4, 'running', ?5) ON CONFLICT (run_seq, phase, attempt) DO NOTHING",
        )?
        .execute(params![run, phase.as_str(), attempt, kind, millis(at)])?;
    if fresh > 0 {
        show(db, run, phase, at)?;
    }
    Ok(())
}

fn show(db: &Connection, run: i64, phase: &PhaseName, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached("UPDATE runs SET current_phase = ?2, updated_at = ?3 WHERE seq = ?1")?
        .execute(params![run, phase.as_str(), millis(at)])?;
    Ok(())
}

/// An end is written on the phase that is open, or as a row of its own for one that never began (skipped).
fn finish(db: &Connection, run: i64, end: &PhaseEnd, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO phase_executions
             (run_seq, phase, attempt, kind, status, output, reason, exit_code, started_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
         ON CONFLICT (run_seq, phase, attempt) DO UPDATE
             SET status = excluded.status, output = excluded.output, reason = excluded.reason,
                 exit_code = excluded.exit_code, ended_at = excluded.ended_at
             WHERE ended_at IS NULL",
    )?
    .execute(params![
        run,
        end.phase.as_str(),
        end.attempt,
        end.kind,
        end.status.as_str(),
        end.output,
        end.reason,
        end.exit_code,
        millis(at),
    ])?;
    Ok(())
}

/// Takes over what another run has done.
pub(super) fn adopt(db: &Connection, run: i64, done: &[PhaseRecord]) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO phase_executions
             (run_seq, phase, attempt, kind, status, output, reason, exit_code, started_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (run_seq, phase, attempt) DO NOTHING",
    )?;
    for record in done {
        insert.execute(params![
            run,
            record.phase.as_str(),
            record.attempt,
            record.kind,
            record.status.as_str(),
            record.output,
            record.reason,
            record.exit_code,
            millis(record.started_at),
            record.ended_at.map(millis),
        ])?;
    }
    Ok(())
}

/// Phases that were at work when the service stopped.
pub(super) fn interrupt(db: &Connection, run: i64, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE phase_executions SET status = 'failed', reason = ?2, ended_at = ?3
         WHERE run_seq = ?1 AND status = 'running'",
    )?
    .execute(params![run, INTERRUPTED, millis(at)])?;
    Ok(())
}

/// Phases that nobody will end any more, because their run is over.
pub(super) fn close_open_phases(db: &Connection, run: i64, reason: &str, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE phase_executions
         SET status = 'failed', reason = coalesce(reason, ?2), ended_at = coalesce(ended_at, ?3)
         WHERE run_seq = ?1 AND status IN ('running', 'waiting_approval')",
    )?
    .execute(params![run, reason, millis(at)])?;
    Ok(())
}

/// The phase executions of a run, oldest first.
pub(super) fn of(db: &Connection, run: i64) -> Result<Vec<PhaseRecord>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT phase, kind, attempt, status, output, reason, exit_code, started_at, ended_at
         FROM phase_executions WHERE run_seq = ?1 ORDER BY seq",
    )?;
    let mut found = statement.query([run])?;
    let mut phases = Vec::new();
    while let Some(row) = found.next()? {
        phases.push(stored(row)?);
    }
    Ok(phases)
}

fn stored(row: &Row<'_>) -> Result<PhaseRecord, Fault> {
    Ok(PhaseRecord {
        phase: text(row, "phase")?.parse()?,
        kind: get(row, "kind")?,
        attempt: get(row, "attempt")?,
        status: word("phase status", text(row, "status")?, PhaseStatus::from_text)?,
        output: get(row, "output")?,
        reason: get(row, "reason")?,
        exit_code: get(row, "exit_code")?,
        started_at: time(get(row, "started_at")?)?,
        ended_at: maybe_time(get(row, "ended_at")?)?,
    })
}
