//! Commits what changed in one repository because of an integration event. Knows domain, messages, clock and `git`; never the state.
//!
//! It works beside whoever works in that repository: an index of its own, explicit paths, and a branch that is moved only from
//! where it was found. A lock that somebody else holds is never touched, no hook runs, and nothing is signed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use actix::prelude::*;
use anyhow::{Context as _, bail, ensure};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::clock::SharedClock;
use crate::domain::IntegrationEvent;
use crate::house::Bell;
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::integrations::{AutoCommit, AutoCommitted, IntegrationFault, IntegrationResult};

/// How long one command of git may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a branch that somebody moved meanwhile is tried again.
const TRIES: u32 = 3;
/// What lies in git's folder while somebody is in the middle of something that ends with a commit of theirs.
const UNDER_WAY: [(&str, &str); 5] = [
    ("MERGE_HEAD", "a merge"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("rebase-apply", "a rebase"),
    ("rebase-merge", "a rebase"),
];
/// Paths that are named in an answer; a first commit of a large repository has more.
const MOST_PATHS: usize = 1_000;
/// Orders that may wait; one more is told that the house is busy.
const MAILBOX: usize = 256;

/// What is committed to.
#[derive(Debug, Clone, Default)]
pub struct GitConfig {
    /// Working folder of the repository; absent: nothing is ever committed.
    pub repository: Option<PathBuf>,
    /// Pathspecs of what is committed; empty: everything.
    pub paths: Vec<String>,
}

/// Commits, one order after the other. Handles [`AutoCommit`], [`AwaitQuiet`] and [`Finish`].
pub struct GitCommitter {
    config: GitConfig,
    clock: SharedClock,
    finished: u64,
    stopping: bool,
    _bell: Bell,
}

impl GitCommitter {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A committer for this repository.
    #[must_use]
    pub fn new(config: GitConfig, clock: SharedClock, bell: Bell) -> Self {
        Self {
            config,
            clock,
            finished: 0,
            stopping: false,
            _bell: bell,
        }
    }
}

impl Actor for GitCommitter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<AutoCommit> for GitCommitter {
    // Two at once would fight over the branch.
    type Result = AtomicResponse<Self, IntegrationResult<AutoCommitted>>;

    fn handle(&mut self, order: AutoCommit, _: &mut Context<Self>) -> Self::Result {
        if self.stopping {
            return AtomicResponse::new(Box::pin(actix::fut::ready(Err(IntegrationFault::GoingDown))));
        }
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let work = async move { commit(&config, &clock, &order).await };
        AtomicResponse::new(Box::pin(work.into_actor(self).map(|done, committer, _| {
            committer.finished += 1;
            Ok(done)
        })))
    }
}

impl Handler<Ping> for GitCommitter {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for GitCommitter {
    type Result = AtomicResponse<Self, u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Context<Self>) -> Self::Result {
        AtomicResponse::new(Box::pin(actix::fut::ready(self.finished)))
    }
}

impl Handler<Finish> for GitCommitter {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Finish, _: &mut Context<Self>) -> Self::Result {
        self.stopping = true;
        AtomicResponse::new(Box::pin(actix::fut::ready(())))
    }
}

/// Why there is no commit is an answer, too: nobody can do anything about it but the operator.
async fn commit(config: &GitConfig, clock: &SharedClock, order: &AutoCommit) -> AutoCommitted {
    let nothing = |reason: String| AutoCommitted {
        commit: None,
        paths: Vec::new(),
        reason: Some(reason),
    };
    let Some(repository) = &config.repository else {
        return nothing("no repository is set: name one in git_auto_commit.repository".to_owned());
    };
    let git = Git { repository, clock };
    for _ in 0..TRIES {
        match attempt(&git, config, order).await {
            Ok(Some(done)) => {
                match &done.commit {
                    Some(commit) => {
                        tracing::info!(commit, event = %order.event, event.id = order.id, "committed automatically");
                    }
                    None => tracing::debug!(reason = done.reason, event = %order.event, "nothing was committed"),
                }
                return done;
            }
            Ok(None) => {}
            Err(error) => {
                let words = format!("{error:#}");
                tracing::warn!(error = words, event = %order.event, event.id = order.id, "an automatic commit failed");
                return nothing(words);
            }
        }
    }
    nothing(format!(
        "somebody else moved the branch {TRIES} times meanwhile; it is tried again at the next event"
    ))
}

