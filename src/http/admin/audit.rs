//! A line of the audit log for what an operator did through the API. Decides nothing.

use actix_web::HttpRequest;
use actors::messages::store::RecordAudit;

use crate::http::auth::Caller;
use crate::http::proxies::client_address;
use crate::http::server::HttpShared;

/// Who did what, from where; `refused` says why it came to nothing.
pub(super) fn line(
    request: &HttpRequest,
    shared: &HttpShared,
    caller: &Caller,
    action: &str,
    target: &str,
    refused: Option<&str>,
) -> RecordAudit {
    RecordAudit {
        who: caller.who.clone(),
        from: client_address(request, &shared.trusted)
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        action: action.to_owned(),
        target: target.to_owned(),
        result: refused.unwrap_or("ok").to_owned(),
        at: shared.clock.now(),
    }
}
