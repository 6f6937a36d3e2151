//! How a delivery shows who sent it: two signatures over its exact bytes. Pure: body, id, instant and secrets are given.
//!
//! * `X-AMS-Signature` is the seed's: lowercase hex of HMAC-SHA256 over the body, keyed with the bytes of the newest secret as it was
//!   written. No prefix.
//! * `webhook-id`, `webhook-timestamp` and `webhook-signature` follow the Standard Webhooks specification: `v1,` and base64 of HMAC-SHA256
//!   over `<id>.<timestamp>.<body>`. A secret that starts with `whsec_` is base64 behind the prefix and is decoded, as that
//!   specification says; any other secret, and one that claims to be base64 and is not, is taken as its bytes. Within the grace
//!   period of a rotation every secret signs, the newest first, with a space between the signatures.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::Secret;

/// The seed's header.
pub(crate) const AMS_SIGNATURE: &str = "x-ams-signature";
/// Marks a secret of the Standard Webhooks form.
const STANDARD_PREFIX: &str = "whsec_";

/// What goes into the headers of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signatures {
    /// Value of `X-AMS-Signature`.
    pub(crate) ams: String,
    /// Value of `webhook-signature`.
    pub(crate) standard: String,
}

/// Signs a body that may lie in pieces. Nothing where there is no secret: an unsigned delivery carries no such header.
pub(crate) fn sign(secrets: &[Secret], id: &str, at: DateTime<Utc>, body: &[&[u8]]) -> Option<Signatures> {
    let secrets: Vec<&Secret> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    let newest = secrets.first()?;
    let ams = hex::encode(mac(newest.expose().as_bytes(), &[], body));
    let head = format!("{id}.{}.", at.timestamp());
    let standard: Vec<String> = secrets
        .iter()
        .map(|secret| {
            format!(
                "v1,{}",
                STANDARD.encode(mac(&standard_key(secret), head.as_bytes(), body))
            )
        })
        .collect();
    Some(Signatures {
        ams,
        standard: standard.join(" "),
    })
}

/// The key of the Standard Webhooks half.
fn standard_key(secret: &Secret) -> Vec<u8> {
    let text = secret.expose();
    text.strip_prefix(STANDARD_PREFIX)
        .and_then(|coded| STANDARD.decode(coded).or_else(|_| STANDARD_NO_PAD.decode(coded)).ok())
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

fn mac(key: &[u8], head: &[u8], body: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(head);
    for piece in body {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use standardwebhooks::Webhook;

    use super::*;

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_614_265_330, 0).expect("a valid instant")
    }

    #[test]
    fn the_seeds_signature_is_bare_lowercase_hex_over_the_body() {
        // RFC 4231, test case 2.
        let signed = sign(
            &[Secret::new("Jefe")],
            "id",
            at(),
            &[b"what do ya want ", b"for nothing?"],
        )
        .expect("signed");
        assert_eq!(
            signed.ams,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(AMS_SIGNATURE, "X-AMS-Signature".to_ascii_lowercase());
    }

    #[test]
    fn the_standard_signature_is_the_specifications() {
        // The example of the Standard Webhooks libraries.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(
            &[secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at(),
            &[br#"{"test": 2432232314}"#],
        );
        assert_eq!(
            signed.expect("signed").standard,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn without_a_secret_nothing_is_signed() {
        assert_eq!(sign(&[], "id", at(), &[b"{}"]), None);
        assert_eq!(sign(&[Secret::new("")], "id", at(), &[b"{}"]), None);
    }

    #[test]
    fn within_a_rotation_both_secrets_sign_and_the_newest_is_first() {
        let (new, old) = (Secret::new("new"), Secret::new("old"));
        let both = sign(&[new.clone(), old.clone()], "id", at(), &[b"{}"]).expect("signed");
        let alone = |secret| sign(&[secret], "id", at(), &[b"{}"]).expect("signed");
        assert_eq!(both.ams, alone(new.clone()).ams);
        assert_eq!(
            both.standard,
            format!("{} {}", alone(new).standard, alone(old).standard)
        );
    }

    proptest! {
        #[test]
        fn a_library_that_nobody_here_wrote_signs_the_same(
            secret in "[ -~]{1,64}", id in "[a-z0-9-]{1,40}", body in "\\PC{0,200}", cut in 0_usize..200, seconds in 0_i64..4_000_000_000,
        ) {
            let at = DateTime::from_timestamp(seconds, 0).expect("a valid instant");
            let mut cut = cut.min(body.len());
            while !body.is_char_boundary(cut) {
                cut -= 1;
            }
            let (head, rest) = body.split_at(cut);
            let ours = sign(&[Secret::new(secret.as_str())], &id, at, &[head.as_bytes(), rest.as_bytes()]).expect("signed");
            let theirs = Webhook::from_bytes(secret.into_bytes()).expect("a key").sign(&id, seconds, body.as_bytes()).expect("signed");
            prop_assert_eq!(ours.standard, theirs);
        }

        #[test]
        fn a_key_in_their_form_is_the_same_key(key in proptest::collection::vec(any::<u8>(), 1..64)) {
            let secret = format!("whsec_{}", STANDARD.encode(&key));
            let ours = sign(&[Secret::new(secret.as_str())], "msg", at(), &[b"{}"]).expect("signed");
            let theirs = Webhook::new(&secret).expect("a key").sign("msg", at().timestamp(), b"{}").expect("signed");
            prop_assert_eq!(ours.standard, theirs);
        }
    }
}
