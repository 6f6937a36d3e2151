//! From GitHub's payload to the envelope, or the reason why not. Pure; knows no clock, no store, no network.

mod payload;

use chrono::{DateTime, Utc};

use self::payload::{Payload, Thread};
use crate::domain::{DeliveryId, EventEnvelope, EventType, ManagedRepos, ReplyTo, RepoName, RuleCheck, Ruling, Source};

/// Actions that never start work. `closed` is not among them: it is ignored only where the contract has no type for it.
const IGNORED_ACTIONS: &[&str] = &[
    "deleted",
    "edited",
    "labeled",
    "unlabeled",
    "assigned",
    "unassigned",
    "milestoned",
    "demilestoned",
    "locked",
    "unlocked",
    "transferred",
    "pinned",
    "unpinned",
];

/// The longest text from a payload that is repeated in an answer, in characters.
const ECHO_LIMIT: usize = 200;

/// What the connector must know to judge a payload.
#[derive(Debug, Clone)]
pub struct Taken<'a> {
    /// `X-GitHub-Event`.
    pub event: &'a str,
    /// The delivery's id.
    pub delivery: DeliveryId,
    /// The payload, JSON text.
    pub json: &'a str,
    /// Login of our own bot.
    pub bot_login: &'a str,
    /// The managed list.
    pub managed: &'a ManagedRepos,
    /// When it was received.
    pub received_at: DateTime<Utc>,
}

/// Why a delivery produced no envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The body holds no JSON object.
    InvalidJson,
    /// Deliberately not taken; the text is part of the contract.
    Filtered(String),
}

/// Judges a verified payload by checks 4 to 9 of the webhook's contract and normalizes what passes.
///
/// # Errors
/// The first check that it does not pass.
pub fn normalize(taken: &Taken<'_>) -> Result<EventEnvelope, NotTaken> {
    let payload = Payload::read(taken.json).ok_or(NotTaken::InvalidJson)?;
    let filtered = |reason: &str| Err(NotTaken::Filtered(reason.to_owned()));
    let action = payload.action.as_deref().unwrap_or_default();

    if taken.event == "ping" {
        return filtered("ping");
    }
    if is_ignored(taken.event, action) {
        return Err(NotTaken::Filtered(format!("action={}", echo(action))));
    }
    let sender_is_bot = payload.sender_is_bot(taken.bot_login);
    if sender_is_bot && !bots_may(taken.event, action) {
        return filtered("bot sender");
    }
    let repo = admitted(&payload, taken.managed)?;
    let Some(mapped) = map(taken.event, action, &payload) else {
        return filtered("unmapped event");
    };
    let number = mapped.issue_number;
    Ok(EventEnvelope {
        id: taken.delivery.clone(),
        source: Source::Github,
        kind: mapped.kind,
        issue_number: Some(number),
        pr_number: mapped.pr_number,
        sender: payload.sender_login().unwrap_or("unknown").to_owned(),
        sender_id: None,
        sender_is_bot,
        body: mapped.body.unwrap_or_default().to_owned(),
        title: mapped.thread.title().map(str::to_owned),
        labels: Some(mapped.thread.labels().map(str::to_owned).collect()),
        author_association: payload.author_association().map(str::to_owned),
        reply_to: ReplyTo::IssueComment {
            repo: repo.clone(),
            number,
            comment_id: mapped.comment_id,
        },
        repo: Some(repo),
        timestamp: taken.received_at,
    })
}

