//! The grammar of a workflow file: every key, where it may stand, what it holds and what it says. Knows no folder; texts of
//! prompts and skills are asked of [`Assets`].
//!
//! A new key is one row in one of the tables below. The table of the grammar's README and the JSON Schema for editors are
//! held against them by tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::check;
use super::graph::Order;
use super::json_schema::Shape;
use super::reader::{Assets, MAX_DEADLINE, MAX_TIMEOUT, Reader, Sees, did_you_mean};
use crate::domain::{
    ApprovalKind, ApprovalStep, Channel, Checkout, Decision, DefinitionHash, EmitStep, GateBinding, GatePolicy,
    GenericLoop, IntegrationEvent, LoopMessages, Mistake, NotifyStep, OnSuccess, OutputAction, OutputRule, Phase,
    PhaseKind, PhaseMessages, PhaseName, Priority, Reaction, Retry, ReviewLoop, TokenProfile, TriggerRule, Workflow,
    WorkflowName,
};
use crate::yaml::{Node, Value};

/// Most phases in a workflow.
pub const MAX_PHASES: usize = 1_000;
/// Most rounds of a loop.
pub const MAX_ROUNDS: u32 = 100;
/// Most people that a gate can ask for.
const MAX_APPROVALS: u32 = 20;
/// Longest pause before the first retry.
const MAX_BACKOFF: Duration = Duration::from_secs(60 * 60);
/// Most circles that one file is reported with.
const MOST_CIRCLES: usize = 10;

/// A key that a map of a workflow file may hold.
pub(crate) struct Key<T: 'static> {
    pub(crate) name: &'static str,
    /// The kinds of phases that it makes sense for.
    pub(crate) kinds: &'static [PhaseKind],
    /// What it holds, for editors.
    pub(crate) shape: Shape,
    /// What it says, in one line of Markdown.
    pub(crate) doc: &'static str,
    pub(crate) read: fn(&mut T, &Node, &mut Reader<'_>),
}

pub(crate) const EVERY: &[PhaseKind] = PhaseKind::ALL;
const AGENT: &[PhaseKind] = &[PhaseKind::Agent];
const PROCESS: &[PhaseKind] = &[PhaseKind::Agent, PhaseKind::Script];
const SCRIPT: &[PhaseKind] = &[PhaseKind::Script];
const NOTIFY: &[PhaseKind] = &[PhaseKind::Notify];
const EMIT: &[PhaseKind] = &[PhaseKind::Emit];
const APPROVAL: &[PhaseKind] = &[PhaseKind::Approval];
const SPEAKING: &[PhaseKind] = &[PhaseKind::Reply, PhaseKind::Notify, PhaseKind::Approval];
const ANSWERING: &[PhaseKind] = &[PhaseKind::Agent, PhaseKind::Script, PhaseKind::Approval];
const NOT_APPROVAL: &[PhaseKind] = &[
    PhaseKind::Context,
    PhaseKind::Agent,
    PhaseKind::Script,
    PhaseKind::Reply,
    PhaseKind::Notify,
    PhaseKind::Emit,
];

const WORKFLOW_KEYS: &[Key<WorkflowDraft>] = &[
    key(
        "name",
        EVERY,
        Shape::Name,
        "what the workflow is called by; needed",
        |w, node, r| w.name = r.id(node),
    ),
    key(
        "kind",
        EVERY,
        Shape::Filled,
        "a free label, `agent` if absent; `cron` makes the file a schedule",
        |w, node, r| w.kind = r.filled(node),
    ),
    key(
        "description",
        EVERY,
        Shape::Text,
        "one line for people",
        |w, node, r| {
            w.description = r.text(node);
        },
    ),
    key(
        "trigger",
        EVERY,
        Shape::OneOrMore,
        "for people, a text or a list; what really starts it are the routes in the settings",
        |_, node, r| {
            if matches!(node.value, Value::Seq(_)) {
                r.list(node, Reader::filled);
            } else {
                r.filled(node);
            }
        },
    ),
    key(
        "variables",
        EVERY,
        Shape::TextMap("^[A-Za-z0-9_-]+$"),
        "constants, `{{variables.tone}}` in templates; not templates themselves",
        |w, node, r| w.variables = r.text_map(node, VARIABLE_RULE, is_variable_name, Reader::text),
    ),
    key(
        "phases",
        EVERY,
        Shape::Phases,
        "the phases, in order; at least one",
        read_phases,
    ),
];

