//! Records of the catalog: one version byte, then protobuf. See `docs/formats/catalog.md`; the same object record lies in packs.
//!
//! Never: reuse a tag. Limits: [`RECORD_LEN_MAX`], checked before anything is decoded.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_types::{BlobId, UnixMs};
use prost::Message;

pub use super::control_record::{BucketRecord, ConfigRecord, ControlRecord, KeyRecord};
pub use super::meta_record::{BudgetRecord, CheckpointRecord, Counters, StateRecord};
use crate::objects::api::{Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, ObjectMeta, ObjectPart, VersionId};

/// Version byte in front of every record.
pub const RECORD_VERSION: u8 = 1;
/// Any record, encoded: an object of 10,000 parts with checksums stays below.
pub const RECORD_LEN_MAX: usize = 16 << 20;

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("record version {0} is unknown; this catalog was written by a later version")]
    UnknownVersion(u8),
    /// Too long, cut off, or with a field that is not what it should be.
    #[error("record is damaged: {0}")]
    Damaged(String),
}

/// Encodes a record with its version byte.
pub fn encode(record: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + record.encoded_len());
    bytes.push(RECORD_VERSION);
    record.encode(&mut bytes).expect("a Vec grows");
    bytes
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`RecordError`].
pub fn decode<R: Message + Default>(bytes: &[u8]) -> Result<R, RecordError> {
    if bytes.len() > RECORD_LEN_MAX {
        return Err(RecordError::Damaged(format!("{} bytes", bytes.len())));
    }
    match bytes.split_first() {
        Some((&RECORD_VERSION, body)) => R::decode(body).map_err(|error| RecordError::Damaged(error.to_string())),
        Some((&version, _)) => Err(RecordError::UnknownVersion(version)),
        None => Err(RecordError::Damaged("empty".into())),
    }
}

/// A range of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Which blob.
    pub blob: BlobId,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// [`Extent`] on disk.
#[derive(Clone, PartialEq, Message)]
pub struct ExtentRecord {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub blob: Bytes,
    /// First byte.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Bytes.
    #[prost(uint64, tag = "3")]
    pub len: u64,
}

impl From<Extent> for ExtentRecord {
    fn from(extent: Extent) -> Self {
        ExtentRecord { blob: Bytes::copy_from_slice(extent.blob.as_bytes()), offset: extent.offset, len: extent.len }
    }
}

impl TryFrom<&ExtentRecord> for Extent {
    type Error = RecordError;
    fn try_from(record: &ExtentRecord) -> Result<Self, RecordError> {
        let blob = BlobId::from_slice(&record.blob).ok_or_else(|| RecordError::Damaged("blob id".into()))?;
        record.offset.checked_add(record.len).ok_or_else(|| RecordError::Damaged("extent end".into()))?;
        Ok(Extent { blob, offset: record.offset, len: record.len })
    }
}

/// Reads a list of extents.
///
/// # Errors
/// [`RecordError::Damaged`].
pub fn extents(records: &[ExtentRecord]) -> Result<Vec<Extent>, RecordError> {
    records.iter().map(Extent::try_from).collect()
}

/// A checksum.
#[derive(Clone, PartialEq, Message)]
pub struct ChecksumRecord {
    /// 1 CRC-32, 2 CRC-32C, 3 CRC-64/NVME, 4 SHA-1, 5 SHA-256.
    #[prost(uint32, tag = "1")]
    pub algorithm: u32,
    /// 1 full object, 2 composite.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// Big-endian.
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
    /// Parts behind a composite value.
    #[prost(uint32, tag = "4")]
    pub parts: u32,
}

impl From<&Checksum> for ChecksumRecord {
    fn from(checksum: &Checksum) -> Self {
        ChecksumRecord {
            algorithm: checksum.algorithm.number(),
            kind: checksum.kind.number(),
            value: checksum.value.clone(),
            parts: checksum.parts,
        }
    }
}

impl TryFrom<&ChecksumRecord> for Checksum {
    type Error = RecordError;
    fn try_from(record: &ChecksumRecord) -> Result<Self, RecordError> {
        let damaged = || RecordError::Damaged("checksum".into());
        let algorithm = ChecksumAlgorithm::from_number(record.algorithm).ok_or_else(damaged)?;
        let kind = ChecksumKind::from_number(record.kind).ok_or_else(damaged)?;
        if record.value.len() != algorithm.len() {
            return Err(damaged());
        }
        Ok(Checksum { algorithm, kind, value: record.value.clone(), parts: record.parts })
    }
}

fn checksums(records: &[ChecksumRecord]) -> Result<Vec<Checksum>, RecordError> {
    records.iter().map(Checksum::try_from).collect()
}

