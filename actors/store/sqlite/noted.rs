//! What an order changed, by kind and id. Triggers of the writer's connection note it, so that no order can forget to. Knows tables, no order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::domain::{Change, ChangeKind};

/// Which change of which table is noted, as what. The last two are SQL: the id, and the condition.
///
/// Rows that go are not told: what goes is old, and it goes by the thousand.
const TRIGGERS: &[(&str, &str, ChangeKind, &str, &str)] = &[
    ("events", "INSERT", ChangeKind::Event, "NEW.id", "1"),
    ("events", "UPDATE OF state", ChangeKind::Event, "NEW.id", "1"),
    ("runs", "INSERT", ChangeKind::Run, "NEW.id", "1"),
    (
        "runs",
        "UPDATE OF status, current_phase, error, restart_count, ended_at",
        ChangeKind::Run,
        "NEW.id",
        "1",
    ),
    ("phase_executions", "INSERT", ChangeKind::Phase, PHASE, "1"),
    ("phase_executions", "UPDATE", ChangeKind::Phase, PHASE, "1"),
    ("approvals", "INSERT", ChangeKind::Approval, "NEW.id", "1"),
    ("approvals", "UPDATE", ChangeKind::Approval, "NEW.id", "1"),
    (
        "approval_votes",
        "INSERT",
        ChangeKind::Approval,
        "(SELECT id FROM approvals WHERE seq = NEW.approval_seq)",
        "1",
    ),
    (
        "effects",
        "INSERT",
        ChangeKind::Delivery,
        "NEW.delivery",
        "NEW.delivery IS NOT NULL",
    ),
    (
        "effects",
        "UPDATE",
        ChangeKind::Delivery,
        "NEW.delivery",
        "NEW.delivery IS NOT NULL",
    ),
    // A reply is shown with what it is a reply of.
    ("effects", "INSERT", ChangeKind::Run, "NEW.run_id", REPLY_OF_RUN),
    (
        "effects",
        "UPDATE OF state",
        ChangeKind::Run,
        "NEW.run_id",
        REPLY_OF_RUN,
    ),
    ("effects", "INSERT", ChangeKind::Event, "NEW.event_id", REPLY_OF_EVENT),
    (
        "effects",
        "UPDATE OF state",
        ChangeKind::Event,
        "NEW.event_id",
        REPLY_OF_EVENT,
    ),
    (
        "workflow_overrides",
        "INSERT",
        ChangeKind::Workflow,
        "NEW.workflow",
        "1",
    ),
    (
        "workflow_overrides",
        "UPDATE",
        ChangeKind::Workflow,
        "NEW.workflow",
        "1",
    ),
    ("cron_overrides", "INSERT", ChangeKind::Cron, "NEW.name", "1"),
    ("cron_overrides", "UPDATE", ChangeKind::Cron, "NEW.name", "1"),
    ("cron_overrides", "DELETE", ChangeKind::Cron, "OLD.name", "1"),
    ("cron_firings", "INSERT", ChangeKind::Cron, "NEW.cron", "1"),
    ("cron_firings", "UPDATE", ChangeKind::Cron, "NEW.cron", "1"),
    ("chat_sessions", "INSERT", ChangeKind::Session, "NEW.id", "1"),
    ("chat_sessions", "UPDATE", ChangeKind::Session, "NEW.id", "1"),
    ("webhook_stats", "INSERT", ChangeKind::Webhook, "NEW.webhook", "1"),
    ("webhook_stats", "UPDATE", ChangeKind::Webhook, "NEW.webhook", "1"),
    ("audit", "INSERT", ChangeKind::Audit, "NEW.seq", "1"),
];

const PHASE: &str = "(SELECT id FROM runs WHERE seq = NEW.run_seq) || '/' || NEW.phase";
const REPLY_OF_RUN: &str = "NEW.delivery IS NULL AND NEW.run_id IS NOT NULL";
const REPLY_OF_EVENT: &str = "NEW.delivery IS NULL AND NEW.run_id IS NULL AND NEW.event_id IS NOT NULL";

/// What the orders of one transaction have changed so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Vec<Change>>>);

impl Noted {
    /// Notes from now on what is changed over this connection. The triggers are the connection's own: nothing of them is in
    /// the file. A table that this file does not have has none, as in tests of older files.
    pub(super) fn on(db: &Connection) -> rusqlite::Result<Self> {
        let noted = Self::default();
        for (n, kind) in ChangeKind::ALL.iter().copied().enumerate() {
            let list = noted.clone();
            db.create_scalar_function(
                format!("note_{n}").as_str(),
                1,
                FunctionFlags::SQLITE_UTF8,
                move |call| {
                    let id = match call.get_raw(0) {
                        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        _ => return Ok(rusqlite::types::Null),
                    };
                    list.list().push(Change { kind, id });
                    Ok(rusqlite::types::Null)
                },
            )?;
        }
        let mut there = db.prepare("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1")?;
        for (n, (table, when, kind, id, condition)) in TRIGGERS.iter().enumerate() {
            let function = ChangeKind::ALL.iter().position(|known| known == kind).unwrap_or(0);
            if there.exists([table])? {
                db.execute_batch(&format!(
                    "CREATE TEMP TRIGGER noted_{n} AFTER {when} ON {table} WHEN {condition}
                     BEGIN SELECT note_{function}({id}); END"
                ))?;
            }
        }
        Ok(noted)
    }

    /// How many there are: a mark to come back to.
    pub(super) fn mark(&self) -> usize {
        self.list().len()
    }

