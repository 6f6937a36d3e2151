//! Who may use the API: tokens, sessions of browsers, and the guard that asks for them. Knows no workflow and no event.

mod abroad;
mod cookies;
mod csrf;
mod issued;
mod oauth;
mod sampler;
mod sessions;
mod throttle;
mod tokens;
mod witness;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, ResponseError};
use actors::domain::{NewToken, Responder, Secret, Via};
use actors::messages::store::{KeepToken, NoteTokenUse};
use chrono::{DateTime, TimeDelta, Utc};
use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};
use tracing_actix_web::RequestId;

pub(crate) use self::abroad::Abroad;
pub(crate) use self::cookies::Home;
use self::csrf::Sent;
pub(crate) use self::issued::{create as create_token, list as list_tokens, revoke as revoke_token};
pub use self::oauth::{OAuthApp, SignIn};
pub(crate) use self::oauth::{from_github, from_slack, to_github, to_slack};
pub(crate) use self::sessions::{auth_required, login, logout, session};
use self::throttle::Throttle;
pub use self::tokens::{Claims, Tokens};
use self::witness::Floods;
pub(crate) use self::witness::{about, plain, told, witness};
use super::problem::Problem;
use super::proxies::asked_host;
use super::server::{HttpDoors, HttpShared};
use crate::tools::Scope;

/// What the API's document says of signing in.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    sessions::login,
    sessions::auth_required,
    oauth::to_github,
    oauth::from_github,
    oauth::to_slack,
    oauth::from_slack,
    sessions::session,
    sessions::logout,
    issued::list,
    issued::create,
    issued::revoke,
))]
pub(super) struct Handlers;

/// Where tools are called over HTTP.
pub(crate) const MCP: &str = "/mcp";

/// Where tools are called by their names.
const BY_NAME: &str = "/api/integrations/tools/";

/// Where one signs out, which whoever is signed in may.
const LOGOUT: &str = "/admin/api/logout";

/// How long a token is valid, and a session.
const TOKEN_DAYS: i64 = 7;
const SESSION_SECONDS: i64 = TOKEN_DAYS * 24 * 60 * 60;

/// How exactly the last use of a token is known.
const COARSE_MINUTES: i64 = 10;

/// Tokens whose last use is kept in mind.
const MOST_SEEN: usize = 10_000;

/// Ways that are remembered as used.
const MOST_SPENT: usize = 10_000;

/// How somebody is called who signed in with Slack, in front of their id there. No login and no label looks like it.
const OF_SLACK: &str = "slack:";

/// What sign-in goes by.
pub struct Admin {
    password: Secret,
    tokens: Tokens,
    throttle: Mutex<Throttle>,
    floods: Floods,
    /// Ids of tokens that are worth nothing any more, and when they would have run out.
    revoked: RwLock<HashMap<String, DateTime<Utc>>>,
    /// States of ways to a provider that somebody has come back from, until they run out.
    spent: Mutex<HashMap<String, DateTime<Utc>>>,
    /// When each token was last noted to be in use.
    seen: Mutex<HashMap<String, DateTime<Utc>>>,
}

