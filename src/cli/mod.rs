//! The command line, one command per file. Asks the server over HTTP or boots it; holds no rule of its own.

mod api;
mod audit;
mod backup;
pub mod client;
pub mod config;
mod crons;
mod deliveries;
mod desk;
mod doctor;
mod follow;
mod house;
mod login;
mod mcp;
mod notify;
mod prune;
mod send;
mod serve;
mod slack;
mod start;
mod tokens;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use actors::domain::Mistake;

use crate::settings::{Flags, Sources};
use crate::{boot, demo};

/// The front door of repository automation: authenticated events in, workflow runs, durable replies out.
#[derive(Debug, Parser)]
#[command(
    name = "firstlight",
    version,
    after_help = "Examples:\n  firstlight demo                     see the whole story once, without any account\n  firstlight serve --listen 0.0.0.0:8644\n  firstlight config check"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// Settings file [default: ./firstlight.yaml, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder for the database, logs and secrets [default: ./data]
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8644]
    #[arg(long, value_name = "ADDR", global = true)]
    listen: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (what happens without a command, too)
    #[command(after_help = "Example:\n  WEBHOOK_SECRET=… MANAGED_REPOS=acme/site firstlight serve")]
    Serve,
    /// Tell the whole story once, with stand-ins: a signed delivery, a run, a reply
    #[command(after_help = "Example:\n  firstlight demo --once")]
    Demo(demo::DemoArgs),
    /// Sign a realistic GitHub delivery and post it to a server
    #[command(after_help = "Example:\n  firstlight send issues.opened --repo acme/site --title 'It broke'")]
    Send(Box<send::SendArgs>),
    /// Sign in: turn the password into a token and keep it for the other commands
    #[command(after_help = "Examples:\n  firstlight login\n  firstlight login --scope read --print < password.txt")]
    Login(login::LoginArgs),
    /// Forget the token that login kept; `tokens revoke` also ends it
    #[command(after_help = "Example:\n  firstlight logout")]
    Logout,
    /// Show how the service does: what it holds, what waits, which actors are busy
    #[command(after_help = "Example:\n  firstlight status --json")]
    Status(api::Output),
    /// Start a workflow
    #[command(
        after_help = "Examples:\n  firstlight run repo-health --repo acme/site --wait\n  firstlight run build --repo acme/site --issue 7 -c branch=next"
    )]
    Run(start::RunArgs),
    /// Work on an issue and open a pull request
    #[command(after_help = "Example:\n  firstlight build acme/site#7 --wait")]
    Build(start::AboutArgs),
    /// Triage an issue (also without the word: firstlight acme/site#7)
    #[command(after_help = "Example:\n  firstlight triage acme/site#7")]
    Triage(start::AboutArgs),
    /// Review a pull request (also without the word: firstlight https://github.com/acme/site/pull/12)
    #[command(after_help = "Example:\n  firstlight review https://github.com/acme/site/pull/12")]
    Review(start::AboutArgs),
    /// Report on the health of repositories
    #[command(after_help = "Example:\n  firstlight health acme/site acme/docs")]
    Health(start::ReposArgs),
    /// Look for security problems in repositories
    #[command(after_help = "Example:\n  firstlight security acme/site --wait")]
    Security(start::ReposArgs),
    /// Runs: what is under way and what was done
    #[command(subcommand, after_help = "Example:\n  firstlight runs list --status active")]
    Runs(desk::RunsCommand),
    /// Questions that wait for somebody's answer
    #[command(subcommand, after_help = "Example:\n  firstlight approvals list")]
    Approvals(desk::ApprovalsCommand),
    /// Events: what came in, and what became of it
    #[command(subcommand, after_help = "Example:\n  firstlight events list --repo acme/site")]
    Events(desk::EventsCommand),
    /// Workflows: what can be started
    #[command(subcommand, after_help = "Example:\n  firstlight workflows list")]
    Workflows(desk::WorkflowsCommand),
    /// Tokens for programs and agents: make, list and revoke them
    #[command(subcommand, after_help = "Example:\n  firstlight tokens create ci --scope operate")]
    Tokens(tokens::TokensCommand),
    /// Webhooks: the endpoints that hear of events
    #[command(
        subcommand,
        after_help = "Example:\n  firstlight webhooks register https://example.com/hook"
    )]
    Webhooks(webhooks::WebhooksCommand),
    /// What fires by the clock
    #[command(subcommand, after_help = "Example:\n  firstlight crons list")]
    Crons(crons::CronsCommand),
    /// What went out to webhooks and notification endpoints
    #[command(subcommand, after_help = "Example:\n  firstlight deliveries list --state dead")]
    Deliveries(deliveries::DeliveriesCommand),
    /// Processes that phases have started and that are alive
    #[command(subcommand, after_help = "Example:\n  firstlight processes list")]
    Processes(house::ProcessesCommand),
    /// Conversations in chats
    #[command(subcommand, after_help = "Example:\n  firstlight chats list")]
    Chats(house::ChatsCommand),
    /// Commits that events make of the state files
    #[command(subcommand, after_help = "Example:\n  firstlight auto-commit show")]
    AutoCommit(house::AutoCommitCommand),
    /// Notifications that were sent or stored
    #[command(subcommand, after_help = "Example:\n  firstlight notifications list")]
    Notifications(house::NotificationsCommand),
    /// Send a notification
    #[command(after_help = "Example:\n  firstlight notify slack 'The nightly build is red' --priority high")]
    Notify(notify::NotifyArgs),
    /// Tell an event to the webhooks that subscribed
    #[command(after_help = "Example:\n  firstlight emit task.completed --payload '{\"task\":7}'")]
    Emit(notify::EmitArgs),
    /// Serve the tools to an agent over standard input and output (Model Context Protocol)
    #[command(after_help = "Example:\n  firstlight mcp --state-dir /var/lib/firstlight")]
    Mcp,
    /// Check or print the settings
    #[command(
        subcommand,
        after_help = "Example:\n  firstlight config check --config firstlight.yaml"
    )]
    Config(config::ConfigCommand),
    /// Help to connect a Slack workspace
    #[command(subcommand, after_help = "Example:\n  firstlight slack manifest")]
    Slack(slack::SlackCommand),
    /// Show the audit log, or prove that it was not changed
    #[command(
        subcommand,
        after_help = "Examples:\n  firstlight audit list --who ann\n  firstlight audit verify"
    )]
    Audit(audit::AuditCommand),
    /// Examine the whole set-up and name what is wrong with it, and what to change
    #[command(after_help = "Examples:\n  firstlight doctor\n  firstlight doctor --ping --json")]
    Doctor(doctor::DoctorArgs),
    /// Copy the database, the integrations and the secrets into a new folder; the service may run meanwhile
    #[command(after_help = "Example:\n  firstlight backup --to /var/backups/firstlight/monday")]
    Backup(backup::BackupArgs),
    /// Put a backup back; the service must be stopped, and what was there is kept
    #[command(after_help = "Example:\n  firstlight restore --from /var/backups/firstlight/monday")]
    Restore(backup::RestoreArgs),
    /// Remove what is old enough by the settings, while no service runs; a running one does it by itself
    #[command(after_help = "Examples:\n  firstlight prune --dry-run\n  firstlight prune --compact --json")]
    Prune(prune::PruneArgs),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  firstlight completions bash > /etc/bash_completion.d/firstlight")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// An issue or a pull request by its name or URL
    #[command(external_subcommand)]
    Bare(Vec<String>),
}

