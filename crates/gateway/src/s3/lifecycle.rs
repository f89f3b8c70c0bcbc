//! Lifecycle: the configuration, and what an answer about an object says of its end.
//!
//! Never: a rule kept that the worker does not obey. Limits: those of [`crate::rules::lifecycle`].

use std::collections::BTreeMap;

use cairn_types::UnixMs;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::Access;
use super::config;
use super::errors::{custom, refused};
use super::headers::last_modified;
use crate::rules::lifecycle::{self, LifecycleError};
use crate::rules::names;

pub(super) async fn get(
    _mapper: &Mapper,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<GetBucketLifecycleConfigurationOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let message = "The lifecycle configuration does not exist";
    let absent = custom("NoSuchLifecycleConfiguration", http::StatusCode::NOT_FOUND, message);
    let configuration: BucketLifecycleConfiguration = config::kept(bucket, names::LIFECYCLE, absent)?;
    Ok(GetBucketLifecycleConfigurationOutput { rules: Some(configuration.rules), ..Default::default() })
}

pub(super) async fn put(
    mapper: &Mapper,
    mut request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<PutBucketLifecycleConfigurationOutput> {
    let Some(configuration) = request.input.lifecycle_configuration.take() else {
        return Err(S3ErrorCode::MalformedXML.into());
    };
    let configuration = lifecycle::checked(configuration).map_err(|error| match error {
        LifecycleError::Malformed(message) => refused(S3ErrorCode::MalformedXML, message),
        LifecycleError::Invalid(message) => refused(S3ErrorCode::InvalidArgument, message),
        LifecycleError::Transition => refused(S3ErrorCode::NotImplemented, error.to_string()),
    })?;
    let xml = config::to_xml(&configuration)?;
    config::write(mapper, &request, names::LIFECYCLE, Some(xml)).await?;
    Ok(PutBucketLifecycleConfigurationOutput::default())
}

pub(super) async fn delete(
    mapper: &Mapper,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<DeleteBucketLifecycleOutput> {
    config::write(mapper, &request, names::LIFECYCLE, None).await?;
    Ok(DeleteBucketLifecycleOutput {})
}

/// `x-amz-expiration` of a current object.
pub(super) fn expiration(
    mapper: &Mapper,
    access: &Access,
    object: (&str, u64),
    tags: &BTreeMap<String, String>,
    modified: UnixMs,
) -> Option<String> {
    let rules = access.bucket().ok()?.rules().lifecycle.as_ref()?;
    let (at, id) = lifecycle::expiry(rules, object, tags, modified, mapper.objects.day_ms())?;
    let date = last_modified(at)?;
    let id = utf8_percent_encode(&id, NON_ALPHANUMERIC);
    Some(format!("expiry-date=\"{}\", rule-id=\"{id}\"", date.to_str().ok()?))
}
