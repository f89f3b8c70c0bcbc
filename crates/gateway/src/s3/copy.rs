//! Copying: CopyObject and UploadPartCopy, by reference; no bytes move.
//!
//! Never: a source of another account (there is one account). Limits: as for writing.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::checksum::{algorithm, show_checksums, shown_kind};
use super::errors::{refused, s3_error};
use super::headers::{
    copy_range, etag, object_meta, only_null_version, read_conditions, storage_class, tags, take_content_headers, timestamp,
    write_conditions,
};
use super::multipart::part_number;
use crate::objects::api::{CopyPartRequest, CopyRequest, UploadName};

pub(super) async fn object(mapper: &Mapper, request: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
    let mut input = request.input;
    let (source_bucket, source_key) = source(&input.copy_source)?;
    let content = take_content_headers!(input);
    let meta = match directive(input.metadata_directive.as_ref().map(|directive| directive.as_str()), "metadata")? {
        Directive::Copy => None,
        Directive::Replace => Some(object_meta(content, input.metadata.take(), None, None)?),
    };
    let tags = match directive(input.tagging_directive.as_ref().map(|directive| directive.as_str()), "tagging")? {
        Directive::Copy => None,
        Directive::Replace => Some(tags(input.tagging.as_deref().unwrap_or_default())?),
    };
    let copy = CopyRequest {
        source_bucket,
        source_key,
        source_conditions: read_conditions(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
        bucket: input.bucket,
        key: input.key,
        meta,
        tags,
        storage_class: storage_class(input.storage_class.as_ref())?,
        checksum: input.checksum_algorithm.map(|name| algorithm(name.as_str())).transpose()?,
        conditions: write_conditions(input.if_match, input.if_none_match),
    };
    let stored = mapper.objects.copy(copy).await.map_err(s3_error)?;
    let mut result = CopyObjectResult {
        checksum_type: shown_kind(&stored.checksums),
        e_tag: Some(etag(&stored.etag)),
        last_modified: Some(timestamp(stored.modified)),
        ..Default::default()
    };
    show_checksums!(result, &stored.checksums);
    Ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
}

pub(super) async fn part(mapper: &Mapper, request: S3Request<UploadPartCopyInput>) -> S3Result<UploadPartCopyOutput> {
    let input = request.input;
    let (source_bucket, source_key) = source(&input.copy_source)?;
    let copy = CopyPartRequest {
        upload: UploadName { bucket: input.bucket, key: input.key, upload_id: input.upload_id },
        number: part_number(input.part_number)?,
        source_bucket,
        source_key,
        source_conditions: read_conditions(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
        range: copy_range(input.copy_source_range.as_deref())?,
    };
    let stored = mapper.objects.copy_part(copy).await.map_err(s3_error)?;
    let mut result =
        CopyPartResult { e_tag: Some(etag(&stored.etag)), last_modified: Some(timestamp(stored.modified)), ..Default::default() };
    show_checksums!(result, &stored.checksums);
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
}

fn source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            only_null_version(version_id.as_deref())?;
            Ok((bucket.to_string(), key.to_string()))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(refused(S3ErrorCode::NotImplemented, "Access points are not supported as the source of a copy"))
        }
    }
}

enum Directive {
    Copy,
    Replace,
}

fn directive(value: Option<&str>, what: &str) -> S3Result<Directive> {
    match value {
        None | Some("COPY") => Ok(Directive::Copy),
        Some("REPLACE") => Ok(Directive::Replace),
        Some(_) => Err(refused(S3ErrorCode::InvalidArgument, format!("Unknown {what} directive."))),
    }
}
