//! Why a network could not be started or an address not be dialled.
//!
//! Never: an error without the address or file it is about.

use std::error::Error;
use std::io;

use crate::psk::PskError;

/// A network that could not be started, or a request to it that could not be met.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Another process listens there.
    #[error("{address} is in use by another process; stop it or choose another port")]
    AddressInUse {
        /// What was to be listened on.
        address: String,
    },
    /// Listening failed for another reason.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// What was to be listened on.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Not a multiaddr, or one this node cannot use.
    #[error("not a usable address: {text:?} ({reason}); expected such as /ip4/127.0.0.1/tcp/4001")]
    BadAddress {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// QUIC has no pre-shared keys.
    #[error("{address} is QUIC, which a private network cannot use; give a /tcp/ address")]
    QuicWithKey {
        /// What was given.
        address: String,
    },
    /// The network id cannot be part of a protocol name.
    #[error("network id {0:?} may only have letters, digits, '-', '_' and '.', at most 64")]
    BadNetworkId(String),
    /// The key file of the private network.
    #[error(transparent)]
    Psk(#[from] PskError),
    /// Multicast is not available.
    #[error("cannot use mDNS: {0}; start without it")]
    Mdns(io::Error),
    /// The node's key cannot be a libp2p identity, or Noise refused it.
    #[error("cannot set up the transport: {0}")]
    Transport(String),
    /// Nobody answered at the address.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// What the dial said.
        reason: String,
    },
    /// A deadline passed.
    #[error("{what} within {ms} ms did not happen")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// The deadline.
        ms: u64,
    },
    /// The network is shutting down.
    #[error("the network is shutting down")]
    Closed,
}

/// The kind of the first I/O error in the chain of `error`; libp2p wraps them several times.
pub(crate) fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    let mut depth = 0;
    while let (Some(error), true) = (next, depth < 16) {
        next = error.source();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.get_ref() {
                Some(inner) => next = Some(inner),
                None => return Some(io.kind()),
            }
        }
        depth += 1;
    }
    None
}
