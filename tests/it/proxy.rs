//! The service behind a reverse proxy: its base path, who asked, and what browsers are told. With nginx, by the example that is handed out.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{Answer, Delivery, PASSWORD, TestApp};
use crate::support::payloads::issue;

const BASE: &str = "/firstlight";

/// Behind a proxy at this address of ours, under a base path.
async fn under_a_base_path(settings: &str) -> TestApp {
    let env = [("PUBLIC_URL", "https://ops.example.com/firstlight/")];
    TestApp::start_with(&env, settings).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", String::as_str)
}

/// Sends this much of a request, and reads the head of the answer.
async fn head_only(server: SocketAddr, head: &str) -> Answer {
    let mut socket = TcpStream::connect(server).await.expect("connected");
    socket.write_all(head.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(socket.read_buf(&mut answer).await.expect("read") > 0, "no answer");
    }
    let answer = String::from_utf8(answer).expect("text");
    let (first, rest) = answer.split_once("\r\n").expect("a status line");
    let lines = rest.lines().filter_map(|line| line.split_once(": "));
    Answer {
        status: first.split(' ').nth(1).expect("a status").parse().expect("a number"),
        headers: lines
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        text: String::new(),
    }
}

#[actix::test]
async fn every_address_answers_below_the_base_path_and_without_it() {
    let app = under_a_base_path("").await;
    let token = app.login().await;
    let mut seen = 0;
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/admin/login",
        "/admin/assets/app.css",
        "/admin/api/stats",
        "/admin/api/workflow-runs?limit=1",
        "/api/openapi.json",
        "/api/docs/index.html",
        "/api/integrations",
    ] {
        let plain = app.get(path, Some(&token)).await;
        let below = app.get(&format!("{BASE}{path}"), Some(&token)).await;
        assert!([200, 303].contains(&plain.status), "{path}: {}", plain.status);
        assert_eq!(plain.status, below.status, "{path}");
        seen += 1;
    }
    assert_eq!(seen, 10);
    assert_eq!(app.get("/firstlights/health", None).await.status, 404);
    assert_eq!(app.get(&format!("{BASE}{BASE}/health"), None).await.status, 404);

    // What the service writes leads back to it.
    let page = app.get(&format!("{BASE}/admin/login"), None).await;
    assert!(
        page.text.contains("href=\"/firstlight/admin/assets/app.css"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("\"/admin/"), "{}", page.text);
    let away = app.get(&format!("{BASE}/admin/runs"), None).await;
    assert!(
        header(&away, "location").starts_with("/firstlight/admin/login"),
        "{away:?}"
    );
    let run = "01890a5d-ac96-774b-bcce-b302099a8057";
    let link = format!("{BASE}/admin/?run={run}&tab=workflows");
    let linked = app.get(&link, Some(&token)).await;
    assert_eq!(header(&linked, "location"), format!("{BASE}/admin/runs/{run}"));
    let docs = app.get(&format!("{BASE}/api/docs"), Some(&token)).await;
    assert_eq!(header(&docs, "location"), "/firstlight/api/docs/index.html");
    let wish = json!({"password": PASSWORD, "session": true});
    let signed = app.post(&format!("{BASE}/admin/api/login"), None, &wish).await;
    assert!(
        header(&signed, "set-cookie").contains("; Path=/firstlight;"),
        "{signed:?}"
    );

    // A delivery to either address is the same one.
    let delivery = app.delivery("issues", &issue("opened", 1, "It broke"));
    assert_eq!(
        app.deliver_to(&format!("{BASE}/webhooks/github"), &delivery)
            .await
            .status,
        202
    );
    assert_eq!(app.deliver(&delivery).await.json()["duplicate"], true);
    app.finish().await;
}

