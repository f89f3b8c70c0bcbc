//! One disk: a directory with a quota, its volumes and index, what is reserved on it, and whether it takes writes.
//!
//! Never: a write after a failed sync; the disk stays read-only until the next start.
//! Limits: the quota, the reserve of the file system, [`COMMANDS_MAX`] waiting commands.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use cairn_types::limits::FRAME_LEN;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::commit::Command;
use super::error::{OpenError, StoreError};
use super::index::{Batch, Index, MetaRow, Usage, VolumeRow};
use super::marker::{Claim, DiskList, index_dir, volumes_dir};
use super::status::DiskStatus;
use super::volume::{Extent, VOLUME_SPAN_MAX, VOLUME_WRITTEN_MAX, VolumeId, Volumes, align_up, punch};
use super::{DiskConfig, Identity};

/// Commands that wait for one disk's committer.
pub(crate) const COMMANDS_MAX: usize = 1024;
const PROBE: &str = "probe";
const PROBE_LEN: usize = 8192;
/// Bytes of index that a shard's row takes, besides its label, its hashes and its inline bytes.
const ROW_LEN: u64 = 512;
/// Shards up to this length lie in the index itself.
pub(crate) const INLINE_LEN_MAX: u64 = 16 * 1024;

/// Name of a disk, drawn when it was first used.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskId(pub [u8; 16]);

impl std::fmt::Display for DiskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for DiskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskId({self})")
    }
}

impl serde::Serialize for DiskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DiskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut id = [0; 16];
        hex::decode_to_slice(&text, &mut id).map_err(|_| serde::de::Error::custom("a disk id has 32 hex digits"))?;
        Ok(DiskId(id))
    }
}

/// Bytes that a shard takes from quota and deal: its blocks or inline bytes, its row, its label, its block hashes.
pub fn footprint_len(shard_len: u64, label_len: u64) -> u64 {
    let data_len = if shard_len <= INLINE_LEN_MAX { shard_len } else { align_up(shard_len) };
    let blocks = shard_len.div_ceil(FRAME_LEN as u64);
    data_len + ROW_LEN + label_len + if blocks > 1 { 32 * blocks } else { 0 }
}

/// One disk.
pub(crate) struct Disk {
    pub id: DiskId,
    pub path: PathBuf,
    pub quota_len: u64,
    pub reserve_len: u64,
    pub collected_len: u64,
    pub index: Index,
    pub volumes: Volumes,
    pub commands: mpsc::Sender<Command>,
    /// One permit per waiting command.
    pub queue: Arc<Semaphore>,
    space: Mutex<Space>,
    failure: Mutex<Option<Failure>>,
    allocation: Mutex<Allocation>,
    /// Test hook at the file-system boundary: the next syncs fail.
    #[cfg(test)]
    pub sync_fails: std::sync::atomic::AtomicBool,
    /// Dropped last: the lock outlives every open file of the directory.
    _claim: Claim,
}

#[derive(Debug, Clone, Copy, Default)]
struct Space {
    used: Usage,
    reserved_len: u64,
}

#[derive(Debug, Clone)]
struct Failure {
    reason: String,
    /// A full file system may get room again; a failed sync is for good.
    passing: bool,
}

#[derive(Default)]
struct Allocation {
    current: Option<Current>,
    next_volume: VolumeId,
    /// Extents handed out and not yet settled, by volume.
    leases: HashMap<VolumeId, u32>,
}

struct Current {
    volume: VolumeId,
    file: Arc<File>,
    next_offset: u64,
    written_len: u64,
}

