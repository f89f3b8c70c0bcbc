//! S3: the protocol's front door, a thin mapper between the `s3s` library and [`crate::objects`].
//!
//! Never: a decision about storage here, a type of the library behind it. Limits: [`server::S3Config`].
//!
//! One file a group: [`buckets`], [`put`], [`get`], [`copy`], [`list`], [`multipart`]; [`headers`], [`checksum`] and [`errors`]
//! translate; [`auth`] judges who asks; [`front`] and [`server`] carry requests. What is not here answers NotImplemented.

mod auth;
mod buckets;
mod checksum;
mod copy;
mod errors;
mod front;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod headers;
mod list;
mod multipart;
mod put;
mod server;
mod stall;
mod witness;

pub use server::{LOG_DIRECTIVE, S3Config, ServeError, router, serve, serve_router};

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

    fn owner(&self) -> Owner {
        Owner { display_name: Some(self.account.clone()), id: Some(self.account.clone()) }
    }
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
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = buckets::acl;

    put_object(PutObjectInput) -> PutObjectOutput = put::object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = put::delete;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = put::delete_many;

    get_object(GetObjectInput) -> GetObjectOutput = get::object;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = get::attributes;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = get::tagging;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = get::acl;

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
