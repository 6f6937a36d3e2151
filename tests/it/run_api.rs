//! The API of runs: logs in part and as they grow, retries, answers by the rules of a gate. Through HTTP alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::clock::ManualClock;
use crate::support::payloads::comment;

/// A service whose `build` is this.
async fn app(build: &str) -> (tempfile::TempDir, TestApp) {
    let overlay = tempfile::tempdir().expect("a folder");
    let workflows = overlay.path().join("workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    std::fs::write(workflows.join("build.yaml"), format!("name: build\n{build}")).expect("written");
    let settings = format!(
        "workflows:\n  overlay: {}\napprovals:\n  gates: [post_plan]\n",
        overlay.path().display()
    );
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], &settings).await;
    (overlay, app)
}

/// Starts it for acme/site#1.
async fn start(app: &TestApp, token: &str) -> String {
    let wish = json!({ "workflow": "build", "context": { "repo": "acme/site", "issueNumber": 1, "title": "x" } });
    let answer = app.post("/api/run", Some(token), &wish).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["executionId"].as_str().expect("an id").to_owned()
}

/// The events of a stream: name, id, data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim_start_matches(": ").to_owned()
    };
    text.split("\n\n")
        .filter(|block| block.starts_with("event"))
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data")).expect("JSON");
            (field(block, "event"), field(block, "id"), data)
        })
        .collect()
}

#[actix_rt::test]
async fn a_log_is_read_whole_in_part_and_from_its_end() {
    let (_overlay, app) = app(
        "phases:\n  - name: say\n    type: script\n    run: printf '0123456789'\n  - name: mark\n    type: context\n",
    )
    .await;
    let token = app.login().await;
    let run = start(&app, &token).await;
    app.settle().await;
    let path = format!("/admin/api/workflow-runs/{run}/phases/say/log");
    for (query, expected, next) in [
        ("", "0123456789", "10"),
        ("?offset=4", "456789", "10"),
        ("?offset=4&limit=2", "45", "6"),
        ("?offset=99", "", "10"),
        ("?tail=3", "789", "10"),
        ("?tail=300", "0123456789", "10"),
    ] {
        let answer = app.get(&format!("{path}{query}"), Some(&token)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, expected), "{query}");
        assert_eq!(answer.headers["x-log-size"], "10");
        assert_eq!(answer.headers["x-log-next"], next, "{query}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let silent = app.get(&path.replace("say", "mark"), Some(&token)).await;
    assert_eq!(
        (silent.status, silent.text.as_str()),
        (200, ""),
        "a phase without a process has an empty log"
    );
    for path in [
        path.replace("say", "nobody"),
        path.replace("say", "..%2F..%2Ffirstlight.db"),
        path.replace(&run, "..%2F.."),
        path.replace(&run, "01890000-0000-7000-8000-000000000000"),
    ] {
        assert_eq!(app.get(&path, Some(&token)).await.status, 404, "{path}");
    }
    assert_eq!(app.get(&path, None).await.status, 401);
    app.finish().await;
}

#[actix_rt::test]
async fn a_log_is_followed_while_it_grows_until_its_phase_is_over() {
    let gate = tempfile::tempdir().expect("a folder");
    let go = gate.path().join("go");
    let build = format!(
        "phases:\n  - name: say\n    type: script\n    run: |\n      printf 'first \\303'\n      while [ ! -e {} ]; do sleep 0.02; done\n      printf '\\244 last\\377'\n",
        go.display()
    );
    let (_overlay, app) = app(&build).await;
    let token = app.login().await;
    let run = start(&app, &token).await;
    let path = format!("/admin/api/workflow-runs/{run}/phases/say/log");
    let stream = format!("{path}/stream");
    let opens_the_gate = async {
        while app.get(&path, Some(&token)).await.text.is_empty() {
            tokio::task::yield_now().await;
        }
        std::fs::write(&go, "").expect("written");
    };
    let (answer, ()) = futures_util::future::join(app.get(&stream, Some(&token)), opens_the_gate).await;
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (200, "text/event-stream")
    );
    let said = events(&answer.text);
    let text: String = said
        .iter()
        .filter(|(event, ..)| event == "log")
        .filter_map(|(_, _, data)| data.as_str())
        .collect();
    assert_eq!(
        text, "first ä last\u{fffd}",
        "no character is cut in two, and what is none is shown as such"
    );
    let (event, id, data) = said.last().expect("an end");
    assert_eq!(
        (event.as_str(), id.as_str(), data),
        ("end", "14", &json!({ "status": "succeeded" }))
    );
    // Where it broke off it goes on.
    let again = app.get_with(&stream, Some(&token), &[("last-event-id", "6")]).await;
    assert_eq!(events(&again.text)[0].2, json!("ä last\u{fffd}"));
    let asked = app
        .get_with(&path, Some(&token), &[("accept", "text/event-stream")])
        .await;
    assert_eq!(events(&asked.text).len(), 2);
    let bad = app.get_with(&stream, Some(&token), &[("last-event-id", "x")]).await;
    assert_eq!(bad.status, 400);
    let ranged = app.get_with(&path, Some(&token), &[("range", "bytes=0-4")]).await;
    assert_eq!((ranged.status, ranged.text.as_str()), (206, "first"));
    assert_eq!(ranged.headers["content-range"], "bytes 0-4/14");
    let beyond = app.get_with(&path, Some(&token), &[("range", "bytes=99-")]).await;
    assert_eq!(
        (beyond.status, beyond.headers["content-range"].as_str()),
        (416, "bytes */14")
    );
    app.finish().await;
}

