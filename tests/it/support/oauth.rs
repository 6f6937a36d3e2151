//! Stand-ins of GitHub's and Slack's sign-in, on one address. They check what they are told as the real ones do, and remember it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Data, Form, Path};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

/// What every application is called that is registered here, and its secret.
pub(crate) const CLIENT: (&str, &str) = ("client-of-the-tests", "secret-of-the-client");

/// Somebody who has an account at the provider.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// What `GET /user` or `openid.connect.userInfo` says of them.
    pub(crate) profile: Value,
    /// What is answered to whether they are a member.
    pub(crate) membership: u16,
}

/// The running stand-in. Stops when it is dropped.
pub(crate) struct FakeSignIn {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
    server: ServerHandle,
}

#[derive(Default)]
struct Shared {
    codes: BTreeMap<String, Code>,
    tokens: BTreeMap<String, Person>,
    /// Every request that came in, in order: method, path, form fields.
    asked: Vec<(String, BTreeMap<String, String>)>,
    made: u32,
}

struct Code {
    challenge: String,
    redirect: String,
    person: Person,
}

type State = Data<Mutex<Shared>>;

impl FakeSignIn {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let state = Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .route("/login/oauth/access_token", web::post().to(exchange))
                .route("/user", web::get().to(profile))
                .route("/orgs/{org}/members/{login}", web::get().to(membership))
                .route("/api/openid.connect.token", web::post().to(exchange))
                .route("/api/openid.connect.userInfo", web::get().to(profile))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .expect("a port is free");
        let url = format!("http://{}", server.addrs()[0]);
        let running = server.run();
        let server = running.handle();
        actix_rt::spawn(running);
        Self { url, shared, server }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no test panics while it holds this")
    }

    /// The person says yes on the page that they were sent to. Where they are sent back to.
    pub(crate) fn consents(&self, asked: &str, scopes: &str, person: Person) -> Url {
        assert!(asked.starts_with(&self.url), "they were sent elsewhere: {asked}");
        let asked: Url = asked.parse().expect("a URL");
        let query: BTreeMap<String, String> = asked.query_pairs().into_owned().collect();
        let says = |name: &str| query.get(name).cloned().unwrap_or_default();
        assert_eq!(
            (says("client_id").as_str(), says("response_type").as_str()),
            (CLIENT.0, "code")
        );
        assert_eq!(
            (says("code_challenge_method").as_str(), says("scope").as_str()),
            ("S256", scopes)
        );
        assert!(
            says("state").len() >= 20 && says("code_challenge").len() == 43,
            "{query:?}"
        );
        let mut shared = self.shared();
        shared.made += 1;
        let code = format!("code-{}", shared.made);
        shared.codes.insert(
            code.clone(),
            Code {
                challenge: says("code_challenge"),
                redirect: says("redirect_uri"),
                person,
            },
        );
        let mut back: Url = says("redirect_uri").parse().expect("a URL");
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &says("state"));
        back
    }

    /// Everything that was asked so far, by path.
    pub(crate) fn asked(&self) -> Vec<(String, BTreeMap<String, String>)> {
        self.shared().asked.clone()
    }

    /// Forgets the codes that were given out, as if it had taken too long.
    pub(crate) fn forgets(&self) {
        self.shared().codes.clear();
    }
}

impl Drop for FakeSignIn {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

/// A code becomes a token once, for whoever shows the secret, the same address and the verifier of the challenge. Both
/// providers say no with 200.
async fn exchange(request: HttpRequest, form: Form<BTreeMap<String, String>>, state: State) -> HttpResponse {
    let form = form.into_inner();
    let mut shared = state.lock().expect("no test panics while it holds this");
    shared.asked.push((request.path().to_owned(), form.clone()));
    let says = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let refused = |why: &str| HttpResponse::Ok().json(json!({ "ok": false, "error": why }));
    if (says("client_id"), says("client_secret"), says("grant_type")) != (CLIENT.0, CLIENT.1, "authorization_code") {
        return refused("incorrect_client_credentials");
    }
    let Some(code) = shared.codes.remove(says("code")) else {
        return refused("bad_verification_code");
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(says("code_verifier")));
    if challenge != code.challenge || says("redirect_uri") != code.redirect {
        return refused("bad_verifier");
    }
    shared.made += 1;
    let token = format!("token-{}", shared.made);
    shared.tokens.insert(token.clone(), code.person);
    HttpResponse::Ok().json(json!({ "ok": true, "access_token": token, "token_type": "bearer", "scope": "" }))
}

fn bearer(request: &HttpRequest, state: &State) -> Option<Person> {
    let mut shared = state.lock().expect("no test panics while it holds this");
    shared.asked.push((request.path().to_owned(), BTreeMap::new()));
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    // GitHub answers nobody without one.
    assert!(header("user-agent").is_some_and(|agent| agent.starts_with("firstlight")));
    shared
        .tokens
        .get(header("authorization")?.strip_prefix("Bearer ")?)
        .cloned()
}

async fn profile(request: HttpRequest, state: State) -> HttpResponse {
    match bearer(&request, &state) {
        Some(person) if person.profile.is_null() => HttpResponse::BadGateway().body("<html>"),
        Some(person) => HttpResponse::Ok().json(person.profile),
        None => HttpResponse::Unauthorized().json(json!({ "message": "Bad credentials" })),
    }
}

async fn membership(request: HttpRequest, _: Path<(String, String)>, state: State) -> HttpResponse {
    let Some(person) = bearer(&request, &state) else {
        return HttpResponse::Unauthorized().finish();
    };
    let status = person.membership.try_into().expect("a status");
    HttpResponse::build(status)
        .insert_header(("location", "/user"))
        .finish()
}

/// What a browser sees of an answer.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) cookies: Vec<String>,
    pub(crate) text: String,
}

impl Visit {
    /// The cookie of this name as it is sent back; nothing, if it was not set or was taken away.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let set = self
            .cookies
            .iter()
            .find(|cookie| cookie.starts_with(&format!("{name}=")))?;
        let pair = set.split(';').next().expect("a pair");
        (!pair.ends_with('=')).then(|| pair.to_owned())
    }
}

/// Visits a page as a browser does, without following where it is sent.
pub(crate) async fn visit(url: &str, cookie: &str) -> Visit {
    let client = awc::Client::builder().disable_redirects().finish();
    let mut request = client.get(url);
    if !cookie.is_empty() {
        request = request.insert_header(("cookie", cookie));
    }
    let mut answer = request.send().await.expect("the server answers");
    let text = |value: &awc::http::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let seen: BTreeSet<_> = answer.headers().get_all("set-cookie").map(text).collect();
    Visit {
        status: answer.status().as_u16(),
        location: answer.headers().get("location").map(text).unwrap_or_default(),
        cookies: seen.into_iter().collect(),
        text: String::from_utf8_lossy(&answer.body().await.expect("a whole body")).into_owned(),
    }
}
