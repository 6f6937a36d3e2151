//! Runs from the queue to their rest: real processes and a real supervisor, over a store that can be told to fail. Knows no HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, MessageResult};
use actors::clock::{Clock, SharedClock, SystemClock};
use actors::domain::{
    ApprovalId, Cause, Effect, INTERRUPTED, NewApproval, NewEffect, PUT_DOWN, Page, PhaseRecord, PhaseStatus, ReplyTo,
    RepoName, RunContext, RunId, RunRecord, RunStatus, RunSummary, Step, Subject, TriggerType,
};
use actors::house::{Belfry, Bells};
use actors::messages::cron::RunsRested;
use actors::messages::github::{GithubFault, MintToken, PhaseToken, ReadThread, Thread};
use actors::messages::house::{AwaitQuiet, Finish};
use actors::messages::outbound::EffectsQueued;
use actors::messages::runs::{CancelRun, GatesChanged, NotCancelled, StartRun};
use actors::messages::store::{
    EndRun, ListRuns, LoadRun, RecordStep, RecoverRuns, StepTaken, StoreError, StoreResult, TakeQueuedRuns, TellEnds,
    UntoldEnds,
};
use actors::runs::{RunDoors, RunSupervisor, RunsConfig, Runtime};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

#[actix::test]
async fn a_run_works_through_its_phases_and_says_so() {
    let house = House::start().await;
    let run = house.open(json!([
        {"name": "start", "label": "Start", "kind": "context", "messages": {"on_start": "Looking at #{{issueNumber}}."}},
        {"name": "look", "label": "Look", "kind": "script", "run": "printf 'seen '; printf '%s' \"$FIRSTLIGHT_REPO\"", "output_var": "finding"},
        {"name": "answer", "label": "Answer", "kind": "reply", "message": "I have ${look.output}.",
         "on_success": {"add_labels": ["triaged"], "react": "rocket"}},
    ]));
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(
        phases(&record),
        ["start#1 succeeded", "look#1 succeeded", "answer#1 succeeded"]
    );
    assert_eq!(record.phases[1].output.as_deref(), Some("seen acme/site"));
    assert_eq!(record.phases[1].exit_code, Some(0));
    assert_eq!(house.comments(), ["Looking at #7.", "I have seen acme/site."]);
    assert_eq!(
        house.keys(),
        [
            format!("run:{run}/start/1/on_start"),
            format!("run:{run}/answer/1/reply"),
            format!("run:{run}/answer/1/labels"),
            format!("run:{run}/answer/1/react"),
        ]
    );
    assert_eq!(house.log(run, "look"), "seen acme/site");
    assert!(house.nudges.load(Ordering::SeqCst) > 0, "the replier was told");
    house.finish().await;
}

#[actix::test]
async fn hostile_text_reaches_a_script_verbatim_and_runs_nothing() {
    let hostile = "$(touch pwned) `touch pwned` '; touch pwned; ' \"\n| touch pwned & ${touch} \\ {{repo}}";
    let house = House::start().await;
    let run = house.open_with(
        json!([
            {"name": "a", "label": "a", "kind": "script", "env": {"TITLE": "{{title}}"}, "run": "printf '%s' \"$TITLE\""},
            {"name": "b", "label": "b", "kind": "script", "run": "printf '%s' '{{title}}'"},
        ]),
        |record| {
            record.context.0.insert("title".into(), hostile.into());
        },
    );
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.phases[0].output.as_deref(), Some(hostile));
    assert_eq!(
        record.phases[1].output.as_deref(),
        Some("{{title}}"),
        "run is never templated"
    );
    let files: Vec<_> = walk(&house.config.work_dir);
    assert!(files.is_empty(), "nothing was executed: {files:?}");
    house.finish().await;
}

#[actix::test]
async fn an_agent_gets_its_prompt_on_stdin_and_nothing_of_our_environment() {
    // Whatever this test was started with, but for what a phase or its shell has anyway.
    let anyway = ["PATH", "LANG", "TZ", "TMPDIR", "HOME", "PWD", "OLDPWD", "SHLVL", "_"];
    let mut ours: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| !anyway.contains(&name.as_str()) && !name.is_empty())
        .collect();
    let allowed = ours.pop();
    let house = House::with(|config| {
        let runtime = |command: &str, env: Vec<String>| Runtime {
            command: vec!["sh".into(), "-c".into(), command.into()],
            env,
            ..Runtime::default()
        };
        config.runtimes.insert(
            "default".into(),
            runtime("cat; echo; echo $FIRSTLIGHT_MODEL", Vec::new()),
        );
        config
            .runtimes
            .insert("spy".into(), runtime("env", allowed.iter().cloned().collect()));
    })
    .await;
    let run = house.open(json!([
        {"name": "a", "label": "a", "kind": "agent", "prompt": "Triage {{title}}", "model": "{{variables.model}}"},
        {"name": "b", "label": "b", "kind": "agent", "prompt": "x", "runtime": "spy"},
    ]));
    house.settle().await;
    let record = house.run(run);
    let answer = record.phases[0].output.as_deref().unwrap_or_default();
    assert!(answer.starts_with("Triage ") && answer.contains("It broke"), "{answer}");
    assert!(answer.ends_with("\nbig-1\n"), "{answer}");
    let seen: Vec<&str> = record.phases[1].output.as_deref().unwrap_or_default().lines().collect();
    let has = |name: &str| seen.iter().any(|line| line.starts_with(&format!("{name}=")));
    assert!(allowed.iter().all(|name| has(name)), "{seen:?}");
    assert_eq!(ours.iter().find(|name| has(name)), None);
    assert!(seen.contains(&format!("FIRSTLIGHT_RUN_ID={run}").as_str()), "{seen:?}");
    house.finish().await;
}

