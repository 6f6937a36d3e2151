//! Walks the tree of a workflow file, remembers where it is and gathers what is wrong. Knows how values are written, not
//! which keys there are; asks [`Assets`] for the texts of prompts and skills.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::pattern::Pattern;
use super::template;
use crate::domain::{InvalidId, Mistake, PhaseKind, PhaseName, Skill};
use crate::yaml::{Key, Node, Value, nearest};

/// Longest time that a phase can be given.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time that a question can stand.
pub const MAX_DEADLINE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where the reader gets the texts that a file names.
pub(crate) trait Assets {
    /// The prompt at a path such as `prompts/triage.md`, already known to be relative and clean; or what is wrong.
    fn prompt(&self, path: &str) -> Result<Asset, String>;
    /// The skill of this name; or what is wrong.
    fn skill(&self, name: &str) -> Result<Asset, String>;
}

/// A text and the file that it comes from, as mistakes name it.
#[derive(Debug, Clone)]
pub(crate) struct Asset {
    pub(crate) text: Arc<str>,
    pub(crate) file: String,
}

/// Which outputs a text can name: those of the phases before, also that of its own phase, or besides that `output`, what the
/// round of a loop printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sees {
    Before,
    After,
    Round,
}

/// The language of a text that names things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Template,
    Expression,
}

/// A text that names things, and where it stands.
#[derive(Debug)]
pub(crate) struct TextAt {
    pub(crate) text: Arc<str>,
    pub(crate) language: Language,
    pub(crate) key: String,
    /// Line and column of the value in the workflow file.
    pub(crate) at: (usize, usize),
    /// The file that the text is from, when it is a prompt.
    pub(crate) prompt_file: Option<String>,
    /// Index of its phase.
    pub(crate) phase: usize,
    pub(crate) sees: Sees,
}

pub(crate) struct Reader<'f> {
    pub(crate) file: &'f str,
    pub(crate) assets: &'f dyn Assets,
    /// Paths of the grammar that are refused for now.
    pub(crate) refused: &'f [&'f str],
    path: String,
    /// Kind of the phase that is read; `None` outside of phases and where the file says none that exists.
    pub(crate) kind: Option<PhaseKind>,
    pub(crate) phase: usize,
    pub(crate) texts: Vec<TextAt>,
    pub(crate) mistakes: Vec<Mistake>,
}

