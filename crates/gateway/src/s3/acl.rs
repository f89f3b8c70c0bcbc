//! ACLs: as S3's XML and headers say them, and as they are kept.
//!
//! Never: an ACL kept that the bucket's settings forbid. Limits: 100 grants.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::access::{Access, acl_of, denied};
use super::errors::{custom, refused, s3_error};
use super::headers::version_of;
use super::{Mapper, shown_owner};
use crate::catalog::record::ControlRecord;
use crate::objects::Bucket;
use crate::rules::acl::{self, Acl, AclError, Permission as Right};
use crate::rules::names;

/// What a request says of an ACL: a canned one, or grants by header.
pub(super) struct Wish<'a> {
    pub(super) canned: Option<&'a str>,
    pub(super) grants: [(Option<&'a str>, Right); 5],
}

/// Reads the ACL headers of an input; all inputs name them alike.
macro_rules! acl_wish {
    ($input:expr, $write:expr) => {
        $crate::s3::acl::Wish {
            canned: $input.acl.as_ref().map(|acl| acl.as_str()),
            grants: [
                ($input.grant_full_control.as_deref(), $crate::rules::acl::Permission::FullControl),
                ($input.grant_read.as_deref(), $crate::rules::acl::Permission::Read),
                ($write, $crate::rules::acl::Permission::Write),
                ($input.grant_read_acp.as_deref(), $crate::rules::acl::Permission::ReadAcp),
                ($input.grant_write_acp.as_deref(), $crate::rules::acl::Permission::WriteAcp),
            ],
        }
    };
}
pub(super) use acl_wish;

fn acl_error(error: AclError) -> S3Error {
    match error {
        AclError::UnknownCanned(_) | AclError::Grantee(_) => refused(S3ErrorCode::InvalidArgument, error.to_string()),
        AclError::TooMany => custom("MalformedACLError", http::StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn not_supported() -> S3Error {
    refused(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs")
}

impl Wish<'_> {
    /// The ACL that is wished for; `None` without a wish.
    pub(super) fn acl(&self, mapper: &Mapper, owner: &str, bucket_owner: &str) -> S3Result<Option<Acl>> {
        let by_header = self.grants.iter().any(|(value, _)| value.is_some());
        match self.canned {
            Some(_) if by_header => {
                Err(refused(S3ErrorCode::InvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed"))
            }
            Some(canned) => Acl::canned(canned, owner, bucket_owner).map(Some).map_err(acl_error),
            None if by_header => {
                let mut grants = Vec::new();
                for (value, permission) in &self.grants {
                    grants.extend(Acl::parse_grants(value.unwrap_or_default(), *permission).map_err(acl_error)?);
                }
                let acl = Acl { owner: owner.to_owned(), grants }.checked().map_err(acl_error)?;
                check_known(mapper, &acl)?;
                Ok(Some(acl))
            }
            None => Ok(None),
        }
    }
}

/// Grants to users that nobody has a key of are refused, as S3 does.
fn check_known(mapper: &Mapper, acl: &Acl) -> S3Result<()> {
    let unknown = acl.grants.iter().find(|grant| match &grant.to {
        acl::Grantee::User(user) => *user != mapper.account && *user != acl.owner && !mapper.objects.knows_user(user),
        _ => false,
    });
    match unknown {
        Some(_) => Err(refused(S3ErrorCode::InvalidArgument, "Invalid id")),
        None => Ok(()),
    }
}

/// The ACL of a new object: empty when it is the owner's alone.
///
/// # Errors
/// AccessControlListNotSupported, AccessDenied for a public one in a bucket that blocks those.
pub(super) fn of_new_object(mapper: &Mapper, access: &Access, wish: &Wish<'_>) -> S3Result<(String, String)> {
    let bucket = access.bucket()?;
    let rules = bucket.rules();
    let bucket_owner = bucket.info.owner.as_str();
    if !rules.acls_enabled() {
        let harmless = matches!(wish.canned, None | Some("bucket-owner-full-control"));
        let by_header = wish.grants.iter().any(|(value, _)| value.is_some());
        if !harmless || by_header {
            return Err(not_supported());
        }
        return Ok((bucket_owner.to_owned(), String::new()));
    }
    let given_away =
        rules.ownership.as_deref() == Some("BucketOwnerPreferred") && wish.canned == Some("bucket-owner-full-control");
    let owner = if given_away { bucket_owner } else { access.user_name() };
    let acl = wish.acl(mapper, owner, bucket_owner)?;
    check_allowed(bucket, acl.as_ref())?;
    Ok((owner.to_owned(), acl.map(|acl| acl.encode()).unwrap_or_default()))
}

/// A public ACL is refused where public ones are blocked.
pub(super) fn check_allowed(bucket: &Bucket, acl: Option<&Acl>) -> S3Result<()> {
    if bucket.rules().public_access.block_public_acls && acl.is_some_and(Acl::is_public) { Err(denied()) } else { Ok(()) }
}

fn shown(acl: &Acl) -> (Vec<Grant>, Owner) {
    let grant = |grant: &acl::Grant| {
        let grantee = match (&grant.to, grant.to.uri()) {
            (acl::Grantee::User(id), _) => Grantee {
                display_name: Some(id.clone()),
                email_address: None,
                id: Some(id.clone()),
                type_: Type::from_static(Type::CANONICAL_USER),
                uri: None,
            },
            (_, uri) => Grantee {
                display_name: None,
                email_address: None,
                id: None,
                type_: Type::from_static(Type::GROUP),
                uri: uri.map(str::to_owned),
            },
        };
        Grant { grantee: Some(grantee), permission: Some(Permission::from_static(grant.permission.name())) }
    };
    // groups first
    let (groups, users): (Vec<_>, Vec<_>) = acl.grants.iter().partition(|grant| grant.to.uri().is_some());
    (groups.into_iter().chain(users).map(grant).collect(), shown_owner(&acl.owner))
}

/// The ACL of an XML body. Its owner cannot be changed by it.
fn of_xml(mapper: &Mapper, policy: &AccessControlPolicy, owner: &str) -> S3Result<Acl> {
    let malformed = || custom("MalformedACLError", http::StatusCode::BAD_REQUEST, "The XML you provided was not well-formed");
    let named = policy.owner.as_ref().and_then(|owner| owner.id.as_deref());
    if named.is_some_and(|named| named != owner) {
        return Err(denied());
    }
    let mut grants = Vec::new();
    for grant in policy.grants.iter().flatten() {
        let permission = grant.permission.as_ref().and_then(|name| Right::parse(name.as_str())).ok_or_else(malformed)?;
        let grantee = grant.grantee.as_ref().ok_or_else(malformed)?;
        let to = match grantee.type_.as_str() {
            Type::CANONICAL_USER => acl::Grantee::User(grantee.id.clone().filter(|id| !id.is_empty()).ok_or_else(malformed)?),
            Type::GROUP => {
                let uri = grantee.uri.as_deref().unwrap_or_default();
                let invalid = || refused(S3ErrorCode::InvalidArgument, "Invalid group uri");
                acl::Grantee::of_uri(uri).ok_or_else(invalid)?
            }
            Type::AMAZON_CUSTOMER_BY_EMAIL => {
                let message = "The e-mail address you provided does not match any account on record: users have none here";
                return Err(custom("UnresolvableGrantByEmailAddress", http::StatusCode::BAD_REQUEST, message));
            }
            _ => return Err(malformed()),
        };
        grants.push(acl::Grant { to, permission });
    }
    let acl = Acl { owner: owner.to_owned(), grants }.checked().map_err(acl_error)?;
    check_known(mapper, &acl)?;
    Ok(acl)
}

/// The ACL that a PutAcl request asks for.
fn asked(mapper: &Mapper, bucket: &Bucket, wish: &Wish<'_>, body: Option<&AccessControlPolicy>, owner: &str) -> S3Result<Acl> {
    if !bucket.rules().acls_enabled() {
        return Err(not_supported());
    }
    let acl = match (wish.acl(mapper, owner, &bucket.info.owner)?, body) {
        (Some(acl), _) => acl,
        (None, Some(body)) => of_xml(mapper, body, owner)?,
        (None, None) => return Err(refused(S3ErrorCode::MissingSecurityHeader, "Your request was missing a required header")),
    };
    check_allowed(bucket, Some(&acl))?;
    Ok(acl)
}

pub(super) async fn get_bucket(_mapper: &Mapper, request: S3Request<GetBucketAclInput>) -> S3Result<GetBucketAclOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let rules = bucket.rules();
    let (grants, owner) = if rules.acls_enabled() { shown(&rules.acl) } else { shown(&Acl::private(&bucket.info.owner)) };
    Ok(GetBucketAclOutput { grants: Some(grants), owner: Some(owner) })
}

pub(super) async fn put_bucket(mapper: &Mapper, request: S3Request<PutBucketAclInput>) -> S3Result<PutBucketAclOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let input = &request.input;
    let wish = acl_wish!(input, input.grant_write.as_deref());
    let acl = asked(mapper, bucket, &wish, input.access_control_policy.as_ref(), &bucket.info.owner)?;
    super::config::write(mapper, &request, names::ACL, Some(acl.encode())).await?;
    Ok(PutBucketAclOutput {})
}

pub(super) async fn get_object(mapper: &Mapper, request: S3Request<GetObjectAclInput>) -> S3Result<GetObjectAclOutput> {
    let access = Access::of(&request.extensions)?;
    let input = &request.input;
    let version = version_of(input.version_id.as_deref())?;
    let info = mapper.objects.head_version(&input.bucket, &input.key, version).await;
    let info = info.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    let (grants, owner) = shown(&acl_of(access.bucket()?, &info));
    Ok(GetObjectAclOutput { grants: Some(grants), owner: Some(owner), request_charged: None })
}

pub(super) async fn put_object(mapper: &Mapper, request: S3Request<PutObjectAclInput>) -> S3Result<PutObjectAclOutput> {
    let access = Access::of(&request.extensions)?;
    let bucket = access.bucket()?;
    let input = &request.input;
    let version = version_of(input.version_id.as_deref())?;
    let info = mapper.objects.head_version(&input.bucket, &input.key, version).await;
    let info = info.map_err(|error| access.missing(error))?;
    access.check_object(&info)?;
    let owner = super::access::owner_of(bucket, &info).to_owned();
    let wish = acl_wish!(input, None);
    let acl = asked(mapper, bucket, &wish, input.access_control_policy.as_ref(), &owner)?.encode();
    let changing = mapper.objects.amend(&input.bucket, &input.key, version, move |record| {
        let control = record.control.get_or_insert_with(ControlRecord::default);
        control.owner.clone_from(&owner);
        control.acl.clone_from(&acl);
        Ok(())
    });
    changing.await.map_err(s3_error)?;
    Ok(PutObjectAclOutput { request_charged: None })
}
