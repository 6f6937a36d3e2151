//! What a notification looks like to the channel it goes to, and what it may hold. Pure: knows no client.
//!
//! Shapes are those of the seed document "Domain: Integrations". To Discord's a key is added: without `allowed_mentions` a text from outside
//! could ring everybody with `@everyone`.

use serde_json::{Value, json};
use url::Url;

use crate::domain::{Channel, Notification, Priority};
use crate::messages::integrations::IntegrationFault;

/// The longest message, in characters.
pub(crate) const LONGEST_MESSAGE: usize = 10_000;
/// The most attachments.
pub(crate) const MOST_ATTACHMENTS: usize = 100;
/// The largest payload of an event, and the largest notification with its attachments, in bytes of JSON.
pub(crate) const LARGEST_PAYLOAD: usize = 1024 * 1024;
/// Time for one attempt, in ms.
pub(crate) const TIMEOUTS: std::ops::RangeInclusive<u64> = 100..=30_000;
/// Time for one attempt where nothing is said, in ms.
pub(crate) const TIMEOUT: u64 = 5_000;
/// The most quick attempts after the first.
pub(crate) const MOST_RETRIES: u32 = 10;
/// Quick attempts after the first where nothing is said.
pub(crate) const RETRIES: u32 = 3;
/// Discord takes no more characters.
const LONGEST_AT_DISCORD: usize = 2_000;
/// Mail programs show about so many characters of a subject.
const LONGEST_SUBJECT: usize = 120;

/// Holds a notification against the limits.
///
/// # Errors
/// The first field that breaks its rule, with the limit.
pub(crate) fn check(notification: &Notification) -> Result<(), IntegrationFault> {
    let invalid = |field, problem: String| Err(IntegrationFault::Invalid { field, problem });
    let characters = notification.message.chars().count();
    if notification.message.trim().is_empty() {
        return invalid("message", "is empty; say what happened".to_owned());
    }
    if characters > LONGEST_MESSAGE {
        return invalid(
            "message",
            format!("has {characters} characters; at most {LONGEST_MESSAGE} are taken"),
        );
    }
    if !TIMEOUTS.contains(&notification.timeout_ms) {
        return invalid(
            "timeout_ms",
            format!(
                "is {}; it must be {} to {} milliseconds",
                notification.timeout_ms,
                TIMEOUTS.start(),
                TIMEOUTS.end()
            ),
        );
    }
    if notification.retry_count > MOST_RETRIES {
        return invalid(
            "retry_count",
            format!("is {}; it must be 0 to {MOST_RETRIES}", notification.retry_count),
        );
    }
    if notification.attachments.len() > MOST_ATTACHMENTS {
        return invalid(
            "attachments",
            format!(
                "are {}; at most {MOST_ATTACHMENTS} are taken",
                notification.attachments.len()
            ),
        );
    }
    let bytes = json!(notification.attachments).to_string().len();
    if bytes > LARGEST_PAYLOAD {
        return invalid(
            "attachments",
            format!("have {bytes} bytes; at most {LARGEST_PAYLOAD} are taken"),
        );
    }
    match &notification.webhook_url {
        Some(url) if notification.channel != Channel::Email => target(url.expose()).map(drop),
        _ => Ok(()),
    }
}

/// An address that can be posted to. Never says what is in it.
///
/// # Errors
/// When it is no http or https URL with a host.
pub(crate) fn target(url: &str) -> Result<Url, IntegrationFault> {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
        .ok_or(IntegrationFault::Invalid {
            field: "webhook_url",
            problem: "is no http or https URL; write it as in https://hooks.example.com/path".to_owned(),
        })
}

/// The exact body for a channel: the seed's shapes.
pub(crate) fn shape(channel: Channel, message: &str, attachments: &[Value]) -> String {
    match channel {
        Channel::Slack => json!({ "text": escaped_for_slack(message), "attachments": attachments }),
        Channel::Discord => json!({
            "content": cut(message, LONGEST_AT_DISCORD),
            "embeds": attachments,
            "allowed_mentions": { "parse": [] },
        }),
        Channel::Webhook | Channel::Email => json!({ "message": message, "attachments": attachments }),
    }
    .to_string()
}

