//! Traces as a collector gets them: whole, connected, one for each beginning, without anybody's words. Through a service and a stand-in of the collector.

use std::collections::{BTreeMap, BTreeSet};

use firstlight::demo::github::Fault;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use prost::Message;
use serde_json::json;

use crate::support::app::{Delivery, PASSWORD, SECRET, TestApp};
use crate::support::payloads::{comment, issue};
use crate::support::process::Served;
use crate::support::receiver::{Does, Receiver};

const PATH: &str = "/v1/traces";
const KEY: &str = "a key for the collector";
/// Stands in everything that somebody writes.
const CANARY: &str = "canary-8f3a61";

/// A span as the collector has it.
#[derive(Debug, Clone)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    failed: bool,
    took_ms: u64,
    facts: BTreeMap<String, String>,
}

/// All spans that came in so far, in the order of their beginnings.
fn spans(collector: &Receiver) -> Vec<Span> {
    let mut all = Vec::new();
    for got in collector.got_at(PATH) {
        assert_eq!(got.headers["content-type"], "application/x-protobuf");
        let request = ExportTraceServiceRequest::decode(got.body.as_slice()).expect("OTLP");
        for resource in request.resource_spans {
            let about = resource.resource.expect("a resource").attributes;
            assert!(about.iter().any(|fact| fact.key == "service.name"), "{about:?}");
            all.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    all.sort_by_key(|span| span.start_time_unix_nano);
    all.into_iter()
        .map(|span| Span {
            trace: hex::encode(&span.trace_id),
            id: hex::encode(&span.span_id),
            parent: hex::encode(&span.parent_span_id),
            name: span.name,
            failed: span.status.is_some_and(|status| status.code == 2),
            took_ms: (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000,
            facts: span
                .attributes
                .into_iter()
                .map(|fact| {
                    let value = match fact.value.and_then(|value| value.value) {
                        Some(Attribute::StringValue(text)) => text,
                        Some(Attribute::IntValue(number)) => number.to_string(),
                        other => panic!("{}: {other:?}", fact.key),
                    };
                    (fact.key, value)
                })
                .collect(),
        })
        .collect()
}

/// The names of spans, sorted.
fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// The spans of one trace, which has one root and no loose end, and no span twice.
fn whole<'a>(all: &'a [Span], trace: &str) -> Vec<&'a Span> {
    let of_it: Vec<&Span> = all.iter().filter(|span| span.trace == trace).collect();
    let ids: BTreeSet<&str> = of_it.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), of_it.len(), "a span is there twice: {of_it:#?}");
    let roots = of_it.iter().filter(|span| span.parent.is_empty()).count();
    assert_eq!(roots, 1, "one root: {of_it:#?}");
    for span in &of_it {
        let held = span.parent.is_empty() || ids.contains(span.parent.as_str());
        assert!(held, "{} hangs on nothing: {of_it:#?}", span.name);
    }
    of_it
}

fn parent_of<'a>(all: &[&'a Span], name: &str) -> &'a str {
    let span = all.iter().find(|span| span.name == name);
    let span = span.unwrap_or_else(|| panic!("no {name} in {all:#?}"));
    let parent = all.iter().find(|other| other.id == span.parent);
    parent.map_or("", |parent| parent.name.as_str())
}

