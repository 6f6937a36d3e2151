//! Why a signature does not fit: the likely cause, out of the request itself and the configured secrets. Pure; knows no clock and no I/O.
//!
//! Each cause that can be proved is proved: what may have happened on the way is undone, and the signature is held against the
//! result. What cannot be undone (a body that ends early) is told by its traces. Nothing here quotes a secret, a signature or a body.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use constant_time_eq::constant_time_eq_32;
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::Sha256;

use super::rewrite::{self, Reading};
use super::verify::keyed;
use crate::domain::Secret;

/// Secrets that are tried; nobody rotates between more.
const MOST_SECRETS: usize = 8;
/// The largest body that is unpacked, in bytes: a few bytes can be made to swell to gigabytes.
const LARGEST_UNPACKED: usize = 1024 * 1024;

/// A request whose signature did not fit.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// All headers, names in lower case, in their order.
    pub headers: &'a [(String, String)],
    /// The raw body; absent where it was not read, or is too long to be looked into.
    pub body: Option<&'a [u8]>,
}

/// What is wrong with the header itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// It is there and says nothing.
    Empty,
    /// No `sha256=` in front.
    NoPrefix,
    /// A SHA-1 signature.
    Sha1,
    /// Hexadecimal digits or prefix in upper case.
    UpperCase,
    /// Quotes or blanks around it.
    Wrapped,
    /// Base64 instead of hexadecimal digits.
    Base64,
    /// Not 64 digits.
    Length,
    /// No hexadecimal number.
    NotHex,
}

/// What is wrong with the secret, here or at the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFault {
    /// Blanks or a line end around the one that is configured here.
    BlanksHere,
    /// A line end behind the sender's.
    BlanksThere,
    /// Quotes around the one that is configured here.
    QuotesHere,
    /// Quotes around the sender's.
    QuotesThere,
    /// The sender's has a comma in it, which separates secrets here.
    Comma,
    /// The sender takes it for hexadecimal or base64 and signs with the bytes.
    Decoded,
    /// It is percent-encoded on one side.
    Percent,
    /// The sender signs with an empty one.
    EmptyThere,
}

/// The likely cause of a signature that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No header that could be a signature.
    NoSignature,
    /// Only `X-Hub-Signature`, the older SHA-1 one.
    OnlySha1,
    /// Nothing in `X-Hub-Signature-256`, but in this one.
    OtherHeader(&'static str),
    /// The header came more than once.
    Several,
    /// The header is not written as GitHub writes it.
    Header(HeaderFault),
    /// The secret is not written the same on both sides.
    Secret(SecretFault),
    /// A line end or blanks were added to the body's end or beginning.
    EndAdded,
    /// A line end was taken off the body's end.
    EndRemoved,
    /// A byte order mark was added or removed.
    ByteOrderMark,
    /// Line ends were converted.
    LineEnds,
    /// The signed JSON was put into a form on the way.
    FormPacked,
    /// The signed form was unpacked on the way.
    FormUnpacked,
    /// The signed form was encoded anew on the way.
    FormRewritten,
    /// The JSON was read and written anew on the way.
    Reserialised,
    /// The JSON's keys were sorted on the way.
    KeysSorted,
    /// The body was compressed on the way.
    Compressed,
    /// The body came compressed and was unpacked before it got here.
    Unpacked,
    /// The body ends early.
    Truncated,
    /// The body's characters were converted.
    Recoded,
    /// There is no body.
    NoBody,
    /// The sender signed an empty body.
    SignedNothing,
    /// The body was not looked into.
    NotLookedInto,
    /// None of these: signed with a secret that is not configured here.
    AnotherSecret {
        /// Whether the sender calls itself GitHub's.
        from_github: bool,
    },
}

/// Where other forges, older servers and proxies put a signature.
const ELSEWHERE: &[&str] = &[
    "x-signature-256",
    "x-signature",
    "x-webhook-signature",
    "x-hub-signature-512",
    "x-gitea-signature",
    "x-forgejo-signature",
    "x-gogs-signature",
    "x-gitlab-token",
    "x-bitbucket-signature",
    "x-ams-signature",
    "x-slack-signature",
    "webhook-signature",
    "x-original-hub-signature-256",
    "x-forwarded-hub-signature-256",
    "http-x-hub-signature-256",
    "x_hub_signature_256",
];

