//! Slack through the whole service: a stand-in of the workspace says and shows, the service hears and answers. Knows the outside of the house only.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::clock::SystemClock;
use firstlight::boot::{self, BootError};
use firstlight::logging;
use firstlight::settings::{Flags, Settings, Sources};
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::app::TestApp;
use crate::support::clock::ManualClock;
use crate::support::process::{Served, firstlight};
use crate::support::slack::{APP_TOKEN, BOT, BOT_TOKEN, FakeSlack, Mishap, Said, TICKET};

const CHAT: &str = "\
# Repeats what it was told.
name: chat
description: Repeats what it was told
trigger: message
phases:
  - name: think
    label: Think
    type: script
    env: {MESSAGE: \"{{message}}\", SENDER: \"{{sender}}\"}
    run: printf 'You said %s, %s.' \"$MESSAGE\" \"$SENDER\"
  - name: answer
    label: Answer
    type: reply
    message: \"${think.output}\"
";

const BUILD: &str = "\
# Plans, asks, builds.
name: build
description: Plans, asks, builds
trigger: message
phases:
  - name: plan
    label: Plan
    type: script
    run: echo planned
    approval_gate: plan
    approval_gate_message: Is this plan good?
  - name: work
    label: Work
    type: script
    run: echo built
";

/// A workspace and the service that listens in it.
struct Office {
    app: TestApp,
    slack: FakeSlack,
    _workflows: TempDir,
}

fn workflows() -> (TempDir, String) {
    let overlay = tempfile::tempdir().expect("a folder");
    let folder = overlay.path().join("workflows");
    std::fs::create_dir_all(&folder).expect("made");
    for (name, text) in [("chat.yaml", CHAT), ("build.yaml", BUILD)] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let settings = format!("workflows: {{overlay: \"{}\"}}\n", overlay.path().display());
    (overlay, settings)
}

impl Office {
    async fn open() -> Self {
        Self::open_with(&[], "approvals: {gates: [plan]}\n").await
    }

    async fn open_with(env: &[(&str, &str)], more: &str) -> Self {
        let slack = FakeSlack::start();
        slack.knows("U1", "ann");
        slack.knows("U2", "bob");
        let (overlay, settings) = workflows();
        let mut all = slack.env();
        all.extend(env.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let app = TestApp::start_with(&all, &format!("{settings}{more}")).await;
        slack.connected(1).await;
        Self {
            app,
            slack,
            _workflows: overlay,
        }
    }

    /// Somebody says it and it is acknowledged. Answers its ts.
    async fn says(&self, channel: &str, user: &str, thread: Option<&str>, text: &str) -> String {
        let ts = self.slack.writes(channel, user, thread, text);
        self.told(&ts).await;
        ts
    }

    async fn told(&self, ts: &str) {
        for envelope in self.slack.tells(ts) {
            self.slack.acked(&envelope).await;
        }
    }

    /// What we said in a thread, once nothing is left to do.
    async fn said_in(&self, channel: &str, thread: &str) -> Vec<String> {
        self.app.settle().await;
        let said = self.slack.bot_says(channel).into_iter();
        said.filter(|said| said.thread.as_deref() == Some(thread))
            .map(|said| said.text)
            .collect()
    }

    async fn restart(self) -> Self {
        let before = self.slack.sockets_ever();
        let app = self.app.restart().await;
        self.slack
            .until("a new socket", |slack| (slack.sockets_ever() > before).then_some(()))
            .await;
        Self { app, ..self }
    }

    async fn message(&self, what: &str, holds: impl Fn(&Said) -> bool) -> Said {
        self.slack
            .until(what, |slack| {
                let channels = ["C1", "C2", "D1", "D2", "U1"];
                let all = channels.into_iter().flat_map(|channel| slack.bot_says(channel));
                all.into_iter().find(|said| holds(said))
            })
            .await
    }

    async fn finish(self) {
        self.app.finish().await;
        let unknown: Vec<_> = self.slack.calls_answered("unknown_method");
        assert!(
            unknown.is_empty(),
            "the stand-in was asked what it does not know: {unknown:?}"
        );
        self.slack.stop().await;
    }
}

#[actix::test]
async fn a_direct_message_is_answered_in_its_thread_while_a_status_is_shown() {
    let office = Office::open().await;
    let ts = office.says("D1", "U1", None, "hello").await;
    assert_eq!(office.said_in("D1", &ts).await, ["You said hello, ann."]);
    let statuses = office.slack.statuses("D1", &ts);
    assert_eq!(statuses, ["is working on it …", ""]);
    assert!(office.slack.reactions("D1", &ts).is_empty());

    let event = office.app.event(&format!("slack-D1-{ts}")).await;
    assert_eq!((&event["type"], &event["sender"]), (&json!("message"), &json!("ann")));
    let raw = &event["raw"];
    for (key, value) in [
        ("platformUserId", "U1"),
        ("channelId", "D1"),
        ("threadId", &ts),
        ("text", "hello"),
    ] {
        assert_eq!(raw[key], value, "{key} of {event}");
    }
    let reply = &office.slack.calls("chat.postMessage")[0].input;
    assert_eq!(reply["unfurl_links"], false);
    assert_eq!(reply["metadata"]["event_type"], "firstlight_effect");
    office.finish().await;
}

#[actix::test]
async fn a_mention_is_heard_once_and_its_thread_is_followed() {
    let office = Office::open().await;
    office.says("C1", "U2", None, "lunch?").await;
    // A mention comes twice: as a message and as itself.
    let ts = office
        .says(
            "C1",
            "U1",
            None,
            &format!("<@{BOT}> hi &amp; hello <https://x.test|here>"),
        )
        .await;
    let said = office.said_in("C1", &ts).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("You said hi &amp; hello https://x.test"),
        "{said:?}"
    );
    let again = office.says("C1", "U2", Some(&ts), "me, too").await;
    assert_eq!(office.said_in("C1", &ts).await[1], "You said me, too, bob.");
    // Slack delivers it again, to this process and to the next one.
    office.told(&again).await;
    let office = office.restart().await;
    office.told(&again).await;
    office.told(&ts).await;
    assert_eq!(office.said_in("C1", &ts).await.len(), 2);
    assert_eq!(office.app.events().await.len(), 2, "lunch was not for us");
    // Neither bots nor ourselves nor edits.
    for event in [
        json!({ "type": "message", "channel": "D1", "user": BOT, "text": "me", "ts": "9999999999.000001", "channel_type": "im" }),
        json!({ "type": "message", "channel": "D1", "user": "U1", "bot_id": "B1", "text": "beep", "ts": "9999999999.000002", "channel_type": "im" }),
        json!({ "type": "message", "subtype": "message_changed", "channel": "D1", "ts": "9999999999.000003", "channel_type": "im",
            "message": { "type": "message", "user": "U1", "text": "changed", "ts": "1700000000.000001" } }),
    ] {
        let envelope = office.slack.sends_event(&event);
        office.slack.acked(&envelope).await;
    }
    assert_eq!(office.app.events().await.len(), 2);
    office.finish().await;
}

#[actix::test]
async fn nothing_of_a_stranger_is_kept_and_a_command_is_told_why() {
    let office = Office::open_with(&[("SLACK_ALLOWED_USERS", "U1")], "").await;
    office.says("D2", "U666", None, "my secret").await;
    let command = office.slack.slash("C1", "U666", "/status", "my secret");
    let answer = office.slack.acked(&command).await;
    assert!(
        answer["text"].as_str().is_some_and(|text| text.contains("the list")),
        "{answer}"
    );
    assert_eq!(answer["response_type"], "ephemeral");
    let message = Said::of_bot("C1", "1700000000.000001");
    let press = office.slack.presses(
        &message,
        "U666",
        "approval_approve",
        "0197f000-0000-7000-8000-000000000000",
    );
    office.slack.acked(&press).await;
    assert_eq!(office.slack.responses().len(), 1);
    assert_eq!(office.app.events().await.len(), 0);
    assert!(
        office.slack.calls("users.info").is_empty(),
        "not even the name was looked up"
    );
    assert!(office.slack.calls("chat.postMessage").is_empty());
    office.finish().await;
}

#[actix::test]
async fn a_message_with_parts_of_tomorrow_is_heard_and_the_first_sentence_stays_the_first() {
    let office = Office::open().await;
    office.slack.connected(4).await;
    office.slack.spreads();
    let first = office.slack.writes("D1", "U1", None, "first");
    let event = json!({
        "type": "message", "channel": "D1", "user": "U1", "text": "first", "ts": first, "channel_type": "im",
        "blocks": [{ "type": "of_tomorrow", "elements": 7 }], "metadata": { "event_type": "x", "event_payload": [1] },
    });
    let envelope = office.slack.sends_event(&event);
    office.slack.acked(&envelope).await;
    let more: Vec<_> = (0..8)
        .map(|n| office.slack.says("D1", "U1", Some(&first), &format!("sentence {n}")))
        .collect();
    let said = office
        .slack
        .until("all answers", |slack| {
            let said = slack.bot_says("D1");
            (said.len() > more.len()).then_some(said)
        })
        .await;
    assert_eq!(said[0].text, "You said first, ann.");
    office.finish().await;
}

#[actix::test]
async fn slash_commands_are_answered_so_that_only_their_author_sees_it() {
    let office = Office::open().await;
    let command = office.slack.slash("C1", "U1", "/status", "");
    assert_eq!(office.slack.acked(&command).await["text"], "On it …");
    office.app.settle().await;
    let said = office.slack.bot_says("C1");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].only_for.as_deref(), said[0].text.as_str()),
        (Some("U1"), "No tasks currently running.")
    );
    // Typed where the bot is not: the answer comes to the person.
    office
        .slack
        .next_call("chat.postEphemeral", Mishap::Error("user_not_in_channel"));
    let command = office.slack.slash("C2", "U1", "/runs", "");
    office.slack.acked(&command).await;
    office.app.settle().await;
    assert_eq!(office.slack.bot_says("C2").len(), 0);
    assert_eq!(office.slack.bot_says("U1")[0].text, "There are no runs yet.");
    office.finish().await;
}

