//! The files that say what fires when: every key they may hold, and how both layers of them become definitions. Knows no clock; a
//! condition is only remembered, whoever registers the definitions asks it.
//!
//! A new key is one row of the table below; the page beside the shipped files is held against it by a test.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use super::schedule::{Schedule, Zone};
use crate::domain::{ManagedRepos, Mistake, RepoName, WorkflowName};
use crate::workflows::{
    Asset, Assets, EVERY, Grammar, Key, MAX_DEADLINE, Reader, ScheduleFile, Shape, key, names, schedule_files,
    whole_file,
};
use crate::yaml::{Node, Value, nearest};

/// How many runs of one firing are at work at once, where the file says nothing.
pub const DEFAULT_CONCURRENCY: usize = 3;
/// After how many failed firings in a row somebody is told, where the file says nothing.
pub const DEFAULT_MAX_FAILURES: u32 = 3;
/// How late a missed firing may be made up for, where the file says nothing.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time by which a firing may be put off at random.
pub const MAX_JITTER: Duration = Duration::from_secs(60 * 60);
/// Most runs of one firing at once.
const MAX_CONCURRENCY: u32 = 100;
/// Most failures in a row before somebody is told.
const MAX_FAILURES: u32 = 1_000;

/// What fires when, as its file says it.
#[derive(Debug, Clone, PartialEq)]
pub struct CronDefinition {
    /// What it is called by, unique.
    pub name: String,
    /// One line for people; may be empty.
    pub description: String,
    /// What it starts.
    pub workflow: WorkflowName,
    /// Its expression, known to be a good one.
    pub schedule: String,
    /// Name of its time zone, known to exist; UTC if absent.
    pub timezone: Option<String>,
    /// What its runs are told, as the file says it; see [`CronDefinition::context_for`].
    pub context: Map<String, Json>,
    /// When it is not registered.
    pub condition: Option<Condition>,
    /// By how much a firing is put off at random, at most; zero for not at all.
    pub jitter: Duration,
    /// What becomes of firings that were missed.
    pub misfire: Misfire,
    /// How late a missed firing may be made up for.
    pub max_age: Duration,
    /// What becomes of a firing while the one before is at work.
    pub overlap: CronOverlap,
    /// How many runs of one firing are at work at once, at least 1.
    pub concurrency: usize,
    /// After how many failed firings in a row somebody is told, at least 1.
    pub max_failures: u32,
    /// Before this instant it does not fire.
    pub pause_until: Option<DateTime<Utc>>,
    /// Whether it fires at all, until somebody says otherwise.
    pub enabled: bool,
    /// The file, as mistakes name it.
    pub file: String,
    /// Line and column of the workflow's name in the file, from 1; 0 where there is no file.
    pub workflow_at: (usize, usize),
}

/// When a definition is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `unless: webhooksEnabled`: GitHub's webhooks come in, so there is nothing to poll for.
    UnlessWebhooksEnabled,
}

crate::domain::closed_enum! {
    /// What becomes of firings that were missed while the service was down, asleep or too busy.
    Misfire {
        /// Nothing; they are only accounted for.
        Skip => "skip",
        /// The latest of them is made up for.
        Once => "once",
        /// Each is made up for, the oldest first.
        All => "all",
    }
}

crate::domain::closed_enum! {
    /// What becomes of a firing while the one before is at work.
    CronOverlap {
        /// It is left out, and accounted for.
        Skip => "skip",
        /// It waits.
        Queue => "queue",
    }
}

impl Condition {
    /// Every condition.
    pub const ALL: &'static [Self] = &[Self::UnlessWebhooksEnabled];

    /// The word that stands after `unless`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnlessWebhooksEnabled => "webhooksEnabled",
        }
    }
}

impl CronDefinition {
    /// A definition with nothing but what it needs. The expression is not looked at.
    #[must_use]
    pub fn new(name: &str, schedule: &str, workflow: WorkflowName) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            workflow,
            schedule: schedule.to_owned(),
            timezone: None,
            context: Map::new(),
            condition: None,
            jitter: Duration::ZERO,
            misfire: Misfire::Once,
            max_age: DEFAULT_MAX_AGE,
            overlap: CronOverlap::Skip,
            concurrency: DEFAULT_CONCURRENCY,
            max_failures: DEFAULT_MAX_FAILURES,
            pause_until: None,
            enabled: true,
            file: String::new(),
            workflow_at: (0, 0),
        }
    }

    /// What a firing is told: the managed repositories that have a name of their own under `repos`, and over that what the file
    /// says. A file that says `repos` itself is told just those.
    #[must_use]
    pub fn context_for(&self, managed: &ManagedRepos) -> Map<String, Json> {
        let repos: Vec<Json> = managed.named().map(|repo| repo.as_str().into()).collect();
        let mut context = Map::new();
        context.insert(REPOS.into(), repos.into());
        context.extend(self.context.clone());
        context
    }
}

