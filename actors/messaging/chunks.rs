//! Cuts a long message into pieces that the platform takes. Pure; a code block that is cut is closed and opened again.
//!
//! The rule: while the rest is longer than the limit, break at the last line end in it; if that lies before half of the limit,
//! at the last space; if that lies before three tenths, at the limit itself. The space at the beginning of the rest is dropped.

/// Characters of one piece at most, counted as the platform counts them: in UTF-16 code units.
pub const LIMIT: usize = 3_000;

const FENCE: &str = "```";
const REOPEN: &str = "```\n";
const CLOSE: &str = "\n```";

/// The pieces, in order; none for a text without a visible character. Each has at most `limit` UTF-16 code units
/// (`limit` is at least 64) and as many opened as closed code blocks.
#[must_use]
pub fn chunks(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(64);
    let mut pieces = Vec::new();
    let mut rest = text.trim_end();
    let mut open = false;
    if !open {
        rest = rest.trim_start_matches(['\n', '\r']);
    }
    while !rest.trim().is_empty() {
        let before = if open { REOPEN } else { "" };
        let room = limit - before.len();
        let whole = end_of(rest, room).is_none();
        let (end, stays_open) = if whole && !leaves_open(rest, open) {
            (rest.len(), false)
        } else {
            // A block that is open at the break needs room to be closed.
            let end = if whole { rest.len() } else { break_in(rest, room) };
            let stays_open = leaves_open(&rest[..end], open);
            match end_of(&rest[..end], room - CLOSE.len()) {
                Some(_) if stays_open => {
                    let end = break_in(rest, room - CLOSE.len());
                    (end, leaves_open(&rest[..end], open))
                }
                _ => (end, stays_open),
            }
        };
        let piece = &rest[..end];
        let close = if stays_open { CLOSE } else { "" };
        let piece = if stays_open { piece } else { piece.trim_end() };
        if !piece.trim().is_empty() {
            pieces.push([before, piece, close].concat());
        }
        rest = &rest[end..];
        // Within code each space counts; only the line end at which it was cut is replaced by the cut.
        rest = if stays_open {
            rest.strip_prefix('\n').unwrap_or(rest)
        } else {
            rest.trim_start()
        };
        open = stays_open;
    }
    pieces
}

/// Where the first `units` UTF-16 code units end, if there are more of them.
fn end_of(text: &str, units: usize) -> Option<usize> {
    // Most of a text is ASCII; a text of fewer bytes than units needs no look.
    if text.len() <= units {
        return None;
    }
    let mut seen = 0;
    for (at, c) in text.char_indices() {
        seen += c.len_utf16();
        if seen > units {
            return Some(at);
        }
    }
    None
}

/// Where to break a text that is longer than `room`. Never 0.
fn break_in(text: &str, room: usize) -> usize {
    let Some(most) = end_of(text, room) else {
        return text.len();
    };
    // "At or before the limit": the character behind the last that fits may be the one to break at.
    let reach = text[most..].chars().next().map_or(most, |c| most + c.len_utf8());
    let window = &text[..reach];
    let far_enough = |at: &usize, tenths: usize| end_of(text, room * tenths / 10).is_some_and(|least| *at >= least);
    if let Some(line) = window.rfind('\n').filter(|at| far_enough(at, 5)) {
        return line;
    }
    let space = window.rfind(' ').filter(|at| far_enough(at, 3));
    let cut = space.unwrap_or(most);
    // Links, entities and the marks of a code block are not torn apart.
    let head = &text[..cut];
    let link = head.rfind('<').filter(|at| !head[*at..].contains('>'));
    let entity = head
        .rfind('&')
        .filter(|at| head.len() - at < 6 && !head[*at..].contains([';', ' ', '\n']));
    let whole = match (link, entity) {
        (Some(link), _) if far_enough(&link, 3) => link,
        (_, Some(entity)) => entity,
        _ => cut,
    };
    let marks = text[..whole].trim_end_matches('`').len();
    let kept = if text[whole..].starts_with('`') && far_enough(&marks, 3) {
        marks
    } else {
        whole
    };
    if kept == 0 { most.max(first(text)) } else { kept }
}

