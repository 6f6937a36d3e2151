//! A receiver of deliveries that does what receivers do: takes them, fails, hangs, resets, never stops answering. Knows no actor.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a test waits for a request that does not come, before it fails with words. In real time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is done with requests to one path. A list is worked through; its last item stays.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with this status, more headers, this body.
    Answers(u16, &'static str, String),
    /// Answers with this status and with everything that it was asked, as a receiver does that is meant for debugging.
    Echoes(u16),
    /// Says nothing.
    Hangs,
    /// Begins a status line, then resets the connection.
    Resets,
    /// Answers 200 and promises more than it sends.
    CutsOff,
    /// Answers 200 and a body without end.
    NeverStops,
    /// Answers 200 and closes the connection.
    Closes,
}

/// A listening receiver; clones share it.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    got: Mutex<Vec<Got>>,
    does: Mutex<HashMap<String, Vec<Does>>>,
    connections: Mutex<usize>,
    /// Bytes of endless bodies that went out before the other side closed; set when it does.
    poured: Mutex<Option<usize>>,
    changed: watch::Sender<()>,
}

impl Receiver {
    /// Listens on every loopback address.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().expect("bound").port()));
        let inner = Arc::new(Inner {
            got: Mutex::default(),
            does: Mutex::default(),
            connections: Mutex::default(),
            poured: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let receiver = Self { address, inner };
        let accepting = receiver.clone();
        actix_rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *accepting.inner.connections.lock().expect("not poisoned") += 1;
                let receiver = accepting.clone();
                actix_rt::spawn(async move { receiver.serve(stream).await });
            }
        });
        receiver
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL of this receiver.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Says what becomes of requests to a path. Without a word they are answered 200.
    pub(crate) fn at(&self, path: &str, does: Vec<Does>) {
        self.inner
            .does
            .lock()
            .expect("not poisoned")
            .insert(path.to_owned(), does);
    }

    /// Everything that came in so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.inner.got.lock().expect("not poisoned").clone()
    }

    /// What came in for a path.
    pub(crate) fn got_at(&self, path: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.path == path).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.inner.connections.lock().expect("not poisoned")
    }

    /// Waits until this holds.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.inner.changed.subscribe();
        while !holds(self) {
            let news = tokio::time::timeout(PATIENCE, changed.changed()).await;
            let got: Vec<_> = self.got().into_iter().map(|got| got.path).collect();
            news.unwrap_or_else(|_| panic!("nothing more came in: {} requests, {got:?}", got.len()))
                .expect("the receiver outlives its watchers");
        }
    }

    /// Bytes of an endless body, once the other side had enough.
    pub(crate) async fn poured(&self) -> usize {
        let poured = || *self.inner.poured.lock().expect("not poisoned");
        self.until(|_| poured().is_some()).await;
        poured().expect("just seen")
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(got) = request(&mut stream, &mut buffer).await {
            let does = {
                let mut all = self.inner.does.lock().expect("not poisoned");
                match all.get_mut(&got.path) {
                    Some(list) if list.len() > 1 => list.remove(0),
                    Some(list) => list.first().cloned().unwrap_or(Does::Answers(200, "", String::new())),
                    None => Does::Answers(200, "", String::new()),
                }
            };
            let does = match does {
                Does::Echoes(status) => Does::Answers(
                    status,
                    "",
                    format!("you said {got:?} {}", String::from_utf8_lossy(&got.body)),
                ),
                does => does,
            };
            self.inner.got.lock().expect("not poisoned").push(got);
            self.inner.changed.send_replace(());
            match does {
                Does::Answers(status, headers, body) => {
                    let answer = format!(
                        "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n{headers}\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Does::Echoes(_) => unreachable!("it is an answer by now"),
                Does::Hangs => {
                    // Until the other side closes.
                    let _ = stream.read(&mut [0; 1]).await;
                    return;
                }
                Does::Resets => {
                    let _ = stream.write_all(b"HTTP/1.1 20").await;
                    let _ = stream.set_zero_linger();
                    return;
                }
                Does::CutsOff => {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
                        .await;
                    return;
                }
                Does::Closes => {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await;
                    return;
                }
                Does::NeverStops => {
                    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
                    let mut poured = 0;
                    let _ = stream.write_all(head).await;
                    while stream.write_all(&chunk).await.is_ok() {
                        poured += 0x1000;
                    }
                    *self.inner.poured.lock().expect("not poisoned") = Some(poured);
                    self.inner.changed.send_replace(());
                    return;
                }
            }
        }
    }
}

/// One request with a content length, off the connection.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Got> {
    let (head, length) = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(str::trim)
                        .map(str::to_owned)
                })
                .and_then(|length| length.parse::<usize>().ok())
                .unwrap_or(0);
            break (head, length);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.drain(..length).collect();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Got { path, headers, body })
}
