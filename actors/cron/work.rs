//! What one turn of the ticker does: decide on what is due, write it down, dispatch, and see what ended. Holds no timer.

use std::collections::BTreeMap;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use uuid::Uuid;

use super::alarms::{Teller, Went};
use super::book::{Book, Entry, fan_out, held};
use super::definitions::CronDefinition;
use super::ticker::{CronConfig, CronDoors};
use crate::clock::SharedClock;
use crate::diagnostics::emit_metric;
use crate::domain::{
    CronState, CronTarget, Effect, FiringKind, FiringSeq, FiringState, NewEffect, ReplyTo, RunContext, RunStatus,
    TargetSettled, TargetState, TriggerType, WholeFiring,
};
use crate::messages::dispatch::{DispatchWorkflow, NotDispatched};
use crate::messages::outbound::EffectsQueued;
use crate::messages::store::{
    BeginFiring, CronStates, EndFiring, EndedTargets, OpenFirings, RecordFirings, SettleTargets, StoreError,
    StoreResult,
};
use crate::messaging::replies;

/// Schedules that are written down at once: they share a commit.
const BATCH: usize = 256;

/// Targets of one firing that are named in its note.
const NAMED: usize = 3;

/// Everything a turn needs besides the book.
pub(super) struct House {
    pub(super) doors: CronDoors,
    pub(super) config: CronConfig,
    pub(super) clock: SharedClock,
}

/// Does all that can be done now.
///
/// # Errors
/// When the store, or the dispatcher, does not take something; what was done until then is done, and the rest is done by the next turn.
pub(super) async fn turn(book: &mut Book, house: &House, look_at_runs: bool) -> StoreResult<()> {
    if !book.read {
        read(book, house).await?;
    }
    begin_anew(book, house).await?;
    fire(book, house).await?;
    if look_at_runs {
        see_what_ended(book, house).await?;
    }
    let open: Vec<FiringSeq> = book.open.keys().copied().collect();
    let mut busy = BTreeMap::new();
    for seq in open {
        go_on(book, house, seq, &mut busy).await?;
    }
    Ok(())
}

/// Reads from the store where everything stands. A schedule that is new, or counts otherwise than before, begins now.
async fn read(book: &mut Book, house: &House) -> StoreResult<()> {
    let now = house.clock.now();
    let states = ask(&house.doors.states, CronStates).await?;
    for firing in ask(&house.doors.open, OpenFirings).await? {
        book.hold(firing);
    }
    for definition in &house.config.definitions {
        let state = states.get(&definition.name).cloned().unwrap_or_default();
        enter(book, house, definition.clone(), state, now);
    }
    let gone: Vec<_> = states
        .into_iter()
        .filter(|(name, state)| !state.expression.is_empty() && !book.entries.contains_key(name))
        .collect();
    retire(house, gone).await?;
    book.read = true;
    let said = book.entries.values().filter(|entry| entry.enabled()).count();
    tracing::info!(
        crons = book.entries.len(),
        enabled = said,
        waiting = book.open.len(),
        "schedules are watched"
    );
    Ok(())
}

fn enter(book: &mut Book, house: &House, definition: CronDefinition, state: CronState, now: DateTime<Utc>) {
    let name = definition.name.clone();
    match Entry::new(definition, state, house.config.webhooks) {
        Ok(entry) => book.put(entry, now),
        Err(error) => tracing::error!(cron = name, %error, "a schedule cannot be counted and is left out"),
    }
}

/// Other files count from now on. What an operator said over them stays.
pub(super) async fn take_up(book: &mut Book, house: &House, definitions: Vec<CronDefinition>) -> StoreResult<()> {
    if !book.read {
        read(book, house).await?;
    }
    let now = house.clock.now();
    let mut before = std::mem::take(&mut book.entries);
    *book = std::mem::take(book).emptied();
    let states = ask(&house.doors.states, CronStates).await;
    for definition in definitions {
        let known = before.remove(&definition.name).map(|entry| entry.state);
        let stored = states
            .as_ref()
            .ok()
            .and_then(|states| states.get(&definition.name).cloned());
        enter(book, house, definition, known.or(stored).unwrap_or_default(), now);
    }
    let gone = before
        .into_values()
        .map(|entry| (entry.definition.name.clone(), entry.state));
    retire(house, gone.collect()).await?;
    begin_anew(book, house).await
}

/// Schedules whose file is gone fire no more. Should it come back, what lies between is not missed.
async fn retire(house: &House, gone: Vec<(String, CronState)>) -> StoreResult<()> {
    for (cron, state) in gone {
        let order = RecordFirings {
            cron,
            firings: Vec::new(),
            state: CronState {
                expression: String::new(),
                ..state
            },
            effects: Vec::new(),
            at: house.clock.now(),
        };
        ask(&house.doors.record, order).await?;
    }
    Ok(())
}

