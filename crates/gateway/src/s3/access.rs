//! Access: may this caller do that? Policy first, then ownership and ACLs; what depends on an object is judged once it was found.
//!
//! Source: the S3 user guide, "How Amazon S3 authorizes a request". Never: a request that no rule allows. Limits: none.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::Mapper;
use super::errors::{refused, s3_error};
use super::rights::{Right, Scope, right_of};
use super::server::PeerAddress;
use crate::objects::api::{KeyScope, ObjectError, ObjectInfo, VersionRef};
use crate::objects::{Bucket, Objects};
use crate::rules::acl::{Acl, Permission};
use crate::rules::policy::{Ask, Verdict};

/// Who asks, and what the request says that a policy may look at.
#[derive(Clone)]
pub(super) struct Access {
    /// The user; `None` without an access key.
    pub(super) user: Option<String>,
    /// What the access key opens.
    scope: KeyScope,
    facts: Arc<Facts>,
    key: Option<String>,
    /// The bucket asked about.
    pub(super) bucket: Option<Arc<Bucket>>,
    /// The policy allows it, or the caller is the bucket's owner and nothing else counts.
    allowed: bool,
    right: Right,
}

/// Values of condition keys.
pub(super) struct Facts(BTreeMap<String, Vec<String>>);

impl Facts {
    /// What a request says.
    pub(super) fn of(headers: &HeaderMap, uri: &Uri, extensions: &Extensions) -> Facts {
        let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |key: String, value: &str| facts.entry(key).or_default().push(value.to_owned());
        add("aws:securetransport".into(), "false");
        add("s3:signatureversion".into(), "AWS4-HMAC-SHA256");
        if let Some(PeerAddress(address)) = extensions.get() {
            add("aws:sourceip".into(), &address.ip().to_canonical().to_string());
        }
        for (name, value) in headers {
            let Ok(value) = value.to_str() else { continue };
            match name.as_str() {
                "referer" => add("aws:referer".into(), value),
                "user-agent" => add("aws:useragent".into(), value),
                "x-amz-tagging" => {
                    for (tag, value) in super::headers::tags(value).unwrap_or_default() {
                        add(format!("s3:requestobjecttag/{tag}"), &value);
                        add("s3:requestobjecttagkeys".into(), &tag);
                    }
                }
                name if name.starts_with("x-amz-") => add(format!("s3:{name}"), value),
                _ => {}
            }
        }
        for pair in uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = match name {
                "prefix" => "s3:prefix",
                "delimiter" => "s3:delimiter",
                "max-keys" => "s3:max-keys",
                "versionId" => "s3:versionid",
                _ => continue,
            };
            add(key.into(), &percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy());
        }
        Facts(facts)
    }

    fn first(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.first().map(String::as_str)
    }

    fn with_tags(&self, prefix: &str, tags: &BTreeMap<String, String>) -> Facts {
        let mut facts = self.0.clone();
        facts.extend(tags.iter().map(|(tag, value)| (format!("{prefix}/{tag}"), vec![value.clone()])));
        if prefix == REQUEST_TAG {
            facts.insert("s3:requestobjecttagkeys".into(), tags.keys().cloned().collect());
        }
        Facts(facts)
    }
}

const REQUEST_TAG: &str = "s3:requestobjecttag";
const EXISTING_TAG: &str = "s3:existingobjecttag";

pub(super) fn denied() -> S3Error {
    refused(S3ErrorCode::AccessDenied, "Access Denied")
}

impl Access {
    /// Judges an operation on `bucket` and `key` as far as it can be before an object is looked up.
    ///
    /// # Errors
    /// AccessDenied, NoSuchBucket, NotImplemented for an operation without a row.
    pub(super) async fn judge(
        objects: &Objects,
        operation: &str,
        (bucket, key): (Option<&str>, Option<&str>),
        (user, scope): (Option<String>, KeyScope),
        facts: Facts,
    ) -> S3Result<Access> {
        let not_here = "A header or query you provided implies functionality that is not implemented";
        let right = right_of(operation).ok_or_else(|| refused(S3ErrorCode::NotImplemented, not_here))?;
        let mut access =
            Access { user, scope, facts: Arc::new(facts), key: key.map(str::to_owned), bucket: None, allowed: false, right };
        access.check_scope(bucket, key)?;
        if matches!(right.scope, Scope::Service | Scope::NewBucket) {
            let message = "Anonymous access is forbidden for this operation";
            access.user.as_ref().ok_or_else(|| refused(S3ErrorCode::AccessDenied, message))?;
            return Ok(access);
        }
        let bucket = objects.bucket(bucket.unwrap_or_default()).await.map_err(s3_error)?;
        access.bucket = Some(bucket.clone());
        access.check_expected_owner(&bucket)?;
        if right.scope == Scope::Objects {
            return Ok(access);
        }
        let verdict = access.verdict(objects, &bucket, key, right).await?;
        access.allowed = access.conclude(&bucket, verdict, right)?;
        Ok(access)
    }

