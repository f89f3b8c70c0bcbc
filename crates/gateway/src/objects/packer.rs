//! Packer: group commit of object records and small objects into packs.
//!
//! An entry that finds no pack under way is stored at once; those that come meanwhile gather into the next pack. The catalog rows
//! of a whole pack are one change, so a pack costs one blob and one disk sync.
//! Never: an answer before the pack is durable on the network and its rows on disk. Limits: a queue of [`QUEUE_MAX`] entries,
//! `pack_len` bytes a pack (one longer entry is a pack of its own), `packs_in_flight` packs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_client::{BlobKind as NetworkKind, BlobWriter, StoredBlob, WriterOptions};
use cairn_types::BlobId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::core::{Network, PackUnderWay, write_error};
use super::error::ObjectError;
use super::pack::PACK_MAGIC;
use super::refs;
use crate::catalog::Txn;
use crate::catalog::record::{BlobKind, Extent};

/// Entries that wait to be gathered.
const QUEUE_MAX: usize = 256;

/// Where an entry came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The whole entry.
    pub entry: Extent,
    /// Its data alone.
    pub data: Extent,
}

/// What an entry changes in the catalog. The entry itself is already retained; a failure undoes that.
pub(crate) type Commit = Box<dyn FnOnce(&mut Txn<'_>, &Placed) -> Result<(), ObjectError> + Send>;

pub(crate) struct Entry {
    head: Vec<u8>,
    data: Bytes,
    commit: Commit,
    done: oneshot::Sender<Result<Placed, ObjectError>>,
}

impl Entry {
    fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }
}

/// When a pack is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackerConfig {
    pub pack_len: usize,
    pub window: Duration,
    pub packs_in_flight: usize,
}

/// Hands entries to the packer.
#[derive(Clone)]
pub(crate) struct Packer(mpsc::Sender<Entry>);

pub(crate) fn channel() -> (Packer, mpsc::Receiver<Entry>) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    (Packer(sender), receiver)
}

impl Packer {
    /// Appends an entry and waits until it and its `commit` are durable.
    ///
    /// # Errors
    /// Those of `commit`, of the network and of the catalog's disk; nothing of the entry is then visible.
    pub async fn append(&self, head: Vec<u8>, data: Bytes, commit: Commit) -> Result<Placed, ObjectError> {
        let (done, answer) = oneshot::channel();
        self.0.send(Entry { head, data, commit, done }).await.map_err(|_| ObjectError::Stopping)?;
        answer.await.map_err(|_| ObjectError::Stopping)?
    }
}

/// What the packer decides next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Wait for an entry or for a pack to end.
    Wait,
    /// The same, but no longer than this moment.
    WaitUntil(Instant),
    /// Store what gathered.
    Flush,
}

/// Entries that gather for the next pack.
#[derive(Default)]
struct Gathering {
    entries: Vec<Entry>,
    len: usize,
    since: Option<Instant>,
}

impl Gathering {
    fn push(&mut self, entry: Entry, now: Instant) {
        self.len += entry.len();
        self.since.get_or_insert(now);
        self.entries.push(entry);
    }

    fn next(&self, config: &PackerConfig, in_flight: usize, now: Instant) -> Next {
        let Some(since) = self.since else { return Next::Wait };
        if in_flight == 0 {
            return Next::Flush;
        }
        if in_flight >= config.packs_in_flight {
            return Next::Wait;
        }
        let due = since + config.window;
        if self.len >= config.pack_len || now >= due { Next::Flush } else { Next::WaitUntil(due) }
    }

    /// Takes the entries of one pack, at least one.
    fn take(&mut self, config: &PackerConfig, now: Instant) -> Vec<Entry> {
        let mut len = 0;
        let fits = self.entries.iter().take_while(|entry| {
            let first = len == 0;
            len += entry.len();
            first || len <= config.pack_len
        });
        let count = fits.count();
        let rest = self.entries.split_off(count);
        let pack = std::mem::replace(&mut self.entries, rest);
        self.len = self.entries.iter().map(Entry::len).sum();
        self.since = (!self.entries.is_empty()).then_some(now);
        pack
    }
}

