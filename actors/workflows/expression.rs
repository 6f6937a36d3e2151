//! The expressions of `when` and `until`: a text in, yes or no out. Pure and total; knows no run.
//!
//! Written here rather than taken from a crate: the forms of the grammar compare what is missing, truth values and texts in
//! their own way (`path != true` holds for what is missing), and the languages on offer bring loops, calls or a parser
//! generator for what is five rules.

use serde_json::Value;

/// Longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 2_000;
/// Deepest nesting of parentheses and `!`.
const MAX_DEPTH: usize = 32;

/// An expression that was understood.
///
/// ```text
/// output.contains('READY')
/// verdict == 'APPROVED' && !(labels.contains('wip') || attempts >= 3)
/// ```
///
/// - A name (`prNumber`, `scratch.talk.done`, `labels.0`) alone holds as in `{{#if name}}`: not where it is missing, null,
///   false, 0, empty text or an empty list.
/// - `==` and `!=` compare with a text, a number, `true`, `false`, `null` or another name; `<`, `<=`, `>` and `>=` compare
///   numbers and hold for nothing else. A text that is a number counts as one. What is missing is equal to `''`, `false`
///   and `null`; the texts `true` and `false` are equal to the truth values. Line ends that a text closes with do not count.
/// - `.contains('x')`, `.startsWith('x')` and `.endsWith('x')` look into texts; `contains` also finds an item of a list.
/// - `!`, `&&` and `||` as everywhere; `&&` binds closer.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(Node);

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ExpressionError {
    /// What is wrong and what to do, lower case, no full stop.
    pub problem: String,
    /// Where, in bytes from the start of the expression.
    pub offset: usize,
}

/// A name that an expression looks up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The path, such as `scratch.talk.done`.
    pub path: String,
    /// Where it stands, in bytes from the start of the expression.
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Compare(Operand, Comparison, Operand),
    Call(Name, Method, String),
    Truth(Operand),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Name(Name),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Contains,
    StartsWith,
    EndsWith,
}

const METHODS: &[(&str, Method)] = &[
    ("contains", Method::Contains),
    ("startsWith", Method::StartsWith),
    ("endsWith", Method::EndsWith),
];

impl Expression {
    /// Understands a text.
    ///
    /// # Errors
    /// When it is no expression, or longer than [`MAX_EXPRESSION`]: the first thing that is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_EXPRESSION {
            return Err(ExpressionError {
                problem: format!(
                    "is {} bytes long; at most {MAX_EXPRESSION} are read, so decide it in a script phase",
                    text.len()
                ),
                offset: 0,
            });
        }
        let mut parser = Parser {
            text,
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
        };
        let node = parser.any()?;
        match parser.peek() {
            None => Ok(Self(node)),
            Some(token) => Err(parser.unexpected(token)),
        }
    }

    /// Whether it holds. `look` answers what a name stands for, by its whole path; nothing for what is missing.
    #[must_use]
    pub fn holds(&self, look: &dyn Fn(&str) -> Option<Value>) -> bool {
        self.0.holds(look)
    }

    /// Every name that it looks up, in the order of the text.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        self.0.gather(&mut names);
        names
    }
}

impl Node {
    fn holds(&self, look: &dyn Fn(&str) -> Option<Value>) -> bool {
        match self {
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(look)),
            Self::All(nodes) => nodes.iter().all(|node| node.holds(look)),
            Self::Not(node) => !node.holds(look),
            Self::Compare(left, comparison, right) => compare(&left.value(look), *comparison, &right.value(look)),
            Self::Call(name, method, wanted) => calls(look(&name.path).as_ref(), *method, wanted),
            Self::Truth(operand) => truth(&operand.value(look)),
        }
    }

    fn gather(&self, into: &mut Vec<Name>) {
        match self {
            Self::Any(nodes) | Self::All(nodes) => nodes.iter().for_each(|node| node.gather(into)),
            Self::Not(node) => node.gather(into),
            Self::Call(name, ..) => into.push(name.clone()),
            Self::Compare(left, _, right) => {
                for operand in [left, right] {
                    into.extend(operand.name().cloned());
                }
            }
            Self::Truth(operand) => into.extend(operand.name().cloned()),
        }
    }
}

impl Operand {
    /// What it stands for; null for what is missing.
    fn value(&self, look: &dyn Fn(&str) -> Option<Value>) -> Value {
        match self {
            Self::Name(name) => look(&name.path).unwrap_or(Value::Null),
            Self::Literal(value) => value.clone(),
        }
    }