    /// Forgets what was noted since a mark, because it was taken back.
    pub(super) fn forget_since(&self, mark: usize) {
        self.list().truncate(mark);
    }

    /// Gives everything out, after the commit.
    pub(super) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.list())
    }

    fn list(&self) -> MutexGuard<'_, Vec<Change>> {
        // It is one thread's own; whatever panicked there pushed a whole item or none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rusqlite::Connection;

    use super::*;

    fn db() -> Connection {
        let mut db = Connection::open_in_memory().expect("opened");
        let path = std::path::Path::new("nowhere");
        let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        super::super::migrate::bring_up(&mut db, path, super::super::migrate::MIGRATIONS, now).expect("migrated");
        db
    }

    #[test]
    fn every_trigger_stands_on_a_table_that_there_is_and_fires() {
        let db = db();
        let noted = Noted::on(&db).expect("watched");
        let hung: u32 = db
            .query_row(
                "SELECT count(*) FROM sqlite_temp_schema WHERE type = 'trigger'",
                [],
                |row| row.get(0),
            )
            .expect("counted");
        assert_eq!(hung as usize, TRIGGERS.len());
        db.execute_batch(
            "INSERT INTO events (id, source, type, sender, received_at, envelope) VALUES ('e', 's', 't', 'a', 1, '{}');
             UPDATE events SET state = 'settled';
             INSERT INTO definitions VALUES ('h', 'w', '');
             INSERT INTO runs (id, workflow, definition, subject, status, holds, overlap, trigger_type, triggered_by, context,
                               reply_to, created_at, updated_at)
             VALUES ('r', 'w', 'h', 's', 'queued', 1, 'join', 'api', 'a', '{}', '{}', 1, 1);
             UPDATE runs SET status = 'running';
             INSERT INTO phase_executions (run_seq, phase, attempt, kind, status, started_at)
             VALUES (1, 'p', 1, 'script', 'running', 1);
             INSERT INTO approvals (id, run_seq, subject, phase, gate, summary, kind, requested_by, created_at)
             VALUES ('q', 1, 's', 'p', 'g', '', 'approve', 'a', 1);
             INSERT INTO approval_votes VALUES (1, 1, '{}', NULL, 1);
             INSERT INTO effects (key, kind, lane, effect, run_id, head, due_at, created_at)
             VALUES ('k', 'github.comment', 'l', '{}', 'r2', 1, 1, 1);
             INSERT INTO effects (key, kind, lane, effect, event_id, head, due_at, created_at)
             VALUES ('k2', 'github.comment', 'l2', '{}', 'e2', 1, 1, 1);
             INSERT INTO effects (key, kind, lane, effect, head, due_at, created_at, delivery)
             VALUES ('k3', 'webhook', 'l3', '{}', 0, 1, 1, 'd');
             INSERT INTO workflow_overrides VALUES ('w2', 0, 1, 'a');
             INSERT INTO cron_overrides VALUES ('c', 0, NULL, 1, 'a');
             DELETE FROM cron_overrides;
             INSERT INTO chat_sessions (id, platform, channel, thread, user_id, created_at, last_activity_at)
             VALUES ('c', 'slack', 'C', 'T', 'U', 1, 1);
             INSERT INTO webhook_stats (webhook, updated_at) VALUES ('h', 1);
             INSERT INTO audit (at, who, from_addr, action, target, result, prev_hash, hash)
             VALUES (1, 'a', '', '', '', '', '', '');",
        )
        .expect("written");
        let told: BTreeSet<String> = noted
            .take()
            .into_iter()
            .map(|change| format!("{} {}", change.kind, change.id))
            .collect();
        let expected = [
            "event e",
            "event e2",
            "run r",
            "run r2",
            "phase r/p",
            "approval q",
            "delivery d",
            "workflow w2",
            "cron c",
            "session c",
            "webhook h",
            "audit 1",
        ];
        assert_eq!(told, expected.map(str::to_owned).into());
    }

    #[actix::test]
    async fn what_was_taken_back_was_never_noted() {
        use crate::domain::{RunId, RunStatus};
        use crate::messages::store::{EndRun, RecordAudit, RecordStep};
        use crate::store::Store;
        use crate::store::sqlite::{SqliteOptions, SqliteStore};

        let folder = tempfile::tempdir().expect("a folder");
        let board = crate::changes::Board::of("b");
        let options = SqliteOptions {
            changes: board.clone(),
            ..SqliteOptions::at(folder.path().join("one.db"))
        };
        let store = SqliteStore::open(options, crate::clock::SystemClock::shared()).expect("opened");
        let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let mut reader = board.reader();
        let run = RunId::new(uuid::Uuid::nil());
        let line = |who: &str| RecordAudit {
            who: who.into(),
            from: String::new(),
            action: "a".into(),
            target: String::new(),
            result: "ok".into(),
            at,
        };
        let wrong = store.record_step(RecordStep {
            run,
            steps: Vec::new(),
            effects: Vec::new(),
            at,
        });
        let nobody = store.end_run(EndRun {
            run,
            status: RunStatus::Failed,
            error: String::new(),
            at,
        });
        let right = store.record_audit(line("ann"));
        assert!(wrong.await.is_err());
        assert_eq!(nobody.await.expect("answered"), None);
        right.await.expect("written");
        let crate::changes::News::Changed { changes, .. } = reader.next(100).await else {
            panic!("nothing was missed")
        };
        assert_eq!(changes, [("b-1".to_owned(), Change::of(ChangeKind::Audit, "1"))]);
    }
}
