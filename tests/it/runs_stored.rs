//! Runs over the real store: queue, gate, crash and cancel as SQLite has them. Knows no HTTP.

use std::path::Path;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler};
use actors::clock::{Clock, SystemClock};
use actors::domain::{
    Cause, Decision, NewRun, Overlap, PhaseStatus, ReplyTo, RepoName, RunContext, RunId, RunRecord, RunStatus, Subject,
    TriggerType, Workflow,
};
use actors::house::Bells;
use actors::messages::github::{GithubFault, ReadThread, Thread};
use actors::messages::house::{AwaitQuiet, Finish};
use actors::messages::outbound::EffectsQueued;
use actors::messages::runs::{CancelRun, StartRun};
use actors::messages::store::{Answer, Decide, EffectsOf, KeepDefinitions, LoadRun, OpenGates, OpenRuns};
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
        by: "ann".into(),
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
    assert_eq!(record.summary.restart_count, 1);
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

struct House {
    store: Addr<StoreDoor>,
    sqlite: Arc<SqliteStore>,
    supervisor: Addr<RunSupervisor>,
}

impl House {
    fn boot(folder: &Path) -> Self {
        let options = SqliteOptions::at(folder.join("firstlight.db"));
        let sqlite = Arc::new(SqliteStore::open(options, SystemClock::shared()).expect("opens"));
        let store = StoreDoor::new(sqlite.clone()).start();
        let replier = DeafReplier.start();
        let doors = RunDoors {
            recover: store.clone().recipient(),
            take: store.clone().recipient(),
            load: store.clone().recipient(),
            record: store.clone().recipient(),
            end: store.clone().recipient(),
            effects: replier.clone().recipient().into(),
            thread: replier.recipient(),
        };
        let mut config = RunsConfig::new(folder.join("runs"), folder.join("work"));
        config.gates.insert("ask".into());
        let bell = Bells::hang().0.bell("run supervisor");
        let supervisor = RunSupervisor::new(config, doors, SystemClock::shared(), bell).start();
        Self {
            store,
            sqlite,
            supervisor,
        }
    }

    async fn open(&self, number: u64, phases: Value) -> RunId {
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
            context: RunContext::default(),
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

    async fn load(&self, run: RunId) -> RunRecord {
        self.store
            .send(LoadRun(run))
            .await
            .expect("open")
            .expect("reads")
            .expect("stored")
    }

    async fn settle(&self) {
        self.supervisor.send(AwaitQuiet).await.expect("alive");
    }

    async fn finish(self) {
        use actors::store::Store;
        self.supervisor.send(Finish).await.expect("alive");
        self.sqlite.close().await.expect("closes");
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

impl Handler<EffectsQueued> for DeafReplier {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, _: &mut Self::Context) {}
}

/// Names of all files in a folder of folders.
fn walk(folder: &Path) -> Vec<String> {
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
