//! A workflow definition: what its file says, checked and typed. Knows no file system and no runner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::envelope::closed_enum;
use super::{DefinitionHash, PhaseName, WorkflowName};

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
    #[serde(default)]
    pub prompt: Option<Arc<str>>,
    /// Texts of its skills, read when the workflow was loaded, put before the prompt (agent).
    #[serde(default)]
    pub skills: Vec<Skill>,
    /// Template of the model's name, handed to the runtime as `FIRSTLIGHT_MODEL` (agent).
    #[serde(default)]
    pub model: Option<String>,
    /// Template of how hard the model should think, handed to the runtime as `FIRSTLIGHT_VARIANT` (agent).
    #[serde(default)]
    pub variant: Option<String>,
    /// Name of the runtime in settings; absent: `default` (agent).
    #[serde(default)]
    pub runtime: Option<String>,
    /// The command, never templated (script).
    #[serde(default)]
    pub run: Option<String>,
    /// Environment of the process; values are templates.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Ends the process group when it takes longer.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Template of the answer (reply).
    #[serde(default)]
    pub message: Option<String>,
    /// Skipped, with a visible reason, where no runtime is configured (agent).
    #[serde(default)]
    pub optional: bool,
    /// Asks a person before the next phase, if this gate is enabled in settings.
    #[serde(default)]
    pub approval_gate: Option<String>,
    /// Template of the question.
    #[serde(default)]
    pub approval_gate_message: Option<String>,
    /// Templates of what is said as the phase goes.
    #[serde(default)]
    pub messages: PhaseMessages,
    /// What a good end changes.
    #[serde(default)]
    pub on_success: OnSuccess,
    /// Another name for the output in templates.
    #[serde(default)]
    pub output_var: Option<String>,
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
    #[serde(default)]
    pub on_start: Option<String>,
    /// When it ended well.
    #[serde(default)]
    pub on_success: Option<String>,
    /// When it ended badly.
    #[serde(default)]
    pub on_failure: Option<String>,
}

/// What a good end changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OnSuccess {
    /// The name shown as the run's current phase until the next one begins.
    #[serde(default)]
    pub set_phase: Option<super::PhaseName>,
    /// Labels added to the issue or pull request; each is a template.
    #[serde(default)]
    pub add_labels: Vec<String>,
    /// A reaction to the comment or issue that asked.
    #[serde(default)]
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
