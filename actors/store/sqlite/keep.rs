//! What is done to a database beside the service: copies of it, and the proof of its audit log. Opens the file for itself, writes no row into it.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};

use super::{audit, prune};
use crate::domain::{Prunable, Space};

/// Why a file could not be copied or checked.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file cannot be read as a database of ours.
    #[error("cannot read {} as a database: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The database's words.
        source: rusqlite::Error,
    },
    /// The copy cannot be written.
    #[error("cannot write the copy {}: {source}", path.display())]
    Unwritable {
        /// The copy.
        path: PathBuf,
        /// The system's or the database's words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database holds damage.
    #[error("{} is damaged: {words}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first words of the database's own check.
        words: String,
    },
}

/// What the check of an audit log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Every row carries the hash of the one before it.
    Whole {
        /// How many rows there are.
        rows: u64,
        /// The last row's hash; keep it elsewhere to notice when rows are cut off the end.
        last: String,
    },
    /// From this row on the chain is not what was written.
    Broken {
        /// The row's number.
        row: i64,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Reads the whole audit log of a database and follows its chain of hashes. The file may be a copy, or in use.
///
/// # Errors
/// When the file cannot be read.
pub fn verify_audit(path: &Path) -> Result<Proof, KeepError> {
    let db = open(path)?;
    let unreadable = |source| KeepError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut rows = db
        .prepare("SELECT seq, at, who, from_addr, action, target, result, prev_hash, hash FROM audit ORDER BY seq")
        .map_err(unreadable)?;
    let mut rows = rows.query([]).map_err(unreadable)?;
    let mut before = audit::BEGINNING.to_owned();
    let mut expected = 1;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(unreadable)? {
        let text = |column: usize| row.get::<_, String>(column).map_err(unreadable);
        let seq: i64 = row.get(0).map_err(unreadable)?;
        let at: i64 = row.get(1).map_err(unreadable)?;
        let broken = |why| Ok(Proof::Broken { row: seq, why });
        if seq != expected {
            return broken("a row before it is missing");
        }
        if text(7)? != before {
            return broken("it does not follow the row before it");
        }
        let hash = audit::link(&before, at, [&text(2)?, &text(3)?, &text(4)?, &text(5)?, &text(6)?]);
        if text(8)? != hash {
            return broken("its words are not those that were written");
        }
        before = hash;
        expected = seq + 1;
        count += 1;
    }
    Ok(Proof::Whole {
        rows: count,
        last: before,
    })
}

/// How many rows of each kind are over, were so before the instant beside it, and are of no use to anything live. The file may
/// be in use.
///
/// # Errors
/// When the file cannot be read.
pub fn prunable(path: &Path, kinds: &[(Prunable, DateTime<Utc>)]) -> Result<Vec<(Prunable, u64)>, KeepError> {
    let db = open(path)?;
    let counted = kinds.iter().map(|(what, before)| {
        let n = prune::count_prunable(&db, *what, before.timestamp_millis())?;
        Ok((*what, n))
    });
    counted
        .collect::<rusqlite::Result<_>>()
        .map_err(|source| KeepError::Unreadable {
            path: path.to_owned(),
            source,
        })
}

/// How much room a database takes. The file may be in use.
///
/// # Errors
/// When the file cannot be read.
pub fn room(path: &Path) -> Result<Space, KeepError> {
    prune::space(&open(path)?).map_err(|source| KeepError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Writes a database anew, without the room that nothing needs, so that it can give room back by itself from then on. Nobody may
/// use it meanwhile. How much room it takes before and after, in bytes.
///
/// # Errors
/// When the file cannot be read, or there is no room for the new one beside it.
pub fn compact(path: &Path) -> Result<(u64, u64), KeepError> {
    let unreadable = |source| KeepError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(unreadable)?;
    let size = || prune::space(&db).map(|space| space.used + space.free);
    let before = size().map_err(unreadable)?;
    db.execute_batch("PRAGMA auto_vacuum = incremental; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
        .map_err(|error| KeepError::Unwritable {
            path: path.to_owned(),
            source: error.into(),
        })?;
    Ok((before, size().map_err(unreadable)?))
}

/// Copies a database as it is at this moment into a new file for its owner alone, checked and on the disk when this returns.
/// The database may be in use meanwhile.
///
/// # Errors
/// When the file cannot be read, or the copy exists or cannot be written.
pub fn copy(from: &Path, to: &Path) -> Result<(), KeepError> {
    let db = open(from)?;
    let unwritable = |source: Box<dyn std::error::Error + Send + Sync>| KeepError::Unwritable {
        path: to.to_owned(),
        source,
    };
    let name = to.to_str().ok_or_else(|| unwritable("its path is not UTF-8".into()))?;
    // Made beforehand, because the database would make it readable for others; never over what is there.
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| unwritable(error.into()))?;
    db.execute("VACUUM INTO ?1", [name])
        .map_err(|error| unwritable(error.into()))?;
    std::fs::File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|error| unwritable(error.into()))?;
    check(to)
}

/// What a database looks like from beside the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// Its version.
    pub version: i32,
    /// The last version that this program knows.
    pub known: i32,
    /// Bytes of the file and its write-ahead log.
    pub bytes: u64,
    /// Whether the database's quick check came to its end in time; it found nothing then.
    pub checked: bool,
}

/// Looks at a database without changing it: its version, and for at most so long whether it is whole. It may be in use.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn look(path: &Path, patience: Duration) -> Result<Looked, KeepError> {
    let unreadable = |source| KeepError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let db = open(path)?;
    let version: i32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(unreadable)?;
    let interrupt = db.get_interrupt_handle();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        // Dropped at the end of the check, which ends the wait as well.
        if wait.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let words = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(done);
    // It only waits and interrupts.
    let _ = watch.join();
    let checked = match words {
        Ok(words) if words == "ok" => true,
        Ok(words) => {
            return Err(KeepError::Damaged {
                path: path.to_owned(),
                words,
            });
        }
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => false,
        Err(error) => return Err(unreadable(error)),
    };
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    Ok(Looked {
        version,
        known: super::migrate::MIGRATIONS.last().map_or(0, |last| last.version),
        bytes: size(path) + size(&log),
        checked,
    })
}

