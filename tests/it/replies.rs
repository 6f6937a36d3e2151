//! Replies on their way to GitHub: the real replier and the real client, over a GitHub of our own; the outbox in memory, and once on disk.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr};
use actors::clock::{Clock, SharedClock};
use actors::domain::{
    BodyFormat, Effect, EffectSeq, EffectState, EventEnvelope, EventType, NewEffect, NewEvent, RawBody, Reaction,
    Recorded, ReplyTo, RepoName, Secret, Source,
};
use actors::github::client::{AppCredentials, Credentials, GithubClient, GithubClientConfig};
use actors::house::{Belfry, Bells};
use actors::messages::github::{GithubFault, ReadThread, Thread};
use actors::messages::house::{AwaitQuiet, Finish};
use actors::messages::outbound::EffectsQueued;
use actors::messages::store::{EffectsOf, RecordEvent, SettleEvents, Settlement};
use actors::outbound::{Backoff, Platform, Replier, ReplierDoors};
use actors::store::StoreDoor;
use actors::store::sqlite::{SqliteOptions, SqliteStore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use firstlight::demo::github::{APP_ID, Fault, GithubStandIn};

use crate::support::clock::ManualClock;
use crate::support::outbox::{Door, Outbox};

const SECOND: Duration = Duration::from_secs(1);
/// How long one exchange with GitHub may take.
const EXCHANGE: Duration = Duration::from_secs(30);

const GITHUB: Platform = Platform {
    name: "GitHub",
    kinds: "github.",
    backoff: Backoff::DAYS,
    most_lanes: 8,
};

/// The outbound half of the house.
struct House {
    github: GithubStandIn,
    clock: ManualClock,
    outbox: Outbox,
    replier: Addr<Replier>,
    client: Addr<GithubClient>,
    _belfry: Belfry,
}

impl House {
    fn start() -> Self {
        Self::start_as(app)
    }

    fn start_as(credentials: impl FnOnce(&GithubStandIn) -> Credentials) -> Self {
        Self::start_over(credentials, Outbox::new(), ManualClock::new())
    }

    fn start_over(credentials: impl FnOnce(&GithubStandIn) -> Credentials, outbox: Outbox, clock: ManualClock) -> Self {
        let shared = Arc::new(clock.clone());
        let github = GithubStandIn::start(shared.clone()).expect("a free port");
        let (bells, belfry) = Bells::hang();
        let url = github.url().parse().expect("a URL");
        let config = GithubClientConfig::new(url, credentials(&github));
        let client = GithubClient::new(config, shared.clone(), bells.bell("github client")).start();
        let store = outbox.clone().start();
        let doors = ReplierDoors {
            due: store.clone().recipient(),
            result_of: store.clone().recipient(),
            claim: store.clone().recipient(),
            settle: store.recipient(),
            perform: client.clone().recipient(),
        };
        let replier = Replier::new(doors, shared, GITHUB, bells.bell("replier")).start();
        Self {
            github,
            clock,
            outbox,
            replier,
            client,
            _belfry: belfry,
        }
    }

    fn issue(&self, repo: &str) -> u64 {
        self.github.opens_issue(repo, "it broke", "on a Tuesday")
    }

    fn queue(&self, effect: Effect) -> EffectSeq {
        use actors::clock::Clock;
        self.outbox.put(effect, self.clock.now())
    }

    async fn nudge(&self) {
        self.replier.send(EffectsQueued).await.expect("the replier lives");
    }

    async fn says(&self, effect: Effect) -> EffectSeq {
        let seq = self.queue(effect);
        self.nudge().await;
        seq
    }

    async fn done(&self, seq: EffectSeq) -> String {
        self.outbox
            .until(seq, EffectState::Done, 1)
            .await
            .result
            .expect("a done effect has a result")
    }

    async fn reads(&self, repo: &str, number: u64) -> Result<Thread, GithubFault> {
        let order = ReadThread {
            repo: name(repo),
            number,
        };
        self.client.send(order).await.expect("the client lives")
    }

    /// Nobody met a fault too few, and no lane was crossed.
    async fn finish(self) {
        self.replier.send(Finish).await.expect("the replier lives");
        assert_eq!(self.github.faults_left(), 0, "a scripted fault was never met");
        assert!(
            !self.outbox.lanes_were_crossed(),
            "two effects of one lane were in flight together"
        );
        self.github.stop().await;
    }
}

fn app(github: &GithubStandIn) -> Credentials {
    Credentials::App(AppCredentials::new(APP_ID, &github.private_key(), None).expect("the stand-in's key is a key"))
}

fn personal(github: &GithubStandIn) -> Credentials {
    Credentials::Token(github.token())
}

fn name(repo: &str) -> RepoName {
    repo.parse().expect("a repository name")
}

fn comment(repo: &str, number: u64, body: &str) -> Effect {
    Effect::GithubComment {
        repo: name(repo),
        number,
        body: body.to_owned(),
    }
}

fn reaction(repo: &str, number: u64, comment_id: Option<u64>) -> Effect {
    Effect::GithubReaction {
        repo: name(repo),
        number,
        comment_id,
        content: Reaction::Eyes,
    }
}

fn comments_posted(house: &House) -> usize {
    house
        .github
        .calls()
        .iter()
        .filter(|call| call.method == "POST" && call.path.ends_with("/comments"))
        .count()
}

#[actix::test]
async fn a_reply_is_posted_once_and_bears_its_hidden_marker() {
    let house = House::start();
    let number = house.issue("acme/site");
    let seq = house
        .says(comment("acme/site", number, "Thank you, looking into it."))
        .await;
    let url = house.done(seq).await;
    let comments = house.github.comments("acme/site", number);
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].html_url, url);
    assert_eq!(
        comments[0].body,
        "Thank you, looking into it.\n\n<!-- firstlight:run-7/greet/1 -->"
    );
    assert_eq!(comments[0].author, "last-light[bot]");
    house.nudge().await;
    assert_eq!(house.replier.send(AwaitQuiet).await.expect("the replier lives"), 1);
    assert_eq!(comments_posted(&house), 1);
    house.finish().await;
}