fn first(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Whether a code block is open behind this text.
fn leaves_open(text: &str, open: bool) -> bool {
    open ^ (text.matches(FENCE).count() % 2 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> usize {
        text.encode_utf16().count()
    }

    /// What must not get lost: everything but white space and the marks of code blocks.
    fn ink(text: &str) -> String {
        text.replace(FENCE, "")
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '`')
            .collect()
    }

    #[test]
    fn a_text_breaks_where_the_rule_says() {
        let words = |n: usize| "word ".repeat(n / 5);
        // A short one is one piece, and a blank one none.
        assert_eq!(chunks("hello", LIMIT), ["hello"]);
        assert_eq!(chunks(" \n ", LIMIT), Vec::<String>::new());
        // At the last line end, where that is far enough.
        let text = format!("{}\n{}", words(2_000).trim(), words(2_000).trim());
        let pieces = chunks(&text, LIMIT);
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [1_999, 1_999]);
        // Too early a line end: at the last space.
        let text = format!("head\n{}", words(4_000).trim());
        let pieces = chunks(&text, LIMIT);
        assert!(
            pieces[0].len() > 2_900 && pieces[0].ends_with("word"),
            "{}",
            pieces[0].len()
        );
        // No space either: at the limit.
        let pieces = chunks(&"x".repeat(7_000), LIMIT);
        assert_eq!(
            pieces.iter().map(String::len).collect::<Vec<_>>(),
            [3_000, 3_000, 1_000]
        );
        // A line end just behind the last character that fits is "at" the limit.
        let text = format!("{}\nrest", "x".repeat(3_000));
        assert_eq!(chunks(&text, LIMIT)[0].len(), 3_000);
        // 40,000 emoji count double.
        let pieces = chunks(&"🚀".repeat(40_000), LIMIT);
        assert!(
            pieces
                .iter()
                .all(|piece| units(piece) == 3_000 || units(piece) == 2_000),
            "{}",
            pieces.len()
        );
    }

    #[test]
    fn a_code_block_is_closed_and_opened_again() {
        let code = (0..400).map(|n| format!("    line {n}\n")).collect::<String>();
        let pieces = chunks(&format!("Look:\n```\n{code}```\nThat was it."), LIMIT);
        assert!(pieces.len() >= 2);
        assert!(pieces[0].starts_with("Look:\n```\n    line 0\n") && pieces[0].ends_with("\n```"));
        assert!(
            pieces[1].starts_with("```\n    line "),
            "the indent stays: {}",
            &pieces[1][..20]
        );
        assert!(pieces.last().is_some_and(|last| last.ends_with("```\nThat was it.")));
        // One that nobody closed is closed.
        assert_eq!(chunks("```\nopen", LIMIT), ["```\nopen\n```"]);
    }

    #[test]
    fn links_and_entities_are_not_torn_apart() {
        let text = format!(
            "{} <https://example.com/a|a long label of a link> end",
            "x".repeat(2_980)
        );
        let pieces = chunks(&text, LIMIT);
        assert!(
            pieces[1].starts_with("<https://example.com/a|a long label of a link>"),
            "{pieces:?}"
        );
        let text = format!("{}&amp;{}", "x".repeat(2_997), "y".repeat(100));
        assert!(chunks(&text, LIMIT)[1].starts_with("&amp;y"));
    }

    proptest! {
        #[test]
        fn no_piece_is_too_long_nothing_is_lost_and_every_block_is_closed(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z]{1,90}", Just(" ".to_owned()), Just("\n".to_owned()), Just("```\n".to_owned()), Just("```".to_owned()),
                    Just("`".to_owned()), Just("<https://example.com|c d>".to_owned()), Just("&amp;".to_owned()), Just("🚀".to_owned()),
                    "\\PC{1,20}",
                ],
                0..120,
            ),
            limit in 64_usize..400,
        ) {
            let text = parts.concat();
            let pieces = chunks(&text, limit);
            for piece in &pieces {
                prop_assert!(units(piece) <= limit, "{} > {limit}: {piece:?}", units(piece));
                prop_assert!(piece.matches(FENCE).count().is_multiple_of(2), "{piece:?} of {text:?}");
                prop_assert!(!piece.trim().is_empty());
            }
            prop_assert_eq!(ink(&pieces.concat()), ink(&text));
        }
    }
}
