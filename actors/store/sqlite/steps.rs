//! Steps of a run: phases that begin and end, the pause, the end. Each is written once, however often it is ordered.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::columns::{count, get, maybe_text, maybe_time, millis, rows, text, time, word};
use super::fault::Fault;
use super::{approvals, effects, runs};
use crate::domain::{
    Execution, INTERRUPTED, Page, PhaseEnd, PhaseName, PhaseRecord, PhaseStatus, RunStatus, Step, TriggerType,
};
use crate::messages::store::{ListExecutions, RecordStep, StepTaken};

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

/// A page of the phase executions of all runs, newest first.
pub(super) fn list(db: &Connection, order: ListExecutions) -> Result<Page<Execution>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT p.seq AS seq, r.id AS run, r.workflow AS workflow, r.repo AS repo, r.number AS number,
                r.trigger_type AS trigger_type, p.phase AS phase, p.kind AS kind, p.attempt AS attempt,
                p.status AS status, p.reason AS reason, p.exit_code AS exit_code, p.started_at AS started_at,
                p.ended_at AS ended_at
         FROM (SELECT seq FROM phase_executions WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2 OFFSET ?3) AS page
         JOIN phase_executions p ON p.seq = page.seq JOIN runs r ON r.seq = p.run_seq
         ORDER BY p.seq DESC",
    )?;
    let mut found = statement.query(params![
        order.before.unwrap_or(i64::MAX),
        rows(order.limit.saturating_add(1)),
        rows(order.offset)
    ])?;
    let mut executions = Vec::new();
    while let Some(row) = found.next()? {
        let started_at = time(get(row, "started_at")?)?;
        let finished_at = maybe_time(get(row, "ended_at")?)?;
        executions.push(Execution {
            id: get(row, "seq")?,
            run_id: text(row, "run")?.parse()?,
            workflow: text(row, "workflow")?.parse()?,
            repo: maybe_text(row, "repo")?.map(str::parse).transpose()?,
            issue_number: get::<Option<i64>>(row, "number")?.map(count),
            trigger_type: word("trigger", text(row, "trigger_type")?, TriggerType::from_text)?,
            phase: text(row, "phase")?.parse()?,
            kind: get(row, "kind")?,
            attempt: get(row, "attempt")?,
            status: word("phase status", text(row, "status")?, PhaseStatus::from_text)?,
            exit_code: get(row, "exit_code")?,
            error: get(row, "reason")?,
            started_at,
            finished_at,
            duration_ms: finished_at.map(|end| (end - started_at).num_milliseconds()),
        });
    }
    Ok(Page::cut(executions, order.limit, |execution| execution.id))
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
