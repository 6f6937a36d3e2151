//! When a delivery that failed is tried again: what is worth another try, the quick waits, the long schedule. Pure: instant and chance are given.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The seed's first wait; it doubles with each attempt.
const QUICK: Duration = Duration::from_millis(100);
/// The long schedule: waits after the quick attempts failed. One more failure, and the delivery is dead.
const LONG: [u64; 9] = [
    5,
    5 * 60,
    30 * 60,
    2 * 3_600,
    5 * 3_600,
    10 * 3_600,
    14 * 3_600,
    20 * 3_600,
    24 * 3_600,
];
/// A wait grows by up to this part of itself, so that what failed together does not come back together. It never shrinks.
const JITTER: f64 = 0.1;
/// A receiver may ask for a pause of this length at most; nobody can push a delivery out of sight.
const LONGEST_ASKED: TimeDelta = TimeDelta::hours(24);
/// A caller waits for the quick attempts, so a receiver that asks for a longer pause than this is tried again later instead.
const QUICK_PATIENCE: Duration = Duration::from_secs(5);

/// The seed's retryable statuses: 408, 429, 5xx.
pub(crate) fn worth_another_try(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// The seed's delay after attempt `attempt` (from 0): 100 ms · 2^attempt, with jitter.
pub(crate) fn quick_delay(attempt: u32, chance: f64) -> Duration {
    let wait = QUICK.saturating_mul(2_u32.saturating_pow(attempt.min(16)));
    jittered(wait, chance)
}

/// How long to wait before the next quick attempt; nothing when the receiver asks for more patience than a caller has.
pub(crate) fn quick_wait(attempt: u32, asked: Option<TimeDelta>, chance: f64) -> Option<Duration> {
    let asked = asked.and_then(|asked| asked.to_std().ok()).unwrap_or_default();
    (asked <= QUICK_PATIENCE).then(|| quick_delay(attempt, chance).max(asked))
}

/// When to try again after `failures` rounds failed (the first, of quick attempts, is 1); nothing when that was the last one.
pub(crate) fn long_wait(
    failures: u32,
    asked: Option<TimeDelta>,
    now: DateTime<Utc>,
    chance: f64,
) -> Option<DateTime<Utc>> {
    let step = usize::try_from(failures.max(1) - 1).ok()?;
    let wait = jittered(Duration::from_secs(*LONG.get(step)?), chance);
    Some((now + wait).max(now + asked.unwrap_or_default()))
}

fn jittered(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0))
}

/// What `Retry-After` asks for (RFC 9110, section 10.2.3): seconds or a date; nothing for what is neither or has passed.
pub(crate) fn retry_after(header: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    let header = header.trim();
    let wait = if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time.
        TimeDelta::try_seconds(header.parse().unwrap_or(i64::MAX)).unwrap_or(LONGEST_ASKED)
    } else {
        DateTime::<Utc>::from(httpdate::parse_http_date(header).ok()?) - now
    };
    (wait > TimeDelta::zero()).then(|| wait.min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(784_111_777, 0).expect("a valid instant")
    }

    #[test]
    fn the_seeds_statuses_are_tried_again_and_no_other() {
        let again: Vec<u16> = (100..=999).filter(|status| worth_another_try(*status)).collect();
        let expected: Vec<u16> = [408, 429].into_iter().chain(500..=599).collect();
        assert_eq!(again, expected);
    }

    #[test]
    fn the_seeds_delay_is_a_hundred_milliseconds_doubled_each_time() {
        let delays: Vec<_> = (0..4).map(|attempt| quick_delay(attempt, 0.0).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800]);
    }

    #[test]
    fn the_long_schedule_is_the_contracts_and_then_it_is_dead() {
        let waits: Vec<_> = (1..=9)
            .map(|round| (long_wait(round, None, now(), 0.0).expect("another") - now()).num_seconds())
            .collect();
        assert_eq!(waits, [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!(long_wait(10, None, now(), 0.0), None);
        assert_eq!(long_wait(u32::MAX, None, now(), 0.0), None);
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_in_seconds_or_by_date() {
        for (header, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", None),
            ("99999999999999999999999", Some(86_400)),
            ("86401", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Fri, 31 Dec 2100 23:59:59 GMT", Some(86_400)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let wait = retry_after(header, now()).map(|wait| wait.num_seconds());
            assert_eq!(wait, seconds, "{header:?}");
        }
    }

    #[test]
    fn what_a_receiver_asks_for_is_honoured_where_somebody_waits_and_where_nobody_does() {
        let asked = |seconds| Some(TimeDelta::seconds(seconds));
        assert_eq!(quick_wait(0, asked(2), 0.0), Some(Duration::from_secs(2)));
        assert_eq!(quick_wait(0, None, 0.0), Some(Duration::from_millis(100)));
        assert_eq!(quick_wait(0, asked(6), 0.0), None);
        let at = |seconds| Some(now() + TimeDelta::seconds(seconds));
        assert_eq!(long_wait(1, asked(60), now(), 0.0), at(60));
        assert_eq!(long_wait(2, asked(60), now(), 0.0), at(300));
    }

    proptest! {
        #[test]
        fn chance_makes_a_wait_longer_by_a_tenth_at_most(round in 0_u32..10, attempt in 0_u32..11, chance in 0.0_f64..1.0) {
            let least = long_wait(round, None, now(), 0.0).expect("another") - now();
            let wait = long_wait(round, None, now(), chance).expect("another") - now();
            prop_assert!(wait >= least && wait <= least + least / 9);
            let (least, wait) = (quick_delay(attempt, 0.0), quick_delay(attempt, chance));
            prop_assert!(wait >= least && wait <= least + least / 9);
        }

        #[test]
        fn any_header_is_bounded(header in "\\PC{0,40}") {
            if let Some(wait) = retry_after(&header, now()) {
                prop_assert!(wait > TimeDelta::zero() && wait <= LONGEST_ASKED);
            }
        }
    }
}
