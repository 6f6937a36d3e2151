//! The words that settings are written in: sizes, times, addresses, networks. Pure; opens no file and no connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use actors::domain::{ManagedRepos, SampleRatio, Secret};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the word it was taken for: what is wrong and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Unreadable {
    fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Settings spell these types as texts.
macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

as_text!(Size, Period, Listen, HttpUrl, Network, Reachable, VariableName, Word);

/// A number of bytes: `1048576`, `64KiB`, `16MiB`, `1GB`. Units with an `i` count in 1,024, the others in 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

impl Size {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let refuse = || {
            Unreadable::new(format!(
                "{} is no size; write bytes, or a whole number with a unit as in 64KiB, 16MiB or 1GB",
                quoted(text)
            ))
        };
        let (number, unit) = split_number(text.trim()).ok_or_else(refuse)?;
        let unit = unit.trim_start().to_ascii_lowercase();
        let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
        number.checked_mul(*factor).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 > 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A length of time: `500ms`, `30s`, `10m`, `1h30m`, `2d`. A number alone is refused, for nobody could tell its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// From the longest to the shortest, in milliseconds.
const PERIODS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Period {
    /// The length of time.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let refuse = || {
            Unreadable::new(format!(
                "{} is no length of time; write whole numbers with units as in 500ms, 30s, 10m or 1h30m",
                quoted(text)
            ))
        };
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut above = u64::MAX;
        while !rest.is_empty() {
            let (number, after) = split_number(rest).ok_or_else(refuse)?;
            let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let (_, factor) = PERIODS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
            // From the longest unit to the shortest, each once: `30m1h` is more likely a slip than a wish.
            if *factor >= above {
                return Err(refuse());
            }
            above = *factor;
            total = number
                .checked_mul(*factor)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(refuse)?;
            rest = after;
        }
        if above == u64::MAX {
            return Err(refuse());
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in PERIODS {
            if rest >= *factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// An address and port to listen on: `127.0.0.1:8644`, `[::1]:8644`, `localhost:8644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl Listen {
    /// The address; port 0 means any free one.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }

    /// The same port at another address.
    ///
    /// # Errors
    /// When the text is neither an IP address nor `localhost`.
    pub fn at_host(self, text: &str) -> Result<Self, Unreadable> {
        let host = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        let ip = if host.eq_ignore_ascii_case("localhost") {
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        } else {
            host.parse().ok()
        };
        ip.map(|ip| Self(SocketAddr::new(ip, self.0.port()))).ok_or_else(|| {
            Unreadable::new(format!(
                "{} is no IP address; write one as in 127.0.0.1 or 0.0.0.0",
                quoted(text)
            ))
        })
    }

    /// The same address at another port.
    ///
    /// # Errors
    /// When the text is no number from 0 to 65535.
    pub fn at_port(self, text: &str) -> Result<Self, Unreadable> {
        match text.parse() {
            Ok(port) if !text.starts_with('+') => Ok(Self(SocketAddr::new(self.0.ip(), port))),
            _ => Err(Unreadable::new(format!(
                "{} is no port; write a number from 0 to 65535",
                quoted(text)
            ))),
        }
    }
}

impl FromStr for Listen {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        if let Ok(addr) = text.parse() {
            return Ok(Self(addr));
        }
        text.rsplit_once(':')
            .filter(|(host, _)| host.eq_ignore_ascii_case("localhost"))
            .and_then(|(_, port)| port.parse().ok())
            .map(|port| Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
            .ok_or_else(|| {
                Unreadable::new(format!(
                    "{} is no address to listen on; write address and port as in 127.0.0.1:8644",
                    quoted(text)
                ))
            })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An `http` or `https` URL without account, query, fragment or final slash. Never quoted in a mistake: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(url::Url);

impl HttpUrl {
    /// The URL. Its path is `/` where none was given, as always with this type.
    #[must_use]
    pub fn url(&self) -> &url::Url {
        &self.0
    }

    /// Whether it is an `https` URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl FromStr for HttpUrl {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut url = url::Url::parse(text.trim()).map_err(|error| {
            Unreadable::new(format!("is no URL ({error}); write one as in https://bot.example.com"))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Unreadable::new("is no http URL; begin it with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unreadable::new(
                "has an account in its URL, where it would be shown to everybody; remove what is before the @",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Unreadable::new(
                "has a query or fragment; end the URL before the ? or #",
            ));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// An address or a network: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is in it. An IPv4 address is the same whether or not it is written as IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let masked = |bits: u128, width: u8| match width - self.bits {
            rest if rest >= 128 => 0,
            rest => bits >> rest,
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                masked(u128::from(u32::from(ours)), 32) == masked(u128::from(u32::from(theirs)), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => masked(ours.into(), 128) == masked(theirs.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let refuse = || {
            Unreadable::new(format!(
                "{} is no address or network; write one as in 10.1.2.3 or 10.0.0.0/8",
                quoted(text)
            ))
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| refuse())?,
            Some(_) => return Err(refuse()),
        };
        if bits > width {
            return Err(refuse());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == width {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.bits)
        }
    }
}

/// Whom the outbound guard lets through: a host by name, or a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachable {
    /// A host, in lower case, without port.
    Host(String),
    /// An address or a network.
    Network(Network),
}

impl FromStr for Reachable {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        // A name of digits alone at the end is a mistyped address, never a host (WHATWG URL, host parsing).
        let numeric = text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if text.len() <= 253 && text.split('.').all(label) && !numeric {
            return Ok(Self::Host(text.to_ascii_lowercase()));
        }
        Err(Unreadable::new(format!(
            "{} is no host, address or network; write one without scheme, port and path, as in hooks.internal or 10.0.0.0/8",
            quoted(text)
        )))
    }
}

impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Network(network) => fmt::Display::fmt(network, f),
        }
    }
}