pub(super) const PHASE_KEYS: &[Key<PhaseDraft>] = &[
    key(
        "name",
        EVERY,
        Shape::Name,
        "unique in the workflow; needed",
        |p, node, r| p.name = r.id(node),
    ),
    // Read before the others, see `read_phase`.
    key(
        "type",
        EVERY,
        Shape::Choice(|| names(PhaseKind::ALL, PhaseKind::as_str)),
        "what it does, see above",
        |_, _, _| {},
    ),
    key(
        "label",
        EVERY,
        Shape::Filled,
        "for people; the name if absent",
        |p, node, r| p.label = r.filled(node),
    ),
    key(
        "when",
        EVERY,
        Shape::Filled,
        "an expression; where it does not hold, the phase is skipped, with a visible reason",
        |p, node, r| p.rest.when = r.expression(node, Sees::Before),
    ),
    key(
        "depends_on",
        EVERY,
        Shape::Names,
        "the phases that it waits for. Where one phase of a workflow has this, all phases wait for just what they say, and those \
         that say nothing begin at once; otherwise each waits for the one before",
        |p, node, r| {
            p.waits_for = r.set(node, |r, node| r.word(node, "phase name"));
            p.waits_at = Some(node.clone());
        },
    ),
    key(
        "trigger_rule",
        EVERY,
        Shape::Choice(|| names(TriggerRule::ALL, TriggerRule::as_str)),
        "when it begins, by how those phases ended, see below; `all_success` if absent",
        |p, node, r| {
            if let Some(rule) = r.choice(node, "trigger rule", TriggerRule::ALL, TriggerRule::as_str) {
                p.rest.trigger_rule = rule;
            }
        },
    ),
    key(
        "prompt",
        AGENT,
        Shape::Prompt,
        "the file with the prompt, a template. An agent phase needs this, or `skill`, or `skills`",
        |p, node, r| p.rest.prompt = r.prompt(node, Sees::Before),
    ),
    key(
        "skill",
        AGENT,
        Shape::Name,
        "a text that is put before the prompt, as it is",
        |p, node, r| p.rest.skills.extend(r.skill(node)),
    ),
    key(
        "skills",
        AGENT,
        Shape::Names,
        "several of them; not beside `skill`",
        |p, node, r| p.rest.skills.extend(r.list(node, Reader::skill)),
    ),
    key(
        "model",
        AGENT,
        Shape::Filled,
        "a template; the runtime finds it as `FIRSTLIGHT_MODEL`",
        |p, node, r| p.rest.model = r.template(node, Sees::Before),
    ),
    key(
        "variant",
        AGENT,
        Shape::Filled,
        "a template; the runtime finds it as `FIRSTLIGHT_VARIANT`",
        |p, node, r| p.rest.variant = r.template(node, Sees::Before),
    ),
    key(
        "runtime",
        AGENT,
        Shape::Name,
        "which runtime of the settings; `default` if absent",
        |p, node, r| {
            p.rest.runtime = r.word(node, "runtime");
            p.runtime_at = (node.line, node.column);
        },
    ),
    key(
        "optional",
        AGENT,
        Shape::Flag,
        "skipped, with a visible reason, where its runtime is not configured; otherwise the run fails there",
        |p, node, r| p.rest.optional = r.flag(node).unwrap_or(false),
    ),
    key(
        "unrestricted_egress",
        AGENT,
        Shape::Flag,
        "the phase needs the open network; the runtime finds `FIRSTLIGHT_UNRESTRICTED_EGRESS=1` and decides",
        |p, node, r| p.rest.unrestricted_egress = r.flag(node).unwrap_or(false),
    ),
    key(
        "web_search",
        AGENT,
        Shape::Flag,
        "the phase may search the web; the runtime finds `FIRSTLIGHT_WEB_SEARCH=1` and decides",
        |p, node, r| p.rest.web_search = r.flag(node).unwrap_or(false),
    ),
    key(
        "run",
        SCRIPT,
        Shape::Command,
        "the command, for `sh`; never a template, see below; needed",
        |p, node, r| p.rest.run = r.command(node),
    ),
    key(
        "env",
        PROCESS,
        Shape::TextMap("^(?!FIRSTLIGHT_)[A-Za-z_][A-Za-z0-9_]*$"),
        "variables of the process; the values are templates",
        |p, node, r| {
            p.rest.env = r.text_map(node, ENV_RULE, is_env_name, |r, node| {
                r.any_template(node, Sees::Before)
            });
        },
    ),
    key(
        "timeout",
        PROCESS,
        Shape::Time,
        "the process and what it started are ended after that; 1ms to 24h",
        |p, node, r| p.rest.timeout = r.duration(node, MAX_TIMEOUT),
    ),
    key(
        "retry",
        PROCESS,
        Shape::Map(|| RETRY.schema()),
        "another try after one that ended badly",
        |p, node, r| {
            let mut retry = RetryDraft::default();
            r.map(&mut retry, node, RETRY);
            p.rest.retry = retry.max.map(|max| Retry {
                max,
                backoff: retry.backoff,
            });
        },
    ),
    key(
        "profile",
        PROCESS,
        Shape::Choice(|| names(TokenProfile::ALL, TokenProfile::as_str)),
        "the process finds a token as `GITHUB_TOKEN` that is good for the run's repository and may do just this, see below; \
         none if absent",
        |p, node, r| p.rest.profile = r.choice(node, "profile", TokenProfile::ALL, TokenProfile::as_str),
    ),
    key(
        "checkout",
        PROCESS,
        Shape::FlagOrText,
        "the phase starts in a fresh clone of the repository, and so do those after it, which find what it left there: `true` for the head of the pull request, or else the \
         default branch; or a branch, tag or commit, a template",
        |p, node, r| {
            p.rest.checkout = match node.to_json().as_bool() {
                Some(true) => Some(Checkout::Subject),
                Some(false) => None,
                None => r.template(node, Sees::Before).map(Checkout::Ref),
            };
        },
    ),
    key(
        "output_var",
        ANSWERING,
        Shape::Name,
        "a second name for the output in templates",
        |p, node, r| p.rest.output_var = r.output_var(node),
    ),
    key(
        "message",
        SPEAKING,
        Shape::Filled,
        "the answer (reply), the notice (notify) or the question (approval), a template; needed",
        |p, node, r| p.rest.message = r.template(node, Sees::Before),
    ),
    key(
        "channel",
        NOTIFY,
        Shape::Choice(|| names(Channel::ALL, Channel::as_str)),
        "where the notice goes; needed",
        |p, node, r| p.channel = r.choice(node, "channel", Channel::ALL, Channel::as_str),
    ),
    key(
        "priority",
        NOTIFY,
        Shape::Choice(|| names(Priority::ALL, Priority::as_str)),
        "how urgent the notice is; `normal` if absent",
        |p, node, r| p.priority = r.choice(node, "priority", Priority::ALL, Priority::as_str),
    ),
    key(
        "webhook_url",
        NOTIFY,
        Shape::Url,
        "the endpoint, no template; without one the notice is stored and mailed at most. Shown nowhere, but whoever reads the \
         file can use it",
        |p, node, r| p.webhook_url = r.address(node),
    ),
    key(
        "event",
        EMIT,
        Shape::Choice(|| names(IntegrationEvent::ALL, IntegrationEvent::as_str)),
        "the event that is told to whoever subscribed to it; needed",
        |p, node, r| p.event = r.choice(node, "event", IntegrationEvent::ALL, IntegrationEvent::as_str),
    ),
    key(
        "payload",
        EMIT,
        Shape::Anything,
        "what is told with it; every text in it is a template",
        |p, node, r| p.payload = r.payload(node),
    ),
    key(
        "gate",
        APPROVAL,
        Shape::Name,
        "name of the gate. It is asked always, whatever `approvals.gates` in the settings says; needed",
        |p, node, r| p.gate = r.word(node, "gate"),
    ),
    key(
        "gate_kind",
        APPROVAL,
        Shape::Choice(|| names(ApprovalKind::ALL, ApprovalKind::as_str)),
        "`approve` asks for yes or no, `reply` for words, which become the output; `approve` if absent",
        |p, node, r| p.gate_kind = r.choice(node, "kind of gate", ApprovalKind::ALL, ApprovalKind::as_str),
    ),
    key(
        "approval_gate",
        NOT_APPROVAL,
        Shape::Name,
        "a person is asked after this phase, if `approvals.gates` in the settings has this name",
        |p, node, r| p.rest.approval_gate = r.word(node, "gate"),
    ),
    key(
        "approval_gate_message",
        NOT_APPROVAL,
        Shape::Filled,
        "the question, a template",
        |p, node, r| p.rest.approval_gate_message = r.template(node, Sees::After),
    ),
    key(
        "gate_policy",
        EVERY,
        Shape::Map(|| GATE_POLICY.schema()),
        "who may answer the gate of this phase, how many must, and by when",
        read_gate_policy,
    ),
    key(
        "on_output",
        PROCESS,
        Shape::Rules,
        "what words in the output lead to, in this order",
        read_rules,
    ),
    key(
        "loop",
        AGENT,
        Shape::Map(|| REVIEW_LOOP.schema()),
        "the phase reviews; where its output has a line `VERDICT: REQUEST_CHANGES`, another prompt has the changes made and it \
         reviews again. `VERDICT: APPROVED` ends it",
        |p, node, r| {
            let mut draft = ReviewDraft::default();
            r.map(&mut draft, node, REVIEW_LOOP);
            if let (Some(policy), None) = (node.get("gate_policy"), node.get("approval_gate")) {
                r.wrong_at(
                    policy,
                    "gate_policy",
                    "needs \"approval_gate\" beside it, the name of the gate",
                );
            }
            p.rest.review_loop = draft.finish();
        },
    ),
    key(
        "generic_loop",
        PROCESS,
        Shape::Map(|| GENERIC_LOOP.schema()),
        "the phase again and again, until something holds",
        read_generic_loop,
    ),
    key(
        "messages",
        EVERY,
        Shape::Map(|| MESSAGES.schema()),
        "what is said to whoever asked as the phase goes",
        |p, node, r| r.map(&mut p.rest.messages, node, MESSAGES),
    ),
    key(
        "on_success",
        EVERY,
        Shape::Map(|| ON_SUCCESS.schema()),
        "what a good end changes",
        |p, node, r| r.map(&mut p.rest.on_success, node, ON_SUCCESS),
    ),
];

