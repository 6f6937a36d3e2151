//! `GET /metrics`: numbers for a monitoring system, in Prometheus text. Names and counts only.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpResponse, ResponseError, http::header::CONTENT_TYPE};
use actors::clock::SharedClock;
use actors::domain::{ChatSession, RunStatus};
use actors::messages::store::{CountStore, ReadLoad, ReadTotals};
use actors::numbers::{NUMBERS, NumberKind, describe};
use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};
use super::{admin, auth};

static COLLECTED: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often what was measured is put into its buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects what the process counts from now on. Once per process; a second call is the first one's.
///
/// The future never completes: it puts what was measured into its buckets. Without it each measurement would be kept until
/// somebody reads the numbers, which nobody may ever do.
pub fn collect(clock: SharedClock) -> impl Future<Output = ()> {
    let numbers = COLLECTED.get_or_init(|| {
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
    let mut builder = PrometheusBuilder::new();
    for number in NUMBERS {
        if let NumberKind::Histogram(bounds) = number.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(number.name.to_owned()), bounds)
                .expect("the list of bounds is not empty");
        }
    }
    builder.build_recorder()
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
    // A store that does not answer is a reason to look at the numbers, not one to have none.
    let up = of_the_store(&shared, &doors).await;
    if let Err(problem) = &up {
        tracing::warn!(%problem, "the store does not say its numbers");
    }
    metrics::gauge!("firstlight_store_up").set(f64::from(u8::from(up.is_ok())));
    metrics::gauge!("firstlight_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::gauge!("firstlight_started_seconds").set(seconds(shared.looks.since - DateTime::UNIX_EPOCH));
    for actor in admin::config::look(&shared, &doors).await {
        let wait = actor
            .wait_ms
            .map_or(admin::config::PATIENCE.as_secs_f64(), |ms| ms / 1_000.0);
        metrics::gauge!("firstlight_actor_wait_seconds", "actor" => actor.name).set(wait);
        let busy = f64::from(u8::from(actor.state != admin::config::Doing::Nothing));
        metrics::gauge!("firstlight_actor_busy", "actor" => actor.name).set(busy);
    }
    let numbers = COLLECTED.get().map(PrometheusHandle::render).unwrap_or_default();
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(numbers))
}

/// What the store knows is asked of it when somebody looks, so that it costs nothing while nobody does.
async fn of_the_store(shared: &HttpShared, doors: &HttpDoors) -> Result<(), Problem> {
    let now = shared.clock.now();
    let order = ReadTotals {
        live_since: now - ChatSession::IDLE,
    };
    let load = doors.desk.load.send(ReadLoad).await??;
    let totals = doors.desk.totals.send(order).await??;
    let counts = doors.count.send(CountStore).await??;

    let late = |since: Option<DateTime<Utc>>| since.map_or(0.0, |since| seconds(now - since).max(0.0));
    metrics::gauge!("firstlight_events_unsettled").set(float(counts.unsettled_events));
    metrics::gauge!("firstlight_events_oldest_seconds").set(late(load.oldest_event_at));
    metrics::gauge!("firstlight_events_quarantined").set(float(totals.quarantined_events));
    metrics::gauge!("firstlight_runs_live").set(float(counts.live_runs));
    for status in RunStatus::ALL {
        let ever = load.ever.get(status.as_str()).copied().unwrap_or_default();
        if status.is_final() {
            metrics::counter!("firstlight_runs_ended_total", "status" => status.as_str()).absolute(ever);
        } else {
            let open = totals.runs.get(status.as_str()).copied().unwrap_or_default();
            metrics::gauge!("firstlight_runs", "status" => status.as_str()).set(float(open));
        }
    }
    let ever = |what: &str| load.ever.get(what).copied().unwrap_or_default();
    metrics::counter!("firstlight_runs_opened_total").absolute(ever("runs"));
    for outcome in ["delivered", "dead"] {
        metrics::counter!("firstlight_deliveries_ended_total", "outcome" => outcome).absolute(ever(outcome));
    }
    metrics::gauge!("firstlight_approvals_pending").set(float(totals.pending_approvals));
    metrics::gauge!("firstlight_outbox_open").set(float(counts.open_effects));
    metrics::gauge!("firstlight_outbox_late_seconds").set(late(load.first_due_at));
    metrics::gauge!("firstlight_database_bytes", "part" => "used").set(float(load.space.used));
    metrics::gauge!("firstlight_database_bytes", "part" => "free").set(float(load.space.free));
    if let Some(free) = load.disk_free {
        metrics::gauge!("firstlight_disk_free_bytes").set(float(free));
    }
    metrics::counter!("firstlight_store_written_total").absolute(counts.written);
    metrics::counter!("firstlight_store_commits_total").absolute(counts.commits);
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count beyond 2^52 would not be told apart anyway"
)]
fn float(count: u64) -> f64 {
    count as f64
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
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
            "# HELP integrations_state_write_ms How long a write of integrations.json took.",
            // There before anything happened, so that a rate over it sees the first step.
            "firstlight_webhooks_refused_total{why=\"signature\"} 0",
            "firstlight_replies_total{platform=\"slack\",outcome=\"dead\"} 0",
            "# TYPE firstlight_store_commits_total counter",
            "firstlight_store_commits_total 7",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
