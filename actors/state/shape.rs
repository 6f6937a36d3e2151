//! The shape of `integrations.json` (seed "Domain: Integrations", State Shape). Keys that are not known stay as they are. Pure.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::normalize::normalize_url;
use crate::domain::{
    AUTO_COMMIT_DEFAULT_EVENTS, GitAutoCommitConfig, IntegrationEvent, Priority, Secret, WebhookSummary,
};

/// The only version there is.
pub(super) const VERSION: u64 = 1;

/// The whole state. Its JSON is the file, secrets and all: it is for the file alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// `1`.
    #[serde(default = "version")]
    pub(super) version: u64,
    /// RFC 3339 time of the last change.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) updated_at: String,
    /// In the order of registration.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) webhooks: Vec<Webhook>,
    /// Whether and when changes are committed.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) git_auto_commit: GitAutoCommit,
    /// The history, oldest first.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) notifications: Vec<Kept>,
    /// Keys of others.
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
    /// Places in `webhooks` by normalised URL, so that a registration need not read them all.
    #[serde(skip)]
    by_url: HashMap<String, usize>,
}

fn version() -> u64 {
    VERSION
}

/// A webhook as the file has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) url: String,
    /// Empty, or with `*`: all.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) events: Vec<String>,
    #[serde(default = "nothing", serialize_with = "exposed", deserialize_with = "maybe_secret")]
    pub(super) secret: Secret,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) created_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) updated_at: String,
    /// The secret before a rotation; it signs, too, until its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous_secret: Option<Previous>,
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

/// A secret on its way out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Previous {
    #[serde(serialize_with = "exposed", deserialize_with = "maybe_secret")]
    pub(super) secret: Secret,
    /// RFC 3339 time.
    pub(super) until: String,
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

/// The settings of automatic commits, as the file has them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct GitAutoCommit {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) enabled: bool,
    #[serde(default = "default_events", deserialize_with = "or_default_events")]
    pub(super) on_events: Vec<String>,
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

impl Default for GitAutoCommit {
    fn default() -> Self {
        Self {
            enabled: false,
            on_events: default_events(),
            other: Map::new(),
        }
    }
}

fn default_events() -> Vec<String> {
    AUTO_COMMIT_DEFAULT_EVENTS.iter().map(ToString::to_string).collect()
}

/// A notification of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) id: String,
    /// One of ours where we wrote it; whatever others wrote stays as it is.
    pub(super) channel: String,
    pub(super) message: String,
    /// As with the channel.
    #[serde(default = "normal")]
    pub(super) priority: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) delivered: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) created_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) meta: Map<String, Value>,
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

fn normal() -> String {
    Priority::Normal.to_string()
}

/// Null is as good as absent.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn or_default_events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(default_events))
}

fn nothing() -> Secret {
    Secret::new("")
}

/// In the file, and nowhere else, a secret is written as it is.
fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn maybe_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    Ok(Option::<Secret>::deserialize(deserializer)?.unwrap_or_else(nothing))
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            updated_at: String::new(),
            webhooks: Vec::new(),
            git_auto_commit: GitAutoCommit::default(),
            notifications: Vec::new(),
            other: Map::new(),
            by_url: HashMap::new(),
        }
    }
}

impl State {
    /// Notes where each webhook is; to be called when they were read, removed or put in another order.
    pub(super) fn index(&mut self) {
        self.by_url.clear();
        for (place, webhook) in self.webhooks.iter().enumerate() {
            // What somebody wrote into the file by hand need not be a URL that we would take.
            let url = normalize_url(&webhook.url).map_or_else(|_| webhook.url.clone(), String::from);
            self.by_url.entry(url).or_insert(place);
        }
    }

    /// The webhook with this normalised URL.
    pub(super) fn of_url(&self, url: &str) -> Option<usize> {
        self.by_url.get(url).copied()
    }

    /// Adds a webhook at the end.
    pub(super) fn push(&mut self, url: &str, webhook: Webhook) {
        self.by_url.insert(url.to_owned(), self.webhooks.len());
        self.webhooks.push(webhook);
    }

