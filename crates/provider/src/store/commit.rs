//! Committer: one thread per disk that makes groups of changes durable and answers them together.
//!
//! A group syncs each volume file it touches once, then writes one synced batch of rows and sums, then answers.
//! Never: an answer before both syncs; a second try after a failed one. Limits: [`GROUP_MAX`] commands per group.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_types::merkle::Hash;
use cairn_types::{Clock, DealId, SegmentId, ShardRoot, UnixMs};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{debug, warn};

use super::deals::DealBook;
use super::disk::{Disk, Lease, abandon, footprint_len};
use super::error::StoreError;
use super::index::{Batch, DealRow, Index, IndexError, Location, Row, ShardKey, Usage, VolumeRow};
use super::volume::{Extent, VolumeId};

/// Commands answered together.
pub(crate) const GROUP_MAX: usize = 512;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What a disk's committer is asked to do.
pub(crate) enum Command {
    /// Make an arrived shard durable.
    Commit(Box<Commit>),
    /// Update what is said of a shard that is here already; `None` when it is not.
    Touch(Touch, Answer<Option<Stored>>, OwnedSemaphorePermit),
    /// Remove shards of a deal.
    Delete { deal: DealId, roots: Vec<ShardRoot>, answer: Answer<u32>, permit: OwnedSemaphorePermit },
    /// Keep or forget a deal.
    Deal { deal: DealId, row: Option<DealRow>, answer: Answer<()>, permit: OwnedSemaphorePermit },
    /// Give an unsettled extent back.
    Abandon(Extent),
    /// Answer what waits, then end.
    Stop,
}

/// A shard whose bytes are all here and have the right root.
pub(crate) struct Commit {
    pub touch: Touch,
    pub len: u64,
    pub inline: Vec<u8>,
    pub hashes: Vec<Hash>,
    pub lease: Option<Lease>,
    pub reservation: Reservation,
    pub answer: Answer<Stored>,
    pub permit: OwnedSemaphorePermit,
}

/// What the writer says of a shard.
#[derive(Debug, Clone)]
pub(crate) struct Touch {
    pub key: ShardKey,
    pub segment: SegmentId,
    pub writer_epoch: u64,
    pub label: Bytes,
}

/// A shard that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub root: ShardRoot,
    /// Its length in bytes.
    pub len: u64,
    /// When it became durable.
    pub stored_at: UnixMs,
}

/// Space of a disk and a deal that is set aside for one arriving shard; given up when dropped.
pub(crate) struct Reservation {
    pub disk: Arc<Disk>,
    pub deals: Arc<DealBook>,
    pub deal: DealId,
    pub len: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.disk.release(self.len);
        self.deals.release(&self.deal, self.len);
    }
}

/// The thread's state.
pub(crate) struct Committer {
    disk: Arc<Disk>,
    deals: Arc<DealBook>,
    clock: Arc<dyn Clock>,
    probe_every: Duration,
    sums: Sums,
    /// Extents whose tombstones wait for a punch that works.
    unpunched: Vec<Extent>,
}

/// Sums over the rows of one disk, as the last batch left them.
struct Sums {
    used: Usage,
    deals: HashMap<DealId, Usage>,
    volumes: HashMap<VolumeId, VolumeRow>,
}

/// Changes of one group, in the order in which they are answered.
#[derive(Default)]
struct Group {
    batch: Batch,
    deals_before: HashMap<DealId, Usage>,
    volumes: HashSet<VolumeId>,
    punches: Vec<Extent>,
    added: Vec<(ShardKey, u64, UnixMs)>,
    answers: Vec<Box<dyn FnOnce()>>,
}

impl Committer {
    pub fn new(
        disk: Arc<Disk>,
        deals: Arc<DealBook>,
        clock: Arc<dyn Clock>,
        probe_every: Duration,
    ) -> Result<Committer, IndexError> {
        let index: &Index = &disk.index;
        let sums = Sums {
            used: index.disk_usage()?,
            deals: index.deal_usages()?.into_iter().collect(),
            volumes: index.volumes()?.into_iter().collect(),
        };
        Ok(Committer { disk, deals, clock, probe_every, sums, unpunched: Vec::new() })
    }

