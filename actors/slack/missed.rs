//! What was said while nobody listened: reads it from the history of the conversations that were under way. Knows the Web API
//! and who was talked to last; decides nothing about a message.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use actix::Recipient;
use chrono::{DateTime, TimeDelta, Utc};

use super::hear;
use super::web::{SlackFault, SlackWeb};
use crate::clock::SharedClock;
use crate::domain::{ChatThread, Source};
use crate::messages::slack::Heard;
use crate::messages::store::{LatestThreads, StoreResult};
use crate::messaging::desk::IDLE;

/// After a stop of the service: who was talked to within this time may have gone on talking.
const AFTER_A_STOP: TimeDelta = TimeDelta::hours(12);
/// Threads that are looked at. Each costs one call, and Slack takes fifty a minute.
const THREADS: usize = 30;
/// Places that are kept to be looked at later.
const MOST_LEFT: usize = 200;
/// Pages of 200 messages of one thread or channel.
const PAGES: usize = 2;
/// What cannot be read now is tried again after so long.
const AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Looks for messages that no socket brought.
pub(super) struct Missed {
    web: SlackWeb,
    latest: Recipient<LatestThreads>,
    clock: SharedClock,
    /// The first look covers the time when the service was down.
    looked: Cell<bool>,
    /// Places that could not be read yet. They are kept with the message after which to look: what is heard meanwhile comes
    /// after what was missed.
    left: RefCell<Vec<Place>>,
}

/// Where to look, and after which message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    channel: String,
    /// A thread, or what begins in the channel itself.
    thread: Option<String>,
    oldest: String,
}

impl Missed {
    pub(super) fn new(web: SlackWeb, latest: Recipient<LatestThreads>, clock: SharedClock) -> Self {
        Self {
            web,
            latest,
            clock,
            looked: Cell::new(false),
            left: RefCell::default(),
        }
    }

    /// Hands every message since the last one that was heard to `hear`, which knows those it has heard already. Answers when
    /// to look again, if something could not be read.
    pub(super) async fn look(
        &self,
        team: &str,
        bot: &str,
        hear: impl AsyncFn(Heard) -> StoreResult<()>,
    ) -> Option<DateTime<Utc>> {
        let back = if self.looked.get() { IDLE } else { AFTER_A_STOP };
        let order = LatestThreads {
            platform: Source::Slack,
            since: self.clock.now() - back,
            limit: THREADS,
        };
        match self.latest.send(order).await {
            Ok(Ok(threads)) => self.remember(places(&threads)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "missed messages cannot be looked for now");
                return Some(self.clock.now() + AGAIN);
            }
            // The house goes down.
            Err(_) => return None,
        }
        self.looked.set(true);
        let mut heard = 0;
        while let Some(place) = self.first() {
            match self.read(&place, team, bot, &hear).await {
                Ok(found) => heard += found,
                Err(again) => return Some(again),
            }
            self.left.borrow_mut().retain(|left| *left != place);
        }
        if heard > 0 {
            tracing::info!(messages = heard, "heard what was said while nobody listened");
        }
        None
    }

    fn remember(&self, places: Vec<Place>) {
        let mut left = self.left.borrow_mut();
        for place in places {
            let known = |left: &Place| left.channel == place.channel && left.thread == place.thread;
            if left.len() < MOST_LEFT && !left.iter().any(known) {
                left.push(place);
            }
        }
    }

    fn first(&self) -> Option<Place> {
        self.left.borrow().first().cloned()
    }

    /// How many messages of a place were handed over; or when to look again.
    async fn read(
        &self,
        place: &Place,
        team: &str,
        bot: &str,
        hear: &impl AsyncFn(Heard) -> StoreResult<()>,
    ) -> Result<usize, DateTime<Utc>> {
        let Place {
            channel,
            thread,
            oldest,
        } = place;
        let past = match self.web.history(channel, thread.as_deref(), oldest, PAGES).await {
            Ok((past, _)) => past,
            Err(SlackFault::Wait { until }) => return Err(until),
            Err(SlackFault::Retryable(error)) => {
                tracing::warn!(error, "missed messages cannot be read now");
                return Err(self.clock.now() + AGAIN);
            }
            Err(fault) => {
                tracing::warn!(error = %fault, channel, "missed messages of a channel cannot be read");
                return Ok(0);
            }
        };
        let mut heard = 0;
        for past in past.iter().filter(|past| past.ts > *oldest) {
            // The ids of conversations between two begin with a D.
            let Some(found) = hear::remembered(past, team, channel, channel.starts_with('D'), bot) else {
                continue;
            };
            if let Err(error) = hear(found).await {
                tracing::warn!(%error, "a missed message could not be written down");
                return Err(self.clock.now() + AGAIN);
            }
            heard += 1;
        }
        Ok(heard)
    }
}

/// Each thread after its last message; then each channel after the last message that began a thread with us.
fn places(threads: &[ChatThread]) -> Vec<Place> {
    let mut channels: BTreeMap<&str, &str> = BTreeMap::new();
    let mut places = Vec::with_capacity(threads.len() * 2);
    for thread in threads {
        let prefix = format!("{}-{}-", Source::Slack, thread.channel);
        let Some(ts) = thread.last.as_str().strip_prefix(&prefix) else {
            continue;
        };
        places.push(Place {
            channel: thread.channel.clone(),
            thread: Some(thread.thread.clone()),
            oldest: ts.to_owned(),
        });
        let newest = channels.entry(&thread.channel).or_insert(&thread.thread);
        *newest = (*newest).max(&thread.thread);
    }
    places.extend(channels.into_iter().map(|(channel, oldest)| Place {
        channel: channel.to_owned(),
        thread: None,
        oldest: oldest.to_owned(),
    }));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_is_read_from_its_own_last_message_and_each_channel_once() {
        let thread = |channel: &str, thread: &str, last: &str| ChatThread {
            channel: channel.into(),
            thread: thread.into(),
            last: format!("slack-{channel}-{last}").parse().expect("an id"),
        };
        let mut threads = vec![
            thread("C1", "1.0", "3.0"),
            thread("C1", "2.0", "2.5"),
            thread("D2", "5.0", "5.0"),
        ];
        let place = |channel: &str, thread: Option<&str>, oldest: &str| Place {
            channel: channel.into(),
            thread: thread.map(str::to_owned),
            oldest: oldest.into(),
        };
        assert_eq!(
            places(&threads),
            [
                place("C1", Some("1.0"), "3.0"),
                place("C1", Some("2.0"), "2.5"),
                place("D2", Some("5.0"), "5.0"),
                place("C1", None, "2.0"),
                place("D2", None, "5.0"),
            ]
        );
        threads[0].last = "an-event-of-another-kind".parse().expect("an id");
        assert_eq!(places(&threads).len(), 4);
    }
}