impl Disk {
    /// Opens a directory, collects what a crash left in it, and tests that it can be written.
    pub fn open(
        config: &DiskConfig,
        identity: &Identity,
        list: &mut DiskList,
    ) -> Result<(Disk, mpsc::Receiver<Command>), OpenError> {
        let path = std::path::absolute(&config.path).map_err(OpenError::io(&config.path))?;
        let mut claim = Claim::take(&path, identity.node, identity.draw_disk(), list)?;
        let failed = |reason: String| OpenError::Index { path: path.clone(), reason };
        let meta = MetaRow { disk: claim.marker.disk, node: identity.node };
        let index = Index::open(&index_dir(&path), claim.fresh).map_err(|error| failed(error.to_string()))?;
        let volumes = Volumes::new(volumes_dir(&path));
        if claim.fresh {
            test_hole_punch(&path)?;
            let mut batch = Batch::default();
            batch.put_meta(&meta);
            index.write_synced(batch.0).map_err(|error| failed(error.to_string()))?;
            claim.complete()?;
        } else if index.meta().map_err(|error| failed(error.to_string()))? != Some(meta) {
            return Err(failed("it was made for another disk; restore the right one".into()));
        }
        list.remember(meta.disk, &path)?;
        let (allocation, collected_len) = collect(&path, &index, &volumes)?;
        let used = index.disk_usage().map_err(|error| failed(error.to_string()))?;
        let (commands, receiver) = mpsc::channel();
        let disk = Disk {
            id: meta.disk,
            quota_len: config.quota_len,
            reserve_len: config.reserve_len,
            collected_len,
            index,
            volumes,
            commands,
            queue: Arc::new(Semaphore::new(COMMANDS_MAX)),
            space: Mutex::new(Space { used, reserved_len: 0 }),
            failure: Mutex::default(),
            allocation: Mutex::new(allocation),
            #[cfg(test)]
            sync_fails: Default::default(),
            _claim: claim,
            path,
        };
        disk.probe();
        info!(disk = %disk.id, path = %disk.path.display(), shards = used.shards, used_len = used.len, collected_len, "disk opened");
        Ok((disk, receiver))
    }

    /// Writes and syncs a small file. Failure makes the disk read-only; success ends only a read-only state that may pass.
    pub fn probe(&self) {
        let test = || -> std::io::Result<()> {
            let mut file = File::create(self.path.join(PROBE))?;
            file.write_all(&[0x5a; PROBE_LEN])?;
            self.sync(&file)
        };
        match test() {
            Ok(()) => {
                let mut failure = guard(&self.failure);
                if failure.as_ref().is_some_and(|failure| failure.passing) {
                    info!(disk = %self.id, "disk takes writes again");
                    *failure = None;
                }
            }
            Err(source) => {
                let passing = matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
                self.fail(format!("write test of {} failed: {source}", self.path.display()), passing);
            }
        }
    }

    /// Makes the disk read-only. The first lasting reason stays.
    pub fn fail(&self, reason: String, passing: bool) {
        let mut failure = guard(&self.failure);
        if failure.as_ref().is_none_or(|failure| failure.passing) {
            error!(disk = %self.id, path = %self.path.display(), reason, "disk is read-only");
            *failure = Some(Failure { reason, passing });
        }
    }

    /// Why the disk takes no writes, if so.
    pub fn read_only(&self) -> Option<String> {
        guard(&self.failure).as_ref().map(|failure| failure.reason.clone())
    }

    /// Whether it takes no writes until the next start.
    pub fn has_failed(&self) -> bool {
        guard(&self.failure).as_ref().is_some_and(|failure| !failure.passing)
    }

    /// Number of the next volume file.
    pub fn next_volume(&self) -> VolumeId {
        guard(&self.allocation).next_volume
    }

