//! The README's walkthrough, run as it is printed, against the real binary. Changes the port and nothing else.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::documents::blocks;
use super::source::read;
use crate::support::process::Served;

/// Where the README says that the server listens.
const PRINTED: &str = "localhost:8644";

/// The shell blocks of the section, the one that starts the service first.
fn section() -> Vec<String> {
    let readme = read("README.md");
    let (_, section) = readme
        .split_once("\n## Try it\n")
        .expect("the README has a section to try");
    let section = section.split("\n## ").next().unwrap_or(section);
    blocks(section, "sh")
}

fn has(tool: &str) -> bool {
    let asked = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
        || tool == "openssl" && Command::new(tool).arg("version").stdout(Stdio::null()).status().is_ok()
}

#[test]
fn the_readmes_walkthrough_works_as_it_is_printed() {
    let missing: Vec<_> = ["bash", "curl", "openssl"]
        .into_iter()
        .filter(|tool| !has(tool))
        .collect();
    if !missing.is_empty() {
        // A newcomer's first test run is not red for a tool that only the walkthrough needs; the checks of a change install it.
        assert!(
            std::env::var_os("CI").is_none(),
            "the walkthrough was not run: {missing:?} is not installed"
        );
        eprintln!("SKIPPED: the README's walkthrough was not run, {missing:?} is not installed");
        return;
    }
    let all = section();
    let (begin, rest) = all.split_first().expect("the section has shell blocks");
    assert!(
        begin
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("firstlight serve")),
        "{begin}"
    );
    let env: BTreeMap<String, String> = begin
        .lines()
        .filter_map(|line| {
            line.split("  #")
                .next()?
                .trim()
                .strip_prefix("export ")?
                .split_once('=')
        })
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect();
    assert!(rest.len() >= 3, "the walkthrough was not found");

    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink("state", folder.path().join("data")).expect("a link");
    let served = Served::start(folder.path(), &env);
    let script = format!(
        "set -euo pipefail\ncurl() {{ command curl --fail-with-body \"$@\"; echo; }}\n{}\n",
        rest.join("\n").replace(PRINTED, &served.address)
    );
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_firstlight"));
    let path = std::env::join_paths(
        binary
            .parent()
            .map(std::path::Path::to_owned)
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .expect("folders without a colon");
    let told = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .env("FIRSTLIGHT_URL", format!("http://{}", served.address))
        .envs(&env)
        .output()
        .expect("bash starts");
    let (status, log) = served.terminate();
    let (said, complained) = (
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr),
    );
    assert!(told.status.success(), "{script}\n{said}\n{complained}\n{log:#?}");
    assert!(status.success());
    // Each delivery was taken, a run was opened by hand, and the lists are shown. How far the runs are is theirs: nobody waits here.
    assert!(said.matches("\"accepted\":true").count() >= 4, "{said}");
    for word in [
        "\"type\":\"issue.opened\"",
        "\"workflow\":\"repo-health\"",
        "\"workflowRuns\":[",
        "\"approvals\":[",
    ] {
        assert!(said.contains(word), "{word} is missing in:\n{said}");
    }
}