/// What lies before now is not missed where something else counted then.
pub(super) async fn begin_anew(book: &mut Book, house: &House) -> StoreResult<()> {
    let now = house.clock.now();
    let new: Vec<String> = book
        .entries
        .values()
        .filter(|entry| entry.begins_anew())
        .map(|entry| entry.definition.name.clone())
        .collect();
    for names in new.chunks(BATCH) {
        let orders = names.iter().filter_map(|name| {
            let state = book.entries.get(name)?.decided(now);
            Some(RecordFirings {
                cron: name.clone(),
                firings: Vec::new(),
                state,
                effects: Vec::new(),
                at: now,
            })
        });
        write_down(book, house, orders.collect()).await?;
    }
    Ok(())
}

/// Decides on everything that is due.
async fn fire(book: &mut Book, house: &House) -> StoreResult<()> {
    let now = house.clock.now();
    for name in book.ahead(now) {
        tracing::warn!(
            cron = name,
            "the clock was far ahead when this schedule was last decided on; it goes by the clock of now"
        );
        let state = book.entries.get(&name).map(|entry| entry.decided(now));
        if let Some(state) = state {
            book.stands(&name, state, now);
        }
    }
    loop {
        let due = book.due(now, BATCH);
        if due.is_empty() {
            return Ok(());
        }
        let orders = due
            .iter()
            .filter_map(|name| book.fire(name, now, || house.clock.chance()));
        let orders = orders.collect();
        write_down(book, house, orders).await?;
    }
}

