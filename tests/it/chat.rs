//! Conversations through the inside of the house: a chat connector of the tests' own speaks with the real store, dispatcher,
//! runs and outbox; only the platform is a screen that remembers. Knows no HTTP.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use actors::clock::SharedClock;
use actors::connectors::{Connector, ConnectorRegistry, SinkMaker};
use actors::dispatch::{DispatcherRules, Routes, SlackRoutes};
use actors::domain::{Effect, EventFilter, ManagedRepos, Recorded, SessionId, Source};
use actors::github::{Credentials, GithubClientConfig};
use actors::house::{Belfry, Bells};
use actors::messages::outbound::{OutboundFault, Perform, Performed};
use actors::messages::store::{ListEvents, OpenGates, ReadEvent};
use actors::messaging::{AllowedUsers, Desk, DeskDoors, DeskRules, Heard, Inbound, Ordered, Unheard};
use actors::outbound::{DeliveryConfig, GitConfig, Guard, SystemResolver};
use actors::runs::RunsConfig;
use actors::state::StateConfig;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use actors::store::{Store, StoreDoor};
use actors::system::{System, SystemConfig};
use actors::workflows::{self, SharedCatalog};
use chrono::TimeDelta;
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::clock::AheadClock;

#[actix::test]
async fn a_conversation_is_answered_in_its_thread_with_what_was_said_before() {
    let house = House::start().await;
    assert!(taken(house.writes(&direct("1.0", "hello")).await));
    assert_eq!(house.said_in("1.0").await, ["You said hello, ann. Before:"]);

    // The ids of the place are kept with the platform's own event, and nothing of it is lost.
    let id = "slack-C1-1.0".to_owned();
    let (event, raw) = house
        .store
        .read_event(ReadEvent { id })
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(
        (event.envelope.sender.as_str(), event.envelope.body.as_str()),
        ("ann", "hello")
    );
    let raw: Value = serde_json::from_str(raw.expect("kept").payload().expect("JSON").get()).expect("JSON");
    for (key, value) in [
        ("type", "message"),
        ("platformUserId", "U1"),
        ("channelId", "C1"),
        ("threadId", "1.0"),
    ] {
        assert_eq!(raw[key], value, "{key}");
    }
    assert!(
        raw["sessionId"]
            .as_str()
            .is_some_and(|id| id.parse::<SessionId>().is_ok())
    );

    // In its thread, without a mention; the platform delivers it three times.
    let more = Inbound {
        thread: Some("1.0".into()),
        ..direct("2.0", "and <!channel> now?")
    };
    assert!(taken(house.writes(&more).await));
    for _ in 0..2 {
        assert_eq!(house.writes(&more).await, Heard::Taken(Recorded::AlreadySeen));
    }
    let said = house.said_in("1.0").await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1].starts_with("You said and &lt;!channel&gt; now?, ann. Before:"),
        "{said:?}"
    );
    assert!(
        said[1].contains("ann: hello") && said[1].contains("assistant: You said hello"),
        "{said:?}"
    );
    // A sign of life each time, which ends after the answer.
    let signs = house.screen.typing();
    assert_eq!(signs, [true, false, true, false]);
    house.finish().await;
}

