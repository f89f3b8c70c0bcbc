//! Buckets: make, find, list, delete.
//!
//! Never: reuse a bucket's number, so rows of a deleted bucket can never show up in a new one. Limits: [`BUCKETS_MAX`].

use cairn_types::UnixMs;

use super::api::{BucketInfo, Versioning};
use super::core::{bucket_in, bucket_of};
use super::error::ObjectError;
use super::limits::BUCKETS_MAX;
use super::multipart::drop_uploads;
use super::{Objects, budget, check};
use crate::catalog::record::{self, BucketRecord};
use crate::catalog::{Table, Txn};

/// Adds a bucket under the next number.
pub(crate) fn add(txn: &mut Txn<'_>, name: Vec<u8>, record: BucketRecord) {
    let id = txn.counters.next_bucket;
    txn.counters.next_bucket += 1;
    txn.counters.buckets += 1;
    txn.put_record(Table::Buckets, name, &BucketRecord { id, ..record });
}

impl Objects {
    /// Makes a bucket.
    ///
    /// # Errors
    /// [`ObjectError::BucketAlreadyOwned`] when `owner` has it already, [`ObjectError::BucketAlreadyExists`] when somebody else has,
    /// [`ObjectError::InvalidBucketName`], [`ObjectError::TooManyBuckets`].
    pub async fn create_bucket(&self, name: &str, owner: &str, region: &str) -> Result<BucketInfo, ObjectError> {
        self.create_bucket_with(name, owner, region, false).await
    }

    /// As [`Self::create_bucket`]; a `lockable` one keeps versions for ever, and they can be locked.
    ///
    /// # Errors
    /// As [`Self::create_bucket`].
    pub async fn create_bucket_with(
        &self,
        name: &str,
        owner: &str,
        region: &str,
        lockable: bool,
    ) -> Result<BucketInfo, ObjectError> {
        self.core.check_running()?;
        check::bucket_name(name)?;
        let created = self.core.network.now();
        let made = BucketInfo {
            name: name.into(),
            created,
            owner: owner.into(),
            region: region.into(),
            versioning: if lockable { Versioning::Enabled } else { Versioning::Off },
            lockable,
        };
        let bucket = made.clone();
        let making = self.core.network.catalog.change(move |txn| {
            let row = bucket.name.into_bytes();
            match txn.record::<BucketRecord>(Table::Buckets, &row)? {
                Some(present) if present.owner == bucket.owner => return Err(ObjectError::BucketAlreadyOwned),
                Some(_) => return Err(ObjectError::BucketAlreadyExists),
                None => {}
            }
            if txn.counters.buckets >= BUCKETS_MAX {
                return Err(ObjectError::TooManyBuckets { max: BUCKETS_MAX });
            }
            let record = BucketRecord {
                id: 0,
                created_ms: bucket.created.0,
                owner: bucket.owner,
                region: bucket.region,
                versioning: bucket.versioning.number(),
                lockable: bucket.lockable,
            };
            add(txn, row, record);
            Ok(())
        });
        making.await?;
        self.core.buckets.forget(name);
        Ok(made)
    }

    /// Finds a bucket.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    pub async fn head_bucket(&self, name: &str) -> Result<BucketInfo, ObjectError> {
        let name = name.to_owned();
        self.core.network.catalog.read(move |db| bucket_in(db, &name).and_then(|(_, record)| info(name, record))).await
    }

    /// All buckets, ascending by name.
    ///
    /// # Errors
    /// [`ObjectError::Internal`].
    pub async fn list_buckets(&self) -> Result<Vec<BucketInfo>, ObjectError> {
        let listing = self.core.network.catalog.read(|db| {
            let mut buckets = Vec::new();
            for row in db.scan(Table::Buckets, Vec::new(), &[]) {
                let (name, value) = row?;
                let name =
                    String::from_utf8(name.into()).map_err(|_| ObjectError::Internal("a bucket's name is not UTF-8".into()))?;
                buckets.push(info(name, record::decode(&value)?)?);
            }
            Ok(buckets)
        });
        listing.await
    }

    /// Deletes an empty bucket. Uploads in progress in it are given up and their parts deleted.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::BucketNotEmpty`].
    pub async fn delete_bucket(&self, name: &str) -> Result<(), ObjectError> {
        self.core.check_running()?;
        let (asked, now) = (name, self.core.network.now());
        let name = name.to_owned();
        let deleting = self.core.network.catalog.change(move |txn| {
            let bucket = bucket_of(txn, &name)?;
            for table in [Table::Objects, Table::Versions] {
                if !txn.scan(table, &bucket.0.to_be_bytes(), 1)?.is_empty() {
                    return Err(ObjectError::BucketNotEmpty);
                }
            }
            for (row, _) in txn.scan(Table::Configs, &bucket.0.to_be_bytes(), usize::MAX)? {
                txn.delete(Table::Configs, row);
            }
            drop_uploads(txn, bucket, now)?;
            budget::forget(txn, bucket);
            txn.delete(Table::Buckets, name.into_bytes());
            txn.counters.buckets = txn.counters.buckets.saturating_sub(1);
            Ok(())
        });
        deleting.await?;
        self.core.buckets.forget(asked);
        self.core.network.wake_trash();
        Ok(())
    }
}

/// What a bucket's record says.
pub(crate) fn info(name: String, record: BucketRecord) -> Result<BucketInfo, ObjectError> {
    Ok(BucketInfo {
        name,
        created: UnixMs(record.created_ms),
        owner: record.owner,
        region: record.region,
        versioning: Versioning::from_number(record.versioning)?,
        lockable: record.lockable,
    })
}
