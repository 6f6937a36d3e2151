//! The integrations as their users meet them: over HTTP, over MCP, from the command line, and two processes at one file.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::app::{PASSWORD, TestApp};
use crate::support::payloads::issue;
use crate::support::process::firstlight;
use crate::support::receiver::{Does, Got, Receiver};

/// What a tool answered, or the words of its refusal.
type Said = Result<Value, String>;

/// An app that may deliver to this machine.
async fn app() -> TestApp {
    TestApp::start_with(&[], "outbound:\n  allow: [127.0.0.0/8]\n").await
}

// ---- the contract, whatever the way ----

/// Every row of the contract's table of tools. `call` is the way to a tool.
async fn holds_the_contract(call: &mut dyn AsyncCall, receiver: &Receiver) {
    let port = receiver.port();
    let url = format!("http://127.0.0.1:{port}/hook");

    let state = call.call("integrations_state", json!({})).await.expect("state");
    assert_eq!(state["version"], 1);
    assert_eq!(state["webhooks"], json!([]));
    assert_eq!(
        state["git_auto_commit"],
        json!({ "enabled": false, "on_events": ["session.end", "roadmap.exported", "task.sync"] })
    );
    assert_eq!(state["notifications"], json!([]));

    let made = call
        .call(
            "integration_webhook_register",
            json!({ "url": url, "secret": "hush-hush" }),
        )
        .await
        .expect("registered");
    assert_eq!(made["created"], true);
    assert_eq!(made["webhook"]["has_secret"], true);
    let keys: Vec<_> = made["webhook"]
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["id", "url", "events", "has_secret", "created_at", "updated_at"]);
    let upper = format!("HTTP://127.0.0.1:{port}/hook");
    let again = call
        .call(
            "integration_webhook_register",
            json!({ "url": upper, "events": ["task.completed"] }),
        )
        .await
        .expect("updated");
    assert_eq!(again["created"], false);
    assert_eq!(again["webhook"]["id"], made["webhook"]["id"]);
    assert_eq!(again["webhook"]["created_at"], made["webhook"]["created_at"]);
    assert_eq!(again["webhook"]["has_secret"], true, "an omitted secret stays");

    let list = call.call("integration_webhook_list", json!({})).await.expect("listed");
    assert_eq!(list, json!([again["webhook"]]));

    let emitted = call
        .call(
            "integration_emit_event",
            json!({ "eventName": "task.completed", "payload": { "task": 7 } }),
        )
        .await
        .expect("emitted");
    assert_eq!(
        (&emitted["sent"], &emitted["failed"], &emitted["skipped"]),
        (&json!(1), &json!(0), &json!(0))
    );
    let row = &emitted["deliveries"][0];
    assert_eq!((&row["status"], &row["attempts"]), (&json!("delivered"), &json!(1)));
    assert_eq!(row["webhook_id"], made["webhook"]["id"]);
    let got = nth(receiver, 1).await;
    let body: Value = serde_json::from_slice(&got.body).expect("JSON");
    let keys: Vec<_> = body.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["id", "event", "timestamp", "payload"]);
    assert_eq!(
        (&body["event"], &body["payload"]),
        (&json!("task.completed"), &json!({ "task": 7 }))
    );
    assert_eq!(got.headers["x-ams-signature"], hmac(b"hush-hush", &got.body));
    assert_eq!(got.headers["x-firstlight-event"], "task.completed");
    assert_eq!(
        got.headers["x-firstlight-delivery"],
        row["delivery_id"].as_str().expect("an id")
    );
    let skipped = call
        .call("integration_emit_event", json!({ "eventName": "session.start" }))
        .await
        .expect("emitted");
    assert_eq!((&skipped["sent"], &skipped["skipped"]), (&json!(0), &json!(1)));

    let notify = format!("http://127.0.0.1:{port}/slack");
    let told = call
        .call(
            "integration_notify",
            json!({ "channel": "slack", "message": "a < b", "webhook_url": notify, "priority": "high" }),
        )
        .await
        .expect("told");
    for (key, value) in [
        ("success", json!(true)),
        ("delivered", json!(true)),
        ("channel", json!("slack")),
        ("priority", json!("high")),
    ] {
        assert_eq!(told[key], value, "{told}");
    }
    let got = nth(receiver, 2).await;
    let body: Value = serde_json::from_slice(&got.body).expect("JSON");
    assert_eq!(body, json!({ "text": "a &lt; b", "attachments": [] }));
    let stored = call
        .call("integration_notify", json!({ "channel": "email", "message": "stored" }))
        .await
        .expect("stored");
    assert_eq!(
        (&stored["success"], &stored["delivered"], &stored["delivery"]),
        (&json!(true), &json!(false), &json!(null))
    );
    let state = call.call("integrations_state", json!({})).await.expect("state");
    let kept: Vec<_> = state["notifications"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|kept| kept["delivered"].clone())
        .collect();
    assert_eq!(kept, [json!(true), json!(false)]);
    assert!(
        !state.to_string().contains("hush") && !state.to_string().contains("/slack"),
        "{state}"
    );

    let git = call
        .call("integration_git_auto_commit_get", json!({}))
        .await
        .expect("read");
    assert_eq!(git["enabled"], false);
    let git = call
        .call("integration_git_auto_commit_set", json!({ "on_events": ["error"] }))
        .await
        .expect("set");
    assert_eq!(git, json!({ "enabled": false, "on_events": ["error"] }));

    for (tool, args, words) in [
        (
            "integration_webhook_register",
            json!({ "url": "ftp://a" }),
            "url: must be an http or https URL",
        ),
        (
            "integration_webhook_register",
            json!({ "url": url, "events": ["task.done"] }),
            "events: unknown event \"task.done\"",
        ),
        (
            "integration_webhook_register",
            json!({ "url": url, "secret": "x".repeat(1 << 20) }),
            "secret: must have at most 1024 bytes",
        ),
        (
            "integration_emit_event",
            json!({ "eventName": "nonsense" }),
            "known are session.start, session.end",
        ),
        (
            "integration_notify",
            json!({ "channel": "pager", "message": "m" }),
            "known are slack, discord, email, webhook",
        ),
        (
            "integration_notify",
            json!({ "channel": "slack", "message": "m", "retry_count": -1 }),
            "retry_count: must be 0 to 10",
        ),
        (
            "integration_notify",
            json!({ "channel": "slack", "message": "m", "priority": "asap" }),
            "priority: \"asap\" is unknown",
        ),
        (
            "integration_notify",
            json!({ "channel": "slack", "message": "" }),
            "message",
        ),
        (
            "integration_notify",
            json!({ "channel": "slack", "message": "m", "timeout_ms": 0.5 }),
            "timeout_ms: must be 100 to 30000",
        ),
        (
            "integration_emit_event",
            json!({ "eventName": "error", "payload": { "text": "x".repeat(1_500_000) } }),
            "at most 1048576",
        ),
        ("integration_webhook_delete", json!({}), "webhookId"),
    ] {
        let refused = call.call(tool, args).await.expect_err(tool);
        assert!(refused.contains(words) && refused.len() < 600, "{tool}: {refused}");
    }

    let id = &made["webhook"]["id"];
    for removed in [true, false] {
        let deleted = call
            .call("integration_webhook_delete", json!({ "webhookId": id }))
            .await
            .expect("answered");
        assert_eq!(deleted, json!({ "removed": removed, "webhook_id": id }));
    }
}

