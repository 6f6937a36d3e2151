//! The decisions about one phase: what it asks for, what its end means. Pure: knows no clock, no process, no store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Runtime;
use super::process::End;
use crate::domain::{INTERRUPTED, Phase, PhaseKind, PhaseStatus, ReplyTo};

/// The runtime of a phase that names none.
const DEFAULT_RUNTIME: &str = "default";

/// What a phase asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work<'a> {
    /// Nothing: it is done by being reached.
    Nothing,
    /// A shell runs this text, untouched.
    Script(&'a str),
    /// A runtime gets a prompt.
    Agent {
        /// Its name in settings.
        name: &'a str,
        /// Its command and limits.
        runtime: &'a Runtime,
    },
    /// An answer to whoever asked: its template.
    Reply(&'a str),
    /// A notice through a channel of the integrations.
    Notify,
    /// An event to whoever subscribed to it.
    Emit,
    /// An answer of a person.
    Ask,
    /// Nothing, for this reason.
    Skip(String),
    /// It cannot be done, for this reason.
    Refuse(String),
}

/// Decides what a phase asks for, with what is configured.
pub(crate) fn work<'a>(phase: &'a Phase, runtimes: &'a BTreeMap<String, Runtime>, reply_to: &'a ReplyTo) -> Work<'a> {
    match phase.kind {
        PhaseKind::Context => Work::Nothing,
        PhaseKind::Script => match phase.run.as_deref() {
            Some(run) => Work::Script(run),
            None => Work::Refuse("it has no `run` command".into()),
        },
        PhaseKind::Agent => {
            let name = phase.runtime.as_deref().unwrap_or(DEFAULT_RUNTIME);
            if let Some(runtime) = runtimes.get(name).filter(|runtime| !runtime.command.is_empty()) {
                return Work::Agent { name, runtime };
            }
            let reason = format!("no runtime \"{name}\" is configured: set runtimes.{name} in firstlight.yaml");
            if phase.optional {
                Work::Skip(reason)
            } else {
                Work::Refuse(reason)
            }
        }
        PhaseKind::Reply => match (reply_to, phase.message.as_deref()) {
            (_, None) => Work::Refuse("it has no `message`".into()),
            (
                ReplyTo::IssueComment { .. }
                | ReplyTo::SlackThread { .. }
                | ReplyTo::SlackPerson { .. }
                | ReplyTo::DeliveryChannel,
                Some(message),
            ) => Work::Reply(message),
            (ReplyTo::Nobody, _) => Work::Skip("nobody to answer: the run was started without a conversation".into()),
        },
        PhaseKind::Notify => Work::Notify,
        PhaseKind::Emit => Work::Emit,
        PhaseKind::Approval => Work::Ask,
    }
}

/// How long a process may run, and the words when it took longer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimeLimit {
    /// From its start.
    pub(crate) limit: Duration,
    /// Why it was ended.
    pub(crate) reason: String,
}

/// The nearer of the phase's timeout and what is left of the run's deadline.
pub(crate) fn time_limit(timeout: Duration, left_of_run: Duration, run_deadline: Duration) -> TimeLimit {
    if timeout <= left_of_run {
        return TimeLimit {
            limit: timeout,
            reason: format!("timed out after {}", seconds(timeout)),
        };
    }
    TimeLimit {
        limit: left_of_run,
        reason: too_long(run_deadline),
    }
}

/// Why a run ends at its deadline.
pub(crate) fn too_long(run_deadline: Duration) -> String {
    format!("the run took longer than {} (runs.deadline)", seconds(run_deadline))
}

/// What became of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// Succeeded, failed or skipped.
    pub(crate) status: PhaseStatus,
    /// What it printed.
    pub(crate) output: Option<String>,
    /// Why it failed or was skipped.
    pub(crate) reason: Option<String>,
    /// Exit status of its process.
    pub(crate) exit_code: Option<i32>,
}