#[actix::test]
async fn a_question_is_answered_by_its_button_and_loses_it() {
    let office = Office::open().await;
    office.says("D1", "U1", None, "build acme/site#7").await;
    let asked = office.message("the question", |said| said.blocks[1].is_object()).await;
    assert_eq!(asked.text, "Is this plan good?");
    let buttons = asked.blocks[1]["elements"].as_array().expect("buttons").clone();
    let names: Vec<_> = buttons.iter().map(|button| &button["action_id"]).collect();
    assert_eq!(names, ["approval_approve", "approval_reject"]);
    let which = buttons[0]["value"].as_str().expect("the question").to_owned();

    let foreign = office.slack.presses(&asked, "U2", "somebody_elses", &which);
    office.slack.acked(&foreign).await;
    let garbled = office
        .slack
        .presses(&asked, "U2", "approval_approve", "../../etc/passwd");
    office.slack.acked(&garbled).await;
    let press = office.slack.presses(&asked, "U2", "approval_approve", &which);
    office.slack.acked(&press).await;
    let closed = office
        .message("the question without buttons", |said| {
            said.ts == asked.ts && said.edits == 1
        })
        .await;
    assert_eq!(closed.text, "Is this plan good?\n\n_Approved by bob._");
    assert_eq!(closed.blocks, json!([]));
    office.app.settle().await;
    let told = office
        .message("the answer for bob", |said| said.only_for.as_deref() == Some("U2"))
        .await;
    assert_eq!(told.text, "Approved by @bob.");
    office
        .message("the progress, edited to its end", |said| {
            said.text.starts_with("`build` for acme/site#7: completed") && said.edits > 0
        })
        .await;
    office.finish().await;
}

