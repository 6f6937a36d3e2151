//! When a cron expression fires, in a time zone whose clocks change. Pure: knows no clock and no actor.
//!
//! # What an expression means
//!
//! Five fields: minute, hour, day of month, month, day of week. A field is `*`, or a list of numbers, names (`MON`, `JAN`), ranges
//! and steps (`1-5`, `*/15`, `22-2`, `8-18/2`). Days of the week are 0 to 7, where 0 and 7 are Sunday and 1 is Monday. Where both
//! fields of days are restricted, either is enough. `L`, `LW`, `L-3` and `15W` as the whole day of month, and `5L` and `MON#2` as
//! the whole day of week, mean what they mean elsewhere: the last day, the last working day, three days before the last, the
//! working day nearest to the 15th, the last Friday, the second Monday. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`
//! are words for the obvious.
//!
//! # What happens when clocks change
//!
//! * A schedule *at fixed times* (its hours and its minutes are both written out) fires once for each written time: where the clock
//!   skips the time, at the first instant after the gap, and only once however many written times fell into it; where the clock
//!   shows the time twice, at its first occurrence.
//! * An *interval* (its minutes or its hours are `*` or `*/n`) keeps its rhythm in real time: it fires whenever the clock shows a
//!   written time, so twice for a time that is shown twice. Where the clock skips a time, there is nothing to make up for if the
//!   hours are `*`, because the rhythm goes on in the hour after the gap; with other hours it fires once at the first instant after
//!   the gap, so that no night passes without.

use std::fmt;

use chrono::{
    DateTime, Datelike, FixedOffset, Local, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use saffron::Cron;

use crate::yaml::nearest;

/// Longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 1_000;
/// Why a firing is not at its written time.
pub const SHIFTED_BY_A_GAP: &str = "the clock skips the written time, so it fires at the first instant after the gap";

/// No zone is, or was, further from UTC than this.
const FARTHEST: TimeDelta = TimeDelta::hours(16);
/// The name of the machine's own zone.
const LOCAL: &str = "local";
/// Years that are counted with; instants outside have no firing after them.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9_000;

/// Why a schedule is refused: what is wrong, in which field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchedule(String);

/// An expression with its time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: String,
    zone: Zone,
    /// Fires by the wall clock, as if there were no zones.
    cron: Cron,
    rhythm: Rhythm,
}

/// What a change of the clock does to a schedule, see the top of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rhythm {
    Fixed,
    /// An interval through the whole day.
    EveryHour,
    /// An interval within some hours, or over several.
    SomeHours,
}

/// One instant of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// When.
    pub at: DateTime<Utc>,
    /// What the clock on the wall shows then, with its offset (RFC 3339).
    pub local: String,
    /// Why it is not at the written time, where it is not.
    pub shifted: Option<&'static str>,
}

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// One of the IANA database.
    Named(Tz),
    /// That of the machine, whatever it is when it is asked.
    Local,
}

impl Schedule {
    /// Reads an expression. Without a time zone it is meant in UTC; `local` is the machine's.
    ///
    /// # Errors
    /// Expressions that are none, or that never fire, and time zones that are not in the IANA database.
    pub fn parse(expression: &str, timezone: Option<&str>) -> Result<Self, BadSchedule> {
        let expression = expression.trim();
        let fields = Fields::parse(expression)?;
        let zone = timezone.map_or(Ok(Zone::Named(Tz::UTC)), Zone::parse)?;
        let written = fields.written();
        let cron = written
            .parse::<Cron>()
            .map_err(|_| BadSchedule(format!("the schedule {} cannot be counted", shown(expression))))?;
        Ok(Self {
            expression: expression.to_owned(),
            zone,
            cron,
            rhythm: fields.rhythm(),
        })
    }

    /// The expression, as it was written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The name of its time zone, `UTC` where none was written.
    #[must_use]
    pub fn timezone(&self) -> &str {
        self.zone.name()
    }

    /// What the clock of its zone shows at an instant, with its offset (RFC 3339).
    #[must_use]
    pub fn show(&self, instant: DateTime<Utc>) -> String {
        self.zone.show(instant)
    }

