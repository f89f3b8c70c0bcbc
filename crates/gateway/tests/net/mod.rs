//! A network in one process: real provider servers on temporary disks, joined to a real client by in-memory streams.
//!
//! Nothing here stands for anything: shards are coded, sealed, stored, synced and receipted as between machines.

#![allow(dead_code)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cairn_client::{Client, Config, Parts};
use cairn_gateway::catalog::{Catalog, OpenError};
use cairn_gateway::objects::api::{Body, BodyChecks, BodyError, ObjectInfo, PutRequest};
use cairn_gateway::objects::recover::{RecoverError, Recovered, Source, recover};
use cairn_gateway::objects::{ObjectError, Objects, ObjectsConfig};
use cairn_proto::{Advert, BoxStream, Transport, TransportError};
use cairn_provider::{DiskConfig, Server, ServerConfig, Store, StoreConfig};
use cairn_types::{Clock, NodeId, NodeKey, Phrase, Rng, UnixMs};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use tempfile::TempDir;
use tokio_util::compat::TokioAsyncReadCompatExt;

const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> UnixMs {
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64)
    }
}

pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}

struct Seat {
    server: Server,
    up: AtomicBool,
}

/// Providers, and the streams to them.
pub struct Net {
    /// Where the providers live, whoever dials them.
    runtime: tokio::runtime::Handle,
    local: NodeId,
    seats: HashMap<NodeId, Seat>,
    order: Vec<NodeId>,
}

impl Transport for Net {
    fn open(&self, peer: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        let seat = self.seats.get(&peer).filter(|seat| seat.up.load(Ordering::SeqCst));
        let Some(seat) = seat else {
            return futures::future::ready(Err(TransportError::Unreachable { peer, reason: "down".into() })).boxed();
        };
        let (near, far) = tokio::io::duplex(256 * 1024);
        let (server, local) = (seat.server.clone(), self.local);
        self.runtime.spawn(async move { server.serve_stream(local, Box::new(far.compat())).await });
        futures::future::ready(Ok(Box::new(near.compat()) as BoxStream)).boxed()
    }

    fn providers(&self) -> Vec<Advert> {
        let now = WallClock.now();
        let advert = |node: &NodeId| Advert {
            node: *node,
            addresses: Vec::new(),
            free_len: 1 << 40,
            total_len: 1 << 40,
            region: String::new(),
            operator: String::new(),
            issued_at: now,
            valid_until: now.plus_ms(3_600_000),
            accepting: true,
        };
        self.order.iter().filter(|node| self.seats[node].up.load(Ordering::SeqCst)).map(advert).collect()
    }

    fn local(&self) -> NodeId {
        self.local
    }
}

/// Providers, a gateway's directory, and what opens object stores on them.
pub struct World {
    pub net: Arc<Net>,
    pub dir: TempDir,
    pub phrase: Phrase,
}

