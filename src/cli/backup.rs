//! `firstlight backup` and `firstlight restore`: the state folder as a copy that is whole. Works on files; needs no server.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use actors::clock::{Clock, SystemClock};
use actors::store::sqlite::{check, copy};
use anyhow::{Context, bail, ensure};
use chrono::SecondsFormat;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::exit;
use crate::boot;
use crate::settings::{Settings, Sources};

/// What a backup holds, as paths in the state folder. The database is copied by itself; logs and working folders are not state.
const FILES: &[&str] = &["state/integrations.json"];
const DATABASE: &str = "firstlight.db";
const SECRETS: &str = "secrets";
const MANIFEST: &str = "backup.json";

/// `firstlight backup`.
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgs {
    /// A folder that is not there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Leave the secrets out; tokens and webhooks then do not survive a restore unless they are set in the settings
    #[arg(long)]
    without_secrets: bool,
}

/// `firstlight restore`.
#[derive(Debug, Clone, Args)]
pub(super) struct RestoreArgs {
    /// A folder that `firstlight backup` made
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    program: String,
    created_at: String,
    files: Vec<String>,
}

pub(super) fn backup(args: &BackupArgs, sources: &Sources) -> ExitCode {
    finish(state_dir(sources), |state| {
        let files = take(state, &args.to, !args.without_secrets)?;
        println!("{} files are in {}", files.len(), args.to.display());
        Ok(())
    })
}

pub(super) fn restore(args: &RestoreArgs, sources: &Sources) -> ExitCode {
    finish(state_dir(sources), |state| {
        let aside = give_back(&args.from, state)?;
        println!("restored {} from {}", state.display(), args.from.display());
        if let Some(aside) = aside {
            println!("what was there before is in {}", aside.display());
        }
        Ok(())
    })
}

fn state_dir(sources: &Sources) -> Result<PathBuf, ExitCode> {
    Settings::load(sources)
        .map(|loaded| loaded.settings.state_dir)
        .map_err(|mistakes| super::report(&mistakes))
}

fn finish(state: Result<PathBuf, ExitCode>, work: impl FnOnce(&Path) -> anyhow::Result<()>) -> ExitCode {
    match state.map(|state| work(&state)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("firstlight: {error:#}");
            ExitCode::from(exit::RUNTIME)
        }
        Err(code) => code,
    }
}

/// Copies the state folder into a new folder. The service may run meanwhile. Answers what was copied.
fn take(state: &Path, to: &Path, secrets: bool) -> anyhow::Result<Vec<String>> {
    ensure!(
        state.join(DATABASE).is_file(),
        "there is no database in {}; is this the state folder of the service? (--state-dir)",
        state.display()
    );
    private_folder(to).with_context(|| format!("cannot make the folder {}; it must not be there yet", to.display()))?;
    copy(&state.join(DATABASE), &to.join(DATABASE))?;
    let mut files = vec![DATABASE.to_owned()];
    let mut wanted: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
    if secrets {
        wanted.extend(
            names_in(&state.join(SECRETS))?
                .into_iter()
                .map(|name| format!("{SECRETS}/{name}")),
        );
    }
    for file in wanted {
        if !state.join(&file).is_file() {
            continue;
        }
        copy_private(&state.join(&file), &to.join(&file)).with_context(|| format!("cannot copy {file}"))?;
        files.push(file);
    }
    let manifest = Manifest {
        version: 1,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: SystemClock.now().to_rfc3339_opts(SecondsFormat::Secs, true),
        files: files.clone(),
    };
    // Written last: a folder without it is a backup that was cut off.
    write_private(&to.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)
        .with_context(|| format!("cannot write {MANIFEST}"))?;
    sync_folder(to)?;
    Ok(files)
}

