//! What the store is asked and told. Knows the domain only; no SQL and no database crate.

use std::collections::BTreeMap;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::{
    Approval, ApprovalFilter, ApprovalId, AttemptOutcome, AuditFilter, AuditLine, ChatMessage, ChatPlace, ChatSession,
    ChatThread, CronFiring, CronOverride, CronState, Decided, Decision, DefinitionHash, DeliveryDetail, DeliveryFilter,
    DeliveryId, DeliveryRow, DeliverySettled, DueDelivery, EffectKey, EffectSeq, EventFilter, EventSeq, Execution,
    FiringSeq, FiringState, HourCount, IssuedToken, LiveSession, Load, MessageRecorded, NewEffect, NewEvent, NewFiring,
    NewRun, NewToken, Opened, Page, PhaseRecord, Prunable, Pruned, RawBody, Recorded, Redelivered, Replayed, Responder,
    RunFilter, RunId, RunRecord, RunStatus, RunSummary, SessionId, SessionsToEnd, Source, Space, Step, StoredEffect,
    StoredEvent, Subject, TargetSettled, TokenFilter, Totals, WebhookHealth, WebhookMessage, WholeFiring, WorkflowName,
};

/// Why the store did not do it. In each case nothing of the order was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The writer's queue is full; try again in a moment.
    #[error("the store is busy; try again in a moment")]
    Busy,
    /// The disk is full, or the quota is used up.
    #[error("the disk is full: make room on the volume of the state folder")]
    Full,
    /// The writer has stopped; the process is going down.
    #[error("the store is closed")]
    Closed,
    /// Anything else the database said.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// What the store answers.
pub type StoreResult<T> = Result<T, StoreError>;

/// Make an event durable. Answered after the commit that holds it.
///
/// Sender: connectors, through their sink. Handler: the store. Answer: fresh with its position, or seen before.
#[derive(Debug, Message)]
#[rtype(result = "StoreResult<Recorded>")]
pub struct RecordEvent(pub NewEvent);

/// Make a chat message durable, in one transaction: the event, the conversation it belongs to, which is opened or goes on,
/// and its line of the transcript (without our name in it).
///
/// Sender: the desk of a chat connector. Handler: the store. Answer: fresh with its position, seen before, or the
/// conversation that goes on at this place in truth, for another try with that one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<MessageRecorded>")]
pub struct RecordMessage {
    /// The event; its raw payload names `session`.
    pub event: NewEvent,
    /// Where, and who.
    pub place: ChatPlace,
    /// The conversation that goes on there, or the id that a new one will have.
    pub session: SessionId,
    /// A conversation in which nothing was said since this instant is over.
    pub live_since: DateTime<Utc>,
}

/// Read the conversations that go on in a thread.
///
/// Sender: the desk of a chat connector. Handler: the store. Answer: at most 100 of them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<LiveSession>>")]
pub struct SessionsIn {
    /// The platform.
    pub platform: Source,
    /// Channel id.
    pub channel: String,
    /// Id of the thread.
    pub thread: String,
    /// One in which nothing was said since this instant is over.
    pub live_since: DateTime<Utc>,
}

/// Read the threads in which a person talked to us last, to look for what was said there while nobody listened.
///
/// Sender: a chat connector, after a gap. Handler: the store. Answer: at most `limit` threads, the latest first.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<ChatThread>>")]
pub struct LatestThreads {
    /// The platform.
    pub platform: Source,
    /// Only those in which something was said since this instant.
    pub since: DateTime<Utc>,
    /// At most so many.
    pub limit: usize,
}

/// End conversations: the next message begins a new one.
///
/// Sender: the dispatcher, for the `reset` command. Handler: the store. Answer: how many were going on.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<usize>")]
pub struct EndSessions(pub SessionsToEnd);

