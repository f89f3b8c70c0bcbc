//! Measures the store: streaming 16 MiB shards, and commits of small ones. `bench_store <dir> [shards]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_proto::{Framed, shard};
use cairn_provider::store::{DiskConfig, NewShard, Store, StoreConfig};
use cairn_provider::{Server, ServerConfig};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::ShardHasher;
use cairn_types::{Clock, DealId, NodeId, NodeKey, Rng, SegmentId, ShardRoot, UnixMs};
use tokio_util::compat::TokioAsyncReadCompatExt;

const CLIENT: NodeId = NodeId([1; 32]);
const SHARD_LEN: usize = 16 << 20;

struct SystemClock;
impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMs(since.as_millis() as u64)
    }
}

struct CountingRng(AtomicU64);
impl Rng for CountingRng {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

fn bytes(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

/// A shard whose frames after the first may be shared with others, so that many fit in memory.
#[derive(Clone)]
struct Sample {
    first: Bytes,
    rest: Bytes,
    root: ShardRoot,
}

impl Sample {
    fn new(seed: u64, len: usize, rest: &Bytes) -> Sample {
        let first = bytes(seed, len.min(FRAME_LEN));
        let rest = rest.slice(..len - first.len());
        let mut hasher = ShardHasher::new();
        for frame in std::iter::once(&first[..]).chain(rest.chunks(FRAME_LEN)) {
            hasher.push_block(frame).expect("frames");
        }
        Sample { first, root: hasher.root(), rest }
    }

    fn len(&self) -> u64 {
        (self.first.len() + self.rest.len()) as u64
    }
}

async fn put(store: &Store, deal: DealId, sample: &Sample) {
    let new = NewShard { deal, segment: SegmentId([0; 16]), writer_epoch: 0, len_max: sample.len() };
    let mut writer = store.begin(CLIENT, new).expect("room");
    writer.push(sample.first.clone()).await.expect("a good disk");
    for at in (0..sample.rest.len()).step_by(FRAME_LEN) {
        // A copy, as bytes that come over the network are.
        let frame = Bytes::copy_from_slice(&sample.rest[at..(at + FRAME_LEN).min(sample.rest.len())]);
        writer.push(frame).await.expect("a good disk");
    }
    writer.finish(sample.root, sample.len(), Bytes::new()).await.expect("a good disk");
}

/// Runs `count` puts, `width` at a time, and returns the time of all and the sorted times of each.
async fn run(store: &Store, deal: DealId, shards: Arc<Vec<Sample>>, width: usize) -> (Duration, Vec<Duration>) {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..width)
        .map(|_| {
            let (store, shards, next) = (store.clone(), shards.clone(), next.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while let Some(sample) = shards.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let begun = Instant::now();
                    put(&store, deal, sample).await;
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no panic"));
    }
    times.sort_unstable();
    (start.elapsed(), times)
}

/// Reads all shards through the server over in-memory streams, four at a time.
#[allow(clippy::print_stdout)]
async fn serve_all(store: &Store, deal: DealId, shards: &[Sample]) {
    let server = Server::new(store.clone(), NodeKey::from_secret([2; 32]), ServerConfig::default());
    let started = Instant::now();
    let readers: Vec<_> = (0..4)
        .map(|at| {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let (server, roots) =
                (server.clone(), shards.iter().skip(at).step_by(4).map(|sample| sample.root).collect::<Vec<_>>());
            tokio::spawn(async move { server.serve_stream(CLIENT, Box::new(theirs.compat())).await });
            tokio::spawn(async move {
                let mut framed = Framed::new(ours.compat());
                for root in roots {
                    let (deal_id, root) = (Bytes::copy_from_slice(&deal.0), Bytes::copy_from_slice(&root.0));
                    let read = shard::Read { deal_id, root, offset: 0, len: SHARD_LEN as u64, proof: false };
                    framed.send(&shard::Request { kind: Some(shard::request::Kind::Read(read)) }).await.expect("a server");
                    framed.control::<shard::Response>().await.expect("a head");
                    for _ in 0..SHARD_LEN / FRAME_LEN {
                        framed.next().await.expect("a body");
                    }
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.expect("no panic");
    }
    println!(
        "served to 4 streams in memory: {:.0} MB/s",
        (shards.len() * SHARD_LEN) as f64 / started.elapsed().as_secs_f64() / 1e6
    );
}

#[tokio::main]
#[allow(clippy::print_stdout)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("a directory to measure in"));
    let count: u64 = args.next().map_or(64, |text| text.parse().expect("a number of shards"));
    let disk = DiskConfig { path: dir.join("disk"), quota_len: 1 << 40, reserve_len: 1 << 20 };
    let config = StoreConfig::new(dir.join("data"), vec![disk]);
    let store = Store::open(config, NodeKey::from_secret([2; 32]).id(), Arc::new(SystemClock), &CountingRng(AtomicU64::new(7)))
        .expect("a fresh directory");
    let deal = store.open_deal(CLIENT, [0; 16], 1 << 40, 0).await.expect("room").id;

    let rest = bytes(1, SHARD_LEN);
    let shards: Vec<Sample> = (0..count).map(|seed| Sample::new(seed + 10, SHARD_LEN, &rest)).collect();
    for width in [1, 8] {
        let half = if width == 1 { &shards[..count as usize / 4] } else { &shards[count as usize / 4..] };
        let (took, times) = run(&store, deal, Arc::new(half.to_vec()), width).await;
        let rate = (half.len() * SHARD_LEN) as f64 / took.as_secs_f64() / 1e6;
        println!("16 MiB shards, {width} at a time: {rate:.0} MB/s, p50 {:?}", times[times.len() / 2]);
    }
    let started = Instant::now();
    let mut buffer = vec![0; 4 * FRAME_LEN];
    for sample in &shards {
        let reader = store.reader(CLIENT, deal, sample.root, false).expect("stored");
        for at in (0..SHARD_LEN).step_by(buffer.len()) {
            reader.read_at(at as u64, &mut buffer).expect("stored");
        }
    }
    println!("reading them, page cache: {:.0} MB/s", (shards.len() * SHARD_LEN) as f64 / started.elapsed().as_secs_f64() / 1e6);
    serve_all(&store, deal, &shards).await;
    for (len, width) in [(2048, 1), (2048, 8), (2048, 64), (32 * 1024, 1), (32 * 1024, 8), (32 * 1024, 64)] {
        let seeds = 0..100 + 30 * width as u64;
        let small: Vec<Sample> =
            seeds.map(|seed| Sample::new(seed + 1_000_000 * (len + width) as u64, len, &Bytes::new())).collect();
        let (took, times) = run(&store, deal, Arc::new(small.clone()), width).await;
        let rate = small.len() as f64 / took.as_secs_f64();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("{len} byte shards, {width} at a time: {rate:.0} commits/s, p50 {p50:?}, p99 {p99:?}");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no peak memory known here"));
}
