//! The house as a map: who says what to whom, and how each actor does now. The map is the picture of actors/README.md, which a test
//! holds against the source. Reads only.

use std::sync::LazyLock;

use actors::messages::store::{CountStore, StoreCounts};
use maud::{Markup, html};

use super::assets;
use super::frame::{Section, Sheet, Visit};
use super::graph::{Plan, Sizes};
use super::parts::{self, Row, Tone};
use crate::http::admin::config::{self, ActorNow, Doing};
use crate::http::problem::Problem;

/// The message map in words and as a mermaid picture.
const CATALOGUE: &str = include_str!("../../../actors/README.md");

const SIZES: Sizes = Sizes {
    wide: 166.0,
    tall: 58.0,
    gap_x: 34.0,
    gap_y: 16.0,
};

/// In which column each part of the house stands, by its name in the picture: from where things come in to where they go out.
/// One that is not named here stands behind those that speak to it.
const COLUMNS: &[(&str, usize)] = &[
    ("webhook", 0),
    ("api", 0),
    ("watch", 0),
    ("desk", 0),
    ("sockets", 0),
    ("connector", 1),
    ("librarian", 1),
    ("listener", 1),
    ("dispatcher", 2),
    ("ticker", 2),
    ("supervisor", 3),
    ("keeper", 3),
    ("runner", 4),
    ("replier", 5),
    ("retrier", 5),
    ("client", 6),
    ("sender", 6),
    ("absent", 6),
    ("git", 6),
    ("state", 6),
];

/// Nearly everybody speaks with the store, and boot with everybody: their arrows would hide all others.
const APART: [&str; 2] = ["store", "boot"];

/// `/admin/actors`.
pub(crate) async fn show(visit: Visit) -> Result<Sheet, Problem> {
    let seen = config::look(&visit.shared, &visit.doors).await;
    let counts = visit.doors.count.send(CountStore).await??;
    let gone: Vec<&str> = seen
        .iter()
        .filter(|actor| actor.state == Doing::Gone)
        .map(|actor| actor.name)
        .collect();
    let now = Now { seen, counts };
    let since = visit.shared.looks.since;
    let content = html! {
        (parts::heading("Actors", html! { "The house from the inside: who says what to whom, and what each of them is doing now." }, html! {}))
        // No change tells of an actor at work, so it is asked for every two seconds.
        (parts::live_every("actors", "event run delivery approval cron session", 2, html! {
            @if !gone.is_empty() {
                (parts::note(Tone::Bad, html! {
                    p { strong { "Gone: " (gone.join(", ")) ". " } "The service stops by itself when an actor is gone; its next start takes everything up." }
                }))
            }
            (tiles(&now.counts))
            (parts::card("Who speaks to whom", legend(), picture(&MAP, &now)))
            (parts::card("The same in words", html! {
                span.quiet.small { "started " (parts::time(since)) ", no restart since: an actor that falls ends the service, and its next start takes everything up" }
            }, table(&MAP, &now)))
        }))
        div hidden data-module=(visit.url(&assets::path("actors.js"))) {}
    };
    Ok(visit.sheet(Section::Actors, "Actors", content))
}

/// How everybody does.
struct Now {
    seen: Vec<ActorNow>,
    counts: StoreCounts,
}

impl Now {
    /// The actors of this kind: `DeliveryRetrier` is the delivery retrier, and every replier is a `Replier`.
    fn of(&self, name: &str) -> Vec<&ActorNow> {
        let words = in_words(name);
        let same = |known: &str| known == words || known.ends_with(&format!(" {words}"));
        self.seen.iter().filter(|actor| same(actor.name)).collect()
    }

    /// What lies in the store for an actor to take up, in words.
    fn waits_for(&self, id: &str) -> Option<(u64, &'static str)> {
        match id {
            "dispatcher" => Some((self.counts.unsettled_events, "events to be routed")),
            "supervisor" => Some((self.counts.live_runs, "runs queued or running")),
            "retrier" | "replier" => Some((self.counts.open_effects, "replies and deliveries that are not done")),
            _ => None,
        }
    }
}

