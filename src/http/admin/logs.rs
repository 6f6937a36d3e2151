//! `/admin/api/workflow-runs/:id/phases/:phase/log`: what a phase printed, whole, in part, or as it grows. Reads only.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, HeaderName, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::{PhaseName, PhaseStatus, RunId, RunRecord};
use actors::messages::store::LoadRun;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::whole;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};

/// Bytes of one answer at most.
const MOST: u64 = 4 * 1024 * 1024;

/// Bytes of one event of a stream at most.
const PIECE: u64 = 64 * 1024;

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Whether the phase is over is asked at every so manieth look that found nothing; a sign of life is sent as often as [`ALIVE`].
const ASK: u32 = 4;

/// Looks without news between two signs of life: about 15 seconds.
const ALIVE: u32 = 60;

const SIZE: HeaderName = HeaderName::from_static("x-log-size");
const NEXT: HeaderName = HeaderName::from_static("x-log-next");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Deserialize)]
pub(crate) struct LogQuery {
    offset: Option<String>,
    limit: Option<String>,
    tail: Option<String>,
}

/// The piece of a log that a query asks for, in bytes.
#[derive(Debug, Clone, Copy)]
struct Asked {
    offset: Option<u64>,
    limit: Option<u64>,
    tail: Option<u64>,
}

impl LogQuery {
    fn asked(&self) -> Result<Asked, Problem> {
        Ok(Asked {
            offset: whole("offset", self.offset.as_ref(), 0..=u64::MAX)?,
            limit: whole("limit", self.limit.as_ref(), 0..=u64::MAX)?,
            tail: whole("tail", self.tail.as_ref(), 0..=u64::MAX)?,
        })
    }
}

/// `?offset&limit` or `?tail`, in bytes, or a `Range` header → the bytes as they were printed, at most 4 MiB at a time.
/// `x-log-size` says how many there are by now, `x-log-next` where to go on. With `Accept: text/event-stream` it is the
/// stream of [`follow`].
#[utoipa::path(
    get,
    path = "/admin/api/workflow-runs/{id}/phases/{phase}/log",
    tag = "runs",
    params(("id" = String, Path), ("phase" = String, Path), ("offset" = Option<String>, Query), ("limit" = Option<String>, Query), ("tail" = Option<String>, Query)),
    responses((status = 200, description = "done", body = String, content_type = "text/plain"), (status = 206, description = "a part", body = String, content_type = "text/plain"), (status = 416, description = "there is no such part")),
)]
pub(crate) async fn read(
    request: HttpRequest,
    path: Path<(String, String)>,
    query: Result<Query<LogQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("text/event-stream")) {
        return follow(request, path, Ok(Query(query)), shared, doors).await;
    }
    let asked = query.asked()?;
    let log = Log::find(&path, &shared, &doors).await?;
    let size = log.size().await?;
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let (from, length, ranged) = match range.map(|range| wanted(range, size)) {
        Some(Some((from, length))) => (from, length, true),
        Some(None) => {
            return Ok(HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_RANGE, format!("bytes */{size}")))
                .finish());
        }
        None => {
            let limit = asked.limit.unwrap_or(MOST);
            match asked.tail {
                Some(tail) => (size.saturating_sub(tail.min(MOST)), tail, false),
                None => (asked.offset.unwrap_or(0).min(size), limit, false),
            }
        }
    };
    let bytes = log.piece(from, length.min(MOST)).await?;
    let next = from + bytes.len() as u64;
    let mut response = HttpResponse::Ok();
    if ranged {
        response.status(StatusCode::PARTIAL_CONTENT);
        response.insert_header((CONTENT_RANGE, format!("bytes {from}-{}/{size}", next.saturating_sub(1))));
    }
    Ok(response
        .content_type("text/plain; charset=utf-8")
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // A phase prints what it likes; no browser is to take it for a page.
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((SIZE, size.to_string()))
        .insert_header((NEXT, next.to_string()))
        .body(bytes))
}

/// One range of RFC 9110, `bytes=a-b`, `bytes=a-` or `bytes=-n`, as beginning and length; nothing if it cannot be met.
fn wanted(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let length: u64 = last.parse().ok()?;
        let from = size.saturating_sub(length.min(MOST));
        return (length > 0 && size > 0).then_some((from, size - from));
    }
    let first: u64 = first.parse().ok()?;
    if first >= size {
        return None;
    }
    match last {
        "" => Some((first, size - first)),
        last => {
            let last: u64 = last.parse().ok()?;
            (last >= first).then(|| (first, (last - first).saturating_add(1)))
        }
    }
}

