//! What is old goes, by age and by size, and nothing else does. Through the doors, by the clock of the test, and with the real binary.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use actors::clock::{Clock, SharedClock, SystemClock};
use actors::domain::{
    BodyFormat, EventEnvelope, EventFilter, EventType, NewEvent, Prunable, RawBody, Recorded, ReplyTo, Source,
};
use actors::messages::store::{ListEvents, ReadEvent, RecordEvent, SettleEvents, Settlement};
use actors::retention::{RetentionRules, SweeperDoors, Swept, sweep};
use actors::store::sqlite::{Proof, SqliteOptions, SqliteStore, prunable, verify_audit};
use actors::store::{Store, StoreDoor};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::app::{Delivery, PASSWORD, SECRET, TestApp};
use crate::support::clock::{AheadClock, ManualClock};
use crate::support::payloads::issue;
use crate::support::process::firstlight;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The sweeper rests so long when its round is over.
const REST: Duration = Duration::from_secs(30 * 60);

#[actix_rt::test]
async fn what_is_old_goes_by_the_clock_and_is_known_as_long_as_github_may_send_it_again() {
    let clock = ManualClock::new();
    let shared: SharedClock = Arc::new(clock.clone());
    let settings = "retention: {events: 3d, payloads: 1d, runs: 1d, deliveries: 1d, logs: 1d}\n";
    let app = TestApp::start_by(shared, &[("GITHUB_TOKEN", "")], settings).await;
    let first = Delivery::signed("issues", "first", issue("opened", 1, "It broke").to_string());
    assert_eq!(app.deliver(&first).await.status, 202);
    app.settle().await;
    app.accept("issues", &issue("opened", 2, "It broke, too")).await;
    app.settle().await;
    let token = app.login().await;
    let run = app.event("first").await["runId"]
        .as_str()
        .expect("it started one")
        .to_owned();
    let logs = app.folder().join("state/runs").join(&run);
    let run = format!("/admin/api/workflow-runs/{run}");
    assert_eq!(app.get(&run, Some(&token)).await.status, 200);
    assert!(logs.is_dir());

    // Within the time in which GitHub may send it again it is known, whatever has become of what it led to.
    let almost = 3 * DAY - Duration::from_secs(60);
    clock.advance(almost);
    clock.until_asleep_for(REST).await;
    app.settle().await;
    assert_eq!(app.get(&run, Some(&app.login().await)).await.status, 404);
    assert!(!logs.exists(), "the logs went with their run");
    let event = app.event("first").await;
    assert_eq!((&event["raw"], &event["title"]), (&Value::Null, &json!("It broke")));
    let again = app.deliver(&first).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)));
    let token = app.login().await;
    let dry = json!({ "id": "first" });
    let rehearsed = app.post("/admin/api/route-test", Some(&token), &dry).await;
    assert!(
        rehearsed.status == 409 && rehearsed.text.contains("not kept any more"),
        "{rehearsed:?}"
    );

    // After it, it is gone wherever one looks, and would be new.
    clock.advance(DAY);
    clock.until_asleep_for(REST).await;
    app.settle().await;
    let token = app.login().await;
    assert_eq!(app.get("/admin/api/events/first", Some(&token)).await.status, 404);
    assert_eq!(app.get("/admin/events/first", Some(&token)).await.status, 404);
    let replay = json!({ "as": "new" });
    let replayed = app.post("/admin/api/events/first/replay", Some(&token), &replay).await;
    assert_eq!(replayed.status, 404, "{}", replayed.text);
    let ids = |events: &[Value]| events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    assert!(!ids(&app.events().await).contains(&json!("first")));
    let totals = app.read("/admin/api/stats").await;
    assert!(
        totals.to_string().contains("\"events\":2"),
        "what is gone stays counted: {totals}"
    );
    let anew = app.deliver(&first).await;
    assert_eq!((anew.status, &anew.json()["duplicate"]), (202, &Value::Null));
    app.settle().await;
    let events = app.events().await;
    assert_eq!(ids(&events)[0], "first");
    // Its place is one that was never used before.
    let places: Vec<_> = events.iter().filter_map(|event| event["seq"].as_i64()).collect();
    assert!(places[0] > 2, "{places:?}");
    let database = app.folder().join("state/firstlight.db");
    assert!(matches!(verify_audit(&database).expect("read"), Proof::Whole { rows, .. } if rows > 3));
    app.finish().await;
}