    /// The first firing strictly after an instant; nothing for years before 1 and after 9000.
    #[must_use]
    pub fn after(&self, instant: DateTime<Utc>) -> Option<Firing> {
        if !YEARS.contains(&instant.year()) {
            return None;
        }
        let (at, written) = if self.rhythm == Rhythm::Fixed {
            self.fixed_after(instant)?
        } else {
            self.interval_after(instant)?
        };
        let (wall, offset) = self.zone.wall(at);
        // After a gap the clock may show a written time as well; then nothing is out of place.
        let shifted = wall != written && !self.cron.contains(wall.and_utc());
        let local = DateTime::<FixedOffset>::from_naive_utc_and_offset(at.naive_utc(), offset);
        Some(Firing {
            at,
            local: rfc3339(local),
            shifted: shifted.then_some(SHIFTED_BY_A_GAP),
        })
    }

    /// The first `n` firings strictly after an instant.
    #[must_use]
    pub fn next(&self, from: DateTime<Utc>, n: usize) -> Vec<Firing> {
        let mut from = from;
        let mut firings = Vec::new();
        while firings.len() < n {
            let Some(firing) = self.after(from) else { break };
            from = firing.at;
            firings.push(firing);
        }
        firings
    }

    /// The next written time after what a clock shows, in a world without zones.
    fn written_after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = self.cron.next_after(wall.and_utc())?.naive_utc();
        YEARS.contains(&next.year()).then_some(next)
    }

    /// The instant, and the written time that it is for.
    fn fixed_after(&self, instant: DateTime<Utc>) -> Option<(DateTime<Utc>, NaiveDateTime)> {
        let (mut written, _) = self.zone.wall(instant);
        loop {
            written = self.written_after(written)?;
            let at = match self.zone.instants(written) {
                MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at,
                MappedLocalTime::None => self.zone.end_of_gap(written),
            };
            // While the clock goes through an hour for the second time, the firings of that hour have been.
            if at > instant {
                return Some((at, written));
            }
        }
    }

    fn interval_after(&self, instant: DateTime<Utc>) -> Option<(DateTime<Utc>, NaiveDateTime)> {
        let (wall, offset) = self.zone.wall(instant);
        let mut written = wall;
        let ahead = loop {
            written = self.written_after(written)?;
            match self.zone.instants(written) {
                MappedLocalTime::Single(at) => break at,
                MappedLocalTime::Ambiguous(first, second) => break if first > instant { first } else { second },
                MappedLocalTime::None if self.rhythm == Rhythm::EveryHour => {}
                MappedLocalTime::None => break self.zone.end_of_gap(written),
            }
        };
        // Times before this one come again when the clock is about to be turned back behind it.
        if let MappedLocalTime::Ambiguous(first, second) = self.zone.instants(wall)
            && first == instant
        {
            let turn = first_instant(instant, second, |at| self.zone.wall(at).1 != offset);
            let (back_to, _) = self.zone.wall(turn);
            let again = self.written_after(back_to - TimeDelta::minutes(1))?;
            if let MappedLocalTime::Ambiguous(_, second) = self.zone.instants(again)
                && turn <= second
                && second < ahead
                && turn <= ahead
            {
                return Some((second, again));
            }
        }
        Some((ahead, written))
    }
}

