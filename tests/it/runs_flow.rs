//! The flow of a run over the real store: graphs, conditions, retries, loops, gates within them, and a crash after every step. Knows no HTTP.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use actors::domain::{PhaseStatus, RunId, RunRecord, RunStatus};
use actors::runs::{RunsConfig, Runtime};
use serde_json::{Value, json};

use crate::runs_stored::{House, walk};

/// An agent that answers by the turn it is asked for: `<phase>` in its environment, the answer in `answers`.
fn agent(config: &mut RunsConfig, answers: &str) {
    let runtime = Runtime {
        command: vec![
            "sh".into(),
            "-c".into(),
            format!("case $FIRSTLIGHT_PHASE in {answers} esac"),
        ],
        ..Runtime::default()
    };
    config.runtimes.insert("default".into(), runtime);
}

fn phases(record: &RunRecord) -> Vec<String> {
    let shown = record.phases.iter();
    shown
        .map(|p| format!("{}#{} {}", p.phase, p.attempt, p.status))
        .collect()
}

fn outputs(record: &RunRecord) -> Vec<(String, String)> {
    let done = record
        .phases
        .iter()
        .filter(|phase| phase.status == PhaseStatus::Succeeded);
    done.map(|phase| (phase.phase.to_string(), phase.output.clone().unwrap_or_default()))
        .collect()
}

fn reason(record: &RunRecord, phase: &str) -> String {
    let found = record.phases.iter().rfind(|row| row.phase.as_str() == phase);
    found.and_then(|row| row.reason.clone()).unwrap_or_default()
}

/// Works a run off in a house of its own; questions are answered with yes and with `words`.
async fn work_off(
    change: impl FnOnce(&mut RunsConfig),
    phases: Value,
    words: Option<&str>,
) -> (RunRecord, Vec<(String, String)>) {
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot_with(folder.path(), change, u32::MAX);
    let run = house.open(7, phases).await;
    house.settle().await;
    while house.approve(words).await {
        house.settle().await;
    }
    let told = (house.load(run).await, house.said(run).await);
    house.finish().await;
    told
}

#[actix::test]
async fn phases_of_a_graph_are_at_work_side_by_side_and_each_waits_for_its_own_only() {
    // `a` and `b` wait for one another; `d` ends while `b` is still at work.
    let until = |file: &str| format!("while [ ! -e {file} ]; do sleep 0.01; done");
    let (record, _) = work_off(
        |_| {},
        json!([
            {"name": "a", "label": "", "kind": "script", "run": format!("touch a; {}", until("b"))},
            {"name": "b", "label": "", "kind": "script", "run": format!("{}; touch b; {}", until("a"), until("d"))},
            {"name": "c", "label": "", "kind": "script", "run": "echo c", "depends_on": ["a", "b"]},
            {"name": "d", "label": "", "kind": "script", "run": "touch d", "depends_on": ["a"]},
        ]),
        None,
    )
    .await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    let row = |name: &str| {
        let found = record.phases.iter().find(|row| row.phase.as_str() == name);
        found.map(|row| (row.started_at, row.ended_at)).expect("it ran")
    };
    assert!(
        Some(row("d").0) <= row("b").1,
        "d did not wait for b: {:?}",
        record.phases
    );
    assert!(row("b").1 <= Some(row("c").0), "c waited for b: {:?}", record.phases);
}

#[actix::test]
async fn no_more_phases_than_allowed_are_at_work_at_once() {
    let one = |name: &str| {
        json!({"name": name, "label": "", "kind": "script", "depends_on": ["start"],
        "run": "mkdir busy || exit 1; sleep 0.02; rmdir busy"})
    };
    let mut all = vec![json!({"name": "start", "label": "", "kind": "context"})];
    all.extend(["a", "b", "c", "d"].map(one));
    let (record, _) = work_off(|config| config.phases_at_once = 1, Value::Array(all), None).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
}

