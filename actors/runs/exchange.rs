//! The files through which an agent gets its prompt and gives its answer. Knows no process; does blocking I/O.
//!
//! They lie in the work folder, where an earlier phase may have put anything: a link is never followed, neither in
//! writing nor in reading, so that nobody's agent can make us show it a file of ours.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};

use crate::domain::PhaseName;

/// Its folder in the work folder.
const FOLDER: &str = ".firstlight";

/// The two files of one phase.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    work: PathBuf,
    prompt_name: String,
    output_name: String,
}

impl Exchange {
    /// Names the files; touches nothing.
    pub(crate) fn of(work: &Path, phase: &PhaseName) -> Self {
        Self {
            work: work.to_path_buf(),
            prompt_name: format!("{phase}.prompt.md"),
            output_name: format!("{phase}.output"),
        }
    }

    /// Where the prompt is.
    pub(crate) fn prompt(&self) -> PathBuf {
        self.work.join(FOLDER).join(&self.prompt_name)
    }

    /// Where the answer is expected.
    pub(crate) fn output(&self) -> PathBuf {
        self.work.join(FOLDER).join(&self.output_name)
    }

    /// Makes the folder, writes the prompt if it goes through a file, and clears an answer of an earlier attempt away.
    ///
    /// # Errors
    /// What the disk said, or that something else stands in the folder's place.
    pub(crate) fn lay_out(&self, prompt: Option<&str>) -> io::Result<()> {
        let work = open(&self.work, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match mkdirat(&work, FOLDER, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = self.folder()?;
        clear(&folder, &self.prompt_name)?;
        clear(&folder, &self.output_name)?;
        if let Some(prompt) = prompt {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&folder, &*self.prompt_name, flags, Mode::RUSR | Mode::WUSR)?;
            File::from(file).write_all(prompt.as_bytes())?;
        }
        Ok(())
    }

    /// The first `most` bytes of the answer and whether there is more; nothing if none was written.
    ///
    /// # Errors
    /// What the disk said, or that it is no plain file.
    pub(crate) fn answer(&self, most: usize) -> io::Result<Option<(Vec<u8>, bool)>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match self
            .folder()
            .and_then(|folder| Ok(openat(&folder, &*self.output_name, flags, Mode::empty())?))
        {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no plain file"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX);
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        let more = bytes.len() > most;
        bytes.truncate(most);
        Ok(Some((bytes, more)))
    }

    fn folder(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(open(self.work.join(FOLDER), flags, Mode::empty())?)
    }
}

fn clear(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn bench() -> (tempfile::TempDir, Exchange) {
        let folder = tempfile::tempdir().expect("temp folder");
        let exchange = Exchange::of(folder.path(), &"plan".parse().expect("valid"));
        (folder, exchange)
    }

    #[test]
    fn a_prompt_goes_in_and_an_answer_comes_out_up_to_its_limit() {
        let (_folder, exchange) = bench();
        exchange.lay_out(Some("do it")).expect("laid out");
        assert_eq!(std::fs::read_to_string(exchange.prompt()).expect("there"), "do it");
        assert_eq!(exchange.answer(10).expect("reads"), None);
        std::fs::write(exchange.output(), "0123456789ab").expect("written");
        assert_eq!(
            exchange.answer(10).expect("reads"),
            Some((b"0123456789".to_vec(), true))
        );
        assert_eq!(
            exchange.answer(12).expect("reads"),
            Some((b"0123456789ab".to_vec(), false))
        );
        exchange.lay_out(Some("again")).expect("laid out");
        assert_eq!(exchange.answer(12).expect("reads"), None, "an old answer is none");
    }

    #[test]
    fn links_are_followed_neither_in_reading_nor_in_writing() {
        let (folder, exchange) = bench();
        let ours = folder.path().join("ours");
        std::fs::write(&ours, "secret").expect("written");
        exchange.lay_out(None).expect("laid out");
        symlink(&ours, exchange.output()).expect("linked");
        assert!(exchange.answer(100).is_err());
        symlink(&ours, exchange.prompt()).expect("linked");
        exchange.lay_out(Some("prompt")).expect("laid out");
        assert_eq!(std::fs::read_to_string(&ours).expect("there"), "secret");
        std::fs::remove_dir_all(folder.path().join(FOLDER)).expect("removed");
        symlink(folder.path(), folder.path().join(FOLDER)).expect("linked");
        assert!(exchange.lay_out(Some("prompt")).is_err());
        assert!(exchange.answer(100).is_err());
    }
}
