//! The project's own text, read so that a comment is no code and a word in quotes is no path. Knows no wall.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The project's folder.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of one file of the project.
pub(super) fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names of all files of the project, from its folder on, in order. What is built or kept while running is left out.
pub(super) fn all_files() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the project can be read") {
            let path = entry.expect("the project can be read").path();
            let name = path
                .strip_prefix(root())
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            let built_or_kept = [".git", "target"].contains(&name.as_str()) || name.starts_with("data/");
            if path.is_dir() && !built_or_kept {
                walk(&path, found);
            } else if path.is_file() && (!built_or_kept || name == "data/README.md") {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    found
}

/// A Rust file of the project.
pub(super) struct Source {
    /// From the project's folder on.
    pub(super) name: String,
    /// As it is.
    pub(super) text: String,
    /// The same, with spaces where comments and the insides of literals were.
    pub(super) code: String,
    /// The same, with spaces where tests were, too. Empty for a file that holds only tests.
    pub(super) flow: String,
    /// What stands in quotes.
    pub(super) literals: Vec<String>,
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let (code, literals) = blank(&text);
        let flow = without_tests(&code);
        Self {
            name,
            text,
            code,
            flow,
            literals,
        }
    }

    /// The modules between the crate's root and this file.
    pub(super) fn module(&self) -> Vec<&str> {
        let inner = ["actors/", "src/"]
            .iter()
            .find_map(|base| self.name.strip_prefix(base))
            .unwrap_or(&self.name);
        let mut module: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
        if matches!(module.last(), Some(&("mod" | "lib" | "main" | "build"))) {
            module.pop();
        }
        module
    }
}

/// Every Rust file of the project.
pub(super) fn rust() -> Vec<Source> {
    let mut sources: Vec<Source> = all_files()
        .into_iter()
        .filter(|name| name.ends_with(".rs"))
        .map(|name| {
            let text = read(&name);
            Source::new(name, text)
        })
        .collect();
    let only_tests: BTreeSet<String> = sources.iter().flat_map(test_files_of).collect();
    for source in &mut sources {
        let outside = ["tests/", "benches/"].iter().any(|base| source.name.starts_with(base));
        if outside || only_tests.contains(&source.name) {
            source.flow.clear();
        }
    }
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

/// The files that a `#[cfg(test)] mod name;` of this file stands for.
fn test_files_of(source: &Source) -> Vec<String> {
    let (folder, file) = source.name.rsplit_once('/').unwrap_or(("", &source.name));
    let folder = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => source.name.trim_end_matches(".rs").to_owned(),
    };
    let tokens = tokens(&source.code);
    let mark = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    tokens
        .windows(mark.len() + 2)
        .filter(|window| {
            window[..mark.len()]
                .iter()
                .zip(mark)
                .all(|(token, mark)| *token == mark)
        })
        .filter(|window| window[mark.len() + 1] == ";")
        .map(|window| format!("{folder}/{}.rs", window[mark.len()]))
        .collect()
}

/// Words, `::` and single signs.
pub(super) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What each path that begins with `head` names next, groups in braces included.
pub(super) fn named_after<'a>(tokens: &[&'a str], head: &str) -> Vec<&'a str> {
    let mut named = Vec::new();
    for at in 0..tokens.len() {
        let begins = tokens[at] == head && (at == 0 || tokens[at - 1] != "::");
        if begins && tokens.get(at + 1) == Some(&"::") {
            named.extend(first_segments(&tokens[at + 2..]));
        }
    }
    named
}

/// What the paths that climb with `super` name where they leave their room, for a file of this module.
pub(super) fn named_by_climbing<'a>(tokens: &[&'a str], module: &[&str]) -> Vec<&'a str> {
    let mut named = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at] != "super" || (at > 0 && tokens[at - 1] == "::") {
            continue;
        }
        let mut climbed = 0;
        let mut next = at;
        while tokens.get(next) == Some(&"super") && tokens.get(next + 1) == Some(&"::") {
            climbed += 1;
            next += 2;
        }
        if climbed >= module.len() {
            named.extend(first_segments(&tokens[next..]));
        }
    }
    named
}

