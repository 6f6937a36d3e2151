//! The text of a comment as it leaves: cut to GitHub's size, with the hidden marker by which we know it again. Pure: no clock, no network.

use crate::domain::EffectKey;

/// GitHub refuses longer comments: "body is too long (maximum is 65536 characters)".
/// Counted in UTF-16 units, the strictest reading of "characters".
pub(super) const LONGEST: usize = 65_536;

const OPENING: &str = "<!-- firstlight:";

/// Room for the fence that closes an open code block. Nobody opens one with more than so many signs.
const LONGEST_FENCE: usize = 32;

/// When a text is cut, it is cut at the end of a line if there is one in the last so many units.
const RAGGED: usize = 1_000;

/// The hidden marker of an effect: an HTML comment that holds its key. Two keys never share a marker.
pub(super) fn marker(key: &EffectKey) -> String {
    let mut text = String::from(OPENING);
    let mut last = '-';
    for c in key.as_str().chars() {
        // "--" and ">" would end the comment; '%' is the sign of the escape itself.
        let plain =
            c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '#' | '@') || (c == '-' && last != '-');
        if plain {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        last = c;
    }
    text.push_str(" -->");
    text
}

/// The whole text of a comment: `body`, cut with a visible note where it is too long, and the marker on a line of its own.
pub(super) fn seal(body: &str, marker: &str) -> String {
    // A body may quote what somebody else wrote: a marker in it must not pass for ours.
    let body = body.trim_end().replace(OPENING, "<!-- firstlight ");
    let whole = close(&body, marker);
    if units(&whole) <= LONGEST {
        return whole;
    }
    let note = format!(
        "_Cut here: the whole text has {} characters, GitHub takes {LONGEST}._",
        body.chars().count()
    );
    let room = LONGEST - units(&note) - units(marker) - LONGEST_FENCE - "\n\n\n\n\n".len();
    close(&format!("{}{note}", kept(&body, room)), marker)
}

/// Whether a comment is the one with this marker. A quoted marker (`> <!-- … -->`) does not count.
pub(super) fn bears(comment: &str, marker: &str) -> bool {
    comment.lines().any(|line| line.trim_end() == marker)
}

fn close(body: &str, marker: &str) -> String {
    // Inside an open code block the marker would be shown instead of hidden.
    match open_fence(body) {
        Some(fence) => format!("{body}\n{fence}\n\n{marker}"),
        None => format!("{body}\n\n{marker}"),
    }
}

fn kept(body: &str, room: usize) -> String {
    let mut used = 0;
    let mut end = 0;
    let mut line_end = None;
    for (at, c) in body.char_indices() {
        used += c.len_utf16();
        if used > room {
            break;
        }
        end = at + c.len_utf8();
        if c == '\n' && used + RAGGED >= room {
            line_end = Some(end);
        }
    }
    let text = body[..line_end.unwrap_or(end)].trim_end();
    match open_fence(text) {
        Some(fence) => format!("{text}\n{fence}\n\n"),
        None => format!("{text}\n\n"),
    }
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The fence that closes the code block that is open at the end of a text (CommonMark, "Fenced code blocks").
fn open_fence(text: &str) -> Option<String> {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let inner = line.trim_start_matches(' ');
        if line.len() - inner.len() > 3 {
            continue;
        }
        let Some(sign) = inner.chars().next().filter(|c| matches!(c, '`' | '~')) else {
            continue;
        };
        let length = inner.chars().take_while(|c| *c == sign).count();
        let rest = &inner[length..];
        match open {
            None if (3..=LONGEST_FENCE).contains(&length) && !(sign == '`' && rest.contains('`')) => {
                open = Some((sign, length));
            }
            Some((opened, least)) if sign == opened && length >= least && rest.trim().is_empty() => open = None,
            _ => {}
        }
    }
    open.map(|(sign, length)| sign.to_string().repeat(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> EffectKey {
        text.parse().expect("a valid key")
    }

    #[test]
    fn a_marker_is_one_html_comment_whatever_the_key() {
        for (given, expected) in [
            ("run-1/triage/0", "<!-- firstlight:run-1/triage/0 -->"),
            ("a--b", "<!-- firstlight:a-%2Db -->"),
            ("-->", "<!-- firstlight:%2D%2D%3E -->"),
            ("a%2Db", "<!-- firstlight:a%252Db -->"),
            ("grün <b>", "<!-- firstlight:gr%C3%BCn%20%3Cb%3E -->"),
        ] {
            assert_eq!(marker(&key(given)), expected);
        }
    }

    #[test]
    fn a_marker_in_an_open_code_block_stays_hidden() {
        for (body, expected) in [
            ("plain", "plain\n\n<!-- m -->"),
            ("```rust\nlet a = 1;", "```rust\nlet a = 1;\n```\n\n<!-- m -->"),
            ("~~~~\n```\nx", "~~~~\n```\nx\n~~~~\n\n<!-- m -->"),
            ("```\nx\n```", "```\nx\n```\n\n<!-- m -->"),
            ("```a`b", "```a`b\n\n<!-- m -->"),
        ] {
            assert_eq!(seal(body, "<!-- m -->"), expected);
        }
    }

    #[test]
    fn a_marker_quoted_from_elsewhere_is_not_ours() {
        let ours = marker(&key("k1"));
        assert!(!bears(&format!("> {ours}\n\nthanks"), &ours));
        assert!(!bears(&seal(&format!("you said\n{ours}"), &marker(&key("k2"))), &ours));
        assert!(bears(&format!("text\r\n\r\n{ours}\r\nsomebody added this"), &ours));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_where_a_reader_sees_it() {
        let m = marker(&key("k"));
        let sealed = seal(&"a line of words\n".repeat(10_000), &m);
        assert!(units(&sealed) <= LONGEST);
        assert!(
            sealed.contains("a line of words\n\n_Cut here: the whole text has 159999 characters, GitHub takes 65536._")
        );
        assert!(sealed.ends_with(&m));
        let fenced = seal(&format!("```\n{}", "x".repeat(70_000)), &m);
        assert!(fenced.contains("x\n```\n\n_Cut here"));
    }

    proptest! {
        #[test]
        fn every_comment_fits_and_bears_its_marker(
            body in "(\\PC|\n|`|~){0,200}", repeat in 1_usize..800, k in "[^\\p{Cc}]{1,60}",
        ) {
            let m = marker(&key(&k));
            let sealed = seal(&body.repeat(repeat), &m);
            prop_assert!(units(&sealed) <= LONGEST);
            prop_assert!(bears(&sealed, &m));
            prop_assert!(!m[4..m.len() - 3].contains("--") && !m[4..m.len() - 3].contains('>'));
        }

        #[test]
        fn two_keys_never_share_a_marker(a in "[-%a>é]{1,8}", b in "[-%a>é]{1,8}") {
            prop_assert_eq!(a == b, marker(&key(&a)) == marker(&key(&b)));
        }
    }
}
