//! Files of the original's grammar, as people have them: they load unchanged and mean what they meant. And graphs, good and bad.

use std::fs;
use std::time::{Duration, Instant};

use super::load::load_without;
use crate::domain::{
    ApprovalKind, Checkout, Decision, GateBinding, Mistake, OutputAction, PhaseKind, TokenProfile, TriggerRule,
    Workflow,
};

/// Reads one file with the whole grammar allowed. Prompts that the file names are there.
fn read(text: &str) -> Result<Workflow, Vec<Mistake>> {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let prompts = folder.path().join("workflows/prompts");
    fs::create_dir_all(&prompts).expect("an empty folder takes another");
    for line in text.lines() {
        for word in line.split([' ', ',', '}', '"']) {
            if let Some(name) = word.strip_prefix("prompts/") {
                let prompt = "About {{issueTitle}} in {{owner}}/{{repo}}, notes in {{issueDir}}. {{contextSnapshot}}\n";
                fs::write(prompts.join(name), prompt).expect("the file can be written");
            }
        }
    }
    for skill in ["building", "reviewing"] {
        let folder = folder.path().join("skills").join(skill);
        fs::create_dir_all(&folder).expect("an empty folder takes another");
        fs::write(folder.join("SKILL.md"), "How to do it.\n").expect("the file can be written");
    }
    fs::write(folder.path().join("workflows/it.yaml"), text).expect("the file can be written");
    let catalog = load_without(&[], Some(folder.path())).map_err(|mut mistakes| {
        for mistake in &mut mistakes {
            mistake.file = mistake.file.rsplit('/').next().unwrap_or("").to_owned();
        }
        mistakes
    })?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("name: "))
        .expect("it has a name");
    let workflow = catalog.get(name).expect("it was read").as_ref().clone();
    // What is stored is what was read.
    let back = Workflow::from_bundle(&workflow.bundle()).expect("a bundle is read back");
    assert_eq!((back.bundle(), back.hash), (workflow.bundle(), workflow.hash.clone()));
    Ok(workflow)
}

fn good(text: &str) -> Workflow {
    read(text).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)))
}

fn told(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}

// ---- files of the original's grammar ----

const BUILD_CYCLE: &str = r#"
kind: build
name: build-cycle
description: "Plan, write, review until it is good, open a pull request"
trigger: build

