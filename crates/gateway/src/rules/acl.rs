//! ACL: who was granted what on a bucket or an object.
//!
//! Kept as JSON: `{"owner": …, "grants": [{"to": "user:ID" | "all" | "authenticated" | "log-delivery", "permission": …}]}`.
//! Never: a grant that widens when it cannot be read. Limits: [`GRANTS_MAX`].

use serde::{Deserialize, Serialize};

/// Grants of one ACL, as in S3.
pub const GRANTS_MAX: usize = 100;
/// URI of everybody.
pub const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
/// URI of everybody with an access key.
pub const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
/// URI of the service that writes access logs.
pub const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Permission {
    /// Bucket: list it. Object: read it.
    Read,
    /// Bucket: put and delete objects.
    Write,
    /// Read the ACL.
    ReadAcp,
    /// Write the ACL.
    WriteAcp,
    /// All of these.
    FullControl,
}

impl Permission {
    /// As S3 writes it.
    pub fn name(self) -> &'static str {
        match self {
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::WriteAcp => "WRITE_ACP",
            Permission::FullControl => "FULL_CONTROL",
        }
    }

    /// Reads what S3 writes.
    pub fn parse(name: &str) -> Option<Permission> {
        use Permission::*;
        [Read, Write, ReadAcp, WriteAcp, FullControl].into_iter().find(|permission| permission.name() == name)
    }
}

/// To whom a grant is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// One user.
    User(String),
    /// Everybody.
    AllUsers,
    /// Everybody with an access key.
    AuthenticatedUsers,
    /// The service that writes access logs.
    LogDelivery,
}

impl Grantee {
    /// The group of a URI.
    pub fn of_uri(uri: &str) -> Option<Grantee> {
        match uri {
            ALL_USERS => Some(Grantee::AllUsers),
            AUTHENTICATED_USERS => Some(Grantee::AuthenticatedUsers),
            LOG_DELIVERY => Some(Grantee::LogDelivery),
            _ => None,
        }
    }

    /// The URI of a group.
    pub fn uri(&self) -> Option<&'static str> {
        match self {
            Grantee::User(_) => None,
            Grantee::AllUsers => Some(ALL_USERS),
            Grantee::AuthenticatedUsers => Some(AUTHENTICATED_USERS),
            Grantee::LogDelivery => Some(LOG_DELIVERY),
        }
    }

    fn is_public(&self) -> bool {
        matches!(self, Grantee::AllUsers | Grantee::AuthenticatedUsers)
    }

    fn includes(&self, who: Option<&str>) -> bool {
        match self {
            Grantee::User(id) => who == Some(id.as_str()),
            Grantee::AllUsers => true,
            Grantee::AuthenticatedUsers => who.is_some(),
            Grantee::LogDelivery => false,
        }
    }
}

impl From<&Grantee> for String {
    fn from(grantee: &Grantee) -> String {
        match grantee {
            Grantee::User(id) => format!("user:{id}"),
            Grantee::AllUsers => "all".into(),
            Grantee::AuthenticatedUsers => "authenticated".into(),
            Grantee::LogDelivery => "log-delivery".into(),
        }
    }
}

impl Serialize for Grantee {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from(self))
    }
}

impl<'de> Deserialize<'de> for Grantee {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Grantee, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "all" => Ok(Grantee::AllUsers),
            "authenticated" => Ok(Grantee::AuthenticatedUsers),
            "log-delivery" => Ok(Grantee::LogDelivery),
            text => match text.strip_prefix("user:") {
                Some(id) => Ok(Grantee::User(id.to_owned())),
                None => Err(serde::de::Error::custom("unknown grantee")),
            },
        }
    }
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// To whom.
    pub to: Grantee,
    /// What.
    pub permission: Permission,
}

/// Grants of a bucket or an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acl {
    /// Whose the bucket or object is.
    pub owner: String,
    /// What was granted.
    pub grants: Vec<Grant>,
}

/// An ACL that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// InvalidArgument.
    #[error("{0:?} is not a canned ACL")]
    UnknownCanned(String),
    /// InvalidArgument.
    #[error("a grantee is named by id=\"…\" or uri=\"…\": {0:?}")]
    Grantee(String),
    /// MalformedACLError.
    #[error("an ACL has at most 100 grants")]
    TooMany,
}

impl Acl {
    /// The owner may do everything, nobody else anything.
    pub fn private(owner: &str) -> Acl {
        Acl { owner: owner.to_owned(), grants: vec![full(owner)] }
    }

    /// A canned ACL of S3. `bucket_owner` owns the bucket an object lies in.
    ///
    /// # Errors
    /// [`AclError::UnknownCanned`].
    pub fn canned(name: &str, owner: &str, bucket_owner: &str) -> Result<Acl, AclError> {
        let grant = |to, permission| Grant { to, permission };
        let bucket_owner = Grantee::User(bucket_owner.to_owned());
        let more = match name {
            "private" => vec![],
            "public-read" => vec![grant(Grantee::AllUsers, Permission::Read)],
            "public-read-write" => {
                vec![grant(Grantee::AllUsers, Permission::Read), grant(Grantee::AllUsers, Permission::Write)]
            }
            "authenticated-read" => vec![grant(Grantee::AuthenticatedUsers, Permission::Read)],
            "bucket-owner-read" => vec![grant(bucket_owner, Permission::Read)],
            "bucket-owner-full-control" => vec![grant(bucket_owner, Permission::FullControl)],
            "aws-exec-read" => vec![],
            "log-delivery-write" => {
                vec![grant(Grantee::LogDelivery, Permission::Write), grant(Grantee::LogDelivery, Permission::ReadAcp)]
            }
            _ => return Err(AclError::UnknownCanned(name.to_owned())),
        };
        let mut acl = Acl::private(owner);
        acl.grants.extend(more.into_iter().filter(|grant| grant.to != Grantee::User(owner.to_owned())));
        Ok(acl)
    }

