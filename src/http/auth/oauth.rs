//! Signing in with GitHub or Slack: the way there, the way back, and who may come in. Keeps nothing of theirs.

use actix_web::cookie::Cookie;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use actors::domain::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use constant_time_eq::constant_time_eq;
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::abroad::Abroad;
use super::cookies::{Home, SESSION};
use super::{Signing, witness};
use crate::http::problem::Problem;
use crate::http::proxies::client_address;
use crate::http::server::{HttpDoors, HttpShared};
use crate::tools::Scope;

/// How long somebody may take to say yes on the other side.
const WAY_MINUTES: i64 = 10;

/// Bytes of an address to go on to.
const NEXT_LIMIT: usize = 1_000;

/// Whoever may sign in with GitHub.
const EVERYBODY: &str = "*";

/// An application that is registered with a provider, and who is let in by it.
pub struct OAuthApp {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// Where the provider sends people back to.
    pub redirect_uri: Url,
    /// Where people are sent; without a final slash in its path.
    pub web_url: Url,
    /// Where is asked who they are; without a final slash in its path.
    pub api_url: Url,
    /// GitHub's organisation, or `*` for everybody; Slack's workspace, by id or domain.
    pub allowed: String,
}

/// How one may sign in besides the password.
pub struct SignIn {
    /// With GitHub.
    pub github: Option<OAuthApp>,
    /// With Slack.
    pub slack: Option<OAuthApp>,
    /// What a session may do that began like this.
    pub scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    Github,
    Slack,
}

impl Provider {
    fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Slack => "slack",
        }
    }

    /// Of its own, so that two windows do not get into each other's way.
    fn cookie(self) -> String {
        format!("firstlight_oauth_{}", self.as_str())
    }
}

/// Why somebody did not come in. The sign-in page shows it in words; the log says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Nobody was sent there from here, or too long ago, or it was used already.
    State,
    /// The other side sent no code: they said no there.
    Code,
    /// The code was not taken.
    Exchange,
    /// It cannot be said who they are.
    Userinfo(Provider),
    /// GitHub does not confirm that they are a member.
    Org,
    /// They are from another workspace.
    Workspace,
}

impl Refused {
    fn code(self) -> &'static str {
        match self {
            Self::State => "oauth_state",
            Self::Code => "oauth_code",
            Self::Exchange => "oauth_exchange",
            Self::Userinfo(Provider::Github) => "github_userinfo",
            Self::Userinfo(Provider::Slack) => "slack_userinfo",
            Self::Org => "github_org",
            Self::Workspace => "slack_workspace",
        }
    }
}

/// What a browser carries along on its way there and back. Signed, so that nobody else begins a way, and worth nothing
/// without the code, which the other side gives once.
#[derive(Debug, Serialize, Deserialize)]
struct Way {
    provider: Provider,
    state: String,
    verifier: String,
    /// Where to go on afterwards, below `/admin/`.
    next: Option<String>,
    until: DateTime<Utc>,
}

/// Says what a sealed way is, to whoever signs it.
const WAY: &str = "oauth";

/// What stands in the query of somebody who sets off.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wish {
    next: Option<String>,
}

/// `GET …/oauth/github/authorize?next`: to GitHub, and afterwards to a page below `/admin/`. 404 where it is not configured.
#[utoipa::path(
    get,
    path = "/admin/api/oauth/github/authorize",
    tag = "sign-in",
    params(("next" = Option<String>, Query)),
    responses((status = 302, description = "to the provider, or back to the dashboard"), (status = 404, description = "not configured")),
)]
pub(crate) async fn to_github(
    request: HttpRequest,
    wish: Result<Query<Wish>, actix_web::Error>,
    shared: Data<HttpShared>,
) -> Result<HttpResponse, Problem> {
    let app = shared.sign_in.github.as_ref().ok_or_else(unconfigured)?;
    let scopes: &[&str] = if app.allowed == EVERYBODY { &[] } else { &["read:org"] };
    set_off(Provider::Github, app, scopes, &request, wish, &shared)
}

