//! The rules of loops: how turns are named, what a review decides, what the next turn may know. Pure: knows no process and no store.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::{Answered, PhaseName};

/// Bytes of what earlier turns printed that the next one is told; the last ones.
const PREVIOUS: usize = 10 * 1024;

/// Longest name of a recorded execution, as for any phase.
const LONGEST_NAME: usize = 64;

/// What a review decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is good.
    Approved,
    /// It is to be changed.
    RequestChanges,
}

/// Reads the verdict out of a review: the last line that is `VERDICT: APPROVED` or `VERDICT: REQUEST_CHANGES` in any case.
/// Without such a line a text that begins with APPROVED and nowhere says REQUEST_CHANGES approves; anything else does not.
pub(crate) fn verdict(review: &str) -> Verdict {
    let of_line = |line: &str| {
        let line = line.trim().trim_matches(['*', '`', '_']).trim().to_ascii_uppercase();
        let word = line
            .strip_prefix("VERDICT:")?
            .trim_matches(['*', '`', '_', ' ', '\t'])
            .to_owned();
        match word.as_str() {
            "APPROVED" => Some(Verdict::Approved),
            "REQUEST_CHANGES" => Some(Verdict::RequestChanges),
            _ => None,
        }
    };
    if let Some(verdict) = review.lines().rev().find_map(of_line) {
        return verdict;
    }
    let upper = review.trim_start().to_ascii_uppercase();
    if upper.starts_with("APPROVED") && !upper.contains("REQUEST_CHANGES") {
        Verdict::Approved
    } else {
        Verdict::RequestChanges
    }
}

/// The name under which a turn is recorded: the phase's own for the first, `<phase>_2` for the second.
pub(crate) fn turn_name(phase: &PhaseName, turn: u32) -> PhaseName {
    match turn {
        0 | 1 => phase.clone(),
        turn => suffixed(phase, &format!("_{turn}")),
    }
}

/// The name under which a fix is recorded: `<phase>_fix_1`.
pub(crate) fn fix_name(phase: &PhaseName, fix: u32) -> PhaseName {
    suffixed(phase, &format!("_fix_{fix}"))
}

/// A phase of a long name gives way, so that the number always fits.
fn suffixed(phase: &PhaseName, suffix: &str) -> PhaseName {
    let room = LONGEST_NAME.saturating_sub(suffix.len());
    let stem = phase.as_str().get(..room).unwrap_or(phase.as_str());
    let name = format!("{stem}{suffix}");
    name.parse()
        .expect("the beginning of a phase's name and a suffix of its letters")
}

/// What earlier turns printed, joined, and cut to its last 10 KiB at a character's boundary.
pub(crate) fn previous<'o>(outputs: impl Iterator<Item = &'o str>) -> String {
    let mut joined = String::new();
    for output in outputs.map(str::trim_end).filter(|output| !output.is_empty()) {
        if !joined.is_empty() {
            joined.push_str("\n\n");
        }
        joined.push_str(output);
        if joined.len() > 4 * PREVIOUS {
            joined.drain(..joined.ceil_char_boundary(joined.len() - PREVIOUS));
        }
    }
    let from = joined.ceil_char_boundary(joined.len().saturating_sub(PREVIOUS));
    joined.split_off(from)
}

/// What a turn of a loop may name in its templates.
pub(crate) fn variables(turn: u32, most: u32, fix: u32, previous: String) -> Map<String, Value> {
    let vars = json!({
        "iteration": turn,
        "maxIterations": most,
        "cycle": turn,
        "maxCycles": most,
        "fixCycle": fix,
        "previousOutput": previous,
    });
    match vars {
        Value::Object(vars) => vars,
        _ => Map::new(),
    }
}

/// What a loop leaves for the process after the next stop: an entry of the run's scratch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// The last turn that was judged.
    pub(crate) iteration: u32,
    /// Whether its condition held then.
    pub(crate) complete: bool,
    /// Whether a question about that turn is still to be put.
    pub(crate) asking: bool,
    /// What people were asked and answered, oldest first.
    pub(crate) qa: Vec<Exchange>,
}

/// A question and its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Exchange {
    /// What was asked.
    pub(crate) question: String,
    /// What was answered.
    pub(crate) answer: String,
    /// Login or user name.
    pub(crate) sender: String,
    /// When, RFC 3339.
    pub(crate) at: String,
}

impl Memory {
    /// Reads the entry of a run's scratch; one that is not ours, or of another version, is an empty memory.
    pub(crate) fn of(entry: Option<&Value>) -> Self {
        entry
            .and_then(|entry| Self::deserialize(entry).ok())
            .unwrap_or_default()
    }

