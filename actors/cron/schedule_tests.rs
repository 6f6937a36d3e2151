//! What an expression means, when it fires as clocks change, and what is said of one that is none: tables and properties.

use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc, Weekday};
use proptest::prelude::*;

use super::{MAX_EXPRESSION, SHIFTED_BY_A_GAP, Schedule, Zone};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::parse(expression, Some(zone)).unwrap_or_else(|error| panic!("{expression} in {zone}: {error}"))
}

/// The next firings, as the wall shows them; those that are not at their written time have a `!`.
fn shown(expression: &str, zone: &str, from: &str, n: usize) -> Vec<String> {
    let firings = schedule(expression, zone).next(at(from), n);
    let show = |firing: &super::Firing| {
        assert_eq!(at(&firing.local), firing.at, "the two are one instant");
        let mark = firing.shifted.map_or("", |reason| {
            assert_eq!(reason, SHIFTED_BY_A_GAP);
            "!"
        });
        format!("{}{mark}", firing.local)
    };
    firings.iter().map(show).collect()
}

// ---- what an expression means ----

#[test]
fn days_of_the_week_are_those_of_everybody() {
    for (field, days) in [
        ("0", vec![Weekday::Sun]),
        ("7", vec![Weekday::Sun]),
        ("1", vec![Weekday::Mon]),
        ("mon", vec![Weekday::Mon]),
        ("6", vec![Weekday::Sat]),
        ("FRI-SUN", vec![Weekday::Fri, Weekday::Sat, Weekday::Sun]),
        ("5-7", vec![Weekday::Fri, Weekday::Sat, Weekday::Sun]),
        ("7-1", vec![Weekday::Mon, Weekday::Sun]),
        ("1-5/2", vec![Weekday::Mon, Weekday::Wed, Weekday::Fri]),
        ("6-2/2", vec![Weekday::Mon, Weekday::Sat]),
    ] {
        let schedule = schedule(&format!("0 9 * * {field}"), "UTC");
        let mut fired: Vec<_> = schedule
            .next(at("2027-01-01T12:00:00Z"), days.len() * 3)
            .iter()
            .map(|f| f.at.weekday())
            .collect();
        fired.sort_by_key(Weekday::num_days_from_monday);
        fired.dedup();
        assert_eq!(fired, days, "{field}");
    }
}

