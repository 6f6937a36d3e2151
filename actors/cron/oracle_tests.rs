//! The iterator against brute force: a walk over the minutes of five years in zones with odd rules. The expression is read here a
//! second time, in the plainest way, and zones are asked one question only: the offset at an instant.
//!
//! The everyday run is a SAMPLE: each zone with some of the expressions, and only the days around its changes and some others.
//! `CRON_ORACLE=whole` walks every minute of the five years for each chosen zone and each expression (use a release build), and
//! `CRON_ORACLE=zones` the days around changes for each expression in each zone of the database.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc, Weekday};
use chrono_tz::Tz;

use super::Schedule;

/// Zones with odd rules, and the first of the five years in which they are looked at.
const ZONES: &[(&str, i32)] = &[
    ("UTC", 2024),
    ("Europe/Berlin", 2025),
    ("Europe/London", 2025),
    ("Europe/Dublin", 2025),
    ("Europe/Lisbon", 1992),
    ("Europe/Moscow", 2010),
    ("Europe/Kaliningrad", 2011),
    ("Europe/Istanbul", 2013),
    ("Europe/Samara", 2008),
    ("Europe/Volgograd", 2016),
    ("Europe/Simferopol", 2012),
    ("Europe/Chisinau", 2022),
    ("Atlantic/Azores", 1992),
    ("Atlantic/Reykjavik", 2024),
    ("America/New_York", 2025),
    ("America/New_York", 2005),
    ("America/Los_Angeles", 2025),
    ("America/St_Johns", 2008),
    ("America/Caracas", 2006),
    ("America/Caracas", 2014),
    ("America/Sao_Paulo", 2016),
    ("America/Havana", 2024),
    ("America/Santiago", 2014),
    ("America/Punta_Arenas", 2015),
    ("America/Asuncion", 2022),
    ("America/Argentina/San_Luis", 2006),
    ("America/Mexico_City", 2019),
    ("America/Tijuana", 2008),
    ("America/Nuuk", 2021),
    ("America/Scoresbysund", 2021),
    ("America/Metlakatla", 2014),
    ("America/Port-au-Prince", 2015),
    ("America/Phoenix", 2024),
    ("America/Cancun", 2013),
    ("Africa/Casablanca", 2016),
    ("Africa/El_Aaiun", 2024),
    ("Africa/Cairo", 2010),
    ("Africa/Cairo", 2022),
    ("Africa/Windhoek", 2015),
    ("Africa/Juba", 2019),
    ("Africa/Khartoum", 2015),
    ("Africa/Sao_Tome", 2016),
    ("Africa/Tripoli", 2011),
    ("Africa/Tunis", 2006),
    ("Asia/Kolkata", 2024),
    ("Asia/Kathmandu", 1984),
    ("Asia/Kathmandu", 2024),
    ("Asia/Tehran", 2019),
    ("Asia/Kabul", 2024),
    ("Asia/Yangon", 2024),
    ("Asia/Colombo", 2004),
    ("Asia/Dhaka", 2007),
    ("Asia/Karachi", 2006),
    ("Asia/Pyongyang", 2014),
    ("Asia/Gaza", 2021),
    ("Asia/Jerusalem", 2011),
    ("Asia/Amman", 2019),
    ("Asia/Damascus", 2019),
    ("Asia/Beirut", 2021),
    ("Asia/Ulaanbaatar", 2013),
    ("Asia/Novosibirsk", 2013),
    ("Asia/Chita", 2013),
    ("Asia/Almaty", 2021),
    ("Asia/Hong_Kong", 1975),
    ("Asia/Manila", 1988),
    ("Australia/Sydney", 2025),
    ("Australia/Lord_Howe", 2025),
    ("Australia/Lord_Howe", 1981),
    ("Australia/Adelaide", 2025),
    ("Australia/Eucla", 2006),
    ("Australia/Darwin", 2024),
    ("Pacific/Chatham", 2025),
    ("Pacific/Apia", 2009),
    ("Pacific/Fakaofo", 2009),
    ("Pacific/Kwajalein", 1991),
    ("Pacific/Kiritimati", 1993),
    ("Pacific/Fiji", 2018),
    ("Pacific/Norfolk", 2014),
    ("Pacific/Bougainville", 2013),
    ("Pacific/Easter", 2017),
    ("Pacific/Tongatapu", 2015),
    ("Pacific/Marquesas", 2024),
    ("Antarctica/Troll", 2024),
    ("Antarctica/Casey", 2018),
    ("Antarctica/Vostok", 2022),
    ("Antarctica/Macquarie", 2009),
];

