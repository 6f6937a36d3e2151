//! What the store is asked and told. Knows the domain only; no SQL and no database crate.

use actix::prelude::*;
use chrono::{DateTime, Utc};

use crate::domain::{
    Approval, ApprovalId, AttemptOutcome, ChatPlace, ChatThread, Decided, Decision, DefinitionHash, EffectKey,
    EffectSeq, EventFilter, EventSeq, LiveSession, MessageRecorded, NewEffect, NewEvent, NewRun, Opened, Page, RawBody,
    Recorded, RunFilter, RunId, RunRecord, RunStatus, RunSummary, SessionId, SessionsToEnd, Source, Step, StoredEffect,
    StoredEvent, Subject, WorkflowName,
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
    /// What is said.
    pub effects: Vec<NewEffect>,
    /// What is said instead of `effects` when the answer came too late, or when a paused run of the same subject was in the way.
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
    /// How many effects were put into the outbox.
    pub effects: usize,
}

/// A person's answer to a question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which question.
    pub approval: ApprovalId,
    /// Yes or no.
    pub decision: Decision,
    /// Login or user name.
    pub by: String,
    /// The reason or the answer in words.
    pub response: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Answer a question: compare-and-set. Approved, its run goes back into the queue; rejected, its run has failed
/// (`Rejected by <who>: <reason, or "no reason given">`).
///
/// Sender: API, dashboard, CLI, MCP, chat. Handler: the store. Answer: whether this answer counts.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Decided>")]
pub struct Decide(pub Answer);

/// Read one event.
///
/// Sender: API, dashboard, MCP. Handler: the store. Answer: the event with its raw payload, if there is one of this id.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Option<(StoredEvent, RawBody)>>")]
pub struct ReadEvent {
    /// The delivery id, as text: what was never accepted is simply not found.
    pub id: String,
}

/// List events, newest first.
///
/// Sender: API, dashboard, MCP. Handler: the store. Answer: a page.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Page<StoredEvent>>")]
pub struct ListEvents(pub EventFilter);

/// Keep the texts of workflow definitions, so that a run can go on with the version that it started with.
///
/// Sender: boot and the reload of workflows. Handler: the store. Answer: done; texts that are there already stay.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<()>")]
pub struct KeepDefinitions(pub Vec<(DefinitionHash, WorkflowName, String)>);

/// Open runs, all or none, each by the rule of its overlap.
///
/// Sender: the dispatcher. Handler: the store. Answer: what became of each, in the order given.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<Vec<Opened>>")]
pub struct OpenRuns(pub Vec<NewRun>);

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
/// Sender: API, dashboard, MCP, the runner. Handler: the store. Answer: the run, if there is one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<RunRecord>>")]
pub struct LoadRun(pub RunId);

/// List runs, newest first.
///
/// Sender: API, dashboard, MCP, the `status` command. Handler: the store. Answer: a page, and how many match in all.
#[derive(Debug, Clone, Message)]
#[rtype(result = "StoreResult<(Page<RunSummary>, u64)>")]
pub struct ListRuns(pub RunFilter);

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

/// Read the questions that wait for an answer, newest first.
///
/// Sender: the dispatcher, for one subject; API and dashboard, for all. Handler: the store. Answer: the open questions.
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

/// Read one question.
///
/// Sender: API, dashboard. Handler: the store. Answer: the question, if there is one.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Option<Approval>>")]
pub struct ReadApproval(pub ApprovalId);

/// Read the workflows that are switched off.
///
/// Sender: the dispatcher. Handler: the store. Answer: their names.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "StoreResult<Vec<String>>")]
pub struct SwitchedOff;

/// Read effects whose time has come, in the order of the outbox, and those a crash left in flight.
///
/// Sender: the repliers. Handler: the store. Answer: at most `limit` effects whose kind starts with `kinds`, and when the next one is due.
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
/// Sender: the repliers. Handler: the store. Answer: the number of the attempt, from 1; nothing if the effect is final already.
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
/// Sender: the repliers. Handler: the store. Answer: done.
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
    Act,
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
