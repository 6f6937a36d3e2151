//! Who is asking, and for which host, behind a reverse proxy: forwarded headers are believed from known proxies only. Knows no route.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::HttpRequest;
use actix_web::http::header::{
    FORWARDED, HOST, HeaderMap, HeaderName, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
};

/// Our reverse proxies, and where they write whom they heard.
pub struct TrustedProxies {
    known: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    written_in: ForwardedIn,
    /// Whether it was said that somebody who is not known forwards.
    said: AtomicBool,
}

/// The header in which proxies write whom they heard. Only one of them is read: a proxy that writes one hands on the other as
/// the client made it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedIn {
    /// `X-Forwarded-For`, and beside it `-Proto` and `-Host`.
    XForwarded,
    /// `Forwarded` as in RFC 7239.
    Standard,
}

impl TrustedProxies {
    /// Those of which `known` says that they are ours.
    #[must_use]
    pub fn new(known: impl Fn(IpAddr) -> bool + Send + Sync + 'static, written_in: ForwardedIn) -> Self {
        Self {
            known: Box::new(known),
            written_in,
            said: AtomicBool::new(false),
        }
    }

    /// Whether an address is one of them.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        (self.known)(address)
    }

    /// The header that is read.
    pub(super) fn header(&self) -> HeaderName {
        match self.written_in {
            ForwardedIn::XForwarded => X_FORWARDED_FOR,
            ForwardedIn::Standard => FORWARDED,
        }
    }

    /// Says once that a proxy seems to be missing from the list: nothing else would tell why everybody has its address.
    pub(super) fn look_for_strangers(&self, request: &HttpRequest) {
        let header = self.header();
        if !request.headers().contains_key(&header) {
            return;
        }
        let stranger = request
            .peer_addr()
            .map(|peer| peer.ip())
            .filter(|peer| !self.knows(*peer));
        if let Some(peer) = stranger
            && is_near(peer)
            && !self.said.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %peer,
                header = header.as_str(),
                "a neighbour forwards requests and is not known as a proxy, so everybody behind it has its address: list it in server.trusted_proxies"
            );
        }
    }
}

/// Whether an address is this machine's or its network's: from elsewhere the header may be anybody's joke.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// The address that the request came from: its peer, or the nearest address in front of our own proxies.
pub(crate) fn client_address(request: &HttpRequest, trusted: &TrustedProxies) -> Option<IpAddr> {
    Some(asked(request, trusted)?.from)
}

/// The host that was asked, as the client wrote it.
pub(crate) fn asked_host<'a>(request: &'a HttpRequest, trusted: &TrustedProxies) -> Option<&'a str> {
    asked(request, trusted)
        .and_then(|asked| asked.host)
        .or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// Whether one of our proxies says that the client spoke TLS.
pub(crate) fn came_by_tls(request: &HttpRequest, trusted: &TrustedProxies) -> bool {
    asked(request, trusted)
        .and_then(|asked| asked.proto)
        .is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

fn asked<'a>(request: &'a HttpRequest, trusted: &TrustedProxies) -> Option<Hop<'a>> {
    let peer = request.peer_addr()?.ip();
    Some(nearest_stranger(
        peer,
        request.headers(),
        trusted.written_in,
        |address| trusted.knows(address),
    ))
}

/// What is known of the client: its address, and what the proxy that heard it says it asked for.
#[derive(Debug, PartialEq, Eq)]
struct Hop<'a> {
    from: IpAddr,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