#[actix::test]
async fn an_agent_without_a_runtime_is_skipped_if_optional_and_fails_otherwise() {
    let why = "no runtime \"default\" is configured: set runtimes.default in firstlight.yaml";
    let house = House::start().await;
    let optional = house.open(json!([
        {"name": "think", "label": "t", "kind": "agent", "prompt": "x", "optional": true, "messages": {"on_start": "no"}},
        {"name": "answer", "label": "a", "kind": "reply", "message": "Would have thought."},
    ]));
    let strict = house.open(json!([{"name": "think", "label": "t", "kind": "agent", "prompt": "x"}]));
    house.settle().await;
    let record = house.run(optional);
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(phases(&record), ["think#1 skipped", "answer#1 succeeded"]);
    assert_eq!(record.phases[0].reason.as_deref(), Some(why));
    assert_eq!(house.comments(), ["Would have thought."]);
    let record = house.run(strict);
    assert_eq!(record.summary.status, RunStatus::Failed);
    assert_eq!(record.summary.error, Some(format!("phase \"think\" failed: {why}")));
    house.finish().await;
}

#[actix::test]
async fn every_shipped_workflow_comes_to_a_good_end_with_nothing_configured() {
    let house = House::with(|config| config.gates.clear()).await;
    let catalog = actors::workflows::load(None).expect("the shipped files are right");
    let runs: Vec<(RunId, String)> = catalog
        .iter()
        .map(|workflow| {
            let run = house.open_with(json!([]), |record| {
                record.definition = workflow.bundle();
                record.summary.workflow = workflow.name.clone();
                let body = "steps: 1. run it `$(touch pwned)`\n@everyone <!-- -->".to_owned();
                record.context.0.insert("body".into(), body.into());
            });
            (run, workflow.name.to_string())
        })
        .collect();
    assert!(runs.len() >= 11, "{} workflows", runs.len());
    house.settle().await;
    for (run, name) in runs {
        let record = house.run(run);
        assert_eq!(
            record.summary.status,
            RunStatus::Succeeded,
            "{name}: {:?} {:?}",
            record.summary.error,
            record.phases
        );
        let said = house.keys().iter().any(|key| key.starts_with(&format!("run:{run}/")));
        assert!(said, "{name} said nothing");
    }
    assert!(!walk(&house.config.work_dir).iter().any(|file| file.ends_with("pwned")));
    house.finish().await;
}

#[actix::test]
async fn a_failed_phase_fails_its_run_and_says_why() {
    let house = House::start().await;
    let run = house.open(json!([
        {"name": "a", "label": "a", "kind": "script", "run": "echo half; exit 3",
         "messages": {"on_failure": "It failed ({{error}}) after ${a.output}"}},
        {"name": "b", "label": "b", "kind": "script", "run": "touch never"},
    ]));
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Failed);
    assert_eq!(
        record.summary.error.as_deref(),
        Some("phase \"a\" failed: exited with status 3")
    );
    assert_eq!(phases(&record), ["a#1 failed"]);
    assert_eq!(record.phases[0].output.as_deref(), Some("half\n"));
    assert_eq!(house.comments(), ["It failed (`exited with status 3`) after half"]);
    assert!(house.log(run, "a").ends_with("[firstlight] exited with status 3\n"));
    house.finish().await;
}

#[actix::test]
async fn a_phase_that_takes_too_long_is_ended_in_words() {
    let house = House::with(|config| config.run_deadline = Duration::from_millis(1_500)).await;
    let own = house.open(json!([{"name": "a", "label": "a", "kind": "script", "run": "sleep 60", "timeout": {"secs": 0, "nanos": 200_000_000}}]));
    let whole = house.open(json!([{"name": "a", "label": "a", "kind": "script", "run": "sleep 60"}]));
    house.settle().await;
    assert_eq!(
        house.run(own).phases[0].reason.as_deref(),
        Some("timed out after 0.2 s")
    );
    assert_eq!(
        house.run(whole).phases[0].reason.as_deref(),
        Some("the run took longer than 1.5 s (runs.deadline)")
    );
    house.finish().await;
}

