//! Rights: which action of the policy language an operation is, and which grant of an ACL allows it.
//!
//! Source: the S3 user guide, "Actions defined by Amazon S3" and "ACL permissions". Never: an operation without a row here; one that is
//! not named is refused. Limits: none.

use crate::rules::acl::Permission;

/// What an operation is about, and who may do it without a policy that allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// No bucket: everybody with an access key.
    Service,
    /// A bucket that may not exist yet: everybody with an access key.
    NewBucket,
    /// A bucket: its owner, and whom its ACL grants this.
    Bucket(Option<Permission>),
    /// An object to be: the bucket's owner, and whom the bucket's ACL grants to write.
    NewObject,
    /// An object: judged by the object's ACL, once it was found.
    Object(Permission),
    /// What is said of an object: its owner and the bucket's.
    ObjectOwner,
    /// Objects that the body names: judged one by one.
    Objects,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    /// Action of the policy language.
    pub action: &'static str,
    /// Action when a version is named.
    pub of_version: &'static str,
    pub scope: Scope,
    /// It changes something.
    pub writes: bool,
}

const fn right(action: &'static str, scope: Scope, writes: bool) -> Right {
    Right { action, of_version: action, scope, writes }
}

const fn versioned(action: &'static str, of_version: &'static str, scope: Scope, writes: bool) -> Right {
    Right { action, of_version, scope, writes }
}

/// The row of an operation of the S3 library.
pub(super) fn right_of(operation: &str) -> Option<Right> {
    bucket_right(operation).or_else(|| object_right(operation))
}

fn bucket_right(operation: &str) -> Option<Right> {
    use Scope::{Bucket, NewBucket, Service};
    const OWNER: Scope = Bucket(None);
    const READ: Scope = Bucket(Some(Permission::Read));
    Some(match operation {
        "ListBuckets" => right("s3:ListAllMyBuckets", Service, false),
        "CreateBucket" => right("s3:CreateBucket", NewBucket, true),
        "DeleteBucket" => right("s3:DeleteBucket", OWNER, true),
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => right("s3:ListBucket", READ, false),
        "ListObjectVersions" => right("s3:ListBucketVersions", READ, false),
        "ListMultipartUploads" => right("s3:ListBucketMultipartUploads", READ, false),
        "GetBucketLocation" => right("s3:GetBucketLocation", OWNER, false),
        "GetBucketAcl" => right("s3:GetBucketAcl", Bucket(Some(Permission::ReadAcp)), false),
        "PutBucketAcl" => right("s3:PutBucketAcl", Bucket(Some(Permission::WriteAcp)), true),
        "GetBucketVersioning" => right("s3:GetBucketVersioning", OWNER, false),
        "PutBucketVersioning" => right("s3:PutBucketVersioning", OWNER, true),
        "GetBucketPolicy" => right("s3:GetBucketPolicy", OWNER, false),
        "PutBucketPolicy" => right("s3:PutBucketPolicy", OWNER, true),
        "DeleteBucketPolicy" => right("s3:DeleteBucketPolicy", OWNER, true),
        "GetBucketPolicyStatus" => right("s3:GetBucketPolicyStatus", OWNER, false),
        "GetPublicAccessBlock" => right("s3:GetBucketPublicAccessBlock", OWNER, false),
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => right("s3:PutBucketPublicAccessBlock", OWNER, true),
        "GetBucketOwnershipControls" => right("s3:GetBucketOwnershipControls", OWNER, false),
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => right("s3:PutBucketOwnershipControls", OWNER, true),
        "GetBucketTagging" => right("s3:GetBucketTagging", OWNER, false),
        "PutBucketTagging" | "DeleteBucketTagging" => right("s3:PutBucketTagging", OWNER, true),
        "GetBucketCors" => right("s3:GetBucketCORS", OWNER, false),
        "PutBucketCors" | "DeleteBucketCors" => right("s3:PutBucketCORS", OWNER, true),
        "GetBucketLifecycleConfiguration" => right("s3:GetLifecycleConfiguration", OWNER, false),
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => right("s3:PutLifecycleConfiguration", OWNER, true),
        "GetBucketEncryption" => right("s3:GetEncryptionConfiguration", OWNER, false),
        "PutBucketEncryption" | "DeleteBucketEncryption" => right("s3:PutEncryptionConfiguration", OWNER, true),
        "GetObjectLockConfiguration" => right("s3:GetBucketObjectLockConfiguration", OWNER, false),
        "PutObjectLockConfiguration" => right("s3:PutBucketObjectLockConfiguration", OWNER, true),
        "GetBucketWebsite" => right("s3:GetBucketWebsite", OWNER, false),
        "PutBucketWebsite" => right("s3:PutBucketWebsite", OWNER, true),
        "DeleteBucketWebsite" => right("s3:DeleteBucketWebsite", OWNER, true),
        "GetBucketRequestPayment" => right("s3:GetBucketRequestPayment", OWNER, false),
        "PutBucketRequestPayment" => right("s3:PutBucketRequestPayment", OWNER, true),
        "GetBucketLogging" => right("s3:GetBucketLogging", OWNER, false),
        "GetBucketNotificationConfiguration" => right("s3:GetBucketNotification", OWNER, false),
        _ => return None,
    })
}

