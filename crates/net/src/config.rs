//! What a node is told about its network.
//!
//! Never: a default that listens or dials; the node decides both.

use std::path::PathBuf;
use std::time::Duration;

use cairn_types::NodeKey;

/// Longest [`NetConfig::network_id`].
pub const NETWORK_ID_LEN_MAX: usize = 64;

/// Settings of one node's network.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Identity of this node.
    pub key: NodeKey,
    /// Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4001` and `/ip4/0.0.0.0/udp/4001/quic-v1`. Empty: a pure client.
    pub listen: Vec<String>,
    /// Multiaddrs under which others reach this node; empty: what it listens on.
    pub external: Vec<String>,
    /// Multiaddrs of nodes to start from; may end in `/p2p/<peer id>`, may name a host (`/dns4/…`).
    pub bootstrap: Vec<String>,
    /// Where known peers are kept between runs.
    pub address_book: Option<PathBuf>,
    /// Key of a private network (see [`crate::psk`]); with it only TCP is spoken.
    pub psk: Option<[u8; 32]>,
    /// Find peers on the local network by multicast.
    pub mdns: bool,
    /// This node rents out space: it answers [`cairn_proto::SHARD_PROTOCOL`] and publishes adverts.
    pub provider: bool,
    /// This node answers [`cairn_proto::SHARD_PROTOCOL`] although it is no provider (a delegate).
    pub answers: bool,
    /// This node answers DHT queries although it is no provider (a bootstrap node).
    pub dht_server: bool,
    /// Keeps networks apart: part of the DHT protocol's name. Letters, digits, `-`, `_` and `.`.
    pub network_id: String,
    /// How this node names its software to peers.
    pub agent: String,
    /// Bounds on connections and streams.
    pub limits: ConnectionLimits,
    /// Longest pause between two random walks of the DHT; it starts at one second while few providers are known.
    pub discovery_interval: Duration,
}

impl NetConfig {
    /// A pure client of the network `main`: no listener, no bootstrap, no address book.
    pub fn new(key: NodeKey) -> NetConfig {
        NetConfig {
            key,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            address_book: None,
            psk: None,
            mdns: false,
            provider: false,
            answers: false,
            dht_server: false,
            network_id: "main".to_owned(),
            agent: format!("cairn/{}", env!("CARGO_PKG_VERSION")),
            limits: ConnectionLimits::default(),
            discovery_interval: Duration::from_secs(60),
        }
    }
}

/// Bounds on connections and on the streams inside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Established connections with one peer, both directions together.
    pub per_peer: u32,
    /// Established inbound connections.
    pub total_in: u32,
    /// Established outbound connections.
    pub total_out: u32,
    /// Inbound connections in their handshake.
    pub pending_in: u32,
    /// Outbound connections being dialled.
    pub pending_out: u32,
    /// Inbound streams open at once on one connection; more are reset.
    pub streams_per_connection: usize,
    /// Inbound streams open at once on all connections; more are reset.
    pub streams_total: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            per_peer: 4,
            total_in: 512,
            total_out: 512,
            pending_in: 64,
            pending_out: 64,
            streams_per_connection: 1024,
            streams_total: 8192,
        }
    }
}
