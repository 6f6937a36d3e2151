//! Whom a delivery may be dialled to: nobody in this machine or its network, unless the operator says so. The address that was judged is
//! the address that is dialled. Knows no delivery.
//!
//! The rule stands in front of the TCP connection, behind name resolution: a name that answers with another address at the second
//! look, an address in an odd notation, and a redirect all come through here. The ranges are those of the IANA special-purpose address
//! registries (RFC 6890 and its updates).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use actix_rt::net::TcpStream;
use actix_service::Service;
use actix_tls::connect::tcp::TcpConnector;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::future::{BoxFuture, LocalBoxFuture};

/// Which addresses may be dialled.
#[derive(Clone)]
pub struct Guard {
    hosts: Arc<[String]>,
    network: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Lets through what is public, the hosts of these names (whatever their addresses) and the addresses that `network` names.
    #[must_use]
    pub fn new(hosts: Vec<String>, network: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self {
            hosts: hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect(),
            network: Arc::new(network),
        }
    }

    /// Whether this host may be dialled at this address.
    ///
    /// # Errors
    /// What kind of address it is, and what to configure.
    pub(crate) fn admits(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let host = host.trim_end_matches('.');
        let named = self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
        match special(address) {
            Some(kind) if !named && !(self.network)(address) => Err(Refused {
                host: host.to_owned(),
                kind,
            }),
            _ => Ok(()),
        }
    }
}

/// An address that is not dialled. Which one is not told: what a name resolves to in this network is nobody's business.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} leads to {kind}, which is not dialled; an operator may allow it with outbound.allow")]
pub(crate) struct Refused {
    host: String,
    kind: &'static str,
}

