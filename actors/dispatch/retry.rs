//! What of a run that is over counts when it is started once more. Pure; knows no clock, no store.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::{PhaseName, PhaseRecord, PhaseStatus, RunContext, RunRecord, Workflow};
use crate::messages::dispatch::NotRetried;

/// What a new run takes over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TakenOver {
    /// What it starts with.
    pub(super) context: RunContext,
    /// What is done already.
    pub(super) done: Vec<PhaseRecord>,
    /// What phases left for one another.
    pub(super) scratch: BTreeMap<String, Value>,
}

/// Decides what a new run takes over from one that is over.
///
/// # Errors
/// The run is not over, or it cannot begin at the phase that was named.
pub(super) fn take_over(record: &RunRecord, workflow: &Workflow, from: Option<&str>) -> Result<TakenOver, NotRetried> {
    let summary = &record.summary;
    if !summary.status.is_final() {
        return Err(NotRetried::Live(summary.status));
    }
    let mut context = record.context.clone();
    let set = |context: &mut RunContext, key: &str, value: String| context.0.insert(key.to_owned(), value.into());
    set(&mut context, "_retryOf", summary.id.to_string());
    let Some(from) = from else {
        context.0.remove("_retryFrom");
        context.0.remove("_workOf");
        return Ok(TakenOver {
            context,
            done: Vec::new(),
            scratch: BTreeMap::new(),
        });
    };
    let from = workflow
        .phases
        .iter()
        .find(|phase| phase.name.as_str() == from)
        .map(|phase| phase.name.clone())
        .ok_or_else(|| NotRetried::NoSuchPhase {
            name: from.chars().take(64).collect(),
            known: workflow.phases.iter().map(|phase| phase.name.clone()).collect(),
        })?;
    let again = from_here(workflow, &from);
    let mut done: Vec<PhaseRecord> = Vec::new();
    for phase in workflow.phases.iter().filter(|phase| !again.contains(&phase.name)) {
        let own = record.phases.iter().filter(|row| belongs(&row.phase, &phase.name));
        let good: Vec<_> = own
            .filter(|row| matches!(row.status, PhaseStatus::Succeeded | PhaseStatus::Skipped))
            .cloned()
            .collect();
        if good.is_empty() && needed(workflow, &from).contains(&phase.name) {
            return Err(NotRetried::NotDoneBefore {
                from,
                missing: phase.name.clone(),
            });
        }
        done.extend(good);
    }
    // In the order in which they were done, so that later outputs of the same name win as they did.
    done.sort_by_key(|row| record.phases.iter().position(|known| known == row));
    let scratch = record.scratch.iter().filter(|(key, _)| {
        let of_a_phase_to_come = workflow.phases.iter().any(|phase| {
            let key_of_loop = phase
                .generic_loop
                .as_ref()
                .and_then(|generic| generic.scratch_key.as_deref());
            let place = key_of_loop.unwrap_or(phase.name.as_str());
            again.contains(&phase.name) && place.split('.').next() == Some(key.as_str())
        });
        !of_a_phase_to_come
    });
    let scratch = scratch.map(|(key, value)| (key.clone(), value.clone())).collect();
    // A chain of retries goes on in the folder of the first.
    let root = match record.context.0.get("_workOf").and_then(Value::as_str) {
        Some(root) => root.to_owned(),
        None => summary.id.to_string(),
    };
    set(&mut context, "_retryFrom", from.to_string());
    set(&mut context, "_workOf", root);
    Ok(TakenOver { context, done, scratch })
}

/// The phase and everything that comes after it.
fn from_here(workflow: &Workflow, from: &PhaseName) -> BTreeSet<PhaseName> {
    if !workflow.is_graph() {
        let behind = workflow.phases.iter().skip_while(|phase| phase.name != *from);
        return behind.map(|phase| phase.name.clone()).collect();
    }
    let mut again = BTreeSet::from([from.clone()]);
    loop {
        let more: Vec<_> = workflow
            .phases
            .iter()
            .filter(|phase| !again.contains(&phase.name) && phase.depends_on.iter().any(|name| again.contains(name)))
            .map(|phase| phase.name.clone())
            .collect();
        if more.is_empty() {
            return again;
        }
        again.extend(more);
    }
}

/// Everything that comes before the phase.
fn needed(workflow: &Workflow, from: &PhaseName) -> BTreeSet<PhaseName> {
    if !workflow.is_graph() {
        let before = workflow.phases.iter().take_while(|phase| phase.name != *from);
        return before.map(|phase| phase.name.clone()).collect();
    }
    let mut before = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(name) = open.pop() {
        for dependency in workflow.phase(&name).into_iter().flat_map(|phase| &phase.depends_on) {
            if before.insert(dependency.clone()) {
                open.push(dependency.clone());
            }
        }
    }
    before
}

