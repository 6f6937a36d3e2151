//! What may be done to the state: the seed's functions over the registry, the settings and the history. Pure; time, ids and chance are passed in.
//!
//! Each function decides first and changes afterwards, so that one that refuses has changed nothing.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Map;

use super::normalize::normalize_url;
use super::shape::{Kept, Previous, State, Webhook};
use crate::domain::{GitAutoCommitConfig, IntegrationEvent, Secret, WebhookRegistered, WebhookRemoved, WebhookSummary};
use crate::messages::integrations::{
    Endpoint, IntegrationFault, IntegrationResult, KeepNotification, RegisterWebhook, SetGitAutoCommitConfig,
};

/// How long the old secret signs beside the new one.
pub(super) const GRACE: TimeDelta = TimeDelta::hours(24);
/// Longest secret in bytes.
const LONGEST_SECRET: usize = 1_024;
/// Most webhooks; every change writes all of them.
const MOST_WEBHOOKS: usize = 20_000;
/// All events.
const ALL: &str = "*";

/// A moment, as the file has it: RFC 3339 in UTC with milliseconds.
pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn invalid(field: &'static str, problem: impl Into<String>) -> IntegrationFault {
    IntegrationFault::Invalid {
        field,
        problem: problem.into(),
    }
}

/// The events as they are stored: known names, each once; `["*"]` for all.
fn known_events(field: &'static str, names: &[String]) -> IntegrationResult<Vec<String>> {
    if names.is_empty() || names.iter().any(|name| name == ALL) {
        return Ok(vec![ALL.to_owned()]);
    }
    Ok(event_names(field, names)?.iter().map(ToString::to_string).collect())
}

fn event_names(field: &'static str, names: &[String]) -> IntegrationResult<Vec<IntegrationEvent>> {
    let mut known = Vec::new();
    for name in names {
        let event = IntegrationEvent::from_text(name).ok_or_else(|| {
            let all: Vec<_> = IntegrationEvent::ALL.iter().map(|event| event.as_str()).collect();
            let name: String = name.chars().take(100).collect();
            invalid(field, format!("unknown event {name:?}; known are {}", all.join(", ")))
        })?;
        if !known.contains(&event) {
            known.push(event);
        }
    }
    Ok(known)
}

fn fit(secret: &Secret) -> IntegrationResult<()> {
    let bytes = secret.expose().len();
    if bytes > LONGEST_SECRET {
        return Err(invalid(
            "secret",
            format!("must have at most {LONGEST_SECRET} bytes, not {bytes}"),
        ));
    }
    if secret.expose().chars().any(char::is_control) {
        return Err(invalid("secret", "must not hold control characters or line breaks"));
    }
    Ok(())
}

/// The seed's `listWebhooks`.
pub(super) fn list_webhooks(state: &State) -> Vec<WebhookSummary> {
    state.webhooks.iter().map(Webhook::summary).collect()
}

/// The seed's `registerWebhook`: the same URL is updated and keeps its id and `created_at`. `id` is for a new one.
pub(super) fn register_webhook(
    state: &mut State,
    order: &RegisterWebhook,
    id: &str,
    now: DateTime<Utc>,
) -> IntegrationResult<WebhookRegistered> {
    let url = normalize_url(&order.url).map_err(|problem| invalid("url", problem))?;
    let events = order
        .events
        .as_deref()
        .map(|names| known_events("events", names))
        .transpose()?;
    if let Some(secret) = &order.secret {
        fit(secret)?;
    }
    if let Some(place) = state.of_url(url.as_str()) {
        let webhook = &mut state.webhooks[place];
        if let Some(events) = events {
            webhook.events = events;
        }
        if let Some(secret) = &order.secret {
            webhook.secret = secret.clone();
            webhook.previous_secret = None;
        }
        webhook.updated_at = written(now);
        return Ok(WebhookRegistered {
            created: false,
            webhook: webhook.summary(),
        });
    }
    if state.webhooks.len() >= MOST_WEBHOOKS {
        return Err(invalid(
            "url",
            format!("there are {MOST_WEBHOOKS} webhooks already; delete one first"),
        ));
    }
    let webhook = Webhook {
        id: id.to_owned(),
        url: url.to_string(),
        events: events.unwrap_or_else(|| vec![ALL.to_owned()]),
        secret: order.secret.clone().unwrap_or_else(|| Secret::new("")),
        created_at: written(now),
        updated_at: written(now),
        previous_secret: None,
        other: Map::new(),
    };
    let summary = webhook.summary();
    state.push(url.as_str(), webhook);
    Ok(WebhookRegistered {
        created: true,
        webhook: summary,
    })
}

