//! The librarian: hears that files changed, reads them, has the store keep what is good and puts it on the shelf for new
//! runs. Knows messages and the workflows' pure rules; never a run.
//!
//! A run that is under way keeps the version that it started with: the store has it by its hash. So what is new is kept
//! *before* it is on the shelf, and nobody can open a run whose definition is not on disk.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::watch::Watch;
use crate::changes::Board;
use crate::clock::SharedClock;
use crate::domain::{Change, ChangeKind, Mistake, WorkflowName};
use crate::house::Bell;
use crate::messages::cron::CronFilesChanged;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::library::{FilesChanged, ReadPrompts, ReadWorkflows, Shelf};
use crate::messages::store::KeepDefinitions;
use crate::workflows::{self, Reloaded, Route, Setup, SharedCatalog};

/// How long the librarian waits after the first sign of a change: an editor writes a file in several steps, and a copy
/// brings many files.
const REST: Duration = Duration::from_millis(200);

/// How long the librarian waits before it asks a store that failed again.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How many questions and nudges may wait.
const MAILBOX: usize = 64;

/// What the librarian goes by.
#[derive(Debug, Clone, Default)]
pub struct LibraryRules {
    /// The operator's folder; without one nothing ever changes.
    pub overlay: Option<PathBuf>,
    /// All routes, those of the defaults too.
    pub routes: Vec<Route>,
    /// Names of the configured runtimes.
    pub runtimes: BTreeSet<String>,
    /// Where it is noted which workflow changed.
    pub changes: Board,
}

/// The actor.
pub struct Librarian {
    rules: Arc<LibraryRules>,
    shelf: SharedCatalog,
    keep: Recipient<KeepDefinitions>,
    crons: Recipient<CronFilesChanged>,
    clock: SharedClock,
    watch: Option<Watch>,
    refused: Vec<Mistake>,
    state: State,
    finishing: bool,
    finished: Vec<oneshot::Sender<()>>,
    reads: u64,
    quiet: Vec<oneshot::Sender<u64>>,
    _bell: Bell,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Waits for a change to be whole; what changes meanwhile will be read too.
    Resting,
    /// Reads; what changes meanwhile may have been read before it changed.
    Reading {
        again: bool,
    },
}

impl Librarian {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A librarian of this shelf.
    #[must_use]
    pub fn new(
        rules: LibraryRules,
        shelf: SharedCatalog,
        keep: Recipient<KeepDefinitions>,
        crons: Recipient<CronFilesChanged>,
        clock: SharedClock,
        bell: Bell,
    ) -> Self {
        Self {
            rules: Arc::new(rules),
            shelf,
            keep,
            crons,
            clock,
            watch: None,
            refused: Vec::new(),
            state: State::Idle,
            finishing: false,
            finished: Vec::new(),
            reads: 0,
            quiet: Vec::new(),
            _bell: bell,
        }
    }

