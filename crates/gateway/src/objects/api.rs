//! Words of the object store: what the S3 front (and the native commands) ask of [`super::Objects`] and what they get back.
//!
//! Never: a type of the S3 library here; ETags are bare (no quotes), checksums are raw bytes, times are [`UnixMs`].
//! Limits: see [`super::limits`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cairn_types::UnixMs;
use futures::stream::BoxStream;

pub use super::condition::{EtagMatch, ReadConditions, WriteConditions};
pub use super::control::{Control, Encryption, Retention, VersionRef, Versioning};
pub use super::error::{BodyError, ObjectError};
pub use super::keys::KeyScope;
use super::lease::Lease;
pub use super::upload_api::*;
use crate::catalog::record::Extent;

/// An object's bytes on their way in. The engine stops reading at the first error and discards what was stored.
pub type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: UnixMs,
    /// Access key's account that owns it.
    pub owner: String,
    /// Location constraint it was made with; empty for the default region.
    pub region: String,
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// Whether its versions can be locked.
    pub lockable: bool,
}

/// Name of one stored version of a key; a later version of the same gateway compares greater. Shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId {
    /// Which opening of the catalog wrote it.
    pub writer_epoch: u64,
    /// Counts within that opening.
    pub sequence: u64,
}

impl std::fmt::Display for VersionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.writer_epoch, self.sequence)
    }
}