#[actix_rt::test]
async fn a_run_is_retried_from_its_beginning_or_from_a_phase_once_per_key() {
    let build = "phases:\n  - name: a\n    type: script\n    run: echo x >> times; cat times\n  - name: b\n    type: script\n    run: '[ -e fixed ] || { touch fixed; exit 3; }; cat times'\n    env: {SAW: \"${a.output}\"}\n";
    let (_overlay, app) = app(build).await;
    let token = app.login().await;
    let first = start(&app, &token).await;
    app.settle().await;
    assert_eq!(app.run(&first).await["status"], "failed");
    let path = format!("/admin/api/workflow-runs/{first}/retry");
    let key = [("idempotency-key", "retry-1")];
    let from = json!({ "from": "b" });
    let one = app.post_with(&path, Some(&token), &key, &from).await;
    let two = app.post_with(&path, Some(&token), &key, &from).await;
    assert_eq!((one.status, &one.json()["retryOf"]), (202, &json!(first)));
    assert_eq!(one.text, two.text, "one key, one run");
    app.settle().await;
    let second = app.run(one.json()["executionId"].as_str().expect("an id")).await;
    assert_eq!(second["status"], "succeeded", "{second}");
    assert_eq!(second["phases"][0]["output"], "x\n", "what was done is not done again");
    assert_eq!(second["phases"][1]["output"], "x\n", "and its folder is the same");
    assert_eq!(
        (&second["context"]["_retryOf"], &second["cause"]["who"]),
        (&json!(first), &json!("admin"))
    );

    let whole = app.post(&path, Some(&token), &json!({})).await;
    app.settle().await;
    let third = app.run(whole.json()["executionId"].as_str().expect("an id")).await;
    assert_eq!(
        (&third["status"], &third["phases"][0]["output"]),
        (&json!("failed"), &json!("x\n")),
        "a folder of its own"
    );
    assert_eq!(app.runs().await.len(), 3);

    for (id, body, status, words) in [
        (
            first.as_str(),
            json!({ "from": "c" }),
            400,
            "the run's workflow has no phase \"c\"; it has: a, b",
        ),
        (
            first.as_str(),
            json!({ "form": "b" }),
            400,
            "Invalid JSON: unknown field `form`, expected `from` at line 1 column 7",
        ),
        ("x", json!({}), 404, "workflow run not found"),
        (
            "01890000-0000-7000-8000-000000000000",
            json!({}),
            404,
            "workflow run not found",
        ),
    ] {
        let refused = app
            .post(&format!("/admin/api/workflow-runs/{id}/retry"), Some(&token), &body)
            .await;
        assert_eq!((refused.status, refused.json()), (status, json!({ "error": words })));
    }
    app.finish().await;
}

const GATED: &str = concat!(
    "phases:\n",
    "  - name: plan\n    type: script\n    run: echo the plan\n    approval_gate: post_plan\n",
    "    approval_gate_message: Go on?\n",
    "  - name: do\n    type: script\n    run: echo done\n",
);

