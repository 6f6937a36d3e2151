//! One run from where it stands to where it rests: what begins, what is written down, what is asked. Knows no queue and no other run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::facts::RunFacts;

use super::gate::{self, Asking, Gate};
use super::graph::{self, Graph, Move, NodeState};
use super::ledger::{Halt, Ledger};
use super::leftovers;
use super::loops::{self, Memory};
use super::marks;
use super::nodes::{self, Next, Outcome, Part, Turn};
use super::phase::{self, Done, Work};
use super::process::Stop;
use super::resume::{BLOCKED, Progress};
use super::runner::House;
use super::say::{self, Voice};
use super::workbench::{Tool, Workbench, Worked};
use crate::domain::{
    ApprovalId, ApprovalKind, GenericLoop, INTERRUPTED, NewEffect, OutputAction, PUT_DOWN, Phase, PhaseEnd, PhaseKind,
    PhaseName, PhaseStatus, ReviewLoop, RunRecord, RunStatus, Step, Workflow,
};
use crate::folders;
use crate::messages::github::ReadThread;
use crate::messages::runs::{GatesChanged, RunEnding};
use crate::workflows::Expression;
use crate::workflows::template::{Facts, render, render_comment};

/// How long the command of `until_bash` may take.
const UNTIL_TIMEOUT: Duration = Duration::from_secs(30);

/// Works through a run until it rests, and says how that came about.
pub(crate) async fn tell(record: RunRecord, house: House, stop: watch::Receiver<Stop>) -> RunEnding {
    let mut ledger = Ledger::new(record.summary.clone(), house.clone(), stop.clone());
    let read = Workflow::from_bundle(&record.definition)
        .map_err(|error| error.to_string())
        .and_then(|workflow| Graph::of(&workflow).map(|graph| (workflow, graph)));
    match read {
        Ok((workflow, graph)) => Story::new(record, workflow, graph, house, stop, ledger).tell().await,
        Err(error) => {
            let name = &record.summary.workflow;
            let reason = format!("the stored definition of workflow \"{name}\" cannot be read: {error}");
            match ledger.end(&record, RunStatus::Failed, Some(reason)).await {
                Ok(status) | Err(Halt::Settled(status)) => RunEnding::Settled(status),
                Err(Halt::PutDown | Halt::Aborted(_)) => RunEnding::PutDown,
            }
        }
    }
}

/// What is set to work beside the story, once everything before it is on disk.
struct Job {
    at: usize,
    turn: Turn,
    attempt: u32,
    what: What,
}

/// What a job is: a process of this phase, as it is for the turn, with what its templates may name.
enum What {
    /// The turn itself.
    Process(Arc<Phase>, Arc<RunFacts>),
    /// The command that says whether a loop is complete after it.
    Check(Arc<Phase>, Arc<RunFacts>),
}

/// A job that is over.
struct Over {
    at: usize,
    turn: Turn,
    attempt: u32,
    how: How,
}

/// How a job went.
enum How {
    Worked(Worked),
    Checked(Worked),
}

/// A question that waits until nothing is at work.
struct Question {
    at: usize,
    turn: Turn,
    /// It was put before, and has lapsed.
    again: bool,
}

struct Story {
    record: Arc<RunRecord>,
    workflow: Arc<Workflow>,
    graph: Graph,
    house: House,
    stop: watch::Receiver<Stop>,
    ledger: Ledger,
    progress: Progress,
    facts: Arc<RunFacts>,
    scratch: BTreeMap<String, Value>,
    states: Vec<NodeState>,
    /// Phases that have begun and have nothing at work: their next turn is to be found.
    idle: BTreeSet<usize>,
    /// Phases whose next attempt waits for its time.
    waiting: BTreeMap<usize, DateTime<Utc>>,
    question: Option<Question>,
    /// Phases that waited for a person when the run was taken up: their question has lapsed.
    found_asking: BTreeSet<usize>,
    /// Phases that ended badly, with the reason, in the order of their ends.
    failed: Vec<(usize, String)>,
    jobs: JoinSet<Over>,
    /// How many processes have begun and are not over.
    processes: usize,
    taken_up: DateTime<Utc>,
}

impl Story {
    fn new(
        mut record: RunRecord,
        workflow: Workflow,
        graph: Graph,
        house: House,
        stop: watch::Receiver<Stop>,
        ledger: Ledger,
    ) -> Self {
        Self {
            progress: Progress::of(std::mem::take(&mut record.phases)),
            scratch: record.scratch.clone(),
            facts: Arc::new(RunFacts::of(&record, &workflow)),
            states: vec![NodeState::Waits; workflow.phases.len()],
            idle: BTreeSet::new(),
            waiting: BTreeMap::new(),
            question: None,
            found_asking: BTreeSet::new(),
            failed: Vec::new(),
            jobs: JoinSet::new(),
            processes: 0,
            taken_up: house.clock.now(),
            record: Arc::new(record),
            workflow: Arc::new(workflow),
            graph,
            house,
            stop,
            ledger,
        }
    }

    async fn tell(mut self) -> RunEnding {
        match self.work_through().await {
            Ok(status) => RunEnding::Settled(status),
            Err(halt) => self.stop_short(halt).await,
        }
    }

