//! What operators and dashboards read and do over the API, and the stream of what changes. Knows the outside of the house only.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::payloads;

/// An open event stream.
struct Listening {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>>>>,
    text: String,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    event: String,
    id: String,
    data: Value,
}

impl Listening {
    async fn open(app: &TestApp, token: &str, query: &str, last: Option<&str>) -> Self {
        let client = awc::Client::builder().disable_timeout().finish();
        let mut request = client
            .get(format!("http://{}/admin/api/{query}", app.address()))
            .insert_header(("authorization", format!("Bearer {token}")));
        if let Some(last) = last {
            request = request.insert_header(("last-event-id", last));
        }
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(
            response.headers().get("content-type").expect("a type"),
            "text/event-stream"
        );
        Self {
            body: Box::pin(response),
            text: String::new(),
        }
    }

    /// The next event; nothing at the end of the stream.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines.find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                if let (Some(event), Some(data)) = (field("event: "), field("data: ")) {
                    let id = field("id: ").unwrap_or_default();
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Some(Heard { event, id, data });
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(20), self.body.next())
                .await
                .expect("the stream says something")?;
            self.text
                .push_str(std::str::from_utf8(&piece.ok()?).expect("events are text"));
        }
    }

    /// Reads until something of this kind and id has changed; all changes up to then.
    async fn until(&mut self, kind: &str, id: &str) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let next = self.next().await.expect("the stream goes on");
            let it = next.data["kind"] == kind && (id.is_empty() || next.data["id"] == id);
            heard.push(next);
            if it {
                return heard;
            }
        }
    }
}

#[actix_rt::test]
async fn the_stream_tells_of_everything_that_an_event_brings_about() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let mut stream = Listening::open(&app, &token, "stream", None).await;
    let hello = stream.next().await.expect("it says hello");
    assert_eq!(
        (hello.event.as_str(), &hello.data["id"]),
        ("hello", &Value::from(hello.id.clone()))
    );
    let delivery = app.accept("issues", &payloads::issue("opened", 7, "It broke")).await;
    app.settle().await;
    let run = app.runs().await[0]["id"].as_str().expect("an id").to_owned();
    // The last that is said about the run is its end.
    let again = app.accept("issues", &payloads::issue("opened", 8, "So did this")).await;
    let heard = stream.until("event", &again).await;
    let all: Vec<_> = heard
        .iter()
        .map(|heard| (&heard.data["kind"], &heard.data["id"]))
        .collect();
    assert!(all.contains(&(&json!("event"), &json!(delivery))), "{all:?}");
    assert!(all.contains(&(&json!("run"), &json!(run))), "{all:?}");
    let phase = format!("{run}/");
    assert!(
        all.iter()
            .any(|(kind, id)| *kind == "phase" && id.as_str().is_some_and(|id| id.starts_with(&phase))),
        "{all:?}"
    );
    assert!(heard.iter().all(|heard| heard.event == "change"));
    app.finish().await;
}

#[actix_rt::test]
async fn a_stream_goes_on_without_a_gap_or_says_that_there_is_one() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let mut stream = Listening::open(&app, &token, "stream?kinds=event", None).await;
    let hello = stream.next().await.expect("it says hello");
    let first = app.accept("issues", &payloads::issue("closed", 1, "one")).await;
    let place = stream.until("event", &first).await.pop().expect("heard").id;
    drop(stream);
    // Nobody listens for a while.
    let second = app.accept("issues", &payloads::issue("closed", 2, "two")).await;
    app.settle().await;
    for (query, last) in [
        ("stream?kinds=event".to_owned(), Some(place.as_str())),
        (format!("stream?kinds=event&last_event_id={place}"), None),
    ] {
        let mut back = Listening::open(&app, &token, &query, last).await;
        let again = back.next().await.expect("it says hello");
        assert_eq!((again.event.as_str(), again.id.as_str()), ("hello", place.as_str()));
        let heard = back.until("event", &second).await;
        assert!(heard.iter().all(|heard| heard.event == "change"), "{heard:?}");
    }
    // From the very beginning everything is heard once more, in the order in which it changed last.
    let mut from_start = Listening::open(&app, &token, "stream?kinds=event", Some(&hello.id)).await;
    assert_eq!(from_start.next().await.expect("hello").event, "hello");
    let heard = from_start.until("event", &second).await;
    assert!(
        heard.iter().any(|heard| heard.data["id"] == first.as_str()),
        "{heard:?}"
    );
    for elsewhere in ["000000000000-1", "nonsense", &format!("{place}9999")] {
        let mut lost = Listening::open(&app, &token, "stream", Some(elsewhere)).await;
        let told = [lost.next().await, lost.next().await].map(|heard| heard.expect("two events").event);
        assert_eq!(told, ["reset", "hello"], "{elsewhere}");
    }
    // The next start of the service is another list.
    let app = app.restart().await;
    let mut after = Listening::open(&app, &token, "stream", Some(&place)).await;
    assert_eq!(after.next().await.expect("an event").event, "reset");
    drop(after);
    app.finish().await;
}

#[actix_rt::test]
async fn a_stream_needs_a_token_and_known_kinds_and_ends_when_the_service_stops() {
    let app = TestApp::start().await;
    let token = app.login().await;
    assert_eq!(app.get("/admin/api/stream", None).await.status, 401);
    let query = format!("/admin/api/stream?token={token}");
    assert_eq!(app.get(&query, None).await.status, 401, "a token in a URL is none");
    let bad = app.get("/admin/api/stream?kinds=run,nonsense", Some(&token)).await;
    assert_eq!(bad.status, 400);
    assert!(
        bad.text.contains("kinds must be a comma list of: event, run,"),
        "{}",
        bad.text
    );
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Listening::open(&app, &token, "stream?kinds=run,%20approval", None).await;
        assert_eq!(stream.next().await.expect("hello").event, "hello");
        streams.push(stream);
    }
    app.finish_quietly().await;
    for mut stream in streams {
        assert_eq!(stream.next().await, None, "it is over");
    }
}

#[actix_rt::test]
async fn the_stream_tells_of_webhooks_notifications_workflows_and_the_audit_log() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let mut stream = Listening::open(&app, &token, "stream?kinds=webhook,notification,workflow,audit", None).await;
    stream.next().await.expect("hello");
    let hook = app
        .post(
            "/api/integrations/webhooks",
            Some(&token),
            &json!({ "url": "https://hooks.test/1" }),
        )
        .await
        .json();
    stream
        .until("webhook", hook["webhook"]["id"].as_str().expect("an id"))
        .await;
    let note = json!({ "channel": "email", "message": "hello" });
    let note = app.post("/api/integrations/notify", Some(&token), &note).await.json();
    stream
        .until("notification", note["notification_id"].as_str().expect("an id"))
        .await;
    let off = json!({ "enabled": false });
    app.post("/admin/api/workflows/chat/toggle", Some(&token), &off).await;
    stream.until("workflow", "chat").await;
    stream.until("audit", "").await;
    drop(stream);
    app.finish().await;
}
