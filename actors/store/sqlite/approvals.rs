//! Questions to people: asked with a pause, answered once. Knows runs only to send them on or to end them.

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::columns::{from_json, get, json, maybe_time, millis, rows, text, time, word};
use super::fault::Fault;
use super::{effects, runs};
use crate::domain::{
    Answered, Approval, ApprovalFilter, ApprovalId, ApprovalKind, ApprovalStatus, Decided, Decision, Effect, Given,
    NewApproval, NewEffect, Page, PhaseName, Question, Responder, RunStatus, Subject, Verdict, Via, Vote, judge,
};
use crate::messages::store::{Answer, CloseGate, DueGates, EscalateGate, GatesDue, GatesHere, Lapse};

const QUESTION: &str = "SELECT a.seq AS seq, a.id AS id, r.id AS run, r.workflow AS workflow, a.subject AS subject,
        a.gate AS gate, a.phase AS phase, a.summary AS summary, a.status AS status, a.kind AS kind,
        a.requested_by AS requested_by, a.responded_by AS responded_by, a.response AS response,
        a.responded_at AS responded_at, a.created_at AS created_at, a.rules AS rules, a.shown AS shown,
        a.head_sha AS head_sha
     FROM approvals a";

/// Asks: the question, the pause and the waiting phase. A question that was asked before changes nothing.
pub(super) fn ask(db: &Connection, run: i64, question: &NewApproval, at: DateTime<Utc>) -> Result<(), Fault> {
    let fresh = db
        .prepare_cached(
            "INSERT INTO approvals (id, run_seq, subject, phase, gate, summary, kind, requested_by, created_at,
                 rules, shown, head_sha, deadline_at, escalate_at)
             VALUES (?1, ?2, (SELECT subject FROM runs WHERE seq = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
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
            json(&question.rules)?,
            question.shown,
            question.head_sha,
            question.rules.deadline.map(millis),
            question.rules.escalate_at.map(millis),
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

/// Answers: by the rules of the question, and the first answer that settles it counts.
pub(super) fn decide(db: &Connection, answer: &Answer) -> Result<Decided, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "{} JOIN runs r ON r.seq = a.run_seq WHERE a.id = ?1",
        QUESTION.replacen("SELECT", "SELECT a.run_seq AS run_seq,", 1)
    ))?;
    let mut found = statement.query([answer.approval.to_string()])?;
    let Some(row) = found.next()? else {
        return Ok(Decided::Unknown);
    };
    let (seq, run): (i64, i64) = (get(row, "seq")?, get(row, "run_seq")?);
    let question = stored(db, row)?;
    if question.status != ApprovalStatus::Pending {
        return Ok(Decided::Already(question.status));
    }
    let voters: Vec<Responder> = question.votes.iter().map(|vote| vote.by.clone()).collect();
    let judged = judge(
        Question {
            rules: &question.rules,
            kind: question.kind,
            requested_by: &question.requested_by,
            shown: question.shown.as_deref(),
            votes: &voters,
        },
        Given {
            decision: answer.decision,
            by: &answer.by,
            response: answer.response.as_deref(),
            saw: answer.saw.as_deref(),
            at: answer.at,
        },
    );
    match judged {
        Verdict::Refused(reason) => Ok(Decided::Refused(reason)),
        Verdict::Counts { have, need } => {
            vote(db, seq, answer, voters.len())?;
            Ok(Decided::Voted { have, need })
        }
        Verdict::Settles => {
            if answer.decision == Decision::Approved && answer.by.via != Via::Deadline {
                vote(db, seq, answer, voters.len())?;
            }
            settle(db, seq, run, &question, answer)?;
            Ok(Decided::Counted { run: question.run })
        }
    }
}

fn vote(db: &Connection, question: i64, answer: &Answer, before: usize) -> Result<(), Fault> {
    db.prepare_cached("INSERT INTO approval_votes (approval_seq, n, voter, response, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            question,
            rows(before),
            json(&answer.by)?,
            answer.response,
            millis(answer.at),
        ])?;
    Ok(())
}

