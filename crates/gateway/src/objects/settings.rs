//! What a bucket's owner said of the bucket: whether it keeps versions, and its configurations, as texts.
//!
//! Every request looks a bucket up; so the answers are kept in memory until the bucket is changed.
//! Never: an answer kept that was read before a change and stored after it. Limits: [`CACHE_MAX`] buckets in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Objects;
use super::api::{BucketInfo, Versioning};
use super::bucket::info;
use super::core::{bucket_in, bucket_of};
use super::error::ObjectError;
use crate::catalog::record::{BucketRecord, ConfigRecord, decode};
use crate::catalog::table::config_row;
use crate::catalog::{Db, Table, Txn};
use crate::rules::BucketRules;

/// Buckets kept in memory; one more empties the memory.
const CACHE_MAX: usize = 4096;
/// Bytes of one configuration.
const CONFIG_LEN_MAX: usize = 1 << 20;

/// A bucket with all that was said of it.
#[derive(Debug)]
pub struct Bucket {
    /// The bucket.
    pub info: BucketInfo,
    /// Name of a configuration → its text.
    pub configs: BTreeMap<String, String>,
    rules: OnceLock<Arc<BucketRules>>,
}

impl Bucket {
    /// A configuration's text.
    pub fn config(&self, name: &str) -> Option<&str> {
        self.configs.get(name).map(String::as_str)
    }

    /// Its configurations as rules.
    pub(crate) fn rules(&self) -> &Arc<BucketRules> {
        self.rules.get_or_init(|| Arc::new(BucketRules::of(&self.info.name, &self.info.owner, &self.configs)))
    }
}

/// Buckets as they were lately read.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Counts the changes, so that what was read before one is not kept after it.
    changes: u64,
    buckets: HashMap<String, Arc<Bucket>>,
}

impl Cache {
    fn get(&self, name: &str) -> Result<Arc<Bucket>, u64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.buckets.get(name).cloned().ok_or(kept.changes)
    }

    fn keep(&self, bucket: &Arc<Bucket>, changes: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.changes != changes {
            return;
        }
        if kept.buckets.len() >= CACHE_MAX {
            kept.buckets.clear();
        }
        kept.buckets.insert(bucket.info.name.clone(), bucket.clone());
    }

    /// The bucket was changed.
    pub fn forget(&self, name: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.changes += 1;
        kept.buckets.remove(name);
    }
}

impl Objects {
    /// A bucket with its configurations. Mostly from memory.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    pub async fn bucket(&self, name: &str) -> Result<Arc<Bucket>, ObjectError> {
        let changes = match self.core.buckets.get(name) {
            Ok(bucket) => return Ok(bucket),
            Err(changes) => changes,
        };
        let asked = name.to_owned();
        let bucket = Arc::new(self.core.network.catalog.read(move |db| load(db, asked)).await?);
        self.core.buckets.keep(&bucket, changes);
        Ok(bucket)
    }

    /// Says whether a bucket keeps versions.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`]; [`ObjectError::InvalidBucketState`] for one that can be locked, or to [`Versioning::Off`].
    pub async fn set_versioning(&self, name: &str, versioning: Versioning) -> Result<(), ObjectError> {
        self.change_bucket(name, move |txn, name| {
            let mut record: BucketRecord = txn.record(Table::Buckets, name.as_bytes())?.ok_or(ObjectError::NoSuchBucket)?;
            if versioning == Versioning::Off || (record.lockable && versioning != Versioning::Enabled) {
                let reason = "versioning of a bucket with Object Lock cannot be suspended, and no bucket's can be undone";
                return Err(ObjectError::InvalidBucketState(reason.into()));
            }
            record.versioning = versioning.number();
            txn.put_record(Table::Buckets, name.as_bytes().to_vec(), &record);
            Ok(())
        })
        .await
    }

    /// Makes the versions of a bucket lockable, for ever. It must keep versions.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::InvalidBucketState`].
    pub async fn set_lockable(&self, name: &str) -> Result<(), ObjectError> {
        self.change_bucket(name, |txn, name| {
            let mut record: BucketRecord = txn.record(Table::Buckets, name.as_bytes())?.ok_or(ObjectError::NoSuchBucket)?;
            if record.versioning != Versioning::Enabled.number() {
                return Err(ObjectError::InvalidBucketState("versioning must be enabled on the bucket first".into()));
            }
            record.lockable = true;
            txn.put_record(Table::Buckets, name.as_bytes().to_vec(), &record);
            Ok(())
        })
        .await
    }

    /// Writes a configuration of a bucket; `None` takes it away.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`]; [`ObjectError::InvalidArgument`] for more than 1 MiB.
    pub async fn set_config(&self, bucket: &str, name: &'static str, text: Option<String>) -> Result<(), ObjectError> {
        if text.as_ref().is_some_and(|text| text.len() > CONFIG_LEN_MAX) {
            let reason = format!("a configuration has at most {CONFIG_LEN_MAX} bytes");
            return Err(ObjectError::InvalidArgument { name, reason });
        }
        self.change_bucket(bucket, move |txn, bucket| {
            let row = config_row(bucket_of(txn, bucket)?, name);
            match text {
                Some(text) => txn.put_record(Table::Configs, row, &ConfigRecord { text }),
                None => txn.delete(Table::Configs, row),
            }
            Ok(())
        })
        .await
    }

    async fn change_bucket(
        &self,
        name: &str,
        change: impl FnOnce(&mut Txn<'_>, &str) -> Result<(), ObjectError> + Send + 'static,
    ) -> Result<(), ObjectError> {
        self.core.check_running()?;
        let asked = name.to_owned();
        let outcome = self.core.network.catalog.change(move |txn| change(txn, &asked)).await;
        self.core.buckets.forget(name);
        outcome
    }
}

fn load(db: &Db, name: String) -> Result<Bucket, ObjectError> {
    let (id, record) = bucket_in(db, &name)?;
    let prefix = config_row(id, "");
    let mut configs = BTreeMap::new();
    for row in db.scan(Table::Configs, prefix.clone(), &prefix) {
        let (row, value) = row?;
        let name = String::from_utf8_lossy(row.get(prefix.len()..).unwrap_or_default()).into_owned();
        configs.insert(name, decode::<ConfigRecord>(&value)?.text);
    }
    Ok(Bucket { info: info(name, record)?, configs, rules: OnceLock::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_types::UnixMs;

    fn bucket(name: &str) -> Arc<Bucket> {
        let info = BucketInfo {
            name: name.into(),
            created: UnixMs(0),
            owner: "me".into(),
            region: String::new(),
            versioning: Versioning::Off,
            lockable: false,
        };
        Arc::new(Bucket { info, configs: BTreeMap::new(), rules: OnceLock::new() })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::default();
        let before = cache.get("a").expect_err("nothing is kept yet");
        cache.forget("b");
        cache.keep(&bucket("a"), before);
        let after = cache.get("a").expect_err("it was read before a change");
        cache.keep(&bucket("a"), after);
        assert!(cache.get("a").is_ok());
        cache.forget("a");
        assert!(cache.get("a").is_err());
    }
}