    fn name(&self) -> Option<&Name> {
        match self {
            Self::Name(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !closed(text).is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(_) => true,
    }
}

/// Without the line ends that it closes with, as `$(…)` in a shell.
fn closed(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> bool {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::Unequal => !equal(left, right),
        Comparison::Less => numbers(left, right).is_some_and(|(a, b)| a < b),
        Comparison::LessOrEqual => numbers(left, right).is_some_and(|(a, b)| a <= b),
        Comparison::More => numbers(left, right).is_some_and(|(a, b)| a > b),
        Comparison::MoreOrEqual => numbers(left, right).is_some_and(|(a, b)| a >= b),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, other) | (other, Value::Null) => match other {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => closed(text).is_empty(),
            _ => false,
        },
        (Value::Bool(yes), other) | (other, Value::Bool(yes)) => match other {
            Value::Bool(other) => yes == other,
            Value::String(text) => closed(text) == if *yes { "true" } else { "false" },
            _ => false,
        },
        (Value::String(left), Value::String(right)) => closed(left) == closed(right),
        (Value::Number(_), _) | (_, Value::Number(_)) => {
            numbers(left, right).is_some_and(|(left, right)| left.total_cmp(&right).is_eq())
        }
        _ => left == right,
    }
}

fn numbers(left: &Value, right: &Value) -> Option<(f64, f64)> {
    Some((number(left)?, number(right)?))
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // `-0` is 0, and what a text calls "nan" or "inf" is no number.
    number.is_finite().then_some(number + 0.0)
}

fn calls(value: Option<&Value>, method: Method, wanted: &str) -> bool {
    match value {
        Some(Value::Array(list)) => {
            method == Method::Contains && list.iter().any(|item| equal(item, &Value::String(wanted.to_owned())))
        }
        Some(Value::String(text)) => match method {
            Method::Contains => text.contains(wanted),
            Method::StartsWith => text.starts_with(wanted),
            Method::EndsWith => closed(text).ends_with(wanted),
        },
        Some(Value::Number(number)) => calls(Some(&Value::String(number.to_string())), method, wanted),
        _ => false,
    }
}

/// A token and where it begins, in bytes.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    offset: usize,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Path(String),
    Text(String),
    Number(f64),
    Compare(Comparison),
    And,
    Or,
    Not,
    Open,
    Close,
}

fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    const SIGNS: &[(&str, What)] = &[
        ("==", What::Compare(Comparison::Equal)),
        ("!=", What::Compare(Comparison::Unequal)),
        ("<=", What::Compare(Comparison::LessOrEqual)),
        (">=", What::Compare(Comparison::MoreOrEqual)),
        ("&&", What::And),
        ("||", What::Or),
        ("<", What::Compare(Comparison::Less)),
        (">", What::Compare(Comparison::More)),
        ("!", What::Not),
        ("(", What::Open),
        (")", What::Close),
    ];
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(first) = text[offset..].chars().next() {
        let rest = &text[offset..];
        let error = |problem: String| Err(ExpressionError { problem, offset });
        let (what, length) = if first.is_whitespace() {
            offset += first.len_utf8();
            continue;
        } else if rest.starts_with("===") || rest.starts_with("!==") {
            return error("there is no \"===\" or \"!==\"; write \"==\" or \"!=\"".into());
        } else if let Some((sign, what)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            (what.clone(), sign.len())
        } else if matches!(first, '\'' | '"') {
            match quoted(rest, first) {
                Some((text, length)) => (What::Text(text), length),
                None => return error(format!("this text has no end; close it with {first}")),
            }
        } else if first.is_ascii_digit() || first == '-' {
            let end = 1 + run(&rest[1..], |b| b.is_ascii_alphanumeric() || b == b'.');
            match rest[..end].parse::<f64>() {
                Ok(number) if number.is_finite() => (What::Number(number), end),
                _ => return error(format!("{:?} is no number; put a text in quotes", &rest[..end])),
            }
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = run(rest, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
            let path = &rest[..end];
            if path.split('.').any(str::is_empty) {
                return error(format!("{path:?} is no name; parts of a name are divided by one dot"));
            }
            (What::Path(path.to_owned()), end)
        } else {
            return error(match first {
                '=' => "a comparison is written \"==\"".into(),
                '&' => "and is written \"&&\"".into(),
                '|' => "or is written \"||\"".into(),
                '{' | '$' => "an expression is no template; write the name without braces".into(),
                other => format!("{other:?} has no meaning here; put a text in quotes"),
            });
        };
        tokens.push(Token { offset, what });
        offset += length;
    }
    Ok(tokens)
}

