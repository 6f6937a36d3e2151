//! What a run says and changes outside, as effects with keys. Pure: the outbox is filled by whoever records the step.

use serde_json::Value;

use crate::domain::{
    ApprovalId, Effect, EffectKey, NewEffect, Phase, ReplyTo, RepoName, RunRecord, RunStatus, RunSummary,
};
use crate::messaging::replies;
use crate::runs::facts::RunFacts;
use crate::workflows::template::{render, render_comment};

/// The turn of a phase that is worked through once. Loops count on from here; attempts after a crash do not, so that the
/// same words have the same key and leave once.
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

    /// The question of the phase's gate: at GitHub in words that say how to answer, in a chat with buttons.
    pub(crate) fn gate(&self, words: &str, summary: &str, approval: ApprovalId) -> Vec<NewEffect> {
        let (channel, thread) = match (&self.record.reply_to, self.delivery) {
            (ReplyTo::SlackThread { channel, thread, .. }, _) => (channel.clone(), thread.clone()),
            (ReplyTo::DeliveryChannel, Some(channel)) => (channel.to_owned(), String::new()),
            _ => return self.comment("gate", words),
        };
        let prompt = Effect::SlackApproval {
            channel,
            thread,
            text: replies::in_one(summary),
            approval,
        };
        vec![self.effect("gate", prompt)]
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
