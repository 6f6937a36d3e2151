//! Every URL on one page. Knows which door needs a token; decides nothing else.

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, ResponseError};
use tracing_actix_web::TracingLogger;

use super::problem::Problem;
use super::{admin, api, auth, github, health};

/// Largest body of an API request, in bytes.
const API_BODY_CAP: usize = 1024 * 1024;

pub(crate) fn all(config: &mut ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(API_BODY_CAP))
        // Open to everybody: exact paths, never a prefix or a suffix.
        .route("/health", web::get().to(health::health))
        .route("/ready", web::get().to(health::ready))
        .route("/webhooks/github", web::post().to(github::receive))
        .route("/admin/api/login", web::post().to(auth::login))
        .route("/admin/api/auth-required", web::get().to(auth::auth_required))
        // Everything else needs a token.
        .service(
            web::scope("/api")
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::default())
                .route("/run", web::post().to(api::run))
                .route("/build", web::post().to(api::build))
                .default_service(web::to(nothing_here)),
        )
        .service(
            web::scope("/admin/api")
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::default())
                .route("/stats", web::get().to(admin::stats::show))
                .route("/events", web::get().to(admin::events::list))
                .route("/events/{id}", web::get().to(admin::events::one))
                .route("/workflow-runs", web::get().to(admin::runs::list))
                .route("/workflow-runs/{id}", web::get().to(admin::runs::one))
                .route("/workflow-runs/{id}/executions", web::get().to(admin::runs::executions))
                .route("/workflow-runs/{id}/cancel", web::post().to(admin::runs::cancel))
                .route("/workflow-runs/{id}/retry", web::post().to(admin::runs::retry))
                .route(
                    "/workflow-runs/{id}/phases/{phase}/log",
                    web::get().to(admin::logs::read),
                )
                .route(
                    "/workflow-runs/{id}/phases/{phase}/log/stream",
                    web::get().to(admin::logs::follow),
                )
                .route("/approvals", web::get().to(admin::approvals::list))
                .route("/approvals/{id}", web::get().to(admin::approvals::one))
                .route("/approvals/{id}/respond", web::post().to(admin::approvals::respond))
                .default_service(web::to(nothing_here)),
        )
        .default_service(web::to(nothing_here));
}

async fn nothing_here() -> HttpResponse {
    Problem::not_found("not found").error_response()
}
