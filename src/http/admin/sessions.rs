//! `/admin/api/sessions` (and `chat-sessions`): conversations in chats, whole or as they go on. Reads only.

use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use actors::changes::{News, Reader};
use actors::domain::{Change, ChangeKind, ChatMessage, ChatSession, SessionId};
use actors::messages::store::{ListSessions, ReadLines, ReadSession};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PAGE_LIMIT, cursor, instant, page_size, words};
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::sse;

/// Lines of one answer at most; `since` goes on behind the last one.
const LINES: usize = 500;

/// Changes that are looked at in one go.
const LOOK: usize = 1_024;

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    live: Option<String>,
    user: Option<String>,
    channel: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

impl ListQuery {
    fn order(&self, shared: &HttpShared) -> Result<ListSessions, Problem> {
        Ok(ListSessions {
            live_only: match self.live.as_deref() {
                None | Some("" | "false") => false,
                Some("true") => true,
                Some(_) => return Err(Problem::bad_request("live must be true or false")),
            },
            user: words("user", self.user.as_ref())?,
            channel: words("channel", self.channel.as_ref())?,
            live_since: live_since(shared),
            before: cursor(self.before.as_ref())?,
            limit: page_size(self.limit.as_ref(), PAGE_LIMIT)?,
        })
    }
}

