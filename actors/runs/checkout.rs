//! The repository in the work folder: cloned whole and afresh, with a credential that is never written down. Knows git; no store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::log::PhaseLog;
use super::process::{self, End, Order, Stop};
use crate::clock::SharedClock;
use crate::domain::Secret;

/// The clone's folder in the work folder; the phase starts in it.
pub(crate) const FOLDER: &str = "repo";

/// A clone on its way. It gets its name when it is whole, so that a crash leaves no half of one.
const PARTIAL: &str = "repo.partial";

/// What git keeps of its own words when it fails.
const KEPT: usize = 4 * 1024;

/// Answers git with the token in the environment, and asks nobody. The text itself holds no secret.
const HELPER: &str =
    r#"!f() { test "$1" = get && printf 'username=x-access-token\npassword=%s\n' "$GITHUB_TOKEN"; }; f"#;

/// What makes git use `GITHUB_TOKEN` for this host and no other, without an argument and without a file.
/// The variables go beside the token, into a phase's environment too, so that its own `git push` works.
pub(crate) fn credential(host: &str) -> [(&'static str, String); 4] {
    [
        ("GIT_CONFIG_COUNT", "1".into()),
        ("GIT_CONFIG_KEY_0", format!("credential.{host}.helper")),
        ("GIT_CONFIG_VALUE_0", HELPER.into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
    ]
}

/// Where to clone from, and what to check out.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// `https://github.com/acme/site.git`.
    pub(crate) url: String,
    /// `https://github.com`.
    pub(crate) host: String,
    /// Lets git in; absent: as nobody, which is enough for what is public.
    pub(crate) token: Option<Secret>,
    /// What is checked out.
    pub(crate) at: At,
    /// Who commits, unless a phase says otherwise: the bot's name.
    pub(crate) author: String,
    /// Ends each step.
    pub(crate) timeout: Duration,
    /// How long a step may take to end when the service stops.
    pub(crate) finish_grace: Duration,
    /// Where programs are looked for.
    pub(crate) path: OsString,
}

/// What is checked out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The branch that a clone comes with.
    DefaultBranch,
    /// The head of a pull request, wherever it comes from.
    Pull {
        /// Its number.
        number: u64,
        /// The local branch for it, where its name is a plain one.
        branch: String,
    },
    /// A branch, tag or commit.
    Ref(String),
}

/// Why there is no checkout.
#[derive(Debug)]
pub(crate) enum NoCheckout {
    /// The run was told to stop.
    Stopped(End),
    /// In words.
    Failed(String),
}

/// Clones into `<work>/repo`, in place of what was there. Answers where.
///
/// Afresh each time: git is never run, with a token at hand, in a folder whose settings and hooks a phase could have changed.
pub(crate) async fn check_out(
    wanted: &Wanted,
    work: &Path,
    log: &mut PhaseLog,
    stop: &mut watch::Receiver<Stop>,
    clock: &SharedClock,
) -> Result<PathBuf, NoCheckout> {
    let (whole, partial) = (work.join(FOLDER), work.join(PARTIAL));
    let disk = |error: std::io::Error| {
        NoCheckout::Failed(format!(
            "cannot make the checkout in {}: {error}; check the state folder",
            work.display()
        ))
    };
    clear(&partial).await.map_err(disk)?;
    let mut git = Git {
        wanted,
        work,
        log,
        stop,
        clock,
    };
    let author = &wanted.author;
    git.run(
        work,
        &[
            "clone",
            "--quiet",
            "--config",
            &format!("user.name={author}[bot]"),
            "--config",
            &format!("user.email={author}[bot]@users.noreply.github.com"),
            "--",
            &wanted.url,
            PARTIAL,
        ],
    )
    .await?;
    match &wanted.at {
        At::DefaultBranch => {}
        At::Pull { number, branch } => {
            git.run(
                &partial,
                &["fetch", "--quiet", "origin", &format!("refs/pull/{number}/head")],
            )
            .await?;
            let onto: &[&str] = if is_plain(branch) {
                &["-B", branch]
            } else {
                &["--detach"]
            };
            git.run(
                &partial,
                &[&["checkout", "--quiet"], onto, &["FETCH_HEAD", "--"]].concat(),
            )
            .await?;
        }
        At::Ref(name) if is_plain(name) => {
            git.run(&partial, &["fetch", "--quiet", "origin", name]).await?;
            git.run(&partial, &["checkout", "--quiet", "--detach", "FETCH_HEAD", "--"])
                .await?;
        }
        At::Ref(name) => {
            return Err(NoCheckout::Failed(format!(
                "checkout: {name:?} is no name of a branch, tag or commit that can be used"
            )));
        }
    }
    clear(&whole).await.map_err(disk)?;
    tokio::fs::rename(&partial, &whole).await.map_err(disk)?;
    Ok(whole)
}