#[actix::test]
async fn a_question_that_is_answered_elsewhere_loses_its_buttons_too() {
    let office = Office::open().await;
    office.says("D1", "U1", None, "build acme/site#7").await;
    let asked = office.message("the question", |said| said.blocks[1].is_object()).await;
    let which = asked.blocks[1]["elements"][0]["value"].as_str().expect("the question");
    let token = office.app.login().await;
    let path = format!("/admin/api/approvals/{which}/respond");
    let answer = json!({ "decision": "rejected", "reason": "too risky" });
    assert_eq!(office.app.post(&path, Some(&token), &answer).await.status, 200);
    let closed = office
        .message("the question without buttons", |said| {
            said.ts == asked.ts && said.edits == 1
        })
        .await;
    assert!(closed.text.contains("Rejected by"), "{closed:?}");
    assert_eq!(closed.blocks, json!([]));
    // No runner saw this end; the message that tells the progress knows of it all the same, and so does the thread.
    office
        .message("the progress, edited to its end", |said| {
            said.text
                .starts_with("`build` for acme/site#7: failed: Rejected by admin: too risky")
                && said.edits > 0
        })
        .await;
    office
        .message("the notice", |said| {
            said.text.starts_with("`build` failed: Rejected by admin")
        })
        .await;
    office.finish().await;
}

