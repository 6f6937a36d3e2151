//! Runs over the real store: queue, gate, crash and cancel as SQLite has them. Knows no HTTP.

use std::path::Path;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Recipient, ResponseFuture};
use actors::clock::{Clock, SystemClock};
use actors::domain::{
    Cause, Decided, Decision, Effect, NewRun, Overlap, PhaseStatus, ReplyTo, RepoName, Responder, RunContext, RunId,
    RunRecord, RunStatus, Subject, TriggerType, Via, Workflow,
};
use actors::house::Bells;
use actors::messages::cron::RunsRested;
use actors::messages::github::{GithubFault, MintToken, PhaseToken, ReadThread, Thread};
use actors::messages::house::{AwaitQuiet, Finish};
use actors::messages::outbound::EffectsQueued;
use actors::messages::runs::{CancelRun, GatesChanged, StartRun};
use actors::messages::store::{
    Answer, Decide, EffectsOf, KeepDefinitions, LoadRun, OpenGates, OpenRuns, RecordStep, StepTaken, StoreError,
    StoreResult,
};
use actors::runs::{RunDoors, RunSupervisor, RunsConfig};
use actors::store::StoreDoor;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};

#[actix::test]
async fn a_gate_in_the_real_store_pauses_survives_a_restart_and_goes_on_once() {
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let run = house
        .open(
            7,
            json!([
                {"name": "plan", "label": "Plan", "kind": "script", "run": "echo x >> times; echo the plan", "approval_gate": "ask"},
                {"name": "skip", "label": "Skip", "kind": "agent", "prompt": "x", "optional": true},
                {"name": "do", "label": "Do", "kind": "script", "run": "cat times; printf '%s' \"$PLAN\"", "env": {"PLAN": "${plan.output}"},
                 "messages": {"on_success": "done: ${do.output}"}},
            ]),
        )
        .await;
    house.settle().await;
    assert_eq!(house.load(run).await.summary.status, RunStatus::Paused);
    house.finish().await;

    let house = House::boot(folder.path());
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(record.summary.status, RunStatus::Paused, "a paused run stays paused");
    let gates = house
        .store
        .send(OpenGates { subject: None })
        .await
        .expect("open")
        .expect("reads");
    assert_eq!(gates.len(), 1);
    let decide = Decide(Answer {
        approval: gates[0].id,
        decision: Decision::Approved,
        by: Responder::named("ann", Via::Api),
        saw: None,
        response: None,
        at: SystemClock.now(),
    });
    house.store.send(decide).await.expect("open").expect("takes");
    house.supervisor.send(StartRun).await.expect("alive");
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    let statuses: Vec<_> = record
        .phases
        .iter()
        .map(|phase| (phase.phase.to_string(), phase.status))
        .collect();
    assert_eq!(
        statuses,
        [
            ("plan".to_owned(), PhaseStatus::Succeeded),
            ("skip".to_owned(), PhaseStatus::Skipped),
            ("do".to_owned(), PhaseStatus::Succeeded),
        ]
    );
    assert_eq!(record.phases[2].output.as_deref(), Some("x\nthe plan"));
    let effects = house
        .store
        .send(EffectsOf {
            run: Some(run),
            event: None,
        })
        .await
        .expect("open")
        .expect("reads");
    let keys: Vec<_> = effects.iter().map(|effect| effect.key.to_string()).collect();
    assert_eq!(
        keys,
        [format!("run:{run}/plan/1/gate"), format!("run:{run}/do/1/on_success")]
    );
    house.finish().await;
}

#[actix::test]
async fn a_run_that_was_put_down_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let run = house
        .open(
            7,
            json!([
                {"name": "a", "label": "a", "kind": "script", "run": "echo x >> times"},
                {"name": "b", "label": "b", "kind": "script", "run": "[ -e up ] && cat times && exit; touch up; exec sleep 600"},
            ]),
        )
        .await;
    while !walk(&folder.path().join("work")).iter().any(|name| name == "up") {
        tokio::task::yield_now().await;
    }
    house.finish().await;

    let house = House::boot(folder.path());
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    assert_eq!(record.summary.restart_count, 0, "a planned stop is no crash");
    let last = record.phases.last().expect("phases");
    assert_eq!((last.attempt, last.output.as_deref()), (2, Some("x\n")));
    house.finish().await;
}

