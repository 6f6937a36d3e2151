//! `firstlight demo` and `firstlight send`, as a newcomer runs them. Knows the real binary only.

use crate::support::app::{PASSWORD, SECRET, TestApp};
use crate::support::process::firstlight;

#[test]
fn the_demo_tells_the_story_in_order_and_ends() {
    let told = firstlight().args(["demo", "--once"]).output().expect("it ran");
    let story = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success(),
        "{story}{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let mut rest = story.as_ref();
    for part in [
        "sent",
        "recorded",
        "accepted",
        "routed",
        "issue-triage",
        "phase",
        "skipped",
        "ended",
        "comment",
        "Thanks for this issue",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("\"{part}\" is missing, or too early:\n{story}"));
        rest = &rest[at + part.len()..];
    }
}

async fn send(app: &TestApp, args: &[&str], secret: &str) -> (Option<i32>, String) {
    let url = format!("http://{}", app.address());
    let mut command = firstlight();
    command
        .arg("send")
        .args(args)
        .args(["--url", &url])
        .env("WEBHOOK_SECRET", secret);
    let output = actix_rt::task::spawn_blocking(move || command.output())
        .await
        .expect("ran")
        .expect("it ran");
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&words).into_owned())
}

#[actix_rt::test]
async fn send_posts_what_the_service_accepts() {
    let app = TestApp::start().await;
    let (code, words) = send(&app, &["issues.closed", "--delivery", "sent-1"], SECRET).await;
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains(r#"202 {"accepted":true,"id":"sent-1"}"#), "{words}");
    let (code, words) = send(
        &app,
        &["issues.closed", "--form", "--json"],
        &format!("{SECRET},another"),
    )
    .await;
    assert_eq!(code, Some(0), "{words}");
    let (code, words) = send(&app, &["star.created"], SECRET).await;
    assert!(code == Some(0) && words.contains("unmapped event"), "{words}");
    assert_eq!(app.events().await.len(), 2);
    app.finish().await;
}

#[actix_rt::test]
async fn send_says_what_is_wrong() {
    let app = TestApp::start().await;
    let (code, words) = send(&app, &["issues.opened"], PASSWORD).await;
    assert!(
        code == Some(1) && words.contains("Invalid signature") && words.contains("--secret"),
        "{words}"
    );
    let (code, words) = send(&app, &["issue.opened"], SECRET).await;
    assert!(
        code == Some(2) && words.contains("did you mean \"issues.opened\"?"),
        "{words}"
    );
    let (code, words) = send(&app, &["issues.opened", "--file", "/nowhere"], SECRET).await;
    assert!(code == Some(2) && words.contains("/nowhere"), "{words}");
    app.finish().await;
    let nobody = firstlight()
        .args(["send", "issues.opened", "--url", "http://127.0.0.1:9"])
        .output()
        .expect("it ran");
    let words = String::from_utf8_lossy(&nobody.stderr);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        words.contains("server not running at http://127.0.0.1:9") && words.contains("firstlight serve"),
        "{words}"
    );
}
