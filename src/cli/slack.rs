//! `firstlight slack manifest`: prints the app that Slack has to be told of. Reads settings; speaks to nobody.

use std::io::Write;
use std::process::ExitCode;

use actors::dispatch::CHAT_COMMANDS;
use actors::slack::manifest;
use clap::Subcommand;

use super::{exit, report};
use crate::settings::{Settings, Sources};

/// `firstlight slack …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum SlackCommand {
    /// Print the app manifest of this deployment, as JSON for "Create New App → From a manifest"
    #[command(after_help = "Example:\n  firstlight slack manifest > manifest.json")]
    Manifest,
}

pub(super) fn run(command: &SlackCommand, sources: &Sources) -> ExitCode {
    let SlackCommand::Manifest = command;
    let settings = match Settings::load(sources) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => return report(&mistakes),
    };
    let commands: Vec<_> = CHAT_COMMANDS
        .iter()
        .map(|(word, takes, meaning)| (*word, *meaning, takes.trim()))
        .collect();
    let manifest = manifest(settings.github.bot_name.as_str(), &commands);
    match writeln!(std::io::stdout().lock(), "{manifest:#}") {
        // `firstlight slack manifest | head` has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("firstlight: cannot write the manifest: {error}");
            ExitCode::from(exit::RUNTIME)
        }
        _ => ExitCode::SUCCESS,
    }
}
