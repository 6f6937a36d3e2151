//! The process stopped between any two arrows and started again. Knows the real binary and the API only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use crate::support::app::{Delivery, PASSWORD, SECRET, TestApp};
use crate::support::payloads::issue;
use crate::support::process::{Served, firstlight};

/// `KILL_ROUNDS=200 cargo test --test it kill_nine` runs longer.
const ROUNDS: usize = 20;

fn env() -> BTreeMap<String, String> {
    [
        ("WEBHOOK_SECRET", SECRET),
        ("ADMIN_PASSWORD", PASSWORD),
        ("MANAGED_REPOS", "acme/*"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Posts deliveries, a few at a time, until so many were accepted; their ids.
async fn deliver_until(address: &str, round: usize, enough: usize) -> Vec<String> {
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let post = |number: usize| {
        let id = format!("round-{round}-{number}");
        // Every third issue is opened and starts a run; the others are recorded and routed to nothing.
        let action = if number.is_multiple_of(3) { "opened" } else { "closed" };
        let subject = (round * 1000 + number + 1) as u64;
        let delivery = Delivery::signed("issues", &id, issue(action, subject, "It broke").to_string());
        let mut request = client.post(format!("http://{address}/webhooks/github"));
        for (name, value) in &delivery.headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        async move {
            request
                .send_body(delivery.body)
                .await
                .is_ok_and(|answer| answer.status() == 202)
                .then_some(id)
        }
    };
    let mut accepted = Vec::new();
    let mut under_way: FuturesUnordered<_> = (0..8).map(post).collect();
    let mut next = 8;
    while accepted.len() < enough {
        let answered = under_way.next().await.expect("there is always one more");
        accepted.push(answered.expect("the service accepts while it lives"));
        under_way.push(post(next));
        next += 1;
    }
    // Those under way are dropped with their answers unread: they may be there or not, but not twice.
    accepted
}

#[actix_rt::test]
async fn kill_nine_loses_nothing_that_was_accepted_and_doubles_nothing() {
    let rounds = std::env::var("KILL_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS);
    let folder = tempfile::tempdir().expect("a folder");
    let mut accepted = BTreeSet::new();
    for round in 0..rounds {
        let served = Served::start(folder.path(), &env());
        // A different place in the stream each time, from the very first answer on.
        let enough = 1 + (round * 37) % 90;
        accepted.extend(deliver_until(&served.address, round, enough).await);
        served.kill();
    }

    let app = TestApp::on(folder, &[("GITHUB_TOKEN", "")]).await;
    app.settle().await;
    let events = app.all("/admin/api/events?limit=200", "events").await;
    let ids: Vec<&str> = events
        .iter()
        .map(|event| event["id"].as_str().expect("an id"))
        .collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "an event is there twice");
    for id in &accepted {
        assert!(unique.contains(id.as_str()), "{id} was answered 202 and is gone");
    }
    for event in &events {
        assert_eq!(event["state"], "settled", "{event}");
    }
    let runs = app.all("/admin/api/workflow-runs?limit=200", "workflowRuns").await;
    let started: BTreeSet<&str> = events.iter().filter_map(|event| event["runId"].as_str()).collect();
    let opened = events.iter().filter(|event| event["type"] == "issue.opened").count();
    assert_eq!(
        (runs.len(), started.len()),
        (opened, opened),
        "one run per opened issue"
    );
    for run in &runs {
        // A run that was interrupted more often than it is taken up again fails, and says so.
        let gave_up = run["error"]
            .as_str()
            .is_some_and(|error| error.contains("the service stopped") || error.contains("interrupted 4 times"));
        assert!(run["status"] == "succeeded" || gave_up, "{run}");
        let effects = app.run(run["id"].as_str().expect("an id")).await["effects"].clone();
        let keys: Vec<&Value> = effects
            .as_array()
            .expect("a list")
            .iter()
            .map(|effect| &effect["key"])
            .collect();
        assert_eq!(
            keys.len(),
            keys.iter().map(|key| key.to_string()).collect::<BTreeSet<_>>().len()
        );
        assert!(
            effects
                .as_array()
                .expect("a list")
                .iter()
                .all(|effect| effect["state"] == "undeliverable"),
            "{effects}"
        );
    }
    app.finish().await;
}

#[actix_rt::test]
async fn sigterm_drains_and_exits_with_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &env());
    deliver_until(&served.address, 0, 5).await;
    let (status, lines) = served.terminate();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert_eq!(lines.last().expect("it says so")["message"], "closed");
}

#[actix_rt::test]
async fn a_second_service_on_one_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &env());
    let second = firstlight()
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(folder.path().join("state"))
        .current_dir(folder.path())
        .envs(env())
        .output()
        .expect("it ran");
    assert_eq!(second.status.code(), Some(1));
    let words = String::from_utf8_lossy(&second.stderr);
    assert!(
        words.contains("another firstlight") && words.contains("--state-dir"),
        "{words}"
    );
    served.kill();
}

