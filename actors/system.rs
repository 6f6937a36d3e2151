//! Makes all long-lived actors and hangs their doors. Alone names every actor; holds no rule.

use std::sync::Arc;

use actix::prelude::*;
use anyhow::Context as _;

use crate::clock::SharedClock;
use crate::connectors::SinkMaker;
use crate::cron::{CronConfig, CronDoors, CronTicker};
use crate::dispatch::{Dispatcher, DispatcherDoors, DispatcherRules};
use crate::github::{GithubClient, GithubClientConfig};
use crate::house::{Bells, Knock, Nudges};
use crate::library::{Librarian, LibraryRules};
use crate::messages::cron::{ChangeCron, FireCron, ListCrons};
use crate::messages::dispatch::{DispatchWorkflow, EventArrived, RetryRun, TryRoute};
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::integrations::{
    AutoCommit, DeleteWebhook, EmitWebhookEvent, GetGitAutoCommitConfig, GetIntegrationState, ListWebhooks,
    PingWebhook, RegisterWebhook, RotateWebhookSecret, SendNotification, SetGitAutoCommitConfig, SwitchWebhook,
};
use crate::messages::library::{ReadPrompts, ReadWorkflows};
use crate::messages::outbound::{EffectsQueued, Perform};
use crate::messages::runs::{CancelRun, KillProcess, ReadProcesses, StartRun};
use crate::messages::store::KeepDefinitions;
use crate::outbound::{
    AbsentClient, Backoff, DeliveryConfig, DeliveryDoors, DeliveryRetrier, GitCommitter, GitConfig, Platform, Replier,
    ReplierDoors,
};
use crate::retention::{RetentionRules, Sweeper, SweeperDoors};
use crate::runs::{GateDoors, GateKeeper, RunDoors, RunSupervisor, RunsConfig};
use crate::state::{StateConfig, StateWriter};
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
    /// Where workflow files change, and what they must fit.
    pub library: LibraryRules,
    /// Places, folders and runtimes of runs.
    pub runs: RunsConfig,
    /// The schedules.
    pub crons: CronConfig,
    /// How long things are kept.
    pub retention: RetentionRules,
    /// Address and credentials of GitHub.
    pub github: GithubClientConfig,
    /// Where the integrations' state is.
    pub state: StateConfig,
    /// How deliveries leave.
    pub deliveries: DeliveryConfig,
    /// Where automatic commits go.
    pub git: GitConfig,
    /// The Slack client; absent: what is meant for Slack is kept as undeliverable.
    pub slack: Option<Recipient<Perform>>,
}

/// What the delivery retrier is asked for.
#[derive(Clone)]
pub struct DeliveryOrders {
    /// An event goes out.
    pub emit: Recipient<EmitWebhookEvent>,
    /// A notification goes out.
    pub notify: Recipient<SendNotification>,
    /// A webhook gets a test delivery.
    pub ping: Recipient<PingWebhook>,
    /// A webhook is switched on or off.
    pub switch: Recipient<SwitchWebhook>,
    /// Something waits in the outbox: for whoever delivers again by hand.
    pub queued: Recipient<EffectsQueued>,
}

/// What may be asked of the integrations' state and told to it.
#[derive(Clone)]
pub struct StateDoors {
    /// The whole state, without secrets.
    pub state: Recipient<GetIntegrationState>,
    /// The webhooks.
    pub webhooks: Recipient<ListWebhooks>,
    /// A webhook is registered or updated.
    pub register: Recipient<RegisterWebhook>,
    /// A webhook is deleted.
    pub delete: Recipient<DeleteWebhook>,
    /// A webhook gets a new secret.
    pub rotate: Recipient<RotateWebhookSecret>,
    /// The settings of automatic commits.
    pub git_auto_commit: Recipient<GetGitAutoCommitConfig>,
    /// The settings of automatic commits are changed.
    pub set_git_auto_commit: Recipient<SetGitAutoCommitConfig>,
}

