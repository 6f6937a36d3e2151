//! A workflow definition: what its file says, checked and typed. Knows no file system and no runner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::envelope::closed_enum;
use super::{ApprovalKind, Channel, Decision, DefinitionHash, IntegrationEvent, PhaseName, Priority, WorkflowName};

/// A workflow as it was loaded, with the texts of its prompts and skills.
///
/// Its JSON is the *bundle* that the store keeps by hash: a run goes on with the version that it started with,
/// whatever has become of the files since. New fields therefore need a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workflow {
    /// What it is called by.
    pub name: WorkflowName,
    /// A free label, `agent` unless the file says otherwise.
    pub kind: String,
    /// One line for people.
    pub description: String,
    /// Constants for templates.
    pub variables: BTreeMap<String, String>,
    /// Its phases, in order; at least one.
    pub phases: Vec<Phase>,
    /// The file's text, as it was read.
    pub text: Arc<str>,
    /// SHA-256 of the bundle; not part of it. Filled in by the loader and by [`Workflow::from_bundle`].
    #[serde(skip)]
    pub hash: DefinitionHash,
    /// Where it was read from, for messages.
    pub file: String,
}

impl Workflow {
    /// The bundle: everything that a run needs of its definition, as one line of JSON.
    #[must_use]
    pub fn bundle(&self) -> String {
        serde_json::to_string(self).expect("a workflow is made of texts, numbers, lists and maps with text keys")
    }

    /// SHA-256 of a bundle.
    #[must_use]
    pub fn hash_of(bundle: &str) -> DefinitionHash {
        use sha2::Digest;
        DefinitionHash(hex::encode(sha2::Sha256::digest(bundle.as_bytes())))
    }

    /// A workflow out of its bundle.
    ///
    /// # Errors
    /// When the text is not a bundle.
    pub fn from_bundle(bundle: &str) -> Result<Self, serde_json::Error> {
        let mut workflow: Self = serde_json::from_str(bundle)?;
        workflow.hash = Self::hash_of(bundle);
        Ok(workflow)
    }

    /// Whether its phases form a graph: one of them says what it waits for. Then a phase without `depends_on` waits for
    /// nothing; otherwise each waits for the one before.
    #[must_use]
    pub fn is_graph(&self) -> bool {
        self.phases.iter().any(|phase| !phase.depends_on.is_empty())
    }

    /// The phase of this name.
    #[must_use]
    pub fn phase(&self, name: &PhaseName) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == *name)
    }
}

closed_enum! {
    /// What a phase does.
    PhaseKind {
        /// Nothing; marks a point in the run.
        Context => "context",
        /// Gives a prompt to the configured agent runtime.
        Agent => "agent",
        /// Runs a command.
        Script => "script",
        /// Answers whoever asked.
        Reply => "reply",
        /// Tells somebody through a channel of the integrations.
        Notify => "notify",
        /// Says an event to whoever subscribed to it.
        Emit => "emit",
        /// Asks a person, whatever gates are enabled.
        Approval => "approval",
    }
}

closed_enum! {
    /// When a phase of a graph may start, once all phases that it depends on have ended. A skipped phase counts as
    /// neither good nor bad, except where a rule names it.
    #[derive(Default)]
    TriggerRule {
        /// All ended well or were skipped.
        #[default]
        AllSuccess => "all_success",
        /// At least one ended well.
        OneSuccess => "one_success",
        /// None ended badly and at least one ended well.
        NoneFailedMinOneSuccess => "none_failed_min_one_success",
        /// However they ended.
        AllDone => "all_done",
    }
}

closed_enum! {
    /// What the token that a phase's process is given may do at GitHub. Each may read as well.
    TokenProfile {
        /// Read contents, issues and pull requests.
        Read => "read",
        /// Write issues and comments.
        IssuesWrite => "issues-write",
        /// Review pull requests.
        ReviewWrite => "review-write",
        /// Push branches and open pull requests.
        RepoWrite => "repo-write",
    }
}