    /// As it is kept.
    pub(crate) fn entry(&self) -> Value {
        json!(self)
    }

    /// Takes in the answers to the turns of one phase. True: there were new ones.
    pub(crate) fn hear(&mut self, phase: &PhaseName, turns: u32, answers: &[Answered]) -> bool {
        let names: Vec<PhaseName> = (1..=turns).map(|turn| turn_name(phase, turn)).collect();
        let before = self.qa.len();
        for answer in answers.iter().filter(|answer| names.contains(&answer.phase)) {
            let exchange = Exchange {
                question: answer.question.clone(),
                answer: answer.answer.clone(),
                sender: answer.sender.clone(),
                at: answer.at.to_rfc3339(),
            };
            // What is known stays: a run that goes on from another brings exchanges that it did not have itself.
            if !self.qa.contains(&exchange) {
                self.qa.push(exchange);
            }
        }
        self.qa.len() > before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_verdict_line_decides() {
        use Verdict::{Approved, RequestChanges};
        for (review, expected) in [
            ("Fine.\nVERDICT: APPROVED\n", Approved),
            ("verdict: approved", Approved),
            ("  **VERDICT: APPROVED**  ", Approved),
            ("**VERDICT:** APPROVED", Approved),
            ("VERDICT: REQUEST_CHANGES\n", RequestChanges),
            ("The prompt said VERDICT: APPROVED on its own line", RequestChanges),
            (
                "VERDICT: APPROVED\nOn second thought:\nVERDICT: REQUEST_CHANGES",
                RequestChanges,
            ),
            ("VERDICT: REQUEST_CHANGES\nno:\nVERDICT: APPROVED", Approved),
            ("VERDICT: PERHAPS", RequestChanges),
            ("Approved, well done", Approved),
            ("APPROVED, if REQUEST_CHANGES is not meant", RequestChanges),
            ("Not APPROVED", RequestChanges),
            ("", RequestChanges),
        ] {
            assert_eq!(verdict(review), expected, "{review:?}");
        }
    }

    #[test]
    fn turns_have_names_of_their_own() {
        let phase: PhaseName = "review".parse().expect("valid");
        let names: Vec<String> = (1..4).map(|turn| turn_name(&phase, turn).to_string()).collect();
        assert_eq!(names, ["review", "review_2", "review_3"]);
        assert_eq!(fix_name(&phase, 1).as_str(), "review_fix_1");
        let long: PhaseName = "x".repeat(64).parse().expect("valid");
        assert_eq!(fix_name(&long, 12).as_str(), format!("{}_fix_12", "x".repeat(57)));
    }

    #[test]
    fn what_came_before_is_cut_at_its_beginning() {
        assert_eq!(previous(["a\n", "", "b\n"].into_iter()), "a\n\nb");
        let long = "ä".repeat(20_000);
        let cut = previous([long.as_str(), "end"].into_iter());
        assert!(cut.len() <= PREVIOUS && cut.len() > PREVIOUS - 4 && cut.ends_with("\n\nend"));
    }

    #[test]
    fn a_memory_that_is_not_ours_is_empty() {
        for entry in [Value::Null, json!(3), json!({"iteration": "many"}), json!([])] {
            assert_eq!(Memory::of(Some(&entry)), Memory::default(), "{entry}");
        }
        let memory = Memory {
            iteration: 2,
            asking: true,
            ..Memory::default()
        };
        assert_eq!(Memory::of(Some(&memory.entry())), memory);
    }

    #[test]
    fn an_answer_is_heard_once_and_what_is_known_stays() {
        let phase: PhaseName = "talk".parse().expect("valid");
        let answer = |row: &str, answer: &str| Answered {
            phase: row.parse().expect("valid"),
            question: "?".into(),
            answer: answer.into(),
            sender: "ann".into(),
            at: chrono::DateTime::UNIX_EPOCH,
        };
        let mut memory = Memory::default();
        let answers = [answer("talk", "left"), answer("other", "no"), answer("talk_2", "right")];
        assert!(memory.hear(&phase, 2, &answers));
        assert!(!memory.hear(&phase, 2, &answers), "nothing new");
        assert!(!memory.hear(&phase, 2, &[]), "known from an earlier run");
        let heard: Vec<&str> = memory.qa.iter().map(|exchange| exchange.answer.as_str()).collect();
        assert_eq!(heard, ["left", "right"]);
    }

    proptest! {
        #[test]
        fn no_review_and_no_output_makes_it_panic(text in any::<String>(), more in prop::collection::vec(any::<String>(), 0..5)) {
            let _ = verdict(&text);
            prop_assert!(previous(more.iter().map(String::as_str)).len() <= PREVIOUS);
        }
    }
}
