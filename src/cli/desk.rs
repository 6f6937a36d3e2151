//! `firstlight runs|approvals|events|workflows …`: the operators' desk. Asks the server; holds no rule.

use std::io::{Read, Write};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::{Failure, Output, hand_on, more, path as at, query, run as ask, table};
use super::follow::{self, Telling};
use crate::settings::Sources;

const RUNS: &str = "/admin/api/workflow-runs";
const APPROVALS: &str = "/admin/api/approvals";
const EVENTS: &str = "/admin/api/events";
const WORKFLOWS: &str = "/admin/api/workflows";

/// Which part of a list.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Paging {
    /// At most so many, 1 to 200
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Go on before this one: the `next` of the page before
    #[arg(long, value_name = "NEXT")]
    before: Option<String>,
}

impl Paging {
    /// As filters of the API.
    pub(super) fn pairs(&self) -> [(&'static str, Option<String>); 2] {
        [("limit", Some(self.limit.to_string())), ("before", self.before.clone())]
    }
}

/// One thing by its id or name.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct One {
    /// Its id or name
    id: String,
    #[command(flatten)]
    output: Output,
}

/// `firstlight runs …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum RunsCommand {
    /// List them, newest first
    #[command(after_help = "Example:\n  firstlight runs list --status active --json")]
    List {
        /// active, or queued, running, paused, succeeded, failed, cancelled; several with commas
        #[arg(long)]
        status: Option<String>,
        /// Only of this workflow
        #[arg(long)]
        workflow: Option<String>,
        /// Only of this repository
        #[arg(long, value_name = "OWNER/NAME")]
        repo: Option<String>,
        #[command(flatten)]
        page: Paging,
        #[command(flatten)]
        output: Output,
    },
    /// Show one with its phases
    #[command(after_help = "Example:\n  firstlight runs show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show(One),
    /// Show what its phases printed
    #[command(
        after_help = "Examples:\n  firstlight runs logs 01890a5d-ac96-774b-bcce-b302099a8057 --follow\n  firstlight runs logs 01890a5d-ac96-774b-bcce-b302099a8057 --phase review --tail 4096"
    )]
    Logs {
        /// Its id
        id: String,
        /// Only of this phase, as it was printed [default: all, each line behind the name of its phase]
        #[arg(long)]
        phase: Option<String>,
        /// Only the last so many bytes of each
        #[arg(long, value_name = "BYTES")]
        tail: Option<u64>,
        /// Go on until the run is over, or waits for an answer
        #[arg(long, short)]
        follow: bool,
    },
    /// Wait for the end of one: exit status 0 if it went well, 1 if not, 3 if it waits for somebody's answer
    #[command(after_help = "Example:\n  firstlight runs wait 01890a5d-ac96-774b-bcce-b302099a8057")]
    Wait {
        #[command(flatten)]
        one: One,
        /// Do not show what the phases print
        #[arg(long, short)]
        quiet: bool,
    },
    /// Stop one
    #[command(after_help = "Example:\n  firstlight runs cancel 01890a5d-ac96-774b-bcce-b302099a8057")]
    Cancel(One),
    /// Start one that is over once more
    #[command(after_help = "Example:\n  firstlight runs retry 01890a5d-ac96-774b-bcce-b302099a8057 --from review")]
    Retry {
        #[command(flatten)]
        one: One,
        /// The first phase that is done again [default: all]
        #[arg(long, value_name = "PHASE")]
        from: Option<String>,
    },
}

/// `firstlight approvals …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum ApprovalsCommand {
    /// List the questions that wait for an answer
    #[command(after_help = "Examples:\n  firstlight approvals list\n  firstlight approvals list --status all")]
    List {
        /// pending, approved, rejected, …, or all
        #[arg(long, default_value = "pending")]
        status: String,
        #[command(flatten)]
        page: Paging,
        #[command(flatten)]
        output: Output,
    },
    /// Show one: what is approved, by which rules, who answered
    #[command(after_help = "Example:\n  firstlight approvals show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show(One),
    /// Approve one
    #[command(after_help = "Example:\n  firstlight approvals approve 01890a5d-ac96-774b-bcce-b302099a8057")]
    Approve(Decide),
    /// Reject one
    #[command(
        after_help = "Example:\n  firstlight approvals reject 01890a5d-ac96-774b-bcce-b302099a8057 --reason 'too risky'"
    )]
    Reject(Decide),
}