/// `RunSupervisor` as `run supervisor`.
fn in_words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn tiles(counts: &StoreCounts) -> Markup {
    let tile = |tone, count: u64, words: &str| {
        let tone = if count == 0 { Tone::Quiet } else { tone };
        html! { div.tile data-tone=(tone) { strong { (parts::number(count)) } span { (words) } } }
    };
    html! {
        div.tiles {
            (tile(Tone::Busy, counts.unsettled_events, "events wait to be routed"))
            (tile(Tone::Busy, counts.live_runs, "runs queued or running"))
            (tile(Tone::Busy, counts.open_effects, "replies and deliveries under way"))
            (tile(Tone::Quiet, counts.written, "orders written by the store"))
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span data-tone="good" { "idle" }
            span data-tone="busy" { "at work" }
            span data-tone="bad" { "gone" }
            span data-tone="quiet" { "comes and goes" }
            span.dashed { "a nudge, which may get lost" }
        }
    }
}

fn look_of(now: &Now, node: &Node) -> (Tone, &'static str) {
    let seen = now.of(&node.name);
    match () {
        () if seen.is_empty() => (Tone::Quiet, ""),
        () if seen.iter().any(|actor| actor.state == Doing::Gone) => (Tone::Bad, "gone"),
        () if seen.iter().any(|actor| actor.state == Doing::Work) => (Tone::Busy, "at work"),
        () => (Tone::Good, "idle"),
    }
}

/// A rate as a person says it.
fn rate(per_minute: f64) -> String {
    match per_minute {
        none if none < 0.05 => "nothing lately".to_owned(),
        few if few < 10.0 => format!("{few:.1} a minute"),
        many if many < 600.0 => format!("{many:.0} a minute"),
        lots => format!("{:.0} a second", lots / 60.0),
    }
}

fn rate_of(seen: &[&ActorNow]) -> Option<f64> {
    let known: Vec<f64> = seen.iter().filter_map(|actor| actor.per_minute).collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

/// How long the slowest of them lets a message wait.
fn waited(seen: &[&ActorNow]) -> String {
    let known: Option<Vec<f64>> = seen.iter().map(|actor| actor.wait_ms).collect();
    match known.map(|waits| waits.into_iter().fold(0.0, f64::max)) {
        None => "a message waits longer than 0.1 s".to_owned(),
        Some(short) if short < 1.0 => "a message waits under 1 ms".to_owned(),
        Some(ms) => format!("a message waits {ms:.0} ms"),
    }
}

fn picture(map: &Map, now: &Now) -> Markup {
    const UNDER: f64 = 40.0;
    let plan = &map.plan;
    let (width, height) = (plan.width, plan.height + UNDER);
    html! {
        div.graph.house data-scroll="" data-wide="6" tabindex="0" role="region" aria-label="Who speaks to whom" {
            svg role="img" aria-label="The actors as boxes, from where things come in on the left to where they go out on the right, and the messages between them as arrows. The table below says the same in words."
                width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } {
                @for (arrow, drawn) in map.arrows.iter().zip(&plan.arrows) {
                    g.arrow data-from=(map.nodes[arrow.from].id) data-to=(map.nodes[arrow.to].id) data-nudge[arrow.nudge] {
                        title { (map.nodes[arrow.from].name) " → " (map.nodes[arrow.to].name) ": " (arrow.messages.join(", ")) }
                        path.line d=(drawn.line) {}
                        @if arrow.forth { path.tip d=(drawn.tip) {} }
                        @if arrow.back { path.tip d=(drawn.tail) {} }
                    }
                }
                @for (at, node) in map.nodes.iter().enumerate() {
                    @let (x, y) = plan.place(at);
                    (boxed(now, node, x, y))
                }
                g.node.store data-node="store" data-tone=(if now.counts.written > 0 { Tone::Good } else { Tone::Quiet }) {
                    title { "The store: every actor but the outermost writes to it and reads from it" }
                    rect.box x="6" y=(plan.height + 2.0) width=(width - 12.0) height="34" rx="9" {}
                    circle.dot cx="23" cy=(plan.height + 19.0) r="4.5" {}
                    text.label x="35" y=(plan.height + 24.0) { "The store" }
                    text.under x="122" y=(plan.height + 23.5) {
                        (parts::number(now.counts.written)) " orders in " (parts::number(now.counts.commits)) " commits since the start; nearly everybody speaks with it"
                    }
                }
            }
        }
    }
}

