//! `GET /admin/api/stream`: what changes, as it changes, for every list at once. Reads the board of changes only.

use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use actors::changes::{News, Reader};
use actors::clock::SharedClock;
use actors::domain::{Change, ChangeKind};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::sse;

/// Changes in one piece of the answer at most: about 50 kB.
const PIECE: usize = 512;

#[derive(Debug, Deserialize)]
pub(crate) struct StreamQuery {
    kinds: Option<String>,
    last_event_id: Option<String>,
}

/// `?kinds&last_event_id` → server-sent events. `hello` with `{id}` comes at once; then, for whatever is committed, `change`
/// with `{kind, id}`: read it again. What changes several times within 50 ms is told once.
///
/// `kinds` is a comma list. With `Last-Event-ID` (or `last_event_id`, for clients that cannot set the header) the stream goes
/// on behind that event; where it cannot do so without a gap, `reset` comes first: read everything again. It comes in the
/// middle for a client that reads too slowly. A comment comes every 15 seconds.
#[utoipa::path(
    get,
    path = "/admin/api/stream",
    tag = "house",
    params(("kinds" = Option<String>, Query), ("last_event_id" = Option<String>, Query)),
    responses((status = 200, description = "done", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn changes(
    request: HttpRequest,
    query: Result<Query<StreamQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let kinds = kinds(query.kinds.as_deref().unwrap_or_default())?;
    let asked = sse::last_event_id(&request).or(query.last_event_id.as_deref().filter(|id| !id.is_empty()));
    let resumed = asked.and_then(|id| shared.changes.reader_after(id));
    let gap = asked.is_some() && resumed.is_none();
    let reader = resumed.unwrap_or_else(|| shared.changes.reader());
    let mut first = String::from("retry: 2000\n\n");
    let place = reader.place();
    if gap {
        sse::write(&mut first, "reset", Some(&place), &json!({ "id": place }));
    }
    sse::write(&mut first, "hello", Some(&place), &json!({ "id": place }));
    let listener = Listener {
        reader,
        kinds,
        first: Some(first),
        burst: false,
        clock: shared.clock.clone(),
        over: doors.streams.clone(),
    };
    let pieces = stream::unfold(listener, |mut listener| async move {
        let piece = listener.next().await?;
        Some((Ok(Bytes::from(piece)), listener))
    });
    Ok(sse::answer(Box::pin(pieces)))
}

/// The kinds that are wanted; none: all.
fn kinds(text: &str) -> Result<Vec<ChangeKind>, Problem> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            ChangeKind::from_text(word).ok_or_else(|| {
                let known: Vec<_> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
                Problem::bad_request(format!("kinds must be a comma list of: {}", known.join(", ")))
            })
        })
        .collect()
}

/// Somebody who listens. It is asked for the next piece only when the one before is on its way, so that a slow client makes
/// nothing grow.
struct Listener {
    reader: Reader,
    kinds: Vec<ChangeKind>,
    first: Option<String>,
    /// Something was just told: what comes next is gathered for a moment.
    burst: bool,
    clock: SharedClock,
    over: CancellationToken,
}

impl Listener {
    /// The next piece; nothing when the service stops.
    async fn next(&mut self) -> Option<String> {
        let alive = self.clock.sleep(sse::ALIVE);
        tokio::pin!(alive);
        loop {
            if let Some(first) = self.first.take() {
                return Some(first);
            }
            if std::mem::take(&mut self.burst) {
                tokio::select! {
                    () = self.over.cancelled() => return None,
                    () = self.clock.sleep(sse::GATHER) => {}
                }
            }
            let news = tokio::select! {
                () = self.over.cancelled() => return None,
                () = &mut alive => return Some(sse::alive(Some(&self.reader.place()))),
                news = self.reader.next(PIECE) => news,
            };
            let piece = match news {
                News::Missed => {
                    let place = self.reader.place();
                    let mut piece = String::new();
                    sse::write(&mut piece, "reset", Some(&place), &json!({ "id": place }));
                    piece
                }
                News::Changed { changes, more } => {
                    self.burst = !more;
                    self.told(&changes)
                }
            };
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }

    fn told(&self, changes: &[(String, Change)]) -> String {
        let mut piece = String::new();
        for (id, change) in changes {
            if self.kinds.is_empty() || self.kinds.contains(&change.kind) {
                sse::write(&mut piece, "change", Some(id), change);
            }
        }
        piece
    }
}
