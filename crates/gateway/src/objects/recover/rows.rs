//! The rows of the new catalog, written by the same code that writes them in service.
//!
//! Never: a reference to a blob without its manifest. Limits: [`KEYS_AT_ONCE`] keys in one change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cairn_client::{BlobKind as NetworkKind, Client, Manifest};
use cairn_types::{BlobId, UnixMs};

use super::assemble::Blobs;
use super::replay::Kept;
use super::{Missing, Progress, Recovered};
use crate::catalog::record::{BlobKind, BucketRecord, BudgetRecord, Extent, ObjectRecord};
use crate::catalog::table::{blob_row, config_row};
use crate::catalog::{BucketId, Catalog, Table, Txn};
use crate::objects::api::{Versioning, WriteConditions};
use crate::objects::error::ObjectError;
use crate::objects::versions::KeyAt;
use crate::objects::{bucket, budget, core, refs};

const KEYS_AT_ONCE: usize = 200;

/// What can be read, and the manifests of what it refers to.
pub(super) struct Readable {
    kept: Kept,
    manifests: Arc<HashMap<BlobId, (Manifest, BlobKind)>>,
}

/// Leaves out versions whose bytes or records cannot be read now.
pub(super) fn readable(mut kept: Kept, client: &Client, blobs: &Blobs, missing: &mut Missing) -> Readable {
    let mut manifests: HashMap<BlobId, (Manifest, BlobKind)> = HashMap::new();
    let mut lost: HashMap<BlobId, String> = HashMap::new();
    let mut look = |id: BlobId| -> Result<(), String> {
        if manifests.contains_key(&id) {
            return Ok(());
        }
        if let Some(reason) = lost.get(&id) {
            return Err(reason.clone());
        }
        let manifest = blobs.manifest(client, id).inspect_err(|reason| drop(lost.insert(id, reason.clone())))?;
        let kind = if blobs.kind(id) == Some(NetworkKind::Pack) { BlobKind::Pack } else { BlobKind::Data };
        manifests.insert(id, (manifest, kind));
        Ok(())
    };
    for ((bucket, key), versions) in &mut kept.objects {
        versions.retain(|record| {
            let found = extents(record).map_err(|error| error.to_string());
            let found = found.and_then(|extents| extents.iter().try_for_each(|extent| look(extent.blob)));
            if let Err(reason) = &found {
                missing.add(|| format!("{bucket}/{key}"), reason);
            }
            found.is_ok()
        });
    }
    Readable { kept, manifests: Arc::new(manifests) }
}

/// Everything that a record refers to.
fn extents(record: &ObjectRecord) -> Result<Vec<Extent>, ObjectError> {
    let mut all = refs::foreign_extents(record)?;
    all.push(record.entry()?);
    Ok(all)
}

/// Writes all rows.
pub(super) async fn write(
    catalog: &Catalog,
    client: &Client,
    readable: Readable,
    report: &mut Recovered,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), ObjectError> {
    let Readable { kept: Kept { buckets, configs, keys, budgets, mut objects }, manifests } = readable;
    (report.buckets, report.keys) = (buckets.len() as u64, keys.len() as u64);
    let making = catalog.change(move |txn| {
        for (name, record) in buckets {
            bucket::add(txn, name.into_bytes(), record);
        }
        for config in configs {
            let Some(record) = config.record else { continue };
            let at = core::bucket_of(txn, &config.bucket)?;
            txn.put_record(Table::Configs, config_row(at, &config.name), &record);
        }
        for key in keys {
            let Some(record) = key.record else { continue };
            txn.counters.keys += 1;
            txn.put_record(Table::Keys, key.access_key.into_bytes(), &record);
        }
        Ok(())
    });
    making.await?;
    let all = objects.len() as u64;
    let mut done = 0;
    while !objects.is_empty() {
        let page: Vec<_> = objects.drain(..objects.len().min(KEYS_AT_ONCE)).collect();
        done += page.len() as u64;
        report.versions += page.iter().map(|(_, versions)| versions.len() as u64).sum::<u64>();
        let (manifests, client) = (manifests.clone(), client.clone());
        let writing = catalog.change(move |txn| {
            let mut known = HashSet::new();
            page.iter()
                .try_for_each(|((bucket, key), versions)| key_rows(txn, &client, &manifests, &mut known, (bucket, key), versions))
        });
        writing.await?;
        progress(Progress::Writing(done, all));
    }
    let limiting = catalog.change(move |txn| {
        for named in budgets {
            let at = core::bucket_of(txn, &named.bucket)?;
            budget::set(txn, at, BudgetRecord { month_max: named.month_max, stored_len: 0 }.month_max()?)?;
        }
        Ok(())
    });
    limiting.await
}

fn key_rows(
    txn: &mut Txn<'_>,
    client: &Client,
    manifests: &HashMap<BlobId, (Manifest, BlobKind)>,
    known: &mut HashSet<BlobId>,
    (bucket, key): (&str, &str),
    versions: &[ObjectRecord],
) -> Result<(), ObjectError> {
    let found: BucketRecord = txn.record(Table::Buckets, bucket.as_bytes())?.ok_or(ObjectError::NoSuchBucket)?;
    let keeps = found.versioning != Versioning::Off.number();
    for record in versions {
        for extent in extents(record)? {
            if known.insert(extent.blob) && txn.get(Table::Blobs, &blob_row(extent.blob))?.is_none() {
                let (manifest, kind) = manifests.get(&extent.blob).ok_or_else(|| ObjectError::Internal("no manifest".into()))?;
                refs::insert(txn, manifest, *kind);
            }
            refs::retain(txn, &extent)?;
        }
        // As the bucket was when this version was written.
        let versioning = match (record.named(), keeps) {
            (true, _) => Versioning::Enabled,
            (false, true) => Versioning::Suspended,
            (false, false) => Versioning::Off,
        };
        let at = KeyAt { bucket: BucketId(found.id), versioning, key };
        at.insert(txn, client, record, &WriteConditions::default(), UnixMs(0))?;
    }
    Ok(())
}