/// The nth request, from 1.
async fn nth(receiver: &Receiver, nth: usize) -> Got {
    receiver.until(|receiver| receiver.got().len() >= nth).await;
    receiver.got().remove(nth - 1)
}

fn hmac(secret: &[u8], body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A way to a tool.
trait AsyncCall {
    fn call<'a>(&'a mut self, tool: &'a str, args: Value) -> std::pin::Pin<Box<dyn Future<Output = Said> + 'a>>;
}

/// REST, as `curl` would speak it.
struct OverHttp<'a> {
    app: &'a TestApp,
    token: String,
}

impl AsyncCall for OverHttp<'_> {
    fn call<'a>(&'a mut self, tool: &'a str, args: Value) -> std::pin::Pin<Box<dyn Future<Output = Said> + 'a>> {
        Box::pin(async move {
            let id = args["webhookId"].as_str().unwrap_or_default();
            let (method, path) = match tool {
                "integrations_state" => ("GET", "/state".to_owned()),
                "integration_webhook_list" => ("GET", "/webhooks".to_owned()),
                "integration_webhook_register" => ("POST", "/webhooks".to_owned()),
                "integration_webhook_delete" if id.is_empty() => ("POST", format!("/tools/{tool}")),
                "integration_webhook_delete" => ("DELETE", format!("/webhooks/{id}")),
                "integration_git_auto_commit_get" => ("GET", "/git-auto-commit".to_owned()),
                "integration_git_auto_commit_set" => ("PUT", "/git-auto-commit".to_owned()),
                "integration_notify" => ("POST", "/notify".to_owned()),
                "integration_emit_event" => ("POST", "/emit".to_owned()),
                other => ("POST", format!("/tools/{other}")),
            };
            let path = format!("/api/integrations{path}");
            let body = (method == "POST" || method == "PUT").then_some(args);
            let answer = self.app.ask(method, &path, Some(&self.token), &[], body.as_ref()).await;
            if answer.status == 200 {
                Ok(answer.json())
            } else {
                assert_eq!(answer.status, 400, "{}", answer.text);
                Err(answer.json()["error"].as_str().expect("words").to_owned())
            }
        })
    }
}

/// MCP over streamable HTTP, written out by hand.
struct OverMcp<'a> {
    app: &'a TestApp,
    token: String,
    session: String,
    next: u64,
    answers: Answers,
}

impl<'a> OverMcp<'a> {
    async fn open(app: &'a TestApp, token: &str) -> Self {
        let mut session = Self {
            app,
            token: token.to_owned(),
            session: String::new(),
            next: 0,
            answers: Answers::default(),
        };
        let hello = session
            .request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "tests", "version": "1" } }))
            .await;
        assert_eq!(hello["result"]["serverInfo"]["name"], "firstlight", "{hello}");
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = session.post(&note).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        session.answers = Answers::of(&session.request("tools/list", json!({})).await);
        session
    }

    async fn post(&self, message: &Value) -> crate::support::app::Answer {
        let mut headers = vec![
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-06-18"),
        ];
        if !self.session.is_empty() {
            headers.push(("mcp-session-id", &self.session));
        }
        self.app
            .ask("POST", "/mcp", Some(&self.token), &headers, Some(message))
            .await
    }

    async fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let message = json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params });
        let answer = self.post(&message).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        if let Some(session) = answer.headers.get("mcp-session-id") {
            self.session.clone_from(session);
        }
        let text = answer
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim)
            .rfind(|data| !data.is_empty())
            .unwrap_or(&answer.text)
            .to_owned();
        let said: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", answer.text));
        assert_eq!(said["id"], self.next);
        said
    }
}

/// What each tool says that it answers: its output schema, by its name.
#[derive(Default)]
struct Answers(std::collections::BTreeMap<String, Value>);

impl Answers {
    fn of(listed: &Value) -> Self {
        let tools = listed["result"]["tools"].as_array().expect("a list");
        let schemas = tools.iter().map(|tool| {
            let schema = tool["outputSchema"].clone();
            assert_eq!(schema["type"], "object", "{tool}");
            (tool["name"].as_str().expect("a name").to_owned(), schema)
        });
        Self(schemas.collect())
    }

