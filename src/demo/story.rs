//! How the story is told: one line per thing that happened, with its time since the delivery was sent. Asks nobody.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::REPO;
use super::github::{Comment, GithubStandIn};

/// Tells lines with their distance from the beginning.
pub(super) struct Teller {
    began: DateTime<Utc>,
}

impl Teller {
    pub(super) fn from(began: DateTime<Utc>) -> Self {
        Self { began }
    }

    pub(super) fn line(&self, at: DateTime<Utc>, what: &str, words: &str) {
        let since = (at - self.began).num_milliseconds().max(0);
        println!("{since:>6} ms  {what:<9} {words}");
    }
}

/// The normalized event, as it lies in the store.
pub(super) fn tell_recorded(teller: &Teller, event: &Value) -> anyhow::Result<()> {
    let words = format!(
        "event {} is {} from {}",
        event["seq"],
        word(&event["type"]),
        word(&event["sender"])
    );
    teller.line(time(&event["timestamp"])?, "recorded", &words);
    Ok(())
}

/// What the router made of it.
pub(super) fn tell_routed(teller: &Teller, event: &Value) -> anyhow::Result<()> {
    let outcome = word(&event["outcome"]);
    teller.line(
        time(&event["settledAt"])?,
        "routed",
        outcome.strip_prefix("routed ").unwrap_or(outcome),
    );
    Ok(())
}

/// The run with its phases.
pub(super) fn tell_run(teller: &Teller, run: &Value) -> anyhow::Result<()> {
    teller.line(
        time(&run["startedAt"])?,
        "run",
        &format!(
            "{} {}, about {}",
            word(&run["workflow"]),
            word(&run["id"]),
            word(&run["subject"])
        ),
    );
    for phase in run["phases"].as_array().context("a run has phases")? {
        let (began, ended) = (time(&phase["startedAt"])?, time(&phase["endedAt"])?);
        let took = (ended - began).num_milliseconds();
        let why = phase["reason"]
            .as_str()
            .or_else(|| first_line(&phase["output"]))
            .unwrap_or_default();
        let separator = if why.is_empty() { "" } else { ": " };
        let words = format!(
            "{} ({}) {} in {took} ms{separator}{}",
            word(&phase["phase"]),
            word(&phase["kind"]),
            word(&phase["status"]),
            shortened(why),
        );
        teller.line(ended, "phase", &words);
    }
    teller.line(time(&run["endedAt"])?, "ended", word(&run["status"]));
    Ok(())
}

/// What arrived at GitHub.
pub(super) fn tell_reply(teller: &Teller, github: &GithubStandIn, number: u64, comment: &Comment) {
    let reactions = github.reactions(REPO, number);
    if !reactions.is_empty() {
        println!(
            "           reaction  {} (GitHub asks for a second between two writes)",
            reactions.join(", ")
        );
    }
    teller.line(comment.at, "comment", &comment.html_url);
    println!();
    let visible: Vec<_> = comment.body.lines().filter(|line| !line.starts_with("<!--")).collect();
    for line in visible.join("\n").trim_end().lines() {
        println!("    │ {line}");
    }
}

/// Where a curious reader goes on.
pub(super) fn tell_further(base: &str, folder: &Path, delivery: &str, run: &str) {
    let password = folder.join("state/secrets/admin_password");
    // A password is shown to a person, and kept out of files that output is sent into.
    let shown = match std::fs::read_to_string(&password) {
        Ok(shown) if std::io::stdout().is_terminal() => shown.trim().to_owned(),
        _ => format!("in {}", password.display()),
    };
    println!(
        "
Open the dashboard and see what happened to the event, and what it led to:

    {base}/admin/runs/{run}
    password: {shown}

Look further (the log is in {log}):

    TOKEN=$(curl -s {base}/admin/api/login -d \"{{\\\"password\\\":\\\"$(cat {password})\\\"}}\" | cut -d'\"' -f4)
    curl -s {base}/admin/api/events/{delivery} -H \"Authorization: Bearer $TOKEN\"
    curl -s {base}/admin/api/workflow-runs/{run} -H \"Authorization: Bearer $TOKEN\"
    FIRSTLIGHT_SEND_SECRET=$(cat {secret}) firstlight send issue_comment.created --number 1 \\
        --association MEMBER --body '@last-light help' --url {base}",
        secret = folder.join("webhook_secret").display(),
        log = folder.join("firstlight.log").display(),
        password = password.display(),
    );
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn first_line(value: &Value) -> Option<&str> {
    value.as_str()?.lines().next()
}

fn shortened(text: &str) -> String {
    const MOST: usize = 90;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

fn time(value: &Value) -> anyhow::Result<DateTime<Utc>> {
    let text = value.as_str().context("the service gave no time")?;
    text.parse()
        .with_context(|| format!("the service gave a time that is none: {text}"))
}
