//! What only a file can show: groups, a full disk, a panicking order, migrations and query plans. Alone may open the file itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use super::migrate::{MIGRATIONS, Migration};
use super::*;
use crate::clock::Clock;
use crate::domain::*;
use crate::messages::store::Settlement;
use crate::store::suite::Ground;

/// A clock that stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("in range")
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        futures_util::future::pending().boxed()
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

/// A folder of its own for each test.
pub(in crate::store) struct Folder(TempDir);

pub(in crate::store) fn ground() -> Folder {
    Folder(tempfile::tempdir().expect("a folder"))
}

impl Folder {
    fn file(&self) -> PathBuf {
        self.0.path().join("firstlight.db")
    }

    fn opens(&self) -> SqliteStore {
        self.opens_with(SqliteOptions::at(self.file())).expect("it opens")
    }

    fn opens_with(&self, options: SqliteOptions) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(options, Arc::new(Still))
    }

    /// The file itself, past the store.
    fn looks_inside(&self) -> Connection {
        let db = Connection::open(self.file()).expect("it opens");
        db.busy_timeout(PATIENCE).expect("it waits");
        db
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("plain names"))
            .collect();
        names.sort();
        names
    }
}

impl Ground for Folder {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.opens())
    }
}

fn event(id: &str, size: usize) -> RecordEvent {
    RecordEvent(NewEvent {
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
            body: String::new(),
            title: None,
            labels: None,
            author_association: None,
            reply_to: ReplyTo::Nobody,
            timestamp: Still.now(),
        },
        raw: RawBody {
            format: BodyFormat::Json,
            compressed: vec![7; size].into(),
        },
    })
}

/// Holds the writer until the sender is dropped or speaks, and says when it holds it.
async fn holds(store: &SqliteStore) -> (std::sync::mpsc::Sender<()>, Pending<()>) {
    let (go, wait) = channel::<()>();
    let (here, held) = oneshot::channel();
    let order = store.write(move |_| {
        here.send(()).map_err(|()| Fault::wrong("nobody waits"))?;
        // Either way the order goes on.
        let _ = wait.recv();
        Ok(())
    });
    held.await.expect("the writer is held");
    (go, order)
}

#[actix::test]
async fn orders_that_wait_share_one_commit() {
    let folder = ground();
    let store = folder.opens();
    let before = store.count_store(CountStore).await.expect("counted");
    let (go, held) = holds(&store).await;
    let orders: Vec<_> = (0..300)
        .map(|n| store.record_event(event(&format!("d-{n}"), 10)))
        .collect();
    drop(go);
    held.await.expect("done");
    for (n, answer) in join_all(orders).await.into_iter().enumerate() {
        assert_eq!(
            answer,
            Ok(Recorded::Fresh(EventSeq(i64::try_from(n).expect("small") + 1))),
            "in the order of the calls"
        );
    }
    let after = store.count_store(CountStore).await.expect("counted");
    assert_eq!(after.written - before.written, 300);
    assert_eq!(after.commits - before.commits, 1);
}

#[actix::test]
async fn callers_at_once_make_fewer_commits_than_orders() {
    let folder = ground();
    let store = Arc::new(folder.opens());
    let callers = (0..64).map(|caller| {
        let store = Arc::clone(&store);
        async move {
            for n in 0..20 {
                store
                    .record_event(event(&format!("d-{caller}-{n}"), 3_000))
                    .await
                    .expect("recorded");
            }
        }
    });
    join_all(callers).await;
    let counts = store.count_store(CountStore).await.expect("counted");
    assert_eq!(counts.written, 64 * 20);
    assert!(counts.commits < counts.written, "{counts:?}");
}

