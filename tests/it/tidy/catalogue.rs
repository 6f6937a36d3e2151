//! The messages: each says who sends it, who handles it and what comes back; somebody does send and handle it; and the map shows it as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::Gate;
use super::source::{Source, read, rust, tokens};

/// A message of the catalogue, as its docs describe it.
struct Message {
    file: String,
    name: String,
    docs: String,
}

impl Message {
    /// What the docs say behind `Sender:`, `Handler:` or `Answer:`, on one line.
    fn says(&self, what: &str) -> Option<String> {
        let (_, said) = self.docs.split_once(what)?;
        let end = ["Sender:", "Handler:", "Answer:"]
            .iter()
            .filter_map(|next| said.find(next))
            .min();
        let said = said[..end.unwrap_or(said.len())]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let said = said.trim_end_matches('.').to_owned();
        (!said.is_empty()).then_some(said)
    }
}

/// Every struct or enum of `actors/messages/` that derives `Message`, in the order of files and lines.
fn catalogue() -> Vec<Message> {
    let mut found = Vec::new();
    for source in rust()
        .iter()
        .filter(|source| source.name.starts_with("actors/messages/"))
    {
        let (mut docs, mut is_message) = (String::new(), false);
        for line in source.text.lines().map(str::trim) {
            if let Some(doc) = line.strip_prefix("///") {
                docs.push_str(doc);
                docs.push('\n');
            } else if line.starts_with("#[") {
                is_message |= line.starts_with("#[derive(") && tokens(line).contains(&"Message");
            } else {
                let named = ["pub struct ", "pub enum "]
                    .iter()
                    .find_map(|kind| line.strip_prefix(kind));
                if let Some(rest) = named.filter(|_| is_message) {
                    found.push(Message {
                        file: source.name.clone(),
                        name: tokens(rest).first().copied().unwrap_or_default().to_owned(),
                        docs: docs.clone(),
                    });
                }
                docs.clear();
                is_message = false;
            }
        }
    }
    assert!(found.len() > 30, "the catalogue was not found");
    found
}

#[test]
fn every_message_says_who_sends_it_who_handles_it_and_what_comes_back() {
    let mut gate = Gate::default();
    for message in catalogue() {
        for part in ["Sender:", "Handler:", "Answer:"] {
            gate.see(message.says(part).is_some(), || {
                format!("{}: {} does not say \"{part}\"", message.file, message.name)
            });
        }
    }
    gate.close(90);
}

/// What the docs of messages call each actor.
const CALLED: &[(&str, &str)] = &[
    ("DeliveryRetrier", "delivery retrier"),
    ("GitCommitter", "git committer"),
    ("Dispatcher", "dispatcher"),
    ("GithubClient", "GitHub client"),
    ("GithubConnector", "GitHub connector"),
    ("Nudges", "nudges"),
    ("Replier", "replier"),
    ("GateKeeper", "gate keeper"),
    ("CronTicker", "cron ticker"),
    ("Sweeper", "sweeper"),
    ("Librarian", "librarian"),
    ("RunSupervisor", "run supervisor"),
    ("Runner", "runner"),
    ("StateWriter", "state writer"),
    ("StoreDoor", "store"),
    ("AbsentClient", "absent client"),
    ("SlackListener", "Slack listener"),
    ("SlackSender", "Slack sender"),
];

#[test]
fn the_handlers_that_a_message_names_are_those_that_handle_it() {
    let (mut gate, handlers) = (Gate::default(), handlers(&rust()));
    for message in catalogue() {
        let said = message.says("Handler:").unwrap_or_default();
        for (actor, called) in CALLED {
            let named = format!(" {said} ")
                .split(called)
                .skip(1)
                .any(|after| !after.starts_with(char::is_alphanumeric));
            let handles = handlers
                .get(&message.name)
                .is_some_and(|actors| actors.contains(*actor));
            gate.see(named == handles, || {
                let what = if handles {
                    "handles it and is not named"
                } else {
                    "is named and does not handle it"
                };
                format!("{}: {}: the {called} {what}", message.file, message.name)
            });
        }
    }
    for actor in handlers.values().flatten().collect::<BTreeSet<_>>() {
        gate.see(CALLED.iter().any(|(known, _)| known == actor), || {
            format!("{actor} has no name in the docs of messages")
        });
    }
    gate.close(200);
}

