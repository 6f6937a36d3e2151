//! A workflow's diagram as a picture: boxes in columns, arrows between them, made for reading and for a keyboard. Pure.

use actors::domain::{Diagram, DiagramNode, TriggerRule};
use maud::{Markup, html};

use super::parts::Tone;

/// How large boxes are, and how far apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) wide: f64,
    pub(super) tall: f64,
    pub(super) gap_x: f64,
    pub(super) gap_y: f64,
}

const PHASES: Sizes = Sizes {
    wide: 194.0,
    tall: 56.0,
    gap_x: 44.0,
    gap_y: 20.0,
};

/// How much of a column an arrow takes that passes through it.
const PASS_H: f64 = 8.0;
const EDGE: f64 = 6.0;
const TIP: f64 = 7.0;

/// Sweeps over the columns that untangle the arrows; more change nothing in pictures of this size.
const SWEEPS: usize = 6;

/// Characters of a label that fit into a box.
const FITS: usize = 19;

/// How one box looks.
pub(super) struct Look {
    pub(super) tone: Tone,
    /// Its state in words; empty where it has none.
    pub(super) words: String,
    /// Where a click leads.
    pub(super) href: Option<String>,
}

/// What stands in a column: a box, or an arrow on its way through.
struct Item {
    column: usize,
    node: Option<usize>,
    top: f64,
}

/// The picture. `look` says how each box looks.
pub(super) fn draw(title: &str, diagram: &Diagram, look: impl Fn(&DiagramNode) -> Look) -> Markup {
    let (plan, rules) = planned(diagram);
    let (width, height) = (plan.width, plan.height);
    // Beyond so many columns a picture is not made smaller to fit; it is scrolled.
    let wide = match diagram.nodes.iter().map(|node| node.column).max() {
        None | Some(0..3) => None,
        Some(3) => Some("4"),
        Some(4..7) => Some("6"),
        Some(_) => Some("9"),
    };
    html! {
        div.graph data-scroll="" data-wide=[wide] tabindex="0" role="region" aria-label=(title) {
            svg role="group" aria-label=(in_words(title, diagram)) width=(width) height=(height)
                viewBox={ "0 0 " (width) " " (height) } {
                @for (rule, arrow) in rules.iter().zip(&plan.arrows) {
                    g.arrow data-rule=(rule) {
                        @if *rule != TriggerRule::AllSuccess { title { (in_words_of(*rule)) } }
                        path.line d=(arrow.line) {}
                        path.tip d=(arrow.tip) {}
                    }
                }
                @for (at, node) in diagram.nodes.iter().enumerate() {
                    @let (x, y) = plan.place(at);
                    (boxed(node, x, y, &look(node)))
                }
            }
        }
    }
}

fn boxed(node: &DiagramNode, x: f64, y: f64, look: &Look) -> Markup {
    let label: String = if node.label.chars().count() > FITS {
        node.label.chars().take(FITS - 1).chain(['…']).collect()
    } else {
        node.label.clone()
    };
    let mut under = node.kind.to_string();
    if node.goes_round.is_some() {
        under.push_str(" · in rounds");
    }
    if node.gate.is_some() {
        under.push_str(" · asks");
    }
    if node.when.is_some() {
        under.push_str(" · if");
    }
    let mut whole = format!("{}, {}", node.label, node.kind);
    if let Some(gate) = &node.gate {
        whole = format!("{whole}; asks at the gate {gate}");
    }
    if let Some(when) = &node.when {
        whole = format!("{whole}; only if {when}");
    }
    if !look.words.is_empty() {
        whole = format!("{whole}: {}", look.words);
    }
    let inside = html! {
        title { (whole) }
        rect.box x=(x) y=(y) width=(PHASES.wide) height=(PHASES.tall) rx="9" {}
        circle.dot cx=(x + 17.0) cy=(y + 21.0) r="4.5" {}
        text.label x=(x + 29.0) y=(y + 25.5) { (label) }
        text.under x=(x + 29.0) y=(y + 43.0) { (under) }
    };
    html! {
        g.node data-tone=(look.tone) data-kind=(node.kind) {
            @match &look.href {
                Some(href) => a href=(href) { (inside) },
                None => (inside),
            }
        }
    }
}

/// The picture for those who do not see it.
fn in_words(title: &str, diagram: &Diagram) -> String {
    let mut words = format!("{title}. ");
    for node in &diagram.nodes {
        let needs: Vec<&str> = diagram
            .edges
            .iter()
            .filter(|edge| edge.to == node.id)
            .map(|edge| edge.from.as_str())
            .collect();
        words.push_str(node.id.as_str());
        if !needs.is_empty() {
            words.push_str(" after ");
            words.push_str(&needs.join(" and "));
        }
        words.push_str("; ");
    }
    words
}

pub(super) fn in_words_of(rule: TriggerRule) -> &'static str {
    match rule {
        TriggerRule::AllSuccess => "when all ended well or were skipped",
        TriggerRule::OneSuccess => "when at least one ended well",
        TriggerRule::NoneFailedMinOneSuccess => "when none failed and at least one ended well",
        TriggerRule::AllDone => "when all ended, however",
    }
}

