//! `firstlight mcp`: the tools over standard input and output. Standard output carries the protocol and nothing else.
//!
//! The state of the integrations is worked on in its file, whoever else does so: its lock makes that safe. Everything else is asked of
//! the running service; where there is none, what needs only the outbox is done here, with the state folder held meanwhile.

use std::process::ExitCode;
use std::sync::Arc;

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
use crate::boot;
use crate::mcp::{CallTool, McpServer};
use crate::settings::{Loaded, Settings, Sources};
use crate::tools::{CATALOGUE, ToolCaller, ToolDoors, ToolFault, ToolResult};

/// Calls that may wait.
const CALLS: usize = 64;

/// Calls that may be at work together; a notification that is tried for a minute holds nobody up.
const AT_WORK: usize = 32;

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
        // The service first: whoever holds the outbox should be the one that fills it.
        let path = format!("/api/integrations/tools/{name}");
        match Api::of(&self.loaded.settings)
            .post(&path, &Value::Object(args.clone()))
            .await
        {
            Ok(answer) => return Some(Ok(answer)),
            Err(Failure::Refused(words)) => return Some(Err(ToolFault::Refused(words))),
            Err(Failure::NoAnswer(NoAnswer::Failed(words))) => return Some(Err(ToolFault::Later(words))),
            Err(Failure::NoAnswer(NoAnswer::NotRunning(_))) => {}
        }
        let _alone = self.alone.lock().await;
        let done = boot::with_integrations(self.loaded, self.clock, async |tools: ToolDoors| {
            tools.call(&name, args, caller).await
        })
        .await;
        match done {
            Ok(result) => result,
            Err(error) => Some(Err(ToolFault::Later(format!("{error:#}")))),
        }
    }
}
