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
    let filter = filter(level);
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

/// What is logged at this level. The server library's own lines about its workers say nothing that ours do not. The Slack
/// library's lines, and those of what it stands on, hold the addresses of sockets, which open them, and whole messages. The
/// lines of what watches folders are about every write, so that a log in a watched folder would be about itself without end.
#[must_use]
pub fn filter(level: &str) -> EnvFilter {
    let quiet = [
        "actix_server=warn",
        "rmcp=warn",
        "slack_morphism=off",
        "tungstenite=off",
        "tokio_tungstenite=off",
        "notify=info",
        "mio=info",
    ]
    .join(",");
    EnvFilter::try_new(format!("{level},{quiet}")).unwrap_or_else(|_| EnvFilter::new(format!("info,{quiet}")))
}

/// Begins to log into a file, as text: for a command that has the terminal for itself.
///
/// # Errors
/// When the file cannot be made.
pub fn start_in_file(path: &Path) -> std::io::Result<()> {
    let file = Mutex::new(File::create(path)?);
    let lines = tracing_subscriber::fmt().with_env_filter(filter("info"));
    let _ = lines.with_target(false).with_ansi(false).with_writer(file).try_init();
    Ok(())
}