/// The key of the context that holds the repositories.
const REPOS: &str = "repos";

const CRON_KEYS: &[Key<Draft>] = &[
    key(
        "kind",
        EVERY,
        Shape::Filled,
        "`cron`; may be left out where the file is called `cron-*.yaml`",
        |_, node, r| {
            r.choice(node, "kind of schedule", &["cron"], |kind| kind);
        },
    ),
    key(
        "name",
        EVERY,
        Shape::Name,
        "what the schedule is called by; needed",
        |d, node, r| d.name = r.word(node, "name of a schedule"),
    ),
    key(
        "description",
        EVERY,
        Shape::Text,
        "one line for people",
        |d, node, r| d.description = r.text(node),
    ),
    key(
        "schedule",
        EVERY,
        Shape::Filled,
        "when it fires: five fields, or a word such as `@daily`, see below; needed",
        |d, node, r| {
            d.schedule = r.filled(node).and_then(|text| {
                let read = Schedule::parse(&text, None);
                read.map_err(|problem| r.wrong(node, problem.to_string())).ok()
            });
        },
    ),
    key(
        "timezone",
        EVERY,
        Shape::Filled,
        "the zone whose clock is meant: a name of the IANA database, or `local` for the machine's; `UTC` if absent",
        |d, node, r| {
            d.timezone = r.filled(node).and_then(|text| {
                let zone = Zone::parse(&text);
                zone.map_err(|problem| r.wrong(node, problem.to_string())).ok()
            });
        },
    ),
    key(
        "workflow",
        EVERY,
        Shape::Name,
        "the workflow that it starts; needed",
        |d, node, r| {
            d.workflow = r.id(node);
            d.workflow_at = (node.line, node.column);
        },
    ),
    key(
        "context",
        EVERY,
        Shape::Anything,
        "what its runs are told. One run for each repository under `repos`; where that is absent, for each managed one that is named outright",
        read_context,
    ),
    key(
        "condition",
        EVERY,
        Shape::Map(|| CONDITION.schema()),
        "when it is not registered",
        |d, node, r| r.map(d, node, CONDITION),
    ),
    key(
        "jitter",
        EVERY,
        Shape::Time,
        "each firing is put off by a random time up to this, at most 1h; none if absent",
        |d, node, r| {
            d.jitter = r.duration(node, MAX_DEADLINE);
            if d.jitter.is_some_and(|jitter| jitter > MAX_JITTER) {
                r.wrong(node, "is longer than 1h; write a later schedule instead");
            }
        },
    ),
    key(
        "misfire",
        EVERY,
        Shape::Choice(|| names(Misfire::ALL, Misfire::as_str)),
        "what becomes of firings that were missed, because the service was down or the machine asleep: `skip` them, make up `once` for the latest, or for `all`; `once` if absent",
        |d, node, r| d.misfire = r.choice(node, "rule for missed firings", Misfire::ALL, Misfire::as_str),
    ),
    key(
        "max_age",
        EVERY,
        Shape::Time,
        "how late a missed firing may be made up for, up to 365 days; `24h` if absent",
        |d, node, r| d.max_age = r.duration(node, MAX_DEADLINE),
    ),
    key(
        "overlap",
        EVERY,
        Shape::Choice(|| names(CronOverlap::ALL, CronOverlap::as_str)),
        "what becomes of a firing while the one before is at work: `skip` it, or `queue` it; `skip` if absent",
        |d, node, r| d.overlap = r.choice(node, "rule for overlaps", CronOverlap::ALL, CronOverlap::as_str),
    ),
    key(
        "concurrency",
        EVERY,
        Shape::Count(1, MAX_CONCURRENCY),
        "how many runs of one firing are at work at once, 1 to 100; 3 if absent",
        |d, node, r| d.concurrency = r.count(node, 1..=MAX_CONCURRENCY),
    ),
    key(
        "max_failures",
        EVERY,
        Shape::Count(1, MAX_FAILURES),
        "after how many failed firings in a row somebody is told, 1 to 1000; 3 if absent",
        |d, node, r| d.max_failures = r.count(node, 1..=MAX_FAILURES),
    ),
    key(
        "pause_until",
        EVERY,
        Shape::Filled,
        "before this instant it does not fire: date, time and offset",
        |d, node, r| {
            let Some(text) = r.filled(node) else { return };
            match DateTime::parse_from_rfc3339(&text) {
                Ok(time) => d.pause_until = Some(time.to_utc()),
                Err(_) => r.wrong(
                    node,
                    format!("{text:?} is no instant; write it with its offset, such as \"2027-01-04T09:00:00+01:00\""),
                ),
            }
        },
    ),
    key(
        "enabled",
        EVERY,
        Shape::Flag,
        "`false` for a schedule that does not fire until somebody turns it on; `true` if absent",
        |d, node, r| d.enabled = r.flag(node),
    ),
];

