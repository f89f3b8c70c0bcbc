//! Reading: get and head objects, whole, by range or by part; attributes of an object.
//!
//! Never: a 200 before the first bytes are at hand; a copy of the bytes. Limits: one range a request, as in S3.

use futures::StreamExt;
use http_body_util::StreamBody;
use hyper::body::Frame;
use s3s::dto::*;
use s3s::{S3Request, S3Result};

use super::Mapper;
use super::access::Access;
use super::checksum::{show_checksums, shown_kind};
use super::errors::s3_error;
use super::headers::{
    self, CONTENT_TYPE_DEFAULT, View, check_read, etag, read_conditions, shown_version, signed_len, timestamp, version_of,
};
use super::lifecycle::expiration;
use super::lock::show_lock;
use super::sse::{self, customer_key, show_encryption};
use crate::objects::ObjectReader;
use crate::objects::api::{ObjectError, ObjectInfo};

/// Builds the output of GetObject or HeadObject; they name their fields alike.
macro_rules! object_output {
    ($output:ident, $mapper:expr, $access:expr, $info:expr, $key:expr, $view:expr, $with_checksums:expr) => {{
        let meta = &$info.meta;
        let content = &meta.headers;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: content.cache_control.clone(),
            content_disposition: content.content_disposition.clone(),
            content_encoding: content.content_encoding.clone(),
            content_language: content.content_language.clone(),
            content_length: Some(signed_len($view.len())),
            content_range: $view.content_range.clone(),
            content_type: Some(content.content_type.clone().unwrap_or_else(|| CONTENT_TYPE_DEFAULT.to_owned())),
            e_tag: Some(etag(&$info.etag)),
            expires: content.expires.clone(),
            last_modified: Some(timestamp($info.modified)),
            metadata: (!meta.user.is_empty()).then(|| meta.user.clone().into_iter().collect()),
            parts_count: $view.parts,
            storage_class: meta.storage_class.clone().map(StorageClass::from),
            tag_count: i32::try_from(meta.tags.len()).ok().filter(|count| *count > 0),
            website_redirect_location: content.website_redirect.clone(),
            ..Default::default()
        };
        if $with_checksums {
            show_checksums!(output, &$view.checksums);
            // of a part too, S3 shows the kind of the whole
            output.checksum_type = shown_kind(&$info.checksums).filter(|_| !$view.checksums.is_empty());
        }
        output.version_id = shown_version($access, &$info)?;
        show_encryption!(output, $info.control.encryption, $key);
        show_lock!(output, $info.control);
        output.expiration = expiration($mapper, $access, (&$info.key, $info.len), &$info.meta.tags, $info.modified);
        output
    }};
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

pub(super) async fn object(mapper: &Mapper, request: S3Request<GetObjectInput>) -> S3Result<GetObjectOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let (version, key) = (version_of(input.version_id.as_deref())?, customer_key!(input)?);
    let conditions = read_conditions(input.if_match, input.if_none_match, input.if_modified_since, input.if_unmodified_since);
    let info = mapper.objects.get_version(&input.bucket, &input.key, version).await.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    sse::check_read(info.control.encryption, key.as_ref())?;
    check_read(&conditions, &info)?;
    let view = View::of(&info, input.range, input.part_number)?;
    let with_checksums = wants_checksums(input.checksum_mode.as_ref());
    let mut output = object_output!(GetObjectOutput, mapper, access, info, key, view, with_checksums);
    output.body = Some(body(mapper, &info, &view).await?);
    Ok(output)
}

/// The bytes of a view. The first are fetched here, so that an object which cannot be read now is an error and not a broken
/// answer; one that fits into them goes out together with its head.
async fn body(mapper: &Mapper, info: &ObjectInfo, view: &View) -> S3Result<StreamingBlob> {
    if view.range.is_empty() {
        return Ok(StreamingBlob::from_bytes(bytes::Bytes::new()));
    }
    let mut reader = mapper.objects.read(info, view.range.clone()).await.map_err(s3_error)?;
    let first = match reader.next().await {
        Some(first) => first.map_err(s3_error)?,
        None => return Err(s3_error(ObjectError::Internal("a read ended before its first byte".into()))),
    };
    if first.len() as u64 == view.len() {
        return Ok(StreamingBlob::from_bytes(first));
    }
    let rest = futures::stream::unfold(Some(reader), |reader: Option<ObjectReader>| async move {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(bytes) => Some((Ok(bytes), Some(reader))),
            Err(error) => {
                tracing::warn!(%error, "a read broke off; the client's connection is closed");
                Some((Err(error), None))
            }
        }
    });
    let frames = futures::stream::iter([Ok(first)]).chain(rest).map(|bytes| bytes.map(Frame::data));
    Ok(StreamingBlob::from(s3s::Body::http_body_unsync(StreamBody::new(frames))))
}

