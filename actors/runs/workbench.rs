//! Everything that one process of a phase needs: token, checkout, environment, command, log. Judges its end; writes no step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::checkout::{self, At, NoCheckout, Wanted};
use super::command::{self, Places};
use super::config::Runtime;
use super::environment::{self, Parts};
use super::exchange::Exchange;
use super::facts::RunFacts;
use super::log::PhaseLog;
use super::phase::{self, Done, TimeLimit};
use super::process::{self, End, Kept, Order, Stop};
use super::runner::House;
use super::veil::Veil;
use crate::domain::{
    Checkout, INTERRUPTED, OutputBy, PUT_DOWN, Phase, PromptBy, RunRecord, Secret, SpanId, TokenProfile, TraceId,
    traceparent,
};
use crate::messages::github::{GithubFault, MintToken, PhaseToken};
use crate::workflows::template::{Facts, render, render_env, render_prompt};

/// The prompt of an agent phase that brings skills and nothing else.
const PLAIN_PROMPT: &str = "{{#if repo}}Repository: {{owner}}/{{repo}}\n{{/if}}{{#if issueNumber}}Issue or pull request: #{{issueNumber}}\n{{/if}}\
    {{#if title}}Title:\n{{title}}\n{{/if}}{{#if body}}Text:\n{{body}}\n{{/if}}";

/// What does the work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool<'a> {
    /// A shell, with this text, untouched.
    Shell(&'a str),
    /// A runtime of the settings.
    Agent {
        /// Its name in settings.
        name: &'a str,
        /// Its command and limits.
        runtime: &'a Runtime,
    },
}

/// How the work came to its end.
#[derive(Debug)]
pub(crate) enum Worked {
    /// By itself, well or badly.
    Done(Done),
    /// The service stops; the phase is to be begun anew.
    PutDown,
    /// The run was cancelled; what had been printed by then.
    Aborted(String),
}

/// One phase at work.
pub(crate) struct Workbench<'a> {
    /// Limits, folders and doors.
    pub(crate) house: &'a House,
    /// The run.
    pub(crate) record: &'a RunRecord,
    /// What templates may name.
    pub(crate) facts: &'a RunFacts,
    /// The phase.
    pub(crate) phase: &'a Phase,
    /// Which try this is, from 1.
    pub(crate) attempt: u32,
    /// What is left of the run's deadline.
    pub(crate) left_of_run: Duration,
}

/// Why a phase got no further than its preparations.
enum Short {
    Failed(String),
    Stopped(End),
}

impl From<String> for Short {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// What a phase is trusted with at GitHub.
#[derive(Default)]
struct Trust {
    /// Goes into its environment.
    handed: Option<PhaseToken>,
    /// Is used for its checkout.
    checkout: Option<PhaseToken>,
}

impl Workbench<'_> {
    /// Does the work in `folder`, the run's work folder, and tells the log at `log` everything. Whatever happens, no process of it is left behind.
    pub(crate) async fn work(
        &self,
        tool: Tool<'_>,
        folder: &Path,
        log: &Path,
        stop: &mut watch::Receiver<Stop>,
    ) -> Worked {
        let mut log = PhaseLog::open(log, self.house.config.log_cap, self.attempt).await;
        let worked = match self.try_to(tool, folder, &mut log, stop).await {
            Ok(worked) => worked,
            Err(Short::Failed(reason)) => Worked::Done(Done::badly(reason)),
            Err(Short::Stopped(End::Aborted)) => Worked::Aborted(String::new()),
            Err(Short::Stopped(_)) => Worked::PutDown,
        };
        // Out of the borrow before the log is written: whoever held it over a wait would lock out those who tell us to stop.
        let told = match &*stop.borrow() {
            Stop::Abort(reason) => Some(reason.clone()),
            Stop::No | Stop::PutDown => None,
        };
        match (&worked, told) {
            (Worked::Done(Done { reason, .. }), _) => {
                if let Some(reason) = reason {
                    log.note(reason).await;
                }
            }
            (Worked::Aborted(_), Some(reason)) => log.note(&reason).await,
            (Worked::Aborted(_), None) => log.note(INTERRUPTED).await,
            (Worked::PutDown, _) => log.note(PUT_DOWN).await,
        }
        log.close().await;
        worked
    }