const RETRY_KEYS: &[Key<RetryDraft>] = &[
    key(
        "max",
        PROCESS,
        Shape::Count(1, Retry::MOST),
        "how many tries after the first, 1 to 20; needed",
        |retry, node, r| retry.max = r.count(node, 1..=Retry::MOST),
    ),
    key(
        "backoff",
        PROCESS,
        Shape::Time,
        "the pause before the first of them, up to 1h; each further one is twice as long; none if absent",
        |retry, node, r| {
            if let Some(time) = r.duration(node, MAX_TIMEOUT) {
                if time > MAX_BACKOFF {
                    return r.wrong(node, "is longer than 1h; a person will not wait that long for a retry");
                }
                retry.backoff = time;
            }
        },
    ),
];

const GATE_POLICY_KEYS: &[Key<GatePolicy>] = &[
    key(
        "logins",
        EVERY,
        Shape::Filleds,
        "GitHub logins that may answer. Where neither these nor `associations` nor `slack_ids` are there, everybody may who may \
         command the service",
        |policy, node, r| policy.logins = r.set(node, |r, node| r.fitting(node, is_login, LOGIN_RULE)),
    ),
    key(
        "associations",
        EVERY,
        Shape::Choices(|| ASSOCIATIONS.to_vec()),
        "standings in the repository that may answer, in GitHub's words",
        |policy, node, r| {
            policy.associations = r.set(node, |r, node| {
                r.choice(node, "association", ASSOCIATIONS, |name| name)
                    .map(str::to_owned)
            });
        },
    ),
    key(
        "slack_ids",
        EVERY,
        Shape::Filleds,
        "Slack user ids that may answer",
        |policy, node, r| policy.slack_ids = r.set(node, |r, node| r.fitting(node, is_slack_id, SLACK_RULE)),
    ),
    key(
        "not_requester",
        EVERY,
        Shape::Flag,
        "whoever started the run may not answer",
        |policy, node, r| policy.not_requester = r.flag(node).unwrap_or(false),
    ),
    key(
        "approvals",
        EVERY,
        Shape::Count(1, MAX_APPROVALS),
        "how many different people must say yes, 1 to 20; 1 if absent. One no is enough",
        |policy, node, r| policy.approvals = r.count(node, 1..=MAX_APPROVALS).unwrap_or(1),
    ),
    key(
        "deadline",
        EVERY,
        Shape::Time,
        "how long the question stands, up to 365 days; for ever if absent",
        |policy, node, r| policy.deadline = r.duration(node, MAX_DEADLINE),
    ),
    key(
        "on_deadline",
        EVERY,
        Shape::Choice(|| names(Decision::ALL, Decision::as_str)),
        "the decision when the deadline passes: `approved` or `rejected`, which is meant if absent",
        |policy, node, r| policy.on_deadline = r.choice(node, "decision", Decision::ALL, Decision::as_str),
    ),
    key(
        "escalate_after",
        EVERY,
        Shape::Time,
        "when nobody has answered for that long, a notice is said, once",
        |policy, node, r| policy.escalate_after = r.duration(node, MAX_DEADLINE),
    ),
    key(
        "escalate_message",
        EVERY,
        Shape::Filled,
        "the notice, a template",
        |policy, node, r| {
            let sees = if r.kind == Some(PhaseKind::Approval) {
                Sees::Before
            } else {
                Sees::After
            };
            policy.escalate_message = r.template(node, sees);
        },
    ),
    key(
        "bind_to",
        EVERY,
        Shape::Choice(|| names(GateBinding::ALL, GateBinding::as_str)),
        "what an answer holds for: `head_sha`, the head commit of the pull request, or `shown`, the text of the question. When it \
         has changed, the question lapses. If absent, the one for pull requests and the other elsewhere",
        |policy, node, r| policy.bind_to = r.choice(node, "binding", GateBinding::ALL, GateBinding::as_str),
    ),
];

const RULE_KEYS: &[Key<RuleDraft>] = &[
    key(
        "action",
        PROCESS,
        Shape::Choice(|| names(OutputAction::ALL, OutputAction::as_str)),
        "`fail` ends the phase and the run, `pause` asks a person before the next phase, `continue` only says the message; needed",
        |rule, node, r| rule.action = r.choice(node, "action", OutputAction::ALL, OutputAction::as_str),
    ),
    key(
        "message",
        PROCESS,
        Shape::Filled,
        "a template, said or given as the reason",
        |rule, node, r| rule.message = r.template(node, Sees::After),
    ),
    key(
        "unless_label",
        PROCESS,
        Shape::Filled,
        "the rule does not count where the issue has this label",
        |rule, node, r| rule.unless_label = r.filled(node),
    ),
    key(
        "unless_title_matches",
        PROCESS,
        Shape::Filled,
        "nor where its title has this regular expression in it, in any case",
        |rule, node, r| rule.unless_title_matches = r.pattern(node),
    ),
    key(
        "bypass_message",
        PROCESS,
        Shape::Filled,
        "a template, said when the rule did not count",
        |rule, node, r| rule.bypass_message = r.template(node, Sees::After),
    ),
];

const REVIEW_LOOP_KEYS: &[Key<ReviewDraft>] = &[
    key(
        "max_cycles",
        AGENT,
        Shape::Count(1, MAX_ROUNDS),
        "how often changes are made at most, 1 to 100; then the run goes on as it is; needed",
        |l, node, r| l.max_cycles = r.count(node, 1..=MAX_ROUNDS),
    ),
    key(
        "on_request_changes",
        AGENT,
        Shape::Map(|| ON_REQUEST_CHANGES.schema()),
        "how changes are made; needed",
        |l, node, r| r.map(l, node, ON_REQUEST_CHANGES),
    ),
    key(
        "approval_gate",
        AGENT,
        Shape::Name,
        "a person is asked before changes are made, if `approvals.gates` in the settings has this name",
        |l, node, r| l.approval_gate = r.word(node, "gate"),
    ),
    key(
        "gate_policy",
        AGENT,
        Shape::Map(|| GATE_POLICY.schema()),
        "as above, for this gate",
        |l, node, r| {
            r.map(&mut l.gate_policy, node, GATE_POLICY);
            check_policy(&l.gate_policy, node, r);
        },
    ),
    key(
        "messages",
        AGENT,
        Shape::Map(|| LOOP_MESSAGES.schema()),
        "what is said to whoever asked as the loop goes; `{{cycle}}` and `{{maxCycles}}` are known",
        |l, node, r| r.map(&mut l.messages, node, LOOP_MESSAGES),
    ),
];

