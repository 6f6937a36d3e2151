//! Runs: opened by the rule of their overlap, taken up in order, ended once. Knows phases and questions only to close them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::columns::{count, from_json, get, json, maybe_text, maybe_time, millis, number, rows, text, time, word};
use super::fault::Fault;
use super::{approvals, chats, effects, events, steps};
use crate::domain::{
    Cause, DefinitionHash, EventSeq, NewRun, Opened, Overlap, Page, ReplyTo, RunFilter, RunId, RunRecord, RunStatus,
    RunSummary, Subject, TriggerType, WorkflowName,
};
use crate::messages::store::{EndRun, LiveRunOf, OpenRetry, RecoverRuns, SwitchWorkflow, TakeQueuedRuns, TellEnds};

const SUMMARY: &str = "seq, id, workflow, subject, repo, number, status, current_phase, trigger_type, triggered_by,
    event_id, error, restart_count, created_at, started_at, ended_at";

/// How far the order of acceptance and the order of times can be apart, in rows: as many orders may wait for the writer.
pub(super) const DISORDER: i64 = 5_000;

/// Keeps bundles that are not there yet.
pub(super) fn keep_definitions(
    db: &Connection,
    definitions: &[(DefinitionHash, WorkflowName, String)],
) -> Result<(), Fault> {
    let mut insert = db.prepare_cached(
        "INSERT INTO definitions (hash, name, bundle) VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING",
    )?;
    for (hash, name, bundle) in definitions {
        insert.execute(params![hash.0, name.as_str(), bundle])?;
    }
    Ok(())
}

/// Opens a run, or says which one stands for it.
pub(super) fn open(db: &Connection, run: &NewRun, event: Option<EventSeq>) -> Result<Opened, Fault> {
    let id = run.id.to_string();
    if seq_of(db, &id)?.is_some() {
        return Ok(Opened::Repeated(run.id));
    }
    if let Some((joined, status)) = to_join(db, run)? {
        return Ok(Opened::Joined(joined, status));
    }
    let kept = db
        .prepare_cached("SELECT 1 FROM definitions WHERE hash = ?1")?
        .exists([&run.definition.0])?;
    if !kept {
        return Err(Fault::wrong(format!(
            "the definition of workflow \"{}\" ({}) was never kept: keep definitions before opening runs of them",
            run.workflow, run.definition.0
        )));
    }
    let event = match (event, &run.cause.event) {
        (Some(event), _) => Some(event.0),
        (None, Some(id)) => events::seq_of(db, id.as_str())?,
        (None, None) => None,
    };
    db.prepare_cached(
        "INSERT INTO runs (id, workflow, definition, subject, repo, number, status, holds, overlap, trigger_type,
                           triggered_by, event_id, event_seq, context, reply_to, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued',
                 NOT EXISTS (SELECT 1 FROM runs INDEXED BY runs_live
                             WHERE workflow = ?2 AND subject = ?4 AND ended_at IS NULL),
                 ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14)",
    )?
    .execute(params![
        id,
        run.workflow.as_str(),
        run.definition.0,
        run.subject.as_str(),
        run.repo.as_ref().map(|repo| repo.as_str()),
        run.number.map(number),
        run.overlap.as_str(),
        run.cause.trigger.as_str(),
        run.cause.who,
        run.cause.event.as_ref().map(|event| event.as_str()),
        event,
        json(&run.context)?,
        json(&run.reply_to)?,
        millis(run.created_at),
    ])?;
    Ok(Opened::Queued(run.id))
}

/// Opens a run with what an earlier one has done.
pub(super) fn open_retry(db: &Connection, order: &OpenRetry) -> Result<Opened, Fault> {
    let opened = open(db, &order.run, None)?;
    if let Opened::Queued(id) = opened
        && let Some(seq) = seq_of(db, &id.to_string())?
    {
        steps::adopt(db, seq, &order.done)?;
        db.prepare_cached("UPDATE runs SET scratch = ?2 WHERE seq = ?1")?
            .execute(params![seq, json(&order.scratch)?])?;
    }
    Ok(opened)
}

