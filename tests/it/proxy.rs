//! Behind a reverse proxy: a real nginx with the very file that is shown as an example, and what browsers are told.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::app::TestApp;

/// A running nginx with the example file, without TLS and on a port of its own.
struct Nginx {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Nothing where nginx is not installed, which is said.
    fn before(app: &TestApp) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists());
        let Some(program) = program else {
            assert!(std::env::var_os("CI").is_none(), "nginx is not installed");
            eprintln!("SKIPPED: nothing was tried behind nginx, which is not installed here");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("bound")
            .port();
        let folder = tempfile::tempdir().expect("a folder");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/nginx.conf");
        let example = std::fs::read_to_string(example).expect("the example");
        let server: String = example
            .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port};"))
            .replace("127.0.0.1:8644", &app.address().to_string())
            .lines()
            .filter(|line| !line.trim_start().starts_with("ssl_"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(server.contains(&format!("http://{}", app.address())), "{server}");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let temps: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("    {kind}_temp_path {};\n", at(kind)))
            .concat();
        let whole = format!(
            "daemon off;\npid {};\nerror_log stderr warn;\nevents {{}}\nhttp {{\n    access_log off;\n{temps}{server}}}\n",
            at("pid")
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, whole).expect("written");
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Some(Self {
            child,
            port,
            _folder: folder,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[actix::test]
async fn the_example_for_nginx_hands_on_what_matters() {
    let app = TestApp::start_with(&[], "server: {trusted_proxies: [127.0.0.1]}\n").await;
    let Some(nginx) = Nginx::before(&app) else {
        return app.finish().await;
    };
    let client = awc::Client::builder()
        .timeout(std::time::Duration::from_secs(60))
        .finish();
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", nginx.port);
    let mut ready = client.get(url("/health")).send().await.expect("an answer");
    assert_eq!(ready.json::<serde_json::Value>().await.expect("JSON")["status"], "ok");

    // A delivery of nearly 25 MiB passes byte for byte: its signature fits.
    let mut payload = crate::support::payloads::issue("opened", 7, "long");
    payload["issue"]["body"] = "é".repeat(12 * 1024 * 1024).into();
    let delivery = app.delivery("issues", &payload);
    let mut request = client.post(url("/webhooks/github"));
    for (name, value) in &delivery.headers {
        request = request.insert_header((name.as_str(), value.as_str()));
    }
    let answer = request.send_body(delivery.body.clone()).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202);

    // Wrong passwords are counted for whoever offers them.
    let wrong = client
        .post(url("/admin/api/login"))
        .insert_header(("x-forwarded-for", "203.0.113.7"));
    assert_eq!(
        wrong
            .send_json(&json!({ "password": "no" }))
            .await
            .expect("an answer")
            .status()
            .as_u16(),
        401
    );
    let audit = app.read("/admin/api/audit?action=login").await;
    let from = audit["audit"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|line| line["result"] != "ok");
    // Nginx adds whom it heard itself; what was offered before that is no proxy of ours.
    assert_eq!(from.expect("the wrong one")["from"], "203.0.113.7");

    // A stream arrives as it is sent.
    let token = app.login().await;
    let stream = client.get(url("/admin/api/stream")).bearer_auth(&token);
    let mut stream = stream.send().await.expect("an answer");
    let first = futures_util::StreamExt::next(&mut stream)
        .await
        .expect("a piece")
        .expect("reads");
    assert!(String::from_utf8_lossy(&first).contains("hello"), "{first:?}");
    drop(stream);
    drop(nginx);
    app.finish_quietly().await;
}

#[actix::test]
async fn routes_are_the_same_below_the_base_path_of_the_public_url() {
    let app = TestApp::start_with(&[("PUBLIC_URL", "https://ops.example.com/lights/")], "").await;
    let token = app.login().await;
    for path in ["/health", "/lights/health", "/ready", "/lights/ready"] {
        assert_eq!(app.get(path, None).await.status, 200, "{path}");
    }
    for path in [
        "/lights/admin/api/stats",
        "/admin/api/stats?x=%20y",
        "/lights/api/openapi.json",
    ] {
        assert_eq!(app.get(path, Some(&token)).await.status, 200, "{path}");
        assert_eq!(app.get(path, None).await.status, 401, "{path}");
    }
    for path in ["/lightshow/health", "/lights/lights/health", "/lights/nowhere"] {
        assert_eq!(app.get(path, None).await.status, 404, "{path}");
    }
    app.finish().await;
}

#[actix::test]
async fn every_answer_tells_browsers_what_not_to_do() {
    let app = TestApp::start_with(&[("PUBLIC_URL", "https://ops.example.com")], "").await;
    for path in [
        "/health",
        "/admin/api/stats",
        "/nowhere",
        "/admin/login",
        "/webhooks/github",
    ] {
        let answer = app.get(path, None).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("strict-transport-security", "max-age=63072000"),
        ] {
            assert_eq!(
                answer.headers.get(name).map(String::as_str),
                Some(value),
                "{path} {name}"
            );
        }
        assert!(answer.headers.contains_key("cache-control"), "{path}");
    }
    app.finish().await;
    let app = TestApp::start().await;
    assert!(
        !app.get("/health", None)
            .await
            .headers
            .contains_key("strict-transport-security")
    );
    app.finish().await;
}