    fn hold(&self, tool: &str, answer: &Value) {
        let structured = &answer["result"]["structuredContent"];
        if !structured.is_null() {
            conforms(tool, &self.0[tool], structured);
        }
    }
}

/// Holds a value against those words of JSON Schema that the tools use.
fn conforms(at: &str, schema: &Value, value: &Value) {
    if let Some(any) = schema["anyOf"].as_array() {
        let null = any.iter().any(|one| one["type"] == "null");
        let shape = any.iter().find(|one| one["type"] != "null").expect("a shape");
        if !(null && value.is_null()) {
            conforms(at, shape, value);
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = schema["type"] == kind
        || schema["type"]
            .as_array()
            .is_some_and(|kinds| kinds.contains(&json!(kind)));
    assert!(fits, "{at} is {value}, and should be {schema}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(
            allowed.contains(value),
            "{at} is {value}, and should be one of {allowed:?}"
        );
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        let key = key.as_str().expect("a name");
        assert!(value.get(key).is_some(), "{at} has no {key}: {value}");
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(key) {
            conforms(&format!("{at}.{key}"), property, value);
        }
    }
    for one in value.as_array().into_iter().flatten() {
        conforms(&format!("{at}[]"), &schema["items"], one);
    }
}

/// What a tool result says; a protocol error is none.
fn tool_said(answer: &Value) -> Said {
    let result = &answer["result"];
    assert!(result.is_object(), "a protocol error: {answer}");
    let text = result["content"][0]["text"].as_str().expect("a text");
    if result["isError"] == true {
        return Err(text.to_owned());
    }
    let structured = &result["structuredContent"];
    let said: Value = serde_json::from_str(text).expect("the text is the answer's JSON");
    let same = if said.is_array() {
        &structured["result"]
    } else {
        structured
    };
    assert_eq!(&said, same, "text and structure say the same");
    Ok(said)
}

impl AsyncCall for OverMcp<'_> {
    fn call<'a>(&'a mut self, tool: &'a str, args: Value) -> std::pin::Pin<Box<dyn Future<Output = Said> + 'a>> {
        Box::pin(async move {
            let answer = self
                .request("tools/call", json!({ "name": tool, "arguments": args }))
                .await;
            self.answers.hold(tool, &answer);
            tool_said(&answer)
        })
    }
}

/// `firstlight mcp` as a child: lines of JSON.
struct OverStdio {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    next: u64,
}

impl OverStdio {
    fn start(folder: &Path, env: &[(&str, &str)]) -> Self {
        let mut child = firstlight()
            .args(["mcp", "--state-dir"])
            .arg(folder.join("state"))
            .current_dir(folder)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let mut stdio = Self {
            child,
            to,
            from,
            next: 0,
        };
        let hello = stdio.request(
            "initialize",
            json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "tests", "version": "1" } }),
        );
        assert_eq!(hello["result"]["serverInfo"]["name"], "firstlight", "{hello}");
        stdio.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        stdio
    }

    fn say(&mut self, message: &Value) {
        let to = self.to.as_mut().expect("open");
        writeln!(to, "{message}").expect("it listens");
        to.flush().expect("it listens");
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let said = self.hear();
        assert_eq!(said["id"], id);
        said
    }

    /// Asks, and waits for no answer; the id of the request.
    fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        self.say(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        self.next
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not the protocol: {line:?}"))
    }

    fn tool(&mut self, tool: &str, args: Value) -> Said {
        tool_said(&self.request("tools/call", json!({ "name": tool, "arguments": args })))
    }

    /// Closes its input and waits for its end.
    fn end(mut self) {
        drop(self.to.take());
        let status = self.child.wait().expect("it was ours");
        assert!(status.success(), "{status}");
    }
}

// ---- the ways ----

#[actix_rt::test]
async fn every_tool_keeps_the_contract_over_http() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let token = app.login().await;
    holds_the_contract(&mut OverHttp { app: &app, token }, &receiver).await;
    app.finish().await;
}

#[actix_rt::test]
async fn every_tool_keeps_the_contract_over_mcp() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let token = app.login().await;
    let mut mcp = OverMcp::open(&app, &token).await;
    holds_the_contract(&mut mcp, &receiver).await;
    app.finish().await;
}

/// Calls block the thread, so they are made from another one while the receiver and the service work here.
struct Elsewhere(std::sync::Arc<std::sync::Mutex<OverStdio>>);

impl AsyncCall for Elsewhere {
    fn call<'a>(&'a mut self, tool: &'a str, args: Value) -> std::pin::Pin<Box<dyn Future<Output = Said> + 'a>> {
        let (stdio, tool) = (self.0.clone(), tool.to_owned());
        Box::pin(async move {
            tokio::task::spawn_blocking(move || stdio.lock().expect("not poisoned").tool(&tool, args))
                .await
                .expect("no panic")
        })
    }
}

async fn over_stdio(folder: std::path::PathBuf, env: Vec<(&'static str, String)>, receiver: &Receiver) {
    let started = tokio::task::spawn_blocking(move || {
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        OverStdio::start(&folder, &env)
    });
    let stdio = std::sync::Arc::new(std::sync::Mutex::new(started.await.expect("started")));
    holds_the_contract(&mut Elsewhere(stdio.clone()), receiver).await;
    tokio::task::spawn_blocking(move || {
        let stdio = std::sync::Arc::into_inner(stdio).expect("nobody else has it");
        stdio.into_inner().expect("not poisoned").end();
    })
    .await
    .expect("ended");
}

#[actix_rt::test]
async fn every_tool_keeps_the_contract_over_stdio_beside_a_running_service() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let env = vec![
        ("FIRSTLIGHT_URL", format!("http://{}", app.address())),
        ("FIRSTLIGHT_TOKEN", app.login().await),
    ];
    over_stdio(app.folder().to_owned(), env, &receiver).await;
    app.finish().await;
}

