//! The operators' desk from the command line: work is started, waited for, answered and looked at. The real binary, a real service.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::app::TestApp;
use crate::support::process::firstlight;

const GOOD: &str =
    "# Does it.\nname: good\ndescription: Does it\nphases:\n  - {name: do, label: Do, type: script, run: echo done}\n";
const BAD: &str =
    "# Fails.\nname: bad\ndescription: Fails\nphases:\n  - {name: do, label: Do, type: script, run: exit 4}\n";
const ASKS: &str = "# Asks.\nname: asks\ndescription: Asks\nphases:\n  - {name: ask, label: Ask, type: approval, gate: go, message: \"Go on?\\e[31m\"}\n";

const TALKS: &str = "# Talks.\nname: talks\ndescription: Talks\nphases:\n  - {name: one, label: One, type: script, run: \"printf 'a\\\\033[31mb\\\\033[0m\\\\nlast without an end'\"}\n  - {name: two, label: Two, type: script, run: \"echo second\"}\n";

struct Desk {
    app: TestApp,
    token: String,
    _overlay: TempDir,
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {} {}", self.out, self.err))
    }
}

impl Desk {
    async fn open() -> Self {
        let overlay = tempfile::tempdir().expect("a folder");
        let folder = overlay.path().join("workflows");
        std::fs::create_dir_all(&folder).expect("made");
        for (name, text) in [("good", GOOD), ("bad", BAD), ("asks", ASKS), ("talks", TALKS)] {
            std::fs::write(folder.join(format!("{name}.yaml")), text).expect("written");
        }
        let settings = format!("workflows: {{overlay: \"{}\"}}\n", overlay.path().display());
        let app = TestApp::start_with(&[], &settings).await;
        let token = app.login().await;
        Self {
            app,
            token,
            _overlay: overlay,
        }
    }

    async fn says(&self, words: &[&str]) -> Said {
        said(&format!("http://{}", self.app.address()), &self.token, &self.app, words).await
    }
}

async fn said(url: &str, token: &str, app: &TestApp, words: &[&str]) -> Said {
    let mut command = firstlight();
    command
        .args(words)
        .current_dir(app.folder())
        .env("FIRSTLIGHT_URL", url)
        .env("FIRSTLIGHT_TOKEN", token);
    let done = tokio::task::spawn_blocking(move || command.output().expect("it ran"));
    let done = done.await.expect("no panic");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Said {
        code: done.status.code().expect("no signal"),
        out: text(&done.stdout),
        err: text(&done.stderr),
    }
}

#[actix::test]
async fn a_run_that_is_waited_for_tells_its_phases_and_hands_on_how_it_ended() {
    let desk = Desk::open().await;
    let good = desk
        .says(&["run", "good", "--repo", "acme/site", "-c", "mode=x", "--wait"])
        .await;
    assert_eq!(good.code, 0, "{}", good.err);
    assert!(
        good.out.ends_with("succeeded") && good.err.contains("do: succeeded"),
        "{} {}",
        good.out,
        good.err
    );
    let runs = desk.app.runs().await;
    let run = desk.app.run(runs[0]["id"].as_str().expect("an id")).await;
    assert_eq!(
        (&run["context"]["mode"], &run["context"]["_triggerType"]),
        (&"x".into(), &"api".into())
    );
    let bad = desk.says(&["run", "bad", "--wait", "--json"]).await;
    assert_eq!(bad.code, 1);
    assert_eq!(bad.json()["workflowRuns"][0]["status"], "failed");
    let asks = desk.says(&["run", "asks", "--wait"]).await;
    assert_eq!(asks.code, 3, "{}", asks.err);
    assert!(asks.err.contains("waits for an answer"), "{}", asks.err);
    let many = desk
        .says(&["run", "good", "--repo", "acme/one", "--repo", "acme/two", "--wait"])
        .await;
    assert_eq!((many.code, many.out.lines().count()), (0, 2));
    desk.app.finish_quietly().await;
}

