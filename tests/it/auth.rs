//! Who may do what: sessions and their cookies, tokens, refusals. Knows the outside of the house only.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::Secret;
use firstlight::http::{Claims, Tokens};
use firstlight::tools::Scope;
use serde_json::{Value, json};

use crate::support::app::{Answer, PASSWORD, TestApp};
use crate::support::clock::ManualClock;
use crate::support::oauth::visit;
use crate::support::payloads::comment;
use crate::support::process::firstlight;
use crate::support::routes::{Door, routes};

/// Signs in as a browser does; the cookie as it is sent back, and as it was set.
async fn session(app: &TestApp) -> (String, String) {
    let wish = json!({ "password": PASSWORD, "session": true });
    let answer = app.post("/admin/api/login", None, &wish).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "session": true })));
    let set = answer.headers["set-cookie"].clone();
    let pair = set.split(';').next().expect("a pair").to_owned();
    (pair, set)
}

fn said(answer: &Answer) -> (u16, String) {
    (
        answer.status,
        answer.json()["error"].as_str().unwrap_or_default().to_owned(),
    )
}

#[actix::test]
async fn a_browser_signs_in_with_a_cookie_that_only_it_can_use_and_out_for_good() {
    let app = TestApp::start().await;
    let (cookie, set) = session(&app).await;
    assert!(cookie.starts_with("firstlight_session="), "{set}");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    assert!(set.contains("Path=/;") && set.contains("Max-Age=604800"), "{set}");
    assert!(!set.contains("Secure"), "without https it would never come back: {set}");

    let me = app.get_with("/admin/api/session", None, &[("cookie", &cookie)]).await;
    assert_eq!(me.status, 200, "{}", me.text);
    let me = me.json();
    assert_eq!(
        (&me["who"], &me["method"], &me["scope"]),
        (&json!("admin"), &json!("session"), &json!("admin"))
    );
    assert!(me["expires"].as_str().is_some_and(|at| at.ends_with('Z')), "{me}");
    let csrf = me["csrf"].as_str().expect("a token").to_owned();

    // Beside one that somebody else's page has set, the real one is found.
    let beside = format!("firstlight_session=x.y; other=1; {cookie}");
    assert_eq!(
        app.get_with("/admin/api/stats", None, &[("cookie", &beside)])
            .await
            .status,
        200
    );
    assert_eq!(app.get("/admin/api/session", None).await.status, 401);

    let body = json!({});
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", &csrf)];
    let out = app.post_with("/admin/api/logout", None, &headers, &body).await;
    assert_eq!((out.status, out.json()), (200, json!({ "session": false })));
    assert!(out.headers["set-cookie"].contains("Max-Age=0"), "{:?}", out.headers);
    let after = app.get_with("/admin/api/session", None, &[("cookie", &cookie)]).await;
    assert_eq!(said(&after), (401, "unauthorized".into()));
    // What the cookie held is worth nothing as a bearer token either.
    let token = cookie.split_once('=').expect("a value").1;
    assert_eq!(app.get("/admin/api/stats", Some(token)).await.status, 401);
    app.finish().await;
}

#[actix::test]
async fn a_write_with_the_cookie_needs_proof_that_it_comes_from_our_own_pages() {
    let app = TestApp::start().await;
    let (cookie, _) = session(&app).await;
    let me = app
        .get_with("/admin/api/session", None, &[("cookie", &cookie)])
        .await
        .json();
    let csrf = me["csrf"].as_str().expect("a token");
    let own = format!("http://{}", app.address());
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("origin", "https://evil.test")], 403),
        (&[("origin", "null")], 403),
        (
            &[
                ("origin", "https://evil.test"),
                ("sec-fetch-site", "same-origin"),
                ("x-csrf-token", csrf),
            ],
            403,
        ),
        (&[("x-csrf-token", "another")], 403),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-site", "none")], 200),
        (&[("origin", &own)], 200),
        (&[("x-csrf-token", csrf)], 200),
    ];
    for (proof, status) in table {
        let headers = [&[("cookie", cookie.as_str())], *proof].concat();
        let wish = json!({ "enabled": true });
        let answer = app
            .post_with("/admin/api/workflows/chat/toggle", None, &headers, &wish)
            .await;
        assert_eq!(answer.status, *status, "{proof:?}: {}", answer.text);
    }
    // A bearer token is no cookie: no browser sends it by itself.
    let token = app.login().await;
    let evil = [("origin", "https://evil.test")];
    let answer = app
        .post_with(
            "/admin/api/workflows/chat/toggle",
            Some(&token),
            &evil,
            &json!({ "enabled": true }),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // Whoever shows a token is judged by it, whatever cookie is beside it.
    let both = [("cookie", cookie.as_str())];
    assert_eq!(app.get_with("/admin/api/stats", Some("a.b"), &both).await.status, 401);
    // And no other site signs anybody in.
    let wish = json!({ "password": PASSWORD, "session": true });
    assert_eq!(app.post_with("/admin/api/login", None, &evil, &wish).await.status, 403);
    app.finish().await;
}

