//! Deliveries: the real retrier on a real store, before receivers that do what receivers do. The clock is moved by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::clock::Clock;
use actors::domain::{
    Channel, DeliveryStatus, Effect, EffectState, IntegrationEvent, NewEffect, Priority, Redelivered, Secret,
    WebhookMessage,
};
use actors::messages::integrations::{
    EmitWebhookEvent, IntegrationFault, PingWebhook, SendNotification, SwitchWebhook,
};
use actors::messages::store::{QueueDeliveries, Redeliver};
use actors::outbound::{Defaults, DeliveryConfig, Guard, Mail, MailServer, SystemResolver};
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::integrations::{Deliveries, Names, Registry, fresh_store, key, lenient, notification};
use crate::support::receiver::{Does, Got, Receiver};

const TIMEOUT: Duration = Duration::from_secs(5);
/// The contract's long schedule, in seconds.
const LONG: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

fn answers(status: u16) -> Does {
    Does::Answers(status, "", String::new())
}

fn says(status: u16, headers: &'static str) -> Does {
    Does::Answers(status, headers, String::new())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lets the quick waits pass: 100 ms, doubled each time.
async fn quick_waits(house: &Deliveries) {
    for wait in [100, 200, 400] {
        house.clock.pass(ms(wait)).await;
    }
}

fn config() -> DeliveryConfig {
    DeliveryConfig::new(lenient(), Arc::new(SystemResolver), key())
}

fn ams(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

fn signed_by_the_library(got: &Got, webhook: &Webhook) -> String {
    let timestamp = got.headers["webhook-timestamp"].parse().expect("seconds");
    webhook
        .sign(&got.headers["webhook-id"], timestamp, &got.body)
        .expect("signed")
}

#[actix::test]
async fn an_event_goes_to_every_webhook_that_subscribed_signed_and_with_the_contracts_body() {
    let house = Deliveries::start().await;
    let url = house.receiver.url("/signed");
    house.registry.add_for(&url, &["s3cret"], &[IntegrationEvent::TaskSync]);
    house.registry.add(house.receiver.url("/plain"), &[]);
    house
        .registry
        .add_for(house.receiver.url("/other"), &[], &[IntegrationEvent::Error]);
    let emitted = house.emits().await.expect("answered");
    assert_eq!((emitted.sent, emitted.failed, emitted.skipped), (2, 0, 1));
    let row = &emitted.deliveries[0];
    assert_eq!(
        (
            row.webhook_id.as_deref(),
            row.url.as_str(),
            row.status,
            row.attempts,
            row.http_status
        ),
        (Some("w-0001"), url.as_str(), DeliveryStatus::Delivered, 1, Some(200))
    );

    let got = &house.receiver.got_at("/signed")[0];
    let body: Value = serde_json::from_slice(&got.body).expect("JSON");
    assert_eq!(
        body,
        json!({ "id": row.delivery_id, "event": "task.sync", "timestamp": "2026-01-02T03:04:05.000Z", "payload": { "n": 1 } })
    );
    assert_eq!(got.headers["x-ams-signature"], ams("s3cret", &got.body));
    assert_eq!(got.headers["x-firstlight-event"], "task.sync");
    assert_eq!(got.headers["x-firstlight-delivery"], row.delivery_id);
    assert_eq!(got.headers["content-type"], "application/json");
    let library = Webhook::from_bytes(b"s3cret".to_vec()).expect("a key");
    assert_eq!(got.headers["webhook-signature"], signed_by_the_library(got, &library));

    let plain = &house.receiver.got_at("/plain")[0];
    assert!(
        !plain.headers.contains_key("x-ams-signature"),
        "no secret, no signature"
    );
    assert!(!plain.headers.contains_key("webhook-signature"));
    assert!(house.receiver.got_at("/other").is_empty());

    let shown = house.shows(&row.delivery_id).await;
    assert_eq!(shown.row.state, EffectState::Done);
    assert_eq!(shown.body.expect("a body").as_bytes(), got.body);
    assert_eq!(shown.attempt_log.len(), 1);
    house.finish().await;
}

#[actix::test]
async fn within_a_rotation_both_secrets_sign_in_the_standard_header() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/"), &["new", "old"]);
    house.emits().await.expect("answered");
    let got = &house.receiver.got()[0];
    let signatures: Vec<_> = got.headers["webhook-signature"].split(' ').collect();
    for (secret, signature) in ["new", "old"].into_iter().zip(signatures) {
        let library = Webhook::from_bytes(secret.as_bytes().to_vec()).expect("a key");
        assert_eq!(signature, signed_by_the_library(got, &library));
    }
    assert_eq!(got.headers["x-ams-signature"], ams("new", &got.body));
    house.finish().await;
}

#[actix::test]
async fn what_fails_is_tried_again_at_once_with_the_same_bytes_and_id() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/flaky"), &["s"]);
    house
        .receiver
        .at("/flaky", vec![answers(500), answers(429), Does::Resets, answers(204)]);
    let emitting = house.emits();
    quick_waits(&house).await;
    let emitted = emitting.await.expect("answered");
    let row = &emitted.deliveries[0];
    assert_eq!(
        (row.status, row.attempts, row.duration_ms),
        (DeliveryStatus::Delivered, 4, 700)
    );
    let got = house.receiver.got();
    assert_eq!(got.len(), 4);
    for one in &got {
        assert_eq!(one.body, got[0].body);
        assert_eq!(one.headers["webhook-id"], got[0].headers["webhook-id"]);
        assert_eq!(one.headers["x-ams-signature"], got[0].headers["x-ams-signature"]);
    }
    let log = house.shows(&row.delivery_id).await.attempt_log;
    let outcomes: Vec<_> = log
        .iter()
        .map(|attempt| (attempt.outcome.as_deref().unwrap_or("-"), attempt.http_status))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("retry", Some(500)),
            ("retry", Some(429)),
            ("retry", None),
            ("done", Some(204))
        ]
    );
    let health = &house.health().await[0];
    assert_eq!((health.delivered, health.failed, health.failing_since), (1, 3, None));
    house.finish().await;
}

