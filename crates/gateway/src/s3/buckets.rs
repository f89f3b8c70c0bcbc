//! Buckets: create, head, list, delete, location.
//!
//! Never: another user's bucket in a listing. Limits: one region.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::access::Access;
use super::acl::acl_wish;
use super::config::known_ownership;
use super::errors::{custom, refused, s3_error};
use super::headers::timestamp;
use super::{Mapper, shown_owner};
use crate::objects::api::{BucketInfo, ObjectError};
use crate::rules::acl::Acl;
use crate::rules::names;

/// The region that S3 writes as an empty location constraint, and in which creating one's own bucket again is no error.
const CLASSIC_REGION: &str = "us-east-1";
/// Buckets on one page of a listing, as in S3.
const PAGE_MAX: usize = 10_000;

pub(super) async fn create(mapper: &Mapper, request: S3Request<CreateBucketInput>) -> S3Result<CreateBucketOutput> {
    let S3Request { input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let constraint = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
    let region = constraint.map(|constraint| constraint.as_str().to_owned()).unwrap_or_default();
    if !region.is_empty() && region != mapper.region {
        let message = format!("The specified location constraint is not valid: this gateway is {}", mapper.region);
        return Err(refused(S3ErrorCode::InvalidLocationConstraint, message));
    }
    let output = CreateBucketOutput { location: Some(format!("/{}", input.bucket)), ..Default::default() };
    let owner = access.user_name();
    let ownership = input.object_ownership.as_ref().map(known_ownership).transpose()?;
    let acl = acl_wish!(input, input.grant_write.as_deref()).acl(mapper, owner, owner)?;
    let acl = acl.filter(|acl| *acl != Acl::private(owner));
    if acl.is_some() && ownership.as_deref() == Some(ObjectOwnership::BUCKET_OWNER_ENFORCED) {
        let message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
        return Err(custom("InvalidBucketAclWithObjectOwnership", http::StatusCode::BAD_REQUEST, message));
    }
    let lockable = input.object_lock_enabled_for_bucket.unwrap_or(false);
    match mapper.objects.create_bucket_with(&input.bucket, owner, &region, lockable).await {
        Ok(_) => {}
        Err(ObjectError::BucketAlreadyOwned) if mapper.region == CLASSIC_REGION => {
            let present = mapper.objects.bucket(&input.bucket).await.map_err(s3_error)?;
            let wanted = acl.unwrap_or_else(|| Acl::private(owner));
            let same = present.rules().acl == wanted && present.info.lockable == lockable;
            let message = "The bucket exists with other settings, which making it again does not change";
            return if same { Ok(output) } else { Err(refused(S3ErrorCode::BucketAlreadyExists, message)) };
        }
        Err(error) => return Err(s3_error(error)),
    }
    for (name, text) in [(names::OWNERSHIP, ownership), (names::ACL, acl.map(|acl| acl.encode()))] {
        if text.is_some() {
            mapper.objects.set_config(&input.bucket, name, text).await.map_err(s3_error)?;
        }
    }
    Ok(output)
}

pub(super) async fn head(mapper: &Mapper, request: S3Request<HeadBucketInput>) -> S3Result<HeadBucketOutput> {
    mapper.objects.head_bucket(&request.input.bucket).await.map_err(s3_error)?;
    Ok(HeadBucketOutput { bucket_region: Some(mapper.region.clone()), ..Default::default() })
}

pub(super) async fn list(mapper: &Mapper, request: S3Request<ListBucketsInput>) -> S3Result<ListBucketsOutput> {
    let S3Request { input, extensions, .. } = request;
    let user = Access::of(&extensions)?.user_name().to_owned();
    let max = match input.max_buckets {
        None => PAGE_MAX,
        Some(max) if (1..=10_000).contains(&max) => usize::try_from(max).unwrap_or(PAGE_MAX),
        Some(_) => return Err(refused(S3ErrorCode::InvalidArgument, "Argument max-buckets must be between 1 and 10000")),
    };
    let prefix = input.prefix.unwrap_or_default();
    // The answer shows it and, other than a listing of keys, has no encoding for it.
    if !super::list::fits_xml(&prefix) {
        return Err(refused(S3ErrorCode::InvalidArgument, "The prefix has a character that XML cannot hold"));
    }
    let after = input.continuation_token.map(|token| super::list::key_of_token(&token)).transpose()?;
    let mut found = mapper.objects.list_buckets().await.map_err(s3_error)?;
    found.retain(|bucket| bucket.owner == user);
    found.retain(|bucket| bucket.name.starts_with(&prefix) && after.as_ref().is_none_or(|after| bucket.name > *after));
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let truncated = found.len() > max;
    found.truncate(max);
    let next = found.last().filter(|_| truncated).map(|last| super::list::token_of_key(&last.name));
    let buckets = found.into_iter().map(|bucket| shown(mapper, bucket)).collect();
    Ok(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token: next,
        owner: Some(shown_owner(&user)),
        prefix: (!prefix.is_empty()).then_some(prefix),
    })
}

fn shown(mapper: &Mapper, bucket: BucketInfo) -> Bucket {
    Bucket {
        bucket_region: Some(mapper.region.clone()),
        creation_date: Some(timestamp(bucket.created)),
        name: Some(bucket.name),
        ..Default::default()
    }
}

pub(super) async fn delete(mapper: &Mapper, request: S3Request<DeleteBucketInput>) -> S3Result<DeleteBucketOutput> {
    mapper.objects.delete_bucket(&request.input.bucket).await.map_err(s3_error)?;
    Ok(DeleteBucketOutput::default())
}

pub(super) async fn location(mapper: &Mapper, request: S3Request<GetBucketLocationInput>) -> S3Result<GetBucketLocationOutput> {
    mapper.objects.head_bucket(&request.input.bucket).await.map_err(s3_error)?;
    let constraint = (mapper.region != CLASSIC_REGION).then(|| BucketLocationConstraint::from(mapper.region.clone()));
    Ok(GetBucketLocationOutput { location_constraint: constraint })
}
