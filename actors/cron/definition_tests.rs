//! Files of schedules: the shipped ones, an overlay over them, and what is said of bad ones.

use std::fs;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tempfile::TempDir;

use super::{Condition, CronDefinition, CronOverlap, DEFAULT_MAX_AGE, Misfire, Schedule, check, keys, load};
use crate::domain::{ManagedRepos, Mistake};
use crate::{workflows, yaml};

const README: &str = include_str!("../../workflows/README.md");

/// An overlay folder with these files among its workflows.
fn overlay(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let workflows = folder.path().join("workflows");
    fs::create_dir_all(&workflows).expect("an empty folder takes another");
    for (name, text) in files {
        fs::write(workflows.join(name), text).expect("the file can be written");
    }
    folder
}

fn told(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}

fn loaded(files: &[(&str, &str)]) -> Vec<CronDefinition> {
    load(Some(overlay(files).path())).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)))
}

/// The mistakes of one file, `cron-x.yaml`, each on a line.
fn wrong(text: &str) -> String {
    let folder = overlay(&[("cron-x.yaml", text)]);
    let mistakes = load(Some(folder.path()))
        .err()
        .unwrap_or_else(|| panic!("{text} was taken"));
    told(&mistakes).replace(&format!("{}/workflows/", folder.path().display()), "")
}

fn managed(patterns: &[&str]) -> ManagedRepos {
    ManagedRepos::parse(patterns.iter().copied()).expect("good patterns")
}

#[test]
fn the_shipped_schedules_are_those_of_the_original() {
    let definitions = load(None).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)));
    let rows: Vec<_> = definitions
        .iter()
        .map(|d| {
            (
                d.name.as_str(),
                d.schedule.as_str(),
                d.workflow.as_str(),
                d.condition,
                json!(d.context),
            )
        })
        .collect();
    let polling = Some(Condition::UnlessWebhooksEnabled);
    assert_eq!(
        rows,
        [
            (
                "check-prs-awaiting-review",
                "*/30 * * * *",
                "pr-review",
                polling,
                json!({"mode": "scan"})
            ),
            (
                "triage-new-issues",
                "*/15 * * * *",
                "issue-triage",
                polling,
                json!({"mode": "scan"})
            ),
            (
                "weekly-health-report",
                "0 9 * * 1",
                "repo-health",
                None,
                json!({"mode": "report"})
            ),
            (
                "weekly-security-scan",
                "0 10 * * 1",
                "security-review",
                None,
                json!({"deliverSlackSummary": true})
            ),
        ]
    );
    for definition in &definitions {
        let schedule = Schedule::parse(&definition.schedule, definition.timezone.as_deref()).expect("it was checked");
        assert_eq!(schedule.timezone(), "UTC");
        assert!(definition.enabled && definition.file.starts_with("builtin:workflows/cron-"));
    }
    let monday: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().expect("an instant");
    let report =
        Schedule::parse(&definitions[2].schedule, Some("Europe/Berlin")).expect("a zone of the reader's choice");
    assert_eq!(report.next(monday, 1)[0].local, "2027-01-04T09:00:00+01:00");
    let catalog = workflows::load(None).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)));
    let mistakes = check(
        &definitions,
        &|name| catalog.get(name).is_some(),
        &[],
        &managed(&["acme/site"]),
    );
    assert!(mistakes.is_empty(), "{}", told(&mistakes));
}

