//! Tokens: base64url(JSON) + "." + base64url(HMAC-SHA256 under the admin secret). Pure; the time is passed in.

use actors::domain::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use constant_time_eq::constant_time_eq;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::tools::Scope;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Not valid from this instant on, in seconds since 1970.
    pub exp: i64,
    /// Unique per token.
    #[serde(default)]
    pub id: String,
    /// For whom it was made.
    #[serde(default = "admin")]
    pub who: String,
    /// How they signed in.
    #[serde(default)]
    pub method: String,
    /// What it is for, where it was made by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it allows; a token of the documented shape, which names none, allows everything.
    #[serde(default = "everything")]
    pub scope: Scope,
}

fn everything() -> Scope {
    Scope::Admin
}

fn admin() -> String {
    "admin".into()
}

/// Signs and verifies tokens.
#[derive(Clone)]
pub struct Tokens(Hmac<Sha256>);

impl Tokens {
    /// With the admin secret as key.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length"))
    }

    /// The token that says this.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let said = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).expect("claims are a number and texts"));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(&said));
        format!("{said}.{signature}")
    }

    /// What a token says, if it is ours and has not run out.
    #[must_use]
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let (said, signature) = token.split_once('.')?;
        let offered = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !constant_time_eq(&offered, &self.signature(said)) {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(said).ok()?).ok()?;
        (claims.exp > now.timestamp()).then_some(claims)
    }

    /// Something of ours that travels through a browser, for one purpose.
    #[must_use]
    pub fn seal(&self, purpose: &str, what: &impl Serialize) -> String {
        let said = URL_SAFE_NO_PAD.encode(serde_json::to_vec(what).expect("what is sealed is plain data"));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(&format!("{purpose}:{said}")));
        format!("{said}.{signature}")
    }

    /// What was sealed for this purpose, unchanged; nothing, if it was not.
    #[must_use]
    pub fn unseal<T: DeserializeOwned>(&self, purpose: &str, sealed: &str) -> Option<T> {
        let (said, signature) = sealed.split_once('.')?;
        let offered = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !constant_time_eq(&offered, &self.signature(&format!("{purpose}:{said}"))) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(said).ok()?).ok()
    }

    /// What only our own pages can know about the session of this id.
    #[must_use]
    pub fn csrf(&self, id: &str) -> String {
        // No token begins like this, so this is the signature of none.
        URL_SAFE_NO_PAD.encode(self.signature(&format!("csrf:{id}")))
    }

    fn signature(&self, said: &str) -> Vec<u8> {
        self.0
            .clone()
            .chain_update(said.as_bytes())
            .finalize()
            .into_bytes()
            .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(secret: &str) -> Tokens {
        Tokens::new(&Secret::new(secret))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    fn claims(exp: i64) -> Claims {
        Claims {
            exp,
            id: "t-1".into(),
            who: "admin".into(),
            method: "password".into(),
            label: None,
            scope: Scope::Admin,
        }
    }

    #[test]
    fn a_token_is_valid_until_it_runs_out() {
        let token = tokens("s").sign(&claims(100));
        assert_eq!(tokens("s").verify(&token, at(99)), Some(claims(100)));
        assert_eq!(tokens("s").verify(&token, at(100)), None);
    }

    #[test]
    fn a_token_of_the_documented_shape_without_our_extras_is_accepted() {
        let said = URL_SAFE_NO_PAD.encode(br#"{"exp":100}"#);
        let signature = URL_SAFE_NO_PAD.encode(tokens("s").signature(&said));
        assert_eq!(
            tokens("s").verify(&format!("{said}.{signature}"), at(0)).map(|c| c.exp),
            Some(100)
        );
    }

    #[test]
    fn what_is_sealed_for_one_purpose_is_good_for_no_other() {
        let sealed = tokens("s").seal("way", &claims(100));
        assert_eq!(tokens("s").unseal("way", &sealed), Some(claims(100)));
        assert_eq!(tokens("s").unseal::<Claims>("other", &sealed), None);
        assert_eq!(tokens("t").unseal::<Claims>("way", &sealed), None);
        assert_eq!(tokens("s").verify(&sealed, at(0)), None, "it is no token");
        let token = tokens("s").sign(&claims(100));
        assert_eq!(tokens("s").unseal::<Claims>("way", &token), None, "nor is a token it");
        assert_ne!(tokens("s").csrf("a"), tokens("s").csrf("b"));
    }

    #[test]
    fn anything_else_is_refused() {
        let token = tokens("s").sign(&claims(100));
        let (said, signature) = token.split_once('.').expect("two parts");
        let forged = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(br#"{"exp":9999999999}"#));
        for bad in [
            "",
            ".",
            "a.b",
            said,
            &forged,
            &format!("{token}x"),
            &format!("{said}."),
            &format!("{token}.x"),
        ] {
            assert_eq!(tokens("s").verify(bad, at(0)), None, "{bad:?}");
        }
        assert_eq!(tokens("other").verify(&token, at(0)), None);
        let textual = URL_SAFE_NO_PAD.encode(br#"{"exp":"9999999999"}"#);
        let signed = format!("{textual}.{}", URL_SAFE_NO_PAD.encode(tokens("s").signature(&textual)));
        assert_eq!(tokens("s").verify(&signed, at(0)), None);
    }

    proptest! {
        #[test]
        fn arbitrary_tokens_are_refused_without_a_panic(token in any::<String>()) {
            prop_assert_eq!(tokens("s").verify(&token, at(0)), None);
        }
    }
}
