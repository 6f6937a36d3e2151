//! Which phases of a run may begin, which are passed over, and why. Pure: knows no record, no clock and no process.

use std::collections::BTreeMap;

use crate::domain::{Phase, PhaseName, TriggerRule, Workflow};

/// How the phases of a workflow wait for one another.
///
/// Where no phase names a dependency they follow one another as they stand in the file, and the first that fails ends the
/// run. Otherwise each begins when *its* dependencies have settled, a failure holds up only what depends on it, and phases
/// without dependencies begin at once.
#[derive(Debug)]
pub(crate) struct Graph {
    linear: bool,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: PhaseName,
    needs: Vec<usize>,
    rule: TriggerRule,
}

/// Where a phase stands, as seen by those that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeState {
    /// It has not begun.
    Waits,
    /// It has begun and has not settled: at work, between two turns, or waiting for a person.
    Begun,
    /// It came to a good end.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It was passed over by what it says itself: its condition, or a runtime that it can do without.
    Skipped,
    /// It was passed over because its rule did not hold.
    HeldBack,
}

impl NodeState {
    /// Whether nothing more will happen to it.
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::HeldBack)
    }
}

/// Begins the reason of a phase that its rule held back.
const HELD_BACK: &str = "trigger_rule ";

/// Whether a phase was passed over because its rule did not hold, by the reason that was written down for it.
pub(crate) fn was_held_back(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| reason.starts_with(HELD_BACK))
}

/// What happens to a phase that waited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// It begins.
    Begin(usize),
    /// It is passed over, for this reason.
    Skip(usize, String),
}

impl Graph {
    /// The graph of a workflow.
    ///
    /// # Errors
    /// When a dependency is unknown, or phases wait for one another in a circle. The loader refuses such files; a bundle
    /// that another version kept is checked all the same, because a run of it would never end.
    pub(crate) fn of(workflow: &Workflow) -> Result<Self, String> {
        let places: BTreeMap<&PhaseName, usize> = workflow.phases.iter().map(|phase| &phase.name).zip(0..).collect();
        let node = |phase: &Phase| {
            let needs = phase.depends_on.iter().map(|name| {
                let unknown = || {
                    format!(
                        "phase \"{}\" depends on \"{name}\", which is no phase of it",
                        phase.name
                    )
                };
                places.get(name).copied().ok_or_else(unknown)
            });
            Ok(Node {
                name: phase.name.clone(),
                needs: needs.collect::<Result<_, String>>()?,
                rule: phase.trigger_rule,
            })
        };
        let nodes: Vec<Node> = workflow.phases.iter().map(node).collect::<Result<_, String>>()?;
        let graph = Self {
            linear: !workflow.is_graph(),
            nodes,
        };
        match graph.circle() {
            Some(at) => Err(format!("phase \"{}\" waits for itself", graph.nodes[at].name)),
            None => Ok(graph),
        }
    }

    /// Whether a failed phase ends the run at once.
    pub(crate) fn is_linear(&self) -> bool {
        self.linear
    }

    /// What may happen next to phases that wait, in the order of the file. A phase that is skipped may free others: ask
    /// again with the new states.
    pub(crate) fn moves(&self, states: &[NodeState]) -> Vec<Move> {
        if self.linear {
            let first = states
                .iter()
                .position(|state| !matches!(state, NodeState::Succeeded | NodeState::Skipped | NodeState::HeldBack));
            let next = first.filter(|at| states[*at] == NodeState::Waits);
            return next.map(Move::Begin).into_iter().collect();
        }
        let waiting = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(at, _)| states[*at] == NodeState::Waits);
        waiting
            .filter(|(_, node)| node.needs.iter().all(|need| states[*need].is_settled()))
            .map(|(at, node)| {
                let seen: Vec<NodeState> = node.needs.iter().map(|need| states[*need]).collect();
                if seen.is_empty() || holds(node.rule, &seen) {
                    Move::Begin(at)
                } else {
                    Move::Skip(at, self.why_not(node, states))
                }
            })
            .collect()
    }

    /// `trigger_rule all_success does not hold: "a" failed, "b" was skipped`.
    fn why_not(&self, node: &Node, states: &[NodeState]) -> String {
        let told: Vec<String> = node
            .needs
            .iter()
            .filter_map(|need| {
                let how = match states[*need] {
                    NodeState::Failed => "failed",
                    NodeState::Skipped => "was skipped",
                    NodeState::HeldBack => "was held back",
                    _ => return None,
                };
                Some(format!("\"{}\" {how}", self.nodes[*need].name))
            })
            .collect();
        format!("{HELD_BACK}{} does not hold: {}", node.rule, told.join(", "))
    }

    /// A phase that is on a circle or behind one, if there is any.
    fn circle(&self) -> Option<usize> {
        let mut open: Vec<usize> = self.nodes.iter().map(|node| node.needs.len()).collect();
        let mut behind: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            for need in &node.needs {
                behind[*need].push(at);
            }
        }
        let mut free: Vec<usize> = (0..open.len()).filter(|at| open[*at] == 0).collect();
        while let Some(at) = free.pop() {
            for next in &behind[at] {
                open[*next] -= 1;
                if open[*next] == 0 {
                    free.push(*next);
                }
            }
        }
        open.iter().position(|left| *left > 0)
    }
}

