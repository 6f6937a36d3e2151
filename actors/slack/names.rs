//! Names of people, looked up once and kept for a while: within a second, or their id has to do. Knows no store.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{Either, select};

use super::web::SlackWeb;
use crate::clock::SharedClock;

/// So many names are kept.
const MOST: usize = 1_000;
/// A name is believed so long.
const KEPT: TimeDelta = TimeDelta::hours(6);
/// Who could not be found is not looked for again so soon.
const UNKNOWN: TimeDelta = TimeDelta::minutes(1);
/// Slack waits three seconds for an acknowledgement, which waits for the name.
const BUDGET: Duration = Duration::from_secs(1);

/// The names of the people who talk to us.
pub(super) struct Names {
    web: SlackWeb,
    clock: SharedClock,
    known: RefCell<Known>,
}

/// Names (none: not found) with the instant until which they are believed, and the order in which they came.
#[derive(Default)]
struct Known {
    names: HashMap<String, (Option<String>, DateTime<Utc>)>,
    order: VecDeque<String>,
}

impl Known {
    fn keep(&mut self, user: &str, name: Option<String>, until: DateTime<Utc>) {
        if self.names.insert(user.to_owned(), (name, until)).is_none() {
            self.order.push_back(user.to_owned());
        }
        while self.names.len() > MOST {
            let Some(oldest) = self.order.pop_front() else { return };
            self.names.remove(&oldest);
        }
    }
}

impl Names {
    pub(super) fn new(web: SlackWeb, clock: SharedClock) -> Self {
        Self {
            web,
            clock,
            known: RefCell::default(),
        }
    }

    /// The name of a user, or the id where Slack does not say within the budget.
    pub(super) async fn of(&self, user: &str) -> String {
        let now = self.clock.now();
        if let Some((name, until)) = self.known.borrow().names.get(user)
            && *until > now
        {
            return name.clone().unwrap_or_else(|| user.to_owned());
        }
        let lookup = std::pin::pin!(self.web.user_name(user));
        let name = match select(lookup, self.clock.sleep(BUDGET)).await {
            Either::Left((Ok(name), _)) => name,
            Either::Left((Err(_), _)) | Either::Right(_) => None,
        };
        let kept = if name.is_some() { KEPT } else { UNKNOWN };
        self.known.borrow_mut().keep(user, name.clone(), now + kept);
        name.unwrap_or_else(|| user.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_name_makes_room_for_a_new_one() {
        let mut known = Known::default();
        let until = DateTime::from_timestamp(0, 0).expect("the epoch exists");
        for n in 0..MOST + 5 {
            known.keep(&format!("U{n}"), None, until);
            known.keep("U0", Some("ann".into()), until);
        }
        assert_eq!(known.names.len(), MOST);
        assert!(!known.names.contains_key("U1") && known.names.contains_key(&format!("U{}", MOST + 4)));
        assert!(known.order.len() <= MOST + 1, "the order does not grow by itself");
    }
}