#[actix::test]
async fn a_run_that_is_cancelled_while_it_waits_says_so_in_its_thread_once() {
    let office = Office::open().await;
    office.says("D1", "U1", None, "build acme/site#7").await;
    office.message("the question", |said| said.blocks[1].is_object()).await;
    let token = office.app.login().await;
    let runs = office
        .app
        .get("/admin/api/workflow-runs?status=active", Some(&token))
        .await;
    let run = runs.json()["workflowRuns"][0]["id"].as_str().expect("a run").to_owned();
    let path = format!("/admin/api/workflow-runs/{run}/cancel");
    assert_eq!(office.app.post(&path, Some(&token), &json!({})).await.status, 200);
    let cancelled = |said: &Said| said.text.contains("cancelled by admin");
    office
        .message("the progress", |said| cancelled(said) && said.edits > 0)
        .await;
    office
        .message("the notice", |said| cancelled(said) && said.edits == 0)
        .await;
    let office = office.restart().await;
    office.app.settle().await;
    let notices = office.slack.bot_says("D1");
    let notices = notices.iter().filter(|said| cancelled(said) && said.edits == 0);
    assert_eq!(notices.count(), 1);
    office.finish().await;
}

#[actix::test]
async fn a_long_message_is_answered_in_pieces_in_order_and_notifies_nobody() {
    let office = Office::open().await;
    let words = (0..1_700).map(|n| format!("word{n} ")).collect::<String>();
    let long = format!("<!here> <!channel> 🚀 {words}");
    let ts = office.says("D1", "U1", None, &long).await;
    office.message("the end", |said| said.text.contains("word1699")).await;
    let said = office.said_in("D1", &ts).await;
    assert!(said.len() >= 4, "{}", said.len());
    assert!(said.iter().all(|piece| piece.encode_utf16().count() <= 3_000));
    assert!(
        said.iter()
            .all(|piece| !piece.contains("<!here") && !piece.contains("<!channel"))
    );
    let all = said.join(" ");
    let order: Vec<usize> = (0..1_700)
        .step_by(100)
        .filter_map(|n| all.find(&format!("word{n} ")))
        .collect();
    assert!(order.len() == 17 && order.is_sorted(), "{order:?}");
    // As long as Slack lets a person write; and nothing but a picture.
    let huge = office
        .says("D2", "U1", None, &"x".repeat(39_000).replace("xxxxxxxxx", "xxxxxxxx "))
        .await;
    let event = office.app.event(&format!("slack-D2-{huge}")).await;
    assert!(event["body"].as_str().is_some_and(|body| body.len() > 35_000));
    let emoji = office.says("C2", "U1", None, &format!("<@{BOT}> 🚀")).await;
    assert_eq!(office.said_in("C2", &emoji).await, ["You said 🚀, ann."]);
    office.app.finish_quietly().await;
}

