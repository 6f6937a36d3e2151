//! The Web API of Slack: one method per call that we make, each with its deadline. Knows no store and no actor.
//!
//! Answers are read into shapes of our own, which hold only what is needed: a field that Slack adds or forgets breaks nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{Either, select};
use hyper_rustls::HttpsConnectorBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slack_morphism::errors::SlackClientError;
use slack_morphism::prelude::{
    SlackApiToken, SlackApiTokenValue, SlackClient, SlackClientHyperConnector, SlackHyperClient,
};
use url::Url;

use crate::clock::SharedClock;
use crate::domain::Secret;
use crate::messages::outbound::OutboundFault;

/// How long one call may take, from its first byte to its last.
const EXCHANGE: Duration = Duration::from_secs(20);
/// What is waited after a 429 that names no time.
const USUAL_PATIENCE: TimeDelta = TimeDelta::seconds(30);
/// Slack's codes that mean "not now".
const PASSING: &[&str] = &[
    "accesslimited",
    "fatal_error",
    "internal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
];
/// Slack's codes that mean that the token is at fault: an operator mends that, so it is worth trying again.
const TOKEN: &[&str] = &[
    "account_inactive",
    "invalid_auth",
    "no_permission",
    "missing_scope",
    "not_authed",
    "not_allowed_token_type",
    "org_login_required",
    "token_expired",
    "token_revoked",
];

/// Where Slack is, and as whom we speak.
#[derive(Debug, Clone)]
pub struct SlackWebConfig {
    /// `SLACK_API_URL`: `https://slack.com/api`, or a stand-in.
    pub api_url: String,
    /// `xoxb-…`, for everything but the socket.
    pub bot_token: Secret,
    /// `xapp-…`, for the socket alone.
    pub app_token: Secret,
}

/// Why Slack did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlackFault {
    /// Slack asked for patience.
    #[error("Slack asks to wait until {until}")]
    Wait {
        /// Not before this instant.
        until: DateTime<Utc>,
    },
    /// It may succeed later: no connection, a timeout, a 5xx.
    #[error("{0}")]
    Retryable(String),
    /// A token is refused or lacks a scope.
    #[error(
        "Slack refuses {method}: {code}; check the token (SLACK_BOT_TOKEN, SLACK_APP_TOKEN) and the scopes of the app (firstlight slack manifest)"
    )]
    Token {
        /// The method that was called.
        method: String,
        /// Slack's code.
        code: String,
    },
    /// It will never succeed.
    #[error("Slack refuses {method}: {code}")]
    Never {
        /// The method that was called.
        method: String,
        /// Slack's code, such as `channel_not_found`.
        code: String,
    },
}

impl SlackFault {
    /// Slack's code, where it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Token { code, .. } | Self::Never { code, .. } => Some(code),
            Self::Wait { .. } | Self::Retryable(_) => None,
        }
    }
}

/// What Slack answers.
pub(super) type Outcome<T> = Result<T, SlackFault>;

impl From<SlackFault> for OutboundFault {
    fn from(fault: SlackFault) -> Self {
        let why = fault.to_string();
        match fault {
            SlackFault::Wait { until } => Self::Wait { until, why },
            // Whoever mends a token wants what waited for it to go out.
            SlackFault::Retryable(_) | SlackFault::Token { .. } => Self::Retryable(why),
            SlackFault::Never { .. } => Self::Never(why),
        }
    }
}

/// Who we are in the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// Our user id, which a mention names.
    #[serde(rename = "user_id")]
    pub user: String,
    /// The workspace's id.
    #[serde(rename = "team_id")]
    pub team: String,
    /// The workspace's name.
    #[serde(rename = "team")]
    pub team_name: String,
}

/// A message as the history shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Past {
    pub(super) ts: String,
    pub(super) thread_ts: Option<String>,
    pub(super) user: Option<String>,
    pub(super) bot_id: Option<String>,
    pub(super) subtype: Option<String>,
    #[serde(default)]
    pub(super) text: String,
    metadata: Option<Value>,
}

impl Past {
    /// The key of the effect that posted it, if one of ours did.
    pub(super) fn effect_key(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref()?;
        (metadata["event_type"] == METADATA)
            .then(|| metadata["event_payload"]["key"].as_str())
            .flatten()
    }
}

/// The `event_type` of the metadata that our messages carry.
const METADATA: &str = "firstlight_effect";

/// The metadata that marks a message as the effect of this key.
pub(super) fn marked(key: &str) -> Value {
    json!({ "event_type": METADATA, "event_payload": { "key": key } })
}

/// The Web API. Cheap to clone.
#[derive(Clone)]
pub struct SlackWeb {
    client: Arc<SlackHyperClient>,
    bot: Arc<SlackApiToken>,
    app: Arc<SlackApiToken>,
    clock: SharedClock,
}

