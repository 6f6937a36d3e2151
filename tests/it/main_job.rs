//! The main job from end to end: an event becomes a run becomes a reply; and the other doors to a run. Knows the outside only.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::payloads::{comment, issue, pull_request};

#[actix_rt::test]
async fn an_opened_issue_is_triaged_and_answered_once() {
    let app = TestApp::start().await;
    app.github.opens_issue("acme/site", "It broke", "It fails on Tuesdays.");
    let id = app.accept("issues", &issue("opened", 1, "It broke")).await;
    app.settle().await;

    let event = app.event(&id).await;
    assert_eq!(
        (&event["state"], &event["outcome"]),
        (&json!("settled"), &json!("routed to issue-triage"))
    );
    let run = app.run(event["runId"].as_str().expect("a run")).await;
    assert_eq!(
        (&run["workflow"], &run["status"]),
        (&json!("issue-triage"), &json!("succeeded"))
    );
    assert_eq!(run["context"]["_triggerType"], "webhook");
    assert_eq!(run["subject"], "acme/site#1");
    let phases = run["phases"].as_array().expect("a list");
    assert!(phases.len() >= 2, "{phases:?}");
    assert!(
        phases.iter().any(|phase| phase["status"] == "skipped"
            && phase["reason"].as_str().is_some_and(|r| r.contains("runtimes.default"))),
        "{phases:?}"
    );

    let comments = app.github.comments("acme/site", 1);
    assert_eq!(comments.len(), 1);
    assert!(comments[0].body.contains("It broke"), "{}", comments[0].body);
    let effects = run["effects"].as_array().expect("a list");
    assert!(effects.iter().all(|effect| effect["state"] == "done"), "{effects:?}");
    let posted: Vec<_> = effects
        .iter()
        .filter(|effect| effect["kind"] == "github.comment")
        .collect();
    assert_eq!((posted.len(), &posted[0]["result"]), (1, &json!(comments[0].html_url)));
    app.finish().await;
}

#[actix_rt::test]
async fn every_default_route_leads_to_a_run_that_succeeds_and_answers() {
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], "").await;
    let table: Vec<(&str, Value, &str)> = vec![
        ("issues", issue("opened", 1, "a"), "issue-triage"),
        ("issues", issue("reopened", 1, "b"), "issue-triage"),
        ("pull_request", pull_request("opened", 1, "c"), "pr-review"),
        ("pull_request", pull_request("synchronize", 1, "d"), "pr-review"),
        ("issue_comment", comment(1, "OWNER", "@last-light build"), "build"),
        ("issue_comment", comment(1, "OWNER", "@last-light explore"), "explore"),
        (
            "issue_comment",
            comment(1, "OWNER", "@last-light security-review"),
            "security-review",
        ),
        (
            "issue_comment",
            comment(1, "OWNER", "@last-light why is that?"),
            "issue-comment",
        ),
        (
            "issue_comment",
            comment(1, "OWNER", "@last-light run repo-health"),
            "repo-health",
        ),
    ];
    // Without credentials: at GitHub, what one installation writes is a second apart.
    for (event, payload, workflow) in &table {
        let id = app.accept(event, payload).await;
        app.settle().await;
        let event = app.event(&id).await;
        let run = app
            .run(event["runId"].as_str().unwrap_or_else(|| panic!("{event}")))
            .await;
        assert_eq!(
            (&run["workflow"], &run["status"]),
            (&json!(workflow), &json!("succeeded")),
            "{run}"
        );
        let effects = run["effects"].as_array().expect("a list");
        let comments: Vec<_> = effects
            .iter()
            .filter(|effect| effect["kind"] == "github.comment")
            .collect();
        // A push says nothing new as long as no agent reads it.
        let expected = usize::from(event["type"] != "pr.synchronize");
        assert_eq!(comments.len(), expected, "{workflow}: {effects:?}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn a_command_that_is_nearly_one_is_answered_with_the_nearest() {
    let app = TestApp::start().await;
    app.github.opens_issue("acme/site", "x", "");
    app.accept("issue_comment", &comment(1, "MEMBER", "@last-light aprove"))
        .await;
    app.accept(
        "issue_comment",
        &comment(1, "MEMBER", "> @last-light approve\n\nI would not."),
    )
    .await;
    app.accept("issue_comment", &comment(1, "MEMBER", "@last-light approve"))
        .await;
    app.accept("issue_comment", &comment(1, "MEMBER", "@last-light run nonsense"))
        .await;
    app.settle().await;
    let said: Vec<String> = app
        .github
        .comments("acme/site", 1)
        .into_iter()
        .map(|comment| comment.body)
        .collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("approve`?"), "{}", said[0]);
    assert!(said[1].contains("No pending approval found."), "{}", said[1]);
    assert!(
        said[2].contains("unknown workflow") && said[2].contains("issue-triage"),
        "{}",
        said[2]
    );
    app.finish().await;
}