const CONDITION_KEYS: &[Key<Draft>] = &[key(
    "unless",
    EVERY,
    Shape::Choice(|| names(Condition::ALL, Condition::as_str)),
    "`webhooksEnabled`: not where GitHub's webhooks come in, because then there is nothing to look for; needed",
    |d, node, r| d.condition = r.choice(node, "condition", Condition::ALL, Condition::as_str),
)];

const CRON: Grammar<Draft> = Grammar {
    prefix: "",
    keys: CRON_KEYS,
    needed: &[
        (
            "schedule",
            "is missing; write when it fires, for instance \"0 9 * * 1\"",
        ),
        ("workflow", "is missing; name the workflow that it starts"),
    ],
};
const CONDITION: Grammar<Draft> = Grammar {
    prefix: "condition.",
    keys: CONDITION_KEYS,
    needed: &[(
        "unless",
        "is missing; write \"unless: webhooksEnabled\" or take the condition out",
    )],
};

/// One key of a schedule's file.
#[derive(Debug, Clone)]
pub struct KeyOfCron {
    /// Its path, such as `condition.unless`.
    pub path: String,
    /// What it says, in one line of Markdown.
    pub doc: &'static str,
}

/// Every key of a schedule's file, in the order of its page.
#[must_use]
pub fn keys() -> Vec<KeyOfCron> {
    let row = |prefix: &str, key: &Key<Draft>| KeyOfCron {
        path: format!("{prefix}{}", key.name),
        doc: key.doc,
    };
    let mut keys = Vec::new();
    for key in CRON.keys {
        keys.push(row(CRON.prefix, key));
        if key.name == "condition" {
            keys.extend(CONDITION.keys.iter().map(|key| row(CONDITION.prefix, key)));
        }
    }
    keys
}

#[derive(Default)]
struct Draft {
    name: Option<String>,
    description: Option<String>,
    schedule: Option<Schedule>,
    timezone: Option<Zone>,
    workflow: Option<WorkflowName>,
    workflow_at: (usize, usize),
    context: Map<String, Json>,
    condition: Option<Condition>,
    jitter: Option<Duration>,
    misfire: Option<Misfire>,
    max_age: Option<Duration>,
    overlap: Option<CronOverlap>,
    concurrency: Option<u32>,
    max_failures: Option<u32>,
    pause_until: Option<DateTime<Utc>>,
    enabled: Option<bool>,
}

fn read_context(draft: &mut Draft, node: &Node, reader: &mut Reader<'_>) {
    let Json::Object(context) = node.to_json() else {
        return reader.wrong(node, format!("must be a map, found {}", node.kind_name()));
    };
    if let Some(repos) = node.get(REPOS) {
        reader.within(".repos", |reader| {
            reader.list(repos, |reader, repo| reader.id::<RepoName>(repo));
        });
    }
    draft.context = context;
}

/// A schedule names no prompt and no skill.
struct NoTexts;

impl Assets for NoTexts {
    fn prompt(&self, path: &str) -> Result<Asset, String> {
        Err(format!("a schedule has no prompts, so not {path:?} either"))
    }

    fn skill(&self, name: &str) -> Result<Asset, String> {
        Err(format!("a schedule has no skills, so not {name:?} either"))
    }
}

/// Reads the shipped schedules and, over them, those of an overlay folder: files in `<overlay>/workflows/` that are called
/// `cron-*.yaml` or are of `kind: cron`. One of the overlay replaces the shipped one of the same name. They come sorted by name.
///
/// # Errors
/// Every mistake of every file, in the order of files and lines.
pub fn load(overlay: Option<&Path>) -> Result<Vec<CronDefinition>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut definitions = BTreeMap::new();
    for layer in schedule_files(overlay, &mut mistakes) {
        definitions.extend(read_layer(&layer, &mut mistakes));
    }
    mistakes.sort();
    mistakes.dedup();
    if mistakes.is_empty() {
        Ok(definitions.into_values().collect())
    } else {
        Err(mistakes)
    }
}

