//! Whether a write that carries the session cookie comes from our own pages. Pure.
//!
//! A browser adds the cookie to whatever any page makes it send, so a write needs more: the browser's own word on where it comes
//! from (Fetch Metadata, else Origin), or a token that only our own pages can read.

use constant_time_eq::constant_time_eq;
use url::{Origin, Url};

/// What a request says about where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent<'a> {
    /// `Sec-Fetch-Site`.
    pub(super) site: Option<&'a str>,
    /// `Origin`.
    pub(super) origin: Option<&'a str>,
    /// `Host`.
    pub(super) host: Option<&'a str>,
    /// `X-CSRF-Token`.
    pub(super) token: Option<&'a str>,
}

/// Why a write was not taken for one of our own pages'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    /// It names another origin.
    #[error(
        "this request comes from another site, and other sites may not act for you here; open the dashboard itself"
    )]
    Origin,
    /// It names an origin that does not match the host that was asked, and nobody has said how browsers reach us.
    #[error(
        "this request comes from another site than the one that was asked; if it is the dashboard behind a proxy, set PUBLIC_URL (server.public_url) to the address that browsers use"
    )]
    Homeless,
    /// Nothing says where it comes from, and there is no token.
    #[error(
        "a change with the session cookie has to come from our own pages; send the X-CSRF-Token that GET /admin/api/session shows, or use a token"
    )]
    Unproven,
    /// The token is not this session's.
    #[error("the X-CSRF-Token is not this session's; read it anew from GET /admin/api/session")]
    Token,
}

/// Judges a write with a cookie; `token` is the session's own.
pub(super) fn judge(sent: Sent<'_>, public: Option<&Url>, token: &str) -> Result<(), Foreign> {
    let at_home = sent.origin.map(|origin| is_ours(origin, public, sent.host));
    if at_home == Some(false) {
        return Err(stranger(public));
    }
    if matches!(sent.site, Some("same-origin" | "none")) || at_home == Some(true) {
        return Ok(());
    }
    match sent.token {
        None => Err(Foreign::Unproven),
        Some(offered) if constant_time_eq(offered.as_bytes(), token.as_bytes()) => Ok(()),
        Some(_) => Err(Foreign::Token),
    }
}

/// Whether a sign-in may set the cookie: nobody is to be signed in, as somebody else, by another site.
pub(super) fn may_sign_in(sent: Sent<'_>, public: Option<&Url>) -> Result<(), Foreign> {
    let foreign = sent.origin.is_some_and(|origin| !is_ours(origin, public, sent.host))
        || matches!(sent.site, Some("cross-site" | "same-site"));
    if foreign { Err(stranger(public)) } else { Ok(()) }
}

fn stranger(public: Option<&Url>) -> Foreign {
    if public.is_some() {
        Foreign::Origin
    } else {
        Foreign::Homeless
    }
}

