//! Who may use the API: password, tokens, and the throttle of logins. Knows no workflow and no event.

mod throttle;
mod tokens;

use std::net::IpAddr;
use std::sync::Mutex;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError};
use actors::clock::SharedClock;
use actors::domain::Secret;
use actors::messages::store::RecordAudit;
use chrono::TimeDelta;
use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};
use tracing_actix_web::RequestId;

use self::throttle::Throttle;
pub use self::tokens::{Claims, Tokens};
use super::problem::Problem;
use super::proxies::client_address;
use super::server::{HttpDoors, HttpShared};
use crate::tools::Scope;

/// Where tools are called over HTTP.
pub(crate) const MCP: &str = "/mcp";

/// Where tools are called by their names.
const BY_NAME: &str = "/api/integrations/tools/";

/// How long a token is valid.
const TOKEN_DAYS: i64 = 7;

/// What sign-in goes by.
pub struct Admin {
    password: Secret,
    tokens: Tokens,
    throttle: Mutex<Throttle>,
}

impl Admin {
    /// `password` opens the house; `tokens` signs what is handed out for it.
    #[must_use]
    pub fn new(password: Secret, tokens: Tokens) -> Self {
        Self {
            password,
            tokens,
            throttle: Mutex::new(Throttle::default()),
        }
    }

    /// Compares digests, so that neither content nor length shows in the time it takes.
    fn opens(&self, offered: &str) -> bool {
        let digest = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
        !self.password.is_empty() && constant_time_eq_32(&digest(offered), &digest(self.password.expose()))
    }

    /// A token for whoever knew the password.
    fn issue(&self, clock: &SharedClock, scope: Scope) -> String {
        let claims = Claims {
            exp: (clock.now() + TimeDelta::days(TOKEN_DAYS)).timestamp(),
            id: clock.fresh_id().to_string(),
            who: "admin".into(),
            method: "password".into(),
            scope,
        };
        self.tokens.sign(&claims)
    }
}

/// Who is asking; put into the request by the guard.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// For audit and runs.
    pub(crate) who: String,
    /// What their token allows.
    pub(crate) scope: Scope,
}

/// Lets a request pass whose bearer token is ours and has not run out.
pub(crate) async fn guard(
    shared: Data<HttpShared>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Some(claims) = claims(request.request(), &shared) else {
        let mut response = Problem::unauthorized().error_response();
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Ok(request.into_response(response).map_into_right_body());
    };
    let caller = Caller {
        who: claims.who,
        scope: claims.scope,
    };
    // What a tool may do is decided tool by tool; everywhere else a request that is no look changes something.
    let path = request.path();
    let looks = request.method().is_safe() || path.trim_end_matches('/') == MCP || path.starts_with(BY_NAME);
    if caller.scope == Scope::Read && !looks {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "this token may only look; sign in for one of scope operate",
        );
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    request.extensions_mut().insert(caller);
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

/// What the bearer token of a request says, if it has a valid one.
pub(crate) fn claims(request: &HttpRequest, shared: &HttpShared) -> Option<Claims> {
    bearer(request).and_then(|token| shared.admin.tokens.verify(token, shared.clock.now()))
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Shows the id that the log lines of this request carry.
pub(crate) async fn request_id(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let mut response = next.call(request).await?;
    if let Some(value) = id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-request-id"), value);
    }
    Ok(response)
}

/// `POST /admin/api/login {password, scope?}` → `{token}`. `scope` is `read`, `operate` or `admin` (the default).
pub(crate) async fn login(
    request: HttpRequest,
    body: Bytes,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let now = shared.clock.now();
    let from = client_address(&request, &shared.trusted);
    let throttle = || {
        shared
            .admin
            .throttle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    if from.is_some_and(|from| throttle().is_tired_of(from, now)) {
        audit(&doors, &shared.clock, from, "too many wrong passwords").await;
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many wrong passwords; wait five minutes",
        ));
    }
    let wish = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
    let offered = wish["password"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Problem::bad_request("password required"))?;
    let scope = match &wish["scope"] {
        serde_json::Value::Null => Scope::Admin,
        scope => scope
            .as_str()
            .and_then(Scope::from_text)
            .ok_or_else(|| Problem::bad_request("scope must be read, operate or admin"))?,
    };
    if !shared.admin.opens(&offered) {
        if let Some(from) = from {
            throttle().note_wrong(from, now);
        }
        tracing::warn!(from = from.map(|ip| ip.to_string()), "login refused: wrong password");
        audit(&doors, &shared.clock, from, "invalid password").await;
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid password"));
    }
    audit(&doors, &shared.clock, from, "ok").await;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "token": shared.admin.issue(&shared.clock, scope) })))
}

async fn audit(doors: &HttpDoors, clock: &SharedClock, from: Option<IpAddr>, result: &str) {
    let line = RecordAudit {
        who: "-".into(),
        from: from.map(|ip| ip.to_string()).unwrap_or_default(),
        action: "login".into(),
        target: String::new(),
        result: result.into(),
        at: clock.now(),
    };
    // A login is not refused because its line could not be written; the store's own trouble is told elsewhere.
    let _ = doors.audit.send(line).await;
}

/// `GET /admin/api/auth-required`: how one signs in here.
pub(crate) async fn auth_required() -> HttpResponse {
    HttpResponse::Ok()
        .json(serde_json::json!({ "required": true, "password": true, "slackOAuth": false, "githubOAuth": false }))
}