impl Zone {
    /// Reads a name of the IANA database such as `Europe/Berlin`, or `local`.
    ///
    /// # Errors
    /// When there is no such zone; with the name that was probably meant.
    pub fn parse(name: &str) -> Result<Self, BadSchedule> {
        if name == LOCAL {
            return Ok(Self::Local);
        }
        name.parse().map(Self::Named).map_err(|_| {
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).chain([LOCAL]);
            let guess = nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            BadSchedule(format!(
                "there is no time zone {}{guess} (write a name of the IANA database such as \"Europe/Berlin\", or \"local\" for \
                 the machine's)",
                shown(name)
            ))
        })
    }

    /// Its name: that of the database, or `local`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Named(zone) => zone.name(),
            Self::Local => LOCAL,
        }
    }

    /// What the clock on the wall shows, with its offset (RFC 3339).
    #[must_use]
    pub fn show(&self, instant: DateTime<Utc>) -> String {
        let (_, offset) = self.wall(instant);
        rfc3339(DateTime::from_naive_utc_and_offset(instant.naive_utc(), offset))
    }

    fn wall(&self, instant: DateTime<Utc>) -> (NaiveDateTime, FixedOffset) {
        let instant = instant.naive_utc();
        let offset = match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(&instant).fix(),
            Self::Local => Local.offset_from_utc_datetime(&instant).fix(),
        };
        (instant.checked_add_offset(offset).unwrap_or(instant), offset)
    }

    /// The instants at which the clock shows this: none, one, or two with the earlier one first.
    fn instants(&self, wall: NaiveDateTime) -> MappedLocalTime<DateTime<Utc>> {
        let offsets = match self {
            Self::Named(zone) => zone.offset_from_local_datetime(&wall).map(|offset| offset.fix()),
            Self::Local => Local.offset_from_local_datetime(&wall),
        };
        let at = |offset: FixedOffset| wall.checked_sub_offset(offset).unwrap_or(wall).and_utc();
        match offsets.map(at) {
            MappedLocalTime::Ambiguous(one, other) => MappedLocalTime::Ambiguous(one.min(other), one.max(other)),
            clear => clear,
        }
    }

    /// The first instant after the gap that swallows a time.
    fn end_of_gap(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        let middle = wall.and_utc();
        first_instant(middle - FARTHEST, middle + FARTHEST, |at| self.wall(at).0 > wall)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first whole second after `from`, up to `to`, at which something holds that then goes on holding.
fn first_instant(from: DateTime<Utc>, to: DateTime<Utc>, holds: impl Fn(DateTime<Utc>) -> bool) -> DateTime<Utc> {
    let (mut before, mut since) = (from.timestamp(), to.timestamp());
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or(to);
    while since - before > 1 {
        let middle = before + (since - before) / 2;
        if holds(at(middle)) {
            since = middle;
        } else {
            before = middle;
        }
    }
    at(since)
}

fn rfc3339(time: DateTime<FixedOffset>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

/// Quoted, and cut where nobody reads on.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{:?}", format!("{start}…"))
}

// ---- expressions ----

/// One of the five fields: what it may hold.
struct Kind {
    name: &'static str,
    least: u32,
    most: u32,
    /// Names of its values, from the least one on.
    names: &'static [&'static str],
}