#[actix_rt::test]
async fn of_many_answers_at_the_same_instant_one_resumes_the_run() {
    let (_overlay, app) = app(GATED).await;
    let token = app.login().await;
    let run = start(&app, &token).await;
    app.settle().await;
    let live = app
        .post(
            &format!("/admin/api/workflow-runs/{run}/retry"),
            Some(&token),
            &json!({}),
        )
        .await;
    assert_eq!(
        (live.status, live.json()),
        (400, json!({ "error": "cannot retry a run with status 'paused'" }))
    );
    let open = app.read("/admin/api/approvals").await["approvals"][0].clone();
    let shown = app
        .read(&format!("/admin/api/approvals/{}", open["id"].as_str().expect("an id")))
        .await["approval"]
        .clone();
    assert_eq!(
        (
            &shown["summary"],
            &shown["output"],
            &shown["rules"]["notRequester"],
            &shown["votes"]
        ),
        (&json!("Go on?"), &json!("the plan\n"), &json!(false), &json!([])),
        "{shown}"
    );
    let path = format!("/admin/api/approvals/{}/respond", open["id"].as_str().expect("an id"));
    let stale = app
        .post(&path, Some(&token), &json!({ "decision": "approved", "shown": "00" }))
        .await;
    assert_eq!(
        (stale.status, stale.json()),
        (
            403,
            json!({ "error": "what was shown has changed; look at it again, then answer" })
        )
    );
    let answers: Vec<Value> = (0..24)
        .map(|n| json!({ "decision": if n % 2 == 0 { "approved" } else { "rejected" }, "shown": shown["shown"] }))
        .collect();
    let answered = join_all(answers.iter().map(|answer| app.post(&path, Some(&token), answer))).await;
    let counted: Vec<_> = answered.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(counted.len(), 1);
    let word = counted[0].json()["status"].clone();
    assert!(answered.iter().filter(|answer| answer.status != 200).all(|answer| {
        answer.status == 400
            && answer.json()["error"] == json!(format!("already {}", word.as_str().unwrap_or_default()))
    }));
    app.settle().await;
    let run = app.run(&run).await;
    let expected = if word == "approved" { "succeeded" } else { "failed" };
    assert_eq!(run["status"], expected);
    assert!(
        run["phases"].as_array().expect("a list").len() <= 2,
        "nothing ran twice: {run}"
    );
    app.finish().await;
}

#[actix_rt::test]
async fn an_answer_after_a_cancel_is_refused_clearly() {
    let (_overlay, app) = app(GATED).await;
    app.github.opens_issue("acme/site", "x", "");
    let id = app
        .accept("issue_comment", &comment(1, "OWNER", "@last-light build"))
        .await;
    app.settle().await;
    let run = app.event(&id).await["runId"].as_str().expect("a run").to_owned();
    let open = app.read("/admin/api/approvals").await["approvals"][0].clone();
    let token = app.login().await;
    let cancelled = app
        .post(
            &format!("/admin/api/workflow-runs/{run}/cancel"),
            Some(&token),
            &json!({}),
        )
        .await;
    assert_eq!(cancelled.status, 200);
    let path = format!("/admin/api/approvals/{}/respond", open["id"].as_str().expect("an id"));
    let late = app.post(&path, Some(&token), &json!({ "decision": "approved" })).await;
    assert_eq!((late.status, late.json()), (400, json!({ "error": "already lapsed" })));
    for (query, expected) in [
        ("", 0),
        ("?status=pending", 0),
        ("?status=lapsed", 1),
        ("?status=all&limit=1", 1),
        (&format!("?run={run}"), 1),
        ("?run=01890000-0000-7000-8000-000000000000", 0),
    ] {
        let list = app.read(&format!("/admin/api/approvals{query}")).await;
        assert_eq!(
            list["approvals"].as_array().map(Vec::len),
            Some(expected),
            "{query}: {list}"
        );
    }
    assert_eq!(
        app.get("/admin/api/approvals?status=odd", Some(&token)).await.status,
        400
    );
    assert_eq!(app.run(&run).await["status"], "cancelled");
    app.finish().await;
}

