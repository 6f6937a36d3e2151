//! YAML as a tree that remembers its lines, for files that people write. Knows no schema and touches no file.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Number, Value as Json};

use crate::domain::Mistake;
pub use crate::domain::nearest;

/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;
/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 64;
/// Most nodes in a tree, counting what aliases repeat.
pub const MAX_NODES: usize = 100_000;
/// Most bytes of scalars and keys in a tree, counting what aliases repeat.
pub const MAX_EXPANDED: usize = 8 << 20;

/// A value and the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Line of its first character, from 1. What an alias repeats keeps the place where it was written.
    pub line: usize,
    /// Column of its first character, from 1, in characters.
    pub column: usize,
    /// What stands there.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A text, number or truth value, not yet told apart.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: String,
        /// Written without quotes, so that it may mean a number or a truth value.
        plain: bool,
    },
    /// A list.
    Seq(Vec<Node>),
    /// A map in the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key, quotes and escapes resolved.
    pub text: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

impl Node {
    /// The value under a key; nothing when this is no map or has no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text of a scalar, whatever it may mean; nothing for null, lists and maps.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value as JSON. Plain scalars mean what the core schema of YAML 1.2 says (so `yes`, `on` and `0777` are a
    /// text, a text and the number 777); `.inf` and `.nan`, which JSON cannot say, stay texts.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Scalar { text, plain: true } => plain_to_json(text),
            Value::Scalar { text, plain: false } => Json::String(text.clone()),
            Value::Seq(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.text.clone(), node.to_json()))
                .collect(),
        }
    }

    /// What it is, in words that fit "expected a list, found …".
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { text, plain: true } => match plain_to_json(text) {
                Json::Number(_) => "a number",
                Json::Bool(_) => "true or false",
                _ => "a text",
            },
            Value::Scalar { plain: false, .. } => "a text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads one YAML document. `file` is the name that mistakes carry; an empty document is `None`.
///
/// # Errors
/// Every mistake that can be told at once: a syntax error (only the first is known), a key that stands twice in its map
/// (each with both lines), a key that is no scalar, a tag outside the core schema, a second document, and texts beyond
/// [`MAX_TEXT`], [`MAX_DEPTH`], [`MAX_NODES`] or [`MAX_EXPANDED`]. No mistake quotes a value.
pub fn parse(file: &str, text: &str) -> Result<Option<Node>, Vec<Mistake>> {
    if text.len() > MAX_TEXT {
        return Err(vec![Mistake {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            problem: format!(
                "is {} bytes long; at most {MAX_TEXT} are read, so split it or shorten it",
                text.len()
            ),
        }]);
    }
    let mut tree = Tree {
        file,
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        bytes: 0,
        path: String::new(),
        mistakes: Vec::new(),
    };
    let document = match tree.document() {
        Ok(document) => document,
        Err(fatal) => {
            tree.mistakes.push(fatal);
            None
        }
    };
    if tree.mistakes.is_empty() {
        Ok(document)
    } else {
        tree.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Err(tree.mistakes)
    }
}

/// A document as it is put together.
struct Tree<'a> {
    file: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    bytes: usize,
    /// Path of the node being read, `phases[2].timeout`.
    path: String,
    /// Mistakes that do not stop the reading.
    mistakes: Vec<Mistake>,
}

/// What an anchor named, with its size.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    height: usize,
}

/// A node with the height of the tree below it, counting itself.
struct Built {
    node: Node,
    height: usize,
}

