//! A shard on its way in: hashed and written block by block off the async threads, then committed.
//!
//! Never: a trace left of a shard that was not committed; dropping the writer gives all of its space back.
//! Limits: [`BATCH_FRAMES`] frames waiting and as many being written, one where memory is short.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use cairn_types::limits::LABEL_LEN_MAX;
use cairn_types::merkle::{Hash, ShardHasher};
use cairn_types::{SegmentId, ShardRoot};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::commit::{Command, Commit, Reservation, Stored, Touch};
use super::disk::{Disk, INLINE_LEN_MAX, Lease};
use super::error::StoreError;
use super::index::ShardKey;
use super::{Inner, disk_failure};

/// Frames hashed and written in one go.
pub(crate) const BATCH_FRAMES: usize = 4;

/// A shard that is arriving.
pub struct ShardWriter {
    inner: Arc<Inner>,
    job: Job,
    waiting: Vec<Bytes>,
    batch_frames: usize,
    arrived_len: u64,
    len_max: u64,
    segment: SegmentId,
    writer_epoch: u64,
    _memory: Option<OwnedSemaphorePermit>,
}

enum Job {
    Idle(Box<Stage>),
    Running(JoinHandle<Result<Box<Stage>, StoreError>>),
    Failed,
}

/// The part of a writer that goes to a blocking thread and back. It owns the space, so that a writer dropped while a write is
/// under way gives the space back after that write and not before.
pub(crate) struct Stage {
    disk: Arc<Disk>,
    hasher: ShardHasher,
    hashes: Vec<Hash>,
    inline: Vec<u8>,
    lease: Option<Lease>,
    len_max: u64,
    reservation: Reservation,
}

impl Stage {
    pub fn new(reservation: Reservation, len_max: u64) -> Stage {
        Stage {
            disk: reservation.disk.clone(),
            hasher: ShardHasher::new(),
            hashes: Vec::new(),
            inline: Vec::new(),
            lease: None,
            len_max,
            reservation,
        }
    }

    /// Hashes and keeps frames. Blocking once the shard is longer than an inline one.
    fn absorb(&mut self, frames: &[Bytes]) -> Result<(), StoreError> {
        for frame in frames {
            let offset = self.hasher.byte_len();
            let hash = self.hasher.push_block(frame)?;
            self.hashes.push(hash);
            if self.lease.is_none() && self.hasher.byte_len() <= INLINE_LEN_MAX {
                self.inline.extend_from_slice(frame);
                continue;
            }
            if self.lease.is_none() {
                let lease = self.disk.allocate(self.len_max)?;
                write(&lease, &self.inline, 0)?;
                self.inline = Vec::new();
                self.lease = Some(lease);
            }
            let lease = self.lease.as_ref().expect("made above where there was none");
            write(lease, frame, offset)?;
        }
        Ok(())
    }
}

fn write(lease: &Lease, data: &[u8], offset: u64) -> Result<(), StoreError> {
    lease.file.write_all_at(data, lease.extent.offset + offset).map_err(|error| {
        // A write that fails for want of space says nothing of the disk; any other does.
        disk_failure(&lease.disk, "write", &error);
        StoreError::Disk(error.to_string())
    })
}

impl ShardWriter {
    pub(crate) fn new(inner: Arc<Inner>, stage: Stage, segment: SegmentId, writer_epoch: u64) -> ShardWriter {
        let memory = Arc::clone(&inner.memory).try_acquire_many_owned(2 * BATCH_FRAMES as u32).ok();
        let batch_frames = if memory.is_some() { BATCH_FRAMES } else { 1 };
        let len_max = stage.len_max;
        ShardWriter {
            inner,
            job: Job::Idle(Box::new(stage)),
            waiting: Vec::with_capacity(batch_frames),
            batch_frames,
            arrived_len: 0,
            len_max,
            segment,
            writer_epoch,
            _memory: memory,
        }
    }

    /// Takes the next frame: [`FRAME_LEN`](cairn_types::limits::FRAME_LEN) bytes, fewer only for the last one.
    ///
    /// # Errors
    /// [`StoreError::WrongLength`] past the announced length, [`StoreError::BadBlock`], [`StoreError::Disk`]; the shard is lost then.
    pub async fn push(&mut self, frame: Bytes) -> Result<(), StoreError> {
        self.arrived_len += frame.len() as u64;
        if self.arrived_len > self.len_max {
            return Err(StoreError::WrongLength { found: self.arrived_len, expected: self.len_max });
        }
        self.waiting.push(frame);
        if self.waiting.len() >= self.batch_frames { self.flush().await } else { Ok(()) }
    }