#[actix_rt::test]
async fn every_tool_keeps_the_contract_over_stdio_without_a_service() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start().await);
    std::fs::write(
        folder.path().join("firstlight.yaml"),
        "outbound:\n  allow: [127.0.0.0/8]\n",
    )
    .expect("written");
    // A port where nobody listens.
    let env = vec![("FIRSTLIGHT_URL", "http://127.0.0.1:9".to_owned())];
    over_stdio(folder.path().to_owned(), env, &receiver).await;
}

#[actix_rt::test]
async fn a_call_that_takes_long_holds_up_no_other() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start().await);
    std::fs::write(
        folder.path().join("firstlight.yaml"),
        "outbound:\n  allow: [127.0.0.0/8]\n",
    )
    .expect("written");
    receiver.at("/slow", vec![Does::Hangs]);
    let (path, url) = (folder.path().to_owned(), receiver.url("/slow"));
    let asking = receiver.clone();
    let calls = tokio::task::spawn_blocking(move || {
        let mut stdio = OverStdio::start(&path, &[("FIRSTLIGHT_URL", "http://127.0.0.1:9")]);
        let slow =
            json!({ "channel": "slack", "message": "m", "webhook_url": url, "timeout_ms": 1_000, "retry_count": 0 });
        let slow = stdio.ask("tools/call", json!({ "name": "integration_notify", "arguments": slow }));
        (stdio, slow)
    });
    let (mut stdio, slow) = calls.await.expect("no panic");
    asking.until(|receiver| !receiver.got_at("/slow").is_empty()).await;
    tokio::task::spawn_blocking(move || {
        let quick = json!({ "name": "integration_webhook_list", "arguments": {} });
        let quick = stdio.ask("tools/call", quick);
        assert_eq!(stdio.hear()["id"], quick);
        let told = stdio.hear();
        assert_eq!(told["id"], slow);
        let told = tool_said(&told).expect("told");
        assert_eq!(
            (&told["delivered"], &told["delivery"]["attempts"]),
            (&json!(false), &json!(1))
        );
        stdio.end();
    })
    .await
    .expect("no panic");
}

