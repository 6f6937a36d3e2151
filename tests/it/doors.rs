//! What the doors do with what nobody should send: bodies, addresses and queries of every bad kind, and two operators at once.
//! Driven by the page that lists the routes, so that a new one is covered or the test says so. Knows the outside of the house only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use actors::domain::Secret;
use firstlight::http::{Claims, Tokens};
use firstlight::tools::Scope;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{Answer, TestApp};
use crate::support::payloads::issue;
use crate::support::receiver::Receiver;
use crate::support::routes::{Door, Route, routes};

const KEY: &str = "an admin secret of the tests";

/// Bytes that the routes take at most: those of the API, and those of the integrations.
const API_CAP: usize = 1024 * 1024;
const TOOLS_CAP: usize = 2 * 1024 * 1024;

/// What a route takes as its body.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Nothing: an empty body, or an empty object.
    Nothing,
    /// An object that may be empty; one of its keys.
    Maybe(&'static str),
    /// An object that may not be empty; one of its keys.
    Needs(&'static str),
}

/// What every route takes that changes something, with a body that it would understand. A new one needs a line here.
fn bodies() -> Vec<(&'static str, &'static str, Takes, Value)> {
    use Takes::{Maybe, Needs, Nothing};
    let none = || json!({});
    let mut all = vec![
        (
            "POST",
            "/admin/api/login",
            Needs("password"),
            json!({ "password": "x" }),
        ),
        (
            "POST",
            "/api/integrations/webhooks",
            Needs("url"),
            json!({ "url": "https://example.com" }),
        ),
        ("DELETE", "/api/integrations/webhooks/{id}", Nothing, none()),
        (
            "POST",
            "/api/integrations/webhooks/{id}/rotate",
            Maybe("secret"),
            none(),
        ),
        ("POST", "/api/integrations/webhooks/{id}/ping", Nothing, none()),
        ("POST", "/api/integrations/webhooks/{id}/enable", Nothing, none()),
        ("POST", "/api/integrations/webhooks/{id}/disable", Nothing, none()),
        ("PUT", "/api/integrations/git-auto-commit", Maybe("enabled"), none()),
        ("POST", "/api/integrations/git-auto-commit/dry-run", Nothing, none()),
        (
            "POST",
            "/api/integrations/notify",
            Needs("message"),
            json!({ "channel": "email", "message": "x" }),
        ),
        (
            "POST",
            "/api/integrations/emit",
            Needs("eventName"),
            json!({ "eventName": "error" }),
        ),
        (
            "POST",
            "/api/integrations/tool-calls",
            Needs("tool"),
            json!({ "tool": "x" }),
        ),
        ("POST", "/api/integrations/deliveries/{id}/redeliver", Nothing, none()),
        (
            "POST",
            "/api/integrations/tools/{name}",
            Needs("url"),
            json!({ "url": "https://example.com" }),
        ),
        ("POST", "/api/run", Needs("workflow"), json!({ "workflow": "no-such" })),
        (
            "POST",
            "/api/build",
            Needs("owner"),
            json!({ "owner": "other", "repo": "site", "issueNumber": 1 }),
        ),
        ("POST", "/admin/crons/{name}/toggle", Maybe("enabled"), none()),
        ("POST", "/admin/api/logout", Nothing, none()),
        (
            "POST",
            "/admin/api/tokens",
            Needs("label"),
            json!({ "label": "x", "scope": "read" }),
        ),
        ("DELETE", "/admin/api/tokens/{id}", Nothing, none()),
        ("POST", "/admin/api/route-test", Needs("id"), json!({ "id": "none" })),
        ("DELETE", "/admin/api/containers/{name}", Nothing, none()),
        (
            "POST",
            "/admin/api/events/{id}/replay",
            Needs("as"),
            json!({ "as": "new" }),
        ),
        ("POST", "/admin/api/workflow-runs/{id}/cancel", Nothing, none()),
        ("POST", "/admin/api/workflow-runs/{id}/retry", Maybe("from"), none()),
        (
            "POST",
            "/admin/api/workflows/{name}/toggle",
            Needs("enabled"),
            json!({ "enabled": false }),
        ),
        (
            "POST",
            "/admin/api/crons/preview",
            Needs("schedule"),
            json!({ "schedule": "* * * * *" }),
        ),
        (
            "POST",
            "/admin/api/crons/{name}/schedule",
            Needs("schedule"),
            json!({ "schedule": "* * * * *" }),
        ),
        ("DELETE", "/admin/api/crons/{name}/override", Nothing, none()),
        ("POST", "/admin/api/crons/{name}/run", Nothing, none()),
        (
            "POST",
            "/admin/api/approvals/{id}/respond",
            Needs("decision"),
            json!({ "decision": "approved" }),
        ),
    ];
    // The same handlers under their second addresses.
    let twins: Vec<_> = all
        .iter()
        .filter_map(|(method, path, takes, good)| {
            let twin = match *path {
                "/api/integrations/webhooks" => "/admin/api/webhooks",
                "/api/integrations/webhooks/{id}" => "/admin/api/webhooks/{id}",
                "/api/integrations/webhooks/{id}/rotate" => "/admin/api/webhooks/{id}/rotate",
                "/api/integrations/webhooks/{id}/ping" => "/admin/api/webhooks/{id}/ping",
                "/api/integrations/webhooks/{id}/enable" => "/admin/api/webhooks/{id}/enable",
                "/api/integrations/webhooks/{id}/disable" => "/admin/api/webhooks/{id}/disable",
                "/api/integrations/deliveries/{id}/redeliver" => "/admin/api/deliveries/{id}/redeliver",
                "/admin/crons/{name}/toggle" => "/admin/api/crons/{name}/toggle",
                "/admin/api/approvals/{id}/respond" => "/admin/approvals/{id}/respond",
                _ => return None,
            };
            Some((*method, twin, *takes, good.clone()))
        })
        .collect();
    all.extend(twins);
    all
}

/// A body that is no wish, and what an answer to it has to name.
struct Bad {
    what: &'static str,
    body: Vec<u8>,
    kind: &'static str,
    names: String,
}

fn bad_bodies(takes: Takes) -> Vec<Bad> {
    let key = match takes {
        Takes::Nothing => "x",
        Takes::Maybe(key) | Takes::Needs(key) => key,
    };
    let json = "application/json";
    let one = |what: &'static str, body: &[u8]| Bad {
        what,
        body: body.to_vec(),
        kind: json,
        names: String::new(),
    };
    let mut all = vec![
        one("a list", b"[]"),
        one("a list of nothing", b"[null]"),
        one("a list of values", b"[\"new\", \"x\", true]"),
        one("a text", b"\"x\""),
        one("a number", b"7"),
        one("a flag", b"true"),
        one("nothing, in so many words", b"null"),
        one("words", b"enabled=true"),
        one("half an object", b"{\"a\": 1"),
        one("two objects", b"{} {}"),
        one("a deep list", "[".repeat(100_000).as_bytes()),
        one("a deep object", "{\"a\":".repeat(100_000).as_bytes()),
        one(
            "a deep list that ends",
            &[vec![b'['; 100_000], vec![b']'; 100_000]].concat(),
        ),
        one("bytes that are no text", b"{\"\xff\xfe\": 1}"),
        one("a value of bytes that are no text", b"{\"a\": \"\xc3\x28\"}"),
        one("half a surrogate", b"{\"\\ud800\": 1}"),
        one("half a surrogate as a value", b"{\"a\": \"\\udfff\"}"),
        one("a raw NUL", b"{\"a\0\": 1}"),
        one(
            "a number without end",
            format!("{{\"a\": {}}}", "9".repeat(5_000)).as_bytes(),
        ),
        one("a number too great", b"{\"a\": 1e999}"),
        one("no number", b"{\"a\": NaN}"),
        one("a byte order mark", b"\xef\xbb\xbf{}"),
        Bad {
            names: "no-such-key".into(),
            ..one("a key that nobody knows", b"{\"no-such-key\": 1}")
        },
        one("a key of control characters", b"{\"\\u0000\\u001b[31m\\r\\n\": 1}"),
        one(
            "a key without end",
            format!("{{\"{}\": 1}}", "k".repeat(100_000)).as_bytes(),
        ),
        one("an empty key", b"{\"\": 1}"),
        Bad {
            names: key.into(),
            ..one(
                "a key twice",
                format!("{{\"{key}\": null, \"{key}\": null}}").as_bytes(),
            )
        },
        Bad {
            kind: "application/x-www-form-urlencoded",
            ..one("a form", b"enabled=true&password=x")
        },
        Bad {
            kind: "multipart/form-data; boundary=x",
            ..one(
                "an upload",
                b"--x\r\ncontent-disposition: form-data; name=\"enabled\"\r\n\r\ntrue\r\n--x--\r\n",
            )
        },
        Bad {
            kind: "text/xml",
            ..one(
                "XML",
                b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
            )
        },
    ];
    if let Takes::Needs(_) = takes {
        all.push(one("an empty object", b"{}"));
        all.push(one("nothing", b""));
        all.push(one("spaces", b" \r\n\t"));
    }
    if let Takes::Needs(key) | Takes::Maybe(key) = takes {
        for value in ["{}", "[]", "-1", "1.5", "{\"a\": 1}"] {
            all.push(one(
                "a value of a wrong kind",
                format!("{{\"{key}\": {value}}}").as_bytes(),
            ));
        }
    }
    all
}

