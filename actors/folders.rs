//! Folders of runs: touched while they are worked in, removed when their run is over and they have lain long enough. Knows no run.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// Notes that a folder was worked in: its time of change is what counts when it is to be removed.
pub(crate) async fn touch(folder: PathBuf, now: DateTime<Utc>) {
    let touched = tokio::task::spawn_blocking(move || File::open(folder)?.set_modified(SystemTime::from(now)));
    if let Ok(Err(error)) = touched.await {
        // Removed a little early at worst; a phase may also have removed its folder itself.
        tracing::debug!(%error, "a work folder could not be touched");
    }
}

/// The names of the folders in `work` that nobody has worked in since `before`.
pub(crate) async fn older_than(work: PathBuf, before: DateTime<Utc>) -> Vec<String> {
    let before = SystemTime::from(before);
    let found = tokio::task::spawn_blocking(move || {
        let Ok(entries) = std::fs::read_dir(&work) else {
            return Vec::new();
        };
        let old = entries.flatten().filter(|entry| {
            let changed = entry
                .metadata()
                .ok()
                .filter(std::fs::Metadata::is_dir)
                .map(|data| data.modified());
            changed.is_some_and(|changed| changed.is_ok_and(|changed| changed < before))
        });
        old.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    });
    found.await.unwrap_or_default()
}

/// Removes these folders of `work` but those that are needed still. Says how many are gone.
pub(crate) async fn remove(work: PathBuf, names: Vec<String>, needed: BTreeSet<String>) -> usize {
    let removed = tokio::task::spawn_blocking(move || {
        let unneeded = names.iter().filter(|name| !needed.contains(*name));
        unneeded.filter(|name| remove_one(&work.join(name))).count()
    });
    removed.await.unwrap_or(0)
}

/// Removes these folders of `parent` where they are. Says how many are gone.
pub(crate) async fn remove_those(parent: PathBuf, names: Vec<String>) -> usize {
    let there = move || {
        let folders = names.iter().map(|name| parent.join(name));
        folders.filter(|folder| folder.is_dir() && remove_one(folder)).count()
    };
    tokio::task::spawn_blocking(there).await.unwrap_or(0)
}

fn remove_one(folder: &Path) -> bool {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => true,
        Err(error) => {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "a folder of a run that is not needed any more could not be removed");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[actix::test]
    async fn only_folders_that_are_old_and_not_needed_are_removed() {
        let folder = tempfile::tempdir().expect("temp folder");
        let work = folder.path().to_path_buf();
        let now = SystemClock.now();
        for (name, days) in [("old", 8), ("needed", 8), ("young", 6)] {
            std::fs::create_dir_all(work.join(name).join("deep")).expect("made");
            touch(work.join(name), now - Duration::from_secs(days * 86_400)).await;
        }
        std::fs::write(work.join("file"), "").expect("written");
        let old = older_than(work.clone(), now - Duration::from_secs(7 * 86_400)).await;
        assert_eq!(
            BTreeSet::from_iter(old.clone()),
            BTreeSet::from(["old".to_owned(), "needed".to_owned()])
        );
        let removed = remove(work.clone(), old, BTreeSet::from(["needed".to_owned()])).await;
        assert_eq!(removed, 1);
        assert!(!work.join("old").exists() && work.join("needed").exists() && work.join("young").exists());
        touch(work.join("gone"), now).await;
        assert_eq!(older_than(work.join("nowhere"), now).await, Vec::<String>::new());
    }
}
