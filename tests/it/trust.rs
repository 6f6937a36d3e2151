//! What a phase's process is trusted with: its environment, its token, its files, its limits. Knows no HTTP.

use std::path::Path;
use std::process::Command;

use actors::clock::SystemClock;
use actors::domain::{OutputBy, PhaseStatus, PromptBy, RunRecord};
use actors::runs::Runtime;
use serde_json::{Value, json};

use crate::support::inside::{As, Inside};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn output(run: &RunRecord, phase: usize) -> &str {
    let row = &run.phases[phase];
    assert_eq!(row.status, PhaseStatus::Succeeded, "{row:?}");
    row.output.as_deref().expect("an output")
}

#[actix::test]
async fn a_phase_gets_a_token_for_its_repository_and_profile_and_cannot_show_it() {
    let house = Inside::start(SystemClock::shared(), As::App, |_| {}).await;
    house.github.opens_issue("acme/site", "x", "");
    let show = "printf '%s' \"${GITHUB_TOKEN-none}\" | wc -c; echo \"$GITHUB_TOKEN\"; echo \"$GITHUB_TOKEN\" >&2; printf '%s' \"$GITHUB_TOKEN\" | sha256sum";
    let profiles = ["read", "issues-write", "review-write", "repo-write"];
    let mut phases: Vec<Value> = profiles
        .iter()
        .map(|profile| json!({"name": profile, "label": "", "kind": "script", "run": show, "profile": profile}))
        .collect();
    phases.push(json!({"name": "plain", "label": "", "kind": "script", "run": "echo \"${GITHUB_TOKEN-none}\"; env"}));
    let run = house.open(Value::Array(phases), json!({"title": "x"})).await;
    house.settle().await;
    let record = house.load(run).await;
    let minted = house.github.minted();
    let minted: Vec<_> = minted.into_iter().filter(|token| token.permissions.is_some()).collect();
    assert_eq!(minted.len(), profiles.len(), "one each");
    let level = |at: usize, what: &str| {
        minted[at]
            .permissions
            .as_ref()
            .and_then(|all| all.get(what))
            .map(String::as_str)
    };
    for (at, contents, issues, pulls) in [
        (0, "read", "read", "read"),
        (1, "read", "write", "read"),
        (2, "read", "read", "write"),
        (3, "write", "write", "write"),
    ] {
        assert_eq!(minted[at].repositories.as_deref(), Some(&["site".to_owned()][..]));
        let levels = (level(at, "contents"), level(at, "issues"), level(at, "pull_requests"));
        assert_eq!(levels, (Some(contents), Some(issues), Some(pulls)), "{}", profiles[at]);
        let token = &minted[at].token;
        let said = output(&record, at);
        assert!(said.starts_with(&token.len().to_string()), "it has the token: {said}");
        let digest = {
            use sha2::Digest;
            hex::encode(sha2::Sha256::digest(token.as_bytes()))
        };
        assert!(said.contains("[redacted]") && said.contains(&digest), "{said}");
        let log = house.log(run, profiles[at]);
        assert_eq!(log.matches("[redacted]").count(), 2, "{log}");
        assert!(!said.contains(token) && !log.contains(token));
    }
    let plain = output(&record, 4);
    assert!(plain.starts_with("none\n"), "{plain}");
    assert!(!plain.contains("ghs_") && !plain.contains("PRIVATE KEY"), "{plain}");
    house.finish().await;
}