/// Walks from the peer outwards: each proxy appends whom it heard, so the last entries are the believable ones.
fn nearest_stranger(
    peer: IpAddr,
    headers: &HeaderMap,
    written_in: ForwardedIn,
    trusted: impl Fn(IpAddr) -> bool,
) -> Hop<'_> {
    let mut nearest = Hop {
        from: peer,
        proto: None,
        host: None,
    };
    if !trusted(peer) {
        return nearest;
    }
    match written_in {
        ForwardedIn::XForwarded => {
            // These two are not lists that grow along the way; of several values nobody knows which one counts.
            nearest.proto = only_one(headers, &X_FORWARDED_PROTO);
            nearest.host = only_one(headers, &X_FORWARDED_HOST);
            let mut hops = lines(headers, &X_FORWARDED_FOR).flat_map(|line| line.rsplit(|byte| *byte == b','));
            while trusted(nearest.from) {
                // What is no address was written by nobody whom we believe.
                match hops.next().map(|hop| node(str::from_utf8(hop).ok()?)) {
                    Some(Some(hop)) => nearest.from = hop,
                    Some(None) | None => break,
                }
            }
        }
        ForwardedIn::Standard => {
            let mut hops = lines(headers, &FORWARDED).flat_map(hops_of);
            while trusted(nearest.from) {
                let Some(Ok(hop)) = hops.next().map(str::from_utf8) else {
                    break;
                };
                if hop.matches('"').count() % 2 != 0 {
                    // Somebody opened a quote over what others wrote.
                    break;
                }
                let part = |name: &str| {
                    split(hop, ';').into_iter().find_map(|pair| {
                        let (key, value) = pair.split_once('=')?;
                        key.trim()
                            .eq_ignore_ascii_case(name)
                            .then(|| value.trim().trim_matches('"'))
                    })
                };
                nearest.proto = part("proto");
                nearest.host = part("host");
                match part("for").map(node) {
                    Some(Some(address)) => nearest.from = address,
                    Some(None) | None => break,
                }
            }
        }
    }
    nearest
}

/// The lines of a header, the last one first; none is left out, for what stands before it would be taken for nearer.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let values: Vec<_> = headers.get_all(name).collect();
    values.into_iter().rev().map(|value| value.as_bytes())
}

/// The elements of a line of `Forwarded`, the last one first. Quotes are counted from the end, where our own proxy wrote: one
/// that a client opened hides no more than the client's own words.
fn hops_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.rsplit(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
}

fn only_one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?.trim();
    (values.next().is_none() && !value.is_empty() && !value.contains(',')).then_some(value)
}

/// The parts between separators that are not in quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