    async fn work_through(&mut self) -> Result<RunStatus, Halt> {
        self.look_up_thread().await;
        self.recall().await;
        loop {
            self.ledger.may_go_on()?;
            let jobs = self.go_forward().await?;
            if !jobs.is_empty() {
                self.ledger.write().await?;
                for job in jobs {
                    self.set_to_work(job);
                }
            }
            if self.jobs.is_empty() {
                if let Some(question) = self.question.take() {
                    return self.ask(question).await;
                }
                if self.waiting.is_empty() || self.left_of_run().is_zero() {
                    return self.conclude().await;
                }
            }
            // What has ended is not to be done again, however long the rest takes.
            self.ledger.write().await?;
            if let Some(over) = self.next_event().await? {
                self.take_in(over)?;
            }
        }
    }

    /// Waits until a job is over, an attempt's time has come, or the run is told to stop.
    async fn next_event(&mut self) -> Result<Option<Over>, Halt> {
        let now = self.house.clock.now();
        let first = self.waiting.values().min().copied();
        let pause = first.map(|first| (first - now).to_std().unwrap_or_default().min(self.left_of_run()));
        let clock = self.house.clock.clone();
        tokio::select! {
            over = self.jobs.join_next(), if !self.jobs.is_empty() => match over {
                Some(Ok(over)) => Ok(Some(over)),
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // Nobody ends a job but the story itself.
                _ => Err(Halt::PutDown),
            },
            () = clock.sleep(pause.unwrap_or_default()), if pause.is_some() => {
                self.idle.extend(std::mem::take(&mut self.waiting).into_keys());
                Ok(None)
            }
            _ = self.stop.wait_for(|stop| *stop != Stop::No), if self.jobs.is_empty() => Ok(None),
        }
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
        let labels = Value::from(thread.labels);
        let record = Arc::make_mut(&mut self.record);
        let context = &mut record.context.0;
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
        self.facts = Arc::new(RunFacts::of(record, &self.workflow));
    }

    /// Finds where every phase stands, and what was known when the run was left. What a crash cut off is closed, and its
    /// processes are ended, before anything begins.
    async fn recall(&mut self) {
        if self.progress.was_cut_off() {
            let run = self.record.summary.id;
            let ended = leftovers::end_of(run).await;
            if ended > 0 {
                tracing::warn!(run.id = %run, ended, "processes that an earlier service left behind were ended");
            }
        }
        for (row, attempt) in self.progress.open() {
            // Its kind is in the row already.
            self.end_row(&row, PhaseKind::Context, attempt, Done::badly(INTERRUPTED.into()));
        }
        let workflow = Arc::clone(&self.workflow);
        for (at, phase) in workflow.phases.iter().enumerate() {
            self.hear_answers(phase);
            match nodes::next(phase, &self.progress, &self.memory(phase)) {
                Next::Settled(outcome) => {
                    self.learn_outcome(phase, &outcome);
                    if phase.approval.is_some() && outcome.status == PhaseStatus::Succeeded {
                        // It settled by a person's answer, while nobody was here to say so.
                        self.speak_of_end(at, &outcome);
                    }
                    let message = phase.messages.on_skipped_done.as_deref();
                    let effects = self.voice(&self.facts, phase).say("on_skipped_done", message);
                    if outcome.status == PhaseStatus::Failed {
                        self.end_node(at, &outcome);
                    } else {
                        self.ledger.say(effects);
                        self.states[at] = state_of(&outcome);
                    }
                }
                _ if self.progress.at(&phase.name).is_none() => {}
                next => {
                    if let Next::Ask(turn) = next
                        && self
                            .progress
                            .at(&turn.row)
                            .is_some_and(|standing| standing.reason.is_some())
                    {
                        self.found_asking.insert(at);
                    }
                    self.learn_turns(phase);
                    self.states[at] = NodeState::Begun;
                    self.idle.insert(at);
                }
            }
        }
    }

    /// Begins whatever may begin, and works off whatever needs no process. Answers what is to be set to work once all that
    /// was taken down is durable.
    async fn go_forward(&mut self) -> Result<Vec<Job>, Halt> {
        let mut jobs = Vec::new();
        loop {
            let mut moved = false;
            for at in std::mem::take(&mut self.idle) {
                if self.is_held() {
                    self.idle.insert(at);
                } else {
                    jobs.extend(self.go_on(at));
                    moved = true;
                }
            }
            let moves = if self.is_held() {
                Vec::new()
            } else {
                self.graph.moves(&self.states)
            };
            for next in moves {
                match next {
                    Move::Skip(at, reason) => {
                        self.skip(at, reason);
                        moved = true;
                    }
                    Move::Begin(at) if !self.is_held() => {
                        self.states[at] = NodeState::Begun;
                        jobs.extend(self.go_on(at));
                        moved = true;
                    }
                    Move::Begin(_) => {}
                }
            }
            if self.ledger.is_full() {
                self.ledger.write().await?;
                self.ledger.may_go_on()?;
            }
            if !moved || (self.graph.is_linear() && !self.failed.is_empty()) {
                return Ok(jobs);
            }
        }
    }

    /// Whether nothing new may begin: a question waits, the places are taken, or the time is up.
    fn is_held(&self) -> bool {
        self.question.is_some()
            || self.processes >= self.house.config.phases_at_once.max(1)
            || self.left_of_run().is_zero()
    }

