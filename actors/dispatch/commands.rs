//! What a comment orders us to do. Pure: text in, command out; knows no event, no clock, no store.
//!
//! A comment is read as CommonMark, and only what a reader sees as the author's own words counts: quotes, code, struck-out
//! text and HTML (comments included) never fire.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The orders that there are, with the words they are given by and what they do. Help and the nearest match come from this list.
const COMMANDS: &[(&str, &str)] = &[
    ("approve", "approve what waits for an answer here"),
    ("reject", "reject it; the words after it are the reason"),
    ("status", "say what is running"),
    ("help", "show this list"),
    ("build", "work on this and open or update a pull request"),
    ("explore", "think it through with you before anything is built"),
    ("triage", "triage this issue again"),
    ("review", "review this pull request again"),
    ("security-review", "look for security problems"),
    ("run", "start the workflow that is named after it"),
];

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say yes to what waits.
    Approve,
    /// Say no to it, with the reason if one was given.
    Reject(Option<String>),
    /// Say what is running.
    Status,
    /// List the commands.
    Help,
    /// Build this issue, or fix this pull request.
    Build,
    /// Explore it.
    Explore,
    /// Triage it again.
    Triage,
    /// Review it again.
    Review,
    /// Review its security.
    SecurityReview,
    /// Start the workflow of this name (as written; it may not exist).
    Run(String),
}

/// What a comment says to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// We are not addressed.
    Nothing,
    /// An order.
    Order(Command),
    /// One word that is no command, but nearly one.
    Misspelt {
        /// As written.
        word: String,
        /// What was probably meant.
        nearest: &'static str,
    },
    /// `run` without the name of a workflow.
    RunWhat,
    /// We are addressed in free words; they follow.
    Words(String),
}

/// The commands for people, as a Markdown list.
#[must_use]
pub(super) fn help(bot_name: &str) -> String {
    let mut text = String::from("Here is what I understand, from maintainers of this repository:\n\n");
    for (word, meaning) in COMMANDS {
        let argument = match *word {
            "reject" => " [reason]",
            "run" => " <workflow>",
            _ => "",
        };
        text.push_str(&format!("- `@{bot_name} {word}{argument}`: {meaning}\n"));
    }
    text.push_str("\nAnything else that mentions me is answered as a question.");
    text
}

/// Reads a comment.
///
/// A mention counts anywhere in the author's own words. A command counts when the mention opens a line, or when nothing
/// follows the command on its line ("looks good, @last-light approve"); so prose *about* a command does not fire it.
#[must_use]
pub fn hear(comment: &str, bot_name: &str) -> Heard {
    let words = own_words(comment);
    let mut free = None;
    let mut misheard = None;
    let mut orders = Vec::new();
    for line in words.lines() {
        let Some((before, after)) = split_at_mention(line, bot_name) else {
            continue;
        };
        match read_order(after.trim(), opens_line(before)) {
            Reading::Order(command) => orders.push(command),
            Reading::Misheard(heard) => misheard = misheard.or(Some(heard)),
            Reading::Prose => free = free.or_else(|| Some(after.trim().to_owned())),
        }
    }
    // Both an approval and a rejection in one comment: the approval counts, as the original documents.
    if orders.contains(&Command::Approve) {
        return Heard::Order(Command::Approve);
    }
    if let Some(order) = orders.into_iter().next() {
        return Heard::Order(order);
    }
    if let Some(heard) = misheard {
        return heard;
    }
    // A question may go on over several lines: all of the author's own words are handed on.
    free.map_or(Heard::Nothing, |_| Heard::Words(words.trim().to_owned()))
}

/// What a reader sees as the author's own words, one line per line or block.
fn own_words(comment: &str) -> String {
    let mut words = String::with_capacity(comment.len());
    let mut hidden = 0_usize;
    for event in Parser::new_ext(comment, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::BlockQuote(_) | Tag::CodeBlock(_) | Tag::HtmlBlock | Tag::Strikethrough) => hidden += 1,
            Event::End(TagEnd::BlockQuote(_) | TagEnd::CodeBlock | TagEnd::HtmlBlock | TagEnd::Strikethrough) => {
                hidden = hidden.saturating_sub(1);
            }
            Event::Text(text) if hidden == 0 => words.push_str(&text),
            Event::SoftBreak | Event::HardBreak => words.push('\n'),
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::TableCell) => words.push('\n'),
            // A name in code is an argument worth reading (`run `x``), but never a mention: a mark keeps it apart.
            Event::Code(code) if hidden == 0 => {
                words.push_str(CODE_MARK);
                words.push_str(&code.replace('\n', " "));
            }
            _ => {}
        }
    }
    words
}