#[actix::test]
async fn a_resumed_run_does_nothing_twice_and_knows_what_it_knew() {
    let house = House::start().await;
    let run = house.open_with(
        json!([
            {"name": "a", "label": "a", "kind": "script", "run": "touch twice; echo again"},
            {"name": "b", "label": "b", "kind": "script", "run": "cat; printf '%s' \"$WAS\"", "env": {"WAS": "{{known}}"},
             "messages": {"on_start": "b begins"}},
            {"name": "c", "label": "c", "kind": "reply", "message": "a said ${a.output}, b said ${b.output}"},
        ]),
        |record| {
            record.phases = vec![
                executed("a", 1, PhaseStatus::Succeeded, Some("first")),
                executed("b", 1, PhaseStatus::Running, None),
            ];
            let bundle = record.definition.replacen("\"name\":\"a\"", "\"name\":\"a\",\"output_var\":\"known\"", 1);
            record.definition = bundle;
        },
    );
    // What the attempt before had said is in the outbox; its key is the same.
    house.store().effects.push(NewEffect {
        key: format!("run:{run}/b/1/on_start").parse().expect("a key"),
        effect: comment("b begins"),
        run: Some(run),
        event: None,
    });
    house.settle().await;
    let record = house.run(run);
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert_eq!(
        phases(&record),
        ["a#1 succeeded", "b#1 failed", "b#2 succeeded", "c#1 succeeded"]
    );
    assert_eq!(
        record.phases[1].reason.as_deref(),
        Some("interrupted: the service stopped")
    );
    assert_eq!(house.comments(), ["b begins", "a said first, b said first"]);
    assert!(walk(&house.config.work_dir).is_empty(), "a was not done again");
    assert_eq!(house.log(run, "b"), "\n[firstlight] attempt 2\nfirst");
    house.finish().await;
}

#[actix::test]
async fn a_phase_is_taken_up_again_three_times_and_then_fails_its_run() {
    let house = House::start().await;
    let run = house.open_with(
        json!([{"name": "a", "label": "a", "kind": "script", "run": "touch ran"}]),
        |record| {
            record.phases = (1..=4)
                .map(|attempt| executed("a", attempt, PhaseStatus::Running, None))
                .collect();
        },
    );
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Failed);
    assert_eq!(
        record.summary.error.as_deref(),
        Some("phase \"a\" failed: interrupted 4 times while it ran; not tried again")
    );
    assert!(walk(&house.config.work_dir).is_empty());
    house.finish().await;
}

#[actix::test]
async fn what_a_killed_service_left_running_is_ended_before_its_phase_begins_anew() {
    let house = House::start().await;
    let mut left = None;
    let run = house.open_with(
        json!([{"name": "a", "label": "a", "kind": "script", "run": "echo anew"}]),
        |record| {
            record.phases = vec![executed("a", 1, PhaseStatus::Running, None)];
            let id = record.summary.id.to_string();
            left = Some(
                std::process::Command::new("sleep")
                    .arg("600")
                    .env("FIRSTLIGHT_RUN_ID", id)
                    .spawn()
                    .expect("sleep"),
            );
        },
    );
    house.settle().await;
    assert_eq!(house.run(run).summary.status, RunStatus::Succeeded);
    assert!(!left.expect("started").wait().expect("it was ended").success());
    house.finish().await;
}

#[actix::test]
async fn an_enabled_gate_pauses_the_run_and_asks_and_approval_goes_on_behind_it() {
    let house = House::with(|config| {
        config.gates.insert("post_plan".into());
    })
    .await;
    let phases_json = json!([
        {"name": "plan", "label": "Plan", "kind": "script", "run": "echo the plan; echo x >> runs", "approval_gate": "post_plan",
         "approval_gate_message": "Is ${plan.output} good?"},
        {"name": "other", "label": "Other", "kind": "context", "approval_gate": "not_enabled"},
        {"name": "do", "label": "Do", "kind": "reply", "message": "Doing ${plan.output}"},
    ]);
    let run = house.open(phases_json);
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Paused);
    assert_eq!(phases(&record), ["plan#1 waiting_approval"]);
    let approvals = house.store().approvals.clone();
    assert_eq!(approvals.len(), 1);
    assert_eq!(
        (approvals[0].gate.as_str(), approvals[0].requested_by.as_str()),
        ("post_plan", "ann")
    );
    let comments = house.comments();
    assert!(
        comments.len() == 1 && comments[0].contains("`@last-light approve`"),
        "{comments:?}"
    );

    house.approve(run, approvals[0].id);
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(
        phases(&record),
        ["plan#1 succeeded", "other#1 succeeded", "do#1 succeeded"]
    );
    assert_eq!(house.comments()[1], "Doing the plan");
    house.finish().await;
}

#[actix::test]
async fn a_cancelled_run_is_dead_at_once_and_says_who() {
    let house = House::start().await;
    let run = house.open(json!([
        {"name": "a", "label": "a", "kind": "script", "run": "trap '' TERM; sleep 600 & echo $! > child.tmp; mv child.tmp child; wait; wait",
         "messages": {"on_failure": "not said"}},
    ]));
    let child = house.appears("child").await;
    house.cancel(run).await.expect("it was live");
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Cancelled);
    assert_eq!(record.summary.error.as_deref(), Some("cancelled by ann"));
    assert_eq!(phases(&record), ["a#1 failed"]);
    assert_eq!(record.phases[0].reason.as_deref(), Some("cancelled by ann"));
    assert!(house.comments().is_empty());
    gone(&child).await;
    assert_eq!(house.cancel(run).await, Err(NotCancelled::Over(RunStatus::Cancelled)));
    house.finish().await;
}

