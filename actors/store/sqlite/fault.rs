//! What can go wrong inside, and what the caller hears of it. Knows no order.
//!
//! The rule: inside, a [`Fault`] keeps the database's own error, because the writer decides by it; outside there is only
//! [`StoreError`], because callers decide between "try again", "make room", "going down" and "broken".

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use rusqlite::ErrorCode;

use crate::domain::InvalidId;
use crate::messages::store::StoreError;

/// Why an order could not be carried out.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database said no.
    Db(rusqlite::Error),
    /// The order or a stored row makes no sense; in words.
    Wrong(String),
}

impl Fault {
    /// The words for something that makes no sense.
    pub(super) fn wrong(words: impl Into<String>) -> Self {
        Self::Wrong(words.into())
    }

    /// What the caller hears. `folder` holds the database; on a failed write it is asked whether there is room.
    pub(super) fn heard(&self, folder: &Path) -> StoreError {
        match self {
            Self::Wrong(words) => StoreError::Failed(words.clone()),
            Self::Db(rusqlite::Error::SqliteFailure(error, words)) => match error.code {
                ErrorCode::DiskFull => StoreError::Full,
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
                ErrorCode::SystemIoFailure if no_room(folder) => StoreError::Full,
                _ => StoreError::Failed(words.clone().unwrap_or_else(|| error.to_string())),
            },
            Self::Db(error) => StoreError::Failed(error.to_string()),
        }
    }

    /// Whether the whole transaction is lost with this order, because the file could not be read or written.
    pub(super) fn ruins_the_batch(&self) -> bool {
        match self {
            Self::Wrong(_) => false,
            Self::Db(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::OutOfMemory
                        | ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                )
            ),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Wrong(format!("JSON cannot be read or written: {error}"))
    }
}

impl From<InvalidId> for Fault {
    fn from(error: InvalidId) -> Self {
        Self::Wrong(format!("a stored row is damaged: {error}"))
    }
}

/// Tries to write a little beside the database. SQLite reports an exhausted quota as a plain write error; the error of an
/// ordinary write tells the two apart.
fn no_room(folder: &Path) -> bool {
    let probe = folder.join(format!(".room-probe.{}", std::process::id()));
    let tried = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&probe)
        .and_then(|mut file| {
            file.write_all(&[0; 65_536])?;
            file.sync_all()
        });
    // Left behind it would take the very room that is missing; that it may be gone already is fine.
    let _ = std::fs::remove_file(&probe);
    tried.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> Fault {
        Fault::Db(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    }

    #[test]
    fn each_error_of_the_database_has_its_word_outside() {
        let folder = tempfile::tempdir().expect("a folder");
        use rusqlite::ffi;
        for (code, heard, ruins) in [
            (ffi::SQLITE_FULL, StoreError::Full, true),
            (ffi::SQLITE_BUSY, StoreError::Busy, false),
        ] {
            assert_eq!(failure(code).heard(folder.path()), heard);
            assert_eq!(failure(code).ruins_the_batch(), ruins);
        }
        // There is room in the folder, so a failed write is just that.
        assert!(matches!(
            failure(ffi::SQLITE_IOERR_WRITE).heard(folder.path()),
            StoreError::Failed(_)
        ));
        assert!(failure(ffi::SQLITE_IOERR_WRITE).ruins_the_batch());
        assert!(!failure(ffi::SQLITE_CONSTRAINT).ruins_the_batch());
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            0,
            "the probe is removed"
        );
    }
}
