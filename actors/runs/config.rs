//! What the runs room is set up with: limits, folders, runtimes and doors. Reads no file; settings fill it in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use actix::prelude::*;

use crate::domain::{IntegrationEvent, OutputBy, PromptBy, SampleRatio};
use crate::house::Nudges;
use crate::messages::cron::RunsRested;
use crate::messages::github::{MintToken, ReadThread};
use crate::messages::outbound::EffectsQueued;
use crate::messages::runs::GatesChanged;
use crate::messages::store::{
    EndRun, ListRuns, LoadRun, RecordStep, RecoverRuns, TakeQueuedRuns, TellEnds, UntoldEnds,
};

/// Limits, folders and runtimes of every run. [`RunsConfig::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct RunsConfig {
    /// How many runs are live at the same time; 0 counts as 1. Default 4.
    pub max_runs: usize,
    /// How many processes of one run are at work at the same time; 0 counts as 1. Only a workflow with `depends_on` ever
    /// has more than one. Default 4.
    pub phases_at_once: usize,
    /// Work folders of ended runs are removed when nothing in them was worked at for so long; absent: never. Default 7 days.
    pub keep_work: Option<Duration>,
    /// Phase logs go to `<runs_dir>/<run id>/<phase>.log`.
    pub runs_dir: PathBuf,
    /// A run's processes start in `<work_dir>/<task id>/`.
    pub work_dir: PathBuf,
    /// The commands that agent phases may name; a phase that names none gets `default`.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Names of the approval gates that are enabled; a gate that is not listed is passed without a question.
    pub gates: BTreeSet<String>,
    /// The handle that people mention to answer a gate, without `@`. Default `last-light`.
    pub bot_name: String,
    /// Id of the chat channel for runs that answer to no thread of their own; absent: they are silent. Default none.
    pub delivery_channel: Option<String>,
    /// Ends a phase that names no timeout of its own. Default 30 minutes.
    pub phase_timeout: Duration,
    /// Ends a run that is at work longer than this since it was taken up; waiting for a person does not count. Default 6 hours.
    pub run_deadline: Duration,
    /// Bytes of output that one attempt of a phase may put into its log. Default 16 MiB.
    pub log_cap: u64,
    /// Bytes of standard output that are kept as the phase's output. Default 1 MiB.
    pub kept_output: usize,
    /// How long a process may take to end after SIGTERM when the service stops. Default 10 s.
    pub finish_grace: Duration,
    /// Whether a phase that asks for a token may get `GITHUB_TOKEN` itself, which cannot be narrowed down. Default no.
    pub plain_token: bool,
    /// Which integration events the life of a run is told as. Default none.
    pub events: LifeEvents,
    /// Processes are told their place in the trace as `TRACEPARENT`, with the word whether it is kept; absent: they are not told.
    pub traces: Option<SampleRatio>,
}

/// Which integration event each turn in the life of a run is told as; absent: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LifeEvents {
    /// Its first phase began.
    pub started: Option<IntegrationEvent>,
    /// It succeeded.
    pub succeeded: Option<IntegrationEvent>,
    /// It failed.
    pub failed: Option<IntegrationEvent>,
}

impl RunsConfig {
    /// The defaults, with these two folders. Neither needs to exist yet.
    #[must_use]
    pub fn new(runs_dir: impl Into<PathBuf>, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            max_runs: 4,
            phases_at_once: 4,
            keep_work: Some(Duration::from_secs(7 * 24 * 60 * 60)),
            runs_dir: runs_dir.into(),
            work_dir: work_dir.into(),
            runtimes: BTreeMap::new(),
            gates: BTreeSet::new(),
            bot_name: "last-light".into(),
            delivery_channel: None,
            phase_timeout: Duration::from_secs(30 * 60),
            run_deadline: Duration::from_secs(6 * 60 * 60),
            log_cap: 16 * 1024 * 1024,
            kept_output: 1024 * 1024,
            finish_grace: Duration::from_secs(10),
            plain_token: false,
            events: LifeEvents::default(),
            traces: None,
        }
    }
}

/// A command that agent phases give their prompt to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Program and arguments, never templated; only `{work}`, `{folder}`, `{prompt_file}`, `{output_file}`, `{run}` and
    /// `{phase}` are filled in, none of which comes from outside. Empty: not configured.
    pub command: Vec<String>,
    /// Names of variables that are handed on from the service's own environment; nothing else of it is.
    pub env: Vec<String>,
    /// Ends a phase that names no timeout of its own; absent: [`RunsConfig::phase_timeout`].
    pub timeout: Option<Duration>,
    /// Bytes of standard output that are kept; absent: [`RunsConfig::kept_output`].
    pub output_limit: Option<usize>,
    /// Bytes of address space that each of its processes may have; absent: what the system allows.
    pub memory_limit: Option<u64>,
    /// Program and arguments that are put before the command, to isolate it. Placeholders as in [`Runtime::command`].
    pub wrapper: Vec<String>,
    /// How the prompt reaches it.
    pub prompt: PromptBy,
    /// Where its answer is taken from.
    pub output: OutputBy,
}

/// Whom the runs room speaks to.
#[derive(Debug, Clone)]
pub struct RunDoors {
    /// The store: put back what a crash left running.
    pub recover: Recipient<RecoverRuns>,
    /// The store: take runs from the queue.
    pub take: Recipient<TakeQueuedRuns>,
    /// The store: read a run, to start it afresh.
    pub load: Recipient<LoadRun>,
    /// The store: which runs are live, before work folders are removed.
    pub list: Recipient<ListRuns>,
    /// The store: make a step durable.
    pub record: Recipient<RecordStep>,
    /// The store: end a run from outside.
    pub end: Recipient<EndRun>,
    /// The store: ends that no runner saw, and nobody was told of.
    pub untold: Recipient<UntoldEnds>,
    /// The store: queue what is told of them.
    pub tell: Recipient<TellEnds>,
    /// The replier: something waits in the outbox.
    pub effects: Nudges<EffectsQueued>,
    /// The GitHub client: what the issue or pull request says, for a run that was started by its number alone.
    pub thread: Recipient<ReadThread>,
    /// The GitHub client: a token for a phase that asks for one.
    pub token: Recipient<MintToken>,
    /// The cron ticker: a run came to rest.
    pub crons: Recipient<RunsRested>,
    /// The gate keeper: a question was asked, perhaps with a deadline.
    pub gates: Recipient<GatesChanged>,
}
