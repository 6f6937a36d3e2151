//! How much leaves at once: so much to one endpoint, so much in all, and less to those that were slow. Knows no delivery, only its id.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of all endpoints.
pub(super) struct Places {
    per_endpoint: usize,
    most: usize,
    endpoints: RefCell<HashMap<String, Rc<Endpoint>>>,
    in_hand: RefCell<HashSet<String>>,
    /// Places of everybody.
    all: Arc<Semaphore>,
    /// Endpoints that took all their time at the last attempt share half of the places, so that any number of them leaves
    /// the other half free.
    slow: Arc<Semaphore>,
}

struct Endpoint {
    places: Arc<Semaphore>,
    in_hand: Cell<usize>,
    slow: Cell<bool>,
}

/// A delivery that somebody works on. Dropped, it is out of hand.
pub(super) struct InHand {
    places: Rc<Places>,
    endpoint: Rc<Endpoint>,
    name: String,
    id: String,
}

/// The right to make one attempt.
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    _slow: Option<OwnedSemaphorePermit>,
    _endpoint: OwnedSemaphorePermit,
}

impl Places {
    /// `per_endpoint` attempts at one endpoint and `most` in all at the same time, at least one and two.
    pub(super) fn new(per_endpoint: usize, most: usize) -> Rc<Self> {
        let most = most.max(2);
        Rc::new(Self {
            per_endpoint: per_endpoint.max(1),
            most,
            endpoints: RefCell::default(),
            in_hand: RefCell::default(),
            all: Arc::new(Semaphore::new(most)),
            slow: Arc::new(Semaphore::new(most / 2)),
        })
    }

    /// Takes a delivery in hand; nothing when it is in somebody's already.
    pub(super) fn take(self: &Rc<Self>, id: &str, endpoint: &str) -> Option<InHand> {
        if !self.in_hand.borrow_mut().insert(id.to_owned()) {
            return None;
        }
        let per_endpoint = self.per_endpoint;
        let endpoint_of = || {
            Rc::new(Endpoint {
                places: Arc::new(Semaphore::new(per_endpoint)),
                in_hand: Cell::new(0),
                slow: Cell::new(false),
            })
        };
        let found = Rc::clone(
            self.endpoints
                .borrow_mut()
                .entry(endpoint.to_owned())
                .or_insert_with(endpoint_of),
        );
        found.in_hand.set(found.in_hand.get() + 1);
        Some(InHand {
            places: Rc::clone(self),
            endpoint: found,
            name: endpoint.to_owned(),
            id: id.to_owned(),
        })
    }

    /// Deliveries in somebody's hand.
    pub(super) fn in_hand(&self) -> usize {
        self.in_hand.borrow().len()
    }

    /// How many more may be taken in hand from the outbox.
    pub(super) fn free(&self) -> usize {
        self.most.saturating_sub(self.in_hand())
    }

    /// At most so many of one endpoint are taken in hand from the outbox.
    pub(super) fn per_endpoint(&self) -> usize {
        self.per_endpoint
    }

    /// Endpoints of which nothing more should be taken in hand.
    pub(super) fn full(&self) -> Vec<String> {
        let endpoints = self.endpoints.borrow();
        let full = endpoints
            .iter()
            .filter(|(_, endpoint)| endpoint.in_hand.get() >= self.per_endpoint);
        full.map(|(name, _)| name.clone()).collect()
    }
}

impl InHand {
    /// Waits for a place. The endpoint's own comes first, so that who waits for it takes none of the others'.
    pub(super) async fn place(&self) -> Place {
        const OPEN: &str = "the places are never closed";
        let endpoint = Arc::clone(&self.endpoint.places).acquire_owned().await.expect(OPEN);
        let slow = match self.endpoint.slow.get() {
            true => Some(Arc::clone(&self.places.slow).acquire_owned().await.expect(OPEN)),
            false => None,
        };
        Place {
            _all: Arc::clone(&self.places.all).acquire_owned().await.expect(OPEN),
            _slow: slow,
            _endpoint: endpoint,
        }
    }

    /// Notes whether the last attempt took all its time.
    pub(super) fn was_slow(&self, slow: bool) {
        self.endpoint.slow.set(slow);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.places.in_hand.borrow_mut().remove(&self.id);
        let left = self.endpoint.in_hand.get() - 1;
        self.endpoint.in_hand.set(left);
        if left == 0 && !self.endpoint.slow.get() {
            self.places.endpoints.borrow_mut().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn an_endpoint_has_its_places_and_takes_no_more_of_the_others() {
        let places = Places::new(2, 10);
        let hands: Vec<_> = (0..5)
            .map(|n| places.take(&format!("a-{n}"), "a").expect("free"))
            .collect();
        let got: Vec<_> = hands.iter().filter_map(|hand| hand.place().now_or_never()).collect();
        assert_eq!(got.len(), 2);
        let other = places.take("b-1", "b").expect("free");
        assert!(other.place().now_or_never().is_some());
        assert_eq!(places.full(), ["a"]);
        assert_eq!(places.in_hand(), 6);
        drop(got);
        assert!(hands[4].place().now_or_never().is_some());
    }

    #[test]
    fn a_delivery_is_in_one_hand_only() {
        let places = Places::new(2, 10);
        let hand = places.take("d-1", "a").expect("free");
        assert!(places.take("d-1", "a").is_none());
        drop(hand);
        assert!(places.take("d-1", "a").is_some());
        assert_eq!(places.in_hand(), 0);
        assert!(
            places.endpoints.borrow().is_empty(),
            "what is over leaves nothing behind"
        );
    }

    #[test]
    fn any_number_of_slow_endpoints_leaves_half_of_the_places_free() {
        let places = Places::new(1, 10);
        let hands: Vec<_> = (0..20)
            .map(|n| places.take(&format!("d-{n}"), &format!("e-{n}")).expect("free"))
            .collect();
        let (slow, quick) = hands.split_at(10);
        for hand in slow {
            hand.was_slow(true);
        }
        let held: Vec<_> = slow.iter().filter_map(|hand| hand.place().now_or_never()).collect();
        assert_eq!(held.len(), 5);
        let quick: Vec<_> = quick.iter().filter_map(|hand| hand.place().now_or_never()).collect();
        assert_eq!(quick.len(), 5);
    }
}
