//! The mail server: reached, greeted, signed in at, and left without a mail. Judges what it answered.

use actors::outbound::{MailServer, Unwelcome};

use super::PATIENCE;
use super::report::Check;
use crate::settings::Settings;

const NAME: &str = "mail";
const SETTING: &str = "SMTP_URL (smtp_url)";

pub(super) async fn examine(settings: &Settings) -> Vec<Check> {
    let Some(url) = &settings.smtp_url else {
        return vec![Check::skipped(NAME, "no mail server is set", Some(SETTING))];
    };
    let greeted = match MailServer::parse(url) {
        Ok(server) => server.greet(PATIENCE).await,
        Err(problem) => {
            return vec![Check::failed(
                NAME,
                format!("smtp_url {problem}"),
                "it is no address",
                SETTING,
            )];
        }
    };
    vec![match greeted {
        Ok(found) => Check::ok(NAME, found),
        Err(unwelcome) => {
            let (cause, set) = match &unwelcome {
                Unwelcome::Unreachable { .. } => (
                    "host or port are wrong, or a firewall is between",
                    "host and port in SMTP_URL (smtp_url)",
                ),
                Unwelcome::Unprotected { .. } => (
                    "the server does not offer the protection that the scheme asks for, or its certificate is not for this host",
                    "the scheme of SMTP_URL (smtp_url): smtps:// or smtp+starttls://",
                ),
                Unwelcome::Account { .. } => (
                    "user or password are wrong, or the server wants no password over this connection",
                    "user and password in SMTP_URL (smtp_url), percent-encoded",
                ),
                Unwelcome::Refused { .. } => ("the server does not take connections from here", SETTING),
            };
            Check::failed(NAME, unwelcome.to_string(), cause, set)
        }
    }]
}
