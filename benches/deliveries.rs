//! Deliveries against a bare client: `cargo bench --bench deliveries` (`-- --quick`). Informs; never fails a build.
//!
//! The ceiling posts the same bodies with the same client to the same receiver, as many at a time, and stores nothing. Both
//! share the machine with the receiver; every ratio is between rounds of one run that were taken in turn.

#[path = "support/table.rs"]
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Context, Handler};
use actors::clock::{Clock, SystemClock};
use actors::domain::{Effect, GitAutoCommitConfig, IntegrationEvent, NewEffect, Secret, WebhookMessage};
use actors::house::Bells;
use actors::messages::house::{AwaitQuiet, Finish};
use actors::messages::integrations::{
    EmitWebhookEvent, Endpoint, GetGitAutoCommitConfig, IntegrationResult, KeepNotification, ReadEndpoints,
};
use actors::messages::outbound::EffectsQueued;
use actors::messages::store::QueueDeliveries;
use actors::outbound::{DeliveryConfig, DeliveryDoors, DeliveryRetrier, Guard, SystemResolver};
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::store::{Store, StoreDoor};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use table::Table;

const ENDPOINTS: usize = 1_000;
const HANGING: usize = 10;
const AT_ONCE: usize = 256;
const OUTBOX: usize = 100_000;

/// Webhooks of the benchmark.
struct Registry(Vec<Endpoint>);

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<ReadEndpoints> for Registry {
    type Result = IntegrationResult<Vec<Endpoint>>;

    fn handle(&mut self, _: ReadEndpoints, _: &mut Context<Self>) -> Self::Result {
        Ok(self.0.clone())
    }
}

impl Handler<KeepNotification> for Registry {
    type Result = IntegrationResult<()>;

    fn handle(&mut self, _: KeepNotification, _: &mut Context<Self>) -> Self::Result {
        Ok(())
    }
}

impl Handler<GetGitAutoCommitConfig> for Registry {
    type Result = IntegrationResult<GitAutoCommitConfig>;

    fn handle(&mut self, _: GetGitAutoCommitConfig, _: &mut Context<Self>) -> Self::Result {
        Ok(GitAutoCommitConfig {
            enabled: false,
            on_events: Vec::new(),
        })
    }
}

/// Answers 200 to everything but `/hang…`, in a thread of its own. Counts what it answered.
fn receiver() -> (SocketAddr, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::Runtime::new().expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            told.send(listener.local_addr().expect("bound")).expect("heard");
            while let Ok((stream, _)) = listener.accept().await {
                actix_rt::spawn(serve(stream, Arc::clone(&counter)));
            }
        });
    });
    (hears.recv().expect("it listens"), answered)
}

async fn serve(mut stream: tokio::net::TcpStream, answered: Arc<AtomicUsize>) {
    let mut buffer = Vec::with_capacity(8_192);
    loop {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        while buffer.len() < end + 4 + length {
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => {}
                _ => return,
            }
        }
        buffer.drain(..end + 4 + length);
        if head.starts_with("POST /hang") {
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .is_err()
        {
            return;
        }
    }
}

struct House {
    retrier: Addr<DeliveryRetrier>,
    store: Arc<SqliteStore>,
    _folder: tempfile::TempDir,
}

fn house(urls: impl Iterator<Item = String>) -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = SystemClock::shared();
    let options = SqliteOptions::at(folder.path().join("firstlight.db"));
    let store = Arc::new(SqliteStore::open(options, clock.clone()).expect("it opens"));
    let door = StoreDoor::new(store.clone()).start();
    let endpoints = urls
        .enumerate()
        .map(|(n, url)| Endpoint {
            id: format!("w-{n}"),
            url,
            events: Vec::new(),
            secrets: vec![Secret::new("a secret of the benchmark")],
        })
        .collect();
    let state = Registry(endpoints).start();
    let (bells, _belfry) = Bells::hang();
    let doors = DeliveryDoors {
        endpoints: state.clone().recipient(),
        keep: state.clone().recipient(),
        git: state.recipient(),
        commit: None,
        due: door.clone().recipient(),
        claim: door.clone().recipient(),
        settle: door.clone().recipient(),
        queue: door.clone().recipient(),
        due_deliveries: door.clone().recipient(),
        claim_delivery: door.clone().recipient(),
        settle_deliveries: door.clone().recipient(),
        recover: door.clone().recipient(),
        set_webhook: door.recipient(),
    };
    let config = DeliveryConfig::new(
        Guard::new(Vec::new(), |_| true),
        Arc::new(SystemResolver),
        Secret::new("a key of the benchmark"),
    );
    let retrier = DeliveryRetrier::new(doors, config, clock, bells.bell("delivery retrier")).start();
    House {
        retrier,
        store,
        _folder: folder,
    }
}

fn payload() -> Value {
    json!({ "text": "x".repeat(2_000) })
}

fn emit(house: &House) -> tokio::task::JoinHandle<()> {
    let asked = house.retrier.send(EmitWebhookEvent {
        name: IntegrationEvent::TaskSync,
        payload: payload(),
    });
    actix_rt::spawn(async move {
        asked.await.expect("answered").expect("emitted");
    })
}