/// The likely cause; nothing, if the signature fits after all.
#[must_use]
pub fn diagnose(refused: &Refused<'_>, secrets: &[Secret]) -> Option<Cause> {
    let (digest, fault) = match offered(refused.headers) {
        Ok(offered) => offered,
        Err(cause) => return Some(cause),
    };
    if let Some(fault) = fault {
        // Enough to be refused, whatever else may be wrong.
        return Some(Cause::Header(fault));
    }
    let Some(body) = refused.body else {
        return Some(Cause::NotLookedInto);
    };
    let search = Search::new(digest, secrets);
    if search.fits(body) {
        return None;
    }
    let cause = search
        .other_keys(secrets, body)
        .or_else(|| search.changed_bytes(body))
        .or_else(|| search.form(body))
        .or_else(|| search.packed(body))
        .or_else(|| search.recoded(body))
        .or_else(|| search.reserialised(body))
        .or_else(|| traces(refused.headers, body))
        .unwrap_or_else(|| Cause::AnotherSecret {
            from_github: header(refused.headers, "user-agent")
                .is_some_and(|agent| agent.starts_with("GitHub-Hookshot/")),
        });
    Some(cause)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// The digest that was offered, and what is wrong with how it is written.
fn offered(headers: &[(String, String)]) -> Result<([u8; 32], Option<HeaderFault>), Cause> {
    let mut offered = headers.iter().filter(|(name, _)| name == "x-hub-signature-256");
    let Some((_, text)) = offered.next() else {
        let there = |name: &&&str| header(headers, name).is_some();
        return Err(match ELSEWHERE.iter().find(there) {
            Some(name) => Cause::OtherHeader(name),
            None if header(headers, "x-hub-signature").is_some() => Cause::OnlySha1,
            None => Cause::NoSignature,
        });
    };
    if offered.next().is_some() {
        return Err(Cause::Several);
    }
    read(text).map_err(Cause::Header)
}

fn read(text: &str) -> Result<([u8; 32], Option<HeaderFault>), HeaderFault> {
    let inner = text.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    if inner.is_empty() {
        return Err(HeaderFault::Empty);
    }
    let lower = inner.to_ascii_lowercase();
    if lower.starts_with("sha1=") {
        return Err(HeaderFault::Sha1);
    }
    let (digits, prefixed) = match lower.strip_prefix("sha256=") {
        Some(digits) => (digits, true),
        None => (lower.as_str(), false),
    };
    let as_base64 = || {
        let written = inner.get(inner.len() - digits.len()..)?;
        STANDARD.decode(written).ok()?.try_into().ok()
    };
    let mut digest = [0; 32];
    if digits.len() == 64 && hex::decode_to_slice(digits, &mut digest).is_ok() {
        let fault = if !prefixed {
            Some(HeaderFault::NoPrefix)
        } else if inner != text {
            Some(HeaderFault::Wrapped)
        } else if inner != lower {
            Some(HeaderFault::UpperCase)
        } else {
            None
        };
        Ok((digest, fault))
    } else if let Some(digest) = as_base64() {
        Ok((digest, Some(HeaderFault::Base64)))
    } else if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        Err(HeaderFault::Length)
    } else {
        Err(HeaderFault::NotHex)
    }
}

/// What fits the signature is looked for among these.
struct Search {
    digest: [u8; 32],
    keys: Vec<Hmac<Sha256>>,
}

impl Search {
    fn new(digest: [u8; 32], secrets: &[Secret]) -> Self {
        let keys = secrets.iter().take(MOST_SECRETS);
        Self {
            digest,
            keys: keys.map(|secret| keyed(secret.expose().as_bytes())).collect(),
        }
    }

    fn fits(&self, body: &[u8]) -> bool {
        self.keys.iter().any(|key| self.fits_under(key, body))
    }

    fn fits_under(&self, key: &Hmac<Sha256>, body: &[u8]) -> bool {
        let made: [u8; 32] = key.clone().chain_update(body).finalize().into_bytes().into();
        constant_time_eq_32(&made, &self.digest)
    }

