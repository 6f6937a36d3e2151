//! Decides which workflow an event deserves. Pure; knows no platform's JSON, no clock, no store, no network.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chat::{self, Aim, Meant, Order, Verb};
use super::commands::{self, Command, Heard, hear};
use crate::domain::{
    Approval, ApprovalId, ApprovalKind, Decision, EventEnvelope, EventType, Overlap, Reaction, ReplyTo, RuleCheck,
    Ruling, RunContext, Source, WorkflowName,
};

/// A label that marks an issue as a finding of a security scan.
const SECURITY_SCAN_LABEL: &str = "security-scan";

/// Which workflow each kind of event starts; where none is named, none starts. Field names are the keys of the setting `routes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// Events of GitHub.
    pub github: GithubRoutes,
    /// Chat messages.
    pub slack: SlackRoutes,
}

macro_rules! routes {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$about])* pub $field: Option<WorkflowName>),+
        }

        impl $name {
            /// Each key of the section with the workflow it names, for the check that the workflow exists.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, &WorkflowName)> {
                [$((stringify!($field), &self.$field)),+]
                    .into_iter()
                    .filter_map(|(key, workflow)| Some((key, workflow.as_ref()?)))
            }
        }
    };
}

routes! {
    /// `routes.github`.
    GithubRoutes {
        /// An issue was opened.
        issue_opened,
        /// An issue was opened again.
        issue_reopened,
        /// An issue was closed.
        issue_closed,
        /// A pull request was opened.
        pr_opened,
        /// New commits were pushed to a pull request.
        pr_synchronize,
        /// A pull request was opened again.
        pr_reopened,
        /// A pull request was closed.
        pr_closed,
        /// A pull request was merged.
        pr_merged,
        /// A review was submitted.
        pr_review_submitted,
        /// A line of a pull request was commented on.
        pr_review_comment,
        /// `build` on an issue.
        comment_build,
        /// `build` on a pull request.
        comment_pr_build,
        /// `explore` on an issue.
        comment_explore,
        /// `security-review`.
        comment_security_review,
        /// Anything said to us on an issue that a security scan opened.
        comment_security_feedback,
        /// Free words on an issue.
        comment_issue,
        /// Free words on a pull request.
        comment_pr,
    }
}

routes! {
    /// `routes.slack`.
    SlackRoutes {
        /// Free words.
        chat,
        /// `build`.
        build,
        /// `explore`.
        explore,
        /// `triage`.
        triage,
        /// `review`.
        review,
        /// `security-review`.
        security,
    }
}

/// What an event deserves.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// A workflow run.
    Run(Target),
    /// An answer to the question that waits in this thread.
    Answer {
        /// Which question.
        approval: ApprovalId,
        /// Yes or no.
        decision: Decision,
        /// The reason, or the answer in words.
        response: Option<String>,
        /// Whether whatever is said counts, and not an order that was given on purpose.
        words: bool,
    },
    /// A reply, once; `once` names what it must not be repeated for.
    Say {
        /// Markdown.
        text: String,
        /// Said at most once per key; absent: once per event.
        once: Option<String>,
    },
    /// A reply that names the live runs.
    Status,
    /// A reply that names the latest runs.
    Runs,
    /// The conversation ends; the next message begins a new one.
    Reset,
    /// Nothing, with the reason.
    Ignore(String),
}

/// A workflow and what it starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Name of the workflow; admission says whether it exists.
    pub workflow: String,
    /// What it starts with.
    pub context: RunContext,
    /// What a live run of the same subject means for it.
    pub overlap: Overlap,
    /// An acknowledgement on what asked.
    pub reaction: Option<Reaction>,
    /// A turn of a conversation: its answer is the message, and nothing is said about the run itself.
    pub conversation: bool,
}

/// The questions that wait for an answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gates<'a> {
    /// Those of the event's thread, newest first.
    pub here: &'a [Approval],
    /// All, newest first, for an answer that was given elsewhere; only a chat message may be one.
    pub all: &'a [Approval],
}

