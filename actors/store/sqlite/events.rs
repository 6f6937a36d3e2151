//! Events: recorded once, settled once, listed newest first. Knows runs, approvals and the outbox only for settling.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::columns::{from_json, get, maybe_text, maybe_time, millis, rows, text, word};
use super::fault::Fault;
use super::{approvals, audit, effects, runs};
use crate::domain::{
    BodyFormat, Decided, EventFilter, EventSeq, EventState, NewEffect, NewEvent, Opened, Page, RawBody, Recorded,
    RunId, RunStatus, StoredEvent,
};
use crate::messages::store::{Answer, ReadUnsettled, RecordAudit, Settled, Settlement};

const COLUMNS: &str = "seq, envelope, state, outcome, run_id, settled_at";

/// Writes an event with its body, unless its id is known.
pub(super) fn record(db: &Connection, event: &NewEvent, envelope: &str) -> Result<Recorded, Fault> {
    let of = &event.envelope;
    let fresh = db.prepare_cached(
        "INSERT INTO events (id, source, type, repo, sender, received_at, envelope) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        of.id.as_str(),
        of.source.as_str(),
        of.kind.as_str(),
        of.repo.as_ref().map(|repo| repo.as_str()),
        of.sender,
        millis(of.timestamp),
        envelope,
    ])?;
    if fresh == 0 {
        return Ok(Recorded::AlreadySeen);
    }
    let seq = db.last_insert_rowid();
    db.prepare_cached("INSERT INTO event_bodies (seq, format, body) VALUES (?1, ?2, ?3)")?
        .execute(params![seq, event.raw.format.as_str(), &event.raw.compressed[..]])?;
    Ok(Recorded::Fresh(EventSeq(seq)))
}

/// Events that wait, oldest first. One that cannot be read is told of and passed over, so that it holds nobody up.
pub(super) fn read_unsettled(db: &Connection, order: ReadUnsettled) -> Result<Vec<StoredEvent>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        // Named, because the key alone looks cheaper to the planner, and would walk over everything that was ever settled.
        "SELECT {COLUMNS} FROM events INDEXED BY events_recorded
         WHERE state = 'recorded' AND seq > ?1 ORDER BY seq LIMIT ?2"
    ))?;
    let mut found = statement.query(params![order.after.0, rows(order.limit)])?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        match stored(row) {
            Ok(event) => events.push(event),
            Err(Fault::Wrong(words)) => {
                let seq: i64 = get(row, "seq")?;
                tracing::error!(
                    event.seq = seq,
                    error = words,
                    "a recorded event cannot be read and waits for ever"
                );
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(events)
}

/// Who answered a question in a chat or a comment, and what it came to.
fn line(answer: &Answer, decided: &Decided) -> RecordAudit {
    let by = &answer.by;
    RecordAudit {
        // As somebody is called who signs in with Slack: names there are freely chosen.
        who: by
            .slack_id
            .as_ref()
            .map_or_else(|| by.name.clone(), |id| format!("slack:{id}")),
        from: by.via.as_str().to_owned(),
        action: "approval".to_owned(),
        target: answer.approval.to_string(),
        result: decided.words().unwrap_or_else(|| "ok".to_owned()),
        at: answer.at,
    }
}

/// Settles one event with everything that follows from it.
pub(super) fn settle(db: &Connection, order: &Settlement) -> Result<Settled, Fault> {
    let state: Option<String> = db
        .prepare_cached("SELECT state FROM events WHERE seq = ?1")?
        .query_row([order.event.0], |row| row.get(0))
        .optional()?;
    let state = state.ok_or_else(|| Fault::wrong(format!("there is no event {} to settle", order.event.0)))?;
    if state != EventState::Recorded.as_str() {
        return Ok(Settled {
            event: order.event,
            fresh: false,
            opened: None,
            decided: None,
            lapsed: 0,
            effects: 0,
        });
    }

    let opened = match &order.open {
        Some(run) => Some(runs::open(db, run, Some(order.event))?),
        None => None,
    };
    let decided = match &order.decide {
        Some(answer) => {
            let decided = approvals::decide(db, answer)?;
            audit::record(db, &line(answer, &decided))?;
            Some(decided)
        }
        None => None,
    };
    let lapsed = match &order.lapse {
        Some(lapse) => approvals::lapse_for_new_commits(db, lapse, order.at)?,
        None => 0,
    };
    let in_the_way = matches!(opened, Some(Opened::Joined(_, RunStatus::Paused)));
    // Why an answer did not settle its question is known here alone; whoever wrote the reply left a place for it.
    let why_not = decided.as_ref().and_then(Decided::words);
    let explained: Vec<NewEffect> = match &why_not {
        Some(words) => order.otherwise.iter().map(|effect| explain(effect, words)).collect(),
        None => Vec::new(),
    };
    let said = match (&why_not, in_the_way) {
        (Some(_), _) => &explained,
        (None, true) => &order.otherwise,
        (None, false) => &order.effects,
    };
    // Whoever routed the event could only name the run that it asked for. Where another was joined, that one says it.
    let instead = match (&order.open, opened) {
        (Some(asked), Some(opened)) => Some((asked.id, opened.run())),
        _ => None,
    };
    let effects = effects::queue(db, said, order.at, instead)?;

    let run: Option<RunId> = opened.map(Opened::run).or(match &decided {
        Some(Decided::Counted { run }) => Some(*run),
        _ => None,
    });
    let state = if order.quarantined {
        EventState::Quarantined
    } else {
        EventState::Settled
    };
    db.prepare_cached("UPDATE events SET state = ?2, outcome = ?3, run_id = ?4, settled_at = ?5 WHERE seq = ?1")?
        .execute(params![
            order.event.0,
            state.as_str(),
            order.outcome,
            run.map(|run| run.to_string()),
            millis(order.at),
        ])?;
    Ok(Settled {
        event: order.event,
        fresh: true,
        opened,
        decided,
        lapsed,
        effects,
    })
}

fn explain(effect: &NewEffect, words: &str) -> NewEffect {
    NewEffect {
        effect: effect.effect.clone().with_words(Decided::PLACE, words),
        ..effect.clone()
    }
}

/// One event with its body.
pub(super) fn read(db: &Connection, id: &str) -> Result<Option<(StoredEvent, RawBody)>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT e.seq AS seq, envelope, state, outcome, run_id, settled_at, b.format AS format, b.body AS body
         FROM events e JOIN event_bodies b ON b.seq = e.seq WHERE e.id = ?1",
    )?;
    let mut found = statement.query([id])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let raw = RawBody {
        format: word("body format", text(row, "format")?, BodyFormat::from_text)?,
        compressed: get::<Vec<u8>>(row, "body")?.into(),
    };
    Ok(Some((stored(row)?, raw)))
}