phases:
  - name: phase_0
    label: Context
    type: context

  - name: guardrails
    prompt: prompts/tools.md
    model: "{{models.guardrails}}"
    variant: "{{variants.guardrails}}"
    on_output:
      contains_BLOCKED:
        action: fail
        message: "The tools that this needs are missing"
        unless_label: "lastlight:bootstrap"
        unless_title_matches: "^(guardrails:|\\[guardrails\\])"
        bypass_message: |
          Tools are missing, and this issue is about them (`{{bootstrapLabel}}`). Notes are in `{{issueDir}}`.
      contains_READY:
        action: continue
    messages:
      on_success: "Ready"
      on_blocked: |
        **Blocked.** See `{{issueDir}}/tools.md` on branch `{{branch}}`.
      on_blocked_bypassed: Going on.

  - name: architect
    prompt: prompts/plan.md
    approval_gate: post_architect
    approval_gate_message: |
      The plan is on [{{branch}}]({{branchUrl plan.md}}). Shall I go on with {{slugify issueTitle}}?
      {{#if scratch.notes}}There are notes.{{/if}}

  - name: executor
    prompt: prompts/write.md
    skill: building
    messages:
      on_start: "Writing…"
      on_skipped_done: "Written before"

  - name: reviewer
    prompt: prompts/review.md
    skills: [reviewing, building]
    output_var: review
    loop:
      max_cycles: 2
      on_request_changes:
        fix_prompt: prompts/fix.md
        fix_model: "{{models.fix}}"
        fix_variant: "{{variants.fix}}"
        re_review_prompt: prompts/look-again.md
      approval_gate: post_reviewer
      messages:
        on_cycle_start: "Reading it (cycle {{cycle}})…"
        on_approved: "Approved"
        on_request_changes: "Changes are needed (cycle {{cycle}}/{{maxCycles}})"
        on_fix_start: "Changing it ({{fixCycle}})"
        on_fix_failed: "Change {{cycle}} failed"
        on_max_cycles: "Still open after {{maxCycles}} changes"
        on_pause_for_approval: "Shall I change it? ${review.output}"

  - name: pr
    prompt: prompts/open.md
    on_success:
      set_phase: complete
    messages:
      on_success: "${executor.output}"
"#;

#[test]
fn a_build_cycle_of_the_original_loads_unchanged() {
    let workflow = good(BUILD_CYCLE);
    assert_eq!(workflow.kind, "build");
    assert!(!workflow.is_graph());
    let rules = &workflow.phases[1].on_output;
    assert_eq!(
        rules
            .iter()
            .map(|rule| (rule.contains.as_str(), rule.action))
            .collect::<Vec<_>>(),
        [("BLOCKED", OutputAction::Fail), ("READY", OutputAction::Continue)]
    );
    assert_eq!(
        rules[0].unless_title_matches.as_deref(),
        Some(r"^(guardrails:|\[guardrails\])")
    );
    let review = workflow.phases[4].review_loop.as_ref().expect("it reviews");
    assert_eq!(
        (review.max_cycles, review.approval_gate.as_deref()),
        (2, Some("post_reviewer"))
    );
    assert!(review.re_review_prompt.is_some() && review.messages.on_max_cycles.is_some());
    assert_eq!(workflow.phases[4].skills.len(), 2);
}

const EXPLORE: &str = r#"
kind: explore
name: explore-idea
description: |
  Asks until the idea is clear, then writes it up.
trigger: explore

phases:
  - name: read_context
    prompt: prompts/read.md
    output_var: baseline
    unrestricted_egress: true
    messages:
      on_start: "Reading `{{owner}}/{{repo}}`…"

  - name: socratic
    prompt: prompts/ask.md
    unrestricted_egress: true
    web_search: true
    generic_loop:
      max_iterations: 8
      until: "output.contains('READY')"
      interactive: true
      gate_kind: reply
      scratch_key: socratic
      gate_message: |
        Just answer here ({{iteration}}/{{maxIterations}}).

  - name: publish
    prompt: prompts/publish.md
    output_var: publishResult
    on_success:
      set_phase: complete
    messages:
      on_success: "{{publishResult}}"
      on_failure: "It could not be published."
"#;

#[test]
fn an_interactive_loop_of_the_original_loads_unchanged() {
    let workflow = good(EXPLORE);
    let talk = workflow.phases[1].generic_loop.as_ref().expect("it talks");
    assert_eq!(
        (talk.max_iterations, talk.interactive, talk.gate_kind),
        (8, true, ApprovalKind::Reply)
    );
    assert_eq!(talk.until.as_deref(), Some("output.contains('READY')"));
    assert_eq!(
        (talk.scratch_key.as_deref(), talk.fresh_context),
        (Some("socratic"), false)
    );
    assert!(workflow.phases[1].web_search && workflow.phases[0].unrestricted_egress);
}

#[test]
fn every_form_of_until_of_the_original_loads_unchanged() {
    for until in [
        "output.contains('PASS')",
        "verdict == 'APPROVED'",
        "verdict != 'REQUEST_CHANGES'",
        "scratch.done == true",
        "scratch.done != true",
        "scratch.open == false",
    ] {
        let workflow = good(&format!(
            "name: loops\nphases:\n  - name: p\n    prompt: prompts/p.md\n    output_var: verdict\n    generic_loop:\n      max_iterations: 5\n      until: \"{until}\"\n      until_bash: npm test\n      interactive: false\n      fresh_context: false\n"
        ));
        let round = workflow.phases[0].generic_loop.as_ref().expect("it loops");
        assert_eq!(round.until.as_deref(), Some(until));
        assert_eq!(round.until_bash.as_deref(), Some("npm test"));
    }
}

const GRAPH: &str = r#"
kind: build
name: side-by-side
description: >
  Two look at it at the same time, two work on it, one brings it together.

phases:
  - name: phase_0
    type: context

  - name: architect
    type: agent
    prompt: prompts/plan.md
    depends_on: [phase_0]

  - name: security_review
    type: agent
    prompt: prompts/security.md
    depends_on: [phase_0]
    output_var: findings

  - name: executor
    type: agent
    prompt: prompts/write.md
    depends_on: [architect, security_review]
    trigger_rule: one_success

  - name: linter
    type: agent
    prompt: prompts/lint.md
    depends_on: [executor]
    trigger_rule: none_failed_min_one_success

  - name: notes
    type: agent
    prompt: prompts/notes.md

  - name: pr
    type: agent
    prompt: prompts/open.md
    depends_on: [executor, linter, notes]
    trigger_rule: all_done
    messages:
      on_start: "{{findings}} ${architect.output} ${notes.output}"
    on_success:
      set_phase: complete
"#;

#[test]
fn a_graph_of_the_original_loads_unchanged() {
    let workflow = good(GRAPH);
    assert!(workflow.is_graph());
    let rules: Vec<_> = workflow.phases.iter().map(|phase| phase.trigger_rule).collect();
    assert_eq!(
        rules[3..],
        [
            TriggerRule::OneSuccess,
            TriggerRule::NoneFailedMinOneSuccess,
            TriggerRule::AllSuccess,
            TriggerRule::AllDone
        ]
    );
    let needs: Vec<_> = workflow.phases[6].depends_on.iter().map(|name| name.as_str()).collect();
    assert_eq!(needs, ["executor", "linter", "notes"]);
}

// ---- what is ours ----

#[test]
fn a_gate_keeps_its_policy() {
    let workflow = good(
        "name: gates\nphases:\n  - name: ask\n    type: approval\n    gate: ship\n    gate_kind: reply\n    message: \"Ship {{branch}}?\"\n    gate_policy:\n      logins: [ann, ben]\n      slack_ids: [U012AB3CD]\n      not_requester: true\n      approvals: 3\n      deadline: 48h\n      on_deadline: approved\n      escalate_after: 4h\n      escalate_message: \"{{sender}} waits\"\n      bind_to: shown\n  - name: push\n    type: script\n    run: git push\n    profile: repo-write\n    checkout: \"{{branch}}\"\n    retry: {max: 2, backoff: 10s}\n  - name: look\n    type: script\n    run: ls\n    checkout: true\n  - name: skip\n    type: script\n    run: ls\n    checkout: false\n",
    );
    let [ask, push, look, skip] = workflow.phases.as_slice() else {
        panic!("four phases")
    };
    assert_eq!(ask.kind, PhaseKind::Approval);
    let step = ask.approval.as_ref().expect("it asks");
    assert_eq!((step.gate.as_str(), step.kind), ("ship", ApprovalKind::Reply));
    let policy = &ask.gate_policy;
    assert_eq!((policy.approvals, policy.not_requester), (3, true));
    assert_eq!(
        (policy.deadline, policy.on_deadline),
        (Some(Duration::from_secs(48 * 3600)), Some(Decision::Approved))
    );
    assert_eq!(policy.bind_to, Some(GateBinding::Shown));
    assert!(policy.names_somebody() && !policy.says_nothing());
    assert_eq!(push.profile, Some(TokenProfile::RepoWrite));
    assert_eq!(push.checkout, Some(Checkout::Ref("{{branch}}".into())));
    let retry = push.retry.expect("it tries again");
    assert_eq!((retry.max, retry.backoff), (2, Duration::from_secs(10)));
    assert_eq!(
        (look.checkout.as_ref(), skip.checkout.as_ref()),
        (Some(&Checkout::Subject), None)
    );
    assert!(look.gate_policy.says_nothing());
}

#[test]
fn a_bundle_of_before_still_loads() {
    let bundle = r#"{"name":"old","kind":"agent","description":"","variables":{},"phases":[{"name":"p","label":"p","kind":"reply","message":"hello"}],"text":"","file":"old.yaml"}"#;
    let workflow = Workflow::from_bundle(bundle).expect("it is one");
    let phase = &workflow.phases[0];
    assert_eq!(
        (phase.gate_policy.approvals, phase.trigger_rule),
        (1, TriggerRule::AllSuccess)
    );
    assert!(phase.retry.is_none() && phase.on_output.is_empty() && !workflow.is_graph());
}

// ---- graphs ----

#[test]
fn a_circle_is_told_once_with_its_way() {
    let mistakes = read(
        "name: x\nphases:\n  - {name: a, type: context, depends_on: [c]}\n  - {name: b, type: context, depends_on: [a]}\n  - {name: c, type: context, depends_on: [b]}\n  - {name: d, type: reply, message: '${c.output}', depends_on: [c]}\n  - {name: e, type: context, depends_on: [f]}\n  - {name: f, type: context, depends_on: [e]}\n",
    )
    .expect_err("it has circles");
    assert_eq!(
        told(&mistakes),
        "it.yaml:3:43: phases[0].depends_on[0]: goes round in a circle, a → c → b → a; every one of them would wait for ever, so take one of these out\n\
         it.yaml:7:43: phases[4].depends_on[0]: goes round in a circle, e → f → e; every one of them would wait for ever, so take one of these out\n"
    );
}

#[test]
fn an_output_is_there_only_where_it_is_waited_for() {
    let mistakes = read(
        "name: x\nphases:\n  - {name: a, type: script, run: ls, output_var: listing}\n  - {name: b, type: script, run: ls, depends_on: [a]}\n  - {name: c, type: reply, message: '${a.output} ${b.output} {{listing}}', depends_on: [b]}\n  - {name: d, type: reply, message: '${a.output} ${b.output} {{listing}}', depends_on: [a]}\n  - {name: e, type: context, when: \"listing == '' || b.output == ''\"}\n  - {name: f, type: script, run: ls, depends_on: [c], messages: {on_success: '${f.output}', on_start: '${f.output}'}}\n",
    )
    .expect_err("some are not there");
    assert_eq!(
        told(&mistakes),
        "it.yaml:6:50: phases[3].message: ${b.output}: phase \"b\" need not have ended when this is read; name it under \"depends_on\", or a phase that is waited for\n\
         it.yaml:7:37: phases[4].when: phase \"listing\" need not have ended when this is read; name it under \"depends_on\", or a phase that is waited for\n\
         it.yaml:7:54: phases[4].when: phase \"b\" need not have ended when this is read; name it under \"depends_on\", or a phase that is waited for\n\
         it.yaml:8:104: phases[5].messages.on_start: ${f.output}: phase \"f\" has no output yet when this is read; name a phase before it\n"
    );
}

#[test]
fn a_graph_may_name_a_phase_that_stands_below() {
    let workflow = good(
        "name: x\nphases:\n  - {name: a, type: reply, message: '${b.output}', depends_on: [b]}\n  - {name: b, type: script, run: ls}\n",
    );
    assert!(workflow.is_graph());
}

#[test]
fn a_large_graph_is_read_quickly() {
    let mut text = "name: x\nphases:\n  - {name: p0, type: context}\n".to_owned();
    for at in 1..1_000usize {
        let needs: Vec<_> = (at.saturating_sub(20)..at).map(|need| format!("p{need}")).collect();
        text.push_str(&format!(
            "  - {{name: p{at}, type: context, depends_on: [{}]}}\n",
            needs.join(",")
        ));
    }
    let start = Instant::now();
    assert_eq!(good(&text).phases.len(), 1_000);
    let ring = text.replace(
        "{name: p0, type: context}",
        "{name: p0, type: context, depends_on: [p999]}",
    );
    let mistakes = read(&ring).expect_err("it is a ring");
    assert!(
        mistakes.len() <= 10 && told(&mistakes).len() < 3_000,
        "{}",
        told(&mistakes)
    );
    let ten_thousand: String = (0..10_000)
        .map(|at| format!("- {{name: p{at}, type: context}}\n"))
        .collect();
    let mistakes = read(&format!("name: x\nphases:\n{ten_thousand}")).expect_err("too many");
    assert_eq!(mistakes.len(), 1, "{}", told(&mistakes));
    // Generous: what it must not do is take time in step with the square of the arrows.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