fn settle(db: &Connection, seq: i64, run: i64, question: &Approval, answer: &Answer) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE approvals SET status = ?2, responded_by = ?3, response = ?4, responded_at = ?5 WHERE seq = ?1",
    )?
    .execute(params![
        seq,
        answer.decision.as_str(),
        answer.by.name,
        answer.response,
        millis(answer.at),
    ])?;
    match answer.decision {
        Decision::Approved => {
            if question.kind == ApprovalKind::Reply {
                // The answer is what an approval phase was for; a loop keeps what its turn printed.
                db.prepare_cached(
                    "UPDATE phase_executions SET output = ?3
                     WHERE run_seq = ?1 AND phase = ?2 AND status = 'waiting_approval' AND kind = 'approval'",
                )?
                .execute(params![run, question.phase.as_str(), answer.response])?;
            }
            settle_waiting_phase(db, run, &question.phase, "succeeded", None, answer.at)?;
            runs::set_status(db, run, RunStatus::Queued, answer.at)?;
        }
        Decision::Rejected => {
            let reason = answer
                .response
                .as_deref()
                .map(str::trim)
                .filter(|words| !words.is_empty());
            let error = format!(
                "Rejected by {}: {}",
                answer.by.name,
                reason.unwrap_or("no reason given")
            );
            settle_waiting_phase(db, run, &question.phase, "failed", Some(&error), answer.at)?;
            runs::end_unseen(db, run, RunStatus::Failed, &error, answer.at)?;
        }
    }
    let who = match answer.by.via {
        Via::Deadline => format!(
            "{} by default: {}.",
            said(answer.decision),
            answer.response.as_deref().unwrap_or("no answer")
        ),
        _ => format!("{} by {}.", said(answer.decision), answer.by.name),
    };
    close_prompt(db, run, answer.approval, &who, answer.at)?;
    Ok(())
}

fn said(decision: Decision) -> &'static str {
    match decision {
        Decision::Approved => "Approved",
        Decision::Rejected => "Rejected",
    }
}