    /// Makes the bytes of a file durable.
    pub fn sync(&self, file: &File) -> std::io::Result<()> {
        #[cfg(test)]
        if self.sync_fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(std::io::Error::other("injected sync failure"));
        }
        file.sync_data()
    }

    /// Sets `need_len` bytes aside, or says why not.
    pub fn reserve(&self, need_len: u64) -> Result<(), StoreError> {
        if let Some(reason) = self.read_only() {
            return Err(StoreError::ReadOnly(reason));
        }
        let fs_free_len = fs_free_len(&self.path).map_err(|error| StoreError::Disk(error.to_string()))?;
        let mut space = guard(&self.space);
        let free_len = self.quota_len.saturating_sub(space.used.len + space.reserved_len);
        if need_len > free_len {
            return Err(StoreError::OverQuota { need_len, free_len });
        }
        let free_len = fs_free_len.saturating_sub(space.reserved_len);
        if free_len < self.reserve_len.saturating_add(need_len) {
            return Err(StoreError::DiskReserve { free_len, reserve_len: self.reserve_len });
        }
        space.reserved_len += need_len;
        Ok(())
    }

    /// Gives up what [`Disk::reserve`] set aside.
    pub fn release(&self, len: u64) {
        let mut space = guard(&self.space);
        space.reserved_len = space.reserved_len.saturating_sub(len);
    }

    /// Shows what the committer has made durable.
    pub fn publish(&self, used: Usage) {
        guard(&self.space).used = used;
    }

    /// Bytes new shards can take; 0 when read-only.
    pub fn free_len(&self) -> u64 {
        if self.read_only().is_some() {
            return 0;
        }
        let space = *guard(&self.space);
        let quota_free_len = self.quota_len.saturating_sub(space.used.len.saturating_add(space.reserved_len));
        let fs_free_len = fs_free_len(&self.path).unwrap_or(0);
        quota_free_len.min(fs_free_len.saturating_sub(space.reserved_len).saturating_sub(self.reserve_len))
    }

    pub fn status(&self) -> DiskStatus {
        let space = *guard(&self.space);
        DiskStatus {
            path: self.path.clone(),
            id: self.id,
            quota_len: self.quota_len,
            used_len: space.used.len,
            reserved_len: space.reserved_len,
            free_len: self.free_len(),
            reserve_len: self.reserve_len,
            read_only: self.read_only(),
            shards: space.used.shards,
            collected_len: self.collected_len,
        }
    }

    /// Hands out a contiguous range for a shard of at most `len_max` bytes. Blocking: may make a volume file.
    pub fn allocate(self: &Arc<Self>, len_max: u64) -> Result<Lease, StoreError> {
        let mut allocation = guard(&self.allocation);
        let span = align_up(len_max);
        let full = |current: &Current| {
            current.written_len >= VOLUME_WRITTEN_MAX || current.next_offset.saturating_add(span) > VOLUME_SPAN_MAX
        };
        if allocation.current.as_ref().is_none_or(full) {
            let volume = allocation.next_volume;
            let next_volume = volume.checked_add(1).ok_or_else(|| {
                self.fail("its volumes have no numbers left; rent out a new directory".into(), false);
                StoreError::Disk("no volume number is left".into())
            })?;
            let file = self.volumes.create(volume).map_err(|error| {
                self.fail(format!("cannot make volume {volume}: {error}"), error.kind() == std::io::ErrorKind::StorageFull);
                StoreError::Disk(error.to_string())
            })?;
            allocation.next_volume = next_volume;
            allocation.current = Some(Current { volume, file, next_offset: 0, written_len: 0 });
        }
        let current = allocation.current.as_mut().expect("made above where there was none");
        let extent = Extent { volume: current.volume, offset: current.next_offset, len: len_max };
        let file = current.file.clone();
        current.next_offset += span;
        current.written_len += span;
        *allocation.leases.entry(extent.volume).or_default() += 1;
        Ok(Lease { disk: self.clone(), file, extent, settled: false })
    }

    /// Whether nothing will be written to a volume any more.
    pub fn is_retired(&self, volume: VolumeId) -> bool {
        let allocation = guard(&self.allocation);
        let current = allocation.current.as_ref().is_some_and(|current| current.volume == volume);
        !current && !allocation.leases.contains_key(&volume)
    }

    fn end_lease(&self, extent: &Extent, shard_len: u64) {
        let mut allocation = guard(&self.allocation);
        if let Some(current) = allocation.current.as_mut().filter(|current| current.volume == extent.volume) {
            let used_end = extent.offset + align_up(shard_len);
            current.written_len = current.written_len.saturating_sub(extent.end() - used_end);
            // The unused end of the last reservation was never written, so the next shard may start there. An abandoned
            // extent (length 0 here) is not given out again: a write that is under way may still reach it.
            if shard_len > 0 && current.next_offset == extent.end() {
                current.next_offset = used_end;
            }
        }
        if let Some(count) = allocation.leases.get_mut(&extent.volume) {
            *count -= 1;
            if *count == 0 {
                allocation.leases.remove(&extent.volume);
            }
        }
    }
}

/// A range of a volume that one arriving shard may write. Dropped unsettled, its blocks are given back by the committer.
pub(crate) struct Lease {
    pub disk: Arc<Disk>,
    pub file: Arc<File>,
    /// `len` is what was reserved.
    pub extent: Extent,
    settled: bool,
}

