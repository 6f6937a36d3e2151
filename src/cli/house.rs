//! `firstlight status|processes|chats|notifications|auto-commit …`: how the service does, and what else it holds. Asks the server; holds no rule.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::api::{Output, cell, more, path, query, run as ask, table};
use super::client::Method;
use super::desk::Paging;
use crate::settings::Sources;

const PROCESSES: &str = "/admin/api/containers";
const CHATS: &str = "/admin/api/sessions";
const AUTO_COMMIT: &str = "/api/integrations/git-auto-commit";

/// `firstlight processes …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum ProcessesCommand {
    /// List them with their run, phase, memory and processor time
    #[command(after_help = "Example:\n  firstlight processes list")]
    List(Output),
    /// Kill one with everything that it started; its phase has failed
    #[command(
        after_help = "Example:\n  firstlight processes kill firstlight-01890a5d-ac96-774b-bcce-b302099a8057-build-4711"
    )]
    Kill {
        /// Its name, from the list
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

/// `firstlight chats …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum ChatsCommand {
    /// List them, newest first
    #[command(after_help = "Example:\n  firstlight chats list")]
    List {
        #[command(flatten)]
        page: Paging,
        #[command(flatten)]
        output: Output,
    },
    /// Show what was said in one, oldest first, at most 500 lines
    #[command(
        after_help = "Example:\n  firstlight chats show 01890a5d-ac96-774b-bcce-b302099a8057 --since 2026-01-31T09:30:00Z"
    )]
    Show {
        /// Its id
        id: String,
        /// Only what was said after this time, or after the line of this `seq`
        #[arg(long, value_name = "TIME|SEQ")]
        since: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

/// `firstlight notifications …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum NotificationsCommand {
    /// List the latest 200, oldest first
    #[command(after_help = "Example:\n  firstlight notifications list --json")]
    List(Output),
}

/// `firstlight auto-commit …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum AutoCommitCommand {
    /// Show whether and on which events something is committed
    #[command(after_help = "Example:\n  firstlight auto-commit show")]
    Show(Output),
    /// Change it; what is not named stays as it is
    #[command(
        after_help = "Example:\n  firstlight auto-commit set --on --event task.completed --event roadmap.exported"
    )]
    Set {
        /// Commit
        #[arg(long, conflicts_with = "off")]
        on: bool,
        /// Commit nothing
        #[arg(long)]
        off: bool,
        /// An event on which to commit; several times for several
        #[arg(long = "event", value_name = "NAME")]
        events: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Say what would be committed now, and commit nothing
    #[command(after_help = "Example:\n  firstlight auto-commit try")]
    Try(Output),
}

/// `firstlight status`.
pub(super) fn status(output: Output, sources: &Sources) -> ExitCode {
    ask(
        sources,
        output,
        async |api| {
            let stats = api.get("/admin/api/stats").await?;
            let actors = api.get("/admin/api/actors").await?;
            let mut whole = Map::new();
            for answer in [stats, actors] {
                if let Value::Object(answer) = answer {
                    whole.extend(answer);
                }
            }
            Ok(whole.into())
        },
        |answer| {
            let (totals, store) = (&answer["totals"], &answer["store"]);
            let by = |what: &Value| {
                let states = what.as_object().into_iter().flatten();
                let states: Vec<_> = states.map(|(state, n)| format!("{n} {state}")).collect();
                if states.is_empty() {
                    "none".to_owned()
                } else {
                    states.join(", ")
                }
            };
            let columns = [("actor", "name"), ("state", "state"), ("handled", "handled")];
            format!(
                "events         {} accepted, {} set aside, {} not routed yet\nruns           {}\napprovals      {} wait for an answer\n\
                 open effects   {}\ndeliveries     {}\nchats          {} go on\n\n{}",
                totals["events"],
                totals["quarantinedEvents"],
                store["unsettledEvents"],
                by(&totals["runs"]),
                totals["pendingApprovals"],
                store["openEffects"],
                by(&totals["openDeliveries"]),
                totals["liveSessions"],
                table(&answer["actors"], &columns, "no actors")
            )
        },
    )
}

