//! What comes next in one phase: its turns and their attempts, its questions, its end. Pure: reads progress and memory, changes neither.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::loops::{self, Memory, Verdict};
use super::resume::{self, Patience, Progress};
use crate::domain::{GenericLoop, Phase, PhaseName, PhaseStatus, Retry, ReviewLoop};

/// One turn of a phase. A phase without a loop has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The name under which it is recorded.
    pub(crate) row: PhaseName,
    /// Its part in the loop.
    pub(crate) part: Part,
    /// Which of its part it is, from 1.
    pub(crate) number: u32,
}

/// What a turn is in its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The whole of it.
    Whole,
    /// A review.
    Review,
    /// What follows a review that asked for changes.
    Fix,
    /// A turn of a generic loop.
    Iteration,
}

/// What comes next in a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// This turn.
    Attempt {
        /// Which.
        turn: Turn,
        /// Which try of it, from 1.
        attempt: u32,
        /// Not before this instant.
        not_before: Option<DateTime<Utc>>,
    },
    /// To find out whether this turn was the last.
    Judge(Turn),
    /// To put the question that waits behind this turn.
    Ask(Turn),
    /// Nothing; it has settled.
    Settled(Outcome),
}

/// How a phase settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Succeeded, failed or skipped.
    pub(crate) status: PhaseStatus,
    /// Why it failed or was skipped, or what a loop did not reach.
    pub(crate) reason: Option<String>,
    /// The turn whose output is the phase's.
    pub(crate) row: PhaseName,
    /// What a loop came to.
    pub(crate) came_to: Option<CameTo>,
}

/// What a loop came to. Reaching its limit is an outcome and no failure, wherever the loop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CameTo {
    /// Approved, or its condition held. False: it reached its limit first.
    pub(crate) approved: bool,
    /// Fixes of a reviewer loop, iterations of a generic one.
    pub(crate) cycles: u32,
}

impl Outcome {
    /// Whether a loop reached its limit without what it was for.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.came_to.is_some_and(|came_to| !came_to.approved)
    }
}

impl Patience for Retry {
    fn pause_after(&self, failures: u32) -> Option<Duration> {
        (failures <= self.max).then(|| self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(10)))
    }
}

/// What comes next in a phase.
pub(crate) fn next(phase: &Phase, progress: &Progress, memory: &Memory) -> Next {
    if let Some(review) = &phase.review_loop {
        return next_of_review(phase, review, progress);
    }
    if let Some(generic) = &phase.generic_loop {
        return next_of_iterations(phase, generic, progress, memory);
    }
    let turn = Turn {
        row: phase.name.clone(),
        part: Part::Whole,
        number: 1,
    };
    match ask(phase, progress, turn) {
        Stand::Next(next) => next,
        Stand::Done(turn) => Next::Settled(Outcome {
            status: PhaseStatus::Succeeded,
            reason: None,
            row: turn.row,
            came_to: None,
        }),
    }
}

fn next_of_review(phase: &Phase, review: &ReviewLoop, progress: &Progress) -> Next {
    let mut cycle = 1;
    loop {
        let turn = Turn {
            row: loops::turn_name(&phase.name, cycle),
            part: Part::Review,
            number: cycle,
        };
        let turn = match ask(phase, progress, turn) {
            Stand::Next(next) => return next,
            Stand::Done(turn) => turn,
        };
        let approved = loops::verdict(&progress.output(&turn.row)) == Verdict::Approved;
        if approved || cycle > review.max_cycles {
            let reason = format!("not approved after {} fixes (loop.max_cycles)", review.max_cycles);
            return Next::Settled(Outcome {
                status: PhaseStatus::Succeeded,
                reason: (!approved).then_some(reason),
                row: turn.row,
                came_to: Some(CameTo {
                    approved,
                    cycles: cycle - 1,
                }),
            });
        }
        let fix = Turn {
            row: loops::fix_name(&phase.name, cycle),
            part: Part::Fix,
            number: cycle,
        };
        if let Stand::Next(next) = ask(phase, progress, fix) {
            return next;
        }
        cycle += 1;
    }
}

fn next_of_iterations(phase: &Phase, generic: &GenericLoop, progress: &Progress, memory: &Memory) -> Next {
    let iteration = |number: u32| Turn {
        row: loops::turn_name(&phase.name, number),
        part: Part::Iteration,
        number,
    };
    let done = memory.iteration;
    // A question that has lapsed is put again: its turn waits still.
    let waits = done > 0
        && progress
            .at(&iteration(done).row)
            .is_some_and(|standing| standing.status == PhaseStatus::WaitingApproval);
    if memory.asking || waits {
        return Next::Ask(iteration(done));
    }
    if memory.complete || done >= generic.max_iterations {
        let reason = format!("its condition did not hold after {done} iterations (generic_loop.max_iterations)");
        return Next::Settled(Outcome {
            status: PhaseStatus::Succeeded,
            reason: (!memory.complete).then_some(reason),
            row: loops::turn_name(&phase.name, done),
            came_to: Some(CameTo {
                approved: memory.complete,
                cycles: done,
            }),
        });
    }
    match ask(phase, progress, iteration(done + 1)) {
        Stand::Next(next) => next,
        Stand::Done(turn) => Next::Judge(turn),
    }
}