#[actix::test]
async fn a_failure_holds_up_what_depends_on_it_and_nothing_else() {
    let (record, said) = work_off(
        |_| {},
        json!([
            {"name": "bad", "label": "", "kind": "script", "run": "exit 3"},
            {"name": "good", "label": "", "kind": "context"},
            {"name": "after_bad", "label": "", "kind": "context", "depends_on": ["bad"], "approval_gate": "ask"},
            {"name": "behind", "label": "", "kind": "context", "depends_on": ["after_bad"]},
            {"name": "after_good", "label": "", "kind": "context", "depends_on": ["good"]},
            {"name": "either", "label": "", "kind": "context", "depends_on": ["bad", "good"], "trigger_rule": "one_success"},
            {"name": "tidy", "label": "", "kind": "reply", "message": "tidied", "depends_on": ["behind", "bad"], "trigger_rule": "all_done"},
        ]),
        None,
    )
    .await;
    assert_eq!(record.summary.status, RunStatus::Failed);
    assert_eq!(
        record.summary.error.as_deref(),
        Some("phase \"bad\" failed: exited with status 3")
    );
    let mut shown = phases(&record);
    shown.sort();
    assert_eq!(
        shown,
        [
            "after_bad#1 skipped",
            "after_good#1 succeeded",
            "bad#1 failed",
            "behind#1 skipped",
            "either#1 succeeded",
            "good#1 succeeded",
            "tidy#1 succeeded"
        ]
    );
    assert_eq!(
        reason(&record, "after_bad"),
        "trigger_rule all_success does not hold: \"bad\" failed"
    );
    assert_eq!(
        reason(&record, "behind"),
        "trigger_rule all_success does not hold: \"after_bad\" was held back"
    );
    assert_eq!(said, [("tidy/1/reply".to_owned(), "tidied".to_owned())]);
}

#[actix::test]
async fn a_phase_whose_condition_does_not_hold_is_skipped_in_words() {
    let (record, _) = work_off(
        |_| {},
        json!([
            {"name": "a", "label": "", "kind": "script", "run": "echo GO"},
            {"name": "b", "label": "", "kind": "context", "when": "a.output == 'GO'"},
            {"name": "c", "label": "", "kind": "context", "when": "labels.contains('feature')"},
            {"name": "d", "label": "", "kind": "context"},
        ]),
        None,
    )
    .await;
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(
        phases(&record),
        ["a#1 succeeded", "b#1 succeeded", "c#1 skipped", "d#1 succeeded"]
    );
    assert_eq!(
        reason(&record, "c"),
        "its condition does not hold: labels.contains('feature')"
    );
}

#[actix::test]
async fn a_phase_is_tried_again_as_often_as_it_says_and_speaks_once() {
    let phase = |max: u32| {
        json!([{"name": "a", "label": "", "kind": "script", "run": "echo x >> tries; [ $(wc -l < tries) -ge 3 ]",
        "retry": {"max": max, "backoff": {"secs": 0, "nanos": 5_000_000}},
        "messages": {"on_start": "begins", "on_failure": "failed", "on_success": "done"}}])
    };
    let (record, said) = work_off(|_| {}, phase(2), None).await;
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(phases(&record), ["a#1 failed", "a#2 failed", "a#3 succeeded"]);
    assert_eq!(
        said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["begins", "done"]
    );
    let (record, said) = work_off(|_| {}, phase(1), None).await;
    assert_eq!(
        record.summary.error.as_deref(),
        Some("phase \"a\" failed: exited with status 1")
    );
    assert_eq!(phases(&record), ["a#1 failed", "a#2 failed"]);
    assert_eq!(
        said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["begins", "failed"]
    );
}

#[actix::test]
async fn a_run_that_waits_to_try_again_can_be_cancelled_and_has_its_deadline() {
    let patient = json!([{"name": "a", "label": "", "kind": "script", "run": "touch up; exit 1", "retry": {"max": 3, "backoff": {"secs": 600, "nanos": 0}}}]);
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let run = house.open(7, patient.clone()).await;
    appears(folder.path(), "up").await;
    house.cancel(run).await;
    assert_eq!(house.load(run).await.summary.status, RunStatus::Cancelled);
    house.finish().await;

    let (record, _) = work_off(|config| config.run_deadline = Duration::from_millis(300), patient, None).await;
    assert_eq!(
        record.summary.error.as_deref(),
        Some("the run took longer than 0.3 s (runs.deadline)")
    );
}