impl Admin {
    /// `password` opens the house; `tokens` signs what is handed out for it.
    #[must_use]
    pub fn new(password: Secret, tokens: Tokens) -> Self {
        Self {
            password,
            tokens,
            throttle: Mutex::default(),
            floods: Floods::default(),
            revoked: RwLock::default(),
            spent: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// The same, when these tokens were taken back before; each with the instant when it would have run out.
    #[must_use]
    pub fn without(mut self, revoked: Vec<(String, DateTime<Utc>)>) -> Self {
        self.revoked = RwLock::new(revoked.into_iter().collect());
        self
    }

    /// Compares digests, so that neither content nor length shows in the time it takes.
    fn opens(&self, offered: &str) -> bool {
        let digest = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
        !self.password.is_empty() && constant_time_eq_32(&digest(offered), &digest(self.password.expose()))
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a token of this id is refused. One without an id cannot be told from others of its kind.
    fn revoke(&self, id: &str, expires: DateTime<Utc>, now: DateTime<Utc>) {
        if id.is_empty() {
            return;
        }
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        // What has run out is refused anyway.
        revoked.retain(|_, until| *until > now);
        revoked.insert(id.to_owned(), expires);
    }

    /// Uses a state up; whether it was not used before.
    fn spend(&self, state: &str, until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= MOST_SPENT {
            spent.retain(|_, until| *until > now);
        }
        if spent.len() >= MOST_SPENT {
            // The code that belongs to a state is good for one time on the other side as well.
            spent.clear();
        }
        spent.insert(state.to_owned(), until).is_none()
    }

    /// Whether it is time to write down that this token is in use.
    fn is_news(&self, id: &str, now: DateTime<Utc>) -> bool {
        let recent = |at: &DateTime<Utc>| now - *at < TimeDelta::minutes(COARSE_MINUTES);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if id.is_empty() || seen.get(id).is_some_and(recent) {
            return false;
        }
        if seen.len() >= MOST_SEEN {
            seen.retain(|_, at| recent(at));
        }
        if seen.len() >= MOST_SEEN {
            // Forgetting costs a line of the database, nothing else.
            seen.clear();
        }
        seen.insert(id.to_owned(), now);
        true
    }

    /// What a token says, if it is ours, has not run out and was not revoked.
    fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let revoked = |id: &str| {
            let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
            revoked.contains_key(id)
        };
        self.tokens.verify(token, now).filter(|claims| !revoked(&claims.id))
    }
}

/// Whom a token is made for.
struct Signing {
    who: String,
    method: &'static str,
    label: Option<String>,
    scope: Scope,
    days: i64,
}

impl Signing {
    /// For somebody who has just signed in.
    fn of(who: impl Into<String>, method: &'static str, scope: Scope) -> Self {
        Self {
            who: who.into(),
            method,
            label: None,
            scope,
            days: TOKEN_DAYS,
        }
    }

    /// The token, and what is to be remembered of it.
    fn token(self, shared: &HttpShared) -> (String, NewToken) {
        let now = shared.clock.now();
        let expires_at = now + TimeDelta::days(self.days);
        let claims = Claims {
            exp: expires_at.timestamp(),
            id: shared.clock.fresh_id().to_string(),
            who: self.who,
            method: self.method.to_owned(),
            label: self.label,
            scope: self.scope,
        };
        let token = shared.admin.tokens.sign(&claims);
        let kept = NewToken {
            id: claims.id,
            who: claims.who,
            method: claims.method,
            label: claims.label,
            scope: claims.scope.as_str().to_owned(),
            created_at: now,
            expires_at,
        };
        (token, kept)
    }

    /// The token for somebody who has just signed in.
    async fn issue(self, shared: &HttpShared, doors: &HttpDoors) -> String {
        let (token, kept) = self.token(shared);
        // An operator who comes because the disk is full must get in; a token without a row ends by signing out, or by time.
        match doors.keep_token.send(KeepToken(kept)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a token was handed out and could not be written down"),
            Err(error) => tracing::warn!(%error, "a token was handed out and could not be written down"),
        }
        token
    }
}

/// Who is asking; put into the request by the guard.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// For audit and runs.
    pub(crate) who: String,
    /// What their token allows.
    pub(crate) scope: Scope,
    /// How they signed in: `password`, `session`, `github`, `slack`, `token`; empty in a token that does not say.
    pub(crate) method: String,
    /// What the token is for, where it was made by hand.
    pub(crate) label: Option<String>,
    /// When they have to sign in again.
    pub(crate) expires: DateTime<Utc>,
    /// Of their token; empty in one that names none.
    pub(crate) id: String,
    /// Whether a browser sent it by itself.
    by_cookie: bool,
}

impl Caller {
    /// As the audit log names them: who, with the label of the token that they made by hand.
    pub(crate) fn signs(&self) -> String {
        match &self.label {
            Some(label) => format!("{} ({label})", self.who),
            None => self.who.clone(),
        }
    }