const MINUTES: &[&str] = &[
    "*", "*/5", "*/7", "*/45", "0", "30", "59", "15,45", "0,1", "1-59/13", "50-10", "5",
];
const HOURS: &[&str] = &[
    "*", "*", "*/2", "*/5", "0", "1", "2", "3", "1-3", "22-2", "23,0", "2,14", "8-18/3", "0-3",
];
const DAYS: &[&str] = &[
    "*", "*", "*", "*", "*", "1", "*/2", "31", "28-3", "L", "LW", "L-2", "15W", "1W",
];
const MONTHS: &[&str] = &["*", "*", "*", "*", "3,10", "NOV-FEB", "MAR-MAY", "*/2"];
const WEEKDAYS: &[&str] = &[
    "*", "*", "*", "*", "0", "7", "1", "FRI-SUN", "1-5", "SAT,SUN", "*/2", "5L", "SUNL", "SUN#2", "0#1",
];
const EXPRESSIONS: usize = 300;

/// The expressions: always the same, each at most once.
fn expressions() -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut pick = |from: &[&'static str]| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        from[usize::try_from(state >> 33).expect("31 bits") % from.len()]
    };
    let mut expressions = Vec::new();
    while expressions.len() < EXPRESSIONS {
        let one = [pick(MINUTES), pick(HOURS), pick(DAYS), pick(MONTHS), pick(WEEKDAYS)].join(" ");
        if !expressions.contains(&one) {
            expressions.push(one);
        }
    }
    expressions
}

/// An expression, read in the plainest way.
pub(super) struct Plain {
    minutes: [bool; 60],
    hours: [bool; 24],
    months: [bool; 13],
    day: String,
    weekday: String,
    fixed: bool,
    every_hour: bool,
}

impl Plain {
    pub(super) fn read(expression: &str) -> Self {
        let [minute, hour, day, month, weekday] = expression.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{expression} has no five fields")
        };
        let interval = |field: &str| field.starts_with('*');
        Self {
            minutes: std::array::from_fn(|value| held(minute, value, 0, 59, 60)),
            hours: std::array::from_fn(|value| held(hour, value, 0, 23, 24)),
            months: std::array::from_fn(|value| held(month, value, 1, 12, 12)),
            day: day.to_owned(),
            weekday: weekday.to_owned(),
            fixed: !interval(minute) && !interval(hour),
            every_hour: matches!(hour, "*" | "*/1"),
        }
    }

    pub(super) fn matches(&self, wall: NaiveDateTime) -> bool {
        self.minutes[wall.minute() as usize] && self.hours[wall.hour() as usize] && self.on(wall.date())
    }

    fn on(&self, date: NaiveDate) -> bool {
        let any = |field: &str| matches!(field, "*" | "*/1");
        let days = match (any(&self.day), any(&self.weekday)) {
            (true, true) => true,
            (false, true) => self.on_day(date),
            (true, false) => self.on_weekday(date),
            (false, false) => self.on_day(date) || self.on_weekday(date),
        };
        days && self.months[date.month() as usize]
    }

    fn on_day(&self, date: NaiveDate) -> bool {
        let working = |date: &NaiveDate| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        let month: Vec<_> = date
            .with_day(1)
            .expect("each month has one")
            .iter_days()
            .take_while(|d| d.month() == date.month())
            .collect();
        let last = month[month.len() - 1];
        match self.day.as_str() {
            "L" => date == last,
            "LW" => month.iter().rfind(|date| working(date)) == Some(&date),
            "L-2" => date.checked_add_days(Days::new(2)) == Some(last),
            field if field.ends_with('W') => {
                let wanted: i64 = field.trim_end_matches('W').parse().expect("a day");
                let nearest = month
                    .iter()
                    .filter(|date| working(date))
                    .min_by_key(|date| (i64::from(date.day()) - wanted).abs());
                nearest == Some(&date)
            }
            field => held(field, date.day() as usize, 1, 31, 31),
        }
    }

    fn on_weekday(&self, date: NaiveDate) -> bool {
        let today = date.weekday().num_days_from_sunday() as usize;
        if let Some((day, nth)) = self.weekday.split_once('#') {
            return number(day) % 7 == today && date.day().div_ceil(7).to_string() == nth;
        }
        if let Some(day) = self.weekday.strip_suffix('L') {
            let next = date.checked_add_days(Days::new(7)).expect("there is a next week");
            return number(day) % 7 == today && next.month() != date.month();
        }
        held(&self.weekday, today, 0, 6, 7) || today == 0 && held(&self.weekday, 7, 0, 6, 7)
    }
}