impl Lease {
    /// The shard of `shard_len` bytes in this range is in the index now.
    pub fn settle(mut self, shard_len: u64) {
        self.settled = true;
        self.disk.end_lease(&self.extent, shard_len);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            // Without a committer the store is closing; the next start collects the bytes.
            let _ = self.disk.commands.send(Command::Abandon(self.extent));
        }
    }
}

/// The committer's side of an abandoned lease: gives the blocks back, or says that it could not. Blocking.
pub(crate) fn abandon(disk: &Disk, extent: &Extent) -> bool {
    // After a failed sync of the index a row may or may not be there: the next start will know.
    let punched = !disk.has_failed()
        && disk
            .volumes
            .punch(extent)
            .inspect_err(|error| warn!(disk = %disk.id, volume = extent.volume, %error, "punch failed"))
            .is_ok();
    disk.end_lease(extent, 0);
    punched
}

/// A poisoned lock guards plain numbers that are right after every statement.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fs_free_len(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn test_hole_punch(path: &Path) -> Result<(), OpenError> {
    let probe = path.join(PROBE);
    let mut file = File::create(&probe).map_err(OpenError::io(&probe))?;
    file.write_all(&[0x5a; PROBE_LEN]).map_err(OpenError::io(&probe))?;
    match punch(&file, 0, PROBE_LEN as u64 / 2) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
            Err(OpenError::NoHolePunch(path.into()))
        }
        punched => punched.map_err(OpenError::io(&probe)),
    }
}

/// Finishes what a crash broke off: punches deleted extents, gives back bytes that no row owns, seals or unlinks old volumes.
fn collect(path: &Path, index: &Index, volumes: &Volumes) -> Result<(Allocation, u64), OpenError> {
    let failed = |error: super::index::IndexError| OpenError::Index { path: path.into(), reason: error.to_string() };
    let io = |source| OpenError::Io { path: volumes_dir(path), source };
    let mut batch = Batch::default();
    for extent in index.tombstones().map_err(failed)? {
        volumes.punch(&extent).map_err(io)?;
        batch.remove_tombstone(&extent);
    }
    let found = volumes.found().map_err(io)?;
    let mut rows: HashMap<VolumeId, VolumeRow> = index.volumes().map_err(failed)?.into_iter().collect();
    let last = found.iter().chain(rows.keys()).max();
    let after = last.map_or(Some(0), |last| last.checked_add(1)).ok_or_else(|| OpenError::Index {
        path: path.into(),
        reason: format!("volume {} is the last number there is, and no disk comes that far", VolumeId::MAX),
    })?;
    let next_volume = index.next_volume().map_err(failed)?.max(after);
    let (mut collected_len, mut current) = (0, None);
    for volume in &found {
        let mut row = rows.remove(volume).unwrap_or_default();
        if !row.sealed {
            collected_len += volumes.punch_unowned(*volume, &index.extents(*volume).map_err(failed)?).map_err(io)?;
        }
        let file = volumes.open(*volume).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let written_len = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
        let next_offset = align_up(metadata.len());
        let roomy = written_len < VOLUME_WRITTEN_MAX && next_offset < VOLUME_SPAN_MAX;
        if !row.sealed && roomy && found.last() == Some(volume) {
            current = Some(Current { volume: *volume, file, next_offset, written_len });
        } else if row.shards == 0 {
            volumes.unlink(*volume).map_err(io)?;
            batch.remove_volume(*volume);
        } else if !row.sealed {
            row.sealed = true;
            batch.put_volume(*volume, &row);
        }
    }
    for (volume, row) in rows {
        if row.shards > 0 {
            error!(path = %path.display(), volume, shards = row.shards, "volume file is missing; its shards are lost");
        } else {
            batch.remove_volume(volume);
        }
    }
    batch.put_next_volume(next_volume);
    index.write_synced(batch.0).map_err(failed)?;
    if collected_len > 0 {
        warn!(path = %path.display(), collected_len, "gave back bytes that an interrupted write had left");
    }
    Ok((Allocation { current, next_volume, leases: HashMap::new() }, collected_len))
}
