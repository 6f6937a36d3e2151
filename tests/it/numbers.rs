//! What `/metrics` says after things have happened: through the doors, as a monitoring system reads it.

use std::collections::{BTreeMap, BTreeSet};

use actors::numbers::NUMBERS;
use serde_json::json;

use crate::support::app::{Delivery, TestApp};
use crate::support::payloads::{issue, payload};

/// Every series with its value.
async fn scraped(app: &TestApp) -> (BTreeMap<String, f64>, String) {
    let token = app.login().await;
    let answer = app.get("/metrics", Some(&token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let series = answer
        .text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let series = series.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no series: {line}"));
        (
            name.to_owned(),
            value.parse().unwrap_or_else(|_| panic!("no number: {line}")),
        )
    });
    (series.collect(), answer.text.clone())
}

#[actix_rt::test]
async fn what_happens_is_counted_and_no_series_is_named_by_the_outside() {
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], "").await;
    let (before, _) = scraped(&app).await;
    for name in [
        "firstlight_webhooks_accepted_total",
        "firstlight_webhooks_refused_total{why=\"signature\"}",
        "firstlight_deliveries_ended_total{outcome=\"dead\"}",
        "firstlight_cron_firings_total{state=\"missed\",kind=\"scheduled\"}",
    ] {
        assert!(before.contains_key(name), "{name} is there before anything happened");
    }

    let opened = Delivery::signed("issues", "d-opened", issue("opened", 1, "It broke").to_string());
    for _ in 0..2 {
        assert_eq!(app.deliver(&opened).await.status, 202);
    }
    assert_eq!(app.deliver(&app.delivery("ping", &payload("x"))).await.status, 200);
    assert_eq!(
        app.deliver(&app.delivery("issues", &issue("labeled", 1, "It broke")))
            .await
            .status,
        200
    );
    let mut foreign = issue("opened", 2, "It broke");
    foreign["repository"]["full_name"] = json!("stranger/danger");
    assert_eq!(app.deliver(&app.delivery("issues", &foreign)).await.status, 200);
    let unsigned = opened.clone().without("x-hub-signature-256");
    let forged = opened.clone().with("x-hub-signature-256", "sha256=00");
    for refused in [unsigned, forged] {
        assert_eq!(app.deliver(&refused).await.status, 401);
    }
    let headless = Delivery::signed("issues", "d-2", "{}").without("x-github-event");
    assert_eq!(app.deliver(&headless).await.status, 400);
    assert_eq!(
        app.deliver(&Delivery::signed("issues", "d-3", "no JSON")).await.status,
        400
    );
    app.settle().await;

    let (after, text) = scraped(&app).await;
    // Other tests of this process may count as well.
    for (name, more) in [
        ("firstlight_webhooks_received_total", 9.0),
        ("firstlight_webhooks_accepted_total", 1.0),
        ("firstlight_webhooks_duplicate_total", 1.0),
        ("firstlight_webhooks_filtered_total{reason=\"ping\"}", 1.0),
        ("firstlight_webhooks_filtered_total{reason=\"action\"}", 1.0),
        ("firstlight_webhooks_filtered_total{reason=\"repo\"}", 1.0),
        ("firstlight_webhooks_refused_total{why=\"signature\"}", 2.0),
        ("firstlight_webhooks_refused_total{why=\"header\"}", 1.0),
        ("firstlight_webhooks_refused_total{why=\"body\"}", 1.0),
    ] {
        let counted = after[name] - before[name];
        assert!(counted >= more, "{name} went up by {counted}\n{text}");
    }
    // What a store has counted for itself: with several stores in one process the most of them stands.
    for (name, least) in [
        ("firstlight_runs_opened_total", 1.0),
        ("firstlight_store_written_total", 3.0),
        ("firstlight_store_up", 1.0),
        ("firstlight_store_commit_seconds_count", 1.0),
        ("firstlight_store_commit_orders_bucket{le=\"+Inf\"}", 1.0),
        ("firstlight_database_bytes{part=\"used\"}", 100_000.0),
        ("firstlight_disk_free_bytes", 1.0),
        ("firstlight_started_seconds", 1.7e9),
        ("firstlight_actor_wait_seconds{actor=\"dispatcher\"}", 0.0),
        ("firstlight_actor_busy{actor=\"sweeper\"}", 0.0),
        ("firstlight_events_oldest_seconds", 0.0),
        ("firstlight_outbox_late_seconds", 0.0),
    ] {
        assert!(after.get(name).is_some_and(|value| *value >= least), "{name}\n{text}");
    }
    let ended = after
        .iter()
        .filter(|(name, _)| name.starts_with("firstlight_run_seconds_count"));
    assert!(ended.map(|(_, count)| count).sum::<f64>() >= 1.0, "{text}");

    let known: BTreeSet<&str> = NUMBERS.iter().map(|number| number.name).collect();
    for name in after.keys() {
        let name = name.split('{').next().expect("a name");
        let plain = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let there = known.contains(name) || plain.is_some_and(|plain| known.contains(plain));
        assert!(there, "{name} is explained nowhere");
    }
    for number in NUMBERS {
        let help = format!("# HELP {} {}", number.name, number.help);
        let counted = after.keys().any(|name| name.starts_with(number.name));
        assert!(!counted || text.contains(&help), "{help}");
    }
    assert!(!text.contains("acme") && !text.contains("stranger"), "{text}");
    assert!(after.len() < 500, "{} series", after.len());
    app.finish().await;
}