#[actix::test]
async fn what_still_fails_goes_along_the_long_schedule_dies_and_can_be_sent_again() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/down"), &[]);
    house
        .receiver
        .at("/down", vec![Does::Answers(503, "", "down for\nrepair".into())]);
    let emitting = house.emits();
    quick_waits(&house).await;
    let emitted = emitting.await.expect("answered");
    let row = &emitted.deliveries[0];
    assert_eq!((emitted.sent, emitted.failed), (0, 1));
    assert_eq!((row.status, row.attempts), (DeliveryStatus::Retrying, 4));
    assert_eq!(row.error.as_deref(), Some("the receiver answered 503"));
    for (n, wait) in LONG.into_iter().enumerate() {
        // Over long waits the outbox is looked at now and then; only the last stretch is waited for.
        let due = house.list().await[0].due_at.expect("it waits");
        assert_eq!(
            (due - house.clock.now()).num_seconds(),
            i64::try_from(wait).expect("small"),
            "wait {n}"
        );
        house.clock.advance(Duration::from_secs(wait));
        house.receiver.until(|receiver| receiver.got().len() == 5 + n).await;
        house.settle().await;
    }
    let shown = house.shows(&row.delivery_id).await;
    assert_eq!((shown.row.state, shown.row.attempts), (EffectState::Dead, 13));
    assert_eq!(
        shown.row.last_error.as_deref(),
        Some("given up after 13 attempts: the receiver answered 503")
    );
    assert_eq!(shown.attempt_log[12].excerpt.as_deref(), Some("down for repair"));

    house.receiver.at("/down", vec![answers(200)]);
    let order = Redeliver {
        id: row.delivery_id.clone(),
        at: house.clock.now(),
    };
    use actors::store::Store;
    assert_eq!(house.store.redeliver(order).await, Ok(Redelivered::Queued));
    house.nudge().await;
    house.settle().await;
    let shown = house.shows(&row.delivery_id).await;
    assert_eq!((shown.row.state, shown.row.attempts), (EffectState::Done, 14));
    let got = house.receiver.got();
    assert_eq!(got[13].body, got[0].body, "the same delivery under the same id");
    house.finish().await;
}