#[actix_rt::test]
async fn a_lock_that_another_process_holds_is_said_after_five_seconds_and_loses_nothing() {
    let app = app().await;
    let token = app.login().await;
    let url = |n: u32| json!({ "url": format!("http://127.0.0.1/{n}") });
    let made = app.post("/api/integrations/webhooks", Some(&token), &url(1)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let lock = std::fs::File::options()
        .write(true)
        .open(app.folder().join("state/state/integrations.json.lock"))
        .expect("it is never deleted");
    lock.lock().expect("nobody is writing");
    let mut mcp = OverMcp::open(&app, &token).await;
    // Both wait at the same time; what is only read waits for nobody.
    let two = url(2);
    let (over_http, over_mcp) = futures_util::join!(
        app.post("/api/integrations/webhooks", Some(&token), &two),
        mcp.call("integration_webhook_register", url(3))
    );
    assert_eq!(over_http.status, 503, "{}", over_http.text);
    assert!(over_http.headers.contains_key("retry-after"), "{:?}", over_http.headers);
    for words in [
        over_http.json()["error"].as_str().expect("words"),
        &over_mcp.expect_err("refused"),
    ] {
        assert!(
            words.contains("integrations.json.lock") && words.contains("5000 ms"),
            "{words}"
        );
    }
    lock.unlock().expect("it was ours");
    let made = app.post("/api/integrations/webhooks", Some(&token), &url(2)).await;
    assert_eq!(made.json()["created"], true, "{}", made.text);
    let list = app.get("/api/integrations/webhooks", Some(&token)).await.json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    app.finish().await;
}

#[actix_rt::test]
async fn tools_over_stdio_speak_of_their_own_state_folder_and_not_of_another_service() {
    let (app, folder) = (app().await, tempfile::tempdir().expect("a folder"));
    app.accept("issues", &issue("opened", 1, "It broke")).await;
    app.settle().await;
    let (ours, other) = (app.folder().to_owned(), folder.path().to_owned());
    let (base, token) = (format!("http://{}", app.address()), app.login().await);
    let there = tokio::task::spawn_blocking(move || {
        let runs = |folder: &Path, base: &str| {
            let mut stdio = OverStdio::start(folder, &[("FIRSTLIGHT_URL", base), ("FIRSTLIGHT_TOKEN", &token)]);
            let runs = stdio.tool("runs_list", json!({}));
            stdio.end();
            runs
        };
        // The folder that the service has; another one; and the first when its service cannot be asked.
        [
            runs(&ours, &base),
            runs(&other, &base),
            runs(&ours, "http://127.0.0.1:9"),
        ]
    });
    let [ours, other, unasked] = there.await.expect("no panic");
    assert_eq!(ours.expect("asked of the service")["total"], 1);
    assert_eq!(other.expect("looked up alone")["total"], 0);
    let words = unasked.expect_err("held and not served");
    for part in ["serves the state folder", "server not running at http://127.0.0.1:9"] {
        assert!(words.contains(part), "{words}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn a_client_that_listens_does_not_hold_up_the_end_of_the_service() {
    let app = app().await;
    let mcp = OverMcp::open(&app, &app.login().await).await;
    let stream = awc::Client::builder()
        .disable_timeout()
        .finish()
        .get(format!("http://{}/mcp", app.address()))
        .insert_header(("accept", "text/event-stream"))
        .insert_header(("authorization", format!("Bearer {}", mcp.token)))
        .insert_header(("mcp-session-id", mcp.session.as_str()))
        .insert_header(("mcp-protocol-version", "2025-06-18"))
        .send()
        .await
        .expect("the server answers");
    assert_eq!(stream.status(), 200);
    drop(mcp);
    // Requests in flight have twenty seconds to come to their end; this one would never do so by itself.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), app.finish_quietly()).await;
    assert!(ended.is_ok(), "the service waits for a stream that has no end");
    drop(stream);
}

// ---- who may ----

#[actix_rt::test]
async fn agents_see_the_tools_with_schemas_and_hints_and_unknown_ones_are_protocol_errors() {
    let app = app().await;
    let mut mcp = OverMcp::open(&app, &app.login().await).await;
    let listed = mcp.request("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().expect("a list").clone();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names[..8],
        [
            "integrations_state",
            "integration_webhook_list",
            "integration_webhook_register",
            "integration_webhook_delete",
            "integration_git_auto_commit_get",
            "integration_git_auto_commit_set",
            "integration_notify",
            "integration_emit_event"
        ]
    );
    for tool in &tools {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
    }
    assert_eq!(
        tools[6]["inputSchema"]["properties"]["channel"]["enum"],
        json!(["slack", "discord", "email", "webhook"])
    );
    assert_eq!(tools[0]["annotations"]["readOnlyHint"], true);
    assert_eq!(tools[3]["annotations"]["destructiveHint"], true);
    let unknown = mcp
        .request("tools/call", json!({ "name": "rm", "arguments": {} }))
        .await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    for tool in ["runs_list", "events_list", "approvals_list", "deliveries_list"] {
        mcp.call(tool, json!({ "limit": 5 })).await.expect(tool);
    }
    let refused = mcp
        .call("run_get", json!({ "id": "nobody" }))
        .await
        .expect_err("there is none");
    assert!(refused.contains("there is no run"), "{refused}");
    app.finish().await;
}

#[actix_rt::test]
async fn a_run_is_started_and_a_question_answered_by_tools() {
    let app = app().await;
    let mut mcp = OverMcp::open(&app, &app.login().await).await;
    let started = mcp
        .call(
            "workflow_run",
            json!({ "workflow": "repo-health", "context": { "repo": "acme/site" } }),
        )
        .await
        .expect("started");
    let id = started["executionIds"][0].as_str().expect("an id").to_owned();
    app.settle().await;
    let run = mcp.call("run_get", json!({ "id": id })).await.expect("there");
    assert_eq!(run["run"]["status"], "succeeded", "{run}");
    let refused = mcp
        .call("workflow_run", json!({ "workflow": "repo-helth" }))
        .await
        .expect_err("unknown");
    assert!(refused.contains("repo-health"), "{refused}");
    let listed = mcp.call("crons_list", json!({})).await.expect("there");
    let crons = listed["crons"].as_array().expect("a list").clone();
    let name = crons[0]["name"].as_str().expect("shipped schedules").to_owned();
    let fired = mcp.call("cron_run", json!({ "cron": name })).await.expect("fired");
    assert!(fired["firing"].as_u64().is_some_and(|number| number > 0), "{fired}");
    app.settle().await;
    let refused = mcp
        .call("cron_run", json!({ "cron": "weekly" }))
        .await
        .expect_err("unknown");
    assert!(refused.contains(&name), "{refused}");
    let refused = mcp
        .call(
            "approval_respond",
            json!({ "approvalId": "nobody", "decision": "approved" }),
        )
        .await
        .expect_err("unknown");
    assert_eq!(refused, "approval not found");
    app.finish().await;
}

#[actix_rt::test]
async fn what_the_reading_tools_answer_is_as_their_schemas_say() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let mut mcp = OverMcp::open(&app, &app.login().await).await;
    app.github.opens_issue("acme/site", "It broke", "");
    let event = app.accept("issues", &issue("opened", 1, "It broke")).await;
    mcp.call("integration_webhook_register", json!({ "url": receiver.url("/hook") }))
        .await
        .expect("registered");
    mcp.call("integration_emit_event", json!({ "eventName": "error" }))
        .await
        .expect("emitted");
    app.settle().await;
    // Each answer is held against its schema on the way.
    let mut rows = async |tool: &str, list: &str| {
        let page = mcp.call(tool, json!({ "limit": 1 })).await.expect(tool);
        assert_eq!(page[list].as_array().map(Vec::len), Some(1), "{tool}: {page}");
        page[list][0]["id"].as_str().expect("an id").to_owned()
    };
    assert_eq!(rows("events_list", "events").await, event);
    let run = rows("runs_list", "runs").await;
    let delivery = rows("deliveries_list", "deliveries").await;
    let run = mcp.call("run_get", json!({ "id": run })).await.expect("there");
    assert!(
        run["phases"].as_array().is_some_and(|phases| !phases.is_empty()),
        "{run}"
    );
    let delivery = mcp
        .call("delivery_get", json!({ "id": delivery }))
        .await
        .expect("there");
    let attempts = delivery["delivery"]["attemptLog"].as_array().map(Vec::len);
    assert_eq!(attempts, Some(1), "{delivery}");
    app.finish().await;
}

#[actix_rt::test]
async fn a_token_that_may_only_look_changes_nothing() {
    let app = app().await;
    let answer = app
        .post(
            "/admin/api/login",
            None,
            &json!({ "password": PASSWORD, "scope": "read" }),
        )
        .await;
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let listed = app.get("/api/integrations/webhooks", Some(&token)).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    let wish = json!({ "url": "http://127.0.0.1:9/" });
    let refused = app.post("/api/integrations/webhooks", Some(&token), &wish).await;
    assert_eq!(
        (refused.status, refused.json()["error"].as_str().is_some()),
        (403, true),
        "{}",
        refused.text
    );
    let mut mcp = OverMcp::open(&app, &token).await;
    mcp.call("integration_webhook_list", json!({})).await.expect("a look");
    let refused = mcp
        .call("integration_webhook_register", wish)
        .await
        .expect_err("a change");
    assert_eq!(
        refused,
        "integration_webhook_register needs a token of scope operate; this one has read"
    );
    // It is the token of each call that counts, not the one that the session began with.
    let mut lent = OverMcp::open(&app, &app.login().await).await;
    lent.token.clone_from(&token);
    let wish = json!({ "url": "http://127.0.0.1:9/" });
    lent.call("integration_webhook_register", wish.clone())
        .await
        .expect_err("a change");
    let by_name = async |tool: &str, wish: &Value| {
        app.post(&format!("/api/integrations/tools/{tool}"), Some(&token), wish)
            .await
    };
    assert_eq!(by_name("runs_list", &json!({})).await.status, 200);
    assert_eq!(by_name("integration_webhook_register", &wish).await.status, 403);
    assert_eq!(
        app.get("/api/integrations/webhooks", Some(&token)).await.json(),
        json!([])
    );
    let unknown = app
        .post(
            "/admin/api/login",
            None,
            &json!({ "password": PASSWORD, "scope": "root" }),
        )
        .await;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    app.finish().await;
}

#[actix_rt::test]
async fn strangers_foreign_hosts_and_foreign_pages_do_not_reach_the_tools() {
    let app = TestApp::start_with(&[("PUBLIC_URL", "https://bot.example.com/light")], "").await;
    let token = app.login().await;
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "tests", "version": "1" } } });
    let accept = ("accept", "application/json, text/event-stream");
    let stranger = app.ask("POST", "/mcp", None, &[accept], Some(&hello)).await;
    assert_eq!(stranger.status, 401, "{}", stranger.text);
    let forged = app.ask("POST", "/mcp", Some("a.b"), &[accept], Some(&hello)).await;
    assert_eq!(forged.status, 401, "{}", forged.text);
    for foreign in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let answer = app
            .ask("POST", "/mcp", Some(&token), &[accept, foreign], Some(&hello))
            .await;
        assert_eq!(answer.status, 403, "{foreign:?}: {}", answer.text);
    }
    for ours in [
        accept,
        ("host", "bot.example.com"),
        ("origin", "https://bot.example.com"),
    ] {
        let answer = app
            .ask("POST", "/mcp", Some(&token), &[accept, ours], Some(&hello))
            .await;
        assert_eq!(answer.status, 200, "{ours:?}: {}", answer.text);
    }
    for path in ["/api/integrations/state", "/api/integrations/webhooks", "/metrics"] {
        assert_eq!(app.get(path, None).await.status, 401, "{path}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn sessions_are_bounded_and_one_that_is_closed_makes_room() {
    const MOST: usize = 1_000;
    let app = app().await;
    let mut mcp = OverMcp::open(&app, &app.login().await).await;
    let ours = mcp.session.clone();
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "tests", "version": "1" } });
    for _ in 1..MOST {
        mcp.session.clear();
        mcp.request("initialize", hello.clone()).await;
    }
    mcp.session.clear();
    let one_more = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello });
    let refused = mcp.post(&one_more).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    // Those that there are go on.
    mcp.session.clone_from(&ours);
    mcp.call("integration_webhook_list", json!({})).await.expect("listed");
    let headers = [
        ("mcp-session-id", ours.as_str()),
        ("mcp-protocol-version", "2025-06-18"),
    ];
    let closed = app.ask("DELETE", "/mcp", Some(&mcp.token), &headers, None).await;
    assert!((200..300).contains(&closed.status), "{} {}", closed.status, closed.text);
    mcp.session.clear();
    assert_eq!(mcp.post(&one_more).await.status, 200);
    app.finish().await;
}

