//! Vocabulary of Cairn: ids, sizes, amounts, keys, Merkle roots, limits and the ports to clock and randomness.
//!
//! Never: a runtime, a file, a socket, a clock or a random source. Limits: see [`limits`].

pub mod amount;
pub mod eip712;
pub mod id;
pub mod keys;
pub mod limits;
pub mod merkle;
pub mod port;
pub mod redundancy;
mod sha_pair;
pub mod wallet;

pub use amount::Amount;
pub use eip712::Domain;
pub use id::{BlobId, ChannelId, DealId, InventoryRoot, NodeId, SegmentId, ShardRoot};
pub use keys::{DataKeys, NodeKey, Phrase};
pub use port::{Clock, Rng, UnixMs, UnixSecs};
pub use redundancy::Redundancy;
pub use wallet::{Address, EvmSignature, WalletKey};