#[actix::test]
async fn one_run_per_subject_and_a_cancel_lets_the_next_one_go() {
    let folder = tempfile::tempdir().expect("temp folder");
    let house = House::boot(folder.path());
    let busy = house
        .open(
            7,
            json!([{"name": "a", "label": "a", "kind": "script", "run": "touch up; exec sleep 600"}]),
        )
        .await;
    let next = house
        .open(7, json!([{"name": "a", "label": "a", "kind": "context"}]))
        .await;
    let other: Vec<RunId> = {
        let mut runs = Vec::new();
        for number in 100..120 {
            runs.push(
                house
                    .open(number, json!([{"name": "a", "label": "a", "kind": "context"}]))
                    .await,
            );
        }
        runs
    };
    while !walk(&folder.path().join("work")).iter().any(|name| name == "up") {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.load(next).await.summary.status, RunStatus::Queued);
    let who = "ann".to_owned();
    house
        .supervisor
        .send(CancelRun { run: busy, who })
        .await
        .expect("alive")
        .expect("it was live");
    house.settle().await;
    let record = house.load(busy).await;
    assert_eq!(
        (record.summary.status, record.summary.error.as_deref()),
        (RunStatus::Cancelled, Some("cancelled by ann"))
    );
    for run in other.into_iter().chain([next]) {
        assert_eq!(house.load(run).await.summary.status, RunStatus::Succeeded);
    }
    house.finish().await;
}

/// A supervisor over the real store, in a folder of its own.
pub(crate) struct House {
    pub(crate) store: Addr<StoreDoor>,
    sqlite: Arc<SqliteStore>,
    supervisor: Addr<RunSupervisor>,
}

impl House {
    pub(crate) fn boot(folder: &Path) -> Self {
        Self::boot_with(folder, |_| {}, u32::MAX)
    }

    /// A house whose runs can write `steps` orders of steps down; then it is as if the service had been killed.
    pub(crate) fn boot_with(folder: &Path, change: impl FnOnce(&mut RunsConfig), steps: u32) -> Self {
        let options = SqliteOptions::at(folder.join("firstlight.db"));
        let sqlite = Arc::new(SqliteStore::open(options, SystemClock::shared()).expect("opens"));
        let store = StoreDoor::new(sqlite.clone()).start();
        let replier = DeafReplier.start();
        let doors = RunDoors {
            recover: store.clone().recipient(),
            take: store.clone().recipient(),
            load: store.clone().recipient(),
            list: store.clone().recipient(),
            record: Scythe(store.clone().recipient(), steps).start().recipient(),
            end: store.clone().recipient(),
            untold: store.clone().recipient(),
            tell: store.clone().recipient(),
            effects: replier.clone().recipient().into(),
            thread: replier.clone().recipient(),
            token: replier.clone().recipient(),
            crons: replier.clone().recipient(),
            gates: replier.recipient(),
        };
        let mut config = RunsConfig::new(folder.join("runs"), folder.join("work"));
        config.gates.insert("ask".into());
        change(&mut config);
        let bell = Bells::hang().0.bell("run supervisor");
        let supervisor = RunSupervisor::new(config, doors, SystemClock::shared(), bell).start();
        Self {
            store,
            sqlite,
            supervisor,
        }
    }

    pub(crate) async fn open(&self, number: u64, phases: Value) -> RunId {
        let context = json!({"title": "It broke", "labels": ["bug"], "sender": "ann"});
        self.open_with(number, phases, context).await
    }

    pub(crate) async fn open_with(&self, number: u64, phases: Value, context: Value) -> RunId {
        let bundle = json!({
            "name": "triage", "kind": "agent", "description": "", "variables": {}, "phases": phases, "text": "", "file": "triage.yaml",
        })
        .to_string();
        let hash = Workflow::hash_of(&bundle);
        let workflow: actors::domain::WorkflowName = "triage".parse().expect("valid");
        let keep = KeepDefinitions(vec![(hash.clone(), workflow.clone(), bundle)]);
        self.store.send(keep).await.expect("open").expect("keeps");
        let repo: RepoName = "acme/site".parse().expect("valid");
        let id = RunId::new(SystemClock.fresh_id());
        let new = NewRun {
            id,
            workflow,
            definition: hash,
            subject: Subject::thread(&repo, number),
            repo: Some(repo.clone()),
            number: Some(number),
            context: RunContext(serde_json::from_value(context).expect("a map")),
            reply_to: ReplyTo::IssueComment {
                repo,
                number,
                comment_id: None,
            },
            cause: Cause {
                trigger: TriggerType::Api,
                who: "ann".into(),
                event: None,
            },
            overlap: Overlap::Queue,
            created_at: SystemClock.now(),
        };
        self.store
            .send(OpenRuns(vec![new]))
            .await
            .expect("open")
            .expect("opens");
        self.supervisor.send(StartRun).await.expect("alive");
        id
    }

