//! Conversations: opened by the first message, ended by silence or by word, with both sides of what was said. Knows events
//! only to record a message together with its line.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{get, millis, rows, text, time, word};
use super::events;
use super::fault::Fault;
use crate::domain::{
    ChatLine, ChatPlace, ChatRole, ChatThread, DeliveryId, LiveSession, MessageRecorded, Recorded, SessionId,
    SessionsToEnd,
};
use crate::messages::store::{LatestThreads, RecordMessage, SessionsIn};

/// Lines of a conversation that a run is told.
const TOLD: usize = 50;
/// Characters of a line that a run is told, and of all lines together.
const TOLD_OF_LINE: usize = 4_000;
const TOLD_IN_ALL: usize = 60_000;
/// Conversations of one thread that are listed.
const LISTED: usize = 100;

/// Writes a message down: its event, its conversation, its line.
pub(super) fn record(db: &Connection, order: &RecordMessage, envelope: &str) -> Result<MessageRecorded, Fault> {
    let id = order.event.envelope.id.as_str();
    let seen = db.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?.exists([id])?;
    if seen {
        return Ok(MessageRecorded::AlreadySeen);
    }
    let at = order.event.envelope.timestamp;
    let session = match live_at(db, &order.place, order.live_since)? {
        Some((_, other)) if other != order.session => return Ok(MessageRecorded::OtherSession(other)),
        Some((seq, _)) => seq,
        None => begin(db, &order.place, order.session, at)?,
    };
    let Recorded::Fresh(event) = events::record(db, &order.event, envelope)? else {
        return Ok(MessageRecorded::AlreadySeen);
    };
    let line = Line {
        session,
        id,
        role: ChatRole::User,
        author: &order.event.envelope.sender,
        text: &order.event.envelope.body,
    };
    write(db, &line, at)?;
    Ok(MessageRecorded::Fresh(event))
}

struct Line<'a> {
    session: i64,
    id: &'a str,
    role: ChatRole,
    author: &'a str,
    text: &'a str,
}

/// Writes a line, once per id, and touches its conversation.
fn write(db: &Connection, line: &Line<'_>, at: DateTime<Utc>) -> Result<(), Fault> {
    let new = db
        .prepare_cached(
            "INSERT INTO chat_messages (session_seq, message_id, role, author, text, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (session_seq, message_id) WHERE message_id IS NOT NULL DO NOTHING",
        )?
        .execute(params![
            line.session,
            line.id,
            line.role.as_str(),
            line.author,
            line.text,
            millis(at)
        ])?;
    if new > 0 {
        db.prepare_cached(
            "UPDATE chat_sessions SET message_count = message_count + 1, last_activity_at = max(last_activity_at, ?2)
             WHERE seq = ?1",
        )?
        .execute(params![line.session, millis(at)])?;
    }
    Ok(())
}

/// A message is said again under a new id, in the conversation of the first time if that is still there.
pub(super) fn said_again(db: &Connection, old: &str, new: &DeliveryId, at: DateTime<Utc>) -> Result<(), Fault> {
    let said: Option<(i64, String, String)> = db
        .prepare_cached(
            "SELECT session_seq, author, text FROM chat_messages INDEXED BY chat_messages_by_id
             WHERE message_id = ?1 AND role = 'user'",
        )?
        .query_row([old], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((session, author, text)) = said else {
        return Ok(());
    };
    let line = Line {
        session,
        id: new.as_str(),
        role: ChatRole::User,
        author: &author,
        text: &text,
    };
    write(db, &line, at)
}

/// The conversation that goes on at a place; one that fell silent before `since` does not.
fn live_at(db: &Connection, place: &ChatPlace, since: DateTime<Utc>) -> Result<Option<(i64, SessionId)>, Fault> {
    let found: Option<(i64, String, i64)> = db
        .prepare_cached(
            "SELECT seq, id, last_activity_at FROM chat_sessions INDEXED BY chat_sessions_active
             WHERE platform = ?1 AND channel = ?2 AND thread = ?3 AND user_id = ?4 AND active = 1",
        )?
        .query_row(
            params![place.platform.as_str(), place.channel, place.thread, place.user],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    match found {
        Some((seq, id, last)) if last >= millis(since) => Ok(Some((seq, id.parse()?))),
        _ => Ok(None),
    }
}

/// A new conversation takes the place of the one that fell silent. Those that fell silent long ago are cleared away.
fn begin(db: &Connection, place: &ChatPlace, id: SessionId, at: DateTime<Utc>) -> Result<i64, Fault> {
    db.prepare_cached(
        "UPDATE chat_sessions SET active = 0
         WHERE platform = ?1 AND channel = ?2 AND thread = ?3 AND user_id = ?4 AND active = 1",
    )?
    .execute(params![
        place.platform.as_str(),
        place.channel,
        place.thread,
        place.user
    ])?;
    db.prepare_cached(
        "INSERT INTO chat_sessions (id, platform, channel, thread, user_id, created_at, last_activity_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![
        id.to_string(),
        place.platform.as_str(),
        place.channel,
        place.thread,
        place.user,
        millis(at)
    ])?;
    let seq = db.last_insert_rowid();
    Ok(seq)
}

/// Conversations that go on in a thread.
pub(super) fn live_in(db: &Connection, order: &SessionsIn) -> Result<Vec<LiveSession>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT id, user_id FROM chat_sessions INDEXED BY chat_sessions_active
         WHERE platform = ?1 AND channel = ?2 AND thread = ?3 AND active = 1 AND last_activity_at >= ?4
         ORDER BY user_id LIMIT ?5",
    )?;
    let mut found = statement.query(params![
        order.platform.as_str(),
        order.channel,
        order.thread,
        millis(order.live_since),
        rows(LISTED)
    ])?;
    let mut live = Vec::new();
    while let Some(row) = found.next()? {
        live.push(LiveSession {
            id: text(row, "id")?.parse()?,
            user: get(row, "user_id")?,
        });
    }
    Ok(live)
}