#[actix::test]
async fn a_failing_order_fails_alone() {
    let folder = ground();
    let store = folder.opens();
    let (go, held) = holds(&store).await;
    let before = store.record_event(event("d-1", 10));
    let failing = store.write(|db| -> Result<(), Fault> {
        db.execute("DELETE FROM events", [])?;
        db.execute("INSERT INTO no_such_table VALUES (1)", [])?;
        Ok(())
    });
    let panicking = store.write(|db| -> Result<(), Fault> {
        db.execute("DELETE FROM events", [])?;
        panic!("on purpose")
    });
    let after = store.record_event(event("d-2", 10));
    drop(go);
    held.await.expect("done");
    assert_eq!(before.await, Ok(Recorded::Fresh(EventSeq(1))));
    assert!(matches!(failing.await, Err(StoreError::Failed(words)) if words.contains("no_such_table")));
    assert_eq!(
        panicking.await,
        Err(StoreError::Failed("the order panicked: on purpose".into()))
    );
    assert_eq!(after.await, Ok(Recorded::Fresh(EventSeq(2))));
    let counts = store.count_store(CountStore).await.expect("the writer lives");
    assert_eq!((counts.unsettled_events, counts.commits), (2, 1));
}

#[actix::test]
async fn a_panicking_question_leaves_its_reader_alive() {
    let folder = ground();
    let store = folder.opens_with(SqliteOptions {
        readers: 1,
        ..SqliteOptions::at(folder.file())
    });
    let store = store.expect("it opens");
    let asked = store.read(|_| -> Result<(), Fault> { panic!("on purpose") });
    assert!(matches!(asked.await, Err(StoreError::Failed(_))));
    assert!(
        store
            .load_run(LoadRun(RunId::new(uuid::Uuid::nil())))
            .await
            .expect("read")
            .is_none()
    );
    let written = store.read(|db| Ok(db.execute("DELETE FROM events", [])?)).await;
    assert!(matches!(written, Err(StoreError::Failed(_))), "a reader cannot write");
}

#[actix::test]
async fn a_full_queue_is_said_at_once() {
    let folder = ground();
    let store = folder
        .opens_with(SqliteOptions {
            queue: 3,
            ..SqliteOptions::at(folder.file())
        })
        .expect("it opens");
    let (go, held) = holds(&store).await;
    let taken: Vec<_> = (0..3)
        .map(|n| store.record_event(event(&format!("d-{n}"), 10)))
        .collect();
    let refused = store.record_event(event("d-9", 10));
    assert_eq!(
        refused.now_or_never(),
        Some(Err(StoreError::Busy)),
        "the writer is still held"
    );
    drop(go);
    held.await.expect("done");
    for answer in join_all(taken).await {
        assert!(matches!(answer, Ok(Recorded::Fresh(_))));
    }
    let read = store.read_event(ReadEvent { id: "d-9".into() }).await.expect("read");
    assert!(read.is_none(), "nothing of it was kept");
}

#[actix::test]
async fn a_full_disk_refuses_whole_groups_and_recovers_by_itself() {
    let folder = ground();
    let store = folder
        .opens_with(SqliteOptions {
            max_pages: Some(200),
            ..SqliteOptions::at(folder.file())
        })
        .expect("it opens");
    let mut kept = 0;
    while let Ok(answer) = store.record_event(event(&format!("d-{kept}"), 3_000)).await {
        assert!(matches!(answer, Recorded::Fresh(_)));
        kept += 1;
        assert!(kept < 1_000, "the file grows over its bound");
    }
    assert!(kept > 20);
    // A small order that shares its commit with one that does not fit hears it, too, and nothing of either is kept.
    let (go, held) = holds(&store).await;
    let small = store.record_audit(RecordAudit {
        who: "ann".into(),
        from: "-".into(),
        action: "login".into(),
        target: "-".into(),
        result: "ok".into(),
        at: Still.now(),
    });
    let large = store.record_event(event("d-large", 30_000));
    drop(go);
    assert_eq!(held.await, Err(StoreError::Full));
    assert_eq!(small.await, Err(StoreError::Full));
    assert_eq!(large.await, Err(StoreError::Full));
    assert!(
        store
            .read_event(ReadEvent { id: "d-large".into() })
            .await
            .expect("it still reads")
            .is_none()
    );
    let lines: i64 = folder
        .looks_inside()
        .query_row("SELECT count(*) FROM audit", [], |row| row.get(0))
        .expect("counted");
    assert_eq!(lines, 0);

    // Somebody makes room.
    folder
        .looks_inside()
        .execute_batch("PRAGMA foreign_keys = ON; DELETE FROM events WHERE seq < 20")
        .expect("removed");
    assert!(matches!(
        store.record_event(event("d-again", 3_000)).await,
        Ok(Recorded::Fresh(_))
    ));
    let counts = store.count_store(CountStore).await.expect("counted");
    assert_eq!(counts.unsettled_events, u64::try_from(kept - 19 + 1).expect("small"));
}

