//! The API of workflows: as they are, as they change while the service runs, on and off. Through HTTP and files alone.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::TestApp;

/// A service with an overlay folder that holds these workflows.
async fn app(files: &[(&str, &str)]) -> (TempDir, TestApp) {
    let overlay = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(overlay.path().join("workflows/prompts")).expect("made");
    for (name, text) in files {
        write(&overlay, name, text);
    }
    let settings = format!("workflows:\n  overlay: {}\n", overlay.path().display());
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], &settings).await;
    (overlay, app)
}

fn write(overlay: &TempDir, name: &str, text: &str) {
    std::fs::write(overlay.path().join("workflows").join(name), text).expect("written");
}

fn saying(name: &str, word: &str) -> String {
    format!("name: {name}\nphases:\n  - name: say\n    type: script\n    run: echo {word}\n")
}

/// Reads the list until it is as wanted: the watch on the folder hears in its own time.
async fn until(app: &TestApp, token: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let list = app.get("/admin/api/workflows", Some(token)).await.json();
        if wanted(&list) {
            return list;
        }
        tokio::task::yield_now().await;
    }
}

fn of<'l>(list: &'l Value, name: &str) -> &'l Value {
    let all = list["workflows"].as_array().expect("a list");
    all.iter().find(|one| one["name"] == name).unwrap_or(&Value::Null)
}

async fn start(app: &TestApp, token: &str, workflow: &str) -> crate::support::app::Answer {
    let wish = json!({ "workflow": workflow, "context": { "repo": "acme/site", "issueNumber": 1 } });
    app.post("/api/run", Some(token), &wish).await
}

async fn output(app: &TestApp, run: &Value) -> String {
    let run = app.run(run.as_str().expect("an id")).await;
    run["phases"][0]["output"]
        .as_str()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[actix_rt::test]
async fn a_definition_is_shown_with_its_picture_and_its_file() {
    let text = "name: shown\ndescription: Shows\nvariables: {tone: calm}\nphases:\n  - {name: a, type: script, run: ls}\n  - {name: b, type: approval, gate: go, message: 'Go?', depends_on: [a]}\n  - {name: c, prompt: prompts/p.md, optional: true, depends_on: [a], generic_loop: {max_iterations: 3, until: output}}\n";
    let (overlay, app) = app(&[("shown.yaml", text), ("prompts/p.md", "Look at {{title}}")]).await;
    let token = app.login().await;
    let list = app.read("/admin/api/workflows").await;
    assert_eq!(list["mistakes"], json!([]));
    let all = list["workflows"].as_array().expect("a list");
    assert!(all.len() > 10, "{list}");
    let file = overlay.path().join("workflows/shown.yaml").display().to_string();
    let shown = of(&list, "shown");
    for (key, value) in [
        ("description", json!("Shows")),
        ("kind", json!("agent")),
        ("enabled", json!(true)),
        ("file", json!(file)),
        ("phases", json!(3)),
        ("mistakes", json!([])),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }

    let one = app.read("/admin/api/workflows/shown").await["workflow"].clone();
    assert_eq!((&one["yaml"], &one["hash"]), (&json!(text), &shown["hash"]));
    assert_eq!(one["variables"]["tone"], "calm");
    assert_eq!(one["definition"]["phases"][2]["prompt"], "Look at {{title}}");
    assert_eq!(
        one["diagram"],
        json!({
            "nodes": [
                { "id": "a", "label": "a", "type": "script", "column": 0 },
                { "id": "b", "label": "b", "type": "approval", "column": 1, "gate": "go" },
                { "id": "c", "label": "c", "type": "agent", "column": 1, "loop": "generic" },
            ],
            "edges": [
                { "from": "a", "to": "b", "rule": "all_success" },
                { "from": "a", "to": "c", "rule": "all_success" },
            ],
        })
    );
    let file = app.get("/admin/api/workflows/shown/yaml", Some(&token)).await;
    assert_eq!((file.status, file.text.as_str()), (200, text));
    assert!(file.headers["content-type"].starts_with("text/yaml"));
    for path in [
        "/admin/api/workflows/gone",
        "/admin/api/workflows/gone/yaml",
        "/admin/api/workflows/..%2f",
    ] {
        assert_eq!(app.get(path, Some(&token)).await.status, 404, "{path}");
    }
    assert_eq!(app.get("/admin/api/workflows", None).await.status, 401);
    app.finish().await;
}

#[actix_rt::test]
async fn a_workflow_that_is_switched_off_starts_no_run_and_survives_a_restart() {
    let (_overlay, app) = app(&[("w.yaml", &saying("w", "hello"))]).await;
    let token = app.login().await;
    let toggle = "/admin/api/workflows/w/toggle";
    for (path, body, status, words) in [
        (
            "/admin/api/workflows/gone/toggle",
            json!({ "enabled": false }),
            404,
            "workflow not found",
        ),
        (toggle, json!({ "enabled": "no" }), 400, "enabled must be true or false"),
        (toggle, json!({}), 400, "enabled must be true or false"),
    ] {
        let answer = app.post(path, Some(&token), &body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    let answer = app.post(toggle, Some(&token), &json!({ "enabled": false })).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "name": "w", "enabled": false }))
    );
    assert_eq!(start(&app, &token, "w").await.status, 409);
    let app = app.restart().await;
    let list = app.read("/admin/api/workflows").await;
    assert_eq!(of(&list, "w")["enabled"], false);
    let token = app.login().await;
    assert_eq!(start(&app, &token, "w").await.status, 409);
    assert_eq!(
        app.post(toggle, Some(&token), &json!({ "enabled": true })).await.status,
        200
    );
    assert_eq!(start(&app, &token, "w").await.status, 202);
    app.settle().await;
    assert_eq!(app.runs().await.len(), 1);
    app.finish().await;
}