/// Whether a row is of this phase: its own, or one of its turns (`plan_2`, `plan_fix_1`).
fn belongs(row: &PhaseName, phase: &PhaseName) -> bool {
    let Some(rest) = row.as_str().strip_prefix(phase.as_str()) else {
        return false;
    };
    let turn = rest.strip_prefix("_fix").unwrap_or(rest).strip_prefix('_');
    rest.is_empty() || turn.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{Cause, ReplyTo, RunStatus, RunSummary, Subject, TriggerType};

    fn workflow(phases: &str) -> Workflow {
        let bundle = format!(
            r#"{{"name":"build","kind":"agent","description":"","variables":{{}},"phases":{phases},"text":"","file":"b.yaml"}}"#
        );
        Workflow::from_bundle(&bundle).expect("a bundle")
    }

    fn record(status: RunStatus, rows: &[(&str, PhaseStatus)]) -> RunRecord {
        let at = DateTime::UNIX_EPOCH;
        RunRecord {
            summary: RunSummary {
                seq: 1,
                id: "01890000-0000-7000-8000-012389abcdef".parse().expect("valid"),
                workflow: "build".parse().expect("valid"),
                subject: Subject::stored("acme/site#7".into()),
                repo: None,
                number: None,
                status,
                current_phase: None,
                cause: Cause {
                    trigger: TriggerType::Api,
                    who: "ann".into(),
                    event: None,
                },
                error: None,
                restart_count: 0,
                created_at: at,
                started_at: None,
                ended_at: None,
            },
            definition: String::new(),
            context: RunContext::default(),
            reply_to: ReplyTo::Nobody,
            event: None,
            phases: rows
                .iter()
                .map(|(phase, status)| PhaseRecord {
                    phase: phase.parse().expect("valid"),
                    kind: "script".into(),
                    attempt: 1,
                    status: *status,
                    output: None,
                    reason: None,
                    exit_code: None,
                    started_at: at,
                    ended_at: None,
                })
                .collect(),
            scratch: BTreeMap::from([("c".to_owned(), 1.into()), ("other".to_owned(), 2.into())]),
            answers: Vec::new(),
        }
    }

    const LINE: &str = r#"[{"name":"a","label":"","kind":"script"},{"name":"b","label":"","kind":"script"},{"name":"c","label":"","kind":"script"}]"#;
    const GRAPH: &str = r#"[{"name":"a","label":"","kind":"script"},{"name":"b","label":"","kind":"script","depends_on":["a"]},
        {"name":"x","label":"","kind":"script"},{"name":"c","label":"","kind":"script","depends_on":["b"]}]"#;

    #[test]
    fn what_came_before_the_phase_is_taken_over_and_nothing_else() {
        use PhaseStatus::{Failed, Skipped, Succeeded};
        let rows = [
            ("a", Succeeded),
            ("x", Skipped),
            ("b", Failed),
            ("b_2", Succeeded),
            ("b_fix_1", Succeeded),
            ("c", Failed),
        ];
        for (phases, from, expected) in [
            (LINE, Some("a"), Ok(vec![])),
            (LINE, Some("b"), Ok(vec!["a"])),
            (LINE, Some("c"), Ok(vec!["a", "b_2", "b_fix_1"])),
            (GRAPH, Some("b"), Ok(vec!["a", "x"])),
            (GRAPH, Some("a"), Ok(vec!["x"])),
            (LINE, None, Ok(vec![])),
            (
                LINE,
                Some("d"),
                Err("the run's workflow has no phase \"d\"; it has: a, b, c"),
            ),
        ] {
            let found = take_over(&record(RunStatus::Failed, &rows), &workflow(phases), from);
            let found = found
                .map(|over| over.done.iter().map(|row| row.phase.to_string()).collect::<Vec<_>>())
                .map_err(|refusal| refusal.to_string());
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected.map_err(str::to_owned), "{from:?}");
        }
    }

    #[test]
    fn a_phase_is_not_first_while_something_before_it_is_missing() {
        let rows = [("a", PhaseStatus::Succeeded), ("b", PhaseStatus::Failed)];
        let refused = take_over(&record(RunStatus::Failed, &rows), &workflow(LINE), Some("c"));
        assert_eq!(
            refused.expect_err("refused").to_string(),
            "phase \"c\" cannot be the first: phase \"b\" before it did not come to a good end"
        );
        let live = take_over(&record(RunStatus::Paused, &[]), &workflow(LINE), None);
        assert_eq!(
            live.expect_err("refused").to_string(),
            "cannot retry a run with status 'paused'"
        );
    }

    #[test]
    fn state_of_phases_to_come_is_forgotten_and_a_chain_stays_in_one_folder() {
        let rows = [("a", PhaseStatus::Succeeded), ("b", PhaseStatus::Succeeded)];
        let mut first = record(RunStatus::Failed, &rows);
        let over = take_over(&first, &workflow(LINE), Some("c")).expect("taken over");
        assert_eq!(over.scratch.keys().collect::<Vec<_>>(), ["other"]);
        first.context = over.context;
        first.summary.id = "01890000-0000-7000-8000-ffffffffffff".parse().expect("valid");
        let again = take_over(&first, &workflow(LINE), Some("c"))
            .expect("taken over")
            .context
            .0;
        assert_eq!(again["_workOf"], "01890000-0000-7000-8000-012389abcdef");
        assert_eq!(again["_retryOf"], "01890000-0000-7000-8000-ffffffffffff");
    }
}
