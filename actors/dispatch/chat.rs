//! What a chat message orders, and which open question an answer means. Pure: text in, order out; knows no event, no clock, no store.
//!
//! In a chat everything that reaches us is said to us, so the rule for a command is stricter than in a comment: the command
//! comes first, and what follows it must be what that command takes. Everything else is conversation.

use crate::domain::{Approval, ApprovalKind, RepoName};

/// The commands of a chat: each word, what it takes (with a space before it), and what it does.
pub const COMMANDS: &[(&str, &str, &str)] = &[
    ("approve", " [which]", "approve what waits for an answer"),
    ("reject", " [which] [reason]", "reject it"),
    ("status", "", "say what is running"),
    ("runs", "", "list the latest runs"),
    ("run", " <workflow> [owner/repo#number]", "start a workflow"),
    (
        "build",
        " owner/repo#number",
        "work on an issue and open a pull request",
    ),
    ("triage", " owner/repo#number", "triage an issue"),
    ("review", " owner/repo#number", "review a pull request"),
    ("security", " owner/repo", "look for security problems"),
    ("explore", " owner/repo#number", "think an issue through with you"),
    ("reset", "", "end this conversation and begin a new one"),
    ("help", "", "show this list"),
];

/// A repository, and an issue or pull request in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) repo: RepoName,
    pub(super) number: Option<u64>,
    /// The address says that it is a pull request.
    pub(super) pull: bool,
}

/// What a workflow is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Build,
    Triage,
    Review,
    Security,
    Explore,
}

/// A chat message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Approve(Option<String>),
    Reject(Option<String>, Option<String>),
    Status,
    Runs,
    Reset,
    Help,
    Start(Verb, Option<Aim>),
    Run(String, Option<Aim>),
    RunWhat,
    Misspelt(String, &'static str),
    /// Conversation.
    Words,
}

/// Reads a chat message.
pub(super) fn read(text: &str) -> Order {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let word = word
        .trim_start_matches('/')
        .trim_end_matches(['.', '!', ',', ':', '?'])
        .to_lowercase();
    let alone = rest.is_empty();
    let (first, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match word.as_str() {
        "approve" if alone || ["it", "this", "that", "please"].contains(&rest.to_lowercase().as_str()) => {
            Order::Approve(None)
        }
        "approve" if tail.is_empty() && is_choice(first) => Order::Approve(Some(choice(first))),
        "reject" => {
            let (which, reason) = if is_choice(first) {
                (Some(choice(first)), tail)
            } else {
                (None, rest)
            };
            let reason = reason.trim().trim_start_matches([':', ',', '-', ' ']);
            Order::Reject(which, (!reason.is_empty()).then(|| reason.to_owned()))
        }
        "status" if alone => Order::Status,
        "runs" if alone => Order::Runs,
        "reset" if alone => Order::Reset,
        "help" if alone => Order::Help,
        "run" if alone => Order::RunWhat,
        "run" => match (is_name(first), tail.trim(), aim(tail)) {
            (true, "", _) => Order::Run(bare(first).to_owned(), None),
            (true, _, Some(aim)) => Order::Run(bare(first).to_owned(), Some(aim)),
            _ => Order::Words,
        },
        "build" => start(Verb::Build, rest),
        "triage" => start(Verb::Triage, rest),
        "review" => start(Verb::Review, rest),
        "security" | "security-review" => start(Verb::Security, rest),
        "explore" => start(Verb::Explore, rest),
        _ if alone => nearest(&word).map_or(Order::Words, |nearest| Order::Misspelt(word, nearest)),
        _ => Order::Words,
    }
}

fn start(verb: Verb, rest: &str) -> Order {
    match aim(rest) {
        Some(aim) => Order::Start(verb, Some(aim)),
        None if rest.is_empty() => Order::Start(verb, None),
        None => Order::Words,
    }
}

/// The first address in these words. A bare `owner/repo` counts where it comes first: "and/or" is none.
fn aim(words: &str) -> Option<Aim> {
    let little = ["for", "on", "of", "in", "this", "please", "the"];
    let mut first = true;
    for token in words.split_whitespace() {
        let token = bare(token);
        if let Some(found) = address(token).or_else(|| numbered(token)) {
            return Some(found);
        }
        if first && let Ok(repo) = token.parse::<RepoName>() {
            return Some(Aim {
                repo,
                number: None,
                pull: false,
            });
        }
        first = first && little.contains(&token.to_lowercase().as_str());
    }
    None
}

fn bare(token: &str) -> &str {
    token.trim_matches(['<', '>', '(', ')', '`', '"', '\'', ',', '.', ';', ':', '!', '?'])
}

/// `https://host/owner/repo`, with `/issues/7` or `/pull/7` behind it.
fn address(token: &str) -> Option<Aim> {
    let path = token
        .strip_prefix("https://")
        .or_else(|| token.strip_prefix("http://"))
        .or_else(|| token.starts_with("github.com/").then_some(token))?;
    let path = path.split(['?', '#', '|']).next().unwrap_or(path);
    let mut parts = path.split('/').skip(1);
    let (owner, name) = (parts.next()?, parts.next()?);
    let name = name.trim_end_matches(['.', ',']);
    let repo = format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name))
        .parse()
        .ok()?;
    let kind = parts.next().unwrap_or_default();
    let number = match kind {
        "issues" | "pull" => parts.next().and_then(number),
        _ => None,
    };
    Some(Aim {
        repo,
        number,
        pull: kind == "pull" && number.is_some(),
    })
}

