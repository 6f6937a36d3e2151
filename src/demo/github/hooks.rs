//! The webhooks that the stand-in knows, and how their deliveries were answered. Signs and posts for real; knows no route of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use actors::domain::Secret;
use actors::github::sign;
use serde_json::{Value, json};

/// How long GitHub waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Deliveries that are remembered for each webhook.
const MOST: usize = 100;

/// The App's webhook is called `app`, one of a repository by the repository's lower-case name.
pub(super) const OF_THE_APP: &str = "app";

/// All webhooks, by whose they are.
#[derive(Default)]
pub(super) struct Hooks {
    all: BTreeMap<String, Hook>,
    last_id: u64,
}

struct Hook {
    id: u64,
    config: Value,
    secret: Option<Secret>,
    active: bool,
    events: Vec<String>,
    /// Newest first.
    deliveries: Vec<Value>,
}

/// A delivery that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Order {
    whose: String,
    url: String,
    secret: Option<Secret>,
    guid: String,
    event: String,
    payload: Value,
    redelivery: bool,
}

impl Hooks {
    /// Sets a webhook up, or changes it.
    pub(super) fn set(&mut self, whose: &str, url: &str, secret: Option<&str>) {
        let id = self.fresh_id();
        let mut config = json!({ "url": url, "content_type": "json", "insecure_ssl": "0" });
        if secret.is_some() {
            config["secret"] = "********".into();
        }
        let hook = self.all.entry(whose.to_owned()).or_insert_with(|| Hook {
            id,
            config: Value::Null,
            secret: None,
            active: true,
            events: vec!["*".to_owned()],
            deliveries: Vec::new(),
        });
        hook.config = config;
        hook.secret = secret.map(Secret::new);
    }

    pub(super) fn config(&self, whose: &str) -> Option<Value> {
        Some(self.all.get(whose)?.config.clone())
    }

    /// As GitHub lists the webhooks of a repository.
    pub(super) fn listed(&self, whose: &str) -> Value {
        let listed = self.all.get(whose).map(|hook| {
            json!({ "id": hook.id, "name": "web", "active": hook.active, "events": hook.events, "config": hook.config })
        });
        listed.into_iter().collect()
    }

    /// Without what was sent and answered.
    pub(super) fn deliveries(&self, whose: &str) -> Option<Value> {
        let hook = self.all.get(whose)?;
        let brief = hook.deliveries.iter().map(|delivery| {
            let mut brief = delivery.clone();
            if let Value::Object(fields) = &mut brief {
                fields.remove("request");
            }
            brief
        });
        Some(brief.collect())
    }

    pub(super) fn delivery(&self, whose: &str, id: &str) -> Option<Value> {
        let hook = self.all.get(whose)?;
        let id: u64 = id.parse().ok()?;
        let found = hook.deliveries.iter().find(|delivery| delivery["id"] == id);
        found.cloned()
    }

    /// A delivery that was made before, once more.
    pub(super) fn again(&self, whose: &str, id: &str) -> Option<Order> {
        let hook = self.all.get(whose)?;
        let delivery = self.delivery(whose, id)?;
        let text = |key: &str| delivery[key].as_str().unwrap_or_default().to_owned();
        Some(Order {
            guid: text("guid"),
            event: text("event"),
            payload: delivery["request"]["payload"].clone(),
            redelivery: true,
            ..self.order(hook, whose)
        })
    }

    /// A fresh delivery.
    pub(super) fn fresh(&mut self, whose: &str, event: &str, payload: Value) -> Option<Order> {
        let guid = format!("guid-{}", self.fresh_id());
        let hook = self.all.get(whose)?;
        Some(Order {
            guid,
            event: event.to_owned(),
            payload,
            ..self.order(hook, whose)
        })
    }

    fn order(&self, hook: &Hook, whose: &str) -> Order {
        Order {
            whose: whose.to_owned(),
            url: hook.config["url"].as_str().unwrap_or_default().to_owned(),
            secret: hook.secret.clone(),
            guid: String::new(),
            event: String::new(),
            payload: Value::Null,
            redelivery: false,
        }
    }

    /// Notes how a delivery was answered.
    pub(super) fn answered(&mut self, order: &Order, code: u16, status: &str, at: &str) {
        let id = self.fresh_id();
        let headers: serde_json::Map<String, Value> = headers(order)
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let delivery = json!({
            "id": id, "guid": order.guid, "delivered_at": at, "redelivery": order.redelivery, "duration": 0.1,
            "status": status, "status_code": code, "event": order.event, "action": order.payload["action"],
            "request": { "headers": headers, "payload": order.payload },
        });
        if let Some(hook) = self.all.get_mut(&order.whose) {
            hook.deliveries.insert(0, delivery);
            hook.deliveries.truncate(MOST);
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        9_000 + self.last_id
    }
}

fn headers(order: &Order) -> Vec<(String, String)> {
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), "GitHub-Hookshot/stand-in".to_owned()),
        ("X-GitHub-Event".to_owned(), order.event.clone()),
        ("X-GitHub-Delivery".to_owned(), order.guid.clone()),
    ];
    if let Some(secret) = &order.secret {
        let signature = sign(secret, order.payload.to_string().as_bytes());
        headers.push(("X-Hub-Signature-256".to_owned(), signature));
    }
    headers
}

/// Posts it, and says how it was answered as GitHub does: status code and words, 0 where there was no answer.
pub(super) async fn post(order: &Order) -> (u16, String) {
    let client = awc::Client::builder().disable_redirects().timeout(PATIENCE).finish();
    let mut request = client.post(&order.url);
    for (name, value) in headers(order) {
        request = request.insert_header((name.as_str(), value));
    }
    match request.send_body(order.payload.to_string()).await {
        Ok(answer) if answer.status().is_success() => (answer.status().as_u16(), "OK".to_owned()),
        Ok(answer) => {
            let code = answer.status().as_u16();
            (code, format!("Invalid HTTP Response: {code}"))
        }
        Err(awc::error::SendRequestError::Timeout) => (0, "timed out".to_owned()),
        Err(_) => (0, "failed to connect to host".to_owned()),
    }
}
