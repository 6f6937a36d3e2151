//! What happens to every request and every answer: the base path comes off, and what browsers may do with it goes on. Knows no route
//! but those that need a policy of their own.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Uri;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::Next;
use actix_web::web::Data;
use url::Url;

use super::server::HttpShared;

/// Pages for people: nothing but our own files, no script or style in the page, in nobody's frame.
const PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The page that shows the API sets styles while it runs; scripts are its own files alone.
const DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Everything else is data: a browser that is led to take it for a page shows nothing.
const DATA: &str = "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Policies of what lies at a path or below it; the first that fits counts.
const POLICIES: &[(&str, &str)] = &[("/api/docs", DOCS), ("/admin/api", DATA), ("/admin", PAGES), ("", DATA)];

/// What pages may not ask a browser for.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// For a year browsers come by TLS alone. Of this host only: what else is on the domain is not ours to decide.
const TLS_ALONE: &str = "max-age=31536000";

/// Stands around all routes.
pub(super) async fn pass(
    shared: Data<HttpShared>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    shared.trusted.look_for_strangers(request.request());
    if let Some(inner) = below(shared.base(), request.uri()) {
        request.match_info_mut().get_mut().update(&inner);
        request.head_mut().uri = inner;
    }
    let policy = policy(request.path());
    match next.call(request).await {
        Ok(mut response) => {
            dress(response.headers_mut(), policy, shared.public_url.as_ref());
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            dress(response.headers_mut(), policy, shared.public_url.as_ref());
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// The address without the base path, if it has one. A proxy may also have taken it off already.
fn below(base: &str, uri: &Uri) -> Option<Uri> {
    if base.is_empty() {
        return None;
    }
    let rest = uri.path_and_query()?.as_str().strip_prefix(base)?;
    let rest = match rest.as_bytes().first() {
        None => "/".to_owned(),
        Some(b'/') => rest.to_owned(),
        Some(b'?') => format!("/{rest}"),
        // Another path that only begins alike.
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

fn policy(path: &str) -> &'static str {
    let lies_at = |base: &str| {
        path.strip_prefix(base)
            .is_some_and(|rest| base.is_empty() || rest.is_empty() || rest.starts_with('/'))
    };
    POLICIES
        .iter()
        .find(|(base, _)| lies_at(base))
        .map_or(DATA, |(_, policy)| policy)
}

/// Puts on what is not there yet.
fn dress(headers: &mut HeaderMap, policy: &'static str, public: Option<&Url>) {
    let tls = public.is_some_and(|url| url.scheme() == "https");
    let all = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, policy),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // What was true a moment ago, and for whoever asked.
        (CACHE_CONTROL, "no-store"),
    ];
    let tls = tls.then_some((STRICT_TRANSPORT_SECURITY, TLS_ALONE));
    for (name, value) in all.into_iter().chain(tls) {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_comes_off_where_it_is() {
        let table = [
            ("/light", "/light/health", Some("/health")),
            ("/light", "/light", Some("/")),
            ("/light", "/light?x=1", Some("/?x=1")),
            ("/light", "/light/", Some("/")),
            ("/light", "/light/a%2Fb/%20?q=/light", Some("/a%2Fb/%20?q=/light")),
            ("/light", "/lights", None),
            ("/light", "/health", None),
            ("/a/b", "/a/b/c", Some("/c")),
            ("/a/b", "/a", None),
            ("", "/health", None),
        ];
        for (base, asked, expected) in table {
            let inner = below(base, &asked.parse().expect("a URI"));
            assert_eq!(inner.map(|uri| uri.to_string()).as_deref(), expected, "{base} {asked}");
        }
    }

    #[test]
    fn pages_the_docs_and_data_have_policies_of_their_own() {
        let table = [
            ("/admin", PAGES),
            ("/admin/", PAGES),
            ("/admin/runs/7", PAGES),
            ("/admin/api/runs", DATA),
            ("/administrator", DATA),
            ("/api/docs/index.html", DOCS),
            ("/api/docsx", DATA),
            ("/api/run", DATA),
            ("/", DATA),
            ("", DATA),
        ];
        for (path, expected) in table {
            assert_eq!(policy(path), expected, "{path}");
        }
    }

    #[test]
    fn what_an_answer_says_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        dress(&mut headers, DATA, None);
        assert_eq!(headers.get(CACHE_CONTROL).expect("there"), "max-age=60");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        let public = "https://bot.example.com".parse().expect("a URL");
        dress(&mut headers, DATA, Some(&public));
        assert!(headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
