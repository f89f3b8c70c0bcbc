//! Objects: list, stat, get (with one range), put, delete.

use std::ops::Range;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Query, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refused;
use super::look::{VersionName, version_ref};
use super::{Native, ObjectName};
use crate::drained::incoming;
use crate::objects::api::{
    BodyChecks, ContentHeaders, EtagMatch, ListRequest, ObjectError, ObjectInfo, ObjectMeta, PutRequest, ReadConditions,
    WriteConditions,
};
use crate::objects::limits::LIST_KEYS_MAX;

const MODIFIED_MS: HeaderName = HeaderName::from_static("x-cairn-modified-ms");

/// Query of `GET /v1/objects`.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    bucket: String,
    #[serde(default)]
    prefix: String,
    delimiter: Option<String>,
    cursor: Option<String>,
    max: Option<usize>,
}

/// `GET /v1/objects?bucket=&prefix=&delimiter=&cursor=&max=`
pub async fn list(State(native): State<Native>, Query(query): Query<ListQuery>) -> Result<Json<Value>, Refused> {
    let request = ListRequest {
        bucket: query.bucket,
        prefix: query.prefix,
        delimiter: query.delimiter.filter(|delimiter| !delimiter.is_empty()),
        start_after: query.cursor,
        max_keys: query.max.unwrap_or(LIST_KEYS_MAX),
    };
    let page = native.objects.list(request).await?;
    let objects: Vec<Value> = page
        .objects
        .iter()
        .map(|object| json!({"key": object.key, "len": object.len, "etag": object.etag, "modified_ms": object.modified}))
        .collect();
    Ok(Json(json!({"objects": objects, "prefixes": page.common_prefixes, "next": page.next})))
}

/// What is known of an object, as JSON.
pub fn describe(info: &ObjectInfo) -> Value {
    let checksums: Vec<Value> = info
        .checksums
        .iter()
        .map(|checksum| json!({"algorithm": checksum.algorithm.to_string(), "value": BASE64.encode(&checksum.value), "parts": checksum.parts}))
        .collect();
    json!({
        "bucket": info.bucket,
        "key": info.key,
        "version": info.version.to_string(),
        "len": info.len,
        "etag": info.etag,
        "modified_ms": info.modified,
        "content_type": info.meta.headers.content_type,
        "user": info.meta.user,
        "tags": info.meta.tags,
        "storage_class": info.meta.storage_class.as_deref().unwrap_or("STANDARD"),
        "checksums": checksums,
        "parts": info.parts.len(),
    })
}

/// `GET /v1/stat?bucket=&key=`
pub async fn stat(State(native): State<Native>, Query(name): Query<ObjectName>) -> Result<Json<Value>, Refused> {
    Ok(Json(describe(&native.objects.head(&name.bucket, &name.key).await?)))
}

/// `HEAD /v1/object?bucket=&key=`
pub async fn head(
    State(native): State<Native>,
    Query(name): Query<ObjectName>,
    headers: HeaderMap,
) -> Result<Response<HttpBody>, Refused> {
    let info = native.objects.head(&name.bucket, &name.key).await?;
    read_conditions(&headers).check(&info.etag, info.modified)?;
    let mut response = respond(&info, None, HttpBody::empty());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(info.len));
    Ok(response)
}

/// `GET /v1/object?bucket=&key=&version=`, with `Range` and conditions.
pub async fn get(
    State(native): State<Native>,
    Query(name): Query<VersionName>,
    headers: HeaderMap,
) -> Result<Response<HttpBody>, Refused> {
    let version = version_ref(name.version.as_deref())?;
    let info = native.objects.get_version(&name.bucket, &name.key, version).await?;
    read_conditions(&headers).check(&info.etag, info.modified)?;
    let asked = headers.get(header::RANGE).map(|value| parse_range(value, info.len)).transpose()?;
    let range = asked.clone().unwrap_or(0..info.len);
    let len = range.end - range.start;
    let reader = native.objects.read(&info, range).await?;
    let body = futures::stream::unfold(reader, |mut reader| async move { reader.next().await.map(|next| (next, reader)) });
    let mut response = respond(&info, asked, HttpBody::from_stream(body));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    Ok(response)
}

