//! The pages, built by `npm run build` in `web/` and carried in the binary.
//!
//! Never: a file of the machine. Limits: what was embedded.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::answer::Refused;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Pages;

/// Where the build puts files whose names change with their content.
const HASHED: &str = "assets/";

/// A file of the pages; any other path is the page itself, which finds its way by the address.
pub async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let found = Pages::get(path).map(|file| (path, file));
    let is_page =
        !path.starts_with("api/") && !path.starts_with(HASHED) && !path.rsplit('/').next().unwrap_or_default().contains('.');
    let Some((path, file)) = found.or_else(|| Some(("index.html", Pages::get("index.html").filter(|_| is_page)?))) else {
        let (message, remedy) = match Pages::get("index.html") {
            Some(_) => ("there is nothing at this address", "begin at /"),
            None => (
                "this program was built without the pages of the dashboard",
                "run npm ci && npm run build in web/, then build cairn again (scripts/run does all of it)",
            ),
        };
        return Refused::new(StatusCode::NOT_FOUND, "NoSuchPage", message, remedy).into_response();
    };
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let keep = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let head = [(CONTENT_TYPE, kind_of(path).to_owned()), (CACHE_CONTROL, keep.to_owned()), (ETAG, etag.clone())];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, file.data).into_response()
}

/// What the build makes; anything else is bytes.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        _ => "application/octet-stream",
    }
}
