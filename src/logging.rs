//! Where log lines go and what they look like: stderr, as text on a terminal and as JSON elsewhere. Writes no line itself.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::settings::LogFormat;

/// Begins to log. `level` is a level such as `info`; it has been checked with the settings.
/// A second call in one process changes nothing.
pub fn start(level: &str, format: LogFormat) {
    // The lines of libraries about their workers and sessions say nothing that ours do not.
    let filter =
        EnvFilter::try_new(format!("{level},actix_server=warn,rmcp=warn")).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr)
        .with_target(false);
    // Somebody else logs already, in a test: theirs stays.
    let _ = if json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        lines.with_ansi(colours).try_init()
    };
}

/// Begins to log into a file, as text: for a command that has the terminal for itself.
///
/// # Errors
/// When the file cannot be made.
pub fn start_in_file(path: &Path) -> std::io::Result<()> {
    let file = Mutex::new(File::create(path)?);
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info,actix_server=warn"));
    let _ = lines.with_target(false).with_ansi(false).with_writer(file).try_init();
    Ok(())
}
