//! References to blobs inside a change: who holds what, what falls into the trash, and the counters that go with it.
//!
//! Never: a blob without references outside the trash, or with references inside it, at the end of a change.

use cairn_client::{Manifest, SegmentId};
use cairn_types::{BlobId, UnixMs};

use super::error::ObjectError;
use crate::catalog::record::{BlobKind, BlobRecord, Counters, Extent, ObjectRecord, TrashRecord, extents};
use crate::catalog::table::{blob_row, segment_row};
use crate::catalog::{Table, Txn};

/// Adds a blob that nothing refers to yet. The change must go on to [`retain`] it or to [`discard_unused`] it.
pub(crate) fn insert(txn: &mut Txn<'_>, manifest: &Manifest, kind: BlobKind) {
    let row = blob_row(manifest.blob);
    let record = BlobRecord { refs: 0, kind: kind as i32, len: manifest.plain_len(), live: 0 };
    txn.put_record(Table::Blobs, row.clone(), &record);
    txn.put(Table::Manifests, row, manifest.encode().to_vec());
    for segment in &manifest.segments {
        txn.put(Table::Segments, segment_row(segment.id), manifest.blob.0.to_vec());
    }
}

/// One more reference to `extent`. Brings a blob back from the trash: whoever may still name it holds a lease on it.
pub(crate) fn retain(txn: &mut Txn<'_>, extent: &Extent) -> Result<(), ObjectError> {
    let before = blob(txn, extent.blob)?.ok_or(ObjectError::Replaced)?;
    let row = blob_row(extent.blob);
    if before.refs == 0 && txn.get(Table::Trash, &row)?.is_some() {
        txn.delete(Table::Trash, row);
        txn.counters.trash = txn.counters.trash.saturating_sub(1);
    }
    let after = BlobRecord { refs: before.refs + 1, live: before.live.saturating_add(extent.len), ..before };
    set(txn, extent.blob, &before, &after);
    Ok(())
}

/// One reference to `extent` less; the last one puts the blob in the trash.
pub(crate) fn release(txn: &mut Txn<'_>, extent: &Extent, now: UnixMs) -> Result<(), ObjectError> {
    let Some(before) = blob(txn, extent.blob)? else {
        return Err(ObjectError::Internal(format!("blob {} is referred to and unknown", extent.blob)));
    };
    let Some(refs) = before.refs.checked_sub(1) else {
        return Err(ObjectError::Internal(format!("blob {} is referred to and in the trash", extent.blob)));
    };
    let after = BlobRecord { refs, live: before.live.saturating_sub(extent.len), ..before };
    set(txn, extent.blob, &before, &after);
    discard_unused(txn, extent.blob, now)
}

/// Puts a blob without references in the trash.
pub(crate) fn discard_unused(txn: &mut Txn<'_>, id: BlobId, now: UnixMs) -> Result<(), ObjectError> {
    if blob(txn, id)?.is_some_and(|blob| blob.refs == 0) && txn.get(Table::Trash, &blob_row(id))?.is_none() {
        txn.put_record(Table::Trash, blob_row(id), &TrashRecord { since_ms: now.0 });
        txn.counters.trash += 1;
    }
    Ok(())
}

/// Forgets a blob whose shards are gone from all providers. `false` if it is not in the trash any more.
pub(crate) fn forget(txn: &mut Txn<'_>, id: BlobId, segments: &[SegmentId]) -> Result<bool, ObjectError> {
    let row = blob_row(id);
    if txn.get(Table::Trash, &row)?.is_none() {
        return Ok(false);
    }
    for segment in segments {
        txn.delete(Table::Segments, segment_row(*segment));
    }
    for table in [Table::Trash, Table::Manifests, Table::Blobs] {
        txn.delete(table, row.clone());
    }
    txn.counters.trash = txn.counters.trash.saturating_sub(1);
    Ok(true)
}

/// Extents of an object beside the pack entry that holds its record (and, for a small object, its bytes).
pub(crate) fn foreign_extents(record: &ObjectRecord) -> Result<Vec<Extent>, ObjectError> {
    let entry = record.entry()?;
    let mut all = extents(&record.extents)?;
    all.retain(|extent| extent.blob != entry.blob);
    Ok(all)
}

/// Releases everything an object's record refers to.
pub(crate) fn release_object(txn: &mut Txn<'_>, record: &ObjectRecord, now: UnixMs) -> Result<(), ObjectError> {
    for extent in foreign_extents(record)? {
        release(txn, &extent, now)?;
    }
    release(txn, &record.entry()?, now)
}

fn blob(txn: &Txn<'_>, id: BlobId) -> Result<Option<BlobRecord>, ObjectError> {
    Ok(txn.record(Table::Blobs, &blob_row(id))?)
}

fn set(txn: &mut Txn<'_>, id: BlobId, before: &BlobRecord, after: &BlobRecord) {
    count(&mut txn.counters, before, false);
    count(&mut txn.counters, after, true);
    txn.put_record(Table::Blobs, blob_row(id), after);
}

/// Adds what a blob contributes to the counters, or takes it away; one without references contributes nothing.
fn count(counters: &mut Counters, blob: &BlobRecord, add: bool) {
    if blob.refs == 0 {
        return;
    }
    let pack = u64::from(blob.kind == BlobKind::Pack as i32);
    for (counter, amount) in [
        (&mut counters.blobs, 1),
        (&mut counters.blob_bytes, blob.len),
        (&mut counters.packs, pack),
        (&mut counters.pack_waste, blob.waste()),
    ] {
        *counter = if add { counter.saturating_add(amount) } else { counter.saturating_sub(amount) };
    }
}
