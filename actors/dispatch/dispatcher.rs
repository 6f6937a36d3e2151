//! The dispatcher: takes recorded events in order, routes them, and opens runs for every door. Knows messages and pure rules; never a connector.
//!
//! Record, act, mark: what an event leads to (run, answer, replies) and its mark are one transaction of the store. A crash
//! before it repeats the pure decision, a crash after it finds the mark.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::admission::{self, Ask, House, admit};
use super::chat;
use super::retry;
use super::router::{self, Gates, Route, Routes, Target, route};
use crate::clock::SharedClock;
use crate::domain::{
    Approval, Decided, Effect, EffectKey, EventEnvelope, EventSeq, EventState, EventType, ManagedRepos, NewEffect,
    NewRun, Opened, Overlap, Reaction, ReplyTo, Responder, RuleCheck, RunContext, RunFilter, RunId, RunStatus,
    RunSummary, SessionsToEnd, Source, StoredEvent, TriggerType, Via, Workflow,
};
use crate::house::{Bell, Knock, Nudges};
use crate::messages::dispatch::{
    DispatchWorkflow, EventArrived, NotDispatched, NotRetried, Rehearsed, RetryRun, TryRoute,
};
use crate::messages::house::{AwaitQuiet, Finish, Ping};
use crate::messages::outbound::EffectsQueued;
use crate::messages::runs::StartRun;
use crate::messages::store::{
    Answer, EndSessions, GatesHere, Lapse, ListRuns, LiveRunOf, LoadRun, OpenGates, OpenRetry, OpenRuns, ReadUnsettled,
    SettleEvents, Settled, Settlement, StoreError, StoreResult, SwitchedOff,
};
use crate::messaging::replies;
use crate::workflows::SharedCatalog;

/// How many events one turn takes from the store, and so how many share a transaction.
const BATCH: usize = 512;

/// How often the routing of one event may fail before it is set aside.
const TRIES: u32 = 3;

/// How long the dispatcher rests after a turn that found several events. In a burst it would otherwise go to the store for each
/// handful and slow the intake down, whose senders wait for their answer; the backlog waits safely on disk, and still
/// leaves at up to 10,000 events a second. An event that comes alone is routed at once.
const REST: Duration = Duration::from_millis(50);

/// How often the dispatcher looks by itself, should a nudge have found its mailbox full.
const SWEEP: Duration = Duration::from_secs(15);

/// How long the dispatcher waits before it asks a store that failed again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How many wishes of API, cron and dashboard may wait; one more is answered "busy".
const MAILBOX: usize = 1024;

/// What the dispatcher may say, and to whom it does not know.
#[derive(Clone)]
pub struct DispatcherDoors {
    /// The store.
    pub unsettled: Recipient<ReadUnsettled>,
    /// The store.
    pub settle: Recipient<SettleEvents>,
    /// The store.
    pub open_runs: Recipient<OpenRuns>,
    /// The store.
    pub open_retry: Recipient<OpenRetry>,
    /// The store.
    pub load: Recipient<LoadRun>,
    /// The store.
    pub live_run_of: Recipient<LiveRunOf>,
    /// The store.
    pub gates: Recipient<OpenGates>,
    /// The store.
    pub gates_here: Recipient<GatesHere>,
    /// The store.
    pub end_sessions: Recipient<EndSessions>,
    /// The store.
    pub switched_off: Recipient<SwitchedOff>,
    /// The store.
    pub runs: Recipient<ListRuns>,
    /// The run supervisor.
    pub start_run: Recipient<StartRun>,
    /// The replier.
    pub effects_queued: Nudges<EffectsQueued>,
    /// Answered before each look at what waits.
    pub knock: Knock,
}

/// What the dispatcher goes by.
#[derive(Debug, Clone)]
pub struct DispatcherRules {
    /// Which workflow each kind of event starts.
    pub routes: Routes,
    /// The managed list.
    pub managed: ManagedRepos,
    /// The workflows, as they are now.
    pub catalog: SharedCatalog,
    /// The name people call us by in comments.
    pub bot_name: String,
    /// Where the dashboard is, for links to it; without a slash at the end.
    pub public_url: Option<String>,
}