#[actix::test]
async fn only_what_is_said_to_us_is_heard() {
    let house = House::start().await;
    let dropped = async |inbound| match house.writes(&inbound).await {
        Heard::Dropped(why) => why,
        heard => panic!("{heard:?}"),
    };
    // Between others, without our name, and where no conversation goes on.
    assert_eq!(dropped(channel("1.0", "hello all")).await, Unheard::NotAddressed);
    let in_thread = |message: &str, user: &str, text: &str| Inbound {
        thread: Some("1.0".into()),
        user: user.into(),
        ..channel(message, text)
    };
    assert_eq!(dropped(in_thread("1.1", "U1", "hello")).await, Unheard::NotAddressed);
    assert_eq!(dropped(in_thread("1.2", "U1", " <@UBOT> ")).await, Unheard::Empty);
    // Named once, we follow the thread, whoever writes in it.
    assert!(taken(
        house.writes(&in_thread("1.3", "U1", "<@ubot>, are you there?")).await
    ));
    assert!(taken(house.writes(&in_thread("1.4", "U012AB3CD", "me too")).await));
    assert_eq!(dropped(channel("2.0", "another thread")).await, Unheard::NotAddressed);
    let said = house.said_in("1.0").await;
    assert!(said[0].starts_with("You said , are you there?, ann."), "{said:?}");
    assert!(
        said[1].starts_with("You said me too, bob. Before:"),
        "each has a conversation of their own"
    );
    // After half an hour of silence it is over.
    house.clock.passes(TimeDelta::minutes(31));
    assert_eq!(
        dropped(in_thread("1.5", "U012AB3CD", "still there?")).await,
        Unheard::NotAddressed
    );
    house.finish().await;
}

#[actix::test]
async fn reset_ends_the_conversation() {
    let house = House::start().await;
    let turn = |message: &str, text: &str| Inbound {
        thread: Some("1.0".into()),
        ..channel(message, text)
    };
    house.writes(&turn("1.1", "@UBOT remember 7")).await;
    house.said_in("1.0").await;
    house.writes(&turn("1.2", "reset")).await;
    assert_eq!(house.said_in("1.0").await[1], "Session reset. Starting fresh.");
    assert_eq!(
        house.writes(&turn("1.3", "7?")).await,
        Heard::Dropped(Unheard::NotAddressed)
    );
    house.writes(&turn("1.4", "@UBOT 7?")).await;
    assert_eq!(house.said_in("1.0").await[2], "You said 7?, ann. Before:");
    house.finish().await;
}

#[actix::test]
async fn nothing_of_a_stranger_is_kept() {
    let house = House::start().await;
    let stranger = Inbound {
        user: "U666".into(),
        ..direct("1.0", "status, and my secret")
    };
    assert_eq!(house.writes(&stranger).await, Heard::Dropped(Unheard::NotAllowed));
    let order = ordered("t1", "U666", "approve");
    assert_eq!(house.orders(order).await, Heard::Dropped(Unheard::NotAllowed));
    assert_eq!(house.events().await, 0);
    assert_eq!(house.names_asked(), 0, "not even the name was looked up");
    house.finish().await;
}

#[actix::test]
async fn a_run_asked_for_in_chat_tells_its_progress_asks_with_buttons_and_reports_its_end() {
    let house = House::start().await;
    house.writes(&direct("1.0", "build acme/site#7, please")).await;
    house.settle().await;
    let seen = house.screen.seen();
    let kinds: Vec<_> = seen.iter().map(|seen| seen.kind).collect();
    assert_eq!(
        kinds.iter().filter(|kind| **kind == "slack.message").count(),
        1,
        "{seen:?}"
    );
    let start = &seen
        .iter()
        .find(|seen| seen.kind == "slack.message")
        .expect("a start")
        .text;
    assert!(
        start.starts_with("Starting `build` for acme/site#7 …\n<https://bot.example.com/admin/?run="),
        "{start}"
    );
    let prompt = seen
        .iter()
        .find(|seen| seen.kind == "slack.approval")
        .expect("a prompt");
    assert_eq!(prompt.text, "Is this plan good?");
    let edit = seen.iter().find(|seen| seen.kind == "slack.edit").expect("progress");
    assert!(
        edit.text.starts_with("`build` for acme/site#7: Plan …\n<https://"),
        "{}",
        edit.text
    );
    assert_eq!(edit.base.as_deref(), Some("C1/m1"), "the first message is edited");

    house
        .writes(&Inbound {
            thread: Some("1.0".into()),
            ..direct("2.0", "approve")
        })
        .await;
    house.settle().await;
    let seen = house.screen.seen();
    let closed = seen
        .iter()
        .find(|seen| seen.kind == "slack.approval_closed")
        .expect("no buttons");
    assert_eq!(closed.text, "Is this plan good?\n\n_Approved by ann._");
    assert!(closed.base.is_some());
    let said = house.said_in("1.0").await;
    assert!(
        said.contains(&"Approved by @ann.".to_owned()) && said.contains(&"`build` completed".to_owned()),
        "{said:?}"
    );
    let last = seen.iter().rfind(|seen| seen.kind == "slack.edit").expect("progress");
    assert!(
        last.text.starts_with("`build` for acme/site#7: completed"),
        "{}",
        last.text
    );
    house.finish().await;
}