/// One try. Nothing: the branch was moved meanwhile.
async fn attempt(git: &Git<'_>, config: &GitConfig, order: &AutoCommit) -> anyhow::Result<Option<AutoCommitted>> {
    let places = [
        "rev-parse",
        "--path-format=absolute",
        "--show-toplevel",
        "--git-dir",
        "--git-path",
        "index",
    ];
    let places = git
        .run(None, &places, None)
        .await
        .with_context(|| format!("{} is no working folder of git", git.repository.display()))?;
    let mut places = places
        .split(|byte| *byte == b'\n')
        .map(|line| Path::new(OsStr::from_bytes(line)));
    let (Some(top), Some(git_dir), Some(real_index)) = (places.next(), places.next(), places.next()) else {
        bail!(
            "git rev-parse does not say where {} has its things",
            git.repository.display()
        );
    };
    let git = &Git {
        repository: top,
        clock: git.clock,
    };
    // A conflict's marks would be committed, and the other parent forgotten.
    for (sign, what) in UNDER_WAY {
        ensure!(
            !git_dir.join(sign).exists(),
            "{what} is under way; what changed is committed after it"
        );
    }
    let branch = git
        .line(None, &["symbolic-ref", "-q", "HEAD"], None)
        .await
        .context("HEAD is detached; check a branch out to have changes committed to it")?;
    let parent = git
        .line(None, &["rev-parse", "-q", "--verify", "HEAD^{commit}"], None)
        .await
        .ok();

    // An index of our own: what somebody has staged is neither committed nor lost.
    let private = tempfile::tempdir().context("there is no room for a temporary index")?;
    let index = private.path().join("index");
    match &parent {
        Some(parent) => {
            let (from, to) = (real_index.to_owned(), index.clone());
            tokio::task::spawn_blocking(move || copy_index(&from, &to))
                .await
                .context("the copy of the index broke off")?
                .context("the index of the repository cannot be read")?;
            git.run(Some(&index), &["read-tree", "--reset", parent], None).await?;
        }
        None => {
            git.run(Some(&index), &["read-tree", "--empty"], None).await?;
        }
    }
    let mut add = vec!["add", "--all", "--"];
    let named = named(git, &index, &config.paths).await?;
    if named.is_empty() {
        return Ok(Some(AutoCommitted {
            commit: None,
            paths: Vec::new(),
            reason: Some("nothing changed: of git_auto_commit.paths, nothing is there that git would take".to_owned()),
        }));
    }
    add.extend(named);
    git.run(Some(&index), &add, None)
        .await
        .context("the paths of git_auto_commit.paths cannot be added")?;
    let tree = git.line(Some(&index), &["write-tree"], None).await?;
    let listed = match &parent {
        Some(parent) => {
            git.run(None, &["diff-tree", "-r", "-z", "--name-only", parent, &tree], None)
                .await?
        }
        None => {
            git.run(None, &["ls-tree", "-r", "-z", "--name-only", &tree], None)
                .await?
        }
    };
    let all: Vec<&[u8]> = names(&listed).collect();
    let paths = all
        .iter()
        .take(MOST_PATHS)
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    if all.is_empty() || order.dry_run {
        let reason = if all.is_empty() { "nothing changed" } else { "a dry run" };
        return Ok(Some(AutoCommitted {
            commit: None,
            paths,
            reason: Some(reason.to_owned()),
        }));
    }

    let identity = identity(git).await;
    let mut make: Vec<&str> = identity.iter().map(String::as_str).collect();
    make.extend(["commit-tree", "--no-gpg-sign", &tree, "-F", "-"]);
    if let Some(parent) = &parent {
        make.extend(["-p", parent]);
    }
    let message = message(order.event, &order.id);
    let commit = git.line(None, &make, Some(message.as_bytes())).await?;
    // What somebody staged stays staged; the entries that nobody touched follow the branch, or the next status would show
    // what was just committed as taken back.
    let staged = staged(git, parent.as_deref()).await?;
    let staged: HashSet<&[u8]> = names(&staged).collect();
    let old = parent.clone().unwrap_or_else(|| "0".repeat(commit.len()));
    let note = format!("firstlight: {}", order.event);
    let update = ["update-ref", "-m", &note, &branch, &commit, &old];
    if let Err(error) = git.run(None, &update, None).await {
        let now = git
            .line(None, &["rev-parse", "-q", "--verify", "HEAD^{commit}"], None)
            .await
            .ok();
        // Where nobody moved it, trying again would not help.
        return if now == parent { Err(error) } else { Ok(None) };
    }
    let mut follow = Vec::new();
    for path in all.iter().filter(|path| !staged.contains(*path)) {
        follow.extend_from_slice(path);
        follow.push(0);
    }
    if !follow.is_empty() {
        // Literal: a name may look like a pattern that takes in what somebody staged.
        let reset = [
            "--literal-pathspecs",
            "reset",
            "-q",
            "--pathspec-from-file=-",
            "--pathspec-file-nul",
            "HEAD",
        ];
        if let Err(error) = git.run(None, &reset, Some(&follow)).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "the commit is made; the index of the repository is in use and does not know it yet: git reset brings it up to date"
            );
        }
    }
    Ok(Some(AutoCommitted {
        commit: Some(commit),
        paths,
        reason: None,
    }))
}

