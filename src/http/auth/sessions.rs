//! Signing in and out by password, and who one is. Hands out tokens, or cookies that hold one.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::web::{Bytes, Data, ReqData};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use actors::domain::{NewToken, Secret};
use actors::messages::store::{KeepToken, RevokeToken};
use serde_json::{Value, json};

use super::cookies::SESSION;
use super::{Caller, Signing, csrf, sent, witness};
use crate::http::problem::Problem;
use crate::http::proxies::client_address;
use crate::http::server::{HttpDoors, HttpShared};
use crate::http::wish;
use crate::tools::Scope;

/// `POST /admin/api/login {password, scope?, session?}` → `{token}`, or with `session: true` the cookie and `{session: true}`.
/// `scope` is `read`, `operate` or `admin` (the default).
#[utoipa::path(
    post,
    path = "/admin/api/login",
    tag = "sign-in",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value), (status = 429, description = "too many wrong passwords")),
)]
pub(crate) async fn login(
    request: HttpRequest,
    body: Bytes,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let now = shared.clock.now();
    let from = client_address(&request, &shared.trusted);
    let admin = &shared.admin;
    let wait = admin.throttle().wait(from, now);
    if let Some(wait) = wait {
        witness::sign_in(&doors, &shared, from, "-", "password", "too many wrong passwords").await;
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many wrong passwords; wait five minutes",
        );
        let mut response = problem.error_response();
        response
            .headers_mut()
            .insert(RETRY_AFTER, wait.num_seconds().max(1).into());
        return Ok(response);
    }
    let wish = match wish::of(&["password", "scope", "session"], &body) {
        // Who sends something else altogether hears what is wanted.
        Err(_) if !body.trim_ascii().starts_with(b"{") => return Err(Problem::bad_request("password required")),
        wish => wish?,
    };
    let given = |key: &str| wish.get(key).unwrap_or(&Value::Null);
    let offered = given("password")
        .as_str()
        .map(Secret::new)
        .ok_or_else(|| Problem::bad_request("password required"))?;
    let scope = match given("scope") {
        Value::Null => Scope::Admin,
        scope => scope
            .as_str()
            .and_then(Scope::from_text)
            .ok_or_else(|| Problem::bad_request("scope must be read, operate or admin"))?,
    };
    let session = match given("session") {
        Value::Null => false,
        wish => wish
            .as_bool()
            .ok_or_else(|| Problem::bad_request("session must be true or false"))?,
    };
    if session {
        csrf::may_sign_in(sent(&request, &shared), shared.public_url.as_ref())
            .map_err(|foreign| Problem::new(StatusCode::FORBIDDEN, foreign.to_string()))?;
    }
    if !admin.opens(offered.expose()) {
        admin.throttle().note_wrong(from, now);
        tracing::warn!(from = from.map(|ip| ip.to_string()), "login refused: wrong password");
        witness::sign_in(&doors, &shared, from, "-", "password", "invalid password").await;
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid password"));
    }
    admin.throttle().note_right(from, now);
    let method = if session { "session" } else { "password" };
    let token = Signing::of("admin", method, scope).issue(&shared, &doors).await;
    witness::sign_in(&doors, &shared, from, "admin", "password", "ok").await;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    Ok(if session {
        answer
            .cookie(shared.home(&request).cookie(SESSION, token, super::SESSION_SECONDS))
            .json(json!({ "session": true }))
    } else {
        answer.json(json!({ "token": token }))
    })
}

/// `POST /admin/api/logout` → `{session: false}`: what was shown, cookie or token, is worth nothing from now on.
#[utoipa::path(
    post,
    path = "/admin/api/logout",
    tag = "sign-in",
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn logout(
    request: HttpRequest,
    body: Bytes,
    caller: ReqData<Caller>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    witness::about(&request, "logout", "");
    wish::nothing(&body)?;
    let now = shared.clock.now();
    // In mind first: whatever the disk says, it is worth nothing any more.
    shared.admin.revoke(&caller.id, caller.expires, now);
    if !caller.id.is_empty() {
        let kept = NewToken {
            id: caller.id.clone(),
            who: caller.who.clone(),
            method: caller.method.clone(),
            label: caller.label.clone(),
            scope: caller.scope.as_str().to_owned(),
            created_at: now,
            expires_at: caller.expires,
        };
        let order = RevokeToken {
            id: caller.id.clone(),
            by: caller.who.clone(),
            at: now,
        };
        // There is no row where it could not be written at the time.
        doors.keep_token.send(KeepToken(kept)).await??;
        doors.revoke_token.send(order).await??;
    }
    Ok(HttpResponse::Ok()
        .cookie(shared.home(&request).forget(SESSION))
        .json(json!({ "session": false })))
}

/// `GET /admin/api/session` → `{who, method, scope, expires, csrf}`.
#[utoipa::path(
    get,
    path = "/admin/api/session",
    tag = "sign-in",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn session(caller: ReqData<Caller>, shared: Data<HttpShared>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "who": caller.who,
        "method": caller.method,
        "scope": caller.scope,
        "expires": caller.expires,
        "csrf": super::csrf_token(&shared, &caller),
    }))
}

/// `GET /admin/api/auth-required`: how one signs in here.
#[utoipa::path(
    get,
    path = "/admin/api/auth-required",
    tag = "sign-in",
    responses((status = 200, description = "done", body = serde_json::Value)),
)]
pub(crate) async fn auth_required(shared: Data<HttpShared>) -> HttpResponse {
    // There always is a password: where none is set, one was made.
    HttpResponse::Ok().json(json!({
        "required": true,
        "password": true,
        "slackOAuth": shared.sign_in.slack.is_some(),
        "githubOAuth": shared.sign_in.github.is_some(),
    }))
}
