//! Makes all long-lived actors and hangs their doors. Alone names every actor; holds no rule.

use std::sync::Arc;

use actix::prelude::*;

use crate::clock::SharedClock;
use crate::connectors::SinkMaker;
use crate::dispatch::{Dispatcher, DispatcherDoors, DispatcherRules};
use crate::github::{GithubClient, GithubClientConfig};
use crate::house::{Bells, Knock};
use crate::library::{Librarian, LibraryRules};
use crate::messages::dispatch::{DispatchWorkflow, RetryRun};
use crate::messages::house::{AwaitQuiet, Finish};
use crate::messages::library::ReadWorkflows;
use crate::messages::runs::{CancelRun, StartRun};
use crate::messages::store::{KeepDefinitions, StoreResult};
use crate::outbound::{Replier, ReplierDoors};
use crate::runs::{GateDoors, GateKeeper, RunDoors, RunSupervisor, RunsConfig};
use crate::store::{Store, StoreDoor};

/// Effects of so many lanes leave at the same time.
const LANES: usize = 32;

/// What the actors go by.
pub struct SystemConfig {
    /// Routes, managed list and workflows.
    pub dispatcher: DispatcherRules,
    /// Where workflow files change, and what they must fit.
    pub library: LibraryRules,
    /// Places, folders and runtimes of runs.
    pub runs: RunsConfig,
    /// Address and credentials of GitHub.
    pub github: GithubClientConfig,
}

/// The running actors, by their doors.
pub struct System {
    store: Arc<dyn Store>,
    dispatcher: Addr<Dispatcher>,
    librarian: Addr<Librarian>,
    supervisor: Addr<RunSupervisor>,
    keeper: Addr<GateKeeper>,
    replier: Addr<Replier>,
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
        let replier = Replier::new(
            ReplierDoors {
                due: door.clone().recipient(),
                claim: door.clone().recipient(),
                settle: door.clone().recipient(),
                perform: github.clone().recipient(),
            },
            clock.clone(),
            LANES,
            bells.bell("replier"),
        )
        .start();
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
                effects: replier.clone().recipient(),
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
            effects: replier.clone().recipient(),
        };
        let keeper = keeper_to_be.run(GateKeeper::new(gate_doors, clock.clone(), bells.bell("gate keeper")));
        let librarian = Librarian::new(
            config.library,
            config.dispatcher.catalog.clone(),
            door.clone().recipient(),
            clock.clone(),
            bells.bell("librarian"),
        )
        .start();
        let knock = Knock::default();
        let dispatcher = Dispatcher::new(
            DispatcherDoors {
                unsettled: door.clone().recipient(),
                settle: door.clone().recipient(),
                open_runs: door.clone().recipient(),
                open_retry: door.clone().recipient(),
                load: door.clone().recipient(),
                gates: door.clone().recipient(),
                switched_off: door.clone().recipient(),
                runs: door.recipient(),
                start_run: supervisor.clone().recipient(),
                effects_queued: replier.clone().recipient(),
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
            librarian,
            supervisor,
            keeper,
            replier,
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

    /// Where the workflows of this moment are read.
    #[must_use]
    pub fn library(&self) -> Recipient<ReadWorkflows> {
        self.librarian.clone().recipient()
    }

    /// Completes when nobody has anything in hand and nothing that could be done waits. An effect that waits for its next
    /// attempt does not count.
    pub async fn settle(&self) {
        // What one actor finishes may give the next one work, so two equal rounds are needed.
        let mut before = None;
        loop {
            let librarian = self.librarian.send(AwaitQuiet).await.unwrap_or(0);
            let dispatcher = self.dispatcher.send(AwaitQuiet).await.unwrap_or(0);
            let supervisor = self.supervisor.send(AwaitQuiet).await.unwrap_or(0);
            let keeper = self.keeper.send(AwaitQuiet).await.unwrap_or(0);
            let replier = self.replier.send(AwaitQuiet).await.unwrap_or(0);
            let now = Some((librarian, dispatcher, supervisor, keeper, replier));
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Puts everything down, in the order of the flow. Nothing is lost: what is not done is in the store.
    pub async fn finish(&self) {
        for finished in [
            self.librarian.send(Finish).await,
            self.dispatcher.send(Finish).await,
            self.keeper.send(Finish).await,
            self.supervisor.send(Finish).await,
            self.replier.send(Finish).await,
        ] {
            if finished.is_err() {
                tracing::warn!("an actor was gone before it could finish; what it had is taken up at the next start");
            }
        }
    }
}