#[actix::test]
async fn what_waits_can_be_cancelled_and_what_is_over_cannot() {
    let house = House::with(|config| {
        config.max_runs = 1;
        config.gates.insert("ask".into());
    })
    .await;
    let done = house.open(json!([{"name": "a", "label": "a", "kind": "context"}]));
    let paused = house.open(json!([{"name": "a", "label": "a", "kind": "context", "approval_gate": "ask"}]));
    house.settle().await;
    let busy = house.open(json!([{"name": "a", "label": "a", "kind": "script", "run": "touch up; sleep 600"}]));
    house.appears("up").await;
    let queued = house.open(json!([{"name": "a", "label": "a", "kind": "script", "run": "touch never"}]));
    for (run, expected) in [
        (done, Err(NotCancelled::Over(RunStatus::Succeeded))),
        (paused, Ok(())),
        (queued, Ok(())),
        (busy, Ok(())),
        (RunId::new(Uuid::nil()), Err(NotCancelled::Unknown)),
    ] {
        assert_eq!(house.cancel(run).await, expected);
    }
    house.settle().await;
    for run in [paused, queued, busy] {
        assert_eq!(house.run(run).summary.status, RunStatus::Cancelled);
    }
    assert!(!walk(&house.config.work_dir).iter().any(|file| file.ends_with("never")));
    house.finish().await;
}

#[actix::test]
async fn the_cap_holds_and_a_queue_of_twenty_is_worked_off() {
    let house = House::with(|config| config.max_runs = 3).await;
    let runs: Vec<RunId> = (0..20)
        .map(|_| house.open(json!([{"name": "a", "label": "a", "kind": "script", "run": "true"}, {"name": "b", "label": "b", "kind": "context"}])))
        .collect();
    house.settle().await;
    for run in runs {
        assert_eq!(house.run(run).summary.status, RunStatus::Succeeded);
    }
    assert_eq!(house.store().most_running, 3);
    house.finish().await;
}

#[actix::test]
async fn a_runner_that_panics_is_begun_anew_where_it_stood() {
    let house = House::on_clock(
        |config| {
            config.gates.insert("ask".into());
        },
        PanickingClock::shared(2),
    )
    .await;
    let run = house.open(json!([
        {"name": "a", "label": "a", "kind": "script", "run": "echo x >> times"},
        {"name": "b", "label": "b", "kind": "script", "run": "wc -l < times", "approval_gate": "ask"},
    ]));
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Paused, "{:?}", record.summary.error);
    let last = record.phases.last().expect("phases");
    assert_eq!(
        last.output.as_deref().map(str::trim),
        Some("1"),
        "a was done once: {:?}",
        phases(&record)
    );
    house.finish().await;
}

#[actix::test]
async fn a_runner_that_always_panics_fails_its_run_and_no_other() {
    let house = House::on_clock(
        |config| {
            config.max_runs = 1;
            config.gates.insert("ask".into());
        },
        PanickingClock::shared(u32::MAX),
    )
    .await;
    let bad = house.open(json!([{"name": "a", "label": "a", "kind": "context", "approval_gate": "ask"}]));
    let good = house.open(json!([{"name": "a", "label": "a", "kind": "context"}]));
    house.settle().await;
    let record = house.run(bad);
    assert_eq!(record.summary.status, RunStatus::Failed);
    let error = record.summary.error.unwrap_or_default();
    assert!(error.starts_with("the runner panicked 3 times"), "{error}");
    assert_eq!(house.run(good).summary.status, RunStatus::Succeeded);
    house.finish().await;
}

#[actix::test]
async fn finish_puts_runs_down_and_the_next_start_takes_them_up() {
    let house = House::start().await;
    let run = house.open(json!([
        {"name": "a", "label": "a", "kind": "script", "run": "echo done"},
        {"name": "b", "label": "b", "kind": "script", "run": "[ -e up ] && echo resumed && exit; trap 'echo saved > state; exit 0' TERM; touch up; while :; do sleep 0.05; done"},
    ]));
    let waiting = house.open_with(json!([{"name": "a", "label": "a", "kind": "context"}]), |_| {});
    house.appears("up").await;
    house.supervisor.send(Finish).await.expect("alive");
    house.appears("state").await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Queued, "back at its place");
    assert_eq!(phases(&record), ["a#1 succeeded", "b#1 failed"]);
    assert_eq!(record.phases[1].reason.as_deref(), Some(PUT_DOWN));

    let house = house.restart().await;
    house.settle().await;
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(record.summary.restart_count, 0, "a planned stop is no crash");
    assert_eq!(phases(&record), ["a#1 succeeded", "b#1 failed", "b#2 succeeded"]);
    assert_eq!(record.phases[2].output.as_deref(), Some("resumed\n"));
    assert_eq!(house.run(waiting).summary.status, RunStatus::Succeeded);
    house.finish().await;
}