/// `owner/repo#7`.
fn numbered(token: &str) -> Option<Aim> {
    let (repo, digits) = token.split_once('#')?;
    Some(Aim {
        repo: repo.parse().ok()?,
        number: Some(number(digits)?),
        pull: false,
    })
}

fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number| *number > 0)
}

fn is_name(token: &str) -> bool {
    let token = bare(token);
    !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// An id (or six and more characters of one) or the subject of a run.
fn is_choice(token: &str) -> bool {
    let token = bare(token);
    let hex = token.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    (token.len() >= 6 && hex && token.contains(|c: char| c.is_ascii_digit()))
        || numbered(token).is_some()
        || token.strip_prefix('#').is_some_and(|digits| number(digits).is_some())
}

fn choice(token: &str) -> String {
    bare(token).to_lowercase()
}

fn nearest(word: &str) -> Option<&'static str> {
    if word.len() < 4 || word.len() > 24 {
        return None;
    }
    let near = |known: &&str| strsim::damerau_levenshtein(word, known) == 1;
    COMMANDS.iter().map(|(known, _, _)| *known).find(near)
}

/// The commands for people, as a Markdown list.
pub(super) fn help() -> String {
    let mut text = String::from("Here is what I understand:\n\n");
    for (word, takes, meaning) in COMMANDS {
        text.push_str(&format!("- `{word}{takes}`: {meaning}\n"));
    }
    text.push_str("\nAn issue or pull request may be given by its address, too. Anything else is conversation.");
    text
}

/// The question that an answer means.
#[derive(Debug)]
pub(super) enum Meant<'a> {
    One(&'a Approval),
    /// Several could be meant, or the one that was named does not wait.
    Unclear(String),
    Nothing,
}

/// By name; else the one asked in this thread; else the only one that waits; else a list to choose from.
/// `here` and `all` are newest first.
pub(super) fn meant<'a>(which: Option<&str>, here: &'a [Approval], all: &'a [Approval], verb: &str) -> Meant<'a> {
    let asks = |gate: &&Approval| gate.kind == ApprovalKind::Approve;
    let open: Vec<&Approval> = all.iter().filter(asks).collect();
    let Some(which) = which else {
        if let Some(gate) = here.iter().find(asks) {
            return Meant::One(gate);
        }
        return match &open[..] {
            [] => Meant::Nothing,
            [only] => Meant::One(only),
            several => Meant::Unclear(list("Several answers are waited for. Say which one:", several, verb)),
        };
    };
    let named: Vec<&Approval> = open.iter().copied().filter(|gate| is_named(gate, which)).collect();
    match &named[..] {
        [one] => Meant::One(one),
        [] if open.is_empty() => Meant::Nothing,
        [] => Meant::Unclear(list(
            &format!("Nothing waits under `{which}`. What waits:"),
            &open,
            verb,
        )),
        several => Meant::Unclear(list(&format!("`{which}` may be any of these:"), several, verb)),
    }
}

fn is_named(gate: &Approval, which: &str) -> bool {
    let matches_id = |id: String| id.starts_with(which) || id.ends_with(which);
    let subject = gate.subject.as_str();
    matches_id(gate.id.to_string())
        || matches_id(gate.run.to_string())
        || subject.eq_ignore_ascii_case(which)
        || (which.starts_with('#') && subject.ends_with(which))
}