#[actix::test]
async fn a_personal_token_is_handed_on_only_where_a_setting_says_so() {
    let phases = json!([{"name": "a", "label": "", "kind": "script", "run": "printf '%s' \"$GITHUB_TOKEN\" | wc -c", "profile": "read"}]);
    for (speaks, allowed, expected) in [
        (As::Token, false, Some("GITHUB_TOKEN cannot be narrowed down to it")),
        (As::Nobody, true, Some("there are no GitHub credentials")),
        (As::Token, true, None),
    ] {
        let house = Inside::start(SystemClock::shared(), speaks, |config| config.plain_token = allowed).await;
        let run = house.open(phases.clone(), json!({"title": "x"})).await;
        house.settle().await;
        let record = house.load(run).await;
        match expected {
            Some(words) => {
                let error = record.summary.error.as_deref().unwrap_or_default();
                assert!(error.contains(words) && error.contains("profile: read"), "{error}");
            }
            None => assert_eq!(
                output(&record, 0).trim(),
                house.github.token().expose().len().to_string()
            ),
        }
        house.finish().await;
    }
}

/// A bare repository with a file, a branch and the head of a pull request.
fn bare(folder: &Path) -> std::path::PathBuf {
    let script = r#"
        set -e
        export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 HOME="$PWD"
        git init -q -b main work && cd work
        git config user.name t && git config user.email t@example.com
        echo main > file && git add file && git commit -q -m one
        git checkout -q -b change && echo change > file && git commit -q -a -m two
        git clone -q --bare . ../site.git
        git -C ../site.git update-ref refs/pull/7/head refs/heads/change
        git -C ../site.git symbolic-ref HEAD refs/heads/main
        git -C ../site.git config uploadpack.allowAnySHA1InWant true"#;
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .status()
        .expect("sh starts");
    assert!(done.success());
    folder.join("site.git")
}

#[actix::test]
async fn a_phase_starts_in_a_clone_whose_credential_is_written_down_nowhere() {
    let remote = tempfile::tempdir().expect("a folder");
    let site = bare(remote.path());
    let house = Inside::start(SystemClock::shared(), As::App, |_| {}).await;
    house.github.opens_issue("acme/site", "x", "");
    house.github.serves_git("acme/site", &site);
    let phases = json!([
        {"name": "pull", "label": "", "kind": "script", "checkout": "subject",
         "run": "cat file; git rev-parse --abbrev-ref HEAD; echo mine > made; echo \"${GITHUB_TOKEN-none}\"; cat .git/config"},
        {"name": "later", "label": "", "kind": "script", "run": "cat made"},
        {"name": "main", "label": "", "kind": "script", "checkout": {"ref": "main"}, "profile": "repo-write",
         "run": "cat file; ls; git ls-remote -q origin refs/heads/main | wc -l; grep -r ghs_ \"$HOME\" && echo found; true"},
        {"name": "odd", "label": "", "kind": "script", "checkout": {"ref": "--upload-pack=x"}, "run": "true"},
    ]);
    let run = house
        .open(phases, json!({"title": "x", "prNumber": 7, "branch": "change"}))
        .await;
    house.settle().await;
    let record = house.load(run).await;
    let first = output(&record, 0);
    assert!(first.starts_with("change\nchange\nnone\n"), "{first}");
    assert!(!first.contains("ghs_") && !first.contains("x-access-token"), "{first}");
    assert_eq!(
        output(&record, 1),
        "mine\n",
        "a later phase finds what an earlier one made"
    );
    assert_eq!(
        output(&record, 2),
        "main\nfile\n1\n",
        "a fresh clone, and git knows the token"
    );
    let error = record.summary.error.as_deref().unwrap_or_default();
    assert!(error.contains("\"--upload-pack=x\" is no name of a branch"), "{error}");
    let reads = &house.github.minted()[..];
    let wants = |token: &firstlight::demo::github::Minted, level: &str| {
        token.permissions.as_ref().is_some_and(|all| all["contents"] == level)
    };
    assert!(reads.iter().any(|token| wants(token, "read")) && reads.iter().any(|token| wants(token, "write")));
    house.finish().await;
}