#[actix::test]
async fn a_receiver_that_says_when_is_believed() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/busy"), &[]);
    house.receiver.at(
        "/busy",
        vec![
            says(429, "retry-after: 2\r\n"),
            says(503, "retry-after: 60\r\n"),
            answers(200),
        ],
    );
    let emitting = house.emits();
    house.clock.pass(Duration::from_secs(2)).await;
    // A minute is more than a caller waits: it is the outbox's.
    let emitted = emitting.await.expect("answered");
    assert_eq!(emitted.deliveries[0].status, DeliveryStatus::Retrying);
    assert_eq!(emitted.deliveries[0].attempts, 2);
    house.clock.pass(Duration::from_secs(60)).await;
    house.receiver.until(|receiver| receiver.got().len() == 3).await;
    house.settle().await;
    assert_eq!(house.list().await[0].state, EffectState::Done);
    house.finish().await;
}

#[actix::test]
async fn what_will_not_change_is_not_tried_again() {
    let house = Deliveries::start().await;
    for (n, status) in [400, 401, 404, 410, 422].into_iter().enumerate() {
        let path = format!("/{n}");
        house.registry.add(house.receiver.url(&path), &[]);
        house.receiver.at(&path, vec![answers(status)]);
    }
    house.registry.add(house.receiver.url("/moved"), &[]);
    house.receiver.at(
        "/moved",
        vec![says(302, "location: //169.254.169.254/latest/meta-data\r\n")],
    );
    let emitted = house.emits().await.expect("answered");
    assert_eq!((emitted.sent, emitted.failed), (0, 6));
    assert_eq!(house.receiver.got().len(), 6, "each was asked once");
    for row in &emitted.deliveries {
        assert_eq!((row.status, row.attempts), (DeliveryStatus::Failed, 1));
    }
    let moved = emitted.deliveries[5].error.as_deref().expect("why");
    assert!(moved.contains("redirects are not followed"), "{moved}");
    assert!(house.list().await.iter().all(|row| row.state == EffectState::Dead));
    house.finish().await;
}

#[actix::test]
async fn a_receiver_that_hangs_costs_its_timeout_and_no_more() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/hang"), &[]);
    house.receiver.at("/hang", vec![Does::Hangs]);
    let emitting = house.emits();
    for (n, wait) in [Some(100), Some(200), Some(400), None].into_iter().enumerate() {
        house.receiver.until(|receiver| receiver.got().len() == n + 1).await;
        house.clock.pass(TIMEOUT).await;
        if let Some(wait) = wait {
            house.clock.pass(ms(wait)).await;
        }
    }
    let emitted = emitting.await.expect("answered");
    let row = &emitted.deliveries[0];
    assert_eq!(
        (row.status, row.attempts, row.duration_ms),
        (DeliveryStatus::Retrying, 4, 20_700)
    );
    assert_eq!(row.error.as_deref(), Some("127.0.0.1 did not answer within 5000 ms"));
    house.finish().await;
}

#[actix::test]
async fn once_a_receiver_said_it_has_it_the_rest_of_its_answer_does_not_matter() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/cut"), &[]);
    house.receiver.at("/cut", vec![Does::CutsOff]);
    house.registry.add(house.receiver.url("/endless"), &[]);
    house.receiver.at("/endless", vec![Does::NeverStops]);
    let emitted = house.emits().await.expect("answered");
    assert_eq!((emitted.sent, emitted.failed), (2, 0));
    let poured = house.receiver.poured().await;
    assert!(
        poured < 16 * 1024 * 1024,
        "{poured} bytes were taken of an answer without end"
    );
    house.settle().await;
    let cut = house.shows(&emitted.deliveries[0].delivery_id).await;
    assert_eq!(cut.attempt_log[0].excerpt.as_deref(), Some("half"));
    let endless = house.shows(&emitted.deliveries[1].delivery_id).await;
    assert_eq!(endless.attempt_log[0].excerpt.as_ref().map(String::len), Some(1_000));
    house.finish().await;
}

#[actix::test]
async fn nobody_in_this_network_is_dialled_whatever_the_notation() {
    let strict = Guard::new(Vec::new(), |_| false);
    let house = Deliveries::with(DeliveryConfig::new(strict, Arc::new(SystemResolver), key())).await;
    let port = house.receiver.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
    ] {
        house.registry.add(format!("http://{host}:{port}/"), &[]);
    }
    let emitted = house.emits().await.expect("answered");
    assert_eq!((emitted.sent, emitted.failed), (0, 14));
    for row in &emitted.deliveries {
        let error = row.error.as_deref().expect("why");
        assert!(error.contains("outbound.allow"), "{}: {error}", row.url);
        assert_eq!((row.status, row.attempts), (DeliveryStatus::Failed, 1));
    }
    assert_eq!(house.receiver.connections(), 0);
    house.finish().await;
}

