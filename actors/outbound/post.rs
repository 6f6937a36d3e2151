//! One POST of a delivery: vetted address, a deadline over all of the exchange, a bounded answer, no redirects. Knows no outbox.

use std::cell::RefCell;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use awc::{Client, Connector, http};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use url::Url;

use super::guard::{Guard, GuardedConnector, Refused, Resolver};
use super::schedule;
use crate::clock::SharedClock;

/// So much of an answer is read, that its connection can be used again; what is longer is cut off with its connection.
const MOST_READ: usize = 64 * 1024;
/// So many characters of an answer are kept.
const EXCERPT: usize = 1_000;
/// Bodies up to this size go out in one piece.
const ONE_PIECE: usize = 16 * 1024;

/// What is posted.
pub(crate) struct Ask<'a> {
    /// Where to, http or https.
    pub(crate) url: &'a Url,
    /// Headers beside those of every delivery.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body's own part.
    pub(crate) head: Bytes,
    /// The part that it shares with others.
    pub(crate) rest: Bytes,
    /// Time for all of it.
    pub(crate) timeout: Duration,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The status.
    pub(crate) status: u16,
    /// The pause that the receiver asks for.
    pub(crate) retry_after: Option<TimeDelta>,
    /// The beginning of the body, on one line.
    pub(crate) excerpt: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PostFault {
    /// Another attempt may succeed. It may also have arrived.
    Retryable {
        /// What happened.
        error: String,
        /// It took all the time there was.
        slow: bool,
    },
    /// Another attempt would end the same way.
    Never(String),
}

impl fmt::Display for PostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retryable { error, .. } | Self::Never(error) => f.write_str(error),
        }
    }
}

/// The way out. Lives in the arbiter that made it.
pub(crate) struct Wire {
    client: Client,
    clock: SharedClock,
}

impl Wire {
    /// Must be called inside the arbiter where it will be used: awc binds its connections to it.
    pub(crate) fn new(guard: Guard, resolver: Arc<dyn Resolver>, user_agent: &str, clock: SharedClock) -> Self {
        // awc brings no crypto provider, and `Connector::new` panics without one. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let longest = Duration::from_millis(*super::notifier::TIMEOUTS.end());
        let connector = Connector::new()
            .connector(GuardedConnector::new(guard, resolver))
            // The deadline of the exchange is below these.
            .timeout(longest)
            .handshake_timeout(longest)
            // Bounded by the places of the deliveries. A limit here would let one host's connections starve another's.
            .limit(0);
        let client = Client::builder()
            .connector(connector)
            .max_http_version(http::Version::HTTP_11)
            // It would end at the head of the response; `fetch_with_timeout` puts the deadline over all of it.
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .add_default_header((header::USER_AGENT, user_agent))
            .add_default_header((header::CONTENT_TYPE, "application/json"))
            .finish();
        Self { client, clock }
    }