#[actix_rt::test]
async fn a_changed_file_is_taken_up_for_new_runs_and_a_bad_one_is_refused_where_it_can_be_seen() {
    let (overlay, app) = app(&[("w.yaml", &saying("w", "one"))]).await;
    let token = app.login().await;
    let first = start(&app, &token, "w").await.json()["executionId"].clone();
    app.settle().await;
    let old = of(&app.read("/admin/api/workflows").await, "w")["hash"].clone();

    write(&overlay, "w.yaml", &saying("w", "two"));
    write(&overlay, "new.yaml", &saying("new", "fresh"));
    let list = until(&app, &token, |list| {
        !of(list, "new").is_null() && of(list, "w")["hash"] != old
    })
    .await;
    let good = of(&list, "w")["hash"].clone();
    let second = start(&app, &token, "w").await.json()["executionId"].clone();
    let fresh = start(&app, &token, "new").await.json()["executionId"].clone();
    app.settle().await;
    for (run, said) in [(&first, "one"), (&second, "two"), (&fresh, "fresh")] {
        assert_eq!(output(&app, run).await, said);
    }

    // One is bad, the other good: the good one counts, the bad one stays as it was.
    write(&overlay, "w.yaml", "name: w\nphases:\n  - name: say\n    type: scrpt\n");
    write(&overlay, "new.yaml", &saying("new", "newer"));
    let fresh = of(&list, "new")["hash"].clone();
    let list = until(&app, &token, |list| {
        list["mistakes"] != json!([]) && of(list, "new")["hash"] != fresh
    })
    .await;
    assert_eq!(of(&list, "w")["hash"], good);
    let mistake = &of(&list, "w")["mistakes"][0];
    assert_eq!(
        (&mistake["line"], &mistake["column"]),
        (&json!(4), &json!(11)),
        "{mistake}"
    );
    assert_eq!(mistake["key"], "phases[0].type");
    assert!(
        mistake["problem"]
            .as_str()
            .is_some_and(|it| it.contains("did you mean \"script\"?"))
    );
    let third = start(&app, &token, "w").await.json()["executionId"].clone();
    app.settle().await;
    assert_eq!(output(&app, &third).await, "two");

    // Mended; and a file that is taken away takes its workflow with it.
    write(&overlay, "w.yaml", &saying("w", "three"));
    std::fs::remove_file(overlay.path().join("workflows/new.yaml")).expect("removed");
    until(&app, &token, |list| {
        list["mistakes"] == json!([]) && of(list, "new").is_null() && of(list, "w")["hash"] != good
    })
    .await;
    assert_eq!(start(&app, &token, "new").await.status, 404);
    app.settle().await;
    app.finish().await;
}