impl Global {
    fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            listen: self.listen.clone(),
            state_dir: self.state_dir.clone(),
        }
    }
}

/// The tree of commands, for whoever documents or checks it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let sources = match Sources::of_process(cli.global.flags()) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("firstlight: cannot read the working folder: {error}");
            return ExitCode::from(exit::RUNTIME);
        }
    };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&sources),
        Command::Demo(args) => demo::run(&args),
        Command::Send(args) => send::run(&args, &sources),
        Command::Config(command) => config::run(&command, &sources, |loaded| {
            boot::load_workflows(loaded).err().unwrap_or_default()
        }),
        Command::Login(args) => login::run(&args, &sources),
        Command::Logout => login::forget(&sources),
        Command::Status(output) => house::status(output, &sources),
        Command::Processes(command) => house::processes(&command, &sources),
        Command::Chats(command) => house::chats(&command, &sources),
        Command::AutoCommit(command) => house::auto_commit(&command, &sources),
        Command::Notifications(command) => house::notifications(&command, &sources),
        Command::Run(args) => start::run(&args, &sources),
        Command::Build(args) => start::build(&args, &sources),
        Command::Triage(args) => start::triage(&args, &sources),
        Command::Review(args) => start::review(&args, &sources),
        Command::Health(args) => start::scan(&args, &sources, "repo-health"),
        Command::Security(args) => start::scan(&args, &sources, "security-review"),
        Command::Bare(words) => start::bare(&words, &sources),
        Command::Runs(command) => desk::runs(&command, &sources),
        Command::Approvals(command) => desk::approvals(&command, &sources),
        Command::Events(command) => desk::events(&command, &sources),
        Command::Workflows(command) => desk::workflows(&command, &sources),
        Command::Tokens(command) => tokens::run(&command, &sources),
        Command::Webhooks(command) => webhooks::run(&command, &sources),
        Command::Crons(command) => crons::run(&command, &sources),
        Command::Deliveries(command) => deliveries::run(&command, &sources),
        Command::Notify(args) => notify::notify(&args, &sources),
        Command::Emit(args) => notify::emit(&args, &sources),
        Command::Mcp => mcp::run(&sources),
        Command::Slack(command) => slack::run(&command, &sources),
        Command::Audit(command) => audit::run(&command, &sources),
        Command::Doctor(args) => doctor::run(args, &sources),
        Command::Backup(args) => backup::backup(&args, &sources),
        Command::Prune(args) => prune::run(&args, &sources),
        Command::Restore(args) => backup::restore(&args, &sources),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), "firstlight", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// Exit statuses. 0 is a clean stop; clap itself exits with 2 on wrong usage.
pub mod exit {
    /// Something failed while running.
    pub const RUNTIME: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// A run that was waited for waits itself, for somebody's answer.
    pub const WAITS: u8 = 3;
    /// What a person wrote into settings or workflows is wrong (`EX_CONFIG` of sysexits.h).
    pub const CONFIGURATION: u8 = 78;
}

/// All mistakes at once, each with its place.
pub(crate) fn report(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    let count = if mistakes.len() == 1 {
        "1 mistake".to_owned()
    } else {
        format!("{} mistakes", mistakes.len())
    };
    eprintln!("firstlight: {count} in the configuration; nothing was started");
    ExitCode::from(exit::CONFIGURATION)
}
