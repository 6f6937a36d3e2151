//! `/admin/api/config` and `/admin/api/actors`: what the service goes by, and how its actors do. Reads only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use actors::messages::house::{AwaitQuiet, Ping};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join, join_all};
use serde_json::json;

use super::Station;
use crate::http::server::{HttpDoors, HttpShared};

/// How long an actor may take to say that it has nothing in hand.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

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
                answer = shared.looks.quiet(station) => match answer {
                    Some(handled) => (Doing::Nothing, Some(handled)),
                    None => (Doing::Gone, None),
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
    /// Actors that have not answered yet. One that is always at work is asked once, and not again by everybody who looks: it
    /// keeps each question until it rests.
    asked: Mutex<BTreeMap<&'static str, Quiet>>,
}

/// What an actor has finished when it rests next; nothing, if it is gone.
type Quiet = Shared<BoxFuture<'static, Option<u64>>>;

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
            asked: Mutex::default(),
        }
    }

    /// The answer to the question that an actor has in hand, or to a new one.
    fn quiet(&self, station: &Station) -> Quiet {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = asked.get(station.name) {
            // An answer that came while nobody looked is an old one.
            if waiting.clone().now_or_never().is_none() {
                return waiting.clone();
            }
        }
        let door = station.quiet.clone();
        let quiet = async move { door.send(AwaitQuiet).await.ok() }.boxed().shared();
        asked.insert(station.name, quiet.clone());
        quiet
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix::{Actor, Context, Handler, ResponseFuture};

    use super::*;

    /// An actor that never rests.
    struct Busy(Arc<AtomicUsize>);

    impl Actor for Busy {
        type Context = Context<Self>;
    }

    impl Handler<Ping> for Busy {
        type Result = ();

        fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
    }

    impl Handler<AwaitQuiet> for Busy {
        type Result = ResponseFuture<u64>;

        fn handle(&mut self, _: AwaitQuiet, _: &mut Context<Self>) -> Self::Result {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }
    }

    #[actix::test]
    async fn an_actor_that_never_rests_is_asked_once_whoever_looks() {
        let questions = Arc::new(AtomicUsize::new(0));
        let busy = Busy(Arc::clone(&questions)).start();
        let station = Station {
            name: "busy",
            capacity: 16,
            quiet: busy.clone().recipient(),
            ping: busy.clone().recipient(),
        };
        let looks = Looks::new(DateTime::from_timestamp(1_000_000, 0).expect("a time"));
        for _ in 0..5 {
            assert_eq!(looks.quiet(&station).now_or_never(), None);
            busy.send(Ping).await.expect("there");
        }
        assert_eq!(questions.load(Ordering::Relaxed), 1);
    }

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