/// `GET …/oauth/slack/authorize?next`: to Slack, and afterwards to a page below `/admin/`. 404 where it is not configured.
#[utoipa::path(
    get,
    path = "/admin/api/oauth/slack/authorize",
    tag = "sign-in",
    params(("next" = Option<String>, Query)),
    responses((status = 302, description = "to the provider, or back to the dashboard"), (status = 404, description = "not configured")),
)]
pub(crate) async fn to_slack(
    request: HttpRequest,
    wish: Result<Query<Wish>, actix_web::Error>,
    shared: Data<HttpShared>,
) -> Result<HttpResponse, Problem> {
    let app = shared.sign_in.slack.as_ref().ok_or_else(unconfigured)?;
    set_off(Provider::Slack, app, &["openid", "profile"], &request, wish, &shared)
}

/// What comes back in the query.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Back {
    state: Option<String>,
    code: Option<String>,
}

/// `GET …/oauth/github/callback`: signed in, or back to the sign-in page with a reason.
#[utoipa::path(
    get,
    path = "/admin/api/oauth/github/callback",
    tag = "sign-in",
    params(("code" = Option<String>, Query), ("state" = Option<String>, Query), ("error" = Option<String>, Query)),
    responses((status = 302, description = "to the provider, or back to the dashboard")),
)]
pub(crate) async fn from_github(
    request: HttpRequest,
    back: Result<Query<Back>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let app = shared.sign_in.github.as_ref().ok_or_else(unconfigured)?;
    let who = async |token: String| github_member(app, &doors.abroad, &token).await;
    arrive(Provider::Github, app, &request, back, &shared, &doors, who).await
}

/// `GET …/oauth/slack/callback`: signed in, or back to the sign-in page with a reason.
#[utoipa::path(
    get,
    path = "/admin/api/oauth/slack/callback",
    tag = "sign-in",
    params(("code" = Option<String>, Query), ("state" = Option<String>, Query), ("error" = Option<String>, Query)),
    responses((status = 302, description = "to the provider, or back to the dashboard")),
)]
pub(crate) async fn from_slack(
    request: HttpRequest,
    back: Result<Query<Back>, actix_web::Error>,
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
) -> Result<HttpResponse, Problem> {
    let app = shared.sign_in.slack.as_ref().ok_or_else(unconfigured)?;
    let who = async |token: String| slack_member(app, &doors.abroad, &token).await;
    arrive(Provider::Slack, app, &request, back, &shared, &doors, who).await
}

fn unconfigured() -> Problem {
    Problem::not_found("this way to sign in is not configured")
}

fn set_off(
    provider: Provider,
    app: &OAuthApp,
    scopes: &[&str],
    request: &HttpRequest,
    wish: Result<Query<Wish>, actix_web::Error>,
    shared: &HttpShared,
) -> Result<HttpResponse, Problem> {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let client = client(provider, app)?;
    let mut ask = client
        .authorize_url(CsrfToken::new_random)
        .set_pkce_challenge(challenge)
        .add_scopes(scopes.iter().map(|scope| oauth2::Scope::new((*scope).to_owned())));
    if provider == Provider::Slack && is_team_id(&app.allowed) {
        ask = ask.add_extra_param("team", app.allowed.clone());
    }
    let (url, state) = ask.url();
    let way = Way {
        provider,
        state: state.into_secret(),
        verifier: verifier.into_secret(),
        next: wish.ok().and_then(|wish| local(wish.into_inner().next)),
        until: shared.clock.now() + TimeDelta::minutes(WAY_MINUTES),
    };
    let sealed = shared.admin.tokens.seal(WAY, &way);
    let cookie = shared
        .home(request)
        .cookie(&provider.cookie(), sealed, WAY_MINUTES * 60);
    Ok(leave_for(url.as_str(), [cookie]))
}

