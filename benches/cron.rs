//! What schedules cost: counting with them, and the ticker over a real store: `cargo bench --bench cron`. Informs; never fails a build.

#[path = "support/table.rs"]
mod table;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, MessageResult};
use actors::clock::{Clock, SharedClock, SystemClock};
use actors::cron::{CronConfig, CronDefinition, CronDoors, CronTicker, Schedule};
use actors::domain::ManagedRepos;
use actors::house::Bells;
use actors::messages::cron::ListCrons;
use actors::messages::dispatch::{DispatchWorkflow, NotDispatched};
use actors::messages::house::Finish;
use actors::messages::outbound::EffectsQueued;
use actors::store::Store;
use actors::store::StoreDoor;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::workflows::SharedCatalog;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use table::Table;

/// How often each thing is measured.
const ROUNDS: usize = 50;
/// How many firings are counted in one measurement.
const FIRINGS: usize = 1_000;
/// How many schedules are held at once.
const HELD: usize = 10_000;

fn main() {
    let mut table = Table::default();
    next(&mut table);
    refusals(&mut table);
    held(&mut table);
    actix_rt::System::new().block_on(ticking(&mut table));
    table.print();
}

/// Milliseconds of each round.
fn times<T>(mut what: impl FnMut() -> T) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        black_box(what());
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times
}

fn next(table: &mut Table) {
    // A day before clocks go back, so that the thousand firings cross the change.
    let from: DateTime<Utc> = "2027-10-30T00:00:00Z".parse().expect("an instant");
    for (expression, zone) in [
        ("*/5 * * * *", "Europe/Berlin"),
        ("*/5 * * * *", "Australia/Lord_Howe"),
        ("30 2 * * *", "America/New_York"),
        ("0 9 1 * MON#1", "Africa/Casablanca"),
    ] {
        let schedule = Schedule::parse(expression, Some(zone)).expect("a good schedule");
        let times = times(|| schedule.next(from, FIRINGS));
        table.at_most_of(&format!("{FIRINGS} firings of {expression} in {zone}, ms"), &times, 5.0);
    }
    let rare = Schedule::parse("0 0 29 2 *", Some("Europe/Berlin")).expect("a good schedule");
    table.tell("next 29 February in Europe/Berlin, ms", &times(|| rare.after(from)));
}

fn refusals(table: &mut Table) {
    let commas = ",".repeat(10_240);
    for (name, expression) in [
        ("61 * * * *", "61 * * * *"),
        ("0 0 30 2 *", "0 0 30 2 *"),
        ("nothing", ""),
        ("an emoji", "🦀"),
        ("10 kB of commas", commas.as_str()),
    ] {
        let micros: Vec<_> = times(|| Schedule::parse(expression, None))
            .iter()
            .map(|ms| ms * 1000.0)
            .collect();
        table.at_most_of(&format!("refusing {name}, µs"), &micros, 100.0);
    }
}

fn held(table: &mut Table) {
    let before = resident();
    let began = Instant::now();
    let held: Vec<_> = (0..HELD)
        .map(|at| {
            let expression = format!("{} {} * * {}", at % 60, at % 24, at % 7);
            let workflow = "repo-health".parse().expect("a name");
            let definition = CronDefinition::new(&format!("cron-{at}"), &expression, workflow);
            let schedule = Schedule::parse(&expression, Some("Europe/Berlin")).expect("a good schedule");
            (definition, schedule)
        })
        .collect();
    let per_second = f64::from(u32::try_from(held.len()).unwrap_or(u32::MAX)) / began.elapsed().as_secs_f64();
    table.at_least("schedules read, 1/s", &[per_second], 50_000.0);
    let mib = resident().saturating_sub(before) as f64 / f64::from(1 << 20);
    table.at_most(&format!("{HELD} definitions with their schedules, MiB"), mib, 50.0);
    drop(black_box(held));
}