/// List conversations, newest first, and count those that go on.
///
/// Sender: API, dashboard. Handler: the store. Answer: a page, and how many go on in all.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<(Page<ChatSession>, u64)>")]
pub struct ListSessions {
    /// Only those that go on.
    pub live_only: bool,
    /// Only with this person, by the id at the platform.
    pub user: Option<String>,
    /// Only in this channel, by its id.
    pub channel: Option<String>,
    /// One in which nothing was said since this instant is over.
    pub live_since: DateTime<Utc>,
    /// Only before this position.
    pub before: Option<i64>,
    /// At most so many rows.
    pub limit: usize,
}

/// Read one conversation.
///
/// Sender: API, dashboard. Handler: the store. Answer: the conversation, if there is one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<ChatSession>>")]
pub struct ReadSession {
    /// Which.
    pub id: SessionId,
    /// One in which nothing was said since this instant is over.
    pub live_since: DateTime<Utc>,
}

/// Read the lines of a conversation, oldest first.
///
/// Sender: API, dashboard. Handler: the store. Answer: at most `limit` lines.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<ChatMessage>>")]
pub struct ReadLines {
    /// Which conversation.
    pub id: SessionId,
    /// Only behind this place.
    pub after: i64,
    /// Only said after this instant.
    pub since: Option<DateTime<Utc>>,
    /// At most so many.
    pub limit: usize,
}

/// Read events that were recorded and not settled, oldest first.
///
/// Sender: the dispatcher. Handler: the store. Answer: at most `limit` events, without raw payloads.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<StoredEvent>>")]
pub struct ReadUnsettled {
    /// Only after this position.
    pub after: EventSeq,
    /// At most so many.
    pub limit: usize,
}

/// Settle events: for each, in one transaction, the mark, the run it opens, the question it answers and what it says.
/// An event that is settled already is left alone, so that a repeated order changes nothing.
///
/// Sender: the dispatcher. Handler: the store. Answer: what became of each, in the order given.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Settled>>")]
pub struct SettleEvents(pub Vec<Settlement>);

/// The decision about one event.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Which event.
    pub event: EventSeq,
    /// In words, for people.
    pub outcome: String,
    /// Set aside instead of settled.
    pub quarantined: bool,
    /// The run it asks for.
    pub open: Option<NewRun>,
    /// The question it answers.
    pub decide: Option<Answer>,
    /// What was pushed to: questions whose answer holds for the commit before lapse, and are asked anew.
    pub lapse: Option<Lapse>,
    /// What is said.
    pub effects: Vec<NewEffect>,
    /// What is said instead of `effects` when the answer did not settle its question ([`Decided::PLACE`] stands for why), or
    /// when a paused run of the same subject was in the way.
    pub otherwise: Vec<NewEffect>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What became of one settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Which event.
    pub event: EventSeq,
    /// False: it had been settled before, nothing was done.
    pub fresh: bool,
    /// The run that was opened or joined.
    pub opened: Option<Opened>,
    /// What became of the answer.
    pub decided: Option<Decided>,
    /// How many questions lapsed; their runs are queued again, to ask anew.
    pub lapsed: usize,
    /// How many effects were put into the outbox.
    pub effects: usize,
}

/// New commits were pushed to a pull request.
#[derive(Debug, Clone)]
pub struct Lapse {
    /// Which.
    pub subject: Subject,
    /// In words, for people.
    pub reason: String,
}

/// A person's answer to a question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which question.
    pub approval: ApprovalId,
    /// Yes or no.
    pub decision: Decision,
    /// Who answers.
    pub by: Responder,
    /// The reason or the answer in words.
    pub response: Option<String>,
    /// SHA-256 of what they saw, hex, if they say so: an answer to something else does not count.
    pub saw: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Answer a question: compare-and-set, by the rules of the question. Approved, its run goes back into the queue, and an