/// An answer.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Decide {
    #[command(flatten)]
    one: One,
    /// Why; or the answer, where words are asked for
    #[arg(long)]
    reason: Option<String>,
}

/// `firstlight events …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum EventsCommand {
    /// List them, newest first
    #[command(after_help = "Example:\n  firstlight events list --repo acme/site --limit 5")]
    List {
        /// Only of this repository
        #[arg(long, value_name = "OWNER/NAME")]
        repo: Option<String>,
        /// Only of this type, such as issue.opened
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only in this state, such as quarantined
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        page: Paging,
        #[command(flatten)]
        output: Output,
    },
    /// Show one: what came in, why it was routed so, what it started
    #[command(after_help = "Example:\n  firstlight events show 72d3162e-cc78-11e3-81ab-4c9367dc0958")]
    Show(One),
    /// Route one again: as it is where it was set aside, or as a new one
    #[command(after_help = "Example:\n  firstlight events replay 72d3162e-cc78-11e3-81ab-4c9367dc0958 --new")]
    Replay {
        #[command(flatten)]
        one: One,
        /// As a new event with the same content
        #[arg(long)]
        new: bool,
    },
    /// Say what would happen to a payload, and do nothing
    #[command(after_help = "Example:\n  firstlight events test issues payload.json")]
    Test {
        /// The event, as in X-GitHub-Event
        event: String,
        /// A file with the payload; - for standard input
        file: String,
        #[command(flatten)]
        output: Output,
    },
}

/// `firstlight workflows …`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum WorkflowsCommand {
    /// List them
    #[command(after_help = "Example:\n  firstlight workflows list")]
    List(Output),
    /// Show the file of one
    #[command(after_help = "Example:\n  firstlight workflows show build")]
    Show(One),
    /// Show a prompt that one uses, as its runs get it
    #[command(after_help = "Example:\n  firstlight workflows prompt issue-triage prompts/issue-triage.md")]
    Prompt {
        /// The workflow's name
        name: String,
        /// The prompt, as the workflow's file names it
        prompt: String,
    },
    /// Let one start runs again
    #[command(after_help = "Example:\n  firstlight workflows enable build")]
    Enable(One),
    /// Let one start no run, whoever asks
    #[command(after_help = "Example:\n  firstlight workflows disable build")]
    Disable(One),
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