#[test]
fn fields_mean_what_they_say() {
    for (expression, from, expected) in [
        // Either field of days is enough.
        (
            "0 0 13 * FRI",
            "2027-08-07T00:00:00Z",
            &["2027-08-13", "2027-08-20", "2027-08-27", "2027-09-03"][..],
        ),
        (
            "0 0 */10 * 1",
            "2027-02-01T12:00:00Z",
            &["2027-02-08", "2027-02-11", "2027-02-15", "2027-02-21"],
        ),
        ("0 0 * * MON", "2027-02-01T12:00:00Z", &["2027-02-08", "2027-02-15"]),
        ("0 0 */1 * MON", "2027-02-01T12:00:00Z", &["2027-02-08", "2027-02-15"]),
        (
            "0 0 1 NOV-FEB *",
            "2027-01-15T00:00:00Z",
            &["2027-02-01", "2027-11-01", "2027-12-01"],
        ),
        (
            "0 0 30-2 * *",
            "2027-01-15T00:00:00Z",
            &["2027-01-30", "2027-01-31", "2027-02-01", "2027-02-02", "2027-03-01"],
        ),
        ("0 0 29 2 *", "2027-01-01T00:00:00Z", &["2028-02-29", "2032-02-29"]),
        (
            "0 0 L * *",
            "2027-01-15T00:00:00Z",
            &["2027-01-31", "2027-02-28", "2027-03-31"],
        ),
        ("0 0 L-2 * *", "2027-02-01T00:00:00Z", &["2027-02-26", "2027-03-29"]),
        (
            "0 0 LW * *",
            "2027-01-15T00:00:00Z",
            &["2027-01-29", "2027-02-26", "2027-03-31"],
        ),
        ("0 0 15w * *", "2027-05-01T00:00:00Z", &["2027-05-14", "2027-06-15"]),
        ("0 0 1W * *", "2027-04-15T00:00:00Z", &["2027-05-03", "2027-06-01"]),
        ("0 0 * * 5L", "2027-01-01T00:00:00Z", &["2027-01-29", "2027-02-26"]),
        ("0 0 * * mon#2", "2027-01-01T00:00:00Z", &["2027-01-11", "2027-02-08"]),
        ("0 0 * * 0#1", "2027-01-01T00:00:00Z", &["2027-01-03", "2027-02-07"]),
        ("@monthly", "2027-01-15T00:00:00Z", &["2027-02-01", "2027-03-01"]),
        ("@Weekly", "2027-01-01T00:00:00Z", &["2027-01-03", "2027-01-10"]),
        ("@yearly", "2027-01-01T00:00:00Z", &["2028-01-01", "2029-01-01"]),
        ("@daily", "2027-01-01T00:00:00Z", &["2027-01-02", "2027-01-03"]),
    ] {
        let fired: Vec<_> = schedule(expression, "UTC").next(at(from), expected.len());
        let fired: Vec<_> = fired
            .iter()
            .map(|firing| firing.local.strip_suffix("T00:00:00+00:00").unwrap_or("?"))
            .collect();
        assert_eq!(fired, expected, "{expression}");
    }
    let times = |expression: &str, n: usize| -> Vec<String> {
        let firings = schedule(expression, "UTC").next(at("2027-01-01T00:00:00Z"), n);
        firings
            .iter()
            .map(|firing| firing.at.format("%H:%M").to_string())
            .collect()
    };
    assert_eq!(times("5,* 0 * * *", 3), ["00:01", "00:02", "00:03"]);
    assert_eq!(
        times("0 22-2 * * *", 6),
        ["01:00", "02:00", "22:00", "23:00", "00:00", "01:00"]
    );
    assert_eq!(times("0 22-3/2 * * *", 4), ["02:00", "22:00", "00:00", "02:00"]);
}

#[test]
fn what_was_written_is_kept() {
    let weekly = schedule("  0 9 * * 1 ", "Europe/Berlin");
    assert_eq!((weekly.expression(), weekly.timezone()), ("0 9 * * 1", "Europe/Berlin"));
    let plain = Schedule::parse("@daily", None).expect("a word for a schedule");
    assert_eq!((plain.expression(), plain.timezone()), ("@daily", "UTC"));
    assert_eq!(schedule("@daily", "local").timezone(), "local");
    assert_eq!(
        Zone::parse("Asia/Kathmandu")
            .expect("a zone")
            .show(at("2027-01-01T00:00:00Z")),
        "2027-01-01T05:45:00+05:45"
    );
}

#[test]
fn the_machines_own_zone_is_counted_like_any_other() {
    let from = at("2027-01-01T00:00:30Z");
    let firings = schedule("*/10 * * * *", "local").next(from, 500);
    assert_eq!(firings.len(), 500);
    for pair in firings.windows(2) {
        assert!(pair[0].at < pair[1].at);
        assert_eq!(at(&pair[1].local), pair[1].at);
    }
}

// ---- clocks that change ----