fn number(text: &str) -> usize {
    const NAMES: &str = "SUN MON TUE WED THU FRI SAT | JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC";
    match NAMES.split(' ').position(|name| name == text) {
        Some(at) if at < 8 => at,
        Some(at) => at - 7,
        None => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
    }
}

/// Whether a field holds a value: every item is counted out, step by step and around the end.
fn held(field: &str, value: usize, least: usize, most: usize, size: usize) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item
            .split_once('/')
            .map_or((item, 1), |(range, step)| (range, number(step)));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (number(first), number(last)),
            None => (number(range), number(range)),
        };
        let mut at = first;
        let mut distance = 0;
        loop {
            if distance % step == 0 && (at == value || size == 7 && at % 7 == value % 7) {
                return true;
            }
            if at == last {
                return false;
            }
            at = if at >= most && last < first { least } else { at + 1 };
            distance += 1;
        }
    })
}

/// A stretch of time, and what the clock on the wall shows in each minute of it.
struct Stretch {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// From [`EARLIER`] minutes before the stretch on, so that it is known which times are shown for the second time.
    shown: Vec<NaiveDateTime>,
}

const EARLIER: usize = 27 * 60;

impl Stretch {
    fn new(zone: Tz, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> Self {
        let mut at = from.naive_utc() - TimeDelta::minutes(27 * 60);
        let mut shown = Vec::new();
        while at < to.naive_utc() {
            shown.push(at + zone.offset_from_utc_datetime(&at).fix());
            at += TimeDelta::minutes(1);
        }
        Self { from, to, shown }
    }

    /// Every firing of the stretch, by looking at the clock each minute.
    fn walk(&self, plain: &Plain) -> Vec<DateTime<Utc>> {
        let minute = TimeDelta::minutes(1);
        let mut latest = self.shown[0];
        let mut firings = Vec::new();
        for (at, wall) in self.shown.iter().copied().enumerate().skip(1) {
            let mut fires = plain.matches(wall) && (!plain.fixed || wall > latest);
            if !plain.every_hour {
                let mut skipped = latest + minute;
                while skipped < wall {
                    fires |= plain.matches(skipped);
                    skipped += minute;
                }
            }
            if fires && at >= EARLIER {
                let minutes = i64::try_from(at - EARLIER).expect("some years of minutes");
                firings.push(self.from + TimeDelta::minutes(minutes));
            }
            latest = latest.max(wall);
        }
        firings
    }
}

/// The stretches of five years in which the clock changes, each with a day and a half on both sides.
fn changes(zone: Tz, year: i32) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let (begin, end) = five_years(year);
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let mut stretches = Vec::new();
    let mut at = begin;
    while at < end {
        let next = at + TimeDelta::hours(6);
        if offset(at) != offset(next) {
            stretches.push((at - TimeDelta::hours(36), next + TimeDelta::hours(36)));
        }
        at = next;
    }
    stretches
}