const ON_REQUEST_CHANGES_KEYS: &[Key<ReviewDraft>] = &[
    key(
        "fix_prompt",
        AGENT,
        Shape::Prompt,
        "the file with the prompt that has the changes made, a template; needed",
        |l, node, r| l.fix_prompt = r.prompt(node, Sees::After),
    ),
    key(
        "fix_model",
        AGENT,
        Shape::Filled,
        "its model, a template; that of the phase if absent",
        |l, node, r| l.fix_model = r.template(node, Sees::After),
    ),
    key(
        "fix_variant",
        AGENT,
        Shape::Filled,
        "its variant, a template; that of the phase if absent",
        |l, node, r| l.fix_variant = r.template(node, Sees::After),
    ),
    key(
        "re_review_prompt",
        AGENT,
        Shape::Prompt,
        "the file with the prompt that reviews again, a template; that of the phase if absent",
        |l, node, r| l.re_review_prompt = r.prompt(node, Sees::After),
    ),
];

const LOOP_MESSAGE_KEYS: &[Key<LoopMessages>] = &[
    key(
        "on_cycle_start",
        AGENT,
        Shape::Filled,
        "a template, said when a review begins",
        |m, node, r| m.on_cycle_start = r.template(node, Sees::After),
    ),
    key(
        "on_approved",
        AGENT,
        Shape::Filled,
        "a template, said when it approved",
        |m, node, r| m.on_approved = r.template(node, Sees::After),
    ),
    key(
        "on_request_changes",
        AGENT,
        Shape::Filled,
        "a template, said when it asked for changes",
        |m, node, r| m.on_request_changes = r.template(node, Sees::After),
    ),
    key(
        "on_max_cycles",
        AGENT,
        Shape::Filled,
        "a template, said when the last cycle is used up and changes are still asked for",
        |m, node, r| m.on_max_cycles = r.template(node, Sees::After),
    ),
    key(
        "on_fix_start",
        AGENT,
        Shape::Filled,
        "a template, said when changes begin to be made",
        |m, node, r| m.on_fix_start = r.template(node, Sees::After),
    ),
    key(
        "on_fix_failed",
        AGENT,
        Shape::Filled,
        "a template, said when making them ended badly",
        |m, node, r| m.on_fix_failed = r.template(node, Sees::After),
    ),
    key(
        "on_pause_for_approval",
        AGENT,
        Shape::Filled,
        "the question of the loop's gate, a template",
        |m, node, r| m.on_pause_for_approval = r.template(node, Sees::After),
    ),
];

const GENERIC_LOOP_KEYS: &[Key<GenericDraft>] = &[
    key(
        "max_iterations",
        PROCESS,
        Shape::Count(1, MAX_ROUNDS),
        "how many rounds at most, 1 to 100; then the phase ends well all the same and says `on_failure`; needed",
        |l, node, r| l.max_iterations = r.count(node, 1..=MAX_ROUNDS),
    ),
    key(
        "until",
        PROCESS,
        Shape::Filled,
        "an expression about the round's `output` and all else; when it holds, the loop ends. This, or `until_bash`, or both, of \
         which one is enough",
        |l, node, r| l.until = r.expression(node, Sees::Round),
    ),
    key(
        "until_bash",
        PROCESS,
        Shape::Command,
        "a command, never a template; when its status is 0, the loop ends",
        |l, node, r| l.until_bash = r.command(node),
    ),
    key(
        "interactive",
        PROCESS,
        Shape::Flag,
        "a person is asked between two rounds, always",
        |l, node, r| l.interactive = r.flag(node).unwrap_or(false),
    ),
    key(
        "gate_message",
        PROCESS,
        Shape::Filled,
        "a template, said under the round's output",
        |l, node, r| l.gate_message = r.template(node, Sees::After),
    ),
    key(
        "gate_kind",
        PROCESS,
        Shape::Choice(|| names(ApprovalKind::ALL, ApprovalKind::as_str)),
        "`approve` asks for yes or no, `reply` for words, which the next round finds in `{{scratch.<key>.qa}}`; `approve` if absent",
        |l, node, r| l.gate_kind = r.choice(node, "kind of gate", ApprovalKind::ALL, ApprovalKind::as_str),
    ),
    key(
        "gate_policy",
        PROCESS,
        Shape::Map(|| GATE_POLICY.schema()),
        "as above, for this gate",
        |l, node, r| {
            r.map(&mut l.gate_policy, node, GATE_POLICY);
            check_policy(&l.gate_policy, node, r);
        },
    ),
    key(
        "scratch_key",
        PROCESS,
        Shape::Name,
        "where the loop keeps what was asked and answered; the name of the phase if absent",
        |l, node, r| l.scratch_key = r.word(node, "key of scratch"),
    ),
    key(
        "fresh_context",
        PROCESS,
        Shape::Flag,
        "a round does not see `{{previousOutput}}`, what the rounds before it printed",
        |l, node, r| l.fresh_context = r.flag(node).unwrap_or(false),
    ),
];

const MESSAGE_KEYS: &[Key<PhaseMessages>] = &[
    key(
        "on_start",
        EVERY,
        Shape::Filled,
        "a template, said when it begins",
        |m, node, r| m.on_start = r.template(node, Sees::Before),
    ),
    key(
        "on_success",
        EVERY,
        Shape::Filled,
        "a template, said when it ended well",
        |m, node, r| m.on_success = r.template(node, Sees::After),
    ),
    key(
        "on_failure",
        EVERY,
        Shape::Filled,
        "a template, said when it ended badly",
        |m, node, r| m.on_failure = r.template(node, Sees::After),
    ),
    key(
        "on_skipped_done",
        EVERY,
        Shape::Filled,
        "a template, said when a run that is taken up again finds it done",
        |m, node, r| m.on_skipped_done = r.template(node, Sees::After),
    ),
    key(
        "on_blocked",
        EVERY,
        Shape::Filled,
        "a template, said when a rule of `on_output` made it fail; `on_failure` if absent",
        |m, node, r| m.on_blocked = r.template(node, Sees::After),
    ),
    key(
        "on_blocked_bypassed",
        EVERY,
        Shape::Filled,
        "a template, said when such a rule did not count",
        |m, node, r| m.on_blocked_bypassed = r.template(node, Sees::After),
    ),
];

const ON_SUCCESS_KEYS: &[Key<OnSuccess>] = &[
    key(
        "set_phase",
        EVERY,
        Shape::Name,
        "the name shown as the run's current phase until the next one begins, for instance while a gate waits",
        |s, node, r| s.set_phase = r.word(node, "phase name").and_then(|name| name.parse().ok()),
    ),
    key(
        "add_labels",
        EVERY,
        Shape::Filleds,
        "labels added to the issue or pull request; templates",
        |s, node, r| s.add_labels = r.list(node, |r, node| r.template(node, Sees::After)),
    ),
    key(
        "react",
        EVERY,
        Shape::Choice(|| names(Reaction::ALL, Reaction::as_str)),
        "a reaction to the comment or issue that asked: `eyes`, `rocket`, `+1`, `confused`",
        |s, node, r| s.react = r.choice(node, "reaction", Reaction::ALL, Reaction::as_str),
    ),
];

/// What a map may hold, and what it must.
pub(crate) struct Grammar<T: 'static> {
    /// Path of its keys, as the README writes it: `phases[].messages.`.
    pub(crate) prefix: &'static str,
    pub(crate) keys: &'static [Key<T>],
    /// Keys that it must hold, with what is wrong without them.
    pub(crate) needed: &'static [(&'static str, &'static str)],
}