/// Whether a rule lets a phase begin, given how its dependencies settled.
///
/// One that passed itself over is neither good nor bad, and `all_success` goes on behind it. One that was held back is not
/// good: otherwise the second phase behind a failure would begin although the first did not.
fn holds(rule: TriggerRule, settled: &[NodeState]) -> bool {
    let any = |wanted| settled.contains(&wanted);
    match rule {
        TriggerRule::AllSuccess => !any(NodeState::Failed) && !any(NodeState::HeldBack),
        TriggerRule::OneSuccess => any(NodeState::Succeeded),
        TriggerRule::NoneFailedMinOneSuccess => !any(NodeState::Failed) && any(NodeState::Succeeded),
        TriggerRule::AllDone => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runs::phase::tests::workflow;

    use NodeState::{Begun, Failed, HeldBack, Skipped, Succeeded, Waits};

    /// A graph out of `b: a`, `c: a b one_success`.
    fn graph(lines: &[&str]) -> Result<Graph, String> {
        let phases: Vec<String> = lines
            .iter()
            .map(|line| {
                let (name, rest) = line.split_once(':').unwrap_or((line, ""));
                let (rules, needs): (Vec<&str>, Vec<&str>) =
                    rest.split_whitespace().partition(|word| word.contains('_'));
                let needs: Vec<String> = needs.iter().map(|need| format!("{need:?}")).collect();
                let rule = rules.first().unwrap_or(&"all_success");
                format!(
                    r#"{{"name":"{name}","label":"","kind":"context","depends_on":[{}],"trigger_rule":"{rule}"}}"#,
                    needs.join(",")
                )
            })
            .collect();
        Graph::of(&workflow(&format!("[{}]", phases.join(","))))
    }

    #[test]
    fn phases_without_dependencies_follow_one_another_and_the_first_failure_is_the_last() {
        let line = graph(&["a", "b", "c"]).expect("a graph");
        assert!(line.is_linear());
        for (states, expected) in [
            ([Waits, Waits, Waits], Some(0)),
            ([Begun, Waits, Waits], None),
            ([Succeeded, Waits, Waits], Some(1)),
            ([Skipped, Waits, Waits], Some(1)),
            ([Failed, Waits, Waits], None),
            ([Succeeded, Skipped, Waits], Some(2)),
            ([Succeeded, Succeeded, Succeeded], None),
        ] {
            let moves: Vec<Move> = expected.map(Move::Begin).into_iter().collect();
            assert_eq!(line.moves(&states), moves, "{states:?}");
        }
    }

    #[test]
    fn each_phase_begins_when_its_own_dependencies_have_settled() {
        let graph = graph(&["a", "b", "c: a", "d: b", "e: c d"]).expect("a graph");
        assert!(!graph.is_linear());
        for (states, expected) in [
            ([Waits, Waits, Waits, Waits, Waits], vec![0, 1]),
            ([Succeeded, Begun, Waits, Waits, Waits], vec![2]),
            ([Succeeded, Begun, Succeeded, Waits, Waits], vec![]),
            ([Succeeded, Succeeded, Begun, Waits, Waits], vec![3]),
            ([Succeeded, Succeeded, Succeeded, Succeeded, Waits], vec![4]),
        ] {
            let moves: Vec<Move> = expected.into_iter().map(Move::Begin).collect();
            assert_eq!(graph.moves(&states), moves, "{states:?}");
        }
    }

    #[test]
    fn the_four_rules_hold_as_their_names_say() {
        // Rows: how two dependencies settled. Columns: all_success, one_success, none_failed_min_one_success, all_done.
        for (left, right, expected) in [
            (Succeeded, Succeeded, [true, true, true, true]),
            (Succeeded, Failed, [false, true, false, true]),
            (Succeeded, Skipped, [true, true, true, true]),
            (Succeeded, HeldBack, [false, true, true, true]),
            (Failed, Failed, [false, false, false, true]),
            (Failed, Skipped, [false, false, false, true]),
            (Failed, HeldBack, [false, false, false, true]),
            (Skipped, Skipped, [true, false, false, true]),
            (Skipped, HeldBack, [false, false, false, true]),
        ] {
            for (rule, expected) in TriggerRule::ALL.iter().zip(expected) {
                assert_eq!(holds(*rule, &[left, right]), expected, "{rule} {left:?} {right:?}");
                assert_eq!(holds(*rule, &[right, left]), expected, "{rule} {right:?} {left:?}");
            }
        }
    }

    #[test]
    fn what_is_passed_over_says_why_and_passes_it_on() {
        let graph = graph(&["a", "b", "c: a b", "d: c", "e: c all_done"]).expect("a graph");
        let mut states = [Failed, Succeeded, Waits, Waits, Waits];
        assert_eq!(
            graph.moves(&states),
            [Move::Skip(
                2,
                "trigger_rule all_success does not hold: \"a\" failed".into()
            )]
        );
        states[2] = HeldBack;
        assert_eq!(
            graph.moves(&states),
            [
                Move::Skip(3, "trigger_rule all_success does not hold: \"c\" was held back".into()),
                Move::Begin(4)
            ]
        );
    }

    #[test]
    fn what_could_never_end_is_refused() {
        for (lines, expected) in [
            (&["a: a"][..], "phase \"a\" waits for itself"),
            (&["a: c", "b: a", "c: b"][..], "phase \"a\" waits for itself"),
            (
                &["a: nobody"][..],
                "phase \"a\" depends on \"nobody\", which is no phase of it",
            ),
        ] {
            assert_eq!(graph(lines).err().as_deref(), Some(expected), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn every_graph_comes_to_an_end_however_its_phases_end(
            edges in prop::collection::vec((0usize..12, 0usize..12), 0..30),
            rules in prop::collection::vec(0usize..4, 12),
            ends in prop::collection::vec(0usize..3, 12),
        ) {
            let mut needs = vec![Vec::new(); 12];
            for (from, to) in edges {
                // Backwards only, so that there is no circle.
                if from < to && !needs[to].contains(&from) {
                    needs[to].push(from);
                }
            }
            let linear = needs.iter().all(Vec::is_empty);
            let nodes = needs.into_iter().zip(rules).enumerate().map(|(at, (needs, rule))| Node {
                name: format!("p{at}").parse().expect("valid"),
                needs,
                rule: TriggerRule::ALL[rule],
            });
            let graph = Graph { linear, nodes: nodes.collect() };
            prop_assert_eq!(graph.circle(), None);
            let mut states = vec![Waits; 12];
            let mut begun = 0;
            for _ in 0..12 {
                for next in graph.moves(&states) {
                    match next {
                        Move::Begin(at) => {
                            prop_assert_eq!(states[at], Waits);
                            begun += 1;
                            states[at] = [Succeeded, Failed, Skipped][ends[at]];
                        }
                        Move::Skip(at, why) => {
                            prop_assert!(why.contains('"'), "{}", why);
                            prop_assert!(was_held_back(Some(&why)));
                            states[at] = HeldBack;
                        }
                    }
                }
            }
            prop_assert_eq!(graph.moves(&states), Vec::<Move>::new());
            let failed = states.contains(&Failed);
            prop_assert!(states.iter().all(|state| state.is_settled()) || (linear && failed));
            prop_assert!(begun > 0);
        }
    }
}
