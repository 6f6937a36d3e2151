//! The API's own document and the page that shows it, through the doors.

use crate::support::app::TestApp;

#[actix::test]
async fn the_document_is_shown_to_those_who_are_known_with_the_base_path_of_the_house() {
    let app = TestApp::start_with(&[("PUBLIC_URL", "https://ops.example.com/lights/")], "").await;
    assert_eq!(app.get("/api/openapi.json", None).await.status, 401);
    let token = app.login().await;
    let document = app.get("/api/openapi.json", Some(&token)).await.json();
    assert_eq!(document["servers"][0]["url"], "/lights");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let list = &document["paths"]["/admin/api/crons"]["get"];
    assert!(
        list["summary"]
            .as_str()
            .or(list["description"].as_str())
            .is_some_and(|words| words.contains("crons")),
        "{list}"
    );
    app.finish().await;
}

#[actix::test]
async fn the_page_of_the_document_comes_out_of_the_binary_and_loads_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let page = app.get("/api/docs", Some(&token)).await;
    assert_eq!(page.status, 302);
    let page = app.get("/api/docs/index.html", Some(&token)).await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    let policy = page.headers.get("content-security-policy").cloned().unwrap_or_default();
    assert!(policy.contains("script-src 'self';"), "{policy}");
    for part in page
        .text
        .split(['"', '\''])
        .filter(|part| part.ends_with(".js") || part.ends_with(".css"))
    {
        let file = app
            .get(&format!("/api/docs/{}", part.trim_start_matches("./")), Some(&token))
            .await;
        assert_eq!(file.status, 200, "{part}");
    }
    let script = app.get("/api/docs/swagger-initializer.js", Some(&token)).await;
    assert!(script.text.contains("../openapi.json"), "{}", script.text);
    for path in ["/api/docs/..%2f..%2fsecrets", "/api/docs/nothing.js", "/api/docs/%00"] {
        assert_eq!(app.get(path, Some(&token)).await.status, 404, "{path}");
    }
    assert_eq!(app.get("/api/docs/index.html", None).await.status, 401);
    app.finish().await;
}