#[actix_rt::test]
async fn without_credentials_the_reply_is_kept_as_undeliverable_and_nothing_fails() {
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], "").await;
    let id = app.accept("issues", &issue("opened", 1, "It broke")).await;
    app.settle().await;
    let run = app.run(app.event(&id).await["runId"].as_str().expect("a run")).await;
    assert_eq!(run["status"], "succeeded");
    let effects = run["effects"].as_array().expect("a list");
    let effect = effects
        .iter()
        .find(|effect| effect["kind"] == "github.comment")
        .expect("a reply");
    assert_eq!(effect["state"], "undeliverable");
    assert!(
        effect["lastError"].as_str().expect("a reason").contains("GITHUB_TOKEN"),
        "{effect}"
    );
    app.finish().await;
}

/// A workflow of our own with a gate, over the shipped ones.
fn gated(folder: &std::path::Path) -> String {
    let workflows = folder.join("workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    std::fs::write(
        workflows.join("build.yaml"),
        concat!(
            "name: build\nphases:\n",
            "  - name: plan\n    type: script\n    run: echo the plan\n    approval_gate: post_plan\n",
            "    approval_gate_message: \"Shall I go on with ${plan.output}?\"\n",
            "  - name: done\n    type: reply\n    message: \"Done after ${plan.output}.\"\n",
        ),
    )
    .expect("written");
    format!(
        "workflows:\n  overlay: {}\napprovals:\n  gates: [post_plan]\n",
        folder.display()
    )
}

#[actix_rt::test]
async fn a_gate_waits_for_a_maintainer_and_one_answer_resumes_the_run_once() {
    let overlay = tempfile::tempdir().expect("a folder");
    let app = TestApp::start_with(&[], &gated(overlay.path())).await;
    app.github.opens_issue("acme/site", "x", "");
    let id = app
        .accept("issue_comment", &comment(1, "OWNER", "@last-light build"))
        .await;
    app.settle().await;
    let run = app.event(&id).await["runId"].as_str().expect("a run").to_owned();
    assert_eq!(app.run(&run).await["status"], "paused");
    let approvals = app.read("/admin/api/approvals").await["approvals"].clone();
    assert_eq!(approvals.as_array().expect("a list").len(), 1, "{approvals}");

    // After a restart the question still stands.
    let app = app.restart().await;
    let approval = approvals[0]["id"].as_str().expect("an id");
    let path = format!("/admin/api/approvals/{approval}/respond");
    let token = app.login().await;
    let yes = json!({ "decision": "approved" });
    let (one, two) =
        futures_util::future::join(app.post(&path, Some(&token), &yes), app.post(&path, Some(&token), &yes)).await;
    let mut said = [(one.status, one.json()), (two.status, two.json())];
    said.sort_by_key(|(status, _)| *status);
    assert_eq!(said[0], (200, json!({ "status": "approved" })));
    assert_eq!(said[1], (400, json!({ "error": "already approved" })));
    app.settle().await;
    let run = app.run(&run).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let last = app.github.comments("acme/site", 1).pop().expect("an answer");
    assert!(last.body.contains("Done after the plan"), "{}", last.body);
    app.finish().await;
}

