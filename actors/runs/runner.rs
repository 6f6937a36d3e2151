//! The actor of one live run: works through its phases, each step durable before the next. Knows no queue and no other run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::sync::{oneshot, watch};

use super::config::{RunDoors, RunsConfig, Runtime};
use super::environment::{self, Parts};
use super::facts::RunFacts;
use super::gate;
use super::leftovers;
use super::log::PhaseLog;
use super::phase::{self, Done, Next, TimeLimit, Work};
use super::process::{self, End, Order, Stop};
use super::resume::Progress;
use super::say::{self, Voice};
use crate::clock::SharedClock;
use crate::domain::{
    ApprovalId, ApprovalKind, INTERRUPTED, NewApproval, NewEffect, Phase, PhaseEnd, PhaseStatus, RunRecord, RunStatus,
    Step, Workflow,
};
use crate::messages::github::ReadThread;
use crate::messages::house::Finish;
use crate::messages::outbound::EffectsQueued;
use crate::messages::runs::{Abort, RunEnding};
use crate::messages::store::{RecordStep, StepTaken, StoreError};
use crate::workflows::template::{Facts, render, render_comment, render_env, render_prompt};

/// How many steps are written together at most, so that a workflow of thousands of phases without a process stays small in memory.
const MOST_STEPS: usize = 64;

/// The prompt of an agent phase that brings skills and nothing else.
const PLAIN_PROMPT: &str = "{{#if repo}}Repository: {{owner}}/{{repo}}\n{{/if}}{{#if issueNumber}}Issue or pull request: #{{issueNumber}}\n{{/if}}\
    {{#if title}}Title:\n{{title}}\n{{/if}}{{#if body}}Text:\n{{body}}\n{{/if}}";

/// What every runner of a house shares.
#[derive(Debug, Clone)]
pub(crate) struct House {
    /// Limits, folders, runtimes.
    pub(crate) config: Arc<RunsConfig>,
    /// The store and the replier.
    pub(crate) doors: RunDoors,
    /// The time.
    pub(crate) clock: SharedClock,
}

/// Works through one run.
pub(crate) struct Runner {
    story: Option<Story>,
    stop: watch::Sender<Stop>,
    /// Rings when this actor is dropped, too: whoever holds the other end then knows that it panicked.
    bell: Option<oneshot::Sender<RunEnding>>,
}

impl Runner {
    /// A runner for a run that the store has marked running. `bell` hears how it went; when it is dropped unheard, the runner panicked.
    pub(crate) fn new(record: RunRecord, house: House, bell: oneshot::Sender<RunEnding>) -> Self {
        let stop = watch::Sender::new(Stop::No);
        Self {
            story: Some(Story::new(record, house, stop.subscribe())),
            stop,
            bell: Some(bell),
        }
    }
}

impl Actor for Runner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(story) = self.story.take() else {
            ctx.stop();
            return;
        };
        let told = story.tell().into_actor(self).map(|ending, runner, ctx| {
            if let Some(bell) = runner.bell.take() {
                // Nobody listens only when the supervisor itself is gone.
                let _ = bell.send(ending);
            }
            ctx.stop();
        });
        ctx.spawn(told);
    }
}

impl Handler<Abort> for Runner {
    type Result = ();

    fn handle(&mut self, Abort { reason }: Abort, _: &mut Self::Context) {
        self.stop.send_replace(Stop::Abort(reason));
    }
}

impl Handler<Finish> for Runner {
    type Result = ();

    fn handle(&mut self, _: Finish, _: &mut Self::Context) {
        self.stop.send_if_modified(|stop| {
            let goes_on = *stop == Stop::No;
            if goes_on {
                *stop = Stop::PutDown;
            }
            goes_on
        });
    }
}

/// Why a story stops before its workflow is done.
enum Halt {
    /// The run has come to rest, durably.
    Settled(RunStatus),
    /// It is put down as it is; the store has it as running.
    PutDown,
    /// Somebody cancelled it.
    Aborted(String),
}

/// Steps and effects that wait to be written together.
#[derive(Debug, Default)]
struct Unwritten {
    steps: Vec<Step>,
    effects: Vec<NewEffect>,
}