#[actix::test]
async fn patience_that_slack_asks_for_is_given_and_the_message_comes_once() {
    let office = Office::open().await;
    office.slack.next_call("chat.postMessage", Mishap::RateLimited(1));
    let ts = office.says("D1", "U1", None, "hello").await;
    office.message("the answer", |said| said.channel == "D1").await;
    let calls = office.slack.calls("chat.postMessage");
    assert_eq!(calls.len(), 2, "{calls:?}");

    // Slack posts it and the answer is lost on the way: we look before we repeat.
    office.slack.next_call("chat.postMessage", Mishap::Swallow);
    let other = office.says("D2", "U2", None, "hi").await;
    office
        .slack
        .until("a look", |slack| {
            let looks = slack.calls("conversations.replies");
            looks.into_iter().find(|look| look.input["channel"] == "D2")
        })
        .await;
    office.says("D1", "U1", Some(&ts), "still there?").await;
    assert_eq!(office.said_in("D1", &ts).await.len(), 2);
    assert_eq!(office.said_in("D2", &other).await, ["You said hi, bob."]);

    // A failure over there, and one that is for good: the one is tried again, the other is not.
    office.slack.next_call("chat.postMessage", Mishap::Status(503));
    office.says("D1", "U1", Some(&ts), "and now?").await;
    office
        .message("the third answer", |said| said.text.contains("and now?"))
        .await;
    office.finish().await;
}

#[actix::test]
async fn who_slack_does_not_name_is_called_by_id_and_a_status_it_refuses_is_a_reaction() {
    let office = Office::open().await;
    office.slack.next_call("users.info", Mishap::Status(500));
    for _ in 0..2 {
        office
            .slack
            .next_call("assistant.threads.setStatus", Mishap::Error("missing_scope"));
    }
    let ts = office.says("D1", "U1", None, "hello").await;
    assert_eq!(office.said_in("D1", &ts).await, ["You said hello, U1."]);
    let added = office.slack.calls("reactions.add");
    assert_eq!((added.len(), &added[0].input["name"]), (1, &json!("eyes")));
    assert!(office.slack.reactions("D1", &ts).is_empty(), "it is taken away again");
    let ts = office.says("D1", "U404", None, "hello").await;
    assert_eq!(office.said_in("D1", &ts).await, ["You said hello, U404."]);
    office.finish().await;
}

#[actix::test]
async fn sockets_come_back_and_what_was_missed_is_heard_once() {
    let office = Office::open().await;
    office.slack.connected(4).await;
    let ts = office.says("D1", "U1", None, "hello").await;
    // Slack announces it, then says nothing at all.
    for (round, leaves) in [FakeSlack::disconnects, FakeSlack::hangs_up].into_iter().enumerate() {
        let before = office.slack.sockets_ever();
        let missed = office.slack.writes("D1", "U1", Some(&ts), &format!("missed {round}"));
        let began = office.slack.writes("D1", "U1", None, &format!("began {round}"));
        leaves(&office.slack);
        office
            .slack
            .until("new sockets", |slack| {
                (slack.sockets_ever() >= before + 4).then_some(())
            })
            .await;
        office
            .message("an answer to what was missed", |said| {
                said.text.contains(&format!("missed {round}"))
            })
            .await;
        office
            .message("an answer to what began meanwhile", |said| {
                said.text.contains(&format!("began {round}"))
            })
            .await;
        // Slack remembers it after all.
        office.slack.connected(1).await;
        office.told(&missed).await;
        office.told(&began).await;
    }
    // Nonsense on the line, and the same envelope again and again.
    for garbage in [
        "",
        "{",
        "[]",
        "null",
        "{\"type\":\"new\"}",
        "{\"type\":\"events_api\",\"envelope_id\":7}",
    ] {
        office.slack.sends_text(garbage);
    }
    office.slack.sends(
        "events_api",
        &json!({ "type": "event_callback", "event": { "type": "message" } }),
    );
    let last = office.says("D1", "U1", Some(&ts), "and on").await;
    for _ in 0..3 {
        office.told(&last).await;
    }
    let said = office.said_in("D1", &ts).await;
    assert_eq!(
        said.iter()
            .map(|text| text.trim_end_matches(", ann."))
            .collect::<Vec<_>>(),
        [
            "You said hello",
            "You said missed 0",
            "You said missed 1",
            "You said and on"
        ]
    );
    office.finish().await;
}