#[actix::test]
async fn with_https_the_cookie_is_secure_and_bound_to_the_host_or_the_base_path() {
    for (url, name, path) in [
        ("https://bot.example.com", "__Host-firstlight_session=", "Path=/;"),
        ("https://bot.example.com/light", "firstlight_session=", "Path=/light;"),
    ] {
        let app = TestApp::start_with(&[("PUBLIC_URL", url)], "").await;
        let (cookie, set) = session(&app).await;
        assert!(cookie.starts_with(name), "{set}");
        assert!(set.contains("Secure") && set.contains(path), "{set}");
        let headers = [("cookie", cookie.as_str()), ("origin", "https://bot.example.com")];
        let wish = json!({ "enabled": true });
        let answer = app
            .post_with("/admin/api/workflows/chat/toggle", None, &headers, &wish)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        app.finish().await;
    }
}

#[actix::test]
async fn a_login_with_odd_words_is_refused_in_words() {
    let app = TestApp::start().await;
    let table: &[(Value, u16, &str)] = &[
        (json!({}), 400, "password required"),
        (json!({ "password": 7 }), 400, "password required"),
        (json!([]), 400, "password required"),
        (
            json!({ "password": PASSWORD, "session": "yes" }),
            400,
            "session must be true or false",
        ),
        (
            json!({ "password": PASSWORD, "scope": "root" }),
            400,
            "scope must be read, operate or admin",
        ),
        (json!({ "password": "wrong" }), 401, "invalid password"),
        (json!({ "password": "" }), 401, "invalid password"),
    ];
    for (wish, status, words) in table {
        assert_eq!(
            said(&app.post("/admin/api/login", None, wish).await),
            (*status, (*words).to_owned()),
            "{wish}"
        );
    }
    app.finish().await;
}