#[actix::test]
async fn a_reply_whose_answer_was_lost_is_found_and_not_posted_again() {
    for fault in [Fault::Swallow, Fault::CutOff] {
        let house = House::start();
        let number = house.issue("acme/site");
        // More than a page of other people's words lie between.
        for _ in 0..120 {
            house.github.person_comments("acme/site", number, "ann", "me too");
        }
        house.github.script(fault.clone());
        let seq = house.says(comment("acme/site", number, "hello")).await;
        house.outbox.until(seq, EffectState::Pending, 1).await;
        house.clock.pass(SECOND).await;
        let url = house.done(seq).await;
        let ours: Vec<_> = house
            .github
            .comments("acme/site", number)
            .into_iter()
            .filter(|c| c.author == "last-light[bot]")
            .collect();
        assert_eq!(ours.len(), 1, "{fault:?}");
        assert_eq!(ours[0].html_url, url);
        assert_eq!(comments_posted(&house), 1);
        house.finish().await;
    }
}

#[actix::test]
async fn an_attempt_that_a_crash_interrupted_is_looked_for_before_it_is_repeated() {
    let (clock, outbox) = (ManualClock::new(), Outbox::new());
    // Nothing of it had reached GitHub: it is posted now, without a nudge.
    let seq = outbox.put(comment("acme/site", 1, "hello"), clock.now());
    outbox.crashed_on(seq);
    let house = House::start_over(
        |github| {
            github.opens_issue("acme/site", "it broke", "");
            app(github)
        },
        outbox,
        clock,
    );
    house.done(seq).await;
    let calls = house.github.calls();
    let looked = calls
        .iter()
        .position(|call| call.method == "GET" && call.path.ends_with("/comments"));
    let posted = calls
        .iter()
        .position(|call| call.method == "POST" && call.path.ends_with("/comments"));
    assert!(looked.is_some() && looked < posted, "{calls:?}");
    assert_eq!(house.github.comments("acme/site", 1).len(), 1);
    house.finish().await;
}

