//! The page to sign in. Checks no password; the API does.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse, Responder};
use maud::html;
use serde::Deserialize;

use super::events::path_part;
use super::frame::{Sheet, sunrise, viewer};
use super::parts;
use crate::http::server::HttpShared;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    next: Option<String>,
    error: Option<String>,
}

/// `?next&error`: where to go on afterwards (a path of ours), and why signing in elsewhere came to nothing.
pub(crate) async fn show(request: HttpRequest, asked: Query<Asked>, shared: Data<HttpShared>) -> HttpResponse {
    let next = local(asked.next.as_deref());
    if viewer(&request, &shared).is_some() {
        let base = shared.base();
        return HttpResponse::SeeOther()
            .insert_header(("location", format!("{base}{next}")))
            .finish();
    }
    let ways = &shared.sign_in;
    let elsewhere: Vec<(&str, &str)> = [
        ("GitHub", "/admin/api/oauth/github/authorize", ways.github.is_some()),
        ("Slack", "/admin/api/oauth/slack/authorize", ways.slack.is_some()),
    ]
    .into_iter()
    .filter(|(.., offered)| *offered)
    .map(|(name, path, _)| (name, path))
    .collect();
    // Whoever wanted to go somewhere is brought there by every way.
    let on = match next {
        "/admin/" => String::new(),
        next => format!("?next={}", path_part(next)),
    };
    let sheet = Sheet::outside(&request, &shared, "Sign in", |frame| {
        html! {
            div.sign-in {
                p.brand { (sunrise()) span { "Firstlight" } }
                h1 { "Sign in" }
                @if let Some(code) = asked.error.as_deref() {
                    (parts::note(parts::Tone::Bad, html! { p { (why(code)) } }))
                }
                form.form data-sign-in=(frame.url(next)) data-api=(frame.url("/admin/api/login")) {
                    input type="hidden" name="session" value="true" data-as="flag";
                    (parts::field("password", "Password", "", html! {
                        input #password type="password" name="password" autocomplete="current-password" required autofocus;
                    }))
                    button.primary type="submit" { "Sign in" }
                    p.trouble role="alert" {}
                }
                @if !elsewhere.is_empty() {
                    p.or { span { "or" } }
                    div.buttons {
                        @for (name, path) in &elsewhere { a.button href={ (frame.url(path)) (on) } { "Sign in with " (name) } }
                    }
                }
                noscript { p.quiet { "Signing in needs JavaScript; the script is part of this service and loads nothing from elsewhere." } }
                p.quiet {
                    "The password is in " code { "secrets/admin_password" } " of the state folder, unless "
                    code { "ADMIN_PASSWORD" } " is set."
                }
            }
        }
    });
    sheet.respond_to(&request)
}

/// A path of the dashboard; anything else could lead to somebody else's page.
fn local(next: Option<&str>) -> &str {
    let ours = |next: &&str| {
        next.starts_with("/admin/") && !next.starts_with("/admin/login") && !next.contains(['\\', '\r', '\n'])
    };
    next.filter(ours).unwrap_or("/admin/")
}

/// Words for what came back from signing in elsewhere.
fn why(code: &str) -> &'static str {
    match code {
        "github_org" => "That account is not in the organisation whose members may sign in here.",
        "slack_workspace" => "That account is not in the workspace whose members may sign in here.",
        "oauth_state" => "That took too long, or began in another window. Try again.",
        "oauth_code" => "Signing in was called off.",
        "github_userinfo" => "GitHub did not say who you are. Try again in a moment.",
        "slack_userinfo" => "Slack did not say who you are. Try again in a moment.",
        _ => "Signing in did not work. Try again, or use the password.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_dashboard_are_gone_on_to() {
        for (next, expected) in [
            (None, "/admin/"),
            (Some("/admin/runs?status=failed"), "/admin/runs?status=failed"),
            (Some("//evil.example/admin/"), "/admin/"),
            (Some("https://evil.example/"), "/admin/"),
            (Some("/admin/\\evil.example"), "/admin/"),
            (Some("/admin/login?next=/admin/login"), "/admin/"),
            (Some("/webhooks/github"), "/admin/"),
        ] {
            assert_eq!(local(next), expected, "{next:?}");
        }
    }
}