#[actix::test]
async fn a_name_that_leads_elsewhere_at_the_second_look_is_judged_again() {
    let fine: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    let names = Names(Mutex::new(vec![
        vec![fine],
        vec![Ipv4Addr::LOCALHOST.into()],
        vec![fine, Ipv4Addr::LOCALHOST.into()],
    ]));
    let guard = Guard::new(Vec::new(), move |address| address == fine);
    let house = Deliveries::with(DeliveryConfig::new(guard, Arc::new(names), key())).await;
    house
        .registry
        .add(format!("http://rebind.example.com:{}/", house.receiver.port()), &[]);
    house.receiver.at("/", vec![Does::Closes]);
    assert_eq!(house.emits().await.expect("answered").sent, 1);
    // Now it leads to another address; then to a good one and a bad one.
    for _ in 0..2 {
        let emitted = house.emits().await.expect("answered");
        assert_eq!(emitted.deliveries[0].status, DeliveryStatus::Failed);
    }
    assert_eq!(house.receiver.connections(), 1);
    house.finish().await;
}

#[actix::test]
async fn an_operator_may_allow_a_host_by_name() {
    let names = Names(Mutex::new(vec![vec![Ipv4Addr::LOCALHOST.into()]]));
    let guard = Guard::new(vec!["hooks.test".to_owned()], |_| false);
    let house = Deliveries::with(DeliveryConfig::new(guard, Arc::new(names), key())).await;
    let port = house.receiver.port();
    house.registry.add(format!("http://hooks.test:{port}/"), &[]);
    house
        .registry
        .add(format!("http://hooks.test.example.com:{port}/"), &[]);
    let emitted = house.emits().await.expect("answered");
    assert_eq!((emitted.sent, emitted.failed), (1, 1));
    house.finish().await;
}

#[actix::test]
async fn ten_endpoints_that_hang_do_not_delay_the_others() {
    let house = Deliveries::start().await;
    for n in 0..1_000 {
        let path = if n < 10 {
            format!("/hang/{n}")
        } else {
            format!("/fine/{n}")
        };
        house.registry.add(house.receiver.url(&path), &["s"]);
        if n < 10 {
            house.receiver.at(&path, vec![Does::Hangs]);
        }
    }
    let emitting = house.emits();
    // The clock stands still: nobody waits for a timeout.
    house.receiver.until(|receiver| receiver.got().len() == 1_000).await;
    while !emitting.is_finished() {
        house.clock.advance(ms(100));
        // A turn of the store, so that what woke up comes to its next wait.
        house.health().await;
    }
    let emitted = emitting.await.expect("answered");
    assert_eq!((emitted.sent, emitted.failed), (990, 10));
    house.finish().await;
}

#[actix::test]
async fn an_endpoint_has_a_few_places_however_much_waits_for_it() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/hang"), &[]);
    house.receiver.at("/hang", vec![Does::Hangs]);
    let emitting: Vec<_> = (0..20).map(|_| house.emits()).collect();
    house.receiver.until(|receiver| receiver.got().len() == 4).await;
    house.registry.add(house.receiver.url("/fine"), &[]);
    let other = house.emits();
    house
        .receiver
        .until(|receiver| !receiver.got_at("/fine").is_empty())
        .await;
    assert_eq!(house.receiver.got_at("/hang").len(), 4);
    drop((emitting, other));
}

