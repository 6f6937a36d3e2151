//! The actor that keeps the times: one timer to the earliest instant, the ledger before every dispatch. Opens no run itself.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use chrono::TimeDelta;
use tokio::sync::watch;

use super::book::{Book, MOST_WAITING, held};
use super::definitions::{CronDefinition, check, load};
use super::schedule::Schedule;
use super::work::{self, House, ask};
use crate::clock::SharedClock;
use crate::domain::{CronOverride, CronView, FiringKind, FiringSeq, FiringState, ManagedRepos, Mistake, NewFiring};
use crate::house::{Bell, Nudges};
use crate::messages::cron::{
    ChangeCron, CronChange, CronFilesChanged, CronList, FireCron, ListCrons, NotChanged, NotFired, RunsRested,
};
use crate::messages::dispatch::DispatchWorkflow;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::outbound::EffectsQueued;
use crate::messages::store::{
    BeginFiring, CronStates, EndFiring, EndedTargets, LatestFirings, ListFirings, OpenFirings, OverrideCron,
    RecordFirings, SettleTargets, StoreError, StoreResult,
};
use crate::workflows::SharedCatalog;

/// How many messages may wait.
const MAILBOX: usize = 256;

/// The clock on the wall is looked at this often at least: it may have been set, or the machine may have slept.
const TICK: Duration = Duration::from_secs(5);

/// Longest wait after a store that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The latest firings among which one that was asked for before is looked for.
const LATELY: usize = 50;

/// What the ticker goes by.
#[derive(Debug, Clone)]
pub struct CronConfig {
    /// The schedules as their files say them.
    pub definitions: Vec<CronDefinition>,
    /// The operator's folder; without one nothing ever changes.
    pub overlay: Option<std::path::PathBuf>,
    /// Over which repositories they fan out.
    pub managed: ManagedRepos,
    /// Whether GitHub's webhooks come in.
    pub webhooks: bool,
    /// The workflows that schedules may name.
    pub catalog: SharedCatalog,
    /// The chat channel that hears what operators are told; absent: their notifications alone.
    pub delivery_channel: Option<String>,
}

impl CronConfig {
    /// These schedules over these repositories, with webhooks on, no folder of the operator and no chat channel.
    #[must_use]
    pub fn new(definitions: Vec<CronDefinition>, managed: ManagedRepos, catalog: SharedCatalog) -> Self {
        Self {
            definitions,
            overlay: None,
            managed,
            webhooks: true,
            catalog,
            delivery_channel: None,
        }
    }
}

/// Whom the ticker speaks to.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each but the last two is the store, named after its message")]
pub struct CronDoors {
    pub states: Recipient<CronStates>,
    pub over: Recipient<OverrideCron>,
    pub record: Recipient<RecordFirings>,
    pub open: Recipient<OpenFirings>,
    pub begin: Recipient<BeginFiring>,
    pub settle: Recipient<SettleTargets>,
    pub end: Recipient<EndFiring>,
    pub ended: Recipient<EndedTargets>,
    pub latest: Recipient<LatestFirings>,
    pub list: Recipient<ListFirings>,
    /// The dispatcher: the same door as that of API and dashboard.
    pub dispatch: Recipient<DispatchWorkflow>,
    /// Repliers and retrier: somebody is to be told.
    pub effects: Nudges<EffectsQueued>,
}

/// Keeps the times.
///
/// - **Once.** Every instant up to a schedule's cursor has been decided on; the cursor and the rows of the ledger are written
///   in one transaction, before anything is dispatched. A clock that goes back finds its instants decided on.
/// - **The clock** on the wall is compared at every tick, so that a step of it, a suspend or a busy machine is seen: what
///   passed meanwhile is missed, and follows the rule of its schedule.
/// - **Runs** are opened by the dispatcher under ids made of the firing, so that a turn that is repeated opens none twice.
/// - **A store that fails** keeps what is due due; it is asked again after 100 ms, doubled each time up to 10 s.
///
/// Every handler waits for the turn before it: the book is in one hand at a time.
pub struct CronTicker {
    house: Rc<House>,
    book: Book,
    refused: Vec<Mistake>,
    wait: Option<watch::Sender<()>>,
    failures: u32,
    finishing: bool,
    turns: u64,
    _bell: Bell,
}

