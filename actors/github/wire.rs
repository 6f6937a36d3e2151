//! One exchange with GitHub's REST API: a deadline over all of it, a bounded answer, redirects within the same host. Knows no credentials' rules.

use std::pin::pin;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode, Version};
use awc::{Client, Connector};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use serde::de::DeserializeOwned;
use url::Url;

use super::limits::Told;
use crate::clock::SharedClock;
use crate::domain::{REDACTED, Secret};
use crate::messages::github::GithubFault;

/// The largest answer that is read, in bytes. A page of fifty comments of the greatest length stays below it.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
/// A renamed repository is one hop away; more than a few are a loop.
const MOST_HOPS: usize = 3;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<Bytes>,
}

impl Ask {
    /// Reads `path`, which starts with a slash and is made of safe parts.
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
        }
    }

    /// Posts a JSON text to `path`.
    pub(super) fn post(path: String, body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            path,
            body: Some(Bytes::from(body.to_string())),
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status and limits.
    pub(super) told: Told,
    /// Whether `Link` names a next page.
    pub(super) more: bool,
    /// GitHub's `message`, for an answer that is no success: one line, at most 200 characters, without the credential that was sent.
    pub(super) message: String,
    /// `X-OAuth-Scopes`.
    pub(super) scopes: Option<String>,
    date: Option<String>,
    body: Bytes,
}

impl Answer {
    /// Whether the status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.told.status)
    }

    /// When the answer was made, by GitHub's clock.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        httpdate::parse_http_date(self.date.as_deref()?).ok().map(Into::into)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `Retryable` when it is not what GitHub documents.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, GithubFault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The position only: a fault of serde may quote the text, and the text may be a token.
            let (line, column) = (error.line(), error.column());
            GithubFault::Retryable(format!(
                "GitHub's answer is not the JSON that it documents (line {line}, column {column}); check GITHUB_API_URL"
            ))
        })
    }
}

/// The way to GitHub. Lives in the arbiter that made it.
pub(super) struct Wire {
    client: Client,
    base: Url,
    user_agent: HeaderValue,
    whole: Duration,
    clock: SharedClock,
}

impl Wire {
    /// Must be called inside the arbiter where it will be used: awc binds its connections to it.
    pub(super) fn new(base: Url, user_agent: &str, connect: Duration, whole: Duration, clock: SharedClock) -> Self {
        // awc brings no crypto provider, and `Connector::new` panics without one. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connector(Connector::new().timeout(connect).handshake_timeout(connect))
            // Writes leave one at a time: a second stream on the connection gains nothing.
            .max_http_version(Version::HTTP_11)
            // It would end at the head of the response; `exchange` puts the deadline over all of it.
            .disable_timeout()
            // Followed here, because awc follows to any host.
            .disable_redirects()
            .no_default_headers()
            .finish();
        let user_agent = HeaderValue::from_str(user_agent).unwrap_or_else(|_| HeaderValue::from_static("firstlight"));
        Self {
            client,
            base,
            user_agent,
            whole,
            clock,
        }
    }

    /// The host, for words to people.
    pub(super) fn host(&self) -> &str {
        self.base.host_str().unwrap_or("(no host)")
    }

    /// Where git finds the repositories of this API: `https://github.com`, `https://<host>` of an Enterprise server, or
    /// the stand-in itself.
    pub(super) fn git_host(&self) -> String {
        let mut at = self.base.clone();
        let path = at.path().trim_end_matches('/').trim_end_matches("/api/v3").to_owned();
        at.set_path(&path);
        if let Some(host) = at
            .host_str()
            .and_then(|host| host.strip_prefix("api."))
            .map(str::to_owned)
        {
            // Only a host that is no domain name is refused, and that has no such beginning.
            let _ = at.set_host(Some(&host));
        }
        at.as_str().trim_end_matches('/').to_owned()
    }