#[actix::test]
async fn killed_between_attempt_and_mark_a_delivery_is_made_again_and_never_lost() {
    use actors::store::Store;
    let (store, folder, clock) = fresh_store();
    let (registry, receiver) = (Registry::default(), Receiver::start().await);
    let webhook = registry.add(receiver.url("/"), &["s"]);
    // As a kill leaves it: recorded with its first attempt, no outcome.
    let order = QueueDeliveries {
        message: Some(WebhookMessage {
            id: "m-1".into(),
            rest: "\"event\":\"error\"}".into(),
        }),
        effects: vec![NewEffect {
            key: "delivery:d-1".parse().expect("a key"),
            effect: Effect::WebhookDelivery {
                delivery: "d-1".into(),
                webhook,
                event: IntegrationEvent::Error,
                message: "m-1".into(),
            },
            run: None,
            event: None,
        }],
        claimed_until: Some(clock.now() + chrono::TimeDelta::minutes(10)),
        at: clock.now(),
    };
    store.queue_deliveries(order).await.expect("queued");
    let house = Deliveries::on(store, folder, clock, registry, receiver, config());
    house.settle().await;
    let shown = house.shows("d-1").await;
    assert_eq!((shown.row.state, shown.row.attempts), (EffectState::Done, 2));
    assert_eq!(shown.attempt_log[0].outcome.as_deref(), Some("interrupted"));
    assert_eq!(house.receiver.got()[0].body, br#"{"id":"d-1","event":"error"}"#);
    house.finish().await;
}

#[actix::test]
async fn a_stop_between_two_attempts_leaves_the_rest_to_the_next_start() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/"), &[]);
    house.receiver.at("/", vec![answers(500), answers(200)]);
    let emitting = house.emits();
    house.clock.until_asleep_for(ms(100)).await;
    house
        .retrier
        .send(actors::messages::house::Finish)
        .await
        .expect("finished");
    let emitted = emitting.await.expect("answered");
    assert_eq!(emitted.deliveries[0].status, DeliveryStatus::Retrying);
    let Deliveries {
        clock,
        registry,
        receiver,
        store,
        folder,
        ..
    } = house;
    let house = Deliveries::on(store, folder, clock, registry, receiver, config());
    house.settle().await;
    assert_eq!(house.list().await[0].state, EffectState::Done);
    assert_eq!(house.receiver.got().len(), 2);
    house.finish().await;
}

#[actix::test]
async fn a_caller_that_goes_away_changes_nothing() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/"), &[]);
    house.receiver.at("/", vec![answers(500), answers(200)]);
    let emitting = house.emits();
    house.clock.until_asleep_for(ms(100)).await;
    emitting.abort();
    house.clock.advance(ms(100));
    house.settle().await;
    assert_eq!(house.list().await[0].state, EffectState::Done);
    house.finish().await;
}

#[actix::test]
async fn what_waits_for_a_webhook_that_is_gone_comes_to_its_end() {
    let house = Deliveries::start().await;
    let gone = house.registry.add(house.receiver.url("/gone"), &[]);
    let off = house.registry.add(house.receiver.url("/off"), &[]);
    for path in ["/gone", "/off"] {
        house.receiver.at(path, vec![says(503, "retry-after: 60\r\n")]);
    }
    let emitted = house.emits().await.expect("answered");
    assert_eq!(emitted.failed, 2);
    house.registry.remove(&gone);
    let switch = SwitchWebhook {
        id: off,
        enabled: false,
    };
    assert_eq!(house.retrier.send(switch).await.expect("answered"), Ok(false));
    let emitted = house.emits().await.expect("answered");
    assert_eq!(
        (emitted.sent, emitted.failed, emitted.skipped),
        (0, 0, 1),
        "a webhook that is off is skipped"
    );
    house.clock.pass(Duration::from_secs(60)).await;
    house.settle().await;
    let mut errors: Vec<_> = house
        .list()
        .await
        .into_iter()
        .map(|row| (row.state, row.last_error))
        .collect();
    errors.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(
        errors,
        [
            (
                EffectState::Dead,
                Some("the webhook is not registered any more".to_owned())
            ),
            (EffectState::Dead, Some("the webhook is switched off".to_owned())),
        ]
    );
    assert_eq!(house.receiver.got().len(), 2);
    house.finish().await;
}

