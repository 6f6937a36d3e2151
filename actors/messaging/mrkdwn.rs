//! Markdown to Slack's mrkdwn, and Slack's text to plain words. Pure.
//!
//! `&`, `<` and `>` of the author's words are escaped, and only web and mail addresses become links: no text from outside can
//! notify a channel or a person (`<!channel>`, `<@U…>`).

use pulldown_cmark::{Alignment, CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Cells are padded to their column up to this width; a longer one sticks out.
const WIDEST_COLUMN: usize = 28;
/// Deeper quotes and lists are shown at this depth.
const DEEPEST: usize = 6;

/// Converts a CommonMark text (with tables, strikethrough and task lists) to mrkdwn. Takes time in proportion to the text.
#[must_use]
pub fn mrkdwn(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut writer = Writer {
        out: String::with_capacity(markdown.len() + markdown.len() / 8),
        ..Writer::default()
    };
    for event in Parser::new_ext(markdown, options) {
        writer.take(event);
    }
    writer.out
}

/// Escapes the three characters that mean something to Slack.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

fn escape_into(out: &mut String, text: &str) {
    let mut marks = 0;
    for c in text.chars() {
        // Three of them in words would begin a code block.
        if c == '`' {
            marks += 1;
            if marks == 3 {
                out.push('\u{200b}');
                marks = 1;
            }
        } else {
            marks = 0;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

/// What a person typed, from the text that Slack hands over: entities are resolved, links become their address, and
/// mentions of people, channels and groups are written as words.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        words.push_str(&rest[..begin]);
        let inner = &rest[begin + 1..];
        let Some(end) = inner
            .find(['>', '<', '\n'])
            .filter(|end| inner[*end..].starts_with('>'))
        else {
            words.push('<');
            rest = inner;
            continue;
        };
        let (target, label) = match inner[..end].split_once('|') {
            Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
            None => (&inner[..end], None),
        };
        match target.chars().next() {
            Some('@') => words.push_str(target),
            Some(mark @ ('#' | '!')) => {
                let name = label.unwrap_or(&target[1..]).trim_start_matches(['@', '#']);
                words.push(if mark == '#' { '#' } else { '@' });
                words.push_str(name.split('^').next().unwrap_or(name));
            }
            _ => words.push_str(target.strip_prefix("mailto:").unwrap_or(target)),
        }
        rest = &inner[end + 1..];
    }
    words.push_str(rest);
    words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[derive(Default)]
struct Writer {
    out: String,
    /// Line ends that are due before the next word.
    due: usize,
    quotes: usize,
    lists: Vec<Option<u64>>,
    /// A list item began and its mark is written already: its first paragraph goes on in the same line.
    fresh_item: bool,
    in_heading: bool,
    in_code: bool,
    /// Addresses of the links we are in; none: it is no link for us.
    links: Vec<Option<String>>,
    table: Option<Table>,
}

#[derive(Default)]
struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
    cell: String,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => self.code(&text),
            Event::Text(text) => self.words(&text),
            Event::Code(code) => {
                let code = code.replace('\n', " ");
                self.raw("`");
                self.words(&code);
                self.raw("`");
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let html = html.trim_end_matches('\n');
                let comment = html.starts_with("<!--") && html.ends_with("-->");
                if !comment && !html.is_empty() {
                    self.words(html);
                    if self.table.is_none() {
                        self.due = self.due.max(usize::from(matches!(html.chars().last(), Some('\n'))));
                    }
                }
            }
            Event::SoftBreak | Event::HardBreak => match &mut self.table {
                Some(table) => table.cell.push(' '),
                None => self.due = self.due.max(1),
            },
            Event::Rule => {
                self.block(2);
                self.raw("———");
                self.block(2);
            }
            Event::TaskListMarker(done) => self.raw(if done { "☑ " } else { "☐ " }),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.words(&text),
        }
    }

    fn begin(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.paragraph(),
            Tag::Heading { .. } => {
                self.paragraph();
                self.raw("*");
                self.in_heading = true;
            }
            Tag::BlockQuote(_) => {
                self.paragraph();
                self.quotes += 1;
            }
            Tag::CodeBlock(kind) => {
                // The language hint would be shown as the first line.
                let (CodeBlockKind::Indented | CodeBlockKind::Fenced(_)) = kind;
                self.paragraph();
                self.raw("```");
                self.due = 1;
                self.in_code = true;
            }
            Tag::HtmlBlock => self.paragraph(),
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.block(2);
                } else {
                    self.block(1);
                }
                self.lists.push(first);
                self.fresh_item = false;
            }
            Tag::Item => {
                self.block(1);
                let depth = self.lists.len().clamp(1, DEEPEST) - 1;
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let mark = format!("{number}. ");
                        *number += 1;
                        mark
                    }
                    _ => "• ".to_owned(),
                };
                self.flush();
                self.out.push_str(&"    ".repeat(depth));
                self.out.push_str(&mark);
                self.fresh_item = true;
            }
            Tag::Emphasis => self.raw("_"),
            Tag::Strong if !self.in_heading => self.raw("*"),
            Tag::Strikethrough => self.raw("~"),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                // A link within a link (an image in it) is words.
                let nested = self.links.iter().any(Option::is_some);
                let address = if nested { None } else { address(&dest_url) };
                if let Some(address) = &address
                    && self.table.is_none()
                {
                    self.raw("<");
                    self.raw(address);
                    self.raw("|");
                }
                self.links.push(address);
            }
            Tag::Table(alignments) => {
                self.paragraph();
                self.table = Some(Table {
                    alignments,
                    ..Table::default()
                });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.block(2),
            TagEnd::Heading(_) => {
                self.in_heading = false;
                self.raw("*");
                self.block(2);
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                self.block(2);
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.due = 1;
                self.raw("```");
                self.block(2);
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.fresh_item = false;
                self.due = 0;
                self.block(if self.lists.is_empty() { 2 } else { 1 });
            }
            TagEnd::Item => {
                self.fresh_item = false;
                self.block(1);
            }
            TagEnd::Emphasis => self.raw("_"),
            TagEnd::Strong if !self.in_heading => self.raw("*"),
            TagEnd::Strikethrough => self.raw("~"),
            TagEnd::Link | TagEnd::Image => {
                if let Some(Some(address)) = self.links.pop() {
                    match &mut self.table {
                        // In a code block a link is no link: its address stands behind it.
                        Some(table) if !table.cell.trim().ends_with(&address) => {
                            table.cell.push_str(&format!(" ({address})"));
                        }
                        Some(_) => {}
                        None => self.raw(">"),
                    }
                }
            }
            TagEnd::TableCell => {
                if let Some(table) = &mut self.table {
                    let cell = std::mem::take(&mut table.cell);
                    if let Some(row) = table.rows.last_mut() {
                        row.push(cell.trim().to_owned());
                    }
                }
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.raw("```");
                    for line in table.lines() {
                        self.due = 1;
                        self.raw(&line);
                    }
                    self.due = 1;
                    self.raw("```");
                    self.block(2);
                }
            }
            _ => {}
        }
    }

    /// A paragraph begins: on a line of its own, unless its list item has just begun.
    fn paragraph(&mut self) {
        if self.fresh_item {
            self.fresh_item = false;
            return;
        }
        self.block(if self.lists.is_empty() { 2 } else { 1 });
    }

    fn block(&mut self, gap: usize) {
        // In a tight list no empty lines, and none at the very beginning.
        let gap = if self.lists.is_empty() { gap } else { gap.min(1) };
        self.due = self.due.max(gap);
    }

    /// Words of the author.
    fn words(&mut self, text: &str) {
        if let Some(table) = &mut self.table {
            escape_into(&mut table.cell, text);
            return;
        }
        self.flush();
        self.fresh_item = false;
        // A label must not end its link.
        if self.links.iter().any(Option::is_some) {
            escape_into(&mut self.out, &text.replace('|', "¦"));
        } else {
            escape_into(&mut self.out, text);
        }
    }

    fn code(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            let words = line.strip_suffix('\n').unwrap_or(line);
            if words.is_empty() {
                self.due += 1;
                continue;
            }
            self.flush();
            escape_into(&mut self.out, words);
            self.due = usize::from(line.ends_with('\n'));
        }
    }

    /// Marks of our own.
    fn raw(&mut self, marks: &str) {
        if let Some(table) = &mut self.table {
            // Within a code block marks are noise.
            if !["*", "_", "~", "`"].contains(&marks) {
                table.cell.push_str(marks);
            }
            return;
        }
        self.flush();
        self.fresh_item = false;
        self.out.push_str(marks);
    }

    /// Ends the lines that are due, and begins the next one as its surroundings demand.
    fn flush(&mut self) {
        let due = std::mem::take(&mut self.due);
        let begins = self.out.is_empty();
        if !begins {
            for left in (0..due).rev() {
                self.out.push('\n');
                if left > 0 && self.quotes > 0 {
                    self.out.push('>');
                }
            }
        }
        if begins || due > 0 {
            for _ in 0..self.quotes.min(DEEPEST) {
                self.out.push_str("> ");
            }
        }
    }
}