impl CronTicker {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A ticker that begins, once started, with what became due while nobody looked. `bell` rings when it is gone.
    #[must_use]
    pub fn new(config: CronConfig, doors: CronDoors, clock: SharedClock, bell: Bell) -> Self {
        Self {
            house: Rc::new(House { doors, config, clock }),
            book: Book::default(),
            refused: Vec::new(),
            wait: None,
            failures: 0,
            finishing: false,
            turns: 0,
            _bell: bell,
        }
    }

    /// Takes the book for a piece of work; nobody else is heard before it is back.
    fn with_book<T: 'static>(
        &mut self,
        work: impl AsyncFnOnce(&mut Book, &House) -> T + 'static,
    ) -> impl ActorFuture<Self, Output = T> + 'static {
        let (mut book, house) = (std::mem::take(&mut self.book), Rc::clone(&self.house));
        let work = async move {
            let answer = work(&mut book, &house).await;
            (book, answer)
        };
        work.into_actor(self).map(|(book, answer), ticker, _| {
            ticker.book = book;
            answer
        })
    }

    fn turn(&mut self, ctx: &mut Context<Self>) {
        if self.finishing {
            return;
        }
        let turn = self.with_book(async |book: &mut Book, house: &House| work::turn(book, house, true).await);
        ctx.wait(turn.map(|done, ticker, ctx| ticker.after(done, ctx)));
    }

    fn after(&mut self, done: StoreResult<()>, ctx: &mut Context<Self>) {
        self.turns += 1;
        let now = self.house.clock.now();
        let pause = match done {
            Ok(()) => {
                self.failures = 0;
                let until = self
                    .book
                    .next(now)
                    .map(|next| (next - now).to_std().unwrap_or_default());
                until.unwrap_or(TICK).min(TICK)
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let pause = Duration::from_millis(100)
                    .saturating_mul(1 << self.failures.saturating_sub(1).min(7))
                    .min(LONGEST_PAUSE);
                tracing::warn!(%error, retry_in = ?pause, "schedules could not be served; nothing is lost, and it is tried again");
                pause
            }
        };
        self.wait_for(pause, ctx);
    }

    /// One timer: a new one ends the one before.
    fn wait_for(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        let (end, mut ended) = watch::channel(());
        self.wait = Some(end);
        let sleep = self.house.clock.sleep(pause);
        let wait = async move {
            tokio::select! {
                () = sleep => true,
                _ = ended.changed() => false,
            }
        };
        ctx.spawn(wait.into_actor(self).map(|due, ticker, ctx| {
            if due {
                ticker.turn(ctx);
            }
        }));
    }

    fn known(book: &Book) -> Vec<String> {
        book.entries.keys().cloned().collect()
    }
}

impl Actor for CronTicker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.turn(ctx);
    }
}

impl Handler<RunsRested> for CronTicker {
    type Result = ();

    fn handle(&mut self, _: RunsRested, ctx: &mut Self::Context) {
        // Nothing of ours is at work: whatever came to rest was somebody else's.
        if !self.book.open.is_empty() {
            self.turn(ctx);
        }
    }
}

impl Handler<CronFilesChanged> for CronTicker {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: CronFilesChanged, _: &mut Self::Context) -> Self::Result {
        let config = &self.house.config;
        let (overlay, catalog, managed) = (config.overlay.clone(), config.catalog.clone(), config.managed.clone());
        // Files are read off the reactor: a folder can be slow, and on a network it can hang.
        let reading = tokio::task::spawn_blocking(move || read_files(overlay.as_deref(), &catalog, &managed));
        let story = self.with_book(async move |book: &mut Book, house: &House| {
            let read = match reading.await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(%error, "changed schedules could not be read; the old ones stay");
                    return Vec::new();
                }
            };
            match read {
                Ok(definitions) if book.entries.values().map(|entry| &entry.definition).eq(&definitions) => Vec::new(),
                Ok(definitions) => {
                    tracing::info!(crons = definitions.len(), "changed schedules are taken up");
                    if let Err(error) = work::take_up(book, house, definitions).await {
                        tracing::warn!(%error, "where changed schedules stand could not be written down yet");
                    }
                    Vec::new()
                }
                Err(mistakes) => {
                    for mistake in &mistakes {
                        tracing::error!(%mistake, "a changed schedule is refused; what was there before stays");
                    }
                    mistakes
                }
            }
        });
        AtomicResponse::new(Box::pin(story.map(|refused, ticker, ctx| {
            ticker.refused = refused;
            ticker.turn(ctx);
        })))
    }
}

