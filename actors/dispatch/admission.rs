//! The one admission function: every door's wish for a run passes here or nowhere. Pure; knows no clock, no store, no network.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::{
    Cause, DeliveryId, ManagedRepos, NewRun, Overlap, ReplyTo, RepoName, RuleCheck, RunContext, RunId, Subject,
    TriggerType,
};
use crate::messages::dispatch::NotDispatched;
use crate::workflows::Catalog;

/// A wish for one run.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The id that the run will have.
    pub id: RunId,
    /// The workflow, as it was asked for.
    pub workflow: String,
    /// What the run starts with.
    pub context: RunContext,
    /// Through which door.
    pub trigger: TriggerType,
    /// Login, user name, token label or `cron:<name>`.
    pub who: String,
    /// The event that asks, with its thread and where its answers go.
    pub event: Option<(DeliveryId, Option<Subject>, ReplyTo)>,
    /// What a live run of the same subject means for it.
    pub overlap: Overlap,
    /// When.
    pub at: chrono::DateTime<chrono::Utc>,
}

/// What admission goes by.
#[derive(Debug, Clone, Copy)]
pub struct House<'a> {
    /// The managed list.
    pub managed: &'a ManagedRepos,
    /// The workflows that there are.
    pub catalog: &'a Catalog,
    /// Names of those that are switched off.
    pub switched_off: &'a BTreeSet<String>,
}

/// Lets a run in, or says which rule stands against it. That at most one run of a workflow is live per subject, and how
/// many run at once, is decided where runs are stored: only there it can be decided without a race.
///
/// # Errors
/// The first rule that stands against it.
pub fn admit(ask: Ask, house: House<'_>) -> Result<NewRun, NotDispatched> {
    let repo = repo_of(&ask.context)?;
    if let Some(repo) = &repo
        && !house.managed.admits(repo)
    {
        return Err(NotDispatched::RepoNotManaged(repo.to_string()));
    }
    let workflow = house
        .catalog
        .get(&ask.workflow)
        .ok_or_else(|| NotDispatched::UnknownWorkflow {
            name: cut(&ask.workflow),
            known: house.catalog.names().map(ToString::to_string).collect(),
        })?;
    if house.switched_off.contains(workflow.name.as_str()) {
        return Err(NotDispatched::SwitchedOff(workflow.name.clone()));
    }
    let number = match number_of(&ask.context, "issueNumber")? {
        Some(number) => Some(number),
        None => number_of(&ask.context, "prNumber")?,
    };
    if number.is_some() && repo.is_none() {
        return Err(NotDispatched::BadContext(
            "context names an issue or pull request but no repository; add \"repo\": \"owner/name\"".into(),
        ));
    }
    let (event, thread, reply_to) = match ask.event {
        Some((event, thread, reply_to)) => (Some(event), thread, reply_to),
        None => (None, None, answer_place(repo.as_ref(), number, ask.trigger)),
    };
    let subject = thread.unwrap_or_else(|| match (&repo, number) {
        (Some(repo), Some(number)) => Subject::thread(repo, number),
        (Some(repo), None) => Subject::repo(repo, &workflow.name),
        (None, _) => Subject::alone(ask.id),
    });
    let mut context = ask.context;
    context.0.insert("_triggerType".into(), ask.trigger.as_str().into());
    context.0.entry("sender").or_insert_with(|| ask.who.clone().into());
    Ok(NewRun {
        id: ask.id,
        workflow: workflow.name.clone(),
        definition: workflow.hash.clone(),
        subject,
        repo,
        number,
        context,
        reply_to,
        cause: Cause {
            trigger: ask.trigger,
            who: ask.who,
            event,
        },
        overlap: ask.overlap,
        created_at: ask.at,
    })
}

/// What the rules of admission say to a wish, each by itself, for whoever asks why. The first that stops it is the one that
/// [`admit`] refuses with.
#[must_use]
pub(super) fn rules(workflow: &str, context: &RunContext, house: House<'_>) -> Vec<RuleCheck> {
    let mut said = Vec::new();
    match repo_of(context) {
        Ok(Some(repo)) => {
            let managed = house.managed.admits(&repo);
            let words = if managed { "is managed" } else { "is not managed" };
            said.push(RuleCheck::on("managed repository", managed, format!("{repo} {words}")));
        }
        Ok(None) => said.push(RuleCheck::on("managed repository", true, "it concerns none")),
        Err(refusal) => said.push(RuleCheck::on("managed repository", false, refusal.to_string())),
    }
    let found = house.catalog.get(workflow);
    said.push(RuleCheck::on(
        "known workflow",
        found.is_some(),
        match found {
            Some(found) => format!("{} ({})", found.name, found.file),
            None => format!("there is no workflow {:?}", cut(workflow)),
        },
    ));
    let off = house.switched_off.contains(workflow);
    said.push(RuleCheck::on(
        "switched on",
        !off,
        if off { "it is switched off" } else { "it is on" },
    ));
    said
}

/// A run that no event asked for answers in the thread that it is about.
/// What a schedule started and is about no thread goes to the chat channel for that, where there is one.
fn answer_place(repo: Option<&RepoName>, number: Option<u64>, trigger: TriggerType) -> ReplyTo {
    match (repo, number) {
        (Some(repo), Some(number)) => ReplyTo::IssueComment {
            repo: repo.clone(),
            number,
            comment_id: None,
        },
        _ if trigger == TriggerType::Cron => ReplyTo::DeliveryChannel,
        _ => ReplyTo::Nobody,
    }
}

fn repo_of(context: &RunContext) -> Result<Option<RepoName>, NotDispatched> {
    match context.0.get("repo") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|invalid| NotDispatched::BadContext(format!("context.repo: {invalid}"))),
        Some(_) => Err(NotDispatched::BadContext(
            "context.repo must be a text, owner/name".into(),
        )),
    }
}

fn number_of(context: &RunContext, key: &str) -> Result<Option<u64>, NotDispatched> {
    let number = match context.0.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    // The store counts in signed 64 bits; no forge has more issues than that.
    match number.filter(|number| (1..=i64::MAX as u64).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(NotDispatched::BadContext(format!(
            "context.{key} must be a whole number from 1"
        ))),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}
