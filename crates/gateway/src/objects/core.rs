//! What all parts of the object store share.
//!
//! Never: a lock held across an await.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cairn_client::{Client, ReadError, WriteError};
use cairn_types::{Clock, Rng, UnixMs};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::api::{VersionId, Versioning};
use super::error::ObjectError;
use super::keys::Credential;
use super::lease::Leases;
use super::packer::Packer;
use super::versions::{KeyAt, Reads};
use super::{ObjectsConfig, settings};
use crate::catalog::record::BucketRecord;
use crate::catalog::{BucketId, Catalog, Db, Table, Txn};

/// What background tasks need: the network, the catalog, time.
pub(crate) struct Network {
    pub client: Client,
    pub catalog: Catalog,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub leases: Arc<Leases>,
    pub trash: Notify,
    /// One round over the trash at a time.
    pub trash_turn: Semaphore,
    /// One round of repair at a time.
    pub repair_turn: Semaphore,
    pub sequence: AtomicU64,
    /// Packs that are being stored, by sequence.
    pub packs: PacksUnderWay,
    /// One checkpoint at a time.
    pub checkpoint_turn: tokio::sync::Mutex<()>,
}

/// Packs that are being stored. A checkpoint waits for those that began before it.
#[derive(Default)]
pub(crate) struct PacksUnderWay {
    sequences: Mutex<BTreeSet<u64>>,
    ended: Notify,
}

/// A pack that is being stored; dropped when its rows are on disk or nothing came of it.
pub(crate) struct PackUnderWay {
    network: Arc<Network>,
    pub sequence: u64,
}

impl PackUnderWay {
    pub fn begin(network: Arc<Network>) -> PackUnderWay {
        let mut sequences = network.packs.lock();
        let sequence = network.next_sequence();
        sequences.insert(sequence);
        drop(sequences);
        PackUnderWay { network, sequence }
    }
}

impl Drop for PackUnderWay {
    fn drop(&mut self) {
        self.network.packs.lock().remove(&self.sequence);
        self.network.packs.ended.notify_waiters();
    }
}

impl PacksUnderWay {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    /// A sequence before which every pack is in the catalog, or never will be, and after which every later one comes.
    pub async fn horizon(&self) -> u64 {
        let horizon = {
            let _no_pack_begins = self.packs.lock();
            self.next_sequence()
        };
        loop {
            let ended = self.packs.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that no end is missed.
            ended.as_mut().enable();
            if self.packs.lock().first().is_none_or(|first| *first > horizon) {
                return horizon;
            }
            ended.await;
        }
    }

    /// Counts versions and blobs of this opening.
    pub fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A new version's name.
    pub fn next_version(&self) -> VersionId {
        VersionId { writer_epoch: self.catalog.writer_epoch(), sequence: self.next_sequence() }
    }

    /// The present moment.
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Tells the trash that there may be something for it.
    pub fn wake_trash(&self) {
        if self.catalog.counters().trash > 0 {
            self.trash.notify_one();
        }
    }
}

/// What requests need.
pub(crate) struct Core {
    pub network: Arc<Network>,
    pub packer: Packer,
    pub config: ObjectsConfig,
    /// Permits to hash on blocking threads.
    pub hashing: Arc<Semaphore>,
    /// Access keys that are not revoked.
    pub keys: RwLock<HashMap<String, Credential>>,
    /// Buckets as they were lately read.
    pub buckets: settings::Cache,
    /// Work that must end before the store stops, whether or not its caller is still there.
    pub tasks: TaskTracker,
    pub stopping: AtomicBool,
}

impl Core {
    /// Refuses new work once the store is stopping.
    pub fn check_running(&self) -> Result<(), ObjectError> {
        if self.stopping.load(Ordering::Acquire) { Err(ObjectError::Stopping) } else { Ok(()) }
    }

    /// Runs `work` to its end even if the caller goes away.
    pub async fn to_the_end<T, F>(&self, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ObjectError>> + Send + 'static,
    {
        self.check_running()?;
        self.tasks.spawn(work).await.map_err(|error| ObjectError::Internal(format!("a task was lost: {error}")))?
    }
}

/// Looks a bucket up.
pub(crate) fn bucket_in(db: &Db, name: &str) -> Result<(BucketId, BucketRecord), ObjectError> {
    let record: BucketRecord = db.record(Table::Buckets, name.as_bytes())?.ok_or(ObjectError::NoSuchBucket)?;
    Ok((BucketId(record.id), record))
}

/// Looks a bucket up inside a change.
pub(crate) fn bucket_of(txn: &Txn<'_>, name: &str) -> Result<BucketId, ObjectError> {
    let record: BucketRecord = txn.record(Table::Buckets, name.as_bytes())?.ok_or(ObjectError::NoSuchBucket)?;
    Ok(BucketId(record.id))
}

/// A key of a bucket.
pub(crate) fn key_at<'a>(rows: &impl Reads, bucket: &str, key: &'a str) -> Result<KeyAt<'a>, ObjectError> {
    let record: BucketRecord = rows.record_of(Table::Buckets, bucket.as_bytes())?.ok_or(ObjectError::NoSuchBucket)?;
    Ok(KeyAt { bucket: BucketId(record.id), versioning: Versioning::from_number(record.versioning)?, key })
}

/// What the network's refusal to store means for a request.
pub(crate) fn write_error(error: WriteError) -> ObjectError {
    match error {
        WriteError::NotEnoughProviders { .. } => ObjectError::NotEnoughProviders(error.to_string()),
        WriteError::NotEnoughReceipts { .. } | WriteError::Stopped | WriteError::Superseded => {
            ObjectError::Unavailable(error.to_string())
        }
        WriteError::TooLong(_) => ObjectError::EntityTooLarge { max: super::limits::PUT_LEN_MAX },
    }
}

/// What the network's failure to give bytes back means for a request.
pub(crate) fn read_error(error: ReadError) -> ObjectError {
    match error {
        ReadError::NotEnoughShards { .. } | ReadError::Stopped => ObjectError::Unavailable(error.to_string()),
        ReadError::Undecodable { .. } | ReadError::WrongKey | ReadError::Manifest(_) => ObjectError::Internal(error.to_string()),
    }
}
