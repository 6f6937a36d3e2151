//! Conversations for eyes: lists of them, and their lines. Reads only; how they are held is told in `chats`.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{count, get, millis, rows, text, time, word};
use super::fault::Fault;
use crate::domain::{ChatLine, ChatMessage, ChatRole, ChatSession, Page, SessionId, Source};
use crate::messages::store::{ListSessions, ReadLines, ReadSession};

/// With what was said last, and the name under which its person last said something.
const COLUMNS: &str =
    "seq, id, platform, channel, thread, user_id, active, message_count, created_at, last_activity_at,
    (SELECT author FROM chat_messages INDEXED BY chat_messages_of_session
     WHERE session_seq = chat_sessions.seq AND role = 'user' ORDER BY seq DESC LIMIT 1) AS person,
    (SELECT substr(text, 1, 200) FROM chat_messages INDEXED BY chat_messages_of_session
     WHERE session_seq = chat_sessions.seq ORDER BY seq DESC LIMIT 1) AS last_said";

/// A page, newest first, and how many go on in all.
pub(super) fn list(db: &Connection, order: &ListSessions) -> Result<(Page<ChatSession>, u64), Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM chat_sessions
         WHERE seq < ?1 AND (?3 IS NULL OR active = 1 AND last_activity_at >= ?3)
           AND (?4 IS NULL OR user_id = ?4) AND (?5 IS NULL OR channel = ?5)
         ORDER BY seq DESC LIMIT ?2"
    ))?;
    let mut found = statement.query(params![
        order.before.unwrap_or(i64::MAX),
        rows(order.limit.saturating_add(1)),
        order.live_only.then(|| millis(order.live_since)),
        order.user,
        order.channel,
    ])?;
    let mut sessions = Vec::new();
    while let Some(row) = found.next()? {
        sessions.push(stored(row, order.live_since)?);
    }
    let page = Page::cut(sessions, order.limit, |session| session.seq);
    Ok((page, live(db, order.live_since)?))
}

/// How many go on.
pub(super) fn live(db: &Connection, since: DateTime<Utc>) -> Result<u64, Fault> {
    let live: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM chat_sessions INDEXED BY chat_sessions_by_activity
             WHERE active = 1 AND last_activity_at >= ?1",
        )?
        .query_row([millis(since)], |row| row.get(0))?;
    Ok(count(live))
}

/// One of them.
pub(super) fn one(db: &Connection, order: &ReadSession) -> Result<Option<ChatSession>, Fault> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM chat_sessions WHERE id = ?1"))?;
    let mut found = statement.query([order.id.to_string()])?;
    found.next()?.map(|row| stored(row, order.live_since)).transpose()
}

/// Lines of one, oldest first.
pub(super) fn lines(db: &Connection, order: &ReadLines) -> Result<Vec<ChatMessage>, Fault> {
    let session: Option<i64> = db
        .prepare_cached("SELECT seq FROM chat_sessions WHERE id = ?1")?
        .query_row([order.id.to_string()], |row| row.get(0))
        .optional()?;
    let Some(session) = session else {
        return Ok(Vec::new());
    };
    let mut statement = db.prepare_cached(
        "SELECT line.seq, role, author, text, created_at, events.id AS event, events.run_id AS run
         FROM chat_messages AS line INDEXED BY chat_messages_of_session
         LEFT JOIN events ON events.id = line.message_id
         WHERE session_seq = ?1 AND line.seq > ?2 AND created_at > ?3 ORDER BY line.seq LIMIT ?4",
    )?;
    let mut found = statement.query(params![
        session,
        order.after,
        order.since.map_or(i64::MIN, millis),
        rows(order.limit)
    ])?;
    let mut lines = Vec::new();
    while let Some(row) = found.next()? {
        lines.push(ChatMessage {
            seq: get(row, "seq")?,
            line: ChatLine {
                role: word("role", text(row, "role")?, ChatRole::from_text)?,
                author: get(row, "author")?,
                text: get(row, "text")?,
                at: time(get(row, "created_at")?)?,
            },
            event: get::<Option<String>>(row, "event")?.map(|id| id.parse()).transpose()?,
            run: get::<Option<String>>(row, "run")?.map(|id| id.parse()).transpose()?,
        });
    }
    Ok(lines)
}

fn stored(row: &Row<'_>, live_since: DateTime<Utc>) -> Result<ChatSession, Fault> {
    let last_activity_at = time(get(row, "last_activity_at")?)?;
    Ok(ChatSession {
        seq: get(row, "seq")?,
        id: text(row, "id")?.parse::<SessionId>()?,
        platform: word("source", text(row, "platform")?, Source::from_text)?,
        channel: get(row, "channel")?,
        thread: get(row, "thread")?,
        user: get(row, "user_id")?,
        person: get(row, "person")?,
        last_said: get(row, "last_said")?,
        live: get::<bool>(row, "active")? && last_activity_at >= live_since,
        message_count: count(get(row, "message_count")?),
        created_at: time(get(row, "created_at")?)?,
        last_activity_at,
    })
}
