//! Reading: looking an object up, holding its bytes, streaming a range of it across its extents.
//!
//! An object that is replaced or deleted while it is read: a reader from [`Objects::get`] holds a lease and gets all the bytes of
//! the version it asked for; a reader from [`Objects::head`] gets them or [`ObjectError::Replaced`] before the first byte.
//! Never: bytes of two versions in one answer. Limits: one extent's reader at a time.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cairn_client::{BlobReader, Manifest};
use cairn_types::BlobId;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use super::Objects;
use super::api::{ObjectInfo, VersionRef};
use super::core::{Network, key_at, read_error};
use super::error::ObjectError;
use super::lease::Lease;
use super::versions::control_of;
use crate::catalog::record::{BlobRecord, Extent, ObjectRecord, extents};
use crate::catalog::table::blob_row;
use crate::catalog::{Db, Table};

/// How often a look-up is repeated because the object was replaced under it.
const LOOKUPS_MAX: usize = 16;
/// An object of more blobs has its manifests looked up one by one while it is read.
const MANIFESTS_AT_HAND_MAX: usize = 2;

/// The bytes of a range of an object, as a stream. Dropping it stops the fetching.
pub struct ObjectReader {
    stream: BoxStream<'static, Result<Bytes, ObjectError>>,
}

impl ObjectReader {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ObjectError>> {
        self.stream.next().await
    }
}

