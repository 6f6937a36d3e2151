//! What counting with schedules costs, without any actor: `cargo bench --bench cron`. Informs; never fails a build.

#[path = "support/table.rs"]
mod table;

use std::hint::black_box;
use std::time::Instant;

use actors::cron::{CronDefinition, Schedule};
use chrono::{DateTime, Utc};
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

/// Bytes of this process in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