    /// The first of these bodies that fits.
    fn first<'a>(&self, bodies: impl IntoIterator<Item = (Cause, Cow<'a, [u8]>)>) -> Option<Cause> {
        let mut bodies = bodies.into_iter();
        bodies.find(|(_, body)| self.fits(body)).map(|(cause, _)| cause)
    }

    fn other_keys(&self, secrets: &[Secret], body: &[u8]) -> Option<Cause> {
        let mut tried: Vec<(SecretFault, Vec<u8>)> = vec![(SecretFault::EmptyThere, Vec::new())];
        for secret in secrets.iter().take(MOST_SECRETS).map(Secret::expose) {
            let mut add = |fault, key: &[u8]| {
                if key != secret.as_bytes() && !key.is_empty() {
                    tried.push((fault, key.to_vec()));
                }
            };
            add(SecretFault::BlanksHere, secret.trim().as_bytes());
            for quote in ['"', '\'', '`'] {
                let inner = secret
                    .trim()
                    .strip_prefix(quote)
                    .and_then(|rest| rest.strip_suffix(quote));
                add(SecretFault::QuotesHere, inner.unwrap_or(secret).as_bytes());
                add(SecretFault::QuotesThere, format!("{quote}{secret}{quote}").as_bytes());
            }
            for end in ["\n", "\r\n", " "] {
                add(SecretFault::BlanksThere, format!("{secret}{end}").as_bytes());
            }
            if let Ok(bytes) = hex::decode(secret) {
                add(SecretFault::Decoded, &bytes);
            }
            if let Ok(bytes) = STANDARD.decode(secret) {
                add(SecretFault::Decoded, &bytes);
            }
            add(SecretFault::Percent, &percent_decode_str(secret).collect::<Vec<_>>());
            let encoded = percent_encode(secret.as_bytes(), UNRESERVED).to_string();
            add(SecretFault::Percent, encoded.as_bytes());
        }
        if secrets.len() > 1 {
            let texts: Vec<_> = secrets.iter().map(Secret::expose).collect();
            for between in [",", ", "] {
                tried.push((SecretFault::Comma, texts.join(between).into_bytes()));
            }
        }
        let fits = tried.into_iter().find(|(_, key)| self.fits_under(&keyed(key), body));
        fits.map(|(fault, _)| Cause::Secret(fault))
    }

    fn changed_bytes(&self, body: &[u8]) -> Option<Cause> {
        if body.is_empty() {
            return Some(Cause::NoBody);
        }
        let with = |before: &[u8], after: &[u8]| Cow::Owned([before, body, after].concat());
        let mut bodies = vec![
            (Cause::SignedNothing, Cow::Borrowed(&b""[..])),
            (Cause::EndAdded, Cow::Borrowed(body.trim_ascii_end())),
            (Cause::EndAdded, Cow::Borrowed(body.trim_ascii())),
            (Cause::EndRemoved, with(b"", b"\n")),
            (Cause::EndRemoved, with(b"", b"\r\n")),
            (Cause::ByteOrderMark, with(MARK, b"")),
        ];
        // One of two line ends may have been there from the beginning.
        bodies.extend(
            body.strip_suffix(b"\n")
                .map(|cut| (Cause::EndAdded, Cow::Borrowed(cut))),
        );
        bodies.extend(
            body.strip_prefix(MARK)
                .map(|cut| (Cause::ByteOrderMark, Cow::Borrowed(cut))),
        );
        if body.contains(&b'\n') {
            let lf: Vec<u8> = rewrite::without_returns(body);
            let crlf = rewrite::with_returns(&lf);
            bodies.push((Cause::LineEnds, Cow::Owned(lf)));
            bodies.push((Cause::LineEnds, Cow::Owned(crlf)));
        }
        self.first(bodies)
    }

    fn form(&self, body: &[u8]) -> Option<Cause> {
        if body.starts_with(b"payload=") || body.windows(9).any(|window| window == b"&payload=") {
            let (_, payload) = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
            let rewritten = forms(payload.as_bytes()).map(|form| (Cause::FormRewritten, Cow::Owned(form)));
            let packed = (Cause::FormPacked, Cow::Borrowed(payload.as_bytes()));
            return self.first(std::iter::once(packed).chain(rewritten));
        }
        self.first(forms(body).map(|form| (Cause::FormUnpacked, Cow::Owned(form))))
    }

    fn packed(&self, body: &[u8]) -> Option<Cause> {
        // What GitHub sends is never compressed, so these first bytes are proof enough.
        if body.starts_with(&[0x1f, 0x8b, 8]) {
            return Some(Cause::Compressed);
        }
        // zlib's, which is what "deflate" means: the first byte says so, and both together are a multiple of 31.
        let [first, second, ..] = body else { return None };
        let zlib = first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0;
        let unpacked = zlib
            .then(|| miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, LARGEST_UNPACKED).ok())
            .flatten()?;
        self.first([(Cause::Compressed, Cow::Owned(unpacked))])
    }

    fn recoded(&self, body: &[u8]) -> Option<Cause> {
        let latin1 = || body.iter().map(|byte| char::from(*byte)).collect::<String>();
        let as_bytes = |text: &str| {
            text.chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect::<Option<Vec<u8>>>()
        };
        let utf16 = |unit: fn([u8; 2]) -> u16| {
            let units: Vec<u16> = body.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
            let text = String::from_utf16(&units).ok()?;
            Some(text.trim_start_matches('\u{feff}').to_owned())
        };
        let tried = [
            // The receiver was given UTF-8 made of what had been taken for Latin-1.
            std::str::from_utf8(body)
                .ok()
                .filter(|text| !text.is_ascii())
                .and_then(as_bytes),
            // It was given Latin-1 made of UTF-8.
            (!body.is_ascii()).then(|| latin1().into_bytes()),
            utf16(u16::from_le_bytes).map(String::into_bytes),
            utf16(u16::from_be_bytes).map(String::into_bytes),
        ];
        let tried = tried.into_iter().flatten();
        self.first(tried.map(|bytes| (Cause::Recoded, Cow::Owned(bytes))))
    }

    fn reserialised(&self, body: &[u8]) -> Option<Cause> {
        let Reading::Whole(text) = rewrite::read(body) else {
            return None;
        };
        self.first(rewrite::spellings(text).map(|text| (Cause::Reserialised, Cow::Owned(text.into_bytes()))))
    }
}

