//! One round of sweeping, from the oldest rows to the room that is given back. Small steps with pauses: whoever writes comes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::SharedClock;
use crate::domain::{Prunable, Pruned, RunFilter, RunId, RunStatus, Space};
use crate::folders;
use crate::messages::store::{GiveBack, ListRuns, Prune, StoreError, StoreResult};

/// Rows that one step looks at.
const STEP: usize = 200;

/// Pages that one step gives back: 1 MiB, which is moved at worst. About 4 ms, as a step of removing.
const PAGES: u32 = 256;

/// What is left to others between two steps.
const PAUSE: Duration = Duration::from_millis(25);

/// Nothing younger is removed to save room: GitHub sends a delivery again for three days, and what is forgotten would be done twice.
const TOO_YOUNG: TimeDelta = TimeDelta::days(3);

/// Free room that the database keeps for its next rows, in bytes.
const SPARE: u64 = 1024 * 1024;

/// Live runs that are read at a time.
const LIVE_PAGE: usize = 200;

/// How long things are kept after they are over.
#[derive(Debug, Clone, Default)]
pub struct RetentionRules {
    /// Events, and conversations after their last line; absent: for ever.
    pub events: Option<Duration>,
    /// Payloads of events as they came in; absent: as long as the event.
    pub payloads: Option<Duration>,
    /// Runs, and firings of schedules; absent: for ever.
    pub runs: Option<Duration>,
    /// Replies and deliveries; absent: for ever.
    pub deliveries: Option<Duration>,
    /// Logs of runs; absent: as long as the run.
    pub logs: Option<Duration>,
    /// Bytes of the database, over which the oldest goes earlier; absent: as much as it takes.
    pub max_size: Option<u64>,
    /// Where logs are: `<runs_dir>/<run id>/`.
    pub runs_dir: PathBuf,
}

impl RetentionRules {
    /// Up to when each kind of rows must have been over to go now. Kinds that are kept for ever are not named.
    #[must_use]
    pub fn cutoffs(&self, now: DateTime<Utc>) -> Vec<(Prunable, DateTime<Utc>)> {
        let age = |what| match what {
            Prunable::Events | Prunable::Conversations => self.events,
            Prunable::Payloads => self.payloads,
            Prunable::Runs | Prunable::Firings => self.runs,
            Prunable::Deliveries => self.deliveries,
        };
        // What was said goes before the run that said it, and that before the event that it is about.
        [
            Prunable::Deliveries,
            Prunable::Runs,
            Prunable::Firings,
            Prunable::Conversations,
            Prunable::Events,
            Prunable::Payloads,
        ]
        .into_iter()
        .filter_map(|what| Some((what, before(now, age(what)?))))
        .collect()
    }
}

fn before(now: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(age)
        .ok()
        .and_then(|age| now.checked_sub_signed(age))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// What the sweeper may say.
#[derive(Clone)]
pub struct SweeperDoors {
    /// The store: old rows go.
    pub prune: Recipient<Prune>,
    /// The store: free room goes.
    pub give_back: Recipient<GiveBack>,
    /// The store: which runs are live, before logs go.
    pub list: Recipient<ListRuns>,
}

/// What became of a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that are gone.
    pub rows: BTreeMap<Prunable, u64>,
    /// Folders of logs that are gone.
    pub logs: usize,
    /// Bytes that the disk has back.
    pub given_back: u64,
}

impl Swept {
    fn note(&mut self, what: Prunable, removed: u64) {
        if removed > 0 {
            *self.rows.entry(what).or_default() += removed;
        }
    }
}

/// Sweeps once. What a stop cuts off is done in the next round.
///
/// # Errors
/// The store's, when it cannot do a step; what went before stays done.
pub async fn sweep(rules: &RetentionRules, doors: &SweeperDoors, clock: &SharedClock) -> StoreResult<Swept> {
    let now = clock.now();
    let mut round = Round {
        rules,
        doors,
        clock,
        swept: Swept::default(),
    };
    for (what, before) in rules.cutoffs(now) {
        let mut after = Some(0);
        while let Some(position) = after {
            after = round.step(what, before, position, false).await?.next;
            if after.is_some() {
                clock.sleep(PAUSE).await;
            }
        }
    }
    round.make_room(now).await?;
    round.give_back().await?;
    round.old_logs(now).await?;
    Ok(round.swept)
}

struct Round<'a> {
    rules: &'a RetentionRules,
    doors: &'a SweeperDoors,
    clock: &'a SharedClock,
    swept: Swept,
}

