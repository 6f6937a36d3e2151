//! A workflow as a picture: its phases in columns and the arrows between them. Pure; draws nothing.

use serde::Serialize;

use super::{PhaseKind, PhaseName, TriggerRule, Workflow};

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagram {
    /// The phases, in the order of the file.
    pub nodes: Vec<DiagramNode>,
    /// What waits for what.
    pub edges: Vec<DiagramEdge>,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiagramNode {
    /// Its name.
    pub id: PhaseName,
    /// For people.
    pub label: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: PhaseKind,
    /// Its column, from 0: one more than that of the last phase it waits for.
    pub column: usize,
    /// The gate that asks at or behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// `review` or `generic`, where it goes round.
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    pub goes_round: Option<&'static str>,
    /// Where it does not hold, the phase is skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// One phase waits for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiagramEdge {
    /// What is waited for.
    pub from: PhaseName,
    /// What waits.
    pub to: PhaseName,
    /// When it begins, by how those that it waits for ended.
    pub rule: TriggerRule,
}

impl Workflow {
    /// Its picture. A definition that waits for itself or for nobody known, which no reader lets through, loses those arrows.
    #[must_use]
    pub fn diagram(&self) -> Diagram {
        let index = |name: &PhaseName| self.phases.iter().position(|phase| phase.name == *name);
        let needs: Vec<Vec<usize>> = if self.is_graph() {
            let of = |phase: &super::Phase| phase.depends_on.iter().filter_map(index).collect();
            self.phases.iter().map(of).collect()
        } else {
            (0..self.phases.len())
                .map(|at| at.checked_sub(1).into_iter().collect())
                .collect()
        };
        let columns = columns(&needs);
        let nodes = self.phases.iter().zip(&columns).map(|(phase, column)| DiagramNode {
            id: phase.name.clone(),
            label: phase.label.clone(),
            kind: phase.kind,
            column: *column,
            gate: phase
                .approval
                .as_ref()
                .map(|step| step.gate.clone())
                .or_else(|| phase.approval_gate.clone()),
            goes_round: match (&phase.review_loop, &phase.generic_loop) {
                (Some(_), _) => Some("review"),
                (None, Some(_)) => Some("generic"),
                (None, None) => None,
            },
            when: phase.when.clone(),
        });
        let edges = self.phases.iter().enumerate().flat_map(|(at, phase)| {
            let (needs, columns) = (&needs, &columns);
            let forward = needs[at].iter().filter(move |need| columns[**need] < columns[at]);
            forward.map(|need| DiagramEdge {
                from: self.phases[*need].name.clone(),
                to: phase.name.clone(),
                rule: phase.trigger_rule,
            })
        });
        Diagram {
            nodes: nodes.collect(),
            edges: edges.collect(),
        }
    }
}

/// The longest way to each phase, in arrows. Phases of a circle, and what waits for them, stay in column 0.
fn columns(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut follow = vec![Vec::new(); needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        for need in needs {
            follow[*need].push(at);
        }
    }
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut columns = vec![0; needs.len()];
    let mut ready: Vec<usize> = (0..needs.len()).filter(|at| open[*at] == 0).collect();
    while let Some(at) = ready.pop() {
        for next in &follow[at] {
            open[*next] -= 1;
            if open[*next] == 0 {
                columns[*next] = needs[*next].iter().map(|need| columns[*need] + 1).max().unwrap_or(0);
                ready.push(*next);
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Phase;

    fn drawn(phases: &[(&str, &[&str])]) -> (Vec<usize>, Vec<String>) {
        let name = |text: &&str| -> PhaseName { text.parse().expect("a name") };
        let phases: Vec<Phase> = phases
            .iter()
            .map(|(phase, needs)| Phase {
                depends_on: needs.iter().map(name).collect(),
                ..Phase::new(name(phase), PhaseKind::Context)
            })
            .collect();
        let mut workflow = Workflow::from_bundle(
            r#"{"name":"x","kind":"agent","description":"","variables":{},"phases":[],"text":"","file":""}"#,
        )
        .expect("a bundle");
        workflow.phases = phases;
        let diagram = workflow.diagram();
        (
            diagram.nodes.iter().map(|node| node.column).collect(),
            diagram
                .edges
                .iter()
                .map(|edge| format!("{}>{}", edge.from, edge.to))
                .collect(),
        )
    }

    #[test]
    fn phases_stand_in_the_column_of_their_longest_way() {
        for (phases, columns, edges) in [
            (
                &[("a", &[][..]), ("b", &[]), ("c", &[])][..],
                vec![0, 1, 2],
                vec!["a>b", "b>c"],
            ),
            (
                &[("d", &["b", "c", "a"]), ("c", &["b"]), ("b", &["a"]), ("a", &[])],
                vec![3, 2, 1, 0],
                vec!["b>d", "c>d", "a>d", "b>c", "a>b"],
            ),
            (&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])], vec![0, 0, 0], vec![]),
            (&[("a", &["gone"]), ("b", &["a"])], vec![0, 1], vec!["a>b"]),
        ] {
            assert_eq!(drawn(phases), (columns, edges.into_iter().map(str::to_owned).collect()));
        }
    }
}
