//! What is said of a signature that does not fit: a table of what happens on the way, and properties over any body.

use proptest::prelude::*;

use super::diagnose::{Cause, HeaderFault, Refused, SecretFault, diagnose};
use super::verify::{SignatureKeys, sign};
use crate::domain::Secret;

const SECRET: &str = "s3cret-of-the-tests";
/// Has what spellings differ in: a slash, an accent, an emoji, an angle, keys out of order.
const BODY: &str = "{\"zen\":\"Keep it <simple> / é 😀\",\"hook\":{\"url\":\"https://example.com/x\",\"id\":7,\"config\":{}},\"action\":\"opened\"}";

fn with(mut headers: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    headers.retain(|(known, _)| known != name);
    headers.push((name.to_owned(), value.to_owned()));
    headers
}

/// The headers of GitHub's delivery of this body.
fn headers(secret: &str, signed: &[u8]) -> Vec<(String, String)> {
    let signature = sign(&Secret::new(secret), signed);
    [
        ("content-type", "application/json"),
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("x-github-event", "ping"),
        ("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
        ("x-hub-signature-256", &signature),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn says(headers: &[(String, String)], body: &[u8], secrets: &[&str]) -> Option<Cause> {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    diagnose(
        &Refused {
            headers,
            body: Some(body),
        },
        &secrets,
    )
}

/// What is said when GitHub signed one body and another came.
fn arrived(signed: &[u8], came: &[u8]) -> Option<Cause> {
    says(&headers(SECRET, signed), came, &["an older one", SECRET])
}

fn pretty() -> String {
    let value: serde_json::Value = serde_json::from_str(BODY).expect("JSON");
    serde_json::to_string_pretty(&value).expect("text")
}

fn form(payload: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", payload)
        .finish()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    packed.extend(miniz_oxide::deflate::compress_to_vec(body, 6));
    packed
}

#[test]
fn what_changed_the_body_on_the_way_is_named() {
    let body = BODY.as_bytes();
    let latin1: Vec<u8> = "{\"a\":\"é\"}".chars().map(|c| c as u8).collect();
    let mojibake: String = "{\"a\":\"é\"}".bytes().map(char::from).collect();
    let utf16: Vec<u8> = format!("\u{feff}{BODY}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let table: Vec<(Vec<u8>, Vec<u8>, Option<Cause>)> = vec![
        (body.into(), body.into(), None),
        (body.into(), format!("{BODY}\n").into(), Some(Cause::EndAdded)),
        (
            format!("{BODY}\n").into(),
            format!("{BODY}\n\n").into(),
            Some(Cause::EndAdded),
        ),
        (body.into(), format!("  {BODY}\r\n").into(), Some(Cause::EndAdded)),
        (format!("{BODY}\n").into(), body.into(), Some(Cause::EndRemoved)),
        (format!("{BODY}\r\n").into(), body.into(), Some(Cause::EndRemoved)),
        (
            body.into(),
            format!("\u{feff}{BODY}").into(),
            Some(Cause::ByteOrderMark),
        ),
        (
            format!("\u{feff}{BODY}").into(),
            body.into(),
            Some(Cause::ByteOrderMark),
        ),
        (b"{\n}".into(), b"{\r\n}".into(), Some(Cause::LineEnds)),
        (
            b"{\r\n \"a\":1\r\n}".into(),
            b"{\n \"a\":1\n}".into(),
            Some(Cause::LineEnds),
        ),
        (body.into(), pretty().into(), Some(Cause::Reserialised)),
        (pretty().into(), body.into(), Some(Cause::Reserialised)),
        (body.into(), BODY.replace('/', "\\/").into(), Some(Cause::Reserialised)),
        (BODY.replace('/', "\\/").into(), body.into(), Some(Cause::Reserialised)),
        (
            body.into(),
            BODY.replace('é', "\\u00e9").replace('😀', "\\ud83d\\ude00").into(),
            Some(Cause::Reserialised),
        ),
        (
            body.into(),
            BODY.replace('<', "\\u003c").replace('>', "\\u003e").into(),
            Some(Cause::Reserialised),
        ),
        (
            body.into(),
            BODY.replace(':', ": ").replace("https: ", "https:").into(),
            Some(Cause::Reserialised),
        ),
        (body.into(), form(BODY).into(), Some(Cause::FormPacked)),
        (form(BODY).into(), body.into(), Some(Cause::FormUnpacked)),
        (
            form(BODY).into(),
            form(BODY).replace('+', "%20").into(),
            Some(Cause::FormRewritten),
        ),
        (
            form(BODY).to_lowercase().into(),
            form(&BODY.to_lowercase()).into(),
            Some(Cause::FormRewritten),
        ),
        (body.into(), gzip(body), Some(Cause::Compressed)),
        (
            body.into(),
            miniz_oxide::deflate::compress_to_vec_zlib(body, 6),
            Some(Cause::Compressed),
        ),
        (body.into(), body[..body.len() - 20].into(), Some(Cause::Truncated)),
        (body.into(), body[..1].into(), Some(Cause::Truncated)),
        ("{\"a\":\"é\"}".into(), mojibake.into(), Some(Cause::Recoded)),
        ("{\"a\":\"é\"}".into(), latin1.clone(), Some(Cause::Recoded)),
        (latin1, "{\"a\":\"é\"}".into(), Some(Cause::Recoded)),
        (body.into(), utf16, Some(Cause::Recoded)),
        (body.into(), BODY.replace('é', "\u{fffd}").into(), Some(Cause::Recoded)),
        (body.into(), Vec::new(), Some(Cause::NoBody)),
        (Vec::new(), body.into(), Some(Cause::SignedNothing)),
        (
            b"another body".into(),
            body.into(),
            Some(Cause::AnotherSecret { from_github: true }),
        ),
    ];
    for (signed, came, expected) in table {
        let (signed, came) = (&signed[..], &came[..]);
        let shown = String::from_utf8_lossy(came).into_owned();
        assert_eq!(arrived(signed, came), expected, "{shown}");
    }
}

#[test]
fn what_is_wrong_with_the_header_is_named() {
    let good = headers(SECRET, BODY.as_bytes());
    let signature = good.last().expect("signed").1.clone();
    let digits = &signature[7..];
    let as_base64 = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        hex::decode(digits).expect("hex"),
    );
    let table = [
        (signature.clone(), None),
        (String::new(), Some(HeaderFault::Empty)),
        ("  ".to_owned(), Some(HeaderFault::Empty)),
        (digits.to_owned(), Some(HeaderFault::NoPrefix)),
        (
            format!("sha256={}", digits.to_uppercase()),
            Some(HeaderFault::UpperCase),
        ),
        (format!("SHA256={digits}"), Some(HeaderFault::UpperCase)),
        (format!("\"{signature}\""), Some(HeaderFault::Wrapped)),
        (format!("{signature} "), Some(HeaderFault::Wrapped)),
        (format!("sha256={as_base64}"), Some(HeaderFault::Base64)),
        (as_base64, Some(HeaderFault::Base64)),
        (signature[..signature.len() - 1].to_owned(), Some(HeaderFault::Length)),
        ("sha256=".to_owned(), Some(HeaderFault::Length)),
        (format!("{signature}00"), Some(HeaderFault::Length)),
        (format!("{signature}, {signature}"), Some(HeaderFault::NotHex)),
        (
            "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6".to_owned(),
            Some(HeaderFault::Sha1),
        ),
        ("hunter2 is my password".to_owned(), Some(HeaderFault::NotHex)),
    ];
    for (header, fault) in table {
        let bent = with(good.clone(), "x-hub-signature-256", &header);
        assert_eq!(
            says(&bent, BODY.as_bytes(), &[SECRET]),
            fault.map(Cause::Header),
            "{header}"
        );
    }
    let mut twice = good.clone();
    twice.push(("x-hub-signature-256".into(), signature));
    assert_eq!(says(&twice, BODY.as_bytes(), &[SECRET]), Some(Cause::Several));
    let mut without: Vec<_> = good
        .into_iter()
        .filter(|(name, _)| name != "x-hub-signature-256")
        .collect();
    assert_eq!(says(&without, BODY.as_bytes(), &[SECRET]), Some(Cause::OnlySha1));
    without.retain(|(name, _)| name != "x-hub-signature");
    assert_eq!(says(&without, BODY.as_bytes(), &[SECRET]), Some(Cause::NoSignature));
    let elsewhere = with(without, "x-gitea-signature", "abc");
    assert_eq!(
        says(&elsewhere, BODY.as_bytes(), &[SECRET]),
        Some(Cause::OtherHeader("x-gitea-signature"))
    );
}

#[test]
fn what_is_wrong_with_the_secret_is_named() {
    let hex_of_bytes = "0badc0de0badc0de0badc0de";
    let table: &[(&str, &[&str], Option<SecretFault>)] = &[
        ("abc", &["abc"], None),
        ("abc", &["abc\n"], Some(SecretFault::BlanksHere)),
        ("abc", &["other", " abc "], Some(SecretFault::BlanksHere)),
        ("abc\n", &["abc"], Some(SecretFault::BlanksThere)),
        ("abc\r\n", &["abc"], Some(SecretFault::BlanksThere)),
        ("abc", &["\"abc\""], Some(SecretFault::QuotesHere)),
        ("abc", &["'abc'\n"], Some(SecretFault::QuotesHere)),
        ("'abc'", &["abc"], Some(SecretFault::QuotesThere)),
        ("abc,def", &["abc", "def"], Some(SecretFault::Comma)),
        ("abc, def", &["abc", "def"], Some(SecretFault::Comma)),
        ("p%40ss", &["p@ss"], Some(SecretFault::Percent)),
        ("p@ss", &["p%40ss"], Some(SecretFault::Percent)),
        ("", &["abc"], Some(SecretFault::EmptyThere)),
    ];
    for (theirs, ours, fault) in table {
        let headers = headers(theirs, BODY.as_bytes());
        assert_eq!(
            says(&headers, BODY.as_bytes(), ours),
            fault.map(Cause::Secret),
            "{theirs:?} {ours:?}"
        );
    }
    // Bytes that are no text can be no secret here, so this signature is made by hand.
    let bytes = hex::decode(hex_of_bytes).expect("hex");
    let mac = hmac::Mac::chain_update(super::verify::keyed(&bytes), BODY.as_bytes());
    let signature = format!("sha256={}", hex::encode(hmac::Mac::finalize(mac).into_bytes()));
    let headers = with(headers(SECRET, b""), "x-hub-signature-256", &signature);
    assert_eq!(
        says(&headers, BODY.as_bytes(), &[hex_of_bytes]),
        Some(Cause::Secret(SecretFault::Decoded))
    );
}

#[test]
fn what_cannot_be_undone_is_told_by_its_traces() {
    let foreign = |name: &str, value: &str, body: &str| {
        let headers = with(headers("theirs", body.as_bytes()), name, value);
        says(&headers, body.as_bytes(), &[SECRET])
    };
    assert_eq!(foreign("content-length", "5000", BODY), Some(Cause::Truncated));
    assert_eq!(
        foreign("content-length", "7", BODY),
        Some(Cause::AnotherSecret { from_github: true })
    );
    assert_eq!(foreign("content-encoding", "gzip", BODY), Some(Cause::Unpacked));
    assert_eq!(
        foreign("content-encoding", "identity", BODY),
        Some(Cause::AnotherSecret { from_github: true })
    );
    assert_eq!(
        foreign("user-agent", "curl/8", BODY),
        Some(Cause::AnotherSecret { from_github: false })
    );
    let sorted: Vec<String> = (0..30).map(|n| format!("\"key{n:02}\":{n}")).collect();
    assert_eq!(
        foreign("x", "y", &format!("{{{}}}", sorted.join(","))),
        Some(Cause::KeysSorted)
    );
    let unread = Refused {
        headers: &headers(SECRET, BODY.as_bytes()),
        body: None,
    };
    assert_eq!(diagnose(&unread, &[Secret::new(SECRET)]), Some(Cause::NotLookedInto));
}

#[test]
fn a_body_that_swells_is_not_unpacked() {
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; 64 * 1024 * 1024], 9);
    assert!(bomb.len() < 128 * 1024);
    assert_eq!(
        arrived(b"x", &bomb[..60_000.min(bomb.len())]),
        Some(Cause::Recoded),
        "no UTF-8, and nothing else is known of it"
    );
}

