//! The whole service against its ceilings: `cargo bench --bench service` (`-- --quick`, `-- --full`). Informs; never fails a build.
//!
//! The ceiling is a bare actix-web handler that reads the same body, verifies the same HMAC and answers 202. Ceiling, service
//! and load generator share the machine; every ratio is between rounds of one run that were taken in turn.

mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use actors::domain::Secret;
use actors::messaging::chunks::{LIMIT, chunks};
use actors::messaging::mrkdwn::mrkdwn;
use firstlight::fixtures::{Details, payload};

use support::load::{Load, Shot, fire};
use support::processes::{Ceiling, Service, ceiling_main};
use support::slack::FakeSlack;
use support::table::Table;

const SECRET: &str = "a webhook secret of the benchmark";
const CONNECTIONS: usize = 32;

struct Plan {
    rounds: usize,
    round: Duration,
    filled: &'static [u64],
    /// Tens of thousands of chat messages.
    chatter: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--ceiling") {
        return ceiling_main(SECRET);
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let plan = Plan {
        rounds: if has("--quick") { 2 } else { 5 },
        round: Duration::from_secs(if has("--quick") { 1 } else { 4 }),
        chatter: if has("--quick") { 4 } else { 10 },
        filled: if has("--full") {
            &[1_000, 100_000, 1_000_000]
        } else {
            &[1_000, 100_000]
        },
    };
    let mut table = Table::default();
    // One room alone: `-- --chat`.
    words(&mut table);
    chat(&plan, &mut table);
    chatter(&plan, &mut table);
    if has("--chat") {
        return table.print();
    }
    throughput(&plan, &mut table);
    for events in plan.filled {
        filled(*events, &mut table);
    }
    table.print();
}