impl<'a> Tree<'a> {
    fn document(&mut self) -> Result<Option<Node>, Mistake> {
        let mut root = None;
        let mut begun = false;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if begun => {
                    return Err(self.mistake(span, "begins a second document; write one document for each file"));
                }
                Event::DocumentStart(_) => begun = true,
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                content => {
                    let Built { node, .. } = self.node(content, span, 1)?;
                    root = (node.value != Value::Null).then_some(node);
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Built, Mistake> {
        if depth > MAX_DEPTH {
            return Err(self.mistake(
                span,
                &format!("is nested deeper than {MAX_DEPTH} levels; make it flatter"),
            ));
        }
        self.spend(span, 1, 0)?;
        let (nodes, bytes) = (self.nodes, self.bytes);
        let (anchor, value, height) = match event {
            Event::Alias(anchor) => return self.repeat(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(span, 0, text.len())?;
                let plain = self
                    .tagged(tag.as_deref(), span, Shape::Scalar)
                    .unwrap_or(style == ScalarStyle::Plain);
                let value = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    }
                };
                (anchor, value, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tagged(tag.as_deref(), span, Shape::Seq);
                let (items, height) = self.seq(depth)?;
                (anchor, Value::Seq(items), height)
            }
            Event::MappingStart(anchor, tag) => {
                self.tagged(tag.as_deref(), span, Shape::Map);
                let (entries, height) = self.map(depth)?;
                (anchor, Value::Map(entries), height)
            }
            _ => return Err(self.mistake(span, "ends before its value; complete it or remove it")),
        };
        let node = Node {
            line: span.start.line(),
            column: span.start.col() + 1,
            value,
        };
        if anchor > 0 {
            // What is kept for aliases is paid for like what they will repeat: anchors within anchors multiply too.
            let (nodes, bytes) = (self.nodes - nodes + 1, self.bytes - bytes);
            self.spend(span, nodes, bytes)?;
            let kept = Anchored {
                node: node.clone(),
                nodes,
                bytes,
                height,
            };
            self.anchors.insert(anchor, kept);
        }
        Ok(Built { node, height })
    }

    fn seq(&mut self, depth: usize) -> Result<(Vec<Node>, usize), Mistake> {
        let mut items = Vec::new();
        let mut below = 0;
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((items, below + 1));
            }
            let length = self.path.len();
            self.path.push_str(&format!("[{}]", items.len()));
            let Built { node, height } = self.node(event, span, depth + 1)?;
            self.path.truncate(length);
            below = below.max(height);
            items.push(node);
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<(Key, Node)>, usize), Mistake> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut below = 0;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((entries, below + 1));
            }
            let key = self.key(event, span, depth)?;
            let length = self.path.len();
            if let Some(key) = &key {
                if length > 0 {
                    self.path.push('.');
                }
                self.path.push_str(&key.text);
            }
            let (event, value_span) = self.next()?;
            let built = self.node(event, value_span, depth + 1)?;
            if let Some(key) = key {
                if let Some(first) = lines.get(&key.text) {
                    let problem = format!("stands here and on line {first}; keep one of the two");
                    let mistake = self.mistake(span, &problem);
                    self.mistakes.push(mistake);
                } else {
                    lines.insert(key.text.clone(), key.line);
                    below = below.max(built.height);
                    entries.push((key, built.node));
                }
            }
            self.path.truncate(length);
        }
    }

    /// The key that an event says; none, with a mistake noted, when it says no scalar.
    fn key(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Option<Key>, Mistake> {
        // An empty key stands where its `:` does; the parser leaves its place out.
        if let Event::Scalar(text, _, 0, _) = event {
            self.spend(span, 1, text.len())?;
            return Ok(Some(Key {
                text: text.into_owned(),
                line: span.start.line(),
                column: span.start.col() + 1,
            }));
        }
        let Built { node, .. } = self.node(event, span, depth + 1)?;
        match node.value {
            Value::Scalar { text, .. } => Ok(Some(Key {
                text,
                line: span.start.line(),
                column: span.start.col() + 1,
            })),
            _ => {
                let mistake = self.mistake(
                    span,
                    "has a key that is no plain word; a key is one word or a quoted text",
                );
                self.mistakes.push(mistake);
                Ok(None)
            }
        }
    }

    /// What an alias names, once more.
    fn repeat(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Built, Mistake> {
        let Some(kept) = self.anchors.get(&anchor) else {
            return Err(self.mistake(span, "is an alias of what it stands in; write the value out"));
        };
        let (nodes, bytes, height) = (kept.nodes, kept.bytes, kept.height);
        if depth + height - 1 > MAX_DEPTH {
            return Err(self.mistake(
                span,
                &format!("is nested deeper than {MAX_DEPTH} levels by its alias; make it flatter"),
            ));
        }
        self.spend(span, nodes, bytes)?;
        let node = self.anchors.get(&anchor).map(|kept| kept.node.clone());
        node.map(|node| Built { node, height })
            .ok_or_else(|| self.mistake(span, "is an unknown alias; write the value out"))
    }

    /// What a tag says of a scalar's plainness; a mistake is noted for a tag that has no business here.
    fn tagged(&mut self, tag: Option<&Tag>, span: Span, shape: Shape) -> Option<bool> {
        let tag = tag?;
        let core = tag.is_yaml_core_schema();
        match (shape, tag.suffix.as_str()) {
            (Shape::Scalar, "str") if core => Some(false),
            (Shape::Scalar, "!") if tag.handle.is_empty() => Some(false),
            (Shape::Scalar, "int" | "float" | "bool" | "null") if core => Some(true),
            (Shape::Seq, "seq") | (Shape::Map, "map") if core => None,
            _ => {
                let mistake = self.mistake(
                    span,
                    "has a tag that is not understood here; remove what begins with `!`",
                );
                self.mistakes.push(mistake);
                None
            }
        }
    }

    /// Counts what is about to be kept.
    fn spend(&mut self, span: Span, nodes: usize, bytes: usize) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > MAX_NODES || self.bytes > MAX_EXPANDED {
            let problem = format!(
                "makes the file larger than {MAX_NODES} values or {MAX_EXPANDED} bytes, aliases counted; use fewer aliases or a smaller file"
            );
            return Err(self.mistake(span, &problem));
        }
        Ok(())
    }

    fn mistake(&self, span: Span, problem: &str) -> Mistake {
        Mistake {
            file: self.file.to_owned(),
            line: span.start.line(),
            column: span.start.col() + 1,
            key: short(&self.path),
            problem: problem.to_owned(),
        }
    }

    fn syntax(&self, error: &ScanError) -> Mistake {
        let mut problem = format!("is not YAML here: {}", error.info());
        // A tab is the mistake most often made and the one least often seen.
        if error.info().contains("tab") {
            problem.push_str("; indent with spaces");
        }
        Mistake {
            file: self.file.to_owned(),
            line: error.marker().line(),
            column: error.marker().col() + 1,
            key: String::new(),
            problem,
        }
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Scalar,
    Seq,
    Map,
}

/// A path that fits a line of a terminal.
fn short(path: &str) -> String {
    const LONGEST: usize = 200;
    if path.chars().count() <= LONGEST {
        return path.to_owned();
    }
    path.chars().take(LONGEST).chain(['…']).collect()
}

/// What a plain scalar means (YAML 1.2.2, section 10.3.2).
fn plain_to_json(text: &str) -> Json {
    match text {
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        _ => {}
    }
    number(text).map_or_else(|| Json::String(text.to_owned()), Json::Number)
}

fn number(text: &str) -> Option<Number> {
    let radix = |digits: &str, radix: u32| {
        // `from_str_radix` would take a sign of its own.
        (!digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)))
            .then(|| u64::from_str_radix(digits, radix).ok())
            .flatten()
            .map(Number::from)
    };
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa
        .split_once('.')
        .map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let numeric = digits(whole)
        && fraction.is_none_or(digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
        && exponent.is_none_or(|exponent| {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent)
        });
    if !numeric {
        return None;
    }
    if fraction.is_none() && exponent.is_none() {
        if let Ok(number) = text.parse::<u64>() {
            return Some(Number::from(number));
        }
        if let Ok(number) = text.parse::<i64>() {
            return Some(Number::from(number));
        }
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tree(text: &str) -> Node {
        parse("t.yaml", text).expect("valid").expect("not empty")
    }

    fn mistakes(text: &str) -> Vec<String> {
        parse("t.yaml", text)
            .expect_err("mistakes")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_node_and_key_remembers_its_place() {
        let tree = tree("# note\na:\n  - x\n  - {b: \"q\", c: }\nd: |\n  text\n  more\n");
        assert_eq!((tree.line, tree.column), (2, 1));
        let Value::Map(entries) = &tree.value else {
            panic!("a map")
        };
        let (key, list) = &entries[0];
        assert_eq!((key.text.as_str(), key.line, key.column), ("a", 2, 1));
        assert_eq!((list.line, list.column), (3, 3));
        let Value::Seq(items) = &list.value else {
            panic!("a list")
        };
        assert_eq!((items[0].line, items[0].column), (3, 5));
        assert_eq!((items[1].line, items[1].column), (4, 5));
        let b = items[1].get("b").expect("b");
        assert_eq!((b.line, b.column, b.as_str()), (4, 9, Some("q")));
        assert_eq!(items[1].get("c").expect("c").value, Value::Null);
        assert_eq!(tree.get("d").and_then(Node::as_str), Some("text\nmore\n"));
    }

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let table = [
            ("x: true", json!(true)),
            ("x: FALSE", json!(false)),
            ("x: yes", json!("yes")),
            ("x: on", json!("on")),
            ("x: ~", json!(null)),
            ("x: Null", json!(null)),
            ("x:", json!(null)),
            ("x: ''", json!("")),
            ("x: 'true'", json!("true")),
            ("x: 12", json!(12)),
            ("x: '12'", json!("12")),
            ("x: -3", json!(-3)),
            ("x: +3", json!(3)),
            ("x: 0777", json!(777)),
            ("x: 0o17", json!(15)),
            ("x: 0xff", json!(255)),
            ("x: 0x+f", json!("0x+f")),
            ("x: 1.5", json!(1.5)),
            ("x: 1e3", json!(1000.0)),
            ("x: .5", json!(0.5)),
            ("x: .", json!(".")),
            ("x: 1e", json!("1e")),
            ("x: 1_000", json!("1_000")),
            ("x: .inf", json!(".inf")),
            ("x: 1e999", json!("1e999")),
            ("x: 127.0.0.1:80", json!("127.0.0.1:80")),
            ("x: 18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("x: !!str 12", json!("12")),
            ("x: ! 12", json!("12")),
            ("x: !!int 12", json!(12)),
            ("x: [a, {b: 1}]", json!(["a", {"b": 1}])),
        ];
        for (text, expected) in table {
            assert_eq!(tree(text).get("x").expect("x").to_json(), expected, "{text}");
        }
    }

    #[test]
    fn kinds_have_names_that_fit_a_sentence() {
        let table = [
            ("x:", "nothing"),
            ("x: word", "a text"),
            ("x: '1'", "a text"),
            ("x: 1", "a number"),
            ("x: false", "true or false"),
            ("x: []", "a list"),
            ("x: {}", "a map"),
        ];
        for (text, expected) in table {
            assert_eq!(tree(text).get("x").expect("x").kind_name(), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_document_is_nothing() {
        for text in ["", "\n\n", "# only a note\n", "---\n", "---\n...\n", "~", "\u{feff}"] {
            assert_eq!(parse("t.yaml", text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_file_from_another_system_reads_the_same() {
        assert_eq!(
            tree("\u{feff}a: 1\r\nb:\r\n  - 2\r\n").to_json(),
            json!({"a": 1, "b": [2]})
        );
    }

    #[test]
    fn every_mistake_has_its_line_and_all_are_told_together() {
        assert_eq!(
            mistakes("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n"),
            [
                "t.yaml:5:3: b.c: stands here and on line 3; keep one of the two",
                "t.yaml:6:1: a: stands here and on line 1; keep one of the two",
            ]
        );
        assert_eq!(
            mistakes("a: 1\n[x, y]: 2\na: !thing 3\n").len(),
            3,
            "a key that is a list, a repeated key, a foreign tag"
        );
        assert_eq!(
            mistakes("a: 1\n---\nb: 2\n"),
            ["t.yaml:2:1: begins a second document; write one document for each file"]
        );
        assert!(
            mistakes("a: 1\nb: [1, 2\nc: 3\n")[0].starts_with("t.yaml:3:"),
            "{:?}",
            mistakes("a: [1\nb: 2\n")
        );
        assert!(mistakes("a:\n\tb: 1\n")[0].starts_with("t.yaml:2:"));
        assert!(mistakes("a: *nobody\n")[0].starts_with("t.yaml:1:4: is not YAML here: "));
    }

    #[test]
    fn anchors_and_aliases_repeat_what_they_name() {
        assert_eq!(
            tree("base: &b {x: 1}\nnext: *b\nlist: [*b, &t two, *t]\n").to_json(),
            json!({"base": {"x": 1}, "next": {"x": 1}, "list": [{"x": 1}, "two", "two"]})
        );
        assert_eq!(
            tree("? &k key\n: 1\nsame: *k\n").to_json(),
            json!({"key": 1, "same": "key"})
        );
        assert_eq!(
            mistakes("a: &a\n  b: *a\n"),
            ["t.yaml:2:6: a.b: is an alias of what it stands in; write the value out"]
        );
    }

    #[test]
    fn alias_bombs_are_refused_with_their_line() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..12 {
            let one = format!("*a{}", level - 1);
            writeln!(laughs, "a{level}: &a{level} [{}]", [one.as_str(); 9].join(", ")).expect("a string takes all");
        }
        let told = mistakes(&laughs);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("use fewer aliases"), "{told:?}");

        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 5_000].join(", "));
        assert!(
            mistakes(&long)[0].starts_with("t.yaml:2:"),
            "bytes are counted, not values alone"
        );

        let deep = format!(
            "a: &a {}{}\nb: {}*a{}\n",
            "[".repeat(40),
            "]".repeat(40),
            "[".repeat(40),
            "]".repeat(40)
        );
        assert!(mistakes(&deep)[0].contains("nested deeper"));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse("t.yaml", &nested(MAX_DEPTH)).is_ok());
        assert!(mistakes(&nested(MAX_DEPTH + 1))[0].contains("nested deeper than 64 levels"));
        for hostile in ["[", "{", "- ", "? ", "{a: ", "&a [", "!!seq ["] {
            assert!(!mistakes(&hostile.repeat(100_000)).is_empty(), "{hostile}");
        }
        assert!(mistakes(&" ".repeat(MAX_TEXT + 1))[0].starts_with("t.yaml: is 1048577 bytes long"));
        let long_path = format!("{}: !x y", "k".repeat(1_000));
        assert!(mistakes(&long_path)[0].len() < 400);
    }

    #[test]
    fn the_word_that_was_meant_is_found() {
        let known = ["review", "build", "approve", "github.allow_unsigned", "pr"];
        let table = [
            ("revew", Some("review")),
            ("reject", None),
            ("Review", Some("review")),
            ("biuld", Some("build")),
            ("github.allow-unsigned", Some("github.allow_unsigned")),
            ("xyzzy", None),
            ("", None),
            ("z", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), known), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse("t.yaml", &text);
        }

        #[test]
        fn no_text_of_yaml_signs_makes_it_panic(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b: ", "- ", "? ", ": ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", "&x ", "*x", "!", "!!str ", "!<", ">", "|", "|+2\n",
                    "'", "\"", "\\", "\\x", "\\u00e", "#", " #", "%YAML 1.2\n", "%TAG ! x\n", "---", "...", "\t", "\r", "~", "@", "`", "\u{feff}", "\u{85}", "\u{2028}", "é", "\0",
                ]),
                0..60,
            )
        ) {
            let _ = parse("t.yaml", &parts.concat());
        }

        #[test]
        fn what_is_written_as_json_is_read_as_the_same_value(texts in prop::collection::vec("\\PC{0,12}", 0..8)) {
            let value = json!({"list": texts, "n": texts.len()});
            prop_assert_eq!(tree(&value.to_string()).to_json(), value);
        }
    }
}