/// The first rule that fits decides.
#[must_use]
pub fn route(envelope: &EventEnvelope, routes: &Routes, gates: Gates<'_>, bot_name: &str) -> Route {
    let github = &routes.github;
    let plain = |workflow: &Option<WorkflowName>, overlap| {
        start(named(workflow), envelope, overlap, None, &[]).unwrap_or_else(|| not_routed(envelope))
    };
    match envelope.kind {
        EventType::IssueOpened => plain(&github.issue_opened, Overlap::Join),
        EventType::IssueReopened => start(
            named(&github.issue_reopened),
            envelope,
            Overlap::Join,
            None,
            &[("reopened", Value::Bool(true))],
        )
        .unwrap_or_else(|| not_routed(envelope)),
        EventType::IssueClosed => plain(&github.issue_closed, Overlap::Join),
        EventType::PrOpened => plain(&github.pr_opened, Overlap::QueueOnce),
        EventType::PrSynchronize => plain(&github.pr_synchronize, Overlap::QueueOnce),
        EventType::PrReopened => plain(&github.pr_reopened, Overlap::QueueOnce),
        EventType::PrClosed => plain(&github.pr_closed, Overlap::Join),
        EventType::PrMerged => plain(&github.pr_merged, Overlap::Join),
        EventType::PrReviewSubmitted => plain(&github.pr_review_submitted, Overlap::Queue),
        EventType::PrReviewCommentCreated => plain(&github.pr_review_comment, Overlap::Queue),
        EventType::CommentCreated => on_comment(envelope, routes, gates.here, bot_name),
        EventType::Message => on_message(envelope, &routes.slack, gates),
    }
}

/// What the rules say to an event, in their order, for whoever asks why. The last is what [`route`] decides.
#[must_use]
pub(super) fn rules(envelope: &EventEnvelope, routes: &Routes, gates: Gates<'_>, bot_name: &str) -> Vec<RuleCheck> {
    let mut said = Vec::new();
    let talks = matches!(envelope.kind, EventType::CommentCreated | EventType::Message);
    if talks {
        let waiting = gates.here.len();
        let for_words = reply_gate(gates.here, envelope).is_some();
        said.push(RuleCheck::on(
            "open questions here",
            true,
            match (waiting, for_words) {
                (0, _) => "none waits".to_owned(),
                (n, false) => format!("{n} waiting, none of them for words"),
                (n, true) => format!("{n} waiting, one of them for words: whatever is said answers it"),
            },
        ));
    }
    if envelope.kind == EventType::CommentCreated {
        let heard = hear(&envelope.body, bot_name);
        said.push(RuleCheck::on(
            "mention",
            heard != Heard::Nothing,
            match &heard {
                Heard::Nothing => format!("@{bot_name} is not addressed"),
                Heard::Order(_) => format!("@{bot_name} is given an order"),
                Heard::Misspelt { word, nearest } => format!("{word:?} is no order; {nearest:?} was probably meant"),
                Heard::RunWhat => "an order to run nothing".to_owned(),
                Heard::Words(_) => format!("@{bot_name} is addressed in free words"),
            },
        ));
        let standing = envelope.author_association.as_deref().unwrap_or("unknown");
        said.push(RuleCheck::on(
            "standing of the author",
            envelope.author_is_maintainer(),
            format!("{standing}; orders are taken from OWNER, MEMBER and COLLABORATOR, or from whom a question names"),
        ));
    }
    let (verdict, words) = match route(envelope, routes, gates, bot_name) {
        Route::Run(target) => (Ruling::Decided, format!("starts {}", target.workflow)),
        Route::Answer { approval, decision, .. } => {
            (Ruling::Decided, format!("answers the question {approval}: {decision}"))
        }
        Route::Say { text, .. } => (Ruling::Decided, format!("replies: {text}")),
        Route::Status => (Ruling::Decided, "replies with the live runs".to_owned()),
        Route::Runs => (Ruling::Decided, "replies with the latest runs".to_owned()),
        Route::Reset => (Ruling::Decided, "ends the conversation".to_owned()),
        Route::Ignore(reason) => (Ruling::Stopped, reason),
    };
    said.push(RuleCheck::new("routes", verdict, words));
    said
}

fn named(workflow: &Option<WorkflowName>) -> Option<&str> {
    workflow.as_ref().map(WorkflowName::as_str)
}

fn not_routed(envelope: &EventEnvelope) -> Route {
    Route::Ignore(format!("no route for {}", envelope.kind))
}

