//! Store: shards on one or more disks, found by deal and root.
//!
//! A shard arrives through [`Store::begin`] and a [`ShardWriter`], is durable when [`ShardWriter::finish`] returns, and is read
//! through [`Store::reader`]. Disks never share data: each has its own volumes, index, quota and committer.
//! Never: an answer that a crash can undo; a shard shown to another client than its deal's.
//! Limits: quota and reserve per disk, space per deal, [`MEMORY_FRAMES`] frames for write batches and read-ahead.

mod commit;
mod deals;
mod disk;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod marker;
mod paid;
mod reader;
mod row;
mod status;
#[cfg(test)]
mod tests;
mod volume;
mod writer;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cairn_types::limits::{LABEL_LEN_MAX, SHARD_LEN_MAX};
use cairn_types::{Clock, DealId, NodeId, Rng, SegmentId, ShardRoot, UnixMs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::warn;

use commit::{Command, Committer, Reservation};
use deals::DealBook;
use disk::{Disk, guard};
use index::{Batch, DealRow, Location, Row, ShardKey, Usage};
use marker::DiskList;
use reader::Source;
use writer::{Stage, answer_of, permit};

pub use commit::Stored;
pub(crate) use deals::Watch;
pub use deals::{DEAL_VALID_MS, Deal, DealLimits, deal_id};
pub use disk::{DiskId, footprint_len};
pub use error::{OpenError, StoreError};
pub(crate) use paid::Held;
pub use reader::ShardReader;
pub use status::{DealStatus, DiskStatus, StoreStatus};
pub use writer::ShardWriter;

/// Reserve of a disk where the operator names none.
pub const RESERVE_LEN_DEFAULT: u64 = 1 << 30;
/// Frames that write batches and read-ahead may hold together, 32 MiB.
pub const MEMORY_FRAMES: usize = 512;
/// Blocking jobs of this store at a time.
const WORK_MAX: usize = 16;

/// One directory to rent out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The directory; made if it is not there and never was.
    pub path: PathBuf,
    /// Bytes to rent out.
    pub quota_len: u64,
    /// Bytes of the file system that stay free.
    pub reserve_len: u64,
}

impl DiskConfig {
    /// A disk with the default reserve.
    pub fn new(path: impl Into<PathBuf>, quota_len: u64) -> DiskConfig {
        DiskConfig { path: path.into(), quota_len, reserve_len: RESERVE_LEN_DEFAULT }
    }
}

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The node's own directory; remembers which disks there are.
    pub data_dir: PathBuf,
    /// The directories rented out.
    pub disks: Vec<DiskConfig>,
    /// How many deals there may be.
    pub deals: DealLimits,
    /// Time between two write tests of a disk.
    pub probe_every: Duration,
}

impl StoreConfig {
    /// A store with default limits.
    pub fn new(data_dir: impl Into<PathBuf>, disks: Vec<DiskConfig>) -> StoreConfig {
        StoreConfig { data_dir: data_dir.into(), disks, deals: DealLimits::default(), probe_every: Duration::from_secs(60) }
    }
}

/// A shard that is to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewShard {
    /// Under which agreement.
    pub deal: DealId,
    /// The writer's opaque tag.
    pub segment: SegmentId,
    /// Start count of the writer's catalog.
    pub writer_epoch: u64,
    /// Bytes that will come at most.
    pub len_max: u64,
}

/// A stored shard in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardEntry {
    /// Its name.
    pub root: ShardRoot,
    /// Its length in bytes.
    pub len: u64,
    /// The writer's opaque tag.
    pub segment: SegmentId,
    /// Start count of the writer's catalog.
    pub writer_epoch: u64,
    /// When it became durable.
    pub stored_at: UnixMs,
    /// What the writer stored beside it.
    pub label: bytes::Bytes,
}

/// Who the store belongs to, and where it draws names of new disks.
pub(crate) struct Identity<'a> {
    pub node: NodeId,
    pub rng: &'a dyn Rng,
}