#[actix::test]
async fn a_cancel_ends_every_process_of_a_graph() {
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let stubborn = |name: &str| {
        json!({"name": name, "label": "", "kind": "script", "depends_on": ["start"],
        "run": format!("trap '' TERM; echo $$ > {name}.tmp; mv {name}.tmp {name}.pid; while :; do sleep 600 & wait; done")})
    };
    let run = house
        .open(
            7,
            json!([{"name": "start", "label": "", "kind": "context"}, stubborn("one"), stubborn("two")]),
        )
        .await;
    let pids = [
        appears(folder.path(), "one.pid").await,
        appears(folder.path(), "two.pid").await,
    ];
    house.cancel(run).await;
    let record = house.load(run).await;
    assert_eq!(record.summary.status, RunStatus::Cancelled);
    for phase in ["one", "two"] {
        assert_eq!(reason(&record, phase), "cancelled by ann");
    }
    for pid in pids {
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }
    house.finish().await;
}

/// A review that asks for changes once, or always.
const REVIEWER: &str = "review) echo 'fix it'; echo 'VERDICT: REQUEST_CHANGES';; review_fix_*) cat;; review_2) echo 'VERDICT: APPROVED';; *) echo 'VERDICT: REQUEST_CHANGES';;";
const HARSH: &str = "*fix*) echo fixed;; *) echo 'VERDICT: REQUEST_CHANGES';;";

fn reviewed(more: Value) -> Value {
    let mut phase = json!({
        "name": "review", "label": "", "kind": "agent", "prompt": "Review", "output_var": "verdict",
        "loop": {"max_cycles": 2, "fix_prompt": "Fix {{fixCycle}} of {{maxCycles}}: {{previousOutput}}", "re_review_prompt": "Again",
            "messages": {"on_request_changes": "changes, cycle {{cycle}}", "on_approved": "approved", "on_max_cycles": "enough"}},
    });
    for (key, value) in more.as_object().expect("a map") {
        match key.strip_prefix("loop.") {
            Some(key) => phase["loop"][key] = value.clone(),
            None => phase[key] = value.clone(),
        }
    }
    json!([phase, {"name": "after", "label": "", "kind": "reply", "message": "{{verdict.approved}} after {{verdict.cycles}}"}])
}

#[actix::test]
async fn a_review_has_its_changes_made_and_reviews_again() {
    let (record, said) = work_off(|config| agent(config, REVIEWER), reviewed(json!({})), None).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert_eq!(
        phases(&record),
        [
            "review#1 succeeded",
            "review_fix_1#1 succeeded",
            "review_2#1 succeeded",
            "after#1 succeeded"
        ]
    );
    assert_eq!(outputs(&record)[1].1, "Fix 1 of 2: fix it\nVERDICT: REQUEST_CHANGES");
    let words: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(words, ["changes, cycle 1", "approved", "true after 1"]);
}

#[actix::test]
async fn a_review_that_never_approves_is_a_declared_outcome_and_no_failure() {
    let mut graph = reviewed(json!({}));
    graph[1]["depends_on"] = json!(["review"]);
    for phases_json in [reviewed(json!({})), graph] {
        let (record, said) = work_off(|config| agent(config, HARSH), phases_json, None).await;
        assert_eq!(
            record.summary.status,
            RunStatus::Succeeded,
            "{:?}",
            record.summary.error
        );
        assert_eq!(record.phases.len(), 6, "{:?}", phases(&record));
        assert_eq!(
            reason(&record, "review_3"),
            "not approved after 2 fixes (loop.max_cycles)"
        );
        let words: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            words,
            ["changes, cycle 1", "changes, cycle 2", "enough", "false after 2"]
        );
    }
}