pub(super) fn runs(command: &RunsCommand, sources: &Sources) -> ExitCode {
    match command {
        RunsCommand::List {
            status,
            workflow,
            repo,
            page,
            output,
        } => {
            let [limit, before] = page.pairs();
            let path = query(
                RUNS,
                &[
                    ("status", status.clone()),
                    ("workflow", workflow.clone()),
                    ("repo", repo.clone()),
                    limit,
                    before,
                ],
            );
            let columns = [
                ("id", "id"),
                ("workflow", "workflow"),
                ("about", "subject"),
                ("status", "status"),
                ("phase", "currentPhase"),
                ("created", "createdAt"),
                ("error", "error"),
            ];
            ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| {
                    table(
                        &answer["workflowRuns"],
                        &columns,
                        "no runs; start one with: firstlight run <workflow>",
                    ) + &more(answer)
                },
            )
        }
        RunsCommand::Show(one) => ask(
            sources,
            one.output,
            async |api| api.get(&at(RUNS, &one.id, "")).await,
            |answer| {
                let run = &answer["workflowRun"];
                let text = |key: &str| run[key].as_str().unwrap_or("–").to_owned();
                let columns = [
                    ("phase", "phase"),
                    ("status", "status"),
                    ("attempt", "attempt"),
                    ("reason", "reason"),
                ];
                format!(
                    "{} about {}: {}{}\nstarted {}, ended {}\n\n{}",
                    text("workflow"),
                    text("subject"),
                    text("status"),
                    run["error"]
                        .as_str()
                        .map_or_else(String::new, |error| format!(" ({error})")),
                    text("startedAt"),
                    text("endedAt"),
                    table(&run["phases"], &columns, "no phase has begun")
                )
            },
        ),
        RunsCommand::Logs {
            id,
            phase,
            tail,
            follow,
        } => hand_on(sources, async |api| {
            follow::logs(api, id, phase.as_deref(), *tail, *follow).await?;
            Ok(ExitCode::SUCCESS)
        }),
        RunsCommand::Wait { one, quiet } => {
            let telling = Telling {
                phases: true,
                logs: !quiet,
            };
            hand_on(sources, async |api| {
                follow::to_the_end(api, std::slice::from_ref(&one.id), telling, one.output).await
            })
        }
        RunsCommand::Cancel(one) => ask(
            sources,
            one.output,
            async |api| api.post(&at(RUNS, &one.id, "/cancel"), &json!({})).await,
            |answer| format!("cancelled {}", answer["cancelled"].as_str().unwrap_or_default()),
        ),
        RunsCommand::Retry { one, from } => ask(
            sources,
            one.output,
            async |api| {
                let wish = match from {
                    Some(from) => json!({ "from": from }),
                    None => json!({}),
                };
                api.post(&at(RUNS, &one.id, "/retry"), &wish).await
            },
            |answer| {
                let id = answer["executionId"].as_str().unwrap_or_default();
                format!("started {id}; firstlight runs show {id}")
            },
        ),
    }
}

pub(super) fn approvals(command: &ApprovalsCommand, sources: &Sources) -> ExitCode {
    let (one, decision) = match command {
        ApprovalsCommand::List { status, page, output } => {
            let [limit, before] = page.pairs();
            let path = query(APPROVALS, &[("status", Some(status.clone())), limit, before]);
            let columns = [
                ("id", "id"),
                ("workflow", "workflow"),
                ("about", "subject"),
                ("gate", "gate"),
                ("asks", "summary"),
                ("status", "status"),
                ("since", "createdAt"),
                ("until", "deadline"),
            ];
            return ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| table(&answer["approvals"], &columns, "nothing waits for an answer") + &more(answer),
            );
        }
        ApprovalsCommand::Show(one) => {
            let path = at(APPROVALS, &one.id, "");
            return ask(
                sources,
                one.output,
                async |api| api.get(&path).await,
                |answer| pretty(&answer["approval"]),
            );
        }
        ApprovalsCommand::Approve(decide) => (decide, "approved"),
        ApprovalsCommand::Reject(decide) => (decide, "rejected"),
    };
    let mut wish = json!({ "decision": decision });
    if let Some(reason) = &one.reason {
        wish["reason"] = json!(reason);
        wish["response"] = json!(reason);
    }
    let path = at(APPROVALS, &one.one.id, "/respond");
    ask(
        sources,
        one.one.output,
        async |api| api.post(&path, &wish).await,
        |answer| match answer["status"].as_str() {
            Some("pending") => format!("counted; {} of {} have approved", answer["approvals"], answer["needed"]),
            status => status.unwrap_or("answered").to_owned(),
        },
    )
}

