//! What the templates and processes of a run may know: names, branch, folder, outputs. Pure: knows no clock and no process.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::{Phase, RunId, RunRecord, RunSummary, Workflow};
use crate::workflows::template::{Facts, spell_both_ways};

/// How long the words of a branch name may be.
const SLUG_LENGTH: usize = 40;

/// The facts of one run. Grows with each phase's output.
#[derive(Debug, Clone)]
pub(crate) struct RunFacts {
    context: Map<String, Value>,
    outputs: BTreeMap<String, String>,
    task: String,
}

impl RunFacts {
    /// What the run started with, in both spellings, and what every run has beside it: `owner`, `repo` (without its owner),
    /// `issueNumber`, `taskId`, `branch`, `runId`, `workflow`, `variables.*`, `scratch.*`. A `branch` that the context
    /// brings (a pull request's head) stays.
    pub(crate) fn of(record: &RunRecord, workflow: &Workflow) -> Self {
        let task = task_of(record);
        let mut context = record.context.0.clone();
        spell_both_ways(&mut context);
        if let Some(repo) = &record.summary.repo {
            context.insert("owner".into(), repo.owner().into());
            context.insert("repo".into(), repo.name().into());
        }
        if let Some(number) = record.summary.number {
            context.entry("issueNumber").or_insert_with(|| number.into());
        }
        if !context.get("branch").is_some_and(Value::is_string) {
            context.insert("branch".into(), branch(record, &task).into());
        }
        context.insert("taskId".into(), task.clone().into());
        context.insert("runId".into(), record.summary.id.to_string().into());
        context.insert("workflow".into(), record.summary.workflow.as_str().into());
        let constants = workflow.variables.iter();
        let variables = constants.map(|(name, value)| (name.clone(), value.as_str().into()));
        context.insert("variables".into(), Value::Object(variables.collect()));
        context.insert("scratch".into(), scratch_of(&record.scratch));
        Self {
            context,
            outputs: BTreeMap::new(),
            task,
        }
    }

    /// Takes in what was printed, under the name of a phase, of one of its turns, or of an `output_var`.
    pub(crate) fn learn(&mut self, name: &str, output: &str) {
        self.outputs.insert(name.to_owned(), output.to_owned());
    }

    /// Takes in a value under an `output_var`.
    pub(crate) fn learn_value(&mut self, name: &str, value: Value) {
        self.context.insert(name.to_owned(), value);
    }

    /// Takes in what phases left for one another.
    pub(crate) fn remember(&mut self, scratch: &BTreeMap<String, Value>) {
        self.context.insert("scratch".into(), scratch_of(scratch));
    }

    /// These facts and some that only one turn has.
    pub(crate) fn with(&self, more: Map<String, Value>) -> Self {
        let mut facts = self.clone();
        facts.context.extend(more);
        facts
    }

    /// These facts and why a phase failed: `{{error}}`.
    pub(crate) fn with_error(&self, reason: &str) -> Self {
        self.with(Map::from_iter([("error".to_owned(), reason.into())]))
    }

    /// As templates take them.
    pub(crate) fn view(&self) -> Facts<'_> {
        Facts {
            context: &self.context,
            outputs: &self.outputs,
        }
    }

    /// Name of the run's work folder.
    pub(crate) fn task(&self) -> &str {
        &self.task
    }

    /// What every process is told in its environment. What a run does not have is empty.
    pub(crate) fn environment(&self, record: &RunRecord, phase: &Phase) -> BTreeMap<&'static str, String> {
        let of_context = |key: &str| match self.context.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let summary = &record.summary;
        let sender = of_context("sender");
        BTreeMap::from([
            (
                "FIRSTLIGHT_REPO",
                summary.repo.as_ref().map_or_else(String::new, ToString::to_string),
            ),
            ("FIRSTLIGHT_ISSUE_NUMBER", of_context("issueNumber")),
            ("FIRSTLIGHT_PR_NUMBER", of_context("prNumber")),
            (
                "FIRSTLIGHT_SENDER",
                if sender.is_empty() {
                    summary.cause.who.clone()
                } else {
                    sender
                },
            ),
            ("FIRSTLIGHT_RUN_ID", summary.id.to_string()),
            ("FIRSTLIGHT_WORKFLOW", summary.workflow.to_string()),
            ("FIRSTLIGHT_PHASE", phase.name.to_string()),
            ("FIRSTLIGHT_BRANCH", of_context("branch")),
        ])
    }
}