    /// The next thing in a phase that has begun.
    fn go_on(&mut self, at: usize) -> Option<Job> {
        let workflow = Arc::clone(&self.workflow);
        let phase = &workflow.phases[at];
        match nodes::next(phase, &self.progress, &self.memory(phase)) {
            Next::Attempt {
                turn,
                attempt,
                not_before,
            } => {
                if let Some(instant) = not_before.filter(|instant| *instant > self.house.clock.now()) {
                    self.waiting.insert(at, instant);
                    return None;
                }
                self.begin(at, phase, turn, attempt)
            }
            Next::Judge(turn) => self.judge(at, phase, turn),
            Next::Ask(turn) => {
                let again = self.found_asking.remove(&at);
                self.question = Some(Question { at, turn, again });
                None
            }
            Next::Settled(outcome) => {
                self.end_node(at, &outcome);
                None
            }
        }
    }

    /// Begins one attempt of one turn. A turn without a process is over at once.
    fn begin(&mut self, at: usize, phase: &Phase, turn: Turn, attempt: u32) -> Option<Job> {
        let is_first = self.progress.at(&phase.name).is_none();
        if let (true, Some(condition)) = (is_first, &phase.when) {
            match holds(condition, &self.facts.view()) {
                Ok(true) => {}
                Ok(false) => {
                    self.skip(at, format!("its condition does not hold: {condition}"));
                    return None;
                }
                Err(error) => {
                    let done = Done::badly(format!("its condition cannot be read: {error}"));
                    self.end_turn(at, turn, attempt, done);
                    return None;
                }
            }
        }
        let mine = Arc::new(as_turn(phase, &turn));
        let facts = self.facts_of(phase, &turn);
        let house = self.house.clone();
        let record = Arc::clone(&self.record);
        let work = phase::work(&mine, &house.config.runtimes, &record.reply_to);
        if !matches!(work, Work::Skip(_)) {
            self.ledger.note(Step::PhaseStarted {
                phase: turn.row.clone(),
                kind: phase.kind.as_str(),
                attempt,
            });
            self.progress.begun(&turn.row, attempt);
            if is_first {
                let effects = self.voice(&facts, phase).on_start();
                self.ledger.say(effects);
            }
            let started = phase.review_loop.as_ref().map(|review| match turn.part {
                Part::Fix => ("on_fix_start", &review.messages.on_fix_start),
                _ => ("on_cycle_start", &review.messages.on_cycle_start),
            });
            if let Some((what, message)) = started {
                let effects = self.voice(&facts, &mine).say(what, message.as_deref());
                self.ledger.say(effects);
            }
        }
        let done = match work {
            Work::Nothing => Done::well(None),
            Work::Skip(reason) => Done::skipped(reason),
            Work::Refuse(reason) => Done::badly(reason),
            Work::Reply(message) => {
                let effects = self.voice(&facts, phase).reply(message);
                self.ledger.say(effects);
                Done::well(Some(render_comment(message, &facts.view())))
            }
            Work::Notify => self.said(self.voice(&facts, &mine).notify()),
            Work::Emit => self.said(self.voice(&facts, &mine).emit()),
            Work::Ask => Done {
                status: PhaseStatus::WaitingApproval,
                ..Done::well(None)
            },
            Work::Script(_) | Work::Agent { .. } => {
                self.processes += 1;
                let what = What::Process(Arc::clone(&mine), facts);
                return Some(Job {
                    at,
                    turn,
                    attempt,
                    what,
                });
            }
        };
        self.end_turn(at, turn, attempt, done);
        None
    }

    /// The end of a phase that only says something.
    fn said(&mut self, said: Result<(Vec<NewEffect>, String), String>) -> Done {
        match said {
            Ok((effects, text)) => {
                self.ledger.say(effects);
                Done::well(Some(text))
            }
            Err(reason) => Done::badly(reason),
        }
    }

    /// Finds out whether a loop is complete after a turn.
    fn judge(&mut self, at: usize, phase: &Phase, turn: Turn) -> Option<Job> {
        let generic = phase.generic_loop.as_ref()?;
        if self.until_holds(phase, generic, &turn) {
            self.judged(at, phase, generic, &turn, true);
            return None;
        }
        let Some(command) = &generic.until_bash else {
            self.judged(at, phase, generic, &turn, false);
            return None;
        };
        let mut check = as_turn(phase, &turn);
        check.kind = PhaseKind::Script;
        check.run = Some(command.clone());
        check.timeout = Some(UNTIL_TIMEOUT);
        self.processes += 1;
        let what = What::Check(Arc::new(check), self.facts_of(phase, &turn));
        Some(Job {
            at,
            turn,
            attempt: 1,
            what,
        })
    }

    fn until_holds(&self, phase: &Phase, generic: &GenericLoop, turn: &Turn) -> bool {
        let Some(condition) = &generic.until else { return false };
        let output = self.progress.output(&turn.row);
        let mut more = self.variables(phase, turn);
        more.insert("output".into(), (&*output).into());
        let facts = self.facts.with(more);
        // One that cannot be read never holds; the loader refuses such files.
        holds(condition, &facts.view()).unwrap_or(false)
    }