#[actix::test]
async fn what_was_said_while_the_service_was_down_is_heard_when_it_is_up() {
    let office = Office::open().await;
    let ts = office.says("D1", "U1", None, "hello").await;
    office.app.settle().await;
    office.slack.writes("D1", "U1", Some(&ts), "anybody?");
    let office = office.restart().await;
    office
        .message("the answer", |said| said.text == "You said anybody?, ann.")
        .await;
    office.finish().await;
}

#[actix::test]
async fn silence_is_death() {
    let slack = FakeSlack::start();
    let clock = ManualClock::new();
    let env = slack.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = TestApp::start_by(Arc::new(clock.clone()), &env, "").await;
    slack.connected(1).await;
    slack.falls_silent();
    let before = slack.sockets_ever();
    for _ in 0..5 {
        clock.pass(Duration::from_secs(60)).await;
    }
    slack
        .until("new sockets", |slack| (slack.sockets_ever() > before).then_some(()))
        .await;
    slack.connected(1).await;
    let ts = slack.writes("C1", "U1", None, "not for us");
    for envelope in slack.tells(&ts) {
        slack.acked(&envelope).await;
    }
    app.finish_quietly().await;
    slack.stop().await;
}

fn sources(folder: &TempDir, slack: &FakeSlack, settings: &str) -> Sources {
    std::fs::write(folder.path().join("firstlight.yaml"), settings).expect("written");
    let mut env: BTreeMap<String, String> = slack
        .env()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    env.insert("WEBHOOK_SECRET".into(), "a secret of the tests".into());
    Sources {
        flags: Flags {
            listen: Some("127.0.0.1:0".into()),
            state_dir: Some(folder.path().join("state")),
            ..Flags::default()
        },
        env,
        cwd: folder.path().to_owned(),
    }
}

