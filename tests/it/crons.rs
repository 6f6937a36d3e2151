//! What fires by the clock, through the doors: times, missed times, fan-out, alarms, overrides. The clock is the test's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use actors::clock::SharedClock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::clock::ManualClock;
use crate::support::process::{Served, firstlight};

const QUICK: &str =
    "# Does nothing.\nname: quick\ndescription: Does nothing\nphases:\n  - {name: note, label: Note, type: context}\n";
const FAILS: &str =
    "# Fails.\nname: fails\ndescription: Fails\nphases:\n  - {name: no, label: No, type: script, run: exit 3}\n";
const WAITS: &str = "# Waits for somebody.\nname: waits\ndescription: Waits\nphases:\n  - {name: ask, label: Ask, type: approval, gate: go, message: Go on?}\n";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A service with schedules of the test's own, which begins at 03:04:05 UTC.
struct House {
    app: TestApp,
    clock: ManualClock,
    overlay: TempDir,
}

impl House {
    /// `crons` are the bodies of files, by name.
    async fn with(crons: &[(&str, &str)]) -> Self {
        Self::managing("acme/one", crons).await
    }

    async fn managing(repos: &str, crons: &[(&str, &str)]) -> Self {
        let overlay = tempfile::tempdir().expect("a folder");
        let folder = overlay.path().join("workflows");
        std::fs::create_dir_all(&folder).expect("made");
        for (name, text) in [("quick", QUICK), ("fails", FAILS), ("waits", WAITS)] {
            std::fs::write(folder.join(format!("{name}.yaml")), text).expect("written");
        }
        for (name, text) in crons {
            write(overlay.path(), name, text);
        }
        let clock = ManualClock::new();
        let settings = format!("workflows: {{overlay: \"{}\"}}\n", overlay.path().display());
        let shared: SharedClock = Arc::new(clock.clone());
        let app = TestApp::start_by(shared, &[("MANAGED_REPOS", repos)], &settings).await;
        app.settle().await;
        Self { app, clock, overlay }
    }

    async fn passes(&self, time: Duration) {
        self.clock.advance(time);
        self.app.settle().await;
    }

    /// The service is down for a while.
    async fn after_absence(self, time: Duration) -> Self {
        let Self { app, clock, overlay } = self;
        // The old process hears no more of the time.
        let later = clock.clone();
        let app = app.restart_after(|| later.advance(time)).await;
        app.settle().await;
        Self { app, clock, overlay }
    }

    async fn cron(&self, name: &str) -> Value {
        self.app.read(&format!("/admin/api/crons/{name}")).await["cron"].clone()
    }

    /// The ledger of a schedule, oldest first: instant (clock of UTC), kind, state, runs, instants.
    async fn ledger(&self, name: &str) -> Vec<String> {
        let page = self
            .app
            .read(&format!("/admin/api/crons/{name}/history?limit=200"))
            .await;
        let rows = page["firings"].as_array().expect("a list").iter().rev();
        rows.map(|row| {
            let at = &row["scheduledAt"].as_str().expect("an instant")[11..16];
            let text = |key: &str| row[key].as_str().expect("a text").to_owned();
            format!(
                "{at} {} {} {} of {}",
                text("kind"),
                text("state"),
                row["dispatched"],
                row["count"]
            )
        })
        .collect()
    }

    /// What operators were told.
    async fn told(&self) -> Vec<String> {
        let state = self.app.read("/api/integrations/notifications").await;
        let all = state["notifications"].as_array().expect("a list").iter();
        all.map(|one| one["message"].as_str().expect("a text").to_owned())
            .collect()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let token = self.app.login().await;
        let answer = self.app.post(path, Some(&token), body).await;
        let said = answer.json();
        self.app.settle().await;
        (answer.status, said)
    }