// ---- what is beside the eight tools ----

#[actix_rt::test]
async fn a_call_of_another_tool_is_an_event_where_the_seed_says_so_and_is_committed() {
    let repository = tempfile::tempdir().expect("a folder");
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git")
            .arg("-C")
            .arg(repository.path())
            .args(args)
            .output()
            .expect("git runs");
        assert!(
            done.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).expect("UTF-8")
    };
    git(&["init", "-q", "-b", "main"]);
    std::fs::write(repository.path().join("tasks.md"), "one").expect("written");
    let settings = format!(
        "outbound:\n  allow: [127.0.0.0/8]\ngit_auto_commit:\n  repository: {}\n",
        repository.path().display()
    );
    let app = TestApp::start_with(&[], &settings).await;
    let receiver = Receiver::start().await;
    let token = app.login().await;
    let url = format!("http://127.0.0.1:{}/", receiver.port());
    app.post("/api/integrations/webhooks", Some(&token), &json!({ "url": url }))
        .await;
    let enable = json!({ "enabled": true });
    let set = app
        .ask(
            "PUT",
            "/api/integrations/git-auto-commit",
            Some(&token),
            &[],
            Some(&enable),
        )
        .await;
    assert_eq!(
        set.json()["on_events"],
        json!(["session.end", "roadmap.exported", "task.sync"])
    );

    let say = async |tool: &str, args: Value| {
        let call = json!({ "tool": tool, "args": args, "result": { "success": true } });
        app.post("/api/integrations/tool-calls", Some(&token), &call)
            .await
            .json()
    };
    assert_eq!(say("something_else", json!({})).await, json!({ "event": null }));
    assert_eq!(
        say("task_update", json!({ "status": "open" })).await,
        json!({ "event": null })
    );
    let done = say("task_update", json!({ "status": "done" })).await;
    assert_eq!(
        (&done["event"], &done["emitted"]["sent"]),
        (&json!("task.completed"), &json!(1))
    );
    let synced = say("task_sync_to_gsd", json!({})).await;
    assert_eq!(
        (&synced["event"], &synced["emitted"]["sent"]),
        (&json!("task.sync"), &json!(1))
    );
    app.settle().await;
    let log = git(&["log", "--format=%s"]);
    assert_eq!(log.lines().count(), 1, "only task.sync is committed: {log}");
    assert!(log.starts_with("task.sync: "), "{log}");
    let dry = app
        .post("/api/integrations/git-auto-commit/dry-run", Some(&token), &json!({}))
        .await
        .json();
    assert_eq!(
        (&dry["commit"], &dry["reason"]),
        (&json!(null), &json!("nothing changed"))
    );
    app.finish().await;
}