#[actix::test]
async fn a_token_is_shown_once_speaks_for_its_maker_and_is_refused_from_the_moment_it_is_revoked() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let wish = json!({ "label": "ci", "scope": "operate", "days": 30 });
    let keyed = [("idempotency-key", "one")];
    let made = app.post_with("/admin/api/tokens", Some(&admin), &keyed, &wish).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let (id, token) = (
        made["id"].as_str().expect("an id"),
        made["token"].as_str().expect("a token"),
    );
    let again = app.post_with("/admin/api/tokens", Some(&admin), &keyed, &wish).await;
    assert_eq!(
        (again.status, &again.json()["id"]),
        (201, &made["id"]),
        "{}",
        again.text
    );
    assert_eq!(again.json()["token"], Value::Null, "it is shown once");

    let me = app.get("/admin/api/session", Some(token)).await.json();
    assert_eq!(
        (&me["who"], &me["method"], &me["scope"]),
        (&json!("admin"), &json!("token"), &json!("operate"))
    );
    let listed = app.get("/admin/api/tokens?method=token", Some(token)).await;
    assert!(!listed.text.contains(token), "no list shows a token");
    let listed = listed.json()["tokens"].as_array().expect("a list").clone();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&listed[0]["id"], &listed[0]["label"]), (&made["id"], &json!("ci")));
    assert!(listed[0]["lastUsedAt"].is_string(), "{listed:?}");

    // It makes and revokes none itself, and may do what its scope says.
    let path = format!("/admin/api/tokens/{id}");
    assert_eq!(
        app.post(
            "/admin/api/tokens",
            Some(token),
            &json!({ "label": "x", "scope": "read" })
        )
        .await
        .status,
        403
    );
    assert_eq!(app.ask("DELETE", &path, Some(token), &[], None).await.status, 403);
    assert_eq!(
        app.post(
            "/admin/api/workflows/chat/toggle",
            Some(token),
            &json!({ "enabled": true })
        )
        .await
        .status,
        200
    );

    let gone = app.ask("DELETE", &path, Some(&admin), &[], None).await;
    assert_eq!((gone.status, gone.json()), (200, json!({ "revoked": true, "id": id })));
    assert_eq!(
        said(&app.get("/admin/api/stats", Some(token)).await),
        (401, "unauthorized".into())
    );
    assert_eq!(
        app.ask("DELETE", &path, Some(&admin), &[], None).await.status,
        200,
        "a second time changes nothing"
    );
    assert_eq!(
        app.ask("DELETE", "/admin/api/tokens/none", Some(&admin), &[], None)
            .await
            .status,
        404
    );
    let app = app.restart().await;
    assert_eq!(
        app.get("/admin/api/stats", Some(token)).await.status,
        401,
        "nor does a restart bring it back"
    );
    assert_eq!(app.get("/admin/api/stats", Some(&admin)).await.status, 200);
    let all = app
        .get("/admin/api/tokens?state=all&method=token", Some(&admin))
        .await
        .json();
    assert_eq!(all["tokens"][0]["revokedBy"], "admin", "{all}");

    // A login is a token like others: it is listed, and signing out ends it.
    assert_eq!(
        app.post("/admin/api/logout", Some(&admin), &json!({})).await.status,
        200
    );
    assert_eq!(app.get("/admin/api/stats", Some(&admin)).await.status, 401);
    app.finish().await;
}

#[actix::test]
async fn a_token_is_asked_for_in_words_that_are_understood_or_refused() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let long = "x".repeat(65);
    let table = [
        (json!({}), "label must say what the token is for, in 1 to 64 characters"),
        (
            json!({ "label": " ", "scope": "read" }),
            "label must say what the token is for, in 1 to 64 characters",
        ),
        (
            json!({ "label": "a\nb", "scope": "read" }),
            "label must say what the token is for, in 1 to 64 characters",
        ),
        (
            json!({ "label": long, "scope": "read" }),
            "label must say what the token is for, in 1 to 64 characters",
        ),
        (json!({ "label": "x" }), "scope must be read, operate or admin"),
        (
            json!({ "label": "x", "scope": "root" }),
            "scope must be read, operate or admin",
        ),
        (
            json!({ "label": "x", "scope": "read", "days": 0 }),
            "days must be a whole number from 1 to 366",
        ),
        (
            json!({ "label": "x", "scope": "read", "days": 1e300 }),
            "days must be a whole number from 1 to 366",
        ),
        (
            json!({ "label": "x", "scope": "read", "who": "eve" }),
            "there is no \"who\" here; known are label, scope, days",
        ),
    ];
    for (wish, words) in table {
        let answer = app.post("/admin/api/tokens", Some(&admin), &wish).await;
        assert_eq!(said(&answer), (400, words.to_owned()), "{wish}");
    }
    for query in ["state=some", "limit=0", "before=x"] {
        assert_eq!(
            app.get(&format!("/admin/api/tokens?{query}"), Some(&admin))
                .await
                .status,
            400,
            "{query}"
        );
    }
    app.finish().await;
}

/// Lines of the audit log, newest first: who, action, target, result.
async fn lines(app: &TestApp, query: &str) -> Vec<[String; 4]> {
    let page = app.read(&format!("/admin/api/audit?limit=200{query}")).await;
    let line =
        |line: &Value| ["who", "action", "target", "result"].map(|key| line[key].as_str().expect("a text").to_owned());
    page["audit"].as_array().expect("a list").iter().map(line).collect()
}

