//! One trace from a delivery to its last effect: a watch on the store sees what is committed, a scribe makes spans of it. Changes nothing that it sees.
//!
//! Nobody in the house knows that they are traced. Whatever counts goes through the store anyway, with its times, so whoever
//! watches the store has the whole story; and where nobody watches, tracing costs nothing at all.

mod fact;
mod scribe;
mod span;
mod witness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

pub use scribe::Scribe;
pub use span::{Attribute, Span, SpanKind};

use crate::clock::SharedClock;
use crate::domain::SampleRatio;
use crate::store::{Store, WatchedStore};
use fact::Fact;
use witness::Witness;

/// Facts that may wait for the scribe. One more is lost, and counted: the work goes first.
const WAITING: usize = 8_192;

/// Begins to watch a store. Whoever uses the answered store is traced; the scribe is to be run, in whichever thread has time.
#[must_use]
pub fn watch(store: Arc<dyn Store>, clock: SharedClock, ratio: SampleRatio) -> (Arc<dyn Store>, Scribe, Tracing) {
    let (facts, read) = mpsc::channel(WAITING);
    let missed = Arc::new(AtomicU64::new(0));
    let witness = Witness::new(facts.clone(), Arc::clone(&missed), clock);
    let watched = WatchedStore::new(Arc::clone(&store), Arc::new(witness));
    let tracing = Tracing { facts, missed };
    (Arc::new(watched), Scribe::new(store, read, ratio), tracing)
}

/// The other end of a scribe, for whoever runs one.
#[derive(Clone)]
pub struct Tracing {
    facts: mpsc::Sender<Fact>,
    missed: Arc<AtomicU64>,
}

impl Tracing {
    /// How many facts were lost since this was asked last, because the scribe could not keep up.
    #[must_use]
    pub fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }

    /// Lets the scribe finish what it was told up to now, and then end. What is told it afterwards is lost.
    pub async fn finish(&self) {
        // A scribe that is gone has finished.
        let _ = self.facts.send(Fact::Finish).await;
    }
}
