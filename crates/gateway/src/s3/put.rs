//! Writing: put and delete objects.
//!
//! Never: an answer before the object store said yes; a body kept in memory. Limits: one PUT is at most 5 GiB, one batch delete
//! 1000 keys.

use futures::StreamExt;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::Access;
use super::checksum::{body_checks, show_checksums, shown_kind};
use super::errors::{body_error, refused, s3_error};
use super::headers::{etag, object_meta, take_content_headers, version_of, write_conditions};
use super::lifecycle::expiration;
use super::sse::{customer_key, show_encryption};
use crate::objects::api::{Body, DeleteItem, Deleted, PutRequest};
use crate::objects::limits;

/// The right to delete what is under governance.
const BYPASS: &str = "s3:BypassGovernanceRetention";

pub(super) async fn object(mapper: &Mapper, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let S3Request { mut input, headers, extensions, trailing_headers, .. } = request;
    let access = Access::of(&extensions)?;
    access.check_posted(mapper, &input.key).await?;
    let content = take_content_headers!(input);
    let meta = object_meta(content, input.metadata.take(), input.tagging.as_deref(), input.storage_class.as_ref())?;
    let checks = body_checks(&headers, trailing_headers, input.content_length, input.content_md5.as_deref())?;
    let key = customer_key!(input)?;
    let control = new_control!(mapper, access, input, key.as_ref());
    let encryption = control.encryption;
    let conditions = write_conditions(input.if_match, input.if_none_match);
    let put = PutRequest { bucket: input.bucket, key: input.key, meta, control, checks, conditions };
    let stored = mapper.objects.put(put, body(input.body)).await.map_err(s3_error)?;
    let mut output = PutObjectOutput {
        e_tag: Some(etag(&stored.etag)),
        checksum_type: shown_kind(&stored.checksums),
        size: None,
        version_id: stored.named.then(|| stored.version.to_string()),
        expiration: expiration(mapper, access, (&stored.key, stored.len), &stored.meta.tags, stored.modified),
        ..Default::default()
    };
    show_checksums!(output, &stored.checksums);
    show_encryption!(output, encryption, key);
    Ok(output)
}

/// What governs a new object: owner and ACL, lock, encryption. Inputs name their fields alike.
macro_rules! new_control {
    ($mapper:expr, $access:expr, $input:expr, $key:expr) => {{
        let (owner, acl) = $crate::s3::acl::of_new_object($mapper, $access, &$crate::s3::acl::acl_wish!($input, None))?;
        let bucket = $access.bucket()?;
        let wish = $crate::s3::lock::lock_wish!($input);
        let (retention, legal_hold) = $crate::s3::lock::of_write(bucket, &wish, $mapper.objects.now())?;
        let encryption = $crate::s3::sse::of_write(bucket, $input.server_side_encryption.as_ref(), $key)?;
        $crate::objects::api::Control { owner, acl, retention, legal_hold, encryption }
    }};
}
pub(super) use new_control;

/// A request's bytes as the object store takes them.
pub(super) fn body(blob: Option<StreamingBlob>) -> Body {
    match blob {
        Some(blob) => blob.map(|bytes| bytes.map_err(body_error)).boxed(),
        None => futures::stream::empty().boxed(),
    }
}

pub(super) async fn delete(mapper: &Mapper, request: S3Request<DeleteObjectInput>) -> S3Result<DeleteObjectOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        let message = "Conditions on size and time of what is deleted are only for directory buckets";
        return Err(refused(S3ErrorCode::NotImplemented, message));
    }
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let item = DeleteItem {
        version: version_of(input.version_id.as_deref())?,
        conditions: write_conditions(input.if_match, None),
        bypass_governance: bypass && access.may_also(&input.key, BYPASS),
        only_if: None,
        key: input.key,
    };
    let deleted = mapper.objects.delete_version(&input.bucket, item, access.user_name()).await.map_err(s3_error)?;
    Ok(DeleteObjectOutput {
        delete_marker: deleted.delete_marker.then_some(true),
        version_id: deleted.version.map(|version| version.to_string()),
        request_charged: None,
    })
}

pub(super) async fn delete_many(mapper: &Mapper, request: S3Request<DeleteObjectsInput>) -> S3Result<DeleteObjectsOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let named = input.delete.objects;
    if named.is_empty() || named.len() > limits::DELETE_KEYS_MAX {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    let (mut known, mut items) = (Vec::new(), Vec::new());
    for object in named {
        match delete_item(mapper, access, &object, bypass).await {
            Ok(item) => {
                items.push(item);
                known.push(object);
            }
            Err(error) => errors.push(failed(object, &error)),
        }
    }
    let results = mapper.objects.delete_many(&input.bucket, items, access.user_name()).await.map_err(s3_error)?;
    for (object, result) in known.into_iter().zip(results) {
        match result {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(shown_deleted(object, &done)),
            Err(error) => errors.push(failed(object, &s3_error(error))),
        }
    }
    Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None })
}

async fn delete_item(mapper: &Mapper, access: &Access, object: &ObjectIdentifier, bypass: bool) -> S3Result<DeleteItem> {
    access.check_one(mapper, &object.key, object.version_id.as_deref()).await?;
    let condition = object.e_tag.clone().map(s3s_condition);
    Ok(DeleteItem {
        key: object.key.clone(),
        version: version_of(object.version_id.as_deref()).map_err(|_| S3ErrorCode::NoSuchVersion)?,
        conditions: write_conditions(condition, None),
        bypass_governance: bypass && access.may_also(&object.key, BYPASS),
        only_if: None,
    })
}

fn shown_deleted(object: ObjectIdentifier, done: &Deleted) -> DeletedObject {
    let name = done.version.map(|version| version.to_string());
    DeletedObject {
        delete_marker: done.delete_marker.then_some(true),
        delete_marker_version_id: name.filter(|_| done.delete_marker),
        key: Some(object.key),
        version_id: object.version_id,
    }
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