/// One run from where it stands to where it rests.
struct Story {
    record: RunRecord,
    house: House,
    stop: watch::Receiver<Stop>,
    progress: Progress,
    unwritten: Unwritten,
    taken_up: DateTime<Utc>,
}

impl Story {
    fn new(record: RunRecord, house: House, stop: watch::Receiver<Stop>) -> Self {
        Self {
            progress: Progress::of(&record.phases),
            unwritten: Unwritten::default(),
            taken_up: house.clock.now(),
            record,
            house,
            stop,
        }
    }

    async fn tell(mut self) -> RunEnding {
        let halt = match self.work_through().await {
            Ok(()) => return RunEnding::Settled(RunStatus::Succeeded),
            // Cancelled between two phases, or while one was written down.
            Err(Halt::Aborted(reason)) => match self.end(RunStatus::Cancelled, Some(reason)).await {
                Ok(()) => Halt::Settled(RunStatus::Cancelled),
                Err(halt) => halt,
            },
            Err(halt) => halt,
        };
        if let Halt::Settled(status) = halt {
            return RunEnding::Settled(status);
        }
        // What is done is not done again: a phase that ended just before the stop is written down, if the store takes it.
        let _ = self.write().await;
        RunEnding::PutDown
    }

    /// Adds what the issue or pull request says to a run that knows its number only, as one from the command line does.
    /// Where GitHub does not answer, the run goes on without.
    async fn look_up_thread(&mut self) {
        let summary = &self.record.summary;
        let (Some(repo), Some(number)) = (summary.repo.clone(), summary.number) else {
            return;
        };
        if self.record.context.0.contains_key("title") {
            return;
        }
        let mut stop = self.stop.clone();
        let asked = self.house.doors.thread.send(ReadThread { repo, number });
        let answered = tokio::select! {
            answered = asked => answered,
            _ = stop.changed() => return,
        };
        let Ok(Ok(thread)) = answered else {
            return;
        };
        let labels = serde_json::Value::from(thread.labels);
        let context = &mut self.record.context.0;
        for (key, value) in [
            ("title", thread.title.into()),
            ("body", thread.body.into()),
            ("labels", labels),
        ] {
            context.entry(key).or_insert(value);
        }
        if let Some(branch) = thread.head_branch {
            context.entry("branch").or_insert_with(|| branch.into());
        }
    }

    async fn work_through(&mut self) -> Result<(), Halt> {
        let workflow = match Workflow::from_bundle(&self.record.definition) {
            Ok(workflow) => workflow,
            Err(error) => {
                let name = &self.record.summary.workflow;
                let reason = format!("the stored definition of workflow \"{name}\" cannot be read: {error}");
                return self.fail(reason).await;
            }
        };
        self.look_up_thread().await;
        let mut facts = RunFacts::of(&self.record, &workflow);
        for record in &self.record.phases {
            if let (Some(phase), Some(output)) = (workflow.phase(&record.phase), &record.output) {
                facts.learn(phase, output);
            }
        }
        loop {
            self.may_go_on()?;
            match phase::next(&workflow, &self.progress) {
                Next::Finished => return self.end(RunStatus::Succeeded, None).await,
                Next::GiveUp {
                    phase,
                    unfinished,
                    reason,
                } => {
                    self.clear_away(phase, unfinished).await;
                    facts.learn_error(&reason);
                    let effects = self.voice(&facts, phase).on_failure();
                    self.unwritten.effects.extend(effects);
                    return self.fail(format!("phase \"{}\" failed: {reason}", phase.name)).await;
                }
                Next::Phase {
                    phase,
                    attempt,
                    unfinished,
                } => {
                    self.clear_away(phase, unfinished).await;
                    self.phase(phase, attempt, &mut facts).await?;
                }
            }
        }
    }