#[actix::test]
async fn what_phases_print_is_followed_and_read_again_without_their_commands_to_a_terminal() {
    let desk = Desk::open().await;
    let waited = desk.says(&["run", "talks", "--wait"]).await;
    assert_eq!(waited.code, 0, "{}", waited.err);
    let told: Vec<&str> = waited
        .err
        .lines()
        .filter(|told| *told != "one: running" && *told != "two: running")
        .collect();
    assert_eq!(
        told,
        [
            "one | ab",
            "one | last without an end",
            "one: succeeded",
            "two | second",
            "two: succeeded"
        ]
    );
    let quiet = desk.says(&["run", "talks", "--wait", "-q"]).await;
    assert!(
        quiet.err.contains("two: succeeded") && !quiet.err.contains('|'),
        "{}",
        quiet.err
    );
    let runs = desk.app.runs().await;
    let id = runs[0]["id"].as_str().expect("an id");
    for (words, expected) in [
        (
            &["runs", "logs", id][..],
            "one | ab\none | last without an end\ntwo | second",
        ),
        (&["runs", "logs", id, "--follow", "--phase", "two"], "second"),
        (&["runs", "logs", id, "--phase", "one", "--tail", "3"], "end"),
        (
            &["runs", "logs", id, "--phase", "one", "--tail", "99999"],
            "ab\nlast without an end",
        ),
    ] {
        let said = desk.says(words).await;
        assert_eq!((said.code, said.out.as_str()), (0, expected), "{words:?}: {}", said.err);
    }
    let none = desk.says(&["runs", "logs", id, "--phase", "three"]).await;
    assert!(
        none.code == 1 && none.err.contains("no log of such a phase"),
        "{}",
        none.err
    );
    let asks = desk.says(&["run", "asks", "--json"]).await.json();
    let asks = asks["executionId"].as_str().expect("an id");
    assert_eq!(desk.says(&["runs", "wait", asks]).await.code, 3);
    assert_eq!(desk.says(&["runs", "logs", asks, "-f"]).await.code, 0);
    let waited = desk.says(&["runs", "wait", id, "--json"]).await;
    assert_eq!(waited.json()["workflowRuns"][0]["status"], "succeeded");
    desk.app.finish_quietly().await;
}

#[actix::test]
async fn how_the_service_does_and_what_else_it_holds_is_told() {
    let desk = Desk::open().await;
    desk.says(&["run", "good", "--wait"]).await;
    desk.says(&["notify", "slack", "The build is red"]).await;
    for (words, told) in [
        (&["status"][..], "1 succeeded"),
        (&["processes", "list"], "no phase has a process"),
        (&["chats", "list"], "nobody has talked"),
        (&["auto-commit", "show"], "it is off"),
        (
            &["auto-commit", "set", "--on", "--event", "task.completed"],
            "it is on; events: task.completed",
        ),
        (&["auto-commit", "set", "--off"], "it is off; events: task.completed"),
        (&["notifications", "list"], "The build is red"),
        (
            &["workflows", "prompt", "issue-triage", "prompts/issue-triage.md"],
            "issue",
        ),
    ] {
        let said = desk.says(words).await;
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        assert!(said.out.contains(told), "{words:?}: {}", said.out);
    }
    for (words, told) in [
        (
            &["processes", "kill", "init"][..],
            "only what a run has started can be killed",
        ),
        (&["chats", "show", "../tokens"], "not found"),
        (&["auto-commit", "set", "--event", "nonsense"], "nonsense"),
        (
            &["workflows", "prompt", "issue-triage", "../../etc/passwd"],
            "path must be",
        ),
    ] {
        let said = desk.says(words).await;
        assert_eq!(said.code, 1, "{words:?}: {}", said.out);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
    }
    let status = desk.says(&["status", "--json"]).await.json();
    assert_eq!(status["totals"]["runs"]["succeeded"], 1);
    assert!(status["actors"].as_array().is_some_and(|actors| !actors.is_empty()));
    desk.app.finish_quietly().await;
}

#[actix::test]
async fn long_lists_go_on_where_the_page_before_ended() {
    let desk = Desk::open().await;
    for _ in 0..3 {
        desk.says(&["run", "good", "--wait"]).await;
    }
    let first = desk.says(&["runs", "list", "--limit", "2"]).await;
    let (rows, next) = first.out.rsplit_once("\nmore with: --before ").expect("more");
    let second = desk.says(&["runs", "list", "--limit", "2", "--before", next]).await;
    assert!(!second.out.contains("more with"), "{}", second.out);
    assert_eq!((rows.lines().count(), second.out.lines().count()), (3, 2));
    desk.app.finish_quietly().await;
}