#[actix::test]
async fn a_gate_within_a_review_loop_once_approved_goes_on_with_the_fix() {
    let folder = tempfile::tempdir().expect("temp folder");
    let boot = || House::boot_with(folder.path(), |config| agent(config, REVIEWER), u32::MAX);
    let house = boot();
    let gated = reviewed(json!({"loop.approval_gate": "ask"}));
    let run = house.open(7, gated).await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(record.summary.status, RunStatus::Paused);
    assert_eq!(phases(&record), ["review#1 waiting_approval"]);
    house.finish().await;

    let house = boot();
    house.settle().await;
    assert_eq!(
        house.load(run).await.summary.status,
        RunStatus::Paused,
        "a paused run stays paused"
    );
    assert!(house.approve(None).await);
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert_eq!(
        phases(&record),
        [
            "review#1 succeeded",
            "review_fix_1#1 succeeded",
            "review_2#1 succeeded",
            "after#1 succeeded"
        ]
    );
    house.finish().await;
}

#[actix::test]
async fn a_loop_goes_on_until_its_condition_holds_or_its_limit_is_reached() {
    let counting = |more: Value| {
        let mut phase = json!({"name": "count", "label": "", "kind": "script", "env": {"N": "{{iteration}}/{{maxIterations}}", "WAS": "{{previousOutput}}"},
            "run": "echo \"$N after [$(echo $WAS)]\"; echo x >> done", "generic_loop": {"max_iterations": 3},
            "messages": {"on_success": "complete", "on_failure": "gave up: {{error}}"}});
        for (key, value) in more.as_object().expect("a map") {
            phase["generic_loop"][key] = value.clone();
        }
        json!([phase, {"name": "after", "label": "", "kind": "reply", "message": "last: ${count.output}"}])
    };
    for (more, turns, words) in [
        (
            json!({"until": "output.contains('2/3')"}),
            2,
            ["complete", "last: 2/3 after [1/3 after []]"],
        ),
        (
            json!({"until_bash": "test $(wc -l < done) -ge 2"}),
            2,
            ["complete", "last: 2/3 after [1/3 after []]"],
        ),
        (
            json!({"until": "output == 'never'", "until_bash": "test $(wc -l < done) -ge 2"}),
            2,
            ["complete", "last: 2/3 after [1/3 after []]"],
        ),
        (
            json!({"until": "iteration == 1"}),
            1,
            ["complete", "last: 1/3 after []"],
        ),
        (
            json!({"until": "iteration == 2", "fresh_context": true}),
            2,
            ["complete", "last: 2/3 after []"],
        ),
        (
            json!({"until": "output == 'never'"}),
            3,
            [
                "gave up: `its condition did not hold after 3 iterations (generic_loop.max_iterations)`",
                "last: 3/3 after [1/3 after [] 2/3 after [1/3 after []]]",
            ],
        ),
    ] {
        let (record, said) = work_off(|_| {}, counting(more.clone()), None).await;
        assert_eq!(
            record.summary.status,
            RunStatus::Succeeded,
            "{more} {:?}",
            record.summary.error
        );
        assert_eq!(record.phases.len(), turns + 1, "{more} {:?}", phases(&record));
        assert_eq!(
            said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            words,
            "{more}"
        );
        assert_eq!(record.scratch["count"]["iteration"], json!(turns), "{more}");
    }
}