    /// One exchange, whole: sent, answered and read before the deadline, or a `Retryable` fault that says what to check.
    /// After a fault a write may have been made all the same.
    pub(super) async fn exchange(&self, ask: &Ask, bearer: &Secret) -> Result<Answer, GithubFault> {
        let deadline = self.clock.sleep(self.whole);
        match select(pin!(self.follow(ask, bearer)), deadline).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(GithubFault::Retryable(format!(
                "GitHub at {} gave no whole answer to {} {} within {} s; check the network and https://www.githubstatus.com",
                self.host(),
                ask.method,
                ask.path,
                self.whole.as_secs()
            ))),
        }
    }

    async fn follow(&self, ask: &Ask, bearer: &Secret) -> Result<Answer, GithubFault> {
        let at = format!("{}{}", self.base.as_str().trim_end_matches('/'), ask.path);
        let mut at = Url::parse(&at)
            .map_err(|error| GithubFault::Never(format!("{at} is not a URL: {error}; check GITHUB_API_URL")))?;
        for _ in 0..=MOST_HOPS {
            let mut request = self
                .client
                .request(ask.method.clone(), at.as_str())
                .insert_header((header::USER_AGENT, self.user_agent.clone()))
                .insert_header((header::ACCEPT, "application/vnd.github+json"))
                .insert_header((HeaderName::from_static("x-github-api-version"), "2022-11-28"));
            // A credential that is no header value (a line break in a token file) is refused by GitHub in words that help.
            if !bearer.is_empty()
                && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", bearer.expose()))
            {
                value.set_sensitive(true);
                request = request.insert_header((header::AUTHORIZATION, value));
            }
            let sent = match &ask.body {
                Some(body) => request.content_type("application/json").send_body(body.clone()),
                None => request.send(),
            };
            let mut response = sent.await.map_err(|error| self.lost(ask, &error))?;
            if let Some(next) = self.hop(ask, &at, response.status(), response.headers())? {
                at = next;
                continue;
            }
            let body = response
                .body()
                .limit(LARGEST_ANSWER)
                .await
                .map_err(|error| self.cut_off(ask, &error))?;
            // awc hands out a body that was cut off as if it were whole.
            let length = text(response.headers(), header::CONTENT_LENGTH).and_then(|text| text.parse::<usize>().ok());
            if length.is_some_and(|length| length != body.len()) {
                return Err(self.cut_off(ask, &PayloadError::Incomplete(None)));
            }
            return Ok(answer(response.status(), response.headers(), body, bearer));
        }
        Err(GithubFault::Retryable(format!(
            "GitHub redirects {} {} in circles; check GITHUB_API_URL",
            ask.method, ask.path
        )))
    }

    /// Where a redirect leads, if the answer is one that may be followed.
    fn hop(&self, ask: &Ask, at: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, GithubFault> {
        if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
            return Ok(None);
        }
        let Some(next) = text(headers, header::LOCATION).and_then(|location| at.join(&location).ok()) else {
            return Ok(None);
        };
        if next.origin() != self.base.origin() {
            let elsewhere = next.host_str().unwrap_or("nowhere");
            return Err(GithubFault::Never(format!(
                "GitHub at {} redirects to another host, {elsewhere}, which is not given our credentials; check GITHUB_API_URL",
                self.host()
            )));
        }
        // 301 and 302 would turn a write into a read.
        if ask.method != Method::GET && !matches!(status.as_u16(), 307 | 308) {
            return Ok(None);
        }
        Ok(Some(next))
    }

    fn lost(&self, ask: &Ask, error: &SendRequestError) -> GithubFault {
        let what = match error {
            SendRequestError::Connect(ConnectError::Timeout) => "no connection in time".to_owned(),
            SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
                "its name is not known to DNS".to_owned()
            }
            // awc says so too when the request was sent and the connection ended before an answer.
            SendRequestError::Connect(ConnectError::Disconnected) => "the connection ended before an answer".to_owned(),
            SendRequestError::Connect(ConnectError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                format!("TLS failed: {error}")
            }
            other => other.to_string(),
        };
        GithubFault::Retryable(format!(
            "GitHub at {} cannot be reached for {} {}: {what}; check the network and GITHUB_API_URL",
            self.host(),
            ask.method,
            ask.path
        ))
    }

    fn cut_off(&self, ask: &Ask, error: &PayloadError) -> GithubFault {
        let what = match error {
            PayloadError::Overflow => format!("is larger than {LARGEST_ANSWER} bytes"),
            _ => "was cut off".to_owned(),
        };
        GithubFault::Retryable(format!("GitHub's answer to {} {} {what}", ask.method, ask.path))
    }
}

fn answer(status: StatusCode, headers: &HeaderMap, body: Bytes, bearer: &Secret) -> Answer {
    let status = status.as_u16();
    let more = text(headers, header::LINK).is_some_and(|link| link.contains("rel=\"next\""));
    let message = if (200..300).contains(&status) {
        String::new()
    } else {
        message(&body, bearer)
    };
    let told = Told {
        status,
        retry_after: text(headers, header::RETRY_AFTER),
        remaining: text(headers, HeaderName::from_static("x-ratelimit-remaining")),
        reset: text(headers, HeaderName::from_static("x-ratelimit-reset")),
    };
    Answer {
        told,
        more,
        message,
        scopes: text(headers, HeaderName::from_static("x-oauth-scopes")),
        date: text(headers, header::DATE),
        body,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// What GitHub says about a failure, fit for a log: one line, short, without the credential that we sent.
fn message(body: &[u8], bearer: &Secret) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: serde_json::Value,
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
        return "no explanation".to_owned();
    };
    let detail = refusal
        .errors
        .get(0)
        .and_then(|first| first.as_str().or_else(|| first.get("message")?.as_str()));
    let mut words = refusal.message;
    if let Some(detail) = detail {
        words = format!("{words}: {detail}");
    }
    if !bearer.is_empty() {
        words = words.replace(bearer.expose(), REDACTED);
    }
    let words: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    if words.is_empty() {
        "no explanation".to_owned()
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_github_says_is_short_and_holds_no_credential() {
        let token = Secret::new("ghs_abc");
        for (body, expected) in [
            (r#"{"message":"Not Found"}"#, "Not Found".to_owned()),
            (
                r#"{"message":"Validation Failed","errors":["body is too long"]}"#,
                "Validation Failed: body is too long".to_owned(),
            ),
            (
                r#"{"message":"Validation Failed","errors":[{"message":"nope"}]}"#,
                "Validation Failed: nope".to_owned(),
            ),
            (
                r#"{"message":"you sent Bearer ghs_abc\nindeed"}"#,
                "you sent Bearer [redacted] indeed".to_owned(),
            ),
            ("<html>", "no explanation".to_owned()),
            ("{}", "no explanation".to_owned()),
            (r#"{"message":7}"#, "no explanation".to_owned()),
        ] {
            assert_eq!(message(body.as_bytes(), &token), expected);
        }
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(1_000));
        assert_eq!(message(long.as_bytes(), &token).len(), 200);
    }
}
