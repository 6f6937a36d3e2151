//! Who may do what: sessions and their cookies, tokens, refusals. Knows the outside of the house only.

use serde_json::{Value, json};

use crate::support::app::{Answer, PASSWORD, TestApp};

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
