//! The log of one phase: everything its processes printed, up to a cap, readable while it grows. Knows no process.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

/// A phase's log. A log that cannot be written is reported once and then ignored: the phase's work is worth more than its record.
#[derive(Debug)]
pub(crate) struct PhaseLog {
    path: PathBuf,
    file: Option<File>,
    cap: u64,
    written: u64,
    dropped: u64,
    /// Whether the last byte was a line feed, so that a note begins on its own line.
    at_line_start: bool,
}

impl PhaseLog {
    /// Opens the log for appending; `cap` bytes of output may follow. A second attempt begins with a line that separates it.
    pub(crate) async fn open(path: &Path, cap: u64, attempt: u32) -> Self {
        let mut log = Self {
            path: path.to_path_buf(),
            file: None,
            cap,
            written: 0,
            dropped: 0,
            at_line_start: true,
        };
        match open_append(path).await {
            Ok(file) => log.file = Some(file),
            Err(error) => log.give_up(&error),
        }
        if attempt > 1 {
            // Where the attempt before was cut off is not known, hence the empty line.
            log.put(b"\n").await;
            log.note(&format!("attempt {attempt}")).await;
        }
        log
    }

    /// Takes what a process printed; what is over the cap is counted and dropped.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let room = self.cap.saturating_sub(self.written);
        let fits = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        let (kept, over) = bytes.split_at(fits);
        if !kept.is_empty() {
            self.put(kept).await;
            self.written += kept.len() as u64;
            self.at_line_start = kept.ends_with(b"\n");
        }
        if !over.is_empty() {
            if self.dropped == 0 {
                let cap = self.cap;
                self.note(&format!("log cut after {cap} bytes; the rest is read and dropped"))
                    .await;
            }
            self.dropped += over.len() as u64;
        }
    }

    /// Writes a line of our own, recognisable as such; it does not count against the cap.
    pub(crate) async fn note(&mut self, text: &str) {
        let lead = if self.at_line_start { "" } else { "\n" };
        self.put(format!("{lead}[firstlight] {text}\n").as_bytes()).await;
        self.at_line_start = true;
    }

    /// Says how much was dropped, if anything was, and closes the file.
    pub(crate) async fn close(mut self) {
        if self.dropped > 0 {
            let dropped = self.dropped;
            self.note(&format!("{dropped} bytes were dropped")).await;
        }
    }

    async fn put(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let done = match file.write_all(bytes).await {
            // Flushed at once: people follow the log while it grows.
            Ok(()) => file.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        self.file = None;
        tracing::warn!(log = %self.path.display(), %error, "phase log cannot be written; the phase goes on without it");
    }
}

async fn open_append(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    OpenOptions::new().create(true).append(true).open(path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_log_is_cut_at_its_cap_with_a_visible_line() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("run/plan.log");
        let mut log = PhaseLog::open(&path, 10, 1).await;
        log.write(b"12345678").await;
        log.write(b"90abcdef").await;
        log.write(b"ghi").await;
        log.close().await;
        let text = std::fs::read_to_string(&path).expect("log");
        assert_eq!(
            text,
            "1234567890\n[firstlight] log cut after 10 bytes; the rest is read and dropped\n[firstlight] 9 bytes were dropped\n"
        );
    }

    #[actix::test]
    async fn a_second_attempt_is_appended_behind_a_separator() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("plan.log");
        for attempt in [1, 2] {
            let mut log = PhaseLog::open(&path, 100, attempt).await;
            log.write(b"half a li").await;
            log.close().await;
        }
        let text = std::fs::read_to_string(&path).expect("log");
        assert_eq!(text, "half a li\n[firstlight] attempt 2\nhalf a li");
    }

    #[actix::test]
    async fn a_log_that_cannot_be_opened_stops_nothing() {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::write(folder.path().join("file"), "").expect("write");
        let mut log = PhaseLog::open(&folder.path().join("file/plan.log"), 100, 1).await;
        log.write(b"x").await;
        log.close().await;
    }
}
