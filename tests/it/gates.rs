//! Questions of paused runs: who may answer, how many must, by when, and for which commit. Knows no HTTP.

use std::time::Duration;

use actors::clock::{Clock, SystemClock};
use actors::connectors::EnvelopeSink;
use actors::domain::{
    ApprovalStatus, BodyFormat, Decided, Decision, Effect, EventEnvelope, EventType, NewEvent, PhaseStatus, RawBody,
    ReplyTo, RunId, RunRecord, RunStatus, Source,
};
use serde_json::{Value, json};

use crate::support::clock::ManualClock;
use crate::support::inside::{As, Inside};

/// A length of time as a definition keeps it.
fn length(seconds: u64) -> Value {
    json!({ "secs": seconds, "nanos": 0 })
}

fn asks(policy: Value) -> Value {
    json!([
        {"name": "plan", "label": "Plan", "kind": "script", "run": "echo the plan"},
        {"name": "ship", "label": "Ship", "kind": "approval", "message": "Ship ${plan.output}?",
         "approval": {"gate": "ship"}, "gate_policy": policy},
        {"name": "done", "label": "Done", "kind": "script", "run": "echo shipped"},
    ])
}

fn statuses(run: &RunRecord) -> Vec<String> {
    run.phases
        .iter()
        .map(|row| format!("{} {}", row.phase, row.status))
        .collect()
}

fn bodies(effects: &[actors::domain::StoredEffect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match &effect.effect {
            Effect::GithubComment { body, .. } => Some(body.clone()),
            _ => None,
        })
        .collect()
}

/// Waits until a run is no longer what it was.
async fn leaves(house: &Inside, run: RunId, status: RunStatus) -> RunRecord {
    loop {
        let record = house.load(run).await;
        if record.summary.status != status {
            return record;
        }
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn an_approval_phase_asks_whatever_gates_are_enabled_and_waits_for_enough_people() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |_| {}).await;
    let policy = json!({"not_requester": true, "approvals": 2});
    let run = house.open(asks(policy), json!({})).await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(record.summary.status, RunStatus::Paused);
    assert_eq!(statuses(&record), ["plan succeeded", "ship waiting_approval"]);
    let question = house.question().await;
    assert_eq!(
        (question.summary.as_str(), question.gate.as_str()),
        ("Ship the plan?", "ship")
    );
    assert_eq!(question.shown.map(|digest| digest.len()), Some(64));
    let comment = bodies(&house.effects(run).await).pop().expect("the question");
    assert!(
        comment.contains("Not ann, who asked for this run. 2 people have to approve."),
        "{comment}"
    );

    let refused = house.answer(question.id, "ann", Decision::Approved, None).await;
    assert!(matches!(refused, Decided::Refused(_)), "{refused:?}");
    assert_eq!(
        house.answer(question.id, "bob", Decision::Approved, None).await,
        Decided::Voted { have: 1, need: 2 }
    );
    house.settle().await;
    assert_eq!(house.load(run).await.summary.status, RunStatus::Paused);
    let counted = house.answer(question.id, "carol", Decision::Approved, None).await;
    assert_eq!(counted, Decided::Counted { run });
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert_eq!(
        statuses(&record),
        ["plan succeeded", "ship succeeded", "done succeeded"]
    );
    house.finish().await;
}

#[actix::test]
async fn an_answer_in_words_is_the_output_of_the_phase_that_asked() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |_| {}).await;
    let phases = json!([
        {"name": "ask", "label": "Colour", "kind": "approval", "message": "Which colour?",
         "approval": {"gate": "colour", "kind": "reply"}},
        {"name": "paint", "label": "", "kind": "script", "run": "printf '%s' \"$COLOUR\"", "env": {"COLOUR": "${ask.output}"}},
    ]);
    let run = house.open(phases, json!({})).await;
    house.settle().await;
    let question = house.question().await;
    house
        .answer(question.id, "bob", Decision::Approved, Some("$(blue)"))
        .await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(record.phases[1].output.as_deref(), Some("$(blue)"), "{record:?}");
    house.finish().await;
}

