//! Keeps secrets out of what a process prints, wherever a read may cut them in two. Pure: bytes in, bytes out.

use std::borrow::Cow;

use crate::domain::{REDACTED, Secret};

/// Replaces secrets in one stream of bytes. Holds back the few bytes that may be the beginning of one.
#[derive(Debug, Default)]
pub(crate) struct Veil {
    secrets: Vec<Secret>,
    held: Vec<u8>,
}

impl Veil {
    /// For a stream in which these may turn up; empty ones are passed over.
    pub(crate) fn over(secrets: &[Secret]) -> Self {
        Self {
            secrets: secrets.iter().filter(|secret| !secret.is_empty()).cloned().collect(),
            held: Vec::new(),
        }
    }

    /// What may be shown by now, of what was held back and what came.
    pub(crate) fn pass<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut seen = std::mem::take(&mut self.held);
        seen.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(seen.len());
        let mut rest = &seen[..];
        while let Some(first) = rest.first() {
            let at_hand = self.secrets.iter().map(|secret| secret.expose().as_bytes());
            let mut beginning = false;
            let whole = at_hand.filter(|secret| secret.first() == Some(first)).find(|secret| {
                beginning |= secret.starts_with(rest);
                rest.starts_with(secret)
            });
            if let Some(secret) = whole {
                shown.extend_from_slice(REDACTED.as_bytes());
                rest = &rest[secret.len()..];
            } else if beginning {
                break;
            } else {
                shown.push(*first);
                rest = &rest[1..];
            }
        }
        self.held = rest.to_vec();
        Cow::Owned(shown)
    }

    /// What was held back, once the stream has ended: half a secret is none.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn veiled(secrets: &[&str], pieces: &[&[u8]]) -> String {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(*text)).collect();
        let mut veil = Veil::over(&secrets);
        let mut shown = Vec::new();
        for piece in pieces {
            shown.extend_from_slice(&veil.pass(piece));
        }
        shown.extend(veil.rest());
        String::from_utf8_lossy(&shown).into_owned()
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_is_cut() {
        for (pieces, expected) in [
            (&["token ghs_1 end"][..], "token [redacted] end"),
            (&["token gh", "s_1 end"][..], "token [redacted] end"),
            (&["g", "h", "s", "_", "1"][..], "[redacted]"),
            (&["ghs_", "2 ghs_1"][..], "ghs_2 [redacted]"),
            (&["gghs_1ghs_1"][..], "g[redacted][redacted]"),
            (&["half: ghs_"][..], "half: ghs_"),
            (&["", "plain"][..], "plain"),
        ] {
            let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            assert_eq!(veiled(&["ghs_1", ""], &pieces), expected, "{pieces:?}");
        }
        assert_eq!(veiled(&[], &[b"ghs_1"]), "ghs_1");
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_it_is_shown_alike(text in "[abs]{0,40}", at in 0_usize..40) {
            let at = at.min(text.len());
            let whole = veiled(&["abab", "sa"], &[text.as_bytes()]);
            let cut = veiled(&["abab", "sa"], &[&text.as_bytes()[..at], &text.as_bytes()[at..]]);
            prop_assert_eq!(&whole, &cut);
            prop_assert!(!whole.contains("abab"));
        }
    }
}