/// One exchange, byte by byte; the server may answer before it has heard everything. Of a stream only the head.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut from, mut to) = stream.split();
    let request = [
        format!("{head}\r\nhost: localhost\r\nconnection: close\r\n").as_bytes(),
        body,
    ]
    .concat();
    let writing = async {
        // It may have heard enough.
        let _ = to.write_all(&request).await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut got = Vec::new();
        loop {
            if let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let whole = length.and_then(|length| length.parse::<usize>().ok());
                if head.contains("text/event-stream") || whole.is_some_and(|whole| got.len() >= end + 4 + whole) {
                    break;
                }
            }
            match from.read_buf(&mut got).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        got
    };
    let got = tokio::select! {
        got = reading => got,
        () = writing => unreachable!("it waits"),
    };
    let end = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(got.len());
    let text = String::from_utf8_lossy(&got[..end]).into_owned();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no answer to {head:?}: {first:?}")),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        text: String::from_utf8_lossy(got.get(end + 4..).unwrap_or_default()).into_owned(),
    }
}

/// A house in which there is one of everything.
struct Full {
    app: TestApp,
    receiver: Receiver,
    _overlay: TempDir,
    ids: BTreeMap<&'static str, String>,
    token: String,
}

fn token(id: &str) -> String {
    Tokens::new(&Secret::new(KEY)).sign(&Claims {
        exp: 4_000_000_000,
        id: id.into(),
        who: "admin".into(),
        method: "password".into(),
        label: None,
        scope: Scope::Admin,
    })
}