#[actix::test]
async fn a_rejection_fails_the_run_with_who_and_why() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |_| {}).await;
    let run = house.open(asks(json!({"approvals": 3})), json!({})).await;
    house.settle().await;
    let question = house.question().await;
    house
        .answer(question.id, "bob", Decision::Rejected, Some("too risky"))
        .await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        (record.summary.status, record.summary.error.as_deref()),
        (RunStatus::Failed, Some("Rejected by bob: too risky"))
    );
    assert_eq!(statuses(&record), ["plan succeeded", "ship failed"]);
    house.finish().await;
}

#[actix::test]
async fn nobody_answers_so_it_is_told_once_and_then_decided_by_default() {
    let clock = ManualClock::new();
    let house = Inside::start(std::sync::Arc::new(clock.clone()), As::Nobody, |_| {}).await;
    let policy = json!({"deadline": length(50), "on_deadline": "approved", "escalate_after": length(20), "escalate_message": "Please, about {{runId}}"});
    let run = house.open(asks(policy), json!({})).await;
    house.settle().await;
    assert_eq!(house.load(run).await.summary.status, RunStatus::Paused);
    let asked = house.effects(run).await.len();

    clock.pass(Duration::from_secs(20)).await;
    while house.effects(run).await.len() == asked {
        tokio::task::yield_now().await;
    }
    let told: Vec<_> = house
        .effects(run)
        .await
        .split_off(asked)
        .into_iter()
        .map(|effect| effect.effect)
        .collect();
    let please = format!("Please, about {run}");
    assert!(
        matches!(&told[0], Effect::GithubComment { body, .. } if *body == please),
        "{told:?}"
    );
    assert!(
        matches!(&told[1], Effect::Notice { text, .. } if text.contains(&please)),
        "{told:?}"
    );

    clock.pass(Duration::from_secs(30)).await;
    let record = leaves(&house, run, RunStatus::Paused).await;
    assert!(record.summary.status != RunStatus::Failed, "{record:?}");
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        statuses(&record),
        ["plan succeeded", "ship succeeded", "done succeeded"]
    );
    let said = bodies(&house.effects(run).await);
    assert!(
        said.last().is_some_and(
            |words| words.starts_with("No answer to \"ship\" by") && words.ends_with("approved by default.")
        ),
        "{said:?}"
    );
    house.finish().await;
}

#[actix::test]
async fn a_deadline_that_passed_while_nobody_was_there_is_kept_at_the_next_start() {
    let clock = ManualClock::new();
    let house = Inside::start(std::sync::Arc::new(clock.clone()), As::Nobody, |_| {}).await;
    let run = house.open(asks(json!({"deadline": length(3_600)})), json!({})).await;
    house.settle().await;
    let question = house.question().await;
    let house = house.restart(|| clock.advance(Duration::from_secs(3_600))).await;
    let record = leaves(&house, run, RunStatus::Paused).await;
    assert_eq!(record.summary.status, RunStatus::Failed);
    let error = record.summary.error.expect("a reason");
    assert!(
        error.starts_with("Rejected by deadline: no answer by 2026-01-02 04:04 UTC"),
        "{error}"
    );
    let late = house.answer(question.id, "bob", Decision::Approved, None).await;
    assert_eq!(late, Decided::Already(ApprovalStatus::Rejected));
    house.finish().await;
}