#[actix_rt::test]
async fn a_repeated_answer_under_one_idempotency_key_is_answered_alike() {
    let overlay = tempfile::tempdir().expect("a folder");
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], &gated(overlay.path())).await;
    app.accept("issue_comment", &comment(1, "OWNER", "@last-light build"))
        .await;
    app.settle().await;
    let approvals = app.read("/admin/api/approvals").await["approvals"].clone();
    let path = format!(
        "/admin/api/approvals/{}/respond",
        approvals[0]["id"].as_str().expect("an id")
    );
    let token = app.login().await;
    for _ in 0..2 {
        let key = [("idempotency-key", "answer-1")];
        let answer = app
            .post_with(&path, Some(&token), &key, &json!({ "decision": "approved" }))
            .await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "status": "approved" })));
    }
    let shown = app.read(path.trim_end_matches("/respond")).await["approval"].clone();
    assert_eq!(
        (&shown["status"], &shown["respondedBy"]),
        (&json!("approved"), &json!("admin")),
        "{shown}"
    );
    let late = app.post(&path, Some(&token), &json!({ "decision": "rejected" })).await;
    assert_eq!(
        (late.status, late.json()),
        (400, json!({ "error": "already approved" }))
    );
    app.finish().await;
}

#[actix_rt::test]
async fn a_run_is_cancelled_once() {
    let overlay = tempfile::tempdir().expect("a folder");
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], &gated(overlay.path())).await;
    let id = app
        .accept("issue_comment", &comment(1, "OWNER", "@last-light build"))
        .await;
    app.settle().await;
    let run = app.event(&id).await["runId"].as_str().expect("a run").to_owned();
    let path = format!("/admin/api/workflow-runs/{run}/cancel");
    let token = app.login().await;
    let cancelled = app.post(&path, Some(&token), &json!({})).await;
    assert_eq!(
        (cancelled.status, cancelled.json()),
        (200, json!({ "cancelled": run, "killedContainers": [] }))
    );
    let again = app.post(&path, Some(&token), &json!({})).await;
    assert_eq!(
        (again.status, again.json()),
        (400, json!({ "error": "cannot cancel a run with status 'cancelled'" }))
    );
    assert!(
        app.read("/admin/api/approvals").await["approvals"]
            .as_array()
            .expect("a list")
            .is_empty()
    );
    let unknown = app
        .post("/admin/api/workflow-runs/x/cancel", Some(&token), &json!({}))
        .await;
    assert_eq!(
        (unknown.status, unknown.json()),
        (404, json!({ "error": "workflow run not found" }))
    );
    app.finish().await;
}

#[actix_rt::test]
async fn a_gate_is_answered_by_a_comment_too_and_a_rejection_says_who_and_why() {
    let overlay = tempfile::tempdir().expect("a folder");
    let app = TestApp::start_with(&[], &gated(overlay.path())).await;
    app.github.opens_issue("acme/site", "x", "");
    let id = app
        .accept("issue_comment", &comment(1, "OWNER", "@last-light build"))
        .await;
    app.settle().await;
    app.accept("issue_comment", &comment(1, "OWNER", "@last-light reject too early"))
        .await;
    app.settle().await;
    let run = app.run(app.event(&id).await["runId"].as_str().expect("a run")).await;
    assert_eq!(
        (&run["status"], &run["error"]),
        (&json!("failed"), &json!("Rejected by ann: too early"))
    );
    app.finish().await;
}

