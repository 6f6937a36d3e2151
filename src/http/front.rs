//! What lies around every route: the base path of the public URL, and the headers that browsers are told. Knows no route.

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::uri::{PathAndQuery, Uri};
use actix_web::middleware::DefaultHeaders;
use url::Url;

/// Two years, as browsers' lists ask for.
const ONLY_HTTPS: &str = "max-age=63072000";

/// What every answer says unless its handler says otherwise. That there is https only where the proxy brings it.
pub(super) fn headers(public_url: Option<&Url>) -> DefaultHeaders {
    let always = DefaultHeaders::new()
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((X_FRAME_OPTIONS, "DENY"))
        .add((REFERRER_POLICY, "same-origin"))
        .add((
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ))
        // What was true for one caller a moment ago.
        .add((CACHE_CONTROL, "no-store"));
    match public_url.is_some_and(|url| url.scheme() == "https") {
        true => always.add((STRICT_TRANSPORT_SECURITY, ONLY_HTTPS)),
        false => always,
    }
}

/// The base path of the public URL without its last slash; nothing at the root of a host.
pub(super) fn base(public_url: Option<&Url>) -> String {
    public_url.map_or_else(String::new, |url| url.path().trim_end_matches('/').to_owned())
}

/// Takes the base path off an address, so that routes are the same whether a proxy hands it on or strips it.
pub(super) fn call<S>(base: &str, mut request: ServiceRequest, service: &S) -> S::Future
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = actix_web::Error>,
{
    if let Some(uri) = without(base, request.uri()) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    service.call(request)
}

/// The same address below the base path; nothing where it is not below it.
fn without(base: &str, uri: &Uri) -> Option<Uri> {
    if base.is_empty() {
        return None;
    }
    let rest = uri.path().strip_prefix(base)?;
    let path = match rest {
        "" => "/",
        rest if rest.starts_with('/') => rest,
        // A longer first part is somebody else's.
        _ => return None,
    };
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(whole.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_taken_off_where_it_stands_and_nowhere_else() {
        for (base, asked, expected) in [
            ("", "/admin/", None),
            ("/lights", "/lights/admin/?a=b", Some("/admin/?a=b")),
            ("/lights", "/lights", Some("/")),
            ("/lights", "/lights/", Some("/")),
            ("/lights", "/lightshow/admin", None),
            ("/lights", "/admin/", None),
            ("/a/b", "/a/b/webhooks/github", Some("/webhooks/github")),
            ("/lights", "/lights//admin", Some("//admin")),
        ] {
            let uri: Uri = asked.parse().expect("an address");
            assert_eq!(
                without(base, &uri).map(|uri| uri.to_string()).as_deref(),
                expected,
                "{base} {asked}"
            );
        }
    }
}
