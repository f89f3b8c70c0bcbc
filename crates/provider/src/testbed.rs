//! What the tests of this crate stand on: a store in a temporary directory, a clock, seeded bytes, a client at the other end of a stream.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::shard_root;
use cairn_types::{Clock, DealId, NodeId, NodeKey, Rng, SegmentId, ShardRoot, UnixMs};
use rustix::fs::SeekFrom;

use crate::store::{DiskConfig, NewShard, OpenError, Store, StoreConfig, StoreError, Stored};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const CLIENT: NodeId = NodeId([0xc1; 32]);
pub(crate) const OTHER_CLIENT: NodeId = NodeId([0xc2; 32]);
pub(crate) const NONCE: [u8; 16] = [7; 16];

pub(crate) struct TestClock(pub AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct TestRng(AtomicU64);

impl Rng for TestRng {
    fn fill(&self, bytes: &mut [u8]) {
        let seed = self.0.fetch_add(1, Ordering::SeqCst);
        bytes.copy_from_slice(&seeded(seed, bytes.len()));
    }
}

/// Bytes that differ from seed to seed and from block to block.
pub(crate) fn seeded(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A provider's directories, and how to open a store on them.
pub(crate) struct Bed {
    pub dir: tempfile::TempDir,
    pub key: NodeKey,
    pub clock: Arc<TestClock>,
    pub config: StoreConfig,
    pub rng: TestRng,
}

impl Bed {
    pub fn new(disks: usize) -> Bed {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = |at: usize| DiskConfig { path: dir.path().join(format!("disk{at}")), quota_len: 256 * MIB, reserve_len: MIB };
        let config = StoreConfig::new(dir.path().join("data"), (0..disks).map(disk).collect());
        let clock = Arc::new(TestClock(AtomicU64::new(1_000_000)));
        Bed { dir, key: NodeKey::from_secret([5; 32]), clock, config, rng: TestRng(AtomicU64::new(1)) }
    }

    pub fn open(&self) -> Result<Store, OpenError> {
        self.open_as(self.key.id())
    }

    pub fn open_as(&self, node: NodeId) -> Result<Store, OpenError> {
        // The last write of a store that was just dropped may still hold the lock for a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Store::open(self.config.clone(), node, self.clock.clone(), &self.rng) {
                Err(OpenError::InUse(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                opened => return opened,
            }
        }
    }

    /// One attempt, for tests about the lock.
    pub fn open_once(&self) -> Result<Store, OpenError> {
        Store::open(self.config.clone(), self.key.id(), self.clock.clone(), &self.rng)
    }

    pub fn disk_path(&self, at: usize) -> PathBuf {
        self.config.disks[at].path.clone()
    }
}

/// Bytes that the volume files of a disk really hold. Not `st_blocks`: that counts the file system's own extent blocks too.
pub(crate) fn allocated_len(disk: &Path) -> u64 {
    let volumes = std::fs::read_dir(disk.join("volumes")).expect("a disk").map(|entry| entry.expect("an entry").path());
    volumes.map(|path| data_len(&std::fs::File::open(path).expect("a volume"))).sum()
}

fn data_len(file: &std::fs::File) -> u64 {
    let (mut sum, mut at) = (0, 0);
    while let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, SeekFrom::Hole(data)).expect("data ends");
        sum += at.next_multiple_of(4096) - data;
    }
    sum
}

/// Waits for something that another thread does soon.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn open_deal(store: &Store) -> DealId {
    store.open_deal(CLIENT, NONCE, 200 * MIB, 0).await.expect("free space").id
}

pub(crate) fn new_shard(deal: DealId, len_max: u64) -> NewShard {
    NewShard { deal, segment: SegmentId([9; 16]), writer_epoch: 3, len_max }
}

/// Stores bytes under a deal of [`CLIENT`].
pub(crate) async fn put(store: &Store, deal: DealId, data: &[u8]) -> Result<Stored, StoreError> {
    let mut writer = store.begin(CLIENT, new_shard(deal, data.len() as u64))?;
    for frame in data.chunks(FRAME_LEN) {
        writer.push(Bytes::copy_from_slice(frame)).await?;
    }
    writer.finish(shard_root(data), data.len() as u64, Bytes::from_static(b"label")).await
}

pub(crate) fn get(store: &Store, deal: DealId, root: ShardRoot) -> Result<Vec<u8>, StoreError> {
    let reader = store.reader(CLIENT, deal, root, false)?;
    let mut data = vec![0; reader.shard_len() as usize];
    reader.read_at(0, &mut data)?;
    Ok(data)
}
