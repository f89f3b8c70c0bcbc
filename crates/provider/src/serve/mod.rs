//! Server: answers clients on streams of the shard protocol. Wire format: `docs/formats/wire.md`.
//!
//! One stream carries one request after another. What a stream holds (space, memory, permit) is freed when it ends, however it ends.
//! Never: a receipt before the commit, a panic over what a peer sends.
//! Limits: [`ServerConfig`]; per stream a few frames.

mod acting;
mod money;
mod read_shard;
mod refusal;
mod session;
mod store_shard;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_proto::transport::BoxStream;
use cairn_types::{NodeId, NodeKey};
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::store::Store;

/// Streams over the limit that are being told so; more are closed without a word.
const REJECTIONS_MAX: usize = 64;

/// Limits of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Streams of one peer at a time.
    pub streams_per_peer: usize,
    /// Streams of all peers at a time.
    pub streams_total: usize,
    /// Time a stream may be silent between requests.
    pub idle: Duration,
    /// Time a peer may take to send or take the next bytes within a request.
    pub stall: Duration,
    /// Time a refused peer gets to read the refusal before its stream is closed.
    pub linger: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            streams_per_peer: 256,
            streams_total: 1024,
            idle: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            linger: Duration::from_secs(5),
        }
    }
}

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ServerStatus {
    /// Streams open.
    pub streams: usize,
    /// Peers that hold them.
    pub peers: usize,
    /// Shards arriving.
    pub stores: usize,
    /// Whether new shards are refused because the server is stopping.
    pub stopping: bool,
}

/// Answers clients from a store. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    store: Store,
    key: NodeKey,
    config: ServerConfig,
    /// None: this provider is free.
    accounts: Option<Accounts>,
    streams: Mutex<Streams>,
    stores: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct Streams {
    total: usize,
    rejections: usize,
    of_peer: HashMap<NodeId, usize>,
}

/// A stream's place within the limits; free again when dropped.
struct Place {
    server: Server,
    peer: NodeId,
    admitted: bool,
}

/// A shard that is arriving; [`Server::drain`] waits for it.
struct RunningStore(Server);

impl Server {
    /// Serves `store` for free, signing receipts with `key`, which must be the key of the store's node.
    pub fn new(store: Store, key: NodeKey, config: ServerConfig) -> Server {
        Server::with(store, key, config, None)
    }

    /// Serves `store` for pay; `accounts` were opened over the same store and key.
    pub fn paid(store: Store, key: NodeKey, config: ServerConfig, accounts: Accounts) -> Server {
        Server::with(store, key, config, Some(accounts))
    }

    fn with(store: Store, key: NodeKey, config: ServerConfig, accounts: Option<Accounts>) -> Server {
        debug_assert_eq!(store.node(), key.id(), "clients check receipts against the node they asked");
        Server(Arc::new(Inner {
            store,
            key,
            config,
            accounts,
            streams: Mutex::default(),
            stores: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        }))
    }

    /// Serves one stream until it ends, breaks a rule, or is idle for too long.
    pub async fn serve_stream(&self, peer: NodeId, stream: BoxStream) {
        match self.place(peer) {
            Some(place) if place.admitted => session::run(self, peer, stream).await,
            Some(_rejection) => session::reject(self, peer, stream).await,
            None => {}
        }
    }

    /// Takes no new shards, lets the arriving ones end, and closes streams as they become idle. Returns when no shard is arriving.
    pub async fn drain(&self) {
        self.0.stopping.send_replace(true);
        let mut stores = self.0.stores.subscribe();
        // The sender lives in self, so the wait cannot fail.
        let _ = stores.wait_for(|stores| *stores == 0).await;
    }

    /// What the server is doing at this moment.
    pub fn status(&self) -> ServerStatus {
        let streams = self.0.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ServerStatus {
            streams: streams.total,
            peers: streams.of_peer.len(),
            stores: *self.0.stores.borrow(),
            stopping: *self.0.stopping.borrow(),
        }
    }

    /// The store it serves.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    fn place(&self, peer: NodeId) -> Option<Place> {
        let mut streams = self.0.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of_peer = streams.of_peer.get(&peer).copied().unwrap_or(0);
        let admitted = streams.total < self.0.config.streams_total && of_peer < self.0.config.streams_per_peer;
        if admitted {
            streams.total += 1;
            streams.of_peer.insert(peer, of_peer + 1);
        } else if streams.rejections < REJECTIONS_MAX {
            streams.rejections += 1;
        } else {
            return None;
        }
        Some(Place { server: self.clone(), peer, admitted })
    }

    /// Counts an arriving shard, unless the server is stopping.
    fn begin_store(&self) -> Option<RunningStore> {
        self.0.stores.send_modify(|stores| *stores += 1);
        let running = RunningStore(self.clone());
        // Counted before asked: drain either sees this shard or is seen by it.
        if *self.0.stopping.borrow() { None } else { Some(running) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.server.0.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.admitted {
            streams.rejections -= 1;
            return;
        }
        streams.total -= 1;
        if let Some(count) = streams.of_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                streams.of_peer.remove(&self.peer);
            }
        }
    }
}

impl Drop for RunningStore {
    fn drop(&mut self) {
        self.0.0.stores.send_modify(|stores| *stores -= 1);
    }
}
