//! YAML, JSON and diffs with their parts marked, so that the eye finds its way. Tokens only; judges no syntax. Pure.

use maud::{Markup, html};

/// Longer texts are shown without marks: a page of a hundred thousand elements is nobody's friend.
const MOST: usize = 96 * 1024;

/// YAML, line by line.
pub(super) fn yaml(text: &str) -> Markup {
    if text.len() > MOST {
        return html! { (text) };
    }
    html! { @for line in text.split_inclusive('\n') { (yaml_line(line)) } }
}

fn yaml_line(line: &str) -> Markup {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    if body.starts_with('#') {
        return html! { span.c { (line) } };
    }
    let dashes = body.len() - body.trim_start_matches("- ").len();
    let (dash, body) = body.split_at(dashes);
    let key = body
        .find(": ")
        .or_else(|| body.trim_end().strip_suffix(':').map(str::len));
    let is_key = |key: &str| !key.is_empty() && !key.contains(['"', '{', '[', '#', ' ']);
    match key.filter(|at| is_key(&body[..*at])) {
        Some(at) => html! { (indent) (dash) span.k { (body[..at]) } (value(&body[at..])) },
        None => html! { (indent) (dash) (value(body)) },
    }
}

/// What stands behind a key: quoted texts, numbers and words of YAML, and a comment at the end.
fn value(rest: &str) -> Markup {
    let (rest, comment) = match rest.find(" #") {
        Some(at) if rest[..at].matches(['"', '\'']).count().is_multiple_of(2) => rest.split_at(at),
        _ => (rest, ""),
    };
    let inner = rest.trim_start_matches(':').trim();
    let at = rest.find(inner).unwrap_or_default();
    let (before, after) = (&rest[..at], &rest[at + inner.len()..]);
    let class = match () {
        () if inner.starts_with(['"', '\'']) => Some("s"),
        () if inner.parse::<f64>().is_ok() || ["true", "false", "null", "~"].contains(&inner) => Some("n"),
        () => None,
    };
    html! {
        (before)
        @match class {
            Some(class) => span class=(class) { (inner) },
            None => (inner),
        }
        (after)
        @if !comment.is_empty() { span.c { (comment) } }
    }
}

/// Indented JSON, token by token.
pub(super) fn json(text: &str) -> Markup {
    if text.len() > MOST {
        return html! { (text) };
    }
    let mut parts: Vec<(Option<&'static str>, &str)> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (class, length) = match first {
            '"' => {
                let length = string_length(rest);
                let key = rest[length..].trim_start().starts_with(':');
                (Some(if key { "k" } else { "s" }), length)
            }
            c if c.is_ascii_alphanumeric() || c == '-' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
                (Some("n"), end.unwrap_or(rest.len()))
            }
            _ => {
                let end = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_alphanumeric());
                (None, end.unwrap_or(rest.len()).max(first.len_utf8()))
            }
        };
        parts.push((class, &rest[..length]));
        rest = &rest[length..];
    }
    html! {
        @for (class, text) in parts {
            @match class {
                Some(class) => span class=(class) { (text) },
                None => (text),
            }
        }
    }
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A text without what drives a terminal: colours, movements of the cursor, titles, bells.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '\u{1b}' => match letters.next() {
                // Parameters up to a letter.
                Some('[') => while letters.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // A text up to a bell, or to the escape that ends it.
                Some(']') => {
                    while let Some(c) = letters.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && letters.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Whether a text is a unified diff, as `git diff` prints it.
pub(super) fn is_diff(text: &str) -> bool {
    text.starts_with("diff --git ")
        || text.contains("\ndiff --git ")
        || (text.contains("\n@@ -") && text.contains("\n+++ "))
}

/// A unified diff with its lines marked.
pub(super) fn diff(text: &str) -> Markup {
    if text.len() > MOST {
        return html! { (text) };
    }
    // Words may stand before it, with lines of their own that begin with a dash.
    let begins = |line: &str| line.starts_with("diff --git ") || line.starts_with("--- ") || line.starts_with("@@ -");
    let words: usize = text
        .split_inclusive('\n')
        .take_while(|line| !begins(line))
        .map(str::len)
        .sum();
    let (words, rest) = text.split_at(words);
    html! {
        (words)
        @for line in rest.split_inclusive('\n') {
            @match diff_class(line) {
                Some(class) => span class=(class) { (line) },
                None => (line),
            }
        }
    }
}

fn diff_class(line: &str) -> Option<&'static str> {
    match line.as_bytes().first()? {
        b'+' if !line.starts_with("+++") => Some("added"),
        b'-' if !line.starts_with("---") => Some("removed"),
        b'@' => Some("n"),
        _ if line.starts_with("diff --git") => Some("k"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader would copy: the marks taken away.
    fn unmarked(markup: &Markup) -> String {
        let mut out = String::new();
        let mut rest = markup.0.as_str();
        while let Some(open) = rest.find('<') {
            out.push_str(&rest[..open]);
            rest = &rest[open + rest[open..].find('>').expect("a tag is closed") + 1..];
        }
        out.push_str(rest);
        out.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&amp;", "&")
    }

    #[test]
    fn keys_texts_numbers_and_comments_are_marked() {
        let marked = yaml("# what\nname: build\n  - timeout: 30 # s\n").into_string();
        assert!(marked.contains("<span class=\"c\"># what\n</span>"), "{marked}");
        assert!(marked.contains("<span class=\"k\">name</span>: build"), "{marked}");
        assert!(marked.contains("<span class=\"n\">30</span>"), "{marked}");
        let marked = json("{\"a\": [\"b\\\"c\", -1.5e3, true]}").into_string();
        assert!(marked.contains("<span class=\"k\">&quot;a&quot;</span>"), "{marked}");
        assert!(
            marked.contains("<span class=\"s\">&quot;b\\&quot;c&quot;</span>"),
            "{marked}"
        );
        assert!(marked.contains("<span class=\"n\">-1.5e3</span>"), "{marked}");
    }

    #[test]
    fn what_drives_a_terminal_is_left_out() {
        for (text, expected) in [
            ("\u{1b}[1;31mred\u{1b}[0m\n", "red\n"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b", "ab"),
            ("a\rb\u{8}c\u{1b}", "abc"),
            ("\u{1b}[", ""),
            ("ä\t€", "ä\t€"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_mark_changes_the_text(text in "[ \\n\\-#:\"'a-z<&{}\\[\\],0-9.\u{e4}+@]{0,80}") {
            prop_assert_eq!(unmarked(&yaml(&text)), text.clone());
            prop_assert_eq!(unmarked(&json(&text)), text.clone());
            prop_assert_eq!(unmarked(&diff(&text)), text);
        }
    }
}