#[actix_rt::test]
async fn an_operator_manages_webhooks_and_deliveries_over_the_api() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let token = app.login().await;
    let url = format!("http://127.0.0.1:{}/hook", receiver.port());
    let made = app
        .post(
            "/api/integrations/webhooks",
            Some(&token),
            &json!({ "url": url, "secret": "old" }),
        )
        .await
        .json();
    let id = made["webhook"]["id"].as_str().expect("an id").to_owned();
    let act = async |what: &str| {
        let path = format!("/api/integrations/webhooks/{id}/{what}");
        app.post(&path, Some(&token), &json!({})).await
    };
    let ping = act("ping").await.json();
    assert_eq!(ping["status"], "delivered", "{ping}");
    let rotated = act("rotate").await.json();
    let secret = rotated["secret"].as_str().expect("the new one, this once");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let rotate = async || {
        let path = format!("/api/integrations/webhooks/{id}/rotate");
        app.post_with(&path, Some(&token), &[("idempotency-key", "turn")], &json!({}))
            .await
            .json()
    };
    let (first, second) = (rotate().await, rotate().await);
    assert!(first["secret"].is_string(), "{first}");
    assert_eq!(
        second,
        json!({ "webhook": first["webhook"], "secret": null }),
        "it is told once"
    );
    assert_eq!(act("disable").await.json()["enabled"], false);
    let emit = json!({ "eventName": "error", "payload": {} });
    let skipped = app.post("/api/integrations/emit", Some(&token), &emit).await.json();
    assert_eq!((&skipped["sent"], &skipped["skipped"]), (&json!(0), &json!(1)));
    assert_eq!(act("enable").await.json()["enabled"], true);
    let key = [("idempotency-key", "once")];
    let first = app
        .post_with("/api/integrations/emit", Some(&token), &key, &emit)
        .await
        .json();
    let second = app
        .post_with("/api/integrations/emit", Some(&token), &key, &emit)
        .await
        .json();
    assert_eq!(first, second, "a repetition under the same key sends nothing");
    let delivery = first["deliveries"][0]["delivery_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let before = receiver.got().len();
    let shown = app.read(&format!("/admin/api/deliveries/{delivery}")).await;
    assert_eq!(
        shown["delivery"]["attemptLog"].as_array().expect("a list").len(),
        1,
        "{shown}"
    );
    assert_eq!(
        app.read("/admin/api/deliveries?state=done").await["deliveries"][0]["id"],
        delivery.as_str()
    );
    let again = app
        .post(
            &format!("/admin/api/deliveries/{delivery}/redeliver"),
            Some(&token),
            &json!({}),
        )
        .await;
    assert_eq!(again.status, 200, "{}", again.text);
    app.settle().await;
    assert_eq!(receiver.got().len(), before + 1, "it went out once more");
    let health = app.read("/api/integrations/webhooks/health").await;
    assert_eq!(health["webhooks"][0]["enabled"], true, "{health}");
    for (path, status) in [
        ("/admin/api/deliveries/nobody", 404),
        ("/admin/api/deliveries?state=lost", 400),
        ("/admin/api/deliveries?limit=0", 400),
        ("/admin/api/deliveries?limit=many", 400),
        ("/admin/api/deliveries?before=noon", 400),
    ] {
        let answer = app.get(path, Some(&token)).await;
        assert_eq!(answer.status, status, "{path}");
        let field = path.split_once('?').and_then(|(_, query)| query.split_once('='));
        let words = answer.json()["error"].as_str().expect("words").to_owned();
        assert!(
            field.is_none_or(|(field, _)| words.starts_with(field)),
            "{path}: {words}"
        );
    }
    let shapeless = app
        .post(
            "/api/integrations/webhooks",
            Some(&token),
            &json!(["http://127.0.0.1/"]),
        )
        .await;
    assert_eq!(shapeless.json()["error"], "the body must be a JSON object");
    assert_eq!(
        app.post("/api/integrations/tools/rm", Some(&token), &json!({}))
            .await
            .status,
        404
    );
    let large = json!({ "eventName": "error", "payload": { "text": "x".repeat(10 << 20) } });
    let refused = app.post("/api/integrations/emit", Some(&token), &large).await;
    assert_eq!(refused.status, 413, "{}", refused.text);
    let numbers = app.get("/metrics", Some(&token)).await;
    for name in [
        "integrations_webhook_registered_total",
        "integrations_delivery_ok_total",
        "integrations_event_emitted_total",
        "integrations_state_write_ms",
        "firstlight_store_commits_total",
    ] {
        assert!(numbers.text.contains(name), "{name}: {}", numbers.text);
    }
    app.finish().await;
}

