//! Deleting objects: the row goes at once, the shards when nobody reads them any more.
//!
//! Never: a blob deleted that another object refers to. Limits: [`DELETE_KEYS_MAX`] keys in one change.

use cairn_client::Client;
use cairn_types::UnixMs;

use super::api::{DeleteItem, WriteConditions};
use super::core::bucket_of;
use super::error::ObjectError;
use super::limits::DELETE_KEYS_MAX;
use super::{Objects, budget, check, refs};
use crate::catalog::record::ObjectRecord;
use crate::catalog::table::object_row;
use crate::catalog::{BucketId, Table, Txn};

impl Objects {
    /// Deletes an object; `Ok(false)` when there was none.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::PreconditionFailed`].
    pub async fn delete(&self, bucket: &str, key: &str, conditions: WriteConditions) -> Result<bool, ObjectError> {
        let item = DeleteItem { key: key.to_owned(), conditions };
        self.delete_many(bucket, vec![item]).await?.pop().unwrap_or(Ok(false))
    }

    /// Deletes several objects in one change; one result an item, in order, as [`Self::delete`] gives it.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`]; [`ObjectError::InvalidArgument`] for more than [`DELETE_KEYS_MAX`] keys.
    pub async fn delete_many(&self, bucket: &str, items: Vec<DeleteItem>) -> Result<Vec<Result<bool, ObjectError>>, ObjectError> {
        self.core.check_running()?;
        if items.len() > DELETE_KEYS_MAX {
            let reason = format!("{} keys; at most {DELETE_KEYS_MAX} are allowed", items.len());
            return Err(ObjectError::InvalidArgument { name: "keys", reason });
        }
        let (bucket, now) = (bucket.to_owned(), self.core.network.now());
        let client = self.core.network.client.clone();
        let deleting = self.core.network.catalog.change(move |txn| {
            let bucket = bucket_of(txn, &bucket)?;
            Ok(items.into_iter().map(|item| txn.attempt(|txn| delete_one(txn, &client, bucket, &item, now))).collect())
        });
        let results = deleting.await?;
        self.core.network.wake_trash();
        Ok(results)
    }
}

fn delete_one(txn: &mut Txn<'_>, client: &Client, bucket: BucketId, item: &DeleteItem, now: UnixMs) -> Result<bool, ObjectError> {
    check::key(&item.key)?;
    let row = object_row(bucket, &item.key);
    let present: Option<ObjectRecord> = txn.record(Table::Objects, &row)?;
    item.conditions.check(present.as_ref().map(|record| record.etag.as_str()))?;
    let Some(record) = present else { return Ok(false) };
    refs::release_object(txn, &record, now)?;
    budget::count(txn, client, bucket, record.len, 0)?;
    txn.delete(Table::Objects, row);
    txn.counters.objects = txn.counters.objects.saturating_sub(1);
    txn.counters.object_bytes = txn.counters.object_bytes.saturating_sub(record.len);
    Ok(true)
}
