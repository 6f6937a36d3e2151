//! Brings a file to the shape that this program knows, with a copy taken first. Knows no row.

use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::OpenError;

/// Marks a file as Firstlight's own (`PRAGMA application_id`): "FLHT" in ASCII.
pub(super) const APPLICATION: i32 = 0x464c_4854;

/// One step of the shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// What `PRAGMA user_version` says afterwards; grows by one.
    pub(super) version: i32,
    /// For the log.
    pub(super) name: &'static str,
    /// The statements.
    pub(super) sql: &'static str,
}

/// The shape, step by step. A step that was released is never changed.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "foundation",
        sql: include_str!("../migrations/0001_foundation.sql"),
    },
    Migration {
        version: 2,
        name: "gate policies",
        sql: include_str!("../migrations/0002_gate_policies.sql"),
    },
    Migration {
        version: 3,
        name: "deliveries",
        sql: include_str!("../migrations/0003_deliveries.sql"),
    },
    Migration {
        version: 4,
        name: "chat",
        sql: include_str!("../migrations/0004_chat.sql"),
    },
    Migration {
        version: 5,
        name: "untold ends",
        sql: include_str!("../migrations/0005_untold_ends.sql"),
    },
    Migration {
        version: 6,
        name: "tokens",
        sql: include_str!("../migrations/0006_tokens.sql"),
    },
    Migration {
        version: 7,
        name: "lists",
        sql: include_str!("../migrations/0007_lists.sql"),
    },
    Migration {
        version: 8,
        name: "cron",
        sql: include_str!("../migrations/0008_cron.sql"),
    },
    Migration {
        version: 9,
        name: "retention",
        sql: include_str!("../migrations/0009_retention.sql"),
    },
];

/// Brings the database up to the last of `migrations`, each in a transaction of its own. A file that holds something
/// already is copied to `<name>.before-v<version>-<UTC time>` before the first statement.
pub(super) fn bring_up(
    db: &mut Connection,
    path: &Path,
    migrations: &[Migration],
    now: DateTime<Utc>,
) -> Result<(), OpenError> {
    let database = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let version: i32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(database)?;
    let application: i32 = db
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(database)?;
    let things: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(database)?;
    if things > 0 && application != APPLICATION {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    let known = migrations.last().map_or(0, |last| last.version);
    if version > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known,
        });
    }
    let pending: Vec<_> = migrations.iter().filter(|step| step.version > version).collect();
    let Some(first) = pending.first() else {
        return Ok(());
    };
    if things > 0 {
        let copy = copy_before(db, path, first.version, now)?;
        tracing::info!(
            copy = %copy.display(),
            from = version,
            to = known,
            "the store is brought to a new version; a copy of it as it was lies beside it"
        );
    }
    for step in pending {
        apply(db, step).map_err(|source| OpenError::Migration {
            path: path.to_owned(),
            version: step.version,
            name: step.name,
            source,
        })?;
        tracing::debug!(version = step.version, name = step.name, "migrated the store");
    }
    Ok(())
}

fn apply(db: &mut Connection, step: &Migration) -> rusqlite::Result<()> {
    // A table that is rebuilt is dropped for a moment; with foreign keys on that would take its children along. The keys
    // are checked as a whole before the commit instead. The setting cannot be changed inside a transaction.
    db.pragma_update(None, "foreign_keys", false)?;
    let tx = db.transaction()?;
    tx.execute_batch(step.sql)?;
    let orphans: i64 = tx.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    if orphans > 0 {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
            Some(format!("{orphans} rows would refer to nothing")),
        ));
    }
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", step.version)?;
    tx.commit()?;
    db.pragma_update(None, "foreign_keys", true)
}

/// A consistent copy under its final name only when it is whole and on the disk.
fn copy_before(db: &Connection, path: &Path, version: i32, now: DateTime<Utc>) -> Result<PathBuf, OpenError> {
    let suffixed = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let copy = suffixed(&format!(".before-v{version}-{}", now.format("%Y%m%dT%H%M%SZ")));
    let partial = suffixed(".before.partial");
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Copy {
        copy: copy.clone(),
        source,
    };
    match std::fs::remove_file(&partial) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error.into())),
    }
    let name = partial
        .to_str()
        .ok_or_else(|| failed("the path of the state folder is not UTF-8".into()))?;
    super::create_private(&partial).map_err(|error| failed(error.into()))?;
    db.execute("VACUUM INTO ?1", [name])
        .map_err(|error| failed(error.into()))?;
    let finish = || {
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &copy)?;
        copy.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    finish().map_err(|error: std::io::Error| failed(error.into()))?;
    Ok(copy)
}