/// UTF-8's byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// RFC 3986's unreserved characters stay as they are.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// And those that browsers' scripts leave alone.
const OF_SCRIPTS: &AsciiSet = &UNRESERVED
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');

/// A payload as the forms that libraries make of it.
fn forms(payload: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let usual: String = url::form_urlencoded::byte_serialize(payload).collect();
    let strict = percent_encode(payload, UNRESERVED).to_string();
    let scripts = percent_encode(payload, OF_SCRIPTS).to_string();
    let blanks = [
        usual.replace('+', "%20"),
        strict.replace("%20", "+"),
        scripts.replace("%20", "+"),
    ];
    let all = [usual, strict, scripts].into_iter().chain(blanks);
    all.flat_map(|text| [lower_escapes(&text), text])
        .map(|text| format!("payload={text}").into_bytes())
}

/// The same with the digits of its escapes in lower case.
fn lower_escapes(text: &str) -> String {
    let mut digits = 0;
    let lowered = text.chars().map(|c| match (c, digits) {
        ('%', _) => {
            digits = 2;
            c
        }
        (_, 0) => c,
        (_, _) => {
            digits -= 1;
            c.to_ascii_lowercase()
        }
    });
    lowered.collect()
}

/// What cannot be undone is told by its traces.
fn traces(headers: &[(String, String)], body: &[u8]) -> Option<Cause> {
    let announced = header(headers, "content-length").and_then(|length| length.trim().parse::<usize>().ok());
    if announced.is_some_and(|length| length > body.len()) {
        return Some(Cause::Truncated);
    }
    let encoding = header(headers, "content-encoding").map(str::to_ascii_lowercase);
    if encoding.is_some_and(|encoding| !["", "identity"].contains(&encoding.trim())) {
        return Some(Cause::Unpacked);
    }
    match rewrite::read(body) {
        Reading::EndsEarly => Some(Cause::Truncated),
        Reading::Whole(text) if rewrite::keys_are_sorted(text) => Some(Cause::KeysSorted),
        Reading::Whole(text) if text.contains('\u{fffd}') => Some(Cause::Recoded),
        Reading::NotUtf8 => Some(Cause::Recoded),
        Reading::Whole(_) | Reading::NoJson => None,
    }
}