    /// Takes down what a turn of a generic loop came to. The memory of it and what follows become durable together.
    fn judged(&mut self, at: usize, phase: &Phase, generic: &GenericLoop, turn: &Turn, complete: bool) {
        let mut memory = self.memory(phase);
        memory.iteration = turn.number;
        memory.complete = complete;
        let goes_on = !complete && turn.number < generic.max_iterations;
        memory.asking = goes_on && generic.interactive;
        self.remember(phase, &memory);
        if let Next::Settled(outcome) = nodes::next(phase, &self.progress, &memory) {
            if self.gate_of(phase, outcome.status).is_some() {
                memory.asking = true;
                self.remember(phase, &memory);
                self.speak_of_end(at, &outcome);
                self.idle.insert(at);
            } else {
                self.end_node(at, &outcome);
            }
        } else {
            self.idle.insert(at);
        }
    }

    /// Takes down how an attempt ended, and what follows from it for its phase. All of it becomes durable together.
    fn end_turn(&mut self, at: usize, turn: Turn, attempt: u32, mut done: Done) {
        let workflow = Arc::clone(&self.workflow);
        let phase = &workflow.phases[at];
        let pauses = self.heed_marks(phase, &turn, &mut done);
        let mut end = PhaseEnd {
            phase: turn.row.clone(),
            kind: phase.kind.as_str(),
            attempt,
            status: done.status,
            output: done.output,
            reason: done.reason,
            exit_code: done.exit_code,
        };
        self.progress.ended(&end, self.house.clock.now());
        self.learn_turn(phase, &turn, end.output.as_deref());
        let next = nodes::next(phase, &self.progress, &self.memory(phase));
        match &next {
            Next::Settled(outcome) => {
                end.reason = outcome.reason.clone();
                let asks = pauses || self.gate_of(phase, outcome.status).is_some();
                let is_good = outcome.status != PhaseStatus::Failed && state_of(outcome) != NodeState::HeldBack;
                if asks && is_good {
                    end.status = PhaseStatus::WaitingApproval;
                }
            }
            Next::Attempt { turn: fix, .. } if fix.part == Part::Fix && turn.part == Part::Review => {
                let review = phase.review_loop.as_ref();
                let gate = review.and_then(|review| review.approval_gate.as_deref());
                if gate.is_some_and(|gate| self.house.config.gates.contains(gate)) {
                    end.status = PhaseStatus::WaitingApproval;
                }
            }
            _ => {}
        }
        let asks = end.status == PhaseStatus::WaitingApproval;
        if asks {
            self.progress.ended(&end, self.house.clock.now());
        }
        self.speak_of_turn(phase, &turn, &next, end.status);
        self.ledger.note(Step::PhaseEnded(end));
        match next {
            Next::Settled(outcome) if asks => {
                self.learn_outcome(phase, &outcome);
                self.speak_of_end(at, &outcome);
                self.idle.insert(at);
            }
            Next::Settled(outcome) => self.end_node(at, &outcome),
            _ => {
                self.idle.insert(at);
            }
        }
    }

    /// What the rules of `on_output` make of an end. True: a person is to be asked.
    fn heed_marks(&mut self, phase: &Phase, turn: &Turn, done: &mut Done) -> bool {
        if done.status != PhaseStatus::Succeeded || turn.part == Part::Fix {
            return false;
        }
        let mut facts = self.facts_of(phase, turn);
        let output = done.output.as_deref().unwrap_or_default();
        Arc::make_mut(&mut facts).learn(phase.name.as_str(), output);
        let found = marks::find(&phase.on_output, output, &facts.view());
        let mine = as_turn(phase, turn);
        let mut effects = Vec::new();
        for rule in &found.says {
            effects.extend(self.voice(&facts, &mine).say("on_output", rule.message.as_deref()));
        }
        for rule in &found.passed_by {
            let message = rule
                .bypass_message
                .as_ref()
                .or(phase.messages.on_blocked_bypassed.as_ref());
            effects.extend(
                self.voice(&facts, &mine)
                    .say("on_blocked_bypassed", message.map(String::as_str)),
            );
        }
        self.ledger.say(effects);
        match found.acts {
            Some(rule) if rule.action == OutputAction::Fail => {
                let plain = format!("its output says {}", rule.contains);
                let words = rule.message.as_deref().map(|message| render(message, &facts.view()));
                done.status = PhaseStatus::Failed;
                done.reason = Some(format!("{BLOCKED}{}", words.unwrap_or(plain)));
                false
            }
            Some(_) => true,
            None => false,
        }
    }

    /// What is said about one turn of a reviewer loop.
    fn speak_of_turn(&mut self, phase: &Phase, turn: &Turn, next: &Next, status: PhaseStatus) {
        let Some(review) = &phase.review_loop else { return };
        let messages = &review.messages;
        let (what, message) = match (turn.part, next) {
            (Part::Fix, _) if status == PhaseStatus::Failed => ("on_fix_failed", &messages.on_fix_failed),
            (Part::Review, Next::Settled(outcome)) if outcome.came_to.is_some_and(|came_to| came_to.approved) => {
                ("on_approved", &messages.on_approved)
            }
            (Part::Review, Next::Settled(outcome)) if outcome.is_exhausted() => {
                ("on_max_cycles", &messages.on_max_cycles)
            }
            (Part::Review, Next::Attempt { turn, .. }) if turn.part == Part::Fix => {
                ("on_request_changes", &messages.on_request_changes)
            }
            _ => return,
        };
        let facts = self.facts_of(phase, turn);
        let effects = self.voice(&facts, &as_turn(phase, turn)).say(what, message.as_deref());
        self.ledger.say(effects);
    }

