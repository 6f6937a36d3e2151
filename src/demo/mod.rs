//! A whole evening in one command: stand-ins, one signed delivery, the story told line by line. Used by nothing else.

pub mod github;
mod story;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use actors::clock::{SharedClock, SystemClock};
use actors::domain::Secret;
use actors::github::sign;
use anyhow::{Context, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use self::github::{Comment, GithubStandIn};
use self::story::{Teller, tell_further, tell_recorded, tell_reply, tell_routed, tell_run};
use crate::boot::{self, BootError, Called, Running};
use crate::cli::client::{client, exchange};
use crate::cli::{exit, report};
use crate::fixtures::{self, Details};
use crate::logging;
use crate::settings::{Flags, Settings, Sources};

/// The port of every other firstlight; the demo takes it where it is free.
const USUAL_PORT: u16 = 8644;

/// How long the story may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before the API is asked again.
const PAUSE: Duration = Duration::from_millis(20);

const REPO: &str = "acme/site";

/// `firstlight demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// End after the story instead of serving on
    #[arg(long)]
    once: bool,
    /// Port to listen on [default: 8644, or any free one]
    #[arg(long)]
    port: Option<u16>,
}

/// Tells the story.
#[must_use]
pub fn run(args: &DemoArgs) -> ExitCode {
    actix_rt::System::new().block_on(async {
        match evening(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(Interrupted::ByPerson) => {
                println!("\nStopped; nothing is left behind.");
                ExitCode::SUCCESS
            }
            Err(Interrupted::Mistakes(mistakes)) => report(&mistakes),
            Err(Interrupted::Failed(error)) => {
                eprintln!("firstlight: {error:#}");
                ExitCode::from(exit::RUNTIME)
            }
        }
    })
}