    /// The rights of a request; the guard put them there.
    pub(super) fn of(extensions: &Extensions) -> S3Result<&Access> {
        extensions.get().ok_or_else(|| S3ErrorCode::InternalError.into())
    }

    /// The bucket asked about.
    pub(super) fn bucket(&self) -> S3Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(|| S3ErrorCode::InternalError.into())
    }

    /// The user's name, or that of nobody.
    pub(super) fn user_name(&self) -> &str {
        self.user.as_deref().unwrap_or("anonymous")
    }

    fn check_scope(&self, bucket: Option<&str>, key: Option<&str>) -> S3Result<()> {
        let scope = &self.scope;
        let only_reads = || refused(S3ErrorCode::AccessDenied, "This access key is for reading");
        let elsewhere = || refused(S3ErrorCode::AccessDenied, "This access key does not open that bucket or prefix");
        if scope.read_only && self.right.writes {
            return Err(only_reads());
        }
        if scope.bucket.is_empty() || self.right.scope == Scope::Service {
            return Ok(());
        }
        if bucket != Some(scope.bucket.as_str()) {
            return Err(elsewhere());
        }
        if scope.prefix.is_empty() || self.right.scope == Scope::Objects {
            return Ok(());
        }
        let named = match (key, self.right.action) {
            (Some(key), _) => key,
            (None, "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads") => {
                self.facts.first("s3:prefix").unwrap_or_default()
            }
            (None, _) => return Err(elsewhere()),
        };
        if named.starts_with(&scope.prefix) { Ok(()) } else { Err(elsewhere()) }
    }

    fn check_expected_owner(&self, bucket: &Bucket) -> S3Result<()> {
        match self.facts.first("s3:x-amz-expected-bucket-owner") {
            Some(expected) if expected != bucket.info.owner => {
                Err(refused(S3ErrorCode::AccessDenied, "The bucket has another owner than expected"))
            }
            _ => Ok(()),
        }
    }

    async fn verdict(&self, objects: &Objects, bucket: &Bucket, key: Option<&str>, right: Right) -> S3Result<Verdict> {
        let rules = bucket.rules();
        let Some(policy) = &rules.policy else { return Ok(Verdict::Silent) };
        let version = self.facts.first("s3:versionid").filter(|id| !id.is_empty());
        let tags = match key.filter(|_| policy.looks_at_existing_tags()) {
            Some(key) => match objects.head_version(&bucket.info.name, key, version.and_then(VersionRef::parse)).await {
                Ok(info) => info.meta.tags,
                Err(error @ (ObjectError::Internal(_) | ObjectError::Stopping)) => return Err(s3_error(error)),
                Err(_) => BTreeMap::new(),
            },
            None => BTreeMap::new(),
        };
        let facts = self.facts.with_tags(EXISTING_TAG, &tags);
        let action = if version.is_some() { right.of_version } else { right.action };
        Ok(self.ask(bucket, key, action, &facts))
    }

    fn ask(&self, bucket: &Bucket, key: Option<&str>, action: &str, facts: &Facts) -> Verdict {
        let rules = bucket.rules();
        let Some(policy) = &rules.policy else { return Verdict::Silent };
        let resource = match key {
            Some(key) => format!("arn:aws:s3:::{}/{key}", bucket.info.name),
            None => format!("arn:aws:s3:::{}", bucket.info.name),
        };
        let context = |key: &str| facts.0.get(key).cloned();
        let verdict = policy.judge(&Ask { user: self.user.as_deref(), action, resource: &resource, context: &context });
        let is_owner = self.user.as_deref() == Some(bucket.info.owner.as_str());
        let shut = rules.public_access.restrict_public_buckets && !is_owner && policy.is_public();
        if shut && verdict == Verdict::Allow { Verdict::Silent } else { verdict }
    }

    /// Whether it is allowed whatever object it is about.
    fn conclude(&self, bucket: &Bucket, verdict: Verdict, right: Right) -> S3Result<bool> {
        let is_owner = self.user.as_deref() == Some(bucket.info.owner.as_str());
        // Else an owner could lock himself out.
        let own_policy = is_owner && right.action.ends_with("BucketPolicy");
        match verdict {
            Verdict::Deny if !own_policy => return Err(denied()),
            Verdict::Allow => return Ok(true),
            _ => {}
        }
        let granted = |permission| bucket.rules().bucket_acl().allows(self.user.as_deref(), permission);
        match right.scope {
            Scope::Service | Scope::NewBucket => Ok(true),
            Scope::Bucket(None) if is_owner => Ok(true),
            Scope::Bucket(Some(permission)) if is_owner || granted(permission) => Ok(true),
            Scope::NewObject | Scope::Objects if is_owner || granted(Permission::Write) => Ok(true),
            Scope::Object(_) | Scope::ObjectOwner => Ok(false),
            _ => Err(denied()),
        }
    }

    /// Judges the key of an upload by form, which only its body names.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) async fn check_posted(&self, mapper: &Mapper, key: &str) -> S3Result<()> {
        if self.right.scope == Scope::Objects { self.check_one(mapper, key, None).await } else { Ok(()) }
    }

    /// Judges one of several objects to delete.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) async fn check_one(&self, mapper: &Mapper, key: &str, version: Option<&str>) -> S3Result<()> {
        let bucket = self.bucket()?;
        if !key.starts_with(&self.scope.prefix) {
            return Err(denied());
        }
        let mut right = self.right;
        right.action = if version.is_some() { right.of_version } else { right.action };
        let verdict = self.verdict(&mapper.objects, bucket, Some(key), right).await?;
        self.conclude(bucket, verdict, right).map(|_| ())
    }

    /// Judges what is done to an object that was found.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn check_object(&self, info: &ObjectInfo) -> S3Result<()> {
        if self.allowed {
            return Ok(());
        }
        let bucket = self.bucket()?;
        let allowed = match self.right.scope {
            Scope::Object(permission) => acl_of(bucket, info).allows(self.user.as_deref(), permission),
            _ => {
                let user = self.user.as_deref();
                user.is_some() && (user == Some(&bucket.info.owner) || user == Some(owner_of(bucket, info)))
            }
        };
        if allowed { Ok(()) } else { Err(denied()) }
    }

    /// Whether this caller may learn that a key does not exist; else a missing object is AccessDenied.
    fn may_list(&self) -> bool {
        let Some(bucket) = &self.bucket else { return false };
        let list = right_of("ListObjects").expect("listing has a row");
        // as if the key itself had been listed
        let mut facts = Facts(self.facts.0.clone());
        facts.0.insert("s3:prefix".into(), self.key.iter().cloned().collect());
        let verdict = self.ask(bucket, None, list.action, &facts);
        self.conclude(bucket, verdict, list).unwrap_or(false)
    }

    /// The error of a look-up: a missing object is hidden from who may not list.
    pub(super) fn missing(&self, error: ObjectError) -> S3Error {
        let hidden = matches!(error, ObjectError::NoSuchKey | ObjectError::NoSuchVersion | ObjectError::DeleteMarker { .. });
        if hidden && !self.may_list() { denied() } else { s3_error(error) }
    }

    /// Judges an action beside the request's own, as bypassing governance, on its key.
    pub(super) fn may_also(&self, key: &str, action: &str) -> bool {
        let Some(bucket) = &self.bucket else { return false };
        match self.ask(bucket, Some(key), action, &self.facts) {
            Verdict::Allow => true,
            Verdict::Deny => false,
            Verdict::Silent => self.user.as_deref() == Some(bucket.info.owner.as_str()),
        }
    }

    /// Judges the tags in a request's body.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn check_tags(&self, key: &str, tags: &BTreeMap<String, String>) -> S3Result<Access> {
        let facts = self.facts.with_tags(REQUEST_TAG, tags);
        let bucket = self.bucket()?;
        match self.ask(bucket, Some(key), self.right.action, &facts) {
            Verdict::Deny => Err(denied()),
            verdict => Ok(Access { allowed: self.allowed || verdict == Verdict::Allow, ..self.clone() }),
        }
    }

    /// Judges reading the source of a copy.
    ///
    /// # Errors
    /// AccessDenied, NoSuchBucket; what is wrong with the object.
    pub(super) async fn check_source(
        &self,
        mapper: &Mapper,
        (bucket, key): (&str, &str),
        version: Option<VersionRef>,
    ) -> S3Result<(Access, ObjectInfo)> {
        let operation = "GetObject";
        let mut facts = self.facts.0.clone();
        facts.remove("s3:versionid");
        if let Some(version) = version {
            facts.insert("s3:versionid".into(), vec![version.to_string()]);
        }
        let expected = facts.remove("s3:x-amz-source-expected-bucket-owner");
        facts.remove("s3:x-amz-expected-bucket-owner");
        facts.extend(expected.map(|owner| ("s3:x-amz-expected-bucket-owner".to_owned(), owner)));
        let caller = (self.user.clone(), KeyScope { read_only: false, ..self.scope.clone() });
        let access = Access::judge(&mapper.objects, operation, (Some(bucket), Some(key)), caller, Facts(facts)).await?;
        let found = mapper.objects.head_version(bucket, key, version).await.map_err(|error| access.missing(error))?;
        access.check_object(&found)?;
        Ok((access, found))
    }
}

/// Who wrote an object.
pub(super) fn owner_of<'a>(bucket: &'a Bucket, info: &'a ObjectInfo) -> &'a str {
    if info.control.owner.is_empty() || !bucket.rules().acls_enabled() { &bucket.info.owner } else { &info.control.owner }
}

/// The ACL of an object as it counts.
pub(super) fn acl_of(bucket: &Bucket, info: &ObjectInfo) -> Acl {
    let rules = bucket.rules();
    let owner = owner_of(bucket, info);
    let acl = match rules.acls_enabled() && !info.control.acl.is_empty() {
        true => Acl::decode(&info.control.acl, owner),
        false => Acl::private(owner),
    };
    if rules.public_access.ignore_public_acls { acl.without_public() } else { acl }
}
