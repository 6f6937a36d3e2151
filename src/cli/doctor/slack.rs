//! Slack: both tokens are tried and the bot's scopes held against those that it needs. Posts nothing and opens no socket.

use std::collections::BTreeSet;

use actors::clock::SharedClock;
use actors::slack::{SCOPES, SlackFault, SlackWeb};

use super::super::client::{client, exchange};
use super::in_time;
use super::report::Check;
use crate::boot;
use crate::settings::Settings;

const BOT: &str = "slack bot";
const APP: &str = "slack app";
const SCOPE: &str = "slack scopes";
const BOT_TOKEN: &str = "SLACK_BOT_TOKEN (slack.bot_token)";
const APP_TOKEN: &str = "SLACK_APP_TOKEN (slack.app_token)";

pub(super) async fn examine(settings: &Settings, clock: &SharedClock) -> Vec<Check> {
    let web = match boot::slack_web(settings, clock) {
        Ok(Some(web)) => web,
        Ok(None) => {
            let set = "SLACK_BOT_TOKEN and SLACK_APP_TOKEN (slack.bot_token, slack.app_token)";
            return vec![Check::skipped("slack", "no tokens are set, so Slack is off", Some(set))];
        }
        Err(error) => {
            let set = "the package ca-certificates of this machine";
            return vec![Check::failed("slack", format!("{error:#}"), "TLS needs them", set)];
        }
    };
    let (bot, app, scopes) = futures_util::join!(bot(&web, clock), app(&web, clock), scopes(settings, clock));
    [Some(bot), Some(app), scopes].into_iter().flatten().collect()
}

async fn bot(web: &SlackWeb, clock: &SharedClock) -> Check {
    match in_time(clock, web.who_am_i()).await {
        Some(Ok(identity)) => Check::ok(
            BOT,
            format!("{} in {} ({})", identity.user, identity.team_name, identity.team),
        ),
        Some(Err(fault)) => refused(BOT, &fault, BOT_TOKEN),
        None => silent(BOT),
    }
}

async fn app(web: &SlackWeb, clock: &SharedClock) -> Check {
    match in_time(clock, web.app_token_works()).await {
        Some(Ok(())) => Check::ok(APP, "the app's token opens a socket"),
        Some(Err(fault)) => refused(APP, &fault, APP_TOKEN),
        None => silent(APP),
    }
}

fn silent(name: &'static str) -> Check {
    Check::failed(
        name,
        "Slack does not answer within 5 s",
        "the network, or another address than Slack's",
        "SLACK_API_URL (slack.api_url)",
    )
}

fn refused(name: &'static str, fault: &SlackFault, token: &str) -> Check {
    let found = fault.to_string();
    match fault.code() {
        Some("missing_scope") if name == APP => Check::failed(
            name,
            found,
            "the app's token lacks a scope",
            "the scope connections:write of the app-level token",
        ),
        Some("not_allowed_token_type") => Check::failed(name, found, "the token is of another kind", token),
        Some(_) => Check::failed(
            name,
            found,
            "the token is wrong, was revoked, or belongs to another workspace",
            token,
        ),
        None => Check::failed(
            name,
            found,
            "Slack cannot be reached, or asks for patience",
            "SLACK_API_URL (slack.api_url), if it is not Slack's own",
        ),
    }
}

/// What the bot may do is in a header that the Web API's library does not hand on. Nothing is said where the bot is refused.
async fn scopes(settings: &Settings, clock: &SharedClock) -> Option<Check> {
    let bearer = format!("Bearer {}", settings.slack.bot_token.as_ref()?.expose());
    let base = settings.slack.api_url.to_string();
    let (client, headers) = (client(), [("authorization", bearer.as_str())]);
    let asked = exchange(&client, &base, "/auth.test", &headers, Some(Vec::new()));
    let answer = in_time(clock, asked).await?.ok()?;
    let said: serde_json::Value = serde_json::from_str(&answer.text).ok()?;
    if said["ok"] != true {
        return None;
    }
    let Some(given) = answer.headers.get("x-oauth-scopes") else {
        return Some(Check::skipped(SCOPE, "Slack does not say what the bot may do", None));
    };
    let given: BTreeSet<&str> = given.split(',').map(str::trim).collect();
    let missing: Vec<&str> = SCOPES.iter().copied().filter(|scope| !given.contains(scope)).collect();
    Some(match missing.as_slice() {
        [] => Check::ok(SCOPE, format!("all {} that are needed", SCOPES.len())),
        missing => Check::failed(
            SCOPE,
            format!("the bot may not: {}", missing.join(", ")),
            "the app in Slack is older than this version, or was not installed again after a change",
            "the app's manifest (firstlight slack manifest), and install it to the workspace again",
        ),
    })
}
