//! Every number that the service counts, in one table: what it means, what labels it has, which values those take. Counts nothing itself.
//!
//! A name that is used anywhere and does not stand here fails a test, and so does one that stands here and is used nowhere.
//! No label holds what the outside chooses, such as a repository: the number of series is known before the service starts.

use metrics::{Label, Unit};

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberKind {
    /// Only grows, and begins at 0 with each start of the service.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values were up to each of these bounds.
    Histogram(&'static [f64]),
}

impl NumberKind {
    /// Its name in Prometheus' text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A number.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// Its name in Prometheus' text, with the `_total` of counters.
    pub name: &'static str,
    /// How it behaves.
    pub kind: NumberKind,
    /// What is measured: `seconds`, `milliseconds`, `bytes`; empty: how many.
    pub unit: &'static str,
    /// Its labels, each with the values that it takes; without values: names of parts of the service, such as actors.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// What it means, for people.
    pub help: &'static str,
}

/// Upper bounds of times in ms, from a write to a fast disk up to the longest timeout.
const MILLIS: &[f64] = &[
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 30_000.0,
];

/// Upper bounds of the times of commits, in s.
const COMMIT: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Upper bounds of the times of runs, in s: from a script to a day of waiting for an answer.
const RUN: &[f64] = &[
    0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0,
];

/// Upper bounds of how many orders share a commit.
const ORDERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

type Labels = &'static [(&'static str, &'static [&'static str])];

const fn number(
    name: &'static str,
    kind: NumberKind,
    unit: &'static str,
    labels: Labels,
    help: &'static str,
) -> Number {
    Number {
        name,
        kind,
        unit,
        labels,
        help,
    }
}

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Number {
    number(name, NumberKind::Counter, "", labels, help)
}

const fn gauge(name: &'static str, unit: &'static str, labels: Labels, help: &'static str) -> Number {
    number(name, NumberKind::Gauge, unit, labels, help)
}

const fn histogram(
    name: &'static str,
    unit: &'static str,
    bounds: &'static [f64],
    labels: Labels,
    help: &'static str,
) -> Number {
    number(name, NumberKind::Histogram(bounds), unit, labels, help)
}

const CHANNELS: &[&str] = &["slack", "discord", "email", "webhook"];