    /// A phase has settled.
    fn end_node(&mut self, at: usize, outcome: &Outcome) {
        let workflow = Arc::clone(&self.workflow);
        self.learn_outcome(&workflow.phases[at], outcome);
        self.speak_of_end(at, outcome);
        self.states[at] = state_of(outcome);
        if outcome.status == PhaseStatus::Failed {
            self.failed.push((at, outcome.reason.clone().unwrap_or_default()));
        }
    }

    /// What is said and changed at the end of a phase.
    fn speak_of_end(&mut self, at: usize, outcome: &Outcome) {
        let workflow = Arc::clone(&self.workflow);
        let phase = &workflow.phases[at];
        let reason = outcome.reason.as_deref().unwrap_or_default();
        let effects = match outcome.status {
            PhaseStatus::Failed => {
                let facts = self.facts.with_error(reason);
                let voice = self.voice(&facts, phase);
                match &phase.messages.on_blocked {
                    Some(message) if reason.starts_with(BLOCKED) => voice.say("on_blocked", Some(message)),
                    _ => voice.on_failure(),
                }
            }
            PhaseStatus::Succeeded if outcome.is_exhausted() && phase.generic_loop.is_some() => {
                self.voice(&self.facts.with_error(reason), phase).on_failure()
            }
            PhaseStatus::Succeeded => self.voice(&self.facts, phase).on_success(),
            _ => Vec::new(),
        };
        self.ledger.say(effects);
        if outcome.status == PhaseStatus::Succeeded
            && let Some(shown) = phase.on_success.set_phase.clone()
        {
            self.ledger.note(Step::Shown(shown));
        }
    }

    /// Passes a phase over.
    fn skip(&mut self, at: usize, reason: String) {
        let workflow = Arc::clone(&self.workflow);
        let turn = Turn {
            row: workflow.phases[at].name.clone(),
            part: Part::Whole,
            number: 1,
        };
        self.end_turn(at, turn, 1, Done::skipped(reason));
    }

    /// Pauses the run at a question. Everything that led to it, the pause and the question become durable together.
    async fn ask(&mut self, Question { at, turn, again }: Question) -> Result<RunStatus, Halt> {
        let workflow = Arc::clone(&self.workflow);
        let phase = &workflow.phases[at];
        let facts = self.facts_of(phase, &turn);
        let memory = self.memory(phase);
        let output = self.progress.output(&turn.row);
        let asked = asked_of(phase, &turn, &memory, &output);
        let gate = self.gate_at(phase, &asked, &output, &facts);
        let question = match (gate.question, asked) {
            (Some(template), Asked::Between(_)) => between(&output, &render_comment(template, &facts.view())),
            (None, Asked::Between(_)) => between(&output, ""),
            (Some(template), _) => render_comment(template, &facts.view()),
            (None, _) => gate::plain_question(&self.record.summary.workflow, phase),
        };
        let escalate_message = gate.policy.escalate_message.as_deref();
        let asked = Asking {
            id: ApprovalId::new(self.house.clock.fresh_id()),
            phase: turn.row.clone(),
            gate,
            question,
            output: &output,
            head_sha: self.head_sha(gate).await?,
            requested_by: self.record.summary.cause.who.clone(),
            escalate_message: escalate_message.map(|template| render_comment(template, &facts.view())),
            at: self.house.clock.now(),
        }
        .approval();
        let standing = self.progress.at(&turn.row);
        let anew = standing
            .and_then(|standing| standing.reason.as_deref())
            .filter(|_| again);
        let comment = gate::question_comment(&asked, &self.house.config.bot_name, anew);
        let chat = gate::question_in_chat(&asked, anew);
        let mine = as_turn(phase, &turn);
        let effects = self.voice(&facts, &mine).gate(&say::Asked {
            id: asked.id,
            kind: asked.kind,
            comment: &comment,
            chat: &chat,
            anew: again,
        });
        self.ledger.say(effects);
        if memory.asking {
            let asking = false;
            self.remember(phase, &Memory { asking, ..memory });
        }
        self.ledger.note(Step::Paused(asked));
        self.ledger.write().await?;
        // A full mailbox means that the gate keeper has a look ahead of it anyway.
        let _ = self.house.doors.gates.try_send(GatesChanged);
        Ok(RunStatus::Paused)
    }

    /// The gate that is asked at.
    fn gate_at<'p>(&self, phase: &'p Phase, asked: &Asked<'p>, output: &str, facts: &RunFacts) -> Gate<'p> {
        match *asked {
            Asked::Between(generic) => Gate {
                name: generic.scratch_key.as_deref().unwrap_or(phase.name.as_str()),
                kind: generic.gate_kind,
                policy: &generic.gate_policy,
                question: generic.gate_message.as_deref(),
            },
            Asked::BeforeFix(name, review) => Gate {
                name,
                kind: ApprovalKind::Approve,
                policy: &review.gate_policy,
                question: review.messages.on_pause_for_approval.as_deref(),
            },
            Asked::After => {
                let found = marks::find(&phase.on_output, output, &facts.view());
                let of_phase = gate::gate_of(phase)
                    .filter(|gate| phase.approval.is_some() || self.house.config.gates.contains(gate.name));
                match (of_phase, found.acts) {
                    (Some(gate), _) => gate,
                    (None, acts) => Gate {
                        name: phase.name.as_str(),
                        kind: ApprovalKind::Approve,
                        policy: &phase.gate_policy,
                        question: acts.and_then(|rule| rule.message.as_deref()),
                    },
                }
            }
        }
    }