    /// Answers one open question.
    async fn approves_one(&self) {
        let open = self.app.read("/admin/api/approvals").await;
        let id = open["approvals"].as_array().expect("a list").last().expect("one")["id"].clone();
        let path = format!("/admin/api/approvals/{}/respond", id.as_str().expect("an id"));
        let (status, said) = self.post(&path, &json!({ "decision": "approved" })).await;
        assert_eq!(status, 200, "{said}");
    }

    async fn live(&self) -> usize {
        let live = self.app.read("/admin/api/workflow-runs?status=active").await;
        live["workflowRuns"].as_array().expect("a list").len()
    }
}

fn write(overlay: &Path, name: &str, text: &str) {
    let path = overlay.join(format!("workflows/cron-{name}.yaml"));
    let text = format!("# Of the test.\nkind: cron\nname: {name}\ndescription: Of the test\n{text}");
    std::fs::write(path, text).expect("written");
}

#[actix::test]
async fn a_time_that_comes_is_fired_once_and_is_in_the_ledger() {
    let house = House::with(&[("tens", "schedule: '*/10 * * * *'\nworkflow: quick\n")]).await;
    let cron = house.cron("tens").await;
    assert_eq!(cron["nextRun"], "2026-01-02T03:10:00Z");
    assert_eq!((&cron["lastRun"], &cron["override"]), (&Value::Null, &Value::Null));
    house.passes(5 * MINUTE).await;
    assert!(house.ledger("tens").await.is_empty());
    house.passes(MINUTE).await;
    assert_eq!(house.ledger("tens").await, ["03:10 scheduled done 1 of 1"]);
    house.passes(Duration::from_secs(30)).await;
    house.passes(10 * MINUTE).await;
    assert_eq!(
        house.ledger("tens").await,
        ["03:10 scheduled done 1 of 1", "03:20 scheduled done 1 of 1"]
    );
    let runs = house.app.runs().await;
    assert_eq!(runs.len(), 2);
    let run = house.app.run(runs[0]["id"].as_str().expect("an id")).await;
    assert_eq!(run["context"]["_triggerType"], "cron");
    assert_eq!(run["context"]["repo"], "acme/one");
    assert_eq!(run["cause"]["who"], "cron:tens");
    let cron = house.cron("tens").await;
    assert_eq!(
        (&cron["lastStatus"], &cron["nextRun"]),
        (&json!("done"), &json!("2026-01-02T03:30:00Z"))
    );
    house.app.finish().await;
}

#[actix::test]
async fn what_was_missed_follows_the_rule_of_its_schedule() {
    let of = |rule: &str| format!("schedule: '0 * * * *'\nworkflow: quick\nmisfire: {rule}\nmax_age: 2h\n");
    let (skip, once, all) = (of("skip"), of("once"), of("all"));
    let house = House::with(&[("skip", &skip), ("once", &once), ("all", &all)]).await;
    // 04:00, 05:00, 06:00 and 07:00 pass while nobody is there; it is 07:34 then.
    let house = house.after_absence(4 * HOUR + 30 * MINUTE).await;
    assert_eq!(house.ledger("skip").await, ["07:00 scheduled missed 0 of 4"]);
    assert_eq!(
        house.ledger("once").await,
        ["06:00 scheduled missed 0 of 3", "07:00 catch_up done 1 of 1"]
    );
    assert_eq!(
        house.ledger("all").await,
        [
            "05:00 scheduled missed 0 of 2",
            "06:00 catch_up done 1 of 1",
            "07:00 catch_up done 1 of 1"
        ]
    );
    let told = house.told().await;
    assert_eq!(
        told.iter().filter(|told| told.contains("did not fire")).count(),
        3,
        "{told:?}"
    );
    // Another start finds nothing to make up for.
    let house = house.after_absence(MINUTE).await;
    assert_eq!(house.ledger("once").await.len(), 2);
    house.passes(25 * MINUTE).await;
    let told = house.told().await;
    assert_eq!(
        told.iter()
            .filter(|told| told.contains("fires at its times again"))
            .count(),
        3,
        "{told:?}"
    );
    house.app.finish().await;
}