#[actix::test]
async fn a_limit_is_obeyed_and_costs_no_try() {
    let house = House::start();
    let number = house.issue("acme/site");
    let other = house.issue("acme/site");
    house.github.script(Fault::retry_after(429, Duration::from_secs(90)));
    let first = house.says(comment("acme/site", number, "one")).await;
    let waiting = house.outbox.until(first, EffectState::Pending, 1).await;
    assert_eq!((waiting.due_at - waiting.created_at).num_seconds(), 90);
    assert!(waiting.last_error.expect("a reason").contains("asks to wait"));

    // Nobody asks GitHub again before the time, whoever nudges.
    let calls = house.github.calls().len();
    let second = house.says(comment("acme/site", other, "two")).await;
    assert_eq!(house.replier.send(AwaitQuiet).await.expect("the replier lives"), 0);
    assert_eq!(house.github.calls().len(), calls);

    house.clock.pass(Duration::from_secs(90)).await;
    house.done(first).await;
    house.clock.pass(SECOND).await;
    house.done(second).await;
    assert_eq!(house.github.comments("acme/site", number).len(), 1);
    house.finish().await;
}

#[actix::test]
async fn a_used_up_budget_silences_one_owner_only() {
    let house = House::start();
    let number = house.issue("acme/site");
    let elsewhere = house.issue("zeta/site");
    house.github.leaves_budget(1);
    let first = house.says(comment("acme/site", number, "the last of the hour")).await;
    house.done(first).await;
    let second = house.says(comment("acme/site", number, "too many")).await;
    let waiting = house.outbox.until(second, EffectState::Pending, 1).await;
    assert_eq!((waiting.due_at - waiting.created_at).num_seconds(), 3_600);
    assert_eq!(comments_posted(&house), 1, "the client remembered and did not ask");
    house.github.leaves_budget(100);
    let third = house.says(comment("zeta/site", elsewhere, "we are fine")).await;
    house.done(third).await;
    house.finish().await;
}

#[actix::test]
async fn two_replies_to_one_owner_leave_in_order_and_a_second_apart() {
    let house = House::start();
    let numbers = [house.issue("acme/site"), house.issue("acme/docs")];
    let first = house.queue(comment("acme/site", numbers[0], "one"));
    let second = house.queue(comment("acme/docs", numbers[1], "two"));
    house.nudge().await;
    house.done(first).await;
    house.clock.until_asleep_for(SECOND).await;
    assert_eq!(comments_posted(&house), 1);
    house.clock.advance(SECOND);
    house.done(second).await;
    let calls = house.github.calls();
    let posts: Vec<_> = calls
        .iter()
        .filter(|call| call.method == "POST" && call.path.ends_with("/comments"))
        .collect();
    assert_eq!(posts[0].path, "/repos/acme/site/issues/1/comments");
    assert!((posts[1].at - posts[0].at).num_milliseconds() >= 1_000);
    house.finish().await;
}

#[actix::test]
async fn a_stubborn_thread_holds_up_no_other_thread_of_its_owner() {
    let house = House::start();
    let stubborn = house.issue("acme/site");
    let other = house.issue("acme/site");
    let path = format!("/repos/acme/site/issues/{stubborn}/");
    house
        .github
        .script_on("POST", &path, Fault::status(502, "Server Error"));
    let first = house.queue(comment("acme/site", stubborn, "one"));
    let second = house.queue(comment("acme/site", other, "two"));
    house.nudge().await;
    house.outbox.until(first, EffectState::Pending, 1).await;
    house.clock.pass(SECOND).await;
    house.done(second).await;
    house.clock.pass(SECOND).await;
    house.done(first).await;
    house.finish().await;
}

#[actix::test]
async fn a_crowd_of_threads_of_one_owner_leaves_room_for_others() {
    let house = House::start();
    let crowd: Vec<_> = (0..70)
        .map(|_| house.queue(comment("acme/site", house.issue("acme/site"), "me too")))
        .collect();
    let elsewhere = house.issue("zeta/site");
    let late = house.queue(comment("zeta/site", elsewhere, "me, too"));
    house.nudge().await;
    house.done(crowd[0]).await;
    house.done(late).await;
    assert_eq!(comments_posted(&house), 2, "the crowd leaves one by one");
    for seq in &crowd[1..] {
        house.clock.until_asleep_for(SECOND).await;
        house.clock.advance(SECOND);
        house.done(*seq).await;
    }
    house.finish().await;
}

