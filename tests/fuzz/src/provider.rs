//! A provider in this process: a server over a store in a temporary directory, and streams to it.
//!
//! Limits: [`QUOTA_LEN`] bytes of shards.

use std::sync::Arc;
use std::time::Duration;

use cairn_provider::{DiskConfig, Server, ServerConfig, Store, StoreConfig};
use cairn_types::{NodeId, NodeKey};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::{CountedRng, StillClock, runtime};

/// Bytes it rents out.
pub const QUOTA_LEN: u64 = 256 << 20;
/// Longer than any pause of this process: a peer that stalls is not what is looked for.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a refused peer is listened to.
const LINGER: Duration = Duration::from_millis(20);

/// A provider and its directory.
pub struct Provider {
    /// Answers on streams.
    pub server: Server,
    /// Signs its receipts.
    pub key: NodeKey,
    _dir: TempDir,
}

impl Provider {
    /// A fresh one.
    pub fn new(secret: u8) -> Provider {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let key = NodeKey::from_secret([secret; 32]);
        let disk = DiskConfig { path: dir.path().join("disk"), quota_len: QUOTA_LEN, reserve_len: 0 };
        let config = StoreConfig::new(dir.path().join("data"), vec![disk]);
        let store = Store::open(config, key.id(), Arc::new(StillClock), &CountedRng::default()).expect("a fresh directory");
        let config = ServerConfig { idle: PATIENCE, stall: PATIENCE, linger: LINGER, ..ServerConfig::default() };
        Provider { server: Server::new(store, key.clone(), config), key, _dir: dir }
    }

    /// A stream on which `client` is served.
    pub fn connect(&self, client: NodeId) -> Compat<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let server = self.server.clone();
        runtime().spawn(async move { server.serve_stream(client, Box::new(theirs.compat())).await });
        ours.compat()
    }
}
