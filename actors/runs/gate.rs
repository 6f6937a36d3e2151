//! Approval gates: whether a phase asks a person, and the words it asks with. Pure: knows no store and no clock.

use std::collections::BTreeSet;

use crate::domain::{Phase, PhaseStatus, WorkflowName};

/// The gate that a phase ends at: the run pauses *before its next phase*, with this one done.
///
/// Only gates that settings enable ask. A phase that was skipped asks too, since what comes after it is no safer for that;
/// one that failed ends the run anyway.
pub(crate) fn gate_after<'p>(phase: &'p Phase, status: PhaseStatus, enabled: &BTreeSet<String>) -> Option<&'p str> {
    let done = matches!(status, PhaseStatus::Succeeded | PhaseStatus::Skipped);
    phase
        .approval_gate
        .as_deref()
        .filter(|gate| done && enabled.contains(*gate))
}

/// What is asked when the workflow's author wrote no question.
pub(crate) fn plain_question(workflow: &WorkflowName, phase: &Phase) -> String {
    format!(
        "Phase \"{}\" of workflow \"{workflow}\" is done. Shall it go on?",
        phase.label
    )
}

/// The comment that tells people how to answer.
pub(crate) fn question_comment(gate: &str, question: &str, bot: &str) -> String {
    format!(
        "**Approval needed: {gate}**\n\n{question}\n\nAnswer with `@{bot} approve`, or with `@{bot} reject <reason>`."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::phase::tests::workflow;

    #[test]
    fn only_an_enabled_gate_of_a_phase_that_is_done_asks() {
        let workflow = workflow(
            r#"[{"name":"plan","label":"Plan","kind":"context","approval_gate":"post_plan"}, {"name":"b","label":"b","kind":"context"}]"#,
        );
        let (gated, plain) = (&workflow.phases[0], &workflow.phases[1]);
        let on = BTreeSet::from(["post_plan".to_owned()]);
        let off = BTreeSet::new();
        for (phase, status, enabled, expected) in [
            (gated, PhaseStatus::Succeeded, &on, Some("post_plan")),
            (gated, PhaseStatus::Skipped, &on, Some("post_plan")),
            (gated, PhaseStatus::Failed, &on, None),
            (gated, PhaseStatus::Succeeded, &off, None),
            (plain, PhaseStatus::Succeeded, &on, None),
        ] {
            assert_eq!(gate_after(phase, status, enabled), expected, "{} {status}", phase.name);
        }
    }

    #[test]
    fn the_comment_says_how_to_answer() {
        let text = question_comment("post_plan", "Is the plan good?", "last-light");
        assert!(
            text.contains("`@last-light approve`") && text.contains("`@last-light reject <reason>`"),
            "{text}"
        );
        assert!(
            text.contains("Is the plan good?") && text.contains("post_plan"),
            "{text}"
        );
    }
}
