//! Server-sent events as the WHATWG HTML standard has them: how one is written, and an answer made of them. Knows no route.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use serde::Serialize;

/// A sign of life on a stream without news is sent so often.
pub(crate) const ALIVE: Duration = Duration::from_secs(15);

/// How long what comes in a burst is gathered, so that it makes one piece of the answer.
pub(crate) const GATHER: Duration = Duration::from_millis(50);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Writes one event behind `text`. The name and the id are our own words without line breaks; the data is JSON on one line.
pub(crate) fn write(text: &mut String, event: &str, id: Option<&str>, data: &impl Serialize) {
    text.push_str("event: ");
    text.push_str(event);
    if let Some(id) = id {
        text.push_str("\nid: ");
        text.push_str(id);
    }
    text.push_str("\ndata: ");
    match serde_json::to_string(data) {
        Ok(data) => text.push_str(&data),
        Err(error) => {
            tracing::error!(event, %error, "an event of a stream cannot be written");
            text.push_str("null");
        }
    }
    text.push_str("\n\n");
}

/// A sign of life that no listener is told of. With an id, a client that comes back names that one.
pub(crate) fn alive(id: Option<&str>) -> String {
    match id {
        Some(id) => format!(": still here\nid: {id}\n\n"),
        None => ": still here\n\n".to_owned(),
    }
}

/// The answer. It ends when `events` does.
pub(crate) fn answer(events: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // A proxy that gathers an answer before it hands it on would make a live stream a dead one.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(events)
}

/// Where a client goes on that was here before.
pub(crate) fn last_event_id(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(LAST_EVENT_ID)?.to_str().ok()?;
    Some(value).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_written_as_the_standard_has_them() {
        let mut text = String::new();
        write(&mut text, "change", Some("b-1"), &json!({"id": "two\nlines"}));
        write(&mut text, "ready", None, &json!({}));
        assert_eq!(
            text,
            "event: change\nid: b-1\ndata: {\"id\":\"two\\nlines\"}\n\nevent: ready\ndata: {}\n\n"
        );
        assert_eq!(alive(Some("b-2")), ": still here\nid: b-2\n\n");
        assert_eq!(alive(None), ": still here\n\n");
    }
}