#[actix::test]
async fn a_follower_never_overtakes_a_reply_that_waits_for_its_next_try() {
    let house = House::start();
    let number = house.issue("acme/site");
    house.github.script(Fault::status(502, "Server Error"));
    let first = house.queue(comment("acme/site", number, "one"));
    let second = house.queue(comment("acme/site", number, "two"));
    house.nudge().await;
    house.outbox.until(first, EffectState::Pending, 1).await;
    house.nudge().await;
    assert_eq!(house.replier.send(AwaitQuiet).await.expect("the replier lives"), 0);
    house.clock.pass(SECOND).await;
    house.done(first).await;
    house.clock.pass(SECOND).await;
    house.done(second).await;
    let bodies: Vec<_> = house
        .github
        .comments("acme/site", number)
        .into_iter()
        .map(|c| c.body)
        .collect();
    assert!(
        bodies[0].starts_with("one") && bodies[1].starts_with("two"),
        "{bodies:?}"
    );
    house.finish().await;
}

#[actix::test]
async fn a_restart_neither_repeats_a_reply_nor_lets_its_follower_overtake() {
    let folder = tempfile::tempdir().expect("temp folder");
    let clock = ManualClock::new();
    let shared: SharedClock = Arc::new(clock.clone());
    let github = GithubStandIn::start(shared.clone()).expect("a free port");
    let number = github.opens_issue("acme/site", "it broke", "on a Tuesday");
    let boot = || {
        let options = SqliteOptions::at(folder.path().join("firstlight.db"));
        let sqlite = SqliteStore::open(options, shared.clone()).expect("opens");
        let store = StoreDoor::new(Arc::new(sqlite)).start();
        let (bells, _belfry) = Bells::hang();
        let config = GithubClientConfig::new(github.url().parse().expect("a URL"), app(&github));
        let client = GithubClient::new(config, shared.clone(), bells.bell("github client")).start();
        let doors = ReplierDoors {
            due: store.clone().recipient(),
            result_of: store.clone().recipient(),
            claim: store.clone().recipient(),
            settle: store.clone().recipient(),
            perform: client.recipient(),
        };
        let replier = Replier::new(doors, shared.clone(), GITHUB, bells.bell("replier")).start();
        (store, replier)
    };
    let (store, replier) = boot();
    say_in_answer_to_an_event(&store, number, &["one", "two"], clock.now()).await;

    // GitHub has the first and its answer is lost; then the process goes down.
    github.script(Fault::Swallow);
    replier.send(EffectsQueued).await.expect("the replier lives");
    replier.send(AwaitQuiet).await.expect("the replier lives");
    replier.send(Finish).await.expect("the replier lives");
    drop((store, replier));

    // The second is due, the first is not yet: both wait.
    let (store, replier) = boot();
    assert_eq!(replier.send(AwaitQuiet).await.expect("the replier lives"), 0);
    clock.pass(SECOND).await;
    github.comment_number(2).await;
    replier.send(AwaitQuiet).await.expect("the replier lives");
    let bodies: Vec<_> = github
        .comments("acme/site", number)
        .into_iter()
        .map(|c| c.body)
        .collect();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(
        bodies[0].starts_with("one") && bodies[1].starts_with("two"),
        "{bodies:?}"
    );
    let order = EffectsOf {
        run: None,
        event: Some("d-1".to_owned()),
    };
    let effects = store.send(order).await.expect("open").expect("reads");
    let stands: Vec<_> = effects.iter().map(|effect| (effect.state, effect.attempts)).collect();
    assert_eq!(stands, [(EffectState::Done, 2), (EffectState::Done, 1)]);
    replier.send(Finish).await.expect("the replier lives");
    github.stop().await;
}