impl Full {
    async fn start() -> Self {
        let overlay = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(overlay.path().join("workflows")).expect("made");
        let build = "name: build\nphases:\n  - {name: ask, type: approval, gate: go, message: Go on?}\n";
        std::fs::write(overlay.path().join("workflows/build.yaml"), build).expect("written");
        let settings = format!(
            "workflows: {{overlay: {}}}\noutbound: {{allow: [127.0.0.0/8]}}\n",
            overlay.path().display()
        );
        let app = TestApp::start_with(&[("ADMIN_SECRET", KEY), ("GITHUB_TOKEN", "")], &settings).await;
        let receiver = Receiver::start().await;
        let token = token("t-everything");
        let post = async |path: &str, body: Value| {
            let answer = app.post(path, Some(&token), &body).await;
            assert!(answer.status < 300, "{path}: {}", answer.text);
            answer.json()
        };
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let event = app.accept("issues", &issue("closed", 7, "It broke")).await;
        let context = json!({ "repo": "acme/site", "issueNumber": 1, "title": "x" });
        let run = post("/api/run", json!({ "workflow": "build", "context": context })).await;
        let hook = post("/api/integrations/webhooks", json!({ "url": receiver.url("/hook") })).await;
        let emitted = post("/api/integrations/emit", json!({ "eventName": "task.sync" })).await;
        let made = post("/admin/api/tokens", json!({ "label": "ci", "scope": "read" })).await;
        app.settle().await;
        let crons = app.get("/admin/api/crons", Some(&token)).await.json();
        let cron = text(&crons["crons"][0]["name"]);
        let asked = app.get("/admin/api/approvals", Some(&token)).await.json();
        let ids = [
            ("/admin/api/events/{id}", event),
            ("/admin/api/workflow-runs/{id}", text(&run["executionId"])),
            ("/api/integrations/webhooks/{id}", text(&hook["webhook"]["id"])),
            ("/admin/api/webhooks/{id}", text(&hook["webhook"]["id"])),
            (
                "/api/integrations/deliveries/{id}",
                text(&emitted["deliveries"][0]["delivery_id"]),
            ),
            (
                "/admin/api/deliveries/{id}",
                text(&emitted["deliveries"][0]["delivery_id"]),
            ),
            (
                "/api/integrations/tools/{name}",
                "integration_webhook_register".to_owned(),
            ),
            ("/admin/api/tokens/{id}", text(&made["id"])),
            ("/admin/crons/{name}", cron.clone()),
            ("/admin/api/crons/{name}", cron),
            ("/admin/api/approvals/{id}", text(&asked["approvals"][0]["id"])),
            ("/admin/approvals/{id}", text(&asked["approvals"][0]["id"])),
            ("/admin/api/workflows/{name}", "build".to_owned()),
            ("/admin/api/containers/{name}", "firstlight-1".to_owned()),
            ("/admin/api/skills/{name}", "x".to_owned()),
            ("/admin/api/knocks/{word}", "x".to_owned()),
            ("/admin/api/sessions/{id}", "x".to_owned()),
            ("/admin/api/chat-sessions/{id}", "x".to_owned()),
        ];
        Self {
            app,
            receiver,
            _overlay: overlay,
            ids: ids.into(),
            token,
        }
    }

    /// The address of something that is there.
    fn real(&self, pattern: &str) -> String {
        let Some(end) = pattern.find('}') else {
            return pattern.to_owned();
        };
        let (first, rest) = pattern.split_at(end + 1);
        let id = self
            .ids
            .get(first)
            .unwrap_or_else(|| panic!("nothing of {first} is there; add one"));
        let start = first.find('{').expect("a place");
        format!(
            "{}{id}{}",
            &first[..start],
            rest.replace("{phase}", "ask").replace("{firing}", "1")
        )
    }

