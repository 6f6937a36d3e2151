//! How many wrong passwords an address may offer. Pure; the time is passed in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

/// Wrong passwords that are heard out within [`WINDOW_MINUTES`].
const WRONG_ALLOWED: usize = 10;
const WINDOW_MINUTES: i64 = 5;

/// Addresses that are remembered at once; beyond it the one whose last attempt is oldest is forgotten.
const ADDRESSES: usize = 10_000;

/// Wrong passwords of the last minutes, by address. Never over [`ADDRESSES`] times [`WRONG_ALLOWED`] instants.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    wrong: HashMap<IpAddr, VecDeque<DateTime<Utc>>>,
}

impl Throttle {
    /// Whether this address has used its attempts up.
    pub(super) fn is_tired_of(&mut self, from: IpAddr, now: DateTime<Utc>) -> bool {
        let Some(times) = self.wrong.get_mut(&from) else {
            return false;
        };
        while times
            .front()
            .is_some_and(|first| now - *first >= TimeDelta::minutes(WINDOW_MINUTES))
        {
            times.pop_front();
        }
        let tired = times.len() >= WRONG_ALLOWED;
        if times.is_empty() {
            self.wrong.remove(&from);
        }
        tired
    }

    /// Remembers a wrong password.
    pub(super) fn note_wrong(&mut self, from: IpAddr, now: DateTime<Utc>) {
        if self.wrong.len() >= ADDRESSES && !self.wrong.contains_key(&from) {
            let oldest = self
                .wrong
                .iter()
                .min_by_key(|(_, times)| times.back().copied())
                .map(|(address, _)| *address);
            oldest.map(|address| self.wrong.remove(&address));
        }
        self.wrong.entry(from).or_default().push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    #[test]
    fn ten_wrong_passwords_in_five_minutes_are_enough() {
        let (here, there): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut throttle = Throttle::default();
        for second in 0..10 {
            assert!(!throttle.is_tired_of(here, at(second)));
            throttle.note_wrong(here, at(second));
        }
        assert!(throttle.is_tired_of(here, at(10)));
        assert!(!throttle.is_tired_of(there, at(10)));
        assert!(throttle.is_tired_of(here, at(299)));
        assert!(!throttle.is_tired_of(here, at(300)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..(ADDRESSES as u32 + 5) {
            throttle.note_wrong(IpAddr::from(n.to_be_bytes()), at(i64::from(n)));
        }
        assert_eq!(throttle.wrong.len(), ADDRESSES);
        assert!(!throttle.wrong.contains_key(&IpAddr::from(0_u32.to_be_bytes())));
    }
}