#[actix_rt::test]
async fn a_state_file_that_somebody_broke_is_told_and_costs_no_webhook() {
    let app = app().await;
    let token = app.login().await;
    let hook = json!({ "url": "http://127.0.0.1/hook" });
    let made = app.post("/api/integrations/webhooks", Some(&token), &hook).await;
    let file = app.folder().join("state/state/integrations.json");
    std::fs::write(&file, "{ \"webhooks\": [").expect("written");
    let state = app.get("/api/integrations/state", Some(&token)).await.json();
    assert_eq!(state["webhooks"], json!([made.json()["webhook"]]));
    let warning = state["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("integrations.json.corrupt-"), "{warning}");
    let name = warning.split(' ').next().expect("a name");
    let aside = file.with_file_name(name);
    assert_eq!(
        std::fs::read_to_string(&aside).expect("it is there"),
        "{ \"webhooks\": ["
    );

    std::fs::remove_file(aside).expect("removed");
    let state = app.get("/api/integrations/state", Some(&token)).await.json();
    assert_eq!(state.get("warnings"), None);
    app.finish().await;
}

#[actix_rt::test]
async fn two_processes_at_one_state_lose_nothing_of_what_they_acknowledged() {
    const EACH: usize = 100;
    let app = app().await;
    let token = app.login().await;
    let folder = app.folder().to_owned();
    let theirs = tokio::task::spawn_blocking(move || {
        let mut stdio = OverStdio::start(&folder, &[]);
        for n in 0..EACH {
            let url = format!("http://127.0.0.1/their/{n}");
            let made = stdio
                .tool("integration_webhook_register", json!({ "url": url }))
                .expect("acknowledged");
            assert_eq!(made["created"], true);
        }
        stdio.end();
    });
    for n in 0..EACH {
        let url = format!("http://127.0.0.1/our/{n}");
        let made = app
            .post("/api/integrations/webhooks", Some(&token), &json!({ "url": url }))
            .await;
        assert_eq!(made.json()["created"], true, "{}", made.text);
    }
    theirs.await.expect("no panic");
    let list = app.get("/api/integrations/webhooks", Some(&token)).await.json();
    assert_eq!(list.as_array().expect("a list").len(), 2 * EACH);
    app.finish().await;
}

#[actix_rt::test]
async fn the_command_line_signs_in_and_does_all_of_it() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let (folder, base) = (app.folder().to_owned(), format!("http://{}", app.address()));
    let port = receiver.port();
    tokio::task::spawn_blocking(move || {
        let run = |args: &[&str], input: &str| {
            let mut child = firstlight()
                .args(args)
                .current_dir(&folder)
                .env("HOME", &folder)
                .env("FIRSTLIGHT_URL", &base)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary starts");
            child
                .stdin
                .take()
                .expect("piped")
                .write_all(input.as_bytes())
                .expect("it listens");
            let done = child.wait_with_output().expect("it ends");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            (done.status.code(), text(&done.stdout), text(&done.stderr))
        };
        let (code, _, words) = run(&["webhooks", "list"], "");
        assert_eq!(code, Some(1));
        assert!(words.contains("sign in with: firstlight login"), "{words}");
        let (code, _, words) = run(&["login"], "wrong\n");
        assert_eq!(code, Some(1), "{words}");
        let (code, words, _) = run(&["login"], &format!("{PASSWORD}\n"));
        assert_eq!(code, Some(0), "{words}");
        let kept = folder.join(".config/firstlight/tokens.json");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).expect("kept").permissions());
        assert_eq!(mode & 0o777, 0o600);

        let (_, words, _) = run(&["webhooks", "list"], "");
        assert!(words.starts_with("no webhooks"), "{words}");
        let url = format!("http://127.0.0.1:{port}/hook");
        let (code, words, problem) = run(
            &["webhooks", "register", &url, "--event", "error", "--secret", "hush"],
            "",
        );
        assert_eq!(code, Some(0), "{problem}");
        let id = words.strip_prefix("registered ").expect("an id").to_owned();
        let (_, table, _) = run(&["webhooks", "list"], "");
        assert!(
            table.contains("ID") && table.contains(&id) && !table.contains("hush"),
            "{table}"
        );
        let (_, list, _) = run(&["webhooks", "list", "--json"], "");
        let list: Value = serde_json::from_str(&list).expect("JSON");
        assert_eq!(list[0]["id"], id.as_str());
        let (_, words, _) = run(&["webhooks", "ping", &id], "");
        assert!(words.starts_with("delivered "), "{words}");
        let (code, words, _) = run(&["emit", "error", "--payload", "{\"n\":1}"], "");
        assert_eq!(code, Some(0));
        assert!(words.starts_with("1 sent, 0 failed, 0 skipped\ndelivered "), "{words}");
        let (_, list, _) = run(&["deliveries", "list", "--json"], "");
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let delivery = list["deliveries"][0]["id"].as_str().expect("an id").to_owned();
        let (_, words, _) = run(&["deliveries", "show", &delivery], "");
        assert!(words.contains("is done") && words.contains("ATTEMPT"), "{words}");
        let (_, words, _) = run(&["notify", "email", "hello"], "");
        assert!(words.starts_with("stored as "), "{words}");
        let (code, _, problem) = run(&["emit", "nonsense"], "");
        assert_eq!(code, Some(1));
        assert!(problem.contains("known are session.start"), "{problem}");
        let (_, words, _) = run(&["webhooks", "delete", &id], "");
        assert_eq!(words, "deleted");
    })
    .await
    .expect("no panic");
    app.finish().await;
}

#[actix_rt::test]
async fn numbers_are_for_everybody_where_the_settings_say_so() {
    let app = TestApp::start_with(&[], "metrics:\n  public: true\n").await;
    let numbers = app.get("/metrics", None).await;
    assert_eq!(numbers.status, 200);
    for line in [
        "# TYPE firstlight_runs_live gauge",
        "# TYPE firstlight_store_commits_total counter",
    ] {
        assert!(numbers.text.contains(line), "{}", numbers.text);
    }
    app.finish().await;
}

#[test]
fn a_server_that_does_not_run_is_said_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let done = firstlight()
        .args(["webhooks", "list"])
        .current_dir(folder.path())
        .env("FIRSTLIGHT_URL", "http://127.0.0.1:9")
        .output()
        .expect("it ends");
    assert_eq!(done.status.code(), Some(1));
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(
        words.contains("server not running at http://127.0.0.1:9; start it with: firstlight serve"),
        "{words}"
    );
}