#[actix::test]
async fn closing_does_what_waits_and_leaves_one_file() {
    let folder = ground();
    let store = folder.opens();
    let (go, held) = holds(&store).await;
    let waiting: Vec<_> = (0..700)
        .map(|n| store.record_event(event(&format!("d-{n}"), 10)))
        .collect();
    let closed = store.close();
    assert_eq!(store.record_event(event("late", 10)).await, Err(StoreError::Closed));
    drop(go);
    held.await.expect("done");
    closed.await.expect("closed");
    for answer in join_all(waiting).await {
        assert!(matches!(answer, Ok(Recorded::Fresh(_))));
    }
    assert_eq!(folder.names(), ["firstlight.db"]);
    drop(store);
    // Dropped without closing, the same happens.
    let store = folder.opens();
    let waiting: Vec<_> = (0..50)
        .map(|n| store.record_event(event(&format!("e-{n}"), 10)))
        .collect();
    drop(store);
    for answer in join_all(waiting).await {
        assert!(matches!(answer, Ok(Recorded::Fresh(_))));
    }
    assert_eq!(folder.names(), ["firstlight.db"]);
}

#[actix::test]
async fn the_log_is_folded_before_it_grows_long() {
    let folder = ground();
    let store = folder.opens();
    let mut written = 0;
    for n in 0..60 {
        let group = (0..10).map(|m| store.record_event(event(&format!("d-{n}-{m}"), 300_000)));
        for answer in join_all(group.collect::<Vec<_>>()).await {
            assert!(matches!(answer, Ok(Recorded::Fresh(_))));
            written += 300_000;
        }
    }
    let log = std::fs::metadata(folder.0.path().join("firstlight.db-wal"))
        .expect("it is there")
        .len();
    assert!(
        log < written * 2 / 3,
        "{log} bytes of log after {written} bytes of bodies"
    );
}

#[actix::test]
async fn the_file_is_durable_and_its_owners_alone() {
    let folder = ground();
    let store = folder.opens();
    let settings = store.write(|db| {
        let one = |name: &str| -> Result<String, Fault> {
            Ok(
                db.query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |row| {
                    row.get(0)
                })?,
            )
        };
        Ok((one("journal_mode")?, one("synchronous")?, one("foreign_keys")?))
    });
    let full = "2";
    assert_eq!(settings.await, Ok(("wal".into(), full.into(), "1".into())));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        store.record_event(event("d-1", 10)).await.expect("recorded");
        for name in folder.names() {
            let mode = std::fs::metadata(folder.0.path().join(&name))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}

/// Events that are over, each with a body of so many bytes.
async fn has_had(store: &SqliteStore, events: usize, size: usize) {
    let recorded: Vec<_> = (0..events)
        .map(|n| store.record_event(event(&format!("d-{n}"), size)))
        .collect();
    for recorded in join_all(recorded).await {
        let Ok(Recorded::Fresh(event)) = recorded else {
            panic!("{recorded:?}")
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
            at: Still.now(),
        };
        store.settle_events(SettleEvents(vec![order])).await.expect("settled");
    }
}

fn all_old(what: Prunable, after: i64, most: usize) -> Prune {
    Prune {
        what,
        before: Still.now() + chrono::TimeDelta::days(1),
        after,
        most,
        for_room: false,
    }
}

