//! Signing in with GitHub and Slack, against stand-ins of both. Knows the outside of the house only.

use std::time::Duration;

use actors::clock::SystemClock;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::app::TestApp;
use crate::support::clock::ManualClock;
use crate::support::oauth::{CLIENT, FakeSignIn, Person, Visit, visit};

const PUBLIC: &str = "http://bot.test/light";

/// A service that lets members of acme in, by either way.
async fn app(provider: &FakeSignIn, more: &[(&str, &str)], settings: &str) -> TestApp {
    app_by(SystemClock::shared(), provider, more, settings).await
}

async fn app_by(
    clock: actors::clock::SharedClock,
    provider: &FakeSignIn,
    more: &[(&str, &str)],
    settings: &str,
) -> TestApp {
    let slack = format!("{}/api", provider.url);
    let usual = [
        ("PUBLIC_URL", PUBLIC),
        ("GITHUB_API_URL", provider.url.as_str()),
        ("GITHUB_OAUTH_CLIENT_ID", CLIENT.0),
        ("GITHUB_OAUTH_CLIENT_SECRET", CLIENT.1),
        ("GITHUB_ALLOWED_ORG", "acme"),
        ("SLACK_API_URL", &slack),
        ("SLACK_OAUTH_CLIENT_ID", CLIENT.0),
        ("SLACK_OAUTH_CLIENT_SECRET", CLIENT.1),
        ("SLACK_ALLOWED_WORKSPACE", "TACME"),
    ];
    TestApp::start_by(clock, &[&usual, more].concat(), settings).await
}

fn at(app: &TestApp, path: &str) -> String {
    format!("http://{}{path}", app.address())
}

/// Where the provider sends a browser back to, as this test reaches it: the public URL's proxy takes the base path off.
fn back(app: &TestApp, url: &url::Url) -> String {
    assert!(url.as_str().starts_with(PUBLIC), "{url}");
    at(app, &url.as_str()[PUBLIC.len()..])
}

/// Sets off; the cookie of the way, and where one is sent.
async fn set_off(app: &TestApp, way: &str) -> (String, String) {
    let (provider, next) = way.split_once('?').unwrap_or((way, ""));
    let away = visit(&at(app, &format!("/admin/api/oauth/{provider}/authorize?{next}")), "").await;
    assert_eq!(away.status, 302, "{}", away.text);
    let cookie = away
        .cookie(&format!("firstlight_oauth_{provider}"))
        .expect("a cookie for the way");
    let set = &away.cookies[0];
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Max-Age=600"),
        "{set}"
    );
    (cookie, away.location)
}

/// The whole way of somebody who says yes.
async fn sign_in(app: &TestApp, fake: &FakeSignIn, provider: &str, scopes: &str, person: Person) -> Visit {
    let (cookie, sent_to) = set_off(app, provider).await;
    let url = back(app, &fake.consents(&sent_to, scopes, person));
    visit(&url, &cookie).await
}

fn ann(membership: u16) -> Person {
    Person {
        profile: json!({ "login": "ann", "id": 1 }),
        membership,
    }
}

fn in_slack(team: &str, domain: &str) -> Person {
    Person {
        profile: json!({
            "ok": true,
            "sub": "U0ANN",
            "https://slack.com/user_id": "U0ANN",
            "https://slack.com/team_id": team,
            "https://slack.com/team_domain": domain,
            "name": "admin",
        }),
        membership: 0,
    }
}

