//! The state of the integrations: `cargo bench --bench integrations` (`-- --quick`). Informs; never fails a build.
//!
//! The floor is what the state writer replaces: the same mutations, each with a write and a flush of its own, by the same writer
//! asked by one caller at a time. Both are taken in turn in one run, on files of the same size.

#[path = "support/table.rs"]
mod table;

use std::time::Instant;

use actix::{Actor, Addr};
use actors::clock::SystemClock;
use actors::house::{Belfry, Bells};
use actors::messages::house::Finish;
use actors::messages::integrations::{ListWebhooks, RegisterWebhook};
use actors::state::{StateConfig, StateWriter};
use futures_util::future::join_all;

use table::Table;

const CALLERS: usize = 64;
const EACH: usize = 50;
const LARGE: usize = 10_000;

struct House {
    writer: Addr<StateWriter>,
    _folder: tempfile::TempDir,
    _belfry: Belfry,
}

fn house() -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let (bells, belfry) = Bells::hang();
    let config = StateConfig::of(folder.path());
    let writer = StateWriter::new(config, SystemClock::shared(), bells.bell("state writer")).expect("a thread");
    House {
        writer: writer.start(),
        _folder: folder,
        _belfry: belfry,
    }
}

async fn register(writer: &Addr<StateWriter>, n: usize) {
    let order = RegisterWebhook {
        url: format!("https://hooks.example/endpoint/{n}"),
        events: None,
        secret: None,
    };
    writer.send(order).await.expect("it lives").expect("registered");
}

fn per_second(mutations: usize, began: Instant) -> f64 {
    f64::from(u32::try_from(mutations).expect("small")) / began.elapsed().as_secs_f64()
}

/// Mutations a second with so many callers, on a file that settles at 64 webhooks.
async fn mutate(callers: usize) -> f64 {
    let house = house();
    for n in 0..CALLERS {
        register(&house.writer, n).await;
    }
    let began = Instant::now();
    join_all((0..callers).map(async |caller| {
        for _ in 0..EACH {
            // One that is there already: an update, so that the file stays as large as it is.
            register(&house.writer, caller).await;
        }
    }))
    .await;
    let rate = per_second(callers * EACH, began);
    house.writer.send(Finish).await.expect("finished");
    rate
}

async fn large(table: &mut Table) {
    let house = house();
    // Fewer at once than may wait for the writer.
    for thousand in 0..LARGE / 1_000 {
        join_all((0..1_000).map(|n| register(&house.writer, thousand * 1_000 + n))).await;
    }
    let (mut registers, mut lists) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let began = Instant::now();
        register(&house.writer, LARGE + n).await;
        registers.push(began.elapsed().as_secs_f64() * 1_000.0);
        let began = Instant::now();
        let list = house
            .writer
            .send(ListWebhooks)
            .await
            .expect("it lives")
            .expect("listed");
        lists.push(began.elapsed().as_secs_f64() * 1_000.0);
        assert!(list.len() > LARGE, "all of them are there");
    }
    table.at_most_of("register among 10,000 webhooks, ms", &registers, 50.0);
    let slowest = registers.iter().copied().fold(0.0, f64::max);
    table.at_most("register among 10,000 webhooks, slowest of 20, ms", slowest, 200.0);
    table.at_most_of("list 10,000 webhooks, ms", &lists, 20.0);
    house.writer.send(Finish).await.expect("finished");
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--quick") {
        3
    } else {
        9
    };
    let mut table = Table::default();
    actix_rt::System::new().block_on(async {
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let one = mutate(1).await;
            let many = mutate(CALLERS).await;
            rates.push(many);
            ratios.push(many / one);
        }
        table.at_least("64 callers mutate, ratio to one flush per mutation", &ratios, 20.0);
        table.tell("64 callers mutate, mutations/s", &rates);
        large(&mut table).await;
    });
    table.print();
}