    /// Reads an `x-amz-grant-*` header's value: `id="…", uri="…"`. `email` turns an address into a user.
    ///
    /// # Errors
    /// [`AclError::Grantee`].
    pub fn parse_grants(value: &str, permission: Permission) -> Result<Vec<Grant>, AclError> {
        let read = |item: &str| {
            let wrong = || AclError::Grantee(item.to_owned());
            let (kind, name) = item.trim().split_once('=').ok_or_else(wrong)?;
            let name = name.trim().trim_matches('"');
            let to = match kind.trim().to_ascii_lowercase().as_str() {
                "id" if !name.is_empty() => Grantee::User(name.to_owned()),
                "uri" => Grantee::of_uri(name).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            };
            Ok(Grant { to, permission })
        };
        value.split(',').filter(|item| !item.trim().is_empty()).map(read).collect()
    }

    /// Checks the number of grants.
    ///
    /// # Errors
    /// [`AclError::TooMany`].
    pub fn checked(self) -> Result<Acl, AclError> {
        if self.grants.len() > GRANTS_MAX { Err(AclError::TooMany) } else { Ok(self) }
    }

    /// Whether `who` (`None`: without an access key) was granted `permission`. The owner may always read and write the ACL.
    pub fn allows(&self, who: Option<&str>, permission: Permission) -> bool {
        if who == Some(self.owner.as_str()) && matches!(permission, Permission::ReadAcp | Permission::WriteAcp) {
            return true;
        }
        let enough = |granted| granted == permission || granted == Permission::FullControl;
        self.grants.iter().any(|grant| enough(grant.permission) && grant.to.includes(who))
    }

    /// Whether it grants anything to everybody, with or without an access key.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.to.is_public())
    }

    /// The same without what it grants to everybody.
    pub fn without_public(&self) -> Acl {
        let grants = self.grants.iter().filter(|grant| !grant.to.is_public()).cloned().collect();
        Acl { owner: self.owner.clone(), grants }
    }

    /// As it is kept.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What [`Acl::encode`] wrote; anything else is the owner's alone.
    pub fn decode(text: &str, owner: &str) -> Acl {
        serde_json::from_str(text).unwrap_or_else(|_| Acl::private(owner))
    }
}

fn full(owner: &str) -> Grant {
    Grant { to: Grantee::User(owner.to_owned()), permission: Permission::FullControl }
}

/// What a bucket forbids, whatever its ACLs and policy say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublicAccessBlock {
    /// An ACL that grants something to everybody is refused.
    pub block_public_acls: bool,
    /// What ACLs grant to everybody does not count.
    pub ignore_public_acls: bool,
    /// A policy that allows everybody something is refused.
    pub block_public_policy: bool,
    /// What such a policy allows counts only for the bucket's owner.
    pub restrict_public_buckets: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canned_acls_allow_what_they_say() {
        use Permission::*;
        let (me, you, nobody) = (Some("me"), Some("you"), None);
        for (name, who, permission, allowed) in [
            ("private", me, Read, true),
            ("private", me, Write, true),
            ("private", you, Read, false),
            ("public-read", nobody, Read, true),
            ("public-read", nobody, Write, false),
            ("public-read-write", nobody, Write, true),
            ("public-read-write", nobody, ReadAcp, false),
            ("authenticated-read", nobody, Read, false),
            ("authenticated-read", you, Read, true),
            ("bucket-owner-read", Some("host"), Read, true),
            ("bucket-owner-read", Some("host"), ReadAcp, false),
            ("bucket-owner-full-control", Some("host"), WriteAcp, true),
            ("log-delivery-write", you, Write, false),
        ] {
            let acl = Acl::canned(name, "me", "host").expect("a canned ACL");
            assert_eq!(acl.allows(who, permission), allowed, "{name} {who:?} {permission:?}");
            assert_eq!(Acl::decode(&acl.encode(), "other"), acl);
        }
        assert_eq!(Acl::canned("public", "me", "me"), Err(AclError::UnknownCanned("public".into())));
        assert_eq!(Acl::canned("bucket-owner-full-control", "me", "me"), Ok(Acl::private("me")));
    }

    #[test]
    fn an_owner_without_grants_can_still_mend_the_acl() {
        let acl = Acl { owner: "me".into(), grants: vec![] };
        assert!(acl.allows(Some("me"), Permission::WriteAcp) && !acl.allows(Some("me"), Permission::Read));
    }

    #[test]
    fn grant_headers_are_read() {
        let grants = Acl::parse_grants(&format!("id=\"a\", uri=\"{ALL_USERS}\""), Permission::Read).expect("two grants");
        assert_eq!(grants.len(), 2);
        assert_eq!(grants[0].to, Grantee::User("a".into()));
        for wrong in ["a", "id=", "uri=\"http://x\"", "emailAddress=\"a@b\""] {
            assert!(Acl::parse_grants(wrong, Permission::Read).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_damaged_acl_grants_nothing() {
        for text in ["", "{", "{\"owner\":\"x\"}", "{\"owner\":\"x\",\"grants\":[{\"to\":\"them\",\"permission\":\"READ\"}]}"] {
            assert_eq!(Acl::decode(text, "me"), Acl::private("me"), "{text}");
        }
    }

    #[test]
    fn what_everybody_was_granted_can_be_left_out() {
        let acl = Acl::canned("public-read", "me", "me").expect("canned");
        assert!(acl.is_public() && !acl.without_public().is_public());
        assert_eq!(acl.without_public(), Acl::private("me"));
    }
}