/// Headers, metadata, tags and storage class as their writer chose them.
#[derive(Clone, PartialEq, Message)]
pub struct MetaRecord {
    /// `Content-Type`.
    #[prost(string, optional, tag = "1")]
    pub content_type: Option<String>,
    /// `Cache-Control`.
    #[prost(string, optional, tag = "2")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    #[prost(string, optional, tag = "3")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    #[prost(string, optional, tag = "4")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[prost(string, optional, tag = "5")]
    pub content_language: Option<String>,
    /// `Expires`.
    #[prost(string, optional, tag = "6")]
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    #[prost(string, optional, tag = "7")]
    pub website_redirect: Option<String>,
    /// User metadata.
    #[prost(btree_map = "string, string", tag = "8")]
    pub user: BTreeMap<String, String>,
    /// Tags.
    #[prost(btree_map = "string, string", tag = "9")]
    pub tags: BTreeMap<String, String>,
    /// Storage class.
    #[prost(string, optional, tag = "10")]
    pub storage_class: Option<String>,
}

impl From<ObjectMeta> for MetaRecord {
    fn from(meta: ObjectMeta) -> Self {
        MetaRecord {
            content_type: meta.headers.content_type,
            cache_control: meta.headers.cache_control,
            content_disposition: meta.headers.content_disposition,
            content_encoding: meta.headers.content_encoding,
            content_language: meta.headers.content_language,
            expires: meta.headers.expires,
            website_redirect: meta.headers.website_redirect,
            user: meta.user,
            tags: meta.tags,
            storage_class: meta.storage_class,
        }
    }
}

impl From<MetaRecord> for ObjectMeta {
    fn from(record: MetaRecord) -> Self {
        ObjectMeta {
            headers: ContentHeaders {
                content_type: record.content_type,
                cache_control: record.cache_control,
                content_disposition: record.content_disposition,
                content_encoding: record.content_encoding,
                content_language: record.content_language,
                expires: record.expires,
                website_redirect: record.website_redirect,
            },
            user: record.user,
            tags: record.tags,
            storage_class: record.storage_class,
        }
    }
}

/// A part inside a finished object.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectPartRecord {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// Bytes.
    #[prost(uint64, tag = "2")]
    pub len: u64,
    /// Its checksums.
    #[prost(message, repeated, tag = "3")]
    pub checksums: Vec<ChecksumRecord>,
}

impl From<&ObjectPart> for ObjectPartRecord {
    fn from(part: &ObjectPart) -> Self {
        ObjectPartRecord { number: part.number, len: part.len, checksums: part.checksums.iter().map(Into::into).collect() }
    }
}

impl TryFrom<&ObjectPartRecord> for ObjectPart {
    type Error = RecordError;
    fn try_from(record: &ObjectPartRecord) -> Result<Self, RecordError> {
        Ok(ObjectPart { number: record.number, len: record.len, checksums: checksums(&record.checksums)? })
    }
}

/// An object version.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectRecord {
    /// [`VersionId::writer_epoch`].
    #[prost(uint64, tag = "1")]
    pub writer_epoch: u64,
    /// [`VersionId::sequence`].
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// Bytes.
    #[prost(uint64, tag = "3")]
    pub len: u64,
    /// ETag without quotes.
    #[prost(string, tag = "4")]
    pub etag: String,
    /// Last modified.
    #[prost(uint64, tag = "5")]
    pub modified_ms: u64,
    /// Checksums of the whole.
    #[prost(message, repeated, tag = "6")]
    pub checksums: Vec<ChecksumRecord>,
    /// Headers and metadata.
    #[prost(message, optional, tag = "7")]
    pub meta: Option<MetaRecord>,
    /// Where its bytes are. In a pack: empty when the bytes follow the record there.
    #[prost(message, repeated, tag = "8")]
    pub extents: Vec<ExtentRecord>,
    /// Its parts, if it was made of several.
    #[prost(message, repeated, tag = "9")]
    pub parts: Vec<ObjectPartRecord>,
    /// The entry of a pack that holds this record. Absent inside a pack.
    #[prost(message, optional, tag = "10")]
    pub entry: Option<ExtentRecord>,
    /// Whose it is, who may read it, what forbids its deletion.
    #[prost(message, optional, tag = "11")]
    pub control: Option<ControlRecord>,
}

/// What a listing shows of an [`ObjectRecord`]: a subset of its fields, so that parts and extents are skipped.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectSummary {
    /// As in [`ObjectRecord`].
    #[prost(uint64, tag = "3")]
    pub len: u64,
    /// As in [`ObjectRecord`].
    #[prost(string, tag = "4")]
    pub etag: String,
    /// As in [`ObjectRecord`].
    #[prost(uint64, tag = "5")]
    pub modified_ms: u64,
    /// As in [`ObjectRecord`].
    #[prost(message, repeated, tag = "6")]
    pub checksums: Vec<ChecksumRecord>,
    /// As in [`ObjectRecord`].
    #[prost(message, optional, tag = "7")]
    pub meta: Option<MetaRecord>,
    /// As in [`ObjectRecord`].
    #[prost(message, optional, tag = "11")]
    pub control: Option<ControlRecord>,
}

