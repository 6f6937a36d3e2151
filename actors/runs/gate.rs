//! Approval gates: whether a phase asks a person, and the words it asks with. Pure: knows no store and no clock.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::domain::{
    AnswerRules, ApprovalId, ApprovalKind, Decision, GateBinding, GatePolicy, NewApproval, Phase, PhaseKind, PhaseName,
    PhaseStatus, WorkflowName, shown_digest,
};

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
    match phase.kind {
        PhaseKind::Approval => format!("Workflow \"{workflow}\" asks: {}. Shall it go on?", phase.label),
        _ => format!(
            "Phase \"{}\" of workflow \"{workflow}\" is done. Shall it go on?",
            phase.label
        ),
    }
}

/// A gate as a phase has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate<'p> {
    /// Its name.
    pub(crate) name: &'p str,
    /// Yes or no, or words.
    pub(crate) kind: ApprovalKind,
    /// Who may answer, how many must, and by when.
    pub(crate) policy: &'p GatePolicy,
    /// Template of the question.
    pub(crate) question: Option<&'p str>,
}

/// The gate of a phase: the one it is for, or the one it ends at.
pub(crate) fn gate_of(phase: &Phase) -> Option<Gate<'_>> {
    if let Some(step) = &phase.approval {
        return Some(Gate {
            name: &step.gate,
            kind: step.kind,
            policy: &phase.gate_policy,
            question: phase.message.as_deref(),
        });
    }
    Some(Gate {
        name: phase.approval_gate.as_deref()?,
        kind: ApprovalKind::Approve,
        policy: &phase.gate_policy,
        question: phase.approval_gate_message.as_deref(),
    })
}

/// Whether an answer to this gate holds for the head commit, where the run is about a pull request.
pub(crate) fn binds_to_head(policy: &GatePolicy) -> bool {
    policy.bind_to != Some(GateBinding::Shown)
}

/// The head commit where GitHub does not say which it is: new commits make the question lapse all the same.
pub(crate) const UNKNOWN_HEAD: &str = "unknown";

/// What a question is made of.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    /// Its id.
    pub(crate) id: ApprovalId,
    /// The phase execution that waits.
    pub(crate) phase: PhaseName,
    /// The gate.
    pub(crate) gate: Gate<'a>,
    /// The question, rendered.
    pub(crate) question: String,
    /// What the phase has brought about, which is what the answer is about.
    pub(crate) output: &'a str,
    /// The head commit that the answer holds for.
    pub(crate) head_sha: Option<String>,
    /// Who started the run.
    pub(crate) requested_by: String,
    /// The policy's notice, rendered.
    pub(crate) escalate_message: Option<String>,
    /// Now.
    pub(crate) at: DateTime<Utc>,
}

impl Asking<'_> {
    /// The question as it goes into the store: the policy's lengths of time have become instants.
    pub(crate) fn approval(self) -> NewApproval {
        let policy = self.gate.policy;
        // Whole milliseconds, as the store keeps them.
        let since = self.at.trunc_subsecs(3);
        let after = |length: Option<std::time::Duration>| {
            length.and_then(|length| since.checked_add_signed(TimeDelta::from_std(length).ok()?))
        };
        NewApproval {
            id: self.id,
            phase: self.phase,
            gate: self.gate.name.to_owned(),
            shown: Some(shown_digest(&self.question, self.output, self.head_sha.as_deref())),
            summary: self.question,
            kind: self.gate.kind,
            requested_by: self.requested_by,
            rules: AnswerRules {
                logins: policy.logins.clone(),
                associations: policy.associations.clone(),
                slack_ids: policy.slack_ids.clone(),
                not_requester: policy.not_requester,
                approvals: policy.approvals,
                deadline: after(policy.deadline),
                by_default: policy.on_deadline,
                escalate_at: after(policy.escalate_after),
                escalate_message: self.escalate_message,
            },
            head_sha: self.head_sha,
        }
    }
}

/// The comment that tells people what is asked, by what rules, and how to answer. `anew`: why the question before lapsed.
pub(crate) fn question_comment(asked: &NewApproval, bot: &str, anew: Option<&str>) -> String {
    let (title, how) = match asked.kind {
        ApprovalKind::Approve => (
            "Approval needed",
            format!("Answer with `@{bot} approve`, or with `@{bot} reject <reason>`."),
        ),
        ApprovalKind::Reply => ("Answer needed", "Answer with a comment here.".to_owned()),
    };
    let lead = format!("**{title}: {}**", asked.gate);
    paragraphs([&lapsed(anew), &lead, &asked.summary, &how, &fine_print(asked)])
}

