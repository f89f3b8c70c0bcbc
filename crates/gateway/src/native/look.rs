//! What a person wants to know of one object beyond its bytes: its versions, where its shards are, a link to it.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use cairn_types::UnixMs;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Native;
use super::answer::Refused;
use crate::objects::api::{KeyScope, ListVersionsRequest, ListedVersion, ObjectError, VersionRef};
use crate::objects::limits::LIST_KEYS_MAX;
use crate::s3::Link;

/// Names a version of an object in a query.
#[derive(Debug, Deserialize)]
pub struct VersionName {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version: Option<String>,
}

/// Reads a version's name: 32 hex digits, or `null`.
pub fn version_ref(text: Option<&str>) -> Result<Option<VersionRef>, Refused> {
    let read = |text: &str| VersionRef::parse(text).ok_or_else(|| ObjectError::NoSuchVersion.into());
    text.map(read).transpose()
}

/// `GET /v1/versions?bucket=&key=`: the versions of a key, the latest first, at most 1,000.
pub async fn versions(State(native): State<Native>, Query(name): Query<VersionName>) -> Result<Json<Value>, Refused> {
    let request = ListVersionsRequest {
        bucket: name.bucket,
        prefix: name.key.clone(),
        max_keys: LIST_KEYS_MAX,
        ..ListVersionsRequest::default()
    };
    let page = native.objects.list_versions(request).await?;
    // Keys ascend, and the prefix itself is the first of those that begin with it.
    let versions = page.versions.iter().take_while(|version| version.object.key == name.key).map(describe);
    Ok(Json(json!({"versions": versions.collect::<Vec<_>>()})))
}

fn describe(version: &ListedVersion) -> Value {
    let ListedVersion { object, version, latest, delete_marker, .. } = version;
    json!({
        "key": object.key,
        "version": version.to_string(),
        "latest": latest,
        "delete_marker": delete_marker,
        "len": object.len,
        "etag": object.etag,
        "modified_ms": object.modified,
    })
}

/// `GET /v1/places?bucket=&key=&version=`: the segments of an object and who has their shards.
pub async fn places(State(native): State<Native>, Query(name): Query<VersionName>) -> Result<Json<Value>, Refused> {
    let version = version_ref(name.version.as_deref())?;
    Ok(Json(json!({"segments": native.objects.places(&name.bucket, &name.key, version).await?})))
}

/// Body of `POST /v1/share`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    bucket: String,
    key: String,
    version: Option<String>,
    expires_s: u64,
}

/// `POST /v1/share`: a link to an object for whoever has it. It rests on an access key of its own that opens nothing else and ends with
/// the link; revoked, the link is dead.
pub async fn share(State(native): State<Native>, Json(wanted): Json<Share>) -> Result<(StatusCode, Json<Value>), Refused> {
    let version = version_ref(wanted.version.as_deref())?;
    native.objects.head_version(&wanted.bucket, &wanted.key, version).await?;
    let at = native.objects.now();
    let expires_s = u32::try_from(wanted.expires_s).unwrap_or(u32::MAX);
    let expires = UnixMs(at.0.saturating_add(u64::from(expires_s) * 1000));
    let link = Link { bucket: &wanted.bucket, key: &wanted.key, version, at, expires_s };
    if !link.is_fit() {
        return Err(Refused::bad_request("a link is good for 1 second to a week: expires_s from 1 to 604800"));
    }
    let scope = KeyScope {
        bucket: wanted.bucket.clone(),
        prefix: wanted.key.clone(),
        read_only: true,
        expires: Some(expires),
        ..KeyScope::default()
    };
    let label: String = format!("link to {}/{}", wanted.bucket, wanted.key).chars().take(64).collect();
    let key = native.objects.create_key_for(&label, scope).await?;
    let url = native.s3.presign(&key, &link);
    let answer = json!({"url": url, "expires_at_ms": expires, "access_key": key.access_key});
    Ok((StatusCode::CREATED, Json(answer)))
}
