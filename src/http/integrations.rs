//! `/api/integrations`, and `/admin/api/deliveries`: the tools over HTTP. Turns requests into tool calls; holds no rule.

use std::net::IpAddr;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::Redelivered;
use actors::messages::outbound::EffectsQueued;
use actors::messages::store::{Redeliver, WebhookStats};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::admin::{PAGE_LIMIT, cursor, whole};
use super::auth::{self, Caller};
use super::idempotency;
use super::problem::Problem;
use super::proxies::client_address;
use super::server::{HttpDoors, HttpShared};
use super::wish;
use crate::tools::{CATALOGUE, ToolCaller, ToolFault, ToolResult, parsed};

/// Largest body of these routes, in bytes: a payload of the largest size, with room for its envelope.
pub(super) const BODY_CAP: usize = 2 * 1024 * 1024;

impl From<ToolFault> for Problem {
    fn from(fault: ToolFault) -> Self {
        let status = match &fault {
            ToolFault::Invalid(_) => StatusCode::BAD_REQUEST,
            ToolFault::NotFound(_) => StatusCode::NOT_FOUND,
            ToolFault::Refused(_) => StatusCode::FORBIDDEN,
            ToolFault::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
            ToolFault::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, fault.to_string())
    }
}

/// Everything that a handler needs of its request.
pub(super) struct Ask {
    request: HttpRequest,
    body: Bytes,
    caller: Caller,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
}

impl Ask {
    fn input<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let input = match self.body.trim_ascii() {
            [] => Map::new(),
            body => wish::object(body)?,
        };
        Ok(parsed(Value::Object(input))?)
    }

    /// For what takes no input.
    fn nothing(&self) -> Result<(), Problem> {
        wish::nothing(&self.body)
    }

    fn by(&self) -> ToolCaller {
        let from = client_address(&self.request, &self.shared.trusted);
        caller_of(&self.caller, from)
    }

    /// Acts once per idempotency key, and writes it into the audit log.
    async fn once(
        &self,
        action: &'static str,
        target: &str,
        act: impl AsyncFnOnce() -> ToolResult,
    ) -> Result<HttpResponse, Problem> {
        idempotency::once(
            &self.request,
            &self.body,
            &self.caller,
            &self.shared,
            &self.doors,
            async |_| Ok((StatusCode::OK, self.audited(action, target, act().await).await?)),
        )
        .await
    }

    async fn audited(&self, action: &'static str, target: &str, result: ToolResult) -> ToolResult {
        auth::told(&self.request);
        self.doors
            .tools
            .audit(action, target.to_owned(), &self.by(), &result)
            .await;
        result
    }
}

pub(super) fn caller_of(caller: &Caller, from: Option<IpAddr>) -> ToolCaller {
    ToolCaller {
        who: caller.who.clone(),
        signs: caller.signs(),
        from: from.map(|ip| ip.to_string()).unwrap_or_default(),
        scope: caller.scope,
    }
}

impl actix_web::FromRequest for Ask {
    type Error = actix_web::Error;
    type Future = futures_util::future::LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let body = Bytes::from_request(request, payload);
        let caller = ReqData::<Caller>::extract(request);
        let shared = Data::<HttpShared>::extract(request);
        let doors = Data::<HttpDoors>::extract(request);
        let request = request.clone();
        Box::pin(async move {
            Ok(Self {
                body: body.await?,
                caller: caller.await?.into_inner(),
                shared: shared.await?,
                doors: doors.await?,
                request,
            })
        })
    }
}

fn shown(result: ToolResult) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(result?))
}

/// `integrations_state`.
#[utoipa::path(
    get,
    path = "/api/integrations",
    tag = "integrations",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn state(ask: Ask) -> Result<HttpResponse, Problem> {
    shown(ask.doors.tools.state().await)
}

/// The history of notifications, newest last.
#[utoipa::path(
    get,
    path = "/api/integrations/notifications",
    tag = "integrations",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn notifications(ask: Ask) -> Result<HttpResponse, Problem> {
    let state = ask.doors.tools.state().await?;
    Ok(HttpResponse::Ok().json(json!({ "notifications": state["notifications"] })))
}

