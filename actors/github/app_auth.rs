//! Who we are to GitHub: the App's key, the signed word it gives us, and the installation token that is kept for it. Does no I/O.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use crate::domain::{Secret, TokenProfile};

/// A token is renewed when it has less than this to live, so that no call sets out with one that dies on the way.
const RENEW_BEFORE: TimeDelta = TimeDelta::minutes(5);

/// As whom the client speaks.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// As a GitHub App, through its installation at the owner of the repository.
    App(AppCredentials),
    /// As the owner of a personal access token (`GITHUB_TOKEN`).
    Token(Secret),
    /// As nobody: each act is answered with [`NoCredentials`](crate::messages::github::GithubFault::NoCredentials).
    None,
}

/// A GitHub App: its id, its private key, and the installation if the operator named one.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    app_id: String,
    key: AppKey,
    /// `GITHUB_APP_INSTALLATION_ID`; absent: looked up for each owner.
    pub(super) installation: Option<u64>,
}

#[derive(Clone)]
struct AppKey(Arc<RsaKeyPair>);

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::domain::REDACTED)
    }
}

/// Why a text is not the private key of a GitHub App. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// `GITHUB_APP_ID` is empty.
    #[error("GITHUB_APP_ID is empty: take the number from the App's settings page")]
    NoAppId,
    /// There is no `-----BEGIN … PRIVATE KEY-----` block in it.
    #[error(
        "the private key is not a PEM file with a BEGIN PRIVATE KEY block: download a fresh one on the App's settings page (GITHUB_APP_PRIVATE_KEY_PATH)"
    )]
    NotPem,
    /// A PEM block of another kind.
    #[error(
        "the private key file holds a block \"{0}\", not an unencrypted RSA key (PKCS#1 or PKCS#8): download a fresh one on the App's settings page (GITHUB_APP_PRIVATE_KEY_PATH)"
    )]
    OtherBlock(String),
    /// The block holds no key that can sign.
    #[error(
        "the private key cannot be used ({0}): download a fresh one on the App's settings page (GITHUB_APP_PRIVATE_KEY_PATH)"
    )]
    NotAKey(String),
}

impl AppCredentials {
    /// Reads the App's key, once. `pem` is PKCS#1 (`RSA PRIVATE KEY`, what GitHub hands out) or PKCS#8 (`PRIVATE KEY`).
    ///
    /// # Errors
    /// When the id is empty or the text holds no RSA key of 2048 to 4096 bits; see [`KeyFault`].
    pub fn new(app_id: &str, pem: &Secret, installation: Option<u64>) -> Result<Self, KeyFault> {
        let app_id = app_id.trim();
        if app_id.is_empty() {
            return Err(KeyFault::NoAppId);
        }
        let (label, der) = first_block(pem.expose()).ok_or(KeyFault::NotPem)?;
        let key = match label.as_str() {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
            _ => return Err(KeyFault::OtherBlock(label)),
        };
        let key = key.map_err(|rejected| KeyFault::NotAKey(rejected.to_string()))?;
        Ok(Self {
            app_id: app_id.to_owned(),
            key: AppKey(Arc::new(key)),
            installation,
        })
    }

    /// The App's signed word for the next minutes: a JWT under RS256. Issued 60 s in the past, because GitHub refuses one from
    /// its future; good for 9 min, because it refuses one that lives longer than 10 ("Generating a JSON Web Token (JWT) for a GitHub App").
    ///
    /// # Errors
    /// When the machine gives no randomness or the key refuses to sign; the text says which.
    pub(super) fn jwt(&self, now: DateTime<Utc>) -> Result<Secret, String> {
        // Older servers want a number here, and a client id is none.
        let issuer = self
            .app_id
            .parse::<u64>()
            .map_or_else(|_| json!(self.app_id), |number| json!(number));
        let claims = json!({ "iat": now.timestamp() - 60, "exp": now.timestamp() + 540, "iss": issuer });
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        let mut jwt = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.0.public().modulus_len()];
        self.key
            .0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), jwt.as_bytes(), &mut signature)
            .map_err(|_| "the App's private key could not sign; check GITHUB_APP_PRIVATE_KEY_PATH".to_owned())?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut jwt);
        Ok(Secret::new(jwt))
    }
}