#[actix::test]
async fn wherever_the_service_dies_the_run_ends_the_same() {
    let phases_json = json!([
        {"name": "a", "label": "a", "kind": "context", "messages": {"on_start": "Begin."}},
        {"name": "b", "label": "b", "kind": "script", "run": "echo one", "messages": {"on_start": "b", "on_success": "b gave ${b.output}"}},
        {"name": "c", "label": "c", "kind": "agent", "prompt": "x", "optional": true},
        {"name": "d", "label": "d", "kind": "script", "run": "printf '%s' \"$B\"", "env": {"B": "${b.output}"}},
        {"name": "e", "label": "e", "kind": "reply", "message": "d gave ${d.output}", "on_success": {"add_labels": ["done"]}},
    ]);
    let house = House::start().await;
    let run = house.open(phases_json);
    house.settle().await;
    let told = |house: &House| {
        let record = house.run(run);
        let good = record.phases.iter().filter(|phase| phase.status != PhaseStatus::Failed);
        let outputs: Vec<_> = good
            .map(|phase| (phase.phase.to_string(), phase.status, phase.output.clone()))
            .collect();
        (record.summary.status, outputs, house.keys(), house.comments())
    };
    let whole = told(&house);
    assert_eq!(whole.0, RunStatus::Succeeded);
    let moments = std::mem::take(&mut house.store().moments);
    assert!(moments.len() >= 3, "{} moments", moments.len());
    for (step, moment) in moments.into_iter().enumerate() {
        let folder = Arc::new(tempfile::tempdir().expect("temp folder"));
        let config = RunsConfig::new(folder.path().join("runs"), folder.path().join("work"));
        let revived = House::boot(folder, config, SystemClock::shared(), Arc::new(Mutex::new(moment)));
        revived.settle().await;
        assert_eq!(told(&revived), whole, "died after step {step}");
        revived.finish().await;
    }
    house.finish().await;
}

#[actix::test]
async fn a_store_that_fails_for_a_while_costs_time_and_nothing_else() {
    let house = House::start().await;
    house.store().fail_next = 3;
    let run = house.open(json!([
        {"name": "a", "label": "a", "kind": "script", "run": "echo x >> times; wc -l < times"},
        {"name": "b", "label": "b", "kind": "reply", "message": "said ${a.output}"},
    ]));
    house.settle().await;
    assert_eq!(house.store().fail_next, 0);
    let record = house.run(run);
    assert_eq!(record.summary.status, RunStatus::Succeeded);
    assert_eq!(house.comments(), ["said 1"]);
    house.finish().await;
}

#[actix::test]
async fn a_cancel_that_the_store_cannot_take_kills_at_once_and_is_written_later() {
    let house = House::start().await;
    let run = house.open(
        json!([{"name": "a", "label": "a", "kind": "script", "run": "echo $$ > pid.tmp; mv pid.tmp pid; sleep 600"}]),
    );
    let pid = house.appears("pid").await;
    house.store().fail_next = 3;
    assert!(matches!(
        house.cancel(run).await,
        Err(NotCancelled::Store(StoreError::Full))
    ));
    gone(&pid).await;
    house.settle().await;
    assert_eq!(house.run(run).summary.status, RunStatus::Cancelled);
    house.finish().await;
}

#[actix::test]
async fn a_definition_that_cannot_be_read_fails_its_run_in_words() {
    let house = House::start().await;
    let run = house.open_with(json!([]), |record| record.definition = "{".into());
    house.settle().await;
    let error = house.run(run).summary.error.unwrap_or_default();
    assert!(
        error.starts_with("the stored definition of workflow \"triage\" cannot be read"),
        "{error}"
    );
    house.finish().await;
}

#[actix::test]
async fn a_workflow_of_many_phases_without_a_process_is_written_in_batches() {
    let house = House::start().await;
    let many: Vec<Value> = (0..1000)
        .map(|n| json!({"name": format!("p{n}"), "label": "p", "kind": "context"}))
        .collect();
    let run = house.open(Value::Array(many));
    house.settle().await;
    let record = house.run(run);
    assert_eq!(
        (record.summary.status, record.phases.len()),
        (RunStatus::Succeeded, 1000)
    );
    let writes = house.store().step_orders;
    assert!((10..100).contains(&writes), "{writes} orders");
    house.finish().await;
}

/// A supervisor over a remembering store, in a folder of its own.
struct House {
    folder: Arc<tempfile::TempDir>,
    config: RunsConfig,
    clock: SharedClock,
    shelf: Shelf,
    nudges: Arc<AtomicU32>,
    supervisor: Addr<RunSupervisor>,
    belfry: Belfry,
}

