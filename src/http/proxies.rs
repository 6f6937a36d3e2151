//! Who is asking, behind a reverse proxy: `X-Forwarded-For` is believed from known proxies only. Knows no route.

use std::net::IpAddr;

use actix_web::HttpRequest;

/// Says whether an address is one of our reverse proxies.
pub type TrustedProxies = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The address that the request came from: its peer, or the nearest address in front of our own proxies.
pub(crate) fn client_address(request: &HttpRequest, trusted: &TrustedProxies) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let forwarded = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok());
    Some(nearest_stranger(
        peer,
        &forwarded.collect::<Vec<_>>().join(","),
        trusted,
    ))
}

/// Walks from the peer outwards: each proxy appends whom it heard, so the last entries are the believable ones.
fn nearest_stranger(peer: IpAddr, forwarded: &str, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut nearest = peer;
    let mut hops = forwarded.rsplit(',').map(|hop| hop.trim().parse::<IpAddr>());
    while trusted(nearest) {
        match hops.next() {
            Some(Ok(hop)) => nearest = hop,
            // What is no address was written by nobody whom we believe.
            Some(Err(_)) | None => break,
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_proxies_are_believed() {
        let ours = |address: IpAddr| address.to_string().starts_with("10.") || address.is_loopback();
        let table = [
            ("203.0.113.9", "", "203.0.113.9"),
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "nonsense", "127.0.0.1"),
            ("10.0.0.7", "unknown, 10.0.0.8", "10.0.0.8"),
        ];
        for (peer, forwarded, expected) in table {
            let found = nearest_stranger(peer.parse().expect("valid"), forwarded, ours);
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
