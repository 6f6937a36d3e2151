//! The grammar as a JSON Schema, for editors: completion, and most mistakes while they are written. Made from the tables of
//! [`super::schema`]; what only the reader can know (names that lead somewhere, circles, languages) is not in it.

use serde_json::{Map, Value, json};

use super::schema::{Grammar, MAX_PHASES, NEEDED_BY_KIND, PHASE, PHASE_KEYS, RULE, WORKFLOW};
use crate::domain::PhaseKind;

/// What a key holds, as far as a JSON Schema can tell.
pub(crate) enum Shape {
    /// A text, empty or not.
    Text,
    /// A text that says something.
    Filled,
    /// A name by the rule of phase names.
    Name,
    /// The path of a prompt.
    Prompt,
    /// A command, not a template.
    Command,
    /// An address.
    Url,
    Flag,
    /// `true`, or a text.
    FlagOrText,
    Count(u32, u32),
    /// A length of time with its units.
    Time,
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    /// Some of these words.
    Choices(fn() -> Vec<&'static str>),
    /// A list of names.
    Names,
    /// A list of texts.
    Filleds,
    /// A text or a list of texts.
    OneOrMore,
    /// Texts by names of this form.
    TextMap(&'static str),
    /// Any map.
    Anything,
    /// A map with a grammar of its own.
    Map(fn() -> Value),
    Phases,
    /// Rules by words.
    Rules,
}

/// The JSON Schema (draft 7) of a workflow file, ready to be written to `config/workflow.schema.json`.
#[must_use]
pub fn json_schema() -> String {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A workflow of Firstlight",
        "description": "Made from the tables of the grammar; explained in workflows/README.md.",
    });
    if let (Value::Object(schema), Value::Object(grammar)) = (&mut schema, WORKFLOW.schema()) {
        schema.extend(grammar);
        schema.insert("required".into(), json!(["name", "phases"]));
    }
    let mut text = serde_json::to_string_pretty(&schema).expect("a tree of maps, lists and texts is always JSON");
    text.push('\n');
    text
}

impl<T> Grammar<T> {
    /// A map by this grammar.
    pub(crate) fn schema(self) -> Value {
        let mut schema = json!({"type": "object", "additionalProperties": false});
        let properties: Map<String, Value> = self
            .keys
            .iter()
            .map(|key| {
                let mut of_key = key.shape.schema();
                if let Value::Object(of_key) = &mut of_key {
                    of_key.insert("description".into(), key.doc.into());
                }
                (key.name.to_owned(), of_key)
            })
            .collect();
        schema["properties"] = properties.into();
        if !self.needed.is_empty() {
            schema["required"] = self.needed.iter().map(|(name, _)| *name).collect();
        }
        schema
    }
}

impl Shape {
    fn schema(&self) -> Value {
        match self {
            // Numbers and truth values are taken as they are written.
            Self::Text => json!({"type": ["string", "number", "boolean"]}),
            Self::Filled => json!({"type": ["string", "number", "boolean"], "pattern": "\\S"}),
            Self::Name => json!({"type": ["string", "number"], "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"}),
            Self::Prompt => json!({"type": "string", "pattern": "^prompts/[^\\\\:]+$"}),
            Self::Command => json!({"type": "string", "not": {"pattern": "\\{\\{"}}),
            Self::Url => json!({"type": "string", "pattern": "^https?://"}),
            Self::Flag => json!({"type": "boolean"}),
            Self::FlagOrText => json!({"type": ["boolean", "string", "number"]}),
            Self::Count(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Self::Time => {
                json!({"type": "string", "pattern": "^\\s*([0-9]+\\s*[a-z]+\\s*)+$", "examples": ["90s", "5m", "1h30m"]})
            }
            Self::Choice(words) => json!({"enum": words()}),
            Self::Choices(words) => {
                json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": {"enum": words()}})
            }
            Self::Names => json!({"type": "array", "items": Self::Name.schema()}),
            Self::Filleds => json!({"type": "array", "items": Self::Filled.schema()}),
            Self::OneOrMore => json!({"anyOf": [Self::Filled.schema(), Self::Filleds.schema()]}),
            Self::TextMap(form) => json!({
                "type": "object",
                "additionalProperties": false,
                "patternProperties": {*form: Self::Text.schema()},
            }),
            Self::Anything => json!({"type": "object"}),
            Self::Map(grammar) => grammar(),
            Self::Phases => json!({
                "type": "array", "minItems": 1, "maxItems": MAX_PHASES, "items": phase(),
            }),
            Self::Rules => json!({
                "type": "object",
                "additionalProperties": false,
                "patternProperties": {"^contains_[A-Za-z0-9_-]+$": RULE.schema()},
            }),
        }
    }
}

/// A phase: what all have, and for each kind what it needs and what makes no sense for it.
fn phase() -> Value {
    let mut schema = PHASE.schema();
    let kinds = PhaseKind::ALL.iter().map(|kind| {
        let misplaced: Map<String, Value> = PHASE_KEYS
            .iter()
            .filter(|key| !key.kinds.contains(kind))
            .map(|key| (key.name.to_owned(), false.into()))
            .collect();
        let needed: Vec<Value> = NEEDED_BY_KIND
            .iter()
            .filter(|(of, ..)| of == kind)
            .map(|(_, keys, _)| match keys {
                [only] => json!({"required": [only]}),
                some => json!({"anyOf": some.iter().map(|key| json!({"required": [key]})).collect::<Vec<_>>()}),
            })
            .collect();
        let mut says = json!({"properties": {"type": {"const": kind.as_str()}}});
        // A phase that names no type is one of this kind.
        if *kind != PhaseKind::Agent {
            says["required"] = json!(["type"]);
        }
        let mut then = json!({"properties": misplaced});
        if !needed.is_empty() {
            then["allOf"] = needed.into();
        }
        json!({"if": says, "then": then})
    });
    schema["allOf"] = kinds.collect();
    schema
}
