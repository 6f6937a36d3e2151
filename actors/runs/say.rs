//! What a run says and changes outside, as effects with keys. Pure: the outbox is filled by whoever records the step.

use serde_json::{Value, json};

use crate::domain::{
    ApprovalId, ApprovalKind, Effect, EffectKey, NewEffect, Phase, ReplyTo, RepoName, RunRecord, RunStatus, RunSummary,
    Step,
};
use crate::messaging::replies;
use crate::runs::config::LifeEvents;
use crate::runs::facts::RunFacts;
use crate::workflows::template::{render, render_comment};

/// Every turn of a loop speaks under a name of its own (`review_2`), so that all of them are first turns. Attempts do not
/// count: the same words have the same key and leave once.
const FIRST_TURN: u32 = 1;

/// GitHub refuses comments of more than 65,536 characters; the rest is room for the note and the hidden marker.
const LONGEST_COMMENT: usize = 64_000;

/// Speaks for one phase of one run.
pub(crate) struct Voice<'a> {
    /// The run.
    pub(crate) record: &'a RunRecord,
    /// What templates may name.
    pub(crate) facts: &'a RunFacts,
    /// The phase.
    pub(crate) phase: &'a Phase,
    /// The chat channel for runs without a thread of their own.
    pub(crate) delivery: Option<&'a str>,
}

/// A question on its way to people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Its id, which the buttons name.
    pub(crate) id: ApprovalId,
    /// Yes or no, or words.
    pub(crate) kind: ApprovalKind,
    /// The words for a comment.
    pub(crate) comment: &'a str,
    /// The words for a chat.
    pub(crate) chat: &'a str,
    /// It was asked before, and has lapsed.
    pub(crate) anew: bool,
}

