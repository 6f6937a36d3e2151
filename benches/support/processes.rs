//! The two servers that are compared, each a process of its own, killed on drop. Knows their outside only.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actors::domain::Secret;
use actors::github::SignatureKeys;
use serde_json::Value;

const PASSWORD: &str = "a password of the benchmark";
const CAP: usize = 25 * 1024 * 1024;

/// The bare handler: reads, verifies, answers 202.
pub(crate) struct Ceiling {
    child: Child,
    pub(crate) address: String,
}

impl Ceiling {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this process has a file"))
            .arg("--ceiling")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the ceiling starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says where");
        Self {
            child,
            address: line.trim().to_owned(),
        }
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child process of [`Ceiling`] runs.
pub(crate) fn ceiling_main(secret: &str) {
    async fn receive(request: HttpRequest, body: Bytes, keys: Data<SignatureKeys>) -> HttpResponse {
        let signature = request
            .headers()
            .get("x-hub-signature-256")
            .and_then(|value| value.to_str().ok());
        match keys.verify(signature, &body) {
            true => HttpResponse::Accepted().json(serde_json::json!({ "accepted": true })),
            false => HttpResponse::Unauthorized().finish(),
        }
    }
    let keys = Data::new(SignatureKeys::new(&[Secret::new(secret)]));
    actix_rt::System::new()
        .block_on(async {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(keys.clone())
                    .app_data(PayloadConfig::new(CAP))
                    .route("/webhooks/github", actix_web::web::post().to(receive))
            })
            .workers(std::thread::available_parallelism().map_or(2, usize::from))
            .bind("127.0.0.1:0")?;
            println!("{}", server.addrs()[0]);
            server.run().await
        })
        .expect("the ceiling serves");
}

/// The real binary.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: String,
}

/// As the API says it.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) commits: u64,
    pub(crate) unsettled: u64,
    pub(crate) live_runs: u64,
}

impl Service {
    pub(crate) fn start(folder: &Path, secret: &str) -> Self {
        let service = Self::start_without_waiting(folder, secret);
        service.wait_for_health();
        service
    }

    pub(crate) fn start_without_waiting(folder: &Path, secret: &str) -> Self {
        Self::start_with(folder, secret, &[])
    }

    /// With more environment.
    pub(crate) fn start_with(folder: &Path, secret: &str, env: &[(&str, String)]) -> Self {
        // Taken and given back: the service takes it a moment later.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let address = format!("127.0.0.1:{port}");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_firstlight"))
            .args(["serve", "--listen", &address, "--state-dir"])
            .arg(folder.join("state"))
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("WEBHOOK_SECRET", secret)
            .env("ADMIN_PASSWORD", PASSWORD)
            .env("MANAGED_REPOS", "acme/*")
            .envs(env.iter().map(|(name, value)| (*name, value)))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Self { child, address }
    }

    /// Asks until the first 2xx.
    pub(crate) fn wait_for_health(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self
            .exchange("GET", "/health", None, "")
            .is_none_or(|(status, _)| status != 200)
        {
            assert!(Instant::now() < until, "the service does not get healthy");
            std::thread::yield_now();
        }
    }

    pub(crate) fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or("0");
        line.split_whitespace()
            .next()
            .and_then(|kb| kb.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1024.0
    }

    pub(crate) fn counts(&self) -> Counts {
        let stats = self.get("/admin/api/stats").map(|(_, text)| text).unwrap_or_default();
        let stats: Value = serde_json::from_str(&stats).unwrap_or_default();
        let number = |key: &str| stats["store"][key].as_u64().unwrap_or(0);
        Counts {
            commits: number("commits"),
            unsettled: number("unsettledEvents"),
            live_runs: number("liveRuns"),
        }
    }

    /// Waits until nothing is unsettled or live; how many events were left when the time was up.
    pub(crate) fn wait_for_quiet(&self, most: Duration) -> u64 {
        let until = Instant::now() + most;
        loop {
            let counts = self.counts();
            if counts.unsettled + counts.live_runs == 0 || Instant::now() > until {
                return counts.unsettled;
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn timed_get_ms(&self, path: &str) -> f64 {
        let token = self.token();
        let began = Instant::now();
        let (status, _) = self.exchange("GET", path, Some(&token), "").expect("an answer");
        assert_eq!(status, 200, "{path}");
        began.elapsed().as_secs_f64() * 1000.0
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        self.exchange("GET", path, Some(&self.token()), "")
    }

    pub(crate) fn token(&self) -> String {
        let wish = serde_json::json!({ "password": PASSWORD }).to_string();
        let (_, text) = self
            .exchange("POST", "/admin/api/login", None, &wish)
            .expect("an answer");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["token"].as_str().expect("a token").to_owned()
    }

    fn exchange(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Option<(u16, String)> {
        let mut socket = TcpStream::connect(&self.address).ok()?;
        let bearer = token
            .map(|token| format!("authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{bearer}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
