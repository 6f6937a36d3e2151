//! A Slack of our own on loopback: the Web API with its memory, and Socket Mode with its moods. Knows no actor and no store.
//!
//! It remembers what it was told and refuses what Slack refuses. People say things through it ([`FakeSlack::says`]); whoever listens on
//! the socket gets them as envelopes and has to acknowledge them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::Message;
use actors::clock::{Clock, SystemClock};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

/// What `SLACK_BOT_TOKEN` has to be.
pub(crate) const BOT_TOKEN: &str = "xoxb-stand-in-bot";
/// What `SLACK_APP_TOKEN` has to be.
pub(crate) const APP_TOKEN: &str = "xapp-stand-in-app";
/// The user id of the bot.
pub(crate) const BOT: &str = "UBOT";
/// The workspace.
pub(crate) const TEAM: &str = "TACME";
/// Stands in the address of every socket: nothing that we write may hold it.
pub(crate) const TICKET: &str = "ticket-of-the-stand-in";
/// How long a test waits for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running stand-in. Stops when it is dropped.
pub(crate) struct FakeSlack {
    url: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

/// A message as Slack has it now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) channel: String,
    pub(crate) ts: String,
    pub(crate) thread: Option<String>,
    /// Id of the user; the bot's for what came through the API.
    pub(crate) user: String,
    pub(crate) text: String,
    pub(crate) blocks: Value,
    pub(crate) metadata: Value,
    /// How often it was changed.
    pub(crate) edits: u32,
    /// Only this user sees it.
    pub(crate) only_for: Option<String>,
}

impl Said {
    /// A message of the bot, for a button that was pressed on it.
    pub(crate) fn of_bot(channel: &str, ts: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            ts: ts.to_owned(),
            thread: None,
            user: BOT.to_owned(),
            text: String::new(),
            blocks: Value::Null,
            metadata: Value::Null,
            edits: 0,
            only_for: None,
        }
    }
}

/// A call of the Web API.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) input: Value,
    pub(crate) answer: Value,
}

/// What one call gets instead of its answer.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// 429 with so many seconds in `Retry-After`.
    RateLimited(u64),
    /// `{"ok": false, "error": …}`; nothing was done.
    Error(&'static str),
    /// This HTTP status, and nothing was done.
    Status(u16),
    /// Does what was asked and closes the connection without a word.
    Swallow,
}

#[derive(Debug, Clone)]
enum Frame {
    Text(String),
    Hang,
    Close,
}

struct Shared {
    url: Mutex<String>,
    state: Mutex<State>,
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    messages: Vec<Said>,
    reactions: BTreeSet<(String, String, String)>,
    /// Status of a thread, by channel and ts; empty: none.
    statuses: BTreeMap<(String, String), Vec<String>>,
    users: BTreeMap<String, String>,
    calls: Vec<Call>,
    /// What came to a `response_url`.
    responses: Vec<Value>,
    mishaps: VecDeque<(String, Mishap)>,
    sockets: Vec<(u64, mpsc::UnboundedSender<Frame>)>,
    sockets_ever: u64,
    acks: Vec<Value>,
    next: u64,
    refuses_tokens: bool,
    deaf_to_sockets: bool,
    spreads: bool,
    /// What `x-oauth-scopes` says; absent: everything that the manifest asks for.
    scopes: Option<String>,
    /// Envelopes and other texts so far.
    sent: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        self.moved.send_modify(|moves| *moves += 1);
    }
}