/// Records an event and settles it with these comments, as the dispatcher does.
async fn say_in_answer_to_an_event(store: &Addr<StoreDoor>, number: u64, bodies: &[&str], at: DateTime<Utc>) {
    let envelope = EventEnvelope {
        id: "d-1".parse().expect("a delivery id"),
        source: Source::Github,
        kind: EventType::IssueOpened,
        repo: Some(name("acme/site")),
        issue_number: Some(number),
        pr_number: None,
        sender: "ann".to_owned(),
        sender_id: None,
        sender_is_bot: false,
        body: String::new(),
        title: None,
        labels: None,
        author_association: None,
        reply_to: ReplyTo::Nobody,
        timestamp: at,
    };
    let event = NewEvent {
        envelope: envelope.clone(),
        raw: RawBody::keep(BodyFormat::Json, b"{}"),
    };
    let recorded = store.send(RecordEvent(event)).await.expect("open").expect("records");
    let Recorded::Fresh(event) = recorded else {
        panic!("a fresh event was seen before");
    };
    let effects = bodies.iter().map(|body| NewEffect {
        key: format!("event:d-1/{body}").parse().expect("a key"),
        effect: comment("acme/site", number, body),
        run: None,
        event: Some(envelope.id.clone()),
    });
    let settlement = Settlement {
        event,
        outcome: "answered".to_owned(),
        quarantined: false,
        open: None,
        decide: None,
        lapse: None,
        effects: effects.collect(),
        otherwise: Vec::new(),
        at,
    };
    store
        .send(SettleEvents(vec![settlement]))
        .await
        .expect("open")
        .expect("settles");
}

#[actix::test]
async fn an_owner_whose_calls_hang_holds_up_nobody_else() {
    let house = House::start();
    let stuck = house.issue("acme/site");
    let free = house.issue("zeta/site");
    house.github.script_on("POST", "/repos/acme/", Fault::Hang);
    let slow = house.says(comment("acme/site", stuck, "hello")).await;
    house.outbox.until(slow, EffectState::InFlight, 1).await;
    let quick = house.says(comment("zeta/site", free, "hello")).await;
    house.done(quick).await;
    assert_eq!(house.outbox.get(slow).state, EffectState::InFlight);
    // And the hanging one ends by itself.
    house.clock.pass(EXCHANGE).await;
    let waiting = house.outbox.until(slow, EffectState::Pending, 1).await;
    assert!(
        waiting.last_error.expect("a reason").contains("no whole answer"),
        "the deadline has words"
    );
    house.clock.pass(SECOND).await;
    house.done(slow).await;
    house.finish().await;
}

#[actix::test]
async fn without_credentials_a_reply_is_kept_as_undeliverable() {
    let house = House::start_as(|_| Credentials::None);
    let number = house.issue("acme/site");
    let seq = house.says(comment("acme/site", number, "hello")).await;
    let kept = house.outbox.until(seq, EffectState::Undeliverable, 1).await;
    assert!(kept.last_error.expect("a reason").contains("GITHUB_TOKEN"));
    assert!(house.github.calls().is_empty());
    assert_eq!(house.reads("acme/site", number).await, Err(GithubFault::NoCredentials));
    house.finish().await;
}

#[actix::test]
async fn what_can_never_succeed_is_given_up_at_once() {
    let house = House::start();
    let locked = house.issue("acme/site");
    house.github.locks("acme/site", locked);
    for (effect, words) in [
        (comment("acme/site", 99, "hello"), "404 Not Found"),
        (comment("acme/unknown", 1, "hello"), "404 Not Found"),
        (comment("nobody/site", 1, "hello"), "not installed on nobody/site"),
        (comment("acme/site", locked, "hello"), "issue is locked"),
        (comment("acme/site", locked, "  "), "has no text"),
        (reaction("acme/site", locked, Some(1)), "404 Not Found"),
    ] {
        let seq = house.says(effect.clone()).await;
        // The lane may have to wait for its second between writes, once or (for a comment of unknown kind) twice.
        let dead = loop {
            tokio::select! {
                biased;
                dead = house.outbox.until(seq, EffectState::Dead, 1) => break dead,
                () = house.clock.pass(SECOND) => {}
            }
        };
        let error = dead.last_error.expect("a reason");
        assert!(error.contains(words), "{error} / {words}");
    }
    house.finish().await;
}