    async fn sends(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        // Signing out would end it.
        let token = match path.ends_with("/logout") {
            true => token(&format!("t-{}", body.len())),
            false => self.token.clone(),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nauthorization: Bearer {token}{headers}");
        let body = [format!("content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
        exchange(self.app.address(), &head, &body).await
    }

    /// Everything that a change would change.
    async fn state(&self) -> Value {
        let mut state = json!({});
        for path in [
            "/api/integrations/state",
            "/api/integrations/webhooks/health",
            "/api/integrations/deliveries",
            "/admin/api/tokens?state=all",
            "/admin/api/crons",
            "/admin/api/approvals?status=all",
            "/admin/api/workflow-runs",
            "/admin/api/workflows",
            "/admin/api/events",
        ] {
            let answer = self.app.get(path, Some(&self.token)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            state[path] = answer.json();
        }
        // When a token was last seen is no matter of what was asked.
        for token in state["/admin/api/tokens?state=all"]["tokens"]
            .as_array_mut()
            .expect("a list")
        {
            token["lastUsedAt"] = Value::Null;
        }
        state
    }
}

/// The documented shape: JSON, one key, words for people and none of a library's insides.
fn in_shape(answer: &Answer) -> Result<String, String> {
    let kind = answer.headers.get("content-type").cloned().unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(format!("it is {kind:?}"));
    }
    let body = answer.json();
    let keys: Vec<_> = body
        .as_object()
        .map(|body| body.keys().cloned().collect())
        .unwrap_or_default();
    let words = body["error"].as_str().unwrap_or_default();
    if keys != ["error"] || words.is_empty() {
        return Err("it is not {\"error\": …}".to_owned());
    }
    if words.len() > 2_000 {
        return Err(format!("it says {} bytes", words.len()));
    }
    if words.contains(char::is_control) {
        return Err("it holds control characters".to_owned());
    }
    for inside in ["panicked", "::", "rusqlite", "src/", "PayloadError", "SqliteFailure"] {
        if words.contains(inside) {
            return Err(format!("it shows {inside:?}"));
        }
    }
    Ok(words.to_owned())
}

/// Collects what is wrong, so that one run shows all of it.
#[derive(Default)]
struct Faults {
    looked: usize,
    found: Vec<String>,
}

impl Faults {
    fn holds(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.looked += 1;
        if !holds {
            self.found.push(what());
        }
    }

    fn none(self, at_least: usize) {
        assert!(self.looked > at_least, "only {} were looked at", self.looked);
        let shown: Vec<String> = self.found.iter().map(|one| one.chars().take(400).collect()).collect();
        assert!(
            shown.is_empty(),
            "{} of {}:\n{}",
            shown.len(),
            self.looked,
            shown.join("\n")
        );
    }
}

fn changing() -> Vec<Route> {
    let changing = routes()
        .into_iter()
        .filter(|route| route.changes() && route.door != Door::Pages);
    // The two with shapes of their own, which have tests of their own.
    changing
        .filter(|route| !["/webhooks/github", "/mcp"].contains(&route.pattern.as_str()))
        .collect()
}

#[test]
fn every_route_that_changes_something_says_here_what_it_takes() {
    let there: BTreeSet<(String, String)> = changing()
        .into_iter()
        .map(|route| (route.method, route.pattern))
        .collect();
    let listed: BTreeSet<(String, String)> = bodies()
        .into_iter()
        .map(|(method, path, ..)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(there, listed);
    assert!(there.len() > 30);
}

#[actix::test]
async fn a_body_that_is_no_wish_is_refused_in_words_and_nothing_is_half_done() {
    let house = Full::start().await;
    let before = house.state().await;
    let received = house.receiver.got().len();
    let mut faults = Faults::default();
    for (method, pattern, takes, _) in bodies() {
        let path = house.real(pattern);
        for bad in bad_bodies(takes) {
            let headers = format!("\r\ncontent-type: {}", bad.kind);
            let answer = house.sends(method, &path, &headers, &bad.body).await;
            let shape = in_shape(&answer);
            let named = bad.names.is_empty() || shape.as_ref().is_ok_and(|words| words.contains(&bad.names));
            faults.holds(answer.status == 400 && shape.is_ok() && named, || {
                let sent = String::from_utf8_lossy(&bad.body[..bad.body.len().min(60)]).into_owned();
                format!(
                    "{method} {pattern} with {} ({sent}): {} {shape:?} {}",
                    bad.what, answer.status, answer.text
                )
            });
        }
    }
    house.app.settle().await;
    let after = house.state().await;
    faults.none(1_000);
    assert_eq!(after, before, "something was half done");
    assert_eq!(house.receiver.got().len(), received, "something was sent");
    house.app.finish().await;
}

#[actix::test]
async fn a_body_over_the_limit_is_refused_before_it_is_held_whichever_way_it_comes() {
    let house = Full::start().await;
    let before = house.state().await;
    let mut faults = Faults::default();
    for (method, pattern, ..) in bodies() {
        let path = house.real(pattern);
        let cap = match pattern.starts_with("/api/integrations") {
            true => TOOLS_CAP,
            false => API_CAP,
        };
        let logout = path.ends_with("/logout");
        let token = if logout { token("t-out") } else { house.token.clone() };
        let head =
            format!("{method} {path} HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {token}");
        let announced = format!("content-length: {}\r\n\r\n{{", cap + 1);
        let mut chunked = b"transfer-encoding: chunked\r\n\r\n".to_vec();
        let chunk = vec![b' '; 64 * 1024];
        for _ in 0..=cap / chunk.len() {
            chunked.extend_from_slice(b"10000\r\n");
            chunked.extend_from_slice(&chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        for (what, body) in [("announced", announced.as_bytes()), ("unannounced", &chunked)] {
            let answer = exchange(house.app.address(), &head, body).await;
            let shape = in_shape(&answer);
            let says = shape.as_ref().is_ok_and(|words| words.contains(&cap.to_string()));
            faults.holds(answer.status == 413 && says, || {
                format!(
                    "{method} {pattern}, {what}: {} {shape:?} {}",
                    answer.status, answer.text
                )
            });
        }
    }
    let after = house.state().await;
    faults.none(60);
    assert_eq!(after, before, "something was half done");
    house.app.finish().await;
}

#[actix::test]
async fn a_body_that_is_not_packed_as_it_says_is_refused() {
    let house = Full::start().await;
    for (method, path) in [
        ("POST", "/api/run"),
        ("POST", "/api/integrations/emit"),
        ("POST", "/admin/api/login"),
    ] {
        for packing in ["gzip", "deflate", "br", "zstd"] {
            let headers = format!("\r\ncontent-encoding: {packing}");
            let answer = house.sends(method, path, &headers, b"not packed at all").await;
            assert_eq!(answer.status, 400, "{path} {packing}: {}", answer.text);
            in_shape(&answer).unwrap_or_else(|why| panic!("{path} {packing}: {why}: {}", answer.text));
        }
    }
    house.app.finish().await;
}

/// What stands in an address where an id is meant.
fn odd_ids() -> Vec<String> {
    let mut odd: Vec<String> = [
        "x",
        "01890000-0000-7000-8000-000000000000",
        "..%2f..%2ffirstlight.db",
        "..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "%2e%2e",
        "..",
        "....%2f%2f",
        "%00",
        "x%00.json",
        "%ff%fe",
        "%c0%ae%c0%ae%2f",
        "%",
        "%zz",
        "%0d%0aset-cookie:%20a=b",
        "%e2%80%ae%f0%9f%92%a9",
        "-1",
        "0",
        "9223372036854775808",
        "1e9",
        "NaN",
        "null",
        "'%20OR%201=1--",
        "%25%7B%7B7*7%7D%7D",
        ";id",
        "$(id)",
        "con",
    ]
    .map(str::to_owned)
    .into();
    odd.push("a".repeat(8_000));
    odd.push("%2e%2e%2f".repeat(500));
    odd
}

#[actix::test]
async fn an_id_of_nothing_or_a_trick_in_an_address_leads_nowhere() {
    let house = Full::start().await;
    let before = house.state().await;
    let good: BTreeMap<(String, String), Value> = bodies()
        .into_iter()
        .map(|(method, path, _, good)| ((method.to_owned(), path.to_owned()), good))
        .collect();
    let mut faults = Faults::default();
    for route in routes().into_iter().filter(|route| route.pattern.contains('{')) {
        let body = good.get(&(route.method.clone(), route.pattern.clone()));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut paths: Vec<String> = odd_ids().iter().map(|odd| route.at(odd)).collect();
        // Something that is there, and in it something that is not.
        if route.pattern.matches('{').count() > 1 {
            let (first, rest) = route.pattern.split_at(route.pattern.find('}').expect("a place") + 1);
            for odd in odd_ids() {
                let rest: Vec<_> = rest
                    .split('/')
                    .map(|part| if part.starts_with('{') { odd.as_str() } else { part })
                    .collect();
                paths.push(format!("{}{}", house.real(first), rest.join("/")));
            }
        }
        for path in paths {
            let headers = "\r\ncontent-type: application/json";
            let answer = house.sends(&route.method, &path, headers, body.as_bytes()).await;
            let said = match route.door {
                // What a log of a known run does not have is an empty log.
                Door::Api => in_shape(&answer).map(|_| ()),
                Door::Pages | Door::Open => Ok(()),
            };
            // What is not there is deleted as it is, by the contract of the integrations.
            let gone = route.method == "DELETE" && route.pattern.ends_with("/webhooks/{id}");
            let refused = match gone {
                true => answer.status == 200 && answer.json()["removed"] == false,
                false => [400, 403, 404].contains(&answer.status) && said.is_ok(),
            };
            faults.holds(refused, || {
                let path: String = path.chars().take(120).collect();
                format!("{} {path}: {} {said:?} {}", route.method, answer.status, answer.text)
            });
            let harmless = !answer.headers.contains_key("set-cookie") && !answer.text.contains("root:");
            faults.holds(harmless, || format!("{} {path}: {:?}", route.method, answer.headers));
        }
    }
    assert_eq!(house.state().await, before, "something was half done");
    let lines = house
        .app
        .get("/admin/api/audit?limit=200", Some(&house.token))
        .await
        .json();
    for line in lines["audit"].as_array().expect("a list") {
        for (key, value) in line.as_object().expect("a line") {
            let text = value.as_str().unwrap_or_default();
            faults.holds(text.chars().count() <= 300 && !text.contains(char::is_control), || {
                format!("the audit log has a {key} that a terminal would obey, or that has no end: {text:?}")
            });
        }
    }
    faults.none(2_000);
    house.app.finish().await;
}

/// What a query says of a parameter of this name that no reader may take; nothing, where any text will do.
fn odd_values(name: &str) -> &'static [&'static str] {
    match name {
        "limit" => &[
            "0",
            "-1",
            "x",
            "1e3",
            "99999999999999999999",
            "1.5",
            "%00",
            "+1%20",
            "0x10",
        ],
        "before" | "cursor" | "offset" => &["-1", "x", "1e3", "99999999999999999999", "%00"],
        "since" | "until" => &["yesterday", "2026-13-01T00:00:00Z", "%00", "99999999-01-01T00:00:00Z"],
        "timezone" => &["Mars/Olympus", "..%2f..%2fetc%2fpasswd", "%00"],
        "days" | "hours" => &["0", "-1", "x", "99999999999999999999"],
        "status" | "state" | "type" | "source" => &["no-such", "%00", "%ff"],
        _ => &[],
    }
}

#[actix::test]
async fn a_bad_query_is_named_and_no_query_is_a_fault_of_the_service() {
    let house = Full::start().await;
    let document = house.app.get("/api/openapi.json", Some(&house.token)).await.json();
    let mut faults = Faults::default();
    let mut named = 0;
    for route in routes()
        .into_iter()
        .filter(|route| !route.changes() && route.pattern != "/mcp")
    {
        let path = match route.door {
            Door::Api if !route.pattern.contains("{file}") => house.real(&route.pattern),
            _ => route.at("x"),
        };
        let operation = &document["paths"][&route.pattern]["get"]["parameters"];
        let names: Vec<String> = operation
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().expect("a name").to_owned())
            .collect();
        let there = house.sends("GET", &path, "", b"").await.status == 200;
        for name in &names {
            for odd in odd_values(name) {
                // How long a log is can be asked without a byte of it.
                if route.pattern.ends_with("/log") && *odd == "0" {
                    continue;
                }
                let answer = house.sends("GET", &format!("{path}?{name}={odd}"), "", b"").await;
                let shape = in_shape(&answer);
                named += 1;
                let fits = if there {
                    answer.status == 400 && shape.as_ref().is_ok_and(|words| words.contains(name.as_str()))
                } else {
                    answer.status == 404 || answer.status == 400
                };
                faults.holds(fits && shape.is_ok(), || {
                    format!("GET {path}?{name}={odd}: {} {shape:?} {}", answer.status, answer.text)
                });
            }
        }
        let long = format!("q={}", "x".repeat(8_000));
        for query in [
            "limit=1&limit=2",
            "before=1&before=1",
            "%ff=%ff",
            "%00=%00",
            "=&=&&&",
            "limit=&before=&status=",
            "a[]=1&a[0]=2&__proto__=3",
            "limit=%ff",
            "before=9223372036854775807",
            "since=%2B99999-01-01T00:00:00Z",
            long.as_str(),
        ] {
            let answer = house.sends("GET", &format!("{path}?{query}"), "", b"").await;
            let said = match (answer.status >= 400, route.door) {
                (true, Door::Api) => in_shape(&answer).map(|_| ()),
                _ => Ok(()),
            };
            faults.holds(answer.status < 500 && said.is_ok(), || {
                let query: String = query.chars().take(80).collect();
                format!("GET {path}?{query}: {} {said:?} {}", answer.status, answer.text)
            });
        }
    }
    assert!(named > 100, "the document was not understood: {named}");
    faults.none(700);
    house.app.finish().await;
}

#[actix::test]
async fn a_page_that_is_asked_oddly_answers_as_a_page() {
    let house = Full::start().await;
    let mut faults = Faults::default();
    for route in routes()
        .into_iter()
        .filter(|route| route.door == Door::Pages && !route.changes())
    {
        for odd in ["x", "%00", "%ff", "..%2f..%2f"] {
            for query in [
                "",
                "?limit=1&limit=2",
                "?before=x",
                "?page=-1&status=no-such",
                "?%ff=%ff",
            ] {
                let path = format!("{}{query}", route.at(odd));
                let answer = house.sends("GET", &path, "", b"").await;
                let kind = answer.headers.get("content-type").cloned().unwrap_or_default();
                let fits = kind.starts_with("text/html") || (answer.status == 303 && answer.text.is_empty());
                faults.holds(answer.status < 500 && fits, || {
                    format!("GET {path}: {} {kind} {}", answer.status, answer.text)
                });
            }
        }
    }
    faults.none(200);
    house.app.finish().await;
}

#[actix::test]
async fn a_method_that_a_door_does_not_have_is_refused_in_the_same_shape() {
    let house = Full::start().await;
    let before = house.state().await;
    let mut faults = Faults::default();
    for path in [
        "/health",
        "/ready",
        "/webhooks/github",
        "/admin/api/login",
        "/admin/api/stats",
        "/admin/crons/x/toggle",
        "/admin/approvals/x/respond",
        "/api/run",
        "/api/integrations/notify",
        "/nothing/here",
        "/api",
        "/admin/api/",
        "/API/RUN",
        "//api/run",
        "/api/./run",
        "/api/%72un%00",
    ] {
        for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = house.sends(method, path, "", b"{}").await;
            let shape = in_shape(&answer);
            faults.holds([404, 405].contains(&answer.status) && shape.is_ok(), || {
                format!("{method} {path}: {} {shape:?} {}", answer.status, answer.text)
            });
        }
    }
    assert_eq!(house.state().await, before);
    faults.none(90);
    house.app.finish().await;
}

#[actix::test]
async fn tools_over_mcp_take_no_nonsense_and_never_fail_on_it() {
    let house = Full::start().await;
    let before = house.state().await;
    let mut faults = Faults::default();
    for bad in bad_bodies(Takes::Needs("method")) {
        for session in ["", "\r\nmcp-session-id: no-such-session"] {
            let headers = format!(
                "\r\ncontent-type: {}\r\naccept: application/json, text/event-stream{session}",
                bad.kind
            );
            let answer = house.sends("POST", "/mcp", &headers, &bad.body).await;
            faults.holds((400..500).contains(&answer.status), || {
                format!("{} {session:?}: {} {}", bad.what, answer.status, answer.text)
            });
        }
    }
    assert_eq!(house.state().await, before);
    faults.none(60);
    house.app.finish().await;
}

// ---- two operators at once -------------------------------------------------------------------------------------------

/// How often each race is run.
const ROUNDS: usize = 12;

#[actix::test]
async fn a_schedule_that_is_switched_and_changed_at_once_has_both() {
    let house = Full::start().await;
    let path = house.real("/admin/api/crons/{name}");
    let ask = async |what: &str, body: Value| {
        house
            .app
            .post(&format!("{path}/{what}"), Some(&house.token), &body)
            .await
    };
    for round in 0..ROUNDS {
        let (enabled, schedule) = (round % 2 == 0, format!("{round} 5 * * *"));
        let (one, other) = futures_util::join!(
            ask("toggle", json!({ "enabled": enabled })),
            ask("schedule", json!({ "schedule": schedule }))
        );
        assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text, other.text);
        let cron = house.app.get(&path, Some(&house.token)).await.json()["cron"].clone();
        assert_eq!(
            (&cron["enabled"], &cron["schedule"]),
            (&json!(enabled), &json!(schedule)),
            "one of them was lost"
        );
    }
    // Two who want different things: the state is what one of them was told.
    for _ in 0..ROUNDS {
        let (one, other) = futures_util::join!(
            ask("schedule", json!({ "schedule": "1 1 * * *" })),
            ask("schedule", json!({ "schedule": "2 2 * * *" }))
        );
        assert_eq!((one.status, other.status), (200, 200));
        let cron = house.app.get(&path, Some(&house.token)).await.json()["cron"].clone();
        let written = cron["schedule"].as_str().expect("a text");
        assert!(["1 1 * * *", "2 2 * * *"].contains(&written), "{written}");
    }
    // Two who switch it without saying which way: twice the other way is the way it was.
    let before = house.app.get(&path, Some(&house.token)).await.json()["cron"]["enabled"].clone();
    let (one, other) = futures_util::join!(ask("toggle", json!({})), ask("toggle", json!({})));
    assert_ne!(one.json()["enabled"], other.json()["enabled"], "each saw the other's");
    let after = house.app.get(&path, Some(&house.token)).await.json()["cron"]["enabled"].clone();
    assert_eq!(after, before);
    house.app.finish().await;
}

#[actix::test]
async fn a_webhook_that_is_deleted_while_its_secret_is_changed_stays_deleted() {
    let house = Full::start().await;
    for round in 0..ROUNDS {
        let wish = json!({ "url": format!("https://example.com/{round}") });
        let made = house
            .app
            .post("/api/integrations/webhooks", Some(&house.token), &wish)
            .await
            .json();
        let path = format!(
            "/api/integrations/webhooks/{}",
            made["webhook"]["id"].as_str().expect("an id")
        );
        let (rotate, disable) = (format!("{path}/rotate"), format!("{path}/disable"));
        let nothing = json!({});
        let (rotated, deleted, off) = futures_util::join!(
            house.app.post(&rotate, Some(&house.token), &nothing),
            house.app.ask("DELETE", &path, Some(&house.token), &[], None),
            house.app.post(&disable, Some(&house.token), &nothing)
        );
        assert_eq!(
            (deleted.status, &deleted.json()["removed"]),
            (200, &json!(true)),
            "{}",
            deleted.text
        );
        for late in [&rotated, &off] {
            assert!([200, 404].contains(&late.status), "{}", late.text);
            let told = late.status == 200 || in_shape(late).is_ok();
            assert!(told, "{}", late.text);
        }
        let listed = house.app.get("/api/integrations/webhooks", Some(&house.token)).await;
        assert_eq!(listed.json().as_array().map(Vec::len), Some(1), "{}", listed.text);
        let again = house.app.ask("DELETE", &path, Some(&house.token), &[], None).await;
        assert_eq!(
            (again.status, &again.json()["removed"]),
            (200, &json!(false)),
            "{}",
            again.text
        );
    }
    house.app.finish().await;
}

#[actix::test]
async fn a_run_that_is_cancelled_and_retried_at_once_is_one_of_both_and_its_subject_has_one_live_run() {
    let house = Full::start().await;
    let mut run = house.ids["/admin/api/workflow-runs/{id}"].clone();
    for _ in 0..ROUNDS {
        let path = format!("/admin/api/workflow-runs/{run}");
        let (cancel, retry) = (format!("{path}/cancel"), format!("{path}/retry"));
        let body = json!({});
        let (cancelled, second, retried) = futures_util::join!(
            house.app.post(&cancel, Some(&house.token), &body),
            house.app.post(&cancel, Some(&house.token), &body),
            house.app.post(&retry, Some(&house.token), &body)
        );
        let mut statuses = [cancelled.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400], "{} {}", cancelled.text, second.text);
        let late = if cancelled.status == 400 { &cancelled } else { &second };
        let words = in_shape(late).expect("words");
        assert!(words.contains("cannot cancel a run with status"), "{words}");
        assert!([202, 400].contains(&retried.status), "{}", retried.text);
        house.app.settle().await;
        let old = house.app.get(&path, Some(&house.token)).await.json();
        assert_eq!(old["workflowRun"]["status"], "cancelled", "{old}");
        if retried.status == 400 {
            in_shape(&retried).expect("words");
            let again = house.app.post(&retry, Some(&house.token), &body).await;
            assert_eq!(again.status, 202, "{}", again.text);
            run = again.json()["executionId"].as_str().expect("an id").to_owned();
        } else {
            run = retried.json()["executionId"].as_str().expect("an id").to_owned();
        }
        house.app.settle().await;
        let live = house
            .app
            .get("/admin/api/workflow-runs?status=paused", Some(&house.token))
            .await
            .json();
        let live: Vec<_> = live["workflowRuns"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|run| &run["id"])
            .collect();
        assert_eq!(live, [&json!(run)]);
    }
    house.app.finish().await;
}

#[actix::test]
async fn one_key_acts_once_also_when_it_comes_twice_at_the_same_time() {
    let house = Full::start().await;
    let event = house.real("/admin/api/events/{id}");
    let cron = house.real("/admin/api/crons/{name}");
    let count = async |path: &str, list: &str| {
        let answer = house.app.get(path, Some(&house.token)).await.json();
        answer[list]
            .as_array()
            .unwrap_or_else(|| panic!("{path}: {answer}"))
            .len()
    };
    for round in 0..ROUNDS {
        let key = format!("round-{round}");
        let keyed = [("idempotency-key", key.as_str())];
        let table = [
            (
                format!("{event}/replay"),
                json!({ "as": "new" }),
                ("/admin/api/events?limit=200", "events"),
            ),
            (
                "/admin/api/tokens".to_owned(),
                json!({ "label": key, "scope": "read" }),
                ("/admin/api/tokens?limit=200", "tokens"),
            ),
            (
                "/api/integrations/notify".to_owned(),
                json!({ "channel": "slack", "message": key }),
                ("/api/integrations/notifications", "notifications"),
            ),
            (
                format!("{cron}/run"),
                json!({}),
                (&format!("{cron}/history?limit=200"), "firings"),
            ),
        ];
        for (path, body, (listing, list)) in &table {
            let before = count(listing, list).await;
            let one = || house.app.post_with(path, Some(&house.token), &keyed, body);
            let answers = futures_util::future::join_all([one(), one(), one(), one()]).await;
            assert_eq!(count(listing, list).await, before + 1, "{path} acted more than once");
            assert!(answers.iter().any(|answer| answer.status < 300), "{path}: {answers:?}");
            for answer in &answers {
                let late = answer.status == 409 && in_shape(answer).is_ok();
                assert!(answer.status < 300 || late, "{path}: {} {}", answer.status, answer.text);
            }
            // Afterwards it is answered as the one that acted was.
            let again = one().await;
            assert!(again.status < 300, "{path}: {}", again.text);
            assert_eq!(count(listing, list).await, before + 1, "{path}");
        }
    }
    house.app.finish().await;
}

#[actix::test]
async fn two_who_replay_an_event_at_once_get_one_each_as_new_and_none_as_the_same() {
    let house = Full::start().await;
    let path = format!("{}/replay", house.real("/admin/api/events/{id}"));
    let ask = |wish: &'static str| {
        let (house, path) = (&house, &path);
        async move { house.app.post(path, Some(&house.token), &json!({ "as": wish })).await }
    };
    let same = futures_util::future::join_all([ask("same"), ask("same")]).await;
    for answer in &same {
        assert_eq!(answer.status, 409, "{}", answer.text);
        in_shape(answer).expect("words");
    }
    let fresh = futures_util::future::join_all([ask("new"), ask("new")]).await;
    let ids: BTreeSet<String> = fresh.iter().map(|answer| answer.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 2, "{fresh:?}");
    house.app.settle().await;
    assert_eq!(house.app.events().await.len(), 3);
    house.app.finish().await;
}