/// How many bytes from the start fit.
fn run(text: &str, fits: fn(u8) -> bool) -> usize {
    text.bytes().position(|b| !fits(b)).unwrap_or(text.len())
}

/// A text in quotes, `\` before a quote or a `\` taken off, and `\n` and `\t` resolved; with its length in bytes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((out, at + c.len_utf8()));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()?.1 {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            escaped @ ('\\' | '\'' | '"') => out.push(escaped),
            other => out.extend(['\\', other]),
        }
    }
    None
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn takes(&mut self, what: &What) -> bool {
        let there = self.peek().is_some_and(|token| token.what == *what);
        self.at += usize::from(there);
        there
    }

    fn any(&mut self) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.all()?];
        while self.takes(&What::Or) {
            nodes.push(self.all()?);
        }
        Ok(only(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.one()?];
        while self.takes(&What::And) {
            nodes.push(self.one()?);
        }
        Ok(only(nodes, Node::All))
    }

    fn one(&mut self) -> Result<Node, ExpressionError> {
        let Some(token) = self.take() else {
            return Err(self.ends("a name or a value"));
        };
        match token.what {
            What::Not => {
                let node = self.deeper(token.offset, Self::one)?;
                if matches!(node, Node::Compare(..)) && !self.closes_before() {
                    return Err(ExpressionError {
                        problem: "what \"!\" turns round is not clear; write \"!(a == b)\", or \"a != b\"".into(),
                        offset: token.offset,
                    });
                }
                Ok(Node::Not(Box::new(node)))
            }
            What::Open => {
                let node = self.deeper(token.offset, Self::any)?;
                if !self.takes(&What::Close) {
                    return Err(match self.peek() {
                        Some(token) => self.unexpected(token),
                        None => self.ends("\")\""),
                    });
                }
                Ok(node)
            }
            What::Path(path) if self.peek().is_some_and(|next| next.what == What::Open) => {
                self.call(&path, token.offset)
            }
            _ => {
                let left = self.operand(token)?;
                let Some(What::Compare(comparison)) = self.peek().map(|token| token.what.clone()) else {
                    return Ok(Node::Truth(left));
                };
                self.at += 1;
                let Some(token) = self.take() else {
                    return Err(self.ends("a name or a value"));
                };
                let right = self.operand(token)?;
                Ok(Node::Compare(left, comparison, right))
            }
        }
    }

    /// Whether the token before is a `)`.
    fn closes_before(&self) -> bool {
        self.at > 0
            && self
                .tokens
                .get(self.at - 1)
                .is_some_and(|token| token.what == What::Close)
    }

    fn deeper(
        &mut self,
        offset: usize,
        then: fn(&mut Self) -> Result<Node, ExpressionError>,
    ) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpressionError {
                problem: format!("is nested deeper than {MAX_DEPTH} levels; make it flatter"),
                offset,
            });
        }
        let node = then(self);
        self.depth -= 1;
        node
    }

    fn call(&mut self, path: &str, offset: usize) -> Result<Node, ExpressionError> {
        let error = |problem: String| Err(ExpressionError { problem, offset });
        let known = || METHODS.iter().map(|(name, _)| *name);
        let Some((path, name)) = path.rsplit_once('.') else {
            return error(format!(
                "there is no function {path:?}; ask a name, such as \"output.contains('READY')\""
            ));
        };
        let Some((_, method)) = METHODS.iter().find(|(method, _)| *method == name) else {
            let guess = super::reader::did_you_mean(name, known());
            return error(format!(
                "there is no {name:?}{guess} (there are {})",
                known().collect::<Vec<_>>().join(", ")
            ));
        };
        self.at += 1;
        let argument = self.take();
        let Some(What::Text(wanted)) = argument.as_ref().map(|token| token.what.clone()) else {
            return Err(match argument {
                Some(token) => ExpressionError {
                    problem: format!("\"{name}\" is given one text in quotes"),
                    offset: token.offset,
                },
                None => self.ends("a text in quotes"),
            });
        };
        if !self.takes(&What::Close) {
            return Err(match self.peek() {
                Some(token) => self.unexpected(token),
                None => self.ends("\")\""),
            });
        }
        let name = Name {
            path: path.to_owned(),
            offset,
        };
        Ok(Node::Call(name, *method, wanted))
    }

    fn operand(&self, token: Token) -> Result<Operand, ExpressionError> {
        Ok(match token.what {
            What::Text(text) => Operand::Literal(Value::String(text)),
            What::Number(number) => Operand::Literal(number.into()),
            What::Path(path) => match path.as_str() {
                "true" => Operand::Literal(true.into()),
                "false" => Operand::Literal(false.into()),
                "null" => Operand::Literal(Value::Null),
                _ => Operand::Name(Name {
                    path,
                    offset: token.offset,
                }),
            },
            _ => return Err(self.unexpected(&token)),
        })
    }

    fn unexpected(&self, token: &Token) -> ExpressionError {
        let word = match &token.what {
            What::Path(word) if word == "and" => "and is written \"&&\"".into(),
            What::Path(word) if word == "or" => "or is written \"||\"".into(),
            What::Path(_) | What::Text(_) | What::Number(_) => {
                "a comparison, \"&&\" or \"||\" is missing before this".into()
            }
            What::Open => "a method is written right behind its name, \"output.contains('READY')\"".into(),
            What::Close => "this \")\" closes nothing, or something is missing before it".into(),
            What::Compare(_) => {
                "a comparison stands between two names or values, without parentheses; join several with \"&&\"".into()
            }
            What::And | What::Or | What::Not => {
                format!(
                    "something is missing before {:?}",
                    &self.text[token.offset..=token.offset]
                )
            }
        };
        ExpressionError {
            problem: word,
            offset: token.offset,
        }
    }

    fn ends(&self, missing: &str) -> ExpressionError {
        ExpressionError {
            problem: if self.tokens.is_empty() {
                "is empty; write an expression, such as \"output.contains('READY')\"".into()
            } else {
                format!("ends where {missing} should follow")
            },
            offset: self.tokens.last().map_or(0, |token| token.offset),
        }
    }
}

