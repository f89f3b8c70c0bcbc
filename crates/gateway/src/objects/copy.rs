//! Copying objects inside the store: the copy refers to the same bytes, none move. Only a small object is written again behind the
//! copy's record, so that no pack is kept alive by objects recorded in others.
//!
//! Never: a copy of bytes that are being deleted: the source is held by a lease until the copy is committed.
//! Limits: none of its own; a copy costs one pack entry, whatever the length.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cairn_types::UnixMs;

use super::api::{Checksum, ChecksumAlgorithm, ChecksumKind, CopyRequest, ObjectInfo, ObjectMeta, Versioning, WriteConditions};
use super::core::{Core, key_at};
use super::error::ObjectError;
use super::hashing::{BodyHasher, Digests};
use super::put::{NewObject, place_record};
use super::{Objects, check, refs};
use crate::catalog::record::Extent;

impl Objects {
    /// Copies an object by reference.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchKey`] of the source, [`ObjectError::PreconditionFailed`] of either side,
    /// [`ObjectError::InvalidRequest`] for a copy onto itself that changes nothing.
    pub async fn copy(&self, request: CopyRequest) -> Result<ObjectInfo, ObjectError> {
        let core = &self.core;
        core.check_running()?;
        check::key(&request.key)?;
        let source = self.get_version(&request.source_bucket, &request.source_key, request.source_version).await?;
        request.source_conditions.check_source(&source.etag, source.modified)?;
        let itself =
            request.source_version.is_none() && (&request.source_bucket, &request.source_key) == (&request.bucket, &request.key);
        let same = request.storage_class == source.meta.storage_class && request.control.encryption == source.control.encryption;
        if itself && request.meta.is_none() && request.tags.is_none() && same {
            let reason = "a copy onto itself must change metadata, tags, storage class or encryption";
            return Err(ObjectError::InvalidRequest(reason.into()));
        }
        let versioning = self.check_early(&request.bucket, &request.key, &request.conditions, 0).await?;
        let meta = meta_of_copy(&request, &source);
        check::meta(&meta)?;
        let checksums = self.checksums_of_copy(&source, request.checksum).await?;
        let small = self.bytes_of_small(&source).await?;
        let object = NewObject {
            bucket: request.bucket,
            key: request.key,
            version: core.network.next_version(),
            named: versioning == Versioning::Enabled,
            control: request.control,
            len: source.len,
            etag: source.etag.clone(),
            modified: core.network.now(),
            meta,
            checksums,
            parts: source.parts.clone(),
        };
        let now = object.modified;
        core.to_the_end(commit(core.clone(), source, small, object, request.conditions, now)).await
    }

    async fn bytes_of_small(&self, source: &ObjectInfo) -> Result<Option<Bytes>, ObjectError> {
        if source.len == 0 || source.len > self.core.config.pack_max as u64 {
            return Ok(None);
        }
        let mut bytes = BytesMut::new();
        let mut reader = self.read(source, 0..source.len).await?;
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(Some(bytes.freeze()))
    }

    async fn checksums_of_copy(
        &self,
        source: &ObjectInfo,
        wanted: Option<ChecksumAlgorithm>,
    ) -> Result<Vec<Checksum>, ObjectError> {
        let Some(algorithm) = wanted else { return Ok(source.checksums.clone()) };
        let present = source.checksums.iter().find(|sum| sum.algorithm == algorithm && sum.kind == ChecksumKind::FullObject);
        match present {
            Some(checksum) => Ok(vec![checksum.clone()]),
            None => Ok(self.digests(source, 0..source.len, Some(algorithm)).await?.checksums),
        }
    }

    /// Reads a range of an object to hash it.
    pub(crate) async fn digests(
        &self,
        source: &ObjectInfo,
        range: std::ops::Range<u64>,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Digests, ObjectError> {
        let mut hasher = BodyHasher::new(algorithm.into_iter(), self.core.hashing.clone());
        let mut reader = self.read(source, range).await?;
        while let Some(bytes) = reader.next().await {
            hasher.push(bytes?).await?;
        }
        hasher.finish().await
    }
}

fn meta_of_copy(request: &CopyRequest, source: &ObjectInfo) -> ObjectMeta {
    let base = request.meta.as_ref().unwrap_or(&source.meta);
    ObjectMeta {
        headers: base.headers.clone(),
        user: base.user.clone(),
        tags: request.tags.as_ref().unwrap_or(&source.meta.tags).clone(),
        storage_class: request.storage_class.clone(),
    }
}

async fn commit(
    core: Arc<Core>,
    source: ObjectInfo,
    small: Option<Bytes>,
    object: NewObject,
    conditions: WriteConditions,
    now: UnixMs,
) -> Result<ObjectInfo, ObjectError> {
    let inline = small.is_some();
    let data = small.unwrap_or_default();
    let extents: Vec<Extent> = if inline { Vec::new() } else { source.extents.to_vec() };
    let mut record = object.record(&extents);
    let head = object.head(&record, data.len())?;
    let (bucket, key, shared) = (object.bucket.clone(), object.key.clone(), extents.clone());
    let client = core.network.client.clone();
    let committing = core.packer.append(
        head,
        data,
        Box::new(move |txn, placed| {
            let at = key_at(txn, &bucket, &key)?;
            for extent in &shared {
                refs::retain(txn, extent)?;
            }
            place_record(&mut record, placed, inline);
            at.insert(txn, &client, &record, &conditions, now)
        }),
    );
    let placed = committing.await?;
    drop(source); // the lease: from here on the copy's own references hold the bytes
    Ok(object.info(if inline { vec![placed.data] } else { extents }))
}
