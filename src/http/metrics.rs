//! `GET /metrics`: numbers for a monitoring system, in Prometheus text. Names and counts only.

use std::sync::OnceLock;

use actix_web::web::Data;
use actix_web::{HttpResponse, ResponseError, http::header::CONTENT_TYPE};
use actors::messages::store::CountStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::auth;
use super::problem::Problem;
use super::server::{HttpDoors, HttpShared};

static NUMBERS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Collects what the process counts from now on. Once per process; a second call is the first one's.
pub fn install() {
    NUMBERS.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Whoever runs this in a process with a collector of its own keeps that one; the numbers are in it then.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
}

/// Everything that is counted. Needs a token, unless `metrics.public` says otherwise.
pub(crate) async fn show(
    request: actix_web::HttpRequest,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    if !shared.metrics_public && auth::claims(&request, &shared).is_none() {
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
        ("firstlight_store_written_total", counts.written as f64),
        ("firstlight_store_commits_total", counts.commits as f64),
    ] {
        metrics::gauge!(name).set(value);
    }
    let numbers = NUMBERS.get().map(PrometheusHandle::render).unwrap_or_default();
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(numbers))
}