/// Stands before words that were written as code, so that they are never taken for a mention.
const CODE_MARK: &str = "\u{200b}`";

/// The text before and after the first mention of us on a line.
fn split_at_mention<'a>(line: &'a str, bot_name: &str) -> Option<(&'a str, &'a str)> {
    let handle_char = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    for (at, _) in line.match_indices('@') {
        let (before, rest) = (&line[..at], &line[at + 1..]);
        let Some(name) = rest.get(..bot_name.len()) else {
            continue;
        };
        let after = &rest[bot_name.len()..];
        let stands_alone = !before
            .chars()
            .next_back()
            .is_some_and(|c| handle_char(c) || c == '/' || c == '`')
            && !before.ends_with(CODE_MARK)
            && !after.chars().next().is_some_and(handle_char);
        if name.eq_ignore_ascii_case(bot_name) && stands_alone {
            return Some((before, after.strip_prefix("[bot]").unwrap_or(after)));
        }
    }
    None
}

/// Whether nothing but a greeting's punctuation stands before the mention.
fn opens_line(before: &str) -> bool {
    let before = before.trim();
    before.is_empty() || before.ends_with(['.', '!', '?', ':', ';'])
}

enum Reading {
    Order(Command),
    Misheard(Heard),
    Prose,
}

fn read_order(after: &str, opens_line: bool) -> Reading {
    let after = after.trim_start_matches([',', ':', ' ']);
    let (word, rest) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
    let rest = rest.trim();
    let word = word
        .trim_matches(|c: char| c.is_ascii_punctuation() && c != '-')
        .to_lowercase();
    let ends_line = rest.is_empty();
    let known = COMMANDS.iter().any(|(known, _)| *known == word);
    if !known {
        // One word alone was meant as a command; a sentence was not.
        let nearest = if ends_line { nearest_command(&word) } else { None };
        return nearest.map_or(Reading::Prose, |nearest| {
            Reading::Misheard(Heard::Misspelt { word, nearest })
        });
    }
    if !opens_line && !ends_line {
        return Reading::Prose;
    }
    Reading::Order(match word.as_str() {
        "approve" => Command::Approve,
        "reject" => {
            let reason = rest.trim_start_matches([':', ',', '-', ' ']).replace(CODE_MARK, "");
            Command::Reject((!reason.is_empty()).then_some(reason))
        }
        "status" => Command::Status,
        "help" => Command::Help,
        "build" => Command::Build,
        "explore" => Command::Explore,
        "triage" => Command::Triage,
        "review" => Command::Review,
        "security-review" => Command::SecurityReview,
        "run" => {
            let name = rest.split_whitespace().next().unwrap_or_default();
            let name = name
                .trim_start_matches(CODE_MARK)
                .trim_matches(['`', '"', '\'', '.', ',']);
            if name.is_empty() {
                return Reading::Misheard(Heard::RunWhat);
            }
            Command::Run(name.to_owned())
        }
        _ => return Reading::Prose,
    })
}

