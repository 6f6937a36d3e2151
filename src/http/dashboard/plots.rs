//! Numbers over time as columns, made for reading: a picture, a sentence, and the same as a table. Pure.

use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};
use maud::{Markup, html};

use super::parts::{self, Tone};

const WIDE: f64 = 640.0;
const TALL: f64 = 150.0;
const LEFT: f64 = 34.0;
const TOP: f64 = 8.0;
const FOOT: f64 = 20.0;

/// What is counted, and how it looks.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) tone: Tone,
}

/// How long one column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Hour,
    Day,
}

impl Step {
    /// The beginning of the step that an instant lies in, in UTC.
    fn floor(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let hour = match self {
            Self::Hour => at.hour(),
            Self::Day => 0,
        };
        at.date_naive()
            .and_hms_opt(hour, 0, 0)
            .map_or(at, |floor| floor.and_utc())
    }

    fn length(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    fn words(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Hour => at.format("%a %H:00").to_string(),
            Self::Day => at.format("%-d %b").to_string(),
        }
    }

    fn label(self, at: DateTime<Utc>) -> Option<String> {
        match self {
            Self::Hour => at.hour().is_multiple_of(6).then(|| at.format("%H:00").to_string()),
            Self::Day => (at.weekday() == chrono::Weekday::Mon).then(|| self.words(at)),
        }
    }
}

/// One column: when it began, and a number for each series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    at: DateTime<Utc>,
    counts: Vec<u64>,
}