#[actix::test]
async fn an_answer_from_elsewhere_means_the_only_question_or_is_asked_back() {
    let house = House::start().await;
    for (message, number) in [("1.0", 7), ("2.0", 8)] {
        house
            .writes(&direct(message, &format!("build acme/site#{number}")))
            .await;
    }
    house.settle().await;
    house.writes(&direct("3.0", "approve")).await;
    let said = house.said_in("3.0").await;
    assert!(said[0].starts_with("Several answers are waited for."), "{said:?}");
    assert!(
        said[0].contains("acme/site#7") && said[0].contains("acme/site#8"),
        "{said:?}"
    );
    assert_eq!(house.gates().await, 2);
    // The button names the question; its answer is seen by who pressed it alone.
    let which = house.store.open_gates(OpenGates { subject: None }).await.expect("read")[0].id;
    house
        .orders(ordered("t1", "U012AB3CD", &format!("reject {which} too risky")))
        .await;
    house.settle().await;
    assert_eq!(house.gates().await, 1);
    let seen = house.screen.seen();
    let told = seen
        .iter()
        .rfind(|seen| seen.kind == "slack.ephemeral")
        .expect("an answer");
    assert_eq!(
        (told.place.as_str(), told.text.as_str()),
        ("C1/@U012AB3CD", "Rejected by @bob.")
    );
    // Pressed twice by an impatient hand: once.
    house
        .orders(ordered("t1", "U012AB3CD", &format!("reject {which} too risky")))
        .await;
    house
        .orders(ordered("t2", "U012AB3CD", &format!("reject {which}")))
        .await;
    house.settle().await;
    // Now only one waits.
    house.writes(&direct("4.0", "reject")).await;
    assert_eq!(house.said_in("4.0").await, ["Rejected by @ann."]);
    house.writes(&direct("5.0", "approve")).await;
    assert_eq!(house.said_in("5.0").await, ["No pending approval found."]);
    house.finish().await;
}

#[actix::test]
async fn who_may_answer_is_told_by_the_id_of_a_person_and_not_by_a_name() {
    let house = House::start().await;
    let here = |message: &str, text: &str| Inbound {
        thread: Some("1.0".into()),
        ..direct(message, text)
    };
    house.writes(&direct("1.0", "run ship acme/site#7")).await;
    house.settle().await;
    let prompt = house.screen.last("slack.approval");
    assert!(
        prompt
            .text
            .starts_with("Ship it?\n\nMay answer: one person in Slack. Without an answer by"),
        "{}",
        prompt.text
    );
    house.writes(&here("1.1", "approve")).await;
    let said = house.said_in("1.0").await;
    let refusal = "That does not count: ann may not answer this; one person in Slack may.";
    assert_eq!(said.last().map(String::as_str), Some(refusal));
    let which = house.store.open_gates(OpenGates { subject: None }).await.expect("read")[0].id;
    house.orders(ordered("t1", "U1", &format!("approve {which}"))).await;
    house.settle().await;
    assert_eq!(house.screen.last("slack.ephemeral").text, refusal);
    house
        .orders(ordered("t2", "U012AB3CD", &format!("approve {which}")))
        .await;
    house.settle().await;
    assert_eq!(house.screen.last("slack.ephemeral").text, "Approved by @bob.");
    let closed = house.screen.last("slack.approval_closed").text;
    assert!(closed.ends_with("_Approved by bob._"), "{closed}");

    // Where words are asked for, there is nothing to press.
    let said = house.said_in("1.0").await;
    let question = "Which colour?\n\nAnswer with a message here.";
    assert_eq!(said.last().map(String::as_str), Some(question));
    house.writes(&here("1.2", "blue")).await;
    let said = house.said_in("1.0").await;
    assert!(said.contains(&"`ship` completed".to_owned()), "{said:?}");
    house.finish().await;
}

