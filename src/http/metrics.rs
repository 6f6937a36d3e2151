//! `GET /metrics`: numbers for a monitoring system, in Prometheus text. Names and counts only.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpResponse, ResponseError, http::header::CONTENT_TYPE};
use actors::clock::SharedClock;
use actors::messages::store::CountStore;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::auth;
use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};

static NUMBERS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Upper bounds that times in ms are counted under, from a write to a fast disk up to the longest timeout.
const BOUNDS_MS: &[f64] = &[
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 30_000.0,
];

/// How often what was measured is put into its buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects what the process counts from now on. Once per process; a second call is the first one's.
///
/// The future never completes: it puts what was measured into its buckets. Without it each measurement would be kept until
/// somebody reads the numbers, which nobody may ever do.
pub fn collect(clock: SharedClock) -> impl Future<Output = ()> {
    let numbers = NUMBERS.get_or_init(|| {
        let recorder = recorder();
        let handle = recorder.handle();
        // Whoever runs this in a process with a collector of its own keeps that one; the numbers are in it then.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    });
    async move {
        loop {
            clock.sleep(UPKEEP).await;
            numbers.run_upkeep();
        }
    }
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_ms".to_owned()), BOUNDS_MS)
        .expect("the list of bounds is not empty")
        .build_recorder()
}

/// What the numbers of this page mean.
fn describe() {
    metrics::describe_gauge!("firstlight_events_unsettled", "Events that wait to be routed.");
    metrics::describe_gauge!("firstlight_runs_live", "Runs that are queued or running.");
    metrics::describe_gauge!("firstlight_outbox_open", "Replies and deliveries that are not done.");
    metrics::describe_counter!("firstlight_store_written_total", "Orders that the store wrote.");
    metrics::describe_counter!("firstlight_store_commits_total", "Commits that they took.");
}

/// Everything that is counted. Needs a token, unless `metrics.public` says otherwise.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "house",
    responses((status = 200, description = "done", body = String, content_type = "text/plain")),
)]
pub(crate) async fn show(
    request: actix_web::HttpRequest,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    if !shared.metrics_public && auth::session_of(&request).is_none() {
        return Ok(Problem::unauthorized().error_response());
    }
    let counts = doors.count.send(CountStore).await??;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count beyond 2^52 would not be told apart anyway"
    )]
    for (name, value) in [
        ("firstlight_events_unsettled", counts.unsettled_events as f64),
        ("firstlight_runs_live", counts.live_runs as f64),
        ("firstlight_outbox_open", counts.open_effects as f64),
    ] {
        metrics::gauge!(name).set(value);
    }
    metrics::counter!("firstlight_store_written_total").absolute(counts.written);
    metrics::counter!("firstlight_store_commits_total").absolute(counts.commits);
    let numbers = NUMBERS.get().map(PrometheusHandle::render).unwrap_or_default();
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_buckets_and_counts_are_counters() {
        let recorder = recorder();
        let numbers = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            for ms in [0.3, 3.0, 60_000.0] {
                metrics::histogram!("integrations_state_write_ms").record(ms);
            }
            metrics::counter!("firstlight_store_commits_total").absolute(7);
        });
        let text = numbers.render();
        for line in [
            "# TYPE integrations_state_write_ms histogram",
            "integrations_state_write_ms_bucket{le=\"0.5\"} 1",
            "integrations_state_write_ms_bucket{le=\"30000\"} 2",
            "integrations_state_write_ms_bucket{le=\"+Inf\"} 3",
            "# HELP firstlight_store_commits_total Commits that they took.",
            "# TYPE firstlight_store_commits_total counter",
            "firstlight_store_commits_total 7",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