impl Identity<'_> {
    fn draw_disk(&self) -> DiskId {
        DiskId(cairn_types::port::draw(self.rng))
    }
}

/// Shards on disks. Cheap to clone; the committers end when the last clone, writer and reader job is gone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

pub(crate) struct Inner {
    node: NodeId,
    disks: Vec<Arc<Disk>>,
    deals: Arc<DealBook>,
    deal_limits: DealLimits,
    clock: Arc<dyn Clock>,
    memory: Arc<Semaphore>,
    work: Arc<Semaphore>,
    opening: tokio::sync::Mutex<()>,
    committers: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens all disks, collects what a crash left, and starts the committers. Blocking.
    ///
    /// # Errors
    /// [`OpenError`] names the directory and the remedy.
    pub fn open(config: StoreConfig, node: NodeId, clock: Arc<dyn Clock>, rng: &dyn Rng) -> Result<Store, OpenError> {
        if config.disks.is_empty() {
            return Err(OpenError::NoDisks);
        }
        let mut paths = HashSet::new();
        for disk in &config.disks {
            let path = std::path::absolute(&disk.path).map_err(OpenError::io(&disk.path))?;
            if !paths.insert(path.clone()) {
                return Err(OpenError::NamedTwice(path));
            }
        }
        let mut list = DiskList::open(&config.data_dir)?;
        let identity = Identity { node, rng };
        let deals = Arc::new(DealBook::default());
        let (mut disks, mut committers) = (Vec::new(), Vec::new());
        for disk in &config.disks {
            let (disk, commands) = Disk::open(disk, &identity, &mut list)?;
            let disk = Arc::new(disk);
            let committer = Committer::new(disk.clone(), deals.clone(), clock.clone(), config.probe_every)
                .map_err(|error| OpenError::Index { path: disk.path.clone(), reason: error.to_string() })?;
            disks.push(disk);
            committers.push((committer, commands));
        }
        load_deals(&disks, &deals)?;
        for absent in list.absent(&disks.iter().map(|disk| disk.id).collect::<Vec<_>>()) {
            warn!(disk = %absent.disk, path = %absent.path.display(), "a disk of this node is not configured; its shards cannot be read");
        }
        let mut threads = Vec::new();
        for (at, (committer, commands)) in committers.into_iter().enumerate() {
            let thread = std::thread::Builder::new().name(format!("disk-{at}")).spawn(move || committer.run(commands));
            threads.push(thread.map_err(OpenError::io(&config.data_dir))?);
        }
        Ok(Store(Arc::new(Inner {
            node,
            disks,
            deals,
            deal_limits: config.deals,
            clock,
            memory: Arc::new(Semaphore::new(MEMORY_FRAMES)),
            work: Arc::new(Semaphore::new(WORK_MAX)),
            opening: tokio::sync::Mutex::new(()),
            committers: Mutex::new(threads),
        })))
    }

