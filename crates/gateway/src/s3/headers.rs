//! Headers: content headers, user metadata, tags, conditions, times and ranges between S3's words and ours.
//!
//! Never: look anything up; these are functions of the request and of what was found. Limits: [`USER_META_LEN_MAX`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_types::UnixMs;
use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{self, ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::access::Access;
use super::errors::{custom, range_error, refused, s3_error};
use crate::objects::api::{
    Checksum, EtagMatch, ObjectError, ObjectInfo, ObjectMeta, ReadConditions, VersionRef, Versioning, WriteConditions,
};
use crate::objects::limits;

/// Names and values of `x-amz-meta-*` together, in UTF-8: S3's own number, so that what works here works there.
pub(super) const USER_META_LEN_MAX: usize = 2 * 1024;
/// Content type of an object whose writer named none, as S3 answers.
pub(super) const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";
/// The only storage class so far.
pub(super) const STANDARD: &str = "STANDARD";
/// 9999-12-31T23:59:59Z: later times cannot be written in four digits of year.
const LATEST_MS: u64 = 253_402_300_799_000;

/// Takes the content headers out of a PutObject, CopyObject or CreateMultipartUpload input; they all name them alike.
macro_rules! take_content_headers {
    ($input:expr) => {
        $crate::objects::api::ContentHeaders {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $crate::s3::headers::stored_encoding($input.content_encoding.take()),
            content_language: $input.content_language.take(),
            expires: $input.expires.take(),
            website_redirect: $input.website_redirect_location.take(),
        }
    };
}
pub(super) use take_content_headers;

/// `Content-Encoding` as it is kept: `aws-chunked` says how the request was sent, not what the object is.
pub(super) fn stored_encoding(sent: Option<String>) -> Option<String> {
    let kept: Vec<&str> = sent
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// User metadata, tags and storage class of a write.
///
/// # Errors
/// MetadataTooLarge, InvalidTag, InvalidStorageClass.
pub(super) fn object_meta(
    headers: crate::objects::api::ContentHeaders,
    metadata: Option<dto::Metadata>,
    tagging: Option<&str>,
    class: Option<&dto::StorageClass>,
) -> S3Result<ObjectMeta> {
    let user: BTreeMap<String, String> = metadata.unwrap_or_default().into_iter().collect();
    let len: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if len > USER_META_LEN_MAX {
        let message =
            format!("Your metadata headers exceed the maximum allowed metadata size: {len} of {USER_META_LEN_MAX} bytes");
        return Err(refused(S3ErrorCode::MetadataTooLarge, message));
    }
    Ok(ObjectMeta { headers, user, tags: tags(tagging.unwrap_or_default())?, storage_class: storage_class(class)? })
}

/// The tags of an `x-amz-tagging` header: `a=1&b=2`, form-encoded.
pub(super) fn tags(header: &str) -> S3Result<BTreeMap<String, String>> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().map(|text| text.into_owned())
    };
    let invalid = || refused(S3ErrorCode::InvalidTag, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded");
    let tag = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok(dto::Tag { key: Some(decode(name).map_err(|_| invalid())?), value: Some(decode(value).map_err(|_| invalid())?) })
    };
    let tags = header.split('&').filter(|pair| !pair.is_empty()).map(tag).collect::<S3Result<Vec<_>>>()?;
    super::tags::tag_map(&tags, limits::TAGS_MAX)
}

/// Storage class of a write; `None` is STANDARD.
pub(super) fn storage_class(asked: Option<&dto::StorageClass>) -> S3Result<Option<String>> {
    match asked.map(|class| class.as_str()) {
        None | Some(STANDARD) => Ok(None),
        Some(_) => Err(refused(S3ErrorCode::InvalidStorageClass, "This gateway stores every object in class STANDARD")),
    }
}

/// `versionId` of a request.
///
/// # Errors
/// InvalidArgument for what is no name of a version.
pub(super) fn version_of(version: Option<&str>) -> S3Result<Option<VersionRef>> {
    match version {
        None => Ok(None),
        Some(text) => match VersionRef::parse(text) {
            Some(version) => Ok(Some(version)),
            None => Err(refused(S3ErrorCode::InvalidArgument, "Invalid version id specified")),
        },
    }
}

/// `x-amz-version-id` of an answer about an object: none where the bucket never kept versions.
pub(super) fn shown_version(access: &Access, info: &ObjectInfo) -> S3Result<Option<String>> {
    let name = if info.named { VersionRef::Id(info.version) } else { VersionRef::Null };
    let kept = access.bucket()?.info.versioning != Versioning::Off;
    Ok(kept.then(|| name.to_string()))
}

/// An ETag as S3 quotes it.
pub(super) fn etag(bare: &str) -> ETag {
    ETag::Strong(bare.to_owned())
}

fn etag_match(condition: Option<ETagCondition>) -> Option<EtagMatch> {
    condition.map(|condition| match condition {
        ETagCondition::Any => EtagMatch::Any,
        ETagCondition::ETag(etag) => EtagMatch::OneOf(vec![etag.into_value()]),
    })
}

