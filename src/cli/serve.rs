//! `firstlight serve`: opens the house and keeps it open until it is told to close. Holds no rule of its own.

use std::process::ExitCode;

use actors::clock::SystemClock;

use super::{exit, report};
use crate::boot::{self, BootError, Called};
use crate::logging;
use crate::settings::{Loaded, Settings, Sources};

pub(super) fn run(sources: &Sources) -> ExitCode {
    let loaded = match Settings::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return report(&mistakes),
    };
    logging::start(loaded.settings.log.level.as_str(), loaded.settings.log.format);
    actix_rt::System::new().block_on(serve(&loaded))
}

async fn serve(loaded: &Loaded) -> ExitCode {
    let mut house = match boot::open(loaded, SystemClock::shared()).await {
        Ok(house) => house,
        Err(BootError::Configuration(mistakes)) => return report(&mistakes),
        Err(BootError::Runtime(error)) => {
            eprintln!("firstlight: {error:#}");
            return ExitCode::from(exit::RUNTIME);
        }
    };
    let address = house.address().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(address, version = env!("CARGO_PKG_VERSION"), "ready");
    let called = house.until_called().await;
    match &called {
        Ok(Called::Signal(name)) => tracing::info!(signal = name, "closing: nothing more is taken in"),
        Ok(Called::Bell(actor)) => {
            tracing::error!(actor, "an actor is gone; the process stops, and its next start goes on")
        }
        Err(error) => tracing::error!("{error:#}"),
    }
    house.stop().await;
    tracing::info!("closed");
    match called {
        Ok(Called::Signal(_)) => ExitCode::SUCCESS,
        Ok(Called::Bell(_)) | Err(_) => ExitCode::from(exit::RUNTIME),
    }
}