    async fn try_to(
        &self,
        tool: Tool<'_>,
        work: &Path,
        log: &mut PhaseLog,
        stop: &mut watch::Receiver<Stop>,
    ) -> Result<Worked, Short> {
        let config = &self.house.config;
        let disk = |error: std::io::Error| {
            format!(
                "cannot make the work folder {}: {error}; check the state folder",
                work.display()
            )
        };
        tokio::fs::create_dir_all(work).await.map_err(disk)?;
        let limit = self.time_limit(tool);
        let trust = self.trust(stop).await?;
        let folder = match &trust.checkout {
            Some(token) => self.check_out(token, work, &limit, log, stop).await?,
            // Where an earlier phase had the repository checked out, the work goes on.
            None => match work.join(checkout::FOLDER) {
                repo if tokio::fs::try_exists(&repo).await.unwrap_or(false) => repo,
                _ => work.to_path_buf(),
            },
        };
        let exchange = Exchange::of(work, &self.phase.name);
        let prompt = self.lay_out(tool, &exchange).await?;
        let env = self.environment(tool, work, &exchange, trust.handed.as_ref())?;
        for note in &env.notes {
            log.note(note).await;
        }
        let (argv, setting, keep, from_file) = match tool {
            Tool::Shell(text) => {
                let argv = vec!["sh".into(), "-c".into(), text.to_owned()];
                (
                    argv,
                    format!("phase \"{}\", key run", self.phase.name),
                    config.kept_output,
                    false,
                )
            }
            Tool::Agent { name, runtime } => {
                let places = Places {
                    work,
                    folder: &folder,
                    prompt: &exchange.prompt(),
                    output: &exchange.output(),
                    run: self.record.summary.id,
                    phase: &self.phase.name,
                };
                let keep = runtime.output_limit.unwrap_or(config.kept_output);
                let from_file = runtime.output == OutputBy::File;
                (
                    command::argv(runtime, places),
                    // The one to change when it cannot be started.
                    format!(
                        "runtimes.{name}.{}",
                        if runtime.wrapper.is_empty() {
                            "command"
                        } else {
                            "wrapper"
                        }
                    ),
                    keep,
                    from_file,
                )
            }
        };
        let handed = trust.handed.iter().filter_map(|pass| pass.token.clone());
        let secrets: Vec<Secret> = handed.chain(env.secrets).collect();
        let order = Order {
            argv,
            setting,
            env: env.vars,
            folder,
            input: prompt,
            timeout: limit.limit,
            finish_grace: config.finish_grace,
            keep: if from_file { 0 } else { keep },
            secrets: secrets.clone(),
        };
        let outcome = process::run(order, log, stop, &self.house.clock).await?;
        let output = match outcome.end {
            End::PutDown => return Ok(Worked::PutDown),
            End::Aborted => return Ok(Worked::Aborted(outcome.output)),
            End::Exited(0) if from_file => answer_in_file(exchange, keep, &secrets).await?,
            _ if from_file => String::new(),
            _ => outcome.output,
        };
        Ok(Worked::Done(phase::judge(outcome.end, output, limit)))
    }

    fn time_limit(&self, tool: Tool<'_>) -> TimeLimit {
        let config = &self.house.config;
        let of_runtime = match tool {
            Tool::Shell(_) => None,
            Tool::Agent { runtime, .. } => runtime.timeout,
        };
        let timeout = self.phase.timeout.or(of_runtime).unwrap_or(config.phase_timeout);
        phase::time_limit(timeout, self.left_of_run, config.run_deadline)
    }

    /// Gets the tokens that the phase asks for; none for one that asks for nothing.
    async fn trust(&self, stop: &mut watch::Receiver<Stop>) -> Result<Trust, Short> {
        let mut trust = Trust::default();
        if let Some(profile) = self.phase.profile {
            let asks = format!("it asks for a GitHub token (profile: {})", profile.as_str());
            let pass = self.mint(profile, &asks, stop).await?;
            match &pass.token {
                None => return Err(format!(
                    "{asks}, and there are no GitHub credentials: set GITHUB_APP_ID with GITHUB_APP_PRIVATE_KEY_PATH"
                )
                .into()),
                Some(_) if !pass.narrowed && !self.house.config.plain_token => {
                    return Err(format!(
                        "{asks}, and GITHUB_TOKEN cannot be narrowed down to it: set up a GitHub App, or hand the whole token on with github.token_for_phases: true"
                    )
                    .into());
                }
                Some(_) => trust.handed = Some(pass),
            }
        }
        if self.phase.checkout.is_some() {
            trust.checkout = match trust.handed.clone() {
                Some(pass) => Some(pass),
                // Only our own git gets it; the phase does not.
                None => Some(self.mint(TokenProfile::Read, "it asks for a checkout", stop).await?),
            };
        }
        Ok(trust)
    }