fn line(who: &str, action: &str, target: &str, result: &str) -> [String; 4] {
    [who, action, target, result].map(str::to_owned)
}

#[actix::test]
async fn every_change_is_in_the_audit_log_once_refused_ones_too_and_the_chain_holds() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let made = app
        .post(
            "/admin/api/tokens",
            Some(&admin),
            &json!({ "label": "ci", "scope": "operate" }),
        )
        .await
        .json();
    let (id, ci) = (
        made["id"].as_str().expect("an id"),
        made["token"].as_str().expect("a token"),
    );
    let wish = json!({ "workflow": "repo-health", "context": { "repo": "acme/site" } });
    let run = app.post("/api/run", Some(ci), &wish).await.json()["executionId"]
        .as_str()
        .expect("an id")
        .to_owned();
    app.post("/api/run", Some(ci), &json!({ "workflow": "no-such" })).await;
    app.post(
        "/admin/api/workflows/chat/toggle",
        Some(ci),
        &json!({ "enabled": true }),
    )
    .await;
    app.post("/admin/api/workflows/chat/toggle", Some(ci), &json!({ "enabled": 7 }))
        .await;
    app.post(
        "/api/integrations/webhooks",
        Some(ci),
        &json!({ "url": "https://example.com/hook" }),
    )
    .await;
    app.post("/api/integrations/tools/integrations_state", Some(ci), &json!({}))
        .await;
    app.post("/api/integrations/git-auto-commit/dry-run", Some(ci), &json!({}))
        .await;
    app.post("/admin/api/nothing/here%20%07", Some(ci), &json!({})).await;
    app.post("/api/run", None, &json!({})).await;
    app.get("/admin/api/stats", None).await;
    app.get("/admin/api/stats", Some(ci)).await;
    app.ask("DELETE", &format!("/admin/api/tokens/{id}"), Some(&admin), &[], None)
        .await;
    app.post("/admin/api/login", None, &json!({ "password": "guess" }))
        .await;
    let webhook = app.read("/api/integrations/webhooks").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let known = "unknown workflow";
    let seen: Vec<_> = lines(&app, "")
        .await
        .into_iter()
        .filter(|line| line[3] != "ok" || line[1] != "login")
        .collect();
    let expected = [
        line("-", "login", "password", "invalid password"),
        line("admin", "token revoke", id, "ok"),
        line("-", "POST /api/run", "", "unauthorized"),
        line("admin (ci)", "POST", "/admin/api/nothing/here%20%07", "not found"),
        line("admin (ci)", "POST /api/integrations/git-auto-commit/dry-run", "", ""),
        line("admin (ci)", "integration_webhook_register", &webhook, "ok"),
        line(
            "admin (ci)",
            "POST /admin/api/workflows/{name}/toggle",
            "chat",
            "enabled must be true or false",
        ),
        line("admin (ci)", "workflow on", "chat", "ok"),
        line("admin (ci)", "run", "no-such", known),
        line("admin (ci)", "run", &run, "ok"),
        line("admin", "token", id, "ok"),
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
    for (seen, expected) in seen.iter().zip(&expected) {
        let words = expected[3].is_empty() || seen[3].to_lowercase().starts_with(&expected[3].to_lowercase());
        assert!(seen[..3] == expected[..3] && words, "{seen:?} is not {expected:?}");
    }
    // By who, action, target and time, page by page.
    assert_eq!(lines(&app, "&action=token").await, [line("admin", "token", id, "ok")]);
    assert_eq!(lines(&app, &format!("&target={run}")).await.len(), 1);
    assert_eq!(lines(&app, "&who=admin%20(ci)&action=run").await.len(), 2);
    assert!(lines(&app, "&until=2020-01-01T00:00:00Z").await.is_empty());
    assert!(lines(&app, "&since=2020-01-01T00:00:00%2B01:00&who=-").await.len() == 2);
    let first = app.read("/admin/api/audit?limit=3&who=admin%20(ci)").await;
    let cursor = first["nextCursor"].as_i64().expect("there is more");
    let rest = app
        .read(&format!("/admin/api/audit?limit=3&who=admin%20(ci)&cursor={cursor}"))
        .await;
    assert!(
        rest["audit"][0]["seq"].as_i64().expect("a number") < cursor
            && rest["audit"].as_array().expect("a list").len() == 3
    );
    let keys: Vec<&String> = rest["audit"][0].as_object().expect("a line").keys().collect();
    assert_eq!(keys, ["seq", "at", "who", "from", "action", "target", "result"]);
    for odd in ["since=yesterday", "limit=0", "limit=201", "cursor=x"] {
        assert_eq!(
            app.get(&format!("/admin/api/audit?{odd}"), Some(&admin)).await.status,
            400,
            "{odd}"
        );
    }
    app.settle().await;
    let database = app.folder().join("state/firstlight.db");
    let proof = actors::store::sqlite::verify_audit(&database).expect("it can be read");
    assert!(
        matches!(proof, actors::store::sqlite::Proof::Whole { rows, .. } if rows > 12),
        "{proof:?}"
    );
    app.finish().await;
}

