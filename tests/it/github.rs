//! The webhook's door, check by check, through a real socket. Knows the contract's table only.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::app::{Answer, Delivery, SECRET, TestApp};
use crate::support::payloads::{comment, issue, payload, pull_request};

fn said(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

fn error(status: u16, words: &str) -> (u16, Value) {
    (status, json!({ "error": words }))
}

fn filtered(reason: &str) -> (u16, Value) {
    (200, json!({ "filtered": true, "reason": reason }))
}

#[actix_rt::test]
async fn an_accepted_delivery_is_answered_with_its_id_and_stored_as_it_came() {
    let app = TestApp::start().await;
    app.github.opens_issue("acme/site", "It broke", "It fails on Tuesdays.");
    let body = issue("opened", 1, "It broke").to_string();
    let answer = app
        .deliver(&Delivery::signed(
            "issues",
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            body.clone(),
        ))
        .await;
    assert_eq!(
        said(&answer),
        (
            202,
            json!({ "accepted": true, "id": "72d3162e-cc78-11e3-81ab-4c9367dc0958" })
        )
    );

    let event = app.event("72d3162e-cc78-11e3-81ab-4c9367dc0958").await;
    assert_eq!(event["type"], "issue.opened");
    assert_eq!(event["source"], "github");
    assert_eq!(event["repo"], "acme/site");
    assert_eq!(event["issueNumber"], 1);
    assert_eq!(event["title"], "It broke");
    assert_eq!(event["labels"], json!(["bug"]));
    assert_eq!(event["senderIsBot"], false);
    assert_eq!(
        event["replyTo"],
        json!({ "kind": "issue_comment", "repo": "acme/site", "number": 1 })
    );
    assert_eq!(event["raw"], serde_json::from_str::<Value>(&body).expect("JSON"));
    app.finish().await;
}

#[actix_rt::test]
async fn signatures_that_are_not_githubs_are_refused_with_the_same_words() {
    let app = TestApp::start().await;
    let good = app.delivery("issues", &issue("opened", 1, "It broke"));
    let signature = good
        .headers
        .iter()
        .find(|(name, _)| name == "x-hub-signature-256")
        .expect("signed")
        .1
        .clone();
    let bent = [
        good.clone().without("x-hub-signature-256"),
        good.clone().with("x-hub-signature-256", ""),
        good.clone()
            .with("x-hub-signature-256", &signature[..signature.len() - 2]),
        good.clone()
            .with("x-hub-signature-256", &signature.to_ascii_uppercase()),
        good.clone().with(
            "x-hub-signature-256",
            &format!("sha256={}", signature[7..].to_ascii_uppercase()),
        ),
        good.clone().with("x-hub-signature-256", &format!("{signature}00")),
        good.clone()
            .with("x-hub-signature-256", &format!("sha256={}", "0".repeat(64))),
        good.clone().and("x-hub-signature-256", &signature),
        Delivery {
            body: b"{}".to_vec(),
            ..good.clone()
        },
    ];
    for delivery in bent {
        assert_eq!(
            said(&app.deliver(&delivery).await),
            error(401, "Invalid signature"),
            "{:?}",
            delivery.headers
        );
    }
    assert!(app.events().await.is_empty());
    app.finish().await;
}

#[actix_rt::test]
async fn several_secrets_are_valid_at_once() {
    let app = TestApp::start_with(&[("WEBHOOK_SECRET", &format!("the next secret,{SECRET}"))], "").await;
    app.accept("issues", &issue("closed", 1, "It broke")).await;
    app.finish().await;
}

#[actix_rt::test]
async fn what_is_signed_but_no_delivery_is_refused_in_the_contracts_order() {
    let app = TestApp::start().await;
    let table = [
        (
            Delivery::signed("issues", "a", "nonsense").without("x-github-event"),
            "Missing X-GitHub-Event header",
        ),
        (Delivery::signed("", "a", "{}"), "Missing X-GitHub-Event header"),
        (Delivery::signed("issues", "a", "nonsense"), "Invalid JSON"),
        (Delivery::signed("issues", "a", ""), "Invalid JSON"),
        (Delivery::signed("issues", "a", "[]"), "Invalid JSON"),
        (
            Delivery::signed("issues", "a", &b"{\"a\":\"\xff\xfe\"}"[..]),
            "Invalid JSON",
        ),
        (Delivery::signed("issues", "a", "{\"action\":"), "Invalid JSON"),
        (Delivery::signed("ping", "a", "nonsense"), "Invalid JSON"),
        (
            Delivery::signed("issues", "a", "other=1").with("content-type", "application/x-www-form-urlencoded"),
            "Invalid JSON",
        ),
    ];
    for (delivery, words) in table {
        assert_eq!(said(&app.deliver(&delivery).await), error(400, words), "{delivery:?}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn filtered_deliveries_say_why_and_leave_nothing() {
    let app = TestApp::start().await;
    let with = |mut payload: Value, pointer: &str, value: Value| {
        *payload.pointer_mut(pointer).expect("there") = value;
        payload
    };
    let table = [
        ("ping", json!({ "zen": "Keep it logically awesome." }), "ping"),
        ("issues", issue("edited", 1, "x"), "action=edited"),
        ("issues", issue("labeled", 1, "x"), "action=labeled"),
        ("milestone", payload("closed"), "action=closed"),
        (
            "issues",
            with(issue("opened", 1, "x"), "/sender/type", json!("Bot")),
            "bot sender",
        ),
        (
            "issues",
            with(issue("opened", 1, "x"), "/sender/login", json!("last-light[bot]")),
            "bot sender",
        ),
        (
            "issues",
            with(issue("opened", 1, "x"), "/repository/full_name", json!("else/where")),
            "repo not managed: else/where",
        ),
        (
            "issues",
            with(issue("opened", 1, "x"), "/repository", Value::Null),
            "repo not managed: (none)",
        ),
        ("star", payload("created"), "unmapped event"),
        ("issues", payload("opened"), "unmapped event"),
    ];
    for (event, payload, reason) in table {
        assert_eq!(
            said(&app.deliver(&app.delivery(event, &payload)).await),
            filtered(reason)
        );
    }
    assert!(app.events().await.is_empty());
    app.finish().await;
}

#[actix_rt::test]
async fn a_bots_pull_request_is_taken() {
    let app = TestApp::start().await;
    app.github.opens_pull("acme/site", "Bump it", "", "bump", "abc");
    let mut opened = pull_request("opened", 1, "Bump it");
    opened["sender"] = json!({ "login": "dependabot[bot]", "type": "Bot" });
    let id = app.accept("pull_request", &opened).await;
    assert_eq!(app.event(&id).await["senderIsBot"], true);
    app.finish().await;
}

#[actix_rt::test]
async fn a_form_encoded_delivery_is_taken_and_kept_as_it_came() {
    let app = TestApp::start().await;
    let payload = issue("closed", 7, "50 % + more & such").to_string();
    let form: String = [("payload", payload.as_str())]
        .into_iter()
        .fold(String::new(), |_, (name, value)| format!("{name}={}", percent(value)));
    let delivery = Delivery::signed("issues", "form-1", form)
        .with("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(app.deliver(&delivery).await.status, 202);
    let event = app.event("form-1").await;
    assert_eq!(event["title"], "50 % + more & such");
    assert_eq!(event["raw"], serde_json::from_str::<Value>(&payload).expect("JSON"));
    app.finish().await;
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[actix_rt::test]
async fn a_delivery_without_an_id_gets_a_fresh_one() {
    let app = TestApp::start().await;
    let closed = issue("closed", 1, "x");
    for bent in [
        app.delivery("issues", &closed).without("x-github-delivery"),
        app.delivery("issues", &closed).with("x-github-delivery", ""),
        app.delivery("issues", &closed)
            .with("x-github-delivery", "with a space"),
    ] {
        let answer = app.deliver(&bent).await;
        assert_eq!(answer.status, 202);
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    }
    assert_eq!(app.events().await.len(), 3);
    app.finish().await;
}

#[actix_rt::test]
async fn a_repeated_delivery_has_no_second_effect_even_after_a_restart() {
    let app = TestApp::start().await;
    app.github.opens_issue("acme/site", "It broke", "");
    let delivery = Delivery::signed("issues", "same", issue("opened", 1, "It broke").to_string());
    assert_eq!(
        said(&app.deliver(&delivery).await),
        (202, json!({ "accepted": true, "id": "same" }))
    );
    let again = (202, json!({ "accepted": true, "id": "same", "duplicate": true }));
    assert_eq!(said(&app.deliver(&delivery).await), again);
    app.settle().await;
    let app = app.restart().await;
    assert_eq!(said(&app.deliver(&delivery).await), again);
    app.settle().await;
    assert_eq!((app.events().await.len(), app.runs().await.len()), (1, 1));
    assert_eq!(app.github.comments("acme/site", 1).len(), 1);
    app.finish().await;
}

#[actix_rt::test]
async fn two_hundred_deliveries_of_one_id_at_once_are_one_event() {
    let app = TestApp::start().await;
    let delivery = Delivery::signed("issues", "same", issue("closed", 1, "x").to_string());
    let answers = futures_util::future::join_all((0..200).map(|_| app.deliver(&delivery))).await;
    assert!(answers.iter().all(|answer| answer.status == 202));
    let fresh = answers
        .iter()
        .filter(|answer| answer.json()["duplicate"].is_null())
        .count();
    assert_eq!((fresh, app.events().await.len()), (1, 1));
    app.finish().await;
}

#[actix_rt::test]
async fn a_body_over_25_mib_is_refused_by_its_announcement() {
    let app = TestApp::start().await;
    let head = "POST /webhooks/github HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 31457280\r\n\r\n";
    let answer = actix_rt::task::spawn_blocking({
        let address = app.address();
        move || {
            let mut socket = TcpStream::connect(address).expect("connected");
            socket.write_all(head.as_bytes()).expect("written");
            let mut answer = [0; 1024];
            let read = socket.read(&mut answer).expect("answered before any byte of the body");
            String::from_utf8_lossy(&answer[..read]).into_owned()
        }
    })
    .await
    .expect("ran");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.ends_with(r#"{"error":"Payload too large"}"#), "{answer}");
    app.finish().await;
}

#[actix_rt::test]
async fn an_unsigned_request_is_refused_before_its_body_is_read() {
    let app = TestApp::start().await;
    let address = app.address();
    let answer = actix_rt::task::spawn_blocking(move || {
        let head =
            "POST /webhooks/github HTTP/1.1\r\nhost: x\r\nx-github-event: issues\r\ncontent-length: 1000\r\n\r\n";
        let mut socket = TcpStream::connect(address).expect("connected");
        socket.write_all(head.as_bytes()).expect("written");
        let mut answer = [0; 1024];
        let read = socket.read(&mut answer).expect("answered without the body");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    })
    .await
    .expect("ran");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    app.finish().await;
}

#[actix_rt::test]
async fn a_chunked_body_over_the_cap_is_cut_off_while_it_comes() {
    let app = TestApp::start().await;
    let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 0x10_0000], b"\r\n".to_vec()].concat();
    let head: &[u8] = b"POST /webhooks/github HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256=00\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut parts = vec![head];
    parts.extend(std::iter::repeat_n(chunk.as_slice(), 30));
    let answer = {
        let app = &app;
        actix_rt::task::spawn_blocking({
            let address = app.address();
            let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
            move || send_raw(address, &parts)
        })
        .await
        .expect("ran")
    };
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(app.events().await.is_empty());
    app.finish().await;
}

fn send_raw(address: std::net::SocketAddr, parts: &[Vec<u8>]) -> String {
    let mut socket = TcpStream::connect(address).expect("connected");
    for part in parts {
        if socket.write_all(part).is_err() {
            break;
        }
    }
    let mut answer = [0; 1024];
    let read = socket.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[actix_rt::test]
async fn bodies_in_flight_share_one_budget() {
    let app = TestApp::start_with(&[], "server:\n  body_budget: 1MiB\n").await;
    let big = Delivery::signed(
        "issues",
        "big",
        format!("{{\"x\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)),
    );
    let answer = app.deliver(&big).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
    app.accept("issues", &issue("closed", 1, "small ones go on")).await;
    app.finish().await;
}

#[actix_rt::test]
async fn hostile_json_is_answered_and_survived() {
    let app = TestApp::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut closed = issue("closed", 1, "x").to_string();
    closed.insert_str(1, &format!("\"deep\":{deep},"));
    let answer = app.deliver(&Delivery::signed("issues", "deep", closed)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = app.get("/admin/api/events/deep", Some(&app.login().await)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains(&deep), "the payload is shown as it came");
    app.finish().await;
}

#[actix_rt::test]
async fn without_a_secret_everything_is_taken_on_loopback() {
    let app = TestApp::start_with(&[("WEBHOOK_SECRET", "")], "").await;
    let delivery = app
        .delivery("issues", &issue("closed", 1, "x"))
        .without("x-hub-signature-256");
    assert_eq!(app.deliver(&delivery).await.status, 202);
    app.finish().await;
}

#[actix_rt::test]
async fn comments_reach_the_router_with_their_authors_standing() {
    let app = TestApp::start().await;
    app.github.opens_issue("acme/site", "It broke", "");
    let id = app
        .accept("issue_comment", &comment(1, "NONE", "@last-light build"))
        .await;
    app.settle().await;
    assert_eq!(app.event(&id).await["outcome"], "answered");
    // The second wish of the same stranger in the same thread is not answered again.
    app.accept("issue_comment", &comment(1, "NONE", "@last-light approve"))
        .await;
    app.settle().await;
    let comments = app.github.comments("acme/site", 1);
    assert_eq!(comments.len(), 1);
    assert!(comments[0].body.contains("maintainers"), "{}", comments[0].body);
    assert!(app.runs().await.is_empty());
    app.finish().await;
}