/// Who a session cookie is.
async fn who(app: &TestApp, cookie: &str) -> Value {
    let answer = app.get_with("/admin/api/session", None, &[("cookie", cookie)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[actix::test]
async fn a_member_signs_in_with_github_and_gets_a_session_and_no_token_in_a_url() {
    let fake = FakeSignIn::start();
    let app = app(&fake, &[], "").await;
    let offered = app.get("/admin/api/auth-required", None).await.json();
    let expected = json!({ "required": true, "password": true, "slackOAuth": true, "githubOAuth": true });
    assert_eq!(offered, expected);

    let came = sign_in(&app, &fake, "github", "read:org", ann(204)).await;
    assert_eq!(
        (came.status, came.location.as_str()),
        (302, "/light/admin/"),
        "{came:?}"
    );
    assert_eq!(came.cookie("firstlight_oauth_github"), None, "the way is over");
    assert!(
        came.cookies
            .iter()
            .any(|set| set.starts_with("firstlight_oauth_github=;") && set.contains("Max-Age=0"))
    );
    let session = came.cookie("firstlight_session").expect("a session");
    let me = who(&app, &session).await;
    assert_eq!(
        (&me["who"], &me["method"], &me["scope"]),
        (&json!("ann"), &json!("github"), &json!("operate"))
    );

    let asked = fake.asked();
    let paths: Vec<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/login/oauth/access_token", "/user", "/orgs/acme/members/ann"]);
    let verifier = &asked[0].1["code_verifier"];
    assert!(verifier.len() >= 43, "the verifier is really sent: {verifier}");
    let lines = app.read("/admin/api/audit?action=login&who=ann").await["audit"].clone();
    assert_eq!(
        (&lines[0]["target"], &lines[0]["result"]),
        (&json!("github"), &json!("ok")),
        "{lines}"
    );
    app.finish().await;
}

#[actix::test]
async fn whoever_github_does_not_confirm_stays_out() {
    let fake = FakeSignIn::start();
    let app = app(&fake, &[], "").await;
    let nobody = Person {
        profile: Value::Null,
        membership: 204,
    };
    let odd = Person {
        profile: json!({ "login": "../../orgs/acme" }),
        membership: 204,
    };
    let nameless = Person {
        profile: json!({ "id": 7 }),
        membership: 204,
    };
    for (person, code) in [
        (ann(302), "github_org"),
        (ann(404), "github_org"),
        (ann(403), "github_org"),
        (ann(200), "github_org"),
        (ann(500), "github_org"),
        (nobody, "github_userinfo"),
        (odd, "github_userinfo"),
        (nameless, "github_userinfo"),
    ] {
        let came = sign_in(&app, &fake, "github", "read:org", person.clone()).await;
        assert_eq!(came.location, format!("/light/admin/login?error={code}"), "{person:?}");
        assert_eq!(
            (came.status, came.cookie("firstlight_session")),
            (302, None),
            "{person:?}"
        );
    }
    let lines = app.read("/admin/api/audit?action=login&target=github").await["audit"].clone();
    assert_eq!(lines.as_array().map(Vec::len), Some(8), "{lines}");
    assert_eq!(
        (&lines[0]["who"], &lines[0]["result"]),
        (&json!("-"), &json!("github_userinfo"))
    );
    app.finish().await;
}

#[actix::test]
async fn a_way_that_nobody_set_off_on_leads_nowhere() {
    let fake = FakeSignIn::start();
    let clock = ManualClock::new();
    let app = app_by(Arc::new(clock.clone()), &fake, &[], "").await;
    let (cookie, sent_to) = set_off(&app, "github").await;
    let url = back(&app, &fake.consents(&sent_to, "read:org", ann(204)));
    let (elsewhere, _) = set_off(&app, "github").await;
    let (slack, _) = set_off(&app, "slack").await;
    let as_slack = slack.replace("firstlight_oauth_slack", "firstlight_oauth_github");
    let state = url.split("state=").nth(1).expect("a state").to_owned();
    let callback = at(&app, "/admin/api/oauth/github/callback");
    let bent = format!("{cookie}x");
    for (what, url, cookie, code) in [
        ("no cookie", url.clone(), "", "oauth_state"),
        ("another window's", url.clone(), elsewhere.as_str(), "oauth_state"),
        ("another provider's", url.clone(), as_slack.as_str(), "oauth_state"),
        ("a forged cookie", url.clone(), bent.as_str(), "oauth_state"),
        (
            "no state",
            format!("{callback}?code=code-1"),
            cookie.as_str(),
            "oauth_state",
        ),
        ("no query", callback.clone(), cookie.as_str(), "oauth_state"),
        (
            "an odd query",
            format!("{callback}?state=%ff&state=2"),
            cookie.as_str(),
            "oauth_state",
        ),
    ] {
        let came = visit(&url, cookie).await;
        assert_eq!(
            (came.status, came.location),
            (302, format!("/light/admin/login?error={code}")),
            "{what}"
        );
    }
    assert!(fake.asked().is_empty(), "nothing of this was told to the provider");

    // They said no there: no code, and the way is used up.
    let came = visit(&format!("{callback}?error=access_denied&state={state}"), &cookie).await;
    assert_eq!(came.location, "/light/admin/login?error=oauth_code");
    let came = visit(&url, &cookie).await;
    assert_eq!(
        came.location, "/light/admin/login?error=oauth_state",
        "a state is good for one time"
    );

    // It took too long, here or there.
    let (cookie, sent_to) = set_off(&app, "github").await;
    let url = back(&app, &fake.consents(&sent_to, "read:org", ann(204)));
    clock.advance(Duration::from_secs(601));
    assert_eq!(
        visit(&url, &cookie).await.location,
        "/light/admin/login?error=oauth_state"
    );
    let (cookie, sent_to) = set_off(&app, "github").await;
    let url = back(&app, &fake.consents(&sent_to, "read:org", ann(204)));
    fake.forgets();
    assert_eq!(
        visit(&url, &cookie).await.location,
        "/light/admin/login?error=oauth_exchange"
    );

    // And a whole one works, once, and leads to where one wanted to go.
    let (cookie, sent_to) = set_off(&app, "github?next=/admin/runs%3Fstatus=failed").await;
    let url = back(&app, &fake.consents(&sent_to, "read:org", ann(204)));
    let came = visit(&url, &cookie).await;
    assert!(came.cookie("firstlight_session").is_some(), "{came:?}");
    assert_eq!(came.location, "/light/admin/runs?status=failed");
    assert_eq!(
        visit(&url, &cookie).await.location,
        "/light/admin/login?error=oauth_state"
    );
    app.finish().await;
}

#[actix::test]
async fn slack_lets_its_workspace_in_and_names_are_nobodys_proof() {
    let fake = FakeSignIn::start();
    let app = app(&fake, &[], "admin: {oauth_scope: read}").await;
    for (person, location) in [
        (in_slack("TACME", "acme"), "/light/admin/".to_owned()),
        (
            in_slack("TEVIL", "acme"),
            "/light/admin/login?error=slack_workspace".to_owned(),
        ),
        (
            in_slack("tacme", "acme"),
            "/light/admin/login?error=slack_workspace".to_owned(),
        ),
        (
            Person {
                profile: json!({ "ok": false, "error": "invalid_auth" }),
                membership: 0,
            },
            "/light/admin/login?error=slack_userinfo".to_owned(),
        ),
        (
            Person {
                profile: json!({ "ok": true, "https://slack.com/team_id": "TACME" }),
                membership: 0,
            },
            "/light/admin/login?error=slack_userinfo".to_owned(),
        ),
        (
            Person {
                profile: Value::Null,
                membership: 0,
            },
            "/light/admin/login?error=slack_userinfo".to_owned(),
        ),
    ] {
        let came = sign_in(&app, &fake, "slack", "openid profile", person.clone()).await;
        assert_eq!((came.status, &came.location), (302, &location), "{person:?}");
        let Some(session) = came.cookie("firstlight_session") else {
            continue;
        };
        let me = who(&app, &session).await;
        // The name that they chose there is the operator's; they are called by their id.
        assert_eq!(
            (&me["who"], &me["method"], &me["scope"]),
            (&json!("slack:U0ANN"), &json!("slack"), &json!("read"))
        );
        let headers = [("cookie", session.as_str()), ("sec-fetch-site", "same-origin")];
        let wish = json!({ "enabled": true });
        let answer = app
            .post_with("/admin/api/workflows/chat/toggle", None, &headers, &wish)
            .await;
        assert_eq!(answer.status, 403, "scope read may only look");
    }
    app.finish().await;
}

#[actix::test]
async fn a_workspace_may_be_named_by_its_domain_and_everybody_on_github_by_a_star() {
    let fake = FakeSignIn::start();
    let more = [("SLACK_ALLOWED_WORKSPACE", "Acme"), ("GITHUB_ALLOWED_ORG", "*")];
    let app = app(&fake, &more, "admin: {oauth_scope: admin}").await;
    let came = sign_in(&app, &fake, "slack", "openid profile", in_slack("TACME", "acme")).await;
    assert!(came.cookie("firstlight_session").is_some(), "{came:?}");
    // No scope is asked for, and no membership.
    let operator = Person {
        profile: json!({ "login": "admin" }),
        membership: 404,
    };
    let came = sign_in(&app, &fake, "github", "", operator).await;
    let me = who(&app, &came.cookie("firstlight_session").expect("a session")).await;
    assert_eq!(
        (&me["who"], &me["scope"]),
        (&json!("github:admin"), &json!("admin")),
        "nobody is the operator by name"
    );
    assert!(
        fake.asked().iter().all(|(path, _)| !path.starts_with("/orgs")),
        "{:?}",
        fake.asked()
    );
    app.finish().await;
}

#[actix::test]
async fn what_is_not_configured_is_not_there() {
    let app = TestApp::start().await;
    for provider in ["github", "slack"] {
        for step in ["authorize", "callback?code=x&state=y"] {
            let seen = visit(&at(&app, &format!("/admin/api/oauth/{provider}/{step}")), "").await;
            assert_eq!((seen.status, seen.cookies.len()), (404, 0), "{provider} {step}");
        }
    }
    let offered = app.get("/admin/api/auth-required", None).await.json();
    assert_eq!(
        (&offered["slackOAuth"], &offered["githubOAuth"]),
        (&json!(false), &json!(false))
    );
    // Exemptions are exact paths.
    for path in [
        "/admin/api/oauth/github/authorize/",
        "/admin/api/oauth",
        "/admin/api/x/login",
        "/admin/api/login/x",
    ] {
        assert_eq!(visit(&at(&app, path), "").await.status, 401, "{path}");
    }
    app.finish().await;
}

#[actix::test]
async fn a_question_knows_people_by_how_they_signed_in() {
    let overlay = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(overlay.path().join("workflows")).expect("made");
    let build = concat!(
        "name: build\nphases:\n  - name: ask\n    type: approval\n    gate: ship\n    message: Ship it?\n",
        "    gate_policy: {logins: [ann, admin], slack_ids: [U0ANN], not_requester: true, approvals: 2}\n",
    );
    std::fs::write(overlay.path().join("workflows/build.yaml"), build).expect("written");
    let fake = FakeSignIn::start();
    let settings = format!("workflows: {{overlay: {}}}", overlay.path().display());
    let everybody = [("GITHUB_ALLOWED_ORG", "*"), ("GITHUB_TOKEN", "")];
    let app = app(&fake, &everybody, &settings).await;
    let person = |login: &str| Person {
        profile: json!({ "login": login }),
        membership: 404,
    };
    let session = async |provider: &str, scopes: &str, person: Person| {
        let came = sign_in(&app, &fake, provider, scopes, person).await;
        came.cookie("firstlight_session").expect("a session")
    };
    let in_slack = session("slack", "openid profile", in_slack("TACME", "acme")).await;
    let ann = session("github", "", person("Ann")).await;
    let false_admin = session("github", "", person("admin")).await;
    let post = async |path: &str, cookie: &str, wish: Value| {
        let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
        app.post_with(path, None, &headers, &wish).await
    };
    let wish = json!({ "workflow": "build", "context": { "repo": "acme/site", "issueNumber": 1, "title": "x" } });
    assert_eq!(post("/api/run", &in_slack, wish).await.status, 202);
    app.settle().await;
    let id = app.read("/admin/api/approvals").await["approvals"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/admin/api/approvals/{id}/respond");
    let yes = || json!({ "decision": "approved" });
    for (cookie, status, words) in [
        (
            &in_slack,
            403,
            "slack:U0ANN asked for this run, and somebody else has to answer",
        ),
        (
            &false_admin,
            403,
            "github:admin may not answer this; ann, admin, one person in Slack may",
        ),
    ] {
        let answer = post(&path, cookie, yes()).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(words)));
    }
    let first = post(&path, &ann, yes()).await;
    assert_eq!(
        first.json(),
        json!({ "status": "pending", "approvals": 1, "needed": 2 }),
        "{}",
        first.text
    );
    // She is one person, however often she says yes; the operator's token is the operator.
    let mine = app
        .post(
            "/admin/api/tokens",
            Some(&app.login().await),
            &json!({ "label": "x", "scope": "operate" }),
        )
        .await;
    assert_eq!(post(&path, &ann, yes()).await.status, 403);
    let operator = mine.json()["token"].as_str().expect("a token").to_owned();
    let second = app.post(&path, Some(&operator), &yes()).await;
    assert_eq!(
        (second.status, second.json()),
        (200, json!({ "status": "approved" })),
        "{}",
        second.text
    );
    app.settle().await;
    app.finish().await;
}