impl Done {
    /// It ended well, with this output.
    pub(crate) fn well(output: Option<String>) -> Self {
        Self {
            status: PhaseStatus::Succeeded,
            output,
            reason: None,
            exit_code: None,
        }
    }

    /// It was not done, with a reason.
    pub(crate) fn skipped(reason: String) -> Self {
        Self {
            status: PhaseStatus::Skipped,
            output: None,
            reason: Some(reason),
            exit_code: None,
        }
    }

    /// It ended badly.
    pub(crate) fn badly(reason: String) -> Self {
        Self {
            status: PhaseStatus::Failed,
            output: None,
            reason: Some(reason),
            exit_code: None,
        }
    }
}

/// Judges the end of a process. An end that was ours because the run stops is not judged here.
pub(crate) fn judge(end: End, output: String, limit: TimeLimit) -> Done {
    let reason = match end {
        End::Exited(0) => None,
        End::Exited(code) => Some(format!("exited with status {code}")),
        End::Signalled(signal) => Some(format!("killed by signal {signal}")),
        End::TimedOut => Some(limit.reason),
        End::Aborted | End::PutDown => Some(INTERRUPTED.into()),
    };
    Done {
        status: if reason.is_none() {
            PhaseStatus::Succeeded
        } else {
            PhaseStatus::Failed
        },
        output: Some(output),
        reason,
        exit_code: match end {
            End::Exited(code) => Some(code),
            _ => None,
        },
    }
}

