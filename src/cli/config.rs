//! `firstlight config check` and `firstlight config print`. Shows settings to whoever runs it; starts nothing.

use std::io::{self, Write};
use std::process::ExitCode;

use actors::domain::Mistake;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::settings::{Loaded, Settings, Sources};

/// Exit code when settings or workflow files have mistakes (`EX_CONFIG` of sysexits).
pub const CONFIGURATION_ERROR: u8 = 78;

/// `firstlight config …`.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Tell every mistake in settings and workflow files at once; exit 78 if there is one
    #[command(after_help = "Example: firstlight config check --config /etc/firstlight.yaml")]
    Check(OutputArgs),
    /// Show the settings that are in force, and where each one came from
    #[command(after_help = "Example: firstlight config print --json | jq '.\"server.listen\"'")]
    Print(OutputArgs),
}

/// How to write it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArgs {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `firstlight config …` on the standard streams.
///
/// `more` finds the mistakes that only other rooms can find (workflow files); `check` asks it once the settings
/// themselves are sound. Results go to standard output, what prevents a result to standard error.
pub fn run(command: &ConfigCommand, sources: &Sources, more: impl FnOnce(&Loaded) -> Vec<Mistake>) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let done = match command {
        ConfigCommand::Check(output) => check(*output, sources, more, &mut out),
        ConfigCommand::Print(output) => print(*output, sources, &mut out, &mut err),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // `config print | head` has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "firstlight: cannot write the answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `config check`: every mistake on a line of its own and exit code 78, or one line that says what was read and 0.
///
/// # Errors
/// When `out` cannot be written.
pub fn check(
    output: OutputArgs,
    sources: &Sources,
    more: impl FnOnce(&Loaded) -> Vec<Mistake>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let (read, mistakes) = match Settings::load(sources) {
        Ok(loaded) => {
            let mistakes = more(&loaded);
            (loaded.read, mistakes)
        }
        Err(mistakes) => (Vec::new(), mistakes),
    };
    let code = if mistakes.is_empty() { 0 } else { CONFIGURATION_ERROR };
    if output.json {
        let mistakes: Vec<Value> = mistakes.iter().map(as_json).collect();
        let answer = json!({ "ok": mistakes.is_empty(), "read": read, "mistakes": mistakes });
        writeln!(out, "{answer:#}")?;
    } else if mistakes.is_empty() {
        writeln!(out, "no mistakes in {}", read.join(" < "))?;
    } else {
        report(&mistakes, out)?;
    }
    Ok(code)
}

/// `config print`: the effective settings, secrets redacted, each with its origin. Mistakes go to `err`, with exit code 78.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn print(output: OutputArgs, sources: &Sources, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let loaded = match Settings::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            report(&mistakes, err)?;
            return Ok(CONFIGURATION_ERROR);
        }
    };
    let shown = loaded.shown();
    if output.json {
        let map: serde_json::Map<String, Value> = shown
            .into_iter()
            .map(|shown| (shown.key, json!({ "value": shown.value, "origin": shown.origin })))
            .collect();
        writeln!(out, "{:#}", Value::Object(map))?;
        return Ok(0);
    }
    for shown in shown {
        writeln!(out, "{}  # from {}", shown.line(), shown.origin)?;
    }
    Ok(0)
}

/// Every mistake on a line of its own, and how many there are.
///
/// # Errors
/// When `out` cannot be written.
pub fn report(mistakes: &[Mistake], out: &mut dyn Write) -> io::Result<()> {
    for mistake in mistakes {
        writeln!(out, "{mistake}")?;
    }
    let many = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
    writeln!(out, "{} {many} in the configuration", mistakes.len())
}

fn as_json(mistake: &Mistake) -> Value {
    json!({
        "file": mistake.file,
        "line": mistake.line,
        "column": mistake.column,
        "key": mistake.key,
        "problem": mistake.problem,
    })
}