/// What each check from the event's name on says to a delivery, by itself: those behind the first that stops it, too. The
/// first that stops it is the one that [`normalize`] answers with.
#[must_use]
pub(super) fn checks(taken: &Taken<'_>) -> Vec<RuleCheck> {
    let named = !taken.event.is_empty();
    let mut said = vec![RuleCheck::on(
        "event header",
        named,
        if named {
            taken.event
        } else {
            "Missing X-GitHub-Event header"
        },
    )];
    let payload = Payload::read(taken.json);
    said.push(RuleCheck::on(
        "JSON object",
        payload.is_some(),
        if payload.is_some() { "it is one" } else { "Invalid JSON" },
    ));
    let Some(payload) = payload else {
        let rest = ["ping", "action", "sender", "repository", "mapping"];
        said.extend(rest.map(|rule| RuleCheck::new(rule, Ruling::Skipped, "there is no payload to look at")));
        return said;
    };
    let action = payload.action.as_deref().unwrap_or_default();
    let ping = taken.event == "ping";
    said.push(RuleCheck::on("ping", !ping, if ping { "ping" } else { "it is none" }));
    let ignored = is_ignored(taken.event, action);
    said.push(RuleCheck::on("action", !ignored, format!("action={}", echo(action))));
    let (bot, may) = (payload.sender_is_bot(taken.bot_login), bots_may(taken.event, action));
    let sender = echo(payload.sender_login().unwrap_or("unknown"));
    said.push(RuleCheck::on(
        "sender",
        !bot || may,
        match (bot, may) {
            (false, _) => format!("{sender} is no bot"),
            (true, true) => format!("{sender} is a bot, and bots may open and update pull requests"),
            (true, false) => "bot sender".to_owned(),
        },
    ));
    said.push(match admitted(&payload, taken.managed) {
        Ok(repo) => RuleCheck::on("repository", true, format!("{repo} is managed")),
        Err(NotTaken::Filtered(reason)) => RuleCheck::on("repository", false, reason),
        Err(NotTaken::InvalidJson) => RuleCheck::on("repository", false, "Invalid JSON"),
    });
    let mapped = map(taken.event, action, &payload);
    said.push(RuleCheck::on(
        "mapping",
        mapped.is_some(),
        mapped.map_or_else(|| "unmapped event".to_owned(), |mapped| mapped.kind.to_string()),
    ));
    said
}

fn is_ignored(event: &str, action: &str) -> bool {
    match action {
        "closed" => !matches!(event, "issues" | "pull_request"),
        _ => IGNORED_ACTIONS.contains(&action),
    }
}

/// Bots open and update pull requests that deserve a review; whatever else they do is not answered, so that bots never talk to bots.
fn bots_may(event: &str, action: &str) -> bool {
    event == "pull_request" && matches!(action, "opened" | "synchronize" | "reopened")
}

fn admitted(payload: &Payload<'_>, managed: &ManagedRepos) -> Result<RepoName, NotTaken> {
    let full_name = payload.repository_name();
    full_name
        .and_then(|name| name.parse::<RepoName>().ok())
        .filter(|repo| managed.admits(repo))
        .ok_or_else(|| NotTaken::Filtered(format!("repo not managed: {}", full_name.map_or("(none)".into(), echo))))
}

fn echo(text: &str) -> String {
    text.chars().take(ECHO_LIMIT).collect()
}

/// What one row of the contract's mapping table says.
struct Mapped<'a> {
    kind: EventType,
    issue_number: u64,
    pr_number: Option<u64>,
    body: Option<&'a str>,
    thread: &'a Thread<'a>,
    comment_id: Option<u64>,
}

fn map<'a>(event: &str, action: &str, payload: &'a Payload<'a>) -> Option<Mapped<'a>> {
    use EventType as T;
    match (event, action) {
        ("issues", "opened") => on_issue(T::IssueOpened, payload),
        ("issues", "reopened") => on_issue(T::IssueReopened, payload),
        ("issues", "closed") => on_issue(T::IssueClosed, payload),
        ("pull_request", "opened") => on_pull_request(T::PrOpened, payload, None),
        ("pull_request", "synchronize") => on_pull_request(T::PrSynchronize, payload, None),
        ("pull_request", "reopened") => on_pull_request(T::PrReopened, payload, None),
        ("pull_request", "closed") => {
            let merged = payload.pull_request()?.merged();
            on_pull_request(if merged { T::PrMerged } else { T::PrClosed }, payload, None)
        }
        ("issue_comment", "created") => on_comment(payload),
        ("pull_request_review", "submitted") => {
            on_pull_request(T::PrReviewSubmitted, payload, Some(payload.review_body()))
        }
        ("pull_request_review_comment", "created") => {
            on_pull_request(T::PrReviewCommentCreated, payload, Some(payload.comment_body()))
        }
        _ => None,
    }
}

