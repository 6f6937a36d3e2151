//! The tools for agents, as a server of the Model Context Protocol. Turns calls into tool calls; knows no transport but its names.
//!
//! A tool that refuses or fails is a *result* that says so, because the agent can do something about it; only what is no call of a
//! tool of ours is an error of the protocol.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use rmcp_actix_web::transport::on_request_extensions;
use serde_json::{Map, Value, json};

use crate::tools::{CATALOGUE, Scope, ToolCaller, ToolDoors, ToolResult};

/// Calls a tool by its name; nothing, if there is none of this name.
pub type CallTool =
    Arc<dyn Fn(String, Map<String, Value>, ToolCaller) -> BoxFuture<'static, Option<ToolResult>> + Send + Sync>;

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct McpServer {
    call: CallTool,
    /// Who calls where no request says so.
    local: Option<ToolCaller>,
}

impl McpServer {
    /// A server over HTTP: who calls is found in the extensions of each request.
    #[must_use]
    pub fn over_http(doors: ToolDoors) -> Self {
        let call: CallTool = Arc::new(move |name, args, caller| {
            let doors = doors.clone();
            Box::pin(async move { doors.call(&name, args, &caller).await })
        });
        Self { call, local: None }
    }

    /// A server for one process on this machine, which may do everything: it can read the state folder anyway.
    #[must_use]
    pub fn local(call: CallTool) -> Self {
        let local = ToolCaller {
            who: "mcp".to_owned(),
            signs: "mcp".to_owned(),
            from: String::new(),
            scope: Scope::Admin,
        };
        Self {
            call,
            local: Some(local),
        }
    }

    fn caller(&self, context: &RequestContext<RoleServer>) -> Option<ToolCaller> {
        self.local.clone().or_else(|| {
            on_request_extensions(&context.extensions)
                .and_then(|extensions| extensions.get::<ToolCaller>())
                .cloned()
        })
    }
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("firstlight", env!("CARGO_PKG_VERSION"));
        info.server_info.title = Some("Firstlight".to_owned());
        info.instructions = Some(
            "Firstlight is the front door of repository automation. The integration_* tools manage webhooks, notifications and events; \
             the others show and steer workflow runs. Tools that change something need a token of scope operate."
                .to_owned(),
        );
        info
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(
            CATALOGUE.iter().map(described).collect(),
        ))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        CATALOGUE.iter().find(|tool| tool.name == name).map(described)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = self
            .caller(&context)
            .ok_or_else(|| ErrorData::invalid_request("the request carries no caller", None))?;
        let name = request.name.to_string();
        let args = request.arguments.unwrap_or_default();
        let result = (self.call)(name.clone(), args, caller)
            .await
            .ok_or_else(|| ErrorData::invalid_params(format!("unknown tool: {name}"), None))?;
        Ok(shown(result).into())
    }
}

fn described(tool: &crate::tools::Tool) -> Tool {
    let schema = match tool.input_schema() {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    let annotations = ToolAnnotations::with_title(tool.title)
        .read_only(tool.scope == Scope::Read)
        .destructive(tool.destructive)
        .idempotent(tool.idempotent)
        .open_world(tool.open_world);
    let answers = match tool.output_schema() {
        Value::Object(answers) if answers.get("type").is_some_and(|kind| kind == "object") => answers,
        list => {
            let under_result = [("result".to_owned(), list)].into_iter().collect::<Map<_, _>>();
            [
                ("type".to_owned(), json!("object")),
                ("properties".to_owned(), Value::Object(under_result)),
                ("required".to_owned(), json!(["result"])),
            ]
            .into_iter()
            .collect()
        }
    };
    Tool::new(tool.name, tool.description, Arc::new(schema))
        .with_raw_output_schema(Arc::new(answers))
        .with_title(tool.title)
        .with_annotations(annotations)
}

/// The answer as text and as structure. A structure has to be an object, so a list stands under `result`.
fn shown(result: ToolResult) -> CallToolResult {
    match result {
        Ok(answer) => {
            let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
            let mut shown = CallToolResult::success(vec![ContentBlock::text(text)]);
            shown.structured_content = Some(match answer {
                answer @ Value::Object(_) => answer,
                answer => json!({ "result": answer }),
            });
            shown
        }
        Err(fault) => CallToolResult::error(vec![ContentBlock::text(fault.to_string())]),
    }
}
