//! What a state has to be before it is written, and when two URLs are the same. Pure.

use url::Url;

use super::shape::{State, VERSION};
use crate::domain::MOST_NOTIFICATIONS;

/// Longest URL in characters, as browsers and servers take it.
const LONGEST_URL: usize = 2_048;

/// The seed's `normalizeState`: what is written is always of this version and keeps the newest 200 notifications.
pub fn normalize_state(state: &mut State) {
    state.version = VERSION;
    let spare = state.notifications.len().saturating_sub(MOST_NOTIFICATIONS);
    state.notifications.drain(..spare);
}

/// The URL of a webhook, so that two spellings of it are one: scheme and host in lower case, no default port, no fragment,
/// dots of the path resolved.
///
/// # Errors
/// When it is none, is not http or https, holds a user name or is over 2,048 characters; the text says which.
pub fn normalize_url(url: &str) -> Result<Url, String> {
    let url = url.trim();
    if url.chars().count() > LONGEST_URL {
        return Err(format!("must have at most {LONGEST_URL} characters"));
    }
    let mut parsed: Url = url
        .parse()
        .map_err(|error| format!("must be an http or https URL such as https://example.com/hook ({error})"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
        return Err("must be an http or https URL such as https://example.com/hook".to_owned());
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // It would stand in every list; a secret signs, that is what it is for.
        return Err("must not hold a user name or password; sign with a secret instead".to_owned());
    }
    parsed.set_fragment(None);
    // Spelled out, other alphabets take three characters for each of their bytes.
    if parsed.as_str().len() > LONGEST_URL {
        return Err(format!(
            "must have at most {LONGEST_URL} characters once it is percent-encoded"
        ));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_url_are_one() {
        for (a, b) in [
            ("https://localhost/hook", "HTTPS://LOCALHOST:443/hook"),
            ("http://a", "http://a:80/"),
            ("http://a/x/../y", "http://a/y"),
            (" http://a/y#part ", "http://a/y"),
        ] {
            assert_eq!(normalize_url(a), normalize_url(b), "{a} and {b}");
        }
        assert_ne!(normalize_url("http://a/x?1"), normalize_url("http://a/x?2"));
        assert_ne!(normalize_url("http://a/x"), normalize_url("https://a/x"));
    }

    #[test]
    fn what_is_no_address_of_a_webhook_is_refused() {
        for (bad, says) in [
            ("", "http or https"),
            ("ftp://a/x", "http or https"),
            ("javascript:alert(1)", "http or https"),
            ("file:///etc/passwd", "http or https"),
            ("//a/x", "http or https"),
            ("http://", "http or https"),
            ("http://ann:secret@a/x", "user name"),
        ] {
            let error = normalize_url(bad).expect_err(bad);
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
        let long = format!("http://a/{}", "x".repeat(LONGEST_URL));
        assert!(normalize_url(&long).expect_err("long").contains("2048"));
        let long = format!("http://a/{}", "ü".repeat(LONGEST_URL / 2));
        assert!(normalize_url(&long).expect_err("long").contains("percent-encoded"));
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent_and_never_panics(text in any::<String>()) {
            if let Ok(url) = normalize_url(&text) {
                prop_assert_eq!(normalize_url(url.as_str()), Ok(url.clone()));
            }
        }
    }
}