#[actix_rt::test]
async fn the_api_starts_runs_and_says_no_in_the_contracts_words() {
    let app = TestApp::start().await;
    app.github.opens_issue("acme/site", "x", "");
    let token = app.login().await;
    let token = Some(token.as_str());
    let said = |answer: crate::support::app::Answer| (answer.status, answer.json());

    assert_eq!(
        said(app.post("/api/run", None, &json!({})).await),
        (401, json!({ "error": "unauthorized" }))
    );
    let missing = (400, json!({ "error": "Missing 'workflow' (or 'skill') field" }));
    assert_eq!(said(app.post("/api/run", token, &json!({})).await), missing);
    let unmanaged = json!({ "workflow": "repo-health", "context": { "repo": "else/where" } });
    assert_eq!(
        said(app.post("/api/run", token, &unmanaged).await),
        (403, json!({ "error": "Repo not managed: else/where" }))
    );
    let (status, unknown) = said(app.post("/api/run", token, &json!({ "workflow": "nonsense" })).await);
    assert_eq!(status, 404);
    assert!(
        unknown["error"].as_str().expect("words").contains("issue-triage"),
        "{unknown}"
    );
    let incomplete = (400, json!({ "error": "Missing owner, repo, or issueNumber" }));
    assert_eq!(
        said(app.post("/api/build", token, &json!({ "owner": "acme" })).await),
        incomplete
    );
    assert!(app.runs().await.is_empty());

    let wish = json!({ "workflow": "issue-triage", "context": { "repo": "acme/site", "issueNumber": 1 } });
    let (status, accepted) = said(app.post("/api/run", token, &wish).await);
    assert_eq!(
        (status, &accepted["accepted"], &accepted["workflow"]),
        (202, &json!(true), &json!("issue-triage"))
    );
    app.settle().await;
    let run = app
        .run(accepted["executionId"].as_str().expect("the stored run's id"))
        .await;
    assert_eq!(
        (&run["status"], &run["context"]["_triggerType"]),
        (&json!("succeeded"), &json!("api"))
    );

    let comments = app.github.comments("acme/site", 1);
    assert!(
        comments[0].body.contains("**Issue:** `x`"),
        "what GitHub says of it was looked up: {}",
        comments[0].body
    );

    let build = json!({ "owner": "acme", "repo": "site", "issueNumber": 1 });
    let (status, accepted) = said(app.post("/api/build", token, &build).await);
    assert_eq!(status, 202);
    let expected = json!({ "accepted": true, "owner": "acme", "repo": "site", "issueNumber": 1, "executionId": accepted["executionId"] });
    assert_eq!(accepted, expected);
    app.settle().await;
    let run = app.run(accepted["executionId"].as_str().expect("an id")).await;
    assert_eq!(
        (&run["workflow"], &run["context"]["title"], &run["context"]["sender"]),
        (&json!("build"), &json!("Issue #1"), &json!("cli"))
    );
    app.finish().await;
}

#[actix_rt::test]
async fn a_list_of_repositories_starts_one_run_each_or_none() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let wish = |repos: Value| json!({ "workflow": "repo-health", "context": { "repos": repos } });
    let refused = app
        .post("/api/run", Some(&token), &wish(json!(["acme/a", "else/where"])))
        .await;
    assert_eq!(refused.status, 403);
    assert!(app.runs().await.is_empty(), "none is started when one is refused");
    for bad in [json!([]), json!("acme/a"), json!([1])] {
        assert_eq!(app.post("/api/run", Some(&token), &wish(bad)).await.status, 400);
    }
    let answer = app
        .post("/api/run", Some(&token), &wish(json!(["acme/a", "acme/b", "ACME/a"])))
        .await
        .json();
    assert_eq!(answer["executionIds"].as_array().expect("a list").len(), 2, "{answer}");
    app.settle().await;
    assert_eq!(app.runs().await.len(), 2);
    app.finish().await;
}

