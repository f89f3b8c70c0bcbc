//! What a node knows of the network, for people and dashboards.
//!
//! Never: a secret. Limits: as many entries as there are connections and adverts.

use cairn_types::NodeId;
use serde::Serialize;

/// A picture of this node's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetStatus {
    /// This node.
    pub node: NodeId,
    /// Addresses it listens on.
    pub listen: Vec<String>,
    /// Addresses it tells others.
    pub advertised: Vec<String>,
    /// Whether a pre-shared key closes the network.
    pub private: bool,
    /// Peers with a live connection.
    pub connected: Vec<PeerStatus>,
    /// Providers whose adverts are held.
    pub providers: Vec<ProviderReach>,
    /// Entries of the DHT routing table.
    pub dht_peers: usize,
}

/// One connected peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Address of its preferred connection.
    pub address: String,
    /// Live connections with it.
    pub connections: usize,
    /// Last measured round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// How it names its software.
    pub agent: Option<String>,
}

/// One provider and whether it can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderReach {
    /// The provider.
    pub node: NodeId,
    /// False while its last dial failed.
    pub reachable: bool,
    /// Why not.
    pub reason: Option<String>,
}