    /// Whose store this is.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Opens or renews the deal that `client` names by `nonce`, granting `space_len` bytes or what is free. From then on no writer of an
    /// epoch below `writer_epoch` stores or deletes under it.
    ///
    /// # Errors
    /// [`StoreError::TooManyDeals`], [`StoreError::OverQuota`] when nothing is free, [`StoreError::ReadOnly`], and
    /// [`StoreError::StaleWriter`] when a later writer has opened it; `writer_epoch` 0 is nobody's and is not refused.
    pub async fn open_deal(
        &self,
        client: NodeId,
        nonce: [u8; 16],
        space_len: u64,
        writer_epoch: u64,
    ) -> Result<Deal, StoreError> {
        let _one_at_a_time = self.0.opening.lock().await;
        let id = deal_id(self.0.node, client, &nonce);
        let old = self.0.deals.get(&id, client).ok();
        let taken_len = self.0.deals.taken_len(&id);
        let free_len = self.0.free_len();
        let space_len = space_len.min(taken_len.saturating_add(free_len).max(old.map_or(0, |old| old.space_len)));
        if let Some(old) = old.filter(|_| writer_epoch != 0) {
            old.check_writer(writer_epoch)?;
        }
        let valid_until = self.0.clock.now().plus_ms(DEAL_VALID_MS);
        let row = DealRow { client, nonce, space_len, valid_until, fence: old.map_or(0, |old| old.fence).max(writer_epoch) };
        if old.is_none() {
            if space_len == 0 {
                return Err(StoreError::OverQuota { need_len: 1, free_len });
            }
            if let Some(evicted) = self.0.deals.admit(client, self.0.deal_limits)?.evict {
                self.0.keep_deal(evicted, None).await?;
                self.0.deals.remove(&evicted);
            }
        }
        match (self.0.keep_deal(id, Some(row)).await, old) {
            (Ok(()), _) => {
                let inner = self.0.clone();
                let used = self.0.blocking(move || inner.deal_usage(&id)).await??;
                self.0.deals.put(id, row, used);
                Ok(Deal { id, space_len: row.space_len, valid_until: row.valid_until })
            }
            // Nothing can be written, but what is stored can be read under the deal as it was.
            (Err(StoreError::ReadOnly(_)), Some(old)) => Ok(Deal { id, space_len: old.space_len, valid_until: old.valid_until }),
            (Err(error), _) => Err(error),
        }
    }

    /// Sets space aside for a shard of `client` and returns where its bytes go.
    ///
    /// # Errors
    /// [`StoreError`]: the deal or the disks do not allow it.
    pub fn begin(&self, client: NodeId, shard: NewShard) -> Result<ShardWriter, StoreError> {
        if shard.len_max == 0 || shard.len_max > SHARD_LEN_MAX {
            return Err(StoreError::BadLength { len: shard.len_max, max: SHARD_LEN_MAX });
        }
        let need_len = footprint_len(shard.len_max, LABEL_LEN_MAX as u64);
        self.0.deals.reserve(&shard.deal, (client, shard.writer_epoch), need_len, self.0.clock.now())?;
        let disk = self.0.reserve_disk(need_len).inspect_err(|_| self.0.deals.release(&shard.deal, need_len))?;
        let reservation = Reservation { disk, deals: self.0.deals.clone(), deal: shard.deal, len: need_len };
        Ok(ShardWriter::new(self.0.clone(), Stage::new(reservation, shard.len_max), shard.segment, shard.writer_epoch))
    }

