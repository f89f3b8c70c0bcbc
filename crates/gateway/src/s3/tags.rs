//! Tags of objects: read, written and taken away after the object was stored.
//!
//! Never: a tag that S3 would refuse. Limits: 10 tags an object, 50 a bucket.

use std::collections::BTreeMap;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::Access;
use super::errors::{refused, s3_error};
use super::headers::version_of;
use crate::catalog::record::MetaRecord;
use crate::objects::api::{ObjectInfo, VersionRef};
use crate::objects::limits::TAGS_MAX;

/// A set of tags as a map.
///
/// # Errors
/// InvalidTag.
pub(super) fn tag_map(tags: &[Tag], max: usize) -> S3Result<BTreeMap<String, String>> {
    if tags.len() > max {
        return Err(refused(S3ErrorCode::InvalidTag, format!("At most {max} tags are allowed")));
    }
    let mut map = BTreeMap::new();
    for tag in tags {
        let (Some(key), Some(value)) = (&tag.key, &tag.value) else { return Err(S3ErrorCode::MalformedXML.into()) };
        if key.is_empty() || key.chars().count() > 128 {
            return Err(refused(S3ErrorCode::InvalidTag, "The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
            return Err(refused(S3ErrorCode::InvalidTag, "The TagValue you have provided is invalid"));
        }
        if ![key, value].into_iter().all(|text| super::list::fits_xml(text)) {
            return Err(refused(S3ErrorCode::InvalidTag, "A tag has a character that XML cannot hold"));
        }
        if map.insert(key.clone(), value.clone()).is_some() {
            return Err(refused(S3ErrorCode::InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(map)
}

/// Changes the tags of the object that a request names.
async fn write(
    mapper: &Mapper,
    access: &Access,
    (bucket, key, version): (&str, &str, Option<VersionRef>),
    tags: BTreeMap<String, String>,
) -> S3Result<ObjectInfo> {
    let info = mapper.objects.head_version(bucket, key, version).await.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    let changing = mapper.objects.amend(bucket, key, version, move |record| {
        record.meta.get_or_insert_with(MetaRecord::default).tags = tags.clone();
        Ok(())
    });
    changing.await.map_err(s3_error)
}

pub(super) async fn get(mapper: &Mapper, request: S3Request<GetObjectTaggingInput>) -> S3Result<GetObjectTaggingOutput> {
    let access = Access::of(&request.extensions)?;
    let input = &request.input;
    let version = version_of(input.version_id.as_deref())?;
    let info = mapper.objects.head_version(&input.bucket, &input.key, version).await;
    let info = info.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    let tag = |(key, value): (&String, &String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    Ok(GetObjectTaggingOutput {
        tag_set: info.meta.tags.iter().map(tag).collect(),
        version_id: super::headers::shown_version(access, &info)?,
    })
}

pub(super) async fn put(mapper: &Mapper, request: S3Request<PutObjectTaggingInput>) -> S3Result<PutObjectTaggingOutput> {
    let input = &request.input;
    let tags = tag_map(&input.tagging.tag_set, TAGS_MAX)?;
    let access = Access::of(&request.extensions)?.check_tags(&input.key, &tags)?;
    let version = version_of(input.version_id.as_deref())?;
    let info = write(mapper, &access, (&input.bucket, &input.key, version), tags).await?;
    Ok(PutObjectTaggingOutput { version_id: super::headers::shown_version(&access, &info)? })
}

pub(super) async fn delete(mapper: &Mapper, request: S3Request<DeleteObjectTaggingInput>) -> S3Result<DeleteObjectTaggingOutput> {
    let access = Access::of(&request.extensions)?;
    let input = &request.input;
    let version = version_of(input.version_id.as_deref())?;
    let info = write(mapper, access, (&input.bucket, &input.key, version), BTreeMap::new()).await?;
    Ok(DeleteObjectTaggingOutput { version_id: super::headers::shown_version(access, &info)? })
}