#[actix::test]
async fn a_repository_that_cannot_be_cloned_fails_the_phase_in_words() {
    let house = Inside::start(SystemClock::shared(), As::App, |_| {}).await;
    house.github.opens_issue("acme/site", "x", "");
    let phases = json!([{"name": "a", "label": "", "kind": "script", "checkout": "subject", "run": "true"}]);
    let run = house.open(phases, json!({"title": "x"})).await;
    house.settle().await;
    let error = house.load(run).await.summary.error.expect("a reason");
    assert!(error.contains("checkout: git clone exited with status 128"), "{error}");
    assert!(house.log(run, "a").contains("not found"), "{}", house.log(run, "a"));
    house.finish().await;
}

#[actix::test]
async fn a_runtime_gets_its_prompt_and_gives_its_answer_through_files_inside_its_wrapper() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |config| {
        config.runtimes.insert(
            "default".into(),
            Runtime {
                command: words(&[
                    "sh",
                    "-c",
                    "cat {prompt_file} > \"$FIRSTLIGHT_OUTPUT_FILE\"; cat; ulimit -v; echo \"$0\"",
                    "{phase}",
                ]),
                wrapper: words(&["sh", "-c", "echo wrapped in {work} >&2; exec \"$@\"", "wrapper"]),
                memory_limit: Some(4 * 1024 * 1024 * 1024),
                prompt: PromptBy::File,
                output: OutputBy::File,
                ..Runtime::default()
            },
        );
        config.runtimes.insert(
            "forgetful".into(),
            Runtime {
                command: words(&["true"]),
                output: OutputBy::File,
                ..Runtime::default()
            },
        );
    })
    .await;
    let phases = json!([
        {"name": "think", "label": "", "kind": "agent", "prompt": "Look at {{issueNumber}}."},
        {"name": "forget", "label": "", "kind": "agent", "prompt": "x", "runtime": "forgetful"},
    ]);
    let run = house.open(phases, json!({"title": "x"})).await;
    house.settle().await;
    let record = house.load(run).await;
    assert_eq!(output(&record, 0), "Look at 7.");
    let log = house.log(run, "think");
    let work = house.folder.path().join("work");
    assert!(log.contains(&format!("wrapped in {}", work.display())), "{log}");
    assert!(log.contains("4194304\nthink\n"), "{log}");
    let error = record.summary.error.expect("a reason");
    assert!(error.contains("wrote no answer to its output file"), "{error}");
    house.finish().await;
}

#[actix::test]
async fn a_wrapper_that_is_not_there_is_named_in_the_failure() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |config| {
        config.runtimes.insert(
            "default".into(),
            Runtime {
                command: words(&["cat"]),
                wrapper: words(&["no-such-wrapper", "--"]),
                ..Runtime::default()
            },
        );
    })
    .await;
    let phases = json!([{"name": "a", "label": "", "kind": "agent", "prompt": "x"}]);
    let run = house.open(phases, json!({"title": "x"})).await;
    house.settle().await;
    let error = house.load(run).await.summary.error.expect("a reason");
    assert!(
        error.contains("cannot start \"no-such-wrapper\" (runtimes.default.wrapper): command not found"),
        "{error}"
    );
    house.finish().await;
}

#[actix::test]
async fn memory_over_the_limit_is_refused_to_the_process() {
    let house = Inside::start(SystemClock::shared(), As::Nobody, |config| {
        config.runtimes.insert(
            "default".into(),
            Runtime {
                // A line of 200 MB has to be in memory as a whole before it is cut.
                command: words(&[
                    "sh",
                    "-c",
                    "head -c 200000000 /dev/zero | tr '\\0' x | sort | head -c 1",
                ]),
                memory_limit: Some(64 * 1024 * 1024),
                ..Runtime::default()
            },
        );
    })
    .await;
    let phases = json!([{"name": "big", "label": "", "kind": "agent", "prompt": "x"}]);
    let run = house.open(phases, json!({"title": "x"})).await;
    house.settle().await;
    let log = house.log(run, "big");
    assert!(log.contains("memory"), "{log}");
    house.finish().await;
}