    /// As somebody who answers a question through this door.
    pub(crate) fn responder(&self, via: Via) -> Responder {
        Responder {
            slack_id: self.who.strip_prefix(OF_SLACK).map(str::to_owned),
            ..Responder::named(self.who.clone(), via)
        }
    }
}

/// Lets a request pass that carries a token of ours, or a cookie that holds one, and may do what it asks for.
pub(crate) async fn guard(
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Some(caller) = session_of(request.request()) else {
        witness::refused(request.request(), "unauthorized");
        let mut response = Problem::unauthorized().error_response();
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Ok(request.into_response(response).map_into_right_body());
    };
    let may = may(&caller, request.request(), &shared);
    let (id, now) = (caller.id.clone(), shared.clock.now());
    request.extensions_mut().insert(caller);
    if let Err(problem) = may {
        witness::refused(request.request(), &problem.to_string());
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    if shared.admin.is_news(&id, now) {
        // Nobody is kept out because it could not be noted.
        let _ = doors.token_used.send(NoteTokenUse { id, at: now }).await;
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

/// Whether a caller may ask this.
fn may(caller: &Caller, request: &HttpRequest, shared: &HttpShared) -> Result<(), Problem> {
    if request.method().is_safe() {
        return Ok(());
    }
    if caller.by_cookie {
        csrf::judge(
            sent(request, shared),
            shared.public_url.as_ref(),
            &csrf_token(shared, caller),
        )
        .map_err(|foreign| Problem::new(StatusCode::FORBIDDEN, foreign.to_string()))?;
    }
    // What a tool may do is decided tool by tool; everywhere else a request that is no look changes something.
    let path = request.path();
    let looks = path.trim_end_matches('/') == MCP || path.starts_with(BY_NAME) || path == LOGOUT;
    if caller.scope == Scope::Read && !looks {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this token may only look; sign in for one of scope operate",
        ));
    }
    Ok(())
}

/// Who is asking, by the token that the request shows, else by the cookie of a session. Nothing: nobody whom we know.
pub(crate) fn session_of(request: &HttpRequest) -> Option<Caller> {
    if let Some(caller) = request.extensions().get::<Caller>() {
        return Some(caller.clone());
    }
    let shared = request.app_data::<Data<HttpShared>>()?;
    let now = shared.clock.now();
    // Whoever shows a token means that one; a cookie does not help out.
    let (claims, by_cookie) = match bearer(request) {
        Some(token) => (shared.admin.verify(token, now)?, false),
        None => {
            let offered = shared.home(request).offered(request, cookies::SESSION);
            // One that cannot be revoked is no session.
            let session = |token: &String| shared.admin.verify(token, now).filter(|claims| !claims.id.is_empty());
            (offered.iter().find_map(session)?, true)
        }
    };
    Some(Caller {
        who: claims.who,
        scope: claims.scope,
        method: claims.method,
        label: claims.label,
        expires: DateTime::from_timestamp(claims.exp, 0).unwrap_or(DateTime::<Utc>::MAX_UTC),
        id: claims.id,
        by_cookie,
    })
}

/// What a page of ours sends as `X-CSRF-Token` where the browser does not say where a request comes from.
pub(crate) fn csrf_token(shared: &HttpShared, caller: &Caller) -> String {
    shared.admin.tokens.csrf(&caller.id)
}

fn sent<'a>(request: &'a HttpRequest, shared: &HttpShared) -> Sent<'a> {
    let header = |name: HeaderName| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    Sent {
        site: header(HeaderName::from_static("sec-fetch-site")),
        origin: header(ORIGIN),
        host: asked_host(request, &shared.trusted),
        token: header(HeaderName::from_static("x-csrf-token")),
    }
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
