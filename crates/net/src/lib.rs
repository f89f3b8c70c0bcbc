//! The network of nodes: finding providers and opening streams to them. The only crate that names libp2p.
//!
//! One task owns the swarm ([`start`] spawns it); everything else talks to it through [`Network`], or past it: opening
//! a stream on a live connection goes straight to that connection's handler (`streams`).
//! Never: bulk data through the DHT, an unbounded map fed by a peer, a lock held across an await.
//! Limits: [`config::ConnectionLimits`], [`PEERS_MAX`], [`ADVERTS_MAX`], [`PEER_ADDRESSES_MAX`].

mod address;
mod advert_exchange;
mod adverts;
mod behaviour;
mod book;
mod dialing;
mod discovery;
mod engine;
mod network;
mod peers;
mod publish;
mod snapshots;
mod streams;
mod transport;

pub mod config;
pub mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod psk;
pub mod status;

pub use config::{ConnectionLimits, NetConfig};
pub use error::NetError;
pub use network::{Incoming, Network, start};
pub use publish::AdvertTemplate;
pub use status::{NetStatus, PeerStatus, ProviderReach};

/// Peers remembered at most.
pub const PEERS_MAX: usize = 10_000;
/// Adverts held at most.
pub const ADVERTS_MAX: usize = 10_000;
/// Addresses remembered per peer.
pub const PEER_ADDRESSES_MAX: usize = 8;
