//! Questions to people: asked with a pause, answered once. Knows runs only to send them on or to end them.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{get, maybe_time, millis, text, time, word};
use super::fault::Fault;
use super::{effects, runs};
use crate::domain::{
    Approval, ApprovalId, ApprovalKind, ApprovalStatus, Decided, Decision, Effect, NewApproval, NewEffect, RunStatus,
    Subject,
};
use crate::messages::store::{Answer, GatesHere};

const QUESTION: &str = "SELECT a.id AS id, r.id AS run, r.workflow AS workflow, a.subject AS subject, a.gate AS gate,
        a.phase AS phase, a.summary AS summary, a.status AS status, a.kind AS kind, a.requested_by AS requested_by,
        a.responded_by AS responded_by, a.response AS response, a.responded_at AS responded_at,
        a.created_at AS created_at
     FROM approvals a";

/// Asks: the question, the pause and the waiting phase. A question that was asked before changes nothing.
pub(super) fn ask(db: &Connection, run: i64, question: &NewApproval, at: DateTime<Utc>) -> Result<(), Fault> {
    let fresh = db
        .prepare_cached(
            "INSERT INTO approvals (id, run_seq, subject, phase, gate, summary, kind, requested_by, created_at)
             VALUES (?1, ?2, (SELECT subject FROM runs WHERE seq = ?2), ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            question.id.to_string(),
            run,
            question.phase.as_str(),
            question.gate,
            question.summary,
            question.kind.as_str(),
            question.requested_by,
            millis(at),
        ])?;
    if fresh == 0 {
        return Ok(());
    }
    runs::set_status(db, run, RunStatus::Paused, at)?;
    db.prepare_cached(
        "UPDATE phase_executions SET status = 'waiting_approval'
         WHERE seq = (SELECT max(seq) FROM phase_executions WHERE run_seq = ?1 AND phase = ?2)",
    )?
    .execute(params![run, question.phase.as_str()])?;
    Ok(())
}

/// Answers: the first answer counts.
pub(super) fn decide(db: &Connection, answer: &Answer) -> Result<Decided, Fault> {
    let found: Option<(i64, String, i64, String)> = db
        .prepare_cached(
            "SELECT a.seq, a.status, r.seq, r.id FROM approvals a JOIN runs r ON r.seq = a.run_seq WHERE a.id = ?1",
        )?
        .query_row([answer.approval.to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((question, status, run, run_id)) = found else {
        return Ok(Decided::Unknown);
    };
    let status = word("approval status", &status, ApprovalStatus::from_text)?;
    if status != ApprovalStatus::Pending {
        return Ok(Decided::Already(status));
    }
    db.prepare_cached(
        "UPDATE approvals SET status = ?2, responded_by = ?3, response = ?4, responded_at = ?5 WHERE seq = ?1",
    )?
    .execute(params![
        question,
        answer.decision.as_str(),
        answer.by,
        answer.response,
        millis(answer.at),
    ])?;
    match answer.decision {
        Decision::Approved => {
            settle_waiting_phase(db, run, "succeeded", None, answer.at)?;
            runs::set_status(db, run, RunStatus::Queued, answer.at)?;
        }
        Decision::Rejected => {
            let reason = answer
                .response
                .as_deref()
                .map(str::trim)
                .filter(|words| !words.is_empty());
            let error = format!("Rejected by {}: {}", answer.by, reason.unwrap_or("no reason given"));
            settle_waiting_phase(db, run, "failed", Some(&error), answer.at)?;
            runs::end(db, run, RunStatus::Failed, Some(&error), answer.at)?;
        }
    }
    let who = format!("{} by {}.", said(answer.decision), answer.by);
    close_prompt(db, &run_id, answer.approval, &who, answer.at)?;
    Ok(Decided::Counted { run: run_id.parse()? })
}

fn said(decision: Decision) -> &'static str {
    match decision {
        Decision::Approved => "Approved",
        Decision::Rejected => "Rejected",
    }
}

/// Takes the buttons off the message in which a question was asked, wherever it was answered.
fn close_prompt(db: &Connection, run: &str, question: ApprovalId, words: &str, at: DateTime<Utc>) -> Result<(), Fault> {
    let Some((message, prompt)) = effects::prompt_of(db, run, question)? else {
        return Ok(());
    };
    let Effect::SlackApproval {
        channel, thread, text, ..
    } = prompt
    else {
        return Ok(());
    };
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let close = NewEffect {
        key: format!("approval:{question}/closed").parse()?,
        effect: Effect::SlackApprovalClosed {
            channel,
            thread,
            text: format!("{text}\n\n_{words}_"),
            message,
        },
        run: Some(run.parse()?),
        event: None,
    };
    effects::queue(db, &[close], at, None)?;
    Ok(())
}

fn settle_waiting_phase(
    db: &Connection,
    run: i64,
    status: &str,
    reason: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE phase_executions SET status = ?2, reason = coalesce(?3, reason), ended_at = coalesce(ended_at, ?4)
         WHERE run_seq = ?1 AND status = 'waiting_approval'",
    )?
    .execute(params![run, status, reason, millis(at)])?;
    Ok(())
}