/// Bursts of 1,000 messages in 100 threads, all said at once, while each of them starts a run that takes its time. Slack waits 3 s
/// for an acknowledgement, which follows the commit.
fn chat(plan: &Plan, table: &mut Table) {
    const CHAT: &str = "# Takes its time.\nname: chat\ndescription: Takes its time\ntrigger: message\nphases:\n  - name: think\n    \
                        label: Think\n    type: script\n    run: sleep 2\n";
    let folder = tempfile::tempdir().expect("a folder");
    let workflows = folder.path().join("mine/workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    std::fs::write(workflows.join("chat.yaml"), CHAT).expect("written");
    std::fs::write(folder.path().join("firstlight.yaml"), "workflows: {overlay: ./mine}\n").expect("written");
    let (mut last, mut memory) = (Vec::new(), Vec::new());
    actix_rt::System::new().block_on(async {
        let slack = FakeSlack::start();
        (0..20).for_each(|n| slack.knows(&format!("U{n}"), &format!("person-{n}")));
        let service = Service::start_with(folder.path(), SECRET, &slack.env());
        slack.connected(4).await;
        slack.spreads();
        for round in 0..plan.rounds {
            let begun = Instant::now();
            let before = slack.ack_count();
            for n in 0..1_000 {
                let thread = format!("1700000000.{:06}", n % 100);
                let user = format!("U{}", n % 20);
                slack.says("D1", &user, Some(&thread), &format!("message {n} of burst {round}"));
            }
            slack
                .until("all acknowledgements", |slack| {
                    (slack.ack_count() >= before + 1_000).then_some(())
                })
                .await;
            last.push(begun.elapsed().as_secs_f64());
            memory.push(service.rss_mb());
        }
        drop(service);
        slack.stop().await;
    });
    table.at_most_of("1,000 Slack messages at once: the last one acknowledged, s", &last, 3.0);
    table.tell("RSS after each such burst, MB", &memory);
}

/// Messages that join conversations, ten thousand at a time: what is kept of them is on the disk and not in memory.
fn chatter(plan: &Plan, table: &mut Table) {
    const CHAT: &str = "# Says nothing.\nname: chat\ndescription: Says nothing\ntrigger: message\nphases:\n  - name: note\n    \
                        label: Note\n    type: context\n";
    let folder = tempfile::tempdir().expect("a folder");
    let workflows = folder.path().join("mine/workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    std::fs::write(workflows.join("chat.yaml"), CHAT).expect("written");
    std::fs::write(folder.path().join("firstlight.yaml"), "workflows: {overlay: ./mine}\n").expect("written");
    let (mut memory, mut rates) = (Vec::new(), Vec::new());
    actix_rt::System::new().block_on(async {
        let slack = FakeSlack::start();
        slack.knows("U1", "ann");
        let service = Service::start_with(folder.path(), SECRET, &slack.env());
        slack.connected(4).await;
        slack.spreads();
        for round in 0..plan.chatter {
            let begun = Instant::now();
            for burst in 0..10 {
                let before = slack.ack_count();
                for n in 0..1_000 {
                    let thread = format!("1700000000.{:06}", n % 100);
                    slack.says("D1", "U1", Some(&thread), &format!("message {n} of {burst} in {round}"));
                }
                slack
                    .until("all acknowledgements", |slack| {
                        (slack.ack_count() >= before + 1_000).then_some(())
                    })
                    .await;
            }
            rates.push(10_000.0 / begun.elapsed().as_secs_f64());
            memory.push(service.rss_mb());
        }
        drop(service);
        slack.stop().await;
    });
    table.tell("Slack messages acknowledged per second, in bursts of 1,000", &rates);
    table.tell("RSS after each 10,000 Slack messages, MB", &memory);
    if let (Some(first), Some(last)) = (memory.get(1), memory.last()) {
        table.at_most(
            &format!(
                "RSS after {},000 Slack messages over that after 20,000, times",
                memory.len() * 10
            ),
            last / first,
            1.2,
        );
    }
}

/// What words cost on their way to a chat.
fn words(table: &mut Table) {
    const LONG: usize = 1024 * 1024;
    let report = "## Findings\n\nThe *parser* loops on `<!channel>` & [a link](https://example.com/a?b=c), **see** below:\n\n\
                  1. one\n   - nested `code`\n     - deeper ~~gone~~\n2. two 🚀\n\n```rust\nfn main() { loop {} }\n```\n\n\
                  | file | line | what |\n|:--|--:|---|\n| a.rs | 12 | the cell is wide enough |\n| b.rs | 7 | <b> |\n\n> quoted\n\n";
    for (name, text) in [
        ("a report", report.repeat(LONG / report.len() + 1)),
        (
            "one code block that is never closed",
            format!("```\n{}", "let x = 1;\n".repeat(LONG / 11)),
        ),
        ("one word", "x".repeat(LONG)),
        ("brackets", "[".repeat(LONG)),
        ("stars", "*a ".repeat(LONG / 3)),
    ] {
        let times: Vec<f64> = (0..20)
            .map(|_| {
                let begun = Instant::now();
                black_box(chunks(&mrkdwn(&text), LIMIT));
                begun.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        table.at_most_of(
            &format!("markdown of 1 MB, {name}, converted and cut, ms"),
            &times,
            50.0,
        );
    }
}

/// A delivery of the fixture, signed once; every request gets an id of its own.
fn shot(name: &str, repo: &str, signed: bool) -> Shot {
    let details = Details {
        repo: repo.to_owned(),
        ..Details::default()
    };
    let (event, payload) = payload(name, &details).expect("a known fixture");
    let body = payload.to_string().into_bytes();
    let signature = match signed {
        true => actors::github::sign(&Secret::new(SECRET), &body),
        false => format!("sha256={}", "0".repeat(64)),
    };
    Shot {
        event: event.to_owned(),
        signature,
        body,
    }
}

fn throughput(plan: &Plan, table: &mut Table) {
    let ceiling = Ceiling::start();
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path(), SECRET);
    table.at_most("idle RSS, MB", service.rss_mb(), 30.0);

    let opened = shot("issues.opened", "acme/site", true);
    let rows = [
        (
            "filtered (unmapped event)",
            shot("star.created", "acme/site", true),
            200,
            0.7,
        ),
        (
            "filtered (repo not managed)",
            shot("issues.opened", "else/where", true),
            200,
            0.7,
        ),
        ("bad signature", shot("issues.opened", "acme/site", false), 401, 0.8),
        (
            "accepted, routed to nothing",
            shot("issues.closed", "acme/site", true),
            202,
            0.25,
        ),
        ("accepted, routed to one subject", opened.clone(), 202, 0.25),
    ];
    for (name, shot, status, least) in rows {
        let (mut ratios, mut rates, mut p50s, mut p99s, mut peak) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
        let before = service.counts();
        let mut accepted = 0;
        for _ in 0..plan.rounds {
            // The same bytes at both; a refused one costs the ceiling its digest, too.
            let top = run(
                &ceiling.address,
                if status == 401 { &opened } else { &shot },
                plan.round,
            );
            let real = run(&service.address, &shot, plan.round);
            assert_eq!(
                real.statuses.keys().copied().collect::<Vec<_>>(),
                [status],
                "{name}: other answers than expected"
            );
            accepted += real.requests;
            ratios.push(real.per_second() / top.per_second());
            rates.push(real.per_second());
            p50s.push(real.percentile_ms(0.5));
            p99s.push(real.percentile_ms(0.99));
            peak = peak.max(service.rss_mb());
        }
        table.at_least(&format!("{name}, ratio to the ceiling"), &ratios, least);
        table.tell(&format!("{name}, requests/s"), &rates);
        table.tell(&format!("{name}, p50 ms"), &p50s);
        if status == 202 {
            table.at_most_of(&format!("{name}, p99 ms"), &p99s, 40.0);
            table.at_most(&format!("{name}, RSS MB"), peak, 120.0);
            let after = service.counts();
            let commits = (after.commits - before.commits) as f64 / accepted.max(1) as f64;
            table.tell(&format!("{name}, commits per accepted event"), &[commits]);
        }
    }
    let top: Vec<f64> = (0..plan.rounds)
        .map(|_| run(&ceiling.address, &opened, plan.round).per_second())
        .collect();
    table.tell("ceiling, requests/s", &top);
    let began = Instant::now();
    let left = service.wait_for_quiet(Duration::from_secs(60));
    table.tell("backlog worked off after the load, s", &[began.elapsed().as_secs_f64()]);
    if left > 0 {
        table.tell("events still unsettled after a minute", &[left as f64]);
    }
}

fn run(address: &str, shot: &Shot, round: Duration) -> Load {
    fire(address, shot, CONNECTIONS, round)
}

/// How the service starts and lists with so many events stored.
fn filled(events: u64, table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), events);
    let began = Instant::now();
    let service = Service::start_without_waiting(folder.path(), SECRET);
    service.wait_for_health();
    let started = began.elapsed().as_secs_f64() * 1000.0;
    table.at_most(&format!("cold start with {events} events, ms"), started, 300.0);
    let bytes = std::fs::metadata(folder.path().join("state/firstlight.db")).map_or(0, |file| file.len());
    table.tell(&format!("bytes per event at {events}"), &[bytes as f64 / events as f64]);
    for (name, path) in [
        ("events", "/admin/api/events?limit=50"),
        ("events of one repo", "/admin/api/events?limit=50&repo=acme/site"),
        ("runs", "/admin/api/workflow-runs?limit=20"),
    ] {
        let times: Vec<f64> = (0..50).map(|_| service.timed_get_ms(path)).collect();
        table.tell(&format!("list of {name} at {events} events, ms"), &times);
    }
}

/// Puts settled events into a fresh store through its own door.
fn fill(folder: &Path, events: u64) {
    support::fill::with_events(&folder.join("state"), events, &shot("issues.closed", "acme/site", true));
}
