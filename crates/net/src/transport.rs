//! The transports below the swarm: TCP + (pre-shared key) + Noise + Yamux, and QUIC.
//!
//! Never: QUIC in a private network, Nagle's algorithm, dialling from the listening port.
//! Limits: [`HANDSHAKE`], [`YAMUX_STREAMS_MAX`], [`QUIC_STREAM_WINDOW`], [`QUIC_CONNECTION_WINDOW`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, Transport, noise, quic, tcp, yamux};

use crate::error::NetError;

/// Longest handshake of a connection, key exchange and multiplexer included.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Yamux lets receive windows grow until `1 GiB − streams × 256 KiB` per connection is used up, and libp2p hides the
/// first number. 4,032 streams leave 16 MiB for growth: 160 MB/s at 100 ms on one connection, while a fast peer whose
/// reader stalls cannot park more than that beyond 256 KiB a stream.
const YAMUX_STREAMS_MAX: usize = 4032;
const QUIC_STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const QUIC_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const QUIC_STREAMS_MAX: u32 = 1024;

/// Every way this node can talk to another; only TCP when `psk` closes the network.
pub(crate) fn build(key: &Keypair, psk: Option<[u8; 32]>) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let noise = noise::Config::new(key).map_err(|error| NetError::Transport(error.to_string()))?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(YAMUX_STREAMS_MAX);
    let tcp = FreshPort(tcp::tokio::Transport::new(tcp::Config::new().nodelay(true)));
    if let Some(psk) = psk {
        let pnet = PnetConfig::new(PreSharedKey::new(psk));
        let closed = tcp.and_then(move |socket, _| async move { pnet.handshake(socket).await });
        return Ok(closed.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux).timeout(HANDSHAKE).boxed());
    }
    let tcp = tcp.upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux).timeout(HANDSHAKE).boxed();
    let mut config = quic::Config::new(key);
    config.handshake_timeout = HANDSHAKE;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    config.max_concurrent_stream_limit = QUIC_STREAMS_MAX;
    let quic = quic::tokio::Transport::new(config);
    let both = quic.or_transport(tcp).map(|connection, _| match connection {
        Either::Left((peer, quic)) => (peer, StreamMuxerBox::new(quic)),
        Either::Right((peer, tcp)) => (peer, tcp),
    });
    Ok(both.boxed())
}

/// Dials from a fresh port always. libp2p dials from the listening port by default, for hole punching; then a peer
/// that comes back on its old port meets its own TIME_WAIT sockets, and two nodes that dial each other at once make a
/// simultaneous open in which both believe to be the dialler.
struct FreshPort<T>(T);

impl<T: Transport + Unpin> Transport for FreshPort<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        self.0.dial(address, DialOpts { port_use: PortUse::New, ..opts })
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