#[test]
fn a_time_in_a_gap_fires_once_at_the_first_instant_after_it() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2027-03-27T12:00:00Z",
            &["2027-03-28T03:00:00+02:00!", "2027-03-29T02:30:00+02:00"],
        ),
        // Several written times fall into the gap.
        (
            "0,20,40 2 * * *",
            "Europe/Berlin",
            "2027-03-27T12:00:00Z",
            &["2027-03-28T03:00:00+02:00!", "2027-03-29T02:00:00+02:00"],
        ),
        // The first instant after it is a written time as well.
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2027-03-27T12:00:00Z",
            &["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2027-10-02T00:00:00Z",
            &["2027-10-03T02:30:00+11:00!", "2027-10-04T02:15:00+11:00"],
        ),
        // A gap at midnight.
        (
            "0 0 * * *",
            "Africa/Cairo",
            "2027-04-29T12:00:00Z",
            &["2027-04-30T01:00:00+03:00!", "2027-05-01T00:00:00+03:00"],
        ),
        // A whole day that there was not.
        (
            "0 9 * * *",
            "Pacific/Apia",
            "2011-12-29T12:00:00Z",
            &[
                "2011-12-29T09:00:00-10:00",
                "2011-12-31T00:00:00+14:00!",
                "2011-12-31T09:00:00+14:00",
            ],
        ),
        // Two hours at once.
        (
            "30 2 * * *",
            "Antarctica/Troll",
            "2027-03-27T12:00:00Z",
            &["2027-03-28T03:00:00+02:00!", "2027-03-29T02:30:00+02:00"],
        ),
    ];
    for (expression, zone, from, expected) in cases {
        assert_eq!(
            shown(expression, zone, from, expected.len()),
            *expected,
            "{expression} in {zone}"
        );
    }
}

#[test]
fn a_time_that_is_shown_twice_fires_at_its_first_occurrence() {
    for (expression, zone, from, expected) in [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2027-10-30T12:00:00Z",
            ["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"],
        ),
        // A list is no interval.
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2027-10-31T00:10:00Z",
            ["2027-10-31T02:30:00+02:00", "2027-11-01T02:00:00+01:00"],
        ),
        // Asked while the hour goes by for the second time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2027-10-31T01:10:00Z",
            ["2027-11-01T02:30:00+01:00", "2027-11-02T02:30:00+01:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2027-04-03T00:00:00Z",
            ["2027-04-04T01:45:00+11:00", "2027-04-05T01:45:00+10:30"],
        ),
        (
            "0 0 * * *",
            "America/Havana",
            "2027-11-07T03:00:00Z",
            ["2027-11-07T00:00:00-04:00", "2027-11-08T00:00:00-05:00"],
        ),
    ] {
        assert_eq!(shown(expression, zone, from, 2), expected, "{expression} in {zone}");
    }
}

#[test]
fn an_interval_keeps_its_rhythm_in_real_time() {
    for (from, step) in [("2027-03-28T00:00:00Z", 10), ("2027-10-30T23:50:00Z", 10)] {
        let firings = schedule("*/10 * * * *", "Europe/Berlin").next(at(from), 30);
        for pair in firings.windows(2) {
            assert_eq!(pair[1].at - pair[0].at, TimeDelta::minutes(step), "{pair:?}");
        }
    }
    let hourly = schedule("30 * * * *", "America/New_York").next(at("2027-11-07T00:00:00Z"), 12);
    assert!(
        hourly
            .windows(2)
            .all(|pair| pair[1].at - pair[0].at == TimeDelta::hours(1)),
        "{hourly:?}"
    );
    assert!(hourly.iter().all(|firing| firing.shifted.is_none()));
    // No night passes without, and no interval becomes longer.
    assert_eq!(
        shown("0 */2 * * *", "Europe/Berlin", "2027-03-27T22:30:00Z", 3),
        [
            "2027-03-28T00:00:00+01:00",
            "2027-03-28T03:00:00+02:00!",
            "2027-03-28T04:00:00+02:00"
        ]
    );
    assert_eq!(
        shown("*/20 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", 2),
        ["2027-03-28T03:00:00+02:00!", "2027-03-29T02:00:00+02:00"]
    );
    assert_eq!(
        shown("*/30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00Z", 4),
        [
            "2027-10-31T02:00:00+02:00",
            "2027-10-31T02:30:00+02:00",
            "2027-10-31T02:00:00+01:00",
            "2027-10-31T02:30:00+01:00"
        ]
    );
}

// ---- what is none ----