/// Slack's three control characters; escaped, nothing in a text can be a mention or a link of its own making.
fn escaped_for_slack(message: &str) -> String {
    message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The subject of a mail: one line, no control characters.
pub(crate) fn subject(message: &str, priority: Priority) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let line = cut(&line, LONGEST_SUBJECT);
    match priority {
        Priority::Low | Priority::Normal => line,
        Priority::High | Priority::Critical => format!("[{priority}] {line}"),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn notification() -> Notification {
        Notification {
            channel: Channel::Slack,
            message: "it broke".into(),
            priority: Priority::Normal,
            webhook_url: Some(Secret::new("https://hooks.example.com/T0/hunter2")),
            attachments: Vec::new(),
            timeout_ms: TIMEOUT,
            retry_count: RETRIES,
        }
    }

    #[test]
    fn the_shapes_are_the_seeds() {
        for (channel, expected) in [
            (Channel::Slack, json!({ "text": "it broke", "attachments": [] })),
            (
                Channel::Discord,
                json!({ "content": "it broke", "embeds": [], "allowed_mentions": { "parse": [] } }),
            ),
            (Channel::Webhook, json!({ "message": "it broke", "attachments": [] })),
            (Channel::Email, json!({ "message": "it broke", "attachments": [] })),
        ] {
            let body: Value = serde_json::from_str(&shape(channel, "it broke", &[])).expect("JSON");
            assert_eq!(body, expected);
        }
        let attachment = json!({ "title": "log" });
        let body = shape(Channel::Slack, "x", std::slice::from_ref(&attachment));
        assert_eq!(body, r#"{"text":"x","attachments":[{"title":"log"}]}"#);
    }

    #[test]
    fn a_text_from_outside_rings_nobody() {
        let slack: Value = serde_json::from_str(&shape(Channel::Slack, "<!channel> a & b", &[])).expect("JSON");
        assert_eq!(slack["text"], "&lt;!channel&gt; a &amp; b");
        let discord: Value = serde_json::from_str(&shape(Channel::Discord, "@everyone", &[])).expect("JSON");
        assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
        let long: Value = serde_json::from_str(&shape(Channel::Discord, &"é".repeat(10_000), &[])).expect("JSON");
        let long = long["content"].as_str().expect("a text");
        assert!(long.chars().count() == 2_000 && long.ends_with('…'));
    }

    #[test]
    fn what_breaks_a_limit_is_named_with_the_limit() {
        let with = |change: &dyn Fn(&mut Notification)| {
            let mut changed = notification();
            change(&mut changed);
            check(&changed).map_err(|fault| fault.to_string())
        };
        assert_eq!(with(&|_| ()), Ok(()));
        assert_eq!(with(&|n| n.message = "é".repeat(10_000)), Ok(()));
        assert_eq!(with(&|n| n.attachments = vec![Value::Null; 100]), Ok(()));
        assert_eq!(with(&|n| n.webhook_url = None), Ok(()));
        for edge in [100, 30_000] {
            assert_eq!(with(&|n| n.timeout_ms = edge), Ok(()));
        }
        for edge in [0, 10] {
            assert_eq!(with(&|n| n.retry_count = edge), Ok(()));
        }
        for (change, words) in [
            (
                &(|n: &mut Notification| n.message = " \n".into()) as &dyn Fn(&mut Notification),
                "message: is empty",
            ),
            (
                &|n| n.message = "x".repeat(10_001),
                "message: has 10001 characters; at most 10000",
            ),
            (&|n| n.timeout_ms = 99, "timeout_ms: is 99; it must be 100 to 30000"),
            (&|n| n.timeout_ms = 30_001, "timeout_ms: is 30001"),
            (&|n| n.retry_count = 11, "retry_count: is 11; it must be 0 to 10"),
            (
                &|n| n.attachments = vec![Value::Null; 101],
                "attachments: are 101; at most 100",
            ),
            (
                &|n| n.attachments = vec![json!("x".repeat(1024 * 1024))],
                "attachments: have",
            ),
            (
                &|n| n.webhook_url = Some(Secret::new("ftp://hunter2")),
                "webhook_url: is no http",
            ),
            (
                &|n| n.webhook_url = Some(Secret::new("hunter2")),
                "webhook_url: is no http",
            ),
        ] {
            let refused = with(change).expect_err(words);
            assert!(refused.starts_with(words) && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_subject_is_one_line_with_its_urgency() {
        assert_eq!(
            subject("  it broke\r\nBcc: everybody@example.com", Priority::Normal),
            "it broke"
        );
        assert_eq!(subject("it broke", Priority::Critical), "[critical] it broke");
        assert_eq!(subject(&"x".repeat(500), Priority::Low).chars().count(), 120);
    }
}
