//! The dashboard's pages as the server makes them. Knows the outside of the house only.

use serde_json::json;

use crate::support::app::{Answer, PASSWORD, TestApp};
use crate::support::payloads::issue;

/// What nobody may write into our pages.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";

/// A page, by whoever has this token.
async fn page(app: &TestApp, path: &str) -> Answer {
    let answer = app.get(path, Some(&app.login().await)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

#[actix_rt::test]
async fn who_is_not_signed_in_is_sent_to_sign_in_and_comes_back() {
    let app = TestApp::start().await;
    for (path, expected) in [
        ("/admin/", "/admin/login"),
        (
            "/admin/runs?status=failed",
            "/admin/login?next=%2Fadmin%2Fruns%3Fstatus%3Dfailed",
        ),
    ] {
        let answer = app.get(path, None).await;
        assert_eq!(answer.status, 303, "{path}");
        assert_eq!(answer.headers["location"], expected);
    }
    let sign_in = app.get("/admin/login?next=%2Fadmin%2Fruns", None).await;
    assert_eq!(sign_in.status, 200);
    assert!(
        sign_in.text.contains("data-sign-in=\"/admin/runs\""),
        "{}",
        sign_in.text
    );
    assert!(!sign_in.text.contains("id=\"nav\""), "a stranger sees no navigation");
    let elsewhere = app.get("/admin/login?next=https://evil.example/", None).await;
    assert!(
        elsewhere.text.contains("data-sign-in=\"/admin/\""),
        "{}",
        elsewhere.text
    );
    app.finish().await;
}

#[actix_rt::test]
async fn a_session_of_the_browser_opens_the_pages() {
    let app = TestApp::start().await;
    let login = app
        .post(
            "/admin/api/login",
            None,
            &json!({ "password": PASSWORD, "session": true }),
        )
        .await;
    let cookie = login.headers["set-cookie"]
        .split(';')
        .next()
        .expect("a cookie")
        .to_owned();
    let overview = app.get_with("/admin/", None, &[("cookie", &cookie)]).await;
    assert_eq!(overview.status, 200);
    assert!(overview.text.contains("<h1>Overview</h1>"), "{}", overview.text);
    assert!(overview.text.contains("name=\"csrf\""), "{}", overview.text);
    let again = app.get_with("/admin/login", None, &[("cookie", &cookie)]).await;
    assert_eq!(again.status, 303, "who is signed in need not sign in");
    app.finish().await;
}

#[actix_rt::test]
async fn other_ways_to_sign_in_are_offered_where_there_are_any() {
    let app = TestApp::start().await;
    let plain = app.get("/admin/login", None).await.text;
    assert!(!plain.contains("oauth"), "{plain}");
    app.finish().await;
    let env = [
        ("PUBLIC_URL", "https://bot.example.com/light"),
        ("GITHUB_OAUTH_CLIENT_ID", "an id"),
        ("GITHUB_OAUTH_CLIENT_SECRET", "a secret"),
        ("GITHUB_ALLOWED_ORG", "acme"),
    ];
    let app = TestApp::start_with(&env, "").await;
    let offered = app.get("/admin/login?error=github_org", None).await.text;
    assert!(
        offered.contains("href=\"/light/admin/api/oauth/github/authorize\""),
        "{offered}"
    );
    assert!(
        offered.contains("not in the organisation") && !offered.contains("oauth/slack"),
        "{offered}"
    );
    let odd = app.get("/admin/login?error=%3Cscript%3E", None).await.text;
    assert!(
        !odd.contains("<script>") && odd.contains("Signing in did not work"),
        "{odd}"
    );
    app.finish().await;
}

#[actix_rt::test]
async fn empty_lists_say_what_would_fill_them() {
    let app = TestApp::start().await;
    for (path, words) in [
        ("/admin/", "No run yet"),
        ("/admin/events", "No event yet"),
        ("/admin/events?repo=acme/nothing", "No such event"),
        ("/admin/runs", "No run yet"),
        ("/admin/runs?status=failed", "No such run"),
        ("/admin/approvals", "Nothing waits for you"),
        ("/admin/approvals?status=approved", "No question has come to this"),
    ] {
        let answer = page(&app, path).await;
        assert!(answer.text.contains(words), "{path}: {}", answer.text);
    }
    for path in [
        "/admin/runs/nonsense",
        "/admin/runs/01890a5d-ac96-774b-bcce-b302099a8057",
        "/admin/events/none",
        "/admin/approvals/none",
        "/admin/workflows/none",
    ] {
        let answer = app.get(path, Some(&app.login().await)).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text.contains("There is no such"), "{path}: {}", answer.text);
    }
    app.finish().await;
}

#[actix_rt::test]
async fn an_event_is_shown_with_what_it_led_to_and_nothing_in_it_is_markup() {
    let app = TestApp::start().await;
    let mut payload = issue("opened", 7, HOSTILE);
    payload["issue"]["body"] = json!(format!("{HOSTILE} \u{202e}"));
    payload["sender"]["login"] = json!("ann<b>");
    let id = app.accept("issues", &payload).await;
    app.settle().await;
    let run = app.runs().await[0]["id"].as_str().expect("an id").to_owned();
    for path in [
        "/admin/",
        "/admin/events",
        "/admin/runs",
        &format!("/admin/events/{id}"),
        &format!("/admin/runs/{run}"),
    ] {
        let text = page(&app, path).await.text;
        assert!(
            !text.contains("<script>alert") && !text.contains("<img"),
            "{path}: {text}"
        );
        assert!(!text.contains("ann<b>"), "{path}: {text}");
    }
    let event = page(&app, &format!("/admin/events/{id}")).await.text;
    assert!(
        event.contains("&lt;script&gt;alert(1)") && event.contains("routed to issue-triage"),
        "{event}"
    );
    assert!(event.contains(&format!("href=\"/admin/runs/{run}\"")), "{event}");
    let shown = page(&app, &format!("/admin/runs/{run}")).await.text;
    for words in [
        "aria-label=\"Phases of issue-triage. ",
        "answer after triage",
        "succeeded",
        "github.comment",
        "Run again",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn a_body_of_a_megabyte_makes_no_page_of_a_megabyte() {
    let app = TestApp::start().await;
    let mut payload = issue("opened", 7, "long");
    payload["issue"]["body"] = json!("ä€😀 words ".repeat(64 * 1024));
    let id = app.accept("issues", &payload).await;
    app.settle().await;
    let text = page(&app, &format!("/admin/events/{id}")).await.text;
    assert!(
        text.contains(" in all)") && text.contains("The first "),
        "it says that there is more"
    );
    assert!(text.len() < 500_000, "{} bytes", text.len());
    let run = app.runs().await[0]["id"].as_str().expect("an id").to_owned();
    let text = page(&app, &format!("/admin/runs/{run}")).await.text;
    assert!(text.len() < 500_000, "{} bytes", text.len());
    app.finish().await;
}

#[actix_rt::test]
async fn a_question_is_shown_with_its_rules_and_a_form_for_the_answer() {
    let overlay = tempfile::tempdir().expect("a folder");
    let workflows = overlay.path().join("workflows");
    std::fs::create_dir_all(&workflows).expect("made");
    let text = "name: build\nphases:\n  - name: ask\n    type: approval\n    gate: ship\n    message: Ship it?\n    gate_policy:\n      \
        approvals: 2\n      not_requester: true\n";
    std::fs::write(workflows.join("build.yaml"), text).expect("written");
    let settings = format!("workflows:\n  overlay: {}\n", overlay.path().display());
    let app = TestApp::start_with(&[], &settings).await;
    let token = app.login().await;
    let wish = json!({ "workflow": "build", "context": { "repo": "acme/site", "issueNumber": 1, "title": "x" } });
    app.post("/api/run", Some(&token), &wish).await;
    app.settle().await;
    let approval = app.read("/admin/api/approvals").await["approvals"][0].clone();
    let id = approval["id"].as_str().expect("an id");
    let shown = page(&app, &format!("/admin/approvals/{id}")).await.text;
    for words in [
        "Ship it?",
        "2 different people; one no is enough",
        "but not <bdi>admin</bdi>",
        &format!("data-api=\"/admin/api/approvals/{id}/respond\""),
        &format!("value=\"{}\"", approval["shown"].as_str().expect("a digest")),
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let overview = page(&app, "/admin/").await.text;
    assert!(
        overview.contains("Needs you") && overview.contains("Ship it?"),
        "{overview}"
    );
    let look = app
        .post(
            "/admin/api/login",
            None,
            &json!({ "password": PASSWORD, "scope": "read" }),
        )
        .await
        .json();
    let only_looks = app
        .get(&format!("/admin/approvals/{id}"), look["token"].as_str())
        .await
        .text;
    assert!(only_looks.contains("This session may only look"), "{only_looks}");
    assert!(!only_looks.contains("/respond"), "{only_looks}");
    app.finish().await;
}

#[actix_rt::test]
async fn a_workflow_is_shown_with_its_picture_its_file_and_a_form() {
    let app = TestApp::start().await;
    let list = page(&app, "/admin/workflows").await.text;
    assert!(list.contains("/admin/workflows/issue-triage"), "{list}");
    let shown = page(&app, "/admin/workflows/build").await.text;
    for words in [
        "Phases of build",
        "<span class=\"k\">phases</span>",
        "name=\"context.repo\"",
        "plan: prompt",
        "Switch off",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    app.finish().await;
}

#[actix_rt::test]
async fn schedules_show_what_comes_and_what_was_and_the_audit_log_who_did_it() {
    let app = TestApp::start_with(&[("MANAGED_REPOS", "acme/site")], "").await;
    let token = app.login().await;
    let list = page(&app, "/admin/crons").await.text;
    for words in ["weekly-health-report", "0 9 * * 1", "webhooks are on"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let empty = page(&app, "/admin/crons/weekly-health-report").await.text;
    assert!(
        empty.contains("It has not fired yet") && empty.contains("data-preview=\"/admin/api/crons/preview\""),
        "{empty}"
    );
    let run = app
        .post("/admin/api/crons/weekly-health-report/run", Some(&token), &json!({}))
        .await;
    assert_eq!(run.status, 202);
    let preview = app
        .post(
            "/admin/api/crons/preview",
            Some(&token),
            &json!({ "schedule": "@daily" }),
        )
        .await;
    assert_eq!(preview.status, 200);
    app.settle().await;
    let shown = page(&app, "/admin/crons/weekly-health-report").await.text;
    assert!(
        shown.contains("The last 1 firings: 1 done") && shown.contains("manual"),
        "{shown}"
    );
    let audit = page(&app, "/admin/audit?action=cron+run").await.text;
    assert!(
        audit.contains("weekly-health-report") && !audit.contains("preview"),
        "{audit}"
    );
    assert_eq!(app.get("/admin/crons/nobody", Some(&token)).await.status, 404);
    app.finish().await;
}

#[actix_rt::test]
async fn unsigned_webhooks_are_warned_of() {
    let app = TestApp::start_with(&[("WEBHOOK_SECRET", "")], "").await;
    assert!(page(&app, "/admin/").await.text.contains("Webhooks are not verified."));
    app.finish().await;
}

#[actix_rt::test]
async fn pages_allow_no_script_and_no_style_but_our_own_files() {
    let app = TestApp::start().await;
    for path in ["/admin/", "/admin/nowhere"] {
        let answer = app.get(path, Some(&app.login().await)).await;
        let policy = &answer.headers["content-security-policy"];
        assert!(
            policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        for inline in ["style=\"", "<style", "onclick", "<script>"] {
            assert!(!answer.text.contains(inline), "{path}: {inline}");
        }
    }
    app.finish().await;
}

#[actix_rt::test]
async fn assets_are_kept_for_ever_and_change_their_address_with_their_content() {
    let app = TestApp::start().await;
    let overview = page(&app, "/admin/").await;
    for name in ["app.css", "app.js", "favicon.svg"] {
        let at = overview.text.find(&format!("/admin/assets/{name}?v=")).expect("linked");
        let path: String = overview.text[at..].chars().take_while(|c| *c != '"').collect();
        let asset = app.get(&path, None).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.headers["cache-control"].contains("immutable"));
        let tag = asset.headers["etag"].clone();
        let again = app.get_with(&path, None, &[("if-none-match", &tag)]).await;
        assert_eq!(again.status, 304);
    }
    assert_eq!(app.get("/admin/assets/..%2Fmod.rs", None).await.status, 404);
    app.finish().await;
}

#[actix_rt::test]
async fn what_is_not_there_is_a_page_that_says_so() {
    let app = TestApp::start().await;
    let lost = app.get("/admin/nowhere", Some(&app.login().await)).await;
    assert_eq!(lost.status, 404);
    assert!(
        lost.text.contains("There is no such page.") && lost.text.contains("id=\"nav\""),
        "{}",
        lost.text
    );
    let home = app.get("/admin", None).await;
    assert_eq!(home.headers["location"], "/admin/");
    app.finish().await;
}

#[actix_rt::test]
async fn every_link_begins_with_the_base_path_of_the_public_url() {
    let app = TestApp::start_with(&[("PUBLIC_URL", "https://bot.example.com/light")], "").await;
    let overview = page(&app, "/admin/").await;
    for (at, _) in overview.text.match_indices("href=\"/") {
        assert!(
            overview.text[at..].starts_with("href=\"/light/admin"),
            "{}",
            &overview.text[at..at + 60]
        );
    }
    let stranger = app.get("/admin/runs", None).await;
    assert!(stranger.headers["location"].starts_with("/light/admin/login?next="));
    app.finish().await;
}
