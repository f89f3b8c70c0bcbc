//! Words of multipart uploads: what is asked of them and what comes back.
//!
//! Never: a type of the S3 library here. Limits: see [`super::limits`].

use cairn_types::UnixMs;

use super::api::{Checksum, ChecksumAlgorithm, ChecksumKind, Control, ObjectMeta, ReadConditions, VersionRef, WriteConditions};

/// Asks to begin a multipart upload.
#[derive(Default)]
pub struct CreateUploadRequest {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Headers, user metadata, tags, storage class of the finished object.
    pub meta: ObjectMeta,
    /// Owner, ACL, lock and encryption of the finished object.
    pub control: Control,
    /// Checksum algorithm of the parts, if any.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Kind of the finished object's checksum; `None` is the algorithm's default (CRC-64: full object; others: composite).
    pub checksum_kind: Option<ChecksumKind>,
    /// Who asks; shown by [`super::Objects::list_uploads`].
    pub initiator: String,
}

/// A multipart upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Upload id: 32 hex digits.
    pub upload_id: String,
    /// When it began.
    pub initiated: UnixMs,
    /// Who began it.
    pub initiator: String,
    /// Storage class; `None` is STANDARD.
    pub storage_class: Option<String>,
    /// Checksum algorithm and kind, if it was begun with one.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Owner, ACL, lock and encryption of the finished object.
    pub control: Control,
}

/// Names an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadName {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Upload id.
    pub upload_id: String,
}

/// One stored part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// 1..=10,000.
    pub number: u32,
    /// Length in bytes.
    pub len: u64,
    /// MD5 of its bytes in hex, without quotes.
    pub etag: String,
    /// When it was stored.
    pub modified: UnixMs,
    /// Checksums kept with it.
    pub checksums: Vec<Checksum>,
}

/// One page of an upload's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsPage {
    /// The upload.
    pub upload: UploadInfo,
    /// Parts, ascending by number.
    pub parts: Vec<PartInfo>,
    /// Last number on this page when there are more.
    pub next: Option<u32>,
}

/// Asks for one page of a bucket's uploads.
#[derive(Debug, Clone, Default)]
pub struct ListUploadsRequest {
    /// Bucket.
    pub bucket: String,
    /// Only keys that start with this.
    pub prefix: String,
    /// Folds keys into common prefixes.
    pub delimiter: Option<String>,
    /// Only keys greater than this (or equal, when `upload_id_marker` is given).
    pub key_marker: Option<String>,
    /// Within `key_marker`: only upload ids greater than this. Ignored without `key_marker`.
    pub upload_id_marker: Option<String>,
    /// Uploads plus common prefixes on the page.
    pub max_uploads: usize,
}

/// One page of uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// Uploads, ascending by key, then by beginning.
    pub uploads: Vec<UploadInfo>,
    /// Common prefixes.
    pub common_prefixes: Vec<String>,
    /// Key marker and upload id marker of the next page; the second is empty after a common prefix.
    pub next: Option<(String, String)>,
}

/// Asks to make a part of a range of a stored object. The bytes are taken by reference: none move.
#[derive(Default)]
pub struct CopyPartRequest {
    /// The upload.
    pub upload: UploadName,
    /// 1..=10,000.
    pub number: u32,
    /// Bucket of the source.
    pub source_bucket: String,
    /// Key of the source.
    pub source_key: String,
    /// Version of the source; `None`: the current one.
    pub source_version: Option<VersionRef>,
    /// `x-amz-copy-source-if-*`.
    pub source_conditions: ReadConditions,
    /// `x-amz-copy-source-range` as a half-open range; `None` for the whole.
    pub range: Option<std::ops::Range<u64>>,
}

/// One part as named by a completion.
#[derive(Debug, Clone, Default)]
pub struct CompletePart {
    /// Number.
    pub number: u32,
    /// ETag without quotes.
    pub etag: String,
    /// Checksums to compare with, if the request names any.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

/// Asks to make an object of parts.
#[derive(Default)]
pub struct CompleteRequest {
    /// The upload.
    pub upload: UploadName,
    /// Parts in the order of the object; numbers ascend.
    pub parts: Vec<CompletePart>,
    /// Expected checksum of the whole (full object, or composite without its `-N`).
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// Kind named by this request (`x-amz-checksum-type`); another than the upload's is refused.
    pub checksum_kind: Option<ChecksumKind>,
    /// `x-amz-mp-object-size`.
    pub len: Option<u64>,
    /// Conditions on what is there now.
    pub conditions: WriteConditions,
}