/// Server-sent events: `log` with a piece of text as a JSON string, its id the offset behind it, so that `Last-Event-ID` goes
/// on there; and, when the phase is over and all of it was sent, one `end` with `{status}`. `?offset` or `?tail` says where to begin.
#[utoipa::path(
    get,
    path = "/admin/api/workflow-runs/{id}/phases/{phase}/log/stream",
    tag = "runs",
    params(("id" = String, Path), ("phase" = String, Path), ("offset" = Option<String>, Query), ("tail" = Option<String>, Query)),
    responses((status = 200, description = "done", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn follow(
    request: HttpRequest,
    path: Path<(String, String)>,
    query: Result<Query<LogQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let asked = query.asked()?;
    let log = Log::find(&path, &shared, &doors).await?;
    let seen = request
        .headers()
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    let from = match (seen.map(str::parse::<u64>), asked.tail) {
        (Some(Ok(seen)), _) => seen,
        (Some(Err(_)), _) => {
            return Err(Problem::bad_request(
                "Last-Event-ID must be the id of an event of this stream",
            ));
        }
        (None, Some(tail)) => log.size().await?.saturating_sub(tail),
        (None, None) => asked.offset.unwrap_or(0),
    };
    let follower = Follower {
        log,
        shared,
        doors,
        at: from,
        idle: 0,
        over: None,
        ended: false,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, actix_web::Error>(event), follower))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // A proxy that gathers an answer before it hands it on would make a live log a dead one.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(Box::pin(events)))
}

/// The log of one phase of a run that there is.
struct Log {
    run: RunId,
    phase: PhaseName,
    file: PathBuf,
}

impl Log {
    /// Names are checked by their types, so that no path leads out of the folder of logs.
    async fn find((run, phase): &(String, String), shared: &HttpShared, doors: &HttpDoors) -> Result<Self, Problem> {
        let run: RunId = run.parse().map_err(|_| super::runs::not_found())?;
        let record = doors
            .load_run
            .send(LoadRun(run))
            .await??
            .ok_or_else(super::runs::not_found)?;
        let no_log = || Problem::not_found("this run has no log of such a phase");
        let phase: PhaseName = phase.parse().map_err(|_| no_log())?;
        let file = shared.runs_dir.join(run.to_string()).join(format!("{phase}.log"));
        let known = record.phases.iter().any(|row| row.phase == phase);
        // A phase that has not begun may be followed; one that the run will never come to has no log.
        let to_come = !record.summary.status.is_final() && record.definition.contains(&format!("\"{phase}\""));
        if known || to_come || tokio::fs::try_exists(&file).await.unwrap_or(false) {
            Ok(Self { run, phase, file })
        } else {
            Err(no_log())
        }
    }

    async fn size(&self) -> Result<u64, Problem> {
        match tokio::fs::metadata(&self.file).await {
            Ok(found) => Ok(found.len()),
            // A phase without a process prints nothing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    async fn piece(&self, from: u64, length: u64) -> Result<Vec<u8>, Problem> {
        match self.read(from, length).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    async fn read(&self, from: u64, length: u64) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.file).await?;
        file.seek(SeekFrom::Start(from)).await?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    fn unreadable(&self, error: &std::io::Error) -> Problem {
        tracing::error!(log = %self.file.display(), %error, "a phase's log cannot be read");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the log cannot be read; the log of the service says why",
        )
    }
}

/// Somebody who reads a log as it grows.
struct Follower {
    log: Log,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
    at: u64,
    idle: u32,
    /// How the phase ended, once it has; what it printed may not have been sent yet.
    over: Option<String>,
    ended: bool,
}

impl Follower {
    /// The next event; nothing when the stream is at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.ended || !self.shared.is_ready() {
                return None;
            }
            let bytes = self.log.piece(self.at, PIECE).await.ok()?;
            let whole = match self.over {
                Some(_) => bytes.len(),
                None => whole_characters(&bytes),
            };
            if whole > 0 {
                self.idle = 0;
                self.at += whole as u64;
                let text = String::from_utf8_lossy(&bytes[..whole]);
                return Some(Bytes::from(format!(
                    "event: log\nid: {}\ndata: {}\n\n",
                    self.at,
                    json!(text)
                )));
            }
            if let Some(status) = &self.over {
                self.ended = true;
                return Some(Bytes::from(format!(
                    "event: end\nid: {}\ndata: {}\n\n",
                    self.at,
                    json!({ "status": status })
                )));
            }
            // Asked before the last look at the file, so that nothing printed in between is missed.
            if self.idle.is_multiple_of(ASK) {
                let record = self.doors.load_run.send(LoadRun(self.log.run)).await.ok()?.ok()??;
                self.over = over(&record, &self.log.phase);
                if self.over.is_some() {
                    continue;
                }
            }
            self.idle += 1;
            self.shared.clock.sleep(LOOK).await;
            if self.idle.is_multiple_of(ALIVE) {
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
    }
}

/// How a phase ended; nothing while it may print something still.
fn over(run: &RunRecord, phase: &PhaseName) -> Option<String> {
    let latest = run.phases.iter().rev().find(|row| row.phase == *phase);
    match latest {
        Some(row) if row.status != PhaseStatus::Running => Some(row.status.to_string()),
        _ if run.summary.status.is_final() => Some(run.summary.status.to_string()),
        _ => None,
    }
}

/// How many of these bytes can be shown: all but a character at the end whose rest is still to come.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let length = match bytes[at] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => 1,
        };
        return if length > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_cut_in_two() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"abc", 3),
            ("ä".as_bytes(), 2),
            (&"aä".as_bytes()[..2], 1),
            (&"€".as_bytes()[..2], 0),
            (&"x😀".as_bytes()[..4], 1),
            (b"\xff\xfe", 2),
            (b"\x80\x80\x80\x80", 4),
        ] {
            assert_eq!(whole_characters(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (range, size, expected) in [
            ("bytes=0-9", 100, Some((0, 10))),
            ("bytes=90-", 100, Some((90, 10))),
            ("bytes=-10", 100, Some((90, 10))),
            ("bytes=-200", 100, Some((0, 100))),
            ("bytes=100-", 100, None),
            ("bytes=5-4", 100, None),
            ("bytes=-0", 100, None),
            ("bytes=-5", 0, None),
            ("lines=1-2", 100, None),
            ("bytes=0-18446744073709551615", 100, Some((0, u64::MAX))),
        ] {
            assert_eq!(wanted(range, size), expected, "{range}");
        }
    }
}
