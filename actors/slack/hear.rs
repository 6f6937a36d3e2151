//! What of Slack's events is a person's message, a command or a pressed button. Pure: knows Slack's shapes and ours, no socket and no store.

use slack_morphism::prelude::{
    SlackChannelType, SlackCommandEvent, SlackEventCallbackBody, SlackInteractionActionContainer,
    SlackInteractionEvent, SlackMessageEvent, SlackPushEventCallback, ValueStruct,
};

use super::web::Past;
use crate::messages::slack::{Heard, HeardCommand, Pressed};

/// What an event is to us.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A person's message.
    Message(Heard),
    /// A message whose content the library could not read: it has to be read again from the history.
    Unread(Heard),
    /// Nothing of ours: another bot, an edit, a join, a reaction.
    Passed,
}

/// What an event of the Events API is to us. `bot` is our user id.
pub(super) fn message(event: &SlackPushEventCallback, bot: &str) -> Event {
    let team = event.team_id.value();
    match &event.event {
        SlackEventCallbackBody::Message(message) => spoken(message, team, bot),
        SlackEventCallbackBody::AppMention(mention) => {
            let text = mention.content.text.clone().unwrap_or_default();
            if text.is_empty() || mention.edited.is_some() {
                return Event::Passed;
            }
            Event::Message(Heard {
                team: team.clone(),
                channel: mention.channel.value().clone(),
                ts: mention.origin.ts.value().clone(),
                thread: mention.origin.thread_ts.as_ref().map(|ts| ts.value().clone()),
                user: mention.user.value().clone(),
                text,
                direct: false,
                mentioned: true,
            })
        }
        _ => Event::Passed,
    }
}

fn spoken(message: &SlackMessageEvent, team: &str, bot: &str) -> Event {
    let (Some(user), Some(channel)) = (&message.sender.user, &message.origin.channel) else {
        return Event::Passed;
    };
    // A subtype means that nobody wrote this just now: an edit, a join, a bot.
    if message.subtype.is_some()
        || message.hidden == Some(true)
        || message.sender.bot_id.is_some()
        || user.value() == bot
    {
        return Event::Passed;
    }
    let direct = message
        .origin
        .channel_type
        .as_ref()
        .map(SlackChannelType::value)
        .map(String::as_str)
        == Some("im");
    let text = message
        .content
        .as_ref()
        .map(|content| content.text.clone().unwrap_or_default());
    let heard = Heard {
        team: team.to_owned(),
        channel: channel.value().clone(),
        ts: message.origin.ts.value().clone(),
        thread: message.origin.thread_ts.as_ref().map(|ts| ts.value().clone()),
        user: user.value().clone(),
        mentioned: text.as_deref().is_some_and(|text| mentions(text, bot)),
        text: text.clone().unwrap_or_default(),
        direct,
    };
    match text {
        None => Event::Unread(heard),
        Some(text) if text.is_empty() => Event::Passed,
        Some(_) => Event::Message(heard),
    }
}

/// A message that the history shows, as if it had just been heard; nothing, if no person wrote it.
pub(super) fn remembered(past: &Past, team: &str, channel: &str, direct: bool, bot: &str) -> Option<Heard> {
    let user = past.user.clone()?;
    if past.subtype.is_some() || past.bot_id.is_some() || user == bot || past.text.is_empty() {
        return None;
    }
    Some(Heard {
        team: team.to_owned(),
        channel: channel.to_owned(),
        ts: past.ts.clone(),
        thread: past.thread_ts.clone(),
        user,
        mentioned: mentions(&past.text, bot),
        text: past.text.clone(),
        direct,
    })
}

fn mentions(text: &str, bot: &str) -> bool {
    // `<@UBOT>`, or `<@UBOT|light>` from older clients.
    text.contains(&format!("<@{bot}>")) || text.contains(&format!("<@{bot}|"))
}

/// A slash command as it was typed.
pub(super) fn command(event: &SlackCommandEvent) -> HeardCommand {
    HeardCommand {
        team: event.team_id.value().clone(),
        channel: event.channel_id.value().clone(),
        user: event.user_id.value().clone(),
        command: event.command.value().trim_start_matches('/').to_owned(),
        text: event.text.clone().unwrap_or_default().trim().to_owned(),
        trigger: event.trigger_id.value().clone(),
    }
}

