//! Events: recorded once, settled once, listed newest first. Knows runs, approvals and the outbox only for settling.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::columns::{from_json, get, json, maybe_text, maybe_time, millis, rows, text, word};
use super::fault::Fault;
use super::runs::DISORDER;
use super::{approvals, audit, chats, counts, effects, runs};
use crate::domain::{
    BodyFormat, Decided, EventEnvelope, EventFilter, EventSeq, EventState, NewEffect, NewEvent, Opened, Page, RawBody,
    Recorded, Replayed, RunId, RunStatus, StoredEvent,
};
use crate::messages::store::{Answer, ReadUnsettled, RecordAudit, ReplayEvent, Settled, Settlement};

const COLUMNS: &str = "seq, envelope, state, outcome, run_id, settled_at, replay_of";

/// Writes an event with its body, unless its id is known.
pub(super) fn record(db: &Connection, event: &NewEvent, envelope: &str) -> Result<Recorded, Fault> {
    let of = &event.envelope;
    let fresh = db
        .prepare_cached(
            "INSERT INTO events (id, source, type, repo, sender, received_at, title, envelope)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            of.id.as_str(),
            of.source.as_str(),
            of.kind.as_str(),
            of.repo.as_ref().map(|repo| repo.as_str()),
            of.sender,
            millis(of.timestamp),
            of.title,
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

/// Settles events, and counts them in the hours in which they were received.
pub(super) fn settle_all(db: &Connection, orders: &[Settlement]) -> Result<Vec<Settled>, Fault> {
    let mut hours: BTreeMap<i64, i64> = BTreeMap::new();
    let settled = orders
        .iter()
        .map(|order| settle(db, order, &mut hours))
        .collect::<Result<Vec<_>, _>>()?;
    for (hour, n) in hours {
        counts::count_events(db, hour, n)?;
    }
    Ok(settled)
}

/// Settles one event with everything that follows from it.
fn settle(db: &Connection, order: &Settlement, hours: &mut BTreeMap<i64, i64>) -> Result<Settled, Fault> {
    let found: Option<(String, i64)> = db
        .prepare_cached("SELECT state, received_at FROM events WHERE seq = ?1")?
        .query_row([order.event.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (state, received_at) =
        found.ok_or_else(|| Fault::wrong(format!("there is no event {} to settle", order.event.0)))?;
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

    *hours.entry(received_at.div_euclid(counts::HOUR_MS)).or_default() += 1;
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

/// One event with its body, as long as that is kept.
pub(super) fn read(db: &Connection, id: &str) -> Result<Option<(StoredEvent, Option<RawBody>)>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT e.seq AS seq, envelope, state, outcome, run_id, settled_at, replay_of, b.format AS format, b.body AS body
         FROM events e LEFT JOIN event_bodies b ON b.seq = e.seq WHERE e.id = ?1",
    )?;
    let mut found = statement.query([id])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let raw = match maybe_text(row, "format")? {
        Some(format) => Some(RawBody {
            format: word("body format", format, BodyFormat::from_text)?,
            compressed: get::<Vec<u8>>(row, "body")?.into(),
        }),
        None => None,
    };
    Ok(Some((stored(row)?, raw)))
}

/// A page of events, newest first.
pub(super) fn list(db: &Connection, filter: &EventFilter) -> Result<Page<StoredEvent>, Fault> {
    let filter = &within_times(db, filter)?;
    if let Some(walk) = Walk::of(filter) {
        return walk.page(db, filter.limit);
    }
    let (sql, values) = list_sql(filter);
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(&values))?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        events.push(stored(row)?);
    }
    Ok(Page::cut(events, filter.limit, |event| event.seq.0))
}

/// Events are recorded about in the order of their times, so that an end in time is about an end in the order, too.
fn within_times(db: &Connection, filter: &EventFilter) -> Result<EventFilter, Fault> {
    let mut filter = filter.clone();
    if let Some(until) = filter.until {
        let last: Option<i64> = db
            .prepare_cached(
                "SELECT seq FROM events INDEXED BY events_by_time WHERE received_at <= ?1
                 ORDER BY received_at DESC LIMIT 1",
            )?
            .query_row([millis(until)], |row| row.get(0))
            .optional()?;
        let end = last.unwrap_or(0).saturating_add(DISORDER);
        filter.before = Some(filter.before.map_or(end, |before| before.min(end)));
    }
    Ok(filter)
}

/// The query of a list by one thing. The index is named: without statistics the planner cannot know that the few are the
/// better start, and a bound on `seq` would lure it into walking the whole table.
pub(super) fn list_sql(filter: &EventFilter) -> (String, Vec<Box<dyn ToSql>>) {
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
    let mut terms = Terms::default();
    if let Some(state) = filter.state {
        // Written out, because the partial indexes are recognised by it. The text is one of a closed list.
        terms.plain(format!("state = '{}'", state.as_str()));
    }
    terms.of_columns(filter, &[]);
    terms.of_place(filter);
    let wanted = terms.wanted();
    let limit = terms.bind(rows(filter.limit.saturating_add(1)));
    let sql = format!("SELECT {COLUMNS} FROM events {index} {wanted} ORDER BY seq DESC LIMIT {limit}");
    (sql, terms.values)
}

/// A list by several things, or by words: along one of its indexes, and no further in one go than can be gone quickly. What
/// is further on is found by the next page.
struct Walk {
    /// The rows that are looked at, newest first.
    along: String,
    /// Which of them are wanted.
    sql: String,
    values: Vec<Box<dyn ToSql>>,
    /// How many of the values belong to the rows that are looked at.
    of_along: usize,
    /// At most so many are looked at.
    most: usize,
}

/// Rows that are looked at for one page along an index, at about a microsecond each: they lie far apart.
const MOST_APART: usize = 6_000;

/// Rows that are looked at for one page one after the other.
const MOST_IN_A_ROW: usize = 12_000;

impl Walk {
    /// Nothing where an index alone finds the rows.
    fn of(filter: &EventFilter) -> Option<Self> {
        let few = matches!(filter.state, Some(EventState::Recorded | EventState::Quarantined));
        let indexed = [filter.sender.is_some(), filter.repo.is_some(), filter.kind.is_some()];
        let several = indexed.iter().filter(|asked| **asked).count() > 1;
        let words = filter.title.is_some() || filter.outcome.is_some();
        let settled = filter.state.is_some() && indexed.contains(&true);
        if few && !words || !(several || words || settled || filter.source.is_some()) {
            return None;
        }
        let (index, most, walked): (_, _, &[&str]) = match filter {
            EventFilter {
                state: Some(EventState::Recorded),
                ..
            } => ("INDEXED BY events_recorded", MOST_APART, &[]),
            EventFilter {
                state: Some(EventState::Quarantined),
                ..
            } => ("INDEXED BY events_quarantined", MOST_APART, &[]),
            EventFilter { sender: Some(_), .. } => ("INDEXED BY events_by_sender", MOST_APART, &["sender"]),
            EventFilter { repo: Some(_), .. } => ("INDEXED BY events_by_repo", MOST_APART, &["repo"]),
            EventFilter { kind: Some(_), .. } => ("INDEXED BY events_by_type", MOST_APART, &["type"]),
            _ => ("NOT INDEXED", MOST_IN_A_ROW, &[]),
        };
        let mut terms = Terms::default();
        if let Some(state) = filter.state.filter(|_| few) {
            terms.plain(format!("state = '{}'", state.as_str()));
        }
        for column in walked {
            terms.of_column(filter, column);
        }
        terms.of_place(filter);
        let within = terms.wanted();
        let most_bound = terms.bind(rows(most));
        let along = format!(
            "SELECT seq, type, source, repo, sender, received_at, title, state, outcome
             FROM events {index} {within} ORDER BY seq DESC LIMIT {most_bound}"
        );
        let of_along = terms.values.len();
        terms.terms.clear();
        if let Some(state) = filter.state.filter(|_| !few) {
            terms.plain(format!("state = '{}'", state.as_str()));
        }
        terms.of_columns(filter, walked);
        terms.of_words(filter);
        let wanted = terms.wanted();
        let limit = terms.bind(rows(filter.limit.saturating_add(1)));
        Some(Self {
            sql: format!("SELECT seq FROM ({along}) {wanted} ORDER BY seq DESC LIMIT {limit}"),
            along,
            values: terms.values,
            of_along,
            most,
        })
    }

    fn page(&self, db: &Connection, limit: usize) -> Result<Page<StoredEvent>, Fault> {
        let places: Vec<i64> = db
            .prepare_cached(&self.sql)?
            .query_map(params_from_iter(&self.values), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut read = db.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE seq = ?1"))?;
        let mut events = Vec::with_capacity(places.len());
        for place in &places {
            let mut found = read.query([place])?;
            if let Some(row) = found.next()? {
                events.push(stored(row)?);
            }
        }
        let mut page = Page::cut(events, limit, |event| event.seq.0);
        if page.next.is_none() {
            let (looked_at, last): (i64, Option<i64>) = db
                .prepare_cached(&format!("SELECT count(*), min(seq) FROM ({})", self.along))?
                .query_row(params_from_iter(&self.values[..self.of_along]), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            page.next = last.filter(|_| looked_at == rows(self.most));
        }
        Ok(page)
    }
}

/// Conditions with their values.
#[derive(Default)]
struct Terms {
    terms: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Terms {
    fn plain(&mut self, term: String) {
        self.terms.push(term);
    }

    fn bind(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }

    /// `term` with its `?` bound.
    fn put(&mut self, term: &str, value: impl ToSql + 'static) {
        let place = self.bind(value);
        self.terms.push(term.replace('?', &place));
    }

    /// What a filter says about one column.
    fn of_column(&mut self, filter: &EventFilter, column: &str) {
        match column {
            "sender" => filter
                .sender
                .iter()
                .for_each(|sender| self.put("sender = ?", sender.clone())),
            "repo" => filter
                .repo
                .iter()
                .for_each(|repo| self.put("repo = ? COLLATE NOCASE", repo.clone())),
            "type" => filter.kind.iter().for_each(|kind| self.put("type = ?", kind.as_str())),
            "source" => filter
                .source
                .iter()
                .for_each(|source| self.put("source = ?", source.as_str())),
            _ => {}
        }
    }

    /// What a filter says about columns and times, but for columns that are dealt with.
    fn of_columns(&mut self, filter: &EventFilter, dealt_with: &[&str]) {
        for column in ["sender", "repo", "type", "source"] {
            if !dealt_with.contains(&column) {
                self.of_column(filter, column);
            }
        }
        if let Some(since) = filter.since {
            self.put("received_at >= ?", millis(since));
        }
        if let Some(until) = filter.until {
            self.put("received_at <= ?", millis(until));
        }
    }

    fn of_words(&mut self, filter: &EventFilter) {
        for (column, words) in [("title", &filter.title), ("outcome", &filter.outcome)] {
            if let Some(words) = words {
                self.put(&format!("{column} LIKE ? ESCAPE '\\'"), containing(words));
            }
        }
    }

    /// Where a walk begins and ends.
    fn of_place(&mut self, filter: &EventFilter) {
        if let Some(before) = filter.before {
            self.put("seq < ?", before);
        }
        if let Some(since) = filter.since {
            self.put(
                &format!(
                    "seq >= (SELECT seq FROM events INDEXED BY events_by_time
                             WHERE received_at >= ? ORDER BY received_at LIMIT 1) - {DISORDER}"
                ),
                millis(since),
            );
        }
    }

    fn wanted(&self) -> String {
        if self.terms.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.terms.join(" AND "))
        }
    }
}

/// A pattern of texts that hold these words.
fn containing(words: &str) -> String {
    let mut pattern = String::with_capacity(words.len() + 2);
    pattern.push('%');
    for c in words.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Takes an event up again, or records its content as a new event.
pub(super) fn replay(db: &Connection, order: &ReplayEvent) -> Result<Replayed, Fault> {
    let found: Option<(i64, String, Option<String>, i64)> = db
        .prepare_cached("SELECT seq, state, run_id, received_at FROM events WHERE id = ?1")?
        .query_row([&order.id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((seq, state, run, received_at)) = found else {
        return Ok(Replayed::Unknown);
    };
    let Some(id) = &order.as_new else {
        return match word("event state", &state, EventState::from_text)? {
            EventState::Recorded => Ok(Replayed::Waits(EventSeq(seq))),
            EventState::Settled => Ok(Replayed::Settled(run.as_deref().map(str::parse).transpose()?)),
            EventState::Quarantined => {
                db.prepare_cached(
                    "UPDATE events SET state = 'recorded', outcome = NULL, settled_at = NULL WHERE seq = ?1",
                )?
                .execute([seq])?;
                // It is counted again when it is settled again.
                counts::count_events(db, received_at.div_euclid(counts::HOUR_MS), -1)?;
                Ok(Replayed::TakenUp(EventSeq(seq)))
            }
        };
    };
    // Under a seed of its own the order may come twice.
    if let Some(seq) = seq_of(db, id.as_str())? {
        return Ok(Replayed::Fresh(EventSeq(seq)));
    }
    let envelope: String = db
        .prepare_cached("SELECT envelope FROM events WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    let mut envelope: EventEnvelope = from_json("envelope", &envelope)?;
    envelope.id = id.clone();
    envelope.timestamp = order.at;
    db.prepare_cached(
        "INSERT INTO events (id, source, type, repo, sender, received_at, title, envelope, replay_of)
         SELECT ?2, source, type, repo, sender, ?3, title, ?4, id FROM events WHERE seq = ?1",
    )?
    .execute(params![seq, id.as_str(), millis(order.at), json(&envelope)?])?;
    let fresh = db.last_insert_rowid();
    db.prepare_cached(
        "INSERT INTO event_bodies (seq, format, body) SELECT ?2, format, body FROM event_bodies WHERE seq = ?1",
    )?
    .execute(params![seq, fresh])?;
    chats::said_again(db, &order.id, id, order.at)?;
    Ok(Replayed::Fresh(EventSeq(fresh)))
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
        replay_of: maybe_text(row, "replay_of")?.map(str::parse).transpose()?,
    })
}