#[actix_rt::test]
async fn who_may_answer_is_judged_alike_for_comments_and_the_api() {
    let build = concat!(
        "phases:\n",
        "  - name: ask\n    type: approval\n    gate: ship\n    message: Ship it?\n",
        "    gate_policy: {logins: [ann, ben, carol], not_requester: true, approvals: 2}\n",
        "  - name: do\n    type: script\n    run: echo done\n",
    );
    let (_overlay, app) = app(build).await;
    // With a token after all: what is said to people is what this is about.
    let app = app.restart_with(&[("GITHUB_TOKEN", "stand-in-personal-token")]).await;
    app.github.opens_issue("acme/site", "x", "");
    let says = async |who: &str, association: &str, words: &str| {
        let mut payload = comment(1, association, words);
        payload["sender"]["login"] = json!(who);
        payload["comment"]["user"]["login"] = json!(who);
        let id = app.accept("issue_comment", &payload).await;
        app.settle().await;
        (id, app.github.comments("acme/site", 1).pop().expect("an answer").body)
    };
    let (id, question) = says("ann", "OWNER", "@last-light build").await;
    assert!(
        question.contains("May answer: ann, ben, carol. Not ann, who asked for this run. 2 people have to approve."),
        "{question}"
    );
    let run = app.event(&id).await["runId"].as_str().expect("a run").to_owned();
    let open = app.read("/admin/api/approvals").await["approvals"][0].clone();
    let path = format!("/admin/api/approvals/{}/respond", open["id"].as_str().expect("an id"));
    let token = app.login().await;
    let stranger = app.post(&path, Some(&token), &json!({ "decision": "approved" })).await;
    assert_eq!(
        (stranger.status, stranger.json()),
        (
            403,
            json!({ "error": "admin may not answer this; ann, ben, carol may" })
        )
    );
    for (who, association, expected) in [
        (
            "eve",
            "MEMBER",
            "That does not count: eve may not answer this; ann, ben, carol may.",
        ),
        (
            "ann",
            "OWNER",
            "That does not count: ann asked for this run, and somebody else has to answer.",
        ),
        // Named in the rules, so that the standing in the repository does not matter.
        ("ben", "NONE", "Noted: 1 of 2 have approved."),
        (
            "ben",
            "NONE",
            "That does not count: ben has approved already; 1 of 2 have.",
        ),
    ] {
        let (_, said) = says(who, association, "@last-light approve").await;
        assert!(said.contains(expected), "{who}: {said}");
        assert_eq!(app.run(&run).await["status"], "paused");
    }
    let shown = app.read(path.trim_end_matches("/respond")).await["approval"].clone();
    assert_eq!(shown["votes"][0]["name"], "ben", "{shown}");
    let (_, said) = says("carol", "NONE", "@last-light approve").await;
    assert!(said.contains("Approved by @carol."), "{said}");
    assert_eq!(app.run(&run).await["status"], "succeeded");
    app.finish().await;
}

#[actix_rt::test]
async fn where_words_are_asked_for_a_stranger_is_told_once_and_the_right_one_is_heard() {
    let build = concat!(
        "phases:\n",
        "  - name: ask\n    type: approval\n    gate: colour\n    gate_kind: reply\n    message: Which colour?\n",
        "    gate_policy: {logins: [ben]}\n",
        "  - name: paint\n    type: reply\n    message: \"Painted ${ask.output}.\"\n",
    );
    let (_overlay, app) = app(build).await;
    let app = app.restart_with(&[("GITHUB_TOKEN", "stand-in-personal-token")]).await;
    app.github.opens_issue("acme/site", "x", "");
    let says = async |who: &str, words: &str| {
        let mut payload = comment(1, "NONE", words);
        payload["sender"]["login"] = json!(who);
        app.accept("issue_comment", &payload).await;
        app.settle().await;
        app.github.comments("acme/site", 1).len()
    };
    app.accept("issue_comment", &comment(1, "OWNER", "@last-light build"))
        .await;
    app.settle().await;
    let asked = app.github.comments("acme/site", 1).len();
    assert_eq!(says("eve", "red").await, asked + 1, "told why");
    assert_eq!(says("Eve", "red, I said").await, asked + 1, "and told once");
    says("ben", "blue").await;
    let last = app.github.comments("acme/site", 1).pop().expect("an answer").body;
    assert!(last.contains("Painted blue."), "{last}");
    app.finish().await;
}

#[actix_rt::test]
async fn a_key_that_was_forgotten_starts_a_new_run_when_it_is_used_again() {
    let clock = ManualClock::new();
    let app = TestApp::start_by(Arc::new(clock.clone()), &[("GITHUB_TOKEN", "")], "").await;
    let key = [("idempotency-key", "monday")];
    let wish = json!({ "workflow": "repo-health", "context": { "repo": "acme/site" } });
    let starts = async || {
        let token = app.login().await;
        let answer = app.post_with("/api/run", Some(&token), &key, &wish).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        app.settle().await;
        answer.json()["executionId"].as_str().expect("an id").to_owned()
    };
    let first = starts().await;
    assert_eq!(starts().await, first, "the same day it is a repetition");
    clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    let second = starts().await;
    assert_ne!(second, first);
    let token = app.login().await;
    let run = format!("/admin/api/workflow-runs/{second}");
    assert_eq!(app.get(&run, Some(&token)).await.status, 200);
    app.finish().await;
}
