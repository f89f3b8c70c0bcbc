//! PUT: body to the network, record to a pack, row to the catalog, and only then an answer.
//!
//! Never: a row before its bytes and its record are durable; a blob that neither a row nor the trash knows, once this returned.

use std::sync::Arc;

use bytes::Bytes;
use cairn_types::UnixMs;

use super::api::{
    Body, Checksum, Control, ObjectInfo, ObjectMeta, ObjectPart, PutRequest, VersionId, VersionRef, Versioning, WriteConditions,
};
use super::core::{Core, key_at};
use super::error::ObjectError;
use super::pack::{PackedObject, encode_head};
use super::packer::Placed;
use super::receive::{Content, Received, receive};
use super::{Objects, budget, check, refs};
use crate::catalog::record::{BlobKind, Extent, ExtentRecord, ObjectRecord};

/// An object version about to be committed.
pub(crate) struct NewObject {
    pub bucket: String,
    pub key: String,
    pub version: VersionId,
    /// It has a version id of its own.
    pub named: bool,
    pub control: Control,
    pub len: u64,
    pub etag: String,
    pub modified: UnixMs,
    pub meta: ObjectMeta,
    pub checksums: Vec<Checksum>,
    pub parts: Vec<ObjectPart>,
}

impl NewObject {
    /// Its record; `extents` are those outside its own pack entry.
    pub fn record(&self, extents: &[Extent]) -> ObjectRecord {
        ObjectRecord {
            writer_epoch: self.version.writer_epoch,
            sequence: self.version.sequence,
            len: self.len,
            etag: self.etag.clone(),
            modified_ms: self.modified.0,
            checksums: self.checksums.iter().map(Into::into).collect(),
            meta: Some(self.meta.clone().into()),
            extents: extents.iter().map(|extent| (*extent).into()).collect(),
            parts: self.parts.iter().map(Into::into).collect(),
            entry: None,
            control: Some(self.control.record(self.named, false)),
        }
    }

    /// Head of its pack entry.
    pub fn head(&self, record: &ObjectRecord, data_len: usize) -> Result<Vec<u8>, ObjectError> {
        let packed = PackedObject { bucket: self.bucket.clone(), key: self.key.clone(), record: Some(record.clone()) };
        encode_head(&packed, data_len)
            .ok_or_else(|| ObjectError::InvalidRequest("the object has too many parts to be recorded".into()))
    }

    /// What the caller is told.
    pub fn info(self, extents: Vec<Extent>) -> ObjectInfo {
        ObjectInfo {
            bucket: self.bucket,
            key: self.key,
            version: self.version,
            named: self.named,
            delete_marker: false,
            control: self.control,
            len: self.len,
            etag: self.etag,
            modified: self.modified,
            meta: self.meta,
            checksums: self.checksums,
            parts: self.parts,
            extents: extents.into(),
            lease: None,
        }
    }
}

impl Objects {
    /// Stores an object. It is durable and visible when this answers; on any error nothing of it is.
    ///
    /// # Errors
    /// [`ObjectError`] of the request, the body, the conditions, the network.
    pub async fn put(&self, request: PutRequest, body: Body) -> Result<ObjectInfo, ObjectError> {
        let core = &self.core;
        core.check_running()?;
        check::key(&request.key)?;
        check::meta(&request.meta)?;
        let announced = request.checks.len.unwrap_or(0);
        let versioning = self.check_early(&request.bucket, &request.key, &request.conditions, announced).await?;
        let PutRequest { bucket, key, meta, control, checks, conditions } = request;
        let received = receive(core, body, checks, core.config.pack_max).await?;
        let object = NewObject {
            bucket,
            key,
            version: core.network.next_version(),
            named: versioning == Versioning::Enabled,
            control,
            len: received.len,
            etag: hex::encode(received.digests.md5),
            modified: core.network.now(),
            meta,
            checksums: received.digests.checksums.clone(),
            parts: Vec::new(),
        };
        core.to_the_end(commit(core.clone(), object, received, conditions)).await
    }

    /// Fails before a body of `len` bytes is read when bucket, conditions or budget already say no; the commit judges again.
    /// Says whether the bucket keeps versions.
    pub(crate) async fn check_early(
        &self,
        bucket: &str,
        key: &str,
        conditions: &WriteConditions,
        len: u64,
    ) -> Result<Versioning, ObjectError> {
        let (bucket, key, conditions) = (bucket.to_owned(), key.to_owned(), conditions.clone());
        let client = self.core.network.client.clone();
        let looking = self.core.network.catalog.read(move |db| {
            let at = key_at(db, &bucket, &key)?;
            if conditions != WriteConditions::default() {
                let present = at.find(db, None)?.filter(|found| !found.record.delete_marker());
                conditions.check(present.as_ref().map(|present| present.record.etag.as_str()))?;
            }
            if len > 0 && budget::is_limited(db, at.bucket)? {
                let replaced = if at.versioning == Versioning::Enabled { None } else { at.find(db, Some(VersionRef::Null))? };
                let before = replaced.map_or(0, |replaced| replaced.record.len);
                budget::check_early(db, &client, at.bucket, len.saturating_sub(before))?;
            }
            Ok(at.versioning)
        });
        looking.await
    }
}

async fn commit(
    core: Arc<Core>,
    object: NewObject,
    received: Received,
    conditions: WriteConditions,
) -> Result<ObjectInfo, ObjectError> {
    let (data, blob) = match received.content {
        Content::Small(data) => (data, None),
        Content::Blob(blob) => (Bytes::new(), Some(blob)),
    };
    let whole = blob.as_ref().map(|blob| Extent { blob: blob.blob, offset: 0, len: object.len });
    let mut record = object.record(whole.as_slice());
    let head = object.head(&record, data.len())?;
    let (bucket, key, now, stored) = (object.bucket.clone(), object.key.clone(), object.modified, blob.clone());
    let client = core.network.client.clone();
    let committing = core.packer.append(
        head,
        data,
        Box::new(move |txn, placed| {
            let at = key_at(txn, &bucket, &key)?;
            if let (Some(stored), Some(whole)) = (&stored, &whole) {
                refs::insert(txn, stored, BlobKind::Data);
                refs::retain(txn, whole)?;
            }
            place_record(&mut record, placed, whole.is_none());
            at.insert(txn, &client, &record, &conditions, now)
        }),
    );
    match (committing.await, blob) {
        (Ok(placed), _) => {
            let extents = whole.unwrap_or(placed.data);
            Ok(object.info(if extents.len == 0 { Vec::new() } else { vec![extents] }))
        }
        (Err(error), Some(blob)) => {
            discard(&core, &blob).await;
            Err(error)
        }
        (Err(error), None) => Err(error),
    }
}

/// Tells a record where it came to lie, and its bytes too when they follow it.
pub(crate) fn place_record(record: &mut ObjectRecord, placed: &Placed, inline: bool) {
    record.entry = Some(placed.entry.into());
    if inline && placed.data.len > 0 {
        record.extents = vec![ExtentRecord::from(placed.data)];
    }
}

/// Puts a durable blob that no row came to refer to in the trash. Should even that fail, the collector finds its shards.
pub(crate) async fn discard(core: &Core, blob: &Arc<cairn_client::StoredBlob>) {
    let (blob, now) = (blob.clone(), core.network.now());
    let discarding = core.network.catalog.change(move |txn| {
        refs::insert(txn, &blob, BlobKind::Data);
        refs::discard_unused(txn, blob.blob, now)
    });
    if let Err(error) = discarding.await {
        tracing::warn!(%error, "a blob nobody refers to is left to the collector");
    }
    core.network.wake_trash();
}