/// Messages that nobody sends, each with the reason why it is there all the same.
const UNSAID: &[(&str, &str)] = &[];

#[test]
fn every_message_is_sent_and_handled_by_somebody() {
    let (mut gate, sources) = (Gate::default(), rust());
    let handlers = handlers(&sources);
    for message in catalogue() {
        let name = message.name.as_str();
        gate.see(handlers.contains_key(name), || {
            format!("{}: nobody handles {name}", message.file)
        });
        let said = sources
            .iter()
            .filter(|source| !source.name.starts_with("actors/messages/") && source.name != "actors/store/mod.rs")
            .any(|source| makes(&tokens(&source.flow), name));
        let excused = UNSAID.iter().any(|(unsaid, _)| *unsaid == name);
        gate.see(said != excused, || {
            let what = if said {
                "is sent now, so it needs no excuse"
            } else {
                "is sent by nobody"
            };
            format!("{}: {name} {what}", message.file)
        });
    }
    gate.close(70);
}

/// Whether a message is made here: a value of it, not its type and not its pattern.
fn makes(flow: &[&str], name: &str) -> bool {
    (0..flow.len()).filter(|at| flow[*at] == name).any(|at| {
        let passed = at > 0 && ["(", ","].contains(&flow[at - 1]);
        match flow.get(at + 1).copied() {
            Some("{") => !matches!(after_braces(&flow[at + 1..]), Some(":" | "=")),
            Some("(") => true,
            // `use …::{A, B}` lists names.
            Some(")" | ",") => {
                let begin = flow[..at]
                    .iter()
                    .rposition(|word| *word == ";")
                    .map_or(0, |end| end + 1);
                passed && flow[begin] != "use"
            }
            _ => false,
        }
    })
}

/// What follows the braces that the words begin with.
fn after_braces<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut depth = 0_usize;
    let close = words.iter().position(|word| {
        match *word {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })?;
    words.get(close + 1).copied()
}

/// Which actor handles which message, outside tests.
fn handlers(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let mut handlers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.name.starts_with("actors/")) {
        let flow = tokens(&source.flow);
        for window in flow.windows(7) {
            if let ["impl", "Handler", "<", message, ">", "for", actor] = window
                && *message != "$"
            {
                handlers
                    .entry((*message).to_owned())
                    .or_default()
                    .insert((*actor).to_owned());
            }
            // The store's door has its handlers from a list: `method(Message) -> Answer;`.
            if let ["(", message, ")", "-", ">", ..] = window
                && source.name == "actors/store/mod.rs"
            {
                handlers
                    .entry((*message).to_owned())
                    .or_default()
                    .insert("StoreDoor".to_owned());
            }
        }
    }
    handlers
}

/// How many messages may wait at which actor; actix lets 16 wait where an actor says nothing.
fn mailboxes(sources: &[Source]) -> BTreeMap<String, usize> {
    let mut mailboxes = BTreeMap::new();
    for source in sources {
        let flow = tokens(&source.flow);
        let constant = |name: &str| {
            flow.windows(6).find_map(|window| match window {
                ["const", constant, ":", "usize", "=", number] if *constant == name => {
                    number.replace('_', "").parse().ok()
                }
                _ => None,
            })
        };
        for at in 0..flow.len().saturating_sub(4) {
            let ["impl", "Actor", "for", actor] = flow[at..at + 4] else {
                continue;
            };
            let end = flow[at + 4..]
                .iter()
                .position(|word| *word == "impl")
                .map_or(flow.len(), |next| at + 4 + next);
            let body = &flow[at..end];
            let size = body
                .iter()
                .position(|word| *word == "set_mailbox_capacity")
                .and_then(|call| constant(body.get(call + 2).copied().unwrap_or_default()));
            mailboxes.insert(actor.to_owned(), size.unwrap_or(16));
        }
    }
    mailboxes
}