fn object_right(operation: &str) -> Option<Right> {
    use Scope::{NewObject, Object, ObjectOwner, Objects};
    Some(match operation {
        "GetObject" | "HeadObject" | "GetObjectAttributes" => {
            versioned("s3:GetObject", "s3:GetObjectVersion", Object(Permission::Read), false)
        }
        "GetObjectAcl" => versioned("s3:GetObjectAcl", "s3:GetObjectVersionAcl", Object(Permission::ReadAcp), false),
        "PutObjectAcl" => versioned("s3:PutObjectAcl", "s3:PutObjectVersionAcl", Object(Permission::WriteAcp), true),
        "GetObjectTagging" => versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging", ObjectOwner, false),
        "PutObjectTagging" => versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging", ObjectOwner, true),
        "DeleteObjectTagging" => versioned("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", ObjectOwner, true),
        "GetObjectRetention" => right("s3:GetObjectRetention", ObjectOwner, false),
        "PutObjectRetention" => right("s3:PutObjectRetention", ObjectOwner, true),
        "GetObjectLegalHold" => right("s3:GetObjectLegalHold", ObjectOwner, false),
        "PutObjectLegalHold" => right("s3:PutObjectLegalHold", ObjectOwner, true),
        "PostObject" => right("s3:PutObject", Objects, true),
        "PutObject" | "CopyObject" | "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" => {
            right("s3:PutObject", NewObject, true)
        }
        "AbortMultipartUpload" => right("s3:AbortMultipartUpload", NewObject, true),
        "ListParts" => right("s3:ListMultipartUploadParts", NewObject, false),
        "DeleteObject" => versioned("s3:DeleteObject", "s3:DeleteObjectVersion", NewObject, true),
        "DeleteObjects" => versioned("s3:DeleteObject", "s3:DeleteObjectVersion", Objects, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_their_names_and_the_unknown_has_none() {
        for (operation, action, of_version) in [
            ("GetObject", "s3:GetObject", "s3:GetObjectVersion"),
            ("ListObjectsV2", "s3:ListBucket", "s3:ListBucket"),
            ("DeleteObjects", "s3:DeleteObject", "s3:DeleteObjectVersion"),
        ] {
            let right = right_of(operation).expect("a row");
            assert_eq!((right.action, right.of_version), (action, of_version));
        }
        assert_eq!(right_of("RenameObject"), None);
    }

    #[test]
    fn what_reads_by_name_does_not_write() {
        for operation in ["GetBucketAcl", "HeadObject", "ListParts", "GetObjectRetention"] {
            assert!(!right_of(operation).expect("a row").writes, "{operation}");
        }
        for operation in ["PutBucketAcl", "DeleteObject", "CopyObject", "AbortMultipartUpload", "DeleteBucketPolicy"] {
            assert!(right_of(operation).expect("a row").writes, "{operation}");
        }
    }
}
