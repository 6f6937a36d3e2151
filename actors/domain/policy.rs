//! Who may answer a question of a paused run, and when enough have answered. Pure: knows no store, and is told the time.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::envelope::closed_enum;
use super::{ApprovalKind, Decision};

closed_enum! {
    /// Through which door an answer came.
    Via {
        /// A comment.
        Github => "github",
        /// A message or a button.
        Slack => "slack",
        /// API, dashboard or command line.
        Api => "api",
        /// A tool.
        Mcp => "mcp",
        /// Nobody answered in time.
        Deadline => "cron-deadline",
    }
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Responder {
    /// Login, user name or token label.
    pub name: String,
    /// GitHub's word for what they are to the repository (`MEMBER`), as GitHub itself sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub association: Option<String>,
    /// Slack's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack_id: Option<String>,
    /// Through which door.
    pub via: Via,
}

impl Responder {
    /// Somebody at a door that knows no more than a name.
    #[must_use]
    pub fn named(name: impl Into<String>, via: Via) -> Self {
        Self {
            name: name.into(),
            association: None,
            slack_id: None,
            via,
        }
    }

    /// The clock, once the time to answer is over.
    #[must_use]
    pub fn deadline() -> Self {
        Self::named("deadline", Via::Deadline)
    }

    /// Whether it is the same person, as far as can be told. One name at two doors counts as one person, because a name in
    /// chat is freely chosen: who may vote twice by renaming could approve alone.
    fn is(&self, other: &Self) -> bool {
        same(&self.name, &other.name) || (self.slack_id.is_some() && self.slack_id == other.slack_id)
    }
}

/// The rules of one question, made from its gate's policy when it was asked. Times are instants by then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnswerRules {
    /// GitHub logins and token labels (`admin`) that may answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<String>,
    /// Whoever is one of these to the repository may answer (`OWNER`, `MEMBER`, `COLLABORATOR`, …).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<String>,
    /// Slack ids that may answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slack_ids: Vec<String>,
    /// Whoever started the run may not answer.
    pub not_requester: bool,
    /// How many must approve; 0 counts as 1. One rejection is always enough.
    pub approvals: u32,
    /// When the time to answer is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// What counts as the answer then; absent: a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_default: Option<Decision>,
    /// When the operators are told that nobody has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalate_at: Option<DateTime<Utc>>,
    /// In which words; absent: in our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalate_message: Option<String>,
}

impl AnswerRules {
    /// How many must approve.
    #[must_use]
    pub fn needed(&self) -> u32 {
        self.approvals.max(1)
    }

    /// Whether they say who may answer. Where they do not, everybody whom the door lets in may.
    #[must_use]
    pub fn name_somebody(&self) -> bool {
        !(self.logins.is_empty() && self.associations.is_empty() && self.slack_ids.is_empty())
    }

    /// Who may answer, in words.
    #[must_use]
    pub fn who(&self) -> String {
        let mut who = self.logins.clone();
        if !self.associations.is_empty() {
            who.push(format!("{} of the repository", self.associations.join(" or ")));
        }
        match self.slack_ids.len() {
            0 => {}
            1 => who.push("one person in Slack".into()),
            several => who.push(format!("{several} people in Slack")),
        }
        if who.is_empty() {
            "anybody".into()
        } else {
            who.join(", ")
        }
    }

    /// A login counts at every door but chat, where names are freely chosen.
    fn admit(&self, responder: &Responder) -> bool {
        let listed = |list: &[String], text: &str| list.iter().any(|one| same(one, text));
        !self.name_somebody()
            || (responder.via != Via::Slack && listed(&self.logins, &responder.name))
            || responder
                .association
                .as_deref()
                .is_some_and(|word| listed(&self.associations, word))
            || responder
                .slack_id
                .as_deref()
                .is_some_and(|id| self.slack_ids.iter().any(|one| one == id))
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// An approval that counts, and was not enough by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vote {
    /// Whose.
    #[serde(flatten)]
    pub by: Responder,
    /// The words that came with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is judged: an open question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Its rules.
    pub rules: &'a AnswerRules,
    /// Yes or no, or words.
    pub kind: ApprovalKind,
    /// Who started the run.
    pub requested_by: &'a str,
    /// SHA-256 of what was shown, hex.
    pub shown: Option<&'a str>,
    /// Who has approved by now.
    pub votes: &'a [Responder],
}

/// An answer that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Yes or no.
    pub decision: Decision,
    /// Whose.
    pub by: &'a Responder,
    /// The words that came with it.
    pub response: Option<&'a str>,
    /// SHA-256 of what they saw, if they say so.
    pub saw: Option<&'a str>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The question is answered.
    Settles,
    /// It counts; so many have approved now, and so many must.
    Counts {
        /// With this one.
        have: u32,
        /// In all.
        need: u32,
    },
    /// It does not count, for this reason.
    Refused(String),
}