#[actix::test]
async fn an_interactive_loop_asks_between_its_turns_and_knows_every_answer() {
    let folder = tempfile::tempdir().expect("temp folder");
    let boot = || House::boot_with(folder.path(), |config| agent(config, "*) cat;;"), u32::MAX);
    let house = boot();
    let phases_json = json!([{"name": "talk", "label": "", "kind": "agent", "prompt": "{{iteration}} {{scratch.explore.talk.qa.0.answer}} {{scratch.explore.talk.qa.1.answer}}",
        "generic_loop": {"max_iterations": 3, "until": "output.contains('enough')", "interactive": true, "gate_kind": "reply", "gate_message": "What next?", "scratch_key": "explore.talk"}}]);
    let run = house.open(7, phases_json).await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        (record.summary.status, phases(&record)),
        (RunStatus::Paused, vec!["talk#1 waiting_approval".to_owned()])
    );
    let (_, question) = house.said(run).await.pop().expect("it was asked");
    assert!(question.contains("1\n\n---\n\nWhat next?"), "{question}");
    assert!(house.approve(Some("go left")).await);
    house.finish().await;

    let house = boot();
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(phases(&record), ["talk#1 succeeded", "talk_2#1 waiting_approval"]);
    assert!(house.approve(Some("enough")).await);
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    let talk = &record.scratch["explore"]["talk"];
    assert_eq!(talk["iteration"], json!(3));
    assert_eq!(talk["complete"], json!(true));
    let answers: Vec<&Value> = talk["qa"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["answer"])
        .collect();
    assert_eq!(answers, ["go left", "enough"]);
    assert_eq!(talk["qa"][0]["sender"], json!("bob"));
    let last = record
        .phases
        .last()
        .and_then(|row| row.output.clone())
        .unwrap_or_default();
    assert!(
        last.starts_with("3 ") && last.contains("go left") && last.contains("untrusted"),
        "{last}"
    );
    house.finish().await;
}

#[actix::test]
async fn a_word_in_an_output_fails_passes_or_asks_as_its_rule_says() {
    let phase = |rule: Value| {
        json!([{"name": "a", "label": "", "kind": "script", "run": "echo I am blocked", "on_output": [rule], "retry": {"max": 3, "backoff": {"secs": 0, "nanos": 0}},
        "messages": {"on_blocked": "stopped: {{error}}", "on_blocked_bypassed": "went on"}}, {"name": "b", "label": "", "kind": "context"}])
    };
    for (rule, status, words) in [
        (
            json!({"contains": "BLOCKED", "action": "fail", "message": "see ${a.output}"}),
            RunStatus::Failed,
            "stopped: `blocked: see I am blocked`",
        ),
        (
            json!({"contains": "BLOCKED", "action": "fail", "unless_label": "bug"}),
            RunStatus::Succeeded,
            "went on",
        ),
        (
            json!({"contains": "BLOCKED", "action": "fail", "unless_title_matches": "^it BROKE$"}),
            RunStatus::Succeeded,
            "went on",
        ),
        (
            json!({"contains": "BLOCKED", "action": "continue", "message": "so what"}),
            RunStatus::Succeeded,
            "so what",
        ),
    ] {
        let (record, said) = work_off(|_| {}, phase(rule.clone()), None).await;
        assert_eq!(record.summary.status, status, "{rule} {:?}", record.summary.error);
        assert_eq!(
            said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            [words],
            "{rule}"
        );
        assert_eq!(record.phases[0].attempt, 1, "it is not tried again");
    }
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let run = house
        .open(7, phase(json!({"contains": "READY", "action": "pause"})))
        .await;
    let asks = house
        .open(
            8,
            phase(json!({"contains": "BLOCKED", "action": "pause", "message": "Go on?"})),
        )
        .await;
    house.settle().await;
    assert_eq!(house.load(run).await.summary.status, RunStatus::Succeeded);
    assert_eq!(house.load(asks).await.summary.status, RunStatus::Paused);
    assert!(house.said(asks).await[0].1.contains("Go on?"));
    assert!(house.approve(None).await);
    house.settle().await;
    assert_eq!(house.load(asks).await.summary.status, RunStatus::Succeeded);
    house.finish().await;
}

#[actix::test]
async fn two_gates_of_a_graph_are_asked_one_after_the_other() {
    let gated = |name: &str| json!({"name": name, "label": "", "kind": "script", "run": "echo x", "depends_on": ["start"], "approval_gate": "ask"});
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let run = house
        .open(7, json!([{"name": "start", "label": "", "kind": "context"}, gated("one"), gated("two"), {"name": "end", "label": "", "kind": "context", "depends_on": ["one", "two"]}]))
        .await;
    for answered in 0..2 {
        house.settle().await;
        assert_eq!(
            house.load(run).await.summary.status,
            RunStatus::Paused,
            "after {answered}"
        );
        assert!(house.approve(None).await);
    }
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert_eq!(record.phases.len(), 4, "nothing was done twice: {:?}", phases(&record));
    house.finish().await;
}

