//! How many wrong passwords are heard out, of one address and of all together. Pure; the time is passed in.
//!
//! An address alone has [`OF_ONE`] in [`WINDOW_MINUTES`]. All addresses together have [`OF_ALL`], because whoever guesses may
//! have many; who has signed in from an address lately is heard even then, so that guessing locks nobody out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, TimeDelta, Utc};

const WINDOW_MINUTES: i64 = 5;

/// Wrong passwords of one address that are heard out in a window.
const OF_ONE: usize = 10;

/// Wrong passwords for the one account there is that are heard out in a window, whoever offers them.
const OF_ALL: usize = 100;

/// Addresses that are remembered for having known the password; beyond it the one that signed in longest ago is forgotten.
const KNOWN: usize = 1_000;

/// How long they are.
const KNOWN_DAYS: i64 = 30;

/// Wrong passwords of the last minutes, and who was right of late. Never over [`OF_ALL`] and [`KNOWN`] times [`OF_ONE`]
/// instants: what is refused is not noted.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    wrong: HashMap<IpAddr, VecDeque<DateTime<Utc>>>,
    all: VecDeque<DateTime<Utc>>,
    right: HashMap<IpAddr, DateTime<Utc>>,
}

impl Throttle {
    /// How long this address has to wait before its next password is heard; nothing, if it has not to. An address that is
    /// not known is one like others.
    pub(super) fn wait(&mut self, from: Option<IpAddr>, now: DateTime<Utc>) -> Option<TimeDelta> {
        let from = neighbourhood(from);
        forget(&mut self.all, now);
        if let Some(times) = self.wrong.get_mut(&from) {
            forget(times, now);
            if times.is_empty() {
                self.wrong.remove(&from);
            }
        }
        let left = |times: &VecDeque<DateTime<Utc>>, most: usize| {
            let first = times.len().checked_sub(most).and_then(|at| times.get(at))?;
            Some(*first + TimeDelta::minutes(WINDOW_MINUTES) - now)
        };
        let one = self.wrong.get(&from).and_then(|times| left(times, OF_ONE));
        let known = self
            .right
            .get(&from)
            .is_some_and(|at| now - *at < TimeDelta::days(KNOWN_DAYS));
        one.or_else(|| left(&self.all, OF_ALL).filter(|_| !known))
    }

    /// Remembers a wrong password.
    pub(super) fn note_wrong(&mut self, from: Option<IpAddr>, now: DateTime<Utc>) {
        self.wrong.entry(neighbourhood(from)).or_default().push_back(now);
        self.all.push_back(now);
        if self.wrong.len() > OF_ALL {
            self.wrong.retain(|_, times| {
                forget(times, now);
                !times.is_empty()
            });
        }
    }

    /// Remembers that somebody there knew it.
    pub(super) fn note_right(&mut self, from: Option<IpAddr>, now: DateTime<Utc>) {
        let from = neighbourhood(from);
        if self.right.len() >= KNOWN && !self.right.contains_key(&from) {
            let oldest = self.right.iter().min_by_key(|(_, at)| **at).map(|(from, _)| *from);
            oldest.map(|oldest| self.right.remove(&oldest));
        }
        self.right.insert(from, now);
    }
}

fn forget(times: &mut VecDeque<DateTime<Utc>>, now: DateTime<Utc>) {
    let over = |at: &DateTime<Utc>| now - *at >= TimeDelta::minutes(WINDOW_MINUTES);
    while times.front().is_some_and(over) {
        times.pop_front();
    }
}

/// The network that one subscriber has to themselves: an address of IPv4, 64 bits of IPv6.
fn neighbourhood(from: Option<IpAddr>) -> IpAddr {
    match from.map(|from| from.to_canonical()) {
        Some(IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn ten_wrong_passwords_in_five_minutes_are_enough() {
        let (here, there) = (ip("127.0.0.1"), ip("127.0.0.2"));
        let mut throttle = Throttle::default();
        for second in 0..10 {
            assert_eq!(throttle.wait(here, at(second)), None);
            throttle.note_wrong(here, at(second));
        }
        assert_eq!(throttle.wait(here, at(10)), Some(TimeDelta::seconds(290)));
        assert_eq!(throttle.wait(there, at(10)), None);
        assert!(throttle.wait(here, at(299)).is_some());
        assert_eq!(throttle.wait(here, at(300)), None);
    }

    #[test]
    fn guesses_from_everywhere_are_stopped_and_lock_nobody_out_who_was_here_before() {
        let (owner, stranger) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let mut throttle = Throttle::default();
        throttle.note_right(owner, at(0));
        for n in 0..100 {
            let from = ip(&format!("198.51.100.{}", n / 5));
            assert_eq!(throttle.wait(from, at(n)), None, "{n}");
            throttle.note_wrong(from, at(n));
        }
        assert_eq!(throttle.wait(stranger, at(100)), Some(TimeDelta::seconds(200)));
        assert_eq!(throttle.wait(owner, at(100)), None);
        for _ in 0..10 {
            throttle.note_wrong(owner, at(100));
        }
        assert!(
            throttle.wait(owner, at(100)).is_some(),
            "being known is no licence to guess"
        );
        assert_eq!(throttle.wait(stranger, at(500)), None);
        throttle.note_right(owner, at(500));
        let late = at(500 + 31 * 86_400);
        for _ in 0..100 {
            throttle.note_wrong(stranger, late);
        }
        assert!(throttle.wait(owner, late).is_some(), "nobody is known for ever");
    }

    #[test]
    fn an_address_of_ipv6_counts_with_its_neighbours() {
        let mut throttle = Throttle::default();
        for n in 0..10 {
            throttle.note_wrong(ip(&format!("2001:db8::{n}")), at(0));
        }
        assert!(throttle.wait(ip("2001:db8::ffff:1"), at(1)).is_some());
        assert_eq!(throttle.wait(ip("2001:db8:0:1::1"), at(1)), None);
        for _ in 0..10 {
            throttle.note_wrong(ip("::ffff:192.0.2.9"), at(1));
        }
        assert!(throttle.wait(ip("192.0.2.9"), at(2)).is_some());
        assert_eq!(throttle.wait(ip("192.0.2.8"), at(2)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..20_000_u32 {
            let from = Some(IpAddr::from(n.to_be_bytes()));
            let now = at(i64::from(n) / 10);
            if throttle.wait(from, now).is_none() {
                throttle.note_wrong(from, now);
            }
            throttle.note_right(from, now);
            assert!(throttle.wrong.len() <= 2 * OF_ALL + 1 && throttle.right.len() <= KNOWN);
        }
        assert!(!throttle.right.contains_key(&IpAddr::from([0, 0, 0, 0])));
    }
}
