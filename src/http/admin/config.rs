//! `/admin/api/config` and `/admin/api/actors`: what the service goes by, and how its actors do. Reads only.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use actors::messages::house::{AwaitQuiet, Ping};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{join, join_all};
use serde_json::json;

use crate::http::server::{HttpDoors, HttpShared};

/// How long an actor may take to say that it has nothing in hand.
const PATIENCE: Duration = Duration::from_millis(100);

/// `{default, overlay, merged, provenance}`: what ships, what was set besides (null: nothing), what holds, and where each
/// value came from. Secrets are `[redacted]`.
#[utoipa::path(
    get,
    path = "/admin/api/config",
    tag = "house",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn show(shared: Data<HttpShared>) -> HttpResponse {
    HttpResponse::Ok().json(&shared.config)
}

/// `{since, actors: [{name, state, mailbox: {capacity, waitMs}, handled, perMinute}]}`. `waitMs` is how long a message waits in
/// the mailbox now, null where that is over 100 ms or nobody is there to take it: so deep it is in time. `state` is `idle`, `busy` (something is in
/// hand) or `gone`; `handled` counts what was finished since the service started (`since`), and is null while the actor is
/// busy; `perMinute` is that of the last minutes in which somebody looked. An actor that falls is not started again alone:
/// the service stops, and its next start takes everything up.
#[utoipa::path(
    get,
    path = "/admin/api/actors",
    tag = "house",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn actors(shared: Data<HttpShared>, doors: Data<HttpDoors>) -> HttpResponse {
    let seen = look(&shared, &doors).await;
    let actors: Vec<_> = seen
        .iter()
        .map(|actor| {
            json!({
                "name": actor.name, "state": actor.state.as_str(), "mailbox": { "capacity": actor.capacity, "waitMs": actor.wait_ms },
                "handled": actor.handled, "perMinute": actor.per_minute,
            })
        })
        .collect();
    HttpResponse::Ok().json(json!({ "since": shared.looks.since, "actors": actors }))
}

/// What an actor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Nothing,
    /// Something is in hand.
    Work,
    Gone,
}

impl Doing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "idle",
            Self::Work => "busy",
            Self::Gone => "gone",
        }
    }
}

/// How one actor does.
#[derive(Debug, Clone)]
pub(crate) struct ActorNow {
    pub(crate) name: &'static str,
    pub(crate) state: Doing,
    /// How many messages may wait for it.
    pub(crate) capacity: usize,
    /// How long a message waits for it, in ms; not known where that is too long to be waited for.
    pub(crate) wait_ms: Option<f64>,
    /// What it has finished; not known while it is at work.
    pub(crate) handled: Option<u64>,
    /// The same by the minute, lately.
    pub(crate) per_minute: Option<f64>,
}

/// Asks every actor that works for the whole house.
pub(crate) async fn look(shared: &HttpShared, doors: &HttpDoors) -> Vec<ActorNow> {
    let asked = doors.desk.stations.iter().map(|station| async move {
        let clock = &shared.clock;
        let begun = clock.now();
        let turn = async {
            tokio::select! {
                answer = station.ping.send(Ping) => answer.ok().map(|()| clock.now() - begun),
                () = clock.sleep(PATIENCE) => None,
            }
        };
        let quiet = async {
            tokio::select! {
                answer = station.quiet.send(AwaitQuiet) => match answer {
                    Ok(handled) => (Doing::Nothing, Some(handled)),
                    Err(_) => (Doing::Gone, None),
                },
                () = clock.sleep(PATIENCE) => (Doing::Work, None),
            }
        };
        let (turn, (state, handled)) = join(turn, quiet).await;
        ActorNow {
            name: station.name,
            state,
            capacity: station.capacity,
            wait_ms: turn.map(|waited| waited.as_seconds_f64() * 1_000.0),
            handled,
            per_minute: None,
        }
    });
    let mut seen = join_all(asked).await;
    shared.looks.compare(&mut seen, shared.clock.now());
    seen
}

/// What was counted when somebody looked, for as long as it is good for a rate.
pub(crate) struct Looks {
    /// When the service started to count.
    pub(crate) since: DateTime<Utc>,
    past: Mutex<VecDeque<Look>>,
}

struct Look {
    at: DateTime<Utc>,
    handled: Vec<(&'static str, u64)>,
}

impl Looks {
    /// A rate is that of so long a time at most.
    const SPAN: TimeDelta = TimeDelta::minutes(2);
    /// Looks closer together than this are one.
    const APART: TimeDelta = TimeDelta::seconds(5);

    pub(crate) fn new(since: DateTime<Utc>) -> Self {
        Self {
            since,
            past: Mutex::default(),
        }
    }

    /// Sets the rates, and remembers the counts for those who look next.
    fn compare(&self, seen: &mut [ActorNow], now: DateTime<Utc>) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        while past.front().is_some_and(|look| now - look.at > Self::SPAN) {
            past.pop_front();
        }
        for actor in seen.iter_mut() {
            let before = past.iter().find_map(|look| {
                let counted = look.handled.iter().find(|(name, _)| *name == actor.name)?;
                Some((look.at, counted.1))
            });
            let (at, count) = before.unwrap_or((self.since, 0));
            let ms = (now - at).num_milliseconds();
            #[expect(clippy::cast_precision_loss, reason = "a rate is for eyes")]
            if let Some(handled) = actor.handled
                && ms >= 1_000
            {
                actor.per_minute = Some(handled.saturating_sub(count) as f64 * 60_000.0 / ms as f64);
            }
        }
        if past.back().is_none_or(|look| now - look.at >= Self::APART) {
            let handled = seen.iter().filter_map(|actor| Some((actor.name, actor.handled?)));
            past.push_back(Look {
                at: now,
                handled: handled.collect(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minutes_in_which_somebody_looked() {
        let start = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let looks = Looks::new(start);
        let rate = |second: i64, handled: Option<u64>| {
            let mut seen = [ActorNow {
                name: "dispatcher",
                state: Doing::Nothing,
                capacity: 1,
                wait_ms: None,
                handled,
                per_minute: None,
            }];
            looks.compare(&mut seen, start + TimeDelta::seconds(second));
            seen[0].per_minute
        };
        for (second, handled, expected) in [
            (0, Some(0), None),
            (60, Some(30), Some(30.0)),
            (61, None, None),
            (120, Some(60), Some(30.0)),
            // Two minutes ago it stood at 60.
            (240, Some(60), Some(0.0)),
            (1_000, Some(100), Some(6.0)),
        ] {
            assert_eq!(rate(second, handled), expected, "after {second} s");
        }
    }
}
