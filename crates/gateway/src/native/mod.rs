//! Native API: JSON and streaming bodies over HTTP on a unix socket, for the commands of the same machine's owner.
//!
//! Who may open the socket may do everything: its file mode is the only guard. Routes are listed in `docs/formats/native-api.md`.
//! Never: bound to a network address. Limits: JSON bodies of [`JSON_LEN_MAX`] bytes; object bodies stream.

mod admin;
mod answer;
mod look;
mod object;
mod upload;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use cairn_client::Client;
use serde::Deserialize;
use tokio::net::UnixListener;

use crate::objects::Objects;
use crate::s3::Endpoint;

/// Bytes of a JSON body: a completion of 10,000 parts fits.
pub const JSON_LEN_MAX: usize = 2 * 1024 * 1024;

/// What the node adds to `GET /v1/status`: fields of a JSON object.
pub type About = Arc<dyn Fn() -> serde_json::Map<String, serde_json::Value> + Send + Sync>;

/// What the native API speaks for.
#[derive(Clone)]
pub struct Native {
    /// The object store.
    pub objects: Objects,
    /// The client below it, for its view of the providers.
    pub client: Client,
    /// Account that owns the buckets made here: the one the S3 front uses.
    pub owner: String,
    /// What the node says of itself.
    pub about: About,
    /// Where the S3 endpoint is, for links.
    pub s3: Endpoint,
    /// Routes of the node's own.
    pub more: Router,
}

/// Names an object in a query.
#[derive(Debug, Clone, Deserialize)]
struct ObjectName {
    bucket: String,
    key: String,
}

/// Serves the native API until `stop` is ready, then lets running requests finish.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: UnixListener,
    native: Native,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(native)).with_graceful_shutdown(stop).await
}

/// The native API as a router, for the fuzz targets in `tests/fuzz`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzzing_router(native: Native) -> Router {
    router(native)
}

fn router(native: Native) -> Router {
    let more = native.more.clone();
    Router::new()
        .route("/v1/status", get(admin::status))
        .route("/v1/collect", post(admin::collect))
        .route("/v1/checkpoint", post(admin::checkpoint))
        .route("/v1/health", get(admin::health))
        .route("/v1/repair", post(admin::repair))
        .route("/v1/keys", get(admin::list_keys).post(admin::create_key))
        .route("/v1/keys/{access_key}", axum::routing::delete(admin::revoke_key))
        .route("/v1/buckets", get(admin::list_buckets))
        .route("/v1/buckets/{bucket}", get(admin::bucket).put(admin::create_bucket).delete(admin::delete_bucket))
        .route("/v1/buckets/{bucket}/budget", put(admin::set_budget))
        .route("/v1/estimate", get(admin::estimate))
        .route("/v1/objects", get(object::list))
        .route("/v1/stat", get(object::stat))
        .route("/v1/object", get(object::get).head(object::head).put(object::put).delete(object::delete))
        .route("/v1/versions", get(look::versions))
        .route("/v1/places", get(look::places))
        .route("/v1/share", post(look::share))
        .route("/v1/uploads", post(upload::create))
        .route("/v1/uploads/{upload_id}", get(upload::parts).delete(upload::abort))
        .route("/v1/uploads/{upload_id}/complete", post(upload::complete))
        .route("/v1/uploads/{upload_id}/parts/{number}", put(upload::part))
        .fallback(answer::no_such_route)
        .layer(DefaultBodyLimit::max(JSON_LEN_MAX))
        .with_state(native)
        .merge(more)
}