impl<T> Clone for Grammar<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Grammar<T> {}

pub(super) const WORKFLOW: Grammar<WorkflowDraft> = Grammar {
    prefix: "",
    keys: WORKFLOW_KEYS,
    needed: &[("phases", "is missing; a workflow has at least one phase")],
};
pub(super) const PHASE: Grammar<PhaseDraft> = Grammar {
    prefix: "phases[].",
    keys: PHASE_KEYS,
    needed: &[("name", "is missing; give the phase a name of its own")],
};
const RETRY: Grammar<RetryDraft> = Grammar {
    prefix: "phases[].retry.",
    keys: RETRY_KEYS,
    needed: &[("max", "is missing; say how many tries there are after the first")],
};
const GATE_POLICY: Grammar<GatePolicy> = Grammar {
    prefix: "phases[].gate_policy.",
    keys: GATE_POLICY_KEYS,
    needed: &[],
};
pub(super) const RULE: Grammar<RuleDraft> = Grammar {
    prefix: "phases[].on_output.contains_*.",
    keys: RULE_KEYS,
    needed: &[(
        "action",
        "is missing; say what the word leads to: fail, pause or continue",
    )],
};
const REVIEW_LOOP: Grammar<ReviewDraft> = Grammar {
    prefix: "phases[].loop.",
    keys: REVIEW_LOOP_KEYS,
    needed: &[
        ("max_cycles", "is missing; a loop says how often it goes round at most"),
        (
            "on_request_changes",
            "is missing; a loop says how changes are made, with \"fix_prompt\"",
        ),
    ],
};
const ON_REQUEST_CHANGES: Grammar<ReviewDraft> = Grammar {
    prefix: "phases[].loop.on_request_changes.",
    keys: ON_REQUEST_CHANGES_KEYS,
    needed: &[(
        "fix_prompt",
        "is missing; name the file with the prompt that has the changes made",
    )],
};
const LOOP_MESSAGES: Grammar<LoopMessages> = Grammar {
    prefix: "phases[].loop.messages.",
    keys: LOOP_MESSAGE_KEYS,
    needed: &[],
};
const GENERIC_LOOP: Grammar<GenericDraft> = Grammar {
    prefix: "phases[].generic_loop.",
    keys: GENERIC_LOOP_KEYS,
    needed: &[(
        "max_iterations",
        "is missing; a loop says how often it goes round at most",
    )],
};
const MESSAGES: Grammar<PhaseMessages> = Grammar {
    prefix: "phases[].messages.",
    keys: MESSAGE_KEYS,
    needed: &[],
};
const ON_SUCCESS: Grammar<OnSuccess> = Grammar {
    prefix: "phases[].on_success.",
    keys: ON_SUCCESS_KEYS,
    needed: &[],
};

/// What a phase of a kind must hold beside its name: one of these keys; with what is wrong without them.
pub(super) const NEEDED_BY_KIND: &[(PhaseKind, &[&str], &str)] = &[
    (
        PhaseKind::Agent,
        &["prompt", "skill", "skills"],
        "is missing; an agent phase needs \"prompt\", \"skill\" or \"skills\"",
    ),
    (
        PhaseKind::Script,
        &["run"],
        "is missing; a script phase needs \"run\", the command",
    ),
    (
        PhaseKind::Reply,
        &["message"],
        "is missing; a reply phase needs \"message\", the answer",
    ),
    (
        PhaseKind::Notify,
        &["channel"],
        "is missing; a notify phase needs \"channel\", where the notice goes",
    ),
    (
        PhaseKind::Notify,
        &["message"],
        "is missing; a notify phase needs \"message\", the notice",
    ),
    (
        PhaseKind::Emit,
        &["event"],
        "is missing; an emit phase needs \"event\", the name of the event",
    ),
    (
        PhaseKind::Approval,
        &["gate"],
        "is missing; an approval phase needs \"gate\", the name of the gate",
    ),
    (
        PhaseKind::Approval,
        &["message"],
        "is missing; an approval phase needs \"message\", the question",
    ),
];

/// One key of the grammar.
#[derive(Debug, Clone)]
pub struct KeyOfGrammar {
    /// Its path, such as `phases[].messages.on_start`.
    pub path: String,
    /// The kinds of phases that it makes sense for.
    pub kinds: &'static [PhaseKind],
    /// What it says, in one line of Markdown.
    pub doc: &'static str,
}

/// Every key of the grammar, in the order of its page.
#[must_use]
pub fn keys() -> Vec<KeyOfGrammar> {
    fn rows<T>(grammar: Grammar<T>) -> impl Iterator<Item = KeyOfGrammar> {
        grammar.keys.iter().map(move |key| KeyOfGrammar {
            path: format!("{}{}", grammar.prefix, key.name),
            kinds: key.kinds,
            doc: key.doc,
        })
    }
    let mut keys: Vec<_> = rows(WORKFLOW).collect();
    for key in rows(PHASE) {
        let below: Vec<_> = match key.path.as_str() {
            "phases[].retry" => rows(RETRY).collect(),
            "phases[].gate_policy" => rows(GATE_POLICY).collect(),
            "phases[].on_output" => std::iter::once(KeyOfGrammar {
                path: "phases[].on_output.contains_*".into(),
                kinds: PROCESS,
                doc: "one rule, for outputs that have this word in them, in any case",
            })
            .chain(rows(RULE))
            .collect(),
            "phases[].loop" => rows(REVIEW_LOOP)
                .chain(rows(ON_REQUEST_CHANGES))
                .chain(rows(LOOP_MESSAGES))
                .collect(),
            "phases[].generic_loop" => rows(GENERIC_LOOP).collect(),
            "phases[].messages" => rows(MESSAGES).collect(),
            "phases[].on_success" => rows(ON_SUCCESS).collect(),
            _ => Vec::new(),
        };
        keys.push(key);
        keys.extend(below);
    }
    keys
}

pub(crate) const fn key<T>(
    name: &'static str,
    kinds: &'static [PhaseKind],
    shape: Shape,
    doc: &'static str,
    read: fn(&mut T, &Node, &mut Reader<'_>),
) -> Key<T> {
    Key {
        name,
        kinds,
        shape,
        doc,
        read,
    }
}

pub(crate) fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| name(*value)).collect()
}

/// A workflow file as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) workflow: Workflow,
    /// Line and column of its name.
    pub(super) name_at: (usize, usize),
    /// The runtimes that its phases name and need.
    pub(super) runtimes: Vec<RuntimeAt>,
}

/// A phase that names a runtime and does without none.
#[derive(Debug, Clone)]
pub(super) struct RuntimeAt {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) key: String,
}

/// A file to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'s> {
    /// How mistakes name it.
    pub(super) file: &'s str,
    /// Its name without the ending.
    pub(super) stem: &'s str,
    pub(super) text: &'s str,
}

