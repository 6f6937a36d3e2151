//! The effective settings for eyes: one line per key, with its origin and without secrets. Writes nowhere.

use actors::domain::REDACTED;
use serde::Serialize;
use serde_json::Value;

use super::{Loaded, Origin, Settings};

/// One setting as it may be shown to anybody who may see settings at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its path, `server.listen`.
    #[serde(skip)]
    pub key: String,
    /// Its value; secrets are `[redacted]`.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Loaded {
    /// Every setting, in the order of `config/default.yaml`.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        flatten(&self.settings)
            .into_iter()
            .map(|(key, value)| Shown {
                origin: self.provenance.get(&key).cloned().unwrap_or(Origin::Default),
                key,
                value: without_accounts(value),
            })
            .collect()
    }
}

impl Loaded {
    /// `{default, overlay, merged, provenance}`: what ships, what the operator set besides (null: nothing), what holds, and
    /// where each value came from. Secrets are `[redacted]`.
    #[must_use]
    pub fn layers(&self) -> Value {
        let merged = serde_json::to_value(&self.settings).expect("settings are made of texts, numbers, lists and maps");
        let default = actors::yaml::parse(super::DEFAULTS_NAME, super::DEFAULTS)
            .ok()
            .flatten();
        let overlay = self.set_by_the_operator("", &merged);
        serde_json::json!({
            "default": default.map(|defaults| defaults.to_json()),
            "overlay": overlay.map(without_accounts_anywhere),
            "merged": without_accounts_anywhere(merged),
            "provenance": self.provenance,
        })
    }

    fn set_by_the_operator(&self, path: &str, value: &Value) -> Option<Value> {
        let Value::Object(map) = value else {
            return None;
        };
        let mut set = serde_json::Map::new();
        for (key, value) in map {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let kept = match self.provenance.get(&path) {
                Some(Origin::Default) => None,
                Some(_) => Some(value.clone()),
                None => self.set_by_the_operator(&path, value),
            };
            if let Some(kept) = kept {
                set.insert(key.clone(), kept);
            }
        }
        (!set.is_empty()).then_some(Value::Object(set))
    }
}

fn without_accounts_anywhere(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, without_accounts_anywhere(value)))
            .collect(),
        other => without_accounts(other),
    }
}

/// Every key path with its value, secrets redacted by their type.
pub(super) fn flatten(settings: &Settings) -> Vec<(String, Value)> {
    fn walk(path: String, value: Value, into: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(map) if !map.is_empty() || path.is_empty() => {
                for (key, value) in map {
                    let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                    walk(path, value, into);
                }
            }
            value => into.push((path, value)),
        }
    }
    let mut flat = Vec::new();
    let value = serde_json::to_value(settings).expect("settings are made of texts, numbers, lists and maps");
    walk(String::new(), value, &mut flat);
    flat
}

/// Hides `user:password@` of URLs in values that are no secrets by type, such as the arguments of a runtime.
fn without_accounts(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(hide_account(&text)),
        Value::Array(items) => items.into_iter().map(without_accounts).collect(),
        other => other,
    }
}

fn hide_account(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        // An apostrophe may stand in a password; a quote may not.
        let end = after.find(['/', '?', '#', ' ', '"']).unwrap_or(after.len());
        rest = after;
        if let Some(account) = after[..end].rfind('@') {
            shown.push_str(REDACTED);
            rest = &after[account..];
        }
    }
    shown + rest
}

impl Shown {
    /// `key: value` on one line, the value as a settings file could have it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.key, one_line(&self.value))
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON is YAML, and it has an escape for everything that would break the line.
        other => other.to_string(),
    }
}

/// Whether a text means itself in YAML without quotes.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/' || first == '.')
        && text.ends_with(|last: char| !last.is_whitespace() && last != ':')
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        && matches!(actors::yaml::parse("", text), Ok(Some(node)) if node.to_json() == *text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn accounts_in_urls_are_hidden() {
        let table = [
            ("https://host/path", "https://host/path"),
            ("https://user:pw@host/", "https://[redacted]@host/"),
            (
                "a=https://u:p@h?x=y@z b=ftp://t@h",
                "a=https://[redacted]@h?x=y@z b=ftp://[redacted]@h",
            ),
            ("https://u:p@w@h", "https://[redacted]@h"),
            (
                "curl 'https://u:it's@h/' me@home",
                "curl 'https://[redacted]@h/' me@home",
            ),
            ("mail me@home", "mail me@home"),
            ("://", "://"),
        ];
        for (text, shown) in table {
            assert_eq!(hide_account(text), shown);
        }
    }

    #[test]
    fn a_line_is_yaml_that_reads_as_the_value() {
        for value in [
            json!(null),
            json!(true),
            json!(4),
            json!("plain words"),
            json!("true"),
            json!("12"),
            json!(""),
            json!("* star"),
            json!("last-light[bot]"),
            json!("a: b # c"),
            json!("line\nbreak \u{1b}[31m"),
            json!(["a", "b: c"]),
            json!({}),
        ] {
            let shown = Shown {
                key: "key".to_owned(),
                value: value.clone(),
                origin: Origin::Default,
            };
            let line = shown.line();
            assert!(!line.contains(['\n', '\u{1b}']));
            let read = actors::yaml::parse("t", &line).expect("yaml").expect("a map");
            assert_eq!(read.get("key").expect("key").to_json(), value, "{line}");
        }
    }
}