/// The actor.
pub struct Dispatcher {
    inner: Rc<Inner>,
    /// A turn is going on.
    at_work: bool,
    /// Something arrived during the turn.
    again: bool,
    finishing: bool,
    settled: u64,
    quiet: Vec<oneshot::Sender<u64>>,
    failed_tries: HashMap<EventSeq, u32>,
    _bell: Bell,
}

struct Inner {
    doors: DispatcherDoors,
    rules: DispatcherRules,
    clock: SharedClock,
}

impl Dispatcher {
    /// How many messages may wait for it.
    pub const CAPACITY: usize = MAILBOX;

    /// A dispatcher that begins, once started, with what an earlier process left unsettled.
    #[must_use]
    pub fn new(doors: DispatcherDoors, rules: DispatcherRules, clock: SharedClock, bell: Bell) -> Self {
        Self {
            inner: Rc::new(Inner { doors, rules, clock }),
            at_work: false,
            again: false,
            finishing: false,
            settled: 0,
            quiet: Vec::new(),
            failed_tries: HashMap::new(),
            _bell: bell,
        }
    }

    /// Begins a turn, or remembers that one more is wanted.
    fn work(&mut self, ctx: &mut Context<Self>) {
        if self.at_work || self.finishing {
            self.again = true;
            return;
        }
        self.at_work = true;
        self.again = false;
        let inner = Rc::clone(&self.inner);
        let tries = self.failed_tries.clone();
        let turn = async move { inner.turn(&tries).await };
        ctx.spawn(turn.into_actor(self).map(|turn, this, ctx| this.after(turn, ctx)));
    }

    fn after(&mut self, turn: StoreResult<Turn>, ctx: &mut Context<Self>) {
        match turn {
            Ok(turn) => {
                self.settled += turn.settled;
                for seq in &turn.done {
                    self.failed_tries.remove(seq);
                }
                let pause = match (turn.failed.is_empty(), turn.several) {
                    (false, _) => Some(STORE_PAUSE),
                    (true, true) => Some(REST),
                    (true, false) => None,
                };
                for seq in turn.failed {
                    *self.failed_tries.entry(seq).or_default() += 1;
                }
                if let Some(pause) = pause {
                    return self.work_after(pause, ctx);
                }
            }
            Err(error) => {
                tracing::error!(%error, "events wait: the store did not answer the dispatcher; it asks again in a second");
                return self.work_after(STORE_PAUSE, ctx);
            }
        }
        self.go_on_or_rest(ctx);
    }

    fn work_after(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        self.again = true;
        let pause = self.inner.clock.sleep(pause);
        ctx.spawn(pause.into_actor(self).map(|(), this, ctx| this.go_on_or_rest(ctx)));
    }

    fn sweep(&self, ctx: &mut Context<Self>) {
        let pause = self.inner.clock.sleep(SWEEP);
        ctx.spawn(pause.into_actor(self).map(|(), this, ctx| {
            this.work(ctx);
            this.sweep(ctx);
        }));
    }

    fn go_on_or_rest(&mut self, ctx: &mut Context<Self>) {
        self.at_work = false;
        if self.again && !self.finishing {
            self.work(ctx);
            return;
        }
        for asked in self.quiet.drain(..) {
            let _ = asked.send(self.settled);
        }
    }

    fn when_quiet(&mut self) -> ResponseFuture<u64> {
        if !self.at_work {
            return Box::pin(std::future::ready(self.settled));
        }
        let (sender, receiver) = oneshot::channel();
        self.quiet.push(sender);
        let so_far = self.settled;
        Box::pin(async move { receiver.await.unwrap_or(so_far) })
    }
}

/// What one turn came to.
struct Turn {
    settled: u64,
    done: Vec<EventSeq>,
    failed: Vec<EventSeq>,
    /// More than one event was found.
    several: bool,
}