fn boxed(now: &Now, node: &Node, x: f64, y: f64) -> Markup {
    let (tone, words) = look_of(now, node);
    let seen = now.of(&node.name);
    let under = match (&node.capacity, rate_of(&seen)) {
        _ if node.outside => String::new(),
        (_, Some(per_minute)) if per_minute >= 0.05 => rate(per_minute),
        (Some(capacity), _) => format!("room for {}", parts::number(*capacity)),
        (None, _) => String::new(),
    };
    // What comes from outside has no second line, so its name may take two.
    let lines = if node.outside {
        broken(&node.name)
    } else {
        vec![node.name.clone()]
    };
    let first = if lines.len() > 1 || !under.is_empty() {
        25.0
    } else {
        33.5
    };
    html! {
        g.node data-node=(node.id) data-tone=(tone) data-outside[node.outside] {
            title {
                (node.name) @if !node.more.is_empty() { ", " (node.more) } @if !words.is_empty() { ": " (words) }
                @if let Some(capacity) = node.capacity { "; " (capacity) " messages may wait" }
            }
            rect.box x=(x) y=(y) width=(SIZES.wide) height=(SIZES.tall) rx=(if node.outside { 29 } else { 9 }) {}
            @if !node.outside { circle.dot cx=(x + 14.0) cy=(y + first - 4.5) r="4.5" {} }
            @let left = if node.outside { x + SIZES.wide / 2.0 } else { x + 25.0 };
            @for (at, line) in [first, first + 16.0].into_iter().zip(&lines) {
                text.label x=(left) y=(y + at) { (line) }
            }
            @if !under.is_empty() { text.under x=(left) y=(y + 44.0) { (under) } }
        }
    }
}

/// A name in at most two lines.
fn broken(name: &str) -> Vec<String> {
    const FITS: usize = 17;
    if name.chars().count() <= FITS {
        return vec![name.to_owned()];
    }
    let half = name.match_indices(' ').map(|(at, _)| at);
    let half = half.min_by_key(|at| at.abs_diff(name.len() / 2));
    match half {
        Some(at) => vec![name[..at].to_owned(), name[at + 1..].to_owned()],
        None => vec![name.to_owned()],
    }
}

fn table(map: &Map, now: &Now) -> Markup {
    let rows = map.nodes.iter().filter(|node| !node.outside).map(|node| {
        let (tone, words) = look_of(now, node);
        let seen = now.of(&node.name);
        let counted: Vec<u64> = seen.iter().filter_map(|actor| actor.handled).collect();
        Row {
            href: None,
            cells: vec![
                html! { strong { (node.name) } @if !node.more.is_empty() { span.under { (node.more) } } },
                html! {
                    @if words.is_empty() { span.quiet { "comes and goes" } } @else { span.badge.still data-tone=(tone) { (words) } }
                },
                html! {
                    @match now.waits_for(node.id) {
                        Some((0, _)) => span.quiet { "nothing" },
                        Some((count, of)) => { (parts::number(count)) " " (of) }
                        None => span.quiet { "–" },
                    }
                },
                html! {
                    @match node.capacity { Some(capacity) => { "room for " (parts::number(capacity)) }, None => span.quiet { "–" } }
                    @if !seen.is_empty() { span.under { (waited(&seen)) } }
                },
                html! {
                    @if counted.is_empty() { span.quiet { "–" } } @else { (parts::number(counted.iter().sum())) }
                    @if let Some(per_minute) = rate_of(&seen) { span.under { (rate(per_minute)) } }
                },
                heard(map, node),
            ],
        }
    });
    parts::table(
        "Actors",
        &["Actor", "State", "Waits in the store", "Mailbox", "Done", "Hears"],
        rows,
    )
}

/// From whom an actor hears what.
fn heard(map: &Map, node: &Node) -> Markup {
    let from: Vec<&Said> = map.said.iter().filter(|said| said.to == node.id).collect();
    let count: usize = from.iter().map(|said| said.messages.len()).sum();
    html! {
        @if from.is_empty() { span.quiet { "–" } } @else {
            details id={ "heard-" (node.id) } {
                summary { (count) (if count == 1 { " message" } else { " messages" }) }
                dl.heard {
                    @for said in from {
                        div { dt { "from " (said.from_name) @if said.nudge { " (a nudge)" } } dd { (said.messages.join(", ")) } }
                    }
                }
            }
        }
    }
}

