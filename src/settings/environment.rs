//! The environment as a layer: which variable sets which key, and how its text is read. Never asks the process.

/// How a variable's text becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The text as it is. Empty: the variable counts as unset.
    Text,
    /// A list, separated by commas. Empty: the variable counts as unset.
    List,
    /// A list, separated by commas. Empty: the list is empty, whatever lower layers say.
    ListOrNone,
    /// The address of `server.listen`.
    Host,
    /// The port of `server.listen`.
    Port,
}

/// A key with the variables that set it; the first one that is set wins.
pub(super) struct Variable {
    pub(super) names: &'static [&'static str],
    pub(super) key: &'static str,
    pub(super) reading: Reading,
}

const fn variable(names: &'static [&'static str], key: &'static str, reading: Reading) -> Variable {
    Variable { names, key, reading }
}

/// Every variable that is a setting. The names are those that operators know from Last Light.
pub(super) const VARIABLES: &[Variable] = &[
    variable(&["HOST"], "server.listen", Reading::Host),
    variable(&["WEBHOOK_PORT", "PORT"], "server.listen", Reading::Port),
    variable(&["PUBLIC_URL"], "server.public_url", Reading::Text),
    variable(&["STATE_DIR"], "state_dir", Reading::Text),
    variable(&["WEBHOOK_SECRET"], "github.webhook_secret", Reading::ListOrNone),
    variable(&["GITHUB_APP_ID"], "github.app_id", Reading::Text),
    variable(
        &["GITHUB_APP_PRIVATE_KEY_PATH"],
        "github.app_private_key_path",
        Reading::Text,
    ),
    variable(
        &["GITHUB_APP_INSTALLATION_ID"],
        "github.app_installation_id",
        Reading::Text,
    ),
    variable(&["GITHUB_TOKEN"], "github.token", Reading::Text),
    variable(&["GITHUB_API_URL"], "github.api_url", Reading::Text),
    variable(&["BOT_LOGIN"], "github.bot_login", Reading::Text),
    variable(&["BOT_NAME"], "github.bot_name", Reading::Text),
    variable(&["MANAGED_REPOS"], "managed_repos", Reading::List),
    variable(&["SLACK_BOT_TOKEN"], "slack.bot_token", Reading::Text),
    variable(&["SLACK_APP_TOKEN"], "slack.app_token", Reading::Text),
    variable(&["SLACK_API_URL"], "slack.api_url", Reading::Text),
    variable(&["SLACK_ALLOWED_USERS"], "slack.allowed_users", Reading::List),
    variable(&["SLACK_DELIVERY_CHANNEL"], "slack.delivery_channel", Reading::Text),
    variable(&["ADMIN_PASSWORD"], "admin.password", Reading::Text),
    variable(&["ADMIN_SECRET"], "admin.secret", Reading::Text),
    variable(&["SLACK_OAUTH_CLIENT_ID"], "admin.slack_oauth_client_id", Reading::Text),
    variable(
        &["SLACK_OAUTH_CLIENT_SECRET"],
        "admin.slack_oauth_client_secret",
        Reading::Text,
    ),
    variable(
        &["SLACK_OAUTH_REDIRECT_URI"],
        "admin.slack_oauth_redirect_uri",
        Reading::Text,
    ),
    variable(
        &["SLACK_ALLOWED_WORKSPACE"],
        "admin.slack_allowed_workspace",
        Reading::Text,
    ),
    variable(
        &["GITHUB_OAUTH_CLIENT_ID"],
        "admin.github_oauth_client_id",
        Reading::Text,
    ),
    variable(
        &["GITHUB_OAUTH_CLIENT_SECRET"],
        "admin.github_oauth_client_secret",
        Reading::Text,
    ),
    variable(
        &["GITHUB_OAUTH_REDIRECT_URI"],
        "admin.github_oauth_redirect_uri",
        Reading::Text,
    ),
    variable(&["GITHUB_ALLOWED_ORG"], "admin.github_allowed_org", Reading::Text),
    variable(&["APPROVAL_GATES"], "approvals.gates", Reading::List),
    variable(&["SMTP_URL"], "smtp_url", Reading::Text),
    variable(&["OTEL_SERVICE_NAME"], "telemetry.service_name", Reading::Text),
    variable(
        &["OTEL_EXPORTER_OTLP_ENDPOINT"],
        "telemetry.otlp.endpoint",
        Reading::Text,
    ),
    variable(&["OTEL_EXPORTER_OTLP_HEADERS"], "telemetry.otlp.headers", Reading::List),
    variable(
        &["OTEL_TRACES_SAMPLER_ARG"],
        "telemetry.otlp.sample_ratio",
        Reading::Text,
    ),
    variable(&["FIRSTLIGHT_URL", "LASTLIGHT_URL"], "client.url", Reading::Text),
    variable(&["FIRSTLIGHT_TOKEN", "LASTLIGHT_TOKEN"], "client.token", Reading::Text),
];

/// Names the settings file; `--config` wins over it.
pub(super) const CONFIG: &str = "FIRSTLIGHT_CONFIG";

/// Every variable that settings are read from, with the key it sets; `FIRSTLIGHT_CONFIG` names the file and sets none.
pub fn names() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    VARIABLES
        .iter()
        .flat_map(|variable| variable.names.iter().map(|name| (*name, Some(variable.key))))
        .chain([(CONFIG, None)])
}

/// The items of a list that is separated by commas; what is empty is no item.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