#[actix::test]
async fn every_answer_tells_browsers_what_they_may_do_with_it() {
    let app = under_a_base_path("").await;
    let token = app.login().await;
    let large = "POST /webhooks/github HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 31457280\r\n\r\n";
    let bad = Delivery::signed("issues", "bad", "{").with("x-hub-signature-256", "sha256=00");
    let huge = json!({"context": "x".repeat(2 << 20)});
    let answers = [
        ("ok", 200, app.get("/health", None).await),
        ("page", 200, app.get("/admin/login", None).await),
        ("asset", 200, app.get("/admin/assets/app.css", None).await),
        ("not signed in", 303, app.get("/admin/runs", None).await),
        ("no token", 401, app.get("/api/integrations", None).await),
        ("not found", 404, app.get("/nothing", None).await),
        ("no page", 404, app.get("/admin/api/nothing", Some(&token)).await),
        ("wrong method", 404, app.ask("DELETE", "/health", None, &[], None).await),
        ("bad signature", 401, app.deliver(&bad).await),
        ("large delivery", 413, head_only(app.address(), large).await),
        ("large body", 413, app.post("/api/run", Some(&token), &huge).await),
        (
            "bad query",
            400,
            app.get("/admin/api/workflow-runs?limit=x", Some(&token)).await,
        ),
    ];
    for (what, status, answer) in &answers {
        assert_eq!(answer.status, *status, "{what}: {}", answer.text);
        assert_eq!(header(answer, "x-content-type-options"), "nosniff", "{what}");
        assert_eq!(header(answer, "x-frame-options"), "DENY", "{what}");
        assert_eq!(header(answer, "referrer-policy"), "same-origin", "{what}");
        assert!(
            header(answer, "permissions-policy").contains("geolocation=()"),
            "{what}"
        );
        assert!(
            header(answer, "strict-transport-security").starts_with("max-age="),
            "{what}"
        );
        let policy = header(answer, "content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{what}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{what}: {policy}"
        );
        assert_eq!(
            policy.contains("script-src 'self'"),
            ["page", "asset", "not signed in"].contains(what),
            "{what}"
        );
        let kept = header(answer, "cache-control");
        assert!(*what == "asset" || kept == "no-store", "{what}: {kept}");
    }
    app.finish().await;

    let plain = TestApp::start().await;
    let answer = plain.get("/health", None).await;
    assert_eq!(header(&answer, "strict-transport-security"), "");
    plain.finish().await;
}

/// The addresses from which somebody tried to sign in, the latest first.
async fn callers(app: &TestApp) -> Vec<Value> {
    let lines = app.read("/admin/api/audit?limit=50").await;
    let lines = lines["audit"].as_array().expect("a list").clone();
    let refused = lines.iter().filter(|line| line["result"] == "invalid password");
    refused.map(|line| line["from"].clone()).collect()
}

#[actix::test]
async fn only_known_proxies_say_who_asks() {
    let wrong = json!({"password": "wrong"});
    let spoof = [
        ("x-forwarded-for", "6.6.6.6, 198.51.100.1"),
        ("forwarded", "for=7.7.7.7"),
    ];
    let table = [
        ("", "127.0.0.1"),
        ("server:\n  trusted_proxies: [127.0.0.1]\n", "198.51.100.1"),
        (
            "server:\n  trusted_proxies: [127.0.0.1]\n  forwarded_header: forwarded\n",
            "7.7.7.7",
        ),
    ];
    for (settings, expected) in table {
        let app = TestApp::start_with(&[], settings).await;
        app.post_with("/admin/api/login", None, &spoof, &wrong).await;
        assert_eq!(callers(&app).await, [expected], "{settings}");
        app.finish().await;
    }
}

#[actix::test]
async fn a_proxy_that_ends_tls_makes_cookies_that_need_it() {
    let settings = "server:\n  trusted_proxies: [127.0.0.1]\n";
    let app = TestApp::start_with(&[], settings).await;
    let wish = json!({"password": PASSWORD, "session": true});
    let through = [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bot.example.com"),
        ("origin", "https://bot.example.com"),
    ];
    let answer = app.post_with("/admin/api/login", None, &through, &wish).await;
    let cookie = header(&answer, "set-cookie");
    assert!(
        cookie.starts_with("__Host-") && cookie.contains("; Secure"),
        "{answer:?}"
    );
    let foreign = [
        ("x-forwarded-host", "bot.example.com"),
        ("origin", "https://evil.example.com"),
    ];
    assert_eq!(
        app.post_with("/admin/api/login", None, &foreign, &wish).await.status,
        403
    );
    app.finish().await;
}

/// nginx in the foreground, by the example that is handed out; ends with this value.
struct Nginx {
    child: Child,
    /// Where its servers listen, in the order of the file.
    servers: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// Nothing where nginx is not installed.
    async fn before(services: &[SocketAddr]) -> Option<Self> {
        let binary = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(binary) = binary else {
            assert!(std::env::var_os("CI").is_none(), "nginx is not installed");
            eprintln!("SKIPPED: nginx is not installed, so the example of its configuration was NOT tried");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let example = include_str!("../../config/examples/nginx.conf");
        let (mut servers, mut lines, mut port) = (Vec::new(), Vec::new(), 0);
        for line in example.lines() {
            if line.contains("listen 443 ssl;") {
                // Taken for a moment, so that it is free.
                let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
                servers.push(free.local_addr().expect("bound"));
                port = servers.len() - 1;
                lines.push(line.replace("listen 443 ssl", &format!("listen {}", servers[port])));
            } else if !line.contains("ssl_certificate") {
                lines.push(line.replace("127.0.0.1:8644", &services[port].to_string()));
            }
        }
        assert_eq!(
            servers.len(),
            services.len(),
            "the example has another number of servers"
        );
        let at = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{}\n}}\n",
            lines.join("\n")
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("written");
        let child = Command::new(binary)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx starts");
        let nginx = Self {
            child,
            servers,
            _folder: folder,
        };
        for server in &nginx.servers {
            nginx.listens_at(*server).await;
        }
        Some(nginx)
    }

    async fn listens_at(&self, server: SocketAddr) {
        let open = async {
            while TcpStream::connect(server).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        let open = tokio::time::timeout(Duration::from_secs(20), open).await;
        assert!(open.is_ok(), "nginx does not listen at {server}");
    }
}