/// `integration_webhook_list`.
#[utoipa::path(
    get,
    path = "/api/integrations/webhooks",
    tag = "integrations",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn webhooks(ask: Ask) -> Result<HttpResponse, Problem> {
    shown(ask.doors.tools.webhooks().await)
}

/// How each webhook does: switched on or off, counts, since when it fails.
#[utoipa::path(
    get,
    path = "/api/integrations/webhooks/health",
    tag = "integrations",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn health(ask: Ask) -> Result<HttpResponse, Problem> {
    let health = ask.doors.webhook_stats.send(WebhookStats).await??;
    Ok(HttpResponse::Ok().json(json!({ "webhooks": health })))
}

/// `integration_webhook_register`.
#[utoipa::path(
    post,
    path = "/api/integrations/webhooks",
    tag = "integrations",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn register(ask: Ask) -> Result<HttpResponse, Problem> {
    let input = ask.input()?;
    ask.once("integration_webhook_register", "", async || {
        ask.doors.tools.register(input).await
    })
    .await
}

/// `integration_webhook_delete`.
#[utoipa::path(
    delete,
    path = "/api/integrations/webhooks/{id}",
    tag = "integrations",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn delete(id: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    ask.nothing()?;
    let result = ask.doors.tools.delete(id.clone()).await;
    shown(ask.audited("integration_webhook_delete", &id, result).await)
}

/// A new secret, in the answer this once: a repetition under the same idempotency key rotates nothing and shows `null`.
#[utoipa::path(
    post,
    path = "/api/integrations/webhooks/{id}/rotate",
    tag = "integrations",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn rotate(id: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    let input = ask.input()?;
    idempotency::once_without(
        &["secret"],
        &ask.request,
        &ask.body,
        &ask.caller,
        &ask.shared,
        &ask.doors,
        async |_| {
            let result = ask.doors.tools.rotate(id.clone(), input).await;
            Ok((
                StatusCode::OK,
                ask.audited("integration_webhook_rotate", &id, result).await?,
            ))
        },
    )
    .await
}

#[utoipa::path(
    post,
    path = "/api/integrations/webhooks/{id}/ping",
    tag = "integrations",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn ping(id: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    ask.nothing()?;
    ask.once("integration_webhook_ping", &id, async || {
        ask.doors.tools.ping(id.clone()).await
    })
    .await
}

#[utoipa::path(
    post,
    path = "/api/integrations/webhooks/{id}/enable",
    tag = "integrations",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn enable(id: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    ask.nothing()?;
    ask.once("integration_webhook_enable", &id, async || {
        ask.doors.tools.switch(id.clone(), true).await
    })
    .await
}

#[utoipa::path(
    post,
    path = "/api/integrations/webhooks/{id}/disable",
    tag = "integrations",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn disable(id: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    ask.nothing()?;
    ask.once("integration_webhook_disable", &id, async || {
        ask.doors.tools.switch(id.clone(), false).await
    })
    .await
}

/// `integration_git_auto_commit_get`.
#[utoipa::path(
    get,
    path = "/api/integrations/git-auto-commit",
    tag = "integrations",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn git(ask: Ask) -> Result<HttpResponse, Problem> {
    shown(ask.doors.tools.git_auto_commit().await)
}

/// `integration_git_auto_commit_set`.
#[utoipa::path(
    put,
    path = "/api/integrations/git-auto-commit",
    tag = "integrations",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn set_git(ask: Ask) -> Result<HttpResponse, Problem> {
    let input = ask.input()?;
    let result = ask.doors.tools.set_git_auto_commit(input).await;
    shown(ask.audited("integration_git_auto_commit_set", "", result).await)
}

#[utoipa::path(
    post,
    path = "/api/integrations/git-auto-commit/dry-run",
    tag = "integrations",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn git_dry_run(ask: Ask) -> Result<HttpResponse, Problem> {
    ask.nothing()?;
    idempotency::once(
        &ask.request,
        &ask.body,
        &ask.caller,
        &ask.shared,
        &ask.doors,
        async |_| Ok((StatusCode::OK, ask.doors.tools.git_dry_run().await?)),
    )
    .await
}

