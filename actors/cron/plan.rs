//! Which instants of a schedule are fired and which are only accounted for. Pure: the time is passed in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::definitions::Misfire;
use super::schedule::Schedule;

/// Up to this late a firing is on time: the machine was busy, or the service was restarted.
pub(super) const GRACE: TimeDelta = TimeDelta::seconds(60);

/// Most instants that are looked at one by one. In a longer gap those in the middle are only estimated.
const MOST: usize = 3_000;

/// The end of a long gap is always looked at; a schedule that is dense enough to fill [`MOST`] has an instant in it.
const TAIL: TimeDelta = TimeDelta::hours(48);

/// Most missed firings that are made up for one by one.
const MOST_CAUGHT_UP: usize = 100;

/// What is done about the instants up to now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Fired as planned, oldest first.
    pub(super) on_time: Vec<DateTime<Utc>>,
    /// Missed and made up for, oldest first.
    pub(super) caught_up: Vec<DateTime<Utc>>,
    /// Missed and not made up for.
    pub(super) missed: Option<Missed>,
}

/// Instants that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// How many.
    pub(super) count: u64,
    /// Whether there were more than were counted.
    pub(super) at_least: bool,
    /// The first.
    pub(super) first: DateTime<Utc>,
    /// The last.
    pub(super) last: DateTime<Utc>,
}

/// Decides on every instant after `cursor` and not after `now`.
pub(super) fn decide(
    schedule: &Schedule,
    cursor: DateTime<Utc>,
    now: DateTime<Utc>,
    rule: Misfire,
    max_age: Duration,
) -> Plan {
    let mut instants = up_to(schedule, cursor, now);
    let at_least = instants.len() >= MOST;
    if at_least && let Some(last) = instants.last() {
        instants.extend(up_to(schedule, (*last).max(now - TAIL), now));
    }
    let late = instants.partition_point(|at| now - *at > GRACE);
    let on_time = instants.split_off(late);
    let too_old = match TimeDelta::from_std(max_age) {
        Ok(age) => instants.partition_point(|at| now - *at > age),
        Err(_) => 0,
    };
    let made_up_for = match rule {
        Misfire::Skip => 0,
        // What fires on time does for the latest as well.
        Misfire::Once => usize::from(on_time.is_empty()),
        Misfire::All => MOST_CAUGHT_UP,
    };
    let from = (instants.len() - made_up_for.min(instants.len())).max(too_old);
    let caught_up = instants.split_off(from);
    let missed = match (instants.first(), instants.last()) {
        (Some(first), Some(last)) => Some(Missed {
            count: instants.len() as u64,
            at_least,
            first: *first,
            last: *last,
        }),
        _ => None,
    };
    Plan {
        on_time,
        caught_up,
        missed,
    }
}

fn up_to(schedule: &Schedule, after: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let mut instants = Vec::new();
    let mut at = after;
    while instants.len() < MOST
        && let Some(firing) = schedule.after(at)
        && firing.at <= now
    {
        at = firing.at;
        instants.push(at);
    }
    instants
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn decided(rule: Misfire, cursor: &str, now: &str, hours: u64) -> Plan {
        let schedule = Schedule::parse("0 * * * *", None).expect("good");
        let age = Duration::from_secs(hours * 3600);
        decide(&schedule, at(cursor), at(now), rule, age)
    }

    #[test]
    fn what_comes_in_time_fires_whatever_the_rule() {
        for rule in Misfire::ALL {
            let plan = decided(*rule, "2027-01-04T09:30:00Z", "2027-01-04T10:00:40Z", 24);
            assert_eq!(plan.on_time, [at("2027-01-04T10:00:00Z")], "{rule}");
            assert!(plan.caught_up.is_empty() && plan.missed.is_none());
        }
    }

    #[test]
    fn what_was_missed_follows_the_rule() {
        let missed = |count, first: &str, last: &str| {
            Some(Missed {
                count,
                at_least: false,
                first: at(first),
                last: at(last),
            })
        };
        // 07:00, 08:00 and 09:00 were missed.
        let of = |rule, hours| decided(rule, "2027-01-04T06:30:00Z", "2027-01-04T09:40:00Z", hours);
        let skip = of(Misfire::Skip, 24);
        assert_eq!(skip.missed, missed(3, "2027-01-04T07:00:00Z", "2027-01-04T09:00:00Z"));
        let once = of(Misfire::Once, 24);
        assert_eq!(once.caught_up, [at("2027-01-04T09:00:00Z")]);
        assert_eq!(once.missed, missed(2, "2027-01-04T07:00:00Z", "2027-01-04T08:00:00Z"));
        let all = of(Misfire::All, 2);
        assert_eq!(all.caught_up, [at("2027-01-04T08:00:00Z"), at("2027-01-04T09:00:00Z")]);
        assert_eq!(all.missed, missed(1, "2027-01-04T07:00:00Z", "2027-01-04T07:00:00Z"));
        let too_old = decided(Misfire::Once, "2027-01-04T06:30:00Z", "2027-01-04T09:40:00Z", 0);
        assert_eq!(too_old.missed.map(|missed| missed.count), Some(3));
        // One that fires now does for the one before.
        let both = decided(Misfire::Once, "2027-01-04T08:30:00Z", "2027-01-04T10:00:10Z", 24);
        assert_eq!(both.on_time, [at("2027-01-04T10:00:00Z")]);
        assert_eq!(both.missed.map(|missed| missed.count), Some(1));
    }

    #[test]
    fn a_year_of_minutes_is_decided_on_at_once() {
        let schedule = Schedule::parse("* * * * *", None).expect("good");
        let (from, now) = (at("2027-01-01T00:00:00Z"), at("2028-01-01T00:10:30Z"));
        let plan = decide(&schedule, from, now, Misfire::Once, Duration::from_secs(86_400));
        assert_eq!(plan.on_time, [at("2028-01-01T00:10:00Z")]);
        let missed = plan.missed.expect("many");
        assert!(missed.at_least && missed.count >= 3_000, "{missed:?}");
        assert_eq!(missed.last, at("2028-01-01T00:09:00Z"));
    }

    proptest! {
        /// Each instant is in exactly one of the three parts, in order, and none lies outside of the gap.
        #[test]
        fn every_instant_is_accounted_for_once(minutes in 0_i64..4_000, start in 0_i64..10_000, step in 1_u32..30,
                                               rule in 0_usize..3, hours in 0_u64..80) {
            let schedule = Schedule::parse(&format!("*/{step} * * * *"), None).expect("good");
            let cursor = at("2027-03-01T00:00:00Z") + TimeDelta::minutes(start);
            let now = cursor + TimeDelta::minutes(minutes) + TimeDelta::seconds(30);
            let plan = decide(&schedule, cursor, now, Misfire::ALL[rule], Duration::from_secs(hours * 3600));
            let all = schedule.next(cursor, 5_000).into_iter().map(|firing| firing.at).take_while(|at| *at <= now).count();
            let missed = plan.missed.map_or(0, |missed| missed.count);
            let fired: Vec<_> = plan.caught_up.iter().chain(&plan.on_time).copied().collect();
            if plan.missed.is_none_or(|missed| !missed.at_least) {
                prop_assert_eq!(all as u64, missed + fired.len() as u64);
            }
            prop_assert!(fired.is_sorted() && fired.iter().all(|at| *at > cursor && *at <= now));
            if let (Some(missed), Some(first)) = (plan.missed, fired.first()) {
                prop_assert!(missed.last < *first);
            }
        }
    }
}