/// Reads a workflow out of its tree. `refused` are paths of the grammar that are refused for now.
///
/// # Errors
/// Every mistake in the file, in the order of its lines.
pub(super) fn read(
    source: Source<'_>,
    root: &Node,
    assets: &dyn Assets,
    refused: &[&str],
) -> Result<Read, Vec<Mistake>> {
    let mut reader = Reader::new(source.file, assets, refused);
    let mut draft = WorkflowDraft::default();
    reader.map(&mut draft, root, WORKFLOW);
    if matches!(root.value, Value::Map(_)) && root.get("name").is_none() {
        let problem = format!(
            "is missing; give the workflow one, for instance \"name: {}\"",
            source.stem
        );
        reader.wrong_at(root, "name", problem);
    }
    let order = read_order(&draft.phases, &mut reader);
    reader.mistakes.extend(check::references(
        source,
        &reader.texts,
        &check::Scope::new(&draft.names(), &draft.variables, &order),
    ));
    let mut mistakes = reader.mistakes;
    mistakes.sort();
    mistakes.dedup();
    let (Some(name), true) = (draft.name, mistakes.is_empty()) else {
        return Err(mistakes);
    };
    let mut runtimes = Vec::new();
    let mut phases = Vec::with_capacity(draft.phases.len());
    for (index, phase) in draft.phases.into_iter().enumerate() {
        if let (Some(name), false) = (&phase.rest.runtime, phase.rest.optional) {
            runtimes.push(RuntimeAt {
                name: name.clone(),
                line: phase.runtime_at.0,
                column: phase.runtime_at.1,
                key: format!("phases[{index}].runtime"),
            });
        }
        phases.extend(phase.finish());
    }
    let name_at = root.get("name").map_or((0, 0), |node| (node.line, node.column));
    let mut workflow = Workflow {
        name,
        kind: draft.kind.unwrap_or_else(|| "agent".into()),
        description: draft.description.unwrap_or_default(),
        variables: draft.variables,
        phases,
        text: source.text.into(),
        hash: DefinitionHash::default(),
        file: source.file.to_owned(),
    };
    workflow.hash = Workflow::hash_of(&workflow.bundle());
    Ok(Read {
        workflow,
        name_at,
        runtimes,
    })
}

#[derive(Default)]
pub(super) struct WorkflowDraft {
    name: Option<WorkflowName>,
    kind: Option<String>,
    description: Option<String>,
    variables: BTreeMap<String, String>,
    phases: Vec<PhaseDraft>,
}

impl WorkflowDraft {
    /// The names under which texts find the output of each phase.
    fn names(&self) -> Vec<Vec<String>> {
        let of = |phase: &PhaseDraft| {
            phase
                .written_name
                .iter()
                .chain(&phase.rest.output_var)
                .cloned()
                .collect()
        };
        self.phases.iter().map(of).collect()
    }
}

pub(super) struct PhaseDraft {
    name: Option<PhaseName>,
    /// The name as it stands in the file, whether or not it is a good one, so that one mistake does not become ten.
    written_name: Option<String>,
    kind: Option<PhaseKind>,
    label: Option<String>,
    runtime_at: (usize, usize),
    waits_for: Vec<String>,
    waits_at: Option<Node>,
    channel: Option<Channel>,
    priority: Option<Priority>,
    webhook_url: Option<String>,
    event: Option<IntegrationEvent>,
    payload: serde_json::Map<String, serde_json::Value>,
    gate: Option<String>,
    gate_kind: Option<ApprovalKind>,
    /// What needs no second look. Its name and kind are not those of the phase.
    rest: Phase,
}

impl PhaseDraft {
    fn new(written_name: Option<String>) -> Self {
        let nameless = "nameless".parse().expect("a plain word is a phase name");
        Self {
            name: None,
            written_name,
            kind: None,
            label: None,
            runtime_at: (0, 0),
            waits_for: Vec::new(),
            waits_at: None,
            channel: None,
            priority: None,
            webhook_url: None,
            event: None,
            payload: serde_json::Map::new(),
            gate: None,
            gate_kind: None,
            rest: Phase::new(nameless, PhaseKind::Context),
        }
    }

    /// The phase; nothing when it lacks what it needs, which is a mistake that was reported.
    fn finish(self) -> Option<Phase> {
        let name = self.name?;
        let kind = self.kind?;
        let mut phase = Phase {
            label: self.label.unwrap_or_else(|| name.as_str().to_owned()),
            name,
            kind,
            depends_on: self.waits_for.iter().filter_map(|name| name.parse().ok()).collect(),
            ..self.rest
        };
        match kind {
            PhaseKind::Notify => {
                phase.notify = Some(NotifyStep {
                    channel: self.channel?,
                    priority: self.priority.unwrap_or(Priority::Normal),
                    webhook_url: self.webhook_url,
                });
            }
            PhaseKind::Emit => {
                phase.emit = Some(EmitStep {
                    event: self.event?,
                    payload: self.payload,
                });
            }
            PhaseKind::Approval => {
                phase.approval = Some(ApprovalStep {
                    gate: self.gate?,
                    kind: self.gate_kind.unwrap_or(ApprovalKind::Approve),
                });
            }
            PhaseKind::Context | PhaseKind::Agent | PhaseKind::Script | PhaseKind::Reply => {}
        }
        Some(phase)
    }
}

#[derive(Default)]
struct RetryDraft {
    max: Option<u32>,
    backoff: Duration,
}

#[derive(Default)]
pub(super) struct RuleDraft {
    action: Option<OutputAction>,
    message: Option<String>,
    unless_label: Option<String>,
    unless_title_matches: Option<String>,
    bypass_message: Option<String>,
}

#[derive(Default)]
struct ReviewDraft {
    max_cycles: Option<u32>,
    fix_prompt: Option<Arc<str>>,
    fix_model: Option<String>,
    fix_variant: Option<String>,
    re_review_prompt: Option<Arc<str>>,
    approval_gate: Option<String>,
    gate_policy: GatePolicy,
    messages: LoopMessages,
}

impl ReviewDraft {
    fn finish(self) -> Option<ReviewLoop> {
        Some(ReviewLoop {
            max_cycles: self.max_cycles?,
            fix_prompt: self.fix_prompt?,
            fix_model: self.fix_model,
            fix_variant: self.fix_variant,
            re_review_prompt: self.re_review_prompt,
            approval_gate: self.approval_gate,
            gate_policy: self.gate_policy,
            messages: self.messages,
        })
    }
}

#[derive(Default)]
struct GenericDraft {
    max_iterations: Option<u32>,
    until: Option<String>,
    until_bash: Option<String>,
    interactive: bool,
    gate_message: Option<String>,
    gate_kind: Option<ApprovalKind>,
    gate_policy: GatePolicy,
    scratch_key: Option<String>,
    fresh_context: bool,
}