/// A JSON object as GitHub writes one.
fn payload() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-zA-Z/<é😀 ]{0,12}".prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        prop::collection::vec("[a-z]{0,4}", 0..3).prop_map(serde_json::Value::from),
    ];
    prop::collection::vec(("[a-z]{1,6}", value), 1..8).prop_map(|pairs| {
        let map: serde_json::Map<_, _> = pairs.into_iter().collect();
        serde_json::Value::Object(map).to_string()
    })
}

proptest! {
    #[test]
    fn whatever_is_done_to_a_body_is_recognised(body in payload(), secret in "[a-zA-Z0-9]{8,20}") {
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let pretty = serde_json::to_string_pretty(&value).expect("text");
        let headers = headers(&secret, body.as_bytes());
        let cases = [
            (body.clone().into_bytes(), None),
            (format!("{body}\n").into_bytes(), Some(Cause::EndAdded)),
            (format!("\u{feff}{body}").into_bytes(), Some(Cause::ByteOrderMark)),
            (pretty.into_bytes(), Some(Cause::Reserialised)),
            (form(&body).into_bytes(), Some(Cause::FormPacked)),
            (gzip(body.as_bytes()), Some(Cause::Compressed)),
        ];
        for (came, expected) in cases {
            let said = says(&headers, &came, &[&secret]);
            prop_assert_eq!(said, expected, "{:?}", String::from_utf8_lossy(&came));
            prop_assert!(said.is_none_or(|cause| cause.clears_the_secret() || cause == Cause::Compressed));
        }
        let other = says(&headers, body.as_bytes(), &["quite another one"]);
        prop_assert_eq!(other, Some(Cause::AnotherSecret { from_github: true }));
    }

    #[test]
    fn anything_at_all_is_diagnosed_and_nothing_is_given_away(
        body in prop::collection::vec(any::<u8>(), 0..300),
        signature in "\\PC{0,90}",
        secrets in prop::collection::vec("[a-z0-9]{12}", 0..4),
    ) {
        let headers = with(headers(SECRET, b"x"), "x-hub-signature-256", &signature);
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        if let Some(cause) = says(&headers, &body, &secrets) {
            let words = format!("{cause} {}", cause.advice());
            prop_assert!(secrets.iter().all(|secret| !words.contains(secret)));
            prop_assert!(!cause.advice().is_empty());
        }
    }

    #[test]
    fn it_says_that_nothing_is_wrong_exactly_where_the_signature_is_valid(
        body in prop::collection::vec(any::<u8>(), 1..100),
        offered in prop_oneof![Just(SECRET.to_owned()), "[a-z]{8}"],
    ) {
        let headers = headers(&offered, &body);
        let signature = headers.last().map(|(_, value)| value.as_str());
        let valid = SignatureKeys::new(&[Secret::new(SECRET)]).verify(signature, &body);
        prop_assert_eq!(says(&headers, &body, &[SECRET]).is_none(), valid);
    }
}