#[actix::test]
async fn ten_failed_tries_are_enough() {
    let house = House::start();
    let number = house.issue("acme/site");
    let seq = house.queue(reaction("acme/site", number, None));
    let waits = [1, 5, 30, 120, 600, 3_600, 21_600, 43_200, 86_400];
    for _ in 0..=waits.len() {
        house.github.script(Fault::status(500, "Server Error"));
    }
    house.nudge().await;
    for (tries, wait) in (1..).zip(waits) {
        let waiting = house.outbox.until(seq, EffectState::Pending, tries).await;
        assert_eq!((waiting.due_at - house.clock.now()).num_seconds(), wait);
        // The outbox is looked at every ten minutes at least.
        house
            .clock
            .until_asleep_for(Duration::from_secs(u64::try_from(wait).expect("positive").min(600)))
            .await;
        house
            .clock
            .advance(Duration::from_secs(u64::try_from(wait).expect("positive")));
    }
    let dead = house.outbox.until(seq, EffectState::Dead, 10).await;
    assert!(
        dead.last_error
            .expect("a reason")
            .starts_with("given up after 10 tries")
    );
    house.finish().await;
}

#[actix::test]
async fn a_token_is_kept_and_renewed_before_it_expires() {
    let house = House::start();
    let number = house.issue("acme/site");
    let tokens = || {
        house
            .github
            .calls()
            .iter()
            .filter(|call| call.path.ends_with("/access_tokens"))
            .count()
    };
    // Together: one renewal serves all.
    let reads = futures_util::future::join_all((0..5).map(|_| house.reads("acme/site", number))).await;
    assert!(reads.iter().all(Result::is_ok), "{reads:?}");
    assert_eq!(tokens(), 1);
    house.clock.advance(Duration::from_secs(54 * 60));
    house.reads("acme/site", number).await.expect("the token is good");
    assert_eq!(tokens(), 1);
    house.clock.advance(Duration::from_secs(2 * 60));
    house.reads("acme/site", number).await.expect("a new token");
    assert_eq!(tokens(), 2);
    assert!(house.github.calls().iter().all(|call| call.status < 400));
    house.finish().await;
}

#[actix::test]
async fn a_token_that_died_before_its_time_is_replaced_on_the_way() {
    let house = House::start();
    let number = house.issue("acme/site");
    house.reads("acme/site", number).await.expect("the first token");
    house.github.voids_tokens();
    house.reads("acme/site", number).await.expect("a second token");
    // Installed anew: even the installation is another one.
    house.github.reinstalls("acme");
    let seq = house.says(comment("acme/site", number, "still here")).await;
    house.done(seq).await;
    house.finish().await;
}

#[actix::test]
async fn a_wrong_key_is_answered_with_the_name_of_the_setting() {
    let key = STANDARD
        .decode(include_str!("support/other_key.txt").replace('\n', ""))
        .expect("base64");
    let house = House::start_as(|_| {
        let pem = pem("RSA PRIVATE KEY", &key);
        Credentials::App(AppCredentials::new(APP_ID, &pem, None).expect("a key, but not this App's"))
    });
    let number = house.issue("acme/site");
    let fault = house
        .reads("acme/site", number)
        .await
        .expect_err("not our App")
        .to_string();
    assert!(
        fault.contains("GITHUB_APP_PRIVATE_KEY_PATH") && fault.contains("clock"),
        "{fault}"
    );
    let seq = house.says(comment("acme/site", number, "hello")).await;
    // An operator can mend it, so it is tried again.
    house.outbox.until(seq, EffectState::Pending, 1).await;
    house.finish().await;

    let house = House::start_as(|_| Credentials::Token(Secret::new("expired")));
    let number = house.issue("acme/site");
    let fault = house
        .reads("acme/site", number)
        .await
        .expect_err("not a token")
        .to_string();
    assert!(fault.contains("GITHUB_TOKEN") && !fault.contains("expired-"), "{fault}");
    house.finish().await;
}