closed_enum! {
    /// What an answer to a gate holds for. When it has changed, the question lapses and is asked anew.
    GateBinding {
        /// The head commit of the pull request.
        HeadSha => "head_sha",
        /// The text that was shown.
        Shown => "shown",
    }
}

closed_enum! {
    /// What a word in an output leads to.
    OutputAction {
        /// The phase and the run fail.
        Fail => "fail",
        /// Nothing; the message is said.
        Continue => "continue",
        /// A person is asked before the next phase, whatever gates are enabled.
        Pause => "pause",
    }
}

/// One phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Phase {
    /// Unique within its workflow.
    pub name: PhaseName,
    /// For people; the name if the file gives none.
    pub label: String,
    /// What it does.
    pub kind: PhaseKind,
    /// Text of the prompt's template, read when the workflow was loaded (agent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Arc<str>>,
    /// Texts of its skills, read when the workflow was loaded, put before the prompt (agent).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    /// Template of the model's name, handed to the runtime as `FIRSTLIGHT_MODEL` (agent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Template of how hard the model should think, handed to the runtime as `FIRSTLIGHT_VARIANT` (agent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Name of the runtime in settings; absent: `default` (agent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The command, never templated (script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Environment of the process; values are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Ends the process group when it takes longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// The token that its process is given; absent: none (agent, script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<TokenProfile>,
    /// The repository's files in the work folder before it starts; absent: they stay as they are (agent, script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Checkout>,
    /// Tries after the first (agent, script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// An expression about the facts; the phase is skipped, visibly, where it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Handed to the runtime as `FIRSTLIGHT_UNRESTRICTED_EGRESS=1`: the phase needs the open network (agent).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrestricted_egress: bool,
    /// Handed to the runtime as `FIRSTLIGHT_WEB_SEARCH=1`: the phase may search the web (agent).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web_search: bool,
    /// Template of the answer (reply), the notice (notify) or the question (approval).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where a notice goes (notify).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifyStep>,
    /// What is said (emit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit: Option<EmitStep>,
    /// What is asked; the question is `message` (approval).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStep>,
    /// Skipped, with a visible reason, where no runtime is configured (agent).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Asks a person before the next phase, if this gate is enabled in settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_gate: Option<String>,
    /// Template of the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_gate_message: Option<String>,
    /// Who may answer the question of `approval_gate` or of an approval phase, how many must, and by when.
    #[serde(default, skip_serializing_if = "GatePolicy::says_nothing")]
    pub gate_policy: GatePolicy,
    /// Reviews, has it mended and reviews again (agent). Not beside `generic_loop`.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub review_loop: Option<ReviewLoop>,
    /// Repeats the phase until something holds (agent, script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic_loop: Option<GenericLoop>,
    /// What words in the output lead to, in the order of the file (agent, script).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_output: Vec<OutputRule>,
    /// The phases that must have ended before; see [`Workflow::is_graph`]. No cycle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<PhaseName>,
    /// When it may start, by how they ended.
    #[serde(default)]
    pub trigger_rule: TriggerRule,
    /// Templates of what is said as the phase goes.
    #[serde(default)]
    pub messages: PhaseMessages,
    /// What a good end changes.
    #[serde(default)]
    pub on_success: OnSuccess,
    /// Another name for the output in templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_var: Option<String>,
}

impl Phase {
    /// A phase that says nothing but its name and what it does.
    #[must_use]
    pub fn new(name: PhaseName, kind: PhaseKind) -> Self {
        Self {
            label: name.as_str().to_owned(),
            name,
            kind,
            prompt: None,
            skills: Vec::new(),
            model: None,
            variant: None,
            runtime: None,
            run: None,
            env: BTreeMap::new(),
            timeout: None,
            profile: None,
            checkout: None,
            retry: None,
            when: None,
            unrestricted_egress: false,
            web_search: false,
            message: None,
            notify: None,
            emit: None,
            approval: None,
            optional: false,
            approval_gate: None,
            approval_gate_message: None,
            gate_policy: GatePolicy::default(),
            review_loop: None,
            generic_loop: None,
            on_output: Vec::new(),
            depends_on: Vec::new(),
            trigger_rule: TriggerRule::default(),
            messages: PhaseMessages::default(),
            on_success: OnSuccess::default(),
            output_var: None,
        }
    }
}