/// Judges an answer to an open question.
#[must_use]
pub fn judge(question: Question<'_>, given: Given<'_>) -> Verdict {
    let (rules, by) = (question.rules, given.by);
    if by.via == Via::Deadline {
        return match rules.deadline {
            Some(deadline) if given.at >= deadline => Verdict::Settles,
            _ => Verdict::Refused("the time to answer is not over".into()),
        };
    }
    let name = &by.name;
    if !rules.admit(by) {
        return Verdict::Refused(format!("{name} may not answer this; {} may", rules.who()));
    }
    // Who signed in with Slack asks by their id there.
    let by_id = by.slack_id.as_ref().map(|id| format!("slack:{id}"));
    let asked = same(name, question.requested_by) || by_id.is_some_and(|id| id == question.requested_by);
    if rules.not_requester && asked {
        return Verdict::Refused(format!("{name} asked for this run, and somebody else has to answer"));
    }
    if let Some(deadline) = rules.deadline
        && given.at >= deadline
    {
        return Verdict::Refused(format!("the time to answer ended at {}", shown_time(deadline)));
    }
    if given
        .saw
        .is_some_and(|saw| question.shown.is_none_or(|shown| !same(saw, shown)))
    {
        return Verdict::Refused("what was shown has changed; look at it again, then answer".into());
    }
    if given.decision == Decision::Rejected {
        return Verdict::Settles;
    }
    if question.kind == ApprovalKind::Reply && given.response.is_none_or(|words| words.trim().is_empty()) {
        return Verdict::Refused("an answer in words is asked for".into());
    }
    let need = rules.needed();
    let so_far = u32::try_from(question.votes.len()).unwrap_or(u32::MAX);
    if question.votes.iter().any(|vote| vote.is(by)) {
        return Verdict::Refused(format!("{name} has approved already; {so_far} of {need} have"));
    }
    let have = so_far.saturating_add(1);
    if have >= need {
        Verdict::Settles
    } else {
        Verdict::Counts { have, need }
    }
}