fn read_files(
    overlay: Option<&std::path::Path>,
    catalog: &SharedCatalog,
    managed: &ManagedRepos,
) -> Result<Vec<CronDefinition>, Vec<Mistake>> {
    let definitions = load(overlay)?;
    let catalog: Arc<_> = catalog.current();
    let names: Vec<_> = catalog.names().map(|name| name.as_str()).collect();
    let mistakes = check(&definitions, &|name| names.contains(&name), &names, managed);
    if mistakes.is_empty() {
        Ok(definitions)
    } else {
        Err(mistakes)
    }
}

impl Handler<ListCrons> for CronTicker {
    type Result = AtomicResponse<Self, Result<CronList, StoreError>>;

    fn handle(&mut self, _: ListCrons, _: &mut Self::Context) -> Self::Result {
        let refused = self.refused.clone();
        let story = self.with_book(async move |book: &mut Book, house: &House| {
            let crons = views(book, house, None).await?;
            Ok(CronList { crons, refused })
        });
        AtomicResponse::new(Box::pin(story))
    }
}

/// The schedules for a list, or one of them.
async fn views(book: &Book, house: &House, only: Option<&str>) -> StoreResult<Vec<CronView>> {
    let latest = ask(&house.doors.latest, LatestFirings).await?;
    let latest: std::collections::BTreeMap<&str, _> =
        latest.iter().map(|firing| (firing.cron.as_str(), firing)).collect();
    let now = house.clock.now();
    let entries = book
        .entries
        .values()
        .filter(|entry| only.is_none_or(|only| only == entry.definition.name));
    Ok(entries
        .map(|entry| {
            let latest = latest.get(entry.definition.name.as_str()).copied();
            book.view(entry, latest, &house.config.managed, now)
        })
        .collect())
}

impl Handler<ChangeCron> for CronTicker {
    type Result = AtomicResponse<Self, Result<CronView, NotChanged>>;

    fn handle(&mut self, order: ChangeCron, _: &mut Self::Context) -> Self::Result {
        let story = self.with_book(async move |book: &mut Book, house: &House| change(book, house, order).await);
        AtomicResponse::new(Box::pin(story.map(|changed, ticker, ctx| {
            // What counts from now on may be earlier than what the timer waits for.
            ticker.after(Ok(()), ctx);
            changed
        })))
    }
}

async fn change(book: &mut Book, house: &House, order: ChangeCron) -> Result<CronView, NotChanged> {
    let Some(entry) = book.entries.get(&order.cron) else {
        return Err(NotChanged::Unknown {
            name: order.cron,
            known: CronTicker::known(book),
        });
    };
    let now = house.clock.now();
    let before = entry.state.over.clone();
    let said = CronOverride {
        updated_at: now,
        updated_by: order.who,
        ..before.clone().unwrap_or_default()
    };
    let over = match order.change {
        CronChange::Enabled(wish) => Some(CronOverride {
            enabled: Some(wish.unwrap_or(!entry.enabled())),
            ..said
        }),
        CronChange::Schedule(text) => {
            Schedule::parse(&text, entry.definition.timezone.as_deref())
                .map_err(|error| NotChanged::BadSchedule(error.to_string()))?;
            Some(CronOverride {
                schedule: Some(text.trim().to_owned()),
                ..said
            })
        }
        CronChange::Reset => None,
    };
    let write = OverrideCron {
        cron: order.cron.clone(),
        over: over.clone(),
    };
    ask(&house.doors.over, write).await?;
    book.said(&order.cron, over, house.config.webhooks, now)
        .map_err(|error| NotChanged::BadSchedule(error.to_string()))?;
    // It counts already; should its beginning not be written down now, the next turn does it.
    if let Err(error) = work::begin_anew(book, house).await {
        tracing::warn!(cron = order.cron, %error, "a changed schedule counts, and its beginning is written down later");
    }
    let mut views = views(book, house, Some(&order.cron)).await?;
    views.pop().ok_or_else(|| NotChanged::Unknown {
        name: order.cron,
        known: CronTicker::known(book),
    })
}