#[test]
fn every_key_is_read() {
    let text = "kind: cron\nname: nightly\ndescription: at night\nschedule: '30 2 * * *'\ntimezone: Europe/Berlin\nworkflow: chat\n\
                context: {mode: deep, repos: [acme/site]}\ncondition: {unless: webhooksEnabled}\njitter: 5m\nmisfire: all\n\
                max_age: 6h\noverlap: queue\nconcurrency: 5\nmax_failures: 1\npause_until: 2027-01-04T09:00:00+01:00\nenabled: false\n";
    let definitions = loaded(&[("nightly.yml", text)]);
    assert_eq!(definitions.len(), 5);
    let nightly = definitions.iter().find(|d| d.name == "nightly").expect("it was read");
    let plain = CronDefinition::new("nightly", "30 2 * * *", "chat".parse().expect("a name"));
    let expected = CronDefinition {
        description: "at night".into(),
        timezone: Some("Europe/Berlin".into()),
        context: json!({"mode": "deep", "repos": ["acme/site"]})
            .as_object()
            .cloned()
            .expect("a map"),
        condition: Some(Condition::UnlessWebhooksEnabled),
        jitter: Duration::from_secs(300),
        misfire: Misfire::All,
        max_age: Duration::from_secs(6 * 3600),
        overlap: CronOverlap::Queue,
        concurrency: 5,
        max_failures: 1,
        pause_until: Some("2027-01-04T08:00:00Z".parse().expect("an instant")),
        enabled: false,
        file: nightly.file.clone(),
        workflow_at: (6, 11),
        ..plain.clone()
    };
    assert_eq!(*nightly, expected);
    assert_eq!(
        (
            plain.jitter,
            plain.misfire,
            plain.max_age,
            plain.overlap,
            plain.concurrency,
            plain.max_failures,
            plain.enabled
        ),
        (
            Duration::ZERO,
            Misfire::Once,
            DEFAULT_MAX_AGE,
            CronOverlap::Skip,
            3,
            3,
            true
        )
    );
}

#[test]
fn a_schedule_of_the_overlay_replaces_the_shipped_one_of_its_name() {
    let definitions = loaded(&[
        (
            "cron-mine.yaml",
            "name: weekly-health-report\nschedule: '@daily'\nworkflow: chat\n",
        ),
        (
            "a-workflow.yaml",
            "name: other\nphases: [{name: a, type: reply, message: hello}]\n",
        ),
        ("broken.yaml", "name: [\n"),
    ]);
    assert_eq!(definitions.len(), 4);
    let mine = definitions
        .iter()
        .find(|d| d.name == "weekly-health-report")
        .expect("it is there");
    assert_eq!((mine.schedule.as_str(), mine.workflow.as_str()), ("@daily", "chat"));
    assert!(mine.file.ends_with("/workflows/cron-mine.yaml"), "{}", mine.file);
}

#[test]
fn what_is_wrong_is_told_all_together_with_its_place() {
    let good = "schedule: '@daily'\nworkflow: chat\n";
    for (text, expected) in [
        (
            "nmae: x\nschedule: 61 * * * *\nworkflow: chat\n",
            &[
                "cron-x.yaml:1:1: name: is missing",
                "cron-x.yaml:1:1: nmae: unknown key; did you mean \"name\"?",
                "cron-x.yaml:2:11: schedule: field \"minute\": \"61\" is not within 0 to 59",
            ][..],
        ),
        ("name: x\n", &["schedule: is missing", "workflow: is missing"]),
        (
            "name: x\ntimezone: Europe/Berlim\nschedule: 0 0 30 2 *\nworkflow: a b\n",
            &[
                ":2:11: ",
                "did you mean \"Europe/Berlin\"?",
                ":3:11: ",
                "never fires",
                ":4:11: ",
            ],
        ),
        (
            &format!("name: x\n{good}kind: crom\n"),
            &[":4:7: ", "did you mean \"cron\"?"],
        ),
        (
            &format!("name: x\n{good}condition: webhooksEnabled\n"),
            &["condition: must be a map"],
        ),
        (
            &format!("name: x\n{good}condition: {{if: webhooksEnabled}}\n"),
            &["condition.if: ", "condition.unless: is missing"],
        ),
        (
            &format!("name: x\n{good}condition: {{unless: webhookEnabled}}\n"),
            &["did you mean \"webhooksEnabled\"?"],
        ),
        (
            &format!("name: x\n{good}jitter: 2h\nmax_age: forever\n"),
            &["longer than 1h", "no length of time"],
        ),
        (
            &format!("name: x\n{good}misfire: twice\noverlap: wait\n"),
            &["(there are skip, once, all)", "(there are skip, queue)"],
        ),
        (
            &format!("name: x\n{good}concurrency: 0\nmax_failures: many\n"),
            &["from 1 to 100", "from 1 to 1000"],
        ),
        (
            &format!("name: x\n{good}pause_until: tomorrow\nenabled: 1\n"),
            &["\"tomorrow\" is no instant", "must be true or false"],
        ),
        (
            &format!("name: x\n{good}context: {{repos: [acme, acme/site]}}\n"),
            &["context.repos[0]"],
        ),
        (
            &format!("name: x\n{good}context: {{repos: acme/site}}\n"),
            &["context.repos: must be a list"],
        ),
        ("", &["is empty; write a schedule"]),
        ("- a\n", &["must be a map"]),
        ("name: x\nschedule: */5 * * * *\nworkflow: chat\n", &["cron-x.yaml:2:"]),
        ("name: x\nname: y\n", &["cron-x.yaml:2:1"]),
    ] {
        let found = wrong(text);
        for words in expected {
            assert!(found.contains(words), "{text}\n{found}\nlacks {words}");
        }
    }
}