impl Voice<'_> {
    /// What is said when the phase begins.
    pub(crate) fn on_start(&self) -> Vec<NewEffect> {
        let mut effects = self.message("on_start", self.phase.messages.on_start.as_deref());
        let label = match self.phase.label.trim() {
            "" => self.phase.name.as_str(),
            label => label,
        };
        let progress = progress(self.record, &format!("{label} …"));
        effects.extend(progress.map(|effect| self.effect("progress", effect)));
        effects
    }

    /// What is said when it ended badly.
    pub(crate) fn on_failure(&self) -> Vec<NewEffect> {
        self.message("on_failure", self.phase.messages.on_failure.as_deref())
    }

    /// What is said and changed when it ended well.
    pub(crate) fn on_success(&self) -> Vec<NewEffect> {
        let mut effects = self.message("on_success", self.phase.messages.on_success.as_deref());
        let Some((repo, number, comment_id)) = self.thread() else {
            return effects;
        };
        let mut labels: Vec<String> = Vec::new();
        for template in &self.phase.on_success.add_labels {
            let label = render(template, &self.facts.view()).trim().to_owned();
            if !label.is_empty() && !labels.contains(&label) {
                labels.push(label);
            }
        }
        if !labels.is_empty() {
            let repo = repo.clone();
            effects.push(self.effect("labels", Effect::GithubLabels { repo, number, labels }));
        }
        if let Some(content) = self.phase.on_success.react {
            let reaction = Effect::GithubReaction {
                repo: repo.clone(),
                number,
                comment_id,
                content,
            };
            effects.push(self.effect("react", reaction));
        }
        effects
    }

    /// The answer of a reply phase; nothing when there is nothing to say.
    pub(crate) fn reply(&self, message: &str) -> Vec<NewEffect> {
        self.message("reply", Some(message))
    }

    /// The question of the phase's gate: at GitHub in words that say how to answer, in a chat with buttons, or in words
    /// where words are asked for. One that is asked anew is said anew.
    pub(crate) fn gate(&self, asked: &Asked<'_>) -> Vec<NewEffect> {
        let what = if asked.anew {
            format!("gate:{}", asked.id)
        } else {
            "gate".to_owned()
        };
        let (channel, thread) = match (&self.record.reply_to, self.delivery) {
            (ReplyTo::SlackThread { channel, thread, .. }, _) => (channel.clone(), thread.clone()),
            (ReplyTo::DeliveryChannel, Some(channel)) => (channel.to_owned(), String::new()),
            _ => return self.comment(&what, asked.comment),
        };
        if asked.kind == ApprovalKind::Reply {
            return self.comment(&what, asked.chat);
        }
        let prompt = Effect::SlackApproval {
            channel,
            thread,
            text: replies::in_one(asked.chat),
            approval: asked.id,
        };
        vec![self.effect(&what, prompt)]
    }

    /// The notice of a notify phase, and its text.
    ///
    /// # Errors
    /// What is wrong with the phase, in words.
    pub(crate) fn notify(&self) -> Result<(Vec<NewEffect>, String), String> {
        let (Some(step), Some(template)) = (&self.phase.notify, &self.phase.message) else {
            return Err("it has no `notify` with a `message`".into());
        };
        if step.webhook_url.is_some() {
            return Err(
                "its webhook_url cannot be used, because what leaves is stored and a URL is as good as a password; \
                        leave it out, and set the channel's own endpoint in the settings"
                    .into(),
            );
        }
        let message = render(template, &self.facts.view()).trim().to_owned();
        if message.is_empty() {
            return Err("its message is empty".into());
        }
        let notice = Effect::Notification {
            channel: step.channel,
            message: message.clone(),
            priority: step.priority,
        };
        Ok((vec![self.effect("notify", notice)], message))
    }

    /// The event of an emit phase, and its payload as JSON text.
    ///
    /// # Errors
    /// What is wrong with the phase, in words.
    pub(crate) fn emit(&self) -> Result<(Vec<NewEffect>, String), String> {
        let step = self.phase.emit.as_ref().ok_or("it has no `emit`")?;
        let payload = self.filled(&Value::Object(step.payload.clone()));
        let text = payload.to_string();
        let event = Effect::IntegrationEvent {
            name: step.event,
            payload,
        };
        Ok((vec![self.effect("emit", event)], text))
    }

    /// Every text of a value, at any depth, rendered.
    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(template) => render(template, &self.facts.view()).into(),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(entries) => {
                let filled = entries.iter().map(|(key, value)| (key.clone(), self.filled(value)));
                Value::Object(filled.collect())
            }
            other => other.clone(),
        }
    }

    /// Some words under a key of their own.
    pub(crate) fn say(&self, what: &str, template: Option<&str>) -> Vec<NewEffect> {
        self.message(what, template)
    }

    fn message(&self, what: &str, template: Option<&str>) -> Vec<NewEffect> {
        match template {
            Some(template) => self.comment(what, &render_comment(template, &self.facts.view())),
            None => Vec::new(),
        }
    }

    fn comment(&self, what: &str, words: &str) -> Vec<NewEffect> {
        match &self.record.reply_to {
            ReplyTo::IssueComment { repo, number, .. } if !words.trim().is_empty() => vec![self.effect(
                what,
                Effect::GithubComment {
                    repo: repo.clone(),
                    number: *number,
                    body: fit(words.trim()),
                },
            )],
            to if !words.trim().is_empty() => replies::say(to, words, self.delivery)
                .into_iter()
                .map(|(piece, effect)| self.effect(&format!("{what}{piece}"), effect))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The issue or pull request that labels and reactions belong to, and the comment that asked.
    fn thread(&self) -> Option<(&RepoName, u64, Option<u64>)> {
        match &self.record.reply_to {
            ReplyTo::IssueComment {
                repo,
                number,
                comment_id,
            } => Some((repo, *number, *comment_id)),
            _ => {
                let summary = &self.record.summary;
                Some((summary.repo.as_ref()?, summary.number?, None))
            }
        }
    }

    fn effect(&self, what: &str, effect: Effect) -> NewEffect {
        let summary = &self.record.summary;
        NewEffect {
            key: key(&format!("run:{}/{}/{FIRST_TURN}/{what}", summary.id, self.phase.name)),
            effect,
            run: Some(summary.id),
            event: summary.cause.event.clone(),
        }
    }
}

/// What these steps are told as to webhooks. Told once, whatever is repeated: the key names the turn and the run.
pub(crate) fn of_its_life(run: &RunSummary, steps: &[Step], events: LifeEvents) -> Vec<NewEffect> {
    let told = steps.iter().filter_map(|step| match step {
        Step::PhaseStarted { .. } => Some(("started", events.started?, RunStatus::Running, None)),
        Step::Ended { status, error } => match status {
            RunStatus::Succeeded => Some(("succeeded", events.succeeded?, *status, None)),
            RunStatus::Failed => Some(("failed", events.failed?, *status, error.as_deref())),
            RunStatus::Queued | RunStatus::Running | RunStatus::Paused | RunStatus::Cancelled => None,
        },
        Step::PhaseEnded(_) | Step::Shown(_) | Step::Scratch { .. } | Step::Paused(_) | Step::PutDown => None,
    });
    told.map(|(turn, name, status, error)| NewEffect {
        key: key(&format!("run:{}/event/{turn}", run.id)),
        effect: Effect::IntegrationEvent {
            name,
            payload: json!({
                "run_id": run.id,
                "workflow": run.workflow,
                "subject": run.subject,
                "repo": run.repo,
                "number": run.number,
                "status": status,
                "error": error,
            }),
        },
        run: Some(run.id),
        event: run.cause.event.clone(),
    })
    .collect()
}

/// Another text for the message that tells a run's progress, where there is one.
fn progress(record: &RunRecord, now: &str) -> Option<Effect> {
    let ReplyTo::SlackThread { channel, thread, .. } = &record.reply_to else {
        return None;
    };
    let told = record.context.0.get("_progress")?;
    let of = |key: &str| told.get(key).and_then(Value::as_str);
    let words = [Some(format!("{}: {now}", of("title")?)), of("link").map(str::to_owned)];
    let text = words.into_iter().flatten().collect::<Vec<_>>().join("\n");
    Some(Effect::SlackEdit {
        channel: channel.clone(),
        thread: thread.clone(),
        text: replies::in_one(&text),
        message: of("message")?.parse().ok()?,
    })
}

/// What a chat is told when a run has come to its end. A turn of a conversation has answered already; it is told of a
/// failure only.
pub(crate) fn ending(record: &RunRecord, status: RunStatus, error: Option<&str>) -> Vec<NewEffect> {
    let ReplyTo::SlackThread {
        channel,
        thread,
        message,
    } = &record.reply_to
    else {
        return Vec::new();
    };
    let summary = &record.summary;
    let words = match (status, error) {
        (RunStatus::Succeeded, _) => "completed".to_owned(),
        (status, Some(error)) => format!("{status}: {error}"),
        (status, None) => status.to_string(),
    };
    let mut effects = Vec::new();
    let edit = progress(record, &words);
    let conversation = edit.is_none();
    if let Some(edit) = edit {
        effects.push(told(summary, "progress", edit));
    }
    if !conversation || status != RunStatus::Succeeded {
        let notice = format!("`{}` {words}", summary.workflow);
        let said = replies::say(&record.reply_to, &notice, None);
        effects.extend(
            said.into_iter()
                .map(|(piece, effect)| told(summary, &format!("notice{piece}"), effect)),
        );
    }
    if let (true, Some(message)) = (conversation, message) {
        let quiet = Effect::SlackTyping {
            channel: channel.clone(),
            thread: thread.clone(),
            message: message.clone(),
            on: false,
        };
        effects.push(told(summary, "typing", quiet));
    }
    effects
}

fn told(summary: &RunSummary, what: &str, effect: Effect) -> NewEffect {
    NewEffect {
        key: key(&format!("run:{}/ended/{what}", summary.id)),
        effect,
        run: Some(summary.id),
        event: summary.cause.event.clone(),
    }
}

fn key(text: &str) -> EffectKey {
    text.parse()
        .expect("a run id, a phase name of at most 64 characters and two short words")
}

/// A comment that GitHub takes.
fn fit(words: &str) -> String {
    match words.char_indices().nth(LONGEST_COMMENT) {
        None => words.to_owned(),
        Some((end, _)) => format!("{}\n\n… (cut; the whole text is in the run's phase log)", &words[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::phase::tests::{record, workflow};

    fn effects_of(
        reply_to: Option<ReplyTo>,
        phases: &str,
        say: impl Fn(&Voice<'_>) -> Vec<NewEffect>,
    ) -> Vec<(String, Effect)> {
        let mut record = record(&[]);
        if let Some(reply_to) = reply_to {
            record.reply_to = reply_to;
        }
        let workflow = workflow(phases);
        let facts = RunFacts::of(&record, &workflow);
        let voice = Voice {
            record: &record,
            facts: &facts,
            phase: &workflow.phases[0],
            delivery: None,
        };
        say(&voice)
            .into_iter()
            .map(|new| (new.key.to_string(), new.effect))
            .collect()
    }

    #[test]
    fn a_good_end_speaks_labels_and_reacts_each_under_its_own_key() {
        let phases = r#"[{"name":"done","label":"","kind":"context",
            "messages":{"on_success":"Done with #{{issueNumber}}."},
            "on_success":{"add_labels":["triaged","{{variables.tone}}","{{missing}}","triaged"],"react":"rocket"}}]"#;
        let effects = effects_of(None, phases, |voice| voice.on_success());
        let repo: RepoName = "acme/site".parse().expect("valid");
        let prefix = "run:01890000-0000-7000-8000-012389abcdef/done/1";
        assert_eq!(
            effects,
            [
                (
                    format!("{prefix}/on_success"),
                    Effect::GithubComment {
                        repo: repo.clone(),
                        number: 7,
                        body: "Done with #7.".into()
                    }
                ),
                (
                    format!("{prefix}/labels"),
                    Effect::GithubLabels {
                        repo: repo.clone(),
                        number: 7,
                        labels: vec!["triaged".into(), "kind".into()]
                    }
                ),
                (
                    format!("{prefix}/react"),
                    Effect::GithubReaction {
                        repo,
                        number: 7,
                        comment_id: None,
                        content: crate::domain::Reaction::Rocket
                    }
                ),
            ]
        );
    }

    #[test]
    fn a_notice_and_an_event_leave_with_their_templates_filled_in() {
        let notice = r##"[{"name":"tell","label":"","kind":"notify","message":"#{{issueNumber}} is {{variables.tone}}",
            "notify":{"channel":"slack","priority":"high"}}]"##;
        let prefix = "run:01890000-0000-7000-8000-012389abcdef/tell/1";
        let expected = Effect::Notification {
            channel: crate::domain::Channel::Slack,
            message: "#7 is kind".into(),
            priority: crate::domain::Priority::High,
        };
        let said = effects_of(None, notice, |voice| voice.notify().expect("said").0);
        assert_eq!(said, [(format!("{prefix}/notify"), expected)]);
        let event = r#"[{"name":"tell","label":"","kind":"emit",
            "emit":{"event":"task.completed","payload":{"n":7,"deep":[{"title":"{{title}}"}]}}}]"#;
        let expected = Effect::IntegrationEvent {
            name: crate::domain::IntegrationEvent::TaskCompleted,
            payload: serde_json::json!({"n": 7, "deep": [{"title": "It broke"}]}),
        };
        let said = effects_of(None, event, |voice| voice.emit().expect("said").0);
        assert_eq!(said, [(format!("{prefix}/emit"), expected)]);
        let with_url = notice.replace(r#""channel":"slack""#, r#""channel":"slack","webhook_url":"https://x""#);
        effects_of(None, &with_url, |voice| {
            let refused = voice.notify().expect_err("refused");
            assert!(
                refused.contains("webhook_url") && !refused.contains("https://x"),
                "{refused}"
            );
            Vec::new()
        });
    }

    #[test]
    fn an_empty_message_is_not_sent() {
        let phases =
            r#"[{"name":"a","label":"","kind":"context","messages":{"on_start":" {{#if missing}}hello{{/if}} "}}]"#;
        assert_eq!(effects_of(None, phases, |voice| voice.on_start()), []);
    }

    #[test]
    fn a_run_that_nobody_listens_to_still_labels_its_issue() {
        let phases = r#"[{"name":"a","label":"","kind":"context","messages":{"on_success":"hi"},"on_success":{"add_labels":["x"]}}]"#;
        let effects = effects_of(Some(ReplyTo::Nobody), phases, |voice| voice.on_success());
        assert!(
            matches!(&effects[..], [(_, Effect::GithubLabels { .. })]),
            "{effects:?}"
        );
    }

    #[test]
    fn a_comment_is_cut_to_what_github_takes() {
        let long = fit(&"ä".repeat(70_000));
        assert!(long.chars().count() < 65_536 && long.ends_with("phase log)"));
        assert_eq!(fit("short"), "short");
    }
}