    /// One execution of one phase, with everything that follows from its end.
    async fn phase(&mut self, phase: &Phase, attempt: u32, facts: &mut RunFacts) -> Result<(), Halt> {
        let house = self.house.clone();
        let reply_to = self.record.reply_to.clone();
        let work = phase::work(phase, &house.config.runtimes, &reply_to);
        if !matches!(work, Work::Skip(_)) {
            self.unwritten.steps.push(Step::PhaseStarted {
                phase: phase.name.clone(),
                kind: phase.kind.as_str(),
                attempt,
            });
            let effects = self.voice(facts, phase).on_start();
            self.unwritten.effects.extend(effects);
        }
        let done = match work {
            Work::Nothing => Done::well(None),
            Work::Skip(reason) => Done::skipped(reason),
            Work::Refuse(reason) => Done::badly(reason),
            Work::Reply(message) => {
                let effects = self.voice(facts, phase).reply(message);
                self.unwritten.effects.extend(effects);
                Done::well(Some(render_comment(message, &facts.view())))
            }
            Work::Script(text) => {
                let job = Job {
                    argv: vec!["sh".into(), "-c".into(), text.to_owned()],
                    setting: format!("phase \"{}\", key run", phase.name),
                    input: None,
                    allowed: &[],
                    timeout: phase.timeout.unwrap_or(house.config.phase_timeout),
                    keep: house.config.kept_output,
                };
                self.process(phase, attempt, facts, job).await?
            }
            Work::Agent { name, runtime } => {
                let job = self.agent_job(phase, facts, name, runtime);
                self.process(phase, attempt, facts, job).await?
            }
        };
        self.settle_phase(phase, attempt, facts, done).await
    }

    /// Takes down how a phase ended, and what follows: the words, the end of a run that failed, the question of a gate.
    async fn settle_phase(
        &mut self,
        phase: &Phase,
        attempt: u32,
        facts: &mut RunFacts,
        done: Done,
    ) -> Result<(), Halt> {
        if let Some(output) = &done.output {
            facts.learn(phase, output);
        }
        self.progress
            .note(&phase.name, attempt, done.status, done.reason.as_deref());
        self.unwritten.steps.push(Step::PhaseEnded(PhaseEnd {
            phase: phase.name.clone(),
            kind: phase.kind.as_str(),
            attempt,
            status: done.status,
            output: done.output,
            reason: done.reason.clone(),
            exit_code: done.exit_code,
        }));
        if done.status == PhaseStatus::Failed {
            let reason = done.reason.unwrap_or_default();
            facts.learn_error(&reason);
            let effects = self.voice(facts, phase).on_failure();
            self.unwritten.effects.extend(effects);
            return self.fail(format!("phase \"{}\" failed: {reason}", phase.name)).await;
        }
        if done.status == PhaseStatus::Succeeded {
            let effects = self.voice(facts, phase).on_success();
            self.unwritten.effects.extend(effects);
            self.unwritten
                .steps
                .extend(phase.on_success.set_phase.clone().map(Step::Shown));
        }
        if let Some(name) = gate::gate_after(phase, done.status, &self.house.config.gates) {
            return self.ask(phase, name, facts).await;
        }
        if self.unwritten.steps.len() >= MOST_STEPS {
            self.write().await?;
        }
        Ok(())
    }

    /// Pauses the run at a gate. The phase's end, the pause and the question become durable together.
    async fn ask(&mut self, phase: &Phase, name: &str, facts: &RunFacts) -> Result<(), Halt> {
        let summary = match phase.approval_gate_message.as_deref() {
            Some(template) => render_comment(template, &facts.view()),
            None => gate::plain_question(&self.record.summary.workflow, phase),
        };
        let words = gate::question_comment(name, &summary, &self.house.config.bot_name);
        let id = ApprovalId::new(self.house.clock.fresh_id());
        let effects = self.voice(facts, phase).gate(&words, &summary, id);
        self.unwritten.effects.extend(effects);
        self.unwritten.steps.push(Step::Paused(NewApproval {
            id,
            phase: phase.name.clone(),
            gate: name.to_owned(),
            summary,
            kind: ApprovalKind::Approve,
            requested_by: self.record.summary.cause.who.clone(),
        }));
        self.write().await?;
        Err(Halt::Settled(RunStatus::Paused))
    }