/// Everything that a crash could tear apart, by name.
fn flows() -> Vec<(&'static str, Value)> {
    let note = |name: &str| format!("echo {name} >> \"$HOME/../../done\"; echo {name}");
    vec![
        (
            "a line with words, a retry and a gate",
            json!([
                {"name": "a", "label": "", "kind": "context", "messages": {"on_start": "begin"}},
                {"name": "b", "label": "", "kind": "script", "run": note("b"), "messages": {"on_start": "b", "on_success": "b gave ${b.output}"}},
                {"name": "c", "label": "", "kind": "script", "run": format!("{}; [ $FIRSTLIGHT_PHASE = c ] && [ -e \"$HOME/../../tried\" ] || {{ touch \"$HOME/../../tried\"; exit 1; }}", note("c")),
                 "retry": {"max": 2, "backoff": {"secs": 0, "nanos": 1_000_000}}},
                {"name": "d", "label": "", "kind": "script", "run": note("d"), "approval_gate": "ask", "on_success": {"add_labels": ["done"], "set_phase": "shown"}},
                {"name": "e", "label": "", "kind": "reply", "message": "d gave ${d.output}"},
            ]),
        ),
        (
            "a graph",
            json!([
                {"name": "a", "label": "", "kind": "script", "run": note("a"), "messages": {"on_success": "a"}},
                {"name": "b", "label": "", "kind": "script", "run": note("b"), "depends_on": ["a"], "messages": {"on_success": "b"}},
                {"name": "c", "label": "", "kind": "script", "run": format!("{}; exit 1", note("c")), "depends_on": ["a"], "messages": {"on_failure": "c"}},
                {"name": "d", "label": "", "kind": "context", "depends_on": ["c"]},
                {"name": "e", "label": "", "kind": "reply", "message": "e after ${b.output}", "depends_on": ["b", "d"], "trigger_rule": "all_done"},
            ]),
        ),
        (
            "a reviewer loop with a gate",
            reviewed(json!({"loop.approval_gate": "ask"})),
        ),
        (
            "an interactive loop",
            json!([
                {"name": "talk", "label": "", "kind": "script", "run": format!("{}; echo \"$QA\"", note("talk")), "env": {"QA": "{{scratch.talk.qa.0.answer}} {{scratch.talk.qa.1.answer}}"},
                 "generic_loop": {"max_iterations": 3, "until_bash": "exit 1", "interactive": true, "gate_kind": "reply", "gate_message": "?"}, "messages": {"on_failure": "over"}},
                {"name": "after", "label": "", "kind": "reply", "message": "last ${talk.output}"},
            ]),
        ),
    ]
}

/// What a run came to, without what a crash may add: attempts that were cut off.
type Came = (
    RunStatus,
    Option<String>,
    BTreeMap<String, (PhaseStatus, Option<String>)>,
    Vec<(String, String)>,
    Value,
);

async fn came_to(house: &House, run: RunId) -> Came {
    let record = house.load(run).await;
    // Of each phase the last attempt counts.
    let rows: BTreeMap<String, (PhaseStatus, Option<String>)> = record
        .phases
        .iter()
        .map(|row| (row.phase.to_string(), (row.status, row.output.clone())))
        .collect();
    let mut said = house.said(run).await;
    said.sort();
    let mut scratch = json!(record.scratch);
    // Times differ.
    for loops in scratch.as_object_mut().expect("a map").values_mut() {
        for exchange in loops["qa"].as_array_mut().into_iter().flatten() {
            exchange["at"] = Value::Null;
        }
    }
    (record.summary.status, record.summary.error, rows, said, scratch)
}

