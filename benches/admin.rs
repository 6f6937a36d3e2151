//! Lists over many events and runs, and many who listen at once: `cargo bench --bench admin` (`-- --full` for a million events).
//! Informs; never fails a build.

#[expect(dead_code, reason = "another benchmark compares the service with its ceiling")]
#[path = "support/processes.rs"]
mod processes;
#[expect(dead_code, reason = "every target here is a most, and none a least")]
#[path = "support/table.rs"]
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use actors::clock::{Clock, SystemClock};
use actors::domain::{
    BodyFormat, Cause, DefinitionHash, EventEnvelope, EventType, NewEvent, NewRun, Overlap, RawBody, Recorded, ReplyTo,
    RepoName, RunContext, RunId, RunStatus, Source, Subject, TriggerType,
};
use actors::messages::store::{EndRun, KeepDefinitions, OpenRuns, RecordEvent, SettleEvents, Settlement};
use actors::store::Store;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use futures_util::future::join_all;
use processes::Service;
use table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const SECRET: &str = "a webhook secret of the benchmark";

/// Streams that are open at once.
const STREAMS: usize = 200;

/// Dashboards that are open at once.
const DASHBOARDS: usize = 50;

/// Orders under way at once.
const GROUP: u64 = 500;

fn main() {
    let full = std::env::args().any(|arg| arg == "--full");
    let (events, runs) = if full { (1_000_000, 100_000) } else { (100_000, 10_000) };
    let mut table = Table::default();
    let folder = tempfile::tempdir().expect("a folder");
    actix_rt::System::new().block_on(async {
        fill(&folder.path().join("state"), events, runs).await;
    });
    let service = Service::start(folder.path(), SECRET);
    lists(&service, events, runs, &mut table);
    pages(&service, runs, &mut table);
    actix_rt::System::new().block_on(dashboards(&service, &mut table));
    actix_rt::System::new().block_on(streams(&service, &mut table));
    table.print();
}

fn lists(service: &Service, events: u64, runs: u64, table: &mut Table) {
    eprintln!("{events} events, {runs} runs");
    for path in [
        "events?limit=200",
        "events?limit=50&before=1000",
        "events?limit=50&type=pr.opened",
        "events?limit=50&repo=acme/r7",
        "events?limit=50&sender=user-77",
        "events?limit=50&state=quarantined",
        "events?limit=50&state=recorded",
        "events?limit=50&source=slack",
        "events?limit=50&title=number%207",
        "events?limit=50&title=nowhere",
        "events?limit=50&outcome=nowhere",
        "events?limit=50&repo=acme/r7&type=issue.closed",
        "events?limit=50&repo=acme/r7&sender=user-3&title=nowhere",
        "events?limit=50&type=pr.opened&outcome=nowhere",
        "events?limit=50&since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z",
        "events?limit=50&until=2020-01-01T00:00:00Z&title=nowhere",
        "workflow-runs?limit=200",
        "workflow-runs?limit=50&offset=9000",
        "workflow-runs?limit=50&status=failed,succeeded&offset=5000",
        "workflow-runs?limit=50&workflow=build&status=failed",
        "workflow-runs?limit=50&workflow=build&repo=acme/r7",
        "workflow-runs?limit=50&workflow=build&repo=acme/r7&status=queued",
        "workflow-runs?limit=50&since=2020-01-01T00:00:00Z",
        "workflow-runs?limit=50&since=2020-01-01T00:00:00Z&workflow=build&status=failed",
        "executions?limit=200",
        "approvals?status=all",
        "deliveries",
        "sessions",
        "workflow-names",
        "stats",
        "stats/daily?days=90",
        "stats/hourly?hours=168",
    ] {
        let path = format!("/admin/api/{path}");
        let times: Vec<f64> = (0..15).map(|_| service.timed_get_ms(&path)).collect();
        table.at_most_of(&format!("{path}, ms"), &times, 20.0);
    }
}

/// What the browser is given first, with so much stored.
fn pages(service: &Service, runs: u64, table: &mut Table) {
    for path in [
        "",
        "runs",
        "runs?status=failed",
        "events",
        "approvals",
        "deliveries",
        "chats",
        "playground",
        "actors",
        "settings",
    ] {
        let path = format!("/admin/{path}");
        let times: Vec<f64> = (0..15).map(|_| service.timed_get_ms(&path)).collect();
        table.at_most_of(&format!("{path} with {runs} runs, ms"), &times, 100.0);
    }
}