/// A page of events, newest first.
pub(super) fn list(db: &Connection, filter: &EventFilter) -> Result<Page<StoredEvent>, Fault> {
    let (sql, values) = list_sql(filter);
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(&values))?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        events.push(stored(row)?);
    }
    Ok(Page::cut(events, filter.limit, |event| event.seq.0))
}

/// The query of a list. The index is named: without statistics the planner cannot know that the few are the better start,
/// and a bound on `seq` would lure it into walking the whole table.
pub(super) fn list_sql(filter: &EventFilter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut terms: Vec<String> = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    // From the one that usually leaves the fewest rows to the one that leaves the most.
    let index = match filter {
        EventFilter {
            state: Some(EventState::Recorded),
            ..
        } => "INDEXED BY events_recorded",
        EventFilter {
            state: Some(EventState::Quarantined),
            ..
        } => "INDEXED BY events_quarantined",
        EventFilter { sender: Some(_), .. } => "INDEXED BY events_by_sender",
        EventFilter { repo: Some(_), .. } => "INDEXED BY events_by_repo",
        EventFilter { kind: Some(_), .. } => "INDEXED BY events_by_type",
        EventFilter { .. } => "NOT INDEXED",
    };
    if let Some(state) = filter.state {
        // Written out, because the partial indexes are recognised by it. The text is one of a closed list.
        terms.push(format!("state = '{}'", state.as_str()));
    }
    let mut bind = |term: &str, value: Box<dyn ToSql>| {
        values.push(value);
        terms.push(format!("{term} ?{}", values.len()));
    };
    if let Some(sender) = &filter.sender {
        bind("sender =", Box::new(sender.clone()));
    }
    if let Some(repo) = &filter.repo {
        bind("repo =", Box::new(repo.clone()));
    }
    if let Some(kind) = filter.kind {
        bind("type =", Box::new(kind.as_str()));
    }
    if let Some(before) = filter.before {
        bind("seq <", Box::new(before));
    }
    values.push(Box::new(rows(filter.limit.saturating_add(1))));
    let wanted = if terms.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", terms.join(" AND "))
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM events {index} {wanted} ORDER BY seq DESC LIMIT ?{}",
        values.len()
    );
    (sql, values)
}

/// The place of an event in the order of acceptance.
pub(super) fn seq_of(db: &Connection, id: &str) -> Result<Option<i64>, Fault> {
    Ok(db
        .prepare_cached("SELECT seq FROM events WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?)
}

fn stored(row: &Row<'_>) -> Result<StoredEvent, Fault> {
    Ok(StoredEvent {
        seq: EventSeq(get(row, "seq")?),
        envelope: from_json("envelope", text(row, "envelope")?)?,
        state: word("event state", text(row, "state")?, EventState::from_text)?,
        outcome: get(row, "outcome")?,
        run: maybe_text(row, "run_id")?.map(str::parse).transpose()?,
        settled_at: maybe_time(get(row, "settled_at")?)?,
    })
}