/// The seed's `deleteWebhook`. None of this id is no error.
pub(super) fn delete_webhook(state: &mut State, id: &str) -> WebhookRemoved {
    let place = state.webhooks.iter().position(|webhook| webhook.id == id);
    if let Some(place) = place {
        state.webhooks.remove(place);
        state.index();
    }
    WebhookRemoved {
        removed: place.is_some(),
        webhook_id: id.to_owned(),
    }
}

/// Gives a webhook a new secret; the old one signs for the grace period as well.
pub(super) fn rotate_secret(
    state: &mut State,
    id: &str,
    secret: Secret,
    now: DateTime<Utc>,
) -> IntegrationResult<WebhookSummary> {
    fit(&secret)?;
    if secret.is_empty() {
        return Err(invalid(
            "secret",
            "must not be empty; register the webhook with an empty secret to stop signing",
        ));
    }
    let webhook = find(state, id)?;
    webhook.previous_secret = (!webhook.secret.is_empty()).then(|| Previous {
        secret: webhook.secret.clone(),
        until: written(now + GRACE),
        other: Map::new(),
    });
    webhook.secret = secret;
    webhook.updated_at = written(now);
    Ok(webhook.summary())
}

fn find<'a>(state: &'a mut State, id: &str) -> IntegrationResult<&'a mut Webhook> {
    state
        .webhooks
        .iter_mut()
        .find(|webhook| webhook.id == id)
        .ok_or_else(|| {
            IntegrationFault::NotFound(format!(
                "there is no webhook {:?}",
                id.chars().take(100).collect::<String>()
            ))
        })
}

/// The seed's `getGitAutoCommitConfig`.
pub(super) fn get_git_auto_commit_config(state: &State) -> GitAutoCommitConfig {
    state.git_auto_commit.config()
}

/// The seed's `setGitAutoCommitConfig`. What is absent stays. Says whether anything is different now.
pub(super) fn set_git_auto_commit_config(
    state: &mut State,
    order: &SetGitAutoCommitConfig,
) -> IntegrationResult<(GitAutoCommitConfig, bool)> {
    let on_events = order
        .on_events
        .as_deref()
        .map(|names| event_names("on_events", names))
        .transpose()?;
    let settings = &mut state.git_auto_commit;
    let enabled = order.enabled.unwrap_or(settings.enabled);
    let on_events = match on_events {
        Some(events) => events.iter().map(ToString::to_string).collect(),
        None => settings.on_events.clone(),
    };
    let changed = enabled != settings.enabled || on_events != settings.on_events;
    settings.enabled = enabled;
    settings.on_events = on_events;
    Ok((settings.config(), changed))
}

/// Appends a notification to the history, or brings the one of this id up to date. Says whether anything is different now.
pub(super) fn keep_notification(state: &mut State, order: &KeepNotification, now: DateTime<Utc>) -> bool {
    if let Some(kept) = state.notifications.iter_mut().rev().find(|kept| kept.id == order.id) {
        let changed = kept.delivered != order.delivered || kept.meta != order.meta;
        kept.delivered = order.delivered;
        kept.meta = order.meta.clone();
        return changed;
    }
    state.notifications.push(Kept {
        id: order.id.clone(),
        channel: order.notification.channel.to_string(),
        message: order.notification.message.clone(),
        priority: order.notification.priority.to_string(),
        delivered: order.delivered,
        created_at: written(now),
        meta: order.meta.clone(),
        other: Map::new(),
    });
    true
}

/// Takes out the old secrets whose time is over: what signs nothing any more need not lie in the file.
pub(super) fn forget_old_secrets(state: &mut State, now: DateTime<Utc>) {
    for webhook in &mut state.webhooks {
        webhook.previous_secret.take_if(|previous| !previous.signs(now));
    }
}

