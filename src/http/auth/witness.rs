//! A line of the audit log for every change that was asked for, refused ones too. Stands around the guarded routes; decides nothing.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use actors::messages::store::RecordAudit;

use super::sampler::Sampler;
use super::{Caller, MCP};
use crate::http::proxies::client_address;
use crate::http::server::{HttpDoors, HttpShared};

/// Characters of a target and of a result.
const TEXT_LIMIT: usize = 300;

/// Lines in a minute about people whom nobody knows.
const STRANGERS: u32 = 20;

/// Lines in a minute about what people whom we know were refused.
const REFUSALS: u32 = 600;

/// What keeps floods from filling the disk.
pub(super) struct Floods {
    strangers: Mutex<Sampler>,
    refusals: Mutex<Sampler>,
}

impl Default for Floods {
    fn default() -> Self {
        Self {
            strangers: Mutex::new(Sampler::of(STRANGERS)),
            refusals: Mutex::new(Sampler::of(REFUSALS)),
        }
    }
}

/// What a request is about, where its route alone does not say it.
struct About {
    action: &'static str,
    target: String,
}

/// The handler has written a line of its own.
struct Told;

/// Why the guard let nobody pass.
struct Refusal(String);

/// Says what the line about this request names.
pub(crate) fn about(request: &HttpRequest, action: &'static str, target: impl Into<String>) {
    let target = target.into();
    request.extensions_mut().insert(About { action, target });
}

/// Says that this request needs no other line.
pub(crate) fn told(request: &HttpRequest) {
    request.extensions_mut().insert(Told);
}

/// Says in words why a request was refused.
pub(super) fn refused(request: &HttpRequest, words: &str) {
    request.extensions_mut().insert(Refusal(words.to_owned()));
}

/// Writes a line about every request that is no look, unless its handler has.
pub(crate) async fn witness(
    shared: Data<HttpShared>,
    doors: Data<HttpDoors>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let looks = request.method().is_safe();
    let response = next.call(request).await?;
    if !looks && let Some(line) = line(response.request(), response.response(), &shared) {
        write(line, &doors).await;
    }
    Ok(response)
}

/// The line about somebody who signed in, or was not let in.
pub(super) async fn sign_in(
    doors: &HttpDoors,
    shared: &HttpShared,
    from: Option<IpAddr>,
    who: &str,
    by: &str,
    result: &str,
) {
    let line = RecordAudit {
        who: who.to_owned(),
        from: from.map(|ip| ip.to_string()).unwrap_or_default(),
        action: "login".into(),
        target: by.to_owned(),
        result: result.to_owned(),
        at: shared.clock.now(),
    };
    let line = if result == "ok" {
        Some(line)
    } else {
        sampled(&shared.admin.floods.strangers, line)
    };
    if let Some(line) = line {
        write(line, doors).await;
    }
}

fn line(request: &HttpRequest, response: &HttpResponse<impl Sized>, shared: &HttpShared) -> Option<RecordAudit> {
    let extensions = request.extensions();
    let refusal = extensions.get::<Refusal>();
    // Each tool writes its own line.
    let is_tools = request.path().trim_end_matches('/') == MCP && refusal.is_none();
    if is_tools || extensions.get::<Told>().is_some() {
        return None;
    }
    let caller = extensions.get::<Caller>();
    let (action, target) = match extensions.get::<About>() {
        Some(about) => (about.action.to_owned(), about.target.clone()),
        None => {
            let route = request.match_pattern();
            let named: Vec<&str> = request.match_info().iter().map(|(_, value)| value).collect();
            let target = match route {
                Some(_) => named.join(" "),
                None => request.path().to_owned(),
            };
            (
                format!("{} {}", request.method(), route.unwrap_or_default())
                    .trim_end()
                    .to_owned(),
                target,
            )
        }
    };
    let status = response.status();
    let result = match (status.is_success(), refusal, response.error()) {
        (true, ..) => "ok".to_owned(),
        (false, Some(Refusal(words)), _) => words.clone(),
        (false, None, Some(error)) => error.to_string(),
        (false, None, None) => status.canonical_reason().unwrap_or(status.as_str()).to_lowercase(),
    };
    let line = RecordAudit {
        who: caller.map_or_else(|| "-".to_owned(), Caller::signs),
        from: client_address(request, &shared.trusted)
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        action: plain(&action),
        target: plain(&target),
        result: plain(&result),
        at: shared.clock.now(),
    };
    match (caller, status.is_success()) {
        (Some(_), true) => Some(line),
        (Some(_), false) => sampled(&shared.admin.floods.refusals, line),
        (None, _) => sampled(&shared.admin.floods.strangers, line),
    }
}

fn sampled(flood: &Mutex<Sampler>, mut line: RecordAudit) -> Option<RecordAudit> {
    let held_back = flood.lock().unwrap_or_else(PoisonError::into_inner).admit(line.at)?;
    if held_back > 0 {
        line.result = format!("{} (and {held_back} more like it before)", line.result);
    }
    Some(line)
}

/// One line of no more than [`TEXT_LIMIT`] characters, whatever somebody sent.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).take(TEXT_LIMIT).collect()
}

async fn write(line: RecordAudit, doors: &HttpDoors) {
    // What was done is not undone because its line could not be written; the store's own trouble is told elsewhere.
    if let Ok(Err(error)) = doors.audit.send(line).await {
        tracing::warn!(%error, "a line of the audit log could not be written");
    }
}