/// `90 s`, `0.3 s`.
fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::{PhaseRecord, RepoName, RunRecord, Workflow};

    /// A workflow of these phases, given as JSON.
    pub(crate) fn workflow(phases: &str) -> Workflow {
        let bundle = format!(
            r#"{{"name":"triage","kind":"agent","description":"","variables":{{"tone":"kind"}},"phases":{phases},"text":"","file":"triage.yaml"}}"#
        );
        Workflow::from_bundle(&bundle).expect("a bundle")
    }

    /// A run about acme/site#7 with these phase records.
    pub(crate) fn record(phases: &[(&str, u32, PhaseStatus, Option<&str>)]) -> RunRecord {
        use crate::domain::{Cause, RunContext, RunStatus, RunSummary, Subject, TriggerType};
        let repo: RepoName = "acme/site".parse().expect("valid");
        let at = chrono::DateTime::UNIX_EPOCH;
        RunRecord {
            summary: RunSummary {
                seq: 1,
                id: "01890000-0000-7000-8000-012389abcdef".parse().expect("valid"),
                workflow: "triage".parse().expect("valid"),
                subject: Subject::thread(&repo, 7),
                repo: Some(repo.clone()),
                number: Some(7),
                status: RunStatus::Running,
                current_phase: None,
                cause: Cause {
                    trigger: TriggerType::Webhook,
                    who: "ann".into(),
                    event: None,
                },
                error: None,
                restart_count: 0,
                created_at: at,
                started_at: None,
                ended_at: None,
            },
            definition: String::new(),
            context: RunContext(serde_json::from_str(r#"{"title":"It broke"}"#).expect("a map")),
            reply_to: ReplyTo::IssueComment {
                repo,
                number: 7,
                comment_id: None,
            },
            event: None,
            phases: phases
                .iter()
                .map(|(name, attempt, status, reason)| PhaseRecord {
                    phase: name.parse().expect("valid"),
                    kind: "script".into(),
                    attempt: *attempt,
                    status: *status,
                    output: None,
                    reason: reason.map(str::to_owned),
                    exit_code: None,
                    started_at: at,
                    ended_at: None,
                })
                .collect(),
            scratch: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    #[test]
    fn what_a_phase_asks_for_depends_on_its_kind_and_the_settings() {
        let workflow = workflow(
            r#"[{"name":"context","label":"","kind":"context"},
                {"name":"script","label":"","kind":"script","run":"echo $(x)"},
                {"name":"empty","label":"","kind":"script"},
                {"name":"agent","label":"","kind":"agent","prompt":"p"},
                {"name":"optional","label":"","kind":"agent","prompt":"p","optional":true},
                {"name":"other","label":"","kind":"agent","prompt":"p","runtime":"big","optional":true},
                {"name":"reply","label":"","kind":"reply","message":"hi"},
                {"name":"mute","label":"","kind":"reply"}]"#,
        );
        let issue = record(&[]).reply_to;
        let slack = ReplyTo::SlackThread {
            channel: "C1".into(),
            thread: "1.2".into(),
            message: None,
        };
        let none = BTreeMap::new();
        let codex = Runtime {
            command: vec!["agent".into()],
            ..Runtime::default()
        };
        let some = BTreeMap::from([
            ("default".to_owned(), codex.clone()),
            ("big".to_owned(), Runtime::default()),
        ]);
        let missing =
            |name: &str| format!("no runtime \"{name}\" is configured: set runtimes.{name} in firstlight.yaml");
        for (name, runtimes, reply_to, expected) in [
            ("context", &none, &issue, Work::Nothing),
            ("script", &none, &issue, Work::Script("echo $(x)")),
            ("empty", &none, &issue, Work::Refuse("it has no `run` command".into())),
            ("agent", &none, &issue, Work::Refuse(missing("default"))),
            (
                "agent",
                &some,
                &issue,
                Work::Agent {
                    name: "default",
                    runtime: &codex,
                },
            ),
            ("optional", &none, &issue, Work::Skip(missing("default"))),
            (
                "optional",
                &some,
                &issue,
                Work::Agent {
                    name: "default",
                    runtime: &codex,
                },
            ),
            ("other", &some, &issue, Work::Skip(missing("big"))),
            ("reply", &none, &issue, Work::Reply("hi")),
            ("reply", &none, &slack, Work::Reply("hi")),
            (
                "reply",
                &none,
                &ReplyTo::Nobody,
                Work::Skip("nobody to answer: the run was started without a conversation".into()),
            ),
            ("mute", &none, &issue, Work::Refuse("it has no `message`".into())),
        ] {
            let phase = workflow.phase(&name.parse().expect("valid")).expect("in the list");
            assert_eq!(work(phase, runtimes, reply_to), expected, "{name}");
        }
    }

    #[test]
    fn the_end_of_a_process_is_judged_in_words() {
        use PhaseStatus::{Failed, Succeeded};
        for (end, status, reason, exit_code) in [
            (End::Exited(0), Succeeded, None, Some(0)),
            (End::Exited(3), Failed, Some("exited with status 3"), Some(3)),
            (End::Signalled(9), Failed, Some("killed by signal 9"), None),
            (End::TimedOut, Failed, Some("timed out after 90 s"), None),
        ] {
            let limit = time_limit(
                Duration::from_secs(90),
                Duration::from_secs(100),
                Duration::from_secs(100),
            );
            let done = judge(end, "out".into(), limit);
            assert_eq!(
                (done.status, done.reason.as_deref(), done.exit_code),
                (status, reason, exit_code),
                "{end:?}"
            );
            assert_eq!(done.output.as_deref(), Some("out"));
        }
    }

    #[test]
    fn the_nearer_limit_counts_and_gives_the_reason() {
        let (short, long) = (Duration::from_millis(300), Duration::from_secs(7200));
        for (timeout, left, expected) in [
            (short, long, (short, "timed out after 0.3 s")),
            (long, short, (short, "the run took longer than 7200 s (runs.deadline)")),
            (
                long,
                Duration::ZERO,
                (Duration::ZERO, "the run took longer than 7200 s (runs.deadline)"),
            ),
        ] {
            let limit = time_limit(timeout, left, long);
            assert_eq!((limit.limit, limit.reason.as_str()), expected);
        }
    }
}