async fn drive(house: &House) {
    house.settle().await;
    while house.approve(Some("yes")).await {
        house.settle().await;
    }
}

#[actix::test]
async fn a_crash_after_any_step_changes_nothing_in_what_a_run_comes_to() {
    let mut rows = 0;
    for (name, phases_json) in flows() {
        let whole = {
            let folder = tempfile::tempdir().expect("temp folder");
            let house = House::boot_with(folder.path(), |config| agent(config, REVIEWER), u32::MAX);
            let run = house.open(7, phases_json.clone()).await;
            drive(&house).await;
            let whole = came_to(&house, run).await;
            house.finish().await;
            whole
        };
        assert!(whole.0.is_final(), "{name}: {whole:?}");
        for steps in 0.. {
            let folder = tempfile::tempdir().expect("temp folder");
            let house = House::boot_with(folder.path(), |config| agent(config, REVIEWER), steps);
            let run = house.open(7, phases_json.clone()).await;
            drive(&house).await;
            let is_over = house.load(run).await.summary.status.is_final();
            house.finish().await;
            if is_over {
                assert!(steps >= 3, "{name}: {steps} steps are all there are");
                break;
            }
            rows += 1;
            let before = std::fs::read_to_string(folder.path().join("done")).unwrap_or_default();
            let house = House::boot_with(folder.path(), |config| agent(config, REVIEWER), u32::MAX);
            drive(&house).await;
            assert_eq!(came_to(&house, run).await, whole, "{name}: died after step {steps}");
            let record = house.load(run).await;
            house.finish().await;
            // Whoever had ended before the crash was not begun again: at most what was in flight ran twice.
            let after = std::fs::read_to_string(folder.path().join("done")).unwrap_or_default();
            let cut_off = record
                .phases
                .iter()
                .filter(|row| row.reason.as_deref().is_some_and(|r| r.starts_with("interrupted")))
                .count();
            let ran = record.phases.iter().filter(|row| row.kind == "script").count();
            assert!(
                after.starts_with(&before) && after.lines().count() <= ran,
                "{name}: died after step {steps}, {cut_off} cut off: {after:?}"
            );
        }
    }
    assert!(rows >= 25, "only {rows} places to die at");
}

/// Waits until some script has made a file of this name in its work folder; what is in it.
async fn appears(folder: &Path, name: &str) -> String {
    let work = folder.join("work");
    while !walk(&work).iter().any(|found| found == name) {
        tokio::task::yield_now().await;
    }
    let folders = std::fs::read_dir(&work).expect("it is there").flatten();
    let texts = folders.filter_map(|entry| std::fs::read_to_string(entry.path().join(name)).ok());
    texts.collect()
}

#[actix::test]
async fn old_work_folders_go_and_those_of_live_runs_and_all_logs_stay() {
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let script =
        |gate: Value| json!([{"name": "a", "label": "", "kind": "script", "run": "touch here", "approval_gate": gate}]);
    let over = house.open(7, script(Value::Null)).await;
    let paused = house.open(8, script("ask".into())).await;
    house.settle().await;
    assert_eq!(house.load(paused).await.summary.status, RunStatus::Paused);
    house.finish().await;
    let work = folder.path().join("work");
    let folder_of = |run: RunId| {
        let id = run.to_string();
        let mut folders = std::fs::read_dir(&work).expect("it is there").flatten();
        folders.find(|entry| entry.file_name().to_string_lossy().ends_with(&id[id.len() - 8..]))
    };
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for run in [over, paused] {
        let folder = folder_of(run).expect("it worked there").path();
        let opened = std::fs::File::open(folder).expect("opens");
        opened.set_modified(long_ago).expect("it is ours");
    }
    let house = House::boot(folder.path());
    while folder_of(over).is_some() {
        tokio::task::yield_now().await;
    }
    assert!(folder_of(paused).is_some(), "a paused run goes on in it");
    assert!(folder.path().join("runs").join(over.to_string()).join("a.log").exists());
    house.finish().await;
}