#[actix::test]
async fn a_question_that_nobody_answers_in_time_is_closed_and_its_thread_is_told() {
    let house = House::start().await;
    // Asked two hours ago, with an hour to answer; nobody was there when it was over.
    house.clock.passes(TimeDelta::hours(-2));
    house.writes(&direct("1.0", "run ship acme/site#7")).await;
    house.settle().await;
    assert_eq!(house.gates().await, 1);
    let house = house.restart().await;
    let said = house.said_in("1.0").await;
    let told = |begin: &str, end: &str| said.iter().any(|told| told.starts_with(begin) && told.ends_with(end));
    assert!(told("No answer to \"ship\" by", "rejected by default."), "{said:?}");
    // What became of the question, and what that means for the run.
    assert!(told("`ship` failed: Rejected by", ""), "{said:?}");
    let closed = house.screen.last("slack.approval_closed").text;
    assert!(closed.contains("_Rejected by default: no answer by"), "{closed}");
    assert_eq!(house.gates().await, 0);
    house.finish().await;
}

#[actix::test]
async fn commands_are_answered_and_what_cannot_start_says_why() {
    let house = House::start().await;
    for (message, text, told) in [
        ("1.0", "status", "No tasks currently running."),
        ("2.0", "runs", "There are no runs yet."),
        ("3.0", "help", "Here is what I understand:"),
        ("4.0", "triage", "Which repository?"),
        ("5.0", "build other/repo#1", "That did not start:"),
        ("6.0", "run nonsense acme/site", "That did not start:"),
    ] {
        house.writes(&direct(message, text)).await;
        let said = house.said_in(message).await;
        assert!(said[0].starts_with(told), "{text}: {said:?}");
    }
    house.orders(ordered("t1", "U1", "status")).await;
    house.orders(ordered("t2", "U1", "what is this?")).await;
    house.settle().await;
    let seen = house.screen.seen();
    let told: Vec<_> = seen.iter().filter(|seen| seen.kind == "slack.ephemeral").collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0].text.starts_with("At work here:") || told[0].text.starts_with("No tasks"),
        "{}",
        told[0].text
    );
    assert!(
        told[1].text.starts_with("Here is what I understand:"),
        "a slash command is no conversation"
    );
    house.finish().await;
}

#[actix::test]
async fn a_stop_between_the_message_and_its_answer_costs_nothing_and_the_answer_comes_once() {
    let house = House::start().await;
    for n in 0..5 {
        house.writes(&direct(&format!("{n}.0"), "hello")).await;
    }
    let house = house.restart().await;
    house.settle().await;
    // The platform did not hear us and delivers them again.
    for n in 0..5 {
        let again = house.writes(&direct(&format!("{n}.0"), "hello")).await;
        assert_eq!(again, Heard::Taken(Recorded::AlreadySeen));
        assert_eq!(house.said_in(&format!("{n}.0")).await.len(), 1);
    }
    house.finish().await;
}

#[actix::test]
async fn a_burst_is_taken_in_whole_and_each_thread_opens_one_conversation() {
    let house = House::start().await;
    let messages: Vec<_> = (0..1_000)
        .map(|n| Inbound {
            thread: Some(format!("{}.0", n % 100)),
            ..direct(&format!("{n}.1"), "status")
        })
        .collect();
    let heard = futures_util::future::join_all(messages.iter().map(|message| house.writes(message))).await;
    assert!(heard.into_iter().all(taken));
    assert_eq!(house.said_in("7.0").await.len(), 10);
    let turns = house.screen.seen().len();
    assert_eq!(turns, 1_000, "each is answered once");
    house.finish().await;
}