/// `2026-11-21T09:30:00Z`.
pub(crate) fn shown_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("in range")
    }

    fn github(name: &str, association: &str) -> Responder {
        Responder {
            association: Some(association.into()),
            ..Responder::named(name, Via::Github)
        }
    }

    fn slack(name: &str, id: &str) -> Responder {
        Responder {
            slack_id: Some(id.into()),
            ..Responder::named(name, Via::Slack)
        }
    }

    fn yes(rules: &AnswerRules, by: &Responder, votes: &[Responder]) -> Verdict {
        let question = Question {
            rules,
            kind: ApprovalKind::Approve,
            requested_by: "Ann",
            shown: Some("ab12"),
            votes,
        };
        let given = Given {
            decision: Decision::Approved,
            by,
            response: None,
            saw: None,
            at: at(10),
        };
        judge(question, given)
    }

    #[test]
    fn who_may_answer_is_what_the_rules_say_and_names_of_a_chat_are_no_logins() {
        let rules = AnswerRules {
            logins: vec!["bob".into(), "admin".into()],
            associations: vec!["OWNER".into()],
            slack_ids: vec!["U1".into()],
            ..AnswerRules::default()
        };
        for (by, admitted) in [
            (github("BOB", "NONE"), true),
            (github("eve", "OWNER"), true),
            (github("eve", "MEMBER"), false),
            (Responder::named("admin", Via::Api), true),
            (Responder::named("eve", Via::Mcp), false),
            (slack("bob", "U2"), false),
            (slack("whoever", "U1"), true),
        ] {
            let verdict = yes(&rules, &by, &[]);
            assert_eq!(verdict == Verdict::Settles, admitted, "{by:?}: {verdict:?}");
        }
        let Verdict::Refused(words) = yes(&rules, &github("eve", "MEMBER"), &[]) else {
            panic!("admitted")
        };
        assert_eq!(
            words,
            "eve may not answer this; bob, admin, OWNER of the repository, one person in Slack may"
        );
        assert_eq!(yes(&AnswerRules::default(), &slack("eve", "U9"), &[]), Verdict::Settles);
    }

    #[test]
    fn each_refusal_says_why() {
        let rules = AnswerRules {
            not_requester: true,
            deadline: Some(at(100)),
            ..AnswerRules::default()
        };
        let question = Question {
            rules: &rules,
            kind: ApprovalKind::Approve,
            requested_by: "Ann",
            shown: Some("ab12"),
            votes: &[],
        };
        let (ann, bob, clock) = (github("ann", "OWNER"), github("bob", "OWNER"), Responder::deadline());
        let (one, other) = (slack("Krane", "U1"), slack("Krane", "U2"));
        let from_slack = Question {
            requested_by: "slack:U1",
            ..question
        };
        let given = Given {
            decision: Decision::Approved,
            by: &bob,
            response: None,
            saw: Some("AB12"),
            at: at(10),
        };
        for (question, given, expected) in [
            (question, given, None),
            (
                question,
                Given { by: &ann, ..given },
                Some("ann asked for this run, and somebody else has to answer"),
            ),
            (
                from_slack,
                Given { by: &one, ..given },
                Some("Krane asked for this run, and somebody else has to answer"),
            ),
            (from_slack, Given { by: &other, ..given }, None),
            (
                question,
                Given { at: at(100), ..given },
                Some("the time to answer ended at 2027-01-15T08:01:40Z"),
            ),
            (
                question,
                Given {
                    saw: Some("cd34"),
                    ..given
                },
                Some("what was shown has changed; look at it again, then answer"),
            ),
            (
                question,
                Given { by: &clock, ..given },
                Some("the time to answer is not over"),
            ),
            (
                question,
                Given {
                    by: &clock,
                    at: at(100),
                    ..given
                },
                None,
            ),
            (
                Question {
                    kind: ApprovalKind::Reply,
                    ..question
                },
                Given {
                    response: Some("  "),
                    ..given
                },
                Some("an answer in words is asked for"),
            ),
            (
                Question {
                    kind: ApprovalKind::Reply,
                    ..question
                },
                Given {
                    response: Some("blue"),
                    ..given
                },
                None,
            ),
            (
                Question {
                    kind: ApprovalKind::Reply,
                    ..question
                },
                Given {
                    decision: Decision::Rejected,
                    ..given
                },
                None,
            ),
        ] {
            let expected = expected.map_or(Verdict::Settles, |words| Verdict::Refused(words.into()));
            assert_eq!(judge(question, given), expected, "{given:?}");
        }
    }

    #[test]
    fn the_second_vote_of_a_person_does_not_count() {
        let rules = AnswerRules {
            approvals: 2,
            ..AnswerRules::default()
        };
        let bob = github("bob", "OWNER");
        assert_eq!(yes(&rules, &bob, &[]), Verdict::Counts { have: 1, need: 2 });
        for again in [bob.clone(), Responder::named("Bob", Via::Api), slack("bob", "U7")] {
            let refused = Verdict::Refused(format!("{} has approved already; 1 of 2 have", again.name));
            assert_eq!(yes(&rules, &again, std::slice::from_ref(&bob)), refused);
        }
        let renamed = [slack("carol", "U1")];
        assert!(matches!(
            yes(&rules, &slack("dave", "U1"), &renamed),
            Verdict::Refused(_)
        ));
        assert_eq!(yes(&rules, &github("dave", "OWNER"), &[bob]), Verdict::Settles);
    }

    proptest! {
        #[test]
        fn a_question_is_settled_by_as_many_different_people_as_it_wants(need in 0_u32..6, voters in prop::collection::vec(0_u8..6, 0..30)) {
            let rules = AnswerRules { approvals: need, ..AnswerRules::default() };
            let mut votes: Vec<Responder> = Vec::new();
            let mut settled = false;
            for voter in &voters {
                let by = github(&format!("p{voter}"), "OWNER");
                match yes(&rules, &by, &votes) {
                    Verdict::Counts { have, .. } => { votes.push(by); prop_assert_eq!(have as usize, votes.len()); }
                    Verdict::Settles => { settled = true; break; }
                    Verdict::Refused(_) => {}
                }
            }
            let people: std::collections::BTreeSet<_> = voters.iter().collect();
            prop_assert_eq!(settled, people.len() as u32 >= need.max(1));
        }
    }
}