/// The ticker with [`HELD`] schedules: what it keeps, what it costs while nothing is due, and how late it fires. Its clock is set so
/// that a minute begins soon.
async fn ticking(table: &mut Table) {
    const IDLE: Duration = Duration::from_secs(20);
    const FIRED: usize = 3;
    let folder = tempfile::tempdir().expect("a folder");
    let options = SqliteOptions::at(folder.path().join("firstlight.db"));
    let sqlite = Arc::new(SqliteStore::open(options, SystemClock::shared()).expect("opens"));
    let store = StoreDoor::new(sqlite.clone()).start();
    let catalog = SharedCatalog::new(actors::workflows::load(None).expect("the shipped workflows"));
    let managed = ManagedRepos::parse(["acme/site"]).expect("a pattern");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let dispatcher = Dispatcher(tell).start();
    let start = |definitions: Vec<CronDefinition>, clock: SharedClock| {
        let doors = CronDoors {
            states: store.clone().recipient(),
            over: store.clone().recipient(),
            record: store.clone().recipient(),
            open: store.clone().recipient(),
            begin: store.clone().recipient(),
            settle: store.clone().recipient(),
            end: store.clone().recipient(),
            ended: store.clone().recipient(),
            latest: store.clone().recipient(),
            list: store.clone().recipient(),
            dispatch: dispatcher.clone().recipient(),
            effects: dispatcher.clone().recipient().into(),
        };
        let config = CronConfig::new(definitions, managed.clone(), catalog.clone());
        CronTicker::new(config, doors, clock, Bells::hang().0.bell("cron ticker")).start()
    };
    let workflow = || "repo-health".parse().expect("a name");

    let before = resident();
    let many = (0..HELD).map(|at| {
        let expression = format!("{} {} 1 1 *", at % 60, at % 24);
        CronDefinition::new(&format!("cron-{at}"), &expression, workflow())
    });
    let ticker = start(many.collect(), SystemClock::shared());
    let list = ticker.send(ListCrons).await.expect("alive").expect("reads");
    assert_eq!(list.crons.len(), HELD);
    drop(list);
    let mib = resident().saturating_sub(before) as f64 / f64::from(1 << 20);
    table.at_most(&format!("{HELD} schedules in the ticker, MiB over idle"), mib, 50.0);
    let spent = busy();
    let began = Instant::now();
    tokio::time::sleep(IDLE).await;
    let share = (busy() - spent) / began.elapsed().as_secs_f64() * 100.0;
    table.at_most("the process with them while nothing is due, % of a core", share, 1.0);
    ticker.send(Finish).await.expect("alive");

    let mut late = Vec::new();
    for round in 0..FIRED {
        let now = SystemClock.now();
        let into = now.timestamp_millis().rem_euclid(60_000);
        let clock: SharedClock = Arc::new(Ahead(TimeDelta::milliseconds(58_000 - into)));
        let often = CronDefinition::new(&format!("often-{round}"), "* * * * *", workflow());
        let ticker = start(vec![often], clock.clone());
        let at: DateTime<Utc> = told.recv().await.expect("the dispatcher lives") + (clock.now() - SystemClock.now());
        late.push(at.timestamp_millis().rem_euclid(60_000) as f64);
        ticker.send(Finish).await.expect("alive");
    }
    table.at_most_of("a firing after its instant, until it is dispatched, ms", &late, 50.0);
    sqlite.close().await.expect("closes");
}

/// Seconds of processor that this process has used.
fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = |at: usize| {
        after
            .split_whitespace()
            .nth(at)
            .and_then(|ticks| ticks.parse::<f64>().ok())
    };
    // 100 ticks a second on every Linux that this runs on.
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

/// A clock that is ahead of the machine's.
#[derive(Debug)]
struct Ahead(TimeDelta);

impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.0
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
    }

    fn chance(&self) -> f64 {
        0.0
    }
}

/// Opens no run; tells when it was asked for one.
struct Dispatcher(tokio::sync::mpsc::UnboundedSender<DateTime<Utc>>);

impl Actor for Dispatcher {
    type Context = Context<Self>;
}

impl Handler<DispatchWorkflow> for Dispatcher {
    type Result = MessageResult<DispatchWorkflow>;

    fn handle(&mut self, order: DispatchWorkflow, _: &mut Self::Context) -> Self::Result {
        let _ = self.0.send(SystemClock.now());
        MessageResult(Err(NotDispatched::BadContext(order.workflow)))
    }
}

impl Handler<EffectsQueued> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: EffectsQueued, _: &mut Self::Context) {}
}

/// Bytes of this process in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
