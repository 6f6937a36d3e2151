//! `firstlight crons …`: what fires by the clock. Asks the server; counts no instant.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::{Output, more, path, query, run as ask, table};
use super::client::Method;
use super::desk::Paging;
use crate::settings::Sources;

const CRONS: &str = "/admin/api/crons";

/// `firstlight crons …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum CronsCommand {
    /// List them with their next and last firing
    #[command(
        after_help = "Examples:\n  firstlight crons list --json\n  firstlight crons list --zone America/New_York"
    )]
    List {
        /// Show the next firings by the clock of this zone: a name such as Europe/Berlin, or local for the server's [default: each schedule's own]
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show when one fires next, by the clock of its zone, and why not at its written time where that is so
    #[command(after_help = "Example:\n  firstlight crons next weekly-health-report")]
    Next(One),
    /// Switch one on or off
    #[command(after_help = "Example:\n  firstlight crons toggle weekly-health-report --off")]
    Toggle {
        #[command(flatten)]
        one: One,
        /// On, whatever it is now
        #[arg(long, conflicts_with = "off")]
        on: bool,
        /// Off, whatever it is now
        #[arg(long)]
        off: bool,
    },
    /// Change when one fires, from now on
    #[command(after_help = "Example:\n  firstlight crons schedule weekly-health-report '0 9 * * MON'")]
    Schedule {
        #[command(flatten)]
        one: One,
        /// Five fields, or a word such as @daily
        schedule: String,
    },
    /// Go back to what its file says
    #[command(after_help = "Example:\n  firstlight crons reset weekly-health-report")]
    Reset(One),
    /// Fire one now
    #[command(after_help = "Example:\n  firstlight crons run weekly-health-report")]
    Run(One),
    /// Show one firing: the runs that came of it, and how each went
    #[command(after_help = "Example:\n  firstlight crons firing weekly-health-report 12")]
    Firing {
        #[command(flatten)]
        one: One,
        /// Its number in the history
        number: u64,
    },
    /// Show its latest firings: when, why, how it went
    #[command(after_help = "Example:\n  firstlight crons history weekly-health-report --limit 20")]
    History {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        page: Paging,
    },
}

/// One schedule.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct One {
    /// Its name
    name: String,
    #[command(flatten)]
    output: Output,
}

impl One {
    /// Its place in the API. A name is a name: nothing in it leads elsewhere.
    fn path(&self, what: &str) -> String {
        path(CRONS, &self.name, what)
    }
}

pub(super) fn run(command: &CronsCommand, sources: &Sources) -> ExitCode {
    match command {
        CronsCommand::List { zone, output } => {
            let path = query(CRONS, &[("timezone", zone.clone())]);
            ask(sources, *output, async |api| api.get(&path).await, listed)
        }
        CronsCommand::Next(one) => ask(
            sources,
            one.output,
            async |api| api.get(&one.path("")).await,
            |answer| {
                let columns = [
                    ("at (UTC)", "at"),
                    ("clock of the zone", "local"),
                    ("shifted", "shifted"),
                ];
                let reason = answer["cron"]["reason"].as_str().unwrap_or("its times are over");
                table(&answer["next"], &columns, &format!("it does not fire: {reason}"))
            },
        ),
        CronsCommand::Toggle { one, on, off } => {
            let wish = match (on, off) {
                (true, _) => json!({ "enabled": true }),
                (_, true) => json!({ "enabled": false }),
                _ => json!({}),
            };
            ask(
                sources,
                one.output,
                async |api| api.post(&one.path("/toggle"), &wish).await,
                |answer| {
                    let how = if answer["enabled"] == true { "on" } else { "off" };
                    format!("{} is {how}", text(answer, "name"))
                },
            )
        }
        CronsCommand::Schedule { one, schedule } => ask(
            sources,
            one.output,
            async |api| api.post(&one.path("/schedule"), &json!({ "schedule": schedule })).await,
            |answer| {
                let next = answer["nextRun"].as_str().unwrap_or("never, while it is off");
                format!(
                    "{} fires at {}; next: {next}",
                    text(answer, "name"),
                    text(answer, "schedule")
                )
            },
        ),
        CronsCommand::Reset(one) => ask(
            sources,
            one.output,
            async |api| api.ask(Method::DELETE, &one.path("/override"), None).await,
            |answer| {
                format!(
                    "{} goes by its file again: {}",
                    text(answer, "name"),
                    text(answer, "schedule")
                )
            },
        ),
        CronsCommand::Run(one) => ask(
            sources,
            one.output,
            async |api| api.post(&one.path("/run"), &json!({})).await,
            |answer| {
                format!(
                    "fired {name} (no. {}); firstlight crons history {name} shows how it goes",
                    answer["firing"],
                    name = text(answer, "name")
                )
            },
        ),
        CronsCommand::Firing { one, number } => {
            let path = one.path(&format!("/history/{number}"));
            ask(
                sources,
                one.output,
                async |api| api.get(&path).await,
                |answer| serde_json::to_string_pretty(answer).unwrap_or_default(),
            )
        }
        CronsCommand::History { one, page } => {
            let path = query(&one.path("/history"), &page.pairs());
            ask(
                sources,
                one.output,
                async |api| api.get(&path).await,
                |answer| {
                    let columns = [
                        ("no.", "seq"),
                        ("instant", "scheduledAt"),
                        ("why", "kind"),
                        ("state", "state"),
                        ("runs", "dispatched"),
                        ("failed", "failed"),
                        ("ended", "endedAt"),
                        ("note", "note"),
                    ];
                    table(&answer["firings"], &columns, "it has not fired yet") + &more(answer)
                },
            )
        }
    }
}

fn listed(answer: &Value) -> String {
    let columns = [
        ("name", "name"),
        ("schedule", "schedule"),
        ("zone", "timezone"),
        ("on", "enabled"),
        ("next", "nextLocal"),
        ("last", "lastRun"),
        ("how", "lastStatus"),
        ("failures", "recentFailures"),
        ("does not fire because", "reason"),
    ];
    let mut shown = table(
        &answer["crons"],
        &columns,
        "no schedules; write one into <overlay>/workflows/cron-<name>.yaml",
    );
    for mistake in answer["mistakes"].as_array().into_iter().flatten() {
        shown.push_str(&format!(
            "\nrefused: {} ({}:{})",
            text(mistake, "problem"),
            text(mistake, "file"),
            mistake["line"]
        ));
    }
    shown
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_default()
}