/// Runs until every [`Packer`] is gone and what came is stored.
pub(crate) async fn run(network: Arc<Network>, config: PackerConfig, mut queue: mpsc::Receiver<Entry>) {
    let mut gathering = Gathering::default();
    let mut packs = JoinSet::new();
    let mut open = true;
    while open || gathering.since.is_some() || !packs.is_empty() {
        let next = gathering.next(&config, packs.len(), Instant::now());
        if next == Next::Flush {
            // Whatever else is already waiting goes along.
            while gathering.len < config.pack_len {
                let Ok(entry) = queue.try_recv() else { break };
                gathering.push(entry, Instant::now());
            }
            let entries = gathering.take(&config, Instant::now());
            packs.spawn(store(network.clone(), entries));
            continue;
        }
        let due = match next {
            Next::WaitUntil(due) => Some(due),
            Next::Wait | Next::Flush => None,
        };
        // What gathers is bounded by the queue's owner: beyond one full pack no more is taken in.
        let room = open && gathering.len < config.pack_len;
        tokio::select! {
            biased;
            Some(_) = packs.join_next() => {}
            entry = queue.recv(), if room => match entry {
                Some(entry) => gathering.push(entry, Instant::now()),
                None => open = false,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

async fn store(network: Arc<Network>, entries: Vec<Entry>) {
    let under_way = PackUnderWay::begin(network.clone());
    let (stored, places) = match lay_out(&network, under_way.sequence, &entries) {
        Ok((writer, bytes, places)) => (write(writer, bytes).await, places),
        Err(error) => (Err(error), Vec::new()),
    };
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => {
            for entry in entries {
                let _ = entry.done.send(Err(error.clone())); // whoever asked may be gone
            }
            return;
        }
    };
    let (commits, waiting): (Vec<_>, Vec<_>) = entries.into_iter().map(|entry| (entry.commit, entry.done)).unzip();
    let manifest = cairn_client::Manifest::clone(&stored);
    let (now, count) = (network.clock.now(), places.len());
    let changing = network.catalog.change(move |txn| {
        refs::insert(txn, &manifest, BlobKind::Pack);
        let mut outcomes = Vec::with_capacity(count);
        for (commit, placed) in commits.into_iter().zip(places) {
            outcomes.push(txn.attempt(|txn| {
                refs::retain(txn, &placed.entry)?;
                commit(txn, &placed).map(|()| placed)
            }));
        }
        refs::discard_unused(txn, manifest.blob, now)?;
        Ok(outcomes)
    });
    let outcomes = match changing.await {
        Ok(outcomes) => outcomes,
        Err(error) => vec![Err(error); count],
    };
    drop(under_way);
    drop(stored); // the catalog knows the pack by now, or the collector may have it
    for (done, outcome) in waiting.into_iter().zip(outcomes) {
        let _ = done.send(outcome);
    }
    network.wake_trash();
}

/// Starts the pack's blob and lays its bytes out.
fn lay_out(network: &Network, sequence: u64, entries: &[Entry]) -> Result<(BlobWriter, Bytes, Vec<Placed>), ObjectError> {
    let len = PACK_MAGIC.len() + entries.iter().map(Entry::len).sum::<usize>();
    let options = WriterOptions { kind: NetworkKind::Pack, sequence, len_hint: Some(len as u64) };
    let writer = network.client.writer_with(options).map_err(write_error)?;
    let blob = writer.blob_id();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&PACK_MAGIC);
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        places.push(place(blob, bytes.len(), entry));
        bytes.extend_from_slice(&entry.head);
        bytes.extend_from_slice(&entry.data);
    }
    Ok((writer, bytes.into(), places))
}

async fn write(mut writer: BlobWriter, bytes: Bytes) -> Result<StoredBlob, ObjectError> {
    writer.write(bytes).await.map_err(write_error)?;
    writer.finish().await.map_err(write_error)
}

fn place(blob: BlobId, offset: usize, entry: &Entry) -> Placed {
    let (offset, head_len, data_len) = (offset as u64, entry.head.len() as u64, entry.data.len() as u64);
    Placed {
        entry: Extent { blob, offset, len: head_len + data_len },
        data: Extent { blob, offset: offset + head_len, len: data_len },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: usize) -> Entry {
        Entry { head: Vec::new(), data: vec![0; len].into(), commit: Box::new(|_, _| Ok(())), done: oneshot::channel().0 }
    }

    #[tokio::test]
    async fn a_lone_entry_is_stored_at_once_and_others_gather() {
        let config = PackerConfig { pack_len: 100, window: Duration::from_millis(3), packs_in_flight: 2 };
        let start = Instant::now();
        let late = start + Duration::from_millis(3);
        for (lens, in_flight, now, expected) in [
            (vec![], 0, start, Next::Wait),
            (vec![1], 0, start, Next::Flush),
            (vec![1], 1, start, Next::WaitUntil(late)),
            (vec![1], 1, late, Next::Flush),
            (vec![99], 1, start, Next::WaitUntil(late)),
            (vec![50, 50], 1, start, Next::Flush),
            (vec![50, 50], 2, late, Next::Wait),
        ] {
            let mut gathering = Gathering::default();
            for len in &lens {
                gathering.push(entry(*len), start);
            }
            assert_eq!(gathering.next(&config, in_flight, now), expected, "{lens:?} with {in_flight} in flight");
        }
    }

    #[tokio::test]
    async fn a_pack_takes_what_fits_and_always_something() {
        let config = PackerConfig { pack_len: 100, window: Duration::from_millis(3), packs_in_flight: 2 };
        for (lens, expected) in
            [(vec![10, 20, 30], vec![3]), (vec![60, 60, 10], vec![1, 2]), (vec![500, 1], vec![1, 1]), (vec![0, 500], vec![2])]
        {
            let mut gathering = Gathering::default();
            for len in &lens {
                gathering.push(entry(*len), Instant::now());
            }
            let mut taken = Vec::new();
            while gathering.since.is_some() {
                taken.push(gathering.take(&config, Instant::now()).len());
            }
            assert_eq!(taken, expected, "{lens:?}");
            assert_eq!(gathering.len, 0);
        }
    }
}
