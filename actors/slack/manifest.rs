//! The app manifest for this deployment: scopes, events, commands, interactivity and Socket Mode. Pure.

use serde_json::{Value, json};

/// What an app of Slack has to be, so that this connector works; paste it at *api.slack.com/apps → Create New App → From a manifest*.
/// `commands` are the slash commands as (name, what it does, what it takes). `name` is the bot's display name.
#[must_use]
pub fn manifest(name: &str, commands: &[(&str, &str, &str)]) -> Value {
    let commands: Vec<Value> = commands
        .iter()
        .map(|(command, description, usage)| {
            let mut entry =
                json!({ "command": format!("/{command}"), "description": description, "should_escape": false });
            if !usage.is_empty() {
                entry["usage_hint"] = json!(usage);
            }
            entry
        })
        .collect();
    json!({
        "display_information": {
            "name": name,
            "description": "The front door of repository automation",
        },
        "features": {
            "app_home": { "home_tab_enabled": false, "messages_tab_enabled": true, "messages_tab_read_only_enabled": false },
            "bot_user": { "display_name": name, "always_online": true },
            "assistant_view": { "assistant_description": "Ask about repositories, start and approve work", "suggested_prompts": [] },
            "slash_commands": commands,
        },
        "oauth_config": { "scopes": { "bot": SCOPES } },
        "settings": {
            "event_subscriptions": { "bot_events": EVENTS },
            "interactivity": { "is_enabled": true },
            "org_deploy_enabled": false,
            "socket_mode_enabled": true,
            "token_rotation_enabled": false,
        },
    })
}

/// What the bot has to be allowed. Each with the call or event that needs it; without one of them Slack answers `missing_scope`.
pub const SCOPES: &[&str] = &[
    // app_mention
    "app_mentions:read",
    // assistant.threads.setStatus
    "assistant:write",
    // conversations.history and .replies after a gap, and the message events of each kind of conversation
    "channels:history",
    // chat.postMessage, chat.update, chat.postEphemeral
    "chat:write",
    // slash commands
    "commands",
    "groups:history",
    "im:history",
    "mpim:history",
    // reactions.add, where a status cannot be shown
    "reactions:write",
    // users.info
    "users:read",
];

const EVENTS: &[&str] = &[
    "app_mention",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_asks_for_socket_mode_and_names_every_command_once() {
        let manifest = manifest(
            "light",
            &[("approve", "Approve what waits", "[id]"), ("help", "What I can do", "")],
        );
        assert_eq!(manifest["settings"]["socket_mode_enabled"], true);
        assert_eq!(manifest["settings"]["interactivity"]["is_enabled"], true);
        assert_eq!(manifest["features"]["slash_commands"][0]["command"], "/approve");
        assert_eq!(manifest["features"]["slash_commands"][0]["usage_hint"], "[id]");
        assert!(manifest["features"]["slash_commands"][1]["usage_hint"].is_null());
        let mut scopes = SCOPES.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        assert_eq!(scopes, SCOPES, "in order, each once");
    }
}