/// Which files of the repository a phase finds in its work folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkout {
    /// What the run is about: the head of its pull request, otherwise the default branch (`checkout: true`).
    Subject,
    /// A branch, tag or commit; a template (`checkout: main`).
    Ref(String),
}

/// Tries after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many, from 1 to [`Retry::MOST`].
    pub max: u32,
    /// The pause before the first of them; each further one is twice as long. Zero: none.
    #[serde(default)]
    pub backoff: Duration,
}

impl Retry {
    /// Most tries after the first.
    pub const MOST: u32 = 20;
}

/// Where a notice goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotifyStep {
    /// The channel.
    pub channel: Channel,
    /// How urgent it is.
    #[serde(default = "normal")]
    pub priority: Priority,
    /// The endpoint, not a template; absent: it is stored only. As good as a password, so it is never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

fn normal() -> Priority {
    Priority::Normal
}

/// An event that a phase says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmitStep {
    /// Its name.
    pub event: IntegrationEvent,
    /// Its payload, an object. Every text in it, at any depth, is a template.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub payload: serde_json::Map<String, serde_json::Value>,
}

/// A question that a phase asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalStep {
    /// Name of the gate.
    pub gate: String,
    /// Yes or no, or an answer in words, which becomes the phase's output.
    #[serde(default = "yes_or_no")]
    pub kind: ApprovalKind,
}

fn yes_or_no() -> ApprovalKind {
    ApprovalKind::Approve
}

/// Who may answer a gate, how many must, and what happens when nobody does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatePolicy {
    /// GitHub logins that may answer; case does not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<String>,
    /// Standings that may answer, as GitHub writes them: `OWNER`, `MEMBER`, `COLLABORATOR`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<String>,
    /// Slack user ids that may answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slack_ids: Vec<String>,
    /// Whoever started the run may not answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_requester: bool,
    /// How many different people must say yes, at least 1. One no is enough to reject.
    #[serde(default = "one")]
    pub approvals: u32,
    /// How long the question stands; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// The decision when the deadline passes; absent: rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<Decision>,
    /// When nobody has answered for this long, `escalate_message` is said, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after: Option<Duration>,
    /// Template of the notice; absent: words of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_message: Option<String>,
    /// What the answer holds for; absent: the head commit of a pull request, otherwise the text that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_to: Option<GateBinding>,
}

impl GatePolicy {
    /// Whether it asks for nothing beyond what every gate asks for.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it says who may answer. Where it does not, everybody may who may command the service.
    #[must_use]
    pub fn names_somebody(&self) -> bool {
        !(self.logins.is_empty() && self.associations.is_empty() && self.slack_ids.is_empty())
    }
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            logins: Vec::new(),
            associations: Vec::new(),
            slack_ids: Vec::new(),
            not_requester: false,
            approvals: 1,
            deadline: None,
            on_deadline: None,
            escalate_after: None,
            escalate_message: None,
            bind_to: None,
        }
    }
}

fn one() -> u32 {
    1
}

