//! `kill -9` in the middle of stores and deletes: nothing acknowledged is lost, and no byte without an owner stays.
//!
//! The test runs itself as a child that works until it is killed and writes down what was acknowledged; then it opens the store and looks.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_provider::store::{DealLimits, DiskConfig, NewShard, OpenError, Store, StoreConfig, footprint_len};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::shard_root;
use cairn_types::{Clock, DealId, NodeId, Rng, SegmentId, ShardRoot, UnixMs};
use rustix::fs::SeekFrom;

const CLIENT: NodeId = NodeId([1; 32]);
const DIR: &str = "CAIRN_CRASH_DIR";
const ROUND: &str = "CAIRN_CRASH_ROUND";
const ROUNDS: u64 = 12;
const INLINE_LEN_MAX: u64 = 16 * 1024;

struct SystemClock;
impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        UnixMs(since.as_millis() as u64)
    }
}

struct CountingRng(AtomicU64);
impl Rng for CountingRng {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

fn open(dir: &Path) -> Store {
    let disk = |name: &str| DiskConfig { path: dir.join(name), quota_len: 8 << 30, reserve_len: 1 << 20 };
    let disks = vec![disk("a"), disk("b")];
    let probe_every = Duration::from_secs(60);
    let config = StoreConfig { data_dir: dir.join("data"), disks, deals: DealLimits::default(), probe_every };
    // The kernel lets go of a killed child's locks when it has torn it down.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(config.clone(), NodeId([2; 32]), Arc::new(SystemClock), &CountingRng(AtomicU64::new(1))) {
            Err(OpenError::InUse(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.expect("own directories"),
        }
    }
}

fn mixed(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The shard of a seed: a third inline, a third of some frames, a third of many.
fn shard(seed: u64) -> Vec<u8> {
    let random = mixed(seed + 1);
    let len = match random % 3 {
        0 => 1 + random % INLINE_LEN_MAX,
        1 => INLINE_LEN_MAX + 1 + random % 200_000,
        _ => 500_000 + random % 3_000_000,
    };
    let mut bytes = Vec::with_capacity(len as usize + 8);
    let mut state = random | 1;
    while (bytes.len() as u64) < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len as usize);
    bytes
}

/// Stores for ever, deletes one shard in four, abandons one in eight, and says what was acknowledged.
async fn work(store: Store, deal: DealId, first_seed: u64) {
    let next = Arc::new(AtomicU64::new(first_seed));
    let mut tasks = tokio::task::JoinSet::<()>::new();
    for _ in 0..6 {
        let (store, next) = (store.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let data = shard(seed);
                let new = NewShard { deal, segment: SegmentId([0; 16]), writer_epoch: 0, len_max: data.len() as u64 };
                let mut writer = store.begin(CLIENT, new).expect("room");
                for frame in data.chunks(FRAME_LEN) {
                    writer.push(Bytes::copy_from_slice(frame)).await.expect("a good disk");
                }
                if seed % 8 == 5 {
                    continue;
                }
                let root = shard_root(&data);
                writer.finish(root, data.len() as u64, Bytes::new()).await.expect("a good disk");
                println!("\nstored {seed} end");
                if seed % 4 == 3 {
                    println!("\ndeleting {seed} end");
                    assert_eq!(store.delete(CLIENT, deal, &[root]).await, Ok(1));
                }
            }
        });
    }
    tasks.join_next().await.expect("six tasks").expect("works until it is killed");
}

/// Seeds in the child's complete lines of one kind.
fn said(output: &str, word: &str) -> Vec<u64> {
    let seed = |line: &str| line.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix(" end")?.parse().ok();
    output.lines().filter_map(seed).collect()
}

/// Bytes that the volume files really hold. Not `st_blocks`: that counts the file system's own extent blocks too.
fn volumes_len(disk: &Path) -> u64 {
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

/// Looks at everything the store holds: `acked` must be there, and nothing may be damaged, miscounted or without an owner.
fn check(store: &Store, deal: DealId, dir: &Path, acked: &BTreeMap<ShardRoot, u64>) -> u64 {
    let (entries, more) = store.list(CLIENT, deal, None, 1_000_000).expect("its deal");
    assert!(!more);
    let (mut used_len, mut blocks_len) = (0, 0);
    for entry in &entries {
        let mut data = vec![0; entry.len as usize];
        let reader = store.reader(CLIENT, deal, entry.root, true).expect("listed");
        reader.read_at(0, &mut data).expect("listed");
        assert_eq!(shard_root(&data), entry.root, "what is listed is whole, acknowledged or not");
        reader.path(0).expect("hashes");
        used_len += footprint_len(entry.len, 0);
        blocks_len += if entry.len > INLINE_LEN_MAX { entry.len.next_multiple_of(4096) } else { 0 };
    }
    for (root, seed) in acked {
        assert!(entries.binary_search_by_key(root, |entry| entry.root).is_ok(), "acknowledged shard {seed} is lost");
    }
    let status = store.status();
    assert_eq!((status.shards, status.used_len, status.reserved_len), (entries.len() as u64, used_len, 0));
    assert_eq!(volumes_len(&dir.join("a")) + volumes_len(&dir.join("b")), blocks_len, "bytes without an owner");
    status.disks.iter().map(|disk| disk.collected_len).sum()
}

#[test]
fn kill_9_loses_no_acknowledged_shard_and_leaves_no_orphan() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    if let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) {
        let store = open(Path::new(&dir));
        let deal = runtime.block_on(store.open_deal(CLIENT, [0; 16], 8 << 30, 0)).expect("room").id;
        return runtime.block_on(work(store, deal, round.parse::<u64>().expect("a number") * 1_000_000));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let seed = std::process::id() as u64;
    let mut acked = BTreeMap::new();
    let mut collected_len = 0;
    for round in 1..=ROUNDS {
        let output = dir.path().join("output");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "kill_9_loses_no_acknowledged_shard_and_leaves_no_orphan", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(ROUND, round.to_string())
            .stdout(std::fs::File::create(&output).expect("room"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("this test again");
        let life_ms = 100 + mixed(seed * 1000 + round) % 900;
        std::thread::sleep(Duration::from_millis(life_ms));
        child.kill().expect("still working");
        assert!(child.wait().expect("a child").code().is_none(), "round {round}: the child ended by itself");
        let output = std::fs::read_to_string(&output).expect("its output");
        for seed in said(&output, "stored") {
            acked.insert(shard_root(&shard(seed)), seed);
        }
        for seed in said(&output, "deleting") {
            acked.remove(&shard_root(&shard(seed)));
        }
        let store = open(dir.path());
        let deal = runtime.block_on(store.open_deal(CLIENT, [0; 16], 8 << 30, 0)).expect("room").id;
        eprintln!("seed {seed}, round {round}: killed after {life_ms} ms, {} acknowledged shards", acked.len());
        collected_len += check(&store, deal, dir.path(), &acked);
    }
    assert!(acked.len() > 10 && collected_len > 0, "{} acknowledged, {collected_len} collected: nothing was tested", acked.len());
}
