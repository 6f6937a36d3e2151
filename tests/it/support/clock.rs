//! A clock that stands still until a test moves it, and one that is ahead of the machine's. Knows nothing of the house.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actors::clock::{Clock, SystemClock};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

/// How long a test waits for a sleeper that does not come, before it fails with words. In real time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts at 2026-01-02T03:04:05Z; chance is always 0.
#[derive(Debug, Clone)]
pub(crate) struct ManualClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    now: DateTime<Utc>,
    sleepers: BTreeMap<u64, (DateTime<Utc>, oneshot::Sender<()>)>,
    last: u64,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        let now = DateTime::from_timestamp(1_767_323_045, 0).expect("a valid instant");
        let state = Mutex::new(State {
            now,
            sleepers: BTreeMap::new(),
            last: 0,
        });
        Self(Arc::new(Inner {
            state,
            changed: watch::Sender::new(()),
        }))
    }

    /// Moves the clock and wakes everyone whose time has come.
    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        state.now += TimeDelta::from_std(by).expect("a short step");
        let now = state.now;
        let due: Vec<_> = state
            .sleepers
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some((_, alarm)) = state.sleepers.remove(&id) {
                let _ = alarm.send(());
            }
        }
        drop(state);
        self.0.changed.send_replace(());
    }

    /// Somebody sets the clock back. Whoever sleeps goes on to sleep as long as before.
    pub(crate) fn set_back(&self, by: Duration) {
        let by = TimeDelta::from_std(by).expect("a short step");
        let mut state = self.0.lock();
        state.now -= by;
        for (end, _) in state.sleepers.values_mut() {
            *end -= by;
        }
    }

    /// Waits until somebody sleeps for `wait`, give or take a millisecond.
    pub(crate) async fn until_asleep_for(&self, wait: Duration) {
        let mut changed = self.0.changed.subscribe();
        loop {
            {
                let state = self.0.lock();
                let at = state.now + TimeDelta::from_std(wait).expect("a short wait");
                if state
                    .sleepers
                    .values()
                    .any(|(end, _)| (*end - at).abs() <= TimeDelta::milliseconds(1))
                {
                    return;
                }
            }
            let news = tokio::time::timeout(PATIENCE, changed.changed()).await;
            let ends: Vec<_> = self.0.lock().sleepers.values().map(|(end, _)| *end).collect();
            news.unwrap_or_else(|_| panic!("nobody sleeps for {wait:?} at {}: {ends:?}", self.now()))
                .expect("the clock outlives its watchers");
        }
    }

    /// Waits until somebody sleeps for `wait`, then lets exactly that time pass.
    pub(crate) async fn pass(&self, wait: Duration) {
        self.until_asleep_for(wait).await;
        self.advance(wait);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the clock")
    }
}

/// Takes a sleeper off the list when its future is dropped.
struct Asleep(Arc<Inner>, u64);

impl Drop for Asleep {
    fn drop(&mut self) {
        self.0.lock().sleepers.remove(&self.1);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.0.lock();
        if duration.is_zero() {
            return std::future::ready(()).boxed();
        }
        let end = state.now + TimeDelta::from_std(duration).expect("a short wait");
        let (alarm, hears) = oneshot::channel();
        state.last += 1;
        let id = state.last;
        state.sleepers.insert(id, (end, alarm));
        drop(state);
        self.0.changed.send_replace(());
        let asleep = Asleep(self.0.clone(), id);
        async move {
            let _ = hears.await;
            drop(asleep);
        }
        .boxed()
    }

    fn chance(&self) -> f64 {
        0.0
    }
}

/// The machine's clock, and what a test says has passed besides.
#[derive(Debug, Default)]
pub(crate) struct AheadClock(AtomicI64);

impl AheadClock {
    pub(crate) fn passes(&self, time: TimeDelta) {
        self.0.fetch_add(time.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::milliseconds(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
    }

    fn chance(&self) -> f64 {
        0.0
    }
}
