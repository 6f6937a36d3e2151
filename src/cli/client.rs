//! How commands speak to a server: one exchange over HTTP, and what to say when nobody is there. Knows no command.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

pub use awc::Client;
use awc::error::{ConnectError, SendRequestError};
pub use awc::http::Method;

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// The body, as text.
    pub text: String,
    /// Headers, names in lower case; of several of one name the last.
    pub headers: BTreeMap<String, String>,
}

/// What a server answered, as it is.
#[derive(Debug, Clone)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case; of several of one name the last.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Raw {
    /// The value of a header, if it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens there.
    #[error("server not running at {0}; start it with: firstlight serve")]
    NotRunning(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A client that follows no redirects. Made inside the arbiter where it is used.
#[must_use]
pub fn client() -> Client {
    // What it brings is chosen once per process; a second choice is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(PATIENCE).disable_redirects().finish()
}

/// Posts a body, or reads where there is none.
///
/// # Errors
/// When nobody listens at `base`, or the exchange breaks off.
pub async fn exchange(
    client: &Client,
    base: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Result<Answered, NoAnswer> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    call(client, method, base, path, headers, body).await
}

/// The same with any method.
///
/// # Errors
/// When nobody listens at `base`, or the exchange breaks off.
pub async fn call(
    client: &Client,
    method: Method,
    base: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Result<Answered, NoAnswer> {
    let raw = call_raw(client, method, base, path, headers, body).await?;
    Ok(Answered {
        status: raw.status,
        text: String::from_utf8_lossy(&raw.bytes).into_owned(),
        headers: raw.headers,
    })
}

/// The same with the answer as it is.
///
/// # Errors
/// When nobody listens at `base`, or the exchange breaks off.
pub async fn call_raw(
    client: &Client,
    method: Method,
    base: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Result<Raw, NoAnswer> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let mut request = client.request(method, &url);
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    let sent = match body {
        Some(body) => request.send_body(body).await,
        None => request.send().await,
    };
    let mut response = sent.map_err(|error| match error {
        SendRequestError::Connect(ConnectError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            NoAnswer::Failed(format!("TLS with {base} failed: {error}"))
        }
        SendRequestError::Connect(ConnectError::Io(_) | ConnectError::Timeout | ConnectError::Resolver(_)) => {
            NoAnswer::NotRunning(base.to_owned())
        }
        error => NoAnswer::Failed(format!("no answer from {base}: {error}")),
    })?;
    let headers = response.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let headers = headers.collect();
    let bytes = response
        .body()
        .limit(ANSWER_LIMIT)
        .await
        .map_err(|error| NoAnswer::Failed(format!("the answer of {base} broke off: {error}")))?;
    Ok(Raw {
        status: response.status().as_u16(),
        headers,
        bytes: bytes.to_vec(),
    })
}