/// The first button that was pressed, if that is what happened.
pub(super) fn press(event: &SlackInteractionEvent) -> Option<Pressed> {
    let SlackInteractionEvent::BlockActions(pressed) = event else {
        return None;
    };
    let user = pressed.user.as_ref()?.id.value().clone();
    let SlackInteractionActionContainer::Message(container) = &pressed.container else {
        return None;
    };
    let channel = container
        .channel_id
        .as_ref()
        .or(pressed.channel.as_ref().map(|channel| &channel.id))?
        .value()
        .clone();
    let action = pressed.actions.as_ref()?.first()?;
    Some(Pressed {
        team: pressed.team.id.value().clone(),
        trigger: pressed.trigger_id.value().clone(),
        channel,
        ts: container.message_ts.value().clone(),
        user,
        action: action.action_id.value().clone(),
        value: action.value.clone().unwrap_or_default(),
        response_url: pressed
            .response_url
            .as_ref()
            .map(|url| crate::domain::Secret::new(url.value().to_string())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(body: Value) -> SlackPushEventCallback {
        serde_json::from_value(json!({
            "team_id": "T", "api_app_id": "A", "event": body, "event_id": "Ev1", "event_time": 1_700_000_000
        }))
        .expect("the library reads it")
    }

    fn said(change: impl FnOnce(&mut Value)) -> Event {
        let mut body = json!({
            "type": "message", "channel": "C1", "user": "U1", "text": "hello", "ts": "1700000000.000100",
            "channel_type": "channel", "event_ts": "1700000000.000100"
        });
        change(&mut body);
        message(&event(body), "UBOT")
    }

    #[test]
    fn a_persons_words_are_heard_and_everything_else_is_passed() {
        let Event::Message(heard) = said(|_| {}) else {
            panic!("a message")
        };
        assert_eq!(
            (heard.channel.as_str(), heard.user.as_str(), heard.text.as_str()),
            ("C1", "U1", "hello")
        );
        assert!(!heard.direct && !heard.mentioned && heard.thread.is_none());

        let Event::Message(direct) = said(|body| {
            body["channel_type"] = json!("im");
            body["thread_ts"] = json!("1699999999.000100");
        }) else {
            panic!("a message")
        };
        assert!(direct.direct);
        assert_eq!(direct.thread.as_deref(), Some("1699999999.000100"));

        let Event::Message(mention) = said(|body| body["text"] = json!("<@UBOT> help")) else {
            panic!("a message")
        };
        assert!(mention.mentioned);

        type Bend = fn(&mut Value);
        let passed: [(&str, Bend); 6] = [
            ("a bot", |body| body["bot_id"] = json!("B1")),
            ("an edit", |body| body["subtype"] = json!("message_changed")),
            ("a subtype of tomorrow", |body| body["subtype"] = json!("something_new")),
            ("nobody", |body| {
                body.as_object_mut().expect("an object").remove("user");
            }),
            ("no words", |body| body["text"] = json!("")),
            ("ourselves", |body| body["user"] = json!("UBOT")),
        ];
        for (what, bend) in passed {
            assert_eq!(said(bend), Event::Passed, "{what}");
        }
        assert_eq!(
            message(&event(json!({ "type": "something_new", "channel": "C1" })), "UBOT"),
            Event::Passed
        );
    }

    #[test]
    fn a_message_whose_blocks_the_library_does_not_know_is_not_lost() {
        let bent = said(|body| body["metadata"] = json!({ "event_type": "x", "event_payload": { "n": 1 } }));
        match bent {
            Event::Message(heard) => assert_eq!(heard.text, "hello"),
            Event::Unread(heard) => assert_eq!((heard.channel.as_str(), heard.user.as_str()), ("C1", "U1")),
            Event::Passed => panic!("a person's message was passed over"),
        }
    }

    #[test]
    fn a_mention_and_its_twin_message_are_the_same_words_at_the_same_time() {
        let twin = message(
            &event(json!({
                "type": "app_mention", "channel": "C1", "user": "U1", "text": "<@UBOT> help", "ts": "1700000000.000100"
            })),
            "UBOT",
        );
        let Event::Message(twin) = twin else {
            panic!("a message")
        };
        let Event::Message(message) = said(|body| body["text"] = json!("<@UBOT> help")) else {
            panic!("a message")
        };
        assert_eq!((twin.channel, twin.ts), (message.channel, message.ts));
        assert!(twin.mentioned);
    }

    #[test]
    fn the_history_is_heard_by_the_same_rules() {
        let past = |value: Value| serde_json::from_value::<Past>(value).expect("read");
        let person = past(json!({ "ts": "2.0", "user": "U1", "text": "<@UBOT|light> go on", "thread_ts": "1.0" }));
        let heard = remembered(&person, "T", "C1", false, "UBOT").expect("a person");
        assert!(heard.mentioned);
        assert_eq!(heard.thread.as_deref(), Some("1.0"));
        for other in [
            json!({ "ts": "2.0", "user": "UBOT", "text": "me" }),
            json!({ "ts": "2.0", "user": "U2", "bot_id": "B", "text": "a bot" }),
            json!({ "ts": "2.0", "user": "U2", "subtype": "channel_join", "text": "joined" }),
            json!({ "ts": "2.0", "text": "nobody" }),
        ] {
            assert_eq!(
                remembered(&past(other.clone()), "T", "C1", false, "UBOT"),
                None,
                "{other}"
            );
        }
    }
}
