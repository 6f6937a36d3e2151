//! The load generator: keep-alive connections that send pre-rendered requests, one after the other. Knows HTTP/1.1 answers with a length.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is sent; only the delivery's id changes.
#[derive(Clone)]
pub(crate) struct Shot {
    pub(crate) event: String,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

/// What a round came to.
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    elapsed: Duration,
    /// Sorted, in microseconds.
    latencies: Vec<u32>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = ((last as f64) * share).round() as usize;
        self.latencies.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Loads `address` with so many connections for so long.
pub(crate) fn fire(address: &str, shot: &Shot, connections: usize, round: Duration) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let began = Instant::now();
    let until = began + round;
    let local = tokio::task::LocalSet::new();
    let results = local.block_on(&runtime, async {
        let tasks: Vec<_> = (0..connections)
            .map(|_| tokio::task::spawn_local(connection(address.to_owned(), shot.clone(), until)))
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.expect("a connection does not panic"));
        }
        results
    });
    let elapsed = began.elapsed();
    let (mut statuses, mut latencies) = (BTreeMap::new(), Vec::new());
    for (counted, took) in results {
        for (status, n) in counted {
            *statuses.entry(status).or_default() += n;
        }
        latencies.extend(took);
    }
    latencies.sort_unstable();
    Load {
        requests: latencies.len() as u64,
        statuses,
        elapsed,
        latencies,
    }
}

async fn connection(address: String, shot: Shot, until: Instant) -> (BTreeMap<u16, u64>, Vec<u32>) {
    let mut socket = TcpStream::connect(&address).await.expect("the server listens");
    socket.set_nodelay(true).expect("a TCP socket");
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nx-github-event: {}\r\n\
         x-hub-signature-256: {}\r\ncontent-length: {}\r\nx-github-delivery: ",
        shot.event,
        shot.signature,
        shot.body.len(),
    );
    let mut request = Vec::with_capacity(head.len() + shot.body.len() + 64);
    let (mut statuses, mut latencies) = (BTreeMap::new(), Vec::new());
    let mut answer = vec![0; 8192];
    while Instant::now() < until {
        // Scattered, as GitHub's ids are, so that an index by id is not flattered.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = uuid::Uuid::new_v5(
            &uuid::Uuid::NAMESPACE_OID,
            &[number.to_be_bytes(), process_salt()].concat(),
        );
        request.clear();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(id.to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(&shot.body);
        let began = Instant::now();
        socket.write_all(&request).await.expect("the server reads");
        let status = read_answer(&mut socket, &mut answer).await;
        latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        *statuses.entry(status).or_default() += 1;
    }
    (statuses, latencies)
}

fn process_salt() -> [u8; 8] {
    u64::from(std::process::id()).to_be_bytes()
}

/// Reads one answer to its end; its status.
async fn read_answer(socket: &mut TcpStream, buffer: &mut [u8]) -> u16 {
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).await.expect("the server answers");
        assert!(read > 0, "the server closed a connection");
        filled += read;
        let seen = &buffer[..filled];
        let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&seen[..end]).expect("a head of text");
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|l| l.trim().parse().expect("a number"))
            })
            .unwrap_or(0);
        if filled >= end + 4 + length {
            return head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .expect("a status");
        }
    }
}