/// A box of the map.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    id: &'static str,
    name: String,
    /// What else the picture says of it.
    more: String,
    /// It is no actor of ours.
    outside: bool,
    /// How many messages may wait for it.
    capacity: Option<u64>,
}

/// One arrow of the picture, as it stands there.
struct Said {
    from_name: String,
    to: &'static str,
    messages: Vec<&'static str>,
    nudge: bool,
}

/// What two of them say to each other, as one line.
struct Line {
    from: usize,
    to: usize,
    messages: Vec<&'static str>,
    /// Only nudges go there.
    nudge: bool,
    /// A tip at `to`.
    forth: bool,
    /// A tip at `from`.
    back: bool,
}

struct Map {
    nodes: Vec<Node>,
    said: Vec<Said>,
    arrows: Vec<Line>,
    plan: Plan,
}

static MAP: LazyLock<Map> = LazyLock::new(|| Map::read(CATALOGUE));

impl Map {
    fn read(text: &'static str) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        let mut raw: Vec<(&'static str, &'static str, Vec<&'static str>, bool)> = Vec::new();
        let picture = text.lines().skip_while(|line| *line != "```mermaid").skip(1);
        for line in picture.take_while(|line| *line != "```") {
            let Some((from, nudge, rest)) = split(line) else {
                continue;
            };
            let (label, to) = rest
                .strip_prefix('|')
                .and_then(|rest| rest.split_once('|'))
                .unwrap_or(("", rest));
            let (from, to) = (named(from, &mut nodes), named(to, &mut nodes));
            let (messages, capacity) = label.split_once(" · ").unwrap_or((label, ""));
            if let Ok(capacity) = capacity.trim().parse()
                && let Some(node) = nodes.iter_mut().find(|node| node.id == to)
            {
                node.capacity = Some(capacity);
            }
            let messages = messages.split(", ").filter(|name| !name.is_empty()).collect();
            raw.push((from, to, messages, nudge));
        }
        let name_of = |id: &str| nodes.iter().find(|node| node.id == id).map(|node| node.name.clone());
        let said = raw
            .iter()
            .filter(|(.., messages, _)| !messages.is_empty())
            .map(|(from, to, messages, nudge)| Said {
                from_name: name_of(from).unwrap_or_default(),
                to,
                messages: messages.clone(),
                nudge: *nudge,
            })
            .collect();
        // What goes out at the far end is told by those who take it there.
        let speakers: Vec<&str> = raw.iter().map(|(from, ..)| *from).collect();
        let inside = |id: &str| {
            let node = nodes.iter().find(|node| node.id == id);
            !APART.contains(&id) && node.is_some_and(|node| !node.outside || speakers.contains(&id))
        };
        let drawn: Vec<_> = raw
            .into_iter()
            .filter(|(from, to, ..)| inside(from) && inside(to))
            .collect();
        let nodes: Vec<Node> = nodes.iter().filter(|node| inside(node.id)).cloned().collect();
        let columns = columns(&nodes, &drawn);
        let arrows = lines(&nodes, &columns, drawn);
        let edges: Vec<(usize, usize)> = arrows.iter().map(|line| (line.from, line.to)).collect();
        Self {
            plan: Plan::of(&columns, &edges, SIZES),
            nodes,
            said,
            arrows,
        }
    }
}

/// A line of the picture at its arrow: what stands before, whether it is dotted, what stands behind.
fn split(line: &'static str) -> Option<(&'static str, bool, &'static str)> {
    let (at, arrow) = ["-.->", "-->"]
        .into_iter()
        .filter_map(|arrow| Some((line.find(arrow)?, arrow)))
        .min()?;
    Some((line[..at].trim(), arrow == "-.->", line[at + arrow.len()..].trim()))
}