    /// Runs a process. What happened before it is on disk first.
    async fn process(&mut self, phase: &Phase, attempt: u32, facts: &RunFacts, job: Job<'_>) -> Result<Done, Halt> {
        self.write().await?;
        let house = self.house.clone();
        let config = &house.config;
        let limit = self.time_limit(job.timeout);
        let folder = config.work_dir.join(facts.task());
        let env = match self.environment(phase, facts, &job, folder.clone()) {
            Ok(env) => env,
            Err(reason) => return Ok(Done::badly(reason)),
        };
        let log_file = self.log_folder().join(format!("{}.log", phase.name));
        let mut log = PhaseLog::open(&log_file, config.log_cap, attempt).await;
        for note in &env.notes {
            log.note(note).await;
        }
        let order = Order {
            argv: job.argv,
            setting: job.setting,
            env: env.vars,
            folder,
            input: job.input,
            timeout: limit.limit,
            finish_grace: config.finish_grace,
            keep: job.keep,
        };
        let ended = process::run(order, &mut log, &mut self.stop, &house.clock).await;
        let done = match ended {
            Ok(outcome) if outcome.end == End::PutDown => Err(Halt::PutDown),
            Ok(outcome) if outcome.end == End::Aborted => Err(self.aborted(phase, attempt, outcome.output)),
            Ok(outcome) => Ok(phase::judge(outcome.end, outcome.output, limit)),
            Err(reason) => Ok(Done::badly(reason)),
        };
        match &done {
            Ok(Done {
                reason: Some(reason), ..
            })
            | Err(Halt::Aborted(reason)) => log.note(reason).await,
            Ok(_) => {}
            Err(_) => log.note(INTERRUPTED).await,
        }
        log.close().await;
        done
    }

    /// Takes down that the phase at work was cut off by a cancel.
    fn aborted(&mut self, phase: &Phase, attempt: u32, output: String) -> Halt {
        let reason = match &*self.stop.borrow() {
            Stop::Abort(reason) => reason.clone(),
            Stop::No | Stop::PutDown => "cancelled".into(),
        };
        self.unwritten.steps.push(Step::PhaseEnded(PhaseEnd {
            phase: phase.name.clone(),
            kind: phase.kind.as_str(),
            attempt,
            status: PhaseStatus::Failed,
            output: Some(output),
            reason: Some(reason.clone()),
            exit_code: None,
        }));
        Halt::Aborted(reason)
    }