/// What the cron ticker is asked for.
#[derive(Clone)]
pub struct CronOrders {
    /// The schedules.
    pub list: Recipient<ListCrons>,
    /// A schedule is changed.
    pub change: Recipient<ChangeCron>,
    /// A schedule is fired now.
    pub fire: Recipient<FireCron>,
}

/// Doors that are the same in every thread: what the front of the house may say to the actors.
#[derive(Clone)]
pub struct FrontDoors {
    /// A run is asked for without an event.
    pub dispatch: Recipient<DispatchWorkflow>,
    /// A run is started once more.
    pub retry: Recipient<RetryRun>,
    /// A run is stopped.
    pub cancel: Recipient<CancelRun>,
    /// Runs wait.
    pub start_run: Recipient<StartRun>,
    /// The integrations' state.
    pub state: StateDoors,
    /// What is to leave towards webhooks and people.
    pub deliveries: DeliveryOrders,
    /// What would be committed.
    pub auto_commit: Recipient<AutoCommit>,
    /// The workflows of this moment.
    pub workflows: Recipient<ReadWorkflows>,
    /// The schedules.
    pub crons: CronOrders,
    /// The prompts of one of them.
    pub prompts: Recipient<ReadPrompts>,
    /// Events wait to be routed.
    pub arrived: Recipient<EventArrived>,
    /// What would become of an event.
    pub rehearse: Recipient<TryRoute>,
    /// Processes of runs.
    pub processes: Recipient<ReadProcesses>,
    /// A process of a run is killed.
    pub kill: Recipient<KillProcess>,
    /// Every actor that works for the whole house.
    pub stations: Vec<Station>,
}

/// An actor, for whoever wants to know how it does.
#[derive(Clone)]
pub struct Station {
    /// Its name, as its bell has it.
    pub name: &'static str,
    /// How many messages may wait for it.
    pub capacity: usize,
    /// Answered when it has nothing in hand.
    pub quiet: Recipient<AwaitQuiet>,
    /// Answered when its turn has come.
    pub ping: Recipient<Ping>,
}