    /// One exchange before the deadline. Once the head of the answer is here, its status counts, whatever becomes of its body:
    /// the receiver has taken (or refused) the delivery then.
    pub(crate) async fn fetch_with_timeout(&self, ask: Ask<'_>) -> Result<Answered, PostFault> {
        let deadline = self.clock.sleep(ask.timeout);
        let (host, whole) = (host(ask.url), ask.timeout);
        let head = RefCell::new(None);
        let outcome = match select(pin!(self.exchange(ask, &head)), deadline).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(((), _)) => None,
        };
        match (outcome, head.take()) {
            (Some(Ok(())) | None, Some(answered)) => Ok(answered),
            (Some(Err(fault)), _) => Err(fault),
            (Some(Ok(())) | None, None) => Err(PostFault::Retryable {
                error: format!("{host} did not answer within {} ms", whole.as_millis()),
                slow: true,
            }),
        }
    }

    async fn exchange(&self, ask: Ask<'_>, head: &RefCell<Option<Answered>>) -> Result<(), PostFault> {
        let host = host(ask.url);
        let mut url = ask.url.clone();
        url.set_fragment(None);
        let mut authorization = None;
        if !url.username().is_empty() || url.password().is_some() {
            let account = format!(
                "{}:{}",
                decoded(url.username()),
                decoded(url.password().unwrap_or_default())
            );
            authorization = Some(format!("Basic {}", STANDARD.encode(account)));
            // A URL with a host has a place for them, so that they can be taken out.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        let mut request = self.client.post(url.as_str());
        for (name, value) in ask.headers {
            request = request.insert_header((HeaderName::from_static(name), value));
        }
        if let Some(mut value) = authorization.and_then(|value| HeaderValue::from_str(&value).ok()) {
            value.set_sensitive(true);
            request = request.insert_header((header::AUTHORIZATION, value));
        }
        let length = ask.head.len() + ask.rest.len();
        let sent = if length <= ONE_PIECE {
            let mut body = bytes::BytesMut::with_capacity(length);
            body.extend_from_slice(&ask.head);
            body.extend_from_slice(&ask.rest);
            request.send_body(body.freeze())
        } else {
            let pieces = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(ask.head), Ok(ask.rest)]);
            request.send_body(actix_http_body(length, pieces))
        };
        let mut response = sent.await.map_err(|error| lost(&host, &error))?;
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| schedule::retry_after(value, self.clock.now()));
        let status = response.status().as_u16();
        let answered = |excerpt| Answered {
            status,
            retry_after,
            excerpt,
        };
        head.replace(Some(answered(None)));
        let (mut read, mut kept) = (0, Vec::new());
        while let Some(Ok(piece)) = response.next().await {
            read += piece.len();
            let room = (4 * EXCERPT).saturating_sub(kept.len());
            if room > 0 {
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
                head.replace(Some(answered(excerpt(&kept))));
            }
            if read > MOST_READ {
                break;
            }
        }
        Ok(())
    }
}

fn actix_http_body<S>(length: usize, pieces: S) -> awc::body::SizedStream<S>
where
    S: futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>>,
{
    awc::body::SizedStream::new(u64::try_from(length).unwrap_or(u64::MAX), pieces)
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// The host, for words to people: the rest of a URL may be a credential.
pub(crate) fn host(url: &Url) -> String {
    url.host_str().unwrap_or("(no host)").to_owned()
}

/// What is kept of an answer: one line, at most a thousand characters.
fn excerpt(body: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(EXCERPT)
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The seed tries again after every failure of the network ("fetch failed"); what will not pass is refused for good.
fn lost(host: &str, error: &SendRequestError) -> PostFault {
    let (what, slow) = match error {
        SendRequestError::Url(error) => return PostFault::Never(format!("its URL cannot be used: {error}")),
        SendRequestError::Http(error) => return PostFault::Never(format!("the request cannot be written: {error}")),
        SendRequestError::Connect(ConnectError::Io(error)) => {
            if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()) {
                return PostFault::Never(refused.to_string());
            }
            match error.kind() {
                std::io::ErrorKind::InvalidData => (format!("TLS failed: {error}"), false),
                _ => (format!("no connection: {error}"), false),
            }
        }
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
            ("no connection in time".to_owned(), true)
        }
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            ("its name is not known to DNS".to_owned(), false)
        }
        // awc says so too when the request was sent and the connection ended before an answer.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            ("the connection ended before an answer".to_owned(), false)
        }
        other => (other.to_string(), false),
    };
    PostFault::Retryable {
        error: format!("{host}: {what}"),
        slow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt(b" \r\n"), None);
        assert_eq!(excerpt(b"no\nsuch\x00hook").as_deref(), Some("no such hook"));
        assert_eq!(excerpt(&[0xff, b'x']).as_deref(), Some("\u{fffd}x"));
        let long = excerpt("é".repeat(2_000).as_bytes()).expect("a text");
        assert_eq!(long.chars().count(), 1_000);
    }
}
