//! The outbox doors of the store in memory, with scripted failures. Keeps the promises written beside the messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use actix::{Actor, Context, Handler};
use actors::domain::{AttemptOutcome, Effect, EffectSeq, EffectState, StoredEffect};
use actors::messages::store::{
    ClaimEffect, DueEffects, ReadDueEffects, ResultOf, SettleEffect, StoreError, StoreResult,
};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// How long a test waits for something that does not come, before it fails with words. In real time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A handle on the effects; clones share them.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    effects: Vec<StoredEffect>,
    failures: VecDeque<Door>,
    in_flight_at_once: Vec<String>,
}

/// A door that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Read,
    Claim,
    Settle,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        }))
    }

    /// Puts an effect in, due now. Answers its position.
    pub(crate) fn put(&self, effect: Effect, now: DateTime<Utc>) -> EffectSeq {
        let mut state = self.lock();
        let seq = EffectSeq(i64::try_from(state.effects.len()).expect("few effects") + 1);
        state.effects.push(StoredEffect {
            seq,
            key: format!("run-7/greet/{seq}").parse().expect("a valid key"),
            effect,
            run: None,
            event: None,
            state: EffectState::Pending,
            attempts: 0,
            due_at: now,
            result: None,
            last_error: None,
            created_at: now,
        });
        seq
    }

    /// Leaves an effect as a crash leaves it after the attempt was written down.
    pub(crate) fn crashed_on(&self, seq: EffectSeq) {
        let mut state = self.lock();
        let effect = state.of(seq);
        effect.state = EffectState::InFlight;
        effect.attempts = 1;
    }

    /// The next order at this door fails.
    pub(crate) fn fails_at(&self, door: Door) {
        self.lock().failures.push_back(door);
    }

    /// An effect as it stands.
    pub(crate) fn get(&self, seq: EffectSeq) -> StoredEffect {
        self.lock().of(seq).clone()
    }

    /// Waits until an effect is in this state, with at least so many attempts.
    pub(crate) async fn until(&self, seq: EffectSeq, state: EffectState, attempts: u32) -> StoredEffect {
        let mut changed = self.0.changed.subscribe();
        loop {
            let effect = self.get(seq);
            if effect.state == state && effect.attempts >= attempts {
                return effect;
            }
            let news = tokio::time::timeout(PATIENCE, changed.changed()).await;
            let news =
                news.unwrap_or_else(|_| panic!("nothing moved while waiting for {state:?}: {:?}", self.get(seq)));
            news.expect("the outbox outlives its watchers");
        }
    }

    /// True when two effects of one lane were ever in flight together.
    pub(crate) fn lanes_were_crossed(&self) -> bool {
        !self.lock().in_flight_at_once.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no test panics while it holds the outbox")
    }
}

impl State {
    fn of(&mut self, seq: EffectSeq) -> &mut StoredEffect {
        self.effects
            .iter_mut()
            .find(|effect| effect.seq == seq)
            .expect("the effect was put in")
    }

    fn stumbles(&mut self, door: Door) -> StoreResult<()> {
        match self.failures.front() {
            Some(next) if *next == door => {
                self.failures.pop_front();
                Err(StoreError::Full)
            }
            _ => Ok(()),
        }
    }
}

impl Actor for Outbox {
    type Context = Context<Self>;
}

impl Handler<ReadDueEffects> for Outbox {
    type Result = StoreResult<DueEffects>;

    fn handle(&mut self, order: ReadDueEffects, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.lock();
        state.stumbles(Door::Read)?;
        let open: Vec<_> = state
            .effects
            .iter()
            .filter(|effect| !effect.state.is_final() && effect.effect.kind().starts_with(order.kinds))
            .filter(|effect| {
                let lane = effect.effect.lane();
                !order.busy_lanes.contains(&lane) && !order.busy_paces.iter().any(|pace| pace == Effect::pace(&lane))
            })
            .cloned()
            .collect();
        // As in the store, nobody in a lane is due before the first of it is.
        let head = |lane: String| {
            open.iter()
                .find(|effect| effect.effect.lane() == lane)
                .map(|effect| effect.due_at)
        };
        let ready = |effect: &StoredEffect| {
            effect.due_at <= order.now && head(effect.effect.lane()).is_some_and(|at| at <= order.now)
        };
        let (due, rest): (Vec<_>, Vec<_>) = open.iter().cloned().partition(ready);
        let next = rest.iter().map(|effect| effect.due_at).min();
        Ok(DueEffects {
            due: due.into_iter().take(order.limit).collect(),
            next,
        })
    }
}

impl Handler<ResultOf> for Outbox {
    type Result = StoreResult<Option<String>>;

    fn handle(&mut self, order: ResultOf, _: &mut Context<Self>) -> Self::Result {
        let state = self.lock();
        let done = state.effects.iter().find(|effect| effect.key == order.0);
        Ok(done.and_then(|effect| effect.result.clone()))
    }
}

impl Handler<ClaimEffect> for Outbox {
    type Result = StoreResult<Option<u32>>;

    fn handle(&mut self, order: ClaimEffect, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.lock();
        state.stumbles(Door::Claim)?;
        let lane = state.of(order.effect).effect.lane();
        let others = state
            .effects
            .iter()
            .filter(|other| other.state == EffectState::InFlight && other.seq != order.effect);
        if others.filter(|other| other.effect.lane() == lane).count() > 0 {
            state.in_flight_at_once.push(lane);
        }
        let effect = state.of(order.effect);
        if effect.state.is_final() {
            return Ok(None);
        }
        effect.state = EffectState::InFlight;
        effect.attempts += 1;
        let attempt = effect.attempts;
        drop(state);
        self.0.changed.send_replace(());
        Ok(Some(attempt))
    }
}

impl Handler<SettleEffect> for Outbox {
    type Result = StoreResult<()>;

    fn handle(&mut self, order: SettleEffect, _: &mut Context<Self>) -> Self::Result {
        let mut state = self.lock();
        state.stumbles(Door::Settle)?;
        let effect = state.of(order.effect);
        match order.outcome {
            AttemptOutcome::Done { result } => {
                effect.state = EffectState::Done;
                effect.result = Some(result);
            }
            AttemptOutcome::Retry { at, error } => {
                effect.state = EffectState::Pending;
                effect.due_at = at;
                effect.last_error = Some(error);
            }
            AttemptOutcome::Dead { error } => {
                effect.state = EffectState::Dead;
                effect.last_error = Some(error);
            }
            AttemptOutcome::Undeliverable { error } => {
                effect.state = EffectState::Undeliverable;
                effect.last_error = Some(error);
            }
        }
        drop(state);
        self.0.changed.send_replace(());
        Ok(())
    }
}