// ---- others pay nothing ----------------------------------------------------------------------------------------------

#[actix::test]
async fn whoever_guesses_passwords_costs_nobody_else_a_refusal() {
    let settings = "server: {trusted_proxies: [127.0.0.1]}";
    let app = TestApp::start_with(&[("ADMIN_SECRET", KEY)], settings).await;
    let admin = token("t-works");
    let from = async |address: &str, password: &str| {
        let headers = [("x-forwarded-for", address)];
        app.post_with("/admin/api/login", None, &headers, &json!({ "password": password }))
            .await
            .status
    };
    for _ in 0..10 {
        assert_eq!(from("198.51.100.1", "guess").await, 401);
    }
    for _ in 0..300 {
        assert_eq!(
            from("198.51.100.1", "guess").await,
            429,
            "a guesser is not heard any more"
        );
    }
    // What is refused counts for nobody: neither those who have a token nor those who come with the password.
    assert_eq!(app.get("/admin/api/stats", Some(&admin)).await.status, 200);
    assert_eq!(app.get("/health", None).await.status, 200);
    assert_eq!(from("198.51.100.1", crate::support::app::PASSWORD).await, 429);
    for last in 2..20 {
        assert_eq!(
            from(&format!("198.51.100.{last}"), crate::support::app::PASSWORD).await,
            200
        );
    }
    let lines = app
        .get("/admin/api/audit?action=login&limit=200", Some(&admin))
        .await
        .json();
    let refused = lines["audit"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|line| line["result"] != "ok");
    assert!(refused.count() <= 21, "a flood does not fill the log");
    app.finish_quietly().await;
}