const MINUTE: Kind = Kind {
    name: "minute",
    least: 0,
    most: 59,
    names: &[],
};
const HOUR: Kind = Kind {
    name: "hour",
    least: 0,
    most: 23,
    names: &[],
};
const DAY: Kind = Kind {
    name: "day of month",
    least: 1,
    most: 31,
    names: &[],
};
const MONTH: Kind = Kind {
    name: "month",
    least: 1,
    most: 12,
    names: &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
};
const WEEKDAY: Kind = Kind {
    name: "day of week",
    least: 0,
    most: 6,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

const WORDS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The five fields, each as the library cannot misread it.
struct Fields {
    minutes: Set,
    hours: Set,
    days: Days,
    months: Set,
    weekdays: Days,
}

/// The values of a field, one bit for each.
#[derive(Clone, Copy)]
struct Set {
    bits: u64,
    /// Written as `*`, which restricts nothing.
    star: bool,
    /// Written as `*` or `*/n`.
    interval: bool,
}

/// A field of days.
enum Days {
    Set(Set),
    /// A form that the library knows, and the longest month's length that it needs.
    Special {
        written: String,
        month_of: u32,
    },
}

impl Fields {
    fn parse(expression: &str) -> Result<Self, BadSchedule> {
        if expression.is_empty() {
            return Err(BadSchedule(
                "the schedule is empty; write five fields, such as \"0 9 * * 1\" for Mondays at nine".into(),
            ));
        }
        if expression.len() > MAX_EXPRESSION {
            return Err(BadSchedule(format!(
                "the schedule is {} bytes long; at most {MAX_EXPRESSION} are read, so write ranges and steps instead of lists",
                expression.len()
            )));
        }
        let written = if expression.starts_with('@') {
            of_word(expression)?
        } else {
            expression
        };
        let fields: Vec<&str> = written.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let what = match fields.len() {
                6 => "has six fields; seconds are not counted, so take the first field out".to_owned(),
                7 => "has seven fields; seconds and years are not counted, so take the first and the last field out"
                    .to_owned(),
                found => format!("has {found} of the five fields: minute, hour, day of month, month, day of week"),
            };
            return Err(BadSchedule(format!("the schedule {} {what}", shown(expression))));
        };
        let fields = Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: day_of_month(day)?,
            months: MONTH.parse(month)?,
            weekdays: day_of_week(weekday)?,
        };
        fields.fires_at_all(expression)?;
        Ok(fields)
    }

    /// Refuses days that no month of the schedule has.
    fn fires_at_all(&self, expression: &str) -> Result<(), BadSchedule> {
        // With both fields of days restricted, either is enough, and every month has every day of the week.
        if !self.weekdays.star() {
            return Ok(());
        }
        let first_day = match &self.days {
            Days::Set(set) => set.bits.trailing_zeros(),
            Days::Special { month_of, .. } => *month_of,
        };
        let longest = (1..=12)
            .filter(|month| self.months.bits & (1 << month) != 0)
            .map(|month| match month {
                2 => 29,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            });
        if longest.max().is_some_and(|longest| first_day <= longest) {
            return Ok(());
        }
        Err(BadSchedule(format!(
            "the schedule {} never fires, because no month of the field \"month\" has a day of the field \"day of month\"; correct one \
             of them",
            shown(expression)
        )))
    }

    fn rhythm(&self) -> Rhythm {
        if self.hours.star {
            Rhythm::EveryHour
        } else if self.hours.interval || self.minutes.interval {
            Rhythm::SomeHours
        } else {
            Rhythm::Fixed
        }
    }

    /// Explicit lists, and days of the week by name: what the library reads as everybody does.
    fn written(&self) -> String {
        let weekdays = match &self.weekdays {
            Days::Set(set) if set.star => "*".to_owned(),
            Days::Set(set) => {
                let names: Vec<_> = set.values().map(|day| WEEKDAY.names[day as usize]).collect();
                names.join(",")
            }
            Days::Special { written, .. } => written.clone(),
        };
        let days = match &self.days {
            Days::Set(set) => set.written(),
            Days::Special { written, .. } => written.clone(),
        };
        format!(
            "{} {} {days} {} {weekdays}",
            self.minutes.written(),
            self.hours.written(),
            self.months.written()
        )
    }
}

impl Days {
    fn star(&self) -> bool {
        matches!(self, Self::Set(set) if set.star)
    }
}

impl Set {
    fn values(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |value| self.bits & (1 << value) != 0)
    }

    fn written(self) -> String {
        if self.star {
            return "*".to_owned();
        }
        let values: Vec<_> = self.values().map(|value| value.to_string()).collect();
        values.join(",")
    }
}

fn of_word(word: &str) -> Result<&'static str, BadSchedule> {
    let known = || WORDS.iter().map(|(known, _)| *known);
    if let Some((_, meaning)) = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
        return Ok(meaning);
    }
    if word.eq_ignore_ascii_case("@reboot") {
        return Err(BadSchedule(
            "\"@reboot\" is no time; start the workflow by hand, or write a schedule".into(),
        ));
    }
    let guess = nearest(word, known()).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    let list: Vec<_> = known().collect();
    Err(BadSchedule(format!(
        "there is no schedule {}{guess} (there are {})",
        shown(word),
        list.join(", ")
    )))
}

/// `L`, `LW`, `L-3`, `15W`, or a list as in the other fields. Only forms that the library counts rightly.
fn day_of_month(text: &str) -> Result<Days, BadSchedule> {
    let upper = text.to_ascii_uppercase();
    let special = |written: String, month_of| Ok(Days::Special { written, month_of });
    if upper == "L" || upper == "LW" {
        return special(upper, 1);
    }
    if let Some(before) = upper.strip_prefix("L-") {
        return match whole(before) {
            Some(days @ 1..=30) => special(format!("L-{days}"), days + 1),
            _ => Err(DAY.wrong(text, "is no day before the last; write \"L-1\" to \"L-30\"")),
        };
    }
    if let Some(day) = upper.strip_suffix('W') {
        return match whole(day) {
            Some(day @ 1..=28) => special(format!("{day}W"), day),
            _ => Err(DAY.wrong(
                text,
                "is no working day; write \"1W\" to \"28W\", or \"LW\" for the last one of the month",
            )),
        };
    }
    DAY.parse(text).map(Days::Set)
}

