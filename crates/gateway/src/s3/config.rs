//! Bucket configurations: versioning, policy, public access, ownership, tags, default encryption. Kept as the XML or JSON that was sent.
//!
//! Never: a configuration kept that nothing obeys. Limits: [`super::server::S3Config::xml_len_max`].

use s3s::dto::*;
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::{Access, denied};
use super::errors::{custom, refused, s3_error};
use crate::objects::Bucket;
use crate::objects::api::Versioning;
use crate::rules::acl::PublicAccessBlock;
use crate::rules::names;
use crate::rules::policy::Policy as Rules;

/// Tags of a bucket, as in S3.
const BUCKET_TAGS_MAX: usize = 50;

/// A configuration as it is kept.
pub(super) fn to_xml(value: &impl Serialize) -> S3Result<String> {
    let mut xml = Vec::new();
    value.serialize(&mut Serializer::new(&mut xml)).map_err(S3Error::internal_error)?;
    String::from_utf8(xml).map_err(S3Error::internal_error)
}

/// A configuration as it was kept.
pub(super) fn from_xml<T: for<'xml> Deserialize<'xml>>(xml: &str) -> S3Result<T> {
    T::deserialize(&mut Deserializer::new(xml.as_bytes())).map_err(S3Error::internal_error)
}

/// The XML of a configuration, or the error S3 has for its absence.
pub(super) fn kept<T: for<'xml> Deserialize<'xml>>(bucket: &Bucket, name: &str, absent: S3Error) -> S3Result<T> {
    match bucket.config(name) {
        Some(xml) => from_xml(xml),
        None => Err(absent),
    }
}

/// Writes a configuration of the bucket asked about.
pub(super) async fn write<I>(mapper: &Mapper, request: &S3Request<I>, name: &'static str, text: Option<String>) -> S3Result<()> {
    let bucket = Access::of(&request.extensions)?.bucket()?.info.name.clone();
    mapper.objects.set_config(&bucket, name, text).await.map_err(s3_error)
}

fn not_found(code: &'static str, message: &str) -> S3Error {
    custom(code, http::StatusCode::NOT_FOUND, message)
}

pub(super) async fn get_versioning(
    _mapper: &Mapper,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<GetBucketVersioningOutput> {
    let status = match Access::of(&request.extensions)?.bucket()?.info.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(GetBucketVersioningOutput { status, ..Default::default() })
}

pub(super) async fn put_versioning(
    mapper: &Mapper,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<PutBucketVersioningOutput> {
    let wanted = request.input.versioning_configuration;
    if wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
        return Err(refused(S3ErrorCode::NotImplemented, "MFA delete is not supported"));
    }
    let versioning = match wanted.status.as_ref().map(|status| status.as_str()) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(S3ErrorCode::IllegalVersioningConfigurationException.into()),
    };
    mapper.objects.set_versioning(&request.input.bucket, versioning).await.map_err(s3_error)?;
    Ok(PutBucketVersioningOutput::default())
}

pub(super) async fn get_policy(_mapper: &Mapper, request: S3Request<GetBucketPolicyInput>) -> S3Result<GetBucketPolicyOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    match bucket.config(names::POLICY) {
        Some(policy) => Ok(GetBucketPolicyOutput { policy: Some(policy.to_owned()) }),
        None => Err(no_policy()),
    }
}

fn no_policy() -> S3Error {
    refused(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist")
}

pub(super) async fn put_policy(mapper: &Mapper, request: S3Request<PutBucketPolicyInput>) -> S3Result<PutBucketPolicyOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let text = request.input.policy.clone();
    let malformed = |error: crate::rules::policy::PolicyError| refused(S3ErrorCode::MalformedPolicy, error.to_string());
    let policy = Rules::parse(&text, &bucket.info.name).map_err(malformed)?;
    if bucket.rules().public_access.block_public_policy && policy.is_public() {
        return Err(denied());
    }
    write(mapper, &request, names::POLICY, Some(text)).await?;
    Ok(PutBucketPolicyOutput {})
}

pub(super) async fn delete_policy(
    mapper: &Mapper,
    request: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<DeleteBucketPolicyOutput> {
    write(mapper, &request, names::POLICY, None).await?;
    Ok(DeleteBucketPolicyOutput {})
}

pub(super) async fn policy_status(
    _mapper: &Mapper,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<GetBucketPolicyStatusOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let rules = bucket.rules();
    let by_policy = rules.policy.as_ref().is_some_and(Rules::is_public);
    let is_public = by_policy || rules.bucket_acl().is_public();
    Ok(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public: Some(is_public) }) })
}

pub(super) async fn get_public_access(
    _mapper: &Mapper,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<GetPublicAccessBlockOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    if bucket.config(names::PUBLIC_ACCESS).is_none() {
        return Err(not_found("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"));
    }
    let block = bucket.rules().public_access;
    Ok(GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            block_public_policy: Some(block.block_public_policy),
            ignore_public_acls: Some(block.ignore_public_acls),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        }),
    })
}

pub(super) async fn put_public_access(
    mapper: &Mapper,
    request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<PutPublicAccessBlockOutput> {
    let wanted = &request.input.public_access_block_configuration;
    let block = PublicAccessBlock {
        block_public_acls: wanted.block_public_acls.unwrap_or(false),
        ignore_public_acls: wanted.ignore_public_acls.unwrap_or(false),
        block_public_policy: wanted.block_public_policy.unwrap_or(false),
        restrict_public_buckets: wanted.restrict_public_buckets.unwrap_or(false),
    };
    let text = serde_json::to_string(&block).map_err(S3Error::internal_error)?;
    write(mapper, &request, names::PUBLIC_ACCESS, Some(text)).await?;
    Ok(PutPublicAccessBlockOutput {})
}

pub(super) async fn delete_public_access(
    mapper: &Mapper,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<DeletePublicAccessBlockOutput> {
    write(mapper, &request, names::PUBLIC_ACCESS, None).await?;
    Ok(DeletePublicAccessBlockOutput {})
}

pub(super) async fn get_ownership(
    _mapper: &Mapper,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<GetBucketOwnershipControlsOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let Some(ownership) = bucket.config(names::OWNERSHIP) else {
        return Err(not_found("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"));
    };
    let rules = vec![OwnershipControlsRule { object_ownership: ObjectOwnership::from(ownership.to_owned()) }];
    Ok(GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) })
}