/// Whom an event goes to, with the secrets that sign at this moment.
pub(super) fn endpoints(state: &State, now: DateTime<Utc>) -> Vec<Endpoint> {
    state
        .webhooks
        .iter()
        .map(|webhook| {
            let old = webhook
                .previous_secret
                .as_ref()
                .filter(|previous| previous.signs(now))
                .map(|previous| previous.secret.clone());
            let secrets = [Some(webhook.secret.clone()), old].into_iter().flatten();
            // One name that is none of ours must not turn "these events" into "all events".
            let all = webhook.events.is_empty() || webhook.events.iter().any(|name| name == ALL);
            let known = webhook
                .events
                .iter()
                .filter_map(|name| IntegrationEvent::from_text(name));
            Endpoint {
                id: webhook.id.clone(),
                url: webhook.url.clone(),
                events: if all {
                    IntegrationEvent::ALL.to_vec()
                } else {
                    known.collect()
                },
                secrets: secrets.filter(|secret| !secret.is_empty()).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Channel, MOST_NOTIFICATIONS, Notification, Priority};
    use crate::state::normalize_state;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a time")
    }

    fn order(url: &str, events: Option<&[&str]>, secret: Option<&str>) -> RegisterWebhook {
        RegisterWebhook {
            url: url.into(),
            events: events.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            secret: secret.map(Secret::new),
        }
    }

    fn register(state: &mut State, id: &str, order: &RegisterWebhook, seconds: i64) -> WebhookRegistered {
        register_webhook(state, order, id, at(seconds)).expect("registered")
    }

    #[test]
    fn the_same_url_is_updated_and_keeps_id_and_created_at() {
        let mut state = State::default();
        let first = register(&mut state, "w1", &order("https://A.example/hook", None, Some("s")), 0);
        assert!(first.created);
        assert_eq!(first.webhook.events, ["*"]);
        let again = register(
            &mut state,
            "w2",
            &order("https://a.example:443/hook", Some(&["error"]), None),
            60,
        );
        assert!(!again.created);
        assert_eq!(
            (again.webhook.id.as_str(), &again.webhook.created_at),
            ("w1", &first.webhook.created_at)
        );
        assert_ne!(again.webhook.updated_at, first.webhook.updated_at);
        assert_eq!(again.webhook.events, ["error"]);
        assert!(again.webhook.has_secret, "an omitted secret stays");
        let cleared = register(&mut state, "w3", &order("https://a.example/hook", None, Some("")), 61);
        assert!(!cleared.webhook.has_secret, "an empty secret clears");
        assert_eq!(cleared.webhook.events, ["error"], "omitted events stay");
        let all = register(&mut state, "w4", &order("https://a.example/hook", Some(&[]), None), 62);
        assert_eq!(all.webhook.events, ["*"]);
        assert_eq!(state.webhooks.len(), 1);
    }

    #[test]
    fn unknown_events_and_secrets_beyond_measure_are_refused_and_change_nothing() {
        let mut state = State::default();
        let refused = |state: &mut State, order: &RegisterWebhook| {
            register_webhook(state, order, "w", at(0))
                .expect_err("refused")
                .to_string()
        };
        let words = refused(&mut state, &order("http://a", Some(&["task.done"]), None));
        assert_eq!(
            words,
            "events: unknown event \"task.done\"; known are session.start, session.end, task.created, task.completed, roadmap.exported, task.sync, error"
        );
        let words = refused(&mut state, &order("http://a", None, Some(&"x".repeat(1 << 20))));
        assert!(words.contains("1024 bytes") && words.len() < 200, "{words}");
        assert!(refused(&mut state, &order("ftp://a", None, None)).starts_with("url: "));
        assert!(state.webhooks.is_empty());
    }

    #[test]
    fn there_is_an_end_to_webhooks_and_those_that_are_there_can_still_be_changed() {
        let mut state = State::default();
        for n in 0..MOST_WEBHOOKS {
            register(
                &mut state,
                &format!("w{n}"),
                &order(&format!("http://a/{n}"), None, None),
                0,
            );
        }
        let error = register_webhook(&mut state, &order("http://a/new", None, None), "w", at(0)).expect_err("full");
        assert!(error.to_string().contains("20000 webhooks"), "{error}");
        assert!(!register(&mut state, "w", &order("http://a/7", None, Some("s")), 1).created);
    }

    #[test]
    fn deleting_says_whether_there_was_one_and_later_ones_are_still_found() {
        let mut state = State::default();
        for n in 0..3 {
            register(
                &mut state,
                &format!("w{n}"),
                &order(&format!("http://a/{n}"), None, None),
                n,
            );
        }
        assert!(delete_webhook(&mut state, "w1").removed);
        assert!(!delete_webhook(&mut state, "w1").removed);
        assert!(!register(&mut state, "new", &order("http://a/2", None, None), 9).created);
        assert!(register(&mut state, "new", &order("http://a/1", None, None), 9).created);
    }

    #[test]
    fn both_secrets_sign_until_the_grace_is_over() {
        let mut state = State::default();
        register(&mut state, "w", &order("http://a", None, Some("old")), 0);
        rotate_secret(&mut state, "w", Secret::new("new"), at(10)).expect("rotated");
        let secrets = |state: &State, now| -> Vec<String> {
            let endpoint = endpoints(state, now).remove(0);
            endpoint
                .secrets
                .iter()
                .map(|secret| secret.expose().to_owned())
                .collect()
        };
        assert_eq!(secrets(&state, at(11)), ["new", "old"]);
        forget_old_secrets(&mut state, at(11));
        assert_eq!(secrets(&state, at(11)).len(), 2);
        assert_eq!(secrets(&state, at(10) + GRACE), ["new"]);
        forget_old_secrets(&mut state, at(10) + GRACE);
        assert!(state.webhooks[0].previous_secret.is_none(), "it leaves the file, too");
        assert!(matches!(
            rotate_secret(&mut state, "nobody", Secret::new("x"), at(0)),
            Err(IntegrationFault::NotFound(_))
        ));
        assert!(rotate_secret(&mut state, "w", Secret::new(""), at(0)).is_err());
    }

    #[test]
    fn an_endpoint_gets_what_it_subscribed_to_and_not_more() {
        let mut state = State::default();
        register(&mut state, "all", &order("http://a/1", None, None), 0);
        register(
            &mut state,
            "some",
            &order("http://a/2", Some(&["error", "error", "task.sync"]), None),
            0,
        );
        state.webhooks[1].events.push("of.tomorrow".into());
        let endpoints = endpoints(&state, at(0));
        assert_eq!(endpoints[0].events, IntegrationEvent::ALL);
        assert_eq!(
            endpoints[1].events,
            [IntegrationEvent::Error, IntegrationEvent::TaskSync]
        );
        assert!(endpoints[0].secrets.is_empty());
    }

    #[test]
    fn the_settings_of_commits_change_only_where_something_is_said() {
        let mut state = State::default();
        let defaults = get_git_auto_commit_config(&state);
        assert!(!defaults.enabled);
        assert_eq!(defaults.on_events, crate::domain::AUTO_COMMIT_DEFAULT_EVENTS);
        let mut set = |enabled, on_events: Option<&[&str]>| {
            let on_events = on_events.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            set_git_auto_commit_config(&mut state, &SetGitAutoCommitConfig { enabled, on_events })
        };
        let (same, changed) = set(Some(false), None).expect("set");
        assert!(!changed && same == defaults, "as it was");
        let (on, changed) = set(Some(true), None).expect("set");
        assert!(changed && on.enabled && on.on_events == defaults.on_events);
        let error = set(Some(false), Some(&["nonsense"])).expect_err("unknown");
        assert!(error.to_string().starts_with("on_events: unknown event"), "{error}");
        let (still, _) = set(None, Some(&["error"])).expect("set");
        assert!(still.enabled, "a refused order changed nothing");
        assert_eq!(still.on_events, [IntegrationEvent::Error]);
    }

    #[test]
    fn two_hundred_notifications_are_kept_and_the_newest_of_them() {
        let mut state = State::default();
        let keep = |id: usize, delivered| KeepNotification {
            id: format!("n{id}"),
            notification: Notification {
                channel: Channel::Slack,
                message: "m".into(),
                priority: Priority::Normal,
                webhook_url: Some(Secret::new("https://hooks.example/T/B/secret")),
                attachments: Vec::new(),
                timeout_ms: 5_000,
                retry_count: 3,
            },
            delivered,
            meta: Map::new(),
        };
        for id in 0..=MOST_NOTIFICATIONS {
            keep_notification(&mut state, &keep(id, false), at(0));
            normalize_state(&mut state);
        }
        assert_eq!(state.notifications.len(), 200);
        assert_eq!(state.notifications[0].id, "n1");
        assert!(keep_notification(&mut state, &keep(150, true), at(1)));
        assert!(!keep_notification(&mut state, &keep(150, true), at(2)), "nothing new");
        assert_eq!(state.notifications.len(), 200, "a known one is brought up to date");
        assert!(
            state
                .notifications
                .iter()
                .any(|kept| kept.id == "n150" && kept.delivered)
        );
        assert!(
            !serde_json::to_string(&state)
                .expect("plain data")
                .contains("hooks.example")
        );
    }
}