    /// Finds a shard of `client`. Blocking.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeal`], [`StoreError::NotFound`], [`StoreError::Disk`].
    pub fn reader(&self, client: NodeId, deal: DealId, root: ShardRoot, with_hashes: bool) -> Result<ShardReader, StoreError> {
        self.0.deals.get(&deal, client)?;
        let key = ShardKey { deal, root };
        let mut failed = None;
        for disk in &self.0.disks {
            match open_shard(disk, &key, with_hashes) {
                Ok(Some(reader)) => return Ok(reader),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(StoreError::NotFound(root)))
    }

    /// Whether a writer of this epoch may still change what lies under a deal of `client`; 0 is not checked.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeal`], [`StoreError::StaleWriter`].
    pub fn check_writer(&self, client: NodeId, deal: DealId, writer_epoch: u64) -> Result<(), StoreError> {
        if writer_epoch == 0 { Ok(()) } else { self.0.deals.get(&deal, client)?.check_writer(writer_epoch) }
    }

    /// Removes shards of `client` and returns how many were there. Their blocks are free soon after.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeal`], [`StoreError::ReadOnly`], [`StoreError::Disk`]; some may be removed even so.
    pub async fn delete(&self, client: NodeId, deal: DealId, roots: &[ShardRoot]) -> Result<u32, StoreError> {
        self.0.deals.get(&deal, client)?;
        self.0.remove(deal, roots.to_vec(), |_, row| !matches!(row, Ok(None))).await
    }

    /// Up to `max` shards of a deal of `client` with roots above `after`, ascending, and whether there are more. Blocking.
    ///
    /// # Errors
    /// [`StoreError::UnknownDeal`], [`StoreError::Disk`].
    pub fn list(
        &self,
        client: NodeId,
        deal: DealId,
        after: Option<ShardRoot>,
        max: usize,
    ) -> Result<(Vec<ShardEntry>, bool), StoreError> {
        self.0.deals.get(&deal, client)?;
        let mut rows: Vec<(ShardRoot, Row)> = Vec::new();
        for disk in &self.0.disks {
            rows.extend(
                disk.index.list(&deal, after, max.saturating_add(1)).map_err(|error| StoreError::Disk(error.to_string()))?,
            );
        }
        rows.sort_unstable_by_key(|(root, _)| *root);
        rows.dedup_by_key(|(root, _)| *root);
        let more = rows.len() > max;
        rows.truncate(max);
        let entry = |(root, row): (ShardRoot, Row)| {
            let Row { len, segment, writer_epoch, stored_at, label, .. } = row;
            ShardEntry { root, len, segment, writer_epoch, stored_at, label }
        };
        Ok((rows.into_iter().map(entry).collect(), more))
    }

    /// The store at this moment.
    pub fn status(&self) -> StoreStatus {
        let disks: Vec<DiskStatus> = self.0.disks.iter().map(|disk| disk.status()).collect();
        let sum = |of: fn(&DiskStatus) -> u64| disks.iter().map(of).fold(0, u64::saturating_add);
        StoreStatus {
            total_len: sum(|disk| disk.quota_len),
            used_len: sum(|disk| disk.used_len),
            reserved_len: sum(|disk| disk.reserved_len),
            free_len: sum(|disk| disk.free_len),
            shards: sum(|disk| disk.shards),
            accepting: disks.iter().any(|disk| disk.free_len > 0),
            deals: self.0.deals.status(),
            disks,
        }
    }

    /// Frames of memory for read-ahead, if there are any to spare.
    pub(crate) fn spare_memory(&self, frames: u32) -> Option<OwnedSemaphorePermit> {
        self.0.memory.clone().try_acquire_many_owned(frames).ok()
    }

    /// Runs disk work off the async threads, a bounded number of jobs at a time.
    pub(crate) async fn blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        self.0.blocking(job).await
    }
}

impl Inner {
    async fn work_permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        permit(&self.work).await
    }

    async fn blocking<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        let work = self.work_permit().await?;
        let done = tokio::task::spawn_blocking(move || {
            let result = job();
            drop(work);
            result
        });
        done.await.map_err(|_| StoreError::Closed)
    }

    fn free_len(&self) -> u64 {
        self.disks.iter().map(|disk| disk.free_len()).fold(0, u64::saturating_add)
    }

    /// Sets space aside on the writable disk with the most room. Refusals are told in the order: reserve, quota, read-only.
    fn reserve_disk(&self, need_len: u64) -> Result<Arc<Disk>, StoreError> {
        let mut disks: Vec<(u64, &Arc<Disk>)> = self.disks.iter().map(|disk| (disk.free_len(), disk)).collect();
        disks.sort_by_key(|(free_len, _)| std::cmp::Reverse(*free_len));
        let mut refusal = None;
        for (_, disk) in disks {
            match (disk.reserve(need_len), &refusal) {
                (Ok(()), _) => return Ok(disk.clone()),
                (Err(error @ StoreError::DiskReserve { .. }), _) => refusal = Some(error),
                (Err(error @ StoreError::OverQuota { .. }), None | Some(StoreError::ReadOnly(_))) => refusal = Some(error),
                (Err(error), None) => refusal = Some(error),
                (Err(_), Some(_)) => {}
            }
        }
        Err(refusal.unwrap_or(StoreError::Closed))
    }

    /// Writes a deal's record, or its absence, to every disk that takes it; one is enough.
    async fn keep_deal(&self, deal: DealId, row: Option<DealRow>) -> Result<(), StoreError> {
        let mut kept = Err(StoreError::Closed);
        for disk in &self.disks {
            let (permit, (answer, answered)) = (permit(&disk.queue).await?, oneshot::channel());
            let sent = disk.commands.send(Command::Deal { deal, row, answer, permit }).map_err(|_| StoreError::Closed);
            let answered = match sent {
                Ok(()) => answer_of(disk, answered).await,
                Err(error) => Err(error),
            };
            if kept.is_err() {
                kept = answered;
            }
        }
        kept
    }

    fn deal_usage(&self, deal: &DealId) -> Result<Usage, StoreError> {
        self.disks.iter().try_fold(Usage::default(), |sum, disk| {
            let used = disk.index.deal_usage(deal).map_err(|error| StoreError::Disk(error.to_string()))?;
            Ok(Usage { shards: sum.shards.saturating_add(used.shards), len: sum.len.saturating_add(used.len) })
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for disk in &self.disks {
            let _ = disk.commands.send(Command::Stop);
        }
        for committer in guard(&self.committers).drain(..) {
            let _ = committer.join();
        }
    }
}

/// Notes an I/O failure of a disk: anything but want of space or a missing volume means that it cannot be trusted with writes.
pub(crate) fn disk_failure(disk: &Disk, step: &str, error: &std::io::Error) {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => disk.fail(format!("{step} failed: {error}"), true),
        _ => disk.fail(format!("{step} failed: {error}"), false),
    }
}