    /// Rests, then reads; or remembers that one more reading is wanted.
    fn work(&mut self, ctx: &mut Context<Self>, rest: Duration) {
        match self.state {
            _ if self.finishing => {}
            State::Resting => {}
            State::Reading { .. } => self.state = State::Reading { again: true },
            State::Idle => {
                self.state = State::Resting;
                let rest = self.clock.sleep(rest);
                ctx.spawn(rest.into_actor(self).map(|(), this, ctx| this.read(ctx)));
            }
        }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.finishing {
            return self.rest();
        }
        self.state = State::Reading { again: false };
        if let Some(watch) = &mut self.watch
            && let Err(error) = watch.renew()
        {
            tracing::warn!(error, "the overlay folder cannot be watched; it is when it is back");
        }
        let (rules, before) = (Arc::clone(&self.rules), self.shelf.current());
        // Files are read off the reactor: a folder can be slow, and on a network it can hang.
        let reading = tokio::task::spawn_blocking(move || {
            let setup = Setup {
                routes: &rules.routes,
                runtimes: &rules.runtimes,
            };
            workflows::reload(&before, rules.overlay.as_deref(), &setup)
        });
        let keep = self.keep.clone();
        let turn = async move {
            let reloaded = reading
                .await
                .map_err(|error| format!("the reading broke off: {error}"))?;
            let mut bundles = reloaded.catalog.bundles();
            bundles.retain(|(_, name, _)| reloaded.changed.contains(name));
            if !bundles.is_empty() {
                keep.send(KeepDefinitions(bundles))
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string())?;
            }
            Ok(reloaded)
        };
        ctx.spawn(turn.into_actor(self).map(|turn, this, ctx| this.after(turn, ctx)));
    }

    fn after(&mut self, turn: Result<Reloaded, String>, ctx: &mut Context<Self>) {
        self.reads += 1;
        let again = self.state == State::Reading { again: true };
        self.state = State::Idle;
        match turn {
            Ok(reloaded) => {
                self.take_up(reloaded);
                // Schedules name workflows, so theirs are read after these. A full mailbox holds a nudge already.
                let _ = self.crons.try_send(CronFilesChanged);
                if again {
                    self.work(ctx, REST);
                }
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "changed workflows could not be taken up; the old ones stay, and it is tried again"
                );
                self.work(ctx, STORE_PAUSE);
            }
        }
        if self.state == State::Idle || self.finishing {
            self.rest();
        }
    }

    fn take_up(&mut self, reloaded: Reloaded) {
        let Reloaded {
            catalog,
            changed,
            gone,
            mistakes,
        } = reloaded;
        for mistake in mistakes.iter().filter(|mistake| !self.refused.contains(mistake)) {
            tracing::error!(%mistake, "a changed workflow file is refused; what was there before stays");
        }
        if mistakes.is_empty() && !self.refused.is_empty() {
            tracing::info!("all workflow files are good again");
        }
        let news = changed.iter().chain(&gone).map(|name| name.as_str());
        let files = (mistakes != self.refused).then(|| mistakes.iter().chain(&self.refused));
        let files = files.into_iter().flatten().map(|mistake| mistake.file.as_str());
        let news: Vec<Change> = news
            .chain(files)
            .map(|name| Change::of(ChangeKind::Workflow, name))
            .collect();
        self.refused = mistakes;
        if !changed.is_empty() || !gone.is_empty() {
            let list = |names: &[WorkflowName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            tracing::info!(
                changed = list(&changed),
                gone = list(&gone),
                "workflows are taken up for new runs"
            );
            self.shelf.replace(catalog);
        }
        self.rules.changes.note(news);
    }

    /// Tells those who wait that nothing is in hand.
    fn rest(&mut self) {
        self.state = State::Idle;
        for waiting in self.quiet.drain(..) {
            // Whoever asked may have given up.
            let _ = waiting.send(self.reads);
        }
        for waiting in self.finished.drain(..) {
            let _ = waiting.send(());
        }
    }
}

impl Actor for Librarian {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let Some(overlay) = &self.rules.overlay else { return };
        let door = ctx.address().recipient::<FilesChanged>();
        // A full mailbox has a nudge in it already.
        match Watch::open(overlay, move || drop(door.try_send(FilesChanged))) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::warn!(
                error,
                "the overlay folder cannot be watched; changes of workflows are seen at the next start"
            ),
        }
        // What changed since the files were read at boot was seen by no watch.
        self.read(ctx);
    }
}

impl Handler<FilesChanged> for Librarian {
    type Result = ();

    fn handle(&mut self, _: FilesChanged, ctx: &mut Self::Context) {
        self.work(ctx, REST);
    }
}

impl Handler<ReadWorkflows> for Librarian {
    type Result = Shelf;

    fn handle(&mut self, _: ReadWorkflows, _: &mut Self::Context) -> Shelf {
        Shelf {
            workflows: self.shelf.current().iter().cloned().collect(),
            refused: self.refused.clone(),
        }
    }
}

impl Handler<ReadPrompts> for Librarian {
    type Result = MessageResult<ReadPrompts>;

    fn handle(&mut self, order: ReadPrompts, _: &mut Self::Context) -> Self::Result {
        let catalog = self.shelf.current();
        MessageResult(
            catalog
                .get(&order.workflow)
                .map(|workflow| workflows::prompts(workflow)),
        )
    }
}

impl Handler<Ping> for Librarian {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for Librarian {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Self::Context) -> Self::Result {
        let (to, quiet) = oneshot::channel();
        self.quiet.push(to);
        let reads = self.reads;
        if self.state == State::Idle {
            self.rest();
        }
        Box::pin(async move { quiet.await.unwrap_or(reads) })
    }
}

impl Handler<Finish> for Librarian {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.finishing = true;
        self.watch = None;
        let (to, finished) = oneshot::channel();
        self.finished.push(to);
        // Who only rests has nothing in hand; the files are read at the next start.
        if !matches!(self.state, State::Reading { .. }) {
            self.rest();
        }
        Box::pin(async move {
            let _ = finished.await;
        })
    }
}