/// The id of an end of an arrow; where it stands with its name, that is learnt.
fn named(end: &'static str, nodes: &mut Vec<Node>) -> &'static str {
    let end = end.trim();
    let at = end.find(['[', '(']).unwrap_or(end.len());
    let (id, words) = (&end[..at], &end[at..]);
    let outside = words.starts_with("([");
    let words = words.trim_matches(['[', ']', '(', ')', '"']);
    let (name, more) = words.split_once("<br/>").unwrap_or((words, ""));
    match nodes.iter_mut().find(|node| node.id == id) {
        Some(known) if known.name.is_empty() && !name.is_empty() => {
            known.name = name.to_owned();
            known.more = more.to_owned();
            known.outside = outside;
        }
        Some(_) => {}
        None => nodes.push(Node {
            id,
            name: name.to_owned(),
            more: more.to_owned(),
            outside,
            capacity: None,
        }),
    }
    id
}

type Drawn = (&'static str, &'static str, Vec<&'static str>, bool);

fn columns(nodes: &[Node], drawn: &[Drawn]) -> Vec<usize> {
    let set = |id: &str| {
        COLUMNS
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, column)| *column)
    };
    nodes
        .iter()
        .map(|node| {
            let before = drawn.iter().filter(|(_, to, ..)| *to == node.id);
            let behind = before
                .filter_map(|(from, ..)| set(from))
                .max()
                .map_or(0, |column| column + 1);
            set(node.id).unwrap_or(behind)
        })
        .collect()
}

/// One line for each two that speak to each other, from the left one to the right one.
fn lines(nodes: &[Node], columns: &[usize], drawn: Vec<Drawn>) -> Vec<Line> {
    let place = |id: &str| nodes.iter().position(|node| node.id == id);
    let mut lines: Vec<Line> = Vec::new();
    for (from, to, messages, nudge) in drawn {
        let (Some(from), Some(to)) = (place(from), place(to)) else {
            continue;
        };
        let turned = columns[from] > columns[to];
        let (left, right) = if turned { (to, from) } else { (from, to) };
        let at = lines.iter().position(|line| (line.from, line.to) == (left, right));
        let at = at.unwrap_or_else(|| {
            lines.push(Line {
                from: left,
                to: right,
                messages: Vec::new(),
                nudge: true,
                forth: false,
                back: false,
            });
            lines.len() - 1
        });
        let line = &mut lines[at];
        line.messages.extend(messages);
        line.nudge &= nudge;
        line.forth |= !turned;
        line.back |= turned;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_the_picture_of_the_catalogue() {
        let map = Map::read(CATALOGUE);
        let node = |id: &str| map.nodes.iter().find(|node| node.id == id);
        let dispatcher = node("dispatcher").expect("drawn");
        assert_eq!(
            (dispatcher.name.as_str(), dispatcher.capacity, dispatcher.outside),
            ("Dispatcher", Some(1024), false)
        );
        let webhook = node("webhook").expect("drawn");
        assert_eq!(
            (webhook.name.as_str(), webhook.outside),
            ("POST /webhooks/github", true)
        );
        assert_eq!(
            node("keeper").map(|node| node.more.as_str()),
            Some("one timer to the earliest deadline")
        );
        assert!(node("store").is_none() && node("boot").is_none() && node("slack").is_none());
        assert!(map.nodes.iter().all(|node| !node.name.is_empty()));
        assert!(
            map.nodes.len() > 15 && map.arrows.len() > 25,
            "{} arrows",
            map.arrows.len()
        );
        let both = map
            .arrows
            .iter()
            .find(|line| map.nodes[line.from].id == "supervisor" && map.nodes[line.to].id == "runner")
            .expect("they speak with each other");
        assert!(both.forth && both.back && both.messages.contains(&"RunEnded"));
        assert!(
            map.said
                .iter()
                .any(|said| said.to == "store" && said.messages.contains(&"RecordEvent"))
        );
    }

    #[test]
    fn names_and_rates_are_words() {
        assert_eq!(in_words("DeliveryRetrier"), "delivery retrier");
        assert_eq!(broken("POST /webhooks/github"), ["POST", "/webhooks/github"]);
        for (per_minute, expected) in [
            (0.0, "nothing lately"),
            (0.5, "0.5 a minute"),
            (90.0, "90 a minute"),
            (6_000.0, "100 a second"),
        ] {
            assert_eq!(rate(per_minute), expected);
        }
    }
}
