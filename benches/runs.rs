//! What runs cost over their processes, over the real store: `cargo bench --bench runs`. Informs; never fails a build.

#[path = "support/table.rs"]
mod table;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler};
use actors::clock::{Clock, SystemClock};
use actors::domain::{
    Cause, NewRun, Overlap, ReplyTo, RepoName, RunContext, RunFilter, RunId, RunStatus, Subject, TriggerType, Workflow,
};
use actors::house::Bells;
use actors::messages::cron::RunsRested;
use actors::messages::github::{GithubFault, MintToken, PhaseToken, ReadThread, Thread};
use actors::messages::house::{AwaitQuiet, Finish};
use actors::messages::outbound::EffectsQueued;
use actors::messages::runs::{GatesChanged, StartRun};
use actors::messages::store::{KeepDefinitions, ListRuns, LoadRun, OpenRuns};
use actors::runs::{RunDoors, RunSupervisor, RunsConfig};
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::store::{Store, StoreDoor};
use serde_json::{Value, json};
use table::Table;

/// How often the short things are measured.
const ROUNDS: usize = 30;

fn main() {
    let mut table = Table::default();
    actix_rt::System::new().block_on(async {
        five_processes(&mut table).await;
        drain(&mut table).await;
        list(&mut table).await;
        flood(&mut table).await;
    });
    table.print();
}

async fn five_processes(table: &mut Table) {
    let phase = |name: &str| json!({"name": name, "label": name, "kind": "script", "run": "true"});
    let phases: Vec<Value> = ["a", "b", "c", "d", "e"].map(phase).into();
    let house = House::boot(|_| {});
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..5 {
            let mut child = tokio::process::Command::new("sh");
            child.args(["-c", "true"]).stdin(Stdio::null()).stdout(Stdio::null());
            child.status().await.expect("sh starts");
        }
        let alone = began.elapsed().as_secs_f64() * 1000.0;
        let began = Instant::now();
        house.open(&phases, 1).await;
        house.settle().await;
        let whole = began.elapsed().as_secs_f64() * 1000.0;
        own.push((whole - alone).max(0.0));
        bare.push(alone);
    }
    table.tell("five no-op processes alone, ms", &bare);
    table.at_most_of("own time of a run of five no-op scripts, ms", &own, 10.0);
    house.finish().await;
}

async fn drain(table: &mut Table) {
    let phases = [json!({"name": "a", "label": "a", "kind": "context"})];
    let mut rates = Vec::new();
    for _ in 0..3 {
        let house = House::boot(|_| {});
        let began = Instant::now();
        house.open(&phases, 1_000).await;
        house.settle().await;
        rates.push(1_000.0 / began.elapsed().as_secs_f64());
        house.finish().await;
    }
    table.at_least(
        "queued runs of one context phase, opened and worked off, per second",
        &rates,
        500.0,
    );
}

async fn list(table: &mut Table) {
    let phases = [json!({"name": "a", "label": "a", "kind": "context"})];
    let house = House::boot(|_| {});
    for _ in 0..10 {
        house.open(&phases, 1_000).await;
    }
    house.settle().await;
    let mut taken = Vec::new();
    for filter in [Vec::new(), vec![RunStatus::Succeeded, RunStatus::Failed]] {
        for _ in 0..ROUNDS {
            let order = ListRuns(RunFilter {
                statuses: filter.clone(),
                limit: 200,
                ..RunFilter::default()
            });
            let began = Instant::now();
            let (page, total) = house.store.send(order).await.expect("open").expect("reads");
            taken.push(began.elapsed().as_secs_f64() * 1000.0);
            assert_eq!((page.items.len(), total), (200, 10_000));
        }
    }
    table.at_most_of("a list of 200 of 10,000 runs, ms", &taken, 10.0);
    house.finish().await;
}

async fn flood(table: &mut Table) {
    let house = House::boot(|config| config.phase_timeout = Duration::from_secs(600));
    let idle = memory_mb("VmRSS:");
    // From here on the highest mark is that of the flood.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let phases =
        [json!({"name": "flood", "label": "", "kind": "script", "run": "yes firstlight | head -c 1000000000"})];
    let began = Instant::now();
    let run = house.open(&phases, 1).await;
    house.settle().await;
    let took = began.elapsed().as_secs_f64();
    let over_idle = (memory_mb("VmHWM:") - idle).max(0.0);
    let order = LoadRun(run);
    let record = house
        .store
        .send(order)
        .await
        .expect("open")
        .expect("reads")
        .expect("stored");
    assert_eq!(
        record.summary.status,
        RunStatus::Succeeded,
        "{:?}",
        record.summary.error
    );
    let log = house.folder.path().join("runs").join(run.to_string()).join("flood.log");
    let log = std::fs::read(log).expect("a log");
    let said = String::from_utf8_lossy(&log[log.len().saturating_sub(400)..]).into_owned();
    assert!(
        said.contains("log cut after") && said.contains("bytes were dropped"),
        "{said}"
    );
    table.at_most("a phase that prints 1 GB: memory over idle, MB", over_idle, 60.0);
    table.tell("a phase that prints 1 GB: log, MB", &[log.len() as f64 / 1_048_576.0]);
    table.tell("a phase that prints 1 GB: seconds", &[took]);
    house.finish().await;
}