/// The table, by what an operator asks about.
pub const NUMBERS: &[Number] = &[
    // What comes in.
    counter(
        "firstlight_webhooks_received_total",
        &[],
        "Requests to POST /webhooks/github, whatever became of them.",
    ),
    counter(
        "firstlight_webhooks_accepted_total",
        &[],
        "Deliveries that were accepted: on disk, and answered 202.",
    ),
    counter(
        "firstlight_webhooks_duplicate_total",
        &[],
        "Deliveries that had been accepted before; nothing was done again.",
    ),
    counter(
        "firstlight_webhooks_filtered_total",
        &[("reason", &["ping", "action", "bot", "repo", "unmapped"])],
        "Deliveries that are deliberately not taken, by the kind of their reason.",
    ),
    counter(
        "firstlight_webhooks_refused_total",
        &[(
            "why",
            &["signature", "header", "body", "size", "stalled", "busy", "store"],
        )],
        "Requests that were refused. busy and store were answered 503: GitHub does not send them again by itself.",
    ),
    // What waits, and what came of it.
    gauge("firstlight_events_unsettled", "", &[], "Events that wait to be routed."),
    gauge(
        "firstlight_events_oldest_seconds",
        "seconds",
        &[],
        "For how long the oldest of them has been waiting; 0 where none waits.",
    ),
    gauge(
        "firstlight_events_quarantined",
        "",
        &[],
        "Events that were set aside because their handling failed again and again.",
    ),
    gauge(
        "firstlight_runs",
        "",
        &[("status", &["queued", "running", "paused"])],
        "Runs that are not over.",
    ),
    gauge("firstlight_runs_live", "", &[], "Runs that are queued or running."),
    gauge(
        "firstlight_approvals_pending",
        "",
        &[],
        "Questions that wait for an answer.",
    ),
    counter(
        "firstlight_runs_opened_total",
        &[],
        "Runs that were opened, counted in the database.",
    ),
    counter(
        "firstlight_runs_ended_total",
        &[("status", &["succeeded", "failed", "cancelled"])],
        "Runs that came to an end, counted in the database.",
    ),
    histogram(
        "firstlight_run_seconds",
        "seconds",
        RUN,
        &[("status", &["succeeded", "failed", "cancelled"])],
        "How long runs took from their opening to their end, waiting included.",
    ),
    // What goes out.
    gauge(
        "firstlight_outbox_open",
        "",
        &[],
        "Replies and deliveries that are not done.",
    ),
    gauge(
        "firstlight_outbox_late_seconds",
        "seconds",
        &[],
        "How long the reply or delivery that is late the most has been due; 0 where none is.",
    ),
    counter(
        "firstlight_replies_total",
        &[
            ("platform", &["github", "slack"]),
            ("outcome", &["done", "retry", "dead", "undeliverable"]),
        ],
        "Attempts to write a comment or message, by what came of them.",
    ),
    counter(
        "firstlight_deliveries_ended_total",
        &[("outcome", &["delivered", "dead"])],
        "Deliveries to webhooks and notifications that came to an end, counted in the database.",
    ),
    counter(
        "integrations_delivery_ok_total",
        &[],
        "Attempts to deliver that succeeded.",
    ),
    counter(
        "integrations_delivery_retry_total",
        &[],
        "Attempts to deliver that failed and are made again.",
    ),
    counter(
        "integrations_delivery_failed_total",
        &[],
        "Attempts to deliver that failed for good.",
    ),
    counter(
        "integrations_notification_sent_total",
        &[("channel", CHANNELS)],
        "Notifications that arrived.",
    ),
    counter(
        "integrations_notification_failed_total",
        &[("channel", CHANNELS)],
        "Notifications that did not.",
    ),
    counter(
        "integrations_event_emitted_total",
        &[(
            "event",
            &[
                "session.start",
                "session.end",
                "task.created",
                "task.completed",
                "roadmap.exported",
                "task.sync",
                "error",
            ],
        )],
        "Events that webhooks were told.",
    ),
    counter(
        "integrations_webhook_registered_total",
        &[],
        "Webhooks that were registered.",
    ),
    counter(
        "integrations_webhook_updated_total",
        &[],
        "Webhooks that were registered again, with other events or another secret.",
    ),
    counter("integrations_webhook_deleted_total", &[], "Webhooks that were removed."),
    // By the clock.
    counter(
        "firstlight_cron_firings_total",
        &[
            ("state", &["waiting", "working", "done", "failed", "skipped", "missed"]),
            ("kind", &["scheduled", "catch_up", "manual"]),
        ],
        "Times of schedules that came, by what was made of them.",
    ),
    counter(
        "firstlight_cron_ended_total",
        &[("state", &["done", "failed", "skipped", "missed"])],
        "Firings that are over, by how.",
    ),
    histogram(
        "firstlight_cron_lateness_ms",
        "milliseconds",
        MILLIS,
        &[],
        "How late a schedule fired.",
    ),
    // Chat.
    gauge(
        "firstlight_slack_connected",
        "",
        &[],
        "1 while a socket to Slack is open, 0 while none can be opened; absent where Slack is not set up.",
    ),
    counter(
        "firstlight_slack_sockets_opened_total",
        &[],
        "Sockets to Slack that were opened; Slack renews them every few hours.",
    ),
    counter(
        "firstlight_slack_refused_total",
        &[],
        "Events of Slack that could not be taken; Slack sends them again.",
    ),
    // The house itself.
    gauge(
        "firstlight_build_info",
        "",
        &[("version", &[])],
        "Always 1; the version is in the label.",
    ),
    gauge(
        "firstlight_started_seconds",
        "seconds",
        &[],
        "When the service started, since 1970 UTC.",
    ),
    gauge(
        "firstlight_actor_wait_seconds",
        "seconds",
        &[("actor", &[])],
        "How long a message waits in an actor's mailbox now, up to 0.1, which means as long or longer.",
    ),
    gauge(
        "firstlight_actor_busy",
        "",
        &[("actor", &[])],
        "1 while an actor has something in hand.",
    ),
    gauge(
        "firstlight_store_up",
        "",
        &[],
        "1 while the store reads and writes; 0: nothing is accepted.",
    ),
    counter("firstlight_store_written_total", &[], "Orders that the store wrote."),
    counter("firstlight_store_commits_total", &[], "Commits that they took."),
    histogram(
        "firstlight_store_commit_seconds",
        "seconds",
        COMMIT,
        &[],
        "How long a group of orders took from its first order to the disk.",
    ),
    histogram(
        "firstlight_store_commit_orders",
        "",
        ORDERS,
        &[],
        "How many orders shared a commit.",
    ),
    gauge(
        "firstlight_database_bytes",
        "bytes",
        &[("part", &["used", "free"])],
        "Size of the database: what holds something, and what is free in its file.",
    ),
    gauge(
        "firstlight_disk_free_bytes",
        "bytes",
        &[],
        "Room on the disk of the database.",
    ),
    counter(
        "firstlight_retention_removed_total",
        &[(
            "what",
            &[
                "events",
                "payloads",
                "conversations",
                "runs",
                "firings",
                "deliveries",
                "logs",
            ],
        )],
        "Rows, and folders of logs, that were removed because they were old.",
    ),
    number(
        "firstlight_retention_given_back_bytes_total",
        NumberKind::Counter,
        "bytes",
        &[],
        "What the database gave back to the disk.",
    ),
    histogram(
        "integrations_state_write_ms",
        "milliseconds",
        MILLIS,
        &[],
        "How long a write of integrations.json took.",
    ),
    histogram(
        "integrations_lock_wait_ms",
        "milliseconds",
        MILLIS,
        &[],
        "How long integrations.json was locked by another process.",
    ),
];