/// A share, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(SampleRatio);

impl Ratio {
    /// As a rule about traces.
    #[must_use]
    pub fn of_traces(self) -> SampleRatio {
        self.0
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 1")
            }

            fn visit_f64<E>(self, number: f64) -> Result<f64, E> {
                Ok(number)
            }

            fn visit_u64<E>(self, number: u64) -> Result<f64, E> {
                Ok(u32::try_from(number).map_or(f64::INFINITY, f64::from))
            }

            fn visit_i64<E>(self, _: i64) -> Result<f64, E> {
                Ok(f64::NEG_INFINITY)
            }
        }
        let number = deserializer.deserialize_f64(Number)?;
        number.to_string().parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.number())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A header as OpenTelemetry's own variable has it, `name=value` with a percent-encoded value: its name and its value.
/// Nothing where the text is no header. Never quoted in a mistake: its value is a key.
#[must_use]
pub fn header(text: &Secret) -> Option<(String, Secret)> {
    let (name, value) = text.expose().split_once('=')?;
    let name = name.trim();
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let of_a_name = |c: u8| c.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&c);
    let sound = !name.is_empty()
        && name.bytes().all(of_a_name)
        && !value.is_empty()
        && value.bytes().all(|c| (b' '..0x7f).contains(&c));
    sound.then(|| (name.to_ascii_lowercase(), Secret::new(value)))
}

/// The name of an environment variable. Never quoted in a mistake: whoever writes `KEY=value` wrote a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName(String);

