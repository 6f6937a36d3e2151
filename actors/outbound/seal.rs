//! Credentials in the outbox: only under seal, with a key that lies elsewhere. Knows no row and no file.
//!
//! The URL of a notification is a credential as often as not, and has to outlive the process with the row that needs it. Sealed, it is as durable
//! as that row and goes with it, and a copy of the database alone gives nothing away.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::Secret;

/// Seals and opens.
pub(crate) struct Seal {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Seal {
    /// A seal with a key made from this secret, which has 256 bits or more.
    pub(crate) fn new(secret: &Secret) -> Self {
        let bytes = digest(&SHA256, secret.expose().as_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes.as_ref()).expect("SHA-256 has the length of the key");
        Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        }
    }

    /// The secret under seal, good for this purpose only. Nothing when the system gives no randomness.
    pub(crate) fn close(&self, secret: &Secret, purpose: &str) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(purpose.as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The secret again. Nothing when the seal is of another key or purpose, or was tampered with.
    pub(crate) fn open(&self, sealed: &str, purpose: &str) -> Option<Secret> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(purpose.as_bytes());
        let plain = self.key.open_in_place(nonce, aad, &mut sealed).ok()?;
        Some(Secret::new(std::str::from_utf8(plain).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_credential_shows_nothing_and_opens_with_its_own_key_and_purpose_only() {
        let seal = Seal::new(&Secret::new("a key"));
        let url = Secret::new("https://hooks.example.com/services/T0/B0/hunter2");
        let sealed = seal.close(&url, "d-1").expect("sealed");
        assert!(!sealed.contains("hunter2") && !sealed.contains("services"));
        assert_ne!(Some(&sealed), seal.close(&url, "d-1").as_ref(), "never the same twice");
        let opened = Seal::new(&Secret::new("a key")).open(&sealed, "d-1").expect("opened");
        assert_eq!(opened.expose(), url.expose());
        assert!(seal.open(&sealed, "d-2").is_none());
        assert!(Seal::new(&Secret::new("other")).open(&sealed, "d-1").is_none());
        for broken in ["", "AAAA", &sealed[1..], &format!("{sealed}A"), "not base64!"] {
            assert!(seal.open(broken, "d-1").is_none(), "{broken}");
        }
    }
}