/// Paths, each with a zero behind it, whose entry in the real index is not that of the commit: somebody staged them.
async fn staged(git: &Git<'_>, parent: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match parent {
        Some(parent) => {
            git.run(None, &["diff-index", "--cached", "-z", "--name-only", parent], None)
                .await
        }
        None => git.run(None, &["ls-files", "-z"], None).await,
    }
}

fn names(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|path| !path.is_empty())
}

/// Copies the real index, which knows which files are as they were: they need not be read again. Without one, nothing is copied.
fn copy_index(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = match File::open(from) {
        Ok(from) => from,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let written = from.metadata()?.modified()?;
    let mut to = File::create(to)?;
    io::copy(&mut from, &mut to)?;
    // Git takes a file that is not older than the index for one that may have changed. The copy must not look newer than it is.
    to.set_modified(written)
}

/// Those of the configured pathspecs that take anything in; `git add` would refuse all of them because of one that takes in
/// nothing (yet). Where none is configured, everything. Nothing where only exclusions are left of what was configured.
async fn named<'a>(git: &Git<'_>, index: &Path, paths: &'a [String]) -> anyhow::Result<Vec<&'a str>> {
    let (exclusions, wanted): (Vec<_>, Vec<_>) = paths.iter().map(String::as_str).partition(|spec| excludes(spec));
    let mut named = Vec::new();
    for spec in &wanted {
        let list = [
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            spec,
        ];
        let found = git.run(Some(index), &list, None).await;
        if !found
            .with_context(|| format!("git_auto_commit.paths has {spec:?}"))?
            .is_empty()
        {
            named.push(*spec);
        }
    }
    if wanted.is_empty() {
        named.push(".");
    }
    if !named.is_empty() {
        named.extend(exclusions);
    }
    Ok(named)
}

/// Whether a pathspec takes out instead of in (gitglossary, pathspec magic).
fn excludes(spec: &str) -> bool {
    let Some(magic) = spec.strip_prefix(':') else {
        return false;
    };
    match magic.strip_prefix('(') {
        Some(words) => words
            .split(')')
            .next()
            .is_some_and(|words| words.split(',').any(|word| word == "exclude")),
        None => magic
            .chars()
            .take_while(|sign| matches!(sign, '/' | '!' | '^'))
            .any(|sign| sign != '/'),
    }
}

/// Options that give a commit an author where the repository and its user have none.
async fn identity(git: &Git<'_>) -> Vec<String> {
    let mut options = Vec::new();
    for (key, usual) in [("user.name", "Firstlight"), ("user.email", "firstlight@localhost")] {
        let known = git
            .line(None, &["config", "--get", key], None)
            .await
            .is_ok_and(|value| !value.is_empty());
        if !known {
            options.extend(["-c".to_owned(), format!("{key}={usual}")]);
        }
    }
    options
}

fn message(event: IntegrationEvent, id: &str) -> String {
    // An id of others: one line of it, and not for ever.
    let id: String = id.chars().filter(|c| !c.is_control()).take(200).collect();
    format!(
        "{event}: changes up to {id}\n\nCommitted automatically by Firstlight because of the event {event}.\n\nEvent: {event}\nEvent-Id: {id}\n"
    )
}

/// Git in one folder.
struct Git<'a> {
    repository: &'a Path,
    clock: &'a SharedClock,
}