/// The first private key block of a PEM text (RFC 7468): its label and its bytes.
fn first_block(pem: &str) -> Option<(String, Vec<u8>)> {
    let mut rest = pem;
    loop {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (inner, after) = after.split_once(&format!("-----END {label}-----"))?;
        rest = after;
        if !label.ends_with("PRIVATE KEY") {
            continue;
        }
        // An encrypted PKCS#1 block has headers, whose ':' is no base64.
        let text: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
        return match STANDARD.decode(text) {
            Ok(der) => Some((label.to_owned(), der)),
            Err(_) if inner.contains("ENCRYPTED") => Some(("ENCRYPTED PRIVATE KEY".to_owned(), Vec::new())),
            Err(_) => None,
        };
    }
}

/// What a token of this profile may do, in GitHub's words ("Create an installation access token for an app").
pub fn permissions(profile: TokenProfile) -> serde_json::Value {
    match profile {
        TokenProfile::Read => {
            json!({ "metadata": "read", "contents": "read", "issues": "read", "pull_requests": "read" })
        }
        TokenProfile::IssuesWrite => {
            json!({ "metadata": "read", "contents": "read", "issues": "write", "pull_requests": "read" })
        }
        TokenProfile::ReviewWrite => {
            json!({ "metadata": "read", "contents": "read", "issues": "read", "pull_requests": "write" })
        }
        TokenProfile::RepoWrite => {
            json!({ "metadata": "read", "contents": "write", "issues": "write", "pull_requests": "write" })
        }
    }
}

/// What is kept for one installation: its number and its newest token.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The installation, once known.
    pub(super) installation: Option<u64>,
    token: Option<(Secret, DateTime<Utc>)>,
}

impl Pass {
    /// The token, if it lives long enough to set out with it.
    pub(super) fn token_at(&self, now: DateTime<Utc>) -> Option<Secret> {
        let (token, expires) = self.token.as_ref()?;
        (*expires - now > RENEW_BEFORE).then(|| token.clone())
    }

    /// Keeps a new token.
    pub(super) fn keep(&mut self, token: Secret, expires: DateTime<Utc>) {
        self.token = Some((token, expires));
    }

    /// Drops the token that was refused; a newer one stays.
    pub(super) fn drop_token(&mut self, refused: &Secret) {
        if self
            .token
            .as_ref()
            .is_some_and(|(token, _)| token.expose() == refused.expose())
        {
            self.token = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_without_being_quoted() {
        let block = |label: &str, inner: &str| format!("-----BEGIN {label}-----\n{inner}\n-----END {label}-----\n");
        for (pem, expected) in [
            (String::new(), "not a PEM file"),
            ("hunter2".to_owned(), "not a PEM file"),
            (block("CERTIFICATE", "aHVudGVyMg=="), "not a PEM file"),
            (block("RSA PRIVATE KEY", "hunter2 !"), "not a PEM file"),
            (block("RSA PRIVATE KEY", "aHVudGVyMg=="), "cannot be used"),
            (block("PRIVATE KEY", "aHVudGVyMg=="), "cannot be used"),
            (
                block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nhunter2"),
                "ENCRYPTED PRIVATE KEY",
            ),
            (block("OPENSSH PRIVATE KEY", "aHVudGVyMg=="), "OPENSSH PRIVATE KEY"),
            ("-----BEGIN RSA PRIVATE KEY-----\naHVu".to_owned(), "not a PEM file"),
        ] {
            let fault = AppCredentials::new("1", &Secret::new(pem.clone()), None)
                .expect_err(&pem)
                .to_string();
            assert!(fault.contains(expected), "{pem}: {fault}");
            assert!(fault.contains("GITHUB_APP_PRIVATE_KEY_PATH"), "{fault}");
            assert!(!fault.contains("hunter2") && !fault.contains("aHVudGVyMg"), "{fault}");
        }
        assert_eq!(
            AppCredentials::new(" ", &Secret::new("x"), None).expect_err("no id"),
            KeyFault::NoAppId
        );
    }

    #[test]
    fn a_token_is_renewed_five_minutes_before_it_expires() {
        let mut pass = Pass::default();
        assert!(pass.token_at(at(0)).is_none());
        pass.keep(Secret::new("t1"), at(3_600));
        assert!(pass.token_at(at(3_299)).is_some());
        assert!(pass.token_at(at(3_300)).is_none());
    }

    #[test]
    fn a_refused_token_does_not_take_its_successor_along() {
        let mut pass = Pass::default();
        pass.keep(Secret::new("t2"), at(3_600));
        pass.drop_token(&Secret::new("t1"));
        assert!(pass.token_at(at(0)).is_some());
        pass.drop_token(&Secret::new("t2"));
        assert!(pass.token_at(at(0)).is_none());
    }
}
