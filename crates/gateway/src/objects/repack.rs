//! Repacking: what is still in use of a mostly dead pack is appended to new packs, so that the old one falls into the trash.
//!
//! Never: move an object that was replaced meanwhile; each move is a commit that checks the row. A pack that a part copied from a
//! small object refers to is left alone until the part is gone: moving the rest would not free it.
//! Limits: one pack in memory at a time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cairn_client::{Client, Manifest};
use cairn_types::BlobId;
use tokio_util::sync::CancellationToken;

use super::Objects;
use super::core::{Core, Network, read_error};
use super::error::ObjectError;
use super::pack::{DATA_LEN_MAX, HEADER_LEN_MAX, PackEntry, PackedObject, entries};
use super::read::manifest;
use super::reenter::reenter;
use crate::catalog::Table;
use crate::catalog::record::{self, BlobKind, BlobRecord, Extent};
use crate::catalog::table::after_prefix;

/// Pause between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// Blobs looked at in one go.
const PAGE: usize = 512;
/// A larger pack is left alone: no pack is written that long.
pub(super) const PACK_LEN_MAX: u64 = (HEADER_LEN_MAX + 2 * DATA_LEN_MAX) as u64 * 2;

/// Repacks now and then, until `stop` or until the store is gone.
pub(super) async fn run(core: Weak<Core>, below_percent: u8, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let Some(core) = core.upgrade() else { return };
        if core.network.catalog.counters().pack_waste == 0 {
            continue;
        }
        match stop.run_until_cancelled(round(&core, below_percent)).await {
            Some(Ok(moved)) if moved > 0 => tracing::info!(moved, "repacked"),
            Some(Err(error)) => tracing::warn!(%error, "repacking failed"),
            _ => {}
        }
    }
}

/// Repacks every pack of which less than `below_percent` is in use. How many records were moved.
pub(super) async fn round(core: &Arc<Core>, below_percent: u8) -> Result<usize, ObjectError> {
    let mut moved = 0;
    let mut first = Some(Vec::new());
    while let Some(from) = first {
        let (packs, next) = wasteful(&core.network, from, below_percent).await?;
        for pack in packs {
            moved += repack(core, pack).await?;
        }
        first = next;
    }
    core.network.wake_trash();
    Ok(moved)
}

async fn wasteful(network: &Network, from: Vec<u8>, below_percent: u8) -> Result<(Vec<BlobId>, Option<Vec<u8>>), ObjectError> {
    let reading = network.catalog.read(move |db| {
        let mut packs = Vec::new();
        for (seen, row) in db.scan(Table::Blobs, from, &[]).enumerate() {
            let (row, value) = row?;
            let id = BlobId::from_slice(&row).ok_or_else(|| ObjectError::Internal("a damaged blob row".into()))?;
            let blob: BlobRecord = record::decode(&value)?;
            let used_percent = u128::from(blob.live) * 100 / u128::from(blob.len.max(1));
            let wasteful = blob.kind == BlobKind::Pack as i32 && blob.refs > 0 && used_percent < u128::from(below_percent);
            if wasteful && blob.len <= PACK_LEN_MAX {
                packs.push(id);
            }
            if seen + 1 == PAGE {
                return Ok((packs, after_prefix(&row)));
            }
        }
        Ok((packs, None))
    });
    reading.await
}

async fn repack(core: &Arc<Core>, pack: BlobId) -> Result<usize, ObjectError> {
    let Some(lease) = core.network.leases.hold(vec![pack]) else { return Ok(0) };
    let bytes = whole(&core.network, pack).await?;
    let mut moves = Vec::new();
    for entry in entries(bytes) {
        let entry = entry.map_err(|error| ObjectError::Internal(format!("pack {pack}: {error}")))?;
        if let Some(moving) = live_move(core, pack, entry).await? {
            moves.push(moving);
        }
    }
    let held: Option<BlobRecord> = core.network.catalog.read(move |db| Ok(db.record(Table::Blobs, &pack.0)?)).await?;
    let count = moves.len();
    if held.is_none_or(|blob| blob.refs > count as u64) {
        return Ok(0);
    }
    let outcomes = futures::future::join_all(moves.into_iter().map(|moving| core.to_the_end(moving))).await;
    drop(lease);
    for outcome in outcomes {
        match outcome {
            Ok(()) | Err(ObjectError::Replaced) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

async fn whole(network: &Network, pack: BlobId) -> Result<Bytes, ObjectError> {
    read_all(&network.client, manifest(network, pack).await?, PACK_LEN_MAX).await
}

/// All bytes of a blob of at most `len_max`.
pub(super) async fn read_all(client: &Client, manifest: Manifest, len_max: u64) -> Result<Bytes, ObjectError> {
    let len = manifest.plain_len();
    if len > len_max {
        return Err(ObjectError::Internal(format!("blob {} has {len} bytes, at most {len_max} are expected", manifest.blob)));
    }
    let mut bytes = BytesMut::with_capacity(len as usize);
    let mut reader = client.read(Arc::new(manifest), 0..len);
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk.map_err(read_error)?);
    }
    Ok(bytes.freeze())
}

/// The work of moving an entry, if the catalog still refers to it.
async fn live_move(
    core: &Arc<Core>,
    pack: BlobId,
    entry: PackEntry,
) -> Result<Option<impl Future<Output = Result<(), ObjectError>> + Send + use<>>, ObjectError> {
    let place = Extent { blob: pack, offset: entry.offset, len: entry.len };
    let Some(PackedObject { bucket, key, record: Some(record) }) = entry.object else { return Ok(None) };
    let (at_bucket, at_key) = (bucket.clone(), key.clone());
    let id = record.version();
    let present = core.network.catalog.read(move |db| super::core::key_at(db, &at_bucket, &at_key)?.by_id(db, id));
    let present = match present.await {
        Ok(Some(present)) if present.record.entry()? == place => present.record,
        Ok(_) | Err(ObjectError::NoSuchBucket) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(reenter(core.clone(), (bucket, key), present.clone(), present, entry.data)))
}

impl Objects {
    /// Repacks now every pack of which less than `below_percent` is in use. How many records were looked at to be moved.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`] when a pack cannot be read or written.
    pub async fn repack_now(&self, below_percent: u8) -> Result<usize, ObjectError> {
        self.core.check_running()?;
        round(&self.core, below_percent).await
    }
}