#[actix::test]
async fn a_clock_that_is_set_fires_nothing_twice_and_loses_nothing_silently() {
    let house = House::with(&[("tens", "schedule: '*/10 * * * *'\nworkflow: quick\nmisfire: skip\n")]).await;
    house.passes(6 * MINUTE).await;
    assert_eq!(house.ledger("tens").await, ["03:10 scheduled done 1 of 1"]);
    // Back by an hour: 03:10 comes again and is left alone, as is everything up to where it was.
    house.clock.set_back(HOUR);
    house.passes(50 * MINUTE).await;
    house.passes(15 * MINUTE).await;
    assert_eq!(house.ledger("tens").await, ["03:10 scheduled done 1 of 1"]);
    house.passes(5 * MINUTE).await;
    assert_eq!(
        house.ledger("tens").await.last().map(String::as_str),
        Some("03:20 scheduled done 1 of 1")
    );
    // Ahead by an hour, or asleep for one: six instants are accounted for; the last of them is not long ago.
    house.passes(HOUR + 2 * MINUTE).await;
    let ledger = house.ledger("tens").await;
    assert_eq!(ledger[2..], ["04:20 scheduled missed 0 of 6"], "{ledger:?}");
    // A clock that was years ahead is forgotten.
    house.passes(400 * 24 * HOUR).await;
    house.clock.set_back(400 * 24 * HOUR);
    house.passes(10 * MINUTE).await;
    house.passes(8 * MINUTE).await;
    assert!(
        house
            .ledger("tens")
            .await
            .iter()
            .any(|row| row == "04:40 scheduled done 1 of 1")
    );
    house.app.finish().await;
}

#[actix::test]
async fn an_overlap_is_left_out_or_waits_as_its_schedule_says() {
    let of =
        |rule: &str| format!("schedule: '*/10 * * * *'\nworkflow: waits\noverlap: {rule}\ncontext: {{kind: {rule}}}\n");
    let (skip, queue) = (of("skip"), of("queue"));
    let house = House::with(&[("skip", &skip)]).await;
    house.passes(6 * MINUTE).await;
    house.passes(10 * MINUTE).await;
    assert_eq!(
        house.ledger("skip").await,
        ["03:10 scheduled working 1 of 1", "03:20 scheduled skipped 0 of 1"]
    );
    house.approves_one().await;
    assert_eq!(house.ledger("skip").await[0], "03:10 scheduled done 1 of 1");
    house.app.finish().await;

    let house = House::with(&[("queue", &queue)]).await;
    house.passes(6 * MINUTE).await;
    house.passes(10 * MINUTE).await;
    assert_eq!(
        house.ledger("queue").await,
        ["03:10 scheduled working 1 of 1", "03:20 scheduled waiting 0 of 1"]
    );
    // What waits and what is at work is taken up again after a stop.
    let house = house.after_absence(Duration::ZERO).await;
    house.approves_one().await;
    assert_eq!(
        house.ledger("queue").await,
        ["03:10 scheduled done 1 of 1", "03:20 scheduled working 1 of 1"]
    );
    house.approves_one().await;
    assert_eq!(house.app.runs().await.len(), 2);
    house.app.finish().await;
}

#[actix::test]
async fn a_firing_fans_out_without_waiting_for_the_slowest() {
    let repos = "acme/one,acme/two,acme/three,acme/four,acme/five";
    let file = "schedule: '*/10 * * * *'\nworkflow: waits\nconcurrency: 2\n";
    let house = House::managing(repos, &[("wide", file)]).await;
    house.passes(6 * MINUTE).await;
    assert_eq!(house.live().await, 2);
    // One of the two goes on; the other one holds nobody up.
    for left in [2, 2, 2, 1, 0] {
        house.approves_one().await;
        assert_eq!(house.live().await, left);
    }
    assert_eq!(house.ledger("wide").await, ["03:10 scheduled done 5 of 1"]);
    let runs = house.app.runs().await;
    let mut repos: Vec<_> = runs
        .iter()
        .map(|run| run["repo"].as_str().expect("a repo").to_owned())
        .collect();
    repos.sort();
    assert_eq!(repos, ["acme/five", "acme/four", "acme/one", "acme/three", "acme/two"]);
    house.app.finish().await;
}

