//! The lock that keeps other processes off the state file: an advisory lock of the system on a file that is never deleted. Knows no state.
//!
//! The lock belongs to the open file, so it falls with the process, whatever ends it; there is nothing stale to break.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::file::make_folder;

/// How long the lock is waited for (seed, `withStateFileLock`: 5,000 ms).
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(5_000);
/// How long it is waited between two tries.
const BETWEEN: Duration = Duration::from_millis(5);

/// Why the lock was not had. The state was not touched.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockFault {
    /// Somebody else held it all the time.
    #[error("another process held {file} for {waited_ms} ms; nothing was changed, try again")]
    Held {
        /// The lock file.
        file: String,
        /// How long it was waited.
        waited_ms: u128,
    },
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {file}: {error}; check that the state folder may be written by this user")]
    Broken {
        /// The lock file.
        file: String,
        /// The system's words.
        error: io::Error,
    },
}

/// The lock, as long as it lives.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file would do; said, so that nobody takes the file for unused.
        let _ = self.0.unlock();
    }
}

/// The seed's `withStateFileLock`: what is done while the answer lives is done under the lock; without an answer, nothing may be
/// done. `pause` is called between two tries and has to take about as long as it is told; it may do something useful meanwhile.
pub(super) fn with_state_file_lock(
    path: &Path,
    timeout: Duration,
    mut pause: impl FnMut(Duration),
) -> Result<Locked, LockFault> {
    let broken = |error| LockFault::Broken {
        file: path.display().to_string(),
        error,
    };
    let mut file = open(path).map_err(broken)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) if is_still_there(&file, path) => return Ok(Locked(file)),
            // Somebody deleted it while it was waited for: it holds off nobody who comes now.
            Ok(()) if waited < timeout => {
                pause(BETWEEN);
                waited += BETWEEN;
                file = open(path).map_err(broken)?;
            }
            Ok(()) => return Err(broken(io::Error::other("it is deleted again and again"))),
            Err(TryLockError::WouldBlock) if waited < timeout => {
                pause(BETWEEN);
                waited += BETWEEN;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LockFault::Held {
                    file: path.display().to_string(),
                    waited_ms: waited.as_millis(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
    }
}

/// Whether the file that is locked is the one that others would lock.
fn is_still_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_waited_for_and_not_broken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/integrations.json.lock");
        let first = with_state_file_lock(&path, LOCK_TIMEOUT, |_| panic!("it is free")).expect("free");
        let mut pauses = 0;
        let fault = with_state_file_lock(&path, LOCK_TIMEOUT, |_| pauses += 1).expect_err("held");
        assert_eq!(pauses, 1_000, "5,000 ms at 5 ms each");
        let words = fault.to_string();
        assert!(words.contains("integrations.json.lock for 5000 ms"), "{words}");
        drop(first);
        with_state_file_lock(&path, LOCK_TIMEOUT, |_| panic!("it is free")).expect("free again");
        assert!(path.exists(), "the lock file is never deleted");
    }

    #[test]
    fn a_lock_file_that_is_deleted_while_it_is_waited_for_locks_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let mut first = Some(with_state_file_lock(&path, LOCK_TIMEOUT, |_| {}).expect("free"));
        let mut others = None;
        let fault = with_state_file_lock(&path, LOCK_TIMEOUT, |_| {
            if first.is_some() {
                std::fs::remove_file(&path).expect("removed");
                others = Some(with_state_file_lock(&path, LOCK_TIMEOUT, |_| {}).expect("a new one"));
                first = None;
            }
        });
        assert!(matches!(fault, Err(LockFault::Held { .. })), "{fault:?}");
    }

    #[test]
    fn a_lock_file_that_cannot_be_had_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        std::fs::create_dir(&path).expect("made");
        let fault = with_state_file_lock(&path, LOCK_TIMEOUT, |_| {}).expect_err("a folder");
        assert!(fault.to_string().starts_with("cannot lock "), "{fault}");
    }
}