/// Name of the work folder of a run: its own, or that of the run that it goes on from.
pub(crate) fn task_of(record: &RunRecord) -> String {
    let of = record.context.0.get("_workOf").and_then(Value::as_str);
    let of = of.and_then(|id| id.parse().ok()).unwrap_or(record.summary.id);
    task_id(&record.summary, of)
}

fn scratch_of(scratch: &BTreeMap<String, Value>) -> Value {
    Value::Object(
        scratch
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// `repo[-N]-workflow-<8 characters of the run id>`: readable, and a safe name for a folder.
///
/// They are the *last* eight: ids of version 7 begin with the time, so runs of the same minute share their first eight.
fn task_id(summary: &RunSummary, of: RunId) -> String {
    let id = of.to_string();
    let mut task = String::new();
    if let Some(repo) = &summary.repo {
        task.push_str(repo.name());
        task.push('-');
    }
    if let Some(number) = summary.number {
        task.push_str(&format!("{number}-"));
    }
    task.push_str(&format!("{}-{}", summary.workflow, &id[id.len() - 8..]));
    task
}

/// `lastlight/N-slug(title)`, as the original names its branches; without a number, after the task.
fn branch(record: &RunRecord, task: &str) -> String {
    let Some(number) = record.summary.number else {
        return format!("lastlight/{task}");
    };
    let title = ["title", "issueTitle"]
        .iter()
        .find_map(|key| record.context.0.get(*key).and_then(Value::as_str))
        .unwrap_or_default();
    match slug(title) {
        slug if slug.is_empty() => format!("lastlight/{number}"),
        slug => format!("lastlight/{number}-{slug}"),
    }
}

/// Lower case, everything but ASCII letters and digits a dash, no dash at the ends, at most 40 bytes.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if slug.len() == SLUG_LENGTH {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::phase::tests::{record, workflow};
    use crate::workflows::template::CONTEXT_KEYS;

    #[test]
    fn a_slug_is_safe_and_short() {
        for (title, expected) in [
            ("It broke!", "it-broke"),
            ("  --  ", ""),
            ("", ""),
            ("a/../b; rm -rf $HOME", "a-b-rm-rf-home"),
            ("Übergröße", "bergr-e"),
            (&"word ".repeat(20), "word-word-word-word-word-word-word-word"),
            (&"x".repeat(100), &"x".repeat(40)),
        ] {
            assert_eq!(slug(title), expected, "{title:?}");
        }
    }

    #[test]
    fn a_run_is_named_after_its_repository_number_and_workflow() {
        let mut record = record(&[]);
        let facts = RunFacts::of(&record, &workflow("[]"));
        assert_eq!(facts.task(), "site-7-triage-89abcdef");
        assert_eq!(facts.context["branch"], "lastlight/7-it-broke");
        assert_eq!(facts.context["repo"], "site");

        record.context.0.insert("branch".into(), "feature".into());
        assert_eq!(RunFacts::of(&record, &workflow("[]")).context["branch"], "feature");

        record.summary.repo = None;
        record.summary.number = None;
        record.context.0.remove("branch");
        let facts = RunFacts::of(&record, &workflow("[]"));
        assert_eq!(facts.task(), "triage-89abcdef");
        assert_eq!(facts.context["branch"], "lastlight/triage-89abcdef");
    }

    #[test]
    fn every_fact_is_one_that_workflow_files_may_name() {
        let facts = RunFacts::of(&record(&[]), &workflow("[]")).with_error("it broke");
        assert!(facts.context.len() > 8);
        for key in facts.context.keys() {
            assert!(CONTEXT_KEYS.iter().any(|(known, _)| known == key), "{key}");
        }
    }

    #[test]
    fn what_a_run_does_not_have_is_empty_in_the_environment() {
        let record = record(&[]);
        let workflow = workflow(r#"[{"name":"a","label":"a","kind":"script"}]"#);
        let env = RunFacts::of(&record, &workflow).environment(&record, &workflow.phases[0]);
        assert_eq!(env["FIRSTLIGHT_REPO"], "acme/site");
        assert_eq!(env["FIRSTLIGHT_ISSUE_NUMBER"], "7");
        assert_eq!(env["FIRSTLIGHT_PR_NUMBER"], "");
        assert_eq!(env["FIRSTLIGHT_SENDER"], "ann");
        assert_eq!(env["FIRSTLIGHT_PHASE"], "a");
    }
}