/// Where one turn stands.
enum Stand {
    /// It came to a good end.
    Done(Turn),
    /// Something else comes first.
    Next(Next),
}

fn ask(phase: &Phase, progress: &Progress, turn: Turn) -> Stand {
    let patience = phase.retry.as_ref().map(|retry| retry as &dyn Patience);
    Stand::Next(match progress.next(&turn.row, patience) {
        resume::Next::Settled(PhaseStatus::Succeeded, _) => return Stand::Done(turn),
        resume::Next::Settled(status, reason) => Next::Settled(Outcome {
            status,
            reason,
            row: turn.row,
            came_to: None,
        }),
        resume::Next::Ask => Next::Ask(turn),
        resume::Next::Attempt(attempt, not_before) => Next::Attempt {
            turn,
            attempt,
            not_before,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PhaseRecord;
    use crate::runs::phase::tests::{record, workflow};

    /// Rows that succeeded, by name and output.
    fn done(rows: &[(&str, &str)]) -> Vec<PhaseRecord> {
        let names: Vec<_> = rows
            .iter()
            .map(|(name, _)| (*name, 1, PhaseStatus::Succeeded, None))
            .collect();
        let mut records = record(&names).phases;
        for (row, (_, output)) in records.iter_mut().zip(rows) {
            row.output = Some((*output).to_owned());
        }
        records
    }

    fn told(next: Next) -> String {
        match next {
            Next::Attempt { turn, attempt, .. } => format!("{}#{attempt}", turn.row),
            Next::Judge(turn) => format!("judge {}", turn.row),
            Next::Ask(turn) => format!("ask {}", turn.row),
            Next::Settled(outcome) => {
                let came_to = outcome.came_to.map(|c| format!(" {} {}", c.approved, c.cycles));
                format!("{}{} by {}", outcome.status, came_to.unwrap_or_default(), outcome.row)
            }
        }
    }

    #[test]
    fn a_review_loop_goes_on_where_its_records_say() {
        let workflow = workflow(r#"[{"name":"r","label":"","kind":"agent","loop":{"max_cycles":1,"fix_prompt":"f"}}]"#);
        let (bad, good) = ("VERDICT: REQUEST_CHANGES", "VERDICT: APPROVED");
        for (rows, expected) in [
            (&[][..], "r#1"),
            (&[("r", good)][..], "succeeded true 0 by r"),
            (&[("r", bad)][..], "r_fix_1#1"),
            (&[("r", bad), ("r_fix_1", "")][..], "r_2#1"),
            (
                &[("r", bad), ("r_fix_1", ""), ("r_2", good)][..],
                "succeeded true 1 by r_2",
            ),
            (
                &[("r", bad), ("r_fix_1", ""), ("r_2", bad)][..],
                "succeeded false 1 by r_2",
            ),
        ] {
            let progress = Progress::of(done(rows));
            assert_eq!(
                told(next(&workflow.phases[0], &progress, &Memory::default())),
                expected,
                "{rows:?}"
            );
        }
    }

    #[test]
    fn a_generic_loop_goes_on_where_its_records_and_its_memory_say() {
        let phases =
            r#"[{"name":"g","label":"","kind":"script","run":"x","generic_loop":{"max_iterations":2,"until":"done"}}]"#;
        let workflow = workflow(phases);
        let memory = |iteration, complete, asking| Memory {
            iteration,
            complete,
            asking,
            ..Memory::default()
        };
        for (rows, memory, expected) in [
            (&[][..], memory(0, false, false), "g#1"),
            (&[("g", "")][..], memory(0, false, false), "judge g"),
            (&[("g", "")][..], memory(1, false, true), "ask g"),
            (&[("g", "")][..], memory(1, false, false), "g_2#1"),
            (&[("g", "")][..], memory(1, true, false), "succeeded true 1 by g"),
            (&[("g", ""), ("g_2", "")][..], memory(1, false, false), "judge g_2"),
            (
                &[("g", ""), ("g_2", "")][..],
                memory(2, false, false),
                "succeeded false 2 by g_2",
            ),
        ] {
            let progress = Progress::of(done(rows));
            assert_eq!(
                told(next(&workflow.phases[0], &progress, &memory)),
                expected,
                "{rows:?} {memory:?}"
            );
        }
        let mut waits = done(&[("g", "")]);
        waits[0].status = PhaseStatus::WaitingApproval;
        let lapsed = next(&workflow.phases[0], &Progress::of(waits), &memory(1, false, false));
        assert_eq!(told(lapsed), "ask g", "a question that lapsed is put again");
    }
}