/// Whatever is said in a thread whose run waits for words is the answer: any author, no mention needed.
fn reply_gate(gates: &[Approval], envelope: &EventEnvelope) -> Option<Route> {
    let gate = gates.iter().find(|gate| gate.kind == ApprovalKind::Reply)?;
    Some(Route::Answer {
        approval: gate.id,
        decision: Decision::Approved,
        response: Some(envelope.body.clone()),
        words: true,
    })
}

fn on_comment(envelope: &EventEnvelope, routes: &Routes, gates: &[Approval], bot_name: &str) -> Route {
    if let Some(answer) = reply_gate(gates, envelope) {
        return answer;
    }
    let heard = hear(&envelope.body, bot_name);
    if heard == Heard::Nothing {
        return Route::Ignore("no bot mention in comment".into());
    }
    // Where a gate says itself who may answer it, its rules decide, and not the standing of the author.
    let answers = matches!(heard, Heard::Order(Command::Approve | Command::Reject(_)));
    let rules_decide = answers && newest_gate(gates).is_some_and(|gate| gate.rules.name_somebody());
    if !rules_decide && !envelope.author_is_maintainer() {
        return refuse(envelope);
    }
    obey(heard, envelope, gates, bot_name, |wish| {
        let github = &routes.github;
        let on_pr = envelope.pr_number.is_some();
        let from_scan = !on_pr
            && envelope
                .labels
                .iter()
                .flatten()
                .any(|label| label.eq_ignore_ascii_case(SECURITY_SCAN_LABEL));
        match wish {
            Wish::SecurityReview => &github.comment_security_review,
            _ if from_scan => &github.comment_security_feedback,
            Wish::Build if on_pr => &github.comment_pr_build,
            Wish::Build => &github.comment_build,
            Wish::Explore if on_pr => &github.comment_pr,
            Wish::Explore => &github.comment_explore,
            Wish::Triage => &github.issue_opened,
            Wish::Review => &github.pr_opened,
            Wish::Words if on_pr => &github.comment_pr,
            Wish::Words => &github.comment_issue,
        }
        .clone()
    })
}

/// In a chat whatever reaches us is said to us; the connector has decided who may, and has stripped the mention.
fn on_message(envelope: &EventEnvelope, routes: &SlackRoutes, gates: Gates<'_>) -> Route {
    let order = chat::read(&envelope.body);
    // A question for words is answered by any words of its thread; but who wants out is let out.
    if !matches!(order, Order::Reset | Order::Help | Order::Status | Order::Runs)
        && let Some(answer) = reply_gate(gates.here, envelope)
    {
        return answer;
    }
    let say = |text: String| Route::Say { text, once: None };
    let decide = |which: Option<String>, decision, response, verb| match chat::meant(
        which.as_deref(),
        gates.here,
        gates.all,
        verb,
    ) {
        Meant::One(gate) => Route::Answer {
            approval: gate.id,
            decision,
            response,
            words: false,
        },
        Meant::Unclear(list) => say(list),
        Meant::Nothing => say("No pending approval found.".into()),
    };
    match order {
        Order::Approve(which) => decide(which, Decision::Approved, None, "approve"),
        Order::Reject(which, reason) => decide(which, Decision::Rejected, reason, "reject"),
        Order::Status => Route::Status,
        Order::Runs => Route::Runs,
        Order::Reset => Route::Reset,
        Order::Help => say(chat::help()),
        Order::RunWhat => {
            say("Which workflow? Write `run <workflow>`, and `owner/repo#number` behind it where it needs one.".into())
        }
        Order::Misspelt(word, nearest) => say(format!(
            "I do not know `{word}`. Did you mean `{nearest}`? `help` lists what I understand."
        )),
        Order::Run(name, aim) => aimed(Some(&name), envelope, aim).unwrap_or_else(|| not_routed(envelope)),
        // A wish to build something that has no issue yet is talked over.
        Order::Words | Order::Start(Verb::Build, None) => converse(envelope, routes),
        Order::Start(_, None) => say(
            "Which repository? Give me `owner/repo`, `owner/repo#number` or the address of an issue or pull request."
                .into(),
        ),
        Order::Start(verb, Some(aim)) => {
            let workflow = match verb {
                Verb::Build => &routes.build,
                Verb::Triage => &routes.triage,
                Verb::Review => &routes.review,
                Verb::Security => &routes.security,
                Verb::Explore => &routes.explore,
            };
            aimed(named(workflow), envelope, Some(aim)).unwrap_or_else(|| {
                say(
                    "No workflow is configured for that here. The settings under `routes.slack` say which one starts."
                        .into(),
                )
            })
        }
    }
}

