//! Port to the network: how a role opens a stream to a peer and learns which providers there are.
//!
//! Never: a look-up in the DHT inside [`Transport::open`] for a peer whose address is known.

use cairn_types::NodeId;
use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};

use crate::advert::Advert;

/// A bidirectional byte stream to one peer.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream whose kind does not matter.
pub type BoxStream = Box<dyn Stream>;

/// Why a stream to a peer could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No address of the peer answered.
    #[error("cannot reach {peer}: {reason}")]
    Unreachable {
        /// The peer that was dialled.
        peer: NodeId,
        /// What the dial said.
        reason: String,
    },
    /// The peer is there and does not speak the protocol.
    #[error("{peer} does not speak {protocol}")]
    Unsupported {
        /// The peer.
        peer: NodeId,
        /// The protocol it was asked for.
        protocol: &'static str,
    },
    /// The deadline passed.
    #[error("no stream to {peer} within {ms} ms")]
    TimedOut {
        /// The peer.
        peer: NodeId,
        /// The deadline.
        ms: u64,
    },
    /// This node is shutting down.
    #[error("the network is shutting down")]
    Closed,
}

/// The network as a role sees it.
pub trait Transport: Send + Sync + 'static {
    /// Opens a stream of [`crate::SHARD_PROTOCOL`] to `peer`, dialling it first if need be.
    fn open(&self, peer: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>>;

    /// Providers whose signed, unexpired adverts this node holds, in no order. Cheap: a copy of what is cached.
    fn providers(&self) -> Vec<Advert>;

    /// Name of this node.
    fn local(&self) -> NodeId;
}