/// The threads in which somebody talked to us last, each with the last message heard there.
pub(super) fn latest(db: &Connection, order: &LatestThreads) -> Result<Vec<ChatThread>, Fault> {
    // Conversations that ended by word or by silence count as well: who was answered there may go on there.
    let mut statement = db.prepare_cached(
        "WITH latest AS (
             SELECT seq, channel, thread, last_activity_at FROM chat_sessions INDEXED BY chat_sessions_by_activity
             WHERE active IN (0, 1) AND platform = ?1 AND last_activity_at >= ?2
             ORDER BY last_activity_at DESC LIMIT ?3)
         SELECT channel, thread, message_id AS last, max(line.seq) AS newest
         FROM latest JOIN chat_messages line INDEXED BY chat_messages_of_session ON line.session_seq = latest.seq
         WHERE line.role = 'user' AND line.message_id IS NOT NULL
         GROUP BY channel, thread ORDER BY newest DESC LIMIT ?4",
    )?;
    let mut found = statement.query(params![
        order.platform.as_str(),
        millis(order.since),
        rows(order.limit.saturating_mul(4)),
        rows(order.limit)
    ])?;
    let mut threads = Vec::new();
    while let Some(row) = found.next()? {
        threads.push(ChatThread {
            channel: get(row, "channel")?,
            thread: get(row, "thread")?,
            last: text(row, "last")?.parse()?,
        });
    }
    Ok(threads)
}

/// Ends conversations. Says how many were going on.
pub(super) fn end(db: &Connection, which: &SessionsToEnd) -> Result<usize, Fault> {
    match which {
        SessionsToEnd::OfPerson {
            platform,
            channel,
            user,
        } => end_all(db, platform.as_str(), channel, user),
        SessionsToEnd::OfMessage(message) => {
            let Some(session) = session_of(db, message)? else {
                return Ok(0);
            };
            let (count, platform, channel, user): (i64, String, String, String) = db
                .prepare_cached("SELECT message_count, platform, channel, user_id FROM chat_sessions WHERE seq = ?1")?
                .query_row([session], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?;
            if count <= 1 {
                return end_all(db, &platform, &channel, &user);
            }
            Ok(db
                .prepare_cached("UPDATE chat_sessions SET active = 0 WHERE seq = ?1 AND active = 1")?
                .execute([session])?)
        }
    }
}

fn end_all(db: &Connection, platform: &str, channel: &str, user: &str) -> Result<usize, Fault> {
    Ok(db
        .prepare_cached(
            "UPDATE chat_sessions SET active = 0
             WHERE platform = ?1 AND channel = ?2 AND user_id = ?3 AND active = 1",
        )?
        .execute(params![platform, channel, user])?)
}

fn session_of(db: &Connection, message: &DeliveryId) -> Result<Option<i64>, Fault> {
    Ok(db
        .prepare_cached("SELECT session_seq FROM chat_messages INDEXED BY chat_messages_by_id WHERE message_id = ?1")?
        .query_row([message.as_str()], |row| row.get(0))
        .optional()?)
}

/// Writes down what we said in the conversation of this message, once per key. Where there is none, nothing.
pub(super) fn answered(
    db: &Connection,
    message: &DeliveryId,
    key: &str,
    words: &str,
    at: DateTime<Utc>,
) -> Result<(), Fault> {
    let Some(session) = session_of(db, message)? else {
        return Ok(());
    };
    let line = Line {
        session,
        id: key,
        role: ChatRole::Assistant,
        author: "assistant",
        text: words,
    };
    write(db, &line, at)
}

/// What was said in the conversation of a message before it, oldest first: the newest 50 lines, long ones cut. What we answered to earlier
/// messages counts as said before, even where it was said while this one waited.
pub(super) fn said_before(db: &Connection, message: &DeliveryId) -> Result<Vec<ChatLine>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT line.role AS role, line.author AS author, substr(line.text, 1, ?3) AS text,
                length(line.text) > ?3 AS cut, line.created_at AS created_at
         FROM chat_messages asked INDEXED BY chat_messages_by_id
         JOIN chat_messages line INDEXED BY chat_messages_of_session ON line.session_seq = asked.session_seq
         WHERE asked.message_id = ?1 AND (line.seq < asked.seq OR line.role = 'assistant')
         ORDER BY line.seq DESC LIMIT ?2",
    )?;
    let mut found = statement.query(params![message.as_str(), rows(TOLD), rows(TOLD_OF_LINE)])?;
    let mut lines = Vec::new();
    let mut told = 0;
    while let Some(row) = found.next()? {
        let cut = if get::<bool>(row, "cut")? { " …" } else { "" };
        let words = format!("{}{cut}", text(row, "text")?);
        told += words.chars().count();
        if told > TOLD_IN_ALL {
            break;
        }
        lines.push(ChatLine {
            role: word("role", text(row, "role")?, ChatRole::from_text)?,
            author: get(row, "author")?,
            text: words,
            at: time(get(row, "created_at")?)?,
        });
    }
    lines.reverse();
    Ok(lines)
}
