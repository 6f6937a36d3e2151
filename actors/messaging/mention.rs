//! Whether a message names us, and the message without our name. Pure.

/// Where our id stands: byte ranges of `<@ID>`, `<@ID|name>` and `@ID`, in any case.
fn places<'a>(text: &'a str, id: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    text.match_indices('@').filter_map(move |(at, _)| {
        let named = text.get(at + 1..at + 1 + id.len())?;
        if id.is_empty() || !named.eq_ignore_ascii_case(id) {
            return None;
        }
        let after = &text[at + 1 + id.len()..];
        let end = at + 1 + id.len();
        if text[..at].ends_with('<')
            && let Some(closed) = after.find('>')
            && (closed == 0 || after.starts_with('|'))
        {
            return Some((at - 1, end + closed + 1));
        }
        let longer = after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        let inside = text[..at].ends_with(|c: char| c.is_alphanumeric());
        (!longer && !inside).then_some((at, end))
    })
}

/// Whether the message names the one with this id. Nobody is named by an empty id.
#[must_use]
pub fn names(text: &str, id: &str) -> bool {
    places(text, id).next().is_some()
}

/// The message without that name, and without the space around it at both ends.
#[must_use]
pub fn strip(text: &str, id: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for (begin, end) in places(text, id) {
        if begin < from {
            continue;
        }
        kept.push_str(&text[from..begin]);
        from = end;
    }
    kept.push_str(&text[from..]);
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_name_is_taken_out_wherever_it_stands() {
        for (text, stripped) in [
            ("<@U0BOT> build it", Some("build it")),
            ("<@u0bot> build it", Some("build it")),
            ("<@U0BOT|last-light>: hello", Some(": hello")),
            ("@U0BOT hello", Some("hello")),
            ("hello <@U0BOT>", Some("hello")),
            ("<@U0BOT><@U0BOT>", Some("")),
            ("hello", None),
            ("<@U0BOTTLE> hello", None),
            ("<@U9> hello", None),
            ("me@u0bot is no name", None),
            ("<@U0BOT", Some("<")),
            ("ünï <@U0BOT> çødé", Some("ünï  çødé")),
        ] {
            assert_eq!(names(text, "U0BOT"), stripped.is_some(), "{text}");
            assert_eq!(strip(text, "U0BOT"), stripped.unwrap_or(text), "{text}");
        }
        assert!(!names("@ hello", ""));
        assert_eq!(strip(" @ hello ", ""), "@ hello");
    }

    proptest! {
        #[test]
        fn any_text_comes_through(text in ".{0,60}", id in "[A-Z0-9]{0,6}") {
            prop_assert!(strip(&text, &id).len() <= text.len());
        }
    }
}
