//! Buckets: create, head, list, delete, location, and the answers of a bucket without versioning and ACLs.
//!
//! Never: a bucket of another account. Limits: one account, one region.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::errors::{refused, s3_error};
use super::headers::timestamp;
use crate::objects::api::{BucketInfo, ObjectError};

/// The region that S3 writes as an empty location constraint, and in which creating one's own bucket again is no error.
const CLASSIC_REGION: &str = "us-east-1";
/// Buckets on one page of a listing, as in S3.
const PAGE_MAX: usize = 10_000;

pub(super) async fn create(mapper: &Mapper, request: S3Request<CreateBucketInput>) -> S3Result<CreateBucketOutput> {
    let input = request.input;
    let constraint = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
    let region = constraint.map(|constraint| constraint.as_str().to_owned()).unwrap_or_default();
    if !region.is_empty() && region != mapper.region {
        let message = format!("The specified location constraint is not valid: this gateway is {}", mapper.region);
        return Err(refused(S3ErrorCode::InvalidLocationConstraint, message));
    }
    let output = CreateBucketOutput { location: Some(format!("/{}", input.bucket)), ..Default::default() };
    match mapper.objects.create_bucket(&input.bucket, &mapper.account, &region).await {
        Ok(_) => Ok(output),
        Err(ObjectError::BucketAlreadyOwned) if mapper.region == CLASSIC_REGION => Ok(output),
        Err(error) => Err(s3_error(error)),
    }
}

pub(super) async fn head(mapper: &Mapper, request: S3Request<HeadBucketInput>) -> S3Result<HeadBucketOutput> {
    mapper.objects.head_bucket(&request.input.bucket).await.map_err(s3_error)?;
    Ok(HeadBucketOutput { bucket_region: Some(mapper.region.clone()), ..Default::default() })
}

pub(super) async fn list(mapper: &Mapper, request: S3Request<ListBucketsInput>) -> S3Result<ListBucketsOutput> {
    let input = request.input;
    let max = match input.max_buckets {
        None => PAGE_MAX,
        Some(max) if (1..=10_000).contains(&max) => usize::try_from(max).unwrap_or(PAGE_MAX),
        Some(_) => return Err(refused(S3ErrorCode::InvalidArgument, "Argument max-buckets must be between 1 and 10000")),
    };
    let mut found = mapper.objects.list_buckets().await.map_err(s3_error)?;
    let prefix = input.prefix.unwrap_or_default();
    let after = input.continuation_token.map(|token| super::list::key_of_token(&token)).transpose()?;
    found.retain(|bucket| bucket.name.starts_with(&prefix) && after.as_ref().is_none_or(|after| bucket.name > *after));
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let truncated = found.len() > max;
    found.truncate(max);
    let next = found.last().filter(|_| truncated).map(|last| super::list::token_of_key(&last.name));
    let buckets = found.into_iter().map(|bucket| shown(mapper, bucket)).collect();
    Ok(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token: next,
        owner: Some(mapper.owner()),
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

/// An empty answer: versioning was never switched on.
pub(super) async fn versioning(
    mapper: &Mapper,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<GetBucketVersioningOutput> {
    mapper.objects.head_bucket(&request.input.bucket).await.map_err(s3_error)?;
    Ok(GetBucketVersioningOutput::default())
}

/// The only ACL there is: the owner may do everything.
pub(super) async fn acl(mapper: &Mapper, request: S3Request<GetBucketAclInput>) -> S3Result<GetBucketAclOutput> {
    mapper.objects.head_bucket(&request.input.bucket).await.map_err(s3_error)?;
    Ok(GetBucketAclOutput { grants: Some(vec![owner_grant(mapper)]), owner: Some(mapper.owner()) })
}

/// Full control for the owner.
pub(super) fn owner_grant(mapper: &Mapper) -> Grant {
    let grantee = Grantee {
        display_name: Some(mapper.account.clone()),
        email_address: None,
        id: Some(mapper.account.clone()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }
}