/// An object ownership that S3 knows.
pub(super) fn known_ownership(ownership: &ObjectOwnership) -> S3Result<String> {
    match ownership.as_str() {
        known @ (ObjectOwnership::BUCKET_OWNER_ENFORCED
        | ObjectOwnership::BUCKET_OWNER_PREFERRED
        | ObjectOwnership::OBJECT_WRITER) => Ok(known.to_owned()),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}

pub(super) async fn put_ownership(
    mapper: &Mapper,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<PutBucketOwnershipControlsOutput> {
    let [rule] = request.input.ownership_controls.rules.as_slice() else { return Err(S3ErrorCode::MalformedXML.into()) };
    let ownership = known_ownership(&rule.object_ownership)?;
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let owners_alone = bucket
        .rules()
        .acl
        .grants
        .iter()
        .all(|grant| matches!(&grant.to, crate::rules::acl::Grantee::User(user) if *user == bucket.info.owner));
    if ownership == ObjectOwnership::BUCKET_OWNER_ENFORCED && !owners_alone {
        let message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
        return Err(custom("InvalidBucketAclWithObjectOwnership", http::StatusCode::BAD_REQUEST, message));
    }
    write(mapper, &request, names::OWNERSHIP, Some(ownership)).await?;
    Ok(PutBucketOwnershipControlsOutput {})
}

pub(super) async fn delete_ownership(
    mapper: &Mapper,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<DeleteBucketOwnershipControlsOutput> {
    write(mapper, &request, names::OWNERSHIP, None).await?;
    Ok(DeleteBucketOwnershipControlsOutput {})
}

pub(super) async fn get_tagging(_mapper: &Mapper, request: S3Request<GetBucketTaggingInput>) -> S3Result<GetBucketTaggingOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let tagging: Tagging = kept(bucket, names::TAGGING, not_found("NoSuchTagSet", "The TagSet does not exist"))?;
    Ok(GetBucketTaggingOutput { tag_set: tagging.tag_set })
}

pub(super) async fn put_tagging(mapper: &Mapper, request: S3Request<PutBucketTaggingInput>) -> S3Result<PutBucketTaggingOutput> {
    super::tags::tag_map(&request.input.tagging.tag_set, BUCKET_TAGS_MAX)?;
    let xml = to_xml(&request.input.tagging)?;
    write(mapper, &request, names::TAGGING, Some(xml)).await?;
    Ok(PutBucketTaggingOutput {})
}

pub(super) async fn delete_tagging(
    mapper: &Mapper,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<DeleteBucketTaggingOutput> {
    write(mapper, &request, names::TAGGING, None).await?;
    Ok(DeleteBucketTaggingOutput {})
}

pub(super) async fn get_encryption(
    _mapper: &Mapper,
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<GetBucketEncryptionOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let absent = "The server side encryption configuration was not found";
    let absent = not_found("ServerSideEncryptionConfigurationNotFoundError", absent);
    let configuration = kept(bucket, names::ENCRYPTION, absent)?;
    Ok(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(configuration) })
}

pub(super) async fn put_encryption(
    mapper: &Mapper,
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<PutBucketEncryptionOutput> {
    let configuration = &request.input.server_side_encryption_configuration;
    let [rule] = configuration.rules.as_slice() else { return Err(S3ErrorCode::MalformedXML.into()) };
    let Some(default) = &rule.apply_server_side_encryption_by_default else { return Err(S3ErrorCode::MalformedXML.into()) };
    match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 if default.kms_master_key_id.is_none() => {}
        ServerSideEncryption::AES256 => return Err(refused(S3ErrorCode::InvalidArgument, "AES256 takes no KMS key")),
        _ => return Err(refused(S3ErrorCode::NotImplemented, "Encryption with KMS keys is not supported")),
    }
    let xml = to_xml(configuration)?;
    write(mapper, &request, names::ENCRYPTION, Some(xml)).await?;
    Ok(PutBucketEncryptionOutput {})
}

pub(super) async fn delete_encryption(
    mapper: &Mapper,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<DeleteBucketEncryptionOutput> {
    write(mapper, &request, names::ENCRYPTION, None).await?;
    Ok(DeleteBucketEncryptionOutput {})
}

pub(super) async fn get_payment(
    _mapper: &Mapper,
    request: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<GetBucketRequestPaymentOutput> {
    let payer = Access::of(&request.extensions)?.bucket()?.config(names::PAYMENT).unwrap_or(Payer::BUCKET_OWNER).to_owned();
    Ok(GetBucketRequestPaymentOutput { payer: Some(Payer::from(payer)) })
}

/// Who pays for requests is kept and shown; the owner's channel pays in any case, as there are no fees for requests.
pub(super) async fn put_payment(
    mapper: &Mapper,
    request: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<PutBucketRequestPaymentOutput> {
    let payer = request.input.request_payment_configuration.payer.as_str().to_owned();
    if payer != Payer::BUCKET_OWNER && payer != Payer::REQUESTER {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    write(mapper, &request, names::PAYMENT, Some(payer)).await?;
    Ok(PutBucketRequestPaymentOutput {})
}