#[actix::test]
async fn a_webhook_that_failed_for_five_days_is_switched_off_and_a_probe_decides_when_it_is_back() {
    let house = Deliveries::start().await;
    let webhook = house.registry.add(house.receiver.url("/"), &["s"]);
    house.receiver.at("/", vec![answers(500)]);
    for day in 0..5 {
        let emitting = house.emits();
        quick_waits(&house).await;
        emitting.await.expect("answered");
        house.settle().await;
        assert!(house.health().await[0].enabled, "day {day}");
        house.clock.advance(Duration::from_secs(86_400));
        house.settle().await;
    }
    let health = &house.health().await[0];
    assert!(
        health
            .disabled_reason
            .as_deref()
            .expect("why")
            .contains("nothing but failures")
    );
    let history = house.registry.history();
    assert_eq!(history.len(), 1, "told once: {history:?}");
    assert!(
        history[0]
            .0
            .starts_with("The webhook w-0001 at 127.0.0.1 is switched off"),
        "{}",
        history[0].0
    );
    assert_eq!(house.emits().await.expect("answered").skipped, 1);

    let on = || SwitchWebhook {
        id: webhook.clone(),
        enabled: true,
    };
    assert_eq!(house.retrier.send(on()).await.expect("answered"), Ok(false));
    assert_eq!(
        house.health().await[0].last_error.as_deref(),
        Some("the receiver answered 500")
    );
    house.receiver.at("/", vec![answers(200)]);
    assert_eq!(house.retrier.send(on()).await.expect("answered"), Ok(true));
    assert_eq!(house.emits().await.expect("answered").sent, 1);
    let probe = house.receiver.got().into_iter().rev().nth(1).expect("the probe");
    assert_eq!(probe.headers["x-firstlight-event"], "webhook.test");
    assert_eq!(probe.headers["x-ams-signature"], ams("s", &probe.body));
    house.finish().await;
}

#[actix::test]
async fn a_test_delivery_says_how_it_went_after_one_attempt() {
    let house = Deliveries::start().await;
    let webhook = house
        .registry
        .add_for(house.receiver.url("/"), &[], &[IntegrationEvent::Error]);
    let ping = async |id: &str| {
        house
            .retrier
            .send(PingWebhook { id: id.into() })
            .await
            .expect("answered")
    };
    let report = ping(&webhook).await.expect("reported");
    assert_eq!(
        (report.status, report.http_status, report.attempts),
        (DeliveryStatus::Delivered, Some(200), 1)
    );
    house.receiver.at("/", vec![answers(500)]);
    let report = ping(&webhook).await.expect("reported");
    assert_eq!((report.status, report.http_status), (DeliveryStatus::Failed, Some(500)));
    assert_eq!(house.receiver.got().len(), 2);
    assert!(matches!(ping("none").await, Err(IntegrationFault::NotFound(_))));
    assert!(house.list().await.is_empty(), "a test is no delivery");
    house.finish().await;
}

#[actix::test]
async fn an_event_of_a_run_becomes_deliveries_once_and_is_committed_where_that_is_on() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/a"), &[]);
    house
        .registry
        .add_for(house.receiver.url("/b"), &[], &[IntegrationEvent::TaskCompleted]);
    house
        .registry
        .add_for(house.receiver.url("/c"), &[], &[IntegrationEvent::Error]);
    house.registry.commits_on(&[IntegrationEvent::TaskCompleted]);
    let event = || Effect::IntegrationEvent {
        name: IntegrationEvent::TaskCompleted,
        payload: json!({ "run": 7 }),
    };
    house.puts("run:7/event", event()).await;
    house.puts("run:7/event", event()).await;
    house.settle().await;
    assert_eq!(house.list().await.len(), 2);
    assert_eq!(house.receiver.got().len(), 2);
    let body: Value = serde_json::from_slice(&house.receiver.got_at("/b")[0].body).expect("JSON");
    assert_eq!(
        (&body["event"], &body["payload"]),
        (&json!("task.completed"), &json!({ "run": 7 }))
    );
    assert_eq!(
        house.registry.commits(),
        [(IntegrationEvent::TaskCompleted, "run:7/event".to_owned())]
    );
    house.finish().await;
}