/// Messages that go another way than through a mailbox, so that no arrow shows them.
const NO_ARROW: &[(&str, &str)] = &[];

const MAP: &str = "actors/README.md";

#[test]
fn the_message_map_is_the_catalogue() {
    let map = read(MAP);
    let shown: Vec<&str> = map.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |message: &Message| {
        let said = |what| message.says(what).unwrap_or_default();
        format!(
            "| `{}` | {} | {} | {} |",
            message.name,
            said("Sender:"),
            said("Handler:"),
            said("Answer:")
        )
    };
    let real: Vec<String> = catalogue().iter().map(row).collect();
    assert!(
        shown == real,
        "{MAP} shows another catalogue than the source; its rows should be:\n\n{}\n",
        real.join("\n")
    );
}

#[test]
fn the_picture_shows_who_handles_what_and_how_much_may_wait() {
    let (map, sources) = (read(MAP), rust());
    let (handlers, mailboxes) = (handlers(&sources), mailboxes(&sources));
    let messages: BTreeSet<String> = catalogue().into_iter().map(|message| message.name).collect();
    let picture: Vec<&str> = map
        .lines()
        .skip_while(|line| *line != "```mermaid")
        .take_while(|line| *line != "```")
        .collect();
    let node = |text: &str| {
        text.trim()
            .split(['[', '(', '{'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let actor_of = |text: &str| {
        mailboxes
            .keys()
            .find(|actor| tokens(text).contains(&actor.as_str()))
            .cloned()
    };
    let (mut gate, mut actors, mut measured, mut drawn) =
        (Gate::default(), BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let parts = |line: &str| -> Vec<String> { line.split(['|']).map(str::to_owned).collect() };
    // Nodes are named where they first stand, so all of them are read before the arrows.
    for line in &picture {
        for end in line.split("-->").chain(line.split("-.->")).flat_map(parts) {
            if let Some(actor) = actor_of(&end) {
                actors.entry(node(&end)).or_insert(actor);
            }
        }
    }
    for line in picture.iter().filter(|line| line.contains("->|")) {
        let parts = parts(line);
        let [_, label, target] = parts.as_slice() else {
            gate.see(false, || format!("{MAP}: one arrow to a line, please: {line}"));
            continue;
        };
        let Some(actor) = actors.get(&node(target)) else {
            gate.see(false, || format!("{MAP}: no actor listens at the end of {line}"));
            continue;
        };
        for word in tokens(label) {
            if messages.contains(word) {
                drawn.insert(word.to_owned());
                let handled = handlers.get(word).is_some_and(|handlers| handlers.contains(actor));
                gate.see(handled, || format!("{MAP}: {actor} does not handle {word}"));
            } else if word.chars().next().is_some_and(char::is_uppercase) {
                gate.see(false, || format!("{MAP}: there is no message {word}"));
            } else if let Ok(size) = word.parse::<usize>() {
                measured.insert(actor.clone());
                gate.see(mailboxes.get(actor) == Some(&size), || {
                    format!("{MAP}: {size} is not the mailbox of {actor}")
                });
            }
        }
    }
    for message in &messages {
        let excused = UNSAID.iter().chain(NO_ARROW).any(|(name, _)| name == message);
        gate.see(drawn.contains(message) != excused, || {
            format!("{MAP}: {message} is on no arrow, or has an excuse that it does not need")
        });
    }
    for (actor, size) in &mailboxes {
        gate.see(measured.contains(actor), || {
            format!("{MAP}: no arrow says that {size} messages may wait at {actor}")
        });
    }
    gate.close(20);
}