async fn clear(folder: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Branch names come from outside; one that git could take for an option or a path of its own is not used.
fn is_plain(branch: &str) -> bool {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    !branch.is_empty()
        && !branch.starts_with(['-', '/', '.'])
        && !branch.ends_with(['/', '.'])
        && !branch.ends_with(".lock")
        && !branch.contains("..")
        && !branch.contains("//")
        && !branch.contains("/.")
        && branch.chars().all(safe)
        && !branch.eq_ignore_ascii_case("HEAD")
}

struct Git<'a> {
    wanted: &'a Wanted,
    work: &'a Path,
    log: &'a mut PhaseLog,
    stop: &'a mut watch::Receiver<Stop>,
    clock: &'a SharedClock,
}

impl Git<'_> {
    async fn run(&mut self, folder: &Path, arguments: &[&str]) -> Result<(), NoCheckout> {
        let wanted = self.wanted;
        let mut env: BTreeMap<String, OsString> = BTreeMap::new();
        env.insert("PATH".into(), wanted.path.clone());
        env.insert("HOME".into(), self.work.into());
        env.insert("LANG".into(), "C.UTF-8".into());
        // The work folder is the phases' home: a setting that one of them left there is not ours to follow.
        env.insert("GIT_CONFIG_GLOBAL".into(), "/dev/null".into());
        env.insert("GIT_CONFIG_NOSYSTEM".into(), "1".into());
        env.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
        if let Some(token) = &wanted.token {
            env.insert("GITHUB_TOKEN".into(), token.expose().into());
            for (name, value) in credential(&wanted.host) {
                env.insert(name.into(), value.into());
            }
        }
        let order = Order {
            argv: ["git"].iter().chain(arguments).map(|word| (*word).to_owned()).collect(),
            setting: "checkout".into(),
            env,
            folder: folder.to_path_buf(),
            input: None,
            timeout: wanted.timeout,
            finish_grace: wanted.finish_grace,
            keep: KEPT,
            secrets: wanted.token.iter().cloned().collect(),
        };
        let ended = process::run(order, self.log, self.stop, self.clock).await;
        let what = arguments.first().copied().unwrap_or_default();
        match ended.map_err(NoCheckout::Failed)?.end {
            End::Exited(0) => Ok(()),
            End::Exited(code) => Err(NoCheckout::Failed(format!(
                "checkout: git {what} exited with status {code}; the phase's log has its words"
            ))),
            End::TimedOut => Err(NoCheckout::Failed(format!("checkout: git {what} took too long"))),
            End::Signalled(signal) => Err(NoCheckout::Failed(format!(
                "checkout: git {what} was killed by signal {signal}"
            ))),
            end @ (End::Aborted | End::PutDown) => Err(NoCheckout::Stopped(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_branch_names_are_used() {
        for (name, plain) in [
            ("fix-7", true),
            ("feature/ä_1.2", true),
            ("", false),
            ("--upload-pack=evil", false),
            ("a..b", false),
            ("a b", false),
            ("x.lock", false),
            ("HEAD", false),
            ("a/.git", false),
        ] {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }

    #[test]
    fn the_credential_is_for_one_host_and_its_text_holds_no_secret() {
        let env = credential("https://example.com:8443");
        assert_eq!(env[1].1, ["credential.https://example.com:8443", "helper"].join("."));
        assert!(env[2].1.contains("\"$GITHUB_TOKEN\""));
    }
}