#[actix_rt::test]
async fn an_idempotency_key_acts_once_also_after_a_restart() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let wish = json!({ "workflow": "repo-health", "context": { "repo": "acme/site" } });
    let key = [("idempotency-key", "k-1")];
    let first = app.post_with("/api/run", Some(&token), &key, &wish).await;
    assert_eq!(first.status, 202);
    app.settle().await;
    let app = app.restart().await;
    let again = app.post_with("/api/run", Some(&token), &key, &wish).await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    assert_eq!(app.runs().await.len(), 1);
    let other = json!({ "workflow": "repo-health", "context": { "repo": "acme/other" } });
    assert_eq!(app.post_with("/api/run", Some(&token), &key, &other).await.status, 422);
    app.finish().await;
}

#[actix_rt::test]
async fn passwords_are_tried_ten_times_in_five_minutes() {
    let app = TestApp::start().await;
    let login = |body: Value| {
        let app = &app;
        async move {
            let answer = app.post("/admin/api/login", None, &body).await;
            (answer.status, answer.json())
        }
    };
    assert_eq!(login(json!({})).await, (400, json!({ "error": "password required" })));
    assert_eq!(
        login(json!({ "password": 7 })).await,
        (400, json!({ "error": "password required" }))
    );
    for _ in 0..10 {
        assert_eq!(
            login(json!({ "password": "guess" })).await,
            (401, json!({ "error": "invalid password" }))
        );
    }
    assert_eq!(login(json!({ "password": "guess" })).await.0, 429);
    app.finish_quietly().await;
}

#[actix_rt::test]
async fn doors_are_open_by_exact_path_only() {
    let app = TestApp::start().await;
    let health = app.get("/health", None).await;
    assert_eq!(
        (health.status, health.json()),
        (200, json!({ "status": "ok", "connector": "github" }))
    );
    assert_eq!(app.get("/ready", None).await.status, 200);
    for path in [
        "/admin/api/events",
        "/admin/api/events/x",
        "/admin/api/workflow-runs",
        "/admin/api/workflow-runs/x/login",
        "/admin/api/events/health",
        "/admin/api/nothing/login",
        "/admin/api/",
        "/api/health",
        "/api/login",
    ] {
        let answer = app.get(path, None).await;
        assert_eq!(
            (answer.status, answer.json()),
            (401, json!({ "error": "unauthorized" })),
            "{path}"
        );
    }
    for token in ["x", "a.b", ""] {
        assert_eq!(app.get("/admin/api/events", Some(token)).await.status, 401);
    }
    assert_eq!(app.get("/nothing", None).await.status, 404);
    app.finish().await;
}

#[actix_rt::test]
async fn lists_page_and_filter_and_name_a_bad_parameter() {
    let app = TestApp::start().await;
    for number in 1..=5 {
        app.accept("issues", &issue("closed", number, "x")).await;
    }
    let first = app.read("/admin/api/events?limit=2").await;
    let numbers = |page: &Value| -> Vec<u64> {
        page["events"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|event| event["issueNumber"].as_u64())
            .collect()
    };
    assert_eq!(numbers(&first), [5, 4]);
    let second = app
        .read(&format!("/admin/api/events?limit=2&before={}", first["next"]))
        .await;
    assert_eq!(numbers(&second), [3, 2]);
    assert_eq!(numbers(&app.read("/admin/api/events?type=issue.opened").await), [0; 0]);
    assert_eq!(
        numbers(&app.read("/admin/api/events?repo=ACME/site&limit=1").await),
        [5]
    );
    let token = app.login().await;
    for path in [
        "/admin/api/events?type=nonsense",
        "/admin/api/events?limit=0",
        "/admin/api/events?limit=x",
        "/admin/api/workflow-runs?status=nonsense",
        "/admin/api/workflow-runs?since=yesterday",
    ] {
        let answer = app.get(path, Some(&token)).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}: {}", answer.text);
    }
    assert_eq!(app.get("/admin/api/events/unknown", Some(&token)).await.status, 404);
    let unknown = app.get("/admin/api/workflow-runs/unknown", Some(&token)).await;
    assert_eq!(
        (unknown.status, unknown.json()),
        (404, json!({ "error": "workflow run not found" }))
    );
    app.finish().await;
}