impl House {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut RunsConfig)) -> Self {
        Self::on_clock(change, SystemClock::shared()).await
    }

    async fn on_clock(change: impl FnOnce(&mut RunsConfig), clock: SharedClock) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("temp folder"));
        let mut config = RunsConfig::new(folder.path().join("runs"), folder.path().join("work"));
        change(&mut config);
        Self::boot(folder, config, clock, Shelf::default())
    }

    fn boot(folder: Arc<tempfile::TempDir>, config: RunsConfig, clock: SharedClock, shelf: Shelf) -> Self {
        let store = FakeStore(shelf.clone()).start();
        let nudges = Arc::new(AtomicU32::new(0));
        let replier = FakeReplier(nudges.clone()).start();
        let doors = RunDoors {
            recover: store.clone().recipient(),
            take: store.clone().recipient(),
            load: store.clone().recipient(),
            list: store.clone().recipient(),
            record: store.clone().recipient(),
            end: store.clone().recipient(),
            untold: store.clone().recipient(),
            tell: store.recipient(),
            effects: replier.clone().recipient().into(),
            thread: replier.clone().recipient(),
            token: replier.clone().recipient(),
            crons: replier.clone().recipient(),
            gates: replier.recipient(),
        };
        let (bells, belfry) = Bells::hang();
        let supervisor = RunSupervisor::new(config.clone(), doors, clock.clone(), bells.bell("run supervisor")).start();
        Self {
            folder,
            config,
            clock,
            shelf,
            nudges,
            supervisor,
            belfry,
        }
    }

    /// The service stops and starts again on what is stored.
    async fn restart(self) -> Self {
        Self::boot(self.folder, self.config, self.clock, self.shelf)
    }

    fn store(&self) -> MutexGuard<'_, Shelved> {
        self.shelf.lock().expect("no test panicked with it")
    }

    fn open(&self, phases: Value) -> RunId {
        self.open_with(phases, |_| {})
    }

    fn open_with(&self, phases: Value, change: impl FnOnce(&mut RunRecord)) -> RunId {
        let mut record = queued(phases);
        change(&mut record);
        let id = record.summary.id;
        self.store().runs.push(record);
        // A full mailbox holds nudges enough.
        let _ = self.supervisor.try_send(StartRun);
        id
    }

    async fn settle(&self) {
        self.supervisor.send(AwaitQuiet).await.expect("alive");
    }

    async fn cancel(&self, run: RunId) -> Result<(), NotCancelled> {
        let who = "ann".to_owned();
        self.supervisor.send(CancelRun { run, who }).await.expect("alive")
    }

    fn run(&self, id: RunId) -> RunRecord {
        self.store().find(id).cloned().expect("stored")
    }

    fn approve(&self, id: RunId, approval: ApprovalId) {
        let mut store = self.store();
        assert!(store.approvals.iter().any(|a| a.id == approval));
        let run = store.find(id).expect("stored");
        run.summary.status = RunStatus::Queued;
        for phase in &mut run.phases {
            if phase.status == PhaseStatus::WaitingApproval {
                phase.status = PhaseStatus::Succeeded;
            }
        }
    }

    fn keys(&self) -> Vec<String> {
        self.store()
            .effects
            .iter()
            .map(|effect| effect.key.to_string())
            .collect()
    }

    fn comments(&self) -> Vec<String> {
        let store = self.store();
        let comments = store.effects.iter().filter_map(|effect| match &effect.effect {
            Effect::GithubComment { body, .. } => Some(body.clone()),
            _ => None,
        });
        comments.collect()
    }

    fn log(&self, run: RunId, phase: &str) -> String {
        let path = self.config.runs_dir.join(run.to_string()).join(format!("{phase}.log"));
        std::fs::read_to_string(path).expect("a log")
    }

    /// Waits until some script has made a file of this name in its work folder; what is in it.
    async fn appears(&self, name: &str) -> String {
        loop {
            if let Some(path) = walk(&self.config.work_dir).iter().find(|path| path.ends_with(name)) {
                return std::fs::read_to_string(path).expect("readable");
            }
            tokio::task::yield_now().await;
        }
    }

    /// Stops, and holds that nothing was left running and no bell rang.
    async fn finish(mut self) {
        self.supervisor.send(Finish).await.expect("alive");
        assert_eq!(self.belfry.hear().now_or_never(), None);
        let left = self
            .store()
            .runs
            .iter()
            .filter(|run| run.summary.status == RunStatus::Running)
            .count();
        assert_eq!(left, 0, "runs are still running");
    }
}

/// Waits until a process is gone, or only waits to be reaped.
async fn gone(pid: &str) {
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::task::yield_now().await;
    }
}

/// All files in a folder of folders.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

fn phases(record: &RunRecord) -> Vec<String> {
    let shown = record
        .phases
        .iter()
        .map(|p| format!("{}#{} {}", p.phase, p.attempt, p.status));
    shown.collect()
}

fn comment(body: &str) -> Effect {
    Effect::GithubComment {
        repo: "acme/site".parse().expect("valid"),
        number: 7,
        body: body.into(),
    }
}

fn executed(phase: &str, attempt: u32, status: PhaseStatus, output: Option<&str>) -> PhaseRecord {
    PhaseRecord {
        phase: phase.parse().expect("valid"),
        kind: "script".into(),
        attempt,
        status,
        output: output.map(str::to_owned),
        reason: None,
        exit_code: None,
        started_at: DateTime::UNIX_EPOCH,
        ended_at: None,
    }
}

