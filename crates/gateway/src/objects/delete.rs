//! Deleting objects: the row goes at once, the shards when nobody reads them any more. In a bucket with versions a delete marker comes
//! instead, as durable as an object, until a version is named.
//!
//! Never: a blob deleted that another object refers to; a version deleted that is locked. Limits: [`DELETE_KEYS_MAX`] keys at once.

use std::sync::Arc;

use bytes::Bytes;
use cairn_client::Client;
use cairn_types::UnixMs;

use super::api::{DeleteItem, Deleted, VersionRef, Versioning, WriteConditions};
use super::core::{Core, key_at};
use super::error::ObjectError;
use super::limits::DELETE_KEYS_MAX;
use super::pack::{PackedObject, encode_head};
use super::put::place_record;
use super::versions::{Found, KeyAt, control_of, delete_marker};
use super::{Objects, check};
use crate::catalog::Txn;

impl Objects {
    /// Deletes an object.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::PreconditionFailed`].
    pub async fn delete(&self, bucket: &str, key: &str, conditions: WriteConditions) -> Result<Deleted, ObjectError> {
        self.delete_version(bucket, DeleteItem { key: key.to_owned(), conditions, ..Default::default() }, "").await
    }

    /// Deletes a version, or covers the key with a delete marker of `owner`.
    ///
    /// # Errors
    /// As [`Self::delete`]; [`ObjectError::Locked`].
    pub async fn delete_version(&self, bucket: &str, item: DeleteItem, owner: &str) -> Result<Deleted, ObjectError> {
        self.delete_many(bucket, vec![item], owner).await?.pop().unwrap_or_else(|| Ok(Deleted::default()))
    }

    /// Deletes several; one result an item, in order, as [`Self::delete_version`] gives it. What goes for good goes in one change.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`]; [`ObjectError::InvalidArgument`] for more than [`DELETE_KEYS_MAX`] keys.
    pub async fn delete_many(
        &self,
        bucket: &str,
        items: Vec<DeleteItem>,
        owner: &str,
    ) -> Result<Vec<Result<Deleted, ObjectError>>, ObjectError> {
        self.core.check_running()?;
        if items.len() > DELETE_KEYS_MAX {
            let reason = format!("{} keys; at most {DELETE_KEYS_MAX} are allowed", items.len());
            return Err(ObjectError::InvalidArgument { name: "keys", reason });
        }
        let name = bucket.to_owned();
        let versioning = self.core.network.catalog.read(move |db| Ok(key_at(db, &name, "")?.versioning)).await?;
        let covered = |item: &DeleteItem| versioning != Versioning::Off && item.version.is_none();
        let mut results: Vec<Option<Result<Deleted, ObjectError>>> = items.iter().map(|_| None).collect();
        let (markers, removals): (Vec<_>, Vec<_>) = items.into_iter().enumerate().partition(|(_, item)| covered(item));
        let named = versioning == Versioning::Enabled;
        let marking = markers.into_iter().map(|(at, item)| {
            let marking = mark(self.core.clone(), bucket.to_owned(), item, (named, owner.to_owned()));
            async move { (at, self.core.to_the_end(marking).await) }
        });
        for (at, result) in futures::future::join_all(marking).await {
            results[at] = Some(result);
        }
        let (bucket, now, client) = (bucket.to_owned(), self.core.network.now(), self.core.network.client.clone());
        let deleting = self.core.network.catalog.change(move |txn| {
            let delete = |(at, item): (usize, DeleteItem)| {
                let outcome = txn.attempt(|txn| remove(txn, &client, key_at(txn, &bucket, &item.key)?, &item, now));
                (at, outcome)
            };
            Ok(removals.into_iter().map(delete).collect::<Vec<_>>())
        });
        for (at, result) in deleting.await? {
            results[at] = Some(result);
        }
        self.core.network.wake_trash();
        Ok(results.into_iter().flatten().collect())
    }
}

/// Takes a version away: the one named, or the object of a bucket without versions.
fn remove(txn: &mut Txn<'_>, client: &Client, at: KeyAt<'_>, item: &DeleteItem, now: UnixMs) -> Result<Deleted, ObjectError> {
    check::key(&item.key)?;
    if at.versioning != Versioning::Off && item.version.is_none() {
        return Err(ObjectError::Replaced); // the bucket began to keep versions meanwhile
    }
    let found = at.find(txn, item.version)?;
    item.conditions.check(found.as_ref().map(|found| found.record.etag.as_str()))?;
    let Some(found) = found else { return Ok(Deleted { version: item.version, ..Default::default() }) };
    check_same(item, &found)?;
    control_of(&found.record)?.check_delete(now, item.bypass_governance)?;
    at.remove(txn, client, &found, now)?;
    Ok(Deleted { existed: true, version: item.version.map(|_| found.name()), delete_marker: found.record.delete_marker() })
}

/// Whether what would go is what was meant.
fn check_same(item: &DeleteItem, found: &Found) -> Result<(), ObjectError> {
    if item.only_if.is_some_and(|version| version != found.record.version()) { Err(ObjectError::Replaced) } else { Ok(()) }
}

/// Covers a key with a delete marker.
async fn mark(core: Arc<Core>, bucket: String, item: DeleteItem, (named, owner): (bool, String)) -> Result<Deleted, ObjectError> {
    check::key(&item.key)?;
    let (version, now) = (core.network.next_version(), core.network.now());
    let mut record = delete_marker(version, named, &owner, now);
    let packed = PackedObject { bucket: bucket.clone(), key: item.key.clone(), record: Some(record.clone()) };
    let head = encode_head(&packed, 0).ok_or_else(|| ObjectError::Internal("a delete marker is too long".into()))?;
    let client = core.network.client.clone();
    let commit = move |txn: &mut Txn<'_>, placed: &super::packer::Placed| {
        place_record(&mut record, placed, false);
        let at = key_at(txn, &bucket, &item.key)?;
        if let Some(found) = at.find(txn, None)? {
            check_same(&item, &found)?;
        }
        at.insert(txn, &client, &record, &item.conditions, now)
    };
    core.packer.append(head, Bytes::new(), Box::new(commit)).await?;
    let version = if named { VersionRef::Id(version) } else { VersionRef::Null };
    Ok(Deleted { existed: true, version: Some(version), delete_marker: true })
}