fn open_shard(disk: &Disk, key: &ShardKey, with_hashes: bool) -> Result<Option<ShardReader>, StoreError> {
    let failed = |error: index::IndexError| StoreError::Disk(error.to_string());
    let Some(row) = disk.index.row(key).map_err(failed)? else { return Ok(None) };
    let source = match row.location {
        Location::Inline => Source::Inline(disk.index.inline(key).map_err(failed)?.unwrap_or_default()),
        Location::Volume(extent) => {
            let file = disk.volumes.open(extent.volume);
            Source::Volume(file.map_err(|error| StoreError::Disk(format!("volume {}: {error}", extent.volume)))?, extent.offset)
        }
    };
    let hashes = if with_hashes { disk.index.hashes(key).map_err(failed)? } else { Vec::new() };
    Ok(Some(ShardReader { root: key.root, len: row.len, source, hashes }))
}

/// Joins what the disks know of deals; a disk that missed a deal, because it is new or was read-only, learns it now.
fn load_deals(disks: &[Arc<Disk>], book: &DealBook) -> Result<(), OpenError> {
    let failed = |disk: &Disk, error: index::IndexError| OpenError::Index { path: disk.path.clone(), reason: error.to_string() };
    let mut deals = std::collections::HashMap::<DealId, (DealRow, Usage)>::new();
    let mut known = Vec::new();
    for disk in disks {
        let rows: std::collections::HashMap<_, _> =
            disk.index.deals().map_err(|error| failed(disk, error))?.into_iter().collect();
        for (deal, row) in &rows {
            let latest = deals.entry(*deal).or_insert((*row, Usage::default()));
            if row.valid_until > latest.0.valid_until {
                latest.0 = *row;
            }
        }
        known.push(rows);
    }
    for disk in disks {
        for (deal, used) in disk.index.deal_usages().map_err(|error| failed(disk, error))? {
            if let Some((_, sum)) = deals.get_mut(&deal) {
                *sum = Usage { shards: sum.shards.saturating_add(used.shards), len: sum.len.saturating_add(used.len) };
            }
        }
    }
    for (disk, rows) in disks.iter().zip(known) {
        let mut batch = Batch::default();
        for (deal, (row, _)) in deals.iter().filter(|(deal, (row, _))| rows.get(deal) != Some(row)) {
            batch.put_deal(deal, row);
        }
        if !batch.is_empty() && disk.read_only().is_none() {
            disk.index.write_synced(batch.0).map_err(|error| failed(disk, error))?;
        }
    }
    for (deal, (row, used)) in deals {
        book.put(deal, row, used);
    }
    Ok(())
}
