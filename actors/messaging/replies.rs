//! What is said in a chat, as effects: converted, cut into pieces, in order. Pure.

use super::chunks::{LIMIT, chunks};
use super::mrkdwn::mrkdwn;
use crate::domain::{Effect, ReplyTo};

/// More pieces than these are not posted: nobody reads them, and a channel takes one a second.
const MOST_PIECES: usize = 20;
const CUT: &str = "_… the rest is cut; the whole text is in the run's phase log._";

/// The acts that say this, with what makes the key of each its own: nothing for the first, then `/2`, `/3` and so on.
/// None where the place is no chat, where no channel is configured, or where there is nothing to say.
#[must_use]
pub fn say(to: &ReplyTo, markdown: &str, delivery_channel: Option<&str>) -> Vec<(String, Effect)> {
    let of = |channel: &str, thread: &str, text: String, first: bool| Effect::SlackMessage {
        channel: channel.to_owned(),
        thread: thread.to_owned(),
        text,
        said: first.then(|| markdown.to_owned()),
    };
    let make: Box<dyn Fn(String, bool) -> Effect + '_> = match (to, delivery_channel) {
        (ReplyTo::SlackThread { channel, thread, .. }, _) => {
            Box::new(move |text, first| of(channel, thread, text, first))
        }
        (ReplyTo::DeliveryChannel, Some(channel)) => Box::new(move |text, _| of(channel, "", text, false)),
        (ReplyTo::SlackPerson { channel, user }, _) => Box::new(move |text, _| Effect::SlackEphemeral {
            channel: channel.clone(),
            user: user.clone(),
            text,
        }),
        (ReplyTo::DeliveryChannel, None) | (ReplyTo::IssueComment { .. } | ReplyTo::Nobody, _) => return Vec::new(),
    };
    let mut pieces = chunks(&mrkdwn(markdown), LIMIT);
    if pieces.len() > MOST_PIECES {
        pieces.truncate(MOST_PIECES - 1);
        pieces.push(CUT.to_owned());
    }
    let numbered = pieces.into_iter().enumerate();
    numbered
        .map(|(index, text)| {
            let key = if index == 0 {
                String::new()
            } else {
                format!("/{}", index + 1)
            };
            (key, make(text, index == 0))
        })
        .collect()
}

/// One piece, for what cannot go on in another one: a prompt, a message that is edited.
#[must_use]
pub fn in_one(markdown: &str) -> String {
    let mut pieces = chunks(&mrkdwn(markdown), LIMIT - 4);
    let more = pieces.len() > 1;
    let mut first = if pieces.is_empty() {
        String::new()
    } else {
        pieces.swap_remove(0)
    };
    if more {
        first.push_str("\n…");
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread() -> ReplyTo {
        ReplyTo::SlackThread {
            channel: "C1".into(),
            thread: "1.2".into(),
            message: None,
        }
    }

    #[test]
    fn a_long_answer_is_several_messages_in_order() {
        let text = "**word** ".repeat(1_000);
        let said = say(&thread(), &text, None);
        let keys: Vec<_> = said.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["", "/2", "/3"]);
        for (index, (_, effect)) in said.iter().enumerate() {
            let Effect::SlackMessage { thread, said, .. } = effect else {
                panic!("{effect:?}")
            };
            assert_eq!(thread, "1.2");
            assert_eq!(
                said.is_some(),
                index == 0,
                "the transcript has it once, as it was written"
            );
        }
    }

    #[test]
    fn each_place_has_its_own_act() {
        let person = ReplyTo::SlackPerson {
            channel: "C1".into(),
            user: "U1".into(),
        };
        assert!(matches!(
            &say(&person, "hi", None)[..],
            [(_, Effect::SlackEphemeral { .. })]
        ));
        let channel = |effects: Vec<(String, Effect)>| match effects.into_iter().next() {
            Some((_, Effect::SlackMessage { channel, thread, .. })) => Some((channel, thread)),
            _ => None,
        };
        let delivered = say(&ReplyTo::DeliveryChannel, "hi", Some("C9"));
        assert_eq!(channel(delivered), Some(("C9".into(), String::new())));
        for (to, text) in [
            (ReplyTo::DeliveryChannel, "hi"),
            (ReplyTo::Nobody, "hi"),
            (thread(), " \n"),
        ] {
            assert_eq!(say(&to, text, None), []);
        }
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let said = say(&thread(), &"word ".repeat(40_000), None);
        assert_eq!(said.len(), MOST_PIECES);
        assert!(in_one(&"word ".repeat(4_000)).encode_utf16().count() <= LIMIT);
        assert_eq!(in_one(""), "");
    }
}