    /// Runs until [`Command::Stop`] or until nobody can send any more.
    pub fn run(mut self, commands: Receiver<Command>) {
        let mut probe_at = Instant::now() + self.probe_every;
        let (mut held, mut stopping) = (None, false);
        loop {
            let first = match held.take() {
                Some(command) => Ok(command),
                None if stopping => commands.try_recv().map_err(|_| RecvTimeoutError::Disconnected),
                None => commands.recv_timeout(probe_at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => {
                    let (group, next, stop) = gather(first, &commands);
                    (held, stopping) = (next, stopping || stop);
                    self.apply(group);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.disk.probe();
                    self.punch(Vec::new());
                    probe_at = Instant::now() + self.probe_every;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn apply(&mut self, commands: Vec<Command>) {
        let (commands, abandoned): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| !matches!(command, Command::Abandon(_)));
        for command in &abandoned {
            if let Command::Abandon(extent) = command
                && !abandon(&self.disk, extent)
            {
                self.unpunched.push(*extent);
            }
        }
        if !commands.is_empty() {
            if let Some(reason) = self.disk.read_only() {
                return refuse(commands, &StoreError::ReadOnly(reason));
            }
            if let Err(reason) = self.sync_volumes(&commands) {
                self.disk.fail(reason.clone(), false);
                return refuse(commands, &StoreError::Disk(reason));
            }
            self.commit(commands);
        }
        if !abandoned.is_empty() {
            self.punch(Vec::new());
        }
    }

    /// Makes the bytes of all arrived shards durable.
    fn sync_volumes(&self, commands: &[Command]) -> Result<(), String> {
        let mut synced = HashSet::new();
        for command in commands {
            if let Command::Commit(commit) = command
                && let Some(lease) = &commit.lease
                && synced.insert(lease.extent.volume)
            {
                self.disk.sync(&lease.file).map_err(|error| format!("sync of volume {} failed: {error}", lease.extent.volume))?;
            }
        }
        Ok(())
    }

    /// Writes the rows of a group and answers it.
    fn commit(&mut self, commands: Vec<Command>) {
        let commands_len = commands.len();
        let mut group = Group::default();
        for command in commands {
            self.stage(command, &mut group);
        }
        if !group.batch.is_empty() {
            group.batch.put_disk_usage(self.sums.used);
            for deal in group.deals_before.keys() {
                group.batch.put_deal_usage(deal, self.sums.deals.get(deal).copied().unwrap_or_default());
            }
            for volume in &group.volumes {
                group.batch.put_volume(*volume, self.sums.volumes.entry(*volume).or_default());
            }
            if !group.volumes.is_empty() {
                group.batch.put_next_volume(self.disk.next_volume());
            }
            if let Err(error) = self.sync_index(std::mem::take(&mut group.batch)) {
                // The answers are dropped unsent with what they hold; their askers learn that nothing is durable.
                return self.disk.fail(format!("index write failed: {error}"), false);
            }
        }
        self.disk.publish(self.sums.used);
        for (deal, before) in &group.deals_before {
            self.deals.recount(deal, *before, self.sums.deals.get(deal).copied().unwrap_or_default());
        }
        self.sums.deals.retain(|_, used| *used != Usage::default());
        if let Some(watch) = self.deals.watch.get() {
            group.added.iter().for_each(|(key, len, stored_at)| watch.stored(key.deal, key.root, *len, *stored_at));
        }
        group.answers.into_iter().for_each(|answer| answer());
        debug!(disk = %self.disk.id, commands = commands_len, "group durable");
        self.punch(group.punches);
    }

    fn sync_index(&self, batch: Batch) -> Result<(), String> {
        #[cfg(test)]
        if self.disk.sync_fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err("injected sync failure".into());
        }
        self.disk.index.write_synced(batch.0).map_err(|error| error.to_string())
    }

    fn stage(&mut self, command: Command, group: &mut Group) {
        match command {
            Command::Commit(commit) => self.stage_commit(*commit, group),
            Command::Touch(touch, answer, permit) => {
                let touched = self.stage_touch(&touch, group);
                group.answers.push(Box::new(move || {
                    let _ = answer.send(touched);
                    drop(permit);
                }));
            }
            Command::Delete { deal, roots, answer, permit } => {
                let removed = self.stage_delete(deal, roots, group);
                group.answers.push(Box::new(move || {
                    let _ = answer.send(removed);
                    drop(permit);
                }));
            }
            Command::Deal { deal, row, answer, permit } => {
                match row {
                    Some(row) => group.batch.put_deal(&deal, &row),
                    None => group.batch.remove_deal(&deal),
                }
                group.answers.push(Box::new(move || {
                    let _ = answer.send(Ok(()));
                    drop(permit);
                }));
            }
            Command::Abandon(_) | Command::Stop => unreachable!("taken out before a group is staged"),
        }
    }

    fn stage_commit(&mut self, commit: Commit, group: &mut Group) {
        let Commit { touch, len, inline, hashes, lease, reservation, answer, permit } = commit;
        let stored = match self.stage_touch(&touch, group) {
            Err(error) => Err(error),
            // Here already: one row is enough, and the second copy goes back with its lease.
            Ok(Some(stored)) => Ok((stored, false)),
            Ok(None) => {
                let stored_at = self.clock.now();
                let location = match &lease {
                    Some(lease) => Location::Volume(Extent { len, ..lease.extent }),
                    None => Location::Inline,
                };
                let row = Row {
                    len,
                    segment: touch.segment,
                    writer_epoch: touch.writer_epoch,
                    stored_at,
                    location,
                    label: touch.label,
                };
                group.batch.put_shard(&touch.key, &row, &inline, &hashes);
                self.count(&touch.key, &row, true, group);
                group.added.push((touch.key, len, stored_at));
                Ok((Stored { root: touch.key.root, len, stored_at }, true))
            }
        };
        group.answers.push(Box::new(move || {
            let kept = matches!(stored, Ok((_, true)));
            match lease {
                Some(lease) if kept => lease.settle(len),
                abandoned => drop(abandoned),
            }
            drop(reservation);
            let _ = answer.send(stored.map(|(stored, _)| stored));
            drop(permit);
        }));
    }

    /// The latest writer's words replace those of the earlier one. At a paid provider the shard is as old as it was: it is paid for
    /// from then on.
    fn stage_touch(&mut self, touch: &Touch, group: &mut Group) -> Result<Option<Stored>, StoreError> {
        let Some(row) = self.disk.index.row(&touch.key).map_err(disk_error)? else { return Ok(None) };
        let stored_at = if self.deals.watch.get().is_some() { row.stored_at } else { self.clock.now() };
        let label = touch.label.clone();
        let after = Row { segment: touch.segment, writer_epoch: touch.writer_epoch, label, stored_at, ..row.clone() };
        self.count(&touch.key, &row, false, group);
        self.count(&touch.key, &after, true, group);
        group.batch.put_row(&touch.key, &after);
        Ok(Some(Stored { root: touch.key.root, len: row.len, stored_at }))
    }

    fn stage_delete(&mut self, deal: DealId, mut roots: Vec<ShardRoot>, group: &mut Group) -> Result<u32, StoreError> {
        roots.sort_unstable();
        roots.dedup();
        // Look first, so that a read error leaves the batch as it was.
        let mut rows = Vec::new();
        for root in roots {
            let key = ShardKey { deal, root };
            if let Some(row) = self.disk.index.row(&key).map_err(disk_error)? {
                rows.push((key, row));
            }
        }
        for (key, row) in &rows {
            group.batch.remove_shard(key, row);
            self.count(key, row, false, group);
            if let Location::Volume(extent) = row.location {
                group.punches.push(extent);
            }
        }
        Ok(rows.len() as u32)
    }

    /// Adds a shard to the sums or takes it off.
    fn count(&mut self, key: &ShardKey, row: &Row, added: bool, group: &mut Group) {
        let deal_used = self.sums.deals.entry(key.deal).or_default();
        group.deals_before.entry(key.deal).or_insert(*deal_used);
        let len = footprint_len(row.len, row.label.len() as u64);
        for used in [deal_used, &mut self.sums.used] {
            let (shards, used_len) = if added {
                (used.shards.saturating_add(1), used.len.saturating_add(len))
            } else {
                (used.shards.saturating_sub(1), used.len.saturating_sub(len))
            };
            *used = Usage { shards, len: used_len };
        }
        if let Location::Volume(extent) = row.location {
            let volume = self.sums.volumes.entry(extent.volume).or_default();
            volume.shards = if added { volume.shards.saturating_add(1) } else { volume.shards.saturating_sub(1) };
            group.volumes.insert(extent.volume);
        }
    }

    /// Gives the blocks of deleted shards back, drops their tombstones, seals and unlinks volumes that are done.
    fn punch(&mut self, extents: Vec<Extent>) {
        if self.disk.has_failed() {
            return;
        }
        let mut batch = Batch::default();
        let waiting = std::mem::take(&mut self.unpunched);
        for extent in waiting.into_iter().chain(extents) {
            match self.disk.volumes.punch(&extent) {
                Ok(()) => batch.remove_tombstone(&extent),
                Err(error) => {
                    warn!(disk = %self.disk.id, volume = extent.volume, %error, "punch failed; will be tried again");
                    self.unpunched.push(extent);
                }
            }
        }
        self.retire_volumes(&mut batch);
        if !batch.is_empty()
            && let Err(error) = self.disk.index.write(batch.0)
        {
            // Harmless by itself: tombstones are replayed at the next start.
            warn!(disk = %self.disk.id, %error, "tombstones stay");
        }
    }

    fn retire_volumes(&mut self, batch: &mut Batch) {
        let disk = &self.disk;
        let unpunched: HashSet<VolumeId> = self.unpunched.iter().map(|extent| extent.volume).collect();
        self.sums.volumes.retain(|volume, row| {
            if (row.sealed && row.shards > 0) || !disk.is_retired(*volume) || unpunched.contains(volume) {
                return true;
            }
            if row.shards > 0 {
                row.sealed = true;
                batch.put_volume(*volume, row);
                return true;
            }
            match disk.volumes.unlink(*volume) {
                Ok(()) => batch.remove_volume(*volume),
                Err(error) => warn!(disk = %disk.id, volume, %error, "empty volume stays"),
            }
            false
        });
    }
}

/// Takes what waits, up to [`GROUP_MAX`] commands and no shard twice. Gives back the command that begins the next group.
fn gather(first: Command, commands: &Receiver<Command>) -> (Vec<Command>, Option<Command>, bool) {
    let mut keys = HashSet::new();
    let (mut group, mut next, mut stop) = (Vec::new(), Some(first), false);
    while let Some(command) = next.take() {
        let fresh = match &command {
            Command::Commit(commit) => keys.insert(commit.touch.key),
            Command::Touch(touch, ..) => keys.insert(touch.key),
            Command::Delete { deal, roots, .. } => {
                let mut roots: Vec<_> = roots.iter().map(|root| ShardKey { deal: *deal, root: *root }).collect();
                roots.sort_unstable();
                roots.dedup();
                roots.into_iter().all(|key| keys.insert(key))
            }
            Command::Deal { .. } | Command::Abandon(_) => true,
            Command::Stop => {
                stop = true;
                next = commands.try_recv().ok();
                continue;
            }
        };
        if !fresh {
            return (group, Some(command), stop);
        }
        group.push(command);
        if group.len() < GROUP_MAX {
            next = commands.try_recv().ok();
        }
    }
    (group, None, stop)
}

fn refuse(commands: Vec<Command>, error: &StoreError) {
    for command in commands {
        match command {
            Command::Commit(commit) => drop(commit.answer.send(Err(error.clone()))),
            Command::Touch(_, answer, _) => drop(answer.send(Err(error.clone()))),
            Command::Delete { answer, .. } => drop(answer.send(Err(error.clone()))),
            Command::Deal { answer, .. } => drop(answer.send(Err(error.clone()))),
            Command::Abandon(_) | Command::Stop => {}
        }
    }
}

fn disk_error(error: IndexError) -> StoreError {
    StoreError::Disk(error.to_string())
}