#[actix_rt::test]
async fn configuration_mistakes_exit_with_78_and_all_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("firstlight.yaml"),
        "server:\n  lissten: x\nconcurrency:\n  max_runs: many\n",
    )
    .expect("written");
    let refused = firstlight()
        .arg("serve")
        .current_dir(folder.path())
        .output()
        .expect("it ran");
    assert_eq!(refused.status.code(), Some(78));
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(
        words.contains("firstlight.yaml:2") && words.contains("listen"),
        "{words}"
    );
    assert!(
        words.contains("firstlight.yaml:4") && words.contains("max_runs"),
        "{words}"
    );
}

#[actix_rt::test]
async fn workflow_mistakes_exit_with_78_and_all_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let workflows = folder.path().join("mine/workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    std::fs::write(
        workflows.join("a.yaml"),
        "name: a\nphases:\n  - name: x\n    type: scirpt\n    run: true\n",
    )
    .expect("written");
    std::fs::write(workflows.join("b.yaml"), "name: b\nphasess: []\n").expect("written");
    std::fs::write(folder.path().join("firstlight.yaml"), "workflows:\n  overlay: mine\n").expect("written");
    for command in [vec!["serve"], vec!["config", "check"]] {
        let refused = firstlight()
            .args(&command)
            .current_dir(folder.path())
            .output()
            .expect("it ran");
        let words = String::from_utf8_lossy(&refused.stderr) + String::from_utf8_lossy(&refused.stdout);
        assert_eq!(refused.status.code(), Some(78), "{command:?}: {words}");
        assert!(
            words.contains("a.yaml:4") && words.contains("b.yaml:2"),
            "{command:?}: {words}"
        );
    }
}

#[actix_rt::test]
async fn an_unsigned_service_on_an_open_address_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = firstlight()
        .args(["serve", "--listen", "0.0.0.0:0"])
        .current_dir(folder.path())
        .output()
        .expect("it ran");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{words}");
    assert!(
        words.contains("allow_unsigned") && words.contains("WEBHOOK_SECRET"),
        "{words}"
    );
}

/// A volume of its own, gone with its value.
struct Volume(tempfile::TempDir);

impl Volume {
    /// `None` where this user may not mount one.
    fn of_megabytes(size: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|mount| mount.status.success());
        mounted.then_some(Self(folder))
    }

    fn grow_to_megabytes(&self, size: u32) {
        let grown = std::process::Command::new("mount")
            .args(["-o", &format!("remount,size={size}m")])
            .arg(self.0.path())
            .status();
        assert!(grown.is_ok_and(|status| status.success()));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[actix_rt::test]
async fn a_full_disk_refuses_with_503_and_recovers_by_itself() {
    let Some(volume) = Volume::of_megabytes(3) else {
        eprintln!("SKIPPED: a_full_disk_refuses_with_503_and_recovers_by_itself needs the right to mount a tmpfs");
        return;
    };
    let served = Served::start(volume.0.path(), &env());
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let post = async |id: &str| {
        let mut payload = issue("closed", 1, "It broke");
        // Not to be compressed away.
        let noise: String = (0..100).map(|_| uuid::Uuid::new_v4().to_string()).collect();
        payload["issue"]["body"] = noise.into();
        let delivery = Delivery::signed("issues", id, payload.to_string());
        let mut request = client.post(format!("http://{}/webhooks/github", served.address));
        for (name, value) in &delivery.headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        let answer = request.send_body(delivery.body).await.expect("an answer");
        (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
    };
    let mut accepted = 0;
    let refused = loop {
        match post(&format!("before-{accepted}")).await {
            (202, _) => accepted += 1,
            other => break other,
        }
        assert!(accepted < 2_000, "3 MB are never full");
    };
    assert_eq!(refused, (503, true), "after {accepted} accepted");
    volume.grow_to_megabytes(30);
    assert_eq!(post("after").await.0, 202, "there is room again");
    let (status, _) = served.terminate();
    assert_eq!(status.code(), Some(0));
}
