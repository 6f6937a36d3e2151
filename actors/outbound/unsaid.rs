//! What the far side repeats of our secrets is taken out of its words before anybody keeps them. Pure; knows no connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::domain::REDACTED;

/// Characters from which on a part of an address is taken for the secret in it.
const LONG: usize = 12;

/// Characters of a secret that are worth hiding where a text was cut in the midst of it.
const BEGUN: usize = 6;

/// The text without these.
pub(super) fn without(secrets: &[String], text: &str) -> String {
    let mut secrets: Vec<&str> = secrets
        .iter()
        .map(String::as_str)
        .filter(|secret| !secret.is_empty())
        .collect();
    // Of two where one holds the other, the longer one goes first.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut shown = text.to_owned();
    for secret in &secrets {
        shown = shown.replace(secret, REDACTED);
    }
    let begun = |secret: &&str| {
        let ends = secret.char_indices().map(|(at, _)| at).filter(|at| *at >= BEGUN);
        ends.rev().find(|at| shown.ends_with(&secret[..*at]))
    };
    match secrets.iter().filter_map(begun).max() {
        Some(length) => format!("{}{REDACTED}", &shown[..shown.len() - length]),
        None => shown,
    }
}

/// What is secret in an address that opens a door by itself: the whole of it, its path, and each long part.
pub(super) fn of_address(address: &str) -> Vec<String> {
    let mut secrets = vec![address.to_owned()];
    let Ok(url) = Url::parse(address) else { return secrets };
    let whole = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let parts = url
        .path()
        .split('/')
        .chain(url.query().unwrap_or_default().split(['&', '=']))
        .map(str::to_owned);
    let plain = url.query_pairs().map(|(_, value)| value.into_owned());
    secrets.extend(
        [url.to_string(), whole]
            .into_iter()
            .chain(parts)
            .chain(plain)
            .filter(|part| part.len() >= LONG),
    );
    secrets
}

/// What is secret in an account, as it is sent to a mail server.
pub(super) fn of_account(user: &str, password: &str) -> Vec<String> {
    let plain = format!("\0{user}\0{password}");
    vec![STANDARD.encode(plain), STANDARD.encode(password), password.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_unsaid_whole_and_in_parts() {
        let secrets = of_address("https://hooks.test/services/T0/B0123456789AB?key=abcdefghijkl%20m&v=1");
        for (said, shown) in [
            ("no such hook", "no such hook"),
            (
                "https://hooks.test/services/T0/B0123456789AB?key=abcdefghijkl%20m&v=1!",
                "[redacted]!",
            ),
            (
                "POST /services/T0/B0123456789AB?key=abcdefghijkl%20m&v=1",
                "POST [redacted]",
            ),
            (
                "{\"path\":\"\\/services\\/T0\\/B0123456789AB\"}",
                "{\"path\":\"\\/services\\/T0\\/[redacted]\"}",
            ),
            ("key is abcdefghijkl m", "key is [redacted]"),
            ("services v=1", "services v=1"),
            ("cut in B01234567", "cut in [redacted]"),
            ("cut in B01", "cut in B01"),
        ] {
            assert_eq!(without(&secrets, said), shown);
        }
        assert_eq!(without(&of_address("nonsense"), "no nonsense"), "no [redacted]");
    }

    #[test]
    fn an_account_is_unsaid_as_it_is_sent() {
        let secrets = of_account("bot", "p:w/é");
        for said in ["AUTH PLAIN AGJvdABwOncvw6k=", "cDp3L8Op", "the password p:w/é"] {
            let shown = without(&secrets, said);
            assert!(shown.ends_with(REDACTED) && !shown.contains("p:w"), "{shown}");
        }
    }

    #[test]
    fn nothing_is_unsaid_where_there_is_no_secret() {
        assert_eq!(without(&[String::new()], "as it is"), "as it is");
    }
}