fn list(head: &str, gates: &[&Approval], verb: &str) -> String {
    const SHOWN: usize = 15;
    let mut text = format!("{head}\n\n");
    for gate in gates.iter().take(SHOWN) {
        let id = gate.id.to_string();
        // The last characters: ids of the same minute begin alike.
        let short = &id[id.len() - 8..];
        text.push_str(&format!(
            "- `{verb} {short}`: `{}` on {}, gate `{}`\n",
            gate.workflow, gate.subject, gate.gate
        ));
    }
    if gates.len() > SHOWN {
        text.push_str(&format!("- and {} more\n", gates.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{AnswerRules, ApprovalId, ApprovalStatus, RunId, Subject};

    fn at(repo: &str, number: Option<u64>, pull: bool) -> Option<Aim> {
        Some(Aim {
            repo: repo.parse().expect("valid"),
            number,
            pull,
        })
    }

    #[test]
    fn commands_are_read_as_people_write_them() {
        let site = |number| at("acme/site", Some(number), false);
        for (text, order) in [
            ("approve", Order::Approve(None)),
            ("Approve!", Order::Approve(None)),
            ("approve this", Order::Approve(None)),
            ("approve 1a2b3c4d", Order::Approve(Some("1a2b3c4d".into()))),
            ("approve acme/site#7", Order::Approve(Some("acme/site#7".into()))),
            ("approve of what?", Order::Words),
            ("reject", Order::Reject(None, None)),
            ("reject too risky", Order::Reject(None, Some("too risky".into()))),
            (
                "reject #7: too risky",
                Order::Reject(Some("#7".into()), Some("too risky".into())),
            ),
            ("status", Order::Status),
            ("/status", Order::Status),
            ("status of the world", Order::Words),
            ("runs", Order::Runs),
            ("reset", Order::Reset),
            ("help", Order::Help),
            ("help me with this", Order::Words),
            ("run", Order::RunWhat),
            ("run repo-health", Order::Run("repo-health".into(), None)),
            (
                "run repo-health acme/site",
                Order::Run("repo-health".into(), at("acme/site", None, false)),
            ),
            ("run away from here", Order::Words),
            ("build acme/site#7", Order::Start(Verb::Build, site(7))),
            ("build", Order::Start(Verb::Build, None)),
            ("build me a castle", Order::Words),
            (
                "review and/or logic",
                Order::Start(Verb::Review, at("and/or", None, false)),
            ),
            (
                "review the and/or logic",
                Order::Start(Verb::Review, at("and/or", None, false)),
            ),
            ("review my and/or logic", Order::Words),
            (
                "review https://github.com/acme/site/pull/9, please",
                Order::Start(Verb::Review, at("acme/site", Some(9), true)),
            ),
            (
                "triage https://github.com/acme/site.git/issues/7#issuecomment-1",
                Order::Start(Verb::Triage, site(7)),
            ),
            (
                "security acme/site",
                Order::Start(Verb::Security, at("acme/site", None, false)),
            ),
            ("explore", Order::Start(Verb::Explore, None)),
            ("stauts", Order::Misspelt("stauts".into(), "status")),
            ("hello", Order::Words),
            ("", Order::Words),
            ("🚀", Order::Words),
        ] {
            assert_eq!(read(text), order, "{text}");
        }
        assert!(COMMANDS.iter().all(|(word, _, _)| help().contains(word)));
    }

    fn gate(id: u128, subject: &str, kind: ApprovalKind) -> Approval {
        Approval {
            id: ApprovalId::new(Uuid::from_u128(id)),
            run: RunId::new(Uuid::from_u128(id << 8)),
            workflow: "build".parse().expect("valid"),
            subject: Subject::stored(subject.into()),
            gate: "post_plan".into(),
            phase: "plan".parse().expect("valid"),
            summary: String::new(),
            status: ApprovalStatus::Pending,
            kind,
            requested_by: "ann".into(),
            responded_by: None,
            response: None,
            responded_at: None,
            created_at: DateTime::from_timestamp(0, 0).expect("the epoch exists"),
            rules: AnswerRules::default(),
            votes: Vec::new(),
            shown: None,
            head_sha: None,
            seq: 1,
        }
    }

    #[test]
    fn an_answer_means_the_thread_then_the_only_one_then_asks_back() {
        let (a, b) = (
            gate(0x1111_1111, "acme/site#7", ApprovalKind::Approve),
            gate(0x2222_2222, "acme/docs#9", ApprovalKind::Approve),
        );
        let words = gate(0x3333_3333, "acme/site#8", ApprovalKind::Reply);
        let id = |meant: Meant<'_>| match meant {
            Meant::One(gate) => gate.subject.to_string(),
            Meant::Unclear(text) => text,
            Meant::Nothing => "nothing".into(),
        };
        let both = [a, b, words];
        let one = &both[..1];
        assert_eq!(id(meant(None, &both[1..2], &both, "approve")), "acme/docs#9");
        assert_eq!(id(meant(None, &[], one, "approve")), "acme/site#7");
        assert_eq!(id(meant(None, &[], &[], "approve")), "nothing");
        assert_eq!(
            id(meant(None, &[], &both[2..], "approve")),
            "nothing",
            "words are no approval"
        );
        let list = id(meant(None, &[], &both, "reject"));
        assert!(
            list.contains("`reject 11111111`") && list.contains("acme/docs#9"),
            "{list}"
        );
        assert!(!list.contains("acme/site#8"));
        assert_eq!(id(meant(Some("22222222"), &[], &both, "approve")), "acme/docs#9");
        assert_eq!(id(meant(Some("#7"), &both[1..2], &both, "approve")), "acme/site#7");
        assert!(id(meant(Some("99999999"), &[], one, "approve")).starts_with("Nothing waits under"));
        assert_eq!(id(meant(Some("99999999"), &[], &[], "approve")), "nothing");
    }

    proptest! {
        #[test]
        fn any_message_is_read(text in "\\PC{0,80}") {
            let _ = read(&text);
        }
    }
}
