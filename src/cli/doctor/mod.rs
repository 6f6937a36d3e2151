//! `firstlight doctor`: examines the whole set-up and names what is wrong and the one thing to change. Asks everybody, changes nothing.
//!
//! Each file examines one neighbourhood and judges what it found; nothing here starts, writes or repairs. With or without a running
//! service, settings or a network: what cannot be looked at is skipped, and says what it would need.

mod github;
mod house;
mod mail;
mod report;
mod service;
mod slack;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use actors::clock::{SharedClock, SystemClock};
use clap::Args;
use futures_util::future::{Either, select};

use self::report::{Check, Verdict, as_json, as_text, count};
use super::exit;
use crate::settings::{Settings, Sources};

/// How long one question to somebody else may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// `firstlight doctor`.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct DoctorArgs {
    /// Ask GitHub to deliver once more: the latest ping if there is one, else the latest delivery
    #[arg(long)]
    ping: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: DoctorArgs, sources: &Sources) -> ExitCode {
    let checks = actix_rt::System::new().block_on(examine(args, sources));
    let text = match args.json {
        true => format!("{:#}\n", as_json(&checks)),
        false => {
            let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            as_text(&checks, colours)
        }
    };
    // `firstlight doctor | head` has what it wanted.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    let configuration = |check: &&Check| house::OF_CONFIGURATION.contains(&check.name);
    let failed = |check: &&Check| check.verdict == Verdict::Failed;
    if checks.iter().filter(failed).any(|check| configuration(&check)) {
        ExitCode::from(exit::CONFIGURATION)
    } else if count(&checks, Verdict::Failed) > 0 {
        ExitCode::from(exit::RUNTIME)
    } else {
        ExitCode::SUCCESS
    }
}

async fn examine(args: DoctorArgs, sources: &Sources) -> Vec<Check> {
    let loaded = match Settings::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return house::broken_settings(&mistakes),
    };
    let clock = SystemClock::shared();
    let settings = &loaded.settings;
    let mut checks = house::settings(&loaded, sources);
    let (workflows, catalog) = house::workflows(&loaded);
    checks.extend(workflows);
    // The disk has its own pace; meanwhile, everybody else is asked.
    let at_home = {
        let settings = settings.clone();
        actix_rt::task::spawn_blocking(move || house::state(&settings))
    };
    let (github, slack, mail, service) = futures_util::join!(
        github::examine(settings, catalog.as_ref(), args.ping, &clock),
        slack::examine(settings, &clock),
        mail::examine(settings),
        service::examine(&loaded, &clock),
    );
    checks.extend(at_home.await.unwrap_or_else(|_| {
        vec![Check::failed(
            "state folder",
            "the examination broke off",
            "this is a fault of Firstlight's own",
            "report it",
        )]
    }));
    checks.extend([service, github, slack, mail].into_iter().flatten());
    checks
}

/// The answer, if it comes in time.
async fn in_time<T>(clock: &SharedClock, work: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(work), clock.sleep(PATIENCE)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// "1 webhook", "2 webhooks".
fn many(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