/// The same for a chat, where buttons say how to answer with yes or no.
pub(crate) fn question_in_chat(asked: &NewApproval, anew: Option<&str>) -> String {
    let how = match asked.kind {
        ApprovalKind::Approve => "",
        ApprovalKind::Reply => "Answer with a message here.",
    };
    paragraphs([&lapsed(anew), &asked.summary, how, &fine_print(asked)])
}

fn paragraphs<const N: usize>(parts: [&str; N]) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

fn lapsed(anew: Option<&str>) -> String {
    anew.map(|reason| format!("The question before has lapsed: {reason}. It is asked anew."))
        .unwrap_or_default()
}

/// By what rules.
fn fine_print(asked: &NewApproval) -> String {
    let rules = &asked.rules;
    let mut fine_print = Vec::new();
    if rules.name_somebody() {
        fine_print.push(format!("May answer: {}.", rules.who()));
    }
    if rules.not_requester {
        fine_print.push(format!("Not {}, who asked for this run.", asked.requested_by));
    }
    if rules.needed() > 1 {
        fine_print.push(format!("{} people have to approve.", rules.needed()));
    }
    if let Some(deadline) = rules.deadline {
        let then = match rules.by_default {
            Some(Decision::Approved) => "approved",
            Some(Decision::Rejected) | None => "rejected",
        };
        let until = deadline.format("%Y-%m-%d %H:%M UTC");
        fine_print.push(format!("Without an answer by {until} it is {then}."));
    }
    if let Some(sha) = asked.head_sha.as_deref().filter(|sha| *sha != UNKNOWN_HEAD) {
        let short: String = sha.chars().take(12).collect();
        fine_print.push(format!(
            "The answer holds for commit {short}; new commits make it lapse."
        ));
    }
    fine_print.join(" ")
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

    fn asked(policy: GatePolicy, kind: ApprovalKind, head_sha: Option<&str>) -> NewApproval {
        Asking {
            id: ApprovalId::new(uuid::Uuid::nil()),
            phase: "plan".parse().expect("valid"),
            gate: Gate {
                name: "post_plan",
                kind,
                policy: &policy,
                question: None,
            },
            question: "Is the plan good?".into(),
            output: "the plan",
            head_sha: head_sha.map(str::to_owned),
            requested_by: "ann".into(),
            escalate_message: None,
            at: DateTime::from_timestamp(1_800_000_000, 123_456_789).expect("in range"),
        }
        .approval()
    }

    #[test]
    fn the_comment_says_what_is_asked_by_what_rules_and_how_to_answer() {
        let plain = asked(GatePolicy::default(), ApprovalKind::Approve, None);
        let text = question_comment(&plain, "last-light", None);
        let lead = "**Approval needed: post_plan**\n\nIs the plan good?\n\nAnswer with `@last-light approve`, or with `@last-light reject <reason>`.";
        assert_eq!(text, lead);
        let strict = GatePolicy {
            logins: vec!["bob".into()],
            not_requester: true,
            approvals: 2,
            deadline: Some(std::time::Duration::from_secs(3_600)),
            ..GatePolicy::default()
        };
        let strict = asked(strict, ApprovalKind::Approve, Some("0123456789abcdef"));
        let text = question_comment(&strict, "last-light", Some("new commits were pushed"));
        assert_eq!(
            text,
            format!(
                "The question before has lapsed: new commits were pushed. It is asked anew.\n\n{lead}\n\nMay answer: bob. \
                 Not ann, who asked for this run. 2 people have to approve. \
                 Without an answer by 2027-01-15 09:00 UTC it is rejected. \
                 The answer holds for commit 0123456789ab; new commits make it lapse."
            )
        );
        let words = question_comment(
            &asked(GatePolicy::default(), ApprovalKind::Reply, None),
            "last-light",
            None,
        );
        assert!(words.ends_with("Answer with a comment here."), "{words}");
    }

    #[test]
    fn lengths_of_time_become_instants_and_what_is_shown_has_a_digest() {
        let policy = GatePolicy {
            deadline: Some(std::time::Duration::from_millis(1_500)),
            escalate_after: Some(std::time::Duration::from_secs(1)),
            on_deadline: Some(Decision::Approved),
            ..GatePolicy::default()
        };
        let one = asked(policy.clone(), ApprovalKind::Approve, Some("a"));
        let millis = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_millis());
        assert_eq!(millis(one.rules.deadline), Some(1_800_000_001_623));
        assert_eq!(millis(one.rules.escalate_at), Some(1_800_000_001_123));
        let other = asked(policy, ApprovalKind::Approve, Some("b"));
        assert_ne!(one.shown, other.shown);
        assert_eq!(one.shown.map(|digest| digest.len()), Some(64));
    }
}