fn read_phases(workflow: &mut WorkflowDraft, node: &Node, reader: &mut Reader<'_>) {
    let Value::Seq(items) = &node.value else {
        return reader.wrong(node, format!("must be a list of phases, found {}", node.kind_name()));
    };
    if items.is_empty() {
        return reader.wrong(node, "is empty; a workflow has at least one phase");
    }
    if items.len() > MAX_PHASES {
        let problem = format!(
            "has {} phases; at most {MAX_PHASES} are possible, so split the workflow",
            items.len()
        );
        return reader.wrong(node, problem);
    }
    // Each name with the line where it was first used.
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        reader.phase = index;
        reader.within(&format!("[{index}]"), |reader| {
            let phase = read_phase(item, reader);
            for (key, name) in [("name", &phase.written_name), ("output_var", &phase.rest.output_var)] {
                let (Some(name), Some(node)) = (name, item.get(key)) else {
                    continue;
                };
                if let Some(line) = taken.get(name) {
                    reader.wrong_at(
                        node,
                        key,
                        format!("{name:?} is taken already, in line {line}; choose another name"),
                    );
                } else {
                    taken.insert(name.clone(), node.line);
                }
            }
            workflow.phases.push(phase);
        });
    }
}

fn read_phase(node: &Node, reader: &mut Reader<'_>) -> PhaseDraft {
    let written_name = node.get("name").and_then(Node::as_str).map(str::to_owned);
    let mut phase = PhaseDraft::new(written_name);
    if !matches!(node.value, Value::Map(_)) {
        reader.wrong(
            node,
            format!("must be a map with the keys of a phase, found {}", node.kind_name()),
        );
        return phase;
    }
    // The kind comes first, because it says which other keys make sense.
    phase.kind = match node.get("type") {
        None => Some(PhaseKind::Agent),
        Some(node) => reader.within(".type", |r| {
            let kind = r.choice(node, "type", PhaseKind::ALL, PhaseKind::as_str)?;
            if r.refused.contains(&format!("phases[].type: {kind}").as_str()) {
                r.wrong(node, refused(kind.as_str()));
                return None;
            }
            Some(kind)
        }),
    };
    reader.kind = phase.kind;
    reader.map(&mut phase, node, PHASE);
    reader.kind = None;

    let has = |key: &str| node.get(key).is_some();
    if has("skill") && has("skills") {
        let node = node.get("skill").unwrap_or(node);
        reader.wrong_at(
            node,
            "skill",
            "cannot stand beside \"skills\"; put all of them under \"skills\"",
        );
    }
    if has("loop") && has("generic_loop") {
        let node = node.get("loop").unwrap_or(node);
        reader.wrong_at(
            node,
            "loop",
            "cannot stand beside \"generic_loop\"; keep one of the two, or make two phases of it",
        );
    }
    for (key, needs, what) in [
        ("approval_gate_message", "approval_gate", "the name of the gate"),
        ("trigger_rule", "depends_on", "the phases whose ends it looks at"),
    ] {
        if let (Some(node), false) = (node.get(key), has(needs)) {
            reader.wrong_at(node, key, format!("needs {needs:?} beside it, {what}"));
        }
    }
    if let (Some(node), false) = (
        node.get("gate_policy"),
        has("approval_gate") || phase.kind.is_none_or(|kind| kind == PhaseKind::Approval),
    ) {
        reader.wrong_at(
            node,
            "gate_policy",
            "needs a gate of this phase, \"approval_gate\"; that of a loop stands inside the loop",
        );
    }
    if let (Some(Channel::Email), Some(node)) = (phase.channel, node.get("webhook_url")) {
        reader.wrong_at(node, "webhook_url", "means nothing for mail; take it out");
    }
    // What is there instead was already called a key of another kind.
    let foreign = phase.kind == Some(PhaseKind::Agent) && (has("run") || has("message"));
    for (kind, keys, problem) in NEEDED_BY_KIND {
        if phase.kind == Some(*kind) && !foreign && !keys.iter().any(|key| has(key)) {
            reader.wrong_at(node, keys[0], *problem);
        }
    }
    phase
}

/// What the phases wait for, as an order; what is wrong with it is noted.
fn read_order(phases: &[PhaseDraft], reader: &mut Reader<'_>) -> Order {
    if phases.iter().all(|phase| phase.waits_at.is_none()) {
        return Order::Line;
    }
    let mut index_of: HashMap<&str, usize> = HashMap::new();
    for (index, phase) in phases.iter().enumerate() {
        if let Some(name) = &phase.written_name {
            index_of.entry(name).or_insert(index);
        }
    }
    let mut waits_for = vec![Vec::new(); phases.len()];
    let mut good = true;
    for (index, phase) in phases.iter().enumerate() {
        let Some(Value::Seq(items)) = phase.waits_at.as_ref().map(|node| &node.value) else {
            continue;
        };
        for (position, item) in items.iter().enumerate() {
            let Some(name) = item
                .as_str()
                .filter(|name| phase.waits_for.iter().any(|known| known == name))
            else {
                continue;
            };
            let problem = match index_of.get(name) {
                Some(found) if *found == index => {
                    "is this phase itself; it would wait for ever, so take it out".to_owned()
                }
                Some(found) => {
                    waits_for[index].push(*found);
                    continue;
                }
                None => {
                    let guess = did_you_mean(name, index_of.keys().copied());
                    format!("there is no phase {name:?}{guess}")
                }
            };
            good = false;
            reader.within(&format!("phases[{index}].depends_on[{position}]"), |reader| {
                reader.wrong(item, problem);
            });
        }
    }
    match Order::of_graph(&waits_for, MOST_CIRCLES) {
        Ok(order) if good => order,
        // The order is not known; whoever depends on it is not told of more.
        Ok(_) => Order::Unknown,
        Err(circles) => {
            for circle in circles {
                tell_circle(&circle, phases, reader);
            }
            Order::Unknown
        }
    }
}

/// The mistake stands where the first phase of the circle names the next one.
fn tell_circle(circle: &[usize], phases: &[PhaseDraft], reader: &mut Reader<'_>) {
    /// Longest circle that is written out.
    const SHOWN: usize = 8;
    let name = |index: usize| phases[index].written_name.as_deref().unwrap_or("");
    let (first, next) = (circle[0], circle[1 % circle.len()]);
    let mut way: Vec<_> = circle.iter().take(SHOWN).map(|index| name(*index)).collect();
    if circle.len() > SHOWN {
        way.push("…");
    }
    way.push(name(first));
    let problem = format!(
        "goes round in a circle, {}; every one of them would wait for ever, so take one of these out",
        way.join(" → ")
    );
    let Some(node) = &phases[first].waits_at else { return };
    let Value::Seq(items) = &node.value else { return };
    let found = items
        .iter()
        .enumerate()
        .find(|(_, item)| item.as_str() == Some(name(next)));
    if let Some((position, item)) = found {
        reader.within(&format!("phases[{first}].depends_on[{position}]"), |reader| {
            reader.wrong(item, problem);
        });
    }
}

fn read_gate_policy(phase: &mut PhaseDraft, node: &Node, reader: &mut Reader<'_>) {
    reader.map(&mut phase.rest.gate_policy, node, GATE_POLICY);
    check_policy(&phase.rest.gate_policy, node, reader);
}

