//! Style, script and icon, embedded in the binary, under addresses that change with their content. Holds no page.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Path;
use actix_web::{HttpRequest, ResponseError};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::problem::Problem;

#[derive(RustEmbed)]
#[folder = "src/http/dashboard/assets"]
struct Embedded;

/// Whoever asks under the address that a page names gets the same bytes for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Begins with a digest of all assets together: a module that names another one is new when that one is.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    let mut names: Vec<_> = Embedded::iter().collect();
    names.sort();
    for name in names {
        digest.update(name.as_bytes());
        digest.update(
            Embedded::get(&name)
                .map(|file| file.metadata.sha256_hash())
                .unwrap_or_default(),
        );
    }
    hex::encode(&digest.finalize()[..6])
});

/// Where an asset is, below the base path: `/admin/assets/app.css?v=…`.
pub(super) fn path(name: &str) -> String {
    format!("/admin/assets/{name}?v={}", *VERSION)
}

/// An asset by its name; open to everybody, because the page to sign in needs it.
pub(crate) async fn serve(request: HttpRequest, name: Path<String>) -> HttpResponse {
    let Some(file) = Embedded::get(&name) else {
        return Problem::not_found("not found").error_response();
    };
    // Weak, for what is sent may be compressed.
    let tag = format!("W/\"{}\"", hex::encode(&file.metadata.sha256_hash()[..12]));
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return HttpResponse::NotModified()
            .insert_header((ETAG, tag))
            .insert_header((CACHE_CONTROL, FOR_EVER))
            .finish();
    }
    HttpResponse::Ok()
        .content_type(kind(&name))
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, FOR_EVER))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .body(bytes(file))
}

fn bytes(file: EmbeddedFile) -> actix_web::web::Bytes {
    match file.data {
        std::borrow::Cow::Borrowed(bytes) => actix_web::web::Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => bytes.into(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