/// Somebody at another address than the proxy's.
fn outside() -> awc::Client {
    awc::Client::builder()
        .connector(awc::Connector::new().local_address([127, 0, 0, 2].into()))
        .timeout(Duration::from_secs(60))
        .finish()
}

#[actix::test]
async fn behind_the_nginx_of_the_example_nothing_is_lost_or_made_up() {
    let trusting = "server:\n  trusted_proxies: [127.0.0.1]\n";
    let whole = TestApp::start_with(&[("PUBLIC_URL", "https://bot.example.com")], trusting).await;
    let part = under_a_base_path(trusting).await;
    let Some(nginx) = Nginx::before(&[whole.address(), part.address()]).await else {
        whole.finish().await;
        return part.finish().await;
    };
    let client = outside();
    for (app, base, server) in [(&whole, "", nginx.servers[0]), (&part, BASE, nginx.servers[1])] {
        let url = |path: &str| format!("http://{server}{base}{path}");

        // Exactly what GitHub sends at most, with a signature over every byte of it.
        let mut payload = issue("opened", 7, "It broke");
        payload["issue"]["body"] = json!("");
        let spare = (25 << 20) - payload.to_string().len();
        payload["issue"]["body"] = json!("é".repeat(spare / 2));
        let largest = Delivery::signed("issues", "largest", payload.to_string());
        for (delivery, expected) in [
            (largest.clone(), 202),
            (
                Delivery::signed("issues", "larger", [&largest.body[..], &[b' '; 64]].concat()),
                413,
            ),
        ] {
            let mut request = client.post(url("/webhooks/github"));
            for (name, value) in &delivery.headers {
                request = request.append_header((name.as_str(), value.as_str()));
            }
            let mut answer = request.send_body(delivery.body).await.expect("nginx answers");
            let body = answer.body().await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("our own words, not nginx's");
            assert_eq!(answer.status().as_u16(), expected, "{body}");
        }
        assert_eq!(app.event("largest").await["raw"]["issue"]["number"], 7);

        // Whom nginx heard, whatever the client says.
        let wrong = json!({"password": "wrong"});
        let login = client
            .post(url("/admin/api/login"))
            .insert_header(("x-forwarded-for", "6.6.6.6, 127.0.0.1"))
            .insert_header(("forwarded", "for=6.6.6.6"));
        login.send_json(&wrong).await.expect("nginx answers");
        assert_eq!(callers(app).await, ["127.0.0.2"]);

        // A change is heard while the stream goes on.
        let token = app.login().await;
        let stream = client
            .get(url("/admin/api/stream"))
            .insert_header(("authorization", format!("Bearer {token}")));
        let mut stream = stream.send().await.expect("nginx answers");
        assert_eq!(stream.status().as_u16(), 200);
        app.accept("issues", &issue("opened", 8, "It broke")).await;
        let mut heard = String::new();
        while !heard.contains("\"kind\":\"event\"") {
            let piece = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
            let piece = piece.expect("the stream says it at once").expect("it goes on");
            heard.push_str(&String::from_utf8_lossy(&piece.expect("whole")));
        }
        drop(stream);

        // Headers as large as a browser with many cookies sends them.
        let mut page = client
            .get(url("/admin/login"))
            .insert_header(("cookie", format!("other={}", "x".repeat(20_000))))
            .send()
            .await
            .expect("nginx answers");
        assert_eq!(page.status().as_u16(), 200);
        let page = String::from_utf8_lossy(&page.body().await.expect("a body")).into_owned();
        let style = page
            .split("href=\"")
            .find(|rest| rest.contains("app.css"))
            .expect("a style");
        let style = style.split('"').next().expect("an address");
        let style = client.get(format!("http://{server}{style}")).send().await;
        assert_eq!(style.expect("nginx answers").status().as_u16(), 200);
    }
    drop(nginx);
    whole.finish().await;
    part.finish().await;
}