#[test]
fn one_name_stands_for_one_schedule() {
    let text = "name: twice\nschedule: '@daily'\nworkflow: chat\n";
    let folder = overlay(&[("cron-a.yaml", text), ("cron-b.yaml", text)]);
    let mistakes = load(Some(folder.path())).expect_err("a mistake");
    assert_eq!(mistakes.len(), 1);
    let said = mistakes[0].to_string();
    assert!(
        said.contains("cron-b.yaml:1:7") && said.contains("taken already, by ") && said.contains("cron-a.yaml"),
        "{said}"
    );
}

#[test]
fn a_schedule_leads_to_a_workflow_and_to_managed_repositories() {
    let text = "name: x\nschedule: '@daily'\nworkflow: repo-helth\ncontext: {repos: [acme/site, other/thing]}\n";
    let definitions = loaded(&[("cron-x.yaml", text)]);
    let only = |managed: &ManagedRepos| {
        let exists = |name: &str| name != "repo-helth";
        told(&check(&definitions, &exists, &["repo-health", "chat"], managed))
    };
    let said = only(&managed(&["acme/*"]));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains(":3:11: ") && said.contains("there is no workflow \"repo-helth\"; did you mean \"repo-health\"?"),
        "{said}"
    );
    assert!(said.contains("\"other/thing\" is not managed"), "{said}");
    // Without managed repositories nothing runs; that is told once, elsewhere.
    assert_eq!(only(&managed(&[])).lines().count(), 1);
}

#[test]
fn a_firing_is_about_the_managed_repositories_unless_its_file_names_some() {
    let managed = managed(&["acme/site", "acme/*", "ben/blog"]);
    let mut definition = CronDefinition::new("x", "@daily", "chat".parse().expect("a name"));
    definition.context.insert("mode".into(), "scan".into());
    assert_eq!(
        json!(definition.context_for(&managed)),
        json!({"repos": ["acme/site", "ben/blog"], "mode": "scan"})
    );
    definition.context.insert("repos".into(), json!(["ann/one"]));
    assert_eq!(
        json!(definition.context_for(&managed)),
        json!({"repos": ["ann/one"], "mode": "scan"})
    );
}

#[test]
fn the_page_explains_every_key_and_no_other() {
    let start = README.find("\n## Schedules").expect("the page has it");
    let end = start
        + README[start..]
            .find("\n### When a schedule fires")
            .expect("the page goes on");
    let rows: Vec<Vec<_>> = README[start..end]
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let known = keys();
    assert!(known.len() > 15, "{}", known.len());
    let expected: Vec<Vec<_>> = known
        .iter()
        .map(|key| vec![format!("`{}`", key.path), key.doc.to_owned()])
        .collect();
    let written: Vec<Vec<_>> = rows
        .iter()
        .map(|row| vec![row[0].to_owned(), row[2].to_owned()])
        .collect();
    assert_eq!(written, expected);
    // The examples together are a good file.
    let examples = rows
        .iter()
        .filter(|row| !row[0].contains('.'))
        .map(|row| format!("{}\n", row[1].trim_matches('`')));
    assert_eq!(loaded(&[("cron-x.yaml", &examples.collect::<String>())]).len(), 5);
    let block = README[start..end]
        .split("```yml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example");
    assert!(yaml::parse("example", block).is_ok());
    assert_eq!(loaded(&[("nightly.yaml", block)]).len(), 5);
}