#[actix::test]
async fn a_repository_that_fails_stops_no_other_and_an_empty_list_is_recorded() {
    let wide = "schedule: '*/10 * * * *'\nworkflow: fails\nmax_failures: 2\n";
    let none = "schedule: '*/10 * * * *'\nworkflow: quick\ncontext: {repos: []}\n";
    let house = House::managing("acme/one,acme/two", &[("wide", wide), ("none", none)]).await;
    house.passes(6 * MINUTE).await;
    assert_eq!(house.ledger("wide").await, ["03:10 scheduled failed 2 of 1"]);
    assert_eq!(house.ledger("none").await, ["03:10 scheduled done 0 of 1"]);
    let detail = house.app.read("/admin/api/crons/wide").await;
    let note = detail["history"][0]["note"].as_str().expect("a note");
    assert!(note.starts_with("2 of 2 failed: acme/one:"), "{note}");
    let firing = detail["history"][0]["seq"].as_i64().expect("a number");
    let whole = house.app.read(&format!("/admin/api/crons/wide/history/{firing}")).await;
    assert_eq!(whole["firing"]["targets"].as_array().map(Vec::len), Some(2));
    for _ in 0..3 {
        house.passes(10 * MINUTE).await;
    }
    let told = house.told().await;
    let of = |words: &str| told.iter().filter(|told| told.contains(words)).count();
    assert_eq!(of("`wide` failed twice in a row"), 1, "{told:?}");
    assert_eq!(of("`none` fired and found no repository"), 1, "{told:?}");
    let cron = house.cron("wide").await;
    assert_eq!(
        (&cron["recentFailures"], &cron["alarms"]),
        (&json!(4), &json!(["failing"]))
    );
    // Mended, and told once.
    std::fs::write(
        house.overlay.path().join("workflows/fails.yaml"),
        QUICK.replace("quick", "fails"),
    )
    .expect("written");
    let house = house.after_absence(MINUTE).await;
    house.passes(10 * MINUTE).await;
    house.passes(10 * MINUTE).await;
    let told = house.told().await;
    assert_eq!(
        told.iter().filter(|told| told.contains("`wide` works again")).count(),
        1,
        "{told:?}"
    );
    assert_eq!(house.cron("wide").await["recentFailures"], 0);
    house.app.finish().await;
}

#[actix::test]
async fn a_switched_off_workflow_is_no_failure() {
    let house = House::with(&[("tens", "schedule: '*/10 * * * *'\nworkflow: quick\n")]).await;
    let (status, _) = house
        .post("/admin/api/workflows/quick/toggle", &json!({ "enabled": false }))
        .await;
    assert_eq!(status, 200);
    house.passes(6 * MINUTE).await;
    assert_eq!(house.ledger("tens").await, ["03:10 scheduled done 0 of 1"]);
    assert_eq!(house.cron("tens").await["recentFailures"], 0);
    house.app.finish().await;
}

#[actix::test]
async fn a_firing_that_was_switched_off_proves_nothing() {
    let house = House::with(&[("tens", "schedule: '*/10 * * * *'\nworkflow: fails\nmax_failures: 1\n")]).await;
    house.passes(6 * MINUTE).await;
    let (status, _) = house
        .post("/admin/api/workflows/fails/toggle", &json!({ "enabled": false }))
        .await;
    assert_eq!(status, 200);
    house.passes(10 * MINUTE).await;
    assert_eq!(
        house.ledger("tens").await,
        ["03:10 scheduled failed 1 of 1", "03:20 scheduled done 0 of 1"]
    );
    let cron = house.cron("tens").await;
    assert_eq!(
        (&cron["recentFailures"], &cron["alarms"]),
        (&json!(1), &json!(["failing"]))
    );
    let told = house.told().await;
    assert!(!told.iter().any(|told| told.contains("works again")), "{told:?}");
    house.app.finish().await;
}

