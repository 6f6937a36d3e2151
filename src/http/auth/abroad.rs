//! How sign-in speaks to GitHub and Slack: one bounded exchange at a time. Knows neither of them.

use std::time::Duration;

use actix_web::web::Bytes;
use awc::Client;
use awc::http::{Method, header};
use serde_json::Value;
use url::Url;

/// How long a provider may take to begin its answer, and to end it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Why there is no answer. Names no secret: neither what was sent nor what came is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silence {
    /// Nobody answered, or not in time.
    #[error("no answer: {0}")]
    Nobody(String),
    /// The answer broke off, or is too long.
    #[error("the answer broke off or is too long: {0}")]
    Broken(String),
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Odd(String),
}

/// A client that follows no redirect: where 204 is a yes, what another address says is none. One for each worker.
#[derive(Clone)]
pub(crate) struct Abroad(Client);

impl Abroad {
    /// Made in the thread where it is used.
    pub(crate) fn new() -> Self {
        let client = Client::builder().timeout(PATIENCE).disable_redirects();
        let agent = (header::USER_AGENT, concat!("firstlight/", env!("CARGO_PKG_VERSION")));
        Self(client.add_default_header(agent).finish())
    }

    /// Reads an address with a token; its status and what it says, `null` where that is no JSON.
    pub(super) async fn read(&self, url: &Url, token: &str) -> Result<(u16, Value), Silence> {
        let headers = [
            ("accept", "application/json"),
            ("authorization", &format!("Bearer {token}")),
        ];
        let (status, body) = self.exchange(Method::GET, url.as_str(), headers, Vec::new()).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// One exchange on behalf of the OAuth crate, which speaks another version of the same types.
    pub(super) async fn pass(&self, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, Silence> {
        let (head, body) = request.into_parts();
        let method =
            Method::from_bytes(head.method.as_str().as_bytes()).map_err(|error| Silence::Odd(error.to_string()))?;
        let headers = head
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let (status, body) = self.exchange(method, &head.uri.to_string(), headers, body).await?;
        let mut answer = oauth2::HttpResponse::new(body.to_vec());
        *answer.status_mut() = status
            .try_into()
            .map_err(|_| Silence::Broken("it has no status".into()))?;
        Ok(answer)
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: impl IntoIterator<Item = (&str, &str)>,
        body: Vec<u8>,
    ) -> Result<(u16, Bytes), Silence> {
        let mut request = self.0.request(method, url);
        for header in headers {
            request = request.insert_header(header);
        }
        let answer = request
            .send_body(body)
            .await
            .map_err(|error| Silence::Nobody(error.to_string()))?;
        let status = answer.status().as_u16();
        // The first limit is over with the head; this one is for the rest.
        let body = answer.timeout(PATIENCE).body().limit(ANSWER_LIMIT).await;
        Ok((status, body.map_err(|error| Silence::Broken(error.to_string()))?))
    }
}