impl<'f> Reader<'f> {
    pub(crate) fn new(file: &'f str, assets: &'f dyn Assets, refused: &'f [&'f str]) -> Self {
        Self {
            file,
            assets,
            refused,
            path: String::new(),
            kind: None,
            phase: 0,
            texts: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Notes a mistake at a node, under the path where the reader is.
    pub(crate) fn wrong(&mut self, node: &Node, problem: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            line: node.line,
            column: node.column,
            key: self.path.trim_start_matches('.').to_owned(),
            problem: problem.into(),
        });
    }

    /// Notes a mistake about a key of the map where the reader is.
    pub(crate) fn wrong_at(&mut self, node: &Node, key: &str, problem: impl Into<String>) {
        self.within(&format!(".{key}"), |reader| reader.wrong(node, problem));
    }

    /// Notes a mistake about a key that should not be there.
    pub(crate) fn wrong_key(&mut self, key: &Key, problem: impl Into<String>) {
        let place = Node {
            line: key.line,
            column: key.column,
            value: Value::Null,
        };
        self.wrong_at(&place, &key.text, problem);
    }

    pub(crate) fn within<T>(&mut self, step: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let result = then(self);
        self.path.truncate(length);
        result
    }

    /// A text, empty or not; numbers and truth values are taken as they are written.
    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        let text = node.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(node, format!("must be a text, found {}", node.kind_name()));
        }
        text
    }

    /// A text that says something.
    pub(crate) fn filled(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() {
            self.wrong(node, "is empty; write something or take the key out");
            return None;
        }
        Some(text)
    }

    pub(crate) fn flag(&mut self, node: &Node) -> Option<bool> {
        let flag = node.to_json().as_bool();
        if flag.is_none() {
            self.wrong(
                node,
                format!("must be true or false, without quotes, found {}", node.kind_name()),
            );
        }
        flag
    }

    /// A whole number within bounds.
    pub(crate) fn count(&mut self, node: &Node, bounds: RangeInclusive<u32>) -> Option<u32> {
        let (least, most) = (bounds.start(), bounds.end());
        let number = match node.to_json() {
            Json::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        let found = number.filter(|number| bounds.contains(number));
        if found.is_none() {
            let what = node
                .as_str()
                .map_or_else(|| node.kind_name().to_owned(), |text| format!("{text:?}"));
            self.wrong(
                node,
                format!("must be a whole number from {least} to {most}, without quotes, found {what}"),
            );
        }
        found
    }

    pub(crate) fn id<T: FromStr<Err = InvalidId>>(&mut self, node: &Node) -> Option<T> {
        let text = self.text(node)?;
        text.parse()
            .map_err(|error: InvalidId| self.wrong(node, error.to_string()))
            .ok()
    }

    /// A name by the rule of phase names, for things that have no type of their own.
    pub(crate) fn word(&mut self, node: &Node, what: &'static str) -> Option<String> {
        let text = self.text(node)?;
        match text.parse::<PhaseName>() {
            Ok(_) => Some(text),
            Err(error) => {
                self.wrong(node, InvalidId { what, ..error }.to_string());
                None
            }
        }
    }

    /// A text that follows a rule of its own; the rule's words say what it is not and what to write.
    pub(crate) fn fitting(&mut self, node: &Node, fits: fn(&str) -> bool, rule: &str) -> Option<String> {
        let text = self.filled(node)?;
        if !fits(&text) {
            self.wrong(node, format!("{text:?} {rule}"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(node)?;
        let found = all.iter().copied().find(|value| name(*value) == text);
        if found.is_none() {
            let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
            let guess = did_you_mean(&text, names.iter().copied());
            self.wrong(
                node,
                format!("no such {what} {text:?}{guess} (there are {})", names.join(", ")),
            );
        }
        found
    }

    /// A length of time over zero.
    pub(crate) fn duration(&mut self, node: &Node, most: Duration) -> Option<Duration> {
        let text = self.filled(node)?;
        let form = "write it with units, such as 90s, 5m or 1h30m";
        match humantime::parse_duration(&text) {
            Err(_) => self.wrong(node, format!("{text:?} is no length of time; {form}")),
            Ok(time) if time.is_zero() || time > most => {
                let most = if most > MAX_TIMEOUT { "365 days" } else { "24h" };
                self.wrong(node, format!("{text:?} is not between 1ms and {most}; {form}"));
            }
            Ok(time) => return Some(time),
        }
        None
    }

    /// A web address. What was written is not told: it is as good as a password.
    pub(crate) fn address(&mut self, node: &Node) -> Option<String> {
        let text = self.filled(node)?;
        let good = !text.contains("{{")
            && url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !good {
            self.wrong(
                node,
                "is no address; write one that begins with \"https://\", and no template",
            );
            return None;
        }
        Some(text)
    }

    /// A list, each item read alike; items that are wrong are left out.
    pub(crate) fn list<T>(&mut self, node: &Node, mut item: impl FnMut(&mut Self, &Node) -> Option<T>) -> Vec<T> {
        let Value::Seq(items) = &node.value else {
            self.wrong(node, format!("must be a list, found {}", node.kind_name()));
            return Vec::new();
        };
        let read = items
            .iter()
            .enumerate()
            .filter_map(|(index, node)| self.within(&format!("[{index}]"), |reader| item(reader, node)));
        read.collect()
    }

    /// A list with something in it, nothing twice.
    pub(crate) fn set<T: PartialEq>(
        &mut self,
        node: &Node,
        mut item: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        if matches!(&node.value, Value::Seq(items) if items.is_empty()) {
            self.wrong(node, "is empty; write something into the list or take the key out");
        }
        let mut seen = Vec::new();
        self.list(node, |reader, node| {
            let value = item(reader, node)?;
            if seen.contains(&value) {
                reader.wrong(node, "stands in the list twice; take one out");
                return None;
            }
            seen.push(value);
            Some(())
        });
        seen
    }

    /// A map from names that follow a rule to texts.
    pub(crate) fn text_map(
        &mut self,
        node: &Node,
        rule: &str,
        fits: fn(&str) -> bool,
        item: fn(&mut Self, &Node) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let Value::Map(entries) = &node.value else {
            self.wrong(
                node,
                format!("must be a map of names and texts, found {}", node.kind_name()),
            );
            return map;
        };
        for (name, value) in entries {
            if !fits(&name.text) {
                self.wrong_key(name, rule);
                continue;
            }
            if let Some(text) = self.within(&format!(".{}", name.text), |reader| item(reader, value)) {
                map.insert(name.text.clone(), text);
            }
        }
        map
    }

    /// A map of anything; every text in it, at any depth, is a template.
    pub(crate) fn payload(&mut self, node: &Node) -> serde_json::Map<String, Json> {
        if !matches!(node.value, Value::Map(_)) {
            self.wrong(node, format!("must be a map, found {}", node.kind_name()));
            return serde_json::Map::new();
        }
        match self.anything(node) {
            Json::Object(map) => map,
            _ => serde_json::Map::new(),
        }
    }

    fn anything(&mut self, node: &Node) -> Json {
        match &node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| {
                    let value = self.within(&format!(".{}", key.text), |reader| reader.anything(node));
                    (key.text.clone(), value)
                })
                .collect(),
            Value::Seq(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| self.within(&format!("[{index}]"), |reader| reader.anything(node)))
                .collect(),
            Value::Null | Value::Scalar { .. } => {
                let value = node.to_json();
                if let Json::String(text) = &value {
                    self.note(node, text, Language::Template, None, Sees::Before);
                }
                value
            }
        }
    }

    /// A template that says something.
    pub(crate) fn template(&mut self, node: &Node, sees: Sees) -> Option<String> {
        let text = self.filled(node)?;
        self.note(node, &text, Language::Template, None, sees);
        Some(text)
    }

    /// A template that may be empty.
    pub(crate) fn any_template(&mut self, node: &Node, sees: Sees) -> Option<String> {
        let text = self.text(node)?;
        self.note(node, &text, Language::Template, None, sees);
        Some(text)
    }

    /// An expression. Whether it is a good one is looked at with the names.
    pub(crate) fn expression(&mut self, node: &Node, sees: Sees) -> Option<String> {
        let text = self.filled(node)?;
        self.note(node, &text, Language::Expression, None, sees);
        Some(text)
    }

    fn note(&mut self, node: &Node, text: &str, language: Language, prompt_file: Option<String>, sees: Sees) {
        self.texts.push(TextAt {
            text: text.into(),
            language,
            key: self.path.trim_start_matches('.').to_owned(),
            at: (node.line, node.column),
            prompt_file,
            phase: self.phase,
            sees,
        });
    }

    /// A regular expression for titles.
    pub(crate) fn pattern(&mut self, node: &Node) -> Option<String> {
        let text = self.filled(node)?;
        match Pattern::parse(&text) {
            Ok(_) => Some(text),
            Err(problem) => {
                self.wrong(node, problem);
                None
            }
        }
    }

    /// A command, which is never a template: what people outside write would become code of the shell.
    pub(crate) fn command(&mut self, node: &Node) -> Option<String> {
        let text = self.filled(node)?;
        let outputs = template::names(&text);
        let output = outputs.iter().find(|name| name.kind == template::ReferenceKind::Output);
        let offset = text.find("{{").into_iter().chain(output.map(|name| name.offset)).min();
        if let Some(offset) = offset {
            let end = text[offset..].find('}').map_or(text.len(), |end| offset + end + 1);
            let end = if text[end..].starts_with('}') { end + 1 } else { end };
            let tag: String = text[offset..end].chars().take(60).collect();
            let problem = format!(
                "a command is never a template, because what people write in issues would become code; set a variable under \
                 \"env\", for instance \"VALUE: '{tag}'\", and use \"$VALUE\" in the command"
            );
            self.wrong(node, problem);
            return None;
        }
        Some(text)
    }

    pub(crate) fn prompt(&mut self, node: &Node, sees: Sees) -> Option<Arc<str>> {
        let path = self.filled(node)?;
        let clean = path.starts_with("prompts/")
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !path.contains(['\\', '\0', ':']);
        let found = if clean {
            self.assets.prompt(&path)
        } else {
            Err(format!(
                "{path:?} does not stay in the folder of prompts; write a path such as \"prompts/triage.md\""
            ))
        };
        match found {
            Ok(asset) => {
                self.note(node, &asset.text, Language::Template, Some(asset.file), sees);
                Some(asset.text)
            }
            Err(problem) => {
                self.wrong(node, problem);
                None
            }
        }
    }

    pub(crate) fn skill(&mut self, node: &Node) -> Option<Skill> {
        let name = self.word(node, "skill")?;
        match self.assets.skill(&name) {
            Ok(asset) => Some(Skill { name, text: asset.text }),
            Err(problem) => {
                self.wrong(node, problem);
                None
            }
        }
    }

    pub(crate) fn output_var(&mut self, node: &Node) -> Option<String> {
        let name = self.word(node, "output_var")?;
        if template::CONTEXT_KEYS.iter().any(|(key, _)| *key == name) {
            self.wrong(
                node,
                format!("{name:?} is a key of the context already; choose another name"),
            );
            return None;
        }
        Some(name)
    }
}

/// `; did you mean "review"?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}