#[actix::test]
async fn what_is_pruned_is_given_back_to_the_disk_a_little_at_a_time() {
    let folder = ground();
    let store = folder.opens();
    has_had(&store, 60, 100_000).await;
    let full = store.give_back(GiveBack { most_pages: 0 }).await.expect("asked");
    assert!(full.shrinks && full.used > 6_000_000 && full.free < 100_000, "{full:?}");
    // A step holds the writer for no more than some bodies.
    let first = store.prune(all_old(Prunable::Payloads, 0, 200)).await.expect("pruned");
    assert!(
        first.removed == 21 && first.next == Some(21),
        "2 MiB and what goes over: {first:?}"
    );
    let mut next = first.next;
    while let Some(after) = next {
        next = store
            .prune(all_old(Prunable::Payloads, after, 200))
            .await
            .expect("pruned")
            .next;
    }
    let pruned = store.give_back(GiveBack { most_pages: 0 }).await.expect("asked");
    assert!(pruned.used < 500_000 && pruned.free > 5_500_000, "{pruned:?}");
    let some = store.give_back(GiveBack { most_pages: 100 }).await.expect("asked");
    assert_eq!(pruned.free - some.free, 100 * 4_096);
    let all = store.give_back(GiveBack { most_pages: u32::MAX }).await.expect("asked");
    assert!(all.free == 0 && all.used <= pruned.used, "{all:?}");
    drop(store);
    let size = std::fs::metadata(folder.file()).expect("there").len();
    assert!(size < 500_000, "{size}");
}

#[actix::test]
async fn a_file_of_an_old_version_learns_to_give_room_back() {
    let folder = ground();
    let store = folder.opens();
    has_had(&store, 3, 100_000).await;
    drop(store);
    let made_old = || {
        let db = folder.looks_inside();
        db.execute_batch("PRAGMA auto_vacuum = none; VACUUM;")
            .expect("written anew");
        prune::space(&db).expect("asked")
    };
    assert!(!made_old().shrinks);
    // A small one by itself, one of any size by `firstlight prune --compact`.
    let store = folder.opens();
    let space = store.give_back(GiveBack { most_pages: 0 }).await.expect("asked");
    assert!(space.shrinks);
    drop(store);
    let old = made_old();
    let (before, after) = compact(&folder.file()).expect("it is written anew");
    assert!(
        before == old.used + old.free && after <= before + 4_096,
        "{before} {after}"
    );
    assert!(prune::space(&folder.looks_inside()).expect("asked").shrinks);
    let store = folder.opens();
    assert!(
        store
            .read_event(ReadEvent { id: "d-2".into() })
            .await
            .expect("read")
            .is_some()
    );
}

#[actix::test]
async fn what_would_go_is_counted_beside_the_service_and_the_audit_log_stays_whole() {
    let folder = ground();
    let store = folder.opens();
    has_had(&store, 5, 10).await;
    for n in 0..3 {
        let line = RecordAudit {
            who: "ann".into(),
            from: "127.0.0.1".into(),
            action: "login".into(),
            target: n.to_string(),
            result: "ok".into(),
            at: Still.now(),
        };
        store.record_audit(line).await.expect("written");
    }
    let now = Still.now();
    let tomorrow = now + chrono::TimeDelta::days(1);
    let kinds: Vec<_> = Prunable::ALL.iter().map(|what| (*what, tomorrow)).collect();
    let counted = prunable(&folder.file(), &kinds).expect("counted");
    for (what, n) in &counted {
        let expected = match what {
            Prunable::Events => 4,
            Prunable::Payloads => 5,
            _ => 0,
        };
        assert_eq!(*n, expected, "{what}");
    }
    let counted = prunable(&folder.file(), &[(Prunable::Events, now)]).expect("counted");
    assert_eq!(counted, [(Prunable::Events, 0)]);
    for what in Prunable::ALL {
        store.prune(all_old(*what, 0, 100)).await.expect("pruned");
    }
    let proof = verify_audit(&folder.file()).expect("read");
    assert!(matches!(proof, Proof::Whole { rows: 3, .. }), "{proof:?}");
}

/// The version that the program knows.
fn known() -> i32 {
    MIGRATIONS.last().expect("there is one").version
}

/// The shape of the program that comes after this one.
fn and_then(name: &'static str, sql: &'static str) -> Vec<Migration> {
    let mut migrations = MIGRATIONS.to_vec();
    migrations.push(Migration {
        version: known() + 1,
        name,
        sql,
    });
    migrations
}

