//! How else a JSON text could have been written: with other blanks, other escapes, other line ends. Pure; the values stay untouched.

use std::fmt::Write as _;

use serde::de::IgnoredAny;
use serde_json::Value;

/// A spelling is given up beyond so many bytes.
const LONGEST: usize = 256 * 1024;
/// Objects with so few keys are in order by accident.
const FEW_KEYS: usize = 20;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading<'a> {
    /// A whole JSON value.
    Whole(&'a str),
    /// The beginning of one.
    EndsEarly,
    /// Something else.
    NoJson,
    /// No UTF-8 text.
    NotUtf8,
}

pub(super) fn read(body: &[u8]) -> Reading<'_> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Reading::NotUtf8;
    };
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Reading::Whole(text),
        Err(error) if error.is_eof() => Reading::EndsEarly,
        Err(_) => Reading::NoJson,
    }
}

/// Where blanks go.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// Nowhere.
    Compact,
    /// Behind commas and colons.
    Spaced,
    /// A line for each value, indented by this; nothing in empty lists and objects.
    Lines(&'static str),
}

/// How characters of strings are written.
#[derive(Debug, Clone, Copy)]
struct Escapes {
    slash: bool,
    ascii: bool,
    html: bool,
}

const LAYOUTS: &[Layout] = &[
    Layout::Compact,
    Layout::Spaced,
    Layout::Lines("  "),
    Layout::Lines("    "),
    Layout::Lines("\t"),
];

/// The same JSON as the libraries that people use would write it, beginning with the likeliest. `text` is a whole JSON value.
/// One at a time: each may be several times as long as the text.
pub(super) fn spellings(text: &str) -> impl Iterator<Item = String> {
    LAYOUTS
        .iter()
        .flat_map(|layout| escapes().map(move |escapes| (*layout, escapes)))
        .map(move |(layout, escapes)| spell(text, layout, escapes))
}

/// All ways to write strings; first of all, as they are.
fn escapes() -> impl Iterator<Item = Option<Escapes>> {
    let all = (0..8_u8).map(|bits| {
        Some(Escapes {
            slash: bits & 1 != 0,
            ascii: bits & 2 != 0,
            html: bits & 4 != 0,
        })
    });
    std::iter::once(None).chain(all)
}

