//! Copying: CopyObject and UploadPartCopy, by reference; no bytes move.
//!
//! Never: a source that the caller may not read. Limits: as for writing.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::Access;
use super::checksum::{algorithm, show_checksums, shown_kind};
use super::errors::{refused, s3_error};
use super::headers::{
    copy_range, etag, object_meta, read_conditions, shown_version, storage_class, tags, take_content_headers, timestamp,
    version_of, write_conditions,
};
use super::multipart::part_number;
use super::put::new_control;
use super::sse::{self, CustomerKey, customer_key, show_encryption};
use crate::objects::api::{CopyPartRequest, CopyRequest, ObjectInfo, UploadName, VersionRef};

pub(super) async fn object(mapper: &Mapper, request: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
    let S3Request { mut input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let source = Source::of(&input.copy_source)?;
    let source_key = source_key!(input)?;
    let (reading, found) = source.check(mapper, access, source_key.as_ref()).await?;
    let key = customer_key!(input)?;
    let control = new_control!(mapper, access, input, key.as_ref());
    let encryption = control.encryption;
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
        source_bucket: source.bucket,
        source_key: source.key,
        source_version: source.version,
        source_conditions: read_conditions(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
        control,
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
    let mut output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: shown_version(&reading, &found)?,
        version_id: stored.named.then(|| stored.version.to_string()),
        ..Default::default()
    };
    show_encryption!(output, encryption, key);
    Ok(output)
}

pub(super) async fn part(mapper: &Mapper, request: S3Request<UploadPartCopyInput>) -> S3Result<UploadPartCopyOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let source = Source::of(&input.copy_source)?;
    let source_key = source_key!(input)?;
    let (reading, found) = source.check(mapper, access, source_key.as_ref()).await?;
    let key = customer_key!(input)?;
    let copy = CopyPartRequest {
        upload: UploadName { bucket: input.bucket, key: input.key, upload_id: input.upload_id },
        number: part_number(input.part_number)?,
        source_bucket: source.bucket,
        source_key: source.key,
        source_version: source.version,
        source_conditions: read_conditions(
            input.copy_source_if_match,
            input.copy_source_if_none_match,
            input.copy_source_if_modified_since,
            input.copy_source_if_unmodified_since,
        ),
        range: copy_range(input.copy_source_range.as_deref())?,
    };
    let encryption = sse::check_upload(mapper, &copy.upload, key.as_ref()).await?;
    let stored = mapper.objects.copy_part(copy).await.map_err(s3_error)?;
    let mut result =
        CopyPartResult { e_tag: Some(etag(&stored.etag)), last_modified: Some(timestamp(stored.modified)), ..Default::default() };
    show_checksums!(result, &stored.checksums);
    let mut output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: shown_version(&reading, &found)?,
        ..Default::default()
    };
    show_encryption!(output, encryption, key);
    Ok(output)
}

/// What is copied.
struct Source {
    bucket: String,
    key: String,
    version: Option<VersionRef>,
}

impl Source {
    fn of(source: &CopySource) -> S3Result<Source> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => {
                Ok(Source { bucket: bucket.to_string(), key: key.to_string(), version: version_of(version_id.as_deref())? })
            }
            CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
                Err(refused(S3ErrorCode::NotImplemented, "Access points are not supported as the source of a copy"))
            }
        }
    }

    /// Whether the caller may read it.
    async fn check(&self, mapper: &Mapper, access: &Access, key: Option<&CustomerKey>) -> S3Result<(Access, ObjectInfo)> {
        let (reading, found) = access.check_source(mapper, (&self.bucket, &self.key), self.version).await?;
        sse::check_read(found.control.encryption, key)?;
        Ok((reading, found))
    }
}

/// The key with which the source of a copy was stored.
macro_rules! source_key {
    ($input:expr) => {
        CustomerKey::of(
            $input.copy_source_sse_customer_algorithm.as_deref(),
            $input.copy_source_sse_customer_key.as_deref(),
            $input.copy_source_sse_customer_key_md5.as_deref(),
        )
    };
}
use source_key;

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