    async fn mint(
        &self,
        profile: TokenProfile,
        asks: &str,
        stop: &mut watch::Receiver<Stop>,
    ) -> Result<PhaseToken, Short> {
        let Some(repo) = self.record.summary.repo.clone() else {
            return Err(format!("{asks}, and the run is about no repository").into());
        };
        let asked = self.house.doors.token.send(MintToken { repo, profile });
        let minted = tokio::select! {
            minted = asked => minted,
            stopped = stop.wait_for(|stop| *stop != Stop::No) => {
                let aborted = stopped.is_ok_and(|stop| matches!(*stop, Stop::Abort(_)));
                return Err(Short::Stopped(if aborted { End::Aborted } else { End::PutDown }));
            }
        };
        match minted {
            Ok(Ok(pass)) => Ok(pass),
            Ok(Err(fault @ GithubFault::NoCredentials)) => Err(format!("{asks}: {fault}").into()),
            Ok(Err(fault)) => Err(format!("{asks}, and GitHub gives none: {fault}").into()),
            Err(_) => Err(Short::Stopped(End::PutDown)),
        }
    }

    async fn check_out(
        &self,
        pass: &PhaseToken,
        work: &Path,
        limit: &TimeLimit,
        log: &mut PhaseLog,
        stop: &mut watch::Receiver<Stop>,
    ) -> Result<PathBuf, Short> {
        let told = self.facts.environment(self.record, self.phase);
        let wanted = Wanted {
            url: pass.clone_url.clone(),
            host: pass.host.clone(),
            token: pass.token.clone(),
            at: match &self.phase.checkout {
                Some(Checkout::Ref(template)) => At::Ref(render(template, &self.facts.view()).trim().to_owned()),
                Some(Checkout::Subject) | None => match told.get("FIRSTLIGHT_PR_NUMBER").and_then(|n| n.parse().ok()) {
                    Some(number) => At::Pull {
                        number,
                        branch: told.get("FIRSTLIGHT_BRANCH").cloned().unwrap_or_default(),
                    },
                    None => At::DefaultBranch,
                },
            },
            author: self.house.config.bot_name.clone(),
            timeout: limit.limit,
            finish_grace: self.house.config.finish_grace,
            path: environment::path(&|name| std::env::var_os(name)),
        };
        match checkout::check_out(&wanted, work, log, stop, &self.house.clock).await {
            Ok(folder) => Ok(folder),
            Err(NoCheckout::Failed(reason)) => Err(Short::Failed(reason)),
            Err(NoCheckout::Stopped(end)) => Err(Short::Stopped(end)),
        }
    }

    /// Lays the files of an exchange out, if the runtime wants any. Answers what goes to standard input.
    async fn lay_out(&self, tool: Tool<'_>, exchange: &Exchange) -> Result<Option<String>, Short> {
        let Tool::Agent { runtime, .. } = tool else {
            return Ok(None);
        };
        let prompt = prompt(self.phase, &self.facts.view());
        let (on_stdin, in_file) = match runtime.prompt {
            PromptBy::Stdin => (Some(prompt), None),
            PromptBy::File => (None, Some(prompt)),
        };
        if in_file.is_some() || runtime.output == OutputBy::File {
            let exchange = exchange.clone();
            let laid_out = tokio::task::spawn_blocking(move || exchange.lay_out(in_file.as_deref())).await;
            laid_out
                .unwrap_or_else(|_| Err(std::io::Error::other("the thread for it panicked")))
                .map_err(|error| format!("cannot lay the prompt out in the work folder: {error}"))?;
        }
        Ok(on_stdin)
    }