#[actix::test]
async fn an_event_that_is_too_large_or_no_object_is_refused_with_the_limit() {
    let house = Deliveries::start().await;
    house.registry.add(house.receiver.url("/"), &[]);
    let emit = async |payload| {
        let event = EmitWebhookEvent {
            name: IntegrationEvent::Error,
            payload,
        };
        house.retrier.send(event).await.expect("answered")
    };
    for (payload, words) in [
        (json!("x".repeat(10 * 1024 * 1024)), "payload: is no JSON object"),
        (
            json!({ "x": "x".repeat(10 * 1024 * 1024) }),
            "at most 1048576 are taken",
        ),
        (json!([1]), "payload: is no JSON object"),
    ] {
        let refused = emit(payload).await.expect_err("refused").to_string();
        assert!(refused.contains(words), "{refused}");
    }
    // Bodies that are sent in pieces are signed and counted whole.
    let large = json!({ "x": "x".repeat(1_000_000) });
    assert_eq!(emit(large).await.expect("emitted").sent, 1);
    assert_eq!(emit(Value::Null).await.expect("emitted").sent, 1);
    let got = house.receiver.got();
    let body: Value = serde_json::from_slice(&got[0].body).expect("JSON");
    assert_eq!(body["payload"]["x"].as_str().map(str::len), Some(1_000_000));
    house.finish().await;
}

#[actix::test]
async fn a_notification_has_its_channels_shape_and_is_marked_in_the_history() {
    let house = Deliveries::start().await;
    for (channel, expected) in [
        (Channel::Slack, json!({ "text": "it broke", "attachments": [] })),
        (
            Channel::Discord,
            json!({ "content": "it broke", "embeds": [], "allowed_mentions": { "parse": [] } }),
        ),
        (Channel::Webhook, json!({ "message": "it broke", "attachments": [] })),
    ] {
        let url = house.receiver.url(&format!("/{channel}/hunter2"));
        let notified = house.notifies(notification(channel, Some(url))).await;
        let notified = notified.expect("answered").expect("notified");
        assert!(notified.success && notified.delivered);
        let report = notified.delivery.expect("it was delivered");
        assert_eq!(report.url, "http://127.0.0.1", "the path is a credential");
        let got = house.receiver.got_at(&format!("/{channel}/hunter2"));
        let body: Value = serde_json::from_slice(&got[0].body).expect("JSON");
        assert_eq!(body, expected);
    }
    assert!(house.registry.history().iter().all(|(_, _, delivered, _)| *delivered));

    // Without an endpoint it is stored only, and that is no failure.
    for channel in [Channel::Slack, Channel::Discord, Channel::Webhook, Channel::Email] {
        let notified = house.notifies(notification(channel, None)).await;
        let notified = notified.expect("answered").expect("notified");
        assert!(notified.success && !notified.delivered && notified.delivery.is_none());
        let (_, _, delivered, _) = house.registry.history().pop().expect("stored");
        assert!(!delivered);
    }
    let mut empty = notification(Channel::Slack, None);
    empty.message = String::new();
    let refused = house.retrier.send(SendNotification(empty)).await.expect("answered");
    assert!(matches!(
        refused,
        Err(IntegrationFault::Invalid { field: "message", .. })
    ));
    house.finish().await;
}

#[actix::test]
async fn a_notification_that_fails_stays_in_the_outbox_and_its_address_is_nowhere_in_the_database() {
    let house = Deliveries::start().await;
    let url = house.receiver.url("/T0/hunter2");
    house
        .receiver
        .at("/T0/hunter2", vec![answers(503), answers(503), answers(200)]);
    let mut told = notification(Channel::Slack, Some(url));
    told.retry_count = 1;
    let notifying = house.notifies(told);
    house.clock.pass(ms(100)).await;
    let notified = notifying.await.expect("answered").expect("notified");
    assert!(!notified.success && !notified.delivered);
    let report = notified.delivery.expect("tried");
    assert_eq!((report.status, report.attempts), (DeliveryStatus::Retrying, 2));
    for entry in std::fs::read_dir(house.folder.path()).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        assert!(
            !bytes.windows(7).any(|seven| seven == b"hunter2"),
            "the address is in the database"
        );
    }
    // Another process takes it up; the key is the same.
    house
        .retrier
        .send(actors::messages::house::Finish)
        .await
        .expect("finished");
    let Deliveries {
        clock,
        registry,
        receiver,
        store,
        folder,
        ..
    } = house;
    let house = Deliveries::on(store, folder, clock, registry, receiver, config());
    house.clock.pass(Duration::from_secs(5)).await;
    house.receiver.until(|receiver| receiver.got().len() == 3).await;
    house.settle().await;
    assert_eq!(house.list().await[0].state, EffectState::Done);
    let (text, channel, delivered, meta) = house.registry.history().remove(0);
    assert_eq!((text.as_str(), channel, delivered), ("it broke", Channel::Slack, true));
    assert_eq!(meta["attempts"], 3);
    assert!(!meta.to_string().contains("hunter2"));
    house.finish().await;
}