impl FakeSlack {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared {
            url: Mutex::new(url.clone()),
            state: Mutex::default(),
            moved: watch::Sender::new(0),
        });
        let data = Data::from(shared.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(PayloadConfig::new(2 * 1024 * 1024))
                .route("/socket", web::get().to(socket))
                .route("/response/{id}", web::post().to(response))
                .route("/api/{method}", web::route().to(api))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)
        .expect("it listens")
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self {
            url,
            shared,
            server: handle,
        }
    }

    /// What `SLACK_API_URL` has to be.
    pub(crate) fn api_url(&self) -> String {
        format!("{}/api", self.url)
    }

    /// The environment of a service that talks to this stand-in.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SLACK_API_URL", self.api_url()),
            ("SLACK_BOT_TOKEN", BOT_TOKEN.to_owned()),
            ("SLACK_APP_TOKEN", APP_TOKEN.to_owned()),
        ]
    }

    /// The bot was given these scopes, separated by commas, and no others.
    pub(crate) fn gives_scopes(&self, scopes: &str) {
        self.shared.lock().scopes = Some(scopes.to_owned());
    }

    /// A name for a user id; an id without a name is unknown to `users.info`.
    pub(crate) fn knows(&self, user: &str, name: &str) {
        self.shared.lock().users.insert(user.to_owned(), name.to_owned());
    }

    /// Somebody writes; whoever listens gets it as an envelope. Answers its ts.
    pub(crate) fn says(&self, channel: &str, user: &str, thread: Option<&str>, text: &str) -> String {
        let ts = self.writes(channel, user, thread, text);
        self.tells(&ts);
        ts
    }

    /// Somebody writes while nobody is told; only the history has it. Answers its ts.
    pub(crate) fn writes(&self, channel: &str, user: &str, thread: Option<&str>, text: &str) -> String {
        let mut state = self.shared.lock();
        let ts = state.next_ts();
        state.messages.push(Said {
            channel: channel.to_owned(),
            ts: ts.clone(),
            thread: thread.map(str::to_owned),
            user: user.to_owned(),
            text: text.to_owned(),
            blocks: Value::Null,
            metadata: Value::Null,
            edits: 0,
            only_for: None,
        });
        ts
    }

    /// Sends the message as an envelope (once more), and its twin `app_mention` where the bot is mentioned, as Slack does.
    /// Answers the ids of the envelopes.
    pub(crate) fn tells(&self, ts: &str) -> Vec<String> {
        let said = self
            .shared
            .lock()
            .messages
            .iter()
            .find(|said| said.ts == ts)
            .cloned()
            .expect("it was said");
        let kind = if said.channel.starts_with('D') { "im" } else { "channel" };
        let mut event = json!({
            "type": "message", "channel": said.channel, "user": said.user, "text": said.text, "ts": said.ts,
            "event_ts": said.ts, "channel_type": kind, "team": TEAM,
        });
        if let Some(thread) = &said.thread {
            event["thread_ts"] = json!(thread);
        }
        let mut sent = vec![self.sends_event(&event)];
        if said.text.contains(&format!("<@{BOT}>")) && kind != "im" {
            event["type"] = json!("app_mention");
            sent.push(self.sends_event(&event));
        }
        sent
    }

    /// Sends any event of the Events API. Answers the envelope's id.
    pub(crate) fn sends_event(&self, event: &Value) -> String {
        let id = self.fresh("Ev");
        self.sends(
            "events_api",
            &json!({
                "token": "unused", "team_id": TEAM, "api_app_id": "AAPP", "event": event, "type": "event_callback",
                "event_id": id, "event_time": 1_700_000_000,
            }),
        )
    }

    /// Somebody types a slash command. Answers the envelope's id.
    pub(crate) fn slash(&self, channel: &str, user: &str, command: &str, text: &str) -> String {
        let url = self.response_url();
        self.sends(
            "slash_commands",
            &json!({
                "token": "unused", "team_id": TEAM, "team_domain": "acme", "channel_id": channel, "channel_name": "general",
                "user_id": user, "user_name": "someone", "command": command, "text": text, "api_app_id": "AAPP",
                "response_url": url, "trigger_id": self.fresh("trigger-"),
            }),
        )
    }

    /// Somebody presses a button of a message. Answers the envelope's id.
    pub(crate) fn presses(&self, message: &Said, user: &str, action: &str, value: &str) -> String {
        let url = self.response_url();
        self.sends(
            "interactive",
            &json!({
                "type": "block_actions", "team": { "id": TEAM, "domain": "acme" }, "user": { "id": user, "username": "someone" },
                "api_app_id": "AAPP", "token": "unused",
                "container": { "type": "message", "message_ts": message.ts, "channel_id": message.channel, "is_ephemeral": false },
                "trigger_id": self.fresh("trigger-"), "channel": { "id": message.channel, "name": "general" },
                "message": { "type": "message", "ts": message.ts, "text": message.text, "user": BOT },
                "response_url": url,
                "actions": [{ "type": "button", "action_id": action, "block_id": "decision", "value": value,
                    "text": { "type": "plain_text", "text": "Approve" }, "action_ts": "1700000000.000001" }],
            }),
        )
    }

    fn response_url(&self) -> String {
        format!("{}/response/{}", self.url, self.fresh("r"))
    }

    fn fresh(&self, prefix: &str) -> String {
        let mut state = self.shared.lock();
        state.next += 1;
        format!("{prefix}{}", state.next)
    }

    /// Sends an envelope over the newest socket. Answers its id.
    pub(crate) fn sends(&self, kind: &str, payload: &Value) -> String {
        let id = self.fresh("envelope-");
        let envelope = json!({ "type": kind, "envelope_id": id, "accepts_response_payload": kind != "events_api", "payload": payload });
        self.sends_text(&envelope.to_string());
        id
    }

    /// Sends each envelope over the next socket from now on, as Slack does; before that, over the newest.
    pub(crate) fn spreads(&self) {
        self.shared.lock().spreads = true;
    }

    /// Sends any text over one socket; with no socket open, nobody hears it.
    pub(crate) fn sends_text(&self, text: &str) {
        let mut state = self.shared.lock();
        state.sent += 1;
        let at = match state.sockets.len() {
            0 => return,
            open if state.spreads => state.sent % open,
            open => open - 1,
        };
        if let Some((_, socket)) = state.sockets.get(at) {
            let _ = socket.send(Frame::Text(text.to_owned()));
        }
    }

    /// Announces a disconnect to every socket and closes them, as Slack does every few hours.
    pub(crate) fn disconnects(&self) {
        let farewell =
            json!({ "type": "disconnect", "reason": "refresh_requested", "debug_info": { "host": "stand-in" } });
        for (_, socket) in &self.shared.lock().sockets {
            let _ = socket.send(Frame::Text(farewell.to_string()));
            let _ = socket.send(Frame::Close);
        }
    }

    /// Closes every socket without a word.
    pub(crate) fn hangs_up(&self) {
        for (_, socket) in &self.shared.lock().sockets {
            let _ = socket.send(Frame::Close);
        }
    }

    /// Every socket goes silent and stays open: not even a pong comes back.
    pub(crate) fn falls_silent(&self) {
        for (_, socket) in &self.shared.lock().sockets {
            let _ = socket.send(Frame::Hang);
        }
    }

    /// Refuses new sockets from now on (or no longer).
    pub(crate) fn refuses_sockets(&self, refuses: bool) {
        self.shared.lock().deaf_to_sockets = refuses;
    }

    /// Refuses every token from now on (or no longer).
    pub(crate) fn refuses_tokens(&self, refuses: bool) {
        self.shared.lock().refuses_tokens = refuses;
    }

    /// The next call of this method gets this.
    pub(crate) fn next_call(&self, method: &str, mishap: Mishap) {
        self.shared.lock().mishaps.push_back((method.to_owned(), mishap));
    }

    /// Everything in a channel now, in order.
    pub(crate) fn messages(&self, channel: &str) -> Vec<Said> {
        let state = self.shared.lock();
        state
            .messages
            .iter()
            .filter(|said| said.channel == channel)
            .cloned()
            .collect()
    }

    /// What the bot has in a channel now, in order; ephemeral ones, too.
    pub(crate) fn bot_says(&self, channel: &str) -> Vec<Said> {
        self.messages(channel)
            .into_iter()
            .filter(|said| said.user == BOT)
            .collect()
    }

    /// Names of reactions to a message.
    pub(crate) fn reactions(&self, channel: &str, ts: &str) -> Vec<String> {
        let state = self.shared.lock();
        state
            .reactions
            .iter()
            .filter(|(c, t, _)| c == channel && t == ts)
            .map(|(_, _, name)| name.clone())
            .collect()
    }

    /// Every status that a thread ever had, in order.
    pub(crate) fn statuses(&self, channel: &str, thread: &str) -> Vec<String> {
        let state = self.shared.lock();
        let key = (channel.to_owned(), thread.to_owned());
        state.statuses.get(&key).cloned().unwrap_or_default()
    }

    /// Calls of a method so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Call> {
        let state = self.shared.lock();
        state
            .calls
            .iter()
            .filter(|call| call.method == method)
            .cloned()
            .collect()
    }

    /// Calls that were refused with this code.
    pub(crate) fn calls_answered(&self, error: &str) -> Vec<Call> {
        let state = self.shared.lock();
        let refused = state.calls.iter().filter(|call| call.answer["error"] == error);
        refused.cloned().collect()
    }

    /// What was posted to response URLs.
    pub(crate) fn responses(&self) -> Vec<Value> {
        self.shared.lock().responses.clone()
    }

    /// Acknowledgements so far, whole.
    pub(crate) fn acks(&self) -> Vec<Value> {
        self.shared.lock().acks.clone()
    }

    /// How many acknowledgements there were so far.
    pub(crate) fn ack_count(&self) -> usize {
        self.shared.lock().acks.len()
    }

    /// Sockets that were ever opened.
    pub(crate) fn sockets_ever(&self) -> u64 {
        self.shared.lock().sockets_ever
    }

    /// Sockets that are open.
    pub(crate) fn sockets(&self) -> usize {
        self.shared.lock().sockets.len()
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// When it does not within 20 s; `what` says what was waited for.
    pub(crate) async fn until<T>(&self, what: &str, mut holds: impl FnMut(&Self) -> Option<T>) -> T {
        let mut moved = self.shared.moved.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = holds(self) {
                    return found;
                }
                if moved.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain: {what}\n{:#?}", self.shared.lock().calls),
        }
    }

    /// Waits for the acknowledgement of an envelope; its payload, if it has one.
    pub(crate) async fn acked(&self, envelope: &str) -> Value {
        self.until("the acknowledgement", |slack| {
            slack
                .acks()
                .into_iter()
                .find(|ack| ack["envelope_id"] == envelope)
                .map(|ack| ack["payload"].clone())
        })
        .await
    }

    /// Waits until so many sockets are open.
    pub(crate) async fn connected(&self, sockets: usize) {
        self.until("open sockets", |slack| (slack.sockets() >= sockets).then_some(()))
            .await;
    }

    pub(crate) async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl State {
    /// Later ones are greater, as texts and as numbers.
    fn next_ts(&mut self) -> String {
        self.next += 1;
        format!("{}.{:06}", SystemClock.now().timestamp(), self.next)
    }

    fn mishap(&mut self, method: &str) -> Option<Mishap> {
        let at = self.mishaps.iter().position(|(name, _)| name == method)?;
        self.mishaps.remove(at).map(|(_, mishap)| mishap)
    }

    fn call(&mut self, base: &str, method: &str, token: &str, input: &Value) -> Value {
        let wanted = if method == "apps.connections.open" {
            APP_TOKEN
        } else {
            BOT_TOKEN
        };
        if self.refuses_tokens || token != wanted {
            return refused("invalid_auth");
        }
        let text = |key: &str| input[key].as_str().unwrap_or_default().to_owned();
        match method {
            "auth.test" => json!({ "ok": true, "url": "https://acme.example/", "team": "Acme", "user": "light",
                "team_id": TEAM, "user_id": BOT, "bot_id": "BBOT" }),
            "apps.connections.open" => {
                if self.deaf_to_sockets {
                    return refused("internal_error");
                }
                let socket = base.replacen("http", "ws", 1);
                json!({ "ok": true, "url": format!("{socket}/socket?ticket={TICKET}-{}", self.sockets_ever) })
            }
            "chat.postMessage" | "chat.postEphemeral" => self.posts(method, input),
            "chat.update" => self.changes(&text("channel"), &text("ts"), input),
            "reactions.add" => {
                let reaction = (text("channel"), text("timestamp"), text("name"));
                if self.reactions.insert(reaction) {
                    json!({ "ok": true })
                } else {
                    refused("already_reacted")
                }
            }
            "reactions.remove" => {
                let reaction = (text("channel"), text("timestamp"), text("name"));
                if self.reactions.remove(&reaction) {
                    json!({ "ok": true })
                } else {
                    refused("no_reaction")
                }
            }
            "assistant.threads.setStatus" => {
                let thread = (text("channel_id"), text("thread_ts"));
                self.statuses.entry(thread).or_default().push(text("status"));
                json!({ "ok": true })
            }
            "users.info" => match self.users.get(&text("user")) {
                Some(name) => json!({ "ok": true, "user": { "id": text("user"), "team_id": TEAM, "name": name,
                    "real_name": name, "deleted": false, "is_bot": false } }),
                None => refused("user_not_found"),
            },
            "conversations.replies" => self.history(input, Some(&text("ts"))),
            "conversations.history" => self.history(input, None),
            _ => refused("unknown_method"),
        }
    }

    fn posts(&mut self, method: &str, input: &Value) -> Value {
        let text = input["text"].as_str().unwrap_or_default().to_owned();
        if text.is_empty() && input["blocks"].is_null() {
            return refused("no_text");
        }
        if text.chars().count() > 40_000 {
            return refused("msg_too_long");
        }
        let said = Said {
            channel: input["channel"].as_str().unwrap_or_default().to_owned(),
            ts: self.next_ts(),
            thread: input["thread_ts"].as_str().map(str::to_owned),
            user: BOT.to_owned(),
            text,
            blocks: input["blocks"].clone(),
            metadata: input["metadata"].clone(),
            edits: 0,
            only_for: input["user"]
                .as_str()
                .filter(|_| method == "chat.postEphemeral")
                .map(str::to_owned),
        };
        if said.channel.is_empty() || said.channel == "CGONE" {
            return refused("channel_not_found");
        }
        let answer = json!({ "ok": true, "channel": said.channel, "ts": said.ts, "message_ts": said.ts, "message": as_history(&said) });
        self.messages.push(said);
        answer
    }

    fn changes(&mut self, channel: &str, ts: &str, input: &Value) -> Value {
        let Some(said) = self
            .messages
            .iter_mut()
            .find(|said| said.channel == channel && said.ts == ts)
        else {
            return refused("message_not_found");
        };
        if said.user != BOT {
            return refused("cant_update_message");
        }
        input["text"].as_str().unwrap_or_default().clone_into(&mut said.text);
        said.blocks = input["blocks"].clone();
        said.edits += 1;
        json!({ "ok": true, "channel": channel, "ts": ts, "text": said.text, "message": as_history(said) })
    }

    /// Pages of `limit` messages: of a thread the oldest first, of a channel the newest first, as Slack gives them.
    fn history(&self, input: &Value, thread: Option<&str>) -> Value {
        let text = |key: &str| input[key].as_str().unwrap_or_default();
        let (channel, oldest, latest) = (text("channel"), text("oldest"), text("latest"));
        let inclusive = text("inclusive") == "true";
        let mut rows: Vec<Value> = self
            .messages
            .iter()
            .filter(|said| said.channel == channel && said.only_for.is_none())
            .filter(|said| match thread {
                Some(root) => said.ts == root || said.thread.as_deref() == Some(root),
                None => said.thread.is_none() || said.thread.as_deref() == Some(&said.ts),
            })
            .filter(|said| oldest.is_empty() || said.ts.as_str() > oldest || (inclusive && said.ts == oldest))
            .filter(|said| latest.is_empty() || said.ts.as_str() < latest || (inclusive && said.ts == latest))
            .map(as_history)
            .collect();
        if thread.is_none() {
            rows.reverse();
        }
        let from: usize = text("cursor").parse().unwrap_or(0);
        let limit: usize = text("limit").parse().unwrap_or(100);
        let more = rows.len() > from + limit;
        let page: Vec<Value> = rows.into_iter().skip(from).take(limit).collect();
        let next = if more {
            (from + limit).to_string()
        } else {
            String::new()
        };
        json!({ "ok": true, "messages": page, "has_more": more, "response_metadata": { "next_cursor": next } })
    }
}

fn refused(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

fn as_history(said: &Said) -> Value {
    let mut row = json!({ "type": "message", "user": said.user, "text": said.text, "ts": said.ts });
    if said.user == BOT {
        row["bot_id"] = json!("BBOT");
    }
    if let Some(thread) = &said.thread {
        row["thread_ts"] = json!(thread);
    }
    if !said.metadata.is_null() {
        row["metadata"] = said.metadata.clone();
    }
    row
}

async fn api(request: HttpRequest, method: web::Path<String>, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let token = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    let mut input: Map<String, Value> = url::form_urlencoded::parse(request.query_string().as_bytes())
        .map(|(key, value)| (key.into_owned(), Value::String(value.into_owned())))
        .collect();
    if let Ok(Value::Object(more)) = serde_json::from_slice(&body) {
        input.extend(more);
    }
    let input = Value::Object(input);
    let base = shared.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (answer, mishap) = {
        let mut state = shared.lock();
        let mishap = state.mishap(&method);
        let answer = match &mishap {
            None | Some(Mishap::Swallow) => state.call(&base, &method, &token, &input),
            Some(Mishap::RateLimited(_)) => refused("ratelimited"),
            Some(Mishap::Error(error)) => refused(error),
            Some(Mishap::Status(status)) => json!({ "status": status }),
        };
        state.calls.push(Call {
            method: method.clone(),
            input,
            answer: answer.clone(),
        });
        (answer, mishap)
    };
    shared.moved();
    match mishap {
        Some(Mishap::RateLimited(seconds)) => HttpResponse::TooManyRequests()
            .insert_header(("retry-after", seconds.to_string()))
            .json(answer),
        Some(Mishap::Status(status)) => {
            HttpResponse::build(actix_web::http::StatusCode::from_u16(status).expect("a status that the test names"))
                .finish()
        }
        Some(Mishap::Swallow) => {
            // A body that breaks off closes the connection under the client.
            let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("swallowed"))]);
            HttpResponse::Ok().content_type("application/json").streaming(broken)
        }
        None | Some(Mishap::Error(_)) => {
            let scopes = shared
                .lock()
                .scopes
                .clone()
                .unwrap_or_else(|| actors::slack::SCOPES.join(","));
            HttpResponse::Ok()
                .insert_header(("x-oauth-scopes", scopes))
                .json(answer)
        }
    }
}