fn queued(phases: Value) -> RunRecord {
    let repo: RepoName = "acme/site".parse().expect("valid");
    let id = RunId::new(Uuid::now_v7());
    let bundle = json!({
        "name": "triage", "kind": "agent", "description": "", "variables": {"model": "big-1"},
        "phases": phases, "text": "", "file": "triage.yaml",
    });
    RunRecord {
        summary: RunSummary {
            seq: 1,
            id,
            workflow: "triage".parse().expect("valid"),
            subject: Subject::alone(id),
            repo: Some(repo.clone()),
            number: Some(7),
            status: RunStatus::Queued,
            current_phase: None,
            cause: Cause {
                trigger: TriggerType::Webhook,
                who: "ann".into(),
                event: None,
            },
            error: None,
            restart_count: 0,
            created_at: DateTime::UNIX_EPOCH,
            started_at: None,
            ended_at: None,
        },
        definition: bundle.to_string(),
        context: RunContext(serde_json::from_value(json!({"title": "It broke", "sender": "ann"})).expect("a map")),
        reply_to: ReplyTo::IssueComment {
            repo,
            number: 7,
            comment_id: None,
        },
        event: None,
        phases: Vec::new(),
        scratch: BTreeMap::new(),
        answers: Vec::new(),
    }
}

type Shelf = Arc<Mutex<Shelved>>;

/// What the fake store remembers.
#[derive(Default, Clone)]
struct Shelved {
    runs: Vec<RunRecord>,
    effects: Vec<NewEffect>,
    approvals: Vec<NewApproval>,
    most_running: usize,
    step_orders: usize,
    /// What was stored after each order of steps.
    moments: Vec<Shelved>,
    /// So many orders fail from now on.
    fail_next: u32,
}

impl Shelved {
    fn find(&mut self, id: RunId) -> Option<&mut RunRecord> {
        self.runs.iter_mut().find(|run| run.summary.id == id)
    }

    fn works(&mut self) -> StoreResult<()> {
        if self.fail_next > 0 {
            self.fail_next -= 1;
            return Err(StoreError::Full);
        }
        Ok(())
    }
}

fn apply(run: &mut RunRecord, step: &Step, at: DateTime<Utc>, approvals: &mut Vec<NewApproval>) {
    match step {
        Step::PhaseStarted { phase, attempt, .. } => {
            run.phases
                .push(executed(phase.as_str(), *attempt, PhaseStatus::Running, None));
        }
        Step::Shown(phase) => run.summary.current_phase = Some(phase.clone()),
        Step::PhaseEnded(end) => {
            let known = run
                .phases
                .iter_mut()
                .find(|p| p.phase == end.phase && p.attempt == end.attempt);
            let phase = match known {
                Some(phase) => phase,
                None => {
                    run.phases
                        .push(executed(end.phase.as_str(), end.attempt, end.status, None));
                    run.phases.last_mut().expect("just pushed")
                }
            };
            phase.status = end.status;
            phase.output.clone_from(&end.output);
            phase.reason.clone_from(&end.reason);
            phase.exit_code = end.exit_code;
            phase.ended_at = Some(at);
        }
        Step::Paused(approval) => {
            run.summary.status = RunStatus::Paused;
            if let Some(phase) = run.phases.iter_mut().rfind(|p| p.phase == approval.phase) {
                phase.status = PhaseStatus::WaitingApproval;
            }
            approvals.push(approval.clone());
        }
        Step::Scratch { key, value } => {
            run.scratch.insert(key.clone(), value.clone());
        }
        Step::PutDown => run.summary.status = RunStatus::Queued,
        Step::Ended { status, error } => {
            run.summary.status = *status;
            run.summary.error.clone_from(error);
        }
    }
}

struct FakeStore(Shelf);

impl Actor for FakeStore {
    type Context = Context<Self>;
}

impl Handler<TakeQueuedRuns> for FakeStore {
    type Result = MessageResult<TakeQueuedRuns>;

    fn handle(&mut self, order: TakeQueuedRuns, _: &mut Self::Context) -> Self::Result {
        let mut shelf = self.0.lock().expect("no test panicked with it");
        if let Err(error) = shelf.works() {
            return MessageResult(Err(error));
        }
        let waiting = shelf
            .runs
            .iter_mut()
            .filter(|run| run.summary.status == RunStatus::Queued);
        let mut taken = Vec::new();
        for run in waiting.take(order.free) {
            run.summary.status = RunStatus::Running;
            taken.push(run.clone());
        }
        let running = shelf
            .runs
            .iter()
            .filter(|run| run.summary.status == RunStatus::Running)
            .count();
        shelf.most_running = shelf.most_running.max(running);
        MessageResult(Ok(taken))
    }
}

impl Handler<RecoverRuns> for FakeStore {
    type Result = MessageResult<RecoverRuns>;

    fn handle(&mut self, _: RecoverRuns, _: &mut Self::Context) -> Self::Result {
        let mut shelf = self.0.lock().expect("no test panicked with it");
        let mut back = 0;
        for run in shelf
            .runs
            .iter_mut()
            .filter(|run| run.summary.status == RunStatus::Running)
        {
            run.summary.status = RunStatus::Queued;
            run.summary.restart_count += 1;
            for phase in run
                .phases
                .iter_mut()
                .filter(|phase| phase.status == PhaseStatus::Running)
            {
                phase.status = PhaseStatus::Failed;
                phase.reason = Some(INTERRUPTED.into());
            }
            back += 1;
        }
        MessageResult(Ok((back, 0)))
    }
}

impl Handler<LoadRun> for FakeStore {
    type Result = MessageResult<LoadRun>;