/// Whether an origin is the public URL's, or, where there is none, that of the host that was asked. This machine's own names
/// count as well: whoever comes through a tunnel comes by them, and no page of another site has such an origin.
fn is_ours(origin: &str, public: Option<&Url>, host: Option<&str>) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    let origin = url.origin();
    // `null` of a sandboxed page is nobody's.
    if !matches!(origin, Origin::Tuple(..)) || !matches!(url.scheme(), "http" | "https") {
        return false;
    }
    if public.is_some_and(|public| public.origin() == origin) {
        return true;
    }
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    (public.is_none() || loopback)
        && host.is_some_and(|host| {
            // TLS may end at a proxy, so the scheme is the browser's word.
            Url::parse(&format!("{}://{host}", url.scheme())).is_ok_and(|asked| asked.origin() == origin)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "the session's own";

    fn at(site: &'static str, origin: &'static str, host: &'static str, token: &'static str) -> Sent<'static> {
        let said = |text: &'static str| (!text.is_empty()).then_some(text);
        Sent {
            site: said(site),
            origin: said(origin),
            host: said(host),
            token: said(token),
        }
    }

    #[test]
    fn a_write_passes_by_the_browsers_word_or_by_the_token() {
        let public: Url = "https://bot.example.com/light".parse().expect("a URL");
        let (own, elsewhere) = ("https://bot.example.com", "https://evil.test");
        let table = [
            ("same-origin", "", "", "", Ok(())),
            ("none", "", "", "", Ok(())),
            ("same-origin", own, "", "", Ok(())),
            ("", own, "", "", Ok(())),
            ("", "https://bot.example.com:443", "", "", Ok(())),
            ("cross-site", "", "", TOKEN, Ok(())),
            ("", "", "", TOKEN, Ok(())),
            ("", "", "", "", Err(Foreign::Unproven)),
            ("cross-site", "", "", "", Err(Foreign::Unproven)),
            ("same-site", "", "", "", Err(Foreign::Unproven)),
            ("Same-Origin", "", "", "", Err(Foreign::Unproven)),
            ("", "", "", "another's", Err(Foreign::Token)),
            // A foreign origin is refused whatever else is there.
            ("same-origin", elsewhere, "", TOKEN, Err(Foreign::Origin)),
            ("", elsewhere, "evil.test", TOKEN, Err(Foreign::Origin)),
            ("", "null", "", TOKEN, Err(Foreign::Origin)),
            ("", "http://bot.example.com", "", TOKEN, Err(Foreign::Origin)),
            ("", "https://bot.example.com:8443", "", TOKEN, Err(Foreign::Origin)),
            ("", "https://sub.bot.example.com", "", TOKEN, Err(Foreign::Origin)),
            ("", "https://bot.example.com.evil.test", "", "", Err(Foreign::Origin)),
            ("", "file://bot.example.com", "", "", Err(Foreign::Origin)),
            // Through a tunnel to this machine.
            ("", "http://localhost:8644", "localhost:8644", "", Ok(())),
            ("", "http://127.0.0.1:8644", "127.0.0.1:8644", "", Ok(())),
            ("", "http://[::1]:8644", "[::1]:8644", "", Ok(())),
            ("", "http://localhost:3000", "localhost:8644", "", Err(Foreign::Origin)),
        ];
        for (site, origin, host, token, expected) in table {
            let sent = at(site, origin, host, token);
            assert_eq!(judge(sent, Some(&public), TOKEN), expected, "{sent:?}");
        }
    }

    #[test]
    fn without_a_public_url_the_host_that_was_asked_is_ours() {
        let table = [
            ("http://box:8644", "box:8644", Ok(())),
            ("https://box", "box", Ok(())),
            ("https://box", "box:443", Ok(())),
            ("http://BOX:8644", "box:8644", Ok(())),
            ("http://box:8645", "box:8644", Err(Foreign::Homeless)),
            ("http://other:8644", "box:8644", Err(Foreign::Homeless)),
            ("http://box:8644", "", Err(Foreign::Homeless)),
            ("http://box:8644", "box:8644@evil", Err(Foreign::Homeless)),
        ];
        for (origin, host, expected) in table {
            let sent = at("", origin, host, "");
            assert_eq!(judge(sent, None, TOKEN), expected, "{sent:?}");
        }
    }

    #[test]
    fn another_site_signs_nobody_in() {
        let table = [
            ("", "", true),
            ("same-origin", "http://box", true),
            ("none", "", true),
            ("cross-site", "", false),
            ("same-site", "", false),
            ("", "http://evil", false),
            ("same-origin", "http://evil", false),
        ];
        for (site, origin, may) in table {
            assert_eq!(
                may_sign_in(at(site, origin, "box", ""), None).is_ok(),
                may,
                "{site} {origin}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_and_no_stranger_passes(origin in any::<String>(), host in any::<String>()) {
            let sent = Sent { origin: Some(&origin), host: Some(&host), ..Sent::default() };
            let public: Url = "https://bot.example.com".parse().expect("a URL");
            let passes = judge(sent, Some(&public), TOKEN).is_ok();
            let loopback = ["localhost", "127.", "::1", "bot.example.com"].iter().any(|name| origin.contains(name));
            prop_assert!(!passes || loopback, "{origin} at {host}");
        }
    }
}
