//! A whole service in this process, on a fresh folder, before a stand-in of GitHub. Knows the outside of the house only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use actors::clock::{SharedClock, SystemClock};
use actors::domain::Secret;
use firstlight::boot::{self, Running};
use firstlight::demo::github::GithubStandIn;
use firstlight::settings::{Flags, Settings, Sources};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The webhook secret of every test service.
pub(crate) const SECRET: &str = "a webhook secret of the tests";

/// The admin password of every test service.
pub(crate) const PASSWORD: &str = "a password of the tests";

/// A running service with everything around it.
pub(crate) struct TestApp {
    house: Running,
    folder: TempDir,
    env: BTreeMap<String, String>,
    pub(crate) github: GithubStandIn,
    clock: SharedClock,
    client: awc::Client,
    next_delivery: std::cell::Cell<u32>,
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

/// A webhook request, to be bent before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// Correctly signed, as GitHub sends it.
    pub(crate) fn signed(event: &str, id: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let signature = actors::github::sign(&Secret::new(SECRET), &body);
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", event),
            ("x-github-delivery", id),
            ("x-hub-signature-256", &signature),
        ];
        Self {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body,
        }
    }

    /// Without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    /// With a header's value replaced.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    /// With one more header, even if there is one of this name.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl TestApp {
    /// A service that manages `acme/*`, with a token for the stand-in of GitHub.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], "").await
    }

    /// The same with more environment, and a settings file.
    pub(crate) async fn start_with(env: &[(&str, &str)], settings: &str) -> Self {
        Self::start_by(SystemClock::shared(), env, settings).await
    }

    /// The same by a clock of the test's own.
    pub(crate) async fn start_by(clock: SharedClock, env: &[(&str, &str)], settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("firstlight.yaml"), settings).expect("written");
        Self::build(folder, clock, env).await
    }

    async fn build(folder: TempDir, clock: SharedClock, env: &[(&str, &str)]) -> Self {
        let github = GithubStandIn::start(SystemClock::shared()).expect("a port is free");
        let mut all: BTreeMap<String, String> = [
            ("WEBHOOK_SECRET", SECRET),
            ("ADMIN_PASSWORD", PASSWORD),
            ("MANAGED_REPOS", "acme/*"),
            ("GITHUB_API_URL", github.url()),
            ("GITHUB_TOKEN", github.token().expose()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in env {
            all.insert((*name).to_owned(), (*value).to_owned());
        }
        let house = open(folder.path(), &all, &clock).await;
        let client = awc::Client::builder()
            .timeout(Duration::from_secs(30))
            .disable_redirects()
            .finish();
        Self {
            house,
            folder,
            env: all,
            github,
            clock,
            client,
            next_delivery: 0.into(),
        }
    }

    /// A service on a folder that another process has left, with this environment over the usual one.
    pub(crate) async fn on(folder: TempDir, env: &[(&str, &str)]) -> Self {
        Self::build(folder, SystemClock::shared(), env).await
    }

    /// Stops the service and starts it again on the same folder, with this environment over the one before.
    pub(crate) async fn restart_with(mut self, env: &[(&str, &str)]) -> Self {
        for (name, value) in env {
            self.env.insert((*name).to_owned(), (*value).to_owned());
        }
        self.restart().await
    }

    /// Stops the service and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|| ()).await
    }

    /// The same; `meanwhile` happens while nobody is there.
    pub(crate) async fn restart_after(self, meanwhile: impl FnOnce()) -> Self {
        let Self {
            house,
            folder,
            env,
            github,
            clock,
            client,
            next_delivery,
        } = self;
        house.stop().await;
        meanwhile();
        let house = open(folder.path(), &env, &clock).await;
        Self {
            house,
            folder,
            env,
            github,
            clock,
            client,
            next_delivery,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.house.address().expect("the server is open")
    }

    fn fresh_id(&self) -> String {
        let number = self.next_delivery.get() + 1;
        self.next_delivery.set(number);
        format!("d-{number}")
    }

    /// A delivery of this payload under a fresh id.
    pub(crate) fn delivery(&self, event: &str, payload: &Value) -> Delivery {
        Delivery::signed(event, &self.fresh_id(), payload.to_string())
    }

    /// Posts a delivery.
    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Answer {
        self.deliver_to("/webhooks/github", delivery).await
    }

    /// Posts a delivery to another path.
    pub(crate) async fn deliver_to(&self, path: &str, delivery: &Delivery) -> Answer {
        let mut request = self.client.post(format!("http://{}{path}", self.address()));
        for (name, value) in &delivery.headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        answer(
            request
                .send_body(delivery.body.clone())
                .await
                .expect("the server answers"),
        )
        .await
    }

    /// Posts a payload under a fresh id and expects it to be accepted; its id.
    pub(crate) async fn accept(&self, event: &str, payload: &Value) -> String {
        let answer = self.deliver(&self.delivery(event, payload)).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// A token of the admin.
    pub(crate) async fn login(&self) -> String {
        let answer = self
            .post("/admin/api/login", None, &json!({ "password": PASSWORD }))
            .await;
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    /// Reads a page of the API with a fresh token.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path, Some(&self.login().await)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.get_with(path, token, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.get(format!("http://{}{path}", self.address()));
        if let Some(token) = token {
            request = request.insert_header(("authorization", format!("Bearer {token}")));
        }
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        answer(request.send().await.expect("the server answers")).await
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.post_with(path, token, &[], body).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = self.client.post(format!("http://{}{path}", self.address()));
        if let Some(token) = token {
            request = request.insert_header(("authorization", format!("Bearer {token}")));
        }
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        answer(request.send_json(body).await.expect("the server answers")).await
    }

    /// Sends a form as a browser does by itself.
    pub(crate) async fn submit(&self, path: &str, token: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.client.post(format!("http://{}{path}", self.address()));
        let request = request.insert_header(("authorization", format!("Bearer {token}")));
        answer(request.send_form(&fields).await.expect("the server answers")).await
    }

    /// Any request; `headers` over the usual ones.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.client.request(method, format!("http://{}{path}", self.address()));
        if let Some(token) = token {
            request = request.insert_header(("authorization", format!("Bearer {token}")));
        }
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let sent = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        answer(sent.expect("the server answers")).await
    }

    /// The folder that the service runs in; its state folder is `state` in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until nobody has anything left to do.
    pub(crate) async fn settle(&self) {
        self.house.settle().await;
    }

    /// A whole list, page by page; `path` has a query already.
    pub(crate) async fn all(&self, path: &str, list: &str) -> Vec<Value> {
        let token = self.login().await;
        let mut rows = Vec::new();
        let mut page = self.get(path, Some(&token)).await.json();
        loop {
            rows.extend(
                page[list]
                    .as_array()
                    .unwrap_or_else(|| panic!("{path}: {page}"))
                    .iter()
                    .cloned(),
            );
            let Some(next) = page["next"].as_i64() else { return rows };
            page = self.get(&format!("{path}&before={next}"), Some(&token)).await.json();
        }
    }

    /// All runs, newest first.
    pub(crate) async fn runs(&self) -> Vec<Value> {
        self.read("/admin/api/workflow-runs?limit=200").await["workflowRuns"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// One run with its phases and effects.
    pub(crate) async fn run(&self, id: &str) -> Value {
        self.read(&format!("/admin/api/workflow-runs/{id}")).await["workflowRun"].clone()
    }

    /// One event with its raw payload.
    pub(crate) async fn event(&self, id: &str) -> Value {
        self.read(&format!("/admin/api/events/{id}")).await["event"].clone()
    }

    /// All events, newest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        self.read("/admin/api/events?limit=200").await["events"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// The end of a test is a test: everything accepted has come to an end, nothing waits in the outbox, and the stand-in
    /// was asked nothing that it did not know.
    pub(crate) async fn finish(self) {
        self.settle().await;
        self.look_around().await;
        self.finish_quietly().await;
    }

    /// Stops the service and leaves its folder for whoever comes next.
    pub(crate) async fn leaves(self) -> TempDir {
        self.house.stop().await;
        self.github.stop().await;
        self.folder
    }

    /// For a test after which nobody may sign in any more.
    pub(crate) async fn finish_quietly(self) {
        self.house.stop().await;
        self.github.stop().await;
    }

    async fn look_around(&self) {
        for event in self.events().await {
            assert_ne!(event["state"], "recorded", "an event was left unsettled: {event}");
        }
        for run in self.runs().await {
            let run = self.run(run["id"].as_str().expect("an id")).await;
            assert!(
                ["succeeded", "failed", "cancelled", "paused"].contains(&run["status"].as_str().expect("a status")),
                "{run}"
            );
            for effect in run["effects"].as_array().expect("a list") {
                assert_ne!(effect["state"], "in_flight", "an effect was left in flight: {effect}");
            }
        }
        let unknown: Vec<_> = self
            .github
            .calls()
            .into_iter()
            .filter(|call| call.status == 405 || call.status == 501)
            .collect();
        assert!(
            unknown.is_empty(),
            "the stand-in was asked what it does not know: {unknown:?}"
        );
    }
}

async fn open(folder: &Path, env: &BTreeMap<String, String>, clock: &SharedClock) -> Running {
    let sources = Sources {
        flags: Flags {
            listen: Some("127.0.0.1:0".into()),
            state_dir: Some(folder.join("state")),
            ..Flags::default()
        },
        env: env.clone(),
        cwd: folder.to_owned(),
    };
    let loaded = Settings::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    match boot::open(&loaded, clock.clone()).await {
        Ok(house) => house,
        Err(error) => panic!("the house does not open: {error:?}"),
    }
}

async fn answer(
    mut response: awc::ClientResponse<
        impl futures_util::Stream<Item = Result<bytes::Bytes, awc::error::PayloadError>> + Unpin,
    >,
) -> Answer {
    let body = response.body().limit(64 * 1024 * 1024).await.expect("a whole body");
    Answer {
        status: response.status().as_u16(),
        headers: response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}