impl Handler<FireCron> for CronTicker {
    type Result = AtomicResponse<Self, Result<FiringSeq, NotFired>>;

    fn handle(&mut self, order: FireCron, _: &mut Self::Context) -> Self::Result {
        let finishing = self.finishing;
        let story = self.with_book(async move |book: &mut Book, house: &House| {
            if finishing {
                return Err(NotFired::Stopping);
            }
            fire_now(book, house, order).await
        });
        AtomicResponse::new(Box::pin(story.map(|fired, ticker, ctx| {
            if fired.is_ok() {
                ticker.turn(ctx);
            }
            fired
        })))
    }
}

async fn fire_now(book: &mut Book, house: &House, order: FireCron) -> Result<FiringSeq, NotFired> {
    let Some(entry) = book.entries.get(&order.cron) else {
        return Err(NotFired::Unknown {
            name: order.cron,
            known: CronTicker::known(book),
        });
    };
    let waiting = book.waiting_of(&order.cron);
    if waiting >= MOST_WAITING {
        return Err(NotFired::TooMany(waiting));
    }
    let seed = order.seed.unwrap_or_else(|| house.clock.fresh_id());
    let lately = ListFirings {
        cron: Some(order.cron.clone()),
        before: None,
        limit: LATELY,
    };
    let lately = ask(&house.doors.list, lately).await?.items;
    if let Some(before) = lately.iter().find(|firing| firing.seed == seed) {
        return Ok(before.seq);
    }
    let now = house.clock.now();
    let mut at = now;
    // Each instant of a schedule is in the ledger once, in ms.
    while lately
        .iter()
        .any(|firing| firing.scheduled_at.timestamp_millis() == at.timestamp_millis())
    {
        at += TimeDelta::milliseconds(1);
    }
    let firing = NewFiring {
        cron: order.cron.clone(),
        kind: FiringKind::Manual,
        state: FiringState::Waiting,
        scheduled_at: at,
        due_at: now,
        who: order.who,
        count: 1,
        note: None,
        seed,
    };
    let record = RecordFirings {
        cron: order.cron.clone(),
        firings: vec![firing.clone()],
        state: entry.state.clone(),
        effects: Vec::new(),
        at: now,
    };
    let written = ask(&house.doors.record, record).await?;
    let seq = written
        .into_iter()
        .flatten()
        .next()
        .ok_or_else(|| StoreError::Failed("another firing is at this very instant; try again".to_owned()))?;
    book.hold(held(firing, seq));
    Ok(seq)
}

impl Handler<Ping> for CronTicker {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for CronTicker {
    type Result = AtomicResponse<Self, u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Self::Context) -> Self::Result {
        // A timer that is due may not have been heard yet.
        let looks = !self.finishing && self.failures == 0;
        let story = self.with_book(async move |book: &mut Book, house: &House| {
            let before = book.changes;
            looks && work::turn(book, house, true).await.is_ok() && book.changes != before
        });
        AtomicResponse::new(Box::pin(story.map(|did, ticker, ctx| {
            if did {
                ticker.after(Ok(()), ctx);
            }
            ticker.turns
        })))
    }
}

impl Handler<Finish> for CronTicker {
    type Result = ();

    fn handle(&mut self, _: Finish, _: &mut Self::Context) {
        self.finishing = true;
        self.wait = None;
    }
}