/// Posts one body to each endpoint, as a script would.
async fn bare(client: &awc::Client, address: SocketAddr) -> Duration {
    let body = bytes::Bytes::from(payload().to_string());
    let began = Instant::now();
    futures_util::stream::iter(0..ENDPOINTS)
        .map(|n| {
            let request = client
                .post(format!("http://{address}/fine/{n}"))
                .content_type("application/json")
                .send_body(body.clone());
            async move {
                let mut response = request.await.expect("answered");
                response.body().await.expect("whole")
            }
        })
        .buffer_unordered(AT_ONCE)
        .for_each(|_| std::future::ready(()))
        .await;
    began.elapsed()
}

async fn until(counter: &AtomicUsize, count: usize) {
    while counter.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers, for people")]
fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kb = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    kb.unwrap_or(0) as f64 / 1024.0
}

async fn speed(rounds: usize, table: &mut Table) {
    let (address, answered) = receiver();
    let client = awc::Client::builder()
        .connector(awc::Connector::new().limit(0))
        .disable_timeout()
        .finish();
    let fine = |n: usize| format!("http://{address}/fine/{n}");
    let whole = house((0..ENDPOINTS).map(fine));
    let others = house((HANGING..ENDPOINTS).map(fine));
    let hanging = house((0..ENDPOINTS).map(|n| match n {
        0..HANGING => format!("http://{address}/hang/{n}"),
        _ => fine(n),
    }));
    let (mut rates, mut ratios, mut alone, mut delays) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first round makes connections and warms caches.
    for round in 0..=rounds {
        let bare = bare(&client, address).await.as_secs_f64();
        let began = Instant::now();
        emit(&whole).await.expect("emitted");
        let ours = began.elapsed().as_secs_f64();

        let others_began = Instant::now();
        let before = answered.load(Ordering::Relaxed);
        let emitting = emit(&others);
        until(&answered, before + ENDPOINTS - HANGING).await;
        let quiet = others_began.elapsed().as_secs_f64();
        emitting.await.expect("emitted");

        // Its deliveries to those that hang are still under way from the round before: nobody waits for them.
        let before = answered.load(Ordering::Relaxed);
        let began = Instant::now();
        let emitting = emit(&hanging);
        until(&answered, before + ENDPOINTS - HANGING).await;
        let disturbed = began.elapsed().as_secs_f64();
        emitting.abort();
        if round > 0 {
            let n = f64::from(u32::try_from(ENDPOINTS).expect("small"));
            rates.push(n / ours);
            ratios.push(bare / ours);
            alone.push(quiet * 1_000.0);
            delays.push(disturbed / quiet);
        }
    }
    table.tell("deliveries a second, emit to 1,000 endpoints, 2 kB", &rates);
    table.at_least("of what a bare loop of the same client reaches", &ratios, 0.5);
    table.tell("990 endpoints alone, ms", &alone);
    table.at_most_of("the same with 10 that hang, times", &delays, 1.2);
    for house in [whole, others, hanging] {
        house.retrier.send(Finish).await.expect("finished");
    }
}

async fn memory(table: &mut Table) {
    let (address, answered) = receiver();
    let house = house((0..10).map(|n| format!("http://{address}/fine/{n}")));
    emit(&house).await.expect("emitted");
    let clock = SystemClock;
    for batch in 0..OUTBOX / 10_000 {
        let effects = (0..10_000)
            .map(|n| NewEffect {
                key: format!("delivery:{batch}-{n}").parse().expect("a key"),
                effect: Effect::WebhookDelivery {
                    delivery: format!("{batch}-{n}"),
                    webhook: format!("w-{}", n % 10),
                    event: IntegrationEvent::TaskSync,
                    message: "m".into(),
                },
                run: None,
                event: None,
            })
            .collect();
        let order = QueueDeliveries {
            message: Some(WebhookMessage {
                id: "m".into(),
                rest: format!("\"payload\":{}}}", payload()),
            }),
            effects,
            claimed_until: None,
            at: clock.now(),
        };
        house.store.queue_deliveries(order).await.expect("queued");
    }
    let before = rss_mb();
    let began = Instant::now();
    house.retrier.send(EffectsQueued).await.expect("nudged");
    let mut most = before;
    while answered.load(Ordering::Relaxed) < OUTBOX {
        actix_rt::time::timeout(Duration::from_millis(50), std::future::pending::<()>())
            .await
            .expect_err("it pends");
        most = most.max(rss_mb());
    }
    house.retrier.send(AwaitQuiet).await.expect("quiet");
    let rate = f64::from(u32::try_from(OUTBOX).expect("small")) / began.elapsed().as_secs_f64();
    table.tell("deliveries a second out of an outbox of 100,000", &[rate]);
    table.at_most("memory that working it off takes, MB", most - before, 32.0);
    house.retrier.send(Finish).await.expect("finished");
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let mut table = Table::default();
    actix_rt::System::new().block_on(async {
        speed(if quick { 3 } else { 9 }, &mut table).await;
        memory(&mut table).await;
    });
    table.print();
}
