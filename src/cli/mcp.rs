//! `firstlight mcp`: the tools over standard input and output. Standard output carries the protocol and nothing else.
//!
//! The state of the integrations is worked on in its file, whoever else does so: its lock makes that safe. Everything else is done here
//! while nobody has the state folder, which is held meanwhile; it is asked of the service that has it otherwise.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actors::clock::{SharedClock, SystemClock};
use actors::state::StateConfig;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rmcp::ServiceExt;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::api::{Api, Failure};
use super::client::NoAnswer;
use super::exit;
use crate::boot::{self, Taken};
use crate::mcp::{CallTool, McpServer};
use crate::settings::{Loaded, Settings, Sources};
use crate::tools::{CATALOGUE, ToolCaller, ToolDoors, ToolFault, ToolResult};

/// Calls that may wait.
const CALLS: usize = 64;

/// Calls that may be at work together; a notification that is tried for a minute holds nobody up.
const AT_WORK: usize = 32;

/// How often, and how long apart, the state folder is looked at while another process has it and serves nobody: one like this one
/// gives it back after its call.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// A call on its way to the arbiter, where clients and actors live.
struct Call {
    name: String,
    args: Map<String, Value>,
    caller: ToolCaller,
    answer: oneshot::Sender<Option<ToolResult>>,
}

pub(super) fn run(sources: &Sources) -> ExitCode {
    let loaded = match Settings::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return super::report(&mistakes),
    };
    crate::logging::start(loaded.settings.log.level.as_str(), loaded.settings.log.format);
    match actix_rt::System::new().block_on(serve(&loaded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firstlight: {error:#}");
            ExitCode::from(exit::RUNTIME)
        }
    }
}

async fn serve(loaded: &Loaded) -> anyhow::Result<()> {
    let clock = SystemClock::shared();
    let state = boot::state_alone(StateConfig::of(&loaded.settings.state_dir), &clock)?;
    let (calls, mut waiting) = mpsc::channel::<Call>(CALLS);
    let call: CallTool = Arc::new(move |name, args, caller| {
        let calls = calls.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let sent = calls
                .send(Call {
                    name,
                    args,
                    caller,
                    answer,
                })
                .await;
            let going = || Some(Err(ToolFault::Later("the process is going down".to_owned())));
            if sent.is_err() {
                return going();
            }
            answered.await.unwrap_or_else(|_| going())
        })
    });
    let (reader, writer) = rmcp::transport::io::stdio();
    let running = McpServer::local(call).serve((reader, writer)).await?;
    let mut ended = std::pin::pin!(running.waiting());
    let desk = Desk {
        loaded,
        clock: &clock,
        state: &state.tools,
        alone: Mutex::new(()),
    };
    let mut at_work = FuturesUnordered::new();
    loop {
        tokio::select! {
            // The client closed standard input: that is how such a server is told to end. What was at work has had its time to
            // answer then; what it recorded is on disk.
            end = &mut ended => {
                end?;
                break;
            }
            call = waiting.recv(), if at_work.len() < AT_WORK => {
                let Some(call) = call else { break };
                at_work.push(desk.answer(call));
            }
            Some(()) = at_work.next() => {}
        }
    }
    drop(at_work);
    state.finish().await;
    Ok(())
}

/// Where calls are carried out.
struct Desk<'a> {
    loaded: &'a Loaded,
    clock: &'a SharedClock,
    state: &'a ToolDoors,
    /// Held by the one call that has the state folder.
    alone: Mutex<()>,
}

impl Desk<'_> {
    async fn answer(&self, call: Call) {
        let result = self.carry_out(call.name, call.args, &call.caller).await;
        // Whoever cancelled the call hears nothing.
        let _ = call.answer.send(result);
    }

    async fn carry_out(&self, name: String, args: Map<String, Value>, caller: &ToolCaller) -> Option<ToolResult> {
        let tool = CATALOGUE.iter().find(|tool| tool.name == name)?;
        if !tool.needs_house {
            return self.state.call(&name, args, caller).await;
        }
        let mut held = String::new();
        for _ in 0..LOOKS {
            // Whoever has the folder has the outbox; asked for by an address alone, another service might be met.
            match self.alone(&name, args.clone(), caller).await {
                Ok(result) => return result,
                Err(error) if error.is::<Taken>() => held = error.to_string(),
                Err(error) => return Some(Err(ToolFault::Failed(format!("{error:#}")))),
            }
            match self.asked(&name, &args).await {
                Ok(answer) => return Some(Ok(answer)),
                Err(Failure::Refused(words)) => return Some(Err(ToolFault::Refused(words))),
                Err(Failure::Away(words) | Failure::NoAnswer(NoAnswer::Failed(words))) => {
                    return Some(Err(ToolFault::Later(words)));
                }
                Err(Failure::NoAnswer(none @ NoAnswer::NotRunning(_))) => held = format!("{held}; and {none}"),
            }
            self.clock.sleep(BETWEEN_LOOKS).await;
        }
        Some(Err(ToolFault::Later(held)))
    }

    /// Carries a call out with the state folder in hand.
    async fn alone(
        &self,
        name: &str,
        args: Map<String, Value>,
        caller: &ToolCaller,
    ) -> anyhow::Result<Option<ToolResult>> {
        let _alone = self.alone.lock().await;
        boot::with_integrations(self.loaded, self.clock, async |tools: ToolDoors| {
            tools.call(name, args, caller).await
        })
        .await
    }

    /// Asks the running service.
    async fn asked(&self, name: &str, args: &Map<String, Value>) -> Result<Value, Failure> {
        let path = format!("/api/integrations/tools/{name}");
        Api::of(&self.loaded.settings)
            .post(&path, &Value::Object(args.clone()))
            .await
    }
}