#[actix::test]
async fn a_long_answer_arrives_in_order_though_the_platform_stumbles() {
    let house = House::start().await;
    house.screen.fails_next(1);
    house
        .writes(&direct("1.0", &format!("say {}", "word ".repeat(2_000))))
        .await;
    house.screen.until_shows("Before:").await;
    let said = house.said_in("1.0").await;
    assert!(said.len() >= 4, "{}", said.len());
    assert!(said[0].starts_with("You said say word"));
    assert!(said.iter().all(|piece| piece.encode_utf16().count() <= 3_000));
    assert!(said.last().expect("pieces").contains("Before:"));
    house.finish().await;
}

// ---- the house ----

struct House {
    folder: TempDir,
    clock: Arc<AheadClock>,
    store: Arc<SqliteStore>,
    system: System,
    registry: ConnectorRegistry,
    desk: Rc<RefCell<Option<Rc<Desk>>>>,
    screen: Screen,
    names: Rc<RefCell<usize>>,
    _belfry: Belfry,
}

const CHAT: &str = "
# Repeats what it was told.
name: chat
description: Repeats what it was told
trigger: message
phases:
  - name: think
    label: Think
    type: script
    env: {HISTORY: \"{{history}}\", MESSAGE: \"{{message}}\", SENDER: \"{{sender}}\"}
    run: printf 'You said %s, %s. Before:\\n%s' \"$MESSAGE\" \"$SENDER\" \"$HISTORY\"
  - name: answer
    label: Answer
    type: reply
    message: \"${think.output}\"
";

const BUILD: &str = "
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

const SHIP: &str = "
# Asks one person, then whoever talks to us.
name: ship
description: Asks one person, then whoever talks to us
trigger: message
phases:
  - name: ask
    label: Ask
    type: approval
    gate: ship
    message: Ship it?
    gate_policy: {slack_ids: [U012AB3CD], deadline: 1h}
  - name: colour
    label: Colour
    type: approval
    gate: colour
    gate_kind: reply
    message: Which colour?
";

impl House {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let workflows = folder.path().join("overlay/workflows");
        std::fs::create_dir_all(&workflows).expect("made");
        for (name, text) in [("chat.yaml", CHAT), ("build.yaml", BUILD), ("ship.yaml", SHIP)] {
            std::fs::write(workflows.join(name), text.trim_start()).expect("written");
        }
        Self::open(folder, Screen::default()).await
    }

    async fn open(folder: TempDir, screen: Screen) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let path: &Path = folder.path();
        let clock = Arc::new(AheadClock::default());
        let shared: SharedClock = clock.clone();
        let options = SqliteOptions::at(path.join("firstlight.db"));
        let store = Arc::new(SqliteStore::open(options, shared.clone()).expect("opens"));
        let catalog = workflows::load(Some(&path.join("overlay"))).expect("good workflows");
        let to = |name: &str| Some(name.parse().expect("valid"));
        let mut runs = RunsConfig::new(path.join("runs"), path.join("work"));
        runs.gates.insert("plan".into());
        let config = SystemConfig {
            dispatcher: DispatcherRules {
                routes: Routes {
                    slack: SlackRoutes {
                        chat: to("chat"),
                        build: to("build"),
                        ..SlackRoutes::default()
                    },
                    ..Routes::default()
                },
                managed: ManagedRepos::parse(["acme/*"]).expect("valid"),
                catalog: SharedCatalog::new(catalog),
                bot_name: "last-light".into(),
                public_url: Some("https://bot.example.com/".into()),
            },
            library: actors::library::LibraryRules::default(),
            retention: actors::retention::RetentionRules::default(),
            crons: actors::cron::CronConfig::new(
                Vec::new(),
                ManagedRepos::default(),
                SharedCatalog::new(workflows::load(None).expect("the shipped workflows")),
            ),
            runs,
            state: StateConfig::of(path),
            deliveries: DeliveryConfig::new(
                Guard::new(Vec::new(), |_| true),
                Arc::new(SystemResolver),
                actors::domain::Secret::new("a key of the tests"),
            ),
            git: GitConfig::default(),
            github: GithubClientConfig::new("http://127.0.0.1:9".parse().expect("a URL"), Credentials::None),
            slack: Some(screen.clone().start().recipient()),
        };
        let (bells, belfry) = Bells::hang();
        let system = System::start(store.clone(), config, &shared, &bells)
            .await
            .expect("starts");
        let desk = Rc::default();
        let mut registry = ConnectorRegistry::default();
        let connector = TestChat {
            store: StoreDoor::new(store.clone()).start(),
            clock: shared,
            desk: Rc::clone(&desk),
        };
        registry.register(Box::new(connector)).expect("the only one");
        registry.start_all(&system.sink()).await.expect("starts");
        Self {
            folder,
            clock,
            store,
            system,
            registry,
            desk,
            screen,
            names: Rc::default(),
            _belfry: belfry,
        }
    }

    fn desk(&self) -> Rc<Desk> {
        self.desk.borrow().clone().expect("the connector has started")
    }

    async fn name_of(&self, user: &str) -> String {
        *self.names.borrow_mut() += 1;
        match user {
            "U1" => "ann".into(),
            "U012AB3CD" => "bob".into(),
            other => other.into(),
        }
    }

    fn names_asked(&self) -> usize {
        *self.names.borrow()
    }

    async fn writes(&self, inbound: &Inbound) -> Heard {
        let desk = self.desk();
        let heard = desk.hear(inbound.clone(), async |user: &str| self.name_of(user).await);
        heard.await.expect("the store takes it")
    }

    async fn orders(&self, ordered: Ordered) -> Heard {
        let desk = self.desk();
        let heard = desk.obey(ordered, async |user: &str| self.name_of(user).await);
        heard.await.expect("the store takes it")
    }

    async fn settle(&self) {
        self.system.settle().await;
    }

    /// The messages of a thread, once nothing waits any more.
    async fn said_in(&self, thread: &str) -> Vec<String> {
        self.settle().await;
        let place = format!("C1/{thread}");
        let seen = self.screen.seen().into_iter();
        seen.filter(|seen| seen.kind == "slack.message" && seen.place == place)
            .map(|seen| seen.text)
            .collect()
    }

    async fn events(&self) -> usize {
        let filter = EventFilter {
            limit: 10,
            ..EventFilter::default()
        };
        self.store
            .list_events(ListEvents(filter))
            .await
            .expect("read")
            .items
            .len()
    }

    async fn gates(&self) -> usize {
        self.store
            .open_gates(OpenGates { subject: None })
            .await
            .expect("read")
            .len()
    }

    async fn close(mut self) -> (TempDir, Screen) {
        self.registry.stop_all().await;
        self.system.finish().await;
        self.store.close().await.expect("closes");
        (self.folder, self.screen)
    }

    async fn restart(self) -> Self {
        let (folder, screen) = self.close().await;
        Self::open(folder, screen).await
    }

    async fn finish(self) {
        self.close().await;
    }
}

