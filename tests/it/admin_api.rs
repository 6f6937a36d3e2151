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

    /// Reads until this is said.
    async fn said(&mut self, text: &str) -> Heard {
        loop {
            let heard = self.next().await.expect("the stream goes on");
            if heard.data["text"] == text {
                return heard;
            }
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

/// A workflow that asks before it goes on, and one that works until it is told to stop.
const ASKING: &str = "\
name: asking
phases:
  - name: plan
    type: script
    run: echo planned
    approval_gate: plan
  - name: work
    type: script
    run: echo worked
";

/// A service with these workflows; `build` and `chat` ask, too, because routes name them.
async fn asking(env: &[(&str, &str)]) -> (tempfile::TempDir, TestApp) {
    let overlay = tempfile::tempdir().expect("a folder");
    let folder = overlay.path().join("workflows");
    std::fs::create_dir_all(&folder).expect("made");
    for name in ["asking", "build", "chat"] {
        let text = ASKING.replace("name: asking", &format!("name: {name}"));
        std::fs::write(folder.join(format!("{name}.yaml")), text).expect("written");
    }
    let endless = "name: endless\nphases:\n  - name: wait\n    type: script\n    run: sleep 600\n";
    std::fs::write(folder.join("endless.yaml"), endless).expect("written");
    let settings = format!(
        "workflows: {{overlay: \"{}\"}}\napprovals: {{gates: [plan]}}\n",
        overlay.path().display()
    );
    let app = TestApp::start_with(env, &settings).await;
    (overlay, app)
}

async fn run_of(app: &TestApp, token: &str, workflow: &str, context: Value) -> String {
    let wish = json!({ "workflow": workflow, "context": context });
    let answer = app.post("/api/run", Some(token), &wish).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["executionId"].as_str().expect("an id").to_owned()
}

#[actix_rt::test]
async fn every_paused_run_goes_on_from_the_operators_desk_whoever_started_it() {
    let slack = crate::support::slack::FakeSlack::start();
    slack.knows("U1", "ann");
    let env = slack.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (_overlay, app) = asking(&env).await;
    slack.connected(1).await;
    let token = app.login().await;
    app.accept("issue_comment", &payloads::comment(7, "MEMBER", "@last-light build"))
        .await;
    for context in [json!({ "repo": "acme/site" }), json!({})] {
        run_of(&app, &token, "asking", context).await;
    }
    let ts = slack.writes("D1", "U1", None, "hello");
    for envelope in slack.tells(&ts) {
        slack.acked(&envelope).await;
    }
    app.settle().await;
    let open = app.read("/admin/api/approvals").await["approvals"].clone();
    let open: Vec<&str> = open
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(open.len(), 4, "{open:?}");
    for (n, id) in open.iter().enumerate() {
        // The seed's short form and its twin are the same.
        let path = ["/admin/approvals", "/admin/api/approvals"][n % 2];
        let yes = json!({ "decision": "approved" });
        let answer = app.post(&format!("{path}/{id}/respond"), Some(&token), &yes).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"status":"approved"}"#));
        let path = ["/admin/api/approvals", "/admin/approvals"][n % 2];
        let again = app.post(&format!("{path}/{id}/respond"), Some(&token), &yes).await;
        assert_eq!(
            (again.status, again.text.as_str()),
            (400, r#"{"error":"already approved"}"#)
        );
    }
    app.settle().await;
    let runs = app.runs().await;
    assert_eq!(runs.len(), 4);
    for run in runs {
        assert_eq!(run["status"], "succeeded", "{run}");
    }
    app.finish().await;
    slack.stop().await;
}

#[actix_rt::test]
async fn of_two_operators_who_answer_at_once_one_is_heard_and_one_resume_happens() {
    let (_overlay, app) = asking(&[]).await;
    let token = app.login().await;
    for _ in 0..5 {
        let run = run_of(&app, &token, "asking", json!({})).await;
        app.settle().await;
        let list = app.read(&format!("/admin/api/approvals?run={run}")).await;
        let id = list["approvals"][0]["id"].as_str().expect("an id").to_owned();
        let says = |decision: &str| {
            let (app, token, id, wish) = (&app, &token, &id, json!({ "decision": decision }));
            async move {
                app.post(&format!("/admin/approvals/{id}/respond"), Some(token), &wish)
                    .await
            }
        };
        let (yes, no) = futures_util::future::join(says("approved"), says("rejected")).await;
        let mut statuses = [yes.status, no.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400], "{yes:?} {no:?}");
        let late = if yes.status == 400 { &yes } else { &no };
        let first = if yes.status == 200 { "approved" } else { "rejected" };
        assert_eq!(late.json()["error"], format!("already {first}"));
        app.settle().await;
        let run = app.run(&run).await;
        let works = run["phases"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|phase| phase["phase"] == "work")
            .count();
        assert_eq!(works, usize::from(first == "approved"), "{run}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn events_are_found_by_what_is_known_of_them_while_more_come() {
    let app = TestApp::start().await;
    let token = app.login().await;
    for n in 0..30 {
        let title = if n % 3 == 0 { "It BROKE 100%" } else { "A wish" };
        app.accept("issues", &payloads::issue("closed", n + 1, title)).await;
    }
    app.settle().await;
    for (query, expected) in [
        ("title=broke%20100%25", 10),
        ("title=broke%2010_%25", 0),
        ("sender=ann&type=issue.closed&title=wish", 20),
        ("source=github&outcome=NO%20route", 30),
        ("source=slack", 0),
        ("repo=ACME/SITE&state=settled", 30),
        ("state=recorded", 0),
        ("since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00%2B01:00", 30),
        ("until=2020-01-01T00:00:00Z", 0),
        ("since=2100-01-01T00:00:00Z", 0),
    ] {
        let found = app.all(&format!("/admin/api/events?limit=7&{query}"), "events").await;
        assert_eq!(found.len(), expected, "{query}");
    }
    // A walk is not disturbed by what comes meanwhile.
    let (mut walked, mut before) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/admin/api/events?limit=4{before}"), Some(&token))
            .await
            .json();
        let ids = page["events"].as_array().expect("a list").iter();
        walked.extend(ids.map(|event| event["issueNumber"].as_u64().expect("a number")));
        let Some(next) = page["next"].as_i64() else { break };
        before = format!("&before={next}");
        app.accept("issues", &payloads::issue("closed", 100, "late")).await;
    }
    assert_eq!(walked, (1..=30).rev().collect::<Vec<_>>(), "none lost, none twice");
    app.finish().await;
}

#[actix_rt::test]
async fn an_event_is_replayed_as_a_new_one_and_never_twice_under_its_own_id() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let id = app.accept("issues", &payloads::issue("closed", 7, "It broke")).await;
    app.settle().await;
    let path = format!("/admin/api/events/{id}/replay");
    let same = app.post(&path, Some(&token), &json!({ "as": "same" })).await;
    assert_eq!(
        (same.status, same.text.as_str()),
        (409, r#"{"error":"already settled; replay it as new"}"#)
    );
    let key = ("idempotency-key", "once");
    let fresh = app
        .post_with(&path, Some(&token), &[key], &json!({ "as": "new" }))
        .await;
    assert_eq!(fresh.status, 202, "{}", fresh.text);
    let again = app
        .post_with(&path, Some(&token), &[key], &json!({ "as": "new" }))
        .await;
    assert_eq!(again.text, fresh.text, "one key, one event");
    app.settle().await;
    let fresh = fresh.json();
    assert_eq!((&fresh["replayOf"], &fresh["as"]), (&json!(id), &json!("new")));
    let new = app.event(fresh["id"].as_str().expect("an id")).await;
    let old = app.event(&id).await;
    assert_eq!(new["replayOf"], json!(id));
    assert_eq!(old["replayOf"], Value::Null);
    assert_eq!(
        (&new["raw"], &new["title"], &new["outcome"]),
        (&old["raw"], &old["title"], &old["outcome"])
    );
    assert_eq!(app.events().await.len(), 2);
    for (path, body, status, words) in [
        (path.clone(), json!({ "as": "other" }), 400, "as must be"),
        (path.clone(), json!({}), 400, "missing field `as`"),
        (
            path.clone(),
            json!({ "as": "new", "more": 1 }),
            400,
            "unknown field `more`",
        ),
        (
            "/admin/api/events/nothing/replay".into(),
            json!({ "as": "new" }),
            404,
            "event not found",
        ),
        (
            "/admin/api/events/..%2F..%2Fx/replay".into(),
            json!({ "as": "same" }),
            404,
            "event not found",
        ),
    ] {
        let answer = app.post(&path, Some(&token), &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert!(answer.text.contains(words), "{path} {body}: {}", answer.text);
    }
    assert_eq!(app.events().await.len(), 2);
    app.finish().await;
}

fn said<'a>(list: &'a Value, rule: &str) -> (&'a str, &'a str) {
    let all = list.as_array().expect("a list");
    let one = all.iter().find(|one| one["rule"] == rule);
    let one = one.unwrap_or_else(|| panic!("no rule {rule}: {list}"));
    (
        one["verdict"].as_str().expect("a word"),
        one["said"].as_str().expect("words"),
    )
}

#[actix_rt::test]
async fn a_rehearsal_says_what_every_rule_would_say_and_leaves_no_trace() {
    let (_overlay, app) = asking(&[]).await;
    let token = app.login().await;
    let off = json!({ "enabled": false });
    let test = async |body: Value| {
        let answer = app.post("/admin/api/route-test", Some(&token), &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
        answer.json()
    };
    let before = app.get("/admin/api/stats", Some(&token)).await.json();
    let comment = payloads::comment(7, "MEMBER", "@last-light build");

    let would = test(json!({ "event": "issue_comment", "payload": comment })).await;
    assert_eq!((&would["starts"], &would["workflow"]), (&json!(true), &json!("build")));
    assert_eq!(would["outcome"], "routed to build");
    assert_eq!(would["envelope"]["type"], "comment.created");
    assert_eq!(said(&would["checks"], "signature").0, "skipped");
    for rule in [
        "event header",
        "JSON object",
        "ping",
        "action",
        "sender",
        "repository",
        "mapping",
        "duplicate",
    ] {
        assert_eq!(said(&would["checks"], rule).0, "passed", "{rule}");
    }
    assert_eq!(said(&would["routing"], "routes"), ("decided", "starts build"));
    assert_eq!(said(&would["admission"], "managed repository").0, "passed");
    assert_eq!(
        said(&would["admission"], "live run of the same subject").1,
        "none of this workflow is live here"
    );
    assert!(
        would["says"].as_array().is_some_and(|says| !says.is_empty()),
        "the reaction: {would}"
    );
    // As text, under a header, it is the same.
    let headers = json!({ "X-GitHub-Event": "issue_comment", "X-GitHub-Delivery": "d-rehearsed" });
    let text = test(json!({ "headers": headers, "payload": comment.to_string() })).await;
    assert_eq!(
        (&text["outcome"], &text["envelope"]["id"]),
        (&json!("routed to build"), &json!("d-rehearsed"))
    );

    let mut foreign = comment.clone();
    foreign["repository"]["full_name"] = json!("other/place");
    foreign["sender"]["type"] = json!("Bot");
    let would = test(json!({ "event": "issue_comment", "payload": foreign })).await;
    assert_eq!(
        (&would["filtered"], &would["envelope"]),
        (&json!("bot sender"), &Value::Null)
    );
    assert_eq!(would["outcome"], "filtered: bot sender");
    assert_eq!(said(&would["checks"], "sender"), ("stopped", "bot sender"));
    assert_eq!(
        said(&would["checks"], "repository"),
        ("stopped", "repo not managed: other/place")
    );

    let stranger = payloads::comment(7, "NONE", "@last-light build");
    let would = test(json!({ "event": "issue_comment", "payload": stranger })).await;
    assert_eq!(
        (&would["starts"], said(&would["routing"], "standing of the author").0),
        (&json!(false), "stopped")
    );
    assert_eq!(
        said(&test(json!({ "payload": "{" })).await["checks"], "JSON object"),
        ("stopped", "Invalid JSON")
    );
    assert_eq!(
        said(&test(json!({ "payload": {} })).await["checks"], "event header").0,
        "stopped"
    );
    let after = app.get("/admin/api/stats", Some(&token)).await.json();
    // That somebody asked is in the audit log, and nothing else is anywhere.
    assert_eq!(before["totals"], after["totals"]);
    assert!(app.github.calls().is_empty(), "nobody was told anything");

    // A stored event is judged by the rules of today; a switched off workflow and a live run are seen.
    let id = app.accept("issue_comment", &comment).await;
    app.settle().await;
    let would = test(json!({ "id": id })).await;
    let run = &app.runs().await[0]["id"];
    assert_eq!(
        (&would["liveRun"], said(&would["checks"], "duplicate").0),
        (run, "skipped")
    );
    let headers = json!({ "x-github-event": "issue_comment", "x-github-delivery": id });
    let twice = test(json!({ "headers": headers, "payload": comment })).await;
    assert_eq!(said(&twice["checks"], "duplicate").0, "stopped");
    app.post("/admin/api/workflows/build/toggle", Some(&token), &off).await;
    let would = test(json!({ "id": id })).await;
    assert_eq!(
        said(&would["admission"], "switched on"),
        ("stopped", "it is switched off")
    );
    assert_eq!(
        (&would["starts"], &would["outcome"]),
        (&json!(false), &json!("not started: workflow \"build\" is switched off"))
    );

    for (body, status, words) in [
        (json!({ "id": "nothing" }), 404, "event not found"),
        (json!({}), 400, "payload is missing"),
        (json!({ "id": "x", "payload": {} }), 400, "exclude each other"),
        (json!({ "id": 7 }), 400, "Invalid JSON"),
        (json!([]), 400, "the body must be a JSON object"),
        (json!({ "paylod": {} }), 400, "unknown field `paylod`"),
    ] {
        let answer = app.post("/admin/api/route-test", Some(&token), &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.text.contains(words), "{body}: {}", answer.text);
    }
    app.finish_quietly().await;
}

#[actix_rt::test]
async fn every_page_of_the_desk_has_its_shape() {
    let (_overlay, app) = asking(&[]).await;
    let token = app.login().await;
    run_of(&app, &token, "asking", json!({ "repo": "acme/site", "issueNumber": 7 })).await;
    app.accept("issues", &payloads::issue("closed", 7, "It broke")).await;
    app.settle().await;
    let read = async |path: &str| app.read(&format!("/admin/api/{path}")).await;

    let stats = read("stats").await;
    assert_eq!(
        (&stats["totals"]["events"], &stats["totals"]["pendingApprovals"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(stats["totals"]["runs"], json!({ "paused": 1 }));
    assert!(stats["store"]["written"].as_u64().is_some_and(|n| n > 0));
    for (path, list, rows) in [
        ("stats/daily", "daily", 30),
        ("stats/daily?days=1", "daily", 1),
        ("stats/daily?days=90", "daily", 90),
        ("stats/hourly", "hourly", 24),
        ("stats/hourly?hours=168", "hourly", 168),
    ] {
        let page = read(path).await;
        let all = page[list].as_array().expect("a list");
        assert_eq!(all.len(), rows, "{path}");
        let sum = |what: &str| all.iter().map(|row| row[what].as_u64().expect("a number")).sum::<u64>();
        assert_eq!(
            (sum("events"), sum("runs"), sum("failed"), sum("dead")),
            (1, 1, 0, 0),
            "{path}"
        );
        let today = all.last().expect("a row");
        assert_eq!(today["events"], 1, "the last one is now: {today}");
    }
    let hour = &read("stats/hourly?hours=1").await["hourly"][0]["hour"];
    assert!(hour.as_str().is_some_and(|hour| hour.ends_with(":00:00Z")), "{hour}");

    let executions = read("executions").await;
    let row = &executions["executions"][0];
    assert_eq!(
        (&row["workflow"], &row["phase"], &row["repo"]),
        (&json!("asking"), &json!("plan"), &json!("acme/site"))
    );
    assert_eq!(
        (&row["issue_number"], &row["trigger_type"], &row["exit_code"]),
        (&json!(7), &json!("api"), &json!(0))
    );
    assert_eq!(executions["next"], Value::Null);
    assert_eq!(read("executions?offset=1").await["executions"], json!([]));

    let names = read("workflow-names").await;
    assert!(
        names["workflowNames"]
            .as_array()
            .expect("a list")
            .contains(&json!("asking"))
    );
    assert_eq!(
        read("sessions").await,
        json!({ "sessions": [], "liveCount": 0, "next": null })
    );
    assert_eq!(read("chat-sessions").await, read("sessions").await);
    assert_eq!(read("notifications").await, json!({ "notifications": [] }));
    assert_eq!(read("webhooks").await, json!([]));
    assert_eq!(read("containers").await, json!({ "containers": [] }));
    assert_eq!(read("containers/stats").await["stats"]["count"], 0);

    let actors = read("actors").await;
    let all = actors["actors"].as_array().expect("a list");
    assert!(all.len() >= 9, "{actors}");
    for one in all {
        assert_eq!(one["state"], "idle", "{one}");
        assert!(one["mailbox"]["capacity"].as_u64().is_some_and(|n| n >= 16), "{one}");
        assert!(one["mailbox"]["waitMs"].as_f64().is_some_and(|ms| ms >= 0.0), "{one}");
        assert!(one["handled"].is_u64(), "{one}");
    }
    let dispatcher = all.iter().find(|one| one["name"] == "dispatcher").expect("it is there");
    assert_eq!(dispatcher["handled"], 1);

    let config = read("config").await;
    assert_eq!(config["merged"]["github"]["webhook_secret"], json!(["[redacted]"]));
    assert_eq!(config["overlay"]["approvals"]["gates"], json!(["plan"]));
    assert_eq!(config["default"]["server"]["listen"], "127.0.0.1:8644");
    assert!(
        config["overlay"]["github"]["bot_name"].is_null(),
        "as shipped: {}",
        config["overlay"]
    );
    let origin = &config["provenance"]["approvals.gates"];
    assert_eq!((&origin["layer"], &origin["line"]), (&json!("file"), &json!(2)));
    let text = config.to_string();
    for secret in [
        crate::support::app::SECRET,
        crate::support::app::PASSWORD,
        app.github.token().expose(),
    ] {
        assert!(!text.contains(secret));
    }
    app.finish().await;
}

#[actix_rt::test]
async fn workflows_are_read_with_their_prompts_and_no_path_leads_to_a_file() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let full = app.read("/admin/api/workflows/build/full").await;
    let plan = full["prompts"]["prompts/build-plan.md"].as_str().expect("a text");
    assert!(
        !plan.is_empty()
            && full["workflow"]["yaml"]
                .as_str()
                .is_some_and(|yaml| yaml.contains("build-plan.md"))
    );
    assert!(full["skills"]["implementation"].is_string(), "{}", full["skills"]);
    let get = async |path: &str| app.get(&format!("/admin/api/{path}"), Some(&token)).await;
    let prompt = get("workflows/build/prompt?path=prompts/build-plan.md").await;
    assert_eq!((prompt.status, prompt.text.as_str()), (200, plan));
    assert_eq!(prompt.headers["x-content-type-options"], "nosniff");
    let skill = get("skills/implementation").await;
    assert_eq!(
        (skill.status, json!(skill.text)),
        (200, full["skills"]["implementation"].clone())
    );
    for (path, status, words) in [
        ("workflows/nobody/full", 404, "workflow not found"),
        ("workflows/nobody/prompt?path=prompts/x.md", 404, "workflow not found"),
        ("workflows/..%2F..%2Fetc/full", 404, "workflow not found"),
        ("workflows/build/prompt", 400, "path must be"),
        ("workflows/build/prompt?path=prompts/none.md", 404, "prompt not found"),
        ("workflows/build/prompt?path=prompts/../build.yaml", 400, "path must be"),
        ("workflows/build/prompt?path=../../../etc/passwd", 400, "path must be"),
        ("workflows/build/prompt?path=/etc/passwd", 400, "path must be"),
        ("workflows/build/prompt?path=prompts/..%5C..%5Cx", 400, "path must be"),
        ("workflows/build/prompt?path=prompts/%00", 404, "prompt not found"),
        ("skills/nobody", 404, "skill not found"),
        ("skills/..%2F..%2Fetc%2Fpasswd", 400, "a skill's name"),
        ("skills/.hidden", 400, "a skill's name"),
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(words), "{path}: {}", answer.text);
    }
    app.finish().await;
}

#[actix_rt::test]
async fn a_wrong_parameter_is_named_and_an_unknown_id_is_not_found() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let id = "01890000-0000-7000-8000-000000000000";
    for (path, status, words) in [
        ("events?limit=0", 400, "limit must be a whole number from 1 to 200"),
        ("events?limit=201", 400, "limit must"),
        ("events?limit=x", 400, "limit must"),
        ("events?limit=-1", 400, "limit must"),
        ("events?limit=5&limit=6", 400, "duplicate field `limit`"),
        ("events?before=x", 400, "before must"),
        ("events?before=99999999999999999999", 400, "before must"),
        ("events?since=yesterday", 400, "since must be an instant"),
        ("events?until=2026-13-01T00:00:00Z", 400, "until must"),
        ("events?type=issue.eaten", 400, "type must be one of: issue.opened"),
        (
            "events?source=carrier-pigeon",
            400,
            "source must be one of: github, slack",
        ),
        ("events?state=lost", 400, "state must be one of"),
        ("workflow-runs?status=lost", 400, "status must be"),
        ("workflow-runs?offset=-1", 400, "offset must"),
        (
            "workflow-runs?offset=100001",
            400,
            "offset must be a whole number from 0 to 100000",
        ),
        ("workflow-runs?limit=1e3", 400, "limit must"),
        ("workflow-runs?since=1", 400, "since must"),
        ("executions?limit=x", 400, "limit must"),
        ("executions?offset=x", 400, "offset must"),
        ("stats/daily?days=0", 400, "days must be a whole number from 1 to 90"),
        ("stats/daily?days=91", 400, "days must"),
        (
            "stats/hourly?hours=169",
            400,
            "hours must be a whole number from 1 to 168",
        ),
        ("approvals?limit=x", 400, "limit must"),
        ("approvals?status=lost", 400, "status must be one of"),
        ("sessions?limit=x", 400, "limit must"),
        ("sessions/stream?before=x", 400, "before must"),
        ("deliveries?limit=x", 400, "limit"),
        (&format!("sessions/{id}/messages?since=x"), 404, "session not found"),
        ("events/nothing", 404, "event not found"),
        (&format!("workflow-runs/{id}"), 404, "workflow run not found"),
        ("workflow-runs/..%2F..%2Ffirstlight.db", 404, "workflow run not found"),
        (&format!("workflow-runs/{id}/executions"), 404, "workflow run not found"),
        (&format!("approvals/{id}"), 404, "approval not found"),
        (&format!("sessions/{id}"), 404, "session not found"),
        (&format!("chat-sessions/{id}/stream"), 404, "session not found"),
        ("deliveries/nothing", 404, "there is no delivery"),
        ("nothing-here", 404, "not found"),
    ] {
        let answer = app.get(&format!("/admin/api/{path}"), Some(&token)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(words), "{path}: {}", answer.text);
        assert!(answer.json()["error"].is_string(), "{path}: {}", answer.text);
    }
    for (method, path, status, words) in [
        (
            "POST",
            format!("/admin/approvals/{id}/respond"),
            404,
            "approval not found",
        ),
        (
            "POST",
            format!("/admin/api/workflow-runs/{id}/cancel"),
            404,
            "workflow run not found",
        ),
        (
            "POST",
            format!("/admin/api/workflow-runs/{id}/retry"),
            404,
            "workflow run not found",
        ),
        (
            "DELETE",
            "/admin/api/containers/postgres".into(),
            400,
            "begins with firstlight-",
        ),
        (
            "DELETE",
            "/admin/api/containers/firstlight-1".into(),
            404,
            "container not found",
        ),
        (
            "DELETE",
            "/admin/api/containers/firstlight-..%2F..%2Fx".into(),
            404,
            "container not found",
        ),
    ] {
        let body = json!({ "decision": "approved" });
        let body = Some(&body).filter(|_| path.ends_with("respond"));
        let answer = app.ask(method, &path, Some(&token), &[], body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(words), "{path}: {}", answer.text);
        assert_eq!(app.ask(method, &path, None, &[], body).await.status, 401, "{path}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn the_processes_of_a_phase_are_shown_and_can_be_killed() {
    let (_overlay, app) = asking(&[]).await;
    let token = app.login().await;
    let run = run_of(&app, &token, "endless", json!({})).await;
    let group = loop {
        let list = app.get("/admin/api/containers", Some(&token)).await.json();
        if let Some(group) = list["containers"].as_array().and_then(|all| all.first()) {
            break group.clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&group["run"], &group["phase"]), (&json!(run), &json!("wait")));
    assert!(group["memoryBytes"].as_u64().is_some() && group["processes"].as_u64().is_some_and(|n| n > 0));
    let name = group["name"].as_str().expect("a name");
    let path = format!("/admin/api/containers/{name}");
    let killed = app.ask("DELETE", &path, Some(&token), &[], None).await;
    assert_eq!((killed.status, killed.json()), (200, json!({ "killed": name })));
    app.settle().await;
    assert_eq!(app.run(&run).await["status"], "failed");
    assert_eq!(app.ask("DELETE", &path, Some(&token), &[], None).await.status, 404);
    app.finish().await;
}

#[actix_rt::test]
async fn a_conversation_is_read_and_followed_line_by_line() {
    let slack = crate::support::slack::FakeSlack::start();
    slack.knows("U1", "ann");
    let env = slack.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (_overlay, app) = asking(&env).await;
    slack.connected(1).await;
    let token = app.login().await;
    let mut list = Listening::open(&app, &token, "sessions/stream", None).await;
    assert_eq!(list.next().await.expect("the list").data["sessions"], json!([]));
    let says = async |thread: Option<&str>, text: &str| {
        let ts = slack.writes("D1", "U1", thread, text);
        for envelope in slack.tells(&ts) {
            slack.acked(&envelope).await;
        }
        ts
    };
    let first = says(None, "hello").await;
    let heard = list.next().await.expect("the list");
    assert_eq!(
        (heard.event.as_str(), &heard.data["liveCount"]),
        ("sessions", &json!(1))
    );
    let session = heard.data["sessions"][0].clone();
    let id = session["id"].as_str().expect("an id");
    assert_eq!(
        (&session["platform"], &session["user"], &session["live"]),
        (&json!("slack"), &json!("U1"), &json!(true))
    );
    let mut follow = Listening::open(&app, &token, &format!("chat-sessions/{id}/stream"), None).await;
    let hello = follow.next().await.expect("a line");
    assert_eq!(
        (hello.event.as_str(), &hello.data["text"]),
        ("message", &json!("hello"))
    );
    assert_eq!(follow.next().await.expect("ready").event, "ready");
    says(Some(&first), "and more").await;
    // What we say ourselves stands between.
    let more = follow.said("and more").await;
    assert_eq!(more.data["role"], "user");
    // Whoever comes back goes on behind what was heard.
    let mut back = Listening::open(&app, &token, &format!("sessions/{id}/stream"), Some(&hello.id)).await;
    assert_ne!(back.said("and more").await.id, hello.id);
    app.settle().await;
    let people = |list: &Value| {
        let all = list["messages"].as_array().expect("a list").iter();
        let said = all
            .filter(|line| line["role"] == "user")
            .map(|line| line["text"].clone());
        said.collect::<Vec<_>>()
    };
    let all = app.read(&format!("/admin/api/sessions/{id}/messages")).await;
    assert_eq!(
        (people(&all), &all["next"]),
        (vec![json!("hello"), json!("and more")], &Value::Null)
    );
    let rest = app
        .read(&format!("/admin/api/sessions/{id}/messages?since={}", hello.id))
        .await;
    assert_eq!(people(&rest), ["and more"]);
    let bad = app
        .get(&format!("/admin/api/sessions/{id}/messages?since=x"), Some(&token))
        .await;
    assert_eq!((bad.status, bad.text.contains("since must be")), (400, true));
    let whole = app.read(&format!("/admin/api/sessions/{id}")).await;
    assert_eq!(
        whole["session"]["messageCount"],
        all["messages"].as_array().map_or(0, Vec::len)
    );
    drop((list, follow, back));
    app.finish_quietly().await;
    slack.stop().await;
}