fn read_layer(files: &[ScheduleFile], mistakes: &mut Vec<Mistake>) -> BTreeMap<String, CronDefinition> {
    let mut layer: BTreeMap<String, CronDefinition> = BTreeMap::new();
    for file in files {
        match read(file) {
            Err(found) => mistakes.extend(found),
            Ok(definition) => {
                if let Some(first) = layer.get(&definition.name) {
                    let (line, column) = file.root.get("name").map_or((0, 0), |node| (node.line, node.column));
                    mistakes.push(Mistake {
                        line,
                        column,
                        key: "name".into(),
                        ..whole_file(
                            &file.label,
                            format!(
                                "{:?} is taken already, by {}; choose another name",
                                definition.name, first.file
                            ),
                        )
                    });
                    continue;
                }
                layer.insert(definition.name.clone(), definition);
            }
        }
    }
    layer
}

fn read(file: &ScheduleFile) -> Result<CronDefinition, Vec<Mistake>> {
    let mut reader = Reader::new(&file.label, &NoTexts, &[]);
    let mut draft = Draft::default();
    reader.map(&mut draft, &file.root, CRON);
    if matches!(file.root.value, Value::Map(_)) && file.root.get("name").is_none() {
        let name = file.stem.trim_start_matches("cron-");
        let problem = format!("is missing; give the schedule one, for instance \"name: {name}\"");
        reader.wrong_at(&file.root, "name", problem);
    }
    let mut mistakes = reader.mistakes;
    mistakes.sort();
    mistakes.dedup();
    let (Some(name), Some(schedule), Some(workflow), true) =
        (draft.name, draft.schedule, draft.workflow, mistakes.is_empty())
    else {
        return Err(mistakes);
    };
    let plain = CronDefinition::new(&name, schedule.expression(), workflow);
    Ok(CronDefinition {
        description: draft.description.unwrap_or_default(),
        timezone: draft.timezone.map(|zone| zone.name().to_owned()),
        context: draft.context,
        condition: draft.condition,
        jitter: draft.jitter.unwrap_or(plain.jitter),
        misfire: draft.misfire.unwrap_or(plain.misfire),
        max_age: draft.max_age.unwrap_or(plain.max_age),
        overlap: draft.overlap.unwrap_or(plain.overlap),
        concurrency: draft.concurrency.map_or(plain.concurrency, |count| count as usize),
        max_failures: draft.max_failures.unwrap_or(plain.max_failures),
        pause_until: draft.pause_until,
        enabled: draft.enabled.unwrap_or(plain.enabled),
        file: file.label.clone(),
        workflow_at: draft.workflow_at,
        ..plain
    })
}

/// Holds the definitions against the rest of the settings. `exists` knows the workflows, `names` are theirs for "did you mean …".
///
/// Told are schedules of workflows that there are not, and of repositories that are not managed, whose runs would be refused.
#[must_use]
pub fn check(
    definitions: &[CronDefinition],
    exists: &dyn Fn(&str) -> bool,
    names: &[&str],
    managed: &ManagedRepos,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for definition in definitions {
        let (line, column) = definition.workflow_at;
        let workflow = definition.workflow.as_str();
        if !exists(workflow) {
            let guess = nearest(workflow, names.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            mistakes.push(Mistake {
                line,
                column,
                key: "workflow".into(),
                ..whole_file(&definition.file, format!("there is no workflow {workflow:?}{guess}"))
            });
        }
        // With nothing managed, nothing runs at all, which is said elsewhere.
        let repos = definition.context.get(REPOS).and_then(Json::as_array);
        for repo in repos.into_iter().flatten().filter_map(Json::as_str) {
            let known = repo.parse::<RepoName>().is_ok_and(|repo| managed.admits(&repo));
            if !known && !managed.is_empty() {
                let problem = format!(
                    "{repo:?} is not managed, so its runs would be refused; add it to \"managed_repos\" or take it out"
                );
                mistakes.push(Mistake {
                    key: "context.repos".into(),
                    ..whole_file(&definition.file, problem)
                });
            }
        }
    }
    mistakes.sort();
    mistakes
}