/// Open dashboards: each has read the overview and follows it.
async fn dashboards(service: &Service, table: &mut Table) {
    let token = service.token();
    let before = service.rss_mb();
    let mut open = Vec::new();
    for _ in 0..DASHBOARDS {
        service.timed_get_ms("/admin/");
        let mut socket = TcpStream::connect(&service.address).await.expect("it listens");
        let request = format!(
            "GET /admin/api/stream?kinds=approval,delivery,event,run,webhook,cron HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("written");
        let mut buffer = vec![0; 4_096];
        assert!(socket.read(&mut buffer).await.expect("it answers") > 0);
        open.push(socket);
    }
    table.at_most("50 open dashboards, MB", service.rss_mb() - before, 30.0);
    drop(open);
}

async fn streams(service: &Service, table: &mut Table) {
    let token = service.token();
    let before = service.rss_mb();
    let (heard, mut all_heard) = mpsc::unbounded_channel();
    for _ in 0..STREAMS {
        let mut socket = TcpStream::connect(&service.address).await.expect("it listens");
        let request = format!(
            "GET /admin/api/stream?kinds=workflow HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("written");
        let heard = heard.clone();
        actix_rt::spawn(async move {
            let mut buffer = vec![0; 4_096];
            while let Ok(n @ 1..) = socket.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..n]);
                let what = if text.contains("event: change") {
                    "change"
                } else {
                    "hello"
                };
                if heard.send(what).is_err() {
                    return;
                }
            }
        });
    }
    let mut all = async |what: &str| {
        let mut count = 0;
        while count < STREAMS {
            let next = tokio::time::timeout(Duration::from_secs(10), all_heard.recv()).await;
            count += usize::from(next.expect("in time").expect("it is open") == what);
        }
    };
    all("hello").await;
    table.at_most("200 open streams, MB", service.rss_mb() - before, 20.0);
    let mut times = Vec::new();
    for round in 0..30 {
        let began = Instant::now();
        toggle(service, &token, round % 2 == 0).await;
        all("change").await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    table.at_most_of(
        "a change until all 200 streams have it, with its commit, ms",
        &times,
        100.0,
    );
    let worst = times.iter().copied().fold(0.0, f64::max);
    table.at_most("the slowest of them, ms", worst, 100.0);
    table.tell("RSS after that, MB", &[service.rss_mb()]);
}

async fn toggle(service: &Service, token: &str, on: bool) {
    let body = format!("{{\"enabled\":{on}}}");
    let mut socket = TcpStream::connect(&service.address).await.expect("it listens");
    let request = format!(
        "POST /admin/api/workflows/chat/toggle HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Puts events and runs into a fresh store, through its own door.
async fn fill(state_dir: &Path, events: u64, runs: u64) {
    let clock = SystemClock::shared();
    let store = SqliteStore::open(SqliteOptions::at(state_dir.join("firstlight.db")), clock).expect("it opens");
    let raw = RawBody::keep(BodyFormat::Json, &vec![b' '; 2_000]);
    let mut done = 0;
    while done < events {
        let orders = (done..events.min(done + GROUP)).map(|n| {
            store.record_event(RecordEvent(NewEvent {
                envelope: envelope(n),
                raw: raw.clone(),
            }))
        });
        let mut settlements = Vec::new();
        for recorded in join_all(orders).await {
            if let Recorded::Fresh(event) = recorded.expect("there is room") {
                settlements.push(Settlement {
                    event,
                    outcome: "routed to build".into(),
                    quarantined: event.0 % 1_000 == 0,
                    open: None,
                    decide: None,
                    lapse: None,
                    effects: Vec::new(),
                    otherwise: Vec::new(),
                    at: SystemClock.now(),
                });
            }
        }
        store
            .settle_events(SettleEvents(settlements))
            .await
            .expect("there is room");
        done += GROUP;
    }
    let definition = DefinitionHash("of the benchmark".into());
    let bundle = (definition.clone(), "build".parse().expect("a name"), "{}".into());
    store
        .keep_definitions(KeepDefinitions(vec![bundle]))
        .await
        .expect("there is room");
    let mut done = 0;
    while done < runs {
        let some: Vec<NewRun> = (done..runs.min(done + GROUP)).map(|n| run(n, &definition)).collect();
        let ids: Vec<RunId> = some.iter().map(|run| run.id).collect();
        store.open_runs(OpenRuns(some)).await.expect("there is room");
        let ends = ids.into_iter().enumerate().map(|(n, run)| {
            store.end_run(EndRun {
                run,
                status: [RunStatus::Succeeded, RunStatus::Failed][usize::from(n % 10 == 0)],
                error: "of the benchmark".into(),
                at: SystemClock.now(),
            })
        });
        assert!(join_all(ends).await.iter().all(Result::is_ok));
        done += GROUP;
    }
    store.close().await.expect("it closes");
}

fn repo(n: u64) -> RepoName {
    format!("acme/r{}", n % 50).parse().expect("a name")
}

fn envelope(n: u64) -> EventEnvelope {
    let kinds = [EventType::IssueOpened, EventType::CommentCreated, EventType::PrOpened];
    EventEnvelope {
        id: format!("{n:08}-of-the-benchmark").parse().expect("an id"),
        source: Source::Github,
        kind: kinds[usize::try_from(n % 3).expect("small")],
        repo: Some(repo(n)),
        issue_number: Some(n % 1_000 + 1),
        pr_number: None,
        sender: format!("user-{}", n % 5_000),
        sender_id: None,
        sender_is_bot: false,
        body: "It fails on Tuesdays. ".repeat(20),
        title: Some(format!("The parser loops, number {n}")),
        labels: Some(vec!["bug".into()]),
        author_association: Some("MEMBER".into()),
        reply_to: ReplyTo::Nobody,
        timestamp: SystemClock.now(),
    }
}

fn run(n: u64, definition: &DefinitionHash) -> NewRun {
    let workflow = ["build", "issue-triage", "pr-review"][usize::try_from(n % 3).expect("small")];
    NewRun {
        id: RunId::new(SystemClock.fresh_id()),
        workflow: workflow.parse().expect("a name"),
        definition: definition.clone(),
        subject: Subject::thread(&repo(n), n + 1),
        repo: Some(repo(n)),
        number: Some(n + 1),
        context: RunContext::default(),
        reply_to: ReplyTo::Nobody,
        cause: Cause {
            trigger: TriggerType::Api,
            who: "the benchmark".into(),
            event: None,
        },
        overlap: Overlap::Queue,
        created_at: SystemClock.now(),
    }
}