/// Puts a backup in the place of the state folder's files, which are moved aside first. Answers where to.
fn give_back(from: &Path, state: &Path) -> anyhow::Result<Option<PathBuf>> {
    let manifest = fs::read(from.join(MANIFEST))
        .with_context(|| format!("{} is no whole backup: {MANIFEST} cannot be read", from.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&manifest).with_context(|| format!("{MANIFEST} of {} is not ours", from.display()))?;
    ensure!(
        manifest.version == 1,
        "the backup is of version {}, this program knows version 1; restore it with firstlight {}",
        manifest.version,
        manifest.program
    );
    for file in &manifest.files {
        let known = file == DATABASE
            || FILES.contains(&file.as_str())
            || file
                .strip_prefix("secrets/")
                .is_some_and(|name| !name.contains('/') && !name.starts_with('.'));
        ensure!(known, "the backup names {file:?}, which is no part of a state folder");
        ensure!(from.join(file).is_file(), "the backup lacks {file}");
    }
    // Everything is read and found good before anything is moved.
    check(&from.join(DATABASE))?;
    boot::make_state_dir(state)?;
    let _only_one = boot::lock(state)?;

    let aside = state.join(format!("before-restore-{}", SystemClock.now().format("%Y%m%dT%H%M%SZ")));
    let mut moved = false;
    // A write-ahead log of the old database would be taken for the new one's.
    let there = manifest
        .files
        .iter()
        .cloned()
        .chain(["-wal", "-shm"].map(|end| format!("{DATABASE}{end}")));
    for file in there {
        let old = state.join(&file);
        if !old.exists() {
            continue;
        }
        let kept = aside.join(&file);
        if let Some(folder) = kept.parent() {
            private_folder_if_missing(folder)?;
        }
        fs::rename(&old, &kept).with_context(|| format!("cannot move {} aside", old.display()))?;
        moved = true;
    }
    for file in &manifest.files {
        copy_private(&from.join(file), &state.join(file))
            .with_context(|| format!("cannot restore {file}; what was there before is in {}", aside.display()))?;
    }
    sync_folder(state)?;
    Ok(moved.then_some(aside))
}

fn names_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else {
            bail!("a file in {} has a name that is not UTF-8", folder.display());
        };
        names.push(name);
    }
    names.sort();
    Ok(names)
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn private_folder_if_missing(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn copy_private(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(folder) = to.parent() {
        private_folder_if_missing(folder)?;
    }
    write_private(to, &fs::read(from)?)
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> anyhow::Result<()> {
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot flush {}", path.display()))
}

#[cfg(test)]
mod tests {
    use actors::store::Store;
    use actors::store::sqlite::{SqliteOptions, SqliteStore};

    use super::*;

    async fn a_state_folder(at: &Path) {
        let store = SqliteStore::open(SqliteOptions::at(at.join(DATABASE)), SystemClock::shared()).expect("opened");
        store.close().await.expect("closed");
        for (file, text) in [("state/integrations.json", "{}"), ("secrets/admin_secret", "hush")] {
            private_folder_if_missing(at.join(file).parent().expect("a folder")).expect("made");
            write_private(&at.join(file), text.as_bytes()).expect("written");
        }
    }

    #[actix_rt::test]
    async fn what_was_backed_up_comes_back_and_what_was_there_is_kept() {
        let place = tempfile::tempdir().expect("a folder");
        let (state, to) = (place.path().join("state"), place.path().join("backups/monday"));
        fs::create_dir(&state).expect("made");
        a_state_folder(&state).await;
        let files = take(&state, &to, true).expect("taken");
        assert_eq!(
            files,
            ["firstlight.db", "state/integrations.json", "secrets/admin_secret"]
        );

        fs::write(state.join("state/integrations.json"), "{\"changed\":true}").expect("written");
        fs::write(state.join("firstlight.db-wal"), "an old log").expect("written");
        let aside = give_back(&to, &state).expect("restored").expect("something was there");
        let read = |path: PathBuf| fs::read_to_string(path).expect("read");
        assert_eq!(read(state.join("state/integrations.json")), "{}");
        assert_eq!(read(state.join("secrets/admin_secret")), "hush");
        assert_eq!(read(aside.join("state/integrations.json")), "{\"changed\":true}");
        assert!(
            !state.join("firstlight.db-wal").exists(),
            "an old log beside a new database"
        );
    }

    #[actix_rt::test]
    async fn secrets_can_stay_out_and_a_backup_is_never_written_over() {
        let place = tempfile::tempdir().expect("a folder");
        let (state, to) = (place.path().join("state"), place.path().join("backup"));
        fs::create_dir(&state).expect("made");
        a_state_folder(&state).await;
        let files = take(&state, &to, false).expect("taken");
        assert_eq!(files, ["firstlight.db", "state/integrations.json"]);
        let error = take(&state, &to, false).expect_err("it is there");
        assert!(format!("{error:#}").contains("must not be there yet"), "{error:#}");
    }

    #[actix_rt::test]
    async fn a_backup_that_is_not_whole_changes_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let (state, to) = (place.path().join("state"), place.path().join("backup"));
        fs::create_dir(&state).expect("made");
        a_state_folder(&state).await;
        take(&state, &to, true).expect("taken");
        fs::write(to.join(DATABASE), "rubbish").expect("written");
        fs::write(state.join("state/integrations.json"), "mine").expect("written");
        give_back(&to, &state).expect_err("damaged");
        assert_eq!(
            fs::read_to_string(state.join("state/integrations.json")).expect("read"),
            "mine"
        );
        fs::remove_file(to.join(MANIFEST)).expect("removed");
        let error = give_back(&to, &state).expect_err("cut off");
        assert!(format!("{error:#}").contains("no whole backup"), "{error:#}");
    }

    #[actix_rt::test]
    async fn nothing_is_restored_under_a_running_service_or_outside_the_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let (state, to) = (place.path().join("state"), place.path().join("backup"));
        fs::create_dir(&state).expect("made");
        a_state_folder(&state).await;
        take(&state, &to, true).expect("taken");
        let lock = boot::lock(&state).expect("free");
        let error = give_back(&to, &state).expect_err("locked");
        assert!(format!("{error:#}").contains("another firstlight"), "{error:#}");
        drop(lock);
        let manifest = fs::read_to_string(to.join(MANIFEST)).expect("read");
        fs::write(to.join(MANIFEST), manifest.replace("secrets/admin_secret", "../evil")).expect("written");
        let error = give_back(&to, &state).expect_err("outside");
        assert!(format!("{error:#}").contains("../evil"), "{error:#}");
    }
}