impl World {
    pub fn new(providers: usize) -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let phrase = Phrase::parse(WORDS).expect("a phrase");
        let mut seats = HashMap::new();
        let mut order = Vec::new();
        for index in 0..providers {
            let key = phrase.node_key("provider", index as u32);
            let server = serve(dir.path(), index, key.clone());
            seats.insert(key.id(), Seat { server, up: AtomicBool::new(true) });
            order.push(key.id());
        }
        let runtime = tokio::runtime::Handle::current();
        let net = Arc::new(Net { runtime, local: phrase.node_key("gateway", 0).id(), seats, order });
        World { net, dir, phrase }
    }

    /// Opens the object store on this world's catalog; waits a moment for an earlier opening to let go of it.
    pub async fn open(&self, config: ObjectsConfig) -> Objects {
        self.open_in(self.dir.path(), config).await
    }

    /// As [`World::open`], on a catalog elsewhere.
    pub async fn open_in(&self, dir: &Path, config: ObjectsConfig) -> Objects {
        let catalog = self.catalog(dir).await;
        let client = Client::new(Parts {
            transport: self.net.clone(),
            keys: self.phrase.data_keys(),
            rng: Arc::new(SystemRng),
            writer_epoch: catalog.writer_epoch(),
            config: Config {
                straggler_grace: Duration::from_millis(200),
                call_timeout: Duration::from_secs(60),
                ..Config::default()
            },
        });
        Objects::open(catalog, client, config, Arc::new(WallClock), Arc::new(SystemRng)).await.expect("an object store")
    }

    /// A client that only reads, as a recovery needs it.
    pub fn reader(&self) -> Client {
        let (transport, keys, rng) = (self.net.clone(), self.phrase.data_keys(), Arc::new(SystemRng));
        Client::new(Parts { transport, keys, rng, writer_epoch: 0, config: Config::default() })
    }

    /// Recovers a catalog in `dir` from the providers that are up.
    pub async fn recover(&self, dir: &Path, allow_missing: bool) -> Result<Recovered, RecoverError> {
        let client = self.reader();
        let (mut shards, mut providers) = (Vec::new(), 0);
        for node in client.known_providers() {
            shards.extend(client.find(node).await.expect("it is up"));
            providers += 1;
        }
        let now = WallClock.now();
        let source = Source { client: &client, shards, providers, node: self.net.local, owner: "owner", allow_missing, now };
        recover(dir, source, &|_| {}).await
    }

    /// Takes the catalog of this world away, as if its disk had died.
    pub fn lose_catalog(&self) {
        std::fs::remove_dir_all(self.dir.path().join("catalog")).expect("a catalog");
    }

    async fn catalog(&self, dir: &Path) -> Catalog {
        for _ in 0..500 {
            match Catalog::open(dir, self.net.local) {
                Err(OpenError::Database { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                opened => return opened.expect("a catalog"),
            }
        }
        panic!("the catalog stays locked");
    }

    pub fn set_up(&self, provider: usize, up: bool) {
        self.net.seats[&self.net.order[provider]].up.store(up, Ordering::SeqCst);
    }

    /// Shards that all providers together hold.
    pub fn shards(&self) -> u64 {
        self.net.seats.values().map(|seat| seat.server.store().status().shards).sum()
    }

    /// Bytes that shards take on all providers together.
    pub fn used_len(&self) -> u64 {
        self.net.seats.values().map(|seat| seat.server.store().status().used_len).sum()
    }

    /// Waits until the providers hold no shard: uploads that were given up are deleted in the background.
    pub async fn expect_no_shards(&self, objects: &Objects) {
        for _ in 0..200 {
            objects.empty_trash().await.expect("all providers are there");
            objects.collect_now().await;
            if self.shards() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} shards are left", self.shards());
    }
}

fn serve(dir: &Path, index: usize, key: NodeKey) -> Server {
    let home = dir.join(format!("provider-{index}"));
    let config = StoreConfig::new(home.join("data"), vec![DiskConfig::new(home.join("disk"), 1 << 40)]);
    let store = Store::open(config, key.id(), Arc::new(WallClock), &SystemRng).expect("a store");
    Server::new(store, key, ServerConfig::default())
}

/// Upkeep happens only when asked for.
pub fn quiet() -> ObjectsConfig {
    ObjectsConfig { collect_every_ms: 0, repack_below_percent: 0, checkpoint_every_ms: 0, ..ObjectsConfig::default() }
}

pub fn bytes(len: usize, seed: u8) -> Bytes {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A body that arrives in pieces of 50,000 bytes.
pub fn body(bytes: &Bytes) -> Body {
    let pieces: Vec<Result<Bytes, BodyError>> = bytes.chunks(50_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

/// A body that breaks off behind `bytes`.
pub fn broken(bytes: &Bytes) -> Body {
    body(bytes).chain(stream::iter([Err(BodyError::Broken("cut".into()))])).boxed()
}

pub fn request(bucket: &str, key: &str) -> PutRequest {
    PutRequest { bucket: bucket.into(), key: key.into(), ..PutRequest::default() }
}

pub async fn put(objects: &Objects, bucket: &str, key: &str, bytes: &Bytes) -> Result<ObjectInfo, ObjectError> {
    let checks = BodyChecks { len: Some(bytes.len() as u64), ..BodyChecks::default() };
    objects.put(PutRequest { checks, ..request(bucket, key) }, body(bytes)).await
}

pub async fn read(objects: &Objects, info: &ObjectInfo, range: std::ops::Range<u64>) -> Result<Bytes, ObjectError> {
    let mut reader = objects.read(info, range).await?;
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.into())
}

pub async fn get(objects: &Objects, bucket: &str, key: &str) -> Result<Bytes, ObjectError> {
    let info = objects.get(bucket, key).await?;
    read(objects, &info, 0..info.len).await
}