    /// What the outbox has of a run: each effect by its key and its text, in order.
    pub(crate) async fn said(&self, run: RunId) -> Vec<(String, String)> {
        let of = EffectsOf {
            run: Some(run),
            event: None,
        };
        let effects = self.store.send(of).await.expect("open").expect("reads");
        let prefix = format!("run:{run}/");
        effects
            .into_iter()
            .map(|stored| {
                let text = match stored.effect {
                    Effect::GithubComment { body, .. } => body,
                    other => other.kind().to_owned(),
                };
                (stored.key.as_str().trim_start_matches(&prefix).to_owned(), text)
            })
            .collect()
    }

    /// Answers the open question with yes, if there is one.
    pub(crate) async fn approve(&self, words: Option<&str>) -> bool {
        let gates = self.store.send(OpenGates { subject: None }).await.expect("open");
        let Some(gate) = gates.expect("reads").into_iter().next() else {
            return false;
        };
        let answer = Answer {
            approval: gate.id,
            decision: Decision::Approved,
            by: Responder::named("bob", Via::Api),
            saw: None,
            response: words.map(str::to_owned),
            at: SystemClock.now(),
        };
        let decided = self.store.send(Decide(answer)).await.expect("open").expect("writes");
        assert!(matches!(decided, Decided::Counted { .. }), "{decided:?}");
        self.supervisor.send(StartRun).await.expect("alive");
        true
    }

    pub(crate) async fn cancel(&self, run: RunId) {
        let who = "ann".to_owned();
        let cancelled = self.supervisor.send(CancelRun { run, who }).await.expect("alive");
        cancelled.expect("it was live");
    }

    pub(crate) async fn load(&self, run: RunId) -> RunRecord {
        self.store
            .send(LoadRun(run))
            .await
            .expect("open")
            .expect("reads")
            .expect("stored")
    }

    pub(crate) async fn settle(&self) {
        self.supervisor.send(AwaitQuiet).await.expect("alive");
    }

    pub(crate) async fn finish(self) {
        use actors::store::Store;
        self.supervisor.send(Finish).await.expect("alive");
        self.sqlite.close().await.expect("closes");
    }
}

/// The store's door for steps, which closes for good after so many orders.
struct Scythe(Recipient<RecordStep>, u32);

impl Actor for Scythe {
    type Context = Context<Self>;
}

impl Handler<RecordStep> for Scythe {
    type Result = ResponseFuture<StoreResult<StepTaken>>;

    fn handle(&mut self, order: RecordStep, _: &mut Self::Context) -> Self::Result {
        if self.1 == 0 {
            return Box::pin(async { Err(StoreError::Closed) });
        }
        self.1 -= 1;
        let taken = self.0.send(order);
        Box::pin(async move { taken.await.unwrap_or(Err(StoreError::Closed)) })
    }
}

struct DeafReplier;

impl Actor for DeafReplier {
    type Context = Context<Self>;
}

/// Nobody can be asked what an issue says.
impl Handler<ReadThread> for DeafReplier {
    type Result = Result<Thread, GithubFault>;

    fn handle(&mut self, _: ReadThread, _: &mut Self::Context) -> Self::Result {
        Err(GithubFault::NoCredentials)
    }
}

/// Nobody configured credentials.
impl Handler<MintToken> for DeafReplier {
    type Result = Result<PhaseToken, GithubFault>;

    fn handle(&mut self, _: MintToken, _: &mut Self::Context) -> Self::Result {
        Err(GithubFault::NoCredentials)
    }
}

impl Handler<RunsRested> for DeafReplier {
    type Result = ();

    fn handle(&mut self, _: RunsRested, _: &mut Self::Context) {}
}

impl Handler<GatesChanged> for DeafReplier {
    type Result = ();

    fn handle(&mut self, _: GatesChanged, _: &mut Self::Context) {}
}

impl Handler<EffectsQueued> for DeafReplier {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, _: &mut Self::Context) {}
}

/// Names of all files in a folder of folders.
pub(crate) fn walk(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let names = paths.flat_map(|path| {
        if path.is_dir() {
            walk(&path)
        } else {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .into_iter()
                .collect()
        }
    });
    names.collect()
}