/// Questions of a run that nobody can answer any more.
pub(super) fn lapse(db: &Connection, run: i64, at: DateTime<Utc>) -> Result<(), Fault> {
    let lapsed: Vec<String> = db
        .prepare_cached(
            "UPDATE approvals SET status = 'lapsed' WHERE run_seq = ?1 AND status = 'pending' RETURNING id",
        )?
        .query_map([run], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for question in lapsed {
        let id: String = db
            .prepare_cached("SELECT id FROM runs WHERE seq = ?1")?
            .query_row([run], |row| row.get(0))?;
        close_prompt(db, &id, question.parse()?, "The run ended without an answer.", at)?;
    }
    Ok(())
}

/// Open questions of runs that answer in a chat thread, newest first.
pub(super) fn asked_in(db: &Connection, order: &GatesHere) -> Result<Vec<Approval>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "{QUESTION} INDEXED BY approvals_pending JOIN runs r ON r.seq = a.run_seq
         WHERE a.status = 'pending' AND json_extract(r.reply_to, '$.kind') = 'slack_thread'
           AND json_extract(r.reply_to, '$.channel') = ?1 AND json_extract(r.reply_to, '$.thread') = ?2
         ORDER BY a.seq DESC"
    ))?;
    let mut found = statement.query([&order.channel, &order.thread])?;
    let mut questions = Vec::new();
    while let Some(row) = found.next()? {
        questions.push(stored(row)?);
    }
    Ok(questions)
}

/// Open questions, newest first.
pub(super) fn open_gates(db: &Connection, subject: Option<&Subject>) -> Result<Vec<Approval>, Fault> {
    let join = "JOIN runs r ON r.seq = a.run_seq";
    let (sql, values) = match subject {
        Some(subject) => (
            format!(
                "{QUESTION} INDEXED BY approvals_about {join}
                 WHERE a.status = 'pending' AND a.subject = ?1 ORDER BY a.seq DESC"
            ),
            vec![subject.as_str()],
        ),
        None => (
            format!("{QUESTION} INDEXED BY approvals_pending {join} WHERE a.status = 'pending' ORDER BY a.seq DESC"),
            Vec::new(),
        ),
    };
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(rusqlite::params_from_iter(values))?;
    let mut questions = Vec::new();
    while let Some(row) = found.next()? {
        questions.push(stored(row)?);
    }
    Ok(questions)
}

/// One question.
pub(super) fn read(db: &Connection, id: ApprovalId) -> Result<Option<Approval>, Fault> {
    let mut statement = db.prepare_cached(&format!("{QUESTION} JOIN runs r ON r.seq = a.run_seq WHERE a.id = ?1"))?;
    let mut found = statement.query([id.to_string()])?;
    found.next()?.map(stored).transpose()
}

fn stored(row: &Row<'_>) -> Result<Approval, Fault> {
    Ok(Approval {
        id: text(row, "id")?.parse()?,
        run: text(row, "run")?.parse()?,
        workflow: text(row, "workflow")?.parse()?,
        subject: Subject::stored(get(row, "subject")?),
        gate: get(row, "gate")?,
        phase: text(row, "phase")?.parse()?,
        summary: get(row, "summary")?,
        status: word("approval status", text(row, "status")?, ApprovalStatus::from_text)?,
        kind: word("approval kind", text(row, "kind")?, ApprovalKind::from_text)?,
        requested_by: get(row, "requested_by")?,
        responded_by: get(row, "responded_by")?,
        response: get(row, "response")?,
        responded_at: maybe_time(get(row, "responded_at")?)?,
        created_at: time(get(row, "created_at")?)?,
    })
}