fn taken(heard: Heard) -> bool {
    matches!(heard, Heard::Taken(Recorded::Fresh(_)))
}

fn direct(message: &str, text: &str) -> Inbound {
    Inbound {
        channel: "C1".into(),
        direct: true,
        mentioned: false,
        message: message.into(),
        thread: None,
        user: "U1".into(),
        text: text.into(),
        raw: raw(),
    }
}

fn channel(message: &str, text: &str) -> Inbound {
    Inbound {
        direct: false,
        ..direct(message, text)
    }
}

fn ordered(id: &str, user: &str, words: &str) -> Ordered {
    Ordered {
        id: id.into(),
        channel: "C1".into(),
        user: user.into(),
        words: words.into(),
        raw: raw(),
    }
}

fn raw() -> Map<String, Value> {
    let raw = json!({ "type": "message" });
    raw.as_object().cloned().expect("an object")
}

/// A connector that is spoken to directly.
struct TestChat {
    store: Addr<StoreDoor>,
    clock: SharedClock,
    desk: Rc<RefCell<Option<Rc<Desk>>>>,
}

impl Connector for TestChat {
    fn name(&self) -> &'static str {
        "test-chat"
    }

    fn start(&mut self, sink: SinkMaker) -> LocalBoxFuture<'_, anyhow::Result<()>> {
        let doors = DeskDoors {
            record: self.store.clone().recipient(),
            sessions: self.store.clone().recipient(),
            sink: sink.sink_here(),
        };
        let rules = DeskRules {
            platform: Source::Slack,
            allowed: AllowedUsers::new(["U1".to_owned(), "U012AB3CD".to_owned()]),
            bot_id: "UBOT".into(),
        };
        *self.desk.borrow_mut() = Some(Rc::new(Desk::new(doors, rules, self.clock.clone())));
        Box::pin(async { Ok(()) })
    }

    fn stop(&mut self) -> LocalBoxFuture<'_, ()> {
        *self.desk.borrow_mut() = None;
        Box::pin(async {})
    }
}