#[actix::test]
async fn a_refused_token_is_told_at_the_start() {
    let slack = FakeSlack::start();
    slack.refuses_tokens(true);
    let folder = tempfile::tempdir().expect("a folder");
    let loaded = Settings::load(&sources(&folder, &slack, "")).expect("sound settings");
    let error = match boot::open(&loaded, SystemClock::shared()).await {
        Err(BootError::Runtime(error)) => format!("{error:#}"),
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert!(error.contains("connector \"slack\" did not start"), "{error}");
    assert!(
        error.contains("invalid_auth") && error.contains("SLACK_BOT_TOKEN"),
        "{error}"
    );
    assert!(!error.contains(BOT_TOKEN) && !error.contains(APP_TOKEN), "{error}");
    slack.stop().await;
}

#[actix::test]
async fn a_slack_that_is_down_at_the_start_holds_nobody_up() {
    let slack = FakeSlack::start();
    slack.next_call("auth.test", Mishap::Status(503));
    let folder = tempfile::tempdir().expect("a folder");
    let loaded = Settings::load(&sources(&folder, &slack, "")).expect("sound settings");
    let house = boot::open(&loaded, SystemClock::shared()).await.expect("it opens");
    assert!(house.address().is_some());
    slack.connected(1).await;
    house.stop().await;
    slack
        .until("no sockets", |slack| (slack.sockets() == 0).then_some(()))
        .await;
    slack.stop().await;
}

#[actix::test]
async fn without_github_there_is_a_chat_and_no_listener() {
    let slack = FakeSlack::start();
    slack.knows("U1", "ann");
    let folder = tempfile::tempdir().expect("a folder");
    let (_overlay, settings) = workflows();
    let settings = format!("{settings}github: {{enabled: false}}\n");
    let loaded = Settings::load(&sources(&folder, &slack, &settings)).expect("sound settings");
    let house = boot::open(&loaded, SystemClock::shared()).await.expect("it opens");
    assert!(house.address().is_none());
    slack.connected(1).await;
    slack.says("D1", "U1", None, "hello");
    let said = slack
        .until("an answer", |slack| slack.bot_says("D1").into_iter().next())
        .await;
    assert_eq!(said.text, "You said hello, ann.");
    house.settle().await;
    house.stop().await;
    slack.stop().await;
}

#[actix::test]
async fn a_process_that_is_killed_after_the_acknowledgement_answers_once() {
    let slack = FakeSlack::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (_overlay, settings) = workflows();
    let env = sources(&folder, &slack, &settings).env;
    for round in 0..3 {
        let serve = {
            let (path, env) = (folder.path().to_owned(), env.clone());
            move || Served::start(&path, &env)
        };
        let first = actix_rt::task::spawn_blocking(serve.clone()).await.expect("it starts");
        slack.connected(1).await;
        let before = slack.bot_says("D1").len();
        let ts = slack.writes("D1", "U1", None, &format!("hello {round}"));
        for envelope in slack.tells(&ts) {
            slack.acked(&envelope).await;
        }
        first.kill();
        slack
            .until("no sockets", |slack| (slack.sockets() == 0).then_some(()))
            .await;
        let second = actix_rt::task::spawn_blocking(serve).await.expect("it starts");
        slack
            .until("the answer", |slack| {
                (slack.bot_says("D1").len() > before).then_some(())
            })
            .await;
        slack.connected(1).await;
        for envelope in slack.tells(&ts) {
            slack.acked(&envelope).await;
        }
        let ended = actix_rt::task::spawn_blocking(move || second.terminate())
            .await
            .expect("it stops");
        assert!(ended.0.success(), "{ended:?}");
        assert_eq!(slack.bot_says("D1").len(), before + 1, "round {round}");
    }
    slack.stop().await;
}

/// Lines as they would be written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[actix::test]
async fn no_line_of_the_log_holds_the_ticket_of_a_socket_a_token_or_what_was_said() {
    let lines = Lines::default();
    let logging = tracing_subscriber::fmt()
        .with_env_filter(logging::filter("debug"))
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(logging);
    let office = Office::open_with(&[("SLACK_ALLOWED_USERS", "U1")], "").await;
    let ts = office.says("D1", "U1", None, "hello").await;
    office.says("D2", "U666", None, "my-own-secret").await;
    office.slack.connected(4).await;
    office.slack.hangs_up();
    office
        .slack
        .until("new sockets", |slack| (slack.sockets_ever() > 4).then_some(()))
        .await;
    office.slack.refuses_sockets(true);
    office.slack.disconnects();
    office
        .slack
        .sends_text("{\"type\":\"nonsense\",\"text\":\"my-own-secret\"}");
    office.said_in("D1", &ts).await;
    let answers = office.app.read("/admin/api/events?limit=50").await.to_string();
    let text = String::from_utf8(lines.0.lock().expect("whole").clone()).expect("text");
    assert!(text.contains("connected to Slack"), "{text}");
    for secret in [TICKET, BOT_TOKEN, APP_TOKEN, "my-own-secret"] {
        assert!(
            !text.contains(secret) && !answers.contains(secret),
            "{secret} stands in:\n{text}"
        );
    }
    office.app.finish_quietly().await;
}

#[test]
fn the_manifest_is_made_for_this_deployment() {
    let output = firstlight()
        .args(["slack", "manifest"])
        .env("BOT_NAME", "acme-light")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let manifest: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(manifest["display_information"]["name"], "acme-light");
    let commands: Vec<_> = manifest["features"]["slash_commands"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|command| command["command"].as_str().expect("a name").to_owned())
        .collect();
    for wanted in ["/approve", "/reject", "/status", "/runs", "/run", "/reset", "/help"] {
        assert!(
            commands.iter().any(|command| command == wanted),
            "{wanted} in {commands:?}"
        );
    }
}

#[actix::test]
async fn a_burst_over_several_sockets_is_acknowledged_to_the_last() {
    let office = Office::open().await;
    office.slack.connected(4).await;
    office.slack.spreads();
    let before = office.slack.ack_count();
    for n in 0..300 {
        let (user, root) = (
            if n % 2 == 0 { "U1" } else { "U2" },
            format!("1700000000.{:06}", n % 30),
        );
        office.slack.says("D1", user, Some(&root), &format!("hello {n}"));
    }
    // How soon is measured in the benchmark.
    office
        .slack
        .until("all acknowledgements", |slack| {
            (slack.ack_count() >= before + 300).then_some(())
        })
        .await;
    office.app.finish_quietly().await;
}