fn respond(info: &ObjectInfo, range: Option<Range<u64>>, body: HttpBody) -> Response<HttpBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(MODIFIED_MS, HeaderValue::from(info.modified.0));
    let content_type = info.meta.headers.content_type.as_deref().unwrap_or("application/octet-stream");
    for (name, value) in [(header::ETAG, format!("\"{}\"", info.etag)), (header::CONTENT_TYPE, content_type.to_owned())] {
        // A stored value that is no header value is left out rather than failing the read.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, info.len);
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(text).expect("digits and a slash are a header value"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// One range of RFC 9110 §14.1.2; several ranges are refused.
fn parse_range(value: &HeaderValue, len: u64) -> Result<Range<u64>, Refused> {
    let wrong = || Refused::bad_request("the Range header must be one range: bytes=first-last, bytes=first- or bytes=-count");
    let (first, last) = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.split_once('-')).ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let range = match (first, last) {
        ("", count) => len.saturating_sub(number(count)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(wrong());
            }
            first..last.saturating_add(1).min(len)
        }
    };
    if range.start >= range.end {
        return Err(ObjectError::InvalidRange { len }.into());
    }
    Ok(range)
}

fn etag_match(headers: &HeaderMap, name: HeaderName) -> Option<EtagMatch> {
    headers.get(name)?.to_str().ok().map(EtagMatch::parse)
}

fn read_conditions(headers: &HeaderMap) -> ReadConditions {
    ReadConditions {
        if_match: etag_match(headers, header::IF_MATCH),
        if_none_match: etag_match(headers, header::IF_NONE_MATCH),
        ..ReadConditions::default()
    }
}

/// Conditions of a write.
pub fn write_conditions(headers: &HeaderMap) -> WriteConditions {
    WriteConditions { if_match: etag_match(headers, header::IF_MATCH), if_none_match: etag_match(headers, header::IF_NONE_MATCH) }
}

/// What a body is checked against: its announced length.
pub fn checks(headers: &HeaderMap) -> BodyChecks {
    let len = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    BodyChecks { len, ..BodyChecks::default() }
}

/// Content type of what is to be stored.
pub fn meta(headers: &HeaderMap) -> ObjectMeta {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    ObjectMeta { headers: ContentHeaders { content_type, ..ContentHeaders::default() }, ..ObjectMeta::default() }
}

/// `PUT /v1/object?bucket=&key=`
pub async fn put(
    State(native): State<Native>,
    Query(name): Query<ObjectName>,
    headers: HeaderMap,
    body: HttpBody,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let request = PutRequest {
        bucket: name.bucket,
        key: name.key,
        meta: meta(&headers),
        control: Default::default(),
        checks: checks(&headers),
        conditions: write_conditions(&headers),
    };
    let info = native.objects.put(request, incoming(body, &headers)).await?;
    Ok((StatusCode::CREATED, Json(describe(&info))))
}

/// `DELETE /v1/object?bucket=&key=`
pub async fn delete(
    State(native): State<Native>,
    Query(name): Query<ObjectName>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    match native.objects.delete(&name.bucket, &name.key, write_conditions(&headers)).await?.existed {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ObjectError::NoSuchKey.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_cut_to_the_object() {
        for (text, len, expected) in [
            ("bytes=0-0", 10, Some(0..1)),
            ("bytes=2-5", 10, Some(2..6)),
            ("bytes=2-", 10, Some(2..10)),
            ("bytes=2-99", 10, Some(2..10)),
            ("bytes=2-18446744073709551615", 10, Some(2..10)),
            ("bytes=-3", 10, Some(7..10)),
            ("bytes=-99", 10, Some(0..10)),
            ("bytes=10-", 10, None),
            ("bytes=0-", 0, None),
            ("bytes=-0", 10, None),
            ("bytes=5-2", 10, None),
            ("bytes=1-2,4-5", 10, None),
            ("lines=1-2", 10, None),
            ("bytes=a-b", 10, None),
        ] {
            assert_eq!(parse_range(&HeaderValue::from_static(text), len).ok(), expected, "{text} of {len}");
        }
    }
}