impl ObjectRecord {
    /// Whether it has a version id of its own.
    pub fn named(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.named)
    }

    /// Whether it says that the key was deleted.
    pub fn delete_marker(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.delete_marker)
    }

    /// Name of the version.
    pub fn version(&self) -> VersionId {
        VersionId { writer_epoch: self.writer_epoch, sequence: self.sequence }
    }

    /// Last modified.
    pub fn modified(&self) -> UnixMs {
        UnixMs(self.modified_ms)
    }

    /// Checksums of the whole.
    ///
    /// # Errors
    /// [`RecordError::Damaged`].
    pub fn checksums(&self) -> Result<Vec<Checksum>, RecordError> {
        checksums(&self.checksums)
    }

    /// Its parts.
    ///
    /// # Errors
    /// [`RecordError::Damaged`].
    pub fn parts(&self) -> Result<Vec<ObjectPart>, RecordError> {
        self.parts.iter().map(ObjectPart::try_from).collect()
    }

    /// The pack entry that holds this record.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] when there is none, as inside a pack.
    pub fn entry(&self) -> Result<Extent, RecordError> {
        self.entry.as_ref().ok_or_else(|| RecordError::Damaged("no pack entry".into()))?.try_into()
    }
}

/// A multipart upload, in progress or lately completed.
#[derive(Clone, PartialEq, Message)]
pub struct UploadRecord {
    /// When it began.
    #[prost(uint64, tag = "1")]
    pub initiated_ms: u64,
    /// Who began it.
    #[prost(string, tag = "2")]
    pub initiator: String,
    /// Headers and metadata of the finished object.
    #[prost(message, optional, tag = "3")]
    pub meta: Option<MetaRecord>,
    /// Checksum algorithm; zero for none.
    #[prost(uint32, tag = "4")]
    pub algorithm: u32,
    /// Checksum kind; zero for none.
    #[prost(uint32, tag = "5")]
    pub kind: u32,
    /// Set when it was completed: kept a while so that a repeated completion gets the same answer.
    #[prost(message, optional, tag = "6")]
    pub completed: Option<CompletedRecord>,
    /// Owner, ACL, lock and encryption of the finished object.
    #[prost(message, optional, tag = "7")]
    pub control: Option<ControlRecord>,
}

/// How an upload ended.
#[derive(Clone, PartialEq, Message)]
pub struct CompletedRecord {
    /// SHA-256 of the list of parts it was completed with.
    #[prost(bytes = "vec", tag = "1")]
    pub parts_digest: Vec<u8>,
    /// The object it became, without extents, parts and metadata.
    #[prost(message, optional, tag = "2")]
    pub object: Option<ObjectRecord>,
    /// When.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
}

/// A stored part of an upload in progress.
#[derive(Clone, PartialEq, Message)]
pub struct PartRecord {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub len: u64,
    /// ETag without quotes.
    #[prost(string, tag = "2")]
    pub etag: String,
    /// When it was stored.
    #[prost(uint64, tag = "3")]
    pub modified_ms: u64,
    /// Its checksums.
    #[prost(message, repeated, tag = "4")]
    pub checksums: Vec<ChecksumRecord>,
    /// Where its bytes are.
    #[prost(message, repeated, tag = "5")]
    pub extents: Vec<ExtentRecord>,
}

impl PartRecord {
    /// Its checksums.
    ///
    /// # Errors
    /// [`RecordError::Damaged`].
    pub fn checksums(&self) -> Result<Vec<Checksum>, RecordError> {
        checksums(&self.checksums)
    }
}

/// What a blob is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum BlobKind {
    /// Never written.
    Unspecified = 0,
    /// Bytes of one object or part.
    Data = 1,
    /// A pack: records and small objects.
    Pack = 2,
    /// A checkpoint: what the catalog holds.
    Checkpoint = 3,
}

/// How much of a blob is in use.
#[derive(Clone, PartialEq, Message)]
pub struct BlobRecord {
    /// References to it: object and part extents, pack entries. Zero: in the trash.
    #[prost(uint64, tag = "1")]
    pub refs: u64,
    /// What it is for.
    #[prost(enumeration = "BlobKind", tag = "2")]
    pub kind: i32,
    /// Bytes.
    #[prost(uint64, tag = "3")]
    pub len: u64,
    /// Sum of the lengths of those references; more than `len` when copies share bytes.
    #[prost(uint64, tag = "4")]
    pub live: u64,
}

impl BlobRecord {
    /// Bytes of a pack that nothing refers to.
    pub fn waste(&self) -> u64 {
        if self.kind == BlobKind::Pack as i32 { self.len.saturating_sub(self.live) } else { 0 }
    }
}

/// Row of the trash.
#[derive(Clone, PartialEq, Message)]
pub struct TrashRecord {
    /// Since when nothing refers to the blob.
    #[prost(uint64, tag = "1")]
    pub since_ms: u64,
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