/// An address as proxies write it: alone, with a port, in brackets, in quotes.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ours(address: IpAddr) -> bool {
        address.to_string().starts_with("10.") || address.is_loopback()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("a header"),
            );
        }
        headers
    }

    fn found(peer: &str, lines: &[(&'static str, &str)], written_in: ForwardedIn) -> (String, String) {
        let headers = headers(lines);
        let hop = nearest_stranger(peer.parse().expect("valid"), &headers, written_in, ours);
        let said = [hop.proto, hop.host].map(Option::unwrap_or_default);
        (hop.from.to_string(), said.join(" ").trim().to_owned())
    }

    #[test]
    fn only_our_own_proxies_are_believed() {
        let table = [
            ("203.0.113.9", "", "203.0.113.9"),
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "nonsense", "127.0.0.1"),
            ("10.0.0.7", "unknown, 10.0.0.8", "10.0.0.8"),
            ("127.0.0.1", "6.6.6.6, 198.51.100.1:4711", "198.51.100.1"),
            ("127.0.0.1", "[2001:db8::1]:4711, 10.0.0.7", "2001:db8::1"),
            ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("::1", "::ffff:10.0.0.7", "10.0.0.7"),
            ("127.0.0.1", "198.51.100.1, 10.0.0.300", "127.0.0.1"),
            ("127.0.0.1", "198.51.100.1,", "127.0.0.1"),
        ];
        for (peer, forwarded, expected) in table {
            let (from, _) = found(peer, &[("x-forwarded-for", forwarded)], ForwardedIn::XForwarded);
            assert_eq!(from, expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn several_lines_of_a_header_are_one_list() {
        let lines = [
            ("x-forwarded-for", "6.6.6.6, 198.51.100.1"),
            ("x-forwarded-for", "10.0.0.7"),
        ];
        assert_eq!(found("127.0.0.1", &lines, ForwardedIn::XForwarded).0, "198.51.100.1");
        let lines = [
            ("forwarded", "for=6.6.6.6"),
            ("forwarded", "for=198.51.100.1, for=10.0.0.7"),
        ];
        assert_eq!(found("127.0.0.1", &lines, ForwardedIn::Standard).0, "198.51.100.1");
    }

    #[test]
    fn the_standard_header_says_who_asked_for_what() {
        let table = [
            ("for=198.51.100.1", "198.51.100.1", ""),
            (
                "For=\"[2001:db8::1]:4711\";Proto=HTTPS;host=bot.example.com",
                "2001:db8::1",
                "HTTPS bot.example.com",
            ),
            (
                "for=6.6.6.6;host=evil, for=198.51.100.1;proto=https;host=\"b:8\", for=10.0.0.7;host=inner",
                "198.51.100.1",
                "https b:8",
            ),
            ("for=_hidden;host=h", "127.0.0.1", "h"),
            ("for=unknown", "127.0.0.1", ""),
            ("by=10.0.0.1", "127.0.0.1", ""),
            ("for=\"198.51.100.1, 6.6.6.6\"", "127.0.0.1", ""),
            ("=;;,,=\"", "127.0.0.1", ""),
        ];
        for (forwarded, from, said) in table {
            let found = found("127.0.0.1", &[("forwarded", forwarded)], ForwardedIn::Standard);
            assert_eq!(found, (from.to_owned(), said.to_owned()), "{forwarded:?}");
        }
    }

    #[test]
    fn what_a_proxy_does_not_write_is_not_read() {
        let both = [
            ("forwarded", "for=6.6.6.6;host=evil"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-host", "bot.example.com"),
            ("x-forwarded-proto", "https"),
        ];
        let x = ("198.51.100.1".to_owned(), "https bot.example.com".to_owned());
        assert_eq!(found("127.0.0.1", &both, ForwardedIn::XForwarded), x);
        let standard = ("6.6.6.6".to_owned(), "evil".to_owned());
        assert_eq!(found("127.0.0.1", &both, ForwardedIn::Standard), standard);
        let nothing = ("203.0.113.9".to_owned(), String::new());
        assert_eq!(found("203.0.113.9", &both, ForwardedIn::XForwarded), nothing);
        assert_eq!(found("203.0.113.9", &both, ForwardedIn::Standard), nothing);
        let twice = [
            ("x-forwarded-host", "a"),
            ("x-forwarded-host", "b"),
            ("x-forwarded-proto", "https, http"),
        ];
        assert_eq!(found("127.0.0.1", &twice, ForwardedIn::XForwarded).1, "");
    }

    proptest! {
        /// Whatever a client makes up stands left of what our proxy appends.
        #[test]
        fn nothing_that_a_client_sends_changes_who_it_is(junk in "[ -~]{0,80}") {
            let mut lines = headers(&[("x-forwarded-for", &junk)]);
            lines.append(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
            let hop = nearest_stranger([127, 0, 0, 1].into(), &lines, ForwardedIn::XForwarded, ours);
            prop_assert_eq!(hop.from.to_string(), "198.51.100.1");
            let mut lines = headers(&[("forwarded", &junk)]);
            lines.append(FORWARDED, HeaderValue::from_static("for=198.51.100.1"));
            let hop = nearest_stranger([127, 0, 0, 1].into(), &lines, ForwardedIn::Standard, ours);
            prop_assert_eq!(hop.from.to_string(), "198.51.100.1");
        }

        /// The same where our proxy appends to the client's own line, whatever bytes that has.
        #[test]
        fn nothing_in_the_same_line_does_either(junk in prop::collection::vec(prop_oneof![b' '..=b'~', 0x80..=0xff_u8, Just(b'"')], 0..80)) {
            for (name, ending, written_in) in [
                (X_FORWARDED_FOR, ", 198.51.100.1", ForwardedIn::XForwarded),
                (FORWARDED, ", for=198.51.100.1", ForwardedIn::Standard),
            ] {
                let line = [junk.as_slice(), ending.as_bytes()].concat();
                let mut lines = HeaderMap::new();
                lines.append(name, HeaderValue::from_bytes(&line).expect("no control characters"));
                let hop = nearest_stranger([127, 0, 0, 1].into(), &lines, written_in, ours);
                prop_assert_eq!(hop.from.to_string(), "198.51.100.1");
            }
        }
    }
}
