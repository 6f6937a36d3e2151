//! Folds the log into the file beside the writer, so that whoever waits for a commit does not wait for that as well.
//! Knows no table.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::{OpenError, thread};

/// Pages that are worth a round. A page that changes in every group is copied once per round.
const WORTH_A_ROUND: i64 = 2_000;

/// Pages at which the writer folds the rest itself: 48 MB. The log begins anew only when all of it is folded, and under steady
/// load the rounds beside the writer never quite catch up.
const LONG: i64 = 12_000;

/// The thread that folds.
pub(super) struct Folder {
    nudge: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Folder {
    /// Starts it on a connection of its own.
    pub(super) fn start(db: Connection) -> Result<Self, OpenError> {
        // One nudge may wait: the round that it starts folds whatever is there by then.
        let (nudge, nudged) = sync_channel(1);
        let thread = thread("store-fold".to_owned(), move || run(&db, &nudged))?;
        Ok(Self { nudge, thread })
    }

    /// Looks how long the log is, after a commit, and has it folded where that is worth it.
    pub(super) fn look(&self, db: &Connection) {
        let Ok((log, folded)) = length(db) else {
            return;
        };
        if log >= LONG && folded < log {
            fold(db);
        } else if log - folded >= WORTH_A_ROUND {
            // A nudge that waits already says the same.
            let _ = self.nudge.try_send(());
        }
    }

    /// Ends it after the round that it is in.
    pub(super) fn stop(self) {
        drop(self.nudge);
        if self.thread.join().is_err() {
            tracing::error!("the thread that folds the store's log had panicked");
        }
    }
}

fn run(db: &Connection, nudged: &Receiver<()>) {
    while nudged.recv().is_ok() {
        fold(db);
    }
}

/// Folds as much as can be without anybody waiting.
pub(super) fn fold(db: &Connection) {
    let folded = db
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row([], |_| Ok(())));
    if let Err(error) = folded {
        // What is committed is safe in the log; the next round tries again.
        tracing::debug!(error = %error, "the store's log was not folded this time");
    }
}

/// How many pages the log has, and how many of them are folded.
fn length(db: &Connection) -> rusqlite::Result<(i64, i64)> {
    db.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