/// A run about what a person named in a chat. What the issue says is looked up by whoever runs it.
fn aimed(workflow: Option<&str>, envelope: &EventEnvelope, aim: Option<Aim>) -> Option<Route> {
    let Route::Run(mut target) = start(workflow, envelope, Overlap::Queue, None, &[])? else {
        return None;
    };
    if let Some(aim) = aim {
        let context = &mut target.context.0;
        context.remove("body");
        context.insert("repo".into(), aim.repo.as_str().into());
        if let Some(number) = aim.number {
            context.insert("issueNumber".into(), number.into());
            if aim.pull {
                context.insert("prNumber".into(), number.into());
            }
        }
    }
    Some(Route::Run(target))
}

fn converse(envelope: &EventEnvelope, routes: &SlackRoutes) -> Route {
    // A slash command is no turn of a conversation.
    if matches!(envelope.reply_to, ReplyTo::SlackPerson { .. }) {
        return Route::Say {
            text: chat::help(),
            once: None,
        };
    }
    match start(named(&routes.chat), envelope, Overlap::Queue, None, &[]) {
        Some(Route::Run(target)) => Route::Run(Target {
            conversation: true,
            ..target
        }),
        _ => not_routed(envelope),
    }
}

/// What a person wants of a workflow, whatever it is called here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Build,
    Explore,
    Triage,
    Review,
    SecurityReview,
    Words,
}

fn obey(
    heard: Heard,
    envelope: &EventEnvelope,
    gates: &[Approval],
    bot_name: &str,
    workflow_for: impl Fn(Wish) -> Option<WorkflowName>,
) -> Route {
    let say = |text: String| Route::Say { text, once: None };
    let wish = |wish: Wish, reaction| {
        start(named(&workflow_for(wish)), envelope, Overlap::Queue, reaction, &[]).unwrap_or_else(|| {
            say("No workflow is configured for that here. The settings under `routes` say which one starts.".into())
        })
    };
    match heard {
        Heard::Nothing => Route::Ignore("no bot mention in comment".into()),
        Heard::Words(_) => wish(Wish::Words, Some(Reaction::Eyes)),
        Heard::Misspelt { word, nearest } => say(format!(
            "I do not know `{word}`. Did you mean `@{bot_name} {nearest}`? `@{bot_name} help` lists what I understand."
        )),
        Heard::RunWhat => say(format!("Which workflow? Write `@{bot_name} run <workflow>`.")),
        Heard::Order(command) => match command {
            Command::Approve => answer(gates, Decision::Approved, None),
            Command::Reject(reason) => answer(gates, Decision::Rejected, reason),
            Command::Status => Route::Status,
            Command::Help => say(commands::help(bot_name)),
            Command::Build => wish(Wish::Build, Some(Reaction::Rocket)),
            Command::Explore => wish(Wish::Explore, Some(Reaction::Eyes)),
            Command::Triage => wish(Wish::Triage, Some(Reaction::Eyes)),
            Command::Review => wish(Wish::Review, Some(Reaction::Eyes)),
            Command::SecurityReview => wish(Wish::SecurityReview, Some(Reaction::Eyes)),
            Command::Run(name) => start(Some(&name), envelope, Overlap::Queue, Some(Reaction::Eyes), &[])
                .unwrap_or_else(|| not_routed(envelope)),
        },
    }
}

/// The newest question that is answered with yes or no.
fn newest_gate(gates: &[Approval]) -> Option<&Approval> {
    gates.iter().find(|gate| gate.kind == ApprovalKind::Approve)
}

fn answer(gates: &[Approval], decision: Decision, response: Option<String>) -> Route {
    match newest_gate(gates) {
        Some(gate) => Route::Answer {
            approval: gate.id,
            decision,
            response,
            words: false,
        },
        None => Route::Say {
            text: "No pending approval found.".into(),
            once: None,
        },
    }
}