/// The node alone, or all of them under one.
fn only(mut nodes: Vec<Node>, together: fn(Vec<Node>) -> Node) -> Node {
    match (nodes.len(), nodes.pop()) {
        (1, Some(node)) => node,
        (_, last) => {
            nodes.extend(last);
            together(nodes)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn facts(path: &str) -> Option<Value> {
        let facts = json!({
            "output": "Looks fine.\nREADY\n",
            "verdict": "APPROVED\n",
            "prNumber": 8,
            "attempts": "3",
            "reopened": true,
            "said": "false",
            "labels": ["bug", "security-scan"],
            "none": [],
            "zero": 0,
            "empty": "",
            "scratch": {"talk": {"done": true, "turns": 2}},
            "models": {"pr-fix": "small"},
        });
        let mut value = &facts;
        for step in path.split('.') {
            value = match value {
                Value::Array(list) => list.get(step.parse::<usize>().ok()?)?,
                other => other.get(step)?,
            };
        }
        Some(value.clone())
    }

    fn holds(text: &str) -> bool {
        Expression::parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .holds(&facts)
    }

    #[test]
    fn an_expression_says_what_it_says() {
        for text in [
            "output.contains('READY')",
            "output.contains(\"READY\")",
            "output.endsWith('READY')",
            "output.startsWith('Looks')",
            "verdict == 'APPROVED'",
            "'APPROVED' == verdict",
            "verdict != 'REQUEST_CHANGES'",
            "reopened == true",
            "reopened",
            "reopened != false",
            "scratch.talk.done == true",
            "scratch.talk.turns >= 2 && scratch.talk.turns < 3",
            "said == false",
            "said != true",
            "labels.contains('bug')",
            "labels.0 == 'bug'",
            "!labels.contains('bu')",
            "models.pr-fix == 'small'",
            "prNumber",
            "prNumber == 8 && prNumber == '8' && prNumber > -1",
            "attempts >= 3",
            "attempts == 3.0",
            "prNumber.contains('8')",
            "!none && !zero && !empty && !missing && !scratch.talk.gone",
            "missing == '' && missing == null && missing == false && missing != true && missing != 'x'",
            "missing == other",
            "!missing.contains('')",
            "!(missing > 0) && !(missing <= 0) && !(verdict > 0)",
            "zero == 0 && zero == -0",
            "true || missing && missing",
            "(true || missing) && reopened",
            "!!reopened",
            "!(verdict == 'x' || output.contains('NOT'))",
            "  verdict=='APPROVED'&&reopened  ",
            "output.contains('fine.\\nREADY')",
            "'it\\'s' == \"it's\"",
            "labels != none",
        ] {
            assert!(holds(text), "{text}");
            assert!(!holds(&format!("!({text})")), "!({text})");
        }
    }

    #[test]
    fn what_is_no_expression_is_told_with_its_place() {
        for (text, offset, words) in [
            ("", 0, "is empty"),
            ("   ", 0, "is empty"),
            ("a = 'b'", 2, "written \"==\""),
            ("a === 'b'", 2, "there is no \"===\""),
            ("a & b", 2, "written \"&&\""),
            ("a and b", 2, "written \"&&\""),
            ("a or b", 2, "written \"||\""),
            ("a ==", 2, "ends where a name or a value"),
            ("a == 'b", 5, "has no end"),
            ("a == 'b' == c", 9, "a comparison stands between"),
            ("a && ", 2, "ends where"),
            ("&& a", 0, "something is missing before \"&\""),
            ("(a", 1, "ends where \")\""),
            ("a)", 1, "closes nothing"),
            ("!a == b", 0, "write \"!(a == b)\""),
            ("contains('a')", 0, "there is no function"),
            ("output.contain('a')", 0, "did you mean \"contains\"?"),
            ("output.contains(a)", 16, "one text in quotes"),
            ("output.contains('a', 'b')", 19, "',' has no meaning"),
            ("a..b", 0, "is no name"),
            ("1x == 1", 0, "is no number"),
            ("1e999 == 1", 0, "is no number"),
            ("{{output}} == 'a'", 0, "no template"),
            ("${x.output} == 'a'", 0, "no template"),
            ("verdict APPROVED", 8, "is missing before this"),
            ("é == 1", 0, "has no meaning"),
            ("a == 'é' é", 10, "has no meaning"),
        ] {
            let error = Expression::parse(text).expect_err(text);
            assert!(
                error.offset == offset && error.problem.contains(words),
                "{text}: {error:?}"
            );
        }
        for text in [
            "(".repeat(1_000),
            "!".repeat(1_000),
            format!("{}a{}", "(".repeat(40), ")".repeat(40)),
            "a && ".repeat(1_000),
        ] {
            let error = Expression::parse(&text).expect_err("it is too much");
            assert!(error.problem.len() < 100, "{error}");
        }
    }

    #[test]
    fn the_names_of_an_expression_are_where_they_stand() {
        let expression = Expression::parse("a.b == c && !d.contains('e') || 'f' == true").expect("it is one");
        let names: Vec<_> = expression
            .names()
            .into_iter()
            .map(|name| (name.path, name.offset))
            .collect();
        assert_eq!(names, [("a.b".into(), 0), ("c".into(), 7), ("d".into(), 13)]);
    }

    /// An expression as text, with what it must come to.
    fn any_expression() -> impl Strategy<Value = (String, bool)> {
        let leaf = prop_oneof![
            Just(("reopened".to_owned(), true)),
            Just(("missing".to_owned(), false)),
            (0..20i64).prop_map(|n| (format!("prNumber > {n}"), 8 > n)),
            (0..20i64).prop_map(|n| (format!("{n} == prNumber"), 8 == n)),
            "[a-zA-Z '\"\\\\]{0,6}".prop_map(|text| {
                let quoted = text.replace('\\', "\\\\").replace('\'', "\\'");
                (
                    format!("output.contains('{quoted}')"),
                    "Looks fine.\nREADY\n".contains(&text),
                )
            }),
        ];
        leaf.prop_recursive(5, 30, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|(text, yes)| (format!("!({text})"), !yes)),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|all| (
                    all.iter()
                        .map(|(text, _)| format!("({text})"))
                        .collect::<Vec<_>>()
                        .join(" && "),
                    all.iter().all(|(_, yes)| *yes)
                )),
                prop::collection::vec(inner, 1..4).prop_map(|any| (
                    any.iter()
                        .map(|(text, _)| format!("({text})"))
                        .collect::<Vec<_>>()
                        .join("||"),
                    any.iter().any(|(_, yes)| *yes)
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_expression_comes_to_what_logic_says((text, yes) in any_expression()) {
            match Expression::parse(&text) {
                Ok(expression) => prop_assert_eq!(expression.holds(&facts), yes, "{}", text),
                Err(error) => prop_assert!(text.len() > MAX_EXPRESSION || error.problem.contains("nested"), "{}: {}", text, error),
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[-a-z.'\"\\\\(){}!=<>&|$ 0-9é\n]{0,60}|\\PC{0,40}") {
            match Expression::parse(&text) {
                Ok(expression) => {
                    let _either = expression.holds(&facts);
                    for name in expression.names() {
                        prop_assert!(text[name.offset..].starts_with(&name.path));
                    }
                }
                Err(error) => prop_assert!(error.offset <= text.len() && text.is_char_boundary(error.offset)),
            }
        }
    }
}
