//! The dashboard's pages as the server makes them. Knows the outside of the house only.

use serde_json::json;

use crate::support::app::{Answer, PASSWORD, TestApp};

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