impl Inner {
    async fn turn(&self, tries: &HashMap<EventSeq, u32>) -> StoreResult<Turn> {
        self.doors.knock.answer();
        let events = ask(
            &self.doors.unsettled,
            ReadUnsettled {
                after: EventSeq(0),
                limit: BATCH,
            },
        )
        .await?;
        if events.is_empty() {
            return Ok(Turn {
                settled: 0,
                done: Vec::new(),
                failed: Vec::new(),
                several: false,
            });
        }
        let switched_off: BTreeSet<String> = ask(&self.doors.switched_off, SwitchedOff).await?.into_iter().collect();
        let mut settlements = Vec::with_capacity(events.len());
        let mut failed = Vec::new();
        for event in &events {
            match self.decide(event, &switched_off).await? {
                Some(settlement) => settlements.push(settlement),
                None if out_of_tries(tries, event.seq) => {
                    settlements.push(self.set_aside(event));
                }
                None => failed.push(event.seq),
            }
        }
        let settled = self.settle(&events, settlements, tries, &mut failed).await?;
        for (event, settled) in events.iter().filter_map(|event| {
            settled
                .iter()
                .find(|settled| settled.event == event.seq)
                .map(|settled| (event, settled))
        }) {
            tell(event, settled);
        }
        self.nudge(&settled);
        Ok(Turn {
            settled: settled.len() as u64,
            done: settled.iter().map(|settled| settled.event).collect(),
            several: events.len() > 1,
            failed,
        })
    }