impl Stream for ObjectReader {
    type Item = Result<Bytes, ObjectError>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl Objects {
    /// Looks an object up without holding it: [`Self::read`] may answer [`ObjectError::Replaced`].
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::NoSuchKey`].
    pub async fn head(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        self.head_version(bucket, key, None).await
    }

    /// As [`Self::head`], for a version.
    ///
    /// # Errors
    /// As [`Self::head`]; [`ObjectError::NoSuchVersion`], [`ObjectError::DeleteMarker`].
    pub async fn head_version(&self, bucket: &str, key: &str, version: Option<VersionRef>) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.core.network.catalog.read(move |db| find(db, bucket, key, version)).await
    }

    /// Looks an object up and holds its bytes: until the info and its readers are dropped, replacing or deleting the object does
    /// not touch them.
    ///
    /// # Errors
    /// As [`Self::head`].
    pub async fn get(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        self.get_version(bucket, key, None).await
    }

    /// As [`Self::get`], for a version.
    ///
    /// # Errors
    /// As [`Self::head_version`].
    pub async fn get_version(&self, bucket: &str, key: &str, version: Option<VersionRef>) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key, leases) = (bucket.to_owned(), key.to_owned(), self.core.network.leases.clone());
        let looking = self.core.network.catalog.read(move |db| {
            for _ in 0..LOOKUPS_MAX {
                let mut info = find(db, bucket.clone(), key.clone(), version)?;
                if let Some(mut lease) = leases.hold(blobs(&info.extents))
                    && all_referred_to(db, &info.extents)?
                {
                    if lease.blobs().len() <= MANIFESTS_AT_HAND_MAX {
                        for blob in lease.blobs().to_vec() {
                            lease.keep(manifest_in(db, blob)?);
                        }
                    }
                    info.lease = Some(Arc::new(lease));
                    return Ok(info);
                }
            }
            Err(ObjectError::Replaced)
        });
        looking.await
    }

    /// Reads `range` of an object.
    ///
    /// # Errors
    /// [`ObjectError::InvalidRange`]; [`ObjectError::Replaced`] without a lease. Errors of the network come from the reader.
    pub async fn read(&self, info: &ObjectInfo, range: Range<u64>) -> Result<ObjectReader, ObjectError> {
        if range.start > range.end || range.end > info.len {
            return Err(ObjectError::InvalidRange { len: info.len });
        }
        let lease = match &info.lease {
            Some(lease) => lease.clone(),
            None => self.hold(info.extents.clone()).await?,
        };
        let reading =
            Reading { network: self.core.network.clone(), plan: plan(&info.extents, range), reader: None, left: 0, lease };
        Ok(ObjectReader { stream: stream::try_unfold(reading, Reading::step).boxed() })
    }

    async fn hold(&self, extents: Arc<[Extent]>) -> Result<Arc<Lease>, ObjectError> {
        let lease = self.core.network.leases.hold(blobs(&extents)).ok_or(ObjectError::Replaced)?;
        let referred = self.core.network.catalog.read(move |db| all_referred_to(db, &extents)).await?;
        if referred { Ok(Arc::new(lease)) } else { Err(ObjectError::Replaced) }
    }
}

fn find(db: &Db, bucket: String, key: String, version: Option<VersionRef>) -> Result<ObjectInfo, ObjectError> {
    match key_at(db, &bucket, &key)?.find(db, version)? {
        None if version.is_some() => Err(ObjectError::NoSuchVersion),
        None => Err(ObjectError::NoSuchKey),
        Some(found) if found.record.delete_marker() => {
            Err(ObjectError::DeleteMarker { version: found.name(), modified: found.record.modified(), by_id: version.is_some() })
        }
        Some(found) => info_of(bucket, key, found.record),
    }
}

/// What a record says, in the words of the API.
pub(crate) fn info_of(bucket: String, key: String, record: ObjectRecord) -> Result<ObjectInfo, ObjectError> {
    Ok(ObjectInfo {
        bucket,
        key,
        version: record.version(),
        named: record.named(),
        delete_marker: record.delete_marker(),
        control: control_of(&record)?,
        len: record.len,
        modified: record.modified(),
        checksums: record.checksums()?,
        parts: record.parts()?,
        extents: extents(&record.extents)?.into(),
        etag: record.etag,
        meta: record.meta.map(Into::into).unwrap_or_default(),
        lease: None,
    })
}

fn blobs(extents: &[Extent]) -> Vec<BlobId> {
    extents.iter().map(|extent| extent.blob).collect()
}

fn all_referred_to(db: &Db, extents: &[Extent]) -> Result<bool, ObjectError> {
    let mut last = None;
    for extent in extents {
        if last == Some(extent.blob) {
            continue;
        }
        last = Some(extent.blob);
        let blob: Option<BlobRecord> = db.record(Table::Blobs, &blob_row(extent.blob))?;
        if blob.is_none_or(|blob| blob.refs == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The parts of `extents` that make up `range` of their concatenation.
pub(crate) fn plan(extents: &[Extent], range: Range<u64>) -> VecDeque<Extent> {
    let mut plan = VecDeque::new();
    let mut start = 0u64;
    for extent in extents {
        let end = start.saturating_add(extent.len);
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            plan.push_back(Extent { blob: extent.blob, offset: extent.offset + (from - start), len: to - from });
        }
        start = end;
    }
    plan
}

/// The manifest of a blob the catalog refers to.
pub(crate) async fn manifest(network: &Network, blob: BlobId) -> Result<Manifest, ObjectError> {
    network.catalog.read(move |db| manifest_in(db, blob)).await
}

/// As [`manifest`], for who is off the async threads already.
pub(crate) fn manifest_in(db: &Db, blob: BlobId) -> Result<Manifest, ObjectError> {
    let bytes = db.get(Table::Manifests, &blob_row(blob))?;
    let bytes = bytes.ok_or_else(|| ObjectError::Internal(format!("blob {blob} has no manifest")))?;
    Manifest::decode(&bytes).map_err(|error| ObjectError::Internal(format!("manifest of blob {blob}: {error}")))
}

struct Reading {
    network: Arc<Network>,
    plan: VecDeque<Extent>,
    reader: Option<BlobReader>,
    /// Bytes the present reader still owes.
    left: u64,
    lease: Arc<Lease>,
}

impl Reading {
    async fn step(mut self) -> Result<Option<(Bytes, Reading)>, ObjectError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(extent) = self.plan.pop_front() else { return Ok(None) };
                let manifest = match self.lease.manifest(extent.blob) {
                    Some(manifest) => manifest,
                    None => Arc::new(manifest(&self.network, extent.blob).await?),
                };
                let end = extent.offset + extent.len;
                if end > manifest.plain_len() {
                    return Err(ObjectError::Internal(format!("an extent ends behind blob {}", extent.blob)));
                }
                self.reader = Some(self.network.client.read(manifest, extent.offset..end));
                self.left = extent.len;
                continue;
            };
            match reader.next().await {
                Some(Ok(bytes)) if bytes.len() as u64 <= self.left => {
                    self.left -= bytes.len() as u64;
                    return Ok(Some((bytes, self)));
                }
                Some(Ok(_)) => return Err(ObjectError::Internal("the network gave more bytes than asked for".into())),
                Some(Err(error)) => return Err(read_error(error)),
                None if self.left > 0 => return Err(ObjectError::Internal("the network gave fewer bytes than asked for".into())),
                None => self.reader = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_covers_exactly_the_range() {
        let extent = |n: u8, offset, len| Extent { blob: BlobId([n; 16]), offset, len };
        let extents = [extent(1, 100, 10), extent(2, 0, 5), extent(1, 0, 20)];
        for (range, expected) in [
            (0..35, vec![extent(1, 100, 10), extent(2, 0, 5), extent(1, 0, 20)]),
            (0..0, vec![]),
            (9..11, vec![extent(1, 109, 1), extent(2, 0, 1)]),
            (10..15, vec![extent(2, 0, 5)]),
            (14..35, vec![extent(2, 4, 1), extent(1, 0, 20)]),
            (34..35, vec![extent(1, 19, 1)]),
        ] {
            assert_eq!(plan(&extents, range.clone()), expected, "{range:?}");
        }
    }
}
