//! Makes all long-lived actors and hangs their doors. Alone names every actor; holds no rule.

use std::sync::Arc;

use actix::prelude::*;

use crate::clock::SharedClock;
use crate::connectors::SinkMaker;
use crate::dispatch::{Dispatcher, DispatcherDoors, DispatcherRules};
use crate::github::{GithubClient, GithubClientConfig};
use crate::house::{Bells, Knock, Nudges};
use crate::messages::dispatch::{DispatchWorkflow, RetryRun};
use crate::messages::house::{AwaitQuiet, Finish};
use crate::messages::outbound::Perform;
use crate::messages::runs::{CancelRun, StartRun};
use crate::messages::store::{KeepDefinitions, StoreResult};
use crate::outbound::{AbsentClient, Backoff, Platform, Replier, ReplierDoors};
use crate::runs::{GateDoors, GateKeeper, RunDoors, RunSupervisor, RunsConfig};
use crate::store::{Store, StoreDoor};

/// The outbox towards GitHub.
const GITHUB: Platform = Platform {
    name: "GitHub",
    kinds: "github.",
    backoff: Backoff::DAYS,
    most_lanes: 32,
};

/// The outbox towards Slack. Its client holds the pace of a channel, about one message a second.
const SLACK: Platform = Platform {
    name: "Slack",
    kinds: "slack.",
    backoff: Backoff::HOURS,
    most_lanes: 32,
};

/// What the actors go by.
pub struct SystemConfig {
    /// Routes, managed list and workflows.
    pub dispatcher: DispatcherRules,
    /// Places, folders and runtimes of runs.
    pub runs: RunsConfig,
    /// Address and credentials of GitHub.
    pub github: GithubClientConfig,
    /// The Slack client; absent: what is meant for Slack is kept as undeliverable.
    pub slack: Option<Recipient<Perform>>,
}

/// The running actors, by their doors.
pub struct System {
    store: Arc<dyn Store>,
    dispatcher: Addr<Dispatcher>,
    supervisor: Addr<RunSupervisor>,
    keeper: Addr<GateKeeper>,
    repliers: Vec<Addr<Replier>>,
    knock: Knock,
}

