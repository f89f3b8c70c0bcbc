//! S3: the protocol's front door, a thin mapper between the `s3s` library and [`crate::objects`].
//!
//! Never: a decision about storage here, a type of the library behind it. Limits: [`server::S3Config`].
//!
//! One file a group: [`buckets`], [`put`], [`get`], [`copy`], [`list`], [`multipart`]; [`headers`], [`checksum`] and [`errors`]
//! translate; [`auth`] judges who asks; [`front`] and [`server`] carry requests. What is not here answers NotImplemented.

mod access;
mod acl;
mod auth;
mod buckets;
mod checksum;
mod config;
mod copy;
mod cors;
mod errors;
mod front;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod headers;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod presign;
mod put;
mod rights;
mod server;
mod sse;
mod stall;
mod sts;
mod tags;
mod tls;
mod witness;

pub use presign::{Endpoint, Link};
pub use server::{LOG_DIRECTIVE, S3Config, ServeError, router, serve, serve_router};
pub use tls::{Tls, TlsError};

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::objects::Objects;

/// Answers the S3 library's operations with the object store.
struct Mapper {
    objects: Objects,
    region: String,
    account: String,
}

impl Mapper {
    fn new(objects: Objects, config: &S3Config) -> Mapper {
        Mapper { objects, region: config.region.clone(), account: config.account.clone() }
    }
}

/// A user as S3 shows an owner.
fn shown_owner(user: &str) -> Owner {
    Owner { display_name: Some(user.to_owned()), id: Some(user.to_owned()) }
}

/// Each operation is one function of its group.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty = $group:ident :: $function:ident;)*) => {
        #[async_trait]
        impl S3 for Mapper {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $group::$function(self, request).await.map(S3Response::new)
            })*
        }
    };
}

operations! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = acl::get_bucket;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = acl::put_bucket;

    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = config::get_versioning;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = config::put_versioning;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = config::get_policy;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = config::put_policy;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = config::delete_policy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = config::policy_status;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = config::get_public_access;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = config::put_public_access;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = config::delete_public_access;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = config::get_ownership;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = config::put_ownership;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = config::delete_ownership;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = config::get_tagging;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = config::put_tagging;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = config::delete_tagging;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = config::get_encryption;
    put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput = config::put_encryption;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = config::delete_encryption;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors::get;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = cors::put;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = cors::delete;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = config::get_payment;
    put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput = config::put_payment;

    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock::get_config;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = lock::put_config;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = lock::get_retention;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = lock::put_retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = lock::get_hold;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = lock::put_hold;

    put_object(PutObjectInput) -> PutObjectOutput = put::object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = put::delete;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = put::delete_many;

    get_object(GetObjectInput) -> GetObjectOutput = get::object;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = get::attributes;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tags::get;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tags::put;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tags::delete;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = acl::get_object;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = acl::put_object;

    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::object;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy::part;

    list_objects(ListObjectsInput) -> ListObjectsOutput = list::v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = list::versions;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list_uploads;
}

#[cfg(any(test, fuzzing))]
fn test_info(len: u64, parts: &[(u32, u64)]) -> crate::objects::api::ObjectInfo {
    use crate::objects::api::{ObjectInfo, ObjectPart, VersionId};
    let part = |&(number, len): &(u32, u64)| ObjectPart { number, len, checksums: Vec::new() };
    ObjectInfo {
        bucket: "bucket".into(),
        key: "key".into(),
        version: VersionId { writer_epoch: 1, sequence: 1 },
        named: false,
        delete_marker: false,
        control: Default::default(),
        len,
        etag: "d41d8cd98f00b204e9800998ecf8427e".into(),
        modified: cairn_types::UnixMs(10_000),
        meta: Default::default(),
        checksums: Vec::new(),
        parts: parts.iter().map(part).collect(),
        extents: [].into(),
        lease: None,
    }
}