#[actix::test]
async fn a_pkcs8_key_and_a_named_installation_work_as_well() {
    let house = House::start_as(|github| {
        let der = github.private_key();
        let inner: String = der.expose().lines().filter(|line| !line.starts_with('-')).collect();
        let pkcs1 = STANDARD.decode(inner).expect("the stand-in writes base64");
        github.opens_issue("acme/site", "it broke", "");
        let pem = pem("PRIVATE KEY", &pkcs8(&pkcs1));
        // The first id that a fresh stand-in gives away.
        Credentials::App(AppCredentials::new(APP_ID, &pem, Some(1_001)).expect("the same key in another coat"))
    });
    house.reads("acme/site", 1).await.expect("the installation reaches it");
    assert!(
        house
            .github
            .calls()
            .iter()
            .all(|call| !call.path.ends_with("/installation"))
    );
    house.finish().await;
}

#[actix::test]
async fn a_thread_is_read_with_the_head_of_its_pull_request() {
    let house = House::start_as(personal);
    let issue = house.issue("acme/site");
    let pull = house
        .github
        .opens_pull("acme/site", "fix it", "at last", "fix-tuesday", "0a1b2c");
    let seq = house.says(Effect::GithubLabels {
        repo: name("acme/site"),
        number: pull,
        labels: vec!["bug".to_owned()],
    });
    house.done(seq.await).await;
    assert_eq!(house.github.labels("acme/site", pull), ["bug"]);
    let thread = house.reads("acme/site", pull).await.expect("a pull request");
    assert_eq!(
        thread,
        Thread {
            title: "fix it".to_owned(),
            body: "at last".to_owned(),
            labels: vec!["bug".to_owned()],
            head_branch: Some("fix-tuesday".to_owned()),
            head_sha: Some("0a1b2c".to_owned()),
        }
    );
    assert_eq!(house.reads("acme/site", issue).await.expect("an issue").head_sha, None);
    house.finish().await;
}

#[actix::test]
async fn a_reaction_may_be_repeated_freely() {
    let house = House::start();
    let number = house.issue("acme/site");
    let id = house.github.person_comments("acme/site", number, "ann", "please look");
    house.github.script(Fault::Swallow);
    let to_comment = house.says(reaction("acme/site", number, Some(id))).await;
    house.outbox.until(to_comment, EffectState::Pending, 1).await;
    house.clock.pass(SECOND).await;
    assert_eq!(house.done(to_comment).await, "reaction eyes");
    assert_eq!(house.github.comments("acme/site", number)[0].reactions, ["eyes"]);
    let to_issue = house.says(reaction("acme/site", number, None)).await;
    house.clock.pass(SECOND).await;
    house.done(to_issue).await;
    assert_eq!(house.github.reactions("acme/site", number), ["eyes"]);
    house.finish().await;
}

#[actix::test]
async fn a_text_longer_than_github_takes_is_cut_and_posted() {
    let house = House::start_as(personal);
    let number = house.issue("acme/site");
    let seq = house
        .says(comment("acme/site", number, &"ünïcode line\n".repeat(20_000)))
        .await;
    house.done(seq).await;
    let body = &house.github.comments("acme/site", number)[0].body;
    assert!(body.contains("_Cut here: the whole text has 259999 characters"));
    assert!(body.ends_with("<!-- firstlight:run-7/greet/1 -->"));
    house.finish().await;
}

#[actix::test]
async fn a_store_that_fails_at_any_door_stops_nothing() {
    let house = House::start();
    let number = house.issue("acme/site");
    house.outbox.fails_at(Door::Read);
    let first = house.says(comment("acme/site", number, "one")).await;
    house.clock.pass(SECOND).await;
    house.done(first).await;

    house.outbox.fails_at(Door::Claim);
    let second = house.says(comment("acme/site", number, "two")).await;
    house.clock.pass(SECOND).await;
    house.done(second).await;

    // Posted, and the disk is full: it waits for the disk and is not posted again.
    house.outbox.fails_at(Door::Settle);
    house.outbox.fails_at(Door::Settle);
    let third = house.says(comment("acme/site", number, "three")).await;
    house.clock.pass(SECOND).await;
    house.clock.pass(SECOND).await;
    house.clock.pass(2 * SECOND).await;
    house.done(third).await;
    assert_eq!(house.outbox.get(third).attempts, 1);
    assert_eq!(comments_posted(&house), 3);
    house.finish().await;
}

