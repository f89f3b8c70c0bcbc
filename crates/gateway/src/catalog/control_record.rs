//! Records of who owns what and may do what: buckets with their configurations, access keys, and the control of an object version.
//!
//! Never: reuse a tag. Encoded as every other record (see [`super::record`]).

use prost::Message;

/// Field of an object's record: whose it is, who may read it, what forbids its deletion.
#[derive(Clone, PartialEq, Message)]
pub struct ControlRecord {
    /// It has a version id of its own; without it is the key's `null` version.
    #[prost(bool, tag = "1")]
    pub named: bool,
    /// It says that the key was deleted, and has no bytes.
    #[prost(bool, tag = "2")]
    pub delete_marker: bool,
    /// Who wrote it; empty: the bucket's owner.
    #[prost(string, tag = "3")]
    pub owner: String,
    /// Its ACL as JSON; empty: its owner's alone.
    #[prost(string, tag = "4")]
    pub acl: String,
    /// 0 none, 1 governance, 2 compliance.
    #[prost(uint32, tag = "5")]
    pub retention_mode: u32,
    /// Until when it may not be deleted.
    #[prost(uint64, tag = "6")]
    pub retain_until_ms: u64,
    /// It may not be deleted while this holds.
    #[prost(bool, tag = "7")]
    pub legal_hold: bool,
    /// Encryption as asked for: 0 not at all, 1 `AES256`, 2 a customer's key.
    #[prost(uint32, tag = "8")]
    pub encryption: u32,
    /// SHA-256 of the customer's key.
    #[prost(bytes = "vec", tag = "9")]
    pub customer_key: Vec<u8>,
}

/// Row of `configs`: one configuration of a bucket, as its owner wrote it.
#[derive(Clone, PartialEq, Message)]
pub struct ConfigRecord {
    /// JSON or XML.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// A bucket.
#[derive(Clone, PartialEq, Message)]
pub struct BucketRecord {
    /// Number of the bucket: first 8 bytes of its rows.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub created_ms: u64,
    /// Who owns it.
    #[prost(string, tag = "3")]
    pub owner: String,
    /// Location constraint.
    #[prost(string, tag = "4")]
    pub region: String,
    /// 0 never had versions, 1 keeps versions, 2 keeps those it has and makes none.
    #[prost(uint32, tag = "5")]
    pub versioning: u32,
    /// Its versions can be locked.
    #[prost(bool, tag = "6")]
    pub lockable: bool,
}

/// An access key.
#[derive(Clone, PartialEq, Message)]
pub struct KeyRecord {
    /// Secret.
    #[prost(string, tag = "1")]
    pub secret: String,
    /// When it was made.
    #[prost(uint64, tag = "2")]
    pub created_ms: u64,
    /// What its owner called it.
    #[prost(string, tag = "3")]
    pub label: String,
    /// Opens nothing any more.
    #[prost(bool, tag = "4")]
    pub revoked: bool,
    /// Whose it is; empty: the account's own.
    #[prost(string, tag = "5")]
    pub user: String,
    /// Opens only this bucket; empty: every one.
    #[prost(string, tag = "6")]
    pub bucket: String,
    /// Opens only keys that begin with this.
    #[prost(string, tag = "7")]
    pub prefix: String,
    /// Changes nothing.
    #[prost(bool, tag = "8")]
    pub read_only: bool,
    /// Opens nothing from then on; zero: never ends.
    #[prost(uint64, tag = "9")]
    pub expires_ms: u64,
    /// Token without which it opens nothing; only a temporary key has one.
    #[prost(string, tag = "10")]
    pub token: String,
}