/// What the platform shows.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    seen: Vec<Seen>,
    failures: usize,
    changed: Arc<tokio::sync::Notify>,
}

#[derive(Debug, Clone)]
struct Seen {
    kind: &'static str,
    place: String,
    text: String,
    base: Option<String>,
    on: Option<bool>,
}

impl Screen {
    fn seen(&self) -> Vec<Seen> {
        self.0.lock().expect("whole").seen.clone()
    }

    fn last(&self, kind: &str) -> Seen {
        let seen = self.seen().into_iter().rfind(|seen| seen.kind == kind);
        seen.unwrap_or_else(|| panic!("no {kind}"))
    }

    fn typing(&self) -> Vec<bool> {
        self.seen().iter().filter_map(|seen| seen.on).collect()
    }

    /// So many of the next messages meet a platform that is down.
    fn fails_next(&self, times: usize) {
        self.0.lock().expect("whole").failures = times;
    }

    async fn until_shows(&self, text: &str) {
        loop {
            if self.seen().iter().any(|seen| seen.text.contains(text)) {
                return;
            }
            let changed = self.0.lock().expect("whole").changed.clone();
            let news = tokio::time::timeout(Duration::from_secs(20), changed.notified());
            news.await.expect("it is tried again");
        }
    }
}

impl Actor for Screen {
    type Context = Context<Self>;
}

impl Handler<Perform> for Screen {
    type Result = Result<Performed, OutboundFault>;

    fn handle(&mut self, order: Perform, _: &mut Context<Self>) -> Self::Result {
        let mut shown = self.0.lock().expect("whole");
        let place = order.effect.target();
        let kind = order.effect.kind();
        let (text, on) = match order.effect {
            Effect::SlackMessage { text, .. } if shown.failures > 0 => {
                shown.failures -= 1;
                return Err(OutboundFault::Retryable(format!(
                    "down, {} characters unsent",
                    text.len()
                )));
            }
            Effect::SlackMessage { text, .. }
            | Effect::SlackApproval { text, .. }
            | Effect::SlackApprovalClosed { text, .. }
            | Effect::SlackEdit { text, .. }
            | Effect::SlackEphemeral { text, .. } => (text, None),
            Effect::SlackTyping { on, .. } => (String::new(), Some(on)),
            other => panic!("{} is nothing for a chat", other.kind()),
        };
        shown.changed.notify_one();
        shown.seen.push(Seen {
            kind,
            place,
            text,
            base: order.base,
            on,
        });
        let result = match kind {
            "slack.message" => format!("C1/m{}", shown.seen.len()),
            other => format!("{other} {}", shown.seen.len()),
        };
        Ok(Performed { result, found: false })
    }
}