    /// The head commit that an answer holds for, where the run is about a pull request.
    async fn head_sha(&mut self, gate: Gate<'_>) -> Result<Option<String>, Halt> {
        let summary = &self.record.summary;
        let (Some(repo), Some(number)) = (summary.repo.clone(), summary.number) else {
            return Ok(None);
        };
        if !gate::binds_to_head(gate.policy) || !self.record.context.0.contains_key("prNumber") {
            return Ok(None);
        }
        let mut stop = self.stop.clone();
        let asked = self.house.doors.thread.send(ReadThread { repo, number });
        let answered = tokio::select! {
            answered = asked => answered,
            _ = stop.wait_for(|stop| *stop != Stop::No) => {
                self.ledger.may_go_on()?;
                return Err(Halt::PutDown);
            }
        };
        let head = answered.ok().and_then(Result::ok).and_then(|thread| thread.head_sha);
        Ok(Some(head.unwrap_or_else(|| gate::UNKNOWN_HEAD.to_owned())))
    }

    /// Ends the run by how its phases ended.
    async fn conclude(&mut self) -> Result<RunStatus, Halt> {
        if let Some((at, reason)) = self.failed.first() {
            let name = &self.workflow.phases[*at].name;
            let more = match self.failed.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            let error = format!("phase \"{name}\" failed: {reason}{more}");
            return self.ledger.end(&self.record, RunStatus::Failed, Some(error)).await;
        }
        if self.states.iter().all(|state| state.is_settled()) {
            return self.ledger.end(&self.record, RunStatus::Succeeded, None).await;
        }
        let error = phase::too_long(self.house.config.run_deadline);
        self.ledger.end(&self.record, RunStatus::Failed, Some(error)).await
    }

    /// Starts a job beside the story. It is ended with the story, however that ends.
    fn set_to_work(&mut self, job: Job) {
        let Job {
            at,
            turn,
            attempt,
            what,
        } = job;
        let (house, record, mut stop) = (self.house.clone(), Arc::clone(&self.record), self.stop.clone());
        let left_of_run = self.left_of_run();
        let log = self.log_folder().join(format!("{}.log", turn.row));
        let folder = house.config.work_dir.join(self.facts.task());
        self.jobs.spawn_local(async move {
            let how = match what {
                What::Process(phase, facts) => {
                    let bench = Workbench {
                        house: &house,
                        record: &record,
                        facts: &facts,
                        phase: &phase,
                        attempt,
                        left_of_run,
                    };
                    let worked = match phase::work(&phase, &house.config.runtimes, &record.reply_to) {
                        Work::Agent { name, runtime } => {
                            bench
                                .work(Tool::Agent { name, runtime }, &folder, &log, &mut stop)
                                .await
                        }
                        _ => {
                            bench
                                .work(
                                    Tool::Shell(phase.run.as_deref().unwrap_or_default()),
                                    &folder,
                                    &log,
                                    &mut stop,
                                )
                                .await
                        }
                    };
                    folders::touch(folder, house.clock.now()).await;
                    How::Worked(worked)
                }
                What::Check(phase, facts) => {
                    let bench = Workbench {
                        house: &house,
                        record: &record,
                        facts: &facts,
                        phase: &phase,
                        attempt,
                        left_of_run,
                    };
                    let command = phase.run.as_deref().unwrap_or_default();
                    How::Checked(bench.work(Tool::Shell(command), &folder, &log, &mut stop).await)
                }
            };
            Over { at, turn, attempt, how }
        });
    }

    /// Takes in what became of a job.
    fn take_in(&mut self, Over { at, turn, attempt, how }: Over) -> Result<(), Halt> {
        self.processes -= 1;
        match how {
            How::Worked(Worked::Done(done)) => {
                self.end_turn(at, turn, attempt, done);
                Ok(())
            }
            How::Worked(cut_off) => {
                let (reason, output, halt) = self.cut_off(cut_off);
                let kind = self.workflow.phases[at].kind;
                let done = Done {
                    output,
                    ..Done::badly(reason)
                };
                self.end_row(&turn.row, kind, attempt, done);
                Err(halt)
            }
            How::Checked(Worked::Done(done)) => {
                let workflow = Arc::clone(&self.workflow);
                let phase = &workflow.phases[at];
                if let Some(generic) = &phase.generic_loop {
                    self.judged(at, phase, generic, &turn, done.status == PhaseStatus::Succeeded);
                }
                Ok(())
            }
            How::Checked(cut_off) => Err(self.cut_off(cut_off).2),
        }
    }

    /// What is written down for a process that was stopped, and why the story stops.
    fn cut_off(&self, worked: Worked) -> (String, Option<String>, Halt) {
        match worked {
            Worked::Aborted(output) => {
                let reason = match &*self.stop.borrow() {
                    Stop::Abort(reason) => reason.clone(),
                    Stop::No | Stop::PutDown => "cancelled".into(),
                };
                (reason.clone(), Some(output), Halt::Aborted(reason))
            }
            Worked::PutDown | Worked::Done(_) => (PUT_DOWN.into(), None, Halt::PutDown),
        }
    }