#[actix::test]
async fn questions_runs_events_and_workflows_are_looked_after() {
    let desk = Desk::open().await;
    assert_eq!(
        desk.says(&["approvals", "list"]).await.out,
        "nothing waits for an answer"
    );
    let started = desk.says(&["run", "asks", "--json"]).await.json();
    let run = started["executionId"].as_str().expect("an id").to_owned();
    desk.app.settle().await;
    let listed = desk.says(&["approvals", "list"]).await;
    assert!(
        listed.out.contains("Go on?") && !listed.out.contains('\u{1b}'),
        "{}",
        listed.out
    );
    let id = desk.says(&["approvals", "list", "--json"]).await.json()["approvals"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(desk.says(&["approvals", "show", &id]).await.out.contains("Go on?"));
    let rejected = desk.says(&["approvals", "reject", &id, "--reason", "too risky"]).await;
    assert_eq!((rejected.code, rejected.out.as_str()), (0, "rejected"));
    let again = desk.says(&["approvals", "approve", &id]).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("already rejected"), "{}", again.err);
    let shown = desk.says(&["runs", "show", &run]).await;
    assert!(
        shown.out.contains("asks about") && shown.out.contains("too risky"),
        "{}",
        shown.out
    );
    let retried = desk.says(&["runs", "retry", &run]).await;
    assert!(retried.out.starts_with("started "), "{}", retried.err);
    let id = desk
        .says(&["runs", "list", "--status", "active", "--json"])
        .await
        .json()["workflowRuns"][0]["id"]
        .clone();
    let cancelled = desk.says(&["runs", "cancel", id.as_str().expect("an id")]).await;
    assert!(cancelled.out.starts_with("cancelled "), "{}", cancelled.err);
    assert!(
        desk.says(&["runs", "list", "--workflow", "asks"])
            .await
            .out
            .contains("cancelled")
    );

    let payload = crate::support::payloads::issue("opened", 7, "It broke");
    let event = desk.app.accept("issues", &payload).await;
    desk.app.settle().await;
    assert!(
        desk.says(&["events", "list", "--repo", "acme/site"])
            .await
            .out
            .contains("issue.opened")
    );
    assert_eq!(
        desk.says(&["events", "show", &event, "--json"]).await.json()["event"]["id"],
        event.as_str()
    );
    let replayed = desk.says(&["events", "replay", &event, "--new"]).await;
    assert!(replayed.out.starts_with("accepted as "), "{}", replayed.err);
    let file = desk.app.folder().join("payload.json");
    std::fs::write(&file, payload.to_string()).expect("written");
    let tested = desk
        .says(&["events", "test", "issues", &file.display().to_string()])
        .await;
    assert!(tested.out.contains("issue-triage"), "{} {}", tested.out, tested.err);

    assert!(desk.says(&["workflows", "list"]).await.out.contains("issue-triage"));
    assert_eq!(desk.says(&["workflows", "show", "good"]).await.out, GOOD.trim());
    assert_eq!(desk.says(&["workflows", "disable", "good"]).await.out, "good is off");
    let refused = desk.says(&["run", "good"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("switched off"), "{}", refused.err);
    assert_eq!(desk.says(&["workflows", "enable", "good"]).await.out, "good is on");
    desk.app.finish_quietly().await;
}

#[actix::test]
async fn a_thing_by_its_name_alone_starts_what_is_usual_and_nonsense_is_told() {
    let desk = Desk::open().await;
    for (words, workflow) in [
        (&["acme/site#7"][..], "issue-triage"),
        (&["triage", "acme/site#8"], "issue-triage"),
        (&["https://github.com/acme/site/pull/12"], "pr-review"),
        (&["review", "acme/site#13"], "pr-review"),
        (&["build", "https://github.com/acme/site/issues/9"], "build"),
        (&["health", "acme/site", "acme/docs"], "repo-health"),
        (&["security", "acme/site"], "security-review"),
    ] {
        let started = desk.says(words).await;
        assert_eq!(started.code, 0, "{words:?}: {}", started.err);
        let newest = desk.app.runs().await;
        assert_eq!(newest[0]["workflow"], workflow, "{words:?}");
    }
    for (words, code, told) in [
        (&["runz"][..], 2, "there is no command \"runz\""),
        (&["build", "acme"], 2, "names no issue or pull request"),
        (&["run", "good", "-c", "nothing"], 2, "is no KEY=VALUE"),
        (
            &["run", "good", "--context", "[]"],
            2,
            "--context must be a JSON object",
        ),
        (&["run", "gud"], 1, "unknown workflow"),
        (&["run", "good", "--repo", "evil/site"], 1, "Repo not managed"),
        (&["runs", "show", "../tokens"], 1, "not found"),
        (
            &["events", "test", "issues", "nowhere.json"],
            1,
            "cannot read nowhere.json",
        ),
    ] {
        let said = desk.says(words).await;
        assert_eq!(said.code, code, "{words:?}: {}", said.err);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
    }
    let nobody = said("http://127.0.0.1:9", &desk.token, &desk.app, &["runs", "list"]).await;
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.err.contains("server not running at http://127.0.0.1:9"),
        "{}",
        nobody.err
    );
    let unknown = said(
        &format!("http://{}", desk.app.address()),
        "no token",
        &desk.app,
        &["runs", "list"],
    )
    .await;
    assert!(unknown.err.contains("firstlight login"), "{}", unknown.err);
    desk.app.finish_quietly().await;
}