#[actix::test]
async fn nothing_of_our_own_environment_leaks_into_a_phase() {
    let house = Inside::start(SystemClock::shared(), As::App, |config| {
        config.runtimes.insert(
            "default".into(),
            Runtime {
                command: words(&["env"]),
                wrapper: words(&["env"]),
                memory_limit: Some(8 * 1024 * 1024 * 1024),
                ..Runtime::default()
            },
        );
    })
    .await;
    house.github.opens_issue("acme/site", "x", "");
    let phases = json!([
        {"name": "script", "label": "", "kind": "script", "run": "env", "profile": "read"},
        {"name": "agent", "label": "", "kind": "agent", "prompt": "x", "unrestricted_egress": true, "web_search": true},
    ]);
    let run = house.open(phases, json!({"title": "x"})).await;
    house.settle().await;
    let record = house.load(run).await;
    for (at, asked) in [(0, false), (1, true)] {
        for name in ["FIRSTLIGHT_UNRESTRICTED_EGRESS=1", "FIRSTLIGHT_WEB_SEARCH=1"] {
            assert_eq!(output(&record, at).contains(name), asked, "{name}");
        }
        let mut seen = 0;
        for line in output(&record, at).lines() {
            let Some((name, _)) = line.split_once('=') else {
                continue;
            };
            let ours = name.starts_with("FIRSTLIGHT_") || name.starts_with("GIT_") || name == "GITHUB_TOKEN";
            // `_`, `PWD`, `OLDPWD` and `SHLVL` are a shell's own.
            let plain = ["PATH", "HOME", "LANG", "TMPDIR", "TZ", "_", "PWD", "OLDPWD", "SHLVL"].contains(&name);
            assert!(ours || plain, "{line}");
            seen += 1;
        }
        assert!(seen >= 8, "the environment was not read");
        assert!(
            std::env::var_os("CARGO_MANIFEST_DIR").is_some(),
            "the canary: we have what a phase must not"
        );
    }
    house.finish().await;
}

#[actix::test]
async fn the_wrapper_of_the_example_isolates_a_phase() {
    let usable = Command::new("bwrap")
        .args(["--unshare-all", "--ro-bind", "/", "/", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !usable {
        let installed = Command::new("bwrap").arg("--version").output().is_ok();
        assert!(
            installed || std::env::var_os("CI").is_none(),
            "bwrap is not installed: apt-get install bubblewrap"
        );
        eprintln!(
            "SKIPPED: isolation with bwrap was NOT checked, bwrap is not installed here or may not make namespaces"
        );
        return;
    }
    let house = Inside::start(SystemClock::shared(), As::Nobody, |config| {
        config.runtimes.insert(
            "default".into(),
            Runtime {
                command: words(&[
                    "sh",
                    "-c",
                    "cat; pwd; echo x > made; cat \"$0\" 2>/dev/null || echo hidden; ls {work}",
                    "{work}/../../secret",
                ]),
                wrapper: wrapper_of_the_example(),
                ..Runtime::default()
            },
        );
    })
    .await;
    std::fs::write(house.folder.path().join("secret"), "secret").expect("written");
    let phases = json!([{"name": "a", "label": "", "kind": "agent", "prompt": "hello"}]);
    let run = house.open(phases, json!({"title": "x"})).await;
    house.settle().await;
    let record = house.load(run).await;
    let said = output(&record, 0);
    assert!(
        said.starts_with("hello") && said.contains("hidden") && said.contains("made"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
    house.finish().await;
}

/// The items of `wrapper:` in `config/example.yaml`.
fn wrapper_of_the_example() -> Vec<String> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example.yaml")).expect("there");
    let items = text.lines().skip_while(|line| line.trim() != "wrapper:").skip(1);
    let items = items.map_while(|line| line.trim().strip_prefix("- "));
    let wrapper: Vec<String> = items.map(|item| item.trim_matches('"').to_owned()).collect();
    assert_eq!(wrapper.first().map(String::as_str), Some("bwrap"));
    wrapper
}
