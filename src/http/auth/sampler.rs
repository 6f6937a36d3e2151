//! How many lines a flood may write: some in each minute, and then how many there were besides. Pure; the time is passed in.

use chrono::{DateTime, TimeDelta, Utc};

const WINDOW_SECONDS: i64 = 60;

/// Lines of one kind.
#[derive(Debug)]
pub(super) struct Sampler {
    most: u32,
    begun: Option<DateTime<Utc>>,
    written: u32,
    held_back: u64,
}

impl Sampler {
    /// At most so many in a minute.
    pub(super) fn of(most: u32) -> Self {
        Self {
            most,
            begun: None,
            written: 0,
            held_back: 0,
        }
    }

    /// Whether this line may be written; if so, how many were not since the last one that was.
    pub(super) fn admit(&mut self, now: DateTime<Utc>) -> Option<u64> {
        let over = |begun: DateTime<Utc>| now < begun || now - begun >= TimeDelta::seconds(WINDOW_SECONDS);
        if self.begun.is_none_or(over) {
            self.begun = Some(now);
            self.written = 0;
        }
        if self.written >= self.most {
            self.held_back += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_few_lines_and_then_how_long_it_was() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("in range");
        let mut lines = Sampler::of(2);
        let table = [
            (0, Some(0)),
            (1, Some(0)),
            (2, None),
            (59, None),
            (60, Some(2)),
            (61, Some(0)),
            (62, None),
            (500, Some(1)),
            // A clock that goes back begins anew.
            (400, Some(0)),
        ];
        for (second, expected) in table {
            assert_eq!(lines.admit(at(second)), expected, "{second}");
        }
    }
}