/// Writes the text anew. Without escapes, strings stay as they are; numbers always do.
fn spell(text: &str, layout: Layout, escapes: Option<Escapes>) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let line = |out: &mut String, depth: usize| {
        if let Layout::Lines(indent) = layout {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if out.len() > LONGEST {
            // Nobody signed this; deep nesting would make it swell to many megabytes.
            break;
        }
        match c {
            '"' => {
                let end = end_of_string(rest);
                string(&rest[..end], escapes, &mut out);
                rest = &rest[end..];
                continue;
            }
            '{' | '[' => {
                out.push(c);
                let inside = rest[1..].trim_start();
                if inside.starts_with(['}', ']']) {
                    out.push(if c == '{' { '}' } else { ']' });
                    rest = &inside[1..];
                    continue;
                }
                depth += 1;
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = usize::saturating_sub(depth, 1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                if matches!(layout, Layout::Spaced) {
                    out.push(' ');
                }
                line(&mut out, depth);
            }
            ':' => {
                out.push(c);
                if !matches!(layout, Layout::Compact) {
                    out.push(' ');
                }
            }
            ' ' | '\t' | '\r' | '\n' => {}
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Where the string that this text begins with ends, its quote included.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn string(written: &str, escapes: Option<Escapes>, out: &mut String) {
    let read = escapes.and_then(|escapes| Some((escapes, serde_json::from_str::<String>(written).ok()?)));
    // Half of a pair of surrogates is no text; it stays as it is.
    let Some((escapes, value)) = read else {
        return out.push_str(written);
    };
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if escapes.slash => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escapes.html => units(c, out),
            c if c < ' ' || (escapes.ascii && !c.is_ascii()) => units(c, out),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn units(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // A String takes everything.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Whether the keys of all objects are in the order of the alphabet, and not by accident. GitHub's are not.
pub(super) fn keys_are_sorted(text: &str) -> bool {
    fn walk(value: &Value, seen: &mut usize) -> bool {
        match value {
            Value::Object(map) => {
                *seen += map.len();
                let sorted = map.keys().zip(map.keys().skip(1)).all(|(one, next)| one <= next);
                sorted && map.values().all(|value| walk(value, seen))
            }
            Value::Array(items) => items.iter().all(|item| walk(item, seen)),
            _ => true,
        }
    }
    let mut seen = 0;
    serde_json::from_str(text).is_ok_and(|value| walk(&value, &mut seen)) && seen > FEW_KEYS
}

/// The lines without their carriage returns.
pub(super) fn without_returns(body: &[u8]) -> Vec<u8> {
    let returns = |at: usize| body[at] == b'\r' && body.get(at + 1) == Some(&b'\n');
    (0..body.len()).filter(|at| !returns(*at)).map(|at| body[at]).collect()
}

/// Lines that end in line feeds alone, with a carriage return before each.
pub(super) fn with_returns(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 16);
    for byte in body {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_spelled_as_libraries_spell_it() {
        let text = "{ \"a\":[1.50,-2e+3 , {}, [ ]],\"b\" : \"x\\/y é <\\ud83d\\ude00>\\u001f\" }";
        let table = [
            (
                Layout::Compact,
                None,
                "{\"a\":[1.50,-2e+3,{},[]],\"b\":\"x\\/y é <\\ud83d\\ude00>\\u001f\"}",
            ),
            (
                Layout::Spaced,
                Some(Escapes {
                    slash: false,
                    ascii: true,
                    html: false,
                }),
                "{\"a\": [1.50, -2e+3, {}, []], \"b\": \"x/y \\u00e9 <\\ud83d\\ude00>\\u001f\"}",
            ),
            (
                Layout::Lines("  "),
                Some(Escapes {
                    slash: true,
                    ascii: false,
                    html: true,
                }),
                "{\n  \"a\": [\n    1.50,\n    -2e+3,\n    {},\n    []\n  ],\n  \"b\": \"x\\/y é \\u003c😀\\u003e\\u001f\"\n}",
            ),
        ];
        for (layout, escapes, expected) in table {
            assert_eq!(spell(text, layout, escapes), expected);
        }
    }

    #[test]
    fn deep_nesting_does_not_make_a_spelling_swell() {
        let text = format!("{}{}1{}", "[".repeat(100), "1,".repeat(30_000), "]".repeat(100));
        assert!(spellings(&text).all(|spelled| spelled.len() <= LONGEST + 1_000));
    }

    #[test]
    fn a_body_is_whole_or_ends_early_or_is_something_else() {
        for (body, expected) in [
            (&b"{\"a\":1}"[..], Reading::Whole("{\"a\":1}")),
            (b"{\"a\":", Reading::EndsEarly),
            (b"{\"a\":\"x", Reading::EndsEarly),
            (b"", Reading::EndsEarly),
            (b"{\"a\":1}}", Reading::NoJson),
            (b"payload=%7B%7D", Reading::NoJson),
            (b"\"\xff\"", Reading::NotUtf8),
        ] {
            assert_eq!(read(body), expected);
        }
    }

    #[test]
    fn sorted_keys_are_noticed_where_they_are_no_accident() {
        let object = |keys: &[&str]| {
            let pairs: Vec<_> = keys.iter().map(|key| format!("\"{key}\":1")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        let letters: Vec<String> = ('a'..='z').map(String::from).collect();
        let mut letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert!(keys_are_sorted(&object(&letters)));
        assert!(!keys_are_sorted(&object(&letters[..10])));
        letters.swap(3, 4);
        assert!(!keys_are_sorted(&object(&letters)));
        assert!(!keys_are_sorted("[]"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_spelling_means_the_same(value in json()) {
            let compact = value.to_string();
            let pretty = serde_json::to_string_pretty(&value).expect("text");
            let all: Vec<String> = spellings(&pretty).collect();
            prop_assert!(all.contains(&compact), "{compact}");
            prop_assert!(spellings(&compact).any(|text| text == pretty), "{pretty}");
            for text in all {
                prop_assert_eq!(&serde_json::from_str::<Value>(&text).expect("JSON"), &value);
            }
        }

        #[test]
        fn line_ends_go_there_and_back(lines in prop::collection::vec("[a-z]{0,5}", 0..8)) {
            let (lf, crlf) = (lines.join("\n").into_bytes(), lines.join("\r\n").into_bytes());
            prop_assert_eq!(&with_returns(&lf), &crlf);
            prop_assert_eq!(&without_returns(&crlf), &lf);
        }
    }
}