    fn agent_job<'r>(&self, phase: &Phase, facts: &RunFacts, name: &str, runtime: &'r Runtime) -> Job<'r> {
        let config = &self.house.config;
        Job {
            argv: runtime.command.clone(),
            setting: format!("runtimes.{name}.command"),
            input: Some(prompt(phase, &facts.view())),
            allowed: &runtime.env,
            timeout: phase.timeout.or(runtime.timeout).unwrap_or(config.phase_timeout),
            keep: runtime.output_limit.unwrap_or(config.kept_output),
        }
    }

    fn environment(
        &self,
        phase: &Phase,
        facts: &RunFacts,
        job: &Job<'_>,
        home: PathBuf,
    ) -> Result<environment::Environment, String> {
        let view = facts.view();
        let mut given = facts.environment(&self.record, phase);
        for (name, template) in [
            ("FIRSTLIGHT_MODEL", &phase.model),
            ("FIRSTLIGHT_VARIANT", &phase.variant),
        ] {
            if let Some(template) = template {
                given.insert(name, render(template, &view));
            }
        }
        let rendered = phase
            .env
            .iter()
            .map(|(name, value)| (name.clone(), render_env(value, &view)));
        environment::build(Parts {
            own: &|name| std::env::var_os(name),
            home: home.into_os_string(),
            allowed: job.allowed,
            phase: rendered.collect::<BTreeMap<_, _>>(),
            facts: given,
        })
    }

    fn time_limit(&self, timeout: Duration) -> TimeLimit {
        let deadline = self.house.config.run_deadline;
        let at_work = (self.house.clock.now() - self.taken_up).to_std().unwrap_or_default();
        phase::time_limit(timeout, deadline.saturating_sub(at_work), deadline)
    }

    fn log_folder(&self) -> PathBuf {
        self.house.config.runs_dir.join(self.record.summary.id.to_string())
    }

    fn voice<'a>(&'a self, facts: &'a RunFacts, phase: &'a Phase) -> Voice<'a> {
        Voice {
            record: &self.record,
            facts,
            phase,
            delivery: self.house.config.delivery_channel.as_deref(),
        }
    }

    /// Clears away after executions that a stop or crash of the service cut off: processes that survived it, and a record
    /// that the store has not closed yet.
    async fn clear_away(&mut self, phase: &Phase, unfinished: Option<u32>) {
        if !self.progress.was_cut_off(&phase.name) {
            return;
        }
        let run = self.record.summary.id;
        let ended = leftovers::end_of(run).await;
        if ended > 0 {
            tracing::warn!(run.id = %run, ended, "processes that an earlier service left behind were ended");
        }
        if let Some(attempt) = unfinished {
            self.unwritten.steps.push(Step::PhaseEnded(PhaseEnd {
                phase: phase.name.clone(),
                kind: phase.kind.as_str(),
                attempt,
                status: PhaseStatus::Failed,
                output: None,
                reason: Some(INTERRUPTED.into()),
                exit_code: None,
            }));
        }
    }

    async fn fail(&mut self, error: String) -> Result<(), Halt> {
        self.end(RunStatus::Failed, Some(error)).await?;
        Err(Halt::Settled(RunStatus::Failed))
    }

    async fn end(&mut self, status: RunStatus, error: Option<String>) -> Result<(), Halt> {
        let words = say::ending(&self.record, status, error.as_deref());
        self.unwritten.effects.extend(words);
        self.unwritten.steps.push(Step::Ended { status, error });
        self.write().await
    }

    fn may_go_on(&self) -> Result<(), Halt> {
        match &*self.stop.borrow() {
            Stop::No => Ok(()),
            Stop::PutDown => Err(Halt::PutDown),
            Stop::Abort(reason) => Err(Halt::Aborted(reason.clone())),
        }
    }

    /// Makes what is unwritten durable, and does not return before it is. A store that fails is asked again, with longer
    /// and longer pauses; only a stop ends that.
    async fn write(&mut self) -> Result<(), Halt> {
        let Unwritten { steps, effects } = std::mem::take(&mut self.unwritten);
        if steps.is_empty() && effects.is_empty() {
            return Ok(());
        }
        let order = RecordStep {
            run: self.record.summary.id,
            steps,
            effects,
            at: self.house.clock.now(),
        };
        let mut failures = 0;
        loop {
            // Never wrapped in a timeout: an answer that nobody waits for may be a step that nobody knows of.
            let error = match self.house.doors.record.send(order.clone()).await {
                Ok(Ok(StepTaken::Taken { effects })) => {
                    self.nudge(effects);
                    return Ok(());
                }
                Ok(Ok(StepTaken::RunIsOver(status))) => return Err(Halt::Settled(status)),
                Ok(Err(StoreError::Closed)) | Err(_) => return Err(Halt::PutDown),
                Ok(Err(error)) => error,
            };
            failures += 1;
            let pause = pause_after(failures, self.house.clock.chance());
            tracing::warn!(run.id = %order.run, %error, retry_in = ?pause, "a step of a run could not be written down");
            tokio::select! {
                () = self.house.clock.sleep(pause) => {}
                // Told to stop: whoever told us looks after the run from here on.
                _ = self.stop.wait_for(|stop| *stop != Stop::No) => return Err(Halt::PutDown),
            }
        }
    }

    fn nudge(&self, effects: usize) {
        if effects > 0 {
            self.house.doors.effects.nudge(EffectsQueued);
        }
    }
}

/// A process to be, without what all processes of a run share.
struct Job<'a> {
    argv: Vec<String>,
    setting: String,
    input: Option<String>,
    allowed: &'a [String],
    timeout: Duration,
    keep: usize,
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

/// How long to wait before the store is asked again: 100 ms, doubled each time up to 10 s, and up to a quarter less by chance.
pub(crate) fn pause_after(failures: u32, chance: f64) -> Duration {
    let longest = Duration::from_secs(10);
    let pause = Duration::from_millis(100)
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(longest);
    pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0)
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

    #[test]
    fn the_store_is_asked_again_with_longer_pauses_up_to_a_limit() {
        let pauses: Vec<u128> = [1, 2, 3, 8, 100]
            .iter()
            .map(|n| pause_after(*n, 0.0).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 10_000, 10_000]);
        assert_eq!(pause_after(1, 1.0).as_millis(), 75);
    }
}