/// Takes the buttons off the message in which a question was asked, however the question came to its end.
fn close_prompt(db: &Connection, run: i64, question: ApprovalId, words: &str, at: DateTime<Utc>) -> Result<(), Fault> {
    let run: String = db
        .prepare_cached("SELECT id FROM runs WHERE seq = ?1")?
        .query_row([run], |row| row.get(0))?;
    let Some((message, prompt)) = effects::prompt_of(db, &run, question)? else {
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

/// Answers by default, and says so if that counts.
pub(super) fn close(db: &Connection, order: &CloseGate) -> Result<Decided, Fault> {
    let decided = decide(db, &order.answer)?;
    if matches!(decided, Decided::Counted { .. }) {
        effects::queue(db, &order.effects, order.answer.at, None)?;
    }
    Ok(decided)
}

/// Says once that nobody has answered.
pub(super) fn escalate(db: &Connection, order: &EscalateGate) -> Result<bool, Fault> {
    let waited = db
        .prepare_cached(
            "UPDATE approvals SET escalate_at = NULL
             WHERE id = ?1 AND status = 'pending' AND escalate_at IS NOT NULL",
        )?
        .execute([order.approval.to_string()])?;
    if waited > 0 {
        effects::queue(db, &order.effects, order.at, None)?;
    }
    Ok(waited > 0)
}

/// New commits: questions whose answer would hold for the commit before lapse, and their runs go back into the queue with
/// the phase still waiting, which makes them ask anew.
pub(super) fn lapse_for_new_commits(db: &Connection, order: &Lapse, at: DateTime<Utc>) -> Result<usize, Fault> {
    let lapsed: Vec<(i64, String, String)> = db
        .prepare_cached(
            "UPDATE approvals SET status = 'lapsed', response = ?2, responded_at = ?3
             WHERE status = 'pending' AND subject = ?1 AND head_sha IS NOT NULL RETURNING run_seq, phase, id",
        )?
        .query_map(params![order.subject.as_str(), order.reason, millis(at)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (run, phase, question) in &lapsed {
        db.prepare_cached(
            "UPDATE phase_executions SET reason = ?3
             WHERE run_seq = ?1 AND phase = ?2 AND status = 'waiting_approval'",
        )?
        .execute(params![run, phase, order.reason])?;
        let words = format!("This question has lapsed: {}.", order.reason);
        close_prompt(db, *run, question.parse()?, &words, at)?;
        runs::set_status(db, *run, RunStatus::Queued, at)?;
    }
    Ok(lapsed.len())
}

/// What the clock has to look after.
pub(super) fn due(db: &Connection, order: DueGates) -> Result<GatesDue, Fault> {
    let now = millis(order.now);
    let some = |index: &str, column: &str| -> Result<Vec<Approval>, Fault> {
        let mut statement = db.prepare_cached(&format!(
            "{QUESTION} INDEXED BY {index} JOIN runs r ON r.seq = a.run_seq
             WHERE a.status = 'pending' AND a.{column} IS NOT NULL AND a.{column} <= ?1 ORDER BY a.{column}, a.seq LIMIT ?2"
        ))?;
        let mut found = statement.query(params![now, rows(order.limit)])?;
        let mut questions = Vec::new();
        while let Some(row) = found.next()? {
            questions.push(stored(db, row)?);
        }
        Ok(questions)
    };
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT min(at) FROM (
                 SELECT min(deadline_at) AS at FROM approvals INDEXED BY approvals_by_deadline
                 WHERE status = 'pending' AND deadline_at IS NOT NULL AND deadline_at > ?1
                 UNION ALL
                 SELECT min(escalate_at) FROM approvals INDEXED BY approvals_by_escalation
                 WHERE status = 'pending' AND escalate_at IS NOT NULL AND escalate_at > ?1)",
        )?
        .query_row([now], |row| row.get(0))?;
    Ok(GatesDue {
        expired: some("approvals_by_deadline", "deadline_at")?,
        escalate: some("approvals_by_escalation", "escalate_at")?,
        next: maybe_time(next)?,
    })
}

/// Of the phases that wait only the one that asked this: another may have a question of its own.
fn settle_waiting_phase(
    db: &Connection,
    run: i64,
    phase: &PhaseName,
    status: &str,
    reason: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    db.prepare_cached(
        "UPDATE phase_executions SET status = ?3, reason = coalesce(?4, reason), ended_at = coalesce(ended_at, ?5)
         WHERE run_seq = ?1 AND phase = ?2 AND status = 'waiting_approval'",
    )?
    .execute(params![run, phase.as_str(), status, reason, millis(at)])?;
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
        close_prompt(db, run, question.parse()?, "The run ended without an answer.", at)?;
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
        questions.push(stored(db, row)?);
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
        questions.push(stored(db, row)?);
    }
    Ok(questions)
}

/// A page of questions, newest first.
pub(super) fn list(db: &Connection, filter: &ApprovalFilter) -> Result<Page<Approval>, Fault> {
    let mut terms: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    // Those of one run are few and have an index; those that wait are few, too; all others are walked backwards.
    let index = match (filter.run, filter.status) {
        (Some(_), _) => "INDEXED BY approvals_of_run",
        (None, Some(ApprovalStatus::Pending)) => "INDEXED BY approvals_pending",
        (None, _) => "NOT INDEXED",
    };
    let mut bind = |term: &str, value: Value| {
        values.push(value);
        terms.push(term.replace('?', &format!("?{}", values.len())));
    };
    if let Some(run) = filter.run {
        bind(
            "a.run_seq = (SELECT seq FROM runs WHERE id = ?)",
            Value::Text(run.to_string()),
        );
    }
    if let Some(before) = filter.before {
        bind("a.seq < ?", Value::Integer(before));
    }
    if let Some(status) = filter.status {
        // Written out, because the partial index is recognised by it. The text is one of a closed list.
        terms.push(format!("a.status = '{status}'"));
    }
    let wanted = if terms.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", terms.join(" AND "))
    };
    values.push(Value::Integer(rows(filter.limit.saturating_add(1))));
    let sql = format!(
        "{QUESTION} {index} JOIN runs r ON r.seq = a.run_seq {wanted} ORDER BY a.seq DESC LIMIT ?{}",
        values.len()
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(rusqlite::params_from_iter(values))?;
    let mut questions = Vec::new();
    while let Some(row) = found.next()? {
        questions.push(stored(db, row)?);
    }
    Ok(Page::cut(questions, filter.limit, |question| question.seq))
}

/// One question.
pub(super) fn read(db: &Connection, id: ApprovalId) -> Result<Option<Approval>, Fault> {
    let mut statement = db.prepare_cached(&format!("{QUESTION} JOIN runs r ON r.seq = a.run_seq WHERE a.id = ?1"))?;
    let mut found = statement.query([id.to_string()])?;
    found.next()?.map(|row| stored(db, row)).transpose()
}

/// What people answered in words to the questions of a run, oldest first.
pub(super) fn answers(db: &Connection, run: i64) -> Result<Vec<Answered>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT phase, summary, response, responded_by, responded_at FROM approvals INDEXED BY approvals_of_run
         WHERE run_seq = ?1 AND kind = 'reply' AND status = 'approved' ORDER BY seq",
    )?;
    let mut found = statement.query([run])?;
    let mut answers = Vec::new();
    while let Some(row) = found.next()? {
        answers.push(Answered {
            phase: text(row, "phase")?.parse()?,
            question: get(row, "summary")?,
            answer: get::<Option<String>>(row, "response")?.unwrap_or_default(),
            sender: get::<Option<String>>(row, "responded_by")?.unwrap_or_default(),
            at: time(get::<Option<i64>>(row, "responded_at")?.unwrap_or_default())?,
        });
    }
    Ok(answers)
}

fn stored(db: &Connection, row: &Row<'_>) -> Result<Approval, Fault> {
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
        rules: from_json("rules of a gate", text(row, "rules")?)?,
        votes: votes(db, get(row, "seq")?)?,
        shown: get(row, "shown")?,
        head_sha: get(row, "head_sha")?,
        seq: get(row, "seq")?,
    })
}

fn votes(db: &Connection, question: i64) -> Result<Vec<Vote>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT voter, response, at FROM approval_votes WHERE approval_seq = ?1 ORDER BY n")?;
    let mut found = statement.query([question])?;
    let mut votes = Vec::new();
    while let Some(row) = found.next()? {
        votes.push(Vote {
            by: from_json("voter", text(row, "voter")?)?,
            response: get(row, "response")?,
            at: time(get(row, "at")?)?,
        });
    }
    Ok(votes)
}