    /// Commits the shard and returns when it is durable.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the shard remains then.
    pub async fn finish(mut self, root: ShardRoot, len: u64, label: Bytes) -> Result<Stored, StoreError> {
        if label.len() > LABEL_LEN_MAX {
            return Err(StoreError::LabelTooLong { len: label.len(), max: LABEL_LEN_MAX });
        }
        if len != self.arrived_len {
            return Err(StoreError::WrongLength { found: self.arrived_len, expected: len });
        }
        if len == 0 {
            return Err(StoreError::BadLength { len, max: self.len_max });
        }
        self.flush().await?;
        let stage = self.idle().await?;
        let found = stage.hasher.root();
        if found != root {
            return Err(StoreError::WrongRoot { found, expected: root });
        }
        let key = ShardKey { deal: stage.reservation.deal, root };
        let touch = Touch { key, segment: self.segment, writer_epoch: self.writer_epoch, label };
        if let Some(stored) = self.touch_elsewhere(&stage.disk, &touch).await? {
            return Ok(stored);
        }
        let Stage { disk, hashes, inline, lease, reservation, .. } = *stage;
        let permit = permit(&disk.queue).await?;
        let (answer, answered) = oneshot::channel();
        let commit = Commit { touch, len, inline, hashes, lease, reservation, answer, permit };
        disk.commands.send(Command::Commit(Box::new(commit))).map_err(|_| StoreError::Closed)?;
        answer_of(&disk, answered).await
    }

    /// The same shard on another disk needs no second copy.
    async fn touch_elsewhere(&self, home: &Arc<Disk>, touch: &Touch) -> Result<Option<Stored>, StoreError> {
        for disk in self.inner.disks.iter().filter(|disk| disk.id != home.id) {
            let (there, key) = (disk.clone(), touch.key);
            let row = self.inner.blocking(move || there.index.row(&key)).await?;
            if row.map_err(|error| StoreError::Disk(error.to_string()))?.is_none() || disk.read_only().is_some() {
                continue;
            }
            let permit = permit(&disk.queue).await?;
            let (answer, answered) = oneshot::channel();
            disk.commands.send(Command::Touch(touch.clone(), answer, permit)).map_err(|_| StoreError::Closed)?;
            if let Some(stored) = answer_of(disk, answered).await? {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Starts to hash and write the waiting frames, after those before them are done.
    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut stage = self.idle().await?;
        let frames = std::mem::replace(&mut self.waiting, Vec::with_capacity(self.batch_frames));
        if self.arrived_len <= INLINE_LEN_MAX {
            // Microseconds of hashing and no disk: a thread switch would cost more.
            stage.absorb(&frames)?;
            self.job = Job::Idle(stage);
            return Ok(());
        }
        let work = self.inner.work_permit().await?;
        self.job = Job::Running(tokio::task::spawn_blocking(move || {
            let absorbed = stage.absorb(&frames);
            drop((frames, work));
            absorbed.map(|()| stage)
        }));
        if self.batch_frames == 1 {
            let stage = self.idle().await?;
            self.job = Job::Idle(stage);
        }
        Ok(())
    }

    async fn idle(&mut self) -> Result<Box<Stage>, StoreError> {
        match std::mem::replace(&mut self.job, Job::Failed) {
            Job::Idle(stage) => Ok(stage),
            Job::Running(job) => job.await.map_err(|_| StoreError::Closed)?,
            Job::Failed => Err(StoreError::Closed),
        }
    }
}

/// A place in a disk's queue.
pub(crate) async fn permit(queue: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    queue.clone().acquire_owned().await.map_err(|_| StoreError::Closed)
}

/// Waits for a committer. An answer that was dropped is a write that failed, or a store that closed.
pub(crate) async fn answer_of<T>(disk: &Disk, answered: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    answered.await.unwrap_or_else(|_| Err(disk.read_only().map_or(StoreError::Closed, StoreError::Disk)))
}