#[actix::test]
async fn finishing_carries_what_is_in_hand_to_its_end_and_begins_nothing() {
    let house = House::start();
    let number = house.issue("acme/site");
    let first = house.queue(comment("acme/site", number, "one"));
    let second = house.queue(comment("acme/site", number, "two"));
    house.nudge().await;
    house.outbox.until(first, EffectState::InFlight, 1).await;
    house.replier.send(Finish).await.expect("the replier lives");
    assert_eq!(house.outbox.get(first).state, EffectState::Done);
    assert_eq!(house.outbox.get(second).attempts, 0);
    house.nudge().await;
    assert_eq!(house.outbox.get(second).attempts, 0);
    house.finish().await;
}

#[actix::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let house = House::start_as(personal);
    let number = house.issue("acme/site");
    let to = |url: String| Fault::Status {
        status: 307,
        headers: vec![("Location".to_owned(), url)],
        message: "Temporary Redirect".to_owned(),
    };
    house.github.script(to(format!(
        "{}/repos/acme/site/issues/{number}/comments",
        house.github.url()
    )));
    let moved = house.says(comment("acme/site", number, "hello")).await;
    house.done(moved).await;
    assert_eq!(house.github.comments("acme/site", number).len(), 1);

    house.github.script(to("http://192.0.2.1/steal".to_owned()));
    let stolen = house.says(comment("acme/site", number, "hello")).await;
    house.clock.pass(SECOND).await;
    let dead = house.outbox.until(stolen, EffectState::Dead, 1).await;
    assert!(dead.last_error.expect("a reason").contains("another host, 192.0.2.1"));
    house.finish().await;
}

#[actix::test]
async fn no_token_reaches_an_error_or_a_log() {
    let log = Log::default();
    let logs = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || logs.clone())
        .finish();
    // While there is one subscriber alone, a line that another thread comes to first is switched off for all threads. So there are two.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let house = House::start_as(personal);
    let token = house.github.token();
    let number = house.issue("acme/site");
    let echo = format!("who sends Authorization: Bearer {}?", token.expose());
    let mut errors = String::new();
    for status in [401, 403, 404, 422, 500] {
        house.github.script_on("GET", "/repos/", Fault::status(status, &echo));
        let fault = house
            .reads("acme/site", number)
            .await
            .expect_err("a fault was scripted");
        errors.push_str(&format!("{fault} {fault:?}\n"));
    }
    house.github.script(Fault::status(422, &echo));
    let dead = house.says(comment("acme/site", number, "hello")).await;
    let dead = house.outbox.until(dead, EffectState::Dead, 1).await;
    errors.push_str(&dead.last_error.expect("a reason"));
    house.finish().await;

    let told = log.text();
    assert!(told.contains("a reply is given up"), "the log was heard: {told}");
    assert!(errors.contains("[redacted]"), "{errors}");
    for text in [told, errors] {
        assert!(!text.contains(token.expose()), "{text}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pem(label: &str, der: &[u8]) -> Secret {
    Secret::new(format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    ))
}

/// Wraps a PKCS#1 key of 2048 bits as PKCS#8 (RFC 5208).
fn pkcs8(pkcs1: &[u8]) -> Vec<u8> {
    let long = |tag: u8, inner: &[u8]| {
        let length = u16::try_from(inner.len()).expect("a short key").to_be_bytes();
        [&[tag, 0x82], &length[..], inner].concat()
    };
    let version: &[u8] = &[2, 1, 0];
    let rsa: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    long(0x30, &[version, rsa, &long(4, pkcs1)].concat())
}
