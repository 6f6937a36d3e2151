//! What a caller wishes, out of a body: one JSON object, read strictly. Knows no route.
//!
//! A wish that is misread is worse than one that is refused. So what nobody knows is refused by its name, a key that stands
//! twice is refused, and a list is never taken for the values of an object in their order.

use std::fmt;

use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use super::problem::Problem;

/// Characters of a key that are shown.
const SHOWN: usize = 64;

/// The object in a body, whatever its keys.
///
/// # Errors
/// 400 where the body is no JSON, no object, or has a key twice, however deep.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err(Problem::bad_request("the body must be a JSON object")),
        Err(_) if body.trim_ascii().is_empty() => {
            Err(Problem::bad_request("the body is empty; it must be a JSON object"))
        }
        Err(error) => Err(Problem::bad_request(format!("Invalid JSON: {error}"))),
    }
}

/// The object in a body, of these keys.
///
/// # Errors
/// As [`object`], and 400 for a key that is not known, by its name.
pub(super) fn of(known: &[&str], body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let wish = object(body)?;
    let odd = wish.keys().find(|key| !known.contains(&key.as_str()));
    match odd {
        None => Ok(wish),
        Some(odd) if known.is_empty() => Err(Problem::bad_request(format!(
            "there is no {} here; this request takes no body",
            shown(odd)
        ))),
        Some(odd) => Err(Problem::bad_request(format!(
            "there is no {} here; known are {}",
            shown(odd),
            known.join(", ")
        ))),
    }
}

/// The same, where an empty body is an empty object.
///
/// # Errors
/// As [`of`].
pub(super) fn maybe(known: &[&str], body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    of(known, body)
}

/// Nothing is wished: the body is empty, or an empty object.
///
/// # Errors
/// 400 where it is something else.
pub(super) fn nothing(body: &[u8]) -> Result<(), Problem> {
    maybe(&[], body).map(drop)
}

/// The object in a body, as this type takes it.
///
/// # Errors
/// As [`object`], and 400 with the type's own words where it does not fit.
pub(super) fn typed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    object(body)?;
    serde_json::from_slice(body).map_err(|error| {
        // A key of others may be long and hold anything; the place in the text says where to look.
        let words: String = error.to_string().chars().map(plain).collect();
        let words = match words.chars().count() {
            0..=300 => words,
            _ => format!(
                "a key or a value is not known, at line {} column {}",
                error.line(),
                error.column()
            ),
        };
        Problem::bad_request(format!("Invalid JSON: {words}"))
    })
}

/// A text of a wish; absent, `null` and empty are none.
///
/// # Errors
/// 400 where it is no text.
pub(super) fn text<'w>(wish: &'w Map<String, Value>, key: &str) -> Result<Option<&'w str>, Problem> {
    match wish.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Problem::bad_request(format!("{key} must be a text"))),
    }
}

fn plain(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

/// A key of others in quotes: short, on one line.
fn shown(key: &str) -> String {
    format!("\"{}\"", key.chars().take(SHOWN).map(plain).collect::<String>())
}

/// JSON in which no key stands twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key {} stands twice", shown(&key))));
            }
            let Strict(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn words(result: Result<Map<String, Value>, Problem>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[test]
    fn a_wish_is_an_object_of_known_keys_each_of_which_stands_once() {
        let known = &["a", "b"];
        assert_eq!(
            of(known, b" {\"a\": [1, {\"x\": 1.5}], \"b\": null} ").map(Value::Object),
            Ok(json!({ "a": [1, { "x": 1.5 }], "b": null }))
        );
        for (body, expected) in [
            ("", "the body is empty; it must be a JSON object"),
            (" \n", "the body is empty; it must be a JSON object"),
            ("[]", "the body must be a JSON object"),
            ("null", "the body must be a JSON object"),
            ("{\"c\": 1}", "there is no \"c\" here; known are a, b"),
            (
                "{\"\\u001b\\n\": 1}",
                "there is no \"\u{fffd}\u{fffd}\" here; known are a, b",
            ),
            (
                "{\"a\": 1, \"a\": 1}",
                "Invalid JSON: key \"a\" stands twice at line 1 column 12",
            ),
            (
                "{\"a\": [{\"x\": 1, \"x\": 2}]}",
                "Invalid JSON: key \"x\" stands twice at line 1 column 19",
            ),
            ("{\"a\": 1} {}", "Invalid JSON: trailing characters at line 1 column 10"),
            (
                "{\"a\": 1e999}",
                "Invalid JSON: number out of range at line 1 column 11",
            ),
        ] {
            assert_eq!(words(of(known, body.as_bytes())), expected, "{body}");
        }
        assert_eq!(
            words(of(&[], b"{\"c\": 1}")),
            "there is no \"c\" here; this request takes no body"
        );
        assert_eq!(nothing(b""), Ok(()));
        assert_eq!(nothing(b"{}"), Ok(()));
        assert!(nothing(b"[]").is_err() && nothing(b"null").is_err());
        assert_eq!(maybe(known, b" "), Ok(Map::new()));
    }

    #[test]
    fn a_text_is_a_text_or_absent() {
        let wish = json!({ "a": "x", "b": "", "c": null, "d": 7 });
        let wish = wish.as_object().expect("an object");
        for (key, expected) in [("a", Some("x")), ("b", None), ("c", None), ("e", None)] {
            assert_eq!(text(wish, key), Ok(expected), "{key}");
        }
        assert_eq!(
            text(wish, "d").map_err(|problem| problem.to_string()),
            Err("d must be a text".to_owned())
        );
    }

    #[test]
    fn a_list_is_no_object_and_a_long_name_is_not_repeated() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wish {
            a: Option<String>,
        }
        let read = |body: &str| {
            typed::<Wish>(body.as_bytes())
                .map(|wish| wish.a)
                .map_err(|problem| problem.to_string())
        };
        assert_eq!(read("{\"a\": \"x\"}"), Ok(Some("x".to_owned())));
        assert_eq!(read("[\"x\"]"), Err("the body must be a JSON object".to_owned()));
        assert!(read("{\"b\": 1}").is_err_and(|words| words.contains("unknown field `b`")));
        assert!(read(&format!("{{\"{}\": 1}}", "k".repeat(100_000))).is_err_and(|words| words.len() < 400));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_and_what_is_taken_is_what_serde_takes(body in any::<Vec<u8>>()) {
            if let Ok(wish) = object(&body) {
                prop_assert_eq!(serde_json::from_slice::<Value>(&body).ok(), Some(Value::Object(wish)));
            }
        }
    }
}
