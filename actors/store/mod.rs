//! The durable memory. Alone names the database crate; knows no actor but its own door.
//!
//! [`Store`] is what a database must be able to do; [`StoreDoor`] hangs it into the house. Every other room sends the
//! messages of [`crate::messages::store`] to a `Recipient`, so that none of them knows which database answers.

pub mod sqlite;

#[cfg(test)]
mod suite;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::domain::{
    Approval, AuditLine, ChatMessage, ChatSession, ChatThread, CronFiring, CronState, Decided, DeliveryDetail,
    DeliveryRow, EffectSeq, Execution, FiringSeq, HourCount, IssuedToken, LiveSession, MessageRecorded, Opened, Page,
    Pruned, RawBody, Recorded, Redelivered, Replayed, RunId, RunRecord, RunStatus, RunSummary, Space, StoredEffect,
    StoredEvent, Totals, WebhookHealth, WholeFiring,
};
use crate::messages::store::{
    BeginFiring, ClaimDelivery, ClaimEffect, ClaimKey, Claimed, CloseGate, CountStore, CronStates, Decide,
    DueDeliveries, DueEffects, DueGates, EffectsOf, EndFiring, EndRun, EndSessions, EndedTarget, EndedTargets,
    EscalateGate, GatesDue, GatesHere, GiveBack, KeepAnswer, KeepDefinitions, KeepToken, LatestFirings, LatestThreads,
    ListApprovals, ListAudit, ListDeliveries, ListEvents, ListExecutions, ListFirings, ListRuns, ListSessions,
    ListTokens, LiveRunOf, LoadRun, NoteTokenUse, OpenFirings, OpenGates, OpenRetry, OpenRuns, OverrideCron, Prune,
    QueueDeliveries, ReadApproval, ReadDelivery, ReadDueDeliveries, ReadDueEffects, ReadEvent, ReadFiring, ReadHours,
    ReadLines, ReadSession, ReadTotals, ReadUnsettled, RecordAudit, RecordEvent, RecordFirings, RecordMessage,
    RecordStep, RecoverDeliveries, RecoverRuns, Redeliver, ReplayEvent, ResultOf, RevokeToken, RevokedTokens,
    RunWorkflows, SessionsIn, SetWebhook, SettleDeliveries, SettleEffect, SettleEvents, SettleTargets, Settled,
    StepTaken, StoreCounts, StoreResult, SwitchWorkflow, SwitchedOff, TakeQueuedRuns, TellEnds, UntoldEnds,
    WebhookStats,
};

/// An order that is under way. It was queued *before* this was returned: the order of calls is the order of writing, and
/// dropping the answer unread takes nothing back.
pub type Pending<T> = BoxFuture<'static, StoreResult<T>>;

/// How many messages may wait at a door. It hands on at once, so this only bounds a burst within one turn of its arbiter;
/// what bounds memory is the writer's own queue.
const DOOR_MAILBOX: usize = 4_096;