#[actix_rt::test]
async fn a_run_that_waits_goes_on_with_the_version_that_it_started_with() {
    let asking = |word: &str| {
        format!(
            "name: w\nphases:\n  - {{name: ask, type: approval, gate: go, message: 'Go?'}}\n  - {{name: say, type: script, run: echo {word}}}\n"
        )
    };
    let (overlay, app) = app(&[("w.yaml", &asking("old"))]).await;
    let token = app.login().await;
    let run = start(&app, &token, "w").await.json()["executionId"].clone();
    app.settle().await;
    let hash = of(&app.read("/admin/api/workflows").await, "w")["hash"].clone();
    write(&overlay, "w.yaml", &asking("new"));
    until(&app, &token, |list| of(list, "w")["hash"] != hash).await;
    let approvals = app.read("/admin/api/approvals").await;
    let id = approvals["approvals"][0]["id"].as_str().expect("a question").to_owned();
    let path = format!("/admin/api/approvals/{id}/respond");
    let answer = app.post(&path, Some(&token), &json!({ "decision": "approved" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    app.settle().await;
    let run = app.run(run.as_str().expect("an id")).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let said = run["phases"]
        .as_array()
        .expect("phases")
        .iter()
        .find(|phase| phase["phase"] == "say");
    assert_eq!(said.expect("it spoke")["output"], "old\n", "{run}");
    app.finish().await;
}

#[actix_rt::test]
async fn a_prompt_counts_as_a_change_and_a_folder_may_be_replaced_whole() {
    let text = "name: w\nphases:\n  - {name: think, prompt: prompts/p.md, optional: true}\n";
    let (overlay, app) = app(&[("w.yaml", text), ("prompts/p.md", "one")]).await;
    let token = app.login().await;
    let hash = of(&app.read("/admin/api/workflows").await, "w")["hash"].clone();
    write(&overlay, "prompts/p.md", "two {{titel}}");
    let list = until(&app, &token, |list| list["mistakes"] != json!([])).await;
    assert_eq!(of(&list, "w")["hash"], hash);
    assert!(
        of(&list, "w")["mistakes"][0]["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("prompts/p.md"))
    );

    // As a deployment does it: the new folder is built beside, the old one moved away, the new one put in its place.
    let next = tempfile::tempdir_in(overlay.path().parent().expect("a parent")).expect("a folder");
    let prompts = next.path().join("workflows/prompts");
    std::fs::create_dir_all(&prompts).expect("made");
    std::fs::write(prompts.join("p.md"), "three").expect("written");
    std::fs::write(next.path().join("workflows/w.yaml"), text).expect("written");
    let aside = overlay.path().with_extension("old");
    std::fs::rename(overlay.path(), &aside).expect("moved");
    std::fs::rename(next.keep(), overlay.path()).expect("moved");
    let list = until(&app, &token, |list| of(list, "w")["hash"] != hash).await;
    assert_eq!(list["mistakes"], json!([]));
    let after = of(&list, "w")["hash"].clone();

    // The new folder is watched like the old one; and without any folder everything stays.
    write(&overlay, "prompts/p.md", "four");
    until(&app, &token, |list| of(list, "w")["hash"] != after).await;
    std::fs::remove_dir_all(overlay.path()).expect("removed");
    let list = until(&app, &token, |list| list["mistakes"] != json!([])).await;
    assert!(!of(&list, "w").is_null());
    remove(&aside);
    app.finish().await;
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).expect("removed");
}