/// Content headers kept with an object and given back as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding` (the front has removed `aws-chunked`).
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Expires`, as text.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
}

/// Everything about an object that its writer chose, apart from the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Content headers.
    pub headers: ContentHeaders,
    /// `x-amz-meta-*` without the prefix, names in lower case.
    pub user: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Storage class as asked for; `None` is STANDARD.
    pub storage_class: Option<String>,
}

/// A checksum algorithm of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32,
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

/// What a multipart object's checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumKind {
    /// All bytes of the object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

/// A checksum that was computed over stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// Which algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// Big-endian bytes, [`ChecksumAlgorithm::len`] of them.
    pub value: Vec<u8>,
    /// Parts behind a composite value; zero otherwise.
    pub parts: u32,
}

/// Expected values that arrive after the body, as in a trailer: called once, after the last byte.
pub type LateChecksums = Box<dyn FnOnce() -> Result<Vec<(ChecksumAlgorithm, Vec<u8>)>, ObjectError> + Send>;

/// What the bytes of a body are checked against while they stream.
#[derive(Default)]
pub struct BodyChecks {
    /// Exact length, when the request named one (`Content-Length`, `x-amz-decoded-content-length`): any other is
    /// [`ObjectError::IncompleteBody`]. `None` for unknown.
    pub len: Option<u64>,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// Algorithms to compute and keep; with a value to compare with when it came in a header.
    pub checksums: Vec<(ChecksumAlgorithm, Option<Vec<u8>>)>,
    /// Values from the trailer. An algorithm must be listed in `checksums` to be computed.
    pub late: Option<LateChecksums>,
}

/// What a bucket holds, and what that may cost.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BucketCost {
    /// Its name.
    pub name: String,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub len: u64,
    /// Most that they may cost in a month of 30 days.
    pub month_max: Option<cairn_types::Amount>,
}

/// Asks to store an object.
#[derive(Default)]
pub struct PutRequest {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Headers, user metadata, tags, storage class.
    pub meta: ObjectMeta,
    /// Owner, ACL, lock and encryption.
    pub control: Control,
    /// What to check the body against.
    pub checks: BodyChecks,
    /// When it may replace what is there; judged at the moment of commit.
    pub conditions: WriteConditions,
}

/// One stored object version.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Name of this version.
    pub version: VersionId,
    /// Whether S3 shows that name; else it shows `null`.
    pub named: bool,
    /// It says that the key was deleted, and has no bytes.
    pub delete_marker: bool,
    /// Owner, ACL, lock and encryption.
    pub control: Control,
    /// Length in bytes.
    pub len: u64,
    /// ETag without quotes: 32 hex digits, or `hex-N` for an object of N parts.
    pub etag: String,
    /// Last modified.
    pub modified: UnixMs,
    /// Headers, user metadata, tags, storage class.
    pub meta: ObjectMeta,
    /// Checksums kept with it.
    pub checksums: Vec<Checksum>,
    /// Its parts in order; empty unless it was made by a multipart upload.
    pub parts: Vec<ObjectPart>,
    pub(crate) extents: Arc<[Extent]>,
    pub(crate) lease: Option<Arc<Lease>>,
}

impl ObjectInfo {
    /// Byte range and part of `partNumber` (1-based). A plain object has one part: the whole.
    /// `None` when there is no such part.
    pub fn part_range(&self, number: u32) -> Option<std::ops::Range<u64>> {
        if self.parts.is_empty() {
            return (number == 1).then_some(0..self.len);
        }
        let mut start = 0u64;
        for part in &self.parts {
            let end = start.checked_add(part.len)?;
            if part.number == number {
                return Some(start..end);
            }
            start = end;
        }
        None
    }
}

/// One part inside a completed multipart object, in object order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPart {
    /// Its number in the finished object: the number it was uploaded under.
    pub number: u32,
    /// Length in bytes.
    pub len: u64,
    /// Its checksums.
    pub checksums: Vec<Checksum>,
}

/// Asks to copy an object inside the store, by reference: no bytes move.
#[derive(Default)]
pub struct CopyRequest {
    /// Bucket of the source.
    pub source_bucket: String,
    /// Key of the source.
    pub source_key: String,
    /// Version of the source; `None`: the current one.
    pub source_version: Option<VersionRef>,
    /// `x-amz-copy-source-if-*`.
    pub source_conditions: ReadConditions,
    /// Bucket of the copy.
    pub bucket: String,
    /// Key of the copy.
    pub key: String,
    /// `None`: metadata directive COPY. `Some`: REPLACE with these headers and user metadata (its tags are ignored: see `tags`).
    pub meta: Option<ObjectMeta>,
    /// `None`: tagging directive COPY. `Some`: REPLACE.
    pub tags: Option<BTreeMap<String, String>>,
    /// Storage class of the copy; `None` is STANDARD. (Not taken from the source, as in S3.)
    pub storage_class: Option<String>,
    /// Owner, ACL, lock and encryption of the copy: none of them comes from the source, as in S3.
    pub control: Control,
    /// Checksum algorithm asked for; computed by reading the source when the source has no full-object value of it.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Conditions on the destination.
    pub conditions: WriteConditions,
}

/// Asks for one page of a bucket's keys.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Bucket.
    pub bucket: String,
    /// Only keys that start with this; empty for all.
    pub prefix: String,
    /// Keys that share what lies between `prefix` and the first delimiter are folded into a common prefix.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes bytewise greater than this: a marker, start-after or [`ListPage::next`].
    pub start_after: Option<String>,
    /// Keys plus common prefixes on the page; more than [`super::limits::LIST_KEYS_MAX`] is cut to that. Zero gives an empty,
    /// untruncated page.
    pub max_keys: usize,
}

/// One key of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Key.
    pub key: String,
    /// Length in bytes.
    pub len: u64,
    /// ETag without quotes.
    pub etag: String,
    /// Last modified.
    pub modified: UnixMs,
    /// Storage class; `None` is STANDARD.
    pub storage_class: Option<String>,
    /// Algorithms (and kinds) of the checksums kept with it.
    pub checksums: Vec<(ChecksumAlgorithm, ChecksumKind)>,
    /// Who wrote it; empty: the bucket's owner.
    pub owner: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// One page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Keys, ascending bytewise.
    pub objects: Vec<ListedObject>,
    /// Common prefixes, ascending bytewise.
    pub common_prefixes: Vec<String>,
    /// Where to go on (the last key or common prefix of this page); `None` when the listing is complete.
    pub next: Option<String>,
}

/// Asks for one page of a bucket's versions.
#[derive(Debug, Clone, Default)]
pub struct ListVersionsRequest {
    /// Bucket.
    pub bucket: String,
    /// Only keys that start with this; empty for all.
    pub prefix: String,
    /// Folds keys into common prefixes.
    pub delimiter: Option<String>,
    /// Only keys greater than this (or equal, when `version_marker` is given); empty for all.
    pub key_marker: String,
    /// Within `key_marker`: only versions older than this one.
    pub version_marker: Option<VersionRef>,
    /// Versions plus common prefixes on the page.
    pub max_keys: usize,
}

/// One version of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Key, length, ETag …
    pub object: ListedObject,
    /// Which it is in the store.
    pub id: VersionId,
    /// Its name.
    pub version: VersionRef,
    /// It is the latest of its key.
    pub latest: bool,
    /// It says that the key was deleted.
    pub delete_marker: bool,
}

/// One page of a bucket's versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionsPage {
    /// Versions: keys ascending, latest first.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes.
    pub common_prefixes: Vec<String>,
    /// Where to go on: a key and its version, or a common prefix.
    pub next: Option<(String, Option<VersionRef>)>,
}

/// One key to delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteItem {
    /// Key.
    pub key: String,
    /// Which version goes for good; `None`: the current object, which a bucket with versions covers with a delete marker.
    pub version: Option<VersionRef>,
    /// Only if this is still its ETag.
    pub conditions: WriteConditions,
    /// Only if it is still this version that would go or be covered; else [`ObjectError::Replaced`].
    pub only_if: Option<VersionId>,
    /// A version under governance goes too.
    pub bypass_governance: bool,
}

/// What a deletion did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// There was something to delete.
    pub existed: bool,
    /// The version that went, or the delete marker that came; `None` in a bucket without versions.
    pub version: Option<VersionRef>,
    /// What went or came is a delete marker.
    pub delete_marker: bool,
}

/// An access key. The secret is given once, by `create_key`, and looked up by `secret_for`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AccessKeyInfo {
    /// Access key id.
    pub access_key: String,
    /// What its owner called it.
    pub label: String,
    /// When it was made.
    pub created: UnixMs,
    /// Whether it was revoked: it opens nothing any more.
    pub revoked: bool,
    /// What it opens.
    #[serde(flatten)]
    pub scope: KeyScope,
}

/// A new access key with its secret.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct NewAccessKey {
    /// Access key id: 20 characters.
    pub access_key: String,
    /// Secret: 40 characters.
    pub secret_key: String,
}

impl std::fmt::Debug for NewAccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewAccessKey({}, hidden)", self.access_key)
    }
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ObjectsStats {
    /// Buckets.
    pub buckets: u64,
    /// Objects that can be read.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Multipart uploads in progress.
    pub uploads: u64,
    /// Blobs that something refers to, packs included.
    pub blobs: u64,
    /// Bytes in those blobs.
    pub blob_bytes: u64,
    /// Packs among them.
    pub packs: u64,
    /// Bytes in packs that nothing refers to any more.
    pub pack_waste_bytes: u64,
    /// Blobs that wait to be deleted from their providers.
    pub trash: u64,
    /// Commits of the catalog since it was opened (each one disk sync, shared by the changes in it).
    pub commits: u64,
    /// Changes in those commits.
    pub changes: u64,
}