#[actix::test]
async fn a_file_that_was_away_has_missed_nothing() {
    let file = "schedule: '0 * * * *'\nworkflow: quick\n";
    let house = House::with(&[("hourly", file)]).await;
    let path = house.overlay.path().join("workflows/cron-hourly.yaml");
    let text = std::fs::read(&path).expect("there");
    std::fs::remove_file(&path).expect("removed");
    let house = house.after_absence(MINUTE).await;
    house.passes(3 * HOUR).await;
    std::fs::write(&path, text).expect("written");
    let house = house.after_absence(MINUTE).await;
    assert!(house.ledger("hourly").await.is_empty());
    assert!(house.told().await.is_empty());
    house.passes(HOUR).await;
    assert_eq!(house.ledger("hourly").await.len(), 1);
    house.app.finish().await;
}

#[actix::test]
async fn an_operator_changes_a_schedule_and_goes_back_to_its_file() {
    let house = House::with(&[(
        "tens",
        "schedule: '*/10 * * * *'\nworkflow: quick\ntimezone: Europe/Berlin\n",
    )])
    .await;
    let path = |what: &str| format!("/admin/api/crons/tens{what}");
    for (wish, words) in [
        (json!({}), "schedule is required"),
        (json!({ "schedule": " " }), "schedule is required"),
        (json!({ "schedule": "61 * * * *" }), "invalid schedule: "),
        (json!({ "schedule": "0 0 30 2 *" }), "invalid schedule: "),
        (json!({ "schedule": "🚀" }), "invalid schedule: "),
    ] {
        let (status, said) = house.post(&path("/schedule"), &wish).await;
        assert_eq!(status, 400, "{said}");
        assert!(
            said["error"].as_str().is_some_and(|error| error.starts_with(words)),
            "{said}"
        );
    }
    assert_eq!(house.cron("tens").await["override"], Value::Null);

    let (status, said) = house
        .post(&path("/schedule"), &json!({ "schedule": "30 9 * * MON" }))
        .await;
    assert_eq!((status, &said["schedule"]), (200, &json!("30 9 * * MON")));
    let cron = house.cron("tens").await;
    assert_eq!(cron["nextLocal"], "2026-01-05T09:30:00+01:00");
    assert_eq!(
        (&cron["schedule"], &cron["originalSchedule"]),
        (&json!("30 9 * * MON"), &json!("*/10 * * * *"))
    );
    assert_eq!(cron["override"]["hasScheduleOverride"], true);
    assert_eq!(cron["override"]["updatedBy"], "admin");
    house.passes(HOUR).await;
    assert!(house.ledger("tens").await.is_empty());
    // It outlives the process.
    let house = house.after_absence(MINUTE).await;
    assert_eq!(house.cron("tens").await["schedule"], "30 9 * * MON");

    let (_, said) = house.post(&path("/toggle"), &json!({})).await;
    assert_eq!(said, json!({ "name": "tens", "enabled": false }));
    let cron = house.cron("tens").await;
    assert_eq!(
        (&cron["nextRun"], &cron["reason"]),
        (&Value::Null, &json!("it is switched off"))
    );
    house.passes(4 * 24 * HOUR).await;
    assert!(house.ledger("tens").await.is_empty());
    // The seed's short form; and what passed while it was off is not missed.
    let (_, said) = house
        .post("/admin/crons/tens/toggle", &json!({ "enabled": true }))
        .await;
    assert_eq!(said["enabled"], true);
    assert!(house.ledger("tens").await.is_empty());

    let token = house.app.login().await;
    let reset = house
        .app
        .ask("DELETE", &path("/override"), Some(&token), &[], None)
        .await;
    assert_eq!(
        reset.json(),
        json!({ "name": "tens", "schedule": "*/10 * * * *", "enabled": true })
    );
    house.passes(10 * MINUTE).await;
    assert_eq!(house.ledger("tens").await.len(), 1);

    let (status, said) = house.post("/admin/api/crons/nobody/toggle", &json!({})).await;
    assert_eq!(status, 404, "{said}");
    assert!(
        said["error"].as_str().is_some_and(|error| error.contains("known are")),
        "{said}"
    );
    let (status, said) = house.post(&path("/toggle"), &json!({ "enabled": "yes" })).await;
    assert_eq!(
        (status, said),
        (400, json!({ "error": "enabled must be true or false" }))
    );
    house.app.finish().await;
}