impl VariableName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        if text.contains('=') {
            return Err(Unreadable::new(
                "gives a value to a variable; write the name alone and set the value in Firstlight's own environment",
            ));
        }
        let named = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if text.is_empty() || !named || text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Unreadable::new("is no name of a variable; use letters, digits and _"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name in one piece: not empty, no space in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl Word {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        if text.is_empty() {
            return Err(Unreadable::new("is empty; write a name or remove it"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',') {
            return Err(Unreadable::new(format!(
                "{} is more than one name; write each as an item of its own",
                quoted(text)
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The managed list as it was written, beside the rule that it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepoPatterns {
    written: Vec<String>,
    rule: ManagedRepos,
}

impl RepoPatterns {
    /// The rule that decides.
    #[must_use]
    pub fn rule(&self) -> &ManagedRepos {
        &self.rule
    }

    /// The patterns as they were written.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }
}

impl<'de> Deserialize<'de> for RepoPatterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Vec::<String>::deserialize(deserializer)?;
        let rule = ManagedRepos::parse(written.iter().map(String::as_str)).map_err(|error| {
            serde::de::Error::custom(format!(
                "{} is no pattern for repositories; write owner/name, owner/* or *",
                quoted(&error.text)
            ))
        })?;
        Ok(Self { written, rule })
    }
}

impl Serialize for RepoPatterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

/// Leading digits as a number, and the rest.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// What was written, fit for one line of a message.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        let table = [
            ("0", Some(0)),
            ("1048576", Some(1_048_576)),
            ("64KiB", Some(65_536)),
            ("128MiB", Some(134_217_728)),
            ("128 mib", Some(134_217_728)),
            ("1GB", Some(1_000_000_000)),
            ("5kB", Some(5_000)),
            ("7B", Some(7)),
            ("1.5MiB", None),
            ("MiB", None),
            ("-1", None),
            ("12 parsecs", None),
            ("99999999999999999999", None),
            ("18446744073709551615GiB", None),
            ("", None),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse::<Size>().ok().map(Size::bytes), bytes, "{text}");
        }
    }

    #[test]
    fn times_are_read_with_their_units_only() {
        let table = [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("1s500ms", Some(1_500)),
            ("0s", Some(0)),
            ("30", None),
            ("", None),
            ("m", None),
            ("30m1h", None),
            ("1m1m", None),
            ("1 fortnight", None),
            ("-5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, millis) in table {
            let read = text.parse::<Period>().ok().map(|period| period.duration().as_millis());
            assert_eq!(read, millis, "{text}");
        }
    }

    #[test]
    fn addresses_to_listen_on_name_address_and_port() {
        let table = [
            ("127.0.0.1:8644", Some(("127.0.0.1:8644", true))),
            ("[::1]:1", Some(("[::1]:1", true))),
            ("localhost:80", Some(("127.0.0.1:80", true))),
            ("[::ffff:127.0.0.1]:1", Some(("[::ffff:127.0.0.1]:1", true))),
            ("0.0.0.0:0", Some(("0.0.0.0:0", false))),
            ("[::]:80", Some(("[::]:80", false))),
            ("8644", None),
            ("example.com:80", None),
            ("127.0.0.1", None),
            ("127.0.0.1:99999", None),
        ];
        for (text, expected) in table {
            let read = text.parse::<Listen>().ok();
            let read = read.map(|listen| (listen.to_string(), listen.is_loopback()));
            assert_eq!(
                read,
                expected.map(|(text, loopback)| (text.to_owned(), loopback)),
                "{text}"
            );
        }
        let listen: Listen = "127.0.0.1:8644".parse().expect("an address");
        assert_eq!(listen.at_port("9").map(|l| l.to_string()), Ok("127.0.0.1:9".to_owned()));
        assert_eq!(listen.at_host("::").map(|l| l.to_string()), Ok("[::]:8644".to_owned()));
        assert!(listen.at_port("+9").is_err() && listen.at_port("70000").is_err());
        assert!(listen.at_host("my-laptop").is_err());
    }

    #[test]
    fn urls_lose_their_final_slash_and_keep_no_account() {
        let table = [
            ("https://bot.example.com/", Some("https://bot.example.com")),
            ("http://127.0.0.1:9000/api/v3/", Some("http://127.0.0.1:9000/api/v3")),
            ("https://user:canary@host/", None),
            ("ftp://host", None),
            ("bot.example.com", None),
            ("https://host/?a=canary", None),
            ("https://host/#canary", None),
        ];
        for (text, expected) in table {
            let read = text.parse::<HttpUrl>();
            assert_eq!(
                read.as_ref().ok().map(ToString::to_string).as_deref(),
                expected,
                "{text}"
            );
            if let Err(problem) = read {
                assert!(!problem.to_string().contains("canary"), "{problem}");
            }
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let table = [
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
        ];
        for (network, address, inside) in table {
            let read: Network = network.parse().expect("a network");
            assert_eq!(
                read.contains(address.parse().expect("an address")),
                inside,
                "{network} {address}"
            );
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "fd00::/129",
            "host",
            "10.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whom_the_guard_lets_through_is_a_host_or_a_network() {
        for good in [
            "hooks.internal",
            "LOCALHOST",
            "10.0.0.0/8",
            "::1",
            "my_host",
            "xn--bcher-kva.example",
        ] {
            assert!(good.parse::<Reachable>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "http://host",
            "host:80",
            "host/path",
            "1.2.3",
            "10.0.0.0/99",
            "*.host",
            "-a",
            "a..b",
        ] {
            assert!(bad.parse::<Reachable>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_is_named_and_not_set() {
        assert!("MY_KEY2".parse::<VariableName>().is_ok());
        for bad in ["", "2A", "MY-KEY", "KEY=canary", "A B"] {
            let problem = bad.parse::<VariableName>().expect_err("refused").to_string();
            assert!(!problem.contains("canary"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(bytes in any::<u64>(), millis in 0..u64::MAX) {
            let size = Size(bytes);
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }

        #[test]
        fn no_text_makes_a_unit_panic(text in any::<String>()) {
            let _ = (text.parse::<Size>(), text.parse::<Period>(), text.parse::<Listen>(), text.parse::<HttpUrl>());
            let _ = (text.parse::<Reachable>(), text.parse::<VariableName>(), text.parse::<Word>());
        }
    }
}