#[test]
fn a_bad_schedule_is_refused_with_its_field_and_what_to_do() {
    let commas = ",".repeat(10_240);
    let many = format!("{} * * * *", "1,".repeat(80));
    let cases = [
        ("", "is empty; write five fields"),
        (" \t\n", "is empty"),
        ("61 * * * *", "field \"minute\": \"61\" is not within 0 to 59"),
        ("* 24 * * *", "field \"hour\": \"24\" is not within 0 to 23"),
        ("* * 0 * *", "field \"day of month\": \"0\" is not within 1 to 31"),
        (
            "* * * 13 *",
            "field \"month\": \"13\" is not within 1 to 12, or JAN to DEC",
        ),
        (
            "* * * * 8",
            "field \"day of week\": \"8\" is not within 0 to 7, or SUN to SAT",
        ),
        ("* * * * monday", "field \"day of week\": \"monday\" is not within"),
        ("1-61 * * * *", "holds \"61\""),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 L-30 2 *", "never fires"),
        ("🦀", "has 1 of the five fields"),
        ("🦀 * * * *", "field \"minute\""),
        ("* * * *", "has 4 of the five fields"),
        (
            "0 0 9 * * 1",
            "has six fields; seconds are not counted, so take the first field out",
        ),
        ("0 0 9 * * 1 2027", "has seven fields"),
        (&commas, "10240 bytes long"),
        (&many, "field \"minute\": \"1,1,1,1"),
        (",,,, * * * *", "has an empty place"),
        ("*/0 * * * *", "no step of 1 to 59"),
        ("*/60 * * * *", "no step of 1 to 59"),
        ("*/ * * * *", "no step"),
        ("*/5/5 * * * *", "no step"),
        ("5/15 * * * *", "write \"5-59\""),
        ("-5 * * * *", "has an empty place"),
        ("+5 * * * *", "field \"minute\""),
        ("1-2-3 * * * *", "holds \"2-3\""),
        ("99999999999999999999 * * * *", "field \"minute\""),
        ("* * ? * *", "is not known here; write \"*\""),
        ("* * 31W * *", "write \"1W\" to \"28W\""),
        ("* * L-3W * *", "no day before the last"),
        ("* * 1,L * *", "field \"day of month\""),
        ("* * * * L", "no last day"),
        ("* * * * MON#6", "MON#1"),
        ("* * * * 1,5L", "no last day"),
        ("@reboot", "is no time"),
        ("@dayly", "did you mean \"@daily\"?"),
        ("@", "there is no schedule"),
    ];
    let mut refused = 0;
    for (expression, words) in cases {
        let problem = Schedule::parse(expression, None)
            .err()
            .unwrap_or_else(|| panic!("{expression} was taken"))
            .to_string();
        assert!(problem.contains(words), "{expression:.40}: {problem}");
        assert!(problem.len() < 300, "{problem}");
        refused += 1;
    }
    assert!(refused > 30);
    for (zone, words) in [
        ("Europe/Berlim", "did you mean \"Europe/Berlin\"?"),
        ("europe/berlin", "did you mean \"Europe/Berlin\"?"),
        ("", "there is no time zone \"\""),
        ("+02:00", "a name of the IANA database"),
        ("Locl", "did you mean \"local\"?"),
    ] {
        let problem = Schedule::parse("@daily", Some(zone))
            .err()
            .unwrap_or_else(|| panic!("{zone} was taken"))
            .to_string();
        assert!(problem.contains(words), "{zone}: {problem}");
    }
}