/// Whether a database is whole, by its own check.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn check(path: &Path) -> Result<(), KeepError> {
    let db = open(path)?;
    let words: String = db
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|source| KeepError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    if words == "ok" {
        Ok(())
    } else {
        Err(KeepError::Damaged {
            path: path.to_owned(),
            words,
        })
    }
}

fn open(path: &Path) -> Result<Connection, KeepError> {
    let unreadable = |source| KeepError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(unreadable)?;
    db.busy_timeout(super::PATIENCE).map_err(unreadable)?;
    let application: i32 = db
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(unreadable)?;
    if application != super::migrate::APPLICATION {
        return Err(unreadable(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
            Some("it is not a database of Firstlight".to_owned()),
        )));
    }
    Ok(db)
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::clock::SystemClock;
    use crate::messages::store::RecordAudit;
    use crate::store::Store;
    use crate::store::sqlite::{SqliteOptions, SqliteStore};

    async fn written(folder: &Path) -> PathBuf {
        let path = folder.join("one.db");
        let store = SqliteStore::open(SqliteOptions::at(&path), SystemClock::shared()).expect("opened");
        for n in 0..3 {
            let line = RecordAudit {
                who: "ann".into(),
                from: "127.0.0.1".into(),
                action: "login".into(),
                target: format!("t{n}"),
                result: "ok".into(),
                at: chrono::DateTime::from_timestamp(1_700_000_000 + n, 0).expect("a time"),
            };
            store.record_audit(line).await.expect("written");
        }
        store.close().await.expect("closed");
        path
    }

    /// As somebody would who can write the file: the triggers are no hindrance to them.
    fn tamper(path: &Path, sql: &str) {
        let db = Connection::open(path).expect("opened");
        db.execute_batch("DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_removed;")
            .expect("dropped");
        db.execute(sql, params![]).expect("tampered");
    }

    #[actix_rt::test]
    async fn an_untouched_log_is_whole_and_so_is_a_copy_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path()).await;
        let Proof::Whole { rows, last } = verify_audit(&path).expect("read") else {
            panic!("it is whole")
        };
        assert_eq!(rows, 3);
        let twin = folder.path().join("copy.db");
        copy(&path, &twin).expect("copied");
        assert_eq!(verify_audit(&twin).expect("read"), Proof::Whole { rows: 3, last });
        let again = copy(&path, &twin).expect_err("a copy is never written over");
        assert!(again.to_string().contains("copy.db"), "{again}");
    }

    #[actix_rt::test]
    async fn a_changed_removed_or_inserted_row_shows() {
        let cases = [
            (
                "UPDATE audit SET who = 'eve' WHERE seq = 2",
                2,
                "its words are not those that were written",
            ),
            (
                "UPDATE audit SET at = at + 1 WHERE seq = 1",
                1,
                "its words are not those that were written",
            ),
            ("DELETE FROM audit WHERE seq = 2", 3, "a row before it is missing"),
            (
                "UPDATE audit SET prev_hash = hash WHERE seq = 3",
                3,
                "it does not follow the row before it",
            ),
            (
                "INSERT INTO audit (at, who, from_addr, action, target, result, prev_hash, hash) VALUES (1, 'eve', '', 'login', '', 'ok', 'x', 'y')",
                4,
                "it does not follow the row before it",
            ),
        ];
        for (sql, row, why) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            let path = written(folder.path()).await;
            tamper(&path, sql);
            assert_eq!(verify_audit(&path).expect("read"), Proof::Broken { row, why }, "{sql}");
        }
    }

    #[actix_rt::test]
    async fn a_database_is_looked_at_while_it_is_in_use_and_damage_shows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.db");
        let store = SqliteStore::open(SqliteOptions::at(&path), SystemClock::shared()).expect("opened");
        let found = look(&path, Duration::from_secs(20)).expect("looked");
        assert!(
            found.checked && found.version == found.known && found.bytes > 0,
            "{found:?}"
        );
        store.close().await.expect("closed");
        let mut bytes = std::fs::read(&path).expect("read");
        let from = bytes.len() / 2;
        bytes[from..].fill(0x5a);
        std::fs::write(&path, bytes).expect("written");
        let error = look(&path, Duration::from_secs(20)).expect_err("damaged");
        assert!(error.to_string().contains("one.db"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_of_ours_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("note.txt");
        std::fs::write(&path, "hello").expect("written");
        let error = verify_audit(&path).expect_err("no database");
        assert!(error.to_string().contains("note.txt"), "{error}");
        assert!(check(&path).is_err());
        assert!(copy(&folder.path().join("missing.db"), &folder.path().join("x.db")).is_err());
    }
}