    fn environment(
        &self,
        tool: Tool<'_>,
        work: &Path,
        exchange: &Exchange,
        pass: Option<&PhaseToken>,
    ) -> Result<environment::Environment, String> {
        let view = self.facts.view();
        let mut given = self.facts.environment(self.record, self.phase);
        for (name, template) in [
            ("FIRSTLIGHT_MODEL", &self.phase.model),
            ("FIRSTLIGHT_VARIANT", &self.phase.variant),
        ] {
            if let Some(template) = template {
                given.insert(name, render(template, &view));
            }
        }
        if let Some(ratio) = self.house.config.traces {
            let run = &self.record.summary;
            let trace = TraceId::of_run(run.id, &run.cause);
            let phase = SpanId::phase(run.id, &self.phase.name, self.attempt);
            given.insert("TRACEPARENT", traceparent(trace, phase, ratio.keeps(trace)));
        }
        let mut allowed: &[String] = &[];
        if let Tool::Agent { runtime, .. } = tool {
            allowed = &runtime.env;
            for (name, wanted) in [
                ("FIRSTLIGHT_UNRESTRICTED_EGRESS", self.phase.unrestricted_egress),
                ("FIRSTLIGHT_WEB_SEARCH", self.phase.web_search),
            ] {
                if wanted {
                    given.insert(name, "1".into());
                }
            }
            if runtime.prompt == PromptBy::File {
                given.insert("FIRSTLIGHT_PROMPT_FILE", exchange.prompt().display().to_string());
            }
            if runtime.output == OutputBy::File {
                given.insert("FIRSTLIGHT_OUTPUT_FILE", exchange.output().display().to_string());
            }
        }
        if let Some(pass) = pass
            && let Some(token) = &pass.token
        {
            given.insert("GITHUB_TOKEN", token.expose().to_owned());
            given.extend(checkout::credential(&pass.host));
        }
        let rendered = self
            .phase
            .env
            .iter()
            .map(|(name, value)| (name.clone(), render_env(value, &view)));
        environment::build(Parts {
            own: &|name| std::env::var_os(name),
            home: work.as_os_str().to_owned(),
            allowed,
            phase: rendered.collect::<BTreeMap<_, _>>(),
            facts: given,
        })
    }
}

async fn answer_in_file(exchange: Exchange, keep: usize, secrets: &[Secret]) -> Result<String, String> {
    let read = tokio::task::spawn_blocking(move || exchange.answer(keep)).await;
    let read = read.unwrap_or_else(|_| Err(std::io::Error::other("the thread for it panicked")));
    match read {
        Ok(Some((bytes, more))) => {
            let mut veil = Veil::over(secrets);
            let mut kept = Kept::new(keep);
            kept.take(&veil.pass(&bytes));
            kept.take(&veil.rest());
            if more {
                kept.cut();
            }
            Ok(kept.into_text())
        }
        Ok(None) => Err("it ended well and wrote no answer to its output file (FIRSTLIGHT_OUTPUT_FILE)".into()),
        Err(error) => Err(format!("its output file cannot be read: {error}")),
    }
}

/// The texts of the skills as they are, then the prompt.
fn prompt(phase: &Phase, facts: &Facts<'_>) -> String {
    let mut text = String::new();
    for skill in &phase.skills {
        text.push_str(skill.text.trim_end());
        text.push_str("\n\n");
    }
    text.push_str(&render_prompt(phase.prompt.as_deref().unwrap_or(PLAIN_PROMPT), facts));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::phase::tests::{record, workflow};

    #[test]
    fn a_prompt_begins_with_the_texts_of_its_skills() {
        let workflow = workflow(
            r#"[{"name":"a","label":"","kind":"agent","prompt":"Look at {{owner}}/{{repo}}.","skills":[{"name":"s","text":"Be {{brief}}.\n"}]},
                {"name":"b","label":"","kind":"agent","skills":[{"name":"s","text":"Be brief."}]}]"#,
        );
        let facts = RunFacts::of(&record(&[]), &workflow);
        assert_eq!(
            prompt(&workflow.phases[0], &facts.view()),
            "Be {{brief}}.\n\nLook at acme/site."
        );
        let plain = prompt(&workflow.phases[1], &facts.view());
        assert!(plain.starts_with("Be brief.\n\nRepository: acme/site\n"), "{plain}");
        assert!(plain.contains("It broke") && plain.contains("untrusted"), "{plain}");
    }
}