impl fmt::Display for Cause {
    /// The cause in a few words that hold nothing from outside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::NoSignature => "it came without a signature",
            Self::OnlySha1 => "it came with the older X-Hub-Signature alone",
            Self::OtherHeader(name) => return write!(f, "its signature is in another header, {name}"),
            Self::Several => "it came with more than one X-Hub-Signature-256",
            Self::Header(fault) => match fault {
                HeaderFault::Empty => "X-Hub-Signature-256 is empty",
                HeaderFault::NoPrefix => "the signature lacks its sha256= in front",
                HeaderFault::Sha1 => "X-Hub-Signature-256 holds a SHA-1 signature",
                HeaderFault::UpperCase => "the signature is written in upper case",
                HeaderFault::Wrapped => "the signature has quotes or blanks around it",
                HeaderFault::Base64 => "the signature is written in base64",
                HeaderFault::Length => "the signature has not 64 digits",
                HeaderFault::NotHex => "the signature is no hexadecimal number",
            },
            Self::Secret(fault) => match fault {
                SecretFault::BlanksHere => "the secret here has blanks or a line end around it",
                SecretFault::BlanksThere => "the sender's secret ends in a blank or a line end",
                SecretFault::QuotesHere => "the secret here has quotes around it",
                SecretFault::QuotesThere => "the sender's secret has quotes around it",
                SecretFault::Comma => "the sender's secret holds a comma, which separates secrets here",
                SecretFault::Decoded => "the sender signs with the bytes that the secret is an encoding of",
                SecretFault::Percent => "the secret is percent-encoded on one side",
                SecretFault::EmptyThere => "the sender signs with an empty secret",
            },
            Self::EndAdded => "blanks or a line end were added to its body on the way",
            Self::EndRemoved => "the line end of its body was taken off on the way",
            Self::ByteOrderMark => "a byte order mark was added to its body or taken off on the way",
            Self::LineEnds => "the line ends of its body were converted on the way",
            Self::FormPacked => "its JSON was put into a form on the way",
            Self::FormUnpacked => "its form was unpacked on the way",
            Self::FormRewritten => "its form was encoded anew on the way",
            Self::Reserialised => "its JSON was read and written anew on the way",
            Self::KeysSorted => "its JSON was read and written anew on the way, with sorted keys",
            Self::Compressed => "its body was compressed on the way",
            Self::Unpacked => "its body was compressed and has been unpacked on the way",
            Self::Truncated => "its body ends early",
            Self::Recoded => "the characters of its body were converted on the way",
            Self::NoBody => "it came without a body",
            Self::SignedNothing => "the sender signed an empty body",
            Self::NotLookedInto => "its body is too long to be looked into",
            Self::AnotherSecret { from_github: true } => "it was signed with another secret",
            Self::AnotherSecret { from_github: false } => {
                "it was signed with another secret, by a sender that does not call itself GitHub"
            }
        };
        f.write_str(words)
    }
}

impl Cause {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        const PROXY: &str = "make what stands in front (proxy, gateway, function) hand the body on byte for byte";
        match self {
            Self::NoSignature => {
                "set the secret of the webhook on GitHub to WEBHOOK_SECRET, or find what drops the header"
            }
            Self::OnlySha1 => {
                "find what drops X-Hub-Signature-256; GitHub sends both headers, very old Enterprise servers only the other"
            }
            Self::OtherHeader(_) => "let the sender, or what stands in front, use X-Hub-Signature-256 as GitHub does",
            Self::Several => "find what adds the second header",
            Self::Header(HeaderFault::Sha1) => "sign with HMAC-SHA256, as GitHub does for X-Hub-Signature-256",
            Self::Header(_) => "write it as GitHub does: sha256= and 64 hexadecimal digits in lower case",
            Self::Secret(SecretFault::BlanksHere | SecretFault::QuotesHere) => "take them out of WEBHOOK_SECRET",
            Self::Secret(SecretFault::Comma) => "choose a secret without a comma, on GitHub and in WEBHOOK_SECRET",
            Self::Secret(SecretFault::EmptyThere) => "set the secret of the webhook on GitHub to WEBHOOK_SECRET",
            Self::Secret(_) => "enter the secret on GitHub exactly as it stands in WEBHOOK_SECRET",
            Self::FormPacked | Self::FormUnpacked | Self::FormRewritten => {
                "set the webhook's content type on GitHub to application/json, and let nothing in front convert it"
            }
            Self::Truncated => "raise the limit for bodies of what stands in front to 25 MB",
            Self::NoBody | Self::SignedNothing => "look for a redirect or a gateway in front that drops the body",
            Self::NotLookedInto => "compare the secret on GitHub with WEBHOOK_SECRET, or look at a shorter delivery",
            Self::AnotherSecret { from_github: true } => {
                "set WEBHOOK_SECRET to the secret of the webhook on GitHub; while rotating, list both"
            }
            Self::AnotherSecret { from_github: false } => {
                "if it is one of yours, set WEBHOOK_SECRET to its secret; if not, there is nothing to do"
            }
            Self::EndAdded
            | Self::EndRemoved
            | Self::ByteOrderMark
            | Self::LineEnds
            | Self::Reserialised
            | Self::KeysSorted
            | Self::Compressed
            | Self::Unpacked
            | Self::Recoded => PROXY,
        }
    }

    /// Whether the secret is the right one, so that something else is at fault.
    #[must_use]
    pub fn clears_the_secret(&self) -> bool {
        matches!(
            self,
            Self::EndAdded
                | Self::EndRemoved
                | Self::ByteOrderMark
                | Self::LineEnds
                | Self::FormPacked
                | Self::FormUnpacked
                | Self::FormRewritten
                | Self::Reserialised
        )
    }
}