/// `5L`, `MON#2`, or a list as in the other fields.
fn day_of_week(text: &str) -> Result<Days, BadSchedule> {
    let upper = text.to_ascii_uppercase();
    let name = |day: &str| WEEKDAY.value(day).map(|day| WEEKDAY.names[(day % 7) as usize]);
    let special = |written| Ok(Days::Special { written, month_of: 1 });
    if let Some((day, nth)) = upper.split_once('#') {
        return match (name(day), whole(nth)) {
            (Some(day), Some(nth @ 1..=5)) => special(format!("{day}#{nth}")),
            _ => Err(WEEKDAY.wrong(
                text,
                "is no day of a month; write \"MON#1\" to \"MON#5\", alone in the field",
            )),
        };
    }
    if let Some(day) = upper.strip_suffix('L') {
        return match name(day) {
            Some(day) => special(format!("{day}L")),
            None => Err(WEEKDAY.wrong(
                text,
                "is no last day; write \"5L\" or \"FRIL\" for the last Friday, alone in the field",
            )),
        };
    }
    WEEKDAY.parse(text).map(Days::Set)
}

/// A whole number in plain digits.
fn whole(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl Kind {
    fn wrong(&self, text: &str, problem: &str) -> BadSchedule {
        BadSchedule(format!("field \"{}\": {} {problem}", self.name, shown(text)))
    }

    /// A number or a name. The number is not yet known to be in bounds; Sunday may be 7.
    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + self.least);
        value
            .or_else(|| whole(text))
            .filter(|value| (self.least..=self.last()).contains(value))
    }

    /// The largest number that may be written.
    fn last(&self) -> u32 {
        // Sunday has two numbers.
        if self.names.len() == 7 { 7 } else { self.most }
    }

    fn parse(&self, text: &str) -> Result<Set, BadSchedule> {
        let mut set = Set {
            bits: 0,
            star: false,
            interval: false,
        };
        let items = text.split(',');
        let alone = !text.contains(',');
        for item in items {
            if item.is_empty() {
                return Err(self.no_value(text, ""));
            }
            let (range, step) = match item.split_once('/') {
                None => (item, None),
                Some((range, step)) => (range, Some(self.step(item, step)?)),
            };
            let (first, last) = self.range(item, range, step.is_some())?;
            let size = self.most - self.least + 1;
            // A range that ends before it begins goes on at the other end.
            let span = if last < first {
                last + size - first
            } else {
                last - first
            };
            let step = step.unwrap_or(1);
            for distance in (0..=span).step_by(step as usize) {
                set.bits |= 1 << ((first - self.least + distance) % size + self.least);
            }
            set.star |= range == "*" && step == 1;
            set.interval |= range == "*" && alone;
        }
        set.interval |= set.star;
        Ok(set)
    }

    fn step(&self, item: &str, step: &str) -> Result<u32, BadSchedule> {
        let most = self.most - self.least;
        match whole(step) {
            Some(step) if (1..=most).contains(&step) => Ok(step),
            _ => Err(self.wrong(item, &format!("has no step of 1 to {most} after the \"/\""))),
        }
    }

    /// First and last value of an item without its step.
    fn range(&self, item: &str, range: &str, stepped: bool) -> Result<(u32, u32), BadSchedule> {
        if range == "*" {
            return Ok((self.least, self.most));
        }
        let value = |text: &str| self.value(text).ok_or_else(|| self.no_value(item, text));
        match range.split_once('-') {
            Some((first, last)) => Ok((value(first)?, value(last)?)),
            None if stepped => {
                value(range)?;
                let problem = format!(
                    "has a step without a range; write \"{range}-{}\" or \"*\" before the \"/\"",
                    self.most
                );
                Err(self.wrong(item, &problem))
            }
            None => value(range).map(|value| (value, value)),
        }
    }

    fn no_value(&self, item: &str, text: &str) -> BadSchedule {
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        let bounds = format!("{} to {}{names}", self.least, self.last());
        let problem = match text {
            "" => format!("has an empty place; write {bounds}"),
            "?" => "is not known here; write \"*\"".to_owned(),
            _ if text == item => format!("is not within {bounds}"),
            _ => format!("holds {}, which is not within {bounds}", shown(text)),
        };
        self.wrong(item, &problem)
    }
}