/// `integration_notify`.
#[utoipa::path(
    post,
    path = "/api/integrations/notify",
    tag = "integrations",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn notify(ask: Ask) -> Result<HttpResponse, Problem> {
    let input = ask.input()?;
    ask.once("integration_notify", "", async || ask.doors.tools.notify(input).await)
        .await
}

/// `integration_emit_event`.
#[utoipa::path(
    post,
    path = "/api/integrations/emit",
    tag = "integrations",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn emit(ask: Ask) -> Result<HttpResponse, Problem> {
    let input = ask.input()?;
    ask.once("integration_emit_event", "", async || ask.doors.tools.emit(input).await)
        .await
}

/// A call of another tool becomes an event, where the seed's table says so.
#[utoipa::path(
    post,
    path = "/api/integrations/tool-calls",
    tag = "integrations",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn tool_calls(ask: Ask) -> Result<HttpResponse, Problem> {
    let input = ask.input()?;
    ask.once("integration_tool_call", "", async || {
        ask.doors.tools.tool_call(input).await
    })
    .await
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    state: Option<String>,
    #[serde(alias = "webhookId")]
    webhook: Option<String>,
    event: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

/// `?state&webhook&event&before&limit` → `{deliveries, next}`, newest first.
#[utoipa::path(
    get,
    path = "/api/integrations/deliveries",
    tag = "integrations",
    params(("state" = Option<String>, Query), ("webhook" = Option<String>, Query), ("event" = Option<String>, Query), ("before" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn deliveries(
    query: Result<Query<ListQuery>, actix_web::Error>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let before = cursor(query.before.as_ref())?;
    let limit = whole("limit", query.limit.as_ref(), 1..=PAGE_LIMIT)?;
    let input = json!({ "state": query.state, "webhookId": query.webhook, "event": query.event, "before": before,
        "limit": limit });
    shown(doors.tools.deliveries(parsed(input)?).await)
}

/// `{delivery}` with every attempt.
#[utoipa::path(
    get,
    path = "/api/integrations/deliveries/{id}",
    tag = "integrations",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn delivery(id: Path<String>, doors: Data<HttpDoors>) -> Result<HttpResponse, Problem> {
    shown(doors.tools.delivery(id.into_inner()).await)
}

/// `{id, state}`: it is tried again, under the same id.
#[utoipa::path(
    post,
    path = "/api/integrations/deliveries/{id}/redeliver",
    tag = "integrations",
    params(("id" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn redeliver(id: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    ask.nothing()?;
    ask.once("redeliver", &id, async || {
        let order = Redeliver {
            id: id.clone(),
            at: ask.shared.clock.now(),
        };
        match ask.doors.redeliver.send(order).await?? {
            Redelivered::Queued => {
                // A full mailbox holds a nudge already.
                let _ = ask.doors.queued.try_send(EffectsQueued);
                Ok(json!({ "id": id.as_str(), "state": "pending" }))
            }
            Redelivered::UnderWay => Ok(json!({ "id": id.as_str(), "state": "in_flight" })),
            Redelivered::NotFound => Err(ToolFault::NotFound("delivery not found".to_owned())),
        }
    })
    .await
}

/// Any tool of the catalogue by its name, its input as the body.
#[utoipa::path(
    post,
    path = "/api/integrations/tools/{name}",
    tag = "integrations",
    params(("name" = String, Path)),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(super) async fn by_name(name: Path<String>, ask: Ask) -> Result<HttpResponse, Problem> {
    let unknown = || {
        let known: Vec<_> = CATALOGUE.iter().map(|tool| tool.name).collect();
        Problem::not_found(format!("there is no such tool; known are {}", known.join(", ")))
    };
    if CATALOGUE.iter().all(|tool| tool.name != name.as_str()) {
        return Err(unknown());
    }
    let input: Map<String, Value> = ask.input()?;
    idempotency::once(
        &ask.request,
        &ask.body,
        &ask.caller,
        &ask.shared,
        &ask.doors,
        async |_| {
            // It writes its own line, where it is no look.
            auth::told(&ask.request);
            let result = ask.doors.tools.call(&name, input, &ask.by()).await;
            Ok((StatusCode::OK, result.ok_or_else(unknown)??))
        },
    )
    .await
}