async fn response(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let said = serde_json::from_slice(&body).unwrap_or(Value::Null);
    shared.lock().responses.push(said);
    shared.moved();
    HttpResponse::Ok().body("ok")
}

async fn socket(request: HttpRequest, body: web::Payload, shared: Data<Shared>) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut incoming) = actix_ws::handle(&request, body)?;
    let (sender, mut frames) = mpsc::unbounded_channel();
    let id = {
        let mut state = shared.lock();
        state.sockets_ever += 1;
        let id = state.sockets_ever;
        state.sockets.push((id, sender.clone()));
        id
    };
    let hello = json!({ "type": "hello", "num_connections": 1, "connection_info": { "app_id": "AAPP" },
        "debug_info": { "host": "stand-in", "started": "now", "build_number": 1, "approximate_connection_time": 3600 } });
    let _ = sender.send(Frame::Text(hello.to_string()));
    shared.moved();
    actix_web::rt::spawn(async move {
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(Frame::Text(text)) => {
                        if session.text(text).await.is_err() {
                            break;
                        }
                    }
                    Some(Frame::Hang) => {
                        shared.lock().sockets.retain(|(other, _)| *other != id);
                        shared.moved();
                        // Open and silent, until the other side gives up.
                        while let Some(Ok(_)) = incoming.next().await {}
                        return;
                    }
                    Some(Frame::Close) | None => break,
                },
                message = incoming.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if let Ok(ack) = serde_json::from_str::<Value>(&text) {
                            shared.lock().acks.push(ack);
                            shared.moved();
                        }
                    }
                    Some(Ok(Message::Ping(bytes))) => {
                        if session.pong(&bytes).await.is_err() {
                            break;
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
            }
        }
        shared.lock().sockets.retain(|(other, _)| *other != id);
        shared.moved();
        let _ = session.close(None).await;
    });
    Ok(response)
}