    /// The state for people: the file's keys, and `has_secret` where a secret would be.
    #[must_use]
    pub fn shown(&self) -> Value {
        let webhooks: Vec<Value> = self
            .webhooks
            .iter()
            .map(|webhook| {
                let mut shown = serde_json::to_value(webhook.summary()).unwrap_or_default();
                if let Value::Object(shown) = &mut shown {
                    shown.extend(webhook.other.clone());
                }
                shown
            })
            .collect();
        let mut shown = json!({
            "version": self.version,
            "updated_at": self.updated_at,
            "webhooks": webhooks,
            "git_auto_commit": self.git_auto_commit,
            "notifications": self.notifications,
        });
        if let Value::Object(shown) = &mut shown {
            shown.extend(self.other.clone());
        }
        shown
    }
}

impl Webhook {
    /// Everything but the secret.
    pub(super) fn summary(&self) -> WebhookSummary {
        WebhookSummary {
            id: self.id.clone(),
            url: self.url.clone(),
            events: self.events.clone(),
            has_secret: !self.secret.is_empty(),
            created_at: self.created_at.clone(),
            updated_at: self.updated_at.clone(),
        }
    }
}

impl Previous {
    /// Whether it still signs.
    pub(super) fn signs(&self, now: DateTime<Utc>) -> bool {
        DateTime::parse_from_rfc3339(&self.until).is_ok_and(|until| until > now)
    }
}

impl GitAutoCommit {
    /// For people and actors. A name that is none of ours is left out.
    pub(super) fn config(&self) -> GitAutoCommitConfig {
        GitAutoCommitConfig {
            enabled: self.enabled,
            on_events: self
                .on_events
                .iter()
                .filter_map(|name| IntegrationEvent::from_text(name))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_state_is_the_seeds() {
        let state = State {
            updated_at: "2026-01-01T00:00:00.000Z".into(),
            ..State::default()
        };
        assert_eq!(
            serde_json::to_value(&state).expect("plain data"),
            json!({
                "version": 1,
                "updated_at": "2026-01-01T00:00:00.000Z",
                "webhooks": [],
                "git_auto_commit": { "enabled": false, "on_events": ["session.end", "roadmap.exported", "task.sync"] },
                "notifications": []
            })
        );
    }

    #[test]
    fn unknown_keys_survive_at_every_level() {
        let file = json!({
            "version": 1, "updated_at": "t", "future": { "a": [1, null] },
            "webhooks": [{
                "id": "w", "url": "http://a/", "events": [], "secret": "s", "created_at": "c", "updated_at": "u", "label": "mine",
                "previous_secret": { "secret": "old", "until": "t", "by": "ann" }
            }],
            "git_auto_commit": { "enabled": true, "on_events": ["task.sync"], "author": "me" },
            "notifications": [{
                "id": "n", "channel": "slack", "message": "m", "priority": "high", "delivered": true, "created_at": "c",
                "meta": { "x": 1 }, "seen": true
            }]
        });
        let state: State = serde_json::from_value(file.clone()).expect("read");
        assert_eq!(serde_json::to_value(&state).expect("plain data"), file);
    }

    #[test]
    fn what_others_wrote_is_read_where_it_can_be() {
        let state: State = serde_json::from_value(json!({
            "updated_at": null,
            "webhooks": [{ "id": "w", "url": "http://a/", "events": null, "secret": null }],
            "git_auto_commit": { "enabled": null, "on_events": null },
            "notifications": [{ "id": "n", "channel": "sms", "message": "m", "priority": "urgent", "meta": null }]
        }))
        .expect("read");
        assert_eq!(state.git_auto_commit.on_events, default_events());
        let shown = state.shown();
        assert_eq!(shown["notifications"][0]["channel"], "sms");
        assert_eq!(shown["notifications"][0]["priority"], "urgent");
        assert_eq!(shown["webhooks"][0]["has_secret"], false);
        for nothing in [
            json!({ "webhooks": null, "git_auto_commit": null, "notifications": null }),
            json!({}),
        ] {
            let state: State = serde_json::from_value(nothing).expect("read");
            assert_eq!(
                serde_json::to_value(&state).expect("plain data"),
                serde_json::to_value(State::default()).expect("plain data")
            );
        }
    }

    #[test]
    fn what_people_see_has_no_secret() {
        let state: State = serde_json::from_value(json!({
            "webhooks": [{ "id": "w", "url": "http://a/", "secret": "hush-1",
                "previous_secret": { "secret": "hush-2", "until": "t" } }]
        }))
        .expect("read");
        for shown in [state.shown().to_string(), format!("{state:?}")] {
            assert!(!shown.contains("hush"), "{shown}");
        }
        assert_eq!(state.shown()["webhooks"][0]["has_secret"], true);
    }
}