    /// Settles all at once. What the store refuses to settle in company is tried alone, so that one bad event holds up nobody
    /// else. It is set aside only where the store takes *that* at once: then the event is at fault, and not the store.
    async fn settle(
        &self,
        events: &[StoredEvent],
        settlements: Vec<Settlement>,
        tries: &HashMap<EventSeq, u32>,
        failed: &mut Vec<EventSeq>,
    ) -> StoreResult<Vec<Settled>> {
        match ask(&self.doors.settle, SettleEvents(settlements.clone())).await {
            Err(StoreError::Failed(_)) => {}
            answered => return answered,
        }
        let mut settled = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let seq = settlement.event;
            match ask(&self.doors.settle, SettleEvents(vec![settlement])).await {
                Ok(one) => settled.extend(one),
                Err(StoreError::Failed(error)) => {
                    tracing::error!(event = seq.0, error, "an event could not be settled");
                    match events.iter().find(|event| event.seq == seq) {
                        Some(event) if out_of_tries(tries, seq) => {
                            settled.extend(ask(&self.doors.settle, SettleEvents(vec![self.set_aside(event)])).await?);
                        }
                        _ => failed.push(seq),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }

    /// Whoever has to act now is told. A full mailbox is no loss: its owner is at work and looks into the store when done.
    fn nudge(&self, settled: &[Settled]) {
        let starts = |one: &Settled| {
            matches!(one.opened, Some(Opened::Queued(_)))
                || matches!(one.decided, Some(Decided::Counted { .. }))
                || one.lapsed > 0
        };
        if settled.iter().any(starts) {
            let _ = self.doors.start_run.try_send(StartRun);
        }
        if settled.iter().any(|one| one.effects > 0) {
            self.doors.effects_queued.nudge(EffectsQueued);
        }
    }

    /// `None`: a rule panicked. One bad event must not stop those behind it.
    async fn decide(&self, event: &StoredEvent, switched_off: &BTreeSet<String>) -> StoreResult<Option<Settlement>> {
        let here = self.gates_for(event).await?;
        let all = self.gates_elsewhere(event).await?;
        let routed = catch_unwind(AssertUnwindSafe(|| {
            let gates = Gates { here: &here, all: &all };
            route(&event.envelope, &self.rules.routes, gates, &self.rules.bot_name)
        }));
        let Ok(routed) = routed else { return Ok(None) };
        let status = match routed {
            Route::Status => Some(self.live_runs(event).await?),
            Route::Runs => Some(self.latest_runs().await?),
            Route::Reset => {
                self.end_session(event).await?;
                None
            }
            _ => None,
        };
        let settled = catch_unwind(AssertUnwindSafe(|| {
            self.settlement(event, routed, status.as_deref(), switched_off)
        }));
        Ok(settled.ok())
    }

    async fn gates_for(&self, event: &StoredEvent) -> StoreResult<Vec<Approval>> {
        if let ReplyTo::SlackThread { channel, thread, .. } = &event.envelope.reply_to {
            let here = GatesHere {
                channel: channel.clone(),
                thread: thread.clone(),
            };
            return ask(&self.doors.gates_here, here).await;
        }
        // Only what people say can be an answer; everything else is spared the question.
        match (event.envelope.kind, event.envelope.thread()) {
            (EventType::CommentCreated | EventType::Message, Some(subject)) => {
                ask(&self.doors.gates, OpenGates { subject: Some(subject) }).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// All that waits, for a chat message that answers something of another place.
    async fn gates_elsewhere(&self, event: &StoredEvent) -> StoreResult<Vec<Approval>> {
        let envelope = &event.envelope;
        if envelope.kind != EventType::Message {
            return Ok(Vec::new());
        }
        if !matches!(
            chat::read(&envelope.body),
            chat::Order::Approve(_) | chat::Order::Reject(..)
        ) {
            return Ok(Vec::new());
        }
        ask(&self.doors.gates, OpenGates { subject: None }).await
    }

    /// Ends the conversation that this message belongs to. Repeated after a crash, it finds it ended.
    async fn end_session(&self, event: &StoredEvent) -> StoreResult<()> {
        let envelope = &event.envelope;
        let which = match &envelope.reply_to {
            ReplyTo::SlackPerson { channel, user } => SessionsToEnd::OfPerson {
                platform: envelope.source,
                channel: channel.clone(),
                user: user.clone(),
            },
            _ => SessionsToEnd::OfMessage(envelope.id.clone()),
        };
        ask(&self.doors.end_sessions, EndSessions(which)).await.map(|_| ())
    }

    async fn latest_runs(&self) -> StoreResult<Vec<RunSummary>> {
        let filter = RunFilter {
            limit: 10,
            ..RunFilter::default()
        };
        Ok(ask(&self.doors.runs, ListRuns(filter)).await?.0.items)
    }

    async fn live_runs(&self, event: &StoredEvent) -> StoreResult<Vec<RunSummary>> {
        let filter = RunFilter {
            statuses: vec![RunStatus::Queued, RunStatus::Running, RunStatus::Paused],
            // In a repository's thread only its own runs are named: it may be public, and the others' names are not.
            repo: event.envelope.repo.as_ref().map(|repo| repo.as_str().to_owned()),
            limit: 20,
            ..RunFilter::default()
        };
        Ok(ask(&self.doors.runs, ListRuns(filter)).await?.0.items)
    }

    fn settlement(
        &self,
        event: &StoredEvent,
        routed: Route,
        status: Option<&[RunSummary]>,
        switched_off: &BTreeSet<String>,
    ) -> Settlement {
        let mut settlement = self.blank(event, String::new());
        match routed {
            Route::Ignore(reason) => settlement.outcome = format!("ignored: {reason}"),
            Route::Say { text, once } => {
                settlement.outcome = "answered".into();
                settlement.effects = say(event, text, once.as_deref());
            }
            Route::Status => {
                settlement.outcome = "answered: status".into();
                settlement.effects = say(event, status_text(status.unwrap_or_default()), None);
            }
            Route::Runs => {
                settlement.outcome = "answered: runs".into();
                settlement.effects = say(event, runs_text(status.unwrap_or_default()), None);
            }
            Route::Reset => {
                settlement.outcome = "session ended".into();
                settlement.effects = say(event, "Session reset. Starting fresh.".into(), None);
            }
            Route::Answer {
                approval,
                decision,
                response,
                words,
            } => {
                settlement.outcome = format!("answered a gate: {decision}");
                let who = &event.envelope.sender;
                settlement.effects = say(event, format!("{} by @{who}.", capitalized(decision.as_str())), None);
                // One word of refusal per person and question where anything that is said counts as an answer.
                let once = words.then(|| format!("refusal:gate:{approval}:{}", who.to_lowercase()));
                settlement.otherwise = say(event, Decided::PLACE.into(), once.as_deref());
                settlement.decide = Some(Answer {
                    approval,
                    decision,
                    by: responder(&event.envelope),
                    response,
                    saw: None,
                    at: settlement.at,
                });
            }
            Route::Run(target) => self.open(event, target, switched_off, &mut settlement),
        }
        if event.envelope.kind == EventType::PrSynchronize {
            settlement.lapse = event.envelope.thread().map(|subject| Lapse {
                subject,
                reason: "new commits were pushed".into(),
            });
        }
        settlement
    }

    fn open(&self, event: &StoredEvent, target: Target, switched_off: &BTreeSet<String>, settlement: &mut Settlement) {
        let envelope = &event.envelope;
        let asked_by_a_person = matches!(envelope.kind, EventType::CommentCreated | EventType::Message);
        let trigger = match envelope.kind {
            EventType::Message => TriggerType::Chat,
            _ => TriggerType::Webhook,
        };
        let Target {
            workflow,
            context,
            overlap,
            reaction,
            conversation,
        } = target;
        // A run about a repository belongs to that, wherever it was asked for.
        let thread = match context.0.get("repo") {
            Some(_) if envelope.kind == EventType::Message => None,
            _ => envelope.thread(),
        };
        let reply_to = match &envelope.reply_to {
            // What a run says outlives the moment in which one person looks.
            ReplyTo::SlackPerson { channel, .. } => ReplyTo::SlackThread {
                channel: channel.clone(),
                thread: String::new(),
                message: None,
            },
            other => other.clone(),
        };
        let catalog = self.rules.catalog.current();
        let admitted = admit(
            Ask {
                // Derived from the event, so that the same event can never open two.
                id: RunId::new(Uuid::new_v5(
                    &Uuid::NAMESPACE_OID,
                    format!("run:{}", envelope.id).as_bytes(),
                )),
                workflow: workflow.clone(),
                context,
                trigger,
                who: envelope.sender.clone(),
                event: Some((envelope.id.clone(), thread, reply_to)),
                overlap,
                at: settlement.at,
            },
            House {
                managed: &self.rules.managed,
                catalog: &catalog,
                switched_off,
            },
        );
        match admitted {
            Ok(mut run) => {
                settlement.outcome = format!("routed to {workflow}");
                settlement.effects = reaction
                    .map(|content| react(event, content))
                    .into_iter()
                    .flatten()
                    .chain(self.acknowledge(event, &mut run, conversation))
                    .collect();
                if asked_by_a_person {
                    let text = format!(
                        "`{workflow}` is waiting for an answer in this thread already; approve or reject that one first."
                    );
                    settlement.otherwise = say(event, text, None);
                }
                settlement.open = Some(run);
            }
            Err(refusal) => {
                settlement.outcome = format!("not started: {refusal}");
                if asked_by_a_person {
                    settlement.effects = say(event, format!("That did not start: {refusal}."), None);
                }
            }
        }
    }

    /// In a chat: a sign of life for a turn of a conversation, and for any other run a message that later tells its progress.
    fn acknowledge(&self, event: &StoredEvent, run: &mut NewRun, conversation: bool) -> Option<NewEffect> {
        let ReplyTo::SlackThread {
            channel,
            thread,
            message,
        } = run.reply_to.clone()
        else {
            return None;
        };
        if conversation {
            let effect = Effect::SlackTyping {
                channel,
                thread,
                message: message?,
                on: true,
            };
            return Some(new_effect(
                event,
                &format!("event:{}/typing", event.envelope.id),
                effect,
            ));
        }
        let about = match (&run.repo, run.number) {
            (Some(repo), Some(number)) => format!(" for {repo}#{number}"),
            (Some(repo), None) => format!(" for {repo}"),
            (None, _) => String::new(),
        };
        let title = format!("`{}`{about}", run.workflow);
        let link = self.rules.public_url.as_ref().map(|url| {
            let url = url.trim_end_matches('/');
            format!(
                "[Follow it on the dashboard]({url}/admin/?run={}&tab=workflows)",
                run.id
            )
        });
        let key = format!("run:{}/progress", run.id);
        let words = [Some(format!("Starting {title} …")), link.clone()];
        let text = words.into_iter().flatten().collect::<Vec<_>>().join("\n");
        let progress = serde_json::json!({ "message": key, "title": title, "link": link });
        run.context.0.insert("_progress".into(), progress);
        let effect = Effect::SlackMessage {
            channel,
            thread,
            text: replies::in_one(&text),
            said: None,
        };
        let mut effect = new_effect(event, &key, effect);
        effect.run = Some(run.id);
        Some(effect)
    }

    fn set_aside(&self, event: &StoredEvent) -> Settlement {
        tracing::error!(delivery.id = %event.envelope.id, "an event is set aside (quarantined): it could not be settled");
        Settlement {
            quarantined: true,
            ..self.blank(event, format!("set aside: its routing failed {TRIES} times"))
        }
    }

    fn blank(&self, event: &StoredEvent, outcome: String) -> Settlement {
        Settlement {
            event: event.seq,
            outcome,
            quarantined: false,
            open: None,
            decide: None,
            lapse: None,
            effects: Vec::new(),
            otherwise: Vec::new(),
            at: self.clock.now(),
        }
    }

    /// The door of those who bring no event.
    async fn dispatch(&self, order: DispatchWorkflow) -> Result<Vec<Opened>, NotDispatched> {
        let switched_off: BTreeSet<String> = ask(&self.doors.switched_off, SwitchedOff).await?.into_iter().collect();
        let catalog = self.rules.catalog.current();
        let house = House {
            managed: &self.rules.managed,
            catalog: &catalog,
            switched_off: &switched_off,
        };
        let contexts = fan_out(order.context)?;
        let runs = contexts
            .into_iter()
            .enumerate()
            .map(|(index, context)| {
                let id = match order.seed {
                    Some(seed) => Uuid::new_v5(&seed, index.to_string().as_bytes()),
                    None => self.clock.fresh_id(),
                };
                let wish = Ask {
                    id: RunId::new(id),
                    workflow: order.workflow.clone(),
                    context,
                    trigger: order.trigger,
                    who: order.who.clone(),
                    event: None,
                    overlap: Overlap::Join,
                    at: self.clock.now(),
                };
                admit(wish, house)
            })
            .collect::<Result<Vec<NewRun>, _>>()?;
        let opened = ask(&self.doors.open_runs, OpenRuns(runs)).await?;
        for run in &opened {
            tracing::info!(run.id = %run.run(), workflow = %order.workflow, trigger = %order.trigger, who = %order.who, "run asked for");
        }
        let _ = self.doors.start_run.try_send(StartRun);
        Ok(opened)
    }

    /// What would become of an event. Reads what deciding reads, and writes nothing.
    async fn rehearse(&self, envelope: EventEnvelope) -> StoreResult<Rehearsed> {
        let event = StoredEvent {
            seq: EventSeq(0),
            envelope,
            state: EventState::Recorded,
            outcome: None,
            run: None,
            settled_at: None,
            replay_of: None,
        };
        let switched_off: BTreeSet<String> = ask(&self.doors.switched_off, SwitchedOff).await?.into_iter().collect();
        let here = self.gates_for(&event).await?;
        let all = self.gates_elsewhere(&event).await?;
        let gates = Gates { here: &here, all: &all };
        let routing = router::rules(&event.envelope, &self.rules.routes, gates, &self.rules.bot_name);
        let routed = route(&event.envelope, &self.rules.routes, gates, &self.rules.bot_name);
        let status = match routed {
            Route::Status => Some(self.live_runs(&event).await?),
            Route::Runs => Some(self.latest_runs().await?),
            _ => None,
        };
        let catalog = self.rules.catalog.current();
        let house = House {
            managed: &self.rules.managed,
            catalog: &catalog,
            switched_off: &switched_off,
        };
        let asked = match &routed {
            Route::Run(target) => Some((target.workflow.clone(), target.overlap, target.context.clone())),
            _ => None,
        };
        let settlement = self.settlement(&event, routed, status.as_deref(), &switched_off);
        let mut admission = Vec::new();
        let mut live_run = None;
        if let Some((workflow, overlap, context)) = &asked {
            admission = admission::rules(workflow, context, house);
            if let Some(run) = &settlement.open {
                let of = LiveRunOf {
                    workflow: run.workflow.clone(),
                    subject: run.subject.clone(),
                };
                let live = ask(&self.doors.live_run_of, of).await?;
                live_run = live.map(|(id, _)| id);
                let said = match (live, overlap) {
                    (None, _) => "none of this workflow is live here".to_owned(),
                    (Some((id, status)), Overlap::Join) => format!("{id} is {status}: it is joined"),
                    (Some((id, status)), _) => {
                        format!("{id} is {status}: the new one waits behind it, or joins one that does")
                    }
                };
                admission.push(RuleCheck::on("live run of the same subject", true, said));
            }
        }
        Ok(Rehearsed {
            routing,
            admission,
            outcome: settlement.outcome,
            workflow: asked.map(|(workflow, ..)| workflow),
            starts: settlement.open.is_some(),
            live_run,
            says: settlement.effects.into_iter().map(|said| said.effect).collect(),
        })
    }

    /// The door of those who want a run once more. It passes admission like any other, with the definition it had.
    async fn retry(&self, order: RetryRun) -> Result<Opened, NotRetried> {
        let record = ask(&self.doors.load, LoadRun(order.run))
            .await?
            .ok_or(NotRetried::Unknown)?;
        let workflow =
            Workflow::from_bundle(&record.definition).map_err(|error| NotRetried::BadDefinition(error.to_string()))?;
        let over = retry::take_over(&record, &workflow, order.from.as_deref())?;
        let switched_off: BTreeSet<String> = ask(&self.doors.switched_off, SwitchedOff).await?.into_iter().collect();
        let catalog = self.rules.catalog.current();
        let id = match order.seed {
            Some(seed) => Uuid::new_v5(&seed, RETRY),
            None => self.clock.fresh_id(),
        };
        let admitted = admit(
            Ask {
                id: RunId::new(id),
                workflow: record.summary.workflow.to_string(),
                context: over.context,
                trigger: order.trigger,
                who: order.who.clone(),
                event: None,
                overlap: Overlap::Queue,
                at: self.clock.now(),
            },
            House {
                managed: &self.rules.managed,
                catalog: &catalog,
                switched_off: &switched_off,
            },
        )?;
        let run = NewRun {
            definition: workflow.hash,
            subject: record.summary.subject,
            reply_to: record.reply_to,
            ..admitted
        };
        let order_for_store = OpenRetry {
            run,
            done: over.done,
            scratch: over.scratch,
        };
        let opened = ask(&self.doors.open_retry, order_for_store).await?;
        tracing::info!(run.id = %opened.run(), of = %order.run, who = %order.who, "a run was asked for once more");
        let _ = self.doors.start_run.try_send(StartRun);
        Ok(opened)
    }
}

/// Who speaks in an event. The association is GitHub's own word, the id is that of a chat; each door has one of them.
fn responder(envelope: &EventEnvelope) -> Responder {
    Responder {
        association: envelope.author_association.clone(),
        slack_id: envelope.sender_id.clone().filter(|_| envelope.source == Source::Slack),
        ..Responder::named(
            envelope.sender.clone(),
            match envelope.source {
                Source::Github => Via::Github,
                Source::Slack => Via::Slack,
            },
        )
    }
}

/// The seed of the one run that a retry opens.
const RETRY: &[u8] = b"retry";

fn out_of_tries(tries: &HashMap<EventSeq, u32>, event: EventSeq) -> bool {
    tries.get(&event).copied().unwrap_or(0) + 1 >= TRIES
}

/// One context per repository where `repos` lists some; everything else is shared.
fn fan_out(mut context: RunContext) -> Result<Vec<RunContext>, NotDispatched> {
    let Some(repos) = context.0.remove("repos") else {
        return Ok(vec![context]);
    };
    let bad = || NotDispatched::BadContext("context.repos must be a list of texts, owner/name".into());
    let mut seen = HashSet::new();
    let mut contexts = Vec::new();
    for repo in repos.as_array().ok_or_else(bad)? {
        let name = repo.as_str().ok_or_else(bad)?;
        if seen.insert(name.to_ascii_lowercase()) {
            let mut one = context.clone();
            one.0.insert("repo".into(), name.into());
            contexts.push(one);
        }
    }
    if contexts.is_empty() {
        return Err(NotDispatched::BadContext(
            "context.repos is empty; name at least one repository".into(),
        ));
    }
    Ok(contexts)
}

fn tell(event: &StoredEvent, settled: &Settled) {
    if !settled.fresh {
        return;
    }
    let envelope = &event.envelope;
    let repo = envelope
        .repo
        .as_ref()
        .map(crate::domain::RepoName::as_str)
        .unwrap_or_default();
    let run = settled
        .opened
        .map(|opened| opened.run().to_string())
        .unwrap_or_default();
    tracing::info!(delivery.id = %envelope.id, r#type = %envelope.kind, repo, run.id = run, "event settled");
}

/// A reply where the event came from; nothing where nobody listens.
fn say(event: &StoredEvent, text: String, once: Option<&str>) -> Vec<NewEffect> {
    let key = once.map_or_else(|| format!("event:{}/reply", event.envelope.id), str::to_owned);
    let ReplyTo::IssueComment { repo, number, .. } = &event.envelope.reply_to else {
        let said = replies::say(&event.envelope.reply_to, &text, None);
        let numbered = said.into_iter();
        return numbered
            .map(|(piece, effect)| new_effect(event, &format!("{key}{piece}"), effect))
            .collect();
    };
    let effect = Effect::GithubComment {
        repo: repo.clone(),
        number: *number,
        body: text,
    };
    vec![new_effect(event, &key, effect)]
}

fn react(event: &StoredEvent, content: Reaction) -> Option<NewEffect> {
    let ReplyTo::IssueComment {
        repo,
        number,
        comment_id,
    } = &event.envelope.reply_to
    else {
        return None;
    };
    let effect = Effect::GithubReaction {
        repo: repo.clone(),
        number: *number,
        comment_id: *comment_id,
        content,
    };
    Some(new_effect(
        event,
        &format!("event:{}/reaction", event.envelope.id),
        effect,
    ))
}

fn new_effect(event: &StoredEvent, key: &str, effect: Effect) -> NewEffect {
    let key: EffectKey = key.parse().unwrap_or_else(|_| {
        // Only a very long name can break the rule for keys; its digest is as good a key.
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes());
        format!("event:{digest}")
            .parse()
            .expect("a digest is short and printable")
    });
    NewEffect {
        key,
        effect,
        run: None,
        event: Some(event.envelope.id.clone()),
    }
}

fn status_text(runs: &[RunSummary]) -> String {
    if runs.is_empty() {
        return "No tasks currently running.".into();
    }
    listed("At work here:", runs)
}

fn runs_text(runs: &[RunSummary]) -> String {
    if runs.is_empty() {
        return "There are no runs yet.".into();
    }
    listed("The latest runs:", runs)
}

fn listed(head: &str, runs: &[RunSummary]) -> String {
    let mut text = format!("{head}\n\n");
    for run in runs {
        let phase = run
            .current_phase
            .as_ref()
            .map(|phase| format!(", in phase `{phase}`"))
            .unwrap_or_default();
        text.push_str(&format!(
            "- `{}` on {}: {}{phase}\n",
            run.workflow, run.subject, run.status
        ));
    }
    text
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
        .unwrap_or_default()
}

/// Asks through a door; a closed mailbox is a closed store.
async fn ask<M, T>(door: &Recipient<M>, message: M) -> StoreResult<T>
where
    M: Message<Result = StoreResult<T>> + Send + 'static,
    T: Send + 'static,
{
    door.send(message).await.map_err(|_| StoreError::Closed)?
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.work(ctx);
        self.sweep(ctx);
    }
}

impl Handler<EventArrived> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: EventArrived, ctx: &mut Self::Context) {
        self.work(ctx);
    }
}

impl Handler<DispatchWorkflow> for Dispatcher {
    type Result = ResponseFuture<Result<Vec<Opened>, NotDispatched>>;

    fn handle(&mut self, order: DispatchWorkflow, _: &mut Self::Context) -> Self::Result {
        if self.finishing {
            return Box::pin(std::future::ready(Err(NotDispatched::Stopping)));
        }
        let inner = Rc::clone(&self.inner);
        Box::pin(async move { inner.dispatch(order).await })
    }
}

impl Handler<RetryRun> for Dispatcher {
    type Result = ResponseFuture<Result<Opened, NotRetried>>;

    fn handle(&mut self, order: RetryRun, _: &mut Self::Context) -> Self::Result {
        if self.finishing {
            return Box::pin(std::future::ready(Err(NotDispatched::Stopping.into())));
        }
        let inner = Rc::clone(&self.inner);
        Box::pin(async move { inner.retry(order).await })
    }
}

impl Handler<TryRoute> for Dispatcher {
    type Result = ResponseFuture<Result<Rehearsed, StoreError>>;

    fn handle(&mut self, order: TryRoute, _: &mut Self::Context) -> Self::Result {
        let inner = Rc::clone(&self.inner);
        Box::pin(async move { inner.rehearse(*order.envelope).await })
    }
}

impl Handler<Ping> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<AwaitQuiet> for Dispatcher {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: AwaitQuiet, _: &mut Self::Context) -> Self::Result {
        self.when_quiet()
    }
}

impl Handler<Finish> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.finishing = true;
        let quiet = self.when_quiet();
        Box::pin(async move {
            quiet.await;
        })
    }
}