#[actix::test]
async fn a_flood_of_strangers_writes_a_few_lines_and_how_many_there_were() {
    let clock = ManualClock::new();
    let app = TestApp::start_by(Arc::new(clock.clone()), &[], "").await;
    for _ in 0..50 {
        assert_eq!(app.post("/api/run", None, &json!({})).await.status, 401);
    }
    clock.advance(Duration::from_secs(61));
    app.post("/api/build", None, &json!({})).await;
    let seen = lines(&app, "&who=-").await;
    assert_eq!(seen.len(), 21, "{seen:#?}");
    assert_eq!(
        seen[0],
        line("-", "POST /api/build", "", "unauthorized (and 30 more like it before)")
    );
    app.finish().await;
}

#[actix::test]
async fn guesses_from_many_addresses_are_stopped_and_who_was_here_before_still_gets_in() {
    let app = TestApp::start_with(&[], "server: {trusted_proxies: [127.0.0.1]}").await;
    let from = async |address: String, password: &str| {
        let headers = [("x-forwarded-for", address.as_str())];
        app.post_with("/admin/api/login", None, &headers, &json!({ "password": password }))
            .await
    };
    assert_eq!(from("192.0.2.1".into(), PASSWORD).await.status, 200);
    for n in 0..100 {
        let guess = from(format!("198.51.100.{}", n / 9), "guess").await;
        assert_eq!(guess.status, 401, "{n}: {}", guess.text);
    }
    let stranger = from("203.0.113.9".into(), PASSWORD).await;
    assert_eq!(
        said(&stranger),
        (429, "too many wrong passwords; wait five minutes".into())
    );
    let wait: u64 = stranger.headers["retry-after"].parse().expect("seconds");
    assert!((200..=300).contains(&wait), "{wait}");
    assert_eq!(
        from("192.0.2.1".into(), PASSWORD).await.status,
        200,
        "guessing locks nobody out"
    );
    app.finish_quietly().await;
}

#[actix::test]
async fn two_operators_answer_at_once_and_one_of_them_is_told_so() {
    let overlay = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(overlay.path().join("workflows")).expect("made");
    let build = "name: build\nphases:\n  - {name: ask, type: approval, gate: go, message: Go on?}\n";
    std::fs::write(overlay.path().join("workflows/build.yaml"), build).expect("written");
    let settings = format!("workflows: {{overlay: {}}}", overlay.path().display());
    let app = TestApp::start_with(&[("GITHUB_TOKEN", "")], &settings).await;
    let admin = app.login().await;
    let wish = json!({ "workflow": "build", "context": { "repo": "acme/site", "issueNumber": 1, "title": "x" } });
    assert_eq!(app.post("/api/run", Some(&admin), &wish).await.status, 202);
    app.settle().await;
    let id = app.read("/admin/api/approvals").await["approvals"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (cookie, _) = session(&app).await;
    let path = format!("/admin/api/approvals/{id}/respond");
    let (yes, no) = (json!({ "decision": "approved" }), json!({ "decision": "rejected" }));
    let browser = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let (one, other) = futures_util::join!(
        app.post_with(&path, None, &browser, &yes),
        app.post(&path, Some(&admin), &no)
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400], "{} {}", one.text, other.text);
    let late = if one.status == 400 { one } else { other };
    assert!(
        late.json()["error"]
            .as_str()
            .is_some_and(|words| words.starts_with("already ")),
        "{}",
        late.text
    );
    app.settle().await;
    let seen = lines(&app, &format!("&target={id}")).await;
    assert_eq!(seen.len(), 2, "both are in the log: {seen:?}");
    assert_eq!(seen.iter().filter(|line| line[3] == "ok").count(), 1, "{seen:?}");
    app.finish().await;
}

