//! The watch on the overlay folder: tells that something changed, not what. Knows the file system; never an actor.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Watches a folder and all below it until it is dropped.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    folder: PathBuf,
}

impl Watch {
    /// Calls `changed` from a thread of its own after each change, and more often than that.
    ///
    /// # Errors
    /// When the system gives no watch; in words.
    pub(super) fn open(folder: &Path, changed: impl Fn() + Send + 'static) -> Result<Self, String> {
        // The folder as the system names it, because that is how it names what changes.
        let folder = folder.canonicalize().map_err(|error| error.to_string())?;
        let within = folder.clone();
        let heard = move |event: notify::Result<Event>| match event {
            Ok(event) if concerns(&event, &within) => changed(),
            Ok(_) => {}
            // It may have missed something, for instance because too much happened at once.
            Err(_) => changed(),
        };
        let mut watch = Self {
            watcher: notify::recommended_watcher(heard).map_err(|error| error.to_string())?,
            folder,
        };
        if let Some(parent) = watch.folder.parent() {
            // The folder itself may be moved away and another put in its place, which only its parent sees.
            watch
                .watcher
                .watch(parent, RecursiveMode::NonRecursive)
                .map_err(|error| error.to_string())?;
        }
        watch.renew()?;
        Ok(watch)
    }

    /// Watches the folder that is there now; an earlier one of the same name may be gone.
    ///
    /// # Errors
    /// When there is none, or the system gives no watch; in words.
    pub(super) fn renew(&mut self) -> Result<(), String> {
        let _ = self.watcher.unwatch(&self.folder);
        self.watcher
            .watch(&self.folder, RecursiveMode::Recursive)
            .map_err(|error| error.to_string())
    }
}

/// Reading changes nothing, and the librarian reads; were it told, it would read for ever.
fn concerns(event: &Event, folder: &Path) -> bool {
    let writes = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    writes && (event.need_rescan() || event.paths.iter().any(|path| path.starts_with(folder)))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, ModifyKind};

    use super::*;

    #[test]
    fn only_changes_within_the_folder_count() {
        let folder = Path::new("/etc/firstlight");
        for (kind, path, counts) in [
            (
                EventKind::Create(CreateKind::File),
                "/etc/firstlight/workflows/a.yaml",
                true,
            ),
            (
                EventKind::Modify(ModifyKind::Data(DataChange::Any)),
                "/etc/firstlight/a",
                true,
            ),
            (
                EventKind::Access(AccessKind::Close(AccessMode::Write)),
                "/etc/firstlight/a",
                true,
            ),
            (
                EventKind::Access(AccessKind::Close(AccessMode::Read)),
                "/etc/firstlight/a",
                false,
            ),
            (
                EventKind::Access(AccessKind::Open(AccessMode::Any)),
                "/etc/firstlight/a",
                false,
            ),
            (EventKind::Create(CreateKind::Folder), "/etc/firstlight", true),
            (EventKind::Create(CreateKind::File), "/etc/hosts", false),
            (EventKind::Create(CreateKind::File), "/etc/firstlight.yaml", false),
        ] {
            let event = Event::new(kind).add_path(path.into());
            assert_eq!(concerns(&event, folder), counts, "{event:?}");
        }
    }
}