/// The list of orders, written once: it makes the trait's methods and the door's handlers.
macro_rules! orders {
    ($($(#[$doc:meta])* $method:ident($message:ident) -> $answer:ty;)+) => {
        /// What a database must be able to do: one method for each message of [`crate::messages::store`], which is the contract.
        ///
        /// Orders that write are carried out in the order of the calls, each whole or not at all, and answered after the
        /// commit that holds them. Orders that read see everything whose answer was received before they were given.
        ///
        /// Every method fails with `Busy` when too many orders wait, `Full` when there is no room on the disk, `Closed`
        /// after [`Store::close`], and `Failed` with the database's words for the rest; nothing of the order was kept then.
        pub trait Store: Send + Sync + 'static {
            $($(#[$doc])* fn $method(&self, order: $message) -> Pending<$answer>;)+

            /// Takes no more orders, carries out those that wait, and lets the database go. Repeated, it changes nothing.
            fn close(&self) -> Pending<()>;
        }

        /// Sees which orders are given, and what is answered once it is on disk. It changes neither, and it must not block:
        /// whoever asked waits for it. What it does not ask to see costs nothing.
        pub trait Watch: Send + Sync + 'static {
            $($(#[$doc])* fn $method(&self, order: &$message) -> Option<After<$answer>> {
                // Seen and let go.
                let _ = order;
                None
            })+
        }

        impl Store for WatchedStore {
            $(fn $method(&self, order: $message) -> Pending<$answer> {
                let after = self.watch.$method(&order);
                watched(self.store.$method(order), after)
            })+

            fn close(&self) -> Pending<()> {
                self.store.close()
            }
        }

        $(impl Handler<$message> for StoreDoor {
            type Result = ResponseFuture<StoreResult<$answer>>;

            fn handle(&mut self, order: $message, _: &mut Self::Context) -> Self::Result {
                self.store.$method(order)
            }
        })+

        #[cfg(test)]
        const ORDERS: &[&str] = &[$(stringify!($message)),+];
    };
}

orders! {
    /// Makes an event durable, once per id.
    record_event(RecordEvent) -> Recorded;
    /// Makes a chat message durable, once per id, with its conversation.
    record_message(RecordMessage) -> MessageRecorded;
    /// Reads the conversations that go on in a thread.
    sessions_in(SessionsIn) -> Vec<LiveSession>;
    /// Reads the threads in which a person talked to us last, the latest first.
    latest_threads(LatestThreads) -> Vec<ChatThread>;
    /// Ends conversations.
    end_sessions(EndSessions) -> usize;
    /// Lists conversations, newest first, and counts those that go on.
    list_sessions(ListSessions) -> (Page<ChatSession>, u64);
    /// Reads one conversation.
    read_session(ReadSession) -> Option<ChatSession>;
    /// Reads lines of a conversation, oldest first.
    read_lines(ReadLines) -> Vec<ChatMessage>;
    /// Reads events that wait to be routed, oldest first.
    read_unsettled(ReadUnsettled) -> Vec<StoredEvent>;
    /// Settles events with everything that follows from them. One that cannot be settled fails the whole order.
    settle_events(SettleEvents) -> Vec<Settled>;
    /// Answers a question; the first answer counts.
    decide(Decide) -> Decided;
    /// Reads one event with its raw payload.
    read_event(ReadEvent) -> Option<(StoredEvent, Option<RawBody>)>;
    /// Takes an event up again, or records its content as a new one, once per id.
    replay_event(ReplayEvent) -> Replayed;
    /// Lists events, newest first.
    list_events(ListEvents) -> Page<StoredEvent>;
    /// Keeps workflow definitions.
    keep_definitions(KeepDefinitions) -> ();
    /// Opens runs, all or none. A definition that was never kept fails the order.
    open_runs(OpenRuns) -> Vec<Opened>;
    /// Opens a run that goes on where an earlier one came to.
    open_retry(OpenRetry) -> Opened;
    /// Takes runs from the queue, oldest first.
    take_queued_runs(TakeQueuedRuns) -> Vec<RunRecord>;
    /// Puts runs that a crash left running back into the queue.
    recover_runs(RecoverRuns) -> (usize, usize);
    /// Reads one run with its phases.
    load_run(LoadRun) -> Option<RunRecord>;
    /// Lists runs, newest first, and says how many match in all.
    list_runs(ListRuns) -> (Page<RunSummary>, u64);
    /// Reads the oldest live run of a workflow and a subject.
    live_run_of(LiveRunOf) -> Option<(RunId, RunStatus)>;
    /// Reads the names of all workflows that ever ran.
    run_workflows(RunWorkflows) -> Vec<String>;
    /// Lists phase executions of all runs, newest first.
    list_executions(ListExecutions) -> Page<Execution>;
    /// Writes steps of a run down. A run that is not there fails the order.
    record_step(RecordStep) -> StepTaken;
    /// Ends a run from outside. A status that is not final fails the order.
    end_run(EndRun) -> Option<RunStatus>;
    /// Reads runs of a chat that were ended from outside and not told of, oldest first.
    untold_ends(UntoldEnds) -> Vec<RunRecord>;
    /// Queues what is told of ended runs.
    tell_ends(TellEnds) -> ();
    /// Reads open questions, newest first.
    open_gates(OpenGates) -> Vec<Approval>;
    /// Reads open questions of runs that answer in a chat thread, newest first.
    gates_here(GatesHere) -> Vec<Approval>;
    /// Lists questions, newest first.
    list_approvals(ListApprovals) -> Page<Approval>;
    /// Reads one question.
    read_approval(ReadApproval) -> Option<Approval>;
    /// Reads which questions the clock has to look after.
    due_gates(DueGates) -> GatesDue;
    /// Answers a question by its default, and says so if that counts.
    close_gate(CloseGate) -> Decided;
    /// Says once that nobody has answered a question.
    escalate_gate(EscalateGate) -> bool;
    /// Reads where every schedule stands.
    cron_states(CronStates) -> BTreeMap<String, CronState>;
    /// Says something over a schedule's file, or takes it back.
    override_cron(OverrideCron) -> ();
    /// Writes firings of one schedule down, once per instant.
    record_firings(RecordFirings) -> Vec<Option<FiringSeq>>;
    /// Reads the firings that are not over, oldest first.
    open_firings(OpenFirings) -> Vec<WholeFiring>;
    /// Writes down what a firing dispatches.
    begin_firing(BeginFiring) -> ();
    /// Writes down what became of targets.
    settle_targets(SettleTargets) -> ();
    /// Ends a firing.
    end_firing(EndFiring) -> ();
    /// Reads which targets have a run that is over.
    ended_targets(EndedTargets) -> Vec<EndedTarget>;
    /// Lists firings, newest first.
    list_firings(ListFirings) -> Page<CronFiring>;
    /// Reads one firing with what it dispatched.
    read_firing(ReadFiring) -> Option<WholeFiring>;
    /// Reads the latest firing of each schedule.
    latest_firings(LatestFirings) -> Vec<CronFiring>;
    /// Reads which workflows are switched off, by name.
    switched_off(SwitchedOff) -> Vec<String>;
    /// Switches a workflow on or off.
    switch_workflow(SwitchWorkflow) -> ();
    /// Reads what is due in the outbox. Of a lane, its earliest come, without a gap, and nothing while the first of them
    /// is not due. Of many lanes, questions to people come first, then
    /// those that waited longest; `next` speaks of lanes that were not given out.
    read_due_effects(ReadDueEffects) -> DueEffects;
    /// Writes an attempt down before it is made. An effect that is not there fails the order.
    claim_effect(ClaimEffect) -> Option<u32>;
    /// Reads what came of an effect.
    result_of(ResultOf) -> Option<String>;
    /// Writes down what became of an attempt. An effect that is not there fails the order.
    settle_effect(SettleEffect) -> ();
    /// Reads the effects of a run or an event, oldest first; of both, when both are named.
    effects_of(EffectsOf) -> Vec<StoredEffect>;
    /// Puts deliveries into the outbox, all or none.
    queue_deliveries(QueueDeliveries) -> Vec<Option<EffectSeq>>;
    /// Reads deliveries whose time has come, fairly over the endpoints. One that is claimed is not given out before its time.
    read_due_deliveries(ReadDueDeliveries) -> DueDeliveries;
    /// Writes an attempt at a delivery down before it is made. A delivery that is not there fails the order.
    claim_delivery(ClaimDelivery) -> Option<u32>;
    /// Writes down what became of attempts at deliveries. One that is not there fails the order.
    settle_deliveries(SettleDeliveries) -> ();
    /// Makes due what a stop left under way.
    recover_deliveries(RecoverDeliveries) -> usize;
    /// Lists deliveries, newest first.
    list_deliveries(ListDeliveries) -> Page<DeliveryRow>;
    /// Reads one delivery with every attempt.
    read_delivery(ReadDelivery) -> Option<DeliveryDetail>;
    /// Begins a new series of attempts at a delivery.
    redeliver(Redeliver) -> Redelivered;
    /// Reads how webhooks do.
    webhook_stats(WebhookStats) -> Vec<WebhookHealth>;
    /// Switches a webhook on or off.
    set_webhook(SetWebhook) -> bool;
    /// Claims an idempotency key.
    claim_key(ClaimKey) -> Claimed;
    /// Keeps the answer under a claimed key; the first one stays.
    keep_answer(KeepAnswer) -> ();
    /// Writes a line of the audit log.
    record_audit(RecordAudit) -> ();
    /// Lists the audit log, newest first.
    list_audit(ListAudit) -> Page<AuditLine>;
    /// Keeps a token that is handed out.
    keep_token(KeepToken) -> ();
    /// Lists tokens, the latest first.
    list_tokens(ListTokens) -> Page<IssuedToken>;
    /// Takes a token back.
    revoke_token(RevokeToken) -> Option<IssuedToken>;
    /// Notes that a token was seen.
    note_token_use(NoteTokenUse) -> ();
    /// Reads which tokens were taken back before they ran out.
    revoked_tokens(RevokedTokens) -> Vec<(String, DateTime<Utc>)>;
    /// Reads what happened, by the hour.
    read_hours(ReadHours) -> Vec<HourCount>;
    /// Reads how much there is.
    read_totals(ReadTotals) -> Totals;
    /// Removes a few of the rows that are over and old.
    prune(Prune) -> Pruned;
    /// Gives free room back to the disk.
    give_back(GiveBack) -> Space;
    /// Counts, after the writer has shown that it is at work.
    count_store(CountStore) -> StoreCounts;
}

/// What a watch does with an answer that was good.
pub type After<T> = Box<dyn FnOnce(&T) + Send>;

/// A store that somebody watches. It is the same store: order, answers and durability are those of the one inside.
pub struct WatchedStore {
    store: Arc<dyn Store>,
    watch: Arc<dyn Watch>,
}

impl WatchedStore {
    /// Lets this watch see what is asked of this store from now on, through this value.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, watch: Arc<dyn Watch>) -> Self {
        Self { store, watch }
    }
}

/// The order was queued when `pending` was made, so it is only the answer that is looked at.
fn watched<T: Send + 'static>(pending: Pending<T>, after: Option<After<T>>) -> Pending<T> {
    let Some(after) = after else { return pending };
    Box::pin(async move {
        let answer = pending.await?;
        after(&answer);
        Ok(answer)
    })
}

/// The store's door: hands each message to the store and its answer back. It holds nothing, so that every arbiter may have
/// one of its own and save a hop.
pub struct StoreDoor {
    store: Arc<dyn Store>,
}

impl StoreDoor {
    /// A door to this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl Actor for StoreDoor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(DOOR_MAILBOX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_catalogue_has_its_method_and_its_handler() {
        let catalogue = include_str!("../messages/store.rs");
        let messages: Vec<&str> = catalogue
            .split("#[rtype")
            .skip(1)
            .filter_map(|after| after.split("pub struct ").nth(1))
            .filter_map(|name| name.split(|c: char| !c.is_alphanumeric()).next())
            .collect();
        assert!(messages.len() >= 25, "the catalogue was not read: {messages:?}");
        for message in &messages {
            assert!(ORDERS.contains(message), "{message} has no method in the trait");
        }
        assert_eq!(ORDERS.len(), messages.len());
    }
}
