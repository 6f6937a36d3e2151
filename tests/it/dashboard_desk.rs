//! Pages of the dashboard for whoever looks after the house: conversations, playground, actors, settings and tokens.

use serde_json::json;

use crate::support::app::{Answer, PASSWORD, TestApp};
use crate::support::payloads::issue;
use crate::support::slack::FakeSlack;

/// What nobody may write into our pages.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";

/// A page, by whoever has this token.
async fn page(app: &TestApp, path: &str) -> String {
    let answer = app.get(path, Some(&app.login().await)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.text
}

fn says(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[actix_rt::test]
async fn a_conversation_is_shown_with_its_words_as_text_and_its_events() {
    let slack = FakeSlack::start();
    slack.knows("U1", "ann");
    let env = slack.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = TestApp::start_with(&env, "").await;
    slack.connected(1).await;
    says(
        &page(&app, "/admin/chats").await,
        &["No conversation yet", "direct message"],
    );
    // Slack escapes what people write.
    let hostile = HOSTILE.replace('<', "&lt;").replace('>', "&gt;");
    let ts = slack.writes("D1", "U1", None, &hostile);
    for envelope in slack.tells(&ts) {
        slack.acked(&envelope).await;
    }
    app.settle().await;
    says(&page(&app, "/admin/").await, &["connected</span>"]);
    let list = page(&app, "/admin/chats?state=live&user=U1").await;
    says(&list, &["<bdi>ann</bdi>", "direct message", "goes on", "1 goes on"]);
    assert!(!list.contains("<script>alert") && !list.contains("<img"), "{list}");
    says(&page(&app, "/admin/chats?user=U2").await, &["No such conversation"]);
    let session = app.read("/admin/api/sessions?user=U1&live=true").await["sessions"][0].clone();
    assert_eq!(session["person"], "ann");
    let path = format!("/admin/chats/{}", session["id"].as_str().expect("an id"));
    assert!(list.contains(&path), "{list}");
    let shown = page(&app, &path).await;
    says(
        &shown,
        &[
            "data-role=\"user\"",
            "&lt;script&gt;alert(1)",
            "its event",
            "/admin/events/",
            "What came of it",
        ],
    );
    assert!(!shown.contains("<script>alert") && !shown.contains("<img"), "{shown}");
    let token = app.login().await;
    for path in ["/admin/chats/none", "/admin/chats/01890a5d-ac96-774b-bcce-b302099a8057"] {
        assert_eq!(app.get(path, Some(&token)).await.status, 404, "{path}");
    }
    app.finish_quietly().await;
    slack.stop().await;
}

#[actix_rt::test]
async fn a_chat_that_cannot_be_reached_is_told_where_one_looks_first() {
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/api", closed.local_addr().expect("bound"));
    drop(closed);
    let env = [
        ("SLACK_API_URL", url.as_str()),
        ("SLACK_BOT_TOKEN", "xoxb-stand-in-bot"),
        ("SLACK_APP_TOKEN", "xapp-stand-in-app"),
    ];
    let app = TestApp::start_with(&env, "").await;
    says(
        &page(&app, "/admin/").await,
        &["Slack is out of reach", "out of reach</span>"],
    );
    app.finish_quietly().await;
}

#[actix_rt::test]
async fn without_a_chat_the_list_says_how_to_connect_one() {
    let app = TestApp::start().await;
    says(
        &page(&app, "/admin/chats").await,
        &["Slack is not connected", "SLACK_APP_TOKEN"],
    );
    app.finish().await;
}

async fn look(app: &TestApp, event: &str, payload: &str) -> Answer {
    let token = app.login().await;
    let answer = app
        .submit("/admin/playground", &token, &[("event", event), ("payload", payload)])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

#[actix_rt::test]
async fn a_pasted_payload_is_judged_rule_by_rule_and_nothing_of_it_happens() {
    let app = TestApp::start().await;
    let text = look(&app, "issues", &issue("opened", 7, HOSTILE).to_string())
        .await
        .text;
    says(
        &text,
        &[
            "It would start issue-triage.",
            "At the door",
            "Routing and admission",
            "repository",
            "Envelope",
            "&lt;script&gt;alert(1)",
        ],
    );
    assert!(!text.contains("<script>alert") && !text.contains("<img"), "{text}");
    let strange = issue("opened", 7, "x")
        .to_string()
        .replace("acme/site", "strangers/site");
    for (event, payload, words) in [
        ("issues", strange.as_str(), "repo not managed: strangers/site"),
        ("ping", "{}", "It would not be taken in: ping."),
        ("star", &issue("created", 7, "x").to_string(), "unmapped event"),
        (
            "",
            &issue("opened", 7, "x").to_string(),
            "Missing X-GitHub-Event header",
        ),
    ] {
        says(&look(&app, event, payload).await.text, &[words]);
    }
    app.settle().await;
    assert!(app.events().await.is_empty() && app.runs().await.is_empty());
    app.finish().await;
}

#[actix_rt::test]
async fn what_is_no_json_is_told_with_its_line_and_column_and_stays_in_the_form() {
    let app = TestApp::start().await;
    let text = look(&app, "issues", "{\r\n  \"action\": opened</textarea>\r\n}")
        .await
        .text;
    says(
        &text,
        &[
            "No JSON: expected value, in line 2, column 13.",
            "aria-invalid=\"true\"",
            "opened&lt;/textarea&gt;",
        ],
    );
    assert!(!text.contains("id=\"verdict\""), "{text}");
    for (payload, words) in [("", "There is no payload."), ("[1]", "It is JSON, but no object")] {
        says(&look(&app, "issues", payload).await.text, &[words]);
    }
    app.finish().await;
}

#[actix_rt::test]
async fn a_payload_of_a_megabyte_is_looked_at() {
    let app = TestApp::start().await;
    let mut payload = issue("opened", 7, "long");
    payload["issue"]["body"] = json!("ä \" ".repeat(256 * 1024));
    let text = look(&app, "issues", &payload.to_string()).await.text;
    says(&text, &["It would start issue-triage."]);
    app.finish().await;
}

#[actix_rt::test]
async fn a_stored_event_and_invented_payloads_begin_a_look() {
    let app = TestApp::start_with(&[("MANAGED_REPOS", "widgets/*")], "").await;
    let mut payload = issue("opened", 7, "It broke");
    payload["repository"]["full_name"] = json!("widgets/shop");
    let id = app.accept("issues", &payload).await;
    app.settle().await;
    let text = page(&app, &format!("/admin/playground?id={id}")).await;
    says(
        &text,
        &[
            "it is the stored event itself",
            "What became of this event when it came in",
            "value=\"issues\"",
            "widgets/shop",
        ],
    );
    let text = page(&app, "/admin/playground?sample=issues.opened").await;
    says(&text, &["widgets/site", "&quot;action&quot;: &quot;opened&quot;"]);
    assert!(!text.contains("id=\"verdict\""), "it is not looked at yet");
    let token = app.login().await;
    for path in ["/admin/playground?id=none", "/admin/playground?sample=none"] {
        assert_eq!(app.get(path, Some(&token)).await.status, 404, "{path}");
    }
    says(
        &page(&app, &format!("/admin/events/{id}")).await,
        &["Try it in the playground"],
    );
    app.finish().await;
}

#[actix_rt::test]
async fn the_house_is_a_picture_with_a_table_that_says_the_same() {
    let app = TestApp::start().await;
    app.accept("issues", &issue("opened", 7, "It broke")).await;
    app.settle().await;
    let text = page(&app, "/admin/actors").await;
    says(
        &text,
        &[
            "data-node=\"dispatcher\"",
            "data-from=\"dispatcher\" data-to=\"supervisor\"",
            "RunSupervisor",
            "DeliveryRetrier",
            "EventArrived",
            "no restart since",
            "events wait to be routed",
            "data-every=\"2\"",
        ],
    );
    let list = app.read("/admin/api/actors").await;
    assert!(list["since"].is_string());
    let dispatcher = list["actors"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|actor| actor["name"] == "dispatcher")
        .expect("there")
        .clone();
    assert_eq!(dispatcher["mailbox"]["capacity"], 1024);
    assert!(dispatcher.get("perMinute").is_some(), "{dispatcher}");
    app.finish().await;
}

#[actix_rt::test]
async fn settings_are_shown_with_where_they_came_from_and_without_secrets() {
    let env = [("MANAGED_REPOS", "acme/site"), ("GITHUB_TOKEN", "ghp_never_shown")];
    let app = TestApp::start_with(&env, "approvals: {gates: [ship]}\n").await;
    let text = page(&app, "/admin/settings").await;
    says(
        &text,
        &[
            "managed_repos",
            "MANAGED_REPOS",
            "acme/site",
            "approvals.gates",
            "set, not shown",
            "Address and port to listen on.",
        ],
    );
    for secret in ["ghp_never_shown", PASSWORD] {
        assert!(!text.contains(secret), "{secret}");
    }
    let file = page(&app, "/admin/settings?from=file").await;
    says(&file, &["approvals.gates"]);
    assert!(!file.contains("<code>managed_repos</code>"), "{file}");
    let found = page(&app, "/admin/settings?q=REDELIVER-NOTHING").await;
    says(&found, &["No such setting"]);
    app.finish_quietly().await;
}

#[actix_rt::test]
async fn tokens_are_listed_and_revoked_where_one_may() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let wish = json!({ "label": "<b>the report</b>", "scope": "read", "days": 3 });
    let made = app.post("/admin/api/tokens", Some(&token), &wish).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let secret = made.json()["token"].as_str().expect("a token").to_owned();
    let text = app.get("/admin/settings/tokens", Some(&token)).await.text;
    says(
        &text,
        &[
            "&lt;b&gt;the report&lt;/b&gt;",
            "you, here",
            "made by hand",
            "data-reveal=\"token\"",
            &format!("data-api=\"/admin/api/tokens/{id}\" data-method=\"DELETE\""),
        ],
    );
    assert!(!text.contains(&secret), "a token is never shown again");
    let looks = app.get("/admin/settings/tokens", Some(&secret)).await.text;
    assert!(
        looks.contains("made and revoked by whoever") && !looks.contains("data-method=\"DELETE\""),
        "{looks}"
    );
    let gone = app
        .ask("DELETE", &format!("/admin/api/tokens/{id}"), Some(&token), &[], None)
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert!(!page(&app, "/admin/settings/tokens").await.contains(&id));
    says(&page(&app, "/admin/settings/tokens?state=all").await, &["revoked"]);
    app.finish().await;
}