/// Writes what was decided, then takes it into the book: what the store did not take is still due.
async fn write_down(book: &mut Book, house: &House, orders: Vec<RecordFirings>) -> StoreResult<()> {
    let now = house.clock.now();
    let orders: Vec<RecordFirings> = orders
        .into_iter()
        .map(|order| RecordFirings {
            effects: spread(order.effects, house),
            ..order
        })
        .collect();
    let answers = join_all(orders.iter().map(|order| ask(&house.doors.record, order.clone()))).await;
    let mut failed = None;
    let mut told = false;
    for (order, answer) in orders.into_iter().zip(answers) {
        let places = match answer {
            Ok(places) => places,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        told |= !order.effects.is_empty();
        book.stands(&order.cron, order.state, now);
        for (firing, seq) in order.firings.into_iter().zip(places) {
            // An instant that is in the ledger already was decided on before the clock went back.
            let Some(seq) = seq else { continue };
            let late = now - firing.scheduled_at;
            tracing::info!(cron = firing.cron, firing = seq.0, state = %firing.state, kind = %firing.kind, "a schedule's time came");
            emit_metric(
                "firstlight.cron.firings",
                1.0,
                &[("state", firing.state.as_str()), ("kind", firing.kind.as_str())],
            );
            if firing.kind == FiringKind::Scheduled && firing.state != FiringState::Missed {
                #[expect(clippy::cast_precision_loss, reason = "a number for a histogram")]
                emit_metric(
                    "firstlight.cron.lateness_ms",
                    late.num_milliseconds().max(0) as f64,
                    &[],
                );
            }
            if !firing.state.is_final() {
                book.hold(held(firing, seq));
            }
        }
    }
    if told {
        house.doors.effects.nudge(EffectsQueued);
    }
    failed.map_or(Ok(()), Err)
}

async fn see_what_ended(book: &mut Book, house: &House) -> StoreResult<()> {
    let live = |open: &WholeFiring| open.targets.iter().any(|target| target.state == TargetState::Live);
    if !book.open.values().any(live) {
        return Ok(());
    }
    let mut by_firing: BTreeMap<FiringSeq, Vec<TargetSettled>> = BTreeMap::new();
    for ended in ask(&house.doors.ended, EndedTargets).await? {
        let (state, note) = match ended.status {
            Some(RunStatus::Succeeded) => (TargetState::Succeeded, None),
            Some(status) => (
                TargetState::Failed,
                Some(ended.error.unwrap_or_else(|| status.to_string())),
            ),
            None => (TargetState::Failed, Some("its run is gone".to_owned())),
        };
        by_firing.entry(ended.firing).or_default().push(TargetSettled {
            n: ended.n,
            state,
            run: None,
            note,
        });
    }
    for (firing, targets) in by_firing {
        settle(book, house, firing, targets).await?;
    }
    Ok(())
}

async fn settle(book: &mut Book, house: &House, firing: FiringSeq, targets: Vec<TargetSettled>) -> StoreResult<()> {
    let order = SettleTargets {
        firing,
        targets: targets.clone(),
    };
    ask(&house.doors.settle, order).await?;
    book.changes += 1;
    if let Some(open) = book.open.get_mut(&firing) {
        for settled in targets {
            if let Some(target) = open.targets.iter_mut().find(|target| target.n == settled.n) {
                target.state = settled.state;
                target.run = settled.run.or(target.run);
                target.note = settled.note;
            }
        }
    }
    Ok(())
}

/// Takes one firing as far as it goes now. Of one schedule, one is at work at a time; `busy` names those that are.
async fn go_on(
    book: &mut Book,
    house: &House,
    seq: FiringSeq,
    busy: &mut BTreeMap<String, FiringSeq>,
) -> StoreResult<()> {
    let Some(open) = book.open.get(&seq) else { return Ok(()) };
    let cron = open.firing.cron.clone();
    if *busy.entry(cron.clone()).or_insert(seq) != seq {
        return Ok(());
    }
    let now = house.clock.now();
    let definition = book.entries.get(&cron).map(|entry| entry.definition.clone());
    if open.firing.state == FiringState::Waiting {
        if open.firing.due_at > now {
            return Ok(());
        }
        let Some(definition) = &definition else {
            return end(
                book,
                house,
                seq,
                FiringState::Failed,
                Some("its file is gone".to_owned()),
                Went::Well,
            )
            .await;
        };
        let (repos, context) = fan_out(definition.context_for(&house.config.managed));
        let order = BeginFiring {
            firing: seq,
            context: context.clone(),
            repos: repos.clone(),
            at: now,
        };
        ask(&house.doors.begin, order).await?;
        if let Some(open) = book.open.get_mut(&seq) {
            open.firing.state = FiringState::Working;
            open.firing.started_at = Some(now);
            open.context = context;
            open.targets = (0_u32..)
                .zip(repos)
                .map(|(n, repo)| CronTarget {
                    n,
                    repo,
                    state: TargetState::Waiting,
                    run: None,
                    note: None,
                })
                .collect();
        }
    }
    refill(book, house, seq, definition.as_ref()).await?;
    let Some(open) = book.open.get(&seq) else { return Ok(()) };
    if !open.targets.iter().all(|target| target.state.is_final()) {
        return Ok(());
    }
    let (state, note) = sum(&open.targets);
    let went = match state {
        _ if open.targets.is_empty() => Went::Nowhere,
        _ if open.targets.iter().all(|target| target.state == TargetState::Skipped) => Went::Unseen,
        FiringState::Failed => Went::Wrong(note.as_deref().unwrap_or("it failed")),
        _ => Went::Well,
    };
    end(book, house, seq, state, note.clone(), went).await?;
    // The next one of this schedule may go.
    busy.remove(&cron);
    Ok(())
}

/// Dispatches as many targets as may be at work at once. No target waits for the slowest of a batch.
async fn refill(
    book: &mut Book,
    house: &House,
    seq: FiringSeq,
    definition: Option<&CronDefinition>,
) -> StoreResult<()> {
    loop {
        let Some(open) = book.open.get(&seq) else { return Ok(()) };
        let live = open
            .targets
            .iter()
            .filter(|target| target.state == TargetState::Live)
            .count();
        let free = definition
            .map_or(1, |definition| definition.concurrency)
            .saturating_sub(live);
        let next = open
            .targets
            .iter()
            .filter(|target| target.state == TargetState::Waiting);
        let next: Vec<CronTarget> = next.take(free).cloned().collect();
        if next.is_empty() {
            return Ok(());
        }
        let orders = next.iter().map(|target| dispatch(house, open, target, definition));
        let mut settled = Vec::new();
        let mut failed = None;
        for (target, answer) in next.iter().zip(join_all(orders).await) {
            match answer {
                Ok((state, run, note)) => settled.push(TargetSettled {
                    n: target.n,
                    state,
                    run,
                    note,
                }),
                Err(error) => failed = Some(error),
            }
        }
        if !settled.is_empty() {
            settle(book, house, seq, settled).await?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

type Dispatched = (TargetState, Option<crate::domain::RunId>, Option<String>);

async fn dispatch(
    house: &House,
    open: &WholeFiring,
    target: &CronTarget,
    definition: Option<&CronDefinition>,
) -> StoreResult<Dispatched> {
    let Some(definition) = definition else {
        return Ok((TargetState::Failed, None, Some("its file is gone".to_owned())));
    };
    let mut context = RunContext::default();
    context.0.extend(open.context.clone());
    if let Some(repo) = &target.repo {
        context.0.insert("repo".into(), repo.clone().into());
    }
    let order = DispatchWorkflow {
        workflow: definition.workflow.to_string(),
        context,
        trigger: TriggerType::Cron,
        who: format!("cron:{}", open.firing.cron),
        // The same for the same target, so that a turn that is repeated opens no second run.
        seed: Some(Uuid::new_v5(&open.firing.seed, &target.n.to_be_bytes())),
    };
    match house.doors.dispatch.send(order).await {
        Err(_) => Err(StoreError::Closed),
        Ok(Ok(opened)) => match opened.first() {
            Some(opened) => Ok((TargetState::Live, Some(opened.run()), None)),
            None => Ok((TargetState::Failed, None, Some("no run was opened".to_owned()))),
        },
        Ok(Err(NotDispatched::Store(error))) => Err(error),
        Ok(Err(NotDispatched::Stopping)) => Err(StoreError::Closed),
        Ok(Err(NotDispatched::SwitchedOff(workflow))) => Ok((
            TargetState::Skipped,
            None,
            Some(format!("workflow \"{workflow}\" is switched off")),
        )),
        Ok(Err(
            refused @ (NotDispatched::UnknownWorkflow { .. }
            | NotDispatched::RepoNotManaged(_)
            | NotDispatched::BadContext(_)),
        )) => Ok((TargetState::Failed, None, Some(refused.to_string()))),
    }
}

/// How a firing ended, by its targets.
fn sum(targets: &[CronTarget]) -> (FiringState, Option<String>) {
    if targets.is_empty() {
        return (FiringState::Done, Some("there was no repository to work on".to_owned()));
    }
    let failed: Vec<&CronTarget> = targets
        .iter()
        .filter(|target| target.state == TargetState::Failed)
        .collect();
    if failed.is_empty() {
        let skipped = targets.iter().find(|target| target.state == TargetState::Skipped);
        return (FiringState::Done, skipped.and_then(|target| target.note.clone()));
    }
    let named = failed.iter().take(NAMED).map(|target| {
        let repo = target.repo.as_deref().unwrap_or("its run");
        format!("{repo}: {}", target.note.as_deref().unwrap_or("failed"))
    });
    let mut note = format!(
        "{} of {} failed: {}",
        failed.len(),
        targets.len(),
        named.collect::<Vec<_>>().join("; ")
    );
    if failed.len() > NAMED {
        note.push_str("; …");
    }
    (FiringState::Failed, Some(note))
}

async fn end(
    book: &mut Book,
    house: &House,
    seq: FiringSeq,
    state: FiringState,
    note: Option<String>,
    went: Went<'_>,
) -> StoreResult<()> {
    let Some(open) = book.open.get(&seq) else { return Ok(()) };
    let cron = open.firing.cron.clone();
    let entry = book.entries.get(&cron);
    let now = house.clock.now();
    let mut teller = Teller {
        cron: &cron,
        mark: seq.0.to_string(),
        state: entry.map(|entry| entry.state.clone()).unwrap_or_default(),
        effects: Vec::new(),
    };
    if let Some(entry) = entry {
        teller.ended(went, entry.definition.max_failures);
    }
    let told = !teller.effects.is_empty();
    let stands = teller.state.clone();
    let order = EndFiring {
        firing: seq,
        state,
        note: note.clone(),
        stands: teller.state,
        effects: spread(teller.effects, house),
        at: now,
    };
    ask(&house.doors.end, order).await?;
    tracing::info!(cron, firing = seq.0, %state, note, "a firing is over");
    emit_metric("firstlight.cron.ended", 1.0, &[("state", state.as_str())]);
    book.let_go(seq);
    book.stands(&cron, stands, now);
    if told {
        house.doors.effects.nudge(EffectsQueued);
    }
    Ok(())
}

/// What operators are told goes to their chat channel as well, where there is one.
fn spread(effects: Vec<NewEffect>, house: &House) -> Vec<NewEffect> {
    let mut spread = Vec::with_capacity(effects.len());
    for told in effects {
        if let (Effect::Notice { text, .. }, Some(channel)) = (&told.effect, &house.config.delivery_channel) {
            let pieces = replies::say(&ReplyTo::DeliveryChannel, text, Some(channel));
            spread.extend(pieces.into_iter().map(|(piece, effect)| {
                NewEffect {
                    key: format!("{}/chat{piece}", told.key.as_str())
                        .parse()
                        .expect("a key of the house and a short word"),
                    effect,
                    run: None,
                    event: None,
                }
            }));
        }
        spread.push(told);
    }
    spread
}

/// Asks through a door; a closed mailbox is a closed store.
pub(super) async fn ask<M, T>(door: &Recipient<M>, message: M) -> StoreResult<T>
where
    M: Message<Result = StoreResult<T>> + Send + 'static,
    T: Send + 'static,
{
    door.send(message).await.map_err(|_| StoreError::Closed)?
}
