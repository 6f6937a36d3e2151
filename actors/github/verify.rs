//! Whether a delivery is signed by GitHub (`X-Hub-Signature-256`). Pure; knows no clock and no I/O.

use constant_time_eq::constant_time_eq;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::Secret;

const PREFIX: &str = "sha256=";

/// The configured secrets, all of them valid, ready to verify with. Empty: verification is off.
#[derive(Clone, Default)]
pub struct SignatureKeys {
    keys: Vec<Hmac<Sha256>>,
    /// For whoever looks why a signature does not fit.
    secrets: Vec<Secret>,
}

impl std::fmt::Debug for SignatureKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignatureKeys({})", self.keys.len())
    }
}

impl SignatureKeys {
    /// Prepares the keys, so that no request pays for it.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let secrets: Vec<Secret> = secrets.into_iter().cloned().collect();
        Self {
            keys: secrets.iter().map(|secret| keyed(secret.expose().as_bytes())).collect(),
            secrets,
        }
    }

    /// Whether verification is off because no secret is configured.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `header` is `sha256=` and the lower-case hex HMAC-SHA256 of the raw `body` under any of the secrets.
    /// Takes the same time whatever is wrong with a header of the right length.
    #[must_use]
    pub fn verify(&self, header: Option<&str>, body: &[u8]) -> bool {
        if self.is_off() {
            return true;
        }
        let Some(offered) = header else { return false };
        // No early exit: which of the secrets matched is nobody's business, either.
        self.keys.iter().fold(false, |valid, key| {
            constant_time_eq(offered.as_bytes(), header_under(key, body).as_bytes()) | valid
        })
    }

    /// The secrets themselves.
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

pub(super) fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes a key of any length")
}

fn header_under(key: &Hmac<Sha256>, body: &[u8]) -> String {
    let digest = key.clone().chain_update(body).finalize().into_bytes();
    format!("{PREFIX}{}", hex::encode(digest))
}

/// The header that GitHub would send for this body: for `firstlight send`, the demo and tests.
#[must_use]
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    header_under(&keyed(secret.expose().as_bytes()), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's own documentation, "Validating webhook deliveries".
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn keys(secrets: &[&str]) -> SignatureKeys {
        let secrets: Vec<_> = secrets.iter().map(|s| Secret::new(*s)).collect();
        SignatureKeys::new(&secrets)
    }

    #[test]
    fn githubs_own_example_verifies() {
        assert!(keys(&[SECRET]).verify(Some(SIGNATURE), BODY));
        assert_eq!(sign(&Secret::new(SECRET), BODY), SIGNATURE);
    }

    #[test]
    fn any_configured_secret_is_valid_so_that_secrets_can_be_rotated() {
        assert!(keys(&["new", SECRET]).verify(Some(SIGNATURE), BODY));
        assert!(keys(&[SECRET, "new"]).verify(Some(SIGNATURE), BODY));
        assert!(!keys(&["new", "newer"]).verify(Some(SIGNATURE), BODY));
    }

    #[test]
    fn everything_else_is_refused() {
        let upper = SIGNATURE.to_ascii_uppercase();
        let upper_hex = format!("sha256={}", SIGNATURE[7..].to_ascii_uppercase());
        let doubled = format!("{SIGNATURE}{}", &SIGNATURE[7..]);
        let listed = format!("{SIGNATURE}, {SIGNATURE}");
        let sha1 = format!("sha1={}", &SIGNATURE[7..]);
        let table: &[Option<&str>] = &[
            None,
            Some(""),
            Some("sha256="),
            Some(&SIGNATURE[..SIGNATURE.len() - 1]),
            Some(&SIGNATURE[7..]),
            Some(&upper),
            Some(&upper_hex),
            Some(&doubled),
            Some(&listed),
            Some(&sha1),
            Some("sha256=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"),
            Some(" sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
        ];
        for header in table {
            assert!(!keys(&[SECRET]).verify(*header, BODY), "{header:?}");
        }
        assert!(!keys(&[SECRET]).verify(Some(SIGNATURE), b"Hello, World?"));
    }

    #[test]
    fn without_a_secret_verification_is_off() {
        assert!(keys(&[]).is_off());
        assert!(keys(&[]).verify(None, BODY));
    }

    #[test]
    fn keys_do_not_print_themselves() {
        assert_eq!(format!("{:?}", keys(&["a", "b"])), "SignatureKeys(2)");
    }
}