async fn arrive(
    provider: Provider,
    app: &OAuthApp,
    request: &HttpRequest,
    back: Result<Query<Back>, actix_web::Error>,
    shared: &HttpShared,
    doors: &HttpDoors,
    who: impl AsyncFnOnce(String) -> Result<String, Refused>,
) -> Result<HttpResponse, Problem> {
    let from = client_address(request, &shared.trusted);
    // A query that is no query has no state.
    let back = back.map(Query::into_inner).unwrap_or_default();
    let home = shared.home(request);
    let forget = home.forget(&provider.cookie());
    let came = async {
        let way = way_of(provider, request, &back, shared)?;
        let code = back.code.filter(|code| !code.is_empty()).ok_or(Refused::Code)?;
        let client = client(provider, app).map_err(|_| Refused::Exchange)?;
        let abroad = |request| doors.abroad.pass(request);
        let token = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(way.verifier))
            .request_async(&abroad)
            .await
            .map_err(|error| {
                // Its text names what went wrong and shows nothing of what was sent or came.
                tracing::warn!(provider = provider.as_str(), %error, "sign-in: the code was not taken");
                Refused::Exchange
            })?;
        Ok::<_, Refused>((who(token.access_token().secret().clone()).await?, way.next))
    };
    match came.await {
        Ok((who, next)) => {
            witness::sign_in(doors, shared, from, &who, provider.as_str(), "ok").await;
            let signing = Signing::of(who, provider.as_str(), shared.sign_in.scope);
            let token = signing.issue(shared, doors).await;
            let session = home.cookie(SESSION, token, super::SESSION_SECONDS);
            let next = next.as_deref().unwrap_or("/admin/");
            Ok(leave_for(&format!("{}{next}", home.base()), [forget, session]))
        }
        Err(refused) => {
            let code = refused.code();
            tracing::warn!(
                provider = provider.as_str(),
                from = from.map(|ip| ip.to_string()),
                reason = code,
                "sign-in refused"
            );
            witness::sign_in(doors, shared, from, "-", provider.as_str(), code).await;
            Ok(leave_for(&sign_in_page(home, Some(code)), [forget]))
        }
    }
}

/// Where one signs in; with a reason, why one has to again.
pub(crate) fn sign_in_page(home: Home<'_>, reason: Option<&str>) -> String {
    let query = reason.map(|reason| format!("?error={reason}")).unwrap_or_default();
    format!("{}/admin/login{query}", home.base())
}

/// A page of the dashboard; anything else could be somebody else's.
fn local(next: Option<String>) -> Option<String> {
    let ours = |next: &String| {
        let plain = |c: char| c.is_ascii_graphic() && c != '\\';
        next.len() <= NEXT_LIMIT && next.starts_with("/admin/") && next.chars().all(plain)
    };
    next.filter(ours)
}

/// The way that this browser set off on, if it comes back for the first time, in time, and with the state it was given.
fn way_of(provider: Provider, request: &HttpRequest, back: &Back, shared: &HttpShared) -> Result<Way, Refused> {
    let now = shared.clock.now();
    let offered = back.state.as_deref().unwrap_or_default();
    let ours = |sealed: &String| {
        let way: Way = shared.admin.tokens.unseal(WAY, sealed)?;
        let same = constant_time_eq(way.state.as_bytes(), offered.as_bytes());
        (same && way.provider == provider && way.until > now).then_some(way)
    };
    let way = shared
        .home(request)
        .offered(request, &provider.cookie())
        .iter()
        .find_map(ours)
        .ok_or(Refused::State)?;
    if !shared.admin.spend(&way.state, way.until, now) {
        return Err(Refused::State);
    }
    Ok(way)
}