fn five_years(year: i32) -> (DateTime<Utc>, DateTime<Utc>) {
    let new_year = |year| {
        NaiveDate::from_ymd_opt(year, 1, 1)
            .expect("a year")
            .and_time(chrono::NaiveTime::MIN)
            .and_utc()
    };
    (new_year(year), new_year(year + 5))
}

/// Compares both over a stretch; says how many firings there were.
fn compare(expression: &str, zone: Tz, stretch: &Stretch) -> usize {
    let schedule =
        Schedule::parse(expression, Some(zone.name())).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let expected = stretch.walk(&Plain::read(expression));
    let from = stretch.from;
    let mut found = Vec::new();
    let mut at = from - TimeDelta::seconds(1);
    while let Some(firing) = schedule.after(at).filter(|firing| firing.at < stretch.to) {
        at = firing.at;
        found.push(at);
        let many = found.len() > expected.len() + 5;
        assert!(
            !many,
            "{expression} in {zone} from {from}: too many, {:?}",
            &found[expected.len()..]
        );
    }
    if let Some(at) = (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at)) {
        panic!(
            "{expression} in {zone} from {from}: firing {at} is {:?}, by brute force {:?}",
            found.get(at),
            expected.get(at)
        );
    }
    found.len()
}

/// How much is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Each zone with some expressions, around its changes (every other one of many) and in a quiet stretch.
    Sample,
    /// Every zone of the database with every expression, around every change.
    Zones,
    /// Each zone with every expression, every minute of the five years.
    Whole,
}

#[test]
fn the_iterator_fires_when_brute_force_does() {
    let extent = match std::env::var("CRON_ORACLE").as_deref() {
        Ok("whole") => Extent::Whole,
        Ok("zones") => Extent::Zones,
        Ok(other) if !other.is_empty() => panic!("CRON_ORACLE is {other:?}; there are whole and zones"),
        _ => Extent::Sample,
    };
    let expressions = expressions();
    let every_zone: Vec<_> = chrono_tz::TZ_VARIANTS.iter().map(|zone| (zone.name(), 2022)).collect();
    let zones = if extent == Extent::Zones { &every_zone } else { ZONES };
    let each = if extent == Extent::Sample { 8 } else { expressions.len() };
    let (mut pairs, mut stretches, mut firings) = (0, 0, 0);
    let mut used = std::collections::BTreeSet::new();
    for (at, (name, year)) in zones.iter().enumerate() {
        let zone: Tz = name.parse().unwrap_or_else(|_| panic!("{name} is in the database"));
        let (begin, end) = five_years(*year);
        let mut around = if extent == Extent::Whole {
            vec![(begin, end)]
        } else {
            changes(zone, *year)
        };
        if extent == Extent::Sample && around.len() > 4 {
            let half = at % 2;
            around = around.into_iter().skip(half).step_by(2).collect();
        }
        if extent != Extent::Whole {
            let quiet = begin + TimeDelta::days(i64::try_from(at * 20 % 1_800).expect("some years of days"));
            around.push((quiet, quiet + TimeDelta::days(2)));
        }
        let numbers: Vec<_> = (at * each..(at + 1) * each)
            .map(|number| number % expressions.len())
            .collect();
        pairs += numbers.len();
        for stretch in around {
            let stretch = Stretch::new(zone, stretch);
            for number in &numbers {
                firings += compare(&expressions[*number], zone, &stretch);
                stretches += 1;
            }
        }
        used.extend(numbers);
    }
    let what = match extent {
        Extent::Sample => "A SAMPLE; CRON_ORACLE=whole and CRON_ORACLE=zones do more",
        Extent::Zones => "the changes of every zone",
        Extent::Whole => "every minute of five years",
    };
    println!(
        "{what}: {} expressions, {} zones, {pairs} pairs, {stretches} stretches, {firings} firings",
        used.len(),
        zones.len()
    );
    assert!(
        zones.len() >= 60 && used.len() == EXPRESSIONS && firings > 10_000,
        "{firings}"
    );
}