pub(super) fn processes(command: &ProcessesCommand, sources: &Sources) -> ExitCode {
    match command {
        ProcessesCommand::List(output) => {
            let columns = [
                ("name", "name"),
                ("run", "run"),
                ("phase", "phase"),
                ("command", "command"),
                ("processes", "processes"),
                ("memory (bytes)", "memoryBytes"),
                ("cpu (ms)", "cpuMs"),
            ];
            ask(
                sources,
                *output,
                async |api| api.get(PROCESSES).await,
                |answer| table(&answer["containers"], &columns, "no phase has a process just now"),
            )
        }
        ProcessesCommand::Kill { name, output } => ask(
            sources,
            *output,
            async |api| api.ask(Method::DELETE, &path(PROCESSES, name, ""), None).await,
            |answer| format!("killed {}", cell(&answer["killed"])),
        ),
    }
}

pub(super) fn chats(command: &ChatsCommand, sources: &Sources) -> ExitCode {
    match command {
        ChatsCommand::List { page, output } => {
            let columns = [
                ("id", "id"),
                ("where", "platform"),
                ("channel", "channel"),
                ("with", "user"),
                ("goes on", "live"),
                ("lines", "messageCount"),
                ("last line", "lastActivityAt"),
            ];
            let place = query(CHATS, &page.pairs());
            ask(
                sources,
                *output,
                async |api| api.get(&place).await,
                |answer| table(&answer["sessions"], &columns, "nobody has talked to it yet") + &more(answer),
            )
        }
        ChatsCommand::Show { id, since, output } => {
            let place = query(&path(CHATS, id, "/messages"), &[("since", since.clone())]);
            ask(
                sources,
                *output,
                async |api| api.get(&place).await,
                |answer| {
                    let lines = answer["messages"].as_array().into_iter().flatten();
                    let mut text: String = lines
                        .map(|line| {
                            let said = line["text"].as_str().unwrap_or_default();
                            let said: Vec<_> = said.lines().map(|line| cell(&json!(line))).collect();
                            format!(
                                "{}  {}: {}\n",
                                cell(&line["at"]),
                                cell(&line["author"]),
                                said.join("\n    ")
                            )
                        })
                        .collect();
                    match &answer["next"] {
                        Value::Null => text.truncate(text.trim_end().len()),
                        next => text.push_str(&format!("more with: --since {next}")),
                    }
                    text
                },
            )
        }
    }
}

pub(super) fn notifications(command: &NotificationsCommand, sources: &Sources) -> ExitCode {
    let NotificationsCommand::List(output) = command;
    let columns = [
        ("id", "id"),
        ("channel", "channel"),
        ("priority", "priority"),
        ("message", "message"),
        ("delivered", "delivered"),
        ("created", "created_at"),
    ];
    ask(
        sources,
        *output,
        async |api| api.get("/api/integrations/notifications").await,
        |answer| {
            table(
                &answer["notifications"],
                &columns,
                "no notifications; send one with: firstlight notify CHANNEL MESSAGE",
            )
        },
    )
}

pub(super) fn auto_commit(command: &AutoCommitCommand, sources: &Sources) -> ExitCode {
    match command {
        AutoCommitCommand::Show(output) => ask(sources, *output, async |api| api.get(AUTO_COMMIT).await, committing),
        AutoCommitCommand::Set {
            on,
            off,
            events,
            output,
        } => {
            let mut wish = Map::new();
            if *on || *off {
                wish.insert("enabled".to_owned(), (*on).into());
            }
            if !events.is_empty() {
                wish.insert("on_events".to_owned(), json!(events));
            }
            let wish = Value::Object(wish);
            ask(
                sources,
                *output,
                async |api| api.ask(Method::PUT, AUTO_COMMIT, Some(&wish)).await,
                committing,
            )
        }
        AutoCommitCommand::Try(output) => {
            let place = format!("{AUTO_COMMIT}/dry-run");
            ask(
                sources,
                *output,
                async |api| api.post(&place, &json!({})).await,
                |answer| {
                    let paths = answer["paths"].as_array().into_iter().flatten();
                    let paths: Vec<_> = paths.map(cell).collect();
                    match (answer["reason"].as_str(), paths.is_empty()) {
                        (Some(reason), _) => format!("nothing would be committed: {reason}"),
                        (None, true) => "nothing would be committed: nothing has changed".to_owned(),
                        (None, false) => format!("it would commit:\n  {}", paths.join("\n  ")),
                    }
                },
            )
        }
    }
}

fn committing(answer: &Value) -> String {
    let config = match &answer["git_auto_commit"] {
        Value::Null => answer,
        config => config,
    };
    let how = if config["enabled"] == true { "on" } else { "off" };
    format!("it is {how}; events: {}", cell(&config["on_events"]))
}
