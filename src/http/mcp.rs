//! `/mcp`: the tools over streamable HTTP. Checks token, Host and Origin; knows no tool.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, ResponseError};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp_actix_web::transport::StreamableHttpService;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::auth::Caller;
use super::integrations::{BODY_CAP, caller_of};
use super::problem::Problem;
use super::proxies::client_address;
use super::server::HttpShared;
use crate::mcp::McpServer;
use crate::tools::ToolCaller;

/// The header that names a session.
const SESSION: &str = "mcp-session-id";

/// Sessions that may be open at a time. One takes some ten kilobytes, and is closed after five idle minutes or by its client.
const MOST_SESSIONS: usize = 1_000;

/// The service; one for all workers, so that a session is found whichever of them is asked.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) tools: StreamableHttpService<McpServer, LocalSessionManager>,
    pub(super) sessions: Arc<LocalSessionManager>,
}

/// A service for requests that name this address, this machine or the public URL, and come from no other web site. Its
/// sessions, and the streams on which clients listen, end with `until`.
pub(super) fn service(
    server: McpServer,
    address: SocketAddr,
    public_url: Option<&Url>,
    until: CancellationToken,
) -> Service {
    let (hosts, origins) = allowed(address, public_url);
    let sessions = Arc::new(LocalSessionManager::default());
    let tools = StreamableHttpService::builder()
        .service_factory(Arc::new(move || Ok(server.clone())))
        .session_manager(Arc::clone(&sessions))
        .max_request_body_bytes(BODY_CAP)
        .allowed_hosts(hosts)
        .allowed_origins(origins)
        .cancellation_token(until)
        .on_request_fn(pass_caller_on)
        .build();
    Service { tools, sessions }
}

/// Hosts and origins that are ours.
fn allowed(address: SocketAddr, public_url: Option<&Url>) -> (Vec<String>, Vec<String>) {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !address.ip().is_unspecified() && !address.ip().is_loopback() {
        hosts.push(address.ip().to_string());
    }
    let bracketed = |host: &String| {
        if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        }
    };
    let mut origins: Vec<String> = hosts
        .iter()
        .map(|host| format!("http://{}:{}", bracketed(host), address.port()))
        .collect();
    if let Some(url) = public_url
        && let Some(host) = url.host_str()
    {
        hosts.push(host.trim_matches(['[', ']']).to_owned());
        let port = url.port_or_known_default().unwrap_or(443);
        origins.push(format!("{}://{host}:{port}", url.scheme()));
    }
    (hosts, origins)
}

/// Notes who calls, after the guard has let them in, and begins no session too many.
pub(super) async fn introduce(
    shared: Data<HttpShared>,
    sessions: Data<LocalSessionManager>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let begins = request.method() == Method::POST && !request.headers().contains_key(SESSION);
    if begins && sessions.sessions.read().await.len() >= MOST_SESSIONS {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{MOST_SESSIONS} sessions are open, which is the most; close one, or try again in five minutes"),
        );
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    let from = client_address(request.request(), &shared.trusted);
    let caller = request
        .extensions()
        .get::<Caller>()
        .map(|caller| caller_of(caller, from));
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

/// Hands whoever was let in over to the server.
fn pass_caller_on(request: &actix_web::HttpRequest, extensions: &mut rmcp::model::Extensions) {
    if let Some(caller) = request.extensions().get::<ToolCaller>() {
        extensions.insert(caller.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_public_url_are_ours_and_nothing_else() {
        let url: Url = "https://bot.example.com/light".parse().expect("a URL");
        let (hosts, origins) = allowed("0.0.0.0:8644".parse().expect("an address"), Some(&url));
        assert_eq!(hosts, ["localhost", "127.0.0.1", "::1", "bot.example.com"]);
        assert_eq!(
            origins,
            [
                "http://localhost:8644",
                "http://127.0.0.1:8644",
                "http://[::1]:8644",
                "https://bot.example.com:443"
            ]
        );
        let (hosts, _) = allowed("192.0.2.7:80".parse().expect("an address"), None);
        assert!(hosts.contains(&"192.0.2.7".to_owned()));
    }
}