/// Where the boxes of a diagram stand, and the rule of each arrow that is drawn.
fn planned(diagram: &Diagram) -> (Plan, Vec<TriggerRule>) {
    let columns: Vec<usize> = diagram.nodes.iter().map(|node| node.column).collect();
    let place = |name| diagram.nodes.iter().position(|node| node.id == name);
    let (mut edges, mut rules) = (Vec::new(), Vec::new());
    for edge in &diagram.edges {
        if let (Some(from), Some(to)) = (place(edge.from.clone()), place(edge.to.clone())) {
            edges.push((from, to));
            rules.push(edge.rule);
        }
    }
    (Plan::of(&columns, &edges, PHASES), rules)
}

/// An arrow as path data, with a tip for each end; which of them is drawn is the picture's.
pub(super) struct Arrow {
    pub(super) line: String,
    pub(super) tip: String,
    /// At the end where it begins, for what goes there as well or instead.
    pub(super) tail: String,
}

/// Where boxes stand in their columns, and how arrows get by.
pub(super) struct Plan {
    sizes: Sizes,
    /// The boxes in their order, then what passes through.
    items: Vec<Item>,
    /// One for each edge, in their order.
    pub(super) arrows: Vec<Arrow>,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Sizes {
    #[expect(clippy::cast_precision_loss, reason = "a picture has few columns")]
    fn left(self, column: usize) -> f64 {
        EDGE + column as f64 * (self.wide + self.gap_x)
    }

    fn slot(self, item: &Item) -> f64 {
        if item.node.is_some() { self.tall } else { PASS_H }
    }

    fn middle(self, item: &Item) -> f64 {
        item.top + self.slot(item) / 2.0
    }
}

impl Plan {
    /// `columns` has one number for each box. An edge leads from a box to one further right; one to the same column goes
    /// around its left side.
    pub(super) fn of(columns: &[usize], edges: &[(usize, usize)], sizes: Sizes) -> Self {
        let mut items: Vec<Item> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Item {
                column: *column,
                node: Some(at),
                top: 0.0,
            })
            .collect();
        // Each arrow as a chain of items, one in every column that it touches.
        let mut chains = Vec::new();
        for (from, to) in edges.iter().copied() {
            let mut chain = vec![from];
            for column in items[from].column + 1..items[to].column {
                chain.push(items.len());
                items.push(Item {
                    column,
                    node: None,
                    top: 0.0,
                });
            }
            chain.push(to);
            chains.push(chain);
        }
        let columns = order(&items, &chains);
        let talls: Vec<f64> = columns
            .iter()
            .map(|column| {
                let slots = column.iter().map(|item| sizes.slot(&items[*item]) + sizes.gap_y);
                slots.sum::<f64>() - sizes.gap_y
            })
            .collect();
        let height = talls.iter().copied().fold(sizes.tall, f64::max);
        for (column, tall) in columns.iter().zip(talls) {
            let mut top = EDGE + (height - tall) / 2.0;
            for item in column {
                items[*item].top = top;
                top += sizes.slot(&items[*item]) + sizes.gap_y;
            }
        }
        let arrows = chains.iter().map(|chain| arrow(chain, &items, sizes)).collect();
        Self {
            width: sizes.left(columns.len()) - sizes.gap_x + EDGE,
            height: height + 2.0 * EDGE,
            sizes,
            items,
            arrows,
        }
    }

    /// The upper left corner of a box.
    pub(super) fn place(&self, at: usize) -> (f64, f64) {
        (self.sizes.left(self.items[at].column), self.items[at].top)
    }
}

/// The items of each column from the top down, so that few arrows cross: each stands near the mean of its neighbours.
fn order(items: &[Item], chains: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let most = items.iter().map(|item| item.column).max().map_or(0, |most| most + 1);
    let mut columns = vec![Vec::new(); most];
    for (at, item) in items.iter().enumerate() {
        columns[item.column].push(at);
    }
    let links: Vec<(usize, usize)> = chains
        .iter()
        .flat_map(|chain| chain.windows(2).map(|pair| (pair[0], pair[1])))
        .collect();
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        for step in 1..most {
            let column = if forward { step } else { most - 1 - step };
            let beside = if forward { column - 1 } else { column + 1 };
            let places = columns[beside].clone();
            #[expect(clippy::cast_precision_loss, reason = "a column has few items")]
            let wish = |item: &usize, now: usize| -> f64 {
                let near: Vec<f64> = links
                    .iter()
                    .filter_map(|(from, to)| match forward {
                        true => (to == item).then_some(from),
                        false => (from == item).then_some(to),
                    })
                    .filter_map(|other| places.iter().position(|one| one == other))
                    .map(|place| place as f64 / places.len().max(1) as f64)
                    .collect();
                if near.is_empty() {
                    now as f64 / places.len().max(1) as f64
                } else {
                    near.iter().sum::<f64>() / near.len() as f64
                }
            };
            let mut wishes: Vec<(f64, usize)> = columns[column]
                .iter()
                .enumerate()
                .map(|(now, item)| (wish(item, now), *item))
                .collect();
            wishes.sort_by(|a, b| a.0.total_cmp(&b.0));
            columns[column] = wishes.into_iter().map(|(_, item)| item).collect();
        }
    }
    columns
}

