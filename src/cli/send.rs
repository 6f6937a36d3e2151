//! `firstlight send`: signs a realistic GitHub delivery and posts it. Holds no rule of the webhook.

use std::path::PathBuf;
use std::process::ExitCode;

use actors::clock::{Clock, SystemClock};
use actors::domain::Secret;
use serde_json::{Value, json};

use super::client::{client, exchange};
use super::{exit, report};
use crate::fixtures::{self, Details};
use crate::settings::{Settings, Sources};

/// `firstlight send`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SendArgs {
    /// Which delivery, such as issues.opened or issue_comment.created
    event: String,
    /// Repository, owner/name
    #[arg(long, default_value = "acme/site")]
    repo: String,
    /// Number of the issue or pull request
    #[arg(long, default_value_t = 7)]
    number: u64,
    /// Its title
    #[arg(long)]
    title: Option<String>,
    /// What was written
    #[arg(long)]
    body: Option<String>,
    /// Who did it
    #[arg(long)]
    sender: Option<String>,
    /// The author's standing: OWNER, MEMBER, COLLABORATOR, CONTRIBUTOR, NONE
    #[arg(long)]
    association: Option<String>,
    /// Send this payload instead; the event's name still gives X-GitHub-Event
    #[arg(long, value_name = "JSON")]
    file: Option<PathBuf>,
    /// X-GitHub-Delivery [default: a fresh id]
    #[arg(long, value_name = "ID")]
    delivery: Option<String>,
    /// Send it form-encoded, as hooks of content type "form" do
    #[arg(long)]
    form: bool,
    /// Address of the server [default: as in the settings]
    #[arg(long)]
    url: Option<String>,
    /// Webhook secret [default: the first one in the settings]
    #[arg(long, env = "FIRSTLIGHT_SEND_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &SendArgs, sources: &Sources) -> ExitCode {
    let loaded = match Settings::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return report(&mistakes),
    };
    let settings = loaded.settings;
    let (event, body) = match body(args) {
        Ok(made) => made,
        Err(words) => {
            eprintln!("firstlight: {words}");
            return ExitCode::from(exit::USAGE);
        }
    };
    let secret = args
        .secret
        .clone()
        .map(Secret::new)
        .or_else(|| settings.github.webhook_secret.first().cloned());
    let base = args.url.clone().unwrap_or_else(|| settings.client_url());
    let delivery = args
        .delivery
        .clone()
        .unwrap_or_else(|| SystemClock.fresh_id().to_string());
    actix_rt::System::new().block_on(send(args, event, &delivery, body, secret.as_ref(), &base))
}

/// The event's header and the bytes to send.
fn body(args: &SendArgs) -> Result<(String, Vec<u8>), String> {
    let mut details = Details {
        repo: args.repo.clone(),
        number: args.number,
        ..Details::default()
    };
    for (field, given) in [
        (&mut details.title, &args.title),
        (&mut details.body, &args.body),
        (&mut details.login, &args.sender),
        (&mut details.association, &args.association),
    ] {
        if let Some(given) = given {
            field.clone_from(given);
        }
    }
    let (event, json) = match &args.file {
        None => {
            let (event, payload) = fixtures::payload(&args.event, &details).map_err(|unknown| unknown.to_string())?;
            (event.to_owned(), payload.to_string())
        }
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            serde_json::from_str::<Value>(&text).map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
            (args.event.split('.').next().unwrap_or_default().to_owned(), text)
        }
    };
    if args.form {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &json)
            .finish();
        return Ok((event, form.into_bytes()));
    }
    Ok((event, json.into_bytes()))
}

async fn send(
    args: &SendArgs,
    event: String,
    delivery: &str,
    body: Vec<u8>,
    secret: Option<&Secret>,
    base: &str,
) -> ExitCode {
    let signature = secret.map(|secret| actors::github::sign(secret, &body));
    let content_type = if args.form {
        "application/x-www-form-urlencoded"
    } else {
        "application/json"
    };
    let mut headers = vec![
        ("content-type", content_type),
        ("user-agent", "GitHub-Hookshot/firstlight"),
        ("x-github-event", event.as_str()),
        ("x-github-delivery", delivery),
    ];
    if let Some(signature) = &signature {
        headers.push(("x-hub-signature-256", signature));
    }
    let size = body.len();
    match exchange(&client(), base, "/webhooks/github", &headers, Some(body)).await {
        Err(error) => {
            eprintln!("firstlight: {error}");
            ExitCode::from(exit::RUNTIME)
        }
        Ok(answer) => {
            if args.json {
                let said: Value = serde_json::from_str(&answer.text).unwrap_or(Value::String(answer.text));
                println!(
                    "{}",
                    json!({ "delivery": delivery, "status": answer.status, "answer": said })
                );
            } else {
                let signed = if signature.is_some() { "signed" } else { "unsigned" };
                println!("{} ({size} bytes, {signed}) as {delivery}", args.event);
                println!("{} {}", answer.status, answer.text);
            }
            if answer.status == 401 && !args.json {
                eprintln!("firstlight: the server has another webhook secret; give it with --secret");
            }
            if (200..300).contains(&answer.status) {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(exit::RUNTIME)
            }
        }
    }
}