    fn handle(&mut self, LoadRun(id): LoadRun, _: &mut Self::Context) -> Self::Result {
        let mut shelf = self.0.lock().expect("no test panicked with it");
        MessageResult(Ok(shelf.find(id).cloned()))
    }
}

impl Handler<ListRuns> for FakeStore {
    type Result = MessageResult<ListRuns>;

    fn handle(&mut self, ListRuns(filter): ListRuns, _: &mut Self::Context) -> Self::Result {
        let shelf = self.0.lock().expect("no test panicked with it");
        let runs = shelf.runs.iter().map(|run| run.summary.clone());
        let items: Vec<RunSummary> = runs.filter(|run| filter.statuses.contains(&run.status)).collect();
        let total = items.len() as u64;
        MessageResult(Ok((Page { items, next: None }, total)))
    }
}

impl Handler<RecordStep> for FakeStore {
    type Result = MessageResult<RecordStep>;

    fn handle(&mut self, order: RecordStep, _: &mut Self::Context) -> Self::Result {
        let mut shelf = self.0.lock().expect("no test panicked with it");
        if let Err(error) = shelf.works() {
            return MessageResult(Err(error));
        }
        shelf.step_orders += 1;
        let shelf = &mut *shelf;
        let Some(run) = shelf.runs.iter_mut().find(|run| run.summary.id == order.run) else {
            return MessageResult(Err(StoreError::Failed("no such run".into())));
        };
        if run.summary.status.is_final() {
            return MessageResult(Ok(StepTaken::RunIsOver(run.summary.status)));
        }
        for step in &order.steps {
            apply(run, step, order.at, &mut shelf.approvals);
        }
        let before = shelf.effects.len();
        for effect in order.effects {
            if !shelf.effects.iter().any(|known| known.key == effect.key) {
                shelf.effects.push(effect);
            }
        }
        let effects = shelf.effects.len() - before;
        if shelf.runs.len() == 1 {
            let moments = std::mem::take(&mut shelf.moments);
            let now = shelf.clone();
            shelf.moments = moments;
            shelf.moments.push(now);
        }
        MessageResult(Ok(StepTaken::Taken { effects }))
    }
}

impl Handler<EndRun> for FakeStore {
    type Result = MessageResult<EndRun>;

    fn handle(&mut self, order: EndRun, _: &mut Self::Context) -> Self::Result {
        let mut shelf = self.0.lock().expect("no test panicked with it");
        if let Err(error) = shelf.works() {
            return MessageResult(Err(error));
        }
        let had = shelf.find(order.run).map(|run| {
            let had = run.summary.status;
            if !had.is_final() {
                run.summary.status = order.status;
                run.summary.error = Some(order.error);
            }
            had
        });
        MessageResult(Ok(had))
    }
}

/// Its runs answer to nobody, so that there is nobody to tell.
impl Handler<UntoldEnds> for FakeStore {
    type Result = MessageResult<UntoldEnds>;

    fn handle(&mut self, _: UntoldEnds, _: &mut Self::Context) -> Self::Result {
        MessageResult(
            self.0
                .lock()
                .expect("no test panicked with it")
                .works()
                .map(|()| Vec::new()),
        )
    }
}

impl Handler<TellEnds> for FakeStore {
    type Result = MessageResult<TellEnds>;

    fn handle(&mut self, order: TellEnds, _: &mut Self::Context) -> Self::Result {
        panic!("nothing was untold, and yet {order:?} came");
    }
}

struct FakeReplier(Arc<AtomicU32>);

impl Actor for FakeReplier {
    type Context = Context<Self>;
}

/// Nobody can be asked what an issue says.
impl Handler<ReadThread> for FakeReplier {
    type Result = Result<Thread, GithubFault>;

    fn handle(&mut self, _: ReadThread, _: &mut Self::Context) -> Self::Result {
        Err(GithubFault::NoCredentials)
    }
}

/// Nobody configured credentials.
impl Handler<MintToken> for FakeReplier {
    type Result = Result<PhaseToken, GithubFault>;

    fn handle(&mut self, _: MintToken, _: &mut Self::Context) -> Self::Result {
        Err(GithubFault::NoCredentials)
    }
}

impl Handler<RunsRested> for FakeReplier {
    type Result = ();

    fn handle(&mut self, _: RunsRested, _: &mut Self::Context) {}
}

impl Handler<GatesChanged> for FakeReplier {
    type Result = ();

    fn handle(&mut self, _: GatesChanged, _: &mut Self::Context) {}
}

impl Handler<EffectsQueued> for FakeReplier {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, _: &mut Self::Context) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A clock whose ids make whoever asks for one panic, a number of times. Only a runner that comes to a gate asks.
#[derive(Debug)]
struct PanickingClock(AtomicU32);

impl PanickingClock {
    fn shared(times: u32) -> SharedClock {
        Arc::new(Self(AtomicU32::new(times)))
    }
}

impl Clock for PanickingClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration).boxed()
    }

    fn chance(&self) -> f64 {
        0.5
    }

    fn fresh_id(&self) -> Uuid {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "this clock panics");
        Uuid::now_v7()
    }
}