#[actix::test]
async fn notices_and_notifications_of_workflows_go_to_the_endpoints_of_the_settings() {
    let receiver = Receiver::start().await;
    let mut config = config();
    config.defaults = Defaults {
        slack: Some(Secret::new(receiver.url("/slack"))),
        discord: None,
        webhook: Some(Secret::new(receiver.url("/hook"))),
    };
    let (store, folder, clock) = fresh_store();
    let house = Deliveries::on(store, folder, clock, Registry::default(), receiver, config);
    let told = |channel| Effect::Notification {
        channel,
        message: "deployed".into(),
        priority: Priority::Normal,
    };
    house.puts("n-1", told(Channel::Slack)).await;
    house.puts("n-2", told(Channel::Discord)).await;
    house.settle().await;
    assert_eq!(house.receiver.got().len(), 1, "discord has no endpoint");
    let delivered: Vec<_> = house.registry.history().into_iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(delivered, [(Channel::Slack, true), (Channel::Discord, false)]);
    let notice = Effect::Notice {
        about: "cron:nightly".into(),
        text: "it did not run".into(),
        priority: Priority::High,
    };
    house.puts("n-3", notice).await;
    house.settle().await;
    assert_eq!(house.receiver.got_at("/slack").len(), 2);
    assert_eq!(house.receiver.got_at("/hook").len(), 1);
    house.finish().await;
}

/// A mail server that knows no TLS. Gives back everything it was told, once the other side hung up.
async fn mail_server() -> (u16, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("bound").port();
    let (told, hears) = tokio::sync::oneshot::channel();
    actix_rt::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 mail of the tests\r\n").await.expect("written");
        let (mut heard, mut in_data) = (String::new(), false);
        while let Ok(Some(line)) = lines.next_line().await {
            heard.push_str(&line);
            heard.push('\n');
            let answer = match line.split(' ').next().unwrap_or_default() {
                "." => {
                    in_data = false;
                    "250 taken\r\n"
                }
                _ if in_data => continue,
                "DATA" => {
                    in_data = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                _ => "250 fine\r\n",
            };
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
        let _ = told.send(heard);
    });
    (port, hears)
}

fn mail(url: &str) -> Mail {
    let server = MailServer::parse(&Secret::new(url)).expect("a mail server");
    Mail::new(server, "bot@example.com", &["ops@example.com".to_owned()]).expect("addresses")
}

#[actix::test]
async fn a_notification_by_mail_is_sent_where_a_mail_server_is_configured() {
    let (port, heard) = mail_server().await;
    let mut config = config();
    config.mail = Some(mail(&format!("smtp://127.0.0.1:{port}")));
    let house = Deliveries::with(config).await;
    let notified = house.notifies(notification(Channel::Email, None)).await;
    let notified = notified.expect("answered").expect("notified");
    assert!(notified.delivered, "{notified:?}");
    let heard = heard.await.expect("heard");
    for words in [
        "MAIL FROM:<bot@example.com>",
        "RCPT TO:<ops@example.com>",
        "Subject: [high] it broke",
        "\nit broke\n",
    ] {
        assert!(heard.contains(words), "{words}: {heard}");
    }
    house.finish().await;
}

#[actix::test]
async fn a_mail_server_that_will_not_protect_the_connection_gets_no_mail() {
    let (port, heard) = mail_server().await;
    let mut config = config();
    config.mail = Some(mail(&format!("smtp+starttls://u:hunter2@127.0.0.1:{port}")));
    let house = Deliveries::with(config).await;
    let mut told = notification(Channel::Email, None);
    told.retry_count = 0;
    let notified = house.notifies(told).await;
    let notified = notified.expect("answered").expect("notified");
    assert!(!notified.success && !notified.delivered);
    let error = notified.delivery.expect("tried").error.expect("why");
    assert!(!error.contains("hunter2"), "{error}");
    let heard = heard.await.expect("heard");
    assert!(!heard.contains("MAIL") && !heard.contains("AUTH"), "{heard}");
    assert_eq!(
        house.retrier.send(actors::messages::house::AwaitQuiet).now_or_never(),
        None
    );
    house.finish().await;
}