/// Conditions on a write.
pub(super) fn write_conditions(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> WriteConditions {
    WriteConditions { if_match: etag_match(if_match), if_none_match: etag_match(if_none_match) }
}

/// Conditions on a read, or on the source of a copy.
pub(super) fn read_conditions(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
) -> ReadConditions {
    ReadConditions {
        if_match: etag_match(if_match),
        if_none_match: etag_match(if_none_match),
        if_modified_since: if_modified_since.map(unix_ms),
        if_unmodified_since: if_unmodified_since.map(unix_ms),
    }
}

/// Judges a read. A 304 carries ETag and date, as RFC 9110 §15.4.5 wants.
pub(super) fn check_read(conditions: &ReadConditions, info: &ObjectInfo) -> S3Result<()> {
    let Err(refusal) = conditions.check(&info.etag, info.modified) else {
        return Ok(());
    };
    let unchanged = matches!(refusal, ObjectError::NotModified);
    let mut error = s3_error(refusal);
    if unchanged {
        error.set_headers(validators(&info.etag, info.modified));
    }
    Err(error)
}

fn validators(etag: &str, modified: UnixMs) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("\"{etag}\"")) {
        headers.insert(header::ETAG, value);
    }
    headers.extend(last_modified(modified).map(|value| (header::LAST_MODIFIED, value)));
    headers
}

/// A time as `Last-Modified` has it.
pub(super) fn last_modified(modified: UnixMs) -> Option<HeaderValue> {
    let mut date = Vec::new();
    timestamp(modified).format(TimestampFormat::HttpDate, &mut date).ok()?;
    HeaderValue::from_bytes(&date).ok()
}

/// A time as the S3 library writes it.
pub(super) fn timestamp(time: UnixMs) -> Timestamp {
    let since_epoch = Duration::from_millis(time.0.min(LATEST_MS));
    Timestamp::from(UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// A time as we keep it; before 1970 is 1970.
pub(super) fn unix_ms(time: Timestamp) -> UnixMs {
    let nanos = time::OffsetDateTime::from(time).unix_timestamp_nanos();
    UnixMs(u64::try_from(nanos / 1_000_000).unwrap_or(0))
}

/// A length as S3 writes it.
pub(super) fn signed_len(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// What of an object a GET or HEAD shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Bytes of the body.
    pub(super) range: Range<u64>,
    /// `Content-Range` of a 206; `None` for a 200.
    pub(super) content_range: Option<String>,
    /// Checksums of exactly these bytes.
    pub(super) checksums: Vec<Checksum>,
    /// `x-amz-mp-parts-count`.
    pub(super) parts: Option<i32>,
}

impl View {
    /// Chooses by `Range` or `partNumber`; both at once are refused.
    pub(super) fn of(info: &ObjectInfo, range: Option<dto::Range>, part: Option<i32>) -> S3Result<View> {
        match (range, part) {
            (Some(_), Some(_)) => {
                Err(refused(S3ErrorCode::InvalidRequest, "Cannot specify both Range header and partNumber query parameter"))
            }
            (None, Some(number)) => View::of_part(info, number),
            (Some(range), None) => {
                let range = range.check(info.len).map_err(|_| range_error(info.len))?;
                if range.is_empty() {
                    return Err(range_error(info.len));
                }
                let content_range = Some(content_range(&range, info.len));
                Ok(View { range, content_range, checksums: Vec::new(), parts: None })
            }
            (None, None) => Ok(View { range: 0..info.len, content_range: None, checksums: info.checksums.clone(), parts: None }),
        }
    }

    fn of_part(info: &ObjectInfo, number: i32) -> S3Result<View> {
        let invalid = || refused(S3ErrorCode::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive");
        let number = u32::try_from(number).map_err(|_| invalid())?;
        if !(1..=limits::PART_NUMBER_MAX).contains(&number) {
            return Err(invalid());
        }
        let message = "The requested partnumber is not satisfiable";
        let range = info
            .part_range(number)
            .ok_or_else(|| custom("InvalidPartNumber", http::StatusCode::RANGE_NOT_SATISFIABLE, message))?;
        let checksums = match info.parts.iter().find(|part| part.number == number) {
            Some(part) => part.checksums.clone(),
            None => info.checksums.clone(),
        };
        let parts = (!info.parts.is_empty()).then(|| i32::try_from(info.parts.len()).unwrap_or(i32::MAX));
        let content_range = (!range.is_empty()).then(|| content_range(&range, info.len));
        Ok(View { range, content_range, checksums, parts })
    }

    /// Bytes of the body.
    pub(super) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end - 1)
}

/// `x-amz-copy-source-range`: only `bytes=first-last`, half open for us. Whether it lies inside the source is judged there.
pub(super) fn copy_range(header: Option<&str>) -> S3Result<Option<Range<u64>>> {
    let Some(header) = header else { return Ok(None) };
    let invalid = || -> S3Error {
        let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                       zero-based offsets of the first and last bytes to copy";
        refused(S3ErrorCode::InvalidArgument, message)
    };
    match dto::Range::parse(header) {
        Ok(dto::Range::Int { first, last: Some(last) }) => Ok(Some(first..last.checked_add(1).ok_or_else(invalid)?)),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