impl System {
    /// Starts the actors in this thread, from the far end of the flow to its near one, so that nobody speaks to a door
    /// that is not there. What an earlier process left undone is taken up at once.
    ///
    /// # Errors
    /// When the store does not take the definitions of the workflows.
    pub async fn start(
        store: Arc<dyn Store>,
        config: SystemConfig,
        clock: &SharedClock,
        bells: &Bells,
    ) -> StoreResult<Self> {
        let catalog = config.dispatcher.catalog.current();
        store.keep_definitions(KeepDefinitions(catalog.bundles())).await?;

        let door = StoreDoor::new(Arc::clone(&store)).start();
        let github = GithubClient::new(config.github, clock.clone(), bells.bell("github client")).start();
        let slack = config.slack.unwrap_or_else(|| {
            AbsentClient::new("no Slack credentials: set SLACK_BOT_TOKEN and SLACK_APP_TOKEN")
                .start()
                .recipient()
        });
        let replier = |platform: Platform, perform: Recipient<Perform>, bell: &'static str| {
            let doors = ReplierDoors {
                due: door.clone().recipient(),
                result_of: door.clone().recipient(),
                claim: door.clone().recipient(),
                settle: door.clone().recipient(),
                perform,
            };
            Replier::new(doors, clock.clone(), platform, bells.bell(bell)).start()
        };
        let repliers = vec![
            replier(GITHUB, github.clone().recipient(), "replier"),
            replier(SLACK, slack, "slack replier"),
        ];
        let nudges: Nudges<_> = repliers.iter().map(|replier| replier.clone().recipient()).collect();
        let delivery_channel = config.runs.delivery_channel.clone();
        // Keeper and supervisor nudge one another: the keeper's address is there before it is.
        let keeper_to_be = Context::<GateKeeper>::new();
        let supervisor = RunSupervisor::new(
            config.runs,
            RunDoors {
                recover: door.clone().recipient(),
                take: door.clone().recipient(),
                load: door.clone().recipient(),
                list: door.clone().recipient(),
                record: door.clone().recipient(),
                end: door.clone().recipient(),
                effects: nudges.clone(),
                thread: github.clone().recipient(),
                token: github.clone().recipient(),
                gates: keeper_to_be.address().recipient(),
            },
            clock.clone(),
            bells.bell("run supervisor"),
        )
        .start();
        let gate_doors = GateDoors {
            due: door.clone().recipient(),
            close: door.clone().recipient(),
            escalate: door.clone().recipient(),
            load: door.clone().recipient(),
            start_run: supervisor.clone().recipient(),
            effects: nudges.clone(),
        };
        let keeper = keeper_to_be.run(GateKeeper::new(
            gate_doors,
            delivery_channel.as_deref(),
            clock.clone(),
            bells.bell("gate keeper"),
        ));
        let knock = Knock::default();
        let dispatcher = Dispatcher::new(
            DispatcherDoors {
                unsettled: door.clone().recipient(),
                settle: door.clone().recipient(),
                open_runs: door.clone().recipient(),
                open_retry: door.clone().recipient(),
                load: door.clone().recipient(),
                gates: door.clone().recipient(),
                gates_here: door.clone().recipient(),
                end_sessions: door.clone().recipient(),
                switched_off: door.clone().recipient(),
                runs: door.recipient(),
                start_run: supervisor.clone().recipient(),
                effects_queued: nudges,
                knock: knock.clone(),
            },
            config.dispatcher,
            clock.clone(),
            bells.bell("dispatcher"),
        )
        .start();
        Ok(Self {
            store,
            dispatcher,
            supervisor,
            keeper,
            repliers,
            knock,
        })
    }

    /// Opens a door to the store in the thread that calls it. It only hands on, so there may be many.
    pub fn store_door(&self) -> impl Fn() -> Addr<StoreDoor> + Send + Sync + 'static {
        let store = Arc::clone(&self.store);
        move || StoreDoor::new(Arc::clone(&store)).start()
    }

    /// Where connectors put their envelopes.
    #[must_use]
    pub fn sink(&self) -> SinkMaker {
        let door = self.store_door();
        SinkMaker::new(
            move || door().recipient(),
            self.dispatcher.clone().recipient(),
            self.knock.clone(),
        )
    }

    /// The door of those who bring no event.
    #[must_use]
    pub fn dispatch(&self) -> Recipient<DispatchWorkflow> {
        self.dispatcher.clone().recipient()
    }

    /// Where a run is started once more.
    #[must_use]
    pub fn retry(&self) -> Recipient<RetryRun> {
        self.dispatcher.clone().recipient()
    }

    /// Where a run is stopped.
    #[must_use]
    pub fn cancel(&self) -> Recipient<CancelRun> {
        self.supervisor.clone().recipient()
    }

    /// Who has to know that runs wait.
    #[must_use]
    pub fn start_run(&self) -> Recipient<StartRun> {
        self.supervisor.clone().recipient()
    }

    /// Completes when nobody has anything in hand and nothing that could be done waits. An effect that waits for its next
    /// attempt does not count.
    pub async fn settle(&self) {
        // What one actor finishes may give the next one work, so two equal rounds are needed.
        let mut before = None;
        loop {
            let dispatcher = self.dispatcher.send(AwaitQuiet).await.unwrap_or(0);
            let supervisor = self.supervisor.send(AwaitQuiet).await.unwrap_or(0);
            let keeper = self.keeper.send(AwaitQuiet).await.unwrap_or(0);
            let mut replies = 0;
            for replier in &self.repliers {
                replies += replier.send(AwaitQuiet).await.unwrap_or(0);
            }
            let now = Some((dispatcher, supervisor, keeper, replies));
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Puts everything down, in the order of the flow. Nothing is lost: what is not done is in the store.
    pub async fn finish(&self) {
        let mut all = vec![
            self.dispatcher.send(Finish).await,
            self.keeper.send(Finish).await,
            self.supervisor.send(Finish).await,
        ];
        for replier in &self.repliers {
            all.push(replier.send(Finish).await);
        }
        for finished in all {
            if finished.is_err() {
                tracing::warn!("an actor was gone before it could finish; what it had is taken up at the next start");
            }
        }
    }
}