/// What no answer could ever satisfy, and what means nothing.
fn check_policy(policy: &GatePolicy, node: &Node, reader: &mut Reader<'_>) {
    let at = |key: &str| node.get(key);
    for (key, needs) in [("on_deadline", "deadline"), ("escalate_message", "escalate_after")] {
        if let (Some(node), None) = (at(key), at(needs)) {
            reader.wrong_at(node, key, format!("needs {needs:?} beside it"));
        }
    }
    if let (Some(after), Some(deadline), Some(node)) = (policy.escalate_after, policy.deadline, at("escalate_after"))
        && after >= deadline
    {
        reader.wrong_at(node, "escalate_after", "is not before the deadline; make it shorter");
    }
    let known = policy.logins.len() + policy.slack_ids.len();
    if let Some(node) = at("approvals")
        && policy.names_somebody()
        && policy.associations.is_empty()
        && usize::try_from(policy.approvals).is_ok_and(|wanted| wanted > known)
    {
        let problem = format!("asks for {} people, and only {known} may answer", policy.approvals);
        reader.wrong_at(node, "approvals", problem);
    }
}

fn read_rules(phase: &mut PhaseDraft, node: &Node, reader: &mut Reader<'_>) {
    let Value::Map(entries) = &node.value else {
        let problem = format!(
            "must be a map of words and rules, such as \"contains_BLOCKED\", found {}",
            node.kind_name()
        );
        return reader.wrong(node, problem);
    };
    for (name, value) in entries {
        let word = name
            .text
            .strip_prefix("contains_")
            .filter(|word| is_variable_name(word));
        let Some(word) = word else {
            let problem = "unknown key; write \"contains_\" and the word, such as \"contains_BLOCKED\"";
            reader.wrong_key(name, problem);
            continue;
        };
        reader.within(&format!(".{}", name.text), |reader| {
            let mut draft = RuleDraft::default();
            reader.map(&mut draft, value, RULE);
            if let (Some(node), None) = (
                value.get("bypass_message"),
                draft.unless_label.as_ref().or(draft.unless_title_matches.as_ref()),
            ) {
                let problem = "needs \"unless_label\" or \"unless_title_matches\" beside it";
                reader.wrong_at(node, "bypass_message", problem);
            }
            phase.rest.on_output.extend(draft.action.map(|action| OutputRule {
                contains: word.to_owned(),
                action,
                message: draft.message,
                unless_label: draft.unless_label,
                unless_title_matches: draft.unless_title_matches,
                bypass_message: draft.bypass_message,
            }));
        });
    }
}

fn read_generic_loop(phase: &mut PhaseDraft, node: &Node, reader: &mut Reader<'_>) {
    let mut draft = GenericDraft::default();
    reader.map(&mut draft, node, GENERIC_LOOP);
    if !matches!(node.value, Value::Map(_)) {
        return;
    }
    if node.get("until").is_none() && node.get("until_bash").is_none() {
        reader.wrong_at(
            node,
            "until",
            "is missing; a loop needs \"until\" or \"until_bash\", which say when it ends",
        );
    }
    for key in ["gate_message", "gate_kind", "gate_policy"] {
        if let (Some(node), false) = (node.get(key), draft.interactive) {
            reader.wrong_at(node, key, "needs \"interactive: true\" beside it");
        }
    }
    phase.rest.generic_loop = draft.max_iterations.map(|max_iterations| GenericLoop {
        max_iterations,
        until: draft.until,
        until_bash: draft.until_bash,
        interactive: draft.interactive,
        gate_message: draft.gate_message,
        gate_kind: draft.gate_kind.unwrap_or(ApprovalKind::Approve),
        gate_policy: draft.gate_policy,
        scratch_key: draft.scratch_key,
        fresh_context: draft.fresh_context,
    });
}

impl Reader<'_> {
    /// Reads a map by its grammar: every key that is there, and a mistake for each that should not be, or is missing.
    /// Reads the keys of a map, each by its row; every other key is a mistake.
    pub(crate) fn map<T>(&mut self, target: &mut T, node: &Node, grammar: Grammar<T>) {
        let Value::Map(entries) = &node.value else {
            return self.wrong(node, format!("must be a map, found {}", node.kind_name()));
        };
        for (name, value) in entries {
            if self
                .refused
                .contains(&format!("{}{}", grammar.prefix, name.text).as_str())
            {
                self.wrong_key(name, refused(&name.text));
                continue;
            }
            let Some(key) = grammar.keys.iter().find(|key| key.name == name.text) else {
                self.wrong_key(name, unknown_key(&name.text, grammar));
                continue;
            };
            match self.kind {
                Some(kind) if !key.kinds.contains(&kind) => {
                    self.wrong_key(name, misplaced_key(key.kinds, kind));
                }
                _ => self.within(&format!(".{}", key.name), |reader| (key.read)(target, value, reader)),
            }
        }
        for (name, problem) in grammar.needed {
            if node.get(name).is_none() {
                self.wrong_at(node, name, *problem);
            }
        }
    }
}

fn refused(what: &str) -> String {
    format!("{what:?} is not supported yet; take it out, or leave this workflow out until it is")
}

/// Keys that other versions of the grammar have, with what to write here.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "command",
        "there is no such key here; write \"type: script\" and \"run\"",
    ),
    ("bash", "there is no such key here; write \"type: script\" and \"run\""),
    (
        "skip_if",
        "there is no such key here; write the opposite under \"when\"",
    ),
    ("needs", "there is no such key here; write \"depends_on\""),
    ("if", "there is no such key here; write \"when\""),
];

fn unknown_key<T>(name: &str, grammar: Grammar<T>) -> String {
    if grammar.prefix == PHASE.prefix
        && let Some((_, hint)) = ELSEWHERE.iter().find(|(key, _)| *key == name)
    {
        return (*hint).to_owned();
    }
    let known = || grammar.keys.iter().map(|key| key.name);
    let guess = did_you_mean(name, known());
    let list: Vec<_> = known().collect();
    format!("unknown key{guess} (known here: {})", list.join(", "))
}

fn misplaced_key(kinds: &[PhaseKind], kind: PhaseKind) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    let how = match kinds {
        [only] => format!("add \"type: {only}\" or take it out"),
        _ => "take it out, or change the type".to_owned(),
    };
    let default = if kind == PhaseKind::Agent {
        " (the type of a phase that names none)"
    } else {
        ""
    };
    format!(
        "belongs to {} phases, and this one is of type {kind}{default}; {how}",
        names.join(" and ")
    )
}

const ENV_RULE: &str = "is no name of a variable: letters, digits and '_', not starting with a digit, and not \"FIRSTLIGHT_…\", which Firstlight sets itself";

fn is_env_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && !name.starts_with("FIRSTLIGHT_")
}

const VARIABLE_RULE: &str = "is no name of a variable: letters, digits, '_' and '-'";

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// `author_association` of GitHub's comments.
const ASSOCIATIONS: &[&str] = &[
    "OWNER",
    "MEMBER",
    "COLLABORATOR",
    "CONTRIBUTOR",
    "FIRST_TIMER",
    "FIRST_TIME_CONTRIBUTOR",
    "MANNEQUIN",
    "NONE",
];

const LOGIN_RULE: &str = "is no login: letters, digits, '-' and '_', at most 60, without \"@\"";

/// Enterprise accounts add `_` and a short code; 60 leaves room for it.
fn is_login(name: &str) -> bool {
    name.len() <= 60 && is_variable_name(name)
}

const SLACK_RULE: &str = "is no Slack user id; it begins with U or W, such as \"U012AB3CD\", and stands in the profile";

fn is_slack_id(id: &str) -> bool {
    id.len() >= 3 && id.starts_with(['U', 'W']) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}