    /// Waits for everything that is at work to be stopped, takes it down, and leaves the run where it is to be.
    async fn stop_short(mut self, halt: Halt) -> RunEnding {
        if let Halt::Settled(status) = halt {
            // Somebody else ended it; its processes die with the jobs.
            self.jobs.shutdown().await;
            return RunEnding::Settled(status);
        }
        let mut halt = halt;
        while let Some(over) = self.jobs.join_next().await {
            if let Ok(over) = over
                && let Err(Halt::Aborted(reason)) = self.take_in(over)
            {
                halt = Halt::Aborted(reason);
            }
        }
        let told = match halt {
            Halt::Aborted(reason) => self.ledger.end(&self.record, RunStatus::Cancelled, Some(reason)).await,
            _ => {
                // Those that had begun and were not set to work yet.
                for (row, attempt) in self.progress.open() {
                    self.end_row(&row, PhaseKind::Context, attempt, Done::badly(PUT_DOWN.into()));
                }
                self.ledger.note(Step::PutDown);
                self.ledger.write().await.map(|()| RunStatus::Queued)
            }
        };
        match told {
            Ok(status) if status.is_final() => RunEnding::Settled(status),
            Err(Halt::Settled(status)) => RunEnding::Settled(status),
            _ => RunEnding::PutDown,
        }
    }

    /// Takes down the end of one attempt from which nothing follows.
    fn end_row(&mut self, row: &PhaseName, kind: PhaseKind, attempt: u32, done: Done) {
        let end = PhaseEnd {
            phase: row.clone(),
            kind: kind.as_str(),
            attempt,
            status: done.status,
            output: done.output,
            reason: done.reason,
            exit_code: done.exit_code,
        };
        self.progress.ended(&end, self.house.clock.now());
        self.ledger.note(Step::PhaseEnded(end));
    }

    /// Takes in what a turn printed: under its own name, and, unless it is a fix, under that of the phase.
    fn learn_turn(&mut self, phase: &Phase, turn: &Turn, output: Option<&str>) {
        let Some(output) = output else { return };
        let facts = Arc::make_mut(&mut self.facts);
        facts.learn(turn.row.as_str(), output);
        if turn.part != Part::Fix {
            facts.learn(phase.name.as_str(), output);
        }
    }

    /// Takes in what the turns of a loop printed so far.
    fn learn_turns(&mut self, phase: &Phase) {
        let done: Vec<Turn> = turns_of(phase)
            .take_while(|turn| self.progress.at(&turn.row).is_some())
            .collect();
        for turn in done {
            let standing = self.progress.at(&turn.row);
            let output = standing.and_then(|standing| standing.output.clone());
            self.learn_turn(phase, &turn, output.as_deref());
        }
    }

    /// Takes in what a phase came to, under its name and its `output_var`.
    fn learn_outcome(&mut self, phase: &Phase, outcome: &Outcome) {
        self.learn_turns(phase);
        let standing = self.progress.at(&outcome.row);
        let Some(output) = standing.and_then(|standing| standing.output.clone()) else {
            return;
        };
        let facts = Arc::make_mut(&mut self.facts);
        facts.learn(phase.name.as_str(), &output);
        match (&phase.output_var, outcome.came_to) {
            (Some(name), Some(came_to)) if phase.review_loop.is_some() => {
                facts.learn_value(name, json!({"approved": came_to.approved, "cycles": came_to.cycles}));
            }
            (Some(name), _) => facts.learn(name, &output),
            (None, _) => {}
        }
    }

    /// The gate that a phase ends at, if it is enabled.
    fn gate_of(&self, phase: &Phase, status: PhaseStatus) -> Option<String> {
        gate::gate_after(phase, status, &self.house.config.gates).map(str::to_owned)
    }

    /// What a turn's templates may name.
    fn facts_of(&self, phase: &Phase, turn: &Turn) -> Arc<RunFacts> {
        if turn.part == Part::Whole {
            return Arc::clone(&self.facts);
        }
        Arc::new(self.facts.with(self.variables(phase, turn)))
    }

    fn variables(&self, phase: &Phase, turn: &Turn) -> Map<String, Value> {
        let output = |row: PhaseName| self.progress.output(&row);
        let (most, fix, before) = match (&phase.review_loop, &phase.generic_loop) {
            (Some(review), _) => {
                let (fix, last) = match turn.part {
                    Part::Fix => (turn.number, Some(loops::turn_name(&phase.name, turn.number))),
                    _ => {
                        let fix = turn.number - 1;
                        (fix, (fix > 0).then(|| loops::fix_name(&phase.name, fix)))
                    }
                };
                (review.max_cycles, fix, last.map(output).into_iter().collect())
            }
            (None, Some(generic)) if !generic.fresh_context => {
                let rows = (1..turn.number).map(|number| loops::turn_name(&phase.name, number));
                (generic.max_iterations, 0, rows.map(output).collect())
            }
            (None, Some(generic)) => (generic.max_iterations, 0, Vec::new()),
            (None, None) => (1, 0, Vec::new()),
        };
        let previous = loops::previous(before.iter().map(|output| &**output));
        loops::variables(turn.number, most, fix, previous)
    }