fn arrow(chain: &[usize], items: &[Item], sizes: Sizes) -> Arrow {
    let (first, last) = (&items[chain[0]], &items[chain[chain.len() - 1]]);
    if first.column == last.column {
        return around(first, last, sizes);
    }
    let (start_x, start_y) = (sizes.left(first.column) + sizes.wide, sizes.middle(first));
    let (mut x, mut y) = (start_x, start_y);
    let mut line = format!("M{x:.1} {y:.1}");
    for (at, item) in chain.iter().enumerate().skip(1) {
        let item = &items[*item];
        let ends = at + 1 == chain.len();
        let (to_x, to_y) = (
            sizes.left(item.column) - if ends { TIP } else { 0.0 },
            sizes.middle(item),
        );
        let bend = (to_x - x) / 2.0;
        line.push_str(&format!(
            " C{:.1} {y:.1} {:.1} {to_y:.1} {to_x:.1} {to_y:.1}",
            x + bend,
            to_x - bend
        ));
        (x, y) = (to_x, to_y);
        if !ends {
            x += sizes.wide;
            line.push_str(&format!(" H{x:.1}"));
        }
    }
    Arrow {
        line,
        tip: format!("M{x:.1} {:.1} l{TIP} 4 l-{TIP} 4 Z", y - 4.0),
        tail: format!("M{:.1} {:.1} l-{TIP} 4 l{TIP} 4 Z", start_x + TIP, start_y - 4.0),
    }
}

/// From a box to another one of its column, around their left sides.
fn around(from: &Item, to: &Item, sizes: Sizes) -> Arrow {
    let x = sizes.left(from.column) - TIP;
    let (from_y, to_y) = (sizes.middle(from), sizes.middle(to));
    let out = x - sizes.gap_x / 2.0;
    let tip = |y: f64| format!("M{x:.1} {:.1} l{TIP} 4 l-{TIP} 4 Z", y - 4.0);
    Arrow {
        line: format!(
            "M{:.1} {from_y:.1} H{x:.1} C{out:.1} {from_y:.1} {out:.1} {to_y:.1} {x:.1} {to_y:.1}",
            x + TIP
        ),
        tip: tip(to_y),
        tail: tip(from_y),
    }
}

#[cfg(test)]
mod tests {
    use actors::domain::{DiagramEdge, PhaseKind};

    use super::*;

    fn diagram(nodes: &[(&str, usize)], edges: &[(&str, &str)]) -> Diagram {
        Diagram {
            nodes: nodes
                .iter()
                .map(|(name, column)| DiagramNode {
                    id: name.parse().expect("a name"),
                    label: format!("<{name}>"),
                    kind: PhaseKind::Script,
                    column: *column,
                    gate: None,
                    goes_round: None,
                    when: None,
                })
                .collect(),
            edges: edges
                .iter()
                .map(|(from, to)| DiagramEdge {
                    from: from.parse().expect("a name"),
                    to: to.parse().expect("a name"),
                    rule: TriggerRule::AllSuccess,
                })
                .collect(),
        }
    }

    #[test]
    fn no_two_boxes_of_a_column_touch_and_nothing_leaves_the_picture() {
        let shapes = [
            diagram(&[("a", 0)], &[]),
            diagram(&[], &[]),
            diagram(
                &[("a", 0), ("b", 1), ("c", 1), ("d", 2)],
                &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d")],
            ),
            diagram(&[("a", 0), ("b", 0), ("c", 0), ("d", 3)], &[("a", "d"), ("c", "d")]),
        ];
        for shape in shapes {
            let (plan, _) = planned(&shape);
            let slot = |item: &Item| PHASES.slot(item);
            for (at, one) in plan.items.iter().enumerate() {
                assert!(one.top >= 0.0 && one.top + slot(one) <= plan.height, "{}", plan.height);
                assert!(PHASES.left(one.column) + PHASES.wide <= plan.width);
                for other in &plan.items[at + 1..] {
                    let apart = one.top + slot(one) <= other.top || other.top + slot(other) <= one.top;
                    assert!(one.column != other.column || apart);
                }
            }
        }
    }

    #[test]
    fn labels_are_text_and_the_picture_is_told_in_words() {
        let shape = diagram(&[("a", 0), ("b", 1)], &[("a", "b")]);
        let drawn = draw("The way", &shape, |_| Look {
            tone: Tone::Good,
            words: "succeeded".into(),
            href: None,
        })
        .into_string();
        assert!(drawn.contains("&lt;a&gt;") && !drawn.contains("<a>"), "{drawn}");
        assert!(drawn.contains("b after a"), "{drawn}");
        assert!(!drawn.contains("style="));
    }
}