/// A store by itself, with a sweeper's doors.
struct Shelf {
    store: Arc<dyn Store>,
    doors: SweeperDoors,
    clock: SharedClock,
    folder: tempfile::TempDir,
}

impl Shelf {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = SystemClock::shared();
        let options = SqliteOptions::at(folder.path().join("firstlight.db"));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options, clock.clone()).expect("it opens"));
        let door = StoreDoor::new(Arc::clone(&store)).start();
        let doors = SweeperDoors {
            prune: door.clone().recipient(),
            give_back: door.clone().recipient(),
            list: door.recipient(),
        };
        Self {
            store,
            doors,
            clock,
            folder,
        }
    }

    /// An event of some days ago, with a body that takes about 30 kB.
    async fn has(&self, id: &str, days: i64) {
        let noise: Vec<u8> = (0..30_000_u64)
            .map(|n| (n.wrapping_mul(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect();
        let event = NewEvent {
            envelope: EventEnvelope {
                id: id.parse().expect("valid"),
                source: Source::Github,
                kind: EventType::IssueOpened,
                repo: Some("acme/site".parse().expect("valid")),
                issue_number: Some(7),
                pr_number: None,
                sender: "ann".into(),
                sender_id: None,
                sender_is_bot: false,
                body: "it broke".into(),
                title: None,
                labels: None,
                author_association: None,
                reply_to: ReplyTo::Nobody,
                timestamp: self.clock.now() - TimeDelta::days(days),
            },
            raw: RawBody::keep(BodyFormat::Json, &noise),
        };
        let Ok(Recorded::Fresh(event)) = self.store.record_event(RecordEvent(event)).await else {
            panic!("{id} is not new")
        };
        let order = Settlement {
            event,
            outcome: "ignored".into(),
            quarantined: false,
            open: None,
            decide: None,
            lapse: None,
            effects: Vec::new(),
            otherwise: Vec::new(),
            at: self.clock.now(),
        };
        self.store
            .settle_events(SettleEvents(vec![order]))
            .await
            .expect("settled");
    }

    async fn sweeps(&self, max_size: u64) -> Swept {
        let rules = RetentionRules {
            max_size: Some(max_size),
            runs_dir: self.folder.path().join("runs"),
            ..RetentionRules::default()
        };
        sweep(&rules, &self.doors, &self.clock).await.expect("swept")
    }

    /// How many events there are, and how many have their payload.
    async fn holds(&self) -> (usize, usize) {
        let filter = EventFilter {
            limit: 1_000,
            ..EventFilter::default()
        };
        let events = self.store.list_events(ListEvents(filter)).await.expect("listed").items;
        let mut whole = 0;
        for event in &events {
            let id = event.envelope.id.to_string();
            let read = self.store.read_event(ReadEvent { id }).await.expect("read");
            whole += usize::from(read.expect("it is there").1.is_some());
        }
        (events.len(), whole)
    }
}

#[actix_rt::test]
async fn over_its_size_the_oldest_payloads_go_first_and_nothing_that_is_young() {
    let shelf = Shelf::open();
    for n in 0..300 {
        shelf.has(&format!("old-{n}"), 10).await;
    }
    for n in 0..20 {
        shelf.has(&format!("young-{n}"), 2).await;
    }
    assert_eq!(shelf.sweeps(64 << 20).await, Swept::default(), "there is room enough");

    let swept = shelf.sweeps(5 << 20).await;
    let (events, whole) = shelf.holds().await;
    assert_eq!(events, 320, "no event has to go: {swept:?}");
    let gone = swept.rows[&Prunable::Payloads];
    assert_eq!((320 - whole) as u64, gone);
    assert!((100..300).contains(&gone), "no more than has to go: {swept:?}");
    assert!(swept.given_back > 1 << 20, "{swept:?}");
    assert_eq!(
        shelf.sweeps(5 << 20).await,
        Swept::default(),
        "a second round finds nothing to do"
    );

    // A size that cannot be held: all that is old goes, what is young stays whole.
    let swept = shelf.sweeps(1 << 10).await;
    assert_eq!(shelf.holds().await, (20, 20), "{swept:?}");
    shelf.store.close().await.expect("closed");
    let size = std::fs::metadata(shelf.folder.path().join("firstlight.db"))
        .expect("there")
        .len();
    assert!(size < 3 << 20, "{size}");
}

fn prune(folder: &Path, words: &[&str]) -> std::process::Command {
    let mut command = firstlight();
    command
        .args(["prune", "--json", "--state-dir"])
        .arg(folder.join("state"))
        .args(words)
        .current_dir(folder)
        .envs([("WEBHOOK_SECRET", SECRET), ("ADMIN_PASSWORD", PASSWORD)]);
    command
}

fn says(mut command: std::process::Command) -> Value {
    let done = command.output().expect("it ran");
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{err}");
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("no JSON: {err}"))
}

#[actix_rt::test]
async fn a_prune_that_is_killed_at_any_place_harms_nothing_and_the_next_goes_on() {
    let past = Arc::new(AheadClock::default());
    past.passes(-TimeDelta::days(200));
    let overlay = tempfile::tempdir().expect("a folder");
    let settings = format!("workflows: {{overlay: \"{}\"}}\n", overlay.path().display());
    std::fs::create_dir(overlay.path().join("workflows")).expect("made");
    std::fs::write(
        overlay.path().join("workflows/asks.yaml"),
        "# Asks.\nname: asks\ndescription: Asks\nphases:\n  - {name: ask, label: Ask, type: approval, gate: go, message: \"Go on?\"}\n",
    )
    .expect("written");
    let app = TestApp::start_by(past, &[("GITHUB_TOKEN", "")], &settings).await;
    let token = app.login().await;
    let asked = json!({ "workflow": "asks", "context": { "repo": "acme/site" } });
    let asked = app.post("/api/run", Some(&token), &asked).await.json();
    let waits = asked["executionId"].as_str().expect("an id").to_owned();
    for n in 0..700 {
        // Most of them lead to nothing; a few start a run.
        let action = if n % 50 == 0 { "opened" } else { "closed" };
        app.accept("issues", &issue(action, n + 1, "It broke")).await;
    }
    app.settle().await;
    let folder = app.leaves().await;
    let state = folder.path().join("state");
    let database = state.join("firstlight.db");
    // The logs are as old as the clock of the service said; the folders have the machine's time.
    let then = std::time::SystemTime::from(SystemClock.now() - TimeDelta::days(200));
    for folder in std::fs::read_dir(state.join("runs")).expect("readable").flatten() {
        let folder = std::fs::File::open(folder.path()).expect("it opens");
        folder.set_modified(then).expect("it is ours");
    }
    let cutoff = SystemClock.now() - TimeDelta::days(90);
    let kinds = [(Prunable::Runs, cutoff), (Prunable::Events, cutoff)];
    let left = || {
        prunable(&database, &kinds)
            .expect("counted")
            .iter()
            .map(|(_, n)| n)
            .sum::<u64>()
    };

    let would = says(prune(folder.path(), &["--dry-run"]));
    let all = left();
    assert_eq!(
        would["events"].as_u64().expect("a number") + would["runs"].as_u64().expect("a number"),
        all
    );
    assert!(all > 600, "{would}");
    assert_eq!(left(), all, "a dry run removes nothing");
    let (mut before, mut killed) = (all, 0);
    while before > 0 && killed < 6 {
        let mut child = prune(folder.path(), &[])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        // Killed as soon as something more is gone.
        while left() == before && child.try_wait().expect("it is ours").is_none() {}
        let _ = child.kill();
        child.wait().expect("it was ours");
        killed += 1;
        before = left();
    }
    let done = says(prune(folder.path(), &["--compact"]));
    assert!(done["bytes"].is_u64(), "{done}");
    assert_eq!(left(), 0);
    assert!(matches!(verify_audit(&database).expect("read"), Proof::Whole { rows, .. } if rows > 0));

    let app = TestApp::on(folder, &[("GITHUB_TOKEN", "")]).await;
    app.settle().await;
    // Beside a running service it does nothing but say why.
    let beside = prune(app.folder(), &[]).output().expect("it ran");
    let words = String::from_utf8_lossy(&beside.stderr).into_owned();
    assert!(
        beside.status.code() == Some(1) && words.contains("another firstlight"),
        "{words}"
    );
    let runs = app.runs().await;
    let live: Vec<_> = runs.iter().filter(|run| run["status"] == "paused").collect();
    assert!(live.len() == 1 && live[0]["id"] == json!(waits), "{runs:?}");
    let logs = std::fs::read_dir(state.join("runs")).map_or(0, Iterator::count);
    assert!(logs <= runs.len(), "logs of runs that are gone are gone: {logs}");
    assert!(app.events().await.len() <= 2);
    app.finish().await;
}