/// A line of this process's memory, in MB.
fn memory_mb(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let kb = found.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1024.0
}

/// A supervisor over the real store, in a folder of its own.
struct House {
    folder: tempfile::TempDir,
    store: Addr<StoreDoor>,
    sqlite: Arc<SqliteStore>,
    supervisor: Addr<RunSupervisor>,
}

impl House {
    fn boot(change: impl FnOnce(&mut RunsConfig)) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let at = |name: &str| -> std::path::PathBuf { Path::new(folder.path()).join(name) };
        let options = SqliteOptions::at(at("firstlight.db"));
        let sqlite = Arc::new(SqliteStore::open(options, SystemClock::shared()).expect("opens"));
        let store = StoreDoor::new(sqlite.clone()).start();
        let deaf = Deaf.start();
        let doors = RunDoors {
            recover: store.clone().recipient(),
            take: store.clone().recipient(),
            load: store.clone().recipient(),
            list: store.clone().recipient(),
            record: store.clone().recipient(),
            end: store.clone().recipient(),
            untold: store.clone().recipient(),
            tell: store.clone().recipient(),
            effects: deaf.clone().recipient().into(),
            thread: deaf.clone().recipient(),
            token: deaf.clone().recipient(),
            crons: deaf.clone().recipient(),
            gates: deaf.recipient(),
        };
        let mut config = RunsConfig::new(at("runs"), at("work"));
        change(&mut config);
        let bell = Bells::hang().0.bell("run supervisor");
        let supervisor = RunSupervisor::new(config, doors, SystemClock::shared(), bell).start();
        Self {
            folder,
            store,
            sqlite,
            supervisor,
        }
    }

    /// Opens so many runs, each about a thread of its own; the id of the last.
    async fn open(&self, phases: &[Value], runs: u64) -> RunId {
        let bundle = json!({
            "name": "bench", "kind": "agent", "description": "", "variables": {}, "phases": phases, "text": "", "file": "bench.yaml",
        })
        .to_string();
        let definition = Workflow::hash_of(&bundle);
        let workflow: actors::domain::WorkflowName = "bench".parse().expect("valid");
        let keep = KeepDefinitions(vec![(definition.clone(), workflow.clone(), bundle)]);
        self.store.send(keep).await.expect("open").expect("keeps");
        let repo: RepoName = "acme/site".parse().expect("valid");
        let new: Vec<NewRun> = (1..=runs)
            .map(|number| NewRun {
                id: RunId::new(SystemClock.fresh_id()),
                workflow: workflow.clone(),
                definition: definition.clone(),
                subject: Subject::thread(&repo, number),
                repo: Some(repo.clone()),
                number: None,
                context: RunContext::default(),
                reply_to: ReplyTo::Nobody,
                cause: Cause {
                    trigger: TriggerType::Api,
                    who: "ann".into(),
                    event: None,
                },
                overlap: Overlap::Queue,
                created_at: SystemClock.now(),
            })
            .collect();
        let last = new.last().map(|run| run.id).expect("at least one");
        self.store.send(OpenRuns(new)).await.expect("open").expect("opens");
        self.supervisor.send(StartRun).await.expect("alive");
        last
    }

    async fn settle(&self) {
        self.supervisor.send(AwaitQuiet).await.expect("alive");
    }

    async fn finish(self) {
        self.supervisor.send(Finish).await.expect("alive");
        self.sqlite.close().await.expect("closes");
    }
}

struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

/// Nobody can be asked what an issue says.
impl Handler<ReadThread> for Deaf {
    type Result = Result<Thread, GithubFault>;

    fn handle(&mut self, _: ReadThread, _: &mut Self::Context) -> Self::Result {
        Err(GithubFault::NoCredentials)
    }
}

/// Nobody configured credentials.
impl Handler<MintToken> for Deaf {
    type Result = Result<PhaseToken, GithubFault>;

    fn handle(&mut self, _: MintToken, _: &mut Self::Context) -> Self::Result {
        Err(GithubFault::NoCredentials)
    }
}

impl Handler<RunsRested> for Deaf {
    type Result = ();

    fn handle(&mut self, _: RunsRested, _: &mut Self::Context) {}
}

impl Handler<GatesChanged> for Deaf {
    type Result = ();

    fn handle(&mut self, _: GatesChanged, _: &mut Self::Context) {}
}

impl Handler<EffectsQueued> for Deaf {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, _: &mut Self::Context) {}
}