fn next() -> Vec<Migration> {
    and_then(
        "moods",
        "ALTER TABLE events ADD COLUMN mood TEXT; UPDATE events SET mood = 'calm';",
    )
}

fn broken() -> Vec<Migration> {
    and_then(
        "broken",
        "DELETE FROM event_bodies; INSERT INTO no_such_table VALUES (1);",
    )
}

fn orphaning() -> Vec<Migration> {
    and_then("orphaning", "DELETE FROM events;")
}

fn open_with(folder: &Folder, migrations: &[Migration]) -> Result<SqliteStore, OpenError> {
    SqliteStore::open_with(SqliteOptions::at(folder.file()), Arc::new(Still), migrations)
}

fn version(path: &Path) -> i32 {
    let db = Connection::open(path).expect("it opens");
    db.pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a version")
}

#[actix::test]
async fn a_migration_takes_a_copy_before_its_first_statement() {
    let folder = ground();
    let store = folder.opens();
    for n in 0..10 {
        store
            .record_event(event(&format!("d-{n}"), 3_000))
            .await
            .expect("recorded");
    }
    // Not closed cleanly: the last events are in the log only, and belong into the copy as well.
    std::fs::create_dir(folder.0.path().join("crash")).expect("made");
    for name in ["firstlight.db", "firstlight.db-wal"] {
        std::fs::copy(folder.0.path().join(name), folder.0.path().join("crash").join(name)).expect("copied");
    }
    drop(store);
    let crash = folder.0.path().join("crash");
    let file = crash.join("firstlight.db");
    let store = SqliteStore::open_with(SqliteOptions::at(&file), Arc::new(Still), &next()).expect("it opens");
    let moods =
        store.read(|db| Ok(db.query_row("SELECT count(*) FROM events WHERE mood = 'calm'", [], |row| row.get(0))?));
    assert_eq!(moods.await, Ok(10_i64));
    drop(store);
    assert_eq!(version(&file), known() + 1);

    let copy = crash.join(format!("firstlight.db.before-v{}-20270115T080000Z", known() + 1));
    let mut names: Vec<_> = std::fs::read_dir(&crash)
        .expect("readable")
        .map(|e| e.expect("readable").path())
        .collect();
    names.sort();
    assert_eq!(names, [file.clone(), copy.clone()]);
    // The copy is a whole store of the version before, that the older program opens.
    assert_eq!(version(&copy), known());
    let old = SqliteStore::open(SqliteOptions::at(&copy), Arc::new(Still)).expect("it opens");
    assert_eq!(old.count_store(CountStore).await.expect("counted").unsettled_events, 10);
    drop(old);
    // Opened once more there is nothing to do, and no second copy.
    let before = std::fs::read_dir(&crash).expect("readable").count();
    drop(SqliteStore::open_with(SqliteOptions::at(&file), Arc::new(Still), &next()).expect("it opens"));
    assert_eq!(std::fs::read_dir(&crash).expect("readable").count(), before);
}

#[test]
fn a_fresh_file_needs_no_copy() {
    let folder = ground();
    drop(open_with(&folder, &next()).expect("it opens"));
    assert_eq!(folder.names(), ["firstlight.db"]);
    assert_eq!(version(&folder.file()), known() + 1);
}

#[actix::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    for migrations in [broken(), orphaning()] {
        let folder = ground();
        let store = folder.opens();
        store.record_event(event("d-1", 10)).await.expect("recorded");
        drop(store);
        let error = open_with(&folder, &migrations).expect_err("it fails");
        assert!(
            matches!(error, OpenError::Migration { version, .. } if version == known() + 1),
            "{error:?}"
        );
        assert_eq!(version(&folder.file()), known());
        let store = folder.opens();
        let read = store.read_event(ReadEvent { id: "d-1".into() }).await.expect("read");
        assert!(read.is_some(), "the event and its body are there");
    }
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let folder = ground();
    drop(open_with(&folder, &next()).expect("it opens"));
    let error = folder
        .opens_with(SqliteOptions::at(folder.file()))
        .expect_err("it is refused");
    assert!(matches!(error, OpenError::Newer { found, known: ours, .. } if found == ours + 1));
    let words = error.to_string();
    assert!(
        words.contains(&format!("of version {}", known() + 1)) && words.contains(&format!("before-v{}-", known() + 1)),
        "{words}"
    );
    assert_eq!(version(&folder.file()), known() + 1);
}