/// A service that is traced, with its collector; `build` is its workflow for commands and the API.
async fn traced(build: &str, settings: &str) -> (tempfile::TempDir, Receiver, TestApp) {
    let collector = Receiver::start().await;
    let overlay = tempfile::tempdir().expect("a folder");
    let workflows = overlay.path().join("workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    std::fs::write(workflows.join("build.yaml"), format!("name: build\n{build}")).expect("written");
    let settings = format!(
        "workflows:\n  overlay: {}\noutbound:\n  allow: [127.0.0.0/8]\napprovals:\n  gates: [post_plan]\ntelemetry:\n  otlp:\n    endpoint: {}\n    headers: ['authorization=Bearer%20{}']\n{settings}",
        overlay.path().display(),
        collector.url(""),
        KEY.replace(' ', "%20"),
    );
    let app = TestApp::start_with(&[], &settings).await;
    (overlay, collector, app)
}

const PLAIN: &str = "phases:\n  - name: mark\n    type: context\n";

#[actix_rt::test]
async fn one_delivery_is_one_trace_down_to_its_comment() {
    let (_overlay, collector, app) = traced(PLAIN, "").await;
    app.github.opens_issue("acme/site", "It broke", "");
    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let mut payload = issue("opened", 1, &format!("It broke {CANARY}"));
    payload["issue"]["body"] = format!("It fails. {CANARY}").into();
    let delivery = Delivery::signed("issues", id, payload.to_string());
    assert_eq!(app.deliver(&delivery).await.status, 202);
    assert_eq!(app.deliver(&delivery).await.status, 202, "again, which adds nothing");
    app.settle().await;
    app.finish().await;

    let all = spans(&collector);
    let trace = id.replace('-', "");
    let of_it = whole(&all, &trace);
    assert_eq!(of_it.len(), all.len(), "nothing else happened: {:?}", names(&all));
    let of_phases = ["phase look", "phase triage", "phase answer"];
    for name in of_phases
        .into_iter()
        .chain(["queue", "github.comment", "github.reaction"])
    {
        assert_eq!(parent_of(&of_it, name), "run issue-triage", "{name}");
    }
    assert_eq!(parent_of(&of_it, "run issue-triage"), "dispatch");
    assert_eq!(parent_of(&of_it, "dispatch"), "receive github");
    assert_eq!(parent_of(&of_it, "record"), "receive github");
    assert_eq!(parent_of(&of_it, "receive github"), "");

    let fact = |span: &str, key: &str| {
        let span = of_it.iter().find(|known| known.name == span).expect("seen above");
        span.facts.get(key).cloned().unwrap_or_default()
    };
    assert_eq!(fact("receive github", "http.route"), "/webhooks/github");
    assert_eq!(fact("receive github", "firstlight.event.type"), "issue.opened");
    assert_eq!(fact("receive github", "vcs.repository.name"), "site");
    assert_eq!(fact("dispatch", "firstlight.dispatch.outcome"), "run_opened");
    assert_eq!(fact("run issue-triage", "cicd.pipeline.result"), "success");
    assert_eq!(fact("phase look", "process.exit.code"), "0");
    assert_eq!(fact("phase triage", "cicd.pipeline.task.run.result"), "skip");
    assert_eq!(fact("github.comment", "firstlight.effect.target"), "acme/site#1");
    assert!(of_it.iter().all(|span| !span.failed), "{of_it:#?}");

    for got in collector.got_at(PATH) {
        assert_eq!(got.headers["authorization"], format!("Bearer {KEY}"));
        let body = String::from_utf8_lossy(&got.body).into_owned();
        for secret in [SECRET, PASSWORD, KEY, CANARY, "Thanks for this issue"] {
            assert!(!body.contains(secret), "{secret:?} left the house");
        }
    }
}

#[actix_rt::test]
async fn a_retried_effect_adds_its_attempts_to_the_same_trace() {
    let (_overlay, collector, app) = traced(PLAIN, "").await;
    app.github.opens_issue("acme/site", "It broke", "");
    let comments = "/issues/1/comments";
    app.github
        .script_on("POST", comments, Fault::status(502, "Server Error"));
    let id = app.accept("issues", &issue("opened", 1, "It broke")).await;
    // The second try is due a second later; nothing else tells when it is over.
    let tries = |all: &[Span]| all.iter().filter(|span| span.name == "github.comment").count();
    collector.until(|collector| tries(&spans(collector)) >= 2).await;
    app.finish().await;

    let all = spans(&collector);
    let trace = actors::domain::TraceId::of(&id).to_string();
    let of_it = whole(&all, &trace);
    let tries: Vec<_> = of_it.iter().filter(|span| span.name == "github.comment").collect();
    let said: Vec<_> = tries
        .iter()
        .map(|span| (span.failed, span.facts["firstlight.effect.outcome"].as_str()))
        .collect();
    assert_eq!(said, [(true, "retry"), (false, "done")]);
    assert_eq!(tries[1].facts["http.request.resend_count"], "1");
}

#[actix_rt::test]
async fn a_question_and_a_restart_in_the_middle_leave_the_trace_one() {
    let build = "phases:\n  - name: plan\n    type: script\n    run: echo planned\n    approval_gate: post_plan\n  - name: do\n    type: script\n    run: echo \"$TRACEPARENT\"\n";
    let (_overlay, collector, app) = traced(build, "").await;
    let order = comment(7, "OWNER", "@last-light build");
    let id = app.accept("issue_comment", &order).await;
    app.settle().await;
    let run = app.runs().await.remove(0);
    assert_eq!(run["status"], "paused", "{run}");
    let app = app.restart().await;
    let trace = actors::domain::TraceId::of(&id).to_string();
    let before = spans(&collector);
    assert!(!names(&before).contains(&"run build"), "it is not over");

    let token = app.login().await;
    let asked = app.read("/admin/api/approvals").await["approvals"][0]["id"].clone();
    assert_eq!(app.event(&id).await["traceId"], trace.as_str());
    let path = format!("/admin/api/approvals/{}/respond", asked.as_str().expect("an id"));
    let answer = app.post(&path, Some(&token), &json!({ "decision": "approved" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    app.settle().await;
    let run = app.run(run["id"].as_str().expect("an id")).await;
    app.finish().await;

    let all = spans(&collector);
    let of_it = whole(&all, &trace);
    let mine: Vec<Span> = of_it.iter().map(|span| (*span).clone()).collect();
    for name in [
        "run build",
        "phase plan",
        "approval",
        "phase do",
        "receive github",
        "dispatch",
    ] {
        let times = names(&mine).iter().filter(|known| **known == name).count();
        assert_eq!(times, 1, "{name} in {:?}", names(&mine));
    }
    let of_run = mine.iter().find(|span| span.name == "run build").expect("seen above");
    let question = mine.iter().find(|span| span.name == "approval").expect("seen above");
    assert_eq!(question.facts["firstlight.approval.status"], "approved");
    assert!(of_run.took_ms >= question.took_ms, "the wait is part of the run");

    assert_eq!(run["traceId"], trace.as_str());
    // What the phase was told is its own place in the trace.
    let phase = mine.iter().find(|span| span.name == "phase do").expect("seen above");
    let phases = run["phases"].as_array().expect("a list");
    let told = phases.iter().find(|known| known["phase"] == "do").expect("it ran");
    assert_eq!(
        told["output"].as_str().map(str::trim),
        Some(format!("00-{trace}-{}-01", phase.id).as_str())
    );
}

#[actix_rt::test]
async fn a_kill_in_the_middle_leaves_the_trace_one() {
    let collector = Receiver::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let workflows = folder.path().join("mine/workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    // The first time it waits to be killed.
    let build = "name: build\nphases:\n  - name: first\n    type: context\n  - name: work\n    type: script\n    run: if [ -e ../../begun ]; then echo again; else touch ../../begun; sleep 600; fi\n";
    std::fs::write(workflows.join("build.yaml"), build).expect("written");
    let settings = format!(
        "workflows:\n  overlay: mine\ntelemetry:\n  otlp:\n    endpoint: {}\n",
        collector.url("")
    );
    std::fs::write(folder.path().join("firstlight.yaml"), settings).expect("written");
    let env: BTreeMap<String, String> = [
        ("WEBHOOK_SECRET", SECRET),
        ("ADMIN_PASSWORD", PASSWORD),
        ("MANAGED_REPOS", "acme/*"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();

    let served = Served::start(folder.path(), &env);
    let id = "0d3162ee-cc78-11e3-81ab-4c9367dc0958";
    let order = comment(7, "OWNER", "@last-light build");
    let delivery = Delivery::signed("issue_comment", id, order.to_string());
    let client = awc::Client::default();
    let mut request = client.post(format!("http://{}/webhooks/github", served.address));
    for (name, value) in &delivery.headers {
        request = request.append_header((name.as_str(), value.as_str()));
    }
    assert_eq!(request.send_body(delivery.body).await.expect("an answer").status(), 202);
    let has = |name: &'static str| move |collector: &Receiver| spans(collector).iter().any(|span| span.name == name);
    collector.until(has("phase first")).await;
    served.kill();

    let served = Served::start(folder.path(), &env);
    collector.until(has("run build")).await;
    let (status, _) = served.terminate();
    assert_eq!(status.code(), Some(0));
    let all = spans(&collector);
    let of_it = whole(&all, &id.replace('-', ""));
    let work: Vec<_> = of_it.iter().filter(|span| span.name == "phase work").collect();
    let said: Vec<_> = work
        .iter()
        .map(|span| (span.failed, span.facts.get("error.type").map(String::as_str)))
        .collect();
    assert_eq!(said, [(true, Some("interrupted")), (false, None)], "{of_it:#?}");
}

#[actix_rt::test]
async fn a_run_from_the_api_has_a_trace_of_its_own() {
    let build = "phases:\n  - name: fails\n    type: script\n    run: exit 3\n";
    let (_overlay, collector, app) = traced(build, "").await;
    let token = app.login().await;
    let wish = json!({ "workflow": "build", "context": { "repo": "acme/site", "issueNumber": 1, "title": CANARY } });
    let answer = app.post("/api/run", Some(&token), &wish).await;
    let run = answer.json()["executionId"].as_str().expect("an id").to_owned();
    app.settle().await;
    app.finish().await;

    let all = spans(&collector);
    let of_it = whole(&all, &run.replace('-', ""));
    assert_eq!(parent_of(&of_it, "run build"), "receive api");
    let of_run = of_it.iter().find(|span| span.name == "run build").expect("seen above");
    let phase = of_it.iter().find(|span| span.name == "phase fails").expect("it ran");
    assert!(of_run.failed && phase.failed);
    assert_eq!(phase.facts["process.exit.code"], "3");
    assert_eq!(of_run.facts["cicd.pipeline.result"], "failure");
}

#[actix_rt::test]
async fn the_deliveries_of_an_integration_event_are_one_trace() {
    let (_overlay, collector, app) = traced(PLAIN, "").await;
    let token = app.login().await;
    let places = Receiver::start().await;
    let one = [
        Does::Answers(503, "", String::new()),
        Does::Answers(200, "", String::new()),
    ];
    places.at("/one", one.to_vec());
    for path in ["/one", "/two"] {
        let hook = json!({ "url": places.url(path), "events": ["session.start"] });
        let answer = app.post("/api/integrations/webhooks", Some(&token), &hook).await;
        assert!(answer.status < 300, "{}", answer.text);
    }
    let event = json!({ "eventName": "session.start", "payload": { "note": CANARY } });
    let answer = app.post("/api/integrations/emit", Some(&token), &event).await;
    assert_eq!(answer.json()["sent"], 2, "{}", answer.text);
    app.settle().await;
    app.finish().await;

    let all = spans(&collector);
    let traces: BTreeSet<&str> = all.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces.len(), 1, "{all:#?}");
    let of_it = whole(&all, traces.first().expect("one"));
    let mut statuses: Vec<_> = of_it
        .iter()
        .filter(|span| span.name == "webhook.delivery")
        .map(|span| span.facts["http.response.status_code"].as_str())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["200", "200", "503"]);
    for got in collector.got_at(PATH) {
        assert!(!String::from_utf8_lossy(&got.body).contains(CANARY));
    }
}

#[actix_rt::test]
async fn what_is_not_sampled_is_absent_whole() {
    let (_overlay, collector, app) = traced(PLAIN, "    sample_ratio: 0\n").await;
    app.accept("issues", &issue("opened", 7, "It broke")).await;
    app.settle().await;
    app.finish().await;
    assert!(collector.got().is_empty(), "{:?}", names(&spans(&collector)));
}

/// The endpoint, and what the last lines of the log say of it.
async fn with_a_bad_collector(endpoint: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!("telemetry:\n  otlp:\n    endpoint: {endpoint}\n    timeout: 1s\n");
    std::fs::write(folder.path().join("firstlight.yaml"), settings).expect("written");
    let env: BTreeMap<String, String> = [
        ("WEBHOOK_SECRET", SECRET),
        ("ADMIN_PASSWORD", PASSWORD),
        ("MANAGED_REPOS", "acme/*"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let served = Served::start(folder.path(), &env);
    let client = awc::Client::default();
    for number in 1..=50 {
        let body = issue("opened", number, "It broke").to_string();
        let delivery = Delivery::signed("issues", &format!("d-{number}"), body);
        let mut request = client.post(format!("http://{}/webhooks/github", served.address));
        for (name, value) in &delivery.headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        assert_eq!(request.send_body(delivery.body).await.expect("an answer").status(), 202);
    }
    let (status, lines) = served.terminate();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    let app = TestApp::on(
        folder,
        &[("GITHUB_TOKEN", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)],
    )
    .await;
    app.settle().await;
    assert_eq!(app.all("/admin/api/events?limit=200", "events").await.len(), 50);
    for run in app.all("/admin/api/workflow-runs?limit=200", "workflowRuns").await {
        assert_eq!(run["status"], "succeeded", "{run}");
    }
    app.finish().await;
    let said = lines.iter().filter_map(|line| line["message"].as_str());
    said.filter(|message| message.contains("trace"))
        .map(str::to_owned)
        .collect()
}

#[actix_rt::test]
async fn an_unreachable_collector_stops_nothing_and_is_said_once() {
    // Bound and let go: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = nobody.local_addr().expect("bound").port();
    drop(nobody);
    let said = with_a_bad_collector(&format!("http://127.0.0.1:{port}")).await;
    let complaints = said.iter().filter(|line| line.contains("takes no traces")).count();
    assert_eq!(complaints, 1, "{said:?}");
}

#[actix_rt::test]
async fn a_collector_that_hangs_stops_nothing() {
    let collector = Receiver::start().await;
    collector.at(PATH, vec![Does::Hangs]);
    let said = with_a_bad_collector(&collector.url("")).await;
    let complaints = said.iter().filter(|line| line.contains("takes no traces")).count();
    assert!(complaints <= 1, "{said:?}");
}

#[actix_rt::test]
async fn a_collector_that_comes_back_gets_what_waited() {
    let collector = Receiver::start().await;
    let bad = vec![
        Does::Answers(400, "", String::new()),
        Does::Answers(200, "", String::new()),
    ];
    collector.at(PATH, bad);
    let settings = format!("telemetry:\n  otlp:\n    endpoint: {}\n", collector.url(""));
    let app = TestApp::start_with(&[], &settings).await;
    let id = app.accept("issues", &issue("opened", 7, "It broke")).await;
    app.settle().await;
    collector.until(|collector| !collector.got_at(PATH).is_empty()).await;
    app.finish().await;
    let got = collector.got_at(PATH);
    assert!(got.len() >= 2 && got[0].body == got[1].body, "the same once more");
    // What was refused is counted once.
    let mut all = spans(&collector);
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all.dedup_by(|one, other| one.id == other.id);
    whole(&all, &actors::domain::TraceId::of(&id).to_string());
}
