//! Multipart uploads: what makes an interrupted `cairn put` go on where it stopped.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refused;
use super::object::{checks, describe, meta, write_conditions};
use super::{Native, ObjectName};
use crate::drained::incoming;
use crate::objects::api::{CompletePart, CompleteRequest, CreateUploadRequest, UploadName};

const PARTS_PAGE: usize = 1000;

/// `POST /v1/uploads?bucket=&key=`
pub async fn create(
    State(native): State<Native>,
    Query(name): Query<ObjectName>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let request = CreateUploadRequest {
        bucket: name.bucket,
        key: name.key,
        meta: meta(&headers),
        initiator: native.owner.clone(),
        ..CreateUploadRequest::default()
    };
    let upload = native.objects.create_upload(request).await?;
    Ok((StatusCode::CREATED, Json(json!({"upload_id": upload.upload_id}))))
}

fn named(name: ObjectName, upload_id: String) -> UploadName {
    UploadName { bucket: name.bucket, key: name.key, upload_id }
}

/// Query of `GET /v1/uploads/{upload_id}`.
#[derive(Debug, Deserialize)]
pub struct PartsQuery {
    bucket: String,
    key: String,
    #[serde(default)]
    after: u32,
}

/// `GET /v1/uploads/{upload_id}?bucket=&key=&after=`: one page of the parts that are stored.
pub async fn parts(
    State(native): State<Native>,
    Path(upload_id): Path<String>,
    Query(query): Query<PartsQuery>,
) -> Result<Json<Value>, Refused> {
    let upload = UploadName { bucket: query.bucket, key: query.key, upload_id };
    let page = native.objects.list_parts(&upload, query.after, PARTS_PAGE).await?;
    let parts: Vec<Value> =
        page.parts.iter().map(|part| json!({"number": part.number, "len": part.len, "etag": part.etag})).collect();
    Ok(Json(json!({"parts": parts, "next": page.next})))
}

/// `PUT /v1/uploads/{upload_id}/parts/{number}?bucket=&key=`
pub async fn part(
    State(native): State<Native>,
    Path((upload_id, number)): Path<(String, u32)>,
    Query(name): Query<ObjectName>,
    headers: HeaderMap,
    body: HttpBody,
) -> Result<Json<Value>, Refused> {
    let body = incoming(body, &headers);
    let part = native.objects.upload_part(&named(name, upload_id), number, checks(&headers), body).await?;
    Ok(Json(json!({"number": part.number, "len": part.len, "etag": part.etag})))
}

/// Body of a completion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    parts: Vec<NamedPart>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedPart {
    number: u32,
    etag: String,
}

/// `POST /v1/uploads/{upload_id}/complete?bucket=&key=`
pub async fn complete(
    State(native): State<Native>,
    Path(upload_id): Path<String>,
    Query(name): Query<ObjectName>,
    headers: HeaderMap,
    Json(completion): Json<Completion>,
) -> Result<Json<Value>, Refused> {
    let parts = completion.parts.into_iter();
    let request = CompleteRequest {
        upload: named(name, upload_id),
        parts: parts.map(|part| CompletePart { number: part.number, etag: part.etag, ..CompletePart::default() }).collect(),
        conditions: write_conditions(&headers),
        ..CompleteRequest::default()
    };
    Ok(Json(describe(&native.objects.complete_upload(request).await?)))
}

/// `DELETE /v1/uploads/{upload_id}?bucket=&key=`
pub async fn abort(
    State(native): State<Native>,
    Path(upload_id): Path<String>,
    Query(name): Query<ObjectName>,
) -> Result<StatusCode, Refused> {
    native.objects.abort_upload(&named(name, upload_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
