//! Every URL on one page. Knows which door needs a token; decides nothing else.

use actix_web::guard::fn_guard;
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, ResponseError};
use tracing_actix_web::TracingLogger;

use super::problem::{BodyCap, Problem};
use super::span::RequestSpan;
use super::{admin, api, auth, dashboard, github, health, integrations, mcp, metrics, openapi};

/// Largest body of an API request, in bytes.
const API_BODY_CAP: usize = 1024 * 1024;

pub(crate) fn all(config: &mut ServiceConfig, agents: mcp::Service) {
    config
        .app_data(web::Data::from(agents.sessions))
        .app_data(web::PayloadConfig::new(API_BODY_CAP))
        .app_data(BodyCap(API_BODY_CAP))
        // Open to everybody: exact paths, never a prefix or a suffix.
        .route("/health", web::get().to(health::health))
        .route("/ready", web::get().to(health::ready))
        .route("/metrics", web::get().to(metrics::show))
        .route("/webhooks/github", web::post().to(github::receive))
        .route("/admin/api/login", web::post().to(auth::login))
        .route("/admin/api/auth-required", web::get().to(auth::auth_required))
        .route("/admin/api/oauth/github/authorize", web::get().to(auth::to_github))
        .route("/admin/api/oauth/github/callback", web::get().to(auth::from_github))
        .route("/admin/api/oauth/slack/authorize", web::get().to(auth::to_slack))
        .route("/admin/api/oauth/slack/callback", web::get().to(auth::from_slack))
        .route("/admin", web::get().to(dashboard::home))
        .service(
            web::scope("/admin/login")
                .wrap(Compress::default())
                .route("", web::get().to(dashboard::sign_in::show)),
        )
        .service(
            web::scope("/admin/assets")
                .wrap(Compress::default())
                .route("/{name}", web::get().to(dashboard::asset)),
        )
        // Everything else needs a token. The longer prefix comes first.
        .service(
            web::scope("/api/integrations")
                .app_data(web::PayloadConfig::new(integrations::BODY_CAP))
                .app_data(BodyCap(integrations::BODY_CAP))
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::witness))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::<RequestSpan>::new())
                .route("", web::get().to(integrations::state))
                .route("/state", web::get().to(integrations::state))
                .route("/webhooks", web::get().to(integrations::webhooks))
                .route("/webhooks", web::post().to(integrations::register))
                .route("/webhooks/health", web::get().to(integrations::health))
                .route("/webhooks/{id}", web::delete().to(integrations::delete))
                .route("/webhooks/{id}/rotate", web::post().to(integrations::rotate))
                .route("/webhooks/{id}/ping", web::post().to(integrations::ping))
                .route("/webhooks/{id}/enable", web::post().to(integrations::enable))
                .route("/webhooks/{id}/disable", web::post().to(integrations::disable))
                .route("/git-auto-commit", web::get().to(integrations::git))
                .route("/git-auto-commit", web::put().to(integrations::set_git))
                .route("/git-auto-commit/dry-run", web::post().to(integrations::git_dry_run))
                .route("/notify", web::post().to(integrations::notify))
                .route("/notifications", web::get().to(integrations::notifications))
                .route("/emit", web::post().to(integrations::emit))
                .route("/tool-calls", web::post().to(integrations::tool_calls))
                .route("/deliveries", web::get().to(integrations::deliveries))
                .route("/deliveries/{id}", web::get().to(integrations::delivery))
                .route("/deliveries/{id}/redeliver", web::post().to(integrations::redeliver))
                .route("/tools/{name}", web::post().to(integrations::by_name))
                .default_service(web::to(nothing_here)),
        )
        .service(
            web::scope("/api")
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::witness))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::<RequestSpan>::new())
                .route("/run", web::post().to(api::run))
                .route("/build", web::post().to(api::build))
                .route("/openapi.json", web::get().to(openapi::show))
                .route("/docs", web::get().to(openapi::docs))
                .route("/docs/{file}", web::get().to(openapi::page))
                .default_service(web::to(nothing_here)),
        )
        .service(
            agents
                .tools
                .scope_with_path(auth::MCP)
                .wrap(from_fn(mcp::introduce))
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::witness))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::<RequestSpan>::new()),
        )
        // The seed's short form.
        .service(
            web::resource("/admin/crons/{name}/toggle")
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::witness))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::<RequestSpan>::new())
                .route(web::post().to(admin::crons::toggle)),
        )
        .service(
            web::scope("/admin/api")
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::witness))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::<RequestSpan>::new())
                .route("/session", web::get().to(auth::session))
                .route("/logout", web::post().to(auth::logout))
                .route("/stream", web::get().to(admin::stream::changes))
                .route("/audit", web::get().to(admin::audit::list))
                .route("/tokens", web::get().to(auth::list_tokens))
                .route("/tokens", web::post().to(auth::create_token))
                .route("/tokens/{id}", web::delete().to(auth::revoke_token))
                .route("/stats", web::get().to(admin::stats::show))
                .route("/stats/daily", web::get().to(admin::stats::daily))
                .route("/stats/hourly", web::get().to(admin::stats::hourly))
                .route("/config", web::get().to(admin::config::show))
                .route("/actors", web::get().to(admin::config::actors))
                .route("/knocks", web::get().to(admin::knocks::word))
                .route("/knocks/{word}", web::get().to(admin::knocks::heard))
                .route("/route-test", web::post().to(admin::rehearsal::rehearse))
                .route("/containers", web::get().to(admin::containers::list))
                .route("/containers/stats", web::get().to(admin::containers::stats))
                .route("/containers/{name}", web::delete().to(admin::containers::kill))
                .route("/sessions", web::get().to(admin::sessions::list))
                .route("/sessions/stream", web::get().to(admin::sessions::watch))
                .route("/sessions/{id}", web::get().to(admin::sessions::one))
                .route("/sessions/{id}/messages", web::get().to(admin::sessions::messages))
                .route("/sessions/{id}/stream", web::get().to(admin::sessions::follow))
                .route("/chat-sessions", web::get().to(admin::sessions::list))
                .route("/chat-sessions/stream", web::get().to(admin::sessions::watch))
                .route("/chat-sessions/{id}", web::get().to(admin::sessions::one))
                .route("/chat-sessions/{id}/messages", web::get().to(admin::sessions::messages))
                .route("/chat-sessions/{id}/stream", web::get().to(admin::sessions::follow))
                .route("/events", web::get().to(admin::events::list))
                .route("/events/{id}", web::get().to(admin::events::one))
                .route("/events/{id}/replay", web::post().to(admin::events::replay))
                .route("/executions", web::get().to(admin::runs::all_executions))
                .route("/workflow-names", web::get().to(admin::runs::workflow_names))
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
                .route("/deliveries", web::get().to(integrations::deliveries))
                .route("/deliveries/{id}", web::get().to(integrations::delivery))
                .route("/deliveries/{id}/redeliver", web::post().to(integrations::redeliver))
                .route("/notifications", web::get().to(integrations::notifications))
                .route("/webhooks", web::get().to(integrations::webhooks))
                .route("/webhooks", web::post().to(integrations::register))
                .route("/webhooks/health", web::get().to(integrations::health))
                .route("/webhooks/{id}", web::delete().to(integrations::delete))
                .route("/webhooks/{id}/rotate", web::post().to(integrations::rotate))
                .route("/webhooks/{id}/ping", web::post().to(integrations::ping))
                .route("/webhooks/{id}/enable", web::post().to(integrations::enable))
                .route("/webhooks/{id}/disable", web::post().to(integrations::disable))
                .route("/workflows", web::get().to(admin::workflows::list))
                .route("/workflows/{name}", web::get().to(admin::workflows::one))
                .route("/workflows/{name}/full", web::get().to(admin::workflows::full))
                .route("/workflows/{name}/prompt", web::get().to(admin::workflows::prompt))
                .route("/skills/{name}", web::get().to(admin::workflows::skill))
                .route("/workflows/{name}/yaml", web::get().to(admin::workflows::yaml))
                .route("/workflows/{name}/toggle", web::post().to(admin::workflows::toggle))
                .route("/crons", web::get().to(admin::crons::list))
                .route("/crons/preview", web::post().to(admin::crons::preview))
                .route("/crons/{name}", web::get().to(admin::crons::one))
                .route("/crons/{name}/history", web::get().to(admin::crons::history))
                .route("/crons/{name}/history/{firing}", web::get().to(admin::crons::firing))
                .route("/crons/{name}/toggle", web::post().to(admin::crons::toggle))
                .route("/crons/{name}/schedule", web::post().to(admin::crons::reschedule))
                .route("/crons/{name}/override", web::delete().to(admin::crons::reset))
                .route("/crons/{name}/run", web::post().to(admin::crons::run))
                .route("/approvals", web::get().to(admin::approvals::list))
                .route("/approvals/{id}", web::get().to(admin::approvals::one))
                .route("/approvals/{id}/respond", web::post().to(admin::approvals::respond))
                .default_service(web::to(nothing_here)),
        )
        // The seed's short form of its twin above.
        .service(
            web::scope("/admin/approvals/{id}/respond")
                .wrap(from_fn(auth::guard))
                .wrap(from_fn(auth::witness))
                .wrap(from_fn(auth::request_id))
                .wrap(TracingLogger::<RequestSpan>::new())
                .route("", web::post().to(admin::approvals::respond))
                .default_service(web::to(nothing_here)),
        )
        // A page that takes a payload.
        .service(
            web::scope("/admin/playground")
                .wrap(from_fn(dashboard::guard))
                .wrap(Compress::default())
                .app_data(web::PayloadConfig::new(dashboard::playground::BODY_CAP))
                .route("", web::get().to(dashboard::playground::show))
                .route("", web::post().to(dashboard::playground::look))
                .default_service(web::to(dashboard::lost)),
        )
        // Pages for people. Who is not signed in is sent to sign in.
        .service(
            web::scope("/admin")
                .wrap(from_fn(dashboard::guard))
                .wrap(Compress::default())
                .route(
                    "/",
                    web::get().guard(fn_guard(dashboard::is_linked)).to(dashboard::linked),
                )
                .route("/", web::get().to(dashboard::overview::show))
                .route("/approvals", web::get().to(dashboard::approvals::list))
                .route("/approvals/{id}", web::get().to(dashboard::approvals::one))
                .route("/runs", web::get().to(dashboard::runs::list))
                .route("/runs/{id}", web::get().to(dashboard::runs::one))
                .route("/events", web::get().to(dashboard::events::list))
                .route("/events/{id}", web::get().to(dashboard::events::one))
                .route("/workflows", web::get().to(dashboard::workflows::list))
                .route("/workflows/{name}", web::get().to(dashboard::workflows::one))
                .route("/deliveries", web::get().to(dashboard::deliveries::list))
                .route("/deliveries/{id}", web::get().to(dashboard::deliveries::one))
                .route("/webhooks", web::get().to(dashboard::webhooks::list))
                .route("/notifications", web::get().to(dashboard::notifications::list))
                .route("/crons", web::get().to(dashboard::crons::list))
                .route("/crons/{name}", web::get().to(dashboard::crons::one))
                .route("/chats", web::get().to(dashboard::chats::list))
                .route("/chats/{id}", web::get().to(dashboard::chats::one))
                .route("/actors", web::get().to(dashboard::actors::show))
                .route("/settings", web::get().to(dashboard::settings::show))
                .route("/settings/tokens", web::get().to(dashboard::settings::tokens))
                .route("/audit", web::get().to(dashboard::audit::list))
                .default_service(web::to(dashboard::lost)),
        )
        .default_service(web::to(nothing_here));
}

async fn nothing_here() -> HttpResponse {
    Problem::not_found("not found").error_response()
}