enum Interrupted {
    ByPerson,
    Mistakes(Vec<actors::domain::Mistake>),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Interrupted {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

async fn evening(args: &DemoArgs) -> Result<(), Interrupted> {
    let clock = SystemClock::shared();
    let folder = tempfile::Builder::new()
        .prefix("firstlight-demo-")
        .tempdir()
        .context("cannot make a folder")?;
    let log = folder.path().join("firstlight.log");
    logging::start_in_file(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let address = address(args.port)?;
    let github = GithubStandIn::start(clock.clone()).context("cannot start the stand-in of GitHub")?;
    let secret = Secret::new(clock.fresh_id().to_string());
    // So that the reader can sign deliveries, too; it goes with the folder.
    std::fs::write(folder.path().join("webhook_secret"), secret.expose()).context("cannot write the webhook secret")?;
    let mut house = open(folder.path(), address, &github, &secret, clock.clone()).await?;

    let told = tokio::select! {
        told = tell(&house, folder.path(), &github, &secret, &clock) => told,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot listen for Ctrl-C")?;
            close(house, github).await;
            return Err(Interrupted::ByPerson);
        }
    };
    if let Ok(told) = &told
        && !args.once
    {
        tell_further(&told.base, folder.path(), &told.delivery, &told.run);
        println!("\nServing on. Press Ctrl-C to stop; the folder goes with it.");
        if let Called::Bell(actor) = house.until_called().await? {
            return Err(anyhow!("the actor \"{actor}\" is gone; {} says more", log.display()).into());
        }
        println!("\nStopping …");
    }
    close(house, github).await;
    told?;
    Ok(())
}

async fn close(house: Running, github: GithubStandIn) {
    house.stop().await;
    github.stop().await;
}

fn address(port: Option<u16>) -> anyhow::Result<SocketAddr> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = |port| TcpListener::bind(at(port)).is_ok();
    match port {
        Some(port) if free(port) => Ok(at(port)),
        Some(port) => bail!("port {port} is taken; choose another with --port, or leave it out"),
        None if free(USUAL_PORT) => Ok(at(USUAL_PORT)),
        None => Ok(at(0)),
    }
}

/// The real service, on a fresh folder, with the stand-in where GitHub would be.
async fn open(
    folder: &Path,
    address: SocketAddr,
    github: &GithubStandIn,
    secret: &Secret,
    clock: SharedClock,
) -> Result<Running, Interrupted> {
    let token = github.token();
    let env = [
        ("WEBHOOK_SECRET", secret.expose()),
        ("MANAGED_REPOS", REPO),
        ("GITHUB_API_URL", github.url()),
        ("GITHUB_TOKEN", token.expose()),
    ];
    let sources = Sources {
        flags: Flags {
            listen: Some(address.to_string()),
            state_dir: Some(folder.join("state")),
            ..Flags::default()
        },
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        cwd: folder.to_owned(),
    };
    let loaded = Settings::load(&sources).map_err(Interrupted::Mistakes)?;
    boot::open(&loaded, clock).await.map_err(|error| match error {
        BootError::Configuration(mistakes) => Interrupted::Mistakes(mistakes),
        BootError::Runtime(error) => Interrupted::Failed(error),
    })
}

/// What the story was about, for whoever looks further.
struct Told {
    base: String,
    delivery: String,
    run: String,
}

/// Sends one delivery and tells what the service and the stand-in say of it. Nothing is told that was not asked for.
async fn tell(
    house: &Running,
    folder: &Path,
    github: &GithubStandIn,
    secret: &Secret,
    clock: &SharedClock,
) -> anyhow::Result<Told> {
    let address = house.address().context("the server is not open")?;
    let base = format!("http://{address}");
    let api = Api::login(&base, folder).await?;
    let details = Details::default();
    let number = github.opens_issue(REPO, &details.title, &details.body);
    let details = Details { number, ..details };
    let (event, payload) = fixtures::payload("issues.opened", &details)?;
    let body = payload.to_string().into_bytes();

    println!(
        "One evening at Firstlight: {} opens {REPO}#{number}, \"{}\".\n",
        details.login, details.title
    );
    let delivery = clock.fresh_id().to_string();
    let teller = Teller::from(clock.now());
    teller.line(
        clock.now(),
        "sent",
        &format!(
            "{event}.opened, {} bytes, signed with HMAC-SHA256, as {delivery}",
            body.len()
        ),
    );
    let signature = sign(secret, &body);
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", event),
        ("x-github-delivery", delivery.as_str()),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let answer = exchange(&api.client, &base, "/webhooks/github", &headers, Some(body)).await?;
    ensure!(
        answer.status == 202,
        "the delivery was not accepted: {} {}",
        answer.status,
        answer.text
    );
    let accepted_at = clock.now();

    let spinner = spinner("waiting for the reply at GitHub");
    let comment = tokio::time::timeout(PATIENCE, github.comment_number(1)).await;
    spinner.finish_and_clear();
    let event = api.get(&format!("/admin/api/events/{delivery}")).await?["event"].clone();
    tell_recorded(&teller, &event)?;
    teller.line(
        accepted_at,
        "accepted",
        &format!(
            "{} {}: verified, and on disk before this answer",
            answer.status, answer.text
        ),
    );
    tell_routed(&teller, &event)?;
    let run_id = event["runId"]
        .as_str()
        .with_context(|| format!("the event started no run: {}", event["outcome"]))?;
    let comment: Comment = comment.map_err(|_| {
        anyhow!(
            "no comment came within 30 s; see {}",
            folder.join("firstlight.log").display()
        )
    })?;
    let run = api.finished_run(run_id, clock).await?;
    tell_run(&teller, &run)?;
    tell_reply(&teller, github, number, &comment);
    Ok(Told {
        base,
        delivery,
        run: run_id.to_owned(),
    })
}

/// The service's own API, as an operator uses it.
struct Api {
    client: awc::Client,
    base: String,
    token: String,
}

impl Api {
    async fn login(base: &str, folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("state/secrets/admin_password");
        let password = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let client = client();
        let wish = serde_json::json!({ "password": password.trim() })
            .to_string()
            .into_bytes();
        let answer = exchange(
            &client,
            base,
            "/admin/api/login",
            &[("content-type", "application/json")],
            Some(wish),
        )
        .await?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer.text).context("the login was not answered with JSON")?;
        let token = answer["token"].as_str().context("the login was refused")?.to_owned();
        Ok(Self {
            client,
            base: base.to_owned(),
            token,
        })
    }

    async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let bearer = format!("Bearer {}", self.token);
        let answer = exchange(&self.client, &self.base, path, &[("authorization", &bearer)], None).await?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text);
        serde_json::from_str(&answer.text).with_context(|| format!("{path} was not answered with JSON"))
    }

    /// The run, once it is over and what it said has arrived.
    async fn finished_run(&self, id: &str, clock: &SharedClock) -> anyhow::Result<serde_json::Value> {
        let until = clock.now() + PATIENCE;
        loop {
            let run = self.get(&format!("/admin/api/workflow-runs/{id}")).await?["workflowRun"].clone();
            let open = run["effects"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|effect| matches!(effect["state"].as_str(), Some("pending" | "in_flight")));
            if !run["endedAt"].is_null() && !open {
                return Ok(run);
            }
            ensure!(clock.now() < until, "the run did not end within 30 s: {run}");
            clock.sleep(PAUSE).await;
        }
    }
}

/// Moves on a terminal while something is awaited; silent elsewhere.
fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        spinner.set_style(style);
    }
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(80));
    spinner
}