#[actix::test]
async fn who_answers_in_a_comment_is_in_the_audit_log_too() {
    let overlay = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(overlay.path().join("workflows")).expect("made");
    let build = "name: build\nphases:\n  - {name: ask, type: approval, gate: go, message: Go on?}\n";
    std::fs::write(overlay.path().join("workflows/build.yaml"), build).expect("written");
    let settings = format!("workflows: {{overlay: {}}}", overlay.path().display());
    let app = TestApp::start_with(&[], &settings).await;
    app.github.opens_issue("acme/site", "x", "");
    let admin = app.login().await;
    let wish = json!({ "workflow": "build", "context": { "repo": "acme/site", "issueNumber": 1, "title": "x" } });
    assert_eq!(app.post("/api/run", Some(&admin), &wish).await.status, 202);
    app.settle().await;
    let id = app.read("/admin/api/approvals").await["approvals"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let approve = comment(1, "MEMBER", "@last-light approve");
    app.accept("issue_comment", &approve).await;
    app.settle().await;
    assert_eq!(
        lines(&app, &format!("&target={id}")).await,
        [line("ann", "approval", &id, "ok")]
    );
    app.finish().await;
}

/// What needs no token, each with the reason.
const OPEN: &[(&str, &str, &str)] = &[
    (
        "GET",
        "/health",
        "a load balancer asks; says nothing of this deployment",
    ),
    ("GET", "/ready", "the same"),
    (
        "GET",
        "/metrics",
        "asks for a token itself, unless metrics.public says otherwise",
    ),
    ("POST", "/webhooks/github", "a signature says who it is"),
    ("POST", "/admin/api/login", "this is where one gets a token"),
    ("GET", "/admin/api/auth-required", "says how one gets a token"),
    (
        "GET",
        "/admin/api/oauth/github/authorize",
        "this is where one gets a session",
    ),
    ("GET", "/admin/api/oauth/github/callback", "the same"),
    ("GET", "/admin/api/oauth/slack/authorize", "the same"),
    ("GET", "/admin/api/oauth/slack/callback", "the same"),
    ("GET", "/admin", "leads to the pages, which are guarded"),
    ("GET", "/admin/login", "the page where one signs in"),
    ("GET", "/admin/assets/x", "style and scripts, the same for everybody"),
];

#[actix::test]
async fn every_route_refuses_whoever_has_no_right_to_it() {
    const KEY: &str = "an admin secret of the tests";
    let app = TestApp::start_with(&[("ADMIN_SECRET", KEY)], "").await;
    let routes: Vec<_> = routes().into_iter().map(|route| (route.at("x"), route)).collect();
    let behind = |door: Door| -> Vec<(&str, &str)> {
        let there = routes.iter().filter(|(_, route)| route.door == door);
        there
            .map(|(path, route)| (route.method.as_str(), path.as_str()))
            .collect()
    };
    let allowed: Vec<(&str, &str)> = OPEN.iter().map(|(method, path, _)| (*method, *path)).collect();
    let sorted = |mut list: Vec<_>| {
        list.sort_unstable();
        list
    };
    assert_eq!(
        sorted(behind(Door::Open)),
        sorted(allowed),
        "what is open to everybody needs a reason"
    );
    let guarded = behind(Door::Api);
    for known in [
        ("POST", "/api/run"),
        ("POST", "/admin/crons/x/toggle"),
        ("DELETE", "/admin/api/tokens/x"),
        ("POST", "/api/integrations/webhooks/x/rotate"),
    ] {
        assert!(guarded.contains(&known), "{known:?} was not understood: {guarded:?}");
    }
    assert!(
        guarded.len() > 40,
        "the table of routes was not understood: {guarded:?}"
    );

    let claims = |id: &str, exp: i64, scope: Scope| Claims {
        exp,
        id: id.into(),
        who: "admin".into(),
        method: "password".into(),
        label: None,
        scope,
    };
    let (soon, past) = (4_000_000_000, 1_000_000_000);
    let ours = Tokens::new(&Secret::new(KEY));
    let good = ours.sign(&claims("t-good", soon, Scope::Admin));
    let read = ours.sign(&claims("t-read", soon, Scope::Read));
    let operate = ours.sign(&claims("t-operate", soon, Scope::Operate));
    let expired = ours.sign(&claims("t-old", past, Scope::Admin));
    let forged = Tokens::new(&Secret::new("lastlight-dev-secret")).sign(&claims("t-forged", soon, Scope::Admin));
    let (said_by_other, _) = read.split_once('.').expect("two parts");
    let (_, signature) = good.split_once('.').expect("two parts");
    let swapped = format!("{said_by_other}.{signature}");
    let unsigned = format!("{said_by_other}.");
    let out = app.login().await;
    app.post("/admin/api/logout", Some(&out), &json!({})).await;
    let cookie = format!("firstlight_session={good}");
    assert_eq!(app.get("/admin/api/session", Some(&good)).await.status, 200, "{good}");
    // One of the shape of the original, which names no scope, is the admin's; as a cookie it is nobody's.
    let plain = {
        use base64::Engine;
        let said = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{soon}}}"));
        let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(KEY.as_bytes()).expect("any length");
        hmac::Mac::update(&mut mac, said.as_bytes());
        let signature = hmac::Mac::finalize(mac).into_bytes();
        format!(
            "{said}.{}",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature)
        )
    };
    assert_eq!(
        app.get("/admin/api/session", Some(&plain)).await.json()["scope"],
        "admin"
    );
    let plain_cookie = format!("firstlight_session={plain}");

    let body = json!({});
    let mut asked = 0;
    for (method, path) in guarded.iter().copied() {
        let ask = async |token: Option<&str>, headers: &[(&str, &str)]| {
            let body = (method != "GET").then_some(&body);
            said(&app.ask(method, path, token, headers, body).await)
        };
        let nobody = (401, "unauthorized".to_owned());
        for (what, token) in [
            ("no token", None),
            ("an expired one", Some(expired.as_str())),
            ("a forged one", Some(&forged)),
            ("one with another's signature", Some(&swapped)),
            ("one without a signature", Some(&unsigned)),
            ("one that was signed out", Some(&out)),
            ("the password", Some(PASSWORD)),
        ] {
            asked += 1;
            assert_eq!(ask(token, &[]).await, nobody, "{method} {path} with {what}");
        }
        for (what, cookie) in [
            ("an expired cookie", format!("firstlight_session={expired}")),
            ("a forged cookie", format!("firstlight_session={forged}")),
            ("a cookie that cannot be revoked", plain_cookie.clone()),
            ("a cookie of another name", format!("__Host-firstlight_session={good}")),
        ] {
            let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
            assert_eq!(ask(None, &headers).await, nobody, "{method} {path} with {what}");
        }
        let in_url = app.ask(method, &format!("{path}?token={good}"), None, &[], None).await;
        assert_eq!(in_url.status, 401, "{method} {path}: no token in a URL");
        if method == "GET" {
            continue;
        }
        // A change.
        for (what, headers) in [
            ("no proof", vec![]),
            ("another site", vec![("sec-fetch-site", "cross-site")]),
            (
                "a foreign origin",
                vec![("origin", "https://evil.test"), ("sec-fetch-site", "same-origin")],
            ),
            ("another session's proof", vec![("x-csrf-token", "x")]),
        ] {
            let headers = [vec![("cookie", cookie.as_str())], headers].concat();
            assert_eq!(
                ask(None, &headers).await.0,
                403,
                "{method} {path} with the cookie and {what}"
            );
        }
        let by_tool = path == "/mcp" || path.starts_with("/api/integrations/tools/");
        if !by_tool && path != "/admin/api/logout" {
            assert_eq!(ask(Some(&read), &[]).await.0, 403, "{method} {path} with scope read");
        }
        if path.starts_with("/admin/api/tokens") {
            assert_eq!(
                ask(Some(&operate), &[]).await.0,
                403,
                "{method} {path} with scope operate"
            );
        }
    }
    assert_eq!(asked, guarded.len() * 7);
    for (method, path) in behind(Door::Pages) {
        for cookie in ["", &plain_cookie, &format!("firstlight_session={forged}")] {
            let (status, location) = match method {
                "GET" => {
                    let seen = visit(&format!("http://{}{path}", app.address()), cookie).await;
                    (seen.status, seen.location)
                }
                _ => {
                    let answer = app.ask(method, path, None, &[("cookie", cookie)], Some(&body)).await;
                    (
                        answer.status,
                        answer.headers.get("location").cloned().unwrap_or_default(),
                    )
                }
            };
            let away = (status, location.split('?').next().unwrap_or_default());
            assert_eq!(away, (303, "/admin/login"), "{method} {path} with {cookie:?}");
        }
    }
    let tool = "/api/integrations/tools/integration_webhook_register";
    assert_eq!(
        app.post(tool, Some(&read), &json!({ "url": "https://example.com" }))
            .await
            .status,
        403
    );
    assert!(
        app.read("/api/integrations/webhooks")
            .await
            .as_array()
            .expect("a list")
            .is_empty()
    );
    app.finish().await;
}