#[actix::test]
async fn new_commits_make_the_question_lapse_and_it_is_asked_anew_for_them() {
    let house = Inside::start(SystemClock::shared(), As::Token, |_| {}).await;
    for _ in 1..7 {
        house.github.opens_issue("acme/site", "filler", "");
    }
    let number = house
        .github
        .opens_pull("acme/site", "Change", "", "change", "aaaaaaaaaaaaaaaa");
    assert_eq!(number, 7);
    let run = house.open(asks(json!({})), json!({"prNumber": 7})).await;
    house.settle().await;
    let first = house.question().await;
    assert_eq!(first.head_sha.as_deref(), Some("aaaaaaaaaaaaaaaa"));

    house.github.pushes("acme/site", 7, "bbbbbbbbbbbbbbbb");
    synchronize(&house.system.sink().sink_here(), "d-1").await;
    house.settle().await;
    let lapsed = house.approval(first.id).await;
    assert_eq!(
        (lapsed.status, lapsed.response.as_deref()),
        (ApprovalStatus::Lapsed, Some("new commits were pushed"))
    );
    let late = house.answer(first.id, "bob", Decision::Approved, None).await;
    assert_eq!(late, Decided::Already(ApprovalStatus::Lapsed));
    let second = house.question().await;
    assert_eq!(second.head_sha.as_deref(), Some("bbbbbbbbbbbbbbbb"));
    assert_ne!(second.shown, first.shown);
    let record = house.load(run).await;
    assert_eq!(
        statuses(&record),
        ["plan succeeded", "ship waiting_approval"],
        "nothing is done twice"
    );
    let comments = house.github.comments("acme/site", 7);
    let last = &comments.last().expect("the question").body;
    assert!(
        last.starts_with("The question before has lapsed: new commits were pushed."),
        "{last}"
    );
    assert!(last.contains("commit bbbbbbbbbbbb"), "{last}");

    house.answer(second.id, "bob", Decision::Approved, None).await;
    house.settle().await;
    assert_eq!(house.load(run).await.summary.status, RunStatus::Succeeded);
    house.finish().await;
}

async fn synchronize(sink: &EnvelopeSink, id: &str) {
    let event = NewEvent {
        envelope: EventEnvelope {
            id: id.parse().expect("valid"),
            source: Source::Github,
            kind: EventType::PrSynchronize,
            repo: Some("acme/site".parse().expect("valid")),
            issue_number: Some(7),
            pr_number: Some(7),
            sender: "ann".into(),
            sender_id: None,
            sender_is_bot: false,
            body: String::new(),
            title: Some("Change".into()),
            labels: None,
            author_association: None,
            reply_to: ReplyTo::IssueComment {
                repo: "acme/site".parse().expect("valid"),
                number: 7,
                comment_id: None,
            },
            timestamp: SystemClock.now(),
        },
        raw: RawBody::keep(BodyFormat::Json, b"{}"),
    };
    sink.take(event).await.expect("taken");
}

#[actix::test]
async fn notices_and_events_of_phases_wait_in_the_outbox_once() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |_| {}).await;
    let phases = json!([
        {"name": "tell", "label": "", "kind": "notify", "message": "#{{issueNumber}}: {{title}}",
         "notify": {"channel": "slack", "priority": "high"}},
        {"name": "say", "label": "", "kind": "emit",
         "emit": {"event": "task.completed", "payload": {"title": "{{title}}", "n": 1}}},
    ]);
    let run = house.open(phases, json!({"title": "It \"broke\""})).await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert!(record.phases.iter().all(|row| row.status == PhaseStatus::Succeeded));
    assert_eq!(
        record.phases[1].output.as_deref(),
        Some(r#"{"title":"It \"broke\"","n":1}"#)
    );
    let effects: Vec<_> = house
        .effects(run)
        .await
        .into_iter()
        .map(|e| (e.key.to_string(), e.effect))
        .collect();
    assert!(
        matches!(&effects[0], (key, Effect::Notification { message, .. }) if *key == format!("run:{run}/tell/1/notify") && message == "#7: It \"broke\""),
        "{effects:?}"
    );
    assert!(
        matches!(&effects[1], (key, Effect::IntegrationEvent { payload, .. }) if *key == format!("run:{run}/say/1/emit") && payload["title"] == "It \"broke\""),
        "{effects:?}"
    );
    house.finish().await;
}