pub(super) fn events(command: &EventsCommand, sources: &Sources) -> ExitCode {
    match command {
        EventsCommand::List {
            repo,
            kind,
            state,
            page,
            output,
        } => {
            let [limit, before] = page.pairs();
            let path = query(
                EVENTS,
                &[
                    ("repo", repo.clone()),
                    ("type", kind.clone()),
                    ("state", state.clone()),
                    limit,
                    before,
                ],
            );
            let columns = [
                ("id", "id"),
                ("type", "type"),
                ("repo", "repo"),
                ("issue", "issueNumber"),
                ("pr", "prNumber"),
                ("from", "sender"),
                ("state", "state"),
                ("outcome", "outcome"),
                ("when", "timestamp"),
            ];
            ask(
                sources,
                *output,
                async |api| api.get(&path).await,
                |answer| {
                    table(
                        &answer["events"],
                        &columns,
                        "no events; send one with: firstlight send issues.opened",
                    ) + &more(answer)
                },
            )
        }
        EventsCommand::Show(one) => ask(
            sources,
            one.output,
            async |api| api.get(&at(EVENTS, &one.id, "")).await,
            pretty,
        ),
        EventsCommand::Replay { one, new } => ask(
            sources,
            one.output,
            async |api| {
                let wish = json!({ "as": if *new { "new" } else { "same" } });
                api.post(&at(EVENTS, &one.id, "/replay"), &wish).await
            },
            |answer| format!("accepted as {}", answer["id"].as_str().unwrap_or_default()),
        ),
        EventsCommand::Test { event, file, output } => ask(
            sources,
            *output,
            async |api| {
                let payload: Value = serde_json::from_str(&text_of(file)?)
                    .map_err(|error| Failure::Refused(format!("{file}: {error}")))?;
                let wish = json!({ "event": event, "payload": payload });
                api.post("/admin/api/route-test", &wish).await
            },
            tested,
        ),
    }
}

fn text_of(file: &str) -> Result<String, Failure> {
    let read = match file {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        file => std::fs::read_to_string(file),
    };
    read.map_err(|error| Failure::Refused(format!("cannot read {file}: {error}")))
}

fn tested(answer: &Value) -> String {
    let workflow = answer["workflow"].as_str();
    let outcome = answer["outcome"].as_str().unwrap_or_default();
    match (workflow, answer["starts"].as_bool()) {
        (Some(workflow), Some(true)) => format!("it would start {workflow}: {outcome}"),
        (Some(workflow), _) => format!("it is meant for {workflow} and would start nothing: {outcome}"),
        (None, _) => format!(
            "it would start nothing: {}",
            answer["filtered"]
                .as_str()
                .filter(|words| !words.is_empty())
                .unwrap_or(outcome)
        ),
    }
}

pub(super) fn workflows(command: &WorkflowsCommand, sources: &Sources) -> ExitCode {
    let switch = |one: &One, enabled: bool| {
        let path = at(WORKFLOWS, &one.id, "/toggle");
        ask(
            sources,
            one.output,
            async |api| api.post(&path, &json!({ "enabled": enabled })).await,
            |answer| {
                let how = if answer["enabled"] == true { "on" } else { "off" };
                format!("{} is {how}", answer["name"].as_str().unwrap_or_default())
            },
        )
    };
    match command {
        WorkflowsCommand::List(output) => {
            let columns = [
                ("name", "name"),
                ("on", "enabled"),
                ("phases", "phases"),
                ("file", "file"),
                ("description", "description"),
            ];
            ask(
                sources,
                *output,
                async |api| api.get(WORKFLOWS).await,
                |answer| table(&answer["workflows"], &columns, "no workflows"),
            )
        }
        WorkflowsCommand::Show(one) => ask(
            sources,
            one.output,
            async |api| api.get(&at(WORKFLOWS, &one.id, "")).await,
            |answer| answer["workflow"]["yaml"].as_str().unwrap_or_default().to_owned(),
        ),
        WorkflowsCommand::Prompt { name, prompt } => hand_on(sources, async |api| {
            let place = query(&at(WORKFLOWS, name, "/prompt"), &[("path", Some(prompt.clone()))]);
            let answer = api.raw(&place).await?;
            // Somebody who reads on in a pager that is closed has seen enough.
            let _ = std::io::stdout().write_all(&answer.bytes);
            Ok(ExitCode::SUCCESS)
        }),
        WorkflowsCommand::Enable(one) => switch(one, true),
        WorkflowsCommand::Disable(one) => switch(one, false),
    }
}