impl SlackWeb {
    /// A client of this API.
    ///
    /// # Errors
    /// When this machine has no root certificates.
    pub fn new(config: &SlackWebConfig, clock: SharedClock) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        // Plain http is for stand-ins: the address is the operator's own word.
        let https = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("this machine has no root certificates for Slack; install the package ca-certificates")?
            .https_or_http()
            .enable_http1()
            .build();
        let connector =
            SlackClientHyperConnector::with_connector(https).with_slack_api_url(config.api_url.trim_end_matches('/'));
        let token = |secret: &Secret| Arc::new(SlackApiToken::new(SlackApiTokenValue(secret.expose().to_owned())));
        Ok(Self {
            client: Arc::new(SlackClient::new(connector)),
            bot: token(&config.bot_token),
            app: token(&config.app_token),
            clock,
        })
    }

    pub(super) fn client(&self) -> Arc<SlackHyperClient> {
        Arc::clone(&self.client)
    }

    pub(super) fn app_token(&self) -> &SlackApiToken {
        &self.app
    }

    /// Who we are, by the bot's token.
    ///
    /// # Errors
    /// When the token is refused or Slack cannot be reached.
    pub async fn who_am_i(&self) -> Outcome<Identity> {
        self.post("auth.test", &json!({})).await
    }

    /// Whether the app's token opens a socket. The socket that it names is not used.
    ///
    /// # Errors
    /// When the token is refused or Slack cannot be reached.
    pub async fn app_token_works(&self) -> Outcome<()> {
        let session = self.client.open_session(&self.app);
        let nothing = json!({});
        let call = session
            .http_session_api
            .http_post::<_, Nothing>("apps.connections.open", &nothing, None);
        self.within("apps.connections.open", call).await.map(|_| ())
    }

    /// Name of a user, for people: the handle, else the real name.
    pub(super) async fn user_name(&self, user: &str) -> Outcome<Option<String>> {
        #[derive(Deserialize)]
        struct Info {
            user: User,
        }
        #[derive(Deserialize)]
        struct User {
            name: Option<String>,
            real_name: Option<String>,
        }
        let info: Info = self.get("users.info", &[("user", Some(user))]).await?;
        Ok(info.user.name.or(info.user.real_name))
    }

    /// Messages after `oldest` (a ts): of a thread, or of a channel, in the order of time; and whether these are all. What
    /// does not fit into so many pages of 200 is left out.
    pub(super) async fn history(
        &self,
        channel: &str,
        thread: Option<&str>,
        oldest: &str,
        pages: usize,
    ) -> Outcome<(Vec<Past>, bool)> {
        #[derive(Deserialize)]
        struct History {
            #[serde(default)]
            messages: Vec<Past>,
            response_metadata: Option<Cursor>,
        }
        #[derive(Deserialize)]
        struct Cursor {
            #[serde(default)]
            next_cursor: String,
        }
        let method = if thread.is_some() {
            "conversations.replies"
        } else {
            "conversations.history"
        };
        let (mut messages, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..pages {
            let params = [
                ("channel", Some(channel)),
                ("ts", thread),
                ("oldest", Some(oldest)),
                ("limit", Some("200")),
                ("cursor", cursor.as_deref()),
                ("include_all_metadata", Some("true")),
            ];
            let page: History = self.get(method, &params).await?;
            messages.extend(page.messages);
            cursor = page
                .response_metadata
                .map(|more| more.next_cursor)
                .filter(|next| !next.is_empty());
            if cursor.is_none() {
                break;
            }
        }
        messages.sort_by(|a, b| a.ts.cmp(&b.ts));
        Ok((messages, cursor.is_none()))
    }

    /// One message of a channel or thread, by its ts.
    pub(super) async fn message(&self, channel: &str, thread: Option<&str>, ts: &str) -> Outcome<Option<Past>> {
        #[derive(Deserialize)]
        struct History {
            #[serde(default)]
            messages: Vec<Past>,
        }
        let params = [
            ("channel", Some(channel)),
            ("ts", thread),
            ("oldest", Some(ts)),
            ("latest", Some(ts)),
            ("inclusive", Some("true")),
            // A thread shows its root besides.
            ("limit", Some("2")),
        ];
        let method = if thread.is_some() {
            "conversations.replies"
        } else {
            "conversations.history"
        };
        let history: History = self.get(method, &params).await?;
        Ok(history.messages.into_iter().find(|past| past.ts == ts))
    }

    /// Calls a method that writes. `input` is its JSON.
    pub(super) async fn post<T: DeserializeOwned + Send>(&self, method: &str, input: &Value) -> Outcome<T> {
        let session = self.client.open_session(&self.bot);
        self.within(method, session.http_session_api.http_post(method, input, None))
            .await
    }

    /// Posts to a `response_url`, which is a credential of its own and may be used for half an hour.
    pub(super) async fn respond(&self, url: &str, input: &Value) -> Outcome<()> {
        let url: Url = url
            .parse()
            .map_err(|_| SlackFault::Retryable("Slack named a response_url that is none".to_owned()))?;
        let session = self.client.open_session(&self.bot);
        let call = session.http_session_api.http_post_uri::<_, Nothing>(url, input, None);
        self.within("response_url", call).await.map(|_| ())
    }

    async fn get<T: DeserializeOwned + Send>(&self, method: &str, params: &[(&str, Option<&str>)]) -> Outcome<T> {
        let params: Vec<(&str, Option<&str>)> = params.iter().filter(|(_, value)| value.is_some()).copied().collect();
        let session = self.client.open_session(&self.bot);
        self.within(method, session.http_session_api.http_get(method, &params, None))
            .await
    }

    async fn within<T>(&self, method: &str, call: impl Future<Output = Result<T, SlackClientError>>) -> Outcome<T> {
        let call = std::pin::pin!(call);
        match select(call, self.clock.sleep(EXCHANGE)).await {
            Either::Left((answer, _)) => answer.map_err(|error| fault(method, &error, self.clock.now())),
            Either::Right(_) => Err(SlackFault::Retryable(format!(
                "Slack did not answer {method} within {} s",
                EXCHANGE.as_secs()
            ))),
        }
    }
}