pub(super) async fn head(mapper: &Mapper, request: S3Request<HeadObjectInput>) -> S3Result<HeadObjectOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let (version, key) = (version_of(input.version_id.as_deref())?, customer_key!(input)?);
    let conditions = read_conditions(input.if_match, input.if_none_match, input.if_modified_since, input.if_unmodified_since);
    let info = mapper.objects.head_version(&input.bucket, &input.key, version).await.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    sse::check_read(info.control.encryption, key.as_ref())?;
    check_read(&conditions, &info)?;
    let view = View::of(&info, input.range, input.part_number)?;
    Ok(object_output!(HeadObjectOutput, mapper, access, info, key, view, wants_checksums(input.checksum_mode.as_ref())))
}

pub(super) async fn attributes(
    mapper: &Mapper,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<GetObjectAttributesOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let (version, key) = (version_of(input.version_id.as_deref())?, customer_key!(input)?);
    let info = mapper.objects.head_version(&input.bucket, &input.key, version).await.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    sse::check_read(info.control.encryption, key.as_ref())?;
    let asked = |name: &str| {
        let mut named = input.object_attributes.iter().flat_map(|list| list.as_str().split(','));
        named.any(|attribute| attribute.trim() == name)
    };
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(timestamp(info.modified)),
        version_id: shown_version(access, &info)?,
        ..Default::default()
    };
    if asked(ObjectAttributes::ETAG) {
        output.e_tag = Some(etag(&info.etag));
    }
    if asked(ObjectAttributes::OBJECT_SIZE) {
        output.object_size = Some(signed_len(info.len));
    }
    if asked(ObjectAttributes::STORAGE_CLASS) {
        let class = info.meta.storage_class.clone().unwrap_or_else(|| headers::STANDARD.to_owned());
        output.storage_class = Some(StorageClass::from(class));
    }
    if asked(ObjectAttributes::CHECKSUM) && !info.checksums.is_empty() {
        let mut checksum = Checksum { checksum_type: shown_kind(&info.checksums), ..Default::default() };
        show_checksums!(checksum, &info.checksums);
        output.checksum = Some(checksum);
    }
    if asked(ObjectAttributes::OBJECT_PARTS) && !info.parts.is_empty() {
        output.object_parts = Some(attribute_parts(&info, input.part_number_marker, input.max_parts));
    }
    Ok(output)
}

fn attribute_parts(info: &ObjectInfo, marker: Option<i32>, max: Option<i32>) -> GetObjectAttributesParts {
    let after = u32::try_from(marker.unwrap_or(0)).unwrap_or(0);
    let max = usize::try_from(max.unwrap_or(1000)).unwrap_or(0).min(1000);
    let later: Vec<_> = info.parts.iter().filter(|part| part.number > after).collect();
    let page = &later[..later.len().min(max)];
    let shown = page.iter().map(|part| {
        let mut shown =
            ObjectPart { part_number: i32::try_from(part.number).ok(), size: Some(signed_len(part.len)), ..Default::default() };
        show_checksums!(shown, &part.checksums);
        shown
    });
    GetObjectAttributesParts {
        is_truncated: Some(page.len() < later.len()),
        max_parts: i32::try_from(max).ok(),
        next_part_number_marker: page.last().and_then(|last| i32::try_from(last.number).ok()),
        part_number_marker: i32::try_from(after).ok(),
        // S3 lists parts only when each has its checksum
        parts: info.parts.iter().all(|part| !part.checksums.is_empty()).then(|| shown.collect()),
        total_parts_count: i32::try_from(info.parts.len()).ok(),
    }
}