/// What a command says on standard output, for the service at this address.
async fn command(app: &TestApp, token: &str, words: &[&str]) -> (bool, String, String) {
    let mut command = firstlight();
    command
        .args(words)
        .current_dir(app.folder())
        .env("FIRSTLIGHT_URL", format!("http://{}", app.address()))
        .env("FIRSTLIGHT_TOKEN", token);
    let done = tokio::task::spawn_blocking(move || command.output().expect("it ran"));
    let done = done.await.expect("no panic");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (done.status.success(), text(&done.stdout), text(&done.stderr))
}

#[actix::test]
async fn tokens_and_the_audit_log_are_kept_from_the_command_line() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let make = ["tokens", "create", "ci", "--scope", "read", "--days", "2"];
    let (done, token, _) = command(&app, &admin, &make).await;
    assert!(
        done && app.get("/admin/api/stats", Some(&token)).await.status == 200,
        "{token}"
    );
    let (_, listed, _) = command(&app, &admin, &["tokens", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let made = &listed["tokens"][0];
    assert_eq!(
        (&made["label"], &made["scope"], &made["method"]),
        (&json!("ci"), &json!("read"), &json!("token"))
    );
    let (_, shown, _) = command(&app, &token, &["tokens", "list"]).await;
    let id = made["id"].as_str().expect("an id");
    assert!(shown.contains("LABEL") && shown.contains(id), "{shown}");
    let (done, _, why) = command(&app, &token, &["tokens", "revoke", id]).await;
    assert!(!done && why.contains("may only look"), "{why}");
    assert_eq!(
        command(&app, &admin, &["tokens", "revoke", id]).await,
        (true, "revoked".into(), String::new())
    );
    let (done, _, why) = command(&app, &token, &["tokens", "list"]).await;
    assert!(!done && why.contains("sign in with: firstlight login"), "{why}");
    let (_, shown, _) = command(&app, &admin, &["audit", "list", "--target", id, "--limit", "2"]).await;
    assert!(shown.contains("token revoke") && shown.contains("127.0.0.1"), "{shown}");
    let (done, _, why) = command(&app, &admin, &["audit", "list", "--since", "yesterday"]).await;
    assert!(!done && why.contains("since must be an instant"), "{why}");
    let (done, _, why) = command(&app, &admin, &["tokens", "create", "x", "--days", "400"]).await;
    assert!(!done && why.contains("400"), "{why}");
    app.finish().await;
}