/// Tells the collector what each number means, and begins every counter whose labels are known at 0: a rate over a number that
/// is not there yet sees nothing of its first step.
pub fn describe() {
    for number in NUMBERS {
        let unit = match number.unit {
            "seconds" => Unit::Seconds,
            "milliseconds" => Unit::Milliseconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        match number.kind {
            NumberKind::Counter => {
                metrics::describe_counter!(number.name, unit, number.help);
                for labels in number.series() {
                    metrics::counter!(number.name, labels).absolute(0);
                }
            }
            NumberKind::Gauge => metrics::describe_gauge!(number.name, unit, number.help),
            NumberKind::Histogram(_) => metrics::describe_histogram!(number.name, unit, number.help),
        }
    }
}

impl Number {
    /// All its labels with their values; none where a label takes names that are not known here.
    fn series(&self) -> Vec<Vec<Label>> {
        let mut series = vec![Vec::new()];
        for (name, values) in self.labels {
            let longer = series.iter().flat_map(|labels: &Vec<Label>| {
                values.iter().map(|value| {
                    let mut labels = labels.clone();
                    labels.push(Label::from_static_parts(name, value));
                    labels
                })
            });
            series = longer.collect();
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{Channel, FiringKind, FiringState, IntegrationEvent, Prunable, RunStatus};

    fn values(name: &str, label: &str) -> BTreeSet<&'static str> {
        let number = NUMBERS.iter().find(|number| number.name == name).expect("it is there");
        let (_, values) = number.labels.iter().find(|(name, _)| *name == label).expect("a label");
        values.iter().copied().collect()
    }

    #[test]
    fn each_number_stands_once_under_a_name_that_says_its_kind_and_unit() {
        let mut seen = BTreeSet::new();
        for number in NUMBERS {
            let name = number.name;
            assert!(seen.insert(name), "{name} is there twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(plain), "{name}");
            assert_eq!(name.ends_with("_total"), number.kind == NumberKind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            for (end, unit) in [("_seconds", "seconds"), ("_ms", "milliseconds")] {
                assert_eq!(stem.ends_with(end), number.unit == unit, "{name}");
            }
            assert!(number.help.ends_with('.'), "{name}");
            if let NumberKind::Histogram(bounds) = number.kind {
                assert!(bounds.is_sorted() && bounds.len() > 5, "{name}");
            }
            assert!(number.series().len() <= 20, "{name} has too many series");
        }
    }

    #[test]
    fn values_of_labels_are_those_of_the_house() {
        let set = |words: &[&'static str]| words.iter().copied().collect::<BTreeSet<_>>();
        let ended: Vec<_> = RunStatus::ALL
            .iter()
            .filter(|status| status.is_final())
            .map(|s| s.as_str())
            .collect();
        let open: Vec<_> = RunStatus::ALL
            .iter()
            .filter(|status| !status.is_final())
            .map(|s| s.as_str())
            .collect();
        assert_eq!(values("firstlight_runs_ended_total", "status"), set(&ended));
        assert_eq!(values("firstlight_run_seconds", "status"), set(&ended));
        assert_eq!(values("firstlight_runs", "status"), set(&open));
        let over: Vec<_> = FiringState::ALL
            .iter()
            .filter(|state| state.is_final())
            .map(|s| s.as_str())
            .collect();
        assert_eq!(values("firstlight_cron_ended_total", "state"), set(&over));
        let states: Vec<_> = FiringState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(values("firstlight_cron_firings_total", "state"), set(&states));
        let kinds: Vec<_> = FiringKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(values("firstlight_cron_firings_total", "kind"), set(&kinds));
        let mut removed: Vec<_> = Prunable::ALL.iter().map(|what| what.as_str()).collect();
        removed.push("logs");
        assert_eq!(values("firstlight_retention_removed_total", "what"), set(&removed));
        let events: Vec<_> = IntegrationEvent::ALL.iter().map(|event| event.as_str()).collect();
        assert_eq!(values("integrations_event_emitted_total", "event"), set(&events));
        let channels: Vec<_> = Channel::ALL.iter().map(|channel| channel.as_str()).collect();
        assert_eq!(
            values("integrations_notification_sent_total", "channel"),
            set(&channels)
        );
    }
}