/// One polite refusal per author and thread: a second one would be noise, and a way to make us talk.
fn refuse(envelope: &EventEnvelope) -> Route {
    let thread = envelope.thread().map(|thread| thread.to_string()).unwrap_or_default();
    Route::Say {
        text: format!(
            "Thanks for writing, @{}. I take requests from maintainers of this repository only; one of them can ask me.",
            envelope.sender
        ),
        once: Some(format!("refusal:{thread}:{}", envelope.sender.to_lowercase())),
    }
}

fn start(
    workflow: Option<&str>,
    envelope: &EventEnvelope,
    overlap: Overlap,
    reaction: Option<Reaction>,
    more: &[(&str, Value)],
) -> Option<Route> {
    let workflow = workflow.filter(|name| !name.is_empty())?.to_owned();
    let mut context = context_of(envelope);
    context.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Some(Route::Run(Target {
        workflow,
        context: RunContext(context),
        overlap,
        reaction,
        conversation: false,
    }))
}

/// What every run learns from its event. Keys are those that templates name.
fn context_of(envelope: &EventEnvelope) -> Map<String, Value> {
    let mut context = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            context.insert(key.to_owned(), value);
        }
    };
    let title = envelope.title.clone().map_or(Value::Null, Value::String);
    put("eventType", envelope.kind.as_str().into());
    put(
        "repo",
        envelope.repo.as_ref().map_or(Value::Null, |repo| repo.as_str().into()),
    );
    put("issueNumber", envelope.issue_number.map_or(Value::Null, Value::from));
    put("prNumber", envelope.pr_number.map_or(Value::Null, Value::from));
    put("title", title.clone());
    put("issueTitle", title);
    put("body", envelope.body.clone().into());
    match envelope.kind {
        EventType::CommentCreated | EventType::PrReviewSubmitted | EventType::PrReviewCommentCreated => {
            put("commentBody", envelope.body.clone().into());
        }
        EventType::Message => put("message", envelope.body.clone().into()),
        _ => put("issueBody", envelope.body.clone().into()),
    }
    put("sender", envelope.sender.clone().into());
    if let Some(labels) = &envelope.labels {
        put("labels", labels.clone().into());
        put("issueLabels", labels.clone().into());
    }
    put(
        "authorAssociation",
        envelope.author_association.clone().map_or(Value::Null, Value::String),
    );
    if let ReplyTo::SlackThread { channel, thread, .. } = &envelope.reply_to {
        put("channelId", channel.clone().into());
        put("threadId", thread.clone().into());
    }
    let trigger = if envelope.source == Source::Github {
        "webhook"
    } else {
        "chat"
    };
    put("_triggerType", trigger.into());
    context
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{AnswerRules, ApprovalStatus, ReplyTo, RunId, Subject};

    fn routes() -> Routes {
        let to = |name: &str| Some(name.parse().expect("valid"));
        Routes {
            github: GithubRoutes {
                issue_opened: to("issue-triage"),
                issue_reopened: to("issue-triage"),
                pr_opened: to("pr-review"),
                pr_synchronize: to("pr-review"),
                pr_reopened: to("pr-review"),
                comment_build: to("build"),
                comment_pr_build: to("pr-fix"),
                comment_explore: to("explore"),
                comment_security_review: to("security-review"),
                comment_security_feedback: to("security-feedback"),
                comment_issue: to("issue-comment"),
                comment_pr: to("pr-comment"),
                ..GithubRoutes::default()
            },
            slack: SlackRoutes {
                chat: to("chat"),
                build: to("build"),
                ..SlackRoutes::default()
            },
        }
    }

    fn event(kind: EventType) -> EventEnvelope {
        EventEnvelope {
            id: "d-1".parse().expect("valid"),
            source: if kind == EventType::Message {
                Source::Slack
            } else {
                Source::Github
            },
            kind,
            repo: Some("acme/site".parse().expect("valid")),
            issue_number: Some(7),
            pr_number: kind.as_str().starts_with("pr").then_some(7),
            sender: "ann".into(),
            sender_id: None,
            sender_is_bot: false,
            body: "badly".into(),
            title: Some("It broke".into()),
            labels: Some(vec!["bug".into()]),
            author_association: Some("MEMBER".into()),
            reply_to: ReplyTo::Nobody,
            timestamp: DateTime::from_timestamp(0, 0).expect("the epoch exists"),
        }
    }

    fn comment(body: &str) -> EventEnvelope {
        EventEnvelope {
            body: body.into(),
            ..event(EventType::CommentCreated)
        }
    }

    fn gate(kind: ApprovalKind) -> Approval {
        Approval {
            id: ApprovalId::new(Uuid::nil()),
            run: RunId::new(Uuid::nil()),
            workflow: "build".parse().expect("valid"),
            subject: Subject::stored("acme/site#7".into()),
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

    fn decide(envelope: &EventEnvelope, gates: &[Approval]) -> Route {
        route(
            envelope,
            &routes(),
            Gates {
                here: gates,
                all: gates,
            },
            "last-light",
        )
    }

    fn workflow(route: Route) -> String {
        match route {
            Route::Run(target) => target.workflow,
            other => panic!("no run: {other:?}"),
        }
    }

    #[test]
    fn each_type_goes_where_the_settings_say() {
        use EventType as T;
        let table: &[(T, Option<&str>)] = &[
            (T::IssueOpened, Some("issue-triage")),
            (T::IssueReopened, Some("issue-triage")),
            (T::IssueClosed, None),
            (T::PrOpened, Some("pr-review")),
            (T::PrSynchronize, Some("pr-review")),
            (T::PrReopened, Some("pr-review")),
            (T::PrClosed, None),
            (T::PrMerged, None),
            (T::PrReviewSubmitted, None),
            (T::PrReviewCommentCreated, None),
            (T::Message, Some("chat")),
        ];
        for (kind, expected) in table {
            match (decide(&event(*kind), &[]), expected) {
                (Route::Run(target), Some(name)) => assert_eq!(target.workflow, *name, "{kind}"),
                (Route::Ignore(reason), None) => assert_eq!(reason, format!("no route for {kind}")),
                (other, _) => panic!("{kind}: {other:?}"),
            }
        }
        assert_eq!(
            table.len() + 1,
            T::ALL.len(),
            "every type but comments, which have tables of their own"
        );
    }

    #[test]
    fn the_context_has_what_templates_name() {
        let Route::Run(target) = decide(&event(EventType::IssueReopened), &[]) else {
            panic!("no run")
        };
        let context = Value::Object(target.context.0);
        for (key, value) in [
            ("repo", Value::from("acme/site")),
            ("issueNumber", 7.into()),
            ("title", "It broke".into()),
            ("body", "badly".into()),
            ("sender", "ann".into()),
            ("labels", vec!["bug"].into()),
            ("reopened", true.into()),
            ("_triggerType", "webhook".into()),
        ] {
            assert_eq!(context[key], value, "{key}");
        }
    }

    #[test]
    fn comments_are_routed_by_the_decision_table() {
        let pr = |body: &str| EventEnvelope {
            pr_number: Some(7),
            ..comment(body)
        };
        let scan = |body: &str| EventEnvelope {
            labels: Some(vec!["Security-Scan".into()]),
            ..comment(body)
        };
        let table: &[(EventEnvelope, &str)] = &[
            (comment("@last-light build"), "build"),
            (comment("@last-light explore"), "explore"),
            (comment("@last-light security-review"), "security-review"),
            (comment("@last-light triage"), "issue-triage"),
            (comment("@last-light run repo-health"), "repo-health"),
            (comment("@last-light what is this?"), "issue-comment"),
            (pr("@last-light build"), "pr-fix"),
            (pr("@last-light review"), "pr-review"),
            (pr("@last-light what is this?"), "pr-comment"),
            (pr("@last-light explore"), "pr-comment"),
            (scan("@last-light build"), "security-feedback"),
            (scan("@last-light that is a false alarm"), "security-feedback"),
        ];
        for (envelope, expected) in table {
            assert_eq!(workflow(decide(envelope, &[])), *expected, "{:?}", envelope.body);
        }
        assert_eq!(
            decide(&comment("nice"), &[]),
            Route::Ignore("no bot mention in comment".into())
        );
        assert_eq!(decide(&comment("@last-light status"), &[]), Route::Status);
    }

    #[test]
    fn only_maintainers_are_obeyed_and_others_are_told_once() {
        for association in [
            None,
            Some("NONE"),
            Some("CONTRIBUTOR"),
            Some("FIRST_TIMER"),
            Some("member"),
        ] {
            let stranger = EventEnvelope {
                author_association: association.map(str::to_owned),
                ..comment("@last-light approve")
            };
            let Route::Say { text, once } = decide(&stranger, &[gate(ApprovalKind::Approve)]) else {
                panic!("{association:?} was obeyed")
            };
            assert!(text.contains("@ann"));
            assert_eq!(once.as_deref(), Some("refusal:acme/site#7:ann"));
        }
        for association in ["OWNER", "MEMBER", "COLLABORATOR"] {
            let maintainer = EventEnvelope {
                author_association: Some(association.into()),
                ..comment("@last-light build")
            };
            assert_eq!(workflow(decide(&maintainer, &[])), "build");
        }
    }

    #[test]
    fn an_approval_answers_the_open_gate_of_its_thread() {
        let gates = [gate(ApprovalKind::Approve)];
        assert_eq!(
            decide(&comment("@last-light reject too risky"), &gates),
            Route::Answer {
                approval: gates[0].id,
                decision: Decision::Rejected,
                response: Some("too risky".into()),
                words: false
            }
        );
        let Route::Say { text, .. } = decide(&comment("@last-light approve"), &[]) else {
            panic!("no answer")
        };
        assert_eq!(text, "No pending approval found.");
    }

    #[test]
    fn where_a_gate_names_who_may_answer_its_rules_decide_and_not_the_standing_of_the_author() {
        let named = Approval {
            rules: AnswerRules {
                logins: vec!["ann".into()],
                ..AnswerRules::default()
            },
            ..gate(ApprovalKind::Approve)
        };
        let stranger = |body: &str| EventEnvelope {
            author_association: Some("NONE".into()),
            ..comment(body)
        };
        assert!(matches!(
            decide(&stranger("@last-light approve"), std::slice::from_ref(&named)),
            Route::Answer { .. }
        ));
        // Nothing else is obeyed for that.
        assert!(matches!(
            decide(&stranger("@last-light build"), &[named]),
            Route::Say { .. }
        ));
    }

    #[test]
    fn a_reply_gate_takes_any_comment_of_its_thread() {
        let gates = [gate(ApprovalKind::Reply)];
        let stranger = EventEnvelope {
            author_association: None,
            ..comment("on Tuesdays only")
        };
        let Route::Answer { response, .. } = decide(&stranger, &gates) else {
            panic!("not taken")
        };
        assert_eq!(response.as_deref(), Some("on Tuesdays only"));
        // An approval never hits a reply gate that is not there, nor the other way round.
        let Route::Answer { response, .. } = decide(&comment("@last-light approve"), &gates) else {
            panic!("not taken")
        };
        assert_eq!(response.as_deref(), Some("@last-light approve"));
    }

    #[test]
    fn chat_messages_need_no_mention() {
        let message = |body: &str| EventEnvelope {
            body: body.into(),
            ..event(EventType::Message)
        };
        assert_eq!(workflow(decide(&message("how are you?"), &[])), "chat");
        assert_eq!(
            workflow(decide(&message("build"), &[])),
            "chat",
            "nothing to build is talked over"
        );
        let Route::Run(target) = decide(&message("build acme/docs#9"), &[]) else {
            panic!("no run")
        };
        assert_eq!((target.workflow.as_str(), target.conversation), ("build", false));
        assert_eq!(target.context.0["repo"], "acme/docs");
        assert_eq!(target.context.0["issueNumber"], 9);
        assert!(
            !target.context.0.contains_key("body"),
            "what the issue says is looked up"
        );
        assert_eq!(decide(&message("reset"), &[]), Route::Reset);
        assert_eq!(decide(&message("runs"), &[]), Route::Runs);
        for (text, told) in [
            ("triage", "Which repository?"),
            ("explore", "Which repository?"),
            ("explore acme/docs#9", "No workflow is configured"),
            ("stauts", "Did you mean `status`?"),
            ("run", "Which workflow?"),
            ("approve", "No pending approval found."),
        ] {
            let Route::Say { text: said, .. } = decide(&message(text), &[]) else {
                panic!("{text}")
            };
            assert!(said.starts_with(told) || said.contains(told), "{text}: {said}");
        }
        assert_eq!(decide(&message("status"), &[]), Route::Status);
        let Route::Run(target) = decide(&message("hello there"), &[]) else {
            panic!("no run")
        };
        assert_eq!(target.context.0["_triggerType"], "chat");
    }
}