impl Table {
    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or(0).clamp(1, WIDEST_COLUMN)
            })
            .collect();
        let mut lines: Vec<String> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        if lines.len() > 1 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            lines.insert(1, rule.join("-|-"));
        }
        lines
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                line.push_str(" | ");
            }
            let space = widths.get(column).copied().unwrap_or(0).saturating_sub(width(cell));
            let left = match self.alignments.get(column) {
                Some(Alignment::Right) => space,
                Some(Alignment::Center) => space / 2,
                _ => 0,
            };
            line.push_str(&" ".repeat(left));
            line.push_str(cell);
            line.push_str(&" ".repeat(space - left));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Characters that are seen: an entity is one.
fn width(cell: &str) -> usize {
    let entities = ["&amp;", "&lt;", "&gt;"];
    let hidden: usize = entities
        .iter()
        .map(|entity| cell.matches(entity).count() * (entity.len() - 1))
        .sum();
    cell.chars().count() - hidden
}

/// An address that may become a link.
fn address(url: &str) -> Option<String> {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    let known = ["http://", "https://", "mailto:"];
    if !known.iter().any(|scheme| lower.starts_with(scheme)) {
        return None;
    }
    let mut safe = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            '|' => safe.push_str("%7C"),
            '<' => safe.push_str("%3C"),
            '>' => safe.push_str("%3E"),
            '`' => safe.push_str("%60"),
            '&' => safe.push_str("&amp;"),
            c if c.is_whitespace() || c.is_control() => safe.push_str("%20"),
            c => safe.push(c),
        }
    }
    Some(safe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_mark_has_its_counterpart() {
        for (markdown, expected) in [
            ("hello", "hello"),
            ("# Title\n\ntext", "*Title*\n\ntext"),
            ("## A **b** c", "*A b c*"),
            ("**bold** __too__", "*bold* *too*"),
            ("*slanted* _too_", "_slanted_ _too_"),
            ("~~gone~~", "~gone~"),
            (
                "[t](https://example.com/c?x=1&y=2)",
                "<https://example.com/c?x=1&amp;y=2|t>",
            ),
            ("![alt](https://example.com/c.png)", "<https://example.com/c.png|alt>"),
            ("<https://example.com>", "<https://example.com|https://example.com>"),
            ("a\n\n---\n\nb", "a\n\n———\n\nb"),
            ("`a < b`", "`a &lt; b`"),
            (
                "```rust\nlet a = 1 < 2;\n\n  indented\n```",
                "```\nlet a = 1 &lt; 2;\n\n  indented\n```",
            ),
            ("a\nb", "a\nb"),
            ("a\n\nb", "a\n\nb"),
            ("- a\n- b\n  - c\n\nend", "• a\n• b\n    • c\n\nend"),
            ("3. a\n4. b", "3. a\n4. b"),
            ("- [ ] a\n- [x] b", "• ☐ a\n• ☑ b"),
            ("> quoted\n> more\n\nend", "> quoted\n> more\n\nend"),
            ("> a\n>\n> b", "> a\n>\n> b"),
            ("```\nopen", "```\nopen\n```"),
            ("", ""),
        ] {
            assert_eq!(mrkdwn(markdown), expected, "{markdown}");
        }
    }

    #[test]
    fn nobody_is_notified_by_words_from_outside() {
        for text in [
            "<!channel>",
            "<!here> look",
            "<@U012345>",
            "[x](!channel)",
            "[x](@U012345)",
            "[x](<!here>)",
            "![x](!everyone)",
            "<!subteam^S1>",
            "# <!channel>",
            "> <!channel>",
            "`<!channel>`",
            "| <!channel> |\n|---|\n| <@U1> |",
            "[x](https://example.com/<!channel>)",
            "<div><!channel></div>",
        ] {
            let converted = mrkdwn(text);
            assert!(
                !converted.contains("<!") && !converted.contains("<@"),
                "{text}: {converted}"
            );
        }
    }

    #[test]
    fn a_table_is_an_aligned_block() {
        let table = "| name | n |\n|:--|--:|\n| a & b | 1 |\n| **c** | 200 |\n| [d](https://example.com) | |";
        assert_eq!(
            mrkdwn(table),
            "```\nname                    |   n\n------------------------|----\na &amp; b                   |   1\nc                       | 200\nd (https://example.com) |\n```"
        );
    }

    #[test]
    fn what_slack_hands_over_is_read_as_it_was_typed() {
        for (text, words) in [
            ("a &lt; b &amp;&amp; c", "a < b && c"),
            (
                "see <https://example.com/c|example.com/c> now",
                "see https://example.com/c now",
            ),
            (
                "<https://github.com/acme/site/issues/7>",
                "https://github.com/acme/site/issues/7",
            ),
            (
                "<@U1> <#C1|general> <!here> <!subteam^S1|@team>",
                "@U1 #general @here @team",
            ),
            ("<mailto:a@b.c|a@b.c>", "a@b.c"),
            ("a < b", "a < b"),
            ("&amp;lt;", "&lt;"),
        ] {
            assert_eq!(plain(text), words, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_costs_nothing() {
        let deep = mrkdwn(&format!("{}x", "> ".repeat(20_000)));
        assert!(deep.len() < 100 && deep.ends_with('x'), "{}", deep.len());
        let list: String = (0..500).map(|n| format!("{}- x\n", " ".repeat(n * 2))).collect();
        assert!(mrkdwn(&list).len() < 500 * 60);
    }

    proptest! {
        #[test]
        fn any_text_is_converted_and_notifies_nobody(text in "(\\PC|[\\n<>!@#*_`~|\\-\\[\\]() &]){0,200}") {
            let converted = mrkdwn(&text);
            for (at, _) in converted.match_indices('<') {
                let link = &converted[at + 1..];
                prop_assert!(
                    ["http://", "https://", "mailto:"].iter().any(|s| link.to_ascii_lowercase().starts_with(s)),
                    "{text:?} became {converted:?}"
                );
            }
            prop_assert!(converted.matches("```").count().is_multiple_of(2), "{text:?} became {converted:?}");
            let _ = plain(&text);
        }

        #[test]
        fn plain_words_come_through_whole(words in prop::collection::vec("[a-z]{1,12}", 1..60)) {
            let text = words.join(" ");
            prop_assert_eq!(mrkdwn(&text), text);
        }
    }
}