impl Git<'_> {
    /// The first line of what a command prints.
    async fn line(&self, index: Option<&Path>, args: &[&str], input: Option<&[u8]>) -> anyhow::Result<String> {
        let text = self.run(index, args, input).await?;
        Ok(String::from_utf8_lossy(&text)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    async fn run(&self, index: Option<&Path>, args: &[&str], input: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new("git");
        // Nothing of our environment but what git needs: neither our secrets nor somebody's GIT_DIR.
        command.env_clear();
        for name in ["PATH", "HOME", "XDG_CONFIG_HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .arg("-C")
            .arg(self.repository)
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
            .args(args)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(index) = index {
            command.env("GIT_INDEX_FILE", index);
        }
        let what = args
            .iter()
            .find(|arg| !arg.starts_with('-') && !arg.contains('='))
            .unwrap_or(&"");
        let mut child = command.spawn().context("git cannot be started; is it installed?")?;
        let stdin = child.stdin.take();
        let feed = async move {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A command that ends early says why by itself.
                let _ = stdin.write_all(input).await;
            }
        };
        let work = async { tokio::join!(child.wait_with_output(), feed).0 };
        let output = match select(Box::pin(work), self.clock.sleep(PATIENCE).boxed()).await {
            Either::Left((output, _)) => output.with_context(|| format!("git {what} broke off"))?,
            Either::Right(_) => bail!("git {what} did not end within {} s", PATIENCE.as_secs()),
        };
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "git {what} failed: {}",
            words.trim().chars().take(500).collect::<String>()
        );
        Ok(output.stdout)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::SystemClock;
    use crate::house::{Belfry, Bells};

    struct House {
        folder: tempfile::TempDir,
        committer: Addr<GitCommitter>,
        _belfry: Belfry,
    }

    fn git(folder: &Path, args: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a path"))
            .env("HOME", folder)
            .args(["-c", "user.name=ann", "-c", "user.email=ann@example.com"])
            .arg("-C")
            .arg(folder)
            .args(args)
            .output()
            .expect("git runs");
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    impl House {
        fn with(paths: &[&str]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            git(folder.path(), &["init", "-q", "-b", "main"]);
            git(folder.path(), &["config", "user.name", "bot"]);
            git(folder.path(), &["config", "user.email", "bot@example.com"]);
            let (bells, belfry) = Bells::hang();
            let config = GitConfig {
                repository: Some(folder.path().to_owned()),
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            };
            let committer = GitCommitter::new(config, SystemClock::shared(), bells.bell("git committer")).start();
            Self {
                folder,
                committer,
                _belfry: belfry,
            }
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }

        fn git(&self, args: &[&str]) -> String {
            git(self.folder.path(), args)
        }

        async fn commit(&self, dry_run: bool) -> AutoCommitted {
            let order = AutoCommit {
                event: IntegrationEvent::TaskSync,
                id: "e-1\nCo-authored-by: eve".into(),
                dry_run,
            };
            self.committer.send(order).await.expect("it lives").expect("answered")
        }
    }

    #[actix_rt::test]
    async fn what_changed_is_committed_and_the_message_names_event_and_id() {
        let house = House::with(&[]);
        house.write("notes/a.md", "one");
        let dry = house.commit(true).await;
        assert_eq!(
            (dry.commit, dry.paths, dry.reason.as_deref()),
            (None, vec!["notes/a.md".to_owned()], Some("a dry run"))
        );
        assert!(house.git(&["for-each-ref"]).is_empty(), "a dry run makes no commit");

        let first = house.commit(false).await;
        let commit = first.commit.expect("a commit");
        assert_eq!(house.git(&["rev-parse", "main"]), commit);
        let message = house.git(&["log", "-1", "--format=%B"]);
        assert!(
            message.starts_with("task.sync: ") && message.contains("Event-Id: e-1Co-authored-by: eve"),
            "{message}"
        );
        assert_eq!(house.git(&["status", "--porcelain"]), "", "the index knows the commit");

        let nothing = house.commit(false).await;
        assert_eq!(
            (nothing.commit, nothing.reason.as_deref()),
            (None, Some("nothing changed"))
        );

        house.write("notes/a.md", "two");
        fs::remove_file(house.folder.path().join("notes/a.md")).expect("removed");
        house.write("b \"quoted\" ü.md", "three");
        let second = house.commit(false).await;
        assert_eq!(second.paths, ["b \"quoted\" ü.md", "notes/a.md"]);
        assert_eq!(house.git(&["rev-list", "--count", "main"]), "2");
        assert_eq!(house.git(&["status", "--porcelain"]), "");
    }

    #[actix_rt::test]
    async fn only_the_named_paths_are_committed_and_what_is_staged_stays_staged() {
        let house = House::with(&["notes"]);
        for name in ["notes/a.md", "notes/b.md", "code/c.rs"] {
            house.write(name, "one");
        }
        house.git(&["add", "."]);
        house.git(&["commit", "-q", "-m", "by hand"]);
        house.write("notes/a.md", "two");
        house.write("notes/b.md", "staged");
        house.write("code/c.rs", "two");
        house.git(&["add", "notes/b.md", "code/c.rs"]);
        house.write("notes/b.md", "two");
        let done = house.commit(false).await;
        assert_eq!(done.paths, ["notes/a.md", "notes/b.md"]);
        assert_eq!(house.git(&["show", "HEAD:notes/b.md"]), "two");
        assert_eq!(
            house.git(&["show", ":notes/b.md"]),
            "staged",
            "what somebody staged is theirs"
        );
        assert_eq!(house.git(&["show", ":code/c.rs"]), "two");
        assert_eq!(house.git(&["show", "HEAD:code/c.rs"]), "one");
        assert_eq!(house.git(&["show", ":notes/a.md"]), "two");
    }

    #[actix_rt::test]
    async fn a_foreign_lock_is_not_touched_and_hinders_no_commit() {
        let house = House::with(&[]);
        house.write("a.md", "one");
        house.commit(false).await.commit.expect("a commit");
        let lock = house.folder.path().join(".git/index.lock");
        fs::write(&lock, "somebody's").expect("written");
        house.write("a.md", "two");
        let commit = house.commit(false).await.commit.expect("a commit");
        assert_eq!(house.git(&["rev-parse", "main"]), commit);
        assert_eq!(fs::read_to_string(&lock).expect("still there"), "somebody's");
    }

    #[actix_rt::test]
    async fn no_hook_runs_and_nothing_of_our_environment_leads_it_astray() {
        use std::os::unix::fs::PermissionsExt;
        let house = House::with(&[]);
        for hook in ["pre-commit", "reference-transaction", "post-index-change"] {
            let path = house.folder.path().join(".git/hooks").join(hook);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, "#!/bin/sh\ntouch \"$GIT_DIR/ran\"\nexit 1\n").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
        }
        house.write("a.md", "one");
        house.commit(false).await.commit.expect("a commit");
        assert!(!house.folder.path().join(".git/ran").exists());
    }

    #[actix_rt::test]
    async fn why_there_is_no_commit_is_said() {
        let house = House::with(&[]);
        house.write("a.md", "one");
        house.commit(false).await.commit.expect("a commit");
        house.git(&["checkout", "-q", "--detach"]);
        house.write("a.md", "two");
        let reason = house.commit(false).await.reason.expect("a reason");
        assert!(reason.contains("HEAD is detached"), "{reason}");

        let elsewhere = tempfile::tempdir().expect("a folder");
        for (config, says) in [
            (GitConfig::default(), "git_auto_commit.repository"),
            (
                GitConfig {
                    repository: Some(elsewhere.path().join("missing")),
                    paths: Vec::new(),
                },
                "no working folder of git",
            ),
        ] {
            let order = AutoCommit {
                event: IntegrationEvent::Error,
                id: "e".into(),
                dry_run: false,
            };
            let reason = commit(&config, &SystemClock::shared(), &order)
                .await
                .reason
                .expect("a reason");
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[actix_rt::test]
    async fn a_path_that_is_not_there_yet_hinders_the_others_not() {
        let house = House::with(&["later", "notes", ":(exclude)notes/tmp"]);
        for _ in 0..2 {
            let nothing = house.commit(false).await;
            assert_eq!(nothing.commit, None, "an exclusion alone takes in nothing");
            let reason = nothing.reason.expect("a reason");
            assert!(reason.starts_with("nothing changed: "), "{reason}");
            house.write("other/x", "one");
        }
        house.write("notes/a.md", "one");
        house.write("notes/tmp", "one");
        let done = house.commit(false).await;
        assert_eq!(done.paths, ["notes/a.md"], "{done:?}");
    }

    #[test]
    fn pathspecs_that_take_out_are_told_from_those_that_take_in() {
        for (spec, out) in [
            ("notes", false),
            (":(exclude)notes", true),
            (":(top,exclude)notes", true),
            (":(top)exclude", false),
            (":!notes", true),
            (":^notes", true),
            (":/!notes", true),
            (":/notes", false),
            ("!notes", false),
            (":", false),
            ("", false),
        ] {
            assert_eq!(excludes(spec), out, "{spec}");
        }
    }

    #[actix_rt::test]
    async fn a_branch_that_cannot_be_moved_is_told_in_gits_words() {
        let house = House::with(&[]);
        house.write("a.md", "one");
        let lock = house.folder.path().join(".git/refs/heads/main.lock");
        fs::write(&lock, "somebody's").expect("written");
        let reason = house.commit(false).await.reason.expect("a reason");
        assert!(
            reason.contains("git update-ref failed") && reason.contains("main.lock"),
            "{reason}"
        );
        assert_eq!(fs::read_to_string(&lock).expect("still there"), "somebody's");
        fs::remove_file(&lock).expect("removed");
        house.commit(false).await.commit.expect("a commit");
    }

    #[actix_rt::test]
    async fn what_changes_within_the_same_moment_is_seen() {
        // As long as before, right after the index was written: only its time says that it has to be read again.
        let house = House::with(&[]);
        for round in 0..10 {
            house.write("a.md", &format!("round {round}"));
            assert!(house.commit(false).await.commit.is_some(), "round {round}");
            assert_eq!(house.git(&["show", "HEAD:a.md"]), format!("round {round}"));
        }
    }

    #[actix_rt::test]
    async fn what_a_sparse_checkout_leaves_out_is_not_removed() {
        let house = House::with(&[]);
        house.write("in/a.md", "one");
        house.write("out/b.md", "one");
        house.commit(false).await.commit.expect("a commit");
        house.git(&["sparse-checkout", "set", "in"]);
        assert!(!house.folder.path().join("out").exists());
        house.write("in/a.md", "two");
        let done = house.commit(false).await;
        assert_eq!(done.paths, ["in/a.md"], "{done:?}");
        assert_eq!(house.git(&["show", "HEAD:out/b.md"]), "one");
        assert_eq!(house.git(&["status", "--porcelain"]), "");
    }

    #[actix_rt::test]
    async fn a_name_that_looks_like_a_pattern_is_a_name() {
        let house = House::with(&[":(literal)star*"]);
        for name in ["star1", "star*"] {
            house.write(name, "one");
        }
        house.git(&["add", "."]);
        house.git(&["commit", "-q", "-m", "by hand"]);
        house.write("star1", "two");
        house.git(&["add", "star1"]);
        house.write("star*", "two");
        let done = house.commit(false).await;
        assert_eq!(done.paths, ["star*"], "{done:?}");
        assert_eq!(house.git(&["show", ":star1"]), "two", "what somebody staged is theirs");
        let all = House::with(&[]);
        all.write(":(top)x", "one");
        all.commit(false).await.commit.expect("a commit");
        assert_eq!(all.git(&["status", "--porcelain"]), "");
    }

    #[actix_rt::test]
    async fn a_merge_under_way_is_left_to_whoever_merges() {
        let house = House::with(&[]);
        house.write("a.md", "one");
        house.commit(false).await.commit.expect("a commit");
        house.git(&["checkout", "-q", "-b", "side"]);
        house.write("a.md", "side");
        house.commit(false).await.commit.expect("a commit");
        house.git(&["checkout", "-q", "main"]);
        house.write("a.md", "main");
        let head = house.commit(false).await.commit.expect("a commit");
        let merged = std::process::Command::new("git")
            .arg("-C")
            .arg(house.folder.path())
            .args(["merge", "-q", "side"])
            .output()
            .expect("git runs");
        assert!(!merged.status.success(), "a conflict");
        let reason = house.commit(false).await.reason.expect("a reason");
        assert!(reason.contains("merge"), "{reason}");
        assert_eq!(house.git(&["rev-parse", "main"]), head);
        house.git(&["merge", "--abort"]);
        house.write("a.md", "after it");
        house.commit(false).await.commit.expect("a commit");
    }

    #[actix_rt::test]
    async fn a_name_that_is_not_utf8_is_committed_like_any_other() {
        let house = House::with(&[]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.md");
        fs::write(house.folder.path().join(name), "one").expect("written");
        let done = house.commit(false).await;
        assert_eq!(done.paths, ["caf\u{fffd}.md"], "{done:?}");
        assert_eq!(house.git(&["status", "--porcelain"]), "");
    }
}