impl Round<'_> {
    /// One step, and the logs of the runs that went with it.
    async fn step(&mut self, what: Prunable, before: DateTime<Utc>, after: i64, for_room: bool) -> StoreResult<Pruned> {
        let order = Prune {
            what,
            before,
            after,
            most: STEP,
            for_room,
        };
        let pruned = answered(self.doors.prune.send(order).await)?;
        self.swept.note(what, pruned.removed);
        if !pruned.runs.is_empty() {
            let names = pruned.runs.iter().map(ToString::to_string).collect();
            self.swept.logs += folders::remove_those(self.rules.runs_dir.clone(), names).await;
        }
        Ok(pruned)
    }

    /// Removes the oldest until the database is as small as it is to be: payloads first, which are most of it and are missed
    /// the least, then of each kind in turn.
    async fn make_room(&mut self, now: DateTime<Utc>) -> StoreResult<()> {
        let Some(most) = self.rules.max_size else {
            return Ok(());
        };
        let all = Prunable::ALL.iter().copied();
        let (payloads, others): (Vec<_>, Vec<_>) = all.partition(|what| *what == Prunable::Payloads);
        for kinds in [payloads, others] {
            let mut left: BTreeMap<Prunable, i64> = kinds.into_iter().map(|what| (what, 0)).collect();
            while !left.is_empty() {
                if self.fits(most).await? {
                    return Ok(());
                }
                for (what, after) in left.clone() {
                    match self.step(what, now - TOO_YOUNG, after, true).await?.next {
                        Some(next) => {
                            left.insert(what, next);
                            self.clock.sleep(PAUSE).await;
                        }
                        None => drop(left.remove(&what)),
                    }
                }
            }
        }
        if !self.fits(most).await? {
            tracing::warn!(
                used = self.space(0).await?.used,
                max_size = most,
                "the database is larger than retention.max_size, and all that is left is live, set aside or younger than three days: \
                 raise retention.max_size, or look at what comes in"
            );
        }
        Ok(())
    }

    async fn fits(&self, most: u64) -> StoreResult<bool> {
        Ok(self.space(0).await?.used <= most)
    }

    /// Gives room back until little is free.
    async fn give_back(&mut self) -> StoreResult<()> {
        let mut space = self.space(0).await?;
        // A house that fills its room again every day need not move it every day.
        while space.shrinks && space.free > SPARE.max(space.used / 20) {
            let before = space.free;
            space = self.space(PAGES).await?;
            if space.free >= before {
                return Ok(());
            }
            self.swept.given_back += before - space.free;
            self.clock.sleep(PAUSE).await;
        }
        if let Some(most) = self.rules.max_size
            && !space.shrinks
            && space.used + space.free > most
        {
            tracing::warn!(
                used = space.used,
                free = space.free,
                max_size = most,
                "the database of an older version keeps its free room: stop the service once and run `firstlight prune --compact`"
            );
        }
        Ok(())
    }

    async fn space(&self, most_pages: u32) -> StoreResult<Space> {
        answered(self.doors.give_back.send(GiveBack { most_pages }).await)
    }

    /// Removes logs that are older than they are to be, and those that a stop left behind when their run went.
    async fn old_logs(&mut self, now: DateTime<Utc>) -> StoreResult<()> {
        let Some(age) = self.rules.logs.or(self.rules.runs) else {
            return Ok(());
        };
        let runs_dir = self.rules.runs_dir.clone();
        let mut old = folders::older_than(runs_dir.clone(), before(now, age)).await;
        // Nothing that is not a run's.
        old.retain(|name| name.parse::<RunId>().is_ok());
        if old.is_empty() {
            return Ok(());
        }
        let live = self.live().await?;
        self.swept.logs += folders::remove(runs_dir, old, live).await;
        Ok(())
    }

    /// Names of the folders of live runs.
    async fn live(&self) -> StoreResult<BTreeSet<String>> {
        let (mut live, mut before) = (BTreeSet::new(), None);
        loop {
            let filter = RunFilter {
                statuses: vec![RunStatus::Queued, RunStatus::Running, RunStatus::Paused],
                before,
                limit: LIVE_PAGE,
                ..RunFilter::default()
            };
            let (page, _) = answered(self.doors.list.send(ListRuns(filter)).await)?;
            live.extend(page.items.iter().map(|run| run.id.to_string()));
            before = page.next;
            if before.is_none() {
                return Ok(live);
            }
        }
    }
}

/// A store that is gone is closed.
fn answered<T>(answer: Result<StoreResult<T>, MailboxError>) -> StoreResult<T> {
    answer.unwrap_or(Err(StoreError::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_ever_is_not_asked_for() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let day = Duration::from_secs(86_400);
        let rules = RetentionRules {
            runs: Some(2 * day),
            deliveries: Some(Duration::MAX),
            ..RetentionRules::default()
        };
        let two_days_ago = now - TimeDelta::days(2);
        assert_eq!(
            rules.cutoffs(now),
            [
                (Prunable::Deliveries, DateTime::<Utc>::MIN_UTC),
                (Prunable::Runs, two_days_ago),
                (Prunable::Firings, two_days_ago),
            ]
        );
        assert_eq!(RetentionRules::default().cutoffs(now), []);
    }
}
