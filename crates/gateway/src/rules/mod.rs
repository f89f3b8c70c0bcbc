//! Rules of a bucket: what its owner wrote, understood. Pure: texts in, decisions out.
//!
//! Never: I/O, time or chance here; a rule that grants because it cannot be read. Limits: those of each file.

pub mod acl;
mod condition;
pub mod cors;
pub mod lifecycle;
pub mod policy;

use std::collections::BTreeMap;

use acl::{Acl, PublicAccessBlock};
use policy::Policy;
use s3s::dto::{BucketLifecycleConfiguration, CORSConfiguration};
use s3s::xml::{Deserialize, Deserializer};

/// Names under which a bucket's configurations are kept.
pub mod names {
    /// ACL, as JSON of ours.
    pub const ACL: &str = "acl";
    /// Policy, as its owner wrote it.
    pub const POLICY: &str = "policy";
    /// What the public may not get, as JSON of ours.
    pub const PUBLIC_ACCESS: &str = "public-access-block";
    /// Object ownership: `BucketOwnerEnforced`, `BucketOwnerPreferred` or `ObjectWriter`.
    pub const OWNERSHIP: &str = "ownership";
    /// CORS, as XML.
    pub const CORS: &str = "cors";
    /// Lifecycle, as XML.
    pub const LIFECYCLE: &str = "lifecycle";
    /// Tags, as XML.
    pub const TAGGING: &str = "tagging";
    /// Default encryption, as XML.
    pub const ENCRYPTION: &str = "encryption";
    /// Object Lock, as XML.
    pub const LOCK: &str = "object-lock";
    /// Who pays for requests.
    pub const PAYMENT: &str = "request-payment";
}

/// A bucket's configurations, understood.
#[derive(Debug)]
pub struct BucketRules {
    /// Who was granted what on the bucket.
    pub acl: Acl,
    /// Who may do what.
    pub policy: Option<Policy>,
    /// What the public may not get.
    pub public_access: PublicAccessBlock,
    /// Which pages of other origins may ask.
    pub cors: Option<CORSConfiguration>,
    /// What ends by itself.
    pub lifecycle: Option<BucketLifecycleConfiguration>,
    /// Object ownership; `None`: `ObjectWriter`, where ACLs count.
    pub ownership: Option<String>,
}

impl BucketRules {
    /// Reads what was kept.
    pub fn of(bucket: &str, owner: &str, configs: &BTreeMap<String, String>) -> BucketRules {
        let config = |name: &str| configs.get(name).map(String::as_str);
        let policy = config(names::POLICY).map(|text| {
            Policy::parse(text, bucket).unwrap_or_else(|error| {
                tracing::error!(bucket, %error, "a policy that was kept cannot be read: it denies everything");
                Policy::closed()
            })
        });
        BucketRules {
            acl: config(names::ACL).map_or_else(|| Acl::private(owner), |text| Acl::decode(text, owner)),
            policy,
            public_access: config(names::PUBLIC_ACCESS).map_or_else(PublicAccessBlock::default, |text| {
                serde_json::from_str(text).unwrap_or(PublicAccessBlock {
                    block_public_acls: true,
                    ignore_public_acls: true,
                    block_public_policy: true,
                    restrict_public_buckets: true,
                })
            }),
            cors: config(names::CORS).and_then(from_xml),
            lifecycle: config(names::LIFECYCLE).and_then(from_xml),
            ownership: config(names::OWNERSHIP).map(str::to_owned),
        }
    }

    /// The bucket's ACL as it counts.
    pub fn bucket_acl(&self) -> Acl {
        let acl = if self.acls_enabled() { self.acl.clone() } else { Acl::private(&self.acl.owner) };
        if self.public_access.ignore_public_acls { acl.without_public() } else { acl }
    }

    /// Whether ACLs count at all.
    pub fn acls_enabled(&self) -> bool {
        self.ownership.as_deref() != Some("BucketOwnerEnforced")
    }
}

/// A configuration that was kept as XML.
fn from_xml<T: for<'xml> Deserialize<'xml>>(xml: &str) -> Option<T> {
    T::deserialize(&mut Deserializer::new(xml.as_bytes()))
        .inspect_err(|error| tracing::error!(%error, "a kept configuration"))
        .ok()
}