/// Elsewhere, with cookies; kept by nobody on the way.
fn leave_for<const N: usize>(url: &str, cookies: [Cookie<'static>; N]) -> HttpResponse {
    let mut response = HttpResponse::Found();
    response.insert_header((LOCATION, url));
    response.insert_header((CACHE_CONTROL, "no-store"));
    for cookie in cookies {
        response.cookie(cookie);
    }
    response.finish()
}

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

fn client(provider: Provider, app: &OAuthApp) -> Result<Client, Problem> {
    let (ask, exchange) = match provider {
        Provider::Github => (
            below(&app.web_url, &["login", "oauth", "authorize"]),
            below(&app.web_url, &["login", "oauth", "access_token"]),
        ),
        Provider::Slack => (
            below(&app.web_url, &["openid", "connect", "authorize"]),
            below(&app.api_url, &["openid.connect.token"]),
        ),
    };
    Ok(BasicClient::new(ClientId::new(app.client_id.clone()))
        .set_client_secret(ClientSecret::new(app.client_secret.expose().to_owned()))
        .set_auth_uri(AuthUrl::from_url(ask))
        .set_token_uri(TokenUrl::from_url(exchange))
        .set_redirect_uri(RedirectUrl::from_url(app.redirect_uri.clone()))
        .set_auth_type(AuthType::RequestBody))
}

/// An address below another. Each part is one part, whatever is in it.
fn below(base: &Url, parts: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

/// The login of whoever has this token, if they may come in.
async fn github_member(app: &OAuthApp, abroad: &Abroad, token: &str) -> Result<String, Refused> {
    let nobody = Refused::Userinfo(Provider::Github);
    let (status, user) = abroad
        .read(&below(&app.api_url, &["user"]), token)
        .await
        .map_err(|error| said(nobody, &error))?;
    let login = user["login"].as_str().filter(|login| status == 200 && is_login(login));
    let login = login.ok_or(nobody)?;
    if app.allowed != EVERYBODY {
        let members = below(&app.api_url, &["orgs", &app.allowed, "members", login]);
        let (status, _) = abroad
            .read(&members, token)
            .await
            .map_err(|error| said(Refused::Org, &error))?;
        // 302 is told to who is no member themselves, 404 of who is none; neither is a yes, nor is anything else.
        if status != 204 {
            return Err(Refused::Org);
        }
    }
    Ok(github_name(login))
}

/// What a login is called here. The operator's password is `admin`, and somebody on GitHub is as well.
fn github_name(login: &str) -> String {
    if login.eq_ignore_ascii_case("admin") {
        format!("github:{login}")
    } else {
        login.to_owned()
    }
}

fn is_login(login: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=100).contains(&login.len()) && login.chars().all(known)
}

/// Who has this token, by Slack's id: names there are freely chosen.
async fn slack_member(app: &OAuthApp, abroad: &Abroad, token: &str) -> Result<String, Refused> {
    let nobody = Refused::Userinfo(Provider::Slack);
    let (status, user) = abroad
        .read(&below(&app.api_url, &["openid.connect.userInfo"]), token)
        .await
        .map_err(|error| said(nobody, &error))?;
    let claim = |name: &str| user[format!("https://slack.com/{name}")].as_str();
    let id = claim("user_id").or(user["sub"].as_str());
    let id = id.filter(|id| status == 200 && user["ok"] == true && is_slack_id(id));
    let id = id.ok_or(nobody)?;
    let by_id = claim("team_id").is_some_and(|team| team == app.allowed);
    let by_domain = claim("team_domain").is_some_and(|domain| domain.eq_ignore_ascii_case(&app.allowed));
    if !by_id && !by_domain {
        return Err(Refused::Workspace);
    }
    Ok(format!("{}{id}", super::OF_SLACK))
}

fn is_slack_id(id: &str) -> bool {
    (1..=100).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `T…` or `E…`, as opposed to a domain.
fn is_team_id(workspace: &str) -> bool {
    workspace.starts_with(['T', 'E']) && workspace.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

fn said(refused: Refused, error: &super::abroad::Silence) -> Refused {
    tracing::warn!(reason = refused.code(), %error, "sign-in: the provider was asked who this is");
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_an_address_stays_one_part_of_it() {
        let base: Url = "https://github.example.com/api/v3".parse().expect("a URL");
        let table = [
            ("acme", "https://github.example.com/api/v3/orgs/acme/members/ann"),
            (
                "../user",
                "https://github.example.com/api/v3/orgs/..%2Fuser/members/ann",
            ),
            ("a?b#c", "https://github.example.com/api/v3/orgs/a%3Fb%23c/members/ann"),
        ];
        for (org, expected) in table {
            assert_eq!(below(&base, &["orgs", org, "members", "ann"]).as_str(), expected);
        }
        let slash: Url = "http://127.0.0.1:9/".parse().expect("a URL");
        assert_eq!(below(&slash, &["user"]).as_str(), "http://127.0.0.1:9/user");
    }

    #[test]
    fn one_goes_on_to_our_own_pages_only() {
        for (next, goes) in [
            ("/admin/runs?status=failed#top", true),
            ("/admin/", true),
            ("/admin", false),
            ("//evil.test/admin/", false),
            ("https://evil.test/admin/", false),
            ("/admin/\\evil.test", false),
            ("/admin/\r\nset-cookie: x", false),
            ("/webhooks/github", false),
        ] {
            assert_eq!(local(Some(next.to_owned())).is_some(), goes, "{next:?}");
        }
    }

    #[test]
    fn nobody_becomes_the_operator_by_their_name() {
        for (login, name) in [("ann", "ann"), ("admin", "github:admin"), ("Admin", "github:Admin")] {
            assert_eq!(github_name(login), name);
        }
        for (login, fits) in [
            ("ann", true),
            ("a-b_c", true),
            ("", false),
            ("slack:U1", false),
            ("a/b", false),
        ] {
            assert_eq!(is_login(login), fits, "{login}");
        }
        for (id, team) in [("T012AB3CD", true), ("E012", true), ("Team", false), ("acme", false)] {
            assert_eq!(is_team_id(id), team, "{id}");
        }
    }
}