/// Review, mend, review again: the phase's own prompt is the first review, whose output ends with a line
/// `VERDICT: APPROVED` or `VERDICT: REQUEST_CHANGES`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReviewLoop {
    /// How often changes are made at most, at least 1. When they are used up, the run goes on.
    pub max_cycles: u32,
    /// Text of the prompt that has the changes made, a template.
    pub fix_prompt: Arc<str>,
    /// Template of its model; absent: that of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_model: Option<String>,
    /// Template of its variant; absent: that of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_variant: Option<String>,
    /// Text of the prompt that reviews again, a template; absent: the phase's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re_review_prompt: Option<Arc<str>>,
    /// Asks a person before changes are made, if this gate is enabled in settings. The question is
    /// `messages.on_pause_for_approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_gate: Option<String>,
    /// Who may answer.
    #[serde(default, skip_serializing_if = "GatePolicy::says_nothing")]
    pub gate_policy: GatePolicy,
    /// Templates of what is said as the loop goes.
    #[serde(default)]
    pub messages: LoopMessages,
}

/// What is said as a [`ReviewLoop`] goes. Each is a template, which knows `cycle` and `maxCycles`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LoopMessages {
    /// When a review begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_cycle_start: Option<String>,
    /// When it approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_approved: Option<String>,
    /// When it asked for changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_request_changes: Option<String>,
    /// When the last cycle is used up and changes are still asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_max_cycles: Option<String>,
    /// When changes begin to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_fix_start: Option<String>,
    /// When making them ended badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_fix_failed: Option<String>,
    /// The question of the loop's gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_pause_for_approval: Option<String>,
}

/// The phase again and again, until an expression holds or a command says so, at most so many times. Templates of the
/// phase know `iteration`, `maxIterations` and `previousOutput`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenericLoop {
    /// How often at most, at least 1. When they are used up the phase ends well all the same, and says `on_failure`.
    pub max_iterations: u32,
    /// An expression about `output` and the facts. One of this and `until_bash` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// A command, never templated; status 0 ends the loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_bash: Option<String>,
    /// Asks a person between two rounds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// Template of the question, after the round's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_message: Option<String>,
    /// Yes or no, or an answer in words that the next round finds in `scratch.<scratch_key>.qa`.
    #[serde(default = "yes_or_no")]
    pub gate_kind: ApprovalKind,
    /// Who may answer.
    #[serde(default, skip_serializing_if = "GatePolicy::says_nothing")]
    pub gate_policy: GatePolicy,
    /// Where its state lies in the run's scratch, a dotted path; absent: the phase's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch_key: Option<String>,
    /// A round does not see what the rounds before it printed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh_context: bool,
}

/// What happens when a word is in the output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputRule {
    /// The word, anywhere in the output, in any case (`contains_BLOCKED`: `BLOCKED`).
    pub contains: String,
    /// What it leads to.
    pub action: OutputAction,
    /// Template of what is said, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The rule does not count where the issue has this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_label: Option<String>,
    /// Nor where its title matches this pattern; case does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_title_matches: Option<String>,
    /// Template of what is said when the rule did not count; absent: `messages.on_blocked_bypassed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass_message: Option<String>,
}

/// A skill's name and text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Skill {
    /// Its name in the `skills` folder.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
}

/// What is said to whoever asked, as the phase goes. Each is a template.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PhaseMessages {
    /// When it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_start: Option<String>,
    /// When it ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<String>,
    /// When it ended badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// When it is passed over because it was done before the run was taken up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_skipped_done: Option<String>,
    /// When a rule of `on_output` made it fail; absent: `on_failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_blocked: Option<String>,
    /// When such a rule did not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_blocked_bypassed: Option<String>,
}

/// What a good end changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OnSuccess {
    /// The name shown as the run's current phase until the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_phase: Option<super::PhaseName>,
    /// Labels added to the issue or pull request; each is a template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_labels: Vec<String>,
    /// A reaction to the comment or issue that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub react: Option<super::Reaction>,
}

/// Something wrong in a file that a person wrote: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, as the person knows it.
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Column, from 1; 0 when the whole line is meant.
    pub column: usize,
    /// Path of the key, `phases[2].timeout`; empty when none is meant.
    pub key: String,
    /// What is wrong and what to do, lower case, no full stop.
    pub problem: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}