/// The first word of a path's rest, or of each of its branches.
fn first_segments<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    if rest.first() != Some(&"{") {
        return rest.first().copied().into_iter().collect();
    }
    let (mut depth, mut named, mut expected) = (0, Vec::new(), false);
    for token in rest {
        match *token {
            "{" => {
                depth += 1;
                expected = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => expected = depth == 1,
            word if expected && depth == 1 => {
                named.push(word);
                expected = false;
            }
            _ => {}
        }
    }
    named
}

/// The text with spaces for comments and for what stands in quotes, and what stood in quotes.
fn blank(text: &str) -> (String, Vec<String>) {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut literals = Vec::new();
    let mut wipe = |from: usize, to: usize| {
        for byte in &mut out[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        if rest.starts_with("//") {
            let end = at + rest.find('\n').unwrap_or(rest.len());
            wipe(at, end);
            at = end;
        } else if rest.starts_with("/*") {
            let end = at + comment_length(rest);
            wipe(at, end);
            at = end;
        } else if let Some((open, inside, close)) = raw_string(rest).filter(|_| !after_word) {
            literals.push(rest[open..open + inside].to_owned());
            wipe(at, at + open + inside + close);
            at += open + inside + close;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let inside = string_length(quoted);
            literals.push(quoted[..inside].to_owned());
            wipe(at + 1, at + 1 + inside);
            at += inside + 2;
        } else if let Some(length) = char_literal(rest) {
            wipe(at, at + length);
            at += length;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    (
        String::from_utf8(out).expect("only whole literals and comments are wiped"),
        literals,
    )
}

fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Lengths of the opening, the inside and the closing of a raw string that the text begins with.
fn raw_string(text: &str) -> Option<(usize, usize, usize)> {
    let prefix = ["br", "cr", "r"].iter().find(|prefix| text.starts_with(**prefix))?;
    let hashes = text[prefix.len()..].chars().take_while(|c| *c == '#').count();
    let open = prefix.len() + hashes + 1;
    text[prefix.len() + hashes..].starts_with('"').then_some(())?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let inside = text[open..].find(&closing).unwrap_or(text.len() - open);
    Some((open, inside, closing.len().min(text.len() - open - inside)))
}

fn string_length(inside: &str) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    inside.len()
}

/// The length of a character in quotes; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if let Some(escaped) = inside.strip_prefix('\\') {
        let first = escaped.chars().next()?.len_utf8();
        return Some(2 + first + escaped[first..].find('\'')? + 1);
    }
    let first = inside.chars().next()?.len_utf8();
    inside[first..].starts_with('\'').then_some(first + 2)
}

/// Code with spaces for every item behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = code[from..].find(MARK) {
        let begin = from + found;
        let end = begin + MARK.len() + item_length(&code[begin + MARK.len()..]);
        // Byte for byte, so that places still match.
        let spaces: String = code[begin..end]
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(begin..end, &spaces);
        from = end;
    }
    out
}

/// To the `;` or the closing brace that ends the item.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn the_reader_tells_code_from_words_about_code() {
    let text = "//! crate::store\nuse crate::{domain::{A, B}, messages::C};\nlet x = r#\"crate::runs \" SELECT\"#; // crate::cli\n\
        let y: &'static str = \"crate::http \\\" \"; let z = '\"'; crate::clock::now();\n#[cfg(test)]\nmod tests {\n use crate::system::X;\n}\n\
        use super::super::github::Y;\n";
    let source = Source::new("actors/room/file.rs".into(), text.into());
    assert_eq!(
        named_after(&tokens(&source.code), "crate"),
        ["domain", "messages", "clock", "system"]
    );
    assert_eq!(
        named_after(&tokens(&source.flow), "crate"),
        ["domain", "messages", "clock"]
    );
    assert_eq!(named_by_climbing(&tokens(&source.flow), &source.module()), ["github"]);
    assert_eq!(source.literals, ["crate::runs \" SELECT", "crate::http \\\" "]);
    assert_eq!(source.code.len(), text.len());
    let declares = Source::new(
        "actors/room/mod.rs".into(),
        "#[cfg(test)]\nmod suite;\nmod real;".into(),
    );
    assert_eq!(test_files_of(&declares), ["actors/room/suite.rs"]);
}
