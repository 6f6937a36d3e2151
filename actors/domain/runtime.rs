//! How an agent's command is spoken to. Knows no process and no setting.

use serde::{Deserialize, Serialize};

/// How a prompt reaches a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptBy {
    /// On its standard input.
    #[default]
    Stdin,
    /// In the file `{prompt_file}`, which `FIRSTLIGHT_PROMPT_FILE` names too; its standard input is empty.
    File,
}

/// Where a command's answer is taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputBy {
    /// Its standard output.
    #[default]
    Stdout,
    /// The file `{output_file}`, which `FIRSTLIGHT_OUTPUT_FILE` names too; what it prints goes to the log alone.
    File,
}
