//! The state file on the disk: read whole, written whole or not at all. Knows the shape; takes no lock.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::normalize::normalize_state;
use super::shape::{State, VERSION};

/// Only its owner may read the secrets in it.
const MODE: u32 = 0o600;
/// Temporary names that are tried; another writer of this process may have the same millisecond.
const NAMES: u32 = 1_000;
/// The largest state that is read, in bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Which file was read: another one, or the same one changed, has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file that was read or written, held open: as long as it is, no other file can have its inode.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    _file: File,
}

impl Seen {
    fn of(file: File) -> io::Result<Self> {
        Ok(Self {
            stamp: stamp_of(&file.metadata()?),
            _file: file,
        })
    }
}

/// What is there.
#[derive(Debug)]
pub(super) enum Found {
    /// No file yet.
    Nothing,
    /// A state.
    State(Box<State>, Seen),
    /// A file that is none: what is wrong with it.
    Corrupt(String),
}

/// The stamp of the file, if there is one.
pub(super) fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match fs::metadata(path) {
        // A pipe would be waited for for ever, and a folder says nothing useful.
        Ok(meta) if !meta.is_file() => Err(io::Error::other("something that is no file is in its place")),
        Ok(meta) => Ok(Some(stamp_of(&meta))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn stamp_of(meta: &fs::Metadata) -> Stamp {
    Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

/// The seed's `readState`.
///
/// # Errors
/// When the file cannot be read at all (a folder in its place, no permission).
pub(super) fn read_state(path: &Path) -> io::Result<Found> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    // Before the content: a change that comes in between gives another stamp.
    let meta = file.metadata()?;
    if meta.size() > LARGEST {
        return Err(io::Error::other(format!(
            "it has {} bytes, at most {LARGEST} are read",
            meta.size()
        )));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    if let Ok(Versioned { version }) = serde_json::from_slice(&text)
        && version > VERSION
    {
        return Err(io::Error::other(format!(
            "it has version {version} and this Firstlight knows {VERSION}: run a newer one, or move the file away"
        )));
    }
    match serde_json::from_slice::<State>(&text) {
        Ok(mut state) => {
            state.index();
            let stamp = stamp_of(&meta);
            Ok(Found::State(Box::new(state), Seen { stamp, _file: file }))
        }
        // Its own words quote no content, only what was expected, and where.
        Err(error) => Ok(Found::Corrupt(error.to_string())),
    }
}

/// What every version of the file has.
#[derive(serde::Deserialize)]
struct Versioned {
    version: u64,
}

/// The names of broken files that were set aside and still lie there, oldest first.
pub(super) fn lying_aside(path: &Path) -> Vec<String> {
    let aside = beside(path, ".corrupt-");
    let Some((folder, start)) = path.parent().zip(aside.file_name().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(start))
        .collect();
    names.sort();
    names
}

/// Moves a file that is no state aside. Answers where to.
///
/// # Errors
/// When it cannot be moved; it is still in its place then.
pub(super) fn set_aside(path: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    let time = now.format("%Y%m%dT%H%M%S%3fZ").to_string();
    for more in 0..NAMES {
        let suffix = if more == 0 {
            time.clone()
        } else {
            format!("{time}-{more}")
        };
        let aside = beside(path, &format!(".corrupt-{suffix}"));
        if aside.exists() {
            continue;
        }
        fs::rename(path, &aside)?;
        sync_folder(path)?;
        return Ok(aside);
    }
    Err(io::Error::other("too many corrupt files lie beside it already"))
}

/// The seed's `writeState`: normalized, two spaces of indentation and a final newline; a temporary file in the same folder,
/// flushed, renamed over the old one, and the folder flushed. Where the system does not rename over a file, it is copied.
/// The temporary file is always removed.
///
/// # Errors
/// When it could not be written; the old file is as it was.
pub(super) fn write_state(path: &Path, state: &mut State, now: DateTime<Utc>) -> io::Result<Seen> {
    normalize_state(state);
    let mut text = serde_json::to_vec_pretty(state).map_err(io::Error::other)?;
    text.push(b'\n');
    let folder = path.parent().ok_or_else(|| io::Error::other("it has no folder"))?;
    make_folder(folder)?;
    let (mut file, temporary) = temporary(path, now)?;
    let written = file
        .write_all(&text)
        .and_then(|()| file.sync_all())
        .and_then(|()| replace(&temporary, path));
    // After a rename there is nothing to remove.
    let _ = fs::remove_file(&temporary);
    written?;
    sync_folder(path)?;
    Seen::of(File::open(path)?)
}

fn temporary(path: &Path, now: DateTime<Utc>) -> io::Result<(File, PathBuf)> {
    let pid = std::process::id();
    for later in 0..i64::from(NAMES) {
        let name = beside(path, &format!(".{pid}.{}.tmp", now.timestamp_millis() + later));
        match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(
        "every temporary name is taken; remove the *.tmp files beside it",
    ))
}

fn replace(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(temporary, path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::AlreadyExists
            ) =>
        {
            fs::copy(temporary, path)?;
            File::open(path)?.sync_all()
        }
        done => done,
    }
}

/// Makes the state's folder where it is not there. It has to outlive a power cut as the file does.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    sync_folder(folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_123).expect("a time")
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("read").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_is_read_again_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/integrations.json");
        let written = write_state(&path, &mut State::default(), at()).expect("written");
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("{\n  \"version\": 1,\n"), "{text}");
        assert!(text.ends_with("}\n"), "{text}");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let Found::State(_, read) = read_state(&path).expect("read") else {
            panic!("a state")
        };
        assert_eq!(read.stamp, written.stamp);
        assert_eq!(
            names(path.parent().expect("a folder")),
            ["integrations.json"],
            "no temporary file stays"
        );
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_temporary_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("integrations.json");
        fs::create_dir(&path).expect("made");
        write_state(&path, &mut State::default(), at()).expect_err("a folder is in its place");
        assert_eq!(names(folder.path()), ["integrations.json"]);
        assert!(read_state(&path).is_err());
    }

    #[test]
    fn another_file_has_another_stamp_however_fast_it_came() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("integrations.json");
        let first = write_state(&path, &mut State::default(), at()).expect("written");
        for _ in 0..20 {
            write_state(&path, &mut State::default(), at()).expect("written");
            assert_ne!(stamp(&path).expect("there"), Some(first.stamp));
        }
    }

    #[test]
    fn a_pipe_in_the_files_place_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("integrations.json");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("made");
        assert!(made.success());
        assert!(stamp(&path).expect_err("no file").to_string().contains("no file"));
    }

    #[test]
    fn a_temporary_name_that_is_taken_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("integrations.json");
        let taken = beside(&path, &format!(".{}.1700000000123.tmp", std::process::id()));
        fs::write(&taken, "somebody's").expect("written");
        write_state(&path, &mut State::default(), at()).expect("written");
        assert_eq!(fs::read_to_string(&taken).expect("read"), "somebody's");
    }

    #[test]
    fn a_broken_file_is_set_aside_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("integrations.json");
        for text in ["{\"version\":1,", "[]", "{\"webhooks\":\"none\"}", "\u{0}"] {
            fs::write(&path, text).expect("written");
            assert!(matches!(read_state(&path).expect("read"), Found::Corrupt(_)), "{text}");
            let aside = set_aside(&path, at()).expect("moved");
            assert_eq!(fs::read_to_string(aside).expect("read"), text);
        }
        assert_eq!(names(folder.path()).len(), 4);
        assert!(names(folder.path())[0].starts_with("integrations.json.corrupt-20231114T221320123Z"));
    }
}
