//! What GitHub says about our own set-up, for whoever examines it: one question at a time, as the App or with the token. Judges nothing.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::app_auth::Credentials;
use super::client::GithubClientConfig;
use super::wire::{Ask, Wire};
use crate::clock::SharedClock;
use crate::domain::Secret;
use crate::messages::github::GithubFault;

/// Asks GitHub who we are, where its webhook points and how deliveries went. Beside the client: it keeps no token and no pace.
pub struct GithubProbe {
    wire: Wire,
    credentials: Credentials,
    clock: SharedClock,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// HTTP status.
    pub status: u16,
    /// GitHub's `message`, for an answer that is no success; one line, without the credential.
    pub message: String,
    /// The instant by GitHub's clock, to the second; absent where the answer names none.
    pub date: Option<DateTime<Utc>>,
    /// What a classic token may do (`X-OAuth-Scopes`); absent for every other kind.
    pub scopes: Option<String>,
    /// The body; null where it is no JSON.
    pub body: Value,
}

impl Said {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl GithubProbe {
    /// Must be called inside the arbiter where it will be used.
    #[must_use]
    pub fn new(config: GithubClientConfig, clock: SharedClock) -> Self {
        let wire = Wire::new(
            config.api_url,
            &config.user_agent,
            config.connect_timeout,
            config.exchange_timeout,
            clock.clone(),
        );
        Self {
            wire,
            credentials: config.credentials,
            clock,
        }
    }

    /// As whom it asks.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Reads `path`, which starts with a slash and is made of safe parts.
    ///
    /// # Errors
    /// When GitHub cannot be reached, does not answer in time, or the App's key does not sign.
    pub async fn get(&self, path: &str) -> Result<Said, GithubFault> {
        self.exchange(&Ask::get(path.to_owned())).await
    }

    /// Posts nothing to `path`: a ping, a redelivery.
    ///
    /// # Errors
    /// As [`GithubProbe::get`].
    pub async fn post(&self, path: &str) -> Result<Said, GithubFault> {
        self.exchange(&Ask::post(path.to_owned(), &Value::Object(serde_json::Map::new())))
            .await
    }

    async fn exchange(&self, ask: &Ask) -> Result<Said, GithubFault> {
        let bearer = match &self.credentials {
            Credentials::App(app) => app.jwt(self.clock.now()).map_err(GithubFault::Never)?,
            Credentials::Token(token) => token.clone(),
            // Asks as a stranger: enough to read GitHub's clock.
            Credentials::None => Secret::new(""),
        };
        let answer = self.wire.exchange(ask, &bearer).await?;
        Ok(Said {
            status: answer.told.status,
            date: answer.date(),
            scopes: answer.scopes.clone(),
            body: answer.json().unwrap_or(Value::Null),
            message: answer.message,
        })
    }
}