fn nearest_command(word: &str) -> Option<&'static str> {
    if word.len() < 3 || word.len() > 24 {
        return None;
    }
    COMMANDS
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(word, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(comment: &str) -> Heard {
        hear(comment, "last-light")
    }

    #[test]
    fn commands_are_understood_as_people_write_them() {
        let table: &[(&str, Command)] = &[
            ("@last-light approve", Command::Approve),
            ("@Last-Light APPROVE", Command::Approve),
            ("@last-light approve.", Command::Approve),
            ("@last-light: approve!", Command::Approve),
            ("@last-light, approve", Command::Approve),
            ("**@last-light** approve", Command::Approve),
            ("@last-light[bot] approve", Command::Approve),
            ("Thanks for this!\n\n@last-light approve", Command::Approve),
            ("Thanks for this!\n@last-light approve\nsee you", Command::Approve),
            ("Looks good, @last-light approve", Command::Approve),
            ("Fine. @last-light approve this please", Command::Approve),
            ("- @last-light approve", Command::Approve),
            ("@last-light reject\n\n@last-light approve", Command::Approve),
            ("@last-light reject", Command::Reject(None)),
            (
                "@last-light reject: breaks `main` on Windows",
                Command::Reject(Some("breaks main on Windows".into())),
            ),
            (
                "@last-light reject not like this",
                Command::Reject(Some("not like this".into())),
            ),
            ("@last-light status", Command::Status),
            ("@last-light help", Command::Help),
            ("@last-light build", Command::Build),
            ("@last-light build this please", Command::Build),
            ("@last-light explore", Command::Explore),
            ("@last-light triage", Command::Triage),
            ("@last-light review", Command::Review),
            ("@last-light security-review", Command::SecurityReview),
            ("@last-light run repo-health", Command::Run("repo-health".into())),
            ("@last-light run `repo-health`.", Command::Run("repo-health".into())),
        ];
        for (comment, command) in table {
            assert_eq!(heard(comment), Heard::Order(command.clone()), "{comment:?}");
        }
    }

    #[test]
    fn quotes_code_and_html_never_fire() {
        let silent = [
            "> @last-light approve",
            "> she said\n> @last-light approve\n",
            "`@last-light approve`",
            "run `@last-light approve` to go on",
            "```\n@last-light approve\n```",
            "~~~sh\n@last-light approve\n~~~",
            "    @last-light approve",
            "```\n@last-light approve",
            "<!-- @last-light approve -->",
            "text <!-- @last-light approve --> text",
            "<!--\n@last-light approve\n-->",
            "<div>\n@last-light approve\n</div>",
            "~~@last-light approve~~",
            "approve",
            "",
            "mail me at x@last-light approve",
            "@last-lighter approve",
            "@last-light-dev approve",
            "https://example.com/@last-light approve",
        ];
        for comment in silent {
            assert_eq!(heard(comment), Heard::Nothing, "{comment:?}");
        }
    }

    #[test]
    fn prose_about_a_command_does_not_fire_it() {
        for comment in [
            "I think @last-light approve was never meant for that",
            "who told @last-light build it twice?",
        ] {
            assert!(
                matches!(heard(comment), Heard::Words(_)),
                "{comment:?}: {:?}",
                heard(comment)
            );
        }
    }

    #[test]
    fn a_quoted_command_above_ones_own_words_stays_quoted() {
        let comment = "> @last-light approve\n\nNot yet. @last-light what does this change?";
        assert_eq!(
            heard(comment),
            Heard::Words("Not yet. @last-light what does this change?".into())
        );
    }

    #[test]
    fn a_misspelt_command_is_answered_with_the_nearest_one() {
        for (comment, nearest) in [
            ("@last-light aprove", "approve"),
            ("@last-light Rejekt!", "reject"),
            ("@last-light hlep", "help"),
        ] {
            match heard(comment) {
                Heard::Misspelt { nearest: found, .. } => assert_eq!(found, nearest, "{comment:?}"),
                other => panic!("{comment:?}: {other:?}"),
            }
        }
        assert_eq!(heard("@last-light run"), Heard::RunWhat);
        assert!(matches!(
            heard("@last-light hello"),
            Heard::Words(_) | Heard::Misspelt { .. }
        ));
        assert!(matches!(heard("@last-light why does this fail?"), Heard::Words(_)));
    }

    #[test]
    fn help_names_every_command() {
        let text = help("last-light");
        for (word, _) in COMMANDS {
            assert!(text.contains(&format!("`@last-light {word}")), "{word}");
        }
        assert!(COMMANDS.len() >= 8);
    }

    proptest! {
        #[test]
        fn arbitrary_comments_never_panic(comment in any::<String>(), name in "[a-z][a-z-]{0,10}") {
            let _ = hear(&comment, &name);
        }

        #[test]
        fn a_fenced_comment_never_fires(inside in "[^`~]{0,40}") {
            let comment = format!("```\n{inside}\n@last-light approve\n```");
            prop_assert!(!matches!(heard(&comment), Heard::Order(_)));
        }
    }
}