#[test]
fn what_is_no_store_is_refused_with_words() {
    let folder = ground();
    std::fs::write(folder.file(), "this is a letter, and not a database at all").expect("written");
    let error = folder
        .opens_with(SqliteOptions::at(folder.file()))
        .expect_err("it is refused");
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert!(error.to_string().contains("firstlight.db"));

    let folder = ground();
    folder
        .looks_inside()
        .execute_batch("CREATE TABLE recipes (name TEXT)")
        .expect("made");
    let error = folder
        .opens_with(SqliteOptions::at(folder.file()))
        .expect_err("it is refused");
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error:?}");

    let error = folder
        .opens_with(SqliteOptions::at(folder.file().join("inside").join("firstlight.db")))
        .expect_err("it is refused");
    assert!(matches!(error, OpenError::Place { .. }), "{error:?}");
}

#[test]
fn the_shape_grows_by_one_step_at_a_time() {
    assert!(!MIGRATIONS.is_empty());
    for (n, step) in (1..).zip(MIGRATIONS) {
        assert_eq!(step.version, n, "{}", step.name);
    }
}

#[actix::test]
async fn the_audit_log_is_a_chain_that_is_only_added_to() {
    let folder = ground();
    let store = folder.opens();
    for n in 0..5 {
        let line = RecordAudit {
            who: "ann".into(),
            from: "127.0.0.1".into(),
            action: "run".into(),
            target: format!("run {n}"),
            result: "ok".into(),
            at: Still.now(),
        };
        store.record_audit(line).await.expect("written");
    }
    let db = folder.looks_inside();
    let mut statement = db
        .prepare("SELECT at, who, from_addr, action, target, result, prev_hash, hash FROM audit ORDER BY seq")
        .expect("a query");
    let mut rows = statement.query([]).expect("rows");
    let mut before = "0".repeat(64);
    let mut seen = 0;
    while let Some(row) = rows.next().expect("a row") {
        let texts: Vec<String> = (1..=5).map(|column| row.get(column).expect("a text")).collect();
        let hash = audit::link(
            &before,
            row.get(0).expect("a time"),
            [&texts[0], &texts[1], &texts[2], &texts[3], &texts[4]],
        );
        assert_eq!(row.get::<_, String>(6).expect("a hash"), before);
        assert_eq!(row.get::<_, String>(7).expect("a hash"), hash);
        before = hash;
        seen += 1;
    }
    assert_eq!(seen, 5);
    for change in ["UPDATE audit SET who = 'eve'", "DELETE FROM audit WHERE seq = 3"] {
        let error = db.execute(change, []).expect_err("it is refused");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[actix::test]
async fn workflows_that_are_switched_off_are_named() {
    let folder = ground();
    let store = folder.opens();
    folder
        .looks_inside()
        .execute_batch(
            "INSERT INTO workflow_overrides VALUES ('build', 0, 1, 'ann'), ('triage', 1, 1, 'ann'), ('a', 0, 1, 'ann')",
        )
        .expect("written");
    assert_eq!(
        store.switched_off(SwitchedOff).await,
        Ok(vec!["a".to_owned(), "build".to_owned()])
    );
}

#[actix::test]
async fn an_effect_keeps_a_row_for_every_attempt() {
    let folder = ground();
    let store = folder.opens();
    let Ok(Recorded::Fresh(seq)) = store.record_event(event("d-1", 10)).await else {
        panic!("it is new")
    };
    let settlement = crate::messages::store::Settlement {
        event: seq,
        outcome: "routed".into(),
        quarantined: false,
        open: None,
        lapse: None,
        decide: None,
        effects: vec![NewEffect {
            key: "e-1".parse().expect("valid"),
            effect: Effect::GithubLabels {
                repo: "acme/site".parse().expect("valid"),
                number: 7,
                labels: vec![],
            },
            run: None,
            event: None,
        }],
        otherwise: vec![],
        at: Still.now(),
    };
    store
        .settle_events(SettleEvents(vec![settlement]))
        .await
        .expect("settled");
    let effect = EffectSeq(1);
    let at = Still.now();
    for attempt in 1..=3 {
        assert_eq!(store.claim_effect(ClaimEffect { effect, at }).await, Ok(Some(attempt)));
        if attempt > 1 {
            let outcome = if attempt == 2 {
                AttemptOutcome::Retry {
                    at,
                    error: "503".into(),
                }
            } else {
                AttemptOutcome::Done { result: "url".into() }
            };
            let order = SettleEffect {
                effect,
                attempt,
                outcome,
                at,
            };
            store.settle_effect(order).await.expect("settled");
        }
    }
    let db = folder.looks_inside();
    let mut statement = db
        .prepare("SELECT attempt, outcome, error, result FROM attempts ORDER BY attempt")
        .expect("a query");
    let rows: Vec<(u32, String, Option<String>, Option<String>)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("rows");
    assert_eq!(
        rows,
        [
            (1, "interrupted".into(), None, None),
            (2, "retry".into(), Some("503".into()), None),
            (3, "done".into(), None, Some("url".into())),
        ]
    );
}

#[actix::test]
async fn a_run_that_cannot_be_read_does_not_hold_the_queue_up() {
    let folder = ground();
    let store = folder.opens();
    let definition = DefinitionHash("d1".into());
    let workflow: WorkflowName = "build".parse().expect("valid");
    let keep = KeepDefinitions(vec![(definition.clone(), workflow.clone(), "{}".into())]);
    store.keep_definitions(keep).await.expect("kept");
    let run = |n: u128| NewRun {
        id: RunId::new(uuid::Uuid::from_u128(n)),
        workflow: workflow.clone(),
        definition: definition.clone(),
        subject: Subject::stored(format!("a#{n}")),
        repo: None,
        number: None,
        context: RunContext::default(),
        reply_to: ReplyTo::Nobody,
        cause: Cause {
            trigger: TriggerType::Api,
            who: "ann".into(),
            event: None,
        },
        overlap: Overlap::Join,
        created_at: Still.now(),
    };
    store.open_runs(OpenRuns(vec![run(1), run(2)])).await.expect("opened");
    folder
        .looks_inside()
        .execute("UPDATE runs SET context = 'no JSON' WHERE seq = 1", [])
        .expect("damaged");
    let order = TakeQueuedRuns {
        free: 1,
        at: Still.now(),
    };
    assert!(store.take_queued_runs(order).await.expect("taken").is_empty());
    let taken = store.take_queued_runs(order).await.expect("taken");
    assert_eq!(taken[0].summary.id, run(2).id);
    let (page, _) = store
        .list_runs(ListRuns(RunFilter {
            limit: 9,
            statuses: vec![RunStatus::Failed],
            ..RunFilter::default()
        }))
        .await
        .expect("listed");
    assert!(
        page.items[0]
            .error
            .as_deref()
            .is_some_and(|words| words.contains("cannot be read"))
    );
}

/// Every list, filtered by one thing, goes along an index and needs no sorting.
#[test]
fn every_list_goes_along_an_index() {
    let folder = ground();
    drop(folder.opens());
    let db = folder.looks_inside();
    let plan = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> String {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
        let steps: Vec<String> = statement
            .query_map(params_from_iter(values), |row| row.get(3))
            .expect(sql)
            .collect::<Result<_, _>>()
            .expect(sql);
        steps.join("; ")
    };
    let mut seen = 0;
    let mut holds = |what: &str, sql: &str, values: &[&dyn rusqlite::ToSql], expected: &str| {
        let plan = plan(sql, values);
        assert!(plan.contains(expected), "{what}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{what} sorts: {plan}");
        seen += 1;
    };

    let events = EventFilter {
        limit: 50,
        ..EventFilter::default()
    };
    for before in [None, Some(1_000)] {
        let events = EventFilter {
            before,
            ..events.clone()
        };
        for (what, filter, expected) in [
            // Backwards along the table itself: it stops after a page.
            (
                "all",
                events.clone(),
                if before.is_some() {
                    "USING INTEGER PRIMARY KEY"
                } else {
                    "SCAN events"
                },
            ),
            (
                "settled",
                EventFilter {
                    state: Some(EventState::Settled),
                    ..events.clone()
                },
                if before.is_some() {
                    "USING INTEGER PRIMARY KEY"
                } else {
                    "SCAN events"
                },
            ),
            (
                "recorded",
                EventFilter {
                    state: Some(EventState::Recorded),
                    ..events.clone()
                },
                "USING INDEX events_recorded",
            ),
            (
                "quarantined",
                EventFilter {
                    state: Some(EventState::Quarantined),
                    ..events.clone()
                },
                "USING INDEX events_quarantined",
            ),
            (
                "repo",
                EventFilter {
                    repo: Some("a/b".into()),
                    ..events.clone()
                },
                "SEARCH events USING INDEX events_by_repo (repo=?",
            ),
            (
                "type",
                EventFilter {
                    kind: Some(EventType::Message),
                    ..events.clone()
                },
                "SEARCH events USING INDEX events_by_type (type=?",
            ),
            (
                "sender",
                EventFilter {
                    sender: Some("ann".into()),
                    ..events.clone()
                },
                "SEARCH events USING INDEX events_by_sender (sender=?",
            ),
        ] {
            let (sql, values) = super::events::list_sql(&filter);
            let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| &**value).collect();
            holds(&format!("events by {what}"), &sql, &values, expected);
        }

        let runs = RunFilter {
            before,
            limit: 50,
            ..RunFilter::default()
        };
        for (what, filter, status, expected) in [
            (
                "all",
                runs.clone(),
                None,
                if before.is_some() {
                    "USING INTEGER PRIMARY KEY"
                } else {
                    "SCAN runs"
                },
            ),
            (
                "workflow",
                RunFilter {
                    workflow: Some("build".into()),
                    ..runs.clone()
                },
                None,
                "USING COVERING INDEX runs_by_workflow (workflow=?",
            ),
            (
                "status",
                runs.clone(),
                Some(RunStatus::Queued),
                "USING COVERING INDEX runs_by_status (status=?",
            ),
            (
                "repo",
                RunFilter {
                    repo: Some("a/b".into()),
                    ..runs.clone()
                },
                None,
                "USING COVERING INDEX runs_by_repo (repo=?",
            ),
            (
                "since",
                RunFilter {
                    since: Some(Still.now()),
                    ..runs.clone()
                },
                None,
                "USING COVERING INDEX runs_by_time (created_at>?)",
            ),
            (
                "workflow and status",
                RunFilter {
                    workflow: Some("build".into()),
                    ..runs.clone()
                },
                Some(RunStatus::Queued),
                "USING COVERING INDEX runs_by_workflow_status (workflow=? AND status=?",
            ),
            (
                "repo and status",
                RunFilter {
                    repo: Some("a/b".into()),
                    ..runs.clone()
                },
                Some(RunStatus::Queued),
                "USING COVERING INDEX runs_by_repo_status (repo=? AND status=?",
            ),
            (
                "repo, workflow and status",
                RunFilter {
                    repo: Some("a/b".into()),
                    workflow: Some("build".into()),
                    ..runs.clone()
                },
                Some(RunStatus::Queued),
                "USING COVERING INDEX runs_by_all (repo=? AND workflow=? AND status=?",
            ),
        ] {
            let (sql, values) = super::runs::places_sql(&filter, status, 51, 0);
            let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| value as &dyn rusqlite::ToSql).collect();
            holds(&format!("runs by {what}"), &sql, &values, expected);
            let (sql, values) = super::runs::total_sql(&filter);
            let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| value as &dyn rusqlite::ToSql).collect();
            let expected = if filter.since.is_some() {
                "runs_by_time"
            } else {
                "run_counts"
            };
            holds(&format!("total of runs by {what}"), &sql, &values, expected);
        }
    }
    assert_eq!(seen, 2 * (7 + 2 * 8));
}