/// An answer of which nothing is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// What an error of the library means for us. Its own words hold whole answers and addresses, so few of them are taken over.
fn fault(method: &str, error: &SlackClientError, now: DateTime<Utc>) -> SlackFault {
    match error {
        SlackClientError::RateLimitError(limit) => {
            let wait = limit
                .retry_after
                .and_then(|wait| TimeDelta::from_std(wait).ok())
                .unwrap_or(USUAL_PATIENCE);
            SlackFault::Wait {
                until: now + wait.max(TimeDelta::seconds(1)),
            }
        }
        SlackClientError::ApiError(refusal) => by_code(method, &refusal.code, now),
        SlackClientError::HttpError(http) => SlackFault::Retryable(format!(
            "Slack answered {method} with HTTP {}",
            http.status_code.as_u16()
        )),
        SlackClientError::ProtocolError(_) => {
            SlackFault::Retryable(format!("Slack answered {method} with what is no answer"))
        }
        SlackClientError::HttpProtocolError(_)
        | SlackClientError::EndOfStream(_)
        | SlackClientError::SystemError(_)
        | SlackClientError::SocketModeProtocolError(_) => {
            SlackFault::Retryable(format!("no connection to Slack for {method}"))
        }
    }
}

fn by_code(method: &str, code: &str, now: DateTime<Utc>) -> SlackFault {
    let (method, code) = (method.to_owned(), code.to_owned());
    if code == "ratelimited" || code == "rate_limited" {
        SlackFault::Wait {
            until: now + USUAL_PATIENCE,
        }
    } else if PASSING.contains(&code.as_str()) {
        SlackFault::Retryable(format!("Slack answered {method} with {code}"))
    } else if TOKEN.contains(&code.as_str()) {
        SlackFault::Token { method, code }
    } else {
        SlackFault::Never { method, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_into_wait_again_token_and_never() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        assert_eq!(
            by_code("chat.postMessage", "ratelimited", now),
            SlackFault::Wait {
                until: now + USUAL_PATIENCE
            }
        );
        assert!(matches!(
            by_code("chat.postMessage", "internal_error", now),
            SlackFault::Retryable(_)
        ));
        for code in ["invalid_auth", "missing_scope", "token_revoked"] {
            let fault = by_code("auth.test", code, now);
            assert!(matches!(fault, SlackFault::Token { .. }), "{code}");
            assert!(fault.to_string().contains("SLACK_BOT_TOKEN"), "{fault}");
        }
        let gone = by_code("chat.postMessage", "channel_not_found", now);
        assert_eq!(gone.to_string(), "Slack refuses chat.postMessage: channel_not_found");
        assert_eq!(gone.code(), Some("channel_not_found"));
    }

    #[test]
    fn a_message_of_ours_is_known_by_its_metadata() {
        let past: Past = serde_json::from_value(json!({
            "ts": "1.2", "text": "hi", "bot_id": "B", "metadata": marked("run-1/reply"), "anything": [1, 2]
        }))
        .expect("read");
        assert_eq!(past.effect_key(), Some("run-1/reply"));
        let other: Past = serde_json::from_value(json!({
            "ts": "1.2", "metadata": { "event_type": "other", "event_payload": { "key": "x" } }
        }))
        .expect("read");
        assert_eq!(other.effect_key(), None);
    }
}