/// `?live&user&channel&before&limit` → `{sessions, liveCount, next}`, newest first; `live=true` for those that go on.
#[utoipa::path(
    get,
    path = "/admin/api/sessions",
    tag = "sessions",
    params(("live" = Option<String>, Query), ("user" = Option<String>, Query), ("channel" = Option<String>, Query), ("before" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let order = query.order(&shared)?;
    Ok(HttpResponse::Ok().json(listed(order, &doors).await?))
}

async fn listed(order: ListSessions, doors: &HttpDoors) -> Result<Value, Problem> {
    let (page, live) = doors.desk.sessions.send(order).await??;
    Ok(json!({ "sessions": page.items, "liveCount": live, "next": page.next }))
}

/// `{session}`.
#[utoipa::path(
    get,
    path = "/admin/api/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn one(
    id: Path<String>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let session = read(&id, &shared, &doors).await?;
    Ok(HttpResponse::Ok().json(json!({ "session": session })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct SinceQuery {
    since: Option<String>,
}

/// `?since` → `{messages: [{seq, role, author, text, at, event?, run?}], next}`, oldest first. `since` is the `seq` of a line, or an
/// instant; only what was said after it is shown. `next` is the place to go on behind where there is more.
#[utoipa::path(
    get,
    path = "/admin/api/sessions/{id}/messages",
    tag = "sessions",
    params(("id" = String, Path), ("since" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn messages(
    id: Path<String>,
    query: Result<Query<SinceQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let session = read(&id, &shared, &doors).await?;
    let (after, since) = place(query.since.as_ref())?;
    let messages = lines(session.id, after, since, &doors).await?;
    let next = messages.get(LINES - 1).map(|last| last.seq);
    Ok(HttpResponse::Ok().json(json!({ "messages": messages, "next": next })))
}

/// A place in a conversation: the number of a line, or an instant.
fn place(since: Option<&String>) -> Result<(i64, Option<DateTime<Utc>>), Problem> {
    match since.and_then(|text| text.parse::<i64>().ok()) {
        Some(after) => Ok((after, None)),
        None => match instant("since", since) {
            Ok(since) => Ok((0, since)),
            Err(_) => Err(Problem::bad_request(
                "since must be the seq of a message, or an instant as in RFC 3339",
            )),
        },
    }
}

async fn lines(
    id: SessionId,
    after: i64,
    since: Option<DateTime<Utc>>,
    doors: &HttpDoors,
) -> Result<Vec<ChatMessage>, Problem> {
    let order = ReadLines {
        id,
        after,
        since,
        limit: LINES,
    };
    Ok(doors.desk.lines.send(order).await??)
}

/// Server-sent events: `sessions` with what [`list`] answers, at once and whenever a conversation changes.
#[utoipa::path(
    get,
    path = "/admin/api/sessions/stream",
    tag = "sessions",
    responses((status = 200, description = "done", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn watch(
    query: Result<Query<ListQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    query.order(&shared)?;
    let watching = Watching {
        news: Changed::of(None, &shared),
        shared,
        doors,
    };
    let events = stream::unfold((watching, query), |(mut watching, query)| async move {
        if let Some(alive) = watching.news.wait(&watching.shared, &watching.doors).await? {
            return Some((Ok::<_, actix_web::Error>(alive), (watching, query)));
        }
        let order = query.order(&watching.shared).ok()?;
        let list = listed(order, &watching.doors).await.ok()?;
        let mut text = String::new();
        sse::write(&mut text, "sessions", None, &list);
        Some((Ok(Bytes::from(text)), (watching, query)))
    });
    Ok(sse::answer(Box::pin(events)))
}

/// Server-sent events: `message` for each line, oldest first, its id the line's `seq`; `ready` when all that was said before is
/// told; then `message` as something is said. `?since` or `Last-Event-ID` says where to begin.
#[utoipa::path(
    get,
    path = "/admin/api/sessions/{id}/stream",
    tag = "sessions",
    params(("id" = String, Path), ("since" = Option<String>, Query)),
    responses((status = 200, description = "done", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn follow(
    request: HttpRequest,
    id: Path<String>,
    query: Result<Query<SinceQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.to_string()))?;
    let session = read(&id, &shared, &doors).await?;
    let seen = sse::last_event_id(&request)
        .map(str::to_owned)
        .or_else(|| query.since.clone());
    let (after, since) = place(seen.as_ref())?;
    let following = Following {
        watching: Watching {
            news: Changed::of(Some(session.id), &shared),
            shared,
            doors,
        },
        id: session.id,
        after,
        since,
        more: false,
        ready: false,
    };
    let events = stream::unfold(following, |mut following| async move {
        let text = following.next().await?;
        Some((Ok::<_, actix_web::Error>(text), following))
    });
    Ok(sse::answer(Box::pin(events)))
}

struct Following {
    watching: Watching,
    id: SessionId,
    after: i64,
    since: Option<DateTime<Utc>>,
    /// The last answer was full.
    more: bool,
    ready: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.more {
                let Watching { news, shared, doors } = &mut self.watching;
                if let Some(alive) = news.wait(shared, doors).await? {
                    return Some(alive);
                }
            }
            let found = lines(self.id, self.after, self.since, &self.watching.doors)
                .await
                .ok()?;
            self.more = found.len() == LINES;
            let mut text = String::new();
            for line in &found {
                self.after = line.seq;
                sse::write(&mut text, "message", Some(&line.seq.to_string()), line);
            }
            if !self.more && !std::mem::replace(&mut self.ready, true) {
                sse::write(&mut text, "ready", None, &json!({ "id": self.id }));
            }
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
        }
    }
}

struct Watching {
    news: Changed,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
}

/// When conversations, or one of them, have changed.
struct Changed {
    reader: Reader,
    which: Option<SessionId>,
    /// Nothing was read yet.
    first: bool,
}

impl Changed {
    fn of(which: Option<SessionId>, shared: &HttpShared) -> Self {
        Self {
            reader: shared.changes.reader(),
            which,
            first: true,
        }
    }

    /// Waits until there is something to read, which is so at once for the first time; or says that the line lives.
    /// Nothing when the service stops.
    async fn wait(&mut self, shared: &HttpShared, doors: &HttpDoors) -> Option<Option<Bytes>> {
        if std::mem::take(&mut self.first) {
            return Some(None);
        }
        let alive = shared.clock.sleep(sse::ALIVE);
        tokio::pin!(alive);
        loop {
            let news = tokio::select! {
                () = doors.streams.cancelled() => return None,
                () = &mut alive => return Some(Some(Bytes::from(sse::alive(None)))),
                news = self.reader.next(LOOK) => news,
            };
            let ours = match news {
                News::Missed => true,
                News::Changed { changes, .. } => changes.iter().any(|(_, change)| self.concerns(change)),
            };
            if ours {
                // What is said in one breath makes one event.
                tokio::select! {
                    () = doors.streams.cancelled() => return None,
                    () = shared.clock.sleep(sse::GATHER) => return Some(None),
                }
            }
        }
    }

    fn concerns(&self, change: &Change) -> bool {
        change.kind == ChangeKind::Session && self.which.is_none_or(|which| change.id == which.to_string())
    }
}

pub(crate) fn live_since(shared: &HttpShared) -> DateTime<Utc> {
    shared.clock.now() - ChatSession::IDLE
}

async fn read(id: &str, shared: &HttpShared, doors: &HttpDoors) -> Result<ChatSession, Problem> {
    let unknown = || Problem::not_found("session not found");
    let order = ReadSession {
        id: id.parse().map_err(|_| unknown())?,
        live_since: live_since(shared),
    };
    doors.desk.session.send(order).await??.ok_or_else(unknown)
}