impl Column {
    fn sum(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// So many columns up to the one that `now` lies in; what nothing is said of is zero.
pub(super) fn columns<'a>(
    step: Step,
    many: u16,
    now: DateTime<Utc>,
    series: &[Series],
    counted: impl IntoIterator<Item = (DateTime<Utc>, &'a str, u64)>,
) -> Vec<Column> {
    let last = step.floor(now);
    let mut columns: Vec<Column> = (0..i32::from(many))
        .rev()
        .map(|back| Column {
            at: last - step.length() * back,
            counts: vec![0; series.len()],
        })
        .collect();
    for (at, what, count) in counted {
        let at = step.floor(at);
        let column = columns.iter_mut().find(|column| column.at == at);
        let which = series.iter().position(|series| series.name == what);
        if let (Some(column), Some(which)) = (column, which) {
            column.counts[which] += count;
        }
    }
    columns
}

/// The picture with its legend and its table. `id` is unique on the page.
pub(super) fn draw(id: &str, title: &str, step: Step, series: &[Series], columns: &[Column]) -> Markup {
    let most = columns.iter().map(Column::sum).max().unwrap_or(0);
    let all: u64 = columns.iter().map(Column::sum).sum();
    let top = nice(most);
    let sums: Vec<u64> = (0..series.len())
        .map(|at| columns.iter().map(|column| column.counts[at]).sum())
        .collect();
    let told: Vec<String> = series
        .iter()
        .zip(&sums)
        .map(|(series, sum)| match (*sum, series.name.strip_suffix('s')) {
            (1, Some(one)) => format!("1 {one}"),
            (sum, _) => format!("{} {}", parts::number(sum), series.name),
        })
        .collect();
    html! {
        figure.plot.inside {
            figcaption.legend {
                @for (series, words) in series.iter().zip(&told) { span data-tone=(series.tone) { (words) } }
                @if all == 0 { em { "Nothing yet." } }
            }
            svg viewBox={ "0 0 " (WIDE) " " (TALL) } role="img" aria-label={ (title) ": " (told.join(", ")) } {
                @for line in [0, top / 2, top] {
                    @let y = height_of(line, top);
                    line.axis x1=(LEFT) x2=(WIDE) y1=(y) y2=(y) {}
                    @if line > 0 || top == 0 { text x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (parts::number(line)) } }
                }
                @for (at, column) in columns.iter().enumerate() { (drawn(at, columns.len(), column, step, series, top)) }
            }
            details id=(id) {
                summary { "As a table" }
                table {
                    thead { tr { th scope="col" { (if step == Step::Hour { "Hour (UTC)" } else { "Day (UTC)" }) } @for series in series { th scope="col" { (series.name) } } } }
                    tbody {
                        @for column in columns.iter().rev().filter(|column| column.sum() > 0) {
                            tr {
                                td data-label="When" { div.cell { (step.words(column.at)) } }
                                @for (series, count) in series.iter().zip(&column.counts) { td data-label=(series.name) { div.cell { (parts::number(*count)) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn drawn(at: usize, many: usize, column: &Column, step: Step, series: &[Series], top: u64) -> Markup {
    let room = (WIDE - LEFT) / many.max(1) as f64;
    let x = LEFT + room * at as f64;
    let told: Vec<String> = series
        .iter()
        .zip(&column.counts)
        .filter(|(_, count)| **count > 0)
        .map(|(series, count)| format!("{count} {}", series.name))
        .collect();
    let told = if told.is_empty() {
        "nothing".to_owned()
    } else {
        told.join(", ")
    };
    // Each stands on those before it.
    let mut below = 0;
    let stack: Vec<(Tone, u64, u64)> = series
        .iter()
        .zip(&column.counts)
        .map(|(series, count)| {
            let from = below;
            below += count;
            (series.tone, from, below)
        })
        .filter(|(_, from, to)| from < to)
        .collect();
    html! {
        g {
            title { (step.words(column.at)) ": " (told) }
            rect.back x=(f(x)) y=(TOP) width=(f(room)) height=(TALL - TOP - FOOT) {}
            @for (tone, from, to) in stack {
                @let y = height_of(to, top);
                @let tall = (height_of(from, top) - y).max(1.0);
                rect data-tone=(tone) x=(f(x + room * 0.14)) y=(f(y)) width=(f(room * 0.72)) height=(f(tall)) rx="1.5" {}
            }
            @if let Some(label) = step.label(column.at) {
                @let middle = x + room / 2.0;
                text x=(f(middle.min(WIDE - 16.0))) y=(TALL - 4.0) text-anchor="middle" { (label) }
            }
        }
    }
}

fn f(value: f64) -> String {
    format!("{value:.1}")
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn height_of(count: u64, top: u64) -> f64 {
    let room = TALL - TOP - FOOT;
    TOP + room - room * (count as f64 / top.max(1) as f64)
}

/// The next number that is easy to read and to halve, no smaller than 2.
fn nice(most: u64) -> u64 {
    let mut unit = 1;
    loop {
        for step in [2, 4, 6, 10] {
            if step * unit >= most {
                return step * unit;
            }
        }
        let Some(next) = u64::checked_mul(unit, 10).filter(|next| *next < u64::MAX / 20) else {
            return most;
        };
        unit = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: [Series; 2] = [
        Series {
            name: "succeeded",
            tone: Tone::Good,
        },
        Series {
            name: "failed",
            tone: Tone::Bad,
        },
    ];

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn what_lies_in_a_step_is_added_and_the_rest_is_zero() {
        let counted = [
            (at("2026-11-21T05:00:00Z"), "succeeded", 3),
            (at("2026-11-21T05:10:00Z"), "failed", 1),
            (at("2026-11-20T23:00:00Z"), "succeeded", 2),
            (at("2026-11-01T00:00:00Z"), "succeeded", 9),
            (at("2026-11-21T05:00:00Z"), "events", 7),
        ];
        let hours = columns(Step::Hour, 24, at("2026-11-21T05:30:00Z"), &SERIES, counted);
        assert_eq!(hours.len(), 24);
        assert_eq!(hours[23].counts, [3, 1]);
        assert_eq!(hours.iter().map(Column::sum).sum::<u64>(), 6);
        let days = columns(Step::Day, 30, at("2026-11-21T05:30:00Z"), &SERIES, counted);
        assert_eq!(days[28].counts, [2, 0]);
        assert_eq!(days.iter().map(Column::sum).sum::<u64>(), 15);
    }

    #[test]
    fn a_picture_is_told_in_words_and_leaves_no_room() {
        let days = columns(
            Step::Day,
            30,
            at("2026-11-21T05:30:00Z"),
            &SERIES,
            [(at("2026-11-21T05:00:00Z"), "failed", 1_500)],
        );
        let drawn = draw("p", "Runs", Step::Day, &SERIES, &days).into_string();
        assert!(drawn.contains("Runs: 0 succeeded, 1\u{202f}500 failed"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("style="), "{drawn}");
    }

    #[test]
    fn scales_end_at_numbers_that_are_easy_to_read() {
        for (most, expected) in [(0, 2), (1, 2), (3, 4), (7, 10), (11, 20), (61, 100), (1_500, 2_000)] {
            assert_eq!(nice(most), expected, "{most}");
        }
    }
}