/// What kind of address it is, when it is not one of the public internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, d] = address.octets();
    Some(match (a, b, c, d) {
        (0, ..) => "an unspecified address",
        (127, ..) => "a loopback address",
        (169, 254, 169, 254) => "a metadata address",
        (169, 254, ..) => "a link-local address",
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => "a private address",
        (100, 64..=127, ..) => "a carrier-grade NAT address",
        (192, 0, 0, _) => "a protocol assignment address",
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => "a documentation address",
        (192, 88, 99, _) => "a 6to4 relay address",
        (198, 18..=19, ..) => "a benchmarking address",
        (224..=239, ..) => "a multicast address",
        (240..=255, ..) => "a reserved address",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    // An IPv4 address in IPv6 notation is that IPv4 address.
    if let Some(mapped) = address.to_ipv4_mapped() {
        return special_v4(mapped);
    }
    let segments = address.segments();
    let last = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    Some(match segments {
        // The well-known prefix of NAT64 (RFC 6052): in a network with IPv6 alone, public hosts have such addresses.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => return special_v4(last()),
        [0x64, 0xff9b, 1, ..] => "a local NAT64 address",
        [0, 0, 0, 0, 0, 0, ..] => "an IPv4-compatible address",
        [0, 0, 0, 0, 0xffff, 0, ..] => "an IPv4-translated address",
        [0x100, 0, 0, 0..=1, ..] => "a discard-only address",
        [0x2001, 0, ..] => "a Teredo address",
        [0x2001, 2, 0, ..] => "a benchmarking address",
        [0x2001, 0x10..=0x3f, ..] => "an ORCHID address",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "a documentation address",
        [0x2001, 0..=0x1ff, ..] => "a protocol assignment address",
        [0x2002, ..] => "a 6to4 address",
        [0x5f00, ..] => "a segment routing address",
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => "a metadata address",
        [0xfc00..=0xfdff, ..] => "a unique local address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a site-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        // Only 2000::/3 is given out.
        [0..=0x1fff | 0x4000..=0xffff, ..] => "a reserved address",
        _ => return None,
    })
}

/// Turns names into addresses.
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host, in the order in which they are to be tried.
    fn lookup(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The system's own resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The TCP connector of all deliveries: resolves, judges every address, and dials exactly those that were judged. A literal address takes
/// the same way.
#[derive(Debug, Clone)]
pub(crate) struct GuardedConnector {
    guard: Guard,
    resolver: Arc<dyn Resolver>,
}

impl GuardedConnector {
    pub(crate) fn new(guard: Guard, resolver: Arc<dyn Resolver>) -> Self {
        Self { guard, resolver }
    }
}

impl Service<ConnectInfo<Uri>> for GuardedConnector {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, asked: ConnectInfo<Uri>) -> Self::Future {
        let Self { guard, resolver } = self.clone();
        Box::pin(async move {
            let host = asked
                .hostname()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let port = asked.port();
            let addresses = match host.parse::<IpAddr>() {
                Ok(address) => vec![SocketAddr::new(address, port)],
                Err(_) => resolver
                    .lookup(&host, port)
                    .await
                    .map_err(|error| ConnectError::Resolver(Box::new(error)))?,
            };
            if addresses.is_empty() {
                return Err(ConnectError::NoRecords);
            }
            // One bad address is enough: a name with a public and a private one is a trick.
            for address in &addresses {
                guard
                    .admits(&host, address.ip())
                    .map_err(|refused| ConnectError::Io(io::Error::new(io::ErrorKind::PermissionDenied, refused)))?;
            }
            TcpConnector::default().service().call(asked.set_addrs(addresses)).await
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strict() -> Guard {
        Guard::new(Vec::new(), |_| false)
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_dialled() {
        for (address, kind) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("169.254.0.1", "link-local"),
            ("169.254.169.254", "metadata"),
            ("100.64.0.1", "carrier-grade"),
            ("100.100.100.200", "carrier-grade"),
            ("192.0.0.192", "protocol"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::127.0.0.1", "IPv4-compatible"),
            ("::8.8.8.8", "IPv4-compatible"),
            ("::ffff:0:127.0.0.1", "IPv4-translated"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "metadata"),
            ("64:ff9b:1::1", "local NAT64"),
            ("100::1", "discard"),
            ("2001::1", "Teredo"),
            ("2001:2::1", "benchmarking"),
            ("2001:10::1", "ORCHID"),
            ("2001:20::1", "ORCHID"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("fc00::1", "unique local"),
            ("fdff::1", "unique local"),
            ("fd00:ec2::254", "metadata"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("1::1", "reserved"),
            ("4000::1", "reserved"),
            ("5f00::1", "segment routing"),
        ] {
            let parsed = address.parse().expect("an address");
            let refused = strict().admits(address, parsed).expect_err(address).to_string();
            assert!(refused.contains(kind), "{address}: {refused}");
            assert!(refused.contains("outbound.allow"), "{refused}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "3ffe::1",
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(strict().admits(address, parsed), Ok(()), "{address}");
        }
    }

    #[test]
    fn an_operator_may_allow_a_host_or_a_network() {
        let private: IpAddr = "10.1.2.3".parse().expect("an address");
        let by_name = Guard::new(vec!["Hooks.Internal".into()], |_| false);
        assert_eq!(by_name.admits("hooks.internal", private), Ok(()));
        assert_eq!(by_name.admits("HOOKS.internal.", private), Ok(()));
        assert!(by_name.admits("evil.hooks.internal", private).is_err());
        assert!(by_name.admits("hooks.internal.evil", private).is_err());
        let by_network = Guard::new(Vec::new(), move |address| address == private);
        assert_eq!(by_network.admits("anything", private), Ok(()));
        assert!(by_network.admits("anything", Ipv4Addr::LOCALHOST.into()).is_err());
    }

    proptest! {
        #[test]
        fn notation_changes_nothing(bits in any::<u32>()) {
            let plain = Ipv4Addr::from(bits);
            let judged = strict().admits("h", plain.into()).is_ok();
            prop_assert_eq!(strict().admits("h", plain.to_ipv6_mapped().into()).is_ok(), judged);
        }

        #[test]
        fn any_address_is_judged(bits in any::<u128>()) {
            let address = Ipv6Addr::from(bits);
            let outside = address.segments()[0] & 0xe000 != 0x2000;
            let by_nat64 = address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            prop_assert!(!outside || by_nat64 || strict().admits("h", address.into()).is_err());
        }
    }
}
