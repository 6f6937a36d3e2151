//! When a reply that failed is tried again, and when it is given up. Pure: the instant and the chance are given.

use std::time::Duration;

use chrono::{DateTime, Utc};

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

// How long to wait after the first failed try, the second, and so on. One more failure, and it is given up.
const DAYS: [u64; 9] = [
    SECOND,
    5 * SECOND,
    30 * SECOND,
    2 * MINUTE,
    10 * MINUTE,
    HOUR,
    6 * HOUR,
    12 * HOUR,
    24 * HOUR,
];
const HOURS: [u64; 7] = [
    SECOND,
    5 * SECOND,
    30 * SECOND,
    2 * MINUTE,
    10 * MINUTE,
    HOUR / 2,
    2 * HOUR,
];

/// A wait grows by up to this part of itself, so that what failed together does not come back together. It never shrinks.
const JITTER: f64 = 0.1;

/// How long to wait after each failed try, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Backoff(&'static [u64]);

impl Backoff {
    /// For what people can still use after a day, such as a comment on an issue: ten tries in 44 hours.
    pub const DAYS: Self = Self(&DAYS);
    /// For what is stale soon, such as a chat message: eight tries in two and a half hours.
    pub const HOURS: Self = Self(&HOURS);

    /// When to try again after the `tries`-th try failed (the first is 1); nothing when that was the last one.
    /// `chance` is in `0.0..1.0`.
    pub(crate) fn next_try(self, tries: u32, now: DateTime<Utc>, chance: f64) -> Option<DateTime<Utc>> {
        let step = usize::try_from(tries.max(1) - 1).ok()?;
        let wait = Duration::from_secs(*self.0.get(step)?);
        Some(now + wait.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).expect("a valid instant")
    }

    #[test]
    fn ten_tries_are_made_in_growing_steps() {
        let waits: Vec<_> = (1..=9)
            .map(|tries| (Backoff::DAYS.next_try(tries, now(), 0.0).expect("another try") - now()).num_seconds())
            .collect();
        assert_eq!(waits, [1, 5, 30, 120, 600, 3_600, 21_600, 43_200, 86_400]);
        assert_eq!(Backoff::DAYS.next_try(10, now(), 0.0), None);
        assert_eq!(Backoff::HOURS.next_try(8, now(), 0.0), None);
        assert_eq!(Backoff::DAYS.next_try(u32::MAX, now(), 0.0), None);
    }

    proptest! {
        #[test]
        fn chance_makes_a_wait_longer_by_a_tenth_at_most(tries in 0_u32..10, chance in 0.0_f64..1.0) {
            let least = Backoff::DAYS.next_try(tries, now(), 0.0).expect("another try") - now();
            let wait = Backoff::DAYS.next_try(tries, now(), chance).expect("another try") - now();
            prop_assert!(wait >= least && wait <= least + least / 9);
        }
    }
}