/// answer in words has become the output of the phase that asked; rejected, its run has failed
/// (`Rejected by <who>: <reason, or "no reason given">`).
///
/// Sender: API, dashboard, CLI, MCP, chat. Handler: the store. Answer: whether this answer counts.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Decided>")]
pub struct Decide(pub Answer);

/// Read one event.
///
/// Sender: API, dashboard, MCP. Handler: the store. Answer: the event, if there is one of this id, with its raw payload as long as that is kept.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<(StoredEvent, Option<RawBody>)>>")]
pub struct ReadEvent {
    /// The delivery id, as text: what was never accepted is simply not found.
    pub id: String,
}

/// Take an event up again. Under its own id: compare-and-set, one that was routed stays as it is. As a new one: a new event
/// with the same content, which names the old one; whoever asked nudges the dispatcher.
///
/// Sender: API, dashboard. Handler: the store. Answer: what became of it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Replayed>")]
pub struct ReplayEvent {
    /// The event that there is, by its delivery id as text.
    pub id: String,
    /// The id of the new event; absent: under its own.
    pub as_new: Option<DeliveryId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// List events, newest first. A page may be shorter than asked for where few events match, and be followed by others all
/// the same: no page looks at more events than can be looked at quickly.
///
/// Sender: API, dashboard, MCP. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Page<StoredEvent>>")]
pub struct ListEvents(pub EventFilter);

/// Keep the texts of workflow definitions, so that a run can go on with the version that it started with.
///
/// Sender: boot and the librarian. Handler: the store. Answer: done; texts that are there already stay.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct KeepDefinitions(pub Vec<(DefinitionHash, WorkflowName, String)>);

/// Open runs, all or none, each by the rule of its overlap.
///
/// Sender: the dispatcher. Handler: the store. Answer: what became of each, in the order given.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Opened>>")]
pub struct OpenRuns(pub Vec<NewRun>);

/// Open a run that goes on where an earlier one came to: what that one has done is done in this one, too.
///
/// Sender: the dispatcher. Handler: the store. Answer: what became of it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Opened>")]
pub struct OpenRetry {
    /// The run.
    pub run: NewRun,
    /// Phase executions of the earlier run that count as this one's, oldest first.
    pub done: Vec<PhaseRecord>,
    /// What phases left for one another.
    pub scratch: BTreeMap<String, Value>,
}

/// Take runs from the queue, oldest first, and mark them running. A run whose workflow and subject have a running or
/// paused run is passed over. One that a chat message asked for brings what was said before, as `history` in its context.
///
/// Sender: the run supervisor. Handler: the store. Answer: at most `free` runs.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<RunRecord>>")]
pub struct TakeQueuedRuns {
    /// How many there is room for.
    pub free: usize,
    /// When.
    pub at: DateTime<Utc>,
}

/// At boot: put runs that a crash left `running` back into the queue with their restart count raised, and fail those
/// that were taken up `most` times already.
///
/// Sender: the run supervisor. Handler: the store. Answer: how many were put back, and how many were given up.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<(usize, usize)>")]
pub struct RecoverRuns {
    /// Give up after so many restarts.
    pub most: u32,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read one run with its phases.
///
/// Sender: API, dashboard, MCP, the dispatcher, the run supervisor, the gate keeper. Handler: the store. Answer: the run, if there is one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<RunRecord>>")]
pub struct LoadRun(pub RunId);

/// List runs, newest first.
///
/// Sender: API, dashboard, MCP, the `status` command, the run supervisor, the sweeper. Handler: the store. Answer: a page, and how many match in all.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<(Page<RunSummary>, u64)>")]
pub struct ListRuns(pub RunFilter);

/// Read the live run of a workflow and a subject that a new one would join or wait behind.
///
/// Sender: the dispatcher, for a rehearsal. Handler: the store. Answer: the oldest live one, if there is one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<(RunId, RunStatus)>>")]
pub struct LiveRunOf {
    /// The workflow.
    pub workflow: WorkflowName,
    /// What it is about.
    pub subject: Subject,
}

/// Read the names of all workflows that ever ran.
///
/// Sender: API, dashboard. Handler: the store. Answer: the names, sorted.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<String>>")]
pub struct RunWorkflows;

/// List the phase executions of all runs, newest first.
///
/// Sender: API, dashboard. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Page<Execution>>")]
pub struct ListExecutions {
    /// Only before this position.
    pub before: Option<i64>,
    /// Skip so many rows first.
    pub offset: usize,
    /// At most so many rows.
    pub limit: usize,
}

/// Write one step of a run down, with what is said about it, in one transaction.
/// A run that is in a final state takes no more steps.
///
/// Sender: the runner. Handler: the store. Answer: whether the step was taken, and how many effects were new.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<StepTaken>")]
pub struct RecordStep {
    /// Which run.
    pub run: RunId,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What is said.
    pub effects: Vec<NewEffect>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepTaken {
    /// On disk, with so many new effects.
    Taken {
        /// How many of the effects were new.
        effects: usize,
    },
    /// The run had come to its end before; nothing was written.
    RunIsOver(RunStatus),
}

/// End a queued, running or paused run from outside.
///
/// Sender: the run supervisor, for a cancel. Handler: the store. Answer: the status that it had; nothing if there is no such run.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<RunStatus>>")]
pub struct EndRun {
    /// Which.
    pub run: RunId,
    /// A final status.
    pub status: RunStatus,
    /// Why.
    pub error: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read runs of a chat that were ended from outside and whose thread has not been told, oldest first.
///
/// Sender: the run supervisor. Handler: the store. Answer: the runs.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<RunRecord>>")]
pub struct UntoldEnds {
    /// At most so many.
    pub most: usize,
}

/// Queue what the threads of ended runs are told, and remember that they were.
///
/// Sender: the run supervisor. Handler: the store. Answer: done; what was said already is not said again.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct TellEnds {
    /// Which runs, with what is said of each.
    pub ends: Vec<(RunId, Vec<NewEffect>)>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read the questions that wait for an answer, newest first.
///
/// Sender: the dispatcher, for one subject; the dashboard, for all. Handler: the store. Answer: the open questions.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Approval>>")]
pub struct OpenGates {
    /// Only about this subject.
    pub subject: Option<Subject>,
}

/// Read the questions that wait for an answer and whose run answers in this chat thread, newest first.
///
/// Sender: the dispatcher, for chat messages. Handler: the store. Answer: the open questions.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Approval>>")]
pub struct GatesHere {
    /// Channel id.
    pub channel: String,
    /// Id of the thread.
    pub thread: String,
}

/// List questions, newest first, those that were answered too.
///
/// Sender: API, dashboard, MCP. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Page<Approval>>")]
pub struct ListApprovals(pub ApprovalFilter);

/// Read one question.
///
/// Sender: API, dashboard. Handler: the store. Answer: the question, if there is one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<Approval>>")]
pub struct ReadApproval(pub ApprovalId);

/// Read which questions the clock has to look after.
///
/// Sender: the gate keeper. Handler: the store. Answer: those whose time is over, those to be escalated, and when the next is due.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<GatesDue>")]
pub struct DueGates {
    /// Due at or before this instant.
    pub now: DateTime<Utc>,
    /// At most so many of each.
    pub limit: usize,
}

/// What the clock has to look after.
#[derive(Debug, Clone)]
pub struct GatesDue {
    /// Questions whose time to answer is over, earliest first.
    pub expired: Vec<Approval>,
    /// Questions that nobody has answered for too long, earliest first.
    pub escalate: Vec<Approval>,
    /// When the earliest of the rest is due.
    pub next: Option<DateTime<Utc>>,
}

/// Answer a question whose time is over by its default, and say so, in one transaction.
///
/// Sender: the gate keeper. Handler: the store. Answer: whether this answer counts; what is said is in the outbox only if it does.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Decided>")]
pub struct CloseGate {
    /// The default.
    pub answer: Answer,
    /// What is said.
    pub effects: Vec<NewEffect>,
}

/// Say, once, that nobody has answered a question.
///
/// Sender: the gate keeper. Handler: the store. Answer: whether it still waited and nobody had been told before.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<bool>")]
pub struct EscalateGate {
    /// Which question.
    pub approval: ApprovalId,
    /// What is said.
    pub effects: Vec<NewEffect>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read the workflows that are switched off.
///
/// Sender: the dispatcher, API, dashboard. Handler: the store. Answer: their names.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<String>>")]
pub struct SwitchedOff;

/// Switch a workflow on or off. Whoever is switched off starts no run, whoever asks; runs that are there go on.
///
/// Sender: API, dashboard. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct SwitchWorkflow {
    /// Which.
    pub workflow: WorkflowName,
    /// On, or off.
    pub enabled: bool,
    /// Who wants it so.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read effects whose time has come, in the order of the outbox, and those a crash left in flight.
///
/// Sender: the repliers, the delivery retrier. Handler: the store. Answer: at most `limit` effects whose kind starts with `kinds`, and when the next one is due.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<DueEffects>")]
pub struct ReadDueEffects {
    /// Prefix of the kind, such as `github.`.
    pub kinds: &'static str,
    /// Lanes that are at work already: skip them.
    pub busy_lanes: Vec<String>,
    /// [Paces](crate::domain::Effect::pace) that take no more now: skip all of their lanes.
    pub busy_paces: Vec<String>,
    /// Due at or before this instant.
    pub now: DateTime<Utc>,
    /// At most so many.
    pub limit: usize,
}

/// What is due.
#[derive(Debug, Clone)]
pub struct DueEffects {
    /// The effects.
    pub due: Vec<StoredEffect>,
    /// When the earliest of the rest is due.
    pub next: Option<DateTime<Utc>>,
}

/// Write an attempt down before it is made.
///
/// Sender: the repliers, the delivery retrier. Handler: the store. Answer: the number of the attempt, from 1; nothing if the effect is final already.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<u32>>")]
pub struct ClaimEffect {
    /// Which.
    pub effect: EffectSeq,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read what came of an effect.
///
/// Sender: the repliers, for an act that builds on another. Handler: the store. Answer: the far side's word; nothing while
/// it is not done, or if there is no such effect.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<String>>")]
pub struct ResultOf(pub EffectKey);

/// Write down what became of an attempt.
///
/// Sender: the repliers, the delivery retrier. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct SettleEffect {
    /// Which.
    pub effect: EffectSeq,
    /// Which attempt.
    pub attempt: u32,
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read the effects of one run or one event, oldest first.
///
/// Sender: API, dashboard. Handler: the store. Answer: at most 1,000 effects.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<StoredEffect>>")]
pub struct EffectsOf {
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this event (delivery id).
    pub event: Option<String>,
}

/// Put deliveries (and other effects) into the outbox, all or none, each once by its key. A webhook that is switched off gets none.
///
/// Sender: the delivery retrier. Handler: the store. Answer: for each effect its place; nothing where its key was there or its webhook is
/// switched off.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Option<EffectSeq>>>")]
pub struct QueueDeliveries {
    /// What their bodies share. One of this id that is there already stays as it is.
    pub message: Option<WebhookMessage>,
    /// The effects.
    pub effects: Vec<NewEffect>,
    /// Set: the first attempt at each is written down with it, and nobody else is given it before this instant.
    pub claimed_until: Option<DateTime<Utc>>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read deliveries whose time has come, those that waited longest first, a few for each endpoint.
///
/// Sender: the delivery retrier. Handler: the store. Answer: at most `limit` deliveries, and when the next one is due.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<DueDeliveries>")]
pub struct ReadDueDeliveries {
    /// Endpoints that have no free place: skip them.
    pub full: Vec<String>,
    /// At most so many of one endpoint.
    pub per_endpoint: usize,
    /// Due at or before this instant.
    pub now: DateTime<Utc>,
    /// At most so many in all.
    pub limit: usize,
}

/// What is due.
#[derive(Debug, Clone)]
pub struct DueDeliveries {
    /// The deliveries.
    pub due: Vec<DueDelivery>,
    /// When the earliest of the rest is due; nothing when there is none.
    pub next: Option<DateTime<Utc>>,
}

/// Write an attempt at a delivery down before it is made.
///
/// Sender: the delivery retrier. Handler: the store. Answer: the number of the attempt, from 1; nothing if the delivery is final already.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<u32>>")]
pub struct ClaimDelivery {
    /// Which.
    pub effect: EffectSeq,
    /// When.
    pub at: DateTime<Utc>,
    /// Nobody else is given it before this instant.
    pub until: DateTime<Utc>,
}

/// Write down what became of attempts, with what it means for the health of their endpoints. An endpoint with nothing but
/// failures for `give_up_after` is switched off, and the notice that came with the failure is queued, in the same transaction.
///
/// Sender: the delivery retrier. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct SettleDeliveries {
    /// The attempts.
    pub settled: Vec<DeliverySettled>,
    /// How long an endpoint may fail.
    pub give_up_after: chrono::TimeDelta,
    /// When.
    pub at: DateTime<Utc>,
}

/// At boot: make due at once what a stop left in the middle of an attempt or between quick attempts.
///
/// Sender: the delivery retrier. Handler: the store. Answer: how many there were.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<usize>")]
pub struct RecoverDeliveries {
    /// When.
    pub at: DateTime<Utc>,
}

/// List deliveries, newest first.
///
/// Sender: API, dashboard, CLI, MCP. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Page<DeliveryRow>>")]
pub struct ListDeliveries(pub DeliveryFilter);

/// Read one delivery with every attempt.
///
/// Sender: API, dashboard, CLI, MCP. Handler: the store. Answer: the delivery, if there is one of this id.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<DeliveryDetail>>")]
pub struct ReadDelivery {
    /// Its id.
    pub id: String,
}

/// Deliver again, under the same id: a new series of attempts that begins now. Whoever asked nudges the retrier.
///
/// Sender: API, dashboard, CLI. Handler: the store. Answer: see [`Redelivered`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Redelivered>")]
pub struct Redeliver {
    /// Its id.
    pub id: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read how webhooks do. One that was never tried and never switched has no row: it is on.
///
/// Sender: API, dashboard, CLI. Handler: the store. Answer: all rows.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<WebhookHealth>>")]
pub struct WebhookStats;

/// Switch a webhook on (which forgets its failures) or off, or leave it and note what a probe found.
///
/// Sender: the delivery retrier. Handler: the store. Answer: whether it is on now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<bool>")]
pub struct SetWebhook {
    /// Which.
    pub webhook: String,
    /// On or off; absent: as it is.
    pub enabled: Option<bool>,
    /// Why it is off, or why the probe failed.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Claim an idempotency key, or learn what was answered under it.
///
/// Sender: API routes, before they act. Handler: the store. Answer: see [`Claimed`].
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Claimed>")]
pub struct ClaimKey {
    /// Key, caller and path, joined.
    pub key: String,
    /// SHA-256 of the request body, hex.
    pub request: String,
    /// When. Keys older than 24 hours are forgotten.
    pub at: DateTime<Utc>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody used the key before, or nobody answered under it: act.
    Act {
        /// When it was claimed: the same for a repetition, and another one once the key is forgotten.
        since: DateTime<Utc>,
    },
    /// This was answered before: answer it again.
    Answered {
        /// HTTP status.
        status: u16,
        /// JSON text.
        body: String,
    },
    /// The key was used with another request body.
    OtherRequest,
}

/// Keep what was answered under an idempotency key.
///
/// Sender: API routes, after they acted. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct KeepAnswer {
    /// As claimed.
    pub key: String,
    /// HTTP status.
    pub status: u16,
    /// JSON text.
    pub body: String,
}

/// Write a line of the audit log.
///
/// Sender: routes that change something or refuse to. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct RecordAudit {
    /// Token label, user, or `-` where nobody was recognised.
    pub who: String,
    /// Network address.
    pub from: String,
    /// `login`, `run`, …
    pub action: String,
    /// Of what: a run id, a workflow.
    pub target: String,
    /// `ok`, or why it was refused.
    pub result: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// List the audit log, newest first.
///
/// Sender: API, dashboard. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Page<AuditLine>>")]
pub struct ListAudit(pub AuditFilter);

/// Keep a token that is handed out, so that it can be named and taken back. Never the token itself.
///
/// Sender: sign-in, and the route that makes tokens. Handler: the store. Answer: done; one of this id that is there stays as it is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct KeepToken(pub NewToken);

/// List the tokens that were handed out, the latest first.
///
/// Sender: API, dashboard, CLI. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Page<IssuedToken>>")]
pub struct ListTokens(pub TokenFilter);

/// Take a token back.
///
/// Sender: API, dashboard, CLI, and whoever signs out. Handler: the store. Answer: the token, if there is one of this id.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<IssuedToken>>")]
pub struct RevokeToken {
    /// Its id.
    pub id: String,
    /// Who wants it so.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Note that a token was seen. Coarse: at most once in ten minutes for each.
///
/// Sender: the guard of the API. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct NoteTokenUse {
    /// Its id.
    pub id: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read which tokens were taken back before they ran out.
///
/// Sender: boot. Handler: the store. Answer: their ids, each with the instant when it runs out.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<(String, DateTime<Utc>)>>")]
pub struct RevokedTokens {
    /// Those that have run out at this instant are left out.
    pub at: DateTime<Utc>,
}

/// Read what happened, by the hour.
///
/// Sender: API, dashboard. Handler: the store. Answer: the counts that are not zero, oldest first.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<HourCount>>")]
pub struct ReadHours {
    /// From the hour of this instant on.
    pub since: DateTime<Utc>,
}

/// Read how much there is.
///
/// Sender: API, dashboard, `/metrics`. Handler: the store. Answer: the totals.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Totals>")]
pub struct ReadTotals {
    /// A conversation in which nothing was said since this instant is over.
    pub live_since: DateTime<Utc>,
}

/// Read what an operator watches.
///
/// Sender: `/metrics`. Handler: the store. Answer: what is late, what ever happened, and how much room is left.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Load>")]
pub struct ReadLoad;

/// Ask whether the store answers.
///
/// Sender: `/ready`. Handler: the store. Answer: counts for people and tests.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<StoreCounts>")]
pub struct CountStore;

/// How much the store holds, and how it writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreCounts {
    /// Events recorded and not settled.
    pub unsettled_events: u64,
    /// Runs queued or running.
    pub live_runs: u64,
    /// Effects pending or in flight.
    pub open_effects: u64,
    /// Orders written since the process started.
    pub written: u64,
    /// Commits since the process started; `written / commits` is the size of a group.
    pub commits: u64,
}

/// Read where every schedule stands.
///
/// Sender: the cron ticker. Handler: the store. Answer: what is known, by name; a schedule that never fired is not among them.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<BTreeMap<String, CronState>>")]
pub struct CronStates;

/// Say something over a schedule's file, or take it back.
///
/// Sender: the cron ticker, once it has checked it. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct OverrideCron {
    /// The schedule.
    pub cron: String,
    /// What is said; absent: the file counts again.
    pub over: Option<CronOverride>,
}

/// Write firings of one schedule down, with where it stands then. Nothing is dispatched before.
///
/// Sender: the cron ticker. Handler: the store. Answer: the place of each; nothing for one whose instant is in the ledger already.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Option<FiringSeq>>>")]
pub struct RecordFirings {
    /// The schedule.
    pub cron: String,
    /// Its firings, oldest first.
    pub firings: Vec<NewFiring>,
    /// Where it stands then. What is said over its file is not touched, and without a cursor that neither.
    pub state: CronState,
    /// What somebody is told.
    pub effects: Vec<NewEffect>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Read the firings that are not over, oldest first.
///
/// Sender: the cron ticker, when it starts. Handler: the store. Answer: the firings.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<WholeFiring>>")]
pub struct OpenFirings;

/// Write down what a waiting firing dispatches.
///
/// Sender: the cron ticker. Handler: the store. Answer: done; one that has begun stays as it is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct BeginFiring {
    /// Which.
    pub firing: FiringSeq,
    /// What its runs are told, but for the repository.
    pub context: Map<String, Value>,
    /// One run each; absent for a run about no repository.
    pub repos: Vec<Option<String>>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Write down what became of targets of a firing.
///
/// Sender: the cron ticker. Handler: the store. Answer: done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct SettleTargets {
    /// Which firing.
    pub firing: FiringSeq,
    /// Its targets.
    pub targets: Vec<TargetSettled>,
}

/// End a firing, and write down where its schedule stands.
///
/// Sender: the cron ticker. Handler: the store. Answer: done; one that is over stays as it is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct EndFiring {
    /// Which.
    pub firing: FiringSeq,
    /// How it ended.
    pub state: FiringState,
    /// For people.
    pub note: Option<String>,
    /// Where its schedule stands.
    pub stands: CronState,
    /// What somebody is told.
    pub effects: Vec<NewEffect>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A target whose run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedTarget {
    /// Its firing.
    pub firing: FiringSeq,
    /// Its number.
    pub n: u32,
    /// How its run ended; absent: there is no such run any more.
    pub status: Option<RunStatus>,
    /// Why it did not end well.
    pub error: Option<String>,
}

/// Read which targets of firings have a run that is over.
///
/// Sender: the cron ticker. Handler: the store. Answer: those that are not settled yet.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<EndedTarget>>")]
pub struct EndedTargets;

/// List firings, newest first.
///
/// Sender: API, dashboard, CLI. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Default, Message)]
#[rtype(result = "StoreResult<Page<CronFiring>>")]
pub struct ListFirings {
    /// Only of this schedule.
    pub cron: Option<String>,
    /// Only before this position (the `next` of the page before).
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Read one firing with what it dispatched.
///
/// Sender: API, dashboard. Handler: the store. Answer: the firing, if there is one at this place.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<WholeFiring>>")]
pub struct ReadFiring(pub FiringSeq);

/// Read the latest firing of each schedule.
///
/// Sender: the cron ticker, for its list. Handler: the store. Answer: the firings.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<CronFiring>>")]
pub struct LatestFirings;

/// Remove what is over, older than an instant and of no use to anything live: a few rows, the first ones after a position.
///
/// Sender: the sweeper. Handler: the store. Answer: how many rows are gone, and where the next step goes on.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Pruned>")]
pub struct Prune {
    /// Which rows.
    pub what: Prunable,
    /// Only what was over before.
    pub before: DateTime<Utc>,
    /// Only after this position (the `next` of the step before, at first 0).
    pub after: i64,
    /// How many rows are looked at.
    pub most: usize,
    /// For want of room, and not for their age: events that were set aside stay for whoever looks into them.
    pub for_room: bool,
}

/// Give free room of the database back to the disk, some pages of 4,096 bytes at a time.
///
/// Sender: the sweeper. Handler: the store. Answer: how much room it takes now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Space>")]
pub struct GiveBack {
    /// So many pages at most; 0 only asks.
    pub most_pages: u32,
}