fn on_issue<'a>(kind: EventType, payload: &'a Payload<'a>) -> Option<Mapped<'a>> {
    let issue = payload.issue()?;
    Some(Mapped {
        kind,
        issue_number: issue.number()?,
        pr_number: None,
        body: issue.body(),
        thread: issue,
        comment_id: None,
    })
}

fn on_comment<'a>(payload: &'a Payload<'a>) -> Option<Mapped<'a>> {
    let issue = payload.issue()?;
    let number = issue.number()?;
    Some(Mapped {
        kind: EventType::CommentCreated,
        issue_number: number,
        pr_number: issue.is_pull_request().then_some(number),
        body: payload.comment_body(),
        thread: issue,
        comment_id: payload.comment_id(),
    })
}

/// `said`: what a review or its comment says; `None`: the pull request's own text counts.
fn on_pull_request<'a>(kind: EventType, payload: &'a Payload<'a>, said: Option<Option<&'a str>>) -> Option<Mapped<'a>> {
    let pull_request = payload.pull_request()?;
    let number = pull_request.number()?;
    Some(Mapped {
        kind,
        issue_number: number,
        pr_number: Some(number),
        body: said.unwrap_or_else(|| pull_request.body()),
        thread: pull_request,
        comment_id: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn judge_text(event: &str, json: &str) -> Result<EventEnvelope, NotTaken> {
        let taken = Taken {
            event,
            delivery: "d-1".parse().expect("valid"),
            json,
            bot_login: "last-light[bot]",
            managed: &ManagedRepos::parse(["acme/site"]).expect("valid"),
            received_at: DateTime::from_timestamp(1_700_000_000, 0).expect("in range"),
        };
        let judged = normalize(&taken);
        // Whatever a test judges: the checks one by one come to the same.
        let mut checks = checks(&taken)
            .into_iter()
            .filter(|check| check.verdict == Ruling::Stopped);
        let first = checks.find(|check| check.rule != "event header");
        match (&judged, first) {
            (Ok(_), None) => {}
            (Err(NotTaken::InvalidJson), Some(check)) => assert_eq!(check.said, "Invalid JSON"),
            (Err(NotTaken::Filtered(reason)), Some(check)) => assert_eq!(&check.said, reason),
            (judged, first) => panic!("{judged:?}, but {first:?}"),
        }
        judged
    }

    fn judge(event: &str, payload: &Value) -> Result<EventEnvelope, NotTaken> {
        judge_text(event, &payload.to_string())
    }

    fn thread() -> Value {
        json!({"number": 7, "title": "It broke", "body": "badly", "labels": [{"name": "bug"}, {"name": "p1"}],
               "author_association": "CONTRIBUTOR"})
    }

    fn payload(action: &str) -> Value {
        json!({"action": action, "sender": {"login": "ann", "type": "User"}, "repository": {"full_name": "acme/site"}})
    }

    fn issue_payload(action: &str) -> Value {
        let mut payload = payload(action);
        payload["issue"] = thread();
        payload
    }

    fn pr_payload(action: &str) -> Value {
        let mut payload = payload(action);
        payload["pull_request"] = thread();
        payload
    }

    fn reason(answer: Result<EventEnvelope, NotTaken>) -> String {
        match answer {
            Err(NotTaken::Filtered(reason)) => reason,
            other => panic!("not filtered: {other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_mapping_table_holds() {
        let table: &[(&str, &str, EventType, Option<u64>)] = &[
            ("issues", "opened", EventType::IssueOpened, None),
            ("issues", "reopened", EventType::IssueReopened, None),
            ("issues", "closed", EventType::IssueClosed, None),
            ("pull_request", "opened", EventType::PrOpened, Some(7)),
            ("pull_request", "synchronize", EventType::PrSynchronize, Some(7)),
            ("pull_request", "reopened", EventType::PrReopened, Some(7)),
            ("pull_request", "closed", EventType::PrClosed, Some(7)),
        ];
        for (event, action, kind, pr) in table {
            let payload = if *event == "issues" {
                issue_payload(action)
            } else {
                pr_payload(action)
            };
            let envelope = judge(event, &payload).expect("mapped");
            assert_eq!(envelope.kind, *kind);
            assert_eq!(
                (envelope.issue_number, envelope.pr_number),
                (Some(7), *pr),
                "{event} {action}"
            );
            assert_eq!(envelope.body, "badly");
            assert_eq!(envelope.title.as_deref(), Some("It broke"));
            assert_eq!(envelope.labels, Some(vec!["bug".to_owned(), "p1".to_owned()]));
            assert_eq!(envelope.author_association.as_deref(), Some("CONTRIBUTOR"));
            assert_eq!((envelope.sender.as_str(), envelope.sender_is_bot), ("ann", false));
            assert_eq!(envelope.repo.as_ref().map(RepoName::as_str), Some("acme/site"));
        }
    }

    #[test]
    fn a_merged_pull_request_is_merged_not_closed() {
        let mut payload = pr_payload("closed");
        payload["pull_request"]["merged"] = json!(true);
        assert_eq!(
            judge("pull_request", &payload).expect("mapped").kind,
            EventType::PrMerged
        );
    }

    #[test]
    fn a_comment_carries_its_own_text_and_its_threads_title() {
        let mut payload = issue_payload("created");
        payload["comment"] = json!({"id": 99, "body": "me too", "author_association": "MEMBER"});
        let envelope = judge("issue_comment", &payload).expect("mapped");
        assert_eq!(envelope.kind, EventType::CommentCreated);
        assert_eq!((envelope.issue_number, envelope.pr_number), (Some(7), None));
        assert_eq!(envelope.body, "me too");
        assert_eq!(envelope.author_association.as_deref(), Some("MEMBER"));
        let to = ReplyTo::IssueComment {
            repo: "acme/site".parse().expect("valid"),
            number: 7,
            comment_id: Some(99),
        };
        assert_eq!(envelope.reply_to, to);

        payload["issue"]["pull_request"] = json!({"url": "…"});
        assert_eq!(judge("issue_comment", &payload).expect("mapped").pr_number, Some(7));
        payload["issue"]["pull_request"] = Value::Null;
        assert_eq!(judge("issue_comment", &payload).expect("mapped").pr_number, None);
    }

    #[test]
    fn reviews_carry_what_the_reviewer_wrote() {
        let mut payload = pr_payload("submitted");
        payload["review"] = json!({"body": null, "author_association": "OWNER"});
        let envelope = judge("pull_request_review", &payload).expect("mapped");
        assert_eq!(
            (envelope.kind, envelope.body.as_str()),
            (EventType::PrReviewSubmitted, "")
        );
        assert_eq!(envelope.author_association.as_deref(), Some("OWNER"));
        assert_eq!(envelope.labels, Some(vec!["bug".to_owned(), "p1".to_owned()]));

        let mut payload = pr_payload("created");
        payload["comment"] = json!({"id": 5, "body": "nit"});
        let envelope = judge("pull_request_review_comment", &payload).expect("mapped");
        assert_eq!(
            (envelope.kind, envelope.body.as_str()),
            (EventType::PrReviewCommentCreated, "nit")
        );
    }

    #[test]
    fn ping_needs_nothing_but_an_object() {
        assert_eq!(reason(judge("ping", &json!({"zen": "Design for failure."}))), "ping");
    }

    #[test]
    fn ignored_actions_are_named() {
        for action in IGNORED_ACTIONS {
            assert_eq!(
                reason(judge("issues", &issue_payload(action))),
                format!("action={action}")
            );
        }
        assert_eq!(IGNORED_ACTIONS.len(), 13);
        assert_eq!(reason(judge("milestone", &payload("closed"))), "action=closed");
    }

    #[test]
    fn bots_are_heard_only_on_pull_requests_that_they_open_or_push_to() {
        let bots = [
            json!({"login": "dependabot", "type": "Bot"}),
            json!({"login": "last-light[bot]", "type": "User"}),
            json!({"login": "x[bot]"}),
        ];
        for bot in bots {
            for action in ["opened", "synchronize", "reopened"] {
                let mut payload = pr_payload(action);
                payload["sender"] = bot.clone();
                assert!(judge("pull_request", &payload).expect("heard").sender_is_bot);
            }
            let mut closed = pr_payload("closed");
            closed["sender"] = bot.clone();
            assert_eq!(reason(judge("pull_request", &closed)), "bot sender");
            let mut opened = issue_payload("opened");
            opened["sender"] = bot.clone();
            assert_eq!(reason(judge("issues", &opened)), "bot sender");
        }
    }

    #[test]
    fn only_managed_repositories_are_taken_and_the_refused_one_is_named() {
        let mut other = issue_payload("opened");
        other["repository"]["full_name"] = json!("acme/secret");
        assert_eq!(reason(judge("issues", &other)), "repo not managed: acme/secret");
        other["repository"]["full_name"] = json!("../../etc");
        assert_eq!(reason(judge("issues", &other)), "repo not managed: ../../etc");
        for none in [json!({}), Value::Null, json!("acme/site"), json!([1])] {
            other["repository"] = none;
            assert_eq!(reason(judge("issues", &other)), "repo not managed: (none)");
        }
    }

    #[test]
    fn checks_run_in_the_contracts_order() {
        // Ignored action before bot, bot before repository, repository before mapping.
        let mut all_wrong = payload("labeled");
        all_wrong["sender"] = json!({"type": "Bot"});
        all_wrong["repository"] = Value::Null;
        assert_eq!(reason(judge("ping", &all_wrong)), "ping");
        assert_eq!(reason(judge("star", &all_wrong)), "action=labeled");
        all_wrong["action"] = json!("created");
        assert_eq!(reason(judge("star", &all_wrong)), "bot sender");
        all_wrong["sender"] = json!({"type": "User"});
        assert_eq!(reason(judge("star", &all_wrong)), "repo not managed: (none)");
        all_wrong["repository"] = json!({"full_name": "acme/site"});
        assert_eq!(reason(judge("star", &all_wrong)), "unmapped event");
    }

    #[test]
    fn what_lacks_its_subject_is_unmapped() {
        for payload in [payload("opened"), {
            let mut p = issue_payload("opened");
            p["issue"]["number"] = json!("seven");
            p
        }] {
            assert_eq!(reason(judge("issues", &payload)), "unmapped event");
        }
    }

    #[test]
    fn only_json_objects_are_json_here() {
        for text in [
            "",
            "null",
            "[]",
            "7",
            "\"x\"",
            "{",
            "{\"action\":\"opened\"",
            "{} {}",
            "nonsense",
            "{\"a\":1,}",
        ] {
            assert_eq!(judge_text("issues", text), Err(NotTaken::InvalidJson), "{text:?}");
        }
    }

    #[test]
    fn json_ten_thousand_levels_deep_is_survived() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let known = format!(r#"{{"action":{deep},"repository":{deep},"sender":{{"login":{deep}}}}}"#);
        let unknown = format!(r#"{{"deep":{deep}}}"#);
        for text in [&known, &unknown] {
            assert_eq!(reason(judge_text("issues", text)), "repo not managed: (none)");
        }
    }

    /// Any JSON value, small.
    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn real_shapes_with_anything_in_any_place_never_panic(
            pointer in prop::sample::select(vec![
                "/action", "/sender", "/sender/login", "/sender/type", "/repository", "/repository/full_name", "/issue",
                "/issue/number", "/issue/title", "/issue/body", "/issue/labels", "/issue/labels/0", "/issue/labels/0/name",
                "/issue/pull_request", "/issue/author_association", "/pull_request", "/pull_request/number",
                "/pull_request/merged", "/pull_request/labels", "/comment", "/comment/id", "/comment/body", "/review",
                "/review/body", "/review/author_association",
            ]),
            value in anything(),
            event in prop::sample::select(vec![
                "issues", "pull_request", "issue_comment", "pull_request_review", "pull_request_review_comment", "star",
            ]),
            action in prop::sample::select(vec!["opened", "created", "submitted", "closed", "edited"]),
        ) {
            let mut payload = issue_payload(action);
            payload["issue"]["pull_request"] = json!({});
            payload["pull_request"] = thread();
            payload["pull_request"]["merged"] = json!(false);
            payload["comment"] = json!({"id": 1, "body": "b", "author_association": "MEMBER"});
            payload["review"] = json!({"body": "b", "author_association": "MEMBER"});
            *payload.pointer_mut(pointer).expect("the payload has every place") = value;
            let answer = judge(event, &payload);
            prop_assert_ne!(answer, Err(NotTaken::InvalidJson));
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = judge_text("issues", &text);
        }
    }
}
