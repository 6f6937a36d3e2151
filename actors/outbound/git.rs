//! Commits what changed in one repository because of an integration event. Knows domain, messages, clock and `git`; never the state.
//!
//! It works beside whoever works in that repository: an index of its own, explicit paths, and a branch that is moved only from
//! where it was found. A lock that somebody else holds is never touched, no hook runs, and nothing is signed.

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
use crate::messages::house::{AwaitQuiet, Finish};
use crate::messages::integrations::{AutoCommit, AutoCommitted, IntegrationFault, IntegrationResult};

/// How long one command of git may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a branch that somebody moved meanwhile is tried again.
const TRIES: u32 = 3;
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
    let top = git
        .line(&["rev-parse", "--show-toplevel"])
        .await
        .with_context(|| format!("{} is no working folder of git", git.repository.display()))?;
    let git = &Git {
        repository: Path::new(&top),
        clock: git.clock,
    };
    let branch = git
        .line(&["symbolic-ref", "-q", "HEAD"])
        .await
        .context("HEAD is detached; check a branch out to have changes committed to it")?;
    let parent = git.line(&["rev-parse", "-q", "--verify", "HEAD^{commit}"]).await.ok();

    // An index of our own: what somebody has staged is neither committed nor lost.
    let private = tempfile::tempdir().context("there is no room for a temporary index")?;
    let index = private.path().join("index");
    let start = parent.as_deref().unwrap_or("--empty");
    git.run(Some(&index), &["read-tree", start], None).await?;
    let mut add = vec!["add", "--all", "--"];
    if config.paths.is_empty() {
        add.push(".");
    }
    add.extend(config.paths.iter().map(String::as_str));
    git.run(Some(&index), &add, None)
        .await
        .context("the paths of git_auto_commit.paths cannot be added")?;
    let tree = git.run(Some(&index), &["write-tree"], None).await?.trim().to_owned();
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
    let all: Vec<String> = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    let paths = all.iter().take(MOST_PATHS).cloned().collect();
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
    let commit = git
        .run(None, &make, Some(&message(order.event, &order.id)))
        .await?
        .trim()
        .to_owned();
    // What somebody staged stays staged; the entries that nobody touched follow the branch, or the next status would show
    // what was just committed as taken back.
    let staged = staged(git, parent.as_deref()).await?;
    let old = parent.clone().unwrap_or_else(|| "0".repeat(commit.len()));
    let note = format!("firstlight: {}", order.event);
    if git
        .run(None, &["update-ref", "-m", &note, &branch, &commit, &old], None)
        .await
        .is_err()
    {
        return Ok(None);
    }
    let follow: String = all
        .iter()
        .filter(|path| !staged.contains(path))
        .map(|path| format!("{path}\0"))
        .collect();
    if !follow.is_empty() {
        let reset = ["reset", "-q", "--pathspec-from-file=-", "--pathspec-file-nul", "HEAD"];
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

/// Paths whose entry in the real index is not that of the commit: somebody staged them.
async fn staged(git: &Git<'_>, parent: Option<&str>) -> anyhow::Result<Vec<String>> {
    let listed = match parent {
        Some(parent) => {
            git.run(None, &["diff-index", "--cached", "-z", "--name-only", parent], None)
                .await?
        }
        None => git.run(None, &["ls-files", "-z"], None).await?,
    };
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Options that give a commit an author where the repository and its user have none.
async fn identity(git: &Git<'_>) -> Vec<String> {
    let mut options = Vec::new();
    for (key, usual) in [("user.name", "Firstlight"), ("user.email", "firstlight@localhost")] {
        let known = git
            .line(&["config", "--get", key])
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
    async fn line(&self, args: &[&str]) -> anyhow::Result<String> {
        let text = self.run(None, args, None).await?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    async fn run(&self, index: Option<&Path>, args: &[&str], input: Option<&str>) -> anyhow::Result<String> {
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
                let _ = stdin.write_all(input.as_bytes()).await;
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
        String::from_utf8(output.stdout).with_context(|| format!("git {what} printed what is not UTF-8"))
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
}
