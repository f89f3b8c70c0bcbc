//! Writing: put and delete objects.
//!
//! Never: an answer before the object store said yes; a body kept in memory. Limits: one PUT is at most 5 GiB, one batch delete
//! 1000 keys.

use futures::StreamExt;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::checksum::{body_checks, show_checksums, shown_kind};
use super::errors::{body_error, refused, s3_error};
use super::headers::{etag, object_meta, only_null_version, take_content_headers, write_conditions};
use crate::objects::api::{Body, DeleteItem, PutRequest};
use crate::objects::limits;

pub(super) async fn object(mapper: &Mapper, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let S3Request { mut input, headers, trailing_headers, .. } = request;
    let content = take_content_headers!(input);
    let meta = object_meta(content, input.metadata.take(), input.tagging.as_deref(), input.storage_class.as_ref())?;
    let checks = body_checks(&headers, trailing_headers, input.content_length, input.content_md5.as_deref())?;
    let conditions = write_conditions(input.if_match, input.if_none_match);
    let put = PutRequest { bucket: input.bucket, key: input.key, meta, checks, conditions };
    let stored = mapper.objects.put(put, body(input.body)).await.map_err(s3_error)?;
    let mut output = PutObjectOutput {
        e_tag: Some(etag(&stored.etag)),
        checksum_type: shown_kind(&stored.checksums),
        size: None,
        ..Default::default()
    };
    show_checksums!(output, &stored.checksums);
    Ok(output)
}

/// A request's bytes as the object store takes them.
pub(super) fn body(blob: Option<StreamingBlob>) -> Body {
    match blob {
        Some(blob) => blob.map(|bytes| bytes.map_err(body_error)).boxed(),
        None => futures::stream::empty().boxed(),
    }
}

pub(super) async fn delete(mapper: &Mapper, request: S3Request<DeleteObjectInput>) -> S3Result<DeleteObjectOutput> {
    let input = request.input;
    only_null_version(input.version_id.as_deref())?;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        let message = "Conditions on size and time of what is deleted are only for directory buckets";
        return Err(refused(S3ErrorCode::NotImplemented, message));
    }
    let conditions = write_conditions(input.if_match, None);
    mapper.objects.delete(&input.bucket, &input.key, conditions).await.map_err(s3_error)?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn delete_many(mapper: &Mapper, request: S3Request<DeleteObjectsInput>) -> S3Result<DeleteObjectsOutput> {
    let input = request.input;
    let quiet = input.delete.quiet.unwrap_or(false);
    let named = input.delete.objects;
    if named.is_empty() || named.len() > limits::DELETE_KEYS_MAX {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    let (known, unknown): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|object| only_null_version(object.version_id.as_deref()).is_ok());
    for object in unknown {
        errors.push(failed(object, &refused(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")));
    }
    let item = |object: &ObjectIdentifier| {
        let condition = object.e_tag.clone().map(s3s_condition);
        DeleteItem { key: object.key.clone(), conditions: write_conditions(condition, None) }
    };
    let items: Vec<DeleteItem> = known.iter().map(item).collect();
    let results = mapper.objects.delete_many(&input.bucket, items).await.map_err(s3_error)?;
    for (object, result) in known.into_iter().zip(results) {
        match result {
            Ok(_) if quiet => {}
            Ok(_) => deleted.push(DeletedObject { key: Some(object.key), version_id: object.version_id, ..Default::default() }),
            Err(error) => errors.push(failed(object, &s3_error(error))),
        }
    }
    Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None })
}

fn s3s_condition(etag: ETag) -> ETagCondition {
    match etag.value() {
        "*" => ETagCondition::Any,
        _ => ETagCondition::ETag(etag),
    }
}

fn failed(object: ObjectIdentifier, error: &s3s::S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(object.key),
        message: error.message().map(str::to_owned),
        version_id: object.version_id,
    }
}