impl Station {
    fn of<A>(name: &'static str, capacity: usize, actor: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<AwaitQuiet> + Handler<Ping>,
    {
        Self {
            name,
            capacity,
            quiet: actor.clone().recipient(),
            ping: actor.clone().recipient(),
        }
    }
}

/// The running actors, by their doors.
pub struct System {
    store: Arc<dyn Store>,
    dispatcher: Addr<Dispatcher>,
    librarian: Addr<Librarian>,
    supervisor: Addr<RunSupervisor>,
    keeper: Addr<GateKeeper>,
    ticker: Addr<CronTicker>,
    sweeper: Addr<Sweeper>,
    repliers: Vec<Addr<Replier>>,
    retrier: Addr<DeliveryRetrier>,
    git: Addr<GitCommitter>,
    state: Addr<StateWriter>,
    knock: Knock,
}

impl System {
    /// Starts the actors in this thread, from the far end of the flow to its near one, so that nobody speaks to a door
    /// that is not there. What an earlier process left undone is taken up at once.
    ///
    /// # Errors
    /// When the store does not take the definitions of the workflows, or the system has no thread left.
    pub async fn start(
        store: Arc<dyn Store>,
        config: SystemConfig,
        clock: &SharedClock,
        bells: &Bells,
    ) -> anyhow::Result<Self> {
        let catalog = config.dispatcher.catalog.current();
        store
            .keep_definitions(KeepDefinitions(catalog.bundles()))
            .await
            .context("the store does not take the workflow definitions")?;

        let door = StoreDoor::new(Arc::clone(&store)).start();
        let state = start_state(config.state, clock, bells)?;
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
        let (retrier, git) = start_deliveries(config.deliveries, config.git, &state, &door, clock, bells);
        let nudges: Nudges<_> = repliers
            .iter()
            .map(|replier| replier.clone().recipient())
            .chain([retrier.clone().recipient()])
            .collect();
        let delivery_channel = config.runs.delivery_channel.clone();
        // Keeper and supervisor nudge one another: the keeper's address is there before it is.
        let keeper_to_be = Context::<GateKeeper>::new();
        // The ticker asks the dispatcher, which stands before the supervisor, which tells the ticker what came to rest.
        let ticker_to_be = Context::<CronTicker>::new();
        let supervisor = RunSupervisor::new(
            config.runs,
            RunDoors {
                recover: door.clone().recipient(),
                take: door.clone().recipient(),
                load: door.clone().recipient(),
                list: door.clone().recipient(),
                record: door.clone().recipient(),
                end: door.clone().recipient(),
                untold: door.clone().recipient(),
                tell: door.clone().recipient(),
                effects: nudges.clone(),
                thread: github.clone().recipient(),
                token: github.clone().recipient(),
                crons: ticker_to_be.address().recipient(),
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
        let librarian = Librarian::new(
            config.library,
            config.dispatcher.catalog.clone(),
            door.clone().recipient(),
            ticker_to_be.address().recipient(),
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
                live_run_of: door.clone().recipient(),
                gates: door.clone().recipient(),
                gates_here: door.clone().recipient(),
                end_sessions: door.clone().recipient(),
                switched_off: door.clone().recipient(),
                runs: door.clone().recipient(),
                start_run: supervisor.clone().recipient(),
                effects_queued: nudges.clone(),
                knock: knock.clone(),
            },
            config.dispatcher,
            clock.clone(),
            bells.bell("dispatcher"),
        )
        .start();
        let cron_doors = CronDoors {
            states: door.clone().recipient(),
            over: door.clone().recipient(),
            record: door.clone().recipient(),
            open: door.clone().recipient(),
            begin: door.clone().recipient(),
            settle: door.clone().recipient(),
            end: door.clone().recipient(),
            ended: door.clone().recipient(),
            latest: door.clone().recipient(),
            list: door.clone().recipient(),
            dispatch: dispatcher.clone().recipient(),
            effects: nudges,
        };
        let ticker = ticker_to_be.run(CronTicker::new(
            config.crons,
            cron_doors,
            clock.clone(),
            bells.bell("cron ticker"),
        ));
        let sweeper_doors = SweeperDoors {
            prune: door.clone().recipient(),
            give_back: door.clone().recipient(),
            list: door.recipient(),
        };
        let sweeper = Sweeper::new(config.retention, sweeper_doors, clock.clone(), bells.bell("sweeper")).start();
        Ok(Self {
            store,
            dispatcher,
            librarian,
            supervisor,
            keeper,
            ticker,
            sweeper,
            repliers,
            retrier,
            git,
            state,
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

    /// The doors of the front of the house.
    #[must_use]
    pub fn front(&self) -> FrontDoors {
        FrontDoors {
            dispatch: self.dispatcher.clone().recipient(),
            retry: self.dispatcher.clone().recipient(),
            cancel: self.supervisor.clone().recipient(),
            start_run: self.supervisor.clone().recipient(),
            state: self.state(),
            deliveries: self.deliveries(),
            auto_commit: self.git.clone().recipient(),
            workflows: self.librarian.clone().recipient(),
            crons: CronOrders {
                list: self.ticker.clone().recipient(),
                change: self.ticker.clone().recipient(),
                fire: self.ticker.clone().recipient(),
            },
            prompts: self.librarian.clone().recipient(),
            arrived: self.dispatcher.clone().recipient(),
            rehearse: self.dispatcher.clone().recipient(),
            processes: self.supervisor.clone().recipient(),
            kill: self.supervisor.clone().recipient(),
            stations: self.stations(),
        }
    }

    fn stations(&self) -> Vec<Station> {
        let mut all = vec![
            Station::of("librarian", Librarian::CAPACITY, &self.librarian),
            Station::of("dispatcher", Dispatcher::CAPACITY, &self.dispatcher),
            Station::of("run supervisor", RunSupervisor::CAPACITY, &self.supervisor),
            Station::of("gate keeper", GateKeeper::CAPACITY, &self.keeper),
            Station::of("cron ticker", CronTicker::CAPACITY, &self.ticker),
            Station::of("delivery retrier", DeliveryRetrier::CAPACITY, &self.retrier),
            Station::of("sweeper", Sweeper::CAPACITY, &self.sweeper),
            Station::of("git committer", GitCommitter::CAPACITY, &self.git),
            Station::of("state writer", StateWriter::CAPACITY, &self.state),
        ];
        let names = ["replier", "slack replier"];
        let repliers = names.into_iter().zip(&self.repliers);
        all.extend(repliers.map(|(name, replier)| Station::of(name, Replier::CAPACITY, replier)));
        all
    }

    /// The delivery retrier, for those who want something out.
    fn deliveries(&self) -> DeliveryOrders {
        delivery_orders(&self.retrier)
    }

    /// The state writer, for those who ask or tell it something.
    fn state(&self) -> StateDoors {
        state_doors(&self.state)
    }

    /// Completes when nobody has anything in hand and nothing that could be done waits. An effect that waits for its next
    /// attempt does not count.
    pub async fn settle(&self) {
        // What one actor finishes may give the next one work, so two equal rounds are needed.
        let mut before = None;
        loop {
            let librarian = self.librarian.send(AwaitQuiet).await.unwrap_or(0);
            let ticker = self.ticker.send(AwaitQuiet).await.unwrap_or(0);
            let dispatcher = self.dispatcher.send(AwaitQuiet).await.unwrap_or(0);
            let supervisor = self.supervisor.send(AwaitQuiet).await.unwrap_or(0);
            let keeper = self.keeper.send(AwaitQuiet).await.unwrap_or(0);
            let mut replies = 0;
            for replier in &self.repliers {
                replies += replier.send(AwaitQuiet).await.unwrap_or(0);
            }
            let retrier = self.retrier.send(AwaitQuiet).await.unwrap_or(0);
            let state = self.state.send(AwaitQuiet).await.unwrap_or(0);
            let git = self.git.send(AwaitQuiet).await.unwrap_or(0);
            let sweeper = self.sweeper.send(AwaitQuiet).await.unwrap_or(0);
            let now = Some((
                librarian, ticker, dispatcher, supervisor, keeper, replies, retrier, git, state, sweeper,
            ));
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Puts everything down, in the order of the flow. Nothing is lost: what is not done is in the store.
    pub async fn finish(&self) {
        let mut all = vec![
            self.librarian.send(Finish).await,
            self.ticker.send(Finish).await,
            self.sweeper.send(Finish).await,
            self.dispatcher.send(Finish).await,
            self.keeper.send(Finish).await,
            self.supervisor.send(Finish).await,
        ];
        for replier in &self.repliers {
            all.push(replier.send(Finish).await);
        }
        all.push(self.retrier.send(Finish).await);
        all.push(self.git.send(Finish).await);
        all.push(self.state.send(Finish).await);
        for finished in all {
            if finished.is_err() {
                tracing::warn!("an actor was gone before it could finish; what it had is taken up at the next start");
            }
        }
    }
}

/// The integrations without the rest of the house: for a process that has the state folder for a moment.
pub struct Integrations {
    retrier: Addr<DeliveryRetrier>,
    git: Addr<GitCommitter>,
    state: Addr<StateWriter>,
    store: Addr<StoreDoor>,
}

impl Integrations {
    /// Starts the three actors in this thread. What waits in the outbox and is due goes out, too.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        store: &Arc<dyn Store>,
        state: StateConfig,
        deliveries: DeliveryConfig,
        git: GitConfig,
        clock: &SharedClock,
        bells: &Bells,
    ) -> anyhow::Result<Self> {
        let door = StoreDoor::new(Arc::clone(store)).start();
        let state = start_state(state, clock, bells)?;
        let (retrier, git) = start_deliveries(deliveries, git, &state, &door, clock, bells);
        Ok(Self {
            retrier,
            git,
            state,
            store: door,
        })
    }

    /// Their doors: the state's, the outbox's, the committer's and the store's.
    #[must_use]
    pub fn doors(&self) -> (StateDoors, DeliveryOrders, Recipient<AutoCommit>, Addr<StoreDoor>) {
        (
            state_doors(&self.state),
            delivery_orders(&self.retrier),
            self.git.clone().recipient(),
            self.store.clone(),
        )
    }

    /// Puts everything down; what is not delivered is in the outbox.
    pub async fn finish(&self) {
        for finished in [
            self.retrier.send(Finish).await,
            self.git.send(Finish).await,
            self.state.send(Finish).await,
        ] {
            if finished.is_err() {
                tracing::warn!("an actor was gone before it could finish; what it had is taken up at the next start");
            }
        }
    }
}

/// The state writer alone: for a process beside the one that has the state folder.
pub struct StateAlone {
    state: Addr<StateWriter>,
}

impl StateAlone {
    /// Starts it in this thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(config: StateConfig, clock: &SharedClock, bells: &Bells) -> anyhow::Result<Self> {
        Ok(Self {
            state: start_state(config, clock, bells)?,
        })
    }

    /// Its doors.
    #[must_use]
    pub fn doors(&self) -> StateDoors {
        state_doors(&self.state)
    }

    /// Completes when what it was told is done.
    pub async fn finish(&self) {
        // Gone is finished, too: what it answered is on disk.
        let _ = self.state.send(Finish).await;
    }
}

fn start_state(config: StateConfig, clock: &SharedClock, bells: &Bells) -> anyhow::Result<Addr<StateWriter>> {
    let writer = StateWriter::new(config, clock.clone(), bells.bell("state writer"))
        .context("the system has no thread for the state writer")?;
    Ok(writer.start())
}

fn start_deliveries(
    deliveries: DeliveryConfig,
    git: GitConfig,
    state: &Addr<StateWriter>,
    door: &Addr<StoreDoor>,
    clock: &SharedClock,
    bells: &Bells,
) -> (Addr<DeliveryRetrier>, Addr<GitCommitter>) {
    let git = GitCommitter::new(git, clock.clone(), bells.bell("git committer")).start();
    let retrier = DeliveryRetrier::new(
        DeliveryDoors {
            endpoints: state.clone().recipient(),
            keep: state.clone().recipient(),
            git: state.clone().recipient(),
            commit: Some(git.clone().recipient()),
            due: door.clone().recipient(),
            claim: door.clone().recipient(),
            settle: door.clone().recipient(),
            queue: door.clone().recipient(),
            due_deliveries: door.clone().recipient(),
            claim_delivery: door.clone().recipient(),
            settle_deliveries: door.clone().recipient(),
            recover: door.clone().recipient(),
            set_webhook: door.clone().recipient(),
        },
        deliveries,
        clock.clone(),
        bells.bell("delivery retrier"),
    )
    .start();
    (retrier, git)
}

fn delivery_orders(retrier: &Addr<DeliveryRetrier>) -> DeliveryOrders {
    DeliveryOrders {
        emit: retrier.clone().recipient(),
        notify: retrier.clone().recipient(),
        ping: retrier.clone().recipient(),
        switch: retrier.clone().recipient(),
        queued: retrier.clone().recipient(),
    }
}

fn state_doors(state: &Addr<StateWriter>) -> StateDoors {
    StateDoors {
        state: state.clone().recipient(),
        webhooks: state.clone().recipient(),
        register: state.clone().recipient(),
        delete: state.clone().recipient(),
        rotate: state.clone().recipient(),
        git_auto_commit: state.clone().recipient(),
        set_git_auto_commit: state.clone().recipient(),
    }
}