#[test]
fn a_bad_schedule_is_refused_at_once() {
    let commas = ",".repeat(10_240);
    let fields = format!("{} * * * *", ",".repeat(900));
    let spaces = format!("{}x", " ".repeat(900));
    for expression in ["61 * * * *", "0 0 30 2 *", "", "🦀🦀🦀🦀🦀", &commas, &fields, &spaces] {
        let began = Instant::now();
        for _ in 0..100 {
            assert!(Schedule::parse(expression, None).is_err());
        }
        // Some microseconds each; the rest is room for a busy machine.
        assert!(
            began.elapsed() < Duration::from_millis(250),
            "{expression:.40}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn the_ends_of_time_have_no_firing_and_no_panic() {
    for zone in ["UTC", "Europe/Berlin", "Pacific/Apia", "local"] {
        for expression in ["* * * * *", "0 0 29 2 *", "30 2 * * *"] {
            let schedule = schedule(expression, zone);
            for end in [
                DateTime::<Utc>::MAX_UTC,
                DateTime::<Utc>::MIN_UTC,
                at("9000-12-31T23:59:59Z"),
            ] {
                assert_eq!(schedule.after(end), None, "{expression} in {zone} after {end}");
            }
            assert!(schedule.after(at("0001-01-01T00:00:00Z")).is_some());
        }
    }
}

fn field(values: std::ops::RangeInclusive<u32>, most_step: u32) -> impl Strategy<Value = String> {
    let range = (values.clone(), values.clone());
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (1..=most_step).prop_map(|step| format!("*/{step}")),
        3 => prop::collection::vec(values, 1..4).prop_map(|values| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        2 => range.prop_map(|(a, b)| format!("{a}-{b}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    (
        field(0..=59, 59),
        field(0..=23, 23),
        field(1..=28, 27),
        field(1..=12, 11),
        field(0..=7, 6),
    )
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

proptest! {
    #[test]
    fn firings_come_one_after_the_other_and_match(
        expression in expression(),
        zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
        seconds in 0..2_600_000_000_i64,
    ) {
        let from = DateTime::from_timestamp(seconds, 0).expect("within this century");
        let schedule = schedule(&expression, zone.name());
        let mut before = from;
        for firing in schedule.next(from, 6) {
            prop_assert!(firing.at > before, "{} in {}: {:?} after {}", expression, zone, firing, before);
            let wall: DateTime<chrono::FixedOffset> = firing.local.parse().expect("it is RFC 3339");
            // Odd offsets of long ago have seconds, which no offset of RFC 3339 can say.
            prop_assert!((wall.to_utc() - firing.at).abs() < TimeDelta::minutes(1));
            if firing.shifted.is_none() {
                prop_assert!(super::oracle_tests::Plain::read(&expression).matches(wall.naive_local()), "{} in {}: {:?}", expression, zone, firing);
            }
            // Nothing lies between the two that one who asks in between is told.
            let middle = before + (firing.at - before) / 2;
            prop_assert_eq!(schedule.after(middle).map(|next| next.at), Some(firing.at));
            before = firing.at;
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r"([0-9A-Za-z*/,#?LW@\-]{0,9}[ \t]?){0,8}|\PC{0,60}", zone in r"\PC{0,20}") {
        if let Ok(schedule) = Schedule::parse(&text, None) {
            prop_assert!(text.len() <= MAX_EXPRESSION + 100);
            let from = at("2027-01-01T00:00:00Z");
            prop_assert!(schedule.after(from).is_some_and(|firing| firing.at > from), "{}", text);
        }
        let _ = Zone::parse(&zone);
    }
}

#[test]
fn an_expression_that_is_taken_fires_within_a_leap_cycle() {
    let from = NaiveDate::from_ymd_opt(2096, 3, 1)
        .expect("a day")
        .and_hms_opt(0, 0, 0)
        .expect("a time")
        .and_utc();
    let first = schedule("0 0 29 2 *", "UTC").after(from).expect("there are leap years");
    assert_eq!(first.at, at("2104-02-29T00:00:00Z"));
    let fifth = schedule("0 0 * 2 SUN#5", "UTC")
        .after(at("2027-01-01T00:00:00Z"))
        .expect("some Februaries have five");
    assert_eq!(fifth.at, at("2032-02-29T00:00:00Z"));
    assert_eq!(fifth.at.checked_add_days(Days::new(1)).map(|day| day.month()), Some(3));
}