/// The live run that stands for a new one, by the rule of its overlap. A paused one is the oldest of its subject, so that
/// "oldest first" also means that it is joined rather than one that waits behind it.
fn to_join(db: &Connection, run: &NewRun) -> Result<Option<(RunId, RunStatus)>, Fault> {
    let sql = match run.overlap {
        Overlap::Join => {
            "SELECT id, status FROM runs INDEXED BY runs_live
             WHERE workflow = ?1 AND subject = ?2 AND ended_at IS NULL ORDER BY seq LIMIT 1"
        }
        // At most one run of a subject is running, so this looks at two rows at most.
        Overlap::QueueOnce => {
            "SELECT id, status FROM runs INDEXED BY runs_live
             WHERE workflow = ?1 AND subject = ?2 AND ended_at IS NULL AND status <> 'running' ORDER BY seq LIMIT 1"
        }
        Overlap::Queue => {
            "SELECT id, status FROM runs INDEXED BY runs_holder
             WHERE workflow = ?1 AND subject = ?2 AND holds = 1 AND status = 'paused'"
        }
    };
    let found: Option<(String, String)> = db
        .prepare_cached(sql)?
        .query_row(params![run.workflow.as_str(), run.subject.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    found
        .map(|(id, status)| Ok((id.parse()?, word("run status", &status, RunStatus::from_text)?)))
        .transpose()
}

/// Takes runs up, oldest first. Only those that hold the place of their workflow and subject are looked at.
pub(super) fn take_queued(db: &Connection, order: TakeQueuedRuns) -> Result<Vec<RunRecord>, Fault> {
    let ready: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM runs INDEXED BY runs_ready WHERE status = 'queued' AND holds = 1 ORDER BY seq LIMIT ?1",
        )?
        .query_map([rows(order.free)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut taken = Vec::with_capacity(ready.len());
    for seq in ready {
        db.prepare_cached(
            "UPDATE runs SET status = 'running', started_at = coalesce(started_at, ?2), updated_at = ?2 WHERE seq = ?1",
        )?
        .execute(params![seq, millis(order.at)])?;
        match record(db, seq) {
            Ok(run) => taken.push(with_history(db, run)?),
            // One that cannot be read would be first in the queue for ever, and nobody would be taken up behind it.
            Err(Fault::Wrong(words)) => {
                tracing::error!(
                    run.seq = seq,
                    error = words,
                    "a queued run cannot be read and is given up"
                );
                let error = format!("the stored run cannot be read: {words}");
                end(db, seq, RunStatus::Failed, Some(&error), order.at)?;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(taken)
}

/// A run that a chat message asked for learns what was said before, as it is now: earlier messages of the conversation may
/// have been answered while it waited.
fn with_history(db: &Connection, mut run: RunRecord) -> Result<RunRecord, Fault> {
    let asked_in_chat = matches!(run.reply_to, ReplyTo::SlackThread { .. });
    let (true, Some(message)) = (asked_in_chat, &run.summary.cause.event) else {
        return Ok(run);
    };
    let lines = chats::said_before(db, message)?;
    if !lines.is_empty() {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("{}: {}", line.author, line.text.replace('\n', "\n  ")))
            .collect();
        run.context.0.insert("history".to_owned(), lines.join("\n").into());
    }
    Ok(run)
}

/// After a crash: runs that were at work go back to their place in the queue, or are given up.
pub(super) fn recover(db: &Connection, order: RecoverRuns) -> Result<(usize, usize), Fault> {
    let cut_off: Vec<(i64, u32)> = db
        .prepare_cached(
            "SELECT seq, restart_count FROM runs INDEXED BY runs_by_status WHERE status = 'running' ORDER BY seq",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut put_back, mut given_up) = (0, 0);
    for (seq, restarts) in cut_off {
        steps::interrupt(db, seq, order.at)?;
        if restarts >= order.most {
            let error = format!(
                "the service stopped {} times while this run was active; given up",
                u64::from(restarts) + 1
            );
            end_unseen(db, seq, RunStatus::Failed, &error, order.at)?;
            given_up += 1;
        } else {
            db.prepare_cached("UPDATE runs SET restart_count = restart_count + 1 WHERE seq = ?1")?
                .execute([seq])?;
            set_status(db, seq, RunStatus::Queued, order.at)?;
            put_back += 1;
        }
    }
    Ok((put_back, given_up))
}

/// Moves a live run; it keeps its place.
pub(super) fn set_status(db: &Connection, seq: i64, status: RunStatus, at: DateTime<Utc>) -> Result<(), Fault> {
    db.prepare_cached("UPDATE runs SET status = ?2, updated_at = ?3 WHERE seq = ?1 AND ended_at IS NULL")?
        .execute(params![seq, status.as_str(), millis(at)])?;
    Ok(())
}

/// Sets one entry of a run's scratch.
pub(super) fn keep_scratch(
    db: &Connection,
    seq: i64,
    key: &str,
    value: &serde_json::Value,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    let kept: String = db
        .prepare_cached("SELECT scratch FROM runs WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    let mut scratch: BTreeMap<String, serde_json::Value> = from_json("scratch", &kept)?;
    scratch.insert(key.to_owned(), value.clone());
    db.prepare_cached("UPDATE runs SET scratch = ?2, updated_at = ?3 WHERE seq = ?1")?
        .execute(params![seq, json(&scratch)?, millis(at)])?;
    Ok(())
}

/// Ends a live run with what was open in it, and hands its place to the oldest that waits for it.
pub(super) fn end(
    db: &Connection,
    seq: i64,
    status: RunStatus,
    error: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    if !status.is_final() {
        return Err(Fault::wrong(format!(
            "a run cannot end as \"{status}\": that is no final status"
        )));
    }
    let ended: Option<(String, String)> = db
        .prepare_cached(
            "UPDATE runs SET status = ?2, error = ?3, ended_at = ?4, updated_at = ?4, holds = 0
             WHERE seq = ?1 AND ended_at IS NULL RETURNING workflow, subject",
        )?
        .query_row(params![seq, status.as_str(), error, millis(at)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((workflow, subject)) = ended else {
        return Ok(());
    };
    steps::close_open_phases(db, seq, error.unwrap_or("the run ended"), at)?;
    approvals::lapse(db, seq, at)?;
    // Where it only waited itself, the oldest has the place already and nothing changes.
    db.prepare_cached(
        "UPDATE runs SET holds = 1 WHERE holds = 0 AND seq = (
             SELECT seq FROM runs INDEXED BY runs_live
             WHERE workflow = ?1 AND subject = ?2 AND ended_at IS NULL ORDER BY seq LIMIT 1)",
    )?
    .execute(params![workflow, subject])?;
    Ok(())
}

/// Ends a live run behind its runner's back. If it answers in a chat, its thread is to be told; what is said there is not for
/// the store to decide.
pub(super) fn end_unseen(
    db: &Connection,
    seq: i64,
    status: RunStatus,
    error: &str,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    end(db, seq, status, Some(error), at)?;
    db.prepare_cached(
        "UPDATE runs SET untold = 1 WHERE seq = ?1 AND json_extract(reply_to, '$.kind') = 'slack_thread'",
    )?
    .execute([seq])?;
    Ok(())
}

/// Runs whose thread has not been told of their end.
pub(super) fn untold(db: &Connection, most: usize) -> Result<Vec<RunRecord>, Fault> {
    let seqs: Vec<i64> = db
        .prepare_cached("SELECT seq FROM runs INDEXED BY runs_untold WHERE untold = 1 ORDER BY seq LIMIT ?1")?
        .query_map([rows(most)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    seqs.into_iter().map(|seq| record(db, seq)).collect()
}

/// Queues what is told of ended runs, and remembers that they were told of.
pub(super) fn tell_ends(db: &Connection, order: &TellEnds) -> Result<(), Fault> {
    for (run, said) in &order.ends {
        effects::queue(db, said, order.at, None)?;
        db.prepare_cached("UPDATE runs SET untold = 0 WHERE id = ?1")?
            .execute([run.to_string()])?;
    }
    Ok(())
}

/// Ends a run on somebody's order. Says how it stood.
pub(super) fn end_from_outside(db: &Connection, order: &EndRun) -> Result<Option<RunStatus>, Fault> {
    let Some((seq, status)) = standing(db, order.run)? else {
        return Ok(None);
    };
    if !status.is_final() {
        end_unseen(db, seq, order.status, &order.error, order.at)?;
    }
    Ok(Some(status))
}

/// A run's row and status.
pub(super) fn standing(db: &Connection, id: RunId) -> Result<Option<(i64, RunStatus)>, Fault> {
    let found: Option<(i64, String)> = db
        .prepare_cached("SELECT seq, status FROM runs WHERE id = ?1")?
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found
        .map(|(seq, status)| Ok((seq, word("run status", &status, RunStatus::from_text)?)))
        .transpose()
}

/// One run with all that is needed to go on with it.
pub(super) fn load(db: &Connection, id: RunId) -> Result<Option<RunRecord>, Fault> {
    seq_of(db, &id.to_string())?.map(|seq| record(db, seq)).transpose()
}

fn seq_of(db: &Connection, id: &str) -> Result<Option<i64>, Fault> {
    Ok(db
        .prepare_cached("SELECT seq FROM runs WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?)
}

fn record(db: &Connection, seq: i64) -> Result<RunRecord, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {SUMMARY}, event_seq, context, reply_to, scratch, bundle
         FROM runs JOIN definitions ON hash = definition WHERE seq = ?1"
    ))?;
    let mut found = statement.query([seq])?;
    let row = found
        .next()?
        .ok_or_else(|| Fault::wrong(format!("there is no run at place {seq}")))?;
    Ok(RunRecord {
        summary: summary(row)?,
        definition: get(row, "bundle")?,
        context: from_json("context", text(row, "context")?)?,
        reply_to: from_json("reply target", text(row, "reply_to")?)?,
        event: get::<Option<i64>>(row, "event_seq")?.map(EventSeq),
        phases: steps::of(db, seq)?,
        scratch: from_json("scratch", text(row, "scratch")?)?,
        answers: approvals::answers(db, seq)?,
    })
}

/// A page of runs, newest first. First the places are found in an index alone, then the rows of one page are read.
pub(super) fn list(db: &Connection, filter: &RunFilter) -> Result<Page<RunSummary>, Fault> {
    let mut statuses = wanted_statuses(filter);
    if statuses.is_empty() && filter.repo.is_some() && filter.workflow.is_some() {
        statuses = RunStatus::ALL.to_vec();
    }
    let end = filter.offset.saturating_add(filter.limit).saturating_add(1);
    // Several statuses are several walks along one index, each newest first, merged. One walk over all would have to sort.
    let walks: Vec<Option<RunStatus>> = if statuses.is_empty() {
        vec![None]
    } else {
        statuses.into_iter().map(Some).collect()
    };
    let alone = walks.len() == 1;
    let mut places: Vec<i64> = Vec::new();
    for status in walks {
        let offset = if alone { filter.offset } else { 0 };
        let (sql, values) = places_sql(filter, status, end - offset, offset);
        let mut statement = db.prepare_cached(&sql)?;
        for place in statement.query_map(params_from_iter(values), |row| row.get(0))? {
            places.push(place?);
        }
    }
    if !alone {
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.drain(..filter.offset.min(places.len()));
        places.truncate(end - filter.offset);
    }
    let mut statement = db.prepare_cached(&format!("SELECT {SUMMARY} FROM runs WHERE seq = ?1"))?;
    let mut runs = Vec::with_capacity(places.len());
    for place in places {
        let mut found = statement.query([place])?;
        if let Some(row) = found.next()? {
            runs.push(summary(row)?);
        }
    }
    Ok(Page::cut(runs, filter.limit, |run| run.seq))
}

/// The statuses that a filter names, each once; none when it names all or none.
fn wanted_statuses(filter: &RunFilter) -> Vec<RunStatus> {
    let mut statuses = filter.statuses.clone();
    statuses.sort_unstable();
    statuses.dedup();
    if statuses.len() == RunStatus::ALL.len() {
        statuses.clear();
    }
    statuses
}

/// The query for the places of one walk.
pub(super) fn places_sql(
    filter: &RunFilter,
    status: Option<RunStatus>,
    limit: usize,
    offset: usize,
) -> (String, Vec<Value>) {
    let mut terms: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    // Named for the same reason as in the list of events: from the fewest rows to the most.
    let index = match (&filter.repo, &filter.workflow, status) {
        (Some(_), Some(_), _) => "INDEXED BY runs_by_all",
        (Some(_), None, Some(_)) => "INDEXED BY runs_by_repo_status",
        (Some(_), None, None) => "INDEXED BY runs_by_repo",
        (None, Some(_), Some(_)) => "INDEXED BY runs_by_workflow_status",
        (None, Some(_), None) => "INDEXED BY runs_by_workflow",
        (None, None, Some(_)) => "INDEXED BY runs_by_status",
        (None, None, None) => "NOT INDEXED",
    };
    let mut bind = |term: &str, value: Value| {
        values.push(value);
        terms.push(term.replace('?', &format!("?{}", values.len())));
    };
    if let Some(repo) = &filter.repo {
        bind("repo = ?", Value::Text(repo.clone()));
    }
    if let Some(workflow) = &filter.workflow {
        bind("workflow = ?", Value::Text(workflow.clone()));
    }
    if let Some(status) = status {
        bind("status = ?", Value::Text(status.as_str().to_owned()));
    }
    if let Some(since) = filter.since {
        // Runs are opened about in the order of their times; this bound is where the walk may stop looking.
        bind(
            &format!(
                "created_at >= ? AND seq >= (SELECT seq FROM runs INDEXED BY runs_by_time
                                             WHERE created_at >= ? ORDER BY created_at LIMIT 1) - {DISORDER}"
            ),
            Value::Integer(millis(since)),
        );
    }
    if let Some(before) = filter.before {
        bind("seq < ?", Value::Integer(before));
    }
    let wanted = if terms.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", terms.join(" AND "))
    };
    values.push(Value::Integer(rows(limit)));
    values.push(Value::Integer(rows(offset)));
    let n = values.len();
    let sql = format!(
        "SELECT seq FROM runs {index} {wanted} ORDER BY seq DESC LIMIT ?{} OFFSET ?{n}",
        n - 1
    );
    (sql, values)
}

/// How many runs match in all, whatever the page.
pub(super) fn total(db: &Connection, filter: &RunFilter) -> Result<u64, Fault> {
    let (sql, values) = total_sql(filter);
    let total: i64 = db
        .prepare_cached(&sql)?
        .query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(count(total))
}

/// The query for the total: out of the counts that are kept, or, where a time is asked for, along the index of times.
pub(super) fn total_sql(filter: &RunFilter) -> (String, Vec<Value>) {
    let mut terms: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |term: &str, value: Value| {
        values.push(value);
        terms.push(format!("{term} ?{}", values.len()));
    };
    if let Some(since) = filter.since {
        bind("created_at >=", Value::Integer(millis(since)));
    }
    if let Some(workflow) = &filter.workflow {
        bind("workflow =", Value::Text(workflow.clone()));
    }
    if let Some(repo) = &filter.repo {
        bind("repo =", Value::Text(repo.clone()));
    }
    let statuses = wanted_statuses(filter);
    if !statuses.is_empty() {
        // Words of a closed list, so that they can stand in the text.
        let list: Vec<String> = statuses.iter().map(|status| format!("'{status}'")).collect();
        terms.push(format!("status IN ({})", list.join(", ")));
    }
    let wanted = if terms.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", terms.join(" AND "))
    };
    let sql = if filter.since.is_some() {
        format!("SELECT count(*) FROM runs INDEXED BY runs_by_time {wanted}")
    } else {
        format!("SELECT ifnull(sum(n), 0) FROM run_counts {wanted}")
    };
    (sql, values)
}

/// The oldest live run of a workflow and a subject.
pub(super) fn live_of(db: &Connection, order: &LiveRunOf) -> Result<Option<(RunId, RunStatus)>, Fault> {
    let found: Option<(String, String)> = db
        .prepare_cached(
            "SELECT id, status FROM runs INDEXED BY runs_live
             WHERE workflow = ?1 AND subject = ?2 AND ended_at IS NULL ORDER BY seq LIMIT 1",
        )?
        .query_row(params![order.workflow.as_str(), order.subject.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    found
        .map(|(id, status)| Ok((id.parse()?, word("run status", &status, RunStatus::from_text)?)))
        .transpose()
}

/// Workflows that ever ran.
pub(super) fn workflows(db: &Connection) -> Result<Vec<String>, Fault> {
    Ok(db
        .prepare_cached("SELECT DISTINCT workflow FROM run_counts ORDER BY workflow")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?)
}

/// Workflows that are switched off.
pub(super) fn switched_off(db: &Connection) -> Result<Vec<String>, Fault> {
    Ok(db
        .prepare_cached("SELECT workflow FROM workflow_overrides WHERE enabled = 0 ORDER BY workflow")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?)
}

/// Switches a workflow on or off.
pub(super) fn switch(db: &Connection, order: &SwitchWorkflow) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO workflow_overrides (workflow, enabled, updated_at, updated_by) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workflow) DO UPDATE SET enabled = ?2, updated_at = ?3, updated_by = ?4",
    )?
    .execute(params![
        order.workflow.as_str(),
        order.enabled,
        millis(order.at),
        order.by
    ])?;
    Ok(())
}

fn summary(row: &Row<'_>) -> Result<RunSummary, Fault> {
    Ok(RunSummary {
        seq: get(row, "seq")?,
        id: text(row, "id")?.parse()?,
        workflow: text(row, "workflow")?.parse()?,
        subject: Subject::stored(get(row, "subject")?),
        repo: maybe_text(row, "repo")?.map(str::parse).transpose()?,
        number: get::<Option<i64>>(row, "number")?.map(count),
        status: word("run status", text(row, "status")?, RunStatus::from_text)?,
        current_phase: maybe_text(row, "current_phase")?.map(str::parse).transpose()?,
        cause: Cause {
            trigger: word("trigger", text(row, "trigger_type")?, TriggerType::from_text)?,
            who: get(row, "triggered_by")?,
            event: maybe_text(row, "event_id")?.map(str::parse).transpose()?,
        },
        error: get(row, "error")?,
        restart_count: get(row, "restart_count")?,
        created_at: time(get(row, "created_at")?)?,
        started_at: maybe_time(get(row, "started_at")?)?,
        ended_at: maybe_time(get(row, "ended_at")?)?,
    })
}