#[actix::test]
async fn a_file_that_changes_counts_from_then_on_and_a_bad_one_changes_nothing() {
    let house = House::with(&[("tens", "schedule: '*/10 * * * *'\nworkflow: quick\n")]).await;
    write(
        house.overlay.path(),
        "tens",
        "schedule: '0 12 * * *'\nworkflow: quick\n",
    );
    write(
        house.overlay.path(),
        "fresh",
        "schedule: '*/5 * * * *'\nworkflow: quick\n",
    );
    // The watch is told by the system, in its own time; the librarian rests before it reads.
    house
        .until(|crons| {
            crons["crons"]
                .as_array()
                .is_some_and(|all| all.iter().any(|cron| cron["name"] == "fresh"))
        })
        .await;
    assert_eq!(house.cron("tens").await["nextRun"], "2026-01-02T12:00:00Z");
    house.passes(MINUTE).await;
    assert_eq!(house.ledger("fresh").await.len(), 1);
    assert!(house.ledger("tens").await.is_empty());
    write(
        house.overlay.path(),
        "fresh",
        "schedule: '61 * * * *'\nworkflow: quick\n",
    );
    house
        .until(|crons| crons["mistakes"].as_array().is_some_and(|all| !all.is_empty()))
        .await;
    assert_eq!(house.cron("fresh").await["schedule"], "*/5 * * * *");
    house.app.finish().await;
}

impl House {
    /// Lets the clock go on until the list is as it should be.
    async fn until(&self, holds: impl Fn(&Value) -> bool) {
        let mut looks = 0;
        loop {
            let crons = self.app.read("/admin/api/crons").await;
            if holds(&crons) {
                return;
            }
            looks += 1;
            assert!(looks < 3_000, "{crons}");
            self.clock.advance(Duration::from_millis(20));
            tokio::task::yield_now().await;
        }
    }
}

#[actix::test]
async fn the_shipped_schedules_show_their_times_and_those_that_poll_are_not_registered_beside_webhooks() {
    let house = House::with(&[]).await;
    let list = house.app.read("/admin/api/crons").await;
    let crons: BTreeMap<&str, &Value> = list["crons"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|cron| (cron["name"].as_str().expect("a name"), cron))
        .collect();
    let names: Vec<_> = crons.keys().copied().collect();
    assert_eq!(
        names,
        [
            "check-prs-awaiting-review",
            "triage-new-issues",
            "weekly-health-report",
            "weekly-security-scan"
        ]
    );
    for (name, next) in [
        ("check-prs-awaiting-review", Value::Null),
        ("triage-new-issues", Value::Null),
        ("weekly-health-report", json!("2026-01-05T09:00:00Z")),
        ("weekly-security-scan", json!("2026-01-05T10:00:00Z")),
    ] {
        assert_eq!(crons[name]["nextRun"], next, "{name}");
        assert_eq!(crons[name]["registered"], !next.is_null());
    }
    let reason = crons["triage-new-issues"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("webhooks are on"), "{reason}");
    assert_eq!(crons["weekly-health-report"]["context"]["repos"], json!(["acme/one"]));
    // By the clock of whoever reads.
    for (zone, next) in [
        ("America/New_York", "2026-01-05T04:00:00-05:00"),
        ("Asia/Kathmandu", "2026-01-05T14:45:00+05:45"),
        ("UTC", "2026-01-05T09:00:00+00:00"),
    ] {
        let list = house.app.read(&format!("/admin/api/crons?timezone={zone}")).await;
        let crons = list["crons"].as_array().expect("a list");
        let report = crons
            .iter()
            .find(|cron| cron["name"] == "weekly-health-report")
            .expect("shipped");
        assert_eq!(report["nextLocal"], next, "{zone}");
    }
    let token = house.app.login().await;
    let wrong = house
        .app
        .get("/admin/api/crons?timezone=Europe/Berlim", Some(&token))
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("did you mean \\\"Europe/Berlin\\\""),
        "{}",
        wrong.text
    );
    let detail = house.app.read("/admin/api/crons/weekly-health-report").await;
    assert_eq!(detail["next"].as_array().map(Vec::len), Some(10));
    house.app.finish().await;

    let house = House::with(&[]).await;
    std::fs::write(
        house.app.folder().join("firstlight.yaml"),
        "github: {enabled: false}\nserver: {always: true}\n",
    )
    .expect("written");
    let house = house.after_absence(Duration::ZERO).await;
    assert_eq!(house.cron("triage-new-issues").await["nextRun"], "2026-01-02T03:15:00Z");
    house.app.finish_quietly().await;
}

