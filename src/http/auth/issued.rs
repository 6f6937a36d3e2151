//! `/admin/api/tokens`: tokens that are made by hand, and every one that was handed out. Shows no token but once.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Query, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::TokenFilter;
use actors::messages::store::{KeepToken, ListTokens, RevokeToken};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Signing, about};
use crate::http::admin::{PAGE_LIMIT, cursor, page_size};
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;
use crate::tools::Scope;

/// How many days a token is good for, unless its maker says otherwise.
const DAYS: i64 = 90;
const MOST_DAYS: i64 = 366;

/// Characters of a label.
const LABEL_LIMIT: usize = 64;

/// The method of tokens that were made by hand.
const MADE: &str = "token";

/// `{label, scope, days?}` → 201 `{id, token, label, scope, expires}`; the token is shown this once. It speaks for its maker.
#[utoipa::path(
    post,
    path = "/admin/api/tokens",
    tag = "sign-in",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn create(
    request: HttpRequest,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    about(&request, "token", "");
    admins_alone(&caller)?;
    let wish = wish::of(&["label", "scope", "days"], &body)?;
    let given = |key: &str| wish.get(key).unwrap_or(&Value::Null);
    let label = given("label")
        .as_str()
        .map(str::trim)
        .filter(|label| (1..=LABEL_LIMIT).contains(&label.chars().count()) && !label.contains(char::is_control))
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "label must say what the token is for, in 1 to {LABEL_LIMIT} characters"
            ))
        })?;
    let scope = given("scope")
        .as_str()
        .and_then(Scope::from_text)
        .ok_or_else(|| Problem::bad_request("scope must be read, operate or admin"))?;
    let days = match given("days") {
        Value::Null => DAYS,
        days => days
            .as_i64()
            .filter(|days| (1..=MOST_DAYS).contains(days))
            .ok_or_else(|| Problem::bad_request(format!("days must be a whole number from 1 to {MOST_DAYS}")))?,
    };
    if scope > caller.scope {
        let words = format!(
            "a token of scope {} makes none of scope {}",
            caller.scope.as_str(),
            scope.as_str()
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, words));
    }
    idempotency::once_without(&["token"], &request, &body, &caller, &shared, &doors, async |_| {
        let signing = Signing {
            who: caller.who.clone(),
            method: MADE,
            label: Some(label.to_owned()),
            scope,
            days,
        };
        let (token, kept) = signing.token(&shared);
        about(&request, "token", kept.id.clone());
        let answer = json!({
            "id": kept.id,
            "token": token,
            "label": kept.label,
            "scope": kept.scope,
            "expires": kept.expires_at,
        });
        // One that nobody could name would be one that nobody could take back.
        doors.keep_token.send(KeepToken(kept)).await??;
        Ok((StatusCode::CREATED, answer))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    state: Option<String>,
    method: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

/// `?state&method&before&limit` → `{tokens, next}`, the latest first: those that are worth something, or with `state=all` every
/// one that is remembered.
#[utoipa::path(
    get,
    path = "/admin/api/tokens",
    tag = "sign-in",
    params(("before" = Option<String>, Query), ("limit" = Option<String>, Query)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn list(
    query: Result<Query<ListQuery>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let query = query
        .map_err(|error| Problem::bad_request(error.to_string()))?
        .into_inner();
    let live_at = match query.state.as_deref() {
        None | Some("" | "live") => Some(shared.clock.now()),
        Some("all") => None,
        Some(_) => return Err(Problem::bad_request("state must be one of: live, all")),
    };
    let filter = TokenFilter {
        live_at,
        method: query.method.filter(|method| !method.is_empty()),
        before: cursor(query.before.as_ref())?,
        limit: page_size(query.limit.as_ref(), PAGE_LIMIT)?,
    };
    let page = doors.list_tokens.send(ListTokens(filter)).await??;
    Ok(HttpResponse::Ok().json(json!({ "tokens": page.items, "next": page.next })))
}

/// `DELETE …/{id}` → `{revoked: true, id}`: whoever shows it from now on is refused.
#[utoipa::path(
    delete,
    path = "/admin/api/tokens/{id}",
    tag = "sign-in",
    params(("id" = String, Path)),
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn revoke(
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    about(&request, "token revoke", id.as_str());
    admins_alone(&caller)?;
    wish::nothing(&body)?;
    let now = shared.clock.now();
    let order = RevokeToken {
        id: id.into_inner(),
        by: caller.who.clone(),
        at: now,
    };
    let token = doors.revoke_token.send(order).await??;
    let token = token.ok_or_else(|| Problem::not_found("token not found"))?;
    shared.admin.revoke(&token.id, token.expires_at, now);
    tracing::info!(token.id, token.who, token.label, by = caller.who, "a token was revoked");
    Ok(HttpResponse::Ok().json(json!({ "revoked": true, "id": token.id })))
}

fn admins_alone(caller: &Caller) -> Result<(), Problem> {
    if caller.scope == Scope::Admin {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "tokens are made and revoked with scope admin; sign in with the password",
    ))
}