    /// What a loop left in the run's scratch.
    fn memory(&self, phase: &Phase) -> Memory {
        match &phase.generic_loop {
            Some(generic) => {
                let mut path = path_of(phase, generic);
                let entry = path.next().and_then(|first| self.scratch.get(first));
                Memory::of(path.fold(entry, |entry, step| entry.and_then(|entry| entry.get(step))))
            }
            None => Memory::default(),
        }
    }

    /// Leaves it there.
    fn remember(&mut self, phase: &Phase, memory: &Memory) {
        let Some(generic) = &phase.generic_loop else { return };
        let mut path = path_of(phase, generic);
        let Some(first) = path.next() else { return };
        let mut entry = self.scratch.entry(first.to_owned()).or_insert(Value::Null);
        for step in path {
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            entry = &mut entry[step];
        }
        *entry = memory.entry();
        self.ledger.note(Step::Scratch {
            key: first.to_owned(),
            value: self.scratch[first].clone(),
        });
        Arc::make_mut(&mut self.facts).remember(&self.scratch);
    }

    /// Takes in what people answered to a loop while the run was paused.
    fn hear_answers(&mut self, phase: &Phase) {
        if phase.generic_loop.is_none() {
            return;
        }
        let mut memory = self.memory(phase);
        let turns = memory.iteration;
        if memory.hear(&phase.name, turns, &self.record.answers) {
            self.remember(phase, &memory);
        }
    }

    fn left_of_run(&self) -> Duration {
        let at_work = (self.house.clock.now() - self.taken_up).to_std().unwrap_or_default();
        self.house.config.run_deadline.saturating_sub(at_work)
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
}

/// Whether a condition holds.
fn holds(condition: &str, facts: &Facts<'_>) -> Result<bool, String> {
    let expression = Expression::parse(condition).map_err(|error| error.problem)?;
    Ok(expression.holds(&|path| facts.value(path)))
}

/// What is asked behind a turn.
#[derive(Clone, Copy)]
enum Asked<'p> {
    /// Between two turns of a generic loop.
    Between(&'p GenericLoop),
    /// Before a review's changes are made, at this gate.
    BeforeFix(&'p str, &'p ReviewLoop),
    /// After the phase.
    After,
}

fn asked_of<'p>(phase: &'p Phase, turn: &Turn, memory: &Memory, output: &str) -> Asked<'p> {
    if let Some(generic) = &phase.generic_loop
        && generic.interactive
        && !memory.complete
        && turn.number < generic.max_iterations
    {
        return Asked::Between(generic);
    }
    if let Some(review) = &phase.review_loop
        && let Some(gate) = &review.approval_gate
        && turn.part == Part::Review
        && turn.number <= review.max_cycles
        && loops::verdict(output) == loops::Verdict::RequestChanges
    {
        return Asked::BeforeFix(gate, review);
    }
    Asked::After
}

/// What a turn said, and what is asked about it.
fn between(output: &str, message: &str) -> String {
    let parts = [output.trim(), message.trim()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n---\n\n")
}

/// Every turn that a phase may have, in their order.
fn turns_of(phase: &Phase) -> Box<dyn Iterator<Item = Turn> + '_> {
    let name = &phase.name;
    let turn = |row, part, number| Turn { row, part, number };
    match (&phase.review_loop, &phase.generic_loop) {
        (Some(review), _) => Box::new((1..=review.max_cycles.saturating_add(1)).flat_map(move |cycle| {
            [
                turn(loops::turn_name(name, cycle), Part::Review, cycle),
                turn(loops::fix_name(name, cycle), Part::Fix, cycle),
            ]
        })),
        (None, Some(generic)) => Box::new(
            (1..=generic.max_iterations)
                .map(move |number| turn(loops::turn_name(name, number), Part::Iteration, number)),
        ),
        (None, None) => Box::new(std::iter::once(turn(name.clone(), Part::Whole, 1))),
    }
}

/// A phase as it is for one of its turns: under the turn's name, with the turn's prompt, saying nothing about the whole.
fn as_turn(phase: &Phase, turn: &Turn) -> Phase {
    let mut mine = phase.clone();
    mine.name = turn.row.clone();
    if let Some(review) = &phase.review_loop {
        match turn.part {
            Part::Fix => {
                mine.prompt = Some(Arc::clone(&review.fix_prompt));
                mine.model = review.fix_model.clone().or(mine.model);
                mine.variant = review.fix_variant.clone().or(mine.variant);
            }
            _ if turn.number > 1 => mine.prompt = review.re_review_prompt.clone().or(mine.prompt),
            _ => {}
        }
    }
    mine
}

/// The steps of the path at which a loop's memory lies in the scratch.
fn path_of<'p>(phase: &'p Phase, generic: &'p GenericLoop) -> impl Iterator<Item = &'p str> {
    let key = generic.scratch_key.as_deref();
    key.map_or_else(|| vec![phase.name.as_str()], |key| key.split('.').collect())
        .into_iter()
}

fn state_of(outcome: &Outcome) -> NodeState {
    match outcome.status {
        PhaseStatus::Succeeded => NodeState::Succeeded,
        PhaseStatus::Skipped if graph::was_held_back(outcome.reason.as_deref()) => NodeState::HeldBack,
        PhaseStatus::Skipped => NodeState::Skipped,
        PhaseStatus::Failed => NodeState::Failed,
        PhaseStatus::Running | PhaseStatus::WaitingApproval => NodeState::Begun,
    }
}
