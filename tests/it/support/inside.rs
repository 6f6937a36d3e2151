//! The whole inside over a real store, before a stand-in of GitHub, opened by bundles of definitions. Knows no HTTP.

use std::sync::Arc;

use actors::clock::SharedClock;
use actors::dispatch::{DispatcherRules, Routes};
use actors::domain::{
    Approval, ApprovalId, Cause, Decided, Decision, ManagedRepos, NewRun, Overlap, ReplyTo, RepoName, Responder,
    RunContext, RunId, RunRecord, Secret, StoredEffect, Subject, TriggerType, Via, Workflow,
};
use actors::github::{AppCredentials, Credentials, GithubClientConfig};
use actors::house::{Belfry, Bells};
use actors::messages::runs::StartRun;
use actors::messages::store::{Answer, Decide, EffectsOf, KeepDefinitions, LoadRun, OpenGates, OpenRuns, ReadApproval};
use actors::outbound::{DeliveryConfig, GitConfig, Guard, SystemResolver};
use actors::runs::RunsConfig;
use actors::state::StateConfig;
use actors::store::Store;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::system::{System, SystemConfig};
use actors::workflows::{SharedCatalog, load};
use firstlight::demo::github::{APP_ID, GithubStandIn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// As whom the house speaks to the stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    App,
    Token,
    Nobody,
}

/// A running inside.
pub(crate) struct Inside {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) system: System,
    pub(crate) github: GithubStandIn,
    clock: SharedClock,
    config: RunsConfig,
    speaks: As,
    _belfry: Belfry,
}

impl Inside {
    pub(crate) async fn start(clock: SharedClock, speaks: As, change: impl FnOnce(&mut RunsConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = RunsConfig::new(folder.path().join("runs"), folder.path().join("work"));
        change(&mut config);
        let github = GithubStandIn::start(clock.clone()).expect("a port is free");
        Self::boot(folder, clock, speaks, config, github).await
    }

    async fn boot(folder: TempDir, clock: SharedClock, speaks: As, config: RunsConfig, github: GithubStandIn) -> Self {
        let options = SqliteOptions::at(folder.path().join("firstlight.db"));
        let store = Arc::new(SqliteStore::open(options, clock.clone()).expect("opens"));
        let credentials = match speaks {
            As::App => Credentials::App(AppCredentials::new(APP_ID, &github.private_key(), None).expect("a key")),
            As::Token => Credentials::Token(github.token()),
            As::Nobody => Credentials::None,
        };
        let (bells, belfry) = Bells::hang();
        let system_config = SystemConfig {
            dispatcher: DispatcherRules {
                routes: Routes::default(),
                managed: ManagedRepos::parse(["acme/*"]).expect("a pattern"),
                catalog: SharedCatalog::new(load(None).expect("the shipped workflows")),
                bot_name: "last-light".into(),
                public_url: None,
            },
            library: actors::library::LibraryRules::default(),
            retention: actors::retention::RetentionRules::default(),
            crons: actors::cron::CronConfig::new(
                Vec::new(),
                ManagedRepos::default(),
                SharedCatalog::new(load(None).expect("the shipped workflows")),
            ),
            runs: config.clone(),
            github: GithubClientConfig::new(github.url().parse().expect("a URL"), credentials),
            state: StateConfig::of(folder.path()),
            deliveries: DeliveryConfig::new(
                Guard::new(Vec::new(), |_| true),
                Arc::new(SystemResolver),
                Secret::new("a key of the tests"),
            ),
            git: GitConfig::default(),
            slack: None,
        };
        let system = System::start(store.clone(), system_config, &clock, &bells)
            .await
            .expect("starts");
        Self {
            folder,
            store,
            system,
            github,
            clock,
            config,
            speaks,
            _belfry: belfry,
        }
    }

    /// Stops and starts again on the same folder; `meanwhile` happens while nobody is there.
    pub(crate) async fn restart(self, meanwhile: impl FnOnce()) -> Self {
        self.system.finish().await;
        self.store.close().await.expect("closes");
        meanwhile();
        Self::boot(self.folder, self.clock, self.speaks, self.config, self.github).await
    }

    /// Opens a run of these phases about acme/site#7, asked for by ann.
    pub(crate) async fn open(&self, phases: Value, context: Value) -> RunId {
        let bundle = json!({
            "name": "build", "kind": "agent", "description": "", "variables": {}, "phases": phases, "text": "", "file": "build.yaml",
        })
        .to_string();
        let hash = Workflow::hash_of(&bundle);
        let workflow: actors::domain::WorkflowName = "build".parse().expect("valid");
        let keep = KeepDefinitions(vec![(hash.clone(), workflow.clone(), bundle)]);
        self.store.keep_definitions(keep).await.expect("keeps");
        let repo: RepoName = "acme/site".parse().expect("valid");
        let id = RunId::new(self.clock.fresh_id());
        let new = NewRun {
            id,
            workflow,
            definition: hash,
            subject: Subject::thread(&repo, 7),
            repo: Some(repo.clone()),
            number: Some(7),
            context: RunContext(context.as_object().cloned().expect("a map")),
            reply_to: ReplyTo::IssueComment {
                repo,
                number: 7,
                comment_id: None,
            },
            cause: Cause {
                trigger: TriggerType::Api,
                who: "ann".into(),
                event: None,
            },
            overlap: Overlap::Queue,
            created_at: self.clock.now(),
        };
        self.store.open_runs(OpenRuns(vec![new])).await.expect("opens");
        self.system.front().start_run.send(StartRun).await.expect("alive");
        id
    }

    pub(crate) async fn settle(&self) {
        self.system.settle().await;
    }

    pub(crate) async fn load(&self, run: RunId) -> RunRecord {
        self.store.load_run(LoadRun(run)).await.expect("reads").expect("stored")
    }

    /// The one open question.
    pub(crate) async fn question(&self) -> Approval {
        let mut open = self.store.open_gates(OpenGates { subject: None }).await.expect("reads");
        assert_eq!(open.len(), 1, "{open:?}");
        open.remove(0)
    }

    pub(crate) async fn approval(&self, id: ApprovalId) -> Approval {
        self.store
            .read_approval(ReadApproval(id))
            .await
            .expect("reads")
            .expect("stored")
    }

    pub(crate) async fn answer(&self, id: ApprovalId, who: &str, decision: Decision, words: Option<&str>) -> Decided {
        let answer = Answer {
            approval: id,
            decision,
            by: Responder::named(who, Via::Api),
            response: words.map(str::to_owned),
            saw: None,
            at: self.clock.now(),
        };
        let decided = self.store.decide(Decide(answer)).await.expect("takes");
        self.system.front().start_run.send(StartRun).await.expect("alive");
        decided
    }

    pub(crate) async fn effects(&self, run: RunId) -> Vec<StoredEffect> {
        let order = EffectsOf {
            run: Some(run),
            event: None,
        };
        self.store.effects_of(order).await.expect("reads")
    }

    /// The log of a phase.
    pub(crate) fn log(&self, run: RunId, phase: &str) -> String {
        let path = self.config.runs_dir.join(run.to_string()).join(format!("{phase}.log"));
        String::from_utf8_lossy(&std::fs::read(path).expect("a log")).into_owned()
    }

    pub(crate) async fn finish(self) {
        self.settle().await;
        self.system.finish().await;
        self.store.close().await.expect("closes");
        self.github.stop().await;
    }
}