#[actix::test]
async fn a_preview_says_when_or_what_is_wrong_and_changes_nothing() {
    let house = House::with(&[]).await;
    let wish = json!({ "schedule": "30 2 * * *", "timezone": "Europe/Berlin" });
    let (status, said) = house.post("/admin/api/crons/preview", &wish).await;
    assert_eq!(
        (status, &said["next"][0]["local"]),
        (200, &json!("2026-01-03T02:30:00+01:00"))
    );
    for wish in [
        json!({ "schedule": "* * *" }),
        json!({ "schedule": "" }),
        json!({ "schedule": ",".repeat(10_000) }),
        json!({ "schedule": "@daily", "timezone": "Mars/Olympus" }),
        json!({ "schedule": 5 }),
        json!({ "schedule": "@daily", "zone": "UTC" }),
        json!([]),
    ] {
        let (status, said) = house.post("/admin/api/crons/preview", &wish).await;
        assert_eq!(status, 400, "{said}");
        assert!(said["error"].as_str().is_some_and(|error| error.len() < 400), "{said}");
    }
    house.app.finish().await;
}

#[actix::test]
async fn a_firing_by_hand_is_in_the_ledger_and_a_repeated_order_fires_once() {
    let house = House::with(&[("yearly", "schedule: '@yearly'\nworkflow: quick\n")]).await;
    let token = house.app.login().await;
    let key = [("idempotency-key", "once")];
    for _ in 0..2 {
        let answer = house
            .app
            .post_with("/admin/api/crons/yearly/run", Some(&token), &key, &json!({}))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    house.app.settle().await;
    let ledger = house.ledger("yearly").await;
    assert_eq!(ledger, ["03:04 manual done 1 of 1"]);
    let answer = house
        .app
        .post("/admin/api/crons/nobody/run", Some(&token), &json!({}))
        .await;
    assert_eq!(answer.status, 404);
    house.app.finish().await;
}

#[actix::test]
async fn output_and_alarms_reach_the_delivery_channel() {
    let slack = crate::support::slack::FakeSlack::start();
    let overlay = tempfile::tempdir().expect("a folder");
    let folder = overlay.path().join("workflows");
    std::fs::create_dir_all(&folder).expect("made");
    let report = "# Reports.\nname: report\ndescription: Reports\nphases:\n  - {name: say, label: Say, type: reply, message: All is well.}\n";
    std::fs::write(folder.join("report.yaml"), report).expect("written");
    std::fs::write(folder.join("fails.yaml"), FAILS).expect("written");
    write(overlay.path(), "tens", "schedule: '*/10 * * * *'\nworkflow: report\n");
    write(
        overlay.path(),
        "bad",
        "schedule: '*/10 * * * *'\nworkflow: fails\nmax_failures: 1\n",
    );
    let mut env = slack.env();
    env.push(("SLACK_DELIVERY_CHANNEL", "C9".to_owned()));
    env.push(("MANAGED_REPOS", "acme/one".to_owned()));
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let settings = format!("workflows: {{overlay: \"{}\"}}\n", overlay.path().display());
    let app = TestApp::start_with(&env, &settings).await;
    slack.connected(1).await;
    let token = app.login().await;
    for name in ["tens", "bad"] {
        let path = format!("/admin/api/crons/{name}/run");
        assert_eq!(app.post(&path, Some(&token), &json!({})).await.status, 202);
    }
    for words in ["All is well.", "The schedule `bad` failed once"] {
        slack
            .until(words, |slack| {
                let said = slack.bot_says("C9");
                (said.iter().filter(|said| said.text.contains(words)).count() == 1).then_some(())
            })
            .await;
    }
    app.finish_quietly().await;
    slack.stop().await;
}

#[test]
fn a_process_that_is_killed_after_the_row_fires_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mine = folder.path().join("mine/workflows");
    std::fs::create_dir_all(&mine).expect("made");
    std::fs::write(mine.join("quick.yaml"), QUICK).expect("written");
    write(
        &folder.path().join("mine"),
        "yearly",
        "schedule: '@yearly'\nworkflow: quick\n",
    );
    std::fs::write(folder.path().join("firstlight.yaml"), "workflows: {overlay: ./mine}\n").expect("written");
    let env: BTreeMap<String, String> = [
        ("PATH", std::env::var("PATH").unwrap_or_default().as_str()),
        ("ADMIN_PASSWORD", PASSWORD),
        ("WEBHOOK_SECRET", "a secret of the test"),
        ("MANAGED_REPOS", "acme/one,acme/two,acme/three"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let command = |served: &Served, args: &[&str]| {
        let mut child = firstlight()
            .args(args)
            .env("FIRSTLIGHT_URL", format!("http://{}", served.address))
            .env("XDG_CONFIG_HOME", folder.path().join("config"))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that reads nothing may be gone already.
        let _ = writeln!(stdin, "{PASSWORD}");
        drop(stdin);
        let done = child.wait_with_output().expect("ends");
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{args:?}: {words}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let cli = |served: &Served, args: &[&str]| -> Value {
        serde_json::from_str(&command(served, args)).unwrap_or(Value::Null)
    };
    for round in 1..=3 {
        let served = Served::start(folder.path(), &env);
        cli(&served, &["login"]);
        let fired = cli(&served, &["crons", "run", "yearly", "--json"]);
        assert_eq!(fired["accepted"], true);
        served.kill();
        let served = Served::start(folder.path(), &env);
        cli(&served, &["login"]);
        let history = loop {
            let history = cli(&served, &["crons", "history", "yearly", "--json"]);
            let rows = history["firings"].as_array().expect("a list").clone();
            if rows.iter().all(|row| row["endedAt"].is_string()) {
                break rows;
            }
        };
        assert_eq!(history.len(), round);
        assert!(
            history
                .iter()
                .all(|row| row["state"] == "done" && row["dispatched"] == 3),
            "{history:?}"
        );
        let (status, _) = served.terminate();
        assert!(status.success());
    }
    let served = Served::start(folder.path(), &env);
    cli(&served, &["login"]);
    let list = cli(&served, &["crons", "list", "--json"]);
    assert!(list["crons"].as_array().is_some_and(|crons| crons.len() >= 5));
    for (args, words) in [
        (&["crons", "list"][..], "yearly"),
        (&["crons", "list", "--zone", "Asia/Kathmandu"], "+05:45"),
        (&["crons", "next", "yearly"], "-01-01T00:00:00"),
        (&["crons", "toggle", "yearly", "--off"], "yearly is off"),
        (
            &["crons", "schedule", "yearly", "0 9 * * 1"],
            "yearly fires at 0 9 * * 1",
        ),
        (&["crons", "reset", "yearly"], "yearly goes by its file again: @yearly"),
        (&["crons", "history", "yearly"], "manual"),
    ] {
        let said = command(&served, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    served.kill();
}
